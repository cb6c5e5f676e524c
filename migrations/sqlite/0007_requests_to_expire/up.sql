-- Every second every node looks for requests that nobody decided in time.
CREATE INDEX requests_to_expire ON requests (expires_at) WHERE state = 'pending';

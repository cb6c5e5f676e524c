-- Every second every node looks for requests that nobody decided in time. For a while 0005 made this index too: it
-- is there in databases that were brought up to date then.
CREATE INDEX IF NOT EXISTS requests_to_expire ON requests (expires_at) WHERE state = 'pending';

-- Whoever waits for these locks keeps everybody else waiting: rather fail, and be tried again.
SET LOCAL lock_timeout = '5s';

-- No query finds operations by their key.
DROP INDEX operations_by_key;

-- No query finds entries by their hash, and two can only be equal if their numbers are: an index in random order
-- costs more than the rest of the row.
ALTER TABLE audit DROP CONSTRAINT audit_hash_key;

-- Every second every node looks for requests that nobody decided in time.
CREATE INDEX requests_to_expire ON requests (expires_at) WHERE state = 'pending';

-- No query finds operations by their key.
DROP INDEX operations_by_key;

-- No query finds entries by their hash, and two can only be equal if their numbers are: an index in random order
-- costs more than the rest of the row.
ALTER TABLE audit DROP CONSTRAINT audit_hash_key;

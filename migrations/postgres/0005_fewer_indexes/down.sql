ALTER TABLE audit ADD CONSTRAINT audit_hash_key UNIQUE (hash);
CREATE INDEX operations_by_key ON operations (maker_key_id, created_at);

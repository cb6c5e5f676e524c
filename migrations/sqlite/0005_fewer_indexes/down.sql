CREATE UNIQUE INDEX audit_hash_key ON audit (hash);
CREATE INDEX operations_by_key ON operations (maker_key_id, created_at);

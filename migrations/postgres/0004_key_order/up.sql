-- For lists that stay fast with many keys.
CREATE INDEX keys_newest ON keys (organisation_id, created_at, id);
CREATE INDEX keys_by_expiry ON keys (organisation_id, expires_at, id);

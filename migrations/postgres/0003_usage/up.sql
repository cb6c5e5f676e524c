-- What a key was used for: by hour, and by the address it was used from.
ALTER TABLE key_usage ADD COLUMN amount BIGINT NOT NULL DEFAULT 0 CHECK (amount >= 0);
ALTER TABLE key_usage ADD COLUMN last_ip TEXT;
ALTER TABLE key_usage ADD COLUMN last_agent TEXT;
-- Addresses that nobody was told of yet, and when somebody was told last.
ALTER TABLE key_usage ADD COLUMN new_addresses BIGINT NOT NULL DEFAULT 0 CHECK (new_addresses >= 0);
ALTER TABLE key_usage ADD COLUMN addresses_mailed_at TIMESTAMP;
CREATE INDEX key_usage_with_news ON key_usage (key_id) WHERE new_addresses > 0;

CREATE TABLE usage_hours (
    key_id   TEXT      NOT NULL REFERENCES keys (id),
    hour     TIMESTAMP NOT NULL,
    endpoint TEXT      NOT NULL,
    outcome  TEXT      NOT NULL,
    calls    BIGINT    NOT NULL CHECK (calls >= 0),
    amount   BIGINT    NOT NULL CHECK (amount >= 0),
    PRIMARY KEY (key_id, hour, endpoint, outcome)
);
CREATE INDEX usage_hours_by_hour ON usage_hours (hour);

CREATE TABLE key_addresses (
    key_id        TEXT      NOT NULL REFERENCES keys (id),
    ip            TEXT      NOT NULL,
    first_seen_at TIMESTAMP NOT NULL,
    last_seen_at  TIMESTAMP NOT NULL,
    calls         BIGINT    NOT NULL CHECK (calls >= 0),
    denied        BIGINT    NOT NULL CHECK (denied >= 0),
    mailed_at     TIMESTAMP,
    PRIMARY KEY (key_id, ip)
);

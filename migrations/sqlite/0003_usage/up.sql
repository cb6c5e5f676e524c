-- What a key was used for: by hour, and by the address it was used from.
ALTER TABLE key_usage ADD COLUMN amount INTEGER NOT NULL DEFAULT 0 CHECK (amount >= 0);
ALTER TABLE key_usage ADD COLUMN last_ip TEXT;
ALTER TABLE key_usage ADD COLUMN last_agent TEXT;
-- Addresses that nobody was told of yet, and when somebody was told last.
ALTER TABLE key_usage ADD COLUMN new_addresses INTEGER NOT NULL DEFAULT 0 CHECK (new_addresses >= 0);
ALTER TABLE key_usage ADD COLUMN addresses_mailed_at TEXT;
CREATE INDEX key_usage_with_news ON key_usage (key_id) WHERE new_addresses > 0;

CREATE TABLE usage_hours (
    key_id   TEXT    NOT NULL REFERENCES keys (id),
    hour     TEXT    NOT NULL,
    endpoint TEXT    NOT NULL,
    outcome  TEXT    NOT NULL,
    calls    INTEGER NOT NULL CHECK (calls >= 0),
    amount   INTEGER NOT NULL CHECK (amount >= 0),
    PRIMARY KEY (key_id, hour, endpoint, outcome)
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_hours_by_hour ON usage_hours (hour);

CREATE TABLE key_addresses (
    key_id        TEXT    NOT NULL REFERENCES keys (id),
    ip            TEXT    NOT NULL,
    first_seen_at TEXT    NOT NULL,
    last_seen_at  TEXT    NOT NULL,
    calls         INTEGER NOT NULL CHECK (calls >= 0),
    denied        INTEGER NOT NULL CHECK (denied >= 0),
    mailed_at     TEXT,
    PRIMARY KEY (key_id, ip)
) STRICT, WITHOUT ROWID;

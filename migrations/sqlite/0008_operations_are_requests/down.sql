DROP INDEX members_of_organisation;
CREATE INDEX members_by_organisation ON members (organisation_id);
DROP INDEX requests_by_state;
CREATE INDEX requests_by_state ON requests (organisation_id, state, created_at);
DROP INDEX operations_newest;
DROP INDEX operations_ended;
DROP VIEW operations;
CREATE TABLE operations (
    id               TEXT    NOT NULL PRIMARY KEY REFERENCES requests (id),
    organisation_id  TEXT    NOT NULL REFERENCES organisations (id),
    kind             TEXT    NOT NULL CHECK (kind IN ('cash-in', 'cash-out-fulfillment')),
    status           TEXT    NOT NULL CHECK (status IN ('pending', 'completed', 'failed', 'rejected')),
    amount           INTEGER NOT NULL CHECK (amount > 0),
    wallet_id        TEXT    NOT NULL REFERENCES wallets (id),
    fulfillment_type TEXT    CHECK (fulfillment_type IN ('cash')),
    fulfillment_id   TEXT,
    memo             TEXT,
    maker_key_id     TEXT    REFERENCES keys (id),
    volume_day       TEXT    CHECK (length(volume_day) = 10),
    last_error       TEXT,
    created_at       TEXT         NOT NULL,
    updated_at       TEXT         NOT NULL,
    CONSTRAINT operations_of_keys_count CHECK ((maker_key_id IS NULL) = (volume_day IS NULL)),
    CONSTRAINT operations_cash_out_says_how CHECK ((kind = 'cash-out-fulfillment') = (fulfillment_type IS NOT NULL)),
    CONSTRAINT operations_failed_says_why CHECK ((status IN ('failed', 'rejected')) = (last_error IS NOT NULL))
) STRICT;
INSERT INTO operations
SELECT id, organisation_id, operation_kind, operation_status, amount, wallet_id,
    CASE WHEN operation_kind = 'cash-out-fulfillment' THEN 'cash' END, fulfillment_id, memo, maker_key_id, volume_day,
    last_error, created_at, COALESCE(closed_at, created_at)
FROM requests WHERE operation_status IS NOT NULL;
CREATE INDEX operations_newest ON operations (organisation_id, created_at, id);
CREATE INDEX operations_by_status ON operations (organisation_id, status, created_at, id);
ALTER TABLE requests DROP COLUMN fulfillment_id;
ALTER TABLE requests DROP COLUMN last_error;
ALTER TABLE requests DROP COLUMN volume_day;
ALTER TABLE requests DROP COLUMN memo;
ALTER TABLE requests DROP COLUMN wallet_id;
ALTER TABLE requests DROP COLUMN amount;
ALTER TABLE requests DROP COLUMN operation_status;
ALTER TABLE requests DROP COLUMN operation_kind;
ALTER TABLE requests DROP COLUMN maker_key_id;
ALTER TABLE requests ADD COLUMN maker_key_id TEXT;
UPDATE requests SET maker_key_id = o.maker_key_id FROM operations o WHERE o.id = requests.id;

-- An operation is a request for money to move: one thing, so one row, which is written once and read once.
-- All at once, so that no other transaction has one of them and waits for another.
LOCK TABLE organisations, members, keys, wallets, requests, operations IN ACCESS EXCLUSIVE MODE;
ALTER TABLE requests ADD COLUMN operation_kind TEXT CHECK (operation_kind IN ('cash-in', 'cash-out-fulfillment'));
ALTER TABLE requests ADD COLUMN operation_status TEXT CHECK (operation_status IN ('pending', 'completed', 'failed', 'rejected'));
ALTER TABLE requests ADD COLUMN amount BIGINT CHECK (amount > 0);
ALTER TABLE requests ADD COLUMN wallet_id TEXT REFERENCES wallets (id);
ALTER TABLE requests ADD COLUMN memo TEXT;
ALTER TABLE requests ADD COLUMN volume_day TEXT CHECK (length(volume_day) = 10);
ALTER TABLE requests ADD COLUMN last_error TEXT;
UPDATE requests SET operation_kind = o.kind, operation_status = o.status, amount = o.amount, wallet_id = o.wallet_id,
    memo = o.memo, volume_day = o.volume_day, last_error = o.last_error
FROM operations o WHERE o.id = requests.id;
-- The last, because what it demands is checked in the rows that are there already.
ALTER TABLE requests ADD COLUMN fulfillment_id TEXT
    CONSTRAINT requests_operation_is_whole CHECK (CASE WHEN kind = 'operation'
        THEN operation_kind IS NOT NULL AND operation_status IS NOT NULL AND amount IS NOT NULL AND wallet_id IS NOT NULL
        ELSE operation_kind IS NULL AND operation_status IS NULL AND amount IS NULL AND wallet_id IS NULL
            AND memo IS NULL AND volume_day IS NULL AND last_error IS NULL AND fulfillment_id IS NULL END)
    CONSTRAINT requests_of_keys_count CHECK ((maker_key_id IS NULL) = (volume_day IS NULL))
    CONSTRAINT requests_failed_says_why CHECK ((operation_status IN ('failed', 'rejected')) = (last_error IS NOT NULL));
UPDATE requests SET fulfillment_id = o.fulfillment_id
FROM operations o WHERE o.id = requests.id AND o.fulfillment_id IS NOT NULL;
DROP TABLE operations;
CREATE VIEW operations AS
SELECT id, organisation_id, state, operation_kind AS kind, operation_status AS status, amount, wallet_id, fulfillment_id,
    memo, maker_key_id, volume_day, last_error, created_at, COALESCE(closed_at, created_at) AS updated_at
FROM requests WHERE operation_status IS NOT NULL;
CREATE INDEX operations_newest ON requests (organisation_id, created_at, id) WHERE operation_status IS NOT NULL;
-- Those that wait are found by the state of their request, in the order in which they are shown.
DROP INDEX requests_by_state;
CREATE INDEX requests_by_state ON requests (organisation_id, state, created_at, id);
CREATE INDEX operations_ended ON requests (organisation_id, operation_status, created_at, id) WHERE operation_status <> 'pending';

-- Who asks belongs to the organisation for which they ask.
DROP INDEX members_by_organisation;
CREATE UNIQUE INDEX members_of_organisation ON members (organisation_id, id);
ALTER TABLE requests ADD CONSTRAINT requests_made_by_a_member
    FOREIGN KEY (organisation_id, maker_id) REFERENCES members (organisation_id, id);
ALTER TABLE requests ADD CONSTRAINT requests_made_by_a_key FOREIGN KEY (maker_key_id) REFERENCES keys (id);
-- Both follow from the first.
ALTER TABLE requests DROP CONSTRAINT requests_organisation_id_fkey;
ALTER TABLE requests DROP CONSTRAINT requests_maker_id_fkey;
ANALYZE requests;

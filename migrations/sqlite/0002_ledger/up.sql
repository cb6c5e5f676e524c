-- Counts the changes of a balance, so that nodes can tell newer from older.
ALTER TABLE wallets ADD COLUMN version INTEGER NOT NULL DEFAULT 1 CHECK (version >= 1);
CREATE UNIQUE INDEX wallets_by_phone ON wallets (replace(phone, ' ', ''));

-- Each row debits one wallet and credits another by the same amount; only funding brings money in from outside.
CREATE TABLE transfers (
    sequence         INTEGER NOT NULL PRIMARY KEY,
    id               TEXT    NOT NULL UNIQUE,
    kind             TEXT    NOT NULL CHECK (kind IN ('funding', 'operation', 'cashout')),
    subject_id       TEXT    UNIQUE,
    debit_wallet_id  TEXT    REFERENCES wallets (id),
    credit_wallet_id TEXT    NOT NULL REFERENCES wallets (id),
    amount           INTEGER NOT NULL CHECK (amount > 0),
    made_at          TEXT    NOT NULL,
    CONSTRAINT transfers_between_two_wallets CHECK (debit_wallet_id <> credit_wallet_id),
    CONSTRAINT transfers_only_funding_has_no_debit CHECK ((kind = 'funding') = (debit_wallet_id IS NULL)),
    CONSTRAINT transfers_funding_has_no_subject CHECK ((kind = 'funding') = (subject_id IS NULL))
) STRICT;
CREATE INDEX transfers_by_debit ON transfers (debit_wallet_id, sequence);
CREATE INDEX transfers_by_credit ON transfers (credit_wallet_id, sequence);
CREATE TRIGGER transfers_are_never_changed BEFORE UPDATE ON transfers
BEGIN SELECT RAISE(ABORT, 'transfers are never changed'); END;
CREATE TRIGGER transfers_are_never_deleted BEFORE DELETE ON transfers
BEGIN SELECT RAISE(ABORT, 'transfers are never deleted'); END;

-- What wallets held before there was a ledger came from outside.
INSERT INTO transfers (id, kind, credit_wallet_id, amount, made_at)
    SELECT id, 'funding', id, balance, '1970-01-01 00:00:00' FROM wallets WHERE balance > 0 ORDER BY id;

-- A movement of money that was asked for; its request, of the same id, waits for checkers.
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
    created_at       TEXT    NOT NULL,
    updated_at       TEXT    NOT NULL,
    CONSTRAINT operations_of_keys_count CHECK ((maker_key_id IS NULL) = (volume_day IS NULL)),
    CONSTRAINT operations_cash_out_says_how CHECK ((kind = 'cash-out-fulfillment') = (fulfillment_type IS NOT NULL)),
    CONSTRAINT operations_failed_says_why CHECK ((status IN ('failed', 'rejected')) = (last_error IS NOT NULL))
) STRICT;
CREATE INDEX operations_newest ON operations (organisation_id, created_at, id);
CREATE INDEX operations_by_status ON operations (organisation_id, status, created_at, id);
CREATE INDEX operations_by_key ON operations (maker_key_id, created_at);

-- What a key has spent on a calendar day of its organisation.
CREATE TABLE key_volumes (
    key_id TEXT    NOT NULL REFERENCES keys (id),
    day    TEXT    NOT NULL CHECK (length(day) = 10),
    used   INTEGER NOT NULL CHECK (used >= 0),
    PRIMARY KEY (key_id, day)
) STRICT;

-- Answers to remember, written in the transaction of the effect they belong to.
CREATE TABLE idempotency_keys (
    owner_id    TEXT NOT NULL,
    name        TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 255),
    fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 32),
    answer      TEXT NOT NULL,
    created_at  TEXT NOT NULL,
    PRIMARY KEY (owner_id, name)
) STRICT;
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

-- Cash a customer asked for: the money has moved to the distributor, who hands over the cash.
CREATE TABLE cashouts (
    id               TEXT    NOT NULL PRIMARY KEY,
    organisation_id  TEXT    NOT NULL REFERENCES organisations (id),
    wallet_id        TEXT    NOT NULL REFERENCES wallets (id),
    amount           INTEGER NOT NULL CHECK (amount > 0),
    memo             TEXT,
    created_at       TEXT    NOT NULL,
    processed_at     TEXT,
    processed_key_id TEXT    REFERENCES keys (id),
    fulfillment_type TEXT    CHECK (fulfillment_type IN ('cash', 'bank-transfer')),
    transaction_id   TEXT,
    processed_memo   TEXT,
    CONSTRAINT cashouts_processed_says_how CHECK ((processed_at IS NULL) = (fulfillment_type IS NULL) AND (processed_at IS NULL) = (processed_key_id IS NULL))
) STRICT;
CREATE INDEX cashouts_waiting ON cashouts (organisation_id, created_at, id) WHERE processed_at IS NULL;

-- Until when checkers were told of the operations that keys asked for.
CREATE TABLE operation_digests (
    organisation_id TEXT NOT NULL PRIMARY KEY REFERENCES organisations (id),
    told_at         TEXT NOT NULL
) STRICT;

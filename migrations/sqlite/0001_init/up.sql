-- Times are UTC text as diesel writes them: text order is time order.
CREATE TABLE organisations (
    id               TEXT    NOT NULL PRIMARY KEY,
    name             TEXT    NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    currency         TEXT    NOT NULL CHECK (length(currency) = 3),
    short_code       TEXT    NOT NULL UNIQUE CHECK (length(short_code) BETWEEN 1 AND 12),
    time_zone        TEXT    NOT NULL,
    approvals_needed INTEGER NOT NULL CHECK (approvals_needed BETWEEN 1 AND 10),
    created_at       TEXT    NOT NULL
) STRICT;

CREATE TABLE members (
    id              TEXT    NOT NULL PRIMARY KEY,
    organisation_id TEXT    NOT NULL REFERENCES organisations (id),
    email           TEXT    NOT NULL UNIQUE CHECK (email = lower(email)),
    name            TEXT    NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    is_admin        INTEGER NOT NULL CHECK (is_admin IN (0, 1)),
    is_maker        INTEGER NOT NULL CHECK (is_maker IN (0, 1)),
    is_checker      INTEGER NOT NULL CHECK (is_checker IN (0, 1)),
    is_viewer       INTEGER NOT NULL CHECK (is_viewer IN (0, 1)),
    state           TEXT    NOT NULL CHECK (state IN ('invited', 'active', 'disabled')),
    password_hash   TEXT,
    created_at      TEXT    NOT NULL,
    CONSTRAINT members_has_a_role CHECK (is_admin + is_maker + is_checker + is_viewer > 0),
    CONSTRAINT members_active_has_password CHECK (state <> 'active' OR password_hash IS NOT NULL)
) STRICT;
CREATE INDEX members_by_organisation ON members (organisation_id);

CREATE TABLE invitations (
    token_hash BLOB NOT NULL PRIMARY KEY CHECK (length(token_hash) = 32),
    member_id  TEXT NOT NULL REFERENCES members (id),
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    used_at    TEXT
) STRICT;

CREATE TABLE sessions (
    id_hash    BLOB NOT NULL PRIMARY KEY CHECK (length(id_hash) = 32),
    member_id  TEXT REFERENCES members (id),
    state      TEXT NOT NULL,
    created_at TEXT NOT NULL,
    seen_at    TEXT NOT NULL
) STRICT;
CREATE INDEX sessions_by_member ON sessions (member_id);
CREATE INDEX sessions_by_seen ON sessions (seen_at);

CREATE TABLE sign_in_throttle (
    subject       TEXT    NOT NULL PRIMARY KEY,
    failures      INTEGER NOT NULL CHECK (failures >= 0),
    blocked_until TEXT,
    updated_at    TEXT    NOT NULL
) STRICT;

CREATE TABLE server_secrets (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;

CREATE TABLE requests (
    id               TEXT    NOT NULL PRIMARY KEY,
    organisation_id  TEXT    NOT NULL REFERENCES organisations (id),
    kind             TEXT    NOT NULL CHECK (kind IN ('issue_key', 'widen_key', 'resume_key', 'operation', 'change_roles', 'change_policy')),
    subject_id       TEXT,
    base_version     INTEGER,
    payload          TEXT    NOT NULL,
    maker_id         TEXT    NOT NULL REFERENCES members (id),
    maker_key_id     TEXT,
    justification    TEXT    NOT NULL,
    state            TEXT    NOT NULL CHECK (state IN ('pending', 'approved', 'rejected', 'withdrawn', 'expired', 'void')),
    version          INTEGER NOT NULL CHECK (version >= 1),
    approvals        INTEGER NOT NULL CHECK (approvals >= 0),
    approvals_needed INTEGER NOT NULL CHECK (approvals_needed >= 1),
    created_at       TEXT    NOT NULL,
    expires_at       TEXT    NOT NULL,
    closed_at        TEXT,
    CONSTRAINT requests_decisions_name_the_maker UNIQUE (id, maker_id),
    CONSTRAINT requests_closed_when_not_pending CHECK ((state = 'pending') = (closed_at IS NULL)),
    CONSTRAINT requests_approved_by_enough CHECK (state <> 'approved' OR approvals >= approvals_needed),
    CONSTRAINT requests_never_too_many_votes CHECK (approvals <= approvals_needed)
) STRICT;
CREATE INDEX requests_by_state ON requests (organisation_id, state, created_at);

-- The maker stands in each decision so that the database itself refuses a decision on one's own request.
CREATE TABLE decisions (
    id         TEXT    NOT NULL PRIMARY KEY,
    request_id TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    maker_id   TEXT    NOT NULL,
    checker_id TEXT    NOT NULL REFERENCES members (id),
    verdict    TEXT    NOT NULL CHECK (verdict IN ('approve', 'reject')),
    comment    TEXT    NOT NULL,
    decided_at TEXT    NOT NULL,
    CONSTRAINT decisions_of_request FOREIGN KEY (request_id, maker_id) REFERENCES requests (id, maker_id),
    CONSTRAINT decisions_once_per_person UNIQUE (request_id, version, checker_id),
    CONSTRAINT decisions_never_your_own CHECK (checker_id <> maker_id),
    CONSTRAINT decisions_reject_has_reason CHECK (verdict <> 'reject' OR length(comment) > 0)
) STRICT;

CREATE TABLE keys (
    id              TEXT    NOT NULL PRIMARY KEY,
    organisation_id TEXT    NOT NULL REFERENCES organisations (id),
    request_id      TEXT    NOT NULL UNIQUE,
    maker_id        TEXT    NOT NULL,
    api             TEXT    NOT NULL CHECK (length(api) > 0),
    label           TEXT    NOT NULL CHECK (length(label) BETWEEN 1 AND 100),
    contact_email   TEXT,
    system          TEXT,
    environment     TEXT    NOT NULL CHECK (environment IN ('production', 'staging')),
    access_type     TEXT,
    permissions     TEXT    NOT NULL CHECK (length(permissions) > 0),
    restrictions    TEXT    NOT NULL,
    max_transaction INTEGER CHECK (max_transaction > 0),
    max_daily       INTEGER CHECK (max_daily > 0),
    allowed_ips     TEXT    NOT NULL,
    expires_in_days INTEGER CHECK (expires_in_days > 0),
    expires_at      TEXT,
    state           TEXT    NOT NULL CHECK (state IN ('approved', 'active', 'suspended', 'revoked')),
    version         INTEGER NOT NULL CHECK (version >= 1),
    created_at      TEXT    NOT NULL,
    revoked_at      TEXT,
    revoked_by      TEXT    REFERENCES members (id),
    revoke_reason   TEXT,
    CONSTRAINT keys_come_from_a_request FOREIGN KEY (request_id, maker_id) REFERENCES requests (id, maker_id),
    CONSTRAINT keys_transaction_within_day CHECK (max_transaction <= max_daily),
    CONSTRAINT keys_expiry_both_or_none CHECK ((expires_at IS NULL) = (expires_in_days IS NULL)),
    CONSTRAINT keys_revoked_says_when_and_why CHECK ((state = 'revoked') = (revoked_at IS NOT NULL AND revoke_reason IS NOT NULL))
) STRICT;
CREATE INDEX keys_by_state ON keys (organisation_id, state, created_at);

CREATE TABLE secrets (
    id            TEXT NOT NULL PRIMARY KEY,
    key_id        TEXT NOT NULL REFERENCES keys (id),
    hash          BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    last_four     TEXT NOT NULL CHECK (length(last_four) = 4),
    minted_at     TEXT NOT NULL,
    confirmed_at  TEXT,
    first_used_at TEXT,
    ended_at      TEXT
) STRICT;
CREATE INDEX secrets_by_key ON secrets (key_id);
-- At most one secret of a key may wait to be saved or used.
CREATE UNIQUE INDEX secrets_one_unsaved ON secrets (key_id)
    WHERE ended_at IS NULL AND confirmed_at IS NULL AND first_used_at IS NULL;

CREATE TABLE key_usage (
    key_id       TEXT    NOT NULL PRIMARY KEY REFERENCES keys (id),
    allowed      INTEGER NOT NULL CHECK (allowed >= 0),
    denied       INTEGER NOT NULL CHECK (denied >= 0),
    last_used_at TEXT
) STRICT;

CREATE TABLE wallets (
    id              TEXT    NOT NULL PRIMARY KEY,
    kind            TEXT    NOT NULL CHECK (kind IN ('organisation', 'merchant', 'person')),
    organisation_id TEXT    UNIQUE REFERENCES organisations (id),
    name            TEXT    NOT NULL,
    short_code      TEXT    UNIQUE,
    phone           TEXT    UNIQUE,
    currency        TEXT    NOT NULL CHECK (length(currency) = 3),
    balance         INTEGER NOT NULL CHECK (balance >= 0),
    CONSTRAINT wallets_organisation_has_owner CHECK ((kind = 'organisation') = (organisation_id IS NOT NULL)),
    CONSTRAINT wallets_merchant_has_short_code CHECK ((kind = 'merchant') = (short_code IS NOT NULL)),
    CONSTRAINT wallets_person_has_phone CHECK ((kind = 'person') = (phone IS NOT NULL))
) STRICT;

CREATE TABLE outbox (
    id            TEXT    NOT NULL PRIMARY KEY,
    recipient     TEXT    NOT NULL,
    subject       TEXT    NOT NULL,
    text_body     TEXT    NOT NULL,
    html_body     TEXT    NOT NULL,
    created_at    TEXT    NOT NULL,
    attempts      INTEGER NOT NULL CHECK (attempts >= 0),
    due_at        TEXT    NOT NULL,
    claimed_until TEXT,
    sent_at       TEXT,
    failed_at     TEXT,
    last_error    TEXT,
    CONSTRAINT outbox_sent_or_failed CHECK (sent_at IS NULL OR failed_at IS NULL)
) STRICT;
CREATE INDEX outbox_waiting ON outbox (due_at) WHERE sent_at IS NULL AND failed_at IS NULL;

CREATE TABLE audit (
    seq             INTEGER NOT NULL PRIMARY KEY CHECK (seq >= 1),
    at              TEXT    NOT NULL,
    organisation_id TEXT,
    actor_kind      TEXT    NOT NULL CHECK (actor_kind IN ('member', 'key', 'command', 'worker', 'visitor')),
    actor_id        TEXT,
    actor_name      TEXT    NOT NULL,
    action          TEXT    NOT NULL,
    subject_id      TEXT,
    detail          TEXT    NOT NULL,
    ip              TEXT,
    request_id      TEXT,
    previous_hash   BLOB    NOT NULL CHECK (length(previous_hash) = 32),
    hash            BLOB    NOT NULL UNIQUE CHECK (length(hash) = 32)
) STRICT;
CREATE INDEX audit_by_subject ON audit (subject_id, seq);

CREATE TABLE audit_head (
    id   INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    seq  INTEGER NOT NULL,
    hash BLOB    NOT NULL CHECK (length(hash) = 32)
) STRICT;
INSERT INTO audit_head (id, seq, hash) VALUES (1, 0, zeroblob(32));

CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'audit rows are never changed'); END;
CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'audit rows are never deleted'); END;

-- No query finds operations by their key.
DROP INDEX operations_by_key;

-- No query finds entries by their hash, and two can only be equal if their numbers are: an index in random order
-- costs more than the rest of the row. SQLite drops a constraint only with its table.
CREATE TABLE audit_without_index (
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
    hash            BLOB    NOT NULL CHECK (length(hash) = 32)
) STRICT;
INSERT INTO audit_without_index SELECT * FROM audit ORDER BY seq;
DROP TABLE audit;
ALTER TABLE audit_without_index RENAME TO audit;
CREATE INDEX audit_by_subject ON audit (subject_id, seq);
CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'audit rows are never changed'); END;
CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'audit rows are never deleted'); END;

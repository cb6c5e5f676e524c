-- Usage of many keys, as it was taken down: a row for the keys of one part, until it is added to the counts.
CREATE TABLE usage_journal (
    id    INTEGER NOT NULL PRIMARY KEY,
    part  INTEGER NOT NULL CHECK (part >= 0),
    batch TEXT    NOT NULL
) STRICT;
CREATE INDEX usage_journal_by_part ON usage_journal (part, id);

-- Usage of many keys, as it was taken down: a row for keys of one part, until it is added to the counts. A row
-- that could not be read has no part any more.
CREATE TABLE usage_journal (
    id    INTEGER NOT NULL PRIMARY KEY,
    part  INTEGER CHECK (part >= 0),
    batch TEXT    NOT NULL
) STRICT;
CREATE INDEX usage_journal_by_part ON usage_journal (part, id);

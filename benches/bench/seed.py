"""Databases with many keys: one key is made the way people make it, and its rows are cloned."""

from .secrets import write_secrets

# Each table with a row of the key, how that row is found, and what differs in its clones: any
# other column is the same.
CLONED = {
    "requests": ("id = '{request}'", {"id": "request", "created_at": "earlier"}),
    "decisions": ("request_id = '{request}'", {"id": "decision", "request_id": "request"}),
    "keys": (
        "id = '{key}'",
        {"id": "key", "request_id": "request", "label": "label", "created_at": "earlier"},
    ),
    "secrets": ("key_id = '{key}'", {"id": "secret", "key_id": "key", "hash": "hash"}),
    "key_usage": ("key_id = '{key}'", {"key_id": "key"}),
}
# The last part of ids; the first is the number, so that they sort by it as real ones do by time.
KINDS = {
    "request": "00000000000a",
    "decision": "00000000000b",
    "key": "00000000000c",
    "secret": "00000000000d",
}


class Example:
    """A database that people filled, a key of the wallet in it that others are cloned from, and the
    secret of a service that may ask about keys."""

    def __init__(self, database, pair):
        self.database = database
        self.request, self.key, _ = pair.make_wallet_key("Example")
        _, _, self.verifier = pair.make_key("Verifier", "countersign", ["verify"])

    def clone_in(self, database, count):
        """Adds `count` keys like the example to this database or a copy of it."""
        database.run([self.statement(database, table, count) for table in CLONED])

    def statement(self, database, table, count):
        """What clones the rows of one table."""
        found_by, differs = CLONED[table]
        columns = database.columns(table)
        values = [value(database, column, differs.get(column)) for column in columns]
        row = f"SELECT * FROM {table} WHERE {found_by.format(request=self.request, key=self.key)}"
        numbers = f"SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count}"
        return (
            f"INSERT INTO {table} ({', '.join(columns)}) WITH RECURSIVE numbers (n) AS ({numbers}) "
            f"SELECT {', '.join(values)} FROM numbers, ({row}) AS example"
        )


def value(database, column, differs):
    """The SQL of a column of a clone."""
    if differs is None:
        return f"example.{column}"
    if differs in KINDS:
        return f"{database.hexadecimal} || '-0000-7000-8000-{KINDS[differs]}'"
    return {
        "label": "'Agent ' || n",
        "hash": database.hash,
        "earlier": database.earlier.format(column=f"example.{column}"),
    }[differs]


class Stock:
    """SQLite files with so many keys, made when they are first asked for."""

    def __init__(self, scratch, example):
        self.scratch, self.example, self.made = scratch, example, {}

    def database(self, count):
        """A file with `count` keys beside those of the demo, and the file of their secrets."""
        if count not in self.made:
            database = self.example.database.copy(self.scratch / f"{count}.db")
            self.example.clone_in(database, count)
            self.made[count] = database, write_secrets(self.scratch / f"{count}.keys", count)
        return self.made[count]

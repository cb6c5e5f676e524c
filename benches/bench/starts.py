"""Starting: how long until the server is ready, and the memory it holds then."""

from .databases import Sqlite


def measure(context):
    """Seconds and bytes of several starts, by database and number of keys."""
    found = {}
    for count in context.effort.sizes:
        database, _ = context.stock.database(count)
        times = 1 if count > 100_000 else context.effort.starts
        found[f"SQLite, {count:,} keys"] = [start(context, database) for _ in range(times)]
    database, _ = context.on_postgres("starts")
    found["PostgreSQL, 10 keys"] = [start(context, database) for _ in range(context.effort.starts)]
    return found


def start(context, database):
    """One start."""
    with context.countersign.start(database) as server:
        return {"seconds": server.start_seconds, "bytes": server.resident_bytes()}

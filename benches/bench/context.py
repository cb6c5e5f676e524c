"""What every part shares: a scratch folder, an example database, and how long to measure."""

from .databases import Cluster, Postgres, Sqlite
from .load import write_request
from .people import Pair
from .seed import Example, Stock
from .servers import Countersign

DISTRIBUTOR = "/api/v1/distributors/36e48800-22ce-4ea0-b37a-198f7978cd53"
BEARER = {"Authorization": "Bearer {key}"}


class Effort:
    """How long and how often something is measured."""

    def __init__(self, quick):
        self.rounds, self.seconds = (3, 2) if quick else (5, 4)
        self.sizes = (10, 10_000, 100_000) if quick else (10, 10_000, 1_000_000)
        self.starts = 2 if quick else 5
        self.revocations = 10 if quick else 30


class Context:
    """Made once a run; databases are made when a part asks for them."""

    def __init__(self, scratch, quick):
        self.scratch, self.effort = scratch, Effort(quick)
        self.countersign = Countersign(scratch)
        self.example = self.fill(Sqlite(scratch / "example.db"))
        self.stock = Stock(scratch, self.example)
        self.running_cluster = None

    def fill(self, database):
        """The people of the demo and an example of a key, in an empty database."""
        self.countersign.fill(database)
        with self.countersign.start(database) as server:
            return Example(database, Pair(server))

    def cluster(self):
        """The PostgreSQL server."""
        if self.running_cluster is None:
            self.running_cluster = Cluster(self.scratch / "postgres")
        return self.running_cluster

    def on_sqlite(self, name):
        """A copy of the example in a file of its own."""
        return self.example.database.copy(self.scratch / f"{name}.db")

    def on_postgres(self, name):
        """A database with the people of the demo, and the example in it."""
        database = Postgres(self.cluster(), name)
        return database, self.fill(database)

    def request(self, name, method, target, headers=None, body=""):
        """A whole request as a file for wrk."""
        return write_request(self.scratch / f"{name}.http", method, target, headers, body)

    def close(self):
        """Ends what still runs."""
        if self.running_cluster is not None:
            self.running_cluster.stop()

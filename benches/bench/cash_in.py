"""Durable cash-in over HTTP beside one transaction for each operation, and beside pgbench."""

import contextlib
import json
import re
import subprocess

from . import programs
from .context import BEARER, DISTRIBUTOR
from .databases import Postgres
from .load import Target, interleave
from .people import Pair
from .processes import ALL_CORES

BODY = json.dumps({"operationType": "cash-in", "amount": "0.01", "phoneTo": "+234 8123456781"})
# Keys that share the load; all of them spend from the one wallet of their organisation.
KEYS = 16
PGBENCH = "pgbench, TPC-B-like, prepared, 16 clients"
SCALE = 50


def over_http(database):
    """The name of the contestant that sends operations over HTTP."""
    return f"Countersign on {database.name}, over HTTP"


def one_by_one(database):
    """The name of the contestant that makes a transaction of each operation."""
    return f"one transaction each, {database.name}"


def measure(context):
    """Operations a second of each contestant, in interleaved rounds on all cores."""
    sqlite, (postgres, _) = context.on_sqlite("cash_in"), context.on_postgres("cash_in")
    # Databases of their own, because a server holds the lock of its SQLite file.
    sqlite_alone, (postgres_alone, example) = context.on_sqlite("alone"), context.on_postgres(
        "alone"
    )
    context.example.clone_in(sqlite_alone, KEYS)
    example.clone_in(postgres_alone, KEYS)
    cluster = context.cluster()
    prepare_pgbench(cluster)
    seconds = context.effort.seconds
    contestants = {PGBENCH: lambda: pgbench(cluster, seconds)}
    for database in (sqlite_alone, postgres_alone):
        contestants[one_by_one(database)] = lambda database=database: alone(database, seconds)
    with contextlib.ExitStack() as running:
        for database in (sqlite, postgres):
            server = running.enter_context(context.countersign.start(database, ALL_CORES))
            target = make_target(context, server)
            contestants[over_http(database)] = lambda target=target: target.run(seconds)
        return interleave(contestants, context.effort.rounds, lambda run, _: run())


def make_target(context, server):
    """A cash-in through each of a few keys in turn."""
    pair = Pair(server)
    keys = [pair.make_wallet_key(f"Till {number}")[2] for number in range(KEYS)]
    secrets = context.scratch / f"cash-in-{server.port}.keys"
    secrets.write_text("".join(f"{key}\n" for key in keys))
    request = context.request("cash-in", "POST", f"{DISTRIBUTOR}/operations", BEARER, BODY)
    return Target(server, request, secrets, ALL_CORES)


def alone(database, seconds):
    """The same writes without HTTP, each in a transaction that nobody else is in."""
    command = [programs.bench_program("alone"), database.url, str(seconds)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(result.stdout)


def prepare_pgbench(cluster):
    """The tables of pgbench: more branches than clients, so that they do not queue on one row."""
    database = Postgres(cluster, "pgbench")
    cluster.command(
        "pgbench", "-h", cluster.home, "-U", "postgres", "-i", "-q", "-s", SCALE, database.database
    )


def pgbench(cluster, seconds):
    """One run of pgbench."""
    words = ["-n", "-c", 16, "-j", 2, "-M", "prepared", "-T", seconds, "pgbench"]
    said = cluster.command("pgbench", "-h", cluster.home, "-U", "postgres", *words)
    return {"rate": float(re.search(r"tps = ([\d.]+)", said)[1])}

"""Databases for Countersign to run on: files of SQLite, and a PostgreSQL server with fsync on."""

import hashlib
import os
import pathlib
import pwd
import shutil
import sqlite3
import subprocess

from . import programs
from .secrets import secret


class Sqlite:
    """A database file."""

    name = "SQLite"
    # What rows that are cloned are made of; `n` is the number of the clone.
    hexadecimal = "printf('%08x', n)"
    hash = "seed_hash(n)"
    earlier = "strftime('%Y-%m-%d %H:%M:%f', {column}, '-' || n || ' seconds')"

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.url = f"sqlite://{self.path}"

    def copy(self, path):
        """The same database in another file; no server may have either."""
        shutil.copyfile(self.path, path)
        return Sqlite(path)

    def columns(self, table):
        """The names of a table's columns."""
        with sqlite3.connect(self.path) as connection:
            return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]

    def run(self, statements):
        """Runs statements in one transaction."""
        connection = sqlite3.connect(self.path)
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -1000000")
        connection.create_function("seed_hash", 1, seed_hash, deterministic=True)
        with connection:
            for statement in statements:
                connection.execute(statement)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()


def seed_hash(n):
    """The hash of the secret with this number."""
    return hashlib.sha256(secret(n).encode()).digest()


class Postgres:
    """A database on the scratch server."""

    name = "PostgreSQL"
    hexadecimal = "lpad(to_hex(n), 8, '0')"
    hash = "sha256(convert_to('seed ' || n, 'UTF8'))"
    earlier = "{column} - n * interval '1 second'"

    def __init__(self, cluster, name):
        self.cluster, self.database = cluster, name
        cluster.psql("postgres", f"CREATE DATABASE {name}")
        self.url = (
            f"postgres://postgres@localhost/{name}?host={str(cluster.home).replace('/', '%2F')}"
        )

    def columns(self, table):
        """The names of a table's columns."""
        query = f"SELECT column_name FROM information_schema.columns WHERE table_name = '{table}'"
        return self.cluster.psql(self.database, query + " AND table_schema = 'public'").split()

    def run(self, statements):
        """Runs statements in one transaction, and lets the server look at what is there then."""
        self.cluster.psql(self.database, ";\n".join(["BEGIN", *statements, "COMMIT", "ANALYZE"]))


class Cluster:
    """A PostgreSQL server for the length of a run; fsync is on, as in production."""

    SETTINGS = """
listen_addresses = ''
unix_socket_directories = '{home}'
max_connections = 200
fsync = on
synchronous_commit = on
shared_buffers = 512MB
max_wal_size = 8GB
checkpoint_timeout = 30min
"""

    def __init__(self, home):
        self.home = pathlib.Path(home)
        self.home.mkdir()
        self.bin = programs.postgres_programs()
        self.as_postgres = []
        if os.geteuid() == 0:  # as which PostgreSQL refuses to run
            self.as_postgres = ["runuser", "-u", "postgres", "--"]
            shutil.chown(self.home, pwd.getpwnam("postgres").pw_name)
        self.command(
            "initdb",
            "--no-sync",
            "--auth=trust",
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--no-locale",
            "-D",
            self.data,
        )
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as settings:
            settings.write(self.SETTINGS.format(home=self.home))
        self.command("pg_ctl", "-D", self.data, "-w", "-l", self.home / "log", "start")

    @property
    def data(self):
        """Where the server keeps its files."""
        return self.home / "data"

    def command(self, name, *arguments):
        """Runs one of PostgreSQL's programs; gives what it says."""
        command = [*self.as_postgres, self.bin / name, *arguments]
        result = subprocess.run(
            list(map(str, command)),
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=name != "pg_ctl",
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise RuntimeError(f"{name} failed: {result.stderr}")
        return result.stdout

    def psql(self, database, sql):
        """Runs SQL; gives the rows as text."""
        return self.command(
            "psql",
            "-h",
            self.home,
            "-U",
            "postgres",
            "-qAt",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            database,
            "-c",
            sql,
        )

    def stop(self):
        """Ends the server; what it holds is not needed any more."""
        self.command("pg_ctl", "-D", self.data, "-m", "immediate", "stop")

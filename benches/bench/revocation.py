"""Revoking: how long a key still opens something afterwards, on the same node and on another."""

import http.client
import threading
import time

from .context import DISTRIBUTOR
from .databases import Sqlite
from .people import Pair
from .processes import ALL_CORES


def measure(context):
    """Milliseconds from the answer to the last call that is let through, by database and node."""
    sqlite = context.on_sqlite("revocation")
    with context.countersign.start(sqlite, ALL_CORES) as node:
        found = {"SQLite, same node": revoke_all(context, node, [node])[0]}
    postgres, _ = context.on_postgres("revocation")
    with (
        context.countersign.start(postgres, ALL_CORES) as node,
        context.countersign.start(postgres, ALL_CORES) as other,
    ):
        same, second = revoke_all(context, node, [node, other])
    return found | {"PostgreSQL, same node": same, "PostgreSQL, second node": second}


def revoke_all(context, node, nodes):
    """Makes keys and revokes each; gives the milliseconds for each of the nodes."""
    pair, taken = Pair(node), [[] for _ in nodes]
    for number in range(context.effort.revocations):
        label = f"Short-lived {number}"
        _, key, secret = pair.make_wallet_key(label)
        watchers = [Watcher(node, secret) for node in nodes]
        pair.maker.get(f"/settings/api-keys/{key}")
        pair.maker.post(f"/settings/api-keys/{key}/revoke", reason="Measured.", confirm_label=label)
        answered = time.perf_counter()
        for watcher, milliseconds in zip(watchers, taken):
            milliseconds.append(max(0, watcher.last_allowed() - answered) * 1000)
    return taken


class Watcher:
    """Calls a node with a key, one call after the other, until it is denied."""

    def __init__(self, node, secret):
        self.connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=30)
        self.headers, self.allowed = {"Authorization": f"Bearer {secret}"}, None
        while self.status() != 200:
            time.sleep(0.01)
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def status(self):
        """What a call is answered with."""
        self.connection.request("GET", f"{DISTRIBUTOR}/balance", headers=self.headers)
        answer = self.connection.getresponse()
        answer.read()
        return answer.status

    def watch(self):
        """Calls until the key is denied; notes when the last call began that was not."""
        began = self.allowed = time.perf_counter()
        while self.status() != 401:
            began, self.allowed = time.perf_counter(), began

    def last_allowed(self):
        """When the last call began that was let through."""
        self.thread.join()
        return self.allowed

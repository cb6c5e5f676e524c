"""Checking keys, few and many: balance and verify beside their floors, nginx and HAProxy."""

import contextlib
import json
import time
import urllib.request

from .context import BEARER, DISTRIBUTOR
from .load import Target, alone, interleave
from .servers import start_floor, start_haproxy, start_nginx

FLOOR = "floor: a constant, same server software"
LIVEZ = "floor: Countersign's own /livez"
NGINX = "nginx, keys in a `map`"
HAPROXY = "HAProxy, keys in a map file"
# How many keys the proxies hold, and Countersign where it is compared with them.
USUAL = 10_000
# Seconds in which each key is used for the first time, and seconds after which that is added to its counts
# and its maker told of the address: what happens once is not measured.
WARM = 8
SETTLE = 40
QUESTION = json.dumps({"key": "{key}", "permission": "read_balance", "ip": "127.0.0.1"})


def countersign(count):
    """The name of the server with so many keys."""
    return f"Countersign, {count:,} keys"


def measure(context):
    """Rates and latencies by request and contestant, and the memory of each before and after."""
    with contextlib.ExitStack() as running:
        servers = {
            name: running.enter_context(start()) for name, start in starters(context).items()
        }
        idle = resident(servers)
        for count in context.effort.sizes:
            verify_one(context, servers[countersign(count)], count)
        for server in servers.values():
            server.pause()
        balance = compare(context, balance_targets(context, servers))
        verify = compare(context, verify_targets(context, servers))
        used = resident(servers)
        threads = servers[countersign(USUAL)].threads()
    return {"balance": balance, "verify": verify, "idle": idle, "used": used, "threads": threads}


def starters(context):
    """How each server is started, all on the same core."""
    _, secrets = context.stock.database(USUAL)
    known = [*secrets.read_text().split(), context.example.verifier]
    found = {
        FLOOR: lambda: start_floor(context.scratch),
        NGINX: lambda: start_nginx(context.scratch, known),
        HAPROXY: lambda: start_haproxy(context.scratch, known),
    }
    for count in context.effort.sizes:
        database, _ = context.stock.database(count)
        found[countersign(count)] = lambda database=database: context.countersign.start(database)
    return found


def resident(servers):
    """The resident memory of each server."""
    return {name: server.resident_bytes() for name, server in servers.items()}


def balance_targets(context, servers):
    """The balance asked of every server for each key in turn, and /livez as a second floor."""
    request = context.request("balance", "GET", f"{DISTRIBUTOR}/balance", BEARER)
    livez = context.request("livez", "GET", "/livez")
    targets = every(context, servers, request)
    targets[LIVEZ] = Target(servers[countersign(USUAL)], livez, targets[FLOOR].secrets)
    return targets


def verify_targets(context, servers):
    """One service that asks every server about each key in turn."""
    bearer = {"Authorization": f"Bearer {context.example.verifier}"}
    request = context.request("verify", "POST", "/api/v1/verify", bearer, QUESTION)
    return every(context, servers, request)


def verify_one(context, server, count):
    """Fails unless a key is found valid: every verdict is an answer of status 200."""
    _, secrets = context.stock.database(count)
    with open(secrets, encoding="ascii") as file:
        question = QUESTION.replace("{key}", file.readline().strip())
    headers = {
        "Authorization": f"Bearer {context.example.verifier}",
        "Content-Type": "application/json",
    }
    request = urllib.request.Request(
        server.url + "/api/v1/verify", question.encode(), headers, method="POST"
    )
    with urllib.request.urlopen(request) as answer:
        verdict = json.load(answer)
    if not verdict["valid"]:
        raise RuntimeError(f"a good key is not valid: {verdict}")


def every(context, servers, request):
    """This request to every server, with secrets it knows."""
    sizes = {countersign(count): count for count in context.effort.sizes}
    secrets = {name: context.stock.database(sizes.get(name, USUAL))[1] for name in servers}
    return {name: Target(server, request, secrets[name]) for name, server in servers.items()}


def compare(context, targets):
    """Every target in turn, while all other servers stand still."""
    run = alone(context.effort.seconds)
    for target in targets.values():
        alone(WARM)(target, 0)
    servers = {target.server for target in targets.values()}
    for server in servers:
        server.resume()
    time.sleep(SETTLE)
    for server in servers:
        server.pause()
    return interleave(targets, context.effort.rounds, run)

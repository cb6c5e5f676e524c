"""Pages for people: the list of active keys when it is long."""

from .load import Target, alone, interleave
from .people import Person

PAGE = "/settings/api-keys/active"
KEYS = 100_000
CONNECTIONS = (1, 8)


def measure(context):
    """Latencies by database and number of connections."""
    sqlite, secrets = context.stock.database(KEYS)
    postgres, example = context.on_postgres("pages")
    example.clone_in(postgres, KEYS)
    found = {}
    for database in (sqlite, postgres):
        with context.countersign.start(database) as server:
            target = list_target(context, server, secrets)
            server.pause()
            runs = lambda connections, begin: alone(context.effort.seconds, connections)(
                target, begin
            )
            contestants = {f"{database.name}, {n} at a time": n for n in CONNECTIONS}
            found |= interleave(contestants, context.effort.rounds, runs)
    return found


def list_target(context, server, secrets):
    """The list as a member sees it who has signed in."""
    person = Person(server, "checker")
    page = person.get(PAGE)
    if "Agent " not in page:
        raise RuntimeError("the list does not show the keys")
    request = context.request("list", "GET", PAGE, {"Cookie": person.cookie()})
    return Target(server, request, secrets)

"""The report: tables of medians, the aims, and how it was measured."""

import statistics

from . import cash_in, checks, pages
from .databases import Postgres, Sqlite

HEAD = """# Performance

Written by `benches/run` from its own measurements; not edited by hand. Absolute figures move from
machine to machine and with whatever else runs there: the ratios are the point, and each is taken
between runs of the same round. A figure is the median of all rounds, with the smallest and the
largest in brackets.
"""

METHOD = """## Method

- **Checking a key**: `wrk`, one thread, 64 connections that are kept alive, over loopback. The
  server has one core and `wrk` another; all other servers stand still meanwhile (SIGSTOP). The
  contestants take turns, and each round begins with another one. 1,000 keys, spread evenly over all
  there are, are used in turn; each has limits, a list of addresses and an expiry. The rate limits of
  the catalogue are raised so that they are counted and never reached. The databases are SQLite
  files. Before the first round each has answered for {warm} seconds and then rested for {settle},
  because the first use of a key is written down and its maker told. What is counted for each key in
  use is written down every second, and of more than 128 keys added to their counts within half a
  minute: about 12 µs a second for each key that is in use all the time.
- The floor is `benches/floor.rs`: actix-web as Countersign uses it, one worker, the same route, a
  constant answer. nginx and HAProxy hold {usual:,} keys, look the header up, and answer with a
  constant too; they check neither limits nor expiry, and count nothing.
- **Verify** sends the key in a JSON body; the floor reads the body, nginx and HAProxy look up the
  bearer alone.
- **Cash-in**: `POST …/operations` from 64 connections, {keys} keys of one organisation, each
  with a daily volume. An answer means that the operation, the day's volume and the
  audit entry are on disk (fsync on). Client, server and PostgreSQL share all cores.
  *One transaction each* is `benches/alone.rs`: the same writes without HTTP, none of them together
  with another. `pgbench` is its TPC-B-like script at scale {scale} on the same PostgreSQL server,
  prepared statements, 16 clients.
- **Pages**: the first page of the list as a member who has signed in gets it, on one core. Where no
  page came within a run, its length stands for the latency.
- **Revocation**: a client calls with the key without pause. Measured is how long after the answer
  to the revoking POST a call could still begin and be let through; 0 means that none could.
- **Starting**: from the start of the process until `/readyz` answers.
- CPU is the server's own time, in and out of the kernel, for each request; it depends less than
  rates do on what else runs.
"""


def write(results):
    """The whole report."""
    sections = [HEAD, machines(results), aims_section(results)]
    for name, section in SECTIONS.items():
        if name in results:
            sections.append(section(results[name]["figures"]))
    numbers = {"usual": checks.USUAL, "warm": checks.WARM, "settle": checks.SETTLE}
    sections.append(METHOD.format(keys=cash_in.KEYS, scale=cash_in.SCALE, **numbers))
    return "\n".join(section for section in sections if section)


def machines(results):
    """What was measured on, and how quiet it was."""
    latest = list(results.values())[-1]
    described = latest["machine"] | {"Countersign": versions(results)}
    lines = [f"- {name}: {value}" for name, value in described.items()]
    busy = max(part["busy"] for part in results.values())
    lines.append(
        f"- Busy with other things just before a part began: at most {busy:.0%} of all cores"
    )
    effort = latest["effort"]
    lines.append(f"- Measured in {effort['rounds']} rounds, each run {effort['seconds']} s")
    if any(part["quick"] for part in results.values()):
        lines.append("- **A quick run**: shorter, fewer rounds, at most 100,000 keys")
    return "## Machine\n\n" + "\n".join(lines) + "\n"


def versions(results):
    """What was measured: one version, or which parts each of several was measured for."""
    parts = {}
    for name, part in results.items():
        parts.setdefault(part["machine"]["Countersign"], []).append(name)
    if len(parts) == 1:
        return next(iter(parts))
    return ", ".join(f"{version} ({', '.join(names)})" for version, names in parts.items())


# ---- Numbers as text ----------------------------------------------------------------------------


def spread(runs, figure, digits=0):
    """The median with the smallest and the largest."""
    values = [run[figure] for run in runs]
    number = lambda value: f"{value:,.{digits}f}"
    return f"{number(statistics.median(values))} ({number(min(values))}–{number(max(values))})"


def median(runs, figure):
    """The median of a figure."""
    return statistics.median(run[figure] for run in runs)


def ratio(runs, others, figure="rate"):
    """The median over the rounds of one contestant's figure by another's in the same round."""
    return statistics.median(run[figure] / other[figure] for run, other in zip(runs, others))


def table(head, rows):
    """A table in Markdown; the first column is words, the others are numbers."""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"


# ---- Sections -----------------------------------------------------------------------------------


def checks_section(figures):
    """Balance and verify beside the others, then memory."""
    text = "## Checking a key\n"
    for name, title in (("balance", "Balance"), ("verify", "Verify")):
        text += f"\n{title}, requests on one core from 64 connections:\n\n" + check_table(
            figures[name]
        )
    threads = sum(name.startswith("actix-rt") for name in figures["threads"])
    text += f"\nThe server ran {threads} worker thread{'s' * (threads != 1)} on its core.\n"
    return text + "\n## Memory\n\n" + memory_table(figures)


def check_table(contestants):
    """One row for each contestant."""
    head = ["", "requests/s", "p50 ms", "p99 ms", "CPU µs", "÷ floor", "÷ HAProxy"]
    floor, haproxy = contestants[checks.FLOOR], contestants[checks.HAPROXY]
    rows = [
        [
            name,
            spread(runs, "rate"),
            spread(runs, "p50", 2),
            spread(runs, "p99", 2),
            f"{median(runs, 'cpu'):.1f}",
            f"{ratio(runs, floor):.2f}",
            f"{ratio(runs, haproxy):.2f}",
        ]
        for name, runs in contestants.items()
    ]
    return table(head, rows)


def bytes_a_key(figures, moment):
    """What each key costs on the server with the most, beyond the server with the fewest."""
    sizes = key_counts(figures)
    least, most = (figures[moment][checks.countersign(count)] for count in (sizes[0], sizes[-1]))
    return (most - least) / (sizes[-1] - sizes[0])


def key_counts(figures):
    """How many keys the servers had, fewest first."""
    names = (name for name in figures["idle"] if name.startswith("Countersign, "))
    return sorted(int(name.split()[1].replace(",", "")) for name in names)


def memory_table(figures):
    """Resident memory of each server, when it is ready and when its keys were used."""
    mebibytes = lambda moment, name: f"{figures[moment][name] / 2**20:,.1f}"
    rows = [[name, mebibytes("idle", name), mebibytes("used", name)] for name in figures["idle"]]
    rows.append(
        [
            "each key beyond the first few, bytes",
            *(f"{bytes_a_key(figures, m):.0f}" for m in ("idle", "used")),
        ]
    )
    return table(["resident MiB", "when ready", "after all rounds"], rows)


def cash_in_section(figures):
    """Operations a second."""
    head = ["operations made durable", "a second", "p50 ms", "p99 ms", "÷ pgbench"]
    latency = lambda runs, figure: spread(runs, figure, 1) if figure in runs[0] else "–"
    rows = [
        [
            name,
            spread(runs, "rate"),
            latency(runs, "p50"),
            latency(runs, "p99"),
            f"{ratio(runs, figures[cash_in.PGBENCH]):.2f}",
        ]
        for name, runs in figures.items()
    ]
    return "## Durable cash-in\n\n" + table(head, rows)


def pages_section(figures):
    """Latencies of the long list."""
    rows = [
        [name, spread(runs, "p50", 1), spread(runs, "p99", 1), spread(runs, "rate")]
        for name, runs in figures.items()
    ]
    head = ["requests", "p50 ms", "p99 ms", "pages/s"]
    return f"## The list with {pages.KEYS:,} keys\n\n" + table(head, rows)


def revocation_section(figures):
    """Milliseconds until a key is denied."""
    rows = [
        [name, f"{statistics.median(found):.1f}", f"{max(found):.1f}", len(found)]
        for name, found in figures.items()
    ]
    return "## Let through after the revocation\n\n" + table(
        ["", "median ms", "longest ms", "keys"], rows
    )


def starts_section(figures):
    """Seconds until ready."""
    rows = [
        [name, spread(runs, "seconds", 2), f"{median(runs, 'bytes') / 2**20:,.1f}", len(runs)]
        for name, runs in figures.items()
    ]
    return "## Starting\n\n" + table(["", "seconds until ready", "resident MiB", "starts"], rows)


SECTIONS = {
    "checks": checks_section,
    "cash-in": cash_in_section,
    "pages": pages_section,
    "revocation": revocation_section,
    "starts": starts_section,
}


# ---- Aims ---------------------------------------------------------------------------------------


def verdict(value, missing, digits, unit):
    """A figure and what it lacks; one digit more where that would be rounded away."""
    if missing > 0 and round(missing, digits) == 0:
        digits += 1
    told = "met" if missing <= 0 else f"short by {missing:.{digits}f}{unit}"
    return f"{value:.{digits}f}{unit}", told


def at_least(aim, value, unit=""):
    """Whether an aim is met that is a lower bound."""
    return verdict(value, aim - value, 2, unit)


def below(aim, value, unit):
    """Whether an aim is met that is an upper bound."""
    return verdict(value, value - aim, 1, unit)


def aims_section(results):
    """Each aim, what was measured, and whether it is met."""
    rows = []
    for name, aims in AIMS.items():
        if name in results:
            rows += [[aim, *verdict] for aim, verdict in aims(results[name]["figures"])]
    return "## Aims\n\n" + table(["aim", "measured", ""], rows) if rows else ""


def check_aims(figures):
    """The aims for balance through a key, and for memory."""
    balance, sizes = figures["balance"], key_counts(figures)
    runs = balance[checks.countersign(checks.USUAL)]
    few, many = (balance[checks.countersign(count)] for count in (sizes[0], sizes[-1]))
    yield "balance ≥ 0.85 of the floor", at_least(0.85, ratio(runs, balance[checks.FLOOR]))
    yield "balance ahead of HAProxy's map", at_least(1, ratio(runs, balance[checks.HAPROXY]))
    yield "balance p99 under 2 ms", below(2, median(runs, "p99"), " ms")
    yield f"flat from {sizes[0]:,} to {sizes[-1]:,} keys (≥ 0.9 of the rate)", at_least(
        0.9, ratio(many, few)
    )
    yield "a key takes under 400 B, when ready", below(400, bytes_a_key(figures, "idle"), " B")
    yield "a key takes under 400 B, after use", below(400, bytes_a_key(figures, "used"), " B")


def cash_in_aims(figures):
    """The aim for cash-in, on both databases."""
    for database in (Sqlite, Postgres):
        found = ratio(figures[cash_in.over_http(database)], figures[cash_in.PGBENCH])
        yield f"cash-in ≥ 3 × pgbench, {database.name}", at_least(3, found, " ×")


def page_aims(figures):
    """The aim for the list, however it was measured."""
    for name, runs in figures.items():
        yield f"list p99 under 20 ms, {name}", below(20, median(runs, "p99"), " ms")


AIMS = {"checks": check_aims, "cash-in": cash_in_aims, "pages": page_aims}

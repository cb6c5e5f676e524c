"""Load by wrk, in interleaved rounds, and the medians of what came out."""

import json
import pathlib
import statistics
import subprocess

from .processes import CLIENT_CORE

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / "load.lua"


class Target:
    """A server and the requests to send it."""

    def __init__(self, server, request, secrets, cores=CLIENT_CORE):
        self.server, self.request, self.secrets, self.cores = server, request, secrets, cores

    def run(self, seconds, connections=64, begin=0.0):
        """One run of wrk; anything but success is a failure of the measurement."""
        command = [
            "taskset",
            "-c",
            self.cores,
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds}s",
            "--timeout",
            "10s",
            "-s",
            SCRIPT,
            self.server.url,
            "--",
            self.request,
            self.secrets,
            str(begin),
        ]
        before = self.server.cpu_seconds()
        result = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
        spent = self.server.cpu_seconds() - before
        lines = [line for line in result.stdout.splitlines() if line.startswith("figures ")]
        figures = json.loads(lines[0].removeprefix("figures "))
        if figures["status"] or figures["broken"]:
            raise RuntimeError(f"{self.server.url}: not every answer was a success: {figures}")
        if not figures["requests"]:  # each takes longer than the whole run
            return {"rate": 0, "p50": seconds * 1000, "p99": seconds * 1000, "cpu": spent * 1e6}
        return {
            "rate": figures["requests"] / figures["microseconds"] * 1e6,
            "p50": figures["p50"] / 1000,
            "p99": figures["p99"] / 1000,
            "cpu": spent / figures["requests"] * 1e6,
        }


def interleave(contestants, rounds, run):
    """Runs each contestant once a round, each round beginning with another; gives all runs."""
    runs = {name: [] for name in contestants}
    names = list(contestants)
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            runs[name].append(run(contestants[name], number / rounds))
    return runs


def alone(seconds, connections=64):
    """A way to run a target while every other server stands still."""

    def run(target, begin):
        target.server.resume()
        try:
            return target.run(seconds, connections, begin)
        finally:
            target.server.pause()

    return run


def summarise(runs):
    """Medians with the smallest and largest of each figure."""
    names = runs[0].keys()
    values = {name: [run[name] for run in runs] for name in names}
    return {
        name: {"median": statistics.median(found), "min": min(found), "max": max(found)}
        for name, found in values.items()
    }


def write_request(path, method, target, headers=None, body=""):
    """Writes a whole request; `{key}` in it stands for a secret of 56 characters."""
    length = len(body.replace("{key}", "k" * 56))
    lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {length}"]
    path = pathlib.Path(path)
    path.write_bytes("\r\n".join([*lines, "", body]).encode())
    return path

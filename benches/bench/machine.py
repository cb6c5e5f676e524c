"""What the measurements ran on."""

import os
import pathlib
import platform
import re
import statistics
import subprocess
import time

from . import programs


def said(*command):
    """The first line of what a command says."""
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return (result.stdout + result.stderr).splitlines()[0].strip()


def describe(scratch):
    """Facts by name, for the report."""
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text())
    postgres = programs.postgres_programs() / "postgres"
    return {
        "CPU": f"{cpu[1] if cpu else platform.processor()}, {os.cpu_count()} cores",
        "RAM": f"{int(memory[1]) / 2**20:.0f} GiB",
        "System": f"{platform.freedesktop_os_release()['PRETTY_NAME']}, Linux {platform.release()}",
        "Disk": f"{file_system(scratch)}, {fsync_microseconds(scratch):.0f} µs to fsync 8 KiB",
        "Rust": said("rustc", "--version").split()[1],
        "PostgreSQL": said(postgres, "--version").split()[2],
        "nginx": said("/usr/sbin/nginx", "-v").rsplit("/", 1)[1],
        "HAProxy": said("/usr/sbin/haproxy", "-v").split()[2],
        "Countersign": said("git", "-C", programs.ROOT, "describe", "--always", "--dirty"),
    }


def file_system(path):
    """The type of the file system under a path."""
    return said("findmnt", "--noheadings", "--output", "FSTYPE", "--target", path)


def fsync_microseconds(directory):
    """The median time to make 8 KiB durable."""
    path, taken = pathlib.Path(directory) / "fsync", []
    with open(path, "wb", buffering=0) as file:
        for _ in range(200):
            began = time.perf_counter()
            file.write(bytes(8192))
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - began)
    path.unlink()
    return statistics.median(taken) * 1e6


def wait_until_quiet(patience=60):
    """Waits until hardly anything else runs; gives the share of the machine that is busy then."""
    deadline = time.monotonic() + patience
    while (busy := busy_share()) > 0.05 and time.monotonic() < deadline:
        pass
    return busy


def busy_share(seconds=1):
    """How much of all cores is busy during a second."""
    before = cpu_times()
    time.sleep(seconds)
    total, idle = (after - then for after, then in zip(cpu_times(), before))
    return 1 - idle / total


def cpu_times():
    """All time of all cores, and what of it was idle."""
    times = [int(n) for n in pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(times), times[3] + times[4]

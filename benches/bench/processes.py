"""Servers as processes: started on a core, stopped between their turns, measured."""

import os
import pathlib
import signal
import socket
import subprocess
import time
import urllib.request

CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE = str(CORES[0])
CLIENT_CORE = str(CORES[-1])
ALL_CORES = ",".join(map(str, CORES))
PATIENCE = 180


def free_port():
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A server in a process group of its own."""

    def __init__(self, command, port, log, cores=SERVER_CORE, ready="/livez", environment=None):
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        began = time.perf_counter()
        with open(log, "wb") as output:
            self.process = subprocess.Popen(
                ["taskset", "-c", cores, *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )
        self.wait_until(ready, log)
        self.start_seconds = time.perf_counter() - began

    def wait_until(self, path, log):
        """Waits until the server answers 200."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"a server ended: {pathlib.Path(log).read_text()[-2000:]}")
            try:
                with urllib.request.urlopen(self.url + path, timeout=PATIENCE):
                    return
            except OSError:
                time.sleep(0.002)
        raise RuntimeError(f"{self.url}{path} does not answer")

    def pause(self):
        """Takes the server off its core until `resume`."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def resume(self):
        """Lets the server run again."""
        os.killpg(self.process.pid, signal.SIGCONT)

    def pids(self):
        """The process and its children."""
        task = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [self.process.pid, *map(int, task.read_text().split())]

    def resident_bytes(self):
        """The resident memory of the process and its children."""
        return sum(resident_bytes(pid) for pid in self.pids())

    def cpu_seconds(self):
        """The time on a core that the process and its children have had."""
        return sum(cpu_seconds(pid) for pid in self.pids())

    def threads(self):
        """The names of the threads, sorted."""
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/comm")
        return sorted(task.read_text().strip() for task in tasks)

    def stop(self):
        """Ends the server in order."""
        if self.process.poll() is None:
            self.resume()
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def resident_bytes(pid):
    """The resident memory of one process."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def cpu_seconds(pid):
    """The time on a core that one process has had, for itself and in the kernel."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

"""The programs the measurements need: found, installed where that may be done, and built."""

import os
import pathlib
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
RELEASE = ROOT / "target" / "release"
# Each program and the Debian package that has it.
PACKAGES = {
    "wrk": "wrk",
    "nginx": "nginx-light",
    "haproxy": "haproxy",
    "pgbench": "postgresql",
    "taskset": "util-linux",
}
NO_MAIN_CLUSTER = pathlib.Path("/etc/postgresql-common/createcluster.d/countersign.conf")


def find_missing():
    """The packages of the programs that are not there."""
    here = lambda name: shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    missing = {package for name, package in PACKAGES.items() if not here(name)}
    if not postgres_programs():
        missing.add("postgresql")
    return sorted(missing)


def postgres_programs():
    """The directory of PostgreSQL's server programs: the newest of Debian, or the one in PATH."""
    version = lambda path: [int(n) for n in path.parent.parent.name.split(".")]
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=version)
    in_path = shutil.which("initdb")
    if found:
        return found[-1].parent
    return pathlib.Path(in_path).parent if in_path else None


def install_missing():
    """Installs what is missing on Debian as root; elsewhere names it and ends."""
    missing = find_missing()
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise SystemExit(f"benches/run: install what Debian calls: {' '.join(missing)}")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    apt = lambda *words: subprocess.run(["apt-get", "-q", *words], env=environment, check=True)
    apt("update")
    # Debian's package would also create and start a server, which nobody asked for.
    NO_MAIN_CLUSTER.parent.mkdir(parents=True, exist_ok=True)
    NO_MAIN_CLUSTER.write_text("create_main_cluster = false\n")
    try:
        apt("install", "-y", "--no-install-recommends", *missing)
    finally:
        NO_MAIN_CLUSTER.unlink()


def build():
    """Builds the server as it is shipped, and the programs beside it."""
    programs = ["--bin", "countersign", "--bench", "floor", "--bench", "alone"]
    subprocess.run(["cargo", "build", "--release", "--locked", *programs], cwd=ROOT, check=True)


def bench_program(name):
    """The newest build of a program in benches/."""
    built = [path for path in (RELEASE / "deps").glob(f"{name}-*") if not path.suffix]
    return max(built, key=lambda path: path.stat().st_mtime)

"""The servers that are measured: Countersign, its floor, and what one could put in its place."""

import os
import re

from . import programs
from .people import PASSWORD
from .processes import ALL_CORES, SERVER_CORE, Server, free_port

# More calls than any measurement makes: the limit is counted on every call and never reached.
ENDLESS = "4000000000"


def write_catalogue(scratch):
    """The shipped catalogue, but for rate limits that are never reached."""
    folder = scratch / "catalogue"
    folder.mkdir()
    for file in (programs.ROOT / "catalogue").glob("*.toml"):
        text = re.sub(r"(\bcalls\s*=\s*)\d+", rf"\g<1>{ENDLESS}", file.read_text())
        (folder / file.name).write_text(text)
    return folder


class Countersign:
    """The program, its catalogue, and a folder for logs and mails."""

    def __init__(self, scratch):
        self.scratch, self.started = scratch, 0
        self.catalogue = write_catalogue(scratch)
        self.program = programs.RELEASE / "countersign"

    def environment(self, database, port):
        """Settings, and nothing else of our environment."""
        address = f"127.0.0.1:{port}"
        return {
            "PATH": os.environ["PATH"],
            "DATABASE_URL": database.url,
            "DATA_DIR": str(self.scratch / f"data-{self.started}"),
            "CATALOGUE_DIR": str(self.catalogue),
            "BIND": address,
            "PUBLIC_URL": f"http://{address}",
        }

    def start(self, database, cores=SERVER_CORE, command=("serve",)):
        """A server on a database, ready to work."""
        self.started += 1
        port = free_port()
        environment = self.environment(database, port)
        command = [part.format(port=port) for part in command]
        log = self.scratch / f"countersign-{self.started}.log"
        return Server([self.program, *command], port, log, cores, "/readyz", environment)

    def fill(self, database):
        """Fills an empty database with the people and the money of the demo."""
        demo = ("demo", "--port", "{port}", "--password", PASSWORD)
        self.start(database, ALL_CORES, demo).stop()


def start_floor(scratch):
    """The same server software, answering with constants."""
    port = free_port()
    return Server(
        [programs.bench_program("floor"), f"127.0.0.1:{port}"], port, scratch / "floor.log"
    )


NGINX = """
worker_processes 1;
pid {scratch}/nginx.pid;
error_log stderr;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {scratch}/nginx-body;
    proxy_temp_path {scratch}/nginx-proxy;
    fastcgi_temp_path {scratch}/nginx-fastcgi;
    uwsgi_temp_path {scratch}/nginx-uwsgi;
    scgi_temp_path {scratch}/nginx-scgi;
    map_hash_max_size {size};
    map_hash_bucket_size 128;
    map $http_authorization $known {{ default 0; include {scratch}/nginx.map; }}
    server {{
        listen 127.0.0.1:{port};
        default_type application/json;
        location = /livez {{ return 200 'ok'; }}
        location / {{
            if ($known = 0) {{ return 401; }}
            return 200 '{answer}';
        }}
    }}
}}
"""

HAPROXY = """
global
    nbthread 1
    maxconn 1024
defaults
    mode http
    timeout client 60s
    timeout server 60s
    timeout connect 5s
    timeout http-keep-alive 60s
frontend keys
    bind 127.0.0.1:{port}
    http-request return status 200 content-type text/plain string ok if {{ path /livez }}
    acl known req.hdr(authorization),bytes(7),map({scratch}/haproxy.map) -m found
    http-request deny deny_status 401 unless known
    http-request return status 200 content-type application/json string '{answer}'
"""
ANSWER = '{"balance":"50000.00"}'


def start_nginx(scratch, keys):
    """nginx with each key in a `map`."""
    port = free_port()
    (scratch / "nginx.map").write_text("".join(f'"Bearer {key}" 1;\n' for key in keys))
    text = NGINX.format(scratch=scratch, port=port, size=max(2048, 4 * len(keys)), answer=ANSWER)
    (scratch / "nginx.conf").write_text(text)
    command = ["/usr/sbin/nginx", "-e", "stderr", "-c", scratch / "nginx.conf", "-g", "daemon off;"]
    return Server(command, port, scratch / "nginx.log")


def start_haproxy(scratch, keys):
    """HAProxy with each key in a map file, which it holds in memory."""
    port = free_port()
    (scratch / "haproxy.map").write_text("".join(f"{key} 1\n" for key in keys))
    (scratch / "haproxy.cfg").write_text(HAPROXY.format(scratch=scratch, port=port, answer=ANSWER))
    command = ["/usr/sbin/haproxy", "-db", "-f", scratch / "haproxy.cfg"]
    return Server(command, port, scratch / "haproxy.log")

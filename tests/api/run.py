#!/usr/bin/env python3
"""Lets schemathesis call every endpoint of the real program, with keys that two people agreed on.

    python run.py PROGRAM

It starts a demo of PROGRAM, drives its forms as people do, and runs the schemathesis that stands
beside this Python. It fails on a 5xx and on any answer that docs/openapi.json does not describe.
"""

import html
import http.cookiejar
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import document

HERE = Path(__file__).resolve().parent
PASSWORD = "two people agree"
WALLET = ["read_balance", "read_transactions", "perform_operations"]
DISTRIBUTOR = "/api/v1/distributors/36e48800-22ce-4ea0-b37a-198f7978cd53"


class StayHere(urllib.request.HTTPRedirectHandler):
    """Hands redirects out instead of following them."""

    def redirect_request(self, *_):
        return None


class Person:
    """A browser with its cookies; sends the proof of the last page with each form."""

    def __init__(self, url, email):
        self.url, self.csrf = url, ""
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self.browser = urllib.request.build_opener(cookies, StayHere)
        self.open("/login")
        self.send("/login", [("email", email), ("password", PASSWORD)], 303)
        self.open("/")

    def open(self, path):
        return self.ask(urllib.request.Request(self.url + path), 200)[1]

    def send(self, path, fields, status):
        form = urllib.parse.urlencode([("csrf", self.csrf), *fields]).encode()
        return self.ask(urllib.request.Request(self.url + path, data=form), status)

    def ask(self, request, status):
        """The address that the answer leads to, and its text."""
        try:
            answer = self.browser.open(request, timeout=30)
        except urllib.error.HTTPError as refusal:
            answer = refusal
        text = answer.read().decode()
        if answer.status != status:
            sys.exit(f"{request.full_url}: {answer.status}, not {status}\n{text}")
        proof = re.search(r'name="csrf" value="([^"]+)"', text)
        self.csrf = html.unescape(proof[1]) if proof else self.csrf
        return answer.headers.get("Location", ""), text


def live_key(maker, checker, label, api, permissions):
    """The secret of a key that the maker asked for, the checker approved and the maker revealed."""
    wish = [("label", label), ("api", api), ("environment", "staging"), ("expires_in_days", "1")]
    request, _ = maker.send(
        "/settings/api-keys", wish + [("permissions", slug) for slug in permissions], 303
    )
    checker.send(f"{request}/approve", [("version", "1"), ("comment", "")], 303)
    listed = maker.open("/settings/api-keys/active")
    key = re.search(rf'href="(/settings/api-keys/[0-9a-f-]{{36}})"[^>]*>\s*{label}\s*<', listed)[1]
    _, page = maker.send(f"{key}/reveal", [], 200)
    field = re.search(r'<input[^>]*id="api-key"[^>]*>', page)[0]
    return re.search(r'value="([^"]+)"', field)[1]


def call(url, key, path, body=None):
    """A call of the wallet API that succeeds."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(url + DISTRIBUTOR + path, data=data, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def decide(checker, operation, verb, field):
    request = f"/requests/{operation.removeprefix('op_')}"
    checker.send(f"{request}/{verb}", [("version", "1"), (field, "Seen")], 303)


def operations(url, key, checker):
    """One operation of each kind in each state, so that each is among the answers."""
    wishes = [
        {"operationType": "cash-in", "amount": "5000.00", "phoneTo": "+234 8123456781"},
        {"operationType": "cash-in", "amount": "7.5", "merchantToShortCode": "200000", "memo": "Rent"},
        {"operationType": "cash-out-fulfillment", "amount": "3", "phoneFrom": "+2348123456781",
         "cashOutFulfillmentType": "cash", "cashOutFulfillmentID": "receipt-1"},
        {"operationType": "cash-in", "amount": "30000.00", "phoneTo": "+234 8123456782"},
    ]
    for wish in wishes:
        made = [call(url, key, "/operations", wish)["operationID"] for _ in range(3)]
        decide(checker, made[0], "approve", "comment")
        decide(checker, made[1], "reject", "reason")
    # The wallet does not hold as much a second time.
    decide(checker, made[2], "approve", "comment")
    found = {(one["operationType"], one["status"]) for one in call(url, key, "/operations")}
    states = {"pending", "completed", "rejected"}
    expected = {(wish["operationType"], state) for wish in wishes for state in states}
    if missing := expected.union({("cash-in", "failed")}) - found:
        sys.exit(f"there are no operations of these kinds: {missing}")


def schemathesis(url, key, *options):
    """One run with one key."""
    program = Path(sys.executable).with_name("st")
    config = ["--config-file", HERE / "schemathesis.toml"]
    command = [program, *config, "run", f"{url}/api/v1/openapi.json", *options]
    print("==> schemathesis", *options, flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        environment = {**os.environ, "API_KEY": key}
        if subprocess.run(command, env=environment, cwd=scratch).returncode != 0:
            sys.exit("schemathesis found faults")


def main(program):
    with tempfile.TemporaryDirectory() as data:
        demo = [program, "demo", "--port", "0", "--password", PASSWORD, "--data-dir", data]
        with subprocess.Popen(demo, stdout=subprocess.PIPE, text=True) as server:
            try:
                walk(next(line.split()[-1] for line in server.stdout if "http://" in line))
                if server.poll() is not None:
                    sys.exit("the server has ended")
            finally:
                server.terminate()


def walk(url):
    with urllib.request.urlopen(f"{url}/api/v1/openapi.json", timeout=30) as answer:
        print(f"==> {document.check(json.load(answer))} examples in the document, all of them valid")
    maker, checker = (Person(url, f"{who}@demo.example") for who in ("maker", "checker"))
    wallet = live_key(maker, checker, "Wallet", "wallet", WALLET)
    operations(url, wallet, checker)
    others = ["verifyKey", "revokeKey"]
    schemathesis(url, wallet, *(f"--exclude-operation-id={one}" for one in others))
    verifier = live_key(maker, checker, "Verifier", "countersign", ["verify"])
    # No link leads from this endpoint to itself: there are no stories to walk.
    schemathesis(url, verifier, "--include-operation-id=verifyKey", "--phases=examples,coverage,fuzzing")
    # The first good call ends the key: nothing but examples, and whatever comes after them is a 401.
    ended = live_key(maker, checker, "Revoked", "wallet", WALLET)
    schemathesis(url, ended, "--include-operation-id=revokeKey", "--phases=examples")


main(sys.argv[1])

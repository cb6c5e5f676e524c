"""People at their browsers: signing in, and making keys the way Countersign wants it."""

import http.client
import re
import urllib.parse

PASSWORD = "two people agree"
LIMITS = {
    "max_transaction_amount": "1000.00",
    "max_daily_volume": "1000000000.00",
    "allowed_ips": "127.0.0.0/8",
}


class Person:
    """Somebody with a browser, signed in."""

    def __init__(self, server, name):
        self.address, self.cookies, self.csrf = ("127.0.0.1", server.port), {}, ""
        self.connection = http.client.HTTPConnection(*self.address)
        self.get("/login")
        self.post("/login", email=f"{name}@demo.example", password=PASSWORD)
        self.get("/")

    def get(self, path):
        """Opens a page."""
        return self.send("GET", path, 200)[0]

    def post(self, path, expected=303, **fields):
        """Sends a form; gives the page, or where it leads."""
        body = urllib.parse.urlencode({"csrf": self.csrf, **fields}, doseq=True)
        page, location = self.send("POST", path, expected, body)
        return location if expected == 303 else page

    def send(self, method, path, expected, body=None):
        """Sends a request as a browser would; keeps cookies and the proof for forms."""
        headers = {"Cookie": self.cookie(), "Sec-Fetch-Site": "same-origin"}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        page = answer.read().decode()
        if answer.status != expected:
            raise RuntimeError(f"{method} {path} answered {answer.status}: {plain(page)}")
        for line in answer.headers.get_all("Set-Cookie", []):
            name, value = line.split(";")[0].split("=", 1)
            self.cookies[name] = value
        found = re.search(r'name="csrf" value="([^"]*)"', page)
        self.csrf = found[1] if found else self.csrf
        return page, answer.headers.get("Location")

    def cookie(self):
        """What the browser sends of its cookies."""
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())


def plain(page):
    """The text of a page's main part."""
    main = re.sub(r"(?s).*<main[^>]*>|</main>.*", "", page)
    return " ".join(re.sub(r"<[^>]*>", " ", main).split())[:500]


class Pair:
    """A maker and a checker, who can make keys together."""

    def __init__(self, server):
        self.maker, self.checker = Person(server, "maker"), Person(server, "checker")

    def make_key(self, label, api, permissions, **fields):
        """A key, asked for, approved, revealed and saved: its request, its id, its secret."""
        self.maker.get(f"/settings/api-keys/new?api={api}")
        request = self.maker.post(
            "/settings/api-keys",
            api=api,
            label=label,
            environment="production",
            permissions=permissions,
            expires_in_days="365",
            justification="For a measurement.",
            **fields,
        )
        version = re.search(r'name="version" value="(\d+)"', self.checker.get(request))[1]
        self.checker.post(f"{request}/approve", version=version, comment="")
        key = re.search(r'href="(/settings/api-keys/[0-9a-f-]{36})', self.maker.get(request))[1]
        self.maker.get(key)
        page = self.maker.post(f"{key}/reveal", expected=200)
        secret = re.search(r'id="api-key" value="([^"]*)"', page)[1]
        shown = re.search(r'name="secret" value="([^"]*)"', page)[1]
        self.maker.post(f"{key}/confirm", secret=shown)
        return request.rsplit("/", 1)[1], key.rsplit("/", 1)[1], secret

    def make_wallet_key(self, label):
        """A key of the wallet that may see the balance and ask for money to move."""
        return self.make_key(label, "wallet", ["read_balance", "perform_operations"], **LIMITS)

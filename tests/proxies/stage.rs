//! The stage of these tests: the real server, the service, and a real nginx and a real Caddy between them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::support::http::{self, Answer, Client};
use crate::support::process::{Home, Program, free_port, wait_for};
use crate::upstream::Upstream;

const PASSWORD: &str = "two people agree";

/// Where the proxies call from.
pub const PROXY: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// Where clients call from: loopback too, and none of the trusted proxies.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

pub struct Stage {
    pub server: Program,
    pub upstream: Upstream,
    pub nginx: Proxy,
    pub caddy: Proxy,
    // Last, so that it is gone after everything that runs in it.
    _home: Home,
}

/// A running proxy.
pub struct Proxy {
    pub name: &'static str,
    pub program: Program,
}

/// A key that can be used.
pub struct Key {
    pub id: String,
    pub secret: String,
    maker: Client,
}

impl Stage {
    /// Everything up, with the proxies' configuration asking for this query, such as `api=optimove`.
    pub fn with(query: &str) -> Self {
        let home = Home::fresh();
        home.seed_demo();
        let server = home.serve_with(&[("TRUSTED_PROXIES", "127.0.0.1/32")]);
        let upstream = Upstream::start();
        let query = format!("?{query}");
        let places = [
            ("127.0.0.1:8080", server.address.to_string()),
            ("127.0.0.1:9000", upstream.address.to_string()),
            ("?api=optimove", if query == "?" { String::new() } else { query }),
        ];
        let nginx = nginx(&home.path("nginx"), &places);
        let caddy = caddy(&home.path("caddy"), &places);
        Self { server, upstream, nginx, caddy, _home: home }
    }

    pub fn proxies(&self) -> [&Proxy; 2] {
        [&self.nginx, &self.caddy]
    }

    /// A key with these fields of the form; asked for by the maker, approved by the checker, revealed.
    pub fn key(&self, fields: &[(&str, &str)]) -> Key {
        let mut maker = self.sign_in("maker@demo.example");
        maker.get("/settings/api-keys/new").unwrap().is(200);
        let usual = [("label", "Shop"), ("environment", "production")];
        let unsaid = usual.iter().filter(|(name, _)| fields.iter().all(|(said, _)| said != name));
        let all: Vec<_> = unsaid.chain(fields).copied().collect();
        let request = maker.submit("/settings/api-keys", &all).unwrap().is(303);
        let request = request.header("location").to_owned();
        let mut checker = self.sign_in("checker@demo.example");
        checker.get(&request).unwrap().is(200);
        let vote = [("version", "1"), ("comment", "")];
        checker.submit(&format!("{request}/approve"), &vote).unwrap().is(303);
        let page = maker.get(&request).unwrap().is(200);
        let link = page.attribute("a.btn-primary[href^='/settings/api-keys/']", "href");
        let path = link.expect("the approved request leads to its key");
        maker.get(&path).unwrap().is(200);
        let page = maker.submit(&format!("{path}/reveal"), &[]).unwrap().is(200);
        let secret = page.attribute("input#api-key", "value").unwrap();
        let id = path.rsplit('/').next().unwrap().to_owned();
        Key { id, secret, maker }
    }

    pub fn sign_in(&self, email: &str) -> Client {
        let mut client = Client::new(self.server.address);
        client.sign_in(email, PASSWORD).unwrap().is(303);
        client
    }
}

impl Key {
    /// Revokes the key in the browser of its maker.
    pub fn revoke(&mut self) {
        let path = format!("/settings/api-keys/{}", self.id);
        self.maker.get(&path).unwrap().is(200);
        let fields = [("reason", "Leaked"), ("confirm_label", "Shop")];
        self.maker.submit(&format!("{path}/revoke"), &fields).unwrap().is(303);
    }
}

impl Proxy {
    /// A call from the client's address.
    pub fn call(&self, what: (&str, &str), headers: &[(&str, &str)], body: &str) -> Answer {
        send(CLIENT, self.program.address, what, headers, body)
    }

    /// `GET` with a key in a header.
    pub fn get(&self, path: &str, header: (&str, &str)) -> Answer {
        self.call(("GET", path), &[header], "")
    }
}

/// One request from an address of the loopback network.
pub fn send(
    from: Ipv4Addr,
    to: SocketAddr,
    (method, path): (&str, &str),
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let lines: Vec<_> =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let lines = lines.concat();
    let length = body.len();
    let text = format!(
        "{method} {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n{lines}Content-Length: {length}\r\n\r\n{body}"
    );
    send_raw(from, to, text.as_bytes()).unwrap_or_else(|e| panic!("{method} {path}: {e}"))
}

/// These very bytes, on a connection of their own.
pub fn send_raw(from: Ipv4Addr, to: SocketAddr, bytes: &[u8]) -> io::Result<Answer> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((IpAddr::V4(from), 0)).into())?;
    socket.connect(&to.into())?;
    http::exchange(TcpStream::from(socket), bytes)
}

/// What the service saw of a call that came through.
#[track_caller]
pub fn seen(answer: Answer) -> Value {
    let answer = answer.is(200);
    serde_json::from_str(&answer.body).unwrap()
}

/// The value of a header that reached the service; null if it did not.
pub fn header<'a>(seen: &'a Value, name: &str) -> &'a Value {
    &seen["headers"][name]
}

fn nginx(dir: &Path, places: &[(&str, String)]) -> Proxy {
    std::fs::create_dir(dir).unwrap();
    let port = free_port();
    let listen = ("listen 80;", format!("listen 127.0.0.1:{port};"));
    let server = fill("docs/forward-auth/nginx.conf", &[&[listen], places].concat());
    let temp = |kind| format!("{kind}_temp_path {}/{kind};\n", dir.display());
    let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(temp).concat();
    let conf = dir.join("nginx.conf");
    let text = format!(
        "daemon off;\nmaster_process off;\npid {}/pid;\nevents {{}}\n\
         http {{\naccess_log off;\nclient_max_body_size 64m;\n{temp}{server}\n}}\n",
        dir.display()
    );
    std::fs::write(&conf, text).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-p").arg(dir).arg("-c").arg(&conf).args(["-e", "stderr"]);
    start("nginx", dir, command, port)
}

fn caddy(dir: &Path, places: &[(&str, String)]) -> Proxy {
    std::fs::create_dir(dir).unwrap();
    let port = free_port();
    let site = ("api.example.com {", format!("http://127.0.0.1:{port} {{"));
    let site = fill("docs/forward-auth/Caddyfile", &[&[site], places].concat());
    let conf = dir.join("Caddyfile");
    let global = "{\n\tadmin off\n\tauto_https off\n\tdefault_bind 127.0.0.1\n}\n";
    std::fs::write(&conf, format!("{global}{site}")).unwrap();
    let mut command = Command::new("caddy");
    command.arg("run").arg("--config").arg(&conf).args(["--adapter", "caddyfile"]);
    command.env("HOME", dir).env("XDG_DATA_HOME", dir).env("XDG_CONFIG_HOME", dir);
    start("caddy", dir, command, port)
}

/// A file of the documentation with other names and addresses in it; each one must be there.
fn fill(file: &str, places: &[(&str, String)]) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    places.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{from} is not in {file}");
        text.replace(from, to)
    })
}

fn start(name: &'static str, dir: &Path, command: Command, port: u16) -> Proxy {
    let address = SocketAddr::from((PROXY, port));
    let mut program = Program::spawn(dir, command, address);
    wait_for(name, || {
        program.assert_alive();
        TcpStream::connect(address).ok()
    });
    Proxy { name, program }
}

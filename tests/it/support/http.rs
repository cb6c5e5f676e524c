//! A small blocking HTTP/1.1 client for real sockets: cookies, forms with their proof, no keep-alive.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use scraper::{Html, Selector};

const PATIENCE: Duration = Duration::from_secs(20);

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Answer {
    /// A header, empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers(name).next().unwrap_or_default()
    }

    /// A header that may be there once and no more.
    #[track_caller]
    pub fn only_header(&self, name: &str) -> Option<&str> {
        let found: Vec<_> = self.headers(name).collect();
        assert!(found.len() < 2, "{name}: {found:?}");
        found.first().copied()
    }

    fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }

    /// An attribute of the first element that fits a CSS selector.
    pub fn attribute(&self, css: &str, name: &str) -> Option<String> {
        let (html, css) = (Html::parse_document(&self.body), Selector::parse(css).unwrap());
        html.select(&css).next().and_then(|element| element.attr(name)).map(str::to_owned)
    }

    /// Fails the test unless the answer has this status.
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}\n{}", self.head, self.body);
        self
    }
}

/// A person's browser.
#[derive(Clone)]
pub struct Client {
    address: SocketAddr,
    pub cookies: BTreeMap<String, String>,
    csrf: String,
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        Self { address, cookies: BTreeMap::new(), csrf: String::new() }
    }

    /// The same session, with a server that has moved.
    pub fn at(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// Opens a page and remembers the proof of its forms.
    pub fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.send(("GET", path), Vec::new(), "")
    }

    /// Sends a form with the proof of the last page.
    pub fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> io::Result<Answer> {
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        body.append_pair("csrf", &self.csrf).extend_pairs(fields);
        let kind = ("Content-Type", "application/x-www-form-urlencoded".to_owned());
        let ours = ("Sec-Fetch-Site", "same-origin".to_owned());
        self.send(("POST", path), vec![kind, ours], &body.finish())
    }

    /// Signs in; the answer is that to the form.
    pub fn sign_in(&mut self, email: &str, password: &str) -> io::Result<Answer> {
        self.get("/login")?;
        let answer = self.submit("/login", &[("email", email), ("password", password)])?;
        if answer.status == 303 {
            self.get("/")?;
        }
        Ok(answer)
    }

    /// Asks for a key that may read the balance; the answer leads to the request.
    pub fn ask_for_key(&mut self, label: &str) -> io::Result<Answer> {
        let kind = [("api", "wallet"), ("environment", "production"), ("expires_in_days", "30")];
        let wish = [("label", label), ("permissions", "read_balance")];
        self.submit("/settings/api-keys", &[&kind[..], &wish].concat())
    }

    fn send(
        &mut self,
        what: (&str, &str),
        mut headers: Vec<(&str, String)>,
        body: &str,
    ) -> io::Result<Answer> {
        let cookies: Vec<_> = self.cookies.iter().map(|(k, v)| format!("{k}={v}")).collect();
        headers.push(("Cookie", cookies.join("; ")));
        let answer = request(self.address, what, &headers, body)?;
        for line in answer.headers("set-cookie") {
            let (name, rest) = line.split_once('=').unwrap_or_default();
            let value = rest.split(';').next().unwrap_or_default();
            if rest.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        if let Some(csrf) = answer.attribute("input[name=csrf]", "value") {
            self.csrf = csrf;
        }
        Ok(answer)
    }
}

/// A call of the wallet API.
pub fn call(address: SocketAddr, path: &str, secret: &str) -> io::Result<Answer> {
    request(address, ("GET", path), &[("Authorization", format!("Bearer {secret}"))], "")
}

/// One request on a connection of its own; an answer that was cut off is an error.
pub fn request(
    address: SocketAddr,
    (method, path): (&str, &str),
    headers: &[(&str, String)],
    body: &str,
) -> io::Result<Answer> {
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    let lines: Vec<_> = headers.iter().map(|(k, v)| format!("{k}: {v}\r\n")).collect();
    let lines = lines.concat();
    let text = format!("{head}{lines}Content-Length: {}\r\n\r\n{body}", body.len());
    exchange(TcpStream::connect_timeout(&address, PATIENCE)?, text.as_bytes())
}

/// Sends these very bytes, which must ask for the connection to be closed, and reads the answer.
pub fn exchange(mut socket: TcpStream, request: &[u8]) -> io::Result<Answer> {
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.write_all(request)?;
    let mut raw = Vec::new();
    socket.read_to_end(&mut raw)?;
    let raw = String::from_utf8_lossy(&raw).into_owned();
    let cut = || io::Error::new(io::ErrorKind::UnexpectedEof, "the answer was cut off");
    let (head, body) = raw.split_once("\r\n\r\n").ok_or_else(cut)?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or_else(cut)?;
    let answer = Answer { status, head: head.to_owned(), body: body.to_owned() };
    // Without a length the end of the connection is the end of the answer.
    let length = answer.only_header("content-length").map(str::parse::<usize>);
    let whole = length.is_none_or(|length| length == Ok(answer.body.len()));
    if whole { Ok(answer) } else { Err(cut()) }
}

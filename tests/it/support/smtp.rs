//! A mail server inside the test: takes everything, refuses on demand, can go down and come back.
#![expect(clippy::unwrap_used, reason = "a failed assumption should stop the test")]

mod decode;

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// One mail as it came over the wire, dots undone.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReceivedMail {
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    pub(crate) data: String,
}

#[derive(Default)]
struct State {
    received: Vec<ReceivedMail>,
    rejected: HashMap<String, String>,
    next_rcpt: Option<String>,
    is_up: bool,
    connections: Vec<TcpStream>,
}

/// The server; it stops when it is dropped.
pub(crate) struct SmtpServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    acceptor: Mutex<Option<JoinHandle<()>>>,
}

impl SmtpServer {
    /// Listens on a free port of this machine.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self { address, state: Arc::default(), acceptor: Mutex::default() };
        server.listen(listener);
        server
    }

    /// The value for `SMTP_URL`.
    pub(crate) fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// All mails taken so far; a mail is here before its sender is told that it was taken.
    pub(crate) fn received(&self) -> Vec<ReceivedMail> {
        self.state.lock().unwrap().received.clone()
    }

    /// Refuses connections from now on and cuts the open ones; the port is kept for later.
    pub(crate) fn go_down(&self) {
        let Some(acceptor) = self.acceptor.lock().unwrap().take() else { return };
        self.state.lock().unwrap().is_up = false;
        // Wakes the acceptor, which then closes its listener.
        drop(TcpStream::connect(self.address));
        acceptor.join().unwrap();
        for connection in self.state.lock().unwrap().connections.drain(..) {
            // It may have ended by itself.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// Listens on the same port again.
    pub(crate) fn come_back(&self) {
        self.go_down();
        self.listen(TcpListener::bind(self.address).unwrap());
    }

    /// Answers the next recipient, whoever it is, with this line, once.
    pub(crate) fn answer_next_rcpt_with(&self, answer: &str) {
        self.state.lock().unwrap().next_rcpt = Some(answer.to_owned());
    }

    /// Answers this recipient with this line from now on.
    pub(crate) fn reject_recipient(&self, address: &str, answer: &str) {
        self.state.lock().unwrap().rejected.insert(address.to_owned(), answer.to_owned());
    }

    fn listen(&self, listener: TcpListener) {
        self.state.lock().unwrap().is_up = true;
        let state = Arc::clone(&self.state);
        let acceptor = thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let mut locked = state.lock().unwrap();
                if !locked.is_up {
                    return;
                }
                locked.connections.push(connection.try_clone().unwrap());
                let state = Arc::clone(&state);
                thread::spawn(move || converse(&connection, &state));
            }
        });
        *self.acceptor.lock().unwrap() = Some(acceptor);
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        self.go_down();
    }
}

/// Serves one connection until its end; a broken connection is an end, too.
fn converse(mut connection: &TcpStream, state: &Mutex<State>) -> Option<()> {
    let mut lines = BufReader::new(connection).split(b'\n').map_while(Result::ok).map(|line| {
        let line = String::from_utf8_lossy(&line).into_owned();
        line.strip_suffix('\r').map(str::to_owned).unwrap_or(line)
    });
    let mut mail = ReceivedMail::default();
    connection.write_all(b"220 test\r\n").ok()?;
    while let Some(line) = lines.next() {
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_uppercase();
        let answer = match verb.as_str() {
            "EHLO" => "250-test\r\n250 8BITMIME".to_owned(),
            "MAIL" => {
                mail = ReceivedMail { from: address(&line), ..ReceivedMail::default() };
                "250 ok".to_owned()
            }
            "RCPT" => answer_rcpt(&line, &mut mail, state),
            "DATA" if mail.to.is_empty() => "503 no recipient".to_owned(),
            "DATA" => {
                connection.write_all(b"354 go on\r\n").ok()?;
                mail.data = read_data(&mut lines)?;
                state.lock().unwrap().received.push(std::mem::take(&mut mail));
                "250 taken".to_owned()
            }
            "HELO" | "NOOP" => "250 ok".to_owned(),
            "RSET" => {
                mail = ReceivedMail::default();
                "250 ok".to_owned()
            }
            "QUIT" => return connection.write_all(b"221 bye\r\n").ok(),
            _ => "500 unknown".to_owned(),
        };
        // In one piece: the system holds a second small write back until the first is confirmed.
        connection.write_all(format!("{answer}\r\n").as_bytes()).ok()?;
    }
    None
}

/// Reads up to the line with the single dot; without one the mail did not arrive.
fn read_data(lines: &mut impl Iterator<Item = String>) -> Option<String> {
    let mut data = Vec::new();
    loop {
        match lines.next()?.as_str() {
            "." => return Some(data.join("\n")),
            line => data.push(line.strip_prefix('.').unwrap_or(line).to_owned()),
        }
    }
}

fn answer_rcpt(line: &str, mail: &mut ReceivedMail, state: &Mutex<State>) -> String {
    let to = address(line);
    let mut state = state.lock().unwrap();
    let refusal = state.next_rcpt.take().or_else(|| state.rejected.get(&to).cloned());
    refusal.unwrap_or_else(|| {
        mail.to.push(to);
        "250 ok".to_owned()
    })
}

fn address(line: &str) -> String {
    let (_, rest) = line.split_once('<').unwrap_or_default();
    rest.split('>').next().unwrap_or_default().to_owned()
}

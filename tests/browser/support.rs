//! The processes a browser test starts: the server under test and the browser's driver.

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a process may take to come up, on a machine that is busy with other things.
const START: Duration = Duration::from_secs(30);

/// The value of an environment variable that `tests/run` sets.
pub(crate) fn setting(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: start the browser tests with `tests/run browser`")
    })
}

/// A child process that is read all the time, and killed when this value is dropped.
struct Process {
    child: Child,
    said: Arc<Mutex<String>>,
    lines: Receiver<String>,
}

impl Process {
    fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (sender, lines) = mpsc::channel();
        let said = Arc::default();
        collect(child.stdout.take().expect("standard output is piped"), &said, sender.clone());
        collect(child.stderr.take().expect("standard error is piped"), &said, sender);
        Self { child, said, lines }
    }

    /// Everything the process has said so far, on both of its outputs.
    fn said(&self) -> String {
        self.said.lock().expect("a reader stopped").clone()
    }

    /// What `find` makes of the first line it knows, or why there was none.
    fn wait_for<T>(&self, find: impl Fn(&str) -> Option<T>) -> Result<T, String> {
        let deadline = Instant::now() + START;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some(found) = find(&line) {
                        return Ok(found);
                    }
                }
                Err(reason) => return Err(format!("{reason}; it said:\n{}", self.said())),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads one output to its end, so that the process never waits for a reader.
fn collect(output: impl Read + Send + 'static, said: &Arc<Mutex<String>>, lines: Sender<String>) {
    let said = Arc::clone(said);
    thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            let mut said = said.lock().expect("the other reader stopped");
            said.push_str(&line);
            said.push('\n');
            drop(said);
            let _ = lines.send(line);
        }
    });
}

/// The real program, running its demonstration in a directory of its own.
pub(crate) struct Server {
    process: Process,
    url: String,
    _data: TempDir,
}

impl Server {
    /// Starts `countersign demo` with this password for everybody in it.
    pub(crate) fn start(password: &str) -> Self {
        Self::with(&["demo", "--port", "0", "--password", password])
            .unwrap_or_else(|reason| panic!("the server did not start: {reason}"))
    }

    /// Starts the program with these arguments and a data directory, and waits for its address.
    pub(crate) fn with(arguments: &[&str]) -> Result<Self, String> {
        let data = TempDir::new().expect("a temporary directory");
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        command.args(arguments).arg("--data-dir").arg(data.path());
        let process = Process::start(&mut command);
        let url = process.wait_for(address)?;
        Ok(Self { process, url, _data: data })
    }

    /// Where it listens, without a slash at the end.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Everything it has written so far, to standard output and standard error.
    pub(crate) fn said(&self) -> String {
        self.process.said()
    }
}

/// The loopback address in a line, if there is one.
fn address(line: &str) -> Option<String> {
    const BEGINNING: &str = "http://127.0.0.1:";
    let (_, rest) = line.split_once(BEGINNING)?;
    let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
    (!port.is_empty()).then(|| format!("{BEGINNING}{port}"))
}

/// One chromedriver on a free port of the loopback interface.
pub(crate) struct Driver {
    _process: Process,
    port: u16,
}

impl Driver {
    /// Starts it and waits until it answers.
    pub(crate) fn start() -> Self {
        let process = Process::start(Command::new(setting("CHROMEDRIVER")).arg("--port=0"));
        let port = process
            .wait_for(|line| {
                let (_, port) = line.split_once("started successfully on port ")?;
                port.trim_end_matches('.').parse().ok()
            })
            .unwrap_or_else(|reason| panic!("chromedriver did not start: {reason}"));
        let status = ask(port, "GET", "/status").expect("chromedriver listens");
        assert!(status.contains("\"ready\":true"), "chromedriver is not ready: {status}");
        Self { _process: process, port }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Driver {
    /// A killed driver would leave its browsers behind: it is told to end them first.
    fn drop(&mut self) {
        let _ = ask(self.port, "GET", "/shutdown");
    }
}

/// Ends a browser session, also where nothing can be awaited any more.
pub(crate) fn end_session(port: u16, session: &str) {
    let _ = ask(port, "DELETE", &format!("/session/{session}"));
}

/// One HTTP exchange with the driver that needs no runtime; returns the body of its answer.
fn ask(port: u16, method: &str, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port)))?;
    stream.set_read_timeout(Some(START))?;
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n")?;
    let mut answer = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    while answer.read_line(&mut line)? > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        line.clear();
    }
    let mut body = String::new();
    answer.take(length).read_to_string(&mut body)?;
    Ok(body)
}

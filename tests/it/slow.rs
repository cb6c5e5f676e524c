//! Clients that send a byte now and then, over real sockets: they are cut, and others do not notice.

mod encrypted;

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::idempotency::key_over_http;
use crate::support::DEMO_ID;
use crate::support::api::{OPERATES, path};
use crate::support::http;
use crate::support::process::Home;

/// What is slow is cut within this.
const PATIENCE: Duration = Duration::from_secs(14);
/// A body may take longer than a head.
const BODY_PATIENCE: Duration = Duration::from_secs(28);
const STEP: Duration = Duration::from_millis(250);

/// Reads what is there already; tells whether the other side has closed.
fn drain(socket: &mut TcpStream, heard: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 4096];
    socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => return true,
            Ok(n) => heard.extend_from_slice(&buffer[..n]),
            Err(e) if [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut].contains(&e.kind()) => {
                return false;
            }
            Err(_) => return true,
        }
    }
}

/// Sends `text` a byte at a time; gives what came back and after how long the connection was cut.
#[track_caller]
fn dribble(socket: &mut TcpStream, text: &str, patience: Duration) -> (String, Duration) {
    let (began, mut heard) = (Instant::now(), Vec::new());
    let mut bytes = text.bytes().cycle();
    loop {
        let sent = socket.write_all(&[bytes.next().unwrap()]);
        std::thread::sleep(STEP);
        if drain(socket, &mut heard) || sent.is_err() {
            return (String::from_utf8_lossy(&heard).into_owned(), began.elapsed());
        }
        let heard = String::from_utf8_lossy(&heard).into_owned();
        assert!(began.elapsed() < patience, "not cut after {patience:?}: {heard}");
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

/// Reads one whole answer of a connection that stays open.
fn read_answer(socket: &mut TcpStream) -> String {
    let (began, mut heard) = (Instant::now(), Vec::new());
    while began.elapsed() < PATIENCE {
        assert!(!drain(socket, &mut heard), "closed: {}", String::from_utf8_lossy(&heard));
        let text = String::from_utf8_lossy(&heard).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned)
            });
            if length.is_some_and(|length| length == body.len().to_string()) {
                return text;
            }
        }
    }
    panic!("no whole answer: {}", String::from_utf8_lossy(&heard));
}

fn head(method: &str, path: &str, secret: &str, more: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\n{more}\r\n")
}

/// Makes one call and falls silent, until the other side closes.
fn is_closed(address: SocketAddr, call: &str) {
    let mut socket = connect(address);
    socket.write_all(call.as_bytes()).unwrap();
    read_answer(&mut socket);
    let began = Instant::now();
    while !drain(&mut socket, &mut Vec::new()) {
        assert!(began.elapsed() < PATIENCE, "a silent connection is kept");
        std::thread::sleep(STEP);
    }
}

#[test]
fn heads_and_bodies_that_dribble_are_cut_and_others_do_not_notice() {
    let home = Home::fresh();
    home.seed_demo();
    let server = home.serve();
    let address = server.address;
    let secret =
        key_over_http(&home, address, "Slow", &[OPERATES, ("permissions", "read_balance")]);
    let balance = path("balance");
    std::thread::scope(|scope| {
        let first = scope
            .spawn(|| dribble(&mut connect(address), "GET /x HTTP/1.1\r\nX-Slow: yyyy", PATIENCE));
        let second = scope.spawn(|| {
            let mut socket = connect(address);
            socket.write_all(head("GET", &balance, &secret, "").as_bytes()).unwrap();
            assert!(read_answer(&mut socket).contains("200 OK"));
            dribble(&mut socket, "GET /x HTTP/1.1\r\nX-Slow: yyyy", PATIENCE)
        });
        let silent = scope.spawn(|| is_closed(address, &head("GET", &balance, &secret, "")));
        let body = scope.spawn(|| {
            let mut socket = connect(address);
            let more = "Content-Type: application/json\r\nContent-Length: 9000\r\n";
            socket.write_all(head("POST", &path("operations"), &secret, more).as_bytes()).unwrap();
            dribble(&mut socket, "{ ", BODY_PATIENCE)
        });
        // Nothing asks for this body: the answer comes at once, and the rest is not waited for.
        let unread = scope.spawn(|| {
            let mut socket = connect(address);
            let more = "Content-Type: application/json\r\nContent-Length: 9000\r\n";
            socket.write_all(head("POST", "/api/v1/verify", "x", more).as_bytes()).unwrap();
            dribble(&mut socket, "{ ", PATIENCE)
        });
        let chunks = scope.spawn(|| {
            let mut socket = connect(address);
            let more = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n";
            socket.write_all(head("POST", &path("operations"), &secret, more).as_bytes()).unwrap();
            dribble(&mut socket, "1\r\n \r\n", BODY_PATIENCE)
        });
        // Others are served while all of these hang there.
        for _ in 0..20 {
            let began = Instant::now();
            http::call(address, &balance, &secret).unwrap().is(200);
            assert!(began.elapsed() < Duration::from_secs(2));
            std::thread::sleep(Duration::from_millis(100));
        }
        silent.join().unwrap();
        first.join().unwrap();
        let (told, _) = unread.join().unwrap();
        assert!(told.starts_with("HTTP/1.1 401"), "{told}");
        for slow in [body, chunks] {
            let (told, _) = slow.join().unwrap();
            assert!(told.starts_with("HTTP/1.1 408") && told.contains("request_timeout"), "{told}");
        }
        second.join().unwrap();
    });
    http::call(address, &balance, &secret).unwrap().is(200);
}

#[test]
fn a_head_that_never_ends_and_a_body_that_lies_about_its_length_are_refused() {
    let home = Home::fresh();
    home.seed_demo();
    let server = home.serve();
    let address = server.address;
    let secret = key_over_http(&home, address, "Strange", &[OPERATES]);
    let exchange = |text: &str| {
        let mut socket = connect(address);
        // The other side may stop reading before we have said everything.
        let _ = socket.write_all(text.as_bytes());
        let _ = socket.shutdown(std::net::Shutdown::Write);
        socket.set_read_timeout(Some(BODY_PATIENCE)).unwrap();
        let mut heard = Vec::new();
        let _ = socket.read_to_end(&mut heard);
        String::from_utf8_lossy(&heard).into_owned()
    };
    let status = |answer: &str| answer.split(' ').nth(1).unwrap_or_default().to_owned();
    let url = path("operations");
    let json = "Content-Type: application/json\r\n";
    let body = r#"{"operationType":"cash-in","amount":"1.00","phoneTo":"+234 8123456781"}"#;
    let length = body.len();
    for (more, body) in [
        // Two lengths, a length and chunks, no number, less than nothing: one of them smuggles.
        (format!("{json}Content-Length: {length}\r\nContent-Length: 5\r\n"), body.to_owned()),
        (
            format!("{json}Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"),
            format!("0\r\n\r\n{body}"),
        ),
        (format!("{json}Content-Length: +{length}\r\n"), body.to_owned()),
        (format!("{json}Content-Length: -1\r\n"), body.to_owned()),
        (format!("{json}Transfer-Encoding: chunked\r\n"), "zz\r\nxx\r\n".to_owned()),
        // Cut in the middle.
        (format!("{json}Content-Length: {}\r\n", length + 100), body.to_owned()),
    ] {
        let answer = exchange(&format!("{}{body}", head("POST", &url, &secret, &more)));
        assert_ne!(status(&answer), "200", "{more}: {answer}");
        assert!(!status(&answer).starts_with('5'), "{more}: {answer}");
        assert!(!answer.contains("op_"), "{more}: {answer}");
    }
    let endless =
        format!("GET {url} HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "y".repeat(1_000_000));
    let answer = exchange(&endless);
    assert!(["400", "431", ""].contains(&status(&answer).as_str()), "{answer:.200}");
    let key = "x".repeat(10_000);
    assert_eq!(
        status(&exchange(&head("GET", &path("balance"), &key, "Connection: close\r\n"))),
        "401"
    );
    let raw =
        [head("GET", &path("balance"), "", "").replace("Bearer ", "Bearer uwk_\u{fffd}").as_str()]
            .concat();
    assert_eq!(status(&exchange(&raw)), "401");
    let good = format!("{json}Content-Length: {length}\r\nConnection: close\r\n");
    let answer = exchange(&format!("{}{body}", head("POST", &url, &secret, &good)));
    assert_eq!(status(&answer), "200", "{answer}");
    assert!(answer.contains("op_") && url.contains(DEMO_ID));
}

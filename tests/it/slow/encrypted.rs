//! The same over TLS.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{PATIENCE, STEP};
use crate::support::process::{Home, Program, free_port, wait_for};

fn connect(address: SocketAddr) -> Child {
    Command::new("openssl")
        .args(["s_client", "-quiet", "-connect", &address.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl is not installed: apt-get install openssl")
}

/// Makes a call, then sends `text` over and over, a byte at a time; gives what the answer to the call was, once the
/// other side has closed.
fn dribble(address: SocketAddr, call: &str, text: &str) -> String {
    let mut client = connect(address);
    let (mut say, mut hear) = (client.stdin.take().unwrap(), client.stdout.take().unwrap());
    say.write_all(call.as_bytes()).unwrap();
    let mut first = String::new();
    let mut lines = BufReader::new(&mut hear);
    lines.read_line(&mut first).unwrap();
    let began = Instant::now();
    let mut bytes = text.bytes().cycle();
    while client.try_wait().unwrap().is_none() {
        if began.elapsed() > PATIENCE {
            client.kill().unwrap();
            client.wait().unwrap();
            panic!("not cut after {PATIENCE:?}: {first}");
        }
        // The program may be about to end.
        let _ = say.write_all(&[bytes.next().unwrap()]).and_then(|()| say.flush());
        std::thread::sleep(STEP);
    }
    lines.read_to_end(&mut Vec::new()).unwrap();
    first
}

#[test]
fn over_tls_what_dribbles_is_cut_as_well() {
    let home = Home::fresh();
    let (cert, key) = home.certificate();
    let address: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let mut command = home.command(&["serve"]);
    command.env("BIND", address.to_string()).env("TLS_CERT", cert).env("TLS_KEY", key);
    let mut program = Program::spawn(home.dir.path(), command, address);
    wait_for("the port", || {
        program.assert_alive();
        std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()
    });
    let head = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
    let body = "POST /api/v1/verify HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                Content-Length: 9000\r\n\r\n";
    std::thread::scope(|scope| {
        let second = scope.spawn(|| dribble(address, head, "GET /x HTTP/1.1\r\nX-Slow: yyyy"));
        let unread = scope.spawn(|| dribble(address, body, "{ "));
        assert!(second.join().unwrap().contains(" 200 "));
        assert!(unread.join().unwrap().contains(" 401 "));
    });
    assert_eq!(program.stop(), Some(0));
}

//! A tiny site with good and bad pages, on which the harness itself is tested.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

const STRICT: &str = "default-src 'self'; img-src 'self' data:";

const STYLE: &str = "body { color: #222; background: #fff; transition: background 0.2s }
@media (prefers-color-scheme: dark) { body { color: #eee; background: #111 } }
.lost { color: #333; background: transparent; width: 400px }";

const SCRIPT: &str = "document.querySelector('#copy')?.addEventListener('click', async event => {
    await navigator.clipboard.writeText(event.currentTarget.dataset.text);
    document.querySelector('#status').textContent = 'Copied';
});";

const GOOD: &str = "<h1>A good page</h1>
<form method='post' action='/sent'>
<p><label>Reason <textarea name='reason'></textarea></label></p>
<p><label>Until <input type='date' name='until'></label></p>
<p><label>Team <select name='team'><option value='1'>The first</option>
<option value='2'>The second</option></select></label></p>
<p><label><input type='checkbox' name='right' value='read'> Read</label>
<label><input type='checkbox' name='right' value='write'> Write</label></p>
<p><button>Send</button> <button hidden>Send</button></p></form>
<p id='copying'><button id='copy' data-text='the key'>Copy <span>the key</span></button></p>
<p><button>Copy the key</button></p>
<p id='status' role='status'></p>";

const BAD: &str = "<h1>A bad page</h1><form><input id='lone' name='lone'></form>
<p class='lost'>These words are lost in the dark.</p>";

const CSP: &str = "<h1>A strict page</h1><p id='result'>The script did not run</p>
<script>document.querySelector('#result').textContent = 'It ran'</script>";

const FORM: &str = "<h1>Sign in</h1><form method='post' action='/sent'>
<p><label>Email <input name='email' type='email' value='old'></label></p>
<p><label>Password <input name='password' type='password'></label></p>
<p><button>Sign in</button></p></form>";

/// Serves the pages until the tests are over; returns the address of the site.
pub(crate) fn start() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || answer(stream.unwrap()));
        }
    });
    format!("http://{address}")
}

/// Answers one request; a browser that opened the connection only to be quick sends none.
fn answer(mut stream: TcpStream) -> Option<()> {
    let mut request = BufReader::new(stream.try_clone().ok()?);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        request.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let header = |name| lines.iter().find_map(|line| line.strip_prefix(name));
    let length = header("Content-Length: ").map_or(0, |length| length.parse().unwrap());
    let mut sent = vec![0; length];
    request.read_exact(&mut sent).ok()?;
    let path = lines.first()?.split(' ').nth(1)?;
    let (kind, body) = match path {
        "/style.css" => ("text/css", STYLE.to_owned()),
        "/script.js" => ("text/javascript", SCRIPT.to_owned()),
        "/good" => ("text/html", page(GOOD)),
        "/bad" => ("text/html", page(BAD)),
        "/csp" => ("text/html", page(CSP)),
        "/form" => ("text/html", page(FORM)),
        "/who" => ("text/html", page(header("Cookie: ").unwrap_or("no cookie"))),
        _ => ("text/html", page(&format!("<h1>Sent</h1>{}", String::from_utf8_lossy(&sent)))),
    };
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}; charset=utf-8\r\n");
    let rules = format!("Content-Security-Policy: {STRICT}\r\nSet-Cookie: signed=in\r\n");
    let end = format!("Connection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{rules}{end}{body}").as_bytes()).ok()
}

fn page(main: &str) -> String {
    format!(
        "<!doctype html><html lang=en><head><meta charset=utf-8><title>A page</title>
        <meta name=viewport content='width=device-width'><meta name=color-scheme \
         content='light dark'>
        <link rel=icon href='data:,'><link rel=stylesheet href=/style.css>
        <script src=/script.js defer></script></head><body><main>{main}</main></body></html>"
    )
}

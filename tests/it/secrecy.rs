//! After everything has happened to a key, no trace of it is anywhere: every byte is looked at.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use url::form_urlencoded::byte_serialize;

use crate::support::http::{self, Client};
use crate::support::process::{Home, Program, beside, run, texts, wait_for};

const MAKER: &str = "lanterns giraffe 4417 umbrella";
const CHECKER: &str = "tangerine 9033 harbour violet";
const WRONG: &str = "wrong lighthouse 8841 pepper";

/// Something that must not be found, and what it is.
struct Needle {
    what: String,
    forms: Vec<String>,
}

impl Needle {
    /// A text in every form it could be written down in.
    fn new(what: &str, text: &str) -> Self {
        let bytes = text.as_bytes();
        let hex = countersign::domain::audit::hex(bytes);
        let escaped = bytes.iter().map(|b| format!("%{b:02X}")).collect::<Vec<_>>().concat();
        let mut forms = vec![
            text.to_owned(),
            hex.to_uppercase(),
            hex,
            escaped,
            byte_serialize(bytes).collect(),
            text.chars().rev().collect(),
        ];
        // However many bytes stand before it, the middle of its base64 is one of three.
        forms.extend((0..3).map(|skip| base64(&bytes[skip..])));
        Self { what: what.to_owned(), forms }
    }

    /// A secret of a key: whole, without prefix and checksum, and by halves.
    fn secret(what: &str, secret: &str) -> Vec<Self> {
        assert!(secret.starts_with("uwk_") && secret.len() == 56, "{secret}");
        let part = |name: &str, text: &str| Self::new(&format!("{what}, {name}"), text);
        vec![
            part("whole", secret),
            part("random part", &secret[4..50]),
            part("first half", &secret[4..27]),
            part("second half", &secret[27..50]),
        ]
    }
}

/// Standard base64 of whole groups of three bytes.
fn base64(bytes: &[u8]) -> String {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |group: &[u8]| {
        let bits = group.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        [18, 12, 6, 0].map(|shift| char::from(digits[bits >> shift & 63]))
    };
    bytes.chunks_exact(3).flat_map(group).collect()
}

/// Every place where something of ours is kept, with its bytes as text.
fn places(home: &Home) -> Vec<(String, String)> {
    let mut places: Vec<_> = files(home.dir.path()).into_iter().map(|path| read(&path)).collect();
    if let Some(folder) = home.database.folder() {
        places.extend(files(folder).into_iter().map(|path| read(&path)));
    } else {
        let dump = Command::new(pg_dump()).args(["--dbname", &home.database.url]).output().unwrap();
        assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
        places.push(("pg_dump".to_owned(), String::from_utf8_lossy(&dump.stdout).into_owned()));
    }
    for args in [&["audit", "export"][..], &["config", "show"]] {
        let said = home.run(args).ended(0, "");
        places.push((args.join(" "), said.out + &said.err));
    }
    // A mail breaks its lines wherever it likes.
    let whole = |(name, text): &(String, String)| {
        name.contains(".eml").then(|| (format!("{name}, lines joined"), text.replace("=\r\n", "")))
    };
    let joined: Vec<_> = places.iter().filter_map(whole).collect();
    places.extend(joined);
    places
}

fn read(path: &Path) -> (String, String) {
    let bytes = fs::read(path).unwrap();
    (path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned())
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn pg_dump() -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let installed = versions.map(|entry| entry.unwrap().path().join("bin"));
    let mut all: Vec<_> = std::env::split_paths(&path).chain(installed).collect();
    all.reverse();
    let found = all.into_iter().map(|dir| dir.join("pg_dump")).find(|file| file.exists());
    found.expect("pg_dump is not installed: install postgresql-client")
}

/// Where any of these was found.
fn hits(places: &[(String, String)], needles: &[Needle]) -> Vec<String> {
    let found = |needle: &Needle, (place, text): &(String, String)| {
        let form = needle.forms.iter().position(|form| text.contains(form.as_str()))?;
        Some(format!("{} (form {form}) is in {place}", needle.what))
    };
    needles.iter().flat_map(|n| places.iter().filter_map(move |place| found(n, place))).collect()
}

/// Invites somebody, who chooses a password; gives the token of the invitation.
fn join(
    home: &Home,
    server: &Program,
    org: &str,
    (who, role): (&str, &str),
    password: &str,
) -> String {
    let email = format!("{who}@secrecy.example");
    let args = ["member", "invite", "--org", org, "--email", &email, "--name", who, "--role", role];
    let link = home.run(&args).ended(0, "/invitation/").out;
    let path = format!("/invitation/{}", link.trim().rsplit('/').next().unwrap());
    let mut client = Client::new(server.address);
    client.get(&path).unwrap().is(200);
    client.submit(&path, &[("password", "short")]).unwrap().is(422);
    client.submit(&path, &[("password", password)]).unwrap().is(303);
    path.trim_start_matches("/invitation/").to_owned()
}

fn signed_in(server: &Program, who: &str, password: &str) -> Client {
    let mut client = Client::new(server.address);
    let email = format!("{who}@secrecy.example");
    client.sign_in(&email, WRONG).unwrap().is(422);
    client.sign_in(&email, password).unwrap().is(303);
    client
}

/// Asks, approves, reveals twice; gives the path of the key and both secrets.
fn live_key(home: &Home, people: (&mut Client, &mut Client), label: &str) -> (String, [String; 2]) {
    let (maker, checker) = people;
    let request = maker.ask_for_key(label).unwrap().is(303).header("location").to_owned();
    checker.get(&request).unwrap().is(200);
    let fields = [("version", "1"), ("comment", "")];
    checker.submit(&format!("{request}/approve"), &fields).unwrap().is(303);
    let id = format!("SELECT id FROM keys WHERE label = '{label}'");
    let key = format!("/settings/api-keys/{}", texts(&mut beside(&home.database), &id)[0]);
    let mut reveal = || {
        let page = maker.submit(&format!("{key}/reveal"), &[]).unwrap().is(200);
        page.attribute("input#api-key", "value").unwrap()
    };
    let secrets = [reveal(), reveal()];
    (key, secrets)
}

/// Sends a secret every way somebody might by mistake.
fn misuse(server: &Program, client: &mut Client, org: &str, secret: &str) {
    let balance = format!("/api/v1/distributors/{org}/balance");
    for path in [
        format!("{balance}?api_key={secret}"),
        format!("/api/v1/distributors/{secret}/balance"),
        format!("/api/v1/{secret}"),
        format!("/livez?key={secret}"),
        format!("/{secret}"),
        format!("/requests/{secret}"),
        format!("/settings/api-keys/{secret}"),
        format!("/settings/api-keys/active?page={secret}"),
        format!("/login?next=/requests%3Fkey={secret}"),
        format!("/invitation/{secret}"),
    ] {
        let bearer = [("Authorization", format!("Bearer {secret}x"))];
        let answer = http::request(server.address, ("GET", &path), &bearer, "").unwrap();
        assert!(answer.status < 500, "{path}: {}", answer.status);
        assert!(client.get(&path).unwrap().status < 500, "{path}");
    }
    let basic = format!("Basic {}", base64(format!("user:{secret}").as_bytes()));
    for (name, value) in [
        ("Authorization", basic),
        ("Authorization", format!("Bearer {secret} {secret}")),
        ("Authorization", secret.to_owned()),
        ("Cookie", format!("countersign={secret}; visitor={secret}; theme={secret}")),
        ("X-Api-Key", secret.to_owned()),
        ("X-Request-Id", secret.to_owned()),
        ("User-Agent", secret.to_owned()),
        ("Referer", format!("http://localhost/{secret}")),
        ("X-Forwarded-For", secret.to_owned()),
    ] {
        for method in ["GET", "POST", "DELETE"] {
            let header = [(name, value.clone())];
            let answer =
                http::request(server.address, (method, &balance), &header, secret).unwrap();
            assert!(answer.status < 500 && answer.status != 200, "{name} {method}");
        }
    }
    for path in ["/login", "/settings/api-keys", "/requests/x/approve"] {
        let form = [("Content-Type", "application/x-www-form-urlencoded".to_owned())];
        http::request(server.address, ("POST", path), &form, &format!("csrf={secret}&{secret}=1"))
            .unwrap();
    }
}

fn mails(home: &Home, about: &str) -> usize {
    let folder = home.path("data").join("mail");
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let mails = entries.map(|entry| read(&entry.unwrap().path()).1);
    mails.filter(|mail| mail.contains(about)).count()
}

#[test]
fn no_secret_password_or_session_is_kept_anywhere() {
    let home = Home::fresh();
    let server = home.serve();
    let org = home.run(&["org", "create", "--name", "Secrecy"]).ended(0, "-").out.trim().to_owned();
    join(&home, &server, &org, ("maker", "maker"), MAKER);
    join(&home, &server, &org, ("checker", "checker"), CHECKER);
    let (mut maker, mut checker) =
        (signed_in(&server, "maker", MAKER), signed_in(&server, "checker", CHECKER));
    let (ended, [unseen, used]) = live_key(&home, (&mut maker, &mut checker), "Will be revoked");
    let balance = format!("/api/v1/distributors/{org}/balance");
    http::call(server.address, &balance, &unseen).unwrap().is(401);
    http::call(server.address, &balance, &used).unwrap().is(200);
    let (kept, [first, second]) = live_key(&home, (&mut maker, &mut checker), "Stays in use");
    maker.submit(&format!("{kept}/confirm"), &[]).unwrap().is(303);
    maker.submit(&format!("{kept}/reveal"), &[]).unwrap().is(409);
    http::call(server.address, &balance, &second).unwrap().is(200);
    misuse(&server, &mut maker, &org, &second);
    maker.get(&ended).unwrap().is(200);
    let fields = [("reason", "Over"), ("confirm_label", "Will be revoked")];
    maker.submit(&format!("{ended}/revoke"), &fields).unwrap().is(303);
    http::call(server.address, &balance, &used).unwrap().is(401);
    let mut needles: Vec<Needle> =
        [("unseen", unseen), ("used", used), ("first", first), ("second", second)]
            .iter()
            .flat_map(|(what, secret)| Needle::secret(what, secret))
            .collect();
    for (what, text) in
        [("maker's password", MAKER), ("checker's password", CHECKER), ("wrong password", WRONG)]
    {
        needles.push(Needle::new(what, text));
    }
    for (who, client) in [("maker", &maker), ("checker", &checker)] {
        let cookie = &client.cookies["countersign"];
        // The signature comes first; the id of the session is the rest.
        needles.push(Needle::new(&format!("{who}'s cookie"), cookie));
        needles.push(Needle::new(&format!("{who}'s session"), &cookie[cookie.len() - 40..]));
    }
    wait_for("the last mail", || (mails(&home, "] Revoked") == 1).then_some(()));
    let running = places(&home);
    assert_eq!(hits(&running, &needles), [""; 0]);
    // The search finds what is there: in the database, the log, the mails and the export.
    for (place, text) in [
        ("test.db", "Stays in use"),
        ("log", "/settings/api-keys/{key}/reveal"),
        (".eml", "Stays in use"),
        ("audit export", "secret.revealed"),
    ] {
        let place =
            if place == "test.db" && home.database.is_postgres() { "pg_dump" } else { place };
        let found =
            running.iter().any(|(name, bytes)| name.contains(place) && bytes.contains(text));
        assert!(
            found,
            "{text} is not in {place}: {:?}",
            running.iter().map(|p| &p.0).collect::<Vec<_>>()
        );
    }
    assert_eq!(server.stop(), Some(0));
    assert_eq!(hits(&places(&home), &needles), [""; 0]);
}

#[test]
fn an_invitation_that_was_mailed_is_in_its_mail_only() {
    let home = Home::fresh();
    let server = home.serve();
    let org = home.run(&["org", "create", "--name", "Secrecy"]).ended(0, "-").out.trim().to_owned();
    let token = join(&home, &server, &org, ("maker", "maker"), MAKER);
    wait_for("the invitation", || (mails(&home, "] Join") == 1).then_some(()));
    wait_for("the mail to be marked as sent", || {
        let sent = "SELECT id FROM outbox WHERE sent_at IS NOT NULL";
        (texts(&mut beside(&home.database), sent).len() == 1).then_some(())
    });
    assert_eq!(server.stop(), Some(0));
    if !home.database.is_postgres() {
        // What was deleted may stay in the file for a while; what is kept may not, as in a dump.
        let mut conn = beside(&home.database);
        texts(&mut conn, "PRAGMA wal_checkpoint(TRUNCATE)");
        run(&mut conn, "VACUUM");
        texts(&mut conn, "PRAGMA wal_checkpoint(TRUNCATE)");
    }
    let mut places = places(&home);
    let invitation = |(name, _): &(String, String)| name.contains(".eml");
    let needle = [Needle::new("the invitation's token", &token)];
    assert!(hits(&places, &needle).iter().any(|hit| hit.contains(".eml")));
    places.retain(|place| !invitation(place));
    assert_eq!(hits(&places, &needle), [""; 0]);
}

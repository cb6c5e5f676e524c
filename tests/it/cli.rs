//! The command line of the real program: settings, set-up, start and end.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use crate::support::http::{self, Client};
use crate::support::process::{
    self, Home, Program, Said, beside, free_port, number, texts, wait_for,
};
use crate::support::{DEMO_ID, PASSWORD};

/// Runs a command with only these variables set.
fn with(dir: &Path, args: &[&str], env: &[(&str, &str)]) -> Said {
    let mut command = process::bare(dir, args);
    command.envs(env.iter().copied());
    process::finish(dir, command)
}

fn empty() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn an_organisation_and_its_first_member_are_set_up_from_the_command_line() {
    let home = Home::fresh();
    home.run(&["migrate"]).ended(0, "up to date");
    let said = home.run(&[
        "org",
        "create",
        "--name",
        "Kiosk & Co",
        "--currency",
        "EUR",
        "--time-zone",
        "Europe/Berlin",
    ]);
    let org = said.ended(0, "").out.trim().to_owned();
    assert!(uuid::Uuid::parse_str(&org).is_ok(), "not an id alone: {org}");
    home.run(&["org", "create", "--name", "Twice"]).ended(1, "100000");
    home.run(&["org", "create", "--name", "X", "--currency", "EURO", "--short-code", "7"])
        .ended(1, "EURO");
    home.run(&["org", "create", "--name", "X", "--time-zone", "Berlin", "--short-code", "7"])
        .ended(1, "Berlin");
    let server = home.serve();
    let invite = |email: &str, roles: &[&str]| {
        let mut args = vec!["member", "invite", "--org", &org, "--name", "Ada", "--email", email];
        for role in roles {
            args.extend(["--role", role]);
        }
        let url = format!("http://{}", server.address);
        home.run(&[&args[..], &["--public-url", &url]].concat())
    };
    let said = invite("Ada@Kiosk.example", &["admin", "maker"]).ended(0, "/invitation/");
    let link = said.out.trim().to_owned();
    let path = link.strip_prefix(&format!("http://{}", server.address)).expect(&link).to_owned();
    invite("ada@kiosk.example", &["maker"]).ended(1, "already a member");
    invite("bob@kiosk.example", &["boss"]).ended(1, "boss is not a role");
    home.run(&[
        "member",
        "invite",
        "--org",
        DEMO_ID,
        "--name",
        "A",
        "--email",
        "c@d.example",
        "--role",
        "maker",
    ])
    .ended(1, "there is no organisation");
    let mut ada = Client::new(server.address);
    assert!(ada.get(&path).unwrap().is(200).body.contains("ada@kiosk.example"));
    ada.submit(&path, &[("password", "too short")]).unwrap().is(422);
    ada.submit(&path, &[("password", PASSWORD)]).unwrap().is(303);
    ada.sign_in("ada@kiosk.example", PASSWORD).unwrap().is(303);
    assert!(ada.get("/").unwrap().is(200).body.contains("Kiosk &#38; Co"));
    // Once means once.
    let mut second = Client::new(server.address);
    second.get(&path).unwrap().is(422);
    // What came before the server started and what came after are in one log.
    home.run(&["audit", "verify"]).ended(0, "whole");
}

#[test]
fn wallets_are_opened_funded_and_emptied_from_the_command_line() {
    let home = Home::fresh();
    let org = home.run(&["org", "create", "--name", "Kiosk"]).ended(0, "").out.trim().to_owned();
    let fund =
        |org: &str, amount: &str| home.run(&["org", "fund", "--org", org, "--amount", amount]);
    fund(&org, "1000.50").ended(0, "The wallet of Kiosk holds NGN 1,000.50 now.");
    fund(&org, "2").ended(0, "NGN 1,002.50");
    for amount in ["0", "1.005", "much"] {
        fund(&org, amount).ended(1, "Enter");
    }
    fund(DEMO_ID, "1").ended(1, "there is no organisation");
    fund("Kiosk", "1").ended(1, "is no id of an organisation");
    let open = |args: &[&str]| home.run(&[&["wallet", "open", "--name", "Ann"], args].concat());
    let phone = ["--phone", "+234 8123456781"];
    let id = open(&phone).ended(0, "").out.trim().to_owned();
    assert!(uuid::Uuid::parse_str(&id).is_ok(), "not an id alone: {id}");
    open(&phone).ended(1, "already has a wallet");
    open(&["--phone", "0812"]).ended(1, "country code");
    open(&["--merchant", "20x"]).ended(1, "no short code");
    open(&["--merchant", "200000", "--currency", "EURO"]).ended(1, "EURO");
    open(&["--merchant", "200000", "--phone", "+2348123456789"]).ended(2, "cannot be used with");
    open(&[]).ended(2, "--phone");
    open(&["--merchant", "200000"]).ended(0, "");
    let cash = |amount: &str| {
        let (to, from) = (["--org", &org], ["--phone", "+2348123456781"]);
        home.run(
            &[&["wallet", "cash-out", "--amount", amount, "--memo", "Rent"][..], &to, &from]
                .concat(),
        )
    };
    cash("5").ended(1, "holds less than that");
    let mut conn = beside(&home.database);
    process::run(&mut conn, &format!("UPDATE wallets SET balance = 700 WHERE id = '{id}'"));
    let cashout = cash("5").ended(0, "").out.trim().to_owned();
    let memo = format!("SELECT memo FROM cashouts WHERE id = '{cashout}' AND amount = 500");
    assert_eq!(texts(&mut conn, &memo), ["Rent"]);
    fund(&org, "1").ended(0, "NGN 1,008.50");
    let audited = "SELECT action FROM audit WHERE action LIKE 'wallet.%' OR action LIKE 'cashout.%' ORDER BY seq";
    let actions = texts(&mut conn, audited);
    let funded = "wallet.funded";
    assert_eq!(
        actions,
        [funded, funded, "wallet.opened", "wallet.opened", "cashout.asked", funded]
    );
}

#[test]
fn a_running_server_sees_within_a_second_what_the_command_line_funds() {
    let home = Home::fresh();
    home.seed_demo();
    let server = home.serve();
    let mut maker = Client::new(server.address);
    maker.sign_in("maker@demo.example", PASSWORD).unwrap().is(303);
    let waiting = "SELECT id FROM keys WHERE label LIKE 'Staging%'";
    let id = texts(&mut beside(&home.database), waiting).remove(0);
    let page = maker.submit(&format!("/settings/api-keys/{id}/reveal"), &[]).unwrap().is(200);
    let secret = page.attribute("input#api-key", "value").unwrap();
    let path = format!("/api/v1/distributors/{DEMO_ID}/balance");
    let balance = || http::call(server.address, &path, &secret).unwrap().is(200).body;
    assert_eq!(balance(), r#"{"balance":"50000.00"}"#, "the demo holds what it promises");
    let customers =
        "SELECT name || ' ' || balance FROM wallets WHERE kind = 'person' ORDER BY name";
    assert_eq!(
        texts(&mut beside(&home.database), customers),
        ["End user 1 2000000", "End user 2 0"]
    );
    let funded = home.run(&["org", "fund", "--org", DEMO_ID, "--amount", "0.25"]);
    funded.ended(0, "NGN 50,000.25");
    let began = std::time::Instant::now();
    wait_for("the funding", || (balance() == r#"{"balance":"50000.25"}"#).then_some(()));
    assert!(began.elapsed() < std::time::Duration::from_secs(2), "{:?}", began.elapsed());
}

#[test]
fn the_settings_in_force_are_shown_without_passwords() {
    let dir = empty();
    let env = [
        ("DATABASE_URL", "postgres://ann:hunter2@db.example/keys?password=hunter3"),
        ("SMTP_URL", "smtp://bob:hunter4@mail.example:587"),
    ];
    let said = with(dir.path(), &["config", "show", "--data-dir", "/srv"], &env).ended(0, "");
    assert!(!said.out.contains("hunter") && !said.err.contains("hunter"), "{said:?}");
    for line in [
        "DATABASE_URL = postgres://ann:***@db.example/keys?password=***  (environment)",
        "BIND = 127.0.0.1:8080  (default)",
        "PUBLIC_URL = http://127.0.0.1:8080  (from BIND)",
        "DATA_DIR = /srv  (flag --data-dir)",
        "SMTP_URL = smtp://bob:***@mail.example:587  (environment)",
    ] {
        assert!(said.out.lines().any(|found| found == line), "{line} is not in {}", said.out);
    }
}

#[test]
fn a_name_that_is_almost_a_setting_is_refused_with_the_nearest_one() {
    let dir = empty();
    let show = ["config", "show"];
    with(dir.path(), &["config", "show", "--databse-url", "x"], &[]).ended(2, "--database-url");
    with(dir.path(), &["serv"], &[]).ended(2, "serve");
    with(dir.path(), &show, &[("DATABASE_ULR", "x")]).ended(1, "DATABASE_URL");
    with(dir.path(), &show, &[("COUNTERSIGN_BIND", "x")]).ended(1, "did you mean BIND");
    fs::write(dir.path().join("countersign.toml"), "dat_dir = \"/srv\"\n").unwrap();
    with(dir.path(), &show, &[]).ended(1, "data_dir");
}

#[test]
fn a_value_given_twice_is_refused() {
    let dir = empty();
    let file = dir.path().join("bind");
    fs::write(&file, "127.0.0.1:9001\n").unwrap();
    let env = [("BIND", "127.0.0.1:9000"), ("BIND_FILE", file.to_str().unwrap())];
    with(dir.path(), &["config", "show"], &env).ended(1, "BIND_FILE");
    let gone = [("BIND_FILE", "/nowhere/bind")];
    with(dir.path(), &["config", "show"], &gone).ended(1, "/nowhere/bind");
}

#[test]
fn flags_win_over_the_environment_over_pointed_files_over_the_config_file_over_defaults() {
    let dir = empty();
    let file = dir.path().join("bind");
    fs::write(&file, "127.0.0.1:9003\n").unwrap();
    let config = dir.path().join("countersign.toml");
    fs::write(&config, "bind = \"127.0.0.1:9004\"\n").unwrap();
    let bind = |args: &[&str], env: &[(&str, &str)]| {
        let said = with(dir.path(), &[&["config", "show"], args].concat(), env).ended(0, "BIND");
        let line = said.out.lines().find(|line| line.starts_with("BIND = ")).unwrap().to_owned();
        line.trim_start_matches("BIND = ").split(' ').next().unwrap().to_owned()
    };
    let pointed = ("BIND_FILE", file.to_str().unwrap());
    let flag = ["--bind", "127.0.0.1:9001"];
    assert_eq!(bind(&flag, &[("BIND", "127.0.0.1:9002")]), "127.0.0.1:9001");
    assert_eq!(bind(&flag, &[pointed]), "127.0.0.1:9001");
    assert_eq!(bind(&[], &[("BIND", "127.0.0.1:9002")]), "127.0.0.1:9002");
    assert_eq!(bind(&[], &[pointed]), "127.0.0.1:9003");
    assert_eq!(bind(&[], &[]), "127.0.0.1:9004");
    fs::remove_file(config).unwrap();
    assert_eq!(bind(&[], &[]), "127.0.0.1:8080");
}

#[test]
fn what_others_could_read_on_the_way_is_refused() {
    let dir = empty();
    let open = [("BIND", "0.0.0.0:8080")];
    let refused = with(dir.path(), &["serve"], &open).ended(1, "BIND");
    assert!(
        refused.err.contains("PUBLIC_URL") && refused.err.contains("--insecure-http"),
        "{refused:?}"
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "a refused start leaves nothing");
    with(
        dir.path(),
        &["config", "show"],
        &[("BIND", "[::]:80"), ("PUBLIC_URL", "http://keys.example")],
    )
    .ended(1, "PUBLIC_URL");
    with(dir.path(), &["config", "show"], &[open[0], ("PUBLIC_URL", "https://keys.example")])
        .ended(0, "");
    with(dir.path(), &["config", "show", "--insecure-http"], &open).ended(0, "");
    with(dir.path(), &["config", "show"], &[open[0], ("INSECURE_HTTP", "true")])
        .ended(1, "--insecure-http");
    with(dir.path(), &["config", "show"], &[("TLS_CERT", "/x")]).ended(1, "TLS_KEY");
}

#[test]
fn a_database_that_cannot_be_used_is_refused_with_a_sentence() {
    let dir = empty();
    let try_out = |url: &str| with(dir.path(), &["serve"], &[("DATABASE_URL", url)]);
    try_out("mysql://root:hunter2@localhost/keys").ended(1, "sqlite://, postgres://");
    try_out("postgres:nope").ended(1, "DATABASE_URL");
    let port = free_port();
    let down = format!("postgres://ann:hunter2@127.0.0.1:{port}/keys");
    let bind = format!("127.0.0.1:{}", free_port());
    let said = with(dir.path(), &["serve"], &[("DATABASE_URL", &down), ("BIND", &bind)])
        .ended(1, "refused");
    assert!(!said.err.contains("hunter2"), "{said:?}");
    if !cfg!(feature = "postgres-tls") {
        try_out("postgres://db.example/keys?sslmode=require").ended(1, "sslmode=require");
        let env = [("DATABASE_URL", "postgres://db.example/keys"), ("PGSSLMODE", "verify-full")];
        with(dir.path(), &["serve"], &env).ended(1, "postgres-tls");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "no file in place of a database");
    let missing = [("DATABASE_URL", "sqlite:///nowhere/at/all.db"), ("BIND", &bind)];
    with(dir.path(), &["serve"], &missing).ended(1, "/nowhere/at/all.db");
}

#[test]
fn a_taken_port_is_told_before_the_database_is_touched() {
    let dir = empty();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = with(dir.path(), &["serve"], &[("BIND", &address)]).ended(1, "in use");
    assert!(said.err.contains(&address), "{said:?}");
    let port = taken.local_addr().unwrap().port().to_string();
    with(dir.path(), &["demo", "--port", &port, "--data-dir", "d"], &[]).ended(1, "--port");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn the_demo_leaves_a_database_that_holds_data_alone() {
    let home = Home::fresh();
    home.run(&["org", "create", "--name", "Real"]).ended(0, "");
    home.run(&["demo", "--port", "0"]).ended(1, "already holds data");
    let names = texts(&mut beside(&home.database), "SELECT name FROM organisations");
    assert_eq!(names, ["Real"]);
    home.run(&["audit", "verify"]).ended(0, "1 entries");
}

#[test]
fn the_demo_tells_whom_to_sign_in_as_and_ends_in_order() {
    let dir = empty();
    let command =
        process::bare(dir.path(), &["demo", "--port", "0", "--password", "another one, please"]);
    let mut program = Program::spawn(dir.path(), command, ([127, 0, 0, 1], 0).into());
    let said = wait_for("the demo", || {
        program.assert_alive();
        Some(program.said()).filter(|said| said.contains("Stop with Ctrl-C"))
    });
    let url = said.lines().find_map(|line| line.split_once("http://")).unwrap().1;
    program.address = url.parse().unwrap();
    program.wait_until_up();
    for who in ["maker", "maker2", "checker", "checker2", "both", "admin", "viewer"] {
        assert!(said.contains(&format!("{who}@demo.example")), "{said}");
    }
    assert!(said.contains("another one, please"), "{said}");
    let mut maker = Client::new(program.address);
    maker.sign_in("maker@demo.example", "another one, please").unwrap().is(303);
    let folders = || {
        fs::read_dir(dir.path()).unwrap().filter(|e| e.as_ref().unwrap().path().is_dir()).count()
    };
    assert_eq!(folders(), 1, "the data is in a folder of its own");
    assert_eq!(program.stop(), Some(0));
    assert_eq!(folders(), 0, "a throwaway database is thrown away");
}

#[test]
fn a_signal_ends_the_server_in_order_and_the_last_use_is_written_down() {
    let home = Home::fresh();
    home.seed_demo();
    let server = home.serve();
    let mut maker = Client::new(server.address);
    maker.sign_in("maker@demo.example", PASSWORD).unwrap().is(303);
    let waiting = "SELECT id FROM keys WHERE label LIKE 'Staging%'";
    let id = texts(&mut beside(&home.database), waiting).remove(0);
    let key = format!("/settings/api-keys/{id}");
    let page = maker.submit(&format!("{key}/reveal"), &[]).unwrap().is(200);
    let secret = page.attribute("input#api-key", "value").unwrap();
    let balance = format!("/api/v1/distributors/{DEMO_ID}/balance");
    for _ in 0..37 {
        http::call(server.address, &balance, &secret).unwrap().is(200);
    }
    http::call(server.address, &balance.replace("36e4", "0000"), &secret).unwrap().is(403);
    let log = fs::read_to_string(home.path("log")).unwrap();
    let refused: Vec<_> = log.lines().filter(|line| line.contains("call refused")).collect();
    assert_eq!(refused.len(), 1, "{log}");
    for part in ["distributor_mismatch", &id, "127.0.0.1"] {
        assert!(refused[0].contains(part), "{part}: {}", refused[0]);
    }
    assert!(!log.contains(&secret));
    assert_eq!(server.stop(), Some(0));
    let mut conn = beside(&home.database);
    let count = |what: &str| format!("SELECT {what} FROM key_usage WHERE key_id = '{id}'");
    assert_eq!(number(&mut conn, &count("allowed")), 37);
    assert_eq!(number(&mut conn, &count("denied")), 1);
    assert_eq!(number(&mut conn, &count("count(last_used_at)")), 1);
    let server = home.serve();
    let page = maker.at(server.address).get(&key).unwrap().is(200);
    assert!(page.body.contains("37") && !page.body.contains("Never used"), "{}", page.body);
}

#[test]
fn with_a_certificate_the_server_speaks_https_itself() {
    let home = Home::fresh();
    let (cert, pem) = home.certificate();
    let address = format!("127.0.0.1:{}", free_port());
    let mut command = home.command(&["serve"]);
    command.env("BIND", &address).env("TLS_CERT", &cert).env("TLS_KEY", &pem);
    let mut program = Program::spawn(home.dir.path(), command, address.parse().unwrap());
    let curl = |args: &[&str], path: &str| {
        let done = Command::new("curl")
            .args(["--silent", "--include", "--max-time", "10"])
            .args(args)
            .arg(format!("https://{address}{path}"))
            .output()
            .expect("curl is not installed: apt-get install curl");
        done.status.success().then(|| String::from_utf8_lossy(&done.stdout).to_lowercase())
    };
    let live = wait_for("https", || {
        program.assert_alive();
        curl(&["--insecure"], "/livez")
    });
    assert!(live.contains(" 200") && live.contains("strict-transport-security"), "{live}");
    assert_eq!(curl(&[], "/livez"), None, "nobody has signed that certificate");
    let trusting = ["--cacert", cert.to_str().unwrap()];
    let login = curl(&trusting, "/login").unwrap();
    let cookie = login.lines().find(|line| line.starts_with("set-cookie: __host-")).expect(&login);
    assert!(cookie.contains("secure") && cookie.contains("httponly"), "{cookie}");
    assert!(program.said().contains(&format!("https://{address}")));
    let plain = http::request(program.address, ("GET", "/livez"), &[], "");
    assert!(plain.is_err(), "answers without TLS: {plain:?}");
    assert_eq!(program.stop(), Some(0));
    fs::write(&pem, "not a key").unwrap();
    let mut command = home.command(&["serve"]);
    command.env("BIND", &address).env("TLS_CERT", &cert).env("TLS_KEY", &pem);
    process::finish(home.dir.path(), command).ended(1, "key.pem");
}

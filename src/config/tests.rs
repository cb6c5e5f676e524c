//! Every rule about settings as a table; nothing here looks at the real environment.

use std::path::Path;

use super::{Config, DatabaseUrl, Secret, Sources};

type Pairs<'a> = &'a [(&'static str, &'static str)];

fn env(pairs: Pairs<'_>) -> Sources {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Sources { env: pairs.iter().map(own).collect(), ..Sources::default() }
}

fn with_flags(mut sources: Sources, pairs: Pairs<'_>) -> Sources {
    sources.flags = pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    sources
}

fn load(pairs: Pairs<'_>) -> Config {
    Config::load(&env(pairs)).unwrap()
}

fn refused(sources: &Sources) -> String {
    Config::load(sources).unwrap_err().to_string()
}

/// Loads with a config file of this text.
fn with_file(text: &str, sources: Sources) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("countersign.toml");
    std::fs::write(&file, text).unwrap();
    Config::load(&Sources { file: Some(file), ..sources }).map_err(|error| error.to_string())
}

/// Every row is an environment and a part of the sentence that refuses it.
fn assert_refused(rows: &[(Pairs<'_>, &str)]) {
    for (pairs, part) in rows {
        let message = refused(&env(pairs));
        assert!(message.contains(part), "{pairs:?} gave:\n{message}");
    }
}

#[test]
fn defaults_just_run() {
    let config = Config::for_tests();
    assert_eq!(config.database_url.as_str(), "sqlite://countersign.db");
    assert_eq!(config.bind.to_string(), "127.0.0.1:8080");
    assert_eq!(config.public_url.as_str(), "http://127.0.0.1:8080/");
    assert_eq!(config.mail_from.to_string(), "countersign@localhost");
    assert_eq!(config.data_dir, Path::new("."));
    assert!(config.tls.is_none() && config.smtp_url.is_none() && config.catalogue_dir.is_none());
    assert!(config.trusted_proxies.is_empty() && !config.insecure_http && !config.cookie_secure());
}

#[test]
fn flag_beats_environment_beats_pointed_file_beats_config_file() {
    let dir = tempfile::tempdir().unwrap();
    let pointed = dir.path().join("bind");
    std::fs::write(&pointed, "127.0.0.1:3\n").unwrap();
    let variable = ("BIND_FILE".to_owned(), pointed.to_str().unwrap().to_owned());
    let file = "bind = \"127.0.0.1:4\"";
    let port = |sources| with_file(file, sources).unwrap().bind.port();

    let direct = env(&[("BIND", "127.0.0.1:2")]);
    assert_eq!(port(with_flags(direct.clone(), &[("--bind", "127.0.0.1:1")])), 1);
    assert_eq!(port(direct), 2);
    assert_eq!(port(Sources { env: vec![variable], ..Sources::default() }), 3);
    assert_eq!(port(Sources::default()), 4);
    assert_eq!(load(&[]).bind.port(), 8080);
}

#[test]
fn empty_values_count_as_not_given() {
    let sources = with_flags(env(&[("BIND", ""), ("SMTP_URL", " ")]), &[("bind", "")]);
    let config = with_file("bind = \"127.0.0.1:4\"\ndata_dir = \"\"", sources).unwrap();
    assert_eq!((config.bind.port(), config.smtp_url.is_none()), (4, true));
    assert!(config.is_given("BIND") && !config.is_given("DATA_DIR"));
}

#[test]
fn a_value_given_twice_is_refused() {
    let both = [("DATA_DIR", "/a"), ("DATA_DIR_FILE", "/b")];
    assert_refused(&[(&both, "DATA_DIR (environment) is given directly and as DATA_DIR_FILE")]);
    let message = refused(&with_flags(env(&both), &[("data-dir", "/c")]));
    assert!(message.contains("keep one of them"), "{message}");
}

#[test]
fn pointed_files_lose_one_newline_and_must_hold_something() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("value");
    let read = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let pointer = ("DATA_DIR_FILE".to_owned(), path.to_str().unwrap().to_owned());
        Config::load(&Sources { env: vec![pointer], ..Sources::default() })
    };
    for text in ["/data", "/data\n", "/data\r\n"] {
        assert_eq!(read(text).unwrap().data_dir, Path::new("/data"));
    }
    assert!(read("/data\n\n").unwrap_err().to_string().contains("line break"));
    assert!(read("\n").unwrap_err().to_string().contains("is empty"));
    assert_refused(&[(&[("DATA_DIR_FILE", "/no/such")], "DATA_DIR_FILE (environment): /no/such")]);
}

#[test]
fn config_file_takes_texts_lists_and_switches() {
    let text = "trusted_proxies = [\"10.0.0.0/8\", \"::1\"]\ninsecure_http = true\n\
                bind = \"192.168.1.5:80\"";
    let config = with_file(text, Sources::default()).unwrap();
    assert_eq!(config.trusted_proxies.len(), 2);
    assert!(config.insecure_http);
    let config = with_file("trusted_proxies = \"10.0.0.0/8, ::1\"", Sources::default()).unwrap();
    assert_eq!(config.trusted_proxies.len(), 2);
}

#[test]
fn config_file_mistakes_are_named() {
    for (text, part) in [
        ("database_uri = \"x\"", "is not a setting; did you mean database_url?"),
        ("BIND = \"127.0.0.1:1\"", "did you mean bind?"),
        ("[server]\nbind = \"x\"", "server (config file "),
        ("bind = 8080", "must be a text in quotes"),
        ("insecure_http = 1", "must be true or false"),
        ("insecure_http = \"yes\"", "must be true or false, not \"yes\""),
        ("trusted_proxies = [1]", "must be a list of texts"),
        ("bind = \"nowhere\"", "BIND (config file "),
        ("a = \n", "is not valid TOML"),
    ] {
        let message = with_file(text, Sources::default()).unwrap_err();
        assert!(message.contains(part), "{text:?} gave:\n{message}");
    }
    let message = with_file("\ndatabase_url = \"postgres://u:hunter2@h", Sources::default());
    let message = message.unwrap_err();
    assert!(message.contains("in line 2") && !message.contains("hunter2"), "{message}");
    let missing = Sources { file: Some("/no/such.toml".into()), ..Sources::default() };
    assert!(refused(&missing).contains("/no/such.toml cannot be read"));
}

#[test]
fn unknown_variables_of_ours_are_refused() {
    assert_refused(&[
        (&[("COUNTERSIGN_BIND", "x")], "COUNTERSIGN_BIND (environment) is not a setting; did you"),
        (&[("COUNTERSIGN_BIND", "x")], "did you mean BIND? The names have no prefix."),
        (&[("COUNTERSIGN_DATABASE", "x")], "did you mean DATABASE_URL?"),
        (&[("COUNTERSIGN_INSECURE_HTTP", "1")], "did you mean the flag --insecure-http?"),
        (&[("INSECURE_HTTP", "true")], "use the flag --insecure-http"),
        (&[("DATABASE_URI", "x")], "did you mean DATABASE_URL?"),
        (&[("DATABASE_URI_FILE", "x")], "did you mean DATABASE_URL_FILE?"),
        (&[("TRUSTED_PROXY", "x")], "did you mean TRUSTED_PROXIES?"),
        (&[("PUBLIC_URI", "x")], "did you mean PUBLIC_URL?"),
        (&[("SMTP_URI", "x")], "did you mean SMTP_URL?"),
        (&[("CATALOG_DIR", "x")], "did you mean CATALOGUE_DIR?"),
    ]);
    let message = refused(&with_flags(Sources::default(), &[("--database-uri", "x")]));
    assert!(message.contains("--database-uri is not a flag; did you mean --database-url?"));
}

#[test]
fn strangers_variables_are_left_alone() {
    for name in [
        "MAIL",
        "DATADIR",
        "BIND_KEY",
        "EMAIL_FROM",
        "DATABASE_SSL",
        "DATABASE_USER",
        "PATH",
        "PGSSLMODE",
        "TEST_DATABASE_URL",
        "HTTP_URL",
        "TLS_CA",
        "PUBLIC_KEY",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "XDG_DATA_DIRS",
        "META_DIR",
        "COUNTERSIGN_SERVICE_HOST",
        "COUNTERSIGN_SERVICE_PORT_HTTP",
        "COUNTERSIGN_PORT_8080_TCP_ADDR",
    ] {
        assert!(Config::load(&env(&[(name, "x")])).is_ok(), "{name}");
    }
    load(&[("COUNTERSIGN_PORT", "tcp://10.0.0.7:8080")]);
    assert_refused(&[(&[("COUNTERSIGN_PORT", "8080")], "did you mean")]);
}

#[test]
fn database_addresses() {
    for (url, postgres, path) in [
        ("sqlite://countersign.db", false, Some("countersign.db")),
        ("sqlite:///var/lib/c.db", false, Some("/var/lib/c.db")),
        ("postgres://u:p@h/db", true, None),
        ("postgresql:///db?host=/run/postgresql", true, None),
    ] {
        let url = DatabaseUrl::parse(url).unwrap();
        assert_eq!((url.is_postgres(), url.sqlite_path()), (postgres, path));
    }
    for url in ["mysql://h/db", "countersign.db", "sqlite:x.db", "POSTGRES://h/db", "postgres:h"] {
        assert_refused(&[(
            &[("DATABASE_URL", url)],
            "DATABASE_URL (environment): must start with",
        )]);
    }
    for url in ["sqlite://x?mode=rwc", "sqlite://:memory:", "sqlite://file:x", "sqlite://"] {
        assert!(DatabaseUrl::parse(url).is_err(), "{url}");
    }
}

#[test]
fn tls_to_the_database_needs_a_build_with_it() {
    for (url, mode, wants) in [
        ("postgres://h/db", None, false),
        ("postgres://h/db?sslmode=prefer", Some("require"), false),
        ("postgres://h/db?a=b&sslmode=require", None, true),
        ("postgres://h/db?sslmode=verify-%66ull", None, true),
        ("postgres://h/db?ssl=true", None, true),
        ("postgres://h/db", Some("verify-ca"), true),
        ("sqlite://x.db", Some("require"), false),
    ] {
        let mut sources = env(&[("DATABASE_URL", url)]);
        sources.env.extend(mode.map(|mode| ("PGSSLMODE".to_owned(), mode.to_owned())));
        let without = Config::load_for_build(&sources, false).map_err(|error| error.to_string());
        assert_eq!(without.is_err(), wants, "{url} {mode:?}");
        assert!(without.err().is_none_or(|error| error.contains("--features postgres-tls")));
        assert!(Config::load_for_build(&sources, true).is_ok());
    }
}

#[test]
fn public_address_rules() {
    for (bind, url) in [
        ("127.0.0.1:9000", "http://127.0.0.1:9000/"),
        ("[::1]:9000", "http://[::1]:9000/"),
        ("127.0.0.1:80", "http://127.0.0.1/"),
    ] {
        assert_eq!(load(&[("BIND", bind)]).public_url.as_str(), url);
    }
    let tls = [("TLS_CERT", "c.pem"), ("TLS_KEY", "k.pem"), ("BIND", "192.168.1.5:8443")];
    let config = load(&tls);
    assert_eq!(config.public_url.as_str(), "https://192.168.1.5:8443/");
    assert!(config.cookie_secure() && config.tls.is_some());
    load(&[("PUBLIC_URL", "http://keys.localhost:8080")]);
    load(&[("PUBLIC_URL", "http://[::ffff:127.0.0.1]")]);
    assert_refused(&[
        (&[("BIND", "127.0.0.1:0")], "set PUBLIC_URL"),
        (&[("BIND", "localhost:80")], "BIND (environment): \"localhost:80\" is not an address"),
        (&[("PUBLIC_URL", "ftp://h")], "must start with https:// or http://"),
        (&[("PUBLIC_URL", "keys.example.com")], "is not an address such as"),
        (&[("PUBLIC_URL", "https://h/keys")], "must end after the host and port"),
        (&[("PUBLIC_URL", "https://h/?a")], "must end after the host and port"),
        (&[("PUBLIC_URL", "https://me@h")], "must not contain a user name"),
        (&[("PUBLIC_URL", "http://keys.example.com")], "PUBLIC_URL (environment): http://keys"),
        (&[("PUBLIC_URL", "keys.example.com:8080")], "must start with https:// or http://"),
        (&[("TLS_CERT", "c.pem")], "TLS_CERT (environment): needs TLS_KEY as well"),
        (&[("TLS_KEY", "k.pem")], "TLS_KEY (environment): needs TLS_CERT as well"),
        (&[("TLS_KEY", "-----BEGIN X\n"), ("TLS_CERT", "c")], "must be the path of a PEM file"),
    ]);
}

#[test]
fn plain_http_over_the_network_must_be_wanted() {
    let open = ("BIND", "0.0.0.0:8080");
    let insecure = |pairs: Pairs<'_>| with_flags(env(pairs), &[("insecure-http", "true")]);
    let three_ways = "set PUBLIC_URL to the https address of the proxy in front, or set TLS_CERT \
                      and TLS_KEY, or pass --insecure-http.";
    assert_refused(&[
        (&[open], three_ways),
        (&[open, ("PUBLIC_URL", "http://127.0.0.1:8080")], three_ways),
        (&[("BIND", "[::]:80"), ("PUBLIC_URL", "http://h")], three_ways),
    ]);
    load(&[open, ("PUBLIC_URL", "https://keys.example.com")]);
    load(&[("BIND", "[::ffff:127.0.0.1]:8080")]);
    // Nobody can follow a link to 0.0.0.0.
    let derived = Config::load(&insecure(&[open])).unwrap().public_url;
    assert_eq!(derived.as_str(), "http://localhost:8080/");
    assert!(refused(&insecure(&[("BIND", "0.0.0.0:0")])).contains("set PUBLIC_URL, for example"));
    Config::load(&insecure(&[open, ("PUBLIC_URL", "http://keys.lan")])).unwrap();
    Config::load(&insecure(&[("BIND", "192.168.1.5:80")])).unwrap();
    Config::load(&insecure(&[("PUBLIC_URL", "http://keys.lan")])).unwrap();
}

#[test]
fn mail_settings() {
    for url in ["smtp://h", "smtp://u:p%40@h:25?tls=required", "smtps://u:p@h"] {
        assert_eq!(load(&[("SMTP_URL", url)]).smtp_url.unwrap().expose(), url);
    }
    let named = load(&[("MAIL_FROM", "Keys <keys@example.com>")]).mail_from;
    assert_eq!((named.name.as_deref(), named.email.as_ref()), (Some("Keys"), "keys@example.com"));
    assert_refused(&[
        (&[("SMTP_URL", "http://u:hunter2@h")], "must start with smtp:// or smtps://"),
        (&[("SMTP_URL", "smtp://h?tls=maybe")], "takes only ?tls=required or ?tls=opportunistic"),
        (&[("SMTP_URL", "smtps://h?tls=required")], "TLS is always on"),
        (&[("SMTP_URL", "smtp://u@h")], "needs the user name and the password, or neither"),
        (&[("SMTP_URL", "mail.example.com")], "is not an address such as"),
        (&[("MAIL_FROM", "nobody")], "is not a mail address"),
        (&[("MAIL_FROM", "a@b.example, c@d.example")], "is not a mail address"),
        (&[("MAIL_FROM", "K\r\nBcc: x@y.example <a@b.example>")], "MAIL_FROM (environment): "),
    ]);
}

#[test]
fn trusted_proxies() {
    let config =
        load(&[("TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.7,::ffff:10.1.0.0/112,fd00::/8,")]);
    let shown: Vec<_> = config.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["10.0.0.0/8", "192.0.2.7/32", "10.1.0.0/16", "fd00::/8"]);
    assert_eq!(
        load(&[("TRUSTED_PROXIES", "::ffff:1.2.3.4")]).trusted_proxies.first().unwrap().to_string(),
        "1.2.3.4/32"
    );
    assert_refused(&[
        (&[("TRUSTED_PROXIES", "10.0.0.5/8")], "did you mean the network 10.0.0.0/8?"),
        (&[("TRUSTED_PROXIES", "proxy.lan")], "\"proxy.lan\" is neither an address nor a network"),
        (&[("TRUSTED_PROXIES", "10.0.0.0/33")], "is neither an address nor a network"),
    ]);
}

#[test]
fn all_problems_are_told_together() {
    let sources = env(&[("BIND", "x"), ("MAIL_FROM", "x"), ("DATABASE_URI", "x")]);
    let message = refused(&with_flags(sources, &[("database-url", "mysql://u:hunter2@h")]));
    for part in ["BIND (env", "MAIL_FROM (env", "DATABASE_URI (env", "DATABASE_URL (flag --data"] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(message.lines().count(), 5, "{message}");
    assert!(!message.contains("hunter2"));
}

#[test]
fn secrets_are_never_printed() {
    for (url, shown) in [
        (
            "postgres://u:hunter2@h:5432/db?sslmode=prefer",
            "postgres://u:***@h:5432/db?sslmode=prefer",
        ),
        ("postgres://u:hun@ter2/?#@h/db", "postgres://u:***@h/db"),
        ("postgres://u@h:5432/db", "postgres://u@h:5432/db"),
        ("postgres:///db?user=u&password=hunter2", "postgres:///db?user=u&password=***"),
        ("postgres:///db?pass%77ord=hunter2", "postgres:///db?pass%77ord=***"),
        ("sqlite://data:1@x.db", "sqlite://data:1@x.db"),
    ] {
        let url = DatabaseUrl::parse(url).unwrap();
        assert_eq!((url.to_string().as_str(), format!("{url:?}").as_str()), (shown, shown));
    }
    assert_eq!(format!("{:?}", Secret::new("hunter2".to_owned())), "***");
    let config = load(&[
        ("DATABASE_URL", "postgres://u:hunter2@h/db"),
        ("SMTP_URL", "smtp://u:hunter2@h:25"),
    ]);
    let printed = format!("{config:?} {}", config.show().join("\n"));
    assert!(!printed.contains("hunter2"), "{printed}");
}

#[test]
fn shows_every_setting_with_its_origin() {
    let sources = with_flags(env(&[("DATA_DIR", "/data")]), &[("bind", "127.0.0.1:1")]);
    let lines = with_file("smtp_url = \"smtp://u:p@h\"", sources).unwrap().show();
    assert_eq!(lines.len(), super::SETTINGS.len());
    for line in [
        "DATABASE_URL = sqlite://countersign.db  (default)",
        "BIND = 127.0.0.1:1  (flag --bind)",
        "PUBLIC_URL = http://127.0.0.1:1  (from BIND)",
        "DATA_DIR = /data  (environment)",
        "TLS_CERT = none  (default)",
    ] {
        assert!(lines.iter().any(|shown| shown == line), "{line} is not in {lines:?}");
    }
    let smtp = lines.iter().find(|line| line.starts_with("SMTP_URL = smtp://u:***@h  (config"));
    assert!(smtp.is_some(), "{lines:?}");
}

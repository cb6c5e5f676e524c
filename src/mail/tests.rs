//! The mailer without a network: files, memory, and what must not get through.

use super::*;
use crate::config::Secret;

fn letter() -> Letter {
    Letter {
        id: "m-1".to_owned(),
        to: "checker@demo.example".to_owned(),
        subject: "[Countersign] A key waits".to_owned(),
        text: "Plain words".to_owned(),
        html: "<p>Marked words</p>".to_owned(),
    }
}

fn from() -> Mailbox {
    Config::for_tests().mail_from
}

#[tokio::test]
async fn file_holds_the_whole_mail_and_a_repeat_replaces_it() {
    let data = tempfile::tempdir().unwrap();
    let config = Config { data_dir: data.path().to_owned(), ..Config::for_tests() };
    let mailer = Mailer::from_config(&config).unwrap();
    for _ in 0..2 {
        mailer.send(&from(), &letter()).await.unwrap();
    }
    let folder = data.path().join("mail");
    let names: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["m-1.eml"]);
    let text = fs::read_to_string(folder.join("m-1.eml")).unwrap();
    for part in [
        "Message-ID: <m-1@localhost>\r\n",
        "From: countersign@localhost\r\n",
        "To: checker@demo.example\r\n",
        "Subject: [Countersign] A key waits\r\n",
        "Content-Type: multipart/alternative;",
        "\r\nPlain words\r\n",
        "<p>Marked words</p>",
        "Auto-Submitted: auto-generated\r\n",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(folder.join("m-1.eml")), 0o600);
        assert_eq!(mode(folder), 0o700);
    }
}

#[tokio::test]
async fn memory_keeps_the_letter_as_it_is_read() {
    let sent = Arc::default();
    let mailer = Mailer::Memory(Arc::clone(&sent));
    let subject = "Hello\r\nBcc: thief@evil.example\u{0}".to_owned();
    mailer.send(&from(), &Letter { subject, ..letter() }).await.unwrap();
    let subject = "Hello  Bcc: thief@evil.example ".to_owned();
    assert_eq!(*sent.lock().unwrap(), [Letter { subject, ..letter() }]);
}

#[test]
fn subject_cannot_add_headers() {
    for subject in ["A\r\nBcc: x@evil.example", "A\nBcc: x@evil.example", "Ä\r\n\r\nBcc: x"] {
        let (_, message) =
            build(&from(), &Letter { subject: subject.to_owned(), ..letter() }).unwrap();
        let text = String::from_utf8(message.formatted()).unwrap();
        let head = text.split("\r\n\r\n").next().unwrap();
        assert!(!head.lines().any(|line| line.starts_with("Bcc")), "{head}");
        assert!(head.contains("Auto-Submitted") && head.contains("multipart/alternative"));
        assert_eq!(message.envelope().to().len(), 1);
    }
}

#[tokio::test]
async fn broken_addresses_and_ids_are_refused_for_good() {
    let mailer = Mailer::Memory(Arc::default());
    let address = |to: &str| Letter { to: to.to_owned(), ..letter() };
    let id = |id: &str| Letter { id: id.to_owned(), ..letter() };
    for bad in [
        address("a@b.example\r\nBcc: x@evil.example"),
        address("a@b.example, x@evil.example"),
        address("\"a\r\nb\"@b.example"),
        address("a@b.example\n"),
        address("A <a@b.example>"),
        address("nobody"),
        address(""),
        id("../m"),
        id("m\r\nX: y"),
        id("a b"),
        id(""),
        id(".m"),
    ] {
        let error = mailer.send(&from(), &bad).await.unwrap_err();
        assert!(error.permanent && !error.message.contains('@'), "{bad:?}: {error}");
    }
}

#[test]
fn mail_server_addresses() {
    let with = |url: &str| {
        let smtp_url = Some(Secret::new(url.to_owned()));
        Mailer::from_config(&Config { smtp_url, ..Config::for_tests() })
    };
    for url in ["smtp://u:p@h:25", "smtp://h?tls=required", "smtps://u:p@h"] {
        assert!(matches!(with(url).unwrap(), Mailer::Smtp(_)));
    }
    let error = with("http://u:hunter2@h").err().unwrap();
    assert!(!format!("{error:?}").contains("hunter2"));
}

#[test]
fn errors_lose_their_addresses() {
    assert_eq!(without_addresses("550 <a@b.example>: no\nsuch user"), "550 (address) no such user");
}

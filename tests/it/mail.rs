//! The mailer against a mail server that can refuse, go down and come back.

use countersign::config::{Config, Secret};
use countersign::mail::{Letter, Mailer, SendError};

use crate::support::smtp::SmtpServer;

fn letter(to: &str) -> Letter {
    Letter {
        id: "m-1".to_owned(),
        to: to.to_owned(),
        subject:
            "[Countersign] Schlüssel für Zoë wartet – ein recht langer Betreff, wirklich sehr lang"
                .to_owned(),
        text: "Grüße\n.dot\n..two\n".to_owned() + &"lang ".repeat(60),
        html: "<p>日本語 = gut</p>".to_owned(),
    }
}

#[expect(clippy::unwrap_used, reason = "a failed assumption should stop the test")]
async fn send(server: &SmtpServer, to: &str) -> Result<(), SendError> {
    let config = Config { smtp_url: Some(Secret::new(server.url())), ..Config::for_tests() };
    Mailer::from_config(&config).unwrap().send(&config.mail_from, &letter(to)).await
}

#[tokio::test]
async fn a_mail_arrives_whole() {
    let server = SmtpServer::start();
    send(&server, "a@demo.example").await.unwrap();
    let mails = server.received();
    let mail = mails.first().unwrap();
    assert_eq!(
        (mail.from.as_str(), mail.to.as_slice()),
        ("countersign@localhost", ["a@demo.example".to_owned()].as_slice())
    );
    let letter = letter("");
    assert!(mail.data.contains("Message-ID: <m-1@localhost>"), "{}", mail.data);
    assert_eq!(
        (mail.subject(), mail.body(), mail.html()),
        (letter.subject, letter.text.trim_end().to_owned(), letter.html)
    );
}

#[tokio::test]
async fn a_refused_recipient_is_permanent_or_not_as_the_server_says() {
    let server = SmtpServer::start();
    server.answer_next_rcpt_with("451 come again, a@demo.example");
    let error = send(&server, "a@demo.example").await.unwrap_err();
    assert!(!error.permanent && !error.message.contains('@'), "{error}");
    send(&server, "a@demo.example").await.unwrap();
    server.reject_recipient("b@demo.example", "550 <b@demo.example> is unknown");
    let error = send(&server, "b@demo.example").await.unwrap_err();
    assert!(error.permanent && !error.message.contains('@'), "{error}");
    server.answer_next_rcpt_with("535 log in first");
    assert!(!send(&server, "a@demo.example").await.unwrap_err().permanent);
    assert!(send(&server, "ä@demo.example").await.unwrap_err().permanent);
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn a_server_that_is_down_is_tried_again() {
    let server = SmtpServer::start();
    server.go_down();
    for _ in 0..3 {
        let error = send(&server, "a@demo.example").await.unwrap_err();
        assert!(!error.permanent, "{error}");
        server.go_down();
    }
    server.come_back();
    send(&server, "a@demo.example").await.unwrap();
    server.go_down();
    server.come_back();
    send(&server, "a@demo.example").await.unwrap();
    assert_eq!(server.received().len(), 2);
}

//! Sends one letter: over SMTP, into a folder, or into memory for tests.

#[cfg(test)]
mod tests;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::{self, AsyncSmtpTransportBuilder};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};

use crate::config::Config;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
// lettre limits only the connecting; a server that falls silent later must not stop the worker.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);

/// Where letters go.
#[derive(Clone)]
pub enum Mailer {
    /// To a mail server, with a new connection for each letter.
    Smtp(Box<AsyncSmtpTransportBuilder>),
    /// Into this folder, one `.eml` file per letter.
    File(PathBuf),
    /// Into a list that tests can read.
    Memory(Arc<Mutex<Vec<Message>>>),
}

/// One mail to one person, as text and as HTML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Becomes the `Message-ID`, so that a repeated letter can be told: letters, digits and `-_.`.
    pub id: String,
    /// The bare mail address.
    pub to: String,
    /// One line; control characters become spaces.
    pub subject: String,
    /// What programs without HTML show.
    pub text: String,
    /// The same as a page.
    pub html: String,
}

/// A letter that a `Memory` mailer has taken.
pub type Message = Letter;

/// Why a letter was not sent; the message holds no mail address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SendError {
    /// Trying again cannot help.
    pub permanent: bool,
    /// A sentence for the administrator.
    pub message: String,
}

impl SendError {
    fn permanent(message: impl Into<String>) -> Self {
        Self { permanent: true, message: message.into() }
    }

    fn transient(message: impl Into<String>) -> Self {
        Self { permanent: false, message: message.into() }
    }
}

impl Mailer {
    /// The mail server of the settings, or the folder `mail` in the data folder if there is none.
    pub fn from_config(config: &Config) -> anyhow::Result<Self> {
        let Some(url) = &config.smtp_url else {
            return Ok(Self::File(config.data_dir.join("mail")));
        };
        let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url.expose())
            .context("SMTP_URL is not the address of a mail server")?;
        Ok(Self::Smtp(Box::new(builder.timeout(Some(CONNECT_TIMEOUT)))))
    }

    /// Hands one letter over, and answers when the other side has taken it.
    pub async fn send(&self, from: &Mailbox, letter: &Letter) -> Result<(), SendError> {
        let (letter, message) = build(from, letter)?;
        match self {
            Self::Smtp(server) => deliver(server, message).await,
            Self::File(folder) => {
                write(folder, &letter.id, &message.formatted()).map_err(|error| {
                    SendError::transient(format!("The mail could not be written: {error}."))
                })
            }
            Self::Memory(sent) => {
                sent.lock().unwrap_or_else(PoisonError::into_inner).push(letter);
                Ok(())
            }
        }
    }
}

/// Makes the message and a copy of the letter as it will be read. Line breaks in a header would
/// add headers or recipients, so that none gets this far.
fn build(from: &Mailbox, letter: &Letter) -> Result<(Letter, lettre::Message), SendError> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if letter.id.is_empty() || letter.id.starts_with('.') || !letter.id.chars().all(fine) {
        return Err(SendError::permanent("The id of the mail has characters that do not belong."));
    }
    let to = letter.to.parse::<Address>().ok();
    let to = to.filter(|_| !letter.to.contains(char::is_control));
    let to = to.ok_or_else(|| SendError::permanent("The recipient is not a mail address."))?;
    let subject = letter.subject.replace(char::is_control, " ");
    // Holiday notices are not wanted in return.
    let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
    let message = lettre::Message::builder()
        .message_id(Some(format!("<{}@{}>", letter.id, from.email.domain())))
        .from(from.clone())
        .to(Mailbox::new(None, to))
        .subject(subject.clone())
        .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
        .multipart(MultiPart::alternative_plain_html(letter.text.clone(), letter.html.clone()))
        .map_err(|error| SendError::permanent(format!("The mail cannot be built: {error}.")))?;
    Ok((Letter { subject, ..letter.clone() }, message))
}

async fn deliver(
    server: &AsyncSmtpTransportBuilder,
    message: lettre::Message,
) -> Result<(), SendError> {
    let ascii = message.envelope().to().iter().all(|to| AsRef::<str>::as_ref(to).is_ascii());
    let transport = server.clone().build::<Tokio1Executor>();
    match tokio::time::timeout(SEND_TIMEOUT, transport.send(message)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(SendError {
            permanent: is_permanent(&error, ascii),
            message: without_addresses(&format!("The mail server did not take it: {error}.")),
        }),
        Err(_) => Err(SendError::transient("The mail server did not answer in time.")),
    }
}

/// A refused login is our mistake, not the letter's: it goes out once the password is right.
fn is_permanent(error: &smtp::Error, ascii: bool) -> bool {
    match error.status() {
        Some(code) => error.is_permanent() && !matches!(u16::from(code), 530 | 534 | 535 | 538),
        // lettre refuses an address that this server cannot write.
        None => error.is_client() && !ascii,
    }
}

/// Servers like to repeat the address they refuse, and errors end up in logs.
fn without_addresses(text: &str) -> String {
    let word =
        |word: &'_ str| if word.contains('@') { "(address)".to_owned() } else { word.to_owned() };
    text.split_whitespace().map(word).collect::<Vec<_>>().join(" ").chars().take(500).collect()
}

/// Whoever watches the folder sees whole files only.
fn write(folder: &Path, id: &str, bytes: &[u8]) -> io::Result<()> {
    let mut directory = fs::DirBuilder::new();
    let mut file = fs::OpenOptions::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
        directory.mode(0o700);
        file.mode(0o600);
    }
    directory.recursive(true).create(folder)?;
    let unfinished = folder.join(format!(".{id}.tmp"));
    let mut file = file.write(true).create(true).truncate(true).open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(unfinished, folder.join(format!("{id}.eml")))
}

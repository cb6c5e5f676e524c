//! Undoes the encodings of a mail, as far as tests need it.

use super::ReceivedMail;

impl ReceivedMail {
    /// The subject as a person reads it.
    pub(crate) fn subject(&self) -> String {
        let head = self.data.split("\n\n").next().unwrap_or_default();
        encoded_words(&header(head, "Subject"))
    }

    /// The plain text, decoded.
    pub(crate) fn body(&self) -> String {
        self.part("text/plain")
    }

    /// The HTML, decoded.
    pub(crate) fn html(&self) -> String {
        self.part("text/html")
    }

    /// The first part of this type; no multipart inside a multipart.
    fn part(&self, kind: &str) -> String {
        let (head, _) = self.data.split_once("\n\n").unwrap_or_default();
        let kind_of_all = header(head, "Content-Type");
        let boundary = kind_of_all.split_once("boundary=\"").and_then(|(_, b)| b.split('"').next());
        let marker = boundary.map_or("\0".to_owned(), |boundary| format!("--{boundary}"));
        let part = self.data.split(&marker).filter_map(|part| part.trim_start().split_once("\n\n"));
        let part =
            part.into_iter().find(|(head, _)| header(head, "Content-Type").starts_with(kind));
        let (head, body) = part.unwrap_or_default();
        match header(head, "Content-Transfer-Encoding").as_str() {
            "base64" => base64(body),
            "quoted-printable" => quoted_printable(body),
            _ => body.to_owned(),
        }
        .trim_end()
        .to_owned()
    }
}

fn header(head: &str, name: &str) -> String {
    let unfolded = head.replace("\n ", " ").replace("\n\t", " ");
    let value = unfolded.lines().find_map(|line| {
        line.split_once(": ")
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.to_owned())
    });
    value.unwrap_or_default()
}

/// Replaces every `=?charset?b or q?word?=` by what it says, taking all of them for UTF-8.
fn encoded_words(text: &str) -> String {
    // White space between two encoded words does not count.
    let text = text.replace("?= =?", "?==?");
    let (mut rest, mut plain) = (text.as_str(), String::new());
    while let Some((before, after)) = rest.split_once("=?") {
        let mut parts = after.splitn(3, '?').skip(1);
        let encoding = parts.next().unwrap_or_default().to_lowercase();
        let (word, later) = parts.next().and_then(|word| word.split_once("?=")).unwrap_or_default();
        plain += before;
        plain += &match encoding.as_str() {
            "b" => base64(word),
            _ => quoted_printable(&word.replace('_', " ")),
        };
        rest = later;
    }
    plain + rest
}

fn base64(text: &str) -> String {
    let digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut count, mut bytes) = (0_usize, 0, Vec::new());
    for digit in text.chars().filter_map(|c| digits.find(c)) {
        bits = (bits << 6 | digit) & 0xffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).unwrap());
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn quoted_printable(text: &str) -> String {
    let text = text.replace("=\n", "");
    let mut parts = text.split('=');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at(2);
        bytes.push(u8::from_str_radix(code, 16).unwrap());
        bytes.extend(rest.as_bytes());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

//! SIP messages as a phone reads and writes them: owned lines, nothing shared with `sip::wire`.
//!
//! A phone must not inherit the appliance's parser mistakes, so this one is written separately and simply: it splits
//! lines, unfolds them and expands compact names (RFC 3261 §7). Speed does not matter here.

use bytes::Bytes;

/// Most header lines a phone reads.
const HEADERS_MAX: usize = 256;
/// Longest message taken from a stream.
const MESSAGE_BYTES_MAX: usize = 65_535;

/// One SIP message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// Request line or status line.
    pub start: String,
    /// Header lines in order, names expanded from their compact form.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Text {
    /// Reads one whole message; what follows its Content-Length is cut (RFC 3261 §18.3).
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let split = head_end(bytes)?;
        let head = String::from_utf8_lossy(&bytes[..split]);
        let mut lines = head.split("\r\n");
        let start = lines.next()?.trim().to_owned();
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in lines.filter(|line| !line.is_empty()) {
            if line.starts_with([' ', '\t']) {
                let (_, value) = headers.last_mut()?;
                value.push(' ');
                value.push_str(line.trim());
                continue;
            }
            let (name, value) = line.split_once(':')?;
            if headers.len() == HEADERS_MAX {
                return None;
            }
            headers.push((expand(name.trim()).to_owned(), value.trim().to_owned()));
        }
        let mut message = Self { start, headers, body: bytes[split + 4..].to_vec() };
        if let Some(length) = message.get("Content-Length") {
            let length: usize = length.parse().ok()?;
            if length > message.body.len() {
                return None;
            }
            message.body.truncate(length);
        }
        message.is_whole().then_some(message)
    }

    fn is_whole(&self) -> bool {
        ["Via", "From", "To", "Call-ID", "CSeq"].iter().all(|name| self.get(name).is_some())
            && (self.status().is_some() || self.method().is_some())
            && self.cseq().is_some()
    }

    /// The method of a request.
    #[must_use]
    pub fn method(&self) -> Option<&str> {
        if self.start.starts_with("SIP/") { None } else { self.start.split(' ').next() }
    }

    /// The Request-URI of a request.
    #[must_use]
    pub fn uri(&self) -> Option<&str> {
        self.method()?;
        self.start.split(' ').nth(1)
    }

    /// The status of a response.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.start.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    /// The reason phrase of a response.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.start.splitn(3, ' ').nth(2).unwrap_or("")
    }

    /// The first line of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All values of that name, lines and commas alike.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(own, _)| own.eq_ignore_ascii_case(name))
            .flat_map(|(_, value)| split_outside_quotes(value, b','))
    }

    /// CSeq: number and method.
    #[must_use]
    pub fn cseq(&self) -> Option<(u32, &str)> {
        let (number, method) = self.get("CSeq")?.split_once([' ', '\t'])?;
        Some((number.parse().ok()?, method.trim()))
    }

    /// The tag of From or To.
    #[must_use]
    pub fn tag(&self, name: &str) -> Option<&str> {
        param(self.get(name)?, "tag")
    }

    /// Call-ID; empty only in a message made by hand.
    #[must_use]
    pub fn call_id(&self) -> &str {
        self.get("Call-ID").unwrap_or("")
    }

    /// The top Via.
    #[must_use]
    pub fn via(&self) -> &str {
        self.all("Via").next().unwrap_or("")
    }

    /// Adds a line.
    pub fn push(&mut self, name: &str, value: impl Into<String>) -> &mut Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The message as it goes out, with its Content-Length.
    #[must_use]
    pub fn write(&self) -> Bytes {
        let mut out = String::with_capacity(512);
        out.push_str(&self.start);
        out.push_str("\r\n");
        for (name, value) in self.headers.iter().filter(|(name, _)| name != "Content-Length") {
            out.push_str(name);
            out.push_str(": ");
            out.push_str(value);
            out.push_str("\r\n");
        }
        out.push_str("Content-Length: ");
        out.push_str(&self.body.len().to_string());
        out.push_str("\r\n\r\n");
        let mut out = out.into_bytes();
        out.extend_from_slice(&self.body);
        Bytes::from(out)
    }
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n")
}

fn expand(name: &str) -> &str {
    match name {
        "v" | "V" => "Via",
        "f" | "F" => "From",
        "t" | "T" => "To",
        "i" | "I" => "Call-ID",
        "m" | "M" => "Contact",
        "l" | "L" => "Content-Length",
        "c" | "C" => "Content-Type",
        "k" | "K" => "Supported",
        "s" | "S" => "Subject",
        "e" | "E" => "Content-Encoding",
        other => other,
    }
}

/// Splits at `separator` where it stands neither in quotes nor in angle brackets.
pub fn split_outside_quotes(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (mut quoted, mut escaped, mut angle) = (false, false, false);
        for (at, byte) in text.bytes().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b'<' if !quoted => angle = true,
                b'>' if !quoted => angle = false,
                _ if byte == separator && !quoted && !angle => {
                    rest = Some(&text[at + 1..]);
                    return Some(text[..at].trim());
                }
                _ => {}
            }
        }
        rest = None;
        Some(text.trim())
    })
}

/// The URI of a name-addr or addr-spec (RFC 3261 §20.10).
#[must_use]
pub fn uri_of(value: &str) -> &str {
    let mut quoted = false;
    let open = value.bytes().position(|byte| {
        quoted ^= byte == b'"';
        byte == b'<' && !quoted
    });
    match open {
        Some(open) => value[open + 1..].split('>').next().unwrap_or(""),
        None => value.split(';').next().unwrap_or("").trim(),
    }
}

/// A parameter behind the address of a header value; a flag reads as the empty string.
#[must_use]
pub fn param<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    split_outside_quotes(value, b';').skip(1).find_map(|part| {
        let (own, value) = part.split_once('=').unwrap_or((part, ""));
        own.trim().eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

/// Cuts a byte stream into messages by Content-Length (RFC 3261 §18.3); CRLF keep-alives are skipped (RFC 5626 §3.5.1).
#[derive(Debug, Default)]
pub struct Reassembly(Vec<u8>);

impl Reassembly {
    /// Takes what the stream brought.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.0.len() + bytes.len() <= 4 * MESSAGE_BYTES_MAX {
            self.0.extend_from_slice(bytes);
        }
    }

    /// The next whole message.
    pub fn next_message(&mut self) -> Option<Vec<u8>> {
        let blank = self.0.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        self.0.drain(..blank);
        let split = head_end(&self.0)?;
        let head = String::from_utf8_lossy(&self.0[..split]);
        let length = head
            .split("\r\n")
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| expand(name.trim()).eq_ignore_ascii_case("Content-Length"))
            .and_then(|(_, value)| value.trim().parse::<usize>().ok())
            .unwrap_or(0)
            .min(MESSAGE_BYTES_MAX);
        let end = split + 4 + length;
        (self.0.len() >= end).then(|| self.0.drain(..end).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &str = "INVITE sip:bob@example.com SIP/2.0\r\nv: SIP/2.0/UDP a:5060;branch=z9hG4bK1;rport\r\n\
        f: \"A, <B>\" <sip:a@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\ni: x\r\nCSeq: 7 INVITE\r\n\
        Contact: <sip:a@1.2.3.4;x=\"1,2\">, <sip:c@d>\r\nSubject: one\r\n two\r\nl: 2\r\n\r\nhixx";

    #[test]
    fn a_message_reads_back() {
        let text = Text::parse(INVITE.as_bytes()).unwrap();
        assert_eq!((text.method(), text.uri(), text.status()), (Some("INVITE"), Some("sip:bob@example.com"), None));
        assert_eq!((text.tag("From"), text.tag("To"), text.cseq()), (Some("1"), None, Some((7, "INVITE"))));
        assert_eq!(text.all("Contact").map(uri_of).collect::<Vec<_>>(), ["sip:a@1.2.3.4;x=\"1,2\"", "sip:c@d"]);
        assert_eq!(uri_of(text.get("From").unwrap()), "sip:a@example.com");
        assert_eq!((text.get("subject"), text.body.as_slice()), (Some("one two"), &b"hi"[..]));
        assert_eq!(param(text.via(), "rport"), Some(""));
        assert_eq!(Text::parse(&text.write()).unwrap().headers.len(), text.headers.len());
    }

    #[test]
    fn a_stream_is_cut_by_content_length() {
        let mut stream = Reassembly::default();
        let whole = [b"\r\n\r\n".as_slice(), &INVITE.as_bytes()[..INVITE.len() - 2], b"SIP"].concat();
        let mut found = 0;
        for byte in whole.chunks(7) {
            stream.push(byte);
            while let Some(message) = stream.next_message() {
                assert!(Text::parse(&message).is_some());
                found += 1;
            }
        }
        assert_eq!((found, stream.0.as_slice()), (1, &b"SIP"[..]));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = Text::parse(&bytes);
            let mut stream = Reassembly::default();
            stream.push(&bytes);
            let _ = stream.next_message();
        }
    }
}

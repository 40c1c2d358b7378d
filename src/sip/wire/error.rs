//! What is wrong with a message, and what to answer.

use super::HeaderName;

/// What a message broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Nothing but CR, LF or NUL: a keepalive, not a message.
    Keepalive,
    /// The first line is neither a request line nor a status line.
    StartLine,
    /// The Request-URI cannot be read, or has headers (RFC 3261 §19.1.5).
    RequestUri,
    /// Another version than SIP/2.0 (RFC 3261 §21.5.6).
    Version,
    /// A line without a name, without a colon, or not ended by CRLF.
    Line,
    /// No empty line ends the headers.
    Unfinished,
    /// More lines than [`super::HEADERS_MAX`].
    TooManyHeaders,
    /// More octets than [`super::MESSAGE_BYTES_MAX`].
    TooLarge,
    /// A mandatory header is not there.
    Missing,
    /// A header that may stand once stands twice.
    Repeated,
    /// A header cannot be read.
    Malformed,
    /// The CSeq method is not the request's (RFC 3261 §8.2.2.1).
    Mismatch,
    /// Content-Length asks for more octets than there are (RFC 3261 §18.3).
    Truncated,
}

/// Why a message cannot be used, and what to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// What is wrong.
    pub kind: ErrorKind,
    /// The status to answer: 400, 501, 505, 513; 0 where nothing is answered (responses, keepalives).
    pub status: u16,
    /// The reason phrase of that answer; names the header where there is one.
    pub reason: &'static str,
    /// The header at fault.
    pub header: Option<HeaderName>,
}

impl std::fmt::Display for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.reason)
    }
}

impl std::error::Error for ParseError {}

/// A fault before it is known whether anybody is to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub kind: ErrorKind,
    pub header: Option<HeaderName>,
}

pub(super) type Checked<T> = Result<T, Fault>;

impl Fault {
    pub const fn new(kind: ErrorKind) -> Self {
        Self { kind, header: None }
    }

    pub const fn at(kind: ErrorKind, header: HeaderName) -> Self {
        Self { kind, header: Some(header) }
    }

    #[cold]
    pub fn into_error(self, is_request: bool, method_known: bool) -> ParseError {
        let (status, reason) = match self.kind {
            ErrorKind::Keepalive => (0, "Keepalive"),
            ErrorKind::StartLine => (400, "Bad Start Line"),
            ErrorKind::RequestUri => (400, "Bad Request-URI"),
            ErrorKind::Version => (505, "Version Not Supported"),
            ErrorKind::Line => (400, "Bad Header Line"),
            ErrorKind::Unfinished => (400, "Headers Without End"),
            ErrorKind::TooManyHeaders => (400, "Too Many Headers"),
            ErrorKind::TooLarge => (513, "Message Too Large"),
            ErrorKind::Missing => (400, missing(self.header)),
            ErrorKind::Repeated => (400, repeated(self.header)),
            ErrorKind::Malformed => (400, malformed(self.header)),
            // RFC 4475 §3.1.2.18: a method that is not known deserves 501 before its CSeq is held against it.
            ErrorKind::Mismatch if !method_known => (501, "Not Implemented"),
            ErrorKind::Mismatch => (400, "CSeq Method Mismatch"),
            ErrorKind::Truncated => (400, "Content-Length Beyond Message"),
        };
        ParseError { kind: self.kind, status: if is_request { status } else { 0 }, reason, header: self.header }
    }
}

const fn missing(header: Option<HeaderName>) -> &'static str {
    match header {
        Some(HeaderName::Via) => "Missing Via",
        Some(HeaderName::From) => "Missing From",
        Some(HeaderName::To) => "Missing To",
        Some(HeaderName::CallId) => "Missing Call-ID",
        Some(HeaderName::CSeq) => "Missing CSeq",
        Some(HeaderName::ContentLength) => "Missing Content-Length",
        _ => "Missing Header",
    }
}

const fn repeated(header: Option<HeaderName>) -> &'static str {
    match header {
        Some(HeaderName::From) => "More Than One From",
        Some(HeaderName::To) => "More Than One To",
        Some(HeaderName::CallId) => "More Than One Call-ID",
        Some(HeaderName::CSeq) => "More Than One CSeq",
        Some(HeaderName::ContentLength) => "More Than One Content-Length",
        Some(HeaderName::ContentType) => "More Than One Content-Type",
        Some(HeaderName::MaxForwards) => "More Than One Max-Forwards",
        _ => "Repeated Header",
    }
}

const fn malformed(header: Option<HeaderName>) -> &'static str {
    match header {
        Some(HeaderName::Via) => "Bad Via",
        Some(HeaderName::From) => "Bad From",
        Some(HeaderName::To) => "Bad To",
        Some(HeaderName::CallId) => "Bad Call-ID",
        Some(HeaderName::CSeq) => "Bad CSeq",
        Some(HeaderName::Contact) => "Bad Contact",
        Some(HeaderName::Route) => "Bad Route",
        Some(HeaderName::RecordRoute) => "Bad Record-Route",
        Some(HeaderName::MaxForwards) => "Bad Max-Forwards",
        Some(HeaderName::ContentLength) => "Bad Content-Length",
        _ => "Bad Header",
    }
}

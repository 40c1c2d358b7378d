//! The offsets of one message: reusable, of fixed size, filled by [`parse`](fn@super::parse) without allocating.

use super::address::AddressParts;
use super::name::KNOWN;
use super::span::Span;
use super::uri::UriParts;
use super::via::ViaParts;
use super::{HEADERS_MAX, HeaderName, Method};

/// One header field: its name, where it starts, its value without the blanks around it, where the next line starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub name: HeaderName,
    pub start: u16,
    pub name_end: u16,
    pub value: Span,
    pub end: u16,
}

impl Line {
    pub const NONE: Self =
        Self { name: HeaderName::Other, start: 0, name_end: 0, value: Span { start: 0, end: 0 }, end: 0 };

    pub fn raw_name(self, bytes: &[u8]) -> &[u8] {
        Span { start: self.start, end: self.name_end }.of(bytes)
    }
}

/// Marks a name that no line has.
pub(super) const ABSENT: u8 = u8::MAX;
const _: () = assert!(HEADERS_MAX < ABSENT as usize && KNOWN < 128);

/// What the pass over the message learnt besides its lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub is_request: bool,
    pub method: Method,
    pub status: u16,
    pub max_forwards: Option<u8>,
    pub cseq: u32,
    /// Method of a request, or of a response's CSeq.
    pub method_span: Span,
    /// Request-URI or reason phrase.
    pub subject: Span,
    pub uri: UriParts,
    /// Where the first header line starts, and the empty line.
    pub headers: Span,
    pub body: Span,
    pub call_id: Span,
    pub via: ViaParts,
    pub from: AddressParts,
    pub to: AddressParts,
    pub contact: AddressParts,
    pub route: AddressParts,
    /// First line of each name; of `Other` it is noted and not used.
    pub first: [u8; KNOWN + 1],
    /// Bits of the names that have more than one line.
    pub repeated: u128,
}

impl Facts {
    /// Forgets the last message: what decides how errors are answered, and what need not be in every message.
    #[inline(always)]
    pub fn clear(&mut self) {
        self.is_request = false;
        self.method = Method::Other;
        self.method_span = Span::default();
        self.status = 0;
        self.max_forwards = None;
        self.first = [ABSENT; KNOWN + 1];
        self.repeated = 0;
    }

    pub const EMPTY: Self = Self {
        is_request: false,
        method: Method::Other,
        status: 0,
        max_forwards: None,
        cseq: 0,
        method_span: Span { start: 0, end: 0 },
        subject: Span { start: 0, end: 0 },
        uri: UriParts::NONE,
        headers: Span { start: 0, end: 0 },
        body: Span { start: 0, end: 0 },
        call_id: Span { start: 0, end: 0 },
        via: ViaParts::NONE,
        from: AddressParts::NONE,
        to: AddressParts::NONE,
        contact: AddressParts::NONE,
        route: AddressParts::NONE,
        first: [ABSENT; KNOWN + 1],
        repeated: 0,
    };
}

/// Room for the offsets of one message. Make one per shard and hand it to every [`parse`](fn@super::parse).
#[derive(Clone, Debug)]
pub struct Index {
    pub(super) facts: Facts,
    pub(super) lines: [Line; HEADERS_MAX],
    pub(super) count: usize,
}

impl Index {
    /// An empty index, about 1.5 KiB.
    #[must_use]
    pub const fn new() -> Self {
        Self { facts: Facts::EMPTY, lines: [Line::NONE; HEADERS_MAX], count: 0 }
    }
}

impl Default for Index {
    fn default() -> Self {
        Self::new()
    }
}

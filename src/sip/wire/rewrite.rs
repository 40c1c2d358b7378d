//! The patching writer: a message goes out as spans of the old octets with edits between. Lines nobody edited leave byte for
//! byte as they came, in their order.

use std::borrow::Cow;
use std::net::SocketAddr;

use super::build::{push_line, push_stamped_via, push_status_line, push_text};
use super::index::{ABSENT, Line};
use super::span::Span;
use super::{HeaderName, Message};
use crate::base::text::push_number;

/// A header to edit: a known name, or the octets of one that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key<'a> {
    /// A known name.
    Known(HeaderName),
    /// Any other name; its case is kept where it is written and does not matter where it is looked for.
    Named(&'a [u8]),
}

impl From<HeaderName> for Key<'_> {
    fn from(name: HeaderName) -> Self {
        Self::Known(name)
    }
}

impl<'a> From<&'a [u8]> for Key<'a> {
    fn from(name: &'a [u8]) -> Self {
        match HeaderName::from_token(name) {
            HeaderName::Other => Self::Named(name),
            known => Self::Known(known),
        }
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Key<'a> {
    fn from(name: &'a [u8; N]) -> Self {
        name[..].into()
    }
}

impl<'a> Key<'a> {
    fn matches(self, line: &Line, bytes: &[u8]) -> bool {
        match self {
            Self::Known(name) => line.name == name,
            Self::Named(name) => line.name == HeaderName::Other && line.raw_name(bytes).eq_ignore_ascii_case(name),
        }
    }

    fn same(self, other: Key<'_>) -> bool {
        match (self, other) {
            (Self::Known(one), Key::Known(two)) => one == two,
            (Self::Named(one), Key::Named(two)) => one.eq_ignore_ascii_case(two),
            _ => false,
        }
    }

    const fn text(self) -> &'a [u8] {
        match self {
            Self::Known(name) => name.as_bytes(),
            Self::Named(name) => name,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before the first line of that name; without one, first of all headers.
    Before,
    /// Instead of the lines of that name, where the first of them stood; without one, last of all headers.
    Instead,
    /// Behind the last line of that name; without one, last of all headers.
    Behind,
    /// Writes nothing; the lines of that name go.
    Nowhere,
    /// The first line of that name loses its first value.
    Pop,
    /// The first value of the first line is stamped with the source (Via).
    Stamp(SocketAddr),
}

#[derive(Debug)]
struct Edit<'a> {
    key: Key<'a>,
    place: Place,
    value: Cow<'a, [u8]>,
}

/// Room for the edits of a request that goes from one leg to the other.
const EDITS: usize = 24;

#[derive(Debug)]
enum Start<'a> {
    Kept,
    Request(Cow<'a, [u8]>, Cow<'a, [u8]>),
    Status(u16, Cow<'a, [u8]>),
}

/// Edits to a message, in the order they were asked for, and the writer that applies them.
///
/// Folds and controls in a given value become spaces. A message without Content-Length gets one.
#[derive(Debug)]
pub struct Rewrite<'a> {
    message: Message<'a>,
    start: Start<'a>,
    edits: Vec<Edit<'a>>,
    body: Option<Cow<'a, [u8]>>,
}

impl<'a> Rewrite<'a> {
    /// No edits yet.
    #[must_use]
    pub fn new(message: Message<'a>) -> Self {
        Self { message, start: Start::Kept, edits: Vec::with_capacity(EDITS), body: None }
    }

    fn edit(&mut self, key: Key<'a>, place: Place, value: Cow<'a, [u8]>) -> &mut Self {
        self.edits.push(Edit { key, place, value });
        self
    }

    /// Makes it a request with this line.
    pub fn request_line(&mut self, method: impl Into<Cow<'a, [u8]>>, uri: impl Into<Cow<'a, [u8]>>) -> &mut Self {
        self.start = Start::Request(method.into(), uri.into());
        self
    }

    /// Makes it a response with this line.
    pub fn status_line(&mut self, code: u16, reason: impl Into<Cow<'a, [u8]>>) -> &mut Self {
        self.start = Start::Status(code, reason.into());
        self
    }

    /// Takes away all lines of that name.
    pub fn remove(&mut self, key: impl Into<Key<'a>>) -> &mut Self {
        self.edit(key.into(), Place::Nowhere, Cow::Borrowed(b""))
    }

    /// Takes away all lines of a name that is not known.
    pub fn remove_named(&mut self, name: &'a [u8]) -> &mut Self {
        self.remove(name)
    }

    /// Replaces all lines of that name by one, where the first stood; adds it behind all headers if there was none.
    pub fn set(&mut self, key: impl Into<Key<'a>>, value: impl Into<Cow<'a, [u8]>>) -> &mut Self {
        let key = key.into();
        self.edits.retain(|edit| !(edit.place == Place::Instead && edit.key.same(key)));
        self.edit(key, Place::Instead, value.into())
    }

    /// Adds a line before the first of that name, or before all headers if there is none. The last one prepended is on top.
    pub fn prepend(&mut self, key: impl Into<Key<'a>>, value: impl Into<Cow<'a, [u8]>>) -> &mut Self {
        self.edit(key.into(), Place::Before, value.into())
    }

    /// Adds a line behind the last of that name, or behind all headers if there is none.
    pub fn append(&mut self, key: impl Into<Key<'a>>, value: impl Into<Cow<'a, [u8]>>) -> &mut Self {
        self.edit(key.into(), Place::Behind, value.into())
    }

    /// Takes away the first value of a list header: the topmost Via of a response, the topmost Route of a request.
    pub fn pop(&mut self, name: HeaderName) -> &mut Self {
        self.edit(Key::Known(name), Place::Pop, Cow::Borrowed(b""))
    }

    /// Writes `received` and the port `rport` asks for into the topmost Via (RFC 3261 §18.2.1, RFC 3581 §4).
    pub fn stamp_via(&mut self, source: SocketAddr) -> &mut Self {
        self.edit(Key::Known(HeaderName::Via), Place::Stamp(source), Cow::Borrowed(b""))
    }

    /// Replaces the body and Content-Length; Content-Type too if one is given, and takes it away if the body is empty.
    pub fn body(&mut self, content_type: Option<&'a [u8]>, body: impl Into<Cow<'a, [u8]>>) -> &mut Self {
        let body = body.into();
        match content_type {
            Some(content_type) => {
                self.set(HeaderName::ContentType, content_type);
            }
            None if body.is_empty() => {
                self.remove(HeaderName::ContentType);
            }
            None => {}
        }
        self.body = Some(body);
        self
    }

    /// Appends the edited message to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let bytes = self.message.raw();
        let headers = self.message.facts().headers;
        match &self.start {
            Start::Kept => out.extend_from_slice(Span { start: 0, end: headers.start }.of(bytes)),
            Start::Request(method, uri) => {
                push_text(out, method);
                out.push(b' ');
                push_text(out, uri);
                out.extend_from_slice(b" SIP/2.0\r\n");
            }
            Start::Status(code, reason) => push_status_line(out, *code, reason),
        }
        for edit in self.edits.iter().rev() {
            if edit.place == Place::Before && self.is_absent(edit.key) {
                push_line(out, edit.key.text(), &edit.value);
            }
        }
        self.write_lines(out);
        for edit in &self.edits {
            if matches!(edit.place, Place::Instead | Place::Behind) && self.is_absent(edit.key) {
                push_line(out, edit.key.text(), &edit.value);
            }
        }
        let body = self.body.as_deref().unwrap_or(self.message.body());
        if self.is_absent(Key::Known(HeaderName::ContentLength)) {
            push_length(out, body.len());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body);
    }

    /// True if the message has no line of that name.
    fn is_absent(&self, key: Key<'_>) -> bool {
        match key {
            Key::Known(name) => self.message.facts().first[name as usize] == ABSENT,
            Key::Named(_) => !self.message.lines().iter().any(|line| key.matches(line, self.message.raw())),
        }
    }

    /// Bits of the names that edits, or a new body, touch.
    fn touched(&self) -> u128 {
        let names = self.edits.iter().map(|edit| match edit.key {
            Key::Known(name) => name,
            Key::Named(_) => HeaderName::Other,
        });
        names.chain(self.body.as_ref().map(|_| HeaderName::ContentLength)).fold(0, |bits, name| bits | 1 << name as u8)
    }

    /// The old lines with the edits that hang on them; runs of untouched lines are copied in one piece.
    fn write_lines(&self, out: &mut Vec<u8>) {
        let bytes = self.message.raw();
        let lines = self.message.lines();
        let touched = self.touched();
        let mut kept = self.message.facts().headers.start;
        for (at, line) in lines.iter().enumerate() {
            if touched & 1 << line.name as u8 == 0 {
                continue;
            }
            let new_length = self.body.is_some() && line.name == HeaderName::ContentLength;
            if !new_length && !self.edits.iter().any(|edit| edit.key.matches(line, bytes)) {
                continue;
            }
            out.extend_from_slice(Span { start: kept, end: line.start }.of(bytes));
            kept = line.end;
            if new_length {
                push_length(out, self.body.as_deref().unwrap_or_default().len());
            } else {
                self.write_edited(at, out);
            }
        }
        let end = lines.last().map_or(kept, |line| line.end);
        out.extend_from_slice(Span { start: kept, end }.of(bytes));
    }

    /// One line that edits name: what comes before it, itself or what stands for it, what comes behind it.
    fn write_edited(&self, at: usize, out: &mut Vec<u8>) {
        let bytes = self.message.raw();
        let lines = self.message.lines();
        let line = &lines[at];
        let applies = |edit: &&Edit<'_>| edit.key.matches(line, bytes);
        let edits = || self.edits.iter().filter(applies);
        let same = |other: &Line| match line.name {
            HeaderName::Other => Key::Named(line.raw_name(bytes)).matches(other, bytes),
            name => other.name == name,
        };
        let facts = self.message.facts();
        let is_alone = line.name != HeaderName::Other && facts.repeated & 1 << line.name as u8 == 0;
        let is_first = is_alone || !lines[..at].iter().any(same);
        if is_first {
            for edit in self.edits.iter().rev().filter(applies).filter(|edit| edit.place == Place::Before) {
                push_line(out, edit.key.text(), &edit.value);
            }
        }
        if edits().any(|edit| matches!(edit.place, Place::Instead | Place::Nowhere)) {
            if let (true, Some(edit)) = (is_first, edits().find(|edit| edit.place == Place::Instead)) {
                push_line(out, edit.key.text(), &edit.value);
            }
        } else {
            let pops = if is_first { edits().filter(|edit| edit.place == Place::Pop).count() } else { 0 };
            let stamp = edits().filter(|_| is_first).find_map(|edit| match edit.place {
                Place::Stamp(source) => Some(source),
                _ => None,
            });
            self.write_trimmed(line, pops, stamp, out);
        }
        if is_alone || !lines[at + 1..].iter().any(same) {
            for edit in edits().filter(|edit| edit.place == Place::Behind) {
                push_line(out, edit.key.text(), &edit.value);
            }
        }
    }

    /// A line without its first values, or with its first value stamped; else as it came.
    fn write_trimmed(&self, line: &Line, pops: usize, stamp: Option<SocketAddr>, out: &mut Vec<u8>) {
        let bytes = self.message.raw();
        let value = line.value.of(bytes);
        if pops > 0 {
            let mut rest = value;
            for _ in 0..pops {
                rest = rest.get(super::values::value_end(rest) + 1..).unwrap_or_default();
            }
            let rest = super::scan::trim(rest);
            if !rest.is_empty() {
                push_line(out, line.raw_name(bytes), rest);
            }
        } else if let Some(source) = stamp {
            let via = self.message.via();
            push_text(out, line.raw_name(bytes));
            out.extend_from_slice(b": ");
            push_stamped_via(out, &via, source);
            push_text(out, value.get(via.raw().len()..).unwrap_or_default());
            out.extend_from_slice(b"\r\n");
        } else {
            out.extend_from_slice(Span { start: line.start, end: line.end }.of(bytes));
        }
    }
}

fn push_length(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(b"Content-Length: ");
    push_number(out, length as u64);
    out.extend_from_slice(b"\r\n");
}

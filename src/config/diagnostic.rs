//! What is wrong with a file, where, and what to do.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// How bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// It can, but this deserves a look.
    Note,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad.
    pub severity: Severity,
    /// What, in one sentence.
    pub message: String,
    /// The file, as the caller named it.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// Bytes of the source that are meant.
    pub span: Range<usize>,
    /// Said at the caret.
    pub label: String,
    /// What to do.
    pub help: Option<String>,
    /// Another place that belongs to it.
    pub related: Option<(Range<usize>, String)>,
}

impl Diagnostic {
    /// The finding with its line of the source and a caret. `source` is the text that was parsed.
    #[must_use]
    pub fn render(&self, source: &str, styled: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Note => Level::NOTE,
        };
        let snippet = |kind: AnnotationKind, span: &Range<usize>, label: &'_ str| {
            let Window { text, line, span } = window(source, span);
            let annotation = kind.span(span).label(label.to_owned());
            Snippet::source(text).line_start(line).path(self.file.as_str()).annotation(annotation)
        };
        let mut group = level.primary_title(self.message.as_str()).element(snippet(
            AnnotationKind::Primary,
            &self.span,
            &self.label,
        ));
        if let Some((span, label)) = &self.related {
            group = group.element(snippet(AnnotationKind::Context, span, label));
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&[group])
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.severity {
            Severity::Error => "error",
            Severity::Note => "note",
        };
        write!(out, "{}:{}:{}: {level}: {}", self.file, self.line, self.column, self.message)
    }
}

/// The lines of a span: what is shown of a source, however long it is.
struct Window<'s> {
    text: &'s str,
    /// Number of the first line.
    line: usize,
    /// Within `text`.
    span: Range<usize>,
}

/// Most bytes shown before and after the beginning of a span: a file may be one line of a megabyte.
const CONTEXT_BYTES_MAX: usize = 400;

fn window<'s>(source: &'s str, span: &Range<usize>) -> Window<'s> {
    let span = clamp(source, span);
    let reach = clamp(source, &(span.start.saturating_sub(CONTEXT_BYTES_MAX)..span.start + CONTEXT_BYTES_MAX));
    let start = source[reach.start..span.start].rfind('\n').map_or(reach.start, |newline| reach.start + newline + 1);
    let end = source[span.start..reach.end].find('\n').map_or(reach.end, |newline| span.start + newline);
    let shown = span.start - start..span.end.min(end).max(span.start) - start;
    Window { text: &source[start..end], line: place(source, span.start).0, span: shown }
}

/// A span that lies in the source and on character boundaries, whatever made it.
pub(super) fn clamp(source: &str, span: &Range<usize>) -> Range<usize> {
    let floor = |mut at: usize| {
        at = at.min(source.len());
        while !source.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = floor(span.start);
    start..floor(span.end).max(start)
}

/// Line and column of a byte, from 1.
pub(super) fn place(source: &str, at: usize) -> (usize, usize) {
    let before = &source[..clamp(source, &(at..at)).start];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
    (line, before[line_start..].chars().count() + 1)
}

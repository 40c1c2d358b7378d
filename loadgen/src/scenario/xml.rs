//! The XML under a scenario, with the line and column of everything: elements, attribute values, message text.

use roxmltree::{Document, Node, ParsingOptions};

use super::problem::{Position, Problem, instead};

const CDATA: &str = "<![CDATA[";

/// Text as it stands in the file. Files that are no UTF-8 are read as ISO-8859-1, which most scenarios declare.
pub fn decode(bytes: &[u8]) -> String {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_string(),
        Err(_) => bytes.iter().map(|&byte| char::from(byte)).collect(),
    };
    // XML 1.0 §2.11: line ends are one character, so that positions inside text are those of the file.
    text.trim_start_matches('\u{feff}').replace("\r\n", "\n").replace('\r', "\n")
}

/// Parses `text`. The document type is allowed, since every scenario names SIPp's; it is not read.
pub fn parse<'input>(file: &str, text: &'input str) -> Result<Document<'input>, Problem> {
    let options = ParsingOptions { allow_dtd: true, nodes_limit: 200_000, ..ParsingOptions::default() };
    Document::parse_with_options(text, options).map_err(|error| {
        let at = Position { line: error.pos().row, column: error.pos().col };
        let what = error.to_string();
        let what = what.rsplit_once(" at ").map_or(what.as_str(), |(what, _)| what);
        Problem { file: file.to_string(), at, sentence: format!("this is no well-formed XML: {what}") }
    })
}

/// Text of the file that may be read further, and where it came from.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    /// The text.
    pub text: &'a str,
    /// Its first byte in the file.
    start: usize,
    /// Positions inside it are those of the file: nothing was unescaped.
    exact: bool,
}

impl<'a> Span<'a> {
    /// A part of it.
    pub fn slice(&self, from: usize, to: usize) -> Self {
        let start = if self.exact { self.start + from } else { self.start };
        Self { text: &self.text[from..to], start, exact: self.exact }
    }
}

/// One element.
#[derive(Clone, Copy, Debug)]
pub struct Element<'a, 'input> {
    node: Node<'a, 'input>,
}

impl<'a, 'input: 'a> Element<'a, 'input> {
    /// Its name.
    pub fn name(&self) -> &'a str {
        self.node.tag_name().name()
    }

    /// Where it begins.
    pub fn at(&self) -> Position {
        position(self.node.document(), self.node.range().start)
    }

    /// The value of an attribute.
    pub fn attribute(&self, name: &str) -> Option<Span<'a>> {
        let attribute = self.node.attributes().find(|attribute| attribute.name() == name)?;
        let range = attribute.range_value();
        let exact = self.node.document().input_text().get(range.clone()) == Some(attribute.value());
        Some(Span { text: attribute.value(), start: range.start, exact })
    }

    /// Where a span is.
    pub fn locate(&self, span: Span<'_>) -> Position {
        position(self.node.document(), span.start)
    }

    /// The attributes that are not in any of `lists`, with their positions and what could be meant.
    pub fn strangers(&self, lists: &[&[&str]]) -> Vec<(Position, String)> {
        let known = lists.concat();
        let unknown = |name: &str| !known.contains(&name);
        let attributes = self.node.attributes().filter(|attribute| unknown(attribute.name()));
        let sentence = |name: &str| format!("<{}> has no attribute {name}{}", self.name(), instead(name, &known));
        let at = |start| position(self.node.document(), start);
        attributes.map(|attribute| (at(attribute.range().start), sentence(attribute.name()))).collect()
    }

    /// The elements inside.
    pub fn children(&self) -> impl Iterator<Item = Element<'a, 'input>> + use<'a, 'input> {
        self.node.children().filter(Node::is_element).map(|node| Element { node })
    }

    /// Text between the elements inside that is more than white space.
    pub fn stray_text(&self) -> Option<Position> {
        let stray = self
            .node
            .children()
            .find(|node| node.is_text() && node.text().is_some_and(|text| !text.trim().is_empty()))?;
        let range = stray.range();
        let lead = stray.document().input_text()[range.clone()].find(|c: char| !c.is_whitespace()).unwrap_or(0);
        Some(position(stray.document(), range.start + lead))
    }

    /// The message inside: its CDATA section, or its text where it has none.
    pub fn message(&self) -> Option<Span<'a>> {
        let input: &'a str = self.node.document().input_text();
        let comments: Vec<_> = self.node.children().filter(Node::is_comment).map(|node| node.range()).collect();
        let range = self.node.range();
        let mut from = range.start;
        while let Some(found) = input[from..range.end].find(CDATA).map(|at| from + at) {
            if let Some(comment) = comments.iter().find(|comment| comment.contains(&found)) {
                from = comment.end;
                continue;
            }
            let start = found + CDATA.len();
            let end = input[start..range.end].find("]]>").map_or(range.end, |at| start + at);
            return Some(Span { text: &input[start..end], start, exact: true });
        }
        let texts = self.node.children().filter(Node::is_text);
        let text = texts.max_by_key(|node| node.text().map_or(0, |text| text.trim().len()))?;
        let range = text.range();
        let whole = text.text()?;
        let exact = input.get(range.clone()) == Some(whole);
        (!whole.trim().is_empty()).then_some(Span { text: whole, start: range.start, exact })
    }
}

/// The root element.
pub fn root<'a, 'input: 'a>(document: &'a Document<'input>) -> Element<'a, 'input> {
    Element { node: document.root_element() }
}

fn position(document: &Document<'_>, byte: usize) -> Position {
    let at = document.text_pos_at(byte);
    Position { line: at.row, column: at.col }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "<?xml version=\"1.0\" encoding=\"ISO-8859-1\" ?>\n<!DOCTYPE scenario SYSTEM \"sipp.dtd\">\n\
        <scenario name=\"a&amp;b\">\n <send lost='3'><!-- <![CDATA[no]]> --><![CDATA[\n  A [x]\n]]></send>\n x <recv/>\n</scenario>";

    #[test]
    fn everything_has_its_place() {
        let document = parse("f", TEXT).unwrap();
        let root = root(&document);
        assert_eq!(root.attribute("name").unwrap().text, "a&b");
        let send = root.children().next().unwrap();
        assert_eq!((send.name(), send.at()), ("send", Position { line: 4, column: 2 }));
        assert_eq!(send.locate(send.attribute("lost").unwrap()), Position { line: 4, column: 14 });
        let message = send.message().unwrap();
        assert_eq!(message.text, "\n  A [x]\n");
        assert_eq!(send.locate(message.slice(5, 6)), Position { line: 5, column: 5 });
        assert_eq!(root.stray_text(), Some(Position { line: 7, column: 2 }));
        let strangers = send.strangers(&[&["last"], &["retrans"]]);
        assert_eq!(
            strangers,
            [(Position { line: 4, column: 8 }, "<send> has no attribute lost; did you mean last?".into())]
        );
    }

    #[test]
    fn broken_xml_is_a_sentence_with_its_place() {
        let problem = parse("f.xml", "<scenario>\n  <send>\n</scenario>").unwrap_err();
        assert!(
            problem.to_string().starts_with("f.xml:3:1: this is no well-formed XML: expected 'send' tag"),
            "{problem}"
        );
    }

    #[test]
    fn old_encodings_and_line_ends_are_read() {
        assert_eq!(decode(b"\xef\xbb\xbfa\r\nb\rc"), "a\nb\nc");
        assert_eq!(decode(b"J\xfcrg"), "Jürg");
    }
}

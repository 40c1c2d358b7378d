//! From the text of a scenario to a program: every element, attribute and name is either understood or an error with its
//! place. All errors of a file are found at once.

mod action;
mod check;
mod command;

use std::collections::HashMap;

use super::keyword::{Load, Words};
use super::parse::inline;
use super::problem::{Position, Problem, instead};
use super::program::{Command, Program};
use super::text::Text;
use super::variable::{Scope, Variables};
use super::xml::{self, Element, Span};
use crate::core::Role;

/// Errors said about one file.
const PROBLEMS_MAX: usize = 30;
/// Commands of one scenario.
const COMMANDS_MAX: usize = 10_000;

const COMMANDS: [&str; 5] = ["send", "recv", "pause", "nop", "timewait"];
const DECLARATIONS: [&str; 7] =
    ["label", "Reference", "Global", "User", "init", "ResponseTimeRepartition", "CallLengthRepartition"];
const THIRD_PARTY: [&str; 2] = ["sendCmd", "recvCmd"];

/// What the command line adds to a scenario.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    /// `--key`.
    pub keys: &'a [(String, String)],
    /// `--inf`, by name.
    pub files: &'a [String],
    /// Reads a file that the scenario names.
    pub load: &'a Load<'a>,
}

/// Reads a scenario.
pub fn read(file: &str, text: &str, given: Given<'_>) -> Result<Program, Vec<Problem>> {
    let document = xml::parse(file, text).map_err(|problem| vec![problem])?;
    let root = xml::root(&document);
    let mut reader = Reader {
        file,
        given,
        problems: Vec::new(),
        variables: Variables::default(),
        timers: Vec::new(),
        counters: Vec::new(),
        transactions: Vec::new(),
        labels: HashMap::new(),
        notes: Vec::new(),
    };
    let program = reader.scenario(root);
    if reader.problems.is_empty() {
        return Ok(program);
    }
    reader.problems.sort_by_key(|problem| problem.at);
    reader.problems.truncate(PROBLEMS_MAX);
    Err(reader.problems)
}

struct Reader<'r> {
    file: &'r str,
    given: Given<'r>,
    problems: Vec<Problem>,
    variables: Variables,
    timers: Vec<String>,
    counters: Vec<String>,
    transactions: Vec<String>,
    labels: HashMap<String, (usize, Position)>,
    notes: Vec<String>,
}

impl Reader<'_> {
    fn fault(&mut self, at: Position, sentence: impl Into<String>) {
        self.problems.push(Problem { file: self.file.to_string(), at, sentence: sentence.into() });
    }

    fn note(&mut self, at: Position, sentence: &str) {
        let note = Problem { file: self.file.to_string(), at, sentence: sentence.to_string() };
        self.notes.push(note.to_string());
    }

    fn scenario(&mut self, root: Element<'_, '_>) -> Program {
        if root.name() != "scenario" {
            self.fault(root.at(), format!("<{}> is no scenario: the outermost element is <scenario>", root.name()));
        }
        self.attributes(root, &[&["name"]]);
        // Labels may be named before they come, variables declared after they are used.
        let children: Vec<_> = root.children().collect();
        self.labels = self.find_labels(&children);
        let (mut commands, mut init) = (Vec::new(), Vec::new());
        for &element in &children {
            if element.name() == "init" {
                self.attributes(element, &[]);
                let inside: Vec<_> = element.children().collect();
                let outer = std::mem::take(&mut self.labels);
                self.labels = self.find_labels(&inside);
                init.extend(inside.iter().filter_map(|&inside| self.element(inside)));
                self.labels = outer;
            } else if let Some(command) = self.element(element) {
                commands.push(command);
            }
        }
        if commands.len() > COMMANDS_MAX {
            self.fault(root.at(), format!("there are more than {COMMANDS_MAX} commands"));
        }
        if let Some(at) = root.stray_text() {
            self.fault(at, "this text is in no command");
        }
        let unexpected = self.labels.get("_unexp.main").map(|label| label.0);
        let unexpected = unexpected.map(|index| (index, self.variables.set("_unexp.retaddr")));
        let name = root.attribute("name").map_or("scenario", |name| name.text).to_string();
        let mut program = Program {
            name,
            file: self.file.to_string(),
            role: Role::Uac,
            has_invite: false,
            has_media: false,
            unexpected,
            variables: self.variables.clone(),
            timers: self.timers.clone(),
            counters: self.counters.clone(),
            transactions: self.transactions.len(),
            notes: Vec::new(),
            commands,
            init,
        };
        self.check(&mut program, root.at());
        program.notes = std::mem::take(&mut self.notes);
        program
    }

    fn find_labels(&mut self, elements: &[Element<'_, '_>]) -> HashMap<String, (usize, Position)> {
        let (mut labels, mut index) = (HashMap::new(), 0);
        for element in elements {
            index += usize::from(COMMANDS.contains(&element.name()));
            let Some(id) = element.attribute("id").filter(|_| element.name() == "label") else { continue };
            let before = labels.insert(id.text.trim().to_string(), (index, element.at()));
            if let Some((_, at)) = before {
                self.fault(element.locate(id), format!("label {} is in line {} already", id.text, at.line));
            }
        }
        labels
    }

    /// One element in a scenario; a command if it is one.
    fn element(&mut self, element: Element<'_, '_>) -> Option<Command> {
        let name = element.name();
        match name {
            "label" => {
                self.attributes(element, &[&["id"]]);
                if element.attribute("id").is_none() {
                    self.fault(element.at(), "<label> needs an id");
                }
            }
            "Reference" | "Global" | "User" => self.declaration(element),
            "ResponseTimeRepartition" | "CallLengthRepartition" => self.partition(element),
            _ if COMMANDS.contains(&name) => return Some(self.command(element)),
            _ if THIRD_PARTY.contains(&name) => {
                self.fault(element.at(), format!("<{name}>: third-party call control (3pcc) is not supported"));
            }
            "DefaultMessage" => self.fault(
                element.at(),
                "<DefaultMessage> is not supported: what is sent when a call is given up is fixed",
            ),
            _ => {
                let known = [&COMMANDS[..], &DECLARATIONS[..]].concat();
                self.fault(element.at(), format!("<{name}> is no command{}", instead(name, &known)));
            }
        }
        None
    }

    fn declaration(&mut self, element: Element<'_, '_>) {
        self.attributes(element, &[&["variables"]]);
        let Some(names) = element.attribute("variables") else {
            return self.fault(element.at(), format!("<{}> needs variables=\"NAME,NAME\"", element.name()));
        };
        for name in names.text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match Variables::check(name.trim_start_matches('$')) {
                Ok(name) if element.name() == "Reference" => drop(self.variables.read(name)),
                Ok(name) => {
                    let id = self.variables.set(name);
                    let scope = if element.name() == "Global" { Scope::Global } else { Scope::User };
                    self.variables.list[id.0].scope = scope;
                }
                Err(sentence) => self.fault(element.locate(names), sentence),
            }
        }
    }

    /// The buckets of SIPp's repartition tables. Our histograms are finer than any of them.
    fn partition(&mut self, element: Element<'_, '_>) {
        self.attributes(element, &[&["value"]]);
        let Some(value) = element.attribute("value") else {
            return self.fault(element.at(), format!("<{}> needs value=\"10, 20, 30\"", element.name()));
        };
        if let Some(word) = value.text.split(',').map(str::trim).find(|word| word.parse::<u64>().is_err()) {
            self.fault(element.locate(value), format!("'{word}' is no number of milliseconds"));
        }
    }

    fn attributes(&mut self, element: Element<'_, '_>, lists: &[&[&str]]) {
        for (at, sentence) in element.strangers(lists) {
            self.fault(at, sentence);
        }
    }

    /// A number in an attribute.
    fn number(&mut self, element: Element<'_, '_>, name: &str) -> Option<f64> {
        let span = element.attribute(name)?;
        match span.text.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => Some(number),
            _ => {
                self.fault(element.locate(span), format!("{name}: '{}' is no number", span.text));
                None
            }
        }
    }

    fn boolean(&mut self, element: Element<'_, '_>, name: &str) -> bool {
        let Some(span) = element.attribute(name) else { return false };
        match span.text {
            "true" | "1" => true,
            "false" | "0" => false,
            other => {
                self.fault(element.locate(span), format!("{name}: '{other}' is neither true nor false"));
                false
            }
        }
    }

    /// Text with keywords in an attribute.
    fn text(&mut self, element: Element<'_, '_>, name: &str) -> Option<Text> {
        let span = element.attribute(name)?;
        let text = inline(span.text, &mut self.words());
        self.take(element, span, text)
    }

    /// A result, its error said at the span.
    fn take<T>(&mut self, element: Element<'_, '_>, span: Span<'_>, result: Result<T, String>) -> Option<T> {
        result.map_err(|sentence| self.fault(element.locate(span), sentence)).ok()
    }

    fn words(&mut self) -> Words<'_> {
        Words { variables: &mut self.variables, keys: self.given.keys, files: self.given.files, load: self.given.load }
    }

    fn label(&mut self, element: Element<'_, '_>, name: &str) -> Option<usize> {
        let span = element.attribute(name)?;
        let found = self.labels.get(span.text.trim()).map(|label| label.0);
        if found.is_none() {
            let known: Vec<&str> = self.labels.keys().map(String::as_str).collect();
            let meant = if known.is_empty() { "; there is no <label>".into() } else { instead(span.text, &known) };
            self.fault(element.locate(span), format!("{name}: there is no label {}{meant}", span.text));
        }
        found
    }
}

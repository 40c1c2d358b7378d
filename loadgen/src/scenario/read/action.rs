//! What stands in `<action>`.

use std::sync::Arc;

use super::Reader;
use crate::scenario::clip::Clip;
use crate::scenario::distribution::PARAMETERS;
use crate::scenario::problem::instead;
use crate::scenario::program::{Action, Arithmetic, Check, Compare, Operand, Search, Stop};
use crate::scenario::regexp;
use crate::scenario::text::Text;
use crate::scenario::variable::{VarId, Variables};
use crate::scenario::xml::Element;

/// Actions and their attributes.
const ACTIONS: [(&str, &[&str]); 18] = [
    (
        "ereg",
        &[
            "regexp",
            "search_in",
            "header",
            "variable",
            "occurrence",
            "case_indep",
            "start_line",
            "check_it",
            "check_it_inverse",
            "assign_to",
        ],
    ),
    ("log", &["message"]),
    ("warning", &["message"]),
    ("assign", &["assign_to", "value", "variable"]),
    ("assignstr", &["assign_to", "value"]),
    ("todouble", &["assign_to", "variable"]),
    ("trim", &["assign_to"]),
    ("sample", &["assign_to", "distribution"]),
    ("add", &["assign_to", "value", "variable"]),
    ("subtract", &["assign_to", "value", "variable"]),
    ("multiply", &["assign_to", "value", "variable"]),
    ("divide", &["assign_to", "value", "variable"]),
    ("test", &["assign_to", "variable", "compare", "value", "variable2"]),
    ("strcmp", &["assign_to", "variable", "value", "variable2"]),
    ("jump", &["value", "variable"]),
    ("gettimeofday", &["assign_to"]),
    ("verifyauth", &["assign_to", "username", "password"]),
    ("setdest", &["host", "port", "protocol"]),
];
const EXEC: [&str; 8] = [
    "int_cmd",
    "play_pcap_audio",
    "rtp_stream",
    "rtp_echo",
    "command",
    "play_pcap_video",
    "play_pcap_image",
    "play_dtmf",
];
const REFUSED: [&str; 8] =
    ["lookup", "insert", "replace", "closecon", "setcaptureip", "urldecode", "urlencode", "error"];
const COMPARISONS: [(&str, Compare); 6] = [
    ("equal", Compare::Equal),
    ("not_equal", Compare::NotEqual),
    ("greater_than", Compare::Greater),
    ("less_than", Compare::Less),
    ("greater_than_equal", Compare::GreaterOrEqual),
    ("less_than_equal", Compare::LessOrEqual),
];

impl Reader<'_> {
    /// All actions of a command.
    pub(super) fn actions(&mut self, command: Element<'_, '_>) -> Vec<Action> {
        let mut out = Vec::new();
        for block in command.children() {
            if block.name() != "action" {
                let hint = if ACTIONS.iter().any(|row| row.0 == block.name()) || block.name() == "exec" {
                    ": it belongs into <action>".to_string()
                } else {
                    instead(block.name(), &["action"])
                };
                self.fault(block.at(), format!("<{}> cannot stand in <{}>{hint}", block.name(), command.name()));
                continue;
            }
            self.attributes(block, &[]);
            if let Some(at) = block.stray_text() {
                self.fault(at, "this text is in no action");
            }
            out.extend(block.children().filter_map(|element| self.action(element)));
        }
        out
    }

    fn action(&mut self, element: Element<'_, '_>) -> Option<Action> {
        let name = element.name();
        if name == "exec" {
            return self.exec(element);
        }
        let Some((_, attributes)) = ACTIONS.iter().find(|row| row.0 == name) else {
            let sentence = if REFUSED.contains(&name) {
                format!("<{name}> is not supported")
            } else {
                let known: Vec<&str> = ACTIONS.iter().map(|row| row.0).chain(["exec"]).collect();
                format!("<{name}> is no action{}", instead(name, &known))
            };
            self.fault(element.at(), sentence);
            return None;
        };
        let more: &[&str] = if name == "sample" { &PARAMETERS } else { &[] };
        self.attributes(element, &[attributes, more]);
        match name {
            "ereg" => self.ereg(element),
            "log" => Some(Action::Log(self.needed_text(element, "message")?)),
            "warning" => Some(Action::Warning(self.needed_text(element, "message")?)),
            "jump" => Some(Action::Jump(self.operand(element, "value", "variable")?)),
            "setdest" => {
                if element.attribute("protocol").is_some_and(|protocol| !protocol.text.contains(['[', 'U', 'u'])) {
                    self.fault(element.at(), "setdest: the transport of a call cannot change");
                }
                let host = self.needed_text(element, "host");
                Some(Action::SetDestination(host?, self.needed_text(element, "port")?))
            }
            _ => self.assignment(element, name),
        }
    }

    /// The actions that set a variable.
    fn assignment(&mut self, element: Element<'_, '_>, name: &str) -> Option<Action> {
        let to = self.targets(element);
        let Some(&first) = to.first() else {
            if element.attribute("assign_to").is_none() {
                self.fault(element.at(), format!("<{name}> needs assign_to=\"VARIABLE\""));
            }
            return None;
        };
        let arithmetic = match name {
            "add" => Some(Arithmetic::Add),
            "subtract" => Some(Arithmetic::Subtract),
            "multiply" => Some(Arithmetic::Multiply),
            "divide" => Some(Arithmetic::Divide),
            _ => None,
        };
        if let Some(operation) = arithmetic {
            let operand = self.operand(element, "value", "variable")?;
            if (operation, operand) == (Arithmetic::Divide, Operand::Number(0.0)) {
                self.fault(element.at(), "this divides by 0");
            }
            return Some(Action::Calculate(operation, first, operand));
        }
        match name {
            "assign" => Some(Action::Assign(first, self.operand(element, "value", "variable")?)),
            "assignstr" => Some(Action::AssignText(first, self.needed_text(element, "value")?)),
            "todouble" => Some(Action::ToNumber(first, self.needed_variable(element)?)),
            "trim" => Some(Action::Trim(first)),
            "sample" => Some(Action::Sample(first, self.distribution(element))),
            "gettimeofday" => Some(Action::Time(first, to.get(1).copied())),
            "verifyauth" => {
                let user = self.needed_text(element, "username");
                Some(Action::VerifyAuthentication(first, user?, self.needed_text(element, "password")?))
            }
            "strcmp" => {
                let variable = self.needed_variable(element)?;
                Some(Action::CompareText(first, variable, self.needed_text(element, "value")?))
            }
            _ => self.test(element, first),
        }
    }

    fn test(&mut self, element: Element<'_, '_>, to: VarId) -> Option<Action> {
        let variable = self.needed_variable(element);
        let operand = self.operand(element, "value", "variable2");
        let Some(span) = element.attribute("compare") else {
            self.fault(element.at(), "<test> needs compare=\"equal\" or another comparison");
            return None;
        };
        let Some(&(_, compare)) = COMPARISONS.iter().find(|row| row.0 == span.text) else {
            let known = COMPARISONS.map(|row| row.0);
            let sentence = format!("compare: '{}' is no comparison{}", span.text, instead(span.text, &known));
            self.fault(element.locate(span), sentence);
            return None;
        };
        Some(Action::Test(to, variable?, compare, operand?))
    }

    /// The variables of `assign_to`.
    fn targets(&mut self, element: Element<'_, '_>) -> Vec<VarId> {
        let Some(span) = element.attribute("assign_to") else { return Vec::new() };
        let mut out = Vec::new();
        for name in span.text.split(',').map(str::trim) {
            match Variables::check(name.trim_start_matches('$')) {
                Ok(name) => out.push(self.variables.set(name)),
                Err(sentence) => self.fault(element.locate(span), sentence),
            }
        }
        out
    }

    fn needed_text(&mut self, element: Element<'_, '_>, name: &str) -> Option<Text> {
        if element.attribute(name).is_none() {
            self.fault(element.at(), format!("<{}> needs {name}=\"…\"", element.name()));
        }
        self.text(element, name)
    }

    fn needed_variable(&mut self, element: Element<'_, '_>) -> Option<VarId> {
        if element.attribute("variable").is_none() {
            self.fault(element.at(), format!("<{}> needs variable=\"NAME\"", element.name()));
        }
        self.variable(element, "variable")
    }

    fn operand(&mut self, element: Element<'_, '_>, value: &str, variable: &str) -> Option<Operand> {
        match (element.attribute(value).is_some(), element.attribute(variable).is_some()) {
            (true, false) => self.number(element, value).map(Operand::Number),
            (false, true) => self.variable(element, variable).map(Operand::Variable),
            _ => {
                self.fault(element.at(), format!("<{}> needs either {value} or {variable}", element.name()));
                None
            }
        }
    }

    fn ereg(&mut self, element: Element<'_, '_>) -> Option<Action> {
        let Some(span) = element.attribute("regexp") else {
            self.fault(element.at(), "<ereg> needs regexp=\"…\"");
            return None;
        };
        let regex = regexp::compile(span.text, false);
        let regex = self.take(element, span, regex);
        let search = self.search(element);
        let check = match (self.boolean(element, "check_it"), self.boolean(element, "check_it_inverse")) {
            (true, true) => {
                self.fault(element.at(), "check_it and check_it_inverse exclude each other");
                Check::None
            }
            (true, false) => Check::Found,
            (false, true) => Check::NotFound,
            (false, false) => Check::None,
        };
        let to = self.targets(element);
        if to.is_empty() && check == Check::None {
            self.fault(element.at(), "<ereg> has no effect: it needs assign_to or check_it");
        }
        self.boolean(element, "case_indep");
        self.boolean(element, "start_line");
        let regex = regex?;
        if to.len() > regex.captures_len() {
            let (parts, names) = (regex.captures_len(), to.len());
            self.fault(
                element.at(),
                format!("assign_to names {names} variables, but the expression has {parts} parts"),
            );
        }
        Some(Action::Ereg { regex, search: search?, check, to })
    }

    fn search(&mut self, element: Element<'_, '_>) -> Option<Search> {
        let span = element.attribute("search_in");
        match span.map_or("msg", |span| span.text) {
            "msg" => Some(Search::Message),
            "body" => Some(Search::Body),
            "var" => Some(Search::Variable(self.needed_variable(element)?)),
            "hdr" => {
                let Some(header) = element.attribute("header") else {
                    self.fault(element.at(), "search_in=\"hdr\" needs header=\"NAME:\"");
                    return None;
                };
                let name = header.text.trim().trim_end_matches(':').trim();
                if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':') {
                    self.fault(element.locate(header), format!("header: '{}' is no name of a header", header.text));
                }
                let occurrence = self.number(element, "occurrence").unwrap_or(1.0);
                if occurrence < 1.0 || occurrence.fract() != 0.0 {
                    self.fault(element.at(), "occurrence: a whole number from 1 is needed");
                }
                Some(Search::Header(name.to_string(), occurrence as usize))
            }
            other => {
                let at = span.map_or(element.at(), |span| element.locate(span));
                let meant = instead(other, &["msg", "hdr", "body", "var"]);
                self.fault(at, format!("search_in: '{other}' is not known{meant}"));
                None
            }
        }
    }

    fn exec(&mut self, element: Element<'_, '_>) -> Option<Action> {
        self.attributes(element, &[&EXEC]);
        let Some((name, span)) = EXEC.iter().find_map(|&name| Some((name, element.attribute(name)?))) else {
            self.fault(element.at(), "<exec> needs int_cmd, play_pcap_audio, rtp_stream or rtp_echo");
            return None;
        };
        let words: Vec<&str> = span.text.split(',').map(str::trim).collect();
        let action = match name {
            "int_cmd" => match span.text {
                "stop_call" => Ok(Action::Stop(Stop::Call)),
                "stop_gracefully" => Ok(Action::Stop(Stop::Gracefully)),
                "stop_now" => Ok(Action::Stop(Stop::Now)),
                other => Err(format!(
                    "int_cmd: '{other}' is not known{}",
                    instead(other, &["stop_call", "stop_gracefully", "stop_now"])
                )),
            },
            "play_pcap_audio" => self.load(span.text, Clip::capture),
            "rtp_echo" => match words[0] {
                "startaudio" | "updateaudio" => Ok(Action::Echo(true)),
                "stopaudio" => Ok(Action::Echo(false)),
                other => Err(format!("rtp_echo: '{other}' is none of startaudio, updateaudio, stopaudio")),
            },
            "rtp_stream" => match words[0] {
                "pause" => Ok(Action::PausePlay),
                "resume" => Ok(Action::ResumePlay),
                file => self.stream(file, &words[1..]),
            },
            "command" => Err("command: programs of the machine are not run".into()),
            other => Err(format!("{other} is not supported: use play_pcap_audio or rtp_stream")),
        };
        self.take(element, span, action)
    }

    fn load(&self, file: &str, make: impl Fn(&[u8]) -> Result<Clip, String>) -> Result<Action, String> {
        let bytes = (self.given.load)(file)?;
        let clip = make(&bytes).map_err(|why| format!("{file} {why}"))?;
        Ok(Action::Play(Arc::new(clip)))
    }

    /// `FILE,TIMES,PAYLOAD_TYPE`; times -1 is for ever.
    fn stream(&self, file: &str, more: &[&str]) -> Result<Action, String> {
        let times = match more.first().map_or(Ok(1), |times| times.parse::<i64>()) {
            Ok(times) if times < 0 => None,
            Ok(times) => Some(u32::try_from(times).unwrap_or(u32::MAX)),
            Err(_) => return Err(format!("rtp_stream: '{}' is no number of times", more[0])),
        };
        let payload_type = match more.get(1).copied().unwrap_or("8") {
            "0" => 0,
            "8" => 8,
            other => return Err(format!("rtp_stream: payload type {other} is not supported; use 0 or 8 (G.711)")),
        };
        self.load(file, |bytes| Clip::samples(bytes, payload_type, times))
    }
}

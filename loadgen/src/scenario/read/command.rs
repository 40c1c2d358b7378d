//! `send`, `recv`, `pause`, `nop`, `timewait`, and the attributes all of them share.

use strowger::base::time::Duration;

use super::Reader;
use crate::scenario::distribution::{Distribution, PARAMETERS, ROWS};
use crate::scenario::parse;
use crate::scenario::problem::instead;
use crate::scenario::program::{Command, Expected, Kind, Length, Optional, Receive, Send, millis};
use crate::scenario::regexp;
use crate::scenario::text::Text;
use crate::scenario::variable::{VarId, Variables};
use crate::scenario::xml::Element;

const COMMON: [&str; 12] = [
    "start_rtd",
    "rtd",
    "repeat_rtd",
    "crlf",
    "next",
    "test",
    "chance",
    "condexec",
    "condexec_inverse",
    "counter",
    "hide",
    "display",
];
const SEND: [&str; 4] = ["retrans", "lost", "start_txn", "ack_txn"];
const RECEIVE: [&str; 11] = [
    "response",
    "request",
    "optional",
    "rrs",
    "auth",
    "timeout",
    "ontimeout",
    "regexp_match",
    "ignoresdp",
    "lost",
    "response_txn",
];
const PAUSE: [&str; 4] = ["milliseconds", "variable", "distribution", "sanity_check"];

/// Timers and counters stand in names of figures.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The place of a name among those known, the last one if it is new.
fn number(known: &mut Vec<String>, name: &str) -> usize {
    known.iter().position(|known| known == name).unwrap_or_else(|| {
        known.push(name.to_string());
        known.len() - 1
    })
}

impl Reader<'_> {
    pub(super) fn command(&mut self, element: Element<'_, '_>) -> Command {
        let own: &[&[&str]] = match element.name() {
            "send" => &[&COMMON, &SEND],
            "recv" => &[&COMMON, &RECEIVE],
            "pause" => &[&COMMON, &PAUSE, &PARAMETERS],
            "timewait" => &[&COMMON, &["milliseconds"]],
            _ => &[&COMMON],
        };
        self.attributes(element, own);
        let kind = match element.name() {
            "send" => self.send(element),
            "recv" => self.receive(element),
            "pause" => Kind::Pause(self.length(element)),
            "timewait" => Kind::Linger(millis(self.milliseconds(element, "milliseconds").unwrap_or(0.0))),
            _ => Kind::Nothing,
        };
        if let Some(at) = element.stray_text().filter(|_| element.name() != "send") {
            self.fault(at, format!("this text is in no attribute of <{}>", element.name()));
        }
        let actions = self.actions(element);
        let test = self.variable(element, "test");
        let next = self.label(element, "next");
        if let (Some(span), None) = (element.attribute("test"), element.attribute("next")) {
            self.fault(element.locate(span), "test= decides whether to go to next=, which is missing");
        }
        let chance = self.number(element, "chance").unwrap_or(1.0);
        if let (Some(span), false) = (element.attribute("chance"), (0.0..=1.0).contains(&chance)) {
            self.fault(element.locate(span), "chance: a number from 0 to 1 is needed");
        }
        let inverse = self.boolean(element, "condexec_inverse");
        Command {
            at: element.at(),
            kind,
            actions,
            starts: self.timers(element, "start_rtd"),
            stops: self.timers(element, "rtd"),
            repeats: self.boolean(element, "repeat_rtd"),
            counts: self.counter(element),
            next,
            test,
            chance,
            only_if: self.variable(element, "condexec").map(|variable| (variable, inverse)),
        }
    }

    /// A variable that is read.
    pub(super) fn variable(&mut self, element: Element<'_, '_>, name: &str) -> Option<VarId> {
        let span = element.attribute(name)?;
        let checked = Variables::check(span.text.trim().trim_start_matches('$')).map(str::to_string);
        let checked = self.take(element, span, checked)?;
        Some(self.variables.read(&checked))
    }

    /// The numbers of timers; `true` is SIPp's timer 1.
    fn timers(&mut self, element: Element<'_, '_>, name: &str) -> Vec<usize> {
        let Some(span) = element.attribute(name) else { return Vec::new() };
        let mut out = Vec::new();
        for word in span.text.split(',').map(str::trim).filter(|&word| word != "false" && word != "0") {
            let timer = if word == "true" { "1" } else { word };
            if is_name(timer) {
                out.push(number(&mut self.timers, timer));
            } else {
                let sentence = format!("{name}: '{word}' is no name of a timer: use letters, digits and _");
                self.fault(element.locate(span), sentence);
            }
        }
        out
    }

    /// The number of the counter that counts this command.
    fn counter(&mut self, element: Element<'_, '_>) -> Option<usize> {
        let span = element.attribute("counter")?;
        let name = span.text.trim();
        if is_name(name) {
            return Some(number(&mut self.counters, name));
        }
        let sentence = format!("counter: '{name}' is no name of a counter: use letters, digits and _");
        self.fault(element.locate(span), sentence);
        None
    }

    fn transaction(&mut self, element: Element<'_, '_>, name: &str) -> Option<usize> {
        let wanted = element.attribute(name)?.text.trim();
        let known = self.transactions.iter().position(|known| known == wanted);
        if known.is_none() && name != "start_txn" {
            let names: Vec<&str> = self.transactions.iter().map(String::as_str).collect();
            let meant = instead(wanted, &names);
            self.fault(element.at(), format!("{name}: no start_txn=\"{wanted}\" comes before{meant}"));
        }
        Some(known.unwrap_or_else(|| {
            self.transactions.push(wanted.to_string());
            self.transactions.len() - 1
        }))
    }

    /// A number of milliseconds that may not be negative.
    fn milliseconds(&mut self, element: Element<'_, '_>, name: &str) -> Option<f64> {
        let number = self.number(element, name)?;
        if number >= 0.0 {
            return Some(number);
        }
        self.fault(element.at(), format!("{name}: {number} is negative"));
        None
    }

    fn lost(&mut self, element: Element<'_, '_>) -> f64 {
        let lost = self.number(element, "lost").unwrap_or(0.0);
        if !(0.0..=100.0).contains(&lost) {
            self.fault(element.at(), "lost: a percentage from 0 to 100 is needed");
        }
        lost
    }

    fn send(&mut self, element: Element<'_, '_>) -> Kind {
        let mut text = Text::default();
        match element.message() {
            None => self.fault(element.at(), "<send> needs a message: <![CDATA[ … ]]>"),
            Some(span) => {
                let mut faults = Vec::new();
                text = parse::message(span.text, &mut self.words(), &mut faults);
                for (offset, sentence) in faults {
                    self.fault(element.locate(span.slice(offset, offset)), sentence);
                }
                if text.head().is_empty() && text.parts.is_empty() {
                    self.fault(element.at(), "<send> holds an empty message");
                }
            }
        }
        let retransmit = self.milliseconds(element, "retrans").filter(|&millis| millis > 0.0).map(millis);
        Kind::Send(Send {
            text,
            retransmit,
            lost: self.lost(element),
            start_transaction: self.transaction(element, "start_txn"),
            ack_transaction: self.transaction(element, "ack_txn"),
        })
    }

    fn receive(&mut self, element: Element<'_, '_>) -> Kind {
        let by_expression = self.boolean(element, "regexp_match");
        let expected = match (element.attribute("request"), element.attribute("response")) {
            (Some(_), Some(_)) => Err("either a request or a response, not both"),
            (None, None) => Err("<recv> needs request=\"METHOD\" or response=\"CODE\""),
            (Some(span), None) if by_expression => {
                // The whole method must fit, as `INVITE|BYE` shows.
                let regex = regexp::compile(span.text, false);
                Ok(self.take(element, span, regex).map_or(Expected::Status(0), Expected::Methods))
            }
            (Some(span), None) => Ok(Expected::Method(span.text.trim().to_string())),
            (None, Some(span)) => match span.text.trim().parse() {
                Ok(status @ 100..=699) => Ok(Expected::Status(status)),
                _ => {
                    self.fault(element.locate(span), format!("response: '{}' is no status from 100 to 699", span.text));
                    Ok(Expected::Status(0))
                }
            },
        };
        let expected = expected.unwrap_or_else(|sentence| {
            self.fault(element.at(), sentence);
            Expected::Status(0)
        });
        let optional = match element.attribute("optional").map(|span| (span, span.text)) {
            None | Some((_, "false")) => Optional::No,
            Some((_, "true")) => Optional::Here,
            Some((_, "global")) => Optional::FromHere,
            Some((span, other)) => {
                self.fault(element.locate(span), format!("optional: '{other}' is none of true, false, global"));
                Optional::No
            }
        };
        let timeout = self.milliseconds(element, "timeout").map(millis).filter(|&timeout| timeout > Duration::ZERO);
        Kind::Receive(Box::new(Receive {
            expected,
            optional,
            keep_routes: self.boolean(element, "rrs"),
            keep_challenge: self.boolean(element, "auth"),
            ignore_sdp: self.boolean(element, "ignoresdp"),
            lost: self.lost(element),
            timeout,
            on_timeout: self.label(element, "ontimeout"),
            transaction: self.transaction(element, "response_txn"),
        }))
    }

    fn length(&mut self, element: Element<'_, '_>) -> Length {
        if element.attribute("sanity_check").is_some() {
            self.note(element.at(), "sanity_check=: pauses are held within 0 and 115 days anyway");
        }
        if let Some(variable) = self.variable(element, "variable") {
            return Length::Variable(variable);
        }
        if let Some(number) = self.milliseconds(element, "milliseconds") {
            return Length::Drawn(Distribution::Fixed(number));
        }
        match element.attribute("distribution") {
            Some(_) => Length::Drawn(self.distribution(element)),
            None => Length::Default,
        }
    }

    /// A distribution by its name and parameters.
    pub(super) fn distribution(&mut self, element: Element<'_, '_>) -> Distribution {
        let Some(span) = element.attribute("distribution") else {
            self.fault(element.at(), format!("<{}> needs a distribution", element.name()));
            return Distribution::Fixed(0.0);
        };
        let Some((name, parameters, make)) = ROWS.iter().find(|row| row.0 == span.text) else {
            let known: Vec<&str> = ROWS.iter().map(|row| row.0).collect();
            let sentence = format!("'{}' is no distribution{}", span.text, instead(span.text, &known));
            self.fault(element.locate(span), sentence);
            return Distribution::Fixed(0.0);
        };
        let mut values = Vec::new();
        for parameter in *parameters {
            if element.attribute(parameter).is_none() {
                self.fault(element.at(), format!("distribution=\"{name}\" needs {}", parameters.join(" and ")));
            }
            values.push(self.number(element, parameter).unwrap_or(1.0));
        }
        let distribution = make(&values);
        if let Some(fault) = distribution.fault() {
            self.fault(element.locate(span), format!("distribution=\"{name}\": {fault}"));
        }
        distribution
    }
}

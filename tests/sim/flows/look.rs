//! What the phones of a flow see: each message that the script wants is found among them, and nothing else may be there.

use super::Play;
use crate::pattern::{self, Names};
use crate::script::Wanted;
use std::collections::BTreeSet;
use std::fmt::Write;
use strowger::phone::Text;

impl Play {
    /// Reads what the phones have seen since the last time.
    pub(super) fn look(&mut self) {
        let seen = self.world.seen.as_ref().map_or(&[][..], Vec::as_slice);
        for seen in &seen[self.texts.len()..] {
            let text = Text::parse(&seen.bytes).unwrap_or_default();
            self.repeated.push(!self.known.insert((seen.station, seen.sent, seen.bytes.to_vec())));
            self.texts.push(text);
        }
    }

    /// Finds a message for each wanted one; keeps the findings only when nothing is missing.
    pub(super) fn assign(&mut self, wanted: &[Wanted]) -> Result<(), String> {
        let (mut names, mut taken) = (self.names.clone(), self.consumed.clone());
        let mut optional = Vec::new();
        for one in wanted {
            let station = self.who(&one.who)?;
            match self.find(one, station, &mut names, &taken) {
                Some(found) => {
                    taken.insert(found);
                }
                None if one.may_be_missing || (one.may_be_lost && self.lossy) => {
                    optional.push((one.who.clone(), one.what.clone()))
                }
                None => {
                    return Err(format!(
                        "{} {} {}, line {}",
                        one.who,
                        if one.sent { "->" } else { "<-" },
                        one.what.join(" "),
                        one.line
                    ));
                }
            }
        }
        self.names = names;
        self.consumed = taken;
        self.optional.extend(optional);
        Ok(())
    }

    fn find(&self, one: &Wanted, station: usize, names: &mut Names, taken: &BTreeSet<usize>) -> Option<usize> {
        let seen = self.world.seen.as_ref()?;
        let candidates = (0..self.texts.len()).filter(|index| {
            let seen = &seen[*index];
            seen.station == station && seen.sent == one.sent && !self.repeated[*index] && !taken.contains(index)
        });
        for index in candidates {
            let text = &self.texts[index];
            let mut learnt = names.clone();
            if is_called(text, &one.what) && one.lines.iter().all(|line| line_holds(text, line, &mut learnt)) {
                *names = learnt;
                return Some(index);
            }
            // Without loss the order is part of the flow; 100 comes or not (RFC 3261 §17.2.1).
            if !self.lossy && !one.sent && text.status() != Some(100) {
                return None;
            }
        }
        None
    }

    /// Whatever reached a phone must stand in the script.
    pub(super) fn unexpected(&self) -> Result<(), String> {
        let seen = self.world.seen.as_ref().map_or(&[][..], Vec::as_slice);
        for (index, text) in self.texts.iter().enumerate() {
            let seen = &seen[index];
            let name = &self.world.stations[seen.station].name;
            let excused = text.status() == Some(100)
                || self.optional.iter().any(|(who, what)| who == name && is_called(text, what));
            if !seen.sent && !self.repeated[index] && !self.consumed.contains(&index) && !excused {
                return Err(format!("{name} was not to get: {}", text.start));
            }
        }
        Ok(())
    }

    pub(super) fn ladder(&self) -> String {
        let seen = self.world.seen.as_ref().map_or(&[][..], Vec::as_slice);
        let mut out = String::new();
        for (index, seen) in seen.iter().enumerate() {
            let name = &self.world.stations[seen.station].name;
            let mark = if self.repeated.get(index) == Some(&true) { " (again)" } else { "" };
            let (start, cseq) =
                self.texts.get(index).map_or(("", ""), |text| (text.start.as_str(), text.get("CSeq").unwrap_or("")));
            let _ = writeln!(
                out,
                "  {:>10.3} s  {name:>8} {} {start}  [{cseq}]{mark}",
                seen.at.as_nanos() as f64 / 1e9,
                if seen.sent { "->" } else { "<-" }
            );
        }
        out
    }
}

fn is_called(text: &Text, what: &[String]) -> bool {
    let (_, method) = text.cseq().unwrap_or((0, ""));
    match text.status() {
        Some(status) => what[0] == status.to_string() && what.get(1).is_none_or(|wanted| wanted == method),
        None => text.method() == Some(what[0].as_str()),
    }
}

fn line_holds(text: &Text, line: &(String, String), names: &mut Names) -> bool {
    let (name, wanted) = line;
    let values: Vec<String> = match name.as_str() {
        "uri" => text.uri().map(str::to_owned).into_iter().collect(),
        "reason" => vec![text.reason().to_owned()],
        "body" => vec![String::from_utf8_lossy(&text.body).into_owned()],
        _ => text
            .headers
            .iter()
            .filter(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.clone())
            .collect(),
    };
    match wanted.as_str() {
        "-" => values.is_empty(),
        wanted if wanted.starts_with('!') => values.iter().all(|value| pattern::matches(wanted, value, names)),
        wanted => values.iter().any(|value| pattern::matches(wanted, value, names)),
    }
}

//! The actions of a command: expressions, variables, media, and the rest.

use std::net::SocketAddr;

use regex::bytes::Regex;

use super::call::{Call, Failure};
use super::shared::Shared;
use super::value::{Value, compare};
use super::write::Pen;
use super::{header, verify};
use crate::core::{Context, Output, Path};
use crate::scenario::program::{Action, Arithmetic, Check, Command, Search, Stop};
use crate::scenario::text::Text;
use crate::scenario::variable::VarId;

impl Call {
    /// Does the actions in order; the index a jump leads to.
    pub(super) fn act(
        &mut self,
        cx: &mut Context<'_>,
        shared: &mut Shared,
        command: &Command,
        index: usize,
    ) -> Result<Option<usize>, Failure> {
        let mut jump = None;
        for action in &command.actions {
            match action {
                Action::Jump(operand) => jump = Some(self.operand(shared, *operand).max(0.0) as usize),
                Action::Ereg { regex, search, check, to } => {
                    self.search(cx, shared, command, regex, search, *check, to)?;
                }
                Action::Stop(stop) => match stop {
                    Stop::Call => return Err(Failure::Stopped),
                    stop => shared.stop = Some(*stop),
                },
                Action::Log(text) | Action::Warning(text) => {
                    let line = self.text(cx, shared, text, index);
                    let warning = matches!(action, Action::Warning(_));
                    if warning {
                        cx.stats.sample(|| line.clone());
                    }
                    cx.outbox.push(Output::Log(line));
                }
                Action::Play(clip) => {
                    let begun = self.media.is_some_and(|port| shared.player.play(self.due, port, clip, cx.random));
                    if !begun {
                        let (file, line) = (&shared.env.program.file, command.at.line);
                        cx.stats.sample(|| {
                            format!("{file}:{line}: nothing is played: the peer named no address for audio")
                        });
                    }
                }
                Action::PausePlay | Action::ResumePlay | Action::Echo(_) => self.media_action(cx, shared, action),
                Action::SetDestination(host, port) => self.set_destination(cx, shared, host, port, index),
                other => self.assign(cx, shared, other, index),
            }
        }
        Ok(jump)
    }

    fn media_action(&self, cx: &Context<'_>, shared: &mut Shared, action: &Action) {
        let Some(port) = self.media else { return };
        match action {
            Action::PausePlay => shared.player.pause(cx.now, port),
            Action::ResumePlay => shared.player.resume(cx.now, port),
            Action::Echo(on) => shared.player.echo(port, *on),
            _ => {}
        }
    }

    fn operand(&self, shared: &Shared, operand: crate::scenario::program::Operand) -> f64 {
        shared.store.operand(&self.variables, self.user, operand)
    }

    fn get<'a>(&'a self, shared: &'a Shared, id: VarId) -> &'a Value {
        shared.store.get(&self.variables, self.user, id)
    }

    pub(super) fn set(&mut self, shared: &mut Shared, id: VarId, value: Value) {
        shared.store.set(&mut self.variables, self.user, id, value);
    }

    fn text(&mut self, cx: &mut Context<'_>, shared: &mut Shared, text: &Text, index: usize) -> String {
        String::from_utf8_lossy(&Pen::new(self, shared, cx, index).text(text)).into_owned()
    }

    fn bytes(&mut self, cx: &mut Context<'_>, shared: &mut Shared, text: &Text, index: usize) -> Vec<u8> {
        Pen::new(self, shared, cx, index).text(text)
    }

    /// The actions that set a variable and cannot fail.
    fn assign(&mut self, cx: &mut Context<'_>, shared: &mut Shared, action: &Action, index: usize) {
        let (to, value) = match action {
            Action::Assign(to, operand) => (*to, Value::Number(self.operand(shared, *operand))),
            Action::AssignText(to, text) => (*to, Value::Text(self.bytes(cx, shared, text, index))),
            Action::ToNumber(to, from) => (*to, self.get(shared, *from).number().map_or(Value::Unset, Value::Number)),
            Action::Trim(to) => (*to, Value::Text(self.get(shared, *to).text().trim_ascii().to_vec())),
            Action::Sample(to, distribution) => (*to, Value::Number(distribution.sample(cx.random))),
            Action::Calculate(operation, to, operand) => {
                let (left, right) = (self.get(shared, *to).number().unwrap_or(0.0), self.operand(shared, *operand));
                let result = match operation {
                    Arithmetic::Add => left + right,
                    Arithmetic::Subtract => left - right,
                    Arithmetic::Multiply => left * right,
                    Arithmetic::Divide if right == 0.0 => {
                        cx.stats.sample(|| "a <divide> by 0 left its variable as it was".into());
                        left
                    }
                    Arithmetic::Divide => left / right,
                };
                (*to, Value::Number(result))
            }
            Action::Test(to, variable, how, operand) => {
                let left = self.get(shared, *variable).number();
                let right = self.operand(shared, *operand);
                (*to, Value::Decision(left.is_some_and(|left| compare(left, *how, right))))
            }
            Action::CompareText(to, variable, text) => {
                let right = self.bytes(cx, shared, text, index);
                let order = self.get(shared, *variable).text().cmp(&right) as i8;
                (*to, Value::Number(f64::from(order)))
            }
            Action::VerifyAuthentication(to, user, password) => {
                let (user, password) = (self.bytes(cx, shared, user, index), self.bytes(cx, shared, password, index));
                let request = self.last.as_deref().unwrap_or_default();
                (*to, Value::Decision(verify::is_right(request, &user, &password)))
            }
            Action::Time(to, micros) => {
                let wall = shared.wall(cx.now);
                if let Some(micros) = micros {
                    self.set(shared, *micros, Value::Number(f64::from(wall.microsecond())));
                }
                (*to, Value::Number(wall.unix_timestamp() as f64))
            }
            _ => return,
        };
        self.set(shared, to, value);
    }

    #[allow(clippy::too_many_arguments)] // the parts of one `ereg`
    fn search(
        &mut self,
        cx: &mut Context<'_>,
        shared: &mut Shared,
        command: &Command,
        regex: &Regex,
        search: &Search,
        check: Check,
        to: &[VarId],
    ) -> Result<(), Failure> {
        let last = self.last.clone().unwrap_or_default();
        let subject: Option<Vec<u8>> = match search {
            Search::Message => Some(last.to_vec()),
            Search::Body => Some(header::body(&last).to_vec()),
            Search::Header(name, occurrence) => header::values(&last, name).nth(occurrence - 1).map(<[u8]>::to_vec),
            Search::Variable(id) => Some(self.get(shared, *id).text()),
        };
        let found = subject.as_deref().and_then(|subject| regex.captures(subject));
        for (number, &id) in to.iter().enumerate() {
            let part = found.as_ref().and_then(|found| found.get(number));
            let value = part.map_or(Value::Unset, |part| Value::Text(part.as_bytes().to_vec()));
            self.set(shared, id, value);
        }
        let wrong = match check {
            Check::None => false,
            Check::Found => found.is_none(),
            Check::NotFound => found.is_some(),
        };
        if !wrong {
            return Ok(());
        }
        cx.stats.sample(|| {
            let (file, line) = (&shared.env.program.file, command.at.line);
            let what = if check == Check::Found { "was not found" } else { "was found" };
            format!("{file}:{line}: '{regex}' {what} in what came")
        });
        Err(Failure::Check)
    }

    fn set_destination(&mut self, cx: &mut Context<'_>, shared: &mut Shared, host: &Text, port: &Text, index: usize) {
        let (host, port) = (self.text(cx, shared, host, index), self.text(cx, shared, port, index));
        let host = host.trim().trim_matches(['[', ']']).parse();
        match (host, port.trim().parse(), self.path) {
            (Ok(ip), Ok(port), Path::Datagram(socket, _)) => {
                self.remote = SocketAddr::new(ip, port);
                self.path = Path::Datagram(socket, self.remote);
            }
            (_, _, Path::Stream(_)) => cx.stats.sample(|| "<setdest> has no effect over TCP".into()),
            _ => cx.stats.sample(|| format!("<setdest> has no effect: it needs an address and a port, not {port}")),
        }
    }
}

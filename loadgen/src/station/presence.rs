//! The answering side's own registration at the server under test (`--register-uas`): made before calls begin, renewed at half
//! its time (RFC 3261 §10.2.4), taken back at the end. A station has at most one.

use strowger::base::Slot;
use strowger::base::id::Token;
use strowger::base::time::Duration;

use crate::core::registrar::{Outcome, Registrar};
use crate::core::scan::Fields;
use crate::core::{Context, Timer};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Wanted,
    There,
    Leaving,
    Gone,
}

pub(super) struct Presence {
    registrar: Registrar,
    state: State,
}

impl Presence {
    pub(super) fn new(registrar: Registrar) -> Self {
        Self { registrar, state: State::Wanted }
    }

    /// Not registered yet.
    pub(super) fn is_wanted(&self) -> bool {
        self.state == State::Wanted
    }

    /// Being taken back.
    pub(super) fn is_leaving(&self) -> bool {
        self.state == State::Leaving
    }

    pub(super) fn begin(&mut self, cx: &mut Context<'_>) {
        let (now, expires) = (cx.now, cx.plan.expires);
        self.registrar.begin(cx, 0, now, expires);
    }

    pub(super) fn renew(&mut self, cx: &mut Context<'_>) {
        if self.state == State::There {
            self.begin(cx);
        }
    }

    pub(super) fn leave(&mut self, cx: &mut Context<'_>) {
        if self.state == State::There {
            self.state = State::Leaving;
            let now = cx.now;
            self.registrar.begin(cx, 0, now, 0);
        }
    }

    /// An answer to it; says why nothing more can come of the run, if so.
    pub(super) fn handle_response(
        &mut self,
        cx: &mut Context<'_>,
        token: Token,
        serial: u32,
        fields: &Fields<'_>,
    ) -> Option<String> {
        let outcome = self.registrar.handle_response(cx, token, serial, fields)?;
        self.conclude(cx, outcome)
    }

    /// It was not answered in time, or is to be sent again; says why nothing more can come of the run, if so.
    pub(super) fn handle_timer(&mut self, cx: &mut Context<'_>, slot: Slot) -> Option<String> {
        let outcome = self.registrar.handle_timer(cx, slot)?;
        self.conclude(cx, outcome)
    }

    fn conclude(&mut self, cx: &mut Context<'_>, outcome: Outcome) -> Option<String> {
        match outcome {
            _ if self.state == State::Leaving => self.state = State::Gone,
            Outcome::Done(granted) => {
                self.state = State::There;
                let half = Duration::from_secs(u64::from(granted / 2).max(1));
                cx.schedule(cx.now + half, Timer::Renew);
            }
            Outcome::Failed => {
                let answer = cx.stats.refusals.iter().next().map_or_else(
                    || "it was not answered".to_string(),
                    |(status, (_, reason))| format!("it was answered {status} {reason}"),
                );
                return Some(format!("--register-uas: the registration failed, {answer}"));
            }
        }
        None
    }
}

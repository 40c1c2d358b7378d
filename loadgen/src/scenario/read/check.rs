//! What can only be said of a whole scenario: which side it is, that it can go on, that its names have a use.

use super::Reader;
use crate::core::Role;
use crate::scenario::problem::Position;
use crate::scenario::program::{Action, Command, Expected, Kind, Operand, Optional, Program};

impl Reader<'_> {
    pub(super) fn check(&mut self, program: &mut Program, root: Position) {
        if !self.problems.is_empty() {
            return; // what was not understood would look wrong here, too
        }
        let begins = program.commands.iter().find(|command| matches!(command.kind, Kind::Send(_) | Kind::Receive(_)));
        match begins.map(|command| (&command.kind, command.at)) {
            None => self.fault(root, "the scenario neither sends nor receives anything"),
            Some((Kind::Receive(receive), at)) => {
                program.role = Role::Uas;
                if matches!(receive.expected, Expected::Status(_)) {
                    self.fault(at, "a scenario begins by sending, or by receiving a request");
                }
                if receive.optional != Optional::No {
                    self.fault(at, "the first message of a scenario that answers cannot be optional");
                }
            }
            Some(_) => {}
        }
        let sends =
            |command: &Command| matches!(&command.kind, Kind::Send(send) if send.text.head().starts_with(b"INVITE "));
        let takes = |command: &Command| match &command.kind {
            Kind::Receive(receive) => matches!(&receive.expected, Expected::Method(method) if method == "INVITE"),
            _ => false,
        };
        program.has_invite = program.commands.iter().any(|command| sends(command) || takes(command));
        let actions = || program.commands.iter().flat_map(|command| &command.actions);
        program.has_media = actions().any(|action| matches!(action, Action::Play(_) | Action::Echo(_)));
        self.optional_runs(&program.commands);
        self.positions(&program.commands);
        for command in &program.init {
            if !matches!(command.kind, Kind::Nothing) {
                self.fault(command.at, "<init> can hold <nop> and <label> only");
            }
        }
        for sentence in program.variables.used_once() {
            self.notes.push(format!("{}: {sentence}", self.file));
        }
    }

    /// A call waits at the first of several optional messages until one comes that is not optional, or leads elsewhere.
    fn optional_runs(&mut self, commands: &[Command]) {
        let mut run: Option<Position> = None;
        for command in commands.iter().map(Some).chain([None]) {
            match command.map(|command| (&command.kind, command)) {
                Some((Kind::Receive(receive), command)) if receive.optional != Optional::No => {
                    if receive.on_timeout.is_some() || command.next.is_some() {
                        run = None;
                        continue;
                    }
                    run.get_or_insert(command.at);
                }
                Some((Kind::Receive(_), _)) => run = None,
                _ => {
                    if let Some(at) = run.take() {
                        let sentence = "the call would wait here for ever: after optional messages must come one that \
                            is not, or one of them must lead on (next, ontimeout)";
                        self.fault(at, sentence);
                    }
                }
            }
        }
    }

    /// Indexes that are given as numbers.
    fn positions(&mut self, commands: &[Command]) {
        for command in commands {
            for action in &command.actions {
                if let Action::Jump(Operand::Number(index)) = action
                    && !(0.0..=commands.len() as f64).contains(index)
                {
                    let last = commands.len();
                    self.fault(command.at, format!("jump: there is no message {index}; they run from 0 to {last}"));
                }
            }
        }
    }
}

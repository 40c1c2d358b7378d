//! A scenario as the engine runs it: commands in order, with every name resolved to a number.

use std::sync::Arc;

use regex::bytes::Regex;
use strowger::base::time::Duration;

use super::clip::Clip;
use super::distribution::Distribution;
use super::problem::Position;
use super::text::Text;
use super::variable::{VarId, Variables};
use crate::core::Role;

/// A number, or the variable that holds it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operand {
    /// As it stands.
    Number(f64),
    /// Of a variable.
    Variable(VarId),
}

/// Where a regular expression looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Search {
    /// The whole message.
    Message,
    /// Its body.
    Body,
    /// The value of a header, its first being 1.
    Header(String, usize),
    /// The text of a variable.
    Variable(VarId),
}

/// What fails the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Nothing.
    None,
    /// That it is not found.
    Found,
    /// That it is found.
    NotFound,
}

/// Of two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// =
    Equal,
    /// ≠
    NotEqual,
    /// >
    Greater,
    /// <
    Less,
    /// ≥
    GreaterOrEqual,
    /// ≤
    LessOrEqual,
}

/// One of the four operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// +
    Add,
    /// −
    Subtract,
    /// ×
    Multiply,
    /// ÷
    Divide,
}

/// `int_cmd`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// This call.
    Call,
    /// No new calls.
    Gracefully,
    /// Everything, at once.
    Now,
}

/// What is done besides sending and receiving.
#[derive(Clone, Debug)]
pub enum Action {
    /// Look for an expression; what it and its parts found goes to the variables.
    Ereg { regex: Regex, search: Search, check: Check, to: Vec<VarId> },
    /// Say something.
    Log(Text),
    /// Say something that is wrong.
    Warning(Text),
    /// Set a number.
    Assign(VarId, Operand),
    /// Set a text.
    AssignText(VarId, Text),
    /// Read a number out of a text.
    ToNumber(VarId, VarId),
    /// Take the blanks off both ends.
    Trim(VarId),
    /// Draw a number.
    Sample(VarId, Distribution),
    /// Calculate.
    Calculate(Arithmetic, VarId, Operand),
    /// Compare numbers.
    Test(VarId, VarId, Compare, Operand),
    /// Compare texts: -1, 0 or 1.
    CompareText(VarId, VarId, Text),
    /// Go on elsewhere.
    Jump(Operand),
    /// The time of day: seconds, and microseconds.
    Time(VarId, Option<VarId>),
    /// Are the credentials in the last request right?
    VerifyAuthentication(VarId, Text, Text),
    /// Send to another address from now on.
    SetDestination(Text, Text),
    /// Stop.
    Stop(Stop),
    /// Send RTP.
    Play(Arc<Clip>),
    /// Hold what is being sent.
    PausePlay,
    /// Go on sending.
    ResumePlay,
    /// Send back what comes, or no longer.
    Echo(bool),
}

/// A message to send.
#[derive(Clone, Debug)]
pub struct Send {
    /// Its text.
    pub text: Text,
    /// First interval of retransmission, over UDP.
    pub retransmit: Option<Duration>,
    /// Not sent at all in so many of a hundred.
    pub lost: f64,
    /// Keeps the branch under this number.
    pub start_transaction: Option<usize>,
    /// Takes the branch kept under this number, as the ACK to a refusal does.
    pub ack_transaction: Option<usize>,
}

/// What is waited for.
#[derive(Clone, Debug)]
pub enum Expected {
    /// A response with this status.
    Status(u16),
    /// A request with this method.
    Method(String),
    /// A request whose method fits.
    Methods(Regex),
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status}"),
            Self::Method(method) => write!(f, "{method}"),
            Self::Methods(regex) => write!(f, "{regex}"),
        }
    }
}

/// Whether a message may stay away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Optional {
    /// It must come.
    No,
    /// It may come here.
    Here,
    /// It may come from here on.
    FromHere,
}

/// A message to wait for.
#[derive(Clone, Debug)]
pub struct Receive {
    /// Which.
    pub expected: Expected,
    /// Must it come?
    pub optional: Optional,
    /// Keep Record-Route and Contact.
    pub keep_routes: bool,
    /// Keep the challenge.
    pub keep_challenge: bool,
    /// Do not look at its session description.
    pub ignore_sdp: bool,
    /// Thrown away in so many of a hundred.
    pub lost: f64,
    /// How long to wait.
    pub timeout: Option<Duration>,
    /// Where to go then.
    pub on_timeout: Option<usize>,
    /// Only of the transaction under this number.
    pub transaction: Option<usize>,
}

/// How long to wait.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Length {
    /// `--pause`.
    Default,
    /// Drawn, in milliseconds.
    Drawn(Distribution),
    /// Of a variable, in milliseconds.
    Variable(VarId),
}

/// What a command does.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Send a message.
    Send(Send),
    /// Wait for one.
    Receive(Box<Receive>),
    /// Wait.
    Pause(Length),
    /// Only its actions.
    Nothing,
    /// The call has succeeded; messages that come again are answered again for so long.
    Linger(Duration),
}

/// A command and what all of them have.
#[derive(Clone, Debug)]
pub struct Command {
    /// Where it stands.
    pub at: Position,
    /// What it does.
    pub kind: Kind,
    /// And then.
    pub actions: Vec<Action>,
    /// Timers begun.
    pub starts: Vec<usize>,
    /// Timers ended.
    pub stops: Vec<usize>,
    /// The timers ended may end again.
    pub repeats: bool,
    /// The counter that counts it.
    pub counts: Option<usize>,
    /// Where to go next, otherwise to the next one.
    pub next: Option<usize>,
    /// Only if this variable is set.
    pub test: Option<VarId>,
    /// Only so often, of 1.
    pub chance: f64,
    /// The whole command only if this variable is set, or (true) is not.
    pub only_if: Option<(VarId, bool)>,
}

/// A scenario.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// Its file.
    pub file: String,
    /// Which side begins: the one that sends first calls.
    pub role: Role,
    /// What each call does.
    pub commands: Vec<Command>,
    /// What is done once, before the first call.
    pub init: Vec<Command>,
    /// Variables.
    pub variables: Variables,
    /// Names of the timers.
    pub timers: Vec<String>,
    /// Names of the counters.
    pub counters: Vec<String>,
    /// Number of named transactions.
    pub transactions: usize,
    /// Where an unexpected message leads (`_unexp.main`), and the variable that remembers where it was.
    pub unexpected: Option<(usize, VarId)>,
    /// It sends an INVITE.
    pub has_invite: bool,
    /// It plays or echoes media.
    pub has_media: bool,
    /// Worth saying before the run.
    pub notes: Vec<String>,
}

impl Program {
    /// How long a call waits on average, loops not counted.
    pub fn pauses(&self, default: Duration) -> Duration {
        let pauses = self.commands.iter().map(|command| match command.kind {
            Kind::Pause(Length::Default) => default,
            Kind::Pause(Length::Drawn(distribution)) => millis(distribution.mean()),
            Kind::Linger(time) => time,
            _ => Duration::ZERO,
        });
        pauses.fold(Duration::ZERO, Duration::saturating_add)
    }
}

/// Milliseconds as a duration, none if negative, at most some weeks.
pub fn millis(value: f64) -> Duration {
    Duration::from_secs_f64((value / 1000.0).clamp(0.0, 1e7))
}

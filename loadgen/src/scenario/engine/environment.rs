//! What a scenario runs in: its program, its files, and what the command line says of it.

use std::net::IpAddr;

use strowger::base::time::Duration;

use crate::scenario::inject::Injection;
use crate::scenario::program::Program;
use crate::scenario::variable::VarId;

/// What a scenario and its options come to, the same on all cores.
#[derive(Debug)]
pub struct Environment {
    /// The scenario.
    pub program: Program,
    /// Files of values.
    pub injections: Vec<Injection>,
    /// `--set`.
    pub set: Vec<(VarId, String)>,
    /// `[service]`
    pub service: String,
    /// `[remote_host]`
    pub remote_host: Option<String>,
    /// `[pid]`
    pub pid: u32,
    /// `[media_ip]`
    pub media_ip: IpAddr,
    /// `[media_port]` where calls have no port of their own.
    pub media_port: u16,
    /// Pauses of no length of their own.
    pub pause: Duration,
    /// First `[cseq]`.
    pub base_cseq: u32,
    /// `recv` without a timeout.
    pub receive_timeout: Option<Duration>,
    /// Retransmit at all.
    pub retransmit: bool,
    /// Longest interval of all but INVITE.
    pub t2: Duration,
    /// How often: INVITE, and anything else.
    pub retransmissions_max: [u32; 2],
    /// Answer INFO, NOTIFY, OPTIONS and UPDATE that are not expected.
    pub auto_answer: bool,
    /// Messages in a pause are passed over.
    pub ignore_in_pauses: bool,
    /// Say ACK, CANCEL or BYE when a call is given up.
    pub give_up_politely: bool,
    /// Send all RTP back.
    pub echo: bool,
    /// Nanoseconds since 1970 at the zero of our clock.
    pub wall_nanos_at_zero: i128,
}

impl Environment {
    /// Calls need a media port each.
    pub fn needs_media(&self) -> bool {
        self.program.has_media || self.echo
    }
}

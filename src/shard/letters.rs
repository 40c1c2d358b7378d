//! What a shard does with its mail: letters of other shards, of the keeper of the rights and of the control plane.

use super::boundary::Output;
use super::handle::{Shard, is_heard};
use super::mailbox::{Answer, CONTACTS_MAX, Mail, Query, ShardInfo};
use crate::base::time::Duration;
use crate::base::{Flow, ShardId, SocketKey, Transport};
use crate::observe::{DropReason, Gauge};
use crate::sip::wire::{Framing, parse};
use crate::tally::Note;
use std::net::SocketAddr;
use std::sync::Arc;

/// ICMP errors told to the other shards in a second.
const UNREACHABLE_TOLD_MAX: u16 = 1000;
/// How long a stopping shard waits for the answers to its BYEs.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

impl Shard {
    pub(super) fn handle_mail(&mut self, mail: Mail) {
        match mail {
            Mail::Message { flow, bytes } => {
                let framing = if flow.transport.is_reliable() { Framing::Stream } else { Framing::Datagram };
                if let Ok(message) = parse(&bytes, &mut self.index, framing) {
                    if !is_heard(&self.guard, &mut self.engine, self.now, &flow, &message) {
                        return self.counters.count_drop(DropReason::SourceMuted);
                    }
                    self.engine.handle_message(self.now, flow, &message);
                }
            }
            Mail::Transmit(transmit) => self.transmit(transmit.flow, transmit.bytes),
            Mail::Unreachable { socket, to } => self.unreachable(socket, to),
            Mail::Locate { account, asker, call } => {
                let contacts = self.engine.locate(self.now, &account, CONTACTS_MAX);
                self.outputs.push_back(Output::Mail { to: asker, mail: Mail::Contacts { call, contacts } });
            }
            Mail::Contacts { call, contacts } => self.engine.contacts(self.now, call, contacts),
            Mail::Directory(directory) => {
                self.directory = Arc::clone(&directory);
                self.engine.set_directory(directory);
                self.spare();
            }
            Mail::Query { query, reply } => {
                // The asker may have given up waiting; then nobody misses the answer.
                let _ = reply.try_send(self.answer(query));
            }
            Mail::Hangup { call, reply } => {
                let found = self.engine.hangup(self.now, call);
                let _ = reply.try_send(Answer::Hangup { found });
            }
            Mail::Guard { source, word } => self.hear(source, word),
            Mail::Unblock { source, reply } => {
                let found = self.unblock(source);
                let _ = reply.try_send(Answer::Unblock { found });
            }
            Mail::Right { call, permit } => self.engine.right(self.now, call, permit),
            Mail::HangUpSome { account, budget } => self.engine.hang_up_some(self.now, &account, &budget),
            Mail::TellCalls => {
                let calls = self.engine.sessions();
                self.outputs.push_back(Output::Note(Note::Calls { shard: self.id, calls }));
            }
            Mail::Drain => {
                self.draining = true;
                self.counters.set(Gauge::Draining, 1);
                self.engine.drain(true);
            }
            Mail::Undrain if self.stopping.is_some() => {}
            Mail::Undrain => {
                self.draining = false;
                self.counters.set(Gauge::Draining, 0);
                self.engine.drain(false);
            }
            Mail::Stop => {
                self.engine.drain(true);
                self.engine.hangup_all(self.now);
                self.stopping = Some(self.now + STOP_PATIENCE);
            }
        }
    }

    fn answer(&self, query: Query) -> Answer {
        match query {
            Query::Calls { limit } => Answer::Calls(self.engine.list_calls(limit)),
            Query::Registrations { limit } => Answer::Registrations(self.engine.list_registrations(self.now, limit)),
            Query::Blocked { limit } => Answer::Blocked(self.list_blocked(limit)),
            Query::Limits { limit } => Answer::Limits(self.engine.list_limits(limit)),
            Query::Trunks => Answer::Trunks(self.engine.list_trunks(self.now)),
            Query::Shard => {
                let audit = self.engine.audit();
                Answer::Shard(ShardInfo {
                    shard: self.id.0,
                    calls: audit.calls_live,
                    ending: audit.calls - audit.calls_live,
                    transactions: audit.transactions,
                    contacts: audit.contacts,
                    connections: self.streams.len(),
                    streams: audit.streams,
                    ports: audit.ports,
                    draining: self.draining,
                })
            }
        }
    }

    pub(super) fn unreachable(&mut self, socket: SocketKey, to: SocketAddr) {
        let flow = Flow { transport: Transport::Udp, shard: self.id, socket, stream: None, remote: to };
        self.engine.handle_flow_failure(self.now, &flow);
    }

    /// The datagram may have been another shard's. Beyond the bound its transaction's own timer has to notice.
    pub(super) fn tell_unreachable(&mut self, socket: SocketKey, to: SocketAddr) {
        if self.now >= self.unreachable_until {
            (self.unreachable_until, self.unreachable_told) = (self.now + Duration::from_secs(1), 0);
        }
        if self.unreachable_told >= UNREACHABLE_TOLD_MAX {
            return;
        }
        self.unreachable_told += 1;
        for other in (0..self.steering.shards()).map(ShardId).filter(|other| *other != self.id) {
            self.outputs.push_back(Output::Mail { to: other, mail: Mail::Unreachable { socket, to } });
        }
    }
}

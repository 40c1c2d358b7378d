//! What calls want done becomes outputs: sent by this shard's sockets, or by mail where another shard has the connection.

use super::boundary::Output;
use super::handle::Shard;
use super::mailbox::{CONTACTS_MAX, Mail};
use super::streams::Way;
use crate::base::{Flow, Transmit};
use crate::call::Effect;
use crate::media::SocketRequest;
use crate::observe::DropReason;
use bytes::Bytes;

impl Shard {
    /// The next thing to do outside; none when all is said.
    pub fn poll_output(&mut self) -> Option<Output> {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return Some(output);
            }
            if let Some(request) = self.engine.poll_socket() {
                return Some(match request {
                    SocketRequest::Open { key, bind, dscp } => Output::OpenUdp { socket: key, bind, dscp },
                    SocketRequest::SetDscp { key, dscp } => Output::SetDscp { socket: key, dscp },
                });
            }
            let effect = self.engine.poll_effect()?;
            self.apply(effect);
        }
    }

    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Transmit(Transmit { flow, bytes }) => self.transmit(flow, bytes),
            Effect::Record(record) => {
                self.outputs.push_back(Output::Record(record));
            }
            Effect::Event(event) => self.outputs.push_back(Output::Event(event)),
            Effect::Suspect { source, reason, proven } => self.suspect(source, reason, proven),
            Effect::Vouch { source, until } => self.vouch(source, until),
            Effect::Note(note) => self.outputs.push_back(Output::Note(note)),
            Effect::Locate { account, call } => {
                let home = self.steering.home_of_account(&account);
                if home == self.id {
                    let contacts = self.engine.locate(self.now, &account, CONTACTS_MAX);
                    self.engine.contacts(self.now, call, contacts);
                } else {
                    let mail = Mail::Locate { account, asker: self.id, call };
                    self.outputs.push_back(Output::Mail { to: home, mail });
                }
            }
        }
    }

    pub(super) fn transmit(&mut self, flow: Flow, bytes: Bytes) {
        if !flow.transport.is_reliable() {
            return self.outputs.push_back(Output::Send { socket: flow.socket, to: flow.remote, bytes });
        }
        if flow.shard != self.id && flow.stream.is_some() {
            let mail = Mail::Transmit(Transmit { flow, bytes });
            return self.outputs.push_back(Output::Mail { to: flow.shard, mail });
        }
        match self.streams.way(self.now, &flow, bytes) {
            Way::Send(stream, bytes) => self.outputs.push_back(Output::StreamSend { stream, bytes }),
            Way::Connect(stream, to) => self.outputs.push_back(Output::Connect { stream, to }),
            Way::Waits => {}
            Way::Nowhere => {
                self.counters.count_drop(DropReason::SendError);
                self.engine.handle_flow_failure(self.now, &flow);
            }
        }
    }
}

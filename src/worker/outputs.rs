//! What a shard wants done: sent by the driver, posted to other shards, handed to the log, the record writer and the keeper.

use std::net::SocketAddr;

use crossbeam::channel::TrySendError;

use super::{Core, Worker};
use crate::base::SocketKey;
use crate::io::{Refused, UdpOptions};
use crate::observe::{Counter, DropReason, Event, Level};
use crate::shard::{Input, Mail, Output};
use crate::tally::Note;

/// Records kept while the writer's queue is full. The shard refuses calls long before.
const RECORDS: usize = 1 << 16;

impl<C: Core> Worker<C> {
    pub(super) fn apply(&mut self, output: Output) {
        match output {
            Output::Send { socket, to, bytes } => {
                // The driver counts; for the shard a socket that is gone and one that fails are the same.
                if self.driver.send(socket, to, bytes).is_err() {
                    self.core.handle(self.now, Input::SendFailed { socket, to });
                }
            }
            Output::StreamSend { stream, bytes } => match self.driver.send_stream(stream, bytes) {
                Ok(()) => {}
                Err(refused) => {
                    // A peer that does not read is as good as gone: what was cut out of a stream cannot be sent later.
                    if refused == Refused::Full {
                        self.driver.close_stream(stream);
                    }
                    self.core.handle(self.now, Input::StreamClosed { stream });
                }
            },
            Output::Connect { stream, to } => {
                if let Err(error) = self.driver.connect(stream, to, None) {
                    let event = self.event(Level::Warn, "cannot connect").address("peer", to);
                    self.emit(event.text("error", error.to_string()));
                    self.core.handle(self.now, Input::StreamClosed { stream });
                }
            }
            Output::CloseStream { stream } => self.driver.close_stream(stream),
            Output::OpenUdp { socket, bind, dscp } => self.open_media(socket, bind, dscp),
            Output::SetDscp { socket, dscp } => {
                if let Err(error) = self.driver.set_dscp(socket, dscp) {
                    let event = self.event(Level::Warn, "cannot set DSCP").number("dscp", u64::from(dscp));
                    self.emit(event.text("error", error.to_string()));
                }
            }
            Output::Mail { to, mail } if to == self.options.shard => {
                self.core.handle(self.now, Input::Mail(mail));
            }
            Output::Mail { to, mail } => {
                let driver = &mut self.driver;
                let sent = self.options.post.post_by(to, mail, |waker| driver.wake(waker));
                self.options.counters.count(Counter::MailSent);
                if !sent {
                    self.options.counters.count_drop(DropReason::MailFull);
                }
            }
            Output::Record(record) => {
                if self.records.len() < RECORDS {
                    self.records.push_back(record);
                } else {
                    self.options.counters.count_drop(DropReason::RecordsFull);
                }
            }
            Output::Event(event) => self.emit(*event),
            Output::Note(note) => self.pass_on(note),
            Output::Stopped => self.stopped = true,
        }
    }

    fn open_media(&mut self, socket: SocketKey, bind: SocketAddr, dscp: u8) {
        let receive_buffer_bytes = self.options.media_receive_buffer_bytes;
        let options = UdpOptions { dscp, receive_buffer_bytes, ..UdpOptions::media(bind) };
        if let Err(error) = self.driver.open_udp(socket, &options) {
            let event = self.event(Level::Warn, "cannot open a media port").address("address", bind);
            self.emit(event.text("error", error.to_string()));
            self.core.handle(self.now, Input::SocketFailed { socket });
        }
    }

    pub(super) fn event(&self, level: Level, what: &'static str) -> Event {
        Event::new(self.now, self.options.shard, level, what)
    }

    pub(super) fn emit(&self, event: Event) {
        let outlets = &self.options.outlets;
        if outlets.verbosity.takes(event.level as u8) && outlets.events.try_send(event).is_err() {
            self.options.counters.count_drop(DropReason::EventsFull);
        }
    }

    fn pass_on(&mut self, note: Note) {
        let Some(notes) = &self.options.outlets.notes else { return };
        match notes.try_send(note) {
            Ok(()) => {}
            // Nothing hangs on a wish, and a call that asked hears no answer in time.
            Err(TrySendError::Full(note)) => {
                self.options.counters.count_drop(DropReason::NotesFull);
                self.notes_lost |= !matches!(note, Note::Wanted { .. } | Note::Borrow { .. } | Note::Phones { .. });
            }
            Err(TrySendError::Disconnected(_)) => self.options.counters.count_drop(DropReason::NotesFull),
        }
    }

    /// Once there is room again, the keeper hears of all calls anew, in the same queue: nothing that was lost stays lost.
    pub(super) fn make_up_for_notes(&mut self) {
        let Some(notes) = self.options.outlets.notes.as_ref().filter(|_| self.notes_lost) else { return };
        if notes.len() * 2 <= notes.capacity().unwrap_or(usize::MAX) {
            self.notes_lost = false;
            self.core.handle(self.now, Input::Mail(Mail::TellCalls));
            while let Some(output) = self.core.poll_output() {
                self.apply(output);
            }
        }
    }

    /// Records wait here while the writer's queue is full, and the shard is told how many wait in all.
    pub(super) fn pass_on_records(&mut self) {
        while let Some(record) = self.records.pop_front() {
            match self.options.outlets.records.try_send(record) {
                Ok(()) => {}
                Err(TrySendError::Full(record)) => {
                    self.records.push_front(record);
                    break;
                }
                Err(TrySendError::Disconnected(_)) => self.options.counters.count_drop(DropReason::RecordsFull),
            }
        }
        self.core.set_records_waiting(self.records.len() + self.options.outlets.records.len());
    }
}

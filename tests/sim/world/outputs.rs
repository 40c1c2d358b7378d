//! What phones and shards want done in this world.

use super::{Happening, World};
use crate::pipe::End;
use crate::town;
use std::net::SocketAddr;
use strowger::base::StreamKey;
use strowger::base::time::Duration;
use strowger::phone::Output;
use strowger::shard::{self, Mail};

/// Longest time a letter lies in another shard's queue.
const MAIL_DELAY_MAX_NS: u64 = 2_000_000;

impl World {
    /// Carries out what phones and shards want; call it after acting on a phone from outside.
    pub fn drain(&mut self) {
        for index in 0..self.stations.len() {
            while let Some(output) = self.stations[index].phone.poll_output() {
                self.apply_station(index, output);
            }
        }
        for shard in 0..self.appliance.as_ref().map_or(0, |appliance| appliance.shards.len()) {
            while let Some(output) = self.appliance.as_mut().and_then(|appliance| appliance.poll(shard)) {
                self.apply_shard(shard, output);
            }
        }
    }

    fn apply_station(&mut self, index: usize, output: Output) {
        let station = &mut self.stations[index];
        let (local, life) = (station.phone.options().local, station.life);
        let held = |stream: StreamKey| move |end: End| end == End::Station(index, life, stream);
        match output {
            Output::Datagram { to, bytes } => {
                self.see(index, true, &bytes);
                self.last_message = bytes.clone();
                self.send(local, to, bytes);
            }
            Output::Media { port, to, bytes } => self.send(SocketAddr::new(local.ip(), port), to, bytes),
            Output::Connect { stream, to } => self.connect(End::Station(index, life, stream), local, to),
            Output::Stream { stream, bytes } => {
                self.see(index, true, &bytes);
                let pipe = self.pipe_of(held(stream));
                self.send_on(pipe, &bytes);
            }
            Output::CloseStream(stream) => {
                let pipe = self.pipe_of(held(stream));
                self.close(pipe);
            }
            Output::OpenMedia(port) => {
                station.ports.insert(port);
            }
            Output::CloseMedia(port) => {
                station.ports.remove(&port);
            }
            Output::Event(event) => {
                let line = format!("{:>9.3} ms  {} {event:?}", self.now.as_nanos() as f64 / 1e6, station.name);
                self.trace.say(line);
                station.events.push((self.now, event));
            }
        }
    }

    fn apply_shard(&mut self, shard: usize, output: shard::Output) {
        let Some(appliance) = &mut self.appliance else { return };
        let held = |stream: StreamKey| move |end: End| end == End::Shard(shard, stream);
        match output {
            shard::Output::Send { socket, to, bytes } => {
                let Some(from) = appliance.address(shard, socket) else { return };
                let off = self.places.get(&to.ip()).is_some_and(|index| self.stations[*index].off_until > self.now);
                if off && appliance.hears_sip(from) {
                    let at = self.now + self.network.delay();
                    self.push(at, Happening::Socket { shard, socket, to: Some(to) });
                    return;
                }
                self.last_message = bytes.clone();
                self.send(from, to, bytes);
            }
            shard::Output::StreamSend { stream, bytes } => {
                let pipe = self.pipe_of(held(stream));
                self.send_on(pipe, &bytes);
            }
            shard::Output::Connect { stream, to } => {
                let from = SocketAddr::new(town::server_of(to.ip()).ip(), 40_000 + (stream.0 % 20_000) as u16);
                self.connect(End::Shard(shard, stream), from, to);
            }
            shard::Output::CloseStream { stream } => {
                let pipe = self.pipe_of(held(stream));
                self.close(pipe);
            }
            shard::Output::OpenUdp { socket, bind, .. } => {
                if self.network.refuses_socket() {
                    appliance.ports_refused += 1;
                    self.push(self.now, Happening::Socket { shard, socket, to: None });
                } else {
                    appliance.open(shard, socket, bind);
                }
            }
            shard::Output::Mail { to, mail } => {
                let last = self.mail_last.get(&(shard, to)).copied().unwrap_or_default();
                let delay = Duration::from_nanos(self.random.below(MAIL_DELAY_MAX_NS));
                let at = (self.now + delay).max(last);
                self.mail_last.insert((shard, to), at);
                self.push(at, Happening::Mail { to, mail: Box::new(mail) });
            }
            shard::Output::Record(record) => appliance.records.push(*record),
            shard::Output::Event(event) => {
                let line = format!("{:>9.3} ms  shard {shard} {event:?}", self.now.as_nanos() as f64 / 1e6);
                self.trace.say(line);
            }
            shard::Output::Note(note) => {
                let line = format!("{:>9.3} ms  shard {shard} {note:?}", self.now.as_nanos() as f64 / 1e6);
                self.trace.say(line);
                let Some(keeper) = &mut self.keeper else { return };
                if let Some((at, to, mail)) = keeper.note(self.now, &appliance.directory, note) {
                    self.rights_posted += usize::from(matches!(mail, Mail::Right { permit: Some(_), .. }));
                    self.push(at, Happening::Mail { to, mail: Box::new(mail) });
                }
            }
            shard::Output::Stopped => {
                appliance.stopped.insert(shard);
            }
            shard::Output::SetDscp { .. } => {}
        }
    }
}

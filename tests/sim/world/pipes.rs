//! Connections of this world: who is at their ends, and what comes out of them piece by piece.

use super::{Happening, World};
use crate::pipe::{End, Piece, Pipe};
use bytes::Bytes;
use std::net::SocketAddr;
use strowger::base::StreamKey;
use strowger::base::time::Duration;
use strowger::phone::StreamInput;
use strowger::shard::Input;

/// A stream that meets a cut or a sleeper tries again after this.
const STREAM_RETRY: Duration = Duration::from_millis(50);

impl World {
    pub(super) fn push_piece(&mut self, pipe: usize, toward: usize, piece: Piece) {
        let at = (self.now + self.network.delay()).max(self.pipes[pipe].last[toward] + Duration::from_nanos(1));
        self.pipes[pipe].last[toward] = at;
        self.pipes[pipe].queues[toward].push_back(piece);
        self.push(at, Happening::Pipe { pipe, toward });
    }

    pub(super) fn connect(&mut self, asker: End, from: SocketAddr, to: SocketAddr) {
        let mut listener = None;
        let holder = if let Some(index) = self.places.get(&to.ip()).copied() {
            let station = &self.stations[index];
            let options = station.phone.options();
            let hears = station.off_until <= self.now && options.local == to && options.transport.is_reliable();
            let name = StreamKey(StreamKey::ACCEPTED | self.pipes.len() as u64);
            if hears { End::Station(index, station.life, name) } else { End::Nobody }
        } else if let Some((key, name)) = self.appliance.as_mut().and_then(|appliance| appliance.accept(to)) {
            listener = Some(key);
            let shards = self.appliance.as_ref().map_or(1, |appliance| appliance.shards.len());
            End::Shard(self.network.pick(shards), name)
        } else {
            End::Nobody
        };
        self.pipes.push(Pipe::new([asker, holder], [from, to], self.now));
        let pipe = self.pipes.len() - 1;
        if holder == End::Nobody {
            self.push_piece(pipe, 0, Piece::Closed);
        } else {
            self.push_piece(pipe, 1, Piece::Open { listener });
            self.push_piece(pipe, 0, Piece::Open { listener: None });
        }
    }

    pub(super) fn pipe_of(&self, holder: impl Fn(End) -> bool) -> Option<(usize, usize)> {
        self.pipes.iter().enumerate().rev().find_map(|(pipe, ends)| {
            let side = ends.ends.iter().position(|end| holder(*end))?;
            Some((pipe, side))
        })
    }

    pub(super) fn send_on(&mut self, pipe: Option<(usize, usize)>, bytes: &Bytes) {
        let Some((pipe, side)) = pipe else { return };
        let mut rest = bytes.clone();
        while !rest.is_empty() {
            let piece = rest.split_to(self.network.pieces(rest.len()));
            self.push_piece(pipe, 1 - side, Piece::Data(piece));
        }
    }

    pub(super) fn close(&mut self, pipe: Option<(usize, usize)>) {
        let Some((pipe, side)) = pipe else { return };
        self.pipes[pipe].ends[side] = End::Nobody;
        self.push_piece(pipe, 1 - side, Piece::Closed);
    }

    pub(super) fn piece(&mut self, pipe: usize, toward: usize) {
        let now = self.now;
        let Pipe { ends, addresses, .. } = &self.pipes[pipe];
        let (end, peer, own) = (ends[toward], addresses[1 - toward], addresses[toward]);
        let paused = match end {
            End::Station(index, ..) => self.stations[index].paused_until,
            End::Shard(shard, _) => self.appliance.as_ref().map_or(now, |appliance| appliance.paused_until[shard]),
            End::Nobody => now,
        };
        if paused > now || self.network.is_cut(now, peer.ip(), own.ip()) {
            self.push(paused.max(now + STREAM_RETRY), Happening::Pipe { pipe, toward });
            return;
        }
        let Some(piece) = self.pipes[pipe].queues[toward].pop_front() else { return };
        if matches!(piece, Piece::Closed) {
            self.pipes[pipe].ends[toward] = End::Nobody;
        }
        match end {
            End::Station(index, life, stream) if self.stations[index].life == life => {
                self.trace.note(now, &format!("stream to {}", self.stations[index].name), &[]);
                let phone = &mut self.stations[index].phone;
                match piece {
                    Piece::Open { .. } => phone.handle_stream(now, stream, StreamInput::Open(peer)),
                    Piece::Data(bytes) => {
                        phone.handle_stream(now, stream, StreamInput::Data(&bytes));
                        self.see(index, false, &bytes);
                    }
                    Piece::Closed => phone.handle_stream(now, stream, StreamInput::Closed),
                }
            }
            End::Shard(shard, stream) => {
                self.trace.note(now, &format!("stream to shard {shard}"), &[]);
                let Some(appliance) = &mut self.appliance else { return };
                let input = match &piece {
                    Piece::Open { listener: Some(listener) } => {
                        Input::StreamAccepted { listener: *listener, stream, remote: peer }
                    }
                    Piece::Open { listener: None } => Input::StreamConnected { stream },
                    Piece::Data(bytes) => Input::StreamData { stream, bytes },
                    Piece::Closed => Input::StreamClosed { stream },
                };
                appliance.shards[shard].handle(now, input);
            }
            _ => {}
        }
    }
}

//! Virtual time and everything in it: phones, shards, the network, one queue of what happens next.

use crate::appliance::Appliance;
use crate::keeper::Keeper;
use crate::network::{Faults, Network};
use crate::pipe::{End, Piece, Pipe};
use crate::station::Station;
use crate::town;
use crate::trace::Trace;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use strowger::base::time::Duration;
use strowger::base::{Instant, Random, ShardId, SocketKey, StreamKey};
use strowger::media::model::Fate;
use strowger::phone::{Options, Output, StreamInput};
use strowger::shard::{self, Input, Mail, Waiting};

/// One take-over in so many steps.
const TAKE_OVER_ONE_IN: u64 = 30;
/// Longest time a letter lies in another shard's queue.
const MAIL_DELAY_MAX_NS: u64 = 2_000_000;
/// A stream that meets a cut or a sleeper tries again after this.
const STREAM_RETRY: Duration = Duration::from_millis(50);

enum Happening {
    Datagram {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Bytes,
        /// Past the kernel: it waits in a socket.
        up: bool,
    },
    Pipe {
        pipe: usize,
        toward: usize,
    },
    Mail {
        to: ShardId,
        mail: Box<Mail>,
    },
    /// What the kernel says of a socket: it could not be opened, or nobody listens at the far end (ICMP).
    Socket {
        shard: usize,
        socket: SocketKey,
        to: Option<SocketAddr>,
    },
}

/// A SIP message as a station saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub at: Instant,
    pub station: usize,
    pub sent: bool,
    pub bytes: Bytes,
}

/// See the head of this file.
pub struct World {
    pub now: Instant,
    pub stations: Vec<Station>,
    pub appliance: Option<Appliance>,
    /// Decides with other sites, where there are any.
    pub keeper: Option<Keeper>,
    /// Rights in letters that have not arrived.
    pub rights_posted: usize,
    pub network: Network,
    pub trace: Trace,
    /// What stations sent and received, where somebody wants to know.
    pub seen: Option<Vec<Seen>>,
    /// The last SIP message that went by datagram, for those who would like to send something like it.
    pub last_message: Bytes,
    places: BTreeMap<IpAddr, usize>,
    /// What came to those who are no phones.
    heard: BTreeMap<IpAddr, Vec<Bytes>>,
    pipes: Vec<Pipe>,
    queue: BTreeMap<(Instant, u64), Happening>,
    happenings: u64,
    mail_last: BTreeMap<(usize, ShardId), Instant>,
    random: Random,
    /// Decides when a shard is taken over by another process, where that happens.
    take_overs: Option<Random>,
    /// What went wrong in one.
    pub misfortune: Option<String>,
}

impl World {
    pub fn new(seed: u64, faults: Faults, verbose: bool) -> Self {
        let mut random = Random::from_u64(seed);
        Self {
            now: Instant::from_millis(1),
            stations: Vec::new(),
            appliance: None,
            keeper: None,
            rights_posted: 0,
            network: Network::new(faults, random.fork()),
            trace: Trace::new(verbose),
            seen: None,
            last_message: Bytes::new(),
            places: BTreeMap::new(),
            heard: BTreeMap::new(),
            pipes: Vec::new(),
            queue: BTreeMap::new(),
            happenings: 0,
            mail_last: BTreeMap::new(),
            random,
            take_overs: None,
            misfortune: None,
        }
    }

    /// From now on shards are taken over by other processes at any instant.
    pub fn take_over_by(&mut self, random: Random) {
        self.take_overs = Some(random);
    }

    fn take_over(&mut self) {
        let (Some(random), Some(appliance)) = (&mut self.take_overs, &mut self.appliance) else { return };
        if random.below(TAKE_OVER_ONE_IN) == 0 {
            let shard = random.below(appliance.shards.len() as u64) as usize;
            let waiting = if random.below(2) == 0 { Waiting::Below } else { Waiting::OnSockets };
            self.misfortune = appliance.take_over(self.now, shard, waiting).err();
            self.trace.say(format!("{:>9.3} ms  shard {shard} is taken over", self.now.as_nanos() as f64 / 1e6));
        }
    }

    /// Randomness of its own for whoever acts in this world.
    pub fn fork_random(&mut self) -> Random {
        self.random.fork()
    }

    /// Puts a phone into the world; each has an IP address of its own.
    pub fn add(&mut self, name: &str, options: Options) -> usize {
        let index = self.stations.len();
        self.places.insert(options.local.ip(), index);
        let random = self.random.fork();
        self.stations.push(Station::new(name, options, random));
        index
    }

    /// Gives a phone another address in the middle of things; it says so in a re-INVITE (RFC 3665 §3.7).
    pub fn move_station(&mut self, index: usize) {
        let old = self.stations[index].ip();
        let IpAddr::V4(ip) = old else { return };
        let [a, b, c, d] = ip.octets();
        let ip = IpAddr::from([a, b, c + 1, d]);
        self.places.remove(&old);
        self.places.insert(ip, index);
        let now = self.now;
        self.stations[index].phone.move_to(now, ip);
    }

    /// Switches a phone off and on; its connections break.
    pub fn restart(&mut self, index: usize) {
        self.stations[index].restart();
        self.trace.note(self.now, &format!("restart of {}", self.stations[index].name), &[]);
        for pipe in 0..self.pipes.len() {
            for side in 0..2 {
                if matches!(self.pipes[pipe].ends[side], End::Station(holder, ..) if holder == index) {
                    self.pipes[pipe].ends[side] = End::Nobody;
                    self.push_piece(pipe, 1 - side, Piece::Closed);
                }
            }
        }
    }

    fn push(&mut self, at: Instant, happening: Happening) {
        self.happenings += 1;
        self.queue.insert((at, self.happenings), happening);
    }

    /// Anybody sends anything.
    pub fn intrude(&mut self, from: SocketAddr, to: SocketAddr, bytes: Bytes) {
        self.send(from, to, bytes);
    }

    /// What comes to these addresses is kept.
    pub fn listen_at(&mut self, addresses: impl IntoIterator<Item = IpAddr>) {
        self.heard.extend(addresses.into_iter().map(|address| (address, Vec::new())));
    }

    /// What has come to an address, oldest first.
    pub fn heard(&self, address: IpAddr) -> &[Bytes] {
        self.heard.get(&address).map_or(&[], Vec::as_slice)
    }

    /// Begins to listen anew.
    pub fn forget_heard(&mut self) {
        self.heard.values_mut().for_each(Vec::clear);
    }

    /// A letter from the control plane.
    pub fn post(&mut self, to: ShardId, mail: Mail) {
        self.push(self.now, Happening::Mail { to, mail: Box::new(mail) });
    }

    fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: Bytes) {
        for at in self.network.arrivals(self.now, from.ip(), to.ip()).into_iter().flatten() {
            self.push(at, Happening::Datagram { from, to, bytes: bytes.clone(), up: false });
        }
    }

    fn push_piece(&mut self, pipe: usize, toward: usize, piece: Piece) {
        let at = (self.now + self.network.delay()).max(self.pipes[pipe].last[toward] + Duration::from_nanos(1));
        self.pipes[pipe].last[toward] = at;
        self.pipes[pipe].queues[toward].push_back(piece);
        self.push(at, Happening::Pipe { pipe, toward });
    }

    fn connect(&mut self, asker: End, from: SocketAddr, to: SocketAddr) {
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

    fn pipe_of(&self, holder: impl Fn(End) -> bool) -> Option<(usize, usize)> {
        self.pipes.iter().enumerate().rev().find_map(|(pipe, ends)| {
            let side = ends.ends.iter().position(|end| holder(*end))?;
            Some((pipe, side))
        })
    }

    fn send_on(&mut self, pipe: Option<(usize, usize)>, bytes: &Bytes) {
        let Some((pipe, side)) = pipe else { return };
        let mut rest = bytes.clone();
        while !rest.is_empty() {
            let piece = rest.split_to(self.network.pieces(rest.len()));
            self.push_piece(pipe, 1 - side, Piece::Data(piece));
        }
    }

    fn close(&mut self, pipe: Option<(usize, usize)>) {
        let Some((pipe, side)) = pipe else { return };
        self.pipes[pipe].ends[side] = End::Nobody;
        self.push_piece(pipe, 1 - side, Piece::Closed);
    }

    /// One thing happens, or time runs up to `end`; false when nothing is left before that.
    pub fn step(&mut self, end: Instant) -> bool {
        let stations = self.stations.iter().filter_map(Station::next_deadline).min();
        let shards = self.appliance.as_ref().and_then(Appliance::next_deadline);
        let queued = self.queue.first_key_value().map(|(key, _)| key.0);
        let Some(next) = [stations, shards, queued].into_iter().flatten().min().filter(|next| *next <= end) else {
            self.now = self.now.max(end);
            return false;
        };
        self.now = self.now.max(next);
        if queued.is_some_and(|queued| queued <= self.now) {
            if let Some((_, happening)) = self.queue.pop_first() {
                self.happen(happening);
            }
        } else {
            let now = self.now;
            for station in self.stations.iter_mut().filter(|station| station.paused_until.max(station.off_until) <= now)
            {
                station.phone.handle_timeout(now);
            }
            if let Some(appliance) = &mut self.appliance {
                appliance.handle_timeout(now);
            }
        }
        self.drain();
        self.take_over();
        true
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Datagram { from, to, bytes, up } => self.datagram(from, to, bytes, up),
            Happening::Pipe { pipe, toward } => self.piece(pipe, toward),
            Happening::Mail { to, mail } => {
                let paused = self.appliance.as_ref().map_or(Instant::ZERO, |a| a.paused_until[usize::from(to.0)]);
                if paused > self.now {
                    self.push(paused, Happening::Mail { to, mail });
                    return;
                }
                self.trace.note(self.now, &format!("mail to {}", to.0), &[]);
                self.rights_posted -= usize::from(matches!(*mail, Mail::Right { permit: Some(_), .. }));
                if let Some(appliance) = &mut self.appliance {
                    appliance.mail(self.now, to, *mail);
                }
            }
            Happening::Socket { shard, socket, to } => {
                self.trace.note(self.now, &format!("kernel to shard {shard}: {socket:?} {to:?}"), &[]);
                let Some(appliance) = &mut self.appliance else { return };
                let input = match to {
                    Some(to) => Input::SendFailed { socket, to },
                    None => Input::SocketFailed { socket },
                };
                appliance.shards[shard].handle(self.now, input);
            }
        }
    }

    fn datagram(&mut self, from: SocketAddr, to: SocketAddr, bytes: Bytes, up: bool) {
        let now = self.now;
        let fate = self.appliance.as_mut().filter(|_| !up).map(|appliance| appliance.below(now, from, to, &bytes));
        match fate {
            Some(Fate::Dropped) => return,
            Some(Fate::Relayed { from, to }) => return self.send(from, to, bytes),
            Some(Fate::Up) | None => {}
        }
        if let Some(heard) = self.heard.get_mut(&to.ip()) {
            heard.push(bytes);
            return;
        }
        let station = self.places.get(&to.ip()).copied();
        let place = self.appliance.as_ref().and_then(|appliance| {
            let place = appliance.socket(from, to)?;
            Some((place, appliance.paused_until[place.0]))
        });
        let paused = match (station, place) {
            (Some(index), _) => self.stations[index].paused_until,
            (None, Some((_, paused))) => paused,
            (None, None) => return,
        };
        if paused > now {
            self.push(paused, Happening::Datagram { from, to, bytes, up: true });
            return;
        }
        self.trace.note(now, &format!("datagram {from} -> {to}"), &bytes);
        if let Some(index) = station {
            let station = &mut self.stations[index];
            if station.off_until > now {
                return;
            }
            if to.port() == station.phone.options().local.port() {
                if !station.phone.options().transport.is_reliable() {
                    station.phone.handle_datagram(now, from, &bytes);
                    self.see(index, false, &bytes);
                }
            } else if station.ports.contains(&(to.port() & !1)) {
                station.phone.handle_media(now, to.port(), &bytes);
            }
        } else if let (Some(((shard, socket), _)), Some(appliance)) = (place, &mut self.appliance) {
            let mut bytes = bytes.to_vec();
            let forward = appliance.datagram(now, from, (shard, socket), &mut bytes);
            if let Some((from, to, len)) = forward {
                self.send(from, to, Bytes::copy_from_slice(&bytes[..len]));
            }
        }
    }

    fn piece(&mut self, pipe: usize, toward: usize) {
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

    fn see(&mut self, station: usize, sent: bool, bytes: &Bytes) {
        let at = self.now;
        if let Some(seen) = &mut self.seen {
            seen.push(Seen { at, station, sent, bytes: bytes.clone() });
        }
    }

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

    /// Runs for `time`, calling `check` after each thing that happens.
    pub fn run(
        &mut self,
        time: Duration,
        check: &mut dyn FnMut(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        let end = self.now + time;
        while self.step(end) {
            check(self)?;
            if let Some(why) = self.misfortune.take() {
                return Err(why);
            }
        }
        Ok(())
    }
}

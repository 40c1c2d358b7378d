//! Virtual time and everything in it: phones, shards, the network, one queue of what happens next.

mod datagrams;
mod outputs;
mod pipes;

use crate::appliance::Appliance;
use crate::keeper::Keeper;
use crate::network::{Faults, Network};
use crate::pipe::{End, Piece, Pipe};
use crate::station::Station;
use crate::trace::Trace;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use strowger::base::time::Duration;
use strowger::base::{Instant, Random, ShardId, SocketKey};
use strowger::phone::Options;
use strowger::shard::{Input, Mail, Waiting};

/// One take-over in so many steps.
const TAKE_OVER_ONE_IN: u64 = 30;

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

    pub(super) fn see(&mut self, station: usize, sent: bool, bytes: &Bytes) {
        let at = self.now;
        if let Some(seen) = &mut self.seen {
            seen.push(Seen { at, station, sent, bytes: bytes.clone() });
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

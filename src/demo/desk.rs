//! A desk of telephones on one thread: a driver below, [`Phone`]s above, one clock for all.

use crate::base::{Instant, Random, SocketKey, StreamKey, Transport};
use crate::io::{Driver, Forward, Handler, StreamEvent, UdpOptions};
use crate::phone::{Event, Options, Output, Phone, StreamInput};
use std::collections::{HashMap, VecDeque};
use std::io::Result;
use std::net::SocketAddr;
use std::time::Duration;

/// Socket keys per phone: signalling, listener, then media ports.
const KEYS_PER_PHONE: u32 = 1 << 16;
const SIGNALLING: u32 = 0;
const LISTENER: u32 = 1;
const MEDIA: u32 = 2;
/// Media sockets take bursts: all calls of a phone may be served in one batch.
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;

/// Nanoseconds since the desk was opened; the only clock its phones see.
#[derive(Clone, Copy, Debug)]
pub struct Clock(std::time::Instant);

impl Clock {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// The time.
    #[must_use]
    pub fn now(self) -> Instant {
        Instant::from_nanos(u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// Phones that share a thread and a driver.
pub struct Desk {
    driver: Box<dyn Driver>,
    late_max: Duration,
    room: Room,
}

struct Room {
    clock: Clock,
    now: Instant,
    phones: Vec<Phone>,
    /// A stream's phone and the name the phone knows it by.
    streams: HashMap<StreamKey, (usize, StreamKey)>,
    names: HashMap<(usize, StreamKey), StreamKey>,
    named: u64,
    events: VecDeque<(usize, Event)>,
    refused: u64,
    half_closed: Vec<StreamKey>,
}

impl Desk {
    /// An empty desk over `driver`.
    #[must_use]
    pub fn new(driver: Box<dyn Driver>, clock: Clock) -> Self {
        let room = Room {
            clock,
            now: clock.now(),
            phones: Vec::new(),
            streams: HashMap::new(),
            names: HashMap::new(),
            named: 0,
            events: VecDeque::new(),
            refused: 0,
            half_closed: Vec::new(),
        };
        Self { driver, late_max: Duration::ZERO, room }
    }

    /// Puts a phone on the desk. Port 0 in `options.local` becomes a free one.
    ///
    /// # Errors
    /// When its address cannot be bound.
    pub fn add(&mut self, mut options: Options, random: Random) -> Result<usize> {
        let index = self.room.phones.len();
        let base = index as u32 * KEYS_PER_PHONE;
        let signalling = UdpOptions::signalling(options.local);
        let bound = match options.transport {
            Transport::Udp => self.driver.open_udp(SocketKey(base + SIGNALLING), &signalling)?,
            _ => self.driver.listen(SocketKey(base + LISTENER), options.local, false)?,
        };
        options.local = bound;
        self.room.phones.push(Phone::new(options, random));
        Ok(index)
    }

    /// One of its phones.
    pub fn phone(&mut self, index: usize) -> &mut Phone {
        &mut self.room.phones[index]
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.room.clock.now()
    }

    /// How late the phones were at worst with what they had to do: large where the machine has too much to do.
    #[must_use]
    pub fn late_max(&self) -> Duration {
        self.late_max
    }

    /// The next thing a person would notice, and at which phone.
    pub fn poll_event(&mut self) -> Option<(usize, Event)> {
        self.room.events.pop_front()
    }

    /// Sends that the driver refused, and what the kernel dropped on the way in.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        let counters = self.driver.counters();
        self.room.refused + counters.send_dropped + counters.send_failed + counters.kernel_dropped
    }

    /// Does what is due, sends, and waits for the next thing, no longer than until `until`.
    ///
    /// # Errors
    /// When the driver is broken or a media port cannot be bound.
    pub fn step(&mut self, until: Instant) -> Result<()> {
        let now = self.room.clock.now();
        for phone in &mut self.room.phones {
            let due = phone.next_deadline().unwrap_or(now);
            self.late_max = self.late_max.max(now.since(due));
            phone.handle_timeout(now);
        }
        self.drain()?;
        let next = self.room.phones.iter().filter_map(Phone::next_deadline).min().unwrap_or(until).min(until);
        let wait = next.since(self.room.clock.now());
        self.driver.wait(Some(wait), &mut self.room)?;
        self.drain()
    }

    fn drain(&mut self) -> Result<()> {
        for stream in self.room.half_closed.drain(..) {
            self.driver.close_stream(stream);
        }
        for index in 0..self.room.phones.len() {
            while let Some(output) = self.room.phones[index].poll_output() {
                self.apply(index, output)?;
            }
        }
        Ok(())
    }

    fn apply(&mut self, index: usize, output: Output) -> Result<()> {
        let base = index as u32 * KEYS_PER_PHONE;
        let options = self.room.phones[index].options();
        let media_key = |port: u16| SocketKey(base + MEDIA + u32::from(port - options.media_port_min));
        let sent = match output {
            Output::Datagram { to, bytes } => self.driver.send(SocketKey(base + SIGNALLING), to, bytes),
            Output::Media { port, to, bytes } => self.driver.send(media_key(port), to, bytes),
            Output::Stream { stream, bytes } => match self.room.names.get(&(index, stream)) {
                Some(name) => self.driver.send_stream(*name, bytes),
                None => Ok(()),
            },
            Output::Connect { stream, to } => {
                self.room.named += 1;
                let name = StreamKey(self.room.named);
                self.room.streams.insert(name, (index, stream));
                self.room.names.insert((index, stream), name);
                // From the phone's own address: otherwise it would look as if it stood behind NAT.
                return self.driver.connect(name, to, Some(options.local.ip()));
            }
            Output::CloseStream(stream) => {
                if let Some(name) = self.room.names.remove(&(index, stream)) {
                    self.room.streams.remove(&name);
                    self.driver.close_stream(name);
                }
                Ok(())
            }
            Output::OpenMedia(port) => {
                for port in [port, port + 1] {
                    let bind = SocketAddr::new(options.media_address, port);
                    let socket = UdpOptions { receive_buffer_bytes: RECEIVE_BUFFER_BYTES, ..UdpOptions::media(bind) };
                    self.driver.open_udp(media_key(port), &socket)?;
                }
                Ok(())
            }
            Output::CloseMedia(port) => {
                self.driver.close_socket(media_key(port));
                self.driver.close_socket(media_key(port + 1));
                Ok(())
            }
            Output::Event(event) => {
                self.room.events.push_back((index, event));
                Ok(())
            }
        };
        self.room.refused += u64::from(sent.is_err());
        Ok(())
    }
}

impl Handler for Room {
    fn on_batch(&mut self) {
        self.now = self.clock.now();
    }

    fn on_datagram(&mut self, socket: SocketKey, from: SocketAddr, bytes: &mut [u8]) -> Option<Forward> {
        let (index, key) = ((socket.0 / KEYS_PER_PHONE) as usize, socket.0 % KEYS_PER_PHONE);
        let phone = self.phones.get_mut(index)?;
        if key == SIGNALLING {
            phone.handle_datagram(self.now, from, bytes);
        } else {
            let port = phone.options().media_port_min + u16::try_from(key - MEDIA).ok()?;
            phone.handle_media(self.now, port, bytes);
        }
        None
    }

    fn on_stream(&mut self, event: StreamEvent<'_>) {
        let (stream, input) = match event {
            StreamEvent::Accepted { listener, stream, remote, .. } => {
                let index = (listener.0 / KEYS_PER_PHONE) as usize;
                self.streams.insert(stream, (index, stream));
                self.names.insert((index, stream), stream);
                (stream, StreamInput::Open(remote))
            }
            StreamEvent::Data { stream, bytes } => (stream, StreamInput::Data(bytes)),
            StreamEvent::Closed { stream, .. } => (stream, StreamInput::Closed),
            StreamEvent::HalfClosed { stream } => {
                self.half_closed.push(stream);
                (stream, StreamInput::Closed)
            }
            StreamEvent::Connected { .. } => return,
        };
        let Some(&(index, name)) = self.streams.get(&stream) else { return };
        if matches!(input, StreamInput::Closed) {
            self.streams.remove(&stream);
            self.names.remove(&(index, name));
        }
        if let Some(phone) = self.phones.get_mut(index) {
            phone.handle_stream(self.now, name, input);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::talk::Talk;
    use super::*;
    use std::time::Duration;

    #[test]
    fn two_phones_talk_over_loopback_by_both_transports() {
        for (transport, host) in [(Transport::Udp, 71), (Transport::Tcp, 72)] {
            let driver = Box::new(crate::io::epoll::Epoll::new(crate::io::Options::default()).unwrap());
            let mut desk = Desk::new(driver, Clock::start());
            let mut random = Random::from_u64(1);
            let process = std::process::id().to_be_bytes();
            let address = |last: u8| SocketAddr::from(([127, host, process[3], last], 5060));
            for (last, other) in [(1, 2), (2, 1)] {
                let mut options = Options::new("phone", "example.com", address(last), address(other));
                options.transport = transport;
                desk.add(options, random.fork()).unwrap();
            }
            let mut tell = |_| {};
            let time = Duration::from_millis(200);
            let outcome = Talk::new(&mut desk, "sip:bob@example.com", 5, time, &mut tell).run().unwrap();
            assert!(outcome.calls_failed == 0 && outcome.packets_lost() == 0, "{outcome:?}");
            assert!(outcome.is_perfect() && outcome.packets_sent > 50 && outcome.setup.len() == 5);
        }
    }
}

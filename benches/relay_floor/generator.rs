//! Paces RTP on both ends of every call and checks what comes back.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Of each end of a call: G.711 in packets of 20 ms.
pub const PACKETS_PER_SECOND: usize = 50;
const PACKET_BYTES: usize = 172;

/// One end of a call: what a telephone has.
struct End {
    socket: UdpSocket,
    to: Option<SocketAddr>,
    sequence: u16,
    /// The other end's next sequence number.
    expected: Option<u16>,
    packet: [u8; PACKET_BYTES],
}

/// All calls. Ends 2n and 2n + 1 are the two of call n.
pub struct Generator {
    ends: Vec<End>,
    next: usize,
    /// Lost, out of order, or not what the other end sent.
    pub damaged: u64,
}

impl Generator {
    pub fn new(calls: usize) -> Self {
        let end = |index: usize| {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
            socket.set_nonblocking(true).expect("nonblocking");
            let mut packet = [0u8; PACKET_BYTES];
            packet[0] = 0x80;
            packet[8..12].copy_from_slice(&(index as u32).to_be_bytes());
            for (at, byte) in packet.iter_mut().enumerate().skip(12) {
                *byte = (at ^ index) as u8;
            }
            End { socket, to: None, sequence: 0, expected: None, packet }
        };
        Self { ends: (0..calls * 2).map(end).collect(), next: 0, damaged: 0 }
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn address(&self, end: usize) -> SocketAddr {
        self.ends[end].socket.local_addr().expect("address")
    }

    /// Where this end sends, and from where alone it receives.
    pub fn aim(&mut self, end: usize, to: SocketAddr) {
        self.ends[end].socket.connect(to).expect("connect");
        self.ends[end].to = Some(to);
    }

    /// Sends at the pace of all calls together, evenly spread, for so long.
    pub fn run(&mut self, duration: Duration) {
        let gap = Duration::from_secs_f64(1.0 / (self.ends.len() * PACKETS_PER_SECOND) as f64);
        let (start, mut due) = (Instant::now(), Duration::ZERO);
        while due < duration {
            // Sleeping leaves the core to others; it may oversleep by little, which the next packets make up for.
            while let Some(early) = due.checked_sub(start.elapsed()).filter(|early| !early.is_zero()) {
                std::thread::sleep(early);
            }
            self.step();
            due += gap;
        }
    }

    fn step(&mut self) {
        let end = self.next;
        self.next = (self.next + 1) % self.ends.len();
        self.receive(end);
        let End { socket, sequence, packet, .. } = &mut self.ends[end];
        *sequence = sequence.wrapping_add(1);
        packet[2..4].copy_from_slice(&sequence.to_be_bytes());
        let timestamp = u32::from(*sequence) * 160;
        packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
        socket.send(packet).expect("send");
    }

    fn receive(&mut self, end: usize) {
        let mut bytes = [0u8; 2048];
        while let Ok(len) = self.ends[end].socket.recv(&mut bytes) {
            let sequence = u16::from_be_bytes([bytes[2], bytes[3]]);
            let expected = *self.ends[end].expected.get_or_insert(sequence);
            let other = &self.ends[end ^ 1].packet;
            let whole = len == PACKET_BYTES && bytes[..2] == other[..2] && bytes[8..len] == other[8..];
            self.damaged += u64::from(!whole) + u64::from(sequence.wrapping_sub(expected));
            self.ends[end].expected = Some(sequence.wrapping_add(1));
        }
    }
}

//! The memory that the program and the appliance share, as `prog/relay.h` lays it out. Fields marked `net` are octets as they
//! stand in a packet. Every field is atomic, because the kernel reads and writes beside us.

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};

/// Where a pair of ports stands.
pub mod state {
    /// Nobody's: what comes is dropped.
    pub const CLOSED: u8 = 0;
    /// A stream's, relayed by sockets.
    pub const OPEN: u8 = 1;
    /// What the rule covers is relayed in the kernel.
    pub const SETTLED: u8 = 2;
}

/// One pair of ports. The first cache line and the last four fields are the shard's to write, the rest the program's.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub struct Row {
    /// In units of 64 jiffies; 0 = no rule.
    pub deadline: AtomicU32,
    /// Odd while the rule is being written.
    pub sequence: AtomicU32,
    /// net
    pub ssrc: AtomicU32,
    /// net: the first two octets of RTP, under [`RTP_MASK`].
    pub rtp: AtomicU16,
    /// Index of the next hop.
    pub hop: AtomicU16,
    /// net: source and destination port of a packet that comes.
    pub ports: AtomicU32,
    /// net: of a packet that goes.
    pub ports_out: AtomicU32,
    /// net: IPv4 in the last word.
    pub source: [AtomicU32; 4],
    /// net: the last 32 bits of the address it leaves by.
    pub from: AtomicU32,
    /// net: IPv4 in the first word, so that both addresses are one store.
    pub to: [AtomicU32; 4],
    /// What the rewriting adds to the UDP checksum.
    pub udp_change: AtomicU16,
    /// What it adds to the complement of the header checksum of IPv4, TTL and DSCP apart.
    pub ip_change: AtomicU16,

    /// Relayed. This and what follows counts for ever, modulo its width.
    pub packets: AtomicU32,
    /// Of RTP.
    pub octets: AtomicU32,
    /// When the last one came, in jiffies.
    pub last: AtomicU32,
    /// The highest sequence number.
    pub highest: AtomicU16,
    /// The generation that it belongs to.
    pub series: AtomicU16,
    /// Packets with the highest number once more.
    pub duplicates: AtomicU32,
    /// Packets from behind it.
    pub late: AtomicU32,
    /// Runs of missing numbers.
    pub gaps: AtomicU32,
    /// Numbers leapt over that were not lost.
    pub skipped: AtomicU32,
    /// Now.
    pub jitter_ns: AtomicU32,
    /// At its highest.
    pub jitter_ns_max: AtomicU32,
    /// Arrival of the packet that jitter is measured against.
    pub reference_ns: AtomicU64,
    /// Its timestamp.
    pub reference_timestamp: AtomicU32,
    /// Of the RTP clock, in 256ths; 0 leaves jitter alone.
    pub ns_per_unit_q8: AtomicU32,
    /// Another rule, another series.
    pub generation: AtomicU16,
    /// See [`state`].
    pub state: AtomicU8,
    /// Of what leaves.
    pub dscp: AtomicU8,
    spare: AtomicU32,
}

/// What of a packet's first two octets a rule fixes: version and payload type.
pub const RTP_MASK: u16 = 0x7fc0;

/// A neighbour on a device. It moves by one store of `hardware_low`.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Hop {
    /// net: the neighbour's hardware address and the first two octets of ours.
    pub hardware_low: AtomicU64,
    /// net: the rest of ours.
    pub hardware_high: AtomicU32,
    /// Of the device that sends; 0 = not known, or not fresh. See [`REDIRECT_ALWAYS`].
    pub ifindex: AtomicU32,
    /// net: the VLAN tag with its type; 0 = none.
    pub tag: AtomicU32,
    /// Octets of IP that fit.
    pub mtu: AtomicU16,
    /// Index into the map of devices.
    pub device: AtomicU16,
    spare: AtomicU64,
}

/// In a hop's `ifindex`: frames are redirected even to the device that they came by. A veth that sends back what it gets does
/// not wake a peer without a program, however long the queue there grows.
pub const REDIRECT_ALWAYS: u32 = 1 << 31;

/// Next hops at most.
pub const HOPS_MAX: usize = 4096;

/// Why packets were not relayed, for one CPU.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Totals {
    /// By [`Reason`].
    pub count: [AtomicU64; 16],
}

/// The kernel's clocks at one moment.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Moment {
    /// Ticks.
    pub jiffies: AtomicU64,
    /// `CLOCK_MONOTONIC`.
    pub ns: AtomicU64,
}

/// What is fixed when the program is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Constants {
    /// Our first IPv4 address, as a number.
    pub v4_base: u32,
    /// So many in a row; 0 = none.
    pub v4_count: u32,
    /// The first twelve octets of all our IPv6 addresses.
    pub v6_prefix: [u8; 12],
    /// The last 32 bits of the first one, as a number.
    pub v6_base: u32,
    /// So many in a row; 0 = none.
    pub v6_count: u32,
    /// Even.
    pub port_min: u16,
    /// Of ports.
    pub pairs: u32,
    /// Rows of [`Totals`].
    pub cpus: u32,
}

/// Octets of [`Constants`] as the program reads them.
pub const CONSTANTS_BYTES: usize = 48;

impl Constants {
    /// `struct constants`.
    #[must_use]
    pub fn encode(&self) -> [u8; CONSTANTS_BYTES] {
        let mut out = [0; CONSTANTS_BYTES];
        let words = [
            (0, self.v4_base),
            (4, self.v4_count),
            (20, self.v6_base),
            (24, self.v6_count),
            (28, u32::from(self.port_min)),
            (32, self.pairs),
            (36, self.cpus),
        ];
        for (at, value) in words {
            out[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        }
        out[8..20].copy_from_slice(&self.v6_prefix);
        out
    }
}

/// Why a packet was not relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Dropped: a port of the range that nobody has open.
    Closed,
    /// Dropped: from a blocked source.
    Blocked,
    /// The stream is relayed by sockets.
    Open,
    /// An odd port: RTCP.
    Control,
    /// The rule's time is over.
    Expired,
    /// Not from the party that the rule is for.
    Source,
    /// Too short for RTP, or another version.
    NotRtp,
    /// Another payload type or synchronisation source.
    Stream,
    /// The next hop is not known or not fresh.
    NoHop,
    /// Larger than the way out takes.
    TooBig,
    /// A fragment, options, lengths that differ, IPv6 without a checksum.
    Unusual,
    /// The rule was being written.
    Torn,
    /// Dropped: no room before the frame for a VLAN tag.
    NoRoom,
}

impl Reason {
    /// All of them, in the order of the counters.
    pub const ALL: [Self; 13] = [
        Self::Closed,
        Self::Blocked,
        Self::Open,
        Self::Control,
        Self::Expired,
        Self::Source,
        Self::NotRtp,
        Self::Stream,
        Self::NoHop,
        Self::TooBig,
        Self::Unusual,
        Self::Torn,
        Self::NoRoom,
    ];

    /// The label of a counter.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed_port",
            Self::Blocked => "blocked_source",
            Self::Open => "on_sockets",
            Self::Control => "rtcp",
            Self::Expired => "expired",
            Self::Source => "wrong_source",
            Self::NotRtp => "not_rtp",
            Self::Stream => "other_stream",
            Self::NoHop => "no_next_hop",
            Self::TooBig => "too_big",
            Self::Unusual => "unusual_packet",
            Self::Torn => "torn",
            Self::NoRoom => "no_room_for_tag",
        }
    }

    /// True where the packet was dropped, not passed up.
    #[must_use]
    pub const fn is_drop(self) -> bool {
        matches!(self, Self::Closed | Self::Blocked | Self::NoRoom)
    }
}

/// An address in four words of the network's order, IPv4 in the last.
#[must_use]
pub fn words(address: IpAddr) -> [u32; 4] {
    let octets = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    };
    let word = |at: usize| u32::from_ne_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]]);
    [word(0), word(4), word(8), word(12)]
}

/// Source and destination port as they stand in a UDP header.
#[must_use]
pub fn ports(source: u16, destination: u16) -> u32 {
    let ([a, b], [c, d]) = (source.to_be_bytes(), destination.to_be_bytes());
    u32::from_ne_bytes([a, b, c, d])
}

/// What replacing the addresses `old` (source, destination) by `new` adds to checksums (RFC 1624): the addresses alone to the
/// complement of that of the IPv4 header; with the ports, to that of UDP itself, where the sum is then never zero.
#[must_use]
pub fn changes(old: [SocketAddr; 2], new: [SocketAddr; 2]) -> (u16, u16) {
    let mut sum = 0u64;
    let mut add = |words: [u32; 4], sign: bool| {
        for word in words {
            let (low, high) = (word as u16, (word >> 16) as u16);
            for half in [low, high] {
                sum += u64::from(if sign { half } else { !half });
            }
        }
        fold(sum)
    };
    let mut addresses = 0;
    for (address, sign) in [(old[0], false), (old[1], false), (new[0], true), (new[1], true)] {
        let bytes = if address.is_ipv4() { [0, 0, 0, words(address.ip())[3]] } else { words(address.ip()) };
        addresses = add(bytes, sign);
    }
    add([ports(old[0].port(), old[1].port()), 0, 0, 0], false);
    let all = add([ports(new[0].port(), new[1].port()), 0, 0, 0], true);
    (addresses, !all)
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn shapes_are_those_of_the_program() {
        assert_eq!((size_of::<Row>(), align_of::<Row>(), size_of::<Hop>(), size_of::<Totals>()), (128, 128, 32, 128));
        let row = [
            offset_of!(Row, rtp),
            offset_of!(Row, ports),
            offset_of!(Row, ports_out),
            offset_of!(Row, source),
            offset_of!(Row, from),
            offset_of!(Row, to),
            offset_of!(Row, udp_change),
            offset_of!(Row, packets),
            offset_of!(Row, highest),
            offset_of!(Row, duplicates),
            offset_of!(Row, jitter_ns),
            offset_of!(Row, reference_ns),
            offset_of!(Row, ns_per_unit_q8),
            offset_of!(Row, generation),
            offset_of!(Row, state),
            offset_of!(Row, dscp),
        ];
        assert_eq!(row, [12, 16, 20, 24, 40, 44, 60, 64, 76, 80, 96, 104, 116, 120, 122, 123]);
        let hop =
            [offset_of!(Hop, hardware_high), offset_of!(Hop, ifindex), offset_of!(Hop, tag), offset_of!(Hop, mtu)];
        assert_eq!(hop, [8, 12, 16, 20]);
    }

    #[test]
    fn reasons_are_counted_where_the_program_counts_them() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{}", reason.as_str());
        }
    }

    #[test]
    fn a_change_takes_the_old_words_out_and_puts_the_new_ones_in() {
        let at = |text: &str| text.parse().unwrap();
        let (addresses, all) = changes([at("1.2.3.4:5"), at("1.2.3.5:6")], [at("1.2.3.4:5"), at("1.2.3.5:6")]);
        assert_eq!((addresses, all), (0xffff, 0), "nothing changed: minus zero");
        let (addresses, all) = changes([at("0.0.0.0:0"), at("0.0.0.0:0")], [at("0.0.0.1:0"), at("0.0.0.0:2")]);
        let net = |value: u16| u16::from_ne_bytes(value.to_be_bytes());
        assert_eq!((addresses, all), (net(1), !net(3)));
    }
}

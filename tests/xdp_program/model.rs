//! What should become of a frame: read field by field, decided by `media::relay::apply`, written out anew.

use crate::frames::{sum, udp_sum};
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use strowger::base::SocketKey;
use strowger::media::FastRule;
use strowger::media::relay::{Applied, Expect, Miss, Rule, apply};
use strowger::xdp::layout::Reason;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Drop = 1,
    Pass = 2,
    Transmit = 3,
    Redirect = 4,
}

/// A neighbour as the model sees it.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    pub hardware: [u8; 12],
    pub known: bool,
    pub tag: Option<u16>,
    pub mtu: usize,
    pub same_device: bool,
}

/// A pair of ports.
#[derive(Clone, Debug, Default)]
#[allow(clippy::large_enum_variant, reason = "there are a few dozen of them")]
pub enum Pair {
    #[default]
    Closed,
    Open,
    Settled {
        rule: Rule,
        fast: FastRule,
        way: Way,
        expired: bool,
        torn: bool,
    },
}

impl Pair {
    pub fn settled(fast: FastRule, way: Way) -> Self {
        let expect = Expect::new(fast.payload_type, fast.ssrc).expect("a payload type of RTP");
        let rule = Rule { source: fast.source, socket: SocketKey(0), to: fast.to, expect, packets: 0, bytes: 0 };
        Self::Settled { rule, fast, way, expired: false, torn: false }
    }
}

pub struct Model {
    pub v4: Ipv4Addr,
    pub v6: Ipv6Addr,
    pub port_min: u16,
    /// By family.
    pub pairs: [Vec<Pair>; 2],
    pub blocked: HashSet<IpAddr>,
    pub totals: [u64; 16],
}

/// An IP packet's fields as far as they decide.
struct Datagram {
    from: SocketAddr,
    payload: std::ops::Range<usize>,
}

impl Model {
    /// The verdict, and the frame afterwards.
    pub fn judge(&mut self, frame: &[u8]) -> (Verdict, Vec<u8>) {
        match self.consider(frame) {
            Ok(relayed) => relayed,
            Err((verdict, reason)) => {
                if let Some(reason) = reason {
                    self.totals[reason as usize] += 1;
                }
                (verdict, frame.to_vec())
            }
        }
    }

    fn consider(&mut self, frame: &[u8]) -> Result<(Verdict, Vec<u8>), (Verdict, Option<Reason>)> {
        let foreign = Err((Verdict::Pass, None));
        let kind = |at: usize| frame.get(at..at + 2).map(|octets| u16::from_be_bytes([octets[0], octets[1]]));
        let (tagged, kind, head) = match kind(12) {
            Some(0x8100) => (true, kind(16), 18),
            other => (false, other, 14),
        };
        let ip = frame.get(head..).unwrap_or_default();
        let (v6, minimum) = match kind {
            Some(0x0800) => (false, 20),
            Some(0x86dd) => (true, 40),
            _ => return foreign,
        };
        if ip.len() < minimum || ip[0] >> 4 != if v6 { 6 } else { 4 } || (!v6 && ip[0] & 15 < 5) {
            return foreign;
        }
        let source = if v6 { IpAddr::from(array::<16>(ip, 8)) } else { IpAddr::from(array::<4>(ip, 12)) };
        let udp = ip[if v6 { 6 } else { 9 }] == 17;
        let result = self.consider_ip(ip, v6, source);
        match result {
            Ok(payload) => Ok(self.relay(frame, tagged, ip, v6, payload)),
            Err((Verdict::Pass, reason)) if (udp || reason.is_some()) && self.is_blocked(source) => {
                // Both are counted: why no rule took it, and that its source is blocked.
                if let Some(reason) = reason {
                    self.totals[reason as usize] += 1;
                }
                Err((Verdict::Drop, Some(Reason::Blocked)))
            }
            Err(other) => Err(other),
        }
    }

    fn is_blocked(&self, source: IpAddr) -> bool {
        self.blocked.iter().any(|blocked| match (blocked, source) {
            (IpAddr::V6(blocked), IpAddr::V6(source)) => blocked.octets()[..8] == source.octets()[..8],
            (blocked, source) => *blocked == source,
        })
    }

    /// Ok with the place of the pair where it is to be relayed.
    fn consider_ip(&mut self, ip: &[u8], v6: bool, source: IpAddr) -> Result<usize, (Verdict, Option<Reason>)> {
        let pass = |reason| Err((Verdict::Pass, Some(reason)));
        let to: IpAddr = if v6 { array::<16>(ip, 24).into() } else { array::<4>(ip, 16).into() };
        let (ours, protocol, udp) = if v6 { (self.v6.into(), ip[6], 40) } else { (IpAddr::from(self.v4), ip[9], 20) };
        if to != ours {
            return Err((Verdict::Pass, None));
        }
        match protocol {
            17 => {}
            44 if v6 => return pass(Reason::Unusual),
            _ => return Err((Verdict::Pass, None)),
        }
        if !v6 && (ip[0] != 0x45 || (word(ip, 6) & 0x3fff) != 0) {
            return pass(Reason::Unusual);
        }
        if ip.len() < udp + 8 {
            return Err((Verdict::Pass, None));
        }
        let port = word(ip, udp + 2);
        let Some(offset) = port.checked_sub(self.port_min) else { return Err((Verdict::Pass, None)) };
        let place = usize::from(offset / 2);
        let Some(pair) = self.pairs[usize::from(v6)].get_mut(place) else { return Err((Verdict::Pass, None)) };
        let (rule, way, torn) = match pair {
            Pair::Closed => return Err((Verdict::Drop, Some(Reason::Closed))),
            _ if port % 2 == 1 => return pass(Reason::Control),
            Pair::Open => return pass(Reason::Open),
            Pair::Settled { expired: true, .. } => return pass(Reason::Expired),
            Pair::Settled { rule, way, torn, .. } => (rule, *way, *torn),
        };
        let Some(datagram) = datagram(ip, v6, source) else { return pass(Reason::Unusual) };
        let before = *rule;
        let missed = match apply(rule, datagram.from, &ip[datagram.payload.clone()]) {
            Applied::Miss(Miss::Source) => Some(Reason::Source),
            Applied::Miss(Miss::NotRtp) => Some(Reason::NotRtp),
            Applied::Miss(Miss::Unexpected) => Some(Reason::Stream),
            Applied::Forward { .. } if !way.known => Some(Reason::NoHop),
            Applied::Forward { .. } if datagram.payload.end > way.mtu => Some(Reason::TooBig),
            Applied::Forward { .. } if torn => Some(Reason::Torn),
            Applied::Forward { .. } => None,
        };
        match missed {
            Some(reason) => {
                *rule = before;
                pass(reason)
            }
            None => Ok(place),
        }
    }

    fn relay(&self, frame: &[u8], tagged: bool, ip: &[u8], v6: bool, place: usize) -> (Verdict, Vec<u8>) {
        let Pair::Settled { fast, way, .. } = &self.pairs[usize::from(v6)][place] else { panic!("settled") };
        let mut out = way.hardware.to_vec();
        if let Some(tag) = way.tag {
            out.extend([0x81, 0]);
            out.extend(tag.to_be_bytes());
        }
        out.extend(if v6 { [0x86, 0xdd] } else { [8, 0] });
        let head = out.len();
        out.extend(ip);
        let new = &mut out[head..];
        let udp = if v6 { 40 } else { 20 };
        if v6 {
            let class = ip[0] << 4 | ip[1] >> 4;
            let class = fast.dscp << 2 | class & 3;
            (new[0], new[1]) = (0x60 | class >> 4, class << 4 | ip[1] & 15);
            new[7] = 64;
        } else {
            new[1] = fast.dscp << 2 | ip[1] & 3;
            new[8] = 64;
        }
        let (from, to) = (fast.from, fast.to);
        let addresses = match (from.ip(), to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => [from.octets(), to.octets()].concat(),
            (IpAddr::V6(from), IpAddr::V6(to)) => [from.octets(), to.octets()].concat(),
            _ => panic!("one family"),
        };
        new[udp - addresses.len()..udp].copy_from_slice(&addresses);
        new[udp..udp + 2].copy_from_slice(&from.port().to_be_bytes());
        new[udp + 2..udp + 4].copy_from_slice(&to.port().to_be_bytes());
        // A checksum stays as right or wrong as it came.
        if !v6 {
            let check = (65_535 + sum(&ip[..20]) - sum(&new[..20]) + u32::from(word(ip, 10))) % 65_535;
            new[10..12].copy_from_slice(&(check as u16).to_be_bytes());
        }
        if word(ip, udp + 6) != 0 {
            let check = (65_535 + udp_sum(ip) - udp_sum(new) + u32::from(word(ip, udp + 6))) % 65_535;
            let check = if check == 0 { 65_535 } else { check as u16 };
            new[udp + 6..udp + 8].copy_from_slice(&check.to_be_bytes());
        }
        let _ = (frame, tagged);
        (if way.same_device { Verdict::Transmit } else { Verdict::Redirect }, out)
    }
}

/// Where the payload is, if all lengths agree.
fn datagram(ip: &[u8], v6: bool, source: IpAddr) -> Option<Datagram> {
    let udp = if v6 { 40 } else { 20 };
    let length = usize::from(word(ip, udp + 4));
    let said = if v6 { usize::from(word(ip, 4)) + 40 } else { usize::from(word(ip, 2)) };
    if said != udp + length || said > ip.len() || (v6 && word(ip, udp + 6) == 0) {
        return None;
    }
    // A length below that of the header itself leaves no payload at all.
    let payload = (udp + 8).min(said)..said;
    Some(Datagram { from: SocketAddr::new(source, word(ip, udp)), payload })
}

fn array<const N: usize>(octets: &[u8], at: usize) -> [u8; N] {
    octets[at..at + N].try_into().expect("checked")
}

fn word(octets: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(array(octets, at))
}

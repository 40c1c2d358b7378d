//! Which source may send into a stream, and where its peer wants packets: latching that verifies before it learns.
//!
//! Anyone who knows a port can send to it, so that the first packet is no proof (the "RTP bleed" attack). The rules:
//!
//! * A peer that is not behind NAT is where its description says. Its address counts, its port may differ: a carrier may
//!   send from another port than it listens on, so that packets go to the signalled place; a phone (symmetric, RFC 4961)
//!   listens where it sends from, whatever port a NAT on the way made of it.
//! * A peer behind NAT is learnt from its first packets: from the address its signalling came from, or the signalled
//!   one, after [`NEAR_PACKETS`] of them; from elsewhere only after [`FAR_PACKETS`] packets that follow each other, which
//!   are not passed on while they are being verified, and only among the first [`FAR_BUDGET`] such packets.
//! * Once settled, nothing else is taken until signalling names another address. Strays are counted, no more.
//!
//! ```text
//!   signal            evidence from one source             signal (address changed)
//!  ────────> Open ─────────────────────────────> Settled ───────────────────────────> Open (old source still taken)
//! ```

use super::rtp::Header;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// Packets from the address of the signalling that settle a source behind NAT.
pub const NEAR_PACKETS: u8 = 2;
/// Packets in sequence that settle a source elsewhere.
pub const FAR_PACKETS: u8 = 4;
/// Packets from elsewhere that are looked at before learning is over for such sources.
pub const FAR_BUDGET: u8 = 16;
/// Packets in sequence that settle the old source again after its party has said that it moved.
pub const OLD_PACKETS: u8 = 25;

/// What signalling says about one peer's stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// From its description; none while unknown or where a name was given.
    pub address: Option<SocketAddr>,
    /// Where its SIP messages come from.
    pub signalled_from: Option<IpAddr>,
    /// True where the two do not fit, or the configuration says so.
    pub behind_nat: bool,
    /// It listens where it sends from (RFC 4961).
    pub symmetric: bool,
}

/// What a packet shows besides its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Evidence {
    /// An RTP packet, which must follow the one before.
    Rtp {
        /// Its source identifier.
        ssrc: u32,
        /// Its sequence number.
        sequence: u16,
    },
    /// RTCP, DTLS or raw datagrams.
    Other,
}

impl From<&Header> for Evidence {
    fn from(header: &Header) -> Self {
        Self::Rtp { ssrc: header.ssrc, sequence: header.sequence }
    }
}

/// What to do with the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// From the peer.
    Accept {
        /// This packet settled the source.
        settled: bool,
    },
    /// Perhaps from the peer; not to be passed on yet.
    Wait,
    /// Not from the peer.
    Stray,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Candidate {
    from: SocketAddr,
    last: Evidence,
    packets: u8,
}

/// How a source stands to what is known of the peer, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Stranger,
    Near,
    Exact,
}

/// The learnt source of one stream's packets, RTP or RTCP.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Latch {
    signal: Signal,
    /// The last address and signalling source that were known: a hold by address (none) is not a move.
    place: (Option<SocketAddr>, Option<IpAddr>),
    settled: Option<SocketAddr>,
    previous: Option<SocketAddr>,
    candidate: Option<Candidate>,
    far_seen: u8,
    companion: Option<IpAddr>,
}

impl Latch {
    /// Takes what signalling says. The same again changes nothing; another address starts learning anew, while the old
    /// source is taken until the new one has shown itself. Returns true where learning starts anew.
    pub fn signal(&mut self, mut signal: Signal) -> bool {
        if signal.address.is_none() && self.place.0.is_some() {
            // Held by address: it says nothing of the way to the peer.
            signal.behind_nat = self.signal.behind_nat;
        }
        if signal == self.signal {
            return false;
        }
        let (address, signalled_from) = self.place;
        let place = (signal.address.or(address), signal.signalled_from.or(signalled_from));
        let is_first_address = address.is_none();
        let moved = place != self.place && !is_first_address || signal.behind_nat != self.signal.behind_nat;
        self.signal = signal;
        self.place = place;
        if moved {
            self.previous = self.settled.take().or(self.previous);
            self.candidate = None;
            self.companion = None;
            self.far_seen = 0;
        }
        moved
    }

    /// Tells the address where the companion stream (RTP for RTCP) was found: as good as a signalled one.
    pub fn set_companion(&mut self, address: IpAddr) {
        self.companion = Some(address);
    }

    /// Judges a packet and learns from it.
    pub fn judge(&mut self, from: SocketAddr, evidence: Evidence) -> Judgement {
        if let Some(settled) = self.settled {
            if settled == from {
                return Judgement::Accept { settled: false };
            }
            // The signalled address needs no learning: a stray of the same host may have come first.
            if self.signal.behind_nat || self.signal.address != Some(from) {
                return Judgement::Stray;
            }
            return self.settle(from);
        }
        let standing = self.standing(from);
        if standing == Standing::Exact {
            return self.settle(from);
        }
        if self.previous == Some(from) {
            return self.judge_old(from, standing, evidence);
        }
        match standing {
            Standing::Stranger => self.judge_stranger(from, evidence),
            _ => self.judge_near(from, evidence),
        }
    }

    fn standing(&self, from: SocketAddr) -> Standing {
        let Signal { address, signalled_from, behind_nat, .. } = self.signal;
        if address == Some(from) {
            // Behind NAT a private address may be somebody else's: it is near, no more.
            return if behind_nat { Standing::Near } else { Standing::Exact };
        }
        let is = |known: Option<IpAddr>| known == Some(from.ip());
        let near = is(address.map(|address| address.ip())) || behind_nat && (is(signalled_from) || is(self.companion));
        if near { Standing::Near } else { Standing::Stranger }
    }

    fn judge_near(&mut self, from: SocketAddr, evidence: Evidence) -> Judgement {
        if self.observe(from, evidence) >= NEAR_PACKETS {
            return self.settle(from);
        }
        Judgement::Accept { settled: false }
    }

    /// In flight when the party moved, or a party that named another address and stayed where it was.
    fn judge_old(&mut self, from: SocketAddr, standing: Standing, evidence: Evidence) -> Judgement {
        if self.observe(from, evidence) >= OLD_PACKETS && standing >= Standing::Near {
            return self.settle(from);
        }
        Judgement::Accept { settled: false }
    }

    fn judge_stranger(&mut self, from: SocketAddr, evidence: Evidence) -> Judgement {
        let near_found = self.candidate.is_some_and(|have| self.standing(have.from) >= Standing::Near);
        // What cannot be checked for sequence proves nothing of a stranger.
        let provable = matches!(evidence, Evidence::Rtp { .. });
        if !self.signal.behind_nat || near_found || !provable || self.far_seen >= FAR_BUDGET {
            return Judgement::Stray;
        }
        self.far_seen += 1;
        if self.observe(from, evidence) >= FAR_PACKETS {
            return self.settle(from);
        }
        Judgement::Wait
    }

    /// Packets of this candidate that follow each other, this one included.
    fn observe(&mut self, from: SocketAddr, evidence: Evidence) -> u8 {
        let packets = match self.candidate {
            Some(have) if have.from == from && follows(have.last, evidence) => have.packets.saturating_add(1),
            _ => 1,
        };
        self.candidate = Some(Candidate { from, last: evidence, packets });
        packets
    }

    fn settle(&mut self, from: SocketAddr) -> Judgement {
        self.settled = Some(from);
        self.previous = None;
        self.candidate = None;
        Judgement::Accept { settled: true }
    }

    /// True where a packet from there would settle another source than the one that is.
    #[must_use]
    pub fn would_move(&self, from: SocketAddr) -> bool {
        self.settled != Some(from) && !self.signal.behind_nat && self.signal.address == Some(from)
    }

    /// The verified source.
    #[must_use]
    pub fn settled(&self) -> Option<SocketAddr> {
        self.settled
    }

    /// Where packets to this peer go now. A peer behind NAT whose description names an address that its signalling does
    /// not come from gets nothing until it has sent: that address may be a stranger's, or one of our own network.
    #[must_use]
    pub fn destination(&self) -> Option<SocketAddr> {
        let Signal { address, signalled_from, behind_nat, symmetric } = self.signal;
        if !behind_nat {
            return self.settled.filter(|_| symmetric).or(address);
        }
        let reachable = address.filter(|address| signalled_from == Some(address.ip()));
        self.settled.or(self.previous).or(reachable)
    }
}

/// Sequence numbers may skip a few packets that were lost, never stand still or go back.
fn follows(last: Evidence, next: Evidence) -> bool {
    match (last, next) {
        (Evidence::Rtp { ssrc, sequence }, Evidence::Rtp { ssrc: next_ssrc, sequence: next }) => {
            ssrc == next_ssrc && (1..=16).contains(&next.wrapping_sub(sequence))
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests;

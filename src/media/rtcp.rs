//! RTCP (RFC 3550 §6): reading compound packets for what a relay wants to know, writing what a phone sends.

use super::rtp;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;

/// What one receiver says of one source (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// The source it speaks of.
    pub ssrc: u32,
    /// Loss since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the start; negative where duplicates outnumber losses. 24 bits on the wire.
    pub lost: i32,
    /// Highest sequence number with its cycles.
    pub highest_sequence: u32,
    /// In timestamp units.
    pub jitter: u32,
    /// Middle 32 bits of the NTP time of the last sender report.
    pub last_sender_report: u32,
    /// Since that report came, in 1/65536 s.
    pub delay_since_last: u32,
}

/// What a sender says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderInfo {
    /// NTP time, 32.32.
    pub ntp: u64,
    /// The same moment in RTP units.
    pub timestamp: u32,
    /// Packets sent.
    pub packets: u32,
    /// Payload octets sent.
    pub octets: u32,
}

impl SenderInfo {
    /// What receivers echo as [`ReportBlock::last_sender_report`].
    #[must_use]
    pub fn middle(&self) -> u32 {
        (self.ntp >> 16) as u32
    }
}

/// One packet of a compound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// SR.
    Sender {
        /// Who.
        ssrc: u32,
        /// What it sent.
        info: SenderInfo,
        /// What it received.
        blocks: Blocks<'a>,
    },
    /// RR.
    Receiver {
        /// Who.
        ssrc: u32,
        /// What it received.
        blocks: Blocks<'a>,
    },
    /// SDES, APP, feedback and whatever comes: its type and body.
    Other(u8, &'a [u8]),
    /// BYE.
    Goodbye,
}

/// Report blocks, read as they are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks<'a>(&'a [u8]);

impl Iterator for Blocks<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        let (block, rest) = self.0.split_first_chunk::<24>()?;
        self.0 = rest;
        let word = |at: usize| u32::from_be_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
        Some(ReportBlock {
            ssrc: word(0),
            fraction_lost: block[4],
            lost: (word(4) << 8) as i32 >> 8,
            highest_sequence: word(8),
            jitter: word(12),
            last_sender_report: word(16),
            delay_since_last: word(20),
        })
    }
}

/// A compound packet, read front to back; ends at the first thing that does not fit.
#[derive(Clone, Copy, Debug)]
pub struct Compound<'a>(&'a [u8]);

impl<'a> Compound<'a> {
    /// Checks the header of the first packet. Reduced-size packets (RFC 5506) pass.
    #[must_use]
    pub fn parse(packet: &'a [u8]) -> Option<Self> {
        (packet.len() >= 8 && rtp::is_rtcp(packet)).then_some(Self(packet))
    }
}

impl<'a> Iterator for Compound<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        let head = self.0.first_chunk::<4>()?;
        if head[0] >> 6 != 2 {
            return None;
        }
        let len = 4 + 4 * usize::from(u16::from_be_bytes([head[2], head[3]]));
        let body = self.0.get(4..len)?;
        self.0 = &self.0[len..];
        let blocks = |body: &'a [u8]| {
            let len = (24 * usize::from(head[0] & 0x1f)).min(body.len());
            Blocks(&body[..len])
        };
        let word =
            |at: usize| body.get(at..at + 4).map(|four| u32::from_be_bytes([four[0], four[1], four[2], four[3]]));
        Some(match head[1] {
            SENDER_REPORT if body.len() >= 24 => Item::Sender {
                ssrc: word(0)?,
                info: SenderInfo {
                    ntp: u64::from(word(4)?) << 32 | u64::from(word(8)?),
                    timestamp: word(12)?,
                    packets: word(16)?,
                    octets: word(20)?,
                },
                blocks: blocks(&body[24..]),
            },
            RECEIVER_REPORT if body.len() >= 4 => Item::Receiver { ssrc: word(0)?, blocks: blocks(&body[4..]) },
            GOODBYE => Item::Goodbye,
            kind => Item::Other(kind, body),
        })
    }
}

/// Appends a sender report.
pub fn write_sender_report(ssrc: u32, info: &SenderInfo, blocks: &[ReportBlock], out: &mut Vec<u8>) {
    let start = begin(SENDER_REPORT, blocks.len(), out);
    out.extend_from_slice(&ssrc.to_be_bytes());
    out.extend_from_slice(&info.ntp.to_be_bytes());
    for word in [info.timestamp, info.packets, info.octets] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    write_blocks(blocks, out);
    finish(start, out);
}

/// Appends a receiver report.
pub fn write_receiver_report(ssrc: u32, blocks: &[ReportBlock], out: &mut Vec<u8>) {
    let start = begin(RECEIVER_REPORT, blocks.len(), out);
    out.extend_from_slice(&ssrc.to_be_bytes());
    write_blocks(blocks, out);
    finish(start, out);
}

/// Appends a source description with a CNAME (RFC 3550 §6.5.1); at most 255 octets of it.
pub fn write_source_description(ssrc: u32, cname: &[u8], out: &mut Vec<u8>) {
    let cname = &cname[..cname.len().min(255)];
    let start = begin(SOURCE_DESCRIPTION, 1, out);
    out.extend_from_slice(&ssrc.to_be_bytes());
    out.extend_from_slice(&[1, cname.len() as u8]);
    out.extend_from_slice(cname);
    // One to four zero octets end the list at a word's edge.
    let end = (out.len() - start) % 4;
    out.extend_from_slice(&[0; 4][..4 - end]);
    finish(start, out);
}

/// Appends a goodbye.
pub fn write_goodbye(ssrc: u32, out: &mut Vec<u8>) {
    let start = begin(GOODBYE, 1, out);
    out.extend_from_slice(&ssrc.to_be_bytes());
    finish(start, out);
}

fn begin(kind: u8, count: usize, out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0x80 | count.min(31) as u8, kind, 0, 0]);
    start
}

fn write_blocks(blocks: &[ReportBlock], out: &mut Vec<u8>) {
    for block in blocks.iter().take(31) {
        out.extend_from_slice(&block.ssrc.to_be_bytes());
        let lost = block.lost.clamp(-0x80_0000, 0x7f_ffff) as u32 & 0xff_ffff;
        let words = [
            u32::from(block.fraction_lost) << 24 | lost,
            block.highest_sequence,
            block.jitter,
            block.last_sender_report,
            block.delay_since_last,
        ];
        for word in words {
            out.extend_from_slice(&word.to_be_bytes());
        }
    }
}

fn finish(start: usize, out: &mut [u8]) {
    let words = ((out.len() - start) / 4 - 1) as u16;
    out[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_phones_compound_reads_back() {
        let info = SenderInfo { ntp: 0x1234_5678_9abc_def0, timestamp: 5, packets: 6, octets: 7 };
        let block = ReportBlock { ssrc: 9, fraction_lost: 3, lost: -2, jitter: 11, ..ReportBlock::default() };
        let mut out = Vec::new();
        write_sender_report(1, &info, &[block], &mut out);
        write_source_description(1, b"alice@host", &mut out);
        write_goodbye(1, &mut out);
        assert_eq!(out.len() % 4, 0);
        let items: Vec<_> = Compound::parse(&out).unwrap().collect();
        let Item::Sender { ssrc: 1, info: read, mut blocks } = items[0] else { panic!("{items:?}") };
        assert_eq!((read, blocks.next(), blocks.next()), (info, Some(block), None));
        assert_eq!(info.middle(), 0x5678_9abc);
        let Item::Other(SOURCE_DESCRIPTION, body) = items[1] else { panic!("{items:?}") };
        assert_eq!(&body[4..16], b"\x01\x0aalice@host");
        assert_eq!(items[2..], [Item::Goodbye]);
        let mut out = Vec::new();
        write_receiver_report(1, &[block; 40], &mut out);
        let Some(Item::Receiver { blocks, .. }) = Compound::parse(&out).unwrap().next() else { panic!() };
        assert_eq!(blocks.count(), 31);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(mut packet: Vec<u8>, kind in 200u8..208) {
            if packet.len() > 1 {
                packet[0] = 0x80 | packet[0] & 0x3f;
                packet[1] = kind;
            }
            for item in Compound::parse(&packet).into_iter().flatten() {
                if let Item::Sender { blocks, .. } | Item::Receiver { blocks, .. } = item {
                    prop_assert!(blocks.count() <= 31);
                }
            }
        }
    }
}

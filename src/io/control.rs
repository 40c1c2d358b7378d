//! What the kernel says beside a datagram (cmsg(3)): when it came, and how long each is of several that came as one; and
//! what it is told of several that leave as one. Written and read as bytes, without a cast.

/// Room for all that is asked for on receiving.
pub(super) const CONTROL_BYTES: usize = 64;

const WORD: usize = size_of::<usize>();
/// `struct cmsghdr`: length, level, type.
const HEAD: usize = WORD + 4 + 4;

/// What was received beside a datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Control {
    /// When the kernel took it from the network, in nanoseconds of CLOCK_REALTIME.
    pub(super) stamp: Option<u64>,
    /// There are several, of this length but for a shorter last one.
    pub(super) segment: Option<usize>,
}

impl Control {
    /// Reads what the kernel wrote; what is cut off or of no interest is passed over.
    pub(super) fn read(mut bytes: &[u8]) -> Self {
        let mut found = Self::default();
        while let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() {
            let len = head.first_chunk().map_or(0, |len| usize::from_ne_bytes(*len));
            let Some(data) = len.checked_sub(HEAD).and_then(|len| rest.get(..len)) else { break };
            match (int(head, WORD), int(head, WORD + 4)) {
                (Some(libc::SOL_SOCKET), Some(libc::SCM_TIMESTAMPNS)) => found.stamp = stamp(data),
                (Some(libc::SOL_UDP), Some(libc::UDP_GRO)) => {
                    found.segment = int(data, 0).and_then(|len| usize::try_from(len).ok()).filter(|&len| len > 0);
                }
                _ => {}
            }
            bytes = rest.get(data.len().next_multiple_of(WORD)..).unwrap_or_default();
        }
        found
    }
}

fn int(bytes: &[u8], at: usize) -> Option<i32> {
    bytes.get(at..)?.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes))
}

/// A `struct timespec`.
fn stamp(bytes: &[u8]) -> Option<u64> {
    let (seconds, rest) = bytes.split_first_chunk::<WORD>()?;
    let nanos = usize::from_ne_bytes(*rest.first_chunk()?);
    (usize::from_ne_bytes(*seconds) as u64).checked_mul(1_000_000_000)?.checked_add(nanos as u64)
}

/// Says how long each datagram of a run is (`UDP_SEGMENT`), at the alignment of a control message.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(8))]
pub(super) struct SegmentLen([u8; (HEAD + 2).next_multiple_of(WORD)]);

impl SegmentLen {
    pub(super) fn new(len: u16) -> Self {
        let mut bytes = [0; (HEAD + 2).next_multiple_of(WORD)];
        bytes[..WORD].copy_from_slice(&(HEAD + 2).to_ne_bytes());
        bytes[WORD..WORD + 4].copy_from_slice(&libc::SOL_UDP.to_ne_bytes());
        bytes[WORD + 4..HEAD].copy_from_slice(&libc::UDP_SEGMENT.to_ne_bytes());
        bytes[HEAD..HEAD + 2].copy_from_slice(&len.to_ne_bytes());
        Self(bytes)
    }

    pub(super) fn bytes(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
        let mut out = (HEAD + data.len()).to_ne_bytes().to_vec();
        out.extend_from_slice(&level.to_ne_bytes());
        out.extend_from_slice(&kind.to_ne_bytes());
        out.extend_from_slice(data);
        out.resize(out.len().next_multiple_of(WORD), 0);
        out
    }

    #[test]
    fn both_are_found_among_others_and_fit() {
        let time = [7usize.to_ne_bytes(), 5usize.to_ne_bytes()].concat();
        let stamp = message(libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS, &time);
        let segment = message(libc::SOL_UDP, libc::UDP_GRO, &400i32.to_ne_bytes());
        assert!(stamp.len() + segment.len() <= CONTROL_BYTES);
        let other = message(libc::IPPROTO_IP, libc::IP_TOS, &[184]);
        let found = Control::read(&[other, stamp, segment.clone()].concat());
        assert_eq!(found, Control { stamp: Some(7_000_000_005), segment: Some(400) });
        assert_eq!(Control::read(&segment[..HEAD + 3]), Control::default());
        assert_eq!(Control::read(&message(libc::SOL_UDP, libc::UDP_GRO, &0i32.to_ne_bytes())), Control::default());
    }

    #[test]
    fn the_length_of_a_segment_is_laid_out_as_the_c_library_does() {
        // SAFETY: these compute sizes only.
        let (len, space) = unsafe { (libc::CMSG_LEN(2), libc::CMSG_SPACE(2)) };
        let mut written = SegmentLen::new(0x1234);
        assert_eq!(written.bytes().len(), space as usize);
        assert_eq!(written.bytes()[..WORD], (len as usize).to_ne_bytes());
        assert_eq!((size_of::<libc::cmsghdr>(), HEAD), (HEAD, len as usize - 2));
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Control::read(&bytes);
        }
    }
}

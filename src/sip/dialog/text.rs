//! The text of a dialog: one block of memory and where its parts end.

use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Call-ID, local and remote address with their tags, target and route set, one behind the other.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Text {
    #[serde(with = "serde_bytes")]
    bytes: Box<[u8]>,
    /// The ends of the first four; the routes are the rest.
    ends: [u32; 4],
    local_tag: Range<u32>,
    remote_tag: Range<u32>,
}

/// The parts of [`Text`], before they are put together.
pub(super) struct Parts<'a> {
    pub(super) call_id: &'a [u8],
    pub(super) local: &'a [u8],
    pub(super) local_tag: &'a [u8],
    pub(super) remote: &'a [u8],
    pub(super) remote_tag: &'a [u8],
    pub(super) target: &'a [u8],
    /// As a header's value.
    pub(super) routes: &'a [u8],
}

impl Text {
    pub(super) fn new(parts: &Parts<'_>) -> Self {
        let fields = [parts.call_id, parts.local, parts.remote, parts.target];
        let bytes = [parts.call_id, parts.local, parts.remote, parts.target, parts.routes].concat();
        let mut end = 0;
        let ends = fields.map(|field| {
            end += field.len() as u32;
            end
        });
        let tag = |start: u32, field: &[u8], tag: &[u8]| {
            let at = start + offset(field, tag);
            at..at + tag.len() as u32
        };
        Self {
            bytes: bytes.into_boxed_slice(),
            local_tag: tag(ends[0], parts.local, parts.local_tag),
            remote_tag: tag(ends[1], parts.remote, parts.remote_tag),
            ends,
        }
    }

    fn slice(&self, range: Range<u32>) -> &[u8] {
        &self.bytes[range.start as usize..range.end as usize]
    }

    pub(super) fn parts(&self) -> Parts<'_> {
        let [call_id, local, remote, target] = self.ends;
        Parts {
            call_id: self.slice(0..call_id),
            local: self.slice(call_id..local),
            local_tag: self.slice(self.local_tag.clone()),
            remote: self.slice(local..remote),
            remote_tag: self.slice(self.remote_tag.clone()),
            target: self.slice(remote..target),
            routes: self.slice(target..self.bytes.len() as u32),
        }
    }
}

/// Where `part` stands in `whole`: a subslice of it, or empty.
pub(super) fn offset(whole: &[u8], part: &[u8]) -> u32 {
    let distance = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
    if part.is_empty() || distance.saturating_add(part.len()) > whole.len() { 0 } else { distance as u32 }
}

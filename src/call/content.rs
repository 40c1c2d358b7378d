//! What is read of a message beyond its headers: its session description, and octets that people will read.

use crate::sip::wire::Message;
use std::sync::Arc;

/// The type of a body that we understand.
pub const SDP: &[u8] = b"application/sdp";

/// The session description of a message, if that is what its body is.
#[must_use]
pub fn session_body<'a>(message: &Message<'a>) -> Option<&'a [u8]> {
    let kind = message.content_type()?.split(|byte| *byte == b';').next()?.trim_ascii();
    (kind.eq_ignore_ascii_case(SDP) && !message.body().is_empty()).then(|| message.body())
}

/// Text for records and logs.
#[must_use]
pub fn text(bytes: &[u8]) -> Arc<str> {
    String::from_utf8_lossy(bytes).into()
}

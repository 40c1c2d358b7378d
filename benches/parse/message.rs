//! The message of the `parse` figures and every field a proxy reads of it ("T2"), by our parser into a checksum.
//!
//! The HTTP message is the INVITE with another first line of the same length, so that both parsers see as many octets and
//! headers, and the same ones: httparse takes SIP's header lines as they are.

use bytes::Bytes;
use strowger::sip::wire::{Framing, Index, Message, parse};

const FIRST: &str = "INVITE sip:+16505552222@biloxi.example.com;user=phone SIP/2.0\r\n";
const HEADERS: &str = "\
Via: SIP/2.0/UDP ss1.atlanta.example.com:5060;branch=z9hG4bK2d4790.1;received=192.0.2.111\r\n\
Via: SIP/2.0/TCP client.atlanta.example.com:5060;branch=z9hG4bK74bf9;received=192.0.2.101\r\n\
Max-Forwards: 69\r\n\
Route: <sip:ss2.biloxi.example.com;lr>\r\n\
Record-Route: <sip:ss1.atlanta.example.com;lr>\r\n\
From: \"Alice Anderson\" <sip:alice@atlanta.example.com>;tag=9fxced76sl\r\n\
To: <sip:+16505552222@biloxi.example.com;user=phone>\r\n\
Call-ID: 2xTb9vxSit55XU7p8@atlanta.example.com\r\n\
CSeq: 314159 INVITE\r\n\
Contact: <sip:alice@client.atlanta.example.com;transport=TCP>\r\n\
Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, REFER, NOTIFY\r\n\
Supported: 100rel, timer, replaces\r\n\
User-Agent: Telephone/3.14 (desk; fw 2.7.1)\r\n\
Content-Type: application/sdp\r\n\
Content-Length: 151\r\n\
\r\n";
const BODY: &str = "v=0\r\no=alice 2890844526 2890844526 IN IP4 client.atlanta.example.com\r\ns=-\r\nc=IN IP4 192.0.2.101\r\nt=0 0\r\n\
m=audio 49172 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n";

/// The INVITE.
pub fn sip() -> Bytes {
    let message = format!("{FIRST}{HEADERS}{BODY}");
    assert_eq!(BODY.len(), 151);
    Bytes::from(message.into_bytes())
}

/// The same octets behind a first line of HTTP.
pub fn http() -> Bytes {
    let path = "x".repeat(FIRST.len() - "INVITE / HTTP/1.1\r\n".len());
    let first = format!("INVITE /{path} HTTP/1.1\r\n");
    assert_eq!(first.len(), FIRST.len());
    Bytes::from(format!("{first}{HEADERS}{BODY}").into_bytes())
}

/// Takes a field into the sum.
#[inline]
pub fn take(sum: u64, field: &[u8]) -> u64 {
    let ends = field.first().map_or(0, |first| u64::from(*first)) + field.last().map_or(0, |last| u64::from(*last));
    sum.rotate_left(5) ^ (field.len() as u64 + ends)
}

/// Ours.
pub fn ours(bytes: &[u8], index: &mut Index) -> u64 {
    parse(bytes, index, Framing::Datagram).map_or(0, |message| fields(&message))
}

/// The fields of a message that was read.
pub fn fields(message: &Message<'_>) -> u64 {
    let via = message.via();
    let mut sum = take(0, message.uri().raw());
    sum = take(sum, via.branch().unwrap_or_default());
    sum = take(sum, via.received().unwrap_or_default());
    sum = take(sum, message.from().tag().unwrap_or_default());
    sum = take(sum, message.to().tag().unwrap_or_default());
    sum = take(sum, message.call_id());
    sum ^= u64::from(message.cseq().0);
    sum ^= u64::from(message.max_forwards().unwrap_or_default());
    sum = take(sum, message.route().map_or(&b""[..], |route| route.uri_raw()));
    sum = take(sum, message.contact().map_or(&b""[..], |contact| contact.uri_raw()));
    sum ^ message.body().len() as u64
}

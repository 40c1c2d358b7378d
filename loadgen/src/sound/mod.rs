//! What can be heard, as files hold it: G.711's codes, WAV files, captures of RTP. Octets in, octets out; nobody's clock or socket.
#![forbid(unsafe_code)]

pub mod g711;
pub mod pcap;
pub mod wav;

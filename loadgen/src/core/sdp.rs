//! The one session description a generator needs: PCMU both ways. RFC 8866, RFC 3264.

use std::net::{IpAddr, SocketAddr};

use super::scan::{number, trim};

/// Appends our offer or answer.
pub fn write(out: &mut Vec<u8>, session: u32, local: SocketAddr) {
    let family = if local.is_ipv4() { "IP4" } else { "IP6" };
    let (address, port) = (local.ip(), local.port());
    use std::io::Write as _;
    let _ = write!(
        out,
        "v=0\r\no=- {session} 1 IN {family} {address}\r\ns=strowger-loadgen\r\nc=IN {family} {address}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\na=sendrecv\r\n"
    );
}

/// Where the peer wants PCMU; `None` if it takes none.
pub fn remote(body: &[u8]) -> Option<SocketAddr> {
    let (mut session, mut own, mut audio) = (None, None, None);
    let mut in_media = false;
    for line in body.split(|&byte| byte == b'\n').map(trim) {
        match line.get(..2) {
            Some(b"c=") if !in_media => session = address(&line[2..]),
            Some(b"c=") if audio.is_some() => own = own.or_else(|| address(&line[2..])),
            Some(b"m=") if audio.is_some() => break,
            Some(b"m=") => {
                in_media = true;
                audio = pcmu_port(&line[2..]);
            }
            _ => {}
        }
    }
    Some(SocketAddr::new(own.or(session)?, audio?))
}

fn address(value: &[u8]) -> Option<IpAddr> {
    let last = value.split(|&byte| byte == b' ').rfind(|word| !word.is_empty())?;
    let host = last.split(|&byte| byte == b'/').next()?;
    std::str::from_utf8(host).ok()?.parse().ok()
}

fn pcmu_port(media: &[u8]) -> Option<u16> {
    let mut words = media.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
    let (kind, port, _protocol) = (words.next()?, words.next()?, words.next()?);
    let port = number(port).and_then(|port| u16::try_from(port).ok()).filter(|&port| port > 0)?;
    (kind == b"audio" && words.any(|format| format == b"0")).then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_description_reads_back() {
        for local in ["192.0.2.1:4000", "[2001:db8::1]:65534"] {
            let mut out = Vec::new();
            write(&mut out, 7, local.parse().unwrap());
            assert_eq!(remote(&out), local.parse().ok());
        }
    }

    #[test]
    fn the_nearest_address_counts_and_a_rejected_line_does_not() {
        let body = b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=video 9 RTP/AVP 31\r\nc=IN IP4 192.0.2.8\r\n\
            m=audio 4002 RTP/AVP 8 0\r\nc=IN IP4 192.0.2.9/127\r\nm=audio 5000 RTP/AVP 0\r\nc=IN IP4 192.0.2.7\r\n";
        assert_eq!(remote(body), "192.0.2.9:4002".parse().ok());
        assert_eq!(remote(b"c=IN IP4 192.0.2.1\nm=audio 0 RTP/AVP 0\n"), None);
        assert_eq!(remote(b"c=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 8\n"), None);
        assert_eq!(remote(b"m=audio 4000 RTP/AVP 0\n"), None);
        assert_eq!(remote(b""), None);
    }
}

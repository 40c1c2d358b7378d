//! Where the peer wants its audio, whatever the codec: a scenario chooses its own. RFC 8866 §5.7, §5.14.

use std::net::{IpAddr, SocketAddr};

/// The address of the first audio stream that is not refused.
pub fn audio(body: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(body).ok()?;
    let (mut session, mut own, mut port) = (None, None, None);
    let mut in_media = false;
    for line in text.lines() {
        if let Some(media) = line.strip_prefix("m=") {
            if port.is_some() {
                break;
            }
            in_media = true;
            let mut words = media.split(' ');
            let is_audio = words.next() == Some("audio");
            let number = words.next().and_then(|word| word.split('/').next()?.parse::<u16>().ok());
            port = number.filter(|&number| is_audio && number > 0);
        } else if let Some(connection) = line.strip_prefix("c=IN IP") {
            let address = connection.split([' ', '/']).nth(1).and_then(|word| word.parse::<IpAddr>().ok());
            match (in_media, port) {
                (false, _) => session = address,
                (true, Some(_)) => own = address,
                (true, None) => {}
            }
        }
    }
    Some(SocketAddr::new(own.or(session)?, port?))
}

#[cfg(test)]
mod tests {
    use super::audio;

    #[test]
    fn the_first_audio_stream_counts() {
        let body = "v=0\r\nc=IN IP4 192.0.2.1\r\nm=video 9 RTP/AVP 31\r\nc=IN IP4 192.0.2.8\r\nm=audio 0 RTP/AVP 0\r\n\
            m=audio 4000/2 RTP/AVP 8\r\nc=IN IP4 192.0.2.9/127\r\nm=audio 1 RTP/AVP 0\r\nc=IN IP4 192.0.2.7\r\n";
        assert_eq!(audio(body.as_bytes()), "192.0.2.9:4000".parse().ok());
        assert_eq!(audio(b"c=IN IP6 ::1\nm=audio 6 x\n"), "[::1]:6".parse().ok());
        assert_eq!(audio(b"m=audio 6 x\n"), None);
        assert_eq!(audio(&[0xff]), None);
    }
}

//! The ng control protocol of rtpengine, as far as a caller needs it: offer, answer, delete, ping.
//!
//! A datagram is a cookie, a space and a bencoded dictionary; the answer carries the same cookie, and a request that is sent
//! again with its cookie is answered again and not done twice. Described in rtpengine's own documentation (ng control protocol).

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::preflight::Trouble;

const PATIENCE: Duration = Duration::from_millis(500);
const TRIES: u32 = 6;
const DATAGRAM_MAX: usize = 65_536;
/// Dictionaries in dictionaries and so on; deeper is refused.
const DEPTH_MAX: u32 = 16;

/// One bencoded value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `i42e`
    Integer(i64),
    /// `4:text`
    Text(Vec<u8>),
    /// `l…e`
    List(Vec<Value>),
    /// `d…e`
    Dictionary(BTreeMap<Vec<u8>, Value>),
}

impl Value {
    fn write(&self, out: &mut Vec<u8>) {
        let text = |bytes: &[u8], out: &mut Vec<u8>| {
            out.extend(format!("{}:", bytes.len()).bytes());
            out.extend_from_slice(bytes);
        };
        match self {
            Self::Integer(number) => out.extend(format!("i{number}e").bytes()),
            Self::Text(bytes) => text(bytes, out),
            Self::List(values) => {
                out.push(b'l');
                values.iter().for_each(|value| value.write(out));
                out.push(b'e');
            }
            Self::Dictionary(entries) => {
                out.push(b'd');
                for (key, value) in entries {
                    text(key, out);
                    value.write(out);
                }
                out.push(b'e');
            }
        }
    }

    /// Reads one value that fills `bytes`.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let value = Self::read(&mut rest, DEPTH_MAX)?;
        rest.is_empty().then_some(value)
    }

    fn read(rest: &mut &[u8], depth: u32) -> Option<Self> {
        let (&first, after) = rest.split_first()?;
        let depth = depth.checked_sub(1)?;
        match first {
            b'i' => {
                let end = memchr::memchr(b'e', after)?;
                let number = std::str::from_utf8(&after[..end]).ok()?.parse().ok()?;
                *rest = &after[end + 1..];
                Some(Self::Integer(number))
            }
            b'l' => {
                *rest = after;
                let mut values = Vec::new();
                while !end(rest)? {
                    values.push(Self::read(rest, depth)?);
                }
                Some(Self::List(values))
            }
            b'd' => {
                *rest = after;
                let mut entries = BTreeMap::new();
                while !end(rest)? {
                    let Self::Text(key) = Self::read(rest, depth)? else { return None };
                    entries.insert(key, Self::read(rest, depth)?);
                }
                Some(Self::Dictionary(entries))
            }
            _ => {
                let colon = memchr::memchr(b':', &rest[..rest.len().min(8)])?;
                let length: usize = std::str::from_utf8(&rest[..colon]).ok()?.parse().ok()?;
                let bytes = rest[colon + 1..].get(..length)?;
                *rest = &rest[colon + 1 + length..];
                Some(Self::Text(bytes.to_vec()))
            }
        }
    }

    /// The text under `key` of a dictionary.
    pub fn text(&self, key: &str) -> Option<&[u8]> {
        let Self::Dictionary(entries) = self else { return None };
        match entries.get(key.as_bytes())? {
            Self::Text(bytes) => Some(bytes),
            _ => None,
        }
    }
}

fn end(rest: &mut &[u8]) -> Option<bool> {
    let is_end = *rest.first()? == b'e';
    if is_end {
        *rest = &rest[1..];
    }
    Some(is_end)
}

/// A conversation with one relay.
pub struct Client {
    socket: UdpSocket,
    target: SocketAddr,
    run: u32,
    cookies: u32,
    open: Vec<(String, String)>,
}

impl Client {
    /// Asks the relay whether it is there. `run` tells our cookies and calls from those of others.
    pub fn connect(target: SocketAddr, run: u32) -> Result<Self, Trouble> {
        let any: IpAddr = if target.is_ipv4() { [0, 0, 0, 0].into() } else { [0u16; 8].into() };
        let opened = UdpSocket::bind((any, 0)).and_then(|socket| {
            socket.connect(target)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            Ok(socket)
        });
        let socket = opened.map_err(|error| Trouble::outside(format!("no way to the relay at {target}: {error}")))?;
        let mut client = Self { socket, target, run, cookies: 0, open: Vec::new() };
        let answer = client.ask(&[("command", "ping".into())])?;
        if answer.text("result") == Some(b"pong") {
            return Ok(client);
        }
        Err(Trouble::outside(format!("{target} answers, but not as an rtpengine-compatible relay; check --target")))
    }

    /// Puts one call through the relay: where its two ends, at `ends`, shall send.
    pub fn pair(&mut self, number: usize, ends: [SocketAddr; 2]) -> Result<[SocketAddr; 2], Trouble> {
        let (call, tags) = (format!("loadgen-{:08x}-{number}", self.run), [format!("a{number}"), format!("b{number}")]);
        let common = |command: &str, end: SocketAddr| {
            vec![
                ("command", command.into()),
                ("call-id", call.clone()),
                ("from-tag", tags[0].clone()),
                ("sdp", describe(end)),
            ]
        };
        let offered = self.ask(&common("offer", ends[0]))?;
        self.open.push((call.clone(), tags[0].clone()));
        let mut answer = common("answer", ends[1]);
        answer.push(("to-tag", tags[1].clone()));
        let answered = self.ask(&answer)?;
        let place = |reply: &Value| {
            let sdp = reply.text("sdp").and_then(|sdp| std::str::from_utf8(sdp).ok()).and_then(read_description);
            sdp.ok_or_else(|| Trouble::outside(format!("{}: its answer holds no usable description", self.target)))
        };
        // What the relay tells one side in the offer is where the called end sends, and the other way round.
        Ok([place(&answered)?, place(&offered)?])
    }

    /// Ends all calls that [`pair`](Self::pair) began; gives up at the first that is not answered.
    pub fn end(&mut self) -> Result<(), Trouble> {
        for (call, tag) in std::mem::take(&mut self.open) {
            self.ask(&[
                ("command", "delete".into()),
                ("call-id", call),
                ("from-tag", tag),
                ("delete-delay", "0".into()),
            ])?;
        }
        Ok(())
    }

    fn ask(&mut self, fields: &[(&str, String)]) -> Result<Value, Trouble> {
        self.cookies += 1;
        let cookie = format!("{:08x}{:08x}", self.run, self.cookies);
        let entries =
            fields.iter().map(|(key, text)| (key.as_bytes().to_vec(), Value::Text(text.clone().into_bytes())));
        let mut request = format!("{cookie} ").into_bytes();
        Value::Dictionary(entries.collect()).write(&mut request);
        let mut buffer = vec![0; DATAGRAM_MAX];
        let silent = || {
            let tried = PATIENCE * TRIES;
            Trouble::outside(format!(
                "the relay at {} did not answer '{}' within {tried:?}; is its ng port there (rtpengine --listen-ng)?",
                self.target, fields[0].1
            ))
        };
        for _ in 0..TRIES {
            let sent = Instant::now();
            // A relay that has not opened its port yet refuses at once; it gets the same time as a slow one.
            let _ = self.socket.send(&request);
            while sent.elapsed() < PATIENCE {
                let len = match self.socket.recv(&mut buffer) {
                    Ok(len) => len,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(_) => {
                        std::thread::sleep(PATIENCE.saturating_sub(sent.elapsed()));
                        break;
                    }
                };
                let Some(body) = buffer[..len].strip_prefix(cookie.as_bytes()).and_then(|rest| rest.strip_prefix(b" "))
                else {
                    continue;
                };
                return self.judge(&fields[0].1, Value::parse(body));
            }
        }
        Err(silent())
    }

    fn judge(&self, command: &str, answer: Option<Value>) -> Result<Value, Trouble> {
        let Some(answer) = answer else {
            return Err(Trouble::outside(format!("{}: its answer to '{command}' cannot be read", self.target)));
        };
        if answer.text("result") == Some(b"error") {
            let reason = String::from_utf8_lossy(answer.text("error-reason").unwrap_or(b"no reason")).into_owned();
            return Err(Trouble::outside(format!("the relay at {} refused '{command}': {reason}", self.target)));
        }
        Ok(answer)
    }
}

fn describe(end: SocketAddr) -> String {
    let family = if end.is_ipv4() { "IP4" } else { "IP6" };
    let (ip, port) = (end.ip(), end.port());
    format!(
        "v=0\r\no=- 1 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n\
         a=rtpmap:0 PCMU/8000\r\na=sendrecv\r\n"
    )
}

fn read_description(sdp: &str) -> Option<SocketAddr> {
    let line = |prefix: &str| sdp.lines().rev().find_map(|line| line.strip_prefix(prefix));
    let ip: IpAddr = line("c=IN IP4 ").or_else(|| line("c=IN IP6 "))?.trim().parse().ok()?;
    let port = line("m=audio ")?.split(' ').next()?.parse().ok().filter(|&port| port != 0)?;
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn what_is_written_can_be_read_and_rubbish_cannot() {
        let mut entries = BTreeMap::new();
        entries.insert(b"a".to_vec(), Value::Integer(-7));
        entries.insert(b"b".to_vec(), Value::List(vec![Value::Text(b"x:e".to_vec()), Value::Text(Vec::new())]));
        let value = Value::Dictionary(entries);
        let mut bytes = Vec::new();
        value.write(&mut bytes);
        assert_eq!(bytes, b"d1:ai-7e1:bl3:x:e0:ee");
        assert_eq!(Value::parse(&bytes), Some(value));
        for cut in 0..bytes.len() {
            assert_eq!(Value::parse(&bytes[..cut]), None);
        }
        let deep = [b"l".repeat(40), b"e".repeat(40)].concat();
        for bad in [&b"9:short"[..], b"i1", b"x", b"d1:ae", b"4:textmore", b"-1:x", &deep] {
            assert_eq!(Value::parse(bad), None);
        }
    }

    /// A relay that moves every port up by 1,000 and loses each first request.
    fn pretend(socket: &UdpSocket, requests: usize) {
        let (mut buffer, mut seen) = ([0; 2048], None);
        for _ in 0..requests * 2 {
            let (len, from) = socket.recv_from(&mut buffer).unwrap();
            let space = memchr::memchr(b' ', &buffer[..len]).unwrap();
            let (cookie, request) = (buffer[..space].to_vec(), Value::parse(&buffer[space + 1..len]).unwrap());
            if seen.as_ref() != Some(&cookie) {
                seen = Some(cookie);
                continue;
            }
            let mut answer = BTreeMap::new();
            let result: &[u8] = if request.text("command") == Some(b"ping") { b"pong" } else { b"ok" };
            answer.insert(b"result".to_vec(), Value::Text(result.to_vec()));
            if let Some(sdp) = request.text("sdp") {
                let end = read_description(std::str::from_utf8(sdp).unwrap()).unwrap();
                let moved = describe(SocketAddr::new(end.ip(), end.port() + 1000)).into_bytes();
                answer.insert(b"sdp".to_vec(), Value::Text(moved));
            }
            let mut out = [&cookie[..], b" "].concat();
            Value::Dictionary(answer).write(&mut out);
            socket.send_to(&out, from).unwrap();
        }
    }

    #[test]
    fn a_pair_goes_through_a_relay_that_loses_requests() {
        let relay = UdpSocket::bind("127.0.0.1:0").unwrap();
        let target = relay.local_addr().unwrap();
        let thread = thread::spawn(move || pretend(&relay, 4));
        let mut client = Client::connect(target, 5).map_err(|trouble| trouble.sentence).unwrap();
        let address = |port| SocketAddr::from(([192, 0, 2, 1], port));
        let places = client.pair(0, [address(4000), address(5000)]).map_err(|trouble| trouble.sentence).unwrap();
        assert_eq!(places, [address(6000), address(5000)]);
        client.end().map_err(|trouble| trouble.sentence).unwrap();
        thread.join().unwrap();
    }

    #[test]
    fn nobody_there_is_a_sentence() {
        let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let trouble = Client::connect(free, 1).err().unwrap();
        assert!(trouble.code == 1 && trouble.sentence.contains("--listen-ng"), "{}", trouble.sentence);
    }
}

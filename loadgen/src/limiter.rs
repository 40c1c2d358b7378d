//! After a run in which much was refused or not answered: does the other end limit each source?
//!
//! The same OPTIONS requests at the rate of the run, first from one socket or connection, then each from one of its own. If the
//! many are answered and the one is not, the target counts by source, and the run measured that limit and not the server. A
//! limit that counts only INVITE is not seen.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use strowger::base::Transport;

use crate::core::stats::Stats;

/// Length of each of the two bursts.
const BURST: Duration = Duration::from_millis(300);
/// What has not come by then does not count.
const PATIENCE: Duration = Duration::from_millis(500);
/// Requests in a burst.
const REQUESTS: (f64, f64) = (20.0, 300.0);
/// Such a share of failed calls is worth a question.
const SUSPICIOUS: f64 = 0.01;
/// How long one connection may take; a target that is overloaded is not asked any further.
const CONNECT_MAX: Duration = Duration::from_millis(300);
/// Connections are made one after the other, so that there are not as many as datagrams' sources.
const CONNECTIONS_MAX: usize = 50;
/// The one source gets fewer answers than the many by this share of all requests.
const CLEAR: f64 = 0.2;

/// Would a limit by source explain what happened?
pub fn is_suspicious(stats: &Stats) -> bool {
    let counted = |status: u16| stats.refusals.get(&status).map_or(0, |(count, _)| *count);
    let lost = stats.counters.calls_timed_out + counted(503) + counted(429);
    let begun = stats.counters.calls_attempted;
    begun > 0 && lost as f64 >= begun as f64 * SUSPICIOUS
}

/// Asks the target; a sentence if it limits each source.
pub fn ask(target: SocketAddr, transport: Transport, own: IpAddr, rate: f64) -> Option<String> {
    let count = (rate * BURST.as_secs_f64()).clamp(REQUESTS.0, REQUESTS.1) as usize;
    let (count, ends) = match transport {
        Transport::Udp => (count, "ports"),
        _ => (count.min(CONNECTIONS_MAX), "connections"),
    };
    let mut one = vec![Source::open(target, transport, own)?];
    let mut many = Vec::with_capacity(count);
    for index in 0..count {
        // From another address if that may be, otherwise only from another port.
        let source = Source::open(target, transport, neighbour(own, index));
        many.push(source.or_else(|| Source::open(target, transport, own))?);
    }
    let from_one = burst(target, &mut one, count);
    let from_many = burst(target, &mut many, count);
    (from_many as f64 - from_one as f64 >= count as f64 * CLEAR).then(|| {
        format!(
            "{target} seems to limit each source: of {count} OPTIONS within {BURST:?} it answered {from_one} from one of our {ends} \
             and {from_many} from as many {ends}; lift its limit for us, or call from more with --sources N or --bind FIRST-LAST"
        )
    })
}

/// One end of ours.
enum Source {
    Datagrams(UdpSocket),
    /// With what has come and not been counted yet.
    Connection(TcpStream, Vec<u8>),
}

impl Source {
    fn open(target: SocketAddr, transport: Transport, own: IpAddr) -> Option<Self> {
        let from = SocketAddr::new(own, 0);
        if transport == Transport::Udp {
            let socket = UdpSocket::bind(from).ok()?;
            socket.set_nonblocking(true).ok()?;
            return Some(Self::Datagrams(socket));
        }
        let socket = Socket::new(Domain::for_address(target), Type::STREAM, None).ok()?;
        socket.bind(&from.into()).ok()?;
        socket.connect_timeout(&target.into(), CONNECT_MAX).ok()?;
        let stream = TcpStream::from(socket);
        stream.set_nonblocking(true).ok()?;
        Some(Self::Connection(stream, Vec::new()))
    }

    /// What is not sent is not answered either.
    fn send(&mut self, target: SocketAddr, index: usize) {
        match self {
            Self::Datagrams(socket) => {
                if let Ok(local) = socket.local_addr() {
                    let _ = socket.send_to(options(target, "UDP", local, index).as_bytes(), target);
                }
            }
            Self::Connection(stream, _) => {
                if let Ok(local) = stream.local_addr() {
                    let _ = stream.write_all(options(target, "TCP", local, index).as_bytes());
                }
            }
        }
    }

    /// Requests answered since the last time, but for those that were turned away.
    fn answered(&mut self) -> usize {
        let (mut count, mut buffer) = (0, [0; 4096]);
        match self {
            Self::Datagrams(socket) => {
                while let Ok(length) = socket.recv(&mut buffer) {
                    count += usize::from(buffer[..length].strip_prefix(STATUS).is_some_and(is_answer));
                }
            }
            Self::Connection(stream, seen) => {
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    seen.extend_from_slice(&buffer[..length]);
                }
                while let Some(at) = memchr::memmem::find(seen, STATUS).filter(|at| at + STATUS.len() + 3 <= seen.len())
                {
                    count += usize::from(is_answer(&seen[at + STATUS.len()..]));
                    seen.drain(..at + STATUS.len());
                }
            }
        }
        count
    }
}

/// What an answer begins with; in a Via there is a slash behind the version.
const STATUS: &[u8] = b"SIP/2.0 ";

/// A final answer that does not say "too much".
fn is_answer(status: &[u8]) -> bool {
    status.get(..3).is_some_and(|status| status > b"199".as_slice() && !matches!(status, b"503" | b"429"))
}

/// On loopback another address, too: limits often count by address.
fn neighbour(own: IpAddr, index: usize) -> IpAddr {
    match own {
        IpAddr::V4(ip) if ip.is_loopback() => {
            let [a, b, c, _] = ip.octets();
            Ipv4Addr::new(a, b, c, 2 + (index % 250) as u8).into()
        }
        other => other,
    }
}

/// How many of `count` requests, one after the other from each of the sources, are answered.
fn burst(target: SocketAddr, sources: &mut [Source], count: usize) -> usize {
    let began = Instant::now();
    for index in 0..count {
        let among = sources.len().max(1);
        let Some(source) = sources.get_mut(index % among) else { return 0 };
        source.send(target, index);
        std::thread::sleep((BURST * index as u32 / count as u32).saturating_sub(began.elapsed()));
    }
    let mut answered = 0;
    while began.elapsed() < BURST + PATIENCE && answered < count {
        answered += sources.iter_mut().map(Source::answered).sum::<usize>();
        std::thread::sleep(Duration::from_millis(5));
    }
    answered
}

fn options(target: SocketAddr, transport: &str, local: SocketAddr, index: usize) -> String {
    let port = local.port();
    format!(
        "OPTIONS sip:{target} SIP/2.0\r\nVia: SIP/2.0/{transport} {local};branch=z9hG4bKlimit{port}x{index};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:loadgen@{local}>;tag={port}\r\nTo: <sip:{target}>\r\nCall-ID: limit-{port}-{index}@{local}\r\n\
         CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Asks a server that answers at most `each` requests of a source; what is said.
    fn asked(each: usize) -> Option<String> {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let target = socket.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let server = std::thread::spawn(move || {
            socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            let (mut counts, mut buffer) = (HashMap::new(), [0; 4096]);
            while !stopped.load(Ordering::Relaxed) {
                let Ok((_, from)) = socket.recv_from(&mut buffer) else { continue };
                let count: &mut usize = counts.entry(from).or_default();
                *count += 1;
                let answer = if *count <= each { "SIP/2.0 200 OK\r\n\r\n" } else { "SIP/2.0 503 Too Many\r\n\r\n" };
                socket.send_to(answer.as_bytes(), from).unwrap();
            }
        });
        let said = ask(target, Transport::Udp, target.ip(), 100.0);
        stop.store(true, Ordering::Relaxed);
        server.join().unwrap();
        said
    }

    #[test]
    fn a_limit_by_source_is_told_from_none_and_from_one_for_all() {
        let said = asked(5).unwrap();
        assert!(
            said.contains("answered 5 from one of our ports and 30 from as many") && said.contains("--sources"),
            "{said}"
        );
        assert_eq!((asked(1000), asked(0)), (None, None));
    }

    #[test]
    fn connections_are_told_apart_too() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap();
        // Answers three requests of each connection, and ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || {
                    let (mut buffer, mut left) = ([0; 65536], 3);
                    while let Ok(length @ 1..) = stream.read(&mut buffer) {
                        for _ in 0..memchr::memmem::find_iter(&buffer[..length], b"OPTIONS sip:").count() {
                            let status = if left > 0 { "200 OK" } else { "503 Too Many" };
                            left -= i32::from(left > 0);
                            let answer = format!("SIP/2.0 {status}\r\nVia: SIP/2.0/TCP x\r\nl: 0\r\n\r\n");
                            stream.write_all(answer.as_bytes()).unwrap();
                        }
                    }
                });
            }
        });
        let said = ask(target, Transport::Tcp, target.ip(), 100.0).unwrap();
        assert!(said.contains("answered 3 from one of our connections and 30 from as many"), "{said}");
    }

    #[test]
    fn only_what_a_limit_would_explain_is_asked_about() {
        let mut stats = Stats::default();
        stats.counters.calls_attempted = 1000;
        (0..20).for_each(|_| stats.refused(404, b"Not Found"));
        assert!(!is_suspicious(&stats));
        (0..20).for_each(|_| stats.refused(503, b"Slow Down"));
        assert!(is_suspicious(&stats) && !is_suspicious(&Stats::default()));
    }
}

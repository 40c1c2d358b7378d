//! After a run in which much was refused or not answered: does the other end limit each source?
//!
//! The same OPTIONS requests at the rate of the run, first from one socket, then each from a socket of its own. If the many are
//! answered and the one is not, the target counts by source, and the run measured that limit and not the server. A limit that
//! counts only INVITE is not seen.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::core::stats::Stats;

/// Length of each of the two bursts.
const BURST: Duration = Duration::from_millis(300);
/// What has not come by then does not count.
const PATIENCE: Duration = Duration::from_millis(500);
/// Requests in a burst.
const REQUESTS: (f64, f64) = (20.0, 300.0);
/// Such a share of failed calls is worth a question.
const SUSPICIOUS: f64 = 0.01;
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
pub fn ask(target: SocketAddr, own: IpAddr, rate: f64) -> Option<String> {
    let count = (rate * BURST.as_secs_f64()).clamp(REQUESTS.0, REQUESTS.1) as usize;
    let one = vec![UdpSocket::bind((own, 0)).ok()?];
    let many: Vec<UdpSocket> =
        (0..count).filter_map(|index| UdpSocket::bind((neighbour(own, index), 0)).ok()).collect();
    let from_one = burst(target, &one, count);
    let from_many = burst(target, &many, count);
    (from_many as f64 - from_one as f64 >= count as f64 * CLEAR).then(|| {
        format!(
            "{target} seems to limit each source: of {count} OPTIONS within {BURST:?} it answered {from_one} from one port and \
             {from_many} from as many ports; lift its limit for us, or call from more with --sources N or --bind FIRST-LAST"
        )
    })
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

/// How many of `count` requests, one after the other from each of the sockets, are answered.
fn burst(target: SocketAddr, sockets: &[UdpSocket], count: usize) -> usize {
    let began = Instant::now();
    for index in 0..count {
        let Some(socket) = sockets.get(index % sockets.len().max(1)) else { return 0 };
        let _ = socket.set_nonblocking(true);
        if let Ok(local) = socket.local_addr() {
            // What is not sent is not answered either.
            let _ = socket.send_to(options(target, local, index).as_bytes(), target);
        }
        std::thread::sleep((BURST * index as u32 / count as u32).saturating_sub(began.elapsed()));
    }
    let (mut answered, mut buffer) = (0, [0; 4096]);
    while began.elapsed() < BURST + PATIENCE && answered < count {
        for socket in sockets {
            while let Ok(length) = socket.recv(&mut buffer) {
                let text = buffer.get(8..11.min(length)).unwrap_or_default();
                answered += usize::from(text > &b"199"[..] && !matches!(text, b"503" | b"429"));
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    answered
}

fn options(target: SocketAddr, local: SocketAddr, index: usize) -> String {
    let port = local.port();
    format!(
        "OPTIONS sip:{target} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bKlimit{port}x{index};rport\r\nMax-Forwards: 70\r\n\
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
        let said = ask(target, target.ip(), 100.0);
        stop.store(true, Ordering::Relaxed);
        server.join().unwrap();
        said
    }

    #[test]
    fn a_limit_by_source_is_told_from_none_and_from_one_for_all() {
        let said = asked(5).unwrap();
        assert!(said.contains("answered 5 from one port and 30 from as many") && said.contains("--sources"), "{said}");
        assert_eq!((asked(1000), asked(0)), (None, None));
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

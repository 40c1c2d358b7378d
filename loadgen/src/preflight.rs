//! What must be right before the first packet: each trouble is one sentence that says what to do.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::time::Duration;

use core_affinity::CoreId;
use strowger::base::Transport;

use crate::machine;

/// How long a TCP target may take to accept, and a UDP port to refuse.
const CONNECT_MAX: Duration = Duration::from_secs(3);
const REFUSAL_MAX: Duration = Duration::from_millis(100);
/// Descriptors besides sockets: standard streams, rings, files.
const OTHER_FILES: u64 = 64;
/// Below this, bursts of SIP are dropped before we can read them.
const RECEIVE_BUFFER_GOOD: usize = 1 << 20;

/// Why a run cannot begin, and the exit code for it.
#[derive(Debug)]
pub struct Trouble {
    /// 1 or 2.
    pub code: u8,
    /// The sentence.
    pub sentence: String,
}

impl Trouble {
    /// The command line asks for something that cannot be.
    pub fn usage(sentence: impl Into<String>) -> Self {
        Self { code: 2, sentence: sentence.into() }
    }

    /// Something outside is not as it should be.
    pub fn outside(sentence: impl Into<String>) -> Self {
        Self { code: 1, sentence: sentence.into() }
    }
}

/// The host part as it was written, and the address, of the wanted family if one is.
pub fn resolve(target: &str, bind: Option<IpAddr>) -> Result<(String, SocketAddr), Trouble> {
    let with_port = match target.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, 5060).to_string(),
        Err(_) if target.rsplit(']').next().is_some_and(|rest| rest.contains(':')) => target.to_string(),
        Err(_) => format!("{target}:5060"),
    };
    let (host, port) = with_port.rsplit_once(':').map_or((target, ""), |(host, port)| (host, port));
    if port.parse::<u16>().is_err() {
        let sentence = format!("--target {target}: '{port}' is no port: they go from 1 to 65535");
        return Err(Trouble::usage(sentence));
    }
    let host = host.to_string();
    let found = with_port.to_socket_addrs().map_err(|error| {
        Trouble::usage(format!("--target {target}: cannot be resolved ({error}); check the name, or give an address"))
    })?;
    let found: Vec<SocketAddr> = found.collect();
    let fits = |address: &&SocketAddr| bind.is_none_or(|bind| bind.is_ipv4() == address.is_ipv4());
    match found.iter().find(fits) {
        Some(&address) if address.port() != 0 => Ok((host, address)),
        Some(_) => Err(Trouble::usage(format!("--target {target}: port 0 cannot be called; give the server's port"))),
        None => Err(Trouble::usage(format!("--target {target}: has no address of the family of --bind; change one"))),
    }
}

/// The address the kernel would send from.
pub fn local_address(target: SocketAddr) -> Result<IpAddr, Trouble> {
    let any: IpAddr = if target.is_ipv4() { [0, 0, 0, 0].into() } else { [0u16; 8].into() };
    let local = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect(target)?;
        socket.local_addr()
    });
    local.map(|local| local.ip()).map_err(|error| {
        Trouble::outside(format!("no way to {target} ({error}); check the route, or give another --target"))
    })
}

/// Asks whether something listens at the target. A UDP port that says nothing may still be a SIP server.
pub fn probe(target: SocketAddr, transport: Transport) -> Result<(), Trouble> {
    if transport != Transport::Udp {
        let nothing = |error: std::io::Error| {
            let why = match error.kind() {
                ErrorKind::ConnectionRefused => "nothing listens there".to_string(),
                ErrorKind::TimedOut | ErrorKind::WouldBlock => format!("no answer within {CONNECT_MAX:?}"),
                _ => error.to_string(),
            };
            Trouble::outside(format!("TCP {target}: {why}; start the server, or check --target and --transport"))
        };
        return TcpStream::connect_timeout(&target, CONNECT_MAX).map(drop).map_err(nothing);
    }
    let any: IpAddr = if target.is_ipv4() { [0, 0, 0, 0].into() } else { [0u16; 8].into() };
    let refused = || -> std::io::Result<bool> {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(target)?;
        socket.set_read_timeout(Some(REFUSAL_MAX))?;
        // RFC 5626 §3.5.1: a keep-alive, which servers answer or ignore.
        socket.send(b"\r\n\r\n")?;
        let answer = socket.recv(&mut [0; 64]);
        Ok(answer.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused))
    };
    match refused() {
        Ok(true) => Err(Trouble::outside(format!(
            "UDP {target}: nothing listens there (the port is refused); start the server, or check --target"
        ))),
        _ => Ok(()),
    }
}

/// Are there descriptors for so many sockets?
pub fn open_files(sockets: u64) -> Result<(), Trouble> {
    let wanted = sockets + OTHER_FILES;
    let limit = machine::open_files(wanted);
    if limit >= wanted {
        return Ok(());
    }
    Err(Trouble::usage(format!(
        "{sockets} sockets are needed, but this process may open {limit} files; raise the limit (ulimit -n {wanted}, \
         or LimitNOFILE= in a unit), or lower --concurrent, --rate or --hold"
    )))
}

/// A word on receive buffers, if they are small for this rate.
pub fn receive_buffers(rate: f64) -> Option<String> {
    let max = machine::receive_buffer_max()?;
    (rate >= 500.0 && max < RECEIVE_BUFFER_GOOD).then(|| {
        format!(
            "net.core.rmem_max is {max}: bursts may be dropped before they are read; sysctl -w net.core.rmem_max=4194304"
        )
    })
}

/// Even ports of the range, and whether they are enough.
pub fn rtp_ports(range: (u16, u16), needed: usize) -> Result<Vec<u16>, Trouble> {
    let ports: Vec<u16> = (range.0..=range.1).filter(|port| port % 2 == 0).collect();
    if ports.len() >= needed {
        return Ok(ports);
    }
    Err(Trouble::usage(format!(
        "RTP needs {needed} even ports, one for each side of each call at once, but --rtp-ports {}-{} has {}; widen it, \
         or lower --concurrent, --rate or --hold",
        range.0,
        range.1,
        ports.len()
    )))
}

/// The cores to pin `threads` threads to: as `--pin` says, otherwise from the last one down.
pub fn pins(pin: Option<&str>, threads: usize) -> Result<Vec<Option<CoreId>>, Trouble> {
    let all = core_affinity::get_core_ids().unwrap_or_default();
    match pin {
        Some("off") => Ok(vec![None; threads]),
        None if all.len() < threads => Ok(vec![None; threads]),
        None => Ok(all.into_iter().rev().take(threads).map(Some).collect()),
        Some(list) => {
            let wrong = || Trouble::usage(format!("--pin {list}: give {threads} of the cores {:?}", ids(&all)));
            let wanted: Vec<usize> =
                list.split(',').map(|core| core.trim().parse().map_err(|_| wrong())).collect::<Result<_, _>>()?;
            let found = wanted.iter().map(|&id| all.iter().find(|core| core.id == id).copied().ok_or_else(wrong));
            let found = found.collect::<Result<Vec<_>, _>>()?;
            if found.len() != threads {
                return Err(wrong());
            }
            Ok(found.into_iter().map(Some).collect())
        }
    }
}

fn ids(cores: &[CoreId]) -> Vec<usize> {
    cores.iter().map(|core| core.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_resolved_with_and_without_port() {
        let resolved = |text| resolve(text, None).map(|(host, address)| format!("{host} {address}"));
        assert_eq!(resolved("127.0.0.1").unwrap(), "127.0.0.1 127.0.0.1:5060");
        assert_eq!(resolved("::1").unwrap(), "[::1] [::1]:5060");
        assert_eq!(resolved("[::1]:70").unwrap(), "[::1] [::1]:70");
        assert_eq!(resolved("[::1]").unwrap(), "[::1] [::1]:5060");
        assert_eq!(resolved("127.0.0.1:9").unwrap(), "127.0.0.1 127.0.0.1:9");
        assert!(resolved("127.0.0.1:0").unwrap_err().sentence.contains("port 0"));
        let beyond = resolved("127.0.0.1:99999").unwrap_err().sentence;
        assert!(beyond.contains("'99999' is no port") && beyond.contains("65535"), "{beyond}");
    }

    #[test]
    fn too_few_ports_is_a_sentence_with_numbers() {
        assert_eq!(rtp_ports((10, 17), 4).unwrap(), [10, 12, 14, 16]);
        let trouble = rtp_ports((11, 17), 4).unwrap_err();
        assert!(trouble.code == 2 && trouble.sentence.contains("needs 4") && trouble.sentence.contains("has 3"));
    }

    #[test]
    fn a_refused_port_is_noticed() {
        let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(probe(free, Transport::Udp).unwrap_err().sentence.contains("nothing listens"));
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(probe(free, Transport::Tcp).unwrap_err().sentence.contains("nothing listens"));
    }
}

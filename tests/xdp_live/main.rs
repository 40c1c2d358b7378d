//! The loaded relay on real devices: two name spaces joined by a veth pair, a rule, and packets that come back from the far
//! party's address although no process of ours has read them. Needs root, `ip` and `ethtool`; says so where it cannot run, and fails there
//! with `STROWGER_NEEDS_BPF=1`.
//!
//! The test starts itself again inside the name spaces (`ip netns exec`); which part it plays stands in `XD_ROLE`.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant as Clock};
use strowger::base::{Instant, SocketKey};
use strowger::media::{FastPath, FastRule, PathRequest, Swept};
use strowger::xdp::layout::{Constants, Moment};
use strowger::xdp::memory::Memory;
use strowger::xdp::object::Object;
use strowger::xdp::sys::Mode;
use strowger::xdp::{OBJECT, Slice, Xdp, XdpOptions};

const PORT: u16 = 20_000;
const SSRC: u32 = 77;

fn run(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let status = Command::new(words.next().unwrap()).args(words).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Two name spaces and the pair between them, gone when this is dropped.
struct Net {
    names: [String; 2],
}

impl Net {
    fn make() -> Option<Self> {
        let id = std::process::id();
        let net = Self { names: [format!("xdr{id}"), format!("xdp{id}")] };
        let [relay, party] = &net.names;
        let made = [
            format!("ip netns add {relay}"),
            format!("ip netns add {party}"),
            format!("ip -n {relay} link add r0 type veth peer name p0 netns {party}"),
            format!("ip -n {relay} addr add 10.77.0.1/24 dev r0"),
            format!("ip -n {relay} addr add fd77::1/64 dev r0 nodad"),
            format!("ip -n {relay} link set r0 up"),
            format!("ip -n {relay} link set lo up"),
            format!("ip -n {party} addr add 10.77.0.2/24 dev p0"),
            format!("ip -n {party} addr add 10.77.0.3/24 dev p0"),
            format!("ip -n {party} addr add fd77::2/64 dev p0 nodad"),
            format!("ip -n {party} addr add fd77::3/64 dev p0 nodad"),
            format!("ip -n {party} link set p0 up"),
            // A packet whose checksum is left to the card has none yet when it leaves a veth.
            format!("ip netns exec {party} ethtool -K p0 tx off"),
        ];
        made.iter().all(|line| run(line)).then_some(net)
    }

    fn start(&self, place: usize, role: &str) -> Child {
        let me = std::env::current_exe().unwrap();
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.names[place]]).arg(me).args(["--exact", "played", "--nocapture"]);
        command.env("XD_ROLE", role).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("ip netns exec")
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in &self.names {
            run(&format!("ip netns del {name}"));
        }
    }
}

/// Waits for a line of a child's.
fn heard(child: &mut Child, lines: &mut impl BufRead, word: &str) -> String {
    loop {
        let mut line = String::new();
        assert!(lines.read_line(&mut line).unwrap() > 0, "ended before `{word}`: {:?}", child.wait());
        if let Some(at) = line.find(word) {
            return line[at..].trim().to_owned();
        }
    }
}

#[test]
fn packets_come_back_by_the_kernel_and_stop_when_the_process_is_killed() {
    let cannot = |why: &str| {
        assert!(std::env::var_os("STROWGER_NEEDS_BPF").is_none(), "{why}");
        eprintln!("SKIP the live test: {why}");
    };
    if Memory::create(Constants { cpus: 1, ..Constants::default() }).is_err() {
        return cannot("programs may not be loaded here; run as root");
    }
    let Some(net) = Net::make() else { return cannot("no name spaces with veth pairs here (ip, ethtool, root)") };
    let mut party = net.start(1, "party");
    let mut of_party = BufReader::new(party.stdout.take().unwrap());
    heard(&mut party, &mut of_party, "ready");
    let mut relay = net.start(0, "relay");
    let mut of_relay = BufReader::new(relay.stdout.take().unwrap());
    heard(&mut relay, &mut of_relay, "down 4");
    let mut say = party.stdin.take().unwrap();
    for (family, command) in [("4", "send4"), ("6", "send6")] {
        writeln!(say, "{command}").unwrap();
        assert_eq!(heard(&mut party, &mut of_party, "got"), "got 50 of 50", "family {family}");
    }
    assert_eq!(heard(&mut relay, &mut of_relay, "swept"), "swept 100 packets 17200 octets, up 0");
    relay.kill().unwrap();
    relay.wait().unwrap();
    writeln!(say, "send4").unwrap();
    assert_eq!(heard(&mut party, &mut of_party, "got"), "got 0 of 50", "the program went with its process");
    drop(say);
    assert!(party.wait().unwrap().success());
}

#[test]
fn played() {
    match std::env::var("XD_ROLE").as_deref() {
        Ok("party") => be_party(),
        Ok("relay") => be_relay(),
        _ => {}
    }
}

fn at(v6: bool, last: u8, port: u16) -> SocketAddr {
    let address: IpAddr = if v6 { format!("fd77::{last}") } else { format!("10.77.0.{last}") }.parse().unwrap();
    SocketAddr::new(address, port)
}

fn voice(sequence: u16) -> Vec<u8> {
    let mut out = vec![0x80, 0];
    out.extend(sequence.to_be_bytes());
    out.extend((u32::from(sequence) * 160).to_be_bytes());
    out.extend(SSRC.to_be_bytes());
    out.resize(172, 0x55);
    out
}

/// Sends from .2, listens as .3. A veth gives frames back only to a peer with a program, so it has one that does nothing.
fn be_party() {
    let memory = Memory::create(Constants { cpus: 1, ..Constants::default() }).unwrap();
    let idle = memory.load(&Object::parse(OBJECT).unwrap(), "clock").unwrap();
    let ifindex = std::fs::read_to_string("/sys/class/net/p0/ifindex").unwrap().trim().parse().unwrap();
    let _link = idle.attach(ifindex, Mode::Native).unwrap();
    let _: &Moment = &memory.moment[0];
    let sockets =
        [false, true].map(|v6| (UdpSocket::bind(at(v6, 2, 4000)).unwrap(), UdpSocket::bind(at(v6, 3, 5000)).unwrap()));
    println!("ready");
    for line in std::io::stdin().lines() {
        let v6 = line.unwrap() == "send6";
        let (from, to) = &sockets[usize::from(v6)];
        to.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let mut got = 0;
        for sequence in 0..50 {
            from.send_to(&voice(sequence), at(v6, 1, PORT)).unwrap();
            let mut packet = [0; 1500];
            // Closed as it is, a dead relay's port answers with ICMP; then one wait tells it all.
            if let Ok((len, source)) = to.recv_from(&mut packet) {
                assert_eq!(source, at(v6, 1, PORT + 2), "by the other port of ours");
                assert_eq!(packet[..len], voice(sequence)[..]);
                got += 1;
            } else if sequence == 0 {
                break;
            }
        }
        println!("got {got} of 50");
    }
}

/// Moves one flow of each family down, and says so; then what a sweep read.
fn be_relay() {
    let address = |v6| at(v6, 1, 0).ip();
    let (IpAddr::V4(v4), IpAddr::V6(v6)) = (address(false), address(true)) else { panic!() };
    let options = XdpOptions {
        v4: Some(v4),
        v6: Some(v6),
        port_min: PORT,
        port_max: PORT + 99,
        devices: Vec::new(),
        dead_man: Duration::from_secs(10),
        pin: None,
    };
    let xdp = Xdp::start(&options).unwrap_or_else(|why| panic!("{why}"));
    assert_eq!((xdp.name(), xdp.devices()), ("xdp", vec!["r0"]));
    assert!(xdp.warnings().is_empty(), "{:?}", xdp.warnings());
    let mut table = xdp.shard(Slice { socket_base: 0, port_min: PORT, port_max: PORT + 99, tells_totals: true });
    let sockets = [false, true]
        .map(|v6| (UdpSocket::bind(at(v6, 1, PORT)).unwrap(), UdpSocket::bind(at(v6, 1, PORT + 2)).unwrap()));
    let started = Clock::now();
    let now = || Instant::ZERO + started.elapsed();
    for v6 in [false, true] {
        let key = SocketKey(if v6 { 100 } else { 0 });
        assert!(table.apply(now(), PathRequest::Opened { key }));
        let rule = FastRule {
            source: at(v6, 2, 4000),
            to: at(v6, 3, 5000),
            from: at(v6, 1, PORT + 2),
            ssrc: SSRC,
            payload_type: 0,
            clock_rate: 8000,
            dscp: 46,
        };
        // The first packets go by the socket, which makes the kernel look for the neighbour.
        while !table.apply(now(), PathRequest::Down { key, rule }) {
            assert!(started.elapsed() < Duration::from_secs(10), "no way is found");
            sockets[usize::from(v6)].1.send_to(b"?", at(v6, 3, 9)).unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    println!("down 4 and 6");
    let (mut packets, mut octets) = (0, 0);
    while packets < 100 {
        std::thread::sleep(Duration::from_millis(100));
        table.sweep(now(), &mut |_, swept| {
            let Swept::Counts(counts) = swept else { panic!("refused") };
            assert!(counts.last.is_some_and(|last| now().since(last) < Duration::from_secs(1)));
            assert_eq!((counts.duplicates, counts.late, counts.skipped, counts.gaps), (0, 0, 0, 0));
            packets += counts.packets;
            octets += counts.bytes;
        });
    }
    let up = sockets.iter().flat_map(|(a, b)| [a, b]).filter(|socket| {
        socket.set_nonblocking(true).unwrap();
        socket.recv(&mut [0; 9]).is_ok()
    });
    println!("swept {packets} packets {octets} octets, up {}", up.count());
    std::thread::sleep(Duration::from_secs(60));
}

//! The program as its users meet it: exit codes, and for each bad input one sentence that says what to do, never a hang.

mod checks;
#[path = "cli/media.rs"]
mod media;
#[path = "cli/outputs.rs"]
mod outputs;
#[path = "cli/refusals.rs"]
mod refusals;
#[path = "cli/scenarios.rs"]
mod scenarios;

use std::net::UdpSocket;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Nothing here may take longer; a hang is what these tests are about.
const LONGEST: Duration = Duration::from_secs(40);

struct Ran {
    code: i32,
    said: String,
}

fn run(arguments: &str) -> Ran {
    let before = Instant::now();
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_strowger-loadgen"))
        .args(arguments.split_whitespace())
        .output()
        .expect("the program starts");
    assert!(before.elapsed() < LONGEST, "{arguments}: took {:?}", before.elapsed());
    let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    Ran { code: status.code().unwrap_or(-1), said }
}

#[track_caller]
fn expect(arguments: &str, code: i32, words: &[&str]) -> Ran {
    let ran = run(arguments);
    assert_eq!(ran.code, code, "{arguments}\n{}", ran.said);
    for word in words {
        assert!(ran.said.contains(word), "{arguments}: '{word}' is not in\n{}", ran.said);
    }
    ran
}

/// Runs `each` on whatever a UDP port of loopback receives; the port, and a guard that ends it.
fn server(mut each: impl FnMut(&str) -> Option<String> + Send + 'static) -> (u16, impl Drop) {
    server_by_source(move |request, _| each(request))
}

/// The same, told where each request came from.
fn server_by_source(
    mut each: impl FnMut(&str, std::net::SocketAddr) -> Option<String> + Send + 'static,
) -> (u16, impl Drop) {
    struct Guard(Arc<AtomicBool>);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = socket.local_addr().expect("an address").port();
    let (stop, stopped) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let guard = Guard(stop.clone());
    std::thread::spawn(move || {
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a time-out");
        let mut buffer = [0; 65536];
        while !stop.load(Ordering::Relaxed) {
            let Ok((len, from)) = socket.recv_from(&mut buffer) else { continue };
            if let Some(answer) = each(&String::from_utf8_lossy(&buffer[..len]), from) {
                let _ = socket.send_to(answer.as_bytes(), from);
            }
        }
        stopped.store(true, Ordering::Relaxed);
    });
    (port, guard)
}

/// An answer that copies what RFC 3261 §8.2.6.2 says must be copied.
fn answer(request: &str, status: &str) -> Option<String> {
    if request.starts_with("ACK") || request.trim().is_empty() {
        return None;
    }
    let copied = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"];
    let lines: Vec<&str> = request.lines().filter(|line| copied.iter().any(|name| line.starts_with(name))).collect();
    Some(format!("SIP/2.0 {status}\r\n{}\r\nContent-Length: 0\r\n\r\n", lines.join("\r\n")))
}

/// Busy test machines send late; that is not what most of these tests are about.
const PATIENT: &str = "--late-max 30s -q";

#[test]
fn what_the_user_cuts_off_has_not_failed() {
    let caller = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let free = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
    let local = caller.local_addr().expect("an address");
    caller.set_read_timeout(Some(Duration::from_millis(200))).expect("a time-out");
    let child = Command::new(env!("CARGO_BIN_EXE_strowger-loadgen"))
        .args(["calls", "--uas", "--rtp", "off", "--duration", "60s", "--quiet", "--uas-listen", &free.to_string()])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the program starts");
    let invite = format!(
        "INVITE sip:bob@{free} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:bob@{free}>\r\n\
         Call-ID: 1\r\nCSeq: 1 INVITE\r\nContact: <sip:a@{local}>\r\nContent-Length: 0\r\n\r\n"
    );
    let mut answered = false;
    for _ in 0..100 {
        let mut buffer = [0; 2000];
        // Nobody may listen yet.
        let _ = caller.send_to(invite.as_bytes(), free);
        answered = caller.recv(&mut buffer).is_ok_and(|len| len > 0);
        if answered {
            break;
        }
    }
    assert!(answered, "the answering side answers");
    let told = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill runs");
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(told.success() && output.status.code() == Some(0), "{:?}\n{said}", output.status);
    assert!(said.contains("1 calls were up when the run was cut off"), "{said}");
}

#[test]
fn calls_to_ourselves_complete_on_every_path() {
    for (address, options) in [
        ("127.0.0.1", "--backend epoll --check"),
        ("127.0.0.1", "--backend auto --hangup uas"),
        ("[::1]", "--backend epoll --transport tcp --check"),
        ("[::1]", "--backend auto --threads 2 --pin off"),
        ("127.0.0.1", "--backend auto --transport tcp --hangup uas --rtp off --ring 50ms"),
    ] {
        let to = free(address);
        let ran = expect(
            &format!("calls --target {to} --uas-listen {to} --rate 40 --calls 20 --hold 400ms {PATIENT} {options}"),
            0,
            &["20 begun, 20 established, 20 completed, 0 failed", "20 arrived, 20 established, 20 completed"],
        );
        assert!(options.contains("--rtp off") || ran.said.contains(" 0 lost "), "{}", ran.said);
    }
}

#[test]
fn calls_of_every_kind_from_many_sources_end_as_asked() {
    let to = free("127.0.0.1");
    for (side, audio) in [("uac", "--rtp pcma --rtp-from tone"), ("uas", "--rtp pcmu")] {
        let ran = expect(
            &format!(
                "calls --target {to} --uas-listen {to} --rate 40 --calls 60 --hold uniform:1500ms-2s --ring 700ms --cancel 20% \
                 --cancel-after 100ms --answer-with 486:10% --answer-with 480:10% --early-media 50% --reinvite 60% \
                 --reinvite-after 300ms --on-hold 300ms --reinvite-by {side} --bind 127.0.0.2-127.0.0.9 --sources 500 --users 1000 \
                 --from caller{{}} {audio} {PATIENT} --rtp-loss-max 100% --assert mos_mean>1 --assert calls_early>0 --assert \
                 calls_refused_as_asked>0 --assert calls_cancelled>0 --assert reinvites_completed>0"
            ),
            0,
            &["60 begun", "0 failed", "re-INVITEs", "early media", "as asked"],
        );
        assert!(ran.said.contains("NER 100.00%"), "{}", ran.said);
    }
}

#[test]
fn a_target_that_limits_each_source_is_told_from_a_slow_one() {
    let mut counts = std::collections::HashMap::new();
    let (port, _guard) = server_by_source(move |request, from| {
        let count: &mut u32 = counts.entry(from).or_default();
        *count += 1;
        answer(request, if *count > 10 { "503 Too Many" } else { "404 Not Found" })
    });
    expect(
        &format!("calls --uac --rtp off --calls 50 --rate 100 --target 127.0.0.1:{port} {PATIENT}"),
        1,
        &["503 Too Many", "seems to limit each source", "--sources N"],
    );
}

/// An address whose port nobody holds over UDP or TCP.
fn free(address: &str) -> String {
    let found = (0..100).find_map(|_| {
        let datagrams = UdpSocket::bind(format!("{address}:0")).ok()?;
        let local = datagrams.local_addr().ok()?;
        std::net::TcpListener::bind(local).ok().map(|_| local.to_string())
    });
    found.expect("a free port")
}

/// A file in a directory that goes with the test.
fn scratch(name: &str) -> String {
    let directory = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("loadgen-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    directory.join(name).to_string_lossy().into_owned()
}

#[test]
fn each_way_to_end_has_its_exit_code() {
    let (ringing, _guard) = server(|request| answer(request, "180 Ringing"));
    expect(
        &format!("calls --uac --rtp off --calls 5 --target 127.0.0.1:{ringing} --timeout 1s {PATIENT}"),
        97,
        &["--timeout"],
    );
    let to = free("127.0.0.1");
    expect(&format!("calls --uas --uas-listen {to} --duration 300ms -q"), 99, &["not one call"]);
    let (accepting, _guard) = server(|request| answer(request, "200 OK"));
    let common = format!("register --user u{{}} --users 20 --target 127.0.0.1:{accepting} --rate 100 -q");
    expect(&format!("{common} --late-max 30s --assert rrd_max<1ns"), 3, &["rrd_max<1ns: FAILED", "does not hold"]);
    expect(&format!("{common} --late-max 1ns"), 4, &["generator saturated", "lower the rate"]);
}

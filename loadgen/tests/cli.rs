//! The program as its users meet it: exit codes, and for each bad input one sentence that says what to do, never a hang.

mod checks;

use std::net::UdpSocket;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use checks::{junit_trouble, violation};
use serde_json::Value;

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

#[test]
fn the_json_says_what_the_text_says() {
    let to = free("127.0.0.1");
    let ran = expect(
        &format!(
            "calls --target {to} --uas-listen {to} --rate 50 --calls 10 --hold 200ms --rtp off {PATIENT} \
             --json - --assert calls_completed==10 --assert srd_max<30s"
        ),
        0,
        &[],
    );
    let json = &ran.said[ran.said.find('{').unwrap()..=ran.said.rfind('}').unwrap()];
    let json: Value = serde_json::from_str(json).unwrap();
    assert_eq!((&json["schema"], &json["exit_code"]), (&"strowger-loadgen/1".into(), &0.into()));
    assert_eq!((&json["counters"]["calls_completed"], &json["latency_ms"]["srd"]["count"]), (&10.into(), &10.into()));
    assert_eq!((&json["asserts"][0]["holds"], &json["settings"]["rate"]), (&true.into(), &50.0.into()));
    let points = json["series"].as_array().unwrap();
    let sum = |name: &str| points.iter().filter_map(|point| point["counters"][name].as_u64()).sum::<u64>();
    assert_eq!((sum("calls_attempted"), sum("uas_completed")), (10, 10));
    assert!(json["machine"]["getppid_ns"].as_f64().unwrap() > 0.0);
    assert_eq!(violation(&json), None);
    for (pointer, value) in
        [("/machine/colour", "red"), ("/elapsed_s", "long"), ("/series/0/counters/calls_attempted", "9")]
    {
        let mut broken = json.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        broken.pointer_mut(parent).unwrap()[name] = value.into();
        assert!(violation(&broken).is_some(), "{pointer}");
    }
}

/// A file in a directory that goes with the test.
fn scratch(name: &str) -> String {
    let directory = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("loadgen-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    directory.join(name).to_string_lossy().into_owned()
}

#[test]
fn the_page_and_the_test_cases_say_what_the_exit_code_says() {
    let (refusing, _guard) = server(|request| answer(request, "486 Busy & <Here>"));
    let (html, junit) = (scratch("busy.html"), scratch("busy.xml"));
    expect(
        &format!(
            "calls --uac --rtp off --calls 30 --rate 20 --target 127.0.0.1:{refusing} --auth al:sesame {PATIENT} \
             --html {html} --junit {junit} --assert calls_failed==30 --assert ser>=99%"
        ),
        1,
        &[],
    );
    let page = std::fs::read_to_string(html).expect("the page");
    for part in [
        "Failed (exit code 1)",
        "30 calls failed",
        "answered 486 Busy &amp; &lt;Here&gt;",
        "does not hold",
        "al:***",
        "<svg",
        "</html>",
    ] {
        assert!(page.contains(part), "'{part}' is not in the page");
    }
    for strange in ["sesame", "<script", "http://", "https://", "NaN", "inf "] {
        assert!(!page.contains(strange), "'{strange}' is in the page");
    }
    let cases = std::fs::read_to_string(junit).expect("the test cases");
    for part in [
        "tests=\"4\" failures=\"2\"",
        "<testcase name=\"the run\"",
        "<failure type=\"run\" message=\"30 calls failed\">",
        "486 Busy &amp; &lt;Here&gt;",
        "<testcase name=\"assert calls_failed==30\" classname=\"strowger-loadgen.calls\" time=\"0.000\"/>",
        "<failure type=\"assert\" message=\"ser&gt;=99%: 0",
    ] {
        assert!(cases.contains(part), "'{part}' is not in\n{cases}");
    }
    assert!(!cases.contains("sesame"), "{cases}");
    assert_eq!(junit_trouble(&cases), None, "{cases}");
    for (part, instead) in [
        ("failures=\"2\"", "failures=\"1\""),
        (" classname=\"strowger-loadgen.calls\"", ""),
        ("<failure type", "<failure kind"),
        ("system-out>", "output>"),
        ("time=\"0.000\"", "time=\"soon\""),
    ] {
        assert!(cases.contains(part) && junit_trouble(&cases.replace(part, instead)).is_some(), "{part}");
    }
}

#[test]
fn a_reader_that_goes_away_takes_nothing_from_the_files() {
    let (to, junit) = (free("127.0.0.1"), scratch("unread.xml"));
    let arguments = format!(
        "calls --target {to} --uas-listen {to} --rate 50 --calls 5 --hold 20ms --rtp off --late-max 30s --junit {junit}"
    );
    let mut child = Command::new(env!("CARGO_BIN_EXE_strowger-loadgen"))
        .args(arguments.split_whitespace())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the program starts");
    drop((child.stdout.take(), child.stderr.take()));
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    assert!(std::fs::read_to_string(junit).expect("the test cases").contains("failures=\"0\""));
}

#[test]
fn what_cannot_be_written_or_drawn_is_one_sentence() {
    let to = free("127.0.0.1");
    let calls = format!("calls --target {to} --uas-listen {to} --rate 50 --calls 2 --hold 20ms --rtp off {PATIENT}");
    for option in ["--json", "--html", "--junit", "--hgrm"] {
        expect(&format!("{calls} {option} /nonexistent/file"), 2, &[option, "/nonexistent", "cannot be written"]);
    }
    let no_terminal = "calls --uac --target 127.0.0.1:15090 --screen on";
    expect(no_terminal, 2, &["--screen on", "terminal", "--screen off"]);
    expect(&format!("{no_terminal} --json -"), 2, &["--json -", "standard output"]);
    expect(&format!("{no_terminal} --quiet"), 2, &["--quiet", "--screen"]);
}

#[test]
fn usage_is_refused_before_anything_is_sent() {
    expect("calls --target 127.0.0.1:15090", 2, &["who answers the calls?", "--uas-listen"]);
    expect("calls --uac", 2, &["--target"]);
    expect("calls --uac --target 127.0.0.1:15090 --hold 5", 2, &["write 5s"]);
    expect("calls --uac --target 127.0.0.1:99999", 2, &["99999", "no port", "65535"]);
    expect("calls --uac --target a..b:5060", 2, &["cannot be resolved", "check the name"]);
    expect("calls --uac --target 127.0.0.1:15090 --assert srd_p98<1", 2, &["1ms"]);
    expect(
        "calls --uac --target 127.0.0.1:15090 --concurrent 500 --rtp-ports 20000-20099",
        2,
        &["even ports", "has 50"],
    );
    expect("register --target 127.0.0.1:15090", 2, &["who registers?"]);
    expect("register --target 127.0.0.1:15090 --user bob --users 9", 2, &["'user{}'"]);
    expect("calls --target 127.0.0.1:15090 --uas-listen 0.0.0.0:15091", 2, &["--uas-listen"]);
    expect("calls --uac --target 127.0.0.1:15090 --pin 4096", 2, &["--pin"]);
    let ours = "calls --target 127.0.0.1:15090 --uas-listen 127.0.0.1:15090";
    for (options, words) in [
        ("--hold pareto:5s", ["no distribution", "lognormal:5s,3s"]),
        ("--early-media 10%", ["answered at once", "--ring 2s"]),
        ("--early-media 10% --rtp off --ring 2s", ["needs RTP", "--rtp off"]),
        ("--cancel 10% --ring 200ms", ["answered already", "--cancel-after"]),
        ("--answer-with 486:60% --answer-with 603:60%", ["more than all calls", "100%"]),
        ("--answer-with 99:5%", ["final answer", "486:5%"]),
        ("--reinvite 10% --hold 500ms", ["end before --reinvite-after", "--hold"]),
        ("--on-hold 1s", ["--on-hold", "--reinvite 20%"]),
        ("--rtp-from no-such-file.wav", ["no-such-file.wav", "silence, tone"]),
        ("--rtp-from Cargo.toml", ["neither WAV nor pcap", "sox"]),
        ("--bind 127.0.0.9-127.0.0.2", ["not a range", "127.0.0.2-127.0.0.50"]),
        ("--bind 127.0.0.2-127.0.0.9 --transport tcp", ["is for UDP", "one address"]),
        ("--bind 203.0.113.1", ["203.0.113.1", "an address of this machine"]),
    ] {
        expect(&format!("{ours} --calls 1 {options}"), 2, &words);
    }
}

#[test]
fn a_target_that_is_not_there_is_one_sentence() {
    let refused = ["nothing listens there", "start the server"];
    expect(&format!("calls --uac --target {} --rtp off", free("127.0.0.1")), 1, &refused);
    expect(&format!("calls --uac --target {} --rtp off", free("[::1]")), 1, &refused);
    expect(&format!("calls --uac --target {} --rtp off --transport tcp", free("127.0.0.1")), 1, &refused);
}

#[test]
fn a_port_that_is_taken_is_one_sentence() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = taken.local_addr().unwrap();
    expect(&format!("calls --uas --uas-listen {to}"), 2, &["cannot listen", "choose another --uas-listen"]);
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/peers/sipp/answer.uas.xml");
    expect(&format!("sipp {scenario} --bind {to}"), 2, &["cannot listen", "choose another port with --bind IP:PORT"]);
}

#[test]
fn a_server_that_never_answers_is_noticed() {
    let (port, _guard) = server(|_| None);
    let common = format!("--target 127.0.0.1:{port} --silence-max 1s {PATIENT}");
    expect(&format!("calls --uac --rtp off {common}"), 1, &["not one came back"]);
    expect(&format!("register --user bob {common}"), 1, &["not one came back"]);
    expect(&format!("calls --register-uas bob:x {common} --t1 20ms"), 1, &["registration failed", "not answered"]);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    expect(
        &format!("calls --uac --rtp off --transport tcp --target 127.0.0.1:{port} --silence-max 1s {PATIENT}"),
        1,
        &["not one came back"],
    );
}

#[test]
fn a_server_that_refuses_everything_is_quoted() {
    let (port, _guard) = server(|request| answer(request, "403 Not Today"));
    let common = format!("--target 127.0.0.1:{port} --rate 50 {PATIENT}");
    expect(
        &format!("calls --uac --rtp off --calls 10 {common}"),
        1,
        &["10 calls failed", "10 requests were answered 403 Not Today"],
    );
    expect(&format!("register --user u{{}} --users 10 {common}"), 1, &["10 registrations failed", "403 Not Today"]);
    expect(&format!("calls --register-uas bob:x {common}"), 1, &["registration failed", "403 Not Today"]);
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

#[test]
fn media_alone_goes_both_ways_and_its_troubles_are_sentences() {
    let ports = "--rtp-ports 23000-23999";
    let media = format!("rtp --via nothing --streams 5 --duration 500ms {ports} {PATIENT}");
    expect(&media, 0, &["rtp: ok", "5 pairs begun", " 0 lost"]);
    expect(&format!("{media} --threads 2 --pin off"), 0, &["6 pairs begun", " 0 lost"]);
    let (nobody, _guard) = server(|_| None);
    let relay = |port: u16| format!("rtp --target 127.0.0.1:{port} --streams 1 {ports} {PATIENT}");
    expect(&relay(nobody), 1, &["did not answer 'ping'", "--listen-ng"]);
    let (refuses, _guard) = server(|request| {
        let cookie = request.split(' ').next()?;
        let pong = request.contains("4:ping");
        let refusal = "d12:error-reason10:too loaded6:result5:errore";
        Some(format!("{cookie} {}", if pong { "d6:result4:ponge" } else { refusal }))
    });
    expect(&relay(refuses), 1, &["refused 'offer': too loaded"]);
    let (strange, _guard) = server(|request| Some(format!("{} what?", request.split(' ').next()?)));
    expect(&relay(strange), 1, &["cannot be read"]);
    expect("rtp --streams 1", 2, &["--target"]);
    expect(&format!("{media} --settle 1s"), 2, &["--settle", "longer --duration"]);
    expect(&format!("{media} --to bob"), 2, &["--to", "--via sip"]);
}

#[test]
fn media_alone_goes_through_a_sip_server_too() {
    let to = free("127.0.0.1");
    let media = format!("rtp --via sip --target {to} --streams 10 --rate 50 {PATIENT}");
    expect(&media, 2, &["who answers the calls", "--uas-listen"]);
    let ran = expect(
        &format!("{media} --uas-listen {to} --settle 500ms --duration 700ms --assert rtp_delay_uas_count<=200"),
        0,
        &["rtp: ok", "10 begun, 10 established, 10 completed", " 0 lost", "rtp_delay_uac"],
    );
    let sent = ran.said.split("rtp            ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<u64>().ok());
    assert!(sent.is_some_and(|sent| sent > 400), "what came before --settle was sent, too: {}", ran.said);
}

#[test]
fn a_scenario_is_read_and_its_errors_have_places() {
    let peers = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/peers/sipp");
    expect(&format!("sipp --parse {peers}/call.uac.xml"), 0, &["'caller', 8 commands, nothing wrong"]);
    let wrong = scratch("wrong.xml");
    std::fs::write(&wrong, "<scenario>\n  <snd/>\n  <recv response='2oo'/>\n</scenario>").expect("a file");
    expect(
        &format!("sipp {wrong} 127.0.0.1:9"),
        2,
        &[":2:3: <snd> is no command; did you mean send?", ":3:19: response: '2oo'"],
    );
    expect(&format!("sipp {peers}/call.uac.xml"), 2, &["whom?"]);
    expect(&format!("sipp {peers}/answer.uas.xml"), 2, &["where?", "--bind IP:PORT"]);
    expect("sipp", 2, &["which scenario?"]);
    expect("sipp nowhere.xml 127.0.0.1:9", 2, &["nowhere.xml: cannot be read"]);
    expect("sipp -sn uac 127.0.0.1:9", 2, &["sipp -sd NAME"]);
}

#[test]
fn a_scenario_calls_and_its_timers_can_be_asserted() {
    let (port, _guard) = server(|request| answer(request, "200 OK"));
    let scenario = scratch("options.xml");
    let text = "<scenario name='o'><send retrans='500'><![CDATA[\nOPTIONS sip:[remote_ip] SIP/2.0\n\
        Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\nFrom: <sip:a@b>;tag=[call_number]\n\
        To: <sip:b@b>\nCall-ID: [call_id]\nCSeq: 1 OPTIONS\n]]></send><recv response='200' rtd='true' counter='ok'/></scenario>";
    std::fs::write(&scenario, text).expect("a file");
    let line = format!("sipp -sf {scenario} 127.0.0.1:{port} -m 5 -r 50 --late-max 5s");
    expect(&format!("{line} --assert rtd_1_count==5"), 0, &["5 begun, 5 established, 5 completed", "rtd_1"]);
    expect(&format!("{line} --assert rtd_2_p99<1s"), 2, &["no rtd=\"2\""]);
    expect(&format!("{line} --assert counter_ok==5"), 0, &["counter        ok 5", "counter_ok==5: holds"]);
    expect(&format!("{line} --assert counter_okay==5"), 2, &["no counter=\"okay\"", "did you mean ok?"]);
}

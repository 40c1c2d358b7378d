//! What cannot be run, and servers that do not do their part: one sentence each.

use super::*;

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

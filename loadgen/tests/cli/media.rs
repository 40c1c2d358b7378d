//! `rtp`: media alone, through nothing, through a relay, through a SIP server.

use super::*;

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

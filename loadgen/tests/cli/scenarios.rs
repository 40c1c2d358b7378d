//! `sipp`: scenarios and what is wrong with them.

use super::*;

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

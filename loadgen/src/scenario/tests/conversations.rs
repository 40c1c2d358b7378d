//! Scenarios that talk with each other: ours for SIPp, over good and bad networks, and each way a call can go wrong.

use super::*;

const UAC: &str = include_str!("../../../../tests/peers/sipp/call.uac.xml");
const UAS: &str = include_str!("../../../../tests/peers/sipp/answer.uas.xml");

macro_rules! peers {
    ($name:literal) => {
        include_str!(concat!("../../../../tests/peers/sipp/", $name, ".xml"))
    };
}

/// A caller and an answerer that do nothing special, with `more` after the answer.
fn caller(more: &str) -> String {
    format!(
        "<scenario><send retrans='500' start_rtd='answer'><![CDATA[
            INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
            Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
            From: <sip:a@[local_ip]:[local_port]>;tag=[pid]-[call_number]
            To: <sip:[service]@[remote_ip]:[remote_port]>
            Call-ID: [call_id]
            CSeq: 1 INVITE
            Contact: <sip:a@[local_ip]:[local_port]>
            Content-Length: 0
        ]]></send>
        <recv response='180' optional='true'/>
        <recv response='200' rtd='answer'/>
        <send><![CDATA[
            ACK sip:[service]@[remote_ip]:[remote_port] SIP/2.0
            Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
            From: <sip:a@[local_ip]:[local_port]>;tag=[pid]-[call_number]
            To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
            Call-ID: [call_id]
            CSeq: 1 ACK
            Content-Length: 0
        ]]></send>{more}</scenario>"
    )
}

const ANSWER: &str = "<recv request='INVITE'/>
    <send retrans='500'><![CDATA[
        SIP/2.0 200 OK
        [last_Via:]
        [last_From:]
        [last_To:];tag=[pid]u[call_number]
        [last_Call-ID:]
        [last_CSeq:]
        Contact: <sip:[local_ip]:[local_port]>
        Content-Length: 0
    ]]></send>
    <recv request='ACK'/>";
const OK: &str = "<send><![CDATA[
        SIP/2.0 200 OK
        [last_Via:]
        [last_From:]
        [last_To:]
        [last_Call-ID:]
        [last_CSeq:]
        Content-Length: 0
    ]]></send>";
const BYE: &str = "<send retrans='500'><![CDATA[
        BYE sip:x SIP/2.0
        Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
        From: <sip:a@[local_ip]:[local_port]>;tag=[pid]-[call_number]
        To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
        Call-ID: [call_id]
        CSeq: 2 BYE
        Content-Length: 0
    ]]></send><recv response='200'/>";

fn answerer(more: &str) -> String {
    format!("<scenario>{ANSWER}{more}</scenario>")
}

#[test]
fn our_own_scenarios_meet() {
    for (uac, uas) in [
        (UAC, UAS),
        (peers!("busy.uac"), peers!("busy.uas")),
        (peers!("cancel.uac"), peers!("cancel.uas")),
        (peers!("early.uac"), peers!("early.uas")),
        (peers!("hangup.uac"), peers!("hangup.uas")),
        (peers!("hold.uac"), peers!("hold.uas")),
        (peers!("late_offer.uac"), peers!("late_offer.uas")),
        (peers!("headers.uac"), peers!("headers.uas")),
        (peers!("topology.uac"), UAS),
    ] {
        let name = parse(uac).name;
        let world = talk(uac, uas, 3);
        let said = world.stats(0).samples.len() + world.stats(1).samples.len();
        assert_eq!(said, 0, "{name}: {:?} {:?}\n{:#?}", world.stats(0).samples, world.stats(1).samples, world.ladder());
        world.all_good(3);
    }
}

#[test]
fn the_basic_call_is_what_it_should_be() {
    let world = talk(UAC, UAS, 1);
    let ladder = world.ladder();
    let first: Vec<&str> = ladder.iter().map(|line| line.split(' ').take(2).collect::<Vec<_>>()[1]).collect();
    assert_eq!(first, ["INVITE", "180", "200", "ACK", "BYE", "200"], "{ladder:#?}");
    let stats = world.stats(0);
    let millis = |histogram: &hdrhistogram::Histogram<u64>| histogram.max() / 1_000_000;
    assert_eq!((stats.counters.calls_established, world.stats(1).counters.uas_established), (1, 1));
    assert_eq!((stats.latencies.srd.len(), stats.latencies.sdd.len(), millis(&stats.latencies.sdd)), (1, 1, 4));
}

#[test]
fn a_network_that_loses_and_doubles_fails_nothing() {
    // An ACK may be lost for good when the BYE comes, so it is optional, as in SIPp's own scenario.
    let uas = answerer(&format!("<recv request='BYE'/>{OK}")).replace("'ACK'/>", "'ACK' optional='true'/>");
    let uac = caller(&format!("<pause/>{BYE}"));
    for seed in 0..30 {
        let world = World::new([environment(parse(&uac)), environment(parse(&uas))], 8, seed);
        let world = world.over(|random, _| match random.below(10) {
            0 | 1 => vec![],
            2 => vec![Duration::from_millis(3), Duration::from_millis(40)],
            _ => vec![Duration::from_millis(2)],
        });
        let world = world.run();
        let (uac, uas) = (world.stats(0), world.stats(1));
        assert_eq!((uac.counters.calls_completed, uac.counters.calls_failed), (8, 0), "seed {seed}: {:?}", uac.samples);
        assert_eq!((uas.counters.uas_completed, uas.counters.uas_failed), (8, 0), "seed {seed}: {:?}", uas.samples);
    }
}

#[test]
fn an_invite_is_repeated_as_sipp_does_and_then_given_up() {
    let world = World::new([environment(parse(UAC)), environment(parse(UAS))], 1, 1).over(|_, _| vec![]).run();
    let at: Vec<u64> = world.sent.iter().map(|sent| sent.1 - 10).collect();
    assert_eq!(at, [0, 500, 1500, 3500, 7500, 15_500]);
    assert_eq!(world.now.as_millis() - 10, 31_500);
    let c = &world.stats(0).counters;
    assert_eq!((c.calls_failed, c.scenario_unanswered, c.retransmitted_invite), (1, 1, 5));
}

#[test]
fn a_bye_is_repeated_with_a_longest_interval_and_a_lost_200_is_answered_again() {
    let (uac, uas) = (caller(&format!("<pause/>{BYE}")), answerer(&format!("<recv request='BYE'/>{OK}")));
    let mut answers = 0;
    let world = World::new([environment(parse(&uac)), environment(parse(&uas))], 1, 1).over(move |_, bytes| {
        let is_answer = bytes.starts_with(b"SIP/2.0 200") && bytes.windows(5).any(|five| five == b"2 BYE");
        answers += usize::from(is_answer);
        if is_answer && answers < 5 { vec![] } else { vec![Duration::from_millis(2)] }
    });
    let world = world.run();
    let byes: Vec<u64> = world.sent.iter().filter(|sent| sent.2.starts_with("BYE")).map(|sent| sent.1 - 714).collect();
    assert_eq!(byes, [0, 500, 1500, 3500, 7500]);
    world.all_good(1);
}

#[test]
fn a_lost_ack_makes_the_200_come_again_and_the_ack_too() {
    let uac = caller(&format!("<pause milliseconds='1500'/>{BYE}"));
    let mut acks = 0;
    let uas = answerer(&format!("<recv request='BYE'/>{OK}"));
    let world = World::new([environment(parse(&uac)), environment(parse(&uas))], 1, 1).over(move |_, bytes| {
        acks += usize::from(bytes.starts_with(b"ACK"));
        if bytes.starts_with(b"ACK") && acks == 1 { vec![] } else { vec![Duration::from_millis(2)] }
    });
    let world = world.run();
    world.all_good(1);
    assert_eq!(world.stats(1).counters.retransmitted_success, 1);
    assert_eq!(world.sent.iter().filter(|sent| sent.2.starts_with("ACK")).count(), 2);
}

#[test]
fn a_refusal_nobody_expects_is_acknowledged_and_counted() {
    let world = talk(UAC, peers!("busy.uas"), 2);
    let c = &world.stats(0).counters;
    assert_eq!((c.calls_failed, c.calls_refused, world.stats(0).refusals[&486].0), (2, 2, 2));
    assert_eq!(world.stats(1).counters.uas_completed, 2, "the ACK came");
    assert!(
        world.stats(0).samples[0].contains("486 Busy Here for INVITE came instead of 200"),
        "{:?}",
        world.stats(0).samples
    );
}

#[test]
fn a_check_that_fails_hangs_up() {
    let ereg = "<ereg regexp='not there' search_in='msg' check_it='true' assign_to='1'/>";
    let uac = caller("").replace("rtd='answer'/>", &format!("><action>{ereg}</action></recv>"));
    let world = talk(&uac, &answerer(&format!("<recv request='BYE'/>{OK}")), 1);
    assert_eq!(world.ladder()[2..4], ["→ ACK sip:192.0.2.2:5060", "→ BYE sip:192.0.2.2:5060"]);
    assert_eq!(world.stats(0).counters.scenario_checks_failed, 1);
    assert_eq!(world.stats(1).counters.uas_completed, 1);
    assert!(world.stats(0).samples[0].contains("s.xml:12: 'not there' was not found"), "{:?}", world.stats(0).samples);
}

#[test]
fn waiting_in_vain_ends_the_call_or_leads_elsewhere() {
    let uac = caller("<recv request='INFO' timeout='3000'/>");
    let world = talk(&uac, &answerer(&format!("<recv request='BYE'/>{OK}")), 1);
    assert_eq!(world.stats(0).counters.scenario_receive_timeouts, 1);
    assert!(world.stats(0).samples[0].ends_with("INFO did not come in time"));
    assert_eq!(world.stats(1).counters.uas_completed, 1, "a BYE is said");
    let uac = caller(&format!("<recv request='INFO' timeout='3000' ontimeout='bye'/><label id='bye'/>{BYE}"));
    talk(&uac, &answerer(&format!("<recv request='BYE'/>{OK}")), 1).all_good(1);
}

#[test]
fn a_bye_nobody_expects_gets_its_200_and_fails_the_call() {
    let uas = answerer("<pause milliseconds='200'/>").replace(
        "</scenario>",
        "<send retrans='500'><![CDATA[
            BYE sip:x SIP/2.0
            Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
            From: <sip:b@b>;tag=1
            To: <sip:a@b>;tag=2
            Call-ID: [call_id]
            CSeq: 1 BYE
        ]]></send><recv response='200'/></scenario>",
    );
    let world = talk(&caller("<pause milliseconds='5000'/>"), &uas, 1);
    assert_eq!((world.stats(0).counters.scenario_unexpected, world.stats(1).counters.uas_completed), (1, 1));
    assert!(world.stats(0).samples[0].contains("BYE came in a pause"));
    // The label that SIPp keeps for such messages.
    let uac = caller("<pause milliseconds='5000'/><nop next='end'/><label id='_unexp.main'/>")
        .replace("</scenario>", &format!("{OK}<label id='end'/></scenario>"));
    assert_eq!(talk(&uac, &uas, 1).stats(0).counters.calls_completed, 1);
}

#[test]
fn credentials_are_asked_for_given_and_verified() {
    let request = |cseq: u32, extra: &str| {
        format!(
            "<send retrans='500'><![CDATA[
            INVITE sip:bob@[remote_ip] SIP/2.0
            Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
            From: <sip:a@b>;tag=1
            To: <sip:bob@b>
            Call-ID: own///[call_id]
            CSeq: {cseq} INVITE
            {extra}
            Content-Length: 0
        ]]></send>"
        )
    };
    let ack = "<send><![CDATA[
            ACK sip:bob@[remote_ip] SIP/2.0
            Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch-2]
            From: <sip:a@b>;tag=1
            To: <sip:bob@b>[peer_tag_param]
            Call-ID: own///[call_id]
            CSeq: [last_cseq_number] ACK
        ]]></send>";
    let with = |authentication: &str| {
        let (first, second) = (request(1, ""), request(2, authentication));
        let bye = BYE.replace("CSeq: 2", "CSeq: 3").replace("Call-ID: ", "Call-ID: own///");
        format!(
            "<scenario>{first}<recv response='401' auth='true'/>{ack}{second}<recv response='180' optional='true'/>\
             <recv response='200'/>{ack}<pause milliseconds='50'/>{bye}</scenario>"
        )
    };
    let uas = peers!("challenge.uas");
    let good = talk(&with("[authentication]"), uas, 2);
    good.all_good(2);
    assert_eq!(good.stats(0).counters.challenges_answered, 2);
    let wrong = talk(&with("[authentication username=strowger password=[service]]"), uas, 2);
    assert_eq!((wrong.stats(0).counters.calls_refused, wrong.stats(0).refusals[&403].0), (2, 2));
}

#[test]
fn a_capture_is_played_where_the_peer_wants_it_and_echoed() {
    let offer = "Content-Type: application/sdp
            Content-Length: [len]

            v=0
            o=- 1 1 IN IP[media_ip_type] [media_ip]
            s=-
            c=IN IP[media_ip_type] [media_ip]
            t=0 0
            m=audio [auto_media_port] RTP/AVP 8";
    let play = "<nop><action><exec play_pcap_audio='a.pcap'/></action></nop><pause milliseconds='200'/>";
    let uac = caller(&format!("{play}{BYE}")).replacen("Content-Length: 0", offer, 1);
    let uas = answerer(&format!("<recv request='BYE'/>{OK}")).replacen("Content-Length: 0", offer, 1);
    let capture = crate::sound::pcap::tests::capture(&[b"one", b"two", b"three"]);
    let uac = environment(parse_with(&uac, &[], &[("a.pcap", &capture)]).unwrap());
    let uas = Environment { echo: true, ..environment(parse(&uas)) };
    let world = World::new([uac, uas], 4, 1).run();
    world.all_good(4);
    let (uac, uas) = (&world.stats(0).counters, &world.stats(1).counters);
    assert_eq!((uac.rtp_sent_uac, uas.rtp_received_uas, uas.rtp_sent_uas, uac.rtp_received_uac), (12, 12, 12, 12));
}

#[test]
fn a_lingering_call_answers_again_and_is_up_until_its_time() {
    let uas = answerer(&format!("<recv request='BYE'/>{OK}<timewait milliseconds='4000'/>"));
    let (uac, uas) = (environment(parse(&caller(&format!("<pause/>{BYE}")))), environment(parse(&uas)));
    let mut world = World::new([uac, uas], 1, 1);
    let now = world.now;
    world.sides.iter_mut().for_each(|side| side.prepare(now));
    world.sides.iter_mut().for_each(|side| side.start(now));
    while world.stats(0).counters.calls_completed == 0 {
        assert!(world.step());
    }
    assert_eq!((world.stats(1).counters.uas_completed, world.sides[1].status().calls_uas), (1, 1));
    let later = world.now + Duration::from_secs(4);
    world.sides[1].handle_timeout(later);
    assert_eq!(world.sides[1].status().calls_uas, 0);
}

#[test]
fn what_begins_no_scenario_is_answered_and_not_counted() {
    let uas = environment(parse(&answerer(&format!("<recv request='BYE'/>{OK}"))));
    let register = caller("").replace("INVITE", "REGISTER").replace("response='200'", "response='405'");
    let world = World::new([environment(parse(&register)), uas], 1, 1).run();
    assert_eq!((world.stats(0).counters.calls_completed, world.stats(1).counters.uas_calls), (1, 0));
}

#[test]
fn a_scenario_that_never_waits_ends_with_a_word() {
    let world = talk(&caller("<label id='1'/><nop next='1'/>"), &answerer(&format!("<recv request='BYE'/>{OK}")), 1);
    assert_eq!(world.stats(0).counters.calls_failed, 1);
    assert!(world.stats(0).samples[0].contains("goes round without waiting"));
}

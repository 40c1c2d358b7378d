//! What keywords, variables, actions and branches come to in messages that are really sent.

use super::*;

/// A request with these lines, and its 200.
fn options(lines: &str, number: u32) -> String {
    format!(
        "<send><![CDATA[
            OPTIONS sip:[service]@[remote_ip]:[remote_port+1] SIP/2.0
            Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
            From: <sip:a@b>;tag=[pid]-[call_number]
            To: <sip:b@b>
            Call-ID: [call_id]
            CSeq: {number} OPTIONS
            {lines}
        ]]></send>"
    )
}

const ANSWERER: &str = "<scenario><recv request='OPTIONS'/><send><![CDATA[
        SIP/2.0 200 OK
        [last_Via:]
        [last_From:]
        [last_To:];tag=peer
        [last_Call-ID:]
        [last_CSeq:]
        Record-Route: <sip:r1;lr>, <sip:r2;lr>
        Record-Route: <sip:r3;lr>
        Contact: <sip:me@192.0.2.2:5060>
        X-Multi: one
        X-Multi: two
        Content-Length: [len]

        abc
        d
    ]]></send><timewait milliseconds='10000'/></scenario>";

/// The messages the calling side sends.
fn sent(uac: Environment, calls: u64) -> (Vec<String>, World<'static>) {
    let world = World::new([uac, environment(parse(ANSWERER))], calls, 3).run();
    let texts = world.sent.iter().filter(|sent| sent.0 == 0).map(|sent| sent.2.clone()).collect();
    (texts, world)
}

fn line<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or("(none)").trim_end()
}

#[test]
fn keywords_are_what_sipp_makes_of_them() {
    let first = options(
        "X-Mine: [mine] \\x5b[msg_index]] [users] [userid] [media_ip]:[media_port+2] [local_ip_type]
            X-Tail: [last_Foo:] tail
            [last_Foo:]
            [routes]
            X-Time: [timestamp] [date]
            Content-Length: [len]

            body [call_number]

            ",
        1,
    );
    let second = options(
        "[routes]
            X-Url: [next_url]
            X-Tag: [peer_tag_param]
            [last_X-Multi:]
            X-Value: [last_Contact.value]
            X-Uri: [last_Request_URI]
            X-Cseq: [last_cseq_number+1]
            X-Back: [branch-2]",
        2,
    );
    let text = format!("<scenario>{first}<recv response='200' rrs='true'/>{second}</scenario>");
    let uac = parse_with(&text, &[("mine", "yours")], &[]).unwrap();
    let (texts, world) = sent(environment(uac), 2);
    assert_eq!(world.stats(0).counters.calls_completed, 2, "{:?}", world.stats(0).samples);
    let one = texts.iter().find(|text| text.contains("tag=77-2") && text.contains("CSeq: 1 ")).unwrap();
    assert!(
        one.starts_with(
            "OPTIONS sip:service@192.0.2.2:5061 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-77-2-0\r\n"
        ),
        "{one}"
    );
    assert_eq!(line(one, "X-Mine"), " yours [0] 3 1 192.0.2.1:6002 4");
    assert!(one.contains("X-Tail:  tail\r\nX-Time"), "what stands for nothing takes its line with it: {one}");
    assert!(line(one, "X-Time").contains("2020-09-13") && line(one, "X-Time").ends_with("GMT"), "{one}");
    assert!(one.ends_with("Content-Length: 8\r\n\r\nbody 2\r\n"), "{one:?}");
    let two = texts.iter().find(|text| text.contains("tag=77-1") && text.contains("CSeq: 2 ")).unwrap();
    assert_eq!(line(two, "Route"), " <sip:r3;lr>, <sip:r2;lr>, <sip:r1;lr>");
    assert_eq!((line(two, "X-Url"), line(two, "X-Tag")), (" sip:me@192.0.2.2:5060", " ;tag=peer"));
    assert_eq!((line(two, "X-Multi"), line(two, "X-Value")), (" one, two", " <sip:me@192.0.2.2:5060>"));
    assert_eq!((line(two, "X-Uri"), line(two, "X-Cseq"), line(two, "X-Back")), (" sip:b@b", " 2", " z9hG4bK-77-1-0"));
}

#[test]
fn variables_are_set_compared_and_written() {
    let actions = "<ereg regexp='.*' search_in='hdr' header='Contact:' assign_to='c'/>
        <ereg regexp='.*' search_in='hdr' header='X-Multi:' occurrence='2' assign_to='m'/>
        <ereg regexp='.*' search_in='hdr' header='X-None:' assign_to='n'/>
        <ereg regexp='b(.)' search_in='body' assign_to='bb,part'/>
        <ereg regexp='[0-9]+' search_in='var' variable='c' assign_to='digits'/>
        <todouble assign_to='number' variable='digits'/>
        <assign assign_to='num' value='3.5'/><add assign_to='num' value='2'/><multiply assign_to='num' variable='num'/>
        <subtract assign_to='num' value='0.25'/><divide assign_to='num' value='3'/>
        <assignstr assign_to='str' value=' ab [call_number] '/><trim assign_to='str'/>
        <strcmp assign_to='same' variable='str' value='ab 1'/>
        <test assign_to='big' variable='num' compare='greater_than_equal' value='10'/>
        <test assign_to='small' variable='num' compare='less_than' variable2='num'/>
        <gettimeofday assign_to='now'/>
        <log message='got [$num] and [$n]'/>";
    let second = options(
        "X-C:[$c]|
            X-M:[$m]|
            X-B:[$bb][$part]|
            X-Num: [$num] [$number] [$str] [$same] [$big] [$small] [$now]|
            X-Fill: [fill variable=length text=\"ab\"]|
            [$n]",
        2,
    );
    let text = format!(
        "<scenario>{}<recv response='200'><action>{actions}<assign assign_to='length' value='5'/></action></recv>{second}</scenario>",
        options("", 1)
    );
    let (texts, world) = sent(environment(parse(&text)), 1);
    let two = &texts[1];
    assert_eq!((line(two, "X-C"), line(two, "X-M"), line(two, "X-B")), (" <sip:me@192.0.2.2:5060>|", " two|", "bcc|"));
    assert!(two.contains("X-Num: 10.000000 192.000000 ab 1 0.000000 true false 1600000000.000000|"), "{two}");
    assert!(two.ends_with("X-Fill: ababa|\r\n\r\n"), "{two:?}");
    assert_eq!(world.logs, ["got 10.000000 and "]);
}

#[test]
fn branches_follow_variables_and_chance() {
    let text = format!(
        "<scenario><nop><action><assign assign_to='i' value='0'/></action></nop>
        <label id='again'/>{}<recv response='200'><action><add assign_to='i' value='1'/>
        <test assign_to='more' variable='i' compare='less_than' value='3'/></action></recv>
        <nop test='more' next='again'/>
        <nop condexec='more'><action><log message='never'/></action></nop>
        <nop condexec='more' condexec_inverse='true'><action><log message='once'/></action></nop>
        <nop next='end' chance='0'/><nop><action><jump value='9'/></action></nop>
        <nop><action><log message='jumped over'/></action></nop>
        <label id='end'/></scenario>",
        options("X-I: [$i]", 1).replace("CSeq: 1", "CSeq: [cseq]")
    );
    let uas = ANSWERER
        .replace("<timewait milliseconds='10000'/>", "<nop next='1'/>")
        .replace("<scenario>", "<scenario><label id='1'/>");
    let uas = uas.replace("<recv request='OPTIONS'/>", "<recv request='OPTIONS' timeout='500' ontimeout='2'/>");
    let uas = uas.replace("</scenario>", "<label id='2'/></scenario>");
    let world = World::new([environment(parse(&text)), environment(parse(&uas))], 1, 3).run();
    let numbers: Vec<&str> = world.sent.iter().filter(|sent| sent.0 == 0).map(|sent| line(&sent.2, "CSeq")).collect();
    assert_eq!(numbers, [" 1 OPTIONS", " 2 OPTIONS", " 3 OPTIONS"], "{:?}", world.stats(0).samples);
    assert_eq!(world.logs, ["once"]);
    world.all_good(1);
}

#[test]
fn values_come_from_files_and_outlive_calls_where_they_should() {
    let text = format!(
        "<scenario><Global variables='all,given'/><User variables='mine'/>
        <init><nop><action><assign assign_to='all' value='100'/></action></nop></init>
        <nop><action><add assign_to='all' value='1'/><add assign_to='mine' value='1'/></action></nop>
        {}<recv response='200'/></scenario>",
        options("X-F: [field0] [field1 file=b.csv line=[$one]] [field1] [$all] [$mine] [$given]", 1)
    )
    .replace("<nop><action><add", "<nop><action><assign assign_to='one' value='1'/><add");
    let names: [(&str, &[u8]); 2] = [("dir/a.csv", b""), ("b.csv", b"")];
    let program = parse_with(&text, &[], &names).unwrap();
    let set = vec![(global(&program, "given"), "set".to_string())];
    let injections =
        vec![injection("dir/a.csv", "SEQUENTIAL\nA;[call_number]\nB;x\n"), injection("b.csv", "USER\n1;2\n3;4\n")];
    let (texts, _) = sent(Environment { set, injections, ..environment(program) }, 4);
    let lines: Vec<&str> = texts.iter().map(|text| line(text, "X-F")).collect();
    assert_eq!(
        lines,
        [
            " A 4 1 101.000000 1.000000 set",
            " B 4 x 102.000000 1.000000 set",
            " A 4 3 103.000000 1.000000 set",
            " B 4 x 104.000000 2.000000 set"
        ]
    );
}

#[test]
fn timers_measure_from_where_they_start() {
    let text = format!(
        "<scenario>{}<recv response='200' rtd='true'/><pause milliseconds='300' start_rtd='later'/>
        <nop rtd='later'/></scenario>",
        options("", 1)
    );
    // A pause starts its timers when it is over.
    let (_, world) = sent(environment(parse(&text)), 2);
    let timers = &world.stats(0).timers;
    assert_eq!(
        timers.iter().map(|timer| (timer.0.as_str(), timer.1.len())).collect::<Vec<_>>(),
        [("rtd_1", 2), ("rtd_later", 2)]
    );
    assert_eq!(timers[0].1.max() / 1_000_000, 4);
    assert_eq!(timers[1].1.max() / 1_000_000, 0);
}

#[test]
fn counters_count_the_commands_that_were_done() {
    let text = format!(
        "<scenario>{}<recv response='180' optional='true' counter='rang'/><recv response='200' counter='answered'/>
        <nop counter='2'/><nop counter='2'/></scenario>",
        options("", 1)
    );
    let (_, world) = sent(environment(parse(&text)), 3);
    let counted = world.stats(0).counted.iter().map(|(name, count)| (name.as_str(), *count)).collect::<Vec<_>>();
    assert_eq!(counted, [("rang", 0), ("answered", 3), ("2", 6)]);
}

#[test]
fn transactions_are_told_apart_by_their_branch() {
    let text = format!(
        "<scenario>{}{}<recv response='200' response_txn='two'/><recv response='200' response_txn='one'/></scenario>",
        options("", 1).replace("<send", "<send start_txn='one'"),
        options("", 2).replace("<send", "<send start_txn='two'")
    );
    let uas = "<scenario><recv request='OPTIONS'><action>
        <ereg regexp='.*' search_in='hdr' header='Via:' assign_to='via'/></action></recv><recv request='OPTIONS'/>
        SECOND FIRST</scenario>";
    let answer = |via: &str, cseq: &str| {
        format!(
            "<send><![CDATA[SIP/2.0 200 OK\n{via}\n[last_From:]\n[last_To:];tag=1\n[last_Call-ID:]\nCSeq: {cseq}]]></send>"
        )
    };
    let uas = uas.replace("SECOND", &answer("[last_Via:]", "[last_cseq_number] OPTIONS"));
    let uas = uas.replace("FIRST", &answer("Via:[$via]", "1 OPTIONS"));
    World::new([environment(parse(&text)), environment(parse(&uas))], 1, 3).run().all_good(1);
}

#[test]
fn stopping_by_command_stops_what_it_says() {
    for (command, completed, failed) in [("stop_call", 0, 5), ("stop_gracefully", 1, 0), ("stop_now", 1, 0)] {
        let text = format!(
            "<scenario>{}<recv response='200'><action><exec int_cmd='{command}'/></action></recv></scenario>",
            options("", 1)
        );
        let (_, world) = sent(environment(parse(&text)), 5);
        let c = &world.stats(0).counters;
        assert_eq!((c.calls_completed, c.calls_failed), (completed, failed), "{command}");
    }
}

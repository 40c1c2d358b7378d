//! What is wrong with a scenario is said with line and column, and with what could be meant.

use proptest::prelude::*;

use super::*;

const SEND: &str = "<send><![CDATA[OPTIONS x SIP/2.0]]></send>";

/// Problems of a scenario that holds these lines, which begin in line 2.
fn problems(lines: &str) -> Vec<String> {
    let text = format!("<scenario name='x'>{SEND}\n{lines}\n</scenario>");
    match parse_with(&text, &[], &[("a.csv", b""), ("a.wav", b"RIFF")]) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

/// Lines, where they are wrong, and what is said.
const WRONG: &[(&str, &str, &str)] = &[
    ("<sned/>", "2:1", "<sned> is no command; did you mean send?"),
    ("<sendCmd/>", "2:1", "third-party call control"),
    ("<DefaultMessage id='bye'/>", "2:1", "not supported"),
    (" <send retarns='5'>A</send>", "2:8", "did you mean retrans?"),
    ("<send/>", "2:1", "needs a message"),
    ("<send retrans='x'>A</send>", "2:16", "'x' is no number"),
    ("<send retrans='-1'>A</send>", "2:1", "negative"),
    ("<send lost='101'>A</send>", "2:1", "percentage"),
    ("<send><![CDATA[\n  A [cal_id]\n]]></send>", "3:5", "did you mean call_id?"),
    ("<send>\n  A [len\n</send>", "3:5", "not closed"),
    ("<send ack_txn='a'>A</send>", "2:1", "no start_txn=\"a\" comes before"),
    ("<recv/>", "2:1", "request=\"METHOD\" or response"),
    ("<recv response='200' request='BYE'/>", "2:1", "not both"),
    ("<recv response='2xx'/>", "2:17", "'2xx' is no status"),
    ("<recv response='200' optional='maybe'/>", "2:32", "none of true, false, global"),
    ("<recv request='[' regexp_match='true'/>", "2:16", "not closed"),
    ("<recv response='200' rrs='yes'/>", "2:27", "neither true nor false"),
    ("<recv response='200'> optional=\"true\"</recv>", "2:23", "text is in no attribute of <recv>"),
    ("<recv response='100' optional='true'/>", "2:1", "wait here for ever"),
    ("<recv response='200' ontimeout='5'/>", "2:33", "there is no <label>"),
    ("<label id='bye'/><nop next='bey'/>", "2:29", "there is no label bey; supported here: bye"),
    ("<label id='1'/>\n<label id='1'/>", "3:12", "in line 2 already"),
    ("<label/>", "2:1", "needs an id"),
    ("<nop test='a'/>", "2:12", "next=, which is missing"),
    ("<label id='1'/><nop next='1' chance='2'/>", "2:38", "from 0 to 1"),
    ("<pause millisecond='5'/>", "2:8", "did you mean milliseconds?"),
    ("<pause distribution='norml' mean='1'/>", "2:22", "did you mean normal?"),
    ("<pause distribution='normal' mean='1'/>", "2:1", "needs mean and stdev"),
    ("<pause distribution='uniform' min='2' max='1'/>", "2:22", "min is above max"),
    ("<nop rtd='a b'/>", "2:11", "no name of a timer"),
    ("<nop><ereg regexp='x'/></nop>", "2:6", "belongs into <action>"),
    ("<nop><action><erg/></action></nop>", "2:14", "did you mean ereg?"),
    ("<nop><action><lookup/></action></nop>", "2:14", "<lookup> is not supported"),
    ("<nop><action><ereg regexp='(' assign_to='a'/></action></nop>", "2:28", "unclosed group"),
    ("<nop><action><ereg regexp='x'/></action></nop>", "2:14", "has no effect"),
    ("<nop><action><ereg regexp='x' search_in='hdr' assign_to='a'/></action></nop>", "2:14", "needs header"),
    ("<nop><action><ereg regexp='x' search_in='bdy' assign_to='a'/></action></nop>", "2:42", "did you mean body?"),
    ("<nop><action><ereg regexp='x' assign_to='a,b'/></action></nop>", "2:14", "has 1 parts"),
    ("<nop><action><ereg regexp='x' check_it='true' check_it_inverse='true'/></action></nop>", "2:14", "exclude"),
    ("<nop><action><assign assign_to='a'/></action></nop>", "2:14", "either value or variable"),
    ("<nop><action><divide assign_to='a' value='0'/></action></nop>", "2:14", "divides by 0"),
    ("<nop><action><test assign_to='a' variable='a' compare='is' value='1'/></action></nop>", "2:56", "no comparison"),
    ("<nop><action><add value='1'/></action></nop>", "2:14", "assign_to"),
    ("<nop><action><assign assign_to='a b' value='1'/></action></nop>", "2:33", "no name of a variable"),
    ("<nop><action><jump value='9'/></action></nop>", "2:1", "there is no message 9; they run from 0 to 2"),
    ("<nop><action><log/></action></nop>", "2:14", "needs message"),
    ("<nop><action><exec/></action></nop>", "2:14", "<exec> needs"),
    ("<nop><action><exec command='ls'/></action></nop>", "2:29", "are not run"),
    ("<nop><action><exec int_cmd='stop'/></action></nop>", "2:29", "'stop' is not known"),
    ("<nop><action><exec play_pcap_audio='no.pcap'/></action></nop>", "2:37", "there is no such file"),
    ("<nop><action><exec play_pcap_audio='a.wav'/></action></nop>", "2:37", "no capture file"),
    ("<nop><action><exec rtp_stream='a.wav,1,18'/></action></nop>", "2:32", "payload type 18"),
    ("<nop><action><exec rtp_stream='a.wav,x'/></action></nop>", "2:32", "no number of times"),
    ("<nop><action><exec play_dtmf='1'/></action></nop>", "2:31", "not supported"),
    ("<Global/>", "2:1", "needs variables"),
    ("<Reference variables='a b'/>", "2:23", "no name of a variable"),
    ("<CallLengthRepartition value='1, x'/>", "2:31", "'x' is no number of milliseconds"),
    ("<init><send>A</send></init>", "2:7", "<nop> and <label> only"),
    ("stray", "2:1", "in no command"),
];

#[test]
fn each_error_has_its_place_and_its_remedy() {
    for (lines, place, said) in WRONG {
        let found = problems(lines);
        let first = found.first().unwrap_or_else(|| panic!("{lines}: nothing is wrong"));
        assert!(first.starts_with(&format!("s.xml:{place}: ")) && first.contains(said), "{lines}: {found:?}");
    }
}

#[test]
fn a_scenario_is_one_and_begins_rightly() {
    let error = |text: &str| parse_with(text, &[], &[]).unwrap_err()[0].to_string();
    assert!(error("<call/>").contains("1:1: <call> is no scenario"));
    assert!(error("<scenario/>").contains("neither sends nor receives"));
    assert!(error("<scenario><recv response='200'/></scenario>").contains("1:11: a scenario begins by sending"));
    let optional = "<scenario><recv request='INVITE' optional='true'/><recv request='BYE'/></scenario>";
    assert!(error(optional).contains("cannot be optional"));
    assert!(error("<scenario>\n<send>\n</scenario>").contains("3:1: this is no well-formed XML"));
}

#[test]
fn all_errors_are_said_at_once_in_their_order() {
    let found = problems("<sned/>\n<nop next='1'/>\n<pause millis='1'/>");
    let places: Vec<&str> = found.iter().map(|problem| problem.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["s.xml:2:1", "s.xml:3:12", "s.xml:4:8"]);
}

#[test]
fn a_variable_used_once_is_noted() {
    let text = |more: &str| {
        format!("<scenario>{SEND}<nop><action><assign assign_to='count' value='1'/></action></nop>{more}</scenario>")
    };
    let notes = |more: &str| parse(&text(more)).notes;
    assert!(notes("")[0].contains("variable count is set but never read"));
    assert!(notes("<Reference variables='count'/>").is_empty());
    let slip = notes("<nop><action><log message='[$cuont]'/></action></nop>");
    assert!(slip[0].contains("did you mean cuont?") && slip[1].contains("read but never set"), "{slip:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Pieces of scenarios in any order, and any text at all: read or refused, never a panic.
    #[test]
    fn no_file_panics(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "<scenario>", "</scenario>", "<send>", "</send>", "<recv", " response='", "200", "'", "/>", ">", "<![CDATA[", "]]>",
            "INVITE [remote_ip] SIP/2.0\n", "[len", "]", "[$a]", "<nop>", "</nop>", "<action>", "</action>", "<label id='1'/>",
            " next='1'", "<ereg regexp='([a' assign_to='1,2'/>", "<!--", "-->", "<pause distribution='gamma' k='1'/>",
            "<exec rtp_stream=',,'/>", "é", "&amp;", "&x;", "\u{0}", "<!DOCTYPE x [<!ENTITY a 'b'>]>", "<jump value='-1'/>",
        ]), 0..25),
        other: Vec<u8>,
    ) {
        let whole = pieces.concat();
        let _ = parse_with(&whole, &[], &[]);
        let _ = parse_with(&format!("<scenario>{whole}</scenario>"), &[], &[]);
        let _ = parse_with(&super::super::xml::decode(&other), &[], &[]);
    }
}

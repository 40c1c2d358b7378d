//! What a run leaves behind: JSON, the page, test cases; and what cannot be written.

use super::checks::{junit_trouble, violation};
use super::*;
use serde_json::Value;

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

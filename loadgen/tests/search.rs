//! Commands that judge a server whose limits are known: `find-max`, `ramp`, and a stall in the percentiles.

mod checks;

use std::net::UdpSocket;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use checks::{junit_trouble, violation, violation_of_search};
use serde_json::Value;

/// The server's limit in calls per second.
const LIMIT: f64 = 200.0;
/// Bursts the bucket lets pass: a machine that stands still for half a second delays calls, and that is not their number.
const BURST: f64 = 100.0;
/// What it holds for a new source, as each step is one.
const FRESH: f64 = 3.0;

/// Ends the server.
struct Guard(Arc<AtomicBool>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A UAS of a few lines on loopback. `judge` sees each INVITE and says how it is answered; empty ends the server.
fn server(mut judge: impl FnMut(Instant, u16) -> &'static str + Send + 'static) -> (u16, Guard) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = socket.local_addr().expect("an address").port();
    let stop = Arc::new(AtomicBool::new(false));
    let guard = Guard(stop.clone());
    std::thread::spawn(move || {
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a time-out");
        let mut buffer = [0; 65536];
        while !stop.load(Ordering::Relaxed) {
            let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
            let request = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let status = match request.split(' ').next() {
                Some("INVITE") => judge(Instant::now(), from.port()),
                Some("BYE") => "200 OK",
                _ => continue,
            };
            if status.is_empty() {
                return;
            }
            let copied = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"];
            let lines = request.lines().filter(|line| copied.iter().any(|name| line.starts_with(name)));
            let lines: Vec<String> = lines
                .map(|line| {
                    if line.starts_with("To:") && !line.contains("tag=") {
                        format!("{line};tag=t")
                    } else {
                        line.into()
                    }
                })
                .collect();
            let answer = format!(
                "SIP/2.0 {status}\r\n{}\r\nContact: <sip:uas@127.0.0.1:{port}>\r\nContent-Length: 0\r\n\r\n",
                lines.join("\r\n")
            );
            let _ = socket.send_to(answer.as_bytes(), from);
        }
    });
    (port, guard)
}

/// Takes [`LIMIT`] calls a second and refuses the rest.
fn limited() -> impl FnMut(Instant, u16) -> &'static str {
    let (mut tokens, mut last, mut source) = (FRESH, Instant::now(), 0);
    move |now, port| {
        tokens = (tokens + (now - last).as_secs_f64() * LIMIT).min(BURST);
        if port != source {
            tokens = FRESH;
        }
        (last, source) = (now, port);
        if tokens < 1.0 {
            return "503 Service Unavailable";
        }
        tokens -= 1.0;
        "200 OK"
    }
}

fn run(arguments: &str) -> (i32, String, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_strowger-loadgen"))
        .args(arguments.split_whitespace())
        .args(["--json", "-", "--late-max", "30s", "-q"])
        .output()
        .expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let json = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code().unwrap_or(-1), said, json)
}

#[test]
fn find_max_lands_within_five_percent_three_times() {
    let searches: Vec<_> = (0..3)
        .map(|_| {
            std::thread::spawn(|| {
                let (port, _guard) = server(limited());
                run(&format!(
                    "find-max --uac --target 127.0.0.1:{port} --rtp off --hold 0s --low 100 --high 1000 --step 1s --settle 0ms \
                     --precision 2%"
                ))
            })
        })
        .collect();
    for search in searches {
        let (code, said, json) = search.join().expect("the search ends");
        assert_eq!(code, 0, "{said}");
        let found = json["found"].as_f64().expect("a figure");
        assert!((LIMIT * 0.95..=LIMIT * 1.05).contains(&found), "{found}: {json:#}");
        let steps = json["steps"].as_array().expect("steps");
        assert!(
            steps.len() > 4 && steps.iter().any(|step| step["why"].as_str().is_some_and(|why| why.contains("failed")))
        );
        assert_eq!(violation_of_search(&json), None);
    }
}

#[test]
fn what_was_tried_before_the_server_went_away_is_kept() {
    let mut calls = 0;
    let (port, _guard) = server(move |_, _| {
        calls += 1;
        if calls > 20 { "" } else { "200 OK" }
    });
    let page = std::env::temp_dir().join(format!("strowger-gone-{}.html", std::process::id()));
    let (code, said, json) = run(&format!(
        "find-max --uac --target 127.0.0.1:{port} --rtp off --hold 0s --step 300ms --settle 0ms --low 20 --timeout 2s --html {}",
        page.display()
    ));
    assert!(
        code != 0 && said.contains("interrupted before the end") && said.contains("nothing listens there"),
        "{said}"
    );
    assert_eq!(violation_of_search(&json), None);
    let steps = json["steps"].as_array().expect("steps");
    assert!(json["found"].is_null() && steps.iter().any(|step| step["passed"] == true), "{json:#}");
    let text = std::fs::read_to_string(&page).expect("a page");
    std::fs::remove_file(&page).expect("it can go");
    assert!(text.contains("The search was interrupted"), "{text}");
}

#[test]
fn find_max_says_what_is_wrong() {
    let (port, _guard) = server(|_, _| "403 Forbidden");
    let common =
        format!("find-max --uac --target 127.0.0.1:{port} --rtp off --hold 0s --step 300ms --settle 0ms --low 20");
    let (code, said, json) = run(&common);
    assert!(code == 1 && said.contains("nothing passed") && json["found"].is_null(), "{said}");
    assert_eq!(violation_of_search(&json), None);
    let (code, said, _) = run(&format!("{common} --rate 5"));
    assert!(code == 2 && said.contains("leave out --rate"), "{said}");
    let (code, said, _) = run(&format!("{common} --high 20"));
    assert!(code == 2 && said.contains("--low must be below"), "{said}");
    let (code, said, json) = run(&format!("{common} --high 40 --within calls_refused>=0"));
    assert!(code == 0 && said.contains("at least 40.0") && json["found"] == 40.0, "{said}");
    let mut broken = json.clone();
    broken["steps"][0]["passed"] = "perhaps".into();
    assert!(violation_of_search(&broken).is_some() && violation(&json).is_some(), "each document has its own schema");
    let (code, said, _) = run(&format!("{common} --assert calls_failed==0"));
    assert!(code == 2 && said.contains("--within 'calls_failed==0'"), "{said}");
    let (code, said, _) = run(&format!("{common} --hgrm x"));
    assert!(code == 2 && said.contains("--hgrm") && said.contains("run calls"), "{said}");
}

#[test]
fn the_page_and_the_test_cases_of_a_search_say_what_was_found() {
    let (port, _guard) = server(|_, _| "200 OK");
    let place = |name: &str| format!("{}/search-{}.{name}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let (html, junit) = (place("html"), place("xml"));
    let (code, said, _) = run(&format!(
        "find-max --uac --target 127.0.0.1:{port} --rtp off --hold 0s --step 300ms --settle 0ms --low 20 --high 40 --auth al:sesame \
         --html {html} --junit {junit}"
    ));
    assert_eq!(code, 0, "{said}");
    let page = std::fs::read_to_string(html).expect("the page");
    for part in ["40 calls/s (exit code 0)", "<circle", "Trials in their order", "confirming", "al:***", "</html>"] {
        assert!(page.contains(part), "'{part}' is not in the page");
    }
    for strange in ["sesame", "<script", "http://", "https://", "NaN", "inf "] {
        assert!(!page.contains(strange), "'{strange}' is in the page");
    }
    let cases = std::fs::read_to_string(junit).expect("the test cases");
    assert!(junit_trouble(&cases).is_none() && cases.contains("at least 40.0 calls/s"), "{cases}");
}

#[test]
fn a_ramp_shows_what_is_answered_at_each_rate() {
    let (port, _guard) = server(limited());
    let html = format!("{}/ramp-{}.html", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let (code, said, json) = run(&format!(
        "ramp --uac --target 127.0.0.1:{port} --rtp off --hold 0s --low 50 --high 450 --steps 3 --step 1s --html {html}"
    ));
    assert_eq!(code, 0, "{said}");
    let steps = json["ramp"]["steps"].as_array().expect("steps");
    let offered: Vec<u64> = steps.iter().map(|step| step["offered"].as_u64().unwrap()).collect();
    assert_eq!(offered, [50, 250, 450, 250, 50]);
    let refused = |index: usize| steps[index]["refused"].as_u64().unwrap();
    assert!(refused(0) == 0 && refused(2) > 50, "{steps:#?}");
    assert!(said.contains("goodput peaks") && said.contains("back at 50.0/s"), "{said}");
    assert_eq!(violation(&json), None);
    let page = std::fs::read_to_string(html).expect("the page");
    for part in ["Answered of what was offered", "on the way down", "Refused or lost", "asked for: about 0 to"] {
        assert!(page.contains(part) && !page.contains("NaN"), "'{part}' is not in the page");
    }
}

#[test]
fn a_server_that_stands_still_shows_in_the_high_percentiles() {
    let began = Instant::now();
    let mut stalls = 0;
    let (port, _guard) = server(move |now, _| {
        if (now - began).as_secs() / 5 >= stalls {
            stalls += 1;
            std::thread::sleep(Duration::from_millis(200));
        }
        "200 OK"
    });
    let (code, said, json) =
        run(&format!("calls --uac --target 127.0.0.1:{port} --rtp off --hold 0s --rate 100 --duration 7s"));
    assert_eq!(code, 0, "{said}");
    let srd = &json["latency_ms"]["srd"];
    assert!(srd["p99_9"].as_f64().unwrap() >= 150.0 && srd["count"] == 700, "{srd}");
    // Every call that was due during the stall waited, not only the one that met it: 20 of them, from 200 ms down to 0.
    assert!(srd["p99"].as_f64().unwrap() >= 100.0, "{srd}");
}

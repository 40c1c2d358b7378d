//! The checker checked: each rule with a snippet that breaks it and one that does not.

use super::inspect;
use super::source::{blank, functions, paths, tokens};

/// What is found in `code` when it stands in `path`, below a proper first line.
fn found(path: &str, code: &str) -> Vec<String> {
    inspect(path, &format!("//! Why.\n{code}\n")).iter().map(|finding| finding.what.clone()).collect()
}

fn fails(path: &str, code: &str, word: &str) {
    let found = found(path, code);
    assert!(found.iter().any(|what| what.contains(word)), "{path}: {code:?} should break {word:?}, found {found:?}");
}

fn passes(path: &str, code: &str) {
    assert_eq!(found(path, code), Vec::<String>::new(), "{path}: {code:?}");
}

#[test]
fn arrows_against_the_plan_fail() {
    fails("src/sip/wire/uri.rs", "use crate::call::Leg;", "may not name `crate::call::Leg`");
    fails("src/base/time.rs", "use crate::sip::Uri;", "`base` may not name");
    fails("src/media/relay.rs", "use crate::{base::Instant, io::Driver};", "crate::io::Driver");
    fails(
        "src/media/relay.rs",
        "use crate::{\n    base::{Slab, Slot},\n    shard::{\n        Input,\n    },\n};",
        "shard",
    );
    fails("src/sip/mod.rs", "#![forbid(unsafe_code)]\nfn f() { crate::worker::start(); }", "crate::worker::start");
    fails("src/control/http.rs", "use crate::shard::Shard;", "crate::shard::Shard");
    fails("src/control/http.rs", "use crate::shard::{mailbox::Mail, Input};", "crate::shard::Input");
    fails("src/call/leg.rs", "use crate::phone::Phone;", "crate::phone");
    fails("src/main.rs", "use strowger::sip::wire;", "crate::sip::wire");
    fails("src/sdp/mod.rs", "#![forbid(unsafe_code)]\nuse super::call::Leg;", "crate::call::Leg");
    fails("src/sdp/parse.rs", "mod tests { use super::super::super::io::Driver; }", "crate::io::Driver");
    fails("src/sip/wire/uri.rs", "use crate::*;", "crate::*");
    fails("src/sip/wire/uri.rs", "macro_rules! m { () => { $crate::io::probe() } }", "crate::io::probe");
    fails("src/cellar/mod.rs", "", "no row in ROOMS");
}

#[test]
fn arrows_of_the_plan_pass() {
    passes("src/sip/wire/uri.rs", "use crate::base::{Instant, Slab};\nuse crate::sip::{wire, dialog::Dialog as D};");
    passes("src/control/http.rs", "use crate::shard::mailbox::{Mail, Query};\nuse crate::shard::mailbox;");
    passes("src/shard/steer.rs", "use crate::{call::Leg, sip::wire::Message, tally};");
    passes("src/phone/agent.rs", "use crate::{sdp, sip, media, base};");
    passes("src/demo/mod.rs", "use crate::{io, shard, sip, cli};");
    passes("src/lib.rs", "pub mod base;\npub mod sip;");
    passes("src/sdp/parse.rs", "use super::Session;\nmod tests { use super::super::Session; use super::*; }");
    passes("src/sip/wire/uri.rs", "// crate::io::probe() is named here\nconst A: &str = \"crate::io\";");
    passes("tests/flows.rs", "use strowger::{io, shard};");
}

#[test]
fn impure_words_fail_in_pure_rooms_only() {
    for code in [
        "use std::time::Instant;",
        "use std::{fmt, time::{Duration, SystemTime}};",
        "use std::time;",
        "fn f() { std::thread::sleep(d); }",
        "use std::{fs, fmt};",
        "use std::net::{IpAddr, UdpSocket};",
        "use std::net::TcpStream as Stream;",
        "fn f() { println!(\"hello\"); }",
        "fn f() { eprintln!(\"hello\"); }",
        "use tokio::net::UdpSocket;",
        "fn f() { libc::getpid(); }",
        "static mut COUNT: u32 = 0;",
        "fn f() { std::env::var(\"A\"); }",
    ] {
        fails("src/call/leg.rs", code, "a pure room may not");
        assert!(found("src/io/epoll.rs", code).is_empty(), "{code:?} is an edge's right");
    }
    passes(
        "src/call/leg.rs",
        "use std::net::{IpAddr, SocketAddr};\nuse std::time::Duration;\nuse std::io::Write as _;",
    );
    passes("src/call/leg.rs", "static COUNT: u32 = 0;\nfn f(libc: u8) -> u8 { libc }");
}

#[test]
fn threads_show_lock_freedom_in_tests_only() {
    let scope = "fn f() { std::thread::scope(|s| {}); }";
    passes("src/tally/cell.rs", &format!("#[cfg(test)]\nmod tests {{\n{scope}\n}}"));
    fails("src/tally/cell.rs", scope, "std::thread::scope");
    fails("src/tally/cell.rs", &format!("mod tests {{\n{scope}\n}}"), "std::thread::scope");
    fails("src/tally/cell.rs", "#[cfg(test)]\nmod tests {\nuse std::thread::sleep;\n}", "std::thread::sleep");
}

#[test]
fn pure_rooms_forbid_unsafe() {
    fails("src/sdp/mod.rs", "pub mod parse;", "forbid(unsafe_code)");
    passes("src/sdp/mod.rs", "#![forbid(unsafe_code)]");
    passes("src/io/mod.rs", "pub mod uring;");
}

#[test]
fn unsafe_needs_its_room_and_its_reason() {
    let with_reason = "fn f() {\n    // SAFETY: the pointer outlives the call.\n    unsafe { g() }\n}";
    let without = "fn f() {\n    unsafe { g() }\n}";
    passes("src/io/uring.rs", with_reason);
    passes("tests/allocations.rs", with_reason);
    fails("src/io/uring.rs", without, "SAFETY:");
    fails("tests/allocations.rs", without, "SAFETY:");
    fails("src/worker/mod.rs", with_reason, "outside");
    fails("src/lib.rs", with_reason, "outside");
    passes("src/worker/mod.rs", "// unsafe in words only\nconst A: &str = \"unsafe { }\";");
}

#[test]
fn sizes_are_bounded() {
    let body =
        |lines: usize| format!("fn long<'a>(x: &'a str) -> char {{\n{}    '}}'\n}}", "    x.len();\n".repeat(lines));
    passes("src/io/epoll.rs", &body(67));
    fails("src/io/epoll.rs", &body(68), "fn long has 71 lines");
    fails("tests/flows.rs", &body(68), "fn long has 71 lines");
    passes("src/io/epoll.rs", &"// line\n".repeat(798));
    fails("src/io/epoll.rs", &"// line\n".repeat(800), "more than 800");
    fails("tests/peers/peers.py", &"# line\n".repeat(800), "more than 800");
    passes("docs/OPERATING.md", &"line\n".repeat(900));
}

#[test]
fn first_line_and_words_for_later() {
    let first = inspect("src/io/epoll.rs", "use std::io;\n");
    assert!(first.iter().any(|finding| finding.what.contains("begins with `//!`")));
    for word in [concat!("TO", "DO"), concat!("FIX", "ME")] {
        fails("src/io/epoll.rs", &format!("// {word}: later"), word);
        fails("docs/ARCHITECTURE.md", &format!("{word} write this"), word);
    }
    fails("src/io/epoll.rs", concat!("fn f() { to", "do!() }"), "write an issue");
    fails("src/io/epoll.rs", concat!("fn f() { unimple", "mented!(\"x\") }"), "write an issue");
    passes("src/io/epoll.rs", concat!("// Mas", "TODON", " and METHODO"));
}

#[test]
fn machine_paths_fail_anywhere() {
    for place in [concat!("/wo", "rk/x"), concat!("/ro", "ot/.cargo"), concat!("/ho", "me/me/x")] {
        fails("tests/run", &format!("cd {place}"), "one machine only");
        fails("src/io/epoll.rs", &format!("const A: &str = \"{place}\";"), "one machine only");
    }
    passes("tests/run", "cd /tmp/strowger && ls target/work/x");
}

#[test]
fn literals_and_comments_are_blanked() {
    let text = r####"let a = "fn x() {"; let b = r#"unsafe " {"#; /* { /* nested */ { */ let c = '{'; let d = b'\''; // {
let e: &'static str = "\"{"; let r = b"{"; let ok = 'x';"####;
    let blanked = blank(text);
    assert!(!blanked.contains('{') && !blanked.contains("unsafe"), "{blanked}");
    assert!(blanked.contains("'static str") && blanked.contains("let ok"), "{blanked}");
    assert_eq!(blanked.lines().count(), text.lines().count());
}

#[test]
fn paths_and_functions_are_read() {
    let code = "use crate::{a, b::{self, c as d}, e::*};\nfn f<T>(x: [u8; 3]) -> Vec<crate::g::H> where T: Sized {\n}\ntype F = fn(u8);\ntrait T { fn declared(&self); }";
    let tokens = tokens(&blank(code));
    let named: Vec<String> = paths(&tokens, "crate").into_iter().map(|(path, _)| path.join("::")).collect();
    assert_eq!(named, ["a", "b::self", "b::c", "e::*", "g::H"]);
    assert_eq!(functions(&tokens), [("f".to_owned(), 2, 2)]);
}

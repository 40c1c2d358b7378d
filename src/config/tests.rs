//! A bad file says everything at once; a good one reads as meant; the pages come from the rows.

use super::*;
use crate::base::Transport;
use crate::base::time::Duration;

fn errors(text: &str) -> Vec<String> {
    let outcome = read(text, "s.toml");
    outcome.errors.iter().map(ToString::to_string).collect()
}

#[test]
fn an_empty_file_is_the_loopback_appliance() {
    let config = Config::default();
    let listen: Vec<_> = config.sip.listen.iter().map(|entry| (entry.address.to_string(), entry.transport)).collect();
    assert_eq!(listen, [("127.0.0.1:5060".into(), Transport::Udp), ("127.0.0.1:5060".into(), Transport::Tcp)]);
    assert_eq!(config.control.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.control.socket.to_str(), Some("./strowger-data/strowger.sock"));
    assert_eq!(
        (config.sip.domains.as_slice(), config.sip.realm.as_str()),
        (&["127.0.0.1".to_owned()][..], "127.0.0.1")
    );
    assert_eq!((config.media.port_min, config.media.port_max, config.link), (30_000, 39_999, None));
}

#[test]
fn the_interface_page_reads() {
    let text = include_str!("tests/full.toml");
    let outcome = read(text, "full.toml");
    assert_eq!(outcome.errors, []);
    let config = outcome.config.unwrap();
    let trunk = &config.trunks[0];
    assert_eq!((trunk.name.as_str(), trunk.max_calls, trunk.max_cps), ("carrier-a", Some(1000), Some(100)));
    assert_eq!(trunk.prefixes, ["+1", "+44"]);
    assert!(trunk.allow_from[0].contains("198.51.100.77".parse().unwrap()));
    let account = &config.accounts[0];
    assert_eq!((account.max_calls, account.codecs.len(), account.qos.dscp_audio), (2, 2, 40));
    assert_eq!(account.qos.dscp_video, 34);
    assert_eq!(account.devices[0].secret, Secret::Password("s3cret".into()));
    assert_eq!(config.accounts[1].max_calls, 3);
    assert!(matches!(config.accounts[1].devices[0].secret, Secret::Ha1 { md5: [0xab, ..], .. }));
    assert_eq!(config.link.unwrap().peers[0].name, "lon-1");
    let notes: Vec<&str> = outcome.notes.iter().map(|note| note.message.as_str()).collect();
    assert!(!notes.iter().any(|note| note.contains("link") || note.contains("limits")), "{notes:?}");
    let homes: Vec<_> = config.accounts.iter().map(|account| account.home.as_deref()).collect();
    assert_eq!(homes, [None, Some("lon-1")]);
    assert_eq!(config.limits.emergency_numbers[..2], ["112", "911"]);
    assert!(!format!("{:?}", config.accounts).contains("s3cret"), "secrets are never printed");
}

#[test]
fn everything_wrong_is_said_at_once() {
    let text = "\
[node]
nmae = \"x\"
[sip]
t1 = 500
[media]
port_min = 30001
silent_timeout = \"fast\"
max_cps = 3
[[trunk]]
name = \"a\"
adress = \"192.0.2.1:5060\"
transport = \"upd\"
[[account]]
name = \"alice\"
[[account.device]]
username = \"alice\"
";
    let found = errors(text);
    assert_eq!(
        found,
        [
            "s.toml:2:1: error: unknown key `nmae` in `node`",
            "s.toml:4:6: error: `t1` needs a unit",
            "s.toml:7:18: error: `silent_timeout` is not usable",
            "s.toml:8:1: error: unknown key `max_cps` in `media`",
            "s.toml:9:1: error: `address` is missing",
            "s.toml:11:1: error: unknown key `adress` in `trunk`",
            "s.toml:12:13: error: `transport` cannot be \"upd\"",
            "s.toml:15:1: error: device `alice` has no password",
        ]
    );
    let outcome = read(text, "s.toml");
    let help =
        |line: usize| outcome.errors.iter().find(|error| error.line == line).and_then(|error| error.help.clone());
    assert_eq!(help(2).as_deref(), Some("did you mean `name`?"));
    assert_eq!(help(8).as_deref(), Some("`max_cps` belongs into [[trunk]]"));
    assert_eq!(help(12).as_deref(), Some("did you mean \"udp\"?"));
}

#[test]
fn a_port_beyond_the_last_is_told_from_a_host_name() {
    let help = |address: &str| {
        let outcome = read(&format!("[control]\nlisten = \"{address}\"\n"), "s.toml");
        outcome.errors.first().and_then(|error| error.help.clone()).unwrap_or_default()
    };
    assert_eq!(help("127.0.0.1:99999"), "99999 is no port: they go from 1 to 65535");
    assert!(help("example.com:8080").starts_with("host names are not resolved here"));
}

#[test]
fn an_error_shows_its_line_and_a_caret() {
    let text = "[node]\nnmae = \"x\"\n";
    let shown = read(text, "s.toml").errors[0].render(text, false);
    assert!(shown.contains("--> s.toml:2:1") && shown.contains("2 | nmae = \"x\""), "{shown}");
    assert!(shown.contains("^^^^ not a setting") && shown.contains("help: did you mean `name`?"), "{shown}");
}

#[test]
fn several_syntax_errors_are_all_said() {
    let found = errors("a = \n[node]\nname = 'ok'\nx = [1,\n[sip\n");
    assert!(found.len() >= 2, "{found:?}");
}

#[test]
fn doubles_and_collisions_are_found() {
    let cases = [
        ("[[account]]\nname='a'\n[[account]]\nname='a'\n", "account `a` stands twice"),
        ("[[account]]\nname='a'\nnumbers=['1']\n[[account]]\nname='b'\nnumbers=['1']\n", "number `1` stands twice"),
        ("[[account]]\nname='1'\n[[account]]\nname='b'\nnumbers=['1']\n", "number `1` is also the name of an account"),
        (
            "[[account]]\nname='a'\n[[account.device]]\nusername='u'\npassword='p'\n[[account.device]]\nusername='u'\npassword='p'\n",
            "device `u` stands twice",
        ),
        (
            "[[trunk]]\nname='a'\naddress='192.0.2.1:5060'\n[[trunk]]\nname='a'\naddress='192.0.2.2:5060'\n",
            "trunk `a` stands twice",
        ),
        (
            "[[trunk]]\nname='a'\naddress='192.0.2.1:5060'\n[[trunk]]\nname='b'\naddress='192.0.2.1:5060'\n",
            "two trunks at 192.0.2.1:5060",
        ),
        ("[[trunk]]\nname='a'\naddress='192.0.2.1:5060'\nprefixes=['+1','+1']\n", "\"+1\" stands twice in `prefixes`"),
        (
            "[[sip.listen]]\naddress='127.0.0.1:5060'\n[[sip.listen]]\naddress='127.0.0.1:5060'\n",
            "127.0.0.1:5060 is listened on twice",
        ),
        ("[[sip.listen]]\naddress='127.0.0.1:30002'\n", "port 30002 is in the media range"),
        ("[[sip.listen]]\naddress='127.0.0.1:8080'\ntransport='tcp'\n", "`control.listen` has the same address"),
        ("[[sip.listen]]\naddress='0.0.0.0:5060'\n", "a wildcard address cannot stand in Via and Contact"),
        ("[media]\nport_min = 30001\n", "`port_min` must be even"),
        ("[media]\nport_max = 40000\n", "`port_max` must be odd"),
        ("[media]\nport_min = 30000\nport_max = 30001\n", "the media range 30000 to 30001 is too small"),
        ("[media]\nport_min = 50000\n", "the media range 50000 to 39999 is too small"),
        ("[shards]\ncount = 4\n[media]\nport_max = 30007\n", "the media range 30000 to 30007 is too small"),
        ("[sip]\nexpires_min = '3h'\n", "`expires_min` is longer than `expires_max`"),
        ("[media]\naddress = '0.0.0.0'\n", "a wildcard address cannot stand in SDP"),
        ("[media]\nadvertise = '2001:db8::1'\n", "`advertise` is not of the family of the bound address"),
        ("[[trunk]]\nname='a'\naddress='192.0.2.1:5060'\nusername='u'\n", "`username` without a password"),
        ("[[sip.listen]]\naddress='127.0.0.1:5061'\ntransport='tls'\n", "transport \"tls\" is not built yet"),
        ("[sip.listen]\naddress='127.0.0.1:5061'\n", "`sip.listen` is a list of tables"),
        ("[[sip]]\nt1='1s'\n", "`sip` is one table"),
        ("[[trunk]]\nname='a'\naddress='sip.example.com'\n", "`address` is not usable"),
        ("[[trunk]]\nname='a'\naddress='192.0.2.1:5060'\nallow_from=['192.0.2.7/24']\n", "`allow_from` is not usable"),
    ];
    for (text, expected) in cases {
        let found = errors(text);
        assert!(found.iter().any(|error| error.ends_with(expected)), "{expected}\n{text}\n{found:?}");
    }
}

#[test]
fn what_sites_need_of_each_other_is_checked() {
    let link = "[node]\nname='a'\n[link]\nlisten='192.0.2.1:7420'\ncertificate_file='c'\nkey_file='k'\nca_file='r'\n";
    let peer = |name: &str, port: u16| format!("[[link.peer]]\nname='{name}'\naddress='192.0.2.2:{port}'\n");
    let home = "[limits]\nhome='a'\n";
    let cases = [
        (peer("b", 1), "`limits.home` is missing"),
        (peer("b", 1) + "[limits]\nhome='c'\n", "home \"c\" is no site"),
        (peer("b", 1) + home + "[[account]]\nname='x'\nhome='bb'\n", "home \"bb\" is no site"),
        (peer("a", 1) + home, "a peer has this node's own name"),
        (peer("b", 1) + &peer("b", 2) + home, "peer `b` stands twice"),
        (peer("b", 1) + &peer("c", 1) + home, "two peers at 192.0.2.2:1"),
        ("[[link.peer]]\nname='b'\naddress='192.0.2.1:7420'\n".to_owned() + home, "a peer has this node's own address"),
        ((0..32).map(|n| peer(&format!("p{n}"), n + 1)).collect::<String>() + home, "more than 31 peers"),
        ("[[sip.listen]]\naddress='192.0.2.1:7420'\n".to_owned(), "192.0.2.1:7420 is listened on for SIP"),
        ("[media]\naddress='192.0.2.1'\nport_min=7000\n".to_owned(), "port 7420 is in the media range"),
    ];
    for (rest, expected) in cases {
        let found = errors(&format!("{link}{rest}"));
        assert!(found.iter().any(|error| error.ends_with(expected)), "{expected}\n{rest}\n{found:?}");
    }
    let good = read(&format!("{link}{}{home}", peer("b", 1)), "t").config.unwrap();
    assert_eq!(good.limits.home.as_deref(), Some("a"));
    let alone = read(link, "t");
    assert!(alone.errors.is_empty() && alone.notes.iter().any(|note| note.message.starts_with("no peers")));
}

#[test]
fn errors_are_bounded_and_counted() {
    let text: String = (0..1000).map(|n| format!("key{n} = 1\n")).collect();
    let outcome = read(&text, "s.toml");
    assert_eq!((outcome.errors.len(), outcome.more), (100, 900));
}

#[test]
fn the_diff_names_what_changes_and_what_needs_a_restart() {
    let old = "[sip]\nt1='500ms'\n[[trunk]]\nname='a'\naddress='192.0.2.1:5060'\n[[account]]\nname='u'\n[[account.device]]\nusername='d'\npassword='one'\n";
    let new = "[sip]\nt1='1s'\nt2='4000ms'\n[[trunk]]\nname='b'\naddress='192.0.2.1:5060'\n[[account]]\nname='u'\nmax_calls=5\n[[account.device]]\nusername='d'\npassword='two'\n";
    let (old, new) = (parse(old, "old").unwrap(), parse(new, "new").unwrap());
    let lines: Vec<String> = diff(&old.values, &new.values).iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "~ account.u.device.d.password: (secret) -> (another secret)",
            "~ account.u.max_calls: unset -> 5",
            "~ sip.t1: \"500ms\" -> \"1s\"   (needs a restart)",
            "- trunk.a",
            "+ trunk.b",
        ]
    );
    assert_eq!(diff(&old.values, &old.values), []);
}

#[test]
fn the_default_file_changes_nothing_and_all_its_lines_are_usable() {
    let text = print::defaults();
    let plain = parse(&text, "defaults").unwrap();
    assert_eq!(diff(&plain.values, &Config::default().values), []);
    let line =
        |line: &str| line.strip_prefix('#').filter(|rest| !rest.starts_with([' ', '#'])).unwrap_or(line).to_owned();
    let lines: Vec<String> = text.lines().map(line).collect();
    let all = read(&lines.join("\n"), "all");
    let wrong: Vec<&str> = all.errors.iter().map(|error| error.message.as_str()).collect();
    assert_eq!(wrong, ["two trunk logins"; 0], "{}", lines.join("\n"));
}

#[test]
fn every_row_is_read_and_every_default_fits() {
    for row in rows::ROWS {
        let _ = reader::default(row);
        assert!(row.docs.ends_with('.'), "{}", row.key);
        assert!(rows::TABLES.iter().any(|table| table.key == row.table()), "{}", row.key);
    }
    let config = read(include_str!("tests/full.toml"), "full").config.unwrap();
    assert_eq!(config.sip.t1, Duration::from_millis(500));
}

#[test]
fn explain_finds_tables_bare_names_and_slips() {
    assert!(print::explain("sip.t1").unwrap().contains("default:  \"500ms\""));
    assert!(print::explain("[[trunk]]").unwrap().contains("trunk.prefixes"));
    assert!(print::explain("max_cps").unwrap().starts_with("trunk.max_cps"));
    assert_eq!(print::explain("sip.t11").unwrap_err(), "no setting `sip.t11`; did you mean `sip.t1`?");
}

#[test]
fn the_reference_page_is_current() {
    let page = include_str!("../../docs/configuration.md");
    assert!(page == print::reference(), "run `strowger config reference > docs/configuration.md`");
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text: String) {
        let outcome = read(&text, "any");
        for error in &outcome.errors {
            let _ = error.render(&text, false);
        }
    }

    #[test]
    fn any_value_anywhere_is_read_without_a_panic(row in 0..rows::ROWS.len(), value in "(-?[0-9]{1,20}|\"[a-z0-9:/.+\\[\\]]{0,12}\"|\\[\"[a-z0-9:/.+]{0,9}\"\\]|true|1.5|\\{\\})") {
        let row = &rows::ROWS[row];
        let table = rows::TABLES.iter().find(|table| table.key == row.table()).unwrap();
        let header = if table.list { format!("[[{}]]", table.key) } else { format!("[{}]", table.key) };
        let text = format!("{header}\n{} = {value}\n", row.name());
        let outcome = read(&text, "any");
        for error in &outcome.errors {
            let _ = error.render(&text, false);
        }
    }
}

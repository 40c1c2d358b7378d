//! A running appliance changes its process in the middle of calls, with the built binaries: no call ends, no packet is
//! lost; and whatever goes wrong, the running one goes on.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const WAIT: Duration = Duration::from_secs(60);

/// One load at a time: a generator without a core to itself measures nothing.
static TURN: Mutex<()> = Mutex::new(());

/// Two trunks beside one appliance: calls come by one and go to the other.
struct Place {
    dir: tempfile::TempDir,
    name: &'static str,
    net: String,
    /// What else is configured, and must be alike in a new process.
    more: String,
    ground: Value,
    transport: &'static str,
    backend: &'static str,
}

impl Place {
    fn new(transport: &'static str, backend: &'static str) -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed) * 4;
        let process = std::process::id() % 20_000;
        let net = format!("127.{}.{}", 160 + process / 250, process % 250);
        let (dir, net) = (tempfile::tempdir().unwrap(), format!("{net}.{number}"));
        let place = Self { dir, name: "test", net, more: String::new(), ground: json!({}), transport, backend };
        place.write(2, 4000);
        place
    }

    fn host(&self, offset: u16) -> String {
        let (net, last) = self.net.rsplit_once('.').unwrap();
        format!("{net}.{}", last.parse::<u16>().unwrap() + offset)
    }

    fn write(&self, shards: u32, ports: u32) {
        let (host, caller, callee, transport) = (self.host(0), self.host(1), self.host(2), self.transport);
        let text = format!(
            "[node]\nname = '{}'\ndata_dir = '{}'\n[shards]\ncount = {shards}\npin = false\nbackend = '{}'\n\
             [[sip.listen]]\naddress = '{host}:5060'\n[[sip.listen]]\naddress = '{host}:5060'\ntransport = 'tcp'\n\
             [media]\naddress = '{host}'\nport_min = 20000\nport_max = {}\n[control]\nlisten = '{host}:8080'\n\
             [[trunk]]\nname = 'out'\naddress = '{callee}:5070'\ntransport = '{transport}'\nprefixes = ['']\n\
             [[trunk]]\nname = 'in'\naddress = '{caller}:5060'\n{}",
            self.name,
            self.dir.path().join("data").display(),
            self.backend,
            19_999 + ports,
            self.more,
        );
        fs::write(self.dir.path().join("s.toml"), text).unwrap();
    }

    /// One of two sites, with the keys in that folder.
    fn link(&mut self, name: &'static str, keys: &Path, other: (&str, &str), lease: &str) {
        let (host, keys, (peer, there)) = (self.host(0), keys.display(), other);
        self.name = name;
        self.more = format!(
            "[limits]\nhome = '{name}'\nlease = '{lease}'\n[link]\nlisten = '{host}:7420'\n\
             certificate_file = '{keys}/{name}.pem'\nkey_file = '{keys}/{name}.key'\nca_file = '{keys}/ca.pem'\n\
             [[link.peer]]\nname = '{peer}'\naddress = '{there}:7420'\n"
        );
        self.ground = json!({
            "node.name": name, "link.listen": format!("{host}:7420"), "link.peer.name": peer, "limits.home": name,
            "limits.mode": "strict", "limits.policy": "keep", "limits.lease": lease.replace('s', " s"),
            "limits.max_call_duration": "14400 s", "limits.clock_drift": "1000 ppm",
        });
        self.write(2, 4000);
    }

    /// Waits for the link to the other site, and tells of it.
    fn until_linked(&self, connections: u64) -> Value {
        let deadline = Instant::now() + WAIT;
        loop {
            let output = self.command(&["show", "links", "--json"]).output().unwrap();
            let link = serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default()[0].take();
            if link["state"] == "up" && link["connections"].as_u64() >= Some(connections) {
                return link;
            }
            assert!(Instant::now() < deadline, "no link: {}", said(&output));
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_strowger"));
        command.args(words).args(["--config", "s.toml"]).current_dir(self.dir.path()).stdin(Stdio::null());
        command.env_remove("NOTIFY_SOCKET").stderr(Stdio::piped());
        command
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("data/strowger.sock")
    }

    /// Runs, and is up.
    fn start(&self, words: &[&str]) -> Running {
        let manager = UnixDatagram::bind(self.dir.path().join("notify")).unwrap();
        let mut command = self.command(words);
        let child = command.env("NOTIFY_SOCKET", self.dir.path().join("notify")).spawn().unwrap();
        let running = Running { child };
        hear(&manager, "READY=1");
        fs::remove_file(self.dir.path().join("notify")).unwrap();
        running
    }

    /// Calls with media both ways, a few a second.
    fn load(&self) -> Running {
        let words = format!(
            "calls --target {}:5060 --transport {} --uas-listen {}:5070 --bind {} --rate 8 --hold 4s --duration 7s \
             --late-max 2s --timeout 60s",
            self.host(0),
            self.transport,
            self.host(2),
            self.host(1)
        );
        let mut command = Command::new(loadgen());
        let child = command.args(words.split_whitespace()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Running { child: child.unwrap() }
    }

    fn calls(&self) -> usize {
        let output = self.command(&["show", "calls", "--json"]).output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).ok().and_then(|rows| Some(rows.as_array()?.len())).unwrap_or(0)
    }

    fn until_calls(&self, least: usize) {
        let deadline = Instant::now() + WAIT;
        while self.calls() < least {
            assert!(Instant::now() < deadline, "there are never {least} calls");
        }
    }

    /// One figure of `/metrics`.
    fn metric(&self, name: &str) -> u64 {
        let mut stream = TcpStream::connect(format!("{}:8080", self.host(0))).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        let found = page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        found.unwrap_or_else(|| panic!("no {name}: {page}"))
    }

    /// A new process that takes everything, says `last`, and gets the word.
    fn ask_for_all(&self, last: &Value) -> UnixStream {
        let (mut stream, answer) = self.ask(|_| {});
        assert_eq!(answer["ok"], true, "{answer}");
        writeln!(stream, "{}", json!({ "freeze": true })).unwrap();
        let head = line(&stream);
        // One octet for each message of descriptors, which are let go.
        let octets = head["bytes"].as_u64().unwrap() + head["descriptors"].as_u64().unwrap().div_ceil(253);
        let mut left = vec![0; usize::try_from(octets).unwrap()];
        stream.read_exact(&mut left).unwrap();
        writeln!(stream, "{last}").unwrap();
        assert_eq!(line(&stream)["go"], true);
        stream
    }

    /// The first word of a new process that fits, and the running one's answer.
    fn ask(&self, change: impl FnOnce(&mut Value)) -> (UnixStream, Value) {
        let host = self.host(0);
        let mut asked = json!({ "command": "take_over", "format": 1, "version": "0.0.0", "ground": {
            "shards.count": "2", "sip.listen": format!("udp {host}:5060, tcp {host}:5060"), "media.address": host,
            "media.address_v6": "none", "media.port_min and port_max": "20000-23999", "control.listen": format!("{host}:8080"),
        }});
        for (name, value) in self.ground.as_object().into_iter().flatten() {
            asked["ground"][name] = value.clone();
        }
        change(&mut asked);
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        writeln!(stream, "{asked}").unwrap();
        let answer = line(&stream);
        (stream, answer)
    }
}

fn line(stream: &UnixStream) -> Value {
    let mut text = String::new();
    BufReader::with_capacity(1, stream).read_line(&mut text).unwrap();
    serde_json::from_str(&text).unwrap_or_default()
}

fn hear(manager: &UnixDatagram, word: &str) -> String {
    manager.set_read_timeout(Some(WAIT)).unwrap();
    let mut buffer = [0; 512];
    loop {
        let length = manager.recv(&mut buffer).unwrap_or_else(|error| panic!("{word} is never said: {error}"));
        let said = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if said.contains(word) {
            return said;
        }
    }
}

/// The load generator beside the appliance; made where it is not there yet.
fn loadgen() -> PathBuf {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_strowger")).with_file_name("strowger-loadgen");
    if !program.exists() {
        let mut command = Command::new(env!("CARGO"));
        command.args(["build", "--package", "strowger-loadgen"]).current_dir(env!("CARGO_MANIFEST_DIR"));
        if !cfg!(debug_assertions) {
            command.arg("--release");
        }
        assert!(command.status().unwrap().success());
    }
    program
}

struct Running {
    child: Child,
}

impl Running {
    fn end(mut self) -> (Option<i32>, String) {
        let deadline = Instant::now() + WAIT;
        while self.child.try_wait().unwrap().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let code = self.child.try_wait().unwrap().expect("it ends").code();
        let mut text = String::new();
        for mut pipe in [
            self.child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn Read>),
            self.child.stderr.take().map(|pipe| Box::new(pipe) as _),
        ]
        .into_iter()
        .flatten()
        {
            let _ = pipe.read_to_string(&mut text);
        }
        (code, text)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Every call was good and no packet is missing. 4 says that the generator itself was late, on a busy host.
fn assert_whole(load: Running) {
    let (code, report) = load.end();
    assert!(matches!(code, Some(0 | 4)), "{report}");
    for words in ["56 established, 56 completed, 0 failed", " 0 lost (0.0000%), 0 twice", " 0 damaged, 0 astray"] {
        assert!(report.contains(words), "{words}: {report}");
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Twice in a row, while calls are being set up and while others are up.
fn calls_go_on(transport: &'static str, backend: &'static str) {
    if backend == "io_uring" && strowger::io::probe().is_err() {
        assert!(std::env::var_os("STROWGER_NO_SKIP").is_none(), "io_uring cannot be tested");
        return;
    }
    let _turn = turn();
    let place = Place::new(transport, backend);
    let first = place.start(&["run"]);
    let load = place.load();
    place.until_calls(10);
    let second = place.start(&["run", "--take-over"]);
    let (code, log) = first.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("msg=\"handed over\""), "{log}");
    place.until_calls(20);
    let third = place.start(&["run", "--take-over"]);
    let (code, log) = second.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("taken over from the process before") && log.contains("handed over"), "{log}");
    assert_whole(load);
    let written = "strowger_records_written_total";
    let deadline = Instant::now() + WAIT;
    while place.metric("strowger_records_spooled") > 0 || place.metric(written) < 40 {
        assert!(Instant::now() < deadline, "records are not written");
    }
    let (records, calls) = (place.metric(written), place.metric("strowger_calls_total{result=\"answered\"}"));
    let fourth = place.start(&["run", "--take-over"]);
    assert_eq!(third.end().0, Some(0));
    assert_eq!((calls, place.metric("strowger_calls_total{result=\"answered\"}")), (56, 56), "totals go on");
    assert!(place.metric(written) >= records, "those of the control plane, too");
    assert!(place.command(&["drain", "--stop", "--wait"]).output().unwrap().status.success());
    assert_eq!(fourth.end().0, Some(0));
    assert!(!place.socket().exists());
    let records = fs::read_dir(place.dir.path().join("data/call-records")).unwrap();
    let lines: usize = records.map(|file| fs::read_to_string(file.unwrap().path()).unwrap().lines().count()).sum();
    assert_eq!(lines, 56, "every call has its record, whichever process it ended in");
}

#[test]
fn calls_go_on_over_udp_with_epoll() {
    calls_go_on("udp", "epoll");
}

#[test]
fn calls_go_on_over_tcp_with_epoll() {
    calls_go_on("tcp", "epoll");
}

#[test]
fn calls_go_on_over_udp_with_io_uring() {
    calls_go_on("udp", "io_uring");
}

#[test]
fn calls_go_on_over_tcp_with_io_uring() {
    calls_go_on("tcp", "io_uring");
}

/// A new process that dies, at each point where the old one still has the word.
#[test]
fn a_new_process_that_dies_ends_nothing() {
    let _turn = turn();
    let place = Place::new("udp", "auto");
    let running = place.start(&["run"]);
    let load = place.load();
    place.until_calls(5);
    drop(place.ask(|_| {}));
    let (mut stream, answer) = place.ask(|_| {});
    assert_eq!(answer["ok"], true, "{answer}");
    writeln!(stream, "{}", json!({ "freeze": true })).unwrap();
    let head = line(&stream);
    assert!(head["bytes"].as_u64() > Some(0) && head["descriptors"].as_u64() > Some(2), "{head}");
    drop(stream);
    let (mut stream, _) = place.ask(|_| {});
    writeln!(stream, "{}", json!({ "error": "no" })).unwrap();
    assert!(place.calls() > 0, "it goes on");
    assert_whole(load);
    assert!(place.command(&["drain", "--stop", "--wait"]).output().unwrap().status.success());
    let (code, log) = running.end();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(log.matches("everything goes on here").count(), 1, "{log}");
}

/// After the word nobody runs until the new process says so: if it dies before, the old one goes on. One that knows no such line
/// has everything with the word.
#[test]
fn a_new_process_that_dies_right_after_the_word_ends_nothing() {
    let _turn = turn();
    let place = Place::new("udp", "auto");
    let running = place.start(&["run"]);
    let load = place.load();
    place.until_calls(5);
    drop(place.ask_for_all(&json!({ "ready": true, "pid": std::process::id(), "tells": true })));
    assert_whole(load);
    drop(place.ask_for_all(&json!({ "ready": true, "pid": std::process::id() })));
    let (code, log) = running.end();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(log.matches("everything goes on here").count(), 1, "{log}");
    assert!(log.contains("the new process has died before it ran") && log.contains("handed over"), "{log}");
}

/// A new process that does not take over, and what it says.
fn refused(place: &Place) -> String {
    let output = place.command(&["run", "--take-over"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    said(&output)
}

/// To the other site it was away for a moment: the link stands again, with the one that was there before.
#[test]
fn a_site_among_others_changes_its_process() {
    let _turn = turn();
    let (mut place, mut other) = (Place::new("udp", "epoll"), Place::new("udp", "epoll"));
    let keys = place.dir.path().join("keys");
    strowger::control::links::keygen::keygen(&keys, &["here".to_owned(), "there".to_owned()]).unwrap();
    let (here, there) = (place.host(0), other.host(0));
    place.link("here", &keys, ("there", &there), "30s");
    other.link("there", &keys, ("here", &here), "30s");
    let (first, beside) = (place.start(&["run"]), other.start(&["run"]));
    place.until_linked(1);
    let load = place.load();
    place.until_calls(10);
    place.link("here", &keys, ("there", &there), "31s");
    let text = refused(&place);
    assert!(text.contains("limits.lease is 30 s in the running process and 31 s"), "{text}");
    place.more.clear();
    place.write(2, 4000);
    let text = refused(&place);
    assert!(text.contains("[link] names other sites in the configuration of one of the two"), "{text}");
    place.link("here", &keys, ("there", &there), "30s");
    // One that dies when it has everything: the running one takes its links back.
    drop(place.ask_for_all(&json!({ "ready": true, "pid": std::process::id(), "tells": true })));
    assert_eq!(other.until_linked(2)["incarnation"], 1);
    let mut running = first;
    for connections in [3, 4] {
        let next = place.start(&["run", "--take-over"]);
        let (code, log) = running.end();
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("msg=\"handed over\"") && !log.contains("panicked"), "{log}");
        let link = other.until_linked(connections);
        assert_eq!((&link["incarnation"], &link["refusal"]), (&json!(1), &Value::Null), "{link}");
        assert_eq!(place.until_linked(connections)["incarnation"], 1);
        running = next;
    }
    assert_whole(load);
    for (place, running) in [(&place, running), (&other, beside)] {
        assert!(place.command(&["drain", "--stop", "--wait"]).output().unwrap().status.success());
        let (code, log) = running.end();
        assert_eq!(code, Some(0), "{log}");
        assert!(!log.contains("fenced"), "{log}");
    }
}

#[test]
fn what_does_not_fit_is_refused_with_what_to_do() {
    let place = Place::new("udp", "auto");
    let text = refused(&place);
    assert!(text.contains("there is nothing to take over; start without --take-over"), "{text}");
    let running = place.start(&["run"]);
    for (shards, ports, words) in [
        (3, 4000, "shards.count is 2 in the running process and 3 in the new one's configuration"),
        (2, 3000, "media.port_min and port_max is 20000-23999 in the running process and 20000-22999"),
    ] {
        place.write(shards, ports);
        let text = refused(&place);
        assert!(text.contains(words) && text.contains("or drain and restart"), "{text}");
    }
    place.write(2, 4000);
    let (_, answer) = place.ask(|asked| asked["format"] = json!(99));
    let why = answer["error"].as_str().unwrap_or_default();
    assert!(why.contains("strowger 0.0.0 reads snapshots of format 99") && why.contains("drain and restart"), "{why}");
    let user = Command::new("id").arg("-u").output().unwrap();
    if user.stdout == b"0\n" {
        // The socket's mode keeps others away; should somebody open it, its owner still decides.
        for path in [place.dir.path().to_path_buf(), place.dir.path().join("data"), place.socket()] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
        }
        let script = "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); \
                      s.send(b'{\"command\":\"take_over\"}\\n'); print(s.makefile().readline())";
        let mut command = Command::new("python3");
        let asked = command.args(["-c", script]).arg(place.socket()).uid(65_534).gid(65_534).output().unwrap();
        assert!(said(&asked).contains("user 65534 may not take over"), "{}", said(&asked));
    }
    assert!(place.command(&["drain", "--stop", "--wait"]).output().unwrap().status.success());
    assert_eq!(running.end().0, Some(0));
}

/// What the unit's upgrade does: the service's main process starts the next one and says which it is.
#[test]
fn a_signal_upgrades_in_place() {
    let place = Place::new("udp", "auto");
    let manager = UnixDatagram::bind(place.dir.path().join("notify")).unwrap();
    let mut command = place.command(&["run"]);
    command.env("NOTIFY_SOCKET", place.dir.path().join("notify")).stderr(Stdio::null());
    let first = Running { child: command.spawn().unwrap() };
    hear(&manager, "READY=1");
    let pid = first.child.id().to_string();
    assert!(Command::new("kill").args(["-s", "USR2", &pid]).status().unwrap().success());
    let said = hear(&manager, "MAINPID=");
    let heir = said.trim_start_matches("MAINPID=").trim().to_owned();
    assert_ne!(heir, pid);
    assert_eq!(first.end().0, Some(0));
    assert!(place.command(&["show", "shards"]).output().unwrap().status.success(), "process {heir} answers");
    assert!(place.command(&["drain", "--stop", "--wait"]).output().unwrap().status.success());
}

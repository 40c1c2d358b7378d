//! What operators type, against the built binary: exit codes, the socket, reload, drain, signals, bad surroundings.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

const WAIT: Duration = Duration::from_secs(30);

/// A folder, an address and a configuration of one test's own.
struct Place {
    dir: tempfile::TempDir,
    host: String,
}

impl Place {
    fn new() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id() % 60_000;
        let host = format!("127.{}.{}.{number}", 100 + process / 250, process % 250);
        Self { dir: tempfile::tempdir().unwrap(), host }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("s.toml")
    }

    fn text(&self, more: &str) -> String {
        let (host, data) = (&self.host, self.dir.path().join("data"));
        format!(
            "[node]\nname = 'test'\ndata_dir = '{}'\ndrain_timeout = '1s'\n[shards]\ncount = 2\npin = false\n\
             [[sip.listen]]\naddress = '{host}:5060'\n[[sip.listen]]\naddress = '{host}:5060'\ntransport = 'tcp'\n\
             [media]\naddress = '{host}'\nport_min = 20000\nport_max = 20399\n[control]\nlisten = '{host}:8080'\n{more}",
            data.display()
        )
    }

    fn write(&self, more: &str) {
        fs::write(self.file(), self.text(more)).unwrap();
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_strowger"));
        command.args(words).current_dir(self.dir.path()).env_remove("NOTIFY_SOCKET").stdin(Stdio::null());
        command
    }

    fn ask(&self, words: &[&str]) -> Output {
        self.command(words).args(["--config", "s.toml"]).output().unwrap()
    }

    fn page(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(format!("{}:8080", self.host)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    fn start(&self) -> Running {
        self.start_with(&[])
    }

    fn start_with(&self, environment: &[(&str, &str)]) -> Running {
        let manager = UnixDatagram::bind(self.dir.path().join("notify")).unwrap();
        manager.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let mut command = self.command(&["run", "--config", "s.toml"]);
        command.env("NOTIFY_SOCKET", self.dir.path().join("notify")).stderr(Stdio::piped());
        command.envs(environment.iter().copied());
        let mut running = Running { child: command.spawn().unwrap(), manager };
        running.hear("READY=1");
        running
    }
}

struct Running {
    child: Child,
    manager: UnixDatagram,
}

impl Running {
    fn hear(&mut self, word: &str) {
        let mut buffer = [0; 512];
        let deadline = Instant::now() + WAIT;
        loop {
            let ended = self.child.try_wait().unwrap();
            match self.manager.recv(&mut buffer) {
                Ok(length) if String::from_utf8_lossy(&buffer[..length]).contains(word) => return,
                Ok(_) => {}
                Err(_) if ended.is_some() => panic!("ended with {ended:?} before {word}: {}", self.log()),
                Err(_) => assert!(Instant::now() < deadline, "{word} is never said"),
            }
        }
    }

    fn log(&mut self) -> String {
        let mut text = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            let _ = stderr.read_to_string(&mut text);
        }
        text
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Exit code and log.
    fn end(mut self) -> (Option<i32>, String) {
        let deadline = Instant::now() + WAIT;
        while self.child.try_wait().unwrap().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let code = self.child.try_wait().unwrap().expect("it ends").code();
        (code, self.log())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_day_of_an_operator() {
    let place = Place::new();
    place.write("[[account]]\nname = 'alice'\nmax_calls = 3\n");
    let running = place.start();
    assert!(place.page("/readyz").ends_with("\r\n\r\nready\n") && place.page("/healthz").starts_with("HTTP/1.1 200"));
    assert!(place.page("/metrics").contains("strowger_calls_active 0\n"));
    let data = place.dir.path().join("data");
    for file in ["strowger.sock", "admin.token"] {
        assert_eq!(fs::metadata(data.join(file)).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
    }
    let shards: Value = serde_json::from_slice(&place.ask(&["show", "shards", "--json"]).stdout).unwrap();
    assert_eq!((shards[0]["shard"].as_u64(), shards[1]["shard"].as_u64()), (Some(0), Some(1)));
    assert!(said(&place.ask(&["show", "limits"])).contains("account  alice     0    3"));

    place.write("[[account]]\nname = 'alice'\nmax_calls = 5\n[[account]]\nname = 'bob'\n[log]\nformat = 'json'\n");
    let reload = place.ask(&["reload"]);
    let expected =
        "~ account.alice.max_calls: 3 -> 5\n+ account.bob\n~ log.format: \"logfmt\" -> \"json\"   (needs a restart)\n";
    assert_eq!((said(&reload).as_str(), reload.status.code()), (expected, Some(0)));
    assert!(said(&place.ask(&["show", "limits"])).contains("account  alice     0    5"));

    place.write("[[account]]\nname = 'alice'\nmax_clals = 7\n");
    let reload = place.ask(&["reload"]);
    assert!(
        said(&reload).contains("did you mean `max_calls`?") && reload.status.code() == Some(1),
        "{}",
        said(&reload)
    );
    assert!(said(&place.ask(&["show", "limits"])).contains("account  alice     0    5"), "nothing changed");

    let nobody = place.ask(&["hangup", "call_s000000000000000000000001"]);
    assert!(nobody.status.code() == Some(1));
    assert!(said(&place.ask(&["drain"])).contains("draining: 0 calls remain"));
    assert!(place.page("/readyz").contains("503") && place.page("/readyz").ends_with("draining\n"));
    assert!(said(&place.ask(&["drain", "--cancel"])).contains("taking new calls"));
    assert!(place.page("/readyz").contains("200"));
    running.signal("TERM");
    let (code, log) = running.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("msg=\"told to end") && !data.join("strowger.sock").exists(), "{log}");
}

#[test]
fn hangup_reloads_and_drain_with_stop_ends() {
    let place = Place::new();
    place.write("");
    let mut running = place.start();
    place.write("[[account]]\nname = 'carol'\n");
    running.signal("HUP");
    let deadline = Instant::now() + WAIT;
    while !said(&place.ask(&["show", "limits"])).contains("carol") {
        assert!(Instant::now() < deadline, "SIGHUP reloads");
    }
    assert!(said(&place.ask(&["drain", "--stop", "--wait"])).contains("stopped"));
    running.hear("STOPPING=1");
    assert_eq!(running.end().0, Some(0));
}

#[test]
fn exit_codes_are_those_of_the_interface() {
    let place = Place::new();
    fs::write(place.file(), "[node]\nnmae = 'x'\n[sip]\nt1 = 5\n").unwrap();
    for words in [&["check", "s.toml"][..], &["run", "--config", "s.toml"]] {
        let output = place.command(words).output().unwrap();
        assert_eq!(output.status.code(), Some(78));
        assert!(said(&output).contains("s.toml:2:1") && said(&output).contains("s.toml:4:6"), "{}", said(&output));
    }
    let checked = place.command(&["check", "s.toml", "--json"]).output().unwrap();
    let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!((report["ok"].as_bool(), report["errors"][0]["line"].as_u64()), (Some(false), Some(2)));
    assert_eq!(report["errors"][0]["help"], "did you mean `name`?");
    assert_eq!(place.command(&["show", "nothing"]).output().unwrap().status.code(), Some(2));
    assert_eq!(place.command(&["config", "explain", "sip.t1x"]).output().unwrap().status.code(), Some(2));
    let nobody = place.command(&["show", "calls", "--socket", "none.sock"]).output().unwrap();
    assert!(nobody.status.code() == Some(1) && said(&nobody).contains("strowger run"), "{}", said(&nobody));
    fs::write(place.file(), [0xff, 0xfe, 0]).unwrap();
    assert_eq!(place.command(&["check", "s.toml"]).output().unwrap().status.code(), Some(78));
    place.write("");
    let good = place.command(&["check", "s.toml"]).output().unwrap();
    assert!(good.status.code() == Some(0) && said(&good).contains("can run"), "{}", said(&good));
}

#[test]
fn what_is_in_the_way_is_named_with_its_setting() {
    let place = Place::new();
    place.write("");
    let run = |place: &Place| {
        let output = place.command(&["run", "--config", "s.toml"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        said(&output)
    };
    let udp = UdpSocket::bind(format!("{}:5060", place.host)).unwrap();
    let text = run(&place);
    assert!(
        text.contains("port is in use") && text.contains("`sip.listen.address`") && text.contains("ss -lunp"),
        "{text}"
    );
    drop(udp);
    let tcp = TcpListener::bind(format!("{}:8080", place.host)).unwrap();
    assert!(run(&place).contains("`control.listen`"));
    drop(tcp);
    fs::remove_dir_all(place.dir.path().join("data")).unwrap();
    fs::write(place.dir.path().join("data"), "a file").unwrap();
    assert!(run(&place).contains("`node.data_dir`"));
    fs::remove_file(place.dir.path().join("data")).unwrap();
    let running = place.start();
    let text = run(&place);
    assert!(text.contains("a strowger runs already"), "{text}");
    running.signal("INT");
    running.signal("INT");
    assert_eq!(running.end().0, Some(0));
}

#[test]
fn a_killed_one_leaves_nothing_in_the_way() {
    let place = Place::new();
    place.write("");
    let mut running = place.start();
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    assert!(place.dir.path().join("data/strowger.sock").exists());
    fs::remove_file(place.dir.path().join("notify")).unwrap();
    let running = place.start();
    running.signal("TERM");
    assert_eq!(running.end().0, Some(0));
}

#[test]
fn the_commented_defaults_are_a_configuration() {
    let place = Place::new();
    let defaults = place.command(&["config", "defaults"]).output().unwrap();
    fs::write(place.file(), &defaults.stdout).unwrap();
    let mut child = place.command(&["config", "explain", "trunk"]).stdout(Stdio::piped()).spawn().unwrap();
    let first = BufReader::new(child.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    child.wait().unwrap();
    assert_eq!(first, "[[trunk]]");
    let report = place.command(&["check", "s.toml", "--json"]).output().unwrap();
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!(report["errors"].as_array().map(Vec::len), Some(0));
}

/// Two sites' worth of certificates and what makes this node one of them; the other one does not run.
#[cfg(debug_assertions)]
fn with_link(place: &Place, policy: &str) {
    let keys = place.command(&["link", "keygen", "--out", "keys", "test", "other"]).output().unwrap();
    assert!(keys.status.success(), "{}", said(&keys));
    let host = &place.host;
    let keys = |file: &str| place.dir.path().join("keys").join(file).display().to_string();
    place.write(&format!(
        "[[account]]\nname = 'alice'\nmax_calls = 2\n[limits]\nhome = 'test'\npolicy = '{policy}'\n[link]\nlisten = '{host}:7420'\n\
         certificate_file = '{}'\nkey_file = '{}'\nca_file = '{}'\n[[link.peer]]\nname = 'other'\naddress = '{host}:7421'\n",
        keys("test.pem"),
        keys("test.key"),
        keys("ca.pem")
    ));
}

#[test]
#[cfg(debug_assertions)]
fn a_keeper_that_dies_ends_the_process_for_a_restart() {
    for (policy, how) in [("keep", "draining, calls may go on"), ("drop", "the calls end with it")] {
        let place = Place::new();
        with_link(&place, policy);
        let running = place.start_with(&[("STROWGER_PLANTED_PANIC_MS", "300")]);
        let (code, log) = running.end();
        assert_eq!(code, Some(1), "systemd starts it again: {log}");
        assert!(log.contains("the keeper of the rights died") && log.contains(how), "{log}");
        assert!(log.contains("finds in the ledger what this site holds"), "{log}");
    }
}

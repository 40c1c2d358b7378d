//! `strowger check`: the configuration, and whether this host can carry what it says.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

use serde_json::{Value, json};

use super::client::is_running;
use super::fast_path;
use super::fault::{Fault, bind, exit, path};
use super::finding::{Finding, Weight};
use super::host::{Host, shards};
use super::load;
use crate::base::Transport;
use crate::config::{self, Backend, Config, Diagnostic};
use crate::control::links::tls;
use crate::control::log::styled;
use crate::io;

/// Checks a file and the host and prints what it found. True when the appliance would run.
///
/// # Errors
/// The file cannot be read.
pub fn check(file: Option<&Path>, as_json: bool) -> Result<bool, Fault> {
    let source = load::source(file)?;
    let mut outcome = config::read(&source.text, &source.name);
    let mut findings = Vec::new();
    if let Some(config) = &mut outcome.config {
        let errors = load::secrets(config).err().unwrap_or_default();
        findings.extend(errors.into_iter().map(|text| Finding::fatal("secrets", text)));
        findings.extend(host(config));
    }
    let good = outcome.config.is_some() && !findings.iter().any(|finding| finding.weight == Weight::Fatal);
    if as_json {
        println!("{}", report(&outcome, &findings, good));
        return Ok(good);
    }
    eprint!("{}", load::rendered(&source, &outcome, styled()));
    for note in &outcome.notes {
        eprintln!("{}\n", note.render(&source.text, styled()));
    }
    for finding in &findings {
        println!("{:<5} {:<11} {}", finding.weight.word(), finding.what, finding.text);
    }
    let verdict = if good { "can run" } else { "cannot run" };
    println!("{}: {verdict}", source.name);
    Ok(good)
}

fn report(outcome: &config::Outcome, findings: &[Finding], good: bool) -> Value {
    let list = |diagnostics: &[Diagnostic]| -> Vec<Value> {
        let row = |one: &Diagnostic| {
            json!({ "file": one.file, "line": one.line, "column": one.column, "message": one.message,
                    "label": one.label, "help": one.help })
        };
        diagnostics.iter().map(row).collect()
    };
    let host = findings.iter().map(|one| {
        json!({ "what": one.what, "ok": one.weight != Weight::Fatal, "warning": one.weight == Weight::Doubtful, "text": one.text })
    });
    json!({
        "ok": good, "exit": if good { exit::OK } else { exit::CONFIG }, "errors": list(&outcome.errors),
        "errors_more": outcome.more, "notes": list(&outcome.notes), "host": host.collect::<Vec<_>>(),
    })
}

/// What this host says to the configuration.
#[must_use]
pub fn host(config: &Config) -> Vec<Finding> {
    let mut out = Vec::new();
    let running = is_running(&config.control.socket);
    sockets(config, running, &mut out);
    files(config, &mut out);
    backend(config, &mut out);
    Host::read().judge(config, &mut out);
    out.push(fast_path::findings(config));
    out
}

fn sockets(config: &Config, running: bool, out: &mut Vec<Finding>) {
    let mut wanted: Vec<(SocketAddr, bool, &str, &'static str)> = Vec::new();
    for listen in &config.sip.listen {
        wanted.push((listen.address, listen.transport == Transport::Udp, "sip.listen.address", "sip"));
    }
    wanted.push((config.control.listen, false, "control.listen", "control"));
    wanted.extend(config.link.iter().map(|link| (link.listen, true, "link.listen", "link")));
    for (address, udp, setting, what) in wanted {
        let tried = if udp { UdpSocket::bind(address).map(drop) } else { TcpListener::bind(address).map(drop) };
        let protocol = if udp { "UDP" } else { "TCP" };
        let finding = match tried {
            Ok(()) => Finding::good(what, format!("{address} ({protocol}) is free")),
            Err(error) if running && error.kind() == std::io::ErrorKind::AddrInUse => {
                Finding::good(what, format!("{address} ({protocol}) is held by the running appliance"))
            }
            Err(error) => Finding::fatal(what, bind(&error, address, udp, setting)),
        };
        out.push(finding);
    }
    for address in [Some(config.media.address), config.media.address_v6].into_iter().flatten() {
        if let Err(error) = UdpSocket::bind((address, 0)) {
            let text = bind(&error, SocketAddr::new(address, config.media.port_min), true, "media.address");
            out.push(Finding::fatal("media", text));
        }
    }
}

fn files(config: &Config, out: &mut Vec<Finding>) {
    let places = [(&config.node.data_dir, "node.data_dir"), (&config.records.dir, "records.dir")];
    for (dir, setting) in places {
        // What does not exist yet will be made in the nearest folder that does.
        let Some(existing) = dir.ancestors().find(|dir| dir.exists() || dir.as_os_str().is_empty()) else { continue };
        let existing = if existing.as_os_str().is_empty() { Path::new(".") } else { existing };
        let probe = existing.join(format!(".strowger-check-{}", std::process::id()));
        let tried = std::fs::write(&probe, b"").and_then(|()| std::fs::remove_file(&probe));
        out.push(match tried {
            Ok(()) => Finding::good("disk", format!("{} is writable", dir.display())),
            Err(error) => Finding::fatal("disk", path(&error, "write into", existing, setting)),
        });
    }
    let Some(link) = &config.link else { return };
    out.push(match tls::inspect(link, &config.node.name) {
        Ok(None) => Finding::good("link", "certificate, key and authority belong together"),
        Ok(Some(warning)) => Finding::doubtful("link", warning),
        Err(text) => Finding::fatal("link", text),
    });
}

fn backend(config: &Config, out: &mut Vec<Finding>) {
    let wanted = match config.shards.backend {
        Backend::Auto => io::Backend::Auto,
        Backend::IoUring => io::Backend::IoUring,
        Backend::Epoll => io::Backend::Epoll,
    };
    let count = shards(config.shards.count);
    out.push(match io::Choice::new(wanted) {
        Ok(choice) => {
            let what = format!("{} on {count} shards", choice.name());
            match &choice.fallback {
                Some(why) => Finding::doubtful("backend", format!("{what} ({why})")),
                None => Finding::good("backend", what),
            }
        }
        Err(why) => Finding::fatal("backend", why.to_string()),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_names_its_setting() {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "[node]\ndata_dir = '{}'\n[[sip.listen]]\naddress = '127.0.0.1:{port}'\n[media]\nport_min = 1024\nport_max = 1123\n",
            dir.path().display()
        );
        let findings = host(&config::parse(&text, "t").unwrap());
        let fatal: Vec<_> =
            findings.iter().filter(|finding| finding.weight == Weight::Fatal && finding.what == "sip").collect();
        assert_eq!(fatal.len(), 1);
        assert!(fatal[0].text.contains("in use") && fatal[0].text.contains("sip.listen.address"));
    }

    #[test]
    fn an_address_of_another_host_is_found() {
        let config = config::parse("[media]\naddress = '203.0.113.10'\n", "t").unwrap();
        let text = host(&config).into_iter().find(|finding| finding.what == "media").unwrap().text;
        assert!(text.contains("no such address") && text.contains("media.address"), "{text}");
    }
}

//! `show`, `reload`, `drain`, `hangup`, `unblock`: one question to the running appliance over its Unix socket.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::fault::Fault;
use super::limit;
use super::load;
use super::table::{age, table};
use crate::config;

const ANSWER_WAIT: Duration = Duration::from_secs(60);

/// Where the appliance may be asked when nobody says.
const USUAL: [&str; 3] =
    ["strowger-data/strowger.sock", "/run/strowger/strowger.sock", "/var/lib/strowger/strowger.sock"];

/// How to find the appliance.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Target {
    /// The configuration file it runs with
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Its Unix socket
    #[arg(long, value_name = "PATH", conflicts_with = "config")]
    socket: Option<PathBuf>,
}

impl Target {
    fn socket(&self) -> Result<PathBuf, Fault> {
        if let Some(socket) = &self.socket {
            return Ok(socket.clone());
        }
        if let Some(file) = &self.config {
            let source = load::source(Some(file))?;
            return Ok(config::read(&source.text, &source.name).socket);
        }
        let found = USUAL.iter().map(PathBuf::from).find(|path| path.exists());
        found.ok_or_else(|| {
            Fault::runtime(format!(
                "no running appliance found (no socket at {}); use --config or --socket",
                USUAL.join(", ")
            ))
        })
    }

    /// Asks, and gives the answer if it is a good one.
    fn ask(&self, request: &Value) -> Result<Value, Fault> {
        let path = self.socket()?;
        let answer = ask(&path, request).map_err(|error| Fault::runtime(unreachable(&error, &path)))?;
        if answer["ok"] == true {
            return Ok(answer);
        }
        Err(Fault::runtime(answer["error"].as_str().unwrap_or("the appliance answered without a reason").to_owned()))
    }
}

fn ask(path: &Path, request: &Value) -> std::io::Result<Value> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(ANSWER_WAIT))?;
    stream.write_all(format!("{request}\n").as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

/// True when an appliance answers at this socket.
#[must_use]
pub fn is_running(socket: &Path) -> bool {
    UnixStream::connect(socket).is_ok()
}

fn unreachable(error: &std::io::Error, path: &Path) -> String {
    let head = format!("cannot ask the appliance at {}", path.display());
    match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => {
            format!("{head}: it does not run. Start it with `strowger run`, or name its socket with --socket")
        }
        std::io::ErrorKind::PermissionDenied => {
            format!("{head}: this user may not. Use the user it runs as (such as `sudo -u strowger`), or root")
        }
        _ => format!("{head}: {error}"),
    }
}

/// Lists something.
///
/// # Errors
/// No appliance, or it said why not.
pub fn show(target: &Target, what: &str, limit: usize, all_sites: bool, json: bool) -> Result<(), Fault> {
    let answer = target.ask(&json!({ "command": "show", "what": what, "limit": limit, "all_sites": all_sites }))?;
    let rows = answer["rows"].as_array().map_or(&[][..], Vec::as_slice);
    let linked = rows.first().is_some_and(|row| row["limit"].is_number());
    match what {
        _ if json => println!("{}", answer["rows"]),
        "calls" if all_sites => print!("{}", table("calls of all sites", rows)),
        "limits" if linked => print!("{}", table("limits of sites", rows)),
        "blocked" => print!("{}", table("blocked sources", rows)),
        "links" => print!("{}", table(what, &rows.iter().map(with_refusal).collect::<Vec<_>>())),
        _ => print!("{}", table(what, rows)),
    }
    for row in rows.iter().filter(|row| what == "links" && row["differs"].is_string()) {
        let (peer, differs) = (row["peer"].as_str().unwrap_or_default(), row["differs"].as_str().unwrap_or_default());
        eprintln!(
            "strowger: {peer} has other limits in its configuration: {differs}; limits may not hold until they agree"
        );
    }
    for site in answer["replaced"].as_array().into_iter().flatten() {
        let (name, incarnation) = (site["site"].as_str().unwrap_or_default(), &site["incarnation"]);
        eprintln!(
            "strowger: {name} has a new disk; if the old one is gone: `strowger site retire {name} --incarnation {incarnation} --i-have-fenced-it`"
        );
    }
    for site in answer["sites"].as_array().into_iter().flatten().filter(|site| site["linked"] == false) {
        let name = site["site"].as_str().unwrap_or_default();
        match site["stale_s"].as_f64() {
            Some(seconds) => eprintln!("strowger: {name} is cut off; its calls are as of {} ago", age(seconds as u64)),
            None => eprintln!("strowger: {name} is cut off, and its calls are not known"),
        }
    }
    if answer["cut"] == true {
        eprintln!("strowger: only the first {limit} are shown; --limit N shows more");
    }
    match answer["shards_missing"].as_u64() {
        Some(missing) if missing > 0 => Err(Fault::runtime(format!("{missing} shards did not answer in time"))),
        _ => Ok(()),
    }
}

/// What was last refused as one cell.
fn with_refusal(row: &Value) -> Value {
    let mut row = row.clone();
    let refusal = &row["refusal"];
    if let (Some(reason), Some(what)) = (refusal["reason"].as_str(), refusal["what"].as_str()) {
        row["why"] = format!("{reason}: {what}").into();
    }
    row
}

/// Where the rights of an account are.
///
/// # Errors
/// No appliance, or no such account.
pub fn limit(target: &Target, account: &str, json: bool) -> Result<(), Fault> {
    let answer = target.ask(&json!({ "command": "show", "what": "limits", "account": account }))?;
    if json {
        println!("{}", answer["limit"]);
    } else {
        print!("{}", limit::page(&answer["limit"]));
    }
    Ok(())
}

/// Says that a site is fenced and will not come back.
///
/// # Errors
/// No appliance, or it says why not.
pub fn retire(target: &Target, site: &str, incarnation: u32) -> Result<(), Fault> {
    let answer = target.ask(&json!({ "command": "retire", "site": site, "incarnation": incarnation }))?;
    let (rights, dropped) = (&answer["rights"], &answer["dropped"]);
    let wait = age(answer["wait_s"].as_f64().unwrap_or(0.0).ceil() as u64);
    println!(
        "{site}, incarnation {incarnation}, is retired: {rights} rights placed there come back in {wait}; {dropped} rights that it had made are void here"
    );
    Ok(())
}

/// Lets this home make rights although its ledger is new.
///
/// # Errors
/// No appliance, or it says why not.
pub fn found(target: &Target) -> Result<(), Fault> {
    target.ask(&json!({ "command": "found" })).map(|_| println!("this home makes the rights of its accounts now"))
}

/// Has the configuration read again and prints what changed.
///
/// # Errors
/// No appliance, or the new configuration is wrong.
pub fn reload(target: &Target) -> Result<(), Fault> {
    let answer = target.ask(&json!({ "command": "reload" }))?;
    let changes = answer["changes"].as_array().map_or(&[][..], Vec::as_slice);
    if changes.is_empty() {
        println!("nothing changed");
    }
    for change in changes.iter().filter_map(Value::as_str) {
        println!("{change}");
    }
    Ok(())
}

/// Ends one call.
///
/// # Errors
/// No appliance, or no such call.
pub fn hangup(target: &Target, call: &str) -> Result<(), Fault> {
    target.ask(&json!({ "command": "hangup", "call": call })).map(|_| println!("{call} is being ended"))
}

/// Ends a block or a mute.
///
/// # Errors
/// No appliance, or nothing is done about this source.
pub fn unblock(target: &Target, source: &str) -> Result<(), Fault> {
    target
        .ask(&json!({ "command": "unblock", "source": source }))
        .map(|_| println!("{source} is heard again; guard.allow spares it for good"))
}

/// New calls again.
///
/// # Errors
/// No appliance, or one that is ending.
pub fn undrain(target: &Target) -> Result<(), Fault> {
    target.ask(&json!({ "command": "undrain" })).map(|_| println!("taking new calls"))
}

/// No new calls; shows what remains, and with `wait` until nothing does.
///
/// # Errors
/// No appliance.
pub fn drain(target: &Target, wait: bool, stop: bool) -> Result<(), Fault> {
    target.ask(&json!({ "command": "drain", "stop": stop }))?;
    let mut before = None;
    loop {
        let answer = match target.ask(&json!({ "command": "show", "what": "shards" })) {
            Ok(answer) => answer,
            Err(_) if stop && before.is_some() => {
                println!("stopped");
                return Ok(());
            }
            Err(fault) => return Err(fault),
        };
        let rows = answer["rows"].as_array().map_or(&[][..], Vec::as_slice);
        let calls: u64 = rows.iter().filter_map(|row| row["calls"].as_u64()).sum();
        if before != Some(calls) {
            let remain = if calls == 1 { "call remains" } else { "calls remain" };
            println!("draining: {calls} {remain}");
        }
        before = Some(calls);
        if !wait || calls == 0 && !stop {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

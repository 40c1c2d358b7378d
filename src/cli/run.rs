//! `strowger run`: starts the appliance and supervises it until it is told to end.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::appliance::Appliance;
use super::fault::Fault;
use super::load;
use super::notify::Notify;
use super::privileges::Starter;
use crate::config::{self, LimitPolicy};
use crate::control::{self, Request};
use std::sync::atomic::Ordering::Relaxed;

/// How often the supervisor looks around.
const TICK: Duration = Duration::from_millis(500);

/// Runs until SIGTERM, SIGINT or `strowger drain --stop`.
///
/// # Errors
/// It could not start, or a shard or the keeper of the rights died.
pub fn run(file: Option<&Path>, take_over: bool) -> Result<(), Fault> {
    let starter = Starter::new().map_err(|error| Fault::runtime(format!("no thread could be started: {error}")))?;
    // Before the file is replaced by another version.
    let program = std::env::current_exe().ok();
    let config = load::config(file)?;
    let notify = Notify::from_environment();
    let mut supervisor = Supervisor {
        appliance: if take_over { Appliance::take_over(config)? } else { Appliance::start(config)? },
        notify,
        file,
        program,
        starter,
        upgrade: None,
        successor: None,
        until: None,
        died: None,
    };
    let requests = supervisor.appliance.state().requests.clone();
    control::hear_signals(requests).map_err(|error| Fault::runtime(format!("signals cannot be heard: {error}")))?;
    if file.is_none() {
        tracing::info!(
            "no --config: everything is on 127.0.0.1, without accounts; `strowger config defaults` shows what can be set"
        );
    }
    supervisor.notify.ready(&supervisor.status());
    let died = supervisor.supervise();
    if let Some(pid) = supervisor.successor {
        supervisor.notify.main_pid(pid);
        return match supervisor.appliance.leave() {
            true => Ok(()),
            false => Err(Fault::runtime("handed over, but not everything ended well; see the log")),
        };
    }
    supervisor.notify.stopping("ending the calls that are left");
    let stopped = supervisor.appliance.stop();
    match died {
        Some(Died::Shard(shard)) => Err(Fault::runtime(format!("shard {shard} died; its calls are lost"))),
        Some(Died::Keeper) => Err(Fault::runtime(
            "the keeper of the rights died; the next start finds in the ledger what this site holds".to_owned(),
        )),
        None if !stopped => Err(Fault::runtime("not everything ended well; see the log")),
        None => Ok(()),
    }
}

/// What ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Died {
    /// This one.
    Shard(usize),
    /// What decides with the other sites.
    Keeper,
}

struct Supervisor<'f> {
    appliance: Appliance,
    notify: Notify,
    file: Option<&'f Path>,
    /// What is started when told to upgrade.
    program: Option<PathBuf>,
    /// By whom.
    starter: Starter,
    /// The process that was started so.
    upgrade: Option<Child>,
    /// The process that has taken over.
    successor: Option<i32>,
    /// Told to end: then calls may go on until this.
    until: Option<Instant>,
    /// Why it is ending, when nobody has told it to.
    died: Option<Died>,
}

impl Supervisor<'_> {
    /// Until it is time to end; gives what died, if something did.
    fn supervise(&mut self) -> Option<Died> {
        let mut looked = Instant::now();
        loop {
            let request = self.appliance.requests().recv_timeout(TICK).ok();
            if let Some(request) = request
                && self.handle(request)
            {
                return self.died;
            }
            if let Some(status) = self.upgrade.as_mut().and_then(|child| child.try_wait().ok().flatten()) {
                self.upgrade = None;
                tracing::error!(%status, "the new process has ended without taking over: this one goes on");
            }
            if let Some(shard) = self.appliance.dead_shard() {
                tracing::error!(shard, "a shard died");
                return Some(Died::Shard(shard));
            }
            if self.died.is_none() && self.appliance.is_keeper_dead() && self.outlive_keeper() {
                return self.died;
            }
            let interval = self.notify.interval().unwrap_or(TICK * 2).min(TICK * 2);
            if looked.elapsed() >= interval || self.until.is_some() {
                looked = Instant::now();
                let calls = self.look();
                if self.until.is_some_and(|until| calls == Some(0) || Instant::now() >= until) {
                    return self.died;
                }
            }
        }
    }

    /// Asks the shards; the service manager hears that all is well only when all of them answer.
    fn look(&mut self) -> Option<usize> {
        let calls = self.appliance.calls();
        let all = calls.missing == 0;
        let before = self.appliance.state().shards_answer.swap(all, Relaxed);
        if all {
            self.notify.watchdog(&self.status_of(calls.now));
        }
        if before && !all {
            tracing::error!(shards = calls.missing, "shards do not answer");
        } else if !before && all {
            tracing::info!("all shards answer again");
        }
        all.then_some(calls.now)
    }

    fn status(&self) -> String {
        self.status_of(self.appliance.calls().now)
    }

    fn status_of(&self, calls: usize) -> String {
        let state = self.appliance.state();
        let what = if state.draining.load(Relaxed) { "draining" } else { "carrying" };
        format!("{what} {calls} calls on {} shards ({})", state.counters.len(), state.backend)
    }

    /// True when it is time to end at once.
    fn handle(&mut self, request: Request) -> bool {
        match request {
            Request::Reload(reply) => {
                let said = self.reload();
                match &said {
                    Ok(changes) if changes.is_empty() => tracing::info!("reloaded: nothing changed"),
                    Ok(changes) => tracing::info!(changes = %changes.join("; "), "reloaded"),
                    Err(why) => tracing::error!(%why, "not reloaded: the old configuration stays in force"),
                }
                let _ = reply.try_send(said);
            }
            Request::Drain { stop } => {
                self.appliance.drain();
                tracing::info!(stop, "draining: no new calls");
                if stop {
                    self.end_later();
                }
            }
            Request::Undrain(reply) => {
                let said = if self.until.is_some() {
                    Err("it is ending".to_owned())
                } else {
                    self.appliance.undrain();
                    Ok(())
                };
                tracing::info!(refused = said.is_err(), "told to take new calls again");
                let _ = reply.try_send(said);
            }
            Request::TakeOver { stream, asked } => {
                let busy = self.until.is_some().then_some("it is ending");
                match self.appliance.give(&stream, &asked, busy) {
                    Ok(pid) => {
                        self.successor = Some(pid);
                        return true;
                    }
                    Err(why) => tracing::warn!(%why, "not handed over"),
                }
            }
            Request::Upgrade => self.upgrade(),
            Request::Terminate if self.until.is_some() => {
                tracing::warn!("told to end twice: ending the calls that are left");
                return true;
            }
            Request::Terminate => {
                self.appliance.drain();
                let seconds = self.appliance.current().node.drain_timeout.as_secs();
                tracing::info!(seconds, "told to end: calls may go on for so long, new ones are refused");
                self.notify.stopping(&self.status());
                self.end_later();
            }
        }
        false
    }

    /// Nothing is admitted without a keeper, and a new one in this process would not know which loans its calls stand on:
    /// other sites take a new incarnation's word that there are none. So the process ends and starts again. True: at once,
    /// since nobody ends calls with their loans any more. With `keep` lenders wait for the longest call: those that are
    /// up may end by themselves.
    fn outlive_keeper(&mut self) -> bool {
        self.died = Some(Died::Keeper);
        if self.appliance.started().limits.policy == LimitPolicy::Drop {
            tracing::error!("the keeper of the rights died: with policy \"drop\" the calls end with it; ending");
            return true;
        }
        self.appliance.drain();
        let seconds = self.appliance.current().node.drain_timeout.as_secs();
        tracing::error!(seconds, "the keeper of the rights died: draining, calls may go on for so long; then ending");
        self.notify.stopping(&self.status());
        self.end_later();
        false
    }

    /// Starts the program that lies where this one lay, with the same words and `--take-over`.
    fn upgrade(&mut self) {
        let Some(program) = self.program.as_ref().filter(|_| self.upgrade.is_none()) else {
            return tracing::error!(
                "told to upgrade: a new process is there already, or where the program lies is unknown"
            );
        };
        let mut words: Vec<_> = std::env::args_os().skip(1).filter(|word| word != "--take-over").collect();
        words.push("--take-over".into());
        // The watchdog's pings will be the new one's.
        let mut command = Command::new(program);
        command.args(words).env_remove("WATCHDOG_PID");
        match self.starter.start(command) {
            Ok(child) => {
                tracing::info!(program = %program.display(), pid = child.id(), "told to upgrade: a new process takes over");
                self.upgrade = Some(child);
            }
            Err(error) => {
                tracing::error!(program = %program.display(), %error, "told to upgrade: it cannot be started")
            }
        }
    }

    fn end_later(&mut self) {
        let until = Instant::now() + self.appliance.current().node.drain_timeout;
        self.until.get_or_insert(until);
    }

    /// All or nothing: with an error anywhere, nothing changes.
    fn reload(&mut self) -> Result<Vec<String>, String> {
        let Some(file) = self.file else {
            return Err("it runs without a file (--config); there is nothing to read again".to_owned());
        };
        let new = load::config(Some(file)).map_err(|fault| fault.message)?;
        let lines = changes(self.appliance.started(), self.appliance.current(), &new);
        self.appliance.publish(new).map_err(|fault| fault.message)?;
        Ok(lines)
    }
}

/// What applies now, compared with what is in force; what waits for a restart, compared with the start.
fn changes(started: &config::Config, current: &config::Config, new: &config::Config) -> Vec<String> {
    let now = config::diff(&current.values, &new.values).into_iter().filter(|change| !change.restart);
    let later = config::diff(&started.values, &new.values).into_iter().filter(|change| change.restart);
    let mut lines: Vec<String> = now.chain(later).map(|change| change.to_string()).collect();
    if new.sip.realm != started.sip.realm && !lines.iter().any(|line| line.contains(" sip.realm:")) {
        lines.push(format!(
            "~ sip.realm: {:?} -> {:?}, since it follows sip.domains   (needs a restart)",
            started.sip.realm, new.sip.realm
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_a_restart_is_said_at_each_reload() {
        let config = |text: &str| config::parse(text, "t").unwrap();
        let started = config("[shards]\ncount = 1\n[sip]\ndomains = ['a.example']\n");
        let current = config("[shards]\ncount = 2\n[sip]\ndomains = ['b.example']\n");
        let lines = changes(&started, &current, &config("[shards]\ncount = 2\n[sip]\ndomains = ['c.example']\n"));
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(
            lines[0].starts_with("~ sip.domains: [\"b.example\"] -> [\"c.example\"]") && !lines[0].contains("restart")
        );
        assert_eq!(lines[1], "~ shards.count: 1 -> 2   (needs a restart)");
        assert!(lines[2].starts_with("~ sip.realm: \"a.example\" -> \"c.example\""));
    }
}

//! `strowger demo`: real calls through a whole appliance in one process, every packet accounted for.
//!
//! Edge: it owns a thread, sockets and the terminal. The phones are the room `phone`, which shares no SIP code with the
//! appliance they call through. The appliance is the same as `strowger run` starts, from a configuration made here.

pub mod desk;
mod print;
mod setting;
pub mod talk;

use crate::base::{Random, Transport};
use crate::config::Config;
use crate::io::{self, epoll::Epoll};
use crate::phone::{Answering, Login, Options as PhoneOptions};
use desk::{Clock, Desk};
use setting::Setting;
use std::time::Duration;
use talk::{Outcome, Progress, Talk};

/// Calls at once that fit the demo's port range.
pub const CALLS_MAX: u32 = 8_000;

/// What the command line says.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Calls at once, at most [`CALLS_MAX`].
    pub calls: u32,
    /// How long each one talks, seconds.
    pub seconds: u32,
    /// One machine-readable line instead of a report.
    pub json: bool,
    /// How the phones speak SIP: UDP or TCP.
    pub transport: Transport,
    /// Driver of the appliance: `auto`, `io_uring` or `epoll`.
    pub backend: &'static str,
}

impl Default for Options {
    fn default() -> Self {
        Self { calls: 20, seconds: 5, json: false, transport: Transport::Udp, backend: "auto" }
    }
}

/// Runs the demo through the appliance that `start` starts and that ends when its handle is dropped. True when every
/// call and every packet arrived.
///
/// # Errors
/// What kept it from running at all, as a sentence.
pub fn run<A>(options: &Options, start: impl FnOnce(Config) -> Result<A, String>) -> Result<bool, String> {
    let calls = options.calls.clamp(1, CALLS_MAX);
    let setting = Setting::new(calls, options.backend)?;
    let appliance = start(setting.config()?)?;
    let (sender, told) = crossbeam::channel::bounded::<Progress>(16);
    let options = Options { calls, ..*options };
    let outcome = std::thread::scope(|scope| {
        let desk = std::thread::Builder::new()
            .name("phones".to_owned())
            .spawn_scoped(scope, || {
                // Progress that nobody has read yet is old news.
                talk(&options, &setting, move |progress| _ = sender.try_send(progress))
            })
            .map_err(|error| format!("cannot start the phones' thread: {error}"))?;
        for progress in told {
            if !options.json {
                print::progress(&options, &progress);
            }
        }
        desk.join().map_err(|_| "the phones' thread panicked".to_owned())?
    })?;
    drop(appliance);
    if options.json {
        print::json(&options, &outcome);
    } else {
        print::report(&options, &outcome);
    }
    Ok(outcome.is_perfect())
}

fn talk(options: &Options, setting: &Setting, mut tell: impl FnMut(Progress)) -> Result<Outcome, String> {
    let text = |error: std::io::Error| error.to_string();
    let driver = Epoll::new(io::Options::default()).map_err(text)?;
    let mut desk = Desk::new(Box::new(driver), Clock::start());
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| error.to_string())?;
    let mut random = Random::new(seed);
    for (index, (name, password)) in setting.accounts().into_iter().enumerate() {
        let mut phone = PhoneOptions::new(name, setting::DOMAIN, setting.phone(index), setting.server());
        phone.login = Some(Login { username: name.to_owned(), password: password.to_owned() });
        phone.transport = options.transport;
        phone.calls_max = options.calls as usize;
        phone.media_port_min = setting::PORT_MIN;
        phone.media_pairs = setting::PAIRS;
        phone.answering = Answering { after: Duration::ZERO, ..Answering::default() };
        desk.add(phone, random.fork()).map_err(text)?;
    }
    let target = format!("sip:{}@{}", setting.accounts()[1].0, setting::DOMAIN);
    let time = Duration::from_secs(u64::from(options.seconds));
    let talk = Talk::new(&mut desk, &target, options.calls as usize, time, &mut tell);
    let outcome = talk.run().map_err(text)?;
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_s_configuration_is_valid() {
        let setting = Setting::new(100, "epoll").unwrap();
        let config = setting.config().unwrap();
        assert_eq!((config.accounts.len(), config.accounts[0].max_calls >= 100), (2, true));
        assert!(config.sip.listen.iter().all(|listen| listen.address == setting.server()));
    }
}

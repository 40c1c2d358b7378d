//! What of an appliance concerns other sites: which accounts its keeper of rights looks after, and its start.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Sender, bounded};

use super::fault::{Fault, bind};
use crate::base::Random;
use crate::call::Directory;
use crate::config::{Config, LimitMode, Link};
use crate::control::links::{self, AccountTerms, Accounts, Links, Options};
use crate::control::{Clock, Post};
use crate::tally::{Note, Pulse};

/// Notes between the shards and the keeper; a shard that finds it full says everything anew later.
const NOTES_MAX: usize = 65_536;

/// `[link]` with peers: without any, this node decides alone.
#[must_use]
pub fn link(config: &Config) -> Option<&Link> {
    config.link.as_ref().filter(|link| !link.peers.is_empty())
}

/// The snapshot for the shards. With other sites only the keeper gives accounts their rights.
#[must_use]
pub fn directory(config: &Config, previous: Option<&Directory>, pulse: &Arc<Pulse>) -> Directory {
    match link(config) {
        Some(_) => Directory::kept(config, previous, pulse),
        None => Directory::new(config, previous),
    }
}

/// The accounts as the control plane and the keeper know them.
#[must_use]
pub fn accounts(config: &Config, directory: &Directory) -> Accounts {
    let kept = link(config).is_some();
    let terms = config.accounts.iter().zip(&directory.accounts).map(|(account, here)| AccountTerms {
        name: Arc::clone(&here.name),
        limit: here.limit,
        home: account.home.as_deref().or(config.limits.home.as_deref()).filter(|_| kept).map(Arc::from),
        cell: Arc::clone(&here.cell),
    });
    let allowance = if config.limits.mode == LimitMode::Allowance { config.limits.allowance } else { 0 };
    Accounts::new(terms.collect(), allowance)
}

/// Starts the keeper and the links where there are peers; its notes come from the shards. `dead_man`: for so long media may
/// go on without this process.
///
/// # Errors
/// What is in the way, and what to do about it.
pub fn start(
    config: &Config,
    accounts: &Arc<Accounts>,
    pulse: &Arc<Pulse>,
    post: Arc<dyn Post>,
    clock: Clock,
    dead_man: Duration,
) -> Result<Option<(Sender<Note>, Links)>, Fault> {
    let Some(link) = link(config) else { return Ok(None) };
    let socket =
        UdpSocket::bind(link.listen).map_err(|error| Fault::runtime(bind(&error, link.listen, true, "link.listen")))?;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| Fault::runtime(format!("the kernel has no randomness: {error}")))?;
    let (sender, notes) = bounded(NOTES_MAX);
    let options = Options {
        node: config.node.name.clone(),
        link: link.clone(),
        limits: config.limits.clone(),
        dead_man,
        socket,
        data_dir: config.node.data_dir.clone(),
        clock,
        accounts: Arc::clone(accounts),
        notes,
        post,
        pulse: Arc::clone(pulse),
        random: Random::new(seed),
    };
    links::start(options).map(|links| Some((sender, links))).map_err(Fault::runtime)
}

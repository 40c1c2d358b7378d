//! What of an appliance concerns other sites: which accounts its keeper of rights looks after, its start, and how it goes on
//! from another process.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Sender, bounded};

use super::fault::{Fault, bind};
use crate::base::Random;
use crate::call::Directory;
use crate::config::{Config, LimitMode, Link};
use crate::control::links::{self, AccountTerms, Accounts, Options, Packed, Prepared, Ready};
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

/// Prepares the keeper and the links where there are peers; its notes come from the shards. `dead_man`: for so long media
/// may go on without this process.
///
/// # Errors
/// What is in the way, and what to do about it.
pub fn prepare(
    config: &Config,
    accounts: &Arc<Accounts>,
    pulse: &Arc<Pulse>,
    post: Arc<dyn Post>,
    clock: Clock,
    dead_man: Duration,
) -> Result<Option<(Sender<Note>, Prepared)>, Fault> {
    let Some(link) = link(config) else { return Ok(None) };
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| Fault::runtime(format!("the kernel has no randomness: {error}")))?;
    let (sender, notes) = bounded(NOTES_MAX);
    let options = Options {
        node: config.node.name.clone(),
        link: link.clone(),
        limits: config.limits.clone(),
        dead_man,
        data_dir: config.node.data_dir.clone(),
        clock,
        accounts: Arc::clone(accounts),
        notes,
        post,
        pulse: Arc::clone(pulse),
        random: Random::new(seed),
    };
    links::prepare(options).map(|links| Some((sender, links))).map_err(Fault::runtime)
}

/// Opens the ledger and the links' socket.
///
/// # Errors
/// What is in the way, and what to do about it.
pub fn start(config: &Config, links: Prepared) -> Result<Ready, Fault> {
    let listen = link(config).map(|link| link.listen).ok_or_else(|| Fault::runtime("there is no [link]"))?;
    let socket = UdpSocket::bind(listen).map_err(|error| Fault::runtime(bind(&error, listen, true, "link.listen")))?;
    links.start(socket).map_err(Fault::runtime)
}

/// Goes on where the links of another process rest; its shards have been thawed. Both are linked, or neither is.
///
/// # Errors
/// What is in the way, and what to do about it: nothing was touched.
pub fn thaw(links: Option<Prepared>, packed: Option<Packed>, directory: &Directory) -> Result<Option<Ready>, Fault> {
    match (links, packed) {
        (Some(links), Some(packed)) => {
            links.thaw(packed, &|name| directory.cell_of_call(name)).map(Some).map_err(Fault::runtime)
        }
        (None, None) => Ok(None),
        _ => Err(Fault::runtime(OTHERWISE_LINKED)),
    }
}

/// Of two processes one decides with other sites, and the other alone.
pub const OTHERWISE_LINKED: &str = "[link] names other sites in the configuration of one of the two processes only: it cannot change \
     while calls are up; set it back, or drain and restart";

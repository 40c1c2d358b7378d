//! What a shard is made of, and how that follows from the configuration.

use super::steer::Steering;
use crate::base::time::Duration;
use crate::base::{ShardId, SocketKey};
use crate::call::contacts::Lifetimes;
use crate::call::{Directory, EngineOptions, Settings};
use crate::config::{Config, LimitPolicy};
use crate::media::{LocalAddress, RelayConfig};
use crate::observe::{Counters, MediaPath, Verbosity};
use crate::sip::transaction::Timers;
use std::sync::Arc;

/// New calls are refused while so many records wait for the sink.
const RECORDS_WAITING_MAX: usize = 10_000;

/// What a shard is made of.
#[derive(Debug)]
pub struct ShardOptions {
    /// Calls and media.
    pub engine: EngineOptions,
    /// Between which shards, by which key.
    pub steering: Steering,
    /// Sockets from this key on are media.
    pub media_base: SocketKey,
    /// Connections at once.
    pub connections_max: usize,
    /// An idle connection is closed after this.
    pub connection_idle_timeout: Duration,
    /// What carries this shard's packets.
    pub path: MediaPath,
    /// Nothing is relayed while the keeper of the rights stands still: calls may have lost theirs meanwhile.
    pub media_needs_keeper: bool,
}

impl ShardOptions {
    /// What the configuration says of the shard `id`.
    #[must_use]
    pub fn new(
        config: &Config,
        directory: Arc<Directory>,
        counters: Arc<Counters>,
        id: u8,
        steering: Steering,
        path: MediaPath,
    ) -> Self {
        let shards = steering.shards();
        let listeners = u32::try_from(config.sip.listen.len()).expect("listeners fit u32");
        let slice = port_slice(config.media.port_min, config.media.port_max, id, shards);
        let mut relay = RelayConfig::new(config.media.address, slice.0, slice.1);
        relay.set_address(LocalAddress {
            bind: config.media.address,
            advertise: config.media.advertise.unwrap_or(config.media.address),
        });
        if let Some(v6) = config.media.address_v6 {
            relay.set_address(LocalAddress { bind: v6, advertise: config.media.advertise_v6.unwrap_or(v6) });
        }
        relay.socket_base = listeners;
        relay.streams_max = config.shards.calls_max as usize * 2;
        relay.silent_timeout = config.media.silent_timeout;
        relay.one_way_after = config.media.one_way_after;
        relay.port_rest = config.media.port_rest;
        let settings = Settings {
            calls_max: config.shards.calls_max as usize,
            vouched_for: config.limits.max_call_duration,
            borrow_timeout: config.limits.borrow_timeout,
            max_call_duration: config.limits.max_call_duration,
            ring_timeout: config.sip.ring_timeout,
            fork_step_timeout: config.sip.fork_step_timeout,
            max_forwards: config.sip.max_forwards,
            user_agent: config.sip.user_agent.clone(),
            udp_message_bytes_max: config.sip.udp_message_bytes_max as usize,
            lifetimes: Lifetimes {
                min: config.sip.expires_min,
                max: config.sip.expires_max,
                default: config.sip.expires_default,
            },
            contacts_per_account_max: config.sip.contacts_per_account_max as usize,
            path,
            records_waiting_max: RECORDS_WAITING_MAX,
        };
        Self {
            engine: EngineOptions {
                shard: ShardId(id),
                directory,
                settings,
                timers: Timers { t1: config.sip.t1, t2: config.sip.t2, t4: config.sip.t4 },
                transactions_max: config.shards.transactions_max as usize,
                contacts_max: config.shards.contacts_max as usize,
                nonce_lifetime: config.sip.nonce_lifetime,
                relay,
                counters,
                verbosity: Verbosity::all(),
            },
            steering,
            media_base: SocketKey(listeners),
            connections_max: config.shards.connections_max as usize,
            connection_idle_timeout: config.sip.connection_idle_timeout,
            path,
            media_needs_keeper: config.limits.policy == LimitPolicy::Drop,
        }
    }
}

/// The even/odd pairs of the whole range that are this shard's.
fn port_slice(min: u16, max: u16, id: u8, shards: u8) -> (u16, u16) {
    let first = u32::from(min) + u32::from(min & 1);
    let pairs = (u32::from(max) + 1).saturating_sub(first) / 2;
    let share = pairs / u32::from(shards.max(1));
    let start = first + 2 * share * u32::from(id);
    let end = start + 2 * share.max(1) - 1;
    (u16::try_from(start).unwrap_or(max), u16::try_from(end).unwrap_or(max))
}

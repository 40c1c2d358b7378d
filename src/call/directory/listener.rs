//! A listening socket, and how peers are told of it.

use crate::base::{SocketKey, Transport};
use crate::config;
use std::net::SocketAddr;

/// One of our listening sockets, as every shard has it.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its key in every shard.
    pub socket: SocketKey,
    /// Over what.
    pub transport: Transport,
    /// Bound address.
    pub bind: SocketAddr,
    /// `host:port` for Via and Contact.
    pub advertise: String,
}

impl Listener {
    /// The one at this place of the configuration.
    pub(super) fn new(place: u32, listen: &config::Listen) -> Self {
        let advertise = match &listen.advertise {
            None => listen.address.to_string(),
            Some(advertise) => {
                let port = advertise.port.unwrap_or(listen.address.port());
                if advertise.host.contains(':') {
                    format!("[{}]:{port}", advertise.host)
                } else {
                    format!("{}:{port}", advertise.host)
                }
            }
        };
        Self { socket: SocketKey(place), transport: listen.transport, bind: listen.address, advertise }
    }
}

/// Splits `host:port`; brackets of an IPv6 host are taken off.
#[must_use]
pub fn split_host_port(text: &str) -> (&str, Option<u16>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (host.trim_start_matches('[').trim_end_matches(']'), port.parse().ok())
        }
        _ => (text, None),
    }
}

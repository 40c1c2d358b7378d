//! Checks that need more than one value.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;

use super::model::{Config, Count, Trunk};
use super::reader::{Place, Reader};
use crate::base::Transport;

/// RTP and RTCP for both sides of one audio stream.
const PORTS_PER_CALL: usize = 4;

/// What must be unique over all accounts.
#[derive(Default)]
pub(super) struct Accounts {
    names: BTreeMap<String, Range<usize>>,
    numbers: BTreeMap<String, Range<usize>>,
    devices: BTreeMap<String, Range<usize>>,
}

impl Accounts {
    pub fn name(&mut self, reader: &mut Reader<'_>, name: &str, span: Range<usize>) {
        unique(&mut self.names, reader, "account", name, span);
    }

    pub fn number(&mut self, reader: &mut Reader<'_>, number: &str, span: Range<usize>) {
        unique(&mut self.numbers, reader, "number", number, span);
    }

    pub fn device(&mut self, reader: &mut Reader<'_>, username: &str, span: Range<usize>) {
        unique(&mut self.devices, reader, "device", username, span);
    }

    /// A number that is another account's name would be ambiguous in a request URI.
    pub fn finish(self, reader: &mut Reader<'_>) {
        for (number, span) in &self.numbers {
            if let Some(named) = self.names.get(number) {
                reader
                    .error(span.clone(), format!("number `{number}` is also the name of an account"), "ambiguous")
                    .related(named.clone(), "this account")
                    .help("a name reaches its account already; take the number out, or rename the account");
            }
        }
    }
}

pub(super) fn unique(
    known: &mut BTreeMap<String, Range<usize>>,
    reader: &mut Reader<'_>,
    what: &str,
    value: &str,
    span: Range<usize>,
) {
    if value.is_empty() {
        return;
    }
    if let Some(first) = known.get(value) {
        reader.error(span, format!("{what} `{value}` stands twice"), "again here").related(first.clone(), "first here");
        return;
    }
    known.insert(value.to_owned(), span);
}

/// Names, and addresses by which trunks are told apart.
pub(super) fn trunks<'s>(reader: &mut Reader<'s>, root: &Place<'_, 's>, trunks: &[Trunk]) {
    let mut names = BTreeMap::new();
    let mut addresses: BTreeMap<(SocketAddr, Transport), Range<usize>> = BTreeMap::new();
    let places = reader.quiet_list(root, "trunk");
    for (trunk, place) in trunks.iter().zip(&places) {
        let span = reader.span(place, "name");
        unique(&mut names, reader, "trunk", &trunk.name, span);
        if trunk.address.port() == 0 {
            continue;
        }
        let span = reader.span(place, "address");
        if trunk.address.ip().is_unspecified() {
            reader.error(span.clone(), "a trunk needs the address of its peer", "is no peer");
        }
        if let Some(first) = addresses.get(&(trunk.address, trunk.transport)) {
            let message = format!("two trunks at {}", trunk.address);
            reader.error(span, message, "requests from here could be either's").related(first.clone(), "first here");
        } else {
            addresses.insert((trunk.address, trunk.transport), span);
        }
        if trunk.prefixes.is_empty() && trunk.allow_from.is_empty() && !place.has("prefixes") {
            let message = format!("trunk `{}` has no prefixes", trunk.name);
            reader
                .note(place.span.clone(), message, "no call will leave by it")
                .help("prefixes = [\"\"] takes every number; prefixes = [] says that this is meant");
        }
    }
}

/// Sockets that would collide, the port range, spans that must be ordered.
pub(super) fn whole<'s>(reader: &mut Reader<'s>, root: &Place<'_, 's>, config: &Config) {
    let sip = reader.quiet_table(root, "sip");
    let media = reader.quiet_table(root, "media");
    listeners(reader, &sip, config);
    ports(reader, &media, config);
    addresses(reader, &media, config);
    for (low, high) in [
        ("expires_min", "expires_default"),
        ("expires_default", "expires_max"),
        ("expires_min", "expires_max"),
        ("t1", "t2"),
    ] {
        let of = |name| match name {
            "expires_min" => config.sip.expires_min,
            "expires_default" => config.sip.expires_default,
            "expires_max" => config.sip.expires_max,
            "t1" => config.sip.t1,
            _ => config.sip.t2,
        };
        if of(low) > of(high) {
            let name = if sip.has(high) { high } else { low };
            let span = reader.span(&sip, name);
            reader.error(span, format!("`{low}` is longer than `{high}`"), "see the other one");
        }
    }
}

fn listeners<'s>(reader: &mut Reader<'s>, sip: &Place<'_, 's>, config: &Config) {
    let places = reader.quiet_list(sip, "sip.listen");
    let mut bound: Vec<(SocketAddr, bool, Range<usize>)> = Vec::new();
    for (listen, place) in config.sip.listen.iter().zip(&places) {
        let span = reader.span(place, "address");
        let udp = listen.transport == Transport::Udp;
        if let Some((_, _, first)) =
            bound.iter().find(|(address, same, _)| *same == udp && collide(*address, listen.address))
        {
            let message = format!("{} is listened on twice", listen.address);
            reader.error(span.clone(), message, "again here").related(first.clone(), "first here");
        }
        let media = &config.media;
        let in_range = (media.port_min..=media.port_max).contains(&listen.address.port());
        let same_host = [Some(media.address), media.address_v6]
            .into_iter()
            .flatten()
            .any(|ip| collide(SocketAddr::new(ip, 1), SocketAddr::new(listen.address.ip(), 1)));
        if udp && in_range && same_host {
            let message = format!("port {} is in the media range", listen.address.port());
            reader.error(span.clone(), message, format!("media takes {} to {}", media.port_min, media.port_max));
        }
        if listen.address.ip().is_unspecified() && listen.advertise.is_none() {
            reader
                .error(span.clone(), "a wildcard address cannot stand in Via and Contact", "peers could not answer")
                .help("listen on the address itself, or add `advertise`");
        }
        if !udp && collide(listen.address, config.control.listen) {
            reader.error(span.clone(), "`control.listen` has the same address", "both are TCP");
        }
        bound.push((listen.address, udp, span));
    }
}

pub(super) fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let same_family = a.is_ipv4() == b.is_ipv4();
    let wild = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && (a.ip() == b.ip() || wild && same_family)
}

fn ports<'s>(reader: &mut Reader<'s>, place: &Place<'_, 's>, config: &Config) {
    let media = &config.media;
    let (low, high) = (media.port_min, media.port_max);
    let (low_span, high_span) = (reader.span(place, "port_min"), reader.span(place, "port_max"));
    if !low.is_multiple_of(2) {
        reader
            .error(low_span, "`port_min` must be even", "RTP takes even ports (RFC 3550 §11)")
            .help(format!("port_min = {}", low.saturating_add(1)));
        return;
    }
    if high.is_multiple_of(2) {
        reader
            .error(high_span, "`port_max` must be odd", "the last port carries RTCP (RFC 3550 §11)")
            .help(format!("port_max = {}", if high > 1_025 { high - 1 } else { high + 1 }));
        return;
    }
    let shards = if let Count::Exactly(shards) = config.shards.count { usize::from(shards) } else { 1 };
    let ports = usize::from(high).saturating_sub(usize::from(low)) + 1;
    if high < low || ports < PORTS_PER_CALL * shards {
        let span = if place.has("port_max") { high_span } else { low_span };
        let message = format!("the media range {low} to {high} is too small");
        reader.error(span, message, format!("each shard needs {PORTS_PER_CALL} ports at least"));
    }
}

fn addresses<'s>(reader: &mut Reader<'s>, place: &Place<'_, 's>, config: &Config) {
    let media = &config.media;
    if media.address.is_unspecified() && media.advertise.is_none() {
        let span = reader.span(place, "address");
        reader
            .error(span, "a wildcard address cannot stand in SDP", "phones would send nowhere")
            .help("write the address itself, or add `advertise`");
    }
    if let Some(second) = media.address_v6 {
        let span = reader.span(place, "address_v6");
        if second.is_ipv4() || media.address.is_ipv6() {
            reader
                .error(span, "`address` is IPv4 and `address_v6` is IPv6, when both are given", "wrong family")
                .help("a node with one family needs only `address`");
        } else if second.is_unspecified() && media.advertise_v6.is_none() {
            reader.error(span, "a wildcard address cannot stand in SDP", "phones would send nowhere");
        }
    }
    let pairs =
        [("advertise", Some(media.address), media.advertise), ("advertise_v6", media.address_v6, media.advertise_v6)];
    for (name, bound, advertised) in pairs {
        if let Some(advertised) = advertised
            && bound.is_none_or(|bound| bound.is_ipv4() != advertised.is_ipv4())
        {
            let span = reader.span(place, name);
            reader.error(span, format!("`{name}` is not of the family of the bound address"), "wrong family");
        }
    }
    let outside = config.sip.listen.iter().any(|listen| !listen.address.ip().is_loopback());
    if outside && media.address.is_loopback() && media.advertise.is_none() {
        let span = reader.span(place, "address");
        let message = "media is on the loopback address while signalling is not";
        reader.note(span, message, "other hosts would hear nothing").help("set `media.address`");
    }
}

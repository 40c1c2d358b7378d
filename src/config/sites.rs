//! Checks of what concerns other sites: peers, and where rights are made.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;

use super::cross::{collide, unique};
use super::model::{Config, LimitMode, Link};
use super::reader::{Place, Reader};
use crate::base::Transport;

/// Most sites beside this one. Each is linked with each, so that a message is one hop away from everybody.
pub(super) const PEERS_MAX: usize = 31;

/// Everything about `[link]`, and what in `[limits]` depends on it.
pub(super) fn sites<'s>(reader: &mut Reader<'s>, root: &Place<'_, 's>, config: &Config) {
    allowance(reader, root, config);
    match &config.link {
        Some(link) => {
            let place = reader.quiet_table(root, "link");
            listener(reader, &place, config, link);
            peers(reader, &place, config, link);
            homes(reader, root, config, link);
        }
        None => {
            let limits = reader.quiet_table(root, "limits");
            if limits.has("home") {
                let span = reader.span(&limits, "home");
                reader
                    .note(span, "`home` has no effect without `[link]`", "this node decides alone")
                    .help("add [link] and a [[link.peer]] for each other site");
            }
        }
    }
}

fn allowance<'s>(reader: &mut Reader<'s>, root: &Place<'_, 's>, config: &Config) {
    let limits = reader.quiet_table(root, "limits");
    let strict = config.limits.mode == LimitMode::Strict;
    if strict && config.limits.allowance > 0 {
        let span = reader.span(&limits, "allowance");
        reader
            .note(span, "`allowance` has no effect", "`mode` is \"strict\"")
            .help("mode = \"allowance\" lets a site that is cut off carry so many more");
    }
    if !strict && config.limits.allowance == 0 {
        let span = reader.span(&limits, "mode");
        reader.note(span, "an allowance of 0 is strict", "`allowance` says how many").help("allowance = 1");
    }
}

fn listener<'s>(reader: &mut Reader<'s>, place: &Place<'_, 's>, config: &Config, link: &Link) {
    let (media, port) = (&config.media, link.listen.port());
    let span = reader.span(place, "listen");
    let mut sip = config.sip.listen.iter().filter(|listen| listen.transport == Transport::Udp);
    if sip.any(|listen| collide(listen.address, link.listen)) {
        reader.error(span.clone(), format!("{} is listened on for SIP", link.listen), "both are UDP");
    }
    let mut here = [Some(media.address), media.address_v6].into_iter().flatten();
    if (media.port_min..=media.port_max).contains(&port)
        && here.any(|ip| collide(SocketAddr::new(ip, port), link.listen))
    {
        let label = format!("media takes {} to {}", media.port_min, media.port_max);
        reader.error(span, format!("port {port} is in the media range"), label);
    }
    if link.peers.is_empty() {
        reader
            .note(place.span.clone(), "no peers: this node decides alone", "`[link]` has no effect")
            .help("write a [[link.peer]] for each other site");
    }
}

fn peers<'s>(reader: &mut Reader<'s>, link_place: &Place<'_, 's>, config: &Config, link: &Link) {
    let places = reader.quiet_list(link_place, "link.peer");
    let mut names = BTreeMap::new();
    let mut addresses: BTreeMap<SocketAddr, Range<usize>> = BTreeMap::new();
    for (peer, place) in link.peers.iter().zip(&places) {
        let span = reader.span(place, "name");
        if peer.name == config.node.name {
            reader
                .error(span.clone(), "a peer has this node's own name", "the same as `node.name`")
                .help("give each node its own `node.name`, and list only the others as peers");
        }
        unique(&mut names, reader, "peer", &peer.name, span);
        let span = reader.span(place, "address");
        if peer.address.ip().is_unspecified() {
            reader.error(span.clone(), "a peer needs the address of its `link.listen`", "is no peer");
        }
        if peer.address == link.listen {
            reader
                .error(span.clone(), "a peer has this node's own address", "the same as `link.listen`")
                .help("list only the other sites as peers");
        }
        if let Some(first) = addresses.get(&peer.address) {
            let message = format!("two peers at {}", peer.address);
            reader.error(span, message, "again here").related(first.clone(), "first here");
        } else {
            addresses.insert(peer.address, span);
        }
    }
    if let Some(place) = places.get(PEERS_MAX) {
        let message = format!("more than {PEERS_MAX} peers");
        reader.error(place.span.clone(), message, "one too many");
    }
}

fn homes<'s>(reader: &mut Reader<'s>, root: &Place<'_, 's>, config: &Config, link: &Link) {
    if link.peers.is_empty() {
        return;
    }
    let sites = || {
        let names = link.peers.iter().map(|peer| peer.name.as_str());
        names.chain([config.node.name.as_str()])
    };
    let listed = || sites().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    let limits = reader.quiet_table(root, "limits");
    if config.limits.home.is_none() {
        let span = if limits.is_written() { limits.span.clone() } else { reader.quiet_table(root, "link").span };
        reader
            .error(span, "`limits.home` is missing", "with peers, one site must make the rights of accounts")
            .help(format!("[limits] home = one of {}; the same at every site", listed()));
    }
    let mut wrong = Vec::new();
    if let Some(home) = &config.limits.home {
        wrong.push((reader.span(&limits, "home"), home.clone()));
    }
    let places = reader.quiet_list(root, "account");
    for (account, place) in config.accounts.iter().zip(&places).filter(|(_, place)| place.has("home")) {
        wrong.extend(account.home.clone().map(|home| (reader.span(place, "home"), home)));
    }
    wrong.retain(|(_, home)| !sites().any(|site| site == home));
    for (span, home) in wrong {
        let near = super::check::nearest(&home, sites());
        let help = near.map_or_else(|| format!("one of {}", listed()), |near| format!("did you mean \"{near}\"?"));
        reader.error(span, format!("home \"{home}\" is no site"), "neither this node nor a peer").help(help);
    }
}

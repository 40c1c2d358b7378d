//! By which path a request leaves.

use super::super::core::Core;
use super::super::directory::Peer;
use super::super::leg::Leg;
use super::super::routing::Target;
use crate::base::{Flow, Transport};
use crate::sip::wire::Uri;
use std::net::{IpAddr, SocketAddr};

/// Where requests within a dialog go: a phone by the flow that it is known to be reached by; a trunk where its route set
/// or Contact says (RFC 3261 §12.2.1.1), unless that is an address that only its own network knows.
#[must_use]
pub fn next_flow(core: &Core, leg: &Leg) -> Flow {
    let mut flow = leg.flow;
    let (Peer::Trunk(_), Some(uri)) = (leg.peer, Uri::parse(leg.dialog.next_hop())) else { return flow };
    let Some(ip) = uri.host_ip() else { return flow };
    if is_private(ip) && !is_private(flow.remote.ip()) {
        return flow;
    }
    let next = SocketAddr::new(ip, uri.port().unwrap_or(5060));
    let transport = uri.param(b"transport").and_then(Transport::from_token).unwrap_or(flow.transport);
    let reachable = core.directory.listener_towards(transport, next).is_some() || transport == Transport::Tcp;
    if next == flow.remote || !reachable || next.is_ipv4() != flow.remote.is_ipv4() {
        return flow;
    }
    // A connection that stands serves as long as it stands (RFC 5923).
    if flow.stream.is_some() && next.ip() == flow.remote.ip() {
        return flow;
    }
    (flow.remote, flow.transport, flow.stream) = (next, transport, None);
    if let Some(listener) = core.directory.listener_towards(transport, next) {
        flow.socket = listener.socket;
    }
    flow
}

fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => {
            ip.is_loopback() || (ip.segments()[0] & 0xfe00) == 0xfc00 || (ip.segments()[0] & 0xffc0) == 0xfe80
        }
    }
}

/// RFC 3261 §18.1.1: a request that may not fit a packet goes by a transport that copes, where the peer has one. A trunk
/// is asked until it has shown that it does not; a phone is reached by the flow it registered from and by no other.
#[must_use]
pub fn flow_for_size(core: &Core, target: &Target, bytes: usize) -> Option<Flow> {
    let Peer::Trunk(trunk) = target.peer else { return None };
    let willing = core.directory.trunk(trunk).is_some_and(|trunk| trunk.may_take_tcp());
    let large = target.flow.transport == Transport::Udp && bytes > core.settings.udp_message_bytes_max;
    (willing && large).then_some(Flow { transport: Transport::Tcp, ..target.flow })
}

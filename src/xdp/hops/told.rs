//! What the kernel's messages say of a link, a neighbour or a route: read here, kept by [`Hops`](super::Hops). Numbers of
//! attributes are those of `linux/if_link.h`, `linux/neighbour.h` and `linux/rtnetlink.h`.

use crate::xdp::devices::LINK_ELSEWHERE;
use crate::xdp::netlink::{Message, address, attributes, half, kind, word};
use std::net::IpAddr;

/// `NUD_REACHABLE`, `DELAY`, `PROBE`, `NOARP`, `PERMANENT`: being probed, it still has the address it had.
const USABLE: u16 = 0x02 | 0x08 | 0x10 | 0x40 | 0x80;
pub(super) const ETHERNET: u16 = 1;
pub(super) const VLAN_8021Q: u16 = 0x8100;
/// `IFLA_VLAN_EGRESS_QOS`.
pub(super) const EGRESS_MARKS: u16 = 3;
pub(super) const UNICAST: u8 = 1;
const IS_UP: u32 = 1;
/// The kernel's priorities that a DSCP may come to, and one.
const PRIORITIES: usize = 7;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Vlan {
    pub(super) parent: u32,
    pub(super) id: u16,
    pub(super) is_8021q: bool,
    /// The priority of a tag (802.1p) by the kernel's of what is sent: the device's `egress-qos-map`.
    pub(super) marks: [u8; PRIORITIES],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) hardware: [u8; 6],
    pub(super) mtu: u16,
    pub(super) is_up: bool,
    pub(super) is_veth: bool,
    pub(super) vlan: Option<Vlan>,
}

/// An interface, and what it is now; nothing where it is gone or is no Ethernet.
pub(super) fn link(message: Message<'_>) -> Option<(u32, Option<Link>)> {
    let body = message.body;
    let (hardware_kind, ifindex, flags) = (half(body, 2)?, word(body, 4)?, word(body, 8)?);
    if *body.first()? != 0 {
        // Of a bridge's ports, with less in it; the last one says that it left the bridge.
        return None;
    }
    if message.kind == kind::DEL_LINK || hardware_kind != ETHERNET {
        return Some((ifindex, None));
    }
    let (mut hardware, mut mtu, mut parent, mut vlan, mut is_veth, mut is_elsewhere) = (None, 0, 0, None, false, false);
    for (kind, value) in attributes(body.get(16..)?) {
        match kind {
            1 => hardware = value.first_chunk::<6>().copied(),
            4 => mtu = word(value, 0)?,
            5 => parent = word(value, 0)?,
            18 => (vlan, is_veth) = (vlan_of(value), is_kind(value, b"veth")),
            LINK_ELSEWHERE => is_elsewhere = true,
            _ => {}
        }
    }
    // A VLAN upon a device of another name space is a device like any other: the tag is that name space's affair.
    let vlan = vlan.filter(|_| !is_elsewhere).map(|vlan| Vlan { parent, ..vlan });
    let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
    Some((ifindex, Some(Link { hardware: hardware?, mtu, is_up: flags & IS_UP != 0, is_veth, vlan })))
}

fn find(within: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(within).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// Whether `IFLA_LINKINFO` names this kind of link.
fn is_kind(info: &[u8], wanted: &[u8]) -> bool {
    find(info, 1).is_some_and(|kind| kind.strip_suffix(b"\0").unwrap_or(kind) == wanted)
}

/// The VLAN that `IFLA_LINKINFO` says, upon what is not said there.
fn vlan_of(info: &[u8]) -> Option<Vlan> {
    let data = find(info, 2).filter(|_| is_kind(info, b"vlan"))?;
    let protocol = find(data, 5).and_then(|value| Some(u16::from_be_bytes(*value.first_chunk()?)));
    let is_8021q = protocol.is_none_or(|protocol| protocol == VLAN_8021Q);
    let mut marks = [0; PRIORITIES];
    for (_, pair) in find(data, EGRESS_MARKS).into_iter().flat_map(attributes) {
        let (Some(from), Some(mark)) = (word(pair, 0), word(pair, 4)) else { continue };
        if let Some(place) = usize::try_from(from).ok().and_then(|from| marks.get_mut(from)) {
            *place = mark as u8 & 7;
        }
    }
    Some(Vlan { parent: 0, id: half(find(data, 1)?, 0)?, is_8021q, marks })
}

/// An address on an interface, and the hardware address that packets for it can be sent to; nothing where none can.
pub(super) fn neighbour(message: Message<'_>) -> Option<(u32, IpAddr, Option<[u8; 6]>)> {
    let body = message.body;
    let (ifindex, state) = (word(body, 4)?, half(body, 8)?);
    let (mut to, mut hardware) = (None, [0; 6]);
    for (kind, value) in attributes(body.get(12..)?) {
        match kind {
            1 => to = address(value),
            2 => hardware = *value.first_chunk::<6>()?,
            _ => {}
        }
    }
    let is_usable = message.kind != kind::DEL_NEIGHBOUR && state & USABLE != 0;
    Some((ifindex, to?, is_usable.then_some(hardware)))
}

/// The neighbour that a route's answer names, by interface and address.
pub(super) fn next(message: Message<'_>, to: IpAddr) -> Option<(u32, IpAddr)> {
    if message.kind != kind::NEW_ROUTE || *message.body.get(7)? != UNICAST {
        return None;
    }
    let (mut ifindex, mut gateway) = (None, to);
    for (kind, value) in attributes(message.body.get(12..)?) {
        match kind {
            4 => ifindex = word(value, 0),
            5 => gateway = address(value)?,
            // A gateway of the other family.
            18 => return None,
            _ => {}
        }
    }
    Some((ifindex?, gateway))
}

//! The hop table by hand-made messages.

use super::told::{EGRESS_MARKS, ETHERNET, UNICAST};
use super::*;
use crate::xdp::devices::LINK_ELSEWHERE;
use crate::xdp::netlink::{push_address, push_attribute};
use crate::xdp::shared::Shared;

const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];
const NEXT: [u8; 6] = [2, 0, 0, 0, 0, 9];
const REACHABLE: u16 = 2;
const STALE: u16 = 4;

fn link(ifindex: u32, up: bool, vlan: Option<(u32, u16)>) -> Vec<u8> {
    let Some((parent, id)) = vlan else { return link_of(ifindex, up, None) };
    vlan_of(ifindex, up, (parent, id), &[])
}

/// A VLAN with its `egress-qos-map`.
fn vlan_of(ifindex: u32, up: bool, (parent, id): (u32, u16), marks: &[(u32, u32)]) -> Vec<u8> {
    let (mut data, mut info, mut map) = (Vec::new(), Vec::new(), Vec::new());
    push_attribute(&mut data, 1, &id.to_ne_bytes());
    for (from, mark) in marks {
        push_attribute(&mut map, 1, &[from.to_ne_bytes(), mark.to_ne_bytes()].concat());
    }
    if !map.is_empty() {
        push_attribute(&mut data, EGRESS_MARKS, &map);
    }
    push_attribute(&mut info, 1, b"vlan\0");
    push_attribute(&mut info, 2, &data);
    let mut body = link_of(ifindex, up, Some(&info));
    push_attribute(&mut body, 5, &parent.to_ne_bytes());
    body
}

fn link_of(ifindex: u32, up: bool, info: Option<&[u8]>) -> Vec<u8> {
    let mut body = vec![0, 0];
    body.extend(ETHERNET.to_ne_bytes());
    body.extend(ifindex.to_ne_bytes());
    body.extend(u32::from(up).to_ne_bytes());
    body.extend([0; 4]);
    push_attribute(&mut body, 1, &OWN);
    push_attribute(&mut body, 4, &1500u32.to_ne_bytes());
    if let Some(info) = info {
        push_attribute(&mut body, 18, info);
    }
    body
}

fn neighbour(ifindex: u32, to: IpAddr, hardware: [u8; 6], state: u16) -> Vec<u8> {
    let mut body = vec![2, 0, 0, 0];
    body.extend(ifindex.to_ne_bytes());
    body.extend(state.to_ne_bytes());
    body.extend([0, 0]);
    push_address(&mut body, 1, to);
    push_attribute(&mut body, 2, &hardware);
    body
}

fn route(ifindex: u32, gateway: Option<IpAddr>) -> Vec<u8> {
    let mut body = vec![2, 32, 0, 0, 0, 0, 0, UNICAST, 0, 0, 0, 0];
    push_attribute(&mut body, 4, &ifindex.to_ne_bytes());
    if let Some(gateway) = gateway {
        push_address(&mut body, 5, gateway);
    }
    body
}

fn at(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn aim(to: IpAddr) -> Aim {
    Aim { to, dscp: 46 }
}

struct Net {
    hops: Hops,
    rows: Shared<Hop>,
}

impl Net {
    /// Device 3 is attached, 4 is a VLAN upon it, 5 is not attached.
    fn new() -> Self {
        let mut net = Self { hops: Hops::new([(3, 0)]), rows: Shared::ordinary(HOPS_MAX) };
        net.tell(kind::NEW_LINK, &link(3, true, None));
        net.tell(kind::NEW_LINK, &link(4, true, Some((3, 0x123))));
        net.tell(kind::NEW_LINK, &link(5, true, None));
        net
    }

    fn tell(&mut self, kind: u16, body: &[u8]) {
        if self.hops.take(Message { kind, body }) {
            self.hops.write_all(&self.rows);
        }
    }

    fn resolve(&mut self, to: IpAddr) -> Option<u16> {
        self.hops.resolve(&self.rows, aim(to))
    }

    /// The kernel's answer to what was asked for.
    fn answer(&mut self, route: &[u8]) {
        for to in self.hops.take_asked(usize::MAX) {
            self.hops.take_route(&self.rows, to, Some(Message { kind: kind::NEW_ROUTE, body: route }));
        }
    }

    fn ifindex(&self, hop: u16) -> u32 {
        self.rows[usize::from(hop)].ifindex.load(Relaxed)
    }
}

#[test]
fn a_way_is_asked_for_once_and_then_known() {
    let mut net = Net::new();
    net.tell(kind::NEW_NEIGHBOUR, &neighbour(3, at("10.0.0.1"), NEXT, REACHABLE));
    assert_eq!((net.resolve(at("192.0.2.7")), net.resolve(at("192.0.2.7"))), (None, None));
    net.answer(&route(3, Some(at("10.0.0.1"))));
    assert_eq!(net.resolve(at("192.0.2.7")), Some(0));
    let row = &net.rows[0];
    let mut hardware = row.hardware_low.load(Relaxed).to_ne_bytes().to_vec();
    hardware.extend(row.hardware_high.load(Relaxed).to_ne_bytes());
    assert_eq!(hardware, [NEXT, OWN].concat());
    assert_eq!((net.ifindex(0), row.mtu.load(Relaxed), row.tag.load(Relaxed)), (3, 1500, 0));
    assert_eq!(net.resolve(at("192.0.2.8")), None);
    net.answer(&route(3, Some(at("10.0.0.1"))));
    assert_eq!(net.resolve(at("192.0.2.8")), Some(0), "the same gateway is the same hop");
}

#[test]
fn another_process_keeps_every_row_its_neighbours_and_writes_none_before_it_is_told() {
    let mut old = Net::new();
    old.tell(kind::NEW_NEIGHBOUR, &neighbour(3, at("10.0.0.1"), NEXT, REACHABLE));
    for (to, gateway) in [("192.0.2.7", "10.0.0.9"), ("192.0.2.8", "10.0.0.1")] {
        old.resolve(at(to));
        old.answer(&route(3, Some(at(gateway))));
    }
    assert_eq!((old.resolve(at("192.0.2.8")), old.ifindex(0), old.ifindex(1)), (Some(1), 0, 3));
    let neighbours = old.hops.rest();
    assert_eq!(neighbours.iter().map(|next| next.address).collect::<Vec<_>>(), [at("10.0.0.9"), at("10.0.0.1")]);
    old.tell(kind::DEL_NEIGHBOUR, &neighbour(3, at("10.0.0.1"), NEXT, 0));
    old.resolve(at("192.0.2.9"));
    old.answer(&route(3, None));
    assert_eq!((old.ifindex(1), old.ifindex(2)), (3, 0), "the old one writes no more");

    let mut next = Net { hops: Hops::resting([(3, 0)]), rows: old.rows };
    next.tell(kind::NEW_LINK, &link(3, true, None));
    next.hops.take_rows(neighbours);
    next.hops.adopt(aim(at("192.0.2.8")), 1);
    assert!(next.hops.keep(aim(at("192.0.2.8")), 1), "the way of a rule that is in");
    assert_eq!(next.ifindex(1), 3, "not written yet");
    next.hops.wake(&next.rows);
    assert_eq!(next.ifindex(1), 0, "nobody has told it of that neighbour");
    next.tell(kind::NEW_NEIGHBOUR, &neighbour(3, at("10.0.0.9"), NEXT, REACHABLE));
    next.tell(kind::NEW_NEIGHBOUR, &neighbour(3, at("10.0.0.1"), NEXT, REACHABLE));
    assert_eq!((next.ifindex(0), next.ifindex(1)), (3, 3));
    next.hops.adopt(aim(at("192.0.2.1")), 7);
    assert!(!next.hops.keep(aim(at("192.0.2.1")), 7), "a row that is nobody's");
    next.answer(&route(3, Some(at("10.0.0.9"))));
    assert_eq!(next.resolve(at("192.0.2.8")), Some(0), "ways are asked for again");
}

#[test]
fn a_stale_neighbour_is_no_way_and_a_moved_one_is_one_write() {
    let mut net = Net::new();
    net.resolve(at("10.0.0.1"));
    net.answer(&route(3, None));
    assert_eq!(net.resolve(at("10.0.0.1")), None, "no neighbour yet");
    for (state, ifindex) in
        [(REACHABLE, 3), (STALE, 0), (0x08, 3), (0x10, 3), (0x20, 0), (0x80, 3), (0, 0), (REACHABLE, 3)]
    {
        net.tell(kind::NEW_NEIGHBOUR, &neighbour(3, at("10.0.0.1"), NEXT, state));
        assert_eq!(net.ifindex(0), ifindex, "state {state:#x}");
        let wanted: &[_] = if ifindex == 0 { &[(3, at("10.0.0.1"))] } else { &[] };
        assert_eq!(net.hops.in_want(), wanted, "one that is used and cannot be is asked about, state {state:#x}");
    }
    let moved = [2, 0, 0, 0, 0, 0x77];
    net.tell(kind::NEW_NEIGHBOUR, &neighbour(3, at("10.0.0.1"), moved, REACHABLE));
    assert_eq!(net.rows[0].hardware_low.load(Relaxed).to_ne_bytes()[..6], moved);
    net.tell(kind::DEL_NEIGHBOUR, &neighbour(3, at("10.0.0.1"), moved, REACHABLE));
    assert_eq!(net.ifindex(0), 0);
}

#[test]
fn a_vlan_leaves_by_its_parent_with_its_tag() {
    let mut net = Net::new();
    net.tell(kind::NEW_NEIGHBOUR, &neighbour(4, at("10.0.4.1"), NEXT, REACHABLE));
    net.resolve(at("10.0.4.1"));
    net.answer(&route(4, None));
    let hop = net.resolve(at("10.0.4.1")).unwrap();
    assert_eq!((net.ifindex(hop), net.rows[usize::from(hop)].tag.load(Relaxed).to_ne_bytes()), (3, [0x81, 0, 1, 0x23]));
}

#[test]
fn a_vlan_has_no_way_while_its_parent_is_down_or_shows_no_tags() {
    let mut net = Net::new();
    net.tell(kind::NEW_NEIGHBOUR, &neighbour(4, at("10.0.4.1"), NEXT, REACHABLE));
    net.resolve(at("10.0.4.1"));
    net.answer(&route(4, None));
    let hop = net.resolve(at("10.0.4.1")).unwrap();
    for (up, ifindex) in [(false, 0), (true, 3)] {
        net.tell(kind::NEW_LINK, &link(3, up, None));
        assert_eq!(net.ifindex(hop), ifindex, "a VLAN with a loose binding stays up when its parent goes down");
    }
    net.answer(&route(4, None));
    net.hops.without_tags([3]);
    net.hops.write_all(&net.rows);
    assert_eq!(net.resolve(at("10.0.4.1")), None);
    net.tell(kind::NEW_NEIGHBOUR, &neighbour(3, at("10.0.0.1"), NEXT, REACHABLE));
    net.resolve(at("10.0.0.1"));
    net.answer(&route(3, None));
    assert!(net.resolve(at("10.0.0.1")).is_some(), "who is upon the device itself has one");
}

#[test]
fn a_vlan_upon_a_device_of_another_name_space_has_no_way_by_ours_of_the_same_number() {
    let mut net = Net::new();
    let mut body = link(4, true, Some((3, 0x123)));
    push_attribute(&mut body, LINK_ELSEWHERE, &0u32.to_ne_bytes());
    net.tell(kind::NEW_LINK, &body);
    net.tell(kind::NEW_NEIGHBOUR, &neighbour(4, at("10.0.4.1"), NEXT, REACHABLE));
    net.resolve(at("10.0.4.1"));
    net.answer(&route(4, None));
    assert_eq!(net.resolve(at("10.0.4.1")), None, "the program is not on it");
    let mut attached = Net { hops: Hops::new([(4, 1)]), rows: Shared::ordinary(HOPS_MAX) };
    attached.tell(kind::NEW_LINK, &body);
    attached.tell(kind::NEW_NEIGHBOUR, &neighbour(4, at("10.0.4.1"), NEXT, REACHABLE));
    attached.resolve(at("10.0.4.1"));
    attached.answer(&route(4, None));
    let hop = attached.resolve(at("10.0.4.1")).unwrap();
    assert_eq!((attached.ifindex(hop), attached.rows[usize::from(hop)].tag.load(Relaxed)), (4, 0));
}

#[test]
fn a_tag_has_the_priority_that_the_sockets_packets_would_have() {
    let mut net = Net::new();
    let tag_of = |net: &mut Net, dscp| {
        let aim = Aim { to: at("10.0.4.1"), dscp };
        net.hops.resolve(&net.rows, aim);
        net.answer(&route(4, None));
        let hop = net.hops.resolve(&net.rows, aim).unwrap();
        let tag = net.rows[usize::from(hop)].tag.load(Relaxed).to_ne_bytes();
        (hop, u16::from_be_bytes([tag[2], tag[3]]))
    };
    net.tell(kind::NEW_NEIGHBOUR, &neighbour(4, at("10.0.4.1"), NEXT, REACHABLE));
    assert_eq!((tag_of(&mut net, 46), tag_of(&mut net, 0)), ((0, 0x123), (0, 0x123)), "one hop where tags are alike");
    // EF comes to priority 4, AF41 to 2, CS4 to 0 (`ip_tos2prio` in net/ipv4/route.c).
    net.tell(kind::NEW_LINK, &vlan_of(4, true, (3, 0x123), &[(4, 5), (2, 3), (99, 7)]));
    net.answer(&route(4, None));
    assert!(!net.hops.keep(Aim { to: at("10.0.4.1"), dscp: 46 }, 0), "another hop now");
    let tags = [46, 34, 32].map(|dscp| tag_of(&mut net, dscp).1);
    assert_eq!(tags, [0xa123, 0x6123, 0x0123]);
    assert_eq!(Aim { to: at("fd00::1"), dscp: 46 }.priority(), 0, "IPV6_TCLASS sets none");
}

#[test]
fn a_port_that_leaves_its_bridge_is_still_there() {
    let mut net = Net::new();
    net.tell(kind::NEW_NEIGHBOUR, &neighbour(3, at("10.0.0.1"), NEXT, REACHABLE));
    net.resolve(at("10.0.0.1"));
    net.answer(&route(3, None));
    let mut port = link(3, true, None);
    port[0] = 7;
    net.tell(kind::DEL_LINK, &port);
    assert_eq!(net.ifindex(0), 3);
}

#[test]
fn a_veth_is_redirected_to_even_by_what_it_brought() {
    let mut net = Net::new();
    let mut info = Vec::new();
    push_attribute(&mut info, 1, b"veth\0");
    net.tell(kind::NEW_LINK, &link_of(3, true, Some(&info)));
    for (device, next) in [(3, "10.0.0.1"), (4, "10.0.4.1")] {
        net.tell(kind::NEW_NEIGHBOUR, &neighbour(device, at(next), NEXT, REACHABLE));
        net.resolve(at(next));
        net.answer(&route(device, None));
        let hop = net.resolve(at(next)).unwrap();
        assert_eq!(net.ifindex(hop), 3 | REDIRECT_ALWAYS, "{next}, also through a VLAN upon it");
    }
}

#[test]
fn a_device_without_the_program_or_down_is_no_way() {
    let mut net = Net::new();
    net.tell(kind::NEW_NEIGHBOUR, &neighbour(5, at("10.0.5.1"), NEXT, REACHABLE));
    net.resolve(at("10.0.5.1"));
    net.answer(&route(5, None));
    assert_eq!(net.resolve(at("10.0.5.1")), None);
    net.tell(kind::NEW_NEIGHBOUR, &neighbour(3, at("10.0.0.1"), NEXT, REACHABLE));
    net.resolve(at("10.0.0.1"));
    net.answer(&route(3, None));
    let hop = net.resolve(at("10.0.0.1")).unwrap();
    for (up, ifindex) in [(false, 0), (true, 3)] {
        net.tell(kind::NEW_LINK, &link(3, up, None));
        assert_eq!(net.ifindex(hop), ifindex);
    }
    net.tell(kind::DEL_LINK, &link(3, true, None));
    assert_eq!(net.ifindex(hop), 0);
}

#[test]
fn a_changed_route_takes_rules_off_their_hop() {
    let mut net = Net::new();
    for gateway in ["10.0.0.1", "10.0.0.2"] {
        net.tell(kind::NEW_NEIGHBOUR, &neighbour(3, at(gateway), NEXT, REACHABLE));
    }
    net.resolve(at("192.0.2.7"));
    net.answer(&route(3, Some(at("10.0.0.1"))));
    let hop = net.resolve(at("192.0.2.7")).unwrap();
    assert!(net.hops.keep(aim(at("192.0.2.7")), hop));
    net.tell(kind::NEW_ROUTE, &route(3, Some(at("10.0.0.2"))));
    net.answer(&route(3, Some(at("10.0.0.2"))));
    assert!(!net.hops.keep(aim(at("192.0.2.7")), hop));
    assert_ne!(net.resolve(at("192.0.2.7")), Some(hop));
}

#[test]
fn a_full_table_refuses_until_somebody_has_been_unused_for_long() {
    let mut net = Net::new();
    let address = |n: usize| IpAddr::from([10, 1, (n >> 8) as u8, n as u8]);
    for n in 0..=HOPS_MAX {
        net.tell(kind::NEW_NEIGHBOUR, &neighbour(3, address(n), NEXT, REACHABLE));
    }
    net.hops.asked = (0..HOPS_MAX).map(address).map(aim).collect();
    net.answer(&route(3, None));
    net.resolve(address(HOPS_MAX));
    net.answer(&route(3, None));
    assert_eq!(net.resolve(address(HOPS_MAX)), None, "all are in use");
    net.hops.set_now(UNUSED_S);
    assert!((0..HOPS_MAX).filter(|n| *n != 5).all(|n| net.hops.keep(aim(address(n)), n as u16)));
    net.answer(&route(3, None));
    assert_eq!(net.resolve(address(HOPS_MAX)), Some(5));
    assert!(!net.hops.keep(aim(address(5)), 5));
    assert_eq!(net.hops.in_use().count(), HOPS_MAX);
}

#[test]
fn after_a_change_every_way_is_asked_for_again_however_many_there_are() {
    let mut net = Net::new();
    let address = |n: usize| IpAddr::from([10, 1, (n >> 8) as u8, n as u8]);
    net.tell(kind::NEW_NEIGHBOUR, &neighbour(3, at("10.0.0.1"), NEXT, REACHABLE));
    (0..3000).for_each(|n| _ = net.resolve(address(n)));
    assert!(net.hops.wants());
    net.answer(&route(3, Some(at("10.0.0.1"))));
    assert!(!net.hops.wants(), "nothing to wake for");
    net.tell(kind::NEW_ROUTE, &[]);
    let mut asked = std::collections::BTreeSet::new();
    for _ in 0..3 {
        assert!(net.hops.wants());
        asked.extend(net.hops.take_asked(1024).into_iter().map(|aim| aim.to));
    }
    assert_eq!((asked.len(), net.hops.wants()), (3000, false));
}

//! Next hops: what the kernel's tables say of links, neighbours and routes, and the rows that follow from it. Plain state,
//! fed with messages by the [mirror](super::mirror), which owns it together with the shards that ask.
//!
//! Which way a destination takes is the kernel's own answer (`RTM_GETROUTE`), so that rules and tables need no second
//! implementation here. A row of the hop table belongs to a device and a neighbour on it; a neighbour that moves is one write,
//! whatever the number of its streams. A neighbour that is stale, failed or gone makes the row unusable: packets go up, and the
//! socket's sending makes the kernel look for it.

use super::devices::LINK_ELSEWHERE;
use super::layout::{HOPS_MAX, Hop, REDIRECT_ALWAYS};
use super::netlink::{Message, address, attributes, half, kind, word};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::Ordering::{Relaxed, Release};

/// Destinations remembered at most.
pub const WAYS_MAX: usize = 65_536;
/// Destinations that wait to be asked for at most.
const ASKED_MAX: usize = 4096;
/// A hop that no rule has had for so long may be given to another neighbour. Longer than any rule lives unswept.
const UNUSED_S: u64 = 120;
/// A hop in use is probed while its rules are swept.
const IN_USE_S: u64 = 5;

/// `NUD_REACHABLE`, `DELAY`, `PROBE`, `NOARP`, `PERMANENT`: being probed, it still has the address it had.
const USABLE: u16 = 0x02 | 0x08 | 0x10 | 0x40 | 0x80;
const ETHERNET: u16 = 1;
const VLAN_8021Q: u16 = 0x8100;
/// `IFLA_VLAN_EGRESS_QOS`.
const EGRESS_MARKS: u16 = 3;
const UNICAST: u8 = 1;
const IS_UP: u32 = 1;
/// The kernel's priorities that a DSCP may come to, and one.
const PRIORITIES: usize = 7;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Vlan {
    parent: u32,
    id: u16,
    is_8021q: bool,
    /// The priority of a tag (802.1p) by the kernel's of what is sent: the device's `egress-qos-map`.
    marks: [u8; PRIORITIES],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Link {
    hardware: [u8; 6],
    mtu: u16,
    is_up: bool,
    is_veth: bool,
    vlan: Option<Vlan>,
}

/// Where packets go, and with which DSCP: a VLAN's tag may say it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Aim {
    /// The far party.
    pub to: IpAddr,
    /// Of its leg.
    pub dscp: u8,
}

impl Aim {
    /// The kernel's priority of what a socket sends so: `IP_TOS` sets it (`rt_tos2priority`), `IPV6_TCLASS` does not.
    fn priority(self) -> u8 {
        match self.dscp >> 1 & 3 {
            _ if self.to.is_ipv6() => 0,
            0 => 0,
            1 => 2,
            2 => 6,
            _ => 4,
        }
    }
}

/// The answer for one destination.
#[derive(Clone, Copy, Debug)]
struct Way {
    hop: Option<u16>,
    used_s: u64,
}

/// Whom a row of the hop table is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Neighbour {
    /// The device.
    pub ifindex: u32,
    /// On it.
    pub address: IpAddr,
    /// The kernel's priority of what goes there, where the device's tags depend on it.
    #[serde(default)]
    pub priority: u8,
}

impl Neighbour {
    const fn of(ifindex: u32, address: IpAddr) -> Self {
        Self { ifindex, address, priority: 0 }
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    neighbour: Neighbour,
    used_s: u64,
}

/// See the head of this file.
#[derive(Debug, Default)]
pub struct Hops {
    /// Index into the map of devices, by interface.
    devices: HashMap<u32, u16>,
    /// Those whose program is not shown the tags of the frames that come.
    tagless: HashSet<u32>,
    links: HashMap<u32, Link>,
    neighbours: HashMap<Neighbour, ([u8; 6], u16)>,
    ways: HashMap<Aim, Way>,
    entries: Vec<Entry>,
    asked: Vec<Aim>,
    now_s: u64,
    /// Another process writes the rows now.
    resting: bool,
    /// A route, rule, link or address has changed: every way is to be asked for again.
    pub routes_changed: bool,
}

impl Hops {
    /// Frames may leave by these devices only: interface, and index into the map of devices.
    #[must_use]
    pub fn new(devices: impl IntoIterator<Item = (u32, u16)>) -> Self {
        Self { devices: devices.into_iter().collect(), ..Self::default() }
    }

    /// With the rows of another process, which still writes them: none is written before [`wake`](Self::wake).
    #[must_use]
    pub fn resting(devices: impl IntoIterator<Item = (u32, u16)>) -> Self {
        Self { resting: true, ..Self::new(devices) }
    }

    /// On these devices the program is generic: the tag of a frame that comes may be beside it, where the kernel keeps it and puts it on
    /// whatever the program makes of the frame. So nobody behind a VLAN upon them has a way.
    pub fn without_tags(&mut self, devices: impl IntoIterator<Item = u32>) {
        self.tagless = devices.into_iter().collect();
    }

    /// From now on no row is written, and each stays its neighbour's. Who they are for, by row.
    pub fn rest(&mut self) -> Vec<Neighbour> {
        self.resting = true;
        self.entries.iter().map(|entry| entry.neighbour).collect()
    }

    /// The rows are for these neighbours: those of the process before.
    pub fn take_rows(&mut self, neighbours: Vec<Neighbour>) {
        let used_s = self.now_s;
        self.entries = neighbours.into_iter().map(|neighbour| Entry { neighbour, used_s }).collect();
    }

    /// Writes rows from now on; what has changed meanwhile is made up for.
    pub fn wake(&mut self, rows: &[Hop]) {
        self.resting = false;
        self.routes_changed = true;
        self.write_all(rows);
    }

    /// A rule towards `to` goes by this hop already.
    pub fn adopt(&mut self, to: Aim, hop: u16) {
        let used_s = self.now_s;
        if let Some(entry) = self.entries.get_mut(usize::from(hop)) {
            entry.used_s = used_s;
            self.ways.insert(to, Way { hop: Some(hop), used_s });
        }
    }

    /// Seconds since some start.
    pub fn set_now(&mut self, now_s: u64) {
        self.now_s = now_s;
    }

    /// The hop towards a destination, if it can be used now. Otherwise the destination is asked for.
    pub fn resolve(&mut self, rows: &[Hop], to: Aim) -> Option<u16> {
        let now_s = self.now_s;
        let hop = match self.ways.get_mut(&to) {
            Some(way) => {
                way.used_s = now_s;
                way.hop
            }
            None => None,
        };
        match hop {
            Some(hop) => {
                self.entries[usize::from(hop)].used_s = now_s;
                (rows[usize::from(hop)].ifindex.load(Relaxed) != 0).then_some(hop)
            }
            None => {
                if self.asked.len() < ASKED_MAX && !self.asked.contains(&to) {
                    self.asked.push(to);
                }
                None
            }
        }
    }

    /// Whether the kernel is to be asked for a way.
    #[must_use]
    pub fn wants(&self) -> bool {
        self.routes_changed || !self.asked.is_empty()
    }

    /// A rule towards `to` goes by this hop: true while that is the way.
    pub fn keep(&mut self, to: Aim, hop: u16) -> bool {
        let now_s = self.now_s;
        if let Some(entry) = self.entries.get_mut(usize::from(hop)) {
            entry.used_s = now_s;
        }
        let Some(way) = self.ways.get_mut(&to) else { return false };
        way.used_s = now_s;
        way.hop == Some(hop)
    }

    /// Destinations to ask the kernel for, so many of them; the others come next time.
    pub fn take_asked(&mut self, most: usize) -> Vec<Aim> {
        if std::mem::take(&mut self.routes_changed) {
            let oldest = self.now_s.saturating_sub(UNUSED_S);
            self.ways.retain(|_, way| way.used_s >= oldest);
            self.asked = self.ways.keys().copied().collect();
        }
        self.asked.drain(..most.min(self.asked.len())).collect()
    }

    /// Neighbours that rules are using, to be kept fresh.
    pub fn in_use(&self) -> impl Iterator<Item = (u32, IpAddr)> {
        let oldest = self.now_s.saturating_sub(IN_USE_S);
        let used = self.entries.iter().filter(move |entry| entry.used_s >= oldest);
        used.map(|entry| (entry.neighbour.ifindex, entry.neighbour.address))
    }

    /// Of them, those that cannot be used as far as we have been told.
    #[must_use]
    pub fn in_want(&self) -> Vec<(u32, IpAddr)> {
        let known = |ifindex, address| self.neighbours.contains_key(&Neighbour::of(ifindex, address));
        self.in_use().filter(|&(ifindex, address)| !known(ifindex, address)).collect()
    }

    /// Forgets links and neighbours before they are told anew; rows stay until then.
    pub fn forget(&mut self) {
        self.links.clear();
        self.neighbours.clear();
    }

    /// Takes a message about a link or neighbour; true where it may change rows.
    pub fn take(&mut self, message: Message<'_>) -> bool {
        match message.kind {
            kind::NEW_LINK | kind::DEL_LINK => self.take_link(message).is_some(),
            kind::NEW_NEIGHBOUR | kind::DEL_NEIGHBOUR => self.take_neighbour(message).is_some(),
            kind::NEW_ROUTE
            | kind::DEL_ROUTE
            | kind::NEW_RULE
            | kind::DEL_RULE
            | kind::NEW_ADDRESS
            | kind::DEL_ADDRESS => {
                self.routes_changed = true;
                false
            }
            _ => false,
        }
    }

    fn take_link(&mut self, message: Message<'_>) -> Option<()> {
        let body = message.body;
        let (hardware_kind, ifindex, flags) = (half(body, 2)?, word(body, 4)?, word(body, 8)?);
        if *body.first()? != 0 {
            // Of a bridge's ports, with less in it; the last one says that it left the bridge.
            return None;
        }
        if message.kind == kind::DEL_LINK || hardware_kind != ETHERNET {
            return self.links.remove(&ifindex).map(drop);
        }
        let (mut hardware, mut mtu, mut parent, mut vlan, mut is_veth, mut is_elsewhere) =
            (None, 0, 0, None, false, false);
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
        let link = Link { hardware: hardware?, mtu, is_up: flags & IS_UP != 0, is_veth, vlan };
        let old = self.links.insert(ifindex, link);
        self.routes_changed |= old.is_some_and(|old| old.is_up != link.is_up || old.vlan != link.vlan);
        (old != Some(link)).then_some(())
    }

    fn take_neighbour(&mut self, message: Message<'_>) -> Option<()> {
        let body = message.body;
        let (ifindex, mut state) = (word(body, 4)?, half(body, 8)?);
        let (mut to, mut hardware) = (None, [0; 6]);
        for (kind, value) in attributes(body.get(12..)?) {
            match kind {
                1 => to = address(value),
                2 => hardware = *value.first_chunk::<6>()?,
                _ => {}
            }
        }
        if message.kind == kind::DEL_NEIGHBOUR {
            state = 0;
        }
        let neighbour = Neighbour::of(ifindex, to?);
        if state & USABLE != 0 {
            self.neighbours.insert(neighbour, (hardware, state));
        } else {
            self.neighbours.remove(&neighbour)?;
        }
        Some(())
    }

    /// Takes the kernel's answer for a destination; nothing where it has no way there.
    pub fn take_route(&mut self, rows: &[Hop], to: Aim, answer: Option<Message<'_>>) {
        if self.resting {
            // Asked again when it wakes.
            return;
        }
        let neighbour = answer.and_then(|message| next_of(message, to.to)).map(|next| self.marked(next, to));
        let hop = neighbour.and_then(|neighbour| self.entry(rows, neighbour));
        if self.ways.len() >= WAYS_MAX && !self.ways.contains_key(&to) {
            let oldest = self.now_s.saturating_sub(UNUSED_S);
            self.ways.retain(|_, way| way.used_s >= oldest);
        }
        if hop.is_some() && self.ways.len() < WAYS_MAX {
            self.ways.insert(to, Way { hop, used_s: self.now_s });
        } else {
            self.ways.remove(&to);
        }
        if let Some(hop) = hop {
            self.write(rows, hop);
        }
    }

    /// A row of its own for each priority, where tags depend on it.
    fn marked(&self, next: Neighbour, aim: Aim) -> Neighbour {
        let vlan = self.links.get(&next.ifindex).and_then(|link| link.vlan);
        let is_marked = vlan.is_some_and(|vlan| vlan.marks.iter().any(|mark| *mark != 0));
        Neighbour { priority: if is_marked { aim.priority() } else { 0 }, ..next }
    }

    /// The row of a neighbour, a new one if need be.
    fn entry(&mut self, rows: &[Hop], neighbour: Neighbour) -> Option<u16> {
        let used_s = self.now_s;
        let place = match self.entries.iter().position(|entry| entry.neighbour == neighbour) {
            Some(place) => place,
            None if self.entries.len() < HOPS_MAX.min(rows.len()) => {
                self.entries.push(Entry { neighbour, used_s });
                self.entries.len() - 1
            }
            None => {
                let (place, oldest) = self.entries.iter().enumerate().min_by_key(|(_, entry)| entry.used_s)?;
                if oldest.used_s + UNUSED_S > used_s {
                    return None;
                }
                let hop = u16::try_from(place).ok()?;
                rows[place].ifindex.store(0, Release);
                self.ways.retain(|_, way| way.hop != Some(hop));
                place
            }
        };
        self.entries[place] = Entry { neighbour, used_s };
        u16::try_from(place).ok()
    }

    /// Writes all rows anew.
    pub fn write_all(&self, rows: &[Hop]) {
        if self.resting {
            return;
        }
        for hop in 0..self.entries.len() {
            self.write(rows, hop as u16);
        }
    }

    fn write(&self, rows: &[Hop], hop: u16) {
        let (row, entry) = (&rows[usize::from(hop)], &self.entries[usize::from(hop)]);
        let Some((way_out, hardware)) = self.way_out(entry.neighbour) else {
            row.ifindex.store(0, Release);
            return;
        };
        let (next, own) = (hardware, way_out.hardware);
        let low = u64::from_ne_bytes([next[0], next[1], next[2], next[3], next[4], next[5], own[0], own[1]]);
        let high = u32::from_ne_bytes([own[2], own[3], own[4], own[5]]);
        let same = row.ifindex.load(Relaxed) == way_out.ifindex
            && row.hardware_high.load(Relaxed) == high
            && row.tag.load(Relaxed) == way_out.tag
            && row.mtu.load(Relaxed) == way_out.mtu
            && row.device.load(Relaxed) == way_out.device;
        if !same {
            row.ifindex.store(0, Release);
            row.hardware_high.store(high, Relaxed);
            row.tag.store(way_out.tag, Relaxed);
            row.mtu.store(way_out.mtu, Relaxed);
            row.device.store(way_out.device, Relaxed);
        }
        row.hardware_low.store(low, Release);
        row.ifindex.store(way_out.ifindex, Release);
    }

    fn way_out(&self, neighbour: Neighbour) -> Option<(WayOut, [u8; 6])> {
        let link = self.links.get(&neighbour.ifindex).filter(|link| link.is_up)?;
        let (hardware, _) = self.neighbours.get(&Neighbour::of(neighbour.ifindex, neighbour.address))?;
        let (ifindex, tag) = match link.vlan {
            None => (neighbour.ifindex, 0),
            Some(vlan) if vlan.is_8021q && !self.tagless.contains(&vlan.parent) => {
                let mark = vlan.marks.get(usize::from(neighbour.priority)).copied().unwrap_or(0);
                let [high, low] = (u16::from(mark) << 13 | vlan.id).to_be_bytes();
                let [kind_high, kind_low] = VLAN_8021Q.to_be_bytes();
                (vlan.parent, u32::from_ne_bytes([kind_high, kind_low, high, low]))
            }
            Some(_) => return None,
        };
        let device = *self.devices.get(&ifindex)?;
        let below = self.links.get(&ifindex).filter(|link| link.is_up)?;
        let ifindex = if below.is_veth { ifindex | REDIRECT_ALWAYS } else { ifindex };
        Some((WayOut { ifindex, device, tag, mtu: link.mtu, hardware: link.hardware }, *hardware))
    }
}

struct WayOut {
    ifindex: u32,
    device: u16,
    tag: u32,
    mtu: u16,
    hardware: [u8; 6],
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

/// The neighbour that a route's answer names.
fn next_of(message: Message<'_>, to: IpAddr) -> Option<Neighbour> {
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
    Some(Neighbour::of(ifindex?, gateway))
}

#[cfg(test)]
mod tests;

//! Next hops: what the kernel's tables say of links, neighbours and routes, and the rows that follow from it. Plain state,
//! fed with messages by the [mirror](super::mirror), which owns it together with the shards that ask.
//!
//! Which way a destination takes is the kernel's own answer (`RTM_GETROUTE`), so that rules and tables need no second
//! implementation here. A row of the hop table belongs to a device and a neighbour on it; a neighbour that moves is one write,
//! whatever the number of its streams. A neighbour that is stale, failed or gone makes the row unusable: packets go up, and the
//! socket's sending makes the kernel look for it.

mod told;

use super::layout::{HOPS_MAX, Hop, REDIRECT_ALWAYS};
use super::netlink::{Message, kind};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::Ordering::{Relaxed, Release};
use told::{Link, VLAN_8021Q};

/// Destinations remembered at most.
pub const WAYS_MAX: usize = 65_536;
/// Destinations that wait to be asked for at most.
const ASKED_MAX: usize = 4096;
/// A hop that no rule has had for so long may be given to another neighbour. Longer than any rule lives unswept.
const UNUSED_S: u64 = 120;
/// A hop in use is probed while its rules are swept.
const IN_USE_S: u64 = 5;

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
    /// Hardware addresses of those that can be sent to.
    neighbours: HashMap<Neighbour, [u8; 6]>,
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
        let (ifindex, link) = told::link(message)?;
        let Some(link) = link else { return self.links.remove(&ifindex).map(drop) };
        let old = self.links.insert(ifindex, link);
        self.routes_changed |= old.is_some_and(|old| old.is_up != link.is_up || old.vlan != link.vlan);
        (old != Some(link)).then_some(())
    }

    fn take_neighbour(&mut self, message: Message<'_>) -> Option<()> {
        let (ifindex, address, hardware) = told::neighbour(message)?;
        let neighbour = Neighbour::of(ifindex, address);
        match hardware {
            Some(hardware) => drop(self.neighbours.insert(neighbour, hardware)),
            None => drop(self.neighbours.remove(&neighbour)?),
        }
        Some(())
    }

    /// Takes the kernel's answer for a destination; nothing where it has no way there.
    pub fn take_route(&mut self, rows: &[Hop], to: Aim, answer: Option<Message<'_>>) {
        if self.resting {
            // Asked again when it wakes.
            return;
        }
        let next = answer.and_then(|message| told::next(message, to.to));
        let neighbour = next.map(|(ifindex, address)| self.marked(Neighbour::of(ifindex, address), to));
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
        let hardware = self.neighbours.get(&Neighbour::of(neighbour.ifindex, neighbour.address))?;
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

#[cfg(test)]
mod tests;

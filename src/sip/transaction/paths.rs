//! Which client transactions wait on which path, so that a broken connection or an ICMP error ends just those
//! (RFC 3261 §17.1.4, §18.4) without a search through the table.

use super::client::Client;
use super::path::{Link, Path};
use super::table::Table;
use crate::base::{Keyed, Slot};
use hashbrown::HashMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One list per path, through the transactions themselves.
#[derive(Debug)]
pub(super) struct Paths(HashMap<Path, Slot, Keyed>);

impl Serialize for Paths {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.0.hasher(), self.0.iter().collect::<Vec<_>>()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Paths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (hasher, lists) = <(Keyed, Vec<(Path, Slot)>)>::deserialize(deserializer)?;
        let mut paths = HashMap::with_hasher(hasher);
        paths.extend(lists);
        Ok(Self(paths))
    }
}

impl Paths {
    pub(super) fn new(hasher: Keyed) -> Self {
        Self(HashMap::with_hasher(hasher))
    }

    /// Takes one transaction off the path's list. Each call leaves the list shorter whatever the table says, so that
    /// whoever calls this until it returns `None` comes to an end.
    pub(super) fn pop<U>(&mut self, path: Path, clients: &mut Table<Client<U>>) -> Option<Slot> {
        let first = self.0.get(&path).copied()?;
        self.unlink(first, clients);
        if self.0.get(&path) == Some(&first) {
            self.0.remove(&path);
        }
        Some(first)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn link<U>(&mut self, slot: Slot, clients: &mut Table<Client<U>>) {
        let Some(client) = clients.get_mut(slot) else { return };
        let next = self.0.insert(Path::from(&client.flow), slot);
        client.link = Some(Link { previous: None, next });
        if let Some(next) = next.and_then(|next| clients.get_mut(next)).and_then(|next| next.link.as_mut()) {
            next.previous = Some(slot);
        }
    }

    /// Does nothing where the transaction is not linked.
    pub(super) fn unlink<U>(&mut self, slot: Slot, clients: &mut Table<Client<U>>) {
        let Some(client) = clients.get_mut(slot) else { return };
        let path = Path::from(&client.flow);
        let Some(link) = client.link.take() else { return };
        let mut neighbour = |slot: Option<Slot>, change: &mut dyn FnMut(&mut Link)| {
            if let Some(link) = slot.and_then(|slot| clients.get_mut(slot)).and_then(|client| client.link.as_mut()) {
                change(link);
            }
        };
        neighbour(link.previous, &mut |previous| previous.next = link.next);
        neighbour(link.next, &mut |next| next.previous = link.previous);
        match (link.previous, link.next) {
            (None, Some(next)) => drop(self.0.insert(path, next)),
            (None, None) => drop(self.0.remove(&path)),
            (Some(_), _) => {}
        }
    }
}

//! The location service of one shard: which contacts an AOR has, by which flow they are reached, until when.
//!
//! Owned by the shard that the AOR hashes to. RFC 3261 §10.3; RFC 5626 gives the reason to keep the flow: a phone behind
//! NAT is reached by the path it registered from and by no other. Expiry is looked at on every read and swept a few
//! places at a time, so that a million contacts need no timers.

use crate::base::time::Duration;
use crate::base::{Flow, Instant, Keyed, Random};
use hashbrown::HashTable;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::hash::Hash;

/// One registered contact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The contact URI as it was registered, without angle brackets.
    #[serde(with = "serde_bytes")]
    pub uri: Box<[u8]>,
    /// Contact parameters other than `q` and `expires`, as registered, with their leading `;` (may be empty).
    #[serde(with = "serde_bytes")]
    pub params: Box<[u8]>,
    /// The path to the device.
    pub flow: Flow,
    /// When it lapses.
    pub expires: Instant,
    /// Hash of the Call-ID that registered it (§10.3 step 7).
    pub call_id: u64,
    /// CSeq of that registration.
    pub cseq: u32,
    /// Preference, 0..=1000.
    pub q: u16,
}

#[derive(Debug, Serialize, Deserialize)]
struct Place {
    binding: Option<Binding>,
    next: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Aor {
    #[serde(with = "serde_bytes")]
    name: Box<[u8]>,
    first: u32,
}

const NONE: u32 = u32::MAX;
const SWEEP_STEP: usize = 64;

/// All bindings of the AORs that this shard owns.
#[derive(Debug)]
pub struct Store {
    aors: HashTable<Aor>,
    places: Vec<Place>,
    free: u32,
    len: usize,
    bound: usize,
    hasher: Keyed,
    sweep_at: usize,
}

/// The AORs in the order of their table, which is made again.
#[derive(Serialize, Deserialize)]
struct Frozen<A, P> {
    aors: A,
    places: P,
    free: u32,
    len: usize,
    hasher: Keyed,
    sweep_at: usize,
}

impl Serialize for Store {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { aors, places, free, len, hasher, sweep_at, .. } = self;
        let aors: Vec<&Aor> = aors.iter().collect();
        Frozen { aors, places, free: *free, len: *len, hasher: hasher.clone(), sweep_at: *sweep_at }
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Store {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let frozen = Frozen::<Vec<Aor>, Vec<Place>>::deserialize(deserializer)?;
        let Frozen { places, free, len, hasher, sweep_at, .. } = frozen;
        let mut aors = HashTable::with_capacity(frozen.aors.len());
        for aor in frozen.aors {
            aors.insert_unique(hasher.hash_one(&*aor.name), aor, |aor| hasher.hash_one(&*aor.name));
        }
        Ok(Self { aors, places, free, len, bound: len, hasher, sweep_at })
    }
}

/// The store holds as many contacts as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Store {
    /// A store for at most `bound` contacts.
    #[must_use]
    pub fn new(bound: usize, random: &mut Random) -> Self {
        let hasher = Keyed::from_random(random);
        Self { aors: HashTable::new(), places: Vec::new(), free: NONE, len: 0, bound, hasher, sweep_at: 0 }
    }

    /// The keyed hash by which Call-IDs are remembered.
    #[must_use]
    pub fn hash(&self, what: impl Hash) -> u64 {
        self.hasher.hash_one(what)
    }

    /// The bindings of an AOR that are alive at `now`, in the order they were first registered.
    pub fn bindings(&self, aor: &[u8], now: Instant) -> impl Iterator<Item = &Binding> {
        let hash = self.hasher.hash_one(aor);
        let mut at = self.aors.find(hash, |entry| *entry.name == *aor).map_or(NONE, |entry| entry.first);
        std::iter::from_fn(move || {
            let place = self.places.get(at as usize)?;
            at = place.next;
            Some(place.binding.as_ref())
        })
        .flatten()
        .filter(move |binding| binding.expires > now)
    }

    /// Adds a binding, or puts it in the place of the one that `same` says it refreshes.
    ///
    /// # Errors
    /// [`Full`] when there is no room for another contact.
    pub fn put(&mut self, aor: &[u8], binding: Binding, same: impl Fn(&Binding) -> bool) -> Result<(), Full> {
        let hash = self.hasher.hash_one(aor);
        let mut last = NONE;
        let mut at = self.aors.find(hash, |entry| *entry.name == *aor).map_or(NONE, |entry| entry.first);
        while let Some(place) = self.places.get_mut(at as usize) {
            if let Some(old) = place.binding.as_mut().filter(|old| same(old)) {
                *old = binding;
                return Ok(());
            }
            last = at;
            at = place.next;
        }
        let place = self.take_place(binding)?;
        if let Some(tail) = self.places.get_mut(last as usize) {
            tail.next = place;
        } else {
            let hasher = &self.hasher;
            let entry = Aor { name: aor.into(), first: place };
            self.aors.insert_unique(hash, entry, |entry| hasher.hash_one(&*entry.name));
        }
        Ok(())
    }

    /// Removes the bindings of an AOR that `which` names; returns how many.
    pub fn remove(&mut self, aor: &[u8], which: impl Fn(&Binding) -> bool) -> usize {
        let hash = self.hasher.hash_one(aor);
        let Ok(mut entry) = self.aors.find_entry(hash, |entry| *entry.name == *aor) else { return 0 };
        let (mut previous, mut at, mut removed) = (NONE, entry.get().first, 0);
        while let Some(place) = self.places.get_mut(at as usize) {
            let next = place.next;
            if place.binding.as_ref().is_none_or(&which) {
                place.binding = None;
                place.next = self.free;
                self.free = at;
                removed += 1;
                match self.places.get_mut(previous as usize) {
                    Some(before) => before.next = next,
                    None => entry.get_mut().first = next,
                }
            } else {
                previous = at;
            }
            at = next;
        }
        if entry.get().first == NONE {
            entry.remove();
        }
        self.len -= removed;
        removed
    }

    /// Looks at a bounded number of AORs' places, removes what has lapsed, and tells how many of an AOR's are left. Call it
    /// about once a second.
    pub fn sweep(&mut self, now: Instant, mut told: impl FnMut(&[u8], usize)) -> usize {
        let steps = SWEEP_STEP.max(self.aors.num_buckets() / 60);
        let mut lapsed: Vec<Box<[u8]>> = Vec::new();
        for _ in 0..steps.min(self.aors.num_buckets()) {
            self.sweep_at = (self.sweep_at + 1) % self.aors.num_buckets();
            let Some(entry) = self.aors.get_bucket(self.sweep_at) else { continue };
            let mut at = entry.first;
            while let Some(place) = self.places.get(at as usize) {
                if place.binding.as_ref().is_none_or(|binding| binding.expires <= now) {
                    lapsed.push(entry.name.clone());
                    break;
                }
                at = place.next;
            }
        }
        let mut removed = 0;
        for aor in &lapsed {
            removed += self.remove(aor, |binding| binding.expires <= now);
            told(aor, self.bindings(aor, now).count());
        }
        removed
    }

    /// Every binding alive at `now` with its AOR, for `show registrations`; at most `limit`.
    pub fn list(&self, now: Instant, limit: usize) -> Vec<(&[u8], &Binding)> {
        self.aors
            .iter()
            .flat_map(|entry| self.bindings(&entry.name, now).map(|binding| (&*entry.name, binding)))
            .take(limit)
            .collect()
    }

    /// Goes on with the contacts of another life; the bound stays ours.
    pub fn thaw(&mut self, frozen: Self) {
        *self = Self { bound: self.bound, ..frozen };
    }

    /// Contacts held, lapsed ones that wait for the sweep included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn take_place(&mut self, binding: Binding) -> Result<u32, Full> {
        if self.len >= self.bound {
            return Err(Full);
        }
        self.len += 1;
        if self.free != NONE {
            let index = self.free;
            let place = &mut self.places[index as usize];
            self.free = place.next;
            *place = Place { binding: Some(binding), next: NONE };
            return Ok(index);
        }
        let index = u32::try_from(self.places.len()).map_err(|_| Full)?;
        self.places.push(Place { binding: Some(binding), next: NONE });
        Ok(index)
    }
}

/// How long a contact lives that says nothing, and between which bounds it may ask (RFC 3261 §10.2.1.1, §10.3 step 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Shorter is refused with 423.
    pub min: Duration,
    /// Longer is cut to this.
    pub max: Duration,
    /// When the phone asks for nothing.
    pub default: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{ShardId, SocketKey, Transport};
    use proptest::prelude::*;

    fn binding(name: u8, expires: u64) -> Binding {
        let flow = Flow {
            transport: Transport::Udp,
            shard: ShardId(0),
            socket: SocketKey(0),
            stream: None,
            remote: ([192, 0, 2, name], 5060).into(),
        };
        let uri = format!("sip:{name}@192.0.2.1").into_bytes().into();
        Binding {
            uri,
            params: Box::default(),
            flow,
            expires: Instant::from_millis(expires),
            call_id: 0,
            cseq: 1,
            q: 1000,
        }
    }

    fn store(bound: usize) -> Store {
        Store::new(bound, &mut Random::from_u64(7))
    }

    fn put(store: &mut Store, aor: &[u8], name: u8, expires: u64) -> Result<(), Full> {
        let new = binding(name, expires);
        let uri = new.uri.clone();
        store.put(aor, new, |old| old.uri == uri)
    }

    #[test]
    fn several_devices_one_aor() {
        let mut store = store(10);
        put(&mut store, b"alice", 1, 100).unwrap();
        put(&mut store, b"alice", 2, 200).unwrap();
        put(&mut store, b"alice", 1, 300).unwrap();
        let alive = |store: &Store, at| store.bindings(b"alice", Instant::from_millis(at)).count();
        assert_eq!((store.len(), alive(&store, 0), alive(&store, 250), alive(&store, 300)), (2, 2, 1, 0));
        assert_eq!(store.bindings(b"bob", Instant::ZERO).count(), 0);
    }

    #[test]
    fn full_refuses_the_newcomer_and_refreshes_the_others() {
        let mut store = store(1);
        put(&mut store, b"alice", 1, 100).unwrap();
        assert_eq!(put(&mut store, b"bob", 2, 100), Err(Full));
        assert_eq!(put(&mut store, b"alice", 1, 200), Ok(()));
        assert_eq!(store.bindings(b"bob", Instant::ZERO).count(), 0);
    }

    #[test]
    fn the_sweep_gives_the_room_back() {
        let mut store = store(1000);
        for name in 0..200u8 {
            put(&mut store, &[name], name, 100).unwrap();
        }
        let (mut swept, mut told) = (0, 0);
        for _ in 0..1000 {
            swept += store.sweep(Instant::from_millis(100), |_, left| told += usize::from(left == 0));
        }
        assert_eq!((swept, told, store.len()), (200, 200, 0));
    }

    proptest! {
        #[test]
        fn behaves_as_a_map_of_lists(steps in prop::collection::vec((0u8..4, 0u8..6, 0u8..3), 0..200)) {
            let mut store = store(64);
            let mut model: std::collections::BTreeMap<u8, Vec<u8>> = std::collections::BTreeMap::new();
            for (aor, name, step) in steps {
                let list = model.entry(aor).or_default();
                if step == 0 {
                    let uri = binding(name, 1).uri;
                    store.remove(&[aor], |old| old.uri == uri);
                    list.retain(|other| *other != name);
                } else {
                    put(&mut store, &[aor], name, 1000).unwrap();
                    if !list.contains(&name) {
                        list.push(name);
                    }
                }
                let held: Vec<_> = store.bindings(&[aor], Instant::ZERO).map(|held| held.uri.clone()).collect();
                let expected: Vec<_> = list.iter().map(|name| binding(*name, 1).uri).collect();
                prop_assert_eq!(held, expected);
            }
            prop_assert_eq!(store.len(), model.values().map(Vec::len).sum::<usize>());
        }
    }
}

//! Connections: framing of what comes in, reuse for what goes out, a bound on how many, an end for the idle.
//!
//! RFC 3261 §18; RFC 5923 for reuse in spirit: a connection that a peer opened serves requests to it as long as it stands.

use crate::base::time::Duration;
use crate::base::{Flow, Instant, ShardId, SocketKey, Source, StreamKey, Transport};
use crate::sip::wire::Framer;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::HashMap;
use std::net::SocketAddr;

/// Messages that wait for one connection to stand.
const WAITING_MAX: usize = 64;

/// One connection.
#[derive(Debug, Serialize, Deserialize)]
pub struct Stream {
    /// How messages that come by it are answered.
    pub flow: Flow,
    /// What has come and is not a whole message yet.
    pub framer: Framer,
    /// Not connected yet: what waits.
    waiting: Option<Vec<Bytes>>,
    used: Instant,
}

/// All connections of a shard.
#[derive(Debug)]
pub struct Streams {
    by_key: HashMap<StreamKey, Stream>,
    opened: HashMap<(Transport, SocketAddr), StreamKey>,
    next: u64,
    bound: usize,
}

/// How octets for a peer go out.
#[derive(Debug, PartialEq, Eq)]
pub enum Way {
    /// By this connection.
    Send(StreamKey, Bytes),
    /// They wait; this connection is to be opened first.
    Connect(StreamKey, SocketAddr),
    /// They wait for a connection that is being opened.
    Waits,
    /// Not at all.
    Nowhere,
}

/// Connections by their names.
#[derive(Serialize, Deserialize)]
struct Frozen<S, O> {
    by_key: S,
    opened: O,
    next: u64,
}

impl Serialize for Streams {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { by_key, opened, next, .. } = self;
        let (by_key, opened): (Vec<_>, Vec<_>) = (by_key.iter().collect(), opened.iter().collect());
        Frozen { by_key, opened, next: *next }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Streams {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let frozen = Frozen::<Vec<(StreamKey, Stream)>, Vec<_>>::deserialize(deserializer)?;
        let (by_key, opened): (HashMap<_, _>, _) =
            (frozen.by_key.into_iter().collect(), frozen.opened.into_iter().collect());
        Ok(Self { bound: by_key.len(), by_key, opened, next: frozen.next })
    }
}

impl Streams {
    /// Goes on with the connections of another life; the bound stays ours.
    pub fn thaw(&mut self, frozen: Self) {
        *self = Self { bound: self.bound, ..frozen };
    }

    /// At most `bound` connections.
    #[must_use]
    pub fn new(bound: usize) -> Self {
        Self { by_key: HashMap::new(), opened: HashMap::new(), next: 0, bound }
    }

    /// A peer connected; false when there is no room and the connection is to be closed.
    pub fn accept(
        &mut self,
        now: Instant,
        stream: StreamKey,
        shard: ShardId,
        listener: SocketKey,
        remote: SocketAddr,
    ) -> bool {
        if self.by_key.len() >= self.bound {
            return false;
        }
        let flow = Flow { transport: Transport::Tcp, shard, socket: listener, stream: Some(stream), remote };
        self.by_key.insert(stream, Stream { flow, framer: Framer::new(), waiting: None, used: now });
        true
    }

    /// A connection of ours stands: what waited for it.
    pub fn connected(&mut self, stream: StreamKey) -> Vec<Bytes> {
        self.by_key.get_mut(&stream).and_then(|stream| stream.waiting.take()).unwrap_or_default()
    }

    /// The connection, marked as used.
    pub fn touch(&mut self, now: Instant, stream: StreamKey) -> Option<&mut Stream> {
        let stream = self.by_key.get_mut(&stream)?;
        stream.used = now;
        Some(stream)
    }

    /// Forgets a connection; its flows are broken: the one it was, and the one by which it was asked for.
    pub fn remove(&mut self, stream: StreamKey) -> Option<Flow> {
        let gone = self.by_key.remove(&stream)?;
        let place = (gone.flow.transport, gone.flow.remote);
        if self.opened.get(&place) == Some(&stream) {
            self.opened.remove(&place);
        }
        Some(gone.flow)
    }

    /// How octets go along a flow of this shard.
    pub fn way(&mut self, now: Instant, flow: &Flow, bytes: Bytes) -> Way {
        let key = flow.stream.or_else(|| self.opened.get(&(flow.transport, flow.remote)).copied());
        if let Some(key) = key {
            let Some(stream) = self.by_key.get_mut(&key) else { return Way::Nowhere };
            stream.used = now;
            return match &mut stream.waiting {
                None => Way::Send(key, bytes),
                Some(waiting) if waiting.len() < WAITING_MAX => {
                    waiting.push(bytes);
                    Way::Waits
                }
                Some(_) => Way::Nowhere,
            };
        }
        if flow.transport != Transport::Tcp || self.by_key.len() >= self.bound {
            return Way::Nowhere;
        }
        let key = StreamKey(self.next);
        self.next += 1;
        self.opened.insert((flow.transport, flow.remote), key);
        let stream = Stream {
            flow: Flow { stream: Some(key), ..*flow },
            framer: Framer::new(),
            waiting: Some(vec![bytes]),
            used: now,
        };
        self.by_key.insert(key, stream);
        Way::Connect(key, flow.remote)
    }

    /// Connections to and from a source.
    #[must_use]
    pub fn of(&self, source: Source) -> Vec<StreamKey> {
        let is_its = |stream: &Stream| Source::of(stream.flow.remote.ip()) == source;
        let mut found: Vec<_> = self.by_key.iter().filter(|(_, stream)| is_its(stream)).map(|(key, _)| *key).collect();
        found.sort_unstable();
        found
    }

    /// Connections that nobody has used for `idle`.
    #[must_use]
    pub fn idle(&self, now: Instant, idle: Duration) -> Vec<StreamKey> {
        self.by_key.iter().filter(|(_, stream)| now.since(stream.used) >= idle).map(|(key, _)| *key).collect()
    }

    /// Connections.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// True when there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(stream: Option<StreamKey>) -> Flow {
        let remote = "192.0.2.1:5060".parse().unwrap();
        Flow { transport: Transport::Tcp, shard: ShardId(0), socket: SocketKey(0), stream, remote }
    }

    #[test]
    fn what_waits_for_a_connection_goes_out_in_order() {
        let mut streams = Streams::new(4);
        let now = Instant::ZERO;
        let way = streams.way(now, &flow(None), Bytes::from_static(b"1"));
        let Way::Connect(key, _) = way else { panic!("{way:?}") };
        assert_eq!(streams.way(now, &flow(None), Bytes::from_static(b"2")), Way::Waits);
        assert_eq!(streams.connected(key), [&b"1"[..], b"2"]);
        assert_eq!(streams.way(now, &flow(None), Bytes::from_static(b"3")), Way::Send(key, Bytes::from_static(b"3")));
        assert_eq!(streams.remove(key), Some(flow(Some(key))));
        assert_eq!(streams.way(now, &flow(Some(key)), Bytes::new()), Way::Nowhere);
    }

    #[test]
    fn no_room_no_connection() {
        let mut streams = Streams::new(1);
        let key = StreamKey(StreamKey::ACCEPTED);
        let remote = "192.0.2.1:5061".parse().unwrap();
        assert!(streams.accept(Instant::ZERO, key, ShardId(0), SocketKey(1), remote));
        assert!(!streams.accept(Instant::ZERO, StreamKey(key.0 + 1), ShardId(0), SocketKey(1), remote));
        assert_eq!(streams.way(Instant::ZERO, &flow(None), Bytes::new()), Way::Nowhere);
        assert_eq!(streams.idle(Instant::from_millis(10), Duration::from_millis(10)), [key]);
    }
}

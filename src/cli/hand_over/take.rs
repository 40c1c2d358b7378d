//! The side of the new process: it makes itself ready, asks, thaws, and says so.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Read};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use serde_json::{Value, json};

use super::ground::ground;
use super::{FORMAT, ShardSnapshot, Snapshot, WORD_WAIT, wire};
use crate::base::{Instant, StreamKey};
use crate::cli::fast_path::Wish;
use crate::cli::fault::Fault;
use crate::cli::sites;
use crate::config::Config;
use crate::control::Totals;
use crate::control::links::Packed;
use crate::io::{Released, ReleasedSocket, ReleasedStream, StreamState};
use crate::shard::{Frozen, Mail};
use crate::xdp::Left;
use crate::xdp::hops::Neighbour;

/// Larger than any appliance: a bound for memory.
const SNAPSHOT_BYTES_MAX: usize = 4 << 30;
const DESCRIPTORS_MAX: usize = 1 << 20;

/// A running process that is willing to hand over. It goes on as before until [`take`](Self::take), and if this ends.
#[derive(Debug)]
pub struct Conversation {
    stream: UnixStream,
    /// Where its clock begins.
    pub origin: Duration,
    /// It takes no new calls.
    pub draining: bool,
    below: Option<Left>,
    wish: Wish,
}

/// What one shard goes on from.
#[derive(Debug)]
pub struct TakenShard {
    /// What it knows.
    pub frozen: Frozen,
    /// Letters that wait for it.
    pub mail: Vec<Mail>,
    /// Its connections whose peer sends no more.
    pub lingering: Vec<(Instant, StreamKey)>,
    /// Its sockets.
    pub released: Released,
    /// What it had counted.
    pub counts: BTreeMap<String, u64>,
}

/// Everything.
#[derive(Debug)]
pub struct Taken {
    stream: UnixStream,
    /// The doors of the control plane.
    pub http: TcpListener,
    /// Likewise.
    pub unix: UnixListener,
    /// One for each shard.
    pub shards: Vec<TakenShard>,
    /// When the pause began.
    pub paused: Instant,
    /// Whose the next hops of the relay in the kernel are, where we go on with it.
    pub neighbours: Vec<Neighbour>,
    /// What the control plane had counted.
    pub totals: Totals,
    /// The links to other sites, where there are any.
    pub links: Option<Packed>,
}

impl Conversation {
    /// Finds the running process and asks whether it may be taken over.
    ///
    /// # Errors
    /// There is none, or it refuses: its sentence.
    pub fn begin(config: &Config) -> Result<Self, Fault> {
        let path = &config.control.socket;
        let stream = UnixStream::connect(path).map_err(|error| {
            Fault::runtime(format!(
                "no running strowger answers at {} ({error}): there is nothing to take over; start without --take-over",
                path.display()
            ))
        })?;
        let timeouts =
            stream.set_read_timeout(Some(WORD_WAIT)).and_then(|()| stream.set_write_timeout(Some(WORD_WAIT)));
        timeouts.map_err(|error| lost(&error))?;
        let ground: BTreeMap<_, _> = ground(config);
        let version = env!("CARGO_PKG_VERSION");
        let asked =
            json!({ "command": "take_over", "format": FORMAT, "version": version, "ground": ground, "below": true });
        wire::write_line(&stream, &asked).map_err(|error| lost(&error))?;
        let word = heard(&stream)?;
        if sites::link(config).is_some() != (word["linked"] == true) {
            let _ = wire::write_line(&stream, &json!({ "error": sites::OTHERWISE_LINKED }));
            return Err(Fault::runtime(format!("not taken over: {}", sites::OTHERWISE_LINKED)));
        }
        let origin =
            word["origin_ns"].as_u64().ok_or_else(|| Fault::runtime("it does not say where its clock begins"))?;
        let below = below(&stream, &word)?;
        let origin = Duration::from_nanos(origin);
        Ok(Self { stream, origin, draining: word["draining"] == true, below, wish: Wish::End })
    }

    /// The relay in the kernel that it would leave, once.
    pub fn below(&mut self) -> Option<Left> {
        self.below.take()
    }

    /// What becomes of that.
    pub fn wish(&mut self, wish: Wish) {
        self.wish = wish;
    }

    /// Begins the pause and takes everything.
    ///
    /// # Errors
    /// It refuses, or what it sends cannot be understood; it goes on then.
    pub fn take(self) -> Result<Taken, Fault> {
        let stream = self.stream;
        wire::write_line(&stream, &json!({ "freeze": true, "below": self.wish })).map_err(|error| lost(&error))?;
        let head = heard(&stream)?;
        let number = |key: &str, most: usize| {
            let number = head[key].as_u64().and_then(|number| usize::try_from(number).ok());
            number.filter(|number| *number <= most).ok_or_else(|| Fault::runtime(format!("odd {key}: {}", head[key])))
        };
        let (length, count) = (number("bytes", SNAPSHOT_BYTES_MAX)?, number("descriptors", DESCRIPTORS_MAX)?);
        let mut bytes = vec![0; length];
        { &stream }.read_exact(&mut bytes).map_err(|error| lost(&error))?;
        let descriptors = wire::receive_descriptors(&stream, count).map_err(|error| lost(&error))?;
        understand(&stream, &bytes, descriptors).map_err(|why| {
            let why = format!("the snapshot cannot be understood: {why}; drain and restart instead");
            let _ = wire::write_line(&stream, &json!({ "error": why }));
            Fault::runtime(why)
        })
    }
}

impl Taken {
    /// Says that all of it is thawed and adopted, waits for the word, and says that it runs: from then on it is ours. To be
    /// called last of what may fail.
    ///
    /// # Errors
    /// The word does not come: the old process goes on.
    pub fn commit(&self) -> Result<(), Fault> {
        let ready = json!({ "ready": true, "pid": std::process::id(), "tells": true });
        wire::write_line(&self.stream, &ready).map_err(|error| lost(&error))?;
        let word = wire::read_line(&self.stream).map_err(|error| lost(&error))?;
        if word["go"] != true {
            return Err(Fault::runtime(refusal(&word)));
        }
        match wire::write_line(&self.stream, &json!({ "runs": true })) {
            // Whoever does not listen is of an earlier version, or has just died: it is ours all the same.
            Err(error) if !wire::is_end(error.kind()) => Err(lost(&error)),
            _ => Ok(()),
        }
    }

    /// Says why not; the old process goes on.
    pub fn decline(&self, why: &str) {
        let _ = wire::write_line(&self.stream, &json!({ "error": why }));
    }
}

/// What the running process says of its relay in the kernel, with its descriptors.
fn below(stream: &UnixStream, word: &Value) -> Result<Option<Left>, Fault> {
    let Some(inventory) = word.get("below") else { return Ok(None) };
    let count = word["descriptors"].as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
    let count = count.min(DESCRIPTORS_MAX);
    let descriptors = wire::receive_descriptors(stream, count).map_err(|error| lost(&error))?;
    match serde_json::from_value(inventory.clone()) {
        Ok(inventory) => Ok(Some(Left { inventory, descriptors })),
        Err(error) => {
            tracing::warn!(%error, "what the running process says of its fast path cannot be understood");
            Ok(None)
        }
    }
}

fn understand(stream: &UnixStream, bytes: &[u8], descriptors: Vec<OwnedFd>) -> Result<Taken, String> {
    let snapshot: Snapshot<Mail> = rmp_serde::from_slice(bytes).map_err(|error| error.to_string())?;
    if snapshot.letters_left > 0 {
        tracing::info!(
            letters = snapshot.letters_left,
            "letters that only the process before can answer for were not taken along"
        );
    }
    let mut descriptors = descriptors.into_iter();
    let mut next = || descriptors.next().ok_or("a descriptor is missing");
    let (http, unix) = (TcpListener::from(next()?), UnixListener::from(next()?));
    let links = match snapshot.links {
        Some(frozen) => Some(Packed { frozen, descriptors: [next()?, next()?, next()?] }),
        None => None,
    };
    let mut shards = Vec::with_capacity(snapshot.shards.len());
    let Snapshot { shards: frozen, paused, neighbours, totals, .. } = snapshot;
    for shard in frozen {
        let ShardSnapshot { frozen, mail, lingering, sockets, streams, accepted, counts } = shard;
        let frozen = Frozen::read(&frozen)?;
        let mut released = Released { accepted, ..Released::default() };
        for socket in sockets {
            released.sockets.push(ReleasedSocket { key: socket.key, role: socket.role(), descriptor: next()? });
        }
        for stream in streams {
            let state = StreamState {
                connecting: stream.connecting,
                closing: stream.closing,
                finished_reading: stream.finished_reading,
            };
            let (key, unsent) = (stream.key, stream.unsent);
            released.streams.push(ReleasedStream { key, state, unsent, descriptor: next()? });
        }
        shards.push(TakenShard { frozen, mail, lingering, released, counts });
    }
    let stream = stream.try_clone().map_err(|error| error.to_string())?;
    Ok(Taken { stream, http, unix, shards, paused, neighbours, totals, links })
}

fn heard(stream: &UnixStream) -> Result<Value, Fault> {
    let word = wire::read_line(stream).map_err(|error| lost(&error))?;
    if word["ok"] == true { Ok(word) } else { Err(Fault::runtime(refusal(&word))) }
}

fn refusal(word: &Value) -> String {
    format!("not taken over: {}", word["error"].as_str().unwrap_or("the running process did not say why"))
}

fn lost(error: &Error) -> Fault {
    let what = match error.kind() {
        ErrorKind::UnexpectedEof => "the running process broke off".to_owned(),
        _ => format!("the running process does not answer: {error}"),
    };
    Fault::runtime(format!("not taken over: {what}"))
}

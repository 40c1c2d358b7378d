//! The TCP connections of a station, by key: what each is for, whether it is up, and what has come on it that is no whole
//! message yet.

use std::collections::HashMap;

use strowger::base::StreamKey;

use crate::core::Output;
use crate::core::outbox::Outbox;
use crate::core::stream::{Broken, Frame, Framer};

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// The calling side's, by its number.
    Line(usize),
    /// The target's, opened to our listener.
    Answering,
    /// The answering side's own registration.
    Registration,
}

pub(super) struct Connection {
    pub(super) used: Use,
    pub(super) connected: bool,
    framer: Framer,
}

#[derive(Default)]
pub(super) struct Connections {
    all: HashMap<StreamKey, Connection>,
    /// How many keys of our own have been given out.
    opened: u64,
}

impl Connections {
    /// Asks for a new one.
    pub(super) fn open(&mut self, used: Use, outbox: &mut Outbox) -> StreamKey {
        let stream = StreamKey(self.opened);
        self.opened += 1;
        self.add(stream, used, false);
        outbox.push(Output::Connect(stream));
        stream
    }

    /// A peer's to our listener.
    pub(super) fn accept(&mut self, stream: StreamKey) {
        self.add(stream, Use::Answering, true);
    }

    fn add(&mut self, stream: StreamKey, used: Use, connected: bool) {
        self.all.insert(stream, Connection { used, connected, framer: Framer::default() });
    }

    pub(super) fn are_up(&self) -> bool {
        self.all.values().all(|connection| connection.connected)
    }

    /// One of ours is up; what it is for.
    pub(super) fn set_up(&mut self, stream: StreamKey) -> Option<Use> {
        let connection = self.all.get_mut(&stream)?;
        connection.connected = true;
        Some(connection.used)
    }

    /// Keeps what came; what the connection is for.
    pub(super) fn push(&mut self, stream: StreamKey, bytes: &[u8]) -> Option<Use> {
        let connection = self.all.get_mut(&stream)?;
        connection.framer.push(bytes);
        Some(connection.used)
    }

    /// The next that is whole; none of a connection that is gone.
    pub(super) fn next_frame(&mut self, stream: StreamKey) -> Result<Option<Frame>, Broken> {
        self.all.get_mut(&stream).map_or(Ok(None), |connection| connection.framer.next_frame())
    }

    pub(super) fn remove(&mut self, stream: StreamKey) -> Option<Connection> {
        self.all.remove(&stream)
    }
}

//! What an appliance needs before its first thread: folders, the fast path while there are capabilities, the doors of the
//! control plane, or the process that will give its own.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use crate::base::Transport;
use crate::cli::client::is_running;
use crate::cli::fast_path::{self, Below};
use crate::cli::fault::{Fault, bind, path};
use crate::cli::hand_over::Conversation;
use crate::cli::privileges;
use crate::config::{Backend, Config, Listen};
use crate::control::socket;
use crate::control::token::{self, Bearer, Token};
use crate::io::{self, Choice, limits};
use crate::worker;

/// What is there before the first thread.
pub(super) struct Ground {
    pub(super) before: Before,
    pub(super) below: Below,
    pub(super) choice: Choice,
    pub(super) clock: worker::Clock,
}

/// Does what takes capabilities, gives most of them away, and finds out what is in the way.
pub(super) fn prepare(config: &Config, take_over: bool) -> Result<Ground, Fault> {
    if let Err(error) = limits::raise_descriptors() {
        tracing::warn!(%error, "the limit of descriptors could not be raised");
    }
    folder(config)?;
    let mut before = Before::new(config, take_over)?;
    let below = match &mut before {
        Before::Nothing(_) => fast_path::start(config)?,
        Before::Running(conversation) => {
            let (below, wish) = fast_path::take_over(config, conversation.below())?;
            conversation.wish(wish);
            below
        }
    };
    privileges::keep_for_sockets();
    let choice = choose(config.shards.backend)?;
    let clock = before.clock(config)?;
    Ok(Ground { before, below, choice, clock })
}

fn folder(config: &Config) -> Result<(), Fault> {
    let dir = &config.node.data_dir;
    DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(dir)
        .map_err(|error| Fault::runtime(path(&error, "make", dir, "node.data_dir")))?;
    let file = &config.control.admin_token_file;
    let token =
        token::ensure(file).map_err(|error| Fault::runtime(path(&error, "make", file, "control.admin_token_file")))?;
    match token {
        Token::Made => tracing::info!(file = %file.display(), "made the admin token"),
        Token::Exposed => {
            tracing::warn!(file = %file.display(), "the admin token can be read by others: `chmod 600` it");
        }
        Token::Found => {}
    }
    Ok(())
}

pub(super) fn bearer(config: &Config) -> Result<Bearer, Fault> {
    let file = &config.control.admin_token_file;
    Bearer::load(file).map_err(|error| Fault::runtime(path(&error, "read", file, "control.admin_token_file")))
}

/// HTTP and the Unix socket.
fn doors(config: &Config) -> Result<(TcpListener, UnixListener), Fault> {
    if is_running(&config.control.socket) {
        let socket = config.control.socket.display();
        return Err(Fault::runtime(format!(
            "a strowger runs already with this configuration: it answers at {socket}.\n  Stop it, or give this one its own `node.data_dir`, ports and `control.listen`"
        )));
    }
    let http = TcpListener::bind(config.control.listen)
        .map_err(|error| Fault::runtime(bind(&error, config.control.listen, false, "control.listen")))?;
    let unix = socket::bind(&config.control.socket)
        .map_err(|error| Fault::runtime(path(&error, "listen on", &config.control.socket, "control.socket")))?;
    Ok((http, unix))
}

fn choose(backend: Backend) -> Result<Choice, Fault> {
    let wanted = match backend {
        Backend::Auto => io::Backend::Auto,
        Backend::IoUring => io::Backend::IoUring,
        Backend::Epoll => io::Backend::Epoll,
    };
    Choice::new(wanted).map_err(|why| Fault::runtime(format!("{why}; or use shards.backend = \"auto\"")))
}

/// How long a port in use may still belong to one who has just ended: the kernel takes io_uring apart after the process.
const PORT_WAIT: Duration = Duration::from_secs(2);

/// The shards share their ports, and so might a stranger of the same user without anybody noticing: each address must be
/// free for one socket that does not share.
fn listenable(listen: &[Listen]) -> Result<(), Fault> {
    let deadline = Instant::now() + PORT_WAIT;
    for Listen { address, transport, .. } in listen {
        let udp = *transport == Transport::Udp;
        let bound = || if udp { UdpSocket::bind(address).map(drop) } else { TcpListener::bind(address).map(drop) };
        while let Err(error) = bound() {
            if error.kind() != ErrorKind::AddrInUse || Instant::now() >= deadline {
                return Err(Fault::runtime(bind(&error, *address, udp, "sip.listen.address")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

/// What there is before there are shards.
pub(super) enum Before {
    /// Our own doors.
    Nothing(Doors),
    /// A process that will give us its.
    Running(Conversation),
}

/// HTTP and the Unix socket.
pub(super) type Doors = (TcpListener, UnixListener);

impl Before {
    fn new(config: &Config, take_over: bool) -> Result<Self, Fault> {
        if take_over { Conversation::begin(config).map(Self::Running) } else { doors(config).map(Self::Nothing) }
    }

    fn clock(&self, config: &Config) -> Result<worker::Clock, Fault> {
        match self {
            Self::Running(conversation) => Ok(worker::Clock::at(conversation.origin)),
            Self::Nothing(_) => listenable(&config.sip.listen).map(|()| worker::Clock::new(Instant::now())),
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        matches!(self, Self::Running(Conversation { draining: true, .. }))
    }
}

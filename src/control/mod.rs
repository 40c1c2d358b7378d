//! The control plane: metrics, health, the Unix socket, the log and the record writer. It never calls a shard: it posts
//! letters and reads cells, on threads of its own, and may be slow or fail while calls go on.

mod api;
pub mod clock;
mod http;
pub mod limits;
pub mod links;
mod listener;
pub mod log;
pub mod metrics;
mod page;
mod record_line;
pub mod records;
pub mod show;
pub mod socket;
pub mod state;
pub mod token;

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::thread::JoinHandle;

pub use clock::Clock;
use crossbeam::channel::Sender;
pub use log::LogSettings;
pub use records::RecordStatus;
pub use state::{Post, Request, State, Totals};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The running control plane.
#[derive(Debug)]
pub struct Control {
    thread: JoinHandle<()>,
    stop: tokio::sync::oneshot::Sender<()>,
}

impl Control {
    /// Ends it: answers that are being written get a moment.
    pub fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

/// How long answers that wait for shards may hold up the end.
const END_WAIT: std::time::Duration = std::time::Duration::from_millis(500);

/// Starts the thread that serves HTTP and the Unix socket and hears signals.
///
/// # Errors
/// No thread or no runtime could be made.
pub fn start(http: TcpListener, unix: UnixListener, state: Arc<State>) -> io::Result<Control> {
    http.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(8).build()?;
    let (http, unix) = {
        let _inside = runtime.enter();
        (tokio::net::TcpListener::from_std(http)?, tokio::net::UnixListener::from_std(unix)?)
    };
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("control".into()).spawn(move || {
        runtime.block_on(async move {
            let served = http::serve(listener::Bounded::new(http), Arc::clone(&state));
            let commanded = socket::serve(unix, Arc::clone(&state));
            let everything = async { tokio::join!(served, commanded) };
            tokio::select! {
                _ = everything => {}
                _ = stopped => {}
            }
        });
        runtime.shutdown_timeout(END_WAIT);
    })?;
    Ok(Control { thread, stop })
}

/// Hears signals from now on, on a thread of its own.
///
/// # Errors
/// No thread or no runtime could be made.
pub fn hear_signals(requests: Sender<Request>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let heard = {
        let _inside = runtime.enter();
        [
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
            signal(SignalKind::user_defined2())?,
        ]
    };
    std::thread::Builder::new().name("signals".into()).spawn(move || runtime.block_on(signals(heard, &requests)))?;
    Ok(())
}

/// SIGTERM and SIGINT end, SIGHUP reloads, SIGUSR2 upgrades.
async fn signals([mut terminate, mut interrupt, mut hangup, mut upgrade]: [Signal; 4], requests: &Sender<Request>) {
    loop {
        let request = tokio::select! {
            _ = terminate.recv() => Request::Terminate,
            _ = interrupt.recv() => Request::Terminate,
            _ = upgrade.recv() => Request::Upgrade,
            _ = hangup.recv() => Request::Reload(crossbeam::channel::bounded(1).0),
        };
        if requests.try_send(request).is_err() {
            tracing::error!("the supervisor is busy: a signal was not heard");
        }
    }
}

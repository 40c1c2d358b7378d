//! The control plane: metrics, health, the Unix socket, the log and the record writer. It never calls a shard: it posts
//! letters and reads cells, on threads of its own, and may be slow or fail while calls go on.

pub mod clock;
mod http;
mod listener;
pub mod log;
pub mod metrics;
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
pub use log::LogSettings;
pub use records::RecordStatus;
pub use state::{Post, Request, State};
use tokio::signal::unix::{SignalKind, signal};

/// Starts the thread that serves HTTP and the Unix socket and hears signals. It runs until the process ends.
///
/// # Errors
/// No thread or no runtime could be made.
pub fn start(http: TcpListener, unix: UnixListener, state: Arc<State>) -> io::Result<JoinHandle<()>> {
    http.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(8).build()?;
    let (http, unix) = {
        let _inside = runtime.enter();
        (tokio::net::TcpListener::from_std(http)?, tokio::net::UnixListener::from_std(unix)?)
    };
    std::thread::Builder::new().name("control".into()).spawn(move || {
        runtime.block_on(async move {
            let served = http::serve(listener::Bounded::new(http), Arc::clone(&state));
            let commanded = socket::serve(unix, Arc::clone(&state));
            tokio::join!(served, commanded, signals(&state));
        });
    })
}

/// SIGTERM and SIGINT end, SIGHUP reloads.
async fn signals(state: &State) {
    let kinds = (SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup());
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) = (signal(kinds.0), signal(kinds.1), signal(kinds.2))
    else {
        tracing::error!("signals cannot be heard");
        return;
    };
    loop {
        let request = tokio::select! {
            _ = terminate.recv() => Request::Terminate,
            _ = interrupt.recv() => Request::Terminate,
            _ = hangup.recv() => Request::Reload(crossbeam::channel::bounded(1).0),
        };
        if state.requests.try_send(request).is_err() {
            tracing::error!("the supervisor is busy: a signal was not heard");
        }
    }
}

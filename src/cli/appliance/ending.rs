//! How an appliance ends: by giving everything to another process, or by ending what is left.

use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::Appliance;
use crate::cli::fast_path::Below;
use crate::cli::hand_over::Standing;
use crate::shard::mailbox::Mail;

/// How long a stopping shard gets: it says goodbye to its calls for at most two seconds.
const STOP_WAIT: Duration = Duration::from_secs(10);

impl Appliance {
    /// Hands everything over to another process; [`leave`](Self::leave) must follow.
    ///
    /// # Errors
    /// Why not: everything goes on here.
    pub fn give(&self, stream: &UnixStream, asked: &serde_json::Value, busy: Option<&str>) -> Result<i32, String> {
        let draining = self.state.draining.load(Relaxed);
        let xdp = self.below.as_ref().and_then(Below::xdp);
        let (links, totals) = (self.links.as_ref(), &|| self.state.totals_to_hand_on());
        self.giver.give(stream, asked, Standing { config: &self.started, draining, busy, xdp, links, totals })
    }

    /// Ends after everything was handed over: nothing is hung up, and the last records are written. True when everything
    /// ended well.
    pub fn leave(&mut self) -> bool {
        // Its ports are the other's now: nothing of ours may stand before them, but what it went on with.
        self.below = None;
        let mut good = true;
        for thread in self.shards.drain(..) {
            good &= matches!(thread.join(), Ok(Ok(())));
        }
        if let Some(links) = self.links.take() {
            good &= links.leave();
        }
        if let Some(control) = self.control.take() {
            control.stop();
        }
        self.sinks.drain(..).for_each(|thread| good &= thread.join().is_ok());
        good && self.state.records.lost.load(Relaxed) == 0
    }

    /// Ends what is left and waits for the last record. True when everything ended well.
    pub fn stop(&mut self) -> bool {
        self.state.draining.store(true, Relaxed);
        self.post_all(|| Mail::Stop);
        let deadline = Instant::now() + STOP_WAIT;
        let mut good = true;
        for (shard, thread) in self.shards.drain(..).enumerate() {
            while !thread.is_finished() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(2));
            }
            if !thread.is_finished() {
                tracing::error!(shard, "a shard does not end");
                good = false;
                continue;
            }
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::error!(shard, %error, "a shard's driver failed");
                    good = false;
                }
                Err(_) => {
                    tracing::error!(shard, "a shard panicked");
                    good = false;
                }
            }
        }
        // A shard that hangs holds its end of the notes; the keeper would never end.
        if let Some(links) = self.links.take().filter(|_| good) {
            good = links.stop();
        }
        if let Some(control) = self.control.take() {
            control.stop();
            let _ = std::fs::remove_file(&self.started.control.socket);
        }
        // A shard that hangs holds its senders; the sinks would never end.
        if good {
            self.sinks.drain(..).for_each(|thread| good &= thread.join().is_ok());
        }
        good && self.state.records.lost.load(Relaxed) == 0
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        if self.control.is_some() {
            let _ = self.stop();
        }
    }
}

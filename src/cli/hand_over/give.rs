//! The side of the process that runs: it stops its shards, gives everything away, and takes it back if the other fails.

use std::io::Write;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::ground::misfit;
use super::{READY_WAIT, STOP_WAIT, ShardSnapshot, Snapshot, WORD_WAIT, wire};
use crate::base::{Instant, ShardId};
use crate::cli::fast_path::Wish;
use crate::config::Config;
use crate::control::Totals;
use crate::control::links::{Links, Packed, Resting};
use crate::shard::{Mail, Waiting};
use crate::worker::{Barrier, Clock, Parcel, Post};
use crate::xdp::Xdp;
use crate::xdp::hops::Neighbour;

/// What a process needs in order to give itself away.
#[derive(Debug)]
pub struct Giver {
    /// Stops the shards.
    pub barrier: Barrier,
    /// Their letters.
    pub post: Arc<Post>,
    /// Their clock.
    pub clock: Clock,
    /// The doors of the control plane.
    pub http: TcpListener,
    /// Likewise.
    pub unix: UnixListener,
}

/// What a process has and how it is.
#[derive(Clone, Copy)]
pub struct Standing<'a> {
    /// The configuration that it was started with.
    pub config: &'a Config,
    /// It takes no new calls.
    pub draining: bool,
    /// Why now is no time for it.
    pub busy: Option<&'a str>,
    /// The relay in the kernel.
    pub xdp: Option<&'a Xdp>,
    /// The links to other sites.
    pub links: Option<&'a Links>,
    /// What the control plane has counted; asked when all shards stand still.
    pub totals: &'a dyn Fn() -> Totals,
}

/// What ended.
struct Handed {
    pid: i32,
    pause: Duration,
    /// Until all shards stood still.
    still: Duration,
    /// Until everything had been written down and sent.
    sent: Duration,
    bytes: usize,
    descriptors: usize,
}

/// What went.
struct Sent {
    pid: i32,
    at: Instant,
    bytes: usize,
    descriptors: usize,
    /// The new process says when it runs.
    tells: bool,
}

/// What goes, once everything stands still.
struct Load<'a> {
    parcels: &'a [Parcel],
    letters: &'a [(ShardId, Mail)],
    paused: Instant,
    neighbours: Vec<Neighbour>,
    totals: Totals,
    links: Option<Packed>,
}

impl Giver {
    /// HTTP and the Unix socket, for the control plane.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn doors(&self) -> std::io::Result<(TcpListener, UnixListener)> {
        Ok((self.http.try_clone()?, self.unix.try_clone()?))
    }

    /// The whole conversation. Gives the new process's number once it has taken over: then every shard has left, and nothing
    /// that it went on with ends with us. Else everything goes on as before.
    ///
    /// # Errors
    /// Why not, in a sentence, which the other side has heard if it still listens.
    pub fn give(&self, stream: &UnixStream, asked: &Value, standing: Standing<'_>) -> Result<i32, String> {
        let timeouts =
            stream.set_write_timeout(Some(WORD_WAIT)).and_then(|()| stream.set_read_timeout(Some(READY_WAIT)));
        timeouts.map_err(|error| error.to_string())?;
        let refusal = standing.busy.map(str::to_owned).or_else(|| misfit(asked, standing.config));
        if let Some(why) = refusal {
            let _ = wire::write_line(stream, &json!({ "ok": false, "error": why }));
            return Err(why);
        }
        let origin = u64::try_from(self.clock.origin().as_nanos()).unwrap_or(u64::MAX);
        let linked = standing.links.is_some();
        let mut welcome = json!({ "ok": true, "origin_ns": origin, "draining": standing.draining, "linked": linked });
        let xdp = standing.xdp.filter(|_| asked["below"] == true);
        let descriptors = xdp.map(Xdp::descriptors).unwrap_or_default();
        if let Some(xdp) = xdp {
            welcome["below"] = serde_json::to_value(xdp.inventory()).map_err(|error| error.to_string())?;
            welcome["descriptors"] = descriptors.len().into();
        }
        wire::write_line(stream, &welcome).map_err(lost)?;
        wire::send_descriptors(stream, &descriptors).map_err(lost)?;
        let word = wire::read_line(stream).map_err(lost)?;
        if word["freeze"] != true {
            return Err(format!(
                "the new process did not go on: {}",
                word["error"].as_str().unwrap_or("it was silent")
            ));
        }
        let _ = stream.set_read_timeout(Some(WORD_WAIT));
        let wish = serde_json::from_value(word["below"].clone()).unwrap_or_default();
        let handed = self.hand_over(stream, wish, Standing { xdp, ..standing })?;
        let Handed { pid, pause, still, sent, bytes, descriptors } = handed;
        let millis = |duration: Duration| duration.as_secs_f64() * 1e3;
        let (pause_ms, still_ms, sent_ms) = (pause.as_millis() as u64, millis(still), millis(sent));
        tracing::info!(pid, pause_ms, still_ms, sent_ms, bytes, descriptors, "handed over");
        Ok(pid)
    }

    fn hand_over(&self, stream: &UnixStream, wish: Wish, standing: Standing<'_>) -> Result<Handed, String> {
        let refuse = |why: &String| _ = wire::write_line(stream, &json!({ "ok": false, "error": why }));
        // Peers hear it while calls still flow: that takes as long as the way to them.
        let mut resting = standing.links.map(Links::rest).transpose().inspect_err(refuse)?;
        let paused = self.clock.now();
        let adopted = standing.xdp.filter(|_| wish == Wish::Adopt);
        let waiting = if adopted.is_some() { Waiting::Below } else { Waiting::OnSockets };
        let parcels = self.barrier.stop_all(STOP_WAIT, waiting).inspect_err(refuse)?;
        let still = self.clock.now().since(paused);
        let links = resting.as_mut().map(Resting::freeze).transpose();
        let letters = self.letters();
        let neighbours = adopted.map(Xdp::rest).unwrap_or_default();
        let totals = (standing.totals)();
        let sent = links
            .and_then(|links| {
                let load = Load { parcels: &parcels, letters: &letters, paused, neighbours, totals, links };
                self.send(stream, load)
            })
            .and_then(|sent| match sent.tells {
                true => until_it_runs(stream).map(|()| sent),
                false => Ok(sent),
            });
        drop(parcels);
        match sent {
            Ok(Sent { pid, at, bytes, descriptors, .. }) => {
                if let Some(xdp) = standing.xdp.filter(|_| wish != Wish::End) {
                    xdp.give_away();
                }
                if let Some(resting) = resting {
                    resting.leave();
                }
                self.barrier.leave();
                let (pause, sent) = (self.clock.now().since(paused), at.since(paused));
                Ok(Handed { pid, pause, still, sent, bytes, descriptors })
            }
            Err(why) => {
                if let Some(xdp) = adopted {
                    xdp.go_on();
                }
                drop(resting);
                for (shard, mail) in letters {
                    self.post.post(shard, mail);
                }
                self.barrier.go_on();
                refuse(&why);
                let pause_ms = self.clock.now().since(paused).as_millis() as u64;
                tracing::warn!(%why, pause_ms, "not handed over: everything goes on here");
                Err(why)
            }
        }
    }

    /// What waits for the shards; the keeper writes no more.
    fn letters(&self) -> Vec<(ShardId, Mail)> {
        let of = |shard: ShardId| std::iter::from_fn(move || self.post.take(shard)).map(move |mail| (shard, mail));
        (0..self.post.shards()).map(ShardId).flat_map(of).collect()
    }

    fn send(&self, stream: &UnixStream, load: Load<'_>) -> Result<Sent, String> {
        let Load { parcels, letters, paused, neighbours, totals, links } = load;
        let released: Vec<_> = parcels.iter().map(Parcel::released).collect();
        let shards = parcels.iter().zip(&released).map(|(parcel, released)| ShardSnapshot {
            frozen: parcel.frozen.clone().into(),
            mail: letters
                .iter()
                .filter(|(to, _)| *to == parcel.shard)
                .map(|(_, mail)| mail)
                .filter(|mail| mail.goes_along())
                .collect(),
            lingering: parcel.lingering.clone(),
            sockets: released.sockets.iter().map(Into::into).collect(),
            streams: released.streams.iter().map(Into::into).collect(),
            accepted: released.accepted,
            counts: parcel.counts.clone(),
        });
        let letters_left = letters.iter().filter(|(_, mail)| !mail.goes_along()).count() as u64;
        let (links, of_links) = links.map(|Packed { frozen, descriptors }| (frozen, descriptors)).unzip();
        let snapshot = Snapshot { shards: shards.collect(), paused, letters_left, neighbours, totals, links };
        let bytes = rmp_serde::to_vec_named(&snapshot).map_err(|error| error.to_string())?;
        let mut descriptors = vec![self.http.as_fd(), self.unix.as_fd()];
        descriptors.extend(of_links.iter().flatten().map(AsFd::as_fd));
        for released in &released {
            descriptors.extend(released.sockets.iter().map(|socket| socket.descriptor.as_fd()));
            descriptors.extend(released.streams.iter().map(|stream| stream.descriptor.as_fd()));
        }
        let head = json!({ "ok": true, "bytes": bytes.len(), "descriptors": descriptors.len() });
        wire::write_line(stream, &head).map_err(lost)?;
        { stream }.write_all(&bytes).map_err(lost)?;
        wire::send_descriptors(stream, &descriptors).map_err(lost)?;
        let (at, bytes, descriptors) = (self.clock.now(), bytes.len(), descriptors.len());
        let word = wire::read_line(stream).map_err(lost)?;
        let pid = word["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        match (word["ready"] == true, pid) {
            (true, Some(pid)) => {
                wire::write_line(stream, &json!({ "go": true })).map_err(lost)?;
                Ok(Sent { pid, at, bytes, descriptors, tells: word["tells"] == true })
            }
            _ => Err(word["error"].as_str().unwrap_or("it did not say that it is ready").to_owned()),
        }
    }
}

/// The word is given, and whoever has it runs: only the end of the connection says that it does not.
fn until_it_runs(stream: &UnixStream) -> Result<(), String> {
    match wire::read_line(stream) {
        Err(error) if wire::is_end(error.kind()) => Err(format!("the new process has died before it ran: {error}")),
        _ => Ok(()),
    }
}

fn lost(error: std::io::Error) -> String {
    format!("the new process is gone or silent: {error}")
}

//! The side of the process that runs: it stops its shards, gives everything away, and takes it back if the other fails.

use std::io::Write;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{FORMAT, LINKED, READY_WAIT, STOP_WAIT, ShardSnapshot, Snapshot, WORD_WAIT, ground, wire};
use crate::base::{Instant, ShardId};
use crate::config::Config;
use crate::shard::{FrozenMail, Mail};
use crate::worker::{Barrier, Clock, Parcel, Post};

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

/// What ended.
struct Handed {
    pid: i32,
    pause: Duration,
}

impl Giver {
    /// HTTP and the Unix socket, for the control plane.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn doors(&self) -> std::io::Result<(TcpListener, UnixListener)> {
        Ok((self.http.try_clone()?, self.unix.try_clone()?))
    }

    /// The whole conversation. `busy` says why now is no time for it. Gives the new process's number once it has taken
    /// over: then every shard has left. Else everything goes on as before.
    ///
    /// # Errors
    /// Why not, in a sentence, which the other side has heard if it still listens.
    pub fn give(
        &self,
        stream: &UnixStream,
        asked: &Value,
        config: &Config,
        draining: bool,
        busy: Option<&str>,
    ) -> Result<i32, String> {
        let timeouts =
            stream.set_write_timeout(Some(WORD_WAIT)).and_then(|()| stream.set_read_timeout(Some(READY_WAIT)));
        timeouts.map_err(|error| error.to_string())?;
        let refusal = busy.map(str::to_owned).or_else(|| misfit(asked, config));
        if let Some(why) = refusal {
            let _ = wire::write_line(stream, &json!({ "ok": false, "error": why }));
            return Err(why);
        }
        let origin = u64::try_from(self.clock.origin().as_nanos()).unwrap_or(u64::MAX);
        wire::write_line(stream, &json!({ "ok": true, "origin_ns": origin, "draining": draining })).map_err(lost)?;
        let word = wire::read_line(stream).map_err(lost)?;
        if word["freeze"] != true {
            return Err(format!(
                "the new process did not go on: {}",
                word["error"].as_str().unwrap_or("it was silent")
            ));
        }
        let _ = stream.set_read_timeout(Some(WORD_WAIT));
        let handed = self.hand_over(stream)?;
        tracing::info!(pid = handed.pid, pause_ms = handed.pause.as_millis() as u64, "handed over");
        Ok(handed.pid)
    }

    fn hand_over(&self, stream: &UnixStream) -> Result<Handed, String> {
        let paused = self.clock.now();
        let parcels = self.barrier.stop_all(STOP_WAIT).inspect_err(|why| {
            let _ = wire::write_line(stream, &json!({ "ok": false, "error": why }));
        })?;
        let mut letters = Vec::new();
        for shard in (0..self.post.shards()).map(ShardId) {
            letters.extend(std::iter::from_fn(|| self.post.take(shard)).map(|mail| (shard, mail)));
        }
        let pid = self.send(stream, &parcels, &letters, paused);
        drop(parcels);
        match pid {
            Ok(pid) => {
                self.barrier.leave();
                Ok(Handed { pid, pause: self.clock.now().since(paused) })
            }
            Err(why) => {
                for (shard, mail) in letters {
                    self.post.post(shard, mail);
                }
                self.barrier.go_on();
                let _ = wire::write_line(stream, &json!({ "ok": false, "error": why }));
                let pause_ms = self.clock.now().since(paused).as_millis() as u64;
                tracing::warn!(%why, pause_ms, "not handed over: everything goes on here");
                Err(why)
            }
        }
    }

    fn send(
        &self,
        stream: &UnixStream,
        parcels: &[Parcel],
        letters: &[(ShardId, Mail)],
        paused: Instant,
    ) -> Result<i32, String> {
        let released: Vec<_> = parcels.iter().map(Parcel::released).collect();
        let shards = parcels.iter().zip(&released).map(|(parcel, released)| ShardSnapshot {
            frozen: parcel.frozen.clone().into(),
            mail: letters
                .iter()
                .filter(|(to, _)| *to == parcel.shard)
                .filter_map(|(_, mail)| FrozenMail::of(mail))
                .collect(),
            lingering: parcel.lingering.clone(),
            sockets: released.sockets.iter().map(Into::into).collect(),
            streams: released.streams.iter().map(Into::into).collect(),
            accepted: released.accepted,
        });
        let letters_left = letters.iter().filter(|(_, mail)| FrozenMail::of(mail).is_none()).count() as u64;
        let snapshot = Snapshot { shards: shards.collect(), paused, letters_left };
        let bytes = rmp_serde::to_vec_named(&snapshot).map_err(|error| error.to_string())?;
        let mut descriptors = vec![self.http.as_fd(), self.unix.as_fd()];
        for released in &released {
            descriptors.extend(released.sockets.iter().map(|socket| socket.descriptor.as_fd()));
            descriptors.extend(released.streams.iter().map(|stream| stream.descriptor.as_fd()));
        }
        let head = json!({ "ok": true, "bytes": bytes.len(), "descriptors": descriptors.len() });
        wire::write_line(stream, &head).map_err(lost)?;
        { stream }.write_all(&bytes).map_err(lost)?;
        wire::send_descriptors(stream, &descriptors).map_err(lost)?;
        let word = wire::read_line(stream).map_err(lost)?;
        let pid = word["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        match (word["ready"] == true, pid) {
            (true, Some(pid)) => wire::write_line(stream, &json!({ "go": true })).map(|()| pid).map_err(lost),
            _ => Err(word["error"].as_str().unwrap_or("it did not say that it is ready").to_owned()),
        }
    }
}

fn lost(error: std::io::Error) -> String {
    format!("the new process is gone or silent: {error}")
}

/// Why the two do not go together.
fn misfit(asked: &Value, config: &Config) -> Option<String> {
    if asked["format"] != FORMAT {
        let (theirs, version) = (&asked["format"], asked["version"].as_str().unwrap_or("of an unknown version"));
        return Some(format!(
            "strowger {version} reads snapshots of format {theirs}, this one ({}) writes format {FORMAT}: drain and restart",
            env!("CARGO_PKG_VERSION")
        ));
    }
    if config.link.is_some() {
        return Some(LINKED.to_owned());
    }
    let differs = |(name, ours): &(&str, String)| asked["ground"][*name].as_str() != Some(ours.as_str());
    ground(config).into_iter().find(differs).map(|(name, ours)| {
        let theirs = asked["ground"][name].as_str().unwrap_or("not said");
        format!("{name} is {ours} in the running process and {theirs} in the new one's configuration: it cannot change while calls are up; set it back, or drain and restart")
    })
}

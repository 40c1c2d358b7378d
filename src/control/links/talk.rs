//! One connection: who greets whom, and frames on one stream each way.
//!
//! Owned by the links. The dialler opens the stream and greets first. Each side checks that the name in the greeting is a
//! configured peer's and the certificate's, and that there is a version that both speak, before the keeper hears of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use quinn::{Connection, ConnectionError, Endpoint, RecvStream, SendStream, VarInt};
use rustls::pki_types::CertificateDer;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::calendar_ms;
use super::end::End;
use super::inbox::{Input, Line, Newcomer};
use super::status::{LinkStatus, Reason};
use super::tls::carries;
use crate::control::Clock;
use crate::tally::Identity;
use crate::tally::wire::{self, Bye, FRAME_BYTES_MAX, Frame, Hello};

/// How long the other side has to greet, and to read our last word.
const GREETING_WAIT: Duration = Duration::from_secs(5);
const FAREWELL_WAIT: Duration = Duration::from_millis(500);
/// Most octets read at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// Most frames handed to the keeper at once.
const FRAMES_MAX: usize = 256;

/// What connections share.
#[derive(Debug)]
pub struct Site {
    /// This site.
    pub me: Identity,
    /// A random number of this start of the process.
    pub start: u64,
    /// Its clock.
    pub clock: Clock,
    /// To the keeper; bounded, and who fills it waits.
    pub inputs: mpsc::Sender<Input>,
    /// For people.
    pub status: Arc<LinkStatus>,
    /// QUIC.
    pub endpoint: Endpoint,
    /// Whether a link to a peer stands, by its place.
    pub linked: Vec<watch::Receiver<bool>>,
    /// Connections that somebody talks on.
    pub talks: watch::Sender<usize>,
    /// Nobody is to be dialled: another process may take over.
    pub resting: watch::Sender<bool>,
}

/// One of [`Site::talks`].
struct Talking<'s>(&'s watch::Sender<usize>);

impl<'s> Talking<'s> {
    fn new(talks: &'s watch::Sender<usize>) -> Self {
        talks.send_modify(|talks| *talks += 1);
        Self(talks)
    }
}

impl Drop for Talking<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|talks| *talks -= 1);
    }
}

impl Site {
    /// Says what has become of a connection: people see it, the peer's fault is counted.
    pub fn ended(&self, from: SocketAddr, peer: Option<usize>, end: &End) {
        match end.reason {
            Some(reason) => self.status.refuse(self.clock.now(), from, peer, reason, &end.what),
            None => tracing::debug!(%from, why = %end.what, "a connection between sites has ended"),
        }
    }
}

/// Frames as they come in.
struct Reading {
    stream: RecvStream,
    octets: Vec<u8>,
}

impl Reading {
    /// At least one frame, and those that came with it.
    async fn some(&mut self) -> Result<Vec<Frame>, End> {
        loop {
            let (mut frames, mut at) = (Vec::new(), 0);
            while frames.len() < FRAMES_MAX
                && let Some((frame, length)) = wire::decode(&self.octets[at..])?
            {
                frames.push(frame);
                at += length;
            }
            self.octets.drain(..at);
            if !frames.is_empty() {
                return Ok(frames);
            }
            let chunk = self.stream.read_chunk(CHUNK_BYTES, true).await?;
            let Some(chunk) = chunk else { return Err(End::lost("the other side has closed the link")) };
            self.octets.extend_from_slice(&chunk.bytes);
        }
    }

    /// The first frame of the other side.
    async fn greeting(&mut self) -> Result<Hello, End> {
        let mut octets = std::mem::take(&mut self.octets);
        loop {
            if let Some((frame, length)) = wire::decode(&octets)? {
                octets.drain(..length);
                self.octets = octets;
                return match frame {
                    Frame::Hello(hello) => Ok(hello),
                    Frame::Bye(bye) => Err(End::said(bye)),
                    _ => Err(End::refuse(Reason::Garbage, Bye::Garbage, "it does not greet")),
                };
            }
            let chunk = self.stream.read_chunk(FRAME_BYTES_MAX, true).await?;
            let Some(chunk) = chunk else { return Err(End::lost("it closed the link before it greeted")) };
            octets.extend_from_slice(&chunk.bytes);
        }
    }
}

/// Greets, and talks until the end. `expected` is the peer that was dialled.
pub async fn talk(site: &Site, connection: &Connection, expected: Option<usize>) -> End {
    let _talking = Talking::new(&site.talks);
    let (mut send, end) = match timeout(GREETING_WAIT, streams(connection, expected.is_some())).await {
        Ok(Ok((mut send, receive))) => {
            let mut reading = Reading { stream: receive, octets: Vec::new() };
            let end = greeted(site, connection, expected, &mut send, &mut reading).await;
            (Some(send), end.unwrap_or_else(|end| end))
        }
        Ok(Err(error)) => (None, error.into()),
        Err(_) => (None, End::refuse(Reason::Silent, Bye::Garbage, "it opened no stream in time")),
    };
    if let (Some(send), Some(bye)) = (&mut send, end.bye) {
        let mut octets = Vec::new();
        if wire::encode(0, &Frame::Bye(bye), &mut octets).is_ok() {
            let farewell = async {
                let said = send.write_all(&octets).await.is_ok() && send.finish().is_ok();
                said && send.stopped().await.is_ok()
            };
            let _ = timeout(FAREWELL_WAIT, farewell).await;
        }
    }
    connection.close(VarInt::from_u32(0), b"");
    end
}

async fn streams(connection: &Connection, dialled: bool) -> Result<(SendStream, RecvStream), ConnectionError> {
    if dialled { connection.open_bi().await } else { connection.accept_bi().await }
}

async fn greeted(
    site: &Site,
    connection: &Connection,
    expected: Option<usize>,
    send: &mut SendStream,
    reading: &mut Reading,
) -> Result<End, End> {
    let greeting = async {
        if expected.is_some() {
            greet(site, send).await?;
        }
        let hello = reading.greeting().await?;
        let (peer, version) = judge(site, connection, expected, &hello)?;
        Ok::<_, End>((peer, version, hello))
    };
    let greeted = timeout(GREETING_WAIT, greeting).await;
    let (peer, version, hello) =
        greeted.unwrap_or_else(|_| Err(End::refuse(Reason::Silent, Bye::Garbage, "it did not greet in time")))?;
    let (reply, answer) = oneshot::channel();
    let newcomer = Newcomer { peer, hello, version, dialled: expected.is_some(), reply };
    let stopping = || End::lost("this site stops");
    site.inputs.send(Input::Up(Box::new(newcomer))).await.map_err(|_| stopping())?;
    let mut line = answer.await.map_err(|_| stopping())??;
    let id = line.id;
    let talked = async {
        // Whoever was dialled greets when its keeper has let the other side in: who is fenced hears so, and no more.
        if expected.is_none()
            && let Err(end) = greet(site, send).await
        {
            return end;
        }
        tokio::select! {
            end = read(site, id, reading) => end,
            end = write(send, &mut line) => end,
        }
    };
    let end = talked.await;
    let _ = site.inputs.send(Input::Down { line: id, why: end.what.clone() }).await;
    Ok(end)
}

async fn greet(site: &Site, send: &mut SendStream) -> Result<(), End> {
    let mut octets = Vec::new();
    let hello = Hello { start: site.start, ..Hello::new(site.me.clone(), site.clock.now(), calendar_ms()) };
    wire::encode(0, &Frame::Hello(hello), &mut octets).map_err(|_| End::lost("this site's name is too long"))?;
    Ok(send.write_all(&octets).await?)
}

/// The peer and the version, or why not.
fn judge(site: &Site, connection: &Connection, expected: Option<usize>, hello: &Hello) -> Result<(usize, u8), End> {
    let stranger = |what| End::refuse(Reason::Stranger, Bye::Stranger, what);
    let name = &hello.identity.name;
    let chain = connection.peer_identity().and_then(|identity| identity.downcast::<Vec<CertificateDer<'_>>>().ok());
    let carried = chain.as_ref().and_then(|chain| chain.first()).is_some_and(|leaf| carries(leaf, name));
    if !carried {
        return Err(stranger(format!("it calls itself \"{name}\", which is not what its certificate says")));
    }
    let Some(peer) = site.status.peer(name) else {
        return Err(stranger(format!("\"{name}\" is no peer of this site: no [[link.peer]] has that name")));
    };
    if expected.is_some_and(|expected| expected != peer) {
        return Err(stranger(format!("\"{name}\" answers where another peer was dialled")));
    }
    let version = hello.agree().map_err(|none| End::refuse(Reason::Version, Bye::Version, none.to_string()))?;
    Ok((peer, version))
}

async fn read(site: &Site, line: u64, reading: &mut Reading) -> End {
    loop {
        let frames = match reading.some().await {
            Ok(frames) => frames,
            Err(end) => return end,
        };
        site.status.traffic.received_frames.fetch_add(frames.len() as u64, Relaxed);
        let bye = frames.iter().find_map(|frame| if let Frame::Bye(bye) = frame { Some(*bye) } else { None });
        if site.inputs.send(Input::Frames { line, frames }).await.is_err() {
            return End::lost("this site stops");
        }
        if let Some(bye) = bye {
            return End::said(bye);
        }
    }
}

async fn write(send: &mut SendStream, line: &mut Line) -> End {
    while let Some(octets) = line.outbox.recv().await {
        let written = send.write_all(&octets).await;
        line.queued.fetch_sub(octets.len(), Relaxed);
        if let Err(error) = written {
            return error.into();
        }
    }
    End::close(Bye::Redundant, "this site closes the link")
}

//! The links in a change of process: at rest, given away, and taken up again if nobody takes them.
//!
//! Owned by the supervisor. [`Links::rest`] comes before the shards stand still: peers hear [`Bye::Pausing`], and the QUIC
//! endpoint leaves its socket, since two processes that read from one would steal from each other. Peers dial again at once;
//! what they send waits in the socket. [`Resting::freeze`] comes after: the notes of the shards are read to the last, the
//! ledger is written to the last, and the keeper stands still, which stops its pulse. A [`Resting`] that is dropped, for
//! whatever reason, goes on with all of it; only [`Resting::leave`] does not.
//!
//! [`Bye::Pausing`]: crate::tally::wire::Bye::Pausing

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Receiver, bounded};
use quinn::Endpoint;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::timeout;

use super::handle::{Links, Order};
use super::inbox::{Freeze, Input};
use super::keeper::Keeper;
use super::ledger_file::AtRest;
use super::packed::{Frozen, Packed};
use super::talk::Site;

/// How long last words may take before the shards stand still.
const GOODBYE_WAIT: Duration = Duration::from_millis(700);
/// How long the disk may take for the last records.
const LEDGER_WAIT: Duration = Duration::from_secs(2);
/// How long the links' thread may take for its part.
const ANSWER_WAIT: Duration = Duration::from_secs(3);

/// Links at rest.
#[derive(Debug)]
#[must_use = "links that are not left go on"]
pub struct Resting<'l> {
    links: &'l Links,
    verdict: Option<oneshot::Sender<()>>,
    left: bool,
}

impl Links {
    /// Says goodbye to the peers and leaves the socket. The keeper stays awake: calls are admitted on the rights that are
    /// here.
    ///
    /// # Errors
    /// A sentence; the links go on.
    pub fn rest(&self) -> Result<Resting<'_>, String> {
        let resting = Resting { links: self, verdict: None, left: false };
        let (reply, answer) = bounded(1);
        let told = self.orders.blocking_send(Order::Rest(reply)).is_ok();
        let rested = told.then(|| answer.recv_timeout(GOODBYE_WAIT + ANSWER_WAIT).ok()).flatten();
        match rested {
            Some(Ok(())) => Ok(resting),
            Some(Err(error)) => Err(format!("the links to other sites cannot leave their socket: {error}")),
            None => Err("the links to other sites do not come to rest; see `readyz`".to_owned()),
        }
    }
}

impl Resting<'_> {
    /// Writes everything down, and stands still from then on. The shards must stand still already.
    ///
    /// # Errors
    /// A sentence: the ledger cannot be written, or there is no answer in time.
    pub fn freeze(&mut self) -> Result<Packed, String> {
        let (reply, answer) = bounded(1);
        let (sender, verdict) = oneshot::channel();
        self.verdict = Some(sender);
        let silent = |_| "the keeper of the rights does not answer; see `readyz`".to_owned();
        self.links.freezes.send(Freeze { reply, verdict }).map_err(|_| silent(()))?;
        let (frozen, AtRest { file, lock, .. }) =
            answer.recv_timeout(LEDGER_WAIT + ANSWER_WAIT).map_err(|_| silent(()))??;
        let socket = self.links.socket.try_clone().map_err(|error| error.to_string())?;
        Ok(Packed { frozen, descriptors: [file, lock, socket.into()] })
    }

    /// Another process has everything: the keeper ends without a word.
    pub fn leave(mut self) {
        self.left = true;
        if let Some(verdict) = self.verdict.take() {
            let _ = verdict.send(());
        }
    }
}

impl Drop for Resting<'_> {
    fn drop(&mut self) {
        self.verdict = None;
        if !self.left {
            let _ = self.links.orders.blocking_send(Order::GoOn);
        }
    }
}

/// Does as it is told, to what the connections share.
pub(super) async fn attend(site: Arc<Site>, socket: UdpSocket, mut orders: mpsc::Receiver<Order>) {
    while let Some(order) = orders.recv().await {
        match order {
            Order::Rest(reply) => {
                site.resting.send_replace(true);
                let _ = site.inputs.send(Input::Rest).await;
                let _ = timeout(GOODBYE_WAIT, site.talks.subscribe().wait_for(|talks| *talks == 0)).await;
                let _ = reply.send(leave_socket(&site.endpoint, &socket));
            }
            Order::GoOn => {
                if let Err(error) = socket.try_clone().and_then(|socket| site.endpoint.rebind(socket)) {
                    tracing::error!(%error, "the links to other sites have lost their socket: restart this node");
                }
                let _ = site.inputs.send(Input::GoOn).await;
                site.resting.send_replace(false);
            }
        }
    }
}

/// An endpoint reads from the socket before its last one, too, until something comes by the new one: it takes two to make it
/// forget the one that is given away.
fn leave_socket(endpoint: &Endpoint, socket: &UdpSocket) -> io::Result<()> {
    let here = socket.local_addr()?.ip();
    (0..2).try_for_each(|_| endpoint.rebind(UdpSocket::bind((here, 0))?))
}

/// The keeper writes everything down and waits. True when another process has it: nothing more is to be done.
pub(super) async fn stand_still(keeper: &mut Keeper, freeze: Freeze, written: &Notify, site: &Site) -> bool {
    let Freeze { reply, verdict } = freeze;
    let settled = timeout(LEDGER_WAIT, settle(keeper, written, site)).await;
    let late = || Err(format!("the disk of the ledger took longer than {} s", LEDGER_WAIT.as_secs()));
    let frozen = settled.unwrap_or_else(|_| late());
    let stands = frozen.is_ok();
    reply.send(frozen).is_ok() && stands && verdict.await.is_ok()
}

async fn settle(keeper: &mut Keeper, written: &Notify, site: &Site) -> Result<(Frozen, AtRest), String> {
    while !keeper.settle_down(site.clock.now())? {
        written.notified().await;
    }
    let answer = keeper.rest_ledger().ok_or("the thread that writes the ledger has ended")?;
    let at_rest =
        answered(&answer, written).await?.map_err(|error| format!("the ledger cannot be given away: {error}"))?;
    let frozen = Frozen {
        keeper: keeper.freeze()?,
        start: site.start,
        ledger: at_rest.position,
        counted: site.status.counted(),
    };
    Ok((frozen, at_rest))
}

async fn answered<T>(answer: &Receiver<T>, written: &Notify) -> Result<T, String> {
    loop {
        match answer.try_recv() {
            Ok(answer) => return Ok(answer),
            Err(error) if error.is_disconnected() => {
                return Err("the thread that writes the ledger has ended".to_owned());
            }
            Err(_) => written.notified().await,
        }
    }
}

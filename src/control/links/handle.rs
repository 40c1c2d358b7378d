//! Running links as the rest of the process sees them.
//!
//! Owned by the appliance, which keeps [`Links`] until its shards have ended.

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::Sender;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::accounts::Accounts;
use super::inbox::{Ask, Freeze, Input, Question};
use super::ledger_file::LedgerStatus;
use super::status::LinkStatus;
use crate::tally::Identity;

/// How long the keeper has to answer a person.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// What the task that holds the endpoint is told.
#[derive(Debug)]
pub(super) enum Order {
    /// Say goodbye, and leave the socket.
    Rest(Sender<io::Result<()>>),
    /// Take the socket back, and dial.
    GoOn,
}

/// The way to the keeper.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) inputs: mpsc::Sender<Input>,
    pub(super) status: Arc<LinkStatus>,
    pub(super) ledger: Arc<LedgerStatus>,
    pub(super) me: Identity,
}

impl Handle {
    /// The links' state.
    #[must_use]
    pub fn status(&self) -> &LinkStatus {
        &self.status
    }

    /// The ledger's state.
    #[must_use]
    pub fn ledger(&self) -> &LedgerStatus {
        &self.ledger
    }

    /// This site.
    #[must_use]
    pub fn me(&self) -> &Identity {
        &self.me
    }

    /// True when there is no keeper any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inputs.is_closed()
    }

    /// Asks the keeper.
    ///
    /// # Errors
    /// A sentence: it says no, or does not answer in time.
    pub async fn ask(&self, question: Question) -> Result<Value, String> {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.inputs.send(Input::Ask(Ask { question, reply })).await.map_err(|_| ())?;
            answer.await.map_err(|_| ())
        };
        match timeout(ANSWER_WAIT, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(())) => Err("the keeper of the rights has ended; see the log".to_owned()),
            Err(_) => Err("the keeper of the rights does not answer in time; see `readyz`".to_owned()),
        }
    }

    /// Publishes the accounts of a new configuration. Blocks while the keeper is busy.
    pub fn publish(&self, accounts: Arc<Accounts>) {
        let _ = self.inputs.blocking_send(Input::Accounts(accounts));
    }
}

/// Running links. Dropping them ends them without waiting.
#[derive(Debug)]
pub struct Links {
    pub(super) handle: Handle,
    /// Behind the notes of the shards.
    pub(super) freezes: Sender<Freeze>,
    pub(super) orders: mpsc::Sender<Order>,
    /// What the endpoint has, for another process.
    pub(super) socket: UdpSocket,
    pub(super) threads: Option<[JoinHandle<()>; 2]>,
}

impl Drop for Links {
    fn drop(&mut self) {
        if self.threads.is_some() {
            let _ = self.handle.inputs.try_send(Input::Stop);
        }
    }
}

impl Links {
    /// The way to the keeper.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// True when the keeper, or what brings it notes, has ended although nobody asked it to: no call will be admitted
    /// any more.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.threads.as_ref().is_some_and(|threads| threads.iter().any(JoinHandle::is_finished))
    }

    /// Says goodbye to the peers and ends. The shards must have ended: their notes are read to the last. True when all
    /// went well.
    #[must_use]
    pub fn stop(mut self) -> bool {
        let Some([notes, keeper]) = self.threads.take() else { return true };
        let read = notes.join().is_ok();
        let _ = self.handle.inputs.blocking_send(Input::Stop);
        keeper.join().is_ok() && read
    }

    /// Ends after [`Resting::leave`](super::Resting::leave); the shards must have ended. True when all went well.
    #[must_use]
    pub fn leave(mut self) -> bool {
        let Some(threads) = self.threads.take() else { return true };
        threads.into_iter().all(|thread| thread.join().is_ok())
    }
}

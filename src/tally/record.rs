//! What a site must never forget: the records of its ledger, each true by itself, the last word of its kind winning.
//!
//! Owned by the rights machine, which writes one before the message that depends on it. Framing on disk:
//! `super::ledger`'s; writing it is the control plane's.

use super::message::{LoanId, RequestId, SiteId};
use std::sync::Arc;

/// One line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Whose ledger this is; the first record, never changed.
    Disk {
        /// `node.name`.
        name: Arc<str>,
        /// Drawn at random once.
        disk: u128,
    },
    /// A start of the process.
    Incarnation(u32),
    /// A site that this one has dealt with, and the last incarnation of it seen; lower ones are fenced.
    Site {
        /// Its number in this ledger.
        site: SiteId,
        /// Its name.
        name: Arc<str>,
        /// Its disk.
        disk: u128,
        /// Last seen.
        incarnation: u32,
        /// An operator has said that it is fenced and will not come back.
        retired: bool,
    },
    /// This node is the home of its accounts: all peers have said that nobody holds rights of an earlier identity, or
    /// an operator has.
    Founded,
    /// The home's account of an account: rights made so far less rights unmade.
    Issued {
        /// Which account.
        account: Arc<str>,
        /// The limit that is in force.
        limit: u32,
    },
    /// At the home: base rights placed at another site, ever, and given back by it, ever. `base` is what the home has
    /// after this, so that one record moves the right.
    Placed {
        /// Which account.
        account: Arc<str>,
        /// Where.
        site: SiteId,
        /// Never shrinks.
        total: u64,
        /// Never shrinks.
        ceded: u64,
        /// Own base rights from now on.
        base: u32,
    },
    /// Away from home: what came from the home, ever, and went back to it, ever.
    Received {
        /// Which account.
        account: Arc<str>,
        /// The home.
        home: SiteId,
        /// Never shrinks.
        total: u64,
        /// Never shrinks.
        ceded: u64,
        /// Own base rights from now on.
        base: u32,
    },
    /// A loan out. Its reclaim time is not written: after a restart the whole wait begins again.
    Lent {
        /// Names it.
        loan: LoanId,
        /// Which account.
        account: Arc<str>,
        /// To whom.
        to: SiteId,
        /// Which request it answers: the same one gets no second loan.
        request: RequestId,
        /// How many.
        amount: u32,
    },
    /// A loan is home: returned, or past its reclaim time.
    Home {
        /// Which.
        loan: LoanId,
    },
}

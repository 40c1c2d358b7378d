//! What sites say to each other about rights. Every message may be lost, doubled, late or out of order: none of them
//! makes a right, each only tells of one that its writer has made durable.
//!
//! Owned by [`crate::tally`]; `docs/limits.md` tells the protocol as a story. The lender of a loan and the writer of a
//! message are always the site at the other end of the link, so that no message names a site.

use crate::base::Instant;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Most octets of an account's name on the wire and in the ledger.
pub const ACCOUNT_NAME_MAX: usize = 255;

/// A site as the ledger numbers it: a name with one disk's identity. A site that lost its disk gets another number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SiteId(pub u16);

/// Who a site is: one name may stand for several identities in the course of time, but each lives on one disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// `node.name`.
    pub name: Arc<str>,
    /// Drawn at random when its ledger was made. Disk lost: another.
    pub disk: u128,
    /// Starts of this ledger, durable before anything is sent; a lower one is fenced.
    pub incarnation: u32,
}

/// A request of a borrower: unique within its identity for ever, since its incarnation is part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId {
    /// The borrower's.
    pub incarnation: u32,
    /// Counts within it.
    pub number: u64,
}

/// A loan of a lender: unique within its identity for ever. A closed one never revives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LoanId {
    /// The lender's.
    pub incarnation: u32,
    /// Counts within it.
    pub number: u64,
}

/// One message. `sent_at` is the borrower's own clock, which the lender returns unread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Lend me rights.
    Request {
        /// Names it.
        request: RequestId,
        /// Of which account.
        account: Arc<str>,
        /// How many would help.
        wanted: u32,
        /// Calls wait or were refused; otherwise it is ahead of need, and nobody else shall go without for it.
        urgent: bool,
        /// Borrower's clock.
        sent_at: Instant,
    },
    /// Here they are; the lender's ledger says so.
    Loan {
        /// To which request.
        request: RequestId,
        /// Names the loan.
        loan: LoanId,
        /// Of which account.
        account: Arc<str>,
        /// How many; at least one.
        amount: u32,
        /// From the request.
        sent_at: Instant,
    },
    /// None to spare.
    Denied {
        /// Which request.
        request: RequestId,
    },
    /// Let me keep it.
    Renew {
        /// Which.
        loan: LoanId,
        /// Borrower's clock.
        sent_at: Instant,
    },
    /// Keep it; the lender's ledger says so.
    Renewed {
        /// Which.
        loan: LoanId,
        /// From the renewal.
        sent_at: Instant,
    },
    /// I know no such loan: forget it at its expiry, do not ask again.
    Closed {
        /// Which.
        loan: LoanId,
    },
    /// I have no use for it any more, and have forgotten it.
    Return {
        /// Which.
        loan: LoanId,
    },
    /// Base rights that the account's home has given you, all together, ever. Only what is news is added.
    Placed {
        /// Of which account.
        account: Arc<str>,
        /// Never shrinks.
        total: u64,
    },
    /// What I have of your [`Message::Placed`], so that you need not say it again.
    Received {
        /// Of which account.
        account: Arc<str>,
        /// Never shrinks.
        total: u64,
    },
    /// Base rights that I have given back to you, the home, all together, ever.
    Ceded {
        /// Of which account.
        account: Arc<str>,
        /// Never shrinks.
        total: u64,
    },
    /// What I have of your [`Message::Ceded`].
    Settled {
        /// Of which account.
        account: Arc<str>,
        /// Never shrinks.
        total: u64,
    },
    /// The home wants base rights back, as soon as they are free: the limit was lowered.
    Recall {
        /// Of which account.
        account: Arc<str>,
        /// How many.
        amount: u32,
    },
    /// Does anybody hold base rights of an earlier identity of my name? Asked by a home with a new ledger.
    Founding {
        /// Names the round of questions.
        round: u64,
    },
    /// The answer. With `clear`, the site that was asked has written down your identity as the one for your name.
    Founded {
        /// Nobody here holds such rights.
        clear: bool,
        /// From the question, so that a late answer does not count for a later round.
        round: u64,
    },
    /// Where rights are, as of now: a hint for choosing a lender and for people; it decides nothing.
    Figures {
        /// Of which account.
        account: Arc<str>,
        /// The writer's figures.
        figures: Figures,
    },
}

/// One site's figures of one account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Own base rights.
    pub base: u32,
    /// Of these, lent out and not yet home.
    pub lent: u32,
    /// Borrowed, unexpired.
    pub borrowed: u32,
    /// Calls up.
    pub live: u32,
    /// Refused in the last second or so: who asks for more deserves it more.
    pub refused: u32,
}

//! What a failed branch means for the call: which failure is the best one, whether to go on, what the caller is told.
//!
//! RFC 3261 §16.7 steps 5 and 6; the mapping is that of a B2BUA, which must not hand one network's challenge or
//! overload to the other.

use super::branch::Failure;
use super::directory::Peer;
use crate::observe::{CallResult, EndCause};

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Try the next target.
    TryNext,
    /// Other branches may still answer, but no further group is called.
    Final,
    /// Nobody can answer any more: 6xx.
    Global,
}

/// Reads a failure. A trunk that says no (486, 404, 403 …) has been asked and has answered; one that is silent, cannot be
/// reached or says 503 has not. A phone that is busy gives way to the account's next one.
#[must_use]
pub const fn verdict(peer: Peer, status: u16) -> Verdict {
    match (peer, status) {
        (_, 600..) => Verdict::Global,
        (Peer::Trunk(_), 408 | 503) | (Peer::Account(_), _) => Verdict::TryNext,
        (Peer::Trunk(_), _) => Verdict::Final,
    }
}

/// The status that the caller is told.
#[must_use]
pub const fn mapped(peer: Peer, status: u16) -> u16 {
    match (peer, status) {
        // Their challenge is not for our caller.
        (_, 401 | 407) => 502,
        // RFC 3261 §16.7 step 6: a 503 would make the caller give up on us.
        (_, 503) => 500,
        // A redirection that led nowhere.
        (_, 300..=399) => 480,
        (_, 482 | 483) => 500,
        (Peer::Trunk(_), 408) => 504,
        _ => status,
    }
}

const fn rank(status: u16) -> u16 {
    match status {
        600.. => 0,
        // RFC 3261 §16.7 step 6: prefer those that say how to do better.
        401 | 407 | 415 | 420 | 484 => 1,
        // Somebody is busy: worth more than a device that could not be reached.
        486 => 2,
        400..=499 if status != 408 && status != 480 => 3,
        400..=499 => 4,
        _ => 5,
    }
}

/// Keeps the better of what is there and what came.
pub fn note(best: &mut Option<Failure>, new: Failure) {
    match best {
        Some(old) if rank(old.status) <= rank(new.status) => {}
        _ => *best = Some(new),
    }
}

/// Why a call with this final status ended.
#[must_use]
pub const fn cause(status: u16) -> EndCause {
    match status {
        408 | 504 | 503 | 502 | 500 => EndCause::Unreachable,
        480 => EndCause::RingTimeout,
        488 => EndCause::BadMedia,
        _ => EndCause::Refused,
    }
}

/// How a call that ended like this counts.
#[must_use]
pub const fn result(answered: bool, cause: EndCause, status: u16) -> CallResult {
    match (answered, cause, status) {
        (true, ..) => CallResult::Answered,
        (_, EndCause::Cancelled, _) => CallResult::Cancelled,
        (_, EndCause::Limited, _) => CallResult::Limited,
        (_, EndCause::RingTimeout, _) | (.., 408 | 480) => CallResult::NoAnswer,
        (.., 486 | 600) => CallResult::Busy,
        (.., 500..=599) => CallResult::Failed,
        _ => CallResult::Rejected,
    }
}

/// The phrase for a status of ours (RFC 3261 §21 and the registry of response codes).
#[must_use]
pub const fn reason(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        183 => "Session Progress",
        200 => "OK",
        202 => "Accepted",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        423 => "Interval Too Brief",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        491 => "Request Pending",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        600 => "Busy Everywhere",
        603 => "Decline",
        _ => "Failure",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(statuses: &[u16]) -> u16 {
        let mut best = None;
        for &status in statuses {
            note(&mut best, Failure { status, response: None });
        }
        best.unwrap().status
    }

    #[test]
    fn the_best_failure_is_the_most_telling() {
        assert_eq!(best(&[480, 486, 408]), 486);
        assert_eq!(best(&[500, 404]), 404);
        assert_eq!(best(&[486, 603]), 603);
        assert_eq!(best(&[404, 600]), 600);
    }

    #[test]
    fn a_busy_number_is_not_tried_elsewhere_and_a_silent_trunk_is_passed_over() {
        assert_eq!(verdict(Peer::Trunk(0), 486), Verdict::Final);
        assert_eq!(verdict(Peer::Trunk(0), 503), Verdict::TryNext);
        assert_eq!(verdict(Peer::Account(0), 486), Verdict::TryNext);
        assert_eq!(verdict(Peer::Account(0), 603), Verdict::Global);
    }

    #[test]
    fn overload_and_challenges_stay_on_their_side() {
        assert_eq!(
            (mapped(Peer::Trunk(0), 503), mapped(Peer::Trunk(0), 407), mapped(Peer::Trunk(0), 486)),
            (500, 502, 486)
        );
    }
}

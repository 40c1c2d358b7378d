//! Failures by cause, in words: what the screen and the page list. Refusals stand beside them with their status.

use crate::core::stats::Counters;

/// The causes that have happened, and how often.
pub fn of(c: &Counters) -> Vec<(&'static str, u64)> {
    let all = [
        ("no answer", c.calls_timed_out + c.registrations_timed_out),
        ("rang in vain", c.calls_unanswered),
        ("credentials refused", c.calls_unauthorized),
        ("not hung up", c.calls_hangup_failed),
        ("connection lost", c.calls_transport_failed),
        ("due but not begun", c.calls_skipped + c.registrations_skipped),
        ("not acknowledged or hung up", c.uas_failed),
        ("refused by our answering side", c.uas_refused),
        ("unreadable messages", c.unreadable),
        ("read differently by rsip", c.check_failed),
        ("RTP lost", c.rtp_lost),
        ("RTP damaged", c.rtp_corrupted),
        ("RTP of another call", c.rtp_misdirected),
        ("directions without RTP", c.rtp_silent),
        ("send errors", c.send_errors),
    ];
    all.into_iter().filter(|&(_, count)| count > 0).collect()
}

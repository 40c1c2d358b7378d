//! Why a run ends before all is done: a thread that failed, a target that says nothing, an answering side that has had its time.

use std::time::Duration;

use super::Runner;

impl Runner<'_> {
    /// Why nothing more can come of this run.
    pub(super) fn trouble(&self, elapsed: Duration, alive: bool) -> Option<String> {
        let gone = || "all threads of the generator have ended; this is a defect of it".to_string();
        self.fatal().or_else(|| (!alive).then(gone)).or_else(|| self.silence(elapsed))
    }

    /// An answering side alone has answered for as long, or as many, as it was told.
    pub(super) fn answering_done(&self, elapsed: Duration) -> bool {
        let c = &self.series.total.events;
        let ended = c.uas_completed + c.uas_declined + c.uas_failed + c.uas_cancelled;
        let counted = self.plan.load.count.is_some_and(|calls| ended >= calls);
        counted || self.plan.load.duration.is_some_and(|duration| elapsed >= duration)
    }

    fn silence(&self, elapsed: Duration) -> Option<String> {
        let c = &self.series.total.events;
        if elapsed < self.common.silence_max || c.messages_received > 0 {
            return None;
        }
        let (sent, errors) = (c.messages_sent, c.send_errors);
        (sent > 0).then(|| {
            let hint = if errors > 0 {
                "the network says it cannot be reached; start the server, or check --target"
            } else {
                "it may listen without answering, drop us by a filter, or answer to another address; check its log, \
                 and --bind and --transport here"
            };
            format!("{sent} messages were sent to {} and not one came back in {elapsed:.0?}: {hint}", self.plan.target)
        })
    }
}

//! What whoever looks on sees and wants: keys change the rate, pause, and end the run.

use std::sync::atomic::Ordering;

use strowger::base::Instant;

use super::{End, LEAD, Runner};
use crate::core::Job;
use crate::setup::shown_target;
use crate::watch::{View, Wish};
use crate::worker::Command;

impl Runner<'_> {
    /// Does what the onlooker wants; the end, if that is it.
    pub(super) fn heed(&mut self, time: Instant) -> Option<End> {
        let wish = self.watch.poll()?;
        self.notice = None;
        match wish {
            Wish::Quit => return Some(End::Done),
            Wish::Drain => drop(self.interrupts.fetch_add(1, Ordering::Relaxed)),
            Wish::Redraw => {}
            Wish::Faster(_) | Wish::Pause if !matches!(self.plan.job, Job::Calls { uac: true, .. } | Job::Register) => {
                self.notice = Some("nothing is begun at a rate here: there is none to change".into());
            }
            Wish::Faster(_) | Wish::Pause if self.draining => {
                self.notice = Some("nothing new is begun any more: this run ends".into());
            }
            Wish::Faster(by) => {
                self.pace.add(by);
                let needed = self.pace.wanted() * (self.plan.hold.mean() + self.plan.ring).as_secs_f64();
                if matches!(self.plan.job, Job::Calls { .. }) && needed > f64::from(self.concurrent) {
                    let most = self.concurrent;
                    self.notice = Some(format!(
                        "{needed:.0} calls would be up, but {most} may be: some will be skipped (see --concurrent)"
                    ));
                }
            }
            Wish::Pause => self.pace.pause(),
        }
        // A little ahead, so that all cores hear of it before it is so.
        let at = time + LEAD;
        if self.pace.note(at.since(self.start)) {
            self.tell(Command::Rate(at, self.pace.rate()));
        }
        self.show(time);
        None
    }

    pub(super) fn show(&mut self, time: Instant) {
        let driver = self.driver();
        let view = View {
            command: self.command,
            job: self.plan.job,
            target: shown_target(self.common, &self.plan),
            transport: self.plan.transport.uri_token(),
            rtp: self.plan.rtp,
            series: &self.series,
            elapsed: time.since(self.start),
            rate: self.pace.wanted(),
            paused: self.pace.is_paused(),
            draining: self.draining || self.interrupts.load(Ordering::Relaxed) > 0,
            concurrent: self.concurrent,
            engine: (self.backend, self.common.threads),
            dropped: (driver.kernel_dropped, driver.send_dropped),
            notice: self.notice.clone(),
        };
        self.watch.show(&view);
    }
}

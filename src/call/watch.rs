//! What the relay noticed of a call's streams while it forwarded them, and what that means for the call.

use super::core::Core;
use super::state::{Call, Phase};
use super::teardown;
use crate::base::Side;
use crate::media::MediaEvent;
use crate::observe::{Counter, EndCause, Event, Level};

/// What the relay noticed.
pub fn on_event(call: &mut Call, core: &mut Core, event: MediaEvent) {
    let log = |core: &mut Core, level, what, side: Option<Side>| {
        let event = Event::new(core.now, core.shard, level, what).call(call.id());
        core.event(match side {
            Some(side) => event.word("leg", teardown::leg_of(side).as_str()),
            None => event,
        });
    };
    match event {
        MediaEvent::Silent { .. }
            if matches!(call.phase, Phase::Up | Phase::Answered) && !call.media.is_alive(core) =>
        {
            core.counters.count(Counter::MediaSilent);
            log(core, Level::Warn, "no media from either side", None);
            teardown::end(call, core, EndCause::MediaSilent, None, 408);
        }
        MediaEvent::OneWay { silent_side, .. } => {
            core.counters.count(Counter::MediaOneWay);
            log(core, Level::Warn, "one-way audio", Some(silent_side));
        }
        MediaEvent::Recovered { side, .. } => log(core, Level::Info, "audio both ways again", Some(side)),
        MediaEvent::Dtmf { .. } => core.counters.count(Counter::MediaDtmf),
        MediaEvent::Failed { .. } => {
            log(core, Level::Error, "a media port could not be opened", None);
            teardown::end(call, core, EndCause::Internal, None, 503);
        }
        MediaEvent::Silent { .. } | MediaEvent::Settled { .. } => {}
    }
}

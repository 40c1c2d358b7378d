//! Rights of a call: taken before anything else is held, kept by the call, given back once, whatever path it took to its
//! end. The only place that takes an account's rights and tells the keeper of it.
//!
//! A call takes one right of the account that calls and one of the account that it reaches; an account that calls itself
//! has one call and gives one. Where no right is at hand and another site may lend one, the call waits, caller's side first,
//! for at most [`Settings::borrow_timeout`](super::core::Settings) in all. It is a call like any other meanwhile: CANCEL,
//! an operator and the end of the process find it in the table.

use super::core::{Core, Effect, Timer};
use super::directory::Peer;
use super::release::stop_waiting;
use super::routing::{self, Destination};
use super::state::{Call, Phase, Right, Waiting};
use super::{compose, setup, teardown};
use crate::observe::{EndCause, LimitReason};
use crate::sip::wire::Message;
use crate::tally::message::ACCOUNT_NAME_MAX;
use crate::tally::{Cell, Note, Permit};
use std::sync::Arc;

/// What a call that finds no right does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    /// Waits, if another site may lend one.
    Waits,
    /// Has waited.
    Over(LimitReason),
}

enum Verdict {
    Admitted,
    /// For a right of this account.
    Waits(u32),
    /// By this limit.
    Refused(LimitReason, u32),
    /// The account is gone.
    Gone,
}

/// The first thing that a new call does.
pub fn begin(call: &mut Call, core: &mut Core, to: Destination, request: &Message<'_>) {
    let verdict = match admit_trunk(call, core) {
        Verdict::Admitted => admit(call, core, &to, Patience::Waits),
        other => other,
    };
    if matches!(verdict, Verdict::Admitted | Verdict::Waits(_)) {
        let tag = call.local_tag(core);
        let trying = compose::reply(core, request, &call.a.flow, 100, &tag, &[]);
        if let Some(server) = call.setup.as_ref().map(|setup| setup.server) {
            core.respond(server, 100, trying);
        }
    }
    obey(call, core, verdict, to, request);
}

/// The account's right came, or will not come: the rest is asked for anew, by what the directory says now.
fn go_on(call: &mut Call, core: &mut Core, patience: Patience) {
    let invite = call.invite();
    let request = invite.view();
    let to = routing::destination(core, &request.uri(), call.a.peer);
    let verdict = if to == Destination::Unknown { Verdict::Gone } else { admit(call, core, &to, patience) };
    obey(call, core, verdict, to, &request);
}

fn obey(call: &mut Call, core: &mut Core, verdict: Verdict, to: Destination, request: &Message<'_>) {
    match verdict {
        Verdict::Admitted => {
            core.cancel_timer(&mut call.timer);
            call.phase = Phase::Ringing;
            setup::start(call, core, to, request);
        }
        Verdict::Waits(account) => wait(call, core, account),
        Verdict::Refused(reason, limit) => refuse(call, core, reason, limit),
        Verdict::Gone => teardown::end(call, core, EndCause::Refused, None, 404),
    }
}

/// The right of the trunk that the call came by, and its calls a second.
fn admit_trunk(call: &mut Call, core: &mut Core) -> Verdict {
    let Peer::Trunk(place) = call.a.peer else { return Verdict::Admitted };
    let Some(trunk) = core.directory.trunk(place).filter(|_| !call.emergency) else { return Verdict::Admitted };
    if let Some(cell) = &trunk.cell {
        match cell.admit() {
            Some(permit) => call.rights.push(Right { permit, account: None }),
            None => return Verdict::Refused(LimitReason::TrunkCalls, cell.read().1),
        }
    }
    match &trunk.pace {
        Some(pace) if !pace.admit(core.now) => Verdict::Refused(LimitReason::TrunkRate, pace.rate()),
        _ => Verdict::Admitted,
    }
}

/// The rights of the accounts that the call has not got yet.
fn admit(call: &mut Call, core: &mut Core, to: &Destination, patience: Patience) -> Verdict {
    if call.emergency {
        list(call, core);
        return Verdict::Admitted;
    }
    let caller = Some(call.a.peer);
    let called = match to {
        Destination::Account(account) if core.directory.count_called => Some(Peer::Account(*account)),
        _ => None,
    };
    for peer in [caller, called.filter(|called| Some(*called) != caller)].into_iter().flatten() {
        let Peer::Account(place) = peer else { continue };
        match admit_account(call, core, place, patience) {
            Verdict::Admitted => {}
            other => return other,
        }
    }
    Verdict::Admitted
}

/// A call that takes no right is known at all sites like any other, under a name that is no account's: it counts for
/// none.
fn list(call: &mut Call, core: &mut Core) {
    if call.listed.is_some() {
        return;
    }
    let caller = core.directory.peer_name(call.a.peer);
    let row: Arc<str> = match format!("{caller} (emergency)") {
        row if row.len() <= ACCOUNT_NAME_MAX => row.into(),
        _ => "(emergency)".into(),
    };
    let (account, started) = (Arc::clone(&row), call.facts.started);
    core.effects.push_back(Effect::Note(Note::Began { account, call: call.token, started }));
    call.listed = Some(row);
}

fn admit_account(call: &mut Call, core: &mut Core, place: u32, patience: Patience) -> Verdict {
    let Some(account) = core.directory.account(place) else { return Verdict::Gone };
    let (name, cell, limit) = (Arc::clone(&account.name), Arc::clone(&account.cell), account.limit);
    if call.rights.iter().any(|right| right.permit.is_of(&cell)) {
        return Verdict::Admitted;
    }
    // A keeper that stands still may have missed the end of a loan: its cells are not believed until it has caught up.
    let awake = core.directory.pulse.beats(core.now);
    if let Some(permit) = awake.then(|| cell.admit()).flatten() {
        if is_nearly_full(&cell, limit) {
            core.effects.push_back(Effect::Note(Note::Wanted { account: Arc::clone(&name) }));
        }
        take(call, core, Right { permit, account: Some(name) });
        return Verdict::Admitted;
    }
    let may_wait = limit > 0 && (cell.may_borrow() || !awake);
    let reason = match patience {
        Patience::Waits if may_wait && !core.settings.borrow_timeout.is_zero() => return Verdict::Waits(place),
        Patience::Over(LimitReason::BorrowTimeout) => LimitReason::BorrowTimeout,
        _ if cell.is_cut_off() && cell.read().1 < limit => LimitReason::CutOff,
        _ => LimitReason::Account,
    };
    cell.refuse();
    if cell.read().1 < limit {
        core.effects.push_back(Effect::Note(Note::Wanted { account: name }));
    }
    Verdict::Refused(reason, limit)
}

/// Phones of an account have registered here, or are gone: where they are its calls will come.
pub fn on_phones(core: &mut Core, aor: &[u8], phones: usize) {
    let place = core.directory.account_of_user(aor);
    let Some(account) = place.and_then(|place| core.directory.account(place)) else { return };
    if account.limit > 0 && account.name.as_bytes() == aor {
        let (account, phones) = (Arc::clone(&account.name), u32::try_from(phones).unwrap_or(u32::MAX));
        core.effects.push_back(Effect::Note(Note::Phones { account, phones }));
    }
}

/// Four fifths of what is here are used, and there is more elsewhere.
fn is_nearly_full(cell: &Cell, limit: u32) -> bool {
    let (live, usable) = cell.read();
    usable < limit && u64::from(live) * 5 >= u64::from(usable) * 4
}

/// The INVITE stays where it is, answered by 100.
fn wait(call: &mut Call, core: &mut Core, place: u32) {
    let Some(account) = core.directory.account(place).map(|account| Arc::clone(&account.name)) else { return };
    call.phase = Phase::Waiting;
    let until = call.facts.started + core.settings.borrow_timeout;
    if call.timer.is_none() {
        call.timer = core.schedule(until.since(core.now), Timer::Borrow(call.slot));
    }
    call.waiting = Some(Waiting { account: place, since: core.now });
    let (shard, call) = (core.shard, call.slot);
    core.effects.push_back(Effect::Note(Note::Borrow { account, shard, call, deadline: until }));
}

/// A right that the call has waited for, or the news that there is none.
pub fn on_right(call: &mut Call, core: &mut Core, permit: Option<Permit>) {
    let Some(account) = call.waiting.and_then(|waiting| core.directory.account(waiting.account)) else { return };
    let patience = match permit {
        // A right of another account answers another question.
        Some(permit) if !permit.is_of(&account.cell) => return,
        Some(permit) => {
            let account = Some(Arc::clone(&account.name));
            take(call, core, Right { permit, account });
            Patience::Waits
        }
        None => Patience::Over(LimitReason::Account),
    };
    stop_waiting(call, core);
    go_on(call, core, patience);
}

/// No answer in time.
pub fn on_borrow_timer(call: &mut Call, core: &mut Core) {
    call.timer = None;
    if stop_waiting(call, core).is_some() {
        go_on(call, core, Patience::Over(LimitReason::BorrowTimeout));
    }
}

/// 403 speaks of an account's limit. A trunk is told in its own terms: 480 makes it try elsewhere or tell its caller so,
/// and the cause says what is full (ITU-T Q.850: 34 no channel, 42 congestion). Never 503, for which a carrier would stop
/// sending calls to this node at all.
pub fn refuse(call: &mut Call, core: &mut Core, reason: LimitReason, limit: u32) {
    core.counters.limit(reason);
    let (status, words) = match reason {
        LimitReason::TrunkCalls => (480, format!("Q.850;cause=34;text=\"trunk limit {limit}\"").into()),
        LimitReason::TrunkRate => (480, format!("Q.850;cause=42;text=\"trunk limit {limit} a second\"").into()),
        _ => (403, limit_reason(limit)),
    };
    call.facts.limit = Some(reason);
    call.facts.reason = Some(words);
    teardown::end(call, core, EndCause::Limited, None, status);
}

/// The call has this right from now on.
fn take(call: &mut Call, core: &mut Core, right: Right) {
    if let Some(account) = &right.account {
        let (account, started) = (Arc::clone(account), call.facts.started);
        core.effects.push_back(Effect::Note(Note::Began { account, call: call.token, started }));
    }
    call.rights.push(right);
}

fn limit_reason(limit: u32) -> Box<str> {
    format!("SIP;cause=403;text=\"limit {limit}\"").into()
}

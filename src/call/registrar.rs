//! REGISTER: the contacts of an AOR are added, refreshed, fetched and removed (RFC 3261 §10.3).
//!
//! All or nothing: everything is checked before anything is written.

use super::contacts::{Binding, Store};
use super::core::Core;
use super::{admission, compose, gate};
use crate::base::time::Duration;
use crate::base::{Flow, Instant};
use crate::observe::{Counter, Event, Level};
use crate::sip::transaction::ServerKey;
use crate::sip::wire::{HeaderName, Message, Uri};

/// What a REGISTER asks for, checked.
enum Wish {
    Fetch,
    RemoveAll,
    Change(Vec<(Binding, Duration)>),
}

/// Why it is refused.
enum Refusal {
    Status(u16),
    TooBrief,
}

/// Handles a REGISTER of an AOR that this shard owns.
pub fn on_register(store: &mut Store, core: &mut Core, server: ServerKey, flow: &Flow, request: &Message<'_>) {
    let to = request.to();
    if !to.uri().is_sip() {
        return gate::refuse(core, server, flow, request, 400, &[]);
    }
    let Some(signer) = gate::authenticate(core, server, flow, request) else { return };
    let user = to.uri().user_unescaped().unwrap_or_default();
    let named = core.directory.account_of_user(&user);
    if !core.directory.is_our_host(to.uri().host()) || named.is_none() {
        return gate::refuse(core, server, flow, request, 404, &[]);
    }
    if named != Some(signer) {
        return gate::refuse(core, server, flow, request, 403, &[]);
    }
    let aor = core.directory.accounts[signer as usize].name.as_bytes().to_vec();
    let wish = match read(store, core, &aor, flow, request) {
        Ok(wish) => wish,
        Err(Refusal::Status(status)) => return gate::refuse(core, server, flow, request, status, &[]),
        Err(Refusal::TooBrief) => {
            let min = core.settings.lifetimes.min.as_secs().to_string();
            return gate::refuse(core, server, flow, request, 423, &[(HeaderName::MinExpires, min.as_bytes())]);
        }
    };
    let before = store.bindings(&aor, core.now).count();
    if !apply(store, core, &aor, wish) {
        let event = Event::new(core.now, core.shard, Level::Error, "no room for another contact");
        core.event(event.text("setting", "shards.contacts_max"));
        return gate::refuse_overloaded(core, server, flow, request);
    }
    let phones = store.bindings(&aor, core.now).count();
    if phones != before {
        admission::on_phones(core, &aor, phones);
    }
    core.counters.count(Counter::RegistrationsAccepted);
    if let Some(lapses) = store.bindings(&aor, core.now).map(|binding| binding.expires).max() {
        core.vouch(flow, lapses);
    }
    answer(store, core, server, flow, request, &aor);
}

fn read(store: &Store, core: &Core, aor: &[u8], flow: &Flow, request: &Message<'_>) -> Result<Wish, Refusal> {
    if request.header(HeaderName::Contact).is_none() {
        return Ok(Wish::Fetch);
    }
    let call_id = store.hash(request.call_id());
    let cseq = request.cseq().0;
    if request.header(HeaderName::Contact).is_some_and(|value| value == b"*") {
        // RFC 3261 §10.2.2: `*` goes alone and with Expires: 0.
        let alone = request.headers().filter(|header| header.name == HeaderName::Contact).count() == 1;
        if !alone || request.expires() != Some(0) {
            return Err(Refusal::Status(400));
        }
        in_order(store.bindings(aor, core.now), call_id, cseq)?;
        return Ok(Wish::RemoveAll);
    }
    let mut changes = Vec::new();
    for contact in request.contacts() {
        let lifetimes = &core.settings.lifetimes;
        let asked = contact.expires().or(request.expires()).map(|seconds| Duration::from_secs(seconds.into()));
        let lifetime = match asked {
            Some(Duration::ZERO) => Duration::ZERO,
            Some(asked) if asked < lifetimes.min => return Err(Refusal::TooBrief),
            Some(asked) => asked.min(lifetimes.max),
            None => lifetimes.default,
        };
        if !contact.uri().is_sip() {
            return Err(Refusal::Status(400));
        }
        let binding = Binding {
            uri: contact.uri_raw().into(),
            params: other_params(&contact),
            flow: *flow,
            expires: core.now + lifetime,
            call_id,
            cseq,
            q: contact.q(),
        };
        let same = store.bindings(aor, core.now).filter(|old| same_contact(old, &binding.uri));
        in_order(same, call_id, cseq)?;
        changes.push((binding, lifetime));
    }
    let held = store.bindings(aor, core.now).filter(|old| !changes.iter().any(|(new, _)| same_contact(old, &new.uri)));
    let added = changes.iter().filter(|(_, lifetime)| !lifetime.is_zero()).count();
    if added > 0 && held.count() + added > core.settings.contacts_per_account_max {
        return Err(Refusal::Status(403));
    }
    Ok(Wish::Change(changes))
}

/// RFC 3261 §10.3 step 7: an older request of the same Call-ID changes nothing.
fn in_order<'a>(mut held: impl Iterator<Item = &'a Binding>, call_id: u64, cseq: u32) -> Result<(), Refusal> {
    match held.any(|old| old.call_id == call_id && old.cseq >= cseq) {
        true => Err(Refusal::Status(500)),
        false => Ok(()),
    }
}

fn same_contact(binding: &Binding, uri: &[u8]) -> bool {
    *binding.uri == *uri
        || match (Uri::parse(&binding.uri), Uri::parse(uri)) {
            (Some(old), Some(new)) => old.same_as(&new),
            _ => false,
        }
}

fn other_params(contact: &crate::sip::wire::NameAddr<'_>) -> Box<[u8]> {
    let mut out = Vec::new();
    for (name, value) in contact.params() {
        if name.eq_ignore_ascii_case(b"q") || name.eq_ignore_ascii_case(b"expires") {
            continue;
        }
        out.push(b';');
        out.extend_from_slice(name);
        if let Some(value) = value {
            out.push(b'=');
            out.extend_from_slice(value);
        }
    }
    out.into()
}

fn apply(store: &mut Store, core: &mut Core, aor: &[u8], wish: Wish) -> bool {
    match wish {
        Wish::Fetch => true,
        Wish::RemoveAll => {
            store.remove(aor, |_| true);
            true
        }
        Wish::Change(changes) => changes.into_iter().all(|(binding, lifetime)| {
            let uri = binding.uri.clone();
            if lifetime.is_zero() {
                store.remove(aor, |old| same_contact(old, &uri));
                return true;
            }
            store.remove(aor, |old| old.expires <= core.now);
            store.put(aor, binding, |old| same_contact(old, &uri)).is_ok()
        }),
    }
}

fn answer(store: &Store, core: &mut Core, server: ServerKey, flow: &Flow, request: &Message<'_>, aor: &[u8]) {
    let contacts: Vec<Vec<u8>> =
        store.bindings(aor, core.now).map(|binding| contact_value(binding, core.now)).collect();
    let headers: Vec<(HeaderName, &[u8])> =
        contacts.iter().map(|value| (HeaderName::Contact, value.as_slice())).collect();
    let tag = core.random.hex::<16>();
    let bytes = compose::reply(core, request, flow, 200, &tag, &headers);
    core.respond(server, 200, bytes);
}

fn contact_value(binding: &Binding, now: Instant) -> Vec<u8> {
    let mut value = b"<".to_vec();
    value.extend_from_slice(&binding.uri);
    value.push(b'>');
    value.extend_from_slice(&binding.params);
    let seconds = binding.expires.since(now).as_millis().div_ceil(1000);
    let q = binding.q;
    if q < 1000 {
        value.extend_from_slice(format!(";q={}.{:03}", q / 1000, q % 1000).as_bytes());
    }
    value.extend_from_slice(format!(";expires={seconds}").as_bytes());
    value
}

//! Who sends a request: a trunk, known by where it comes from, or an account's device, known by its digest.
//!
//! RFC 3261 §22, RFC 7616, RFC 8760. An unknown user and a wrong password cost the same and are told the same.

use super::core::Core;
use super::directory::Peer;
use super::{compose, routing};
use crate::base::{Flow, Source};
use crate::observe::{Counter, Event, Level, Suspicion};
use crate::sip::dialog;
use crate::sip::digest::{Algorithm, Credentials, Verdict};
use crate::sip::transaction::ServerKey;
use crate::sip::wire::{HeaderName, Message, Method, Scheme};
use arrayvec::ArrayVec;
use bytes::Bytes;

/// Option tags that we can honour when a peer requires them: none, since what is required is required of us.
const SUPPORTED: [&[u8]; 1] = [b"timer"];

/// Answers what can be answered before anybody asks who it is. True when the request has had its answer.
pub fn answered_early(core: &mut Core, server: ServerKey, flow: &Flow, request: &Message<'_>) -> bool {
    let (status, header) = match early_verdict(request) {
        None => return false,
        Some(verdict) => verdict,
    };
    core.suspect(flow, Suspicion::Unsolicited, false);
    let tag = core.random.hex::<16>();
    let headers: Vec<(HeaderName, &[u8])> = header.iter().map(|(name, value)| (*name, value.as_slice())).collect();
    let bytes = compose::reply(core, request, flow, status, &tag, &headers);
    core.respond(server, status, bytes);
    true
}

/// Scanners that say who they are, by the beginning of their User-Agent, in lower case: SIPVicious as it comes and as it
/// is sold on, and the tools of those who dial what it finds.
const SCANNERS: [&[u8]; 8] = [
    b"friendly-scanner",
    b"friendly-request",
    b"sipvicious",
    b"sipcli",
    b"sip-scan",
    b"sundayddr",
    b"vaxsipuseragent",
    b"pplsip",
];

/// Notes who names itself a scanner.
pub fn look_at_agent(core: &mut Core, flow: &Flow, request: &Message<'_>) {
    let agent = request.header(HeaderName::UserAgent).unwrap_or_default();
    let is_named = |name: &&[u8]| agent.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    if SCANNERS.iter().any(is_named) {
        core.suspect(flow, Suspicion::ScannerAgent, false);
    }
}

type EarlyVerdict = (u16, Option<(HeaderName, Vec<u8>)>);

fn early_verdict(request: &Message<'_>) -> Option<EarlyVerdict> {
    let method = request.method();
    match method {
        // RFC 3261 §8.2.1: known methods that we do not take, and those nobody knows (RFC 4475 §3.1.1.2).
        Method::Other => return Some((501, Some((HeaderName::Allow, compose::ALLOW.to_vec())))),
        Method::Invite | Method::Options | Method::Register | Method::Bye | Method::Ack | Method::Cancel => {}
        // Methods that only a dialog gives a meaning (RFC 3262 §3, RFC 3311 §5, RFC 6086 §4.2, RFC 6665 §4.1.3).
        Method::Prack | Method::Update | Method::Info | Method::Notify => return Some((481, None)),
        _ => return Some((405, Some((HeaderName::Allow, compose::ALLOW.to_vec())))),
    }
    // RFC 3261 §8.2.2.1.
    let uri = request.uri();
    let callable = uri.is_sip() || (method == Method::Invite && (uri.scheme() == Scheme::Tel || routing::is_sos(&uri)));
    if !callable {
        return Some((416, None));
    }
    // RFC 3261 §16.3 step 3: we stand where a proxy would.
    if method == Method::Invite && request.max_forwards() == Some(0) {
        return Some((483, None));
    }
    // RFC 3261 §8.2.2.3, §16.3 step 5.
    let mut unsupported: Vec<u8> = Vec::new();
    for name in [HeaderName::Require, HeaderName::ProxyRequire] {
        for tag in request.values(name) {
            if !SUPPORTED.iter().any(|known| known.eq_ignore_ascii_case(tag)) {
                if !unsupported.is_empty() {
                    unsupported.extend_from_slice(b", ");
                }
                unsupported.extend_from_slice(tag);
            }
        }
    }
    if !unsupported.is_empty() && method != Method::Cancel {
        return Some((420, Some((HeaderName::Unsupported, unsupported))));
    }
    session_verdict(request)
}

/// RFC 3261 §8.2.3: a body that we cannot relay, or an Accept that leaves us nothing to answer with (RFC 4475 §3.3.15).
fn session_verdict(request: &Message<'_>) -> Option<EarlyVerdict> {
    if request.method() != Method::Invite {
        return None;
    }
    // RFC 3261 §12.1.1: nothing could be sent to the caller, not even a BYE.
    if dialog::target_of(request).is_none() {
        return Some((400, None));
    }
    if !request.body().is_empty() && compose::session_body(request).is_none() {
        return Some((415, Some((HeaderName::Accept, b"application/sdp".to_vec()))));
    }
    let mut accepts = request.values(HeaderName::Accept).peekable();
    let listed = accepts.peek().is_some();
    let takes_sdp = accepts.any(|range| {
        let kind = range.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        [&b"application/sdp"[..], b"application/*", b"*/*"].iter().any(|known| known.eq_ignore_ascii_case(kind))
    });
    (listed && !takes_sdp).then_some((406, None))
}

/// Who sends this request, as far as it says; none when it has been challenged or refused.
pub fn identify(core: &mut Core, server: ServerKey, flow: &Flow, request: &Message<'_>) -> Option<Peer> {
    let via_port = request.via().port().unwrap_or(5060);
    if let Some(trunk) = core.directory.trunk_of_source(flow.remote, via_port) {
        let exact = core.directory.is_exact_source(trunk, flow.remote, via_port);
        if exact || !claims_an_account(core, request) {
            return Some(Peer::Trunk(trunk));
        }
    }
    authenticate(core, server, flow, request).map(Peer::Account)
}

/// A phone that shares its address with a trunk says so by its From or by credentials; that only makes us stricter.
fn claims_an_account(core: &Core, request: &Message<'_>) -> bool {
    let has_credentials =
        [HeaderName::Authorization, HeaderName::ProxyAuthorization].iter().any(|name| request.header(*name).is_some());
    let from = request.from();
    let user = from.uri().user_unescaped();
    let named = user.is_some_and(|user| core.directory.account_of_user(&user).is_some());
    has_credentials || (named && core.directory.is_our_host(from.uri().host()))
}

/// The account whose device signed this request; none when it has been challenged or refused.
pub fn authenticate(core: &mut Core, server: ServerKey, flow: &Flow, request: &Message<'_>) -> Option<u32> {
    let register = request.method() == Method::Register;
    let header = if register { HeaderName::Authorization } else { HeaderName::ProxyAuthorization };
    let mut stale = false;
    let mut suspicion = (Suspicion::Unauthenticated, false);
    for value in header_lines(request, header) {
        let Ok(credentials) = Credentials::parse(value) else { continue };
        if credentials.realm != core.digest.realm() {
            continue;
        }
        let username = credentials.username_unescaped();
        let device = core.directory.device(&username).map(|(account, ha1)| (account, *ha1));
        let ha1 = device.as_ref().map(|(_, ha1)| ha1);
        match core.digest.verify(core.now, &credentials, request.method_bytes(), ha1) {
            Verdict::Ok => {
                core.counters.count(Counter::AuthAccepted);
                core.vouch(flow, core.now + core.settings.vouched_for);
                return device.map(|(account, _)| account);
            }
            Verdict::Stale => stale = true,
            Verdict::Replay => {
                core.counters.count(Counter::AuthReplays);
                stale = true;
            }
            Verdict::Wrong => {
                core.counters.count(Counter::AuthRefused);
                let sent_there = core.digest.was_sent_to(core.now, credentials.nonce, Source::of(flow.remote.ip()));
                suspicion = (Suspicion::WrongDigest, sent_there);
                let event = Event::new(core.now, core.shard, Level::Info, "authentication failed");
                core.event(event.address("source", flow.remote).word("method", request.method().as_str()));
            }
            Verdict::Malformed => {}
        }
    }
    if !stale {
        let (reason, sent_there) = suspicion;
        core.suspect(flow, reason, sent_there);
    }
    challenge(core, server, flow, request, stale);
    None
}

fn header_lines<'a>(request: &Message<'a>, name: HeaderName) -> impl Iterator<Item = &'a [u8]> {
    request.headers().filter(move |header| header.name == name).map(|header| header.value)
}

/// Phones that give up as soon as any algorithm but MD5 is offered, whatever else stands beside it, by the beginning of
/// their User-Agent. They are offered MD5 alone; which one a phone uses is its own choice in any case.
const MD5_ONLY: [&[u8]; 4] = [b"baresip v0.", b"baresip v1.", b"baresip v2.", b"baresip v3."];

fn algorithms(request: &Message<'_>) -> &'static [Algorithm] {
    let agent = request.header(HeaderName::UserAgent).unwrap_or_default();
    if MD5_ONLY.iter().any(|old| agent.starts_with(old)) {
        return &[Algorithm::Md5];
    }
    &[Algorithm::Sha256, Algorithm::Md5]
}

fn challenge(core: &mut Core, server: ServerKey, flow: &Flow, request: &Message<'_>, stale: bool) {
    let tag = core.random.hex::<16>();
    let (status, bytes) = challenged(core, flow, request, stale, &tag);
    core.respond(server, status, bytes);
}

/// True for a REGISTER that does not say who sends it, and with which nothing else is wrong.
pub fn is_unsigned_register(request: &Message<'_>) -> bool {
    request.method() == Method::Register
        && request.header(HeaderName::Authorization).is_none()
        && request.to().uri().is_sip()
        && early_verdict(request).is_none()
}

/// Challenges an unsigned REGISTER without a transaction, so that a flood of them fills no table (RFC 3261 §26.3.2.4). What is
/// sent again is challenged again; `tag` is the same each time (§8.2.7).
pub fn challenge_unsigned(core: &mut Core, flow: &Flow, request: &Message<'_>, tag: &[u8]) {
    look_at_agent(core, flow, request);
    core.suspect(flow, Suspicion::Unauthenticated, false);
    let (status, bytes) = challenged(core, flow, request, false, tag);
    core.counters.response(status);
    core.transmit(*flow, bytes);
}

fn challenged(core: &mut Core, flow: &Flow, request: &Message<'_>, stale: bool, tag: &[u8]) -> (u16, Bytes) {
    let register = request.method() == Method::Register;
    let (status, name) =
        if register { (401, HeaderName::WwwAuthenticate) } else { (407, HeaderName::ProxyAuthenticate) };
    let nonce = core.digest.nonce(core.now, Source::of(flow.remote.ip()));
    // RFC 8760 §2.4: one challenge an algorithm, the preferred one first.
    let offer = |algorithm: &Algorithm| {
        let mut value = Vec::with_capacity(192);
        core.digest.challenge(&nonce, *algorithm, stale, &mut value);
        value
    };
    let challenges: ArrayVec<Vec<u8>, 2> = algorithms(request).iter().map(offer).collect();
    let headers: ArrayVec<(HeaderName, &[u8]), 2> = challenges.iter().map(|value| (name, value.as_slice())).collect();
    core.counters.count(Counter::AuthChallenges);
    (status, compose::reply(core, request, flow, status, tag, &headers))
}

/// An answer that needs no call: `status` with its usual phrase.
pub fn refuse(
    core: &mut Core,
    server: ServerKey,
    flow: &Flow,
    request: &Message<'_>,
    status: u16,
    headers: &[(HeaderName, &[u8])],
) {
    let tag = core.random.hex::<16>();
    let bytes: Bytes = compose::reply(core, request, flow, status, &tag, headers);
    core.respond(server, status, bytes);
}

/// The seconds of a Retry-After that does not bring everybody back at once.
pub fn retry_after(core: &mut Core) -> String {
    (2 + core.random.below(8)).to_string()
}

/// 503 with a Retry-After.
pub fn refuse_overloaded(core: &mut Core, server: ServerKey, flow: &Flow, request: &Message<'_>) {
    let seconds = retry_after(core);
    refuse(core, server, flow, request, 503, &[(HeaderName::RetryAfter, seconds.as_bytes())]);
}

/// The phrase of a limit's refusal.
pub const LIMIT_PHRASE: &str = "Simultaneous Call Limit Reached";

/// OPTIONS: that we are here and what we take (RFC 3261 §11.2).
pub fn on_options(core: &mut Core, server: ServerKey, flow: &Flow, request: &Message<'_>) {
    core.suspect(flow, Suspicion::Options, false);
    if core.draining {
        return refuse_overloaded(core, server, flow, request);
    }
    refuse(
        core,
        server,
        flow,
        request,
        200,
        &[(HeaderName::Accept, b"application/sdp"), (HeaderName::Supported, b"timer")],
    );
}

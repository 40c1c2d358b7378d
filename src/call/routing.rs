//! Where a call goes: to an account's contacts or to the trunks of a number.
//!
//! Reads the directory only. Longest prefix wins; within one prefix the order of the configuration; shorter prefixes are
//! what is left when those fail.

use super::contacts::Binding;
use super::core::Core;
use super::directory::{Directory, Peer, Trunk};
use crate::base::text::push_socket;
use crate::base::{Flow, ShardId, SocketKey, Transport};
use crate::config::Forking;
use crate::sip::wire::{Message, Method, Scheme, Uri};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::VecDeque;

/// One place to send an INVITE to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The Request-URI.
    #[serde(with = "serde_bytes")]
    pub uri: Box<[u8]>,
    /// The path.
    pub flow: Flow,
    /// Who it is.
    pub peer: Peer,
}

/// What a Request-URI means here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// An account: its contacts are to be looked up.
    Account(u32),
    /// A number that these trunks take, in this order.
    Trunks(Vec<u32>),
    /// Nobody here.
    Unknown,
}

/// The user part or number that a URI names, unescaped; visual separators of `tel:` taken out (RFC 3966 §5.1.1).
#[must_use]
pub fn called_user<'a>(uri: &Uri<'a>) -> Cow<'a, [u8]> {
    if uri.scheme() == Scheme::Tel {
        let number = uri.raw().get(4..).unwrap_or_default();
        let number = number.split(|byte| *byte == b';').next().unwrap_or_default();
        return number.iter().copied().filter(|byte| !b"-.()".contains(byte)).collect();
    }
    let user = uri.user_unescaped().unwrap_or_default();
    match user.iter().position(|byte| *byte == b';') {
        Some(end) => Cow::Owned(user[..end].to_vec()),
        None => user,
    }
}

/// The emergency service of RFC 5031 §4.2, or one of its branches: `urn:service:sos`, `urn:service:sos.fire`.
#[must_use]
pub fn is_sos(uri: &Uri<'_>) -> bool {
    const SOS: &[u8] = b"urn:service:sos";
    let raw = uri.raw();
    let named = raw.get(..SOS.len()).is_some_and(|start| start.eq_ignore_ascii_case(SOS));
    named && raw.get(SOS.len()).is_none_or(|next| *next == b'.')
}

/// The number that is called: for the emergency service the first emergency number, since trunks take numbers.
#[must_use]
pub fn number<'a>(directory: &'a Directory, uri: &Uri<'a>) -> Cow<'a, [u8]> {
    match is_sos(uri) {
        true => directory.emergency_numbers().first().map_or(&b""[..], |number| number.as_bytes()).into(),
        false => called_user(uri),
    }
}

/// An initial INVITE that nothing may refuse.
#[must_use]
pub fn is_emergency(directory: &Directory, request: &Message<'_>) -> bool {
    let uri = request.uri();
    let begins = request.method() == Method::Invite && request.to().tag().is_none();
    begins && (is_sos(&uri) || directory.emergency_numbers().iter().any(|one| *one.as_bytes() == *called_user(&uri)))
}

/// Decides where a call goes. A trunk may send us any host, since carriers write their own; a phone only ours, so that
/// nobody relays through us (RFC 3261 §26.1).
#[must_use]
pub fn destination(core: &Core, uri: &Uri<'_>, caller: Peer) -> Destination {
    let directory = &core.directory;
    let user = number(directory, uri);
    let ours = uri.scheme() == Scheme::Tel || is_sos(uri) || directory.is_our_host(uri.host());
    if !ours && matches!(caller, Peer::Account(_)) {
        return Destination::Unknown;
    }
    if let Some(account) = directory.account_of_user(&user) {
        return Destination::Account(account);
    }
    let except = match caller {
        Peer::Trunk(trunk) => Some(trunk),
        Peer::Account(_) => None,
    };
    let trunks = directory.route(&user, except, core.now);
    if trunks.is_empty() { Destination::Unknown } else { Destination::Trunks(trunks) }
}

/// The target that a trunk is for this number.
#[must_use]
pub fn trunk_target(core: &Core, place: u32, user: &[u8]) -> Option<Target> {
    let trunk = core.directory.trunks.get(place as usize)?;
    let flow = trunk_flow(&core.directory, trunk, core.shard)?;
    let mut uri = Vec::with_capacity("sip:@[]:65535;transport=udp".len() + user.len() + 39);
    uri.extend_from_slice(b"sip:");
    if !user.is_empty() {
        uri.extend_from_slice(&escape_user(user));
        uri.push(b'@');
    }
    push_socket(&mut uri, trunk.address);
    if trunk.transport != Transport::Udp {
        uri.extend_from_slice(b";transport=");
        uri.extend_from_slice(trunk.transport.uri_token().as_bytes());
    }
    Some(Target { uri: uri.into(), flow, peer: Peer::Trunk(place) })
}

fn trunk_flow(directory: &Directory, trunk: &Trunk, shard: ShardId) -> Option<Flow> {
    // A stream that we open needs no listener of its own; Via and Contact then name the listener for UDP.
    let socket = directory
        .listener_towards(trunk.transport, trunk.address)
        .or_else(|| directory.listener_towards(Transport::Udp, trunk.address))
        .map_or(SocketKey(0), |listener| listener.socket);
    let usable = trunk.transport.is_reliable() || directory.listener_towards(Transport::Udp, trunk.address).is_some();
    usable.then_some(Flow { transport: trunk.transport, shard, socket, stream: None, remote: trunk.address })
}

/// The groups in which an account's contacts are called.
#[must_use]
pub fn contact_groups(account: u32, forking: Forking, mut contacts: Vec<Binding>) -> VecDeque<Vec<Target>> {
    contacts.sort_by_key(|contact| std::cmp::Reverse(contact.q));
    let mut groups: VecDeque<Vec<Target>> = VecDeque::new();
    let mut q_of_last = None;
    for contact in contacts {
        let target = Target { uri: contact.uri, flow: contact.flow, peer: Peer::Account(account) };
        let joins = forking == Forking::Parallel || q_of_last == Some(contact.q);
        q_of_last = Some(contact.q);
        match groups.back_mut().filter(|_| joins) {
            Some(group) => group.push(target),
            None => groups.push_back(vec![target]),
        }
    }
    groups
}

/// Escapes what may not stand in a user part (RFC 3261 §25.1).
#[must_use]
pub fn escape_user(user: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(user.len());
    for &byte in user {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Instant;

    fn contact(uri: &str, q: u16) -> Binding {
        let flow = Flow {
            transport: Transport::Udp,
            shard: ShardId(0),
            socket: SocketKey(0),
            stream: None,
            remote: "192.0.2.1:5060".parse().unwrap(),
        };
        let uri = uri.as_bytes().into();
        Binding { uri, params: Box::default(), flow, expires: Instant::MAX, call_id: 0, cseq: 1, q }
    }

    fn shape(forking: Forking) -> Vec<Vec<String>> {
        let contacts = vec![contact("a", 500), contact("b", 1000), contact("c", 500)];
        contact_groups(0, forking, contacts)
            .into_iter()
            .map(|group| group.iter().map(|target| String::from_utf8_lossy(&target.uri).into_owned()).collect())
            .collect()
    }

    #[test]
    fn serial_forking_goes_by_q_and_equal_ones_together() {
        assert_eq!(shape(Forking::Serial), [vec!["b"], vec!["a", "c"]]);
        assert_eq!(shape(Forking::Parallel), [vec!["b", "a", "c"]]);
    }

    #[test]
    fn a_number_loses_its_separators() {
        let uri = Uri::parse(b"tel:+1-(555)-010.0;phone-context=x").unwrap();
        assert_eq!(&*called_user(&uri), b"+15550100");
        let uri = Uri::parse(b"sip:%2b1555;npdi=yes@example.com").unwrap();
        assert_eq!(&*called_user(&uri), b"+1555");
    }

    #[test]
    fn the_emergency_service_is_known_by_its_name() {
        for (uri, expected) in [
            (&b"urn:service:sos"[..], true),
            (b"URN:Service:SOS.fire", true),
            (b"urn:service:sosophobia", false),
            (b"urn:service:counseling", false),
            (b"sip:sos@example.com", false),
        ] {
            assert_eq!(is_sos(&Uri::parse(uri).unwrap()), expected, "{}", String::from_utf8_lossy(uri));
        }
    }

    #[test]
    fn a_user_part_is_escaped_once() {
        assert_eq!(escape_user(b"a b@c%"), b"a%20b%40c%25");
    }
}

//! Any octets as a URI, an address, a Via, a list of values.

use strowger::sip::wire::{NameAddr, Params, Uri, Values, Via, unquote};

/// Reads them as each.
pub fn run(octets: &[u8]) {
    if let Some(uri) = Uri::parse(octets) {
        assert_eq!(uri.raw(), octets);
        assert!(uri.same_as(&uri));
        assert!(!uri.is_sip() || !uri.host().is_empty());
        let bracketed = [b"<", octets, b">;tag=x"].concat();
        let address = NameAddr::parse(&bracketed).expect("a URI may stand in brackets");
        assert_eq!((address.uri_raw(), address.tag()), (octets, Some(&b"x"[..])));
        assert!(address.uri().same_as(&uri));
        params(uri.params());
        let _ = (uri.user_unescaped(), uri.password(), uri.host_ip(), uri.port(), uri.headers(), uri.param(b"lr"));
    }
    if let Some(address) = NameAddr::parse(octets) {
        assert!(Uri::parse(address.uri_raw()).is_some());
        assert_eq!(NameAddr::parse(address.raw()).map(|again| again.raw()), Some(address.raw()));
        params(address.params());
        let _ = (address.display_unquoted(), address.q(), address.expires());
    }
    if let Some(via) = Via::parse(octets) {
        assert!(!via.host().is_empty() && !via.transport_token().is_empty());
        assert_eq!(via.params().get(b"branch"), via.branch());
        params(via.params());
        let _ = (via.received_ip(), via.rport(), via.host_ip());
    }
    for value in Values::of_line(octets) {
        assert!(!value.is_empty() && value.len() <= octets.len());
    }
    assert!(unquote(octets).len() <= octets.len());
}

fn params(params: Params<'_>) {
    for (name, _) in params {
        assert!(!name.is_empty() && params.lookup(name).is_some());
    }
}

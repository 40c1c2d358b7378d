//! Equality of URIs (RFC 3261 §19.1.4). Allocates only where escapes have to be read.

use super::{Uri, unescape};

impl Uri<'_> {
    /// Equality by RFC 3261 §19.1.4; octet by octet for other schemes than SIP and SIPS.
    #[must_use]
    pub fn same_as(&self, other: &Uri<'_>) -> bool {
        // Also where a parameter stands twice, once in escapes, so that a comparison by name finds the wrong one.
        if self.raw == other.raw {
            return true;
        }
        if self.scheme() != other.scheme() || !self.is_sip() {
            return false;
        }
        let optional = |ours: Option<&[u8]>, theirs: Option<&[u8]>| match (ours, theirs) {
            (Some(ours), Some(theirs)) => same_text(ours, theirs),
            (ours, theirs) => ours.is_none() && theirs.is_none(),
        };
        self.port() == other.port()
            && same_caseless(self.host(), other.host())
            && optional(self.user(), other.user())
            && optional(self.password(), other.password())
            && params_agree(self, other)
            && params_agree(other, self)
            && headers_agree(self.headers(), other.headers())
            && headers_agree(other.headers(), self.headers())
    }
}

/// Equal once the escapes are read; octets that are equal as they stand need no reading.
fn same_text(ours: &[u8], theirs: &[u8]) -> bool {
    ours == theirs || unescape(ours) == unescape(theirs)
}

fn same_caseless(ours: &[u8], theirs: &[u8]) -> bool {
    ours.eq_ignore_ascii_case(theirs) || unescape(ours).eq_ignore_ascii_case(&unescape(theirs))
}

/// Parameters in both must match; `user`, `ttl`, `method`, `maddr` and, as RFC 3261 §19.1.4's examples have it, `transport`
/// must not be in one only.
fn params_agree(ours: &Uri<'_>, theirs: &Uri<'_>) -> bool {
    const NEVER_ALONE: [&[u8]; 5] = [b"user", b"ttl", b"method", b"maddr", b"transport"];
    ours.params().all(|(name, value)| match theirs.param_value(&unescape(name)) {
        Some(other) => same_caseless(value.unwrap_or_default(), other.unwrap_or_default()),
        None => !NEVER_ALONE.iter().any(|special| special.eq_ignore_ascii_case(&unescape(name))),
    })
}

/// Every header of one URI is one of the other's.
fn headers_agree(ours: &[u8], theirs: &[u8]) -> bool {
    ours.is_empty()
        || ours
            .split(|octet| *octet == b'&')
            .all(|ours| theirs.split(|octet| *octet == b'&').any(|theirs| same_caseless(ours, theirs)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(one: &str, two: &str) -> bool {
        let (one, two) = (Uri::parse(one.as_bytes()).unwrap(), Uri::parse(two.as_bytes()).unwrap());
        assert_eq!(one.same_as(&two), two.same_as(&one));
        one.same_as(&two)
    }

    /// The examples of RFC 3261 §19.1.4.
    #[test]
    fn equality() {
        assert!(same("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtlanTa.CoM;Transport=tcp"));
        assert!(same("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"));
        assert!(same("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"));
        assert!(same(
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com"
        ));
        assert!(same(
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x"
        ));
        assert!(same("sip:b;%6Cr=1;lr=2", "sip:b;%6Cr=1;lr=2"));
        assert!(!same("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"));
        assert!(!same("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"));
        assert!(!same("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"));
        assert!(!same("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"));
        assert!(!same("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"));
        assert!(!same("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"));
        assert!(!same("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"));
    }
}

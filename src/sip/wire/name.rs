//! Header field names: known in any case and in the compact form (RFC 3261 §7.3.3, §20), found by one probe of a table
//! that is laid out at compile time.

macro_rules! names {
    ($($(#[$doc:meta])* $variant:ident $text:literal $($compact:literal)?;)*) => {
        /// A header field known by name; all others are `Other` and keep their bytes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum HeaderName {
            $(#[doc = concat!("`", $text, "`.")] $variant,)*
            /// Any other name.
            Other,
        }

        impl HeaderName {
            /// Every name but `Other`.
            pub const ALL: [Self; Self::Other as usize] = [$(Self::$variant),*];

            /// The usual spelling; empty for `Other`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* Self::Other => "" }
            }

            /// The one-letter form, if there is one.
            #[must_use]
            pub const fn compact(self) -> Option<u8> {
                match self { $($(Self::$variant => Some($compact),)?)* _ => None }
            }
        }
    };
}

names! {
    Accept "Accept";
    AcceptContact "Accept-Contact" b'a';
    AcceptEncoding "Accept-Encoding";
    AcceptLanguage "Accept-Language";
    AlertInfo "Alert-Info";
    Allow "Allow";
    AllowEvents "Allow-Events" b'u';
    AuthenticationInfo "Authentication-Info";
    Authorization "Authorization";
    CallId "Call-ID" b'i';
    CallInfo "Call-Info";
    Contact "Contact" b'm';
    ContentDisposition "Content-Disposition";
    ContentEncoding "Content-Encoding" b'e';
    ContentLanguage "Content-Language";
    ContentLength "Content-Length" b'l';
    ContentType "Content-Type" b'c';
    CSeq "CSeq";
    Date "Date";
    Diversion "Diversion";
    ErrorInfo "Error-Info";
    Event "Event" b'o';
    Expires "Expires";
    FlowTimer "Flow-Timer";
    From "From" b'f';
    HistoryInfo "History-Info";
    Identity "Identity" b'y';
    IdentityInfo "Identity-Info" b'n';
    InReplyTo "In-Reply-To";
    InfoPackage "Info-Package";
    Join "Join";
    MaxForwards "Max-Forwards";
    MimeVersion "MIME-Version";
    MinExpires "Min-Expires";
    MinSE "Min-SE";
    Organization "Organization";
    PAccessNetworkInfo "P-Access-Network-Info";
    PAssertedIdentity "P-Asserted-Identity";
    PAssociatedUri "P-Associated-URI";
    PChargingVector "P-Charging-Vector";
    PPreferredIdentity "P-Preferred-Identity";
    Path "Path";
    Priority "Priority";
    Privacy "Privacy";
    ProxyAuthenticate "Proxy-Authenticate";
    ProxyAuthorization "Proxy-Authorization";
    ProxyRequire "Proxy-Require";
    RAck "RAck";
    Reason "Reason";
    RecordRoute "Record-Route";
    RecvInfo "Recv-Info";
    ReferSub "Refer-Sub";
    ReferTo "Refer-To" b'r';
    ReferredBy "Referred-By" b'b';
    RejectContact "Reject-Contact" b'j';
    RemotePartyId "Remote-Party-ID";
    Replaces "Replaces";
    ReplyTo "Reply-To";
    RequestDisposition "Request-Disposition" b'd';
    Require "Require";
    RetryAfter "Retry-After";
    Route "Route";
    RSeq "RSeq";
    Server "Server";
    ServiceRoute "Service-Route";
    SessionExpires "Session-Expires" b'x';
    SipEtag "SIP-ETag";
    SipIfMatch "SIP-If-Match";
    Subject "Subject" b's';
    SubscriptionState "Subscription-State";
    Supported "Supported" b'k';
    Timestamp "Timestamp";
    To "To" b't';
    Unsupported "Unsupported";
    UserAgent "User-Agent";
    UserToUser "User-to-User";
    Via "Via" b'v';
    Warning "Warning";
    WwwAuthenticate "WWW-Authenticate";
}

/// Count of names known, `Other` not counted.
pub(super) const KNOWN: usize = HeaderName::Other as usize;

const LONGEST: usize = 24;
const CASE: u128 = u128::from_le_bytes([0x20; 16]);

/// What a window is looked up in. One object, so that one register holds its address.
struct Tables {
    /// The first octets of a window, by their count.
    first: [u128; 17],
    /// Which spelling each slot holds. No two share one.
    slot: [u8; 1 << SLOT_BITS],
    /// The spellings: names and their compact forms; the first sixteen octets in lower case, zero-padded.
    spelling: [u128; SPELLINGS],
    /// Whose spelling it is.
    name: [HeaderName; SPELLINGS],
}

const SPELLINGS: usize = 1 << u8::BITS;
const NO_SPELLING: u8 = u8::MAX;
const SLOT_BITS: u32 = 10;

static TABLES: Tables = {
    let mut first = [0; 17];
    let mut count = 1;
    while count < 17 {
        first[count] = u128::MAX >> (128 - 8 * count);
        count += 1;
    }
    let mut name = [HeaderName::Other; SPELLINGS];
    let spelling = spellings(&mut name);
    let Some(slot) = slots(&spelling, FACTOR) else { panic!("FACTOR was found by trying") };
    Tables { first, slot, spelling, name }
};

const fn spellings(names: &mut [HeaderName; SPELLINGS]) -> [u128; SPELLINGS] {
    // No text is all ones.
    let mut texts = [u128::MAX; SPELLINGS];
    let mut count = 0;
    let mut known = 0;
    while known < KNOWN {
        let name = HeaderName::ALL[known];
        let bytes = name.as_bytes();
        assert!(bytes.len() > 1 && bytes.len() <= LONGEST);
        let mut text = 0;
        let mut at = 0;
        while at < bytes.len() && at < 16 {
            text |= ((bytes[at] | 0x20) as u128) << (at * 8);
            at += 1;
        }
        (texts[count], names[count]) = (text, name);
        count += 1;
        if let Some(letter) = name.compact() {
            (texts[count], names[count]) = (letter as u128, name);
            count += 1;
        }
        known += 1;
    }
    assert!(count < NO_SPELLING as usize);
    texts
}

#[inline(always)]
const fn slot(text: u128, factor: u64) -> usize {
    ((text as u64) ^ (text >> 64) as u64).wrapping_mul(factor).wrapping_shr(64 - SLOT_BITS) as usize
}

/// The first odd multiple of the golden ratio that gives each spelling its own slot.
const FACTOR: u64 = {
    let spelling = spellings(&mut [HeaderName::Other; SPELLINGS]);
    let mut factor = 0x9e37_79b9_7f4a_7c15;
    while slots(&spelling, factor).is_none() {
        factor = factor.wrapping_add(0x9e37_79b9_7f4a_7c15 << 1);
    }
    factor
};

const fn slots(spellings: &[u128; SPELLINGS], factor: u64) -> Option<[u8; 1 << SLOT_BITS]> {
    let mut slots = [NO_SPELLING; 1 << SLOT_BITS];
    let mut spelling = 0;
    while spellings[spelling] != u128::MAX {
        let at = slot(spellings[spelling], factor);
        if slots[at] != NO_SPELLING {
            return None;
        }
        slots[at] = spelling as u8;
        spelling += 1;
    }
    Some(slots)
}

impl HeaderName {
    /// The usual spelling as octets; empty for `Other`.
    #[must_use]
    pub const fn as_bytes(self) -> &'static [u8] {
        self.as_str().as_bytes()
    }

    /// Finds a name in any case, compact or not.
    #[must_use]
    pub fn from_token(token: &[u8]) -> Self {
        let mut octets = [0; 16];
        let head = token.len().min(16);
        octets[..head].copy_from_slice(&token[..head]);
        if token.is_empty() || token.len() > LONGEST {
            return Self::Other;
        }
        let found = Self::from_window(u128::from_le_bytes(octets), token.len());
        found.filter(|name| token.len() == 1 || token.eq_ignore_ascii_case(name.as_bytes())).unwrap_or(Self::Other)
    }

    /// The name, if it is known, of the first `len` octets of the window. Setting the case bit turns CR into a hyphen:
    /// the caller knows that there is none, or compares; so it does with what stands behind sixteen octets.
    #[inline(always)]
    pub(super) fn from_window(window: u128, len: usize) -> Option<Self> {
        let text = (window | CASE) & TABLES.first[len.min(16)];
        let spelling = usize::from(TABLES.slot[slot(text, FACTOR)]);
        // No octet of a spelling is NUL: equal texts of up to sixteen octets have equal lengths.
        (TABLES.spelling[spelling] == text).then(|| TABLES.name[spelling])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case() {
        for name in HeaderName::ALL {
            let text = name.as_bytes();
            assert_eq!(HeaderName::from_token(text), name);
            assert_eq!(HeaderName::from_token(&text.to_ascii_uppercase()), name);
            assert_eq!(HeaderName::from_token(&text.to_ascii_lowercase()), name);
            // `T` alone is the compact form of To.
            if text.len() > 2 {
                assert_eq!(HeaderName::from_token(&text[..text.len() - 1]), HeaderName::Other);
            }
        }
    }

    #[test]
    fn compact_forms_are_found() {
        for name in HeaderName::ALL {
            if let Some(letter) = name.compact() {
                assert_eq!(HeaderName::from_token(&[letter]), name);
                assert_eq!(HeaderName::from_token(&[letter.to_ascii_uppercase()]), name);
            }
        }
        assert_eq!(HeaderName::from_token(b"6"), HeaderName::Other);
        assert_eq!(HeaderName::from_token(b"z"), HeaderName::Other);
    }

    #[test]
    fn only_letters_change_case() {
        for foreign in [&b"Call\rID"[..], b"CSe\x51", b"C%6Fntact", b"", b"X-Foo", b"\x56ia\0"] {
            let expected = if foreign == b"CSeQ" { HeaderName::CSeq } else { HeaderName::Other };
            assert_eq!(HeaderName::from_token(foreign), expected);
        }
    }
}

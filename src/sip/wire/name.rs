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
const SLOTS: usize = 256;
const CASE: u128 = u128::from_le_bytes([0x20; 16]);

/// The first sixteen octets of each name in lower case, zero-padded.
const TEXT: [u128; KNOWN] = {
    let mut text = [0; KNOWN];
    let mut name = 0;
    while name < KNOWN {
        let bytes = HeaderName::ALL[name].as_str().as_bytes();
        assert!(bytes.len() > 1 && bytes.len() <= LONGEST);
        let mut at = 0;
        while at < bytes.len() && at < 16 {
            text[name] |= ((bytes[at] | 0x20) as u128) << (at * 8);
            at += 1;
        }
        name += 1;
    }
    text
};

/// The first octets of a window, by their count.
const FIRST: [u128; 17] = {
    let mut masks = [0; 17];
    let mut count = 1;
    while count < 17 {
        masks[count] = u128::MAX >> (128 - 8 * count);
        count += 1;
    }
    masks
};

const fn slot(text: u128, len: usize) -> usize {
    ((text as u64) ^ len as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_shr(56) as usize
}

/// Open addressing with linear probing; `Other` marks an empty slot.
const TABLE: [HeaderName; SLOTS] = {
    let mut table = [HeaderName::Other; SLOTS];
    let mut name = 0;
    while name < KNOWN {
        let mut at = slot(TEXT[name], HeaderName::ALL[name].as_str().len());
        while !matches!(table[at], HeaderName::Other) {
            at = (at + 1) % SLOTS;
        }
        table[at] = HeaderName::ALL[name];
        name += 1;
    }
    table
};

const COMPACT: [HeaderName; 32] = {
    let mut table = [HeaderName::Other; 32];
    let mut name = 0;
    while name < KNOWN {
        if let Some(letter) = HeaderName::ALL[name].compact() {
            table[letter as usize & 31] = HeaderName::ALL[name];
        }
        name += 1;
    }
    table
};

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
        let exact = token.len() == 1 || token.eq_ignore_ascii_case(found.as_bytes());
        if exact { found } else { Self::Other }
    }

    /// Finds the name of `len` octets, at least one, that starts the window. Setting the case bit turns CR into a hyphen: the
    /// caller knows that there is none, or compares; so it does with what stands behind sixteen octets.
    #[inline(always)]
    pub(super) fn from_window(window: u128, len: usize) -> Self {
        if len == 1 {
            let letter = window as u8;
            return if letter.is_ascii_alphabetic() { COMPACT[usize::from(letter & 31)] } else { Self::Other };
        }
        let text = (window | CASE) & FIRST[len.min(16)];
        let mut at = slot(text, len);
        loop {
            let candidate = TABLE[at % SLOTS];
            // No octet of a name is NUL: equal texts of up to sixteen octets have equal lengths.
            match TEXT.get(candidate as usize) {
                Some(expected) if *expected != text => at += 1,
                _ => return candidate,
            }
        }
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

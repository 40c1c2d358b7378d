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

/// Longest known name, rounded up to whole words.
const WORDS: usize = 3;
const SLOTS: usize = 256;
const CASE: u64 = 0x2020_2020_2020_2020;

/// Lower-case words of each name, zero-padded.
const TEXT: [[u64; WORDS]; KNOWN] = {
    let mut text = [[0; WORDS]; KNOWN];
    let mut name = 0;
    while name < KNOWN {
        let bytes = HeaderName::ALL[name].as_str().as_bytes();
        assert!(bytes.len() > 1 && bytes.len() <= WORDS * 8);
        let mut at = 0;
        while at < bytes.len() {
            text[name][at / 8] |= ((bytes[at] | 0x20) as u64) << (at % 8 * 8);
            at += 1;
        }
        name += 1;
    }
    text
};

const fn slot(first: u64, len: usize) -> usize {
    (first ^ len as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_shr(56) as usize
}

/// Open addressing with linear probing; `Other` marks an empty slot.
const TABLE: [HeaderName; SLOTS] = {
    let mut table = [HeaderName::Other; SLOTS];
    let mut name = 0;
    while name < KNOWN {
        let mut at = slot(TEXT[name][0], HeaderName::ALL[name].as_str().len());
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
        if let [letter] = token {
            return if letter.is_ascii_alphabetic() { COMPACT[*letter as usize & 31] } else { Self::Other };
        }
        if token.len() > WORDS * 8 || token.is_empty() {
            return Self::Other;
        }
        let words = words(token);
        let mut at = slot(words[0], token.len());
        loop {
            let candidate = TABLE[at];
            let Some(text) = TEXT.get(candidate as usize) else { return Self::Other };
            if *text == words && candidate.as_str().len() == token.len() {
                // Setting the case bit turns CR into a hyphen and `@`-like octets into others; only letters may differ.
                return if token.eq_ignore_ascii_case(candidate.as_bytes()) { candidate } else { Self::Other };
            }
            at = (at + 1) % SLOTS;
        }
    }
}

/// The token's octets in lower case, zero-padded.
fn words(token: &[u8]) -> [u64; WORDS] {
    let mut words = [0; WORDS];
    for (word, chunk) in words.iter_mut().zip(token.chunks(8)) {
        let mut octets = [0; 8];
        octets[..chunk.len()].copy_from_slice(chunk);
        let mask = u64::MAX >> (64 - chunk.len() * 8);
        *word = (u64::from_le_bytes(octets) | CASE) & mask;
    }
    words
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

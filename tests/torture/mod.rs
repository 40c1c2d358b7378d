//! The messages of RFC 4475 (with the one in its archive that no section names), byte for byte as the RFC's
//! archive has them, and of RFC 5118 with CRLF line ends and the Content-Length that these make; data files of this
//! repository, so that any clone can be tortured with them.

/// One message.
pub struct Case {
    /// Its name in the RFC, without the ending.
    pub name: &'static str,
    /// Its octets.
    pub bytes: &'static [u8],
}

macro_rules! cases {
    ($folder:literal: $($name:literal)+) => {
        /// All of them.
        pub const CASES: &[super::Case] = &[$(super::Case {
            name: $name,
            bytes: include_bytes!(concat!("../data/", $folder, "/", $name, ".dat")),
        },)+];

        /// The one of that name.
        #[allow(dead_code, reason = "not every test asks by name")]
        pub fn case(name: &str) -> Option<&'static super::Case> {
            CASES.iter().find(|case| case.name == name)
        }
    };
}

/// RFC 4475.
#[allow(dead_code, reason = "not every test uses both")]
pub mod rfc4475 {
    cases!("rfc4475":
        "wsinv" "intmeth" "esc01" "escnull" "esc02" "lwsdisp" "longreq" "dblreq" "semiuri" "transports"
        "mpart01" "unreason" "noreason" "badinv01" "clerr" "ncl" "scalar02" "scalarlg" "quotbal" "ltgtruri"
        "lwsruri" "lwsstart" "trws" "escruri" "baddate" "regbadct" "badaspec" "baddn" "badvers" "mismatch01"
        "mismatch02" "bigcode" "badbranch" "insuf" "unkscm" "novelsc" "unksm2" "bext01" "invut" "regaut01"
        "multi01" "mcl01" "bcast" "zeromf" "cparam01" "cparam02" "regescrt" "sdp01" "inv2543" "test"
    );
}

/// RFC 5118: IPv6.
#[allow(dead_code, reason = "not every test uses both")]
pub mod rfc5118 {
    cases!("rfc5118":
        "ipv4-mapped-ipv6" "ipv6-bad" "ipv6-bug-abnf-3-colons" "ipv6-correct-abnf-2-colons" "ipv6-good"
        "ipv6-in-sdp" "mult-ip-in-header" "mult-ip-in-sdp" "port-ambiguous" "port-unambiguous"
        "via-received-param-no-delim" "via-received-param-with-delim"
    );
}

//! The side that challenges: nonces that need no memory until they are used, and one amount of work for every answer.
//!
//! A nonce is the shard, the time, 32 random bits and a mark of where it was sent, signed with a key that lives as long as
//! the process (RFC 7616 §3.3, §5.4). The table of used nonce counts belongs to one shard, so a nonce of another shard is
//! stale here. Credentials are good from anywhere, since phones move between addresses; but who repeats a nonce from the
//! address that it was sent to can be reached there, which a forger of that address cannot show
//! ([`Server::was_sent_to`]).

use super::hmac::Hmac;
use super::replay::{Replays, Use};
use super::{Algorithm, Credentials, Ha1, Inputs};
use crate::base::time::Duration;
use crate::base::{Instant, Keyed, Random, ShardId, Source};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

/// What a server needs to know.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The realm; quotes and backslashes in it are dropped.
    pub realm: String,
    /// Whose table of nonce counts this is.
    pub shard: ShardId,
    /// How long a nonce may be used.
    pub nonce_lifetime: Duration,
    /// Nonces in use that are remembered.
    pub nonces_max: usize,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self { realm: String::new(), shard: ShardId(0), nonce_lifetime: Duration::from_secs(300), nonces_max: 65_536 }
    }
}

/// What credentials turn out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The user is who it says.
    Ok,
    /// Right, but with a nonce that is too old or unknown: challenge again with `stale=true`.
    Stale,
    /// Wrong password, unknown user or another realm: challenge again, the same for all three.
    Wrong,
    /// Right, but this nonce count was used before: challenge again with `stale=true`.
    Replay,
    /// Without `qop=auth`, or with an algorithm that was not offered: 400 (or challenge again).
    Malformed,
}

/// A [`Server`] at rest: its secrets and the nonce counts that have been used.
#[derive(Serialize, Deserialize)]
pub struct Frozen {
    key: [u8; 32],
    random: Random,
    replays: super::replay::Frozen,
    nobody: Ha1,
}

impl std::fmt::Debug for Frozen {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Frozen").finish_non_exhaustive()
    }
}

/// Challenges and verifies for one realm. One per shard.
pub struct Server {
    realm: Vec<u8>,
    shard: ShardId,
    lifetime: Duration,
    key: [u8; 32],
    hmac: Hmac,
    random: Random,
    replays: Replays,
    /// Stands in for the secret of unknown users.
    nobody: Ha1,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Server").field("realm", &self.realm).finish_non_exhaustive()
    }
}

const STAMP_BYTES: usize = 16;
const MAC_BYTES: usize = 16;
/// Digits of a nonce.
pub const NONCE_LEN: usize = 2 * (STAMP_BYTES + MAC_BYTES);
const TIME_BITS: u32 = 56;

/// What our own nonce says.
struct Nonce {
    shard: ShardId,
    made: Instant,
    /// Random bits, then the mark of where it was sent.
    serial: u64,
}

impl Nonce {
    fn stamp(&self) -> u64 {
        u64::from(self.shard.0) << TIME_BITS | self.made.as_millis()
    }
}

impl Server {
    /// A server with fresh keys.
    #[must_use]
    pub fn new(options: ServerOptions, mut random: Random) -> Self {
        let (mut key, mut nobody) = ([0; 32], Ha1 { md5: [0; 16], sha256: [0; 32] });
        random.fill(&mut key);
        random.fill(&mut nobody.md5);
        random.fill(&mut nobody.sha256);
        let hasher = Keyed::from_random(&mut random);
        Self {
            realm: options.realm.into_bytes().into_iter().filter(|byte| !b"\"\\\r\n".contains(byte)).collect(),
            shard: options.shard,
            lifetime: options.nonce_lifetime,
            key,
            hmac: Hmac::new(&key),
            random,
            replays: Replays::new(options.nonces_max, hasher),
            nobody,
        }
    }

    /// What makes nonces that are out there, and what is known of them, worth keeping over a hand-over.
    #[must_use]
    pub fn freeze(&self) -> Frozen {
        let Self { key, random, replays, .. } = self;
        Frozen { key: *key, random: random.clone(), replays: replays.freeze(), nobody: self.nobody }
    }

    /// Goes on with the nonces of another life; what the options say stays.
    pub fn thaw(&mut self, frozen: Frozen) {
        self.hmac = Hmac::new(&frozen.key);
        (self.key, self.random, self.nobody) = (frozen.key, frozen.random, frozen.nobody);
        self.replays.thaw(frozen.replays);
    }

    /// The realm, as clients see it and [`Ha1`] must be made with.
    #[must_use]
    pub fn realm(&self) -> &[u8] {
        &self.realm
    }

    /// Nonces in use that are remembered now.
    #[must_use]
    pub fn nonces(&self) -> usize {
        self.replays.len()
    }

    /// Appends the value of a `WWW-Authenticate` or `Proxy-Authenticate` header. For several algorithms, one header
    /// each, the best first (RFC 8760 §2.4); they may share a nonce, whose counts are then used by one of them only.
    pub fn challenge(&self, nonce: &super::Hex, algorithm: Algorithm, stale: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(b"Digest realm=\"");
        out.extend_from_slice(&self.realm);
        out.extend_from_slice(b"\", nonce=\"");
        out.extend_from_slice(nonce);
        out.extend_from_slice(b"\", qop=\"auth\", algorithm=");
        out.extend_from_slice(algorithm.token().as_bytes());
        if stale {
            out.extend_from_slice(b", stale=true");
        }
    }

    /// Judges a request. `ha1` is `None` for an unknown user, which costs as much work as a wrong password. ACK and
    /// CANCEL carry the credentials of their INVITE and are not judged (RFC 3261 §22.1).
    pub fn verify(&mut self, now: Instant, credentials: &Credentials<'_>, method: &[u8], ha1: Option<&Ha1>) -> Verdict {
        let Some((count, digits, cnonce)) = credentials.auth else { return Verdict::Malformed };
        if credentials.algorithm.is_session() {
            return Verdict::Malformed;
        }
        let inputs = Inputs {
            algorithm: credentials.algorithm,
            nonce: credentials.nonce,
            auth: Some((digits, cnonce)),
            method,
            uri: credentials.uri,
        };
        let expected = inputs.response(ha1.unwrap_or(&self.nobody));
        let equal = bool::from(expected.as_slice().ct_eq(&credentials.response.to_ascii_lowercase()));
        let nonce = self.read_nonce(credentials.nonce);
        if !equal || ha1.is_none() || credentials.realm != self.realm {
            return Verdict::Wrong;
        }
        let Some(nonce) = nonce.filter(|nonce| nonce.shard == self.shard) else { return Verdict::Stale };
        if nonce.made > now || now.since(nonce.made) > self.lifetime {
            return Verdict::Stale;
        }
        let lifetime_millis = u64::try_from(self.lifetime.as_millis()).unwrap_or(u64::MAX);
        let oldest = Instant::from_millis(now.as_millis().saturating_sub(lifetime_millis));
        match self.replays.note(nonce.serial, nonce.made, count, oldest) {
            Use::Fresh => Verdict::Ok,
            Use::Again => Verdict::Replay,
            Use::Forgotten => Verdict::Stale,
        }
    }

    /// True for a nonce that this server sent to `source` and that has not expired.
    #[must_use]
    pub fn was_sent_to(&self, now: Instant, nonce: &[u8], source: Source) -> bool {
        let Some(nonce) = self.read_nonce(nonce) else { return false };
        let fresh = nonce.made <= now && now.since(nonce.made) <= self.lifetime;
        let mark = self.mark(&nonce.stamp().to_be_bytes(), (nonce.serial >> 32) as u32, source);
        fresh && nonce.shard == self.shard && bool::from(mark.ct_eq(&(nonce.serial as u32)))
    }

    /// Of the place that a nonce is sent to.
    fn mark(&self, stamp: &[u8], random: u32, to: Source) -> u32 {
        let mac = self.hmac.sign(&[b"to", stamp, &random.to_be_bytes(), &to.octets()]);
        u32::from_be_bytes([mac[0], mac[1], mac[2], mac[3]])
    }

    /// A nonce that is sent to `to` now.
    pub fn nonce(&mut self, now: Instant, to: Source) -> super::Hex {
        let made = Instant::from_millis(now.as_millis() & ((1 << TIME_BITS) - 1));
        let stamp = Nonce { shard: self.shard, made, serial: 0 }.stamp().to_be_bytes();
        let random = (self.random.next_u64() >> 32) as u32;
        let serial = u64::from(random) << 32 | u64::from(self.mark(&stamp, random, to));
        let mut bytes = [0; STAMP_BYTES + MAC_BYTES];
        bytes[..8].copy_from_slice(&stamp);
        bytes[8..STAMP_BYTES].copy_from_slice(&serial.to_be_bytes());
        let mac = self.hmac.sign(&[&bytes[..STAMP_BYTES]]);
        bytes[STAMP_BYTES..].copy_from_slice(&mac[..MAC_BYTES]);
        super::hex(&bytes)
    }

    /// Reads a nonce of our own; does the same work for any text.
    fn read_nonce(&self, text: &[u8]) -> Option<Nonce> {
        let mut bytes = [0; STAMP_BYTES + MAC_BYTES];
        let mut ours = text.len() == NONCE_LEN;
        for (byte, digits) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            let (high, low) = (char::from(digits[0]).to_digit(16), char::from(digits[1]).to_digit(16));
            ours &= high.is_some() && low.is_some();
            *byte = (high.unwrap_or(0) << 4 | low.unwrap_or(0)) as u8;
        }
        let mac = self.hmac.sign(&[&bytes[..STAMP_BYTES]]);
        ours &= bool::from(mac[..MAC_BYTES].ct_eq(&bytes[STAMP_BYTES..]));
        let word = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap_or_default());
        let stamp = word(0);
        ours.then(|| Nonce {
            shard: ShardId((stamp >> TIME_BITS) as u8),
            made: Instant::from_millis(stamp & ((1 << TIME_BITS) - 1)),
            serial: word(8),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Challenge, Login, answer};
    use super::*;

    const URI: &[u8] = b"sip:example.com";

    fn server(shard: u8, nonces_max: usize) -> Server {
        let options = ServerOptions {
            realm: "exa\"mple.com".into(),
            shard: ShardId(shard),
            nonces_max,
            ..ServerOptions::default()
        };
        Server::new(options, Random::from_u64(9))
    }

    fn challenge(server: &mut Server, now: Instant, algorithm: Algorithm) -> Vec<u8> {
        let mut out = Vec::new();
        let nonce = server.nonce(now, here());
        server.challenge(&nonce, algorithm, false, &mut out);
        out
    }

    fn here() -> Source {
        Source::of([192, 0, 2, 1].into())
    }

    fn credentials(challenge: &[u8], password: &[u8], count: u32) -> Vec<u8> {
        let login = Login::Password { username: b"alice", password };
        let mut out = Vec::new();
        answer(&Challenge::parse(challenge).unwrap(), &login, b"REGISTER", URI, b"cafe", count, &mut out);
        out
    }

    fn judge(server: &mut Server, now: Instant, header: &[u8], known: bool) -> Verdict {
        let ha1 = Ha1::new(b"alice", b"example.com", b"secret");
        server.verify(now, &Credentials::parse(header).unwrap(), b"REGISTER", known.then_some(&ha1))
    }

    #[test]
    fn both_algorithms_pass_once_and_each_count_only_once() {
        let mut server = server(0, 8);
        for algorithm in [Algorithm::Md5, Algorithm::Sha256] {
            let challenge = challenge(&mut server, Instant::ZERO, algorithm);
            let first = credentials(&challenge, b"secret", 1);
            assert_eq!(judge(&mut server, Instant::ZERO, &first, true), Verdict::Ok);
            assert_eq!(judge(&mut server, Instant::ZERO, &first, true), Verdict::Replay);
            let second = credentials(&challenge, b"secret", 2);
            assert_eq!(judge(&mut server, Instant::from_millis(10), &second, true), Verdict::Ok);
        }
        assert_eq!(server.nonces(), 2);
    }

    #[test]
    fn wrong_and_unknown_look_the_same_and_leave_no_trace() {
        let mut server = server(0, 8);
        let challenge = challenge(&mut server, Instant::ZERO, Algorithm::Sha256);
        let (wrong, right) = (credentials(&challenge, b"guess", 1), credentials(&challenge, b"secret", 1));
        assert_eq!(judge(&mut server, Instant::ZERO, &wrong, true), Verdict::Wrong);
        assert_eq!(judge(&mut server, Instant::ZERO, &right, false), Verdict::Wrong);
        assert_eq!(server.nonces(), 0);
        assert_eq!(judge(&mut server, Instant::ZERO, &right, true), Verdict::Ok);
        let lower = String::from_utf8(wrong).unwrap().replace("example.com\", n", "other.com\", n");
        assert_eq!(judge(&mut server, Instant::ZERO, lower.as_bytes(), true), Verdict::Wrong);
    }

    #[test]
    fn nonces_expire_and_belong_to_their_process_and_shard() {
        let mut server = server(0, 8);
        let old = challenge(&mut server, Instant::from_millis(5), Algorithm::Md5);
        let header = credentials(&old, b"secret", 1);
        assert_eq!(judge(&mut server, Instant::from_millis(4), &header, true), Verdict::Stale, "from the future");
        assert_eq!(judge(&mut server, Instant::from_millis(300_006), &header, true), Verdict::Stale);
        assert_eq!(judge(&mut server, Instant::from_millis(300_005), &header, true), Verdict::Ok);
        let mut elsewhere = self::server(1, 8);
        assert_eq!(judge(&mut elsewhere, Instant::from_millis(5), &header, true), Verdict::Stale, "another shard");
        let mut restarted = Server::new(
            ServerOptions { realm: "example.com".into(), ..ServerOptions::default() },
            Random::from_u64(10),
        );
        assert_eq!(judge(&mut restarted, Instant::from_millis(5), &header, true), Verdict::Stale, "another key");
        let forged = credentials(b"Digest realm=\"example.com\", nonce=\"abc\", qop=\"auth\"", b"secret", 1);
        assert_eq!(judge(&mut server, Instant::ZERO, &forged, true), Verdict::Stale, "not a nonce at all");
    }

    #[test]
    fn a_nonce_shows_where_it_was_sent_and_nowhere_else() {
        let mut server = server(0, 8);
        let made = Instant::from_millis(5);
        let text = challenge(&mut server, made, Algorithm::Md5);
        let nonce = Challenge::parse(&text).unwrap().nonce.to_vec();
        let elsewhere = Source::of([192, 0, 2, 2].into());
        assert!(server.was_sent_to(made, &nonce, here()) && !server.was_sent_to(made, &nonce, elsewhere));
        assert!(server.was_sent_to(Instant::from_millis(300_005), &nonce, here()));
        assert!(!server.was_sent_to(Instant::from_millis(300_006), &nonce, here()), "it has expired");
        assert!(!server.was_sent_to(made, b"abc", here()));
        assert!(!self::server(1, 8).was_sent_to(made, &nonce, here()), "another shard's");
    }

    #[test]
    fn what_was_not_offered_is_malformed() {
        let mut server = server(0, 8);
        let legacy = credentials(b"Digest realm=\"example.com\", nonce=\"abc\"", b"secret", 1);
        assert_eq!(judge(&mut server, Instant::ZERO, &legacy, true), Verdict::Malformed);
        let challenge = challenge(&mut server, Instant::ZERO, Algorithm::Sha256Session);
        let session = credentials(&challenge, b"secret", 1);
        assert_eq!(judge(&mut server, Instant::ZERO, &session, true), Verdict::Malformed);
    }

    #[test]
    fn a_challenge_reads_as_written() {
        let mut server = server(3, 8);
        let mut text = Vec::new();
        let nonce = server.nonce(Instant::from_millis(77), here());
        server.challenge(&nonce, Algorithm::Sha256, true, &mut text);
        let challenge = Challenge::parse(&text).unwrap();
        assert_eq!((challenge.realm, challenge.algorithm), (&b"example.com"[..], Algorithm::Sha256));
        assert_eq!((challenge.auth, challenge.stale, challenge.nonce.len()), (true, true, NONCE_LEN));
        let nonce = server.read_nonce(challenge.nonce).unwrap();
        assert_eq!((nonce.shard, nonce.made), (ShardId(3), Instant::from_millis(77)));
    }
}

//! Whether a peer means the same limits: what it says of its configuration, compared with ours, and looked into where it
//! differs.
//!
//! Owned by a link's [`Feed`](super::feed::Feed). Each site decides by its own file and goes on; what is found here is for
//! people. Bounded: a few parts of the accounts are compared, a few differences are kept, a few questions are answered.

use std::collections::VecDeque;
use std::fmt;

use super::accounts::Accounts;
use crate::tally::terms::{BUCKETS, Difference, Shared, TermsMessage, compare};

/// Parts that are compared account by account.
const PARTS_MAX: usize = 4;
/// Differences that are kept.
const DIFFERENCES_MAX: usize = 16;
/// Differences that a sentence names.
const NAMED_MAX: usize = 3;
/// Questions that are answered between two digests: one judgement takes 1 + [`PARTS_MAX`].
const ANSWERS_MAX: u8 = 8;
/// Octets of accounts in one answer.
const ROWS_BYTES: usize = 48 * 1_024;

/// What differs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disagreement {
    /// Settings of `[limits]`, a sentence each.
    pub settings: Vec<String>,
    /// Accounts.
    pub accounts: Vec<Difference>,
    /// There may be other accounts.
    pub more: bool,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let accounts = self.accounts.iter().take(NAMED_MAX).map(|one| format!("account \"{}\": {one}", one.account));
        let mut words: Vec<String> = self.settings.iter().cloned().chain(accounts).collect();
        if self.more || self.accounts.len() > NAMED_MAX {
            words.push(if self.accounts.is_empty() { "accounts differ" } else { "and more accounts" }.to_owned());
        }
        f.write_str(&words.join(", "))
    }
}

/// What is to be done after a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing.
    Nothing,
    /// Say this.
    Say(TermsMessage),
    /// This is how it is: alike, or what differs.
    Judged(Option<Disagreement>),
}

/// How far the comparison with one peer has come.
#[derive(Debug, Default)]
pub struct Agreement {
    /// Our hash and the peer's that were looked into, or are.
    judged: Option<(u64, u64)>,
    looking: bool,
    asked: VecDeque<u16>,
    found: Disagreement,
    answered: u8,
}

/// What this site says of its configuration.
#[must_use]
pub fn digest(accounts: &Accounts, shared: &Shared) -> TermsMessage {
    let count = u32::try_from(accounts.len()).unwrap_or(u32::MAX);
    TermsMessage::Digest { shared: *shared, accounts: count, hash: accounts.sums().total() }
}

impl Agreement {
    /// A digest goes out: further questions are answered.
    pub fn refill(&mut self) {
        self.answered = 0;
    }

    /// Takes one message of the peer.
    pub fn handle(&mut self, accounts: &Accounts, shared: &Shared, message: TermsMessage) -> Next {
        match message {
            TermsMessage::Digest { shared: there, hash, .. } => {
                self.on_digest(shared.compare(&there), (accounts.sums().total(), hash))
            }
            TermsMessage::AskParts if self.may_answer() => {
                Next::Say(TermsMessage::Parts(Box::new(*accounts.sums().parts())))
            }
            TermsMessage::AskRows { part } if self.may_answer() => {
                let (rows, cut) = accounts.rows_of(part, ROWS_BYTES);
                Next::Say(TermsMessage::Rows { part, rows, cut })
            }
            TermsMessage::AskParts | TermsMessage::AskRows { .. } => Next::Nothing,
            TermsMessage::Parts(there) if self.looking && self.asked.is_empty() => {
                let here = accounts.sums();
                let differing = (0..BUCKETS).filter(|&part| here.parts()[part] != there[part]);
                self.asked = differing.clone().take(PARTS_MAX).map(|part| part as u16).collect();
                self.found.more = differing.count() > PARTS_MAX;
                self.ask_on()
            }
            TermsMessage::Rows { part, rows, cut } if self.looking && self.asked.front() == Some(&part) => {
                self.asked.pop_front();
                let (here, _) = accounts.rows_of(part, usize::MAX);
                self.found.accounts.extend(compare(&here, &rows, cut));
                self.found.more |= cut || self.found.accounts.len() > DIFFERENCES_MAX;
                self.found.accounts.truncate(DIFFERENCES_MAX);
                self.ask_on()
            }
            TermsMessage::Parts(_) | TermsMessage::Rows { .. } => Next::Nothing,
        }
    }

    fn may_answer(&mut self) -> bool {
        self.answered = self.answered.saturating_add(1);
        self.answered <= ANSWERS_MAX
    }

    fn on_digest(&mut self, settings: Vec<String>, pair: (u64, u64)) -> Next {
        if pair.0 == pair.1 {
            *self = Self { answered: self.answered, ..Self::default() };
            let found = Disagreement { settings, ..Disagreement::default() };
            return Next::Judged((!found.settings.is_empty()).then_some(found));
        }
        if self.judged == Some(pair) {
            // It has not answered since its last digest: what is known by now is said.
            return if std::mem::take(&mut self.looking) { self.say(true) } else { Next::Nothing };
        }
        self.judged = Some(pair);
        self.looking = true;
        self.asked.clear();
        self.found = Disagreement { settings, ..Disagreement::default() };
        Next::Say(TermsMessage::AskParts)
    }

    fn ask_on(&mut self) -> Next {
        match self.asked.front() {
            Some(&part) if self.found.accounts.len() < DIFFERENCES_MAX => Next::Say(TermsMessage::AskRows { part }),
            rest => {
                let more = rest.is_some();
                self.looking = false;
                self.asked.clear();
                self.say(more)
            }
        }
    }

    fn say(&mut self, more: bool) -> Next {
        self.found.more |= more;
        let found = self.found.clone();
        // Alike in every part: one of the two has changed meanwhile, and says so with its next digest.
        let alike = found.settings.is_empty() && found.accounts.is_empty() && !found.more;
        if alike { Next::Nothing } else { Next::Judged(Some(found)) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::accounts::AccountTerms;
    use super::*;
    use crate::base::time::Duration;
    use crate::tally::Cell;

    fn accounts(names: impl IntoIterator<Item = (String, u32)>) -> Accounts {
        let cell = Cell::new(0);
        let terms = names.into_iter().map(|(name, limit)| AccountTerms {
            name: name.into(),
            limit,
            home: Some("a".into()),
            cell: cell.clone(),
        });
        Accounts::new(terms.collect(), 0)
    }

    fn many(limit_of: impl Fn(u32) -> u32) -> Accounts {
        accounts((0..3_000).map(|number| (format!("account-{number}"), limit_of(number))))
    }

    const SHARED: Shared = Shared {
        lease: Duration::from_secs(30),
        max_call: Duration::from_secs(60),
        drift_ppm: 1,
        drops: false,
        allowance: 0,
    };

    /// What `here` finds out about `there`, and how many messages it took.
    fn judge(here: &Accounts, there: &Accounts) -> (Option<Disagreement>, usize) {
        let (mut ours, mut theirs) = (Agreement::default(), Agreement::default());
        let mut message = digest(there, &SHARED);
        for messages in 1.. {
            match ours.handle(here, &SHARED, message) {
                Next::Judged(found) => return (found, messages),
                Next::Say(question) => match theirs.handle(there, &SHARED, question) {
                    Next::Say(answer) => message = answer,
                    other => panic!("{other:?}"),
                },
                Next::Nothing => panic!("nothing is found"),
            }
        }
        unreachable!("it ends")
    }

    #[test]
    fn the_account_that_differs_is_found_among_many() {
        let all = many(|_| 10);
        assert_eq!(judge(&all, &many(|_| 10)), (None, 1));
        let (found, messages) = judge(&all, &many(|number| if number == 1_234 { 11 } else { 10 }));
        assert_eq!(messages, 3, "a digest, the parts, one part");
        assert_eq!(found.unwrap().to_string(), "account \"account-1234\": limit 11 there, 10 here");
    }

    #[test]
    fn when_everything_differs_little_is_asked() {
        let (found, messages) = judge(&many(|_| 10), &many(|_| 11));
        let found = found.unwrap();
        assert!(messages <= 2 + PARTS_MAX && found.accounts.len() <= DIFFERENCES_MAX && found.more, "{messages}");
        assert!(found.to_string().ends_with(", and more accounts"), "{found}");
    }

    #[test]
    fn an_account_at_one_site_only_is_named_there_and_here() {
        let (one, none) = (accounts([("x".to_owned(), 1)]), accounts([]));
        assert_eq!(judge(&none, &one).0.unwrap().to_string(), "account \"x\": not configured here");
        assert_eq!(judge(&one, &none).0.unwrap().to_string(), "account \"x\": not configured there");
    }

    #[test]
    fn a_peer_that_does_not_answer_is_judged_by_its_hash_once() {
        let (here, there) = (many(|_| 1), many(|_| 2));
        let mut agreement = Agreement::default();
        let mut hear = || agreement.handle(&here, &SHARED, digest(&there, &SHARED));
        assert_eq!(hear(), Next::Say(TermsMessage::AskParts));
        let Next::Judged(Some(found)) = hear() else { panic!("not judged") };
        assert_eq!(found.to_string(), "accounts differ");
        assert_eq!((hear(), hear()), (Next::Nothing, Next::Nothing));
    }

    #[test]
    fn questions_and_answers_that_nobody_asked_for_cost_little() {
        let here = many(|_| 1);
        let mut agreement = Agreement::default();
        let mut answers = 0;
        for _ in 0..100 {
            let next = agreement.handle(&here, &SHARED, TermsMessage::AskRows { part: 1 });
            answers += u8::from(next != Next::Nothing);
        }
        assert_eq!(answers, ANSWERS_MAX);
        let parts = TermsMessage::Parts(Box::new([7; BUCKETS]));
        assert_eq!(agreement.handle(&here, &SHARED, parts), Next::Nothing);
        let rows = TermsMessage::Rows { part: 1, rows: Vec::new(), cut: false };
        assert_eq!(agreement.handle(&here, &SHARED, rows), Next::Nothing);
    }
}

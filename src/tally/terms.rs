//! Do two sites mean the same limits? What each has configured, as an order-free hash that both can compare, and the
//! questions that find out which account differs.
//!
//! Owned by whoever links sites. Sites decide by their own files alone: a disagreement cuts no link and changes no right,
//! but somebody has to be told. Two sites whose hashes differ compare the hashes of [`BUCKETS`] parts of their accounts,
//! then the accounts of a few parts: a million accounts are compared without being sent.

use crate::base::time::Duration;
use std::fmt;
use std::sync::Arc;

/// Parts of the accounts, by their names.
pub const BUCKETS: usize = 1_024;

/// Settings of `[limits]` that must be the same at every site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shared {
    /// `limits.lease`.
    pub lease: Duration,
    /// `limits.max_call_duration`.
    pub max_call: Duration,
    /// `limits.clock_drift`.
    pub drift_ppm: u32,
    /// `limits.policy = "drop"`.
    pub drops: bool,
    /// `limits.allowance`; 0 when the mode is strict.
    pub allowance: u32,
}

impl Shared {
    /// What differs, a sentence for each setting.
    #[must_use]
    pub fn compare(&self, there: &Self) -> Vec<String> {
        let mut out = Vec::new();
        let mut row = |what: &str, here: &dyn fmt::Debug, at: &dyn fmt::Debug, differs: bool| {
            if differs {
                out.push(format!("{what} {at:?} there, {here:?} here"));
            }
        };
        row("limits.lease", &self.lease, &there.lease, self.lease != there.lease);
        row("limits.max_call_duration", &self.max_call, &there.max_call, self.max_call != there.max_call);
        row("limits.clock_drift (ppm)", &self.drift_ppm, &there.drift_ppm, self.drift_ppm != there.drift_ppm);
        let policy = |drops| if drops { "drop" } else { "keep" };
        row("limits.policy", &policy(self.drops), &policy(there.drops), self.drops != there.drops);
        row(
            "calls beyond the limit while cut off",
            &self.allowance,
            &there.allowance,
            self.allowance != there.allowance,
        );
        out
    }
}

/// One account as a site has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub name: Arc<str>,
    /// Calls at once over all sites.
    pub limit: u32,
    /// The site that makes its rights.
    pub home: Option<Arc<str>>,
}

/// About what is configured; nothing of it changes a right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TermsMessage {
    /// What I have.
    Digest {
        /// Settings.
        shared: Shared,
        /// How many accounts.
        accounts: u32,
        /// [`Sums::total`].
        hash: u64,
    },
    /// Which parts of your accounts have which hash?
    AskParts,
    /// These.
    Parts(Box<[u64; BUCKETS]>),
    /// What is in this part?
    AskRows {
        /// Which.
        part: u16,
    },
    /// This, by name.
    Rows {
        /// Which part.
        part: u16,
        /// Its accounts; not all of them if `cut`.
        rows: Vec<Row>,
        /// There are more behind the last one.
        cut: bool,
    },
}

/// FNV-1a, then the end of SplitMix64: the same on every machine and in every version. Peers are known to each other, and
/// nothing but words depends on it: no key is needed.
fn hash(parts: &[&[u8]]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        for &octet in (part.len() as u32).to_be_bytes().iter().chain(*part) {
            hash = (hash ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// The part that an account belongs to.
#[must_use]
pub fn part_of(name: &str) -> u16 {
    (hash(&[name.as_bytes()]) % BUCKETS as u64) as u16
}

/// A hash of each part of the accounts, whatever their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sums(Box<[u64; BUCKETS]>);

impl Default for Sums {
    fn default() -> Self {
        Self(Box::new([0; BUCKETS]))
    }
}

impl Sums {
    /// With one account more.
    pub fn add(&mut self, name: &str, limit: u32, home: Option<&str>) {
        let home = home.unwrap_or_default().as_bytes();
        let sum = &mut self.0[usize::from(part_of(name))];
        *sum = sum.wrapping_add(hash(&[name.as_bytes(), &limit.to_be_bytes(), home]));
    }

    /// Of all of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |all, sum| all.wrapping_add(*sum))
    }

    /// Each.
    #[must_use]
    pub const fn parts(&self) -> &[u64; BUCKETS] {
        &self.0
    }
}

/// An account that two sites do not have alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which.
    pub account: Arc<str>,
    /// As it is here.
    pub here: Option<(u32, Option<Arc<str>>)>,
    /// As it is there.
    pub there: Option<(u32, Option<Arc<str>>)>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let home = |home: &Option<Arc<str>>| home.as_deref().unwrap_or("none").to_owned();
        match (&self.here, &self.there) {
            (Some((here, home_here)), Some((there, home_there))) => {
                if here != there {
                    write!(f, "limit {there} there, {here} here")?;
                }
                if home_here != home_there {
                    let comma = if here == there { "" } else { "; " };
                    write!(f, "{comma}home {} there, {} here", home(home_there), home(home_here))?;
                }
                Ok(())
            }
            (Some(_), None) => f.write_str("not configured there"),
            (None, _) => f.write_str("not configured here"),
        }
    }
}

/// Compares one part, both sides by name. Behind the last of `there` nothing is known if it was `cut`.
pub fn compare(here: &[Row], there: &[Row], cut: bool) -> Vec<Difference> {
    let side = |row: &Row| Some((row.limit, row.home.clone()));
    let mut out = Vec::new();
    let (mut ours, mut theirs) = (here.iter().peekable(), there.iter().peekable());
    loop {
        let order = match (ours.peek(), theirs.peek()) {
            (None, None) => return out,
            (Some(_), None) if cut => return out,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(our), Some(their)) => our.name.cmp(&their.name),
        };
        let here = if order.is_le() { ours.next() } else { None };
        let there = if order.is_ge() { theirs.next() } else { None };
        if here != there
            && let Some(row) = here.or(there)
        {
            out.push(Difference { account: row.name.clone(), here: here.and_then(side), there: there.and_then(side) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn row(name: &str, limit: u32, home: &str) -> Row {
        Row { name: name.into(), limit, home: Some(home.into()) }
    }

    fn sums<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Sums {
        let mut sums = Sums::default();
        rows.into_iter().for_each(|row| sums.add(&row.name, row.limit, row.home.as_deref()));
        sums
    }

    proptest! {
        #[test]
        fn the_order_does_not_matter_and_every_difference_does(
            rows in prop::collection::btree_map("[a-z]{1,6}", (0..9u32, "[ab]"), 1..40),
            at in any::<prop::sample::Index>(),
        ) {
            let rows: Vec<Row> = rows.iter().map(|(name, (limit, home))| row(name, *limit, home)).collect();
            prop_assert_eq!(sums(&rows), sums(rows.iter().rev()));
            let at = at.index(rows.len());
            let mut other = rows.clone();
            other[at].limit += 1;
            let changed = (sums(&rows), sums(&other));
            let parts: Vec<usize> = (0..BUCKETS).filter(|&part| changed.0.parts()[part] != changed.1.parts()[part]).collect();
            prop_assert_eq!(parts, [usize::from(part_of(&rows[at].name))]);
            prop_assert_ne!(changed.0.total(), changed.1.total());
            other.remove(at);
            prop_assert_ne!(sums(&rows).total(), sums(&other).total());
            let found = compare(&rows, &other, false);
            prop_assert_eq!((found.len(), Arc::clone(&found[0].account)), (1, Arc::clone(&rows[at].name)));
        }
    }

    #[test]
    fn differences_are_said_from_both_ends() {
        let here = [row("a", 1, "x"), row("b", 2, "x"), row("c", 3, "x"), row("e", 5, "x")];
        let there = [row("b", 4, "y"), row("c", 3, "y"), row("d", 4, "x")];
        let said =
            |cut| compare(&here, &there, cut).iter().map(|one| format!("{}: {one}", one.account)).collect::<Vec<_>>();
        let all = [
            "a: not configured there",
            "b: limit 4 there, 2 here; home y there, x here",
            "c: home y there, x here",
            "d: not configured here",
            "e: not configured there",
        ];
        assert_eq!(said(false), all);
        assert_eq!(said(true), all[..4], "what comes behind a cut is not known");
    }

    #[test]
    fn settings_that_differ_are_named() {
        let here = Shared {
            lease: Duration::from_secs(30),
            max_call: Duration::from_secs(3_600),
            drift_ppm: 1_000,
            drops: false,
            allowance: 0,
        };
        assert!(here.compare(&here).is_empty());
        let there = Shared { lease: Duration::from_secs(5), drops: true, ..here };
        assert_eq!(
            here.compare(&there),
            ["limits.lease 5s there, 30s here", "limits.policy \"drop\" there, \"keep\" here"]
        );
    }
}

//! The accounts of one published configuration, as far as limits go: name, limit, home, cell.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::tally::Cell;
use crate::tally::rights::{Home, Terms};
use crate::tally::terms::{Row, Sums, part_of};

/// One account.
#[derive(Clone, Debug)]
pub struct AccountTerms {
    /// Unique.
    pub name: Arc<str>,
    /// Calls at once over all sites.
    pub limit: u32,
    /// The site that makes its rights; none when this node decides alone.
    pub home: Option<Arc<str>>,
    /// What admission goes by.
    pub cell: Arc<Cell>,
}

/// All of them, by name.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    sorted: Vec<AccountTerms>,
    /// Calls more at each site that is cut off.
    allowance: u32,
    sums: Sums,
}

impl Accounts {
    /// The accounts of a configuration, with its allowance; 0 when the mode is strict.
    #[must_use]
    pub fn new(mut accounts: Vec<AccountTerms>, allowance: u32) -> Self {
        accounts.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let mut sums = Sums::default();
        accounts.iter().for_each(|account| sums.add(&account.name, account.limit, account.home.as_deref()));
        Self { sorted: accounts, allowance, sums }
    }

    /// The account of that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&AccountTerms> {
        let at = self.sorted.binary_search_by(|account| (*account.name).cmp(name)).ok()?;
        self.sorted.get(at)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &AccountTerms> {
        self.sorted.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// True when there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// Calls more at each site that is cut off; 0 when the mode is strict.
    #[must_use]
    pub const fn allowance(&self) -> u32 {
        self.allowance
    }

    /// For the comparison with another site.
    #[must_use]
    pub const fn sums(&self) -> &Sums {
        &self.sums
    }

    /// One part of them by name, up to so many octets on the wire; whether that was not all. Looks at every name.
    #[must_use]
    pub fn rows_of(&self, part: u16, bytes_max: usize) -> (Vec<Row>, bool) {
        let (mut rows, mut bytes) = (Vec::new(), 0_usize);
        for account in self.sorted.iter().filter(|account| part_of(&account.name) == part) {
            bytes += account.name.len() + account.home.as_ref().map_or(0, |home| home.len()) + 7;
            if bytes > bytes_max {
                return (rows, true);
            }
            rows.push(Row { name: Arc::clone(&account.name), limit: account.limit, home: account.home.clone() });
        }
        (rows, false)
    }

    /// What the rights machine of `node` needs to know of an account.
    #[must_use]
    pub fn terms(&self, account: &AccountTerms, node: &str) -> Terms {
        let home = account.home.as_ref().filter(|home| ***home != *node);
        let home = home.map_or(Home::Here, |home| Home::At(Arc::clone(home)));
        Terms { limit: account.limit, home, allowance: self.allowance }
    }
}

/// One difference between two configurations.
#[derive(Debug)]
pub enum Change {
    /// The account is new, or otherwise than before.
    Set(AccountTerms),
    /// It is gone.
    Gone(Arc<str>),
    /// It is as it was.
    Same,
}

/// The way from one configuration to the next, a step at a time: a million accounts must not hold the keeper up.
#[derive(Debug)]
pub struct Changes {
    old: Arc<Accounts>,
    new: Arc<Accounts>,
    at: (usize, usize),
}

impl Changes {
    /// From the beginning.
    #[must_use]
    pub const fn new(old: Arc<Accounts>, new: Arc<Accounts>) -> Self {
        Self { old, new, at: (0, 0) }
    }
}

impl Iterator for Changes {
    type Item = Change;

    fn next(&mut self) -> Option<Change> {
        let pair = (self.old.sorted.get(self.at.0), self.new.sorted.get(self.at.1));
        let order = match pair {
            (None, None) => return None,
            (Some(old), Some(new)) => old.name.cmp(&new.name),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
        };
        self.at.0 += usize::from(order != Ordering::Greater);
        self.at.1 += usize::from(order != Ordering::Less);
        Some(match pair {
            (Some(old), Some(new)) if order == Ordering::Equal => {
                let same = old.limit == new.limit && old.home == new.home && Arc::ptr_eq(&old.cell, &new.cell);
                if same && self.old.allowance == self.new.allowance { Change::Same } else { Change::Set(new.clone()) }
            }
            (Some(old), _) if order == Ordering::Less => Change::Gone(Arc::clone(&old.name)),
            (_, Some(new)) => Change::Set(new.clone()),
            _ => Change::Same,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: &str, limit: u32, cell: &Arc<Cell>) -> AccountTerms {
        AccountTerms { name: name.into(), limit, home: Some("a".into()), cell: Arc::clone(cell) }
    }

    #[test]
    fn only_what_differs_is_told() {
        let cell = Cell::new(0);
        let old = Accounts::new(vec![account("c", 1, &cell), account("a", 1, &cell), account("b", 1, &cell)], 0);
        let new = Accounts::new(vec![account("d", 1, &cell), account("a", 1, &cell), account("b", 2, &cell)], 0);
        assert_eq!(old.terms(old.find("a").unwrap(), "a").home, Home::Here);
        assert_eq!(old.terms(old.find("a").unwrap(), "b").home, Home::At("a".into()));
        let told = |old: &Accounts, new: &Accounts| -> Vec<String> {
            let changes = Changes::new(Arc::new(old.clone()), Arc::new(new.clone()));
            let word = |change| match change {
                Change::Set(account) => Some(format!("+{}", account.name)),
                Change::Gone(name) => Some(format!("-{name}")),
                Change::Same => None,
            };
            changes.filter_map(word).collect()
        };
        assert_eq!(told(&old, &new), ["+b", "-c", "+d"]);
        assert_eq!(told(&Accounts::default(), &old), ["+a", "+b", "+c"]);
        assert_eq!(told(&old, &Accounts { allowance: 1, ..old.clone() }), ["+a", "+b", "+c"]);
    }
}

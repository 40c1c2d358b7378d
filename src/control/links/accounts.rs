//! The accounts of one published configuration, as far as limits go: name, limit, home, cell.

use std::sync::Arc;

use crate::tally::Cell;
use crate::tally::rights::{Home, Terms};

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
}

impl Accounts {
    /// The accounts of a configuration, with its allowance; 0 when the mode is strict.
    #[must_use]
    pub fn new(mut accounts: Vec<AccountTerms>, allowance: u32) -> Self {
        accounts.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Self { sorted: accounts, allowance }
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

    /// What the rights machine of `node` needs to know.
    pub fn terms<'a>(&'a self, node: &'a str) -> impl Iterator<Item = (Arc<str>, (Terms, Arc<Cell>))> + 'a {
        self.sorted.iter().map(move |account| {
            let home = account.home.as_ref().filter(|home| ***home != *node);
            let home = home.map_or(Home::Here, |home| Home::At(Arc::clone(home)));
            let terms = Terms { limit: account.limit, home, allowance: self.allowance };
            (Arc::clone(&account.name), (terms, Arc::clone(&account.cell)))
        })
    }
}

//! Other sites as this ledger numbers them: one number for each disk that a name has stood for. Who may come back, who
//! may not.
//!
//! Owned by the rights machine.

use super::Fenced;
use crate::base::Instant;
use crate::tally::{Identity, Record, SiteId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One identity.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Site {
    pub name: Arc<str>,
    pub disk: u128,
    /// Last seen.
    pub incarnation: u32,
    pub retired: bool,
    /// Of this process alone.
    #[serde(skip)]
    pub linked: bool,
    /// When what was placed there comes back, once it is retired.
    pub returns_at: Option<Instant>,
    /// A refused message of it has been told.
    pub accused: bool,
    /// Base rights of ours placed there, over all accounts.
    #[serde(skip)]
    pub placed_there: u64,
    /// Base rights here that it has issued, over all accounts.
    #[serde(skip)]
    pub received_from: u64,
}

impl Site {
    fn new(name: Arc<str>, disk: u128, incarnation: u32, retired: bool) -> Self {
        Self {
            name,
            disk,
            incarnation,
            retired,
            linked: false,
            returns_at: None,
            accused: false,
            placed_there: 0,
            received_from: 0,
        }
    }

    pub fn record(&self, site: SiteId) -> Record {
        Record::Site {
            site,
            name: Arc::clone(&self.name),
            disk: self.disk,
            incarnation: self.incarnation,
            retired: self.retired,
        }
    }
}

/// All of them, by number.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Sites(Vec<Site>);

/// What a greeting means.
pub(super) struct Greeting {
    pub site: SiteId,
    /// Its record is to be written.
    pub news: bool,
    /// An identity of the same name that it takes the place of.
    pub instead_of: Option<SiteId>,
}

impl Sites {
    pub fn get(&self, site: SiteId) -> Option<&Site> {
        self.0.get(usize::from(site.0))
    }

    pub fn get_mut(&mut self, site: SiteId) -> Option<&mut Site> {
        self.0.get_mut(usize::from(site.0))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = (SiteId, &Site)> {
        self.0.iter().enumerate().map(|(number, site)| (SiteId(number as u16), site))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (SiteId, &mut Site)> {
        self.0.iter_mut().enumerate().map(|(number, site)| (SiteId(number as u16), site))
    }

    pub fn linked(&self) -> impl Iterator<Item = (SiteId, &Site)> {
        self.iter().filter(|(_, site)| site.linked)
    }

    pub fn is_linked(&self, site: SiteId) -> bool {
        self.get(site).is_some_and(|site| site.linked)
    }

    pub fn is_retired(&self, site: SiteId) -> bool {
        self.get(site).is_none_or(|site| site.retired)
    }

    /// A later disk has taken its name.
    pub fn is_superseded(&self, site: SiteId) -> bool {
        let latest = self.get(site).and_then(|row| self.0.iter().rposition(|other| other.name == row.name));
        latest != Some(usize::from(site.0))
    }

    pub fn name(&self, site: SiteId) -> Arc<str> {
        self.get(site).map_or_else(|| Arc::from("unknown"), |site| Arc::clone(&site.name))
    }

    /// From the ledger.
    pub fn replay(&mut self, site: SiteId, name: Arc<str>, disk: u128, incarnation: u32, retired: bool) {
        let site = usize::from(site.0);
        while self.0.len() <= site {
            self.0.push(Site::new(Arc::from(""), 0, 0, true));
        }
        self.0[site] = Site::new(name, disk, incarnation, retired);
    }

    /// Takes a peer's word for who it is, unless it is fenced: invariant I4.
    pub fn greet(&mut self, peer: &Identity, accept_fenced: bool) -> Result<Greeting, Fenced> {
        let known = self.0.iter().position(|site| site.name == peer.name && site.disk == peer.disk);
        let latest = self.0.iter().rposition(|site| site.name == peer.name);
        if let Some(number) = known {
            let site = &self.0[number];
            let fenced = Fenced { seen: site.incarnation, retired: site.retired };
            let late = peer.incarnation < site.incarnation || latest != known;
            if site.retired || (late && !accept_fenced) {
                return Err(fenced);
            }
        }
        let number = known.unwrap_or(self.0.len());
        let Ok(id) = u16::try_from(number) else { return Err(Fenced { seen: 0, retired: false }) };
        if known.is_none() {
            self.0.push(Site::new(Arc::clone(&peer.name), peer.disk, peer.incarnation, false));
        }
        let site = &mut self.0[number];
        let news = known.is_none() || site.incarnation != peer.incarnation;
        (site.incarnation, site.linked) = (peer.incarnation, true);
        let instead_of = latest.filter(|&before| before != number && !self.0[before].retired);
        if let Some(before) = latest.filter(|&before| before != number) {
            self.0[before].linked = false;
        }
        Ok(Greeting { site: SiteId(id), news, instead_of: instead_of.map(|before| SiteId(before as u16)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(disk: u128, incarnation: u32) -> Identity {
        Identity { name: Arc::from("b"), disk, incarnation }
    }

    #[test]
    fn what_has_been_followed_does_not_come_back() {
        let mut sites = Sites::default();
        let first = sites.greet(&identity(1, 5), false).ok().unwrap();
        assert!(first.news && sites.is_linked(first.site));
        assert!(sites.greet(&identity(1, 4), false).is_err_and(|fenced| fenced.seen == 5));
        let again = sites.greet(&identity(1, 6), false).ok().unwrap();
        assert_eq!((again.site, again.news), (first.site, true));
        let other = sites.greet(&identity(2, 1), false).ok().unwrap();
        assert_eq!(other.instead_of, Some(first.site));
        assert!(!sites.is_linked(first.site));
        assert!(sites.greet(&identity(1, 7), false).is_err(), "its disk has been replaced");
    }
}

//! What people ask of limits, whether this node decides alone or a keeper decides with other sites.
//!
//! Owned by the control plane: the Unix socket and `/v1/limits/{account}` come here.

use std::sync::{Arc, PoisonError, RwLock};

use serde_json::{Value, json};

use super::links::{Accounts, Handle, Question};

/// The published accounts, and the way to the keeper where there is one.
#[derive(Debug, Default)]
pub struct Desk {
    accounts: RwLock<Arc<Accounts>>,
    /// None: this node decides alone.
    pub links: Option<Handle>,
}

impl Desk {
    /// A desk for these accounts.
    #[must_use]
    pub fn new(accounts: Arc<Accounts>, links: Option<Handle>) -> Self {
        Self { accounts: RwLock::new(accounts), links }
    }

    /// A reload has published other accounts. Blocks while the keeper is busy.
    pub fn publish(&self, accounts: Arc<Accounts>) {
        *self.accounts.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&accounts);
        if let Some(links) = &self.links {
            links.publish(accounts);
        }
    }

    /// Asks the keeper.
    ///
    /// # Errors
    /// A sentence; there may be no keeper.
    pub async fn ask(&self, question: Question) -> Result<Value, String> {
        match &self.links {
            Some(links) => links.ask(question).await,
            None => Err("this node decides alone: there are no peers in `[link]`".to_owned()),
        }
    }

    /// One account; none of that name: `None`.
    ///
    /// # Errors
    /// The keeper does not answer.
    pub async fn account(&self, node: &str, name: &str) -> Result<Option<Value>, String> {
        let accounts = Arc::clone(&self.accounts.read().unwrap_or_else(PoisonError::into_inner));
        let Some(account) = accounts.find(name) else { return Ok(None) };
        if self.links.is_some() {
            return self.ask(Question::Account { name: name.to_owned() }).await.map(Some);
        }
        let (live, usable) = account.cell.read();
        let none: [Value; 0] = [];
        Ok(Some(json!({
            "account": name, "node": node, "limit": account.limit, "bound": account.limit, "home": null,
            "issued": usable, "gap": live.saturating_sub(account.limit), "usable": usable, "live": live, "base": usable,
            "lent": 0, "borrowed": 0, "running_off": 0, "allowance": 0, "placed": none, "loans_out": none,
            "loans_in": none, "sites": none, "refusal": null,
        })))
    }
}

//! What people ask of limits, whether this node decides alone or a keeper decides with other sites.
//!
//! Owned by the control plane: the Unix socket and `/v1/limits/{account}` come here.

use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::{Path, State as Extract};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::links::{Accounts, Handle, Question};
use super::state::State;
use super::token::Bearer;

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

/// A problem body (RFC 9457).
#[must_use]
pub fn problem(status: StatusCode, detail: &str) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    let body = json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail });
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}

/// `GET /v1/limits/{account}`.
pub async fn get(Extract(state): Extract<Arc<State>>, Path(account): Path<String>, headers: HeaderMap) -> Response {
    if let Err(refused) = authorized(&state.bearer, &headers) {
        return *refused;
    }
    match state.limits.account(&state.node, &account).await {
        Ok(Some(limit)) => axum::Json(limit).into_response(),
        Ok(None) => problem(StatusCode::NOT_FOUND, "there is no account of that name"),
        Err(why) => problem(StatusCode::SERVICE_UNAVAILABLE, &why),
    }
}

/// RFC 6750: the admin token as a bearer token.
fn authorized(bearer: &Bearer, headers: &HeaderMap) -> Result<(), Box<Response>> {
    let credentials = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = credentials.and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    if token.is_some_and(|token| bearer.is(token)) {
        return Ok(());
    }
    let detail = "send `Authorization: Bearer TOKEN`; the token is in `control.admin_token_file`";
    let mut response = problem(StatusCode::UNAUTHORIZED, detail);
    let challenge = header::HeaderValue::from_static("Bearer realm=\"strowger\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    Err(Box::new(response))
}

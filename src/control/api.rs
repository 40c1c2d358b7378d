//! `/v1`: what other programs ask over HTTP, with the admin token, and the problem bodies they get (RFC 9457).

use std::sync::Arc;

use axum::extract::{Path, State as Extract};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::state::State;
use super::token::Bearer;

/// A problem body (RFC 9457).
#[must_use]
pub fn problem(status: StatusCode, detail: &str) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    let body = json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail });
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}

/// `GET /v1/limits/{account}`.
pub async fn limit(Extract(state): Extract<Arc<State>>, Path(account): Path<String>, headers: HeaderMap) -> Response {
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

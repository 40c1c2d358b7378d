//! HTTP: `/metrics`, `/healthz`, `/readyz`, `/v1/limits/{account}`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State as Extract;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::registry::Registry;

use super::api;
use super::listener::Bounded;
use super::metrics::{CONTENT_TYPE, page, registry};
use super::state::State;

#[derive(Clone)]
struct Shared {
    state: Arc<State>,
    registry: Arc<Registry>,
}

/// The pages.
pub fn router(state: Arc<State>) -> Router {
    let registry = Arc::new(registry(Arc::clone(&state)));
    let api = Router::new().route("/v1/limits/{account}", get(api::limit)).with_state(Arc::clone(&state));
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .with_state(Shared { state, registry })
        .merge(api)
}

/// Serves until the process ends.
pub async fn serve(listener: Bounded, state: Arc<State>) {
    if let Err(error) = axum::serve(listener, router(state)).await {
        tracing::error!(%error, "HTTP ended");
    }
}

async fn metrics(Extract(shared): Extract<Shared>) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], page(&shared.registry)).into_response()
}

/// Alive: this thread runs, and the shards answered the supervisor lately.
async fn health(Extract(shared): Extract<Shared>) -> Response {
    if shared.state.shards_answer.load(std::sync::atomic::Ordering::Relaxed) {
        return "ok\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, "a shard does not answer\n").into_response()
}

/// Ready: may get new calls.
async fn ready(Extract(shared): Extract<Shared>) -> Response {
    let why = shared.state.unready();
    if why.is_empty() {
        let warnings: String = shared.state.warnings().iter().map(|warning| format!("warning: {warning}\n")).collect();
        return format!("ready\n{warnings}").into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", why.join("\n"))).into_response()
}

#[cfg(test)]
mod tests {
    use super::super::state::tests::state;
    use super::*;
    use std::io::{Read, Write};
    use std::sync::atomic::Ordering::Relaxed;
    use tokio::net::TcpListener;

    #[test]
    fn a_limit_is_told_to_who_has_the_token() {
        let (state, _requests) = state();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let ask = |account: &str, credentials: &'static str| {
            let mut headers = axum::http::HeaderMap::new();
            headers.insert(header::AUTHORIZATION, header::HeaderValue::from_static(credentials));
            let path = axum::extract::Path(account.to_owned());
            runtime.block_on(async {
                let response = api::limit(Extract(Arc::clone(&state)), path, headers).await;
                let status = response.status().as_u16();
                let body = axum::body::to_bytes(response.into_body(), 65_536).await.unwrap();
                (status, serde_json::from_slice::<serde_json::Value>(&body).unwrap())
            })
        };
        let (status, told) = ask("alice", "Bearer secret");
        assert_eq!((status, told["limit"].as_u64(), told["live"].as_u64()), (200, Some(3), Some(0)));
        assert_eq!(ask("nobody", "bearer secret").0, 404);
        assert_eq!(ask("alice", "Bearer secreu").0, 401);
        assert_eq!(ask("alice", "Basic secret").0, 401);
    }

    fn get_page(address: std::net::SocketAddr, path: &str) -> String {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn pages_answer_and_readiness_follows_the_state() {
        let (state, _requests) = state();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let server = tokio::spawn(serve(Bounded::new(listener), Arc::clone(&state)));
            let page = |path: &'static str| async move {
                tokio::task::spawn_blocking(move || get_page(address, path)).await.unwrap()
            };
            assert!(page("/metrics").await.contains("\r\n# HELP strowger_sip_requests"));
            assert!(page("/healthz").await.starts_with("HTTP/1.1 200"));
            assert!(page("/readyz").await.ends_with("\r\n\r\nready\n"));
            state.started.store(false, Relaxed);
            let starting = page("/readyz").await;
            assert!(starting.starts_with("HTTP/1.1 503") && starting.ends_with("\r\n\r\nstarting\n"), "{starting}");
            assert!(page("/nothing").await.starts_with("HTTP/1.1 404"));
            let refused = page("/v1/limits/alice").await;
            assert!(refused.starts_with("HTTP/1.1 401") && refused.contains("www-authenticate: Bearer"), "{refused}");
            assert!(refused.contains("application/problem+json") && refused.contains("\"status\":401"), "{refused}");
            server.abort();
        });
    }
}

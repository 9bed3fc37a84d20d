//! The operators' listener: metrics and health. It belongs on a network that clients cannot reach.

use crate::shared::Shared;
use async_trait::async_trait;
use conf::Listen;
use http::{Response, StatusCode};
use pingora::apps::http_app::ServeHttp;
use pingora::connectors::TransportConnector;
use pingora::protocols::http::ServerSession;
use pingora::upstreams::peer::HttpPeer;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Answers `/metrics`, `/healthz` and `/readyz`.
pub(crate) struct Operators(pub(crate) Arc<Shared>);

/// The text format of Prometheus.
const PROMETHEUS: &str = "text/plain; version=0.0.4";
const PLAIN: &str = "text/plain; charset=utf-8";
/// How long a listener of our own has to take a connection, TLS included.
const TRY_TIMEOUT: Duration = Duration::from_secs(1);
/// The name that our own listener is asked for. Any will do.
const OURSELVES: &str = "localhost";

/// The merchants' listeners, to be tried.
pub(crate) fn doors(listen: &Listen) -> Vec<HttpPeer> {
    let tls = listen.tls.iter().map(|tls| HttpPeer::new(tls.address, true, OURSELVES.to_owned()));
    let plain = listen.plain.map(|address| HttpPeer::new(address, false, String::new()));
    tls.chain(plain).map(tried).collect()
}

/// Its certificate is for merchants, who know us by another name: nothing is sent to it.
fn tried(mut listener: HttpPeer) -> HttpPeer {
    let options = &mut listener.options;
    (options.verify_cert, options.verify_hostname) = (false, false);
    options.total_connection_timeout = Some(TRY_TIMEOUT);
    listener
}

// === impl Operators ===

#[async_trait]
impl ServeHttp for Operators {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        match session.req_header().uri.path() {
            "/healthz" => reply(StatusCode::OK, PLAIN, b"ok\n".to_vec()),
            "/metrics" => {
                self.0.metrics.rotations(&self.0.rotations);
                reply(StatusCode::OK, PROMETHEUS, self.0.metrics.text(&self.0.vault))
            }
            "/readyz" => self.readiness().await,
            _ => reply(StatusCode::NOT_FOUND, PLAIN, b"not found\n".to_vec()),
        }
    }
}

impl Operators {
    /// Each part on a line, so that an operator sees at once which one is missing.
    async fn readiness(&self) -> Response<Vec<u8>> {
        let health = self.0.vault.health();
        let serving = !self.0.draining.load(Ordering::Relaxed) && self.listens().await;
        let parts = [
            ("audit", health.audit),
            ("store", health.store),
            ("keys", health.keys),
            ("serving", serving),
        ];
        let word = |up| if up { "ok" } else { "down" };
        let text: String =
            parts.iter().map(|(part, up)| format!("{part} {}\n", word(*up))).collect();
        let all = parts.iter().all(|(_, up)| *up);
        // Payments go on without the module for as long as the keys are in memory, so it is told of
        // and does not count by itself.
        let text = format!("{text}hsm {}\n", word(health.hsm));
        let status = if all { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        reply(status, PLAIN, text.into_bytes())
    }
}

impl Operators {
    /// Whether the merchants' listeners take connections. They open by themselves while this one
    /// answers already, and nothing says when, so they are tried until they have been seen once. With
    /// TLS to its end: a handshake that is broken off is an error in the log.
    async fn listens(&self) -> bool {
        let Shared { listening, merchants, .. } = &*self.0;
        if listening.load(Ordering::Relaxed) {
            return true;
        }
        let connector = TransportConnector::new(None);
        for listener in merchants {
            if connector.new_stream(listener).await.is_err() {
                return false;
            }
        }
        listening.store(true, Ordering::Relaxed);
        true
    }
}

fn reply(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response<Vec<u8>> {
    let length = body.len();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    headers.insert(http::header::CONTENT_LENGTH, length.into());
    headers.insert(http::header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    response
}

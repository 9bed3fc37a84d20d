//! One request to a provider and its answer, sent once.
//!
//! Every step is ours, so that each failure has exactly one class: either no complete request can
//! have reached the provider, or it may have, or there is an answer. Nothing here sends again.

use bytes::{Bytes, BytesMut};
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use pingora::{BError, Error, ErrorType, RetryType};
use providers::wire::{Method, Request};
use std::time::{Duration, Instant};
use tokio::time::timeout_at;

/// How an exchange ended.
#[derive(Debug)]
pub(crate) enum Exchange {
    /// A complete HTTP answer. What it means is the provider's business.
    Answer(Answer),
    /// No complete request can have reached the provider.
    NotSent(BError),
    /// The provider may have executed it.
    Unknown(BError),
}

/// A complete HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) body: Bytes,
    pub(crate) reused: bool,
    pub(crate) status: u16,
}

/// The bounds of one exchange.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) answer_bytes_max: usize,
    /// From the start of the connection attempt to the last byte of the answer.
    pub(crate) exchange_timeout: Duration,
}

/// Negotiated TLS is older than 1.2 or uses a cipher without authenticated encryption.
const WEAK_TLS: ErrorType = ErrorType::new("UpstreamWeakTls");
/// How many interim (1xx) answers are read before the exchange is given up.
const INTERIM_ANSWERS_MAX: usize = 8;

/// Sends `request` to `peer` and reads the answer.
pub(crate) async fn exchange(
    connector: &Connector,
    peer: &HttpPeer,
    request: Request,
    limits: &Limits,
) -> Exchange {
    let deadline = tokio::time::Instant::from(
        Instant::now().checked_add(limits.exchange_timeout).unwrap_or_else(Instant::now),
    );
    let connected = timeout_at(deadline, connector.get_http_session(peer));
    let (mut session, reused) = match connected.await {
        Ok(Ok(connected)) => connected,
        Ok(Err(error)) => return Exchange::NotSent(error),
        Err(_) => return Exchange::NotSent(late("connecting")),
    };
    let (header, body) = match prepare(&session, peer, request) {
        Ok(prepared) => prepared,
        Err(error) => return Exchange::NotSent(error),
    };
    let mut sent = false;
    let io = converse(&mut session, header, body, limits.answer_bytes_max, &mut sent);
    match timeout_at(deadline, io).await.unwrap_or_else(|_| Err(late("exchanging"))) {
        Ok((status, body)) => {
            connector.release_http_session(session, peer, peer.options.idle_timeout).await;
            Exchange::Answer(Answer { body, reused, status })
        }
        // The session is dropped, not pooled: a connection in doubt is never used again.
        Err(error) if sent && !was_refused(&error) => Exchange::Unknown(error),
        Err(error) => Exchange::NotSent(error),
    }
}

/// Everything that must hold before the first byte is written.
fn prepare(
    session: &HttpSession,
    peer: &HttpPeer,
    request: Request,
) -> Result<(Box<RequestHeader>, Bytes), BError> {
    check_tls(session, peer)?;
    let method = match request.method {
        Method::Get => "GET",
        Method::Post => "POST",
    };
    let mut header = RequestHeader::build(method, request.path.as_bytes(), Some(HEADERS_ROOM))?;
    header.insert_header("host", &request.authority)?;
    for (name, value) in &request.headers {
        // The value is exposed because this is the request that must carry it.
        let mut value = http::HeaderValue::try_from(value.expose()).map_err(|_| {
            Error::explain(ErrorType::InvalidHTTPHeader, "a header of the provider")
        })?;
        value.set_sensitive(true);
        header.insert_header(*name, value)?;
    }
    if !(request.body.is_empty() && method == "GET") {
        header.insert_header("content-length", request.body.as_ref().len())?;
    }
    Ok((Box::new(header), Bytes::from_owner(request.body)))
}

/// Room for the headers of the usual request.
const HEADERS_ROOM: usize = 8;

/// Pingora's connector allows TLS 1.0 and old ciphers, and cannot be told otherwise.
fn check_tls(session: &HttpSession, peer: &HttpPeer) -> Result<(), BError> {
    let digest = session.digest().and_then(|digest| digest.ssl_digest.as_ref());
    let strong = digest.is_some_and(|digest| match digest.version.as_ref() {
        "TLSv1.3" => true,
        "TLSv1.2" => digest.cipher.contains("GCM") || digest.cipher.contains("CHACHA20"),
        _ => false,
    });
    if strong && peer.is_tls() && !peer.sni.is_empty() {
        Ok(())
    } else {
        Err(Error::explain(WEAK_TLS, "the provider's TLS is older than 1.2 or weak"))
    }
}

/// Writes the request and reads the answer; `sent` turns true before the request can be complete.
async fn converse(
    session: &mut HttpSession,
    header: Box<RequestHeader>,
    body: Bytes,
    answer_bytes_max: usize,
    sent: &mut bool,
) -> Result<(u16, Bytes), BError> {
    // A head without a body is a complete request; with one, the head alone cannot be executed.
    *sent = body.is_empty();
    session.write_request_header(header).await?;
    *sent = true;
    if !body.is_empty() {
        session.write_request_body(body, true).await?;
    }
    session.finish_request_body().await?;
    let status = read_status(session).await?;
    let mut answer = BytesMut::new();
    while let Some(part) = session.read_response_body().await? {
        if answer.len().saturating_add(part.len()) > answer_bytes_max {
            return Error::e_explain(ErrorType::InvalidHTTPHeader, "the answer is over the limit");
        }
        answer.extend_from_slice(&part);
    }
    Ok((status, answer.freeze()))
}

async fn read_status(session: &mut HttpSession) -> Result<u16, BError> {
    for _ in 0..INTERIM_ANSWERS_MAX {
        session.read_response_header().await?;
        match session.response_header() {
            Some(header) if header.status.is_informational() => {}
            Some(header) => return Ok(header.status.as_u16()),
            None => break,
        }
    }
    Error::e_explain(ErrorType::InvalidHTTPHeader, "no final answer")
}

/// Whether an HTTP/2 peer said that it did not process the stream (RFC 9113 sections 6.8 and 8.7):
/// REFUSED_STREAM, a GOAWAY below the stream, or HTTP_1_1_REQUIRED; never an invalid answer.
fn was_refused(error: &Error) -> bool {
    error.retry == RetryType::Decided(true)
        && matches!(error.etype(), ErrorType::H2Error | ErrorType::H2Downgrade)
}

fn late(what: &'static str) -> BError {
    Error::explain(ErrorType::ReadTimedout, what)
}

//! One request to a provider and its answer, sent once.
//!
//! Every step is ours, so that each failure has exactly one class: either no complete request can
//! have reached the provider, or it may have, or there is an answer. Nothing here sends again.
//!
//! The request is written as one piece: one record of TLS and one packet where Pingora's own client
//! makes two of each, and one buffer with a card in it, which is wiped.

use crate::answer::{self, Received};
use crate::idle::IdleConnections;
use crate::socket::NO_SOCKET;
use bytes::Bytes;
use model::Wiped;
use pingora::connectors::TransportConnector;
use pingora::protocols::Stream;
use pingora::upstreams::peer::HttpPeer;
use pingora::{BError, Error, ErrorType, OrErr};
use providers::wire::{Method, Request};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

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

/// How a provider is reached.
#[derive(Clone, Copy)]
pub(crate) struct Way<'a> {
    pub(crate) connector: &'a TransportConnector,
    /// Connections that were verified as `peer` says.
    pub(crate) idle: &'a IdleConnections,
    pub(crate) peer: &'a Arc<HttpPeer>,
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
/// Room for what a head has beside its values.
const HEAD_ROOM: usize = 128;

/// Whether it was a fault of ours that nothing was sent: this machine had no socket left, or the request
/// could not be written.
pub(crate) fn is_ours(error: &Error) -> bool {
    let class = error.root_etype();
    *class == NO_SOCKET || *class == ErrorType::InvalidHTTPHeader
}

/// Sends `request` and reads the answer.
pub(crate) async fn exchange(way: Way<'_>, request: Request, limits: &Limits) -> Exchange {
    // Turns true when the whole request has been handed to the kernel, and not before: as long as
    // a byte is missing, the last record of TLS is incomplete and the provider cannot read it.
    let mut sent = false;
    let talk = talk(way, request, limits.answer_bytes_max, &mut sent);
    let late = |_| Error::e_explain(ErrorType::ReadTimedout, "the deadline of the exchange");
    match timeout(limits.exchange_timeout, talk).await.unwrap_or_else(late) {
        Ok(answer) => Exchange::Answer(answer),
        // The connection is dropped, not pooled: one in doubt is never used again.
        Err(error) if sent => Exchange::Unknown(error),
        Err(error) => Exchange::NotSent(error),
    }
}

async fn talk(
    Way { connector, idle, peer }: Way<'_>,
    request: Request,
    answer_bytes_max: usize,
    sent: &mut bool,
) -> Result<Answer, BError> {
    let written = written(&request)?;
    drop(request);
    let (mut stream, reused) = match idle.take(peer) {
        Some(stream) => (stream, true),
        // Boxed, because to connect takes a large future, and seldom happens.
        None => (Box::pin(connect(connector, peer)).await?, false),
    };
    stream.write_all(&written).await.or_err(ErrorType::WriteError, "writing the request")?;
    stream.flush().await.or_err(ErrorType::WriteError, "flushing the request")?;
    *sent = true;
    drop(written);
    let received = answer::read(&mut stream, answer_bytes_max).await?;
    let Received { status, body, is_reusable } = received;
    if is_reusable {
        idle.keep(peer.clone(), stream);
    }
    Ok(Answer { body, reused, status })
}

/// The request as HTTP/1.1 (RFC 9112), in one buffer that never grows.
fn written(request: &Request) -> Result<Wiped, BError> {
    let mut out = Wiped::with_capacity(room(request));
    add_line(&mut out, &[request.method.as_str(), " ", &request.path, " HTTP/1.1"])?;
    add_line(&mut out, &["host: ", &request.authority])?;
    for (name, value) in &request.headers {
        // The value is exposed because this is the request that must carry it.
        add_line(&mut out, &[name, ": ", value.expose()])?;
    }
    if request.method == Method::Post {
        add_line(&mut out, &["content-length: ", &request.body.len().to_string()])?;
    }
    add_line(&mut out, &[])?;
    out.extend_from_slice(request.body.as_ref());
    Ok(out)
}

/// How many bytes the whole request needs at most.
fn room(request: &Request) -> usize {
    let headers = request.headers.iter().map(|(name, value)| {
        // The value is exposed to be measured only.
        name.len().saturating_add(value.expose().len()).saturating_add(4)
    });
    [HEAD_ROOM, request.path.len(), request.authority.len(), request.body.len()]
        .into_iter()
        .chain(headers)
        .fold(0, usize::saturating_add)
}

/// Adds a line to the head. Its parts are constants and texts that were encoded or checked; that none
/// of them can end the line is checked once more, for what follows would be a request of its own.
fn add_line(out: &mut Wiped, parts: &[&str]) -> Result<(), BError> {
    for part in parts {
        if part.bytes().any(|byte| !matches!(byte, b' '..=b'~')) {
            return Error::e_explain(ErrorType::InvalidHTTPHeader, "a part of the request's head");
        }
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Makes a connection, whose TLS is checked once and holds as long as it does.
async fn connect(connector: &TransportConnector, peer: &HttpPeer) -> Result<Stream, BError> {
    let stream = connector.new_stream(peer).await?;
    check_tls(&stream, peer)?;
    Ok(stream)
}

/// Pingora's connector allows TLS 1.0 and old ciphers, and cannot be told otherwise.
fn check_tls(stream: &Stream, peer: &HttpPeer) -> Result<(), BError> {
    let strong = stream.get_ssl_digest().is_some_and(|digest| match digest.version.as_ref() {
        "TLSv1.3" => true,
        "TLSv1.2" => digest.cipher.contains("GCM") || digest.cipher.contains("CHACHA20"),
        _ => false,
    });
    if strong && peer.is_tls() && !peer.sni.is_empty() {
        Ok(())
    } else {
        Error::e_explain(WEAK_TLS, "the provider's TLS is older than 1.2 or weak")
    }
}

#[cfg(test)]
mod tests {
    use super::{is_ours, room, written};
    use pingora::{Error, ErrorType};
    use providers::wire::{Body, Request};

    #[test]
    fn a_request_is_one_buffer_that_did_not_grow() {
        let request = Request::post("api.example.com", "/v1/x".to_owned(), Body::json(&1));
        let bytes = written(&request).unwrap();
        let expected = "POST /v1/x HTTP/1.1\r\nhost: api.example.com\r\ncontent-length: 1\r\n\r\n1";
        assert_eq!(std::str::from_utf8(&bytes).unwrap(), expected);
        assert_eq!(bytes.capacity(), room(&request));
    }

    #[test]
    fn nothing_can_end_a_line_of_the_head() {
        for strange in ["/a\r\nx: y", "/a\nb", "/a\0", "/ä", "/a\u{7f}"] {
            let request = Request::get("api.example.com", strange.to_owned());
            let error = written(&request).unwrap_err();
            assert!(is_ours(&error), "{strange:?}");
        }
        assert!(!is_ours(&Error::new(ErrorType::ConnectTimedout)));
        assert!(written(&Request::get("a\r\nb", "/".to_owned())).is_err());
    }
}

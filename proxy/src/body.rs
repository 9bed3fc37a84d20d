//! Reading a request's body, within bounds of size and time.

use bytes::Bytes;
use filters::reject::Reject;
use model::Wiped;
use pingora::BError;
use pingora_proxy::Session;
use std::time::Duration;

/// Why there is no body.
#[derive(Debug)]
pub(crate) enum NoBody {
    /// The client is gone or broke the protocol: there is nobody to answer.
    Gone(BError),
    /// The body breaks a limit.
    Refused(Reject),
}

/// How much room a body gets before any of it has come: what most have. A client without a key can open
/// a hundred streams on one connection, and must not have memory for what it only announces.
const ROOM_BYTES: usize = 4_096;

/// How long after our own limit Pingora's ends.
const BEHIND: Duration = Duration::from_secs(1);

/// Reads the whole body: at most `bytes_max` bytes, within `limit`.
pub(crate) async fn read(
    session: &mut Session,
    bytes_max: usize,
    limit: Duration,
) -> Result<Wiped, NoBody> {
    let declared = declared_length(session);
    if declared.is_some_and(|length| length > bytes_max) {
        return Err(NoBody::Refused(Reject::BodyTooLarge));
    }
    if expects_continue(session) {
        session.write_continue_response().await.map_err(NoBody::Gone)?;
    }
    // Pingora's own is a minute, and would cut off what may take longer.
    session.set_read_timeout(limit.checked_add(BEHIND));
    let mut body = Wiped::with_capacity(declared.unwrap_or(bytes_max).min(ROOM_BYTES));
    match tokio::time::timeout(limit, fill(session, &mut body, bytes_max)).await {
        Ok(Ok(())) => Ok(body),
        Ok(Err(refused)) => Err(refused),
        Err(_) => Err(NoBody::Refused(Reject::SlowBody)),
    }
}

/// Reads what is left of a body that nobody wants, within bounds, so that the answer arrives.
///
/// An HTTP/2 stream that is dropped with an unread body is reset, and the reset overtakes an answer
/// that is not on the wire yet; an HTTP/1 connection that is closed with unread bytes is reset by
/// the kernel, to the same effect.
pub(crate) async fn discard(session: &mut Session) {
    if session.as_downstream_mut().is_body_done() || expects_continue(session) {
        return;
    }
    // Whoever sends more than this, or slower, may well miss the answer.
    drop(tokio::time::timeout(DISCARD_TIMEOUT, discard_some(session)).await);
}

async fn discard_some(session: &mut Session) {
    let mut bytes = 0_usize;
    while let Ok(Some(part)) = next(session).await {
        bytes = bytes.saturating_add(part.len());
        if bytes > DISCARD_BYTES_MAX {
            return;
        }
    }
}

/// How much of an unwanted body is read.
const DISCARD_BYTES_MAX: usize = 262_144;
/// How long an unwanted body is read.
const DISCARD_TIMEOUT: Duration = Duration::from_millis(500);

async fn fill(session: &mut Session, body: &mut Wiped, bytes_max: usize) -> Result<(), NoBody> {
    while let Some(part) = next(session).await? {
        if body.len().saturating_add(part.len()) > bytes_max {
            return Err(NoBody::Refused(Reject::BodyTooLarge));
        }
        body.extend_from_slice(&part);
    }
    Ok(())
}

async fn next(session: &mut Session) -> Result<Option<Bytes>, NoBody> {
    session.as_downstream_mut().read_request_body().await.map_err(NoBody::Gone)
}

fn declared_length(session: &Session) -> Option<usize> {
    session.get_header("content-length")?.to_str().ok()?.parse().ok()
}

/// HTTP/1.1 clients may wait for `100 Continue`; it is given only to those who may send.
fn expects_continue(session: &Session) -> bool {
    let expect = session.get_header("expect");
    !session.as_downstream().is_http2()
        && expect.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

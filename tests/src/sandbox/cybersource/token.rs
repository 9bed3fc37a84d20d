//! Whether the token of a request speaks for this request.

use crate::sandbox::Received;
use boring::hash::hmac_sha256;
use boring::{base64, sha};
use serde_json::Value;

/// The secret that every merchant of the sandbox shares with it: base64 of 32 characters.
pub(super) const SHARED_SECRET: &str = "c2FuZGJveC1zaGFyZWQtc2VjcmV0LTAxMjM0NTY3ODk=";

/// How long a token may be good for.
const LIFE_SECS_MAX: u64 = 120;
/// How far the two clocks may be apart.
const SKEW_SECS_MAX: u64 = 300;

/// The token of a request, as it was sent.
pub(super) fn of(received: &Received) -> &str {
    let value = received.header("authorization").unwrap_or_default();
    value.strip_prefix("Bearer ").unwrap_or_default()
}

/// The name of the secret that a token says it is signed with.
pub(super) fn key_id(received: &Received) -> Option<String> {
    let head = json(of(received).split('.').next()?)?;
    head.get("kid").and_then(Value::as_str).map(str::to_owned)
}

/// Whether the token is signed with the shared secret and speaks for this request, now.
pub(super) fn is_good(received: &Received) -> bool {
    claims(of(received)).is_some_and(|claims| speaks_for(&claims, received).is_some())
}

/// What a well signed token claims.
fn claims(token: &str) -> Option<Value> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (head, claims) = signed.split_once('.')?;
    if json(head)?.get("alg")?.as_str()? != "HS256" {
        return None;
    }
    let key = base64::decode_block(SHARED_SECRET).ok()?;
    let expected = hmac_sha256(&key, signed.as_bytes()).ok()?;
    if bytes(signature)? == expected { json(claims) } else { None }
}

fn speaks_for(claims: &Value, received: &Received) -> Option<()> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let number = |name: &str| claims.get(name).and_then(Value::as_u64);
    let (made, ends) = (number("iat")?, number("exp")?);
    let now = crate::sandbox::ledger::now_ms() / 1_000;
    let timely = ends.checked_sub(made)? <= LIFE_SECS_MAX && now.abs_diff(made) <= SKEW_SECS_MAX;
    let host = text("request-host")?;
    let here = super::HOSTS.contains(&host)
        && text("request-method")?.eq_ignore_ascii_case(received.method.as_str())
        && text("request-resource-path")? == received.path;
    let named = !text("jti")?.is_empty()
        && text("v-c-jwt-version")? == "2"
        && text("iss")? == text("v-c-merchant-id")?;
    let digest = match (received.body.is_empty(), text("digest")) {
        (true, None) => true,
        (false, Some(digest)) => {
            digest == base64::encode_block(&sha::sha256(&received.body))
                && text("digestAlgorithm")? == "SHA-256"
        }
        _ => false,
    };
    (timely && here && named && digest).then_some(())
}

fn json(part: &str) -> Option<Value> {
    serde_json::from_slice(&bytes(part)?).ok()
}

/// Base64 for URLs, without padding.
fn bytes(part: &str) -> Option<Vec<u8>> {
    let mut text = part.replace('-', "+").replace('_', "/");
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    base64::decode_block(&text).ok()
}

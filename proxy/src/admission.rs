//! Who may come in: the checks on a request's head, in one order.

use crate::clock;
use crate::context::{Cx, LimitHeaders};
use crate::shared::Shared;
use filters::decode::FieldError;
use filters::head::{self, Head, Version};
use filters::raw_head;
use filters::reject::Reject;
use filters::route::{self, Matched, RouteError};
use http::HeaderValue;
use model::Principal;
use pingora_proxy::Session;
use std::net::IpAddr;
use std::sync::Arc;
use vault::audit::{Actor, Origin, Source, Who};

/// Why a request does not come in.
#[derive(Debug)]
pub(crate) enum Refused {
    Invalid(FieldError),
    Reject(Reject),
}

/// Lets a request in, or says why not. The order, and the reason for each place:
pub(crate) fn admit(shared: &Shared, session: &Session, cx: &mut Cx) -> Result<Matched, Refused> {
    // First, because it is the cheapest way to say no, and what guards everything below.
    check_flood(shared, session)?;
    // Before anything is believed that the head says.
    check_head(shared, session)?;
    // Before the key, so that the public route needs none; paths are no secret.
    let request = session.req_header();
    let matched = route::route(request.method.as_str(), request.uri.path())?;
    cx.route = matched.route.label();
    if matched.route.needs_key() {
        // The key before the quota, which belongs to it. The quota before the scope, so that a key
        // cannot knock for ever at doors that are not its own.
        let principal = authenticate(shared, session)?;
        check_quota(shared, &principal, cx)?;
        check_scope(shared, &principal, &matched)?;
        cx.principal = Some(principal);
    }
    cx.phases.admit = cx.started.elapsed();
    Ok(matched)
}

fn check_flood(shared: &Shared, session: &Session) -> Result<(), Reject> {
    match address(session) {
        Some(address) if !shared.flood.allow(address) => {
            shared.metrics.limited("flood");
            Err(Reject::Flood)
        }
        _ => Ok(()),
    }
}

fn check_head(shared: &Shared, session: &Session) -> Result<(), Reject> {
    if !session.as_downstream().is_http2() {
        // On the bytes, since Pingora has repaired by now what should be refused.
        raw_head::check(&session.as_downstream().to_h1_raw())?;
    }
    with_head(session, |head| head::check(head, &shared.head_limits))
}

/// Checks what the head says of the body, once it is known that there must be one.
pub(crate) fn check_body_head(shared: &Shared, session: &Session) -> Result<(), Reject> {
    with_head(session, |head| head::check_body_head(head, &shared.head_limits))
}

/// The same where the body may be of any type.
pub(crate) fn check_some_body_head(shared: &Shared, session: &Session) -> Result<(), Reject> {
    with_head(session, |head| head::check_some_body_head(head, &shared.head_limits))
}

/// Checks that the head announces no body, where none belongs.
pub(crate) fn check_no_body(session: &Session) -> Result<(), Reject> {
    with_head(session, head::check_no_body)
}

/// The headers of a request, their names in lower case.
pub(crate) fn headers(session: &Session) -> Vec<(&str, &[u8])> {
    let all = session.req_header().headers.iter();
    all.map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
}

fn with_head<T>(session: &Session, check: impl FnOnce(&Head<'_>) -> T) -> T {
    let request = session.req_header();
    let headers = headers(session);
    let path = request.uri.path_and_query().map_or("/", |path| path.as_str());
    let version = match request.version {
        http::Version::HTTP_2 => Version::Http2,
        http::Version::HTTP_11 => Version::Http11,
        _ => Version::Http10,
    };
    check(&Head { method: request.method.as_str(), path, headers: &headers, version })
}

fn authenticate(shared: &Shared, session: &Session) -> Result<Arc<Principal>, Reject> {
    let mut presented = session.req_header().headers.get_all("x-api-key").iter();
    let refused = |why| {
        shared.vault.audit().refused(why, Source::Address(address(session)));
        Reject::Unauthorized
    };
    let (Some(key), None) = (presented.next(), presented.next()) else {
        return Err(refused("no key was presented, or several"));
    };
    let principal = shared.vault.authenticate(key.as_bytes(), clock::now_seconds());
    // While the keys are locked up nobody can be known, which is no fault of the client's.
    if principal.is_none() && !shared.vault.health().keys {
        return Err(Reject::VaultUnavailable);
    }
    principal.ok_or_else(|| refused("what was presented is no good key"))
}

/// Counts the request against its key, and keeps what the client is to be told of it.
fn check_quota(shared: &Shared, principal: &Principal, cx: &mut Cx) -> Result<(), Reject> {
    let verdict = shared.quota.check(&principal.key);
    cx.limit = HeaderValue::try_from(verdict.header())
        .ok()
        .map(|state| LimitHeaders { policy: shared.quota_policy.clone(), state });
    if verdict.allowed {
        return Ok(());
    }
    shared.metrics.limited("quota");
    Err(Reject::QuotaExceeded { retry_after_s: verdict.retry_after_s })
}

fn check_scope(shared: &Shared, principal: &Principal, matched: &Matched) -> Result<(), Reject> {
    match matched.route.scope(matched.method) {
        Some(scope) if !principal.may(scope) => {
            let source = Source::Key(principal.key.clone());
            shared.vault.audit().refused("the key lacks the scope", source);
            Err(Reject::Forbidden { scope })
        }
        _ => Ok(()),
    }
}

/// Who asks, and from where, as the audit log has it.
pub(crate) fn who(session: &Session, cx: &Cx) -> Who {
    let key = cx.principal.as_ref().map(|principal| principal.key.clone());
    let origin = Origin { address: address(session), request: Some(cx.id.as_str().into()) };
    Who { actor: key.map_or(Actor::Nobody, Actor::Key), origin: Some(origin) }
}

/// The address that a request comes from, written as one: a listener for IPv6 that takes IPv4 as well tells
/// of such clients in IPv6.
pub(crate) fn address(session: &Session) -> Option<IpAddr> {
    Some(session.client_addr()?.as_inet()?.ip().to_canonical())
}

// === impl Refused ===

impl From<Reject> for Refused {
    fn from(reject: Reject) -> Self {
        Self::Reject(reject)
    }
}

impl From<RouteError> for Refused {
    fn from(error: RouteError) -> Self {
        match error.into_reject() {
            Ok(reject) => Self::Reject(reject),
            Err(error) => Self::Invalid(error),
        }
    }
}

//! The merchants' listener as Pingora's phases: each one calls one function of ours.
//!
//! `request_filter` admits a request (address, key, quota), reads and decodes its body, and answers
//! whatever asks no provider. `proxy_upstream_filter` carries out payments. Pingora's own way to an
//! upstream is never taken: no route of ours is streamed.

use crate::admission;
use crate::body::{self, NoBody};
use crate::clock;
use crate::context::Cx;
use crate::guard::Deadlines;
use crate::payment::{self, Performed, Plan};
use crate::reply::Reply;
use crate::resource::{self, Refused};
use crate::shared::Shared;
use crate::webhook;
use async_trait::async_trait;
use filters::decode::{self, FieldError};
use filters::reject::Reject;
use filters::route::{Matched, Route, Verb};
use model::{Kind, Wiped};
use pingora::modules::http::HttpModules;
use pingora::upstreams::peer::HttpPeer;
use pingora::{BError, Error, ErrorType};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};
use providers::webhook::Delivery;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use vault::audit::{Source, Who};

/// The one implementation of Pingora's trait.
pub(crate) struct Gateway(pub(crate) Arc<Shared>);

/// What a phase does next.
enum Next {
    /// A payment is planned.
    Pay,
    /// The request is answered.
    Reply(Reply),
}

/// Why a request has no ordinary answer.
enum Stop {
    /// Nobody is left to be answered.
    Gone(BError),
    Invalid(FieldError),
    Reject(Reject),
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = Cx;

    fn new_ctx(&self) -> Cx {
        Cx::new()
    }

    /// None: the default ones would compress answers, which are small and not to be cached.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, cx: &mut Cx) -> Result<(), BError> {
        cx.begin();
        Deadlines::head_done(session);
        session.set_write_timeout(Some(self.0.limits.write_timeout));
        if session.get_keepalive().is_some() {
            // Without this, an idle connection would be kept for ever.
            session.set_keepalive(Some(self.0.limits.idle_timeout.as_secs()));
        }
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, cx: &mut Cx) -> Result<bool, BError> {
        let reply = match self.take(session, cx).await {
            Ok(Next::Pay) => return Ok(false),
            Ok(Next::Reply(reply)) => reply,
            Err(Stop::Gone(error)) => return Err(error),
            Err(Stop::Invalid(error)) => Self::invalid(&error, cx),
            Err(Stop::Reject(reject)) => Self::refuse(reject, cx),
        };
        reply.write(session, cx).await.map(|()| true)
    }

    async fn proxy_upstream_filter(
        &self,
        session: &mut Session,
        cx: &mut Cx,
    ) -> Result<bool, BError> {
        let Some(plan) = cx.plan.take() else {
            return Error::e_explain(ErrorType::InternalError, "no plan");
        };
        let reply = match plan.perform(&self.0).await {
            Performed::Finished(done) => {
                cx.summary = Some(done.finished.summary());
                done.reply
            }
            Performed::Invalid(error) => Self::invalid(&error, cx),
            Performed::Refused(reject) => Self::refuse(reject, cx),
            Performed::Replayed(reply) => reply,
        };
        reply.write(session, cx).await.map(|()| false)
    }

    async fn upstream_peer(&self, _: &mut Session, _: &mut Cx) -> Result<Box<HttpPeer>, BError> {
        Error::e_explain(ErrorType::InternalError, "no route leads here")
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        _: &mut Session,
        mut error: BError,
        _: &mut Cx,
        _: bool,
    ) -> BError {
        // Whatever the method and however the connection was kept: nothing is ever sent twice.
        error.set_retry(false);
        error
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        cx: &mut Cx,
    ) -> FailToProxy {
        let ours = *error.etype() == ErrorType::InternalError;
        let reject = if ours { Reject::Internal } else { Reject::MalformedHead };
        if session.response_written().is_none() {
            // When this fails as well, the client is gone, and `logging` says so.
            drop(Self::refuse(reject, cx).write(session, cx).await);
        }
        FailToProxy { error_code: reject.status(), can_reuse_downstream: false }
    }

    /// Pingora's own line would hold the path and query as the client sent them.
    fn suppress_error_log(&self, _: &Session, _: &Cx, _: &Error) -> bool {
        true
    }

    fn request_summary(&self, _: &Session, cx: &Cx) -> String {
        format!("request {} {}", cx.id.as_str(), cx.route)
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, cx: &mut Cx) {
        Deadlines::next_request(session);
        let status = session.response_written().map_or(0, |written| written.status.as_u16());
        self.0.metrics.request_done(cx, status);
        self.0.access_log.request(session, cx, status, error.is_some());
    }
}

// === impl Gateway ===

impl Gateway {
    /// Takes a request as far as it goes without a provider.
    async fn take(&self, session: &mut Session, cx: &mut Cx) -> Result<Next, Stop> {
        let Matched { route, method: verb } = admission::admit(&self.0, session, cx)?;
        if route == Route::OpenApi {
            return Ok(Next::Reply(Reply::raw_json(filters::OPENAPI)));
        }
        if let Route::Webhook(merchant, account) = &route {
            let case = webhook::Case { shared: &self.0, merchant, account };
            // Boxed, as is what follows the payments: every payment would carry its room.
            return Box::pin(self.hear(session, verb, &case, cx)).await.map(Next::Reply);
        }
        let body = if route.takes_body(verb) {
            self.read_body(session, cx).await?
        } else {
            admission::check_no_body(session)?;
            Wiped::default()
        };
        if let Some(kind) = route.kind() {
            let key = self.idempotency_key(kind, session)?;
            return self.plan(kind, &body, admission::who(session, cx), key, cx);
        }
        let principal = cx.principal.clone().ok_or(Stop::Reject(Reject::Unauthorized))?;
        let who = admission::who(session, cx);
        let query = session.req_header().uri.query().unwrap_or_default();
        let asked = resource::Asked { route: &route, verb, query, body: &body };
        let reply = Box::pin(resource::answer(&self.0, &principal, asked, &who)).await?;
        Ok(Next::Reply(reply))
    }

    /// Takes a webhook, which has no key: its signature proves whose it is. Some gateways ask before
    /// who will hear it.
    async fn hear(
        &self,
        session: &mut Session,
        verb: Verb,
        case: &webhook::Case<'_>,
        cx: &mut Cx,
    ) -> Result<Reply, Stop> {
        let taken = if verb == Verb::Get {
            admission::check_no_body(session)?;
            let query = session.req_header().uri.query().unwrap_or_default();
            webhook::prove_hearing(case, query)
        } else {
            admission::check_some_body_head(&self.0, session)?;
            let body = self.read_whole(session, cx).await?;
            let headers = admission::headers(session);
            webhook::take(case, &Delivery { headers: &headers, body: &body }).await
        };
        if taken.as_ref().is_err_and(|reject| *reject == Reject::WebhookRefused) {
            let source = Source::Address(admission::address(session));
            self.0.vault.audit().refused("a webhook was not proven", source);
        }
        Ok(taken?)
    }

    async fn read_body(&self, session: &mut Session, cx: &mut Cx) -> Result<Wiped, Stop> {
        admission::check_body_head(&self.0, session)?;
        self.read_whole(session, cx).await
    }

    async fn read_whole(&self, session: &mut Session, cx: &mut Cx) -> Result<Wiped, Stop> {
        let began = Instant::now();
        let limits = &self.0.limits;
        let body = body::read(session, limits.body_bytes_max, limits.body_timeout).await?;
        cx.phases.body = began.elapsed();
        Ok(body)
    }

    /// The idempotency key of a request that does something. There is at most one such header.
    fn idempotency_key(&self, kind: Kind, session: &Session) -> Result<Option<Box<str>>, Reject> {
        let header = session.req_header().headers.get("idempotency-key");
        match header {
            // To ask does nothing.
            _ if kind == Kind::Status => Ok(None),
            Some(value) => payment::check_key(value.as_bytes()).map(Some),
            None if self.0.payments.idempotency_required => Err(Reject::IdempotencyMissing),
            None => Ok(None),
        }
    }

    fn plan(
        &self,
        kind: Kind,
        body: &[u8],
        who: Who,
        key: Option<Box<str>>,
        cx: &mut Cx,
    ) -> Result<Next, Stop> {
        if self.0.draining.load(Ordering::Relaxed) {
            return Err(Stop::Reject(Reject::Overloaded));
        }
        let began = Instant::now();
        let request = decode::payment(kind, body, clock::month_anywhere())?;
        cx.phases.decode = began.elapsed();
        let merchant = match &cx.principal {
            Some(principal) => principal.merchant.clone(),
            None => return Err(Stop::Reject(Reject::Unauthorized)),
        };
        cx.plan = Some(Box::new(Plan { merchant, key, request, who }));
        Ok(Next::Pay)
    }

    fn refuse(reject: Reject, cx: &mut Cx) -> Reply {
        cx.refusal = Some(reject.code());
        Reply::refusal(reject, cx.id.as_str())
    }

    fn invalid(error: &FieldError, cx: &mut Cx) -> Reply {
        cx.refusal = Some("invalid-field");
        Reply::invalid(error)
    }
}

// === impl Stop ===

impl From<FieldError> for Stop {
    fn from(error: FieldError) -> Self {
        Self::Invalid(error)
    }
}

impl From<NoBody> for Stop {
    fn from(no_body: NoBody) -> Self {
        match no_body {
            NoBody::Gone(error) => Self::Gone(error),
            NoBody::Refused(reject) => Self::Reject(reject),
        }
    }
}

impl From<Refused> for Stop {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Invalid(error) => Self::Invalid(error),
            Refused::Reject(reject) => Self::Reject(reject),
        }
    }
}

impl From<Reject> for Stop {
    fn from(reject: Reject) -> Self {
        Self::Reject(reject)
    }
}

impl From<admission::Refused> for Stop {
    fn from(refused: admission::Refused) -> Self {
        match refused {
            admission::Refused::Invalid(error) => Self::Invalid(error),
            admission::Refused::Reject(reject) => Self::Reject(reject),
        }
    }
}

//! What a client is told: the one place that turns refusals into answers, and writes them.

use crate::body;
use crate::context::Cx;
use bytes::Bytes;
use filters::decode::FieldError;
use filters::reject::{PROBLEM_JSON, Reject};
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};
use pingora::http::ResponseHeader;
use pingora::{BError, ErrorType, OrErr};
use pingora_proxy::Session;
use providers::webhook::Receipt;
use serde::Serialize;
use std::borrow::Cow;

/// A whole answer, not yet written.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) body: Bytes,
    /// Whether the connection ends with this answer.
    pub(crate) closes: bool,
    pub(crate) content_type: &'static str,
    /// Headers beyond those that every answer has.
    pub(crate) headers: Vec<(&'static str, Cow<'static, str>)>,
    pub(crate) status: u16,
}

/// The media type of the API's own bodies.
const JSON: &str = "application/json; charset=utf-8";
/// The media type of what is no JSON.
const TEXT: &str = "text/plain";
/// Names that are not in the library's own list, made once.
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// No answer may be kept by a cache.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// Room for the answer to a payment.
const BODY_ROOM_BYTES: usize = 1_024;
/// Room for the headers of the usual answer.
const HEADERS_ROOM: usize = 10;

/// What an answer is whose head cannot be written: a mistake of ours.
const UNWRITABLE: ErrorType = ErrorType::InvalidHTTPHeader;

fn value(text: &str) -> Result<HeaderValue, BError> {
    HeaderValue::from_str(text).or_err(UNWRITABLE, "the value of a header")
}

// === impl Reply ===

impl Reply {
    /// An answer whose body is `value` as JSON.
    pub(crate) fn json(status: u16, value: &impl Serialize) -> Self {
        let mut body = Vec::with_capacity(BODY_ROOM_BYTES);
        match serde_json::to_writer(&mut body, value) {
            Ok(()) => Self::new(status, JSON, body),
            // Our own types are always writable; were one not, the client must still be answered.
            Err(_) => Self::new(500, JSON, &b"{}"[..]),
        }
    }

    /// An answer with a body that is JSON already.
    pub(crate) fn raw_json(body: &'static str) -> Self {
        Self::new(200, JSON, body)
    }

    /// An answer that was given before.
    pub(crate) fn kept(status: u16, body: Box<[u8]>) -> Self {
        Self::new(status, JSON, Vec::from(body))
    }

    /// What a provider wants to read.
    pub(crate) fn receipt(receipt: Receipt) -> Self {
        Self::new(200, receipt.content_type, receipt.body)
    }

    /// An answer that is a text.
    pub(crate) fn text(text: String) -> Self {
        Self::new(200, TEXT, text)
    }

    /// An answer without a body.
    pub(crate) fn empty(status: u16) -> Self {
        Self::new(status, JSON, Bytes::new())
    }

    fn new(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), closes: false, content_type, headers: Vec::new(), status }
    }

    /// The answer to a request that goes no further.
    pub(crate) fn refusal(reject: Reject, request_id: &str) -> Self {
        let mut reply = Self::new(reject.status(), PROBLEM_JSON, reject.problem(request_id));
        reply.closes = reject.closes();
        reply.headers.extend(reject.header());
        reply
    }

    /// The answer to a body that says something that cannot be.
    pub(crate) fn invalid(error: &FieldError) -> Self {
        Self::new(400, JSON, error.json())
    }

    /// Adds a header.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Writes the answer. An error means that the client is gone.
    pub(crate) async fn write(self, session: &mut Session, cx: &Cx) -> Result<(), BError> {
        if self.closes {
            session.set_keepalive(None);
        }
        let header = self.header(cx)?;
        let bodiless = self.body.is_empty() || session.req_header().method == http::Method::HEAD;
        session.write_response_header(Box::new(header), bodiless).await?;
        if !bodiless {
            session.write_response_body(Some(self.body), true).await?;
        }
        body::discard(session).await;
        Ok(())
    }

    /// The head of the answer. Pingora's own way to add a header reads its name anew, even if it is one.
    fn header(&self, cx: &Cx) -> Result<ResponseHeader, BError> {
        let mut head = http::Response::new(()).into_parts().0;
        head.status = StatusCode::from_u16(self.status).or_err(UNWRITABLE, "a status")?;
        head.headers = self.headers(cx)?;
        Ok(head.into())
    }

    fn headers(&self, cx: &Cx) -> Result<HeaderMap, BError> {
        let mut headers = HeaderMap::with_capacity(HEADERS_ROOM);
        // An empty text is a text; an empty body of JSON is none.
        if !self.body.is_empty() || self.content_type != JSON {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        }
        headers.insert(CONTENT_LENGTH, self.body.len().into());
        headers.insert(CACHE_CONTROL, NO_STORE);
        headers.insert(REQUEST_ID, value(cx.id.as_str())?);
        if let Some(limit) = &cx.limit {
            headers.insert(RATE_LIMIT_POLICY, limit.policy.clone());
            headers.insert(RATE_LIMIT, limit.state.clone());
        }
        for (name, text) in &self.headers {
            let name = HeaderName::try_from(*name).or_err(UNWRITABLE, "the name of a header")?;
            headers.insert(name, value(text)?);
        }
        Ok(headers)
    }
}

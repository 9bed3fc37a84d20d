//! What is known of one request while it is served.

use crate::payment::Plan;
use crate::result::Summary;
use http::HeaderValue;
use model::{Principal, hex};
use rand::RngCore;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The context of one request.
#[derive(Debug)]
pub(crate) struct Cx {
    pub(crate) id: RequestId,
    /// What the client is told of its quota, on every answer once it is known.
    pub(crate) limit: Option<LimitHeaders>,
    pub(crate) phases: Phases,
    /// What is to be done at a provider, until it is done.
    pub(crate) plan: Option<Box<Plan>>,
    pub(crate) principal: Option<Arc<Principal>>,
    /// The stable code of the refusal, where there was one.
    pub(crate) refusal: Option<&'static str>,
    /// The route as documented, which is what logs and metrics may say of the path.
    pub(crate) route: &'static str,
    pub(crate) started: Instant,
    /// What became of the payment, where there was one.
    pub(crate) summary: Option<Summary>,
}

/// The headers about a key's quota.
#[derive(Clone, Debug)]
pub(crate) struct LimitHeaders {
    pub(crate) policy: HeaderValue,
    pub(crate) state: HeaderValue,
}

/// A request's name in logs and answers: 32 hexadecimal digits of randomness.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestId([u8; 32]);

/// How long the parts of a request took.
#[derive(Debug, Default)]
pub(crate) struct Phases {
    /// From the complete head until the caller is known and may go on.
    pub(crate) admit: Duration,
    /// Reading the body from the network.
    pub(crate) body: Duration,
    /// Making sense of it.
    pub(crate) decode: Duration,
}

// === impl Cx ===

impl Cx {
    /// The context of a request whose head is complete now.
    pub(crate) fn new() -> Self {
        Self {
            id: RequestId::random(),
            limit: None,
            phases: Phases::default(),
            plan: None,
            principal: None,
            refusal: None,
            route: "-",
            started: Instant::now(),
            summary: None,
        }
    }

    /// Names the request and starts its clock anew: the context is made before the head is read.
    pub(crate) fn begin(&mut self) {
        self.started = Instant::now();
    }
}

// === impl RequestId ===

impl RequestId {
    fn random() -> Self {
        let mut bytes = [0; 16];
        rand::rng().fill_bytes(&mut bytes);
        Self(hex(bytes))
    }

    /// The 32 digits.
    pub(crate) fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::RequestId;

    #[test]
    fn ids_are_thirty_two_digits_and_differ() {
        let (one, other) = (RequestId::random(), RequestId::random());
        assert_eq!(one.as_str().len(), 32);
        assert_ne!(one.as_str(), other.as_str());
    }
}

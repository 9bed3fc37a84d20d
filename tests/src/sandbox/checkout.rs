//! Checkout.com's payments, as <https://api-reference.checkout.com> describes them.

mod parameters;
mod payment;
mod stored;

use super::fault::Operation;
use super::idempotency::{Claim, Keys, Verdict};
use super::recent::Recent;
use super::shape::{self, Field, Written};
use super::{Answer, Books, Order as AnyOrder, Received, Ticket, form};
use payment::Payment;
use rand::Rng as _;
use serde_json::{Value, json};

/// The host names under which it is found.
pub(super) const HOSTS: &[&str] = &["api.sandbox.checkout.com"];
/// How many payments are remembered; the oldest go first.
const PAYMENTS_MAX: usize = 50_000;
/// How long an idempotency key may be, in bytes.
const KEY_BYTES_MAX: usize = 255;
/// What a key begins with, and the key that only makes tokens.
const KEY_PREFIX: &str = "sk_sbox_";
const PUBLIC_KEY_PREFIX: &str = "pk_sbox_";
/// How many characters a key has at least.
const KEY_LEN_MIN: usize = 18;

/// Everything that Checkout.com remembers.
#[derive(Debug)]
pub(super) struct Checkout {
    keys: Keys,
    payments: Recent<String, Payment>,
    /// Cards, by the names that are good for once, and by those that are kept.
    tokens: Recent<String, Value>,
    instruments: Recent<String, Value>,
}

/// A request that was understood.
#[derive(Debug)]
pub(super) struct Order {
    route: Route,
    /// The payment in the path, or nothing.
    payment: String,
    parameters: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Actions,
    Capture,
    Get,
    List,
    Pay,
    Refund,
    Store,
    Tokenize,
    Void,
}

/// The parts of an order that end up in the ledger, and the ledger.
#[derive(Clone, Copy, Debug)]
struct Desk<'a> {
    books: &'a Books,
    key: Option<&'a str>,
}

fn route(method: &http::Method, path: &str) -> Option<(Route, String)> {
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let (route, payment) = match (method.as_str(), segments.as_slice()) {
        ("POST", ["payments"]) => (Route::Pay, ""),
        ("POST", ["tokens"]) => (Route::Tokenize, ""),
        ("POST", ["instruments"]) => (Route::Store, ""),
        ("GET", ["payments"]) => (Route::List, ""),
        ("GET", ["payments", payment]) => (Route::Get, *payment),
        ("GET", ["payments", payment, "actions"]) => (Route::Actions, *payment),
        ("POST", ["payments", payment, "captures"]) => (Route::Capture, *payment),
        ("POST", ["payments", payment, "refunds"]) => (Route::Refund, *payment),
        ("POST", ["payments", payment, "voids"]) => (Route::Void, *payment),
        _ => return None,
    };
    Some((route, payment.to_owned()))
}

/// `prefix` and 26 characters, as Checkout.com names things.
fn new_id(prefix: &str) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut rng = rand::rng();
    let letters = (0..26).filter_map(|_| LETTERS.get(rng.random_range(0..LETTERS.len())));
    prefix.chars().chain(letters.map(|letter| char::from(*letter))).collect()
}

/// An error as Checkout.com words it.
fn refuse(status: u16, code: &str) -> Answer {
    let body = json!({
        "request_id": new_id(""), "error_type": "request_invalid", "error_codes": [code],
    });
    Answer::json(status, &body)
}

/// 422 for a field that is not acceptable.
fn invalid(code: &str) -> Answer {
    refuse(422, code)
}

/// What is answered with a status that has no reason of its own.
pub(super) fn failure(status: u16) -> Answer {
    match status {
        413 => refuse(413, "payload_too_large"),
        429 => refuse(429, "too_many_requests"),
        _ => {
            let body = json!({
                "request_id": new_id(""), "error_type": "processing_error",
                "error_codes": ["bad_gateway"],
            });
            Answer::json(status, &body)
        }
    }
}

/// What is answered to a key that may not do this.
pub(super) fn forbidden() -> Answer {
    Answer::json(403, &Value::Null)
}

/// What is answered to a key that was taken back.
pub(super) fn revoked() -> Answer {
    Answer::json(401, &Value::Null)
}

/// The key in a request, as it was sent.
pub(super) fn key(received: &Received) -> &str {
    let value = received.header("authorization").unwrap_or_default();
    value.strip_prefix("Bearer ").unwrap_or_default()
}

// === impl Checkout ===

impl Default for Checkout {
    fn default() -> Self {
        Self {
            keys: Keys::default(),
            payments: Recent::new(PAYMENTS_MAX),
            tokens: Recent::new(PAYMENTS_MAX),
            instruments: Recent::new(PAYMENTS_MAX),
        }
    }
}

impl Checkout {
    /// Reads a request: key, address, structure, idempotency.
    pub(super) fn begin(&mut self, received: &Received) -> Result<Ticket, Answer> {
        let account = key(received);
        let found = route(&received.method, &received.path);
        let public = matches!(found, Some((Route::Tokenize, _)));
        let prefix = if public { PUBLIC_KEY_PREFIX } else { KEY_PREFIX };
        if !account.starts_with(prefix) || account.len() < KEY_LEN_MIN {
            return Err(revoked());
        }
        let Some((route, payment)) = found else {
            return Err(Answer::json(404, &Value::Null));
        };
        let parameters = route.parameters(received)?;
        let claim = self.claim(account, received)?;
        let amount = parameters.get("amount").and_then(Value::as_u64);
        let operation = route.operation(&parameters);
        let order = AnyOrder::Checkout(Order { route, payment, parameters });
        Ok(Ticket { operation, amount, key: claim, order })
    }

    fn claim(&mut self, account: &str, received: &Received) -> Result<Option<Claim>, Answer> {
        let Some(key) = received.header("cko-idempotency-key") else { return Ok(None) };
        if received.method != http::Method::POST {
            return Ok(None);
        }
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(invalid("idempotency_key_invalid"));
        }
        match self.keys.claim(account, key, received) {
            Verdict::Execute(claim) => Ok(Some(claim)),
            Verdict::Replay(answer) => Err(answer),
            Verdict::Mismatch => Err(invalid("idempotency_key_reused")),
            Verdict::Running => Err(Answer::json(409, &Value::Null)),
        }
    }

    /// Executes an order, and remembers the answer under its key where it is a good one.
    pub(super) fn execute(&mut self, order: Order, claim: Option<Claim>, books: &Books) -> Answer {
        let key = claim.as_ref().map(|claim| claim.key.as_str());
        let desk = Desk { books, key };
        let answer = match order.route {
            Route::Actions | Route::Get => self.get(&order),
            Route::Capture | Route::Refund | Route::Void => {
                self.change(&order, desk).unwrap_or_else(|refused| refused)
            }
            Route::List => self.list(&order),
            Route::Pay => self
                .with_card(&order.parameters)
                .and_then(|(whole, source)| self.pay(&whole, &source, desk))
                .unwrap_or_else(|refused| refused),
            Route::Store => self.store(&order.parameters).unwrap_or_else(|refused| refused),
            Route::Tokenize => self.tokenize(&order.parameters).unwrap_or_else(|refused| refused),
        };
        match claim {
            Some(claim) if answer.status < 300 => self.keys.settle(&claim, &answer),
            Some(claim) => self.keys.abandon(&claim),
            None => {}
        }
        answer.header("cko-version", "3.0.0")
    }

    /// Frees the key of an order that will not be executed.
    pub(super) fn abandon(&mut self, claim: Option<Claim>) {
        if let Some(claim) = claim {
            self.keys.abandon(&claim);
        }
    }
}

// === impl Route ===

impl Route {
    fn fields(self) -> &'static [Field] {
        match self {
            Self::Actions | Self::Get | Self::List => &[],
            Self::Capture => parameters::CAPTURE,
            Self::Pay => parameters::PAYMENT,
            Self::Refund => parameters::REFUND,
            Self::Store => parameters::INSTRUMENT,
            Self::Tokenize => parameters::TOKEN,
            Self::Void => parameters::VOID,
        }
    }

    fn parameters(self, received: &Received) -> Result<Value, Answer> {
        match self {
            Self::Actions | Self::Get => return Ok(json!({})),
            Self::List => {
                let query = form::parse(received.query.as_bytes());
                return query.map(Value::Object).map_err(|_| invalid("query_invalid"));
            }
            Self::Capture
            | Self::Pay
            | Self::Refund
            | Self::Store
            | Self::Tokenize
            | Self::Void => {}
        }
        if received.body.is_empty() && self != Self::Pay {
            return Ok(json!({}));
        }
        let kind = received.header("content-type").unwrap_or_default();
        if !kind.starts_with("application/json") {
            return Err(refuse(415, "content_type_invalid"));
        }
        let body: Value =
            serde_json::from_slice(&received.body).map_err(|_| invalid("body_malformed"))?;
        let object = body.as_object().ok_or_else(|| invalid("body_malformed"))?;
        shape::check(object, self.fields(), Written::Json).map_err(|problem| {
            let field = problem.dotted().replace('.', "_");
            let missing = matches!(problem.fault, shape::Fault::Missing);
            invalid(&if missing { format!("{field}_required") } else { format!("{field}_invalid") })
        })?;
        Ok(body)
    }

    fn operation(self, parameters: &Value) -> Operation {
        match self {
            Self::Actions | Self::Get | Self::List => Operation::Read,
            Self::Capture => Operation::Capture,
            Self::Pay if parameters.get("capture") == Some(&Value::Bool(false)) => {
                Operation::Authorize
            }
            Self::Pay => Operation::Charge,
            Self::Refund => Operation::Refund,
            Self::Store => Operation::Keep,
            Self::Tokenize => Operation::PaymentMethod,
            Self::Void => Operation::Void,
        }
    }
}

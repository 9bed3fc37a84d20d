//! CyberSource's payments, as its REST reference describes them.

mod instrument;
mod parameters;
mod payment;
mod token;

use super::fault::Operation;
use super::idempotency::Claim;
use super::recent::Recent;
use super::shape::{self, Field, Written};
use super::{Answer, Books, Order as AnyOrder, Received, Ticket};
use payment::Transaction;
use rand::Rng as _;
use serde_json::{Value, json};

/// The host names under which it is found.
pub(super) const HOSTS: &[&str] = &["apitest.cybersource.com"];
/// How many transactions are remembered; the oldest go first.
const TRANSACTIONS_MAX: usize = 50_000;

/// Everything that CyberSource remembers.
#[derive(Debug)]
pub(super) struct Cybersource {
    transactions: Recent<String, Transaction>,
    /// The cards that are kept.
    instruments: Recent<String, Value>,
}

/// A request that was understood.
#[derive(Debug)]
pub(super) struct Order {
    route: Route,
    /// The transaction in the path, or nothing.
    id: String,
    parameters: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Capture,
    Get,
    Pay,
    RefundCapture,
    RefundPayment,
    Reverse,
    Search,
    Void,
}

fn route(method: &http::Method, path: &str) -> Option<(Route, String)> {
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let (route, id) = match (method.as_str(), segments.as_slice()) {
        ("POST", ["pts", "v2", "payments"]) => (Route::Pay, ""),
        ("POST", ["pts", "v2", "payments", id, "captures"]) => (Route::Capture, *id),
        ("POST", ["pts", "v2", "payments", id, "refunds"]) => (Route::RefundPayment, *id),
        ("POST", ["pts", "v2", "captures", id, "refunds"]) => (Route::RefundCapture, *id),
        ("POST", ["pts", "v2", "payments", id, "reversals"]) => (Route::Reverse, *id),
        ("POST", ["pts", "v2", "payments" | "captures", id, "voids"]) => (Route::Void, *id),
        ("GET", ["tss", "v2", "transactions", id]) => (Route::Get, *id),
        ("POST", ["tss", "v2", "searches"]) => (Route::Search, ""),
        _ => return None,
    };
    Some((route, id.to_owned()))
}

/// 22 digits, as CyberSource names transactions.
fn new_id() -> String {
    let mut rng = rand::rng();
    let digits = (0..21).map(|_| char::from(b'0'.saturating_add(rng.random_range(0..10))));
    std::iter::once('7').chain(digits).collect()
}

/// An error as CyberSource words it.
fn refuse(status: u16, word: &str, reason: &str) -> Answer {
    let body = json!({
        "submitTimeUtc": "2026-06-16T12:00:00Z", "status": word, "reason": reason,
        "message": "The request was not executed.",
    });
    Answer::json(status, &body)
}

/// 400 for what is not acceptable.
fn invalid(reason: &str) -> Answer {
    refuse(400, "INVALID_REQUEST", reason)
}

fn not_found() -> Answer {
    Answer::json(404, &json!({"message": "The requested resource does not exist"}))
}

/// What is answered with a status that has no reason of its own.
pub(super) fn failure(status: u16) -> Answer {
    match status {
        429 => Answer::json(429, &json!({"message": "Too many requests"})),
        413 => refuse(413, "INVALID_REQUEST", "INVALID_DATA"),
        _ => refuse(status, "SERVER_ERROR", "SYSTEM_ERROR"),
    }
}

/// What is answered to a key that may not do this.
pub(super) fn forbidden() -> Answer {
    Answer::json(403, &json!({"response": {"rmsg": "Not authorized"}}))
}

/// What is answered to a token that is not taken.
pub(super) fn revoked() -> Answer {
    Answer::json(401, &json!({"response": {"rmsg": "Authentication Failed"}}))
}

/// What names the key in a request: the token, since every one is new.
pub(super) fn key(received: &Received) -> &str {
    token::of(received)
}

// === impl Cybersource ===

impl Default for Cybersource {
    fn default() -> Self {
        let (transactions, instruments) =
            (Recent::new(TRANSACTIONS_MAX), Recent::new(TRANSACTIONS_MAX));
        Self { transactions, instruments }
    }
}

impl Cybersource {
    /// Reads a request: token, address, structure. There is no idempotency.
    pub(super) fn begin(&mut self, received: &Received) -> Result<Ticket, Answer> {
        if token::key_id(received).is_none_or(|id| id.len() < 8) || !token::is_good(received) {
            return Err(revoked());
        }
        let (route, id) = route(&received.method, &received.path).ok_or_else(not_found)?;
        let parameters = route.parameters(received)?;
        let order = Order { route, id, parameters };
        let details = payment::details(&order);
        let amount = details.and_then(|details| payment::amount(details).ok());
        Ok(Ticket {
            operation: route.operation(&order.parameters),
            amount: amount.map(|amount| amount.minor()),
            key: None,
            order: AnyOrder::Cybersource(order),
        })
    }

    /// Executes an order.
    pub(super) fn execute(&mut self, order: Order, _: Option<Claim>, books: &Books) -> Answer {
        let served = match order.route {
            Route::Get => Ok(self.get(&order.id)),
            Route::Pay => self.pay(&order, books),
            Route::Search => self.search(&order.parameters),
            Route::Capture
            | Route::RefundCapture
            | Route::RefundPayment
            | Route::Reverse
            | Route::Void => self.change(&order, books),
        };
        served.unwrap_or_else(|refused| refused)
    }

    /// Forgets an order that will not be executed: there is nothing to free.
    #[expect(clippy::unused_self, reason = "every provider of the sandbox has it")]
    pub(super) fn abandon(&mut self, _: Option<Claim>) {}
}

// === impl Route ===

impl Route {
    fn fields(self) -> &'static [Field] {
        match self {
            Self::Capture | Self::RefundCapture | Self::RefundPayment => parameters::CHANGE,
            Self::Get => &[],
            Self::Pay => parameters::PAYMENT,
            Self::Reverse => parameters::REVERSAL,
            Self::Search => parameters::SEARCH,
            Self::Void => parameters::VOID,
        }
    }

    fn parameters(self, received: &Received) -> Result<Value, Answer> {
        if self == Self::Get {
            return Ok(json!({}));
        }
        let kind = received.header("content-type").unwrap_or_default();
        if !kind.starts_with("application/json") {
            return Err(refuse(415, "INVALID_REQUEST", "INVALID_DATA"));
        }
        let body: Value =
            serde_json::from_slice(&received.body).map_err(|_| invalid("INVALID_DATA"))?;
        let object = body.as_object().ok_or_else(|| invalid("INVALID_DATA"))?;
        shape::check(object, self.fields(), Written::Json).map_err(|problem| {
            let missing = matches!(problem.fault, shape::Fault::Missing);
            invalid(if missing { "MISSING_FIELD" } else { "INVALID_DATA" })
        })?;
        Ok(body)
    }

    fn operation(self, parameters: &Value) -> Operation {
        match self {
            Self::Capture => Operation::Capture,
            Self::Get | Self::Search => Operation::Read,
            Self::Pay
                if parameters.pointer("/processingInformation/capture")
                    == Some(&Value::Bool(true)) =>
            {
                Operation::Charge
            }
            Self::Pay if payment::is_nothing(parameters) => Operation::Keep,
            Self::Pay => Operation::Authorize,
            Self::RefundCapture | Self::RefundPayment => Operation::Refund,
            Self::Reverse | Self::Void => Operation::Void,
        }
    }
}

//! Adyen's Checkout API, version 71, as <https://docs.adyen.com/api-explorer/Checkout/71>
//! describes it.

mod change;
pub(super) mod parameters;
mod payment;
mod refusal;
mod stored;

use super::fault::Operation;
use super::idempotency::{Claim, Keys, Verdict};
use super::recent::Recent;
use super::shape::{self, Fault, Problem, Written, text};
use super::{Answer, Books, Order as AnyOrder, Received, Ticket};
use payment::Payment;
use rand::Rng as _;
use serde_json::{Value, json};
use stored::Stored;

/// Where it is.
pub(super) const HOSTS: &[&str] = &["checkout-test.adyen.com"];
/// How many payments are remembered; the oldest go first.
pub(super) const PAYMENTS_MAX: usize = 50_000;
/// How long an idempotency key may be, in bytes.
pub(super) const KEY_BYTES_MAX: usize = 64;

/// Everything that Adyen remembers.
#[derive(Debug)]
pub(super) struct Adyen {
    keys: Keys,
    payments: Recent<String, Payment>,
    /// The payment that a merchant means by its own reference.
    references: Recent<String, String>,
    stored: Recent<String, Stored>,
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
    Change(Change),
    Payment,
    PaymentMethods,
    Store,
}

/// What is to be done with a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Cancel,
    CancelByReference,
    Capture,
    Refund,
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
        ("POST", ["v71", "payments"]) => (Route::Payment, ""),
        ("POST", ["v71", "paymentMethods"]) => (Route::PaymentMethods, ""),
        ("POST", ["v71", "storedPaymentMethods"]) => (Route::Store, ""),
        ("POST", ["v71", "cancels"]) => (Route::Change(Change::CancelByReference), ""),
        ("POST", ["v71", "payments", payment, "cancels"]) => {
            (Route::Change(Change::Cancel), *payment)
        }
        ("POST", ["v71", "payments", payment, "captures"]) => {
            (Route::Change(Change::Capture), *payment)
        }
        ("POST", ["v71", "payments", payment, "refunds"]) => {
            (Route::Change(Change::Refund), *payment)
        }
        _ => return None,
    };
    Some((route, payment.to_owned()))
}

/// 16 characters, as Adyen names payments and modifications.
fn new_reference() -> String {
    const LETTERS: [char; 32] = [
        'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'J', 'K', 'L', 'M', 'N', 'P', 'Q', 'R', 'S', 'T',
        'U', 'V', 'W', 'X', 'Y', 'Z', '2', '3', '4', '5', '6', '7', '8', '9',
    ];
    let mut rng = rand::rng();
    (0..16).filter_map(|_| LETTERS.get(rng.random_range(0..LETTERS.len()))).collect()
}

/// An error as Adyen words it.
fn refuse(status: u16, code: &str, kind: &str, message: &str) -> Answer {
    let body = json!({
        "status": status, "errorCode": code, "message": message, "errorType": kind,
        "pspReference": new_reference(),
    });
    Answer::json(status, &body)
}

/// 422 for a field that is not acceptable.
fn invalid(code: &str, message: &str) -> Answer {
    refuse(422, code, "validation", message)
}

/// What Adyen answers with a status that has no reason of its own.
pub(super) fn failure(status: u16) -> Answer {
    match status {
        413 => refuse(413, "702", "validation", "The request is too large"),
        429 => refuse(429, "429", "validation", "Too many requests"),
        503 => {
            refuse(503, "703", "internal", "Service unavailable").header("transient-error", "true")
        }
        _ => refuse(500, "703", "internal", "The request could not be processed"),
    }
}

// === impl Adyen ===

impl Default for Adyen {
    fn default() -> Self {
        Self {
            keys: Keys::default(),
            payments: Recent::new(PAYMENTS_MAX),
            references: Recent::new(PAYMENTS_MAX),
            stored: Recent::new(PAYMENTS_MAX),
        }
    }
}

impl Adyen {
    /// Reads a request: key, address, structure, merchant account, idempotency.
    pub(super) fn begin(&mut self, received: &Received) -> Result<Ticket, Answer> {
        let account = authenticate(received)?;
        let Some((route, payment)) = route(&received.method, &received.path) else {
            return Err(refuse(404, "000", "validation", "Not found"));
        };
        let parameters = parameters(received, route)?;
        merchant(&parameters)?;
        let key = self.claim(account, received)?;
        let amount = parameters.pointer("/amount/value").and_then(Value::as_u64);
        let operation = route.operation(&parameters);
        let order = AnyOrder::Adyen(Order { route, payment, parameters });
        Ok(Ticket { operation, amount, key, order })
    }

    fn claim(&mut self, account: &str, received: &Received) -> Result<Option<Claim>, Answer> {
        let Some(key) = received.header("idempotency-key") else { return Ok(None) };
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(refuse(400, "702", "validation", "Idempotency-Key has a wrong length"));
        }
        match self.keys.claim(account, key, received) {
            Verdict::Execute(claim) => Ok(Some(claim)),
            Verdict::Replay(answer) => Err(answer),
            Verdict::Mismatch | Verdict::Running => {
                Err(invalid("704", "request already processed or in progress")
                    .header("transient-error", "true")
                    .header("idempotency-key", key))
            }
        }
    }

    /// Executes an order, and remembers the answer under its key.
    pub(super) fn execute(&mut self, order: Order, claim: Option<Claim>, books: &Books) -> Answer {
        let key = claim.as_ref().map(|claim| claim.key.as_str());
        let desk = Desk { books, key };
        let served = match order.route {
            Route::Payment => {
                self.with_card(&order.parameters).and_then(|whole| self.pay(&whole, desk))
            }
            Route::Store => self.store(&order.parameters),
            Route::PaymentMethods => Ok(ways_to_pay(&order.parameters)),
            Route::Change(change) => self.change(change, &order, desk),
        };
        let mut answer = served.unwrap_or_else(|refused| refused);
        if let Some(claim) = claim {
            answer = answer.header("idempotency-key", &claim.key);
            self.keys.settle(&claim, &answer);
        }
        answer
    }

    /// Frees the key of an order that will not be executed.
    pub(super) fn abandon(&mut self, claim: Option<Claim>) {
        if let Some(claim) = claim {
            self.keys.abandon(&claim);
        }
    }
}

fn authenticate(received: &Received) -> Result<&str, Answer> {
    let key = received.header("x-api-key").unwrap_or_default();
    let well_formed = key.starts_with("AQE") && key.len() >= 12;
    if well_formed { Ok(key) } else { Err(revoked()) }
}

fn parameters(received: &Received, route: Route) -> Result<Value, Answer> {
    let kind = received.header("content-type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return Err(refuse(415, "702", "validation", "The content type must be application/json"));
    }
    let body = serde_json::from_slice::<Value>(&received.body).ok().filter(Value::is_object);
    let body = body.ok_or_else(|| refuse(400, "702", "validation", "The JSON is not readable"))?;
    let object = body.as_object().ok_or_else(|| failure(500))?;
    match shape::check(object, route.fields(), Written::Json) {
        Ok(()) => Ok(body),
        Err(problem) => Err(structure(&problem)),
    }
}

/// A field that is missing has an error of its own; all else is about the structure.
fn structure(problem: &Problem) -> Answer {
    let field = problem.dotted();
    match (problem.fault, field.as_str()) {
        (Fault::Missing, "reference") => invalid("130", "Reference Missing"),
        (Fault::Missing, "returnUrl") => invalid("14_030", "Return URL is missing."),
        (Fault::Missing, "merchantAccount") => no_merchant(),
        (Fault::Missing, _) => invalid("100", &format!("Required field '{field}' is not provided")),
        (Fault::Unknown, _) => {
            let message = format!("The structure contains the unknown field '{field}'");
            refuse(400, "702", "validation", &message)
        }
        (_, "metadata") => invalid("177", "Metadata size exceeds limit"),
        _ if field.starts_with("metadata.") => invalid("177", "Metadata size exceeds limit"),
        _ => refuse(400, "702", "validation", &format!("The field '{field}' is not readable")),
    }
}

/// The sandbox has cards, and nothing else.
fn ways_to_pay(parameters: &Value) -> Answer {
    let listed = |name: &str| {
        let list = parameters.get(name).and_then(Value::as_array);
        list.map(|list| list.iter().any(|word| word == "scheme"))
    };
    let has_cards = listed("allowedPaymentMethods").unwrap_or(true)
        && !listed("blockedPaymentMethods").unwrap_or(false);
    let cards = json!({"brands": ["visa", "mc", "amex"], "name": "Cards", "type": "scheme"});
    let ways = if has_cards { vec![cards] } else { Vec::new() };
    Answer::json(200, &json!({ "paymentMethods": ways }))
}

/// What is answered to a key that was taken back.
pub(super) fn revoked() -> Answer {
    refuse(401, "000", "security", "Unauthorized")
}

/// What is answered to a key without the role.
pub(super) fn forbidden() -> Answer {
    refuse(403, "010", "security", "Not allowed")
}

/// The key in a request, as it was sent.
pub(super) fn key(received: &Received) -> &str {
    received.header("x-api-key").unwrap_or_default()
}

fn no_merchant() -> Answer {
    refuse(403, "901", "security", "Invalid Merchant Account")
}

/// The sandbox knows every merchant account whose name ends as Adyen's own do.
fn merchant(parameters: &Value) -> Result<(), Answer> {
    let name = text(parameters, "/merchantAccount").unwrap_or_default();
    let known = name.len() > 3 && ["ECOM", "POS"].iter().any(|ending| name.ends_with(ending));
    if known { Ok(()) } else { Err(no_merchant()) }
}

// === impl Route ===

impl Route {
    fn fields(self) -> &'static [shape::Field] {
        match self {
            Self::Change(Change::Cancel) => parameters::CANCEL,
            Self::Change(Change::CancelByReference) => parameters::CANCEL_BY_REFERENCE,
            Self::Change(Change::Capture) => parameters::CAPTURE,
            Self::Change(Change::Refund) => parameters::REFUND,
            Self::Payment => parameters::PAYMENT,
            Self::PaymentMethods => parameters::PAYMENT_METHODS,
            Self::Store => parameters::STORE,
        }
    }

    fn operation(self, parameters: &Value) -> Operation {
        match self {
            Self::Change(Change::Cancel | Change::CancelByReference) => Operation::Void,
            Self::Change(Change::Capture) => Operation::Capture,
            Self::Change(Change::Refund) => Operation::Refund,
            Self::PaymentMethods => Operation::Read,
            Self::Store => Operation::Keep,
            Self::Payment if payment::is_later(parameters) => Operation::Authorize,
            Self::Payment => Operation::Charge,
        }
    }
}

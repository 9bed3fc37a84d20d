//! Worldpay Access: Card Payments 7 and Payment Queries 1, as
//! <https://docs.worldpay.com/access/products/card-payments> describes them.

mod change;
mod parameters;
mod payment;
pub(super) mod refusal;
mod shown;
mod token;

use super::fault::Operation;
use super::idempotency::Claim;
use super::recent::Recent;
use super::shape::{self, Problem, Written, text};
use super::{Answer, Books, Order as AnyOrder, Received, Ticket, form};
use payment::Payment;
use rand::Rng as _;
use rand::distr::Alphanumeric;
use serde_json::{Value, json};

/// Where it is.
pub(super) const HOSTS: &[&str] = &["try.access.worldpay.com"];
/// How many payments are remembered; the oldest go first.
pub(super) const PAYMENTS_MAX: usize = 50_000;
/// How short a password may be, in bytes.
const PASSWORD_BYTES_MIN: usize = 8;

const PAYMENTS: &str = "application/vnd.worldpay.payments-v7+json";
const TOKENS: &str = "application/vnd.worldpay.tokens-v3.hal+json";
const QUERIES: &str = "application/vnd.worldpay.payment-queries-v1.hal+json";

/// Everything that Worldpay remembers.
#[derive(Debug)]
pub(super) struct Worldpay {
    payments: Recent<String, Payment>,
    /// The payment that a merchant means by its own reference, by entity and reference.
    references: Recent<(String, String), String>,
    /// Cards, by their links.
    tokens: Recent<String, Value>,
}

/// A request that was understood.
#[derive(Debug)]
pub(super) struct Order {
    route: Route,
    /// The link or the id in the path, or nothing.
    name: String,
    parameters: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Change(Change),
    Event,
    EventByReference,
    Keep,
    Pay,
    /// The same, where the merchant takes what was agreed on.
    PayAgreed,
    Query,
    QueryByReference,
}

/// What is to be done with a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Cancel,
    PartialRefund,
    PartialSettle,
    Refund,
    Reverse,
    Settle,
}

fn route(received: &Received) -> Option<(Route, String)> {
    let segments: Vec<&str> = received.path.trim_start_matches('/').split('/').collect();
    let (route, name) = match (received.method.as_str(), segments.as_slice()) {
        ("POST", ["cardPayments", "customerInitiatedTransactions"]) => (Route::Pay, ""),
        ("POST", ["cardPayments", "merchantInitiatedTransactions"]) => (Route::PayAgreed, ""),
        ("POST", ["tokens"]) => (Route::Keep, ""),
        ("POST", ["payments", rest @ .., link]) => (Route::Change(Change::at(rest)?), *link),
        ("GET", ["payments", "events"]) => (Route::EventByReference, ""),
        ("GET", ["payments", "events", link]) => (Route::Event, *link),
        ("GET", ["paymentQueries", "payments"]) => (Route::QueryByReference, ""),
        ("GET", ["paymentQueries", "payments", id]) => (Route::Query, *id),
        _ => return None,
    };
    Some((route, name.to_owned()))
}

/// `prefix` and as many characters as Worldpay's own names have.
pub(super) fn new_id(prefix: &str) -> String {
    let tail = rand::rng().sample_iter(Alphanumeric).take(22).map(char::from);
    prefix.chars().chain(tail).collect()
}

/// An error as Worldpay words it.
fn refuse(status: u16, name: &str, message: &str) -> Answer {
    Answer::json(status, &json!({"errorName": name, "message": message}))
}

/// What Worldpay answers with a status that has no reason of its own.
pub(super) fn failure(status: u16) -> Answer {
    match status {
        413 => refuse(413, "bodyIsTooLarge", "The body is too large"),
        429 => refuse(429, "tooManyRequests", "Too many requests"),
        503 => refuse(503, "serviceUnavailable", "The service is not available"),
        _ => refuse(500, "internalServerError", "Internal server error"),
    }
}

/// What is answered to credentials that were taken back.
pub(super) fn revoked() -> Answer {
    refuse(401, "accessDenied", "Access to the requested resource has been denied")
}

/// What is answered to credentials that may not do this.
pub(super) fn forbidden() -> Answer {
    refuse(403, "accessDenied", "Access to the requested resource has been denied")
}

/// The credentials in a request, as they were sent.
pub(super) fn key(received: &Received) -> &str {
    let value = received.header("authorization").unwrap_or_default();
    value.strip_prefix("Basic ").unwrap_or_default()
}

fn absent() -> Answer {
    refuse(404, "paymentNotFound", "The payment you are trying to access does not exist.")
}

fn nowhere() -> Answer {
    refuse(404, "endpointNotFound", "Requested endpoint was not found.")
}

/// The body does not have the shape that is described.
fn invalid(path: &str, name: &str, message: &str) -> Answer {
    Answer::json(
        400,
        &json!({
            "errorName": "bodyDoesNotMatchSchema",
            "message": "The json body provided does not match the expected schema",
            "validationErrors": [{"errorName": name, "message": message, "jsonPath": path}],
        }),
    )
}

fn structure(problem: &Problem) -> Answer {
    let path = format!("$.{}", problem.path.join("."));
    invalid(&path, "fieldIsInvalid", &format!("Element at path is not valid: {:?}", problem.fault))
}

// === impl Worldpay ===

impl Default for Worldpay {
    fn default() -> Self {
        Self {
            payments: Recent::new(PAYMENTS_MAX),
            references: Recent::new(PAYMENTS_MAX),
            tokens: Recent::new(PAYMENTS_MAX),
        }
    }
}

impl Worldpay {
    /// Reads a request: credentials, address, media types, structure, entity.
    pub(super) fn begin(&mut self, received: &Received) -> Result<Ticket, Answer> {
        authenticate(received)?;
        let (route, name) = route(received).ok_or_else(nowhere)?;
        media(received, route)?;
        let parameters = parameters(received, route)?;
        belongings(&parameters)?;
        entity(&parameters)?;
        let amount = ["/instruction/value/amount", "/value/amount"];
        let amount = amount.iter().find_map(|at| parameters.pointer(at)).and_then(Value::as_u64);
        let operation = route.operation(&parameters);
        let order = AnyOrder::Worldpay(Order { route, name, parameters });
        Ok(Ticket { operation, amount, key: None, order })
    }

    /// Executes an order. Worldpay remembers no answers: there are no idempotency keys.
    pub(super) fn execute(&mut self, order: Order, _: Option<Claim>, books: &Books) -> Answer {
        let served = match order.route {
            Route::Change(change) => self.change(change, &order, books),
            Route::Event => self.event(&order.name),
            Route::EventByReference => self.event_by_reference(&order.parameters),
            Route::Keep => self.keep(&order.parameters),
            Route::Pay | Route::PayAgreed => self.pay(&order.parameters, books),
            Route::Query => self.query(&order.name),
            Route::QueryByReference => self.query_by_reference(&order.parameters),
        };
        served.unwrap_or_else(|refused| refused)
    }

    /// There is nothing to free.
    pub(super) fn abandon(&mut self, _: Option<Claim>) {}

    /// The payment that a link is about.
    fn linked(&mut self, link: &str) -> Result<&mut Payment, Answer> {
        let id = link.rsplit_once('.').map(|(id, _)| id.to_owned()).ok_or_else(nowhere)?;
        self.payments.get_mut(&id).ok_or_else(nowhere)
    }
}

fn authenticate(received: &Received) -> Result<(), Answer> {
    let plain = boring::base64::decode_block(key(received)).ok();
    let plain = plain.and_then(|bytes| String::from_utf8(bytes).ok());
    let known = plain.as_deref().and_then(|text| text.split_once(':')).is_some_and(|(user, word)| {
        !user.is_empty() && word.len() >= PASSWORD_BYTES_MIN
    });
    if known { Ok(()) } else { Err(revoked()) }
}

/// Both headers are required, of every request.
fn media(received: &Received, route: Route) -> Result<(), Answer> {
    let wanted = match route {
        Route::Keep => TOKENS,
        Route::Query | Route::QueryByReference => QUERIES,
        Route::Change(_)
        | Route::Event
        | Route::EventByReference
        | Route::Pay
        | Route::PayAgreed => PAYMENTS,
    };
    for name in ["content-type", "accept"] {
        match received.header(name) {
            Some(value) if value.eq_ignore_ascii_case(wanted) => {}
            Some(_) => return Err(refuse(415, "headerHasInvalidValue", "Bad content type")),
            None => return Err(refuse(406, "headerIsMissing", "A header is missing")),
        }
    }
    Ok(())
}

fn parameters(received: &Received, route: Route) -> Result<Value, Answer> {
    let fields = route.fields();
    if received.method == http::Method::GET {
        let query = form::parse(received.query.as_bytes())
            .map_err(|_| invalid("$", "queryIsInvalid", "The query is not well formed"))?;
        shape::check(&query, fields, Written::Form).map_err(|problem| structure(&problem))?;
        return Ok(Value::Object(query));
    }
    if received.body.is_empty() && fields.iter().all(|field| !field.required) {
        return Ok(json!({}));
    }
    let body = serde_json::from_slice::<Value>(&received.body).ok();
    let body = body.filter(Value::is_object);
    let body = body.ok_or_else(|| invalid("$", "bodyIsNotJson", "The body is not valid JSON"))?;
    let object = body.as_object().ok_or_else(|| failure(500))?;
    shape::check(object, fields, Written::Json).map_err(|problem| structure(&problem))?;
    Ok(body)
}

/// What may not be there without another.
fn belongings(parameters: &Value) -> Result<(), Answer> {
    let said = "Element at path is missing";
    let has = |of: &Value, name: &str| of.get(name).is_some();
    let agreement = parameters.pointer("/instruction/customerAgreement").unwrap_or(&Value::Null);
    if text(agreement, "/type") == Some("installment") && !has(agreement, "installmentType") {
        let path = "$.instruction.customerAgreement.installmentType";
        return Err(invalid(path, "fieldIsMissing", said));
    }
    let address = parameters.pointer("/instruction/paymentInstrument/billingAddress");
    if address.is_some_and(|address| has(address, "address1") != has(address, "city")) {
        let path = "$.instruction.paymentInstrument.billingAddress";
        return Err(invalid(path, "fieldIsMissing", said));
    }
    Ok(())
}

/// The sandbox knows every entity, but for those that are called unknown.
fn entity(parameters: &Value) -> Result<(), Answer> {
    let name = text(parameters, "/merchant/entity").or_else(|| text(parameters, "/entity"));
    if name.is_some_and(|name| name.contains("unknown")) {
        let said = "Entity is not configured to use this resource";
        return Err(refuse(400, "entityIsNotConfigured", said));
    }
    Ok(())
}

// === impl Route ===

impl Route {
    fn fields(self) -> &'static [shape::Field] {
        match self {
            Self::Change(Change::PartialSettle) => parameters::PARTIAL_SETTLE,
            Self::Change(Change::PartialRefund) => parameters::PARTIAL_REFUND,
            Self::Change(Change::Settle) => parameters::SETTLE,
            Self::Change(Change::Cancel | Change::Refund | Change::Reverse)
            | Self::Event
            | Self::Query => parameters::NOTHING,
            Self::EventByReference => parameters::EVENT,
            Self::Keep => parameters::TOKEN,
            Self::Pay => parameters::PAYMENT,
            Self::PayAgreed => parameters::AGREED,
            Self::QueryByReference => parameters::QUERY,
        }
    }

    fn operation(self, parameters: &Value) -> Operation {
        match self {
            Self::Change(Change::Cancel | Change::Reverse) => Operation::Void,
            Self::Change(Change::PartialRefund | Change::Refund) => Operation::Refund,
            Self::Change(Change::PartialSettle | Change::Settle) => Operation::Capture,
            Self::Event | Self::EventByReference | Self::Query | Self::QueryByReference => {
                Operation::Read
            }
            Self::Keep => Operation::Keep,
            Self::Pay | Self::PayAgreed if payment::is_sale(parameters) => Operation::Charge,
            Self::Pay | Self::PayAgreed => Operation::Authorize,
        }
    }
}

// === impl Change ===

impl Change {
    /// What is done at a path without its link.
    fn at(path: &[&str]) -> Option<Self> {
        Some(match path {
            ["authorizations", "cancellations"] => Self::Cancel,
            ["sales", "reversals"] => Self::Reverse,
            ["settlements", "full"] => Self::Settle,
            ["settlements", "partials"] => Self::PartialSettle,
            ["settlements", "refunds", "full"] => Self::Refund,
            ["settlements", "refunds", "partials"] => Self::PartialRefund,
            _ => return None,
        })
    }
}

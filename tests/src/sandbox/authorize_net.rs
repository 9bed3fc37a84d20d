//! Authorize.Net's transactions, as its API reference describes the JSON form of them.

mod batch;
mod order;
mod parameters;
mod payment;
mod profile;

use super::fault::Operation;
use super::idempotency::Claim;
use super::recent::Recent;
use super::shape::{self, Field, Written, text};
use super::{Answer, Books, Order as AnyOrder, Received, Ticket};
use bytes::Bytes;
use payment::Transaction;
use rand::Rng as _;
use serde_json::{Value, json};

/// The host names under which it is found.
pub(super) const HOSTS: &[&str] = &["apitest.authorize.net"];
/// How many transactions are remembered; the oldest go first.
const TRANSACTIONS_MAX: usize = 50_000;
/// What stands before every answer: the mark of UTF-8.
const MARK: &str = "\u{feff}";

/// Everything that Authorize.Net remembers.
#[derive(Debug)]
pub(super) struct AuthorizeNet {
    transactions: Recent<String, Transaction>,
    /// By the name of the card.
    profiles: Recent<String, profile::Profile>,
    /// What was settled, the first first.
    batches: Vec<batch::Batch>,
    /// How often something was.
    settlements: usize,
}

/// A request that was understood.
#[derive(Debug)]
pub(super) struct Order {
    route: Route,
    /// The object behind the name of the request.
    parameters: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Batches,
    Create,
    Details,
    Keep,
    Settled,
    Unsettled,
}

/// 11 digits, as Authorize.Net names transactions.
fn new_id() -> String {
    let mut rng = rand::rng();
    let digits = (0..9).map(|_| char::from(b'0'.saturating_add(rng.random_range(0..10))));
    "60".chars().chain(digits).collect()
}

/// An answer, with what stands before it.
fn answer(body: &Value) -> Answer {
    let body = Bytes::from(format!("{MARK}{body}"));
    Answer { body, ..Answer::json(200, &Value::Null) }
}

fn messages(result: &str, code: &str, text: &str) -> Value {
    json!({"resultCode": result, "message": [{"code": code, "text": text}]})
}

/// What is answered to a request as a whole.
fn refuse(code: &str, text: &str) -> Answer {
    answer(&json!({"messages": messages("Error", code, text)}))
}

fn malformed(problem: &str) -> Answer {
    refuse("E00003", problem)
}

/// What is answered with a status that has no reason of its own.
pub(super) fn failure(status: u16) -> Answer {
    Answer { status, ..refuse("E00001", "An error occurred during processing. Please try again.") }
}

/// What is answered to a key that may not do this.
pub(super) fn forbidden() -> Answer {
    refuse("E00011", "Access denied. You do not have permissions.")
}

/// What is answered to a key that is not taken.
pub(super) fn revoked() -> Answer {
    refuse("E00007", "User authentication failed due to invalid authentication values.")
}

/// What names the key in a request: the transaction key, which stands in the body.
pub(super) fn key(received: &Received) -> &str {
    let body = std::str::from_utf8(&received.body).unwrap_or_default();
    let rest = body.split_once("\"transactionKey\":\"").map(|(_, rest)| rest).unwrap_or_default();
    rest.split('"').next().unwrap_or_default()
}

// === impl AuthorizeNet ===

impl Default for AuthorizeNet {
    fn default() -> Self {
        let (transactions, profiles) =
            (Recent::new(TRANSACTIONS_MAX), Recent::new(TRANSACTIONS_MAX));
        Self { transactions, profiles, batches: Vec::new(), settlements: 0 }
    }
}

impl AuthorizeNet {
    /// Reads a request: address, structure, order, key. There is no idempotency.
    pub(super) fn begin(&mut self, received: &Received) -> Result<Ticket, Answer> {
        if (received.method.as_str(), &*received.path) != ("POST", "/xml/v1/request.api") {
            return Err(Answer { status: 404, ..malformed("Not found.") });
        }
        let order = Order::read(received)?;
        let name = text(&order.parameters, "/merchantAuthentication/name").unwrap_or_default();
        if name.is_empty() || key(received).len() < 8 {
            return Err(revoked());
        }
        let amount = payment::amount(&order.parameters);
        Ok(Ticket {
            operation: order.operation(),
            amount: amount.map(|amount| amount.minor()),
            key: None,
            order: AnyOrder::AuthorizeNet(order),
        })
    }

    /// Executes an order.
    pub(super) fn execute(&mut self, order: Order, _: Option<Claim>, books: &Books) -> Answer {
        match order.route {
            Route::Batches => self.list_batches(&order.parameters),
            Route::Create => self.create(&order.parameters, books),
            Route::Details => self.details(&order.parameters),
            Route::Keep => self.keep_card(&order.parameters),
            Route::Settled => self.settled(&order.parameters),
            Route::Unsettled => self.list(None, &order.parameters),
        }
    }

    /// Forgets an order that will not be executed: there is nothing to free.
    #[expect(clippy::unused_self, reason = "every provider of the sandbox has it")]
    pub(super) fn abandon(&mut self, _: Option<Claim>) {}
}

// === impl Order ===

impl Order {
    fn read(received: &Received) -> Result<Self, Answer> {
        let body: Value = serde_json::from_slice(&received.body)
            .map_err(|_| malformed("The request is not JSON."))?;
        let object = body.as_object().filter(|object| object.len() == 1);
        let (name, inner) = object.and_then(|object| object.iter().next()).unzip();
        let route = name.and_then(|name| Route::named(name));
        let (route, inner) =
            route.zip(inner).ok_or_else(|| malformed("The request is not known."))?;
        let parameters = inner.as_object().ok_or_else(|| malformed("The request is no object."))?;
        shape::check(parameters, route.fields(), Written::Json)
            .map_err(|problem| malformed(&format!("{} is invalid.", problem.dotted())))?;
        if !order::holds(&received.body, route.fields()) {
            return Err(malformed("The element has invalid child element: not in this order."));
        }
        Ok(Self { route, parameters: inner.clone() })
    }

    fn operation(&self) -> Operation {
        match self.route {
            Route::Create => {}
            Route::Batches | Route::Details | Route::Settled | Route::Unsettled => {
                return Operation::Read;
            }
            Route::Keep => return Operation::Keep,
        }
        match text(&self.parameters, "/transactionRequest/transactionType").unwrap_or_default() {
            "authCaptureTransaction" => Operation::Charge,
            "priorAuthCaptureTransaction" => Operation::Capture,
            "refundTransaction" => Operation::Refund,
            "voidTransaction" => Operation::Void,
            _ => Operation::Authorize,
        }
    }
}

// === impl Route ===

impl Route {
    fn named(name: &str) -> Option<Self> {
        match name {
            "createCustomerProfileRequest" => Some(Self::Keep),
            "createTransactionRequest" => Some(Self::Create),
            "getSettledBatchListRequest" => Some(Self::Batches),
            "getTransactionDetailsRequest" => Some(Self::Details),
            "getTransactionListRequest" => Some(Self::Settled),
            "getUnsettledTransactionListRequest" => Some(Self::Unsettled),
            _ => None,
        }
    }

    fn fields(self) -> &'static [Field] {
        match self {
            Self::Batches => parameters::BATCHES,
            Self::Create => parameters::CREATE,
            Self::Details => parameters::DETAILS,
            Self::Keep => parameters::KEEP,
            Self::Settled => parameters::SETTLED,
            Self::Unsettled => parameters::UNSETTLED,
        }
    }
}

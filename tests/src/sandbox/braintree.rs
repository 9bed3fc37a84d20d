//! Braintree's card payments, as its GraphQL schema describes them.

mod parameters;
mod payment;
mod question;

use super::fault::Operation;
use super::idempotency::Claim;
use super::recent::Recent;
use super::shape::{self, Field, Written};
use super::{Answer, Books, Order as AnyOrder, Received, Ticket};
use payment::{Card, Payment};
use boring::base64::{decode_block, encode_block};
use rand::Rng as _;
use serde_json::{Map, Value, json};

/// The host names under which it is found.
pub(super) const HOSTS: &[&str] = &["payments.sandbox.braintree-api.com"];
/// How many payments, and how many cards, are remembered; the oldest go first.
const PAYMENTS_MAX: usize = 50_000;

/// Everything that Braintree remembers.
#[derive(Debug)]
pub(super) struct Braintree {
    cards: Recent<String, Card>,
    payments: Recent<String, Payment>,
}

/// A request that was understood.
#[derive(Debug)]
pub(super) struct Order {
    route: Route,
    variables: Value,
}

/// The outermost field of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Authorize,
    Capture,
    Charge,
    Node,
    Refund,
    Reverse,
    SearchRefunds,
    SearchTransactions,
    Tokenize,
    Vault,
}

/// 27 letters and digits behind a mark, as Braintree's ids look.
fn new_id(mark: &str) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut rng = rand::rng();
    let mut letter = || LETTERS.get(rng.random_range(0..LETTERS.len())).copied().map(char::from);
    mark.chars().chain((0..27).filter_map(|_| letter())).collect()
}

/// The name of a payment or refund: what it is, and the name by which everything but GraphQL knows it.
fn new_payment_id(what: &str) -> String {
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut rng = rand::rng();
    let mut letter = || LETTERS.get(rng.random_range(0..LETTERS.len())).copied().map(char::from);
    let legacy: String = (0..8).filter_map(|_| letter()).collect();
    encode_block(format!("{what}_{legacy}").as_bytes()).trim_end_matches('=').to_owned()
}

/// The older name in such a name.
pub(super) fn legacy_id(id: &str) -> Option<String> {
    let padding = "=".repeat(id.len().wrapping_neg() % 4);
    let text = String::from_utf8(decode_block(&format!("{id}{padding}")).ok()?).ok()?;
    text.split_once('_').map(|(_, legacy)| legacy.to_owned())
}

/// An error, as GraphQL answers it: with status 200, and nothing beside it.
fn refuse(class: &str, code: Option<&str>, message: &str) -> Answer {
    let mut extensions = json!({"errorClass": class, "errorType": "user_error"});
    if let (Some(code), Some(object)) = (code, extensions.as_object_mut()) {
        object.insert("legacyCode".into(), code.into());
    }
    let error = json!({"message": message, "extensions": extensions});
    Answer::json(200, &json!({"data": null, "errors": [error], "extensions": {"requestId": "-"}}))
}

fn invalid(code: &str, message: &str) -> Answer {
    refuse("VALIDATION", Some(code), message)
}

fn not_found() -> Answer {
    refuse("NOT_FOUND", None, "An object with this ID was not found.")
}

fn answered(field: &str, made: &Value) -> Answer {
    Answer::json(200, &json!({"data": {field: made}, "extensions": {"requestId": "-"}}))
}

/// What is answered with a status that has no reason of its own.
pub(super) fn failure(status: u16) -> Answer {
    Answer { status, ..refuse("INTERNAL", None, "An unknown error has occurred.") }
}

/// What is answered to a key that may not do this.
pub(super) fn forbidden() -> Answer {
    refuse("AUTHORIZATION", None, "Authorization failed.")
}

/// What is answered to a key that is not taken.
pub(super) fn revoked() -> Answer {
    refuse("AUTHENTICATION", None, "Authentication credentials are invalid.")
}

/// What names the key in a request: both keys, as they are sent.
pub(super) fn key(received: &Received) -> &str {
    let header = received.header("authorization").unwrap_or_default();
    header.strip_prefix("Basic ").unwrap_or_default()
}

// === impl Braintree ===

impl Default for Braintree {
    fn default() -> Self {
        Self { cards: Recent::new(PAYMENTS_MAX), payments: Recent::new(PAYMENTS_MAX) }
    }
}

impl Braintree {
    /// Reads a request: address, keys, version, structure. There is no idempotency.
    pub(super) fn begin(&mut self, received: &Received) -> Result<Ticket, Answer> {
        if (received.method.as_str(), &*received.path) != ("POST", "/graphql") {
            return Err(Answer { status: 404, ..not_found() });
        }
        if key(received).len() < 24 {
            return Err(revoked());
        }
        if received.header("braintree-version").is_none_or(|version| version.len() != 10) {
            return Err(refuse("UNSUPPORTED_CLIENT", None, "Braintree-Version is missing."));
        }
        let order = Order::read(received)?;
        Ok(Ticket {
            operation: order.route.operation(),
            amount: order.amount(),
            key: None,
            order: AnyOrder::Braintree(order),
        })
    }

    /// Executes an order.
    pub(super) fn execute(&mut self, order: Order, _: Option<Claim>, books: &Books) -> Answer {
        let input = order.variables.get("input").unwrap_or(&Value::Null);
        let done = match order.route {
            Route::Authorize | Route::Charge => self.pay(input, order.route, books),
            Route::Capture => self.capture(input, books),
            Route::Node => self.node(&order.variables),
            Route::Refund => self.refund(input, books),
            Route::Reverse => self.reverse(input, books),
            Route::SearchRefunds | Route::SearchTransactions => {
                Ok(self.search(&order.variables, order.route))
            }
            Route::Tokenize => self.tokenize(input),
            Route::Vault => self.vault(input),
        };
        done.unwrap_or_else(|refused| refused)
    }

    /// Forgets an order that will not be executed: there is nothing to free.
    #[expect(clippy::unused_self, reason = "every provider of the sandbox has it")]
    pub(super) fn abandon(&mut self, _: Option<Claim>) {}
}

// === impl Order ===

impl Order {
    fn read(received: &Received) -> Result<Self, Answer> {
        let strange = || refuse("VALIDATION", None, "The request is not GraphQL.");
        let body: Value = serde_json::from_slice(&received.body).map_err(|_| strange())?;
        let query = body.get("query").and_then(Value::as_str).ok_or_else(strange)?;
        let fields = question::fields(query).ok_or_else(strange)?;
        let route = Route::of(&fields).ok_or_else(strange)?;
        let variables = body.get("variables").and_then(Value::as_object).ok_or_else(strange)?;
        route.check(variables)?;
        Ok(Self { route, variables: Value::Object(variables.clone()) })
    }

    fn amount(&self) -> Option<u64> {
        ["/input/transaction/amount", "/input/refund/amount"]
            .into_iter()
            .find_map(|pointer| shape::text(&self.variables, pointer))
            .and_then(payment::minor)
    }
}

// === impl Route ===

impl Route {
    fn of(fields: &[&str]) -> Option<Self> {
        match fields {
            ["authorizeCreditCard", ..] => Some(Self::Authorize),
            ["captureTransaction", ..] => Some(Self::Capture),
            ["chargeCreditCard", ..] => Some(Self::Charge),
            ["node", ..] => Some(Self::Node),
            ["refundTransaction", ..] => Some(Self::Refund),
            ["reverseTransaction", ..] => Some(Self::Reverse),
            ["search", "refunds", ..] => Some(Self::SearchRefunds),
            ["search", "transactions", ..] => Some(Self::SearchTransactions),
            ["tokenizeCreditCard", ..] => Some(Self::Tokenize),
            ["vaultPaymentMethod", ..] => Some(Self::Vault),
            _ => None,
        }
    }

    fn variables(self) -> &'static [Field] {
        match self {
            Self::Authorize | Self::Charge => parameters::PAYMENT,
            Self::Capture => parameters::CAPTURE,
            Self::Node => parameters::NODE,
            Self::Refund => parameters::REFUND,
            Self::Reverse => parameters::REVERSE,
            Self::SearchRefunds | Self::SearchTransactions => parameters::SEARCH,
            Self::Tokenize => parameters::TOKENIZE,
            Self::Vault => parameters::VAULT,
        }
    }

    fn check(self, variables: &Map<String, Value>) -> Result<(), Answer> {
        let problem = shape::check(variables, self.variables(), Written::Json).err();
        match problem {
            Some(problem) => {
                let text = format!("Variable {} has an invalid value.", problem.dotted());
                Err(refuse("VALIDATION", None, &text))
            }
            None => Ok(()),
        }
    }

    fn operation(self) -> Operation {
        match self {
            Self::Authorize => Operation::Authorize,
            Self::Capture => Operation::Capture,
            Self::Charge => Operation::Charge,
            Self::Node | Self::SearchRefunds | Self::SearchTransactions => Operation::Read,
            Self::Refund => Operation::Refund,
            Self::Reverse => Operation::Void,
            Self::Tokenize => Operation::PaymentMethod,
            Self::Vault => Operation::Keep,
        }
    }
}

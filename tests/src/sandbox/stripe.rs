//! Stripe's payment intents, as <https://docs.stripe.com/api> describes them.

mod balance;
mod customer;
mod error;
mod intent;
mod method;
pub(super) mod parameters;
mod refund;

use super::fault::Operation;
use super::idempotency::{Claim, Keys, Verdict};
use super::recent::Recent;
use super::shape::{self, Field, Written, text};
use super::{Answer, Books, Order as AnyOrder, Received, Ticket, form};
use error::{Refused, conflict, invalid, mismatch, unauthorized};
use intent::Intent;
use method::PaymentMethod;
use rand::Rng as _;
use rand::distr::Alphanumeric;
use refund::Refund;
use serde_json::{Map, Value};

pub(super) use error::{failure, forbidden};

/// Where it is.
pub(super) const HOSTS: &[&str] = &["api.stripe.com"];
/// How many intents, payment methods and refunds are remembered, each; the oldest go first.
pub(super) const OBJECTS_MAX: usize = 50_000;
/// How long an idempotency key may be, in bytes.
pub(super) const KEY_BYTES_MAX: usize = 255;
/// The first version with `latest_charge` in the place of `charges`; older ones are not played.
const VERSION_MIN: &str = "2022-11-15";
/// The first version that says `allowed_payment_method_types`.
const VERSION_ALLOWED_TYPES: &str = "2026-09-30";

/// Everything that Stripe remembers.
#[derive(Debug)]
pub(super) struct Stripe {
    keys: Keys,
    intents: Recent<String, Intent>,
    methods: Recent<String, PaymentMethod>,
    refunds: Recent<String, Refund>,
}

/// A request that was understood.
#[derive(Debug)]
pub(super) struct Order {
    route: Route,
    /// Whose payments these are.
    account: String,
    /// The id in the path, or nothing.
    id: String,
    parameters: Value,
    version: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Balance,
    CancelIntent,
    CaptureIntent,
    CreateCustomer,
    CreateIntent,
    CreateMethod,
    CreateRefund,
    GetIntent,
    GetMethod,
    GetRefund,
    ListIntents,
    ListRefunds,
    SearchIntents,
}

/// The parts of an order that end up in the ledger, and the ledger.
#[derive(Clone, Copy, Debug)]
struct Desk<'a> {
    books: &'a Books,
    account: &'a str,
    key: Option<&'a str>,
}

fn route(method: &http::Method, path: &str) -> Option<(Route, String)> {
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let (route, id) = match (method.as_str(), segments.as_slice()) {
        ("GET", ["v1", "balance"]) => (Route::Balance, ""),
        ("POST", ["v1", "customers"]) => (Route::CreateCustomer, ""),
        ("POST", ["v1", "payment_methods"]) => (Route::CreateMethod, ""),
        ("GET", ["v1", "payment_methods", id]) => (Route::GetMethod, *id),
        ("POST", ["v1", "payment_intents"]) => (Route::CreateIntent, ""),
        ("GET", ["v1", "payment_intents"]) => (Route::ListIntents, ""),
        ("GET", ["v1", "payment_intents", "search"]) => (Route::SearchIntents, ""),
        ("GET", ["v1", "payment_intents", id]) => (Route::GetIntent, *id),
        ("POST", ["v1", "payment_intents", id, "capture"]) => (Route::CaptureIntent, *id),
        ("POST", ["v1", "payment_intents", id, "cancel"]) => (Route::CancelIntent, *id),
        ("POST", ["v1", "refunds"]) => (Route::CreateRefund, ""),
        ("GET", ["v1", "refunds"]) => (Route::ListRefunds, ""),
        ("GET", ["v1", "refunds", id]) => (Route::GetRefund, *id),
        _ => return None,
    };
    Some((route, id.to_owned()))
}

/// `prefix` and 24 characters that nobody can guess.
fn new_id(prefix: &str) -> String {
    let tail = rand::rng().sample_iter(Alphanumeric).take(24).map(char::from);
    prefix.chars().chain(tail).collect()
}

/// Seconds since 1970.
fn now() -> u64 {
    super::ledger::now_ms() / 1_000
}

/// How many objects a list shows.
fn limit(parameters: &Value) -> Result<usize, Refused> {
    let limit = text(parameters, "/limit").map_or(Ok(10), str::parse);
    limit.ok().filter(|limit| (1..=100).contains(limit)).ok_or_else(|| {
        Refused::invalid(None, Some("limit"), "The limit must be between 1 and 100.")
    })
}

/// Whether a list of things to expand names this one.
fn expands(parameters: &Value, name: &str) -> bool {
    let list = parameters.get("expand").and_then(Value::as_array);
    list.is_some_and(|list| list.iter().any(|item| item.as_str() == Some(name)))
}

// === impl Stripe ===

impl Default for Stripe {
    fn default() -> Self {
        Self {
            keys: Keys::default(),
            intents: Recent::new(OBJECTS_MAX),
            methods: Recent::new(OBJECTS_MAX),
            refunds: Recent::new(OBJECTS_MAX),
        }
    }
}

impl Stripe {
    /// Reads a request, in Stripe's order: key, version, address, parameters, idempotency.
    pub(super) fn begin(&mut self, received: &Received) -> Result<Ticket, Answer> {
        self.read(received).map_err(|answer| answer.header("request-id", new_id("req_")))
    }

    fn read(&mut self, received: &Received) -> Result<Ticket, Answer> {
        let account = whose(received, authenticate(received)?)?;
        let version = version(received)?;
        let Some((route, id)) = route(&received.method, &received.path) else {
            return Err(error::unrecognized(received));
        };
        let parameters = parameters(received, route.fields(), &version)?;
        let key = self.claim(&account, received)?;
        let amount =
            text(&parameters, "/amount").or_else(|| text(&parameters, "/amount_to_capture"));
        let amount = amount.and_then(|amount| amount.parse().ok());
        let operation = route.operation(&parameters);
        let order = AnyOrder::Stripe(Order { route, account, id, parameters, version });
        Ok(Ticket { operation, amount, key, order })
    }

    fn claim(&mut self, account: &str, received: &Received) -> Result<Option<Claim>, Answer> {
        let Some(key) = received.header("idempotency-key") else { return Ok(None) };
        if received.method != http::Method::POST {
            return Ok(None);
        }
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(invalid(None, None, "Idempotency-Key must be 1 to 255 characters."));
        }
        match self.keys.claim(account, key, received) {
            Verdict::Execute(claim) => Ok(Some(claim)),
            Verdict::Mismatch => Err(mismatch(key)),
            Verdict::Replay(answer) => Err(answer.header("idempotent-replayed", "true")),
            Verdict::Running => Err(conflict(key)),
        }
    }

    /// Executes an order, and remembers the answer under its key.
    pub(super) fn execute(&mut self, order: Order, claim: Option<Claim>, books: &Books) -> Answer {
        let key = claim.as_ref().map(|claim| claim.key.as_str());
        let answer = match self.serve(&order, Desk { books, account: &order.account, key }) {
            Ok(value) => Answer::json(200, &value),
            Err(refused) => refused.into_answer(),
        };
        let answer = answer
            .header("request-id", new_id("req_"))
            .header("stripe-version", order.version)
            .header("idempotency-key", key.unwrap_or_default());
        if let Some(claim) = claim {
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

    fn serve(&mut self, order: &Order, desk: Desk<'_>) -> Result<Value, Refused> {
        let Order { account, id, parameters, .. } = order;
        match order.route {
            Route::Balance => Ok(self.balance(account)),
            Route::CancelIntent => self.cancel_intent(id, parameters, desk),
            Route::CaptureIntent => self.capture_intent(id, parameters, desk),
            Route::CreateCustomer => self.create_customer(parameters),
            Route::CreateIntent => self.create_intent(parameters, desk),
            Route::CreateMethod => self.create_method(parameters),
            Route::CreateRefund => self.create_refund(parameters, desk),
            Route::GetIntent => self.intent(id).map(|intent| intent.shown(parameters, "")),
            Route::GetMethod => self.method(id).map(PaymentMethod::shown),
            Route::GetRefund => self.refund(id).map(Refund::shown),
            Route::ListIntents => self.list_intents(account, parameters),
            Route::ListRefunds => self.list_refunds(parameters),
            Route::SearchIntents => self.search_intents(account, parameters),
        }
    }
}

fn authenticate(received: &Received) -> Result<String, Answer> {
    let key = received.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let Some(key) = key else { return Err(unauthorized("You did not provide an API key.")) };
    let secret = key.strip_prefix("sk_test_").or_else(|| key.strip_prefix("rk_test_"));
    let well_formed = secret.is_some_and(|rest| {
        rest.len() >= 8 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    });
    match well_formed {
        false => Err(unauthorized("Invalid API Key provided.")),
        true if key.starts_with("rk_") && received.method != http::Method::GET => Err(forbidden()),
        true => Ok(key.to_owned()),
    }
}

/// Whose payments a key is about: its own, or those of a connected account. The sandbox knows every
/// connected account, but for those that are called unknown.
fn whose(received: &Received, key: String) -> Result<String, Answer> {
    match received.header("stripe-account") {
        Some(account) if !account.starts_with("acct_") || account.contains("unknown") => {
            Err(error::no_account(account))
        }
        Some(account) => Ok(account.to_owned()),
        None => Ok(key),
    }
}

/// What is answered to a key that was taken back.
pub(super) fn revoked() -> Answer {
    error::expired().header("request-id", new_id("req_"))
}

/// The key in a request, as it was sent.
pub(super) fn key(received: &Received) -> &str {
    let value = received.header("authorization").unwrap_or_default();
    value.strip_prefix("Bearer ").unwrap_or_default()
}

/// A version such as `2025-03-31.basil`. The real one has a default; this one wants to be told.
fn version(received: &Received) -> Result<String, Answer> {
    let version = received.header("stripe-version").unwrap_or_default();
    let date = version.split('.').next().unwrap_or_default();
    let shaped = date.len() == 10
        && date.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    if shaped && date >= VERSION_MIN {
        Ok(version.to_owned())
    } else {
        Err(invalid(None, None, "Invalid Stripe API version in the Stripe-Version header."))
    }
}

fn parameters(
    received: &Received,
    fields: &'static [Field],
    version: &str,
) -> Result<Value, Answer> {
    let written = if received.method == http::Method::GET {
        received.query.as_bytes()
    } else {
        is_form(received)?;
        &received.body
    };
    let form = form::parse(written)
        .map_err(|e| invalid(None, None, &format!("Invalid request: {}.", e.0)))?;
    shape::check(&form, fields, Written::Form).map_err(|problem| error::parameter(&problem))?;
    of_version(&form, version)?;
    Ok(Value::Object(form))
}

fn is_form(received: &Received) -> Result<(), Answer> {
    let kind = received.header("content-type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if received.body.is_empty() || kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        Ok(())
    } else {
        let said = "The content type must be application/x-www-form-urlencoded.";
        Err(invalid(None, None, said))
    }
}

/// Of two parameters that mean the same, each version knows one.
fn of_version(form: &Map<String, Value>, version: &str) -> Result<(), Answer> {
    let unknown = if version >= VERSION_ALLOWED_TYPES {
        "payment_method_types"
    } else {
        "allowed_payment_method_types"
    };
    if form.contains_key(unknown) { Err(error::unknown(unknown)) } else { Ok(()) }
}

// === impl Route ===

impl Route {
    fn fields(self) -> &'static [Field] {
        match self {
            Self::CancelIntent => parameters::CANCEL,
            Self::CaptureIntent => parameters::CAPTURE,
            Self::CreateCustomer => parameters::CUSTOMER,
            Self::CreateIntent => parameters::INTENT,
            Self::CreateMethod => parameters::METHOD,
            Self::CreateRefund => parameters::REFUND,
            Self::GetIntent => parameters::GET_INTENT,
            Self::Balance | Self::GetMethod | Self::GetRefund => parameters::GET,
            Self::ListIntents => parameters::LIST_INTENTS,
            Self::ListRefunds => parameters::LIST_REFUNDS,
            Self::SearchIntents => parameters::SEARCH,
        }
    }

    fn operation(self, parameters: &Value) -> Operation {
        match self {
            Self::CancelIntent => Operation::Void,
            Self::CaptureIntent => Operation::Capture,
            Self::CreateCustomer => Operation::Keep,
            Self::CreateMethod => Operation::PaymentMethod,
            Self::CreateRefund => Operation::Refund,
            Self::CreateIntent if text(parameters, "/confirm") != Some("true") => Operation::Create,
            Self::CreateIntent if text(parameters, "/capture_method") == Some("manual") => {
                Operation::Authorize
            }
            Self::CreateIntent => Operation::Charge,
            Self::Balance
            | Self::GetIntent
            | Self::GetMethod
            | Self::GetRefund
            | Self::ListIntents
            | Self::ListRefunds
            | Self::SearchIntents => Operation::Read,
        }
    }
}

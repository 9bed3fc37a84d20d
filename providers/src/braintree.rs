//! Braintree's GraphQL API. <https://graphql.braintreepayments.com/>
//!
//! The card is exchanged for a name that can be used once, and that is charged. There is no
//! idempotency key; but every payment and refund has an order id, by which it can be searched for.

use crate::environment::{self, Hosts};
use crate::agreed;
use crate::credentials::{CredentialSpec, Form, Identity};
use crate::webhook::{self, Delivery, Unproven};
use crate::wire::{Answer, Body, HeaderText, Request};
use crate::{CREDENTIALS, Cx, Declines, Found, Gateway, Lost, Provider, Refusal, Step, Validity};
use answer::Expected;
use model::{
    Action, Authorization, Capture, Card, Currency, Find, FollowUp, Gone, Kind, Means, Notice,
    Operation, Outcome, Payer, Rejected, Report, Secret,
};
use payment::{Captured, Refunded, Reversed, Search, Searched, Tokenized, Transacted};
use serde::Serialize;

mod answer;
mod decline;
mod lost;
mod notice;
mod payment;
mod query;
mod token;

pub(crate) static PROVIDER: Braintree = Braintree;

#[derive(Debug)]
pub(crate) struct Braintree;

static GATEWAY: Gateway = Gateway {
    id: "Braintree",
    display_name: "Braintree",
    url: "https://www.braintreepayments.com",
    description: "Cards through Braintree's GraphQL API.",
    credentials: &[PUBLIC_KEY, PRIVATE_KEY, MERCHANT_ACCOUNT, CURRENCY, environment::REQUIRED],
    supports_network_token: false,
};

const PUBLIC_KEY: CredentialSpec = CredentialSpec {
    name: "PublicKey",
    aliases: &["Public Key"],
    required: true,
    secret: false,
    form: Form::Visible { min: 8, max: 64 },
    form_text: "must be 8 to 64 visible characters without blanks",
    identity: Identity::None,
};

const PRIVATE_KEY: CredentialSpec = CredentialSpec {
    name: "PrivateKey",
    aliases: &["Private Key"],
    required: true,
    secret: true,
    form: Form::Visible { min: 16, max: 128 },
    form_text: "must be 16 to 128 visible characters without blanks",
    identity: Identity::None,
};

/// The part of the merchant's business that is paid; without it, the one that Braintree has as the
/// default.
const MERCHANT_ACCOUNT: CredentialSpec = CredentialSpec {
    name: "MerchantAccountId",
    aliases: &["Merchant Account ID", "MerchantAccount"],
    required: false,
    secret: false,
    form: Form::Visible { min: 1, max: 64 },
    form_text: "must be 1 to 64 visible characters without blanks",
    identity: Identity::Whole,
};

/// A merchant account has one currency, and no request names another: it would be charged as much of
/// its own.
const CURRENCY: CredentialSpec = CredentialSpec {
    name: "Currency",
    aliases: &[],
    required: true,
    secret: false,
    form: Form::Visible { min: 3, max: 3 },
    form_text: "must be the three letters of a currency",
    identity: Identity::Whole,
};

const HOSTS: Hosts = Hosts { live: "payments.braintree-api.com", test: "payments.sandbox.braintree-api.com" };
/// From this version on, a country has two letters.
const VERSION: &str = "2021-02-01";
/// How long an id may be, in characters.
const ID_CHARS_MAX: usize = 128;
/// What stands between the merchant's reference and our key.
const BETWEEN: char = '/';

impl Provider for Braintree {
    fn name(&self) -> &'static str {
        "braintree"
    }

    fn gateway(&self) -> &'static Gateway {
        &GATEWAY
    }

    fn request(&self, operation: &Operation<Card>, cx: &Cx<'_>) -> Result<Request, Refusal> {
        match &operation.action {
            Action::Authorize(authorization) => {
                // What cannot be charged later is refused now, before the card is sent anywhere.
                Transacted::of("", String::new(), authorization, cx)?;
                match &authorization.means {
                    Means::Card(card) => exchanged(card, authorization.payer.as_ref(), cx),
                    Means::Token(token) => pay(operation, authorization, token::of(token)?, cx),
                }
            }
            Action::Capture(earlier) => {
                let input = Captured::of(transaction(earlier)?, earlier, cx)?;
                post(query::CAPTURE, &Variables { input }, cx)
            }
            Action::Refund(earlier) => {
                let order = order_id(operation.reference(), &operation.key);
                let input = Refunded::of(transaction(earlier)?, order, earlier, cx)?;
                post(query::REFUND, &Variables { input }, cx)
            }
            Action::Void(earlier) => {
                let input = Reversed { transaction_id: transaction(earlier)? };
                post(query::REVERSE, &Variables { input }, cx)
            }
            Action::Status(Find::Reference(reference)) => node(id(reference)?, cx),
            Action::Status(Find::MerchantReference(reference)) => {
                let begin = format!("{reference}{BETWEEN}");
                search(query::SEARCH, Search::begins(&begin), cx)
            }
            Action::Tokenize(tokenization) => {
                if tokenization.network_token.is_some() {
                    return Err(refuse("networkTokenBrand", "network tokens are not supported"));
                }
                exchanged(&tokenization.card, tokenization.payer.as_ref(), cx)
            }
        }
    }

    fn outcome(&self, kind: Kind, answer: &Answer<'_>) -> Report {
        if kind == Kind::Tokenize {
            return token::read(answer);
        }
        answer::read(kind, answer, &Expected::default())
    }

    fn step(
        &self,
        operation: &Operation<Gone>,
        nth: usize,
        answer: &Answer<'_>,
        cx: &Cx<'_>,
    ) -> Step {
        match next(operation, nth, answer, cx) {
            Ok(Some(request)) => Step::Send(request),
            Ok(None) if operation.kind() == Kind::Tokenize => Step::Done(token::read(answer)),
            Ok(None) => {
                let report = answer::read(operation.kind(), answer, &Expected::of(operation));
                Step::Done(agreed(operation, report))
            }
            Err(report) => Step::Done(*report),
        }
    }

    fn token(&self, _: &Operation<Gone>, nth: usize, answer: &Answer<'_>) -> Option<Secret> {
        (nth > 0).then(|| token::kept(answer).ok())?.map(|id| Secret::new(id.as_str()))
    }

    /// Searches for nothing: who may look at payments is told so.
    fn validation(&self, cx: &Cx<'_>) -> Result<Option<Request>, Refusal> {
        currency(cx)?;
        search(query::SEARCH, Search::is("0"), cx).map(Some)
    }

    fn validity(&self, answer: &Answer<'_>) -> Validity {
        answer::validity(answer)
    }

    fn declines(&self) -> Declines {
        decline::DECLINES
    }

    fn forbids_retry(&self, report: &Report) -> bool {
        decline::says_stop(report)
    }

    fn inquiry(&self, lost: &Lost<'_>, cx: &Cx<'_>) -> Result<Request, Refusal> {
        let order = order_id(lost.reference, lost.key);
        match lost.kind {
            Kind::Authorize | Kind::Charge => search(query::SEARCH, Search::is(&order), cx),
            Kind::Refund => search(query::SEARCH_REFUNDS, Search::is(&order), cx),
            Kind::Capture | Kind::Void => node(id(lost.payment.unwrap_or_default())?, cx),
            Kind::Status | Kind::Tokenize => Err(Refusal::Unsupported),
        }
    }

    fn found(&self, lost: &Lost<'_>, answer: &Answer<'_>) -> Found {
        lost::found(lost, answer)
    }

    fn notices(&self, delivery: &Delivery<'_>, cx: &Cx<'_>) -> Result<Vec<Notice>, Unproven> {
        notice::read(delivery, cx)
    }

    fn proof(&self, query: &str, cx: &Cx<'_>) -> Result<String, Unproven> {
        notice::proof(query, cx)
    }
}

// === writing ===

/// A question or an order. What it is about is never a part of its text.
#[derive(Serialize)]
struct Call<'a, V> {
    query: &'static str,
    variables: &'a V,
}

#[derive(Serialize)]
struct Variables<I> {
    input: I,
}

#[derive(Serialize)]
struct NodeId<'a> {
    id: &'a str,
}

/// What comes before the payment itself: the card has a name by now, and where it is to be kept, the
/// vault gets it first.
fn next(
    operation: &Operation<Gone>,
    nth: usize,
    answer: &Answer<'_>,
    cx: &Cx<'_>,
) -> Result<Option<Request>, Box<Report>> {
    let keeps = operation.wants_token();
    let next = match (&operation.action, nth) {
        (Action::Authorize(authorization), _) if authorization.is_by_token() => return Ok(None),
        (Action::Authorize(_), 0) if keeps => {
            token::keep(&answer::method_id(answer)?, cx).map(Request::harmless)
        }
        (Action::Authorize(authorization), 0) => {
            pay(operation, authorization, &answer::method_id(answer)?, cx)
        }
        (Action::Authorize(authorization), 1) if keeps => {
            pay(operation, authorization, &token::kept(answer)?, cx)
        }
        // Nobody knows of a card that is kept but by this answer: it counts as something done.
        (Action::Tokenize(_), 0) => token::keep(&answer::method_id(answer)?, cx),
        _ => return Ok(None),
    };
    // The same terms were taken when the first request was written.
    next.map(Some).map_err(|_| Box::new(Report::bare(Outcome::Rejected(Rejected::Malformed))))
}

/// Has the card exchanged for a name that pays once, which alone is nothing.
fn exchanged(card: &Card, payer: Option<&Payer>, cx: &Cx<'_>) -> Result<Request, Refusal> {
    let input = Tokenized::of(card, payer);
    post(query::TOKENIZE, &Variables { input }, cx).map(Request::harmless)
}

fn pay<C>(
    operation: &Operation<C>,
    authorization: &Authorization<C>,
    method: &str,
    cx: &Cx<'_>,
) -> Result<Request, Refusal> {
    let order = order_id(operation.reference(), &operation.key);
    let input = Transacted::of(method, order, authorization, cx)?;
    let query = match authorization.capture {
        Capture::Now => query::CHARGE,
        Capture::Later => query::AUTHORIZE,
    };
    post(query, &Variables { input }, cx)
}

fn node(id: &str, cx: &Cx<'_>) -> Result<Request, Refusal> {
    post(query::NODE, &NodeId { id }, cx).map(Request::harmless)
}

fn search(query: &'static str, order_id: Search<'_>, cx: &Cx<'_>) -> Result<Request, Refusal> {
    post(query, &Searched { order_id }, cx).map(Request::harmless)
}

fn post<V: Serialize>(
    query: &'static str,
    variables: &V,
    cx: &Cx<'_>,
) -> Result<Request, Refusal> {
    let public = cx.need(&PUBLIC_KEY, "PublicKey is missing")?;
    let private = cx.need(&PRIVATE_KEY, "PrivateKey is missing")?;
    let basic = HeaderText::basic(public, private);
    let basic = basic.map_err(|_| refuse(CREDENTIALS, "PublicKey is not a key of Braintree"))?;
    let body = Body::json(&Call { query, variables });
    Ok(Request::post(HOSTS.required(cx)?, "/graphql".to_owned(), body)
        .header("authorization", basic)
        .header("braintree-version", HeaderText::of(VERSION))
        .header("content-type", HeaderText::of("application/json")))
}

/// The currency of the merchant account.
fn currency(cx: &Cx<'_>) -> Result<Currency, Refusal> {
    let currency = cx.need(&CURRENCY, "Currency is missing")?;
    // The currency is exposed to be read; it is not a secret.
    let currency = Currency::parse(currency.expose());
    let listed = currency.ok().filter(|currency| currency.exponent() <= 3);
    listed.ok_or(refuse(CREDENTIALS, "Currency is not one that Braintree can count"))
}

/// The name of a payment or refund: the merchant's, if there is one, and ours.
fn order_id(reference: &str, key: &str) -> String {
    if reference == key { key.to_owned() } else { format!("{reference}{BETWEEN}{key}") }
}

/// Our key in an order id, which ends with it.
fn key_of(order: &str) -> Option<Box<str>> {
    webhook::key(order.rsplit(BETWEEN).next()?)
}

/// Whether an order id is that of a payment which the merchant calls so.
fn is_called(order: &str, reference: &str) -> bool {
    let rest = order.strip_prefix(reference).and_then(|rest| rest.strip_prefix(BETWEEN));
    rest.is_some_and(|key| key.len() == 32 && key.bytes().all(|b| b.is_ascii_alphanumeric()))
}

fn transaction(earlier: &FollowUp) -> Result<&str, Refusal> {
    id(&earlier.reference)
}

fn id(reference: &str) -> Result<&str, Refusal> {
    let wrong = refuse("refTransId", "is not a payment of Braintree");
    if is_id(reference) { Ok(reference) } else { Err(wrong) }
}

/// Base64 and the like, with a letter in it: no card.
fn is_id(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_=".contains(&b);
    (8..=ID_CHARS_MAX).contains(&text.len())
        && text.bytes().all(plain)
        && text.bytes().any(|b| b.is_ascii_alphabetic())
}

fn refuse(name: &'static str, problem: &'static str) -> Refusal {
    Refusal::Field { name, problem }
}

#[cfg(test)]
mod tests {
    use super::{is_called, is_id, key_of, order_id};

    #[test]
    fn ids_have_letters_and_are_no_card_numbers() {
        for (text, expected) in [
            ("dHJhbnNhY3Rpb25fZXhhbXBsZTE", true),
            ("dHJhbnNhY3Rpb25fZXhhbXBsZQ==", true),
            ("tokencc_bh_example_0001", true),
            ("4242424242424242", false),
            ("short", false),
            ("dHJhbnNh\"Y3Rpb25f", false),
            (&"a".repeat(129), false),
        ] {
            assert_eq!(is_id(text), expected, "{text}");
        }
    }

    #[test]
    fn an_order_id_is_the_merchants_reference_and_our_key() {
        let key = "k0000000000000000000000000000001";
        assert_eq!(order_id(key, key), key);
        let order = order_id("ORD/1", key);
        assert_eq!(order, format!("ORD/1/{key}"));
        assert!(is_called(&order, "ORD/1"));
        assert_eq!((key_of(&order).as_deref(), key_of(key).as_deref()), (Some(key), Some(key)));
        assert_eq!((key_of("ORD/1"), key_of("")), (None, None));
        assert!(!is_called(&order, "ORD") && !is_called(key, "") && !is_called("ORD/1", "ORD/1"));
    }
}

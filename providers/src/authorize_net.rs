//! Authorize.Net's API in its JSON form. <https://developer.authorize.net/api/reference/>
//!
//! The JSON is read as XML with a schema: members must come in the schema's order. No answer says
//! how much money it is about, there is no idempotency key, and nothing can be looked for by a
//! reference; but the payments that are not settled yet can be listed, each with a number of ours.

use crate::environment::{self, Hosts};
use crate::agreed;
use crate::credentials::{CredentialSpec, Form, Identity};
use crate::pursuit::{Pursuit, Trail};
use crate::webhook::{Delivery, Unproven};
use crate::wire::{Answer, Body, HeaderText, Request};
use crate::{CREDENTIALS, Cx, Declines, Found, Gateway, Lost, Provider, Refusal, Step, Validity};
use answer::Expected;
use model::{
    Action, Card, Currency, Find, Gone, Kind, Notice, Operation, Pan, Report, Secret,
    Tokenization,
};
use serde::Serialize;

mod answer;
mod decline;
mod lost;
mod notice;
mod payment;
mod profile;

pub(crate) static PROVIDER: AuthorizeNet = AuthorizeNet;

#[derive(Debug)]
pub(crate) struct AuthorizeNet;

static GATEWAY: Gateway = Gateway {
    id: "AuthorizeNet",
    display_name: "Authorize.Net",
    url: "https://www.authorize.net",
    description: "Cards through the Authorize.Net API, in its JSON form.",
    credentials: &[LOGIN, TRANSACTION_KEY, CURRENCY, environment::REQUIRED, SIGNATURE_KEY],
    supports_network_token: false,
};

const LOGIN: CredentialSpec = CredentialSpec {
    name: "ApiLoginId",
    aliases: &["API Login ID", "Login"],
    required: true,
    secret: false,
    form: Form::Visible { min: 1, max: 25 },
    form_text: "must be 1 to 25 visible characters without blanks",
    identity: Identity::Whole,
};

const TRANSACTION_KEY: CredentialSpec = CredentialSpec {
    name: "TransactionKey",
    aliases: &["Transaction Key"],
    required: true,
    secret: true,
    form: Form::Visible { min: 8, max: 16 },
    form_text: "must be 8 to 16 visible characters without blanks",
    identity: Identity::None,
};

/// An account has one currency. It is told here because no answer tells it: a payment in another
/// one would be taken for as much of this.
const CURRENCY: CredentialSpec = CredentialSpec {
    name: "Currency",
    aliases: &[],
    required: true,
    secret: false,
    form: Form::Word(CURRENCIES),
    form_text: "must be AUD, CAD, CHF, DKK, EUR, GBP, NOK, NZD, PLN, SEK or USD",
    identity: Identity::Whole,
};

/// What webhooks are signed with.
const SIGNATURE_KEY: CredentialSpec = CredentialSpec {
    name: "SignatureKey",
    aliases: &["Signature Key"],
    required: false,
    secret: true,
    form: Form::Hex { digits: 128 },
    form_text: "must be 128 hexadecimal digits",
    identity: Identity::None,
};

/// The currencies that accounts are kept in. Each has two decimals.
const CURRENCIES: &[&str] =
    &["AUD", "CAD", "CHF", "DKK", "EUR", "GBP", "NOK", "NZD", "PLN", "SEK", "USD"];

const HOSTS: Hosts = Hosts { live: "api.authorize.net", test: "apitest.authorize.net" };

/// How long a name of ours may be, in characters. The key of an attempt ends in random ones.
const NAME_CHARS: usize = 20;
/// How many digits an id has, at most.
const ID_DIGITS_MAX: usize = 20;
/// How long for a look-alike is refused, in seconds: as long as can be asked for. Every attempt has
/// a number of its own, so that only the very same request is one.
const DUPLICATE_WINDOW_SECS: &str = "28800";
/// The name of a transaction that nobody made.
const NO_TRANSACTION: &str = "0";

impl Provider for AuthorizeNet {
    fn name(&self) -> &'static str {
        "authorize_net"
    }

    fn gateway(&self) -> &'static Gateway {
        &GATEWAY
    }

    fn request(&self, operation: &Operation<Card>, cx: &Cx<'_>) -> Result<Request, Refusal> {
        let transaction_request = match &operation.action {
            Action::Authorize(authorization) => {
                let reference = operation.reference();
                payment::paid(&operation.key, reference, authorization, currency(cx)?)?
            }
            Action::Capture(earlier) => payment::captured(earlier, currency(cx)?)?,
            Action::Refund(earlier) => {
                payment::refunded(&operation.key, earlier, currency(cx)?)?
            }
            Action::Void(earlier) => payment::voided(earlier)?,
            Action::Status(Find::Reference(payment)) => {
                return details(transaction_id(payment)?, cx);
            }
            // There is no search.
            Action::Status(Find::MerchantReference(_)) => return Err(Refusal::Unsupported),
            Action::Tokenize(tokenization) => return keep(&operation.key, tokenization, cx),
        };
        let merchant_authentication = Merchant::of(cx)?;
        let ref_id = name(&operation.key);
        let transaction_request = Box::new(transaction_request);
        let envelope =
            Envelope::Create { merchant_authentication, ref_id, transaction_request };
        post(&envelope, cx)
    }

    fn outcome(&self, kind: Kind, answer: &Answer<'_>) -> Report {
        answer::read(kind, answer, &Expected::default())
    }

    fn step(
        &self,
        operation: &Operation<Gone>,
        _nth: usize,
        answer: &Answer<'_>,
        cx: &Cx<'_>,
    ) -> Step {
        let expected = Expected::of(operation, currency(cx).ok());
        Step::Done(agreed(operation, answer::read(operation.kind(), answer, &expected)))
    }

    fn token(
        &self,
        operation: &Operation<Gone>,
        _nth: usize,
        answer: &Answer<'_>,
    ) -> Option<Secret> {
        profile::told(operation, answer)
    }

    /// Asks for a transaction that nobody made: only who may look at transactions is told so.
    fn validation(&self, cx: &Cx<'_>) -> Result<Option<Request>, Refusal> {
        currency(cx)?;
        details(NO_TRANSACTION, cx).map(Some)
    }

    fn validity(&self, answer: &Answer<'_>) -> Validity {
        answer::validity(answer)
    }

    fn declines(&self) -> Declines {
        decline::DECLINES
    }

    fn inquiry(&self, lost: &Lost<'_>, cx: &Cx<'_>) -> Result<Request, Refusal> {
        match lost.kind {
            Kind::Authorize | Kind::Charge | Kind::Refund => unsettled(0, cx),
            Kind::Capture | Kind::Void => {
                details(transaction_id(lost.payment.unwrap_or_default())?, cx)
            }
            Kind::Status | Kind::Tokenize => Err(Refusal::Unsupported),
        }
    }

    fn found(&self, lost: &Lost<'_>, answer: &Answer<'_>) -> Found {
        lost::found(lost, answer)
    }

    fn pursue(
        &self,
        lost: &Lost<'_>,
        trail: &mut Trail,
        answer: &Answer<'_>,
        cx: &Cx<'_>,
    ) -> Pursuit {
        lost::pursue(lost, trail, answer, cx)
    }

    fn notices(&self, delivery: &Delivery<'_>, cx: &Cx<'_>) -> Result<Vec<Notice>, Unproven> {
        notice::read(delivery, cx)
    }
}

// === writing ===

/// A request: an object with one member, which says what is asked.
#[derive(Serialize)]
enum Envelope<'a> {
    #[serde(rename = "createTransactionRequest", rename_all = "camelCase")]
    Create {
        merchant_authentication: Merchant<'a>,
        ref_id: &'a str,
        transaction_request: Box<payment::Transaction<'a>>,
    },
    #[serde(rename = "createCustomerProfileRequest", rename_all = "camelCase")]
    Keep {
        merchant_authentication: Merchant<'a>,
        ref_id: &'a str,
        profile: Box<profile::Customer<'a>>,
        validation_mode: &'static str,
    },
    #[serde(rename = "getTransactionDetailsRequest", rename_all = "camelCase")]
    Details { merchant_authentication: Merchant<'a>, trans_id: &'a str },
    #[serde(rename = "getUnsettledTransactionListRequest", rename_all = "camelCase")]
    Unsettled { merchant_authentication: Merchant<'a>, sorting: Sorting, paging: Paging },
    #[serde(rename = "getSettledBatchListRequest", rename_all = "camelCase")]
    Batches {
        merchant_authentication: Merchant<'a>,
        first_settlement_date: String,
        last_settlement_date: String,
    },
    #[serde(rename = "getTransactionListRequest", rename_all = "camelCase")]
    Settled {
        merchant_authentication: Merchant<'a>,
        batch_id: &'a str,
        sorting: Sorting,
        paging: Paging,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Merchant<'a> {
    name: &'a str,
    transaction_key: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sorting {
    order_by: &'static str,
    order_descending: bool,
}

#[derive(Serialize)]
struct Paging {
    limit: String,
    offset: String,
}

// === impl Sorting ===

impl Sorting {
    const NEWEST_FIRST: Self = Self { order_by: "submitTimeUTC", order_descending: true };
}

// === impl Paging ===

impl Paging {
    /// A page, counted from 0. Authorize.Net counts from 1.
    fn of(page: u32) -> Self {
        let offset = page.saturating_add(1).to_string();
        Self { limit: lost::LIST_MAX.to_string(), offset }
    }
}

// === impl Merchant ===

impl<'a> Merchant<'a> {
    fn of(cx: &Cx<'a>) -> Result<Self, Refusal> {
        let name = cx.need(&LOGIN, "ApiLoginId is missing")?;
        let transaction_key = cx.need(&TRANSACTION_KEY, "TransactionKey is missing")?;
        // Both are exposed because this is how Authorize.Net is told who asks.
        Ok(Self { name: name.expose(), transaction_key: transaction_key.expose() })
    }
}

/// Has a card kept, by a customer of its own. The issuer is not asked.
fn keep(key: &str, tokenization: &Tokenization<Card>, cx: &Cx<'_>) -> Result<Request, Refusal> {
    let name = name(key);
    let profile = Box::new(profile::Customer::of(name, tokenization)?);
    let merchant_authentication = Merchant::of(cx)?;
    let (ref_id, validation_mode) = (name, "none");
    post(&Envelope::Keep { merchant_authentication, ref_id, profile, validation_mode }, cx)
}

fn details(transaction: &str, cx: &Cx<'_>) -> Result<Request, Refusal> {
    let merchant_authentication = Merchant::of(cx)?;
    let envelope = Envelope::Details { merchant_authentication, trans_id: transaction };
    post(&envelope, cx).map(Request::harmless)
}

/// A page of what is not settled yet, the newest first.
fn unsettled(page: u32, cx: &Cx<'_>) -> Result<Request, Refusal> {
    let envelope = Envelope::Unsettled {
        merchant_authentication: Merchant::of(cx)?,
        sorting: Sorting::NEWEST_FIRST,
        paging: Paging::of(page),
    };
    post(&envelope, cx).map(Request::harmless)
}

/// The batches that were settled between two times.
fn batches([first, last]: [String; 2], cx: &Cx<'_>) -> Result<Request, Refusal> {
    let envelope = Envelope::Batches {
        merchant_authentication: Merchant::of(cx)?,
        first_settlement_date: first,
        last_settlement_date: last,
    };
    post(&envelope, cx).map(Request::harmless)
}

/// A page of what was settled with a batch.
fn settled_with(batch: &str, page: u32, cx: &Cx<'_>) -> Result<Request, Refusal> {
    let envelope = Envelope::Settled {
        merchant_authentication: Merchant::of(cx)?,
        batch_id: batch,
        sorting: Sorting::NEWEST_FIRST,
        paging: Paging::of(page),
    };
    post(&envelope, cx).map(Request::harmless)
}

fn post(envelope: &Envelope<'_>, cx: &Cx<'_>) -> Result<Request, Refusal> {
    let path = "/xml/v1/request.api".to_owned();
    let request = Request::post(HOSTS.required(cx)?, path, Body::json(envelope));
    Ok(request.header("content-type", HeaderText::of("application/json")))
}

/// The currency of the account.
fn currency(cx: &Cx<'_>) -> Result<Currency, Refusal> {
    let currency = cx.need(&CURRENCY, "Currency is missing")?;
    // The currency is exposed to be compared with the list; it is not a secret.
    let currency = currency.expose();
    let listed = CURRENCIES.iter().find(|code| code.eq_ignore_ascii_case(currency));
    let wrong = refuse(CREDENTIALS, "Currency is not one that Authorize.Net documents");
    listed.and_then(|code| Currency::parse(code).ok()).ok_or(wrong)
}

/// What Authorize.Net repeats of the name of an attempt.
fn name(key: &str) -> &str {
    key.get(key.len().saturating_sub(NAME_CHARS)..).unwrap_or(key)
}

/// The number of an attempt, which says what it was.
fn invoice(kind: Kind, key: &str) -> String {
    let mark = match kind {
        Kind::Authorize => 'a',
        Kind::Charge => 'c',
        Kind::Refund => 'r',
        Kind::Capture | Kind::Status | Kind::Tokenize | Kind::Void => 'x',
    };
    let name = name(key);
    format!("{mark}{}", name.get(1..).unwrap_or_default())
}

fn transaction_id(reference: &str) -> Result<&str, Refusal> {
    let wrong = refuse("refTransId", "is not a payment of Authorize.Net");
    if is_id(reference) { Ok(reference) } else { Err(wrong) }
}

/// Digits, and not those of a card. Of the numbers with twelve digits every tenth has a right check
/// digit by chance; a card of so many digits begins with 5 or 6.
fn is_id(text: &str) -> bool {
    let maestro = text.starts_with('5') || text.starts_with('6');
    let card = Pan::is_shaped(text) && (text.len() > 12 || maestro);
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    digits && !card && !text.starts_with('0') && matches!(text.len(), 1..=ID_DIGITS_MAX)
}

fn refuse(name: &'static str, problem: &'static str) -> Refusal {
    Refusal::Field { name, problem }
}

#[cfg(test)]
mod tests {
    use super::{CURRENCIES, invoice, is_id, name};
    use model::{Currency, Kind};

    #[test]
    fn ids_are_digits_and_no_card_numbers() {
        for (text, expected) in [
            ("60198917640", true),
            ("120012345678", true),
            ("4242424242424242", false),
            ("", false),
            ("0", false),
            ("6019891764a", false),
            ("-1", false),
            (&"1".repeat(21), false),
        ] {
            assert_eq!(is_id(text), expected, "{text}");
        }
    }

    #[test]
    fn numbers_are_the_random_end_of_a_key_and_say_what_they_are_for() {
        let key = "019a00000000abcdefabcdefabcdef12";
        assert_eq!(name(key), "abcdefabcdefabcdef12");
        assert_eq!(invoice(Kind::Charge, key), "cbcdefabcdefabcdef12");
        assert_eq!(invoice(Kind::Authorize, key), "abcdefabcdefabcdef12");
        assert_eq!(invoice(Kind::Refund, key), "rbcdefabcdefabcdef12");
        assert_eq!((name("short"), &*invoice(Kind::Charge, "")), ("short", "c"));
    }

    #[test]
    fn every_currency_has_two_decimals() {
        for code in CURRENCIES {
            assert_eq!(Currency::parse(code).unwrap().exponent(), 2, "{code}");
        }
    }
}

//! CyberSource REST. <https://developer.cybersource.com/api-reference-assets/index.html>
//!
//! Every change of a payment is an object of its own, with an id of its own. There is no
//! idempotency key; but every request carries our key as its reference, by which it can be found.

use crate::environment::{self, Hosts};
use crate::credentials::{CredentialSpec, Form, Identity};
use crate::webhook::{Delivery, Unproven};
use crate::wire::{Answer, Body, HeaderText, Method, Request, path, query};
use crate::{Cx, Declines, Found, Gateway, Lost, Provider, Refusal, Step, Validity};
use crate::agreed;
use answer::Expected;
use model::{
    Action, Amount, Card, Find, FollowUp, Gone, Kind, Known, Notice, Operation, Report, Secret,
};
use serde::Serialize;
use payment::{BillTo, Payment};
use token::Speech;

mod answer;
mod brand;
mod decline;
mod instrument;
mod kept;
mod lost;
mod notice;
mod payment;
mod token;

pub(crate) static PROVIDER: CyberSource = CyberSource;

#[derive(Debug)]
pub(crate) struct CyberSource;

static GATEWAY: Gateway = Gateway {
    id: "CyberSource",
    display_name: "CyberSource",
    url: "https://www.cybersource.com",
    description: "Cards through the REST API, authenticated by JWT with a shared secret.",
    credentials: &[
        MERCHANT_ID,
        KEY_ID,
        SHARED_SECRET,
        environment::REQUIRED,
        CURRENCY,
        SIGNATURE_KEY,
    ],
    supports_network_token: false,
};

const MERCHANT_ID: CredentialSpec = CredentialSpec {
    name: "MerchantId",
    aliases: &["Merchant ID"],
    required: true,
    secret: false,
    form: Form::Visible { min: 1, max: 64 },
    form_text: "must be 1 to 64 visible characters without blanks",
    identity: Identity::Whole,
};

/// The name of the shared secret.
const KEY_ID: CredentialSpec = CredentialSpec {
    name: "KeyId",
    aliases: &["Key ID", "ApiKey"],
    required: true,
    secret: false,
    form: Form::Visible { min: 8, max: 64 },
    form_text: "must be 8 to 64 visible characters without blanks",
    identity: Identity::None,
};

const SHARED_SECRET: CredentialSpec = CredentialSpec {
    name: "SharedSecret",
    aliases: &["Shared Secret", "SecretKey"],
    required: true,
    secret: true,
    form: Form::Visible { min: 16, max: 255 },
    form_text: "must be base64, 16 to 255 characters",
    identity: Identity::None,
};

/// What nothing is authorized in, where a card is to be kept without a payment.
const CURRENCY: CredentialSpec = CredentialSpec {
    name: "Currency",
    aliases: &[],
    required: false,
    secret: false,
    form: Form::Visible { min: 3, max: 3 },
    form_text: "must be the three letters of a currency",
    identity: Identity::None,
};

/// What webhooks are signed with: a key of its own, which CyberSource makes for that.
const SIGNATURE_KEY: CredentialSpec = CredentialSpec {
    name: "WebhookSignatureKey",
    aliases: &["Digital Signature Key"],
    required: false,
    secret: true,
    form: Form::Visible { min: 16, max: 255 },
    form_text: "must be base64, 16 to 255 characters",
    identity: Identity::None,
};

const HOSTS: Hosts = Hosts { live: "api.cybersource.com", test: "apitest.cybersource.com" };
const JSON: &str = "application/json;charset=utf-8";
const HAL: &str = "application/hal+json;charset=utf-8";

/// How many digits an id has, at most.
const ID_DIGITS_MAX: usize = 26;
/// How long the name of a transaction may be that time-outs are reversed by, in characters.
const TRANSACTION_CHARS_MAX: usize = 30;

impl Provider for CyberSource {
    fn name(&self) -> &'static str {
        "cybersource"
    }

    fn gateway(&self) -> &'static Gateway {
        &GATEWAY
    }

    fn request(&self, operation: &Operation<Card>, cx: &Cx<'_>) -> Result<Request, Refusal> {
        let reference = ClientReference::of(operation);
        match &operation.action {
            Action::Authorize(authorization) => {
                let payment = Payment::of(reference, authorization)?;
                post(&["pts", "v2", "payments"], Body::json(&payment), cx)
            }
            Action::Capture(FollowUp { amount, reference: payment, .. }) => {
                let change = Change::of(reference, *amount);
                let path = ["pts", "v2", "payments", transaction(payment)?, "captures"];
                post(&path, Body::json(&change), cx)
            }
            Action::Refund(FollowUp { amount, reference: payment, known }) => {
                let change = Change::of(reference, *amount);
                let (what, id) = refunded(transaction(payment)?, known.as_ref());
                post(&["pts", "v2", what, id, "refunds"], Body::json(&change), cx)
            }
            Action::Void(earlier) => void(reference, earlier, cx),
            Action::Status(Find::Reference(reference)) => {
                get(&path(&["tss", "v2", "transactions", transaction(reference)?]), cx)
            }
            // What is looked for by is our key: a reference that two attempts share finds neither.
            Action::Status(Find::MerchantReference(_)) => Err(Refusal::Unsupported),
            Action::Tokenize(tokenization) => {
                let payment = Payment::of_nothing(reference, tokenization, cx)?;
                post(&["pts", "v2", "payments"], Body::json(&payment), cx)
            }
        }
    }

    fn outcome(&self, kind: Kind, answer: &Answer<'_>) -> Report {
        answer::read(kind, answer, &Expected::default())
    }

    fn step(
        &self,
        operation: &Operation<Gone>,
        _nth: usize,
        answer: &Answer<'_>,
        _cx: &Cx<'_>,
    ) -> Step {
        let report = answer::read(operation.kind(), answer, &Expected::of(operation));
        Step::Done(agreed(operation, report))
    }

    fn token(
        &self,
        operation: &Operation<Gone>,
        _nth: usize,
        answer: &Answer<'_>,
    ) -> Option<Secret> {
        instrument::told(operation, answer)
    }

    /// Searches for nothing: who may read transactions is told so.
    fn validation(&self, cx: &Cx<'_>) -> Result<Option<Request>, Refusal> {
        let search = Body::json(&lost::Search::for_nothing());
        post(&["tss", "v2", "searches"], search, cx).map(|request| Some(request.harmless()))
    }

    fn validity(&self, answer: &Answer<'_>) -> Validity {
        answer::validity(answer)
    }

    fn declines(&self) -> Declines {
        decline::DECLINES
    }

    fn forbids_retry(&self, report: &Report) -> bool {
        decline::says_stop(report.sub_description.as_deref())
    }

    fn inquiry(&self, lost: &Lost<'_>, cx: &Cx<'_>) -> Result<Request, Refusal> {
        let search = lost::Search::of(lost)?;
        post(&["tss", "v2", "searches"], Body::json(&search), cx).map(Request::harmless)
    }

    fn found(&self, lost: &Lost<'_>, answer: &Answer<'_>) -> Found {
        lost::found(lost, answer)
    }

    fn notices(&self, delivery: &Delivery<'_>, cx: &Cx<'_>) -> Result<Vec<Notice>, Unproven> {
        notice::read(delivery, cx)
    }
}

// === writing ===

/// Our name for the request. It is the key and not the merchant's reference, because several
/// attempts may share that, and this is what a lost one is found by.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ClientReference<'a> {
    code: &'a str,
    transaction_id: &'a str,
    comments: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Order<'a> {
    amount_details: Details,
    #[serde(skip_serializing_if = "Option::is_none")]
    bill_to: Option<BillTo<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    total_amount: String,
    currency: String,
}

/// A capture or a refund.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Change<'a> {
    client_reference_information: ClientReference<'a>,
    order_information: Order<'a>,
}

/// A reversal of a hold.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reversal<'a> {
    client_reference_information: ClientReference<'a>,
    reversal_information: ReversalInformation,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReversalInformation {
    amount_details: Details,
    reason: &'static str,
}

/// A void of what was taken and is not settled yet.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Undoing<'a> {
    client_reference_information: ClientReference<'a>,
}

// === impl ClientReference ===

impl<'a> ClientReference<'a> {
    fn of<C>(operation: &'a Operation<C>) -> Self {
        let key = &*operation.key;
        let transaction_id = crate::wire::cut(key, TRANSACTION_CHARS_MAX);
        Self { code: key, transaction_id, comments: operation.reference() }
    }
}

// === impl Details ===

impl Details {
    fn of(amount: Amount) -> Result<Self, Refusal> {
        let currency = amount.currency();
        if !answer::is_listed(currency) {
            return Err(refuse("currency", "is not a currency that CyberSource documents"));
        }
        Ok(Self { total_amount: amount.decimal(), currency: currency.code().to_owned() })
    }
}

// === impl Change ===

impl<'a> Change<'a> {
    fn of(reference: ClientReference<'a>, amount: Amount) -> Self {
        let currency = amount.currency().code().to_owned();
        let amount_details = Details { total_amount: amount.decimal(), currency };
        let order_information = Order { amount_details, bill_to: None };
        Self { client_reference_information: reference, order_information }
    }
}

/// What is refunded: the capture, where there was one by itself, else the payment.
fn refunded<'a>(payment: &'a str, known: Option<&'a Known>) -> (&'static str, &'a str) {
    let capture = known.and_then(|known| known.memo.as_deref()).filter(|memo| is_id(memo));
    match capture {
        Some(capture) => ("captures", capture),
        None => ("payments", payment),
    }
}

/// A hold is reversed; what was taken, and is known to have been, is voided.
fn void(
    reference: ClientReference<'_>,
    earlier: &FollowUp,
    cx: &Cx<'_>,
) -> Result<Request, Refusal> {
    let id = transaction(&earlier.reference)?;
    if earlier.known.as_ref().is_some_and(|known| known.captured.minor() > 0) {
        let (what, id) = refunded(id, earlier.known.as_ref());
        let body = Body::json(&Undoing { client_reference_information: reference });
        return post(&["pts", "v2", what, id, "voids"], body, cx);
    }
    let held = earlier.known.as_ref().map_or(earlier.amount, |known| known.authorized);
    let reversal = Reversal {
        client_reference_information: reference,
        reversal_information: ReversalInformation {
            amount_details: Details::of(held)?,
            reason: "void",
        },
    };
    post(&["pts", "v2", "payments", id, "reversals"], Body::json(&reversal), cx)
}

fn post(segments: &[&str], body: Body, cx: &Cx<'_>) -> Result<Request, Refusal> {
    signed(Request::post(HOSTS.required(cx)?, path(segments), body), cx)
}

fn get(path: &str, cx: &Cx<'_>) -> Result<Request, Refusal> {
    signed(Request::get(HOSTS.required(cx)?, query(path, &[])), cx)
}

fn signed(request: Request, cx: &Cx<'_>) -> Result<Request, Refusal> {
    let method = match request.method {
        Method::Get => "get",
        Method::Post => "post",
    };
    let speech = Speech {
        method,
        host: &request.authority,
        path: request.path.split('?').next().unwrap_or_default(),
        body: request.body.as_ref(),
    };
    let bearer = token::bearer(&speech, cx)?;
    let has_body = method == "post";
    let request =
        request.header("authorization", bearer).header("accept", HeaderText::of(HAL));
    if has_body { Ok(request.header("content-type", HeaderText::of(JSON))) } else { Ok(request) }
}

fn transaction(reference: &str) -> Result<&str, Refusal> {
    let wrong = refuse("refTransId", "is not a payment of CyberSource");
    if is_id(reference) { Ok(reference) } else { Err(wrong) }
}

/// Digits, and more than a card number has.
fn is_id(text: &str) -> bool {
    (20..=ID_DIGITS_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

fn refuse(name: &'static str, problem: &'static str) -> Refusal {
    Refusal::Field { name, problem }
}

#[cfg(test)]
mod tests {
    use super::is_id;

    #[test]
    fn ids_are_digits_and_no_card_numbers() {
        for (text, expected) in [
            ("7500000000000000000000", true),
            ("4242424242424242", false),
            ("", false),
            ("750000000000000000000a", false),
            ("750000000000000000000000000", false),
        ] {
            assert_eq!(is_id(text), expected, "{text}");
        }
    }
}

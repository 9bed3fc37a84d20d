//! What is paid with at Adyen: a card, or one that Adyen keeps for a shopper.
//!
//! Every card that is kept has a shopper of its own, because a payment names both; so the merchant is
//! told both. <https://docs.adyen.com/online-payments/tokenization>

use super::answer::{UNREADABLE, failure};
use super::refuse;
use crate::wire::Answer;
use crate::{Refusal, means};
use model::{Authorization, Card, Kind, Means, Operation, Outcome, Report, Secret};
use serde::{Deserialize, Serialize};

/// How long the name of a card that is kept may be, in characters.
const ID_CHARS_MAX: usize = 64;

/// What a payment is paid with, and whose it is.
pub(super) struct Paid<'a> {
    pub(super) method: Method<'a>,
    /// Who has the card that is kept, or will be.
    pub(super) shopper: Option<&'a str>,
}

/// It lives as long as it takes to write the body, and borrows all that it names.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Method<'a> {
    Card(Scheme<'a>),
    Kept(Stored<'a>),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Scheme<'a> {
    r#type: &'static str,
    number: &'a str,
    expiry_month: String,
    expiry_year: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cvc: Option<&'a str>,
    holder_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    network_payment_reference: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stored<'a> {
    r#type: &'static str,
    stored_payment_method_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    network_payment_reference: Option<&'a str>,
}

/// A card that is to be kept, without a payment.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Keep<'a> {
    merchant_account: &'a str,
    payment_method: Scheme<'a>,
    recurring_processing_model: &'a str,
    shopper_reference: &'a str,
}

/// A card that is kept.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    id: String,
    shopper_reference: String,
    r#type: String,
}

/// What the answer to a payment tells of a card that is kept.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payment {
    additional_data: Tokenization,
    merchant_reference: Option<String>,
}

#[derive(Deserialize)]
struct Tokenization {
    #[serde(rename = "tokenization.storedPaymentMethodId", alias = "recurring.recurringDetailReference")]
    id: String,
}

/// What became of a tokenization.
pub(super) fn read(key: Option<&str>, answer: &Answer<'_>) -> Report {
    match resource(key, answer) {
        Some(_) => Report::bare(Outcome::Approved),
        None if answer.status < 400 => Report::bare(UNREADABLE),
        None => failure(Kind::Tokenize, answer),
    }
}

/// The merchant's name for the card that is kept since this answer.
pub(super) fn token<C>(operation: &Operation<C>, answer: &Answer<'_>) -> Option<Secret> {
    let key = &*operation.key;
    let id = if operation.kind() == Kind::Tokenize {
        resource(Some(key), answer)?
    } else {
        let payment: Payment = answer.json().filter(|_| answer.status == 200)?;
        let told = payment.merchant_reference.as_deref();
        let ours = told.is_none_or(|told| told == operation.reference());
        Some(payment.additional_data.id).filter(|_| ours)?
    };
    is_id(&id).then(|| means::join(key, &id))
}

fn resource(key: Option<&str>, answer: &Answer<'_>) -> Option<String> {
    let Resource { id, shopper_reference, r#type } =
        answer.json().filter(|_| matches!(answer.status, 200 | 201))?;
    let ours = key.is_none_or(|wanted| wanted == shopper_reference);
    (ours && r#type == "scheme" && is_id(&id)).then_some(id)
}

fn is_id(text: &str) -> bool {
    (1..=ID_CHARS_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

// === impl Paid ===

impl<'a> Paid<'a> {
    /// `original` is the scheme's name for the payment at which it was agreed on.
    pub(super) fn of(
        authorization: &'a Authorization<Card>,
        key: &'a str,
        original: Option<&'a str>,
    ) -> Result<Self, Refusal> {
        match &authorization.means {
            Means::Card(card) => {
                let method = Method::Card(Scheme::of(card, original));
                Ok(Self { method, shopper: authorization.generate_token.then_some(key) })
            }
            Means::Token(token) => {
                let ids = means::split(token).filter(|(_, id)| is_id(id));
                let refused = refuse(means::TOKEN, "is not a card that Adyen keeps");
                let (shopper, id) = ids.ok_or(refused)?;
                let method = Method::Kept(Stored::of(id, original));
                Ok(Self { method, shopper: Some(shopper) })
            }
        }
    }
}

// === impl Scheme ===

impl<'a> Scheme<'a> {
    fn of(card: &'a Card, network_payment_reference: Option<&'a str>) -> Self {
        Self {
            r#type: "scheme",
            // The number is exposed because the provider can only charge a card that it is told.
            number: card.pan.expose(),
            expiry_month: format!("{:02}", card.expiry.month()),
            expiry_year: card.expiry.year().to_string(),
            // The value is exposed because the issuer checks it; it is in this request and no other.
            cvc: card.cvv.as_ref().map(model::Cvv::expose),
            // The holder is exposed because this request is the one that carries the name.
            holder_name: card.holder.expose(),
            network_payment_reference,
        }
    }
}

// === impl Stored ===

impl<'a> Stored<'a> {
    fn of(id: &'a str, network_payment_reference: Option<&'a str>) -> Self {
        Self { r#type: "scheme", stored_payment_method_id: id, network_payment_reference }
    }
}

// === impl Keep ===

impl<'a> Keep<'a> {
    /// The shopper is named by our key: nobody else has it.
    pub(super) fn of(
        card: &'a Card,
        merchant_account: &'a str,
        recurring_processing_model: &'a str,
        key: &'a str,
    ) -> Self {
        Self {
            merchant_account,
            payment_method: Scheme::of(card, None),
            recurring_processing_model,
            shopper_reference: key,
        }
    }
}

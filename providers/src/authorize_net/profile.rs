//! Cards that Authorize.Net keeps: each is the payment profile of a customer profile of its own.
//!
//! A payment names both, so the merchant is told both. A payment with a card makes the two by itself
//! where it is asked to. <https://developer.authorize.net/api/reference/#customer-profiles>

use super::answer::{Expected, Told};
use super::payment::{BillTo, Payment};
use super::{is_id, refuse};
use crate::wire::Answer;
use crate::{Refusal, means};
use model::{Kind, Operation, Secret, Tokenization};
use serde::{Deserialize, Serialize};

/// A customer with one card.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Customer<'a> {
    /// A second customer with the same name is refused, so it is ours.
    merchant_customer_id: &'a str,
    payment_profiles: Kept<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Kept<'a> {
    customer_type: &'static str,
    bill_to: BillTo<'a>,
    payment: Payment<'a>,
}

/// What a payment is paid with, or that it is to make a profile.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Profile<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    create_profile: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    customer_profile_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_profile: Option<PaymentProfile<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PaymentProfile<'a> {
    payment_profile_id: &'a str,
}

/// The two profiles that a payment made, as its answer names them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Made {
    customer_profile_id: Option<String>,
    customer_payment_profile_id_list: Option<Vec<String>>,
}

/// The merchant's name for the card that is kept since this answer.
pub(super) fn told<C>(operation: &Operation<C>, answer: &Answer<'_>) -> Option<Secret> {
    let told = Told::read(answer).filter(|_| answer.status == 200)?;
    let told = Some(told).filter(|told| Expected::of(operation, None).is_meant(told))?;
    if operation.kind() == Kind::Tokenize {
        return told.kept();
    }
    told.profile_response?.name()
}

// === impl Customer ===

impl<'a> Customer<'a> {
    pub(super) fn of(
        name: &'a str,
        tokenization: &'a Tokenization<model::Card>,
    ) -> Result<Self, Refusal> {
        if tokenization.network_token.is_some() {
            return Err(refuse("networkTokenBrand", "network tokens are not supported"));
        }
        let card = &tokenization.card;
        Ok(Self {
            merchant_customer_id: name,
            payment_profiles: Kept {
                customer_type: "individual",
                bill_to: BillTo::of(card, tokenization.payer.as_ref()),
                payment: Payment::unverified(card),
            },
        })
    }
}

// === impl Profile ===

impl<'a> Profile<'a> {
    pub(super) fn new() -> Self {
        Self { create_profile: Some(true), ..Self::default() }
    }

    /// The profiles that the merchant was told of.
    pub(super) fn of(token: &'a Secret) -> Result<Self, Refusal> {
        let ids = means::split(token).filter(|(customer, card)| is_id(customer) && is_id(card));
        let (customer, payment_profile_id) =
            ids.ok_or(refuse(means::TOKEN, "is not a card that Authorize.Net keeps"))?;
        Ok(Self {
            customer_profile_id: Some(customer),
            payment_profile: Some(PaymentProfile { payment_profile_id }),
            ..Self::default()
        })
    }
}

// === impl Made ===

impl Made {
    fn name(&self) -> Option<Secret> {
        let Self { customer_profile_id: customer, customer_payment_profile_id_list: cards } = self;
        name(customer.as_deref(), cards.as_deref())
    }
}

/// Both names in one, where there is one of each.
pub(super) fn name(customer: Option<&str>, cards: Option<&[String]>) -> Option<Secret> {
    let customer = customer.filter(|id| is_id(id))?;
    match cards? {
        [card] if is_id(card) => Some(means::join(customer, card)),
        _ => None,
    }
}

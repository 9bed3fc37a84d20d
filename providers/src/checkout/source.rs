//! What is paid with at Checkout.com: a card, or one that it keeps.

use super::token;
use crate::Refusal;
use crate::stored::{Kept, Usage};
use model::{Authorization, Card, Means, Payer};
use serde::Serialize;

/// What is paid with. It lives as long as it takes to write the body, and borrows all that it names.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Source<'a> {
    Card(CardSource<'a>),
    Instrument(InstrumentSource<'a>),
}

/// A card that Checkout.com keeps.
#[derive(Serialize)]
pub(super) struct InstrumentSource<'a> {
    r#type: &'static str,
    id: &'a str,
}

#[derive(Serialize)]
pub(super) struct CardSource<'a> {
    r#type: &'static str,
    number: &'a str,
    expiry_month: u8,
    expiry_year: u16,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cvv: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stored: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    billing_address: Option<Address<'a>>,
}

#[derive(Serialize)]
struct Address<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    address_line1: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address_line2: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    city: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zip: Option<&'a str>,
    country: &'a str,
}

// === impl Source ===

impl<'a> Source<'a> {
    pub(super) fn of(
        authorization: &'a Authorization<Card>,
        kept: Option<Kept<'_>>,
    ) -> Result<Self, Refusal> {
        Ok(match &authorization.means {
            Means::Card(card) => Self::card(card, authorization.payer.as_ref(), kept),
            Means::Token(token) => {
                let id = token::instrument_of(token)?;
                Self::Instrument(InstrumentSource { r#type: "id", id })
            }
        })
    }

    pub(super) fn card(card: &'a Card, payer: Option<&'a Payer>, kept: Option<Kept<'_>>) -> Self {
        Self::Card(CardSource {
            r#type: "card",
            // The number is exposed because the provider can only charge a card that it is told.
            number: card.pan.expose(),
            expiry_month: card.expiry.month(),
            expiry_year: card.expiry.year(),
            // The holder is exposed because this request is the one that carries the name.
            name: card.holder.expose(),
            // The value is exposed because the issuer checks it; it is in this request and no other.
            cvv: card.cvv.as_ref().map(model::Cvv::expose),
            stored: kept.map(|kept| kept.usage != Usage::First),
            billing_address: payer.map(Address::of),
        })
    }
}

// === impl Address ===

impl<'a> Address<'a> {
    /// Checkout.com has two lines: the second and the third of ours share one.
    fn of(payer: &'a Payer) -> Self {
        let [line1, line2, line3] = payer.address.each_ref().map(Option::as_deref);
        let rest: Vec<&str> = [line2, line3].into_iter().flatten().collect();
        Self {
            address_line1: line1,
            address_line2: (!rest.is_empty()).then(|| rest.join(", ")),
            city: payer.city.as_deref(),
            state: payer.state.as_deref(),
            zip: payer.post_code.as_deref(),
            country: &payer.country,
        }
    }
}

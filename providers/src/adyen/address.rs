//! Where the cardholder lives, as Adyen wants it.

use crate::wire::cut;
use model::Payer;
use serde::Serialize;

/// What stands where Adyen asks for a part of an address that we were not told.
const NOT_AVAILABLE: &str = "N/A";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Address<'a> {
    street: &'a str,
    house_number_or_name: std::borrow::Cow<'a, str>,
    city: &'a str,
    postal_code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_or_province: Option<&'a str>,
    country: &'a str,
}

// === impl Address ===

impl<'a> Address<'a> {
    /// The address as Adyen wants it, all of it or nothing: a country alone is none.
    ///
    /// Our first line is the street; the others, where a house has a name or a flat a number, are
    /// the house.
    pub(super) fn of(payer: &'a Payer) -> Option<Self> {
        let [line1, line2, line3] = payer.address.each_ref().map(Option::as_deref);
        let (city, postal_code) = (payer.city.as_deref(), payer.post_code.as_deref());
        line1.or(city).or(postal_code)?;
        let house_number_or_name = match (line2, line3) {
            (Some(house), Some(more)) => format!("{house}, {more}").into(),
            (house, more) => house.or(more).unwrap_or(NOT_AVAILABLE).into(),
        };
        Some(Self {
            street: line1.unwrap_or(NOT_AVAILABLE),
            house_number_or_name,
            city: city.unwrap_or(NOT_AVAILABLE),
            postal_code: postal_code.map_or(NOT_AVAILABLE, |code| short(code, &payer.country)),
            state_or_province: payer.state.as_deref().or(state_of_nobody(&payer.country)),
            country: &payer.country,
        })
    }
}

/// A post code of the United States is its first five digits, and another's has ten at most.
fn short<'a>(post_code: &'a str, country: &str) -> &'a str {
    cut(post_code, if country == "US" { 5 } else { 10 })
}

/// In two countries an address without a state is refused.
fn state_of_nobody(country: &str) -> Option<&'static str> {
    matches!(country, "CA" | "US").then_some(NOT_AVAILABLE)
}

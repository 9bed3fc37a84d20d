//! A payment, as CyberSource wants it written.

use super::instrument::{self, Instrument};
use super::kept::{Options, channel};
use super::{ClientReference, Details, Order, brand, refuse};
use crate::{Cx, Refusal, stored, three_ds};
use model::{Authorization, Capture, Card, Means, Payer, Tokenization};
use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Payment<'a> {
    client_reference_information: ClientReference<'a>,
    processing_information: Processing<'a>,
    payment_information: PaymentInformation<'a>,
    order_information: Order<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_information: Option<Device>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer_authentication_information: Option<Authentication<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Processing<'a> {
    capture: bool,
    commerce_indicator: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    action_list: Option<[instrument::Also; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action_token_types: Option<[instrument::Made; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization_options: Option<Options<'a>>,
}

/// What is paid with.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum PaymentInformation<'a> {
    Card(CardInformation<'a>),
    PaymentInstrument(Instrument<'a>),
}

/// A card. It lives as long as it takes to write the body, and borrows all that it names.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CardInformation<'a> {
    number: &'a str,
    expiration_month: String,
    expiration_year: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    security_code: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BillTo<'a> {
    first_name: &'a str,
    last_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    address1: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address2: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    locality: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    administrative_area: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    postal_code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    country: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Device {
    ip_address: std::net::IpAddr,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Authentication<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    cavv: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ucaf_authentication_data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ucaf_collection_indicator: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    directory_server_transaction_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    xid: Option<&'a str>,
    eci_raw: &'static str,
    pa_specification_version: &'a str,
}

// === impl Payment ===

impl<'a> Payment<'a> {
    pub(super) fn of(
        reference: ClientReference<'a>,
        authorization: &'a Authorization<Card>,
    ) -> Result<Self, Refusal> {
        if authorization.network_token.is_some() {
            return Err(refuse("networkTokenBrand", "network tokens are not supported"));
        }
        let payer = authorization.payer.as_ref();
        let brand = brand_of(&authorization.means);
        let checked = authorization.three_ds.as_ref().map(three_ds::check).transpose()?;
        let kept = stored::check(authorization)?;
        let indicator = checked.as_ref().map(|checked| brand::indicator(brand, checked.eci));
        if authorization.amount.minor() == 0 && authorization.capture == Capture::Now {
            return Err(refuse("amount", "must be more than zero"));
        }
        Ok(Self {
            client_reference_information: reference,
            processing_information: Processing {
                capture: authorization.capture == Capture::Now,
                commerce_indicator: indicator.unwrap_or(kept.map_or("internet", channel)),
                authorization_options: kept.map(Options::of),
                ..Processing::keeping(authorization.generate_token)
            },
            payment_information: PaymentInformation::of(&authorization.means)?,
            order_information: Order {
                amount_details: Details::of(authorization.amount)?,
                bill_to: BillTo::of_means(&authorization.means, payer),
            },
            device_information: payer.map(|payer| Device { ip_address: payer.ip }),
            consumer_authentication_information: checked
                .map(|checked| Authentication::of(brand, &checked)),
        })
    }

    /// A card that is kept, and of which nothing is authorized: the issuer says whether it is good.
    pub(super) fn of_nothing(
        reference: ClientReference<'a>,
        tokenization: &'a Tokenization<Card>,
        cx: &Cx<'_>,
    ) -> Result<Self, Refusal> {
        let Tokenization { card, network_token, payer } = tokenization;
        if network_token.is_some() {
            return Err(refuse("networkTokenBrand", "network tokens are not supported"));
        }
        Ok(Self {
            client_reference_information: reference,
            processing_information: Processing::keeping(true),
            payment_information: PaymentInformation::Card(CardInformation::of(card)),
            order_information: Order {
                amount_details: Details::of(instrument::nothing(cx)?)?,
                bill_to: Some(BillTo::of(card, payer.as_ref())),
            },
            device_information: payer.as_ref().map(|payer| Device { ip_address: payer.ip }),
            consumer_authentication_information: None,
        })
    }
}

fn brand_of(means: &Means<Card>) -> Option<brand::Brand> {
    match means {
        // The number is exposed for its scheme, by which authentications are named.
        Means::Card(card) => brand::of(card.pan.expose()),
        Means::Token(_) => None,
    }
}

// === impl Processing ===

impl Processing<'_> {
    /// A hold that keeps its card, or does not.
    fn keeping(keeps: bool) -> Self {
        Self {
            capture: false,
            commerce_indicator: "internet",
            action_list: keeps.then_some([instrument::Also::CreateToken]),
            action_token_types: keeps.then_some([instrument::Made::PaymentInstrument]),
            authorization_options: None,
        }
    }
}

// === impl PaymentInformation ===

impl<'a> PaymentInformation<'a> {
    fn of(means: &'a Means<Card>) -> Result<Self, Refusal> {
        match means {
            Means::Card(card) => Ok(Self::Card(CardInformation::of(card))),
            Means::Token(token) => Ok(Self::PaymentInstrument(Instrument::of(token)?)),
        }
    }
}

// === impl CardInformation ===

impl<'a> CardInformation<'a> {
    fn of(card: &'a Card) -> Self {
        // The number is exposed because the provider can only charge a card that it is told.
        let number = card.pan.expose();
        Self {
            number,
            expiration_month: format!("{:02}", card.expiry.month()),
            expiration_year: card.expiry.year().to_string(),
            // The value is exposed because the issuer checks it; it is in this request and no other.
            security_code: card.cvv.as_ref().map(model::Cvv::expose),
            kind: brand::of(number).map(brand::Brand::code),
        }
    }
}

// === impl BillTo ===

impl<'a> BillTo<'a> {
    /// Who has a card that is kept is kept with it.
    fn of_means(means: &'a Means<Card>, payer: Option<&'a Payer>) -> Option<Self> {
        match means {
            Means::Card(card) => Some(Self::of(card, payer)),
            Means::Token(_) => None,
        }
    }

    /// CyberSource wants two names and has two lines: the last word of the holder's name is the
    /// last name, and the second and the third line of ours share one.
    fn of(card: &'a Card, payer: Option<&'a Payer>) -> Self {
        // The holder is exposed because this request is the one that carries the name.
        let name = card.holder.expose();
        let (first_name, last_name) = name.rsplit_once(' ').unwrap_or((name, name));
        let line = |nth: usize| payer.and_then(|payer| payer.address.get(nth)?.as_deref());
        let rest: Vec<&str> = [line(1), line(2)].into_iter().flatten().collect();
        Self {
            first_name,
            last_name,
            address1: line(0),
            address2: (!rest.is_empty()).then(|| rest.join(", ")),
            locality: payer.and_then(|payer| payer.city.as_deref()),
            administrative_area: payer.and_then(|payer| payer.state.as_deref()),
            postal_code: payer.and_then(|payer| payer.post_code.as_deref()),
            country: payer.map(|payer| &*payer.country),
        }
    }
}

// === impl Authentication ===

impl<'a> Authentication<'a> {
    fn of(brand: Option<brand::Brand>, checked: &three_ds::Checked<'a>) -> Self {
        // The value is exposed because the issuer checks it; the provider passes it on.
        let value = checked.value.expose();
        let is_mastercard = brand == Some(brand::Brand::Mastercard);
        let second = checked.generation == three_ds::Generation::Second;
        let full = checked.eci == "02";
        Self {
            cavv: (!is_mastercard).then_some(value),
            ucaf_authentication_data: is_mastercard.then_some(value),
            ucaf_collection_indicator: is_mastercard.then_some(if full { "2" } else { "1" }),
            directory_server_transaction_id: second.then_some(checked.transaction),
            xid: (!second).then_some(checked.transaction),
            eci_raw: checked.eci,
            pa_specification_version: checked.version,
        }
    }
}

//! A payment, as Worldpay wants it written.

use super::account::{ENTITY, NARRATIVE};
use super::{refuse, token, units};
use crate::stored::{self, Kept, Usage};
use crate::three_ds::{self, Checked, Generation};
use crate::{Cx, Refusal};
use model::{Amount, Authorization, Capture, Card, Means, Operation, Payer, StoredPurpose};
use model::{StoredUsage, ThreeDs};
use serde::Serialize;

/// How long the merchant's name for an order may be, in characters.
const ORDER_REFERENCE_CHARS_MAX: usize = 64;

/// What is paid in parts.
const INSTALLMENT: &str = "installment";

/// How long the name of a state may be, in characters: it is a code.
const STATE_CHARS_MAX: usize = 3;

/// How many characters a transaction's id at the directory server has (RFC 4122).
const UUID_CHARS: usize = 36;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Payment<'a> {
    /// Worldpay takes each only once, so it is ours: a merchant may use its own again.
    transaction_reference: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_reference: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'static str>,
    merchant: Merchant<'a>,
    instruction: Instruction<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authentication: Option<Authentication<'a>>,
}

#[derive(Serialize)]
pub(super) struct Merchant<'a> {
    pub(super) entity: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Instruction<'a> {
    request_auto_settlement: AutoSettlement,
    narrative: Narrative<'a>,
    value: Money,
    payment_instrument: Instrument<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    customer_agreement: Option<Agreement<'a>>,
}

/// What the cardholder agreed on.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Agreement<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    installment_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stored_card_usage: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scheme_reference: Option<&'a str>,
}

#[derive(Serialize)]
struct AutoSettlement {
    enabled: bool,
}

#[derive(Serialize)]
struct Narrative<'a> {
    line1: &'a str,
}

#[derive(Serialize)]
pub(super) struct Money {
    currency: String,
    amount: u64,
}

/// What is paid with.
#[derive(Serialize)]
#[serde(tag = "type")]
enum Instrument<'a> {
    #[serde(rename = "card/plain")]
    Plain(Plain<'a>),
    #[serde(rename = "card/token")]
    Token { href: &'a str },
}

/// A card. It lives as long as it takes to write the body, and borrows all that it names.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Plain<'a> {
    card_holder_name: &'a str,
    card_number: &'a str,
    expiry_date: Expiry,
    #[serde(skip_serializing_if = "Option::is_none")]
    cvc: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    billing_address: Option<Address<'a>>,
}

#[derive(Serialize)]
pub(super) struct Expiry {
    month: u8,
    year: u16,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Address<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    address1: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address2: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address3: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    city: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'a str>,
    postal_code: &'a str,
    country_code: &'a str,
}

#[derive(Serialize)]
struct Authentication<'a> {
    #[serde(rename = "threeDS")]
    three_ds: Authenticated<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Authenticated<'a> {
    version: &'a str,
    eci: &'static str,
    authentication_value: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_id: Option<&'a str>,
}

// === impl Payment ===

impl<'a> Payment<'a> {
    pub(super) fn of(
        operation: &'a Operation<Card>,
        authorization: &'a Authorization<Card>,
        cx: &Cx<'a>,
    ) -> Result<Self, Refusal> {
        if authorization.network_token.is_some() {
            return Err(refuse("networkTokenBrand", "network tokens are not supported"));
        }
        let entity = cx.need(&ENTITY, "Entity is missing")?;
        let by_merchant = is_by_merchant(authorization);
        Ok(Self {
            transaction_reference: &operation.key,
            order_reference: order_reference(operation)?,
            channel: (!by_merchant).then_some("ecom"),
            // The entity is exposed because every payment names it; it is not a secret.
            merchant: Merchant { entity: entity.expose() },
            instruction: Instruction::of(authorization, cx)?,
            authentication: authorization.three_ds.as_ref().map(Authentication::of).transpose()?,
        })
    }
}

/// Whether the merchant takes the payment, which goes elsewhere at Worldpay.
pub(super) fn is_by_merchant<C>(authorization: &Authorization<C>) -> bool {
    let usage = authorization.stored.as_ref().map(|stored| &stored.usage);
    matches!(usage, Some(StoredUsage::Merchant { .. }))
}

/// Where payments go that the merchant takes, and where the others.
pub(super) fn transactions(by_merchant: bool) -> &'static str {
    if by_merchant { "merchantInitiatedTransactions" } else { "customerInitiatedTransactions" }
}

/// The merchant's own name for it, as long as Worldpay can hold it.
fn order_reference(operation: &Operation<Card>) -> Result<Option<&str>, Refusal> {
    let Some(reference) = operation.merchant_reference.as_deref() else { return Ok(None) };
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_!@#$%()*=.:;?[]{}~/+".contains(&b);
    let fits = reference.len() <= ORDER_REFERENCE_CHARS_MAX && reference.bytes().all(allowed);
    if reference.is_empty() || !fits {
        return Err(refuse("myRef", "must be 1 to 64 letters, digits and -_!@#$%()*=.:;?[]{}~/+"));
    }
    Ok(Some(reference))
}

// === impl Instruction ===

impl<'a> Instruction<'a> {
    fn of(authorization: &'a Authorization<Card>, cx: &Cx<'a>) -> Result<Self, Refusal> {
        let narrative = cx.need(&NARRATIVE, "Narrative is missing")?;
        Ok(Self {
            request_auto_settlement: AutoSettlement {
                enabled: authorization.capture == Capture::Now,
            },
            // The narrative is exposed because the cardholder is to read it.
            narrative: Narrative { line1: narrative.expose() },
            value: Money::of(authorization.amount)?,
            payment_instrument: Instrument::of(authorization, cx)?,
            customer_agreement: stored::check(authorization)?.map(Agreement::of),
        })
    }
}

// === impl Agreement ===

impl<'a> Agreement<'a> {
    fn of(kept: Kept<'a>) -> Self {
        let plan = plan(kept.purpose);
        let (r#type, stored_card_usage) = match kept.usage {
            // What is taken at no set times begins with a card on file.
            Usage::First => (plan.unwrap_or("cardOnFile"), Some("first")),
            Usage::Cardholder => ("cardOnFile", Some("subsequent")),
            Usage::Merchant => (plan.unwrap_or("unscheduled"), None),
        };
        Self {
            r#type,
            // The other type is for Latin America.
            installment_type: (r#type == INSTALLMENT).then_some("merchant"),
            stored_card_usage,
            scheme_reference: kept.original.filter(|_| kept.is_by_merchant()),
        }
    }
}

/// What was agreed on, where that is more than a card on file.
fn plan(purpose: Option<StoredPurpose>) -> Option<&'static str> {
    match purpose {
        Some(StoredPurpose::Installment) => Some(INSTALLMENT),
        Some(StoredPurpose::Recurring) => Some("subscription"),
        Some(StoredPurpose::Unscheduled) | None => None,
    }
}

// === impl Money ===

impl Money {
    pub(super) fn of(amount: Amount) -> Result<Self, Refusal> {
        Ok(Self { currency: amount.currency().code().to_owned(), amount: units(amount)? })
    }
}

// === impl Instrument ===

impl<'a> Instrument<'a> {
    /// A payment keeps no card, and by the time that one is kept its verification value is gone.
    fn of(authorization: &'a Authorization<Card>, cx: &Cx<'_>) -> Result<Self, Refusal> {
        match &authorization.means {
            Means::Card(_) if authorization.generate_token => Err(Refusal::Unsupported),
            Means::Card(card) => Ok(Self::Plain(Plain::of(card, authorization))),
            Means::Token(token) => Ok(Self::Token { href: token::link(token, cx)? }),
        }
    }
}

// === impl Plain ===

impl<'a> Plain<'a> {
    fn of(card: &'a Card, authorization: &'a Authorization<Card>) -> Self {
        // What the merchant takes has none.
        let cvv = card.cvv.as_ref().filter(|_| !is_by_merchant(authorization));
        Self {
            // The holder is exposed because this request is the one that carries the name.
            card_holder_name: card.holder.expose(),
            // The number is exposed because the provider can only charge a card that it is told.
            card_number: card.pan.expose(),
            expiry_date: Expiry::of(card),
            // The value is exposed because the issuer checks it; it is in this request and no other.
            cvc: cvv.map(model::Cvv::expose),
            billing_address: authorization.payer.as_ref().and_then(Address::of),
        }
    }
}

// === impl Expiry ===

impl Expiry {
    pub(super) fn of(card: &Card) -> Self {
        Self { month: card.expiry.month(), year: card.expiry.year() }
    }
}

// === impl Address ===

impl<'a> Address<'a> {
    /// The address as Worldpay takes it: not without a post code, and a line and a city together.
    fn of(payer: &'a Payer) -> Option<Self> {
        let [first, ..] = &payer.address;
        let city = payer.city.as_deref().filter(|_| first.is_some());
        let [address1, address2, address3] =
            payer.address.each_ref().map(|line| line.as_deref().filter(|_| city.is_some()));
        let is_short = |state: &&str| state.chars().count() <= STATE_CHARS_MAX;
        Some(Self {
            address1,
            address2,
            address3,
            city,
            state: payer.state.as_deref().filter(is_short),
            postal_code: payer.post_code.as_deref()?,
            country_code: &payer.country,
        })
    }

    /// The address as it is kept: not without a line, a city and a post code.
    pub(super) fn whole(payer: &'a Payer) -> Option<Self> {
        let address = Self::of(payer).filter(|address| address.address1.is_some())?;
        Some(Self { state: payer.state.as_deref(), ..address })
    }
}

// === impl Authentication ===

impl<'a> Authentication<'a> {
    fn of(three_ds: &'a ThreeDs) -> Result<Self, Refusal> {
        let Checked { value, eci, generation, transaction, version } = three_ds::check(three_ds)?;
        let transaction_id = match generation {
            // There is no place for the XID.
            Generation::First => None,
            Generation::Second => Some(uuid(transaction)?),
        };
        // The value is exposed because the issuer checks it; the provider passes it on.
        let authentication_value = value.expose();
        Ok(Self { three_ds: Authenticated { version, eci, authentication_value, transaction_id } })
    }
}

fn uuid(text: &str) -> Result<&str, Refusal> {
    let shaped = text.len() == UUID_CHARS
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    shaped.then_some(text).ok_or(refuse(three_ds::XID, "must be a UUID at Worldpay"))
}

#[cfg(test)]
mod tests {
    use super::uuid;

    #[test]
    fn a_uuid_has_its_dashes_in_their_places() {
        assert!(uuid("c5b808e7-1de1-4069-a17b-f70d3b3b1645").is_ok());
        for text in ["", "c5b808e71de14069a17bf70d3b3b16450000", "c5b808e7-1de1-4069-a17b-f70d3b3b164g"]
        {
            assert!(uuid(text).is_err(), "{text}");
        }
    }
}

//! Cards that CyberSource keeps: payment instruments.
//!
//! A payment makes one by itself where it is asked to. To have a card kept without a payment,
//! nothing is authorized: the requests that only keep one want a card to be told in two halves, or
//! to be encrypted. <https://developer.cybersource.com/docs/cybs/en-us/tms/developer/all/rest/tms>

use super::{CURRENCY, refuse};
use crate::wire::Answer;
use crate::{CREDENTIALS, Cx, Refusal, means};
use model::{Amount, Currency, Kind, Operation, Pan, Secret};
use serde::{Deserialize, Serialize};

/// How many characters the name of an instrument has.
const NAME_CHARS: std::ops::RangeInclusive<usize> = 16..=32;

/// What a payment does besides.
#[derive(Clone, Copy, Serialize)]
pub(super) enum Also {
    #[serde(rename = "TOKEN_CREATE")]
    CreateToken,
}

/// What is made of a card.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Made {
    PaymentInstrument,
}

/// What is paid with.
#[derive(Serialize)]
pub(super) struct Instrument<'a> {
    id: &'a str,
}

/// What an answer tells of the card.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    client_reference_information: Option<super::answer::ClientReference>,
    status: String,
    token_information: Kept,
}

/// The names of a card that is kept.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Kept {
    payment_instrument: Option<Named>,
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

/// The merchant's name for the card that is kept since this answer.
pub(super) fn told<C>(operation: &Operation<C>, answer: &Answer<'_>) -> Option<Secret> {
    let told: Told = answer.json().filter(|_| matches!(answer.status, 200 | 201))?;
    let key = told.client_reference_information.and_then(|reference| reference.code);
    // Where it is not repeated, the rest of the answer counts all the same.
    let is_ours = key.is_none_or(|key| *key == *operation.key);
    let is_done = operation.kind() != Kind::Tokenize || told.status == "AUTHORIZED";
    told.token_information.name().filter(|_| is_ours && is_done).map(Secret::new)
}

/// No money, in the currency of the account.
pub(super) fn nothing(cx: &Cx<'_>) -> Result<Amount, Refusal> {
    let currency = cx.need(&CURRENCY, "Currency is missing: cards cannot be kept without it")?;
    // The currency is exposed because the request names it; it is not a secret.
    let nothing = Currency::parse(currency.expose()).ok().and_then(|c| Amount::new(0, c).ok());
    nothing.ok_or(refuse(CREDENTIALS, "Currency is not a currency"))
}

fn is_name(text: &str) -> bool {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric());
    NAME_CHARS.contains(&text.len()) && plain && !Pan::is_shaped(text)
}

// === impl Kept ===

impl Kept {
    pub(super) fn name(&self) -> Option<&str> {
        self.payment_instrument.as_ref().map(|named| &*named.id).filter(|name| is_name(name))
    }
}

// === impl Instrument ===

impl<'a> Instrument<'a> {
    /// What the merchant was told of.
    pub(super) fn of(token: &'a Secret) -> Result<Self, Refusal> {
        // The name is exposed because this request is the one that is paid with it.
        let id = token.expose();
        let wrong = refuse(means::TOKEN, "is not a card that CyberSource keeps");
        if is_name(id) { Ok(Self { id }) } else { Err(wrong) }
    }
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn instruments_are_no_card_numbers() {
        for (text, expected) in [
            ("0F3BB131F8143A58E063A2598D0AB921", true),
            ("4242424242424242", false),
            ("0F3BB131F8143A58E063A2598D0AB9210", false),
            ("0F3BB131F8143A5", false),
            ("0F3BB131-8143A58E063A2598D0AB921", false),
        ] {
            assert_eq!(is_name(text), expected, "{text}");
        }
    }
}

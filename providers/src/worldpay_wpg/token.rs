//! Cards that WPG keeps: tokens, each of a shopper of its own.
//!
//! A shopper token is charged in the name of its shopper, so the merchant is told both. A payment
//! makes one by itself where it is asked to. <https://docs.worldpay.com/wpg/tokenisation>

use super::answer::UNREADABLE;
use super::{has_address, refuse, service, write_address, write_expiry};
use crate::wire::xml::{Element, Xml};
use crate::wire::{Answer, Body};
use crate::{Cx, Refusal, means};
use model::{Card, Operation, Outcome, Pan, Report, Secret, Tokenization};

/// How long a shopper's name and that of a token may be, in characters.
const NAME_CHARS_MAX: usize = 64;

/// Who has a token, and which.
const SCOPE: (&str, &str) = ("tokenScope", "shopper");

/// Has a card kept. Its verification value is for a payment.
pub(super) fn create(
    key: &str,
    tokenization: &Tokenization<Card>,
    cx: &Cx<'_>,
) -> Result<Body, Refusal> {
    if tokenization.network_token.is_some() {
        return Err(refuse("networkTokenBrand", "network tokens are not supported"));
    }
    let Tokenization { card, payer, .. } = tokenization;
    let mut xml = service(cx)?;
    xml.open("submit", &[]);
    xml.open("paymentTokenCreate", &[]);
    xml.text("authenticatedShopperID", key);
    write_wish(&mut xml, key);
    xml.open("paymentInstrument", &[]);
    xml.open("cardDetails", &[]);
    xml.pan("cardNumber", &card.pan);
    write_expiry(&mut xml, card);
    xml.secret("cardHolderName", &card.holder);
    if let Some(payer) = payer.as_ref().filter(|payer| has_address(payer)) {
        write_address(&mut xml, payer);
    }
    Ok(xml.into_body())
}

/// Asks for a token.
pub(super) fn write_wish(xml: &mut Xml, key: &str) {
    xml.open("createToken", &[SCOPE]);
    xml.text("tokenEventReference", key);
    xml.close();
}

/// What is paid with.
pub(super) fn write_token(xml: &mut Xml, token: &str) {
    xml.open("TOKEN-SSL", &[SCOPE]);
    xml.text("paymentTokenID", token);
    xml.close();
}

/// Whose token it is.
pub(super) fn write_shopper(xml: &mut Xml, shopper: &str) {
    xml.open("shopper", &[]);
    xml.text("authenticatedShopperID", shopper);
    xml.close();
}

/// The shopper and the token that the merchant was told of.
pub(super) fn of(token: &Secret) -> Result<(&str, &str), Refusal> {
    let parts = means::split(token);
    let good = parts.filter(|(shopper, token)| is_shopper(shopper) && is_token(token));
    good.ok_or(refuse(means::TOKEN, "is not a card that Worldpay keeps"))
}

/// The merchant's name for the card that is kept since this answer.
pub(super) fn told<C>(operation: &Operation<C>, answer: &Answer<'_>) -> Option<Secret> {
    let document = (answer.status == 200).then(|| Element::parse(answer.body)).flatten()?;
    let reply = document.is("paymentService").then(|| document.child("reply"))??;
    let key = &*operation.key;
    let place = match reply.child("orderStatus") {
        Some(status) => (status.attribute("orderCode") == Some(key)).then_some(status)?,
        None => reply,
    };
    kept(place.child("token")?, key)
}

/// What became of a tokenization, by what stands beside an error in the reply.
pub(super) fn read(token: &Element, key: Option<&str>) -> Report {
    let kept = kept(token, key.unwrap_or_default());
    Report::bare(kept.map_or(UNREADABLE, |_| Outcome::Approved))
}

/// A token that is new, or was there with the same details; one with others is not what was sent.
fn kept(token: &Element, shopper: &str) -> Option<Secret> {
    let details = token.child("tokenDetails")?;
    let told = token.child("authenticatedShopperID").map(Element::words);
    let is_ours = told.is_none_or(|told| told == shopper);
    let is_same = matches!(details.attribute("tokenEvent")?, "NEW" | "MATCH");
    let id = details.child("paymentTokenID")?.words();
    (is_ours && is_same && is_token(id)).then(|| means::join(shopper, id))
}

/// Visible characters but quotes and angle brackets.
fn is_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'<' | b'>' | b'&');
    (1..=NAME_CHARS_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

fn is_shopper(text: &str) -> bool {
    is_name(text) && !text.starts_with('_') && !Pan::is_shaped(text)
}

/// Nineteen digits as a rule, which begin with 99, as no card does.
fn is_token(text: &str) -> bool {
    let card = Pan::is_shaped(text) && !text.starts_with("99");
    is_name(text) && !text.contains('/') && !card
}

#[cfg(test)]
mod tests {
    use super::{is_shopper, is_token};

    #[test]
    fn shoppers_and_tokens_are_no_card_numbers() {
        for (text, expected) in [
            ("9961191959944156907", true),
            ("efnhiuh7438rhf3hd9i3", true),
            ("4242424242424242", false),
            ("a/b", false),
            ("a b", false),
            ("", false),
            (&"a".repeat(65), false),
        ] {
            assert_eq!(is_token(text), expected, "{text}");
        }
        assert!(is_shopper("cust-77") && is_shopper("a/b"));
        for text in ["", "_a", "a b", "4242424242424242"] {
            assert!(!is_shopper(text), "{text}");
        }
    }
}

//! Tokens, each in a namespace.

use super::{Worldpay, invalid, new_id, refuse};
use crate::sandbox::shape::text;
use crate::sandbox::{Answer, cards};
use model::Expiry;
use serde_json::{Value, json};

const INSTRUMENT: &str = "/instruction/paymentInstrument";
/// Where tokens are.
const ROOT: &str = "https://try.access.worldpay.com/tokens/";

// === impl Worldpay ===

impl Worldpay {
    /// Keeps a card without a payment, and asks no issuer.
    pub(super) fn keep(&mut self, parameters: &Value) -> Result<Answer, Answer> {
        let card = parameters.get("paymentInstrument").unwrap_or(&Value::Null);
        check(card)?;
        let number = text(card, "/cardNumber").unwrap_or_default();
        let mut kept = json!({
            "type": "card/plain", "cardHolderName": card.get("cardHolderName"),
            "cardNumber": cards::kept(number), "expiryDate": card.get("cardExpiryDate"),
        });
        if let (Some(address), Some(kept)) = (card.get("billingAddress"), kept.as_object_mut()) {
            kept.insert("billingAddress".into(), address.clone());
        }
        let href = format!("{ROOT}{}", new_id("eyJ"));
        self.tokens.insert(href.clone(), kept);
        let shown = json!({
            "tokenPaymentInstrument": {"type": "card/tokenized", "href": href},
            "tokenId": "9902480679618049604", "namespace": parameters.get("namespace"),
            "tokenExpiryDateTime": "2099-06-24T09:19:35Z",
            "paymentInstrument": {
                "type": "card/masked", "cardHolderName": card.get("cardHolderName"),
                "cardNumber": format!("{}********{}", "4444", cards::last_four(number)),
            },
            "_links": {"tokens:token": {"href": href}},
        });
        Ok(Answer::json(201, &shown))
    }

    /// The request with the card in the place of its token.
    pub(super) fn with_card(&self, parameters: &Value) -> Result<Value, Answer> {
        let mut whole = parameters.clone();
        let instrument = parameters.pointer(INSTRUMENT).unwrap_or(&Value::Null);
        let has = |name: &str| instrument.get(name).is_some();
        let is_card = text(instrument, "/type") == Some("card/plain");
        let card = has("cardNumber") && has("expiryDate") && !has("href");
        let other = ["cardNumber", "expiryDate", "cardHolderName", "billingAddress"];
        let token = has("href") && !other.iter().any(|name| has(name));
        if !(is_card && card || !is_card && token) {
            let said = "The payment instrument is not valid";
            return Err(invalid("$.instruction.paymentInstrument", "fieldHasInvalidValue", said));
        }
        if let Some(href) = text(instrument, "/href") {
            let unknown = || refuse(400, "tokenNotFound", "The token is not known");
            let mut kept = self.tokens.get(&href.to_owned()).cloned().ok_or_else(unknown)?;
            if let (Some(cvc), Some(kept)) = (instrument.get("cvc"), kept.as_object_mut()) {
                kept.insert("cvc".into(), cvc.clone());
            }
            if let Some(place) = whole.pointer_mut(INSTRUMENT) {
                *place = kept;
            }
        }
        Ok(whole)
    }
}

fn check(card: &Value) -> Result<(), Answer> {
    let part = |name: &str| {
        let at = format!("/cardExpiryDate/{name}");
        card.pointer(&at).and_then(Value::as_u64).unwrap_or_default()
    };
    let month = u8::try_from(part("month")).unwrap_or_default();
    let year = u16::try_from(part("year")).unwrap_or_default();
    let number = text(card, "/cardNumber").unwrap_or_default();
    let wrong = |name: &str, said: &str| {
        Err(invalid(&format!("$.paymentInstrument.{name}"), "fieldHasInvalidValue", said))
    };
    if !cards::is_number(number) {
        return wrong("cardNumber", "The card number is not valid");
    }
    if Expiry::new(month, year).is_err() {
        return wrong("cardExpiryDate", "The date is not valid");
    }
    Ok(())
}

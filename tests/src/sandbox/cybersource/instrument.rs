//! Payment instruments: the cards that are kept.

use super::{Cybersource, invalid};
use crate::sandbox::shape::text;
use crate::sandbox::{Answer, cards};
use rand::Rng as _;
use serde_json::{Value, json};

const INFORMATION: &str = "/paymentInformation";

/// Whether a request asks for its card to be kept.
pub(super) fn is_wanted(parameters: &Value) -> bool {
    let list = |name: &str| parameters.pointer(&format!("/processingInformation/{name}"));
    list("actionList") == Some(&json!(["TOKEN_CREATE"]))
        && list("actionTokenTypes") == Some(&json!(["paymentInstrument"]))
}

// === impl Cybersource ===

impl Cybersource {
    /// Keeps the card of a payment, and names it.
    pub(super) fn keep(&mut self, parameters: &Value) -> Value {
        let card = parameters.pointer("/paymentInformation/card").unwrap_or(&Value::Null);
        let number = text(card, "/number").unwrap_or_default();
        let kept = json!({
            "number": cards::kept(number), "expirationMonth": card.get("expirationMonth"),
            "expirationYear": card.get("expirationYear"), "type": card.get("type"),
        });
        let id = format!("{:032X}", rand::rng().random::<u128>());
        self.instruments.insert(id.clone(), kept);
        json!({
            "instrumentIdentifierNew": true, "paymentInstrument": {"id": id},
            "instrumentIdentifier": {"id": "7010000000016241112", "state": "ACTIVE"},
        })
    }

    /// The request with the card in the place of the instrument; one of them must be there.
    pub(super) fn with_card(&self, parameters: &Value) -> Result<Value, Answer> {
        let mut whole = parameters.clone();
        let part = |name: &str| parameters.pointer(&format!("{INFORMATION}/{name}"));
        let id = match (part("card"), part("paymentInstrument")) {
            (Some(_), None) => return Ok(whole),
            (None, Some(instrument)) => text(instrument, "/id").unwrap_or_default().to_owned(),
            (Some(_), Some(_)) => return Err(invalid("INVALID_DATA")),
            (None, None) => return Err(invalid("MISSING_FIELD")),
        };
        let card = self.instruments.get(&id).ok_or_else(|| invalid("INVALID_DATA"))?;
        if let Some(place) = whole.pointer_mut(INFORMATION) {
            *place = json!({"card": card});
        }
        Ok(whole)
    }
}

//! Tokens, which are good for a quarter of an hour, and instruments, which are kept.

use super::payment::check_card;
use super::{Checkout, invalid, new_id};
use crate::sandbox::{Answer, cards};
use crate::sandbox::shape::text;
use serde_json::{Value, json};

// === impl Checkout ===

impl Checkout {
    /// Makes a token of a card.
    pub(super) fn tokenize(&mut self, parameters: &Value) -> Result<Answer, Answer> {
        let number = text(parameters, "/number").unwrap_or_default();
        check_card(&json!({ "source": parameters }), number)?;
        let token = new_id("tok_");
        self.tokens.insert(token.clone(), kept(parameters));
        let shown = json!({
            "type": "card", "token": token, "expires_on": "2099-12-31T23:59:59Z",
            "expiry_month": parameters.get("expiry_month"),
            "expiry_year": parameters.get("expiry_year"), "last4": cards::last_four(number),
        });
        Ok(Answer::json(201, &shown))
    }

    /// Makes an instrument of a token, which is used up.
    pub(super) fn store(&mut self, parameters: &Value) -> Result<Answer, Answer> {
        let token = text(parameters, "/token").unwrap_or_default().to_owned();
        let card = self.tokens.get(&token).cloned().ok_or_else(|| invalid("token_invalid"))?;
        self.tokens.remove(&token);
        let shown = json!({
            "id": self.keep(card), "type": "card", "fingerprint": "vnsdrvikkvre3dtrjjvlm5du4q",
        });
        Ok(Answer::json(201, &shown))
    }

    /// The request with the card in the place of the instrument, and its name. A card becomes an
    /// instrument by itself.
    pub(super) fn with_card(&mut self, parameters: &Value) -> Result<(Value, String), Answer> {
        let mut whole = parameters.clone();
        let Some(id) = text(parameters, "/source/id").map(str::to_owned) else {
            let name = self.keep(kept(parameters.get("source").unwrap_or(&Value::Null)));
            return Ok((whole, name));
        };
        let card = self.instruments.get(&id).cloned();
        let card = card.ok_or_else(|| invalid("source_id_invalid"))?;
        if let Some(object) = whole.as_object_mut() {
            object.insert("source".into(), card);
        }
        Ok((whole, id))
    }

    fn keep(&mut self, card: Value) -> String {
        let id = new_id("src_");
        self.instruments.insert(id.clone(), card);
        id
    }
}

/// A card as it may be kept: see [`cards::kept`]. Its verification value may not.
fn kept(card: &Value) -> Value {
    let number = text(card, "/number").unwrap_or_default();
    json!({
        "type": "card", "number": cards::kept(number), "expiry_month": card.get("expiry_month"),
        "expiry_year": card.get("expiry_year"), "name": card.get("name"),
    })
}

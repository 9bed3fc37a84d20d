//! Cards that are kept for a shopper.

use super::payment::check_card;
use super::{Adyen, invalid, new_reference};
use crate::sandbox::{Answer, cards};
use crate::sandbox::shape::text;
use serde_json::{Value, json};

/// A card as it is kept: without its verification value.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    shopper: String,
    /// What a payment says of a card.
    method: Value,
}

// === impl Adyen ===

impl Adyen {
    /// Keeps a card without a payment. The real one may ask the issuer; this one looks at the number.
    pub(super) fn store(&mut self, parameters: &Value) -> Result<Answer, Answer> {
        let number = text(parameters, "/paymentMethod/number").unwrap_or_default();
        check_card(parameters, number)?;
        let shopper = text(parameters, "/shopperReference").unwrap_or_default().to_owned();
        let id = self.keep(parameters, &shopper);
        let part = |name: &str| text(parameters, &format!("/paymentMethod/{name}"));
        let shown = json!({
            "id": id, "type": "scheme", "lastFour": cards::last_four(number),
            "expiryMonth": part("expiryMonth"), "expiryYear": part("expiryYear"),
            "holderName": part("holderName"), "shopperReference": shopper,
        });
        Ok(Answer::json(201, &shown))
    }

    /// Keeps the card of a request, and names it.
    pub(super) fn keep(&mut self, parameters: &Value, shopper: &str) -> String {
        let number = text(parameters, "/paymentMethod/number").unwrap_or_default();
        let part = |name: &str| text(parameters, &format!("/paymentMethod/{name}"));
        let method = json!({
            "type": "scheme", "number": cards::kept(number), "holderName": part("holderName"),
            "expiryMonth": part("expiryMonth"), "expiryYear": part("expiryYear"),
        });
        let id = new_reference();
        self.stored.insert(id.clone(), Stored { shopper: shopper.to_owned(), method });
        id
    }

    /// The request with the card in the place of the name that it has for the shopper.
    pub(super) fn with_card(&self, parameters: &Value) -> Result<Value, Answer> {
        let mut parameters = parameters.clone();
        let Some(id) = text(&parameters, "/paymentMethod/storedPaymentMethodId") else {
            return Ok(parameters);
        };
        let shopper = text(&parameters, "/shopperReference");
        let stored = self.stored.get(&id.to_owned());
        let stored = stored.filter(|stored| shopper == Some(&*stored.shopper));
        let stored = stored.ok_or_else(|| invalid("800", "Contract not found"))?;
        let method = stored.method.clone();
        if let Some(object) = parameters.as_object_mut() {
            object.insert("paymentMethod".into(), method);
        }
        Ok(parameters)
    }
}

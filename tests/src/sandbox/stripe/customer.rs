//! Customers: who has a payment method that is kept.

use super::error::Refused;
use super::{Stripe, new_id, now};
use crate::sandbox::cards::Script;
use crate::sandbox::shape::text;
use serde_json::{Value, json};

/// A test card that can be attached to a customer, and fails when it is charged.
const ATTACHED_AND_DECLINED: &str = "4000000000000341";

// === impl Stripe ===

impl Stripe {
    pub(super) fn create_customer(&mut self, parameters: &Value) -> Result<Value, Refused> {
        let id = new_id("cus_");
        let method = text(parameters, "/payment_method");
        if let Some(method) = method {
            self.attach(method, &id)?;
        }
        let default = text(parameters, "/invoice_settings/default_payment_method");
        if default.is_some() && default != method {
            let message = "The customer does not have a payment method with this ID.";
            let param = "invoice_settings[default_payment_method]";
            return Err(Refused::invalid(Some("resource_missing"), Some(param), message));
        }
        Ok(json!({
            "id": id, "object": "customer", "created": now(), "livemode": false,
            "description": text(parameters, "/description"),
            "name": text(parameters, "/name"), "email": text(parameters, "/email"),
            "invoice_settings": {
                "custom_fields": null, "default_payment_method": default, "footer": null,
                "rendering_options": null,
            },
            "metadata": parameters.get("metadata").cloned().unwrap_or_else(|| json!({})),
        }))
    }

    /// The issuer is asked when a card is attached.
    fn attach(&mut self, method: &str, customer: &str) -> Result<(), Refused> {
        let missing = || Refused::missing("PaymentMethod", "payment_method", method);
        let found = self.methods.get_mut(&method.to_owned()).ok_or_else(missing)?;
        if found.used || found.customer.is_some() {
            let message = "The payment method was used before, or has a customer already.";
            return Err(Refused::invalid(None, Some("payment_method"), message));
        }
        match found.script {
            Script::Decline(code, decline) if found.number != ATTACHED_AND_DECLINED => {
                let message = "Your card was declined.";
                let refused = Refused::card(code, "", message);
                Err(refused.with("decline_code", decline.into()))
            }
            Script::Approve | Script::Authenticate | Script::Challenge(_) | Script::Decline(..) => {
                found.customer = Some(customer.to_owned());
                Ok(())
            }
        }
    }
}

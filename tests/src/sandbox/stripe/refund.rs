//! Refunds.

use super::error::Refused;
use super::intent::{Intent, Status, amount};
use super::{Desk, Stripe, new_id, now};
use crate::sandbox::ledger::Outcome;
use crate::sandbox::shape::text;
use serde_json::{Value, json};

/// Money on its way back.
#[derive(Clone, Debug)]
pub(super) struct Refund {
    id: String,
    amount: u64,
    currency: String,
    charge: String,
    intent: String,
    reason: Option<String>,
    metadata: Value,
    created: u64,
}

// === impl Stripe ===

impl Stripe {
    pub(super) fn create_refund(
        &mut self,
        parameters: &Value,
        desk: Desk<'_>,
    ) -> Result<Value, Refused> {
        let id = self.refunded_intent(parameters)?;
        let intent = self.intent_mut(&id)?;
        let refund = intent.refund(parameters)?;
        desk.write("refund", intent, &refund.id, Some(refund.amount), Outcome::Approved, None);
        let shown = refund.shown();
        self.refunds.insert(refund.id.clone(), refund);
        Ok(shown)
    }

    /// The intent that is named, or whose charge is.
    fn refunded_intent(&self, parameters: &Value) -> Result<String, Refused> {
        if let Some(id) = text(parameters, "/payment_intent") {
            let missing = || Refused::missing("payment_intent", "payment_intent", id);
            return self.intents.get(&id.to_owned()).map(|_| id.to_owned()).ok_or_else(missing);
        }
        let Some(id) = text(parameters, "/charge") else {
            let message = "One of the following params should be provided: payment_intent or \
                           charge.";
            return Err(Refused::invalid(Some("parameter_missing"), None, message));
        };
        let of_charge = |intent: &&Intent| intent.charge.as_ref().is_some_and(|c| c.id == id);
        let found = self.intents.latest().find(of_charge).map(|intent| intent.id.clone());
        found.ok_or_else(|| Refused::missing("charge", "charge", id))
    }

    pub(super) fn refund(&self, id: &str) -> Result<&Refund, Refused> {
        let missing = || Refused::missing("refund", "refund", id);
        self.refunds.get(&id.to_owned()).ok_or_else(missing)
    }

    pub(super) fn list_refunds(&self, parameters: &Value) -> Result<Value, Refused> {
        let limit = super::limit(parameters)?;
        let wanted = |name, has: &str| text(parameters, name).is_none_or(|wants| wants == has);
        let mut found = self.refunds.latest().filter(|refund| {
            wanted("/payment_intent", &refund.intent) && wanted("/charge", &refund.charge)
        });
        let data: Vec<Value> = found.by_ref().take(limit).map(Refund::shown).collect();
        let has_more = found.next().is_some();
        Ok(json!({"object": "list", "url": "/v1/refunds", "has_more": has_more, "data": data}))
    }
}

// === impl Intent ===

impl Intent {
    fn refund(&mut self, parameters: &Value) -> Result<Refund, Refused> {
        let (intent, currency, status) = (self.id.clone(), self.currency, self.status);
        let charge = match &mut self.charge {
            Some(charge) if status == Status::Succeeded => charge,
            _ => {
                let message = "This PaymentIntent does not have a successful charge to refund.";
                let code = Some("payment_intent_unexpected_state");
                return Err(Refused::invalid(code, Some("payment_intent"), message));
            }
        };
        let rest = charge.captured.saturating_sub(charge.refunded);
        if rest == 0 {
            let message = "Charge has already been refunded.";
            return Err(Refused::invalid(Some("charge_already_refunded"), None, message));
        }
        let amount = match text(parameters, "/amount") {
            Some(text) => amount(text, "amount", currency)?,
            None => rest,
        };
        if amount > rest {
            let message = "Refund amount is greater than unrefunded amount on charge.";
            return Err(Refused::invalid(None, Some("amount"), message));
        }
        charge.refunded = charge.refunded.saturating_add(amount);
        Ok(Refund {
            id: new_id("re_3"),
            amount,
            currency: currency.code().to_ascii_lowercase(),
            charge: charge.id.clone(),
            intent,
            reason: text(parameters, "/reason").map(str::to_owned),
            metadata: parameters.get("metadata").cloned().unwrap_or_else(|| json!({})),
            created: now(),
        })
    }
}

// === impl Refund ===

impl Refund {
    /// The object that Stripe shows.
    pub(super) fn shown(&self) -> Value {
        json!({
            "id": self.id, "object": "refund", "amount": self.amount, "charge": self.charge,
            "created": self.created, "currency": self.currency,
            "metadata": self.metadata, "payment_intent": self.intent, "reason": self.reason,
            "status": "succeeded",
        })
    }
}

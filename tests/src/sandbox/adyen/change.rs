//! Captures, cancels and refunds: taken at once, decided later.
//!
//! The answer says only that the request was received. What became of it is in the ledger, where
//! the real one would send a webhook.

use super::payment::{Payment, amount};
use super::{Adyen, Change, Desk, Order, invalid, new_reference};
use crate::sandbox::Answer;
use crate::sandbox::ledger::{Entry, Outcome};
use crate::sandbox::shape::text;
use serde_json::{Value, json};

// === impl Adyen ===

impl Adyen {
    pub(super) fn change(
        &mut self,
        change: Change,
        order: &Order,
        desk: Desk<'_>,
    ) -> Result<Answer, Answer> {
        let parameters = &order.parameters;
        let moved = match change {
            Change::Cancel | Change::CancelByReference => None,
            Change::Capture | Change::Refund => Some(amount(parameters)?),
        };
        let unknown = || invalid("167", "Original pspReference required for this operation");
        let psp = match change {
            Change::CancelByReference => {
                let reference = text(parameters, "/paymentReference").unwrap_or_default();
                self.references.get(&reference.to_owned()).cloned().ok_or_else(unknown)?
            }
            Change::Cancel | Change::Capture | Change::Refund => order.payment.clone(),
        };
        let payment = self.payments.get_mut(&psp).ok_or_else(unknown)?;
        if text(parameters, "/merchantAccount") != Some(&payment.merchant) {
            return Err(unknown());
        }
        let failed = payment.apply(change, moved.as_ref());
        let id = new_reference();
        desk.write_change(change, parameters, payment, &id, moved.as_ref(), failed);
        let shown = shown(parameters, payment, &id);
        Ok(Answer::json(201, &shown).header("pspreference", id))
    }
}

fn shown(parameters: &Value, payment: &Payment, id: &str) -> Value {
    let mut shown = json!({
        "merchantAccount": payment.merchant,
        "paymentPspReference": payment.psp,
        "pspReference": id,
        "status": "received",
    });
    for name in ["amount", "merchantRefundReason", "paymentReference", "reference"] {
        if let (Some(value), Some(object)) = (parameters.get(name), shown.as_object_mut()) {
            object.insert(name.to_owned(), value.clone());
        }
    }
    shown
}

// === impl Payment ===

impl Payment {
    /// Does it, or says why it cannot be done.
    fn apply(&mut self, change: Change, moved: Option<&(String, u64)>) -> Option<&'static str> {
        if moved.is_some_and(|(currency, _)| *currency != self.currency) {
            return Some("the currency is not that of the payment");
        }
        let amount = moved.map_or(0, |(_, amount)| *amount);
        match change {
            Change::Capture if self.cancelled => Some("the payment was cancelled"),
            Change::Capture if amount > self.authorised.saturating_sub(self.captured) => {
                Some("more than was authorised")
            }
            Change::Capture => {
                self.captured = self.captured.saturating_add(amount);
                None
            }
            Change::Refund if amount > self.captured.saturating_sub(self.refunded) => {
                Some("more than was captured")
            }
            Change::Refund => {
                self.refunded = self.refunded.saturating_add(amount);
                None
            }
            Change::Cancel | Change::CancelByReference => self.cancel(),
        }
    }

    fn cancel(&mut self) -> Option<&'static str> {
        if self.captured > 0 {
            Some("the payment was captured")
        } else if self.cancelled {
            Some("the payment was cancelled")
        } else {
            self.cancelled = true;
            None
        }
    }
}

// === impl Desk ===

impl Desk<'_> {
    fn write_change(
        self,
        change: Change,
        parameters: &Value,
        payment: &Payment,
        id: &str,
        moved: Option<&(String, u64)>,
        failed: Option<&'static str>,
    ) {
        let held = payment.authorised;
        self.books.write(Entry {
            number: 0,
            at: 0,
            provider: "adyen",
            operation: match change {
                Change::Capture => "capture",
                Change::Refund => "refund",
                Change::Cancel | Change::CancelByReference => "void",
            },
            outcome: if failed.is_some() { Outcome::Failed } else { Outcome::Approved },
            reason: failed.map(str::to_owned),
            id: id.to_owned(),
            payment: payment.psp.clone(),
            amount: Some(moved.map_or(held, |(_, amount)| *amount)),
            currency: Some(payment.currency.clone()),
            pan: Some(payment.number.clone()),
            reference: text(parameters, "/reference").map(str::to_owned),
            idempotency_key: self.key.map(str::to_owned),
        });
    }
}

//! Settlements, cancellations, reversals and refunds: taken at once, decided later.
//!
//! The answer says only that the request was received. What became of it is in the ledger and in the
//! queries, where the real one would also send a webhook.

use super::payment::{Payment, amount};
use super::{Change, Order, Worldpay, new_id};
use crate::sandbox::ledger::{Entry, Outcome};
use crate::sandbox::shape::text;
use crate::sandbox::{Answer, Books};
use serde_json::{Value, json};

// === impl Worldpay ===

impl Worldpay {
    pub(super) fn change(
        &mut self,
        change: Change,
        order: &Order,
        books: &Books,
    ) -> Result<Answer, Answer> {
        let parameters = &order.parameters;
        let told = match change {
            Change::PartialRefund | Change::PartialSettle => Some(amount(parameters, "/value")?),
            Change::Cancel | Change::Refund | Change::Reverse | Change::Settle => None,
        };
        let payment = self.linked(&order.name)?;
        let moved = told.as_ref().map_or_else(|| payment.whole(change), |(_, units)| *units);
        let strange = told.is_some_and(|(currency, _)| currency != payment.currency);
        let failed = if strange { Some("another currency") } else { payment.apply(change, moved) };
        let (command, reference) = (new_id("cmd"), text(parameters, "/reference"));
        payment.record(change, moved, &command, reference, failed.is_some());
        payment.write_change(books, change, moved, &command, reference, failed);
        Ok(Answer::json(202, &payment.receipt(change, &command)))
    }
}

// === impl Payment ===

impl Payment {
    /// How much a change is about that names no amount.
    fn whole(&self, change: Change) -> u64 {
        match change {
            Change::Refund | Change::PartialRefund => self.captured,
            Change::Cancel | Change::PartialSettle | Change::Reverse | Change::Settle => {
                self.authorised
            }
        }
    }

    /// Does it, or says why it cannot be done.
    fn apply(&mut self, change: Change, moved: u64) -> Option<&'static str> {
        match change {
            Change::Settle | Change::PartialSettle => self.settle(moved),
            Change::Refund | Change::PartialRefund => self.refund(moved),
            Change::Reverse if self.sale && self.refunded == 0 && !self.refused => {
                self.cancelled = true;
                self.refund(moved)
            }
            Change::Cancel if !self.sale && self.captured == 0 && !self.cancelled => {
                self.cancelled = true;
                None
            }
            Change::Cancel | Change::Reverse => Some("the payment is not in the state for it"),
        }
    }

    fn settle(&mut self, moved: u64) -> Option<&'static str> {
        if self.cancelled || self.refused {
            return Some("the payment was cancelled");
        }
        if moved > self.authorised.saturating_sub(self.captured) {
            return Some("more than was authorised");
        }
        self.captured = self.captured.saturating_add(moved);
        None
    }

    fn refund(&mut self, moved: u64) -> Option<&'static str> {
        if moved > self.captured.saturating_sub(self.refunded) {
            return Some("more than was settled");
        }
        self.refunded = self.refunded.saturating_add(moved);
        None
    }

    /// Adds the events that queries show.
    fn record(
        &mut self,
        change: Change,
        moved: u64,
        command: &str,
        reference: Option<&str>,
        failed: bool,
    ) {
        let value = json!({"currency": self.currency, "amount": moved});
        let details = match change {
            Change::Settle => json!({"type": "fullSettlement", "settlementReference": reference, "value": value}),
            Change::PartialSettle => {
                json!({"type": "partialSettlement", "settlementReference": reference, "value": value})
            }
            Change::Refund => json!({"type": "fullRefund", "value": value}),
            Change::PartialRefund => {
                json!({"type": "partialRefund", "refundReference": reference, "value": value})
            }
            Change::Reverse => json!({"value": value}),
            Change::Cancel => json!({}),
        };
        let ending = if failed { "RequestSubmissionFailed" } else { "RequestSubmitted" };
        self.happens(&format!("{}Requested", change.word()), command, details);
        self.happens(&format!("{}{ending}", change.word()), command, json!({}));
    }

    fn receipt(&self, change: Change, command: &str) -> Value {
        let links = self.links();
        match change {
            // These say nothing of the payment.
            Change::Cancel | Change::Reverse => json!({ "_links": links }),
            Change::PartialRefund | Change::PartialSettle | Change::Refund | Change::Settle => {
                json!({"paymentId": self.id, "commandId": command, "_links": links})
            }
        }
    }

    fn write_change(
        &self,
        books: &Books,
        change: Change,
        moved: u64,
        command: &str,
        reference: Option<&str>,
        failed: Option<&'static str>,
    ) {
        books.write(Entry {
            number: 0,
            at: 0,
            provider: "worldpay",
            operation: change.verb(),
            outcome: if failed.is_some() { Outcome::Failed } else { Outcome::Approved },
            reason: failed.map(str::to_owned),
            id: command.to_owned(),
            payment: self.id.clone(),
            amount: Some(moved),
            currency: Some(self.currency.clone()),
            pan: Some(self.number.clone()),
            reference: reference.map(str::to_owned),
            idempotency_key: None,
        });
    }
}

// === impl Change ===

impl Change {
    /// What its events are called.
    fn word(self) -> &'static str {
        match self {
            Self::Cancel => "cancellation",
            Self::PartialRefund | Self::Refund => "refund",
            Self::PartialSettle | Self::Settle => "settlement",
            Self::Reverse => "reversal",
        }
    }

    fn verb(self) -> &'static str {
        match self {
            Self::Cancel | Self::Reverse => "void",
            Self::PartialRefund | Self::Refund => "refund",
            Self::PartialSettle | Self::Settle => "capture",
        }
    }
}

//! Settlement: what was captured or given back leaves the list, and is in a batch instead.

use super::payment::nothing;
use super::{AuthorizeNet, answer, messages, refuse};
use crate::sandbox::Answer;
use crate::sandbox::ledger::now_ms;
use crate::sandbox::shape::text;
use jiff::Timestamp;
use serde_json::{Value, json};

/// How many batches are remembered; the oldest go first.
const BATCHES_MAX: usize = 1_000;
/// Of how long batches are shown at once, in seconds.
const SPAN_MAX_SECS: i64 = 31 * 86_400;
/// The number before that of the first batch.
const FIRST: usize = 7_354_000;

/// What was settled at one time.
#[derive(Debug)]
pub(super) struct Batch {
    id: String,
    at: Timestamp,
}

// === impl AuthorizeNet ===

impl AuthorizeNet {
    /// Settles everything that waits, as happens once a day.
    pub(in crate::sandbox) fn settle(&mut self) {
        let Some(at) = now() else { return };
        self.settlements = self.settlements.saturating_add(1);
        let id = FIRST.saturating_add(self.settlements).to_string();
        if self.transactions.all_mut().filter_map(|made| made.settle(&id)).count() == 0 {
            return;
        }
        if self.batches.len() >= BATCHES_MAX {
            self.batches.remove(0);
        }
        self.batches.push(Batch { id, at });
    }

    /// Batches between two times, or of the last day.
    pub(super) fn list_batches(&self, parameters: &Value) -> Answer {
        let time = |name: &str| text(parameters, name).map(str::parse::<Timestamp>).transpose();
        let (Ok(first), Ok(last)) = (time("/firstSettlementDate"), time("/lastSettlementDate"))
        else {
            return refuse("E00003", "The date is invalid.");
        };
        let last = last.or_else(now).unwrap_or(Timestamp::MAX);
        let day = last.as_second().saturating_sub(86_400);
        let first = first.map_or(day, Timestamp::as_second);
        if !(0..=SPAN_MAX_SECS).contains(&last.as_second().saturating_sub(first)) {
            return refuse("E00003", "The dates are too far apart.");
        }
        let all = self.batches.iter().filter(|batch| {
            (first..=last.as_second()).contains(&batch.at.as_second())
        });
        let shown: Vec<Value> = all.map(Batch::shown).collect();
        if shown.is_empty() {
            return nothing();
        }
        answer(&json!({
            "batchList": shown, "messages": messages("Ok", "I00001", "Successful."),
        }))
    }

    pub(super) fn settled(&self, parameters: &Value) -> Answer {
        let id = text(parameters, "/batchId").unwrap_or_default();
        if self.batches.iter().any(|batch| batch.id == id) {
            self.list(Some(id), parameters)
        } else {
            refuse("E00040", "The record cannot be found.")
        }
    }
}

fn now() -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(now_ms()).ok()?).ok()
}

// === impl Batch ===

impl Batch {
    fn shown(&self) -> Value {
        json!({
            "batchId": self.id, "settlementTimeUTC": self.at.to_string(),
            "settlementState": "settledSuccessfully", "paymentMethod": "creditCard",
        })
    }
}

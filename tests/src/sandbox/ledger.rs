//! What was executed, in order.

use serde::Serialize;
use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

/// How many entries the ledger holds; the oldest go first.
pub const ENTRIES_MAX: usize = 100_000;

/// One movement of money that a provider executed, refused by the issuer included.
///
/// Requests that a provider turned away (credentials, form, an unknown payment) moved nothing and
/// are not here.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Counts from 1 since the last reset, and never skips.
    pub number: u64,
    /// Milliseconds since 1970.
    pub at: u64,
    /// `adyen` or `stripe`.
    pub provider: &'static str,
    /// `authorize`, `charge`, `capture`, `refund` or `void`.
    pub operation: &'static str,
    pub outcome: Outcome,
    /// Why it was not approved, in the provider's word.
    pub reason: Option<String>,
    /// The provider's name for this movement.
    pub id: String,
    /// The provider's name for the payment that it belongs to.
    pub payment: String,
    /// In the provider's own units.
    pub amount: Option<u64>,
    /// Three capital letters.
    pub currency: Option<String>,
    /// The card number as it came. Only published test numbers are kept whole.
    pub pan: Option<String>,
    /// The merchant's reference: the provider's own field for one, or at Stripe the `order_id` or
    /// `merchant_reference` of its metadata.
    pub reference: Option<String>,
    pub idempotency_key: Option<String>,
}

/// How a movement ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Approved,
    /// The issuer said no.
    Declined,
    /// The provider took the request and found later that it cannot be done.
    Failed,
    /// It waits for the cardholder.
    Pending,
}

/// The latest [`ENTRIES_MAX`] movements.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: VecDeque<Entry>,
    written: u64,
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

// === impl Ledger ===

impl Ledger {
    /// Writes an entry, and gives it with its number and time.
    pub(super) fn write(&mut self, mut entry: Entry) -> Entry {
        self.written = self.written.saturating_add(1);
        entry.number = self.written;
        entry.at = now_ms();
        if self.entries.len() >= ENTRIES_MAX {
            self.entries.pop_front();
        }
        self.entries.push_back(entry.clone());
        entry
    }

    /// The first entry of a payment.
    pub(super) fn first_of(&self, payment: &str) -> Option<Entry> {
        self.entries.iter().find(|entry| entry.payment == payment).cloned()
    }

    /// The entries with a number above `after`, in order.
    pub(super) fn after(&self, after: u64) -> Vec<Entry> {
        self.entries.iter().filter(|entry| entry.number > after).cloned().collect()
    }

    /// How many were ever written since the last reset, those that were pushed out included.
    pub(super) fn written(&self) -> u64 {
        self.written
    }
}

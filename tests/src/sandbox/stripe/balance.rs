//! What an account has.

use super::Stripe;
use serde_json::{Value, json};
use std::collections::BTreeMap;

// === impl Stripe ===

impl Stripe {
    /// What is taken and not given back, all of it at hand: there are no fees here and no payouts.
    pub(super) fn balance(&self, account: &str) -> Value {
        let mut sums = BTreeMap::<String, u64>::new();
        for intent in self.intents.latest().filter(|intent| intent.account == account) {
            let Some(charge) = &intent.charge else { continue };
            let sum = sums.entry(intent.currency.code().to_lowercase()).or_default();
            *sum = sum.saturating_add(charge.captured.saturating_sub(charge.refunded));
        }
        let part = |(currency, amount)| json!({"amount": amount, "currency": currency});
        let available: Vec<Value> = sums.into_iter().map(part).collect();
        json!({"object": "balance", "available": available, "pending": [], "livemode": false})
    }
}

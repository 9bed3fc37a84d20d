//! The balance of an account. <https://docs.stripe.com/api/balance>

use super::places;
use crate::funds::{Told, add};
use crate::wire::Answer;
use crate::Validity;
use model::{Amount, Currency};
use serde::Deserialize;

#[derive(Deserialize)]
struct Balance {
    object: String,
    available: Vec<Part>,
    pending: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    amount: i64,
    currency: String,
}

pub(super) fn read(answer: &Answer<'_>) -> Told {
    if answer.status != 200 {
        return Err(Validity::by_status(answer));
    }
    let balance = answer.json().filter(|balance: &Balance| balance.object == "balance");
    let balance = balance.ok_or(Validity::NotUnderstood)?;
    let mut all = Vec::new();
    for part in &balance.available {
        let (minor, currency) = part.read().ok_or(Validity::NotUnderstood)?;
        add(&mut all, currency, |funds| funds.available = funds.available.saturating_add(minor))?;
    }
    for part in &balance.pending {
        let (minor, currency) = part.read().ok_or(Validity::NotUnderstood)?;
        add(&mut all, currency, |funds| funds.pending = funds.pending.saturating_add(minor))?;
    }
    Ok(all)
}

// === impl Part ===

impl Part {
    /// In minor units. What is owed is negative.
    fn read(&self) -> Option<(i64, Currency)> {
        let currency = Currency::parse(&self.currency).ok()?;
        let units = self.amount.unsigned_abs();
        let amount = Amount::from_units(units, places(currency)?, currency).ok()?;
        let minor = i64::try_from(amount.minor()).ok()?;
        Some((if self.amount < 0 { minor.checked_neg()? } else { minor }, currency))
    }
}

#[cfg(test)]
mod tests {
    use super::read;
    use crate::funds::Funds;
    use crate::wire::Answer;
    use crate::Validity;
    use model::Currency;
    use serde_json::{Value, json};

    fn told(status: u16, body: &Value) -> crate::funds::Told {
        read(&Answer { status, body: body.to_string().as_bytes() })
    }

    #[test]
    fn what_is_available_and_what_is_pending_is_added_up_by_currency() {
        let part = |amount: i64, currency: &str| json!({"amount": amount, "currency": currency});
        let body = json!({
            "object": "balance", "livemode": false,
            "available": [part(666_670, "eur"), part(-5, "usd"), part(2, "eur")],
            "pending": [part(61_414, "eur"), part(300, "isk")],
        });
        let funds = |code: &str, available, pending| {
            Funds { currency: Currency::parse(code).unwrap(), available, pending }
        };
        // Stripe counts ISK in hundredths, and there are none.
        let expected = vec![funds("EUR", 666_672, 61_414), funds("USD", -5, 0), funds("ISK", 0, 3)];
        assert_eq!(told(200, &body), Ok(expected));
        let nothing = json!({"object": "balance", "available": [], "pending": []});
        assert_eq!(told(200, &nothing), Ok(vec![]));
    }

    #[test]
    fn what_is_no_balance_is_a_reason() {
        let balance = |amount: Value| {
            json!({"object": "balance", "pending": [], "available": [{"amount": amount, "currency": "usd"}]})
        };
        for (status, body, expected) in [
            (200, json!({"object": "list", "available": [], "pending": []}), Validity::NotUnderstood),
            (200, json!("<html>"), Validity::NotUnderstood),
            (200, balance(json!("12")), Validity::NotUnderstood),
            (200, balance(json!(1.5)), Validity::NotUnderstood),
            (401, json!({}), Validity::CredentialsRefused),
            (403, json!({}), Validity::PermissionMissing),
            (503, json!({}), Validity::ProviderUnavailable),
        ] {
            assert_eq!(told(status, &body), Err(expected), "{status} {body}");
        }
    }
}

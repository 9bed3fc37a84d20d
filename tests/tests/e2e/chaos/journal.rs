//! What the program says of all payments, read from `GET /Transactions`.

use serde_json::Value;
use tests::net::Net;
use tests::net::client::Http;

/// A payment of the program's journal.
#[derive(Debug)]
pub(super) struct Payment {
    pub(super) id: String,
    pub(super) my_ref: String,
    pub(super) charge: bool,
    pub(super) state: String,
    pub(super) amount: u64,
    pub(super) captured: u64,
    pub(super) refunded: u64,
    pub(super) reference: String,
    /// The gateway and the outcome of each attempt.
    pub(super) attempts: Vec<(String, String)>,
    pub(super) changes: Vec<Change>,
}

#[derive(Debug)]
pub(super) struct Change {
    /// In the sandbox's word.
    pub(super) operation: String,
    pub(super) amount: u64,
    pub(super) outcome: String,
}

/// All payments, page by page.
pub(super) async fn read(net: &Net) -> Vec<Payment> {
    let mut link = net.client(Http::One).connect().await.unwrap();
    let mut all = Vec::new();
    let mut query = String::new();
    loop {
        let answer = link.send("GET", &format!("/Transactions{query}"), None).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let page = answer.json().unwrap();
        all.extend(page["transactions"].as_array().unwrap().iter().map(payment));
        let Some(next) = page["next"].as_str() else { return all };
        query = format!("?after={next}");
    }
}

fn payment(shown: &Value) -> Payment {
    let list = |name: &str| shown[name].as_array().unwrap().clone();
    let attempt = |one: &Value| (text(one, "gateway"), text(one, "outcome"));
    Payment {
        id: text(shown, "transactionId"),
        my_ref: text(shown, "myRef"),
        charge: shown["operationType"] == "Charge",
        state: text(shown, "state"),
        amount: cents(&shown["amount"]),
        captured: cents(&shown["capturedAmount"]),
        refunded: cents(&shown["refundedAmount"]),
        reference: text(shown, "gatewayReference"),
        attempts: list("attempts").iter().map(attempt).collect(),
        changes: list("changes").iter().map(change).collect(),
    }
}

fn change(shown: &Value) -> Change {
    Change {
        operation: text(shown, "operationType").to_lowercase(),
        amount: cents(&shown["amount"]),
        outcome: text(shown, "outcome"),
    }
}

fn text(shown: &Value, name: &str) -> String {
    shown[name].as_str().unwrap_or_default().to_owned()
}

/// Major units with two places at most, in cents.
fn cents(shown: &Value) -> u64 {
    let text = shown.to_string();
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    format!("{whole}{part:0<2}").parse().unwrap()
}

// === impl Payment ===

impl Payment {
    /// Whether it was made, as far as is known.
    pub(super) fn is_made(&self) -> bool {
        self.attempts.last().is_some_and(|(_, outcome)| is_accepted(outcome))
    }

    /// Whether it is not known whether it was made.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.attempts.last().is_some_and(|(_, outcome)| outcome == "unknown")
    }

    /// How much of it, and of what was done to it, is in doubt.
    pub(super) fn open(&self) -> usize {
        self.open_changes().count() + usize::from(self.is_in_doubt())
    }

    /// How much of that the program finds out by itself. Adyen cannot be asked for a payment.
    pub(super) fn can_be_known(&self) -> usize {
        self.open_changes().count() + usize::from(self.is_in_doubt() && self.is_at("Stripe"))
    }

    /// Whether it is in doubt, and Adyen cannot be asked whether it was made.
    pub(super) fn is_adyens_to_tell(&self) -> bool {
        self.is_in_doubt() && self.is_at("Adyen")
    }

    /// What was done to it and is in doubt.
    pub(super) fn open_changes(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| change.outcome == "unknown")
    }

    /// Whether it is at this gateway.
    pub(super) fn is_at(&self, name: &str) -> bool {
        self.attempts.last().is_some_and(|(gateway, _)| gateway == name)
    }
}

/// Whether the provider did it, or took it upon itself.
pub(super) fn is_accepted(outcome: &str) -> bool {
    matches!(outcome, "approved" | "pending")
}

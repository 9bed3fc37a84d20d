//! What a merchant does with a payment: a charge or a hold, and what follows.

use super::faults;
use super::merchant::{Merchant, Request};
use super::notices::ADYEN;
use rand::Rng;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};
use tests::net::client::Answer;
use tests::sandbox::Provider;
use tests::sandbox::fault::Operation;

/// How many payments an account at Stripe sees before the next one is taken. One page of Stripe's
/// list shows 100, and what is not on it is not found for an hour.
const ACCOUNT_PAYMENTS_MAX: usize = 80;

/// A payment that was made, as the merchant knows it.
struct Made {
    transaction: String,
    reference: String,
    account: String,
    /// In cents.
    amount: u64,
}

/// Cents as they stand in a body.
fn number(cents: u64) -> Value {
    let text = format!("{}.{:02}", cents / 100, cents % 100);
    serde_json::from_str(&text).unwrap()
}

fn text(body: &Value, name: &str) -> String {
    body[name].as_str().unwrap_or_default().to_owned()
}

fn provider_of(account: &str) -> Provider {
    if account == ADYEN { Provider::Adyen } else { Provider::Stripe }
}

// === impl Merchant ===

impl Merchant {
    /// Makes payments and changes them until it is told to stop.
    pub(super) async fn live(mut self) -> Self {
        while !self.stopped() {
            self.story().await;
        }
        self
    }

    async fn story(&mut self) {
        let stripe = self.stripe().await;
        let charges = self.rng.random_bool(0.5);
        let amount = self.rng.random_range(2_000..90_000);
        let Some((answer, amount)) = self.make(&stripe, charges, amount).await else { return };
        let Some(made) = made(&answer, amount) else { return };
        if charges {
            self.refund(&made, amount).await;
        } else if self.rng.random_ratio(1, 3) {
            self.change(&made, "void", amount).await;
        } else {
            self.capture_and_refund(&made).await;
        }
    }

    /// The name of an account at Stripe with room for one more payment.
    async fn stripe(&mut self) -> String {
        if self.accounts == 0 || self.account_used >= ACCOUNT_PAYMENTS_MAX {
            (self.accounts, self.account_used) = (self.accounts + 1, 0);
            self.store_account().await;
        }
        self.account_used += 1;
        format!("stripe-{}-{}", self.name, self.accounts)
    }

    async fn store_account(&self) {
        let name = format!("stripe-{}-{}", self.name, self.accounts);
        let secret = format!("sk_test_{}", name.replace('-', "_"));
        let credentials = json!([{"key": "SecretKey", "value": secret}]);
        let body = json!({"paymentGatewayName": "Stripe", "credentials": credentials});
        let path = format!("/PaymentGatewayAccounts/{name}");
        let answer = self.world.net.lock().await.send("PUT", &path, Some(&body)).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    async fn make(&mut self, stripe: &str, charges: bool, amount: u64) -> Option<(Answer, u64)> {
        let (first, second) =
            if self.rng.random_bool(0.7) { (stripe, ADYEN) } else { (ADYEN, stripe) };
        let fallback = self.rng.random_bool(0.5).then_some(second);
        let operation = if charges { Operation::Charge } else { Operation::Authorize };
        self.trouble(first, operation).await;
        let key = self.new_key();
        let verb = if charges { "charge" } else { "authorize" };
        let request = Request {
            method: "POST",
            path: format!("/PaymentGateway/{verb}"),
            body: order(&key, first, fallback, amount),
        };
        self.ask(&key, request).await.map(|answer| (answer, amount))
    }

    /// Perhaps something goes wrong next.
    async fn trouble(&mut self, account: &str, operation: Operation) {
        if let Some(fault) = faults::draw(&mut self.rng, provider_of(account), operation) {
            self.order(fault).await;
        }
    }

    /// Captures in one part at Stripe, and in up to three at Adyen.
    async fn capture_and_refund(&mut self, made: &Made) {
        let parts = if made.account == ADYEN { self.rng.random_range(1..=3) } else { 1 };
        let mut captured = 0;
        for part in 0..parts {
            // Every part is another amount, so that a part that is taken twice is seen.
            let amount = made.amount / 4 + part;
            if self.change(made, "capture", amount).await {
                captured += amount;
            }
        }
        if captured > 0 {
            self.refund(made, captured).await;
        }
    }

    async fn refund(&mut self, made: &Made, captured: u64) {
        for part in 0..self.rng.random_range(0..=2) {
            self.change(made, "refund", captured / 3 + part).await;
        }
        if self.rng.random_ratio(1, 4) {
            // One that asks for more than there is.
            self.change(made, "refund", captured + 100).await;
        }
    }

    /// Changes a payment; true when it is certain that it was done.
    async fn change(&mut self, made: &Made, verb: &'static str, amount: u64) -> bool {
        let operation = match verb {
            "capture" => Operation::Capture,
            "refund" => Operation::Refund,
            _ => Operation::Void,
        };
        self.trouble(&made.account, operation).await;
        let key = self.new_key();
        let mut body = json!({"currency": "USD", "amount": number(amount), "myRef": key});
        if self.rng.random_bool(0.5) {
            body["transactionId"] = json!(made.transaction);
        } else {
            body["refTransId"] = json!(made.reference);
            body["paymentGatewayAccountName"] = json!(made.account);
        }
        let method = if verb == "void" { "DELETE" } else { "PUT" };
        let request = Request { method, path: format!("/PaymentGateway/{verb}"), body };
        let Some(answer) = self.ask(&key, request).await else { return false };
        self.look_back().await;
        let body = answer.json().unwrap();
        matches!(answer.status, 200 | 202) && body["state"] != "Unknown"
    }

    /// Now and then an old request is sent once more.
    async fn look_back(&mut self) {
        if self.rng.random_ratio(1, 4) && !self.stopped() {
            let keys: Vec<String> = self.book.keys().cloned().collect();
            let key = keys.choose(&mut self.rng).unwrap();
            let again = self.book[key].request.clone();
            assert!(self.ask(key, again).await.is_some(), "I4: {key} is not known any more");
        }
    }
}

fn order(key: &str, first: &str, fallback: Option<&str>, amount: u64) -> Value {
    let mut body = json!({
        "currency": "USD", "amount": number(amount), "myRef": key,
        "paymentGatewayAccountName": first,
        "card": {
            "cardHolderName": "Ann Example", "cardNumber": crate::e2e::order::VISA,
            "expirationMonth": 3, "expirationYear": 2030, "cvv": "737",
        },
    });
    if let Some(fallback) = fallback {
        body["fallbackUpgs"] = json!([{"paymentGatewayAccountName": fallback}]);
    }
    body
}

/// The payment, when it is certain that there is one.
fn made(answer: &Answer, amount: u64) -> Option<Made> {
    let body = answer.json().unwrap();
    let certain = answer.status == 200;
    let last = body["attempts"].as_array().and_then(|all| all.last().cloned())?;
    certain.then(|| Made {
        transaction: text(&body, "transactionId"),
        reference: text(&body, "gatewayReference"),
        account: text(&last, "account"),
        amount,
    })
}

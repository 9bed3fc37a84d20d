//! Many outcomes that are not known, at providers of which one does not answer.

use super::order::{Order, account, text, verdict};
use serde_json::json;
use std::time::{Duration, Instant};
use tests::net::Net;
use tests::sandbox::Provider;
use tests::sandbox::fault::{Effect, Fault, Operation};

/// How long it may take until what a provider did is known: less than the provider that hangs takes
/// for a few questions one after another.
const WITHIN: Duration = Duration::from_secs(30);
/// More questions than one account has at a time.
const STUCK: usize = 6;

async fn unknown(net: &Net, name: &str) -> String {
    let answer = Order::new(name, "10.50", "USD").charge(net).await;
    assert_eq!(verdict(&answer), "202 Accepted Unknown null false", "{}", answer.text());
    text(&answer, "transactionId")
}

async fn state(net: &Net, id: &str) -> String {
    text(&net.send("GET", &format!("/Transactions/{id}"), None).await.unwrap(), "state")
}

#[tokio::test]
async fn a_provider_that_hangs_holds_up_no_other_account() {
    let net = Net::start().await.unwrap();
    let key = json!([{"key": "SecretKey", "value": "sk_sbox_netOfTheTests0123456789"}]);
    account(&net, "checkout", "Checkout", &key).await;
    let hang = Fault::standing(Effect::Hang).at(Provider::Stripe).on(Operation::Read);
    net.sandbox.fault(hang).unwrap();
    net.sandbox.fault(Fault::standing(Effect::Cut).on(Operation::Charge)).unwrap();
    let mut stuck = Vec::new();
    for _ in 0..STUCK {
        stuck.push(unknown(&net, "stripe-primary").await);
    }
    let other = unknown(&net, "checkout").await;
    let began = Instant::now();
    while state(&net, &other).await != "Captured" {
        assert!(began.elapsed() < WITHIN, "it waits for those that hang");
        tokio::time::sleep(tests::net::PAUSE).await;
    }
    for id in stuck {
        assert_eq!(state(&net, &id).await, "Unknown", "nobody could ask");
    }
}

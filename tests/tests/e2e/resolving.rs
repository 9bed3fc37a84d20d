//! Many outcomes that are not known, at providers of which one does not answer.

use super::order::{Order, account, ledger, text, verdict};
use serde_json::json;
use std::time::{Duration, Instant};
use tests::net::Net;
use tests::net::client::Answer;
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

/// What became of the only change of a payment.
async fn change(net: &Net, id: &str) -> String {
    let answer = net.send("GET", &format!("/Transactions/{id}"), None).await.unwrap();
    let body = answer.json().unwrap();
    body["changes"][0]["outcome"].as_str().unwrap_or_default().to_owned()
}

async fn until_changed(net: &Net, id: &str, outcome: &str) {
    let began = Instant::now();
    while change(net, id).await != outcome {
        assert!(began.elapsed() < WITHIN, "nobody found out what became of it");
        tokio::time::sleep(tests::net::PAUSE).await;
    }
}

/// A change whose answer was lost is taken when it is sent again, and is done once.
async fn once_more(net: &Net, paid: &Answer, answer: &Answer) {
    assert_eq!(answer.status, 202, "{}", answer.text());
    until_changed(net, &text(paid, "transactionId"), "pending").await;
    let lines = ledger(net);
    assert_eq!(lines.len(), 2, "{lines:?}");
    // The payment, the change that was cut short, and the change once more.
    assert_eq!(net.sandbox.requests(), 3);
    net.sandbox.reset();
}

#[tokio::test]
async fn a_change_at_adyen_is_asked_for_again_under_its_key_and_carried_out_once() {
    let net = Net::start().await.unwrap();
    let order = || Order::new("adyen-backup", "10.50", "EUR");
    for before in [true, false] {
        let cut = |operation| {
            let fault = Fault::once(Effect::Cut).at(Provider::Adyen).on(operation);
            net.sandbox.fault(if before { fault.before() } else { fault }).unwrap();
        };
        let of = |paid: &Answer| order().of(&text(paid, "gatewayReference")).my_ref("CHANGE-1");
        let paid = order().authorize(&net).await;
        cut(Operation::Capture);
        once_more(&net, &paid, &of(&paid).capture(&net).await).await;
        let paid = order().charge(&net).await;
        cut(Operation::Refund);
        once_more(&net, &paid, &of(&paid).refund(&net).await).await;
        let paid = order().authorize(&net).await;
        cut(Operation::Void);
        once_more(&net, &paid, &of(&paid).void(&net).await).await;
    }
}

#[tokio::test]
async fn a_refund_at_braintree_is_found_by_its_own_name() {
    let net = Net::start().await.unwrap();
    let credentials = json!([
        {"key": "PublicKey", "value": "public_example1"},
        {"key": "PrivateKey", "value": "0123456789abcdef0123456789abcdef"},
        {"key": "MerchantAccountId", "value": "shop_usd"},
        {"key": "Currency", "value": "USD"},
        {"key": "Environment", "value": "Test"},
    ]);
    account(&net, "braintree", "Braintree", &credentials).await;
    for my_ref in [None, Some("REFUND-1")] {
        let order = || Order::new("braintree", "10.50", "USD");
        let paid = order().my_ref("ORD-1").charge(&net).await;
        let refund = order().of(&text(&paid, "gatewayReference"));
        let refund = my_ref.map_or(refund.clone(), |name| refund.my_ref(name));
        net.sandbox.fault(Fault::once(Effect::Cut).on(Operation::Refund)).unwrap();
        let answer = refund.refund(&net).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        until_changed(&net, &text(&paid, "transactionId"), "approved").await;
    }
}

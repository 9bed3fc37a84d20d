//! Checkout.com from beginning to end, with every line of the ledger.

use super::order::{Order, ledger, status, text, verdict};
use serde_json::json;
use tests::net::Net;
use tests::sandbox::fault::{Effect, Fault, Operation};

const ACCOUNT: &str = "checkout";
const KEY: &str = "sk_sbox_netOfTheTests0123456789";

async fn net() -> Net {
    let net = Net::start().await.unwrap();
    let credentials = json!([{"key": "SecretKey", "value": KEY}]);
    let body = json!({"paymentGatewayName": "Checkout", "credentials": credentials});
    let path = format!("/PaymentGatewayAccounts/{ACCOUNT}");
    let answer = net.send("PUT", &path, Some(&body)).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    net
}

#[tokio::test]
async fn checkout_charges_declines_and_counts_in_its_own_units() {
    let net = net().await;
    for (amount, currency, expected) in [
        ("10.50", "USD", "200 Success Captured null false"),
        ("1050", "JPY", "200 Success Captured null false"),
        ("1050", "CLP", "200 Success Captured null false"),
        ("1.250", "KWD", "200 Success Captured null false"),
        ("10.05", "USD", "409 Rejected Declined CardDeclined false"),
        ("10.51", "USD", "409 Rejected Declined InsufficientFunds true"),
        ("10.59", "USD", "409 Rejected Declined Fraud false"),
    ] {
        let order = Order::new(ACCOUNT, amount, currency).my_ref("ORD-77");
        let answer = order.charge(&net).await;
        assert_eq!(verdict(&answer), expected, "{amount} {currency}: {}", answer.text());
        let entry = net.sandbox.ledger().pop().unwrap();
        assert_eq!(entry.reference.as_deref(), Some("ORD-77"));
        assert_eq!(entry.idempotency_key, Some(text(&answer, "transactionId")));
        assert_eq!(entry.payment, text(&answer, "gatewayReference"));
    }
    let expected = [
        "charge Approved 1050 USD",
        "charge Approved 1050 JPY",
        "charge Approved 105000 CLP",
        "charge Approved 1250 KWD",
        "charge Declined 1005 USD 20005",
        "charge Declined 1051 USD 20051",
        "charge Declined 1059 USD 20059",
    ];
    assert_eq!(ledger(&net), expected);
}

#[tokio::test]
async fn checkout_holds_takes_changes_for_later_and_tells() {
    let net = net().await;
    let order = |amount| Order::new(ACCOUNT, amount, "USD");
    let held = order("100.00").my_ref("ORD-1").authorize(&net).await;
    assert_eq!(verdict(&held), "200 Success Authorized null false", "{}", held.text());
    let payment = text(&held, "gatewayReference");
    let pending = "202 Accepted Pending null false";
    assert_eq!(verdict(&order("60.00").of(&payment).capture(&net).await), pending);
    assert_eq!(verdict(&order("25.00").of(&payment).refund(&net).await), pending);
    let too_much = order("40.01").of(&payment).capture(&net).await;
    assert_eq!(verdict(&too_much), "409 Rejected Refunded null false");
    let void = order("100.00").of(&payment).void(&net).await;
    assert_eq!(verdict(&void), "409 Rejected Refunded null false");
    for (name, value) in [("refTransId", &*payment), ("myRef", "ORD-1")] {
        let told = status(&net, ACCOUNT, name, value).await;
        assert_eq!(verdict(&told), "200 Success Captured null false", "{}", told.text());
        assert_eq!(text(&told, "gatewayReference"), payment);
    }
    let second = text(&order("5.00").authorize(&net).await, "gatewayReference");
    assert_eq!(verdict(&order("5.00").of(&second).void(&net).await), pending);
    let expected = [
        "authorize Approved 10000 USD",
        "capture Approved 6000 USD",
        "refund Approved 2500 USD",
        "authorize Approved 500 USD",
        "void Approved 500 USD",
    ];
    assert_eq!(ledger(&net), expected);
}

#[tokio::test]
async fn what_checkout_may_have_done_is_unknown_and_is_done_once() {
    let net = net().await;
    for (effect, before) in [(Effect::Cut, true), (Effect::Cut, false), (Effect::Half, false)] {
        net.sandbox.reset();
        let provider = tests::sandbox::Provider::Checkout;
        let fault = Fault::once(effect).at(provider).on(Operation::Charge);
        net.sandbox.fault(if before { fault.before() } else { fault }).unwrap();
        let answer = Order::new(ACCOUNT, "10.50", "USD").charge(&net).await;
        assert_eq!(verdict(&answer), "202 Accepted Unknown null false", "{}", answer.text());
        assert!(net.sandbox.ledger().len() <= 1, "{effect:?}");
    }
}

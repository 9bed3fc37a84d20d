//! CyberSource from beginning to end, with every line of the ledger.

use super::order::{Order, ledger, status, text, verdict};
use serde_json::json;
use tests::net::Net;
use tests::sandbox::fault::{Effect, Fault, Operation};

const ACCOUNT: &str = "cybersource";
/// The secret that the sandbox shares with every merchant.
const SECRET: &str = "c2FuZGJveC1zaGFyZWQtc2VjcmV0LTAxMjM0NTY3ODk=";

async fn store(net: &Net, secret: &str) {
    let credentials = json!([
        {"key": "MerchantId", "value": "orchestra_net"},
        {"key": "KeyId", "value": "08c94330-f618-42a3-b09d-e1e43be5efda"},
        {"key": "SharedSecret", "value": secret},
        {"key": "Environment", "value": "Test"},
    ]);
    let body = json!({"paymentGatewayName": "CyberSource", "credentials": credentials});
    let path = format!("/PaymentGatewayAccounts/{ACCOUNT}");
    let answer = net.send("PUT", &path, Some(&body)).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

async fn net() -> Net {
    let net = Net::start().await.unwrap();
    store(&net, SECRET).await;
    net
}

#[tokio::test]
async fn cybersource_charges_declines_and_counts_in_major_units() {
    let net = net().await;
    for (amount, currency, expected) in [
        ("10.50", "USD", "200 Success Captured null false"),
        ("1050", "JPY", "200 Success Captured null false"),
        ("1.250", "KWD", "200 Success Captured null false"),
        ("1204.00", "USD", "409 Rejected Declined InsufficientFunds true"),
        ("1205.00", "USD", "409 Rejected Declined LostOrStolen false"),
        ("1478.00", "USD", "409 Rejected Declined AuthenticationRequired true"),
    ] {
        let order = Order::new(ACCOUNT, amount, currency).my_ref("ORD-77");
        let answer = order.charge(&net).await;
        assert_eq!(verdict(&answer), expected, "{amount} {currency}: {}", answer.text());
        let entry = net.sandbox.ledger().pop().unwrap();
        assert_eq!(entry.reference.as_deref(), Some("ORD-77"));
        assert_eq!(entry.payment, text(&answer, "gatewayReference"));
    }
    let expected = [
        "charge Approved 1050 USD",
        "charge Approved 1050 JPY",
        "charge Approved 1250 KWD",
        "charge Declined 120400 USD INSUFFICIENT_FUND",
        "charge Declined 120500 USD STOLEN_LOST_CARD",
        "charge Declined 147800 USD CONSUMER_AUTHENTICATION_REQUIRED",
    ];
    assert_eq!(ledger(&net), expected);
}

#[tokio::test]
async fn cybersource_holds_captures_refunds_voids_and_tells() {
    let net = net().await;
    let order = |amount| Order::new(ACCOUNT, amount, "USD");
    let held = order("100.00").my_ref("ORD-1").authorize(&net).await;
    assert_eq!(verdict(&held), "200 Success Authorized null false", "{}", held.text());
    let payment = text(&held, "gatewayReference");
    let told = status(&net, ACCOUNT, "refTransId", &payment).await;
    assert_eq!(verdict(&told), "200 Success Authorized null false", "{}", told.text());
    let captured = order("60.00").of(&payment).capture(&net).await;
    assert_eq!(verdict(&captured), "200 Success Captured null false", "{}", captured.text());
    let refunded = order("25.00").of(&payment).refund(&net).await;
    assert_eq!(verdict(&refunded), "200 Success Refunded null false", "{}", refunded.text());
    let too_much = order("40.01").of(&payment).capture(&net).await;
    assert_eq!(verdict(&too_much), "409 Rejected Refunded null false");
    let second = text(&order("5.00").authorize(&net).await, "gatewayReference");
    let voided = order("5.00").of(&second).void(&net).await;
    assert_eq!(verdict(&voided), "200 Success Voided null false", "{}", voided.text());
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
async fn a_token_that_another_secret_signed_is_refused() {
    let net = net().await;
    store(&net, "c29tZWJvZHktZWxzZXMtc2VjcmV0LW9mLTMyLWJ5dGU=").await;
    let answer = Order::new(ACCOUNT, "10.50", "USD").charge(&net).await;
    assert_eq!(verdict(&answer), "409 Rejected null null false", "{}", answer.text());
    assert_eq!(net.sandbox.ledger().len(), 0);
}

#[tokio::test]
async fn what_cybersource_may_have_done_is_unknown_and_is_not_sent_again() {
    let net = net().await;
    for (effect, before) in [(Effect::Cut, true), (Effect::Cut, false), (Effect::Half, false)] {
        net.sandbox.reset();
        let provider = tests::sandbox::Provider::Cybersource;
        let fault = Fault::once(effect).at(provider).on(Operation::Charge);
        net.sandbox.fault(if before { fault.before() } else { fault }).unwrap();
        let answer = Order::new(ACCOUNT, "10.50", "USD").charge(&net).await;
        assert_eq!(verdict(&answer), "202 Accepted Unknown null false", "{}", answer.text());
        assert_eq!(net.sandbox.requests(), 1, "sent again? {effect:?}");
    }
}

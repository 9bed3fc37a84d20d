//! Worldpay, from beginning to end.

use super::order::{Order, account, same, status, text, verdict};
use serde_json::{Value, json};
use tests::net::Net;
use tests::sandbox::Provider;
use tests::sandbox::fault::{Effect, Fault, Operation};

const ACCOUNT: &str = "worldpay-fallback";

/// A net with an account at Worldpay.
async fn net() -> Net {
    let net = Net::start().await.unwrap();
    account(&net, ACCOUNT, "Worldpay", &credentials("default")).await;
    net
}

fn credentials(entity: &str) -> Value {
    json!([{"key": "Username", "value": "exampleuser"},
           {"key": "Password", "value": "example-password"},
           {"key": "Entity", "value": entity},
           {"key": "Narrative", "value": "Example Shop"}])
}

/// The ledger in one line an entry.
fn ledger(net: &Net) -> Vec<String> {
    let line = |entry: tests::sandbox::ledger::Entry| {
        let amount = entry.amount.unwrap_or_default();
        format!("{} {:?} {amount}", entry.operation, entry.outcome)
    };
    net.sandbox.ledger().into_iter().map(line).collect()
}

#[tokio::test]
async fn worldpay_charges_under_the_transactions_id() {
    let net = net().await;
    let answer = Order::new(ACCOUNT, "10.50", "GBP").my_ref("ORD-77").charge(&net).await;
    same("worldpay-charge", &answer);
    let entry = net.sandbox.ledger().pop().unwrap();
    assert_eq!((entry.operation, entry.amount), ("charge", Some(1_050)));
    assert_eq!(entry.reference, Some(text(&answer, "transactionId")));
    // The same order again is another payment.
    let again = Order::new(ACCOUNT, "10.50", "GBP").my_ref("ORD-77").charge(&net).await;
    assert_eq!(verdict(&again), "200 Success Captured null false");
    let key = text(&answer, "transactionId");
    let found = status(&net, ACCOUNT, "myRef", &key).await;
    assert_eq!(text(&found, "gatewayReference"), entry.payment);
}

#[tokio::test]
async fn each_code_of_worldpay_is_declined_for_its_reason() {
    let net = net().await;
    for (holder, reason, retryable) in [
        ("REFUSED", "CardDeclined", false),
        ("REFUSED13", "InvalidAmount", false),
        ("REFUSED33", "ExpiredCard", false),
        ("REFUSED34", "Fraud", false),
        ("REFUSED43", "LostOrStolen", false),
        ("REFUSED51", "InsufficientFunds", true),
        ("REFUSED55", "IncorrectPin", false),
        ("REFUSED57", "CardNotSupported", false),
        ("REFUSED61", "LimitExceeded", true),
        ("REFUSED91", "IssuerUnavailable", true),
        ("REFUSED835", "IncorrectCvv", false),
        ("REFUSED973", "Revoked", false),
        ("SOFT_DECLINED", "AuthenticationRequired", true),
    ] {
        let answer = Order::new(ACCOUNT, "10.50", "GBP").holder(holder).charge(&net).await;
        let expected = format!("409 Rejected Declined {reason} {retryable}");
        assert_eq!(verdict(&answer), expected, "{holder}: {}", answer.text());
    }
    let declined = Order::new(ACCOUNT, "10.50", "GBP").holder("REFUSED51").authorize(&net).await;
    same("worldpay-declined", &declined);
}

#[tokio::test]
async fn worldpay_holds_and_takes_every_change_for_later() {
    let net = net().await;
    let order = |amount| Order::new(ACCOUNT, amount, "GBP");
    let held = order("100.00").authorize(&net).await;
    same("worldpay-authorize", &held);
    let payment = text(&held, "gatewayReference");
    same("worldpay-capture-part", &order("60.00").of(&payment).capture(&net).await);
    same("worldpay-refund-part", &order("25.00").of(&payment).refund(&net).await);
    same("worldpay-status", &status(&net, ACCOUNT, "refTransId", &payment).await);
    let second = text(&order("12.00").authorize(&net).await, "gatewayReference");
    same("worldpay-void", &order("12.00").of(&second).void(&net).await);
    // There is nothing left to cancel, and Worldpay gives no link for it.
    let again = order("12.00").of(&second).void(&net).await;
    assert_eq!(verdict(&again), "409 Rejected Voided null false");
    let sale = text(&order("7.00").charge(&net).await, "gatewayReference");
    assert_eq!(order("7.00").of(&sale).void(&net).await.status, 202);
    let expected = [
        "authorize Approved 10000",
        "capture Approved 6000",
        "refund Approved 2500",
        "authorize Approved 1200",
        "void Approved 1200",
        "charge Approved 700",
        "void Approved 700",
    ];
    assert_eq!(ledger(&net), expected);
}

#[tokio::test]
async fn what_worldpay_may_have_done_is_unknown_and_is_not_sent_again() {
    let net = net().await;
    for (effect, executed) in
        [(Effect::Cut, 1), (Effect::Half, 1), (Effect::Html, 1), (Effect::Status(500), 1)]
    {
        net.sandbox.reset();
        let fault = Fault::once(effect).at(Provider::Worldpay).on(Operation::Charge);
        net.sandbox.fault(fault).unwrap();
        let answer = Order::new(ACCOUNT, "10.50", "GBP").charge(&net).await;
        assert_eq!(verdict(&answer), "202 Accepted Unknown null false", "{effect:?}");
        assert_eq!((net.sandbox.ledger().len(), net.sandbox.requests()), (executed, 1));
    }
    // The links are in the journal, so that a refund needs no question.
    net.sandbox.reset();
    let sale = Order::new(ACCOUNT, "10.50", "GBP").charge(&net).await;
    net.sandbox.fault(Fault::once(Effect::Cut).on(Operation::Read)).unwrap();
    let order = Order::new(ACCOUNT, "10.50", "GBP").of(&text(&sale, "gatewayReference"));
    assert_eq!(verdict(&order.refund(&net).await), "202 Accepted Pending null false");
}

#[tokio::test]
async fn an_entity_of_somebody_else_is_seen_before_a_payment() {
    let net = net().await;
    account(&net, "wrong", "Worldpay", &credentials("unknown")).await;
    for (name, expected) in [(ACCOUNT, "Valid"), ("wrong", "AccountUnknown")] {
        let path = format!("/PaymentGatewayAccounts/{name}/validate");
        let answer = net.send("POST", &path, None).await.unwrap();
        assert!(answer.text().contains(&format!("\"{expected}\"")), "{}", answer.text());
    }
    assert_eq!(net.sandbox.ledger().len(), 0);
}

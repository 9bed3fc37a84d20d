//! Authorize.Net from beginning to end, with every line of the ledger.

use super::order::{Order, account, ledger, status, text, verdict};
use serde_json::json;
use std::time::Duration;
use tests::net::Net;
use tests::sandbox::Provider;
use tests::sandbox::fault::{Effect, Fault, Operation};
use tests::sandbox::standing::Standing;

const ACCOUNT: &str = "authorize-net";
const KEY: &str = "346HZ32z3fP4hTG2";

async fn net() -> Net {
    let net = Net::start().await.unwrap();
    let credentials = json!([
        {"key": "ApiLoginId", "value": "5KP3u95bQpv"},
        {"key": "TransactionKey", "value": KEY},
        {"key": "Currency", "value": "USD"},
        {"key": "Environment", "value": "Test"},
    ]);
    account(&net, ACCOUNT, "AuthorizeNet", &credentials).await;
    net
}

#[tokio::test]
async fn authorize_net_charges_and_declines_in_the_currency_of_the_account() {
    let net = net().await;
    for (amount, currency, expected) in [
        ("10.50", "USD", "200 Success Captured null false"),
        ("1004.00", "USD", "409 Rejected Declined LostOrStolen false"),
        ("1008.00", "USD", "409 Rejected Declined ExpiredCard false"),
        ("1019.00", "USD", "409 Rejected Declined ProcessingError true"),
    ] {
        let order = Order::new(ACCOUNT, amount, currency).my_ref("ORD-77");
        let answer = order.charge(&net).await;
        assert_eq!(verdict(&answer), expected, "{amount} {currency}: {}", answer.text());
        let entry = net.sandbox.ledger().pop().unwrap();
        assert_eq!(entry.reference.as_deref(), Some("ORD-77"));
    }
    let answer = Order::new(ACCOUNT, "10.50", "EUR").charge(&net).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    let expected = [
        "charge Approved 1050 USD",
        "charge Declined 100400 USD 4",
        "charge Declined 100800 USD 8",
        "charge Declined 101900 USD 19",
    ];
    assert_eq!(ledger(&net), expected);
}

#[tokio::test]
async fn authorize_net_holds_captures_refunds_voids_and_tells() {
    let net = net().await;
    let order = |amount| Order::new(ACCOUNT, amount, "USD");
    let held = order("100.00").my_ref("ORD-1").authorize(&net).await;
    assert_eq!(verdict(&held), "200 Success Authorized null false", "{}", held.text());
    let payment = text(&held, "gatewayReference");
    let told = status(&net, ACCOUNT, "refTransId", &payment).await;
    assert_eq!(verdict(&told), "200 Success Authorized null false", "{}", told.text());
    let captured = order("60.00").of(&payment).capture(&net).await;
    assert_eq!(verdict(&captured), "200 Success Captured null false", "{}", captured.text());
    let again = order("1.00").of(&payment).capture(&net).await;
    assert_eq!(again.status, 400, "a second capture: {}", again.text());
    let refunded = order("25.00").of(&payment).refund(&net).await;
    assert_eq!(verdict(&refunded), "200 Success Refunded null false", "{}", refunded.text());
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
async fn a_key_that_authorize_net_took_back_is_told_with_status_200_and_is_a_rejection() {
    let net = net().await;
    net.sandbox.stand(Provider::AuthorizeNet, KEY, Standing::Revoked).unwrap();
    let answer = Order::new(ACCOUNT, "10.50", "USD").charge(&net).await;
    assert_eq!(verdict(&answer), "409 Rejected null null false", "{}", answer.text());
    assert_eq!(net.sandbox.ledger().len(), 0);
}

#[tokio::test]
async fn what_authorize_net_may_have_done_is_unknown_and_then_found_by_its_number() {
    let net = net().await;
    for (effect, before) in [(Effect::Cut, true), (Effect::Cut, false), (Effect::Half, false)] {
        net.sandbox.reset();
        let fault = Fault::once(effect).at(Provider::AuthorizeNet).on(Operation::Charge);
        net.sandbox.fault(if before { fault.before() } else { fault }).unwrap();
        let answer = Order::new(ACCOUNT, "10.50", "USD").charge(&net).await;
        assert_eq!(verdict(&answer), "202 Accepted Unknown null false", "{}", answer.text());
        assert_eq!(net.sandbox.requests(), 1, "sent again? {effect:?}");
        if !before {
            found(&net, &text(&answer, "transactionId")).await;
        }
    }
}

/// Waits until the list has told what became of it.
async fn found(net: &Net, transaction: &str) {
    for _ in 0..300 {
        let told = net.send("GET", &format!("/Transactions/{transaction}"), None).await.unwrap();
        if text(&told, "state") == "Captured" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("nobody found out what became of {transaction}");
}

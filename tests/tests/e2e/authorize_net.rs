//! Authorize.Net from beginning to end, with every line of the ledger.

use super::journey::{NOT_ASKED, SOLD, Sale, doubts, lives, sells};
use super::order::{Order, account, ledger, text, verdict};
use super::webhooks::until;
use serde_json::{Value, json};
use std::time::Duration;
use tests::net::Net;
use tests::net::client::Answer;
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
    let sale =
        |amount, verdict, line| Sale { account: ACCOUNT, amount, currency: "USD", verdict, line };
    let entries = sells(
        &net,
        &[
            sale("10.50", SOLD, "charge Approved 1050 USD"),
            sale(
                "1004.00",
                "409 Rejected Declined LostOrStolen false",
                "charge Declined 100400 USD 4",
            ),
            sale(
                "1008.00",
                "409 Rejected Declined ExpiredCard false",
                "charge Declined 100800 USD 8",
            ),
            sale(
                "1019.00",
                "409 Rejected Declined ProcessingError true",
                "charge Declined 101900 USD 19",
            ),
        ],
    )
    .await;
    assert!(entries.iter().all(|entry| entry.reference.as_deref() == Some("ORD-77")));
    let answer = Order::new(ACCOUNT, "10.50", "EUR").charge(&net).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_eq!(net.sandbox.ledger().len(), entries.len());
}

#[tokio::test]
async fn authorize_net_holds_captures_refunds_voids_and_tells() {
    lives(&net().await, ACCOUNT, "1.00", NOT_ASKED).await;
}

#[tokio::test]
async fn what_was_paid_with_a_card_that_authorize_net_keeps_is_refunded() {
    let net = net().await;
    let order = Order::new(ACCOUNT, "10.50", "USD");
    let mut body: Value = serde_json::from_str(&order.body()).unwrap();
    body["generateToken"] = true.into();
    let kept = net.send("POST", "/PaymentGateway/authorize", Some(&body)).await.unwrap();
    let token = text(&kept, "gatewayToken");
    body.as_object_mut().unwrap().remove("card");
    body.as_object_mut().unwrap().remove("generateToken");
    body["userToken"] = token.into();
    let paid = net.send("POST", "/PaymentGateway/charge", Some(&body)).await.unwrap();
    assert_eq!(verdict(&paid), "200 Success Captured null false", "{}", paid.text());
    // The end of the card's number, which a refund asks for, is known by that answer only.
    let refunded = order.of(&text(&paid, "gatewayReference")).refund(&net).await;
    assert_eq!(verdict(&refunded), "200 Success Refunded null false", "{}", refunded.text());
    let expected =
        ["authorize Approved 1050 USD", "charge Approved 1050 USD", "refund Approved 1050 USD"];
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
    let doubts = doubts(&net, ACCOUNT, Provider::AuthorizeNet, 1).await;
    let (is_carried_out, last) = doubts.last().unwrap();
    assert!(is_carried_out);
    found(&net, last).await;
}

/// Has Authorize.Net settle before anybody can ask it.
async fn settled_unseen(net: &Net, operation: Operation, order: Order) -> Answer {
    let unasked = Fault::standing(Effect::Status(503)).before();
    net.sandbox.fault(unasked.at(Provider::AuthorizeNet).on(Operation::Read)).unwrap();
    net.sandbox.fault(Fault::once(Effect::Cut).on(operation)).unwrap();
    let answer = if operation == Operation::Refund {
        order.refund(net).await
    } else {
        order.charge(net).await
    };
    assert_eq!(answer.status, 202, "{}", answer.text());
    net.sandbox.settle();
    net.sandbox.calm();
    answer
}

#[tokio::test]
async fn what_authorize_net_has_settled_meanwhile_is_found_in_a_batch() {
    let net = net().await;
    let order = || Order::new(ACCOUNT, "10.50", "USD");
    let paid = order().charge(&net).await;
    net.sandbox.settle();
    let lost = settled_unseen(&net, Operation::Charge, order()).await;
    found(&net, &text(&lost, "transactionId")).await;
    let refund = order().of(&text(&paid, "gatewayReference"));
    settled_unseen(&net, Operation::Refund, refund).await;
    let paid = text(&paid, "transactionId");
    let told = until(&net, &paid, |found| found["changes"][0]["outcome"] == "approved").await;
    assert_eq!(told["state"], "Refunded");
    assert_eq!(net.sandbox.ledger().len(), 3, "{:?}", ledger(&net));
}

#[tokio::test]
async fn what_authorize_net_did_not_do_is_in_no_batch_and_stays_unknown() {
    let net = net().await;
    let order = || Order::new(ACCOUNT, "10.50", "USD");
    let cut = Fault::once(Effect::Cut).before().at(Provider::AuthorizeNet);
    net.sandbox.fault(cut.on(Operation::Charge)).unwrap();
    let lost = order().charge(&net).await;
    assert_eq!(verdict(&lost), "202 Accepted Unknown null false", "{}", lost.text());
    assert_eq!(order().charge(&net).await.status, 200);
    net.sandbox.settle();
    // The list, the list of batches, and what is in the batch.
    let before = net.sandbox.questions();
    while net.sandbox.questions() < before + 4 {
        tokio::time::sleep(tests::net::PAUSE).await;
    }
    let path = format!("/Transactions/{}", text(&lost, "transactionId"));
    let told = net.send("GET", &path, None).await.unwrap();
    assert_eq!(text(&told, "state"), "Unknown", "{}", told.text());
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

//! CyberSource from beginning to end, with every line of the ledger.

use super::journey::{SOLD, Sale, doubts, lives, sells};
use super::order::{Order, account, verdict};
use serde_json::json;
use tests::net::Net;
use tests::sandbox::Provider;

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
    account(net, ACCOUNT, "CyberSource", &credentials).await;
}

async fn net() -> Net {
    let net = Net::start().await.unwrap();
    store(&net, SECRET).await;
    net
}

#[tokio::test]
async fn cybersource_charges_declines_and_counts_in_major_units() {
    let net = net().await;
    let sale = |amount, currency, verdict, line| Sale {
        account: ACCOUNT,
        amount,
        currency,
        verdict,
        line,
    };
    let entries = sells(
        &net,
        &[
            sale("10.50", "USD", SOLD, "charge Approved 1050 USD"),
            sale("1050", "JPY", SOLD, "charge Approved 1050 JPY"),
            sale("1.250", "KWD", SOLD, "charge Approved 1250 KWD"),
            sale(
                "1204.00",
                "USD",
                "409 Rejected Declined InsufficientFunds true",
                "charge Declined 120400 USD INSUFFICIENT_FUND",
            ),
            sale(
                "1205.00",
                "USD",
                "409 Rejected Declined LostOrStolen false",
                "charge Declined 120500 USD STOLEN_LOST_CARD",
            ),
            sale(
                "1478.00",
                "USD",
                "409 Rejected Declined AuthenticationRequired true",
                "charge Declined 147800 USD CONSUMER_AUTHENTICATION_REQUIRED",
            ),
        ],
    )
    .await;
    assert!(entries.iter().all(|entry| entry.reference.as_deref() == Some("ORD-77")));
}

#[tokio::test]
async fn cybersource_holds_captures_refunds_voids_and_tells() {
    let more_than_is_held = "40.01";
    lives(&net().await, ACCOUNT, more_than_is_held, "409 Rejected Refunded null false").await;
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
    doubts(&net().await, ACCOUNT, Provider::Cybersource, 1).await;
}

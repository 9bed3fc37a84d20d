//! Braintree from beginning to end, with every line of the ledger.

use super::journey::{NOT_ASKED, SOLD, Sale, doubts, lives, sells};
use super::order::{Order, account, status, verdict};
use serde_json::json;
use tests::net::Net;
use tests::sandbox::Provider;

const USD: &str = "braintree-USD";

async fn net(currency: &str) -> Net {
    let net = Net::start().await.unwrap();
    store(&net, currency).await;
    net
}

/// An account for each currency, since a merchant account has one.
async fn store(net: &Net, currency: &str) {
    let name = format!("shop_{}", currency.to_ascii_lowercase());
    let credentials = json!([
        {"key": "PublicKey", "value": "public_example1"},
        {"key": "PrivateKey", "value": "0123456789abcdef0123456789abcdef"},
        {"key": "MerchantAccountId", "value": name},
        {"key": "Currency", "value": currency},
        {"key": "Environment", "value": "Test"},
    ]);
    account(net, &format!("braintree-{currency}"), "Braintree", &credentials).await;
}

#[tokio::test]
async fn braintree_charges_and_declines_in_the_currency_of_the_merchant_account() {
    let net = net("USD").await;
    store(&net, "JPY").await;
    store(&net, "KWD").await;
    let sale = |account, amount, verdict, line| Sale {
        account,
        amount,
        currency: account.trim_start_matches("braintree-"),
        verdict,
        line,
    };
    let usd = |amount, verdict, line| sale(USD, amount, verdict, line);
    let entries = sells(
        &net,
        &[
            usd("10.50", SOLD, "charge Approved 1050 USD"),
            sale("braintree-JPY", "1050", SOLD, "charge Approved 1050 JPY"),
            sale("braintree-KWD", "1.250", SOLD, "charge Approved 1250 KWD"),
            usd(
                "2001.00",
                "409 Rejected Declined InsufficientFunds true",
                "charge Declined 200100 USD 2001",
            ),
            usd(
                "2013.00",
                "409 Rejected Declined LostOrStolen false",
                "charge Declined 201300 USD 2013",
            ),
            usd(
                "3000.00",
                "409 Rejected Declined ProcessingError true",
                "charge Declined 300000 USD 3000",
            ),
            usd(
                "5001.00",
                "409 Rejected null null false",
                "charge Declined 500100 USD APPLICATION_INCOMPLETE",
            ),
        ],
    )
    .await;
    let ours = |order: &str| order.starts_with("ORD-77/");
    assert!(entries.iter().all(|entry| entry.reference.as_deref().is_some_and(ours)));
    let answer = Order::new(USD, "10.50", "JPY").charge(&net).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    let told = status(&net, USD, "myRef", "ORD-77").await;
    assert_eq!(verdict(&told), SOLD, "{}", told.text());
    assert_eq!(net.sandbox.ledger().len(), entries.len());
}

#[tokio::test]
async fn braintree_holds_captures_refunds_voids_and_tells() {
    lives(&net("USD").await, USD, "1.00", NOT_ASKED).await;
}

#[tokio::test]
async fn what_braintree_may_have_done_is_unknown_and_is_not_sent_again() {
    doubts(&net("USD").await, USD, Provider::Braintree, 2).await;
}

//! Checkout.com from beginning to end, with every line of the ledger.

use super::journey::{SOLD, Sale, doubts, sells};
use super::order::{Order, account, ledger, status, text, verdict};
use serde_json::json;
use tests::net::Net;
use tests::sandbox::Provider;

const ACCOUNT: &str = "checkout";
const KEY: &str = "sk_sbox_netOfTheTests0123456789";

async fn net() -> Net {
    let net = Net::start().await.unwrap();
    let credentials = json!([{"key": "SecretKey", "value": KEY}]);
    account(&net, ACCOUNT, "Checkout", &credentials).await;
    net
}

#[tokio::test]
async fn checkout_charges_declines_and_counts_in_its_own_units() {
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
            sale("1050", "CLP", SOLD, "charge Approved 105000 CLP"),
            sale("1.250", "KWD", SOLD, "charge Approved 1250 KWD"),
            sale(
                "10.05",
                "USD",
                "409 Rejected Declined CardDeclined false",
                "charge Declined 1005 USD 20005",
            ),
            sale(
                "10.51",
                "USD",
                "409 Rejected Declined InsufficientFunds true",
                "charge Declined 1051 USD 20051",
            ),
            sale(
                "10.59",
                "USD",
                "409 Rejected Declined Fraud false",
                "charge Declined 1059 USD 20059",
            ),
        ],
    )
    .await;
    assert!(entries.iter().all(|entry| entry.reference.as_deref() == Some("ORD-77")));
    assert!(entries.iter().all(|entry| entry.idempotency_key.is_some()));
}

#[tokio::test]
async fn checkout_holds_takes_changes_for_later_and_tells() {
    let net = net().await;
    let order = |amount| Order::new(ACCOUNT, amount, "USD");
    let held = order("100.00").my_ref("ORD-1").authorize(&net).await;
    assert_eq!(verdict(&held), "200 Success Authorized null false", "{}", held.text());
    let payment = text(&held, "gatewayReference");
    let pending = "202 Accepted Pending null false";
    for part in ["35.00", "25.00"] {
        assert_eq!(verdict(&order(part).of(&payment).capture(&net).await), pending, "{part}");
    }
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
        "capture Approved 3500 USD",
        "capture Approved 2500 USD",
        "refund Approved 2500 USD",
        "authorize Approved 500 USD",
        "void Approved 500 USD",
    ];
    assert_eq!(ledger(&net), expected);
}

#[tokio::test]
async fn what_checkout_may_have_done_is_unknown_and_is_done_once() {
    doubts(&net().await, ACCOUNT, Provider::Checkout, 1).await;
}

//! Braintree from beginning to end, with every line of the ledger.

use super::order::{Order, account, ledger, status, text, verdict};
use serde_json::json;
use tests::net::Net;
use tests::sandbox::Provider;
use tests::sandbox::fault::{Effect, Fault, Operation};

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
    for (amount, currency, expected) in [
        ("10.50", "USD", "200 Success Captured null false"),
        ("1050", "JPY", "200 Success Captured null false"),
        ("1.250", "KWD", "200 Success Captured null false"),
        ("2001.00", "USD", "409 Rejected Declined InsufficientFunds true"),
        ("2013.00", "USD", "409 Rejected Declined LostOrStolen false"),
        ("3000.00", "USD", "409 Rejected Declined ProcessingError true"),
        ("5001.00", "USD", "409 Rejected null null false"),
    ] {
        let order = Order::new(&format!("braintree-{currency}"), amount, currency);
        let answer = order.my_ref("ORD-77").charge(&net).await;
        assert_eq!(verdict(&answer), expected, "{amount} {currency}: {}", answer.text());
        let entry = net.sandbox.ledger().pop().unwrap();
        assert!(entry.reference.is_some_and(|order| order.starts_with("ORD-77/")));
    }
    let answer = Order::new("braintree-USD", "10.50", "JPY").charge(&net).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    let told = status(&net, "braintree-USD", "myRef", "ORD-77").await;
    assert_eq!(verdict(&told), "200 Success Captured null false", "{}", told.text());
    let expected = [
        "charge Approved 1050 USD",
        "charge Approved 1050 JPY",
        "charge Approved 1250 KWD",
        "charge Declined 200100 USD 2001",
        "charge Declined 201300 USD 2013",
        "charge Declined 300000 USD 3000",
        "charge Declined 500100 USD APPLICATION_INCOMPLETE",
    ];
    assert_eq!(ledger(&net), expected);
}

#[tokio::test]
async fn braintree_holds_captures_refunds_voids_and_tells() {
    let net = net("USD").await;
    let order = |amount| Order::new("braintree-USD", amount, "USD");
    let held = order("100.00").my_ref("ORD-1").authorize(&net).await;
    assert_eq!(verdict(&held), "200 Success Authorized null false", "{}", held.text());
    let payment = text(&held, "gatewayReference");
    let told = status(&net, "braintree-USD", "refTransId", &payment).await;
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
async fn what_braintree_may_have_done_is_unknown_and_is_not_sent_again() {
    let net = net("USD").await;
    for (effect, before) in [(Effect::Cut, true), (Effect::Cut, false), (Effect::Half, false)] {
        net.sandbox.reset();
        let fault = Fault::once(effect).at(Provider::Braintree).on(Operation::Charge);
        net.sandbox.fault(if before { fault.before() } else { fault }).unwrap();
        let answer = Order::new("braintree-USD", "10.50", "USD").charge(&net).await;
        assert_eq!(verdict(&answer), "202 Accepted Unknown null false", "{}", answer.text());
        assert_eq!(net.sandbox.requests(), 2, "sent again? {effect:?}");
    }
}

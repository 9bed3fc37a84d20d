//! Payments from beginning to end, with every byte of the answers and every line of the ledger.

use super::order::{Order, VISA, same, status, text, verdict};
use serde_json::json;
use tests::net::Net;
use tests::net::client::Http;

/// The ledger in one line an entry.
fn ledger(net: &Net) -> Vec<String> {
    let line = |entry: tests::sandbox::ledger::Entry| {
        let amount = entry.amount.map_or("-".to_owned(), |amount| amount.to_string());
        let currency = entry.currency.unwrap_or_default();
        format!("{} {} {:?} {amount} {currency}", entry.provider, entry.operation, entry.outcome)
    };
    net.sandbox.ledger().into_iter().map(line).collect()
}

#[tokio::test]
async fn a_charge_reaches_each_provider_in_its_own_units() {
    let net = Net::start().await.unwrap();
    for (account, currency, amount, units) in [
        ("stripe-primary", "USD", "10.50", 1_050),
        ("stripe-primary", "JPY", "1050", 1_050),
        ("stripe-primary", "KWD", "1.250", 1_250),
        ("stripe-primary", "CLP", "1050", 1_050),
        ("adyen-backup", "USD", "10.50", 1_050),
        ("adyen-backup", "JPY", "1050", 1_050),
        ("adyen-backup", "KWD", "1.255", 1_255),
        // Adyen counts pesos in hundredths.
        ("adyen-backup", "CLP", "1050", 105_000),
    ] {
        let order = Order::new(account, amount, currency).my_ref("ORD-77");
        let answer = order.charge(&net).await;
        same(&format!("charge-{account}-{}", currency.to_lowercase()), &answer);
        let entry = net.sandbox.ledger().pop().unwrap();
        assert_eq!((entry.amount, entry.currency.as_deref()), (Some(units), Some(currency)));
        assert_eq!((entry.operation, entry.pan.as_deref()), ("charge", Some(VISA)));
        assert_eq!(entry.reference.as_deref(), Some("ORD-77"));
        assert_eq!(entry.idempotency_key, Some(text(&answer, "transactionId")));
        assert_eq!(entry.payment, text(&answer, "gatewayReference"));
    }
    assert_eq!(net.sandbox.ledger().len(), 8);
}

#[tokio::test]
async fn stripe_holds_captures_in_part_refunds_in_part_and_tells() {
    let net = Net::start().await.unwrap();
    let order = |amount| Order::new("stripe-primary", amount, "USD");
    let held = order("100.00").my_ref("ORD-1").authorize(&net).await;
    same("stripe-authorize", &held);
    let payment = text(&held, "gatewayReference");
    same("stripe-status-held", &status(&net, "stripe-primary", "refTransId", &payment).await);
    same("stripe-capture-part", &order("60.00").of(&payment).capture(&net).await);
    let again = order("40.00").of(&payment).capture(&net).await;
    assert_eq!(verdict(&again), "409 Rejected null null false");
    same("stripe-refund-part", &order("25.00").of(&payment).refund(&net).await);
    let too_much = order("35.01").of(&payment).refund(&net).await;
    assert_eq!(verdict(&too_much), "409 Rejected Refunded null false");
    same("stripe-status-captured", &status(&net, "stripe-primary", "refTransId", &payment).await);
    let found = status(&net, "stripe-primary", "myRef", "ORD-1").await;
    assert_eq!((found.status, text(&found, "gatewayReference")), (200, payment));
    let expected = [
        "stripe authorize Approved 10000 USD",
        "stripe capture Approved 6000 USD",
        "stripe refund Approved 2500 USD",
    ];
    assert_eq!(ledger(&net), expected);
}

#[tokio::test]
async fn adyen_holds_and_takes_every_change_for_later() {
    let net = Net::start().await.unwrap();
    let order = |amount| Order::new("adyen-backup", amount, "USD");
    let held = order("100.00").my_ref("ORD-1").authorize(&net).await;
    same("adyen-authorize", &held);
    let payment = text(&held, "gatewayReference");
    same("adyen-capture-part", &order("60.00").of(&payment).capture(&net).await);
    same("adyen-refund-part", &order("25.00").of(&payment).refund(&net).await);
    // What was captured is not voided, and nobody is asked.
    let late = order("100.00").of(&payment).void(&net).await;
    assert_eq!(verdict(&late), "409 Rejected Refunded null false");
    let other = text(&order("100.00").authorize(&net).await, "gatewayReference");
    same("adyen-void", &order("100.00").of(&other).void(&net).await);
    same("adyen-status", &status(&net, "adyen-backup", "refTransId", &payment).await);
    let expected = [
        "adyen authorize Approved 10000 USD",
        "adyen capture Approved 6000 USD",
        "adyen refund Approved 2500 USD",
        "adyen authorize Approved 10000 USD",
        "adyen void Approved 10000 USD",
    ];
    assert_eq!(ledger(&net), expected);
}

#[tokio::test]
async fn a_hold_is_voided_once() {
    let net = Net::start().await.unwrap();
    let order = Order::new("stripe-primary", "12.00", "EUR");
    let payment = text(&order.authorize(&net).await, "gatewayReference");
    same("stripe-void", &order.clone().of(&payment).void(&net).await);
    let again = order.of(&payment).void(&net).await;
    assert_eq!(verdict(&again), "409 Rejected Voided null false");
    let expected = ["stripe authorize Approved 1200 EUR", "stripe void Approved 1200 EUR"];
    assert_eq!(ledger(&net), expected);
}

#[tokio::test]
async fn a_token_stands_for_its_card_and_is_the_merchants_own() {
    let net = Net::start().await.unwrap();
    let payload = json!({ "payload": VISA });
    let kept = net.send("POST", "/StringTokens", Some(&payload)).await.unwrap();
    let token = text(&kept, "token");
    let order = Order::new("adyen-backup", "10.50", "USD").number(&format!("@{token}"));
    assert_eq!(verdict(&order.charge(&net).await), "200 Success Captured null false");
    assert_eq!(net.sandbox.ledger().pop().unwrap().pan.as_deref(), Some(VISA));

    net.run(&["merchants", "create", "other"]).unwrap();
    let key = net.new_key_of("other", "till", "payments,accounts").unwrap();
    let stranger = net.client(Http::One).with_key(&key);
    let account = json!({"paymentGatewayName": "NULLSuccess", "credentials": []});
    let path = "/PaymentGatewayAccounts/adyen-backup";
    assert_eq!(stranger.send("PUT", path, Some(&account)).await.unwrap().status, 200);
    let answer = stranger.send_bytes("POST", "/PaymentGateway/charge", order.body()).await.unwrap();
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_eq!(text(&answer, "fieldName"), "card.cardNumber");
    assert_eq!(net.sandbox.ledger().len(), 1);
}

#[tokio::test]
async fn the_built_in_gateways_answer_without_a_provider() {
    let net = Net::start().await.unwrap();
    let order = |account| Order::new(account, "10.50", "USD");
    same("null-success-charge", &order("null-success").charge(&net).await);
    same("null-failure-charge", &order("null-failure").charge(&net).await);
    let held = order("null-success").authorize(&net).await;
    let payment = text(&held, "gatewayReference");
    let other = text(&order("null-success").authorize(&net).await, "gatewayReference");
    for answer in [
        order("null-success").of(&payment).capture(&net).await,
        order("null-success").of(&payment).refund(&net).await,
        order("null-success").of(&other).void(&net).await,
    ] {
        assert_eq!((answer.status, text(&answer, "operationResultCode")), (200, "Success".into()));
    }
    assert_eq!(net.sandbox.requests(), 0);
}

#[tokio::test]
async fn inline_credentials_win_over_the_name() {
    let net = Net::start().await.unwrap();
    let mut body: serde_json::Value =
        serde_json::from_str(&Order::new("null-failure", "10.50", "USD").body()).unwrap();
    body["paymentGatewayAccount"] = json!({"paymentGatewayName": "nullsuccess", "credentials": []});
    let answer = net.send("POST", "/PaymentGateway/charge", Some(&body)).await.unwrap();
    assert_eq!((answer.status, text(&answer, "gatewayName")), (200, "NULLSuccess".into()));
}

#[tokio::test]
async fn an_amount_is_exact_or_refused() {
    let net = Net::start().await.unwrap();
    for (amount, currency, field) in [
        ("10.005", "USD", "amount"),
        ("1.5", "JPY", "amount"),
        ("1e400", "USD", "amount"),
        ("-1", "USD", "amount"),
        ("\"10\"", "USD", "amount"),
        ("1.0001", "KWD", "amount"),
        ("10", "XXX", "currency"),
    ] {
        let answer = Order::new("stripe-primary", amount, currency).charge(&net).await;
        assert_eq!((answer.status, text(&answer, "fieldName")), (400, field.into()), "{amount}");
    }
    let nan = Order::new("stripe-primary", "NaN", "USD").charge(&net).await;
    assert_eq!(nan.status, 400);
    // What Stripe cannot take is refused before anything is sent.
    let fine = Order::new("stripe-primary", "1.255", "KWD").charge(&net).await;
    assert_eq!((fine.status, text(&fine, "fieldName")), (400, "amount".into()));
    assert_eq!(net.sandbox.requests(), 0);
    let exponent = Order::new("adyen-backup", "1.05e1", "USD").charge(&net).await;
    assert_eq!(exponent.status, 200);
    assert_eq!(net.sandbox.ledger().pop().unwrap().amount, Some(1_050));
}

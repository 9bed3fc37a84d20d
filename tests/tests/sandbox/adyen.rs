//! Adyen: what is refused, what is declined, and what may follow what.

use super::talk::{ADYEN_KEY, Talk, read, replaced};
use serde_json::{Value, json};
use tests::net::client::Http;

fn payment() -> Value {
    json!({
        "amount": {"currency": "EUR", "value": 1099},
        "merchantAccount": "ExampleMerchantECOM",
        "reference": "ORD-1",
        "returnUrl": "https://shop.example/return",
        "captureDelayHours": 0,
        "paymentMethod": {"type": "scheme", "number": "4111111111111111", "expiryMonth": "03",
                          "expiryYear": "2030", "cvc": "737", "holderName": "Ann Example"},
    })
}

/// The payment with the value at a pointer replaced, or removed when it is null.
fn payment_with(pointer: &str, value: Value) -> Value {
    replaced(payment(), pointer, &value)
}

#[tokio::test]
async fn fields_are_checked_as_strictly_as_documented() {
    let talk = Talk::start();
    for (pointer, value, expected) in [
        ("/foo", json!(1), (400, "702")),
        ("/paymentMethod/foo", json!(1), (400, "702")),
        ("/amount/value", json!("1099"), (400, "702")),
        ("/amount/value", json!(10.5), (400, "702")),
        ("/amount/value", json!(-1), (422, "137")),
        ("/amount/currency", json!("eur"), (422, "138")),
        ("/amount", Value::Null, (422, "100")),
        ("/merchantAccount", Value::Null, (403, "901")),
        ("/merchantAccount", json!("Nobody"), (403, "901")),
        ("/reference", Value::Null, (422, "130")),
        ("/returnUrl", Value::Null, (422, "14_030")),
        ("/paymentMethod/number", json!("4111111111111112"), (422, "101")),
        ("/paymentMethod/expiryMonth", json!("13"), (422, "129")),
        ("/paymentMethod/expiryMonth", json!(3), (400, "702")),
        ("/paymentMethod/cvc", json!("12"), (422, "103")),
        ("/shopperInteraction", json!("Phone"), (400, "702")),
        ("/billingAddress", json!({"city": "London"}), (422, "100")),
        ("/metadata", json!({"a-name-of-more-than-20": "1"}), (422, "177")),
    ] {
        let (status, body) =
            talk.ask_adyen("/payments", &payment_with(pointer, value.clone())).await;
        let code = body["errorCode"].as_str().unwrap();
        assert_eq!((status, code), expected, "{pointer} {value}: {body}");
    }
    assert_eq!(talk.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn keys_bodies_and_content_types_are_checked() {
    let talk = Talk::start();
    let path = "/adyen/v71/payments";
    let without = talk.client(Http::One).send("POST", path, Some(&payment())).await;
    assert_eq!(read(without).0, 401);
    let text = talk.adyen().with_header("content-type", "text/plain");
    assert_eq!(read(text.send("POST", path, Some(&payment())).await).0, 415);
    let (status, body) = read(talk.adyen().send_bytes("POST", path, "{").await);
    assert_eq!((status, body["errorCode"].as_str()), (400, Some("702")));
    assert_eq!(
        read(talk.adyen().send("POST", "/adyen/v70/payments", Some(&payment())).await).0,
        404
    );
}

#[tokio::test]
async fn refusals_are_asked_for_by_name_or_by_code() {
    let talk = Talk::start();
    for (name, result, code, reason) in [
        ("DECLINED", "Refused", "2", "Refused"),
        ("NOT_ENOUGH_BALANCE", "Refused", "12", "Not enough balance"),
        ("CARD_EXPIRED", "Refused", "6", "Expired Card"),
        ("ERROR", "Error", "4", "Acquirer Error"),
        ("fraud", "Refused", "20", "FRAUD"),
    ] {
        let by_name = payment_with("/paymentMethod/holderName", name.into());
        let data = json!({"RequestedTestAcquirerResponseCode": code});
        for body in [by_name, payment_with("/additionalData", data)] {
            let (status, answer) = talk.ask_adyen("/payments", &body).await;
            assert_eq!((status, &answer["resultCode"]), (200, &result.into()));
            assert_eq!(answer["refusalReasonCode"], code);
            assert_eq!(answer["refusalReason"], reason);
            assert_eq!(answer["merchantReference"], "ORD-1");
        }
    }
    let stranger = ["42424242", "00000000"].concat();
    let body = payment_with("/paymentMethod/number", stranger.into());
    assert_eq!(talk.ask_adyen("/payments", &body).await.1["resultCode"], "Refused");
    assert_eq!(talk.sandbox.ledger().pop().unwrap().pan.unwrap(), "424242…0000");
}

#[tokio::test]
async fn a_challenge_is_asked_for_unless_it_was_met() {
    let talk = Talk::start();
    let number = json!("4917610000000000");
    let mut body = payment_with("/paymentMethod/number", number);
    assert_eq!(talk.ask_adyen("/payments", &body).await.1["resultCode"], "IdentifyShopper");
    body["mpiData"] = json!({"threeDSVersion": "2.2.0", "eci": "05", "directoryResponse": "Y"});
    assert_eq!(talk.ask_adyen("/payments", &body).await.1["resultCode"], "Authorised");
    assert_eq!(talk.lines(), ["charge Pending 1099 EUR challenge", "charge Approved 1099 EUR"]);
}

#[tokio::test]
async fn modifications_are_received_and_decided_in_the_ledger() {
    let talk = Talk::start();
    let (_, held) = talk
        .ask_adyen("/payments", &payment_with("/additionalData", json!({"manualCapture": "true"})))
        .await;
    let psp = held["pspReference"].as_str().unwrap();
    let modify = async |what: &str, value: Option<u64>| {
        let mut body = json!({"merchantAccount": "ExampleMerchantECOM", "reference": "M-1"});
        if let Some(value) = value {
            body["amount"] = json!({"currency": "EUR", "value": value});
        }
        let (status, answer) = talk.ask_adyen(&format!("/payments/{psp}/{what}"), &body).await;
        assert_eq!((status, &answer["status"]), (201, &"received".into()), "{answer}");
        assert_eq!(answer["paymentPspReference"], psp);
        assert_ne!(answer["pspReference"], psp);
    };
    modify("refunds", Some(1)).await;
    modify("captures", Some(500)).await;
    modify("captures", Some(600)).await;
    modify("captures", Some(599)).await;
    modify("refunds", Some(200)).await;
    modify("refunds", Some(900)).await;
    modify("cancels", None).await;
    let lines = [
        "authorize Approved 1099 EUR",
        "refund Failed 1 EUR more than was captured",
        "capture Approved 500 EUR",
        "capture Failed 600 EUR more than was authorised",
        "capture Approved 599 EUR",
        "refund Approved 200 EUR",
        "refund Failed 900 EUR more than was captured",
        "void Failed 1099 EUR the payment was captured",
    ];
    assert_eq!(talk.lines(), lines);
    let body = json!({"merchantAccount": "ExampleMerchantECOM"});
    let (status, answer) = talk.ask_adyen("/payments/NOSUCHPAYMENT000/cancels", &body).await;
    assert_eq!((status, answer["errorCode"].as_str()), (422, Some("167")));
}

#[tokio::test]
async fn a_key_is_executed_once_and_echoed() {
    let talk = Talk::start();
    let client = talk.client(Http::Two).with_key(ADYEN_KEY).with_header("idempotency-key", "k-1");
    let path = "/adyen/v71/payments";
    let first = client.send("POST", path, Some(&payment())).await.unwrap();
    let second = client.send("POST", path, Some(&payment())).await.unwrap();
    assert_eq!((first.header("idempotency-key"), second.header("idempotency-key")), ("k-1", "k-1"));
    assert_eq!(first.body, second.body);
    let other = client.send("POST", path, Some(&payment_with("/reference", "ORD-2".into()))).await;
    let (status, body) = read(other);
    assert_eq!((status, body["errorCode"].as_str()), (422, Some("704")));
    assert_eq!(talk.lines(), ["charge Approved 1099 EUR"]);
    let long = talk.adyen().with_header("idempotency-key", &"k".repeat(65));
    assert_eq!(read(long.send("POST", path, Some(&payment())).await).0, 400);
}

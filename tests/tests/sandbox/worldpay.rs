//! Worldpay: what is refused, what is declined, and what may follow what.

use super::talk::{Talk, read, replaced};
use serde_json::{Value, json};

const PAY: &str = "/cardPayments/customerInitiatedTransactions";

fn payment(reference: &str) -> Value {
    json!({
        "transactionReference": reference,
        "channel": "ecom",
        "merchant": {"entity": "default"},
        "instruction": {
            "requestAutoSettlement": {"enabled": false},
            "narrative": {"line1": "Example Shop"},
            "value": {"currency": "GBP", "amount": 1099},
            "paymentInstrument": {
                "type": "card/plain", "cardHolderName": "Ann Example",
                "cardNumber": "4444333322221111", "expiryDate": {"month": 5, "year": 2035},
                "cvc": "555",
            },
        },
    })
}

/// The payment with the value at a pointer replaced, or removed when it is null.
fn payment_with(pointer: &str, value: Value) -> Value {
    replaced(payment("ORD-1"), pointer, &value)
}

#[tokio::test]
async fn fields_are_checked_as_strictly_as_documented() {
    let talk = Talk::start();
    let card = "/instruction/paymentInstrument";
    let in_city = json!({"countryCode": "GB", "postalCode": "SW1A 1AA", "city": "London"});
    let in_parts = json!({"type": "installment", "storedCardUsage": "first"});
    for (pointer, value, expected) in [
        ("/foo".to_owned(), json!(1), "bodyDoesNotMatchSchema"),
        (format!("{card}/foo"), json!(1), "bodyDoesNotMatchSchema"),
        ("/transactionReference".to_owned(), Value::Null, "bodyDoesNotMatchSchema"),
        ("/channel".to_owned(), json!("phone"), "bodyDoesNotMatchSchema"),
        ("/instruction/narrative".to_owned(), Value::Null, "bodyDoesNotMatchSchema"),
        ("/instruction/value/amount".to_owned(), json!("1099"), "bodyDoesNotMatchSchema"),
        ("/instruction/value/amount".to_owned(), json!(0), "bodyDoesNotMatchSchema"),
        ("/instruction/value/currency".to_owned(), json!("gbp"), "bodyDoesNotMatchSchema"),
        (format!("{card}/cardNumber"), json!("4444333322221112"), "bodyDoesNotMatchSchema"),
        (format!("{card}/expiryDate/month"), json!("05"), "bodyDoesNotMatchSchema"),
        (format!("{card}/billingAddress"), json!({"countryCode": "GB"}), "bodyDoesNotMatchSchema"),
        (format!("{card}/billingAddress"), in_city, "bodyDoesNotMatchSchema"),
        ("/instruction/customerAgreement".to_owned(), in_parts, "bodyDoesNotMatchSchema"),
        ("/merchant/entity".to_owned(), json!("unknown"), "entityIsNotConfigured"),
    ] {
        let body = payment_with(&pointer, value.clone());
        let (status, answer) = talk.ask_worldpay("POST", PAY, Some(&body)).await;
        let name = answer["errorName"].as_str().unwrap();
        assert_eq!((status, name), (400, expected), "{pointer} {value}: {answer}");
    }
    assert_eq!(talk.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn credentials_and_media_types_are_checked() {
    let talk = Talk::start();
    let path = format!("/worldpay{PAY}");
    let body = payment("ORD-1");
    let media = "application/vnd.worldpay.payments-v7+json";
    let good = talk.worldpay(media);
    assert_eq!(read(good.clone().send("POST", &path, Some(&body)).await).0, 201);
    let other = talk.worldpay("application/json").send("POST", &path, Some(&body)).await;
    assert_eq!(read(other).0, 415);
    let without = talk.client(tests::net::client::Http::One);
    let without = without.with_header("accept", media).with_header("content-type", media);
    assert_eq!(read(without.send("POST", &path, Some(&body)).await).0, 401);
    let nowhere = good.send("POST", "/worldpay/payments/settlements/x", Some(&body)).await;
    assert_eq!(read(nowhere).0, 404);
}

#[tokio::test]
async fn refusals_and_checks_are_asked_for_by_published_values() {
    let talk = Talk::start();
    let card = "/instruction/paymentInstrument";
    for (holder, code) in [("REFUSED", "5"), ("REFUSED51", "51"), ("SOFT_DECLINED", "65")] {
        let mut body = payment_with(&format!("{card}/cardHolderName"), holder.into());
        body["transactionReference"] = holder.into();
        let (status, answer) = talk.ask_worldpay("POST", PAY, Some(&body)).await;
        assert_eq!((status, &answer["outcome"]), (201, &"refused".into()));
        assert_eq!(answer["refusalCode"], code);
    }
    let error = payment_with(&format!("{card}/cardHolderName"), "ERROR".into());
    assert_eq!(talk.ask_worldpay("POST", PAY, Some(&error)).await.0, 500);
    let mut body = payment_with(&format!("{card}/cvc"), "444".into());
    body["transactionReference"] = "checks".into();
    let (_, answer) = talk.ask_worldpay("POST", PAY, Some(&body)).await;
    assert_eq!(answer["riskFactors"][0], json!({"type": "cvc", "risk": "notMatched"}));
    let stranger = ["42424242", "00000000"].concat();
    let mut body = payment_with(&format!("{card}/cardNumber"), stranger.into());
    body["transactionReference"] = "stranger".into();
    assert_eq!(talk.ask_worldpay("POST", PAY, Some(&body)).await.1["refusalCode"], "14");
    assert_eq!(talk.sandbox.ledger().pop().unwrap().pan.unwrap(), "424242…0000");
}

#[tokio::test]
async fn a_reference_is_taken_once_and_found_again() {
    let talk = Talk::start();
    let (status, first) = talk.ask_worldpay("POST", PAY, Some(&payment("ORD-1"))).await;
    assert_eq!(status, 201);
    let (status, again) = talk.ask_worldpay("POST", PAY, Some(&payment("ORD-1"))).await;
    assert_eq!((status, &again["errorName"]), (400, &"transactionReferenceIsDuplicate".into()));
    let query = "/paymentQueries/payments?transactionReference=ORD-1";
    let (status, list) = talk.ask_worldpay("GET", query, None).await;
    let found = &list["_embedded"]["payments"];
    assert_eq!((status, found.as_array().unwrap().len()), (200, 1));
    assert_eq!(found[0]["paymentId"], first["paymentId"]);
    let event = "/payments/events?transactionRef=ORD-1&entity=default";
    assert_eq!(talk.ask_worldpay("GET", event, None).await.1["lastEvent"], "Authorized");
    let none = "/payments/events?transactionRef=ORD-2&entity=default";
    assert_eq!(talk.ask_worldpay("GET", none, None).await.0, 404);
    assert_eq!(talk.ask_worldpay("GET", "/paymentQueries/payments/x", None).await.0, 404);
    assert_eq!(talk.lines(), ["authorize Approved 1099 GBP"]);
}

#[tokio::test]
async fn changes_are_received_at_links_that_change_and_decided_in_the_ledger() {
    let talk = Talk::start();
    let (_, held) = talk.ask_worldpay("POST", PAY, Some(&payment("ORD-1"))).await;
    let id = held["paymentId"].as_str().unwrap().to_owned();
    let link = |answer: &Value, name: &str| {
        answer["_links"][format!("cardPayments:{name}")]["href"].as_str().map(str::to_owned)
    };
    let part = |reference: &str, amount: u64| json!({"reference": reference, "value": {"currency": "GBP", "amount": amount}});
    assert_eq!(link(&held, "partialRefund"), None);
    let settle = link(&held, "partialSettle").unwrap();
    let (status, first) = talk.ask_worldpay("POST", &settle, Some(&part("c1", 500))).await;
    assert_eq!((status, first["paymentId"].as_str()), (202, Some(&*id)));
    assert_ne!(link(&first, "partialSettle").unwrap(), settle);
    talk.ask_worldpay("POST", &settle, Some(&part("c2", 600))).await;
    let (_, second) = talk.ask_worldpay("POST", &settle, Some(&part("c3", 599))).await;
    assert_eq!(link(&second, "partialSettle"), None);
    let refund = link(&second, "partialRefund").unwrap();
    talk.ask_worldpay("POST", &refund, Some(&part("r1", 200))).await;
    talk.ask_worldpay("POST", &refund, Some(&part("r2", 900))).await;
    let (status, _) = talk.ask_worldpay("POST", &link(&held, "cancel").unwrap(), None).await;
    assert_eq!(status, 202);
    let lines = [
        "authorize Approved 1099 GBP",
        "capture Approved 500 GBP",
        "capture Failed 600 GBP more than was authorised",
        "capture Approved 599 GBP",
        "refund Approved 200 GBP",
        "refund Failed 900 GBP more than was settled",
        "void Failed 1099 GBP the payment is not in the state for it",
    ];
    assert_eq!(talk.lines(), lines);
    let path = format!("/paymentQueries/payments/{id}");
    let (_, shown) = talk.ask_worldpay("GET", &path, None).await;
    let events = shown["events"].as_array().unwrap();
    let c2 = events.iter().find(|e| e["settlementReference"] == "c2").unwrap();
    let failed = events.iter().find(|e| e["eventName"] == "settlementRequestSubmissionFailed");
    assert_eq!(failed.unwrap()["commandId"], c2["commandId"]);
}

#[tokio::test]
async fn a_card_is_kept_and_charged_by_its_link() {
    let talk = Talk::start();
    let card = json!({
        "merchant": {"entity": "default"}, "namespace": "ns-1",
        "paymentInstrument": {
            "type": "card/front", "cardHolderName": "Ann Example",
            "cardNumber": "4444333322221111", "cardExpiryDate": {"month": 5, "year": 2035},
        },
    });
    for (pointer, value) in [
        ("/paymentInstrument/cardNumber", json!("4444333322221112")),
        ("/paymentInstrument/cardExpiryDate/month", json!(13)),
        ("/paymentInstrument/type", json!("card/plain")),
        ("/paymentInstrument/cvc", json!("555")),
        ("/paymentInstrument/billingAddress", json!({"postalCode": "1", "countryCode": "GB"})),
    ] {
        let body = replaced(card.clone(), pointer, &value);
        assert_eq!(talk.ask_worldpay("POST", "/tokens", Some(&body)).await.0, 400, "{pointer}");
    }
    let (status, kept) = talk.ask_worldpay("POST", "/tokens", Some(&card)).await;
    let href = &kept["tokenPaymentInstrument"]["href"];
    assert_eq!((status, &kept["namespace"]), (201, &json!("ns-1")), "{kept}");
    let at = "/instruction/paymentInstrument";
    for (instrument, expected) in [
        (json!({"type": "card/token", "href": href, "cvc": "555"}), 201),
        (json!({"type": "card/token", "href": format!("{}x", href.as_str().unwrap())}), 400),
        (json!({"type": "card/plain", "href": href}), 400),
        (json!({"type": "card/token", "href": href, "cardHolderName": "Ann Example"}), 400),
        (json!({"type": "card/token"}), 400),
    ] {
        let (status, answer) =
            talk.ask_worldpay("POST", PAY, Some(&payment_with(at, instrument))).await;
        assert_eq!(status, expected, "{answer}");
    }
    assert_eq!(talk.lines(), ["authorize Approved 1099 GBP"]);
}

//! Checkout.com: what is refused, what is kept, and what may follow what.

use super::talk::{Talk, read, replaced};
use serde_json::{Value, json};
use tests::net::client::{Client, Http};

const SECRET: &str = "sk_sbox_0123456789abcdef";
const PUBLIC: &str = "pk_sbox_0123456789abcdef";

fn client(talk: &Talk, key: &str) -> Client {
    talk.client(Http::One).with_header("authorization", &format!("Bearer {key}"))
}

async fn ask(talk: &Talk, key: &str, path: &str, body: &Value) -> (u16, Value) {
    read(client(talk, key).send("POST", &format!("/checkout{path}"), Some(body)).await)
}

fn payment() -> Value {
    json!({
        "source": {"type": "card", "number": "4242424242424242", "expiry_month": 12,
                   "expiry_year": 2035, "name": "Ann Example", "cvv": "100"},
        "amount": 1099, "currency": "GBP", "payment_type": "Regular", "reference": "ORD-1",
        "capture": false, "3ds": {"enabled": false}, "metadata": {"order": "1"},
    })
}

/// The payment with the value at a pointer replaced, or removed when it is null.
fn payment_with(pointer: &str, value: &Value) -> Value {
    replaced(payment(), pointer, value)
}

#[tokio::test]
async fn fields_are_checked_as_strictly_as_documented() {
    let talk = Talk::start();
    for (pointer, value, expected) in [
        ("/colour", json!(1), "colour_invalid"),
        ("/source/colour", json!(1), "source_colour_invalid"),
        ("/source/type", json!("cash"), "source_type_invalid"),
        ("/source/number", json!("4242424242424241"), "card_number_invalid"),
        ("/source/number", Value::Null, "card_number_invalid"),
        ("/source/expiry_month", json!(13), "card_expiry_month_invalid"),
        ("/source/expiry_year", Value::Null, "card_expiry_year_invalid"),
        ("/source/expiry_month", json!("12"), "source_expiry_month_invalid"),
        ("/source/cvv", json!("12"), "cvv_invalid"),
        ("/source", Value::Null, "source_required"),
        ("/amount", json!("1099"), "amount_invalid"),
        ("/amount", json!(10.5), "amount_invalid"),
        ("/amount", json!(1_000_000_000), "amount_invalid"),
        ("/currency", json!("gbp"), "currency_invalid"),
        ("/currency", Value::Null, "currency_required"),
        ("/payment_type", json!("regular"), "payment_type_invalid"),
        ("/reference", json!("x".repeat(51)), "reference_invalid"),
        ("/3ds", json!({"enabled": true, "eci": "05"}), "3ds_malformed"),
        ("/metadata", json!({"order": 1}), "metadata_order_invalid"),
    ] {
        let (status, body) = ask(&talk, SECRET, "/payments", &payment_with(pointer, &value)).await;
        let found = (status, body["error_codes"][0].as_str().unwrap());
        assert_eq!(found, (422, expected), "{pointer} {value}: {body}");
    }
    assert_eq!(talk.lines(), Vec::<String>::new());
    assert_eq!(ask(&talk, SECRET, "/payments", &payment()).await.0, 201);
}

#[tokio::test]
async fn each_key_is_good_for_its_own_requests() {
    let talk = Talk::start();
    let card = payment()["source"].clone();
    for (key, path, body, expected) in [
        (PUBLIC, "/payments", &payment(), 401),
        ("sk_0123456789abcdef01", "/payments", &payment(), 401),
        (SECRET, "/tokens", &card, 401),
        (PUBLIC, "/tokens", &card, 201),
        (PUBLIC, "/instruments", &json!({"type": "token", "token": "tok_x"}), 401),
        (SECRET, "/instruments", &json!({"type": "token", "token": "tok_x"}), 422),
        (SECRET, "/nothing", &card, 404),
    ] {
        assert_eq!(ask(&talk, key, path, body).await.0, expected, "{key} {path}");
    }
    let text = client(&talk, SECRET).with_header("content-type", "text/plain");
    let answer = text.send_bytes("POST", "/checkout/payments", "{}").await.unwrap();
    assert_eq!(answer.status, 415);
}

#[tokio::test]
async fn a_token_is_good_for_once_and_an_instrument_for_ever() {
    let talk = Talk::start();
    let card = payment()["source"].clone();
    let token = ask(&talk, PUBLIC, "/tokens", &card).await.1["token"].clone();
    let exchanged = json!({"type": "token", "token": token});
    let (status, made) = ask(&talk, SECRET, "/instruments", &exchanged).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(ask(&talk, SECRET, "/instruments", &exchanged).await.0, 422);
    for (id, expected) in [(made["id"].clone(), 201), (made["id"].clone(), 201), (token, 422)] {
        let source = json!({"type": "id", "id": id});
        let paid = ask(&talk, SECRET, "/payments", &payment_with("/source", &source)).await;
        assert_eq!(paid.0, expected, "{}", paid.1);
    }
    // A payment with a card makes one by itself.
    let paid = ask(&talk, SECRET, "/payments", &payment()).await.1;
    let source = json!({"type": "id", "id": paid["source"]["id"]});
    let again = ask(&talk, SECRET, "/payments", &payment_with("/source", &source)).await;
    assert_eq!(again.0, 201, "{}", again.1);
    let declined = json!({"type": "card", "number": "4242424242424242", "expiry_month": 12});
    assert_eq!(ask(&talk, PUBLIC, "/tokens", &declined).await.0, 422);
}

#[tokio::test]
async fn changes_are_taken_where_the_payment_allows_them() {
    let talk = Talk::start();
    let held = ask(&talk, SECRET, "/payments", &payment()).await.1;
    let path = |what: &str| format!("/payments/{}/{what}", held["id"].as_str().unwrap());
    let part = |amount| json!({"amount": amount, "capture_type": "NonFinal"});
    let one = |amount| json!({ "amount": amount });
    for (what, body, expected) in [
        ("refunds", one(1), 403),
        ("captures", part(1_100), 422),
        ("captures", part(500), 202),
        ("captures", part(600), 422),
        ("captures", one(100), 202),
        // What was left went with the last, which did not say that it was not.
        ("captures", part(1), 403),
        ("refunds", one(601), 422),
        ("refunds", one(200), 202),
    ] {
        assert_eq!(ask(&talk, SECRET, &path(what), &body).await.0, expected, "{what} {body}");
    }
    assert_eq!(ask(&talk, SECRET, &path("voids"), &json!({})).await.0, 403);
    assert_eq!(ask(&talk, SECRET, "/payments/pay_x/voids", &json!({})).await.0, 404);
    let lines = [
        "authorize Approved 1099 GBP",
        "capture Approved 500 GBP",
        "capture Approved 100 GBP",
        "refund Approved 200 GBP",
    ];
    assert_eq!(talk.lines(), lines);
}

#[tokio::test]
async fn only_good_answers_are_remembered_under_a_key() {
    let talk = Talk::start();
    let with_key = client(&talk, SECRET).with_header("cko-idempotency-key", "k-1");
    let send = |body: Value| {
        let client = with_key.clone();
        async move { read(client.send("POST", "/checkout/payments", Some(&body)).await) }
    };
    let wrong = payment_with("/source/cvv", &json!("12"));
    assert_eq!(send(wrong.clone()).await.0, 422);
    let first = send(payment()).await;
    assert_eq!(first.0, 201, "what was refused burnt nothing");
    assert_eq!(send(payment()).await, first);
    assert_eq!(send(wrong).await.0, 422);
    assert_eq!(talk.lines().len(), 1);
}

//! CyberSource: which tokens are believed, what is refused, and what may follow what.

use super::talk::{Talk, read, replaced};
use boring::hash::hmac_sha256;
use boring::{base64, sha};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};
use tests::net::client::Http;

/// The secret that the sandbox shares with every merchant.
const SECRET: &str = "c2FuZGJveC1zaGFyZWQtc2VjcmV0LTAxMjM0NTY3ODk=";
const PAYMENTS: &str = "/pts/v2/payments";

fn payment() -> Value {
    json!({
        "clientReferenceInformation": {"code": "k-1"},
        "processingInformation": {"capture": false, "commerceIndicator": "internet"},
        "paymentInformation": {"card": {"number": "4111111111111111", "expirationMonth": "12",
            "expirationYear": "2035", "securityCode": "123", "type": "001"}},
        "orderInformation": {"amountDetails": {"totalAmount": "10.99", "currency": "USD"},
            "billTo": {"firstName": "Ann", "lastName": "Example"}},
    })
}

/// The payment with the value at a pointer replaced, or removed when it is null.
fn payment_with(pointer: &str, value: &Value) -> Value {
    replaced(payment(), pointer, value)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// What a token claims that speaks for a request.
fn claims(path: &str, body: &str) -> Value {
    json!({
        "iat": now(), "exp": now().saturating_add(120), "jti": "1", "iss": "shop", "v-c-merchant-id": "shop",
        "v-c-jwt-version": "2", "request-host": "apitest.cybersource.com",
        "request-method": "post", "request-resource-path": path, "digestAlgorithm": "SHA-256",
        "digest": base64::encode_block(&sha::sha256(body.as_bytes())),
    })
}

fn part(bytes: &[u8]) -> String {
    base64::encode_block(bytes).replace('+', "-").replace('/', "_").replace('=', "")
}

fn token(algorithm: &str, secret: &str, claims: &Value) -> String {
    let head = json!({"alg": algorithm, "typ": "JWT", "kid": "key-0123456789"});
    let head = part(head.to_string().as_bytes());
    let signed = format!("{head}.{}", part(claims.to_string().as_bytes()));
    let key = base64::decode_block(secret).unwrap();
    format!("{signed}.{}", part(&hmac_sha256(&key, signed.as_bytes()).unwrap()))
}

async fn send(talk: &Talk, token: &str, path: &str, body: &str) -> (u16, Value) {
    let client = talk.client(Http::One).with_header("authorization", &format!("Bearer {token}"));
    let client = client.with_header("content-type", "application/json");
    read(client.send_bytes("POST", &format!("/cybersource{path}"), body.to_owned()).await)
}

async fn ask(talk: &Talk, path: &str, body: &Value) -> (u16, Value) {
    let body = body.to_string();
    send(talk, &token("HS256", SECRET, &claims(path, &body)), path, &body).await
}

#[tokio::test]
async fn a_token_must_speak_for_its_request() {
    let talk = Talk::start();
    let body = payment().to_string();
    let good = claims(PAYMENTS, &body);
    for (name, value) in [
        ("iat", json!(now() - 600)),
        ("exp", json!(now() + 121)),
        ("exp", Value::Null),
        ("jti", json!("")),
        ("iss", json!("another")),
        ("v-c-jwt-version", json!("1")),
        ("request-host", json!("api.cybersource.com")),
        ("request-method", json!("get")),
        ("request-resource-path", json!("/pts/v2/captures")),
        ("digest", json!(base64::encode_block(&sha::sha256(b"{}")))),
        ("digest", Value::Null),
        ("digestAlgorithm", json!("MD5")),
    ] {
        let mut wrong = good.clone();
        wrong[name] = value.clone();
        let refused = send(&talk, &token("HS256", SECRET, &wrong), PAYMENTS, &body).await;
        assert_eq!(refused.0, 401, "{name} {value}");
    }
    let other = base64::encode_block(b"another-secret-of-32-characters!");
    for (algorithm, secret) in [("none", SECRET), ("RS256", SECRET), ("HS256", &other)] {
        let refused = send(&talk, &token(algorithm, secret, &good), PAYMENTS, &body).await;
        assert_eq!(refused.0, 401, "{algorithm} {secret}");
    }
    assert_eq!(talk.lines(), Vec::<String>::new());
    assert_eq!(send(&talk, &token("HS256", SECRET, &good), PAYMENTS, &body).await.0, 201);
}

#[tokio::test]
async fn fields_are_checked_as_strictly_as_documented() {
    let talk = Talk::start();
    let card = "/paymentInformation/card";
    let details = "/orderInformation/amountDetails";
    for (pointer, value, expected) in [
        ("/colour".to_owned(), json!(1), "INVALID_DATA"),
        (format!("{card}/colour"), json!(1), "INVALID_DATA"),
        (format!("{card}/type"), json!("visa"), "INVALID_DATA"),
        (format!("{card}/number"), Value::Null, "MISSING_FIELD"),
        (format!("{card}/number"), json!("4111111111111112"), "INVALID_CARD"),
        (format!("{card}/expirationMonth"), json!(12), "INVALID_DATA"),
        (format!("{details}/totalAmount"), json!(10.99), "INVALID_DATA"),
        (format!("{details}/totalAmount"), json!("10.999"), "INVALID_DATA"),
        (format!("{details}/currency"), json!("usd!"), "INVALID_DATA"),
        (details.to_owned(), Value::Null, "MISSING_FIELD"),
        ("/clientReferenceInformation/code".to_owned(), Value::Null, "MISSING_FIELD"),
        ("/orderInformation/billTo/lastName".to_owned(), Value::Null, "MISSING_FIELD"),
        ("/processingInformation/commerceIndicator".to_owned(), json!("web"), "INVALID_DATA"),
    ] {
        let (status, body) = ask(&talk, PAYMENTS, &payment_with(&pointer, &value)).await;
        let found = (status, body["reason"].as_str().unwrap());
        assert_eq!(found, (400, expected), "{pointer} {value}: {body}");
    }
    assert_eq!(talk.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn changes_are_taken_where_the_payment_allows_them() {
    let talk = Talk::start();
    let held = ask(&talk, PAYMENTS, &payment()).await.1;
    let id = held["id"].as_str().unwrap().to_owned();
    let amount = |amount: &str| {
        json!({"clientReferenceInformation": {"code": "k-2"}, "orderInformation":
               {"amountDetails": {"totalAmount": amount, "currency": "USD"}}})
    };
    for (what, of, expected) in [
        ("refunds", "1.00", 400),
        ("captures", "11.00", 400),
        ("captures", "6.00", 201),
        ("refunds", "6.01", 400),
        ("refunds", "2.00", 201),
    ] {
        let (status, body) = ask(&talk, &format!("{PAYMENTS}/{id}/{what}"), &amount(of)).await;
        assert_eq!(status, expected, "{what} {of}: {body}");
    }
    let euros = json!({"clientReferenceInformation": {"code": "k-2"}, "orderInformation":
                       {"amountDetails": {"totalAmount": "1.00", "currency": "EUR"}}});
    assert_eq!(ask(&talk, &format!("{PAYMENTS}/{id}/captures"), &euros).await.0, 400);
    assert_eq!(ask(&talk, &format!("{PAYMENTS}/7/captures"), &amount("1.00")).await.0, 404);
    let lines =
        ["authorize Approved 1099 USD", "capture Approved 600 USD", "refund Approved 200 USD"];
    assert_eq!(talk.lines(), lines);
}

#[tokio::test]
async fn a_card_is_kept_by_a_payment_of_nothing_and_charged_by_its_name() {
    let talk = Talk::start();
    let wish = json!({
        "capture": false, "commerceIndicator": "internet", "actionList": ["TOKEN_CREATE"],
        "actionTokenTypes": ["paymentInstrument"],
    });
    let keeping = replaced(payment(), "/processingInformation", &wish);
    let nothing = replaced(keeping, "/orderInformation/amountDetails/totalAmount", &json!("0.00"));
    let (status, kept) = ask(&talk, PAYMENTS, &nothing).await;
    assert_eq!(status, 201, "{kept}");
    assert_eq!(talk.lines(), Vec::<String>::new());
    let id = &kept["tokenInformation"]["paymentInstrument"]["id"];
    let card = payment()["paymentInformation"]["card"].clone();
    for (paid, expected) in [
        (json!({"paymentInstrument": {"id": id}}), Value::Null),
        (json!({"paymentInstrument": {"id": "0".repeat(32)}}), json!("INVALID_DATA")),
        (json!({"paymentInstrument": {"id": id}, "card": card}), json!("INVALID_DATA")),
        (json!({}), json!("MISSING_FIELD")),
    ] {
        let body = payment_with("/paymentInformation", &paid);
        assert_eq!(ask(&talk, PAYMENTS, &body).await.1["reason"], expected, "{paid}");
    }
    assert_eq!(talk.lines(), ["authorize Approved 1099 USD"]);
}

//! What clients write in more than one way, and what they send back as they were shown it.

use super::order::{Order, text, verdict};
use serde_json::{Value, json};
use tests::net::client::Answer;
use tests::net::{Net, STRIPE_KEY};

const ACCOUNT: &str = "/PaymentGatewayAccounts/spare";

async fn put(net: &Net, path: &str, body: &Value) -> Answer {
    net.send("PUT", path, Some(body)).await.unwrap()
}

async fn get(net: &Net, path: &str) -> Value {
    let answer = net.send("GET", path, None).await.unwrap();
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json().unwrap()
}

/// A program reads an account, changes something and sends it all back.
#[tokio::test]
async fn what_is_shown_of_a_credential_is_not_stored_in_its_place() {
    let net = Net::start().await.unwrap();
    let credentials = |password: &str| {
        json!([{"key": "Username", "value": "spare"}, {"key": "Password", "value": password},
               {"key": "Entity", "value": "default"}, {"key": "Narrative", "value": "Spare"}])
    };
    let account = json!({"paymentGatewayName": "Worldpay",
                         "credentials": credentials("a-password-of-some-length")});
    assert_eq!(put(&net, ACCOUNT, &account).await.status, 200);
    let shown = get(&net, ACCOUNT).await;
    assert_eq!(shown["credentials"], credentials("****ngth"));

    let back = json!({"paymentGatewayName": "Worldpay", "credentials": shown["credentials"],
                      "enabled": false});
    let staged = json!({"credentials": shown["credentials"]});
    for (path, body) in [(ACCOUNT, &back), (&format!("{ACCOUNT}/staged"), &staged)] {
        let refused = put(&net, path, body).await;
        let field = text(&refused, "fieldName");
        assert_eq!((refused.status, &*field), (400, "credentials.Password"), "{path}");
    }
    assert_eq!(get(&net, ACCOUNT).await, shown, "nothing of it was stored");

    let mut charge: Value =
        serde_json::from_str(&Order::new("spare", "9.99", "EUR").body()).unwrap();
    charge["paymentGatewayAccount"] =
        json!({"paymentGatewayName": "Worldpay", "credentials": shown["credentials"]});
    let refused = net.send("POST", "/PaymentGateway/charge", Some(&charge)).await.unwrap();
    let field = text(&refused, "fieldName");
    assert_eq!(
        (refused.status, &*field),
        (400, "paymentGatewayAccount.credentials.Password"),
        "{}",
        refused.text()
    );
}

#[tokio::test]
async fn a_credential_is_taken_by_every_name_that_is_published_for_it() {
    let net = Net::start().await.unwrap();
    let gateways = get(&net, "/PaymentGateway").await;
    let mut names = 0;
    for gateway in gateways.as_array().unwrap() {
        for credential in gateway["credentials"].as_array().unwrap() {
            for name in credential["aliases"].as_array().unwrap() {
                names += 1;
                let pair = json!({"key": name, "value": "x"});
                let body = json!({"paymentGatewayName": gateway["name"], "credentials": [pair]});
                // Something else is wrong with each of these accounts, and its name is not.
                let refused = put(&net, ACCOUNT, &body).await;
                let field = text(&refused, "fieldName");
                assert_eq!(refused.status, 400, "{name}");
                assert!(!field.ends_with(".key"), "{name}: {}", refused.text());
            }
        }
    }
    assert!(names > 10, "{names}");
    let pair = json!({"key": "API Key", "value": STRIPE_KEY});
    let body = json!({"paymentGatewayName": "Stripe", "credentials": [pair]});
    let kept = put(&net, ACCOUNT, &body).await;
    assert_eq!(kept.status, 200, "{}", kept.text());
    let charged = Order::new("spare", "9.99", "EUR").charge(&net).await;
    assert_eq!(verdict(&charged), "200 Success Captured null false", "{}", charged.text());
}

#[tokio::test]
async fn payments_are_found_by_what_clients_make_of_a_blank_and_of_a_state() {
    let net = Net::start().await.unwrap();
    for my_ref in ["order 1", "order+1"] {
        let charged = Order::new("null-success", "9.99", "EUR").my_ref(my_ref).charge(&net).await;
        assert_eq!(charged.status, 200, "{}", charged.text());
    }
    for (query, expected) in [
        ("myRef=order%201", &["order 1"][..]),
        ("myRef=order+1", &["order 1"]),
        ("myRef=order%2B1", &["order+1"]),
        ("state=captured", &["order 1", "order+1"]),
        ("state=VOIDED", &[]),
    ] {
        let page = get(&net, &format!("/Transactions?{query}")).await;
        let found = page["transactions"].as_array().unwrap().iter();
        let found: Vec<_> = found.map(|payment| payment["myRef"].as_str().unwrap()).collect();
        assert_eq!(found, expected, "{query}");
    }
}

/// A page that is said to begin earlier than what is asked for shows and counts nothing of before.
#[tokio::test]
async fn a_time_holds_on_every_page() {
    let net = Net::start().await.unwrap();
    let charged = Order::new("null-success", "9.99", "EUR").charge(&net).await;
    assert_eq!(charged.status, 200, "{}", charged.text());
    let first = "0".repeat(32);
    for (from, payments) in [("0", 1), ("281474976710655", 0)] {
        let query = format!("after={first}&from={from}");
        let page = get(&net, &format!("/Transactions?{query}")).await;
        assert_eq!(page["transactions"].as_array().unwrap().len(), payments, "{query}");
        let path = format!("/PaymentGatewayAccounts/null-success/balance?{query}");
        let counted = get(&net, &path).await;
        let currencies = counted["journal"]["currencies"].as_array().unwrap();
        assert_eq!(currencies.len(), payments, "{query}");
    }
}

#[tokio::test]
async fn a_gateway_that_there_is_not_is_named_by_its_field() {
    let net = Net::start().await.unwrap();
    let mut charge: Value =
        serde_json::from_str(&Order::new("null-success", "9.99", "EUR").body()).unwrap();
    charge["paymentGatewayAccount"] = json!({"paymentGatewayName": "Nobody"});
    let token = json!({"payload": "x", "bindings": [{"paymentGatewayName": "nullsuccess"},
                                                    {"paymentGatewayName": "Nobody"}]});
    let account = json!({"paymentGatewayName": "Nobody"});
    for (method, path, body, field) in [
        ("POST", "/PaymentGateway/charge", charge, "paymentGatewayAccount.paymentGatewayName"),
        ("POST", "/StringTokens", token, "bindings[1].paymentGatewayName"),
        ("PUT", ACCOUNT, account, "paymentGatewayName"),
    ] {
        let refused = net.send(method, path, Some(&body)).await.unwrap();
        assert_eq!((refused.status, &*text(&refused, "fieldName")), (400, field), "{path}");
    }
}

//! Every route as it is documented, over HTTP/1.1 and HTTP/2.

use super::order::{Order, VISA, text};
use serde_json::{Value, json};
use tests::net::client::{Answer, Client, Http};
use tests::net::{ADYEN_KEY, MERCHANT, Net, STRIPE_KEY};

fn names(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

async fn ask(client: &Client, method: &str, path: &str, body: Option<&Value>) -> Answer {
    let answer = client.send(method, path, body).await.unwrap();
    assert_eq!(answer.header("x-request-id").len(), 32, "{method} {path}");
    assert_eq!(answer.header("cache-control"), "no-store", "{method} {path}");
    answer
}

async fn gateways(client: &Client) {
    let list = ask(client, "GET", "/PaymentGateway", None).await.json().unwrap();
    let list = list.as_array().unwrap();
    let find = |name: &str| list.iter().filter(|g| g["name"] == name).collect::<Vec<_>>();
    for name in ["Adyen", "NULLFailure", "NULLSuccess"] {
        assert_eq!(find(name).len(), 1, "{name}");
    }
    let [stripe] = find("Stripe")[..] else { panic!("{list:?}") };
    let documented = [
        "credentials",
        "credentialsNames",
        "description",
        "displayName",
        "name",
        "paymentGatewayUrl",
        "supportsNetworkToken",
    ];
    assert_eq!(names(&list[0]), documented);
    assert!(stripe["credentialsNames"].as_array().unwrap().contains(&"SecretKey".into()));
    let key = &stripe["credentials"][0];
    assert_eq!(names(key), ["aliases", "form", "maxLength", "name", "required", "secret"]);
    assert_eq!(
        (&key["name"], &key["required"], &key["secret"]),
        (&"SecretKey".into(), &true.into(), &true.into())
    );
}

async fn accounts(client: &Client) {
    let list = ask(client, "GET", "/PaymentGatewayAccounts", None).await.json().unwrap();
    assert_eq!(names(&list[0]), ["creationTime", "enabled", "name", "paymentGatewayName"]);
    let whole = ask(client, "GET", "/PaymentGatewayAccounts/stripe-primary", None).await;
    assert!(!whole.text().contains(STRIPE_KEY), "a credential is answered whole");
    let whole = whole.json().unwrap();
    assert_eq!(
        names(&whole),
        ["creationTime", "credentials", "enabled", "name", "paymentGatewayName"]
    );
    assert_eq!(whole["credentials"], json!([{"key": "SecretKey", "value": "****6789"}]));

    // Names and enums in any case, as the old clients write them.
    let body = json!({"PaymentGatewayName": "ADYEN", "Credentials": [
        {"Key": "ApiKey", "Value": ADYEN_KEY}, {"Key": "merchantaccount", "Value": "OtherECOM"}]});
    let path = "/paymentgatewayaccounts/spare_1";
    let stored = ask(client, "PUT", path, Some(&body)).await;
    assert_eq!(stored.status, 200, "{}", stored.text());
    assert_eq!(stored.json().unwrap()["paymentGatewayName"], "Adyen");
    assert!(!stored.text().contains(ADYEN_KEY), "a credential is answered whole");
    for status in [200, 200] {
        let gone = ask(client, "DELETE", path, None).await;
        assert_eq!((gone.status, gone.body.len()), (status, 0));
    }
    let missing = ask(client, "GET", path, None).await;
    assert_eq!((missing.status, text(&missing, "code")), (404, "no-such-account".into()));
}

async fn tokens(client: &Client) {
    let kept = ask(client, "POST", "/StringTokens", Some(&json!({ "payload": VISA }))).await;
    assert_eq!(kept.status, 201);
    assert_eq!(names(&kept.json().unwrap()), ["createTime", "token"]);
    let token = text(&kept, "token");
    assert!(token.len() == 32 && token.bytes().all(|b| b.is_ascii_alphanumeric()));
    assert_eq!(kept.header("location"), format!("/StringTokens/{token}"));
    let path = format!("/StringTokens/{token}");
    let shown = ask(client, "GET", &path, None).await.json().unwrap();
    assert_eq!(names(&shown), ["clearPayload", "createTime", "token"]);
    assert_eq!(shown["clearPayload"], VISA);
    let meta = ask(client, "GET", &format!("{path}/meta"), None).await.json().unwrap();
    assert_eq!(names(&meta), ["createTime", "fingerprint", "maskedCardNumber", "token"]);
    assert_eq!(meta["createTime"], shown["createTime"]);
    assert_eq!(ask(client, "DELETE", &path, None).await.status, 200);
    for (method, path) in
        [("GET", path.clone()), ("GET", format!("{path}/meta")), ("DELETE", path.clone())]
    {
        let missing = ask(client, method, &path, None).await;
        assert_eq!((missing.status, text(&missing, "code")), (404, "no-such-token".into()));
    }
}

async fn key(client: &Client) {
    let answer = ask(client, "GET", "/Utils/apiKey", None).await;
    let body = answer.json().unwrap();
    assert_eq!(names(&body), ["accountId", "isSandbox", "status", "userName"]);
    assert_eq!((&body["status"], &body["userName"]), (&"OK".into(), &"net".into()));
    assert!(body["accountId"].is_i64());
    for name in ["ratelimit", "ratelimit-policy"] {
        assert!(!answer.header(name).is_empty(), "no {name}");
    }
    let head = ask(client, "HEAD", "/utils/APIKEY", None).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(head.header("content-length").parse::<usize>().unwrap() > 0);
}

async fn description(client: &Client) {
    // It is for everybody.
    let answer = ask(&client.clone().without_key(), "GET", "/openapi.json", None).await;
    let body = answer.json().unwrap();
    assert_eq!(answer.status, 200);
    assert!(body["openapi"].as_str().unwrap().starts_with("3.1"));
    assert!(body["paths"]["/PaymentGateway/charge"]["post"].is_object());
}

async fn payments(client: &Client) {
    let order = |amount: &str| Order::new("stripe-primary", amount, "eur");
    let post = |path: &'static str, order: Order| client.send_bytes("POST", path, order.body());
    let charged = post("/paymentGateway/CHARGE", order("9.99")).await.unwrap();
    assert_eq!((charged.status, text(&charged, "operationType")), (200, "Charge".into()));
    let held = post("/PaymentGateway/authorize", order("9.99")).await.unwrap();
    assert_eq!((held.status, text(&held, "operationType")), (200, "PreAuth".into()));
    let explained = post("/PaymentGateway/explain", order("9.99")).await.unwrap();
    assert_eq!((explained.status, text(&explained, "operationType")), (200, "Charge".into()));
    let reference = text(&held, "gatewayReference");
    for (method, path, amount, kind) in [
        ("PUT", "/PaymentGateway/capture", "5.00", "Capture"),
        ("PUT", "/PaymentGateway/refund", "1.00", "Refund"),
    ] {
        let body = order(amount).of(&reference).body();
        let answer = client.send_bytes(method, path, body).await.unwrap();
        assert_eq!((answer.status, text(&answer, "operationType")), (200, kind.into()));
    }
    let held = post("/PaymentGateway/authorize", order("9.99")).await.unwrap();
    let body = order("9.99").of(&text(&held, "gatewayReference")).body();
    let voided = client.send_bytes("DELETE", "/PaymentGateway/void", body).await.unwrap();
    assert_eq!((voided.status, text(&voided, "operationType")), (200, "Void".into()));
    let card: Value = serde_json::from_str(&order("9.99").body()).unwrap();
    let card = json!({"card": card["card"], "paymentGatewayAccountName": "stripe-primary"});
    let kept = ask(client, "POST", "/PaymentGateway/tokenize", Some(&card)).await;
    assert_eq!((kept.status, text(&kept, "operationType")), (200, "Tokenize".into()));
    let question = json!({"refTransId": reference, "paymentGatewayAccountName": "stripe-primary"});
    let answer = ask(client, "POST", "/PaymentGateway/status", Some(&question)).await;
    assert_eq!((answer.status, text(&answer, "operationType")), (200, "Status".into()));
    assert_eq!(text(&answer, "state"), "Captured");
}

/// What gateways send, who have no key.
async fn webhooks(client: &Client) {
    let credentials = json!([
        {"key": "PublicKey", "value": "public_example1"},
        {"key": "PrivateKey", "value": "0123456789abcdef0123456789abcdef"},
        {"key": "Currency", "value": "USD"}, {"key": "Environment", "value": "Test"}]);
    let account = json!({"paymentGatewayName": "Braintree", "credentials": credentials});
    let stored = ask(client, "PUT", "/PaymentGatewayAccounts/braintree", Some(&account)).await;
    assert_eq!(stored.status, 200, "{}", stored.text());
    let client = client.clone().without_key();
    let path = format!("/Webhooks/{MERCHANT}/braintree");
    let query = format!("{path}?bt_challenge=20f9f8ed05f77439fe95");
    let proof = ask(&client, "GET", &query, None).await;
    assert_eq!((proof.status, proof.header("content-type")), (200, "text/plain"));
    assert!(proof.text().starts_with("public_example1|"), "{}", proof.text());
    let refused = ask(&client, "POST", &path, Some(&json!({}))).await;
    assert_eq!((refused.status, text(&refused, "code")), (400, "webhook-refused".into()));
}

async fn every_route(http: Http) {
    let net = Net::start().await.unwrap();
    let client = net.client(http);
    gateways(&client).await;
    accounts(&client).await;
    tokens(&client).await;
    key(&client).await;
    description(&client).await;
    payments(&client).await;
    webhooks(&client).await;
    let word = if http == Http::One { "1.1" } else { "2" };
    // The log is written by a thread of its own; the metrics are asked until it has caught up.
    let mut lines = Vec::new();
    while lines.len() < 20 {
        lines = net.access_log().unwrap_or_default();
        tokio::time::sleep(tests::net::PAUSE).await;
    }
    let ours = lines.iter().filter(|line| line["http"] == word).count();
    assert!(ours + 4 >= lines.len(), "{ours} of {} lines are HTTP/{word}", lines.len());
    assert!(lines.iter().all(|line| line["tls"] == "TLSv1.3"));
}

#[tokio::test]
async fn every_route_is_as_documented_over_http_1() {
    every_route(Http::One).await;
}

#[tokio::test]
async fn every_route_is_as_documented_over_http_2() {
    every_route(Http::Two).await;
}

#[tokio::test]
async fn operators_have_health_and_metrics_on_their_own_listener() {
    let net = Net::start().await.unwrap();
    for (path, status) in [("/healthz", 200), ("/readyz", 200), ("/metrics", 200), ("/", 404)] {
        let answer = tests::net::client::plain(net.metrics(), "GET", path).await.unwrap();
        assert_eq!(answer.status, status, "{path}");
    }
    // And merchants have not.
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert_eq!(net.send("GET", path, None).await.unwrap().status, 404, "{path}");
    }
    let text = net.metrics_text().await.unwrap();
    for name in ["orchestra_requests_total", "orchestra_vault", "orchestra_build_info"] {
        assert!(text.contains(name), "no {name}");
    }
}

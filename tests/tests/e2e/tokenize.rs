//! `POST /PaymentGateway/tokenize`: a gateway keeps a card, and is paid with its own name for it.

use super::order::{Order, account, ledger, text, verdict};
use serde_json::{Value, json};
use tests::net::client::{Answer, Http};
use tests::net::{Net, Options};
use tests::sandbox::Provider;
use tests::sandbox::fault::{Effect, Fault, Operation};

const KEPT: &str = "200 Success null null false";
const CHARGED: &str = "200 Success Captured null false";
const BUSY: &str = "503 TemporaryFailure null null true";
/// Declined by Stripe as soon as it is to be kept.
const DECLINED: &str = "4000000000000002";

/// A gateway that keeps cards, by an account and a currency that it has there.
const GATEWAYS: [(&str, &str); 8] = [
    ("stripe-primary", "EUR"),
    ("adyen-backup", "EUR"),
    ("checkout", "EUR"),
    ("braintree", "EUR"),
    ("cybersource", "EUR"),
    ("authorize-net", "USD"),
    ("worldpay-wpg", "EUR"),
    // Without a payment only, which is why it is the last.
    (WORLDPAY, "EUR"),
];

const WORLDPAY: &str = "worldpay";

async fn net() -> Net {
    // The faults of a test are more than an account is usually left alone for.
    let payments = "  breaker_faults: 1000\n".to_owned();
    let net = Net::with(Options { payments, ..Options::default() }).await.unwrap();
    let credentials = json!([
        {"key": "SecretKey", "value": "sk_sbox_netOfTheTests0123456789"},
        {"key": "PublicKey", "value": "pk_sbox_netOfTheTests0123456789"},
    ]);
    account(&net, "checkout", "Checkout", &credentials).await;
    let credentials = json!([
        {"key": "PublicKey", "value": "public_example1"},
        {"key": "PrivateKey", "value": "0123456789abcdef0123456789abcdef"},
        {"key": "MerchantAccountId", "value": "shop_eur"},
        {"key": "Currency", "value": "EUR"},
        {"key": "Environment", "value": "Test"},
    ]);
    account(&net, "braintree", "Braintree", &credentials).await;
    let credentials = json!([
        {"key": "Username", "value": "exampleuser"}, {"key": "Password", "value": "example-password"},
        {"key": "Entity", "value": "default"}, {"key": "Narrative", "value": "Example Shop"},
    ]);
    account(&net, WORLDPAY, "Worldpay", &credentials).await;
    let credentials = json!([
        {"key": "Username", "value": "exampleuser"}, {"key": "Password", "value": "example-password"},
        {"key": "MerchantCode", "value": "SHOP"},
    ]);
    account(&net, "worldpay-wpg", "WorldpayWPG", &credentials).await;
    let credentials = json!([
        {"key": "ApiLoginId", "value": "5KP3u95bQpv"},
        {"key": "TransactionKey", "value": "346HZ32z3fP4hTG2"},
        {"key": "Currency", "value": "USD"},
        {"key": "Environment", "value": "Test"},
    ]);
    account(&net, "authorize-net", "AuthorizeNet", &credentials).await;
    let credentials = json!([
        {"key": "MerchantId", "value": "testrest"},
        {"key": "KeyId", "value": "08c94330-f618-42a3-b09d-e1e43be5efda"},
        {"key": "SharedSecret", "value": "c2FuZGJveC1zaGFyZWQtc2VjcmV0LTAxMjM0NTY3ODk="},
        {"key": "Currency", "value": "EUR"},
        {"key": "Environment", "value": "Test"},
    ]);
    account(&net, "cybersource", "CyberSource", &credentials).await;
    account(&net, "nobody", "NULLSuccess", &json!([])).await;
    net
}

/// The card of an order, to be kept at an account or one of those after it.
fn card_at(order: &Order, others: &[&str]) -> Value {
    let order: Value = serde_json::from_str(&order.body()).unwrap();
    let one = |name: &&str| json!({"paymentGatewayAccountName": name});
    let others: Value = others.iter().map(one).collect();
    json!({
        "card": order["card"], "fallbackUpgs": others,
        "paymentGatewayAccountName": order["paymentGatewayAccountName"],
    })
}

async fn tokenize_once(net: &Net, key: &str, body: &Value) -> Answer {
    let client = net.client(Http::One).with_header("idempotency-key", key);
    client.send("POST", "/PaymentGateway/tokenize", Some(body)).await.unwrap()
}

async fn tokenize(net: &Net, body: &Value) -> Answer {
    net.send("POST", "/PaymentGateway/tokenize", Some(body)).await.unwrap()
}

/// Pays with what the gateway keeps.
async fn pay(net: &Net, verb: &str, order: &Order, token: &str) -> Answer {
    let mut body: Value = serde_json::from_str(&order.body()).unwrap();
    body.as_object_mut().unwrap().remove("card");
    body["userToken"] = token.into();
    net.send("POST", &format!("/PaymentGateway/{verb}"), Some(&body)).await.unwrap()
}

/// `account result` of each account.
fn attempts(answer: &Answer) -> Vec<String> {
    let body = answer.json().unwrap();
    let word = |one: &Value, name: &str| one[name].as_str().unwrap().to_owned();
    let attempts = body["attempts"].as_array().unwrap().iter();
    attempts.map(|one| format!("{} {}", word(one, "account"), word(one, "result"))).collect()
}

#[tokio::test]
async fn a_gateway_keeps_a_card_and_is_paid_with_its_name() {
    let net = net().await;
    for (name, currency) in GATEWAYS {
        let order = Order::new(name, "10.50", currency).number("5555555555554444");
        let kept = tokenize(&net, &card_at(&order, &[])).await;
        assert_eq!(verdict(&kept), KEPT, "{name}: {}", kept.text());
        assert_eq!(text(&kept, "operationType"), "Tokenize");
        let token = text(&kept, "gatewayToken");
        assert!(ledger(&net).is_empty(), "nothing moved");
        // As often as the merchant likes, and with the card that was kept.
        for _ in 0..2 {
            let paid = pay(&net, "charge", &order, &token).await;
            assert_eq!(verdict(&paid), CHARGED, "{name}: {}", paid.text());
            assert_eq!(paid.json().unwrap()["gatewayToken"], Value::Null);
        }
        let held = pay(&net, "authorize", &order, &token).await;
        assert_eq!(verdict(&held), "200 Success Authorized null false", "{name}: {}", held.text());
        let pans = net.sandbox.ledger().into_iter().map(|entry| entry.pan.unwrap());
        assert_eq!(pans.collect::<Vec<_>>(), ["5555555555554444"; 3], "{name}");
        net.sandbox.reset();
    }
}

#[tokio::test]
async fn a_payment_that_keeps_its_card_names_it_and_says_so_again() {
    let net = net().await;
    for (name, currency) in GATEWAYS.into_iter().filter(|(name, _)| *name != WORLDPAY) {
        let order = Order::new(name, "10.50", currency);
        let mut body: Value = serde_json::from_str(&order.body()).unwrap();
        body["generateToken"] = true.into();
        let client = net.client(Http::One).with_header("idempotency-key", name);
        let send = || client.send_bytes("POST", "/PaymentGateway/charge", body.to_string());
        let paid = send().await.unwrap();
        assert_eq!(verdict(&paid), CHARGED, "{name}: {}", paid.text());
        let again = send().await.unwrap();
        assert_eq!(again.header("idempotency-replayed"), "true");
        assert_eq!(again.text(), paid.text());
        let later = pay(&net, "charge", &order, &text(&paid, "gatewayToken")).await;
        assert_eq!(verdict(&later), CHARGED, "{name}: {}", later.text());
        assert_eq!(ledger(&net).len(), 2, "{name}");
        let path = format!("/Transactions/{}", text(&paid, "transactionId"));
        let shown = net.send("GET", &path, None).await.unwrap();
        assert!(!shown.text().contains(&text(&paid, "gatewayToken")), "{}", shown.text());
        net.sandbox.reset();
    }
}

#[tokio::test]
async fn a_gateway_that_keeps_no_cards_is_sent_nothing() {
    let net = net().await;
    let refused = "409 NotImplemented null null false";
    let order = Order::new("nobody", "10.50", "EUR");
    let answer = tokenize(&net, &card_at(&order, &[])).await;
    assert_eq!(verdict(&answer), refused, "{}", answer.text());
    // One that keeps cards may keep none on the way.
    let order = Order::new(WORLDPAY, "10.50", "EUR");
    let mut body: Value = serde_json::from_str(&order.body()).unwrap();
    body["generateToken"] = true.into();
    let answer = net.send("POST", "/PaymentGateway/charge", Some(&body)).await.unwrap();
    assert_eq!(verdict(&answer), refused, "{}", answer.text());
    assert_eq!(net.sandbox.requests(), 0);
    // The next one may.
    let order = Order::new("nobody", "10.50", "EUR");
    let answer = tokenize(&net, &card_at(&order, &["adyen-backup"])).await;
    assert_eq!(verdict(&answer), KEPT, "{}", answer.text());
    assert_eq!(attempts(&answer), ["nobody NotImplemented", "adyen-backup Success"]);
}

#[tokio::test]
async fn the_name_of_a_card_is_sent_to_nobody_but_its_gateway() {
    let net = net().await;
    let order = Order::new("stripe-primary", "10.50", "EUR");
    let token = text(&tokenize(&net, &card_at(&order, &[])).await, "gatewayToken");
    net.sandbox.reset();
    let before = net.sandbox.requests();
    let others =
        ["adyen-backup", "checkout", "braintree", "cybersource", "authorize-net", WORLDPAY];
    for name in others {
        let answer = pay(&net, "charge", &Order::new(name, "10.50", "EUR"), &token).await;
        let said = answer.json().unwrap();
        assert_eq!((answer.status, &said["fieldName"]), (400, &"userToken".into()), "{name}");
    }
    let mut body: Value = serde_json::from_str(&order.body()).unwrap();
    body.as_object_mut().unwrap().remove("card");
    body["userToken"] = token.into();
    body["fallbackUpgs"] = json!([{"paymentGatewayAccountName": "adyen-backup"}]);
    let answer = net.send("POST", "/PaymentGateway/charge", Some(&body)).await.unwrap();
    assert_eq!((answer.status, text(&answer, "fieldName")), (400, "userToken".into()));
    assert_eq!(net.sandbox.requests(), before);
}

#[tokio::test]
async fn a_card_that_may_be_kept_is_not_given_to_another_gateway() {
    let net = net().await;
    let body = card_at(&Order::new("stripe-primary", "10.50", "EUR"), &["adyen-backup"]);
    let at_stripe = |effect| Fault::once(effect).at(Provider::Stripe).on(Operation::Keep);
    for effect in [Effect::Cut, Effect::Half, Effect::Html, Effect::Status(500)] {
        net.sandbox.fault(at_stripe(effect)).unwrap();
        let answer = tokenize(&net, &body).await;
        assert_eq!(verdict(&answer), BUSY, "{effect:?}: {}", answer.text());
        assert!(answer.text().contains("may be kept twice"), "{}", answer.text());
        assert_eq!(attempts(&answer), ["stripe-primary TemporaryFailure"], "{effect:?}");
    }
    // What certainly did nothing is no reason to stop.
    let card = Fault::once(Effect::Cut).at(Provider::Stripe).on(Operation::PaymentMethod);
    for fault in [card, at_stripe(Effect::Status(429)).before()] {
        net.sandbox.fault(fault).unwrap();
        let answer = tokenize(&net, &body).await;
        assert_eq!(verdict(&answer), KEPT, "{}", answer.text());
        let expected = ["stripe-primary TemporaryFailure", "adyen-backup Success"];
        assert_eq!(attempts(&answer), expected);
    }
}

#[tokio::test]
async fn a_card_that_is_declined_is_kept_nowhere() {
    let net = net().await;
    let order = Order::new("stripe-primary", "10.50", "EUR").number(DECLINED);
    let answer = tokenize(&net, &card_at(&order, &["adyen-backup"])).await;
    assert_eq!(verdict(&answer), "409 Rejected null CardDeclined false", "{}", answer.text());
    assert_eq!(attempts(&answer), ["stripe-primary Rejected"]);
    assert_eq!(answer.json().unwrap()["gatewayToken"], Value::Null);
}

#[tokio::test]
async fn the_name_of_a_card_is_in_no_log() {
    let net = net().await;
    let mut tokens = Vec::new();
    for (name, currency) in GATEWAYS {
        let order = Order::new(name, "10.50", currency);
        let token = text(&tokenize(&net, &card_at(&order, &[])).await, "gatewayToken");
        assert_eq!(verdict(&pay(&net, "charge", &order, &token).await), CHARGED);
        // A request that is refused may be told of, but not so.
        let other = if name == "checkout" { "stripe-primary" } else { "checkout" };
        let wrong = pay(&net, "charge", &Order::new(other, "1.00", "EUR"), &token).await;
        assert_eq!(wrong.status, 400);
        tokens.push(token);
    }
    while net.access_log().unwrap().len() < 3 * tokens.len() {
        tokio::time::sleep(tests::net::PAUSE).await;
    }
    for name in ["access.log", "stdout.log", "stderr.log"] {
        let text = net.read(name);
        // The half that charges; Adyen's other half is the name of the request, which is in the log.
        for half in tokens.iter().filter_map(|token| token.rsplit('/').next()) {
            assert!(!text.contains(half), "{name} has {half}");
        }
    }
}

#[tokio::test]
async fn a_name_is_told_of_the_account_that_the_payment_ended_at() {
    let net = net().await;
    let busy = Fault::once(Effect::Status(429)).before().at(Provider::Stripe).on(Operation::Charge);
    // Declined by Adyen, after Stripe has kept the card.
    for (holder, expected) in [("DECLINED", false), ("Ann Example", true)] {
        net.sandbox.fault(busy.clone()).unwrap();
        let order = Order::new("stripe-primary", "10.50", "EUR").holder(holder);
        let mut body: Value = serde_json::from_str(&order.body()).unwrap();
        body["generateToken"] = true.into();
        body["fallbackUpgs"] = json!([{"paymentGatewayAccountName": "adyen-backup"}]);
        let paid = net.send("POST", "/PaymentGateway/charge", Some(&body)).await.unwrap();
        let said = paid.json().unwrap();
        assert_eq!(said["gatewayName"], "Adyen", "{said}");
        let token = said["gatewayToken"].as_str();
        assert_eq!(
            (token.is_some(), token.is_some_and(|t| t.starts_with("cus_"))),
            (expected, false),
            "{said}"
        );
    }
}

#[tokio::test]
async fn a_card_is_kept_once_for_each_idempotency_key() {
    let net = net().await;
    for (name, currency) in GATEWAYS {
        let order = Order::new(name, "10.50", currency);
        let body = card_at(&order, &[]);
        let kept = tokenize_once(&net, name, &body).await;
        assert_eq!(verdict(&kept), KEPT, "{name}: {}", kept.text());
        let requests = net.sandbox.requests();
        let again = tokenize_once(&net, name, &body).await;
        assert_eq!((again.status, again.header("idempotency-replayed")), (200, "true"), "{name}");
        assert_eq!(again.text(), kept.text());
        let other = card_at(&order.number("5555555555554444"), &[]);
        let answer = tokenize_once(&net, name, &other).await;
        let said = answer.json().unwrap();
        let told = (answer.status, &said["code"], &said["field"]);
        assert_eq!(told, (422, &"idempotency-mismatch".into(), &"card.cardNumber".into()));
        assert_eq!(net.sandbox.requests(), requests, "{name} was asked again");
    }
}

#[tokio::test]
async fn what_may_be_kept_is_not_kept_again_with_the_same_idempotency_key() {
    let mut net = net().await;
    let body = card_at(&Order::new("stripe-primary", "10.50", "EUR"), &[]);
    let at_stripe = |effect| Fault::once(effect).at(Provider::Stripe).on(Operation::Keep);
    net.sandbox.fault(at_stripe(Effect::Cut)).unwrap();
    let lost = tokenize_once(&net, "cut", &body).await;
    assert_eq!(verdict(&lost), BUSY, "{}", lost.text());
    let requests = net.sandbox.requests();
    assert_eq!(tokenize_once(&net, "cut", &body).await.text(), lost.text());
    // What was refused before anything was sent leaves the key free.
    let nobody = card_at(&Order::new("nobody", "10.50", "EUR"), &[]);
    assert_eq!(tokenize_once(&net, "free", &nobody).await.status, 409);
    assert_eq!(net.sandbox.requests(), requests);
    assert_eq!(verdict(&tokenize_once(&net, "free", &body).await), KEPT);
    // Killed while nobody knows: it stays so.
    net.sandbox.fault(at_stripe(Effect::Hang)).unwrap();
    let requests = net.sandbox.requests();
    let client = net.client(Http::One).with_header("idempotency-key", "killed");
    let sent = tokio::spawn({
        let body = body.clone();
        async move { client.send("POST", "/PaymentGateway/tokenize", Some(&body)).await }
    });
    while net.sandbox.requests() < requests + 2 {
        tokio::time::sleep(tests::net::PAUSE).await;
    }
    net.kill().unwrap();
    assert!(sent.await.unwrap().is_err());
    net.serve().await.unwrap();
    let requests = net.sandbox.requests();
    for _ in 0..2 {
        let answer = tokenize_once(&net, "killed", &body).await;
        assert_eq!(verdict(&answer), BUSY, "{}", answer.text());
        assert_eq!(answer.header("idempotency-replayed"), "true");
    }
    assert_eq!(net.sandbox.requests(), requests, "asked again after the kill");
}

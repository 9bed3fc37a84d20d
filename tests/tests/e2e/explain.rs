//! `POST /PaymentGateway/explain`: what a charge would do, and that it does nothing itself.

use super::order::{Order, account, text};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tests::net::client::Answer;
use tests::net::{Net, Options, STRIPE_KEY};
use tests::sandbox::Provider;
use tests::sandbox::fault::{Effect, Fault, Operation};

fn body(order: &Order, others: &[&str]) -> Value {
    let mut body: Value = serde_json::from_str(&order.body()).unwrap();
    let one = |name: &&str| json!({"paymentGatewayAccountName": name});
    body["fallbackUpgs"] = others.iter().map(one).collect();
    body
}

async fn post(net: &Net, verb: &str, body: &Value) -> Answer {
    net.send("POST", &format!("/PaymentGateway/{verb}"), Some(body)).await.unwrap()
}

/// `account tried`, or `account why not`, of each account.
async fn explained(net: &Net, body: &Value) -> Vec<String> {
    let answer = post(net, "explain", body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = |one: &Value| {
        let why = one["skipped"].as_str();
        assert_eq!(one["tried"], why.is_none());
        format!("{} {}", one["account"].as_str().unwrap(), why.unwrap_or("tried"))
    };
    answer.json().unwrap()["accounts"].as_array().unwrap().iter().map(told).collect()
}

fn stripe() -> Order {
    Order::new("stripe-primary", "10.50", "USD")
}

#[tokio::test]
async fn nothing_is_sent_written_opened_or_used_up() {
    let net = Net::start().await.unwrap();
    let kept = net.send("POST", "/StringTokens", Some(&json!({"payload": "737"}))).await.unwrap();
    let cvv = text(&kept, "token");
    let opened = net.read("vault/audit.log").matches("card.").count();
    let order = stripe().cvv(&format!("@{cvv}")).number("@nQGywsQE9gbURtrXEjTZwtWqeMdK9nsO");
    let found = explained(&net, &body(&order, &["adyen-backup"])).await;
    assert_eq!(found, ["stripe-primary tried", "adyen-backup tried"]);
    assert_eq!((net.sandbox.requests(), net.sandbox.questions()), (0, 0));
    let meta = net.send("GET", &format!("/StringTokens/{cvv}/meta"), None).await.unwrap();
    assert_eq!(meta.status, 200, "the value is still there");
    let listed = net.send("GET", "/Transactions", None).await.unwrap().json().unwrap();
    assert_eq!(listed["transactions"], json!([]));
    assert_eq!(net.read("vault/audit.log").matches("card.").count(), opened);
}

#[tokio::test]
async fn an_account_that_is_named_again_is_asked_once() {
    let net = Net::start().await.unwrap();
    let again = ["stripe-primary", "adyen-backup", "stripe-primary", "adyen-backup"];
    let body = body(&stripe(), &again);
    let found = explained(&net, &body).await;
    assert_eq!(found, ["stripe-primary tried", "adyen-backup tried"]);
    // Both are busy, and did nothing.
    net.sandbox.fault(Fault::standing(Effect::Status(429)).before()).unwrap();
    let charged = post(&net, "charge", &body).await.json().unwrap();
    let asked = charged["attempts"].as_array().unwrap().iter();
    let asked: Vec<_> = asked.map(|one| one["account"].as_str().unwrap()).collect();
    assert_eq!(asked, ["stripe-primary", "adyen-backup"], "{charged}");
}

#[tokio::test]
async fn it_says_which_accounts_a_charge_asks_and_why_not_others() {
    let payments = "  breaker_faults: 3\n  breaker_open_s: 600\n".to_owned();
    let net = Net::with(Options { payments, ..Options::default() }).await.unwrap();
    let credentials = json!([{"key": "SecretKey", "value": STRIPE_KEY}]);
    let off = json!({"paymentGatewayName": "Stripe", "credentials": credentials, "enabled": false});
    net.send("PUT", "/PaymentGatewayAccounts/stripe-off", Some(&off)).await.unwrap();
    let cut = Fault::standing(Effect::Cut).before().at(Provider::Stripe);
    net.sandbox.fault(cut.on(Operation::PaymentMethod)).unwrap();
    for _ in 0..3 {
        post(&net, "charge", &body(&stripe(), &[])).await;
    }
    let all = body(&stripe(), &["stripe-off", "adyen-backup"]);
    let expected = ["stripe-primary Unavailable", "stripe-off Disabled", "adyen-backup tried"];
    assert_eq!(explained(&net, &all).await, expected);
    // A charge does as it was said.
    let charged = post(&net, "charge", &all).await.json().unwrap();
    let skipped: Vec<_> =
        charged["attempts"].as_array().unwrap().iter().map(|one| &one["skipped"]).collect();
    assert_eq!(skipped, [&json!("Unavailable"), &json!("Disabled"), &Value::Null]);
    let alone = body(&stripe(), &["stripe-off"]);
    assert_eq!(explained(&net, &alone).await, ["stripe-primary tried", "stripe-off Disabled"]);
}

#[tokio::test]
async fn what_a_provider_cannot_take_is_told_by_field_and_passed_over() {
    let net = Net::start().await.unwrap();
    // Adyen has dinars of Iraq, and Stripe has not.
    let order = Order::new("adyen-backup", "10.500", "IQD");
    let all = body(&order, &["stripe-primary", "null-success"]);
    let expected = ["adyen-backup tried", "stripe-primary NotSupported", "null-success tried"];
    assert_eq!(explained(&net, &all).await, expected);
    let found = post(&net, "explain", &all).await.json().unwrap();
    let second = &found["accounts"][1];
    assert_eq!(second["fieldName"], "currency");
    assert_eq!(second["problem"], "is not a currency that Stripe documents");
    // A charge passes it over too.
    net.sandbox.fault(Fault::once(Effect::Status(429)).before().at(Provider::Adyen)).unwrap();
    let charged = post(&net, "charge", &all).await;
    assert_eq!((charged.status, text(&charged, "gatewayName").as_str()), (200, "NULLSuccess"));
    // And an account that cannot be asked does not hide why the one before failed.
    net.sandbox.fault(Fault::once(Effect::Status(429)).before().at(Provider::Adyen)).unwrap();
    let two = post(&net, "charge", &body(&order, &["stripe-primary"])).await;
    assert_eq!((two.status, text(&two, "operationResultCode").as_str()), (503, "TemporaryFailure"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_charge_would_be_refused_for_is_refused_in_the_same_words() {
    let net = Net::start().await.unwrap();
    let disable = ["accounts", "disable", "adyen-backup", "--merchant", tests::net::MERCHANT];
    tokio::task::block_in_place(|| net.run(&disable)).unwrap();
    let orders = [
        body(&Order::new("nobody-there", "10.50", "USD"), &[]),
        body(&Order::new("adyen-backup", "10.50", "USD"), &["stripe-primary"]),
        body(&stripe(), &["nobody-there"]),
        body(&Order::new("stripe-primary", "10.500", "IQD"), &[]),
        body(&Order::new("stripe-primary", "-1", "USD"), &[]),
        body(&Order::new("stripe-primary", "10.50", "USD").number("4111111111111112"), &[]),
    ];
    for order in orders {
        let (told, charged) =
            (post(&net, "explain", &order).await, post(&net, "charge", &order).await);
        assert_eq!((told.status, charged.status), (400, 400), "{}", told.text());
        assert_eq!(told.body, charged.body);
    }
}

/// Accounts of every kind, and what becomes of a payment of euros there: one is left alone and does not
/// work, one is disabled, one cannot take it, one is too busy, one takes it.
async fn every_kind(net: &Net) -> [&'static str; 5] {
    let credentials = json!([{"key": "SecretKey", "value": STRIPE_KEY}]);
    let off = json!({"paymentGatewayName": "Stripe", "credentials": credentials, "enabled": false});
    net.send("PUT", "/PaymentGatewayAccounts/stripe-off", Some(&off)).await.unwrap();
    let credentials = json!([
        {"key": "ApiLoginId", "value": "5KP3u95bQpv"},
        {"key": "TransactionKey", "value": "346HZ32z3fP4hTG2"},
        {"key": "Currency", "value": "USD"},
        {"key": "Environment", "value": "Test"},
    ]);
    account(net, "dollars", "AuthorizeNet", &credentials).await;
    let cut = Fault::standing(Effect::Cut).before().at(Provider::Stripe);
    net.sandbox.fault(cut.on(Operation::PaymentMethod)).unwrap();
    let busy = Fault::standing(Effect::Status(429)).before().at(Provider::Adyen);
    net.sandbox.fault(busy).unwrap();
    for _ in 0..3 {
        post(net, "charge", &body(&stripe(), &[])).await;
    }
    ["stripe-primary", "stripe-off", "dollars", "adyen-backup", "null-success"]
}

/// All ways to choose one, two or three of these, in any order.
fn choices(all: [&'static str; 5]) -> Vec<Vec<&'static str>> {
    let longer = |chosen: &Vec<&'static str>| {
        let others = all.iter().filter(|one| !chosen.contains(one));
        others.map(|one| [&chosen[..], &[*one]].concat()).collect::<Vec<_>>()
    };
    let one: Vec<_> = all.iter().map(|one| vec![*one]).collect();
    let two: Vec<_> = one.iter().flat_map(longer).collect();
    let three: Vec<_> = two.iter().flat_map(longer).collect();
    [one, two, three].concat()
}

/// What a charge says of each account at last, in the words of `explain`.
fn done(charged: &Value) -> BTreeMap<String, &'static str> {
    let word = |one: &Value| match (one["result"].as_str(), one["skipped"].as_str()) {
        (Some("NotImplemented"), _) => "NotSupported",
        (Some(_), _) => "tried",
        (None, Some("Disabled")) => "Disabled",
        (None, _) => "Unavailable",
    };
    let all = charged["attempts"].as_array().unwrap().iter();
    all.map(|one| (one["account"].as_str().unwrap().to_owned(), word(one))).collect()
}

#[tokio::test]
async fn a_charge_does_what_was_said_whatever_accounts_it_names() {
    let payments = "  breaker_faults: 3\n  breaker_open_s: 600\n".to_owned();
    let net = Net::with(Options { payments, ..Options::default() }).await.unwrap();
    let choices = choices(every_kind(&net).await);
    assert_eq!(choices.len(), 5 + 20 + 60);
    for names in choices {
        let (first, others) = names.split_first().unwrap();
        let order = body(&Order::new(first, "10.50", "EUR"), others);
        let told = post(&net, "explain", &order).await;
        let charged = post(&net, "charge", &order).await;
        if told.status != 200 {
            assert_eq!((told.status, &told.body), (400, &charged.body), "{names:?}");
            continue;
        }
        let said: BTreeMap<_, _> = explained(&net, &order).await.into_iter().map(pair).collect();
        let done = done(&charged.json().unwrap());
        for (name, word) in &done {
            assert_eq!(said[name], *word, "{name} of {names:?}: {}", charged.text());
        }
        assert!(charged.status == 200 || done.len() == names.len(), "{names:?}");
    }
}

fn pair(told: String) -> (String, String) {
    let (name, word) = told.split_once(' ').unwrap();
    (name.to_owned(), word.to_owned())
}

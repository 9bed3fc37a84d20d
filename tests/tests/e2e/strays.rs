//! What stands at a provider although its merchant was told that nothing was done.

use super::order::{Order, text};
use super::webhooks::{WITHIN, hook, net, transaction, until};
use serde_json::{Value, json};
use std::time::Instant;
use tests::net::client::Answer;
use tests::net::{MERCHANT, Net, PAUSE};
use tests::sandbox::Provider;
use tests::sandbox::fault::{Effect, Fault, Operation};
use tests::sandbox::webhook::Moment;

const STRAYS: &str = "orchestra_vault{figure=\"payments_stray\"}";

/// The provider says that it is too busy, has done it, and tells so when it is asked to.
fn deny(net: &Net, provider: Provider, operation: Operation) {
    net.sandbox.reset();
    net.sandbox.hook(hook(net, provider, Moment::Asked)).unwrap();
    let busy = Fault::once(Effect::Status(429)).on(operation);
    net.sandbox.fault(busy.at(provider)).unwrap();
}

async fn pay(net: &Net, verb: &str, account: &str, others: &[&str]) -> Answer {
    let order = Order::new(account, "10.50", "USD");
    let mut body: Value = serde_json::from_str(&order.body()).unwrap();
    let others = others.iter().map(|name| json!({"paymentGatewayAccountName": name}));
    body["fallbackUpgs"] = others.collect();
    net.send("POST", &format!("/PaymentGateway/{verb}"), Some(&body)).await.unwrap()
}

/// What was done at a provider, in order.
fn done(net: &Net, provider: &str) -> Vec<&'static str> {
    let ledger = net.sandbox.ledger();
    ledger.iter().filter(|entry| entry.provider == provider).map(|entry| entry.operation).collect()
}

async fn wait_for(net: &Net, what: &str, holds: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !holds().await {
        let log = net.read("stderr.log");
        assert!(began.elapsed() < WITHIN, "{what}: {:?}\n{log}", net.sandbox.ledger());
        tokio::time::sleep(PAUSE).await;
    }
}

/// The payment that stands where it must not: the newest one at its account.
async fn newest(net: &Net, account: &str) -> String {
    let path = format!("/Transactions?account={account}");
    let page = net.send("GET", &path, None).await.unwrap();
    let page: Value = serde_json::from_str(&page.text()).unwrap();
    let last = page["transactions"].as_array().unwrap().last().unwrap();
    last["transactionId"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_authorization_that_was_told_not_to_be_done_is_voided() {
    let mut net = net().await;
    // Adyen tells what it did, and CyberSource is asked.
    for (provider, account, others, status) in [
        (Provider::Adyen, "adyen-backup", &[][..], 503),
        (Provider::Adyen, "adyen-backup", &["stripe-primary"], 200),
        (Provider::Cybersource, "cybersource", &[], 503),
        (Provider::Cybersource, "cybersource", &["stripe-primary"], 200),
    ] {
        deny(&net, provider, Operation::Authorize);
        let answer = pay(&net, "authorize", account, others).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        let told = text(&answer, "transactionId");
        // The program ends as soon as it has taken it in.
        net.sandbox.tell(provider).await.unwrap();
        let heard = net.sandbox.told();
        assert!(heard.iter().all(|told| told.status == Some(200)), "{heard:?}");
        net.kill().unwrap();
        net.serve().await.unwrap();
        net.ready().await.unwrap();
        let word = provider.word();
        wait_for(&net, "a void", async || done(&net, word) == ["authorize", "void"]).await;
        net.sandbox.tell(provider).await.unwrap();
        wait_for(&net, "all undone", async || net.metric(STRAYS).await.unwrap() == 0).await;
        let stray = newest(&net, account).await;
        let found = transaction(&net, &stray).await;
        assert_eq!([&found["state"], &found["changes"][0]["outcome"]], ["Voided", "approved"]);
        assert_eq!(stray == told, others.is_empty(), "what went on is a payment of its own");
        let kept = transaction(&net, &told).await;
        assert_eq!(kept["state"], if others.is_empty() { "Voided" } else { "Authorized" });
        assert_eq!(done(&net, word), ["authorize", "void"], "once");
        let stripe: &[&str] = if others.is_empty() { &[] } else { &["authorize"] };
        assert_eq!(done(&net, "stripe"), stripe);
    }
}

#[tokio::test]
async fn money_that_was_taken_twice_is_given_back() {
    let net = net().await;
    deny(&net, Provider::Stripe, Operation::Charge);
    let answer = pay(&net, "charge", "stripe-primary", &["adyen-backup"]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    net.sandbox.tell(Provider::Stripe).await.unwrap();
    wait_for(&net, "all undone", async || {
        done(&net, "stripe").contains(&"refund") && net.metric(STRAYS).await.unwrap() == 0
    })
    .await;
    let found = transaction(&net, &newest(&net, "stripe-primary").await).await;
    assert_eq!(found["state"], "Refunded", "{found}");
    assert_eq!(found["refundedAmount"].to_string(), "10.5");
    let kept = transaction(&net, &text(&answer, "transactionId")).await;
    assert_eq!(kept["state"], "Captured");
    assert_eq!(done(&net, "adyen"), ["charge"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_that_was_taken_once_is_not_given_back_and_a_person_says_what_holds() {
    let net = net().await;
    deny(&net, Provider::Stripe, Operation::Charge);
    let answer = pay(&net, "charge", "stripe-primary", &[]).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    let id = text(&answer, "transactionId");
    net.sandbox.tell(Provider::Stripe).await.unwrap();
    let told = format!("transaction {id} of {MERCHANT} stands");
    wait_for(&net, "a person", async || net.read("stderr.log").contains(&told)).await;
    assert_eq!(
        until(&net, &id, |found| found["state"] == "Captured").await["changes"][0]["outcome"],
        "rejected"
    );
    let run = |arguments: &[&str]| net.run(&[&["transactions"], arguments, &["--json"]].concat());
    let shown: Value = serde_json::from_str(&run(&["show", &id]).unwrap()).unwrap();
    assert_eq!(shown["mustNotStand"], true, "{shown}");
    let by = ["--by", "ada", "--reason", "the shop has sent the goods"];
    let wrong = [&["resolve", &id, "--as", "not-executed"], &by[..]].concat();
    for arguments in [&["resolve", &id][..], &wrong] {
        let refused = run(arguments).unwrap_err().to_string();
        assert!(refused.contains("lets it stand"), "{refused}");
    }
    assert_eq!(net.metric(STRAYS).await.unwrap(), 1);
    run(&[&["resolve", &id, "--as", "succeeded"], &by[..]].concat()).unwrap();
    assert_eq!(net.metric(STRAYS).await.unwrap(), 0);
    assert_eq!(transaction(&net, &id).await["state"], "Captured");
    assert!(!done(&net, "stripe").contains(&"refund"));
}

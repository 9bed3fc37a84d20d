//! What operators see of payments, and how they settle what nobody knows the outcome of.

use super::order::{Order, text, verdict};
use serde_json::Value;
use std::time::{Duration, Instant};
use tests::net::Net;
use tests::sandbox::Provider;
use tests::sandbox::fault::{Effect, Fault, Operation};

/// How long is waited for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A charge of which the answer is lost, after it was carried out.
async fn lost(net: &Net, account: &str, provider: Provider) -> String {
    net.sandbox.fault(Fault::once(Effect::Cut).at(provider).on(Operation::Charge)).unwrap();
    let answer = Order::new(account, "10.50", "USD").charge(net).await;
    assert_eq!(verdict(&answer), "202 Accepted Unknown null false", "{}", answer.text());
    text(&answer, "transactionId")
}

fn told(net: &Net, arguments: &[&str]) -> Value {
    let all = [&["transactions"], arguments, &["--json"]].concat();
    serde_json::from_str(&net.run(&all).unwrap()).unwrap()
}

fn refused(net: &Net, arguments: &[&str]) -> String {
    net.run(&[&["transactions"], arguments].concat()).unwrap_err().to_string()
}

/// Waits until its provider was asked so often, and gives the line of the list.
async fn asked(net: &Net, id: &str, times: u64) -> Value {
    let began = Instant::now();
    loop {
        let page = told(net, &["list", "--in-doubt"]);
        let lines = page["transactions"].as_array().unwrap();
        let line = lines.iter().find(|line| line["doubt"]["id"] == id);
        if let Some(line) = line.filter(|line| line["doubt"]["asked"].as_u64() >= Some(times)) {
            return line.clone();
        }
        assert!(began.elapsed() < PATIENCE, "asked less than {times} times: {page}");
        tokio::time::sleep(tests::net::PAUSE).await;
    }
}

async fn state(net: &Net, id: &str) -> String {
    text(&net.send("GET", &format!("/Transactions/{id}"), None).await.unwrap(), "state")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_says_what_became_of_a_payment_whose_provider_cannot_be_asked() {
    let net = Net::start().await.unwrap();
    let id = lost(&net, "adyen-backup", Provider::Adyen).await;
    let line = asked(&net, &id, 1).await;
    assert_eq!(line["merchant"], tests::net::MERCHANT);
    assert_eq!([&line["account"], &line["amount"]], ["adyen-backup", "10.50 USD"]);
    assert_eq!(line["doubt"]["why"], "its provider cannot be asked");
    assert!(line["doubt"]["asksInS"].is_u64(), "{line}");
    let shown = told(&net, &["show", &id]);
    assert_eq!([&shown["state"], &shown["inDoubt"][0]["id"]], ["Unknown", id.as_str()]);
    let of_others = told(&net, &["list", "--in-doubt", "--account", "stripe-primary"]);
    assert_eq!(of_others["transactions"].as_array().unwrap().len(), 0);
    let by = ["--by", "ada", "--reason", "seen in the Customer Area"];
    assert!(refused(&net, &["resolve", &id]).contains("still in doubt: its provider cannot"));
    let nothing = refused(&net, &[&["resolve", &id, "--as", "not-executed"], &by[..]].concat());
    assert!(nothing.contains("may still carry it out"), "{nothing}");
    assert_eq!(state(&net, &id).await, "Unknown");
    let done = [&["resolve", &id, "--as", "succeeded", "--reference", "8835511210681234"], &by[..]];
    let shown = told(&net, &done.concat());
    assert_eq!(shown["state"], "Captured");
    assert_eq!(shown["attempts"][0]["gatewayResultCode"], "stated by ada");
    assert_eq!(state(&net, &id).await, "Captured");
    let again = refused(&net, &[&["resolve", &id, "--as", "declined"], &by[..]].concat());
    assert!(again.contains("nothing is in doubt"), "{again}");
    assert_eq!(net.sandbox.ledger().len(), 1, "it sends nothing");
    let log = super::audit::lines(&net);
    let resolved: Vec<_> =
        log.iter().filter(|line| line["action"] == "transaction.resolve").collect();
    assert_eq!(resolved.last().unwrap()["outcome"], "success");
    assert!(resolved.last().unwrap()["object"].as_str().unwrap().ends_with("succeeded by ada"));
    assert!(resolved.iter().any(|line| line["outcome"] == "failure"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_knows_is_believed_and_not_the_operator() {
    let net = Net::start().await.unwrap();
    for _ in 0..4 {
        let fault = Fault::once(Effect::Status(503)).at(Provider::Stripe).on(Operation::Read);
        net.sandbox.fault(fault).unwrap();
    }
    let id = lost(&net, "stripe-primary", Provider::Stripe).await;
    // The next question of its own is eight seconds away, and finds what it looks for.
    asked(&net, &id, 4).await;
    let wrong = ["resolve", &id, "--as", "declined", "--by", "ada", "--reason", "a guess"];
    let refused = refused(&net, &wrong);
    assert!(refused.contains("its provider says otherwise"), "{refused}");
    assert_eq!(state(&net, &id).await, "Captured");
    let page = told(&net, &["list", "--merchant", tests::net::MERCHANT, "--state", "captured"]);
    assert_eq!(page["transactions"][0]["id"], id.as_str());
}

//! The table of `docs/concepts/outcomes.md`, row by row, on the whole program.

use super::order::Order;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tests::net::{Net, Options};
use tests::sandbox::Provider;
use tests::sandbox::fault::{Effect, Fault, Operation};

/// How long the resolver may take.
const WITHIN: Duration = Duration::from_secs(30);

/// A row of the table.
struct Row {
    fault: String,
    answer: String,
    asked: usize,
    afterwards: String,
}

fn rows() -> Vec<Row> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/concepts/outcomes.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, table) = text.split_once("| fault at the first account |").unwrap();
    let lines = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    lines
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [fault, answer, asked, afterwards] = cells[..] else { panic!("{line}") };
            let asked = asked.parse().unwrap();
            Row { fault: fault.into(), answer: answer.into(), asked, afterwards: afterwards.into() }
        })
        .collect()
}

/// The fault that a row speaks of; none where the card is what is wrong.
fn fault(words: &str) -> Option<Fault> {
    if words == "the card is declined" {
        return None;
    }
    if words == "the connection is lost before the payment is sent" {
        return Some(Fault::once(Effect::Cut).on(Operation::PaymentMethod));
    }
    let (what, executed) = words.rsplit_once(", ").unwrap();
    let effect = match what {
        "429 to the payment" => Effect::Status(429),
        "500 to the payment" => Effect::Status(500),
        "503 to the payment" => Effect::Status(503),
        "half an answer" => Effect::Half,
        "an HTML page" => Effect::Html,
        "no answer at all" => Effect::Hang,
        "the connection is lost" => Effect::Cut,
        other => panic!("no such fault: {other}"),
    };
    let fault = Fault::once(effect).on(Operation::Charge);
    Some(if executed == "executed" { fault } else { fault.before() })
}

async fn charge(net: &Net, number: &str) -> (String, Value) {
    let order = Order::new("stripe-primary", "10.50", "USD").number(number);
    let mut body: Value = serde_json::from_str(&order.body()).unwrap();
    body["fallbackUpgs"] = json!([{"paymentGatewayAccountName": "adyen-backup"}]);
    let answer = net.send("POST", "/PaymentGateway/charge", Some(&body)).await.unwrap();
    let body = answer.json().unwrap();
    let part = |name: &str| body[name].as_str().unwrap_or("null").to_owned();
    (format!("{} {} {}", answer.status, part("operationResultCode"), part("state")), body)
}

async fn until(net: &Net, id: &str, state: &str) {
    let began = Instant::now();
    loop {
        let found = net.send("GET", &format!("/Transactions/{id}"), None).await.unwrap();
        let found = found.json().unwrap();
        if found["state"] == state {
            return;
        }
        assert!(began.elapsed() < WITHIN, "not {state}: {found}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn each_fault_has_the_answer_that_the_page_says() {
    // Faults in a row would have the account left alone, which is another rule.
    let payments = "  breaker_faults: 1000\n".to_owned();
    let options = Options { exchange_timeout_ms: 1_000, payments, ..Options::default() };
    let net = Net::with(options).await.unwrap();
    let rows = rows();
    assert!(rows.len() > 10);
    for Row { fault: words, answer, asked, afterwards } in rows {
        net.sandbox.reset();
        let found = fault(&words);
        let number = if found.is_some() { super::order::VISA } else { "4000000000009995" };
        if let Some(fault) = found {
            net.sandbox.fault(fault.at(Provider::Stripe)).unwrap();
        }
        let (told, body) = charge(&net, number).await;
        assert_eq!(told, answer, "{words}: {body}");
        assert_eq!(body["attempts"].as_array().map(Vec::len), Some(asked), "{words}: {body}");
        let id = body["transactionId"].as_str().unwrap();
        let (first, _) = afterwards.split_once(',').unwrap_or((&afterwards, ""));
        until(&net, id, first).await;
        let charged = usize::from(afterwards == "Captured");
        let approved = net.sandbox.ledger().iter().filter(|e| e.reason.is_none()).count();
        assert_eq!(approved, charged, "{words}");
    }
}

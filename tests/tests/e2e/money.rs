//! Money moves once: idempotency keys, the journal, falling back, and what is not known.

use super::order::{Order, text, verdict};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tests::net::client::{Answer, Http};
use tests::net::{Net, Options};
use tests::sandbox::Provider;
use tests::sandbox::fault::{Effect, Fault, Operation};
use tests::sandbox::ledger::Outcome;

/// How long the resolver may take, and a restart.
const WITHIN: Duration = Duration::from_secs(30);
const ACCOUNT: &str = "paymentGatewayAccountName";

fn body(of: &Order) -> Value {
    serde_json::from_str(&of.body()).unwrap()
}

fn with(mut body: Value, name: &str, value: Value) -> Value {
    body[name] = value;
    body
}

fn stripe() -> Value {
    body(&Order::new("stripe-primary", "10.50", "USD"))
}

/// A charge at Stripe that may go on to Adyen.
fn with_fallback() -> Value {
    with(stripe(), "fallbackUpgs", json!([{"paymentGatewayAccountName": "adyen-backup"}]))
}

async fn send(net: &Net, key: &str, method: &str, verb: &str, body: &Value) -> Answer {
    let client = net.client(Http::One);
    let client = if key.is_empty() { client } else { client.with_header("idempotency-key", key) };
    let path = format!("/PaymentGateway/{verb}");
    client.send(method, &path, Some(body)).await.unwrap()
}

async fn charge(net: &Net, key: &str, body: &Value) -> Answer {
    send(net, key, "POST", "charge", body).await
}

/// What is done to a payment of ours.
async fn change(net: &Net, verb: &str, id: &str, amount: &str) -> Answer {
    let method = if verb == "void" { "DELETE" } else { "PUT" };
    let text = format!(r#"{{"currency":"USD","amount":{amount},"transactionId":"{id}"}}"#);
    let body: Value = serde_json::from_str(&text).unwrap();
    send(net, "", method, verb, &body).await
}

async fn transaction(net: &Net, id: &str) -> Value {
    let answer = net.send("GET", &format!("/Transactions/{id}"), None).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json().unwrap()
}

async fn until_state(net: &Net, id: &str, state: &str) -> Value {
    let began = Instant::now();
    loop {
        let found = transaction(net, id).await;
        if found["state"] == state {
            return found;
        }
        assert!(began.elapsed() < WITHIN, "still {found}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// `account result` of each account that was asked.
fn attempts(answer: &Answer) -> Vec<String> {
    let body = answer.json().unwrap();
    let all = body["attempts"].as_array().unwrap().iter();
    let part = |one: &Value, name: &str| one[name].as_str().unwrap_or("-").to_owned();
    all.map(|one| format!("{} {}", part(one, "account"), part(one, "result"))).collect()
}

fn executed(net: &Net) -> usize {
    net.sandbox.ledger().iter().filter(|entry| entry.outcome != Outcome::Declined).count()
}

#[tokio::test]
async fn the_same_key_and_body_get_the_same_bytes_also_after_a_restart() {
    let mut net = Net::start().await.unwrap();
    let first = charge(&net, "key-1", &stripe()).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (200, ""));
    for restart in [false, true] {
        if restart {
            net.kill().unwrap();
            net.serve().await.unwrap();
        }
        let again = charge(&net, "key-1", &stripe()).await;
        assert_eq!(again.header("idempotency-replayed"), "true");
        assert_eq!((again.status, &again.body), (first.status, &first.body));
    }
    assert_eq!(net.sandbox.ledger().len(), 1);
    // Another way to write the same request is the same request.
    let written = with(stripe(), "currency", json!("usd"));
    assert_eq!(charge(&net, "key-1", &written).await.body, first.body);
    let other = charge(&net, "key-2", &stripe()).await;
    assert_ne!(text(&other, "transactionId"), text(&first, "transactionId"));
    assert_eq!(net.sandbox.ledger().len(), 2);
}

#[tokio::test]
async fn a_key_for_another_body_is_refused_by_field() {
    let net = Net::start().await.unwrap();
    assert_eq!(charge(&net, "key", &stripe()).await.status, 200);
    for (field, body) in [
        ("amount", with(stripe(), "amount", json!(11))),
        ("currency", with(stripe(), "currency", json!("EUR"))),
        ("myRef", with(stripe(), "myRef", json!("another"))),
        ("fallbackUpgs", with_fallback()),
    ] {
        let answer = charge(&net, "key", &body).await;
        let problem = answer.json().unwrap();
        assert_eq!(answer.status, 422, "{}", answer.text());
        assert_eq!(problem["code"], "idempotency-mismatch");
        assert_eq!(problem["field"], field);
    }
    let authorize = send(&net, "key", "POST", "authorize", &stripe()).await;
    assert_eq!(authorize.json().unwrap()["field"], "operation");
    assert_eq!(net.sandbox.ledger().len(), 1);
}

#[tokio::test]
async fn a_key_for_the_same_accounts_in_another_order_is_refused() {
    let net = Net::start().await.unwrap();
    let others = |names: [&str; 2]| {
        let list = names.map(|name| json!({"paymentGatewayAccountName": name}));
        with(stripe(), "fallbackUpgs", json!(list))
    };
    let first = charge(&net, "key", &others(["adyen-backup", "null-success"])).await;
    assert_eq!(first.status, 200);
    let answer = charge(&net, "key", &others(["null-success", "adyen-backup"])).await;
    assert_eq!((answer.status, text(&answer, "field").as_str()), (422, "fallbackUpgs"));
    let again = charge(&net, "key", &others(["adyen-backup", "null-success"])).await;
    assert_eq!(again.body, first.body);
}

#[tokio::test]
async fn a_key_is_in_use_until_the_last_account_answered_though_its_client_left() {
    let net =
        Net::with(Options { exchange_timeout_ms: 1_500, ..Options::default() }).await.unwrap();
    let hang = Fault::once(Effect::Hang).at(Provider::Stripe).on(Operation::PaymentMethod);
    net.sandbox.fault(hang).unwrap();
    net.sandbox.fault(Fault::once(Effect::Delay(1_000)).at(Provider::Adyen)).unwrap();
    // As long as a key may be, in characters that are seldom.
    let key = "~".repeat(255);
    let (key, body) = (key.as_str(), with_fallback());
    tokio::select! {
        _ = charge(&net, key, &body) => panic!("nobody has answered yet"),
        () = async {
            while net.sandbox.requests() == 0 {
                tokio::time::sleep(tests::net::PAUSE).await;
            }
        } => {}
    }
    let mut while_asked = Vec::new();
    let answer = loop {
        let asked = net.sandbox.requests();
        let answer = charge(&net, key, &body).await;
        if answer.status != 409 {
            break answer;
        }
        assert_eq!(text(&answer, "code"), "idempotency-in-flight");
        while_asked.push(asked);
        tokio::time::sleep(tests::net::PAUSE).await;
    };
    while_asked.dedup();
    assert_eq!(while_asked, [1, 2], "at the first account, and at the second");
    assert_eq!((answer.status, answer.header("idempotency-replayed")), (200, "true"));
    assert_eq!(attempts(&answer), ["stripe-primary TemporaryFailure", "adyen-backup Success"]);
    assert_eq!(charge(&net, key, &body).await.body, answer.body);
    assert_eq!(net.sandbox.ledger().len(), 1);
}

#[tokio::test]
async fn a_request_that_was_refused_burns_no_key() {
    let net = Net::start().await.unwrap();
    let wrong = with(stripe(), "amount", json!(0));
    assert_eq!(charge(&net, "key", &wrong).await.status, 400);
    let nobody = with(stripe(), "paymentGatewayAccountName", json!("nobody"));
    assert_eq!(charge(&net, "key", &nobody).await.status, 400);
    let token = "@nQGywsQE9gbURtrXEjTZwtWqeMdK9nsO";
    let mut strange = stripe();
    strange["card"]["cardNumber"] = json!(token);
    assert_eq!(charge(&net, "key", &strange).await.status, 400);
    let good = charge(&net, "key", &stripe()).await;
    assert_eq!((good.status, good.header("idempotency-replayed")), (200, ""));
    for bad in ["a b", "ä"] {
        let answer = charge(&net, bad, &stripe()).await;
        assert!(matches!(answer.status, 400), "{bad}: {}", answer.text());
    }
    assert_eq!(net.sandbox.ledger().len(), 1);
}

#[tokio::test]
async fn of_many_at_once_with_one_key_one_is_carried_out() {
    let net = Net::start().await.unwrap();
    net.sandbox.fault(Fault::once(Effect::Delay(400)).on(Operation::Charge)).unwrap();
    let body = stripe();
    let all = (0..16).map(|_| charge(&net, "key", &body));
    let answers = futures_of(all).await;
    let count = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    assert!(count(200) >= 1 && count(200) + count(409) == 16, "{answers:?}");
    let busy = answers.iter().find(|answer| answer.status == 409);
    let code = busy.map(|answer| answer.json().unwrap()["code"].clone());
    assert_eq!(code, Some(json!("idempotency-in-flight")));
    let replayed = charge(&net, "key", &body).await;
    let first = answers.iter().find(|answer| answer.status == 200).unwrap();
    assert_eq!(replayed.body, first.body);
    assert_eq!(net.sandbox.ledger().len(), 1);
}

/// Drives all at the same time.
async fn futures_of<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = all.map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|cx| {
        let mut pending = false;
        for (future, output) in &mut waiting {
            if output.is_none() {
                match future.as_mut().poll(cx) {
                    std::task::Poll::Ready(done) => *output = Some(done),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    waiting.into_iter().filter_map(|(_, output)| output).collect()
}

#[tokio::test]
async fn a_payment_is_captured_in_parts_refunded_in_parts_and_never_more() {
    let net = Net::start().await.unwrap();
    let held = send(&net, "", "POST", "authorize", &stripe()).await;
    let id = text(&held, "transactionId");
    assert_eq!(transaction(&net, &id).await["state"], "Authorized");
    let over = change(&net, "capture", &id, "10.51").await;
    assert_eq!(verdict(&over), "409 Rejected Authorized null false");
    assert!(over.text().contains("more would be captured than was authorized"));
    assert_eq!(change(&net, "refund", &id, "1").await.status, 409);
    let requests = net.sandbox.requests();
    // Stripe takes one capture of an authorization.
    assert_eq!(
        verdict(&change(&net, "capture", &id, "8").await),
        "200 Success Captured null false"
    );
    assert_eq!(change(&net, "void", &id, "8").await.status, 409);
    for (amount, status) in [("5", 200), ("3.01", 409), ("3", 200), ("0.01", 409)] {
        let answer = change(&net, "refund", &id, amount).await;
        assert_eq!(answer.status, status, "{amount}: {}", answer.text());
    }
    assert_eq!(net.sandbox.requests(), requests + 3, "what is refused is not sent");
    let found = transaction(&net, &id).await;
    assert_eq!(found["state"], "Refunded");
    let amounts = ["amount", "authorizedAmount", "capturedAmount", "refundedAmount"];
    let amounts = amounts.map(|name| found[name].to_string());
    assert_eq!(amounts, ["10.5", "10.5", "8.0", "8.0"]);
    assert_eq!(found["changes"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn sixty_four_captures_at_once_never_exceed_the_authorization() {
    let net = Net::start().await.unwrap();
    let held = body(&Order::new("adyen-backup", "10.00", "USD"));
    let id = text(&send(&net, "", "POST", "authorize", &held).await, "transactionId");
    let all = (0..64).map(|_| change(&net, "capture", &id, "0.90"));
    let answers = futures_of(all).await;
    let taken = answers.iter().filter(|answer| answer.status == 202).count();
    let refused = answers.iter().filter(|answer| answer.status == 409).count();
    assert_eq!((taken, refused), (11, 53));
    let captured = net.sandbox.ledger().iter().filter(|e| e.operation == "capture").count();
    assert_eq!(captured, 11);
    assert_eq!(transaction(&net, &id).await["capturedAmount"].to_string(), "9.9");
}

#[tokio::test]
async fn nothing_but_all_of_a_payment_is_voided() {
    let net = Net::start().await.unwrap();
    let held = send(&net, "", "POST", "authorize", &stripe()).await;
    let id = text(&held, "transactionId");
    let requests = net.sandbox.requests();
    for amount in ["1", "10.49", "10.51"] {
        let refused = change(&net, "void", &id, amount).await;
        assert_eq!(verdict(&refused), "409 Rejected Authorized null false", "{amount}");
        assert!(refused.text().contains("only all of a payment can be voided"), "{amount}");
    }
    assert_eq!(net.sandbox.requests(), requests, "what is refused is not sent");
    let voided = change(&net, "void", &id, "10.50").await;
    let (all, told) = (held.json().unwrap(), voided.json().unwrap());
    assert_eq!((&told["state"], &told["amount"]), (&json!("Voided"), &all["amount"]), "{told}");
    let kept = transaction(&net, &id).await;
    assert_eq!(kept["changes"][0]["amount"], all["amount"], "{kept}");
}

#[tokio::test]
async fn a_reference_of_the_gateway_finds_our_payment_and_is_checked_too() {
    let net = Net::start().await.unwrap();
    let paid = charge(&net, "", &stripe()).await;
    let reference = text(&paid, "gatewayReference");
    let refund = Order::new("stripe-primary", "10.51", "USD").of(&reference);
    let over = refund.refund(&net).await;
    assert!(over.text().contains("more would be refunded than was captured"), "{}", over.text());
    let good = Order::new("stripe-primary", "10.50", "USD").of(&reference).refund(&net).await;
    assert_eq!(good.status, 200, "{}", good.text());
    assert_eq!(text(&good, "transactionId"), text(&paid, "transactionId"));
    let other = format!("{:032x}", 1);
    let absent = change(&net, "refund", &other, "1").await;
    assert_eq!((absent.status, absent.text().contains("there is no such payment")), (400, true));
}

#[tokio::test]
async fn rule_not_reached_another_account_is_asked() {
    let net = Net::start().await.unwrap();
    net.sandbox.fault(Fault::once(Effect::Cut).before().on(Operation::PaymentMethod)).unwrap();
    let answer = charge(&net, "", &with_fallback()).await;
    assert_eq!(verdict(&answer), "200 Success Captured null false", "{}", answer.text());
    assert_eq!(attempts(&answer), ["stripe-primary TemporaryFailure", "adyen-backup Success"]);
    assert_eq!(text(&answer, "gatewayName"), "Adyen");
    let found = transaction(&net, &text(&answer, "transactionId")).await;
    assert_eq!(found["attempts"][0]["outcome"], "not_done");
    assert_eq!(found["attempts"][1]["outcome"], "approved");
    // What follows goes where the money is.
    let refund = change(&net, "refund", &text(&answer, "transactionId"), "1").await;
    assert_eq!((refund.status, text(&refund, "gatewayName").as_str()), (202, "Adyen"));
}

#[tokio::test]
async fn an_answer_without_meaning_to_what_moves_no_money_leaves_no_doubt() {
    let net = Net::start().await.unwrap();
    net.sandbox.fault(Fault::once(Effect::Html).on(Operation::PaymentMethod)).unwrap();
    let answer = charge(&net, "", &with_fallback()).await;
    assert_eq!(attempts(&answer), ["stripe-primary TemporaryFailure", "adyen-backup Success"]);
    assert_eq!(executed(&net), 1);
}

#[tokio::test]
async fn what_is_done_to_a_payment_goes_to_its_own_gateway_only() {
    let net = Net::start().await.unwrap();
    let held = send(&net, "", "POST", "authorize", &stripe()).await;
    let (id, requests) = (text(&held, "transactionId"), net.sandbox.requests());
    let body = json!({
        "currency": "USD",
        "amount": 1,
        "transactionId": id,
        "paymentGatewayAccountName": "adyen-backup",
    });
    let answer = send(&net, "", "PUT", "capture", &body).await;
    let shown = answer.text();
    assert_eq!((answer.status, text(&answer, "fieldName").as_str()), (400, ACCOUNT), "{shown}");
    assert_eq!(net.sandbox.requests(), requests, "nobody is asked");
    assert_eq!(transaction(&net, &id).await["state"], "Authorized");
}

#[tokio::test]
async fn rule_documented_as_not_processed_another_account_is_asked() {
    let net = Net::start().await.unwrap();
    let fault = Fault::once(Effect::Status(429)).before().on(Operation::Charge);
    net.sandbox.fault(fault.at(Provider::Stripe)).unwrap();
    let answer = charge(&net, "", &with_fallback()).await;
    assert_eq!(attempts(&answer), ["stripe-primary TemporaryFailure", "adyen-backup Success"]);
    assert_eq!(executed(&net), 1);
}

#[tokio::test]
async fn rule_declined_nobody_else_is_asked() {
    let net = Net::start().await.unwrap();
    let order = Order::new("stripe-primary", "10.50", "USD").number("4000000000009995");
    let list = json!([{"paymentGatewayAccountName": "adyen-backup"}]);
    let answer = charge(&net, "", &with(body(&order), "fallbackUpgs", list)).await;
    assert_eq!(verdict(&answer), "409 Rejected Declined InsufficientFunds true");
    assert_eq!(attempts(&answer), ["stripe-primary Rejected"]);
    assert_eq!(net.sandbox.ledger().len(), 1);
}

#[tokio::test]
async fn rule_unknown_nobody_else_is_asked_and_it_is_found_out() {
    let options = Options { exchange_timeout_ms: 1_000, ..Options::default() };
    let net = Net::with(options).await.unwrap();
    for (effect, before) in [
        (Effect::Cut, false),
        (Effect::Hang, false),
        (Effect::Status(503), false),
        (Effect::Half, false),
        (Effect::Html, false),
    ] {
        net.sandbox.reset();
        let fault = Fault::once(effect).at(Provider::Stripe).on(Operation::Charge);
        net.sandbox.fault(if before { fault.before() } else { fault }).unwrap();
        let answer = charge(&net, "", &with_fallback()).await;
        let shown = format!("{effect:?}: {}", answer.text());
        assert_eq!(verdict(&answer), "202 Accepted Unknown null false", "{shown}");
        assert_eq!(attempts(&answer), ["stripe-primary Accepted"], "{shown}");
        let found = until_state(&net, &text(&answer, "transactionId"), "Captured").await;
        assert_eq!(found["attempts"][0]["outcome"], "approved", "{shown}");
        assert!(found["gatewayReference"].as_str().unwrap().starts_with("pi_"));
        assert_eq!(executed(&net), 1, "{shown}");
    }
    assert_eq!(net.metric("orchestra_vault{figure=\"payments_in_doubt\"}").await.unwrap(), 0);
}

#[tokio::test]
async fn while_it_is_not_known_nothing_is_done_to_a_payment() {
    let net = Net::start().await.unwrap();
    // The provider cannot be asked, so that it stays unknown.
    net.sandbox.fault(Fault::once(Effect::Cut).on(Operation::Charge)).unwrap();
    let order = body(&Order::new("adyen-backup", "10.50", "USD"));
    let answer = charge(&net, "key", &order).await;
    let id = text(&answer, "transactionId");
    assert_eq!(verdict(&answer), "202 Accepted Unknown null false");
    let requests = net.sandbox.requests();
    let refund = change(&net, "refund", &id, "1").await;
    assert_eq!(verdict(&refund), "409 Rejected Unknown null true", "{}", refund.text());
    let again = charge(&net, "key", &order).await;
    assert_eq!((again.status, again.body), (answer.status, answer.body));
    assert_eq!(net.sandbox.requests(), requests);
    assert_eq!(transaction(&net, &id).await["state"], "Unknown");
}

#[tokio::test]
async fn what_a_killed_process_was_doing_is_found_out_by_the_next() {
    let mut net = Net::start().await.unwrap();
    net.sandbox.fault(Fault::once(Effect::Delay(2_000)).on(Operation::Charge)).unwrap();
    {
        let body = stripe();
        let charge = charge(&net, "key", &body);
        let killed = async {
            while net.sandbox.requests() < 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            answer = charge => panic!("answered: {}", answer.text()),
            () = killed => {}
        }
    }
    net.kill().unwrap();
    net.serve().await.unwrap();
    let listed = net.send("GET", "/Transactions", None).await.unwrap().json().unwrap();
    let id = listed["transactions"][0]["transactionId"].as_str().unwrap().to_owned();
    // The merchant asks again with its key, before or after it is found out.
    let again = charge(&net, "key", &stripe()).await;
    assert!(matches!(again.status, 200 | 202), "{}", again.text());
    assert_eq!(text(&again, "transactionId"), id);
    until_state(&net, &id, "Captured").await;
    let last = charge(&net, "key", &stripe()).await;
    assert_eq!((last.status, &last.body), (again.status, &again.body), "one answer for ever");
    assert_eq!(net.sandbox.ledger().len(), 1);
}

#[tokio::test]
async fn payments_are_listed_and_found_by_what_the_merchant_knows() {
    let net = Net::start().await.unwrap();
    for nth in 0..3 {
        let reference = if nth == 1 { "blue" } else { "red" };
        let order = Order::new("stripe-primary", "10.50", "USD").my_ref(reference);
        assert_eq!(charge(&net, "", &body(&order)).await.status, 200);
    }
    let list = async |query: &str| {
        let answer = net.send("GET", &format!("/Transactions{query}"), None).await.unwrap();
        answer.json().unwrap()["transactions"].as_array().map(Vec::len)
    };
    assert_eq!(list("").await, Some(3));
    assert_eq!(list("?myRef=blue").await, Some(1));
    assert_eq!(list("?state=Captured&account=stripe-primary").await, Some(3));
    assert_eq!(list("?state=Failed").await, Some(0));
    let wrong = net.send("GET", "/Transactions?state=Lost", None).await.unwrap();
    assert_eq!(wrong.status, 400);
    let absent = net.send("GET", &format!("/Transactions/{:032x}", 7), None).await.unwrap();
    assert_eq!(
        (absent.status, absent.json().unwrap()["code"].as_str()),
        (404, Some("no-such-transaction"))
    );
}

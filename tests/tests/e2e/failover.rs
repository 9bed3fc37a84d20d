//! Which accounts a payment asks: disabled ones never, and those whose provider fails only where
//! there is no other.

use super::order::{Order, account, text, verdict};
use serde_json::{Value, json};
use tests::net::client::Answer;
use tests::net::{Net, Options, PAUSE, STRIPE_KEY};
use tests::sandbox::Provider;
use tests::sandbox::fault::{Effect, Fault, Operation};

const CHARGED: &str = "200 Success Captured null false";
const BUSY: &str = "503 TemporaryFailure null null true";

fn charge_at(first: &str, others: &[&str]) -> Value {
    let mut body: Value = serde_json::from_str(&Order::new(first, "10.50", "USD").body()).unwrap();
    let one = |name: &&str| json!({"paymentGatewayAccountName": name});
    body["fallbackUpgs"] = others.iter().map(one).collect();
    body
}

async fn charge(net: &Net, body: &Value) -> Answer {
    net.send("POST", "/PaymentGateway/charge", Some(body)).await.unwrap()
}

/// `account result`, or `account why it was left out`, of each account.
fn attempts(answer: &Answer) -> Vec<String> {
    let body = answer.json().unwrap();
    let told = |one: &Value| {
        let word = one["skipped"].as_str().or(one["result"].as_str()).unwrap();
        format!("{} {word}", one["account"].as_str().unwrap())
    };
    body["attempts"].as_array().unwrap().iter().map(told).collect()
}

async fn put_stripe(net: &Net, name: &str, enabled: bool) {
    let credentials = json!([{"key": "SecretKey", "value": STRIPE_KEY}]);
    let body =
        json!({"paymentGatewayName": "Stripe", "credentials": credentials, "enabled": enabled});
    let put =
        net.send("PUT", &format!("/PaymentGatewayAccounts/{name}"), Some(&body)).await.unwrap();
    assert_eq!((put.status, &put.json().unwrap()["enabled"]), (200, &json!(enabled)));
}

/// What the breaker of Stripe did, and at how many accounts it is open.
async fn breaker(net: &Net) -> [u64; 3] {
    let changes = "orchestra_breaker_changes_total{provider=\"stripe\",to=";
    let opened = net.metric(&format!("{changes}\"open\"}}")).await.unwrap();
    let closed = net.metric(&format!("{changes}\"closed\"}}")).await.unwrap();
    let open = "orchestra_accounts_left_alone{provider=\"stripe\"}";
    [opened, closed, net.metric(open).await.unwrap()]
}

fn options(open_s: u32) -> Options {
    let payments = format!("  breaker_faults: 3\n  breaker_open_s: {open_s}\n");
    Options { payments, ..Options::default() }
}

/// Stripe is not reached, until the next reset.
fn unreached() -> Fault {
    Fault::standing(Effect::Cut).before().at(Provider::Stripe).on(Operation::PaymentMethod)
}

/// How many requests a provider got, as the metrics have it.
async fn exchanges(net: &Net, provider: &str) -> u64 {
    let text = net.metrics_text().await.unwrap();
    let of = |line: &&str| line.starts_with("orchestra_exchanges_total") && line.contains(provider);
    let counts = text.lines().filter(of).filter_map(|line| line.rsplit_once(' '));
    counts.map(|(_, count)| count.parse::<u64>().unwrap()).sum()
}

#[tokio::test]
async fn what_was_sent_to_each_provider_is_counted_as_its_own() {
    let net = Net::start().await.unwrap();
    net.sandbox.fault(unreached()).unwrap();
    let charged = charge(&net, &charge_at("stripe-primary", &["adyen-backup"])).await;
    assert_eq!(verdict(&charged), CHARGED);
    assert_eq!((exchanges(&net, "stripe").await, exchanges(&net, "adyen").await), (1, 1));
    for provider in ["stripe", "adyen"] {
        let timed = format!("orchestra_exchange_seconds_count{{provider=\"{provider}\"}}");
        assert_eq!(net.metric(&timed).await.unwrap(), 1, "{provider}");
    }
}

#[tokio::test]
async fn a_disabled_account_is_never_chosen() {
    let net = Net::start().await.unwrap();
    put_stripe(&net, "stripe-off", false).await;
    let refused = charge(&net, &charge_at("stripe-off", &["adyen-backup"])).await;
    assert_eq!(refused.status, 400);
    let said =
        json!({"fieldName": "paymentGatewayAccountName", "errors": ["the account is disabled"]});
    assert_eq!(refused.json().unwrap(), said);
    assert_eq!(net.sandbox.requests(), 0);

    net.sandbox.fault(unreached()).unwrap();
    let over = charge(&net, &charge_at("stripe-primary", &["stripe-off", "adyen-backup"])).await;
    assert_eq!(verdict(&over), CHARGED);
    let expected =
        ["stripe-primary TemporaryFailure", "stripe-off Disabled", "adyen-backup Success"];
    assert_eq!(attempts(&over), expected);
    let alone = charge(&net, &charge_at("stripe-primary", &["stripe-off"])).await;
    assert_eq!(verdict(&alone), BUSY, "what was left out does not change the answer");
    let label = "orchestra_accounts_skipped_total{provider=\"stripe\",why=\"disabled\"}";
    assert_eq!(net.metric(label).await.unwrap(), 2);
}

#[tokio::test]
async fn an_account_that_is_disabled_while_another_is_asked_is_not_chosen() {
    let net =
        Net::with(Options { exchange_timeout_ms: 3_000, ..Options::default() }).await.unwrap();
    put_stripe(&net, "stripe-other", true).await;
    let hang = Fault::once(Effect::Hang).before().at(Provider::Stripe).on(Operation::PaymentMethod);
    net.sandbox.fault(hang).unwrap();
    let body = charge_at("stripe-primary", &["stripe-other", "adyen-backup"]);
    let disable = async {
        while net.sandbox.requests() == 0 {
            tokio::time::sleep(PAUSE).await;
        }
        put_stripe(&net, "stripe-other", false).await;
    };
    let (over, ()) = tokio::join!(charge(&net, &body), disable);
    let expected =
        ["stripe-primary TemporaryFailure", "stripe-other Disabled", "adyen-backup Success"];
    assert_eq!(attempts(&over), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_made_at_an_account_can_be_undone_after_it_was_disabled() {
    let net = Net::start().await.unwrap();
    let paid = charge(&net, &charge_at("stripe-primary", &[])).await;
    let disable = ["accounts", "disable", "stripe-primary", "--merchant", tests::net::MERCHANT];
    tokio::task::block_in_place(|| net.run(&disable)).unwrap();
    assert_eq!(charge(&net, &charge_at("stripe-primary", &[])).await.status, 400);
    let id = text(&paid, "transactionId");
    let refund = json!({"currency": "USD", "amount": 10.5, "transactionId": id});
    let refund = net.send("PUT", "/PaymentGateway/refund", Some(&refund)).await.unwrap();
    assert_eq!(refund.status, 200, "{}", refund.text());
    let enable = ["accounts", "enable", "stripe-primary", "--merchant", tests::net::MERCHANT];
    tokio::task::block_in_place(|| net.run(&enable)).unwrap();
    assert_eq!(verdict(&charge(&net, &charge_at("stripe-primary", &[])).await), CHARGED);
}

#[tokio::test]
async fn an_account_whose_provider_fails_is_left_alone_where_there_is_another() {
    let net = Net::with(options(600)).await.unwrap();
    net.sandbox.fault(unreached()).unwrap();
    let both = charge_at("stripe-primary", &["adyen-backup"]);
    for _ in 0..3 {
        let answer = charge(&net, &both).await;
        assert_eq!(attempts(&answer)[0], "stripe-primary TemporaryFailure");
    }
    assert_eq!(breaker(&net).await, [1, 0, 1]);
    let before = net.sandbox.requests();
    let answer = charge(&net, &both).await;
    assert_eq!(verdict(&answer), CHARGED);
    assert_eq!(attempts(&answer), ["stripe-primary Unavailable", "adyen-backup Success"]);
    assert_eq!(net.sandbox.requests(), before + 1, "Stripe was not asked");
    // Where there is no other, or no other that may be asked, it is asked.
    put_stripe(&net, "stripe-off", false).await;
    for others in [&[][..], &["stripe-off"]] {
        let alone = charge(&net, &charge_at("stripe-primary", others)).await;
        assert_eq!(verdict(&alone), BUSY, "{}", alone.text());
        assert_eq!(attempts(&alone)[0], "stripe-primary TemporaryFailure");
    }
    // And what is first when all fail is not left out.
    put_stripe(&net, "stripe-second", true).await;
    for _ in 0..3 {
        charge(&net, &charge_at("stripe-second", &[])).await;
    }
    let all = charge(&net, &charge_at("stripe-primary", &["stripe-second"])).await;
    let expected = ["stripe-primary TemporaryFailure", "stripe-second TemporaryFailure"];
    assert_eq!(attempts(&all), expected);
    assert!(net.read("stderr.log").contains("account stripe-primary of acme is left alone"));
}

#[tokio::test]
async fn nobody_else_is_asked_once_the_time_for_falling_back_is_over() {
    for (timeout_ms, expected) in [
        (100, &["stripe-primary TemporaryFailure"][..]),
        (60_000, &["stripe-primary TemporaryFailure", "adyen-backup Success"]),
    ] {
        let payments = format!("  failover_timeout_ms: {timeout_ms}\n");
        let options = Options { payments, exchange_timeout_ms: 1_000, ..Options::default() };
        let net = Net::with(options).await.unwrap();
        let hang = Fault::once(Effect::Hang).at(Provider::Stripe).on(Operation::PaymentMethod);
        net.sandbox.fault(hang).unwrap();
        let answer = charge(&net, &charge_at("stripe-primary", &["adyen-backup"])).await;
        assert_eq!(attempts(&answer), expected, "{timeout_ms}: {}", answer.text());
        assert_eq!(net.sandbox.ledger().len(), expected.len() - 1);
    }
}

#[tokio::test]
async fn an_account_that_is_left_alone_is_tried_again_by_one_payment() {
    let net = Net::with(options(1)).await.unwrap();
    net.sandbox.fault(unreached()).unwrap();
    let both = charge_at("stripe-primary", &["adyen-backup"]);
    for _ in 0..3 {
        charge(&net, &both).await;
    }
    assert_eq!(breaker(&net).await, [1, 0, 1]);
    net.sandbox.reset();
    // Payments go on, and in time one of them tries it and finds that it works.
    let mut seen = Vec::new();
    while seen.last().is_none_or(|last| last != "stripe-primary Success") {
        seen.push(attempts(&charge(&net, &both).await).remove(0));
        assert!(seen.len() < 10_000);
        tokio::time::sleep(PAUSE).await;
    }
    seen.pop();
    assert!(!seen.is_empty() && seen.iter().all(|one| one == "stripe-primary Unavailable"));
    assert_eq!(breaker(&net).await, [1, 1, 0]);
}

#[tokio::test]
async fn declines_and_mistakes_of_a_merchant_leave_no_account_alone() {
    let net = Net::with(options(600)).await.unwrap();
    let declined = Order::new("stripe-primary", "10.50", "USD").number("4000000000009995");
    for _ in 0..6 {
        assert_eq!(declined.charge(&net).await.status, 409);
    }
    // Stripe takes no amount so small.
    let small = Order::new("stripe-primary", "0.01", "USD");
    for _ in 0..6 {
        assert_eq!(small.charge(&net).await.status, 409);
    }
    assert_eq!(breaker(&net).await, [0, 0, 0]);
}

#[tokio::test]
async fn a_provider_that_does_not_answer_is_found_out_too() {
    let options = Options { exchange_timeout_ms: 300, ..options(600) };
    let net = Net::with(options).await.unwrap();
    let hang = Fault::standing(Effect::Hang).at(Provider::Stripe).on(Operation::Charge);
    net.sandbox.fault(hang).unwrap();
    let both = charge_at("stripe-primary", &["adyen-backup"]);
    for _ in 0..3 {
        let answer = charge(&net, &both).await;
        assert_eq!(attempts(&answer), ["stripe-primary Accepted"], "nobody else is asked");
    }
    let answer = charge(&net, &both).await;
    assert_eq!(attempts(&answer), ["stripe-primary Unavailable", "adyen-backup Success"]);
}

#[tokio::test]
async fn the_older_list_of_account_names_falls_back_too() {
    let net = Net::start().await.unwrap();
    net.sandbox.fault(unreached()).unwrap();
    let mut body: Value = serde_json::from_str(&Order::new("x", "10.50", "USD").body()).unwrap();
    body.as_object_mut().unwrap().remove("paymentGatewayAccountName");
    body["paymentGatewayAccountNames"] = json!(["stripe-primary", "adyen-backup"]);
    let answer = charge(&net, &body).await;
    assert_eq!(verdict(&answer), CHARGED, "{}", answer.text());
    assert_eq!(attempts(&answer), ["stripe-primary TemporaryFailure", "adyen-backup Success"]);
}

/// An account that takes dollars only.
async fn put_dollars(net: &Net) {
    let credentials = json!([
        {"key": "ApiLoginId", "value": "5KP3u95bQpv"},
        {"key": "TransactionKey", "value": "346HZ32z3fP4hTG2"},
        {"key": "Currency", "value": "USD"},
        {"key": "Environment", "value": "Test"},
    ]);
    account(net, "dollars", "AuthorizeNet", &credentials).await;
}

#[tokio::test]
async fn an_account_that_is_left_alone_is_asked_where_no_other_can_take_the_payment() {
    let net = Net::with(options(600)).await.unwrap();
    put_dollars(&net).await;
    account(&net, "nobody", "NULLSuccess", &json!([])).await;
    net.sandbox.fault(unreached()).unwrap();
    for _ in 0..3 {
        charge(&net, &charge_at("stripe-primary", &[])).await;
    }
    assert_eq!(breaker(&net).await, [1, 0, 1]);
    let euros = |others: &[&str]| {
        let mut body = charge_at("stripe-primary", others);
        body["currency"] = "EUR".into();
        body
    };
    let alone = charge(&net, &euros(&["dollars"])).await;
    assert_eq!(verdict(&alone), BUSY, "{}", alone.text());
    let expected =
        ["stripe-primary Unavailable", "dollars NotImplemented", "stripe-primary TemporaryFailure"];
    assert_eq!(attempts(&alone), expected);
    // One that cannot take it does not stand in the way of one that can.
    let third = charge(&net, &euros(&["dollars", "adyen-backup"])).await;
    assert_eq!(verdict(&third), CHARGED, "{}", third.text());
    let expected = ["stripe-primary Unavailable", "dollars NotImplemented", "adyen-backup Success"];
    assert_eq!(attempts(&third), expected);
    // A card that is to be kept goes the same way.
    let mut keep = charge_at("stripe-primary", &["nobody"]);
    for name in ["amount", "currency"] {
        keep.as_object_mut().unwrap().remove(name);
    }
    net.sandbox.reset();
    let kept = net.send("POST", "/PaymentGateway/tokenize", Some(&keep)).await.unwrap();
    assert_eq!(verdict(&kept), "200 Success null null false", "{}", kept.text());
    let expected =
        ["stripe-primary Unavailable", "nobody NotImplemented", "stripe-primary Success"];
    assert_eq!(attempts(&kept), expected);
    assert_eq!(breaker(&net).await, [1, 1, 0], "it answered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_is_put_disabled_or_deleted_is_left_alone_no_longer() {
    let net = Net::with(options(600)).await.unwrap();
    put_stripe(&net, "stripe-second", true).await;
    let both = charge_at("stripe-second", &["adyen-backup"]);
    let path = "/PaymentGatewayAccounts/stripe-second";
    let disable = ["accounts", "disable", "stripe-second", "--merchant", tests::net::MERCHANT];
    for (nth, how) in (1..).zip(["deleted", "put", "disabled"]) {
        net.sandbox.fault(unreached()).unwrap();
        for _ in 0..3 {
            charge(&net, &both).await;
        }
        assert_eq!(breaker(&net).await, [nth, 0, 1], "{how}");
        net.sandbox.reset();
        match how {
            "deleted" => assert_eq!(net.send("DELETE", path, None).await.unwrap().status, 200),
            "put" => {}
            _ => drop(tokio::task::block_in_place(|| net.run(&disable)).unwrap()),
        }
        if how != "put" {
            assert_eq!(breaker(&net).await, [nth, 0, 0], "{how}");
        }
        put_stripe(&net, "stripe-second", true).await;
        assert_eq!(breaker(&net).await, [nth, 0, 0], "{how}");
        assert_eq!(attempts(&charge(&net, &both).await), ["stripe-second Success"], "{how}");
    }
}

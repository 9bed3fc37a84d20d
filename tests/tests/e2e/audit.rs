//! The audit log and the terms of tokens, from outside.

use super::order::{Order, VISA, text};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tests::net::client::Http;
use tests::net::{NO_FLOOD, Net, Options};

/// How long is waited for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

fn log_directory(net: &Net) -> PathBuf {
    net.directory().join("vault/audit")
}

/// Every line of the log, oldest first. A last line that is being written is left out.
pub(crate) fn lines(net: &Net) -> Vec<Value> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(log_directory(net))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|suffix| suffix == "jsonl"))
        .collect();
    files.sort();
    let text: String = files.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn is(line: &Value, action: &str, outcome: &str) -> bool {
    line["action"] == action && line["outcome"] == outcome
}

/// Waits for a line that fits.
async fn line(net: &Net, action: &str, outcome: &str) -> Value {
    let began = Instant::now();
    loop {
        if let Some(found) = lines(net).into_iter().find(|line| is(line, action, outcome)) {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "no line says {action} {outcome}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn keep(net: &Net, body: Value) -> String {
    let kept = net.send("POST", "/StringTokens", Some(&body)).await.unwrap();
    assert_eq!(kept.status, 201, "{}", kept.text());
    text(&kept, "token")
}

async fn charge(net: &Net, account: &str, token: &str) -> tests::net::client::Answer {
    let order = Order::new(account, "10.50", "USD").number(&format!("@{token}"));
    net.client(Http::One).send_bytes("POST", "/PaymentGateway/charge", order.body()).await.unwrap()
}

/// Each thing that is done over a network or by an operator, and the line that it must leave.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_act_has_its_line_with_all_fields() {
    let net = Net::start().await.unwrap();
    let token = keep(&net, json!({ "payload": VISA })).await;
    let path = format!("/StringTokens/{token}");
    assert_eq!(charge(&net, "null-success", &token).await.status, 200);
    for (method, path, status) in [
        ("GET", format!("{path}/meta"), 200),
        ("GET", path.clone(), 200),
        ("DELETE", path.clone(), 200),
        ("GET", path.clone(), 404),
        ("GET", "/PaymentGatewayAccounts".to_owned(), 200),
        ("GET", "/PaymentGatewayAccounts/stripe-primary".to_owned(), 200),
        ("DELETE", "/PaymentGatewayAccounts/null-failure".to_owned(), 200),
    ] {
        assert_eq!(net.send(method, &path, None).await.unwrap().status, status, "{method} {path}");
    }
    let body = Order::new("null-success", "10.50", "USD").number(VISA).body();
    net.client(Http::One).send_bytes("POST", "/PaymentGateway/charge", body).await.unwrap();
    let nobody = net.client(Http::One).without_key();
    assert_eq!(nobody.send("GET", "/Utils/apiKey", None).await.unwrap().status, 401);
    let id = net.new_key("spare", "tokens").unwrap().get(9..21).unwrap().to_owned();
    net.run(&["keys", "revoke", &id]).unwrap();
    for arguments in
        [&["keys", "list", "--merchant", "acme"][..], &["merchants", "list"], &["vault", "status"]]
    {
        // The name of the merchant is the harness's own; whether there is one does not matter here.
        drop(net.run(arguments));
    }
    net.run(&["audit", "head"]).unwrap();
    for (action, outcome) in [
        ("account.delete", "attempted"),
        ("account.delete", "success"),
        ("account.list", "success"),
        ("account.put", "success"),
        ("account.read", "success"),
        ("authenticate", "failure"),
        ("card.open", "success"),
        ("card.pass", "success"),
        ("key.create", "attempted"),
        ("key.create", "success"),
        ("key.list", "success"),
        ("key.revoke", "success"),
        ("log.head", "success"),
        ("log.read", "success"),
        ("log.start", "success"),
        ("log.stop", "success"),
        ("merchant.create", "success"),
        ("merchant.list", "success"),
        ("token.create", "success"),
        ("token.delete", "success"),
        ("token.describe", "success"),
        ("token.reveal", "failure"),
        ("token.reveal", "success"),
        ("vault.create", "success"),
        ("vault.status", "success"),
    ] {
        let line = line(&net, action, outcome).await;
        for field in ["sequence", "time", "requirement", "object", "previous", "hash"] {
            assert!(!line[field].is_null(), "{action}: {field}");
        }
        assert!(line["actor"]["type"].is_string(), "{action}");
        if line["actor"]["type"] == "key" {
            assert_eq!(line["origin"]["request"].as_str().unwrap().len(), 32, "{action}");
            assert_eq!(line["origin"]["address"], "127.0.0.1", "{action}");
        }
    }
    let told = net.run(&["audit", "verify"]).unwrap();
    assert!(told.contains("as it was written"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_head_finds_what_was_done_to_the_log_after_the_program_ended() {
    let mut net = Net::start().await.unwrap();
    let token = keep(&net, json!({ "payload": "a text" })).await;
    let path = format!("/StringTokens/{token}");
    for _ in 0..5 {
        assert_eq!(net.send("GET", &path, None).await.unwrap().status, 200);
    }
    let head = net.directory().join("head.json");
    std::fs::write(&head, net.run(&["audit", "head"]).unwrap()).unwrap();
    let revealed = lines(&net).iter().filter(|line| is(line, "token.reveal", "success")).count();
    net.kill().unwrap();
    assert_eq!(revealed, 5, "what was answered is in the log after a kill");
    let directory = log_directory(&net);
    let directory = directory.to_str().unwrap();
    let head = head.to_str().unwrap();
    let verify = ["audit", "verify", "--directory", directory, "--head", head];
    net.run(&verify).unwrap();
    let file = std::fs::read_dir(directory).unwrap().next().unwrap().unwrap().path();
    let whole = std::fs::read_to_string(&file).unwrap();
    let without = |at: usize| {
        let kept = whole.split_inclusive('\n').enumerate().filter(|(nth, _)| *nth != at);
        kept.map(|(_, line)| line).collect::<String>()
    };
    let half = whole.split_inclusive('\n').take(4).collect::<String>();
    for (lie, says) in [
        (whole.replacen("token.reveal", "token.revael", 1), "it was changed"),
        (without(5), "lines are missing"),
        (half, "it was cut"),
    ] {
        std::fs::write(&file, lie).unwrap();
        let said = net.run(&verify).unwrap_err().to_string();
        assert!(said.contains(says), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reveals_have_a_quota_of_their_own() {
    let limits = format!("{NO_FLOOD}  reveals:\n    requests: 3\n    window_s: 3600\n");
    let net = Net::with(Options { limits, ..Options::default() }).await.unwrap();
    let token = keep(&net, json!({ "payload": VISA })).await;
    let path = format!("/StringTokens/{token}");
    for status in [200, 200, 200, 429, 429] {
        let shown = net.send("GET", &path, None).await.unwrap();
        assert_eq!(shown.status, status, "{}", shown.text());
        assert_eq!(shown.text().contains(VISA), status == 200);
    }
    assert_eq!(net.send("GET", &format!("{path}/meta"), None).await.unwrap().status, 200);
    let refused = line(&net, "authenticate", "failure").await;
    assert!(refused["reason"].as_str().unwrap().contains("reveals"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_keeps_to_its_terms() {
    let net = Net::start().await.unwrap();
    let bound = keep(
        &net,
        json!({ "payload": VISA, "timeToLiveSeconds": 600,
            "bindings": [{ "paymentGatewayName": "nullsuccess" }],
            "metadata": [{ "key": "customer", "value": "17" }] }),
    )
    .await;
    let free = keep(&net, json!({ "payload": VISA })).await;
    let meta = net.send("GET", &format!("/StringTokens/{bound}/meta"), None).await.unwrap();
    let meta = meta.json().unwrap();
    let (first, last) = (VISA.get(..8).unwrap(), VISA.get(12..).unwrap());
    assert_eq!(meta["maskedCardNumber"], format!("{first}****{last}"));
    assert_eq!(meta["bindings"], json!([{ "paymentGatewayName": "NULLSuccess" }]));
    assert_eq!(meta["metadata"], json!([{ "key": "customer", "value": "17" }]));
    assert!(meta["expireTime"].is_string(), "{meta}");
    let other = net.send("GET", &format!("/StringTokens/{free}/meta"), None).await.unwrap();
    assert_eq!(other.json().unwrap()["fingerprint"], meta["fingerprint"]);

    assert_eq!(charge(&net, "null-success", &bound).await.status, 200);
    let refused = charge(&net, "stripe-primary", &bound).await;
    assert_eq!((refused.status, text(&refused, "fieldName")), (400, "card.cardNumber".into()));
    assert!(refused.text().contains("bound"), "{}", refused.text());
    assert_eq!(net.sandbox.ledger().len(), 0, "nothing was sent");

    let card =
        json!({ "payload": "x", "metadata": [{ "key": "a", "value": "4111 1111 1111 1111" }] });
    let refused = net.send("POST", "/StringTokens", Some(&card)).await.unwrap();
    assert_eq!((refused.status, text(&refused, "fieldName")), (400, "metadata".into()));

    let short = keep(&net, json!({ "payload": "x", "timeToLiveSeconds": 1 })).await;
    let (path, began) = (format!("/StringTokens/{short}/meta"), Instant::now());
    while net.send("GET", &path, None).await.unwrap().status != 404 {
        assert!(began.elapsed() < PATIENCE, "the token outlives its time");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

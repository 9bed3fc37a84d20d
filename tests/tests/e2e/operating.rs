//! What an operator reads and does: addresses that are taken, logs beside metrics, a backup elsewhere.

use crate::e2e::order::Order;
use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv6Addr, TcpListener};
use std::process::Command;
use std::time::{Duration, Instant};
use tests::net::client::Http;
use tests::net::{Net, Options, PAUSE, program};

/// How long anything may take that comes by itself.
const STEP_TIMEOUT: Duration = Duration::from_secs(60);
/// For how long the keys are out of memory, and the resolver goes on.
const LOCKED_MS: u64 = 12_000;

/// How many requests of each route and status there were, as the metrics have it.
async fn counted(net: &Net) -> BTreeMap<String, u64> {
    let text = net.metrics_text().await.unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("orchestra_requests_total"));
    let pairs = lines.filter_map(|line| line.rsplit_once(' '));
    pairs.map(|(labels, count)| (labels.to_owned(), count.parse().unwrap())).collect()
}

/// The same, as the access log has it.
fn logged(net: &Net) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for line in net.access_log().unwrap_or_default() {
        let route = line["route"].as_str().unwrap();
        let labels = format!("{{route=\"{route}\",status=\"{}\"}}", line["status"]);
        *found.entry(labels).or_default() += 1;
    }
    found
}

#[tokio::test]
async fn an_address_that_is_taken_is_named_and_nothing_is_served() {
    let mut net = Net::start().await.unwrap();
    net.kill().unwrap();
    let (tls, plain, metrics) = (net.tls(), net.plain(), net.metrics());
    for (field, address) in
        [("listen.tls.address", tls), ("listen.plain", plain), ("listen.metrics", metrics)]
    {
        let taken = TcpListener::bind(address).unwrap();
        net.launch().unwrap();
        let status = net.ended().await.unwrap();
        drop(taken);
        let said = net.read("stderr.log");
        assert!(!status.success(), "{said}");
        assert!(said.contains(&format!("{field}: cannot listen on {address}")), "{said}");
    }
    net.serve().await.unwrap();
    assert_eq!(net.send("GET", "/Utils/apiKey", None).await.unwrap().status, 200);
}

#[tokio::test]
async fn metrics_and_access_log_count_the_same_requests() {
    let net = Net::start().await.unwrap();
    let client = net.client(Http::One).with_header("idempotency-key", "once");
    for (amount, status) in [("10.50", 200), ("10.50", 200), ("11.50", 422)] {
        let body = Order::new("stripe-primary", amount, "USD").body();
        let path = "/PaymentGateway/charge";
        let answer = client.send_bytes("POST", path, body).await.unwrap();
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    for (path, status) in [("/Utils/apiKey", 200), ("/nowhere", 404)] {
        assert_eq!(net.send("GET", path, None).await.unwrap().status, status);
    }
    // A line is written some time after its answer.
    let began = Instant::now();
    loop {
        let (counted, logged) = (counted(&net).await, logged(&net));
        if counted == logged && logged.values().sum::<u64>() == 9 {
            break;
        }
        assert!(began.elapsed() < STEP_TIMEOUT, "{counted:?} {logged:?}");
        tokio::time::sleep(PAUSE).await;
    }
}

#[tokio::test]
async fn a_client_has_one_address_at_every_listener() {
    let mut net = Net::start().await.unwrap();
    net.kill().unwrap();
    let file = net.directory().join("orchestra.yaml");
    let written = fs::read_to_string(&file).unwrap();
    let every = format!("address: '[{}]:{}'", Ipv6Addr::UNSPECIFIED, net.tls().port());
    let both = written.replace(&format!("address: {}", net.tls()), &every);
    assert_ne!(both, written);
    fs::write(&file, both).unwrap();
    net.serve().await.unwrap();
    let stranger = net.client(Http::Two).without_key();
    assert_eq!(stranger.send("GET", "/Utils/apiKey", None).await.unwrap().status, 401);
    // An operator is answered when the lines before are on the disk.
    net.run(&["vault", "status"]).unwrap();
    let audit = fs::read_dir(net.directory().join("vault/audit")).unwrap();
    let audit: String =
        audit.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    assert!(audit.contains("\"origin\":{\"address\":\"127.0.0.1\"}"), "{audit}");
    net.terminate().unwrap();
    assert!(net.ended().await.unwrap().success());
    let lines = net.access_log().unwrap();
    assert!(lines.iter().all(|line| line["client"] == "127.0.0.1"), "{lines:?}");
}

#[tokio::test]
async fn a_backup_is_checked_where_there_is_nothing_else() {
    let net = Net::start().await.unwrap();
    let file = net.directory().join("the-backup");
    net.run(&["vault", "backup", "--to", file.to_str().unwrap()]).unwrap();
    let elsewhere = net.directory().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let check = |arguments: &[&str]| {
        let mut command = Command::new(program().unwrap());
        command.args(["vault", "verify-backup"]).args(arguments).arg(&file);
        command.current_dir(&elsewhere).output().unwrap()
    };
    let checked = check(&["--without-token"]);
    assert!(checked.status.success(), "{checked:?}");
    assert!(!check(&[]).status.success(), "nobody can say here that the vault wrote it");
}

#[tokio::test]
async fn what_cannot_be_asked_about_while_keys_are_away_is_tried_less_and_less_often() {
    let vault = "  keys:\n    hsm_outage_max_s: 1\n".to_owned();
    let net = Net::with(Options { vault, ..Options::default() }).await.unwrap();
    // The connection is cut, and nothing was executed: Stripe may still show it for a while.
    let lost = Order::new("stripe-primary", "9000.50", "USD").charge(&net).await;
    assert_eq!(lost.status, 202, "{}", lost.text());
    let tokens = net.directory().join("tokens");
    fs::rename(&tokens, net.directory().join("away")).unwrap();
    fs::create_dir(&tokens).unwrap();
    let silent = "orchestra_vault{figure=\"hsm_silent_ms\"}";
    let began = Instant::now();
    while net.metric(silent).await.unwrap() < LOCKED_MS {
        assert!(began.elapsed() < STEP_TIMEOUT, "{}", net.read("stderr.log"));
        tokio::time::sleep(PAUSE).await;
    }
    assert_eq!(net.metric("orchestra_vault{figure=\"keys_locked\"}").await.unwrap(), 1);
    let tries = net.read("stderr.log").matches("is not resolved").count();
    // After 1, 2, 4, 8 seconds and so on; it was twice a second.
    assert!(tries < 6, "{tries} in {} s", began.elapsed().as_secs());
}

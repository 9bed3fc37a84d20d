//! The security module goes away while the real program serves, for longer than is allowed, and
//! comes back. The program is not restarted.

use crate::e2e::order::{Order, VISA, text, verdict};
use serde_json::json;
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tests::net::client::{self, Answer, Http};
use tests::net::{MERCHANT, Net, Options, PAUSE};

/// For how long the keys stay in memory, and how long anything may take that follows from it.
const OUTAGE_MAX_S: u64 = 20;
const STEP_TIMEOUT: Duration = Duration::from_secs(120);

/// Takes the token's files away from the running module, or brings them back.
fn token_is_there(net: &Net, there: bool) {
    let (tokens, away) = (net.directory().join("tokens"), net.directory().join("away"));
    if there {
        fs::remove_dir(&tokens).unwrap();
        fs::rename(&away, &tokens).unwrap();
    } else {
        fs::rename(&tokens, &away).unwrap();
        fs::create_dir(&tokens).unwrap();
    }
}

async fn readiness(net: &Net) -> (u16, String) {
    let answer = client::plain(net.metrics(), "GET", "/readyz").await.unwrap();
    (answer.status, answer.text())
}

async fn figure(net: &Net, name: &str) -> u64 {
    net.metric(&format!("orchestra_vault{{figure=\"{name}\"}}")).await.unwrap()
}

/// Waits until `/readyz` has this line, and gives the status and all of it.
async fn until_ready_says(net: &Net, line: &str) -> (u16, String) {
    let began = Instant::now();
    loop {
        let (status, said) = readiness(net).await;
        if said.lines().any(|found| found == line) {
            return (status, said);
        }
        assert!(began.elapsed() < STEP_TIMEOUT, "not `{line}`: {said}");
        tokio::time::sleep(PAUSE).await;
    }
}

async fn show(net: &Net, token: &str) -> Answer {
    net.send("GET", &format!("/StringTokens/{token}"), None).await.unwrap()
}

/// What comes from keys in memory: a charge of a kept card, and tokens.
async fn serves(net: &Net, order: &Order, token: &str) {
    assert_eq!(verdict(&order.charge(net).await), "200 Success Captured null false");
    let kept = net.send("POST", "/StringTokens", Some(&json!({"payload": "text"}))).await.unwrap();
    assert_eq!(kept.status, 201, "{}", kept.text());
    assert_eq!(show(net, token).await.json().unwrap()["clearPayload"], VISA);
}

/// Nothing opens, and every answer says so in the documented words.
async fn refuses(net: &Net, order: &Order, token: &str) {
    let payments = net.sandbox.ledger().len();
    let body = json!({"payload": "text"});
    let account = "/PaymentGatewayAccounts/adyen-backup";
    let answers = [
        order.charge(net).await,
        show(net, token).await,
        net.send("POST", "/StringTokens", Some(&body)).await.unwrap(),
        net.send("GET", account, None).await.unwrap(),
        // Whoever it is from, it is sent again.
        net.send("POST", &format!("/Webhooks/{MERCHANT}/adyen-backup"), Some(&body)).await.unwrap(),
    ];
    for answer in answers {
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert_eq!(text(&answer, "code"), "vault-unavailable");
        assert!(answer.headers.contains_key("retry-after"), "{:?}", answer.headers);
    }
    assert_eq!(net.sandbox.ledger().len(), payments, "no money moved");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_the_module_is_lived_through_without_a_restart() {
    let vault = format!("  keys:\n    hsm_outage_max_s: {OUTAGE_MAX_S}\n");
    let net = Net::with(Options { vault, ..Options::default() }).await.unwrap();
    let process = net.process();
    let kept = net.send("POST", "/StringTokens", Some(&json!({"payload": VISA}))).await.unwrap();
    let token = text(&kept, "token");
    let order = Order::new("adyen-backup", "10.50", "USD").number(&format!("@{token}"));
    serves(&net, &order, &token).await;

    token_is_there(&net, false);
    let (status, said) = until_ready_says(&net, "hsm down").await;
    assert_eq!((status, said.contains("keys ok\n")), (200, true), "{said}");
    serves(&net, &order, &token).await;
    assert_eq!((figure(&net, "hsm_up").await, figure(&net, "keys_locked").await), (0, 0));
    assert!(figure(&net, "hsm_errors").await > 0 && figure(&net, "hsm_silent_ms").await > 0);
    // What needs a new key says why not, or waits.
    let create = || tokio::task::block_in_place(|| net.run(&["merchants", "create", "newcomer"]));
    let refused = create().unwrap_err().to_string();
    assert!(refused.contains("security module"), "{refused}");
    let mut asked = net.command(&["vault", "rotate", "--dek"]).unwrap();
    let mut asked = asked.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while figure(&net, "rotating").await == 0 {
        assert!(asked.try_wait().unwrap().is_none(), "a rotation waits, and is not refused");
        tokio::time::sleep(PAUSE).await;
    }
    serves(&net, &order, &token).await;

    let (status, said) = until_ready_says(&net, "keys down").await;
    assert_eq!(status, 503, "{said}");
    assert_eq!(figure(&net, "keys_locked").await, 1);
    assert!(figure(&net, "hsm_silent_ms").await > OUTAGE_MAX_S * 1_000);
    refuses(&net, &order, &token).await;
    let alive = client::plain(net.metrics(), "GET", "/healthz").await.unwrap();
    assert_eq!(alive.status, 200, "a restart would not help");

    token_is_there(&net, true);
    until_ready_says(&net, "keys ok").await;
    let (status, said) = until_ready_says(&net, "hsm ok").await;
    assert_eq!(status, 200, "{said}");
    serves(&net, &order, &token).await;
    assert_eq!((figure(&net, "hsm_up").await, figure(&net, "keys_locked").await), (1, 0));
    create().unwrap();
    // What waited goes on by itself.
    let ended = tokio::task::block_in_place(|| asked.wait()).unwrap();
    assert!(ended.success() && figure(&net, "rotations_ended").await == 1);
    serves(&net, &order, &token).await;
    // And over HTTP/2, on a connection that is new.
    let two = net.client(Http::Two).send("GET", &format!("/StringTokens/{token}"), None).await;
    assert_eq!(two.unwrap().status, 200);
    assert_eq!(net.process(), process, "the program was not restarted");
}

//! A token that was acknowledged is there after a kill -9.

use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tests::net::client::{Client, Http};
use tests::net::{NO_FLOOD, Net, Options};

const ROUNDS: usize = 20;
const CLIENTS: usize = 8;
/// How many tokens are acknowledged before the kill; a little more in each round, so that it does
/// not always fall on the same place.
const ACKNOWLEDGED_MIN: usize = 60;
/// How long a round may take until so many are.
const ROUND_TIMEOUT: Duration = Duration::from_secs(60);

/// What was acknowledged: token and payload.
type Kept = Arc<Mutex<Vec<(String, String)>>>;

/// Keeps texts, one after another, until the program is gone or `stop` says so.
async fn keep(
    client: Client,
    name: String,
    kept: Kept,
    count: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
) {
    let Ok(mut link) = client.connect().await else { return };
    for number in 0.. {
        let payload = format!("{name}-{number}");
        let body = json!({ "payload": payload });
        let Ok(answer) = link.send("POST", "/StringTokens", Some(&body)).await else { return };
        assert_eq!(answer.status, 201, "{}", answer.text());
        let token = answer.json().unwrap()["token"].as_str().unwrap().to_owned();
        kept.lock().unwrap().push((token, payload));
        count.fetch_add(1, Ordering::SeqCst);
        if stop.load(Ordering::SeqCst) {
            return;
        }
    }
}

/// Loads the program until enough is acknowledged, and kills it in the midst.
async fn load_and_kill(net: &mut Net, round: usize, kept: &Kept) {
    let (count, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let tasks: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let name = format!("round {round} client {client}");
            let http = if client % 2 == 0 { Http::One } else { Http::Two };
            let (count, stop) = (Arc::clone(&count), Arc::clone(&stop));
            tokio::spawn(keep(net.client(http), name, Arc::clone(kept), count, stop))
        })
        .collect();
    let began = Instant::now();
    while count.load(Ordering::SeqCst) < ACKNOWLEDGED_MIN + round * 7 {
        assert!(began.elapsed() < ROUND_TIMEOUT, "round {round}: too few were acknowledged");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    net.kill().unwrap();
    stop.store(true, Ordering::SeqCst);
    for task in tasks {
        task.await.unwrap();
    }
}

async fn all_open(net: &Net, kept: &[(String, String)]) {
    let mut link = net.client(Http::One).connect().await.unwrap();
    for (token, payload) in kept {
        let answer = link.send("GET", &format!("/StringTokens/{token}"), None).await.unwrap();
        assert_eq!(answer.status, 200, "an acknowledged token is lost: {payload}");
        assert_eq!(answer.json().unwrap()["clearPayload"], **payload);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_token_opens_after_each_of_twenty_kills() {
    let limits = format!("{NO_FLOOD}  quota:\n    requests: 1000000\n    window_s: 60\n");
    let mut net = Net::with(Options { limits, ..Options::default() }).await.unwrap();
    let kept: Kept = Kept::default();
    let mut checked = 0;
    for round in 0..ROUNDS {
        load_and_kill(&mut net, round, &kept).await;
        net.serve().await.unwrap();
        let now = kept.lock().unwrap().clone();
        assert!(now.len() >= checked + ACKNOWLEDGED_MIN);
        all_open(&net, &now[checked..]).await;
        checked = now.len();
    }
    let all = kept.lock().unwrap().clone();
    all_open(&net, &all).await;
    println!("{ROUNDS} kills, {} tokens acknowledged, all of them open", all.len());
}

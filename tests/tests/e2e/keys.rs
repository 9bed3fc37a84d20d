//! Keys that are exchanged while the real program serves.

use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tests::net::client::{Client, Http};
use tests::net::{MERCHANT, NO_FLOOD, Net, Options};

const ROUNDS: usize = 5;
const CLIENTS: usize = 4;
/// How long a rotation may take on a busy machine.
const ROTATION_TIMEOUT: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(20);

type Kept = Arc<Mutex<Vec<(String, String)>>>;

/// Keeps texts and reads others back, until the program is gone or `stop` says so.
async fn use_tokens(client: Client, name: String, kept: Kept, stop: Arc<AtomicBool>) {
    let Ok(mut link) = client.connect().await else { return };
    for number in 0_usize.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let payload = format!("{name}-{number}");
        let body = json!({ "payload": payload });
        let Ok(answer) = link.send("POST", "/StringTokens", Some(&body)).await else { return };
        assert_eq!(answer.status, 201, "{}", answer.text());
        let token = answer.json().unwrap()["token"].as_str().unwrap().to_owned();
        let (token, payload) = {
            let mut kept = kept.lock().unwrap();
            kept.push((token, payload));
            kept[number * 7_919 % kept.len()].clone()
        };
        let path = format!("/StringTokens/{token}");
        let Ok(answer) = link.send("GET", &path, None).await else { return };
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json().unwrap()["clearPayload"], *payload);
    }
}

fn users(
    net: &Net,
    round: usize,
    kept: &Kept,
    stop: &Arc<AtomicBool>,
) -> Vec<tokio::task::JoinHandle<()>> {
    (0..CLIENTS)
        .map(|client| {
            let name = format!("round {round} client {client}");
            let client = net.client(Http::One);
            tokio::spawn(use_tokens(client, name, Arc::clone(kept), Arc::clone(stop)))
        })
        .collect()
}

/// Waits until the vault's figure is at least `least`.
async fn figure(net: &Net, name: &str, least: u64) {
    let name = format!("orchestra_vault{{figure=\"{name}\"}}");
    let began = Instant::now();
    while net.metric(&name).await.unwrap() < least {
        assert!(began.elapsed() < ROTATION_TIMEOUT, "{name} is not {least}");
        tokio::time::sleep(PAUSE).await;
    }
}

fn keys(net: &Net) -> Vec<Value> {
    let told = net.run(&["vault", "keys", "--json"]).unwrap();
    serde_json::from_str::<Value>(&told).unwrap().as_array().unwrap().clone()
}

fn in_state(keys: &[Value], state: &str, purpose: &str) -> usize {
    keys.iter().filter(|key| key["state"] == *state && key["purpose"] == *purpose).count()
}

// The program is killed in the midst of a rotation, again and again, under clients that read and
// write. The last rotation is seen through by the command line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_goes_on_after_each_kill_and_no_read_fails() {
    let limits = format!(
        "{NO_FLOOD}  quota:\n    requests: 1000000\n    window_s: 60\n  reveals:\n    requests: 1000000\n    \
         window_s: 60\n"
    );
    let mut net = Net::with(Options { limits, ..Options::default() }).await.unwrap();
    let kept = Kept::default();
    for round in 0..ROUNDS {
        let stop = Arc::new(AtomicBool::new(false));
        let users = users(&net, round, &kept, &stop);
        let before = net.metric("orchestra_vault{figure=\"rotations_ended\"}").await.unwrap();
        if net.metric("orchestra_vault{figure=\"rotating\"}").await.unwrap() == 0 {
            // It shows how far it is until the end, so it is asked for and not waited for.
            let command = net.command(&["vault", "rotate", "--dek", "--merchant", MERCHANT]);
            let mut asked = command.unwrap().spawn().unwrap();
            figure(&net, "rotating", 1).await;
            asked.kill().unwrap();
            asked.wait().unwrap();
        }
        if round % 2 == 0 {
            figure(&net, "rotation_records", 1 + u64::try_from(round).unwrap()).await;
        } else {
            figure(&net, "rotations_ended", before + 1).await;
        }
        net.kill().unwrap();
        stop.store(true, Ordering::SeqCst);
        for user in users {
            user.await.unwrap();
        }
        net.serve().await.unwrap();
    }
    // Whatever was under way is seen through first.
    net.run(&["vault", "rotate", "--resume"]).unwrap();
    net.run(&["vault", "rotate", "--dek", "--merchant", MERCHANT]).unwrap();
    let keys = keys(&net);
    assert_eq!(in_state(&keys, "active", "card"), 1, "{keys:?}");
    assert_eq!(in_state(&keys, "decrypt-only", "card"), 0, "{keys:?}");
    assert!(in_state(&keys, "destroyed", "card") >= 2, "{keys:?}");
    let mut link = net.client(Http::One).connect().await.unwrap();
    let kept = kept.lock().unwrap().clone();
    for (token, payload) in kept {
        let answer = link.send("GET", &format!("/StringTokens/{token}"), None).await.unwrap();
        assert_eq!(answer.json().unwrap()["clearPayload"], *payload);
    }
}

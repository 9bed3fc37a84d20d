//! The drill: a backup of the program under load, the vault lost, and everything restored.

use serde_json::json;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tests::net::client::{Client, Http};
use tests::net::{NO_FLOOD, Net, Options, PAUSE};

const CLIENTS: usize = 4;
/// How many tokens are acknowledged before the backup begins.
const BEFORE_MIN: usize = 300;
/// A card that must be nowhere in the backup.
const CANARY: &str = "4000056655665556";

type Kept = Arc<Mutex<Vec<String>>>;

/// Keeps the canary under one token after another.
async fn keep(client: Client, kept: Kept, stop: Arc<AtomicBool>) {
    let mut link = client.connect().await.unwrap();
    while !stop.load(Ordering::SeqCst) {
        let body = json!({ "payload": CANARY });
        let answer = link.send("POST", "/StringTokens", Some(&body)).await.unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text());
        let token = answer.json().unwrap()["token"].as_str().unwrap().to_owned();
        kept.lock().unwrap().push(token);
    }
}

async fn all_open(net: &Net, tokens: &[String]) {
    let mut link = net.client(Http::One).connect().await.unwrap();
    for token in tokens {
        let answer = link.send("GET", &format!("/StringTokens/{token}"), None).await.unwrap();
        assert_eq!(answer.status, 200, "a token that was acknowledged before the backup is lost");
        assert_eq!(answer.json().unwrap()["clearPayload"], CANARY);
    }
}

/// Backs up under load, and says which tokens were acknowledged before that began.
async fn back_up_under_load(net: &Net, file: &str) -> Vec<String> {
    let (kept, stop) = (Kept::default(), Arc::new(AtomicBool::new(false)));
    let tasks: Vec<_> = (0..CLIENTS)
        .map(|_| tokio::spawn(keep(net.client(Http::One), Arc::clone(&kept), Arc::clone(&stop))))
        .collect();
    while kept.lock().unwrap().len() < BEFORE_MIN {
        assert!(tasks.iter().all(|task| !task.is_finished()), "the load has ended");
        tokio::time::sleep(PAUSE).await;
    }
    let before = kept.lock().unwrap().clone();
    tokio::task::block_in_place(|| net.run(&["vault", "backup", "--to", file])).unwrap();
    assert!(kept.lock().unwrap().len() > before.len(), "the program did not serve meanwhile");
    stop.store(true, Ordering::SeqCst);
    for task in tasks {
        task.await.unwrap();
    }
    before
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_vault_is_restored_from_a_backup_that_was_taken_under_load() {
    let limits = format!(
        "{NO_FLOOD}  quota:\n    requests: 1000000\n    window_s: 60\n  reveals:\n    requests: 1000000\n    \
         window_s: 60\n"
    );
    let mut net = Net::with(Options { limits, ..Options::default() }).await.unwrap();
    let path = net.directory().join("the-backup");
    let file = path.to_str().unwrap().to_owned();
    let before = back_up_under_load(&net, &file).await;
    let again = net.run(&["vault", "backup", "--to", &file]).unwrap_err().to_string();
    assert!(again.contains("is not overwritten"), "{again}");
    let verified = net.run(&["vault", "verify"]).unwrap();
    assert!(verified.contains("The vault is whole."), "{verified}");
    let bytes = fs::read(&path).unwrap();
    assert!(!bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()));

    // The machine is gone, and the token is not.
    net.kill().unwrap();
    let directory = net.directory().join("vault");
    fs::rename(&directory, net.directory().join("lost")).unwrap();
    let mut damaged = bytes.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let damaged_path = net.directory().join("damaged");
    fs::write(&damaged_path, damaged).unwrap();
    let refused = net.run(&["vault", "restore", damaged_path.to_str().unwrap()]).unwrap_err();
    assert!(refused.to_string().contains("is damaged"), "{refused}");
    assert!(!directory.exists());
    for arguments in [&["vault", "verify-backup", &file][..], &["vault", "restore", &file]] {
        net.run(arguments).unwrap();
    }
    let refused = net.run(&["vault", "restore", &file]).unwrap_err().to_string();
    assert!(refused.contains("already holds files"), "{refused}");

    net.serve().await.unwrap();
    all_open(&net, &before).await;
    let verified = net.run(&["vault", "verify"]).unwrap();
    assert!(verified.contains("The vault is whole."), "{verified}");
    println!("{} tokens from before the backup, all of them open", before.len());
}

//! What a running program does with its settings and files: reloads, logs that are moved, outputs.

use crate::e2e::order::Order;
use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tests::net::client::{self, Http};
use tests::net::{Net, PAUSE, SERVE};

/// How long anything may take that comes by itself.
const STEP_TIMEOUT: Duration = Duration::from_secs(60);

/// The program's log from now on.
const LOG: &str = "stderr.log";

/// The configuration file with something in the place of something else.
fn with(net: &Net, changes: &[(&str, &str)]) -> String {
    let mut text = net.read("orchestra.yaml");
    for (old, new) in changes {
        assert!(text.contains(old), "{old} is not in {text}");
        text = text.replacen(old, new, 1);
    }
    text
}

/// Tells the program to read its configuration again, and waits until it has said `expected`.
async fn reload(net: &Net, expected: &str) {
    fs::write(net.directory().join(LOG), "").unwrap();
    let process = net.process().unwrap().to_string();
    assert!(Command::new("kill").args(["-HUP", &process]).status().unwrap().success());
    let began = Instant::now();
    while !net.read(LOG).contains(expected) {
        assert!(began.elapsed() < STEP_TIMEOUT, "not said: {expected}\n{}", net.read(LOG));
        tokio::time::sleep(PAUSE).await;
    }
    assert_eq!(net.send("GET", "/Utils/apiKey", None).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_reload_says_which_changes_wait_for_a_start() {
    let net = Net::start().await.unwrap();
    let file = net.directory().join("orchestra.yaml");
    let same = "the configuration was read again: nothing in it waits for a start";
    reload(&net, same).await;
    let changes = [
        ("threads: 2", "threads: 3"),
        ("grace_s: 35", "grace_s: 36"),
        ("limits:\n", "limits:\n  write_timeout_ms: 9000\n"),
        ("  token_label", "  keys: {rotation_records_per_s: 1999}\n  token_label"),
    ];
    let written = net.read("orchestra.yaml");
    fs::write(&file, with(&net, &changes)).unwrap();
    let names = "grace_s, limits.write_timeout_ms, threads, vault.keys.rotation_records_per_s\n";
    reload(&net, &format!("changes that take effect with the next start: {names}")).await;
    fs::write(&file, written).unwrap();
    reload(&net, same).await;
    // The list of certificates is the one setting that takes effect at once.
    for name in ["chain.pem", "key.pem"] {
        let at = |name: &str| net.directory().join(name);
        fs::rename(at(name), at(&format!("new-{name}"))).unwrap();
    }
    let changes =
        [("chain: chain.pem", "chain: new-chain.pem"), ("key: key.pem", "key: new-key.pem")];
    fs::write(&file, with(&net, &changes)).unwrap();
    reload(&net, "the certificates were read again").await;
    assert!(net.read(LOG).contains(same), "{}", net.read(LOG));
}

#[tokio::test]
async fn a_reload_uses_nothing_of_a_file_that_is_no_good() {
    let net = Net::start().await.unwrap();
    let file = net.directory().join("orchestra.yaml");
    let written = net.read("orchestra.yaml");
    let line = |start: &str| {
        1 + written.lines().position(|line| line.starts_with(start)).unwrap_or_default()
    };
    let (threads, log) = (line("threads"), line("log"));
    for (new, at, said) in [
        ("threads: 0", threads, "threads: 0 is not in 1..=1024"),
        ("threads: -1", threads, "threads: is not of the right type"),
        ("threads: 2s", threads, "threads: is not of the right type"),
        ("threads: 99999", threads, "threads: 99999 is not in 1..=1024"),
        ("threads: 2\nthreads: 2", threads, "threads: is written twice"),
        ("thread: canary", threads, "there is no such field"),
    ] {
        fs::write(&file, with(&net, &[("threads: 2", new)])).unwrap();
        let place = format!("old configuration stays in use: {}:{at}: {said}", file.display());
        reload(&net, &place).await;
        assert!(!net.read(LOG).contains("canary"), "{}", net.read(LOG));
        fs::write(&file, &written).unwrap();
    }
    // Half of it is written, or nothing, or it is away.
    let half: String =
        written.lines().take(log - 1).chain(["log: {acc"]).collect::<Vec<_>>().join("\n");
    for text in [half.as_str(), ""] {
        fs::write(&file, text).unwrap();
        reload(&net, &format!("old configuration stays in use: {}:", file.display())).await;
    }
    fs::remove_file(&file).unwrap();
    reload(&net, &format!("stays in use: {}: entity not found", file.display())).await;
    fs::create_dir(&file).unwrap();
    reload(&net, &format!("stays in use: {}: is a directory", file.display())).await;
}

#[tokio::test]
async fn to_be_asked_whether_it_is_ready_is_no_error_in_the_log() {
    let mut net = Net::start().await.unwrap();
    net.terminate().unwrap();
    assert!(net.ended().await.unwrap().success());
    fs::write(net.directory().join(LOG), "").unwrap();
    net.launch().unwrap();
    let began = Instant::now();
    // Nobody else connects to the merchants' listeners.
    while !client::plain(net.metrics(), "GET", "/readyz").await.is_ok_and(|a| a.status == 200) {
        assert!(began.elapsed() < STEP_TIMEOUT, "{}", net.read(LOG));
        tokio::time::sleep(PAUSE).await;
    }
    net.terminate().unwrap();
    assert!(net.ended().await.unwrap().success());
    let said = net.read(LOG);
    assert!(!said.contains("ERROR") && said.contains("ending"), "{said}");
}

#[tokio::test]
async fn what_still_runs_when_the_grace_is_over_is_told() {
    let mut net = Net::start().await.unwrap();
    net.kill().unwrap();
    fs::write(net.directory().join("orchestra.yaml"), with(&net, &[("grace_s: 35", "grace_s: 1")]))
        .unwrap();
    net.serve().await.unwrap();
    let running = "orchestra_payments_in_flight";
    // The provider gives no answer to this amount.
    let hung = Order::new("stripe-primary", "9001.10", "USD");
    let end = async {
        let began = Instant::now();
        while net.metric(running).await.unwrap() == 0 {
            assert!(began.elapsed() < STEP_TIMEOUT, "{}", net.read(LOG));
            tokio::time::sleep(PAUSE).await;
        }
        net.terminate().unwrap();
    };
    let client = net.client(Http::One);
    let (answer, ()) =
        tokio::join!(client.send_bytes("POST", "/PaymentGateway/charge", hung.body()), end);
    assert!(answer.is_err(), "the program waited for longer than it was to");
    assert!(net.ended().await.unwrap().success());
    let said = net.read(LOG);
    assert!(said.contains("grace_s is over, and 1 payments still run"), "{said}");
}

#[tokio::test]
async fn the_access_log_goes_on_at_its_path() {
    let net = Net::start().await.unwrap();
    let at = |name: &str| net.directory().join(name);
    let began = Instant::now();
    while net.access_log().unwrap_or_default().is_empty() {
        assert!(began.elapsed() < STEP_TIMEOUT, "{}", net.read(LOG));
        assert_eq!(net.send("GET", "/Utils/apiKey", None).await.unwrap().status, 200);
        tokio::time::sleep(PAUSE).await;
    }
    for moved in [true, false] {
        if moved {
            fs::rename(at("access.log"), at("access.log.1")).unwrap();
        } else {
            fs::remove_file(at("access.log")).unwrap();
        }
        while !at("access.log").exists() || net.access_log().unwrap_or_default().is_empty() {
            assert!(began.elapsed() < STEP_TIMEOUT, "{}", net.read(LOG));
            assert_eq!(net.send("GET", "/Utils/apiKey", None).await.unwrap().status, 200);
            tokio::time::sleep(PAUSE).await;
        }
    }
    assert!(!net.read("access.log.1").is_empty());
}

#[tokio::test]
async fn a_file_that_cannot_be_had_is_told_with_the_line_that_names_it() {
    let mut net = Net::start().await.unwrap();
    net.kill().unwrap();
    let file = net.directory().join("orchestra.yaml");
    let written = net.read("orchestra.yaml");
    for (old, new, field) in [
        ("    ca: ca.pem", "    ca: nowhere.pem", ".ca"),
        ("    ca: ca.pem", "    ca: pin", ".ca"),
        ("      - chain: chain.pem", "      - chain: nowhere.pem", "listen.tls.certificates"),
        ("  access: access.log", "  access: nowhere/access.log", "log.access"),
        ("  pin: file:pin", "  pin: file:nowhere", "vault.pin"),
    ] {
        fs::write(&file, with(&net, &[(old, new)])).unwrap();
        let line = 1 + written.lines().position(|line| line == old).unwrap();
        for command in [SERVE, "check"] {
            let said = net.run(&[command]).unwrap_err().to_string();
            let (before, after) = said.split_once(&format!("{}:", file.display())).unwrap();
            assert!(before.ends_with("orchestra: "), "{said}");
            let (at, rest) = after.split_once(": ").unwrap();
            assert!(rest.contains(field), "{said}");
            // A list begins with its first part.
            assert!(at == line.to_string(), "{command} {new}: {line} is meant\n{said}");
        }
        fs::write(&file, &written).unwrap();
    }
}

#[tokio::test]
async fn an_output_that_cannot_be_written_is_told_for_what_it_is() {
    let net = Net::start().await.unwrap();
    let full = || File::options().write(true).open("/dev/full").unwrap();
    for arguments in [
        &["vault", "status"][..],
        &["check"],
        &["merchants", "list", "--json"],
        &["vault", "verify"],
    ] {
        let done = net.command(arguments).unwrap().stdout(full()).output().unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(!done.status.success(), "{arguments:?}");
        assert!(said.contains("the output cannot be written"), "{arguments:?}: {said}");
    }
    let backup = ["vault", "backup", "--to", "-"];
    let done = net.command(&backup).unwrap().stdout(full()).output().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(!done.status.success() && said.contains("it cannot be written"), "{said}");
    assert!(!said.contains("running program"), "it did nothing wrong: {said}");
    let missing = net.run(&["vault", "verify-backup", "/nowhere/backup"]).unwrap_err().to_string();
    assert!(missing.contains("cannot read /nowhere/backup"), "{missing}");
}

#[tokio::test]
async fn a_new_key_that_nobody_saw_is_named_to_be_revoked() {
    let net = Net::start().await.unwrap();
    for output in [Stdio::piped(), File::options().write(true).open("/dev/full").unwrap().into()] {
        let create = ["keys", "create", "--merchant", "acme", "--name", "unseen"];
        let mut command = net.command(&create).unwrap();
        let mut child = command.stdout(output).stderr(Stdio::piped()).spawn().unwrap();
        // Whoever was to read it is gone.
        drop(child.stdout.take());
        let done = child.wait_with_output().unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(!done.status.success(), "{said}");
        let (_, id) = said.split_once("`orchestra keys revoke ").unwrap();
        net.run(&["keys", "revoke", id.split('`').next().unwrap()]).unwrap();
    }
    assert!(!net.run(&["keys", "list", "--merchant", "acme"]).unwrap().contains("unseen"));
}

//! Keys that are exchanged while the real program serves, and is killed again and again.

use crate::e2e::order::{Order, VISA, verdict};
use boring::ssl::SslVersion;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tests::net::client::{Client, Http, Link};
use tests::net::puppet::Move;
use tests::net::{NO_FLOOD, Net, Options};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, block_in_place};

const KILLS: usize = 50;
const CLIENTS: usize = 4;
/// Where the instants of the kills come from.
const SEED: u64 = 3;
/// How long after a rotation is seen the kill comes at the latest. It may rest for a second before
/// its first step, and an exchange of the key in the token is over in a moment after that.
const DEKS_KILL_AFTER_MAX_MS: u64 = 1_000;
const KEK_KILL_AFTER_MAX_MS: u64 = 400;
/// How many texts are kept: more than are sealed anew between two kills.
const KEPT_MAX: usize = 1_500;
/// How long a rotation may take on a busy machine.
const ROTATION_TIMEOUT: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(2);
const CUSTODIANS: [&str; 2] = ["alice", "bob"];

/// What all clients know: what was acknowledged, and how much was asked.
#[derive(Debug, Default)]
struct Known {
    /// Texts by token.
    texts: Mutex<Vec<(String, String)>>,
    cards: Mutex<Vec<String>>,
    /// Answers that had to open something, and did.
    opened: AtomicUsize,
    charges: AtomicUsize,
}

/// One client of a program that will be killed.
struct User {
    name: String,
    known: Arc<Known>,
    /// Whether the program is about to be killed. Before that, no request may fail.
    dying: Arc<AtomicBool>,
}

/// What is exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Deks,
    Kek,
}

/// What the kills fell on.
#[derive(Debug, Default)]
struct Cuts {
    /// Which rotation was begun last.
    last: Option<Kind>,
    begun: usize,
    /// How long the program takes to start.
    start: Duration,
    /// How many kills fell on a rotation while the program served.
    serving: BTreeMap<Kind, usize>,
    /// How many fell on the start of the program, with which a rotation goes on.
    starting: BTreeMap<Kind, usize>,
}

// === impl Cuts ===

impl Cuts {
    /// Which rotation is begun next: each kind in its turn.
    fn next(&mut self) -> Kind {
        let kind = if self.begun.is_multiple_of(2) { Kind::Deks } else { Kind::Kek };
        self.begun += 1;
        self.last = Some(kind);
        kind
    }
}

// === impl User ===

impl User {
    /// Uses the program from its start to its end.
    async fn live(self, client: Client) {
        let mut link = loop {
            match client.connect().await {
                Ok(link) => break link,
                Err(_) if self.dying.load(Ordering::SeqCst) => return,
                // It is starting.
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        };
        for number in 0_usize.. {
            let done = match number % 5 {
                0 => self.keep(&mut link, number).await,
                1 | 3 => self.show(&mut link, number).await,
                2 => self.charge(&mut link, number).await,
                _ => self.account(&mut link, number).await,
            };
            if done.is_none() || self.dying.load(Ordering::SeqCst) {
                return;
            }
        }
    }

    /// Sends a request that must be answered with `status` by a program that lives. `None`: it died.
    async fn ask(
        &self,
        link: &mut Link,
        (method, path): (&str, &str),
        body: Option<&Value>,
        status: u16,
    ) -> Option<Value> {
        match link.send(method, path, body).await {
            Ok(answer) => {
                let text = answer.text();
                assert_eq!(answer.status, status, "{method} {path}: {text}");
                Some(answer.json().unwrap())
            }
            Err(error) => {
                let dying = self.dying.load(Ordering::SeqCst);
                assert!(dying, "{method} {path} of a program that lives: {error}");
                None
            }
        }
    }

    /// Keeps a text, or a card now and then, and no more than enough.
    async fn keep(&self, link: &mut Link, number: usize) -> Option<()> {
        if self.known.texts.lock().unwrap().len() >= KEPT_MAX {
            return self.show(link, number).await;
        }
        let is_card = number.is_multiple_of(50);
        let text = if is_card { VISA.to_owned() } else { format!("{} {number}", self.name) };
        let body = json!({ "payload": text });
        let answer = self.ask(link, ("POST", "/StringTokens"), Some(&body), 201).await?;
        let token = answer["token"].as_str().unwrap().to_owned();
        if is_card {
            self.known.cards.lock().unwrap().push(token.clone());
        }
        self.known.texts.lock().unwrap().push((token, text));
        Some(())
    }

    async fn show(&self, link: &mut Link, number: usize) -> Option<()> {
        let some = {
            let texts = self.known.texts.lock().unwrap();
            texts.get(number * 7_919 % texts.len().max(1)).cloned()
        };
        let Some((token, text)) = some else { return Some(()) };
        let path = format!("/StringTokens/{token}");
        let answer = self.ask(link, ("GET", &path), None, 200).await?;
        assert_eq!(answer["clearPayload"], *text);
        self.known.opened.fetch_add(1, Ordering::Relaxed);
        Some(())
    }

    async fn charge(&self, link: &mut Link, number: usize) -> Option<()> {
        let some = {
            let cards = self.known.cards.lock().unwrap();
            cards.get(number % cards.len().max(1)).cloned()
        };
        let Some(token) = some else { return Some(()) };
        let order = Order::new("adyen-backup", "10.50", "USD").number(&format!("@{token}"));
        let body: Value = serde_json::from_str(&order.body()).unwrap();
        let path = "/PaymentGateway/charge";
        let answer = self.ask(link, ("POST", path), Some(&body), 200).await?;
        assert_eq!(answer["state"], "Captured");
        self.known.charges.fetch_add(1, Ordering::Relaxed);
        Some(())
    }

    /// Writes the account of its own, or reads that with which all pay.
    async fn account(&self, link: &mut Link, number: usize) -> Option<()> {
        if number.is_multiple_of(2) {
            let path = "/PaymentGatewayAccounts/stripe-primary";
            self.ask(link, ("GET", path), None, 200).await?;
            self.known.opened.fetch_add(1, Ordering::Relaxed);
            return Some(());
        }
        let path = format!("/PaymentGatewayAccounts/{}", self.name);
        let value = format!("sk_test_keysOfTheTests{number:010}");
        let body = json!({
            "paymentGatewayName": "Stripe", "credentials": [{"key": "SecretKey", "value": value}],
        });
        self.ask(link, ("PUT", &path), Some(&body), 200).await.map(drop)
    }
}

fn users(net: &Net, known: &Arc<Known>, dying: &Arc<AtomicBool>) -> Vec<JoinHandle<()>> {
    (0..CLIENTS)
        .map(|nth| {
            let (known, dying) = (Arc::clone(known), Arc::clone(dying));
            let user = User { name: format!("keys-{nth}"), known, dying };
            let http = if nth.is_multiple_of(2) { Http::One } else { Http::Two };
            tokio::spawn(user.live(net.client(http)))
        })
        .collect()
}

async fn figure(net: &Net, name: &str) -> u64 {
    net.metric(&format!("orchestra_vault{{figure=\"{name}\"}}")).await.unwrap()
}

/// The secret of a custodian, in a file.
fn secret(net: &Net, name: &str) -> String {
    format!("file:{}", net.directory().join(name).display())
}

fn add_custodians(net: &Net) {
    for name in CUSTODIANS {
        std::fs::copy(net.directory().join("pin"), net.directory().join(name)).unwrap();
        std::fs::write(net.directory().join(name), format!("{name}'s own secret")).unwrap();
        net.run(&["custodians", "add", name, "--accept", "--secret", &secret(net, name)]).unwrap();
    }
}

/// Lets the first custodian approve, whose word may stand already.
fn approve_first(net: &Net) {
    let name = CUSTODIANS[0];
    let approved =
        net.run(&["vault", "rotate", "--kek", "--custodian", name, "--secret", &secret(net, name)]);
    if let Err(error) = approved {
        assert!(error.to_string().contains("the same custodian"), "{error}");
    }
}

/// Begins a rotation by the command line, which shows how far it is until it has ended.
fn begin(net: &Net, kind: Kind) -> Child {
    let of_second = secret(net, CUSTODIANS[1]);
    let mut command = match kind {
        Kind::Deks => net.command(&["vault", "rotate", "--dek"]).unwrap(),
        Kind::Kek => {
            approve_first(net);
            let [_, second] = CUSTODIANS;
            let approve = ["vault", "rotate", "--kek", "--custodian", second, "--secret"];
            net.command(&[&approve[..], &[of_second.as_str()]].concat()).unwrap()
        }
    };
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Begins a rotation, waits until it is seen, and lets the command go.
async fn begin_and_see(net: &Net, kind: Kind) {
    let ended = figure(net, "rotations_ended").await;
    let mut command = block_in_place(|| begin(net, kind));
    let began = Instant::now();
    while figure(net, "rotating").await == 0 && figure(net, "rotations_ended").await == ended {
        assert!(began.elapsed() < ROTATION_TIMEOUT, "{kind:?}: no rotation begins");
        tokio::time::sleep(PAUSE).await;
    }
    command.kill().unwrap();
    command.wait().unwrap();
}

/// Waits for a random instant of the start: the time it takes, more or less.
async fn rest_while_starting(random: &mut StdRng, start: Duration) {
    let percent = random.random_range(40..140);
    tokio::time::sleep(start * percent / 100).await;
}

/// Waits until the program is ready and a rotation is under way, and for a random time after that.
async fn rest_while_serving(net: &mut Net, random: &mut StdRng, cuts: &mut Cuts) {
    let began = Instant::now();
    net.ready().await.unwrap();
    cuts.start = began.elapsed();
    if figure(net, "rotating").await == 0 {
        begin_and_see(net, cuts.next()).await;
    }
    let after_max = match cuts.last.unwrap() {
        Kind::Deks => DEKS_KILL_AFTER_MAX_MS,
        Kind::Kek => KEK_KILL_AFTER_MAX_MS,
    };
    tokio::time::sleep(Duration::from_millis(random.random_range(0..after_max))).await;
}

/// Starts the program under load, and kills it at a random instant.
async fn cut(net: &mut Net, known: &Arc<Known>, random: &mut StdRng, cuts: &mut Cuts) {
    let dying = Arc::new(AtomicBool::new(false));
    net.launch().unwrap();
    let users = users(net, known, &dying);
    match cuts.last {
        Some(kind) if random.random_ratio(1, 2) => {
            rest_while_starting(random, cuts.start).await;
            *cuts.starting.entry(kind).or_default() += 1;
        }
        _ => {
            rest_while_serving(net, random, cuts).await;
            let kind = cuts.last.unwrap();
            *cuts.serving.entry(kind).or_default() +=
                usize::from(figure(net, "rotating").await == 1);
        }
    }
    dying.store(true, Ordering::SeqCst);
    block_in_place(|| net.kill()).unwrap();
    for user in users {
        user.await.unwrap();
    }
}

/// Sees everything through under load: what is under way, and one more rotation of all keys.
async fn see_through(net: &Net, known: &Arc<Known>) {
    let dying = Arc::new(AtomicBool::new(false));
    let users = users(net, known, &dying);
    block_in_place(|| {
        net.run(&["vault", "rotate", "--resume"]).unwrap();
        net.run(&["vault", "rotate", "--dek"]).unwrap();
        assert!(begin(net, Kind::Kek).wait().unwrap().success());
    });
    dying.store(true, Ordering::SeqCst);
    for user in users {
        user.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_exchanged_also_where_nothing_serves() {
    let mut net = Net::start().await.unwrap();
    net.kill().unwrap();
    net.run(&["vault", "rotate", "--dek"]).unwrap();
    net.run(&["vault", "rotate", "--resume"]).unwrap();
    add_custodians(&net);
    assert!(begin(&net, Kind::Kek).wait().unwrap().success());
    let keys = keys(&net);
    for purpose in ["card", "credential", "payment"] {
        assert!(!ids(&keys, purpose, "active").is_empty(), "{purpose}");
        assert!(!ids(&keys, purpose, "destroyed").is_empty(), "{purpose}");
        assert!(ids(&keys, purpose, "decrypt-only").is_empty(), "{purpose}");
    }
    net.run(&["vault", "verify"]).unwrap();
    net.run(&["audit", "verify"]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_that_was_shredded_is_in_nobodys_way() {
    let mut net = Net::start().await.unwrap();
    net.run(&["merchants", "create", "gone"]).unwrap();
    add_custodians(&net);
    shred(&net, "gone");
    let status: Value =
        serde_json::from_str(&net.run(&["vault", "status", "--json"]).unwrap()).unwrap();
    assert_eq!((&status["merchants"], &status["store"]), (&2.into(), &true.into()), "{status}");
    net.kill().unwrap();
    net.serve().await.unwrap();
    let log = net.read("stderr.log");
    assert!(!log.contains("is not counted"), "{log}");
}

/// Destroys the keys of a merchant, on the word of both.
fn shred(net: &Net, merchant: &str) {
    for name in CUSTODIANS {
        let word = ["--custodian", name, "--yes", "--secret", &secret(net, name)];
        net.run(&[&["vault", "shred", "--merchant", merchant][..], &word].concat()).unwrap();
    }
}

/// A net whose provider says what it is told to, and whose merchant can be shredded.
async fn net_to_shred() -> Net {
    let options = Options {
        puppet: Some(SslVersion::TLS1_3),
        exchange_timeout_ms: 60_000,
        limits: format!("{NO_FLOOD}  body_timeout_ms: 120000\n"),
        payments: "  failover_timeout_ms: 300000\n".to_owned(),
        ..Options::default()
    };
    let net = Net::with(options).await.unwrap();
    add_custodians(&net);
    net
}

/// An answer of Adyen, as it is on the wire.
fn answer(line: &str, body: &str) -> Move {
    let head = format!("HTTP/1.1 {line}\r\ncontent-length: {}\r\n\r\n", body.len());
    Move::Say(format!("{head}{body}").into_bytes())
}

const APPROVAL: &str = r#"{"pspReference":"KEPTNOWHERE00001","resultCode":"Authorised","amount":{"currency":"USD","value":1050}}"#;

const BUSY: &str =
    r#"{"status":429,"errorCode":"429","message":"Too many requests","errorType":"validation"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn another_account_is_not_asked_when_that_cannot_be_written_down() {
    let net = net_to_shred().await;
    let (puppet, gate) = (net.puppet.as_ref().unwrap(), Arc::new(Notify::new()));
    puppet.play(vec![Move::Hold(gate.clone()), answer("429 Too Many Requests", BUSY)]);
    puppet.play(vec![answer("200 OK", APPROVAL)]);
    let order = Order::new("adyen-backup", "10.50", "USD");
    let mut body: Value = serde_json::from_str(&order.body()).unwrap();
    body["fallbackUpgs"] = json!([{"paymentGatewayAccountName": "stripe-primary"}]);
    let charge = net.send("POST", "/PaymentGateway/charge", Some(&body));
    let (told, ()) = tokio::join!(charge, async {
        while puppet.requests().0 == 0 {
            tokio::time::sleep(PAUSE).await;
        }
        block_in_place(|| shred(&net, tests::net::MERCHANT));
        gate.notify_one();
    });
    let told = told.unwrap();
    assert_eq!(puppet.requests().0, 1, "it was asked: {}", told.text());
    // What the first said is in no journal either.
    assert_eq!(verdict(&told), "202 Accepted Unknown null false", "{}", told.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_repeats_a_request_that_nobody_can_look_up_is_not_told_that_nothing_was_done() {
    let net = net_to_shred().await;
    net.puppet.as_ref().unwrap().play(vec![answer("200 OK", APPROVAL)]);
    let order = Order::new("adyen-backup", "10.50", "USD");
    let client = net.client(Http::One).with_header("idempotency-key", "once");
    let path = "/PaymentGateway/charge";
    let paid = client.send_bytes("POST", path, order.body()).await.unwrap();
    assert_eq!(verdict(&paid), "200 Success Captured null false");
    // The merchant goes while its request comes in.
    let (body, key) = (order.body(), &net.key);
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nx-api-key: {key}\r\nidempotency-key: once\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\
         connection: close\r\n\r\n",
        body.len()
    );
    let mut stream = client.tls().await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    // It is admitted when its body is asked for.
    let mut go_on = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
    stream.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on[..12], b"HTTP/1.1 100");
    block_in_place(|| shred(&net, tests::net::MERCHANT));
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut told = String::new();
    stream.read_to_string(&mut told).await.unwrap();
    assert!(told.starts_with("HTTP/1.1 500 ") && told.contains("\"code\":\"internal\""), "{told}");
    assert!(told.contains("\"retryable\":false"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_kept_is_not_told_as_done() {
    let net = net_to_shred().await;
    let (puppet, gate) = (net.puppet.as_ref().unwrap(), Arc::new(Notify::new()));
    puppet.play(vec![Move::Hold(gate.clone()), answer("200 OK", APPROVAL)]);
    let order = Order::new("adyen-backup", "10.50", "USD");
    let (told, ()) = tokio::join!(order.charge(&net), async {
        while puppet.requests().0 == 0 {
            tokio::time::sleep(PAUSE).await;
        }
        // Its keys are gone before the answer comes.
        block_in_place(|| shred(&net, tests::net::MERCHANT));
        gate.notify_one();
    });
    assert_eq!(verdict(&told), "202 Accepted Unknown null false", "{}", told.text());
}

fn keys(net: &Net) -> Vec<Value> {
    let told = net.run(&["vault", "keys", "--json"]).unwrap();
    serde_json::from_str::<Value>(&told).unwrap().as_array().unwrap().clone()
}

/// The ids of the keys for a purpose that are in a state.
fn ids(keys: &[Value], purpose: &str, state: &str) -> Vec<String> {
    let found = keys.iter().filter(|key| key["purpose"] == *purpose && key["state"] == *state);
    found.map(|key| key["id"].as_str().unwrap().to_owned()).collect()
}

/// Nothing is left under an old key: those of records are destroyed, and those in the token can be,
/// which is refused as long as they wrap anything.
fn nothing_is_old(net: &Net) {
    let before = keys(net);
    for purpose in ["card", "credential"] {
        assert_eq!(ids(&before, purpose, "active").len(), 1, "{before:?}");
        assert_eq!(ids(&before, purpose, "decrypt-only"), [""; 0], "{before:?}");
        assert_eq!(ids(&before, purpose, "pre-active"), [""; 0], "{before:?}");
        assert!(ids(&before, purpose, "destroyed").len() >= 2, "{before:?}");
    }
    let old = ids(&before, "kek", "decrypt-only");
    assert!(old.len() >= 2, "{before:?}");
    for id in &old {
        let said = CUSTODIANS.map(|name| {
            let word = ["--custodian", name, "--secret", &secret(net, name), "--yes"];
            net.run(&[&["vault", "destroy-kek", id][..], &word].concat()).unwrap()
        });
        assert!(said[0].contains("Another custodian"), "{said:?}");
        assert!(said[1].contains("on the word of alice, bob"), "{said:?}");
    }
    let after = keys(net);
    let [active] = &*ids(&after, "kek", "active") else { panic!("{after:?}") };
    assert!(!old.contains(active) && ids(&after, "kek", "decrypt-only").is_empty());
    let verified = net.run(&["vault", "verify"]).unwrap();
    assert!(verified.contains("The vault is whole."), "{verified}");
}

async fn everything_opens(net: &Net, known: &Known) {
    let mut link = net.client(Http::One).connect().await.unwrap();
    let texts = known.texts.lock().unwrap().clone();
    for (token, text) in texts {
        let answer = link.send("GET", &format!("/StringTokens/{token}"), None).await.unwrap();
        assert_eq!(answer.json().unwrap()["clearPayload"], *text);
    }
    let card = known.cards.lock().unwrap().first().cloned().unwrap();
    let order = Order::new("adyen-backup", "10.50", "USD").number(&format!("@{card}"));
    assert_eq!(verdict(&order.charge(net).await), "200 Success Captured null false");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_goes_on_after_each_kill_and_no_read_fails() {
    let limits = format!(
        "{NO_FLOOD}  quota:\n    requests: 1000000\n    window_s: 60\n  reveals:\n    requests: 1000000\n    \
         window_s: 60\n"
    );
    let options = Options { limits, ..Options::default() };
    let mut net = Net::with(options).await.unwrap();
    block_in_place(|| add_custodians(&net));
    net.kill().unwrap();
    let (known, mut random) = (Arc::<Known>::default(), StdRng::seed_from_u64(SEED));
    let mut cuts = Cuts::default();
    for _ in 0..KILLS {
        cut(&mut net, &known, &mut random, &mut cuts).await;
    }
    net.serve().await.unwrap();
    see_through(&net, &known).await;
    block_in_place(|| nothing_is_old(&net));
    // What is destroyed is out of memory as well.
    net.kill().unwrap();
    net.serve().await.unwrap();
    everything_opens(&net, &known).await;
    let (opened, charges) = (&known.opened, &known.charges);
    println!("{KILLS} kills: {cuts:?}; {opened:?} reads, {charges:?} charges, none failed");
    for kind in [Kind::Deks, Kind::Kek] {
        assert!(cuts.serving.get(&kind).is_some_and(|times| *times > 0), "{kind:?}: {cuts:?}");
    }
    assert!(charges.load(Ordering::Relaxed) > 0);
}

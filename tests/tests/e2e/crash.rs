//! What was acknowledged is there after a kill -9, whatever was going on.
//!
//! Each client goes through a life of its own on the running program: it keeps texts and reads them
//! back, deletes some, and writes accounts anew; it writes down what was answered. Then the program
//! is killed in the midst. Of each client the one request that had no answer may or may not have
//! been done; everything else must be as it was answered, to the last byte.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tests::net::client::{Client, Http, Link};
use tests::net::{NO_FLOOD, Net, Options};

const ROUNDS: usize = 50;
const CLIENTS: usize = 8;
/// How much is acknowledged before the kill; a little more in each round, so that it does not
/// always fall on the same place.
const ACKNOWLEDGED_MIN: usize = 60;
/// How long a round may take until so much is.
const ROUND_TIMEOUT: Duration = Duration::from_secs(60);

/// What one client knows of what it wrote.
#[derive(Debug, Default)]
struct Known {
    name: String,
    /// Texts by their tokens; `None` when they are deleted.
    texts: BTreeMap<String, Option<String>>,
    /// The credential of its account, as it is shown.
    account: Option<String>,
    /// What had no answer when the program died.
    in_flight: Option<Request>,
    /// How many requests it has begun, and how many of them changed something and were answered.
    begun: usize,
    changes: usize,
}

/// What a client asks for.
#[derive(Clone, Debug)]
enum Request {
    Keep(String),
    Show(String),
    Delete(String),
    /// Writes the account with this credential.
    Account(String),
    ShowAccount,
}

/// What all clients share.
#[derive(Debug, Default)]
struct Progress {
    acknowledged: AtomicUsize,
    stop: AtomicBool,
}

// === impl Request ===

impl Request {
    fn method(&self) -> &'static str {
        match self {
            Self::Keep(_) => "POST",
            Self::Show(_) | Self::ShowAccount => "GET",
            Self::Delete(_) => "DELETE",
            Self::Account(_) => "PUT",
        }
    }

    fn path(&self, client: &str) -> String {
        match self {
            Self::Keep(_) => "/StringTokens".to_owned(),
            Self::Show(token) | Self::Delete(token) => format!("/StringTokens/{token}"),
            Self::Account(_) | Self::ShowAccount => format!("/PaymentGatewayAccounts/{client}"),
        }
    }

    fn body(&self) -> Option<Value> {
        match self {
            Self::Keep(payload) => Some(json!({ "payload": payload })),
            Self::Account(credential) => Some(json!({
                "paymentGatewayName": "Stripe",
                "credentials": [{"key": "SecretKey", "value": credential}],
            })),
            Self::Show(_) | Self::Delete(_) | Self::ShowAccount => None,
        }
    }
}

/// The end of a credential, which is all of it that is ever shown.
fn shown(credential: &str) -> String {
    format!("****{}", credential.get(credential.len() - 4..).unwrap())
}

// === impl Known ===

impl Known {
    fn new(client: usize) -> Self {
        Self { name: format!("crash-{client}"), ..Self::default() }
    }

    /// What it asks for next: mostly new texts, now and then something else.
    fn next(&mut self) -> Request {
        self.begun += 1;
        let nth = self.begun;
        let mut kept = self.texts.iter().filter(|(_, text)| text.is_some());
        // One that was kept long ago as likely as a new one.
        let some = kept.nth(nth * 7 % self.texts.len().max(1)).map(|(token, _)| token.clone());
        match (nth % 8, some) {
            (1 | 5, Some(token)) => Request::Show(token),
            (3, Some(token)) => Request::Delete(token),
            (4, _) => {
                let name = self.name.replace('-', "_");
                Request::Account(format!("sk_test_{name}0123456789{nth:04}"))
            }
            (6, _) if self.account.is_some() => Request::ShowAccount,
            // Now and then one that takes several records.
            (7, _) => Request::Keep(format!("{}-{nth}-", self.name).repeat(400)),
            _ => Request::Keep(format!("{}-{nth}", self.name)),
        }
    }

    /// Sends requests, one after another, until the program is gone or `stop` says so.
    async fn live(mut self, client: Client, progress: Arc<Progress>) -> Self {
        let Ok(mut link) = client.connect().await else { return self };
        while !progress.stop.load(Ordering::SeqCst) {
            let request = self.next();
            self.in_flight = Some(request.clone());
            let (method, path) = (request.method(), request.path(&self.name));
            let Ok(answer) = link.send(method, &path, request.body().as_ref()).await else {
                return self;
            };
            let body = answer.json().unwrap_or(Value::Null);
            assert!([200, 201].contains(&answer.status), "{request:?}: {}", answer.text());
            self.learn(&request, &body);
            self.in_flight = None;
            progress.acknowledged.fetch_add(1, Ordering::SeqCst);
        }
        self
    }

    /// Takes an answer as what is so from here on, or compares it with what is known.
    fn learn(&mut self, request: &Request, body: &Value) {
        self.changes += usize::from(!matches!(request, Request::Show(_) | Request::ShowAccount));
        match request {
            Request::Keep(text) => {
                let token = body["token"].as_str().unwrap().to_owned();
                assert!(self.texts.insert(token, Some(text.clone())).is_none());
            }
            Request::Show(token) => {
                assert_eq!(body["clearPayload"].as_str(), self.texts[token].as_deref());
            }
            Request::Delete(token) => drop(self.texts.insert(token.clone(), None)),
            Request::Account(credential) => self.account = Some(shown(credential)),
            Request::ShowAccount => {
                assert_eq!(body["credentials"][0]["value"].as_str(), self.account.as_deref());
            }
        }
    }

    /// Compares what is there with what is known, and takes over what the last request did.
    async fn check(&mut self, link: &mut Link, since: Option<&BTreeMap<String, Option<String>>>) {
        let in_flight = self.in_flight.take();
        for (token, text) in &mut self.texts {
            let deleting = matches!(&in_flight, Some(Request::Delete(deleted)) if deleted == token);
            if !deleting && since.is_some_and(|since| since.get(token) == Some(text)) {
                continue;
            }
            let path = format!("/StringTokens/{token}");
            let answer = link.send("GET", &path, None).await.unwrap();
            match (answer.status, &text) {
                (404, None) => {}
                (404, Some(_)) if deleting => *text = None,
                (200, Some(text)) => {
                    let body = answer.json().unwrap();
                    assert_eq!(body["clearPayload"].as_str(), Some(text.as_str()));
                }
                (status, text) => panic!("{status} for {token}, which should be {text:?}"),
            }
        }
        self.check_account(link, in_flight).await;
    }

    async fn check_account(&mut self, link: &mut Link, in_flight: Option<Request>) {
        let path = format!("/PaymentGatewayAccounts/{}", self.name);
        let answer = link.send("GET", &path, None).await.unwrap();
        let found = match answer.status {
            404 => None,
            status => {
                assert_eq!(status, 200, "{}", answer.text());
                let body = answer.json().unwrap();
                Some(body["credentials"][0]["value"].as_str().unwrap().to_owned())
            }
        };
        let written = match &in_flight {
            Some(Request::Account(credential)) => Some(shown(credential)),
            _ => None,
        };
        let allowed = found == self.account || written.is_some() && found == written;
        assert!(allowed, "{} holds {found:?}, not {:?} or {written:?}", self.name, self.account);
        self.account = found;
    }
}

/// Loads the program until enough is acknowledged, and kills it in the midst.
async fn load_and_kill(net: &mut Net, round: usize, known: Vec<Known>) -> Vec<Known> {
    let progress = Arc::new(Progress::default());
    let tasks: Vec<_> = (0..)
        .zip(known)
        .map(|(client, known)| {
            let http = if client % 2 == 0 { Http::One } else { Http::Two };
            tokio::spawn(known.live(net.client(http), Arc::clone(&progress)))
        })
        .collect();
    let began = Instant::now();
    while progress.acknowledged.load(Ordering::SeqCst) < ACKNOWLEDGED_MIN + round * 5 {
        assert!(began.elapsed() < ROUND_TIMEOUT, "round {round}: too little was acknowledged");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    net.kill().unwrap();
    progress.stop.store(true, Ordering::SeqCst);
    let mut known = Vec::new();
    for task in tasks {
        known.push(task.await.unwrap());
    }
    known
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_acknowledged_is_there_after_each_of_fifty_kills() {
    let limits = format!(
        "{NO_FLOOD}  quota:\n    requests: 1000000\n    window_s: 60\n  reveals:\n    requests: 1000000\n"
    );
    let mut net = Net::with(Options { limits, ..Options::default() }).await.unwrap();
    let mut known: Vec<_> = (0..CLIENTS).map(Known::new).collect();
    let mut in_flight = 0;
    for round in 0..ROUNDS {
        let before: Vec<_> = known.iter().map(|known| known.texts.clone()).collect();
        known = load_and_kill(&mut net, round, known).await;
        net.serve().await.unwrap();
        let mut link = net.client(Http::One).connect().await.unwrap();
        for (known, before) in known.iter_mut().zip(before) {
            in_flight += usize::from(known.in_flight.is_some());
            known.check(&mut link, Some(&before)).await;
        }
    }
    let mut link = net.client(Http::One).connect().await.unwrap();
    for known in &mut known {
        known.check(&mut link, None).await;
    }
    let (requests, changes, texts): (usize, usize, usize) =
        known.iter().fold((0, 0, 0), |(requests, changes, texts), known| {
            (requests + known.begun, changes + known.changes, texts + known.texts.len())
        });
    let verified = net.run(&["vault", "verify"]).unwrap();
    assert!(verified.contains("The vault is whole."), "{verified}");
    println!(
        "{ROUNDS} kills, {in_flight} requests under way at them; {requests} requests, {changes} \
         changes acknowledged, {texts} texts: 0 lost, 0 wrong"
    );
    assert!(in_flight >= ROUNDS && changes >= 100 * ROUNDS / 2);
}

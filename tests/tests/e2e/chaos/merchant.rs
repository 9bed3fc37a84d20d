//! A careful merchant: every request has an idempotency key, and is sent until it is answered.

use bytes::Bytes;
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tests::net::Net;
use tests::net::client::{Answer, Client, Link};
use tests::sandbox::fault::Fault;

/// How long a merchant tries to be answered. The program is away for a moment only.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it waits before it tries again.
const PAUSE: Duration = Duration::from_millis(25);
/// How long an impatient one waits for an answer.
const IMPATIENCE: Duration = Duration::from_millis(3);

/// What all merchants share.
pub(super) struct World {
    /// Held by whoever kills the program, so that nobody orders anything meanwhile.
    pub(super) net: tokio::sync::Mutex<Net>,
    pub(super) stop: AtomicBool,
    pub(super) counts: Counts,
}

/// How much happened.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) sent: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) replayed: AtomicU64,
    pub(super) in_flight: AtomicU64,
    pub(super) not_begun: AtomicU64,
    pub(super) faults: AtomicU64,
}

/// What a merchant asks for.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) body: Value,
}

/// A request with the one answer that there may be to it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) request: Request,
    pub(super) status: u16,
    pub(super) body: Bytes,
}

/// One merchant's desk.
pub(super) struct Merchant {
    pub(super) name: String,
    pub(super) rng: StdRng,
    pub(super) world: Arc<World>,
    /// Every request that was answered, by its key.
    pub(super) book: BTreeMap<String, Asked>,
    /// How many of its payments its present account at Stripe has seen.
    pub(super) account_used: usize,
    pub(super) accounts: usize,
    keys: u64,
    client: Client,
    link: Option<Link>,
}

/// What to make of an answer.
enum Sense {
    /// It stays so.
    Final,
    /// Nothing was begun, and the same request may be answered otherwise later.
    NotBegun,
    /// To be sent again.
    Again,
}

pub(super) fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// How often it was counted.
pub(super) fn of(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

fn sense(answer: &Answer) -> Sense {
    let body = answer.json().unwrap_or_default();
    let of_payment = body.get("transactionId").is_some();
    match answer.status {
        200 | 202 => Sense::Final,
        409 if body["code"] == "idempotency-in-flight" => Sense::Again,
        409 if of_payment && is_ours(&body) => Sense::NotBegun,
        409 | 503 if of_payment => Sense::Final,
        503 => Sense::Again,
        status => panic!("{status}: {}", answer.text()),
    }
}

/// Whether we said no, and not a provider.
fn is_ours(body: &Value) -> bool {
    let description = body["operationResultDescription"].as_str().unwrap_or_default();
    description.starts_with("Nothing was sent")
}

// === impl Request ===

impl Request {
    /// Whether it is for a payment, and not for a change of one.
    pub(super) fn makes(&self) -> bool {
        self.method == "POST"
    }
}

// === impl Asked ===

impl Asked {
    /// The answer's body, if it is one.
    pub(super) fn body(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

// === impl Merchant ===

impl Merchant {
    pub(super) fn new(name: String, rng: StdRng, world: Arc<World>, client: Client) -> Self {
        Self {
            name,
            rng,
            world,
            book: BTreeMap::new(),
            account_used: 0,
            accounts: 0,
            keys: 0,
            client,
            link: None,
        }
    }

    /// A key that it did not use yet; it is the reference of what it is used for as well.
    pub(super) fn new_key(&mut self) -> String {
        self.keys += 1;
        format!("{}-{}", self.name, self.keys)
    }

    pub(super) fn stopped(&self) -> bool {
        self.world.stop.load(Ordering::SeqCst)
    }

    /// Orders what goes wrong next.
    pub(super) async fn order(&self, fault: Fault) {
        add(&self.world.counts.faults);
        self.world.net.lock().await.sandbox.fault(fault).unwrap();
    }

    /// Asks until it is answered, and keeps the answer. None: nothing was begun.
    pub(super) async fn ask(&mut self, key: &str, request: Request) -> Option<Answer> {
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < PATIENCE, "{key} is not answered: {request:?}");
            if let Some(answer) = self.send(key, &request).await {
                match sense(&answer) {
                    Sense::Final => return Some(self.keep(key, request, answer)),
                    Sense::NotBegun => {
                        add(&self.world.counts.not_begun);
                        return None;
                    }
                    Sense::Again => add(&self.world.counts.in_flight),
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// I4: whatever happened meanwhile, a request that was answered is answered so for ever.
    fn keep(&mut self, key: &str, request: Request, answer: Answer) -> Answer {
        if answer.header("idempotency-replayed") == "true" {
            add(&self.world.counts.replayed);
        }
        let (status, body) = (answer.status, answer.body.clone());
        let asked = self.book.entry(key.to_owned());
        let kept = asked.or_insert(Asked { request, status, body });
        assert_eq!(
            (kept.status, String::from_utf8_lossy(&kept.body)),
            (answer.status, String::from_utf8_lossy(&answer.body)),
            "I4: {key} was answered in two ways"
        );
        answer
    }

    /// Sends it once, in one of the ways in which merchants do.
    async fn send(&mut self, key: &str, request: &Request) -> Option<Answer> {
        if self.link.is_none() {
            self.link = self.client.connect().await.ok();
        }
        let link = self.link.as_mut()?;
        link.set_header("idempotency-key", key);
        let (leaves, twice) = (self.rng.random_ratio(1, 25), self.rng.random_ratio(1, 25));
        add(&self.world.counts.sent);
        let Request { method, path, body } = request;
        let answer = link.send(method, path, Some(body));
        let answer = if leaves {
            tokio::time::timeout(IMPATIENCE, answer).await.ok()?.ok()
        } else if twice {
            let client = self.client.clone().with_header("idempotency-key", key);
            let (first, second) = tokio::join!(answer, client.send(method, path, Some(body)));
            second.ok().or(first.ok())
        } else {
            answer.await.ok()
        };
        if answer.is_none() {
            add(&self.world.counts.lost);
            self.link = None;
        }
        answer
    }

    /// Asks for everything once more.
    pub(super) async fn ask_all_again(&mut self) {
        for (key, asked) in self.book.clone() {
            let again = self.ask(&key, asked.request).await;
            assert!(again.is_some(), "I4: {key} was answered before, and now nothing is begun");
        }
    }
}

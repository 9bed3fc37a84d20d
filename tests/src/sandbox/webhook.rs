//! What providers send of their own accord: signed, over TLS, when they are told to.
//!
//! Whoever wants to hear says where and with what secret, and when: before the answer, right after
//! it, or when it is asked for. What is sent is what the ledger has. What is not acknowledged with a
//! 2xx is told again, the next time that its provider tells anything.

mod message;

use super::ledger::Entry;
use super::{Provider, World, lock};
use anyhow::Context as _;
use boring::ssl::{SslConnector, SslMethod};
use boring::x509::X509;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// How many may want to hear.
const HOOKS_MAX: usize = 100;
/// How often each thing may be told.
const TIMES_MAX: u32 = 10;
/// How much waits until it is told, for the first time or again; the oldest goes first.
const UNTOLD_MAX: usize = 10_000;
/// How many acknowledgements are remembered; the oldest go first.
const TOLD_MAX: usize = 1_000;
/// How long whoever hears may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long after an answer was given a webhook follows it.
const AFTER: Duration = Duration::from_millis(20);

/// Who wants to hear, and what.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hook {
    pub provider: Provider,
    /// Where it goes to, over TLS.
    pub to: SocketAddr,
    /// The name in the certificate that must be there.
    pub host: String,
    pub path: String,
    /// The authority of that certificate, PEM.
    pub authority: String,
    /// What is signed with, as the merchant has it.
    #[serde(default)]
    pub secret: String,
    /// What the provider calls the merchant, or the public key of what it signs with, where it says so.
    #[serde(default)]
    pub account: String,
    pub when: Moment,
    #[serde(default = "once")]
    pub times: u32,
    /// It is told that nothing became of what was done, whatever did.
    #[serde(default)]
    pub denies: bool,
}

/// When something is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Moment {
    /// Right after the answer, whether or not that arrived.
    After,
    /// When somebody asks for it, and with it for all else that waits.
    Asked,
    /// Whoever asked gets the answer only after it was told.
    Before,
}

/// How a webhook was answered.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    pub provider: Provider,
    /// None: there was no answer.
    pub status: Option<u16>,
    pub body: String,
}

/// How far the telling has come.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// How many webhooks were answered with a 2xx.
    pub acknowledged: u64,
    /// How much waits, or is on its way.
    pub untold: usize,
}

/// A webhook, signed.
#[derive(Clone, Debug)]
struct Message {
    content_type: &'static str,
    headers: Vec<(&'static str, String)>,
    body: String,
}

/// What is to be told, and to whom.
#[derive(Debug, Default)]
pub(super) struct Hooks {
    hooks: Vec<Arc<Hook>>,
    untold: VecDeque<Untold>,
    /// How much is on its way.
    telling: usize,
    acknowledged: u64,
    told: VecDeque<Told>,
}

/// Something that waits to be told.
#[derive(Debug)]
struct Untold {
    entry: Entry,
    /// Who was told and did not acknowledge it. None: nobody was told yet.
    again: Option<Arc<Hook>>,
}

/// Something that is told to somebody now.
#[derive(Debug)]
struct Due {
    hook: Arc<Hook>,
    entry: Entry,
}

fn once() -> u32 {
    1
}

/// Tells what was done since the last time, to those who want to hear it at this moment, and again
/// what was not acknowledged.
pub(super) async fn tell(world: &Arc<World>, provider: Provider, moment: Moment) {
    let due = lock(&world.hooks).due(provider, moment);
    if due.is_empty() {
        return;
    }
    let world = Arc::clone(world);
    // Who leaves meanwhile does not stop it. It fails only if it panics, and then what it told of
    // stays among what is on its way.
    drop(tokio::spawn(async move { tell_all(&world, due).await }).await);
}

async fn tell_all(world: &World, all: Vec<Due>) {
    for due in all {
        let is_heard = tell_one(world, &due).await;
        lock(&world.hooks).end(due, is_heard);
    }
}

/// Tells it as often as is wanted, and says whether it need not be told again.
async fn tell_one(world: &World, due: &Due) -> bool {
    let mut is_heard = false;
    for _ in 0..due.hook.times {
        // What its provider does not tell of is done with.
        let Some(told) = send(&due.hook, &due.entry, world).await else { return true };
        is_heard |= told.is_acknowledgement();
        lock(&world.hooks).note(told);
    }
    is_heard
}

/// The same right after an answer.
pub(super) fn tell_later(world: &Arc<World>, provider: Provider) {
    let hears = lock(&world.hooks).hears(provider, Moment::After);
    if hears {
        let world = Arc::clone(world);
        tokio::spawn(async move {
            tokio::time::sleep(AFTER).await;
            tell(&world, provider, Moment::After).await;
        });
    }
}

async fn send(hook: &Hook, entry: &Entry, world: &World) -> Option<Told> {
    // What the provider called the payment when it was made.
    let first = lock(&world.books.ledger).first_of(&entry.payment);
    let message = message::of(hook, entry, first.as_ref())?;
    let answered = tokio::time::timeout(TIMEOUT, post(hook, message)).await;
    let (status, body) = match answered {
        Ok(Ok((status, body))) => (Some(status), body),
        Ok(Err(error)) => (None, error.to_string()),
        Err(_) => (None, "no answer in time".to_owned()),
    };
    Some(Told { provider: hook.provider, status, body })
}

async fn post(hook: &Hook, message: Message) -> anyhow::Result<(u16, String)> {
    let mut builder = SslConnector::builder(SslMethod::tls())?;
    for authority in X509::stack_from_pem(hook.authority.as_bytes())? {
        builder.cert_store_mut().add_cert(&authority)?;
    }
    let stream = TcpStream::connect(hook.to).await?;
    let connected = tokio_boring::connect(builder.build().configure()?, &hook.host, stream).await;
    let stream = connected.map_err(|e| anyhow::anyhow!("no TLS connection: {e}"))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let host = format!("{}:{}", hook.host, hook.to.port());
    let mut request = http::Request::post(&*hook.path).header("host", host);
    for (name, value) in &message.headers {
        request = request.header(*name, value);
    }
    let request = request.header("content-type", message.content_type);
    let body = Full::new(Bytes::from(message.body));
    let response = sender.send_request(request.body(body)?).await?;
    let (head, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok((head.status.as_u16(), String::from_utf8_lossy(&body).into_owned()))
}

// === impl Hook ===

impl Hook {
    fn hears(&self, provider: Provider, moment: Moment) -> bool {
        self.provider == provider && (self.when == moment || moment == Moment::Asked)
    }
}

// === impl Told ===

impl Told {
    fn is_acknowledgement(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

// === impl Hooks ===

impl Hooks {
    /// Adds somebody who wants to hear.
    ///
    /// # Errors
    /// When it makes no sense, or too many do already.
    pub(super) fn add(&mut self, hook: Hook) -> anyhow::Result<()> {
        anyhow::ensure!(self.hooks.len() < HOOKS_MAX, "too many want to hear already");
        anyhow::ensure!((1..=TIMES_MAX).contains(&hook.times), "times must be 1 to {TIMES_MAX}");
        X509::stack_from_pem(hook.authority.as_bytes()).context("the authority is not PEM")?;
        self.hooks.push(Arc::new(hook));
        Ok(())
    }

    /// Keeps what is to be told, if anybody wants to hear it.
    pub(super) fn happened(&mut self, entry: &Entry) {
        if self.hooks.iter().any(|hook| hook.provider.word() == entry.provider) {
            self.wait(Untold { entry: entry.clone(), again: None });
        }
    }

    fn wait(&mut self, untold: Untold) {
        if self.untold.len() >= UNTOLD_MAX {
            self.untold.pop_front();
        }
        self.untold.push_back(untold);
    }

    /// How webhooks were answered, in order.
    pub(super) fn told(&self) -> Vec<Told> {
        self.told.iter().cloned().collect()
    }

    pub(super) fn tally(&self) -> Tally {
        let untold = self.untold.len().saturating_add(self.telling);
        Tally { acknowledged: self.acknowledged, untold }
    }

    fn hears(&self, provider: Provider, moment: Moment) -> bool {
        self.hooks.iter().any(|hook| hook.hears(provider, moment))
    }

    /// What is to be told at this moment, and to whom.
    fn due(&mut self, provider: Provider, moment: Moment) -> Vec<Due> {
        if !self.hears(provider, moment) {
            return Vec::new();
        }
        let (now, later) =
            self.untold.drain(..).partition(|untold| untold.entry.provider == provider.word());
        self.untold = later;
        let now: VecDeque<Untold> = now;
        let to = |one| self.to(one, provider, moment);
        let due: Vec<Due> = now.into_iter().flat_map(to).collect();
        self.telling = self.telling.saturating_add(due.len());
        due
    }

    /// To whom something is told at a moment of its provider: to all, or again to who did not hear.
    fn to(&self, untold: Untold, provider: Provider, moment: Moment) -> Vec<Due> {
        let Untold { entry, again } = untold;
        if let Some(hook) = again {
            return vec![Due { hook, entry }];
        }
        let hears = self.hooks.iter().filter(|hook| hook.hears(provider, moment));
        let due = |hook: &Arc<Hook>| Due { hook: Arc::clone(hook), entry: entry.clone() };
        hears.map(due).collect()
    }

    /// Takes note that it was told, or keeps it to be told again. Who does not want to hear any more
    /// since a reset is left alone.
    fn end(&mut self, Due { hook, entry }: Due, is_heard: bool) {
        self.telling = self.telling.saturating_sub(1);
        if !is_heard && self.hooks.iter().any(|one| Arc::ptr_eq(one, &hook)) {
            self.wait(Untold { entry, again: Some(hook) });
        }
    }

    fn note(&mut self, told: Told) {
        if told.is_acknowledgement() {
            self.acknowledged = self.acknowledged.saturating_add(1);
        }
        if self.told.len() >= TOLD_MAX {
            self.told.pop_front();
        }
        self.told.push_back(told);
    }
}

//! What providers send of their own accord: signed, over TLS, when they are told to.
//!
//! Whoever wants to hear says where and with what secret, and when: before the answer, right after
//! it, or when it is asked for. What is sent is what the ledger has.

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
/// How much waits until somebody asks for it; the oldest goes first.
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
    /// When somebody asks for it.
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
    hooks: Vec<Hook>,
    untold: VecDeque<Entry>,
    told: VecDeque<Told>,
}

fn once() -> u32 {
    1
}

/// Tells what was done since the last time, to those who want to hear it at this moment.
pub(super) async fn tell(world: &Arc<World>, provider: Provider, moment: Moment) {
    let due = lock(&world.hooks).due(provider, moment);
    for (hook, entry) in due {
        for _ in 0..hook.times {
            if let Some(told) = send(&hook, &entry, world).await {
                lock(&world.hooks).note(told);
            }
        }
    }
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
        self.hooks.push(hook);
        Ok(())
    }

    /// Keeps what is to be told, if anybody wants to hear it.
    pub(super) fn happened(&mut self, entry: &Entry) {
        if !self.hooks.iter().any(|hook| hook.provider.word() == entry.provider) {
            return;
        }
        if self.untold.len() >= UNTOLD_MAX {
            self.untold.pop_front();
        }
        self.untold.push_back(entry.clone());
    }

    /// How webhooks were answered, in order.
    pub(super) fn told(&self) -> Vec<Told> {
        self.told.iter().cloned().collect()
    }

    fn hears(&self, provider: Provider, moment: Moment) -> bool {
        self.hooks.iter().any(|hook| hook.provider == provider && hook.when == moment)
    }

    /// What is to be told at this moment, and to whom.
    fn due(&mut self, provider: Provider, moment: Moment) -> Vec<(Hook, Entry)> {
        if !self.hears(provider, moment) {
            return Vec::new();
        }
        let (now, later) =
            self.untold.drain(..).partition(|entry| entry.provider == provider.word());
        self.untold = later;
        let hears = |hook: &&Hook| hook.provider == provider && hook.when == moment;
        let hooks: Vec<_> = self.hooks.iter().filter(hears).cloned().collect();
        let now: VecDeque<Entry> = now;
        let pairs = now.into_iter().flat_map(|entry| {
            hooks.iter().map(move |hook| (hook.clone(), entry.clone())).collect::<Vec<_>>()
        });
        pairs.collect()
    }

    fn note(&mut self, told: Told) {
        if self.told.len() >= TOLD_MAX {
            self.told.pop_front();
        }
        self.told.push_back(told);
    }
}

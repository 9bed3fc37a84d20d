//! Payment providers in miniature, as their documentation describes them.
//!
//! They check what they receive as strictly as the providers do, keep a [`ledger`] of what they
//! executed, and misbehave to order ([`fault`]). The reference is `docs/reference/sandbox.md`.
//!
//! What belongs here: the providers' documented behaviour, and ways to look at it. What does not:
//! anything that knows Orchestra.

mod balance;
mod cards;
mod control;
pub mod fault;
mod form;
mod idempotency;
pub mod ledger;
mod recent;
mod server;
mod shape;
#[cfg(test)]
mod specs;
pub mod standing;
pub mod webhook;

use anyhow::Context as _;
use bytes::Bytes;
use fault::{Effect, Fault, Faults, Operation, When};
use http::{HeaderMap, Method};
use ledger::{Entry, Ledger};
use serde::{Deserialize, Serialize};
use standing::{Standing, Standings};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The list of providers. Playing another one is: a file here with what [`Provider`] asks of it, and
/// a pair below.
macro_rules! providers {
    ($($provider:ident = $file:ident),* $(,)?) => {
        $(mod $file;)*

        /// A provider that the sandbox plays.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Provider {
            $($provider),*
        }

        impl Provider {
            /// Every provider.
            pub const ALL: &[Self] = &[$(Self::$provider),*];

            /// The lower-case word for it.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$provider => stringify!($file)),*
                }
            }

            /// The host names under which it is found.
            pub fn hosts(self) -> &'static [&'static str] {
                match self {
                    $(Self::$provider => $file::HOSTS),*
                }
            }

            /// The documented answer with a status that needs no reason.
            fn failure(self, status: u16) -> Answer {
                match self {
                    $(Self::$provider => $file::failure(status)),*
                }
            }

            /// What is answered to a key that may not do this.
            fn forbidden(self) -> Answer {
                match self {
                    $(Self::$provider => $file::forbidden()),*
                }
            }

            /// What is answered to a key that was taken back.
            fn revoked(self) -> Answer {
                match self {
                    $(Self::$provider => $file::revoked()),*
                }
            }

            /// The key in a request, as it was sent.
            fn key(self, received: &Received) -> &str {
                match self {
                    $(Self::$provider => $file::key(received)),*
                }
            }
        }

        /// Every provider with all that it remembers.
        #[derive(Debug, Default)]
        struct Players {
            $($file: Mutex<$file::$provider>),*
        }

        impl Players {
            /// Reads a request up to the point where it would be executed.
            fn begin(&self, received: &Received) -> Result<Ticket, Answer> {
                match received.provider {
                    $(Provider::$provider => lock(&self.$file).begin(received)),*
                }
            }

            /// Executes what was read, and remembers the answer under its idempotency key.
            fn execute(&self, ticket: Ticket, books: &Books) -> Answer {
                match ticket.order {
                    $(Order::$provider(order) => {
                        lock(&self.$file).execute(order, ticket.key, books)
                    })*
                }
            }

            /// Gives up what was read, so that its idempotency key is free again.
            fn abandon(&self, ticket: Ticket) {
                match ticket.order {
                    $(Order::$provider(_) => lock(&self.$file).abandon(ticket.key)),*
                }
            }

            fn reset(&self) {
                $(*lock(&self.$file) = $file::$provider::default();)*
            }
        }

        /// What is to be executed.
        #[derive(Debug)]
        enum Order {
            $($provider($file::Order)),*
        }
    };
}

providers! {
    Adyen = adyen,
    AuthorizeNet = authorize_net,
    Braintree = braintree,
    Checkout = checkout,
    Cybersource = cybersource,
    Stripe = stripe,
    Worldpay = worldpay,
    WorldpayWpg = worldpay_wpg,
}

/// Where a sandbox listens, and as whom.
#[derive(Clone, Debug)]
pub struct Settings {
    pub listen: SocketAddr,
    /// The certificate chain, PEM, leaf first.
    pub certificate: Vec<u8>,
    /// The private key, PEM.
    pub key: Vec<u8>,
    pub tls: Tls,
    /// How many threads serve.
    pub threads: usize,
}

/// Which versions of TLS are spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// 1.2 and 1.3.
    #[default]
    Modern,
    /// 1.0 and 1.1, so that a client can be seen to refuse them.
    Outdated,
}

/// A running sandbox, which stops when it is dropped.
#[derive(Debug)]
pub struct Sandbox {
    address: SocketAddr,
    world: Arc<World>,
    runtime: Option<tokio::runtime::Runtime>,
}

/// Everything that there is.
#[derive(Debug, Default)]
struct World {
    players: Players,
    books: Books,
    faults: Mutex<Faults>,
    standings: Mutex<Standings>,
    hooks: Mutex<webhook::Hooks>,
    /// Whether `faults` holds any, so that nobody locks it in vain.
    faulty: AtomicBool,
}

/// What is written down about every request.
#[derive(Debug, Default)]
struct Books {
    ledger: Mutex<Ledger>,
    /// What was written since the last request.
    untold: Mutex<Vec<Entry>>,
    connections: AtomicU64,
    requests: AtomicU64,
    questions: AtomicU64,
}

/// A complete request to one of the providers.
#[derive(Debug)]
struct Received {
    provider: Provider,
    method: Method,
    path: String,
    query: String,
    headers: HeaderMap,
    body: Bytes,
}

/// An answer, as the provider means it.
#[derive(Clone, Debug)]
struct Answer {
    status: u16,
    content_type: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

/// A request that was understood, and that will be executed once.
#[derive(Debug)]
struct Ticket {
    operation: Operation,
    amount: Option<u64>,
    key: Option<idempotency::Claim>,
    order: Order,
}

/// Locks, also after a panic elsewhere: the sandbox would rather go on than be right about it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Sandbox ===

impl Sandbox {
    /// Starts serving on threads of its own.
    ///
    /// # Errors
    /// When the address is taken, or the certificate and key do not fit.
    pub fn start(settings: &Settings) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(settings.threads.max(1))
            .thread_name("sandbox")
            .enable_all()
            .build()?;
        let world = Arc::new(World::default());
        let acceptor = server::acceptor(settings)?;
        let listener = std::net::TcpListener::bind(settings.listen)
            .with_context(|| format!("cannot listen on {}", settings.listen))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let listener = {
            let _entered = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        runtime.spawn(server::serve(listener, acceptor, Arc::clone(&world)));
        Ok(Self { address, world, runtime: Some(runtime) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was executed since the last reset, in order.
    pub fn ledger(&self) -> Vec<Entry> {
        lock(&self.world.books.ledger).after(0)
    }

    /// How many requests that only read they have received since the last reset.
    pub fn questions(&self) -> u64 {
        self.world.books.questions.load(Ordering::SeqCst)
    }

    /// How many complete requests the providers have received since the last reset, without those
    /// that only read.
    pub fn requests(&self) -> u64 {
        self.world.books.requests.load(Ordering::SeqCst)
    }

    /// How many TLS handshakes were completed since the last reset.
    pub fn connections(&self) -> u64 {
        self.world.books.connections.load(Ordering::SeqCst)
    }

    /// Orders a misbehaviour.
    ///
    /// # Errors
    /// When it makes no sense, or too many wait already.
    pub fn fault(&self, fault: Fault) -> anyhow::Result<()> {
        self.world.fault(fault).map_err(anyhow::Error::msg)
    }

    /// Says what a key is good for from now on.
    ///
    /// # Errors
    /// When too many keys are out of order already.
    pub fn stand(&self, provider: Provider, key: &str, standing: Standing) -> anyhow::Result<()> {
        let order = standing::Order { provider, key: key.to_owned(), standing };
        anyhow::ensure!(lock(&self.world.standings).order(order), "too many keys are out of order");
        Ok(())
    }

    /// Sends what a provider does from now on to whoever wants to hear it.
    ///
    /// # Errors
    /// When it makes no sense, or too many want to hear already.
    pub fn hook(&self, hook: webhook::Hook) -> anyhow::Result<()> {
        lock(&self.world.hooks).add(hook)
    }

    /// Sends all that waits, also what was sent before and not acknowledged.
    ///
    /// # Errors
    /// When the sandbox is about to end.
    pub async fn tell(&self, provider: Provider) -> anyhow::Result<()> {
        let runtime = self.runtime.as_ref().context("the sandbox has ended")?;
        let world = Arc::clone(&self.world);
        let told = async move { webhook::tell(&world, provider, webhook::Moment::Asked).await };
        Ok(runtime.spawn(told).await?)
    }

    /// How webhooks were answered since the last reset, in order.
    pub fn told(&self) -> Vec<webhook::Told> {
        lock(&self.world.hooks).told()
    }

    /// How far the telling has come since the last reset.
    pub fn tally(&self) -> webhook::Tally {
        lock(&self.world.hooks).tally()
    }

    /// Settles what waits for it, where a provider settles at all.
    pub fn settle(&self) {
        self.world.settle();
    }

    /// Forgets the faults, and nothing else.
    pub fn calm(&self) {
        *lock(&self.world.faults) = Faults::default();
    }

    /// Forgets everything: payments, keys, ledger, faults, who wants to hear.
    pub fn reset(&self) {
        self.world.reset();
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

// === impl World ===

impl World {
    /// Reads a request up to the point where it would be executed.
    fn begin(&self, received: &Received) -> Result<Ticket, Answer> {
        let refused = lock(&self.standings).refuse(received);
        let begun = refused.map_or_else(|| self.players.begin(received), Err);
        let reads = begun.as_ref().is_ok_and(|ticket| ticket.operation == Operation::Read);
        let counter = if reads { &self.books.questions } else { &self.books.requests };
        counter.fetch_add(1, Ordering::SeqCst);
        begun
    }

    /// Executes what was read.
    fn execute(&self, ticket: Ticket) -> Answer {
        let answer = self.players.execute(ticket, &self.books);
        let happened = std::mem::take(&mut *lock(&self.books.untold));
        let mut hooks = lock(&self.hooks);
        happened.iter().for_each(|entry| hooks.happened(entry));
        answer
    }

    /// Gives up what was read.
    fn abandon(&self, ticket: Ticket) {
        self.players.abandon(ticket);
    }

    /// What goes wrong with a request, if anything does.
    fn strikes(&self, provider: Provider, ticket: &Ticket) -> Option<(When, Effect)> {
        if let Some(found) = fault::by_amount(ticket.amount) {
            return Some(found);
        }
        if !self.faulty.load(Ordering::Acquire) {
            return None;
        }
        let mut faults = lock(&self.faults);
        let found = faults.take(provider, ticket.operation);
        self.faulty.store(!faults.is_empty(), Ordering::Release);
        found
    }

    fn fault(&self, fault: Fault) -> Result<(), &'static str> {
        if let Some(problem) = fault.problem() {
            return Err(problem);
        }
        let mut faults = lock(&self.faults);
        if !faults.add(fault) {
            return Err("too many faults wait already");
        }
        self.faulty.store(true, Ordering::Release);
        Ok(())
    }

    fn settle(&self) {
        lock(&self.players.authorize_net).settle();
    }

    fn reset(&self) {
        self.players.reset();
        *lock(&self.books.ledger) = Ledger::default();
        *lock(&self.faults) = Faults::default();
        *lock(&self.standings) = Standings::default();
        *lock(&self.hooks) = webhook::Hooks::default();
        self.faulty.store(false, Ordering::Release);
        self.books.requests.store(0, Ordering::SeqCst);
        self.books.questions.store(0, Ordering::SeqCst);
        self.books.connections.store(0, Ordering::SeqCst);
    }
}

// === impl Books ===

impl Books {
    fn write(&self, entry: Entry) {
        let entry = lock(&self.ledger).write(entry);
        lock(&self.untold).push(entry);
    }
}

// === impl Received ===

impl Received {
    /// The text of a header, when it has one and it is text.
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

// === impl Answer ===

impl Answer {
    /// A JSON answer.
    fn json(status: u16, body: &serde_json::Value) -> Self {
        let body = Bytes::from(body.to_string());
        Self { status, content_type: "application/json; charset=utf-8", headers: Vec::new(), body }
    }

    /// The same with one more header.
    fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

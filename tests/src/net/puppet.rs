//! A provider that says, byte by byte, what a test wants it to.

use super::certificates::Leaf;
use anyhow::Context as _;
use boring::pkey::PKey;
use boring::ssl::{SslAcceptor, SslMethod, SslVersion};
use boring::x509::X509;
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_boring::SslStream;

/// What a puppet does next.
#[derive(Clone, Debug)]
pub enum Move {
    Say(Vec<u8>),
    /// The same, each byte in a record of its own.
    Spell(Vec<u8>),
    /// Says it again and again, once in so long.
    Drip(Vec<u8>, Duration),
    /// Says nothing until it is let go on.
    Hold(Arc<Notify>),
    /// Ends TLS, and then the connection.
    End,
    /// Ends the connection, and says nothing of it in TLS.
    Cut,
    /// Has the connection end with an error.
    Reset,
}

/// A provider that is told what to say. It stops when it is dropped.
#[derive(Debug)]
pub struct Puppet {
    address: SocketAddr,
    stage: Arc<Stage>,
    runtime: Option<tokio::runtime::Runtime>,
}

#[derive(Debug, Default)]
struct Stage {
    /// What is done for each request.
    scripts: Mutex<VecDeque<Vec<Move>>>,
    connections: AtomicUsize,
    open: AtomicUsize,
    requests: AtomicUsize,
    /// How many scripts were played to their end.
    played: AtomicUsize,
}

/// A connection that is counted while it is open.
struct Line {
    stage: Arc<Stage>,
    stream: SslStream<TcpStream>,
}

/// How long the head of a request may be.
const HEAD_BYTES_MAX: usize = 16 << 10;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn acceptor(leaf: &Leaf, newest: SslVersion) -> anyhow::Result<SslAcceptor> {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls())?;
    builder.set_max_proto_version(Some(newest))?;
    let mut chain = X509::stack_from_pem(&leaf.certificate)?.into_iter();
    builder.set_certificate(&*chain.next().context("the certificate is empty")?)?;
    builder.set_private_key(&*PKey::private_key_from_pem(&leaf.key)?)?;
    Ok(builder.build())
}

async fn serve(listener: TcpListener, acceptor: SslAcceptor, stage: Arc<Stage>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, stage) = (acceptor.clone(), Arc::clone(&stage));
        tokio::spawn(async move {
            drop(stream.set_nodelay(true));
            let Ok(stream) = tokio_boring::accept(&acceptor, stream).await else { return };
            stage.connections.fetch_add(1, Ordering::SeqCst);
            stage.open.fetch_add(1, Ordering::SeqCst);
            // How a connection ends does not matter to the next one.
            drop(Line { stage, stream }.serve().await);
        });
    }
}

/// How long the body is that a head tells of.
fn body_bytes(head: &str) -> usize {
    let told = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    told.and_then(|told| told.parse().ok()).unwrap_or_default()
}

// === impl Puppet ===

impl Puppet {
    /// Starts to listen, with no version of TLS that is newer.
    ///
    /// # Errors
    /// When there is no address, or the certificate and key do not fit.
    pub fn start(leaf: &Leaf, newest: SslVersion) -> anyhow::Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let (address, stage) = (listener.local_addr()?, Arc::<Stage>::default());
        let listener = {
            let _entered = runtime.enter();
            TcpListener::from_std(listener)?
        };
        runtime.spawn(serve(listener, acceptor(leaf, newest)?, Arc::clone(&stage)));
        Ok(Self { address, stage, runtime: Some(runtime) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Does this for the next request that has no script yet.
    pub fn play(&self, moves: Vec<Move>) {
        lock(&self.stage.scripts).push_back(moves);
    }

    /// How many connections there were, and how many are open.
    pub fn connections(&self) -> (usize, usize) {
        (self.stage.connections.load(Ordering::SeqCst), self.stage.open.load(Ordering::SeqCst))
    }

    /// How many complete requests there were, and how many scripts were played to their end.
    pub fn requests(&self) -> (usize, usize) {
        (self.stage.requests.load(Ordering::SeqCst), self.stage.played.load(Ordering::SeqCst))
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

// === impl Line ===

impl Line {
    async fn serve(mut self) -> anyhow::Result<()> {
        while self.request().await? {
            self.stage.requests.fetch_add(1, Ordering::SeqCst);
            let script = lock(&self.stage.scripts).pop_front().unwrap_or_default();
            let played = self.play(script).await;
            self.stage.played.fetch_add(1, Ordering::SeqCst);
            if !played? {
                break;
            }
        }
        Ok(())
    }

    /// Reads a whole request, if there is one more.
    async fn request(&mut self) -> anyhow::Result<bool> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            anyhow::ensure!(head.len() < HEAD_BYTES_MAX, "the head is too long");
            let mut byte = [0];
            if self.stream.read(&mut byte).await? == 0 {
                return Ok(false);
            }
            head.extend(byte);
        }
        let mut body = vec![0; body_bytes(std::str::from_utf8(&head)?)];
        self.stream.read_exact(&mut body).await?;
        Ok(true)
    }

    /// Does what is written, and says whether the connection goes on.
    async fn play(&mut self, script: Vec<Move>) -> anyhow::Result<bool> {
        for next in script {
            match next {
                Move::Say(bytes) => self.stream.write_all(&bytes).await?,
                Move::Spell(bytes) => {
                    for byte in bytes {
                        self.stream.write_all(&[byte]).await?;
                    }
                }
                Move::Drip(bytes, pause) => loop {
                    self.stream.write_all(&bytes).await?;
                    tokio::time::sleep(pause).await;
                },
                Move::Hold(gate) => gate.notified().await,
                Move::End => {
                    self.stream.shutdown().await?;
                    return Ok(false);
                }
                Move::Cut => return Ok(false),
                Move::Reset => {
                    self.stream.get_ref().set_zero_linger()?;
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.stage.open.fetch_sub(1, Ordering::SeqCst);
    }
}

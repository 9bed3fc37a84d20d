//! TLS, HTTP, and the wire-level part of every fault.

use super::control;
use super::fault::{Effect, When};
use super::webhook::{self, Moment};
use super::{Answer, Provider, Received, Settings, Ticket, Tls, World};
use anyhow::Context as _;
use boring::pkey::PKey;
use boring::ssl::{self, SslAcceptor, SslMethod, SslOptions, SslVersion};
use boring::x509::X509;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// How large a request's body may be.
pub(super) const BODY_BYTES_MAX: usize = 65_536;
/// How long a client may take for a TLS handshake, and for a request's head.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection lives on after the answer that makes it stale.
pub(super) const STALE_AFTER: Duration = Duration::from_millis(20);

const HTML: &str = "<!DOCTYPE html><html><head><title>Maintenance</title></head>\
<body><h1>We will be back soon</h1></body></html>";

/// The body of an answer: whole, or broken off in the middle.
#[derive(Debug)]
struct Parts {
    bytes: Option<Bytes>,
    length: u64,
    broken: bool,
}

/// The answer breaks off here.
#[derive(Debug, thiserror::Error)]
#[error("broken off")]
struct BrokenOff;

/// One connection, as its requests see it.
#[derive(Clone, Debug)]
struct Link {
    world: Arc<World>,
    /// Ends the connection without a word.
    cut: Arc<Notify>,
}

/// What becomes of a request in the end.
enum Reply {
    Answer(Answer),
    Cut,
    Half(Answer),
    Hang,
    Stale(Answer),
}

/// The certificate, the key and the versions that the settings ask for.
pub(super) fn acceptor(settings: &Settings) -> anyhow::Result<SslAcceptor> {
    let mut builder = match settings.tls {
        Tls::Modern => SslAcceptor::mozilla_intermediate_v5(SslMethod::tls())?,
        Tls::Outdated => SslAcceptor::mozilla_intermediate(SslMethod::tls())?,
    };
    if settings.tls == Tls::Outdated {
        builder.clear_options(SslOptions::NO_TLSV1 | SslOptions::NO_TLSV1_1);
        builder.set_min_proto_version(Some(SslVersion::TLS1))?;
        builder.set_max_proto_version(Some(SslVersion::TLS1_1))?;
    }
    let mut chain = X509::stack_from_pem(&settings.certificate)?.into_iter();
    let leaf = chain.next().context("the certificate file is empty")?;
    builder.set_certificate(&leaf)?;
    for certificate in chain {
        builder.add_extra_chain_cert(certificate)?;
    }
    builder.set_private_key(&*PKey::private_key_from_pem(&settings.key)?)?;
    builder.check_private_key().context("the key does not belong to the certificate")?;
    builder.set_alpn_select_callback(|_, offered| {
        ssl::select_next_proto(b"\x02h2\x08http/1.1", offered).ok_or(ssl::AlpnError::NOACK)
    });
    Ok(builder.build())
}

/// Accepts connections for ever.
pub(super) async fn serve(listener: TcpListener, acceptor: SslAcceptor, world: Arc<World>) {
    loop {
        // An error here is about one connection, or about file descriptors that others will free.
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(stream, acceptor.clone(), Arc::clone(&world)));
        } else {
            tokio::time::sleep(STALE_AFTER).await;
        }
    }
}

async fn connection(stream: TcpStream, acceptor: SslAcceptor, world: Arc<World>) {
    drop(stream.set_nodelay(true));
    let handshake = tokio_boring::accept(&acceptor, stream);
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await else { return };
    world.books.connections.fetch_add(1, Ordering::SeqCst);
    let link = Link { world, cut: Arc::new(Notify::new()) };
    let cut = Arc::clone(&link.cut);
    let service = hyper::service::service_fn(move |request| link.clone().serve(request));
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None);
    let served = builder.serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // However the connection ends, the next one does not care.
        ended = served => drop(ended),
        () = cut.notified() => {}
    }
}

/// The provider that a request is for, and the path that it sees.
fn addressee(request: &http::Request<Incoming>) -> Option<(Provider, String)> {
    let path = request.uri().path();
    for provider in Provider::ALL {
        let rest = path.strip_prefix('/').and_then(|rest| rest.strip_prefix(provider.word()));
        if let Some(rest) = rest.filter(|rest| rest.starts_with('/')) {
            return Some((*provider, rest.to_owned()));
        }
    }
    let named = request.uri().host().map(str::to_owned).or_else(|| {
        let host = request.headers().get(http::header::HOST)?.to_str().ok()?;
        Some(host.split(':').next().unwrap_or_default().to_owned())
    })?;
    let provider = Provider::ALL.iter().find(|provider| provider.hosts().contains(&&*named))?;
    Some((*provider, path.to_owned()))
}

/// Reads a whole request, or says why not.
async fn receive(request: http::Request<Incoming>) -> Result<Received, Answer> {
    let (provider, path) = addressee(&request).ok_or_else(nobody)?;
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
    let body = body.map_err(|_| provider.failure(413))?.to_bytes();
    let query = head.uri.query().unwrap_or_default().to_owned();
    Ok(Received { provider, method: head.method, path, query, headers: head.headers, body })
}

fn nobody() -> Answer {
    let body = serde_json::json!({
        "error": "no provider has this host name or path; see docs/reference/sandbox.md",
    });
    Answer::json(404, &body)
}

/// What goes wrong, in order: before the execution, the execution, after it.
async fn perform(
    world: &World,
    provider: Provider,
    ticket: Ticket,
    fault: (When, Effect),
) -> Reply {
    let answer = match fault {
        (When::Before, Effect::Delay(ms)) => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            return Reply::Answer(world.execute(ticket));
        }
        (When::Before, effect) => {
            world.abandon(ticket);
            return instead(provider, effect);
        }
        (When::After, _) => world.execute(ticket),
    };
    match fault.1 {
        Effect::Delay(ms) => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            Reply::Answer(answer)
        }
        Effect::Half => Reply::Half(answer),
        Effect::Stale => Reply::Stale(answer),
        Effect::WrongType => Reply::Answer(Answer { content_type: "text/plain", ..answer }),
        effect @ (Effect::Cut | Effect::Hang | Effect::Html | Effect::Status(_)) => {
            instead(provider, effect)
        }
    }
}

/// What comes in place of an answer.
fn instead(provider: Provider, effect: Effect) -> Reply {
    match effect {
        Effect::Html => Reply::Answer(Answer {
            status: 200,
            content_type: "text/html; charset=utf-8",
            headers: Vec::new(),
            body: Bytes::from_static(HTML.as_bytes()),
        }),
        Effect::Status(status) => Reply::Answer(provider.failure(status)),
        Effect::Hang => Reply::Hang,
        Effect::Cut | Effect::Delay(_) | Effect::Half | Effect::Stale | Effect::WrongType => {
            Reply::Cut
        }
    }
}

// === impl Link ===

impl Link {
    async fn serve(
        self,
        request: http::Request<Incoming>,
    ) -> Result<http::Response<Parts>, Infallible> {
        if request.uri().path().starts_with(control::PREFIX) {
            return Ok(response(control::answer(&self.world, request).await, false));
        }
        let received = match receive(request).await {
            Ok(received) => received,
            Err(answer) => return Ok(response(answer, false)),
        };
        let provider = received.provider;
        let reply = self.reply(received).await;
        webhook::tell(&self.world, provider, Moment::Before).await;
        webhook::tell_later(&self.world, provider);
        Ok(match reply {
            Reply::Answer(answer) => response(answer, false),
            Reply::Half(answer) => response(answer, true),
            Reply::Stale(answer) => {
                tokio::spawn(async move {
                    tokio::time::sleep(STALE_AFTER).await;
                    self.cut.notify_one();
                });
                response(answer, false)
            }
            Reply::Cut => {
                self.cut.notify_one();
                std::future::pending().await
            }
            Reply::Hang => std::future::pending().await,
        })
    }

    async fn reply(&self, received: Received) -> Reply {
        let ticket = match self.world.begin(&received) {
            Ok(ticket) => ticket,
            Err(answer) => return Reply::Answer(answer),
        };
        let provider = received.provider;
        let Some(fault) = self.world.strikes(provider, &ticket) else {
            return Reply::Answer(self.world.execute(ticket));
        };
        // A client that leaves does not stop a provider: what was begun goes on by itself.
        let world = Arc::clone(&self.world);
        let task = tokio::spawn(async move { perform(&world, provider, ticket, fault).await });
        task.await.unwrap_or(Reply::Cut)
    }
}

fn response(answer: Answer, broken: bool) -> http::Response<Parts> {
    let mut response = http::Response::new(Parts::new(answer.body, broken));
    *response.status_mut() = http::StatusCode::from_u16(answer.status).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(answer.content_type));
    for (name, value) in answer.headers {
        if let Ok(value) = http::HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    response
}

// === impl Parts ===

impl Parts {
    fn new(bytes: Bytes, broken: bool) -> Self {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let kept = if broken { bytes.slice(..bytes.len() / 2) } else { bytes };
        Self { bytes: Some(kept), length, broken }
    }
}

impl Body for Parts {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        Poll::Ready(match self.bytes.take() {
            Some(bytes) => Some(Ok(Frame::data(bytes))),
            None if self.broken => Some(Err(BrokenOff)),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none() && !self.broken
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}

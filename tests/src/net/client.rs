//! A client that does what it is told, over HTTP/1.1 or HTTP/2.

use anyhow::Context as _;
use boring::ssl::{SslConnector, SslMethod};
use boring::x509::X509;
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_boring::SslStream;

/// How long a request of a test may take at all.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// The name of the server, as in its certificate.
const SERVER: &str = "localhost";

/// Which HTTP is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http {
    One,
    Two,
}

/// Where to send, and with what key.
#[derive(Clone, Debug)]
pub struct Client {
    address: SocketAddr,
    authority: X509,
    http: Http,
    key: Option<String>,
    headers: Vec<(&'static str, String)>,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A connection that is kept.
#[derive(Debug)]
pub struct Link {
    client: Client,
    sender: Sender,
}

#[derive(Debug)]
enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

// === impl Client ===

impl Client {
    /// A client that trusts one authority, and has no key.
    pub fn new(address: SocketAddr, authority: X509, http: Http) -> Self {
        Self { address, authority, http, key: None, headers: Vec::new() }
    }

    /// The same with a key.
    pub fn with_key(self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self }
    }

    /// The same without a key.
    pub fn without_key(self) -> Self {
        Self { key: None, ..self }
    }

    /// The same with one more header, which replaces the usual one of its name.
    pub fn with_header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// A TLS connection on which nothing was said yet.
    ///
    /// # Errors
    /// When there is no connection, or the server is not who it should be.
    pub async fn tls(&self) -> anyhow::Result<SslStream<TcpStream>> {
        let mut builder = SslConnector::builder(SslMethod::tls())?;
        builder.cert_store_mut().add_cert(&self.authority)?;
        builder.set_alpn_protos(match self.http {
            Http::One => b"\x08http/1.1",
            Http::Two => b"\x02h2",
        })?;
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let configuration = builder.build().configure()?;
        let connected = tokio_boring::connect(configuration, SERVER, stream).await;
        connected.map_err(|e| anyhow::anyhow!("no TLS connection: {e}"))
    }

    /// Opens a connection that is kept.
    ///
    /// # Errors
    /// When there is none to be had.
    pub async fn connect(&self) -> anyhow::Result<Link> {
        let stream = TokioIo::new(self.tls().await?);
        let sender = match self.http {
            Http::One => {
                let (sender, connection) = http1::handshake(stream).await?;
                tokio::spawn(connection);
                Sender::One(sender)
            }
            Http::Two => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
                tokio::spawn(connection);
                Sender::Two(sender)
            }
        };
        Ok(Link { client: self.clone(), sender })
    }

    /// Sends one request on a connection of its own.
    ///
    /// # Errors
    /// When there is no complete answer.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Answer> {
        self.connect().await?.send(method, path, body).await
    }

    /// Sends one request with a body that need not be JSON.
    ///
    /// # Errors
    /// When there is no complete answer.
    pub async fn send_bytes(
        &self,
        method: &str,
        path: &str,
        body: impl Into<Bytes>,
    ) -> anyhow::Result<Answer> {
        let request = self.request(method, path, Some(body.into()))?;
        self.connect().await?.exchange(request).await
    }

    fn request(
        &self,
        method: &str,
        path: &str,
        body: Option<Bytes>,
    ) -> anyhow::Result<Request<Full<Bytes>>> {
        let uri = match self.http {
            Http::One => path.to_owned(),
            Http::Two => format!("https://{SERVER}:{}{path}", self.address.port()),
        };
        let host = format!("{SERVER}:{}", self.address.port());
        let mut headers: Vec<(&str, &str)> = Vec::new();
        headers.extend((self.http == Http::One).then_some(("host", host.as_str())));
        headers.extend(self.key.as_deref().map(|key| ("x-api-key", key)));
        headers.extend(body.as_ref().map(|_| ("content-type", "application/json")));
        headers.retain(|(name, _)| self.headers.iter().all(|(own, _)| own != name));
        headers.extend(self.headers.iter().map(|(name, value)| (*name, value.as_str())));
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        Ok(request.body(Full::new(body.unwrap_or_default()))?)
    }
}

// === impl Link ===

impl Link {
    /// Sends this header from now on, in the place of an earlier one of its name.
    pub fn set_header(&mut self, name: &'static str, value: &str) {
        self.client.headers.retain(|(own, _)| *own != name);
        self.client.headers.push((name, value.to_owned()));
    }

    /// Sends one request, with a body of JSON or none.
    ///
    /// # Errors
    /// When there is no complete answer.
    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Answer> {
        let body = body.map(|value| Bytes::from(value.to_string()));
        let request = self.client.request(method, path, body)?;
        self.exchange(request).await
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> anyhow::Result<Answer> {
        let exchange = async {
            let response = match &mut self.sender {
                Sender::One(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await?
                }
                Sender::Two(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await?
                }
            };
            let (head, body) = response.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
        };
        tokio::time::timeout(ANSWER_TIMEOUT, exchange).await.context("no answer in time")?
    }
}

// === impl Answer ===

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it is not.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("not JSON: {}", self.text()))
    }

    /// The text of a header, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// Sends one request without TLS and without a key.
///
/// # Errors
/// When there is no complete answer.
pub async fn plain(address: SocketAddr, method: &str, path: &str) -> anyhow::Result<Answer> {
    let stream = TokioIo::new(TcpStream::connect(address).await?);
    let (mut sender, connection) = http1::handshake::<_, Full<Bytes>>(stream).await?;
    tokio::spawn(connection);
    let request = Request::builder().method(method).uri(path).header("host", "localhost");
    let response = sender.send_request(request.body(Full::default())?).await?;
    let (head, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
}

/// Writes bytes on a connection without TLS, and reads until the server closes it or `until`.
///
/// # Errors
/// When there is no connection.
pub async fn raw(address: SocketAddr, bytes: &[u8], until: Duration) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    // A server that has heard enough may close before all is written.
    drop(stream.write_all(bytes).await);
    let mut answer = Vec::new();
    drop(tokio::time::timeout(until, stream.read_to_end(&mut answer)).await);
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

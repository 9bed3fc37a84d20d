//! The first thing a connection meets: a place among all, and how long a request head may take.
//!
//! Pingora 0.9.1 limits neither (its read timeout is for each read, so that a byte now and then
//! keeps a connection for ever). HTTP/2 connections are bounded by `h2_idle_timeout` instead.

use crate::places::Places;
use async_trait::async_trait;
use pingora::apps::{HttpServerApp, ServerApp};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    Stream, TimingDigest, UniqueID, UniqueIDType,
};
use pingora::server::ShutdownWatch;
use pingora_proxy::Session;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Admits connections to an application, within limits.
pub(crate) struct Guard<A> {
    app: Arc<A>,
    head_timeout: Duration,
    places: Arc<Places>,
}

/// Ends an HTTP/1 connection whose request head is not complete some time after its first byte.
pub(crate) struct HeadDeadline {
    inner: Stream,
    limit: Duration,
    state: AtomicU8,
    /// When the head that has begun must be complete.
    until: Instant,
    /// Made when a head does not come in one piece, which is seldom.
    timer: Option<Pin<Box<Sleep>>>,
}

/// Waiting for the first byte of a head; nothing runs.
const IDLE: u8 = 0;
/// A head has begun and must be complete before the timer ends.
const RUNNING: u8 = 1;
/// The head is complete.
const DONE: u8 = 2;

// === impl Guard ===

impl<A> Guard<A> {
    /// Admits connections within `limits`, to `places`.
    pub(crate) fn new(app: A, limits: &conf::Limits, places: Arc<Places>) -> Self {
        Self { app: Arc::new(app), head_timeout: limits.head_timeout, places }
    }
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> ServerApp for Guard<A> {
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        // With TLS it has a place since before the handshake.
        let is_placed = stream.get_ssl_digest().is_some();
        let _place = if is_placed { None } else { Some(self.places.take(&*stream)?) };
        let stream: Stream = if matches!(stream.selected_alpn_proto(), Some(ALPN::H2)) {
            stream
        } else {
            Box::new(HeadDeadline::new(stream, self.head_timeout))
        };
        ServerApp::process_new(&self.app, stream, shutdown).await
    }

    async fn cleanup(&self) {
        self.app.http_cleanup().await;
    }
}

// === impl HeadDeadline ===

impl HeadDeadline {
    fn new(inner: Stream, limit: Duration) -> Self {
        Self { inner, limit, state: AtomicU8::new(IDLE), until: Instant::now(), timer: None }
    }

    /// The deadline of the connection that `session` came by, where it has one.
    fn of(session: &Session) -> Option<&Self> {
        session.as_downstream().stream()?.as_any().downcast_ref()
    }

    /// Says that the head of the present request is complete.
    pub(crate) fn head_done(session: &Session) {
        if let Some(this) = Self::of(session) {
            this.state.store(DONE, Ordering::Relaxed);
        }
    }

    /// Says that the next byte begins a new request.
    pub(crate) fn next_request(session: &Session) {
        if let Some(this) = Self::of(session) {
            this.state.store(IDLE, Ordering::Relaxed);
        }
    }

    fn start(&mut self) {
        self.until = Instant::now().checked_add(self.limit).unwrap_or(self.until);
        self.timer = None;
        self.state.store(RUNNING, Ordering::Relaxed);
    }

    fn has_passed(&mut self, cx: &mut Context<'_>) -> bool {
        let until = self.until;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        timer.as_mut().poll(cx).is_ready()
    }
}

impl fmt::Debug for HeadDeadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeadDeadline").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl AsyncRead for HeadDeadline {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        match self.state.load(Ordering::Relaxed) {
            DONE => self.timer = None,
            IDLE if buf.filled().len() > before => self.start(),
            RUNNING if self.has_passed(cx) => {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            _ => {}
        }
        polled
    }
}

impl AsyncWrite for HeadDeadline {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[async_trait]
impl Shutdown for HeadDeadline {
    async fn shutdown(&mut self) {
        self.inner.shutdown().await;
    }
}

#[async_trait]
impl Peek for HeadDeadline {
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        self.inner.try_peek(buf).await
    }
}

impl UniqueID for HeadDeadline {
    fn id(&self) -> UniqueIDType {
        self.inner.id()
    }
}

impl Ssl for HeadDeadline {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.inner.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.selected_alpn_proto()
    }
}

impl GetTimingDigest for HeadDeadline {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inner.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.inner.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.inner.get_write_pending_time()
    }
}

impl GetProxyDigest for HeadDeadline {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner.get_proxy_digest()
    }
}

impl GetSocketDigest for HeadDeadline {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.get_socket_digest()
    }
}

//! The first thing a connection meets: a place among all, and how long it may take over what it says
//! and over what it is told.
//!
//! Pingora 0.9.1 limits no places; it takes a head of a mebibyte; its read timeout is for each read, so
//! that a byte now and then keeps a connection for ever; it waits for the preface of HTTP/2 without any;
//! and it has no time for writing a head or what ends an answer. Once HTTP/2 has begun,
//! `h2_idle_timeout` bounds its silence.

use crate::metrics::Metrics;
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
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Admits connections to an application, within limits.
pub(crate) struct Guard<A> {
    app: Arc<A>,
    places: Arc<Places>,
    times: Times,
    metrics: Arc<Metrics>,
}

/// How long a connection may take.
#[derive(Clone, Copy, Debug)]
struct Times {
    /// For a whole head, or the preface of HTTP/2, from its first byte.
    head: Duration,
    /// Until the first byte of all. Pingora has its own time between requests.
    idle: Duration,
    /// For a piece of an answer to go out.
    write: Duration,
}

/// Ends a connection that says nothing, whose request head or preface is not complete some time after
/// its first byte, or whose other side does not read.
pub(crate) struct Deadlines {
    inner: Stream,
    times: Times,
    state: AtomicU8,
    /// When what is waited for must be there.
    until: Instant,
    /// How much of the head has come, where it did not come in one piece.
    head_bytes: usize,
    /// Made when it does not come in one piece, which is seldom.
    timer: Option<Pin<Box<Sleep>>>,
    /// How much of the preface of HTTP/2 is still to come.
    preface_left: usize,
    /// Runs while nothing can be written.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Where it is counted that this ended the connection; none, once it is.
    metrics: Option<Arc<Metrics>>,
}

/// Waiting for the first byte of all.
const FRESH: u8 = 0;
/// Waiting for the first byte of the next head; Pingora's timer runs.
const IDLE: u8 = 1;
/// A head has begun and must be complete before the timer ends.
const RUNNING: u8 = 2;
/// The head is complete.
const DONE: u8 = 3;

/// How much of a head is read that does not end: more than any that passes the checks of `filters`.
const HEAD_BYTES_MAX: usize = 65_536;
/// What every HTTP/2 connection begins with is so long (RFC 9113 section 3.4).
const PREFACE_BYTES: usize = 24;

// === impl Guard ===

impl<A> Guard<A> {
    /// Admits connections within `limits`, to `places`.
    pub(crate) fn new(
        app: A,
        limits: &conf::Limits,
        places: Arc<Places>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let times = Times {
            head: limits.head_timeout,
            idle: limits.idle_timeout,
            write: limits.write_timeout,
        };
        Self { app: Arc::new(app), places, times, metrics }
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
        let stream: Stream = Box::new(Deadlines::new(stream, self.times, self.metrics.clone()));
        ServerApp::process_new(&self.app, stream, shutdown).await
    }

    async fn cleanup(&self) {
        self.app.http_cleanup().await;
    }
}

// === impl Deadlines ===

impl Deadlines {
    fn new(inner: Stream, times: Times, metrics: Arc<Metrics>) -> Self {
        let is_http2 = matches!(inner.selected_alpn_proto(), Some(ALPN::H2));
        Self {
            inner,
            times,
            state: AtomicU8::new(FRESH),
            until: after(times.idle),
            head_bytes: 0,
            timer: None,
            preface_left: if is_http2 { PREFACE_BYTES } else { 0 },
            stalled: None,
            metrics: Some(metrics),
        }
    }

    /// The deadlines of the connection that `session` came by. One of HTTP/2 does not show its own.
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

    /// Takes note that bytes came, and says whether they began something.
    fn came(&mut self, bytes: usize) -> bool {
        let begins = matches!(self.state.load(Ordering::Relaxed), FRESH | IDLE);
        if begins {
            self.until = after(self.times.head);
            self.head_bytes = 0;
            self.timer = None;
            self.state.store(RUNNING, Ordering::Relaxed);
        }
        self.head_bytes = self.head_bytes.saturating_add(bytes);
        if self.preface_left > 0 {
            self.preface_left = self.preface_left.saturating_sub(bytes);
            if self.preface_left == 0 {
                self.state.store(DONE, Ordering::Relaxed);
            }
        }
        begins
    }

    fn has_passed(&mut self, cx: &mut Context<'_>) -> bool {
        let until = self.until;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        timer.as_mut().poll(cx).is_ready()
    }

    /// Ends the connection, and counts why.
    fn cut<T>(&mut self, why: &str, kind: io::ErrorKind) -> Poll<io::Result<T>> {
        if let Some(metrics) = self.metrics.take() {
            metrics.connection_cut(why);
        }
        Poll::Ready(Err(kind.into()))
    }

    /// Puts an end to waiting for the other side to read.
    fn unless_stalled<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let until = after(self.times.write);
        let timer = self.stalled.get_or_insert_with(|| Box::pin(sleep_until(until)));
        // It stays when it has run out: what is written to such a connection afterwards fails at once.
        ready!(timer.as_mut().poll(cx));
        self.cut("not_reading", io::ErrorKind::TimedOut)
    }
}

/// The time so long from now.
fn after(time: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(time).unwrap_or(now)
}

impl fmt::Debug for Deadlines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deadlines").field("times", &self.times).finish_non_exhaustive()
    }
}

impl AsyncRead for Deadlines {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Whoever reads on has not found the end of the head in what came so far.
        if self.state.load(Ordering::Relaxed) == RUNNING && self.head_bytes > HEAD_BYTES_MAX {
            return self.cut("long_head", io::ErrorKind::InvalidData);
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        let bytes = buf.filled().len().saturating_sub(before);
        if bytes > 0 && self.came(bytes) {
            return polled;
        }
        match self.state.load(Ordering::Relaxed) {
            DONE => self.timer = None,
            // What came in time is not refused because the program was late.
            FRESH if polled.is_ready() => {}
            FRESH if self.has_passed(cx) => return self.cut("silent", io::ErrorKind::TimedOut),
            RUNNING if self.has_passed(cx) => {
                return self.cut("slow_head", io::ErrorKind::TimedOut);
            }
            _ => {}
        }
        polled
    }
}

impl AsyncWrite for Deadlines {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.unless_stalled(cx, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_flush(cx);
        self.unless_stalled(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.unless_stalled(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.unless_stalled(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[async_trait]
impl Shutdown for Deadlines {
    async fn shutdown(&mut self) {
        self.inner.shutdown().await;
    }
}

#[async_trait]
impl Peek for Deadlines {
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        self.inner.try_peek(buf).await
    }
}

impl UniqueID for Deadlines {
    fn id(&self) -> UniqueIDType {
        self.inner.id()
    }
}

impl Ssl for Deadlines {
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

impl GetTimingDigest for Deadlines {
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

impl GetProxyDigest for Deadlines {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner.get_proxy_digest()
    }
}

impl GetSocketDigest for Deadlines {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.get_socket_digest()
    }
}

#[cfg(test)]
mod tests {
    use super::{Arc, DONE, Deadlines, HEAD_BYTES_MAX, Metrics, Ordering, PREFACE_BYTES, Times};
    use std::io::{ErrorKind, Result};
    use std::time::Duration;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::time::timeout;

    const TIMES: Times = Times {
        head: Duration::from_millis(50),
        idle: Duration::from_millis(100),
        write: Duration::from_millis(50),
    };
    /// More than is read of a head.
    const TWICE: usize = 2 * HEAD_BYTES_MAX;
    /// Longer than any of them.
    const LONG: Duration = Duration::from_secs(5);

    /// A connection, and its other side, with room for so many bytes in between.
    fn connection(room: usize) -> (Deadlines, DuplexStream) {
        let (ours, theirs) = duplex(room);
        let metrics = Arc::new(Metrics::new().unwrap());
        (Deadlines::new(Box::new(ours), TIMES, metrics), theirs)
    }

    /// What is read, or why nothing was; `None` if neither in time.
    async fn read(ours: &mut Deadlines) -> Option<std::result::Result<usize, ErrorKind>> {
        let mut buf = [0; 64];
        let read: Option<Result<usize>> = timeout(LONG, ours.read(&mut buf)).await.ok();
        Some(read?.map_err(|error| error.kind()))
    }

    #[tokio::test]
    async fn a_connection_that_says_nothing_ends() {
        let (mut ours, _theirs) = connection(64);
        assert_eq!(read(&mut ours).await, Some(Err(ErrorKind::TimedOut)));
    }

    #[tokio::test]
    async fn a_head_or_a_preface_that_is_not_complete_in_time_ends_its_connection() {
        let (mut ours, mut theirs) = connection(64);
        theirs.write_all(b"GET /").await.unwrap();
        assert_eq!(read(&mut ours).await, Some(Ok(5)));
        assert_eq!(read(&mut ours).await, Some(Err(ErrorKind::TimedOut)));

        let (mut ours, mut theirs) = connection(64);
        ours.preface_left = PREFACE_BYTES;
        theirs.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r").await.unwrap();
        assert_eq!(read(&mut ours).await, Some(Ok(23)));
        assert_eq!(read(&mut ours).await, Some(Err(ErrorKind::TimedOut)));
    }

    #[tokio::test]
    async fn after_its_preface_http2_has_no_deadline_here() {
        let (mut ours, mut theirs) = connection(64);
        ours.preface_left = PREFACE_BYTES;
        theirs.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        assert_eq!(read(&mut ours).await, Some(Ok(24)));
        assert_eq!(ours.state.load(Ordering::Relaxed), DONE);
        let mut buf = [0; 1];
        timeout(TIMES.idle.saturating_mul(2), ours.read(&mut buf)).await.unwrap_err();
    }

    #[tokio::test]
    async fn a_head_that_does_not_end_is_not_read_on() {
        let (mut ours, mut theirs) = connection(TWICE);
        theirs.write_all(&vec![b'a'; TWICE]).await.unwrap();
        let mut bytes = 0_usize;
        let error = loop {
            match read(&mut ours).await.unwrap() {
                Ok(more) => bytes = bytes.saturating_add(more),
                Err(error) => break error,
            }
        };
        assert_eq!(error, ErrorKind::InvalidData);
        assert!((HEAD_BYTES_MAX..TWICE).contains(&bytes), "{bytes}");
    }

    #[tokio::test]
    async fn a_connection_whose_other_side_does_not_read_ends() {
        let (mut ours, _theirs) = connection(64);
        ours.write_all(&[b'a'; 64]).await.unwrap();
        let written = timeout(LONG, ours.write_all(b"b")).await.unwrap();
        assert_eq!(written.unwrap_err().kind(), ErrorKind::TimedOut);

        // Whoever reads slowly, and reads, is waited for anew each time.
        let (mut ours, mut theirs) = connection(64);
        let mut buf = [0; 64];
        let slowly = async {
            for _ in 0..8 {
                tokio::time::sleep(TIMES.write.checked_div(2).unwrap()).await;
                theirs.read_exact(&mut buf).await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(ours.write_all(&[b'a'; 512]), slowly);
        written.unwrap();
    }
}

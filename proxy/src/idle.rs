//! Connections to a provider that wait for their next use.
//!
//! Pingora's own pool gives every idle connection a task that watches it, a lock and a timer, and
//! makes them anew for each exchange. Here an idle connection just lies on a pile. Whether it still
//! lives is seen when it is taken, by a read that must find nothing; what nobody takes is looked
//! through now and then, so that a provider that hangs up is answered within [`SWEEP_EVERY`].

use pingora::protocols::Stream;
use pingora::upstreams::peer::HttpPeer;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::task::coop::has_budget_remaining;

/// The idle connections of one provider.
#[derive(Debug)]
pub(crate) struct IdleConnections {
    pile: Arc<Mutex<Pile>>,
    max: usize,
    timeout: Duration,
}

#[derive(Debug, Default)]
struct Pile {
    /// The one used last lies on top, and is used next: so the pile shrinks when the load does.
    connections: Vec<Idle>,
    /// Whether a task looks through the pile.
    swept: bool,
}

#[derive(Debug)]
struct Idle {
    peer: Arc<HttpPeer>,
    since: Instant,
    stream: Stream,
}

/// How often connections that nobody takes are looked through.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

// === impl IdleConnections ===

impl IdleConnections {
    /// Keeps at most `max` connections, each for at most `timeout`.
    pub(crate) fn new(max: usize, timeout: Duration) -> Self {
        Self { pile: Arc::default(), max, timeout }
    }

    /// A connection to `peer` that is still alive, if there is one.
    pub(crate) fn take(&self, peer: &Arc<HttpPeer>) -> Option<Stream> {
        loop {
            let mut idle = {
                let mut pile = lock(&self.pile);
                let at = pile.connections.iter().rposition(|idle| same(&idle.peer, peer))?;
                pile.connections.remove(at)
            };
            // A dead one is dropped, outside of the lock, and the next one is looked at.
            if idle.is_alive(self.timeout) {
                return Some(idle.stream);
            }
        }
    }

    /// Keeps a connection on which an exchange has ended well, unless there are too many.
    pub(crate) fn keep(&self, peer: Arc<HttpPeer>, stream: Stream) {
        let mut pile = lock(&self.pile);
        if pile.connections.len() >= self.max {
            return;
        }
        pile.connections.push(Idle { peer, since: Instant::now(), stream });
        if !pile.swept {
            pile.swept = true;
            tokio::spawn(sweep(Arc::downgrade(&self.pile), self.timeout));
        }
    }
}

/// Whether both are the same host at the same address. All connections of a pile were verified against
/// the same authorities.
fn same(one: &Arc<HttpPeer>, other: &Arc<HttpPeer>) -> bool {
    Arc::ptr_eq(one, other) || (one._address == other._address && one.sni == other.sni)
}

/// Drops what is dead, again and again, until the pile is empty or gone.
async fn sweep(pile: Weak<Mutex<Pile>>, timeout: Duration) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let Some(pile) = pile.upgrade() else { return };
        let mut pile = lock(&pile);
        pile.connections.retain_mut(|idle| idle.is_alive(timeout));
        if pile.connections.is_empty() {
            pile.swept = false;
            return;
        }
    }
}

/// Whether a read finds nothing: neither the end, nor an error, nor bytes that nobody asked for, which
/// the next exchange would take for its answer.
///
/// It ends with the task's budget of tokio, however much a provider sends of what is not for us (tickets
/// of TLS). When the budget is spent, "pending" may be said of a dead connection; it is called dead then.
fn is_silent(stream: &mut Stream) -> bool {
    let mut byte = [0];
    let mut buf = ReadBuf::new(&mut byte);
    let mut cx = Context::from_waker(Waker::noop());
    Pin::new(stream).poll_read(&mut cx, &mut buf).is_pending() && has_budget_remaining()
}

fn lock(pile: &Mutex<Pile>) -> MutexGuard<'_, Pile> {
    pile.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Idle ===

impl Idle {
    /// Whether it can be used, and is not too old.
    fn is_alive(&mut self, timeout: Duration) -> bool {
        self.since.elapsed() < timeout && is_silent(&mut self.stream)
    }
}

#[cfg(test)]
mod tests {
    use super::IdleConnections;
    use pingora::protocols::Stream;
    use pingora::protocols::l4::stream::Stream as TcpStream;
    use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
    use pingora::upstreams::peer::HttpPeer;
    use std::io;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, ready};
    use std::time::Duration;
    use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
    use tokio::net::{TcpListener, TcpStream as Socket};
    use tokio::task::coop::poll_proceed;

    const LONG: Duration = Duration::from_secs(60);

    fn peer(port: u16, host: &str) -> Arc<HttpPeer> {
        Arc::new(HttpPeer::new(("127.0.0.1", port), true, host.to_owned()))
    }

    /// Both ends of a connection.
    async fn connection() -> (Stream, Socket) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = Socket::connect(listener.local_addr().unwrap()).await.unwrap();
        let (far, _) = listener.accept().await.unwrap();
        (Box::new(TcpStream::from(near)), far)
    }

    /// Waits until what the far end did has arrived at the connection on top.
    async fn arrived(idle: &IdleConnections) {
        while super::lock(&idle.pile).connections.iter_mut().all(|idle| idle.is_alive(LONG)) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_connection_is_used_again_for_its_own_host_and_address_only() {
        let idle = IdleConnections::new(2, LONG);
        let (near, _far) = connection().await;
        idle.keep(peer(1, "a.example"), near);
        assert!(idle.take(&peer(1, "b.example")).is_none());
        assert!(idle.take(&peer(2, "a.example")).is_none(), "the host has moved");
        assert!(idle.take(&peer(1, "a.example")).is_some());
        assert!(idle.take(&peer(1, "a.example")).is_none(), "it was taken");
    }

    #[tokio::test]
    async fn one_that_was_closed_or_spoke_unasked_is_not_used() {
        for speaks in [false, true] {
            let idle = IdleConnections::new(2, LONG);
            let (near, mut far) = connection().await;
            idle.keep(peer(1, "a.example"), near);
            if speaks {
                far.write_all(b"HTTP/1.1 408 Request Timeout\r\n").await.unwrap();
            } else {
                far.shutdown().await.unwrap();
            }
            arrived(&idle).await;
            assert!(idle.take(&peer(1, "a.example")).is_none(), "speaks: {speaks}");
        }
    }

    /// Reads on and on, as TLS does while tickets come, and finds nothing for us.
    #[derive(Debug)]
    struct Chatter;

    impl VirtualSocket for Chatter {
        fn set_socket_option(&self, _: VirtualSockOpt) -> io::Result<()> {
            Ok(())
        }
    }

    impl AsyncRead for Chatter {
        fn poll_read(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            loop {
                ready!(poll_proceed(cx)).made_progress();
            }
        }
    }

    impl AsyncWrite for Chatter {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn one_on_which_there_is_no_end_of_what_is_not_for_us_is_not_used() {
        let idle = IdleConnections::new(1, LONG);
        let near: TcpStream = VirtualSocketStream::new(Box::new(Chatter)).into();
        idle.keep(peer(1, "a.example"), Box::new(near));
        assert!(idle.take(&peer(1, "a.example")).is_none());
    }

    #[tokio::test]
    async fn there_are_no_more_than_may_be_and_none_too_old() {
        let idle = IdleConnections::new(1, Duration::ZERO);
        let (near, _far) = connection().await;
        let (other, _far) = connection().await;
        idle.keep(peer(1, "a.example"), near);
        idle.keep(peer(1, "a.example"), other);
        assert_eq!(super::lock(&idle.pile).connections.len(), 1);
        assert!(idle.take(&peer(1, "a.example")).is_none(), "its time is over");
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_takes_is_swept() {
        let idle = IdleConnections::new(1, super::SWEEP_EVERY);
        let (near, _far) = connection().await;
        idle.keep(peer(1, "a.example"), near);
        // The clock of the test runs ahead; the age is taken from the real one.
        super::lock(&idle.pile).connections[0].since -= super::SWEEP_EVERY;
        tokio::time::sleep(super::SWEEP_EVERY * 2).await;
        assert!(super::lock(&idle.pile).connections.is_empty());
        assert!(!super::lock(&idle.pile).swept, "and the sweeper has gone home");
    }
}

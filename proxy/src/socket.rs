//! Sockets to providers, read in large pieces.
//!
//! TLS reads a record in two pieces, its head of five bytes and the rest. On a bare socket these are
//! two system calls, and a third one finds that there is no more, because neither came back short.
//! Pingora's connector gives its sockets no buffer for reading, so they are made here.
//!
//! A connection that just ends is an error here, and no end: TLS says itself where it ends, and whoever
//! cuts it does not. The library of TLS takes the one for the other, and what was cut for the whole.

use async_trait::async_trait;
use pingora::connectors::l4::Connect;
use pingora::protocols::l4::ext::set_tcp_keepalive;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora::{BError, Error, ErrorType};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::TcpStream;

/// Connects with sockets that have a buffer for reading.
#[derive(Debug)]
pub(crate) struct BufferedSockets;

/// This machine has no socket to give, whatever the provider would have said.
pub(crate) const NO_SOCKET: ErrorType = ErrorType::new("NoSocket");
/// What a system says that has no handle, no memory or no port left.
const NOTHING_LEFT: [i32; 5] =
    [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS, libc::EADDRNOTAVAIL];

#[derive(Debug)]
struct BufferedSocket(BufReader<TcpStream>);

/// More than the usual answer of a provider, so that one system call takes it.
const READ_BYTES: usize = 8 << 10;

#[async_trait]
impl Connect for BufferedSockets {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream, BError> {
        let Some(address) = address.as_inet() else {
            return Error::e_explain(ErrorType::ConnectError, "providers are reached by TCP only");
        };
        let socket = TcpStream::connect(address).await.map_err(refused)?;
        let socket = BufferedSocket(BufReader::with_capacity(READ_BYTES, socket));
        Ok(VirtualSocketStream::new(Box::new(socket)).into())
    }
}

fn refused(error: io::Error) -> BError {
    let nothing_left = error.raw_os_error().is_some_and(|code| NOTHING_LEFT.contains(&code));
    let class = if nothing_left { NO_SOCKET } else { ErrorType::ConnectError };
    Error::because(class, "the provider's address does not take the connection", error)
}

// === impl BufferedSocket ===

impl VirtualSocket for BufferedSocket {
    fn set_socket_option(&self, option: VirtualSockOpt) -> io::Result<()> {
        let socket = self.0.get_ref();
        match option {
            VirtualSockOpt::NoDelay => socket.set_nodelay(true),
            VirtualSockOpt::KeepAlive(keepalive) => set_tcp_keepalive(socket, &keepalive)
                .map_err(|_| io::ErrorKind::InvalidInput.into()),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl AsyncRead for BufferedSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, room) = (buf.filled().len(), buf.remaining());
        ready!(Pin::new(&mut self.0).poll_read(cx, buf))?;
        if room > 0 && buf.filled().len() == before {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for BufferedSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.0.get_mut()).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.0.get_mut()).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.0.get_mut()).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::{NO_SOCKET, refused};
    use pingora::ErrorType;
    use std::io;

    #[test]
    fn a_machine_that_has_nothing_left_is_told_from_a_provider_that_is_not_there() {
        for (code, expected) in [
            (libc::ECONNREFUSED, ErrorType::ConnectError),
            (libc::ENETUNREACH, ErrorType::ConnectError),
            (libc::ETIMEDOUT, ErrorType::ConnectError),
            (libc::EMFILE, NO_SOCKET),
            (libc::EADDRNOTAVAIL, NO_SOCKET),
        ] {
            let error = refused(io::Error::from_raw_os_error(code));
            assert_eq!(*error.root_etype(), expected, "{code}");
        }
    }
}

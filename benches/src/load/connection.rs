//! One keep-alive connection, and the least of HTTP/1.1 that reading answers takes.

use crate::script::Script;
use anyhow::{Context, bail, ensure};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const HEADERS_MAX: usize = 64;
const ANSWER_BYTES_MAX: usize = 1 << 20;
const READ_BYTES: usize = 16 * 1024;

/// A connection that is opened when it is first needed, and again when the server closed it.
#[derive(Debug)]
pub(super) struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
    out: Vec<u8>,
    answer: Vec<u8>,
    found: Vec<u8>,
}

/// What the head of an answer says.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    bytes: usize,
    framing: Framing,
    close: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
}

/// Reads a head, once it is whole.
fn head(bytes: &[u8]) -> anyhow::Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(bytes) = response.parse(bytes)? else { return Ok(None) };
    let mut head = Head {
        status: response.code.unwrap_or(0),
        bytes,
        framing: Framing::Length(0),
        close: false,
    };
    for header in response.headers.iter() {
        head.heed(header)?;
    }
    Ok(Some(head))
}

/// Takes the chunks of a body apart: the body and the bytes it took, once it is whole.
///
/// Trailers are not expected and not understood.
fn dechunk(mut rest: &[u8]) -> anyhow::Result<Option<(Vec<u8>, usize)>> {
    let (whole, mut body) = (rest.len(), Vec::new());
    loop {
        let size = httparse::parse_chunk_size(rest).ok().context("not a chunk size")?;
        let httparse::Status::Complete((line, size)) = size else { return Ok(None) };
        let size = usize::try_from(size)?;
        ensure!(size <= ANSWER_BYTES_MAX, "a chunk over the maximum");
        let Some((chunk, after)) = rest.get(line..).and_then(|from| from.split_at_checked(size))
        else {
            return Ok(None);
        };
        let Some((end, after)) = after.split_at_checked(2) else { return Ok(None) };
        ensure!(end == b"\r\n", "a chunk without its end");
        body.extend_from_slice(chunk);
        rest = after;
        if size == 0 {
            return Ok(Some((body, whole.saturating_sub(rest.len()))));
        }
    }
}

// === impl Connection ===

impl Connection {
    pub(super) fn new(address: SocketAddr) -> Self {
        let (out, answer, found) = (Vec::new(), Vec::with_capacity(READ_BYTES), Vec::new());
        Self { address, stream: None, out, answer, found }
    }

    /// Forgets the connection; the next charge opens another.
    pub(super) fn close(&mut self) {
        self.stream = None;
    }

    /// Sends every request of the script and checks every answer.
    pub(super) async fn charge(&mut self, script: &Script, count: u64) -> anyhow::Result<()> {
        self.found.clear();
        for shot in &script.shots {
            shot.write(count, &self.found, &mut self.out);
            let (status, body) = self.exchange().await?;
            self.found = shot.check(status, &body)?.to_vec();
        }
        Ok(())
    }

    /// Writes what is in `out` and reads one answer.
    async fn exchange(&mut self) -> anyhow::Result<(u16, Vec<u8>)> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(self.address).await.context("cannot connect")?;
            stream.set_nodelay(true)?;
            self.stream = Some(stream);
        }
        self.answer.clear();
        let stream = self.stream.as_mut().context("not connected")?;
        stream.write_all(&self.out).await.context("the request cannot be written")?;
        let head = loop {
            fill(stream, &mut self.answer).await?;
            match head(&self.answer)? {
                Some(head) if head.status >= 200 => break head,
                Some(informational) => drop(self.answer.drain(..informational.bytes)),
                None => {}
            }
        };
        let body = self.body(&head).await?;
        if head.close {
            self.close();
        }
        Ok((head.status, body))
    }

    /// Reads the rest of a body. Nothing may follow it: no other request was sent.
    async fn body(&mut self, head: &Head) -> anyhow::Result<Vec<u8>> {
        let stream = self.stream.as_mut().context("not connected")?;
        loop {
            let rest = self.answer.get(head.bytes..).unwrap_or_default();
            if let Some((body, bytes)) = head.framing.body(rest)? {
                ensure!(bytes == rest.len(), "bytes after the end of the answer");
                return Ok(body);
            }
            fill(stream, &mut self.answer).await?;
        }
    }
}

/// Reads some more, up to the maximum.
async fn fill(stream: &mut TcpStream, answer: &mut Vec<u8>) -> anyhow::Result<()> {
    ensure!(answer.len() < ANSWER_BYTES_MAX, "an answer over the maximum");
    answer.reserve(READ_BYTES);
    if stream.read_buf(answer).await.context("the answer cannot be read")? == 0 {
        bail!("the connection was closed before the answer was whole");
    }
    Ok(())
}

// === impl Head ===

impl Head {
    /// Takes from a header what framing and keep-alive need.
    fn heed(&mut self, header: &httparse::Header<'_>) -> anyhow::Result<()> {
        if header.name.eq_ignore_ascii_case("content-length") {
            let length = std::str::from_utf8(header.value)?.trim().parse()?;
            ensure!(length <= ANSWER_BYTES_MAX, "a content-length over the maximum");
            self.framing = Framing::Length(length);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            ensure!(header.value.eq_ignore_ascii_case(b"chunked"), "a strange transfer-encoding");
            self.framing = Framing::Chunked;
        } else if header.name.eq_ignore_ascii_case("connection") {
            self.close = header.value.eq_ignore_ascii_case(b"close");
        }
        Ok(())
    }
}

// === impl Framing ===

impl Framing {
    /// The body and the bytes it took, once it is whole.
    fn body(self, rest: &[u8]) -> anyhow::Result<Option<(Vec<u8>, usize)>> {
        match self {
            Self::Length(length) => Ok(rest.get(..length).map(|body| (body.to_vec(), length))),
            Self::Chunked => dechunk(rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Framing, dechunk, head};

    #[test]
    fn a_head_says_how_the_body_ends() {
        let table: [(&str, u16, Framing, bool); 3] = [
            ("200 OK\r\nContent-Length: 12\r\n", 200, Framing::Length(12), false),
            ("409 Conflict\r\ntransfer-encoding: chunked\r\n", 409, Framing::Chunked, false),
            ("429 x\r\ncontent-length: 0\r\nconnection: close\r\n", 429, Framing::Length(0), true),
        ];
        for (text, status, framing, close) in table {
            let head = head(format!("HTTP/1.1 {text}\r\n").as_bytes()).unwrap().unwrap();
            assert_eq!((head.status, head.framing, head.close), (status, framing, close));
        }
        assert_eq!(head(b"HTTP/1.1 200 OK\r\ncontent-").unwrap(), None);
        assert!(head(b"SSH-2.0-x\r\n\r\n").is_err());
    }

    #[test]
    fn chunks_are_joined_wherever_the_reading_stopped() {
        let text = b"3;x=y\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n";
        for end in 0..text.len() {
            assert_eq!(dechunk(&text[..end]).unwrap(), None, "{end}");
        }
        let body = b"abc0123456789abcdef".to_vec();
        assert_eq!(dechunk(text).unwrap(), Some((body, text.len())));
    }

    #[test]
    fn broken_chunks_are_errors() {
        for text in ["zz\r\n", "1\r\nabX\r\n", "ffffffff\r\n"] {
            assert!(dechunk(text.as_bytes()).is_err(), "{text}");
        }
    }
}

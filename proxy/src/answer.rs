//! Reads one answer of a provider: HTTP/1.1, as RFC 9112 has it for a client.
//!
//! Pingora's own client makes a buffer of 64 KiB for each body, a map of all headers, and quotes what it
//! cannot read in its errors. Of an answer we need its status, its body, and whether the connection can
//! be used again. An answer is complete or it is an error: nothing that was cut off is handed on.

use bytes::{Buf, Bytes, BytesMut};
use httparse::{Header, ParserConfig, Response, Status};
use pingora::{BError, Error, ErrorType, OrErr};
use std::mem::MaybeUninit;
use tokio::io::{AsyncRead, AsyncReadExt};

/// A complete answer.
pub(crate) struct Received {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
    /// Nothing came behind it, and the provider keeps the connection.
    pub(crate) is_reusable: bool,
}

/// What the head of an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    framing: Framing,
    keeps: bool,
}

/// Where the body ends (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
    /// With the connection.
    ToEnd,
}

/// What the headers say of the body and of the connection.
#[derive(Debug, Default)]
struct Told {
    length: Option<usize>,
    chunked: bool,
    closes: bool,
}

/// What was read from a connection, and the connection.
struct Incoming<'a, S> {
    stream: &'a mut S,
    buffer: BytesMut,
}

/// How many interim (1xx) answers are read before the exchange is given up.
const INTERIM_ANSWERS_MAX: usize = 8;
/// The longest head, and the longest trailer.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// The most headers of an answer.
const HEADERS_MAX: usize = 128;
/// The longest line before a chunk: its length, and extensions that nobody reads.
const CHUNK_LINE_BYTES_MAX: usize = 4 << 10;
/// The usual answer has room in it.
const READ_BYTES: usize = 4 << 10;

/// Reads an answer whose body has `body_bytes_max` bytes at most.
///
/// # Errors
/// The connection ended or failed before the answer did, the answer is not HTTP, or it is too long. No
/// error quotes what was read.
pub(crate) async fn read<S: AsyncRead + Unpin>(
    stream: &mut S,
    body_bytes_max: usize,
) -> Result<Received, BError> {
    let mut incoming = Incoming { stream, buffer: BytesMut::with_capacity(READ_BYTES) };
    for _ in 0..=INTERIM_ANSWERS_MAX {
        let Head { status, framing, keeps } = incoming.take(HEAD_BYTES_MAX, head).await?;
        match status {
            // We never ask for another protocol.
            101 => return broken("an answer that changes the protocol"),
            100..200 => {}
            _ => {
                let body = incoming.body(framing, body_bytes_max).await?;
                let is_reusable = keeps && incoming.buffer.is_empty();
                return Ok(Received { status, body, is_reusable });
            }
        }
    }
    broken("no final answer")
}

/// The head at the beginning of `bytes`, and how long it is. None: it is not complete.
fn head(bytes: &[u8]) -> Result<Option<(usize, Head)>, BError> {
    // An empty line before it is what is left of another answer; the parser would pass over it, and over
    // thousands of them with each one that comes.
    if matches!(bytes.first(), Some(b'\r' | b'\n')) {
        return broken("the head of the answer");
    }
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut response = Response::new(&mut []);
    let mut config = ParserConfig::default();
    // RFC 9112, sections 5.1 and 5.2: whoever receives these reads them as what was meant.
    config.allow_spaces_after_header_name_in_responses(true);
    config.allow_obsolete_multiline_headers_in_responses(true);
    let parsed = config.parse_response_with_uninit_headers(&mut response, bytes, &mut headers);
    match (parsed, response.code, response.version) {
        (Ok(Status::Complete(length)), Some(status), Some(version)) => {
            Head::new(status, version, response.headers).map(|head| Some((length, head)))
        }
        (Ok(Status::Partial), ..) => Ok(None),
        _ => broken("the head of the answer"),
    }
}

/// The length of the chunk at the beginning of `bytes`, and of its line. Nought: it is the last one.
fn chunk_line(bytes: &[u8]) -> Result<Option<(usize, usize)>, BError> {
    // An empty line would be a length of nought, and so the end.
    if bytes.first().is_some_and(|first| !first.is_ascii_hexdigit()) {
        return broken("the length of a chunk");
    }
    match httparse::parse_chunk_size(bytes) {
        Ok(Status::Complete((line, length))) => {
            // What does not fit is over every limit.
            Ok(Some((line, usize::try_from(length).unwrap_or(usize::MAX))))
        }
        Ok(Status::Partial) => Ok(None),
        Err(_) => broken("the length of a chunk"),
    }
}

/// The trailer at the beginning of `bytes`, which nobody reads, as its length. None: it is not complete.
fn trailer(bytes: &[u8]) -> Result<Option<(usize, ())>, BError> {
    match httparse::parse_headers(bytes, &mut [httparse::EMPTY_HEADER; HEADERS_MAX]) {
        Ok(Status::Complete((length, _))) => Ok(Some((length, ()))),
        Ok(Status::Partial) => Ok(None),
        Err(_) => broken("what follows the last chunk"),
    }
}

/// Whether an answer of this status has no body, whatever its head says.
fn is_bodiless(status: u16) -> bool {
    matches!(status, 100..200 | 204 | 304)
}

/// A number of digits, or the same one several times (RFC 9110, section 8.6).
fn content_length(value: &[u8]) -> Result<usize, BError> {
    let mut told = parts(value).map(|part| {
        let digits = std::str::from_utf8(part).ok().filter(|part| !part.starts_with('+'));
        digits.and_then(|digits| digits.parse::<usize>().ok())
    });
    match told.next().flatten() {
        Some(first) if told.all(|other| other == Some(first)) => Ok(first),
        Some(_) | None => broken("the length of the answer"),
    }
}

/// The members of a list.
fn parts(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

fn broken<T>(what: &'static str) -> Result<T, BError> {
    Error::e_explain(ErrorType::InvalidHTTPHeader, what)
}

fn over_the_limit<T>() -> Result<T, BError> {
    broken("the answer is over the limit")
}

// === impl Head ===

impl Head {
    fn new(status: u16, version: u8, headers: &[Header<'_>]) -> Result<Self, BError> {
        if status < 100 {
            return broken("the status of the answer");
        }
        let mut told = Told::default();
        headers.iter().try_for_each(|header| told.add(header))?;
        let framing = told.framing(status);
        let Told { length, chunked, closes } = told;
        // RFC 9112, section 6.3: where both are told, one is not true. A body that is told of and is none
        // may come all the same, and must not be read as the next answer.
        let told_of = chunked || length.is_some_and(|length| length > 0);
        let honest = !(chunked && length.is_some() || told_of && is_bodiless(status));
        let keeps = version == 1 && !closes && honest && framing != Framing::ToEnd;
        Ok(Self { status, framing, keeps })
    }
}

// === impl Told ===

impl Told {
    fn add(&mut self, Header { name, value }: &Header<'_>) -> Result<(), BError> {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        if is("content-length") {
            let length = content_length(value)?;
            if self.length.replace(length).is_some_and(|before| before != length) {
                return broken("two lengths of one answer");
            }
        } else if is("transfer-encoding") {
            // The only one that a client may be sent unasked. Twice would be twice encoded.
            if self.chunked || !value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                return broken("a transfer coding that is not known");
            }
            self.chunked = true;
        } else if is("connection") {
            self.closes |= parts(value).any(|word| word.eq_ignore_ascii_case(b"close"));
        }
        Ok(())
    }

    fn framing(&self, status: u16) -> Framing {
        match (self.chunked, self.length) {
            _ if is_bodiless(status) => Framing::Length(0),
            (true, _) => Framing::Chunked,
            (false, Some(length)) => Framing::Length(length),
            (false, None) => Framing::ToEnd,
        }
    }
}

// === impl Incoming ===

impl<S: AsyncRead + Unpin> Incoming<'_, S> {
    /// Reads what there is, and says whether there was anything before the connection ended.
    async fn read(&mut self) -> Result<bool, BError> {
        if self.buffer.len() == self.buffer.capacity() {
            self.buffer.reserve(READ_BYTES);
        }
        let read = self.stream.read_buf(&mut self.buffer).await;
        Ok(read.or_err(ErrorType::ReadError, "reading the answer")? > 0)
    }

    /// Reads more of something that is not complete.
    async fn more(&mut self) -> Result<(), BError> {
        if self.read().await? {
            return Ok(());
        }
        Error::e_explain(ErrorType::ConnectionClosed, "the connection ended before the answer did")
    }

    /// Takes what `parse` finds at the beginning, once it is complete. It ends with the end of a line.
    async fn take<T>(
        &mut self,
        bytes_max: usize,
        parse: impl Fn(&[u8]) -> Result<Option<(usize, T)>, BError>,
    ) -> Result<T, BError> {
        let mut seen = 0;
        loop {
            // Without the end of a line there is nothing new to find. A long one that comes byte by byte
            // would be read from its beginning with each of them.
            let has_line = self.buffer.iter().skip(seen).any(|byte| *byte == b'\n');
            if has_line && let Some((length, found)) = parse(&self.buffer)? {
                self.buffer.advance(length);
                return Ok(found);
            }
            seen = self.buffer.len();
            if seen >= bytes_max {
                return over_the_limit();
            }
            self.more().await?;
        }
    }

    async fn body(&mut self, framing: Framing, max: usize) -> Result<Bytes, BError> {
        match framing {
            Framing::Length(length) if length > max => over_the_limit(),
            Framing::Length(length) => {
                self.fill(length).await?;
                Ok(self.buffer.split_to(length).freeze())
            }
            Framing::Chunked => self.chunks(max).await,
            Framing::ToEnd => {
                while self.buffer.len() <= max && self.read().await? {}
                if self.buffer.len() > max {
                    return over_the_limit();
                }
                Ok(self.buffer.split().freeze())
            }
        }
    }

    /// Reads until so many bytes are there.
    async fn fill(&mut self, length: usize) -> Result<(), BError> {
        self.buffer.reserve(length.saturating_sub(self.buffer.len()));
        while self.buffer.len() < length {
            self.more().await?;
        }
        Ok(())
    }

    /// RFC 9112, section 7.1.
    async fn chunks(&mut self, max: usize) -> Result<Bytes, BError> {
        let mut body = BytesMut::new();
        loop {
            let length = self.take(CHUNK_LINE_BYTES_MAX, chunk_line).await?;
            if length == 0 {
                self.take(HEAD_BYTES_MAX, trailer).await?;
                return Ok(body.freeze());
            }
            if length > max.saturating_sub(body.len()) {
                return over_the_limit();
            }
            self.fill(length).await?;
            body.extend_from_slice(&self.buffer.split_to(length));
            self.fill(2).await?;
            if self.buffer.split_to(2) != b"\r\n"[..] {
                return broken("the end of a chunk");
            }
        }
    }
}

#[cfg(test)]
mod tests;

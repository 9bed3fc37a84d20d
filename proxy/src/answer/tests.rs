use super::{HEAD_BYTES_MAX, INTERIM_ANSWERS_MAX, Incoming, Received, read};
use bytes::BytesMut;
use pingora::{BError, ErrorType};
use proptest::prelude::*;
use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};

const BODY_BYTES_MAX: usize = 100;

/// A connection that gives a few bytes at a time, and then ends.
struct Pieces<'a> {
    rest: &'a [u8],
    bytes: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let many = self.bytes.min(self.rest.len()).min(buf.remaining());
        let (now, rest) = self.rest.split_at(many);
        buf.put_slice(now);
        self.rest = rest;
        Poll::Ready(Ok(()))
    }
}

fn read_in_pieces(wire: &[u8], bytes: usize) -> Result<Received, BError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(read(&mut Pieces { rest: wire, bytes }, BODY_BYTES_MAX))
}

/// Status, body, and whether the connection can be used again: the same however it is cut.
fn answer(wire: &str) -> (u16, String, bool) {
    let all = [wire.len(), 7, 2, 1].map(|bytes| {
        let Received { status, body, is_reusable } = read_in_pieces(wire.as_bytes(), bytes)
            .unwrap_or_else(|error| panic!("{wire:?}: {error}"));
        (status, String::from_utf8(body.to_vec()).unwrap(), is_reusable)
    });
    // Only what came in one read with the answer is seen to stand behind it.
    assert!(all.iter().all(|one| (one.0, &one.1) == (all[0].0, &all[0].1)), "{wire:?}: {all:?}");
    all[0].clone()
}

fn refused(wire: &str, bytes: usize) -> BError {
    read_in_pieces(wire.as_bytes(), bytes).err().unwrap_or_else(|| panic!("{wire:?} is an answer"))
}

fn error(wire: &str) -> ErrorType {
    let all = [wire.len().max(1), 7, 2, 1].map(|bytes| {
        let error = refused(wire, bytes);
        assert!(!error.to_string().contains("canary"), "{error}");
        error.etype().clone()
    });
    assert!(all.iter().all(|one| *one == all[0]), "{wire:?}: {all:?}");
    all[0].clone()
}

#[test]
fn an_answer_ends_where_its_head_says() {
    let cases = [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", 200, "hi", true),
        ("HTTP/1.1 200\r\nContent-Length:2\r\n\r\nhi", 200, "hi", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 200, "", true),
        ("HTTP/1.1 422 No\r\ncontent-length: 2, 2\r\ncontent-length: 2\r\n\r\nhi", 422, "hi", true),
        ("HTTP/1.1 204 No Content\r\n\r\n", 204, "", true),
        ("HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n", 204, "", true),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nh\r\n1;x=y\r\ni\r\n0\r\n\r\n",
            200,
            "hi",
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\nx: y\r\nz: \r\n\r\n",
            200,
            "",
            true,
        ),
        ("HTTP/1.1 200 OK\r\n\r\nto the end", 200, "to the end", false),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx",
            200,
            "x",
            true,
        ),
        // Old ways to write a header.
        ("HTTP/1.1 200 OK\r\ncontent-length : 2\r\n\r\nhi", 200, "hi", true),
        ("HTTP/1.1 200 OK\r\nx: y\r\n z\r\ncontent-length:\r\n 2\r\n\r\nhi", 200, "hi", true),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding:\r\n\tchunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            200,
            "hi",
            true,
        ),
        // The connection is not used again.
        ("HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n", 304, "", false),
        ("HTTP/1.1 204 No Content\r\ncontent-length: 7\r\n\r\n", 204, "", false),
        ("HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n", 204, "", false),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: x, Close\r\n\r\nhi",
            200,
            "hi",
            false,
        ),
        ("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi", 200, "hi", false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi!", 200, "hi", false),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            200,
            "hi",
            false,
        ),
    ];
    for (wire, status, body, is_reusable) in cases {
        assert_eq!(answer(wire), (status, body.to_owned(), is_reusable), "{wire:?}");
    }
}

#[test]
fn what_was_cut_off_is_no_answer() {
    let wires = [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx: y\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx",
    ];
    for wire in wires {
        for end in 0..wire.len() {
            let cut = wire.get(..end).unwrap();
            assert_eq!(error(cut), ErrorType::ConnectionClosed, "{cut:?}");
        }
    }
}

#[test]
fn what_is_not_http_is_no_answer() {
    let head = |lines: &str| format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\nhi");
    let cases = [
        "canary\r\n\r\n".to_owned(),
        "\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "HTTP/1.1 100 Continue\r\n\r\n\nHTTP/1.1 200 OK\r\n\r\n".to_owned(),
        "HTTP/2 200 OK\r\n\r\n".to_owned(),
        "HTTP/1.1 2x0 canary\r\n\r\n".to_owned(),
        "HTTP/1.1 099 OK\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n".to_owned(),
        head("content-length: canary"),
        head("content-length: +2"),
        head("content-length: -2"),
        head("content-length: "),
        head("content-length: 2,"),
        head("content-length: 2, 3"),
        head("content-length: 99999999999999999999999"),
        head("content-length: 2\r\ncontent-length: 3"),
        head("transfer-encoding: gzip"),
        head("transfer-encoding: gzip, chunked"),
        head("transfer-encoding: chunked\r\ntransfer-encoding: chunked"),
        head("canary"),
        head("can ary: x"),
        format!("{}\r\n\r\nzz\r\n", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked"),
        format!("{}\r\n\r\n\r\n\r\n", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked"),
        format!("{}\r\n\r\n1\r\nhi\r\n", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked"),
        format!("{}\r\n\r\n11111111111111111\r\n", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked"),
        format!("{}\r\n\r\n0\r\ncan ary\r\n\r\n", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked"),
    ];
    for wire in cases {
        assert_eq!(error(&wire), ErrorType::InvalidHTTPHeader, "{wire:?}");
    }
}

#[test]
fn an_answer_has_a_maximum_in_every_part() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let (most, more) = ("x".repeat(BODY_BYTES_MAX), "x".repeat(BODY_BYTES_MAX + 1));
    for body in [
        format!("HTTP/1.1 200 OK\r\ncontent-length: {BODY_BYTES_MAX}\r\n\r\n{most}"),
        format!("HTTP/1.1 200 OK\r\n\r\n{most}"),
        format!(
            "{chunked}1\r\nx\r\n{:x}\r\n{}\r\n0\r\n\r\n",
            BODY_BYTES_MAX - 1,
            "x".repeat(BODY_BYTES_MAX - 1)
        ),
    ] {
        assert_eq!(answer(&body).1, most);
    }
    let long = "x".repeat(HEAD_BYTES_MAX);
    let headers = "x: y\r\n".repeat(200);
    let too_long = [
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", BODY_BYTES_MAX + 1),
        format!("HTTP/1.1 200 OK\r\n\r\n{more}"),
        format!("{chunked}1\r\nx\r\n{BODY_BYTES_MAX:x}\r\n{most}\r\n0\r\n\r\n"),
        format!("{chunked}ffffffffffffffff\r\n"),
        format!("{chunked}1;{}", "x".repeat(8_000)),
        "HTTP/1.1 100 Continue\r\n\r\n".repeat(INTERIM_ANSWERS_MAX + 1),
        format!("HTTP/1.1 200 OK\r\n{headers}\r\n"),
    ];
    for wire in too_long {
        assert_eq!(error(&wire), ErrorType::InvalidHTTPHeader, "{wire:?}");
    }
    // In larger pieces: each is looked at from the beginning.
    for wire in [format!("HTTP/1.1 200 OK\r\nx: {long}"), format!("{chunked}0\r\nx: {long}")] {
        let error = refused(&wire, 4_096);
        assert_eq!(*error.etype(), ErrorType::InvalidHTTPHeader);
    }
}

/// How many bytes are looked at while a part with `lines` lines and many bytes comes byte by byte.
fn looked_at(lines: usize) -> usize {
    let all = [&*"x".repeat(20_000), &*"y\n".repeat(lines)].concat();
    let looked = Cell::new(0);
    let parse = |bytes: &[u8]| {
        looked.set(bytes.len().saturating_add(looked.get()));
        Ok((bytes.len() == all.len()).then_some((all.len(), ())))
    };
    let mut stream = Pieces { rest: all.as_bytes(), bytes: 1 };
    let mut incoming = Incoming { stream: &mut stream, buffer: BytesMut::new() };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(incoming.take(HEAD_BYTES_MAX, parse)).unwrap();
    looked.get()
}

#[test]
fn a_long_line_that_comes_byte_by_byte_is_looked_at_once() {
    assert_eq!(looked_at(1), 20_002);
    assert_eq!(looked_at(2), 20_002 + 20_004);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        head in "(HTTP/1.1 200 OK\r\n(content-length: [0-9]{1,3}|transfer-encoding: chunked)\r\n\r\n)?",
        tail in prop::collection::vec(any::<u8>(), 0..64),
        bytes in 1..80_usize,
    ) {
        let wire = [head.as_bytes(), &tail].concat();
        if let Ok(received) = read_in_pieces(&wire, bytes) {
            prop_assert!(received.body.len() <= BODY_BYTES_MAX);
        }
    }
}

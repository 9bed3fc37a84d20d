//! Checks on the bytes of an HTTP/1 head as they came.
//!
//! A parser that repairs what it reads hides what another reader of the same bytes would see
//! differently: Pingora drops a Content-Length that stands beside Transfer-Encoding, and takes a
//! bare line feed for the end of a line. Both are how requests are smuggled (RFC 9112 section 11.2),
//! so both are refused here, where the bytes still show them.

use crate::reject::Reject;

/// Checks the head of an HTTP/1 request, from the request line to the empty line.
///
/// # Errors
/// When a line does not end as RFC 9112 section 2.2 says, or goes on in the next one, when two headers
/// say how long the body is, or when the target has a fragment.
pub fn check(head: &[u8]) -> Result<(), Reject> {
    let head = head.strip_prefix(b"\r\n").unwrap_or(head);
    // The parser of the target drops what comes after it.
    if head.split(|byte| *byte == b'\n').next().is_some_and(|line| line.contains(&b'#')) {
        return Err(Reject::MalformedPath);
    }
    let (mut has_length, mut has_coding) = (false, false);
    for line in head.split_inclusive(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r\n").ok_or(Reject::MalformedHead)?;
        if line.contains(&b'\r') || matches!(line.first(), Some(b' ' | b'\t')) {
            return Err(Reject::MalformedHead);
        }
        has_length |= is_named(line, b"content-length");
        has_coding |= is_named(line, b"transfer-encoding");
    }
    if has_length && has_coding { Err(Reject::AmbiguousFraming) } else { Ok(()) }
}

/// Whether the line is a header of this name, with or without space before its colon.
fn is_named(line: &[u8], name: &[u8]) -> bool {
    line.split_at_checked(name.len()).is_some_and(|(found, rest)| {
        found.eq_ignore_ascii_case(name)
            && rest.trim_ascii_start().first().is_some_and(|byte| *byte == b':')
    })
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::reject::Reject;
    use proptest::prelude::*;

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        for (head, expected) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Ok(())),
            ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Ok(())),
            ("POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\n", Ok(())),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", Ok(())),
            (
                "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                Err(Reject::AmbiguousFraming),
            ),
            (
                "POST / HTTP/1.1\r\ntransfer-encoding : chunked\r\nCONTENT-LENGTH:1\r\n\r\n",
                Err(Reject::AmbiguousFraming),
            ),
            ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", Err(Reject::MalformedPath)),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: #\r\n\r\n", Ok(())),
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", Err(Reject::MalformedHead)),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", Err(Reject::MalformedHead)),
            ("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", Err(Reject::MalformedHead)),
            ("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", Err(Reject::MalformedHead)),
            ("GET / HTTP/1.1\r\nA: b", Err(Reject::MalformedHead)),
        ] {
            assert_eq!(check(head.as_bytes()), expected, "{head:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(head: Vec<u8>) {
            prop_assert!(check(&head).is_ok() || !head.is_empty());
        }
    }
}

//! Checks on the head of a request alone.
//!
//! They are stricter than RFC 9112 asks of a server, because two programs that read the length of
//! a body differently are how a request is smuggled past one of them: what can be read in two ways
//! is refused, never repaired. Several faults are told in the order of the checks below.

use crate::reject::Reject;

/// The head of a request, as it came.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    pub method: &'a str,
    /// With its query, if there is one.
    pub path: &'a str,
    /// Names in lower case.
    pub headers: &'a [(&'a str, &'a [u8])],
    pub version: Version,
}

/// The version of HTTP that the client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    Http10,
    Http11,
    Http2,
}

/// The largest request that is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub body_bytes_max: usize,
    /// How many headers there may be.
    pub headers_max: usize,
    /// How long names and values of all headers may be together.
    pub header_bytes_max: usize,
    /// How long path and query may be together.
    pub path_bytes_max: usize,
}

/// How long a method may be.
const METHOD_BYTES_MAX: usize = 16;
/// How many digits a length may have: any such number fits an integer.
const LENGTH_DIGITS_MAX: usize = 18;

/// Headers that decide about the request, and of which two are one too many.
const SINGLE: [&str; 8] = [
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "idempotency-key",
    "transfer-encoding",
    "x-api-key",
];

/// Headers about one HTTP/1 connection, which HTTP/2 does not have (RFC 9113 section 8.2.2).
const OF_HTTP1: [&str; 5] =
    ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];

/// Checks what every request must satisfy.
///
/// # Errors
/// The first check that the head does not pass.
pub fn check(head: &Head<'_>, limits: &Limits) -> Result<(), Reject> {
    check_sizes(head, limits)?;
    check_method(head.method)?;
    check_path(head.path)?;
    check_headers(head)?;
    check_framing(head)?;
    check_expectations(head)
}

/// Checks a request that must have a JSON body.
///
/// # Errors
/// The first check that the head does not pass.
pub fn check_body_head(head: &Head<'_>, limits: &Limits) -> Result<(), Reject> {
    if !head.header("content-type").is_some_and(is_json) {
        return Err(Reject::UnsupportedMediaType);
    }
    check_some_body_head(head, limits)
}

/// Checks a request that must have a body of whatever type: providers send what they like.
///
/// # Errors
/// The first check that the head does not pass.
pub fn check_some_body_head(head: &Head<'_>, limits: &Limits) -> Result<(), Reject> {
    if !head.header("content-encoding").is_none_or(|value| is(value, "identity")) {
        return Err(Reject::UnsupportedEncoding);
    }
    match head.length()? {
        Some(length) if length > limits.body_bytes_max => Err(Reject::BodyTooLarge),
        None if head.version != Version::Http2 && head.header("transfer-encoding").is_none() => {
            Err(Reject::LengthRequired)
        }
        _ => Ok(()),
    }
}

/// Checks a request to which no body belongs.
///
/// # Errors
/// When it says that it has one.
pub fn check_no_body(head: &Head<'_>) -> Result<(), Reject> {
    let none = head.header("transfer-encoding").is_none() && head.length()?.is_none_or(|n| n == 0);
    none.then_some(()).ok_or(Reject::UnexpectedBody)
}

fn check_sizes(head: &Head<'_>, limits: &Limits) -> Result<(), Reject> {
    if head.path.len() > limits.path_bytes_max {
        return Err(Reject::PathTooLong);
    }
    let bytes: usize = head
        .headers
        .iter()
        .fold(0, |sum, (name, value)| sum.saturating_add(name.len()).saturating_add(value.len()));
    let fits = head.headers.len() <= limits.headers_max && bytes <= limits.header_bytes_max;
    fits.then_some(()).ok_or(Reject::HeadTooLarge)
}

fn check_method(method: &str) -> Result<(), Reject> {
    let sound = method.len() <= METHOD_BYTES_MAX && is_token(method);
    sound.then_some(()).ok_or(Reject::MalformedHead)
}

/// Refuses what another reader of the path could see as a different path. No path of the API needs
/// percent-encoding, so that none has to be decoded, once or twice.
fn check_path(target: &str) -> Result<(), Reject> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let visible = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
    let sound = path.bytes().all(|b| visible(b) && b != b'%' && b != b'\\')
        && query.bytes().all(visible)
        && path.strip_prefix('/').is_some_and(has_plain_segments);
    sound.then_some(()).ok_or(Reject::MalformedPath)
}

/// Whether no segment is `.` or `..`, and none but the last is empty.
fn has_plain_segments(path: &str) -> bool {
    !path.starts_with('/')
        && !path.contains("//")
        && path.split('/').all(|segment| !matches!(segment, "." | ".."))
}

fn check_headers(head: &Head<'_>) -> Result<(), Reject> {
    for (name, value) in head.headers {
        let name = name.strip_prefix(':').unwrap_or(name);
        let sound = !name.is_empty() && name.bytes().all(is_lower_token_byte);
        if !sound || !value.iter().all(|b| matches!(b, b'\t' | b' '..=b'~' | 0x80..)) {
            return Err(Reject::MalformedHead);
        }
    }
    check_single(head)?;
    check_host(head)
}

fn check_single(head: &Head<'_>) -> Result<(), Reject> {
    let mut seen = [false; SINGLE.len()];
    for (name, _) in head.headers {
        let place = SINGLE.iter().position(|single| single == name);
        if let Some(seen) = place.and_then(|place| seen.get_mut(place))
            && std::mem::replace(seen, true)
        {
            return Err(Reject::DuplicateHeader);
        }
    }
    Ok(())
}

fn check_host(head: &Head<'_>) -> Result<(), Reject> {
    let sound = match head.header("host") {
        None => head.version != Version::Http11,
        Some(host) => host.iter().all(|b| b.is_ascii_graphic() && !b"/?#@\\".contains(b)),
    };
    sound.then_some(()).ok_or(Reject::MalformedHead)
}

fn check_framing(head: &Head<'_>) -> Result<(), Reject> {
    if head.version == Version::Http2 && OF_HTTP1.iter().any(|name| head.header(name).is_some()) {
        return Err(Reject::MalformedHead);
    }
    head.length()?;
    let Some(coding) = head.header("transfer-encoding") else { return Ok(()) };
    if head.header("content-length").is_some() {
        return Err(Reject::AmbiguousFraming);
    }
    let sound = coding == b"chunked" && head.version == Version::Http11;
    sound.then_some(()).ok_or(Reject::TransferCodingRefused)
}

fn check_expectations(head: &Head<'_>) -> Result<(), Reject> {
    if head.header("upgrade").is_some() || head.method == "CONNECT" {
        return Err(Reject::UpgradeRefused);
    }
    let met = head.header("expect").is_none_or(|value| is(value, "100-continue"));
    met.then_some(()).ok_or(Reject::ExpectationFailed)
}

/// Whether a media type is JSON in UTF-8.
fn is_json(value: &[u8]) -> bool {
    let mut parts = value.split(|b| *b == b';').map(<[u8]>::trim_ascii);
    parts.next().is_some_and(|essence| is(essence, "application/json"))
        && parts.all(|part| {
            // RFC 9110 section 5.6.6 allows a semicolon with nothing behind it.
            part.is_empty() || is(part, "charset=utf-8") || is(part, "charset=\"utf-8\"")
        })
}

fn is(value: &[u8], word: &str) -> bool {
    value.eq_ignore_ascii_case(word.as_bytes())
}

/// Whether `text` is a `token` of RFC 9110 section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_uppercase() || is_lower_token_byte(b))
}

/// Whether a byte may be in the name of a header as this module is given it.
fn is_lower_token_byte(b: u8) -> bool {
    matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-')
        || matches!(b, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

// === impl Head ===

impl<'a> Head<'a> {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |(have, _)| *have == name).map(|(_, value)| *value)
    }

    /// The length that the body is said to have.
    fn length(&self) -> Result<Option<usize>, Reject> {
        let Some(value) = self.header("content-length") else { return Ok(None) };
        let sound =
            matches!(value.len(), 1..=LENGTH_DIGITS_MAX) && value.iter().all(u8::is_ascii_digit);
        let digits = std::str::from_utf8(value).ok().filter(|_| sound);
        digits.and_then(|digits| digits.parse().ok()).map(Some).ok_or(Reject::AmbiguousFraming)
    }
}

// === impl Limits ===

impl Limits {
    /// The limits on the head that are not settings, with a limit on the body.
    pub const fn new(body_bytes_max: usize) -> Self {
        Self { body_bytes_max, headers_max: 64, header_bytes_max: 16_384, path_bytes_max: 1_024 }
    }
}

#[cfg(test)]
mod tests {
    use super::{Head, Limits, Version, check, check_body_head, check_no_body};
    use crate::reject::Reject;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits::new(65_536);
    const JSON: (&str, &[u8]) = ("content-type", b"application/json");
    const HOST: (&str, &[u8]) = ("host", b"api.example.com");

    type Headers<'a> = Vec<(&'a str, &'a [u8])>;

    fn head<'a>(path: &'a str, headers: &'a [(&'a str, &'a [u8])], version: Version) -> Head<'a> {
        Head { method: "POST", path, headers, version }
    }

    fn all(head: &Head<'_>) -> Result<(), Reject> {
        check(head, &LIMITS).and_then(|()| check_body_head(head, &LIMITS))
    }

    /// What is said of a POST over HTTP/1.1 with these headers beside `Host`.
    fn said(headers: &[(&'static str, &'static str)]) -> Result<(), Reject> {
        let mut with_host: Headers<'_> = vec![HOST];
        with_host.extend(headers.iter().map(|(name, value)| (*name, value.as_bytes())));
        all(&head("/PaymentGateway/charge", &with_host, Version::Http11))
    }

    #[test]
    fn plain_requests_pass() {
        let json = ("content-type", "application/json");
        for headers in [
            vec![json, ("content-length", "500")],
            vec![json, ("transfer-encoding", "chunked")],
            vec![("content-type", "Application/JSON; charset=UTF-8"), ("content-length", "5")],
            vec![("content-type", "application/json;charset=\"utf-8\""), ("content-length", "5")],
            vec![("content-type", "application/json; charset=utf-8;"), ("content-length", "5")],
            vec![json, ("content-length", "5"), ("content-encoding", "identity")],
            vec![json, ("content-length", "5"), ("expect", "100-Continue")],
            vec![json, ("content-length", "5"), ("accept", "text/html"), ("connection", "close")],
            vec![json, ("content-length", "0"), ("user-agent", "caf\u{e9}")],
        ] {
            assert_eq!(said(&headers), Ok(()), "{headers:?}");
        }
        let headers = [JSON, ("x-api-key", b"ork_test".as_slice())];
        assert_eq!(all(&head("/a?b=c", &headers, Version::Http2)), Ok(()));
    }

    /// The classes of messages by which requests are smuggled past one of two readers.
    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        use Reject::{AmbiguousFraming, DuplicateHeader, TransferCodingRefused};
        let json = ("content-type", "application/json");
        for (headers, reject) in [
            (vec![("content-length", "5"), ("transfer-encoding", "chunked")], AmbiguousFraming),
            (vec![("transfer-encoding", "chunked"), ("content-length", "0")], AmbiguousFraming),
            (vec![("content-length", "5"), ("content-length", "6")], DuplicateHeader),
            (vec![("content-length", "5"), ("content-length", "5")], DuplicateHeader),
            (vec![("content-length", "5, 5")], AmbiguousFraming),
            (vec![("content-length", "+5")], AmbiguousFraming),
            (vec![("content-length", "-5")], AmbiguousFraming),
            (vec![("content-length", " 5")], AmbiguousFraming),
            (vec![("content-length", "0x5")], AmbiguousFraming),
            (vec![("content-length", "")], AmbiguousFraming),
            (vec![("content-length", "9999999999999999999999")], AmbiguousFraming),
            (vec![("transfer-encoding", "Chunked")], TransferCodingRefused),
            (vec![("transfer-encoding", "chunked ")], TransferCodingRefused),
            (vec![("transfer-encoding", "\tchunked")], TransferCodingRefused),
            (vec![("transfer-encoding", "identity")], TransferCodingRefused),
            (vec![("transfer-encoding", "identity, chunked")], TransferCodingRefused),
            (vec![("transfer-encoding", "gzip, chunked")], TransferCodingRefused),
            (vec![("transfer-encoding", "chunked, chunked")], TransferCodingRefused),
            (vec![("transfer-encoding", "xchunked")], TransferCodingRefused),
            (vec![("transfer-encoding", "")], TransferCodingRefused),
            (vec![("transfer-encoding", "chunked"), ("transfer-encoding", "x")], DuplicateHeader),
            (
                vec![("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
                DuplicateHeader,
            ),
            (vec![("content-length", "5"), ("host", "b")], DuplicateHeader),
            (vec![("x-api-key", "a"), ("x-api-key", "b")], DuplicateHeader),
            (vec![("content-length", "5"), ("upgrade", "h2c")], Reject::UpgradeRefused),
            (vec![("content-length", "5"), ("expect", "200-ok")], Reject::ExpectationFailed),
            (vec![("transfer encoding", "chunked")], Reject::MalformedHead),
            (vec![("transfer-encoding ", "chunked")], Reject::MalformedHead),
            (vec![("Transfer-Encoding", "chunked")], Reject::MalformedHead),
            (vec![("x", "a\r\nb: c")], Reject::MalformedHead),
            (vec![("x", "a\0")], Reject::MalformedHead),
            (vec![("x", "a\x7f")], Reject::MalformedHead),
            (vec![("", "a")], Reject::MalformedHead),
        ] {
            let headers: Vec<_> = [vec![json], headers].concat();
            assert_eq!(said(&headers), Err(reject), "{headers:?}");
        }
    }

    #[test]
    fn each_version_has_its_own_framing() {
        let chunked = ("transfer-encoding", b"chunked".as_slice());
        let path = "/PaymentGateway/charge";
        for (headers, version, expected) in [
            (vec![HOST, JSON, chunked], Version::Http10, Err(Reject::TransferCodingRefused)),
            (vec![JSON, ("content-length", b"1")], Version::Http10, Ok(())),
            (vec![JSON, ("content-length", b"1")], Version::Http11, Err(Reject::MalformedHead)),
            (vec![JSON, chunked], Version::Http2, Err(Reject::MalformedHead)),
            (vec![JSON, ("connection", b"close")], Version::Http2, Err(Reject::MalformedHead)),
            (vec![JSON, ("upgrade", b"h2c")], Version::Http2, Err(Reject::MalformedHead)),
            (vec![JSON], Version::Http2, Ok(())),
            (vec![HOST, JSON], Version::Http11, Err(Reject::LengthRequired)),
            (vec![("host", b"a/b".as_slice()), JSON], Version::Http11, Err(Reject::MalformedHead)),
            (vec![("host", b"a@b".as_slice()), JSON], Version::Http11, Err(Reject::MalformedHead)),
        ] {
            assert_eq!(all(&head(path, &headers, version)), expected, "{headers:?} {version:?}");
        }
    }

    #[test]
    fn a_path_has_one_reading() {
        for path in [
            "",
            "*",
            "PaymentGateway",
            "http://a/b",
            "//a",
            "/a//b",
            "/a/./b",
            "/a/../b",
            "/..",
            "/.",
            "/a%2fb",
            "/%61",
            "/a\\b",
            "/a#b",
            "/a b",
            "/a\tb",
            "/a\u{0}b",
            "/a\u{7f}b",
            "/\u{e9}",
            "/a?b c",
            "/a?b#c",
            "/a?\u{1}",
        ] {
            let headers = [HOST];
            let said = check(&head(path, &headers, Version::Http11), &LIMITS);
            assert_eq!(said, Err(Reject::MalformedPath), "{path:?}");
        }
        for path in ["/", "/PaymentGateway", "/PaymentGateway/", "/a?", "/a?b=%2f/../c", "/a.b/..."]
        {
            let headers = [HOST];
            assert_eq!(check(&head(path, &headers, Version::Http11), &LIMITS), Ok(()), "{path:?}");
        }
    }

    #[test]
    fn everything_has_a_maximum() {
        let path = |bytes: usize| format!("/{}", "a".repeat(bytes - 1));
        let value = |bytes: usize| vec![b'a'; bytes - "host".len() - HOST.1.len() - "x".len()];
        let said = |path: &str, headers: &Headers<'_>| {
            check(&head(path, headers, Version::Http11), &LIMITS)
        };
        assert_eq!(said(&path(1_024), &vec![HOST]), Ok(()));
        assert_eq!(said(&path(1_025), &vec![HOST]), Err(Reject::PathTooLong));
        assert_eq!(said("/", &vec![HOST, ("x", &value(16_384))]), Ok(()));
        assert_eq!(said("/", &vec![HOST, ("x", &value(16_385))]), Err(Reject::HeadTooLarge));
        let many = |n: usize| [vec![HOST], vec![("x", b"".as_slice()); n - 1]].concat();
        assert_eq!(said("/", &many(64)), Ok(()));
        assert_eq!(said("/", &many(65)), Err(Reject::HeadTooLarge));
        for (length, expected) in [("65536", Ok(())), ("65537", Err(Reject::BodyTooLarge))] {
            let headers = [HOST, JSON, ("content-length", length.as_bytes())];
            assert_eq!(all(&head("/", &headers, Version::Http11)), expected);
        }
    }

    #[test]
    fn only_json_in_utf8_without_a_coding_is_a_body() {
        for (content_type, expected) in [
            ("application/json", Ok(())),
            ("text/plain", Err(Reject::UnsupportedMediaType)),
            ("application/jsonp", Err(Reject::UnsupportedMediaType)),
            ("application/json; charset=latin1", Err(Reject::UnsupportedMediaType)),
            ("application/json; boundary=x", Err(Reject::UnsupportedMediaType)),
            ("application/json, text/plain", Err(Reject::UnsupportedMediaType)),
            ("", Err(Reject::UnsupportedMediaType)),
        ] {
            let length = ("content-length", "5");
            assert_eq!(said(&[("content-type", content_type), length]), expected, "{content_type}");
        }
        assert_eq!(said(&[("content-length", "5")]), Err(Reject::UnsupportedMediaType));
        let json = ("content-type", "application/json");
        for coding in ["gzip", "br", "identity, gzip", ""] {
            let headers = [json, ("content-length", "5"), ("content-encoding", coding)];
            assert_eq!(said(&headers), Err(Reject::UnsupportedEncoding), "{coding}");
        }
        let two = [json, json, ("content-length", "5")];
        assert_eq!(said(&two), Err(Reject::DuplicateHeader));
    }

    #[test]
    fn a_body_where_none_belongs_is_refused() {
        for (headers, expected) in [
            (vec![HOST], Ok(())),
            (vec![HOST, ("content-length", b"0".as_slice())], Ok(())),
            (vec![HOST, ("content-length", b"1")], Err(Reject::UnexpectedBody)),
            (vec![HOST, ("transfer-encoding", b"chunked")], Err(Reject::UnexpectedBody)),
        ] {
            assert_eq!(check_no_body(&head("/", &headers, Version::Http11)), expected);
        }
    }

    #[test]
    fn methods_are_tokens() {
        for (method, expected) in [
            ("PATCH", Ok(())),
            ("get", Ok(())),
            ("", Err(Reject::MalformedHead)),
            ("G ET", Err(Reject::MalformedHead)),
            ("AAAAAAAAAAAAAAAAA", Err(Reject::MalformedHead)),
            ("CONNECT", Err(Reject::UpgradeRefused)),
        ] {
            let head = Head { method, path: "/", headers: &[HOST], version: Version::Http11 };
            assert_eq!(check(&head, &LIMITS), expected, "{method}");
        }
    }

    proptest! {
        #[test]
        fn no_head_makes_it_panic(
            method in "\\PC{0,20}",
            path in "\\PC{0,60}",
            headers in proptest::collection::vec(("\\PC{0,20}", any::<Vec<u8>>()), 0..8),
            length in "\\PC{0,30}",
        ) {
            let mut borrowed: Headers<'_> =
                headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
            borrowed.push(("content-length", length.as_bytes()));
            borrowed.push(("content-length", length.as_bytes()));
            for version in [Version::Http10, Version::Http11, Version::Http2] {
                let head = Head { method: &method, path: &path, headers: &borrowed, version };
                let said =
                    [check(&head, &LIMITS), check_body_head(&head, &LIMITS), check_no_body(&head)];
                prop_assert!(said.into_iter().any(|said| said.is_err()), "one length too many");
            }
        }

        /// Whatever passes has one length that everyone reads alike.
        #[test]
        fn what_passes_is_framed_once(
            lengths in proptest::collection::vec("[ 0-9,x]{0,3}", 0..3),
            codings in proptest::collection::vec("chunked|identity|[ ,a-z]{0,8}", 0..3),
        ) {
            let mut headers: Headers<'_> = vec![HOST, JSON];
            headers.extend(lengths.iter().map(|value| ("content-length", value.as_bytes())));
            headers.extend(codings.iter().map(|value| ("transfer-encoding", value.as_bytes())));
            if all(&head("/", &headers, Version::Http11)).is_ok() {
                prop_assert_eq!(lengths.len().saturating_add(codings.len()), 1);
                let sound = lengths.iter().all(|n| n.parse::<usize>().is_ok())
                    && codings.iter().all(|coding| coding == "chunked");
                prop_assert!(sound, "{:?} {:?}", lengths, codings);
            }
        }
    }
}

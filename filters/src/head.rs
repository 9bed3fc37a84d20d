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
const SINGLE: [&str; 7] = [
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
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
        let lower = name.strip_prefix(':').unwrap_or(name);
        let sound = is_token(lower) && !lower.bytes().any(|b| b.is_ascii_uppercase());
        if !sound || !value.iter().all(|b| matches!(b, b'\t' | b' '..=b'~' | 0x80..)) {
            return Err(Reject::MalformedHead);
        }
    }
    if SINGLE.iter().any(|name| head.all(name).nth(1).is_some()) {
        return Err(Reject::DuplicateHeader);
    }
    check_host(head)
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
        && parts.all(|part| is(part, "charset=utf-8") || is(part, "charset=\"utf-8\""))
}

fn is(value: &[u8], word: &str) -> bool {
    value.eq_ignore_ascii_case(word.as_bytes())
}

/// Whether `text` is a `token` of RFC 9110 section 5.6.2.
fn is_token(text: &str) -> bool {
    let of_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(of_token)
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

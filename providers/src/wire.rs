//! HTTP as providers see it: a request to write and an answer to read, without a socket.
//!
//! Whatever may hold a card or a credential is wiped when it goes and prints as a length.

use model::{Cvv, Outcome, Pan, Rejected, Secret, Unknown, Wiped};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use std::{fmt, io};

mod basic;
pub(crate) mod xml;

/// How many bytes of a provider's own words are kept.
pub const SAID_BYTES_MAX: usize = 255;

/// As many digits in a row as a card number has at least.
const DIGITS_SHOWN_MAX: usize = 11;

/// How many characters may stand between two digits of what could be one number.
const GAP_CHARS_MAX: usize = 2;

/// What a fresh body has room for: more than all but the longest of our requests. All of it is wiped
/// when the body goes.
const BODY_BYTES_AT_FIRST: usize = 1024;

/// Everything but the unreserved characters of RFC 3986 section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A request to be sent to a provider.
pub struct Request {
    pub method: Method,
    /// The host name, such as `api.stripe.com`.
    pub authority: String,
    /// The path with its query.
    pub path: String,
    pub headers: Vec<(&'static str, HeaderText)>,
    pub body: Body,
    /// Whether money can have moved once this request was sent and its answer lost.
    pub moves_money: bool,
}

/// The methods that providers ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
}

/// The value of a header: visible ASCII and spaces. It may be secret.
pub struct HeaderText(Secret);

/// Bytes that may hold a card number.
#[derive(Default)]
pub struct Body(Wiped);

/// What came back.
#[derive(Clone, Copy)]
pub struct Answer<'a> {
    pub status: u16,
    pub body: &'a [u8],
}

/// Writes `application/x-www-form-urlencoded`. Values are always encoded.
pub struct Form(Body);

/// The text cannot be the value of a header.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the value of a header")]
pub struct NotHeaderText(());

/// Joins path segments. Segments are always encoded, so that a reference cannot climb out of its
/// place; a segment of dots alone has its dots encoded too.
pub fn path(segments: &[&str]) -> String {
    let mut out = String::new();
    for segment in segments {
        out.push('/');
        if segment.bytes().all(|b| b == b'.') {
            out.push_str(&segment.replace('.', "%2E"));
        } else {
            out.extend(utf8_percent_encode(segment, RESERVED));
        }
    }
    out
}

/// Puts a query behind a path. Names and values are always encoded.
pub fn query(path: &str, pairs: &[(&str, &str)]) -> String {
    let mut out = path.to_owned();
    for (nth, (name, value)) in pairs.iter().enumerate() {
        out.push(if nth == 0 { '?' } else { '&' });
        out.extend(utf8_percent_encode(name, RESERVED));
        out.push('=');
        out.extend(utf8_percent_encode(value, RESERVED));
    }
    out
}

/// A provider's own words, cleaned: printable, without anything that could be a card number, and
/// at most [`SAID_BYTES_MAX`] bytes.
///
/// A run of twelve or more digits is masked, also where up to two characters that are neither
/// letters nor digits stand between them.
pub fn said(text: &str) -> Option<Box<str>> {
    if is_plain(text) {
        // The usual case: a code or a short sentence, which there is nothing to clean of.
        let text = text.trim_matches(' ');
        return (!text.is_empty()).then(|| text.into());
    }
    let mut clean: Vec<char> =
        text.chars().map(|c| if is_printable(c) { c } else { ' ' }).collect();
    mask_numbers(&mut clean);
    let clean: String = clean.into_iter().collect();
    let clean = clean.trim();
    let kept = clean.get(..clean.floor_char_boundary(SAID_BYTES_MAX)).unwrap_or_default();
    (!kept.is_empty()).then(|| kept.trim_end().into())
}

/// Whether a text is short, of visible ASCII, and has too few digits to hold a card number.
fn is_plain(text: &str) -> bool {
    text.len() <= SAID_BYTES_MAX
        && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        && text.bytes().filter(u8::is_ascii_digit).count() <= DIGITS_SHOWN_MAX
}

/// The first `chars_max` characters of a text.
pub(crate) fn cut(text: &str, chars_max: usize) -> &str {
    text.char_indices().nth(chars_max).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

/// Whether the character shows itself and changes nothing around it.
fn is_printable(c: char) -> bool {
    !c.is_control() && !c.is_whitespace() && (c.is_ascii() || c.is_alphanumeric()) || c == ' '
}

fn mask_numbers(text: &mut [char]) {
    let mut run: Vec<usize> = Vec::new();
    let mut gap = 0_usize;
    let places: Vec<char> = text.to_vec();
    for (place, c) in places.into_iter().enumerate() {
        if c.is_numeric() {
            run.push(place);
            gap = 0;
        } else if c.is_alphabetic() || gap >= GAP_CHARS_MAX {
            mask_run(text, &mut run);
        } else {
            gap = gap.saturating_add(1);
        }
    }
    mask_run(text, &mut run);
}

fn mask_run(text: &mut [char], run: &mut Vec<usize>) {
    if run.len() > DIGITS_SHOWN_MAX {
        for place in run.iter() {
            if let Some(c) = text.get_mut(*place) {
                *c = '*';
            }
        }
    }
    run.clear();
}

// === impl Request ===

impl Request {
    /// A request that may move money.
    pub fn post(authority: impl Into<String>, path: String, body: Body) -> Self {
        let (method, authority, headers) = (Method::Post, authority.into(), Vec::new());
        Self { method, authority, path, headers, body, moves_money: true }
    }

    /// A request that only asks.
    pub fn get(authority: impl Into<String>, path: String) -> Self {
        let (method, authority, headers) = (Method::Get, authority.into(), Vec::new());
        Self { method, authority, path, headers, body: Body::empty(), moves_money: false }
    }

    /// Says that this request prepares something and moves no money.
    #[must_use]
    pub fn harmless(mut self) -> Self {
        self.moves_money = false;
        self
    }

    /// Adds a header. Names are lower case.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: HeaderText) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// Header values may hold credentials, the body a card number and the query a reference: none is
/// shown.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.split_once('?').map_or(&*self.path, |(path, _)| path);
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("authority", &self.authority)
            .field("path", &path)
            .field("headers", &self.headers.len())
            .field("body", &self.body)
            .field("moves_money", &self.moves_money)
            .finish()
    }
}

// === impl Method ===

impl Method {
    /// The method as HTTP writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

// === impl HeaderText ===

impl HeaderText {
    /// Puts the parts together, in one allocation of the right size.
    ///
    /// # Errors
    /// When the result is empty or has a character that could end the header.
    pub fn new(parts: &[&str]) -> Result<Self, NotHeaderText> {
        let visible = |part: &&str| part.bytes().all(|b| matches!(b, b' '..=b'~'));
        let empty = parts.iter().all(|part| part.is_empty());
        if empty || !parts.iter().all(visible) {
            return Err(NotHeaderText(()));
        }
        Ok(Self(Secret::new(parts.concat())))
    }

    /// A header that is the same in every request.
    ///
    /// # Panics
    /// When `text` is not visible ASCII, which a test of the provider sees.
    pub(crate) fn of(text: &'static str) -> Self {
        Self::new(&[text]).expect("the program's own header values are visible ASCII")
    }

    /// The value in the clear. Callers say why, in a comment, at each call.
    pub fn expose(&self) -> &str {
        // Only the name of the door changes: who calls it says why.
        self.0.expose()
    }
}

impl fmt::Debug for HeaderText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeaderText(…)")
    }
}

// === impl Body ===

impl Body {
    /// No bytes at all.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Room for a request.
    fn roomy() -> Self {
        Self(Wiped::with_capacity(BODY_BYTES_AT_FIRST))
    }

    /// Writes `value` straight into the body: nothing on the way holds a copy.
    pub fn json<T: Serialize>(value: &T) -> Self {
        let mut body = Self::roomy();
        serde_json::to_writer(&mut body, value).expect("writing to memory cannot fail");
        body
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[inline]
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl io::Write for Body {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.push(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.0.len())
    }
}

// === impl Answer ===

impl<'a> Answer<'a> {
    /// What the status alone decides, the same for every provider.
    pub fn by_status(&self) -> Option<Outcome> {
        match self.status {
            401 | 403 => Some(Outcome::Rejected(Rejected::Credentials)),
            429 => Some(Outcome::Rejected(Rejected::RateLimited)),
            500.. => Some(Outcome::Unknown(Unknown::UpstreamFailed)),
            _ => None,
        }
    }

    /// Reads the body, or nothing. The parser's error is dropped on purpose: it quotes the input.
    pub fn json<T: Deserialize<'a>>(&self) -> Option<T> {
        match str::from_utf8(self.body) {
            // As a text it is looked at once for what is no character, and not in each string.
            Ok(text) => serde_json::from_str(text).ok(),
            // What is no text may still be so in a string that nobody reads.
            Err(_) => serde_json::from_slice(self.body).ok(),
        }
    }
}

impl fmt::Debug for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({}, {} bytes)", self.status, self.body.len())
    }
}

// === impl Form ===

impl Form {
    /// An empty form.
    pub fn new() -> Self {
        Self(Body::roomy())
    }

    /// Adds a pair. `name` is ours and written as it is, brackets included.
    #[must_use]
    pub fn pair(mut self, name: &'static str, value: &str) -> Self {
        if !self.0.is_empty() {
            self.0.push(b"&");
        }
        self.0.push(name.as_bytes());
        self.0.push(b"=");
        for chunk in utf8_percent_encode(value, RESERVED) {
            self.0.push(chunk.as_bytes());
        }
        self
    }

    /// Adds a pair where there is a value.
    #[must_use]
    pub fn pair_if(self, name: &'static str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.pair(name, value),
            None => self,
        }
    }

    /// The one place where a card number enters a form.
    #[must_use]
    pub fn pan(self, name: &'static str, pan: &Pan) -> Self {
        // The number is exposed because the provider can only charge a card that it is told.
        self.pair(name, pan.expose())
    }

    /// The one place where a card verification value enters a form.
    #[must_use]
    pub fn cvv(self, name: &'static str, cvv: Option<&Cvv>) -> Self {
        // The value is exposed because the issuer checks it; it is in this request and no other.
        self.pair_if(name, cvv.map(Cvv::expose))
    }

    /// The one place where another secret enters a form.
    #[must_use]
    pub fn secret(self, name: &'static str, secret: &Secret) -> Self {
        // The text is exposed because this request is the one that carries it.
        self.pair(name, secret.expose())
    }

    /// The form as a body.
    pub fn into_body(self) -> Body {
        self.0
    }
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Form({} bytes)", self.0.len())
    }
}

impl Default for Form {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Answer, Body, Form, HeaderText, Method, Request, SAID_BYTES_MAX, cut, path, query, said,
    };
    use model::{Cvv, Outcome, Pan, Rejected, Secret, Unknown};
    use proptest::prelude::*;

    #[test]
    fn a_segment_cannot_climb_out_of_its_place() {
        for (segment, expected) in [
            ("pi_3Nx", "/v1/pi_3Nx"),
            ("../x", "/v1/..%2Fx"),
            ("..", "/v1/%2E%2E"),
            (".", "/v1/%2E"),
            ("", "/v1/"),
            ("a?b#c", "/v1/a%3Fb%23c"),
            ("%2f", "/v1/%252f"),
            ("a\r\nb", "/v1/a%0D%0Ab"),
            ("é", "/v1/%C3%A9"),
        ] {
            assert_eq!(path(&["v1", segment]), expected);
        }
    }

    #[test]
    fn a_value_cannot_begin_another_pair() {
        let form = Form::new().pair("a[b]", "1&c=2").pair("d", "é =").pair_if("e", None);
        assert_eq!(form.into_body().as_ref(), "a[b]=1%26c%3D2&d=%C3%A9%20%3D".as_bytes());
        let path = query("/v1/x", &[("expand[]", "y"), ("q", "a&b=c#d")]);
        assert_eq!(path, "/v1/x?expand%5B%5D=y&q=a%26b%3Dc%23d");
    }

    #[test]
    fn a_body_that_outgrows_its_room_is_still_whole() {
        let long = "x".repeat(10_000);
        let pan = Pan::parse("4242424242424242").unwrap();
        let form = Form::new().pan("n", &pan).pair("a", &long).pair("b", &long);
        let body = form.into_body();
        assert_eq!(body.as_ref(), format!("n=4242424242424242&a={long}&b={long}").as_bytes());
        let json = Body::json(&[long.as_str(), "4242424242424242"]);
        assert_eq!(json.as_ref(), format!("[\"{long}\",\"4242424242424242\"]").as_bytes());
        assert_eq!((json.len(), json.is_empty()), (10_023, false));
    }

    #[test]
    fn what_is_no_text_is_passed_over_where_nobody_reads_it() {
        #[derive(serde::Deserialize)]
        struct Read {
            id: String,
        }
        let read = |body: &[u8]| Answer { status: 200, body }.json::<Read>().map(|read| read.id);
        assert_eq!(read(b"{\"id\":\"\xc3\xa9\",\"x\":\"\"}"), Some("é".to_owned()));
        assert_eq!(read(b"{\"id\":\"a\",\"x\":\"\xe9\"}"), Some("a".to_owned()));
        assert_eq!(read(b"{\"id\":\"\xe9\",\"x\":\"\"}"), None);
    }

    #[test]
    fn a_header_cannot_end_early() {
        // The value is exposed because it is what is tested.
        assert_eq!(HeaderText::new(&["Bearer ", "sk_1"]).unwrap().expose(), "Bearer sk_1");
        for text in ["", "a\r\nb", "a\nb", "a\0", "ü", "a\tb", "\u{7f}"] {
            assert!(HeaderText::new(&[text]).is_err(), "{text:?}");
        }
    }

    #[test]
    fn nothing_here_prints_what_it_holds() {
        let pan = Pan::parse("4242424242424242").unwrap();
        let cvv = Cvv::parse("7371").unwrap();
        let form =
            Form::new().pan("n", &pan).cvv("c", Some(&cvv)).secret("s", &Secret::new("xyzzy"));
        let shown = format!("{form:?}");
        let header = HeaderText::new(&["Bearer ", "xyzzy"]).unwrap();
        let answer = Answer { status: 200, body: b"xyzzy" };
        let request =
            Request::post("api.example", query("/x", &[("q", "xyzzy")]), form.into_body())
                .header("authorization", header);
        let shown = format!("{shown} {request:?} {answer:?}");
        for secret in ["4242", "7371", "xyzzy", "120, 121"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(shown.contains("/x") && shown.contains("bytes"), "{shown}");
    }

    #[test]
    fn a_post_may_move_money_unless_it_says_otherwise() {
        let post = || Request::post("api.example", path(&["x"]), Body::empty());
        assert!(post().moves_money && !post().harmless().moves_money);
        let get = Request::get("api.example", path(&["x"]));
        assert!(!get.moves_money && get.body.is_empty());
        assert_eq!((get.method.as_str(), Method::Post.as_str()), ("GET", "POST"));
    }

    #[test]
    fn a_status_alone_decides_little() {
        for (status, expected) in [
            (200, None),
            (302, None),
            (400, None),
            (401, Some(Outcome::Rejected(Rejected::Credentials))),
            (402, None),
            (403, Some(Outcome::Rejected(Rejected::Credentials))),
            (429, Some(Outcome::Rejected(Rejected::RateLimited))),
            (499, None),
            (500, Some(Outcome::Unknown(Unknown::UpstreamFailed))),
            (599, Some(Outcome::Unknown(Unknown::UpstreamFailed))),
        ] {
            assert_eq!(Answer { status, body: b"" }.by_status(), expected, "{status}");
        }
    }

    #[test]
    fn words_are_kept_and_numbers_are_masked() {
        for (text, expected) in [
            ("Do not honor", Some("Do not honor")),
            ("  Abgelehnt für 5 €  ", Some("Abgelehnt für 5")),
            ("05 : 2026-11-22", Some("05 : 2026-11-22")),
            ("card 4242424242424242 no", Some("card **************** no")),
            ("4242 4242-4242.4242", Some("**** ****-****.****")),
            ("4242 - 42424242", Some("4242 - 42424242")),
            ("4 2 4 2 4 2 4 2 4 2 4 2", Some("* * * * * * * * * * * *")),
            ("12345678901", Some("12345678901")),
            ("١٢٣٤٥٦٧٨٩٠١٢", Some("************")),
            ("42424242\u{200b}4242", Some("******** ****")),
            ("a\r\nb\0c", Some("a  b c")),
            ("", None),
            (" \n ", None),
        ] {
            assert_eq!(said(text).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn texts_are_cut_at_characters() {
        assert_eq!((cut("äöü", 2), cut("äöü", 3), cut("", 3)), ("äö", "äöü", ""));
    }

    proptest! {
        #[test]
        fn what_is_said_is_short_printable_and_without_a_number(text in "\\PC{0,400}|[0-9 -]{0,400}") {
            if let Some(clean) = said(&text) {
                prop_assert!(!clean.is_empty() && clean.len() <= SAID_BYTES_MAX);
                prop_assert!(!clean.chars().any(char::is_control));
                let runs = clean.split(|c: char| !c.is_numeric());
                prop_assert!(runs.map(|run| run.chars().count()).max() < Some(12), "{clean}");
            }
        }

        #[test]
        fn a_card_number_is_masked_wherever_it_stands(
            before in "[ a-z0-9:]{0,300}", gap in "[ -]{0,2}", after in "[ a-z0-9:]{0,20}",
        ) {
            let number = ["4242", "4242", "4242", "4242"].join(&gap);
            let clean = said(&format!("{before}{number}{after}")).unwrap_or_default();
            prop_assert!(!clean.contains(&*format!("4242{gap}4242")), "{clean}");
        }

        #[test]
        fn a_form_is_read_back(pairs in proptest::collection::vec("\\PC{0,40}", 0..6)) {
            let form = pairs.iter().fold(Form::new(), |form, value| form.pair("n", value));
            let body = form.into_body();
            let text = std::str::from_utf8(body.as_ref()).unwrap();
            let read: Vec<String> = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
                let (_, value) = pair.split_once('=').unwrap();
                percent_encoding::percent_decode_str(value).decode_utf8().unwrap().into_owned()
            }).collect();
            prop_assert_eq!(read, pairs);
        }
    }
}

//! What one charge is on the wire: requests prepared as bytes, and what their answers must be.

use anyhow::{Context, bail, ensure};

/// The requests of one charge, sent one after the other on one connection.
#[derive(Clone, Debug)]
pub struct Script {
    pub shots: Vec<Shot>,
}

/// One request, ready but for its holes.
///
/// In head and body, `{count}` stands for 16 digits that no other charge of the run has, and
/// `{found}` for what the answer before this one yielded.
#[derive(Clone, Debug)]
pub struct Shot {
    head: Vec<Piece>,
    body: Vec<Piece>,
    expect: Expect,
}

/// What makes an answer the right one.
#[derive(Clone, Debug)]
pub struct Expect {
    pub status: u16,
    /// Bytes that the body must have; at least one.
    pub marker: Vec<u8>,
    /// The prefix of a word that the next request needs, such as `pm_`.
    pub yields: Option<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Bytes(Vec<u8>),
    Count,
    Found,
}

/// Cuts a template at its holes.
fn pieces(template: &[u8]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while !rest.is_empty() {
        let (bytes, hole, after) = next_hole(rest);
        pieces.push(Piece::Bytes(bytes.to_vec()));
        pieces.extend(hole);
        rest = after;
    }
    pieces
}

/// What stands before the first hole, the hole, and what follows it.
fn next_hole(template: &[u8]) -> (&[u8], Option<Piece>, &[u8]) {
    let holes = [(b"{count}", Piece::Count), (b"{found}", Piece::Found)];
    let first = holes
        .into_iter()
        .filter_map(|(name, piece)| find(template, name).map(|at| (at, name.len(), piece)))
        .min_by_key(|(at, ..)| *at);
    let Some((at, len, piece)) = first else { return (template, None, &[]) };
    let (before, from) = template.split_at(at);
    (before, Some(piece), from.get(len..).unwrap_or_default())
}

/// Where `needle`, which is not empty, begins in `haystack`.
fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len().max(1)).position(|window| window == needle)
}

/// Writes the pieces with their holes filled.
fn fill(pieces: &[Piece], count: u64, found: &[u8], out: &mut Vec<u8>) {
    for piece in pieces {
        match piece {
            Piece::Bytes(bytes) => out.extend_from_slice(bytes),
            Piece::Count => out.extend_from_slice(format!("{count:016}").as_bytes()),
            Piece::Found => out.extend_from_slice(found),
        }
    }
}

// === impl Shot ===

impl Shot {
    /// Prepares a request. `head` is the request line and the header lines, each with its CRLF and
    /// without `content-length`, which is added when the holes are filled.
    pub fn new(head: &[u8], body: &[u8], expect: Expect) -> Self {
        Self { head: pieces(head), body: pieces(body), expect }
    }

    /// Writes it for the charge `count`.
    pub fn write(&self, count: u64, found: &[u8], out: &mut Vec<u8>) {
        let mut body = Vec::new();
        fill(&self.body, count, found, &mut body);
        out.clear();
        fill(&self.head, count, found, out);
        out.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
        out.extend_from_slice(&body);
    }

    /// How many bytes it has on the wire, with nothing found.
    pub fn bytes(&self) -> usize {
        let mut out = Vec::new();
        self.write(0, &[], &mut out);
        out.len()
    }

    /// Checks an answer and takes from it what the next request needs.
    ///
    /// # Errors
    /// The answer is not the expected one. The text says what differs, without its body.
    pub fn check<'a>(&self, status: u16, body: &'a [u8]) -> anyhow::Result<&'a [u8]> {
        ensure!(status == self.expect.status, "status {status}, not {}", self.expect.status);
        if find(body, &self.expect.marker).is_none() {
            bail!("no {} in the answer", String::from_utf8_lossy(&self.expect.marker));
        }
        let Some(prefix) = &self.expect.yields else { return Ok(&[]) };
        word(body, prefix).context("the answer lacks what the next request needs")
    }
}

/// The first word of letters, digits and `_` in `body` that begins with `prefix`.
fn word<'a>(body: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let from = body.get(find(body, prefix)?..)?;
    let len = from.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
    from.get(..len)
}

#[cfg(test)]
mod tests {
    use super::{Expect, Shot};

    fn expecting(marker: &str, yields: Option<&str>) -> Expect {
        Expect { status: 200, marker: marker.into(), yields: yields.map(Into::into) }
    }

    #[test]
    fn holes_are_filled_and_the_length_is_that_of_the_filled_body() {
        let head = b"POST /{count} HTTP/1.1\r\nhost: a\r\n";
        let shot = Shot::new(head, b"{found}={count}", expecting("yes", None));
        let mut out = Vec::new();
        shot.write(42, b"pm_1", &mut out);
        let expected = "POST /0000000000000042 HTTP/1.1\r\nhost: a\r\ncontent-length: 21\r\n\r\n\
                        pm_1=0000000000000042";
        assert_eq!(String::from_utf8_lossy(&out), expected);
        assert_eq!(shot.bytes(), expected.len() - "pm_1".len());
    }

    #[test]
    fn braces_that_are_no_holes_are_left_alone() {
        let shot = Shot::new(b"", br#"{"counts":{"a":1}}"#, expecting("yes", None));
        let mut out = Vec::new();
        shot.write(1, b"", &mut out);
        assert!(out.ends_with(br#"{"counts":{"a":1}}"#));
    }

    #[test]
    fn only_the_expected_answer_passes() {
        let shot = Shot::new(b"", b"", expecting("Authorised", None));
        assert!(shot.check(200, br#"{"resultCode":"Authorised"}"#).is_ok());
        assert!(shot.check(200, br#"{"resultCode":"Refused"}"#).is_err());
        assert!(shot.check(201, br#"{"resultCode":"Authorised"}"#).is_err());
    }

    #[test]
    fn an_answer_yields_the_word_that_the_next_request_needs() {
        let shot = Shot::new(b"", b"", expecting("id", Some("pm_")));
        assert_eq!(shot.check(200, br#"{"id": "pm_1aB","x":1}"#).unwrap(), b"pm_1aB");
        assert!(shot.check(200, br#"{"id": "pi_1aB"}"#).is_err());
    }
}

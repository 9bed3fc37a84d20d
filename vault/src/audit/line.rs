//! One line of the log: how an event is written, and what its hash is of.
//!
//! The hash is SHA-256 over the bytes of the line as they stand, up to the field `hash`, which is
//! the last. The hash of the line before is one of the fields, so each line fixes all before it.

use super::head::Head;
use super::segment::Tail;
use super::{Actor, Event, Outcome};
use crate::UnixMillis;
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::net::IpAddr;

/// How long a line may be, in bytes, the newline included.
pub(super) const LINE_BYTES_MAX: usize = 2_048;
/// How much of an object or name is written, in bytes: what is longer is cut.
const TEXT_BYTES_MAX: usize = 96;
/// From how many digits in a row they are not written: it could be a card number.
const DIGITS_MAX: usize = 12;
/// What makes these hashes differ from all others.
const DOMAIN: &[u8] = b"orchestra/1 audit line\n";
/// What stands between the hashed bytes and the hash.
const HASH: &str = ",\"hash\":\"";

/// The hash of a line.
pub(crate) type Hash = [u8; 32];

/// The hash that the first line says of the one before it.
pub(super) const NONE_BEFORE: Hash = [0; 32];

/// Everything of a line but its own hash, in the order in which it is written.
#[derive(Serialize)]
struct Written<'a> {
    sequence: u64,
    time: String,
    action: &'static str,
    requirement: &'static str,
    actor: ActorWritten<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    merchant: Option<&'a str>,
    object: String,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<OriginWritten>,
    #[serde(skip_serializing_if = "Option::is_none")]
    head: Option<&'a Head>,
    previous: String,
}

#[derive(Serialize)]
struct ActorWritten<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

#[derive(Serialize)]
struct OriginWritten {
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<String>,
}

/// Appends the line of an event to `buffer`, and returns its hash.
pub(super) fn write(
    buffer: &mut Vec<u8>,
    sequence: u64,
    time: UnixMillis,
    event: &Event,
    head: Option<&Head>,
    previous: &Hash,
) -> Hash {
    let (outcome, reason) = outcome(event.outcome);
    let written = Written {
        sequence,
        time: timestamp(time),
        action: event.action.word(),
        requirement: event.action.requirement(),
        actor: ActorWritten::of(&event.actor),
        merchant: event.merchant.as_ref().map(|merchant| merchant.as_str()),
        object: harmless(&event.object),
        outcome,
        reason,
        origin: event.origin.as_ref().map(|origin| OriginWritten {
            address: origin.address,
            request: origin.request.as_deref().map(harmless),
        }),
        head,
        previous: hex(previous),
    };
    let begin = buffer.len();
    serde_json::to_writer(&mut *buffer, &written).expect("texts and numbers are always JSON");
    // Without the brace, which comes after the hash.
    buffer.pop();
    let hash = hash(buffer.get(begin..).unwrap_or_default());
    buffer.extend_from_slice(HASH.as_bytes());
    buffer.extend_from_slice(hex(&hash).as_bytes());
    buffer.extend_from_slice(b"\"}\n");
    hash
}

/// The hash of the bytes of a line before its field `hash`.
fn hash(bytes: &[u8]) -> Hash {
    Sha256::new().chain_update(DOMAIN).chain_update(bytes).finalize().into()
}

fn outcome(outcome: Outcome) -> (&'static str, Option<&'static str>) {
    match outcome {
        Outcome::Attempted => ("attempted", None),
        Outcome::Failure(why) => ("failure", Some(why)),
        Outcome::Success => ("success", None),
    }
}

/// `millis` since 1970 as RFC 3339 in UTC.
pub(super) fn timestamp(millis: UnixMillis) -> String {
    let millis = i64::try_from(millis).unwrap_or(i64::MAX);
    let at = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    format!("{at:.3}")
}

/// What tells one configuration from another: the first half of its SHA-256, in hexadecimal digits.
pub fn digest(bytes: &[u8]) -> Box<str> {
    let digest: Hash = Sha256::digest(bytes).into();
    hex(digest.get(..16).unwrap_or_default()).into()
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().map_or('0', char::from);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

/// The text, cut to its maximum, and without what could be a card number.
///
/// Callers give no such thing. This is for the day on which one does.
fn harmless(text: &str) -> String {
    // A control character would take six bytes, and has no place in a name.
    let plain = |c: char| if c.is_control() { '?' } else { c };
    let mut kept: String = text.chars().map(plain).take(TEXT_BYTES_MAX).collect();
    while kept.len() > TEXT_BYTES_MAX {
        kept.pop();
    }
    let digits = |c: char| c.is_ascii_digit();
    let runs: Vec<&str> = kept.split(|c| !digits(c)).filter(|r| r.len() > DIGITS_MAX).collect();
    if runs.is_empty() {
        return kept;
    }
    runs.iter().fold(kept.clone(), |text, run| text.replace(run, &"*".repeat(run.len())))
}

// === impl ActorWritten ===

impl<'a> ActorWritten<'a> {
    fn of(actor: &'a Actor) -> Self {
        let none = Self { r#type: "system", id: None, uid: None, name: None };
        match actor {
            Actor::Key(id) => Self { r#type: "key", id: Some(id.as_str()), ..none },
            Actor::Nobody => Self { r#type: "nobody", ..none },
            Actor::Operator { uid, name } => Self {
                r#type: "operator",
                uid: Some(*uid),
                name: name.as_deref().map(harmless),
                ..none
            },
            Actor::System => none,
        }
    }
}

/// A line as it was read: whole, and its hash is right.
#[derive(Debug, Deserialize)]
pub(super) struct Read {
    pub(super) sequence: u64,
    #[serde(deserialize_with = "from_hex")]
    pub(super) previous: Hash,
    #[serde(deserialize_with = "from_hex")]
    pub(super) hash: Hash,
    /// The signed head of the line before, in a line that has one.
    pub(super) head: Option<Head>,
}

/// Reads a line, newline included. `None` when it is not one that was written here, whole.
pub(super) fn read(line: &[u8]) -> Option<Read> {
    let text = line.strip_suffix(b"\n")?;
    let read: Read = serde_json::from_slice(text).ok()?;
    let tail = format!("{HASH}{}\"}}", hex(&read.hash));
    let hashed = text.strip_suffix(tail.as_bytes())?;
    (hash(hashed) == read.hash).then_some(read)
}

fn from_hex<'de, D: Deserializer<'de>>(from: D) -> Result<Hash, D::Error> {
    let text = Cow::<'de, str>::deserialize(from)?;
    parse_hex(&text).ok_or_else(|| serde::de::Error::custom("not a hash"))
}

/// The bytes that `text`, in lower-case hexadecimal digits, stands for.
pub(super) fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(bytes)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => digit.checked_sub(b'0'),
        b'a'..=b'f' => digit.checked_sub(b'a' - 10),
        _ => None,
    }
}

// === impl Read ===

impl Read {
    pub(super) fn tail(&self) -> Tail {
        Tail { sequence: self.sequence, hash: self.hash }
    }

    /// Whether this is the line after `tail`.
    pub(super) fn follows(&self, tail: &Tail) -> bool {
        self.previous == tail.hash && tail.sequence.checked_add(1) == Some(self.sequence)
    }
}

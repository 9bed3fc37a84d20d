//! What providers send to us of their own accord, and how it is known to be theirs.
//!
//! A webhook is authenticated by its signature alone: a keyed hash over the body, with a secret that
//! the merchant shares with the provider and that is a credential of the account like any other.

use crate::{Cx, Provider};
use base64ct::{Base64, Encoding as _};
use hmac::{Hmac, Mac as _};
use model::{Notice, Secret};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use sha2::Sha256;
use std::fmt;
use zeroize::Zeroizing;

/// How many notices one delivery may bring.
pub const NOTICES_MAX: usize = 64;
/// How many signatures of one delivery are tried.
pub(crate) const SIGNATURES_MAX: usize = 8;
/// How long a provider's name for what it tells may be, in bytes.
pub const NAME_BYTES_MAX: usize = 255;

/// A request that says it is from a provider.
#[derive(Clone, Copy)]
pub struct Delivery<'a> {
    /// Names in lower case.
    pub headers: &'a [(&'a str, &'a [u8])],
    pub body: &'a [u8],
}

/// Why nothing of a delivery is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unproven {
    /// It speaks for another account than the one that it was sent to.
    Account,
    /// Its provider sends none, or the account has no secret for them.
    NotExpected,
    /// It was signed too long ago, or in the future: it may be an old one again.
    Old,
    /// It is not signed, or by somebody else, or it was changed on its way.
    Signature,
    /// It is signed, and not in the shape that the provider documents.
    Unreadable,
}

/// What a provider wants to read, so that it does not send the same again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub content_type: &'static str,
    pub body: &'static str,
}

/// A keyed hash in the making, by which a signature is compared in constant time.
pub(crate) struct Signature(Hmac<Sha256>);

// === impl Delivery ===

impl<'a> Delivery<'a> {
    /// The one header of this name, as text.
    pub(crate) fn header(&self, name: &str) -> Option<&'a str> {
        let mut found = self.headers.iter().filter(|(have, _)| *have == name);
        let (Some((_, value)), None) = (found.next(), found.next()) else { return None };
        str::from_utf8(value).ok()
    }

    /// The one field of this name in a body that is a form, as text.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let value = member(str::from_utf8(self.body).ok()?, name)?.replace('+', " ");
        percent_decode_str(&value).decode_utf8().ok().map(Into::into)
    }

    /// Reads the body. The parser's error is dropped on purpose: it quotes the input.
    pub(crate) fn json<T: Deserialize<'a>>(&self) -> Result<T, Unproven> {
        serde_json::from_slice(self.body).map_err(|_| Unproven::Unreadable)
    }
}

impl fmt::Debug for Delivery<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Delivery({} headers, {} bytes)", self.headers.len(), self.body.len())
    }
}

// === impl Unproven ===

impl Unproven {
    /// Every reason, in the order of the words.
    pub const ALL: [Self; 5] =
        [Self::Account, Self::NotExpected, Self::Old, Self::Signature, Self::Unreadable];

    /// The lower-case word for it in metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::NotExpected => "not_expected",
            Self::Old => "old",
            Self::Signature => "signature",
            Self::Unreadable => "unreadable",
        }
    }
}

// === impl Receipt ===

impl Receipt {
    /// The status says it all.
    pub const EMPTY: Self = Self { content_type: "text/plain", body: "" };
}

// === impl Signature ===

impl Signature {
    /// Keyed with the text of a secret.
    pub(crate) fn by_text(secret: &Secret) -> Result<Self, Unproven> {
        // The secret is exposed to compare signatures; no part of it is kept.
        Self::by_bytes(secret.expose().as_bytes())
    }

    /// Keyed with what a secret is the hexadecimal digits of.
    pub(crate) fn by_hex(secret: &Secret) -> Result<Self, Unproven> {
        // The secret is exposed to compare signatures; no part of it is kept.
        let key = Zeroizing::new(unhex(secret.expose()).ok_or(Unproven::NotExpected)?);
        Self::by_bytes(&key)
    }

    /// Keyed with what a secret is the base64 of.
    pub(crate) fn by_base64(secret: &Secret) -> Result<Self, Unproven> {
        // The secret is exposed to compare signatures; no part of it is kept.
        let key = Base64::decode_vec(secret.expose()).map_err(|_| Unproven::NotExpected)?;
        Self::by_bytes(&Zeroizing::new(key))
    }

    fn by_bytes(key: &[u8]) -> Result<Self, Unproven> {
        Hmac::new_from_slice(key).map(Self).map_err(|_| Unproven::NotExpected)
    }

    /// Over these parts, one behind the other.
    pub(crate) fn over(mut self, parts: &[&[u8]]) -> Self {
        parts.iter().for_each(|part| self.0.update(part));
        self
    }

    /// Whether this is it, in hexadecimal digits.
    pub(crate) fn is_hex(&self, told: &str) -> bool {
        unhex(told).is_some_and(|told| self.is(&told))
    }

    /// Whether this is it, in base64.
    pub(crate) fn is_base64(&self, told: &str) -> bool {
        Base64::decode_vec(told).is_ok_and(|told| self.is(&told))
    }

    /// What it is, for a test that plays the provider.
    #[cfg(test)]
    pub(crate) fn bytes(self) -> Vec<u8> {
        self.0.finalize().into_bytes().to_vec()
    }

    /// In constant time.
    fn is(&self, told: &[u8]) -> bool {
        self.0.clone().verify_slice(told).is_ok()
    }
}

/// What a provider tells, within bounds.
///
/// # Errors
/// Why nothing of it is believed.
pub fn read(
    provider: &dyn Provider,
    delivery: &Delivery<'_>,
    cx: &Cx<'_>,
) -> Result<Vec<Notice>, Unproven> {
    let notices = provider.notices(delivery, cx)?;
    let named = notices.iter().all(|notice| matches!(notice.name.len(), 1..=NAME_BYTES_MAX));
    let few = notices.len() <= NOTICES_MAX;
    (named && few).then_some(notices).ok_or(Unproven::Unreadable)
}

/// Whether two times in seconds are so near that what was signed at the one is new at the other.
pub(crate) fn is_near(signed: u64, now: u64, tolerance_s: u64) -> Result<(), Unproven> {
    (signed.abs_diff(now) <= tolerance_s).then_some(()).ok_or(Unproven::Old)
}

/// The one member of this name in a form or a query, as it was written.
pub(crate) fn member<'a>(form: &'a str, name: &str) -> Option<&'a str> {
    let pairs = form.split('&').filter_map(|pair| pair.split_once('='));
    let mut found = pairs.filter(|(have, _)| *have == name);
    let (Some((_, value)), None) = (found.next(), found.next()) else { return None };
    Some(value)
}

/// Our key, if a text can be one: they are 32 letters and digits.
pub(crate) fn key(text: &str) -> Option<Box<str>> {
    const CHARS: usize = 32;
    let is_key =
        text.len() == CHARS && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'));
    is_key.then(|| text.into())
}

/// What a test that plays a provider needs.
#[cfg(test)]
pub(crate) mod played {
    pub(crate) use super::hex;
    use super::{Delivery, Unproven};
    use crate::Cx;
    use crate::by_gateway;
    use model::{Credentials, Notice, Secret};

    /// The time at which the tests take place.
    pub(crate) const NOW: u64 = 1_750_000_000;

    /// The first `end` bytes of a text.
    pub(crate) fn cut(text: &str, end: usize) -> &str {
        text.get(..end).unwrap()
    }

    /// What is believed of a delivery with this one header.
    pub(crate) fn read(
        provider: &str,
        credentials: &[(&str, &str)],
        header: (&str, &str),
        body: &str,
        now: u64,
    ) -> Result<Vec<Notice>, Unproven> {
        let pair =
            |(name, value): &(&str, &str)| (name.to_ascii_lowercase().into(), Secret::new(*value));
        let credentials = Credentials::new(credentials.iter().map(pair).collect());
        let cx = Cx { now, ..Cx::timeless(&credentials) };
        let headers = [(header.0, header.1.as_bytes())];
        let delivery = Delivery { headers: &headers, body: body.as_bytes() };
        super::read(by_gateway(provider).unwrap(), &delivery, &cx)
    }
}

/// The hexadecimal digits that stand for bytes.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that hexadecimal digits stand for.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |[high, low]: &[u8; 2]| Some(digit(*high)? << 4 | digit(*low)?);
    rest.is_empty().then(|| pairs.iter().map(byte).collect())?
}

#[cfg(test)]
mod tests {
    use super::{Delivery, Signature, Unproven, is_near, key, unhex};
    use model::Secret;

    #[test]
    fn digits_are_read_in_either_case_and_nothing_else_is() {
        assert_eq!(unhex("00fFa1"), Some(vec![0, 255, 161]));
        assert_eq!(unhex(""), Some(vec![]));
        for wrong in ["0", "0g", "é", "0 ", "+1"] {
            assert_eq!(unhex(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_signature_is_the_whole_of_it() {
        let sign = || Signature::by_text(&Secret::new("key")).unwrap().over(&[b"a", b"b"]);
        assert!(!sign().is_hex(&"0".repeat(64)) && !sign().is_hex("") && !sign().is_base64(""));
        let whole = Signature::by_text(&Secret::new("key")).unwrap().over(&[b"ab"]).bytes();
        assert!(sign().is(&whole) && !sign().is(&whole[..31]) && !sign().is(&[]));
    }

    #[test]
    fn a_header_that_comes_twice_is_none() {
        let one: (&str, &[u8]) = ("a", b"1");
        let read = |headers: &[_]| Delivery { headers, body: b"" }.header("a").map(str::to_owned);
        assert_eq!(read(&[one, ("b", b"2")]).as_deref(), Some("1"));
        assert_eq!(read(&[one, one]), None);
        assert_eq!(read(&[("a", &[0xff])]), None);
    }

    #[test]
    fn a_field_of_a_form_is_read_once_and_whole() {
        let read =
            |body: &str, name: &str| Delivery { headers: &[], body: body.as_bytes() }.field(name);
        let form = "a=x%2By+z%0A&b=&c=%C3%A9&a%20=1";
        assert_eq!(read(form, "a").as_deref(), Some("x+y z\n"));
        assert_eq!((read(form, "b").as_deref(), read(form, "c").as_deref()), (Some(""), Some("é")));
        for (body, name) in [("a=1&a=1", "a"), ("a", "a"), ("a=%ff", "a"), ("A=1", "a"), ("", "")] {
            assert_eq!(read(body, name), None, "{body}");
        }
        assert_eq!(Delivery { headers: &[], body: b"a=1&\xff" }.field("a"), None);
    }

    #[test]
    fn what_is_too_old_or_too_new_is_told() {
        assert_eq!(is_near(1_000, 1_300, 300), Ok(()));
        assert_eq!(is_near(1_000, 1_301, 300), Err(Unproven::Old));
        assert_eq!(is_near(1_301, 1_000, 300), Err(Unproven::Old));
    }

    #[test]
    fn only_what_can_be_a_key_of_ours_is_one() {
        assert!(key(&"0z".repeat(16)).is_some());
        assert!(key("ORD-1001").is_none() && key(&"0Z".repeat(16)).is_none());
    }
}

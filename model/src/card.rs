//! Cardholder data, parsed once at the edge.
//!
//! The secret types print themselves redacted, cannot be cloned or compared by accident, and are
//! wiped when dropped.

use crate::Secret;
use std::fmt;
use zeroize::Zeroize;

/// A card number: 12 to 19 digits that pass the Luhn check (ISO/IEC 7812-1).
///
/// The digits live on the heap so that moving a `Pan` copies a pointer and leaves no digits behind
/// on the stack.
pub struct Pan(Box<str>);

/// A card verification value: 3 or 4 digits. It may be used once and is never stored.
pub struct Cvv(Box<str>);

/// The name of a value in the vault: 32 characters `[A-Za-z0-9]`. Not secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CardToken(Box<str>);

/// The last month in which a card is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    month: u8,
    year: u16,
}

/// Where the digits of a card number are to be found.
#[derive(Debug)]
pub enum NumberSource {
    /// The merchant sent the number itself.
    Clear(Pan),
    /// The vault has it.
    Token(CardToken),
}

/// Where a card verification value is to be found.
#[derive(Debug)]
pub enum CvvSource {
    /// The merchant sent the value itself.
    Clear(Cvv),
    /// The vault has it, in memory only.
    Token(CardToken),
}

/// A card as the merchant names it: this is what the proxy passes around.
#[derive(Debug)]
pub struct CardRef {
    pub number: NumberSource,
    pub cvv: Option<CvvSource>,
    pub holder: Secret,
    pub expiry: Expiry,
}

/// A card in the clear. Only the vault makes one, and only a provider takes one.
#[derive(Debug)]
pub struct Card {
    pub pan: Pan,
    pub cvv: Option<Cvv>,
    pub holder: Secret,
    pub expiry: Expiry,
}

/// Stands where a card was, once the request that carried it is written.
#[derive(Clone, Copy, Debug)]
pub struct Gone;

/// The text is not 12 to 19 digits that pass the Luhn check.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a card number")]
pub struct NotAPan(());

/// The text is not 3 or 4 digits.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a card verification value")]
pub struct NotACvv(());

/// The text is not 32 characters `[A-Za-z0-9]`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a token")]
pub struct NotAToken(());

/// The month is not 1 to 12, or the year is not 2000 to 2099.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an expiry date")]
pub struct NotAnExpiry(());

// === impl Pan ===

impl Pan {
    /// Reads a number without separators.
    pub fn parse(digits: &str) -> Result<Self, NotAPan> {
        let well_formed = matches!(digits.len(), 12..=19)
            && digits.bytes().all(|b| b.is_ascii_digit())
            && luhn(digits.as_bytes());
        well_formed.then(|| Self(digits.into())).ok_or(NotAPan(()))
    }

    /// The digits in the clear. Callers say why, in a comment, at each call.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The last four digits, which may be shown (PCI DSS 3.4.1).
    pub fn last_four(&self) -> &str {
        self.0.get(self.0.len().saturating_sub(4)..).unwrap_or_default()
    }
}

impl fmt::Debug for Pan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pan(…{})", self.last_four())
    }
}

impl Drop for Pan {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

// === impl Cvv ===

impl Cvv {
    /// Reads three or four digits.
    pub fn parse(digits: &str) -> Result<Self, NotACvv> {
        Self::is_shaped(digits).then(|| Self(digits.into())).ok_or(NotACvv(()))
    }

    /// Whether `text` could be a card verification value, and so must never be stored.
    pub fn is_shaped(text: &str) -> bool {
        matches!(text.len(), 3..=4) && text.bytes().all(|b| b.is_ascii_digit())
    }

    /// The digits in the clear. Callers say why, in a comment, at each call.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Cvv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cvv(…)")
    }
}

impl Drop for Cvv {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

// === impl CardToken ===

impl CardToken {
    /// How many characters every token has.
    pub const LEN: usize = 32;

    /// Reads a token without its `@`.
    pub fn parse(text: &str) -> Result<Self, NotAToken> {
        let well_formed =
            text.len() == Self::LEN && text.bytes().all(|b| b.is_ascii_alphanumeric());
        well_formed.then(|| Self(text.into())).ok_or(NotAToken(()))
    }

    /// The 32 characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CardToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Expiry ===

impl Expiry {
    /// Makes an expiry of a month 1 to 12 and a year 2000 to 2099.
    pub fn new(month: u8, year: u16) -> Result<Self, NotAnExpiry> {
        (matches!(month, 1..=12) && matches!(year, 2000..=2099))
            .then_some(Self { month, year })
            .ok_or(NotAnExpiry(()))
    }

    /// 1 to 12.
    pub fn month(self) -> u8 {
        self.month
    }

    /// Four digits.
    pub fn year(self) -> u16 {
        self.year
    }

    /// Whether the card was good for the last time before the month `year`-`month`.
    pub fn is_before(self, year: u16, month: u8) -> bool {
        (self.year, self.month) < (year, month)
    }
}

/// The check of ISO/IEC 7812-1 annex B over ASCII digits.
pub fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .zip([false, true].into_iter().cycle())
        .map(|(digit, double)| {
            let digit = u32::from(digit.saturating_sub(b'0'));
            match (double, digit) {
                (false, d) => d,
                (true, d @ 0..=4) => d.saturating_mul(2),
                (true, d) => d.saturating_mul(2).saturating_sub(9),
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::{CardToken, Cvv, Expiry, Pan};

    #[test]
    fn only_numbers_that_pass_luhn_are_pans() {
        assert!(Pan::parse("4111111111111111").is_ok());
        for text in [
            "",
            "4111",
            "4111111111111112",
            "4111 1111 1111 1111",
            "４１１１１１１１１１１１１１１１",
            "41111111111111111111",
        ] {
            assert!(Pan::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn debug_is_redacted() {
        assert_eq!(format!("{:?}", Pan::parse("4111111111111111").unwrap()), "Pan(…1111)");
        assert_eq!(format!("{:?}", Cvv::parse("737").unwrap()), "Cvv(…)");
    }

    #[test]
    fn tokens_are_thirty_two_alphanumerics() {
        assert!(CardToken::parse("nQGywsQE9gbURtrXEjTZwtWqeMdK9nsO").is_ok());
        for text in ["", "@nQGywsQE9gbURtrXEjTZwtWqeMdK9ns", "nQGywsQE9gbURtrXEjTZwtWqeMdK9ns_"] {
            assert!(CardToken::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_card_is_good_through_its_month() {
        let expiry = Expiry::new(11, 2026).unwrap();
        assert!(!expiry.is_before(2026, 11));
        assert!(expiry.is_before(2026, 12));
        assert!(expiry.is_before(2027, 1));
        assert!(Expiry::new(0, 2026).is_err() && Expiry::new(1, 26).is_err());
    }
}

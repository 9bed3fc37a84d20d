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

// === impl CardRef ===

impl CardRef {
    /// A second one, for another account that is to be asked.
    #[must_use]
    pub fn again(&self) -> Self {
        let number = match &self.number {
            NumberSource::Clear(Pan(digits)) => NumberSource::Clear(Pan(digits.clone())),
            NumberSource::Token(token) => NumberSource::Token(token.clone()),
        };
        let cvv = self.cvv.as_ref().map(|cvv| match cvv {
            CvvSource::Clear(cvv) => CvvSource::Clear(cvv.again()),
            CvvSource::Token(token) => CvvSource::Token(token.clone()),
        });
        Self { number, cvv, holder: self.holder.again(), expiry: self.expiry }
    }
}

// === impl Pan ===

impl Pan {
    /// Reads a number without separators.
    pub fn parse(digits: &str) -> Result<Self, NotAPan> {
        Self::is_shaped(digits).then(|| Self(digits.into())).ok_or(NotAPan(()))
    }

    /// Whether these digits could be a number.
    pub fn is_shaped(digits: &str) -> bool {
        matches!(digits.len(), 12..=19)
            && digits.bytes().all(|b| b.is_ascii_digit())
            && luhn(digits.as_bytes())
    }

    /// The digits in the clear. Callers say why, in a comment, at each call.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The number as it may be shown to those who may not see it (PCI DSS 3.4.1): the first digits
    /// that say whose card it is, stars, and the last four.
    ///
    /// Of the brands whose issuers have eight digits eight are shown, of the others six. Of numbers
    /// so short that what is hidden could be guessed, only the last four.
    pub fn mask(&self) -> Box<str> {
        let shown = match (self.0.len(), self.has_long_bin()) {
            (..=14, _) => 0,
            (15, _) | (_, false) => 6,
            (_, true) => 8,
        };
        let hidden = self.0.len().saturating_sub(shown).saturating_sub(4);
        let first = self.0.get(..shown).unwrap_or_default();
        format!("{first}{}{}", "*".repeat(hidden), self.last_four()).into()
    }

    /// Whether it is of a brand with issuer numbers of eight digits: Visa, Mastercard, Discover, JCB,
    /// UnionPay.
    fn has_long_bin(&self) -> bool {
        let first = |digits| self.0.get(..digits).and_then(|text| text.parse::<u32>().ok());
        let (Some(two), Some(four)) = (first(2), first(4)) else { return false };
        matches!(two, 40..=49 | 51..=55 | 62 | 65 | 81)
            || matches!(four, 2221..=2720 | 3528..=3589 | 6011 | 6440..=6499)
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

    /// A second one, for another account that is to be asked.
    #[must_use]
    pub fn again(&self) -> Self {
        Self(self.0.clone())
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

    /// The digits with a last one that makes them pass.
    fn with_check_digit(digits: &str) -> Pan {
        let numbers = (0..10).map(|last| format!("{digits}{last}"));
        numbers.filter_map(|number| Pan::parse(&number).ok()).next().unwrap()
    }

    #[test]
    fn a_mask_never_shows_more_than_eight_and_four_and_hides_four_or_more() {
        for length in 11..=18_usize {
            for seed in 0..2_000_u64 {
                let digits = format!(
                    "{:018}",
                    seed.wrapping_mul(499_999_999_999_999) % 1_000_000_000_000_000_000
                );
                let pan = with_check_digit(digits.get(18 - length..).unwrap());
                let mask = pan.mask();
                let number = pan.expose();
                assert_eq!(mask.len(), number.len());
                let hidden = mask.matches('*').count();
                assert!(hidden >= if length >= 15 { 4 } else { 5 }, "{mask}");
                let last_four = number.get(number.len() - 4..).unwrap();
                assert!(mask.find('*').unwrap() <= 8 && mask.ends_with(last_four));
                assert!(mask.trim_end_matches(|c: char| c.is_ascii_digit()).ends_with('*'));
                for (shown, digit) in mask.chars().zip(number.chars()) {
                    assert!(shown == '*' || shown == digit);
                }
            }
        }
    }

    #[test]
    fn a_mask_shows_what_its_brand_allows() {
        for (pan, mask) in [
            ("4111111111111111", "41111111****1111"),
            ("5555555555554444", "55555555****4444"),
            ("6011111111111117", "60111111****1117"),
            ("3566002020360505", "35660020****0505"),
            ("378282246310005", "378282*****0005"),
            ("36227206271667", "**********1667"),
        ] {
            assert_eq!(&*Pan::parse(pan).unwrap().mask(), mask);
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

//! Money is an integer of minor units and a currency, never one without the other.

use std::fmt;

/// A currency and its number of minor-unit digits (ISO 4217).
///
/// The list is the API's own (an older edition of ISO 4217) with the codes that came since. Codes
/// without a minor unit (metals, testing, "no currency") are not money and are left out.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency {
    code: [u8; 3],
    exponent: u8,
}

/// An amount of money: minor units, 0 to [`Amount::MINOR_MAX`], of one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Amount {
    minor: u64,
    currency: Currency,
}

/// Why a text is not an amount. Each is said of the whole text, which it does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnAmount {
    #[error("must not be negative")]
    Negative,
    #[error("must be a decimal number")]
    NotANumber,
    #[error("has more decimal places than the currency")]
    TooFine,
    #[error("is larger than the largest amount")]
    TooLarge,
}

/// The amount cannot be written with so few decimal places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the amount is finer than the provider's unit")]
pub struct TooFine(());

/// There is no such currency, or it has no minor unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a currency")]
pub struct NotACurrency(());

/// Sorted by code. Two decimal places unless the line says otherwise.
const TWO: &str = "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD \
BTN BWP BYN BYR BZD CAD CDF CHE CHF CHW CNY COP COU CRC CUC CUP CVE CZK DKK DOP DZD EGP ERN ETB \
EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW \
KYD KZT LAK LBP LKR LRD LSL LTL MAD MDL MGA MKD MMK MNT MOP MRO MRU MUR MVR MWK MXN MXV MYR MZN \
NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE \
SLL SOS SRD SSP STD STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VEF \
VES WST XCD XCG YER ZAR ZMW ZWG ZWL";
const ZERO: &str = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF";
const THREE: &str = "BHD IQD JOD KWD LYD OMR TND";
const FOUR: &str = "CLF UYW";

/// Whether a sorted list of codes, each four bytes with its space, has this one.
fn lists(list: &str, code: &[u8; 3]) -> bool {
    let (entries, last) = list.as_bytes().as_chunks::<4>();
    last == code || entries.binary_search_by(|[a, b, c, _]| [*a, *b, *c].cmp(code)).is_ok()
}

// === impl Currency ===

impl Currency {
    /// The euro.
    pub const EUR: Self = Self { code: *b"EUR", exponent: 2 };
    /// The United States dollar.
    pub const USD: Self = Self { code: *b"USD", exponent: 2 };

    /// Reads an ISO 4217 alphabetic code, in any case.
    ///
    /// # Errors
    /// When it is not on the list.
    pub fn parse(text: &str) -> Result<Self, NotACurrency> {
        let mut code: [u8; 3] = text.as_bytes().try_into().map_err(|_| NotACurrency(()))?;
        code.make_ascii_uppercase();
        [(TWO, 2), (ZERO, 0), (THREE, 3), (FOUR, 4)]
            .into_iter()
            .find(|(list, _)| lists(list, &code))
            .map(|(_, exponent)| Self { code, exponent })
            .ok_or(NotACurrency(()))
    }

    /// Every currency, sorted by code.
    pub fn all() -> Vec<Self> {
        let lists = [TWO, ZERO, THREE, FOUR];
        let mut codes: Vec<&str> = lists.iter().flat_map(|list| list.split(' ')).collect();
        codes.sort_unstable();
        codes.into_iter().filter_map(|code| Self::parse(code).ok()).collect()
    }

    /// Three capital letters.
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.code).unwrap_or_default()
    }

    /// How many decimal places ISO 4217 gives it: 0 to 4.
    pub fn exponent(self) -> u8 {
        self.exponent
    }

    /// So many minor units as a JSON number of major units, such as `-12.50`.
    pub fn decimal(self, minor: i64) -> String {
        let digits = usize::from(self.exponent);
        let width = digits.saturating_add(1);
        let mut text = format!("{:0>width$}", minor.unsigned_abs());
        if digits > 0 {
            text.insert(text.len().saturating_sub(digits), '.');
        }
        if minor < 0 {
            text.insert(0, '-');
        }
        text
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

// === impl Amount ===

impl Amount {
    /// The largest amount: twelve digits, as in the amount field of ISO 8583.
    pub const MINOR_MAX: u64 = 999_999_999_999;
    /// How long the text of an amount may be, in bytes.
    pub const TEXT_BYTES_MAX: usize = 64;

    /// Makes an amount of minor units.
    ///
    /// # Errors
    /// When it is larger than [`Amount::MINOR_MAX`].
    pub fn new(minor: u64, currency: Currency) -> Result<Self, NotAnAmount> {
        if minor > Self::MINOR_MAX {
            Err(NotAnAmount::TooLarge)
        } else {
            Ok(Self { minor, currency })
        }
    }

    /// Reads a JSON number (RFC 8259 section 6) of major units, exactly.
    ///
    /// # Errors
    /// When the text is no number, or a number that the currency cannot hold.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, NotAnAmount> {
        let number = Decimal::parse(text)?;
        Self::new(number.scaled(currency.exponent)?, currency)
    }

    /// Reads minor units that are counted with `exponent` decimal places, which may differ from
    /// those of ISO 4217: the way back of [`Amount::in_units`].
    ///
    /// # Errors
    /// When the currency cannot hold it.
    pub fn from_units(units: u64, exponent: u8, currency: Currency) -> Result<Self, NotAnAmount> {
        let minor = match currency.exponent.checked_sub(exponent) {
            Some(up) => units.checked_mul(ten_to(up)).ok_or(NotAnAmount::TooLarge)?,
            None => exactly(units, exponent.saturating_sub(currency.exponent))
                .ok_or(NotAnAmount::TooFine)?,
        };
        Self::new(minor, currency)
    }

    /// The number of minor units of ISO 4217.
    pub const fn minor(&self) -> u64 {
        self.minor
    }

    /// So many minor units of the same currency; the largest amount where that is too much.
    #[must_use]
    pub fn with_minor(self, minor: u64) -> Self {
        Self { minor: minor.min(Self::MINOR_MAX), ..self }
    }

    /// The currency.
    pub const fn currency(&self) -> Currency {
        self.currency
    }

    /// The number of units when the currency is counted with `exponent` decimal places, as some
    /// providers do for some currencies.
    ///
    /// # Errors
    /// When the amount is finer than that.
    pub fn in_units(&self, exponent: u8) -> Result<u64, TooFine> {
        match exponent.checked_sub(self.currency.exponent) {
            Some(up) => self.minor.checked_mul(ten_to(up)).ok_or(TooFine(())),
            None => exactly(self.minor, self.currency.exponent.saturating_sub(exponent))
                .ok_or(TooFine(())),
        }
    }

    /// `12.50` for EUR, `1250` for JPY, `1.250` for KWD: a JSON number of major units.
    pub fn decimal(&self) -> String {
        // No amount is more than an `i64` can be.
        self.currency.decimal(i64::try_from(self.minor).unwrap_or(i64::MAX))
    }
}

/// A non-negative decimal number: `digits` times ten to the power of `exponent`.
struct Decimal {
    digits: u64,
    exponent: i32,
}

impl Decimal {
    fn parse(text: &str) -> Result<Self, NotAnAmount> {
        if text.len() > Amount::TEXT_BYTES_MAX {
            return Err(NotAnAmount::TooLarge);
        }
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, power) =
            text.split_once(['e', 'E']).map_or((text, None), |(m, p)| (m, Some(p)));
        let (whole, fraction) =
            mantissa.split_once('.').map_or((mantissa, None), |(w, f)| (w, Some(f)));
        let leading_zero = whole.len() > 1 && whole.starts_with('0');
        if !is_digits(whole) || leading_zero || fraction.is_some_and(|f| !is_digits(f)) {
            return Err(NotAnAmount::NotANumber);
        }
        let power = power.map_or(Ok(0), read_power)?;
        if negative {
            return Err(NotAnAmount::Negative);
        }
        Self::assemble(whole, fraction.unwrap_or_default(), power)
    }

    /// Drops the zeros that say nothing, so that what remains either fits or is too large.
    fn assemble(whole: &str, fraction: &str, power: i32) -> Result<Self, NotAnAmount> {
        let fraction = fraction.trim_end_matches('0');
        let (whole, dropped) = if fraction.is_empty() {
            let kept = whole.trim_end_matches('0');
            (kept, whole.len().saturating_sub(kept.len()))
        } else {
            (whole, 0)
        };
        let shift = i32::try_from(dropped).ok().zip(i32::try_from(fraction.len()).ok());
        let (dropped, places) = shift.ok_or(NotAnAmount::TooLarge)?;
        Ok(Self {
            digits: number(whole.bytes().chain(fraction.bytes())).ok_or(NotAnAmount::TooLarge)?,
            exponent: power.saturating_add(dropped).saturating_sub(places),
        })
    }

    /// The number times ten to the power of `places`, which must be whole.
    fn scaled(&self, places: u8) -> Result<u64, NotAnAmount> {
        if self.digits == 0 {
            return Ok(0);
        }
        let power = self.exponent.saturating_add(i32::from(places));
        let power = u32::try_from(power).map_err(|_| NotAnAmount::TooFine)?;
        let factor = 10_u64.checked_pow(power).ok_or(NotAnAmount::TooLarge)?;
        self.digits.checked_mul(factor).ok_or(NotAnAmount::TooLarge)
    }
}

/// The number that decimal digits write, unless it is too large.
fn number(mut digits: impl Iterator<Item = u8>) -> Option<u64> {
    digits.try_fold(0_u64, |number, digit| {
        number.checked_mul(10)?.checked_add(u64::from(digit.checked_sub(b'0')?))
    })
}

/// Reads the power of ten of a JSON number, which may be larger than any integer.
fn read_power(text: &str) -> Result<i32, NotAnAmount> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !is_digits(digits) {
        return Err(NotAnAmount::NotANumber);
    }
    let size = digits.parse::<i32>().unwrap_or(i32::MAX);
    Ok(if text.starts_with('-') { size.saturating_neg() } else { size })
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn ten_to(power: u8) -> u64 {
    10_u64.saturating_pow(u32::from(power))
}

/// `units` divided by ten to the power of `places`, where nothing remains.
fn exactly(units: u64, places: u8) -> Option<u64> {
    let divisor = ten_to(places);
    (units.checked_rem(divisor)? == 0).then(|| units.checked_div(divisor))?
}

#[cfg(test)]
mod tests {
    use super::{Amount, Currency, NotAnAmount};
    use proptest::prelude::*;

    fn currency(code: &str) -> Currency {
        Currency::parse(code).unwrap()
    }

    #[test]
    fn amounts_are_read_exactly_or_not_at_all() {
        for (text, code, expected) in [
            ("10.23", "USD", Ok(1023)),
            ("10", "USD", Ok(1000)),
            ("10.500", "USD", Ok(1050)),
            ("0.1", "USD", Ok(10)),
            ("0", "USD", Ok(0)),
            ("0e99999999999", "USD", Ok(0)),
            ("1e2", "USD", Ok(10_000)),
            ("1.5E+1", "JPY", Ok(15)),
            ("150e-1", "JPY", Ok(15)),
            ("1.250", "KWD", Ok(1250)),
            ("1500", "CLP", Ok(1500)),
            ("9999999999.99", "USD", Ok(999_999_999_999)),
            ("10000000000", "USD", Err(NotAnAmount::TooLarge)),
            ("10.005", "USD", Err(NotAnAmount::TooFine)),
            ("1.5", "JPY", Err(NotAnAmount::TooFine)),
            ("1.2345", "KWD", Err(NotAnAmount::TooFine)),
            ("1e-400", "USD", Err(NotAnAmount::TooFine)),
            ("1e400", "USD", Err(NotAnAmount::TooLarge)),
            ("1e99999999999", "USD", Err(NotAnAmount::TooLarge)),
            ("-1", "USD", Err(NotAnAmount::Negative)),
            ("-0", "USD", Err(NotAnAmount::Negative)),
            ("NaN", "USD", Err(NotAnAmount::NotANumber)),
            ("", "USD", Err(NotAnAmount::NotANumber)),
            ("01", "USD", Err(NotAnAmount::NotANumber)),
            (".5", "USD", Err(NotAnAmount::NotANumber)),
            ("1.", "USD", Err(NotAnAmount::NotANumber)),
            ("1e", "USD", Err(NotAnAmount::NotANumber)),
            ("+1", "USD", Err(NotAnAmount::NotANumber)),
            ("1 ", "USD", Err(NotAnAmount::NotANumber)),
            ("١", "USD", Err(NotAnAmount::NotANumber)),
        ] {
            let minor = Amount::parse(text, currency(code)).map(|amount| amount.minor());
            assert_eq!(minor, expected, "{text} {code}");
        }
    }

    #[test]
    fn decimal_follows_the_currency() {
        for (minor, code, expected) in [
            (1250, "EUR", "12.50"),
            (5, "EUR", "0.05"),
            (1250, "JPY", "1250"),
            (1250, "KWD", "1.250"),
            (0, "KWD", "0.000"),
        ] {
            assert_eq!(Amount::new(minor, currency(code)).unwrap().decimal(), expected);
        }
    }

    #[test]
    fn a_provider_may_count_in_other_units() {
        for (text, code, exponent, expected) in [
            ("1500", "CLP", 2, Some(150_000)),
            ("1500", "CLP", 0, Some(1500)),
            ("10", "IDR", 0, Some(10)),
            ("10.50", "IDR", 0, None),
            ("1.250", "KWD", 3, Some(1250)),
        ] {
            let amount = Amount::parse(text, currency(code)).unwrap();
            assert_eq!(amount.in_units(exponent).ok(), expected, "{text} {code}");
        }
    }

    #[test]
    fn the_list_of_currencies_is_sorted_and_has_no_code_twice() {
        let codes: Vec<String> = Currency::all().iter().map(|c| c.code().to_owned()).collect();
        assert!(codes.windows(2).all(|pair| pair[0] < pair[1]), "{codes:?}");
        assert_eq!(codes.len(), 175);
        for text in ["", "US", "USDX", "XXX", "XAU", "U D", "€€€"] {
            assert!(Currency::parse(text).is_err(), "{text:?}");
        }
        assert_eq!(Currency::parse("usd").unwrap().code(), "USD");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(minor in 0..=Amount::MINOR_MAX, nth in 0usize..170) {
            let amount = Amount::new(minor, Currency::all()[nth]).unwrap();
            prop_assert_eq!(Amount::parse(&amount.decimal(), amount.currency()), Ok(amount));
        }

        #[test]
        fn units_go_there_and_back(minor in 0..=1_000_000_u64, nth in 0usize..170, exponent in 0u8..=4) {
            let amount = Amount::new(minor, Currency::all()[nth]).unwrap();
            if let Ok(units) = amount.in_units(exponent) {
                prop_assert_eq!(Amount::from_units(units, exponent, amount.currency()), Ok(amount));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,80}") {
            let amount = Amount::parse(&text, Currency::USD);
            prop_assert!(amount.is_err() || amount.is_ok_and(|a| a.minor() <= Amount::MINOR_MAX));
        }

        #[test]
        fn no_number_makes_it_panic(text in "-?[0-9]{0,30}(\\.[0-9]{0,30})?([eE][+-]?[0-9]{0,12})?") {
            let amount = Amount::parse(&text, Currency::USD);
            prop_assert!(amount.is_err() || amount.is_ok_and(|a| a.minor() <= Amount::MINOR_MAX));
        }
    }
}

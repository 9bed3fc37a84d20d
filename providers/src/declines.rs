//! A provider's words for why an issuer said no, and ours for them.

use model::Decline;

/// A table of declines: our words, and the provider's codes for each.
///
/// It is data, so that the documentation can be compared with it, code by code.
#[derive(Clone, Copy, Debug)]
pub struct Declines(&'static [(Decline, &'static [&'static str])]);

// === impl Declines ===

impl Declines {
    /// The table of a provider that has no codes.
    pub const NONE: Self = Self(&[]);

    pub(crate) const fn new(rows: &'static [(Decline, &'static [&'static str])]) -> Self {
        Self(rows)
    }

    /// Our word for a code; none for a code that is not in the table.
    pub fn find(self, code: &str) -> Option<Decline> {
        self.0.iter().find(|(_, codes)| codes.contains(&code)).map(|(decline, _)| *decline)
    }

    /// Every word with its codes.
    pub fn rows(self) -> impl Iterator<Item = (Decline, &'static [&'static str])> {
        self.0.iter().copied()
    }
}

/// Whether a scheme's advice to merchants, which begins with its code, says to stop: 03 is "do not try
/// again", 21 is "stop recurring payments".
pub(crate) fn says_stop(advice: Option<&str>) -> bool {
    let code = advice.and_then(|advice| advice.trim_start().get(..2));
    let rest = advice.and_then(|advice| advice.trim_start().as_bytes().get(2));
    matches!(code, Some("03" | "21")) && !rest.is_some_and(u8::is_ascii_alphanumeric)
}

/// Of two pieces of advice the one that says to stop, else the first that there is.
pub(crate) fn strictest<'a>(one: Option<&'a str>, other: Option<&'a str>) -> Option<&'a str> {
    let stop = other.filter(|_| says_stop(other) && !says_stop(one));
    stop.or(one).or(other)
}

#[cfg(test)]
mod tests {
    use super::{says_stop, strictest};
    use crate::PROVIDERS;
    use model::{Decline, Outcome, Report};
    use std::collections::BTreeSet;

    #[test]
    fn only_the_advice_to_stop_is_one() {
        for advice in ["03", "21", "03 : Do not try again", " 21 : Stop"] {
            assert!(says_stop(Some(advice)), "{advice}");
        }
        for advice in ["", "0", "01", "02 : Try again later", "030", "21x", "24", "é3"] {
            assert!(!says_stop(Some(advice)), "{advice}");
        }
        assert!(!says_stop(None));
    }

    #[test]
    fn of_two_pieces_of_advice_the_one_to_stop_is_told() {
        for (one, other, expected) in [
            (None, None, None),
            (Some("02"), None, Some("02")),
            (None, Some("24"), Some("24")),
            (Some("02"), Some("24"), Some("02")),
            (Some("02"), Some("03"), Some("03")),
            (Some("03"), Some("21"), Some("03")),
        ] {
            assert_eq!(strictest(one, other), expected, "{one:?} {other:?}");
        }
    }

    #[test]
    fn a_provider_that_advises_to_stop_is_heeded() {
        let declined = Report::bare(Outcome::Declined(Decline::InsufficientFunds));
        let network = Report { sub_code: Some("03".into()), ..declined.clone() };
        let own = Report { sub_description: Some("do_not_try_again".into()), ..declined.clone() };
        let later = Report { sub_description: Some("try_again_later".into()), ..declined.clone() };
        let scheme = Report { sub_description: Some("03".into()), ..declined.clone() };
        let visa = Report { sub_description: Some("1".into()), ..declined.clone() };
        let hard = Report { sub_description: Some("HARD".into()), ..declined.clone() };
        for (name, report, expected) in [
            ("adyen", &network, true),
            ("worldpay", &network, true),
            ("stripe", &own, true),
            ("stripe", &scheme, true),
            ("stripe", &later, false),
            ("stripe", &declined, false),
            ("adyen", &declined, false),
            ("braintree", &scheme, true),
            ("braintree", &hard, true),
            ("braintree", &declined, false),
            ("checkout", &scheme, true),
            ("checkout", &visa, false),
            ("checkout", &declined, false),
            ("cybersource", &scheme, true),
            ("cybersource", &visa, true),
            ("cybersource", &declined, false),
        ] {
            let provider = crate::by_gateway(name).unwrap();
            assert_eq!(provider.forbids_retry(report), expected, "{name}: {report:?}");
        }
    }

    #[test]
    fn every_code_has_one_meaning_and_every_word_one_row() {
        for provider in PROVIDERS {
            let rows: Vec<_> = provider.declines().rows().collect();
            let words: Vec<_> = rows.iter().map(|(decline, _)| decline.word()).collect();
            assert!(words.is_sorted_by(|a, b| a < b), "{}: {words:?}", provider.name());
            let codes: Vec<_> = rows.iter().flat_map(|(_, codes)| codes.iter()).collect();
            let unique: BTreeSet<_> = codes.iter().collect();
            assert_eq!(unique.len(), codes.len(), "{}: {codes:?}", provider.name());
            for (decline, codes) in rows {
                for code in codes {
                    assert_eq!(provider.declines().find(code), Some(decline), "{code}");
                }
            }
            for code in ["", " ", "approved", "a_word_of_tomorrow", "LOST_CARD", "99999"] {
                assert_eq!(provider.declines().find(code), None, "{}: {code}", provider.name());
            }
        }
    }
}

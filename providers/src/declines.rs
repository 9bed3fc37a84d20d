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

#[cfg(test)]
mod tests {
    use crate::PROVIDERS;
    use std::collections::BTreeSet;

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

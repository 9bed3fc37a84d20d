//! A merchant's account at a payment gateway.

use crate::Secret;
use std::fmt;
use std::sync::Arc;

/// A merchant's name for one of its gateway accounts: 3 to 64 characters `[A-Za-z0-9_-]`.
///
/// The API's pattern is alphanumeric only, while its own examples use `-` and `_`; both are taken.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountName(Arc<str>);

/// The credentials of an account, by name. Values are secret; names are not.
///
/// Names are compared without regard to case, as the API does.
#[derive(Debug, Default)]
pub struct Credentials(Vec<(Box<str>, Secret)>);

/// Whether new payments may go to an account. What was made there can always be captured, refunded,
/// voided and asked about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccountState {
    #[default]
    Enabled,
    Disabled,
}

/// The text is not 3 to 64 characters `[A-Za-z0-9_-]`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an account name")]
pub struct NotAnAccountName(());

// === impl AccountName ===

impl AccountName {
    /// Reads an account's name.
    pub fn parse(text: &str) -> Result<Self, NotAnAccountName> {
        let well_formed = matches!(text.len(), 3..=64)
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        well_formed.then(|| Self(text.into())).ok_or(NotAnAccountName(()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl AccountState ===

impl AccountState {
    /// By the flag that stands for it.
    pub fn of(enabled: bool) -> Self {
        if enabled { Self::Enabled } else { Self::Disabled }
    }

    /// Whether new payments may go there.
    pub fn is_enabled(self) -> bool {
        self == Self::Enabled
    }
}

// === impl Credentials ===

impl Credentials {
    /// How many pairs an account may have.
    pub const PAIRS_MAX: usize = 32;
    /// How long the name of a credential may be, in bytes.
    pub const NAME_BYTES_MAX: usize = 64;
    /// How long the value of a credential may be, in bytes.
    pub const VALUE_BYTES_MAX: usize = 1024;

    /// Puts the pairs together. The caller has checked the maxima and that no name comes twice.
    pub fn new(pairs: Vec<(Box<str>, Secret)>) -> Self {
        Self(pairs)
    }

    /// The value that has one of `names`, whichever comes first in `names`.
    pub fn find(&self, names: &[&str]) -> Option<&Secret> {
        names.iter().find_map(|wanted| {
            self.0.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, v)| v)
        })
    }

    /// The pairs, in the order in which they were written.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Secret)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::{AccountName, Credentials};
    use crate::Secret;

    #[test]
    fn account_names_are_those_of_the_api_and_of_its_examples() {
        for text in ["abc", "stripe-primary", "Adyen_Production"] {
            assert!(AccountName::parse(text).is_ok(), "{text}");
        }
        for text in ["ab", "", "a b c", "a/b", &"x".repeat(65)] {
            assert!(AccountName::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn credentials_are_found_by_any_case_and_print_nothing() {
        let credentials = Credentials::new(vec![("SecretKey".into(), Secret::new("sk_canary"))]);
        assert!(credentials.find(&["apikey", "secretkey"]).is_some());
        assert!(credentials.find(&["apikey"]).is_none());
        assert!(!format!("{credentials:?}").contains("canary"));
    }
}

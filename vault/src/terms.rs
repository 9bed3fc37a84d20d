//! What a merchant may say of a token when it is made: how long it is good, where it may be used, and
//! a few words of its own.

use crate::frame::{Fields, frame};
use crate::{UnixMillis, VaultError};
use model::AccountName;

/// The longest time that a token may be given, in seconds: ten years.
pub const TIME_TO_LIVE_S_MAX: u32 = 315_360_000;
/// How many places a token may be bound to.
pub const BINDINGS_MAX: usize = 8;
/// How many words a merchant may keep with a token.
pub const METADATA_PAIRS_MAX: usize = 16;
/// How long the name of one may be, in bytes.
pub const METADATA_KEY_BYTES_MAX: usize = 40;
/// How long one may be, in bytes.
pub const METADATA_VALUE_BYTES_MAX: usize = 1_024;

/// From how many digits on a number could be that of a card.
const CARD_DIGITS_MIN: usize = 12;
/// From how many digits on it is not told from one in which a card's is hidden.
const CARD_DIGITS_MAX: usize = 19;

/// What is said of a new token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    pub time_to_live_s: Option<u32>,
    /// Where it may be used; anywhere when there is none.
    pub bindings: Vec<Binding>,
    pub metadata: Vec<(Box<str>, Box<str>)>,
}

/// A place where a token may be used: every payment that has all that is named here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    pub gateway: Option<Box<str>>,
    pub account: Option<AccountName>,
}

/// Terms as they are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) expires: Option<UnixMillis>,
    pub(crate) bindings: Vec<Binding>,
    pub(crate) metadata: Vec<(Box<str>, Box<str>)>,
}

/// Whether a text holds what could be the number of a card: such a text is not kept beside a token.
///
/// Separators between digits are looked through. So many digits that a number could hide among them
/// are refused as well, and so are digits of other scripts.
pub fn is_card_like(text: &str) -> bool {
    if text.chars().any(|c| c.is_numeric() && !c.is_ascii()) {
        return true;
    }
    let is_separator = |c: char| matches!(c, ' ' | '-' | '.' | '/' | '_');
    text.split(|c: char| !c.is_ascii_digit() && !is_separator(c)).any(|part| {
        let groups: Vec<&str> = part.split(is_separator).filter(|g| !g.is_empty()).collect();
        (0..groups.len()).any(|from| begins_card(groups.get(from..).unwrap_or_default()))
    })
}

/// Whether some of these groups of digits, from the first on, could be a card number together.
fn begins_card(groups: &[&str]) -> bool {
    let mut digits = String::new();
    for group in groups {
        digits.push_str(group);
        if digits.len() > CARD_DIGITS_MAX {
            return group.len() > CARD_DIGITS_MAX;
        }
        if digits.len() >= CARD_DIGITS_MIN && model::Pan::parse(&digits).is_ok() {
            return true;
        }
    }
    false
}

// === impl Terms ===

impl Terms {
    /// Refuses what is over a maximum, or looks like a card.
    pub(crate) fn check(&self) -> Result<(), VaultError> {
        if self.bindings.len() > BINDINGS_MAX {
            return Err(VaultError::TooMany { what: "bindings of a token", max: BINDINGS_MAX });
        }
        if self.metadata.len() > METADATA_PAIRS_MAX {
            return Err(VaultError::TooMany { what: "metadata", max: METADATA_PAIRS_MAX });
        }
        for (key, value) in &self.metadata {
            for (text, max) in [(key, METADATA_KEY_BYTES_MAX), (value, METADATA_VALUE_BYTES_MAX)] {
                if !(1..=max).contains(&text.len()) {
                    return Err(VaultError::Size { what: "metadata", max });
                }
                if is_card_like(text) {
                    return Err(VaultError::CardLike);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn kept(self, now: UnixMillis) -> Kept {
        let Self { time_to_live_s, bindings, metadata } = self;
        let seconds = time_to_live_s.map(|s| s.min(TIME_TO_LIVE_S_MAX));
        let expires = seconds.map(|s| now.saturating_add(u64::from(s).saturating_mul(1_000)));
        Kept { expires, bindings, metadata }
    }
}

// === impl Kept ===

impl Kept {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn is_over(&self, now: UnixMillis) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Whether the token may be used there.
    pub(crate) fn allows(&self, gateway: &str, account: Option<&AccountName>) -> bool {
        let at = |binding: &Binding| {
            binding.gateway.as_deref().is_none_or(|bound| bound == gateway)
                && binding.account.as_ref().is_none_or(|bound| Some(bound) == account)
        };
        self.bindings.is_empty() || self.bindings.iter().any(at)
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let name = |binding: &Binding| {
            let account = binding.account.as_ref().map_or("", |account| account.as_str());
            frame(&[binding.gateway.as_deref().unwrap_or_default().as_bytes(), account.as_bytes()])
        };
        let bindings: Vec<Vec<u8>> = self.bindings.iter().map(name).collect();
        let bindings: Vec<&[u8]> = bindings.iter().map(Vec::as_slice).collect();
        let metadata = self.metadata.iter().flat_map(|(key, value)| [key, value]);
        let metadata: Vec<&[u8]> = metadata.map(|text| text.as_bytes()).collect();
        let expires = self.expires.unwrap_or_default().to_be_bytes();
        frame(&[&expires, &frame(&bindings), &frame(&metadata)])
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(bytes);
        let expires = Some(fields.number()?).filter(|expires| *expires > 0);
        let (mut bound, mut said) = (Fields::new(fields.bytes()?), Fields::new(fields.bytes()?));
        fields.end()?;
        let (mut bindings, mut metadata) = (Vec::new(), Vec::new());
        while bound.end().is_none() {
            let mut names = Fields::new(bound.bytes()?);
            let gateway = Some(names.text()?).filter(|name| !name.is_empty()).map(Into::into);
            let account = Some(names.text()?).filter(|name| !name.is_empty());
            let account = account.map(AccountName::parse).transpose().ok()?;
            bindings.push(Binding { gateway, account });
        }
        while said.end().is_none() {
            metadata.push((said.text()?.into(), said.text()?.into()));
        }
        Some(Self { expires, bindings, metadata })
    }
}

#[cfg(test)]
mod tests {
    use super::{Binding, Kept, is_card_like};
    use model::AccountName;
    use proptest::prelude::*;

    #[test]
    fn what_could_be_a_card_is_known_in_every_dress() {
        for (text, expected) in [
            ("4111111111111111", true),
            ("4111 1111 1111 1111", true),
            ("order 4111-1111-1111-1111, paid", true),
            ("x4111111111111111y", true),
            ("17 4111 1111 1111 1111 22", true),
            ("378282246310005", true),
            ("12345678901234567890", true),
            ("٤١١١١١١١١١١١١١١١", true),
            ("4111111111111112", false),
            ("order 12345", false),
            ("2026-11-22", false),
            ("", false),
        ] {
            assert_eq!(is_card_like(text), expected, "{text}");
        }
    }

    #[test]
    fn a_binding_asks_for_all_that_it_names_and_one_binding_is_enough() {
        let account = |name| AccountName::parse(name).unwrap();
        let kept = Kept {
            bindings: vec![
                Binding { gateway: Some("Adyen".into()), account: None },
                Binding { gateway: Some("Stripe".into()), account: Some(account("main")) },
                Binding { gateway: None, account: Some(account("backup")) },
            ],
            ..Kept::default()
        };
        for (gateway, name, expected) in [
            ("Adyen", None, true),
            ("Adyen", Some("any-one"), true),
            ("Stripe", Some("main"), true),
            ("Stripe", Some("backup"), true),
            ("Stripe", Some("other"), false),
            ("Stripe", None, false),
        ] {
            let name = name.map(account);
            assert_eq!(kept.allows(gateway, name.as_ref()), expected, "{gateway} {name:?}");
        }
        assert!(Kept::default().allows("Stripe", None));
    }

    proptest! {
        #[test]
        fn terms_are_read_as_they_were_written(
            expires in proptest::option::of(1_u64..),
            bindings in proptest::collection::vec((proptest::option::of("[A-Za-z]{1,9}"), proptest::option::of("[a-z]{3,9}")), 0..8),
            metadata in proptest::collection::vec((".{1,20}", ".{0,40}"), 0..16),
        ) {
            let bindings = bindings.into_iter().map(|(gateway, account)| Binding {
                gateway: gateway.map(Into::into),
                account: account.map(|name| AccountName::parse(&name).unwrap()),
            });
            let metadata = metadata.into_iter().map(|(key, value)| (key.into(), value.into()));
            let kept = Kept { expires, bindings: bindings.collect(), metadata: metadata.collect() };
            prop_assert_eq!(Kept::read(&kept.write()), Some(kept));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, text: String) {
            let _nothing = Kept::read(&bytes).is_some();
            let _nothing = is_card_like(&text);
        }
    }
}

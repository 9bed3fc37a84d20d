//! A text that must not be printed, copied or kept.

use std::fmt;
use zeroize::Zeroizing;

/// A secret text: a credential, a PIN, the payload of a token.
///
/// It prints redacted, is not `Clone`, `PartialEq` or `Deref`, and is wiped when dropped. The bytes
/// live on the heap, so that a move copies a pointer and leaves nothing behind.
pub struct Secret(Zeroizing<Box<str>>);

// === impl Secret ===

impl Secret {
    /// Takes over `text`, which must not have been grown in place (each growth leaves a copy).
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text in the clear. Callers say why, in a comment, at each call.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// A second copy, where one is needed for longer or elsewhere.
    #[must_use]
    pub(crate) fn again(&self) -> Self {
        Self(self.0.clone())
    }

    /// The length in bytes, which is not a secret here.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no text at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn debug_is_redacted() {
        assert_eq!(format!("{:?}", Secret::new("sk_canary")), "Secret(…)");
    }
}

//! Who asks, and what they may do.

use std::fmt;

/// The name of a merchant: 3 to 64 characters `[a-z0-9-]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MerchantId(Box<str>);

/// The public part of an API key, by which it is found: 12 characters `[A-Za-z0-9]`. Not secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(Box<str>);

/// What a key may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Read and write payment gateway accounts.
    Accounts,
    /// Charge, authorize, capture, void, refund, status.
    Payments,
    /// Read the clear text behind a token. Brings its holder into the scope of PCI DSS.
    Reveal,
    /// Make, describe and delete tokens.
    Tokens,
}

/// An authenticated caller.
#[derive(Clone, Debug)]
pub struct Principal {
    pub merchant: MerchantId,
    pub key: KeyId,
    /// What the key was called when it was made; shown as `userName`.
    pub name: Box<str>,
    pub sandbox: bool,
    pub scopes: Vec<Scope>,
}

/// The text is not of the form that the type asks for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid name")]
pub struct NotAName(());

// === impl MerchantId ===

impl MerchantId {
    /// Reads a merchant's name.
    pub fn parse(text: &str) -> Result<Self, NotAName> {
        let well_formed = matches!(text.len(), 3..=64)
            && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        well_formed.then(|| Self(text.into())).ok_or(NotAName(()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MerchantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl KeyId ===

impl KeyId {
    /// How many characters every id has.
    pub const LEN: usize = 12;

    /// Reads the id of a key.
    pub fn parse(text: &str) -> Result<Self, NotAName> {
        let well_formed =
            text.len() == Self::LEN && text.bytes().all(|b| b.is_ascii_alphanumeric());
        well_formed.then(|| Self(text.into())).ok_or(NotAName(()))
    }

    /// The 12 characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Scope ===

impl Scope {
    /// Every scope, in the order of their words.
    pub const ALL: [Self; 4] = [Self::Accounts, Self::Payments, Self::Reveal, Self::Tokens];

    /// The word for it on the command line and in storage.
    pub fn word(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::Payments => "payments",
            Self::Reveal => "reveal",
            Self::Tokens => "tokens",
        }
    }

    /// The scope that `word` stands for.
    pub fn by_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.word() == word)
    }
}

// === impl Principal ===

impl Principal {
    /// Whether the key was given `scope`.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }
}

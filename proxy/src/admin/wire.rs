//! How the words of `model` travel over the socket: `model` has no serde on purpose.

use model::{AccountName, Credentials, KeyId, MerchantId, Scope, Secret, State, TransactionId};
use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// A word that travels as its text.
pub(super) trait Word: Sized {
    fn text(&self) -> &str;
    fn read(text: &str) -> Option<Self>;
}

macro_rules! words {
    ($($word:ident),*) => {
        $(impl Word for $word {
            fn text(&self) -> &str {
                self.as_str()
            }

            fn read(text: &str) -> Option<Self> {
                Self::parse(text).ok()
            }
        })*
    };
}

words! { AccountName, KeyId, MerchantId, TransactionId }

impl Word for Scope {
    fn text(&self) -> &str {
        self.word()
    }

    fn read(text: &str) -> Option<Self> {
        Self::by_word(text)
    }
}

impl Word for State {
    fn text(&self) -> &str {
        self.word()
    }

    fn read(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == text)
    }
}

/// One word, or none.
pub(super) mod maybe {
    use super::*;

    pub(crate) fn serialize<W: Word, S: Serializer>(
        word: &Option<W>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        word.as_ref().map(Word::text).serialize(to)
    }

    pub(crate) fn deserialize<'de, W: Word, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<W>, D::Error> {
        let text = Option::<Cow<'_, str>>::deserialize(from)?;
        let read = |text: Cow<'_, str>| W::read(&text);
        let word = text.map(|text| read(text).ok_or_else(|| D::Error::custom("not such a word")));
        word.transpose()
    }
}

/// One word.
pub(super) mod word {
    use super::*;

    pub(crate) fn serialize<W: Word, S: Serializer>(word: &W, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(word.text())
    }

    pub(crate) fn deserialize<'de, W: Word, D: Deserializer<'de>>(from: D) -> Result<W, D::Error> {
        W::read(&Cow::<str>::deserialize(from)?).ok_or_else(|| D::Error::custom("not such a word"))
    }
}

/// A list of words.
pub(super) mod words {
    use super::*;

    pub(crate) fn serialize<W: Word, S: Serializer>(words: &[W], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(words.iter().map(Word::text))
    }

    pub(crate) fn deserialize<'de, W: Word, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<W>, D::Error> {
        let texts = Vec::<Cow<'_, str>>::deserialize(from)?;
        let words = texts.iter().map(|text| W::read(text)).collect::<Option<_>>();
        words.ok_or_else(|| D::Error::custom("not such words"))
    }
}

/// A secret, in the clear: the socket is the owner's own.
pub(super) mod secret {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(secret: &Secret, to: S) -> Result<S::Ok, S::Error> {
        // Exposed because the operator asked for it, and this is the way to the operator.
        to.serialize_str(secret.expose())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
        from.deserialize_str(Clear)
    }
}

/// Credentials as a list of pairs, within their maxima and each name once.
pub(super) mod credentials {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(all: &Credentials, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(all.iter().map(|(name, secret)| (name, Out(secret))))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Credentials, D::Error> {
        let pairs = Vec::<(Box<str>, In)>::deserialize(from)?;
        let pairs = pairs.into_iter().map(|(name, In(secret))| (name, secret)).collect();
        crate::admin::credentials(pairs).map_err(D::Error::custom)
    }
}

/// A secret on its way out.
struct Out<'a>(&'a Secret);

impl Serialize for Out<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        secret::serialize(self.0, to)
    }
}

/// A secret on its way in.
struct In(Secret);

impl<'de> Deserialize<'de> for In {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        secret::deserialize(from).map(Self)
    }
}

/// Reads a text into a secret without a copy on the way that would not be wiped.
struct Clear;

impl Visitor<'_> for Clear {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E>(self, text: &str) -> Result<Secret, E> {
        Ok(Secret::new(text))
    }
}

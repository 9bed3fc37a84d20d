//! Strings of JSON, read without leaving copies behind.

use model::Secret;
use std::str::Chars;

/// The text of a JSON string: a part of the body, or a copy where escapes had to be undone.
///
/// The copy is kept as a secret, because it may be one.
pub(super) enum Text<'de> {
    Plain(&'de str),
    Unescaped(Secret),
}

/// The characters of a JSON string between its quotes. `None` is said once, for an escape that
/// stands for no character, and the rest is then of no use.
struct Unescape<'a>(Chars<'a>);

// === impl Text ===

impl<'de> Text<'de> {
    /// Reads a string that is known to be well-formed JSON, with its quotes.
    pub(super) fn read(json: &'de str) -> Option<Self> {
        let inner = json.strip_prefix('"')?.strip_suffix('"')?;
        if inner.contains('\\') {
            unescape(inner).map(Self::Unescaped)
        } else {
            Some(Self::Plain(inner))
        }
    }

    /// The text. It may be a card number or a credential.
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Plain(text) => text,
            // It is what a merchant sent and is about to be checked; the caller treats it so.
            Self::Unescaped(text) => text.expose(),
        }
    }

    /// A copy of the text that is not secret.
    pub(super) fn to_box(&self) -> Box<str> {
        self.as_str().into()
    }

    /// The text as a secret.
    pub(super) fn into_secret(self) -> Secret {
        match self {
            Self::Plain(text) => Secret::new(text),
            Self::Unescaped(secret) => secret,
        }
    }
}

/// Undoes the escapes. It goes over the text twice, so that the copy is allocated in its final
/// length: one that grows would leave parts of a secret behind in freed memory.
fn unescape(inner: &str) -> Option<Secret> {
    let bytes = Unescape(inner.chars())
        .try_fold(0_usize, |sum, c| c.map(|c| sum.saturating_add(c.len_utf8())))?;
    let mut text = String::with_capacity(bytes);
    text.extend(Unescape(inner.chars()).flatten());
    Some(Secret::new(text))
}

// === impl Unescape ===

impl Iterator for Unescape<'_> {
    type Item = Option<char>;

    fn next(&mut self) -> Option<Option<char>> {
        match self.0.next()? {
            '\\' => Some(self.escape()),
            plain => Some(Some(plain)),
        }
    }
}

impl Unescape<'_> {
    fn escape(&mut self) -> Option<char> {
        Some(match self.0.next()? {
            same @ ('"' | '\\' | '/') => same,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => return self.unicode(),
            _ => return None,
        })
    }

    /// One UTF-16 unit, or two that are a surrogate pair.
    fn unicode(&mut self) -> Option<char> {
        let first = self.unit()?;
        if !matches!(first, 0xd800..=0xdbff) {
            return char::from_u32(first);
        }
        let escaped = self.0.next()? == '\\' && self.0.next()? == 'u';
        let second = self.unit().filter(|unit| escaped && matches!(unit, 0xdc00..=0xdfff))?;
        char::from_u32((((first & 0x3ff) << 10) | (second & 0x3ff)).saturating_add(0x1_0000))
    }

    fn unit(&mut self) -> Option<u32> {
        (0..4).try_fold(0, |unit, _| Some((unit << 4) | self.0.next()?.to_digit(16)?))
    }
}

#[cfg(test)]
mod tests {
    use super::Text;
    use proptest::prelude::*;

    #[test]
    fn a_surrogate_alone_is_no_text() {
        for json in
            [r#""\ud800""#, r#""\udc00""#, r#""\ud800\u0041""#, r#""\ud800x""#, r#""\ud83d\ud83d""#]
        {
            assert!(Text::read(json).is_none(), "{json}");
        }
        assert_eq!(Text::read(r#""\ud83d\ude00\u0041\/""#).unwrap().as_str(), "😀A/");
    }

    #[test]
    fn what_has_no_escape_is_not_copied() {
        assert!(matches!(
            Text::read("\"4111111111111111\""),
            Some(Text::Plain("4111111111111111"))
        ));
    }

    proptest! {
        #[test]
        fn it_reads_what_serde_json_writes(text in "\\PC*|[\\x00-\\x7f\\\\\"]*") {
            let json = serde_json::to_string(&text).unwrap();
            let read = Text::read(&json).unwrap();
            prop_assert_eq!(read.as_str(), &text);
        }

        #[test]
        fn it_agrees_with_serde_json_about_every_string(inner in "(\\\\u[dD][89a-fA-F][0-9]{2}|\\\\[bfnrtu/\"\\\\]|[a-z0-9é])*") {
            let json = format!("\"{inner}\"");
            if let Ok(raw) = serde_json::from_str::<&serde_json::value::RawValue>(&json) {
                let expected = serde_json::from_str::<String>(&json).ok();
                prop_assert_eq!(Text::read(raw.get()).map(|t| t.to_box().into_string()), expected);
            }
        }
    }
}

//! What cannot be meant, and where it stands.
//!
//! An error names places and numbers only. Everything else in a configuration may be a secret that
//! somebody wrote in the wrong place, and the parser's own messages quote what they read.

use crate::file::{WORDS, is_provider};
use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use std::path::{Path, PathBuf};
use std::{fmt, io};

/// Something that cannot be meant: the file, the line, the field, and what is wrong there.
#[derive(Debug, PartialEq, Eq)]
pub struct Error {
    file: Option<PathBuf>,
    line: Option<usize>,
    field: Option<String>,
    problem: Problem,
}

/// What is wrong with a field.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    #[error("{value} is not in {min}..={max}")]
    OutOfRange { value: u64, min: u64, max: u64 },
    #[error("is larger than {0} bytes")]
    TooLarge(u64),
    #[error("{0}")]
    Unreadable(io::ErrorKind),
    #[error("there is no such provider; there are {0}")]
    NoProvider(String),
    #[error("{0}")]
    Wrong(&'static str),
}

// === impl Error ===

impl Error {
    /// A problem of the field `field`; the line is found later, by [`Error::located`].
    pub(crate) fn at(field: &str, problem: Problem) -> Self {
        Self { file: None, line: None, field: Some(field.to_owned()), problem }
    }

    /// A problem of the field `field` for which there are words.
    pub(crate) fn wrong(field: &str, problem: &'static str) -> Self {
        Self::at(field, Problem::Wrong(problem))
    }

    /// The file could not be read.
    pub(crate) fn unreadable(error: &io::Error) -> Self {
        Self { file: None, line: None, field: None, problem: Problem::Unreadable(error.kind()) }
    }

    /// The file is longer than any configuration.
    pub(crate) fn too_large(bytes_max: u64) -> Self {
        Self { file: None, line: None, field: None, problem: Problem::TooLarge(bytes_max) }
    }

    /// The file speaks of a provider that is not one of these.
    pub(crate) fn no_provider(name: &str, providers: &[&str]) -> Self {
        let problem = Problem::NoProvider(providers.join(", "));
        Self::at(&format!("providers.{name}"), problem)
    }

    /// The bytes are no text: from the byte `at` on.
    pub(crate) fn not_text(bytes: &[u8], at: usize) -> Self {
        let before = bytes.iter().take(at).filter(|byte| **byte == b'\n').count();
        Self::on(before.saturating_add(1), "is not UTF-8")
    }

    /// A problem of a line, and of no field.
    pub(crate) fn on(line: usize, problem: &'static str) -> Self {
        let problem = Problem::Wrong(problem);
        Self { file: None, line: Some(line), field: None, problem }
    }

    /// The text is not of the shape of a configuration.
    pub(crate) fn shape(error: &serde_yaml_ng::Error, text: &str) -> Self {
        let message = error.to_string();
        let path = path_in(&message);
        let said = message.get(path.map_or(0, |path| path.len().saturating_add(2))..);
        let said = said.unwrap_or_default();
        if let Some(twice) = written_twice(said) {
            let field = path.map_or(twice.to_owned(), |path| format!("{path}.{twice}"));
            return Self::wrong(&field, "is written twice").located(text);
        }
        let problem = match said.split_once(' ') {
            Some(("unknown", what)) if what.starts_with("field") => "there is no such field",
            Some(("invalid", _)) => "is not of the right type",
            _ => "not the shape of a configuration",
        };
        let line = error.location().map(|location| location.line());
        // The parser has a place for everything but this.
        if line.is_none()
            && let Some(line) = second_document(text)
        {
            return Self::on(line, "a second document begins: there can be one");
        }
        Self { file: None, line, field: path.map(str::to_owned), problem: Problem::Wrong(problem) }
    }

    /// The same error, with the file in which it was found.
    pub(crate) fn in_file(self, file: &Path) -> Self {
        Self { file: Some(file.to_owned()), ..self }
    }

    /// The same error, with the line of `text` on which its field stands.
    pub(crate) fn located(self, text: &str) -> Self {
        let line = self.field.as_deref().and_then(|field| line_of(text, field));
        Self { line: self.line.or(line), ..self }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{}:{line}: ", file.display())?,
            (Some(file), None) => write!(f, "{}: ", file.display())?,
            (None, Some(line)) => write!(f, "line {line}: ")?,
            (None, None) => {}
        }
        if let Some(field) = &self.field {
            write!(f, "{field}: ")?;
        }
        write!(f, "{}", self.problem)
    }
}

impl std::error::Error for Error {}

/// The dotted path with which the parser begins a message, if it is one of ours.
fn path_in(message: &str) -> Option<&str> {
    let (path, _) = message.split_once(": ")?;
    let ours = path.split('.').all(|word| {
        let word = word.split_once('[').map_or(word, |(word, _)| word);
        WORDS.contains(&word) || is_provider(word)
    });
    ours.then_some(path)
}

/// The field of which the parser says that it came a second time, if it is one of ours.
fn written_twice(said: &str) -> Option<&str> {
    let word = said.strip_prefix("duplicate field `")?.split('`').next()?;
    (WORDS.contains(&word) || is_provider(word)).then_some(word)
}

/// The line on which a second document begins, if there is one.
fn second_document(text: &str) -> Option<usize> {
    let mut documents = serde_yaml_ng::Deserializer::from_str(text);
    // After a document that is none the parser would go on in the midst of it, and panic.
    IgnoredAny::deserialize(documents.next()?).ok()?;
    let failure = Stop { steps: &[] }.deserialize(documents.next()?).err()?;
    failure.location().map(|location| location.line())
}

/// The line on which the value at `path` begins, or the innermost part of the path that is there.
///
/// The parser tells a place only in an error: so it is made to fail at the place in question.
pub(crate) fn line_of(text: &str, path: &str) -> Option<usize> {
    let steps: Vec<&str> = path.split(['.', '[']).map(|step| step.trim_end_matches(']')).collect();
    let parser = serde_yaml_ng::Deserializer::from_str(text);
    let failure = Stop { steps: &steps }.deserialize(parser).err()?;
    failure.location().map(|location| location.line())
}

/// Walks down the steps and fails there.
struct Stop<'a> {
    steps: &'a [&'a str],
}

// === impl Stop ===

impl<'de> DeserializeSeed<'de> for Stop<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Stop<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing here")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if let Some((wanted, steps)) = self.steps.split_first() {
            while let Some(key) = map.next_key::<String>()? {
                if key == *wanted {
                    return map.next_value_seed(Stop { steps });
                }
                map.next_value::<IgnoredAny>()?;
            }
        }
        Err(A::Error::custom("here"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if let Some((wanted, steps)) = self.steps.split_first() {
            for _ in 0..wanted.parse().unwrap_or(0) {
                list.next_element::<IgnoredAny>()?;
            }
            list.next_element_seed(Stop { steps })?;
        }
        Err(A::Error::custom("here"))
    }
}

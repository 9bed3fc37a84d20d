//! Where a secret is kept. A secret itself has no place in a file that people copy to each other.

use model::Secret;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{env, fmt, str};
use zeroize::Zeroizing;

/// How long a secret may be, in bytes.
const SECRET_BYTES_MAX: usize = 4_096;

/// The permission bits of those who are neither the owner nor in the group.
const OTHERS: u32 = 0o007;

/// Where a secret is kept, written as `env:NAME` or `file:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Env(String),
    File(PathBuf),
}

/// Why a secret could not be had: where it was looked for, and never what was found there.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct SourceError {
    place: Source,
    problem: Problem,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Problem {
    #[error("is empty")]
    Empty,
    #[error("may be read or written by everyone; chmod o= it")]
    Open,
    #[error("is longer than {SECRET_BYTES_MAX} bytes")]
    TooLong,
    #[error("is not text")]
    NotText,
    #[error("is not set")]
    Unset,
    #[error("{0}")]
    Unreadable(io::ErrorKind),
}

// === impl Source ===

impl Source {
    /// Reads a reference; a relative path starts from `base`.
    ///
    /// Nothing else is ever taken for one: `None` may well be a secret that somebody wrote out.
    pub fn parse(text: &str, base: &Path) -> Option<Self> {
        match text.split_once(':')? {
            ("env", name) if is_variable(name) => Some(Self::Env(name.to_owned())),
            ("file", path) if !path.is_empty() => Some(Self::File(base.join(path))),
            _ => None,
        }
    }

    /// Goes and gets the secret. One newline at its end is not part of it.
    ///
    /// # Errors
    /// It is not there, not text, empty, too long, or in a file that everyone may read.
    pub fn read(&self) -> Result<Secret, SourceError> {
        let found = match self {
            Self::Env(name) => read_variable(name),
            Self::File(path) => read_file(path),
        };
        found
            .and_then(|bytes| secret(&bytes))
            .map_err(|problem| SourceError { place: self.clone(), problem })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

fn is_variable(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
fn read_variable(name: &str) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let value = env::var_os(name).ok_or(Problem::Unset)?;
    Ok(Zeroizing::new(value.into_encoded_bytes()))
}

fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let unreadable = |error: io::Error| Problem::Unreadable(error.kind());
    let file = File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.mode() & OTHERS != 0 {
        return Err(Problem::Open);
    }
    // Room for all of it from the start: growing would leave copies behind.
    let mut bytes = Zeroizing::new(vec![0; SECRET_BYTES_MAX.saturating_add(2)]);
    let len = fill(file, &mut bytes).map_err(unreadable)?;
    bytes.truncate(len);
    Ok(bytes)
}

/// Reads until the end, or until `buffer` is full, and tells how much that was.
fn fill(mut from: impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut len: usize = 0;
    while let Some(rest) = buffer.get_mut(len..).filter(|rest| !rest.is_empty()) {
        match from.read(rest) {
            Ok(0) => break,
            Ok(more) => len = len.saturating_add(more),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

fn secret(bytes: &[u8]) -> Result<Secret, Problem> {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    match str::from_utf8(bytes) {
        _ if bytes.len() > SECRET_BYTES_MAX => Err(Problem::TooLong),
        Ok("") => Err(Problem::Empty),
        Ok(text) => Ok(Secret::new(text)),
        Err(_) => Err(Problem::NotText),
    }
}

#[cfg(test)]
mod tests {
    use super::{SECRET_BYTES_MAX, Source};
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};

    #[test]
    fn references_are_read_and_nothing_else_is() {
        let base = Path::new("/etc/orchestra");
        for (text, expected) in [
            ("env:PIN", Some(Source::Env("PIN".into()))),
            ("file:/run/pin", Some(Source::File("/run/pin".into()))),
            ("file:pin", Some(Source::File("/etc/orchestra/pin".into()))),
            ("env:", None),
            ("env:1PIN", None),
            ("env:A B", None),
            ("file:", None),
            ("vault:pin", None),
            ("1234", None),
            ("", None),
        ] {
            assert_eq!(Source::parse(text, base), expected, "{text}");
        }
    }

    #[test]
    fn a_file_is_read_without_its_last_newline() {
        let file = Scratch::new("good", b"12 34\n");
        // Exposed to compare it with what was written.
        assert_eq!(file.source().read().unwrap().expose(), "12 34");
    }

    #[test]
    fn what_cannot_be_a_secret_is_refused_and_not_shown() {
        let long = vec![b'c'; SECRET_BYTES_MAX + 1];
        for (name, content, problem) in [
            ("empty", &b"\n"[..], "is empty"),
            ("binary", b"canary\xff", "is not text"),
            ("long", &long, "is longer than 4096 bytes"),
        ] {
            let file = Scratch::new(name, content);
            let error = file.source().read().unwrap_err();
            assert_eq!(error.to_string(), format!("file:{}: {problem}", file.0.display()));
            assert!(!format!("{error:?}").contains("canary"));
        }
    }

    #[test]
    fn a_secret_that_everyone_may_read_is_refused() {
        let file = Scratch::new("open", b"1234");
        fs::set_permissions(&file.0, Permissions::from_mode(0o644)).unwrap();
        assert!(file.source().read().unwrap_err().to_string().contains("chmod"));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let variable = Source::Env("ORCHESTRA_TEST_NOT_SET".into());
        let error = variable.read().unwrap_err().to_string();
        assert_eq!(error, "env:ORCHESTRA_TEST_NOT_SET: is not set");
        let file = Source::File("/nowhere/pin".into());
        assert_eq!(file.read().unwrap_err().to_string(), "file:/nowhere/pin: entity not found");
    }

    /// A file that is gone when the test is.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str, content: &[u8]) -> Self {
            let name = format!("orchestra-source-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            Self(path)
        }

        fn source(&self) -> Source {
            Source::File(self.0.clone())
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_file(&self.0).unwrap();
        }
    }
}

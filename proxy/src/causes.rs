//! An error with its causes, as it is told.

use anyhow::Error;

/// The error and what caused it, each once: many an error has the words of its cause in its own.
pub(crate) fn causes(error: &Error) -> String {
    let mut told = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if told.contains(&cause) {
            continue;
        }
        if !told.is_empty() {
            told.push_str(": ");
        }
        told.push_str(&cause);
    }
    told
}

#[cfg(test)]
mod tests {
    use super::causes;
    use anyhow::{Context as _, Error};
    use std::io;
    use vault::BackupError;

    #[test]
    fn each_cause_is_told_once() {
        let io = || io::Error::other("the disk is away");
        for (error, expected) in [
            (Error::new(io()), "the disk is away"),
            (Error::new(io()).context("a file"), "a file: the disk is away"),
            (
                Error::new(BackupError::Io(io())),
                "the backup cannot be read or written: the disk is away",
            ),
            (
                Err::<(), _>(BackupError::Io(io())).context("verify").unwrap_err(),
                "verify: the backup cannot be read or written: the disk is away",
            ),
        ] {
            assert_eq!(causes(&error), expected);
        }
    }
}

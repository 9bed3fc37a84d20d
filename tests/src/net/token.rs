//! SoftHSM's token, as far as a kill of its user harms it.
//!
//! SoftHSM writes the file of the token anew, in place, at every login. Whoever is killed at that
//! moment leaves it cut short, and then there is no token any more: a failure of the software that
//! stands in for a module, and of no module. It holds PINs and flags, which do not change here.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The file of the only token, as it was made.
#[derive(Debug)]
pub(super) struct TokenFile {
    path: PathBuf,
    whole: Vec<u8>,
}

// === impl TokenFile ===

impl TokenFile {
    /// Finds the file in the directory of all tokens.
    pub(super) fn keep(tokens: &Path) -> io::Result<Self> {
        for token in fs::read_dir(tokens)? {
            let path = token?.path().join("token.object");
            if let Ok(whole) = fs::read(&path) {
                return Ok(Self { path, whole });
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }

    /// Puts back what was cut short.
    pub(super) fn mend(&self) -> io::Result<()> {
        if fs::metadata(&self.path)?.len() != u64::try_from(self.whole.len()).unwrap_or(u64::MAX) {
            fs::write(&self.path, &self.whole)?;
        }
        Ok(())
    }
}

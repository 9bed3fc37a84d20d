//! A directory for one test.

use std::path::{Path, PathBuf};
use std::{env, fs, process};

/// A directory that is gone when the test is.
pub(crate) struct Scratch(PathBuf);

// === impl Scratch ===

impl Scratch {
    /// One of this name, which no other test has.
    pub(crate) fn new(name: &str) -> Self {
        let directory = env::temp_dir().join(format!("orchestra-{name}-{}", process::id()));
        fs::create_dir_all(&directory).unwrap();
        Self(directory)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

//! A directory that goes away with its test.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

static COUNT: AtomicU32 = AtomicU32::new(0);

// === impl Scratch ===

impl Scratch {
    pub(crate) fn new() -> Self {
        Self::within(&env::temp_dir()).unwrap()
    }

    /// None: there is no such place.
    pub(crate) fn within(place: &Path) -> Option<Self> {
        place.is_dir().then_some(())?;
        loop {
            let nth = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = place.join(format!("orchestra-store-{}-{nth}", process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Some(Self(path)),
                // Left behind by a process that had this number before, and was killed.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

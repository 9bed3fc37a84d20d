//! Filling an empty place with the rows of a walk.
//!
//! The format is written last: what was cut short before has none, and does not open. A file says that
//! whoever restores is not done with it, since there is more to do than to fill it.

use super::Collection;
use super::OpenError;
use super::examination::failed;
use super::opening::{self, FORMAT_KEY, Opened};
use super::trees::{LEDGER_KEY, TreeName};
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// After how many bytes what was put is flushed, so that memory does not grow with the store.
const FLUSH_BYTES: usize = 8 << 20;

/// The file that is there until [`Restore::end`].
const UNFINISHED: &str = "unfinished";

/// A store that is being filled.
pub struct Restore {
    directory: PathBuf,
    opened: Opened,
    format: Option<Vec<u8>>,
    unflushed: usize,
}

// === impl Restore ===

impl Restore {
    /// Begins a store in `directory`, which is missing or empty.
    ///
    /// # Errors
    /// Each says what to do next.
    pub fn begin(directory: &Path, cache_bytes: u64) -> Result<Self, OpenError> {
        let opened = opening::begin(directory, cache_bytes.into())?;
        let path = directory.join(UNFINISHED);
        let made = File::create(&path).and_then(|file| file.sync_all());
        made.map_err(failed("make", &path))?;
        sync(directory)?;
        Ok(Self { directory: directory.to_owned(), opened, format: None, unflushed: 0 })
    }

    /// Puts a row that a walk told of; a later one replaces it.
    ///
    /// # Errors
    /// No walk tells of such a row, or the disk fails.
    pub fn put(&mut self, tree: &str, key: &[u8], record: Option<&[u8]>) -> Result<(), OpenError> {
        if tree == Collection::Meta.name() && key == FORMAT_KEY {
            self.format = record.map(<[u8]>::to_vec);
            return Ok(());
        }
        let unknown = || opening::damaged(&self.directory, "a row is of no collection");
        let tree = TreeName::named(tree).ok_or_else(unknown)?;
        let put = self.opened.trees.put(tree, key, record);
        put.map_err(opening::of_sled(&self.directory))?;
        let bytes = record.map_or(0, <[u8]>::len).saturating_add(key.len());
        self.unflushed = self.unflushed.saturating_add(bytes);
        if self.unflushed > FLUSH_BYTES { self.flush() } else { Ok(()) }
    }

    /// Makes it a store that opens for whoever restores it, with the ledger's row of the end of the
    /// walk.
    ///
    /// # Errors
    /// There was no format among the rows, or the disk fails.
    pub fn finish(mut self, ledger: &[u8]) -> Result<(), OpenError> {
        let no_format = || opening::damaged(&self.directory, "the format is missing");
        let format = self.format.take().ok_or_else(no_format)?;
        self.finish_with(TreeName::Ledger, LEDGER_KEY, ledger)?;
        self.finish_with(TreeName::Of(Collection::Meta), FORMAT_KEY, &format)?;
        self.opened.mark_reached(&self.directory)
    }

    /// Makes what was finished a store that opens for everybody.
    ///
    /// # Errors
    /// The file that says otherwise cannot be removed.
    pub fn end(directory: &Path) -> Result<(), OpenError> {
        let path = directory.join(UNFINISHED);
        fs::remove_file(&path).map_err(failed("remove", &path))?;
        sync(directory)
    }

    /// Refuses a store that was not ended.
    pub(super) fn check_ended(directory: &Path) -> Result<(), OpenError> {
        if directory.join(UNFINISHED).exists() {
            return Err(OpenError::Unfinished(directory.to_owned()));
        }
        Ok(())
    }

    fn finish_with(&mut self, tree: TreeName, key: &[u8], row: &[u8]) -> Result<(), OpenError> {
        let put = self.opened.trees.put(tree, key, Some(row));
        put.map_err(opening::of_sled(&self.directory))?;
        self.flush()
    }

    fn flush(&mut self) -> Result<(), OpenError> {
        self.unflushed = 0;
        self.opened.db.flush().map(|_| ()).map_err(opening::of_sled(&self.directory))
    }
}

fn sync(directory: &Path) -> Result<(), OpenError> {
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(failed("sync", directory))
}

impl fmt::Debug for Restore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Restore").field(&self.directory).finish()
    }
}

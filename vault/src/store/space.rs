//! Whether there is disk left to write to.
//!
//! sled does not survive a full disk: the failed write stops its log for good, and the process
//! with it. So the store stops writing while there is still room, and goes on reading; when there
//! is room again, so does writing.

use super::StoreError;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What must stay free on the disk: many times what can be written between two looks at it.
const FREE_BYTES_MIN: u64 = 64 << 20;

/// How often the disk is looked at while there is room.
const LOOK_PERIOD: Duration = Duration::from_millis(50);

/// What opening takes: the trace of the self-test, and a snapshot of where each page is. It is
/// less than what writing takes, so that a store that is full can be opened, to be read.
pub(super) const OPEN_BYTES_MIN: u64 = 16 << 20;

/// The room on the disk of one directory.
#[derive(Debug)]
pub(super) struct Space {
    directory: PathBuf,
    least: AtomicU64,
    full: AtomicBool,
    looked: Mutex<Instant>,
}

// === impl Space ===

impl Space {
    pub(super) fn new(directory: &Path) -> Self {
        let space = Self {
            directory: directory.to_owned(),
            least: AtomicU64::new(FREE_BYTES_MIN),
            full: AtomicBool::new(false),
            looked: Mutex::new(Instant::now()),
        };
        space.look();
        space
    }

    /// Refuses a write when the disk is full. While it is not, this costs nothing.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        if self.full.load(Relaxed) {
            self.look();
        }
        if self.full.load(Relaxed) { Err(StoreError::Full) } else { Ok(()) }
    }

    /// Looks at the disk if the last time is long enough ago.
    pub(super) fn keep_looking(&self) {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.elapsed() >= LOOK_PERIOD {
            *looked = Instant::now();
            self.look();
        }
    }

    /// Looks at the disk, for the checks that follow.
    pub(super) fn look(&self) {
        // A disk that cannot be asked is judged by what becomes of the writes.
        let full = self.free().is_ok_and(|free| free < self.least.load(Relaxed));
        if self.full.swap(full, Relaxed) != full {
            self.tell(full);
        }
    }

    pub(super) fn free(&self) -> io::Result<u64> {
        fs2::available_space(&self.directory)
    }

    fn tell(&self, full: bool) {
        let directory = self.directory.display();
        if full {
            log::error!("store: the disk under {directory} is full; writes are refused");
        } else {
            log::warn!("store: the disk under {directory} has room again");
        }
    }

    #[cfg(test)]
    pub(super) fn pretend_least(&self, least: u64) {
        self.least.store(least, Relaxed);
        self.look();
    }
}

//! What the store counts.

use super::StoreFigures;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// A flush that takes longer than this means that the disk is stuck.
const FLUSH_STUCK: Duration = Duration::from_secs(30);

const NOT_FLUSHING: u64 = 0;

/// Counters that any thread may add to.
#[derive(Debug)]
pub(super) struct Counters {
    opened: Instant,
    /// When the flush that runs now began, in milliseconds since opening, plus one.
    flushing: AtomicU64,
    flushes: AtomicU64,
    commits: AtomicU64,
    wait_us_sum: AtomicU64,
    wait_us_max: AtomicU64,
    waiting: AtomicU64,
    refused_full: AtomicU64,
}

// === impl Counters ===

impl Counters {
    pub(super) fn commit_begins(&self) {
        self.waiting.fetch_add(1, Relaxed);
    }

    pub(super) fn committed(&self, waited: Duration) {
        let us = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        self.waiting.fetch_sub(1, Relaxed);
        self.commits.fetch_add(1, Relaxed);
        self.wait_us_sum.fetch_add(us, Relaxed);
        self.wait_us_max.fetch_max(us, Relaxed);
    }

    pub(super) fn flush_begins(&self) {
        self.flushing.store(self.now_ms().saturating_add(1), Relaxed);
    }

    pub(super) fn flush_ends(&self) {
        self.flushing.store(NOT_FLUSHING, Relaxed);
        self.flushes.fetch_add(1, Relaxed);
    }

    pub(super) fn refused_full(&self) {
        self.refused_full.fetch_add(1, Relaxed);
    }

    /// Whether a flush has been running for so long that the disk must be stuck.
    pub(super) fn is_stuck(&self) -> bool {
        let since = self.flushing.load(Relaxed);
        let limit = u64::try_from(FLUSH_STUCK.as_millis()).unwrap_or(u64::MAX);
        since != NOT_FLUSHING && self.now_ms().saturating_sub(since) > limit
    }

    /// All but what the data file knows: syncs, its length, and gaps in it.
    pub(super) fn read(&self) -> StoreFigures {
        StoreFigures {
            flushes: self.flushes.load(Relaxed),
            syncs: 0,
            commits: self.commits.load(Relaxed),
            commit_wait_us_sum: self.wait_us_sum.load(Relaxed),
            commit_wait_us_max: self.wait_us_max.load(Relaxed),
            waiting: self.waiting.load(Relaxed),
            refused_full: self.refused_full.load(Relaxed),
            disk_bytes: 0,
            log_gaps: 0,
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            opened: Instant::now(),
            flushing: AtomicU64::new(NOT_FLUSHING),
            flushes: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            wait_us_sum: AtomicU64::new(0),
            wait_us_max: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            refused_full: AtomicU64::new(0),
        }
    }
}

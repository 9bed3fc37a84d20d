//! What the vault did, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the vault did since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub audit: crate::audit::Figures,
    /// Commits that were waited for, and became durable.
    pub commits: u64,
    /// How long these waited in all.
    pub commit_wait_sum_us: u64,
    /// How long the slowest of them waited.
    pub commit_wait_max_us: u64,
    /// Commits that wait now.
    pub commits_waiting: u64,
    /// Flushes, each shared by all writers that waited.
    pub flushes: u64,
    /// Writes that were refused because the disk is full.
    pub refused_full: u64,
    pub hsm_calls: u64,
    pub hsm_errors: u64,
    /// Records that were sealed.
    pub seals: u64,
    /// Records that were opened.
    pub opens: u64,
    /// Records that did not open: someone should look.
    pub opens_refused: u64,
    pub tokens_kept: u64,
    pub tokens_opened: u64,
    pub cvvs_in_memory: u64,
}

/// Whether the parts of the vault work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Whether the audit log takes lines. Without it no card is opened, and nothing is changed.
    pub audit: bool,
    pub store: bool,
    pub hsm: bool,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

/// What the vault itself counts.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) seals: Count,
    pub(crate) opens: Count,
    pub(crate) opens_refused: Count,
    pub(crate) tokens_kept: Count,
    pub(crate) tokens_opened: Count,
}

// === impl Count ===

impl Count {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

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
    /// How long the store's data file is.
    pub disk_bytes: u64,
    /// 1 if a part of the store's log could not be read when it was opened.
    pub log_gaps: u64,
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
    /// Tokens that were removed because their time was over.
    pub tokens_expired: u64,
    pub cvvs_in_memory: u64,
    /// Payments and changes of payments that are under way, and that are in doubt.
    pub payments_open: u64,
    pub payments_in_doubt: u64,
    /// Payments that must not stand, and are not undone yet.
    pub payments_stray: u64,
    /// Keys by state, those of the token among them.
    pub keys_pre_active: u64,
    pub keys_active: u64,
    pub keys_decrypt_only: u64,
    pub keys_destroyed: u64,
    /// The most seals of one data key that is in use.
    pub key_seals_max: u64,
    /// After how many another takes its place.
    pub key_seals_limit: u64,
    /// The age of the oldest data key in use, and of the key in the token.
    pub key_age_max_s: u64,
    pub kek_age_s: u64,
    /// The age of the oldest key that the token still has.
    pub kek_age_max_s: u64,
    /// How long ago the oldest deletion was that is not final yet; 0 when all are, and while the keys
    /// are locked up.
    pub deletion_age_max_s: u64,
    /// Custodians, and those whose word does not count yet: none while the keys are locked up.
    pub custodians: u64,
    pub custodians_new: u64,
    /// 1 while the keys are locked up because the token has been away for too long.
    pub keys_locked: u64,
    /// How long ago the token last did what it was asked.
    pub hsm_silent_ms: u64,
    /// Memory for keys that is locked, and that the system did not lock.
    pub key_memory_locked_bytes: u64,
    pub key_memory_unlocked_bytes: u64,
    /// 1 if this process can be dumped or attached to, and 1 if all of its memory is locked.
    pub process_dumpable: u64,
    pub process_memory_locked: u64,
    /// Of the rotation that is under way: 1 if one is, and how far it is.
    pub rotating: u64,
    pub rotation_keys: u64,
    pub rotation_keys_done: u64,
    pub rotation_records: u64,
    pub rotation_refused: u64,
    pub rotations_ended: u64,
    /// Backups that were written to their end, and when the last of them was begun; 0 when there is
    /// none since the vault was opened.
    pub backups: u64,
    pub backup_time: u64,
    /// Checks of everything, and those that found something: someone should look.
    pub verifies: u64,
    pub verifies_failed: u64,
    /// How often the ledger was written.
    pub ledger: u64,
}

/// Whether the parts of the vault work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Whether the audit log takes lines. Without it no card is opened, and nothing is changed.
    pub audit: bool,
    pub store: bool,
    pub hsm: bool,
    /// Whether the data keys are in memory.
    pub keys: bool,
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
    pub(crate) tokens_expired: Count,
    pub(crate) backups: Count,
    pub(crate) backup_time: AtomicU64,
    pub(crate) verifies: Count,
    pub(crate) verifies_failed: Count,
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

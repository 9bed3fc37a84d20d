//! `orchestra serve`

use super::{load, settings};
use crate::program_log;
use anyhow::Result;
use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::path::Path;
use std::sync::Arc;
use vault::{Hardening, Vault};

const EXAMPLES: &str = "\
Examples:
  orchestra serve
  orchestra serve --conf /etc/orchestra/orchestra.yaml

Without the hardware security module, or with a wrong PIN, it refuses to start and says what to do.
SIGTERM and SIGINT end it after the payments that are under way; SIGHUP makes it read its
certificates again, and say what else has changed in the configuration.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Serve {}

// === impl Serve ===

impl Serve {
    pub(super) fn run(self, conf: &Path, hardening: Hardening) -> Result<()> {
        program_log::start();
        take_small_pages();
        let config = load(conf)?;
        take_file_handles(config.limits.connections_max);
        let vault = Arc::new(Vault::open(&settings(&config)?)?);
        warn_of(hardening);
        crate::serve::run(config, vault, conf)
    }
}

/// Has the kernel give memory by small pages only. One of 2 MiB is cleared by whoever needs its first
/// byte, and a payment would wait for that, and behind it those of the same thread.
fn take_small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        log::warn!("huge pages cannot be refused; some payments may take longer ({error})");
    }
}

/// Takes as many file handles as the kernel gives, and says so when they are too few. Where they run out,
/// whoever holds connections keeps the payments of others from reaching a provider.
fn take_file_handles(connections_max: usize) {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let taken = setrlimit(Resource::Nofile, most).map_or(limit.current, |()| limit.maximum);
    let wanted = connections_max.saturating_add(FILES_BESIDE);
    if let Some(files) = taken.filter(|files| usize::try_from(*files).is_ok_and(|n| n < wanted)) {
        log::warn!(
            "{files} files may be open, and limits.connections_max is {connections_max}: payments can \
             be kept from reaching a provider (raise LimitNOFILE, or lower limits.connections_max)"
        );
    }
}

/// How many files may be open beside the connections of clients: those to providers above all.
const FILES_BESIDE: usize = 1_000;

/// Says what the operator should know of a process that is less shut off than it could be.
fn warn_of(hardening: Hardening) {
    if !hardening.no_dumps {
        log::warn!("this process can be dumped; keys may reach a core file");
    }
    if !hardening.memory_locked {
        log::warn!("memory is not locked; keys may reach swap (raise LimitMEMLOCK)");
    }
}

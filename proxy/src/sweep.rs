//! Removes tokens whose time is over: PCI DSS 3.2.1 wants what is no longer needed to be gone.

use crate::clock;
use anyhow::Result;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use vault::{SweepCursor, Vault, wait};

/// How long it rests after a walk over all tokens.
const WALK_PERIOD: Duration = Duration::from_secs(3_600);
/// How long it rests after each page, so that payments do not feel it.
const PAGE_PERIOD: Duration = Duration::from_millis(20);

/// Walks until it is dropped.
#[derive(Debug)]
pub(crate) struct Sweeping {
    alive: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Begins to walk over the tokens, in a thread of its own.
pub(crate) fn spawn(vault: Arc<Vault>) -> Result<Sweeping> {
    let (alive, ended) = mpsc::sync_channel::<()>(1);
    let walk = move || {
        let mut cursor = SweepCursor::default();
        let mut pause = PAGE_PERIOD;
        while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
            pause = step(&vault, &mut cursor);
        }
    };
    let thread: io::Result<_> = thread::Builder::new().name("token-sweeper".into()).spawn(walk);
    Ok(Sweeping { alive: Some(alive), thread: Some(thread?) })
}

/// Looks at a page of tokens, and says how long to rest.
fn step(vault: &Vault, cursor: &mut SweepCursor) -> Duration {
    match wait(vault.sweep_tokens(cursor, clock::now_millis())) {
        Ok((_, false)) => PAGE_PERIOD,
        Ok((_, true)) => {
            *cursor = SweepCursor::default();
            WALK_PERIOD
        }
        Err(error) => {
            log::warn!("tokens whose time is over could not be removed: {error}");
            *cursor = SweepCursor::default();
            WALK_PERIOD
        }
    }
}

// === impl Sweeping ===

impl Drop for Sweeping {
    fn drop(&mut self) {
        drop(self.alive.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            log::error!("the thread that removes tokens panicked");
        }
    }
}

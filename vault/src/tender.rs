//! The thread that tends a vault while it serves.

use crate::rotation::Tended;
use crate::{OpenError, Vault, key_life};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};

/// Watches the token and carries rotations on, until it is dropped.
#[derive(Debug)]
pub struct Tender {
    alive: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

// === impl Tender ===

impl Tender {
    /// Begins to tend `vault`. It does not keep it open.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(vault: &Arc<Vault>) -> Result<Self, OpenError> {
        let vault: Weak<Vault> = Arc::downgrade(vault);
        let (alive, ended) = mpsc::sync_channel::<()>(1);
        let body = move || {
            while let Some(vault) = vault.upgrade() {
                let (Tended::Idle(pause) | Tended::Worked(pause)) = vault.tend(key_life::now());
                drop(vault);
                if ended.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("tender".into()).spawn(body);
        let thread = thread.map_err(|_| OpenError::NoThread)?;
        Ok(Self { alive: Some(alive), thread: Some(thread) })
    }
}

impl Drop for Tender {
    fn drop(&mut self) {
        drop(self.alive.take());
        // A step is short: a page of records, or a call of the token with its deadline.
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            log::error!("the thread that tends the keys panicked");
        }
    }
}

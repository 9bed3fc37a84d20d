//! A journal with nothing in it: a thread that appends for all who wait, and syncs once for them.
//!
//! It keeps nothing that could be read again. What it costs is what two bare synced writes cost so.

use std::fs::File;
use std::io;
use std::mem;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use tokio::sync::oneshot;
use tokio::task::yield_now;

/// The file is as long as one of the vault's log, and written before, as that is.
const FILE_BYTES: usize = 8 << 20;
/// How much is written for each who waits: no disk writes less.
const SECTOR: [u8; 512] = [1; 512];

/// The handle on the thread.
#[derive(Debug)]
pub struct Journal(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<oneshot::Sender<()>>,
    /// The thread waits, and must be woken.
    idle: bool,
}

/// Wakes the thread when it is dropped.
struct Wake<'a>(&'a Condvar);

// === impl Journal ===

impl Journal {
    /// Makes the file, which must not be there, and starts the thread.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = File::create_new(path)?;
        file.write_all_at(&vec![1; FILE_BYTES], 0)?;
        file.sync_all()?;
        let shared = Arc::<Shared>::default();
        let journal = Self(Arc::clone(&shared));
        thread::Builder::new().name("journal".into()).spawn(move || shared.run(&file))?;
        Ok(journal)
    }

    /// Waits until a sector is durable.
    ///
    /// # Errors
    /// The disk failed.
    pub async fn write(&self) -> io::Result<()> {
        let (tell, told) = oneshot::channel();
        if self.0.push(tell) {
            // All others that can go on share the sync. Who goes away meanwhile wakes the thread too.
            let _wake = Wake(&self.0.filled);
            yield_now().await;
        }
        told.await.map_err(io::Error::other)
    }
}

// === impl Wake ===

impl Drop for Wake<'_> {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

// === impl Shared ===

impl Shared {
    /// Says whether the thread must be woken.
    fn push(&self, tell: oneshot::Sender<()>) -> bool {
        let mut queue = self.lock();
        queue.waiting.push(tell);
        mem::take(&mut queue.idle)
    }

    /// Who waits when the disk has failed hears that nobody answers.
    fn run(&self, file: &File) {
        let mut at = 0;
        loop {
            let waiting = self.take();
            let bytes = SECTOR.repeat(waiting.len());
            if FILE_BYTES.saturating_sub(at) < bytes.len() {
                at = 0;
            }
            let offset = u64::try_from(at).unwrap_or_default();
            if file.write_all_at(&bytes, offset).and_then(|()| file.sync_data()).is_ok() {
                // Who no longer waits has gone.
                for tell in waiting {
                    tell.send(()).ok();
                }
            }
            at = at.saturating_add(bytes.len());
        }
    }

    fn take(&self) -> Vec<oneshot::Sender<()>> {
        let nobody = |queue: &mut Queue| {
            queue.idle = queue.waiting.is_empty();
            queue.idle
        };
        let queue = self.filled.wait_while(self.lock(), nobody);
        mem::take(&mut queue.unwrap_or_else(PoisonError::into_inner).waiting)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

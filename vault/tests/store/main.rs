//! The durable store from outside: against a model, against kill -9, and at the door.
#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "a test that cannot go on says where"
)]

mod clerk;
mod crash;
mod damage;
mod ledger;
mod memory;
mod model;
mod opening;
mod scratch;
mod sharing;
mod space;

use clerk::Clerk;
use scratch::Scratch;
use std::path::Path;
use std::sync::Arc;
use vault::store::{SledStore, Tuning};

/// The smallest cache, so that pages are read back from the disk.
const CACHE: u64 = 8 << 20;

/// How long a file of the write-ahead log is: so short that rows are in memory, on their way into
/// sled, and there, all at the same time.
const LOG_BYTES: u64 = 32 * 1024;

fn tuning() -> Tuning {
    Tuning { log_bytes: LOG_BYTES, ..CACHE.into() }
}

fn create(scratch: &Scratch) -> SledStore {
    let store = SledStore::create(scratch.path(), tuning()).unwrap();
    store.begin_ledger(Arc::new(Clerk(1)), 0).unwrap();
    store
}

fn open(path: &Path) -> SledStore {
    let store = SledStore::open(path, tuning()).unwrap();
    store.resume_ledger(Arc::new(Clerk(1))).unwrap();
    store
}

//! The durable store from outside: against a model, against kill -9, and at the door.
#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "a test that cannot go on says where"
)]

mod crash;
mod model;
mod opening;
mod scratch;
mod sharing;

use scratch::Scratch;
use std::path::Path;
use vault::store::SledStore;

/// The smallest cache, so that pages are read back from the disk.
const CACHE: u64 = 8 << 20;

fn create(scratch: &Scratch) -> SledStore {
    SledStore::create(scratch.path(), CACHE).unwrap()
}

fn open(path: &Path) -> SledStore {
    SledStore::open(path, CACHE).unwrap()
}

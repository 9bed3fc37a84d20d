//! The store on sled.

use super::{Collection, Entry, OpenError, Pending, Store, StoreError, StoreFigures, Write};
use std::path::Path;

/// The embedded store of one machine.
#[derive(Debug)]
pub struct SledStore {}

impl SledStore {
    /// Makes a new store in `directory`, which is missing or empty.
    pub fn create(directory: &Path, _cache_bytes: u64) -> Result<Self, OpenError> {
        Err(OpenError::Missing(directory.to_owned()))
    }

    /// Opens the store that is in `directory`.
    pub fn open(directory: &Path, _cache_bytes: u64) -> Result<Self, OpenError> {
        Err(OpenError::Missing(directory.to_owned()))
    }

    /// Whether writes get through: the store is open, and no flush has been stuck for long.
    pub fn healthy(&self) -> bool {
        false
    }

    /// What was counted since the store was opened.
    pub fn figures(&self) -> StoreFigures {
        StoreFigures::default()
    }

    /// Makes everything durable and refuses further writes. Reading goes on until it is dropped.
    pub fn close(&self) {}
}

impl Store for SledStore {
    fn get(&self, _: Collection, _: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Err(StoreError::Unavailable)
    }

    fn page(
        &self,
        _: Collection,
        _: Option<&[u8]>,
        _: &[u8],
        _: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        Err(StoreError::Unavailable)
    }

    fn put_if_absent(&self, _: Collection, _: Vec<u8>, _: Vec<u8>) -> Pending<'_, bool> {
        Box::pin(async { Err(StoreError::Unavailable) })
    }

    fn compare_and_swap(
        &self,
        _: Collection,
        _: Vec<u8>,
        _: Option<Vec<u8>>,
        _: Option<Vec<u8>>,
    ) -> Pending<'_, bool> {
        Box::pin(async { Err(StoreError::Unavailable) })
    }

    fn batch(&self, _: Vec<Write>) -> Pending<'_, ()> {
        Box::pin(async { Err(StoreError::Unavailable) })
    }

    fn durable(&self) -> Pending<'_, ()> {
        Box::pin(async { Err(StoreError::Unavailable) })
    }
}

//! A second engine: a map in memory that keeps the promise of [`Store`] as long as it lives.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard};
use vault::store::{
    BATCH_BYTES_MAX, BATCH_WRITES_MAX, Collection, Entry, KEY_BYTES_MAX, PAGE_ENTRIES_MAX, Pending,
    Store, StoreError, Swap, VALUE_BYTES_MAX, Write,
};

type Rows = BTreeMap<(&'static str, Vec<u8>), Vec<u8>>;

/// What one of them does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// A put takes the place of what is there.
    PutOverwrites,
    /// A swap does not look at what is there.
    SwapBlindly,
    /// Swaps that belong together are made as far as each finds what it is to find.
    SwapsInPart,
    /// A refused batch has done what stands before what was refused.
    HalfBatch,
    /// A page begins with the key after which it should begin.
    PageIncludes,
    /// A page goes on behind the prefix.
    PageOverruns,
    /// The last of all keys is forgotten by whoever opens it again.
    Forgets,
}

#[derive(Clone, Debug)]
pub(crate) struct Memory {
    rows: Arc<Mutex<Rows>>,
    flaw: Option<Flaw>,
}

// === impl Flaw ===

impl Flaw {
    pub(crate) const ALL: [Self; 7] = [
        Self::PutOverwrites,
        Self::SwapBlindly,
        Self::SwapsInPart,
        Self::HalfBatch,
        Self::PageIncludes,
        Self::PageOverruns,
        Self::Forgets,
    ];
}

// === impl Memory ===

impl Memory {
    pub(crate) fn new(flaw: Option<Flaw>) -> Self {
        Self { rows: Arc::default(), flaw }
    }

    /// Another handle on the same rows, as if it had been closed and opened.
    pub(crate) fn again(&self) -> Self {
        if self.flaw == Some(Flaw::Forgets) {
            self.rows().pop_last();
        }
        self.clone()
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap()
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    fn swap(
        &self,
        collection: Collection,
        key: Vec<u8>,
        old: Option<&Vec<u8>>,
        new: Option<Vec<u8>>,
    ) -> Result<bool, StoreError> {
        check(&key, old)?;
        check(&key, new.as_ref())?;
        let mut rows = self.rows();
        let name = (collection.name(), key);
        let blind = self.has(Flaw::SwapBlindly)
            || self.has(Flaw::PutOverwrites) && old.is_none() && new.is_some();
        if rows.get(&name) != old && !blind {
            return Ok(false);
        }
        put(&mut rows, name, new);
        Ok(true)
    }

    fn write_all(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        let mut rows = self.rows();
        let before = rows.clone();
        let done = write_all(&mut rows, writes);
        if done.is_err() && !self.has(Flaw::HalfBatch) {
            *rows = before;
        }
        done
    }
}

fn write_all(rows: &mut Rows, writes: Vec<Write>) -> Result<(), StoreError> {
    let mut bytes = 0;
    let count = writes.len();
    for write in writes {
        let (collection, key, value) = match write {
            Write::Put { collection, key, value } => (collection, key, Some(value)),
            Write::Delete { collection, key } => (collection, key, None),
        };
        check(&key, value.as_ref())?;
        bytes += key.len() + value.as_ref().map_or(0, Vec::len);
        put(rows, (collection.name(), key), value);
    }
    let fits = count <= BATCH_WRITES_MAX && bytes <= BATCH_BYTES_MAX;
    if fits { Ok(()) } else { Err(StoreError::TooLarge) }
}

fn put(rows: &mut Rows, name: (&'static str, Vec<u8>), value: Option<Vec<u8>>) {
    match value {
        Some(value) => drop(rows.insert(name, value)),
        None => drop(rows.remove(&name)),
    }
}

fn check(key: &[u8], value: Option<&Vec<u8>>) -> Result<(), StoreError> {
    let fits =
        key.len() <= KEY_BYTES_MAX && value.is_none_or(|value| value.len() <= VALUE_BYTES_MAX);
    if fits { Ok(()) } else { Err(StoreError::TooLarge) }
}

impl Store for Memory {
    fn get(&self, collection: Collection, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.rows().get(&(collection.name(), key.to_vec())).cloned())
    }

    fn page(
        &self,
        collection: Collection,
        after: Option<&[u8]>,
        prefix: &[u8],
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let later = |key: &[u8]| {
            after.is_none_or(|after| key > after || self.has(Flaw::PageIncludes) && key == after)
        };
        let within = |key: &[u8]| match self.flaw {
            Some(Flaw::PageOverruns) => key >= prefix,
            _ => key.starts_with(prefix),
        };
        let rows = self.rows();
        let found = rows
            .iter()
            .filter(|((name, key), _)| *name == collection.name() && later(key) && within(key));
        let page = found.map(|((_, key), value)| (key.clone(), value.clone()));
        Ok(page.take(limit.min(PAGE_ENTRIES_MAX)).collect())
    }

    fn put_if_absent(
        &self,
        collection: Collection,
        key: Vec<u8>,
        value: Vec<u8>,
    ) -> Pending<'_, bool> {
        Box::pin(ready(self.swap(collection, key, None, Some(value))))
    }

    fn compare_and_swap(
        &self,
        collection: Collection,
        key: Vec<u8>,
        old: Option<Vec<u8>>,
        new: Option<Vec<u8>>,
    ) -> Pending<'_, bool> {
        Box::pin(ready(self.swap(collection, key, old.as_ref(), new)))
    }

    fn swap_all(&self, swaps: Vec<Swap>) -> Pending<'_, bool> {
        let holds = |one: &Swap| {
            let found = self.rows().get(&(one.collection.name(), one.key.clone())).cloned();
            self.has(Flaw::SwapsInPart) || found == one.old
        };
        let all = swaps.iter().all(holds);
        for Swap { collection, key, old, new } in swaps.into_iter().filter(|_| all) {
            if let Err(error) = self.swap(collection, key, old.as_ref(), new) {
                return Box::pin(ready(Err(error)));
            }
        }
        Box::pin(ready(Ok(all)))
    }

    fn batch(&self, writes: Vec<Write>) -> Pending<'_, ()> {
        Box::pin(ready(self.write_all(writes)))
    }

    fn durable(&self) -> Pending<'_, ()> {
        Box::pin(ready(Ok(())))
    }
}

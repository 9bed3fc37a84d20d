//! A walk over every row of a store that goes on being written to, which ends at one moment for
//! all of them.
//!
//! The rows are read page by page. What the writers change behind the walk they tell the ledger,
//! and the ledger the walk; what they change before it, it will come to. So when the walk has come
//! to the end and heard of everything behind it, it has the store as it is at that moment, and the
//! sums it has made must be the ledger's.

use super::engine::SledStore;
use super::ledger::{Ledger, Sums};
use super::trees::TreeName;
use super::{Collection, StoreError};
use std::fmt;
use std::ops::Bound;

/// How many rows are read while writers wait.
const STEP_ROWS: usize = 256;

/// Whether a walk tells of rows that change behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// It tells of each row once. The sums are those of its end all the same.
    Once,
    /// It tells of such rows again, so that who keeps the last of each has the store at its end.
    Changes,
}

/// A row as it lies in the engine.
#[derive(Clone, PartialEq, Eq)]
pub struct RawRow {
    pub tree: &'static str,
    pub key: Vec<u8>,
    /// Nothing: it was removed since it was told of.
    pub record: Option<Vec<u8>>,
}

/// What a walk comes to.
#[derive(Debug)]
pub enum Step {
    Rows(Vec<RawRow>),
    End(WalkEnd),
}

/// What there is to say at the end of a walk.
#[derive(Clone)]
pub struct WalkEnd {
    /// How often the ledger was written.
    pub counter: u64,
    /// The trees whose rows are not what the ledger says.
    pub apart: Vec<&'static str>,
    /// The ledger's row of this moment.
    pub ledger: Vec<u8>,
}

/// A walk under way. Writers are not held up while nobody asks for the next step.
#[derive(Debug)]
pub struct Walk<'a> {
    store: &'a SledStore,
    id: u64,
    /// The place of the tree it is in.
    tree: u8,
    after: Option<Vec<u8>>,
    /// Of the rows that were read.
    sums: Sums,
}

// === impl Walk ===

impl<'a> Walk<'a> {
    pub(super) fn begin(store: &'a SledStore, follow: Follow) -> Result<Self, StoreError> {
        let mut ledger = store.ledger();
        let ledger = ledger.as_mut().ok_or(StoreError::Unavailable)?;
        let id = ledger.begin_walk(follow == Follow::Changes);
        Ok(Self { store, id, tree: 0, after: None, sums: Sums::default() })
    }

    /// The next rows, or the end.
    ///
    /// # Errors
    /// The store failed; or the walk is too far behind the writers ([`StoreError::TooLarge`]).
    pub fn step(&mut self) -> Result<Step, StoreError> {
        while let Some(tree) = TreeName::at(self.tree).filter(|tree| *tree != TreeName::Ledger) {
            let rows = self.read(tree)?;
            if !rows.is_empty() {
                return Ok(Step::Rows(rows));
            }
        }
        self.catch_up()
    }

    /// Reads on in this tree. Nothing: it is at its end, and the next one is up.
    fn read(&mut self, tree: TreeName) -> Result<Vec<RawRow>, StoreError> {
        let mut guard = self.store.ledger();
        let ledger = guard.as_mut().ok_or(StoreError::Unavailable)?;
        let from = self.after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let found = self.store.view().page(tree, from, b"", STEP_ROWS)?;
        match found.last() {
            Some((last, _)) => self.after = Some(last.clone()),
            None => (self.tree, self.after) = (self.tree.saturating_add(1), None),
        }
        ledger.walk_on(self.id, (self.tree, self.after.clone()));
        let witness = ledger.witness().clone();
        drop(guard);
        for (key, record) in &found {
            self.sums.moved(tree, None, Some(&witness.digest(tree.name(), key, record)));
        }
        let row = |(key, record): (Vec<u8>, sled::IVec)| RawRow {
            tree: tree.name(),
            key,
            record: Some(record.to_vec()),
        };
        Ok(found.into_iter().map(row).collect())
    }

    /// Tells of what changed behind the walk, or ends it.
    fn catch_up(&mut self) -> Result<Step, StoreError> {
        let mut guard = self.store.ledger();
        let ledger = guard.as_mut().ok_or(StoreError::Unavailable)?;
        let dirty = ledger.take_dirty(self.id, STEP_ROWS).ok_or(StoreError::TooLarge)?;
        if dirty.is_empty() {
            return Ok(Step::End(self.end(ledger)?));
        }
        dirty
            .into_iter()
            .map(|(tree, key)| self.again(tree, key))
            .collect::<Result<_, _>>()
            .map(Step::Rows)
    }

    fn again(&self, tree: u8, key: Vec<u8>) -> Result<RawRow, StoreError> {
        let tree = TreeName::at(tree).ok_or(StoreError::Corrupt)?;
        let record = self.store.view().get(tree, &key)?;
        Ok(RawRow { tree: tree.name(), key, record: record.map(|record| record.to_vec()) })
    }

    fn end(&self, ledger: &mut Ledger) -> Result<WalkEnd, StoreError> {
        let behind = ledger.end_walk(self.id).ok_or(StoreError::Unavailable)?;
        Ok(WalkEnd {
            counter: ledger.counter(),
            apart: self.sums.clone().plus(&behind).apart(ledger.sums()),
            ledger: ledger.row_now(),
        })
    }
}

impl Drop for Walk<'_> {
    fn drop(&mut self) {
        if let Some(ledger) = self.store.ledger().as_mut() {
            ledger.end_walk(self.id);
        }
    }
}

// === impl RawRow ===

impl RawRow {
    /// The collection it is in; nothing for the parts of long values.
    pub fn collection(&self) -> Option<Collection> {
        Collection::ALL.into_iter().find(|collection| collection.name() == self.tree)
    }

    /// The value, if it is whole in this record.
    pub fn whole(&self) -> Result<Option<&[u8]>, StoreError> {
        match self.record.as_deref().map(super::record::read).transpose()? {
            Some(super::record::Record::Whole(value)) => Ok(Some(value)),
            Some(super::record::Record::Parted(_)) | None => Ok(None),
        }
    }
}

impl fmt::Debug for RawRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.record.as_ref().map(Vec::len);
        write!(f, "RawRow({}, {} + {bytes:?} bytes)", self.tree, self.key.len())
    }
}

// === impl WalkEnd ===

impl fmt::Debug for WalkEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WalkEnd({}, apart: {:?})", self.counter, self.apart)
    }
}

//! The changes of one round, made in memory before any of them is durable.
//!
//! Each change sees those before it, and is made whole or not at all. What comes of them is the
//! rows that the log is given, and the moves by which the ledger follows.

use super::commit::Change;
use super::ledger::{Move, Witness};
use super::record::{self, Head, Record};
use super::rows::{Rows, Slot, View};
use super::trees::TreeName;
use super::{Collection, StoreError, Swap, Write};
use sled::IVec;

/// What a round of changes comes to.
pub(super) struct Stage<'a> {
    view: &'a View,
    /// Keeps account of the rows, if anybody does.
    witness: Option<&'a dyn Witness>,
    rows: Rows,
    moves: Vec<Move>,
    /// What the change that is being made has replaced.
    undo: Vec<Undo>,
}

struct Undo {
    tree: TreeName,
    key: Vec<u8>,
    before: Option<Slot>,
}

// === impl Stage ===

impl<'a> Stage<'a> {
    pub(super) fn new(view: &'a View, witness: Option<&'a dyn Witness>) -> Self {
        Self { view, witness, rows: Rows::default(), moves: Vec::new(), undo: Vec::new() }
    }

    /// Makes a change, and says whether its condition held.
    pub(super) fn make(&mut self, change: &Change) -> Result<bool, StoreError> {
        let moves = self.moves.len();
        self.undo.clear();
        let made = self.try_make(change);
        if made.is_err() {
            self.moves.truncate(moves);
            while let Some(Undo { tree, key, before }) = self.undo.pop() {
                self.rows.put_back(tree, key, before);
            }
        }
        made
    }

    /// The rows as they are after all changes, and how they got there.
    pub(super) fn done(self) -> (Rows, Vec<Move>) {
        (self.rows, self.moves)
    }

    fn try_make(&mut self, change: &Change) -> Result<bool, StoreError> {
        match change {
            Change::Batch(writes) => {
                writes.iter().try_for_each(|one| self.write(one)).map(|()| true)
            }
            Change::Swaps(swaps) => self.swap(swaps),
        }
    }

    fn swap(&mut self, swaps: &[Swap]) -> Result<bool, StoreError> {
        let mut found = Vec::with_capacity(swaps.len());
        for Swap { collection, key, old, .. } in swaps {
            let slot = self.get(TreeName::Of(*collection), key)?;
            if !self.holds(slot.as_ref(), old.as_deref())? {
                return Ok(false);
            }
            found.push(slot);
        }
        for (Swap { collection, key, new, .. }, found) in swaps.iter().zip(found) {
            // Of two about one row, which nobody should send, the second meets the first.
            let old = self.rows.get(TreeName::Of(*collection), key).cloned().unwrap_or(found);
            self.replace(*collection, key, new.as_deref(), old)?;
        }
        Ok(true)
    }

    fn write(&mut self, write: &Write) -> Result<(), StoreError> {
        let (collection, key, new) = match write {
            Write::Put { collection, key, value } => (*collection, key, Some(value.as_slice())),
            Write::Delete { collection, key } => (*collection, key, None),
        };
        let old = self.get(TreeName::Of(collection), key)?;
        self.replace(collection, key, new, old)
    }

    fn get(&self, tree: TreeName, key: &[u8]) -> Result<Slot, StoreError> {
        match self.rows.get(tree, key) {
            Some(slot) => Ok(slot.clone()),
            None => self.view.get(tree, key),
        }
    }

    /// Whether the value of the record that was found is `expected`.
    fn holds(&self, found: Option<&IVec>, expected: Option<&[u8]>) -> Result<bool, StoreError> {
        let Some(found) = found else {
            return Ok(expected.is_none());
        };
        match record::read(found)? {
            Record::Whole(value) => Ok(expected == Some(value)),
            Record::Parted(head) => {
                let value = head.assemble(|key| self.get(TreeName::Parts, key))?;
                // Nobody else writes: what is missing is lost.
                value.ok_or(StoreError::Corrupt).map(|value| expected == Some(&value[..]))
            }
        }
    }

    /// Puts `new` under `key`, or removes `old`, which is there, with the parts of both.
    fn replace(
        &mut self,
        collection: Collection,
        key: &[u8],
        new: Option<&[u8]>,
        old: Slot,
    ) -> Result<(), StoreError> {
        let new = new.map(|value| self.record(value)).transpose()?;
        self.put(TreeName::Of(collection), key.to_vec(), new, old.as_deref());
        match old {
            Some(old) => self.remove_parts(&old),
            None => Ok(()),
        }
    }

    /// The record of `value`, whose parts are put beside it.
    fn record(&mut self, value: &[u8]) -> Result<Vec<u8>, StoreError> {
        if let Some(record) = record::whole(value) {
            return Ok(record);
        }
        let head = Head::new(value)?;
        for (key, part) in head.parts(value) {
            self.put_part(key, Some(part.to_vec()))?;
        }
        Ok(head.record())
    }

    fn remove_parts(&mut self, old: &IVec) -> Result<(), StoreError> {
        if let Record::Parted(head) = record::read(old)? {
            for key in head.keys() {
                self.put_part(key, None)?;
            }
        }
        Ok(())
    }

    fn put_part(&mut self, key: Vec<u8>, new: Option<Vec<u8>>) -> Result<(), StoreError> {
        let old = self.get(TreeName::Parts, &key)?;
        self.put(TreeName::Parts, key, new, old.as_deref());
        Ok(())
    }

    /// Puts a record in the place of `old`, or removes it, and keeps account of that.
    fn put(&mut self, tree: TreeName, key: Vec<u8>, new: Option<Vec<u8>>, old: Option<&[u8]>) {
        if let Some(witness) = self.witness {
            self.moves.push(Move::new(witness, tree, &key, old, new.as_deref()));
        }
        let before = self.rows.put(tree, key.clone(), new.map(IVec::from));
        self.undo.push(Undo { tree, key, before });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::trees::Trees;

    #[test]
    fn a_change_that_fails_half_way_leaves_those_before_it_alone() {
        let db = sled::Config::new().temporary(true).open().unwrap();
        let trees = Trees::open(&db).unwrap();
        let (collection, tree) = (Collection::Tokens, TreeName::Of(Collection::Tokens));
        // No record begins so.
        trees.put(tree, b"damaged", Some(&[9])).unwrap();
        let view = View::new(trees, None);
        let mut stage = Stage::new(&view, None);
        let put = |key: &[u8], value: &[u8]| Write::Put {
            collection,
            key: key.to_vec(),
            value: value.to_vec(),
        };
        assert_eq!(stage.make(&Change::Batch(vec![put(b"kept", b"first")])), Ok(true));
        let half = vec![put(b"kept", b"second"), put(b"new", b"x"), put(b"damaged", b"y")];
        assert_eq!(stage.make(&Change::Batch(half)), Err(StoreError::Corrupt));
        let (rows, _) = stage.done();
        let kept = record::whole(b"first").map(IVec::from);
        assert_eq!(rows.get(tree, b"kept"), Some(&kept));
        assert_eq!(rows.each().count(), 1);
    }
}

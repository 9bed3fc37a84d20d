//! Rows that are durable in the log and not yet in sled.
//!
//! The newest rows are in memory, in two generations: one that grows, and one that is being put
//! into sled. A reader asks the newer first, then the older, and sled last.

use super::StoreError;
use super::trees::{self, TreeName, Trees};
use sled::{IVec, Tree};
use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A record, or that there is none.
pub(super) type Slot = Option<IVec>;

/// A key and its record.
pub(super) type Found = (Vec<u8>, IVec);

type Sorted = BTreeMap<Vec<u8>, Slot>;

/// The newest form of some rows.
#[derive(Default)]
pub(super) struct Rows(Trees<Sorted>);

/// All rows of the store as they are durable.
#[derive(Debug)]
pub(super) struct View {
    trees: Trees<Tree>,
    recent: RwLock<Recent>,
}

#[derive(Default, Debug)]
struct Recent {
    growing: Rows,
    /// What is being put into sled.
    frozen: Option<Arc<Rows>>,
}

// === impl Rows ===

impl Rows {
    pub(super) fn get(&self, tree: TreeName, key: &[u8]) -> Option<&Slot> {
        self.0.of(tree).get(key)
    }

    /// Puts a row, and returns what was there of it.
    pub(super) fn put(&mut self, tree: TreeName, key: Vec<u8>, slot: Slot) -> Option<Slot> {
        self.0.of_mut(tree).insert(key, slot)
    }

    /// Puts back what [`Self::put`] returned.
    pub(super) fn put_back(&mut self, tree: TreeName, key: Vec<u8>, before: Option<Slot>) {
        match before {
            Some(slot) => self.0.of_mut(tree).insert(key, slot),
            None => self.0.of_mut(tree).remove(&key),
        };
    }

    pub(super) fn count(&self) -> u64 {
        let all = self.0.each().map(|(_, rows)| rows.len()).sum::<usize>();
        u64::try_from(all).unwrap_or(u64::MAX)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.each().all(|(_, rows)| rows.is_empty())
    }

    pub(super) fn each(&self) -> impl Iterator<Item = (TreeName, &Vec<u8>, &Slot)> {
        self.0.each().flat_map(|(tree, rows)| rows.iter().map(move |(key, slot)| (tree, key, slot)))
    }

    /// The rows, out of here.
    pub(super) fn into_each(self) -> impl Iterator<Item = (Vec<u8>, Slot)> {
        self.0.into_each().flatten()
    }

    /// Takes over newer rows.
    pub(super) fn extend(&mut self, newer: Self) {
        let Self(mut newer) = newer;
        for (tree, rows) in newer.each_mut() {
            // Not `append`, which would touch all that is there.
            self.0.of_mut(tree).extend(mem::take(rows));
        }
    }

    /// The first rows from `from` on, at most `limit`, and the last key of them if there are more.
    fn page(
        &self,
        tree: TreeName,
        from: Bound<&[u8]>,
        limit: usize,
    ) -> (impl Iterator<Item = (&Vec<u8>, &Slot)>, Option<&Vec<u8>>) {
        let range = self.0.of(tree).range::<[u8], _>((from, Bound::Unbounded));
        let mut rest = range.clone().skip(limit.saturating_sub(1));
        let last = rest.next().map(|(key, _)| key).filter(|_| rest.next().is_some());
        (range.take(limit), last)
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rows({})", self.count())
    }
}

// === impl View ===

impl View {
    pub(super) fn new(trees: Trees<Tree>, frozen: Option<Rows>) -> Self {
        let recent = Recent { growing: Rows::default(), frozen: frozen.map(Arc::new) };
        Self { trees, recent: RwLock::new(recent) }
    }

    pub(super) fn trees(&self) -> &Trees<Tree> {
        &self.trees
    }

    pub(super) fn get(&self, tree: TreeName, key: &[u8]) -> Result<Slot, StoreError> {
        if let Some(slot) = self.read().get(tree, key) {
            return Ok(slot.clone());
        }
        self.trees.of(tree).get(key).map_err(|error| trees::of_sled(&error))
    }

    /// The first rows of a tree, at most `limit`, of those that begin with `prefix` and come from
    /// `from` on. Each is as it was at some moment of the call.
    pub(super) fn page(
        &self,
        tree: TreeName,
        from: Bound<&[u8]>,
        prefix: &[u8],
        limit: usize,
    ) -> Result<Vec<Found>, StoreError> {
        let (mut page, mut from) = (Vec::new(), from.map(<[u8]>::to_vec));
        loop {
            let (rows, end) = self.stretch(tree, &from, limit)?;
            let rows = rows.into_iter().take_while(|(key, _)| key.starts_with(prefix));
            page.extend(rows.filter_map(|(key, slot)| slot.map(|record| (key, record))));
            page.truncate(limit);
            match end {
                Some(end) if page.len() < limit && end.starts_with(prefix) => {
                    from = Bound::Excluded(end);
                }
                Some(_) | None => return Ok(page),
            }
        }
    }

    /// All rows from `from` up to a key, if there are more behind that, or to the end.
    fn stretch(
        &self,
        tree: TreeName,
        from: &Bound<Vec<u8>>,
        limit: usize,
    ) -> Result<(Sorted, Option<Vec<u8>>), StoreError> {
        let from = from.as_ref().map(Vec::as_slice);
        // First: what leaves memory afterwards is in sled by then.
        let (mut rows, mut end) = self.read().page(tree, from, limit);
        let to = end.as_deref().map_or(Bound::Unbounded, Bound::Included);
        for (nth, row) in (1..=limit).zip(self.trees.of(tree).range::<&[u8], _>((from, to))) {
            let (key, record) = row.map_err(|error| trees::of_sled(&error))?;
            if nth == limit {
                end = Some(key.to_vec());
            }
            rows.entry(key.to_vec()).or_insert(Some(record));
        }
        if let Some(end) = &end {
            rows.retain(|key, _| key <= end);
        }
        Ok((rows, end))
    }

    /// Shows rows that are durable now.
    pub(super) fn publish(&self, rows: Rows) {
        self.write().growing.extend(rows);
    }

    /// Begins a new generation, if the one before has been put into sled, and says whether it did.
    pub(super) fn freeze(&self) -> bool {
        let mut recent = self.write();
        if recent.frozen.is_some() {
            return false;
        }
        recent.frozen = Some(Arc::new(mem::take(&mut recent.growing)));
        true
    }

    /// What is to be put into sled.
    pub(super) fn frozen(&self) -> Option<Arc<Rows>> {
        self.read().frozen.clone()
    }

    /// Forgets what has been put into sled, and leaves it to the caller to free: there may be thousands
    /// of rows.
    pub(super) fn thaw(&self) -> Option<Arc<Rows>> {
        self.write().frozen.take()
    }

    /// Whether nothing waits for its generation to be put into sled.
    pub(super) fn has_settled(&self) -> bool {
        self.read().growing.is_empty()
    }

    fn read(&self) -> RwLockReadGuard<'_, Recent> {
        self.recent.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Recent> {
        self.recent.write().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Recent ===

impl Recent {
    fn get(&self, tree: TreeName, key: &[u8]) -> Option<&Slot> {
        let older = || self.frozen.as_ref().and_then(|frozen| frozen.get(tree, key));
        self.growing.get(tree, key).or_else(older)
    }

    /// Rows from `from` on, removed ones too, and up to which key they are all, if there are more.
    fn page(&self, tree: TreeName, from: Bound<&[u8]>, limit: usize) -> (Sorted, Option<Vec<u8>>) {
        let (mut rows, mut end) = (Sorted::new(), None::<&Vec<u8>>);
        for generation in self.frozen.as_deref().into_iter().chain([&self.growing]) {
            let (page, last) = generation.page(tree, from, limit);
            rows.extend(page.map(|(key, slot)| (key.clone(), slot.clone())));
            end = [end, last].into_iter().flatten().min();
        }
        (rows, end.cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Collection;
    use proptest::prelude::*;

    const TREE: TreeName = TreeName::Of(Collection::Tokens);

    /// Which of the three places a row is put into, under which key, and what; nothing removes it.
    type Put = (usize, u8, Option<u8>);

    fn key(key: u8) -> Vec<u8> {
        vec![b"abcd"[usize::from(key >> 4)], key & 15]
    }

    fn rows(puts: &[Put], place: usize) -> Rows {
        let mut rows = Rows::default();
        for (_, at, record) in puts.iter().filter(|put| put.0 == place) {
            rows.put(TREE, key(*at), record.map(|record| IVec::from(&[record])));
        }
        rows
    }

    /// A view of rows in sled, frozen and growing, and what it must show.
    fn view(puts: &[Put]) -> (View, BTreeMap<Vec<u8>, IVec>) {
        let db = sled::Config::new().temporary(true).open().unwrap();
        let trees = Trees::open(&db).unwrap();
        let mut expected = BTreeMap::new();
        for place in 0..3 {
            for (tree, key, slot) in rows(puts, place).each() {
                if place == 0 {
                    trees.put(tree, key, slot.as_deref()).unwrap();
                }
                match slot {
                    Some(record) => expected.insert(key.clone(), record.clone()),
                    None => expected.remove(key),
                };
            }
        }
        let view = View::new(trees, Some(rows(puts, 1)));
        view.publish(rows(puts, 2));
        (view, expected)
    }

    proptest! {
        #[test]
        fn a_view_shows_the_newest_of_each_row(
            puts in prop::collection::vec((0..3_usize, 0..64_u8, any::<Option<u8>>()), 0..90),
            limit in 1..40_usize,
            prefix in prop::option::of(0..5_usize),
            after in prop::option::of(0..64_u8),
        ) {
            let (view, expected) = view(&puts);
            for at in 0..64 {
                prop_assert_eq!(view.get(TREE, &key(at)).unwrap(), expected.get(&key(at)).cloned());
            }
            let prefix: Vec<u8> = prefix.map(|at| b"abcde"[at]).into_iter().collect();
            let from = match after.map(key) {
                Some(after) if after >= prefix => Bound::Excluded(after),
                _ => Bound::Included(prefix.clone()),
            };
            let page = view.page(TREE, from.as_ref().map(Vec::as_slice), &prefix, limit).unwrap();
            let within = expected.range((from, Bound::Unbounded));
            let within = within.filter(|(key, _)| key.starts_with(&prefix)).take(limit);
            let within: Vec<_> = within.map(|(key, row)| (key.clone(), row.clone())).collect();
            prop_assert_eq!(page, within);
        }
    }

    #[test]
    fn a_generation_is_frozen_when_the_one_before_has_gone() {
        let (view, _) = view(&[(2, 1, Some(1))]);
        assert!(!view.freeze() && !view.has_settled());
        drop(view.thaw());
        assert!(view.freeze() && view.has_settled());
        assert_eq!(view.frozen().unwrap().each().count(), 1);
        assert_eq!(view.get(TREE, &key(1)).unwrap(), Some(IVec::from(&[1])));
    }
}

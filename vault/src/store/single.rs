//! Changes of one record each, which need no transaction.
//!
//! The committer makes them itself, one after another: it is the only writer, so what it has read
//! is what it changes, and sled's log has them in this order.

use super::commit::Change;
use super::ledger::{Ledger, Move};
use super::record;
use super::trees::{self, Trees};
use super::{Collection, StoreError};
use sled::Tree;
use std::collections::HashSet;

/// How many changes are announced at a time. Their keys and digests stay far below what sled would
/// move to a file of its own.
const GROUP_MAX: usize = 128;

/// A change from one record to another, or from or to absence.
pub(super) struct Single<'a> {
    collection: Collection,
    key: &'a [u8],
    old: Option<Vec<u8>>,
    new: Option<Vec<u8>>,
}

// === impl Single ===

impl<'a> Single<'a> {
    /// The change, if it needs no transaction. A value in parts never equals `old`.
    pub(super) fn of(change: &'a Change) -> Option<Self> {
        let Change::Swap { collection, key, old, new } = change else { return None };
        let (old, new) = (one_record(old.as_deref())?, one_record(new.as_deref())?);
        Some(Self { collection: *collection, key, old, new })
    }
}

/// The record of a value that is one, `Some(None)` for no value, `None` when it needs parts.
fn one_record(value: Option<&[u8]>) -> Option<Option<Vec<u8>>> {
    value.map_or(Some(None), |value| record::whole(value).map(Some))
}

/// The changes at the front that are made together: no row comes twice.
pub(super) fn group<'a>(changes: &[&'a Change]) -> Vec<Single<'a>> {
    let mut seen = HashSet::new();
    let singles = changes.iter().take(GROUP_MAX).map_while(|change| Single::of(change));
    singles.take_while(|single| seen.insert((single.collection, single.key))).collect()
}

/// Makes the changes whose condition holds, and says of each whether it did. An error is of the
/// engine's log, after which nothing can be vouched for.
pub(super) fn apply(
    trees: &Trees<Tree>,
    mut ledger: Option<&mut Ledger>,
    group: &[Single<'_>],
) -> sled::Result<Vec<Result<bool, StoreError>>> {
    let held: Vec<_> = group.iter().map(|single| holds(trees, single)).collect();
    let made =
        || group.iter().zip(&held).filter(|(_, held)| **held == Ok(true)).map(|(one, _)| one);
    let moves: Vec<_> = ledger.as_ref().map_or_else(Vec::new, |ledger| {
        let witness = ledger.witness();
        let of = |Single { collection, key, old, new }: &Single<'_>| {
            Move::new(&**witness, collection.name(), key, old.as_deref(), new.as_deref())
        };
        made().map(of).collect()
    });
    if let Some(ledger) = ledger.as_mut().filter(|_| !moves.is_empty()) {
        ledger.announce(&trees.ledger, &moves)?;
    }
    made().try_for_each(|single| put(trees, single))?;
    if let Some(ledger) = ledger {
        ledger.made(&moves);
    }
    Ok(held)
}

fn holds(trees: &Trees<Tree>, single: &Single<'_>) -> Result<bool, StoreError> {
    let found = trees.of(single.collection).get(single.key);
    let found = found.map_err(|error| trees::of_sled(&error))?;
    Ok(found.as_deref() == single.old.as_deref())
}

fn put(trees: &Trees<Tree>, single: &Single<'_>) -> sled::Result<()> {
    let tree = trees.of(single.collection);
    match &single.new {
        Some(new) => tree.insert(single.key, new.as_slice()),
        None => tree.remove(single.key),
    }
    .map(|_| ())
}

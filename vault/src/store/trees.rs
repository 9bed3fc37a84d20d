//! The trees of sled in which the rows of the store lie, and one of something for each of them.

use super::opening::{FORMAT, FORMAT_KEY};
use super::record::{self, Record};
use super::{Collection, StoreError};
use sled::{Db, Tree};

/// The key of the only row of [`TreeName::Ledger`].
pub(super) const LEDGER_KEY: &[u8] = b"ledger";

/// Which tree it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum TreeName {
    Of(Collection),
    /// The parts of long values.
    Parts,
    /// What is remembered of all the others together.
    Ledger,
}

/// One of something for each tree.
#[derive(Clone, Debug, Default)]
pub(super) struct Trees<T>([T; TreeName::ALL.len()]);

/// What an error of the engine means to the caller.
pub(super) fn of_sled(error: &sled::Error) -> StoreError {
    match error {
        sled::Error::Corruption { .. } | sled::Error::ReportableBug(_) => StoreError::Corrupt,
        sled::Error::Io(_) | sled::Error::CollectionNotFound(_) | sled::Error::Unsupported(_) => {
            StoreError::Unavailable
        }
    }
}

/// Frees pages that sled has replaced and that nobody reads any more.
///
/// sled leaves that to whoever comes by after 128 others, in portions of up to 512 pages, and that would
/// be a payment. The name is not in sled's documentation; the version of sled is fixed.
pub(super) fn free_replaced() {
    sled::crossbeam_pin().flush();
}

// === impl TreeName ===

impl TreeName {
    /// All of them. Those before the last are in the ledger's sums, and a walk takes them in this
    /// order.
    pub(super) const ALL: [Self; 9] = [
        Self::Of(Collection::Meta),
        Self::Of(Collection::Keys),
        Self::Of(Collection::Merchants),
        Self::Of(Collection::ApiKeys),
        Self::Of(Collection::Accounts),
        Self::Of(Collection::Tokens),
        Self::Of(Collection::Payments),
        Self::Parts,
        Self::Ledger,
    ];

    /// The name under which the engine keeps it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Of(collection) => collection.name(),
            Self::Parts => "parts",
            Self::Ledger => "ledger",
        }
    }

    /// Its place in [`Self::ALL`].
    pub(super) const fn place(self) -> u8 {
        match self {
            Self::Of(Collection::Meta) => 0,
            Self::Of(Collection::Keys) => 1,
            Self::Of(Collection::Merchants) => 2,
            Self::Of(Collection::ApiKeys) => 3,
            Self::Of(Collection::Accounts) => 4,
            Self::Of(Collection::Tokens) => 5,
            Self::Of(Collection::Payments) => 6,
            Self::Parts => 7,
            Self::Ledger => 8,
        }
    }

    pub(super) fn at(place: u8) -> Option<Self> {
        Self::ALL.get(usize::from(place)).copied()
    }

    /// Those that are in the ledger's sums, in the order of a walk.
    pub(super) fn summed() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|tree| *tree != Self::Ledger)
    }

    /// The tree of this name, if it is in the ledger's sums.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::summed().find(|tree| tree.name() == name)
    }
}

// === impl Trees ===

impl<T> Trees<T> {
    pub(super) fn of(&self, tree: TreeName) -> &T {
        self.0.get(usize::from(tree.place())).expect("there is one for each")
    }

    pub(super) fn of_mut(&mut self, tree: TreeName) -> &mut T {
        self.0.get_mut(usize::from(tree.place())).expect("there is one for each")
    }

    pub(super) fn each(&self) -> impl Iterator<Item = (TreeName, &T)> {
        TreeName::ALL.into_iter().zip(&self.0)
    }

    pub(super) fn into_each(self) -> impl Iterator<Item = T> {
        self.0.into_iter()
    }

    pub(super) fn each_mut(&mut self) -> impl Iterator<Item = (TreeName, &mut T)> {
        TreeName::ALL.into_iter().zip(&mut self.0)
    }
}

impl Trees<Tree> {
    pub(super) fn open(db: &Db) -> sled::Result<Self> {
        let mut trees = Vec::new();
        for tree in TreeName::ALL {
            trees.push(db.open_tree(tree.name())?);
        }
        Ok(Self(trees.try_into().unwrap_or_else(|_| unreachable!("as many as names"))))
    }

    /// The format of the store, without making anything that is not there.
    pub(super) fn read_format(db: &Db) -> sled::Result<Option<String>> {
        let meta = Collection::Meta.name();
        if !db.tree_names().iter().any(|name| &**name == meta.as_bytes()) {
            return Ok(None);
        }
        let record = db.open_tree(meta)?.get(FORMAT_KEY)?;
        Ok(record.map(|record| match record::read(&record) {
            Ok(Record::Whole(format)) => String::from_utf8_lossy(format).into_owned(),
            Ok(Record::Parted(_)) | Err(_) => "that cannot be read".to_owned(),
        }))
    }

    pub(super) fn write_format(&self) -> sled::Result<()> {
        let record = record::whole(FORMAT.as_bytes()).unwrap_or_default();
        self.of(TreeName::Of(Collection::Meta)).insert(FORMAT_KEY, record).map(|_| ())
    }

    pub(super) fn put(
        &self,
        tree: TreeName,
        key: &[u8],
        record: Option<&[u8]>,
    ) -> sled::Result<()> {
        match record {
            Some(record) => self.of(tree).insert(key, record),
            None => self.of(tree).remove(key),
        }
        .map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tree_is_at_its_place() {
        for (place, tree) in TreeName::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(tree.place()), place);
            assert_eq!(TreeName::at(tree.place()), Some(tree));
            assert_eq!(TreeName::named(tree.name()).is_some(), tree != TreeName::Ledger);
        }
        assert_eq!(TreeName::at(9), None);
        assert!(Collection::ALL.iter().all(|one| TreeName::named(one.name()).is_some()));
    }
}

//! The collections as trees of sled, and the changes that take a transaction over them.

use super::commit::Change;
use super::ledger::{LEDGER, Ledger, Move, TREES};
use super::opening::{FORMAT, FORMAT_KEY};
use super::record::{self, Head, Record};
use super::{Collection, StoreError, Write};
use sled::transaction::{
    ConflictableTransactionError as Abort, TransactionError, Transactional, TransactionalTree,
    UnabortableTransactionError as Unabortable,
};
use sled::{Db, IVec, Tree};
use std::cell::RefCell;

/// The name of the tree that holds the parts of long values.
pub(super) const PARTS: &str = "parts";

/// One of something for each tree.
#[derive(Clone)]
pub(super) struct Trees<T> {
    pub(super) meta: T,
    pub(super) keys: T,
    pub(super) merchants: T,
    pub(super) api_keys: T,
    pub(super) accounts: T,
    pub(super) tokens: T,
    pub(super) payments: T,
    pub(super) parts: T,
    /// What is remembered of all the others together.
    pub(super) ledger: T,
}

/// The trees within a transaction.
struct View<'a> {
    trees: Trees<&'a TransactionalTree>,
    /// Keeps account of what is changed, if anybody does.
    ledger: Option<&'a Ledger>,
    moves: &'a RefCell<Vec<Move>>,
}

/// Why a change was not made.
#[derive(Debug)]
pub(super) enum NotMade {
    /// Before anything was touched.
    Refused(StoreError),
    /// In the middle: memory may hold half of it, and the process cannot go on.
    Torn(sled::Error),
}

/// What an error of the engine means to the caller.
pub(super) fn of_sled(error: &sled::Error) -> StoreError {
    match error {
        sled::Error::Corruption { .. } | sled::Error::ReportableBug(_) => StoreError::Corrupt,
        sled::Error::Io(_) | sled::Error::CollectionNotFound(_) | sled::Error::Unsupported(_) => {
            StoreError::Unavailable
        }
    }
}

fn of_read(error: Unabortable) -> Abort<StoreError> {
    match error {
        Unabortable::Conflict => Abort::Conflict,
        Unabortable::Storage(error) => Abort::Abort(of_sled(&error)),
    }
}

// === impl Trees ===

impl<T> Trees<T> {
    pub(super) fn of(&self, collection: Collection) -> &T {
        match collection {
            Collection::Meta => &self.meta,
            Collection::Keys => &self.keys,
            Collection::Merchants => &self.merchants,
            Collection::ApiKeys => &self.api_keys,
            Collection::Accounts => &self.accounts,
            Collection::Tokens => &self.tokens,
            Collection::Payments => &self.payments,
        }
    }

    /// All that are in the ledger's sums, with their names, in the order of [`TREES`].
    pub(super) fn each(&self) -> [(&'static str, &T); TREES.len()] {
        let Self { meta, keys, merchants, api_keys, accounts, tokens, payments, parts, ledger: _ } =
            self;
        let all = [meta, keys, merchants, api_keys, accounts, tokens, payments, parts];
        let mut names = TREES.into_iter();
        all.map(|tree| (names.next().unwrap_or_default(), tree))
    }

    /// The tree of this name, if it is in the ledger's sums.
    pub(super) fn named(&self, name: &str) -> Option<&T> {
        self.each().into_iter().find(|(known, _)| *known == name).map(|(_, tree)| tree)
    }
}

impl Trees<Tree> {
    pub(super) fn open(db: &Db) -> sled::Result<Self> {
        let tree = |collection: Collection| db.open_tree(collection.name());
        Ok(Self {
            meta: tree(Collection::Meta)?,
            keys: tree(Collection::Keys)?,
            merchants: tree(Collection::Merchants)?,
            api_keys: tree(Collection::ApiKeys)?,
            accounts: tree(Collection::Accounts)?,
            tokens: tree(Collection::Tokens)?,
            payments: tree(Collection::Payments)?,
            parts: db.open_tree(PARTS)?,
            ledger: db.open_tree(LEDGER)?,
        })
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
        self.meta.insert(FORMAT_KEY, record).map(|_| ())
    }

    pub(super) fn put_ledger(&self, row: &[u8]) -> sled::Result<()> {
        self.ledger.insert(Ledger::key(), row).map(|_| ())
    }

    /// Makes `changes` in one transaction, whose closure may run more than once, and says of each
    /// whether its condition held. The ledger is written with them.
    pub(super) fn apply(
        &self,
        ledger: Option<&mut Ledger>,
        changes: &[&Change],
    ) -> Result<Vec<bool>, NotMade> {
        let moves = RefCell::new(Vec::new());
        let made = self.transact(ledger.as_deref(), &moves, changes);
        let held = made.map_err(|error| match error {
            TransactionError::Abort(refused) => NotMade::Refused(refused),
            TransactionError::Storage(error) => NotMade::Torn(error),
        })?;
        if let Some(ledger) = ledger {
            ledger.transacted(&moves.into_inner());
        }
        Ok(held)
    }

    fn transact(
        &self,
        ledger: Option<&Ledger>,
        moves: &RefCell<Vec<Move>>,
        changes: &[&Change],
    ) -> Result<Vec<bool>, TransactionError<StoreError>> {
        let Self {
            meta,
            keys,
            merchants,
            api_keys,
            accounts,
            tokens,
            payments,
            parts,
            ledger: row,
        } = self;
        (meta, keys, merchants, api_keys, accounts, tokens, payments, parts, row).transaction(
            |(meta, keys, merchants, api_keys, accounts, tokens, payments, parts, row)| {
                let trees = Trees {
                    meta,
                    keys,
                    merchants,
                    api_keys,
                    accounts,
                    tokens,
                    payments,
                    parts,
                    ledger: row,
                };
                moves.borrow_mut().clear();
                let view = View { trees, ledger, moves };
                let held = changes.iter().map(|change| view.apply(change)).collect();
                if let Some(ledger) = ledger {
                    row.insert(Ledger::key(), ledger.row_after(&moves.borrow()))?;
                }
                held
            },
        )
    }
}

impl View<'_> {
    fn apply(&self, change: &Change) -> Result<bool, Abort<StoreError>> {
        match change {
            Change::Batch(writes) => {
                writes.iter().try_for_each(|write| self.write(write))?;
                Ok(true)
            }
            Change::Swap { collection, key, old, new } => {
                let same = self.value(*collection, key)? == *old;
                if same {
                    self.replace(*collection, key, new.as_deref())?;
                }
                Ok(same)
            }
        }
    }

    fn write(&self, write: &Write) -> Result<(), Abort<StoreError>> {
        match write {
            Write::Put { collection, key, value } => self.replace(*collection, key, Some(value)),
            Write::Delete { collection, key } => self.replace(*collection, key, None),
        }
    }

    fn value(
        &self,
        collection: Collection,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, Abort<StoreError>> {
        let found = self.trees.of(collection).get(key).map_err(of_read)?;
        let Some(found) = found else { return Ok(None) };
        match record::read(&found).map_err(Abort::Abort)? {
            Record::Whole(value) => Ok(Some(value.to_vec())),
            Record::Parted(head) => {
                let value = head.assemble(|key| self.trees.parts.get(key).map_err(of_read))?;
                // Within a transaction nothing moves: what is missing is lost.
                value.ok_or(Abort::Abort(StoreError::Corrupt)).map(Some)
            }
        }
    }

    /// Puts `new` under `key`, or removes it, with the parts of both.
    fn replace(
        &self,
        collection: Collection,
        key: &[u8],
        new: Option<&[u8]>,
    ) -> Result<(), Abort<StoreError>> {
        let new = new.map(|value| self.record(value)).transpose()?;
        match self.put(collection.name(), self.trees.of(collection), key, new)? {
            Some(old) => self.remove_parts(&old),
            None => Ok(()),
        }
    }

    /// Puts a record under `key`, or removes it, and keeps account of that.
    fn put(
        &self,
        name: &'static str,
        tree: &TransactionalTree,
        key: &[u8],
        new: Option<Vec<u8>>,
    ) -> Result<Option<IVec>, Abort<StoreError>> {
        let old = match &new {
            Some(new) => tree.insert(key, new.as_slice()),
            None => tree.remove(key),
        };
        let old = old.map_err(of_read)?;
        if let Some(ledger) = self.ledger {
            let moved = Move::new(&**ledger.witness(), name, key, old.as_deref(), new.as_deref());
            self.moves.borrow_mut().push(moved);
        }
        Ok(old)
    }

    /// The record of `value`, whose parts are put beside it.
    fn record(&self, value: &[u8]) -> Result<Vec<u8>, Abort<StoreError>> {
        if let Some(record) = record::whole(value) {
            return Ok(record);
        }
        let head = Head::new(value).map_err(Abort::Abort)?;
        for (key, part) in head.parts(value) {
            self.put(PARTS, self.trees.parts, &key, Some(part.to_vec()))?;
        }
        Ok(head.record())
    }

    fn remove_parts(&self, old: &IVec) -> Result<(), Abort<StoreError>> {
        match record::read(old).map_err(Abort::Abort)? {
            Record::Whole(_) => Ok(()),
            Record::Parted(head) => {
                let remove = |key: Vec<u8>| self.put(PARTS, self.trees.parts, &key, None);
                head.keys().try_for_each(|key| remove(key).map(|_| ()))
            }
        }
    }
}

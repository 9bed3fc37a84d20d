//! The store on sled 0.34.7, as one machine's disk allows it.

use super::commit::{self, Change, Committer, Engine};
use super::examination::{self, Accepted};
use super::figures::Counters;
use super::ledger::{Ledger, LedgerError, Resumed, Witness};
use super::mark::MarkFile;
use super::opening::{self, Lock, Opened};
use super::record::{self, Head, Record};
use super::single;
use super::space::Space;
use super::sync::{DataFile, Progress};
use super::trees::{self, NotMade, Trees};
use super::walk::{Follow, Walk};
use super::{
    BATCH_BYTES_MAX, BATCH_WRITES_MAX, Collection, Entry, KEY_BYTES_MAX, OpenError,
    PAGE_ENTRIES_MAX, Pending, Position, Store, StoreError, StoreFigures, Tuning, VALUE_BYTES_MAX,
    Write,
};
use sled::{Db, IVec, Tree};
use std::fmt;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How often a read begins anew because the value was replaced under its hands.
const READ_TRIES_MAX: usize = 1_000;

/// How much is changed in one transaction. Each costs sled two syncs of its own, so that changes
/// that wait together share one; but no read gets through while it is made.
const GROUP_CHANGES_MAX: usize = 32;
const GROUP_BYTES_MAX: usize = BATCH_BYTES_MAX;

/// The store of one machine, in a directory that belongs to it alone.
///
/// It has threads: open it after any fork. Dropping it closes it.
pub struct SledStore {
    committer: Committer,
    counters: Arc<Counters>,
    trees: Trees<Tree>,
    /// Held by the committer while it writes.
    ledger: Arc<Mutex<Option<Ledger>>>,
    space: Arc<Space>,
    /// After the trees, with which the last writes to the log go.
    last: LastMark,
    accepted: Option<Accepted>,
    /// Held as long as anything above may touch the files.
    _lock: Lock,
}

/// What the committer thread has of the store.
struct Sled {
    db: Db,
    trees: Trees<Tree>,
    ledger: Arc<Mutex<Option<Ledger>>>,
    space: Arc<Space>,
    progress: Progress,
    mark: MarkFile,
}

/// Writes down, when everything else of the store is gone, that it was closed in order.
struct LastMark {
    directory: PathBuf,
    data: DataFile,
    /// Whether a part of the log could not be read at opening.
    gap: bool,
    in_order: bool,
}

// === impl SledStore ===

impl SledStore {
    /// Makes a new store in `directory`, which is missing or empty, and opens it.
    ///
    /// # Errors
    /// Each says what to do next.
    pub fn create(directory: &Path, tuning: impl Into<Tuning>) -> Result<Self, OpenError> {
        Self::start(directory, opening::create(directory, tuning.into())?)
    }

    /// Opens the store that is in `directory`. It never makes one: a directory that was lost must
    /// not come back empty.
    ///
    /// # Errors
    /// Each says what to do next.
    pub fn open(directory: &Path, tuning: impl Into<Tuning>) -> Result<Self, OpenError> {
        Self::start(directory, opening::open(directory, tuning.into())?)
    }

    fn start(directory: &Path, opened: Opened) -> Result<Self, OpenError> {
        let Opened { trees, db, data, gap, accepted, mark, space, lock } = opened;
        let (counters, space) = (Arc::new(Counters::default()), Arc::new(space));
        let progress = data.progress();
        let ledger = Arc::<Mutex<Option<Ledger>>>::default();
        let engine = Sled {
            db,
            trees: trees.clone(),
            ledger: Arc::clone(&ledger),
            space: Arc::clone(&space),
            progress,
            mark,
        };
        let committer = Committer::start(engine, Arc::clone(&counters)).map_err(|source| {
            OpenError::Io { what: "start a thread for", path: directory.to_owned(), source }
        })?;
        let last = LastMark { directory: directory.to_owned(), data, gap, in_order: false };
        Ok(Self { committer, counters, trees, ledger, space, last, accepted, _lock: lock })
    }

    /// Whether writes get through: the store is open, and no flush is stuck.
    pub fn healthy(&self) -> bool {
        self.committer.is_open() && !self.counters.is_stuck()
    }

    /// What was counted since the store was opened.
    pub fn figures(&self) -> StoreFigures {
        let LastMark { data, gap, .. } = &self.last;
        let log_gaps = u64::from(*gap);
        let (syncs, disk_bytes) = (data.syncs(), data.bytes());
        StoreFigures { syncs, disk_bytes, log_gaps, ..self.counters.read() }
    }

    /// Whether the store was opened although something was lost, because an operator said so. It
    /// goes for the next opening too until [`Self::end_acceptance`], so that nobody can forget to
    /// write it down.
    pub fn accepted(&self) -> Option<Accepted> {
        self.accepted
    }

    /// Ends what [`Self::accepted`] says.
    ///
    /// # Errors
    /// The file that says so cannot be removed.
    pub fn end_acceptance(&self) -> Result<(), OpenError> {
        examination::end_acceptance(&self.last.directory)
    }

    /// Makes everything durable and ends the committer. Writes are refused from here on; reading
    /// goes on until the store is dropped. It blocks, for some seconds at the most.
    pub fn close(&self) {
        // It has said so if it did not end.
        let _ended = self.committer.close();
    }

    /// Begins to keep account of all rows, with those that are there. From here on every row that
    /// is changed in another way than through this store is noticed by a [`Walk`].
    ///
    /// # Errors
    /// The store failed.
    pub fn begin_ledger(&self, witness: Arc<dyn Witness>, counter: u64) -> Result<(), StoreError> {
        let mut ledger = self.ledger();
        let begun = Ledger::begin(witness, &self.trees, counter);
        *ledger = Some(begun.map_err(|error| trees::of_sled(&error))?);
        self.trees.ledger.flush().map(|_| ()).map_err(|error| trees::of_sled(&error))
    }

    /// Goes on keeping account of all rows, from what the last process left.
    ///
    /// # Errors
    /// There is no account, or it is not this witness's.
    pub fn resume_ledger(&self, witness: Arc<dyn Witness>) -> Result<Resumed, LedgerError> {
        let mut ledger = self.ledger();
        let (resumed, found) = Ledger::resume(witness, &self.trees)?;
        *ledger = Some(resumed);
        Ok(found)
    }

    /// How often the ledger was written.
    pub fn ledger_counter(&self) -> Option<u64> {
        self.ledger().as_ref().map(Ledger::counter)
    }

    /// Begins a walk over all rows. There must be a ledger.
    ///
    /// # Errors
    /// There is none.
    pub fn walk(&self, follow: Follow) -> Result<Walk<'_>, StoreError> {
        Walk::begin(self, follow)
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Option<Ledger>> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn trees(&self) -> &Trees<Tree> {
        &self.trees
    }

    /// Whether a write may begin.
    fn admit(&self) -> Result<(), StoreError> {
        if !self.committer.is_open() {
            return Err(StoreError::Unavailable);
        }
        self.space.check().inspect_err(|_| self.counters.refused_full())
    }

    async fn swap(
        &self,
        collection: Collection,
        key: Vec<u8>,
        old: Option<Vec<u8>>,
        new: Option<Vec<u8>>,
    ) -> Result<bool, StoreError> {
        check_key(&key)?;
        old.iter().chain(&new).try_for_each(|value| check_value(value))?;
        self.admit()?;
        self.committer.change(Change::Swap { collection, key, old, new }).await
    }

    async fn write_all(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        check_batch(&writes)?;
        self.admit()?;
        self.committer.change(Change::Batch(writes)).await.map(|_| ())
    }

    /// The value of `record`, which was found under `key`.
    fn value(
        &self,
        collection: Collection,
        key: &[u8],
        mut record: IVec,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        for _ in 0..READ_TRIES_MAX {
            let head = match record::read(&record)? {
                Record::Whole(value) => return Ok(Some(value.to_vec())),
                Record::Parted(head) => head,
            };
            if let Some(value) = self.assemble(head)? {
                return Ok(Some(value));
            }
            match self.record(collection, key)? {
                None => return Ok(None),
                Some(same) if same == record => return Err(StoreError::Corrupt),
                Some(newer) => record = newer,
            }
        }
        Err(StoreError::Unavailable)
    }

    fn record(&self, collection: Collection, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        self.trees.of(collection).get(key).map_err(|error| trees::of_sled(&error))
    }

    fn assemble(&self, head: Head) -> Result<Option<Vec<u8>>, StoreError> {
        head.assemble(|key| self.trees.parts.get(key).map_err(|error| trees::of_sled(&error)))
    }
}

/// What the tests of faults must reach.
#[cfg(test)]
impl SledStore {
    pub(super) fn space(&self) -> &Space {
        &self.space
    }

    pub(super) fn parts_len(&self) -> usize {
        self.trees.parts.len()
    }

    pub(super) fn lose_a_part(&self) {
        self.trees.parts.pop_min().unwrap();
    }
}

impl Store for SledStore {
    fn get(&self, collection: Collection, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.record(collection, key)? {
            Some(record) => self.value(collection, key, record),
            None => Ok(None),
        }
    }

    fn page(
        &self,
        collection: Collection,
        after: Option<&[u8]>,
        prefix: &[u8],
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            Some(_) | None => Bound::Included(prefix),
        };
        let limit = limit.min(PAGE_ENTRIES_MAX);
        let mut page = Vec::new();
        for entry in self.trees.of(collection).range::<&[u8], _>((from, Bound::Unbounded)) {
            let (key, record) = entry.map_err(|error| trees::of_sled(&error))?;
            if page.len() >= limit || !key.starts_with(prefix) {
                break;
            }
            // What was deleted in the meantime is left out.
            if let Some(value) = self.value(collection, &key, record)? {
                page.push((key.to_vec(), value));
            }
        }
        Ok(page)
    }

    fn put_if_absent(
        &self,
        collection: Collection,
        key: Vec<u8>,
        value: Vec<u8>,
    ) -> Pending<'_, bool> {
        Box::pin(self.swap(collection, key, None, Some(value)))
    }

    fn compare_and_swap(
        &self,
        collection: Collection,
        key: Vec<u8>,
        old: Option<Vec<u8>>,
        new: Option<Vec<u8>>,
    ) -> Pending<'_, bool> {
        Box::pin(self.swap(collection, key, old, new))
    }

    fn batch(&self, writes: Vec<Write>) -> Pending<'_, ()> {
        Box::pin(self.write_all(writes))
    }

    fn durable(&self) -> Pending<'_, ()> {
        Box::pin(self.committer.durable())
    }
}

impl fmt::Debug for SledStore {
    /// Figures only: sled's own `Debug` prints what is in the trees.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SledStore").field(&self.figures()).finish()
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        self.last.in_order = self.committer.close();
    }
}

// === impl LastMark ===

impl Drop for LastMark {
    fn drop(&mut self) {
        if !self.in_order {
            return;
        }
        let reached = self.data.progress().reached();
        let written = MarkFile::open(&self.directory).and_then(|mark| mark.write(reached, true));
        if let Err(error) = written {
            log::error!("store: closed, but that could not be written down: {error}");
        }
    }
}

fn check_key(key: &[u8]) -> Result<(), StoreError> {
    if key.len() > KEY_BYTES_MAX { Err(StoreError::TooLarge) } else { Ok(()) }
}

fn check_value(value: &[u8]) -> Result<(), StoreError> {
    if value.len() > VALUE_BYTES_MAX { Err(StoreError::TooLarge) } else { Ok(()) }
}

fn check_batch(writes: &[Write]) -> Result<(), StoreError> {
    let mut bytes: usize = 0;
    for write in writes {
        let (key, value) = match write {
            Write::Put { key, value, .. } => (key, value.as_slice()),
            Write::Delete { key, .. } => (key, &[][..]),
        };
        check_key(key)?;
        check_value(value)?;
        bytes = bytes.saturating_add(key.len()).saturating_add(value.len());
    }
    let fits = bytes <= BATCH_BYTES_MAX && writes.len() <= BATCH_WRITES_MAX;
    if fits { Ok(()) } else { Err(StoreError::TooLarge) }
}

/// How many of `changes` go into one transaction: one at least.
fn group_len(changes: &[&Change]) -> usize {
    let mut bytes: usize = 0;
    let fits = |change: &&&Change| {
        bytes = bytes.saturating_add(change.bytes());
        bytes <= GROUP_BYTES_MAX && single::Single::of(change).is_none()
    };
    changes.iter().take(GROUP_CHANGES_MAX).take_while(fits).count().max(1)
}

// === impl Sled ===

impl Sled {
    /// Makes the changes of `group` in one transaction, or, if one of them is refused, each in one
    /// of its own.
    fn transact(
        &self,
        ledger: &mut Option<Ledger>,
        group: &[&Change],
        results: &mut Vec<Result<bool, StoreError>>,
    ) {
        match self.trees.apply(ledger.as_mut(), group) {
            Ok(made) => results.extend(made.into_iter().map(Ok)),
            Err(NotMade::Refused(error)) => match group {
                [_] => results.push(Err(error)),
                group => {
                    group.chunks(1).for_each(|change| self.transact(ledger, change, results));
                }
            },
            Err(NotMade::Torn(error)) => torn(&error),
        }
    }

    /// Flushes the log, and says up to where all of it is durable now.
    fn flush_log(&self) -> Result<Position, String> {
        let reached = self.progress.reached();
        self.db.flush().map_err(|error| error.to_string())?;
        Ok(reached)
    }
}

/// Ends the process: memory may hold half of what was to be written.
fn torn(error: &sled::Error) -> ! {
    commit::abort("a write was cut short", &error.to_string())
}

impl Engine for Sled {
    fn apply(&self, changes: &[&Change]) -> Vec<Result<bool, StoreError>> {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let mut results = Vec::with_capacity(changes.len());
        let mut rest = changes;
        while !rest.is_empty() {
            let singles = single::group(rest);
            let made = singles.len();
            rest = if made > 0 {
                let held = single::apply(&self.trees, ledger.as_mut(), &singles);
                results.extend(held.unwrap_or_else(|error| torn(&error)));
                rest.get(made..).unwrap_or_default()
            } else {
                let (group, later) = rest.split_at(group_len(rest));
                self.transact(&mut ledger, group, &mut results);
                later
            };
        }
        let settled = ledger.as_mut().map(|ledger| ledger.settle(&self.trees.ledger));
        settled.transpose().unwrap_or_else(|error| torn(&error));
        results
    }

    fn flush(&self) -> Result<(), String> {
        let reached = self.flush_log()?;
        self.space.look();
        self.mark.keep_up(reached).map_err(|error| error.to_string())
    }

    fn look(&self) -> Result<(), String> {
        self.space.look();
        if self.progress.reached() == self.mark.durable() {
            return Ok(());
        }
        let reached = self.flush_log()?;
        self.mark.keep_up(reached).map_err(|error| error.to_string())
    }
}

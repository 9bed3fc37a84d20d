//! The store of one machine: a log, and behind it sled 0.34.7.

use super::checkpoint::{self, Checkpointer, Target};
use super::commit::{Change, Committer, Engine};
use super::examination::{self, Accepted};
use super::figures::Counters;
use super::ledger::{Ledger, LedgerError, Move, Witness};
use super::mark::{Mark, MarkFile};
use super::opening::{self, Lock, Opened};
use super::record::{self, Head, Record};
use super::restore::Restore;
use super::rows::{Rows, View};
use super::space::Space;
use super::stage::Stage;
use super::sync::DataFile;
use super::trees::{LEDGER_KEY, TreeName};
use super::wal::Wal;
use super::walk::{Follow, Walk};
use super::{
    BATCH_BYTES_MAX, BATCH_WRITES_MAX, Collection, Entry, KEY_BYTES_MAX, OpenError,
    PAGE_ENTRIES_MAX, Pending, Store, StoreError, StoreFigures, Swap, Tuning, VALUE_BYTES_MAX,
    Write, wait,
};
use sled::IVec;
use std::fmt;
use std::future::ready;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How often a read begins anew because the value was replaced under its hands.
const READ_TRIES_MAX: usize = 1_000;

/// The store of one machine, in a directory that belongs to it alone.
///
/// It has threads: open it after any fork. Dropping it closes it.
pub struct SledStore {
    committer: Committer,
    counters: Arc<Counters>,
    view: Arc<View>,
    /// Held by the committer while it shows what it wrote.
    ledger: Arc<Mutex<Option<Ledger>>>,
    space: Arc<Space>,
    /// After the trees, with which the last writes to sled's log go.
    last: LastMark,
    accepted: Option<Accepted>,
    /// What is read is not durable, and will not be.
    #[cfg(test)]
    behind: std::sync::atomic::AtomicBool,
    /// Held as long as anything above may touch the files.
    _lock: Lock,
}

/// What the committer thread has of the store.
struct Writer {
    view: Arc<View>,
    ledger: Arc<Mutex<Option<Ledger>>>,
    wal: Wal,
    checkpointer: Checkpointer,
    space: Arc<Space>,
    mark: Arc<Mutex<MarkFile>>,
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
        let opened = opening::open(directory, tuning.into())?;
        // Nobody restores it now, since the lock is ours.
        Restore::check_ended(directory)?;
        Self::start(directory, opened)
    }

    /// Opens a store that [`Restore`] has finished and not ended.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_restored(directory: &Path, tuning: impl Into<Tuning>) -> Result<Self, OpenError> {
        Self::start(directory, opening::open(directory, tuning.into())?)
    }

    fn start(directory: &Path, opened: Opened) -> Result<Self, OpenError> {
        let Opened { trees, db, data, gap, accepted, mark, wal, recovered, space, lock } = opened;
        let (counters, space) = (Arc::new(Counters::default()), Arc::new(space));
        let ledger = Arc::<Mutex<Option<Ledger>>>::default();
        let frozen = recovered.map(|rows| (rows, wal.last()));
        let (rows, upto) = frozen.unzip();
        let (view, mark) = (Arc::new(View::new(trees, rows)), Arc::new(Mutex::new(mark)));
        let target = Target {
            db,
            view: Arc::clone(&view),
            space: Arc::clone(&space),
            progress: data.progress(),
            mark: Arc::clone(&mark),
        };
        let failed = |source| {
            let (what, path) = ("start a thread for", directory.to_owned());
            OpenError::Io { what, path, source }
        };
        let checkpointer = Checkpointer::start(target, upto).map_err(failed)?;
        let writer = Writer {
            view: Arc::clone(&view),
            ledger: Arc::clone(&ledger),
            wal,
            checkpointer,
            space: Arc::clone(&space),
            mark,
        };
        let committer = Committer::start(writer, Arc::clone(&counters)).map_err(failed)?;
        let last = LastMark { directory: directory.to_owned(), data, gap, in_order: false };
        Ok(Self {
            committer,
            counters,
            view,
            ledger,
            space,
            last,
            accepted,
            #[cfg(test)]
            behind: std::sync::atomic::AtomicBool::new(false),
            _lock: lock,
        })
    }

    /// Whether writes get through: the store is open, no flush is stuck, and the disk has room, which is
    /// looked at anew.
    pub fn healthy(&self) -> bool {
        self.space.look();
        self.committer.is_open() && !self.counters.is_stuck() && self.space.check().is_ok()
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
    /// is changed in another way than through this store is noticed by a [`Walk`]. Nothing may be
    /// written meanwhile.
    ///
    /// # Errors
    /// The store failed.
    pub fn begin_ledger(&self, witness: Arc<dyn Witness>, counter: u64) -> Result<(), StoreError> {
        let begun = Ledger::begin(witness, &self.view, counter)?;
        *self.ledger() = Some(begun);
        wait(self.committer.nothing())
    }

    /// Goes on keeping account of all rows, from what the last process left.
    ///
    /// # Errors
    /// There is no account, or it is not this witness's.
    pub fn resume_ledger(&self, witness: Arc<dyn Witness>) -> Result<(), LedgerError> {
        let resumed = Ledger::resume(witness, &self.view)?;
        *self.ledger() = Some(resumed);
        Ok(())
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

    pub(super) fn view(&self) -> &View {
        &self.view
    }

    /// Whether a write may begin.
    fn admit(&self) -> Result<(), StoreError> {
        if !self.committer.is_open() {
            return Err(StoreError::Unavailable);
        }
        self.space.check().inspect_err(|_| self.counters.refused_full())
    }

    async fn swap(&self, swaps: Vec<Swap>) -> Result<bool, StoreError> {
        check_swaps(&swaps)?;
        self.admit()?;
        self.committer.change(Change::Swaps(swaps)).await
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
        self.view.get(TreeName::Of(collection), key)
    }

    fn assemble(&self, head: Head) -> Result<Option<Vec<u8>>, StoreError> {
        head.assemble(|key| self.view.get(TreeName::Parts, key))
    }
}

/// What the tests of faults must reach.
#[cfg(test)]
impl SledStore {
    pub(super) fn space(&self) -> &Space {
        &self.space
    }

    /// From here on it is as an engine that shows what it cannot make durable.
    pub(crate) fn pretend_behind(&self) {
        self.behind.store(true, std::sync::atomic::Ordering::SeqCst);
    }

    pub(super) fn parts_len(&self) -> usize {
        self.view.page(TreeName::Parts, Bound::Unbounded, b"", PAGE_ENTRIES_MAX).unwrap().len()
    }

    /// Takes a part away that was put into sled before.
    pub(super) fn lose_a_part(&self) {
        self.view.trees().of(TreeName::Parts).pop_min().unwrap().unwrap();
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
        for (key, record) in self.view.page(TreeName::Of(collection), from, prefix, limit)? {
            // What was deleted in the meantime is left out.
            if let Some(value) = self.value(collection, &key, record)? {
                page.push((key, value));
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
        self.compare_and_swap(collection, key, None, Some(value))
    }

    fn compare_and_swap(
        &self,
        collection: Collection,
        key: Vec<u8>,
        old: Option<Vec<u8>>,
        new: Option<Vec<u8>>,
    ) -> Pending<'_, bool> {
        self.swap_all(vec![Swap { collection, key, old, new }])
    }

    fn swap_all(&self, swaps: Vec<Swap>) -> Pending<'_, bool> {
        Box::pin(self.swap(swaps))
    }

    fn batch(&self, writes: Vec<Write>) -> Pending<'_, ()> {
        Box::pin(self.write_all(writes))
    }

    fn durable(&self) -> Pending<'_, ()> {
        #[cfg(test)]
        if self.behind.load(std::sync::atomic::Ordering::SeqCst) {
            return Box::pin(ready(Err(StoreError::Unavailable)));
        }
        // Nothing is shown before it is.
        Box::pin(ready(Ok(())))
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
        let durable = self.data.progress().reached();
        let written = MarkFile::open(&self.directory).and_then(|mut mark| {
            let last = mark.last();
            mark.write(Mark { durable, closed: true, ..last })
        });
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

fn check_swaps(swaps: &[Swap]) -> Result<(), StoreError> {
    let mut bytes: usize = 0;
    for Swap { key, old, new, .. } in swaps {
        check_key(key)?;
        old.iter().chain(new).try_for_each(|value| check_value(value))?;
        let value = new.as_ref().map_or(0, Vec::len);
        bytes = bytes.saturating_add(key.len()).saturating_add(value);
    }
    let fits = bytes <= BATCH_BYTES_MAX && swaps.len() <= BATCH_WRITES_MAX;
    if fits { Ok(()) } else { Err(StoreError::TooLarge) }
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

// === impl Writer ===

impl Writer {
    /// Makes rows durable, with the ledger if there is one, and then shows them.
    fn write(&mut self, mut rows: Rows, moves: &[Move]) -> Result<(), String> {
        if let Some(ledger) = self.ledger().as_ref() {
            let row = ledger.row_after(moves);
            rows.put(TreeName::Ledger, LEDGER_KEY.to_vec(), Some(IVec::from(row)));
        }
        if self.wal.is_full() {
            self.checkpointer.freeze(&self.view, self.wal.last());
            self.wal.turn();
        }
        self.wal.append(&rows).map_err(|error| error.to_string())?;
        self.checkpointer.follow(self.wal.filled());
        let mut ledger = self.ledger();
        if let Some(ledger) = ledger.as_mut() {
            ledger.made(moves);
        }
        // A walk, which holds the ledger, sees both or neither.
        self.view.publish(rows);
        Ok(())
    }

    fn ledger(&self) -> MutexGuard<'_, Option<Ledger>> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn witness(&self) -> Option<Arc<dyn Witness>> {
        self.ledger().as_ref().map(|ledger| ledger.witness().clone())
    }

    fn ledger_is_new(&self) -> bool {
        self.ledger().as_ref().is_some_and(|ledger| !ledger.is_written())
    }

    fn keep_up(&self) -> Result<(), String> {
        self.space.keep_looking();
        let kept = checkpoint::lock(&self.mark).keep_up(self.wal.last());
        kept.map_err(|error| error.to_string())
    }
}

impl Engine for Writer {
    fn commit(&mut self, changes: &[&Change]) -> Result<Vec<Result<bool, StoreError>>, String> {
        let witness = self.witness();
        let mut stage = Stage::new(&self.view, witness.as_deref());
        let results = changes.iter().map(|change| stage.make(change)).collect();
        let (rows, moves) = stage.done();
        if !rows.is_empty() || self.ledger_is_new() {
            self.write(rows, &moves)?;
        }
        self.keep_up()?;
        Ok(results)
    }

    fn look(&mut self) -> Result<(), String> {
        self.keep_up()
    }

    /// Puts all that there is into sled, if there is room for it. What is not put stays in the log.
    fn finish(&mut self) {
        if !self.view.has_settled() && self.space.check().is_ok() {
            self.checkpointer.freeze(&self.view, self.wal.last());
        }
    }
}

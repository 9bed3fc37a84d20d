//! One thread that puts rows which are durable in the log into sled.
//!
//! When a file of the log is full its rows are frozen, and while this thread puts them into sled the
//! committer goes on in the other file. What was changed many times in between is put once. Only
//! when sled has flushed, and [the mark](super::mark) says so, may the file be used again; a machine
//! that stops before that finds the same rows in the log and puts them once more.

use super::commit;
use super::mark::{Mark, MarkFile};
use super::rows::{Rows, View};
use super::space::Space;
use super::sync::Progress;
use super::trees::{self, TreeName};
use super::wal::FrameNumber;
use sled::Db;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// After how many bytes sled flushes. Whoever waits for the disk meanwhile waits for so much.
const FLUSH_BYTES: usize = 128 << 10;

/// After how many rows it looks whether it may rest. More at once would be felt by who waits for a
/// processor.
const STEP_ROWS: u64 = 8;

/// How long it rests when it is ahead of the log, and how often after each step at the most.
const REST: Duration = Duration::from_millis(2);
const RESTS_MAX: u32 = 5;

/// It is to be done when so much of the other file is full, of [`WHOLE`].
const DONE_AT: u64 = 700;
/// The parts in which fractions are counted.
const WHOLE: u64 = 1000;

/// How often a thread that waits for room on the disk looks again.
const ROOM_PERIOD: Duration = Duration::from_secs(1);

/// The handle on the thread. Dropping it ends the thread, after what it is about.
#[derive(Debug)]
pub(super) struct Checkpointer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread works on.
pub(super) struct Target {
    pub(super) db: Db,
    pub(super) view: Arc<View>,
    pub(super) space: Arc<Space>,
    pub(super) progress: Progress,
    pub(super) mark: Arc<Mutex<MarkFile>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// The last frame of the rows that are frozen, if any are.
    frozen: Option<FrameNumber>,
    /// How much of the file is full that is written now, of [`WHOLE`].
    filled: u64,
    /// The committer can go on only when nothing is frozen.
    urgent: bool,
    closing: bool,
}

fn run(shared: &Shared, target: &Target) {
    let _guard = commit::AbortOnPanic("the thread that fills the trees failed");
    while let Some(upto) = shared.next(&target.space) {
        if let Err(error) = target.checkpoint(upto, |done| shared.rest(done)) {
            commit::abort("rows could not be put into the trees", &error);
        }
        let put = target.view.thaw();
        shared.done();
        free(put);
    }
}

/// Frees what is in sled now, a few rows at a time.
fn free(rows: Option<Arc<Rows>>) {
    // Who is still reading them frees them.
    let Some(rows) = rows.and_then(Arc::into_inner) else { return };
    for (nth, row) in (1_u64..).zip(rows.into_each()) {
        drop(row);
        if nth.is_multiple_of(STEP_ROWS) {
            thread::yield_now();
        }
    }
}

/// How much `some` is of `all`, of [`WHOLE`].
fn part(some: u64, all: u64) -> u64 {
    some.saturating_mul(WHOLE).checked_div(all).unwrap_or(WHOLE)
}

pub(super) fn lock(mark: &Mutex<MarkFile>) -> MutexGuard<'_, MarkFile> {
    mark.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Checkpointer ===

impl Checkpointer {
    /// Starts the thread. `frozen` is the last frame of the rows that the view has frozen already.
    pub(super) fn start(target: Target, frozen: Option<FrameNumber>) -> io::Result<Self> {
        let state = Mutex::new(State { frozen, filled: 0, urgent: false, closing: false });
        let shared = Arc::new(Shared { state, changed: Condvar::new() });
        let thread = {
            let shared = Arc::clone(&shared);
            let builder = thread::Builder::new().name("checkpointer".into());
            builder.spawn(move || run(&shared, &target))?
        };
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Waits until nothing is frozen, and freezes what has come up to the frame `upto`.
    pub(super) fn freeze(&self, view: &View, upto: FrameNumber) {
        let mut state = self.settled();
        state.urgent = false;
        if view.freeze() {
            state.frozen = Some(upto);
            state.filled = 0;
            self.shared.changed.notify_all();
        }
    }

    /// Hears how much of the file is full that is written now, and how long it becomes.
    pub(super) fn follow(&self, (filled, whole): (u64, u64)) {
        self.shared.lock().filled = part(filled, whole);
    }

    /// The state in which nothing is frozen.
    fn settled(&self) -> MutexGuard<'_, State> {
        let mut state = self.shared.lock();
        state.urgent = true;
        self.shared.changed.notify_all();
        let wait = self.shared.changed.wait_while(state, |state| state.frozen.is_some());
        wait.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.changed.notify_all();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            log::error!("store: the thread that fills the trees panicked at its end");
        }
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for rows that are frozen, and for room to put them. None: the store is closing. What is
    /// frozen then and has no room stays in the log.
    fn next(&self, space: &Space) -> Option<FrameNumber> {
        let mut state = self.lock();
        loop {
            match state.frozen.filter(|_| space.check().is_ok()) {
                Some(upto) => return Some(upto),
                None if state.closing => return None,
                None => {}
            }
            let waited = self.changed.wait_timeout(state, ROOM_PERIOD);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Lets others have the disk and the processor for a moment, if so much is done, of [`WHOLE`], that
    /// there is time for it.
    fn rest(&self, done: u64) {
        let mut state = self.lock();
        for _ in 0..RESTS_MAX {
            if !state.may_rest(done) {
                return;
            }
            let waited = self.changed.wait_timeout(state, REST);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn done(&self) {
        self.lock().frozen = None;
        self.changed.notify_all();
    }
}

// === impl State ===

impl State {
    fn may_rest(&self, done: u64) -> bool {
        let due = self.filled.saturating_mul(WHOLE).checked_div(DONE_AT).unwrap_or_default();
        !self.urgent && !self.closing && done > due
    }
}

// === impl Target ===

impl Target {
    /// Puts what is frozen into sled, durably, and then says so in the mark.
    /// After each step it says how much is done, of [`WHOLE`].
    fn checkpoint(&self, upto: FrameNumber, between: impl Fn(u64)) -> Result<(), String> {
        let rows = self.view.frozen().unwrap_or_default();
        let all = rows.count();
        let mut unflushed: usize = 0;
        for (nth, (tree, key, slot)) in (0_u64..).zip(rows.each()) {
            if nth.is_multiple_of(STEP_ROWS) {
                trees::free_replaced();
                between(part(nth, all));
            }
            unflushed = unflushed.saturating_add(self.put(tree, key, slot.as_deref())?);
            if unflushed > FLUSH_BYTES {
                unflushed = 0;
                self.flush()?;
            }
        }
        let durable = self.progress.reached();
        self.flush()?;
        let mut mark = lock(&self.mark);
        let last = mark.last();
        let (logged, applied) = (last.logged.max(upto), upto);
        let written = mark.write(Mark { durable, logged, applied, closed: false, ..last });
        written.map_err(|error| error.to_string())
    }

    /// Puts a row into sled, and says how long it is.
    fn put(&self, tree: TreeName, key: &[u8], record: Option<&[u8]>) -> Result<usize, String> {
        let put = self.view.trees().put(tree, key, record);
        put.map_err(|error| error.to_string())?;
        Ok(key.len().saturating_add(record.map_or(0, <[u8]>::len)))
    }

    fn flush(&self) -> Result<(), String> {
        self.db.flush().map(|_| ()).map_err(|error| error.to_string())
    }
}

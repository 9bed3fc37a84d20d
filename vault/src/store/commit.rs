//! One thread that makes everybody's writes, and makes them durable.
//!
//! Whoever writes waits here. The thread takes those that wait, makes their changes durable with one
//! sync, and wakes them; who comes while it syncs is taken by the next round. As it is the only
//! writer, what it has read is what it changes.
//!
//! When it sleeps, the first who comes lets all others go on that can, and wakes it then: what they
//! write shares one sync, and nobody waits for a clock.

use super::figures::Counters;
use super::{StoreError, Swap, Write};
use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::process;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::yield_now;

/// The most commits that wait at one time.
const WAITING_MAX: usize = 65_536;

/// How often an idle thread lets the engine look around.
const IDLE_PERIOD: Duration = Duration::from_secs(1);

/// How long a closing store waits for its last flush before it leaves the thread behind.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// The most bytes that the changes of one round write, but for those of its last.
const ROUND_BYTES_MAX: usize = 1 << 20;

/// What the committer works on.
pub(super) trait Engine: Send + 'static {
    /// Makes the changes, in their order and each of them all or nothing, makes them durable, and
    /// says of each whether its condition held. An error ends the process.
    fn commit(&mut self, changes: &[&Change]) -> Result<Vec<Result<bool, StoreError>>, String>;

    /// Looks at what may have changed while nothing was written. An error ends the process.
    fn look(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// Nothing more is to be written.
    fn finish(&mut self) {}
}

/// What the thread does next.
#[derive(Debug)]
enum Next {
    Commit(Vec<Commit>),
    Look,
    End,
}

/// A change that takes more than one record. Its `Debug` shows lengths only.
pub(super) enum Change {
    Batch(Vec<Write>),
    Swaps(Vec<Swap>),
}

/// The handle on the thread.
#[derive(Debug)]
pub(super) struct Committer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// Something to do, or closing.
    filled: Condvar,
    /// The thread is at its end.
    finished: Condvar,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Queue {
    commits: VecDeque<Commit>,
    /// The thread waits, and must be woken.
    idle: bool,
    closing: bool,
    finished: bool,
}

#[derive(Debug)]
struct Commit {
    since: Instant,
    /// None for who waits for what others write.
    change: Option<Change>,
    answer: oneshot::Sender<Result<bool, StoreError>>,
}

/// Wakes the thread when it is dropped, so that who gives up waiting does so as well.
struct Wake<'a>(&'a Condvar);

/// Ends the process when the thread panics: nobody would ever be woken again.
pub(super) struct AbortOnPanic(pub(super) &'static str);

/// Ends the process, because what was written cannot be vouched for any more.
///
/// After a sync has failed the kernel may have dropped the pages, and a second sync would succeed
/// without them. Only opening the store again shows what the disk really holds.
pub(super) fn abort(what: &str, error: &str) -> ! {
    log::error!("store: {what}: {error}; the process ends, nothing more is acknowledged");
    log::logger().flush();
    process::abort()
}

fn run(shared: &Shared, engine: &mut impl Engine) {
    let _guard = AbortOnPanic("the committer failed");
    loop {
        match shared.next() {
            Next::Commit(commits) => round(&shared.counters, engine, commits),
            Next::Look => look(engine),
            Next::End => break,
        }
    }
    engine.finish();
}

fn round(counters: &Counters, engine: &mut impl Engine, commits: Vec<Commit>) {
    let changes: Vec<_> = commits.iter().filter_map(|commit| commit.change.as_ref()).collect();
    let mut results = commit(counters, engine, &changes).into_iter();
    for Commit { since, change, answer } in commits {
        counters.committed(since.elapsed());
        let result = match change {
            Some(_) => results.next().unwrap_or(Err(StoreError::Unavailable)),
            None => Ok(true),
        };
        // Who no longer waits has been answered by silence; the write stays.
        answer.send(result).ok();
    }
}

fn look(engine: &mut impl Engine) {
    if let Err(error) = engine.look() {
        abort("the idle store failed", &error);
    }
}

fn commit(
    counters: &Counters,
    engine: &mut impl Engine,
    changes: &[&Change],
) -> Vec<Result<bool, StoreError>> {
    counters.flush_begins();
    let results = engine.commit(changes);
    counters.flush_ends();
    results.unwrap_or_else(|error| abort("a write failed", &error))
}

// === impl Committer ===

impl Committer {
    pub(super) fn start(mut engine: impl Engine, counters: Arc<Counters>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
            finished: Condvar::new(),
            counters,
        });
        let thread = {
            let shared = Arc::clone(&shared);
            thread::Builder::new().name("committer".into()).spawn(move || {
                run(&shared, &mut engine);
                // It may have threads of its own, and files.
                drop(engine);
                shared.finish();
            })?
        };
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn is_open(&self) -> bool {
        !self.shared.lock().closing
    }

    /// Waits for a round, which has nothing to do for this.
    pub(super) async fn nothing(&self) -> Result<(), StoreError> {
        self.commit(None).await.map(|_| ())
    }

    /// Has `change` made, and waits until it is durable.
    pub(super) async fn change(&self, change: Change) -> Result<bool, StoreError> {
        self.commit(Some(change)).await
    }

    async fn commit(&self, change: Option<Change>) -> Result<bool, StoreError> {
        let (answer, answered) = oneshot::channel();
        if let Some(wake) = self.shared.push(Commit { since: Instant::now(), change, answer })? {
            yield_now().await;
            drop(wake);
        }
        answered.await.unwrap_or(Err(StoreError::Unavailable))
    }

    /// Takes no more commits, finishes those that wait, and ends the thread.
    ///
    /// A thread that is stuck in a flush is left behind after a while, with what it works on. Says
    /// whether it ended.
    pub(super) fn close(&self) -> bool {
        self.shared.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return self.shared.lock().finished };
        if !self.shared.wait_finished(CLOSE_TIMEOUT) {
            log::error!("store: the last flush does not end; its thread is left behind");
            return false;
        }
        let joined = thread.join();
        if joined.is_err() {
            log::error!("store: the committer panicked at its end");
        }
        joined.is_ok()
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a commit wait for the next round, which the thread must be woken for if it sleeps.
    fn push(&self, commit: Commit) -> Result<Option<Wake<'_>>, StoreError> {
        let mut queue = self.lock();
        if queue.closing || queue.commits.len() >= WAITING_MAX {
            return Err(StoreError::Unavailable);
        }
        queue.commits.push_back(commit);
        self.counters.commit_begins();
        // A call of the kernel, which most commits come without: the thread is at work.
        let asleep = mem::take(&mut queue.idle);
        Ok(asleep.then_some(Wake(&self.filled)))
    }

    /// Waits for something to do. What waits is done before the end.
    fn next(&self) -> Next {
        let mut queue = self.filled();
        match (queue.commits.is_empty(), queue.closing) {
            (false, _) => Next::Commit(queue.round()),
            (true, true) => Next::End,
            (true, false) => Next::Look,
        }
    }

    /// The queue when there is something in it, it is closing, or nothing came for a while.
    fn filled(&self) -> MutexGuard<'_, Queue> {
        let is_idle = |queue: &mut Queue| {
            queue.idle = queue.commits.is_empty() && !queue.closing;
            queue.idle
        };
        let (mut queue, _) = self
            .filled
            .wait_timeout_while(self.lock(), IDLE_PERIOD, is_idle)
            .unwrap_or_else(PoisonError::into_inner);
        queue.idle = false;
        queue
    }

    fn close(&self) {
        self.lock().closing = true;
        self.filled.notify_all();
    }

    fn finish(&self) {
        self.lock().finished = true;
        self.finished.notify_all();
    }

    fn wait_finished(&self, timeout: Duration) -> bool {
        let (queue, _) = self
            .finished
            .wait_timeout_while(self.lock(), timeout, |queue| !queue.finished)
            .unwrap_or_else(PoisonError::into_inner);
        queue.finished
    }
}

// === impl Wake ===

impl Drop for Wake<'_> {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

// === impl Queue ===

impl Queue {
    /// Takes those at the front that are made together: one at least.
    fn round(&mut self) -> Vec<Commit> {
        let mut bytes: usize = 0;
        let fits = |commit: &&Commit| {
            let before = bytes;
            bytes = bytes.saturating_add(commit.change.as_ref().map_or(0, Change::bytes));
            before < ROUND_BYTES_MAX
        };
        let many = self.commits.iter().take_while(fits).count();
        self.commits.drain(..many).collect()
    }
}

// === impl Change ===

impl Change {
    /// How much it writes.
    pub(super) fn bytes(&self) -> usize {
        let of = |write: &Write| match write {
            Write::Put { key, value, .. } => key.len().saturating_add(value.len()),
            Write::Delete { key, .. } => key.len(),
        };
        match self {
            Self::Batch(writes) => writes.iter().map(of).fold(0, usize::saturating_add),
            Self::Swaps(swaps) => swaps.iter().map(Swap::bytes).fold(0, usize::saturating_add),
        }
    }
}

impl Swap {
    fn bytes(&self) -> usize {
        self.key.len().saturating_add(self.new.as_ref().map_or(0, Vec::len))
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Change({} bytes)", self.bytes())
    }
}

// === impl AbortOnPanic ===

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            abort(self.0, "it panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::sync::mpsc;
    use std::task::{Context, Poll, Waker};

    /// An engine whose commits begin and end when the test says so.
    #[derive(Debug)]
    struct Stepped {
        begun: mpsc::Sender<()>,
        end: mpsc::Receiver<()>,
    }

    impl Engine for Stepped {
        fn commit(&mut self, changes: &[&Change]) -> Result<Vec<Result<bool, StoreError>>, String> {
            // A test that has failed and gone must not take the process with it.
            self.begun.send(()).ok();
            self.end.recv().ok();
            Ok(changes.iter().map(|_| Ok(true)).collect())
        }
    }

    fn ready<F: Future>(future: std::pin::Pin<&mut F>) -> bool {
        matches!(future.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(_))
    }

    /// Returns when the next flush has begun. The limit only keeps a failure from hanging.
    fn await_flush(begins: &mpsc::Receiver<()>) {
        begins.recv_timeout(Duration::from_secs(60)).unwrap();
    }

    fn stepped() -> (Committer, Arc<Counters>, mpsc::Receiver<()>, mpsc::Sender<()>) {
        let (begun, begins) = mpsc::channel();
        let (ends, end) = mpsc::channel();
        let counters = Arc::new(Counters::default());
        let committer = Committer::start(Stepped { begun, end }, Arc::clone(&counters)).unwrap();
        (committer, counters, begins, ends)
    }

    #[test]
    fn a_sync_vouches_only_for_what_came_before_it() {
        let (committer, counters, begins, ends) = stepped();
        let mut first = pin!(committer.nothing());
        assert!(!ready(first.as_mut()));
        await_flush(&begins);
        // The flush has begun: who comes now needs the next one.
        let mut second = pin!(committer.nothing());
        assert!(!ready(second.as_mut()));
        ends.send(()).unwrap();
        await_flush(&begins);
        // The second flush has begun, so the first round is over.
        assert!(ready(first.as_mut()));
        assert!(!ready(second.as_mut()), "woken by a flush that began before its write");
        assert_eq!(counters.read().waiting, 1);
        ends.send(()).unwrap();
        super::super::wait(second).unwrap();
        assert_eq!((counters.read().flushes, counters.read().commits), (2, 2));
        committer.close();
    }

    #[test]
    fn all_that_wait_share_one_sync() {
        let (committer, counters, begins, ends) = stepped();
        let mut opener = pin!(committer.nothing());
        assert!(!ready(opener.as_mut()));
        await_flush(&begins);
        let mut waiters: Vec<_> = (0..100).map(|_| Box::pin(committer.nothing())).collect();
        assert!(waiters.iter_mut().all(|waiter| !ready(waiter.as_mut())));
        ends.send(()).unwrap();
        ends.send(()).unwrap();
        for waiter in waiters {
            super::super::wait(waiter).unwrap();
        }
        assert_eq!((counters.read().flushes, counters.read().commits), (2, 101));
        committer.close();
    }

    #[test]
    fn a_closed_committer_has_finished_what_waited_and_takes_nothing() {
        let (committer, counters, _begins, ends) = stepped();
        let mut waiter = pin!(committer.nothing());
        assert!(!ready(waiter.as_mut()));
        ends.send(()).unwrap();
        assert!(committer.close());
        assert!(ready(waiter.as_mut()));
        assert_eq!(super::super::wait(committer.nothing()), Err(StoreError::Unavailable));
        assert_eq!(counters.read().waiting, 0);
        assert!(!committer.is_open());
        committer.close();
    }

    #[test]
    fn who_no_longer_waits_stops_nobody() {
        let (committer, _, begins, ends) = stepped();
        {
            let mut gone = pin!(committer.nothing());
            assert!(!ready(gone.as_mut()));
        }
        await_flush(&begins);
        let mut stays = pin!(committer.nothing());
        assert!(!ready(stays.as_mut()));
        ends.send(()).unwrap();
        ends.send(()).unwrap();
        super::super::wait(stays).unwrap();
        committer.close();
    }
}

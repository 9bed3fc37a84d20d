//! The durable store: where bytes go when a caller has been told that they are kept.
//!
//! Here are the promise ([`Store`]), its words and its errors; [`SledStore`] keeps the promise on
//! one machine. What the bytes mean, and that they are sealed, is the business of the rest of this
//! crate: nothing here may be given a card, a credential or a key in the clear.
//!
//! How a write becomes durable is told in `docs/internals/store.md`.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

mod checkpoint;
mod commit;
mod engine;
mod examination;
mod figures;
mod ledger;
mod mark;
mod opening;
mod record;
mod restore;
mod rows;
mod space;
mod stage;
mod survey;
mod sync;
mod trees;
mod wal;
mod walk;

#[cfg(test)]
mod faults;
#[cfg(test)]
#[path = "../tests/store/scratch.rs"]
pub(crate) mod scratch;

pub use engine::SledStore;
pub use examination::Accepted;
pub use ledger::{Digest, LedgerError, Witness};
pub use restore::Restore;
pub use wal::FILE_BYTES as LOG_BYTES;
pub use walk::{Follow, RawRow, Step, Walk, WalkEnd};

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 256;

/// The longest value, in bytes: a sealed payment with as many attempts and changes as there may be.
pub const VALUE_BYTES_MAX: usize = 48 * 1024;

/// The most bytes of keys and values in one batch.
pub const BATCH_BYTES_MAX: usize = 256 * 1024;

/// The most writes in one batch.
pub const BATCH_WRITES_MAX: usize = 256;

/// The most entries that one call of [`Store::page`] returns.
pub const PAGE_ENTRIES_MAX: usize = 1_000;

/// How long a segment of the log of the engine is, in bytes.
pub const SEGMENT_BYTES: usize = 512 * 1024;

/// Keeps bytes. `Ok` from a write means that it survives power loss.
///
/// A write begins when its future is first polled, and a future that is dropped before it is ready
/// leaves the write undecided: it may or may not have happened. With another engine a *read* might
/// show a write that is not durable yet, so whoever answers from a read (a duplicate, a replay)
/// awaits [`durable`](Store::durable) before answering.
///
/// The futures need no runtime: [`wait`] drives them from an ordinary thread.
pub trait Store: Send + Sync + fmt::Debug + 'static {
    /// The value under `key`.
    fn get(&self, collection: Collection, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Up to `limit` entries (at most [`PAGE_ENTRIES_MAX`]) in the order of their keys, of those
    /// that begin with `prefix` and come after `after`.
    ///
    /// A page is not a snapshot: each entry is as it was at some moment of the call.
    fn page(
        &self,
        collection: Collection,
        after: Option<&[u8]>,
        prefix: &[u8],
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError>;

    /// Writes `value` under `key` unless something is there, and says whether it did.
    ///
    /// `false` is durable as well: what was found there stays.
    fn put_if_absent(
        &self,
        collection: Collection,
        key: Vec<u8>,
        value: Vec<u8>,
    ) -> Pending<'_, bool>;

    /// Puts `new` (`None` deletes) in the place of `old` (`None` is absence), and says whether it
    /// did. `false` is durable as well.
    fn compare_and_swap(
        &self,
        collection: Collection,
        key: Vec<u8>,
        old: Option<Vec<u8>>,
        new: Option<Vec<u8>>,
    ) -> Pending<'_, bool>;

    /// Makes all of `swaps`, of which no two are about one row, or none of them, and says whether it
    /// did: each must find its `old`.
    fn swap_all(&self, swaps: Vec<Swap>) -> Pending<'_, bool>;

    /// Does all of `writes`, in their order, or none of them.
    fn batch(&self, writes: Vec<Write>) -> Pending<'_, ()>;

    /// Waits until all that could be read when this was called is durable.
    fn durable(&self) -> Pending<'_, ()>;
}

/// How the engine of a store is set up. The size of its cache alone makes one, the rest as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// How much memory it may use for pages.
    pub cache_bytes: u64,
    /// How long a segment of sled's log is. A store is opened with what it was made with. Tests make
    /// it short, so that segments are used again soon; a record must be far below a quarter of it.
    pub segment_bytes: usize,
    /// How long a file of our log becomes before the other is used. Tests make it short as well.
    pub log_bytes: u64,
}

/// What a write returns: a future that is ready when the write is durable.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// A place in the log of the engine, in bytes since it was begun. It only grows.
type Position = u64;

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// A space of keys of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Collection {
    /// What the store says about itself. The key `format` is the store's own.
    Meta,
    /// Data keys, wrapped.
    Keys,
    Merchants,
    ApiKeys,
    Accounts,
    Tokens,
    /// The journal of payments.
    Payments,
}

/// One write of a batch. Its `Debug` shows lengths only.
#[derive(Clone, PartialEq, Eq)]
pub enum Write {
    Put { collection: Collection, key: Vec<u8>, value: Vec<u8> },
    Delete { collection: Collection, key: Vec<u8> },
}

/// Puts `new` (`None` deletes) in the place of `old` (`None` is absence). Its `Debug` shows lengths
/// only.
#[derive(Clone, PartialEq, Eq)]
pub struct Swap {
    pub collection: Collection,
    pub key: Vec<u8>,
    pub old: Option<Vec<u8>>,
    pub new: Option<Vec<u8>>,
}

/// Why the store did not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// What was read is not what was written. Nothing that depends on it can be answered.
    #[error("the store holds a damaged record")]
    Corrupt,
    /// Too little disk is left to write. Nothing was written; reading goes on.
    #[error("the disk of the store is full")]
    Full,
    /// A key, a value or a batch is over its maximum. Nothing was written.
    #[error("a record is too large for the store")]
    TooLarge,
    /// The store is closed, or the disk did not answer. A write may or may not have happened.
    #[error("the store is not available")]
    Unavailable,
}

/// Why a store was not opened or created, and what to do next.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "there is no store in {0}. If it is a new installation, run `orchestra vault init`; if \
         there was one, check `vault.directory` and whether its disk is mounted, or restore a backup"
    )]
    Missing(PathBuf),
    #[error(
        "{0} already holds files. A store is only created in an empty directory: choose another \
         `vault.directory`, or move these files away if they are really no longer needed"
    )]
    Exists(PathBuf),
    #[error(
        "the store in {0} was never finished: its creation, or a restore into it, was cut short \
         and nothing was kept in it. Remove the directory and run `orchestra vault init` or \
         `orchestra vault restore` again"
    )]
    Unfinished(PathBuf),
    #[error(
        "another process has the store in {0} open. Stop it first (it may be `orchestra serve`), \
         or talk to it with the command line while it runs"
    )]
    Locked(PathBuf),
    #[error(
        "the store in {directory} has format {found}, and this program reads format {expected}. \
         Use the version of orchestra that wrote it, or restore a backup with this one"
    )]
    Format { directory: PathBuf, found: String, expected: &'static str },
    #[error(
        "the disk under {directory} has {free} bytes free and the store wants at least {wanted}. \
         Free some space (nothing in the directory of the store may be deleted) and start again"
    )]
    Full { directory: PathBuf, free: u64, wanted: u64 },
    #[error(
        "{0} is not empty. The store never puts a file there, because such files are not made \
         durable; find out what did, and restore a backup if the records in question matter"
    )]
    Blobs(PathBuf),
    #[error(
        "this build of the program cannot make writes durable: the flush of the store does not \
         reach fdatasync. It refuses to run. Build it as the README says (a program for Linux, \
         with the function `sync_file_range` of the crate `vault` linked in)"
    )]
    NotDurable,
    #[error(
        "the store in {directory} is damaged and does not open ({detail}). Keep a copy of the \
         directory, check the disk, and restore a backup"
    )]
    Corrupt { directory: PathBuf, detail: &'static str },
    #[error(
        "the log of the store in {directory} ends at {found}, and what was acknowledged reaches to \
         {promised}: its end is lost or damaged. Keep a copy of the directory, check the disk, and \
         restore a backup. Without one, `touch {directory}/accept-loss` has the next start open \
         what is left"
    )]
    Lost { directory: PathBuf, found: u64, promised: u64 },
    #[error(
        "the store in {directory} is damaged: its file `{file}` cannot be read at byte {at}, in a part \
         that was acknowledged. Nothing was changed. Keep a copy of the directory, check the disk, \
         and restore a backup. Without one, `touch {directory}/accept-loss` has the next start \
         open what is left"
    )]
    Damaged { directory: PathBuf, file: &'static str, at: u64 },
    #[error(
        "the file `mark` of the store in {0} is missing or damaged, and without it nobody can say \
         whether the end of the log is. Put the file back if the directory was copied in part, or \
         restore a backup. If you know the store to be whole, `touch {0}/accept-loss` has the next \
         start open it and make the file anew"
    )]
    NoMark(PathBuf),
    #[error(
        "{0} is no file of the store, and its engine would take it for one. Move it away and start \
         again"
    )]
    Foreign(PathBuf),
    #[error("cannot {what} {path}: {source}. Check owner, permissions and the health of the disk")]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// What the store counted since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreFigures {
    /// Flushes that the committer made.
    pub flushes: u64,
    /// Times that the disk was made to sync, by any flush.
    pub syncs: u64,
    /// Commits that were waited for, and became durable.
    pub commits: u64,
    /// How long these waited in all.
    pub commit_wait_us_sum: u64,
    /// The longest that one of them waited.
    pub commit_wait_us_max: u64,
    /// Commits that wait now.
    pub waiting: u64,
    /// Writes that were refused because the disk is full.
    pub refused_full: u64,
    /// How long the data file is.
    pub disk_bytes: u64,
    /// 1 if a part of the log could not be read at opening, which a power cut may do rightly.
    pub log_gaps: u64,
}

/// Drives `future` to its end on this thread, without a runtime.
///
/// It is for the command line. Inside a runtime it would block a worker: `.await` there.
pub fn wait<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

struct Unpark(Thread);

// === impl Tuning ===

impl From<u64> for Tuning {
    fn from(cache_bytes: u64) -> Self {
        Self { cache_bytes, segment_bytes: SEGMENT_BYTES, log_bytes: LOG_BYTES }
    }
}

// === impl Unpark ===

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

// === impl Collection ===

impl Collection {
    pub const ALL: [Self; 7] = [
        Self::Meta,
        Self::Keys,
        Self::Merchants,
        Self::ApiKeys,
        Self::Accounts,
        Self::Tokens,
        Self::Payments,
    ];

    /// The name under which the engine keeps it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Keys => "keys",
            Self::Merchants => "merchants",
            Self::ApiKeys => "api-keys",
            Self::Accounts => "accounts",
            Self::Tokens => "tokens",
            Self::Payments => "payments",
        }
    }
}

// === impl Swap ===

impl fmt::Debug for Swap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [old, new] = [&self.old, &self.new].map(|value| value.as_ref().map(Vec::len));
        write!(f, "Swap({:?}, {} + {old:?} to {new:?} bytes)", self.collection, self.key.len())
    }
}

// === impl Write ===

impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { collection, key, value } => {
                write!(f, "Put({collection:?}, {} + {} bytes)", key.len(), value.len())
            }
            Self::Delete { collection, key } => {
                write!(f, "Delete({collection:?}, {} bytes)", key.len())
            }
        }
    }
}

//! Creating and opening: everything that must hold before the first write is acknowledged.

use super::examination::{self, Accepted, Examined, failed, snapshots};
use super::mark::{self, Mark, MarkFile};
use super::rows::Rows;
use super::space::{OPEN_BYTES_MIN, Space};
use super::sync::DataFile;
use super::trees::Trees;
use super::wal::{self, Wal};
use super::{OpenError, Tuning};
use sled::{Db, Tree};
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// How the collections are laid out. It changes when an older program must not write here.
pub(super) const FORMAT: &str = "2";

/// Under which key of `Meta` the format stands.
pub(super) const FORMAT_KEY: &[u8] = b"format";

/// Under which key of sled's own tree each opening leaves its trace, for the self-test.
const OPENED_KEY: &[u8] = b"opened";

/// sled cleans up its log only in the thread that this keeps alive.
const FLUSH_EVERY_MS: u64 = 500;

/// Below this sled's cache, which is in 256 pieces, is of no use.
const CACHE_BYTES_MIN: u64 = 8 << 20;

/// How long the threads of a store that was just closed in this process may hold its file.
const STRAGGLER_TRIES: u32 = 100;
const STRAGGLER_PAUSE: Duration = Duration::from_millis(20);

/// A store that is open. The lock goes last.
pub(super) struct Opened {
    pub(super) trees: Trees<Tree>,
    pub(super) db: Db,
    pub(super) data: DataFile,
    /// Whether a part of the log could not be read.
    pub(super) gap: bool,
    /// That whatever was lost was accepted.
    pub(super) accepted: Option<Accepted>,
    pub(super) mark: MarkFile,
    pub(super) wal: Wal,
    /// The rows of the log that may not be in sled.
    pub(super) recovered: Option<Rows>,
    pub(super) space: Space,
    pub(super) lock: Lock,
}

/// The right to touch the files of a directory.
#[derive(Debug)]
pub(super) struct Lock(File);

/// Makes a store in a directory that is missing or empty.
pub(super) fn create(directory: &Path, tuning: Tuning) -> Result<Opened, OpenError> {
    guarded(directory, || {
        let mut opened = begin(directory, tuning)?;
        // Last, so that what has a format is complete.
        opened.trees.write_format().map_err(of_sled(directory))?;
        opened.db.flush().map_err(of_sled(directory))?;
        opened.mark_reached(directory)?;
        Ok(opened)
    })
}

/// Begins a store, which has no format yet, in a directory that is missing or empty.
pub(super) fn begin(directory: &Path, tuning: Tuning) -> Result<Opened, OpenError> {
    make_directory(directory)?;
    if !is_vacant(directory).map_err(failed("read", directory))? {
        return Err(OpenError::Exists(directory.to_owned()));
    }
    let (space, lock) = enter(directory)?;
    if directory.join("db").exists() {
        // Another process was faster.
        return Err(OpenError::Exists(directory.to_owned()));
    }
    // First, so that what has data has a mark, which says that nothing was promised, and a log.
    let mut mark = open_mark(directory)?;
    mark.write(Mark::default()).map_err(failed("write", &directory.join(mark::NAME)))?;
    wal::create(directory).map_err(failed("make the log in", directory))?;
    sync(directory)?;
    let db = open_sled(directory, tuning)?;
    prove(directory, (db, tuning), mark, (space, lock))
}

/// Opens the store of a directory. What is not there is not made.
pub(super) fn open(directory: &Path, tuning: Tuning) -> Result<Opened, OpenError> {
    if !directory.join("db").is_file() {
        let lost = examination::lost_its_data(directory);
        return Err(lost.unwrap_or_else(|| OpenError::Missing(directory.to_owned())));
    }
    let (space, lock) = enter(directory)?;
    let examined = examination::before(directory, tuning.segment_bytes)?;
    let db = open_sled(directory, tuning)?;
    let examined = examined.after(directory)?;
    check_format(directory, &db, &examined)?;
    let mut opened = prove(directory, (db, tuning), open_mark(directory)?, (space, lock))?;
    opened.wal.go_on_after(examined.last);
    opened.recovered = Some(examined.recovered).filter(|rows| !rows.is_empty());
    opened.mark_reached(directory)?;
    Ok(Opened { gap: examined.gap, accepted: examined.accepted, ..opened })
}

fn open_mark(directory: &Path) -> Result<MarkFile, OpenError> {
    MarkFile::open(directory).map_err(failed("open", &directory.join(mark::NAME)))
}

/// Takes the lock, before anything in the directory is touched, and looks for room.
fn enter(directory: &Path) -> Result<(Space, Lock), OpenError> {
    let lock = take_lock(directory)?;
    let space = Space::new(directory);
    let free = space.free().map_err(failed("look for room in", directory))?;
    if free < OPEN_BYTES_MIN {
        let directory = directory.to_owned();
        return Err(OpenError::Full { directory, free, wanted: OPEN_BYTES_MIN });
    }
    Ok((space, lock))
}

/// Shows that writes become durable here, and makes what sled itself never syncs durable.
fn prove(
    directory: &Path,
    (db, tuning): (Db, Tuning),
    mark: MarkFile,
    (space, lock): (Space, Lock),
) -> Result<Opened, OpenError> {
    let path = directory.join("db");
    let data = DataFile::register(&path, tuning.segment_bytes).map_err(failed("open", &path))?;
    let trees = Trees::open(&db).map_err(of_sled(directory))?;
    test_flush(directory, &db, &data)?;
    check_blobs(directory)?;
    sync_files(directory)?;
    let wal = Wal::open(directory, tuning.log_bytes);
    let wal = wal.map_err(failed("open the log in", directory))?;
    let (gap, accepted, recovered) = (false, None, None);
    Ok(Opened { trees, db, data, gap, accepted, mark, wal, recovered, space, lock })
}

/// Refuses when a flush does not reach our sync, in which case it reaches nothing that lasts.
fn test_flush(directory: &Path, db: &Db, data: &DataFile) -> Result<(), OpenError> {
    let before = data.syncs();
    let openings = db.get(OPENED_KEY).map_err(of_sled(directory))?;
    let openings = openings.as_deref().and_then(|count| count.try_into().ok());
    let openings = openings.map_or(0, u64::from_be_bytes).wrapping_add(1);
    db.insert(OPENED_KEY, &openings.to_be_bytes()).map_err(of_sled(directory))?;
    db.flush().map_err(of_sled(directory))?;
    if data.syncs() == before { Err(OpenError::NotDurable) } else { Ok(()) }
}

fn check_format(directory: &Path, db: &Db, examined: &Examined) -> Result<(), OpenError> {
    match Trees::read_format(db).map_err(of_sled(directory))? {
        Some(found) if found == FORMAT => Ok(()),
        Some(found) => Err(foreign(directory, found)),
        // With the first promise the format was there.
        None if examined.promised > 0 => Err(damaged(directory, "its format is missing")),
        None => Err(OpenError::Unfinished(directory.to_owned())),
    }
}

// What follows is about files.

/// Makes the directory, for its owner only, and the way to it durable.
fn make_directory(directory: &Path) -> Result<(), OpenError> {
    let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let missing = directory.ancestors().take_while(is_missing).count();
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(failed("create", directory))?;
    directory.ancestors().take(missing).try_for_each(sync_parent)
}

/// Whether nothing is in the directory but what a file system puts there itself.
fn is_vacant(directory: &Path) -> io::Result<bool> {
    let mut entries = fs::read_dir(directory)?;
    entries.try_fold(true, |vacant, entry| {
        let name = entry?.file_name();
        // The lock is what remains of a creation for which there was no room.
        Ok(vacant && (name == "lost+found" || name == "lock"))
    })
}

fn take_lock(directory: &Path) -> Result<Lock, OpenError> {
    let path = directory.join("lock");
    let lock = File::options().create(true).truncate(false).write(true).open(&path);
    let lock = lock.map_err(failed("open", &path))?;
    match lock.try_lock() {
        Ok(()) => Ok(Lock(lock)),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked(directory.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed("lock", &path)(source)),
    }
}

/// sled puts pages there that are too large for its log, and never syncs them.
fn check_blobs(directory: &Path) -> Result<(), OpenError> {
    let blobs = directory.join("blobs");
    let mut entries = fs::read_dir(&blobs).map_err(failed("read", &blobs))?;
    if entries.next().is_some() { Err(OpenError::Blobs(blobs)) } else { Ok(()) }
}

/// sled syncs its log only: not its settings, not its snapshots, and no directory.
fn sync_files(directory: &Path) -> Result<(), OpenError> {
    let named = ["conf", "db", "blobs", mark::NAME].into_iter().chain(wal::NAMES);
    let named = named.map(|name| directory.join(name));
    named.chain(snapshots(directory)?).try_for_each(|path| sync(&path))?;
    sync(directory)?;
    sync_parent(directory)
}

fn sync(path: &Path) -> Result<(), OpenError> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(failed("sync", path))
}

/// A parent that this user may pass but not read was there before us, and its entry with it.
fn sync_parent(path: &Path) -> Result<(), OpenError> {
    let path = path.canonicalize().map_err(failed("find", path))?;
    let Some(parent) = path.parent() else { return Ok(()) };
    match sync(parent) {
        Err(OpenError::Io { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
            log::warn!("store: {} may not be read, and is not synced", parent.display());
            Ok(())
        }
        synced => synced,
    }
}

// What follows is about sled.

fn open_sled(directory: &Path, tuning: Tuning) -> Result<Db, OpenError> {
    let config = sled::Config::new()
        .path(directory)
        .cache_capacity(tuning.cache_bytes.max(CACHE_BYTES_MIN))
        .segment_size(tuning.segment_bytes)
        .flush_every_ms(Some(FLUSH_EVERY_MS));
    for _ in 0..STRAGGLER_TRIES {
        match open_once(directory, &config) {
            Err(OpenError::Locked(_)) => pause(),
            opened => return opened,
        }
    }
    open_once(directory, &config)
}

#[expect(clippy::disallowed_methods, reason = "a store is opened before anything runs")]
fn pause() {
    thread::sleep(STRAGGLER_PAUSE);
}

fn open_once(directory: &Path, config: &sled::Config) -> Result<Db, OpenError> {
    guarded(directory, || config.open().map_err(of_sled(directory)))
}

/// sled answers some kinds of damage with a panic, and a disk that fails when it is dropped. The
/// text may quote records: it is not kept.
fn guarded<T>(
    directory: &Path,
    act: impl FnOnce() -> Result<T, OpenError>,
) -> Result<T, OpenError> {
    let panicked = |_| Err(damaged(directory, "the engine panicked while it read or made it"));
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(panicked)
}

pub(super) fn of_sled(directory: &Path) -> impl Fn(sled::Error) -> OpenError {
    move |error| match error {
        sled::Error::Io(source) if source.to_string().contains("could not acquire lock") => {
            OpenError::Locked(directory.to_owned())
        }
        sled::Error::Io(source) => failed("use", directory)(source),
        sled::Error::Unsupported(_) => foreign(directory, "of another engine".to_owned()),
        sled::Error::Corruption { .. } => damaged(directory, "a checksum does not match"),
        sled::Error::CollectionNotFound(_) => damaged(directory, "a collection is missing"),
        sled::Error::ReportableBug(_) => damaged(directory, "the engine contradicts itself"),
    }
}

fn foreign(directory: &Path, found: String) -> OpenError {
    OpenError::Format { directory: directory.to_owned(), found, expected: FORMAT }
}

pub(super) fn damaged(directory: &Path, detail: &'static str) -> OpenError {
    OpenError::Corrupt { directory: directory.to_owned(), detail }
}

// === impl Opened ===

impl Opened {
    /// Writes down how far both logs have come. Nobody else writes yet.
    pub(super) fn mark_reached(&mut self, directory: &Path) -> Result<(), OpenError> {
        let durable = self.data.progress().reached();
        self.db.flush().map_err(of_sled(directory))?;
        let (last, logged) = (self.mark.last(), self.wal.last());
        let applied = if self.recovered.is_none() { logged } else { last.applied };
        let mark = Mark { durable, logged, applied, closed: false, ..last };
        self.mark.write(mark).map_err(failed("write", &directory.join(mark::NAME)))
    }
}

// === impl Lock ===

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a process that was forked off just now holds the file as well.
        if let Err(error) = self.0.unlock() {
            log::warn!("store: the lock is not released before the file is closed: {error}");
        }
    }
}

//! What reaches the disk, in one order with what was acknowledged.
//!
//! The functions of the C library by which the engine and the standard library change files are
//! defined here, in the test program: the linker binds every call to these. They write down what
//! concerns a directory that is on a tape, and pass on by system call. A tape holds its lock across
//! each call that changes something, so that the order of the events is the order of the changes.
#![expect(
    unsafe_code,
    reason = "to see every call that reaches the disk takes the place of the C library's functions"
)]

use crate::disk::{Disk, File};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, OsStr, c_char, c_int, c_long, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{slice, thread};

/// How long a disk takes to sync. In the meantime other writers go on, so that there is something
/// to lose at most moments.
const SYNC_TAKES: Duration = Duration::from_micros(700);

/// One thing that happened. Files are numbers, since they outlive their names.
#[derive(Debug)]
pub(crate) enum Event {
    Create {
        name: String,
        file: File,
    },
    Folder {
        name: String,
    },
    Rename {
        from: String,
        to: String,
    },
    Unlink {
        name: String,
    },
    Resize {
        file: File,
        bytes: usize,
    },
    Write {
        file: File,
        at: usize,
        bytes: Vec<u8>,
    },
    /// `names` says whether it vouches for the journal too, as `fsync` does and `fdatasync` need
    /// not.
    SyncBegins {
        file: File,
        names: bool,
    },
    /// The sync that began at event `begun` succeeded.
    SyncEnds {
        begun: usize,
    },
    /// `create` has returned.
    Made,
    /// The `nth` deed of `writer` is acknowledged.
    Acknowledged {
        writer: usize,
        nth: usize,
    },
    /// Somebody was told, durably, that the `nth` deed of `writer` happened.
    Seen {
        writer: usize,
        nth: usize,
    },
    /// All that could be read was made durable.
    Settled,
}

/// What the engine's one call for durability does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// It syncs, as `vault/src/store/sync.rs` makes it.
    Ours,
    /// It is `sync_file_range`, as without us.
    Stock,
}

/// A record of what happens to one directory, for as long as it runs.
#[derive(Debug)]
pub(crate) struct Tape {
    root: PathBuf,
    engine: Engine,
    taken: Mutex<Taken>,
}

#[derive(Debug)]
struct Taken {
    events: Vec<Event>,
    names: BTreeMap<String, File>,
    files: usize,
    /// What stood where something was written that is not synced yet, when a sync will fail.
    covered: Vec<Covered>,
}

#[derive(Debug)]
struct Covered {
    file: File,
    fd: c_int,
    at: usize,
    bytes: Vec<u8>,
    /// How long the file was.
    length: usize,
}

#[derive(Debug, Clone)]
struct Handle {
    tape: Arc<Tape>,
    file: File,
}

/// How many tapes run. Without one, every call is passed on at once.
static RUNNING: AtomicUsize = AtomicUsize::new(0);
static TAPES: Mutex<Vec<Arc<Tape>>> = Mutex::new(Vec::new());
/// How many syncs still go well before one fails; negative: none fails.
pub(crate) static SYNCS_LEFT: AtomicI64 = AtomicI64::new(-1);

/// How many bytes are free on the disk, if that is not for the disk to say; and how many of them
/// can be had, which is less where there are quotas.
pub(crate) static FREE: AtomicU64 = AtomicU64::new(AS_IT_IS);
pub(crate) static ROOM: AtomicU64 = AtomicU64::new(AS_IT_IS);
const AS_IT_IS: u64 = u64::MAX;
const BLOCK_BYTES: u64 = 4096;

static HANDLES: Mutex<BTreeMap<c_int, Handle>> = Mutex::new(BTreeMap::new());
/// The open files that are still to be told of a sync that failed: Linux tells each of them once.
static OWED: Mutex<BTreeSet<c_int>> = Mutex::new(BTreeSet::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends this process after a while, should what it opens never open.
pub(crate) fn die_after(seconds: u32) {
    // SAFETY: it only sets a timer of this process.
    unsafe { libc::alarm(seconds) };
}

#[expect(clippy::disallowed_methods, reason = "it stands for the time that a disk takes")]
fn take_time() {
    thread::sleep(SYNC_TAKES);
}

// === impl Tape ===

impl Tape {
    /// Begins to record what happens under `root`, which holds what `disk` says.
    pub(crate) fn start(root: &Path, disk: &Disk, engine: Engine) -> Arc<Self> {
        let taken = Taken {
            events: Vec::new(),
            names: disk.names.clone(),
            files: disk.files.keys().next_back().map_or(0, |last| last + 1),
            covered: Vec::new(),
        };
        let tape = Arc::new(Self { root: root.to_owned(), engine, taken: Mutex::new(taken) });
        lock(&TAPES).push(Arc::clone(&tape));
        RUNNING.fetch_add(1, SeqCst);
        tape
    }

    /// Ends the record.
    pub(crate) fn stop(self: Arc<Self>) -> Vec<Event> {
        RUNNING.fetch_sub(1, SeqCst);
        lock(&TAPES).retain(|tape| !Arc::ptr_eq(tape, &self));
        lock(&HANDLES).retain(|_, handle| !Arc::ptr_eq(&handle.tape, &self));
        std::mem::take(&mut lock(&self.taken).events)
    }

    pub(crate) fn note(&self, event: Event) {
        lock(&self.taken).events.push(event);
    }

    fn name(&self, path: &Path) -> Option<String> {
        let name = path.strip_prefix(&self.root).ok()?;
        Some(name.to_str()?.to_owned())
    }

    /// Writes down what `call` did, which `event` says, unless it failed.
    fn change(&self, call: impl FnOnce() -> c_long, event: impl FnOnce(c_long) -> Event) -> c_long {
        let mut taken = lock(&self.taken);
        let done = Done::of(call());
        if done.returned >= 0 {
            taken.events.push(event(done.returned));
        }
        drop(taken);
        done.give()
    }

    fn open(self: &Arc<Self>, name: String, flags: c_int, call: impl FnOnce() -> c_long) -> c_long {
        let mut taken = lock(&self.taken);
        let existed = self.root.join(&name).exists();
        let done = Done::of(call());
        if let Ok(fd @ 0..) = c_int::try_from(done.returned) {
            let file = taken.open(name, existed, flags & libc::O_TRUNC != 0);
            lock(&HANDLES).insert(fd, Handle { tape: Arc::clone(self), file });
        }
        drop(taken);
        done.give()
    }

    fn rename(&self, from: String, to: String, call: impl FnOnce() -> c_long) -> c_long {
        let mut taken = lock(&self.taken);
        let done = Done::of(call());
        if done.returned >= 0 {
            if let Some(file) = taken.names.remove(&from) {
                taken.names.insert(to.clone(), file);
            }
            taken.events.push(Event::Rename { from, to });
        }
        drop(taken);
        done.give()
    }

    fn unlink(&self, name: String, call: impl FnOnce() -> c_long) -> c_long {
        let mut taken = lock(&self.taken);
        let done = Done::of(call());
        if done.returned >= 0 {
            taken.names.remove(&name);
            taken.events.push(Event::Unlink { name });
        }
        drop(taken);
        done.give()
    }

    /// Writes down a write, which finds no room if the disk is said to be full.
    fn write(
        &self,
        (fd, file): (c_int, File),
        (at, bytes): (usize, usize),
        call: impl FnOnce() -> c_long,
        event: impl FnOnce(c_long) -> Event,
    ) -> c_long {
        let mut taken = lock(&self.taken);
        let length = length(fd);
        let growth = u64::try_from((at + bytes).saturating_sub(length)).unwrap();
        if !take_room(growth) {
            return Done::failed(libc::ENOSPC).give();
        }
        if SYNCS_LEFT.load(SeqCst) >= 0 && taken.stays_open(file) {
            taken.covered.push(Covered { file, fd, at, bytes: read(fd, at, bytes), length });
        }
        let done = Done::of(call());
        if done.returned >= 0 {
            taken.events.push(event(done.returned));
        }
        drop(taken);
        done.give()
    }

    fn sync(
        &self,
        (fd, file): (c_int, File),
        names: bool,
        call: impl FnOnce() -> c_long,
    ) -> c_long {
        let (begun, covered) = {
            let mut taken = lock(&self.taken);
            taken.events.push(Event::SyncBegins { file, names });
            (taken.events.len() - 1, taken.covered.len())
        };
        take_time();
        if SYNCS_LEFT.load(SeqCst) >= 0 && SYNCS_LEFT.fetch_sub(1, SeqCst) == 0 {
            self.lose(file);
        }
        if lock(&OWED).remove(&fd) {
            return Done::failed(libc::EIO).give();
        }
        let done = Done::of(call());
        if done.returned >= 0 {
            let mut taken = lock(&self.taken);
            taken.events.push(Event::SyncEnds { begun });
            let covered = covered.min(taken.covered.len());
            let later = taken.covered.split_off(covered);
            taken.covered.retain(|one| one.file != file);
            taken.covered.extend(later);
        }
        done.give()
    }

    /// Fails a sync as Linux does: what was not on the disk yet is forgotten, each open file is
    /// told once, and a later sync knows nothing of it.
    fn lose(&self, file: File) {
        let of_file = |handle: &Handle| std::ptr::eq(&*handle.tape, self) && handle.file == file;
        let handles = lock(&HANDLES);
        let told = handles.iter().filter(|(_, handle)| of_file(handle));
        lock(&OWED).extend(told.map(|(fd, _)| *fd));
        drop(handles);
        let mut taken = lock(&self.taken);
        let mine = taken.covered.extract_if(.., |one| one.file == file);
        for Covered { fd, at, bytes, length, .. } in mine.collect::<Vec<_>>().into_iter().rev() {
            let (buffer, count) = (bytes.as_ptr(), bytes.len());
            // SAFETY: the bytes live as long as the call, and the file is the engine's, still open.
            unsafe {
                libc::syscall(libc::SYS_pwrite64, fd, buffer, count, at);
                libc::syscall(libc::SYS_ftruncate, fd, length);
            }
        }
    }

    fn is_log(&self, file: File) -> bool {
        lock(&self.taken).names.get("db") == Some(&file)
    }
}

// === impl Taken ===

impl Taken {
    /// Whether it is one of the files that a store writes for as long as it is open.
    fn stays_open(&self, file: File) -> bool {
        ["db", "wal.0", "wal.1", "mark"].iter().any(|name| self.names.get(*name) == Some(&file))
    }

    fn open(&mut self, name: String, existed: bool, emptied: bool) -> File {
        let known = self.names.get(&name).copied();
        let file = known.unwrap_or_else(|| {
            let file = self.files;
            self.files += 1;
            self.names.insert(name.clone(), file);
            file
        });
        if !existed {
            self.events.push(Event::Create { name, file });
        } else if emptied {
            self.events.push(Event::Resize { file, bytes: 0 });
        }
        file
    }
}

/// What a system call returned, kept from what is done before it is given on.
struct Done {
    returned: c_long,
    errno: c_int,
}

// === impl Done ===

impl Done {
    fn of(returned: c_long) -> Self {
        // SAFETY: the address is that of the calling thread's own `errno`.
        Self { returned, errno: unsafe { *libc::__errno_location() } }
    }

    fn failed(errno: c_int) -> Self {
        Self { returned: -1, errno }
    }

    fn give(self) -> c_long {
        // SAFETY: as above.
        unsafe { *libc::__errno_location() = self.errno };
        self.returned
    }
}

fn handle(fd: c_int) -> Option<Handle> {
    if RUNNING.load(SeqCst) == 0 {
        return None;
    }
    lock(&HANDLES).get(&fd).cloned()
}

/// The tape that `path` is on, and its name there.
fn on_tape(path: *const c_char) -> Option<(Arc<Tape>, String)> {
    if RUNNING.load(SeqCst) == 0 || path.is_null() {
        return None;
    }
    // SAFETY: who calls a function of the C library gives it a text that ends.
    let path = Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes()));
    lock(&TAPES).iter().find_map(|tape| Some((Arc::clone(tape), tape.name(path)?)))
}

/// How long an open file is.
fn length(fd: c_int) -> usize {
    // SAFETY: all zeros are a valid status, and it lives as long as the call.
    let mut status: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    unsafe { libc::fstat(fd, &raw mut status) };
    usize::try_from(status.st_size).unwrap_or(0)
}

/// What stands in a file, as far as it goes.
fn read(fd: c_int, at: usize, bytes: usize) -> Vec<u8> {
    let mut buffer = vec![0_u8; bytes];
    // SAFETY: the buffer has that many bytes, and lives as long as the call.
    let read =
        unsafe { libc::syscall(libc::SYS_pread64, fd, buffer.as_mut_ptr(), buffer.len(), at) };
    buffer.truncate(usize::try_from(read).unwrap_or(0));
    buffer
}

/// Whether the disk has room for so much more, which is then gone.
fn take_room(growth: u64) -> bool {
    let take = |left: u64| match left {
        AS_IT_IS => Some(left),
        left => left.checked_sub(growth),
    };
    let taken = ROOM.fetch_update(SeqCst, SeqCst, take).is_ok();
    taken && FREE.fetch_update(SeqCst, SeqCst, take).is_ok()
}

fn size(returned: c_long) -> isize {
    isize::try_from(returned).unwrap_or(-1)
}

fn status(returned: c_long) -> c_int {
    c_int::try_from(returned).unwrap_or(-1)
}

/// The bytes that a call wrote, as far as it did.
fn written(buffer: *const c_void, bytes: c_long) -> Vec<u8> {
    let bytes = usize::try_from(bytes).unwrap_or(0);
    // SAFETY: the kernel has just read that many bytes from there.
    unsafe { slice::from_raw_parts(buffer.cast::<u8>(), bytes) }.to_vec()
}

// SAFETY: no other function of this program has the name; it does what the C library's does.
#[unsafe(no_mangle)]
unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: libc::mode_t) -> c_int {
    // SAFETY: the arguments are the caller's.
    let call = || unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path, flags, mode) };
    status(match on_tape(path) {
        Some((tape, name)) => tape.open(name, flags, call),
        None => call(),
    })
}

// SAFETY: as for `open64`.
#[unsafe(no_mangle)]
unsafe extern "C" fn close(fd: c_int) -> c_int {
    if RUNNING.load(SeqCst) > 0 {
        lock(&HANDLES).remove(&fd);
        lock(&OWED).remove(&fd);
    }
    // SAFETY: the argument is the caller's.
    status(unsafe { libc::syscall(libc::SYS_close, fd) })
}

// SAFETY: as for `open64`.
#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite64(fd: c_int, buffer: *const c_void, bytes: usize, at: i64) -> isize {
    // SAFETY: the arguments are the caller's.
    let call = || unsafe { libc::syscall(libc::SYS_pwrite64, fd, buffer, bytes, at) };
    size(match handle(fd) {
        Some(Handle { tape, file }) => {
            let at = usize::try_from(at).unwrap_or(0);
            let event = |done| Event::Write { file, at, bytes: written(buffer, done) };
            tape.write((fd, file), (at, bytes), call, event)
        }
        None => call(),
    })
}

// SAFETY: as for `open64`.
#[unsafe(no_mangle)]
unsafe extern "C" fn write(fd: c_int, buffer: *const c_void, bytes: usize) -> isize {
    // SAFETY: the arguments are the caller's.
    let call = || unsafe { libc::syscall(libc::SYS_write, fd, buffer, bytes) };
    size(match handle(fd) {
        Some(Handle { tape, file }) => {
            // SAFETY: it only asks for the place in a file that the caller has open.
            let at = unsafe { libc::syscall(libc::SYS_lseek, fd, 0, libc::SEEK_CUR) };
            let at = usize::try_from(at).unwrap_or(0);
            let event = |done| Event::Write { file, at, bytes: written(buffer, done) };
            tape.write((fd, file), (at, bytes), call, event)
        }
        None => call(),
    })
}

// SAFETY: as for `open64`.
#[unsafe(no_mangle)]
unsafe extern "C" fn ftruncate64(fd: c_int, bytes: i64) -> c_int {
    // SAFETY: the arguments are the caller's.
    let call = || unsafe { libc::syscall(libc::SYS_ftruncate, fd, bytes) };
    status(match handle(fd) {
        Some(Handle { tape, file }) => {
            let bytes = usize::try_from(bytes).unwrap_or(0);
            tape.change(call, |_| Event::Resize { file, bytes })
        }
        None => call(),
    })
}

// SAFETY: as for `open64`.
#[unsafe(no_mangle)]
unsafe extern "C" fn fsync(fd: c_int) -> c_int {
    // SAFETY: the argument is the caller's.
    let call = || unsafe { libc::syscall(libc::SYS_fsync, fd) };
    status(match handle(fd) {
        Some(Handle { tape, file }) => tape.sync((fd, file), true, call),
        None => call(),
    })
}

/// Of the log of the engine it is only called in the place of `sync_file_range`, which comes back
/// here when the engine is the stock one.
// SAFETY: as for `open64`.
#[unsafe(no_mangle)]
unsafe extern "C" fn fdatasync(fd: c_int) -> c_int {
    // SAFETY: the argument is the caller's.
    let call = || unsafe { libc::syscall(libc::SYS_fdatasync, fd) };
    status(match handle(fd) {
        Some(Handle { tape, file }) if tape.engine == Engine::Stock && tape.is_log(file) => {
            take_time();
            let flags = libc::SYNC_FILE_RANGE_WAIT_BEFORE
                | libc::SYNC_FILE_RANGE_WRITE
                | libc::SYNC_FILE_RANGE_WAIT_AFTER;
            // SAFETY: the file is the caller's.
            unsafe { libc::syscall(libc::SYS_sync_file_range, fd, 0, 0, flags) }
        }
        Some(Handle { tape, file }) => tape.sync((fd, file), false, call),
        None => call(),
    })
}

// SAFETY: as for `open64`.
#[unsafe(no_mangle)]
unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    let here = libc::AT_FDCWD;
    // SAFETY: the arguments are the caller's.
    let call = || unsafe { libc::syscall(libc::SYS_renameat, here, from, here, to) };
    status(match (on_tape(from), on_tape(to)) {
        (Some((tape, from)), Some((_, to))) => tape.rename(from, to, call),
        _ => call(),
    })
}

// SAFETY: as for `open64`.
#[unsafe(no_mangle)]
unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    // SAFETY: the argument is the caller's.
    let call = || unsafe { libc::syscall(libc::SYS_unlinkat, libc::AT_FDCWD, path, 0) };
    status(match on_tape(path) {
        Some((tape, name)) => tape.unlink(name, call),
        None => call(),
    })
}

// SAFETY: as for `open64`.
#[unsafe(no_mangle)]
unsafe extern "C" fn mkdir(path: *const c_char, mode: libc::mode_t) -> c_int {
    // SAFETY: the arguments are the caller's.
    let call = || unsafe { libc::syscall(libc::SYS_mkdirat, libc::AT_FDCWD, path, mode) };
    status(match on_tape(path) {
        Some((tape, name)) => tape.change(call, |_| Event::Folder { name }),
        None => call(),
    })
}

/// What the store asks for room.
// SAFETY: as for `open64`.
#[unsafe(no_mangle)]
unsafe extern "C" fn statvfs(path: *const c_char, answer: *mut libc::statvfs) -> c_int {
    // SAFETY: all zeros are a valid answer.
    let (mut of_disk, mut room): (libc::statfs, libc::statvfs) = unsafe { std::mem::zeroed() };
    // SAFETY: the path is the caller's, and the answer lives as long as the call.
    let asked = unsafe { libc::syscall(libc::SYS_statfs, path, &raw mut of_disk) };
    let of_disk = of_disk.f_bavail.saturating_mul(u64::try_from(of_disk.f_bsize).unwrap_or(0));
    let free = match FREE.load(SeqCst) {
        AS_IT_IS => of_disk,
        free => free,
    };
    (room.f_bsize, room.f_frsize) = (BLOCK_BYTES, BLOCK_BYTES);
    (room.f_bavail, room.f_bfree) = (free / BLOCK_BYTES, free / BLOCK_BYTES);
    // SAFETY: who asks has a place for the answer.
    unsafe { answer.write(room) };
    status(asked)
}

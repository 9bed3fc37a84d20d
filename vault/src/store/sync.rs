//! The one call by which sled takes its log to be on the disk, made to mean it.
//!
//! sled 0.34.7 ends every flush in `sync_file_range`, which writes pages but neither metadata nor
//! the cache of the device, and then counts the log as stable. The linker binds that call to the
//! function of the same name here, and here it is `fdatasync`. Any other caller in the process
//! gets a stronger sync than it asked for. That the binding took place is tested at every open.
//!
//! sled also says what it has just written, which shows how far its log has come.
//!
//! A store registers its data file, and syncs go through a handle of its own on that file rather
//! than through sled's. The kernel reports a failed write-back once to *each* open file: sled's
//! periodic thread syncs sled's handle too and only logs an error, so that the report could end
//! there while the next sync of the same handle, the one that counts, says that all is well.
#![expect(
    unsafe_code,
    reason = "sled's durability hangs on one C function, which is replaced here"
)]

use super::Position;
use super::survey::{SEGMENT_HEAD_BYTES, SegmentHead};
use std::ffi::{c_int, c_uint};
use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A data file whose syncs are counted, for as long as this lives.
#[derive(Debug)]
pub(super) struct DataFile(Progress);

/// How far the log in a data file has come.
#[derive(Clone, Debug)]
pub(super) struct Progress(Arc<Registered>);

#[derive(Debug)]
struct Registered {
    identity: Identity,
    file: File,
    segment_bytes: u64,
    syncs: AtomicU64,
    reached: AtomicU64,
}

/// Which file it is, whatever the name or the number of the handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

static REGISTERED: Mutex<Vec<Arc<Registered>>> = Mutex::new(Vec::new());

/// What sled calls after it has written a piece of its log.
///
/// The signature is that of the C library on Linux. The flags are of no interest, since everything
/// is synced; the range says what has just been written. On failure it returns -1 with `errno` set,
/// as the original does, and sled takes no further write.
///
/// # Safety
/// It only asks that `fd` is open during the call, as sled, the only caller, sees to.
// SAFETY: no other function of this program has the name; that it stands in the place of the C
// library's is the purpose.
#[unsafe(no_mangle)]
unsafe extern "C" fn sync_file_range(fd: c_int, offset: i64, bytes: i64, _: c_uint) -> c_int {
    if fd < 0 {
        return failure(libc::EBADF);
    }
    // SAFETY: the caller keeps `fd` open, and `ManuallyDrop` keeps us from closing it.
    let file = ManuallyDrop::new(unsafe { File::from_raw_fd(fd) });
    let end = u64::try_from(offset.saturating_add(bytes)).unwrap_or(0);
    match sync(&file, end) {
        Ok(()) => 0,
        Err(error) => failure(error.raw_os_error().unwrap_or(libc::EIO)),
    }
}

fn failure(code: c_int) -> c_int {
    // SAFETY: the address is that of the calling thread's own `errno`.
    unsafe { *libc::__errno_location() = code };
    -1
}

fn sync(file: &File, end: u64) -> io::Result<()> {
    #[cfg(test)]
    fault::strike()?;
    match registered(Identity::of(file)?) {
        Some(registered) => registered.sync(end),
        None => file.sync_data(),
    }
}

fn registered(identity: Identity) -> Option<Arc<Registered>> {
    lock().iter().find(|registered| registered.identity == identity).cloned()
}

fn lock() -> MutexGuard<'static, Vec<Arc<Registered>>> {
    REGISTERED.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl DataFile ===

impl DataFile {
    pub(super) fn register(path: &Path, segment_bytes: usize) -> io::Result<Self> {
        let file = File::open(path)?;
        let registered = Arc::new(Registered {
            identity: Identity::of(&file)?,
            file,
            segment_bytes: u64::try_from(segment_bytes).unwrap_or(u64::MAX),
            syncs: AtomicU64::new(0),
            reached: AtomicU64::new(0),
        });
        lock().push(Arc::clone(&registered));
        Ok(Self(Progress(registered)))
    }

    /// How often the file was synced through the function above, without an error.
    pub(super) fn syncs(&self) -> u64 {
        self.0.0.syncs.load(Ordering::SeqCst)
    }

    /// How long the file is.
    pub(super) fn bytes(&self) -> u64 {
        self.0.0.file.metadata().map_or(0, |metadata| metadata.len())
    }

    pub(super) fn progress(&self) -> Progress {
        self.0.clone()
    }
}

impl Drop for DataFile {
    fn drop(&mut self) {
        lock().retain(|registered| !Arc::ptr_eq(registered, &self.0.0));
    }
}

// === impl Progress ===

impl Progress {
    /// The end of what was written and synced. Something before it may still be under way: only
    /// a flush that begins after this was asked vouches for all of it.
    pub(super) fn reached(&self) -> Position {
        self.0.reached.load(Ordering::SeqCst)
    }
}

// === impl Registered ===

impl Registered {
    fn sync(&self, end: u64) -> io::Result<()> {
        self.file.sync_data()?;
        if let Some(position) = self.position(end) {
            self.reached.fetch_max(position, Ordering::SeqCst);
        }
        #[cfg(test)]
        if fault::UNCOUNTED.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.syncs.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// Which place in the log the end of a write in the file is.
    fn position(&self, end: u64) -> Option<Position> {
        // The last byte tells the segment, since the end may be the beginning of another.
        let within = end.checked_sub(1)?.checked_rem(self.segment_bytes)?.checked_add(1)?;
        let mut head = [0; SEGMENT_HEAD_BYTES];
        self.file.read_exact_at(&mut head, end.checked_sub(within)?).ok()?;
        SegmentHead::read(&head)?.begin.checked_add(within)
    }
}

// === impl Identity ===

impl Identity {
    fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self { device: metadata.dev(), inode: metadata.ino() })
    }
}

/// Failures of the disk, on demand. They hold for the whole process, so that a test that orders
/// one runs in a process of its own.
#[cfg(test)]
pub(super) mod fault {
    use std::io;
    use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

    /// How many syncs still go well before one fails; negative: none fails.
    pub(crate) static SYNCS_LEFT: AtomicI64 = AtomicI64::new(-1);

    /// Syncs are not counted, as if the C library's function had been called.
    pub(crate) static UNCOUNTED: AtomicBool = AtomicBool::new(false);

    pub(crate) fn strike() -> io::Result<()> {
        let step = |left: i64| (left >= 0).then(|| left.saturating_sub(1));
        match SYNCS_LEFT.fetch_update(Ordering::SeqCst, Ordering::SeqCst, step) {
            Ok(0) => Err(io::Error::from_raw_os_error(libc::EIO)),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scratch::Scratch;
    use std::os::fd::AsRawFd;

    fn call(fd: c_int) -> io::Result<()> {
        // SAFETY: the files of these tests are open, and a negative number is refused.
        match unsafe { sync_file_range(fd, 0, 0, 0) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    #[test]
    fn a_registered_file_is_synced_and_counted_through_any_handle() {
        let scratch = Scratch::new();
        let [counted, other] = ["counted", "other"].map(|name| scratch.path().join(name));
        let files = [&counted, &other].map(|path| File::create(path).unwrap());
        let data = DataFile::register(&counted, 512).unwrap();
        call(files[0].as_raw_fd()).unwrap();
        call(File::open(&counted).unwrap().as_raw_fd()).unwrap();
        call(files[1].as_raw_fd()).unwrap();
        assert_eq!(data.syncs(), 2);
    }

    #[test]
    fn the_linker_gives_our_function_to_who_asks_for_the_original() {
        let scratch = Scratch::new();
        let path = scratch.path().join("file");
        let file = File::create(&path).unwrap();
        let data = DataFile::register(&path, 512).unwrap();
        // SAFETY: the file is open.
        let returned = unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, 0) };
        assert_eq!((returned, data.syncs()), (0, 1));
    }

    #[test]
    fn what_cannot_be_synced_is_an_error() {
        let nothing = call(-1).unwrap_err();
        assert_eq!(nothing.raw_os_error(), Some(libc::EBADF));
        let (reader, _writer) = io::pipe().unwrap();
        assert_eq!(call(reader.as_raw_fd()).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }

    #[test]
    fn a_file_is_forgotten_with_its_store() {
        let scratch = Scratch::new();
        let path = scratch.path().join("file");
        let file = File::create(&path).unwrap();
        drop(DataFile::register(&path, 512).unwrap());
        assert!(registered(Identity::of(&file).unwrap()).is_none());
        call(file.as_raw_fd()).unwrap();
    }
}

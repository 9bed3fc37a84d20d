//! The files of the log: segments of lines, named for the sequence of their first.
//!
//! A segment is appended to until it is large enough, and never touched again; none is ever deleted.
//! Room is reserved ahead of what is written, without changing a file's size, so that a program that
//! follows the file sees lines and nothing else.

use super::line::{self, Hash, NONE_BEFORE};
use rustix::fs::{FallocateFlags, fallocate};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// From how many bytes on a segment is not added to.
pub(super) const SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// How much more than what is needed is reserved at a time.
const RESERVE_STEP: u64 = 16 << 20;
const SUFFIX: &str = "jsonl";

/// Failures of the disk, on demand, for one log.
#[cfg(test)]
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) append: std::sync::atomic::AtomicBool,
    pub(super) reserve: std::sync::atomic::AtomicBool,
    pub(super) sync: std::sync::atomic::AtomicBool,
}

/// The segment that is written, and what is reserved for it.
#[derive(Debug)]
pub(super) struct Segment {
    directory: PathBuf,
    /// The sequence that the file is named for.
    first: u64,
    file: File,
    written: u64,
    reserved: u64,
    segment_bytes_max: u64,
    #[cfg(test)]
    pub(super) faults: std::sync::Arc<Faults>,
}

/// How far the log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    /// The sequence of the last line; 0 when there is none.
    pub(crate) sequence: u64,
    pub(crate) hash: Hash,
}

/// What stood behind the last whole line: the trace of a crash, or of somebody's hand.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) bytes: usize,
    /// Where it is kept.
    pub(super) kept: Box<str>,
}

/// The files of the log, oldest first, each with the sequence of its first line.
pub(super) fn list(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let is_ours = path.extension().is_some_and(|suffix| suffix == SUFFIX);
        let first = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        if let (true, Some(first)) = (is_ours, first) {
            found.push((first, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn path_of(directory: &Path, first: u64) -> PathBuf {
    directory.join(format!("{first:020}.{SUFFIX}"))
}

/// How much of a segment is whole lines that follow each other, and where that leads.
fn whole_lines(bytes: &[u8]) -> (usize, Option<Tail>) {
    let (mut end, mut tail) = (0_usize, None::<Tail>);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let Some(read) = line::read(line) else { break };
        if tail.is_some_and(|tail| !read.follows(&tail)) {
            break;
        }
        tail = Some(read.tail());
        end = end.saturating_add(line.len());
    }
    (end, tail)
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

// === impl Segment ===

impl Segment {
    /// Opens the log in `directory`, or makes it, and says how far it goes, and what stood behind.
    pub(super) fn open(
        directory: &Path,
        segment_bytes_max: u64,
    ) -> io::Result<(Self, Tail, Option<Cut>)> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        directory.parent().map_or(Ok(()), sync_directory)?;
        let begun = |first, file, written| Self {
            directory: directory.to_owned(),
            first,
            file,
            written,
            reserved: written,
            segment_bytes_max,
            #[cfg(test)]
            faults: std::sync::Arc::default(),
        };
        let segments = list(directory)?;
        let Some((first, path)) = segments.last() else {
            let file = Self::make(directory, 1)?;
            return Ok((begun(1, file, 0), Tail::NONE, None));
        };
        let file = File::options().read(true).write(true).open(path)?;
        let bytes = fs::read(path)?;
        let (end, tail) = whole_lines(&bytes);
        let cut = bytes.get(end..).filter(|rest| !rest.is_empty());
        let cut = cut.map(|rest| set_aside(directory, path, rest)).transpose()?;
        if cut.is_some() {
            file.set_len(u64::try_from(end).unwrap_or_default())?;
            file.sync_all()?;
        }
        let tail = match tail {
            Some(tail) => tail,
            None => before(&segments, *first)?,
        };
        Ok((begun(*first, file, u64::try_from(end).unwrap_or_default()), tail, cut))
    }

    fn make(directory: &Path, first: u64) -> io::Result<File> {
        let path = path_of(directory, first);
        let file =
            File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        file.sync_all()?;
        sync_directory(directory)?;
        Ok(file)
    }

    /// Whether the line of `tail` is in the log, as it was.
    pub(super) fn holds(&self, tail: &Tail) -> io::Result<bool> {
        let segments = list(&self.directory)?;
        let at = segments.iter().rev().find(|(first, _)| *first <= tail.sequence);
        let Some((_, path)) = at else { return Ok(false) };
        let begins = format!("{{\"sequence\":{},", tail.sequence);
        let bytes = fs::read(path)?;
        let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
        let found = lines.find(|line| line.starts_with(begins.as_bytes()));
        Ok(found.and_then(line::read).is_some_and(|read| read.tail() == *tail))
    }

    /// Sees to it that `bytes` more can be written, whatever else fills the disk.
    pub(super) fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        #[cfg(test)]
        strike(&self.faults.reserve)?;
        if self.reserved.saturating_sub(self.written) >= bytes {
            return Ok(());
        }
        let step = RESERVE_STEP.saturating_add(bytes);
        reserve(&self.file, self.written, step)?;
        self.reserved = self.written.saturating_add(step);
        Ok(())
    }

    /// Goes on in a new file when this one is large enough. `next` is the sequence of its first
    /// line, and `bytes` is what will be needed there.
    pub(super) fn rotate(&mut self, next: u64, bytes: u64) -> io::Result<()> {
        if self.written < self.segment_bytes_max {
            return Ok(());
        }
        self.begin_anew(next, bytes)
    }

    /// Goes on in a new file.
    pub(super) fn begin_anew(&mut self, next: u64, bytes: u64) -> io::Result<()> {
        if self.first == next {
            // Who wanted this before was cut short behind the file's making: it is empty.
            return self.reserve(bytes);
        }
        self.sync()?;
        let file = Self::make(&self.directory, next)?;
        let step = RESERVE_STEP.saturating_add(bytes);
        if let Err(error) = self.reserve_anew(&file, step) {
            // The lines that come now go into the file before, and an empty one that is named for
            // the first of them would look as if they had been moved.
            fs::remove_file(path_of(&self.directory, next))?;
            return Err(error);
        }
        // What was reserved and not used is given back.
        self.file.set_len(self.written)?;
        (self.first, self.file, self.written, self.reserved) = (next, file, 0, step);
        Ok(())
    }

    fn reserve_anew(&self, file: &File, bytes: u64) -> io::Result<()> {
        #[cfg(test)]
        strike(&self.faults.reserve)?;
        reserve(file, 0, bytes)
    }

    /// Appends. After an error nothing has been appended, and the same may be tried again.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        strike(&self.faults.append)?;
        self.file.write_all_at(bytes, self.written)?;
        self.written = self.written.saturating_add(u64::try_from(bytes.len()).unwrap_or_default());
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        #[cfg(test)]
        strike(&self.faults.sync)?;
        self.file.sync_data()
    }
}

#[cfg(test)]
fn strike(fault: &std::sync::atomic::AtomicBool) -> io::Result<()> {
    let struck = fault.load(std::sync::atomic::Ordering::SeqCst);
    if struck { Err(io::Error::from_raw_os_error(libc::EIO)) } else { Ok(()) }
}

/// Where the log ends before an empty segment.
fn before(segments: &[(u64, PathBuf)], first: u64) -> io::Result<Tail> {
    for (_, path) in segments.iter().rev().skip(1) {
        if let (_, Some(tail)) = whole_lines(&fs::read(path)?) {
            return Ok(tail);
        }
    }
    // Everything before was taken away. What is written now says so by its sequence.
    Ok(Tail { sequence: first.saturating_sub(1), hash: NONE_BEFORE })
}

/// Keeps what stood behind the last whole line: nothing that was written is ever thrown away.
fn set_aside(directory: &Path, path: &Path, rest: &[u8]) -> io::Result<Cut> {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    // Without its zeros, so that the name can stand in a line: so many digits would be masked.
    let first = stem.trim_start_matches('0');
    let mut nth = 1_u32;
    loop {
        let kept = format!("{first}.cut-{nth}");
        let path = directory.join(&kept);
        match File::options().write(true).create_new(true).mode(0o600).open(path) {
            Ok(file) => {
                file.write_all_at(rest, 0)?;
                file.sync_all()?;
                sync_directory(directory)?;
                return Ok(Cut { bytes: rest.len(), kept: kept.into() });
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                nth = nth.saturating_add(1);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Reserves room without changing the size of the file.
fn reserve(file: &File, from: u64, bytes: u64) -> io::Result<()> {
    fallocate(file, FallocateFlags::KEEP_SIZE, from, bytes)?;
    Ok(())
}

// === impl Tail ===

impl Tail {
    pub(super) const NONE: Self = Self { sequence: 0, hash: NONE_BEFORE };
}

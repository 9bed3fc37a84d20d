//! How far everything is known to be durable, kept beside it.
//!
//! sled cannot tell a log that the power cut short from one that lost its end in another way, and
//! takes up its work wherever its log can be read to. Nor does [our log](super::wal) know where it
//! ended. So what is durable is written to a small file of its own: at each opening, whenever rows
//! were put into sled, at most once in a second while our log grows, and when the store is closed. A
//! log that ends before that has lost what was acknowledged. The file is one place behind at most:
//! what was written in the second before the power went is in our log only.
//!
//! The two copies lie on pages of their own and are written in turn, so that one is always whole.

use super::Position;
use super::wal::FrameNumber;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// The name of the file.
pub(super) const NAME: &str = "mark";

/// How often it is written at most.
const PERIOD: Duration = Duration::from_secs(1);

const MAGIC: &[u8; 8] = b"orchmrk2";
/// That of a store without a log of its own, which is format 1.
const MAGIC_1: &[u8; 8] = b"orchmark";
const COPIES: u64 = 2;
/// Far enough from one another not to be written together.
const COPY_BYTES: u64 = 4096;
const BODY_BYTES: usize = 33;
const MARK_BYTES: usize = MAGIC.len() + BODY_BYTES + size_of::<u32>();

/// What the file says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// How often the file was written.
    pub(super) count: u64,
    /// Everything before it in sled's log is durable.
    pub(super) durable: Position,
    /// All frames of our log up to this one are durable.
    pub(super) logged: FrameNumber,
    /// The rows of all frames up to this one are in sled, before `durable`.
    pub(super) applied: FrameNumber,
    /// Whether the store was closed in order, and both logs end there.
    pub(super) closed: bool,
}

/// The file, open.
#[derive(Debug)]
pub(super) struct MarkFile {
    file: File,
    last: Mark,
    written: Instant,
}

/// What the file in `directory` says; `None` if it is missing or says nothing that can be read.
pub(super) fn read(directory: &Path) -> io::Result<Option<Mark>> {
    let file = match File::open(directory.join(NAME)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut newest: Option<Mark> = None;
    for copy in 0..COPIES {
        let mut bytes = [0; MARK_BYTES];
        match file.read_exact_at(&mut bytes, copy.saturating_mul(COPY_BYTES)) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
            read => read?,
        }
        newest = [newest, Mark::of(&bytes)].into_iter().flatten().max_by_key(|mark| mark.count);
    }
    Ok(newest)
}

/// Whether the store in `directory` is of format 1.
pub(super) fn is_of_format_1(directory: &Path) -> bool {
    fs::read(directory.join(NAME)).is_ok_and(|bytes| bytes.starts_with(MAGIC_1))
}

// === impl Mark ===

impl Mark {
    fn of(bytes: &[u8; MARK_BYTES]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk()?;
        let (body, checksum) = rest.split_first_chunk::<BODY_BYTES>()?;
        let whole = magic == MAGIC && crc32fast::hash(body).to_be_bytes() == *checksum;
        let (count, rest) = body.split_first_chunk()?;
        let (durable, rest) = rest.split_first_chunk()?;
        let (logged, rest) = rest.split_first_chunk()?;
        let (applied, closed) = rest.split_first_chunk()?;
        let mark = Self {
            count: u64::from_be_bytes(*count),
            durable: u64::from_be_bytes(*durable),
            logged: u64::from_be_bytes(*logged),
            applied: u64::from_be_bytes(*applied),
            closed: closed.first().is_some_and(|closed| *closed == 1),
        };
        whole.then_some(mark)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(BODY_BYTES);
        for number in [self.count, self.durable, self.logged, self.applied] {
            body.extend_from_slice(&number.to_be_bytes());
        }
        body.push(u8::from(self.closed));
        let checksum = crc32fast::hash(&body).to_be_bytes();
        [&MAGIC[..], &body, &checksum].concat()
    }
}

// === impl MarkFile ===

impl MarkFile {
    /// Opens the file in `directory`, and makes it if it is not there.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let last = read(directory)?.unwrap_or_default();
        let path = directory.join(NAME);
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        Ok(Self { file, last, written: Instant::now() })
    }

    /// What was written last.
    pub(super) fn last(&self) -> Mark {
        self.last
    }

    /// Writes `mark`, whose count is of no interest, and makes that durable.
    pub(super) fn write(&mut self, mark: Mark) -> io::Result<()> {
        let mark = Mark { count: self.last.count.saturating_add(1), ..mark };
        let copy = mark.count.checked_rem(COPIES).unwrap_or(0);
        self.file.write_all_at(&mark.bytes(), copy.saturating_mul(COPY_BYTES))?;
        self.file.sync_data()?;
        self.last = mark;
        self.written = Instant::now();
        Ok(())
    }

    /// Writes that our log has come to `logged`, if it is news and the last time is long enough ago.
    pub(super) fn keep_up(&mut self, logged: FrameNumber) -> io::Result<()> {
        let due = logged > self.last.logged && self.written.elapsed() >= PERIOD;
        if due { self.write(Mark { logged, closed: false, ..self.last }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scratch::Scratch;

    #[test]
    fn the_newest_whole_copy_counts() {
        let scratch = Scratch::new();
        assert_eq!(read(scratch.path()).unwrap(), None);
        let mut file = MarkFile::open(scratch.path()).unwrap();
        let mark = |durable: u64, closed| {
            let (logged, applied) = (durable + 100, durable + 50);
            Mark { count: durable - 6, durable, logged, applied, closed }
        };
        for durable in [7, 8, 9] {
            file.write(mark(durable, durable == 9)).unwrap();
            assert_eq!(read(scratch.path()).unwrap(), Some(mark(durable, durable == 9)));
        }
        let written = mark;
        // The third one lies in the second place.
        let damage = |at: u64| file.file.write_all_at(b"x", at).unwrap();
        damage(COPY_BYTES + 12);
        let mark = read(scratch.path()).unwrap().unwrap();
        assert_eq!((mark.durable, mark.closed), (8, false));
        // Who goes on writes over the damaged one, and counts on from the whole one.
        MarkFile::open(scratch.path()).unwrap().write(written(10, false)).unwrap();
        assert_eq!(read(scratch.path()).unwrap().unwrap().durable, 10);
        damage(12);
        damage(COPY_BYTES + 12);
        assert_eq!(read(scratch.path()).unwrap(), None);
    }
}

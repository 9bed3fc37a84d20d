//! How far the log is known to have been durable, kept beside it.
//!
//! sled cannot tell a log that the power cut short from one that lost its end in another way, and
//! takes up its work wherever the log can be read to. So the position up to which everything is
//! durable is written to a small file of its own: at each opening, at most once in a second while
//! it grows, and when the store is closed. A log that ends before that position has lost what was
//! acknowledged. The file is one place behind at most: what was written in the second before the
//! power went is in the log only.
//!
//! The two copies lie on pages of their own and are written in turn, so that one is always whole.

use super::Position;
use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// The name of the file.
pub(super) const NAME: &str = "mark";

/// How often it is written at most.
const PERIOD: Duration = Duration::from_secs(1);

const MAGIC: &[u8; 8] = b"orchmark";
const COPIES: u64 = 2;
/// Far enough from one another not to be written together.
const COPY_BYTES: u64 = 4096;
const BODY_BYTES: usize = 17;
const MARK_BYTES: usize = MAGIC.len() + BODY_BYTES + size_of::<u32>();

/// What the file says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// How often the file was written.
    count: u64,
    /// Everything before it is durable.
    pub(super) durable: Position,
    /// Whether the store was closed in order, and the log ends there.
    pub(super) closed: bool,
}

/// The file, open.
#[derive(Debug)]
pub(super) struct MarkFile {
    file: File,
    last: Cell<Mark>,
    written: Cell<Instant>,
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

// === impl Mark ===

impl Mark {
    fn of(bytes: &[u8; MARK_BYTES]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk()?;
        let (body, checksum) = rest.split_first_chunk::<BODY_BYTES>()?;
        let whole = magic == MAGIC && crc32fast::hash(body).to_be_bytes() == *checksum;
        let (count, rest) = body.split_first_chunk()?;
        let (durable, closed) = rest.split_first_chunk()?;
        let closed = closed.first().is_some_and(|closed| *closed == 1);
        let mark = Self {
            count: u64::from_be_bytes(*count),
            durable: u64::from_be_bytes(*durable),
            closed,
        };
        whole.then_some(mark)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(BODY_BYTES);
        body.extend_from_slice(&self.count.to_be_bytes());
        body.extend_from_slice(&self.durable.to_be_bytes());
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
        Ok(Self { file, last: Cell::new(last), written: Cell::new(Instant::now()) })
    }

    /// Writes that everything before `durable` is durable, and makes that durable.
    pub(super) fn write(&self, durable: Position, closed: bool) -> io::Result<()> {
        let last = self.last.get();
        let mark = Mark { count: last.count.saturating_add(1), durable, closed };
        let copy = mark.count.checked_rem(COPIES).unwrap_or(0);
        self.file.write_all_at(&mark.bytes(), copy.saturating_mul(COPY_BYTES))?;
        self.file.sync_data()?;
        self.last.set(mark);
        self.written.set(Instant::now());
        Ok(())
    }

    /// What was written last.
    pub(super) fn durable(&self) -> Position {
        self.last.get().durable
    }

    /// The same, if it is news and the last time is long enough ago.
    pub(super) fn keep_up(&self, durable: Position) -> io::Result<()> {
        let last = self.last.get();
        let due = durable > last.durable && self.written.get().elapsed() >= PERIOD;
        if due { self.write(durable, false) } else { Ok(()) }
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
        let file = MarkFile::open(scratch.path()).unwrap();
        for durable in [7, 8, 9] {
            file.write(durable, durable == 9).unwrap();
            let mark = read(scratch.path()).unwrap().unwrap();
            assert_eq!((mark.durable, mark.closed), (durable, durable == 9));
        }
        // The third one lies in the second place.
        let damage = |at: u64| file.file.write_all_at(b"x", at).unwrap();
        damage(COPY_BYTES + 12);
        let mark = read(scratch.path()).unwrap().unwrap();
        assert_eq!((mark.durable, mark.closed), (8, false));
        // Who goes on writes over the damaged one, and counts on from the whole one.
        MarkFile::open(scratch.path()).unwrap().write(10, false).unwrap();
        assert_eq!(read(scratch.path()).unwrap().unwrap().durable, 10);
        damage(12);
        damage(COPY_BYTES + 12);
        assert_eq!(read(scratch.path()).unwrap(), None);
    }
}

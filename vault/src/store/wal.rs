//! The write-ahead log: where a round of changes becomes durable.
//!
//! Each round is one frame, appended and synced before anybody is told. There are two files, which
//! are written in turn from their beginning. A file is used again when all of it is in sled and
//! [the mark](super::mark) says so, durably; so the frames that count are those behind the mark, and
//! nothing ever has to be removed.
//!
//! A frame begins where a sector does, so that no write touches a sector of another. It has a number
//! that only grows, its length and a checksum. Since a frame is written only when the one before it
//! is synced, a power cut can spoil the last one and no other: a frame that cannot be read before
//! one that can is damage, and so is an end before the number that the mark remembers.

use super::StoreError;
use super::rows::Rows;
use super::trees::TreeName;
use sled::IVec;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The names of the files.
pub(super) const NAMES: [&str; 2] = ["wal.0", "wal.1"];

/// How long a file of the log becomes before the other one is used. The last frame may reach over.
pub const FILE_BYTES: u64 = 8 << 20;

/// Where frames begin. No disk tears less than this.
const SECTOR_BYTES: usize = 512;

/// The number, the length of the body, and the checksum of both and the body.
const HEAD_BYTES: usize = 8 + 4 + 4;
const CHECKED_BYTES: usize = 8 + 4;

/// The longest body of a frame: a round of changes, with room for what they replace.
const BODY_BYTES_MAX: usize = 16 << 20;

/// No store comes so far. Few bytes that are no frame look like a lower number.
const NUMBER_MAX: FrameNumber = 1 << 48;

/// In the place of a length: the row is removed.
const REMOVED: u32 = u32::MAX;

/// The number of a frame. The first is 1.
pub(super) type FrameNumber = u64;

/// The files, open for writing.
#[derive(Debug)]
pub(super) struct Wal {
    files: [File; NAMES.len()],
    bytes_max: u64,
    /// Which file is written, and up to where. None: both hold what is not in sled yet.
    at: Option<(usize, u64)>,
    last: FrameNumber,
    /// Kept, so that it need not grow each time.
    buffer: Vec<u8>,
}

/// What the files hold.
#[derive(Debug, Default)]
pub(super) struct Recovered {
    /// The rows of all frames that count, the newest of each.
    pub(super) rows: Rows,
    /// The last of them that can be read.
    pub(super) end: FrameNumber,
    /// The last number that was ever used.
    pub(super) highest: FrameNumber,
    /// Where something cannot be read that must be: which file, and at what byte.
    pub(super) damage: Option<(&'static str, u64)>,
}

/// The frames of one file.
struct Reading {
    name: &'static str,
    is_missing: bool,
    bytes: Vec<u8>,
    /// Those that follow one another from its beginning, by number.
    frames: BTreeMap<FrameNumber, (usize, usize)>,
    /// Where they end.
    end: usize,
    /// The last number of any frame that can be read after that.
    stray: FrameNumber,
}

/// Makes the files, which must not be there.
pub(super) fn create(directory: &Path) -> io::Result<()> {
    NAMES.iter().try_for_each(|name| File::create_new(directory.join(name))?.sync_all())
}

/// Reads the frames behind `applied`, or all that there are if nobody knows, and changes nothing.
pub(super) fn recover(directory: &Path, applied: Option<FrameNumber>) -> io::Result<Recovered> {
    let mut files = Vec::new();
    for name in NAMES {
        files.push(Reading::of(name, directory)?);
    }
    files.sort_by_key(Reading::first);
    let first = || files.iter().filter_map(Reading::first).min();
    let applied = applied.or_else(|| first()?.checked_sub(1)).unwrap_or_default();
    let mut found = Recovered { end: applied, highest: applied, ..Recovered::default() };
    files.iter().for_each(|file| found.take(file));
    for file in &files {
        found.highest = found.highest.max(file.highest());
        let unread = file.is_missing || file.highest() > found.end;
        if found.damage.is_none() && unread {
            found.damage = Some((file.name, u64::try_from(file.end).unwrap_or(u64::MAX)));
        }
    }
    Ok(found)
}

/// The number and the length of the frame that `bytes` begin with, if it is whole.
fn frame_at(bytes: &[u8]) -> Option<(FrameNumber, usize)> {
    let (checked, rest) = bytes.split_at_checked(CHECKED_BYTES)?;
    let (number, length) = checked.split_first_chunk()?;
    let number = u64::from_be_bytes(*number);
    let length = usize::try_from(u32::from_be_bytes(length.try_into().ok()?)).ok()?;
    let (checksum, rest) = rest.split_first_chunk()?;
    let plausible = length <= BODY_BYTES_MAX && (1..=NUMBER_MAX).contains(&number);
    let body = rest.get(..length).filter(|_| plausible)?;
    (checksum_of(checked, body) == u32::from_be_bytes(*checksum)).then_some((number, length))
}

fn checksum_of(checked: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(checked);
    hasher.update(body);
    hasher.finalize()
}

fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(SECTOR_BYTES)
}

// === impl Wal ===

impl Wal {
    /// Opens the files of a log without frames. None of them is used before [`Wal::turn`].
    pub(super) fn open(directory: &Path, bytes_max: u64) -> io::Result<Self> {
        // One that is missing was accepted as lost.
        let options = File::options().create(true).truncate(false).write(true).clone();
        let open = |name| options.open(directory.join(name));
        let files = [open(NAMES[0])?, open(NAMES[1])?];
        Ok(Self { files, bytes_max, at: None, last: 0, buffer: Vec::new() })
    }

    /// Has the next frame be the one after `last`.
    pub(super) fn go_on_after(&mut self, last: FrameNumber) {
        self.last = last;
    }

    /// The number of the last frame.
    pub(super) fn last(&self) -> FrameNumber {
        self.last
    }

    /// Whether the next frame must go into the other file.
    pub(super) fn is_full(&self) -> bool {
        self.at.is_none_or(|(_, offset)| offset >= self.bytes_max)
    }

    /// How much of the file is full that is written now, and how long it becomes.
    pub(super) fn filled(&self) -> (u64, u64) {
        (self.at.map_or(self.bytes_max, |(_, offset)| offset), self.bytes_max)
    }

    /// Goes on at the beginning of the other file, of which nothing is needed any more.
    pub(super) fn turn(&mut self) {
        let next = if self.at.is_some_and(|(file, _)| file == 0) { 1 } else { 0 };
        self.at = Some((next, 0));
    }

    /// Appends rows as one frame, and makes it durable.
    pub(super) fn append(&mut self, rows: &Rows) -> io::Result<()> {
        let number = self.last.saturating_add(1);
        write_frame(&mut self.buffer, number, rows)?;
        let (file, offset) = self.at.ok_or(io::ErrorKind::StorageFull)?;
        let file = self.files.get(file).ok_or(io::ErrorKind::NotFound)?;
        file.write_all_at(&self.buffer, offset)?;
        #[cfg(test)]
        super::sync::fault::strike()?;
        file.sync_data()?;
        let bytes = u64::try_from(self.buffer.len()).unwrap_or(u64::MAX);
        self.at = self.at.map(|(file, offset)| (file, offset.saturating_add(bytes)));
        self.last = number;
        Ok(())
    }
}

fn write_frame(frame: &mut Vec<u8>, number: FrameNumber, rows: &Rows) -> io::Result<()> {
    frame.clear();
    frame.resize(HEAD_BYTES, 0);
    for (tree, key, slot) in rows.each() {
        write_row(frame, tree, key, slot.as_deref());
    }
    let length = frame.len().saturating_sub(HEAD_BYTES);
    if length > BODY_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let (head, body) = frame.split_at_mut(HEAD_BYTES);
    let length = u32::try_from(length).map_err(io::Error::other)?;
    let (checked, checksum) = head.split_at_mut(CHECKED_BYTES);
    checked.copy_from_slice(&[&number.to_be_bytes()[..], &length.to_be_bytes()].concat());
    checksum.copy_from_slice(&checksum_of(checked, body).to_be_bytes());
    frame.resize(padded(frame.len()), 0);
    Ok(())
}

fn write_row(frame: &mut Vec<u8>, tree: TreeName, key: &[u8], record: Option<&[u8]>) {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("a row is far below 4 GiB");
    frame.push(tree.place());
    frame.extend_from_slice(&length(key).to_be_bytes());
    frame.extend_from_slice(&record.map_or(REMOVED, length).to_be_bytes());
    frame.extend_from_slice(key);
    frame.extend_from_slice(record.unwrap_or_default());
}

/// Adds the rows of a frame's body to `rows`.
fn read_rows(mut body: &[u8], rows: &mut Rows) -> Result<(), StoreError> {
    while !body.is_empty() {
        body = read_row(body, rows).ok_or(StoreError::Corrupt)?;
    }
    Ok(())
}

fn read_row<'a>(body: &'a [u8], rows: &mut Rows) -> Option<&'a [u8]> {
    let (tree, body) = body.split_first()?;
    let (key_length, body) = body.split_first_chunk()?;
    let (length, body) = body.split_first_chunk()?;
    let (key, body) =
        body.split_at_checked(usize::try_from(u32::from_be_bytes(*key_length)).ok()?)?;
    let (slot, body) = match u32::from_be_bytes(*length) {
        REMOVED => (None, body),
        length => {
            let (record, body) = body.split_at_checked(usize::try_from(length).ok()?)?;
            (Some(IVec::from(record)), body)
        }
    };
    rows.put(TreeName::at(*tree)?, key.to_vec(), slot);
    Some(body)
}

// === impl Recovered ===

impl Recovered {
    /// Adds the rows of the frames of a file that come next.
    fn take(&mut self, file: &Reading) {
        for (number, (from, to)) in &file.frames {
            let next = *number == self.end.saturating_add(1);
            let body = file.bytes.get(*from..*to).unwrap_or_default();
            if next && read_rows(body, &mut self.rows).is_ok() {
                self.end = *number;
            }
        }
    }
}

// === impl Reading ===

impl Reading {
    fn of(name: &'static str, directory: &Path) -> io::Result<Self> {
        let bytes = match fs::read(directory.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            read => Some(read?),
        };
        let (is_missing, bytes) = (bytes.is_none(), bytes.unwrap_or_default());
        let (frames, end, stray) = (BTreeMap::new(), 0, 0);
        let mut reading = Self { name, is_missing, bytes, frames, end, stray };
        while let Some((number, length)) = reading.next() {
            let from = reading.end.saturating_add(HEAD_BYTES);
            let to = from.saturating_add(length);
            reading.frames.insert(number, (from, to));
            reading.end = padded(to);
        }
        let sectors = (reading.end..reading.bytes.len()).step_by(SECTOR_BYTES);
        let frames = sectors.filter_map(|at| frame_at(reading.bytes.get(at..)?));
        reading.stray = frames.map(|(number, _)| number).max().unwrap_or_default();
        Ok(reading)
    }

    fn first(&self) -> Option<FrameNumber> {
        self.frames.keys().next().copied()
    }

    /// The frame at the end of those that were read, if it is the next one.
    fn next(&self) -> Option<(FrameNumber, usize)> {
        let found = frame_at(self.bytes.get(self.end..)?)?;
        let follows = |last: &u64| found.0 == last.saturating_add(1);
        self.frames.keys().next_back().is_none_or(follows).then_some(found)
    }

    fn highest(&self) -> FrameNumber {
        self.frames.keys().next_back().copied().unwrap_or_default().max(self.stray)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Collection;
    use crate::store::scratch::Scratch;

    const TREE: TreeName = TreeName::Of(Collection::Tokens);

    /// Rows of which one is `number`, and one is in every frame.
    fn rows(number: u64) -> Rows {
        let mut rows = Rows::default();
        let record = Some(IVec::from(number.to_be_bytes().repeat(40)));
        rows.put(TREE, number.to_be_bytes().to_vec(), record.clone());
        rows.put(TreeName::Ledger, b"ledger".to_vec(), record);
        rows.put(TreeName::Parts, b"removed".to_vec(), None);
        rows
    }

    /// A log to which so many frames were appended, turning as it got full.
    fn written(scratch: &Scratch, bytes_max: u64, frames: u64) -> Wal {
        create(scratch.path()).unwrap();
        let mut wal = Wal::open(scratch.path(), bytes_max).unwrap();
        for number in 1..=frames {
            if wal.is_full() {
                wal.turn();
            }
            wal.append(&rows(number)).unwrap();
        }
        wal
    }

    fn found(scratch: &Scratch, applied: FrameNumber) -> Recovered {
        recover(scratch.path(), Some(applied)).unwrap()
    }

    fn spoil(scratch: &Scratch, name: &str, at: u64) {
        let file = File::options().read(true).write(true).open(scratch.path().join(name)).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    }

    #[test]
    fn frames_come_back_in_their_order_from_both_files() {
        let scratch = Scratch::new();
        // Three frames of two sectors in each file: 7, 8, 9 are in the first, 10 in the second.
        let wal = written(&scratch, 3 * 1024, 10);
        assert_eq!(wal.last(), 10);
        let back = found(&scratch, 6);
        assert_eq!((back.end, back.highest, back.damage), (10, 10, None));
        for number in 7..=10_u64 {
            let slot = back.rows.get(TREE, &number.to_be_bytes()).unwrap();
            assert_eq!(slot.as_deref(), Some(&number.to_be_bytes().repeat(40)[..]));
        }
        assert_eq!(back.rows.get(TREE, &6_u64.to_be_bytes()), None, "it is in sled");
        let ledger = back.rows.get(TreeName::Ledger, b"ledger").unwrap();
        assert_eq!(ledger.as_deref(), Some(&10_u64.to_be_bytes().repeat(40)[..]));
        assert_eq!(back.rows.get(TreeName::Parts, b"removed"), Some(&None));
        let nothing = found(&scratch, 10);
        assert!(nothing.rows.is_empty() && nothing.damage.is_none());
        // Nobody knows where to begin: at the oldest that leads up to the end.
        let all = recover(scratch.path(), None).unwrap();
        assert_eq!((all.end, all.damage), (10, None));
    }

    #[test]
    fn the_last_frame_may_be_torn_and_no_other() {
        let scratch = Scratch::new();
        let wal = written(&scratch, 8 * 1024, 4);
        drop(wal);
        spoil(&scratch, "wal.0", 3 * 1024 + 700);
        let torn = found(&scratch, 0);
        assert_eq!((torn.end, torn.highest, torn.damage), (3, 3, None));
        spoil(&scratch, "wal.0", 1024 + 3);
        let damaged = found(&scratch, 0);
        assert_eq!((damaged.end, damaged.highest), (1, 3));
        assert_eq!(damaged.damage, Some(("wal.0", 1024)));
        // What is in sled already may be damaged.
        assert_eq!(found(&scratch, 3).damage, None);
    }

    #[test]
    fn a_file_that_is_damaged_before_the_other_goes_on_is_named() {
        let scratch = Scratch::new();
        drop(written(&scratch, 3 * 1024, 5));
        // The last frame of the first file: the other one has those that follow.
        spoil(&scratch, "wal.0", 2 * 1024 + 20);
        let damaged = found(&scratch, 0);
        assert_eq!((damaged.end, damaged.highest), (2, 5));
        assert!(damaged.damage.is_some());
        fs::remove_file(scratch.path().join("wal.0")).unwrap();
        assert_eq!(found(&scratch, 0).damage, Some(("wal.0", 0)));
        assert_eq!(found(&scratch, 5).damage, Some(("wal.0", 0)), "nobody removes it");
    }

    #[test]
    fn an_older_frame_behind_the_end_is_not_taken_for_a_newer() {
        let scratch = Scratch::new();
        let mut wal = written(&scratch, 3 * 1024, 6);
        wal.turn();
        wal.append(&rows(7)).unwrap();
        let back = found(&scratch, 6);
        assert_eq!((back.end, back.highest, back.damage), (7, 7, None));
    }

    #[test]
    fn nonsense_is_no_frame() {
        for bytes in [&[][..], &[0; 600], &[255; 600], &[1; 15]] {
            assert_eq!(frame_at(bytes), None);
        }
    }
}

//! Reads the log of sled 0.34.7 as sled itself will, changes nothing, and says how far it reaches.
//!
//! sled takes the first thing that it cannot read at the end of its log for the place where the
//! power went, cuts the log off there and writes zeros over the rest; what it cannot read in the
//! middle it passes over. Both are right after a power cut, and neither is after the disk has
//! damaged what was on it. So before sled opens, the log is read here, and compared with how far it
//! is known to have been durable ([`super::mark`]).
//!
//! A log is a file of segments of equal length in any order. A segment begins with a checksum, the
//! position of its first byte in the log, and the position up to which the log was durable when it
//! was begun; messages follow, each with a checksum, a kind, its length and the number of its
//! segment.

use super::Position;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// How long the beginning of a segment is.
pub(super) const SEGMENT_HEAD_BYTES: usize = 20;

/// The longest head of a message; so close to the end of a segment none begins.
const MESSAGE_HEAD_BYTES_MAX: usize = 32;

/// sled writes the numbers in the head of a segment, and the checksum, as complements.
const COMPLEMENT: u64 = 0x7FFF_FFFF_FFFF_FFFF;

const KIND_CORRUPTED: u8 = 0;
const KIND_CAP: u8 = 2;
const KIND_MAX: u8 = 11;

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Survey {
    /// Where the log ends.
    pub(super) end: Position,
    /// Where sled will say that it ends: before a cap, if a cap is the last that there is.
    pub(super) last_message: Position,
    /// Where in the file something before the end cannot be read, if anywhere.
    pub(super) damage: Option<u64>,
}

/// The head of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHead {
    pub(super) begin: Position,
    durable: Position,
}

/// What a message turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Message {
    Read {
        bytes: usize,
    },
    /// Nothing follows in this segment.
    Cap,
    Unreadable,
}

/// What there is in a segment.
struct Walk {
    /// Where what can be read ends, with the cap.
    end: Position,
    /// The same without it.
    last_message: Position,
    /// Whether it ends where the segment does.
    whole: bool,
}

/// The log, as long as it is being read.
struct Log<'a> {
    file: &'a File,
    segment_bytes: usize,
    /// Where in the file the segments are, of those that matter.
    segments: BTreeMap<Position, u64>,
    survey: Survey,
}

/// Surveys the log in `file`, of which `from` is known from a snapshot.
pub(super) fn survey(file: &File, segment_bytes: usize, from: Position) -> io::Result<Survey> {
    let mut log = Log { file, segment_bytes, segments: BTreeMap::new(), survey: Survey::default() };
    let durable = log.read_heads(from)?;
    let tail = log.floor(durable);
    let segments: Vec<_> = log.segments.range(..tail).map(|(begin, at)| (*begin, *at)).collect();
    for (begin, at) in segments {
        let Walk { end, whole, .. } = log.walk(begin, at)?;
        if !whole {
            log.damaged(at.saturating_add(end.saturating_sub(begin)));
        }
    }
    log.read_tail(tail)?;
    Ok(log.survey)
}

// === impl Log ===

impl Log<'_> {
    fn length(&self) -> u64 {
        u64::try_from(self.segment_bytes).unwrap_or(u64::MAX)
    }

    /// Where the segment begins in which `position` lies.
    fn floor(&self, position: Position) -> Position {
        position.checked_div(self.length()).map_or(0, |nth| nth.saturating_mul(self.length()))
    }

    /// Finds the segments from that of `from` on, and how far the newest of them say that the log
    /// was durable.
    fn read_heads(&mut self, from: Position) -> io::Result<Position> {
        let from = self.floor(from);
        let mut durable = from;
        let bytes = self.file.metadata()?.len();
        let mut at = 0;
        while bytes.saturating_sub(at) >= head_length() {
            let mut head = [0; SEGMENT_HEAD_BYTES];
            self.file.read_exact_at(&mut head, at)?;
            match SegmentHead::read(&head) {
                Some(head) if head.begin >= from => {
                    durable = durable.max(head.durable);
                    if self.segments.insert(head.begin, at).is_some() {
                        self.damaged(at);
                    }
                }
                Some(_) => {}
                // A segment that is not used yet, or that was cleared.
                None if head == [0; SEGMENT_HEAD_BYTES] => {}
                None => self.damaged(at),
            }
            at = at.saturating_add(self.length());
        }
        Ok(durable)
    }

    /// Reads the segments from `tail` on, which must follow one another, until nothing is left.
    fn read_tail(&mut self, tail: Position) -> io::Result<()> {
        let mut next = tail;
        (self.survey.end, self.survey.last_message) = (tail, tail);
        while let Some(at) = self.segments.get(&next).copied() {
            let Walk { end, last_message, whole } = self.walk(next, at)?;
            (self.survey.end, self.survey.last_message) = (end, last_message);
            if !whole {
                break;
            }
            next = next.saturating_add(self.length());
        }
        Ok(())
    }

    /// Reads the messages of a segment.
    fn walk(&self, begin: Position, at: u64) -> io::Result<Walk> {
        let segment = self.read_segment(at)?;
        let number = begin.checked_div(self.length()).unwrap_or(0);
        let mut offset = SEGMENT_HEAD_BYTES;
        let room = self.segment_bytes.saturating_sub(MESSAGE_HEAD_BYTES_MAX);
        let position =
            |offset: usize| begin.saturating_add(u64::try_from(offset).unwrap_or(u64::MAX));
        while offset <= room {
            let rest = segment.get(offset..).unwrap_or_default();
            match Message::read(rest, number) {
                Message::Read { bytes } => offset = offset.saturating_add(bytes),
                Message::Cap => {
                    let (end, last_message) = (position(self.segment_bytes), position(offset));
                    return Ok(Walk { end, last_message, whole: true });
                }
                Message::Unreadable => {
                    let end = position(offset);
                    return Ok(Walk { end, last_message: end, whole: false });
                }
            }
        }
        let end = position(self.segment_bytes);
        Ok(Walk { end, last_message: end, whole: true })
    }

    fn read_segment(&self, at: u64) -> io::Result<Vec<u8>> {
        let mut segment = vec![0; self.segment_bytes];
        let mut read: usize = 0;
        while let Some(rest) = segment.get_mut(read..).filter(|rest| !rest.is_empty()) {
            let place = at.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
            match self.file.read_at(rest, place) {
                Ok(0) => break,
                Ok(bytes) => read = read.saturating_add(bytes),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        segment.truncate(read);
        Ok(segment)
    }

    fn damaged(&mut self, at: u64) {
        self.survey.damage.get_or_insert(at);
    }
}

// === impl SegmentHead ===

impl SegmentHead {
    /// The head, if its checksum matches.
    pub(super) fn read(head: &[u8; SEGMENT_HEAD_BYTES]) -> Option<Self> {
        let (checksum, numbers) = head.split_first_chunk()?;
        let (begin, durable) = numbers.split_first_chunk()?;
        if crc32fast::hash(numbers) != !u32::from_le_bytes(*checksum) {
            return None;
        }
        let begin = u64::from_le_bytes(*begin) ^ COMPLEMENT;
        let durable = u64::from_le_bytes(durable.try_into().ok()?) ^ COMPLEMENT;
        // In the first segments nothing is durable yet, and that is written as -1.
        let durable = if durable > COMPLEMENT { 0 } else { durable };
        Some(Self { begin, durable })
    }
}

// === impl Message ===

impl Message {
    /// Reads the message at the beginning of `bytes`, in the segment of this `number`.
    fn read(bytes: &[u8], number: u64) -> Self {
        Self::parse(bytes, number).unwrap_or(Self::Unreadable)
    }

    fn parse(bytes: &[u8], number: u64) -> Option<Self> {
        let (checksum, head) = bytes.split_first_chunk()?;
        let (kind, rest) = head.split_first()?;
        let (length, rest) = read_number(rest)?;
        let (segment, rest) = read_number(rest)?;
        let (_page, rest) = read_number(rest)?;
        let body = rest.get(..usize::try_from(length).ok()?)?;
        let head = head.get(..head.len().checked_sub(rest.len())?)?;
        let mut checked = crc32fast::Hasher::new();
        checked.update(body);
        checked.update(head);
        if checked.finalize() != !u32::from_le_bytes(*checksum) || segment != number {
            return None;
        }
        match *kind {
            KIND_CORRUPTED => None,
            KIND_CAP => Some(Self::Cap),
            kind if kind > KIND_MAX => None,
            _ => {
                let bytes = size_of::<u32>().checked_add(head.len())?.checked_add(body.len())?;
                Some(Self::Read { bytes })
            }
        }
    }
}

/// A number as sled writes it: the smaller, the shorter.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "of bytes, and nothing comes near the end of 64 bits"
)]
fn read_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let first = u64::from(first);
    let byte = |nth: usize| rest.get(nth).copied().map(u64::from);
    let (number, used) = match first {
        0..=240 => (first, 0),
        241..=248 => (240 + 256 * (first - 241) + byte(0)?, 1),
        249 => (2_288 + 256 * byte(0)? + byte(1)?, 2),
        _ => {
            let used = usize::try_from(first - 247).ok()?;
            let mut number = [0; size_of::<u64>()];
            number.get_mut(..used)?.copy_from_slice(rest.get(..used)?);
            (u64::from_le_bytes(number), used)
        }
    };
    Some((number, rest.get(used..)?))
}

fn head_length() -> u64 {
    u64::try_from(SEGMENT_HEAD_BYTES).unwrap_or(u64::MAX)
}

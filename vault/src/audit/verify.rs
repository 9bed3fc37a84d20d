//! Whether the log is as it was written: no line changed, dropped, added or moved.
//!
//! It reads the files alone, so it works on a copy of them. What it can say depends on what it is
//! told to expect: with nothing, that the lines fit each other; with a head that was kept elsewhere,
//! that all lines up to it are the ones that were there then.

use super::head::{Head, PublicKey};
use super::line;
use super::segment::{self, Tail};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What a log is held against.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// Heads that were kept elsewhere, or that the vault remembers.
    pub heads: Vec<Head>,
    /// The keys of the vault. When there are none, every head's own key is taken for one.
    pub keys: Vec<PublicKey>,
    /// The beginning of the log may be missing, because its segments are kept elsewhere.
    pub begins_later: bool,
    /// The log is being written to, so that its last line may not be whole yet.
    pub in_use: bool,
}

/// A log in which nothing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    pub segments: usize,
    pub lines: u64,
    pub bytes: u64,
    /// Signed heads within the log that were checked.
    pub heads: u64,
    /// The sequences of the first and the last line; 0 when there is none.
    pub first: u64,
    pub last: u64,
    /// How many lines come after the last signed head: these nobody has signed yet.
    pub unsigned: u64,
}

/// The first place that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    pub file: PathBuf,
    /// The line within the file, from 1; 0 for the file as a whole.
    pub line: u64,
    /// The sequence at which something else was due.
    pub sequence: u64,
    pub problem: Problem,
}

/// What is wrong there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It is no line of a log, or its own hash does not fit.
    Changed,
    /// The bytes after the last newline are no whole line.
    Torn,
    /// Lines are missing before this one.
    Missing,
    /// The line has a sequence that was there already.
    OutOfOrder,
    /// The line is whole, and does not follow the one before it.
    Unlinked,
    /// The head is not signed by the vault's key.
    BadHead,
    /// The line is not the one that was there when the head was signed.
    NotOfHead,
    /// The log ends before what a head says was there.
    Cut,
}

/// What is known while reading.
struct Reader<'a> {
    expected: &'a Expected,
    tail: Option<Tail>,
    verified: Verified,
}

/// Reads the whole log in `directory`.
///
/// # Errors
/// The files cannot be read. What is wrong with what they say is in the inner result.
pub fn verify(directory: &Path, expected: &Expected) -> io::Result<Result<Verified, Flaw>> {
    let mut reader = Reader { expected, tail: None, verified: Verified::NOTHING };
    let segments = segment::list(directory)?;
    let last = segments.len().saturating_sub(1);
    for (nth, (first, path)) in segments.iter().enumerate() {
        let bytes = fs::read(path)?;
        if let Err(flaw) = reader.segment(path, *first, &bytes, nth == last) {
            return Ok(Err(flaw));
        }
    }
    let end = segments.last().map_or(directory, |(_, path)| path);
    Ok(reader.finish(end))
}

// === impl Reader ===

impl Reader<'_> {
    fn segment(
        &mut self,
        path: &Path,
        first: u64,
        bytes: &[u8],
        is_last: bool,
    ) -> Result<(), Flaw> {
        let flaw = |line, sequence, problem| Flaw { file: path.into(), line, sequence, problem };
        let due = self.due(first);
        if first != due {
            let problem = if first > due { Problem::Missing } else { Problem::OutOfOrder };
            return Err(flaw(0, due, problem));
        }
        self.verified.segments = self.verified.segments.saturating_add(1);
        for (nth, text) in (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
            let due = self.due(first);
            let torn = is_last && !text.ends_with(b"\n");
            if torn && self.expected.in_use {
                break;
            }
            self.line(text, due).map_err(|problem| {
                let torn = torn && problem == Problem::Changed;
                flaw(nth, due, if torn { Problem::Torn } else { problem })
            })?;
        }
        Ok(())
    }

    /// The sequence of the next line, where a segment begins that is named for `first`.
    fn due(&self, first: u64) -> u64 {
        match self.tail {
            Some(tail) => tail.sequence.saturating_add(1),
            None if self.expected.begins_later => first,
            None => 1,
        }
    }

    fn line(&mut self, text: &[u8], due: u64) -> Result<(), Problem> {
        let read = line::read(text).ok_or(Problem::Changed)?;
        if read.sequence > due {
            return Err(Problem::Missing);
        }
        if read.sequence < due {
            return Err(Problem::OutOfOrder);
        }
        let before = self.tail.unwrap_or(Tail::NONE);
        let begins = self.tail.is_none() && self.expected.begins_later;
        if !begins && read.previous != before.hash {
            return Err(Problem::Unlinked);
        }
        self.count(due, text.len());
        if let Some(head) = &read.head {
            self.head(head, &before)?;
        }
        self.tail = Some(read.tail());
        let kept = self.expected.heads.iter().filter(|head| head.sequence == read.sequence);
        let is_of = |head: &Head| head.hash_bytes() == Some(read.hash);
        if kept.clone().all(is_of) { Ok(()) } else { Err(Problem::NotOfHead) }
    }

    fn count(&mut self, sequence: u64, bytes: usize) {
        let Verified { lines, bytes: all, first, last, unsigned, .. } = &mut self.verified;
        *lines = lines.saturating_add(1);
        *all = all.saturating_add(u64::try_from(bytes).unwrap_or_default());
        *unsigned = unsigned.saturating_add(1);
        *last = sequence;
        if *first == 0 {
            *first = sequence;
        }
    }

    /// A head within the log is of the line before it.
    fn head(&mut self, head: &Head, before: &Tail) -> Result<(), Problem> {
        let of_before = head.sequence == before.sequence && head.hash_bytes() == Some(before.hash);
        let begins = self.tail.is_none();
        if !self.is_trusted(head) || !(of_before || begins) {
            return Err(Problem::BadHead);
        }
        self.verified.heads = self.verified.heads.saturating_add(1);
        self.verified.unsigned = 0;
        Ok(())
    }

    fn is_trusted(&self, head: &Head) -> bool {
        let keys = &self.expected.keys;
        let known = head.key().is_some_and(|key| keys.is_empty() || keys.contains(&key));
        known && head.is_signed()
    }

    fn finish(self, end: &Path) -> Result<Verified, Flaw> {
        let last = self.verified.last;
        let flaw = |sequence, problem| Flaw { file: end.into(), line: 0, sequence, problem };
        for head in &self.expected.heads {
            if !self.is_trusted(head) {
                return Err(flaw(head.sequence, Problem::BadHead));
            }
            if head.sequence > last {
                return Err(flaw(last.saturating_add(1), Problem::Cut));
            }
            if head.sequence < self.verified.first {
                return Err(flaw(head.sequence, Problem::Missing));
            }
        }
        Ok(self.verified)
    }
}

// === impl Verified ===

impl Verified {
    const NOTHING: Self =
        Self { segments: 0, lines: 0, bytes: 0, heads: 0, first: 0, last: 0, unsigned: 0 };
}

// === impl Flaw ===

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, sequence, problem } = self;
        let said = match problem {
            Problem::Changed => "is no line of the log as it was written: it was changed",
            Problem::Torn => "is not whole: the program was cut short, or somebody cut here",
            Problem::Missing => "does not come next: lines are missing before it",
            Problem::OutOfOrder => "was there already: lines were moved or repeated",
            Problem::Unlinked => "does not follow the line before it: one of both was replaced",
            Problem::BadHead => "has a head that the vault's key did not sign for this log",
            Problem::NotOfHead => "is not the line of which the kept head is",
            Problem::Cut => "should be there, as a head says, and the log has ended: it was cut",
        };
        write!(f, "{}", file.display())?;
        if *line > 0 {
            write!(f, ", line {line}")?;
        }
        write!(f, " (sequence {sequence}): {said}")
    }
}

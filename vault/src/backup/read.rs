//! Reading a backup, and believing nothing of it before its checksum is right.

use super::{
    BACKUP_FORMAT, BackupError, CHUNK_BYTES_MAX, Kind, MAGIC, SUM_BYTES, beginning, checksum,
};
use crate::UnixMillis;
use crate::frame::Fields;
use std::io::{Error, ErrorKind, Read};

/// What a whole backup says of itself, as far as that can be told without keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupCheck {
    /// When it was begun.
    pub created: UnixMillis,
    /// The version of the program that wrote it.
    pub program: Box<str>,
    pub rows: u64,
    pub chunks: u64,
}

/// A row of a backup.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    pub(super) tree: &'a str,
    pub(super) key: &'a [u8],
    pub(super) record: Option<&'a [u8]>,
}

/// The last chunk.
#[derive(Clone, Debug)]
pub(super) struct End {
    /// The checksum of all before it.
    pub(super) sum: [u8; SUM_BYTES],
    pub(super) rows: [u8; 8],
    pub(super) ledger: Vec<u8>,
    pub(super) mac: [u8; 32],
}

/// Reads chunk by chunk. At most one of them is in memory.
#[derive(Debug)]
pub struct BackupReader<R> {
    from: R,
    sum: [u8; SUM_BYTES],
    chunks: u64,
    body: Vec<u8>,
}

/// What the end of the stream means; any other error is one of reading.
fn ended(means: BackupError) -> impl FnOnce(Error) -> BackupError {
    move |error| if error.kind() == ErrorKind::UnexpectedEof { means } else { error.into() }
}

// === impl BackupReader ===

impl<R: Read> BackupReader<R> {
    /// Reads the beginning.
    ///
    /// # Errors
    /// It is no backup.
    pub fn new(mut from: R) -> Result<Self, BackupError> {
        let mut magic = [0; MAGIC.len()];
        from.read_exact(&mut magic).map_err(ended(BackupError::Foreign))?;
        if magic != *MAGIC {
            return Err(BackupError::Foreign);
        }
        Ok(Self { from, sum: beginning(), chunks: 0, body: Vec::new() })
    }

    /// Reads to the end and believes the checksums, with or without keys.
    ///
    /// # Errors
    /// It is not whole.
    pub fn check(self) -> Result<BackupCheck, BackupError> {
        self.each(|_| Ok(())).map(|(check, _)| check)
    }

    /// Hands out every row, in order; the last of a key is the one that counts.
    pub(super) fn each(
        mut self,
        mut row: impl FnMut(Row<'_>) -> Result<(), BackupError>,
    ) -> Result<(BackupCheck, End), BackupError> {
        let (created, program) = self.head()?;
        let mut rows: u64 = 0;
        loop {
            let before = self.sum;
            match self.chunk()? {
                Kind::Head => return Err(BackupError::Form(self.chunks)),
                Kind::Rows => {
                    let mut fields = Fields::new(&self.body);
                    while fields.end().is_none() {
                        let next = Row::read(&mut fields);
                        row(next.ok_or(BackupError::Form(self.chunks))?)?;
                        rows = rows.saturating_add(1);
                    }
                }
                Kind::End => {
                    let end = End::read(&self.body, before, rows);
                    let end = end.ok_or(BackupError::Form(self.chunks))?;
                    self.nothing_follows()?;
                    let check = BackupCheck { created, program, rows, chunks: self.chunks };
                    return Ok((check, end));
                }
            }
        }
    }

    fn head(&mut self) -> Result<(UnixMillis, Box<str>), BackupError> {
        let form = BackupError::Form(0);
        if self.chunk()? != Kind::Head {
            return Err(form);
        }
        let mut fields = Fields::new(&self.body);
        let Some(format) = fields.array().map(u32::from_be_bytes) else { return Err(form) };
        if format != BACKUP_FORMAT {
            return Err(BackupError::Format(format));
        }
        let told = fields.number().zip(fields.text().map(Box::from));
        told.filter(|_| fields.end().is_some()).ok_or(form)
    }

    /// Reads a chunk, whose checksum is right.
    fn chunk(&mut self) -> Result<Kind, BackupError> {
        let nth = self.chunks;
        let mut head = [0; 5];
        self.fill_array(&mut head)?;
        let [kind, length @ ..] = head;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > CHUNK_BYTES_MAX {
            return Err(BackupError::Damaged(nth));
        }
        self.body.resize(length, 0);
        let (mut body, mut told) = (std::mem::take(&mut self.body), [0; SUM_BYTES]);
        self.fill_array(&mut body)?;
        self.fill_array(&mut told)?;
        self.body = body;
        let kind = Kind::by_byte(kind).ok_or(BackupError::Damaged(nth))?;
        let sum = checksum(&self.sum, kind, &self.body);
        if sum != told {
            return Err(BackupError::Damaged(nth));
        }
        self.sum = sum;
        self.chunks = nth.saturating_add(1);
        Ok(kind)
    }

    fn fill_array(&mut self, to: &mut [u8]) -> Result<(), BackupError> {
        self.from.read_exact(to).map_err(ended(BackupError::Cut))
    }

    fn nothing_follows(&mut self) -> Result<(), BackupError> {
        let more = self.from.read(&mut [0])?;
        if more == 0 { Ok(()) } else { Err(BackupError::Trailing) }
    }
}

// === impl Row ===

impl<'a> Row<'a> {
    fn read(fields: &mut Fields<'a>) -> Option<Self> {
        let (tree, key) = (fields.text()?, fields.bytes()?);
        let is_there = fields.array::<1>()?;
        let record = fields.bytes()?;
        let record = match (is_there, record) {
            ([1], record) => Some(record),
            ([0], []) => None,
            _ => return None,
        };
        Some(Self { tree, key, record })
    }
}

// === impl End ===

impl End {
    fn read(body: &[u8], sum: [u8; SUM_BYTES], rows: u64) -> Option<Self> {
        let mut fields = Fields::new(body);
        let told = fields.array()?;
        let ledger = fields.bytes()?.to_vec();
        let mac = fields.array()?;
        fields.end()?;
        (u64::from_be_bytes(told) == rows).then_some(Self { sum, rows: told, ledger, mac })
    }
}

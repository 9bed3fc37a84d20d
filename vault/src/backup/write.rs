//! Writing a backup of a vault that goes on serving.

use super::{
    BACKUP_FORMAT, BackupError, CHUNK_BYTES_MAX, Kind, MAGIC, SUM_BYTES, beginning, checksum,
};
use crate::frame::frame;
use crate::store::{Follow, RawRow, Step, WalkEnd};
use crate::{StoreError, UnixMillis, Vault, VaultError};
use std::io::Write;
use std::sync::atomic::Ordering::Relaxed;

/// What was backed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackupReport {
    /// The rows of the store, and those that changed while they were read, once more.
    pub rows: u64,
    pub bytes: u64,
    /// How often the ledger was written: the later of two backups of a vault has the larger one.
    pub counter: u64,
}

/// A backup under way.
struct Writer<W> {
    to: W,
    sum: [u8; SUM_BYTES],
    report: BackupReport,
}

// === impl Vault ===

impl Vault {
    /// Writes a backup, as the vault is when this returns. Serving goes on meanwhile. Blocks for as
    /// long as it takes: call it from a thread that may.
    ///
    /// `progress` hears what was written so far.
    ///
    /// # Errors
    /// What was written up to then is no backup, and is refused as one.
    pub fn backup(
        &self,
        to: impl Write,
        now: UnixMillis,
        mut progress: impl FnMut(&BackupReport),
    ) -> Result<BackupReport, BackupError> {
        let mut walk = self.store.walk(Follow::Changes).map_err(VaultError::Store)?;
        let mut writer = Writer { to, sum: beginning(), report: BackupReport::default() };
        writer.begin(now)?;
        loop {
            match walk.step() {
                Ok(Step::Rows(rows)) => writer.rows(&rows)?,
                Ok(Step::End(end)) => {
                    let report = self.end_backup(writer, &end)?;
                    self.counts.backups.add();
                    self.counts.backup_time.store(now, Relaxed);
                    return Ok(report);
                }
                Err(StoreError::TooLarge) => return Err(BackupError::Slow),
                Err(error) => return Err(VaultError::Store(error).into()),
            }
            progress(&writer.report);
        }
    }

    fn end_backup<W: Write>(
        &self,
        mut writer: Writer<W>,
        end: &WalkEnd,
    ) -> Result<BackupReport, BackupError> {
        if !end.apart.is_empty() {
            return Err(BackupError::Tampered(end.apart.join(", ").into()));
        }
        writer.report.counter = end.counter;
        let rows = writer.report.rows.to_be_bytes();
        let mac = self.keeper.mac_of_backup(&writer.sum, &rows, &end.ledger);
        writer.chunk(Kind::End, &frame(&[&rows, &end.ledger, &mac]))?;
        writer.to.flush()?;
        Ok(writer.report)
    }
}

// === impl Writer ===

impl<W: Write> Writer<W> {
    fn begin(&mut self, now: UnixMillis) -> Result<(), BackupError> {
        self.to.write_all(MAGIC)?;
        let program = env!("CARGO_PKG_VERSION").as_bytes();
        let head = frame(&[&BACKUP_FORMAT.to_be_bytes(), &now.to_be_bytes(), program]);
        self.report.bytes = u64::try_from(MAGIC.len()).unwrap_or_default();
        self.chunk(Kind::Head, &head)
    }

    /// Writes the rows of a step, in as few chunks as they fit into.
    fn rows(&mut self, rows: &[RawRow]) -> Result<(), BackupError> {
        let mut body = Vec::new();
        for RawRow { tree, key, record } in rows {
            let (is_there, record) = record.as_deref().map_or((0, &[][..]), |record| (1, record));
            let row = frame(&[tree.as_bytes(), key, &[is_there], record]);
            if body.len().saturating_add(row.len()) > CHUNK_BYTES_MAX {
                self.chunk(Kind::Rows, &body)?;
                body.clear();
            }
            body.extend_from_slice(&row);
        }
        let rows = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        self.report.rows = self.report.rows.saturating_add(rows);
        self.chunk(Kind::Rows, &body)
    }

    fn chunk(&mut self, kind: Kind, body: &[u8]) -> Result<(), BackupError> {
        self.sum = checksum(&self.sum, kind, body);
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        self.to.write_all(&[kind.byte()])?;
        self.to.write_all(&length.to_be_bytes())?;
        self.to.write_all(body)?;
        self.to.write_all(&self.sum)?;
        let bytes = u64::try_from(body.len()).unwrap_or(u64::MAX).saturating_add(37);
        self.report.bytes = self.report.bytes.saturating_add(bytes);
        Ok(())
    }
}

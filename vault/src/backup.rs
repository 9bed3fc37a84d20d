//! Backups: the store as a stream of rows, sealed as they are, with the keys as the token wrapped
//! them. Nothing of it opens without the token.
//!
//! ```text
//! magic (16) | chunk | chunk | … | the last chunk
//! chunk = kind (1) | length of the body (4) | body | checksum (32)
//! ```
//!
//! A checksum is the SHA-256 of the one before it and of its chunk, so that a chunk that was changed,
//! left out, brought in or moved is found by anybody. The last chunk has a MAC of all checksums under
//! the key of the vault's ledger, and the ledger itself: who has the token can tell that the vault
//! wrote all of it, and that it is the whole vault at one moment.
//!
//! The audit log is not in a backup: it only ever grows, is shipped elsewhere by itself, and one
//! that was put back would be a fork of it. What was destroyed is not in it either; what was
//! destroyed *since* is, see `docs/operating/backup.md`.

mod read;
mod restore;
mod write;

pub use read::{BackupCheck, BackupReader};
pub use restore::{Restored, check_backup, restore};
pub use write::BackupReport;

use crate::OpenError;
use sha2::{Digest as _, Sha256};
use std::io;

/// How every backup of this form begins.
const MAGIC: &[u8; 16] = b"orchestra backup";
/// The form of what follows.
pub const BACKUP_FORMAT: u32 = 1;
/// How large the body of a chunk may be. Rows are gathered until there are about so many bytes.
pub const CHUNK_BYTES_MAX: usize = 4 << 20;
const SUM_BYTES: usize = 32;

/// What a chunk holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// What the backup is, before all else.
    Head,
    Rows,
    /// What makes it whole, after all else.
    End,
}

/// Why there is no backup, or none to be read. Each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The bytes are not of a backup.
    #[error("this is no backup of Orchestra: take the file that `orchestra vault backup` wrote")]
    Foreign,
    /// It is of another version.
    #[error(
        "the backup has format {0} and this program reads {BACKUP_FORMAT}: use the version that \
         wrote it, or a newer one"
    )]
    Format(u32),
    /// It ends before its end.
    #[error("the backup is cut short: take another one, or copy it again")]
    Cut,
    /// Something follows its end.
    #[error("something follows the end of the backup: take another one, or copy it again")]
    Trailing,
    /// A checksum does not match.
    #[error("chunk {0} of the backup is damaged: take another one, or copy it again")]
    Damaged(u64),
    /// The checksums match, and what they cover is not what a vault writes.
    #[error("chunk {0} of the backup is not in its form: it was not written by Orchestra")]
    Form(u64),
    /// The MAC does not match: somebody wrote it who has not the vault's key.
    #[error(
        "the backup was not written by the vault whose keys are in it, or was changed since: do \
         not use it, and find out who wrote to it"
    )]
    Forged,
    /// The rows are not those of the ledger.
    #[error("the rows of {0} in the backup are not what its ledger says: do not use it")]
    Apart(Box<str>),
    /// The destination takes less than the vault is changed.
    #[error("the destination of the backup is too slow for what is being written: try again later")]
    Slow,
    /// The vault's own store is not what its ledger says.
    #[error(
        "rows of {0} were changed outside of the vault, so what was written is no good backup: \
         run `orchestra vault verify`"
    )]
    Tampered(Box<str>),
    /// The stream failed.
    #[error("the backup cannot be read or written: {0}")]
    Io(#[from] io::Error),
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] crate::VaultError),
    /// The restored vault cannot record what was done.
    #[error(transparent)]
    Audit(#[from] crate::audit::AuditError),
    /// A vault cannot be made of it.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl From<crate::store::OpenError> for BackupError {
    fn from(error: crate::store::OpenError) -> Self {
        Self::Open(error.into())
    }
}

/// The checksum of a chunk, which goes on from the one before it.
fn checksum(before: &[u8; SUM_BYTES], kind: Kind, body: &[u8]) -> [u8; SUM_BYTES] {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let mut sum = Sha256::new();
    sum.update(before);
    sum.update([kind.byte()]);
    sum.update(length.to_be_bytes());
    sum.update(body);
    sum.finalize().into()
}

/// The checksum before the first.
fn beginning() -> [u8; SUM_BYTES] {
    Sha256::digest(MAGIC).into()
}

// === impl Kind ===

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Self::Head => b'H',
            Self::Rows => b'R',
            Self::End => b'E',
        }
    }

    fn by_byte(byte: u8) -> Option<Self> {
        [Self::Head, Self::Rows, Self::End].into_iter().find(|kind| kind.byte() == byte)
    }
}

//! A rotation as it is kept in the store, so that it goes on after a crash.

use super::Rotate;
use crate::UnixSeconds;
use crate::frame::{Fields, frame};
use crate::keyring::table::{Row, TOKEN};
use crate::seal::{Purpose, Rotation};
use crate::store::{Collection, Write};
use model::MerchantId;

/// Where in [`Collection::Meta`] the rotation that is under way is.
pub(super) const JOB_ROW: &[u8] = b"rotation";

/// A rotation, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) what: Rotate,
    /// Keys that came with this version of the table, or later, are new.
    pub(super) born: u64,
    pub(super) begun: UnixSeconds,
    /// Whose key is at hand, and what for. What comes before is done.
    pub(super) at: (Box<str>, Purpose),
    /// The last record that was looked at.
    pub(super) cursor: Vec<u8>,
    pub(super) records: u64,
    pub(super) refused: u64,
}

// === impl Job ===

impl Job {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let (kind, scope): (&[u8], &str) = match &self.what {
            Rotate::Kek { by } => (b"kek", by),
            Rotate::Deks { merchant } => (b"dek", merchant.as_ref().map_or("", |m| m.as_str())),
        };
        frame(&[
            kind,
            scope.as_bytes(),
            &self.born.to_be_bytes(),
            &self.begun.to_be_bytes(),
            self.at.0.as_bytes(),
            self.at.1.word().as_bytes(),
            &self.cursor,
            &self.records.to_be_bytes(),
            &self.refused.to_be_bytes(),
        ])
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(bytes);
        let (kind, scope) = (fields.text()?, fields.text()?);
        let what = match (kind, scope) {
            ("kek", by) => Rotate::Kek { by: by.into() },
            ("dek", "") => Rotate::Deks { merchant: None },
            ("dek", merchant) => Rotate::Deks { merchant: Some(MerchantId::parse(merchant).ok()?) },
            _ => return None,
        };
        let job = Self {
            what,
            born: fields.number()?,
            begun: fields.number()?,
            at: (fields.text()?.into(), Purpose::by_word(fields.text()?)?),
            cursor: fields.bytes()?.to_vec(),
            records: fields.number()?,
            refused: fields.number()?,
        };
        fields.end()?;
        Some(job)
    }

    pub(super) fn write(job: Option<&Self>) -> Write {
        let (collection, key) = (Collection::Meta, JOB_ROW.to_vec());
        match job {
            Some(job) => Write::Put { collection, key, value: job.bytes() },
            None => Write::Delete { collection, key },
        }
    }

    /// Whether the rotation is about this owner's key for this purpose.
    pub(super) fn covers(&self, row: &Row) -> bool {
        let owner = match &self.what {
            Rotate::Kek { .. } => return false,
            Rotate::Deks { merchant: Some(merchant) } => *row.name.owner == *merchant.as_str(),
            Rotate::Deks { merchant: None } => &*row.name.owner != TOKEN,
        };
        owner && row.name.purpose.rotation() != Rotation::Never
    }
}

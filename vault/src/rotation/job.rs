//! A rotation as it is kept in the store, so that it goes on after a crash.

use super::Rotate;
use crate::UnixSeconds;
use crate::frame::{Fields, frame};
use crate::keyring::table::{Row, TOKEN};
use crate::seal::{Purpose, Rotation};
use crate::store::{Collection, Write};
use model::MerchantId;

/// Where in [`Collection::Meta`] the rotation that is under way is.
pub(crate) const JOB_ROW: &[u8] = b"rotation";

/// A rotation, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Job {
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
        let (kind, scope): (&str, &str) = match &self.what {
            Rotate::Kek { by } => ("kek", by),
            Rotate::Deks { merchant, purpose } => {
                let whose = merchant.as_ref().map_or("", |merchant| merchant.as_str());
                (purpose.map_or("dek", Purpose::word), whose)
            }
        };
        frame(&[
            kind.as_bytes(),
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

    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(bytes);
        let (kind, scope) = (fields.text()?, fields.text()?);
        let what = match (kind, scope) {
            ("kek", by) => Rotate::Kek { by: by.into() },
            ("dek", "") => Rotate::Deks { merchant: None, purpose: None },
            (kind, merchant) => {
                let purpose = if kind == "dek" { None } else { Some(Purpose::by_word(kind)?) };
                Rotate::Deks { merchant: Some(MerchantId::parse(merchant).ok()?), purpose }
            }
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
        let Rotate::Deks { merchant, purpose } = &self.what else { return false };
        let owner = match merchant {
            Some(merchant) => *row.name.owner == *merchant.as_str(),
            None => &*row.name.owner != TOKEN,
        };
        let purpose = purpose.is_none_or(|purpose| purpose == row.name.purpose);
        owner && purpose && row.name.purpose.rotation() != Rotation::Never
    }
}

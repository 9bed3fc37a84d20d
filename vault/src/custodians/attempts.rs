//! Wrong secrets of custodians: after too many in a row nobody is listened to for a while.
//!
//! An attempt counts before its secret is looked at, durably, and a right one takes all of them back. So
//! nobody tries again by having the program ended.

use super::{WHAT, place};
use crate::frame::{Fields, frame};
use crate::seal::Purpose;
use crate::store::{Collection, Store, Write};
use crate::{UnixSeconds, Vault, VaultError};

/// After how many wrong secrets in a row nobody is listened to, and for how long (PCI DSS 8.3.4).
const WRONG_MAX: u64 = 10;
const LOCKED_OUT_S: u64 = 30 * 60;
/// Where in [`Collection::Meta`] they are counted.
pub(super) const ATTEMPTS_ROW: &[u8] = b"custodian attempts";

/// Attempts since the last right one, and when the last of them was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Attempts {
    count: u64,
    last: UnixSeconds,
}

// === impl Attempts ===

impl Attempts {
    fn are_too_many(self, now: UnixSeconds) -> bool {
        self.count >= WRONG_MAX && now < self.last.saturating_add(LOCKED_OUT_S)
    }

    fn read(text: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(text);
        let attempts = Self { count: fields.number()?, last: fields.number()? };
        fields.end()?;
        Some(attempts)
    }

    fn written(self) -> Vec<u8> {
        frame(&[&self.count.to_be_bytes(), &self.last.to_be_bytes()])
    }
}

// === impl Vault ===

impl Vault {
    /// Counts one more, unless there were too many. Callers hold `changes`.
    pub(super) async fn note_attempt(&self, now: UnixSeconds) -> Result<(), VaultError> {
        let before = self.attempts()?;
        if before.are_too_many(now) {
            return Err(VaultError::Custodian);
        }
        let after = Attempts { count: before.count.saturating_add(1), last: now };
        let claim = self.claim(None, Purpose::Custodian, 1).await?;
        self.counts.seals.add();
        let value = claim.seal(place("secrets", "attempts"), &after.written());
        let (collection, key) = (Collection::Meta, ATTEMPTS_ROW.to_vec());
        Ok(self.store.batch(vec![Write::Put { collection, key, value }]).await?)
    }

    /// The last one was right.
    pub(super) async fn forget_attempts(&self) -> Result<(), VaultError> {
        let (collection, key) = (Collection::Meta, ATTEMPTS_ROW.to_vec());
        Ok(self.store.batch(vec![Write::Delete { collection, key }]).await?)
    }

    fn attempts(&self) -> Result<Attempts, VaultError> {
        let system = self.keyring.system()?;
        let Some(sealed) = self.store.get(Collection::Meta, ATTEMPTS_ROW)? else {
            return Ok(Attempts::default());
        };
        let text = self.unseal(WHAT, &system.custodian, place("secrets", "attempts"), &sealed)?;
        Attempts::read(&text).ok_or_else(|| self.refused(WHAT))
    }

    /// Whether the row of attempts opens.
    pub(super) fn attempts_hold(&self, sealed: &[u8]) -> Option<()> {
        let system = self.keyring.system().ok()?;
        let text = system.custodian.open(place("secrets", "attempts"), sealed).ok()?;
        Attempts::read(&text).map(drop)
    }
}

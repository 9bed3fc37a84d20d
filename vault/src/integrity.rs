//! Whether the store holds what the vault wrote, all of it and nothing else.
//!
//! A sealed record shows that the vault wrote it once, at this place. That it is the last thing that
//! was written there, and that nothing is missing, shows the store's ledger: see `store::ledger`.
//! Here is the key that it is kept with, and the walk that checks everything.

use crate::frame::Fields;
use crate::keyring::table::{Anchor, SEAL_ROW};
use crate::keyring::{Keyring, SEALS, SYSTEM};
use crate::payments::LOW_WATER_ROW;
use crate::rotation::{JOB_ROW, Job};
use crate::seal::{Dek, Deks, Place, same};
use crate::store::{
    Collection, Digest, Follow, LedgerError, RawRow, SledStore, Step, Store, Witness,
};
use crate::{
    AUDIT_PLACE, AUDIT_ROW, OpenError, StoreError, VAULT_ROW, Vault, VaultError, deletion,
};
use std::fmt;
use std::sync::Arc;

/// How many findings a report lists; all are counted.
pub const FINDINGS_MAX: usize = 100;
/// How many ledgers are sealed under one key of a record, as a power of two: random nonces are safe
/// for 2^32.
const SEALS_BITS: u32 = 24;

/// The key of the ledger.
pub(crate) struct Keeper(Deks);

/// What a check of everything found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// How often the ledger was written.
    pub counter: u64,
    /// How many rows there are, by collection; parts of long values count as rows of their own.
    pub rows: Vec<(&'static str, u64)>,
    /// The collections in which a row was changed, put back, taken away or brought back.
    pub apart: Vec<&'static str>,
    /// How many rows do not open or are not in their form.
    pub refused: u64,
    /// The first of them.
    pub findings: Vec<Finding>,
}

/// A row that is not what the vault wrote.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    pub collection: &'static str,
    /// Which one, as far as it may be shown.
    pub row: Box<str>,
}

/// Begins the ledger of a new vault.
pub(crate) fn begin(store: &SledStore, keys: Deks) -> Result<(), StoreError> {
    store.begin_ledger(Arc::new(Keeper(keys)), 0)
}

/// Takes up the ledger of a vault.
pub(crate) fn resume(store: &SledStore, keyring: &Keyring) -> Result<Arc<Keeper>, OpenError> {
    let keeper = Arc::new(Keeper::of(keyring)?);
    store.resume_ledger(keeper.clone()).map_err(|error| match error {
        LedgerError::Missing | LedgerError::Unreadable => OpenError::Damaged { what: "ledger" },
        LedgerError::Store(error) => OpenError::Read(error),
    })?;
    Ok(keeper)
}

fn place(counter: u64, record: &str) -> Place<'_> {
    Place { owner: SYSTEM, record, field: "ledger", version: counter }
}

/// The name of the record that this ledger is, which is part of its key.
fn record(counter: u64) -> String {
    format!("ledger {}", counter.checked_shr(SEALS_BITS).unwrap_or_default())
}

// === impl Keeper ===

impl Keeper {
    pub(crate) fn of(keyring: &Keyring) -> Result<Self, OpenError> {
        let locked = |_| OpenError::Damaged { what: "list of keys" };
        Ok(Self(keyring.system().map_err(locked)?.integrity.clone()))
    }

    /// What shows that this vault wrote a backup.
    pub(crate) fn mac_of_backup(&self, sum: &[u8], rows: &[u8], ledger: &[u8]) -> [u8; 32] {
        self.active().mac(&[b"backup", sum, rows, ledger])
    }

    /// Whether this vault wrote a backup that ends so, with any of its keys.
    pub(crate) fn wrote_backup(&self, sum: &[u8], rows: &[u8], ledger: &[u8], mac: &[u8]) -> bool {
        self.0.iter().any(|dek| same(&dek.mac(&[b"backup", sum, rows, ledger]), mac))
    }

    fn active(&self) -> &Dek {
        self.0.active()
    }
}

impl Witness for Keeper {
    fn digest(&self, tree: &str, key: &[u8], record: &[u8]) -> Digest {
        self.active().mac(&[b"row", tree.as_bytes(), key, record])
    }

    fn seal(&self, counter: u64, ledger: &[u8]) -> Vec<u8> {
        self.active().seal_uncounted(place(counter, &record(counter)), ledger)
    }

    fn open(&self, counter: u64, sealed: &[u8]) -> Option<Vec<u8>> {
        let opened = self.0.open(place(counter, &record(counter)), sealed);
        opened.ok().map(|text| text.to_vec())
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keeper").field(self.active()).finish()
    }
}

// === impl Vault ===

impl Vault {
    /// Reads everything: opens every record (and drops what is in it at once), unwraps every key, and
    /// compares all rows with the ledger. Writing goes on meanwhile. Blocks for as long as it takes:
    /// call it from a thread that may.
    ///
    /// `progress` hears how many rows were read.
    ///
    /// # Errors
    /// The store failed, or the token is away or was for too long: then nothing is known of what does
    /// not open. Else that is no error but a finding.
    pub fn verify(&self, mut progress: impl FnMut(u64)) -> Result<VerifyReport, VaultError> {
        let mut walk = self.store.walk(Follow::Once)?;
        let mut report = VerifyReport::default();
        let mut read: u64 = 0;
        loop {
            // Before rows are read: see `keys_of`.
            let _keys = self.keyring.hold();
            match walk.step()? {
                Step::Rows(rows) => {
                    read = read.saturating_add(u64::try_from(rows.len()).unwrap_or(u64::MAX));
                    rows.iter().try_for_each(|row| self.verify_row(row, &mut report))?;
                    progress(read);
                }
                Step::End(end) => {
                    (report.counter, report.apart) = (end.counter, end.apart);
                    self.counts.verifies.add();
                    if !report.is_whole() {
                        self.counts.verifies_failed.add();
                    }
                    return Ok(report);
                }
            }
        }
    }

    fn verify_row(&self, row: &RawRow, report: &mut VerifyReport) -> Result<(), VaultError> {
        report.count(row.tree);
        let Some(collection) = row.collection() else { return Ok(()) };
        if self.row_holds(collection, row)? {
            return Ok(());
        }
        // It may have been changed, and its keys with it, since it was read.
        match self.store.get(collection, &row.key) {
            Ok(None) => return Ok(()),
            Ok(Some(value)) if self.value_holds(collection, &row.key, &value)? => return Ok(()),
            Ok(Some(_)) | Err(StoreError::Corrupt) => {}
            Err(error) => return Err(error.into()),
        }
        // Without keys nothing opens, however whole it is.
        self.keyring.system()?;
        report.refuse(row.tree, shown(collection, &row.key));
        Ok(())
    }

    fn row_holds(&self, collection: Collection, row: &RawRow) -> Result<bool, VaultError> {
        match row.whole() {
            Ok(Some(value)) => self.value_holds(collection, &row.key, value),
            // In parts, which are found by the store, or damaged.
            Ok(None) | Err(_) => Ok(false),
        }
    }

    fn value_holds(
        &self,
        collection: Collection,
        key: &[u8],
        value: &[u8],
    ) -> Result<bool, VaultError> {
        Ok(match collection {
            Collection::Meta => self.meta_holds(key, value).is_some(),
            Collection::Keys => self.wrapped_key_holds(key, value)?,
            Collection::Merchants => self.merchant_holds(key, value),
            Collection::ApiKeys => self.api_key_holds(key, value),
            Collection::Accounts => self.account_holds(key, value),
            Collection::Tokens => self.token_holds(key, value),
            Collection::Payments => self.journal_holds(key, value),
        })
    }
}

// === impl Vault ===

impl Vault {
    /// Whether a row that the vault keeps about itself opens, or is in its form.
    fn meta_holds(&self, key: &[u8], value: &[u8]) -> Option<()> {
        match key {
            // The store's own, which it reads before it opens.
            b"format" => Some(()),
            AUDIT_ROW => self.audit_memory_holds(value),
            JOB_ROW => Job::parse(value).map(drop),
            LOW_WATER_ROW => is_number(value),
            SEAL_ROW => self.table_seal_holds(value),
            VAULT_ROW => self.vault_row_holds(value),
            _ if key.starts_with(deletion::MARK) => is_number(value),
            _ if key.starts_with(SEALS) => is_number(value),
            _ => self.custodian_row_holds(key, value),
        }
    }

    fn audit_memory_holds(&self, sealed: &[u8]) -> Option<()> {
        let system = self.keyring.system().ok()?;
        system.audit.open(AUDIT_PLACE, sealed).ok().map(drop)
    }

    fn vault_row_holds(&self, row: &[u8]) -> Option<()> {
        let mut fields = Fields::new(row);
        let (_format, id, _kek): ([u8; 4], [u8; 8], [u8; 8]) =
            (fields.array()?, fields.array()?, fields.array()?);
        fields.end().filter(|()| id == self.keyring.vault())
    }

    /// The seal is that of the list in memory, or of another moment.
    fn table_seal_holds(&self, seal: &[u8]) -> Option<()> {
        let (anchor, system) = (Anchor::parse(seal)?, self.keyring.system().ok()?);
        let table = self.keyring.table();
        let same = table.anchor(system.key_table.active()) == anchor;
        (same || anchor.version != table.version()).then_some(())
    }
}

fn is_number(value: &[u8]) -> Option<()> {
    <[u8; 8]>::try_from(value).ok().map(drop)
}

/// What may be shown of a row's name: of a token, whose name is as good as the card to the merchant,
/// no more than its merchant and its first characters.
fn shown(collection: Collection, key: &[u8]) -> Box<str> {
    const CHARS_MAX: usize = 96;
    const TOKEN_CHARS: usize = 6;
    let text = String::from_utf8_lossy(key).replace(['\0', '\u{1}', '\u{2}'], " ");
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let cut = match (collection, key.iter().position(|byte| *byte == 0)) {
        (Collection::Tokens, Some(at)) => at.saturating_add(1).saturating_add(TOKEN_CHARS),
        (Collection::Tokens, None) => TOKEN_CHARS,
        _ => CHARS_MAX,
    };
    plain
        .take(cut.min(CHARS_MAX))
        .collect::<String>()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .into()
}

// === impl VerifyReport ===

impl VerifyReport {
    /// Whether everything is as the vault wrote it.
    pub fn is_whole(&self) -> bool {
        self.apart.is_empty() && self.refused == 0
    }

    fn count(&mut self, tree: &'static str) {
        match self.rows.iter_mut().find(|(name, _)| *name == tree) {
            Some((_, rows)) => *rows = rows.saturating_add(1),
            None => self.rows.push((tree, 1)),
        }
    }

    fn refuse(&mut self, collection: &'static str, row: Box<str>) {
        self.refused = self.refused.saturating_add(1);
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { collection, row });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Collection, record, shown};

    #[test]
    fn a_token_is_not_told_in_full() {
        let key = b"shop\0nQGywsQE9gbURtrXEjTZwtWqeMdK9nsO";
        assert_eq!(&*shown(Collection::Tokens, key), "shop nQGyws");
        assert_eq!(&*shown(Collection::Tokens, b"nQGywsQE9gbURtrXEjTZ"), "nQGyws");
        assert_eq!(&*shown(Collection::Accounts, b"shop\0stripe\n\x1b[0m"), "shop stripe [0m");
        assert_eq!(shown(Collection::Merchants, &[b'a'; 256]).len(), 96);
    }

    #[test]
    fn no_key_seals_more_ledgers_than_random_nonces_are_safe_for() {
        assert_eq!(record(0), record((1 << 24) - 1));
        assert_ne!(record(0), record(1 << 24));
    }
}

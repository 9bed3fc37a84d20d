//! Making a vault of a backup, and checking a backup with its keys.

use super::read::{End, Row};
use super::{BackupCheck, BackupError, BackupReader};
use crate::audit::{Action, Actor, Event, Outcome, Who};
use crate::integrity::Keeper;
use crate::keyring::Age;
use crate::store::{Collection, Entry, Pending, RawRow, Restore, Store, StoreError, Swap, Write};
use crate::{OpenError, Settings, Vault, VerifyReport, open_keys, wait};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// What was restored, and what a check of everything found in it.
#[derive(Clone, Debug)]
pub struct Restored {
    pub backup: BackupCheck,
    pub verified: VerifyReport,
}

/// The rows of a backup that it takes to read its keys.
struct KeyRows(BTreeMap<(&'static str, Vec<u8>), Vec<u8>>);

/// Reads a backup to its end, and checks with the token that the vault whose keys are in it wrote
/// all of it. Nothing is written.
///
/// # Errors
/// It is not whole, not genuine, or the token is not that vault's.
pub fn check_backup(file: &Path, settings: &Settings) -> Result<BackupCheck, BackupError> {
    genuine(file, settings).map(|(check, _)| check)
}

/// Makes a vault of a backup in the place that `settings` name, which must be empty, and checks
/// everything in it. A restore that is cut short leaves what does not open.
///
/// # Errors
/// Each says what to do. What is there is never overwritten.
pub fn restore(
    file: &Path,
    settings: &Settings,
    actor: Actor,
    mut progress: impl FnMut(u64),
) -> Result<Restored, BackupError> {
    let (backup, end) = genuine(file, settings)?;
    let mut restore = Restore::begin(&settings.directory, settings.cache_bytes)?;
    let mut rows: u64 = 0;
    let (_, again) = open(file)?.each(|Row { tree, key, record }| {
        restore.put(tree, key, record)?;
        rows = rows.saturating_add(1);
        progress(rows);
        Ok(())
    })?;
    // It was read twice, and must have been the same.
    if again.sum != end.sum || again.ledger != end.ledger {
        return Err(BackupError::Forged);
    }
    restore.finish(&end.ledger)?;
    // It is older than the token remembers, which is what was asked for.
    let who = Who { actor: actor.clone(), origin: None };
    let vault = Vault::open_restored_by(settings, &who)?;
    let verified = vault.verify(&mut progress)?;
    record(&vault, actor, verified.is_whole())?;
    vault.close();
    if !verified.apart.is_empty() {
        return Err(BackupError::Apart(verified.apart.join(", ").into()));
    }
    // Before this it opens for nobody, so that none is in use whose log does not say what it is.
    Restore::end(&settings.directory)?;
    Ok(Restored { backup, verified })
}

/// The line of the restore itself, in the log of the restored vault.
fn record(vault: &Vault, actor: Actor, is_whole: bool) -> Result<(), BackupError> {
    let outcome = if is_whole { Outcome::Success } else { Outcome::Failure("it is not whole") };
    let (action, object) = (Action::VaultRestore, "vault".into());
    let event = Event { action, actor, merchant: None, object, outcome, origin: None };
    Ok(wait(vault.audit().record(event))?)
}

fn open(file: &Path) -> Result<BackupReader<BufReader<File>>, BackupError> {
    BackupReader::new(BufReader::new(File::open(file)?))
}

/// Reads the whole backup, and its keys with the token.
fn genuine(file: &Path, settings: &Settings) -> Result<(BackupCheck, End), BackupError> {
    let mut keys = KeyRows(BTreeMap::new());
    let (check, end) = open(file)?.each(|row| keys.take(row))?;
    let (_hsm, keyring) = open_keys(&keys, settings, Age::Unasked)?;
    let keeper = Keeper::of(&keyring)?;
    if keeper.wrote_backup(&end.sum, &end.rows, &end.ledger, &end.mac) {
        Ok((check, end))
    } else {
        Err(BackupError::Forged)
    }
}

// === impl KeyRows ===

impl KeyRows {
    const WANTED: [Collection; 2] = [Collection::Meta, Collection::Keys];

    fn take(&mut self, Row { tree, key, record }: Row<'_>) -> Result<(), BackupError> {
        let wanted = Self::WANTED.into_iter().map(Collection::name).find(|name| *name == tree);
        let Some(name) = wanted else { return Ok(()) };
        let Some(record) = record else {
            self.0.remove(&(name, key.to_vec()));
            return Ok(());
        };
        let raw = RawRow { tree: name, key: key.to_vec(), record: Some(record.to_vec()) };
        // Keys fit into one record each; what does not is no key.
        let value =
            raw.whole().ok().flatten().ok_or(OpenError::Damaged { what: "list of keys" })?;
        self.0.insert((name, raw.key.clone()), value.to_vec());
        Ok(())
    }
}

impl Store for KeyRows {
    fn get(&self, collection: Collection, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.get(&(collection.name(), key.to_vec())).cloned())
    }

    fn page(
        &self,
        collection: Collection,
        after: Option<&[u8]>,
        prefix: &[u8],
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let fits = |name: &str, key: &[u8]| {
            name == collection.name()
                && key.starts_with(prefix)
                && after.is_none_or(|after| key > after)
        };
        let rows = self.0.iter().filter(|((name, key), _)| fits(name, key));
        Ok(rows.map(|((_, key), value)| (key.clone(), value.clone())).take(limit).collect())
    }

    fn put_if_absent(&self, _: Collection, _: Vec<u8>, _: Vec<u8>) -> Pending<'_, bool> {
        Box::pin(async { Err(StoreError::Unavailable) })
    }

    fn compare_and_swap(
        &self,
        _: Collection,
        _: Vec<u8>,
        _: Option<Vec<u8>>,
        _: Option<Vec<u8>>,
    ) -> Pending<'_, bool> {
        Box::pin(async { Err(StoreError::Unavailable) })
    }

    fn swap_all(&self, _: Vec<Swap>) -> Pending<'_, bool> {
        Box::pin(async { Err(StoreError::Unavailable) })
    }

    fn batch(&self, _: Vec<Write>) -> Pending<'_, ()> {
        Box::pin(async { Err(StoreError::Unavailable) })
    }

    fn durable(&self) -> Pending<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

impl fmt::Debug for KeyRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRows({})", self.0.len())
    }
}

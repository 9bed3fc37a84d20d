//! Deletion that destroys.
//!
//! A row that is deleted is gone at once, and stays, sealed, in old pages and old logs of the store
//! until their room is used again. It opens there as long as its data key lives. So in the same write
//! each key that may have sealed it is marked with the time, unless it bears the mark of an earlier
//! deletion. [`KeySettings::shred_after`] later another key takes the place of a marked one, as in
//! every rotation, and the marked one is destroyed: then the deletion is final.
//!
//! [`KeySettings::shred_after`]: crate::KeySettings::shred_after

use crate::keyring::MerchantKeys;
use crate::seal::{Dek, DekId, Purpose};
use crate::store::{Collection, Store, Swap, Write};
use crate::{StoreError, UnixMillis, UnixSeconds, Vault};
use model::MerchantId;
use std::sync::Arc;

/// Where in [`Collection::Meta`] it stands since when a record of a key is deleted.
pub(crate) const MARK: &[u8] = b"deleted\0";

/// A row that goes, or one in whose place another comes.
pub(crate) struct Going {
    pub(crate) collection: Collection,
    pub(crate) key: Vec<u8>,
    pub(crate) old: Vec<u8>,
    pub(crate) new: Option<Vec<u8>>,
}

fn mark_row(id: DekId) -> Vec<u8> {
    [MARK, &id.0].concat()
}

/// Since when a record of the key is deleted, as the store has it.
pub(crate) fn mark_of(store: &dyn Store, id: DekId) -> Result<Option<UnixSeconds>, StoreError> {
    let mark = store.get(Collection::Meta, &mark_row(id))?;
    Ok(mark.and_then(|mark| mark.try_into().ok()).map(UnixSeconds::from_be_bytes))
}

/// Takes the mark of a key away that is destroyed.
pub(crate) fn unmark(id: DekId) -> Write {
    Write::Delete { collection: Collection::Meta, key: mark_row(id) }
}

// === impl Vault ===

impl Vault {
    /// Deletes a record of a merchant for good, and says whether there was one. Either answer is
    /// durable.
    pub(crate) async fn delete_record(
        &self,
        (merchant, purpose): (&MerchantId, Purpose),
        (collection, key): (Collection, Vec<u8>),
        now: UnixMillis,
    ) -> Result<bool, StoreError> {
        loop {
            // Before the row is read, see `keys_of`: no other key seals it as long as they are held.
            let keys = self.keys_of(merchant).ok();
            let Some(old) = self.store.get(collection, &key)? else { break };
            let going = Going { collection, key: key.clone(), old, new: None };
            // A row that is sealed anew while it is read is still the same row.
            if self.let_go(keys.as_deref(), purpose, going, now).await? {
                return Ok(true);
            }
        }
        self.store.durable().await.map(|()| false)
    }

    /// Swaps a row whose old form must open no more one day, and marks the keys that it may be under:
    /// all of `keys` that sealed anything. False when the row is not as it was read. Callers took the
    /// keys before that, and hold them; there are none of who was shredded, or is locked up, nor where
    /// nothing is lost with the old form.
    pub(crate) async fn let_go(
        &self,
        keys: Option<&MerchantKeys>,
        purpose: Purpose,
        Going { collection, key, old, new }: Going,
        now: UnixMillis,
    ) -> Result<bool, StoreError> {
        let mut swaps = vec![Swap { collection, key, old: Some(old), new }];
        let keys =
            keys.and_then(|keys| keys.find(purpose)).into_iter().flat_map(|keys| keys.iter());
        for dek in keys.filter(|dek| dek.seals() > 0) {
            swaps.extend(self.mark(dek, now.checked_div(1_000).unwrap_or_default())?);
        }
        self.store.swap_all(swaps).await
    }

    /// What marks a key that is not marked yet.
    fn mark(&self, dek: &Arc<Dek>, now: UnixSeconds) -> Result<Option<Swap>, StoreError> {
        let marked = mark_of(&*self.store, dek.id())?;
        // Noted before it is done: nobody may be left to note it then, and what was not done after
        // all costs an exchange too many.
        dek.note_deletion(marked.unwrap_or(now));
        let mark = Swap {
            collection: Collection::Meta,
            key: mark_row(dek.id()),
            old: None,
            new: Some(now.to_be_bytes().to_vec()),
        };
        Ok(marked.is_none().then_some(mark))
    }
}

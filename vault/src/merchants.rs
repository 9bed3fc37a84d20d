//! The merchants, each with keys of its own.

use crate::keyring::{DEKS_MAX, Keyring};
use crate::store::{Collection, Entry, PAGE_ENTRIES_MAX, Store, Write};
use crate::{OpenError, StoreError, UnixSeconds, Vault, VaultError};
use model::MerchantId;

/// How many merchants there may be.
pub const MERCHANTS_MAX: usize = 10_000;

/// What there is to say of a merchant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MerchantBrief {
    pub id: MerchantId,
    pub created: UnixSeconds,
}

/// Whether something was made or was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    New,
    Existing,
}

/// Refuses a store in which a merchant has lost its keys.
pub(crate) fn check(store: &dyn Store, keyring: &Keyring) -> Result<(), OpenError> {
    for merchant in read(store)?.ok_or(OpenError::Damaged { what: "list of merchants" })? {
        keyring
            .has(&merchant.id)
            .then_some(())
            .ok_or(OpenError::Damaged { what: "list of keys" })?;
    }
    Ok(())
}

/// Every merchant, by name; nothing when a row is not in its form.
fn read(store: &dyn Store) -> Result<Option<Vec<MerchantBrief>>, StoreError> {
    let mut rows: Vec<Entry> = Vec::new();
    loop {
        let after = rows.last().map(|(key, _)| key.clone());
        let page = store.page(Collection::Merchants, after.as_deref(), b"", PAGE_ENTRIES_MAX)?;
        if page.is_empty() {
            return Ok(rows.iter().map(brief).collect());
        }
        rows.extend(page);
    }
}

/// Whose row this is and what stands after the name. A merchant's name has no NUL.
pub(crate) fn split_row(key: &[u8]) -> Option<(MerchantId, &str)> {
    let (merchant, rest) = str::from_utf8(key).ok()?.split_once('\0')?;
    Some((MerchantId::parse(merchant).ok()?, rest))
}

fn brief((key, value): &Entry) -> Option<MerchantBrief> {
    let id = MerchantId::parse(str::from_utf8(key).ok()?).ok()?;
    let created = UnixSeconds::from_be_bytes(value.as_slice().try_into().ok()?);
    Some(MerchantBrief { id, created })
}

// === impl Vault ===

impl Vault {
    /// Makes a merchant and its keys.
    pub async fn create_merchant(
        &self,
        id: &MerchantId,
        now: UnixSeconds,
    ) -> Result<Created, VaultError> {
        let _one_at_a_time = self.changes.lock().await;
        match self.keyring.merchant(id) {
            Ok(_) => return Ok(Created::Existing),
            Err(VaultError::NoSuchMerchant) => {}
            Err(error) => return Err(error),
        }
        if self.keyring.merchants() >= MERCHANTS_MAX {
            return Err(VaultError::TooMany { what: "merchants", max: MERCHANTS_MAX });
        }
        let merchant = Write::Put {
            collection: Collection::Merchants,
            key: id.as_str().as_bytes().to_vec(),
            value: now.to_be_bytes().to_vec(),
        };
        self.make_merchant_keys(id, now, merchant).await?;
        Ok(Created::New)
    }

    /// Whether the row of a merchant is one, and has its keys.
    pub(crate) fn merchant_holds(&self, key: &[u8], value: &[u8]) -> bool {
        let brief = brief(&(key.to_vec(), value.to_vec()));
        brief.is_some_and(|brief| self.keyring.has(&brief.id))
    }

    /// All merchants, by name.
    pub fn merchants(&self) -> Result<Vec<MerchantBrief>, VaultError> {
        read(&*self.store)?.ok_or(VaultError::Store(StoreError::Corrupt))
    }
}

const _: () = assert!(MERCHANTS_MAX * 3 < DEKS_MAX, "every merchant's keys fit into memory");

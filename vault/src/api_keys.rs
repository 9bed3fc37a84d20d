//! API keys: shown once, kept as keyed hashes.

use crate::{UnixSeconds, Vault, VaultError};
use model::{KeyId, MerchantId, Principal, Scope, Secret};
use std::sync::Arc;

/// What a new key is for.
#[derive(Clone, Debug)]
pub struct KeySpec {
    pub name: Box<str>,
    pub sandbox: bool,
    pub scopes: Vec<Scope>,
    /// The first second in which the key is no longer good.
    pub expires: Option<UnixSeconds>,
}

/// A new key. Its text is not to be had again.
#[derive(Debug)]
pub struct IssuedKey {
    pub id: KeyId,
    pub key: Secret,
}

/// What there is to say of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyBrief {
    pub id: KeyId,
    pub name: Box<str>,
    pub sandbox: bool,
    pub scopes: Vec<Scope>,
    pub created: UnixSeconds,
    pub expires: Option<UnixSeconds>,
}

// === impl Vault ===

impl Vault {
    /// Makes a key for a merchant.
    pub async fn create_key(
        &self,
        _merchant: &MerchantId,
        _spec: KeySpec,
        _now: UnixSeconds,
    ) -> Result<IssuedKey, VaultError> {
        Err(VaultError::NoSuchMerchant)
    }

    /// The keys of a merchant, by id.
    pub fn keys(&self, _merchant: &MerchantId) -> Result<Vec<KeyBrief>, VaultError> {
        Err(VaultError::NoSuchMerchant)
    }

    /// Takes a key out of use, at once. False when there is none.
    pub async fn revoke_key(&self, _id: &KeyId) -> Result<bool, VaultError> {
        Err(VaultError::NoSuchMerchant)
    }

    /// Whose key this is, if it is one and is good.
    pub fn authenticate(&self, _presented: &[u8], _now: UnixSeconds) -> Option<Arc<Principal>> {
        None
    }
}

//! A merchant's accounts at payment gateways.

use crate::{UnixMillis, Vault, VaultError};
use model::{AccountName, Credentials, MerchantId};

/// What there is to say of an account without its credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountBrief {
    pub name: AccountName,
    pub gateway: Box<str>,
    /// When the account was first put; a replacement keeps it.
    pub created: UnixMillis,
}

/// An account with its credentials in the clear.
#[derive(Debug)]
pub struct Account {
    pub brief: AccountBrief,
    pub credentials: Credentials,
}

// === impl Vault ===

impl Vault {
    /// Adds an account, or replaces the whole of it.
    pub async fn put_account(
        &self,
        _merchant: &MerchantId,
        _name: &AccountName,
        _gateway: &str,
        _credentials: Credentials,
        _now: UnixMillis,
    ) -> Result<AccountBrief, VaultError> {
        Err(VaultError::NoSuchMerchant)
    }

    /// An account with its credentials.
    pub fn account(
        &self,
        _merchant: &MerchantId,
        _name: &AccountName,
    ) -> Result<Option<Account>, VaultError> {
        Err(VaultError::NoSuchMerchant)
    }

    /// The accounts of a merchant, by name.
    pub fn accounts(&self, _merchant: &MerchantId) -> Result<Vec<AccountBrief>, VaultError> {
        Err(VaultError::NoSuchMerchant)
    }

    /// Deletes an account. False when there is none.
    pub async fn delete_account(
        &self,
        _merchant: &MerchantId,
        _name: &AccountName,
    ) -> Result<bool, VaultError> {
        Err(VaultError::NoSuchMerchant)
    }
}

//! The merchants.

use crate::{UnixSeconds, Vault, VaultError};
use model::MerchantId;

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

// === impl Vault ===

impl Vault {
    /// Makes a merchant and its keys.
    pub async fn create_merchant(
        &self,
        _id: &MerchantId,
        _now: UnixSeconds,
    ) -> Result<Created, VaultError> {
        Err(VaultError::NoSuchMerchant)
    }

    /// All merchants, by name.
    pub fn merchants(&self) -> Result<Vec<MerchantBrief>, VaultError> {
        Err(VaultError::NoSuchMerchant)
    }
}

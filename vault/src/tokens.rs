//! String tokens: names for texts that the vault keeps.

use crate::{CardError, UnixMillis, Vault, VaultError};
use model::{Card, CardRef, CardToken, MerchantId, Operation, Secret};

/// What there is to say of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenMeta {
    pub token: CardToken,
    pub created: UnixMillis,
}

// === impl Vault ===

impl Vault {
    /// Keeps a text of 1 to 16,384 bytes and gives it a name.
    ///
    /// A text that could be a card verification value (three or four digits) is kept in memory
    /// only, for minutes, until it is used once in [`Vault::open_card`], and is never shown.
    pub async fn keep(
        &self,
        _merchant: &MerchantId,
        _payload: Secret,
        _now: UnixMillis,
    ) -> Result<TokenMeta, VaultError> {
        Err(VaultError::NoSuchMerchant)
    }

    /// The text behind a token. A card verification value is never shown: its token is as absent.
    pub fn token(
        &self,
        _merchant: &MerchantId,
        _token: &CardToken,
    ) -> Result<Option<(Secret, TokenMeta)>, VaultError> {
        Err(VaultError::NoSuchMerchant)
    }

    /// What there is to say of a token.
    pub fn token_meta(
        &self,
        _merchant: &MerchantId,
        _token: &CardToken,
    ) -> Result<Option<TokenMeta>, VaultError> {
        Err(VaultError::NoSuchMerchant)
    }

    /// Deletes a token and its text. False when there is none.
    pub async fn forget(
        &self,
        _merchant: &MerchantId,
        _token: &CardToken,
    ) -> Result<bool, VaultError> {
        Err(VaultError::NoSuchMerchant)
    }

    /// Puts the card itself where its tokens stand. Uses up a token of a card verification value.
    pub fn open_card(
        &self,
        _merchant: &MerchantId,
        _operation: Operation<CardRef>,
    ) -> Result<Operation<Card>, CardError> {
        Err(CardError::Vault(VaultError::NoSuchMerchant))
    }
}

//! Every durable byte and every key.
//!
//! The vault keeps merchants, API keys, gateway accounts and string tokens. What is secret is
//! sealed with keys that a hardware security module wraps; without the module nothing opens, and
//! there is no mode without it. It is the only crate that opens files of data, and the only one
//! that makes an `Operation<Card>`.
//!
//! What does not belong here: HTTP, providers, and every decision about a payment.

mod accounts;
mod api_keys;
mod error;
mod figures;
mod harden;
mod hsm;
mod merchants;
pub mod store;
mod tokens;

pub use accounts::{Account, AccountBrief};
pub use api_keys::{IssuedKey, KeyBrief, KeySpec};
pub use error::{CardError, HsmError, OpenError, VaultError};
pub use figures::{Figures, Health};
pub use harden::{Hardening, harden_process};
pub use merchants::{Created, MerchantBrief};
pub use tokens::TokenMeta;

use model::Secret;
use std::path::{Path, PathBuf};

/// Seconds since 1970-01-01T00:00:00Z.
pub type UnixSeconds = u64;
/// Milliseconds since 1970-01-01T00:00:00Z.
pub type UnixMillis = u64;

/// Why the store did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error("unavailable")]
    Unavailable,
}

/// Where the vault is, and how its token is reached.
#[derive(Debug)]
pub struct Settings {
    pub directory: PathBuf,
    /// How much memory the store may use for pages.
    pub cache_bytes: u64,
    /// The PKCS#11 library.
    pub module: PathBuf,
    pub token_label: String,
    pub pin: Secret,
}

/// What [`Vault::init`] made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitReport {
    /// The id of the key in the token that wraps all others, in hex.
    pub kek: Box<str>,
    pub token_label: Box<str>,
    pub token_serial: Box<str>,
}

/// An open vault. It is shared behind an `Arc`.
#[derive(Debug)]
pub struct Vault(());

// === impl Vault ===

impl Vault {
    /// Makes a vault: a key inside the token, which must be initialised, and an empty store.
    ///
    /// # Errors
    /// Refuses when there is a vault in the directory already.
    pub fn init(settings: &Settings) -> Result<InitReport, OpenError> {
        Err(unfinished(settings))
    }

    /// Makes a token in the first free slot, with a PIN for its security officer and one for us.
    ///
    /// # Errors
    /// Refuses when a token with the label exists.
    pub fn init_token(
        module: &Path,
        _label: &str,
        _so_pin: &Secret,
        _pin: &Secret,
    ) -> Result<(), OpenError> {
        Err(OpenError::Module { path: module.into(), problem: "unfinished".into() })
    }

    /// Opens the vault, which takes the token, the PIN, the key in the token and the store.
    ///
    /// # Errors
    /// Each says what to do.
    pub fn open(settings: &Settings) -> Result<Self, OpenError> {
        Err(unfinished(settings))
    }

    /// Whether the store and the token work, as of the last look at them.
    pub fn health(&self) -> Health {
        Health::default()
    }

    /// What the vault did since it was opened.
    pub fn figures(&self) -> Figures {
        Figures::default()
    }
}

fn unfinished(settings: &Settings) -> OpenError {
    OpenError::NoStore { directory: settings.directory.clone() }
}

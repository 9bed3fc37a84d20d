//! What can go wrong, divided by what the caller does about it.
//!
//! No variant holds a secret or a text from outside, except names that the operator chose.

use crate::StoreError;
use crate::audit::AuditError;
use std::path::PathBuf;

/// Why the vault does not open. Each text says what is wrong and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The PKCS#11 library cannot be loaded.
    #[error(
        "the PKCS#11 module {} cannot be used: {problem}; install it (for SoftHSM on Debian: \
         apt-get install softhsm2) or correct vault.module",
        path.display()
    )]
    Module { path: PathBuf, problem: Box<str> },
    /// No token has the label.
    #[error(
        "no token has the label `{label}`; make one with `orchestra vault init --create-token`, or \
         correct vault.token_label (SoftHSM finds its tokens by the file that SOFTHSM2_CONF names)"
    )]
    NoToken { label: Box<str> },
    /// Several tokens have the label, and guessing could pick the wrong key.
    #[error("{found} tokens have the label `{label}`; give one of them another label")]
    TokenAmbiguous { label: Box<str>, found: usize },
    /// A token has the label already.
    #[error(
        "a token with the label `{label}` exists already and is left alone; to use it, leave out \
         --create-token, or use another label"
    )]
    TokenExists { label: Box<str> },
    /// Every slot has a token.
    #[error("no slot is free for a new token; add a slot or use an initialised token")]
    NoFreeSlot,
    /// The label does not fit into a token.
    #[error(
        "a token's label has 1 to 32 characters of ASCII and does not end in a space; choose another vault.token_label"
    )]
    Label,
    /// The token refused the PIN. It was tried once and is not tried again, so as not to lock it.
    #[error("the token `{label}` refused the PIN; correct what vault.pin names")]
    Pin { label: Box<str> },
    /// The token is locked after wrong PINs.
    #[error("the token `{label}` is locked after wrong PINs; let its security officer unlock it")]
    PinLocked { label: Box<str> },
    /// The token does not take PINs of this length.
    #[error("the token takes PINs of {min} to {max} characters; choose another")]
    PinLength { min: usize, max: usize },
    /// The key that wraps the others is not in the token.
    #[error(
        "the token `{label}` does not hold the key {kek} that the vault's keys are wrapped with; \
         use the token with which the vault was made, or restore it from the module's backup"
    )]
    NoKek { label: Box<str>, kek: Box<str> },
    /// The key that wraps the others could leave the token, so the vault does not trust it.
    #[error(
        "the key {kek} in the token `{label}` can be extracted; it was not made by \
         `orchestra vault init`: use the token with which the vault was made"
    )]
    WeakKek { label: Box<str>, kek: Box<str> },
    /// The token refused a call that it should not refuse. The text names function and code.
    #[error("the token failed: {problem}; see the documentation and the log of the module")]
    Token { problem: Box<str> },
    /// The token does not answer as it should.
    #[error("the token failed: {0}; see the log of the module")]
    Hsm(#[from] HsmError),
    /// The store does not open, or is not made.
    #[error(transparent)]
    Store(#[from] crate::store::OpenError),
    /// The files of the audit log cannot be used.
    #[error(
        "the audit log in {} cannot be opened: {source}; the vault does not open without it: see to \
         its owner, its permissions and the room on its disk",
        directory.display()
    )]
    AuditFiles {
        directory: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The audit log does not take the line that says that it begins.
    #[error("{0}; the vault does not open without it: see to the disk of the audit log")]
    Audit(#[from] AuditError),
    /// The store opened, and failed while the vault read it.
    #[error("the store failed: {0}; check the disk, or restore a backup")]
    Read(#[from] StoreError),
    /// The system gives no thread.
    #[error("the system gives no thread; raise the limit of processes of this user")]
    NoThread,
    /// The store was written by a version that this one does not know.
    #[error(
        "the vault has format {found} and this program knows format {known}: use the version of \
         orchestra that wrote it"
    )]
    Format { found: u32, known: u32 },
    /// A wrapped key does not unwrap: it was changed, or moved from another owner or purpose.
    #[error(
        "the key {key} (owner {owner}, purpose {purpose}, version {version}) does not unwrap: its \
         row was changed or moved; restore the store from a backup, and find out who wrote to it"
    )]
    WrappedKey { key: Box<str>, owner: Box<str>, purpose: &'static str, version: u32 },
    /// The key table is not the one that the vault left.
    #[error(
        "the list of keys is not as the vault left it: a row was changed, put back, added or taken \
         away; restore the store from a backup, and find out who wrote to it"
    )]
    KeyTable,
    /// The whole store is older than what the token remembers of it.
    #[error(
        "the store is older than the token remembers (its list of keys is at {found}, the token \
         says {told}): somebody put an old copy in its place. If that was you, with a backup, say \
         so with `orchestra vault accept-restored`"
    )]
    RolledBack { found: u64, told: u64 },
    /// A row that the vault cannot do without is missing or not in its form.
    #[error("the vault's {what} is missing or damaged; restore the store from a backup")]
    Damaged { what: &'static str },
    /// The vault is open, and what was to be done with it was not.
    #[error("{0}")]
    Vault(#[from] VaultError),
    /// A vault that has custodians is put back without the word of one.
    #[error(
        "this vault has custodians, and it takes the words of two of them to accept an older copy of \
         it: say who with `--custodian NAME`"
    )]
    NoWord,
    /// There is more in the store than the vault keeps in memory.
    #[error("the vault holds more than {max} {what}; this version keeps no more in memory")]
    TooMany { what: &'static str, max: usize },
}

/// Why the vault did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// The store did not do it.
    #[error("the store failed: {0}")]
    Store(#[from] StoreError),
    /// A record does not open: it was changed, moved, or sealed with a key that is gone. It is
    /// never read in part. An operator must look.
    #[error("a sealed record of the {what} does not open")]
    Sealed { what: &'static str },
    /// The audit log did not take the line that must stand there first. Nothing was done, or what
    /// was done is not answered.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The token did not do it. What needs no new key goes on.
    #[error("the hardware security module failed: {0}")]
    Hsm(#[from] HsmError),
    /// What is kept beside a token must not look like a card.
    #[error("metadata may not hold what could be a card number")]
    CardLike,
    /// A card verification value is held for minutes and for one use, on no other terms.
    #[error("a card verification value takes no time to live, bindings or metadata")]
    NoTerms,
    /// There is no such merchant.
    #[error("there is no such merchant")]
    NoSuchMerchant,
    /// The merchant was deleted, and its keys destroyed. Nothing of it opens any more.
    #[error("the merchant was deleted: its keys are destroyed, and nothing of it can be opened")]
    Shredded,
    /// The token has been away for longer than the operator allows, so the keys are out of memory.
    /// They come back with it.
    #[error("the hardware security module has been away for too long, and the keys are locked up")]
    Locked,
    /// A rotation is under way, and there is one at a time.
    #[error("a rotation of keys is under way; wait until it has ended")]
    Rotating,
    /// Nobody has this name and this secret, or there were too many wrong ones.
    #[error(
        "that is not the name and the secret of a custodian; after ten wrong ones in a row, wait \
         for half an hour"
    )]
    Custodian,
    /// Their word counts, or will without another approval.
    #[error("the custodian is approved already, or needs no approval")]
    CustodianApproved,
    /// There is one of this name.
    #[error("there is a custodian of this name")]
    CustodianExists,
    /// The secret of a custodian is too short or too long.
    #[error("a custodian's secret has 12 to 256 bytes")]
    CustodianSecret,
    /// They became one a short time ago, when there were others.
    #[error(
        "the word of a new custodian counts 72 hours after they became one, once another has \
         approved them (`orchestra custodians approve`), and 30 days after it if nobody does"
    )]
    NewCustodian,
    /// There is none of this name.
    #[error("there is no custodian of this name")]
    NoCustodian,
    /// What takes two of them is asked for where there are none.
    #[error(
        "this takes the words of two custodians, and there are none: have two people run `orchestra \
         custodians add NAME`, and say it again with `--custodian NAME`, each of them"
    )]
    NoCustodians,
    /// The first approval is theirs as well.
    #[error("the first approval is of the same custodian; another one must give the second")]
    SameCustodian,
    /// There is no such key.
    #[error("there is no such key")]
    NoSuchKey,
    /// A key that is in use, or wraps other keys, cannot be destroyed.
    #[error("the key is in use, or keys are still wrapped with it; rotate it first")]
    KeyInUse,
    /// A payment would go on from an attempt that may have done something. It is a mistake of ours,
    /// and nothing was written.
    #[error("a payment goes on only from attempts that certainly did nothing")]
    NotNothing,
    /// One more would be over the maximum.
    #[error("there may be at most {max} {what}")]
    TooMany { what: &'static str, max: usize },
    /// The value is empty or too long.
    #[error("{what} must have 1 to {max} bytes")]
    Size { what: &'static str, max: usize },
}

/// Why a card does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CardError {
    /// The merchant named a token that cannot stand there. `name` is the API's name of the field.
    #[error("{name}: {problem}")]
    Field { name: &'static str, problem: &'static str },
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// Why the hardware security module did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HsmError {
    /// It did not answer in time; whether it did the work is not known.
    #[error("no answer within {} s", crate::hsm::CALL_DEADLINE.as_secs())]
    Deadline,
    /// It has too much to do.
    #[error("too many calls are waiting")]
    Busy,
    /// The connection was lost and could not be made again.
    #[error("the connection is lost")]
    Away,
    /// It does not accept our PIN any more; it is not asked again.
    #[error("the PIN is refused")]
    Pin,
    /// It refused the call: for an unwrap, the wrapped key is not genuine.
    #[error("the call was refused")]
    Refused,
}

//! Every durable byte and every key.
//!
//! The vault keeps merchants, API keys, gateway accounts and string tokens. What is secret is
//! sealed with keys that a hardware security module wraps; without the module nothing opens, and
//! there is no mode without it. It is the only crate that opens files of data, and the only one
//! that makes an `Operation<Card>`.
//!
//! What does not belong here: HTTP, providers, and every decision about a payment.

// So that what tests from outside build on serves the ones from within as well.
#[cfg(test)]
extern crate self as vault;

mod accounts;
mod api_keys;
pub mod audit;
mod backup;
mod custodians;
mod cvvs;
mod deletion;
mod error;
mod figures;
mod frame;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod freed;
mod harden;
mod hsm;
mod integrity;
mod key_life;
mod keyring;
mod locked;
mod merchants;
pub mod payments;
mod random;
mod rotation;
mod seal;
#[cfg(test)]
#[expect(dead_code, clippy::panic_in_result_fn, reason = "a part of it is used, by tests only")]
#[path = "../tests/vault/stage.rs"]
mod stage;
pub mod store;
mod tender;
mod terms;
mod tokens;

pub use accounts::staged::{PERCENT_MAX, Pick, Staged, Step};
pub use accounts::{ACCOUNTS_MAX, Account, AccountBrief};
pub use api_keys::{IssuedKey, KEY_NAME_BYTES_MAX, KEYS_MAX, KeyBrief, KeySpec};
pub use backup::{
    BACKUP_FORMAT, BackupCheck, BackupError, BackupReader, BackupReport, CHUNK_BYTES_MAX, Restored,
    check_backup, restore,
};
pub use custodians::{
    APPROVAL_S, Approval, CUSTODIAN_NAME_BYTES_MAX, CUSTODIAN_SECRET_BYTES_MAX,
    CUSTODIAN_SECRET_BYTES_MIN, CUSTODIANS_MAX, CustodianBrief, Deed, NEWCOMER_S, UNAPPROVED_S,
};
pub use cvvs::CvvLoan;
pub use error::{CardError, HsmError, OpenError, VaultError};
pub use figures::{Figures, Health};
pub use harden::{Hardening, harden_process};
pub use integrity::{FINDINGS_MAX, Finding, VerifyReport};
pub use key_life::{KeyLine, KeySettings, WrapMechanism};
pub use keyring::table::KeyState;
pub use merchants::{Created, MERCHANTS_MAX, MerchantBrief};
pub use rotation::{Progress, Tended};
pub use store::{StoreError, wait};
pub use tender::Tender;
pub use terms::{
    BINDINGS_MAX, Binding, METADATA_KEY_BYTES_MAX, METADATA_PAIRS_MAX, METADATA_VALUE_BYTES_MAX,
    TIME_TO_LIVE_S_MAX, Terms, is_card_like,
};
pub use tokens::{CardFacts, PAYLOAD_BYTES_MAX, SweepCursor, TokenMeta, Use};

use accounts::recent::Recent;
use api_keys::ApiKeys;
use audit::{Action, Audit, Who};
use cvvs::{Cvvs, Sweeper};
use figures::Counts;
use hsm::{Access, Hsm, Kek};
use integrity::Keeper;
use keyring::table::Table;
use keyring::{Age, Keyring, MerchantKeys};
use model::{MerchantId, Secret};
use rotation::Rotations;
use seal::{Deks, Place};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use store::{Collection, SledStore, Store, Write};
use zeroize::Zeroizing;

/// Seconds since 1970-01-01T00:00:00Z.
pub type UnixSeconds = u64;
/// Milliseconds since 1970-01-01T00:00:00Z.
pub type UnixMillis = u64;

/// The form in which the vault writes its rows.
const FORMAT: u32 = 4;
/// The row of [`Collection::Meta`] that names the vault, and the key in the token.
const VAULT_ROW: &[u8] = b"vault";
/// The row of [`Collection::Meta`] that remembers the last line of the audit log's newest head.
const AUDIT_ROW: &[u8] = b"audit-head";
/// Where that is sealed.
const AUDIT_PLACE: Place<'_> =
    Place { owner: keyring::SYSTEM, record: "audit-head", field: "tail", version: 1 };

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
    pub audit: audit::Settings,
    pub keys: KeySettings,
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
pub struct Vault {
    /// First, since what is dropped first is closed first.
    audit: Audit,
    store: Arc<SledStore>,
    hsm: Hsm,
    keyring: Keyring,
    api_keys: ApiKeys,
    cvvs: Arc<Cvvs>,
    recent: Arc<Recent>,
    journal: Arc<payments::Journal>,
    _sweeper: Sweeper,
    counts: Counts,
    keeper: Arc<Keeper>,
    settings: KeySettings,
    rotations: Rotations,
    /// Held while seals of a key are reserved.
    reserving: tokio::sync::Mutex<()>,
    /// Held while the lists in memory are changed, so that their maxima hold, and while an account is.
    changes: tokio::sync::Mutex<()>,
}

// === impl Vault ===

impl Vault {
    /// Makes a vault: a key inside the token, which must be initialised, and an empty store.
    ///
    /// # Errors
    /// Refuses when there is a vault in the directory already.
    pub fn init(settings: &Settings) -> Result<InitReport, OpenError> {
        let access = Access::new(settings);
        // Before anything is made, so that a wrong PIN leaves nothing behind.
        hsm::check_access(&access)?;
        let serial = hsm::serial(&access)?;
        let store = SledStore::create(&settings.directory, settings.cache_bytes)?;
        let kek = Kek::new(settings.keys.wrap);
        let hsm = Hsm::found(access, kek, settings.keys.manner())?;
        let id = random::bytes();
        let first = keyring::make_first(&hsm, kek, vault_row(id, &kek), key_life::now())?;
        let anchor = first.sealed.anchor().bytes();
        wait(store.batch(first.sealed.writes()))?;
        integrity::begin(&store, first.integrity)?;
        hsm.set_anchor(id.to_vec(), anchor)?;
        // Last, so that what has this row is complete, and its log begins with who made it.
        let row = vec![vault_write(id, &kek)];
        begin_audit(Arc::new(store), first.audit, settings, (&kek, row))?;
        Ok(InitReport {
            kek: kek.to_string().into(),
            token_label: settings.token_label.as_str().into(),
            token_serial: serial,
        })
    }

    /// Makes a token in the first free slot, with a PIN for its security officer and one for us.
    ///
    /// # Errors
    /// Refuses when a token with the label exists.
    pub fn init_token(
        module: &Path,
        label: &str,
        so_pin: &Secret,
        pin: &Secret,
    ) -> Result<(), OpenError> {
        hsm::init_token(module, label, so_pin, pin)
    }

    /// Opens the vault, which takes the token, the PIN, the key in the token and the store.
    ///
    /// # Errors
    /// Each says what to do.
    pub fn open(settings: &Settings) -> Result<Self, OpenError> {
        Self::open_as(Self::store(settings)?, settings, Age::AsRemembered)
    }

    /// Opens a vault that was restored from a backup, which is older than the token remembers, and
    /// lets the token forget what came after it. Both are in the audit log first.
    fn open_restored_by(settings: &Settings, who: &Who) -> Result<Self, OpenError> {
        let store = SledStore::open_restored(&settings.directory, settings.cache_bytes)?;
        let vault = Self::open_as(store, settings, Age::Unasked)?;
        wait(vault.accept_age("vault", who))?;
        Ok(vault)
    }

    /// Lets the token believe a vault that is older than it remembers, because its files were put back,
    /// on the words of two of its custodians. Of a vault that has none, the operator's is enough.
    ///
    /// # Errors
    /// As [`Self::open`] and [`Self::approve`].
    pub fn accept_restored(
        settings: &Settings,
        custodian: Option<(&str, &Secret)>,
        now: UnixSeconds,
    ) -> Result<Approval, OpenError> {
        let vault = Self::open_as(Self::store(settings)?, settings, Age::Unasked)?;
        let who = Who::this_user();
        match custodian {
            Some(custodian) => {
                Ok(wait(vault.approve(&Deed::AcceptRestored, custodian, &who, now))?)
            }
            None if vault.custodians()?.is_empty() => {
                wait(vault.accept_age("vault, which has no custodians", &who))?;
                Ok(Approval::Done { by: "nobody else".into() })
            }
            None => Err(OpenError::NoWord),
        }
    }

    /// Has the token believe the list of keys as it is.
    async fn accept_age(&self, object: &str, who: &Who) -> Result<(), VaultError> {
        let event = who.event(Action::VaultAcceptRestored, None, object);
        let believe = async { self.keyring.have_believed(&*self.store, &self.hsm) };
        self.audit.act(event, believe).await
    }

    fn store(settings: &Settings) -> Result<SledStore, store::OpenError> {
        SledStore::open(&settings.directory, settings.cache_bytes)
    }

    fn open_as(store: SledStore, settings: &Settings, age: Age) -> Result<Self, OpenError> {
        let store = Arc::new(store);
        let (hsm, keyring) = open_keys(&*store, settings, age)?;
        let keeper = integrity::resume(&store, &keyring)?;
        merchants::check(&*store, &keyring)?;
        let api_keys = ApiKeys::open(&*store, &keyring)?;
        let cvvs = Arc::new(Cvvs::default());
        let rotations = Rotations::open(&*store)?;
        let recent = Arc::new(Recent::default());
        let sweeper = sweeper(&cvvs, &recent).ok_or(OpenError::NoThread)?;
        let damaged = OpenError::Damaged { what: "list of keys" };
        let system = keyring.system().map_err(|_| damaged)?;
        let audit = open_audit(&store, &system.audit, settings)?;
        let vault = Self {
            audit,
            store,
            hsm,
            keyring,
            api_keys,
            cvvs,
            recent,
            journal: Arc::default(),
            _sweeper: sweeper,
            counts: Counts::default(),
            keeper,
            settings: settings.keys.clone(),
            rotations,
            reserving: tokio::sync::Mutex::default(),
            changes: tokio::sync::Mutex::default(),
        };
        vault.write_down_acceptance()?;
        vault.warn_of_old_kek();
        vault.find_open_payments()?;
        Ok(vault)
    }

    /// Says in the audit log that losses were accepted. Without the line the vault does not open,
    /// and the next opening says it.
    fn write_down_acceptance(&self) -> Result<(), OpenError> {
        let Some(store::Accepted { uid, loss }) = self.store.accepted() else { return Ok(()) };
        let object = loss.unwrap_or("nothing more");
        let event = Who::operator(uid).event(Action::VaultAcceptLoss, None, object);
        let end = async { self.store.end_acceptance().map_err(OpenError::from) };
        wait(self.audit.act(event, end))
    }

    /// Whether the store and the token work, as of the last look at them. It does not block.
    pub fn health(&self) -> Health {
        Health {
            audit: self.audit.works(),
            store: self.store.healthy(),
            hsm: self.hsm.works(),
            keys: !self.keyring.is_empty(),
        }
    }

    /// What the vault did since it was opened.
    pub fn figures(&self) -> Figures {
        let store = self.store.figures();
        let (hsm_calls, hsm_errors) = self.hsm.counts();
        let mut figures = Figures {
            audit: self.audit.figures(),
            commits: store.commits,
            commit_wait_sum_us: store.commit_wait_us_sum,
            commit_wait_max_us: store.commit_wait_us_max,
            commits_waiting: store.waiting,
            flushes: store.flushes,
            refused_full: store.refused_full,
            disk_bytes: store.disk_bytes,
            log_gaps: store.log_gaps,
            hsm_calls,
            hsm_errors,
            seals: self.counts.seals.total(),
            opens: self.counts.opens.total(),
            opens_refused: self.counts.opens_refused.total(),
            tokens_kept: self.counts.tokens_kept.total(),
            tokens_opened: self.counts.tokens_opened.total(),
            tokens_expired: self.counts.tokens_expired.total(),
            cvvs_in_memory: u64::try_from(self.cvvs.count()).unwrap_or(u64::MAX),
            backups: self.counts.backups.total(),
            backup_time: self.counts.backup_time.load(Relaxed),
            verifies: self.counts.verifies.total(),
            verifies_failed: self.counts.verifies_failed.total(),
            ledger: self.store.ledger_counter().unwrap_or_default(),
            ..Figures::default()
        };
        (figures.payments_open, figures.payments_in_doubt) = self.journal.counts();
        figures.payments_stray = self.journal.strays();
        (figures.custodians, figures.custodians_new) = self.custodian_figures(key_life::now());
        self.key_figures(&mut figures);
        self.rotation_figures(&mut figures);
        figures
    }

    /// The log of who did what.
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    /// Makes everything durable, refuses further writes, and lets go of the token.
    pub fn close(&self) {
        self.audit.close();
        self.store.close();
        self.hsm.close();
    }

    /// The keys of a merchant. Whoever opens a record asks for them, and holds on to them, before it
    /// reads the record: a rotation waits for that before it destroys the key of the record.
    fn keys_of(&self, merchant: &MerchantId) -> Result<Arc<MerchantKeys>, VaultError> {
        self.keyring.merchant(merchant)
    }

    fn unseal(
        &self,
        what: &'static str,
        keys: &Deks,
        place: Place<'_>,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        self.counts.opens.add();
        keys.open(place, sealed).map_err(|_| self.refused(what))
    }

    /// Counts a record that does not open, and says so.
    fn refused(&self, what: &'static str) -> VaultError {
        self.counts.opens_refused.add();
        VaultError::Sealed { what }
    }

    /// Deletes a row, and says whether there was one. Either answer is durable.
    async fn delete(&self, collection: Collection, key: Vec<u8>) -> Result<bool, StoreError> {
        #[cfg(test)]
        payments::simulation::breathe().await;
        // A row that is sealed anew while it is read is still the same row.
        while let Some(old) = self.store.get(collection, &key)? {
            if self.store.compare_and_swap(collection, key.clone(), Some(old), None).await? {
                return Ok(true);
            }
        }
        self.store.durable().await.map(|()| false)
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        // Who has given up waiting for the module left somebody behind who has not.
        self.hsm.close();
    }
}

/// Begins the audit log of a new vault with the lines that it is made, around the write that does it.
fn begin_audit(
    store: Arc<SledStore>,
    keys: Deks,
    settings: &Settings,
    (kek, row): (&Kek, Vec<Write>),
) -> Result<(), OpenError> {
    let audit = open_audit(&store, &keys, settings)?;
    let created = Who::this_user().event(Action::VaultCreate, None, kek.to_string());
    let write = async { Ok::<_, VaultError>(store.batch(row).await?) };
    wait(audit.act(created, write))?;
    audit.close();
    store.close();
    Ok(())
}

/// Opens the audit log, with the store as its memory. It keeps its key when the others are locked up,
/// since the line that says so must be signed too.
fn open_audit(
    store: &Arc<SledStore>,
    keys: &Deks,
    settings: &Settings,
) -> Result<Audit, OpenError> {
    let memory = audit::Memory {
        keys,
        remembered: remembered(&**store, keys)?,
        remember: remember(store.clone(), keys.active().clone()),
    };
    Audit::open(&settings.directory, &settings.audit, memory)
}

fn remembered(store: &dyn Store, keys: &Deks) -> Result<Option<audit::Tail>, OpenError> {
    let Some(sealed) = store.get(Collection::Meta, AUDIT_ROW)? else { return Ok(None) };
    let damaged = || OpenError::Damaged { what: "memory of the audit log" };
    let opened = keys.open(AUDIT_PLACE, &sealed).map_err(|_| damaged())?;
    let mut fields = frame::Fields::new(&opened);
    let sequence = fields.number().ok_or_else(damaged)?;
    let hash = fields.array().ok_or_else(damaged)?;
    fields.end().ok_or_else(damaged)?;
    Ok(Some(audit::Tail { sequence, hash }))
}

/// One seal every ten seconds at most: it needs no counting to stay below 2^32.
fn remember(store: Arc<SledStore>, key: Arc<seal::Dek>) -> audit::Remember {
    Box::new(move |tail| {
        let text = frame::frame(&[&tail.sequence.to_be_bytes(), &tail.hash]);
        let value = key.seal_uncounted(AUDIT_PLACE, &text);
        let (collection, key) = (Collection::Meta, AUDIT_ROW.to_vec());
        if wait(store.batch(vec![Write::Put { collection, key, value }])).is_err() {
            log::warn!("the newest head of the audit log is not remembered in the store");
        }
    })
}

/// Wipes from memory what is over its time.
fn sweeper(cvvs: &Arc<Cvvs>, recent: &Arc<Recent>) -> Option<Sweeper> {
    let (cvvs, recent) = (cvvs.clone(), recent.clone());
    Sweeper::start(move |now| {
        cvvs.sweep(now);
        recent.sweep(now);
    })
}

/// The token, and the keys that it unwraps of the table in `store`.
fn open_keys(
    store: &dyn Store,
    settings: &Settings,
    age: Age,
) -> Result<(Hsm, Keyring), OpenError> {
    let (row, id, kek) = own_row(store, &settings.directory)?;
    let table = Table::read(store, row)?;
    // The row of the vault and the table were written together.
    let keks = table.keks_needed();
    let agreed = keks.first().is_some_and(|active| active.id == kek);
    agreed.then_some(()).ok_or(OpenError::Damaged { what: "list of keys" })?;
    let hsm = Hsm::open(Access::new(settings), keks, settings.keys.manner())?;
    let keyring = Keyring::open(store, &hsm, id, table, age)?;
    Ok((hsm, keyring))
}

fn vault_row(id: [u8; 8], kek: &Kek) -> Vec<u8> {
    frame::frame(&[&FORMAT.to_be_bytes(), &id, &kek.id])
}

fn vault_write(id: [u8; 8], kek: &Kek) -> Write {
    let (key, value) = (VAULT_ROW.to_vec(), vault_row(id, kek));
    Write::Put { collection: Collection::Meta, key, value }
}

/// The row of the vault, the name of the vault, and that of the key in the token that is in use.
type OwnRow = (Vec<u8>, [u8; 8], [u8; 8]);

fn own_row(store: &dyn Store, directory: &Path) -> Result<OwnRow, OpenError> {
    let Some(row) = store.get(Collection::Meta, VAULT_ROW)? else {
        return Err(store::OpenError::Unfinished(directory.into()).into());
    };
    let damaged = || OpenError::Damaged { what: "own row" };
    let mut fields = frame::Fields::new(&row);
    let format = u32::from_be_bytes(fields.array().ok_or_else(damaged)?);
    if format != FORMAT {
        return Err(OpenError::Format { found: format, known: FORMAT });
    }
    let (id, kek) = (fields.array().ok_or_else(damaged)?, fields.array().ok_or_else(damaged)?);
    fields.end().ok_or_else(damaged)?;
    Ok((row, id, kek))
}

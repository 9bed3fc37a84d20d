//! What operators ask of a vault, and how it is answered.
//!
//! The command line asks a running program over its Unix socket ([`spawn`]), since the store is
//! open in one process only, and opens the vault itself when none runs. Both ways end in
//! [`answer`], or in [`Counter::answer`] where a gateway is asked. What does not belong here: how an answer is shown.

mod key_life;
pub(crate) mod long;
mod rotate;
pub(crate) mod socket;
mod transactions;
mod wire;

pub use key_life::{
    AddCustodian, Agreed, ApproveCustodian, ApproveKek, Custodian, CustodianLine, DestroyKek,
    RotateDeks, Rotation, Shred, VaultKeyLine,
};
pub use long::{Found, Rows, Verified};
pub use rotate::{Counter, OneAccount, Stage, Switch, Validate, ValidityLine, WholeAccount};
pub use socket::{Listening, spawn};
pub use transactions::{
    DoubtLine, ListTransactions, Resolve, Statement, Transaction, TransactionLine,
    TransactionLines, Transactions, Verdict, WholeTransaction,
};

use crate::clock;
use model::{AccountName, Credentials, KeyId, MerchantId, Scope, Secret};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use vault::audit::{Action, AuditError, Head, Who};
use vault::{AccountBrief, Created, KeyBrief, KeySpec, MerchantBrief, Vault, VaultError};

/// What an operator asks for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Request {
    AddCustodian(AddCustodian),
    ApproveCustodian(ApproveCustodian),
    ApproveKek(ApproveKek),
    /// A signed head of the audit log.
    AuditHead,
    /// A backup, which follows the answer.
    Backup,
    CreateKey(CreateKey),
    CreateMerchant(Merchant),
    DeleteAccount(Account),
    DestroyKek(DestroyKek),
    ListAccounts(Merchant),
    ListCustodians,
    ListKeys(Merchant),
    ListMerchants,
    PutAccount(PutAccount),
    OneAccount(OneAccount),
    RemoveCustodian(Custodian),
    RevokeKey(Key),
    RotateDeks(RotateDeks),
    Rotation,
    Shred(Shred),
    Status,
    Transactions(Transactions),
    VaultKeys,
    /// A check of everything.
    Verify,
}

/// A merchant, by name.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Merchant {
    #[serde(with = "wire::word")]
    pub merchant: MerchantId,
}

/// A key, by its public part.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    #[serde(with = "wire::word")]
    pub id: KeyId,
}

/// A new key.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateKey {
    #[serde(with = "wire::word")]
    pub merchant: MerchantId,
    pub name: Box<str>,
    pub is_sandbox: bool,
    #[serde(with = "wire::words")]
    pub scopes: Vec<Scope>,
    pub expires_days: Option<u32>,
}

/// An account, by its merchant and its name.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    #[serde(with = "wire::word")]
    pub merchant: MerchantId,
    #[serde(with = "wire::word")]
    pub name: AccountName,
}

/// A new account, or another content for one that is there.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutAccount {
    #[serde(with = "wire::word")]
    pub merchant: MerchantId,
    #[serde(with = "wire::word")]
    pub name: AccountName,
    pub gateway: Box<str>,
    #[serde(with = "wire::credentials")]
    pub credentials: Credentials,
}

/// What an operator hears.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    Account(AccountLine),
    AccountWhole(Box<WholeAccount>),
    Accounts(Vec<AccountLine>),
    Agreed(Agreed),
    AuditHead(AuditHead),
    Custodians(Vec<CustodianLine>),
    /// What was asked for follows in another form.
    Follows,
    /// What was named is gone.
    Gone,
    Key(NewKey),
    Keys(Vec<KeyLine>),
    Merchant(NewMerchant),
    Merchants(Vec<MerchantLine>),
    Rotation(Rotation),
    Status(Status),
    Transaction(Box<WholeTransaction>),
    Transactions(TransactionLines),
    Validity(ValidityLine),
    VaultKeys(Vec<VaultKeyLine>),
    Verified(Verified),
}

/// How far the audit log goes, and the keys of which its heads are good.
#[derive(Debug, Serialize, Deserialize)]
pub struct AuditHead {
    pub head: Head,
    pub keys: Vec<Box<str>>,
}

/// A key that was made just now: the one time that its text is shown.
#[derive(Debug, Serialize, Deserialize)]
pub struct NewKey {
    pub id: Box<str>,
    #[serde(with = "wire::secret")]
    pub key: Secret,
}

/// A key as it is listed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyLine {
    pub id: Box<str>,
    pub name: Box<str>,
    pub is_sandbox: bool,
    pub scopes: Vec<Box<str>>,
    pub created: String,
    pub expires: Option<String>,
}

/// A merchant that is there now.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewMerchant {
    pub id: Box<str>,
    /// False: it was there before.
    pub is_new: bool,
}

/// A merchant as it is listed.
#[derive(Debug, Serialize, Deserialize)]
pub struct MerchantLine {
    pub id: Box<str>,
    pub created: String,
}

/// An account as it is listed, without its credentials.
#[derive(Debug, Serialize, Deserialize)]
pub struct AccountLine {
    pub name: Box<str>,
    pub gateway: Box<str>,
    pub created: String,
    pub enabled: bool,
}

/// The state of a vault.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Whether the audit log takes lines.
    pub audit: bool,
    /// Whether the store works.
    pub store: bool,
    /// Whether the hardware security module answers.
    pub hsm: bool,
    pub merchants: usize,
    pub keys: usize,
    pub accounts: usize,
    /// The age of the oldest deletion that is not final yet, in seconds; 0 when all are.
    pub deletion_age_s: u64,
    /// The age of the oldest key that the token still has, in seconds.
    pub kek_age_max_s: u64,
}

/// Why there is no answer, in words for the operator. It holds no secret.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal(String);

/// How long the name of a key may be, in bytes.
pub const KEY_NAME_BYTES_MAX: usize = 64;
/// How many days a key may be good for.
pub const EXPIRES_DAYS_MAX: u32 = 3_650;
const DAY_S: u64 = 86_400;

/// Does what is asked. The socket and the command line both come here.
///
/// # Errors
/// What was named is not there, or the vault failed.
pub async fn answer(vault: &Vault, who: &Who, request: Request) -> Result<Answer, Refusal> {
    let audit = vault.audit();
    match of_log(&request) {
        Act::Itself => perform(vault, who, request).await,
        Act::Reads(action, merchant) => {
            audit.record(who.event(action, merchant, "all")).await?;
            perform(vault, who, request).await
        }
        Act::Changes(action, merchant, object) => {
            let event = who.event(action, merchant, object);
            audit.act(event, perform(vault, who, request)).await
        }
    }
}

/// What the audit log says of a request.
enum Act<'a> {
    /// It has two lines: one before it is begun, and one that says how it ended.
    Changes(Action, Option<&'a MerchantId>, &'a str),
    /// The vault writes its lines itself.
    Itself,
    Reads(Action, Option<&'a MerchantId>),
}

/// What the audit log says of a request. One that is added must be thought of here.
fn of_log(request: &Request) -> Act<'_> {
    match request {
        Request::AddCustodian(_)
        | Request::ApproveCustodian(_)
        | Request::ApproveKek(_)
        | Request::AuditHead
        | Request::Backup
        | Request::DestroyKek(_)
        | Request::OneAccount(_)
        | Request::RemoveCustodian(_)
        | Request::RotateDeks(_)
        | Request::Shred(_)
        | Request::Transactions(_)
        | Request::VaultKeys
        | Request::Verify => Act::Itself,
        Request::CreateKey(CreateKey { merchant, name, .. }) => {
            Act::Changes(Action::KeyCreate, Some(merchant), name)
        }
        Request::CreateMerchant(Merchant { merchant }) => {
            Act::Changes(Action::MerchantCreate, Some(merchant), merchant.as_str())
        }
        Request::DeleteAccount(Account { merchant, name }) => {
            Act::Changes(Action::AccountDelete, Some(merchant), name.as_str())
        }
        Request::ListAccounts(Merchant { merchant }) => {
            Act::Reads(Action::AccountList, Some(merchant))
        }
        Request::ListCustodians | Request::Rotation | Request::Status => {
            Act::Reads(Action::VaultStatus, None)
        }
        Request::ListKeys(Merchant { merchant }) => Act::Reads(Action::KeyList, Some(merchant)),
        Request::ListMerchants => Act::Reads(Action::MerchantList, None),
        Request::PutAccount(PutAccount { merchant, name, .. }) => {
            Act::Changes(Action::AccountPut, Some(merchant), name.as_str())
        }
        Request::RevokeKey(Key { id }) => Act::Changes(Action::KeyRevoke, None, id.as_str()),
    }
}

async fn audit_head(vault: &Vault, who: &Who) -> Result<Answer, Refusal> {
    let audit = vault.audit();
    let head = audit.signed_head(who.event(Action::LogRead, None, "signed head")).await?;
    let hex = |key: &[u8; 32]| key.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let keys = audit.keys().iter().map(|key| hex(key).into()).collect();
    Ok(Answer::AuditHead(AuditHead { head, keys }))
}

async fn perform(vault: &Vault, who: &Who, request: Request) -> Result<Answer, Refusal> {
    match request {
        Request::AuditHead => audit_head(vault, who).await,
        Request::AddCustodian(custodian) => key_life::add_custodian(vault, who, custodian).await,
        Request::ApproveCustodian(approval) => {
            key_life::approve_custodian(vault, who, approval).await
        }
        Request::ApproveKek(approval) => key_life::approve_kek(vault, who, approval).await,
        Request::Backup => Err(Refusal::new("a backup is no line of text")),
        Request::CreateKey(key) => create_key(vault, key).await,
        Request::CreateMerchant(Merchant { merchant }) => create_merchant(vault, merchant).await,
        Request::DeleteAccount(account) => delete_account(vault, account).await,
        Request::DestroyKek(key) => key_life::destroy_kek(vault, who, key).await,
        Request::ListCustodians => key_life::custodians(vault),
        Request::RemoveCustodian(custodian) => {
            key_life::remove_custodian(vault, who, custodian).await
        }
        Request::RotateDeks(which) => key_life::rotate_deks(vault, who, which).await,
        Request::Rotation => Ok(Answer::Rotation(vault.progress().into())),
        Request::Shred(asked) => key_life::shred(vault, who, asked).await,
        Request::VaultKeys => key_life::keys(vault, who).await,
        Request::ListAccounts(Merchant { merchant }) => {
            Ok(Answer::Accounts(lines(vault.accounts(&merchant)?)))
        }
        Request::ListKeys(Merchant { merchant }) => Ok(Answer::Keys(lines(vault.keys(&merchant)?))),
        Request::ListMerchants => Ok(Answer::Merchants(lines(vault.merchants()?))),
        Request::PutAccount(account) => put_account(vault, account).await,
        Request::RevokeKey(Key { id }) => {
            gone(vault.revoke_key(&id).await?, format!("there is no key {id}"))
        }
        Request::Status => status(vault),
        Request::OneAccount(_) | Request::Transactions(_) => {
            Err(Refusal::new("this takes the way to the gateways"))
        }
        Request::Verify => long::verify(vault, who.actor.clone()),
    }
}

async fn create_merchant(vault: &Vault, merchant: MerchantId) -> Result<Answer, Refusal> {
    let created = vault.create_merchant(&merchant, clock::now_seconds()).await?;
    let id = merchant.as_str().into();
    Ok(Answer::Merchant(NewMerchant { id, is_new: created == Created::New }))
}

async fn create_key(vault: &Vault, key: CreateKey) -> Result<Answer, Refusal> {
    let now = clock::now_seconds();
    let spec = key.spec(now)?;
    let issued = vault.create_key(&key.merchant, spec, now).await?;
    Ok(Answer::Key(NewKey { id: issued.id.as_str().into(), key: issued.key }))
}

async fn put_account(vault: &Vault, account: PutAccount) -> Result<Answer, Refusal> {
    let PutAccount { merchant, name, gateway, credentials } = account;
    let gateway = gateway_for(&gateway, &credentials)?;
    let now = clock::now_millis();
    let brief = vault.put_account(&merchant, &name, gateway, credentials, now).await?;
    Ok(Answer::Account(brief.into()))
}

/// The gateway's own name, if there is one and the credentials are enough for it.
fn gateway_for(gateway: &str, credentials: &Credentials) -> Result<&'static str, Refusal> {
    let Some(provider) = providers::by_gateway(gateway) else {
        return Err(Refusal(format!("there is no such gateway; there are {}", gateways())));
    };
    let gateway = provider.gateway();
    gateway.check(credentials).map_err(|fault| rotate::fault(gateway.id, fault))?;
    Ok(gateway.id)
}

/// The names of all gateways.
pub(crate) fn gateways() -> String {
    let ids: Vec<_> = providers::PROVIDERS.iter().map(|one| one.gateway().id).collect();
    ids.join(", ")
}

async fn delete_account(vault: &Vault, account: Account) -> Result<Answer, Refusal> {
    let Account { merchant, name } = account;
    let deleted = vault.delete_account(&merchant, &name, clock::now_millis()).await?;
    gone(deleted, format!("{merchant} has no account {name}"))
}

/// Puts credentials together, if they keep to the maxima and no name comes twice.
pub(crate) fn credentials(pairs: Vec<(Box<str>, Secret)>) -> Result<Credentials, &'static str> {
    if pairs.len() > Credentials::PAIRS_MAX {
        return Err("there may be at most 32 credentials");
    }
    let mut names = BTreeSet::new();
    for (name, secret) in &pairs {
        if !matches!(name.len(), 1..=Credentials::NAME_BYTES_MAX) {
            return Err("the name of a credential is 1 to 64 bytes long");
        }
        if !matches!(secret.len(), 1..=Credentials::VALUE_BYTES_MAX) {
            return Err("the value of a credential is 1 to 1024 bytes long");
        }
        if !names.insert(name.to_ascii_lowercase()) {
            return Err("the name of a credential comes twice");
        }
    }
    Ok(Credentials::new(pairs))
}

fn gone(gone: bool, otherwise: String) -> Result<Answer, Refusal> {
    gone.then_some(Answer::Gone).ok_or(Refusal(otherwise))
}

fn status(vault: &Vault) -> Result<Answer, Refusal> {
    let merchants = vault.merchants()?;
    let (mut keys, mut accounts) = (0_usize, 0_usize);
    for merchant in &merchants {
        keys = keys.saturating_add(unless_shredded(vault.keys(&merchant.id))?.len());
        accounts = accounts.saturating_add(unless_shredded(vault.accounts(&merchant.id))?.len());
    }
    let vault::Health { audit, keys: _, store, hsm } = vault.health();
    let figures = vault.figures();
    Ok(Answer::Status(Status {
        audit,
        store,
        hsm,
        merchants: merchants.len(),
        keys,
        accounts,
        deletion_age_s: figures.deletion_age_max_s,
        kek_age_max_s: figures.kek_age_max_s,
    }))
}

/// What a merchant has, which is nothing once its keys are destroyed.
fn unless_shredded<T>(found: Result<Vec<T>, VaultError>) -> Result<Vec<T>, VaultError> {
    if let Err(VaultError::Shredded) = found { Ok(Vec::new()) } else { found }
}

fn lines<T: Into<L>, L>(briefs: Vec<T>) -> Vec<L> {
    briefs.into_iter().map(Into::into).collect()
}

fn time_of(seconds: u64) -> String {
    clock::timestamp(seconds.saturating_mul(1_000))
}

// === impl CreateKey ===

impl CreateKey {
    /// The key that is asked for at `now`. The socket is another way in, so it is checked here.
    fn spec(&self, now: u64) -> Result<KeySpec, Refusal> {
        if !is_key_name(&self.name) {
            return Err(Refusal("a key's name is 1 to 64 printable characters".into()));
        }
        if self.scopes.is_empty() {
            return Err(Refusal("a key needs at least one scope".into()));
        }
        if !matches!(self.expires_days, None | Some(1..=EXPIRES_DAYS_MAX)) {
            return Err(Refusal("a key is good for 1 to 3650 days".into()));
        }
        let lifetime = self.expires_days.map(|days| u64::from(days).saturating_mul(DAY_S));
        Ok(KeySpec {
            name: self.name.clone(),
            sandbox: self.is_sandbox,
            scopes: self.scopes.clone(),
            expires: lifetime.map(|seconds| now.saturating_add(seconds)),
        })
    }
}

/// Whether `name` can be shown on one line, and is not too long.
pub(crate) fn is_key_name(name: &str) -> bool {
    matches!(name.len(), 1..=KEY_NAME_BYTES_MAX)
        && !name.trim().is_empty()
        && !name.chars().any(char::is_control)
}

// === impl AccountLine ===

impl From<AccountBrief> for AccountLine {
    fn from(brief: AccountBrief) -> Self {
        let AccountBrief { name, gateway, created, state, .. } = brief;
        let (created, enabled) = (clock::timestamp(created), state.is_enabled());
        Self { name: name.as_str().into(), gateway, created, enabled }
    }
}

// === impl KeyLine ===

impl From<KeyBrief> for KeyLine {
    fn from(brief: KeyBrief) -> Self {
        Self {
            id: brief.id.as_str().into(),
            name: brief.name,
            is_sandbox: brief.sandbox,
            scopes: brief.scopes.iter().map(|scope| scope.word().into()).collect(),
            created: time_of(brief.created),
            expires: brief.expires.map(time_of),
        }
    }
}

// === impl MerchantLine ===

impl From<MerchantBrief> for MerchantLine {
    fn from(brief: MerchantBrief) -> Self {
        Self { id: brief.id.as_str().into(), created: time_of(brief.created) }
    }
}

// === impl Refusal ===

impl Refusal {
    /// A refusal with these words.
    pub(crate) fn new(words: &'static str) -> Self {
        Self(words.to_owned())
    }

    /// The same, with words that were put together.
    fn of(words: String) -> Self {
        Self(words)
    }

    /// A refusal because of an error of the vault.
    fn told(error: &impl fmt::Display) -> Self {
        Self(error.to_string())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

impl From<AuditError> for Refusal {
    fn from(error: AuditError) -> Self {
        Self(format!("{error}: nothing was done, or it is not known"))
    }
}

impl From<VaultError> for Refusal {
    fn from(error: VaultError) -> Self {
        Self(error.to_string())
    }
}

#[cfg(test)]
mod tests;

//! What operators ask about keys: rotation, custodians, and the end of keys.

use super::{Answer, Merchant, Refusal, wire};
use crate::clock;
use model::{MerchantId, Secret};
use serde::{Deserialize, Serialize};
use vault::audit::{Action, Who};
use vault::{Approval, Deed, Progress, Vault};

/// Data keys to exchange: of one merchant, or of all and of the system.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotateDeks {
    pub merchant: Option<Merchant>,
}

/// A custodian's word for a new key in the token.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApproveKek {
    pub name: Box<str>,
    #[serde(with = "wire::secret")]
    pub secret: Secret,
}

/// A key in the token, by its id, and the word of a custodian that it is to be destroyed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DestroyKek {
    pub id: Box<str>,
    pub name: Box<str>,
    #[serde(with = "wire::secret")]
    pub secret: Secret,
}

/// A merchant, and the word of a custodian that its keys are to be destroyed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shred {
    #[serde(with = "wire::word")]
    pub merchant: MerchantId,
    pub name: Box<str>,
    #[serde(with = "wire::secret")]
    pub secret: Secret,
}

/// What the word of a custodian led to.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Agreed {
    /// Until when another custodian has time, when it was the first word.
    pub approval_until: Option<String>,
    /// On whose words it was done, when it was the second.
    pub by: Option<Box<str>>,
}

/// A new custodian.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddCustodian {
    pub name: Box<str>,
    #[serde(with = "wire::secret")]
    pub secret: Secret,
}

/// A custodian's word for a new one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApproveCustodian {
    pub name: Box<str>,
    /// Who approves, and the secret that shows it.
    pub by: Box<str>,
    #[serde(with = "wire::secret")]
    pub secret: Secret,
}

/// A custodian, by name.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Custodian {
    pub name: Box<str>,
}

/// How far a rotation is.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rotation {
    /// `kek` or `dek`; nothing when none is under way.
    pub what: Option<Box<str>>,
    /// Until when a second custodian has time, when that is what is waited for.
    pub approval_until: Option<String>,
    pub owner: Box<str>,
    pub purpose: Box<str>,
    pub keys: u64,
    pub keys_done: u64,
    pub records: u64,
    /// Records that did not open. Their keys are kept.
    pub refused: u64,
    pub waits_for: Option<Box<str>>,
}

/// A key as it is listed, without the key.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VaultKeyLine {
    pub id: Box<str>,
    pub owner: Box<str>,
    pub purpose: Box<str>,
    pub version: u32,
    pub state: Box<str>,
    pub created: String,
    pub changed: String,
    pub by: Box<str>,
    pub seals: Option<u64>,
}

/// A custodian as listed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CustodianLine {
    pub name: Box<str>,
    pub accepted: String,
    /// From when on their word counts.
    pub counts_from: String,
    pub approved_by: Option<Box<str>>,
}

pub(super) async fn rotate_deks(
    vault: &Vault,
    who: &Who,
    asked: RotateDeks,
) -> Result<Answer, Refusal> {
    let merchant = asked.merchant.map(|Merchant { merchant }| merchant);
    vault.rotate(merchant, who, clock::now_seconds()).await?;
    Ok(Answer::Rotation(vault.progress().into()))
}

pub(super) async fn approve_kek(
    vault: &Vault,
    who: &Who,
    asked: ApproveKek,
) -> Result<Answer, Refusal> {
    let ApproveKek { name, secret } = asked;
    let approved = vault.approve_kek_rotation(&name, &secret, who, clock::now_seconds()).await?;
    let mut rotation = Rotation::from(vault.progress());
    if let Approval::Waits { until } = approved {
        rotation.approval_until = Some(super::time_of(until));
    }
    Ok(Answer::Rotation(rotation))
}

pub(super) async fn destroy_kek(
    vault: &Vault,
    who: &Who,
    asked: DestroyKek,
) -> Result<Answer, Refusal> {
    let DestroyKek { id, name, secret } = asked;
    agree(vault, who, &Deed::DestroyKek { id }, (&name, &secret)).await
}

pub(super) async fn shred(vault: &Vault, who: &Who, asked: Shred) -> Result<Answer, Refusal> {
    let Shred { merchant, name, secret } = asked;
    agree(vault, who, &Deed::Shred { merchant }, (&name, &secret)).await
}

async fn agree(
    vault: &Vault,
    who: &Who,
    deed: &Deed,
    custodian: (&str, &Secret),
) -> Result<Answer, Refusal> {
    let approval = vault.approve(deed, custodian, who, clock::now_seconds()).await?;
    Ok(Answer::Agreed(approval.into()))
}

pub(super) async fn add_custodian(
    vault: &Vault,
    who: &Who,
    asked: AddCustodian,
) -> Result<Answer, Refusal> {
    let AddCustodian { name, secret } = asked;
    vault.add_custodian(&name, &secret, who, clock::now_seconds()).await?;
    custodians(vault)
}

pub(super) async fn approve_custodian(
    vault: &Vault,
    who: &Who,
    asked: ApproveCustodian,
) -> Result<Answer, Refusal> {
    let ApproveCustodian { name, by, secret } = asked;
    vault.approve_custodian(&name, (&by, &secret), who, clock::now_seconds()).await?;
    custodians(vault)
}

pub(super) async fn remove_custodian(
    vault: &Vault,
    who: &Who,
    asked: Custodian,
) -> Result<Answer, Refusal> {
    let gone = vault.remove_custodian(&asked.name, who).await?;
    super::gone(gone, "there is no custodian of this name".into())
}

pub(super) fn custodians(vault: &Vault) -> Result<Answer, Refusal> {
    let lines = vault.custodians()?.into_iter().map(|custodian| CustodianLine {
        name: custodian.name,
        accepted: super::time_of(custodian.accepted),
        counts_from: super::time_of(custodian.counts_from),
        approved_by: custodian.approved_by,
    });
    Ok(Answer::Custodians(lines.collect()))
}

pub(super) async fn keys(vault: &Vault, who: &Who) -> Result<Answer, Refusal> {
    let event = who.event(Action::VaultKeyList, None, "all");
    vault.audit().record(event).await.map_err(vault::VaultError::Audit)?;
    let lines = vault.key_lines().into_iter().map(|line| VaultKeyLine {
        id: line.id,
        owner: line.owner,
        purpose: line.purpose.into(),
        version: line.version,
        state: line.state.word().into(),
        created: super::time_of(line.created),
        changed: super::time_of(line.changed),
        by: line.by,
        seals: line.seals,
    });
    Ok(Answer::VaultKeys(lines.collect()))
}

// === impl Agreed ===

impl From<Approval> for Agreed {
    fn from(approval: Approval) -> Self {
        match approval {
            Approval::Waits { until } => {
                Self { approval_until: Some(super::time_of(until)), by: None }
            }
            Approval::Done { by } => Self { approval_until: None, by: Some(by) },
        }
    }
}

// === impl Merchant ===

impl From<MerchantId> for Merchant {
    fn from(merchant: MerchantId) -> Self {
        Self { merchant }
    }
}

// === impl Rotation ===

impl From<Progress> for Rotation {
    fn from(progress: Progress) -> Self {
        Self {
            what: progress.what.map(Into::into),
            approval_until: None,
            owner: progress.owner,
            purpose: progress.purpose.into(),
            keys: progress.keys,
            keys_done: progress.keys_done,
            records: progress.records,
            refused: progress.refused,
            waits_for: progress.waits_for.map(Into::into),
        }
    }
}

//! What operators ask about one account: to see it, to have it used or not, to have it validated, to
//! rotate its credentials.

use super::{Account, Answer, PutAccount, Refusal, Request, answer, wire};
use crate::account_routes;
use crate::accounts::{Case, Desk, Trouble};
use crate::breaker::Breakers;
use crate::metrics::Metrics;
use crate::rotation::Rotations;
use crate::upstream::Upstreams;
use crate::waits::Waits;
use anyhow::Result;
use filters::decode::{self, Force};
use model::{AccountName, AccountState, Credentials, MerchantId};
use providers::credentials::{Fault, Place};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use vault::audit::Who;
use vault::{Pick, Vault};

/// Where operators are answered: the vault, and a way to the gateways of its own, since connections
/// belong to the threads that opened them.
pub struct Counter {
    pub(super) vault: Arc<Vault>,
    upstreams: Upstreams,
    rotations: Arc<Rotations>,
    breakers: Arc<Breakers>,
    metrics: Arc<Metrics>,
    pub(super) waits: Arc<Waits>,
}

/// What is asked about one account.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum OneAccount {
    Disable(Account),
    Enable(Account),
    Retire(Account),
    Show(Account),
    Stage(Stage),
    Switch(Switch),
    Unstage(Account),
    Validate(Validate),
}

/// New credentials for an account.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    #[serde(with = "wire::word")]
    pub merchant: MerchantId,
    #[serde(with = "wire::word")]
    pub name: AccountName,
    #[serde(with = "wire::credentials")]
    pub credentials: Credentials,
}

/// Another share for what is staged.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switch {
    #[serde(with = "wire::word")]
    pub merchant: MerchantId,
    #[serde(with = "wire::word")]
    pub name: AccountName,
    pub percent: u8,
    pub force: bool,
}

/// A question to the gateway.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validate {
    #[serde(with = "wire::word")]
    pub merchant: MerchantId,
    #[serde(with = "wire::word")]
    pub name: AccountName,
    /// Whether what is staged is meant, and not what is in use.
    pub staged: bool,
}

/// What the gateway made of it.
#[derive(Debug, Serialize, Deserialize)]
pub struct ValidityLine {
    pub result: String,
    pub advice: String,
}

/// An account as the API shows it.
#[derive(Debug, Serialize, Deserialize)]
pub struct WholeAccount(pub serde_json::Value);

// === impl Counter ===

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counter")
    }
}

impl Counter {
    /// A counter of a program that serves, or of a command that opened the vault itself.
    pub(crate) fn new(
        vault: Arc<Vault>,
        upstreams: Upstreams,
        rotations: Arc<Rotations>,
        breakers: Arc<Breakers>,
        metrics: Arc<Metrics>,
        waits: Arc<Waits>,
    ) -> Self {
        Self { vault, upstreams, rotations, breakers, metrics, waits }
    }

    /// What it takes to ask what became of a payment.
    pub(super) fn parts(&self) -> (&Vault, &Upstreams, &Metrics) {
        (&self.vault, &self.upstreams, &self.metrics)
    }

    pub(super) fn vault(&self) -> Arc<Vault> {
        self.vault.clone()
    }

    /// Does what is asked.
    ///
    /// # Errors
    /// What was named is not there, or the vault failed.
    pub(crate) async fn answer(&self, who: &Who, request: Request) -> Result<Answer, Refusal> {
        let named = changed(&request);
        let answered = if let Request::OneAccount(one) = request {
            self.answer_one(who, one).await
        } else if let Request::Transactions(asked) = request {
            self.answer_transactions(who, asked).await
        } else {
            answer(&self.vault, who, request).await
        };
        if let Some((merchant, name)) = named {
            self.desk().changed(Case { merchant: &merchant, name: &name, who });
        }
        answered
    }

    async fn answer_one(&self, who: &Who, one: OneAccount) -> Result<Answer, Refusal> {
        let desk = self.desk();
        match one {
            OneAccount::Disable(account) => {
                desk.set_state(case(&account, who), AccountState::Disabled).await?;
                show(desk, case(&account, who))
            }
            OneAccount::Enable(account) => {
                desk.set_state(case(&account, who), AccountState::Enabled).await?;
                show(desk, case(&account, who))
            }
            OneAccount::Retire(account) => {
                desk.retire(case(&account, who)).await?;
                show(desk, case(&account, who))
            }
            OneAccount::Show(account) => show(desk, case(&account, who)),
            OneAccount::Stage(Stage { merchant, name, credentials }) => {
                let case = Case { merchant: &merchant, name: &name, who };
                desk.stage(case, credentials).await?;
                show(desk, case)
            }
            OneAccount::Switch(Switch { merchant, name, percent, force }) => {
                let case = Case { merchant: &merchant, name: &name, who };
                let force = if force { Force::Yes } else { Force::No };
                desk.switch(case, decode::Switch { percent, force }).await?;
                show(desk, case)
            }
            OneAccount::Unstage(account) => {
                desk.unstage(case(&account, who)).await?;
                show(desk, case(&account, who))
            }
            OneAccount::Validate(Validate { merchant, name, staged }) => {
                let pick = if staged { Pick::Staged } else { Pick::Current };
                let case = Case { merchant: &merchant, name: &name, who };
                let validity = desk.validate(case, pick).await?.validity;
                let (result, advice) = (validity.word().to_owned(), validity.advice().to_owned());
                Ok(Answer::Validity(ValidityLine { result, advice }))
            }
        }
    }

    fn desk(&self) -> Desk<'_> {
        Desk {
            vault: &self.vault,
            upstreams: &self.upstreams,
            rotations: &self.rotations,
            breakers: &self.breakers,
            metrics: &self.metrics,
        }
    }
}

/// The account that a request replaces or deletes: what was staged is gone with it.
fn changed(request: &Request) -> Option<(MerchantId, AccountName)> {
    if let Request::DeleteAccount(Account { merchant, name })
    | Request::PutAccount(PutAccount { merchant, name, .. }) = request
    {
        return Some((merchant.clone(), name.clone()));
    }
    None
}

fn case<'a>(Account { merchant, name }: &'a Account, who: &'a Who) -> Case<'a> {
    Case { merchant, name, who }
}

/// The account as it is now.
fn show(desk: Desk<'_>, case: Case<'_>) -> Result<Answer, Refusal> {
    Ok(Answer::AccountWhole(Box::new(WholeAccount(account_routes::value(desk, case)?))))
}

/// What is wrong with a credential, in words.
pub(super) fn fault(gateway: &str, Fault { place, problem }: Fault) -> Refusal {
    match place {
        Place::Credential(name) => Refusal::of(format!("{gateway}: {name} {problem}")),
        Place::Key(nth) => {
            let nth = nth.saturating_add(1);
            Refusal::of(format!("{gateway}: the name of credential number {nth} {problem}"))
        }
    }
}

// === impl Refusal ===

impl From<Trouble> for Refusal {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Audit(error) => Self::of(error.to_string()),
            Trouble::Fault(fault) => self::fault("the account", fault),
            Trouble::NoAccount => Self::new("there is no such account"),
            Trouble::NoGateway => Self::new("the account has no known gateway"),
            Trouble::NothingStaged => Self::new("nothing is staged for this account"),
            Trouble::NotSwitched => Self::new(
                "what is staged does not get all payments; switch it to 100 percent first",
            ),
            Trouble::NotValidated => Self::new(
                "what is staged was not found to be good; validate it first, or use --force",
            ),
            Trouble::Vault(error) => error.into(),
        }
    }
}

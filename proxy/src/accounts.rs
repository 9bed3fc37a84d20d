//! What is done with gateway accounts, for merchants and for operators alike: stored, asked about,
//! and rotated.
//!
//! Every step is in the audit log before it is answered, and is one swap of one row in the vault.
//! What does not belong here: how an answer is written (`account_routes`, `command`).

use crate::breaker::Breakers;
use crate::clock;
use crate::exchange::Exchange;
use crate::metrics::Metrics;
use crate::rotation::{Counts, Next, Rotations, Taken};
use crate::upstream::Upstreams;
use filters::decode::{Force, Switch};
use model::{AccountName, AccountState, Credentials, MerchantId};
use providers::credentials::Fault;
use providers::wire::Answer;
use providers::{Cx, Provider, Validity};
use std::sync::Arc;
use std::time::Instant;
use vault::audit::{Action, AuditError, Who};
use vault::{Account, PERCENT_MAX, Pick, Staged, Step, Vault, VaultError};

/// What it takes to work with accounts.
#[derive(Clone, Copy)]
pub(crate) struct Desk<'a> {
    pub(crate) vault: &'a Vault,
    pub(crate) upstreams: &'a Upstreams,
    pub(crate) rotations: &'a Rotations,
    pub(crate) breakers: &'a Breakers,
    pub(crate) metrics: &'a Metrics,
}

/// An account of a merchant, and who works with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case<'a> {
    pub(crate) merchant: &'a MerchantId,
    pub(crate) name: &'a AccountName,
    pub(crate) who: &'a Who,
}

/// Why something was not done with an account.
#[derive(Debug)]
pub(crate) enum Trouble {
    Audit(AuditError),
    /// A credential cannot be meant.
    Fault(Fault),
    NoAccount,
    NoGateway,
    NothingStaged,
    NotSwitched,
    NotValidated,
    Vault(VaultError),
}

/// What a gateway made of credentials.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Validated {
    pub(crate) validity: Validity,
    pub(crate) gateway: &'static str,
}

// === impl Desk ===

impl Desk<'_> {
    /// Asks the gateway about the account's credentials. What it says of staged ones is kept.
    pub(crate) async fn validate(&self, case: Case<'_>, of: Pick) -> Result<Validated, Trouble> {
        let Case { merchant, name, who } = case;
        let account = self.vault.account_by(merchant, name, |_| of)?.ok_or(Trouble::NoAccount)?;
        let provider = provider_of(&account)?;
        let staged = match of {
            Pick::Current => None,
            Pick::Staged => Some(account.staged.ok_or(Trouble::NothingStaged)?),
        };
        let object = if staged.is_some() { format!("{name} staged") } else { name.to_string() };
        let event = who.event(Action::AccountValidate, Some(merchant), object);
        self.vault.audit().record(event).await?;
        let validity = self.ask(provider, &account.credentials).await;
        self.metrics.account_validated(provider.name(), validity);
        if let Some(staged) = staged {
            self.keep_validity(case, &staged, validity).await?;
            self.changed(case);
        }
        Ok(Validated { validity, gateway: provider.gateway().id })
    }

    /// Has new payments go to the account, or not.
    pub(crate) async fn set_state(
        &self,
        case: Case<'_>,
        state: AccountState,
    ) -> Result<(), Trouble> {
        let Case { merchant, name, who } = case;
        let action = match state {
            AccountState::Enabled => Action::AccountEnable,
            AccountState::Disabled => Action::AccountDisable,
        };
        let event = who.event(action, Some(merchant), name.as_str());
        let set = async {
            let set = self.vault.set_account_state(merchant, name, state, clock::now_millis());
            if set.await? { Ok(()) } else { Err(Trouble::NoAccount) }
        };
        let set = self.vault.audit().act(event, set).await;
        self.changed(case);
        set
    }

    /// Puts credentials beside those in use.
    pub(crate) async fn stage(
        &self,
        case: Case<'_>,
        credentials: Credentials,
    ) -> Result<(), Trouble> {
        let Case { merchant, name, .. } = case;
        let account = self.account(case)?;
        let gateway = provider_of(&account)?.gateway();
        gateway.check(&credentials).map_err(Trouble::Fault)?;
        gateway.check_same(&account.credentials, &credentials).map_err(Trouble::Fault)?;
        self.step(case, Action::AccountStage, async {
            let now = clock::now_millis();
            let staged = self.vault.stage_account(merchant, name, credentials, now).await?;
            staged.map(|_| ()).ok_or(Trouble::NoAccount)
        })
        .await
    }

    /// Gives staged credentials so many payments in a hundred.
    pub(crate) async fn switch(&self, case: Case<'_>, to: Switch) -> Result<(), Trouble> {
        let staged = self.account(case)?.staged.ok_or(Trouble::NothingStaged)?;
        let good = staged.validated.is_some() && staged.failed.is_none();
        if to.percent > 0 && !good && to.force == Force::No {
            return Err(Trouble::NotValidated);
        }
        self.step(case, Action::AccountSwitch, async {
            // Resumed first: a refusal that comes in between stops them again.
            self.rotations.resume(case.merchant, case.name, staged.id);
            self.take(case, &staged, Step::Switched(to.percent)).await
        })
        .await
    }

    /// Puts staged credentials in the place of those in use, which are destroyed.
    pub(crate) async fn retire(&self, case: Case<'_>) -> Result<(), Trouble> {
        let Case { merchant, name, .. } = case;
        let staged = self.account(case)?.staged.ok_or(Trouble::NothingStaged)?;
        if staged.percent < PERCENT_MAX {
            return Err(Trouble::NotSwitched);
        }
        self.step(case, Action::AccountRetire, async {
            let now = clock::now_millis();
            let retired = self.vault.retire_account(merchant, name, staged.id, now).await?;
            retired.then_some(()).ok_or(Trouble::NothingStaged)
        })
        .await
    }

    /// Drops what is staged. To drop what is not there changes nothing.
    pub(crate) async fn unstage(&self, case: Case<'_>) -> Result<(), Trouble> {
        let Case { merchant, name, .. } = case;
        self.step(case, Action::AccountUnstage, async {
            self.vault.unstage_account(merchant, name, clock::now_millis()).await?;
            Ok(())
        })
        .await
    }

    /// Sees that an account was put, deleted or changed, whoever did it.
    pub(crate) fn changed(&self, case: Case<'_>) {
        let Case { merchant, name, .. } = case;
        if let Some(provider) = self.breakers.forget(merchant, name) {
            self.metrics.left_alone(provider, self.breakers.open_at(provider));
        }
        // What cannot be read now is seen at the next step.
        let Ok(account) = self.vault.account(merchant, name) else { return };
        let staged = account.and_then(|account| account.staged);
        self.rotations.note(merchant, name, staged.as_ref());
    }

    /// The account with the credentials in use.
    pub(crate) fn account(&self, case: Case<'_>) -> Result<Arc<Account>, Trouble> {
        self.vault.account(case.merchant, case.name)?.ok_or(Trouble::NoAccount)
    }

    /// The account with its staged credentials, where there are some.
    pub(crate) fn staged(&self, case: Case<'_>) -> Result<Option<Arc<Account>>, Trouble> {
        let account = self.vault.account_by(case.merchant, case.name, |_| Pick::Staged)?;
        Ok(account.filter(|account| account.staged.is_some()))
    }

    /// How often the credentials of an account were used while `staged` was staged.
    pub(crate) fn counts(&self, case: Case<'_>, staged: &Staged) -> Counts {
        self.rotations.counts(case.merchant, case.name, staged.id)
    }

    /// Counts a payment at an account with staged credentials, and takes these out of use when the
    /// provider has refused them too often.
    pub(crate) async fn used(
        &self,
        (merchant, name): (&MerchantId, &AccountName),
        staged: &Staged,
        (pick, taken): (Pick, Taken),
    ) {
        self.metrics.staged_payment(pick, taken);
        let next = self.rotations.used(merchant, name, staged, (pick, taken), Instant::now());
        if next == Next::GoOn {
            return;
        }
        log::error!("the gateway refuses what is staged for {merchant} {name}: rolled back");
        let case = Case { merchant, name, who: &Who::system() };
        let told = self.step(case, Action::AccountRollBack, async {
            self.take(case, staged, Step::RolledBack).await
        });
        if told.await.is_err() {
            // In this process they stay out of use all the same.
            log::error!("the vault could not be told that {merchant} {name} was rolled back");
        }
    }

    async fn ask(&self, provider: &'static dyn Provider, credentials: &Credentials) -> Validity {
        let request = match provider.validation(&Cx::timeless(credentials)) {
            Ok(Some(request)) => request,
            Ok(None) => return Validity::Valid,
            // They were checked when they were stored, so this is an older account.
            Err(_) => return Validity::CredentialsRefused,
        };
        match self.upstreams.exchange(provider.name(), request).await {
            Exchange::Answer(answer) => {
                provider.validity(&Answer { status: answer.status, body: &answer.body })
            }
            Exchange::NotSent(error) | Exchange::Unknown(error) => {
                log::warn!("{} was not reached: {}", provider.name(), error.etype().as_str());
                Validity::ProviderUnavailable
            }
        }
    }

    /// Keeps what the gateway said of staged credentials, where it said something of them.
    async fn keep_validity(
        &self,
        case: Case<'_>,
        staged: &Staged,
        validity: Validity,
    ) -> Result<(), Trouble> {
        match validity {
            Validity::Valid => self.take(case, staged, Step::Validated).await,
            Validity::AccountUnknown
            | Validity::CredentialsRefused
            | Validity::PermissionMissing => self.take(case, staged, Step::Invalidated).await,
            Validity::NotUnderstood | Validity::ProviderUnavailable => Ok(()),
        }
    }

    async fn take(&self, case: Case<'_>, staged: &Staged, step: Step) -> Result<(), Trouble> {
        let Case { merchant, name, .. } = case;
        let now = clock::now_millis();
        let taken = self.vault.step_staged(merchant, name, staged.id, step, now).await?;
        taken.map(|_| ()).ok_or(Trouble::NothingStaged)
    }

    /// Takes a step of a rotation between two lines of the audit log, and counts it.
    async fn step(
        &self,
        case: Case<'_>,
        action: Action,
        step: impl Future<Output = Result<(), Trouble>>,
    ) -> Result<(), Trouble> {
        let event = case.who.event(action, Some(case.merchant), case.name.as_str());
        let taken = self.vault.audit().act(event, step).await;
        self.changed(case);
        self.metrics.rotation_step(action, taken.is_ok());
        taken
    }
}

fn provider_of(account: &Account) -> Result<&'static dyn Provider, Trouble> {
    providers::by_gateway(&account.brief.gateway).ok_or(Trouble::NoGateway)
}

// === impl Trouble ===

impl From<AuditError> for Trouble {
    fn from(error: AuditError) -> Self {
        Self::Audit(error)
    }
}

impl From<VaultError> for Trouble {
    fn from(error: VaultError) -> Self {
        Self::Vault(error)
    }
}

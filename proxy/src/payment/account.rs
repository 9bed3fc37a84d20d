//! The account that a payment goes to.

use super::Stop;
use crate::breaker::Told;
use crate::metrics::Phase;
use crate::result::Ending;
use crate::rotation::Taken;
use crate::shared::Shared;
use filters::decode::{AccountChoice, FieldError};
use model::{AccountName, AccountState, Credentials, MerchantId, Report};
use providers::Provider;
use std::sync::Arc;
use std::time::Instant;
use vault::{Pick, Staged};

/// The field that names an account.
pub(super) const NAME: &str = "paymentGatewayAccountName";
/// The field that brings an account along.
pub(super) const INLINE: &str = "paymentGatewayAccount";
const INLINE_CREDENTIALS: &str = "paymentGatewayAccount.credentials";
const INLINE_GATEWAY: &str = "paymentGatewayAccount.paymentGatewayName";

/// The account that an operation goes to.
pub(super) struct Account {
    credentials: Held,
    pub(super) name: Option<AccountName>,
    pub(super) provider: &'static dyn Provider,
}

/// Where credentials are.
enum Held {
    /// In the vault's account, which lends them.
    Stored(Arc<vault::Account>),
    /// In the request.
    Inline(Credentials),
}

/// Finds the account that the merchant named or brought along.
pub(super) fn find(
    shared: &Shared,
    merchant: &MerchantId,
    choice: AccountChoice,
) -> Result<Account, Stop> {
    match choice {
        AccountChoice::Named(name) => named(shared, merchant, name, NAME),
        AccountChoice::Inline { gateway, credentials } => inline(&gateway, credentials),
        AccountChoice::OfPayment => Err(invalid(NAME, "is required")),
    }
}

/// Finds the account of this name, which stands in `field` of the request.
pub(super) fn named(
    shared: &Shared,
    merchant: &MerchantId,
    name: AccountName,
    field: &'static str,
) -> Result<Account, Stop> {
    let began = Instant::now();
    let pick = |staged: &Staged| shared.rotations.pick(merchant, &name, staged, rand::random());
    let found = shared.vault.account_by(merchant, &name, pick)?;
    shared.metrics.phase(Phase::OpenAccount, began.elapsed());
    let found = found.ok_or(invalid(field, "there is no such account"))?;
    let provider = providers::by_gateway(&found.brief.gateway);
    let provider = provider.ok_or(invalid(field, "has no known gateway"))?;
    if provider.gateway().missing(&found.credentials).is_some() {
        return Err(invalid(field, "lacks a credential that its gateway requires"));
    }
    Ok(Account { credentials: Held::Stored(found), name: Some(name), provider })
}

/// Checks the account that the merchant brought along, as one that is stored is checked.
fn inline(gateway: &str, credentials: Credentials) -> Result<Account, Stop> {
    let no_gateway = || invalid(INLINE_GATEWAY, "there is no such gateway");
    let provider = providers::by_gateway(gateway).ok_or_else(no_gateway)?;
    provider.gateway().check(&credentials).map_err(|fault| {
        let field = fault.place.field(INLINE_CREDENTIALS);
        Stop::Invalid(FieldError::new(field, fault.problem))
    })?;
    Ok(Account { credentials: Held::Inline(credentials), name: None, provider })
}

pub(super) fn invalid(field: &'static str, problem: &'static str) -> Stop {
    Stop::Invalid(FieldError::new(field, problem))
}

// === impl Account ===

impl Account {
    /// Whether new payments may go there.
    pub(super) fn state(&self) -> AccountState {
        match &self.credentials {
            Held::Stored(account) => account.brief.state,
            Held::Inline(_) => AccountState::Enabled,
        }
    }

    /// As [`Self::state`], but as it is by now: while another account was asked, this one may have been
    /// disabled or deleted. Where the vault cannot tell, the journal will stop the payment.
    pub(super) fn state_now(&self, shared: &Shared, merchant: &MerchantId) -> AccountState {
        let Some(name) = &self.name else { return self.state() };
        match shared.vault.account_by(merchant, name, |_| Pick::Current) {
            Ok(found) => found.map_or(AccountState::Disabled, |account| account.brief.state),
            Err(_) => self.state(),
        }
    }

    /// The credentials.
    pub(super) fn credentials(&self) -> &Credentials {
        match &self.credentials {
            Held::Stored(account) => &account.credentials,
            Held::Inline(credentials) => credentials,
        }
    }

    /// Whether new payments may go there, and its provider is not known to fail.
    pub(super) fn is_usable(&self, shared: &Shared, merchant: &MerchantId, now: Instant) -> bool {
        let open = |name| shared.breakers.is_open(merchant, name, now);
        self.state().is_enabled() && !self.name.as_ref().is_some_and(open)
    }

    /// Counts what became of a payment here, and what that tells of the provider.
    pub(super) async fn used(
        &self,
        shared: &Shared,
        merchant: &MerchantId,
        (ending, told): (&Ending, Told),
    ) {
        if let Some(name) = &self.name {
            shared.told((merchant, name), self.provider.name(), told);
        }
        if let Ending::Reported(report) = ending {
            self.answered(shared, merchant, report).await;
        }
    }

    /// Counts the answer to a payment, where credentials are staged: refusals end their use.
    pub(super) async fn answered(&self, shared: &Shared, merchant: &MerchantId, report: &Report) {
        let (Some(name), Held::Stored(account)) = (&self.name, &self.credentials) else { return };
        let Some(staged) = &account.staged else { return };
        let refused = self.provider.refuses_account(report);
        let taken = if refused { Taken::No } else { Taken::Yes };
        // Boxed, because it is seldom, and every payment would carry its room.
        Box::pin(shared.desk().used((merchant, name), staged, (account.picked, taken))).await;
    }
}

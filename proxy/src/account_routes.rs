//! The routes of one account: read, stored, deleted, asked about, rotated.

use crate::accounts::{Case, Desk, Trouble, Validated};
use crate::clock;
use crate::reply::Reply;
use crate::resource::Refused;
use crate::rotation::{State, Uses};
use crate::shared::Shared;
use filters::decode::{self, FieldError};
use filters::reject::Reject;
use filters::route::{Route, Verb};
use model::{AccountName, Credentials, Principal, Secret};
use providers::Gateway;
use providers::credentials::masked;
use serde::Serialize;
use serde_json::Value;
use vault::audit::{Action, Who};
use vault::{Account, Pick, Staged};

/// An account with its credentials, masked.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AccountWhole<'a> {
    name: &'a str,
    creation_time: String,
    enabled: bool,
    payment_gateway_name: &'a str,
    credentials: Vec<KeyValue<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    staged: Option<StagedWhole<'a>>,
}

#[derive(Serialize)]
struct KeyValue<'a> {
    key: &'a str,
    value: String,
}

/// What is staged at an account, its credentials masked.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StagedWhole<'a> {
    state: &'static str,
    percent: u8,
    staged_time: String,
    validated_time: Option<String>,
    failed_time: Option<String>,
    credentials: Vec<KeyValue<'a>>,
    current_uses: UsesItem,
    staged_uses: UsesItem,
}

#[derive(Serialize)]
struct UsesItem {
    payments: u64,
    refusals: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Validation {
    result: &'static str,
    advice: &'static str,
    payment_gateway_name: &'static str,
}

/// What the API calls the list of an account's credentials.
const CREDENTIALS: &str = "credentials";

/// Answers a request of `principal` about the account `name`.
pub(crate) async fn answer(
    shared: &Shared,
    principal: &Principal,
    (route, verb, name): (&Route, Verb, &AccountName),
    body: &[u8],
    who: &Who,
) -> Result<Reply, Refused> {
    let case = Case { merchant: &principal.merchant, name, who };
    let audit = shared.vault.audit();
    let desk = shared.desk();
    match (route, verb) {
        (Route::Account(_), Verb::Put) => put(shared, case, body).await?,
        (Route::Account(_), Verb::Delete) => {
            // The API knows no 404 here: to delete what is not there changes nothing.
            let event = who.event(Action::AccountDelete, Some(case.merchant), name.as_str());
            let delete = shared.vault.delete_account(case.merchant, name, clock::now_millis());
            audit.act(event, delete).await?;
            desk.changed(case);
            return Ok(Reply::empty(200));
        }
        (Route::AccountValidate(_), _) => {
            return Ok(validation(desk.validate(case, Pick::Current).await?));
        }
        (Route::Staged(_), Verb::Delete) => {
            desk.unstage(case).await?;
            return Ok(Reply::empty(200));
        }
        (Route::Staged(_), _) => {
            desk.stage(case, decode::staged(body).map_err(Refused::Invalid)?).await?;
        }
        (Route::StagedRetire(_), _) => desk.retire(case).await?,
        (Route::StagedSwitch(_), _) => {
            desk.switch(case, decode::switch(body).map_err(Refused::Invalid)?).await?;
        }
        (Route::StagedValidate(_), _) => {
            return Ok(validation(desk.validate(case, Pick::Staged).await?));
        }
        (_, _) => {
            audit.note(who.event(Action::AccountRead, Some(case.merchant), name.as_str()))?;
        }
    }
    whole(desk, case)
}

async fn put(shared: &Shared, case: Case<'_>, body: &[u8]) -> Result<(), Refused> {
    let (input, state) = decode::account(body).map_err(Refused::Invalid)?;
    let gateway = providers::by_gateway(&input.gateway).ok_or(Trouble::NoGateway)?.gateway();
    gateway.check(&input.credentials).map_err(Trouble::Fault)?;
    let (Case { merchant, name, who }, now) = (case, clock::now_millis());
    let event = who.event(Action::AccountPut, Some(merchant), name.as_str());
    let with = (input.credentials, state);
    let put = shared.vault.put_account_as(merchant, name, gateway.id, with, now);
    shared.vault.audit().act(event, put).await?;
    shared.desk().changed(case);
    Ok(())
}

/// The account as it is now.
fn whole(desk: Desk<'_>, case: Case<'_>) -> Result<Reply, Refused> {
    Ok(Reply::json(200, &value(desk, case)?))
}

/// The account as it is shown, to merchants and to operators.
pub(crate) fn value(desk: Desk<'_>, case: Case<'_>) -> Result<Value, Trouble> {
    let account = desk.account(case)?;
    let Account { brief, credentials, .. } = &*account;
    let gateway = providers::by_gateway(&brief.gateway).map(|provider| provider.gateway());
    let staged = desk.staged(case)?;
    let pairs = staged.as_ref().and_then(|of| Some((of.staged?, &of.credentials)));
    let whole = AccountWhole {
        name: brief.name.as_str(),
        creation_time: clock::timestamp(brief.created),
        enabled: brief.state.is_enabled(),
        payment_gateway_name: &brief.gateway,
        credentials: shown(gateway, credentials),
        staged: pairs.map(|(staged, credentials)| {
            let counts = desk.counts(case, &staged);
            let uses = [counts.current, counts.staged].map(UsesItem::of);
            StagedWhole::of(&staged, shown(gateway, credentials), uses)
        }),
    };
    // Our own types are always writable.
    Ok(serde_json::to_value(&whole).unwrap_or_default())
}

fn validation(validated: Validated) -> Reply {
    let Validated { validity, gateway } = validated;
    let (result, advice) = (validity.word(), validity.advice());
    Reply::json(200, &Validation { result, advice, payment_gateway_name: gateway })
}

/// Credentials as they may be shown: those that are not described as public are masked.
fn shown<'a>(gateway: Option<&Gateway>, credentials: &'a Credentials) -> Vec<KeyValue<'a>> {
    let is_public =
        |key: &str| gateway.and_then(|it| it.spec(key)).is_some_and(|spec| !spec.secret);
    let pair = |(key, value): (&'a str, &Secret)| {
        // Exposed because the provider's description says that it is no secret.
        let value = if is_public(key) { value.expose().to_owned() } else { masked(value) };
        KeyValue { key, value }
    };
    credentials.iter().map(pair).collect()
}

// === impl StagedWhole ===

impl<'a> StagedWhole<'a> {
    fn of(staged: &Staged, credentials: Vec<KeyValue<'a>>, uses: [UsesItem; 2]) -> Self {
        let [current_uses, staged_uses] = uses;
        Self {
            state: State::of(staged).word(),
            percent: staged.percent,
            staged_time: clock::timestamp(staged.since),
            validated_time: staged.validated.map(clock::timestamp),
            failed_time: staged.failed.map(clock::timestamp),
            credentials,
            current_uses,
            staged_uses,
        }
    }
}

// === impl UsesItem ===

impl UsesItem {
    fn of(Uses { payments, refusals }: Uses) -> Self {
        Self { payments, refusals }
    }
}

// === impl Refused ===

impl From<Trouble> for Refused {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Audit(error) => {
                log::error!("the audit log failed: {error}");
                Self::Reject(Reject::VaultUnavailable)
            }
            Trouble::Fault(fault) => {
                Self::Invalid(FieldError::new(fault.place.field(CREDENTIALS), fault.problem))
            }
            Trouble::NoAccount => Self::Reject(Reject::NoSuchAccount),
            Trouble::NoGateway => {
                Self::Invalid(FieldError::new("paymentGatewayName", "there is no such gateway"))
            }
            Trouble::NothingStaged => Self::Reject(Reject::NothingStaged),
            Trouble::NotSwitched => Self::Reject(Reject::NotSwitched),
            Trouble::NotValidated => Self::Reject(Reject::NotValidated),
            Trouble::Vault(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::shown;
    use model::{Credentials, Secret};

    #[test]
    fn what_is_not_described_as_public_is_masked() {
        let adyen = providers::by_gateway("Adyen").map(|provider| provider.gateway());
        let pairs = [("apikey", "AQE0123456789abcdefghij"), ("Merchant Account", "ShopECOM")];
        let pairs = pairs.into_iter().chain([("Unknown", "unknown-of-all-here")]);
        let pairs = pairs.map(|(name, value)| (name.into(), Secret::new(value))).collect();
        let credentials = Credentials::new(pairs);
        let values = |gateway| -> Vec<String> {
            shown(gateway, &credentials).into_iter().map(|pair| pair.value).collect()
        };
        assert_eq!(values(adyen), ["****ghij", "ShopECOM", "****here"]);
        assert_eq!(values(None), ["****ghij", "****", "****here"]);
    }
}

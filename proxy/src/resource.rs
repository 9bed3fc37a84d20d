//! The routes that ask no provider: gateways, accounts, tokens, the key itself.

use crate::account_routes;
use crate::balance;
use crate::clock;
use crate::payment;
use crate::reply::Reply;
use crate::shared::Shared;
use crate::transactions;
use filters::decode::{self, BindingInput, FieldError, TokenInput};
use filters::reject::Reject;
use filters::route::{Route, Verb};
use model::{AccountName, CardToken, Kind, Principal};
use providers::{CredentialSpec, Gateway};
use serde::Serialize;
use vault::audit::{Action, AuditError, Source, Who, object_of};
use vault::{AccountBrief, Binding, Terms, TokenMeta, VaultError};

/// Why a route has no ordinary answer.
#[derive(Debug)]
pub(crate) enum Refused {
    Invalid(FieldError),
    Reject(Reject),
}

/// One gateway of `GET /PaymentGateway`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GatewayDescription {
    name: &'static str,
    display_name: &'static str,
    payment_gateway_url: &'static str,
    description: &'static str,
    credentials_names: Vec<&'static str>,
    supports_network_token: bool,
    credentials: Vec<CredentialDescription>,
}

/// One credential of a gateway.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CredentialDescription {
    name: &'static str,
    aliases: &'static [&'static str],
    required: bool,
    secret: bool,
    max_length: usize,
    form: &'static str,
}

/// One account of `GET /PaymentGatewayAccounts`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AccountItem<'a> {
    name: &'a str,
    payment_gateway_name: &'a str,
    creation_time: String,
    enabled: bool,
}

/// What is said of a token to those who may not see behind it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TokenItem<'a> {
    token: &'a str,
    create_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expire_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    masked_card_number: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    bindings: Vec<BindingItem<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    metadata: Vec<MetadataItem<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BindingItem<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_gateway_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_gateway_account_name: Option<&'a str>,
}

#[derive(Serialize)]
struct MetadataItem<'a> {
    key: &'a str,
    value: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TokenWhole<'a> {
    clear_payload: &'a str,
    token: &'a str,
    create_time: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AuthenticationResult<'a> {
    status: &'static str,
    user_name: &'a str,
    account_id: i64,
    is_sandbox: bool,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) route: &'a Route,
    pub(crate) verb: Verb,
    pub(crate) query: &'a str,
    pub(crate) body: &'a [u8],
}

/// Answers a request of `principal` to one of these routes.
pub(crate) async fn answer(
    shared: &Shared,
    principal: &Principal,
    Asked { route, verb, query, body }: Asked<'_>,
    who: &Who,
) -> Result<Reply, Refused> {
    let merchant = &principal.merchant;
    let audit = shared.vault.audit();
    let event = |action, object: &str| who.event(action, Some(merchant), object);
    match (route, verb) {
        (Route::Explain, _) => {
            let request = decode::payment(Kind::Charge, body, clock::month_anywhere());
            payment::explain(shared, merchant, request.map_err(Refused::Invalid)?)
        }
        (Route::Gateways, _) => Ok(gateways()),
        (Route::ApiKey, _) => Ok(api_key(principal)),
        (Route::Accounts, _) => {
            audit.note(event(Action::AccountList, "all"))?;
            Ok(accounts(&shared.vault.accounts(merchant)?))
        }
        (
            Route::Account(name)
            | Route::AccountValidate(name)
            | Route::Staged(name)
            | Route::StagedRetire(name)
            | Route::StagedSwitch(name)
            | Route::StagedValidate(name),
            _,
        ) => account_routes::answer(shared, principal, (route, verb, name), body, who).await,
        (Route::StringTokens, _) => keep(shared, principal, body, who).await,
        (Route::StringToken(token), Verb::Delete) => {
            let event = event(Action::TokenDelete, &object_of(token));
            let gone =
                audit.act(event, shared.vault.forget(merchant, token, clock::now_millis())).await?;
            gone.then(|| Reply::empty(200)).ok_or(NO_TOKEN)
        }
        (Route::StringToken(token), _) => reveal(shared, principal, token, who).await,
        (Route::StringTokenMeta(token), _) => {
            audit.note(event(Action::TokenDescribe, &object_of(token)))?;
            let found = shared.vault.token_meta(merchant, token, clock::now_millis())?;
            found.map(|meta| Reply::json(200, &TokenItem::of(&meta))).ok_or(NO_TOKEN)
        }
        (Route::AccountBalance(name), _) => {
            audit.note(event(Action::AccountRead, name.as_str()))?;
            balance::show(shared, merchant, name, query).await
        }
        (Route::Transactions, _) => transactions::list(&shared.vault, merchant, query),
        (Route::Transaction(id), _) => transactions::show(&shared.vault, merchant, id),
        (_, _) => Err(Refused::Reject(Reject::NotFound)),
    }
}

/// The answer where there is no such thing.
const NO_TOKEN: Refused = Refused::Reject(Reject::NoSuchToken);

fn gateways() -> Reply {
    let all: Vec<_> =
        providers::PROVIDERS.iter().map(|provider| describe(provider.gateway())).collect();
    Reply::json(200, &all)
}

fn describe(gateway: &Gateway) -> GatewayDescription {
    GatewayDescription {
        name: gateway.id,
        display_name: gateway.display_name,
        payment_gateway_url: gateway.url,
        description: gateway.description,
        credentials_names: gateway.credentials.iter().map(|one| one.name).collect(),
        supports_network_token: gateway.supports_network_token,
        credentials: gateway.credentials.iter().map(CredentialDescription::of).collect(),
    }
}

impl CredentialDescription {
    fn of(spec: &CredentialSpec) -> Self {
        let CredentialSpec { name, aliases, required, secret, form, form_text, .. } = *spec;
        Self { name, aliases, required, secret, max_length: form.max(), form: form_text }
    }
}

fn api_key(principal: &Principal) -> Reply {
    let result = AuthenticationResult {
        status: "OK",
        user_name: &principal.name,
        account_id: account_id(principal.merchant.as_str()),
        is_sandbox: principal.sandbox,
    };
    Reply::json(200, &result)
}

/// A stable positive number for a merchant's name, since the API wants one (FNV-1a, 53 bits, so
/// that every JSON reader keeps it exactly).
fn account_id(merchant: &str) -> i64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = merchant.bytes().fold(0xcbf2_9ce4_8422_2325, step);
    i64::try_from(hash >> 11).unwrap_or_default()
}

// === accounts ===

fn accounts(briefs: &[AccountBrief]) -> Reply {
    let item = |brief| AccountItem::of(brief);
    Reply::json(200, &briefs.iter().map(item).collect::<Vec<_>>())
}

impl<'a> AccountItem<'a> {
    fn of(brief: &'a AccountBrief) -> Self {
        Self {
            name: brief.name.as_str(),
            payment_gateway_name: &brief.gateway,
            creation_time: clock::timestamp(brief.created),
            enabled: brief.state.is_enabled(),
        }
    }
}

// === tokens ===

async fn keep(
    shared: &Shared,
    principal: &Principal,
    body: &[u8],
    who: &Who,
) -> Result<Reply, Refused> {
    let merchant = &principal.merchant;
    let TokenInput { payload, time_to_live_s, bindings, metadata } =
        decode::string_token(body).map_err(Refused::Invalid)?;
    let bindings = bindings.into_iter().enumerate().map(binding).collect::<Result<_, _>>()?;
    let terms = Terms { time_to_live_s, bindings, metadata };
    let meta = shared.vault.keep_on(merchant, payload, terms, clock::now_millis()).await?;
    let event = who.event(Action::TokenCreate, Some(merchant), object_of(&meta.token));
    shared.vault.audit().note(event)?;
    let location = format!("/StringTokens/{}", meta.token);
    Ok(Reply::json(201, &TokenItem::of(&meta)).with("location", location))
}

/// A place that a token is bound to, if its gateway is one.
fn binding((nth, input): (usize, BindingInput)) -> Result<Binding, Refused> {
    let BindingInput { gateway, account } = input;
    let Some(provider) = providers::by_gateway(&gateway) else {
        let field = format!("bindings[{nth}].paymentGatewayName");
        return Err(Refused::Invalid(FieldError::new(field, "there is no such gateway")));
    };
    Ok(Binding { gateway: Some(provider.gateway().id.into()), account })
}

/// Shows a text, at most so often for a key, and never before the audit log has it on the disk.
async fn reveal(
    shared: &Shared,
    principal: &Principal,
    token: &CardToken,
    who: &Who,
) -> Result<Reply, Refused> {
    let audit = shared.vault.audit();
    let verdict = shared.reveals.check(&principal.key);
    if !verdict.allowed {
        shared.metrics.limited("reveals");
        audit.refused("more reveals than a key may have", Source::Key(principal.key.clone()));
        return Err(Refused::Reject(Reject::QuotaExceeded {
            retry_after_s: verdict.retry_after_s,
        }));
    }
    let merchant = &principal.merchant;
    let event = who.event(Action::TokenReveal, Some(merchant), object_of(token));
    let found = shared.vault.token(merchant, token, clock::now_millis())?;
    let Some((payload, meta)) = found else {
        audit.record(event.failed("no such token")).await?;
        return Err(NO_TOKEN);
    };
    audit.record(event).await?;
    let whole = TokenWhole {
        // The payload is exposed because the caller has the scope for it and asked.
        clear_payload: payload.expose(),
        token: meta.token.as_str(),
        create_time: clock::timestamp(meta.created),
    };
    Ok(Reply::json(200, &whole))
}

impl<'a> TokenItem<'a> {
    fn of(meta: &'a TokenMeta) -> Self {
        let binding = |binding: &'a Binding| BindingItem {
            payment_gateway_name: binding.gateway.as_deref(),
            payment_gateway_account_name: binding.account.as_ref().map(AccountName::as_str),
        };
        let pair = |(key, value): &'a (Box<str>, Box<str>)| MetadataItem { key, value };
        Self {
            token: meta.token.as_str(),
            create_time: clock::timestamp(meta.created),
            expire_time: meta.expires.map(clock::timestamp),
            masked_card_number: meta.card.as_ref().map(|card| &*card.mask),
            fingerprint: meta.card.as_ref().map(|card| &*card.fingerprint),
            bindings: meta.bindings.iter().map(binding).collect(),
            metadata: meta.metadata.iter().map(pair).collect(),
        }
    }
}

// === impl Refused ===

impl From<AuditError> for Refused {
    fn from(error: AuditError) -> Self {
        VaultError::from(error).into()
    }
}

impl From<VaultError> for Refused {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Size { .. } => {
                Self::Invalid(FieldError::new("", "is too large to be kept"))
            }
            VaultError::CardLike => {
                let problem = "must not hold what could be a card number";
                Self::Invalid(FieldError::new("metadata", problem))
            }
            VaultError::NoTerms => {
                let problem = "a card verification value takes no other fields";
                Self::Invalid(FieldError::new("payload", problem))
            }
            VaultError::TooMany { .. } => Self::Reject(Reject::Overloaded),
            VaultError::Audit(_)
            | VaultError::Custodian
            | VaultError::CustodianApproved
            | VaultError::CustodianExists
            | VaultError::CustodianSecret
            | VaultError::Hsm(_)
            | VaultError::KeyInUse
            | VaultError::Locked
            | VaultError::NewCustodian
            | VaultError::NoCustodian
            | VaultError::NoCustodians
            | VaultError::NoSuchKey
            | VaultError::NoSuchMerchant
            | VaultError::NotNothing
            | VaultError::Rotating
            | VaultError::SameCustodian
            | VaultError::Sealed { .. }
            | VaultError::Shredded
            | VaultError::Store(_) => {
                log::error!("the vault failed: {error}");
                Self::Reject(Reject::VaultUnavailable)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::account_id;

    #[test]
    fn merchants_have_stable_positive_numbers() {
        assert_eq!(account_id("demo"), account_id("demo"));
        assert_ne!(account_id("demo"), account_id("shop"));
        assert!(account_id("demo") > 0);
    }
}

//! The routes that ask no provider: gateways, accounts, tokens, the key itself.

use crate::account_routes;
use crate::clock;
use crate::reply::Reply;
use crate::shared::Shared;
use filters::decode::{self, FieldError};
use filters::reject::Reject;
use filters::route::{Route, Verb};
use model::{CardToken, Principal};
use providers::{CredentialSpec, Gateway};
use serde::Serialize;
use vault::{AccountBrief, TokenMeta, VaultError};

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
}

/// What is said of a token to those who may not see behind it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TokenItem<'a> {
    token: &'a str,
    create_time: String,
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

/// Answers a request of `principal` to one of these routes.
pub(crate) async fn answer(
    shared: &Shared,
    principal: &Principal,
    route: &Route,
    verb: Verb,
    body: &[u8],
) -> Result<Reply, Refused> {
    let merchant = &principal.merchant;
    match (route, verb) {
        (Route::Gateways, _) => Ok(gateways()),
        (Route::ApiKey, _) => Ok(api_key(principal)),
        (Route::Accounts, _) => Ok(accounts(&shared.vault.accounts(merchant)?)),
        (
            Route::Account(name)
            | Route::AccountValidate(name)
            | Route::Staged(name)
            | Route::StagedRetire(name)
            | Route::StagedSwitch(name)
            | Route::StagedValidate(name),
            _,
        ) => account_routes::answer(shared, principal, (route, verb, name), body).await,
        (Route::StringTokens, _) => keep(shared, principal, body).await,
        (Route::StringToken(token), Verb::Delete) => {
            let gone = shared.vault.forget(merchant, token).await?;
            gone.then(|| Reply::empty(200)).ok_or(NO_TOKEN)
        }
        (Route::StringToken(token), _) => reveal(shared, principal, token),
        (Route::StringTokenMeta(token), _) => {
            let found = shared.vault.token_meta(merchant, token)?;
            found.map(|meta| Reply::json(200, &TokenItem::of(&meta))).ok_or(NO_TOKEN)
        }
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
        }
    }
}

// === tokens ===

async fn keep(shared: &Shared, principal: &Principal, body: &[u8]) -> Result<Reply, Refused> {
    let payload = decode::string_token(body).map_err(Refused::Invalid)?;
    let meta = shared.vault.keep(&principal.merchant, payload, clock::now_millis()).await?;
    let location = format!("/StringTokens/{}", meta.token);
    Ok(Reply::json(201, &TokenItem::of(&meta)).with("location", location))
}

fn reveal(shared: &Shared, principal: &Principal, token: &CardToken) -> Result<Reply, Refused> {
    let (payload, meta) = shared.vault.token(&principal.merchant, token)?.ok_or(NO_TOKEN)?;
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
        Self { token: meta.token.as_str(), create_time: clock::timestamp(meta.created) }
    }
}

// === impl Refused ===

impl From<VaultError> for Refused {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Size { .. } => {
                Self::Invalid(FieldError::new("", "is too large to be kept"))
            }
            VaultError::TooMany { .. } => Self::Reject(Reject::Overloaded),
            VaultError::Audit(_)
            | VaultError::Custodian
            | VaultError::CustodianExists
            | VaultError::CustodianSecret
            | VaultError::Hsm(_)
            | VaultError::KeyInUse
            | VaultError::Locked
            | VaultError::NoSuchKey
            | VaultError::NoSuchMerchant
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

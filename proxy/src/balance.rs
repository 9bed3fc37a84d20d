//! `GET /PaymentGatewayAccounts/{name}/balance`: what our journal says, and beside it what the
//! gateway says. The two count different things, so that neither is worked into the other.

use crate::clock;
use crate::exchange::Exchange;
use crate::reply::Reply;
use crate::resource::Refused;
use crate::shared::Shared;
use filters::query;
use filters::reject::Reject;
use model::{AccountName, Currency, MerchantId, Sums};
use providers::funds::Funds;
use providers::wire::Answer;
use providers::{Cx, Provider, Validity};
use serde::Serialize;
use serde_json::value::RawValue;
use vault::payments::{Balance, Period};
use vault::{Account, VaultError};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BalanceModel<'a> {
    account: &'a str,
    payment_gateway_name: &'static str,
    journal: JournalBalance,
    gateway: GatewayBalance,
}

/// What we know.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JournalBalance {
    as_of: String,
    /// There are more payments than one balance counts: these are the oldest.
    truncated: bool,
    next: Option<String>,
    currencies: Vec<JournalFunds>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JournalFunds {
    currency: Box<str>,
    payments: u64,
    payments_in_doubt: u64,
    authorized_amount: Number,
    captured_amount: Number,
    pending_capture_amount: Number,
    refunded_amount: Number,
    pending_refund_amount: Number,
}

/// What the gateway tells.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GatewayBalance {
    result: &'static str,
    advice: &'static str,
    as_of: String,
    currencies: Vec<GatewayFunds>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GatewayFunds {
    currency: Box<str>,
    available_amount: Number,
    pending_amount: Number,
}

/// Major units, exactly.
type Number = Option<Box<RawValue>>;

/// The word for a gateway that has no such call, and what to do about it.
const NOT_SUPPORTED: (&str, &str) =
    ("NotSupported", "This gateway has no call for it: look at its own reports.");
/// The word where the gateway has told it.
const TOLD: (&str, &str) = ("Told", "As the gateway counts: less fees, and with what it paid out.");

/// Shows the balance of an account.
pub(crate) async fn show(
    shared: &Shared,
    merchant: &MerchantId,
    name: &AccountName,
    query: &str,
) -> Result<Reply, Refused> {
    let asked = query::balance(query).map_err(Refused::Invalid)?;
    let account = shared.vault.account(merchant, name)?;
    let account = account.ok_or(Refused::Reject(Reject::NoSuchAccount))?;
    let provider = providers::by_gateway(&account.brief.gateway);
    let provider = provider.ok_or(Refused::Reject(Reject::NoSuchAccount))?;
    let period = Period { from: asked.from, until: asked.until };
    let so_far = Balance::after(asked.after);
    // Both are asked at once, and neither waits for the other to fail.
    let ours = journal(shared, (merchant, name), period, so_far);
    let (journal, gateway) = tokio::join!(ours, gateway(shared, provider, &account));
    let payment_gateway_name = provider.gateway().id;
    let account = name.as_str();
    let journal = journal?;
    Ok(Reply::json(200, &BalanceModel { account, payment_gateway_name, journal, gateway }))
}

/// Counts payments page by page, so that others get their turn in between.
async fn journal(
    shared: &Shared,
    (merchant, name): (&MerchantId, &AccountName),
    period: Period,
    mut balance: Balance,
) -> Result<JournalBalance, VaultError> {
    let as_of = clock::timestamp(clock::now_millis());
    while !balance.is_done() {
        shared.vault.add_to_balance(merchant, name, period, &mut balance)?;
        tokio::task::yield_now().await;
    }
    let currencies = balance.sums().map(JournalFunds::of).collect();
    let next = balance.next().map(ToString::to_string);
    Ok(JournalBalance { as_of, truncated: next.is_some(), next, currencies })
}

async fn gateway(shared: &Shared, provider: &dyn Provider, account: &Account) -> GatewayBalance {
    let now = clock::now_seconds();
    let cx = Cx { credentials: &account.credentials, now, nonce: rand::random() };
    let told = match provider.funds_request(&cx) {
        Ok(None) => return GatewayBalance::of(NOT_SUPPORTED, Vec::new()),
        Ok(Some(request)) => match shared.upstreams.exchange(provider.name(), request).await {
            Exchange::Answer(answer) => {
                provider.funds(&Answer { status: answer.status, body: &answer.body })
            }
            Exchange::NotSent(_) | Exchange::Unknown(_) => Err(Validity::ProviderUnavailable),
        },
        // They were checked when they were stored, so this is an older account.
        Err(_) => Err(Validity::CredentialsRefused),
    };
    match told {
        Ok(funds) => GatewayBalance::of(TOLD, funds.iter().map(GatewayFunds::of).collect()),
        Err(why) => GatewayBalance::of((why.word(), why.advice()), Vec::new()),
    }
}

fn number(currency: Currency, minor: i64) -> Number {
    RawValue::from_string(currency.decimal(minor)).ok()
}

// === impl JournalFunds ===

impl JournalFunds {
    fn of((currency, sums): &(Currency, Sums)) -> Self {
        let number = |minor: u64| number(*currency, i64::try_from(minor).unwrap_or(i64::MAX));
        Self {
            currency: currency.code().into(),
            payments: sums.payments,
            payments_in_doubt: sums.in_doubt,
            authorized_amount: number(sums.authorized),
            captured_amount: number(sums.captured),
            pending_capture_amount: number(sums.pending_capture),
            refunded_amount: number(sums.refunded),
            pending_refund_amount: number(sums.pending_refund),
        }
    }
}

// === impl GatewayBalance ===

impl GatewayBalance {
    /// As of now: it has just told.
    fn of((result, advice): (&'static str, &'static str), currencies: Vec<GatewayFunds>) -> Self {
        Self { result, advice, as_of: clock::timestamp(clock::now_millis()), currencies }
    }
}

// === impl GatewayFunds ===

impl GatewayFunds {
    fn of(funds: &Funds) -> Self {
        Self {
            currency: funds.currency.code().into(),
            available_amount: number(funds.currency, funds.available),
            pending_amount: number(funds.currency, funds.pending),
        }
    }
}

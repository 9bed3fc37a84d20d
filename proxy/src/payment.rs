//! A payment operation from plan to end: find the account, open the card, ask the provider.
//!
//! Once begun it goes on to its end (see `undying`), so that a client that leaves cannot leave a charge
//! half done.
//! A card is in the clear from `Vault::open_card` to the end of `Provider::request`, in
//! [`write_request`], and nowhere else.

use crate::exchange::Exchange;
use crate::metrics::Phase;
use crate::result::{Ending, Finished};
use crate::rotation::Taken;
use crate::shared::Shared;
use crate::undying::{Panicked, Undying};
use crate::upstream::Tally;
use filters::decode::{AccountChoice, FieldError, PaymentRequest};
use model::{
    AccountName, Amount, CardRef, Credentials, Gone, Kind, MerchantId, Operation, Outcome, Report,
    Unknown,
};
use providers::wire::{Answer, Request};
use providers::{Cx, EXCHANGES_MAX, Provider, Refusal, Step};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use vault::audit::Who;
use vault::{CardError, Staged, Use, VaultError};

/// What a merchant asked for, decoded, and who asked.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) account: AccountChoice,
    pub(crate) merchant: MerchantId,
    pub(crate) operation: Operation<CardRef>,
    pub(crate) who: Who,
}

/// How a plan ended for the merchant.
#[derive(Debug)]
pub(crate) enum Performed {
    Finished(Box<Finished>),
    /// It says something that cannot be; nothing was sent.
    Invalid(FieldError),
}

/// The account that an operation goes to.
struct Account {
    credentials: Held,
    name: Option<AccountName>,
    provider: &'static dyn Provider,
}

/// Where credentials are.
enum Held {
    /// In the vault's account, which lends them.
    Stored(Arc<vault::Account>),
    /// In the request.
    Inline(Credentials),
}

/// Why there is nothing to send.
enum NothingToSend {
    Failed,
    Invalid(FieldError),
    NotSupported,
}

// === impl Plan ===

impl Plan {
    /// Puts a decoded request and its caller together, and names the attempt.
    pub(crate) fn new(request: PaymentRequest, merchant: MerchantId, who: Who) -> Self {
        let PaymentRequest { action, merchant_reference, account, .. } = request;
        let operation = Operation { key: attempt_key(), merchant_reference, action };
        Self { account, merchant, operation, who }
    }

    /// Carries the plan out.
    ///
    /// Whoever waits may go away: the payment goes on, and its outcome is counted all the same.
    pub(crate) async fn perform(self, shared: &Arc<Shared>) -> Performed {
        let sent = Arc::new(AtomicBool::new(false));
        let key = self.operation.key.clone();
        let (kind, amount) = (self.operation.kind(), self.operation.amount());
        let payment = Undying::new(perform(shared.clone(), self, sent.clone()));
        payment.await.unwrap_or_else(|Panicked| {
            let finished = broken(key, kind, amount, &sent);
            shared.metrics.operation_done(&finished);
            Performed::Finished(Box::new(finished))
        })
    }
}

/// 32 characters `[0-9a-f]`, unique for ever by chance (128 random bits).
fn attempt_key() -> Box<str> {
    let digits = crate::context::hex(rand::random());
    str::from_utf8(&digits).unwrap_or_default().into()
}

/// A payment that panicked: a mistake of ours, and if money may have moved, we do not know.
fn broken(key: Box<str>, kind: Kind, amount: Option<Amount>, sent: &AtomicBool) -> Finished {
    log::error!("a payment panicked: transaction {key}");
    let ending = if sent.load(Ordering::SeqCst) {
        Ending::Reported(Report::bare(Outcome::Unknown(Unknown::Interrupted)))
    } else {
        Ending::Failed
    };
    let tally = Tally::default();
    Finished { account: None, amount, ending, gateway: "", key, kind, provider: "-", tally }
}

async fn perform(shared: Arc<Shared>, plan: Plan, sent: Arc<AtomicBool>) -> Performed {
    let _ongoing = shared.metrics.payment_begun();
    let Plan { account, merchant, operation, who } = plan;
    let (key, kind, amount) = (operation.key.clone(), operation.kind(), operation.amount());
    let mut finished = Finished {
        account: None,
        amount,
        ending: Ending::Failed,
        gateway: "",
        key,
        kind,
        provider: "-",
        tally: Tally::default(),
    };
    let ending = match find_account(&shared, &merchant, account) {
        Ok(account) => {
            finished.account.clone_from(&account.name);
            finished.gateway = account.provider.gateway().id;
            finished.provider = account.provider.name();
            let paid =
                pay(&shared, &merchant, &account, operation, &who, &mut finished.tally, &sent);
            let paid = paid.await;
            if let Ok(Ending::Reported(report)) = &paid {
                account.used(&shared, &merchant, report).await;
            }
            paid
        }
        Err(nothing) => Err(nothing),
    };
    finished.ending = match ending {
        Ok(ending) => ending,
        Err(NothingToSend::Failed) => Ending::Failed,
        Err(NothingToSend::Invalid(error)) => return Performed::Invalid(error),
        Err(NothingToSend::NotSupported) => Ending::NotSupported,
    };
    // Counted here and not by whoever waits, since they may be gone.
    shared.metrics.operation_done(&finished);
    Performed::Finished(Box::new(finished))
}

/// Does one operation at one account.
async fn pay(
    shared: &Shared,
    merchant: &MerchantId,
    account: &Account,
    operation: Operation<CardRef>,
    who: &Who,
    tally: &mut Tally,
    sent: &AtomicBool,
) -> Result<Ending, NothingToSend> {
    let credentials = account.credentials.get();
    let cx = Cx { credentials, now: crate::clock::now_seconds(), nonce: rand::random() };
    match write_request(shared, merchant, account, operation, who, &cx)? {
        Written::Answered(report) => Ok(Ending::Reported(report)),
        Written::Request(operation, request) => {
            Ok(converse(shared, account.provider, &operation, request, &cx, tally, sent).await)
        }
    }
}

/// What there is once the card is gone again.
enum Written {
    /// A provider inside this program has answered.
    Answered(Report),
    Request(Operation<Gone>, Request),
}

/// Opens the card and writes the first request. The card lives as long as this function runs.
fn write_request(
    shared: &Shared,
    merchant: &MerchantId,
    account: &Account,
    operation: Operation<CardRef>,
    who: &Who,
    cx: &Cx<'_>,
) -> Result<Written, NothingToSend> {
    let began = Instant::now();
    let Account { name, provider, .. } = account;
    let gateway = provider.gateway().id;
    let purpose = Use { who, gateway, account: name.as_ref(), now: crate::clock::now_millis() };
    let operation = shared.vault.open_card(merchant, operation, purpose)?;
    shared.metrics.phase(Phase::OpenCard, began.elapsed());
    let request = provider.request(&operation, cx);
    let operation = operation.forget_card();
    if let Some(report) = provider.instant(&operation) {
        return Ok(Written::Answered(report));
    }
    Ok(Written::Request(operation, request?))
}

/// Exchanges requests and answers with the provider until the operation has an end.
async fn converse(
    shared: &Shared,
    provider: &'static dyn Provider,
    operation: &Operation<Gone>,
    mut request: Request,
    cx: &Cx<'_>,
    tally: &mut Tally,
    sent: &AtomicBool,
) -> Ending {
    for nth in 0..EXCHANGES_MAX {
        let moves_money = request.moves_money;
        if moves_money {
            sent.store(true, Ordering::SeqCst);
        }
        let began = Instant::now();
        let exchange = shared.upstreams.exchange(provider.name(), request).await;
        tally.add(&exchange, began.elapsed());
        let answer = match exchange {
            Exchange::Answer(answer) => answer,
            Exchange::NotSent(error) => return not_sent(operation, &error),
            Exchange::Unknown(error) if !moves_money => return not_sent(operation, &error),
            Exchange::Unknown(error) => return unknown(operation, &error),
        };
        let answer = Answer { status: answer.status, body: &answer.body };
        match provider.step(operation, nth, &answer, cx) {
            Step::Send(next) => request = next,
            Step::Done(report) => return settled(report, moves_money),
        }
    }
    log::error!("a provider asks for more exchanges than there may be: {}", provider.name());
    Ending::Reported(Report::bare(Outcome::Unknown(Unknown::Unreadable)))
}

/// An answer without meaning to a request that moves no money leaves no doubt about the money.
fn settled(report: Report, moves_money: bool) -> Ending {
    match report.outcome {
        Outcome::Unknown(_) if !moves_money => Ending::NotSent,
        Outcome::Approved
        | Outcome::Declined(_)
        | Outcome::Pending
        | Outcome::Rejected(_)
        | Outcome::Unknown(_) => Ending::Reported(report),
    }
}

/// Only the class of the error is logged: its text may quote what was sent or received.
fn not_sent(operation: &Operation<Gone>, error: &pingora::Error) -> Ending {
    log::warn!("transaction {}: not sent: {}", operation.key, error.etype().as_str());
    Ending::NotSent
}

fn unknown(operation: &Operation<Gone>, error: &pingora::Error) -> Ending {
    log::warn!("transaction {}: outcome unknown: {}", operation.key, error.etype().as_str());
    Ending::Reported(Report::bare(Outcome::Unknown(Unknown::Interrupted)))
}

/// Finds the account that the merchant named or brought along.
fn find_account(
    shared: &Shared,
    merchant: &MerchantId,
    choice: AccountChoice,
) -> Result<Account, NothingToSend> {
    let name = match choice {
        AccountChoice::Named(name) => name,
        AccountChoice::Inline { gateway, credentials } => return inline(&gateway, credentials),
    };
    let began = Instant::now();
    let pick = |staged: &Staged| shared.rotations.pick(merchant, &name, staged, rand::random());
    let found = shared.vault.account_by(merchant, &name, pick)?;
    shared.metrics.phase(Phase::OpenAccount, began.elapsed());
    let found = found.ok_or(invalid(NAME, "there is no such account"))?;
    let provider = providers::by_gateway(&found.brief.gateway);
    let provider = provider.ok_or(invalid(NAME, "has no known gateway"))?;
    if provider.gateway().missing(&found.credentials).is_some() {
        return Err(invalid(NAME, "lacks a credential that its gateway requires"));
    }
    Ok(Account { credentials: Held::Stored(found), name: Some(name), provider })
}

/// Checks the account that the merchant brought along, as one that is stored is checked.
fn inline(gateway: &str, credentials: Credentials) -> Result<Account, NothingToSend> {
    let provider = providers::by_gateway(gateway).ok_or(invalid(INLINE, "has no known gateway"))?;
    provider.gateway().check(&credentials).map_err(|fault| {
        let field = fault.place.field(INLINE_CREDENTIALS);
        NothingToSend::Invalid(FieldError::new(field, fault.problem))
    })?;
    Ok(Account { credentials: Held::Inline(credentials), name: None, provider })
}

// === impl Held ===

impl Held {
    fn get(&self) -> &Credentials {
        match self {
            Self::Stored(account) => &account.credentials,
            Self::Inline(credentials) => credentials,
        }
    }
}

/// The field that names an account.
const NAME: &str = "paymentGatewayAccountName";
/// The field that brings an account along.
const INLINE: &str = "paymentGatewayAccount";
const INLINE_CREDENTIALS: &str = "paymentGatewayAccount.credentials";

// === impl Account ===

impl Account {
    /// Counts the answer to a payment, where credentials are staged: refusals end their use.
    async fn used(&self, shared: &Shared, merchant: &MerchantId, report: &Report) {
        let (Some(name), Held::Stored(account)) = (&self.name, &self.credentials) else { return };
        let Some(staged) = &account.staged else { return };
        let refused = self.provider.refuses_account(report);
        let taken = if refused { Taken::No } else { Taken::Yes };
        shared.desk().used((merchant, name), staged, (account.picked, taken)).await;
    }
}

// === impl NothingToSend ===

fn invalid(field: &'static str, problem: &'static str) -> NothingToSend {
    NothingToSend::Invalid(FieldError::new(field, problem))
}

impl From<VaultError> for NothingToSend {
    fn from(error: VaultError) -> Self {
        log::error!("the vault failed: {error}");
        Self::Failed
    }
}

impl From<CardError> for NothingToSend {
    fn from(error: CardError) -> Self {
        match error {
            CardError::Field { name, problem } => invalid(name, problem),
            CardError::Vault(error) => error.into(),
        }
    }
}

impl From<Refusal> for NothingToSend {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Field { name, problem } => invalid(name, problem),
            Refusal::Unsupported => Self::NotSupported,
        }
    }
}

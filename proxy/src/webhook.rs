//! What providers send of their own accord: proven, taken into the journal, and only then
//! acknowledged.
//!
//! A delivery is refused whole, or taken whole. What speaks of no payment of ours is acknowledged
//! too, since the provider would only send it again.

use crate::clock;
use crate::inquiry::Answered;
use crate::reply::Reply;
use crate::shared::Shared;
use filters::reject::Reject;
use model::{
    About, AccountName, Learnt, MerchantId, Notice, Outcome, Payment, Report, Standing, Subject,
    Teller, TransactionId,
};
use providers::webhook::{self, Delivery, Unproven};
use providers::{Cx, Provider};
use std::sync::Arc;
use std::time::Duration;
use vault::payments::Heard;
use vault::{Account, Pick, VaultError};

/// How many questions one notice may lead to, where it tells nothing itself.
const QUESTIONS_MAX: usize = 4;

/// Whose webhook it is.
pub(crate) struct Case<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) merchant: &'a MerchantId,
    pub(crate) account: &'a AccountName,
}

/// A delivery that is its provider's.
struct Proven {
    provider: &'static dyn Provider,
    notices: Vec<Notice>,
}

/// Takes a delivery.
pub(crate) async fn take(case: &Case<'_>, delivery: &Delivery<'_>) -> Result<Reply, Reject> {
    let Proven { provider, notices } = prove(case, delivery)?;
    let teller = Teller { provider: provider.name().into(), account: case.account.clone() };
    if notices.is_empty() {
        case.shared.metrics.notice_heard(provider.name(), "ignored");
    }
    for notice in &notices {
        let result = match &notice.report {
            Some(report) => hear(case, &teller, notice, report).await,
            None => ask(case, &teller, notice).await,
        };
        let word = result.map_err(|error| unkept(&error))?;
        case.shared.metrics.notice_heard(provider.name(), word);
        if word == UNDECIDED {
            // Sent again, it may be known.
            return Err(Reject::Overloaded);
        }
    }
    Ok(Reply::receipt(provider.receipt()))
}

/// Tells a provider that asks for it that somebody hears it who knows the secret in use.
pub(crate) fn prove_hearing(case: &Case<'_>, query: &str) -> Result<Reply, Reject> {
    let account = find(case, Pick::Current)?;
    let provider = account.as_ref().and_then(|found| providers::by_gateway(&found.brief.gateway));
    let proof = match account.as_ref().zip(provider) {
        Some((account, provider)) => provider.proof(query, &Cx::timeless(&account.credentials)),
        None => Err(Unproven::NotExpected),
    };
    proof.map(Reply::text).map_err(|why| refuse(case, why))
}

/// Checks that the provider of the account sent this, with the secret in use or the staged one.
fn prove(case: &Case<'_>, delivery: &Delivery<'_>) -> Result<Proven, Reject> {
    let mut why = Unproven::NotExpected;
    for pick in [Pick::Current, Pick::Staged] {
        let Some(account) = find(case, pick)? else { break };
        let Some(provider) = providers::by_gateway(&account.brief.gateway) else { break };
        let credentials = &account.credentials;
        let cx = Cx { credentials, now: clock::now_seconds(), nonce: 0 };
        match webhook::read(provider, delivery, &cx) {
            Ok(notices) => return Ok(Proven { provider, notices }),
            Err(unproven) => why = unproven,
        }
        if account.staged.is_none() {
            break;
        }
    }
    Err(refuse(case, why))
}

/// Nobody learns why.
fn refuse(case: &Case<'_>, why: Unproven) -> Reject {
    case.shared.metrics.webhook_refused(why);
    Reject::WebhookRefused
}

/// Whether there is such a merchant or account nobody learns here.
fn find(case: &Case<'_>, pick: Pick) -> Result<Option<Arc<Account>>, Reject> {
    match case.shared.vault.account_by(case.merchant, case.account, |_| pick) {
        Ok(account) => Ok(account),
        Err(VaultError::NoSuchMerchant | VaultError::Shredded) => Ok(None),
        Err(error) => Err(unkept(&error)),
    }
}

fn unkept(error: &VaultError) -> Reject {
    log::error!("the vault failed: {error}");
    Reject::VaultUnavailable
}

// === what is told ===

async fn hear(
    case: &Case<'_>,
    teller: &Teller,
    notice: &Notice,
    report: &Report,
) -> Result<&'static str, VaultError> {
    let now = clock::now_millis();
    let vault = &case.shared.vault;
    let (heard, payment) = vault.hear(case.merchant, teller, (notice, report), now).await?;
    Ok(match heard {
        Heard::Repeated => "repeated",
        Heard::Unknown => "unknown",
        Heard::Learnt(learnt) => told(learnt, payment.as_ref()),
    })
}

/// The word for what was learnt. What somebody has to look at is told them.
fn told(learnt: Learnt, payment: Option<&TransactionId>) -> &'static str {
    let id = payment.map_or("", TransactionId::as_str);
    match learnt {
        Learnt::Differs => log::error!("transaction {id}: its provider tells another amount"),
        Learnt::Moved => log::info!("transaction {id}: its provider told how it stands"),
        Learnt::Stray => log::error!("transaction {id}: what was told not to be done stands"),
        Learnt::Foreign | Learnt::Known => {}
    }
    match learnt {
        Learnt::Differs => "differs",
        Learnt::Foreign => "foreign",
        Learnt::Known => "known",
        Learnt::Moved => "moved",
        Learnt::Stray => "stray",
    }
}

// === what is only hinted at ===

/// The word for what the provider itself does not know yet.
const UNDECIDED: &str = "undecided";

/// Asks the provider what a notice does not tell, about all of its payment that may still change.
async fn ask(
    case: &Case<'_>,
    teller: &Teller,
    notice: &Notice,
) -> Result<&'static str, VaultError> {
    let Case { shared, merchant, .. } = case;
    let nothing = Report::bare(Outcome::Pending);
    let id = shared.vault.payment_told(merchant, teller, &notice.about, &nothing)?;
    let payment = match &id {
        Some(id) => shared.vault.payment(merchant, id)?,
        None => None,
    };
    let Some(payment) = payment else { return Ok("unknown") };
    // It may be about one from which the payment went on.
    let last = payment.attempts.len().saturating_sub(1);
    let payment = payment.until(payment.attempt_told(teller, &notice.about).unwrap_or(last));
    if !payment.last_attempt().is_some_and(|attempt| attempt.is_of(teller)) {
        return Ok("foreign");
    }
    let mut word = "known";
    // Somebody may have it in hand: that there is nothing is for the resolver to find.
    let asker = shared.asker(Duration::ZERO);
    for change in unsettled(&payment).into_iter().take(QUESTIONS_MAX) {
        let answered = asker.inquire(merchant, &payment, change.as_ref()).await;
        let Answered::Known(Standing::Ended(_), Some(report)) = answered else {
            if change.is_none() && did_nothing(&payment) {
                continue;
            }
            return Ok(UNDECIDED);
        };
        let about = about(&payment, change.as_ref());
        let said = (&about, &report);
        let lesson = shared.vault.learn(merchant, &payment.id, teller, said).await?;
        let learnt = lesson.map(|lesson| lesson.learnt);
        if let Some(learnt @ (Learnt::Moved | Learnt::Stray)) = learnt {
            word = told(learnt, Some(&payment.id));
        }
    }
    Ok(word)
}

/// Whether it is certain that a payment was not made, unless its provider says that it was.
fn did_nothing(payment: &Payment) -> bool {
    payment.last_attempt().is_some_and(|attempt| attempt.standing.is_nothing())
}

/// What of a payment may still change: itself (none), or these changes.
fn unsettled(payment: &Payment) -> Vec<Option<TransactionId>> {
    let open = |standing: Standing| !standing.is_final();
    let itself = payment.last_attempt().is_some_and(|attempt| open(attempt.standing));
    let itself = (itself || did_nothing(payment)).then_some(None);
    let changes = payment.changes.iter().filter(|change| open(change.standing));
    itself.into_iter().chain(changes.map(|change| Some(change.id.clone()))).collect()
}

/// Exactly this of a payment.
fn about(payment: &Payment, change: Option<&TransactionId>) -> About {
    let last = payment.attempts.len().saturating_sub(1);
    let found = change.and_then(|id| payment.change(id));
    About {
        subject: found.map_or(Subject::Payment, |change| Subject::Change(change.kind)),
        key: Some(found.map_or(payment.id.attempt_key(last), |change| change.id.attempt_key(0))),
        payment_key: None,
        payment: None,
        action: None,
        merchant_reference: None,
    }
}

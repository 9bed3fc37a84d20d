//! Asks the provider of a payment what became of it, or of a change of it.
//!
//! It only asks: nothing that it sends moves money.

use crate::clock;
use crate::exchange::Exchange;
use crate::metrics::Metrics;
use crate::upstream::Upstreams;
use model::doubt::{self, Belief, Heard};
use model::{AccountName, Kind, MerchantId, Payment, Report, Standing, TransactionId};
use providers::wire::Answer;
use providers::{Cx, Found, Lost, Provider};
use std::time::Duration;
use vault::payments::Ongoing;
use vault::{Vault, VaultError};

/// Who asks.
#[derive(Clone, Copy)]
pub(crate) struct Asker<'a> {
    pub(crate) vault: &'a Vault,
    pub(crate) upstreams: &'a Upstreams,
    pub(crate) metrics: &'a Metrics,
    /// How long nobody has had it in hand: so long ago, at least, was the last of it sent.
    pub(crate) idle: Duration,
}

/// What came of a question.
#[derive(Debug)]
pub(crate) enum Answered {
    /// What became of it.
    Known(Standing, Option<Report>),
    /// Ask again later.
    Later(&'static str),
}

/// Keeps what became of something in doubt.
///
/// # Errors
/// The vault failed, and it is in doubt as before.
pub(crate) async fn conclude(
    vault: &Vault,
    mut ongoing: Ongoing,
    standing: Standing,
    report: Option<&Report>,
) -> Result<(), VaultError> {
    ongoing.note(standing, report);
    let id = ongoing.payment.id.clone();
    vault.settle(ongoing, None).await?;
    log::info!("transaction {id} is resolved");
    Ok(())
}

/// How long the provider of a payment may not show yet what it did.
pub(crate) fn lag_of(payment: &Payment) -> Duration {
    let provider = payment.last_attempt().and_then(|one| providers::by_gateway(&one.provider));
    provider.map_or(Duration::ZERO, Provider::lag)
}

// === impl Asker ===

impl Asker<'_> {
    /// Asks the provider of a payment what became of it, or of this change of it.
    pub(crate) async fn inquire(
        self,
        merchant: &MerchantId,
        payment: &Payment,
        change: Option<&TransactionId>,
    ) -> Answered {
        // Before it is asked: what it says was so by then.
        let Some(question) = Question::of(payment, change, self.idle) else {
            return Answered::Later("it has no attempt");
        };
        let Some(account) = question.account else {
            return Answered::Later("its credentials came with the request and were not kept");
        };
        let found = self.vault.account(merchant, account);
        let Ok(Some(account)) = found else { return Answered::Later("its account is gone") };
        let credentials = &account.credentials;
        let cx = Cx { credentials, now: clock::now_seconds(), nonce: rand::random() };
        let Ok(request) = question.provider.inquiry(&question.lost(), &cx) else {
            return Answered::Later("its provider cannot be asked");
        };
        if request.moves_money {
            return Answered::Later("its provider cannot be asked without moving money");
        }
        let provider = question.provider.name();
        let found = match self.upstreams.exchange(provider, request).await {
            Exchange::Answer(answer) => {
                let answer = Answer { status: answer.status, body: &answer.body };
                question.provider.found(&question.lost(), &answer)
            }
            Exchange::NotSent(_) | Exchange::Unknown(_) => Found::Unclear,
        };
        let known = question.read(found);
        let word = match &known {
            Answered::Known(Standing::NotDone, _) => "not_done",
            Answered::Known(Standing::Ended(outcome), _) => outcome.word(),
            Answered::Known(Standing::Sending, _) | Answered::Later(_) => "later",
        };
        self.metrics.resolved(provider, word);
        known
    }
}

/// What is asked, and where.
struct Question<'a> {
    account: Option<&'a AccountName>,
    provider: &'static dyn Provider,
    kind: Kind,
    key: Box<str>,
    merchant_reference: Option<&'a str>,
    amount: model::Amount,
    earlier: Option<&'a str>,
    memo: Option<&'a str>,
    /// In seconds since 1970.
    sent: u64,
    /// When it is asked, in seconds since 1970.
    now: u64,
    idle: Duration,
}

// === impl Question ===

impl<'a> Question<'a> {
    fn of(payment: &'a Payment, change: Option<&'a TransactionId>, idle: Duration) -> Option<Self> {
        let attempt = payment.last_attempt()?;
        let provider = providers::by_gateway(&attempt.provider)?;
        let nth = payment.attempts.len().saturating_sub(1);
        let (kind, key, amount, sent) = match change {
            None => (payment.kind(), payment.id.attempt_key(nth), payment.amount, attempt.began),
            Some(id) => {
                let change = payment.change(id)?;
                (change.kind.kind(), id.attempt_key(0), change.amount, id.millis())
            }
        };
        Some(Self {
            account: attempt.account.as_ref(),
            provider,
            kind,
            key,
            merchant_reference: payment.merchant_reference.as_deref(),
            amount,
            earlier: change.and(attempt.evidence.reference.as_deref()),
            memo: payment.memo.as_deref(),
            sent: sent.checked_div(1_000).unwrap_or_default(),
            now: clock::now_seconds(),
            idle,
        })
    }

    fn lost(&self) -> Lost<'_> {
        Lost {
            kind: self.kind,
            key: &self.key,
            reference: self.merchant_reference.unwrap_or(&self.key),
            amount: self.amount,
            payment: self.earlier,
            memo: self.memo,
            sent: self.sent,
            now: self.now,
        }
    }

    /// What is known now.
    fn read(&self, found: Found) -> Answered {
        let age = Duration::from_secs(self.lost().age()).min(self.idle);
        let lag = self.provider.lag();
        let doubt = doubt::Doubt { kind: self.kind, amount: self.amount, age, lag };
        let heard = match &found {
            Found::Report(report) => Heard::Report(report),
            Found::Absent => Heard::Absent,
            Found::Unclear => Heard::Unclear,
        };
        match (doubt.believe(heard), found) {
            (Belief::Known(standing), Found::Report(report)) => {
                Answered::Known(standing, Some(report))
            }
            (Belief::Known(standing), Found::Absent | Found::Unclear) => {
                Answered::Known(standing, None)
            }
            (Belief::Later(why), _) => Answered::Later(why),
        }
    }
}

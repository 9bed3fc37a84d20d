//! Asks the provider of a payment what became of it, or of a change of it.
//!
//! It asks, and moves no money, but for one thing: a change may be asked for once more under its key, at
//! a provider that remembers keys and shows nothing otherwise. When it may, and what is believed, is in
//! [`model::doubt`].

use crate::clock;
use crate::exchange::Exchange;
use crate::metrics::Metrics;
use crate::upstream::Upstreams;
use model::doubt::{Asked, Belief, Doubt, Heard, Question};
use model::{MerchantId, Payment, Report, Standing, TransactionId};
use providers::pursuit::{Pursuit, QUESTIONS_MAX, Trail};
use providers::wire::{Answer, Request};
use providers::{Cx, Found, Lost, Provider};
use std::sync::Arc;
use std::time::Duration;
use vault::payments::Ongoing;
use vault::{Account, Vault, VaultError};

/// Who asks.
#[derive(Clone, Copy)]
pub(crate) struct Asker<'a> {
    pub(crate) vault: &'a Vault,
    pub(crate) upstreams: &'a Upstreams,
    pub(crate) metrics: &'a Metrics,
    /// How long nobody has had it in hand: so long ago, at least, was the last of it sent.
    pub(crate) idle: Duration,
    /// Whether a change may be asked for again.
    pub(crate) may_repeat: bool,
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

/// A question, and all that it takes to ask it.
struct Prepared<'a> {
    question: Question<'a>,
    provider: &'static dyn Provider,
    account: Arc<Account>,
    /// When it is asked, in milliseconds since 1970: what is answered was so by then.
    now: u64,
    idle: Duration,
}

// === impl Asker ===

impl Asker<'_> {
    /// Why nobody can be asked about something now, if that is so.
    pub(crate) fn cannot(self, ongoing: &Ongoing) -> Option<&'static str> {
        let Ongoing { merchant, payment, change, .. } = ongoing;
        let prepared = self.prepare(merchant, payment, change.as_ref());
        prepared.and_then(|prepared| self.first(&prepared)).err()
    }

    /// Asks the provider of a payment what became of it, or of this change of it.
    pub(crate) async fn inquire(
        self,
        merchant: &MerchantId,
        payment: &Payment,
        change: Option<&TransactionId>,
    ) -> Answered {
        let prepared = self.prepare(merchant, payment, change);
        let first = prepared.and_then(|prepared| Ok((self.first(&prepared)?, prepared)));
        let ((request, asked), prepared) = match first {
            Ok(first) => first,
            Err(why) => return Answered::Later(why),
        };
        let found = self.pursue(&prepared, request).await;
        let known = read(&prepared.doubt(), asked, found);
        self.metrics.resolved(prepared.provider.name(), known.word());
        known
    }

    fn prepare<'a>(
        &self,
        merchant: &MerchantId,
        payment: &'a Payment,
        change: Option<&TransactionId>,
    ) -> Result<Prepared<'a>, &'static str> {
        let now = self.vault.moment(clock::now_millis());
        let question = Question::of(payment, change).ok_or("it has no attempt")?;
        let provider =
            providers::by_gateway(question.provider).ok_or("its gateway is not known")?;
        let brought = "its credentials came with the request and were not kept";
        let account = self.vault.account(merchant, question.account.ok_or(brought)?);
        let account = account.ok().flatten().ok_or("its account is gone")?;
        Ok(Prepared { question, provider, account, now, idle: self.idle })
    }

    /// The first question, and whether it asks for the change itself.
    fn first(&self, prepared: &Prepared<'_>) -> Result<(Request, Asked), &'static str> {
        let request = prepared.provider.inquiry(&prepared.lost(), &prepared.cx());
        let request = request.map_err(|_| "its provider cannot be asked")?;
        if !request.moves_money {
            return Ok((request, Asked::About));
        }
        let may_repeat = self.may_repeat && prepared.doubt().may_come_again();
        let again = may_repeat.then_some((request, Asked::Again));
        again.ok_or("its provider cannot be asked without moving money")
    }

    /// Asks, and goes on to ask where the answers lead.
    async fn pursue(self, prepared: &Prepared<'_>, first: Request) -> Found {
        let Prepared { provider, .. } = prepared;
        let (mut trail, mut request) = (Trail::default(), first);
        for _ in 0..QUESTIONS_MAX {
            let exchange = self.upstreams.exchange(provider.name(), request).await;
            let Exchange::Answer(answer) = exchange else { return Found::Unclear };
            let answer = Answer { status: answer.status, body: &answer.body };
            request = match provider.pursue(&prepared.lost(), &mut trail, &answer, &prepared.cx()) {
                Pursuit::Found(found) => return found,
                Pursuit::Ask(next) if next.moves_money => return Found::Unclear,
                Pursuit::Ask(next) => next,
            };
        }
        Found::Unclear
    }
}

// === impl Prepared ===

impl Prepared<'_> {
    fn cx(&self) -> Cx<'_> {
        let credentials = &self.account.credentials;
        Cx { credentials, now: clock::now_seconds(), nonce: rand::random() }
    }

    fn doubt(&self) -> Doubt<'_> {
        let Self { question, provider, account, now, idle } = self;
        let (lag, remembers) = (provider.lag(), provider.remembers());
        let since = account.brief.since;
        Doubt { question, now: *now, idle: *idle, since, lag, remembers }
    }

    /// The question in the words of providers.
    fn lost(&self) -> Lost<'_> {
        let question = &self.question;
        Lost {
            kind: question.kind,
            key: &question.key,
            reference: question.merchant_reference.unwrap_or(&question.key),
            amount: question.amount,
            payment: question.earlier,
            memo: question.memo,
            sent: question.sent.checked_div(1_000).unwrap_or_default(),
            now: self.now.checked_div(1_000).unwrap_or_default(),
        }
    }
}

/// What is known now.
fn read(doubt: &Doubt<'_>, asked: Asked, found: Found) -> Answered {
    let heard = match &found {
        Found::Report(report) => Heard::Report(report),
        Found::Absent => Heard::Absent,
        Found::Unclear => Heard::Unclear,
    };
    match (doubt.believe(asked, heard), found) {
        (Belief::Known(standing), Found::Report(report)) => Answered::Known(standing, Some(report)),
        (Belief::Known(standing), Found::Absent | Found::Unclear) => {
            Answered::Known(standing, None)
        }
        (Belief::Later(why), _) => Answered::Later(why),
    }
}

// === impl Answered ===

impl Answered {
    /// What metrics call it.
    fn word(&self) -> &'static str {
        match self {
            Self::Known(Standing::NotDone, _) => "not_done",
            Self::Known(Standing::Ended(outcome), _) => outcome.word(),
            Self::Known(Standing::Sending, _) | Self::Later(_) => "later",
        }
    }
}

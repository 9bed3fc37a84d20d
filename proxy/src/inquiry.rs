//! Asks the provider of a payment what became of it, or of a change of it.
//!
//! It asks, and moves no money, but for one thing: a change may be asked for again under the key that it
//! was asked for with, at a provider that remembers keys and shows nothing otherwise. Whichever of
//! the two comes first is carried out, and the other one is answered as the first was.

use crate::clock;
use crate::exchange::Exchange;
use crate::metrics::Metrics;
use crate::upstream::Upstreams;
use model::doubt::{self, Belief, Heard};
use model::{AccountName, Kind, MerchantId, Payment, Report, Standing, TransactionId};
use providers::wire::{Answer, Request};
use providers::{Cx, Found, Lost, Provider};
use std::time::Duration;
use vault::payments::Ongoing;
use vault::{AccountBrief, Vault, VaultError};

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

/// For how long before its provider may forget a key a change is not asked for again: a question may be
/// under way for a while, and clocks differ.
const REPEAT_MARGIN: Duration = Duration::from_hours(24);

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
    /// Why nobody can be asked about something now, if that is so.
    pub(crate) fn cannot(self, ongoing: &Ongoing) -> Option<&'static str> {
        let Ongoing { merchant, payment, change, .. } = ongoing;
        self.question(merchant, payment, change.as_ref()).err()
    }

    /// Asks the provider of a payment what became of it, or of this change of it.
    pub(crate) async fn inquire(
        self,
        merchant: &MerchantId,
        payment: &Payment,
        change: Option<&TransactionId>,
    ) -> Answered {
        let (question, request, before) = match self.question(merchant, payment, change) {
            Ok(question) => question,
            Err(why) => return Answered::Later(why),
        };
        let provider = question.provider.name();
        let found = match self.upstreams.exchange(provider, request).await {
            Exchange::Answer(answer) => {
                let answer = Answer { status: answer.status, body: &answer.body };
                question.provider.found(&question.lost(), &answer)
            }
            Exchange::NotSent(_) | Exchange::Unknown(_) => Found::Unclear,
        };
        let known = match question.read(found) {
            Answered::Known(Standing::NotDone, _) if before => {
                Answered::Later("its account has got other credentials since")
            }
            known @ (Answered::Known(..) | Answered::Later(_)) => known,
        };
        let word = match &known {
            Answered::Known(Standing::NotDone, _) => "not_done",
            Answered::Known(Standing::Ended(outcome), _) => outcome.word(),
            Answered::Known(Standing::Sending, _) | Answered::Later(_) => "later",
        };
        self.metrics.resolved(provider, word);
        known
    }

    /// What is asked, how, and whether the account has got other credentials since; or why nothing can be
    /// asked.
    fn question<'a>(
        &self,
        merchant: &MerchantId,
        payment: &'a Payment,
        change: Option<&TransactionId>,
    ) -> Result<(Question<'a>, Request, bool), &'static str> {
        // Before it is asked: what it says was so by then.
        let question = Question::of(payment, change, self.idle).ok_or("it has no attempt")?;
        let brought = "its credentials came with the request and were not kept";
        let account = self.vault.account(merchant, question.account.ok_or(brought)?);
        let account = account.ok().flatten().ok_or("its account is gone")?;
        let credentials = &account.credentials;
        let cx = Cx { credentials, now: clock::now_seconds(), nonce: rand::random() };
        let request = question.provider.inquiry(&question.lost(), &cx);
        let request = request.map_err(|_| "its provider cannot be asked")?;
        let before = question.is_before(&account.brief);
        let may_repeat = self.may_repeat && !before && question.may_come_again();
        if request.moves_money && !may_repeat {
            return Err("its provider cannot be asked without moving money");
        }
        Ok((question, request, before))
    }
}

/// What is asked, and where.
struct Question<'a> {
    account: Option<&'a AccountName>,
    /// Whether the account that is asked is the one through which it was asked for.
    is_same_account: bool,
    provider: &'static dyn Provider,
    kind: Kind,
    key: Box<str>,
    merchant_reference: Option<&'a str>,
    amount: model::Amount,
    earlier: Option<&'a str>,
    memo: Option<&'a str>,
    /// In milliseconds since 1970.
    sent: u64,
    /// When it is asked, in seconds since 1970.
    now: u64,
    idle: Duration,
}

// === impl Question ===

impl<'a> Question<'a> {
    fn of(payment: &'a Payment, change: Option<&TransactionId>, idle: Duration) -> Option<Self> {
        let attempt = payment.last_attempt()?;
        let provider = providers::by_gateway(&attempt.provider)?;
        let nth = payment.attempts.len().saturating_sub(1);
        let whole = Self {
            account: attempt.account.as_ref(),
            is_same_account: true,
            provider,
            kind: payment.kind(),
            key: payment.id.attempt_key(nth),
            merchant_reference: payment.merchant_reference.as_deref(),
            amount: payment.amount,
            earlier: None,
            memo: payment.memo.as_deref(),
            sent: attempt.began,
            now: clock::now_seconds(),
            idle,
        };
        let Some(id) = change else { return Some(whole) };
        let change = payment.change(id)?;
        Some(Self {
            is_same_account: change.account == attempt.account,
            kind: change.kind.kind(),
            key: id.attempt_key(0),
            merchant_reference: change.merchant_reference.as_deref(),
            amount: change.amount,
            earlier: attempt.evidence.reference.as_deref(),
            sent: id.millis(),
            ..whole
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
            sent: self.sent.checked_div(1_000).unwrap_or_default(),
            now: self.now,
        }
    }

    /// Whether it was sent before the account got the credentials that it has: then another account of
    /// the gateway may be asked than the one that has it.
    fn is_before(&self, account: &AccountBrief) -> bool {
        self.sent < account.since
    }

    /// Whether the provider certainly still knows the key, under which nothing happens twice.
    fn may_come_again(&self) -> bool {
        let age = Duration::from_secs(self.lost().age()).max(self.idle);
        let known =
            age.checked_add(REPEAT_MARGIN).is_some_and(|age| age < self.provider.remembers());
        self.is_same_account && known
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

#[cfg(test)]
mod tests {
    use super::{Question, REPEAT_MARGIN};
    use crate::clock;
    use model::{
        AccountName, AccountState, Amount, Attempt, Capture, Change, ChangeKind, Currency,
        Evidence, Outcome, Payment, Standing, TransactionId,
    };
    use std::time::Duration;
    use vault::AccountBrief;

    const DAY_MS: u64 = 86_400_000;

    fn account(name: &str) -> Option<AccountName> {
        Some(AccountName::parse(name).unwrap())
    }

    /// A payment at `provider`, through the account `first`, of which a part is captured since so many
    /// milliseconds.
    fn payment(provider: &str, captured_ago: u64) -> (Payment, TransactionId) {
        let now = clock::now_millis();
        let evidence = Evidence { reference: Some("psp".into()), ..Evidence::default() };
        let standing = Standing::Ended(Outcome::Approved);
        let (provider, began) = (provider.into(), now.saturating_sub(30 * DAY_MS));
        let attempt = Attempt { account: account("first"), provider, began, standing, evidence };
        let id = TransactionId::new(now.saturating_sub(captured_ago), 7);
        let change = Change {
            id: id.clone(),
            kind: ChangeKind::Capture,
            amount: Amount::new(60, Currency::EUR).unwrap(),
            account: account("first"),
            merchant_reference: Some("CAP-1".into()),
            standing: Standing::Sending,
            evidence: Evidence::default(),
        };
        let payment = Payment {
            id: TransactionId::new(began, 1),
            capture: Capture::Later,
            amount: Amount::new(100, Currency::EUR).unwrap(),
            merchant_reference: Some("ORD-1".into()),
            adopted: false,
            last_four: None,
            memo: None,
            attempts: vec![attempt],
            changes: vec![change],
        };
        (payment, id)
    }

    fn may_come_again((payment, id): &(Payment, TransactionId), idle: Duration) -> bool {
        Question::of(payment, Some(id), idle).unwrap().may_come_again()
    }

    #[test]
    fn a_change_is_asked_for_by_its_own_name_and_not_by_that_of_its_payment() {
        let (payment, id) = payment("adyen", 0);
        let of_change = Question::of(&payment, Some(&id), Duration::ZERO).unwrap();
        assert_eq!((of_change.lost().reference, of_change.lost().payment), ("CAP-1", Some("psp")));
        let of_payment = Question::of(&payment, None, Duration::ZERO).unwrap();
        assert_eq!((of_payment.lost().reference, of_payment.lost().payment), ("ORD-1", None));
    }

    #[test]
    fn nothing_comes_again_when_its_provider_may_have_forgotten_the_key() {
        let remembered = Duration::from_hours(7 * 24).saturating_sub(REPEAT_MARGIN);
        let millis = u64::try_from(remembered.as_millis()).unwrap();
        let young = payment("adyen", millis - 60_000);
        assert!(may_come_again(&young, Duration::ZERO));
        assert!(!may_come_again(&payment("adyen", millis + 60_000), Duration::ZERO));
        // A clock that was put back makes it look younger than it is known to be.
        assert!(!may_come_again(&young, remembered));
        assert!(!may_come_again(&payment("stripe", 0), Duration::ZERO), "it says for how long");
    }

    #[test]
    fn nothing_comes_again_through_another_account_than_before() {
        let mut other = payment("adyen", 0);
        other.0.changes.iter_mut().for_each(|change| change.account = account("second"));
        assert!(!may_come_again(&other, Duration::ZERO));
        other.0.changes.iter_mut().for_each(|change| change.account = None);
        assert!(!may_come_again(&other, Duration::ZERO), "its credentials came with the request");
    }

    #[test]
    fn what_was_sent_before_the_account_had_its_credentials_is_known() {
        let (payment, id) = payment("adyen", 1_000);
        let question = Question::of(&payment, Some(&id), Duration::ZERO).unwrap();
        let account = |since| AccountBrief {
            name: AccountName::parse("first").unwrap(),
            gateway: "Adyen".into(),
            created: 0,
            since,
            state: AccountState::Enabled,
        };
        assert!(question.is_before(&account(id.millis() + 1)));
        assert!(!question.is_before(&account(id.millis())));
    }
}

//! What operators ask about payments, above all those of which nobody knows what became of them.

use super::{Answer, Counter, Refusal, wire};
use crate::clock;
use crate::inquiry::{Answered, Asker, conclude, lag_of};
use crate::transactions;
use model::{
    AccountName, Decline, Evidence, MerchantId, Outcome, Payment, Report, Standing, State,
    TransactionId, doubt,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use vault::audit::{Action, Who};
use vault::payments::{Doubt, Filter, Ongoing, Stray};
use vault::{VaultError, is_card_like};

/// How much in doubt is looked through.
const DOUBTS_MAX: usize = 10_000;
/// How many lines one answer has.
const LINES_MAX: usize = 100;
/// How long the name of whoever states an outcome may be, and the reason, in bytes.
const BY_BYTES_MAX: usize = 32;
const REASON_BYTES_MAX: usize = 200;
/// The code in the place of a provider's, where a person said what became of it.
const STATED: &str = "stated";

/// What is asked about payments.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Transactions {
    List(ListTransactions),
    Resolve(Resolve),
    Show(Transaction),
}

/// Which payments are wanted.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListTransactions {
    /// Needed, unless what is in doubt is wanted.
    #[serde(with = "wire::maybe")]
    pub merchant: Option<MerchantId>,
    #[serde(with = "wire::maybe")]
    pub account: Option<AccountName>,
    #[serde(with = "wire::maybe")]
    pub state: Option<State>,
    pub in_doubt: bool,
    #[serde(with = "wire::maybe")]
    pub after: Option<TransactionId>,
}

/// A payment or a change of one, by its name.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transaction {
    #[serde(with = "wire::word")]
    pub id: TransactionId,
}

/// To ask the provider what became of something, or to say so in its place.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resolve {
    #[serde(with = "wire::word")]
    pub id: TransactionId,
    pub statement: Option<Statement>,
}

/// What a person says became of something.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    pub verdict: Verdict,
    pub reason: Box<str>,
    pub by: Box<str>,
    /// The provider's name for it.
    pub reference: Option<Box<str>>,
}

/// What can be said of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Declined,
    NotExecuted,
    Succeeded,
}

/// A page of payments.
#[derive(Debug, Serialize, Deserialize)]
pub struct TransactionLines {
    pub transactions: Vec<TransactionLine>,
    /// Where the next page begins.
    pub next: Option<Box<str>>,
}

/// A payment, or what is in doubt about one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TransactionLine {
    pub id: Box<str>,
    pub merchant: Box<str>,
    pub account: Option<Box<str>>,
    pub operation: Box<str>,
    pub amount: String,
    pub state: Box<str>,
    pub age_s: u64,
    /// What the resolver knows, where it is in doubt.
    pub doubt: Option<DoubtLine>,
}

/// How something in doubt stands with the resolver.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DoubtLine {
    /// Of the change that is in doubt, or of the payment.
    pub id: Box<str>,
    pub asked: u32,
    pub why: Option<Box<str>>,
    /// None: it is asked about at once, or nobody is there who asks.
    pub asks_in_s: Option<u64>,
}

/// A payment as the API shows it, with what is in doubt about it.
#[derive(Debug, Serialize, Deserialize)]
pub struct WholeTransaction(pub Value);

// === impl Verdict ===

impl Verdict {
    /// Every verdict, in the order of their words.
    pub const ALL: [Self; 3] = [Self::Declined, Self::NotExecuted, Self::Succeeded];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Declined => "declined",
            Self::NotExecuted => "not-executed",
            Self::Succeeded => "succeeded",
        }
    }

    fn standing(self) -> Standing {
        match self {
            Self::Declined => Standing::Ended(Outcome::Declined(Decline::Unmapped)),
            Self::NotExecuted => Standing::NotDone,
            Self::Succeeded => Standing::Ended(Outcome::Approved),
        }
    }

    /// Whether a provider that says this says the same.
    fn agrees(self, standing: Standing) -> bool {
        match (self, standing) {
            (Self::Declined, Standing::Ended(Outcome::Declined(_)))
            | (Self::NotExecuted, Standing::NotDone | Standing::Ended(Outcome::Rejected(_)))
            | (Self::Succeeded, Standing::Ended(Outcome::Approved | Outcome::Pending)) => true,
            (
                Self::Declined | Self::NotExecuted | Self::Succeeded,
                Standing::Sending | Standing::NotDone | Standing::Ended(_),
            ) => false,
        }
    }
}

// === impl Statement ===

impl Statement {
    fn check(&self) -> Result<(), Refusal> {
        let Self { reason, by, reference, .. } = self;
        let texts = [(&**by, BY_BYTES_MAX), (&**reason, REASON_BYTES_MAX)];
        let fits = |(text, max): (&str, usize)| {
            let plain = !text.trim().is_empty() && !text.chars().any(char::is_control);
            plain && text.len() <= max && !text.split_whitespace().any(is_card_like)
        };
        if !texts.into_iter().all(fits) {
            return Err(Refusal::new(
                "a name has 1 to 32 characters and a reason 1 to 200, and neither holds a card number",
            ));
        }
        let fine = reference.as_deref().is_none_or(|text| fits((text, REASON_BYTES_MAX)));
        fine.then_some(()).ok_or(Refusal::new("a reference has 1 to 200 printable characters"))
    }

    /// Refuses what the provider's own words contradict, or could.
    fn contradicts(&self, case: &InDoubt<'_>, why: &'static str) -> Result<(), Refusal> {
        if why == doubt::DIFFERS {
            return Err(Refusal::of(format!("{why}: look at it there, and correct it there")));
        }
        if self.verdict != Verdict::NotExecuted {
            return Ok(());
        }
        if let Some(reference) = &case.evidence.reference {
            return Err(Refusal::of(format!("its provider took it: it calls it {reference}")));
        }
        let left = case.lag.saturating_sub(case.age).as_secs();
        if left > 0 {
            let words = format!("its provider may still carry it out: say so in {left} s");
            return Err(Refusal::of(words));
        }
        Ok(())
    }

    /// What is kept of it, in the place of what a provider says.
    fn report(&self) -> Report {
        let Self { verdict, reason, by, reference } = self;
        let outcome = match verdict.standing() {
            Standing::Ended(outcome) => outcome,
            // A report tells an outcome; what is kept is how it stands, and the words.
            Standing::NotDone | Standing::Sending => {
                Outcome::Rejected(model::Rejected::Unavailable)
            }
        };
        Report {
            reference: reference.clone(),
            code: Some(format!("{STATED} by {by}").into()),
            description: Some(reason.clone()),
            ..Report::bare(outcome)
        }
    }
}

/// Something in doubt, as far as it counts for what may be said of it.
struct InDoubt<'a> {
    evidence: &'a Evidence,
    age: Duration,
    lag: Duration,
}

impl<'a> InDoubt<'a> {
    fn of(ongoing: &'a Ongoing, doubt: &Doubt) -> Option<Self> {
        let attempt = ongoing.payment.last_attempt()?;
        let evidence = match &ongoing.change {
            None => &attempt.evidence,
            Some(id) => &ongoing.payment.change(id)?.evidence,
        };
        let lag = providers::by_gateway(&attempt.provider)?.lag();
        Some(Self { evidence, age: age_of(doubt.id()), lag })
    }
}

fn age_of(id: &TransactionId) -> Duration {
    Duration::from_millis(clock::now_millis().saturating_sub(id.millis()))
}

// === impl Counter ===

impl Counter {
    pub(super) async fn answer_transactions(
        &self,
        who: &Who,
        asked: Transactions,
    ) -> Result<Answer, Refusal> {
        match asked {
            Transactions::List(list) => {
                let event = who.event(Action::TransactionRead, list.merchant.as_ref(), "all");
                self.vault.audit().record(event).await?;
                self.list(&list)
            }
            Transactions::Show(Transaction { id }) => {
                let (merchant, payment) = self.find(&id)?;
                let event = who.event(Action::TransactionRead, Some(&merchant), id.as_str());
                self.vault.audit().record(event).await?;
                Ok(self.whole(&merchant, &payment))
            }
            Transactions::Resolve(resolve) => self.resolve(who, resolve).await,
        }
    }

    fn list(&self, list: &ListTransactions) -> Result<Answer, Refusal> {
        if list.in_doubt {
            return self.list_in_doubt(list);
        }
        let Some(merchant) = &list.merchant else {
            return Err(Refusal::new("say whose payments: --merchant MERCHANT, or --in-doubt"));
        };
        let (account, state) = (list.account.clone(), list.state);
        let filter = Filter { account, state, ..Filter::default() };
        let page = self.vault.payments(merchant, &filter, list.after.as_ref())?;
        let line = |payment| self.line(merchant, payment, None);
        let transactions = page.payments.iter().map(line).collect();
        let next = page.next.as_ref().map(|id| id.as_str().into());
        Ok(Answer::Transactions(TransactionLines { transactions, next }))
    }

    fn list_in_doubt(&self, list: &ListTransactions) -> Result<Answer, Refusal> {
        let mut transactions = Vec::new();
        let mut next = None;
        for doubt in self.doubts() {
            if list.after.as_ref().is_some_and(|after| doubt.id() <= after) {
                continue;
            }
            let Doubt { merchant, payment, .. } = &doubt;
            if list.merchant.as_ref().is_some_and(|wanted| wanted != merchant) {
                continue;
            }
            let Some(payment) = self.vault.payment(merchant, payment)? else { continue };
            if !list.takes(&payment) {
                continue;
            }
            if transactions.len() >= LINES_MAX {
                next = transactions.last().map(TransactionLine::doubt_id);
                break;
            }
            transactions.push(self.line(merchant, &payment, Some(&doubt)));
        }
        Ok(Answer::Transactions(TransactionLines { transactions, next }))
    }

    /// What nobody knows the outcome of, be it asked about at this moment or not.
    fn doubts(&self) -> Vec<Doubt> {
        let open = self.vault.undecided(DOUBTS_MAX);
        let known = |(doubt, busy): (Doubt, bool)| {
            (!busy || self.waits.of(doubt.id()).is_some()).then_some(doubt)
        };
        open.into_iter().filter_map(known).collect()
    }

    /// A payment, by its own name or that of a change of it that is in doubt.
    fn find(&self, id: &TransactionId) -> Result<(MerchantId, Payment), Refusal> {
        if let Some(doubt) = self.doubts().into_iter().find(|doubt| doubt.id() == id)
            && let Some(payment) = self.vault.payment(&doubt.merchant, &doubt.payment)?
        {
            return Ok((doubt.merchant, payment));
        }
        for merchant in self.vault.merchants()? {
            match self.vault.payment(&merchant.id, id) {
                Ok(Some(payment)) => return Ok((merchant.id, payment)),
                Ok(None) | Err(VaultError::Shredded) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Refusal::new("there is no such transaction"))
    }

    fn line(
        &self,
        merchant: &MerchantId,
        payment: &Payment,
        doubt: Option<&Doubt>,
    ) -> TransactionLine {
        let change = doubt.and_then(|doubt| payment.change(doubt.change.as_ref()?));
        let kind = change.map_or(payment.kind(), |change| change.kind.kind());
        let amount = change.map_or(payment.amount, |change| change.amount);
        let account = payment.last_attempt().and_then(|attempt| attempt.account.as_ref());
        TransactionLine {
            id: payment.id.as_str().into(),
            merchant: merchant.as_str().into(),
            account: account.map(|name| name.as_str().into()),
            operation: crate::result::operation_type(kind).into(),
            amount: format!("{} {}", amount.decimal(), amount.currency().code()),
            state: payment.state().word().into(),
            age_s: age_of(doubt.map_or(&payment.id, Doubt::id)).as_secs(),
            doubt: doubt.map(|doubt| self.doubt_line(doubt)),
        }
    }

    fn doubt_line(&self, doubt: &Doubt) -> DoubtLine {
        let wait = self.waits.of(doubt.id());
        let due = wait.and_then(|wait| wait.due);
        DoubtLine {
            id: doubt.id().as_str().into(),
            asked: wait.map_or(0, |wait| wait.asked),
            why: wait.and_then(|wait| wait.why).map(Into::into),
            asks_in_s: due.map(|due| due.saturating_duration_since(Instant::now()).as_secs()),
        }
    }

    fn whole(&self, merchant: &MerchantId, payment: &Payment) -> Answer {
        let mut whole = transactions::value(payment);
        let doubts = self.doubts().into_iter().filter(|doubt| doubt.payment == payment.id);
        let lines: Vec<_> = doubts.map(|doubt| self.doubt_line(&doubt)).collect();
        if let Value::Object(fields) = &mut whole {
            fields.insert("merchant".to_owned(), json!(merchant.as_str()));
            fields.insert("inDoubt".to_owned(), json!(lines));
            if self.stray(&payment.id).is_some() {
                fields.insert("mustNotStand".to_owned(), json!(true));
            }
        }
        Answer::Transaction(Box::new(WholeTransaction(whole)))
    }

    async fn resolve(&self, who: &Who, resolve: Resolve) -> Result<Answer, Refusal> {
        let Resolve { id, statement } = resolve;
        if let Some(statement) = &statement {
            statement.check()?;
        }
        let Some(doubt) = self.doubts().into_iter().find(|doubt| *doubt.id() == id) else {
            if let Some(stray) = self.stray(&id) {
                return self.let_stand(who, &stray, statement).await;
            }
            let (_, payment) = self.find(&id)?;
            let state = payment.state().word();
            return Err(Refusal::of(format!("nothing is in doubt under this name: it is {state}")));
        };
        let object = match &statement {
            None => id.to_string(),
            Some(Statement { verdict, by, .. }) => format!("{id} {} by {by}", verdict.word()),
        };
        let event = who.event(Action::TransactionResolve, Some(&doubt.merchant), object);
        self.vault.audit().act(event, self.settle(&doubt, statement)).await
    }

    /// The payment of this name, if it must not stand.
    fn stray(&self, id: &TransactionId) -> Option<Stray> {
        self.vault.strays(DOUBTS_MAX).into_iter().find(|stray| stray.payment == *id)
    }

    /// Lets a payment stand that would be undone, if that is what is said.
    async fn let_stand(
        &self,
        who: &Who,
        stray: &Stray,
        statement: Option<Statement>,
    ) -> Result<Answer, Refusal> {
        let Some(Statement { verdict: Verdict::Succeeded, by, .. }) = statement else {
            return Err(Refusal::new(
                "its merchant was told that nothing was done, and it is being undone: `--as succeeded` lets it stand",
            ));
        };
        let object = format!("{} {} by {by}", stray.payment, Verdict::Succeeded.word());
        let event = who.event(Action::TransactionResolve, Some(&stray.merchant), object);
        let let_go = async { Ok::<_, Refusal>(self.vault.let_stand(stray).await?) };
        self.vault.audit().act(event, let_go).await?;
        let (merchant, payment) = self.find(&stray.payment)?;
        Ok(self.whole(&merchant, &payment))
    }

    async fn settle(&self, doubt: &Doubt, statement: Option<Statement>) -> Result<Answer, Refusal> {
        let Some(ongoing) = self.vault.take_doubt(doubt)? else {
            return Err(Refusal::new("it is being asked about at this moment: try again"));
        };
        if ongoing.is_open() {
            self.decide(doubt, ongoing, statement).await?;
        } else {
            self.vault.settle(ongoing, None).await?;
        }
        let (merchant, payment) = self.find(&doubt.payment)?;
        Ok(self.whole(&merchant, &payment))
    }

    async fn decide(
        &self,
        doubt: &Doubt,
        ongoing: Ongoing,
        statement: Option<Statement>,
    ) -> Result<(), Refusal> {
        let idle = self.waits.idle(doubt.id(), Instant::now());
        let (vault, upstreams, metrics) = self.parts();
        let asker = Asker { vault, upstreams, metrics, idle, may_repeat: false };
        let Ongoing { merchant, payment, change, .. } = &ongoing;
        match (asker.inquire(merchant, payment, change.as_ref()).await, statement) {
            (Answered::Known(standing, report), statement) => {
                conclude(vault, ongoing, standing, report.as_ref()).await?;
                let agrees = statement.is_none_or(|one| one.verdict.agrees(standing));
                agrees.then_some(()).ok_or(Refusal::new(
                    "its provider says otherwise, and that was kept: see `orchestra transactions show`",
                ))
            }
            (Answered::Later(why), None) => {
                let lag = lag_of(&ongoing.payment);
                self.waits.again(doubt.id(), (why, lag), false, Instant::now());
                Err(Refusal::of(format!("it is still in doubt: {why}")))
            }
            (Answered::Later(why), Some(statement)) => {
                let case = InDoubt::of(&ongoing, doubt);
                let case = case.ok_or(Refusal::new("it has no attempt at a known gateway"))?;
                statement.contradicts(&case, why)?;
                let (standing, report) = (statement.verdict.standing(), statement.report());
                Ok(conclude(vault, ongoing, standing, Some(&report)).await?)
            }
        }
    }
}

// === impl ListTransactions ===

impl ListTransactions {
    fn takes(&self, payment: &Payment) -> bool {
        let of = |name: &AccountName| {
            payment.attempts.iter().any(|attempt| attempt.account.as_ref() == Some(name))
        };
        self.account.as_ref().is_none_or(of)
            && self.state.is_none_or(|state| payment.state() == state)
    }
}

// === impl TransactionLine ===

impl TransactionLine {
    fn doubt_id(&self) -> Box<str> {
        self.doubt.as_ref().map_or(&self.id, |doubt| &doubt.id).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::{InDoubt, Statement, Verdict};
    use model::{Decline, Evidence, Outcome, Rejected, Standing, doubt};
    use std::time::Duration;

    const LAG: Duration = Duration::from_secs(600);

    fn says(verdict: Verdict, reason: &str) -> Statement {
        Statement { verdict, reason: reason.into(), by: "ada".into(), reference: None }
    }

    #[test]
    fn what_contradicts_the_evidence_is_refused() {
        let named = Evidence { reference: Some("pi_1".into()), ..Evidence::default() };
        let nothing = Evidence::default();
        let late = LAG + Duration::from_secs(1);
        let unclear = "its provider cannot be asked";
        for (verdict, evidence, age, why, taken) in [
            (Verdict::NotExecuted, &nothing, late, unclear, true),
            (Verdict::NotExecuted, &nothing, LAG / 2, unclear, false),
            (Verdict::NotExecuted, &named, late, unclear, false),
            (Verdict::NotExecuted, &nothing, late, doubt::DIFFERS, false),
            (Verdict::Succeeded, &nothing, Duration::ZERO, unclear, true),
            (Verdict::Succeeded, &named, late, doubt::DIFFERS, false),
            (Verdict::Declined, &named, Duration::ZERO, unclear, true),
        ] {
            let case = InDoubt { evidence, age, lag: LAG };
            let refused = says(verdict, "seen there").contradicts(&case, why).is_err();
            assert_eq!(refused, !taken, "{verdict:?} {age:?} {why}");
        }
    }

    #[test]
    fn a_statement_is_short_and_holds_no_card() {
        let long = "x".repeat(201);
        assert!(says(Verdict::Succeeded, "seen in the dashboard").check().is_ok());
        for reason in ["", " ", "a\nb", &long, "card 4111111111111111"] {
            assert!(says(Verdict::Succeeded, reason).check().is_err(), "{}", reason.len());
        }
    }

    #[test]
    fn a_provider_that_says_the_same_agrees() {
        let ends = [
            Standing::NotDone,
            Standing::Ended(Outcome::Rejected(Rejected::Malformed)),
            Standing::Ended(Outcome::Declined(Decline::CardDeclined)),
            Standing::Ended(Outcome::Approved),
            Standing::Ended(Outcome::Pending),
        ];
        let agrees = |verdict: Verdict| ends.map(|standing| verdict.agrees(standing));
        assert_eq!(agrees(Verdict::NotExecuted), [true, true, false, false, false]);
        assert_eq!(agrees(Verdict::Declined), [false, false, true, false, false]);
        assert_eq!(agrees(Verdict::Succeeded), [false, false, false, true, true]);
    }
}

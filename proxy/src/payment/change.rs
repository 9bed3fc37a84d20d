//! Changing a payment that was made earlier: capture, refund, void.

use super::account::{self, Account, NAME};
use super::attempt::{self, Unwritten};
use super::{Case, Done, Stop, Tried, settle};
use crate::clock;
use crate::result::{Ending, Finished};
use filters::AccountChoice;
use model::{
    Action, Amount, Attempt, Capture, ChangeKind, Evidence, FollowUp, Operation, Outcome, Payment,
    Standing, TransactionId,
};
use vault::CvvLoan;
use vault::payments::{ChangeError, NewChange, Ongoing, ReplayClaim, Told};

/// How the API calls the field with our name for a payment.
const TRANSACTION: &str = "transactionId";

/// What is wanted.
pub(super) struct Wanted {
    pub(super) kind: ChangeKind,
    pub(super) earlier: FollowUp,
    pub(super) merchant_reference: Option<Box<str>>,
    pub(super) account: AccountChoice,
    pub(super) payment: Option<TransactionId>,
}

/// Changes the payment, if it allows that.
pub(super) async fn change(
    case: &Case<'_>,
    wanted: Wanted,
    replay: Option<ReplayClaim>,
) -> Result<Done, Stop> {
    let Wanted { kind, earlier, merchant_reference, account, payment } = wanted;
    let (account, payment) = find(case, &earlier, account, payment).await?;
    case.is_named(&payment.id);
    let asked = earlier.amount;
    let follow_up = follow_up(kind, &payment, earlier);
    let amount = follow_up.amount;
    let reference = merchant_reference.clone();
    let operation = |key: &TransactionId| Operation {
        key: key.attempt_key(0),
        merchant_reference: reference.clone(),
        action: action(kind, follow_up.clone()),
    };
    let finish = |ending| finished(&payment, kind, amount, ending);
    if let Err(why) = payment.allows(kind, asked) {
        return Ok(told(finish(Ending::NotAllowed(why, payment.state())), &account));
    }
    // Written once before it is in the journal: what cannot be asked for is not begun.
    match attempt::write(case, &account, operation(&payment.id), &mut CvvLoan::default()) {
        Ok(_) => {}
        Err(Unwritten::Stop(stop)) => return Err(stop),
        Err(Unwritten::NotSupported) => return Ok(told(finish(Ending::NotSupported), &account)),
    }
    let now = clock::now_millis();
    let account_name = account.name.clone();
    let what = NewChange { kind, amount, account: account_name, merchant_reference };
    let begun = case.shared.vault.begin_change(case.merchant, &payment.id, what, replay, now).await;
    let ongoing = match begun {
        Ok(ongoing) => ongoing,
        Err(ChangeError::NotAllowed(why)) => {
            return Ok(told(finish(Ending::NotAllowed(why, payment.state())), &account));
        }
        Err(ChangeError::NoPayment) => return Err(no_payment()),
        Err(ChangeError::Vault(error)) => return Err(error.into()),
    };
    let id = ongoing.change.clone().unwrap_or_else(|| payment.id.clone());
    carry_out(case, ongoing, &account, operation(&id), finish).await
}

async fn carry_out(
    case: &Case<'_>,
    mut ongoing: Ongoing,
    account: &Account,
    operation: Operation,
    finish: impl FnOnce(Ending) -> Finished,
) -> Result<Done, Stop> {
    let mut tried = Tried::default();
    let kind = operation.kind();
    let ending = match attempt::write(case, account, operation, &mut CvvLoan::default()) {
        Ok(written) => attempt::send(case, account, written, &mut tried).await,
        // It could be written a moment ago.
        Err(_) => Ending::Failed,
    };
    ongoing.note(ending.standing(), ending.report());
    let told = tried.told(&ending);
    account.used(case.shared, case.merchant, (&ending, told)).await;
    tried.add(account, &ending, kind);
    let mut finished = finish(ending);
    finished.take(tried, account);
    Ok(settle(case, ongoing, finished).await)
}

fn finished(payment: &Payment, kind: ChangeKind, amount: Amount, ending: Ending) -> Finished {
    Finished::new(payment.id.as_str().into(), kind.kind(), Some(amount), ending)
}

/// An operation that asked nobody.
fn told(mut finished: Finished, account: &Account) -> Done {
    let mut tried = Tried::default();
    tried.add(account, &finished.ending, finished.kind);
    finished.take(tried, account);
    Done::of(finished)
}

fn action(kind: ChangeKind, follow_up: FollowUp) -> Action {
    match kind {
        ChangeKind::Capture => Action::Capture(follow_up),
        ChangeKind::Refund => Action::Refund(follow_up),
        ChangeKind::Void => Action::Void(follow_up),
    }
}

/// What the provider is told of the payment: its own name for it counts. Nothing but all of it is
/// voided, so that this is what is kept and answered; of nothing, too, whose void names an amount.
fn follow_up(kind: ChangeKind, payment: &Payment, earlier: FollowUp) -> FollowUp {
    let known = (!payment.adopted).then(|| payment.known());
    let evidence = payment.last_attempt().map(|attempt| &attempt.evidence);
    let reference = evidence.and_then(|evidence| evidence.reference.clone());
    let is_void_of_known = kind == ChangeKind::Void && !payment.adopted;
    let amount = if is_void_of_known { payment.amount } else { earlier.amount };
    FollowUp { known, amount, reference: reference.unwrap_or(earlier.reference) }
}

/// Finds the account and the payment that the merchant means.
async fn find(
    case: &Case<'_>,
    earlier: &FollowUp,
    choice: AccountChoice,
    payment: Option<TransactionId>,
) -> Result<(Account, Payment), Stop> {
    if let Some(id) = payment {
        let payment = case.shared.vault.payment(case.merchant, &id)?.ok_or_else(no_payment)?;
        return Ok((account_of(case, &payment, choice)?, payment));
    }
    let account = account::find(case.shared, case.merchant, choice)?;
    let (vault, provider) = (&case.shared.vault, account.provider.name());
    let id = vault.payment_by_reference(case.merchant, provider, &earlier.reference)?;
    let payment = match id {
        Some(id) => vault.payment(case.merchant, &id)?.ok_or(Stop::Failed)?,
        None => adopt(case, earlier, &account).await?,
    };
    Ok((account, payment))
}

fn no_payment() -> Stop {
    account::invalid(TRANSACTION, "there is no such payment")
}

/// The account that the merchant named, which must be at the payment's gateway, or the payment's.
fn account_of(case: &Case<'_>, payment: &Payment, choice: AccountChoice) -> Result<Account, Stop> {
    let attempt = payment.last_attempt().ok_or(Stop::Failed)?;
    let choice = match (choice, &attempt.account) {
        (AccountChoice::OfPayment, Some(name)) => AccountChoice::Named(name.clone()),
        (AccountChoice::OfPayment, None) => {
            let problem = "is required: the payment brought its credentials along";
            return Err(account::invalid(account::INLINE, problem));
        }
        (choice, _) => choice,
    };
    let account = account::find(case.shared, case.merchant, choice)?;
    if account.provider.name() == &*attempt.provider {
        Ok(account)
    } else {
        Err(account::invalid(NAME, "is at another gateway than the payment"))
    }
}

/// Takes a payment that was made elsewhere into the journal, so that what is done to it from now on
/// is done once.
async fn adopt(case: &Case<'_>, earlier: &FollowUp, account: &Account) -> Result<Payment, Stop> {
    let now = clock::now_millis();
    let evidence = Evidence { reference: Some(earlier.reference.clone()), ..Evidence::default() };
    let attempt = Attempt {
        account: account.name.clone(),
        provider: account.provider.name().into(),
        began: now,
        standing: Standing::Ended(Outcome::Approved),
        evidence,
    };
    let draft = Payment {
        // It gets its name in the journal.
        id: TransactionId::new(now, 0),
        capture: Capture::Later,
        amount: earlier.amount,
        merchant_reference: None,
        adopted: true,
        last_four: None,
        memo: None,
        attempts: vec![attempt],
        changes: Vec::new(),
    };
    Ok(case.shared.vault.adopt_payment(case.merchant, draft, now).await?)
}

#[cfg(test)]
mod tests {
    use super::follow_up;
    use model::{Amount, Capture, ChangeKind, Currency, FollowUp, Payment, TransactionId};

    fn euros(minor: u64) -> Amount {
        Amount::new(minor, Currency::parse("EUR").unwrap()).unwrap()
    }

    #[test]
    fn only_what_was_made_here_is_known_and_voided_as_a_whole() {
        for (kind, adopted, expected) in [
            (ChangeKind::Capture, false, 400),
            (ChangeKind::Refund, false, 400),
            (ChangeKind::Void, false, 1_000),
            (ChangeKind::Void, true, 400),
        ] {
            let payment = Payment {
                id: TransactionId::new(7, 7),
                capture: Capture::Later,
                amount: euros(1_000),
                merchant_reference: None,
                adopted,
                last_four: None,
                memo: None,
                attempts: Vec::new(),
                changes: Vec::new(),
            };
            let earlier = FollowUp { amount: euros(400), reference: "psp".into(), known: None };
            let told = follow_up(kind, &payment, earlier);
            assert_eq!(told.amount, euros(expected), "{kind:?} {adopted}");
            assert_eq!(told.known.map(|known| known.authorized), (!adopted).then(|| euros(1_000)));
        }
    }
}

use super::*;
use crate::{Currency, Decline, Rejected, State, Unknown};
use proptest::prelude::*;

const APPROVED: Outcome = Outcome::Approved;
const PENDING: Outcome = Outcome::Pending;
const UNKNOWN: Outcome = Outcome::Unknown(Unknown::Interrupted);
const DECLINED: Outcome = Outcome::Declined(Decline::CardDeclined);
const FAILED: Outcome = Outcome::Rejected(Rejected::State);

fn euros(minor: u64) -> Amount {
    Amount::new(minor, Currency::EUR).unwrap()
}

fn id(nth: u64) -> TransactionId {
    TransactionId::new(nth, 0)
}

fn teller(account: &str) -> Teller {
    Teller { provider: "stripe".into(), account: AccountName::parse(account).unwrap() }
}

/// A payment whose attempt stands so.
fn payment(capture: Capture, standing: Standing) -> Payment {
    let attempt = Attempt {
        account: Some(teller("acc").account),
        provider: "stripe".into(),
        began: 0,
        standing,
        evidence: Evidence::default(),
    };
    Payment {
        id: id(0),
        capture,
        amount: euros(1_000),
        merchant_reference: None,
        adopted: false,
        last_four: None,
        memo: None,
        attempts: vec![attempt],
        changes: vec![],
    }
}

fn with(mut payment: Payment, kind: ChangeKind, minor: u64, standing: Standing) -> Payment {
    let nth = u64::try_from(payment.changes.len()).unwrap().saturating_add(1);
    let (id, evidence) = (id(nth), Evidence::default());
    let (amount, account, merchant_reference) = (euros(minor), None, None);
    payment.changes.push(Change {
        id,
        kind,
        amount,
        account,
        merchant_reference,
        standing,
        evidence,
    });
    payment
}

fn about(subject: Subject) -> About {
    About {
        subject,
        key: None,
        payment_key: None,
        payment: None,
        action: None,
        merchant_reference: None,
    }
}

fn told(outcome: Outcome, minor: u64) -> Report {
    Report { amount: Some(euros(minor)), ..Report::bare(outcome) }
}

fn ended(outcome: Outcome) -> Standing {
    Standing::Ended(outcome)
}

fn learnt(payment: &mut Payment, about: &About, report: &Report) -> Learnt {
    payment.hear(&teller("acc"), about, report).learnt
}

#[test]
fn a_notice_moves_what_it_is_about_and_nothing_backwards() {
    use ChangeKind::{Capture as Take, Refund, Void};
    let made = || payment(Capture::Later, ended(APPROVED));
    for (kind, before, told_of, expected, state) in [
        (Take, PENDING, APPROVED, Learnt::Moved, State::Captured),
        (Take, PENDING, FAILED, Learnt::Moved, State::Authorized),
        (Take, APPROVED, FAILED, Learnt::Moved, State::Authorized),
        (Take, FAILED, APPROVED, Learnt::Known, State::Authorized),
        (Take, APPROVED, PENDING, Learnt::Known, State::Captured),
        (Take, UNKNOWN, APPROVED, Learnt::Moved, State::Captured),
        (Refund, PENDING, DECLINED, Learnt::Moved, State::Captured),
        (Refund, APPROVED, APPROVED, Learnt::Known, State::Refunded),
        (Void, PENDING, APPROVED, Learnt::Moved, State::Voided),
        (Void, PENDING, FAILED, Learnt::Moved, State::Authorized),
    ] {
        let base = if kind == Refund { with(made(), Take, 1_000, ended(APPROVED)) } else { made() };
        let mut payment = with(base, kind, 1_000, ended(before));
        let found = learnt(&mut payment, &about(Subject::Change(kind)), &told(told_of, 1_000));
        assert_eq!((found, payment.state()), (expected, state), "{kind:?} {before:?} {told_of:?}");
    }
}

#[test]
fn what_another_account_tells_or_of_another_amount_is_not_taken_in() {
    let take = about(Subject::Change(ChangeKind::Capture));
    let pending = ended(PENDING);
    let base = with(payment(Capture::Later, ended(APPROVED)), ChangeKind::Capture, 400, pending);
    let mut heard = base.clone();
    let other = heard.hear(&teller("other"), &take, &told(APPROVED, 400));
    assert_eq!(other.learnt, Learnt::Foreign);
    let elsewhere = Teller { provider: "adyen".into(), ..teller("acc") };
    assert_eq!(heard.hear(&elsewhere, &take, &told(APPROVED, 400)).learnt, Learnt::Foreign);
    assert_eq!(learnt(&mut heard, &take, &told(APPROVED, 401)), Learnt::Foreign);
    let keyed = About { key: Some(id(1).as_str().into()), ..take.clone() };
    assert_eq!(learnt(&mut heard, &keyed, &told(APPROVED, 401)), Learnt::Differs);
    let refund = about(Subject::Change(ChangeKind::Refund));
    assert_eq!(learnt(&mut heard, &refund, &told(APPROVED, 400)), Learnt::Foreign);
    let whole = about(Subject::Payment);
    assert_eq!(learnt(&mut heard, &whole, &told(APPROVED, 999)), Learnt::Differs);
    assert_eq!(heard.hear(&teller("other"), &whole, &told(FAILED, 1_000)).learnt, Learnt::Foreign);
    let strange = About { key: Some(id(9).as_str().into()), ..take };
    assert_eq!(learnt(&mut heard, &strange, &told(APPROVED, 400)), Learnt::Foreign);
    assert_eq!(heard, base);
}

#[test]
fn who_is_told_of_without_a_name_is_the_undecided_and_never_what_was_not_done() {
    let take = about(Subject::Change(ChangeKind::Capture));
    let base = payment(Capture::Later, ended(APPROVED));
    let not_done = with(base, ChangeKind::Capture, 400, Standing::NotDone);
    let mut alone = not_done.clone();
    assert_eq!(learnt(&mut alone, &take, &told(APPROVED, 400)), Learnt::Foreign);
    let done = with(not_done, ChangeKind::Capture, 400, ended(APPROVED));
    let mut heard = with(done, ChangeKind::Capture, 400, ended(PENDING));
    assert_eq!(learnt(&mut heard, &take, &told(FAILED, 400)), Learnt::Moved);
    let standings = heard.changes.iter().map(|change| change.standing).collect::<Vec<_>>();
    assert_eq!(standings, [Standing::NotDone, ended(APPROVED), ended(FAILED)]);
}

#[test]
fn two_changes_of_one_amount_are_told_apart_by_the_providers_name() {
    let take = about(Subject::Change(ChangeKind::Capture));
    let named = |action: &str| About { action: Some(action.into()), ..take.clone() };
    let pending = ended(PENDING);
    let base = payment(Capture::Later, ended(APPROVED));
    let base =
        with(with(base, ChangeKind::Capture, 400, pending), ChangeKind::Capture, 400, pending);
    let mut heard = base;
    // Twice the same, then the other, then what was said first is taken back.
    for (action, outcome) in
        [("one", APPROVED), ("one", APPROVED), ("two", APPROVED), ("one", FAILED), ("one", FAILED)]
    {
        learnt(&mut heard, &named(action), &told(outcome, 400));
    }
    let standings = heard.changes.iter().map(|change| change.standing).collect::<Vec<_>>();
    assert_eq!(standings, [ended(FAILED), ended(APPROVED)]);
    assert_eq!(learnt(&mut heard, &named("three"), &told(APPROVED, 400)), Learnt::Foreign);
    assert_eq!(heard.captured(), 400);
}

#[test]
fn the_name_of_an_error_is_not_that_of_the_change() {
    let change = |standing| {
        let base = payment(Capture::Later, ended(APPROVED));
        let mut payment = with(base, ChangeKind::Capture, 400, ended(standing));
        let evidence = &mut payment.changes[0].evidence;
        evidence.reference = Some("error".into());
        evidence.sub_code = Some("internal".into());
        payment
    };
    let take = about(Subject::Change(ChangeKind::Capture));
    let take = About { payment: Some("psp".into()), action: Some("capture".into()), ..take };
    for (before, told_of, expected) in [
        (UNKNOWN, APPROVED, Learnt::Moved),
        (UNKNOWN, FAILED, Learnt::Moved),
        // What is known is called so: another one is not ours.
        (PENDING, APPROVED, Learnt::Foreign),
        (FAILED, APPROVED, Learnt::Foreign),
    ] {
        let mut payment = change(before);
        let found = learnt(&mut payment, &take, &told(told_of, 400));
        assert_eq!(found, expected, "{before:?} {told_of:?}");
    }
}

#[test]
fn a_late_authorization_is_believed_unless_the_payment_went_on() {
    let keyed = |nth| About { key: Some(id(0).attempt_key(nth)), ..about(Subject::Payment) };
    let mut late = payment(Capture::Now, Standing::NotDone);
    assert_eq!(learnt(&mut late, &keyed(0), &told(DECLINED, 1_000)), Learnt::Known);
    assert_eq!(late.state(), State::Failed);
    assert_eq!(learnt(&mut late, &keyed(0), &told(APPROVED, 1_000)), Learnt::Stray);
    assert_eq!(late.state(), State::Captured);
    assert_eq!(learnt(&mut late, &keyed(0), &told(APPROVED, 1_000)), Learnt::Known);
    // Whoever was too busy, and is done all the same.
    let busy = ended(Outcome::Rejected(Rejected::RateLimited));
    let mut refused = payment(Capture::Now, busy);
    assert_eq!(learnt(&mut refused, &keyed(0), &told(APPROVED, 1_000)), Learnt::Stray);
    assert_eq!(refused.state(), State::Captured);
    assert!(!refused.attempts[0].learn(busy, &Evidence::default()));
    assert_eq!(refused.state(), State::Captured);
    let mut went_on = payment(Capture::Now, Standing::NotDone);
    let second = Attempt { standing: ended(APPROVED), ..went_on.attempts[0].clone() };
    went_on.attempts.push(second);
    let before = went_on.clone();
    assert_eq!(learnt(&mut went_on, &keyed(0), &told(APPROVED, 1_000)), Learnt::Stray);
    assert_eq!(went_on, before);
    assert_eq!(learnt(&mut went_on, &keyed(1), &told(APPROVED, 1_000)), Learnt::Known);
    assert_eq!(learnt(&mut went_on, &keyed(2), &told(APPROVED, 1_000)), Learnt::Foreign);
}

#[test]
fn a_change_of_which_nothing_was_known_is_done_when_its_provider_says_so() {
    let mut late =
        with(payment(Capture::Later, ended(APPROVED)), ChangeKind::Capture, 400, Standing::NotDone);
    let mut keyed = about(Subject::Change(ChangeKind::Capture));
    keyed.key = Some(id(1).as_str().into());
    assert_eq!(learnt(&mut late, &keyed, &told(FAILED, 400)), Learnt::Known);
    assert_eq!(learnt(&mut late, &keyed, &told(APPROVED, 400)), Learnt::Moved);
    assert_eq!(late.captured(), 400);
}

#[test]
fn whoever_holds_a_payment_takes_over_what_was_begun_meanwhile() {
    let mut held = payment(Capture::Later, ended(UNKNOWN));
    let mut row =
        with(payment(Capture::Later, ended(APPROVED)), ChangeKind::Capture, 400, Standing::Sending);
    row.memo = Some("newest".into());
    held.memo = Some("read before".into());
    held.catch_up(&row);
    assert_eq!((&held.changes, held.memo.as_deref()), (&row.changes, Some("newest")));
    let mut first = payment(Capture::Later, ended(APPROVED));
    first.memo = Some("just heard".into());
    first.catch_up(&Payment {
        memo: Some("older".into()),
        ..payment(Capture::Later, ended(UNKNOWN))
    });
    assert_eq!(first.memo.as_deref(), Some("just heard"));
}

#[test]
fn the_capture_of_a_charge_is_the_charge() {
    let take = about(Subject::Change(ChangeKind::Capture));
    let mut charge = payment(Capture::Now, ended(APPROVED));
    assert_eq!(learnt(&mut charge, &take, &told(APPROVED, 1_000)), Learnt::Known);
    assert_eq!((charge.state(), charge.captured()), (State::Captured, 1_000));
    assert_eq!(learnt(&mut charge, &take, &told(DECLINED, 1_000)), Learnt::Moved);
    assert_eq!((charge.state(), charge.captured()), (State::Declined, 0));
}

#[test]
fn keys_lead_back_to_their_payments() {
    let id = TransactionId::new(7, 0xabc);
    for nth in 0..Payment::ATTEMPTS_MAX {
        assert!(TransactionId::of_key(&id.attempt_key(nth)).contains(&id), "{nth}");
    }
    for strange in ["", "order 1", &"z".repeat(32), &"ä".repeat(16), &"0".repeat(33)] {
        assert!(TransactionId::of_key(strange).is_empty(), "{strange}");
    }
}

/// From which side a word comes.
#[derive(Clone, Copy, Debug)]
enum Side {
    /// Of whoever asked: it holds the payment as it was when it was sent.
    Answer,
    Notice,
    Resolver,
}

/// What happens at a provider, from the first that it may say to the last.
fn truths() -> impl Strategy<Value = Vec<Outcome>> {
    let done = Just(vec![PENDING, APPROVED]);
    let refused = Just(vec![PENDING, DECLINED]);
    let taken_back = Just(vec![PENDING, APPROVED, DECLINED]);
    prop_oneof![done, refused, taken_back]
}

/// All that is said: any of it any number of times from any side, in any order, nothing by some, but
/// how it ended by one at least.
fn words(truth: Vec<Outcome>) -> impl Strategy<Value = Vec<(Side, Outcome)>> {
    let side = prop_oneof![Just(Side::Answer), Just(Side::Notice), Just(Side::Resolver)];
    let last = *truth.last().unwrap();
    let any = proptest::sample::select([truth, vec![UNKNOWN]].concat());
    let some = proptest::collection::vec((side.clone(), any), 0..8);
    (some, side).prop_flat_map(move |(mut words, side)| {
        words.push((side, last));
        Just(words).prop_shuffle()
    })
}

/// The row of a payment after all these words, about itself or about its one change.
fn after(begun: &Payment, words: &[(Side, Outcome)]) -> Payment {
    let mut row = begun.clone();
    for (side, outcome) in words {
        let subject = begun.changes.first().map(|change| change.kind);
        let standing = ended(*outcome);
        match (side, subject) {
            // A provider that does not know tells nothing of its own accord.
            (Side::Notice, _) if standing.is_open() => {}
            (Side::Notice, subject) => {
                let subject = subject.map_or(Subject::Payment, Subject::Change);
                let minor = if subject == Subject::Payment { 1_000 } else { 400 };
                learnt(&mut row, &about(subject), &told(*outcome, minor));
            }
            (Side::Answer | Side::Resolver, Some(_)) => {
                row.changes[0].learn(standing, &Evidence::default());
            }
            (Side::Answer | Side::Resolver, None) => {
                // Whoever asks read the payment before.
                let mut held =
                    if matches!(side, Side::Answer) { begun.clone() } else { row.clone() };
                if held.attempts[0].standing.may_become(standing) {
                    held.attempts[0].standing = standing;
                }
                held.catch_up(&row);
                row = held;
            }
        }
    }
    row
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// Whichever of the answer, the notices and the resolver comes first, and however often.
    #[test]
    fn the_state_is_the_same_in_whatever_order_words_come(
        now: bool,
        change in proptest::option::of(0_usize..3),
        (truth, words, others) in truths().prop_flat_map(|truth| {
            (Just(truth.clone()), words(truth.clone()), words(truth))
        }),
    ) {
        let capture = if now && change != Some(0) { Capture::Now } else { Capture::Later };
        let kinds = [ChangeKind::Capture, ChangeKind::Refund, ChangeKind::Void];
        let begun = match change {
            None => payment(capture, Standing::Sending),
            Some(nth) => with(payment(capture, ended(APPROVED)), kinds[nth], 400, Standing::Sending),
        };
        let (one, other) = (after(&begun, &words), after(&begun, &others));
        prop_assert_eq!(&one, &other);
        let last = one.changes.first().map_or(one.attempts[0].standing, |change| change.standing);
        prop_assert_eq!(last, ended(*truth.last().unwrap()));
        prop_assert!(!one.is_open());
    }
}

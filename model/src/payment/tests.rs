use super::*;
use crate::{Currency, Decline, Rejected, Unknown};
use proptest::prelude::*;

fn euros(minor: u64) -> Amount {
    Amount::new(minor, Currency::EUR).unwrap()
}

fn id(nth: u64) -> TransactionId {
    TransactionId::new(nth, 0)
}

pub(super) fn payment(capture: Capture, standing: Standing) -> Payment {
    let attempt = Attempt {
        account: None,
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

pub(super) fn with(mut payment: Payment, changes: &[(ChangeKind, u64, Standing)]) -> Payment {
    for (kind, minor, standing) in changes {
        payment.changes.push(Change {
            id: id(u64::try_from(payment.changes.len()).unwrap().saturating_add(1)),
            kind: *kind,
            amount: euros(*minor),
            account: None,
            merchant_reference: None,
            standing: *standing,
            evidence: Evidence::default(),
        });
    }
    payment
}

pub(super) const APPROVED: Standing = Standing::Ended(Outcome::Approved);
pub(super) const PENDING: Standing = Standing::Ended(Outcome::Pending);
pub(super) const UNKNOWN: Standing = Standing::Ended(Outcome::Unknown(Unknown::Interrupted));
pub(super) const DECLINED: Standing = Standing::Ended(Outcome::Declined(Decline::CardDeclined));
const REJECTED: Standing = Standing::Ended(Outcome::Rejected(Rejected::Malformed));

#[test]
fn names_sort_as_they_were_given_and_say_when() {
    let (early, late) = (TransactionId::new(1_800_000_000_000, u128::MAX), id(1_800_000_000_001));
    assert!(early < late);
    assert_eq!(early.millis(), 1_800_000_000_000);
    assert_eq!(TransactionId::parse(early.as_str()).unwrap(), early);
    for wrong in ["", "0", &"g".repeat(32), &"A".repeat(32), &"0".repeat(33)] {
        assert!(TransactionId::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn no_two_attempts_have_the_same_key() {
    let (one, other) = (TransactionId::new(7, 7), TransactionId::new(7, 8));
    let keys = |id: &TransactionId| {
        (0..Payment::ATTEMPTS_MAX).map(|nth| id.attempt_key(nth)).collect::<Vec<_>>()
    };
    let mut all = keys(&one);
    // They differ in the last digit only, which the later attempts replace.
    all.push(other.attempt_key(0));
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count);
    assert!(all.iter().all(|key| key.len() == 32));
}

#[test]
fn the_state_follows_from_what_happened() {
    use ChangeKind::{Capture as Take, Refund, Void};
    for (capture, standing, changes, expected) in [
        (Capture::Later, Standing::Sending, &[][..], State::Unknown),
        (Capture::Later, UNKNOWN, &[], State::Unknown),
        (Capture::Later, Standing::NotDone, &[], State::Failed),
        (Capture::Later, REJECTED, &[], State::Failed),
        (Capture::Later, DECLINED, &[], State::Declined),
        (Capture::Later, APPROVED, &[], State::Authorized),
        (Capture::Now, APPROVED, &[], State::Captured),
        (Capture::Now, PENDING, &[], State::Pending),
        (Capture::Later, APPROVED, &[(Take, 400, APPROVED)], State::Captured),
        (Capture::Later, APPROVED, &[(Take, 400, UNKNOWN)], State::Authorized),
        (Capture::Later, APPROVED, &[(Void, 1_000, APPROVED)], State::Voided),
        (Capture::Now, APPROVED, &[(Refund, 1, PENDING)], State::Refunded),
        (Capture::Now, APPROVED, &[(Refund, 1, DECLINED)], State::Captured),
    ] {
        let payment = with(payment(capture, standing), changes);
        assert_eq!(payment.state(), expected, "{standing:?} {changes:?}");
    }
}

#[test]
fn what_is_allowed_follows_from_what_happened() {
    use ChangeKind::{Capture as Take, Refund, Void};
    let allowed = |capture, standing, changes: &[_], kind, minor| {
        with(payment(capture, standing), changes).allows(kind, euros(minor))
    };
    for (capture, standing, changes, kind, minor, expected) in [
        (Capture::Later, APPROVED, &[][..], Take, 1_000, Ok(())),
        (Capture::Later, APPROVED, &[], Take, 1_001, Err(NotAllowed::OverAuthorized)),
        (Capture::Later, APPROVED, &[(Take, 600, APPROVED)], Take, 400, Ok(())),
        (
            Capture::Later,
            APPROVED,
            &[(Take, 600, UNKNOWN)],
            Take,
            401,
            Err(NotAllowed::OverAuthorized),
        ),
        (Capture::Later, APPROVED, &[(Take, 600, DECLINED)], Take, 1_000, Ok(())),
        (Capture::Now, APPROVED, &[], Take, 1, Err(NotAllowed::State)),
        (Capture::Later, UNKNOWN, &[], Take, 1, Err(NotAllowed::Unknown)),
        (Capture::Later, DECLINED, &[], Take, 1, Err(NotAllowed::State)),
        (Capture::Now, APPROVED, &[], Refund, 1_000, Ok(())),
        (
            Capture::Now,
            APPROVED,
            &[(Refund, 999, Standing::Sending)],
            Refund,
            2,
            Err(NotAllowed::OverCaptured),
        ),
        (Capture::Later, APPROVED, &[], Refund, 1, Err(NotAllowed::State)),
        (Capture::Later, APPROVED, &[(Take, 5, UNKNOWN)], Refund, 1, Err(NotAllowed::Unknown)),
        (Capture::Later, APPROVED, &[(Take, 5, PENDING)], Refund, 5, Ok(())),
        (Capture::Later, APPROVED, &[], Void, 1_000, Ok(())),
        (Capture::Later, APPROVED, &[], Void, 999, Err(NotAllowed::InPart)),
        (Capture::Now, APPROVED, &[], Void, 1_001, Err(NotAllowed::InPart)),
        (Capture::Later, APPROVED, &[(Take, 5, APPROVED)], Void, 995, Err(NotAllowed::State)),
        (Capture::Later, APPROVED, &[(Take, 5, APPROVED)], Void, 1_000, Err(NotAllowed::State)),
        (Capture::Later, APPROVED, &[(Take, 5, UNKNOWN)], Void, 1_000, Err(NotAllowed::Unknown)),
        (Capture::Now, APPROVED, &[(Refund, 1, APPROVED)], Void, 1_000, Err(NotAllowed::State)),
        (Capture::Now, APPROVED, &[(Refund, 1, UNKNOWN)], Void, 1_000, Err(NotAllowed::Unknown)),
        (Capture::Later, APPROVED, &[(Void, 1_000, UNKNOWN)], Take, 1, Err(NotAllowed::Unknown)),
        (Capture::Later, APPROVED, &[(Void, 1_000, APPROVED)], Take, 1, Err(NotAllowed::State)),
        (Capture::Later, APPROVED, &[(Void, 1_000, REJECTED)], Take, 1, Ok(())),
    ] {
        let found = allowed(capture, standing, changes, kind, minor);
        assert_eq!(found, expected, "{standing:?} {changes:?} {kind:?} {minor}");
    }
    let dollars = Amount::new(1, Currency::USD).unwrap();
    let refused = payment(Capture::Now, APPROVED).allows(Refund, dollars);
    assert_eq!(refused, Err(NotAllowed::Currency));
    // A void names an amount that is more than zero.
    let nothing = Payment { amount: euros(0), ..payment(Capture::Later, APPROVED) };
    assert_eq!(nothing.allows(Void, euros(1)), Ok(()));
}

#[test]
fn a_capture_is_open_until_it_is_known_what_became_of_it() {
    use ChangeKind::{Capture as Take, Refund};
    for (changes, expected) in [
        (&[][..], false),
        (&[(Take, 600, APPROVED)], false),
        (&[(Take, 600, DECLINED)], false),
        (&[(Refund, 600, PENDING)], false),
        (&[(Take, 600, PENDING)], true),
        (&[(Take, 600, UNKNOWN)], true),
        (&[(Take, 600, APPROVED), (Take, 100, PENDING)], true),
    ] {
        let payment = with(payment(Capture::Later, APPROVED), changes);
        assert_eq!(payment.known().capture_is_open, expected, "{changes:?}");
    }
}

#[test]
fn of_a_payment_that_was_made_elsewhere_only_its_changes_are_known() {
    use ChangeKind::{Capture as Take, Refund};
    let adopted = || Payment { adopted: true, ..payment(Capture::Later, APPROVED) };
    assert_eq!((adopted().state(), adopted().sums().authorized), (State::Unknown, 0));
    let taken = with(adopted(), &[(Take, 400, APPROVED)]);
    assert_eq!((taken.state(), taken.sums().captured), (State::Captured, 400));
    // What is in another currency than the first that was done is in no sum.
    let mut mixed = with(taken, &[(Refund, 300, APPROVED), (Refund, 100, APPROVED)]);
    mixed.changes[1].amount = Amount::new(300, Currency::USD).unwrap();
    assert_eq!((mixed.captured(), mixed.refunded()), (400, 100));
}

#[test]
fn a_provider_is_told_of_the_captures_that_it_took_upon_itself() {
    use ChangeKind::{Capture as Take, Refund};
    let changes = [
        (Take, 100, APPROVED),
        (Take, 200, DECLINED),
        (Take, 300, PENDING),
        (Take, 400, UNKNOWN),
        (Refund, 50, APPROVED),
    ];
    let known = with(payment(Capture::Later, APPROVED), &changes).known();
    assert_eq!((known.captures, known.captured), (2, euros(400)));
}

fn standing() -> impl Strategy<Value = Standing> {
    prop_oneof![
        Just(Standing::Sending),
        Just(Standing::NotDone),
        Just(APPROVED),
        Just(PENDING),
        Just(UNKNOWN),
        Just(DECLINED),
        Just(REJECTED),
    ]
}

#[derive(Clone, Debug)]
enum Deed {
    Begin(ChangeKind, u64),
    /// A word about one of the changes, or about the payment itself.
    Hear(usize, Standing),
}

fn deed() -> impl Strategy<Value = Deed> {
    let kind = prop_oneof![
        4 => Just(ChangeKind::Capture),
        4 => Just(ChangeKind::Refund),
        1 => Just(ChangeKind::Void),
    ];
    prop_oneof![
        (kind, 1_u64..700).prop_map(|(kind, minor)| Deed::Begin(kind, minor)),
        (0_usize..8, standing()).prop_map(|(nth, standing)| Deed::Hear(nth, standing)),
    ]
}

fn apply(payment: &mut Payment, deed: &Deed) {
    match deed {
        Deed::Begin(kind, minor) => {
            if payment.allows(*kind, euros(*minor)).is_ok() {
                *payment = with(payment.clone(), &[(*kind, *minor, Standing::Sending)]);
            }
        }
        Deed::Hear(nth, next) => {
            let place = match nth.checked_sub(1) {
                None => payment.attempts.last_mut().map(|attempt| &mut attempt.standing),
                Some(nth) => payment.changes.get_mut(nth).map(|change| &mut change.standing),
            };
            if let Some(place) = place.filter(|place| place.may_become(*next)) {
                *place = *next;
            }
        }
    }
}

/// The most that can have been done, if everything in doubt was done.
fn at_most(payment: &Payment, kind: ChangeKind) -> u64 {
    payment.sum(kind, Standing::is_accepted).saturating_add(payment.sum(kind, Standing::is_open))
}

fn check(payment: &Payment) -> Result<(), TestCaseError> {
    let authorized = payment.amount.minor();
    prop_assert!(at_most(payment, ChangeKind::Capture) <= authorized);
    prop_assert!(payment.captured() <= authorized);
    prop_assert!(payment.refunded() <= authorized);
    let voids = payment.changes.iter().filter(|change| {
        change.kind == ChangeKind::Void
            && (change.standing.is_accepted() || change.standing.is_open())
    });
    prop_assert!(voids.count() <= 1, "two voids at once");
    if payment.any(ChangeKind::Void, Standing::is_accepted) {
        prop_assert_eq!(at_most(payment, ChangeKind::Capture), 0, "voided and captured");
        prop_assert_eq!(at_most(payment, ChangeKind::Refund), 0, "voided and refunded");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever is begun and whatever is heard, in any order: no more is captured than was
    /// authorized, no more refunded than captured, nothing is both voided and captured, and what
    /// was certain stays so.
    #[test]
    fn no_history_breaks_the_graph(
        now: bool,
        deeds in proptest::collection::vec(deed(), 0..40),
    ) {
        let capture = if now { Capture::Now } else { Capture::Later };
        let mut payment = payment(capture, Standing::Sending);
        for deed in &deeds {
            let before = payment.clone();
            apply(&mut payment, deed);
            check(&payment)?;
            for (old, new) in before.changes.iter().zip(&payment.changes) {
                let moved = old.standing != new.standing;
                prop_assert!(!moved || old.standing.may_become(new.standing));
                // A success may be taken back, and then it is a failure for ever.
                let failed = matches!(
                    new.standing,
                    Standing::Ended(Outcome::Declined(_) | Outcome::Rejected(_))
                );
                prop_assert!(!moved || old.standing != APPROVED || failed);
            }
        }
    }

    /// A refund is never begun that, with all others in doubt, is more than was captured then.
    #[test]
    fn no_refund_is_begun_over_what_was_captured(
        deeds in proptest::collection::vec(deed(), 0..40),
    ) {
        let mut payment = payment(Capture::Later, APPROVED);
        for deed in &deeds {
            let before = payment.changes.len();
            apply(&mut payment, deed);
            if matches!(deed, Deed::Begin(ChangeKind::Refund, _)) && payment.changes.len() > before {
                prop_assert!(at_most(&payment, ChangeKind::Refund) <= payment.captured());
            }
        }
    }
}

/// Everything that can become of an attempt.
const ENDS: [Standing; 8] = [
    APPROVED,
    PENDING,
    UNKNOWN,
    DECLINED,
    REJECTED,
    Standing::Ended(Outcome::Rejected(Rejected::Credentials)),
    Standing::Ended(Outcome::Rejected(Rejected::RateLimited)),
    Standing::NotDone,
];

/// One row for each standing, one column for what is heard next, in the order of [`ENDS`] and last that
/// it is being sent.
#[test]
fn what_may_follow_what() {
    let table = [
        (Standing::Sending, "y y y y y y y y -"),
        (APPROVED, "- - - y y - - - -"),
        (PENDING, "y - - y y - - - -"),
        (UNKNOWN, "y y y y y y y y -"),
        (DECLINED, "- - - - - - - - -"),
        (REJECTED, "- - - - - - - - -"),
        (Standing::Ended(Outcome::Rejected(Rejected::Credentials)), "- - - - - - - - -"),
        (Standing::Ended(Outcome::Rejected(Rejected::RateLimited)), "- - - - - - - - -"),
        (Standing::NotDone, "- - - - - - - - -"),
    ];
    for (from, row) in table {
        let nexts = ENDS.into_iter().chain([Standing::Sending]);
        let may = nexts.map(|next| if from.may_become(next) { "y" } else { "-" });
        assert_eq!(may.collect::<Vec<_>>().join(" "), row, "from {from:?}");
    }
}

/// Walks all ways on: the last attempt ends in any way that may follow, at once or when its provider
/// is asked, and another is sent where the journal takes it.
fn walk(payment: &Payment, seen: &mut usize) {
    const ATTEMPTS: usize = 4;
    *seen = seen.saturating_add(1);
    let (last, before) = payment.attempts.split_last().unwrap();
    for one in before.iter().map(|attempt| attempt.standing) {
        assert!(!one.is_open() && !one.is_accepted(), "left behind: {payment:?}");
        assert!(ENDS.iter().all(|end| !one.may_become(*end)), "not certain: {payment:?}");
    }
    for end in ENDS.into_iter().filter(|end| *end != last.standing) {
        if last.standing.may_become(end) {
            let mut next = payment.clone();
            next.attempts.last_mut().unwrap().standing = end;
            walk(&next, seen);
        }
    }
    let mut next = payment.clone();
    next.attempts.push(Attempt { standing: Standing::Sending, ..last.clone() });
    if payment.attempts.len() < ATTEMPTS && next.goes_on_from_nothing() {
        walk(&next, seen);
    }
}

#[test]
fn however_a_payment_travels_only_its_last_attempt_can_stand() {
    let mut seen = 0;
    walk(&payment(Capture::Now, Standing::Sending), &mut seen);
    assert!(seen > 5_000, "{seen}");
}

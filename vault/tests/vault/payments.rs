//! The journal: what it remembers of payments, at every point where a process can end.
//!
//! This file is long because the stories of the journal share the helpers that begin and end payments.

use crate::stage::{NOW_MS, Stage, merchant, on_stage};
use model::{
    AccountName, Amount, Attempt, Capture, ChangeKind, Currency, Decline, Evidence, MerchantId,
    NotAllowed, Outcome, Payment, Rejected, Report, Standing, State, TransactionId, Unknown,
};
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};
use vault::payments::{
    ChangeError, Claimed, Course, Doubt, Filter, Ongoing, Replay, ReplayClaim, ReplayFields, Told,
};
use vault::store::{Collection, Store};
use vault::{StoreError, SweepCursor, Vault, VaultError, wait};

pub(crate) const APPROVED: Standing = Standing::Ended(Outcome::Approved);
pub(crate) const UNKNOWN: Standing = Standing::Ended(Outcome::Unknown(Unknown::Interrupted));

pub(crate) fn euros(minor: u64) -> Amount {
    Amount::new(minor, Currency::EUR).unwrap()
}

pub(crate) fn draft(capture: Capture, reference: &str) -> Payment {
    let attempt = Attempt {
        account: Some(AccountName::parse("stripe-primary").unwrap()),
        provider: "stripe".into(),
        began: NOW_MS,
        standing: Standing::Sending,
        evidence: Evidence::default(),
    };
    Payment {
        id: TransactionId::new(0, 0),
        capture,
        amount: euros(1_000),
        merchant_reference: Some(reference.into()),
        adopted: false,
        last_four: Some("4242".into()),
        memo: None,
        attempts: vec![attempt],
        changes: vec![],
    }
}

pub(crate) fn begun(
    vault: &Vault,
    shop: &MerchantId,
    payment: Payment,
    replay: Option<ReplayClaim>,
) -> Ongoing {
    let name = vault.name_payment(shop, NOW_MS).unwrap();
    wait(vault.begin_payment(shop, payment, replay, name)).unwrap()
}

pub(crate) fn ended(mut ongoing: Ongoing, standing: Standing, reference: Option<&str>) -> Ongoing {
    let evidence = Evidence { reference: reference.map(Into::into), ..Evidence::default() };
    match ongoing.change.clone() {
        None => {
            let attempt = ongoing.payment.attempts.last_mut().unwrap();
            (attempt.standing, attempt.evidence) = (standing, evidence);
        }
        Some(id) => {
            let change = ongoing.payment.changes.iter_mut().find(|change| change.id == id).unwrap();
            (change.standing, change.evidence) = (standing, evidence);
        }
    }
    ongoing
}

pub(crate) fn settled(
    vault: &Vault,
    ongoing: Ongoing,
    standing: Standing,
    reference: &str,
) -> Payment {
    wait(vault.settle(ended(ongoing, standing, Some(reference)), None)).unwrap()
}

/// An authorization that the provider approved.
pub(crate) fn authorized(vault: &Vault, shop: &MerchantId, reference: &str) -> TransactionId {
    let ongoing = begun(vault, shop, draft(Capture::Later, reference), None);
    settled(vault, ongoing, APPROVED, &format!("pi_{reference}")).id
}

pub(crate) fn change(
    vault: &Vault,
    shop: &MerchantId,
    id: &TransactionId,
    kind: ChangeKind,
    minor: u64,
) -> Result<Ongoing, ChangeError> {
    wait(vault.begin_change(shop, id, (kind, euros(minor)), None, NOW_MS))
}

fn hashed(vault: &Vault, shop: &MerchantId, fields: &[(&str, &str)]) -> ReplayFields {
    let mut hashed = vault.request_fields(shop).unwrap();
    fields.iter().for_each(|(name, value)| hashed.add(name, &[value.as_bytes()]));
    hashed
}

fn claim(vault: &Vault, shop: &MerchantId, key: &str, fields: &[(&str, &str)]) -> Claimed {
    wait(vault.claim_replay(shop, key, hashed(vault, shop, fields), NOW_MS)).unwrap()
}

fn new(claimed: Claimed) -> ReplayClaim {
    let Claimed::New(claim) = claimed else { panic!("not new: {claimed:?}") };
    claim
}

pub(crate) fn two(stage: &Stage) -> (Vault, MerchantId) {
    if stage.act == 1 {
        let (vault, shop, _) = stage.make_with_merchants();
        (vault, shop)
    } else {
        (stage.open(), merchant("shop"))
    }
}

on_stage!(2 a_payment_that_was_cut_short_is_in_doubt_after_a_restart(stage) {
    let (vault, shop) = two(stage);
    if stage.act == 1 {
        for nth in 0..5 {
            authorized(&vault, &shop, &nth.to_string());
        }
        // The payment that is in doubt must not be overlooked because of what came later.
        std::mem::forget(begun(&vault, &shop, draft(Capture::Now, "cut"), None));
        authorized(&vault, &shop, "later");
        wait(vault.remember_low_water(NOW_MS + 60_000)).unwrap();
        authorized(&vault, &shop, "latest");
        return vault.close();
    }
    let doubts = vault.doubts(10);
    assert_eq!(doubts.len(), 1, "{doubts:?}");
    let Doubt { payment, change, .. } = doubts[0].clone();
    assert_eq!(change, None);
    let found = vault.payment(&shop, &payment).unwrap().unwrap();
    assert_eq!((found.merchant_reference.as_deref(), found.state()), (Some("cut"), State::Unknown));
    assert_eq!(change_of(&vault, &shop, &payment), Err(NotAllowed::Unknown));
    let ongoing = vault.take_doubt(&doubts[0]).unwrap().unwrap();
    assert!(vault.take_doubt(&doubts[0]).unwrap().is_none(), "taken by two");
    assert!(vault.doubts(10).is_empty());
    let payment = settled(&vault, ongoing, APPROVED, "pi_cut");
    assert_eq!(payment.state(), State::Captured);
    assert!(vault.take_doubt(&doubts[0]).unwrap().is_none());
    assert!(vault.doubts(10).is_empty());
});

fn change_of(vault: &Vault, shop: &MerchantId, id: &TransactionId) -> Result<(), NotAllowed> {
    match change(vault, shop, id, ChangeKind::Refund, 1) {
        Ok(_) => Ok(()),
        Err(ChangeError::NotAllowed(why)) => Err(why),
        Err(error) => panic!("{error}"),
    }
}

on_stage!(3 a_capture_that_was_cut_short_is_in_doubt_after_a_restart(stage) {
    let (vault, shop) = two(stage);
    let id = |vault: &Vault| {
        vault.payment_by_reference(&shop, "stripe", "pi_one").unwrap().unwrap()
    };
    if stage.act == 1 {
        let one = authorized(&vault, &shop, "one");
        std::mem::forget(change(&vault, &shop, &one, ChangeKind::Capture, 600).unwrap());
        wait(vault.remember_low_water(NOW_MS + 60_000)).unwrap();
        return vault.close();
    }
    if stage.act == 2 {
        // Nobody has asked yet, and the process ends once more.
        assert_eq!(vault.doubts(10).len(), 1);
        return vault.close();
    }
    let doubt = vault.doubts(10).remove(0);
    assert!(doubt.change.is_some() && doubt.payment == id(&vault));
    let over = change(&vault, &shop, &id(&vault), ChangeKind::Capture, 401);
    assert_eq!(over.unwrap_err(), ChangeError::NotAllowed(NotAllowed::OverAuthorized));
    let rest = change(&vault, &shop, &id(&vault), ChangeKind::Capture, 400).unwrap();
    settled(&vault, rest, APPROVED, "c2");
    let ongoing = vault.take_doubt(&doubt).unwrap().unwrap();
    let payment = settled(&vault, ongoing, APPROVED, "c1");
    assert_eq!(payment.captured(), 1_000);
    assert_eq!(vault.payment(&shop, &id(&vault)).unwrap().unwrap(), payment);
    assert!(vault.doubts(10).is_empty());
    // What only said of which payment the changes were is gone.
    let left = vault.payments(&shop, &Filter::default(), None).unwrap();
    assert_eq!(left.payments.len(), 1);
    vault.close();
    drop(vault);
    let rows = stage.store().page(Collection::Payments, None, b"", 100).unwrap();
    assert_eq!(rows.len(), 2, "the payment and its reference");
});

on_stage!(2 what_was_given_up_before_it_was_sent_holds_nothing_back(stage) {
    let (vault, shop) = two(stage);
    if stage.act == 1 {
        let one = authorized(&vault, &shop, "one");
        // Whoever begins a capture goes away while it is being written.
        let capture = (ChangeKind::Capture, euros(1_000));
        let mut begin = Box::pin(vault.begin_change(&shop, &one, capture, None, NOW_MS));
        assert!(begin.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(begin);
        // Writes are made one after another, so that it is there when this is.
        authorized(&vault, &shop, "two");
        let payment = vault.payment(&shop, &one).unwrap().unwrap();
        assert_eq!(payment.changes.len(), 1, "it was written");
        assert_eq!(payment.changes[0].standing, Standing::NotDone);
        let again = change(&vault, &shop, &one, ChangeKind::Capture, 1_000).unwrap();
        settled(&vault, again, APPROVED, "ca_one");
        return vault.close();
    }
    assert!(vault.doubts(10).is_empty());
    vault.close();
    drop(vault);
    let rows = stage.store().page(Collection::Payments, None, b"", 100).unwrap();
    assert_eq!(rows.len(), 4, "two payments and their names");
});

on_stage!(1 a_payment_that_was_given_up_while_it_was_written_is_found_by_the_same_process(stage) {
    let (vault, shop) = two(stage);
    // Seals are reserved with this one, so that the next write is the payment.
    authorized(&vault, &shop, "zero");
    let begin = |reference: &str| {
        let name = vault.name_payment(&shop, NOW_MS).unwrap();
        let id = name.id().clone();
        (id, vault.begin_payment(&shop, draft(Capture::Later, reference), None, name))
    };
    let (id, given_up) = begin("one");
    let mut given_up = Box::pin(given_up);
    assert!(given_up.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(given_up);
    // This one is not even polled: it is not written.
    let (never, not_begun) = begin("two");
    drop(not_begun);
    assert!(vault.doubts(10).is_empty(), "nobody has looked yet");
    wait(vault.remember_low_water(NOW_MS + 60_000)).unwrap();
    let doubts = vault.doubts(10);
    assert_eq!(doubts.iter().map(|doubt| doubt.id()).collect::<Vec<_>>(), [&id]);
    assert_eq!(vault.undecided(10).len(), 1);
    assert_eq!(vault.payment(&shop, &never), Ok(None));
    let ongoing = vault.take_doubt(&doubts[0]).unwrap().unwrap();
    wait(vault.settle(ended(ongoing, Standing::NotDone, None), None)).unwrap();
    assert_eq!(vault.payment(&shop, &id).unwrap().unwrap().state(), State::Failed);
    assert!(vault.doubts(10).is_empty());
});

on_stage!(1 what_is_in_doubt_is_listed_piece_by_piece(stage) {
    let (vault, shop) = two(stage);
    for nth in ["one", "two", "three"] {
        drop(begun(&vault, &shop, draft(Capture::Later, nth), None));
    }
    let all = vault.doubts(10);
    let [first, second, third] = &all[..] else { panic!("{all:?}") };
    assert_eq!(vault.doubts_after(None, 2), all[..2]);
    assert_eq!(vault.doubts_after(Some(second.id()), 2), all[2..]);
    assert!(vault.doubts_after(Some(third.id()), 2).is_empty());
    // One that is in hand is left out, and the others come where they did.
    let _held = vault.take_doubt(second).unwrap().unwrap();
    assert_eq!(vault.doubts_after(Some(first.id()), 2), all[2..]);
});

on_stage!(1 what_cannot_be_written_down_is_not_in_doubt(stage) {
    let (vault, shop) = two(stage);
    let name = vault.name_payment(&shop, NOW_MS).unwrap();
    vault.close();
    let begun = vault.begin_payment(&shop, draft(Capture::Later, "one"), None, name);
    assert!(wait(begun).is_err());
    assert!(vault.doubts(10).is_empty() && vault.undecided(10).is_empty());
});

on_stage!(1 captures_at_the_same_time_never_exceed_what_was_authorized(stage) {
    let (vault, shop) = two(stage);
    let id = authorized(&vault, &shop, "one");
    let (taken, refused): (Vec<_>, Vec<_>) = std::thread::scope(|scope| {
        let captures: Vec<_> = (0..64_u64)
            .map(|nth| {
                let (vault, shop, id) = (&vault, &shop, &id);
                scope.spawn(move || {
                    let ongoing = change(vault, shop, id, ChangeKind::Capture, 90)?;
                    let standing = if nth % 3 == 0 { UNKNOWN } else { APPROVED };
                    settled(vault, ongoing, standing, "c");
                    Ok::<_, ChangeError>(())
                })
            })
            .collect();
        captures.into_iter().map(|one| one.join().unwrap()).partition(Result::is_ok)
    });
    assert_eq!((taken.len(), refused.len()), (11, 53));
    let over = ChangeError::NotAllowed(NotAllowed::OverAuthorized);
    assert!(refused.into_iter().all(|refusal| refusal == Err(over)));
    let payment = vault.payment(&shop, &id).unwrap().unwrap();
    assert_eq!(payment.changes.len(), 11);
    assert_eq!(vault.doubts(100).len(), payment.changes.iter().filter(|c| c.standing == UNKNOWN).count());
});

on_stage!(1 what_a_provider_said_last_does_not_undo_what_is_certain(stage) {
    let (vault, shop) = two(stage);
    let one = authorized(&vault, &shop, "one");
    let capture = change(&vault, &shop, &one, ChangeKind::Capture, 500).unwrap();
    settled(&vault, capture, UNKNOWN, "c");
    let doubt = vault.doubts(1).remove(0);
    let late = vault.take_doubt(&doubt).unwrap().unwrap();
    let declined = Standing::Ended(Outcome::Declined(Decline::CardDeclined));
    assert_eq!(settled(&vault, late, APPROVED, "c").captured(), 500);
    // Nobody can take it any more, so that nobody can say otherwise.
    assert!(vault.take_doubt(&doubt).unwrap().is_none());
    assert!(!declined.may_become(APPROVED) && !APPROVED.may_become(UNKNOWN));
});

on_stage!(2 an_idempotency_key_is_answered_once_and_then_repeated(stage) {
    let (vault, shop) = two(stage);
    let other = merchant("other");
    let fields = [("amount", "10.00"), ("currency", "EUR")];
    let answer = Replay { status: 200, body: Box::from(&b"{\"a\": 1}"[..]) };
    if stage.act == 1 {
        let mine = new(claim(&vault, &shop, "key", &fields));
        assert!(matches!(claim(&vault, &shop, "key", &fields), Claimed::InFlight));
        drop(mine);
        // Nothing was begun, so nothing is used up.
        let mine = new(claim(&vault, &shop, "key", &[("amount", "9.00")]));
        drop(mine);
        let mine = new(claim(&vault, &shop, "key", &fields));
        let ongoing = begun(&vault, &shop, draft(Capture::Now, "one"), Some(mine));
        assert!(matches!(claim(&vault, &shop, "key", &fields), Claimed::InFlight));
        let ongoing = ended(ongoing, APPROVED, Some("pi_1"));
        wait(vault.settle(ongoing, Some(&answer))).unwrap();
    }
    let Claimed::Answered(again) = claim(&vault, &shop, "key", &fields) else { panic!() };
    assert_eq!(again, answer);
    for (different, expected) in [
        (&[("amount", "10.01"), ("currency", "EUR")][..], "amount"),
        (&[("amount", "10.00"), ("currency", "EUR"), ("myRef", "x")], "myRef"),
        (&[("amount", "10.00")], "currency"),
    ] {
        let found = claim(&vault, &shop, "key", different);
        let Claimed::Differs(field) = found else { panic!("{found:?}") };
        assert_eq!(&*field, expected);
    }
    new(claim(&vault, &shop, "other key", &fields));
    new(claim(&vault, &other, "key", &fields));
    let mut cursor = SweepCursor::default();
    assert_eq!(wait(vault.sweep_replays(&mut cursor, NOW_MS)), Ok((0, false)));
    let swept = if stage.act == 2 { 1 } else { 0 };
    let before = if stage.act == 2 { NOW_MS + 1 } else { NOW_MS };
    let mut cursor = SweepCursor::default();
    assert_eq!(wait(vault.sweep_replays(&mut cursor, before)), Ok((swept, false)));
    vault.close();
});

on_stage!(2 a_request_that_was_cut_short_is_not_done_again(stage) {
    let (vault, shop) = two(stage);
    let fields = [("amount", "10.00")];
    if stage.act == 1 {
        let mine = new(claim(&vault, &shop, "charge", &fields));
        std::mem::forget(begun(&vault, &shop, draft(Capture::Now, "cut"), Some(mine)));
        let one = authorized(&vault, &shop, "one");
        let mine = new(claim(&vault, &shop, "capture", &fields));
        let capture = vault.begin_change(&shop, &one, (ChangeKind::Capture, euros(5)), Some(mine), NOW_MS);
        std::mem::forget(wait(capture).unwrap());
        return vault.close();
    }
    // Also when what is in doubt has ended since then.
    for round in 0..2 {
        for key in ["charge", "capture"] {
            let found = claim(&vault, &shop, key, &fields);
            let Claimed::Cut { payment, change, .. } = found else { panic!("{round} {key} {found:?}") };
            assert!(vault.payment(&shop, &payment).unwrap().is_some());
            assert_eq!(change.is_some(), key == "capture");
        }
        for doubt in vault.doubts(10) {
            let ongoing = vault.take_doubt(&doubt).unwrap().unwrap();
            settled(&vault, ongoing, APPROVED, "x");
        }
    }
    let Claimed::Cut { payment, change, claim: mine } = claim(&vault, &shop, "capture", &fields) else {
        panic!()
    };
    let answer = Replay { status: 200, body: Box::from(&b"{}"[..]) };
    wait(vault.answer_cut(mine, &payment, change.as_ref(), &answer)).unwrap();
    let Claimed::Answered(again) = claim(&vault, &shop, "capture", &fields) else { panic!() };
    assert_eq!(again, answer);
});

on_stage!(2 a_request_that_leaves_nothing_else_is_answered_once_too(stage) {
    let (vault, shop) = two(stage);
    let fields = [("card", "4242")];
    let answer = Replay { status: 200, body: Box::from(&b"{\"gatewayToken\": 1}"[..]) };
    if stage.act == 1 {
        let mut mine = new(claim(&vault, &shop, "cut", &fields));
        wait(vault.begin_replay(&mut mine)).unwrap();
        assert!(matches!(claim(&vault, &shop, "cut", &fields), Claimed::InFlight));
        drop(mine);
        let mut mine = new(claim(&vault, &shop, "key", &fields));
        wait(vault.begin_replay(&mut mine)).unwrap();
        wait(vault.answer_replay(mine, &answer)).unwrap();
    }
    let Claimed::Answered(again) = claim(&vault, &shop, "key", &fields) else { panic!() };
    assert_eq!(again, answer);
    for key in ["key", "cut"] {
        let found = claim(&vault, &shop, key, &[("card", "5555")]);
        assert!(matches!(found, Claimed::Differs(_)), "{key} {found:?}");
    }
    // It was begun, and nobody knows more.
    let Claimed::Lost(mine) = claim(&vault, &shop, "cut", &fields) else { panic!() };
    if stage.act == 2 {
        wait(vault.answer_replay(mine, &answer)).unwrap();
        let found = claim(&vault, &shop, "cut", &fields);
        assert!(matches!(found, Claimed::Answered(again) if again == answer));
        let mut cursor = SweepCursor::default();
        assert_eq!(wait(vault.sweep_replays(&mut cursor, NOW_MS + 1)), Ok((2, false)));
        new(claim(&vault, &shop, "key", &fields));
    }
    vault.close();
});

/// How many writes of the store this takes.
fn writes(vault: &Vault, act: impl FnOnce()) -> u64 {
    let before = vault.figures().commits;
    act();
    vault.figures().commits - before
}

/// The same for each step of a payment with a capture, and for one that was made elsewhere.
fn writes_of_steps(vault: &Vault, shop: &MerchantId, round: usize) -> [u64; 5] {
    let key = |step: &str| new(claim(vault, shop, &format!("{step} {round}"), &[]));
    let answer = Replay { status: 200, body: Box::from(&b"{}"[..]) };
    let (mut payment, mut capture) = (None, None);
    let begin =
        || payment = Some(begun(vault, shop, draft(Capture::Later, "x"), Some(key("make"))));
    let begin = writes(vault, begin);
    let payment = ended(payment.unwrap(), APPROVED, Some(&format!("pi_{round}")));
    let id = payment.payment.id.clone();
    let end = writes(vault, || drop(wait(vault.settle(payment, Some(&answer))).unwrap()));
    let kind = (ChangeKind::Capture, euros(1_000));
    let change = || wait(vault.begin_change(shop, &id, kind, Some(key("take")), NOW_MS)).unwrap();
    let begin_capture = writes(vault, || capture = Some(change()));
    let capture = ended(capture.unwrap(), APPROVED, Some("ca"));
    let end_capture = writes(vault, || drop(wait(vault.settle(capture, Some(&answer))).unwrap()));
    let mut foreign = draft(Capture::Later, "foreign");
    foreign.attempts[0].standing = APPROVED;
    foreign.attempts[0].evidence.reference = Some(format!("pi_foreign_{round}").into());
    let adopt = writes(vault, || drop(wait(vault.adopt_payment(shop, foreign, NOW_MS)).unwrap()));
    [begin, end, begin_capture, end_capture, adopt]
}

on_stage!(1 each_step_of_a_payment_is_one_write_with_all_its_rows(stage) {
    let (vault, shop) = two(stage);
    // The audit log writes now and then as well, and never in every round.
    let rounds: Vec<_> = (0..5).map(|round| writes_of_steps(&vault, &shop, round)).collect();
    for step in 0..5 {
        assert_eq!(rounds.iter().map(|round| round[step]).min(), Some(1), "{step}: {rounds:?}");
    }
    // Of each round two payments, the names of both, and two keys.
    vault.close();
    drop(vault);
    let rows = stage.store().page(Collection::Payments, None, b"", 100).unwrap();
    assert_eq!(rows.len(), 5 * 6);
});

on_stage!(1 a_key_whose_payment_is_gone_is_not_free(stage) {
    let (vault, shop) = two(stage);
    let fields = [("amount", "10.00")];
    let mine = new(claim(&vault, &shop, "key", &fields));
    let ongoing = begun(&vault, &shop, draft(Capture::Now, "cut"), Some(mine));
    let id = ongoing.payment.id.clone();
    std::mem::forget(ongoing);
    vault.close();
    drop(vault);
    // Both are written at once: no crash leaves the one without the other.
    let store = stage.store();
    let key = format!("shop\0{id}").into_bytes();
    let row = store.get(Collection::Payments, &key).unwrap();
    assert!(wait(store.compare_and_swap(Collection::Payments, key, row, None)).unwrap());
    drop(store);
    let vault = stage.open();
    let again = wait(vault.claim_replay(&shop, "key", hashed(&vault, &shop, &fields), NOW_MS));
    assert_eq!(again.unwrap_err(), VaultError::Store(StoreError::Corrupt));
});

on_stage!(1 payments_are_listed_by_page_and_filter(stage) {
    let (vault, shop) = two(stage);
    let ids: Vec<_> = (0..130)
        .map(|nth| {
            let name = vault.name_payment(&shop, NOW_MS + nth).unwrap();
            let payment = draft(Capture::Now, if nth % 2 == 0 { "even" } else { "odd" });
            let ongoing = wait(vault.begin_payment(&shop, payment, None, name)).unwrap();
            let declined = Standing::Ended(Outcome::Rejected(Rejected::Malformed));
            let standing = if nth < 10 { declined } else { APPROVED };
            settled(&vault, ongoing, standing, &format!("pi_{nth}")).id
        })
        .collect();
    let all = |filter: &Filter| {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = vault.payments(&shop, filter, after.as_ref()).unwrap();
            assert!(page.payments.len() <= vault::payments::PAGE_MAX);
            found.extend(page.payments.into_iter().map(|payment| payment.id));
            match page.next {
                Some(next) => after = Some(next),
                None => return found,
            }
        }
    };
    assert_eq!(all(&Filter::default()), ids);
    let odd = Filter { merchant_reference: Some("odd".into()), ..Filter::default() };
    assert_eq!(all(&odd).len(), 65);
    let failed = Filter { state: Some(State::Failed), ..Filter::default() };
    assert_eq!(all(&failed), ids[..10]);
    let between = Filter { from: Some(NOW_MS + 5), until: Some(NOW_MS + 8), ..Filter::default() };
    assert_eq!(all(&between), ids[5..8]);
    assert_eq!(vault.payments(&shop, &between, Some(&ids[0])).unwrap().payments.len(), 3);
    let account = AccountName::parse("another").unwrap();
    assert!(all(&Filter { account: Some(account), ..Filter::default() }).is_empty());
    let foreign = vault.payments(&merchant("other"), &Filter::default(), None).unwrap();
    assert!(foreign.payments.is_empty());
    assert_eq!(vault.payment(&merchant("other"), &ids[0]), Ok(None));
    assert_eq!(vault.payment_by_reference(&shop, "adyen", "pi_20"), Ok(None));
    assert_eq!(vault.payment_by_reference(&shop, "stripe", "pi_20"), Ok(Some(ids[20].clone())));
    assert!(vault.verify(|_| {}).unwrap().is_whole());
});

on_stage!(1 of_many_that_adopt_one_payment_of_a_provider_one_does(stage) {
    let (vault, shop) = two(stage);
    let mut foreign = draft(Capture::Later, "foreign");
    foreign.adopted = true;
    foreign.attempts[0].standing = APPROVED;
    foreign.attempts[0].evidence.reference = Some("pi_foreign".into());
    let ids: Vec<TransactionId> = std::thread::scope(|scope| {
        let adopt = || wait(vault.adopt_payment(&shop, foreign.clone(), NOW_MS)).unwrap().id;
        let mut all = Vec::new();
        for _ in 0..8 {
            all.push(scope.spawn(adopt));
        }
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let listed = vault.payments(&shop, &Filter::default(), None).unwrap().payments;
    assert_eq!(listed.len(), 1);
    let found = vault.payment_by_reference(&shop, "stripe", "pi_foreign").unwrap();
    assert_eq!(found, Some(ids[0].clone()));
});

on_stage!(1 a_payment_goes_on_only_from_attempts_that_did_nothing(stage) {
    let (vault, shop) = two(stage);
    let declined = Standing::Ended(Outcome::Declined(Decline::CardDeclined));
    let busy = Standing::Ended(Outcome::Rejected(Rejected::RateLimited));
    for (standing, goes_on) in [
        (Standing::NotDone, true),
        (busy, true),
        (Standing::Sending, false),
        (UNKNOWN, false),
        (APPROVED, false),
        (declined, false),
    ] {
        let mut ongoing = begun(&vault, &shop, draft(Capture::Now, "next"), None);
        ongoing.payment.attempts[0].standing = standing;
        let next = draft(Capture::Now, "next").attempts.remove(0);
        ongoing.payment.attempts.push(next);
        let went = wait(vault.go_on(&mut ongoing));
        assert_eq!(went.is_ok(), goes_on, "{standing:?}: {went:?}");
        let kept = vault.payment(&shop, &ongoing.payment.id).unwrap().unwrap();
        assert_eq!(kept.attempts.len(), if goes_on { 2 } else { 1 }, "{standing:?}");
    }
});

/// An account that did it.
struct Did;

impl Told for Did {
    fn standing(&self) -> Standing {
        APPROVED
    }

    fn report(&self) -> Option<&Report> {
        None
    }
}

/// An account whose provider was too busy.
struct Busy;

impl Told for Busy {
    fn standing(&self) -> Standing {
        Standing::Ended(Outcome::Rejected(Rejected::RateLimited))
    }

    fn report(&self) -> Option<&Report> {
        None
    }
}

on_stage!(1 what_is_not_written_down_is_not_sent_and_does_not_count(stage) {
    let (vault, shop) = two(stage);
    let mut payment = draft(Capture::Now, "course");
    let attempt = payment.attempts.remove(0);
    let name = vault.name_payment(&shop, NOW_MS).unwrap();
    let payment = Payment { id: name.id().clone(), ..payment };
    let mut course = Course::new(payment, name, None);
    assert!(wait(course.ask((&vault, &shop), attempt.clone(), async { Did })).is_ok());
    let never = poll_fn(|_| -> Poll<Did> { panic!("it was sent") });
    let refused = wait(course.ask((&vault, &shop), attempt, never));
    assert!(matches!(refused, Err(VaultError::NotNothing)));
    assert_eq!(course.payment().attempts.len(), 1);
    assert!(course.is_lost() && course.into_ongoing().is_none());
});

on_stage!(1 another_account_is_not_asked_when_that_cannot_be_written_down(stage) {
    let (vault, shop) = two(stage);
    let mut payment = draft(Capture::Now, "course");
    let attempt = payment.attempts.remove(0);
    let name = vault.name_payment(&shop, NOW_MS).unwrap();
    let payment = Payment { id: name.id().clone(), ..payment };
    let mut course = Course::new(payment, name, None);
    assert!(wait(course.ask((&vault, &shop), attempt.clone(), async { Busy })).is_ok());
    vault.close();
    let never = poll_fn(|_| -> Poll<Did> { panic!("it was sent") });
    let refused = wait(course.ask((&vault, &shop), attempt, never));
    assert!(matches!(refused, Err(VaultError::Store(StoreError::Unavailable))));
    assert_eq!(course.payment().attempts.len(), 1, "the merchant is told of those that were asked");
    assert!(course.is_lost() && course.into_ongoing().is_none());
});

on_stage!(1 what_a_provider_wants_to_be_told_again_stays_with_the_payment(stage) {
    let (vault, shop) = two(stage);
    let id = authorized(&vault, &shop, "memo");
    let mut ongoing = change(&vault, &shop, &id, ChangeKind::Capture, 400).unwrap();
    ongoing.payment.memo = Some("links".into());
    settled(&vault, ongoing, APPROVED, "cap_1");
    // One that brings nothing of the kind takes nothing away.
    let ongoing = change(&vault, &shop, &id, ChangeKind::Capture, 100).unwrap();
    settled(&vault, ongoing, APPROVED, "cap_2");
    let memo = vault.payment(&shop, &id).unwrap().unwrap().memo;
    assert_eq!(memo.as_deref(), Some("links"));
});

on_stage!(2 names_go_on_although_the_clock_was_put_back(stage) {
    const LATER: u64 = NOW_MS + 60_000;
    let (vault, shop) = two(stage);
    let next = || vault.name_payment(&shop, NOW_MS).unwrap().id().millis();
    if stage.act == 1 {
        let name = vault.name_payment(&shop, LATER).unwrap();
        let payment = draft(Capture::Now, "ahead");
        drop(wait(vault.begin_payment(&shop, payment, None, name)).unwrap());
        assert_eq!(next(), LATER);
        return vault.close();
    }
    assert_eq!(next(), LATER, "by what is still in doubt");
});

on_stage!(3 what_stays_in_doubt_does_not_hold_back_where_the_next_process_looks(stage) {
    const LATER: u64 = NOW_MS + 2 * 3_600_000;
    let (vault, shop) = two(stage);
    if stage.act == 1 {
        // A payment and a capture that nobody can ask about.
        drop(begun(&vault, &shop, draft(Capture::Now, "stuck"), None));
        let held = authorized(&vault, &shop, "held");
        drop(change(&vault, &shop, &held, ChangeKind::Capture, 100).unwrap());
        wait(vault.remember_low_water(LATER)).unwrap();
        // Twice is as good as once.
        wait(vault.remember_low_water(LATER + 1)).unwrap();
        vault.close();
        drop(vault);
        assert_eq!(aside_rows(stage), 2, "each has a row of its own");
        let from = stage.store().get(Collection::Meta, b"journal").unwrap();
        assert_eq!(from, Some((LATER + 1).to_be_bytes().to_vec()), "the others are over");
        return;
    }
    // They are found although the process looks from a later moment on.
    let doubts = vault.doubts(10);
    if stage.act == 2 {
        assert_eq!(doubts.len(), 2, "{doubts:?}");
        for doubt in doubts {
            let ongoing = vault.take_doubt(&doubt).unwrap().unwrap();
            settled(&vault, ongoing, APPROVED, "pi_late");
        }
        vault.close();
        drop(vault);
        assert_eq!(aside_rows(stage), 0, "what ended loses its row");
        return;
    }
    assert!(doubts.is_empty(), "{doubts:?}");
});

/// How many rows there are of what was set aside.
fn aside_rows(stage: &Stage) -> usize {
    let rows = stage.store().page(Collection::Payments, None, b"shop\0o", 10).unwrap();
    rows.len()
}

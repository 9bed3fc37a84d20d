//! The journal: what providers tell of their own accord, whoever has the payment in hand.

use crate::payments::{
    APPROVED, UNKNOWN, authorized, begun, change, draft, ended, euros, settled, two,
};
use crate::stage::{NOW_MS, on_stage};
use model::{
    About, AccountName, Amount, Capture, ChangeKind, Currency, Decline, Learnt, MerchantId, Notice,
    Outcome, Payment, Rejected, Report, Standing, State, Subject, Teller, TransactionId, Undo,
    Unknown,
};
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use vault::payments::{Heard, Ongoing, Replay, Stray};
use vault::store::{Collection, Store};
use vault::{Vault, wait};

const PENDING: Standing = Standing::Ended(Outcome::Pending);
const MOVED: Heard = Heard::Learnt(Learnt::Moved);
const STRAY: Heard = Heard::Learnt(Learnt::Stray);
const LATER: &str = "later";
const KNOWN: Heard = Heard::Learnt(Learnt::Known);

fn teller() -> Teller {
    let account = AccountName::parse("stripe-primary").unwrap();
    Teller { provider: "stripe".into(), account }
}

/// What is told of a payment that the provider calls so, or of a change of it.
fn notice(name: &str, subject: Subject, payment: &str) -> Notice {
    let about = About {
        subject,
        key: None,
        payment_key: None,
        payment: Some(payment.into()),
        action: None,
        merchant_reference: None,
    };
    Notice { name: name.into(), about, report: None }
}

fn keyed(name: &str, key: &TransactionId) -> Notice {
    let mut notice = notice(name, Subject::Payment, "pi_told");
    notice.about.key = Some(key.as_str().into());
    notice
}

fn hear(vault: &Vault, shop: &MerchantId, notice: &Notice, outcome: Outcome, minor: u64) -> Heard {
    let reference = notice.about.payment.clone();
    let report = Report { amount: Some(euros(minor)), reference, ..Report::bare(outcome) };
    wait(vault.hear(shop, &teller(), (notice, &report), NOW_MS)).unwrap().0
}

fn read(vault: &Vault, shop: &MerchantId, id: &TransactionId) -> Payment {
    vault.payment(shop, id).unwrap().unwrap()
}

on_stage!(2 a_notice_ends_a_capture_that_is_pending_and_is_taken_in_once(stage) {
    let (vault, shop) = two(stage);
    let take = notice("evt_1", Subject::Change(ChangeKind::Capture), "pi_one");
    if stage.act == 1 {
        let id = authorized(&vault, &shop, "one");
        let ongoing = change(&vault, &shop, &id, ChangeKind::Capture, 600).unwrap();
        settled(&vault, ongoing, PENDING, "pi_one");
        let failed = Outcome::Declined(Decline::ProcessingError);
        assert_eq!(hear(&vault, &shop, &take, failed, 600), MOVED);
        return vault.close();
    }
    // What a process took in the next one knows.
    let id = vault.payment_by_reference(&shop, "stripe", "pi_one").unwrap().unwrap();
    assert_eq!(read(&vault, &shop, &id).state(), State::Authorized);
    assert_eq!(hear(&vault, &shop, &take, Outcome::Approved, 600), Heard::Repeated);
    let another = notice("evt_2", Subject::Change(ChangeKind::Capture), "pi_one");
    assert_eq!(hear(&vault, &shop, &another, Outcome::Approved, 600), KNOWN);
    assert_eq!(read(&vault, &shop, &id).captured(), 0, "a failure is never taken back");
    let elsewhere = notice("evt_3", Subject::Change(ChangeKind::Capture), "pi_two");
    assert_eq!(hear(&vault, &shop, &elsewhere, Outcome::Approved, 600), Heard::Unknown);
});

on_stage!(1 a_notice_that_comes_before_the_answer_is_not_lost_by_it(stage) {
    let (vault, shop) = two(stage);
    for (answer, told, expected) in [
        (APPROVED, Outcome::Approved, State::Captured),
        (UNKNOWN, Outcome::Approved, State::Captured),
        (PENDING, Outcome::Approved, State::Captured),
        (Standing::NotDone, Outcome::Approved, State::Captured),
        (UNKNOWN, Outcome::Declined(Decline::CardDeclined), State::Declined),
    ] {
        let ongoing = begun(&vault, &shop, draft(Capture::Now, "early"), None);
        let id = ongoing.payment.id.clone();
        let early = keyed(id.as_str(), &id);
        assert_eq!(hear(&vault, &shop, &early, told, 1_000), MOVED, "{answer:?}");
        let reference = matches!(answer, APPROVED).then_some("pi_told");
        let payment = wait(vault.settle(ended(ongoing, answer, reference), None)).unwrap();
        assert_eq!(payment.state(), expected, "{answer:?} {told:?}");
        assert_eq!(read(&vault, &shop, &id), payment);
        assert!(vault.doubts(10).is_empty(), "{answer:?} {told:?}");
    }
});

on_stage!(1 what_nobody_knows_yet_is_asked_about_whatever_is_told_of_it(stage) {
    let (vault, shop) = two(stage);
    let ongoing = begun(&vault, &shop, draft(Capture::Now, "doubt"), None);
    let id = ongoing.payment.id.clone();
    wait(vault.settle(ended(ongoing, UNKNOWN, None), None)).unwrap();
    let unknown = Outcome::Unknown(Unknown::Interrupted);
    assert_eq!(hear(&vault, &shop, &keyed("evt_1", &id), unknown, 1_000), KNOWN);
    assert_eq!(vault.doubts(10).len(), 1, "it is asked about");
    // No second account was asked, so that nobody has its key from us.
    let mut strange = keyed("evt_2", &id);
    strange.about.key = Some(id.attempt_key(1));
    assert_eq!(hear(&vault, &shop, &strange, Outcome::Approved, 1_000), Heard::Unknown);
    assert_eq!(read(&vault, &shop, &id).state(), State::Unknown);
});

on_stage!(1 what_is_told_without_a_name_is_not_taken_for_what_was_never_sent(stage) {
    let (vault, shop) = two(stage);
    let one = authorized(&vault, &shop, "one");
    // Whoever begins a capture goes away while it is being written.
    let capture = (ChangeKind::Capture, euros(1_000));
    let mut begin = Box::pin(vault.begin_change(&shop, &one, capture, None, NOW_MS));
    assert!(begin.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(begin);
    // Writes are made one after another, so that it is there when this is.
    authorized(&vault, &shop, "two");
    let take = notice("evt_1", Subject::Change(ChangeKind::Capture), "pi_one");
    let heard = hear(&vault, &shop, &take, Outcome::Approved, 1_000);
    assert_eq!(heard, Heard::Learnt(Learnt::Foreign));
    let found = read(&vault, &shop, &one);
    assert_eq!((found.changes.len(), found.captured()), (1, 0));
});

on_stage!(1 what_is_begun_while_the_payment_is_asked_about_is_not_lost(stage) {
    let (vault, shop) = two(stage);
    let ongoing = begun(&vault, &shop, draft(Capture::Now, "asked"), None);
    let id = ongoing.payment.id.clone();
    wait(vault.settle(ended(ongoing, UNKNOWN, None), None)).unwrap();
    let doubt = vault.doubts(10).pop().unwrap();
    // The resolver asks, a notice is faster, and the merchant refunds at once.
    let held = vault.take_doubt(&doubt).unwrap().unwrap();
    assert_eq!(hear(&vault, &shop, &keyed("evt_1", &id), Outcome::Approved, 1_000), MOVED);
    let refund = change(&vault, &shop, &id, ChangeKind::Refund, 600).unwrap();
    wait(vault.settle(ended(held, APPROVED, Some("pi_told")), None)).unwrap();
    assert_eq!(read(&vault, &shop, &id).changes.len(), 1, "the refund is lost");
    assert!(change(&vault, &shop, &id, ChangeKind::Refund, 600).is_err(), "more than there is");
    assert_eq!(settled(&vault, refund, APPROVED, "re_1").refunded(), 600);
});

on_stage!(1 a_notice_settles_what_is_in_doubt_and_gives_its_name(stage) {
    let (vault, shop) = two(stage);
    let ongoing = begun(&vault, &shop, draft(Capture::Later, "doubt"), None);
    let id = ongoing.payment.id.clone();
    wait(vault.settle(ended(ongoing, UNKNOWN, None), None)).unwrap();
    let doubt = vault.doubts(10).pop().unwrap();
    // The resolver has it in hand, and asks.
    let held = vault.take_doubt(&doubt).unwrap().unwrap();
    assert_eq!(hear(&vault, &shop, &keyed("evt_1", &id), Outcome::Approved, 1_000), MOVED);
    drop(held);
    let again = vault.take_doubt(&doubt).unwrap().unwrap();
    assert!(!again.is_open());
    wait(vault.settle(again, None)).unwrap();
    assert!(vault.doubts(10).is_empty());
    let found = vault.payment_by_reference(&shop, "stripe", "pi_told").unwrap();
    assert_eq!(found.as_ref(), Some(&id), "the provider's name leads to it");
    // In nobody's hands, it is off the list at once.
    let ongoing = change(&vault, &shop, &id, ChangeKind::Capture, 1_000).unwrap();
    wait(vault.settle(ended(ongoing, UNKNOWN, None), None)).unwrap();
    assert_eq!(vault.doubts(10).len(), 1);
    let take = notice("evt_2", Subject::Change(ChangeKind::Capture), "pi_told");
    assert_eq!(hear(&vault, &shop, &take, Outcome::Approved, 1_000), MOVED);
    assert!(vault.doubts(10).is_empty());
    assert_eq!(read(&vault, &shop, &id).state(), State::Captured);
});

/// Both at once, each asked in turn, `one` first: what they find of the store is the same.
fn both<A, B>(one: impl Future<Output = A>, other: impl Future<Output = B>) -> (A, B) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let (mut first, mut second) = (None, None);
    wait(poll_fn(|context| {
        if first.is_none()
            && let Poll::Ready(done) = one.as_mut().poll(context)
        {
            first = Some(done);
        }
        if second.is_none()
            && let Poll::Ready(done) = other.as_mut().poll(context)
        {
            second = Some(done);
        }
        if first.is_some() && second.is_some() { Poll::Ready(()) } else { Poll::Pending }
    }));
    (first.unwrap(), second.unwrap())
}

/// Lets go of a payment, and takes it into hand as the resolver does.
fn in_doubt(vault: &Vault, ongoing: Ongoing) -> Ongoing {
    drop(ongoing);
    vault.take_doubt(&vault.doubts(1)[0]).unwrap().unwrap()
}

on_stage!(1 a_change_that_is_begun_while_its_payment_ends_loses_nothing_and_is_kept(stage) {
    let (vault, shop) = two(stage);
    for round in 0..20 {
        let ongoing = begun(&vault, &shop, draft(Capture::Later, "told"), None);
        let id = ongoing.payment.id.clone();
        // The provider tells of it before it answers, and the merchant captures at once.
        let mut early = keyed(id.as_str(), &id);
        early.about.payment = None;
        assert_eq!(hear(&vault, &shop, &early, Outcome::Approved, 1_000), MOVED);
        // It ends by its answer, which knows nothing of that, or by the resolver, which has read it.
        let ongoing = if round < 10 { ongoing } else { in_doubt(&vault, ongoing) };
        let name = format!("pi_{round}");
        let end = vault.settle(ended(ongoing, APPROVED, Some(&name)), None);
        let capture = (ChangeKind::Capture, euros(1_000));
        let begin = vault.begin_change(&shop, &id, capture, None, NOW_MS);
        let capture = if round % 2 == 0 { both(end, begin).1 } else { both(begin, end).0 };
        settled(&vault, capture.unwrap(), APPROVED, "ca_told");
        let payment = read(&vault, &shop, &id);
        let kept = payment.attempts[0].evidence.reference.as_deref();
        assert_eq!(kept, Some(&*name), "what was told by the end, {round}");
        assert_eq!(payment.state(), State::Captured, "what was begun, {round}");
        let found = vault.payment_by_reference(&shop, "stripe", &name).unwrap();
        assert_eq!(found, Some(id), "the name leads to it, {round}");
    }
});

on_stage!(1 a_payment_that_was_given_up_and_stands_is_not_made_again(stage) {
    let (vault, shop) = two(stage);
    let mut ongoing = begun(&vault, &shop, draft(Capture::Now, "once"), None);
    let id = ongoing.payment.id.clone();
    assert_eq!(hear(&vault, &shop, &keyed("evt_1", &id), Outcome::Approved, 1_000), MOVED);
    let first = ongoing.payment.attempts.first_mut().unwrap();
    first.standing = Standing::NotDone;
    let second = draft(Capture::Now, "once").attempts.remove(0);
    ongoing.payment.attempts.push(second);
    assert!(wait(vault.go_on(&mut ongoing)).is_err(), "nobody else may be asked");
    drop(ongoing);
    let found = read(&vault, &shop, &id);
    assert_eq!((found.attempts.len(), found.state()), (1, State::Captured));
});

on_stage!(2 what_was_told_not_to_be_done_and_stands_is_noted_until_it_does_not(stage) {
    let (vault, shop) = two(stage);
    let told = |id: &TransactionId| keyed(&format!("evt-{id}"), id);
    if stage.act == 1 {
        let busy = Standing::Ended(Outcome::Rejected(Rejected::RateLimited));
        let answer = Replay { status: 503, body: Box::from(&b"busy"[..]) };
        let mut all = Vec::new();
        for (standing, first) in [(Standing::NotDone, false), (busy, false), (busy, true)] {
            let ongoing = begun(&vault, &shop, draft(Capture::Later, "told"), None);
            let id = ongoing.payment.id.clone();
            // The word may come before the answer that says otherwise is kept.
            if first {
                assert_eq!(hear(&vault, &shop, &told(&id), Outcome::Approved, 1_000), MOVED);
            }
            wait(vault.settle(ended(ongoing, standing, None), Some(&answer))).unwrap();
            if !first {
                assert_eq!(hear(&vault, &shop, &told(&id), Outcome::Approved, 1_000), STRAY);
            }
            assert_eq!(hear(&vault, &shop, &keyed(id.as_str(), &id), Outcome::Approved, 1_000), KNOWN);
            assert_eq!(read(&vault, &shop, &id).state(), State::Authorized);
            all.push(id);
        }
        // Nobody was answered yet: nobody was told that it was not done.
        let ongoing = begun(&vault, &shop, draft(Capture::Later, "untold"), None);
        let id = ongoing.payment.id.clone();
        assert_eq!(hear(&vault, &shop, &told(&id), Outcome::Approved, 1_000), MOVED);
        wait(vault.settle(ended(ongoing, Standing::NotDone, None), None)).unwrap();
        // They were begun in the same millisecond, and sort by chance then.
        all.sort();
        let strays = vault.strays(10).into_iter().map(|stray| stray.payment);
        assert_eq!(strays.collect::<Vec<_>>(), all);
        assert_eq!(vault.strays(1).len(), 1);
        return vault.close();
    }
    assert!(vault.verify(|_| {}).unwrap().is_whole());
    let undo = |stray: &Stray| vault.undo(stray).unwrap().unwrap().1;
    assert_eq!((vault.strays(10).len(), vault.figures().payments_stray), (3, 3));
    for stray in vault.strays(10) {
        assert_eq!((&stray.payment, undo(&stray)), (&stray.of, Undo::Do(ChangeKind::Void)));
        let void = change(&vault, &shop, &stray.payment, ChangeKind::Void, 1_000).unwrap();
        assert_eq!(undo(&stray), Undo::Wait);
        settled(&vault, void, APPROVED, "void");
        assert_eq!(undo(&stray), Undo::Nothing);
        wait(vault.let_stand(&stray)).unwrap();
    }
    assert!(vault.strays(10).is_empty());
    vault.close();
    drop(vault);
    let rows = stage.store().page(Collection::Payments, None, b"shop\0v", 10).unwrap();
    assert!(rows.is_empty());
});

on_stage!(2 an_attempt_that_was_given_up_and_stands_is_a_payment_of_its_own(stage) {
    let (vault, shop) = two(stage);
    if stage.act == 1 {
        let mut ongoing = begun(&vault, &shop, draft(Capture::Now, "twice"), None);
        let id = ongoing.payment.id.clone();
        ongoing.payment.attempts[0].standing = Standing::NotDone;
        let second = draft(Capture::Now, "twice").attempts.remove(0);
        ongoing.payment.attempts.push(second);
        wait(vault.go_on(&mut ongoing)).unwrap();
        let before = read(&vault, &shop, &id);
        // The name is needed to undo it.
        let mut nameless = keyed("evt_0", &id);
        nameless.about.payment = None;
        assert_eq!(hear(&vault, &shop, &nameless, Outcome::Approved, 1_000), STRAY);
        assert!(vault.strays(10).is_empty());
        for name in ["evt_1", "evt_2"] {
            assert_eq!(hear(&vault, &shop, &keyed(name, &id), Outcome::Approved, 1_000), STRAY);
            let stray = vault.strays(10).remove(0);
            assert_eq!(vault.undo(&stray).unwrap().unwrap().0.captured(), 1_000);
            assert_eq!((vault.strays(10).len(), &stray.of), (1, &id));
        }
        assert_eq!(read(&vault, &shop, &id), before);
        settled(&vault, ongoing, APPROVED, "pi_second");
        return vault.close();
    }
    let stray = vault.strays(10).remove(0);
    let found = vault.payment_by_reference(&shop, "stripe", "pi_told").unwrap();
    assert_eq!(found.as_ref(), Some(&stray.payment));
    let undo = || vault.undo(&stray).unwrap().unwrap().1;
    assert_eq!(undo(), Undo::Do(ChangeKind::Void));
    let void = change(&vault, &shop, &stray.payment, ChangeKind::Void, 1_000).unwrap();
    settled(&vault, void, Standing::Ended(Outcome::Rejected(Rejected::State)), "void");
    assert_eq!(undo(), Undo::Do(ChangeKind::Refund), "it was paid for twice");
    // What was paid for elsewhere was given back by the merchant meanwhile.
    let refund = change(&vault, &shop, &stray.of, ChangeKind::Refund, 1_000).unwrap();
    settled(&vault, refund, APPROVED, "refund");
    assert_eq!(undo(), Undo::Person);
});

on_stage!(1 nothing_is_given_back_while_what_was_paid_elsewhere_may_still_fail(stage) {
    let (vault, shop) = two(stage);
    let mut ongoing = begun(&vault, &shop, draft(Capture::Now, "twice"), None);
    let id = ongoing.payment.id.clone();
    ongoing.payment.attempts[0].standing = Standing::NotDone;
    let second = draft(Capture::Now, "twice").attempts.remove(0);
    ongoing.payment.attempts.push(second);
    wait(vault.go_on(&mut ongoing)).unwrap();
    assert_eq!(hear(&vault, &shop, &keyed("evt_1", &id), Outcome::Approved, 1_000), STRAY);
    settled(&vault, ongoing, PENDING, "pi_second");
    let stray = vault.strays(10).remove(0);
    let void = change(&vault, &shop, &stray.payment, ChangeKind::Void, 1_000).unwrap();
    settled(&vault, void, Standing::Ended(Outcome::Rejected(Rejected::State)), "void");
    assert_eq!(vault.undo(&stray).unwrap().unwrap().1, Undo::Person);
});

on_stage!(1 the_merchants_reference_leads_to_the_only_payment_in_doubt_that_fits(stage) {
    let (vault, shop) = two(stage);
    let named = |name: &str, reference: &str| {
        let mut notice = notice(name, Subject::Payment, "psp");
        notice.about.merchant_reference = Some(reference.into());
        notice
    };
    let doubt = |reference: &str| {
        let ongoing = begun(&vault, &shop, draft(Capture::Now, reference), None);
        let id = ongoing.payment.id.clone();
        wait(vault.settle(ended(ongoing, UNKNOWN, None), None)).unwrap();
        id
    };
    let (one, _, _) = (doubt("one"), doubt("twice"), doubt("twice"));
    let told = |name: &str, reference: &str, minor| {
        hear(&vault, &shop, &named(name, reference), Outcome::Approved, minor)
    };
    assert_eq!(told("evt_1", "one", 999), Heard::Unknown, "another amount");
    assert_eq!(told("evt_2", "twice", 1_000), Heard::Unknown, "one of two");
    assert_eq!(told("evt_3", "one", 1_000), MOVED);
    assert_eq!(read(&vault, &shop, &one).state(), State::Captured);
    assert_eq!(vault.doubts(10).len(), 2);
});

on_stage!(2 the_merchants_reference_leads_past_all_else_that_is_in_doubt(stage) {
    let (vault, shop) = two(stage);
    let told = |name: &str, reference: &str| {
        let mut notice = notice(name, Subject::Payment, &format!("psp_{reference}"));
        notice.about.merchant_reference = Some(reference.into());
        hear(&vault, &shop, &notice, Outcome::Approved, 1_000)
    };
    if stage.act == 1 {
        let doubt = |reference: &str| {
            let ongoing = begun(&vault, &shop, draft(Capture::Now, reference), None);
            wait(vault.settle(ended(ongoing, UNKNOWN, None), None)).unwrap();
        };
        ["first", "second"].into_iter().for_each(doubt);
        // An outage leaves more behind than anybody would look through.
        drop(vault.name_payment(&shop, NOW_MS + 1).unwrap());
        [LATER; 1_001].into_iter().for_each(doubt);
        assert_eq!(told("evt_1", "first"), MOVED);
        assert_eq!(told("evt_2", LATER), Heard::Unknown, "one of many");
        return vault.close();
    }
    assert_eq!(vault.doubts(2_000).len(), 1_002);
    assert_eq!(told("evt_3", "second"), MOVED, "by what the process before knew");
    assert_eq!(vault.doubts(2_000).len(), 1_001);
});

on_stage!(1 what_is_told_of_a_declined_payment_is_not_taken_for_another_of_the_same_reference(stage) {
    let (vault, shop) = two(stage);
    let declined = Outcome::Declined(Decline::CardDeclined);
    let told = |name: &str, psp: &str| {
        let mut notice = notice(name, Subject::Payment, psp);
        notice.about.merchant_reference = Some("again".into());
        hear(&vault, &shop, &notice, declined, 1_000)
    };
    let ongoing = begun(&vault, &shop, draft(Capture::Now, "again"), None);
    let first = settled(&vault, ongoing, Standing::Ended(declined), "psp_declined").id;
    // Another card is tried, and the answer is lost; the word about the first comes late.
    let ongoing = begun(&vault, &shop, draft(Capture::Now, "again"), None);
    let second = wait(vault.settle(ended(ongoing, UNKNOWN, None), None)).unwrap().id;
    assert_eq!(told("evt_1", "psp_declined"), KNOWN);
    assert_eq!(read(&vault, &shop, &second).state(), State::Unknown);
    let found = vault.payment_by_reference(&shop, "stripe", "psp_declined").unwrap();
    assert_eq!(found, Some(first));
    assert_eq!(told("evt_2", "psp_second"), MOVED);
    // One whose name is known is not what has another name.
    let ongoing = begun(&vault, &shop, draft(Capture::Now, "again"), None);
    let third = settled(&vault, ongoing, UNKNOWN, "psp_third").id;
    assert_eq!(told("evt_3", "psp_elsewhere"), Heard::Unknown);
    assert_eq!(read(&vault, &shop, &third).state(), State::Unknown);
    assert_eq!(told("evt_4", "psp_third"), MOVED);
});

on_stage!(1 a_change_of_a_payment_made_elsewhere_stays_in_its_currency(stage) {
    let (vault, shop) = two(stage);
    let mut foreign = draft(Capture::Later, "foreign");
    foreign.adopted = true;
    foreign.attempts[0].standing = APPROVED;
    foreign.attempts[0].evidence.reference = Some("pi_foreign".into());
    let id = wait(vault.adopt_payment(&shop, foreign, NOW_MS)).unwrap().id;
    // The merchant names the wrong currency first, and the provider refuses that.
    let wrong = change(&vault, &shop, &id, ChangeKind::Refund, 500).unwrap();
    settled(&vault, wrong, Standing::Ended(Outcome::Rejected(Rejected::Malformed)), "re_1");
    let yen = Amount::new(500, Currency::parse("JPY").unwrap()).unwrap();
    let refund = (ChangeKind::Refund, yen);
    let refund = wait(vault.begin_change(&shop, &id, refund, None, NOW_MS)).unwrap();
    settled(&vault, refund, PENDING, "re_2");
    let payment = read(&vault, &shop, &id);
    assert_eq!((payment.changes[1].amount, payment.told(), payment.refunded()), (yen, yen, 500));
    let notice = notice("evt_1", Subject::Change(ChangeKind::Refund), "pi_foreign");
    let report = Report { amount: Some(yen), ..Report::bare(Outcome::Approved) };
    let heard = wait(vault.hear(&shop, &teller(), (&notice, &report), NOW_MS)).unwrap().0;
    assert_eq!(heard, MOVED);
    assert_eq!(read(&vault, &shop, &id).pending(ChangeKind::Refund), 0);
});

on_stage!(4 what_is_pending_is_found_by_its_name_until_it_ends(stage) {
    if stage.act.is_multiple_of(2) {
        // A merchant, a zero and 32 digits: the payment itself, and the change while it is pending.
        let rows = stage.store().page(Collection::Payments, None, b"", 1_000).unwrap();
        let names = rows.iter().filter(|(key, _)| key.len() == "shop".len() + 33).count();
        assert_eq!(names, if stage.act == 2 { 2 } else { 1 });
        return;
    }
    let (vault, shop) = two(stage);
    if stage.act == 1 {
        let id = authorized(&vault, &shop, "one");
        let ongoing = change(&vault, &shop, &id, ChangeKind::Capture, 600).unwrap();
        settled(&vault, ongoing, PENDING, "pi_one");
        return vault.close();
    }
    let id = vault.payment_by_reference(&shop, "stripe", "pi_one").unwrap().unwrap();
    let key = read(&vault, &shop, &id).changes[0].id.clone();
    let mut take = keyed("evt_1", &key);
    take.about.subject = Subject::Change(ChangeKind::Capture);
    take.about.payment = None;
    assert_eq!(hear(&vault, &shop, &take, Outcome::Approved, 600), MOVED);
    // When it has ended it is found by our key for the payment only.
    let failed = Outcome::Declined(Decline::ProcessingError);
    let again = |name: &str| Notice { name: name.into(), ..take.clone() };
    assert_eq!(hear(&vault, &shop, &again("evt_2"), failed, 600), Heard::Unknown);
    let mut back = again("evt_3");
    back.about.payment_key = Some(id.attempt_key(0));
    assert_eq!(hear(&vault, &shop, &back, failed, 600), MOVED);
    assert_eq!(read(&vault, &shop, &id).captured(), 0);
    vault.close();
});

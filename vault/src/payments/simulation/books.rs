//! The journal beside the books of the providers.

use super::actors::{Memory, Process, read, standing_of};
use super::provider::{Deed, REMEMBERED_MS, remembers};
use model::doubt::Question;
use model::{ChangeKind, Kind, Outcome, Payment, Standing, State, TransactionId};
use std::collections::BTreeMap;

/// Money that really moved, of one order.
#[derive(Debug, Default)]
struct Moved {
    made: u64,
    authorized: u64,
    captured: u64,
    refunded: u64,
}

impl Process<'_> {
    /// What must hold at any time.
    pub(super) fn check_always(self) {
        self.check_moved();
        self.check_heard();
    }

    /// What must hold when all is over.
    pub(super) fn check_end(self) {
        let Self { world, vault } = self;
        self.check_always();
        self.check_answers();
        for id in world.names.borrow().keys() {
            let Some(payment) = vault.payment(&world.shop, id).unwrap() else { continue };
            let left = self.doubts_of(&payment);
            let known = left.iter().find(|change| !self.is_lost(&payment, change.as_ref()));
            world.scene.check(known.is_none(), || format!("left in doubt: {known:?}: {payment:?}"));
            if left.is_empty() {
                self.check_payment(&payment);
            }
        }
        for (key, deed) in world.truth.deeds.borrow().iter() {
            if deed.denied {
                self.check_denied(deed);
                continue;
            }
            let row = vault.payment(&world.shop, &deed.payment).unwrap();
            let standing = row.as_ref().and_then(|row| standing_of(row, key));
            let accepted = standing.is_some_and(Standing::is_accepted);
            // Whether it may be in doubt was looked at.
            let open = standing.is_some_and(Standing::is_open);
            world.scene.check(open || accepted == deed.stands(), || {
                format!("the provider has {:?}, and the journal {standing:?}: {deed:?}", deed.end)
            });
        }
        for order in &world.orders {
            self.check_told(&order.told, None);
        }
    }

    /// What of a payment is in doubt: itself (none), or these changes.
    pub(super) fn doubts_of(self, payment: &Payment) -> Vec<Option<TransactionId>> {
        let itself = payment.last_attempt().filter(|attempt| attempt.standing.is_open());
        let changes = payment.changes.iter().filter(|change| change.standing.is_open());
        let changes = changes.map(|change| Some(change.id.clone()));
        itself.map(|_| None).into_iter().chain(changes).collect()
    }

    /// Whether nobody can find out what became of something, if its provider does not tell.
    pub(super) fn is_lost(self, payment: &Payment, change: Option<&TransactionId>) -> bool {
        let Self { world, .. } = self;
        let (truth, now) = (&world.truth, world.scene.now());
        let question = Question::of(payment, change).unwrap();
        let told = truth.letters.borrow().iter().any(|letter| letter.key == question.key)
            || truth.late.borrow().iter().any(|(_, asked)| asked.key == question.key);
        if told {
            return false;
        }
        if world.replaced.borrow().as_ref() == question.account {
            return true;
        }
        let remembered = remembers(question.provider);
        if remembered.is_zero() {
            return false;
        }
        let deeds = truth.deeds.borrow();
        let refused = deeds.get(&question.key).map(|deed| Standing::Ended(deed.outcome_at(now)));
        // A day for what the clock is astray, and one for what is allowed for it.
        let long =
            now.saturating_add(2 * 86_400_000) >= question.sent.saturating_add(REMEMBERED_MS);
        change.is_none()
            || !question.is_same_account
            || long
            || refused.is_some_and(|standing| !standing.is_accepted())
    }

    /// No order is paid for twice, and no more is taken or given back than there is.
    fn check_moved(self) {
        let mut orders = BTreeMap::<usize, Moved>::new();
        let truth = &self.world.truth;
        for deed in truth.deeds.borrow().values() {
            self.world.scene.check(deed.times == 1, || format!("it is done twice: {deed:?}"));
        }
        let meant = |deed: &&Deed| deed.stands() && !truth.is_denied(deed);
        for deed in truth.deeds.borrow().values().filter(meant) {
            let moved = orders.entry(deed.order).or_default();
            let minor = deed.amount.minor();
            match deed.kind {
                Kind::Authorize | Kind::Charge => {
                    moved.made = moved.made.saturating_add(1);
                    moved.authorized = moved.authorized.saturating_add(minor);
                    if deed.kind == Kind::Charge {
                        moved.captured = moved.captured.saturating_add(minor);
                    }
                }
                Kind::Capture => moved.captured = moved.captured.saturating_add(minor),
                Kind::Refund => moved.refunded = moved.refunded.saturating_add(minor),
                Kind::Void | Kind::Status | Kind::Tokenize => {}
            }
        }
        for (order, moved) in orders {
            let Moved { made, authorized, captured, refunded } = moved;
            let fine = made <= 1 && captured <= authorized && refunded <= captured;
            self.world.scene.check(fine, || format!("order {order}: {moved:?}"));
        }
    }

    /// What was acknowledged to a provider is in the journal.
    fn check_heard(self) {
        let Self { world, vault } = self;
        for (key, outcome) in world.heard.borrow().iter() {
            let payment = world.truth.deeds.borrow().get(key).unwrap().payment.clone();
            let row = vault.payment(&world.shop, &payment).unwrap();
            let standing = row.as_ref().and_then(|row| standing_of(row, key)).unwrap();
            let told = Standing::Ended(*outcome);
            world.scene.check(standing == told || !standing.may_become(told), || {
                format!("{told:?} was told and acknowledged, and the journal has {standing:?}")
            });
        }
    }

    /// The payment of the journal in which a deed is.
    fn is_in(self, deed: &Deed, payment: &Payment) -> bool {
        if !deed.denied {
            return deed.payment == payment.id;
        }
        let Self { world, vault } = self;
        let provider = &deed.teller.provider;
        let id = vault.payment_by_reference(&world.shop, provider, &deed.reference).unwrap();
        id.as_ref() == Some(&payment.id)
    }

    /// What was done although its merchant was told that it was not does not stand in the end. What is
    /// left was captured, and only its merchant knows whether it is wanted, or its provider does not
    /// undo it: then a person is told.
    fn check_denied(self, deed: &Deed) {
        let Self { world, vault } = self;
        let provider = &deed.teller.provider;
        let id = vault.payment_by_reference(&world.shop, provider, &deed.reference).unwrap();
        let payment = id.and_then(|id| vault.payment(&world.shop, &id).unwrap());
        let Some(payment) = payment else {
            return world.scene.breaks(format_args!("nobody knows of {deed:?}"));
        };
        if self.doubts_of(&payment).is_empty() {
            self.check_payment(&payment);
        }
        let told = world.orders[deed.order].told.borrow().as_ref().map(read);
        let known = told.is_some_and(|(id, word)| id == payment.id && word != "failed");
        // It is known that it must not stand.
        let left = vault.strays(100).into_iter().any(|one| one.payment == payment.id);
        let over = matches!(payment.state(), State::Voided | State::Refunded | State::Captured);
        let fine =
            known || left || over && (payment.captured() == 0 || !payment.changes.is_empty());
        world.scene.check(fine, || format!("it must not stand: {payment:?}"));
    }

    /// The sums that a merchant is shown.
    fn check_payment(self, payment: &Payment) {
        let deeds = self.world.truth.deeds.borrow();
        let of = |kind: Kind| {
            let these = deeds.values().filter(|deed| self.is_in(deed, payment) && deed.stands());
            these.filter(|deed| deed.kind == kind).map(|deed| deed.amount.minor()).sum::<u64>()
        };
        let captured = of(Kind::Charge).saturating_add(of(ChangeKind::Capture.kind()));
        let voided = of(Kind::Void) > 0;
        let shown = (payment.captured(), payment.refunded());
        let fine = shown == (if voided { 0 } else { captured }, of(Kind::Refund));
        self.world.scene.check(fine, || format!("the sums differ: {shown:?} and {captured}"));
    }

    /// What a merchant was told for certain has stayed so.
    fn check_told(self, memory: &Memory, change: Option<&TransactionId>) {
        let Some((id, word)) = memory.borrow().as_ref().map(read) else { return };
        let payment = self.vault.payment(&self.world.shop, &id).unwrap().unwrap();
        let standing = match change {
            None => payment.last_attempt().unwrap().standing,
            Some(id) => payment.change(id).unwrap().standing,
        };
        let kept = match &*word {
            "done" => standing == Standing::Ended(Outcome::Approved),
            "declined" => matches!(standing, Standing::Ended(Outcome::Declined(_))),
            "failed" => {
                standing == Standing::NotDone
                    || matches!(standing, Standing::Ended(Outcome::Rejected(_)))
                    || self
                        .world
                        .truth
                        .deeds
                        .borrow()
                        .values()
                        .any(|deed| deed.denied && deed.payment == id)
            }
            _ => true,
        };
        self.world.scene.check(kept, || format!("{word} was told, and now it is {standing:?}"));
    }
}

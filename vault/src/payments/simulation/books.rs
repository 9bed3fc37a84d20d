//! The journal beside the books of the providers.

use super::actors::{Memory, Process, read, standing_of};
use model::{ChangeKind, Kind, Outcome, Payment, Standing};
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
            world.scene.check(!payment.is_open(), || format!("left in doubt: {payment:?}"));
            self.check_payment(&payment);
        }
        for (key, deed) in world.truth.deeds.borrow().iter() {
            let row = vault.payment(&world.shop, &deed.payment).unwrap();
            let standing = row.as_ref().and_then(|row| standing_of(row, key));
            let accepted = standing.is_some_and(Standing::is_accepted);
            world.scene.check(accepted == deed.stands(), || {
                format!("the provider has {:?}, and the journal {standing:?}: {deed:?}", deed.end)
            });
        }
        for order in &world.orders {
            self.check_told(&order.told, None);
        }
    }

    /// No order is paid for twice, and no more is taken or given back than there is.
    fn check_moved(self) {
        let mut orders = BTreeMap::<usize, Moved>::new();
        for deed in self.world.truth.deeds.borrow().values().filter(|deed| deed.stands()) {
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

    /// The sums that a merchant is shown.
    fn check_payment(self, payment: &Payment) {
        let deeds = self.world.truth.deeds.borrow();
        let of = |kind: Kind| {
            let these = deeds.values().filter(|deed| deed.payment == payment.id && deed.stands());
            these.filter(|deed| deed.kind == kind).map(|deed| deed.amount.minor()).sum::<u64>()
        };
        let captured = of(Kind::Charge).saturating_add(of(ChangeKind::Capture.kind()));
        let voided = of(Kind::Void) > 0;
        let shown = (payment.captured(), payment.refunded());
        let fine = shown == (if voided { 0 } else { captured }, of(Kind::Refund));
        self.world.scene.check(fine, || format!("the sums differ: {shown:?} and {captured}"));
    }

    /// What a merchant was told for certain has stayed so.
    fn check_told(self, memory: &Memory, change: Option<&model::TransactionId>) {
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
            }
            _ => true,
        };
        self.world.scene.check(kept, || format!("{word} was told, and now it is {standing:?}"));
    }
}

//! Who acts without being asked: the resolver, who undoes what must not stand, providers who tell, and
//! what keeps the process going.

use super::actors::{Process, put};
use super::provider::{Asked, Back, Identity, Letter, Nth, Truth, lag, remembers};
use super::steps::Until;
use crate::payments::{Doubt, Heard as HeardOf, Ongoing};
use crate::wait;
use model::doubt::{self, Belief, Heard, Question};
use model::{ChangeKind, Learnt, Payment, Report, Standing, TransactionId, Undo};
use std::time::Duration;

/// How long nothing happens now and then, at most.
const DAYS_MS: u64 = 12 * 24 * 3_600_000;

/// What a question brought.
enum Found {
    Report(Report),
    Absent,
    Unclear,
}

// === impl Process ===

impl Process<'_> {
    // === the resolver ===

    /// As `proxy/src/resolver.rs`, in an order of its own.
    pub(super) async fn resolver(self) {
        let Self { world, vault } = self;
        loop {
            world.scene.pause(10_000).await;
            let mut doubts = vault.doubts(100);
            doubts.sort_by_key(|doubt| {
                (world.called(&doubt.payment), doubt.change.as_ref().map(|id| id.millis()))
            });
            // All of them are looked at, and only some are asked about.
            doubts.iter().for_each(|doubt| world.notice(doubt));
            for doubt in doubts {
                if world.scene.dice.is_one_in(2) {
                    self.resolve(&doubt).await;
                }
            }
        }
    }

    async fn resolve(self, doubt: &Doubt) {
        let Self { world, vault } = self;
        let Some(mut ongoing) = vault.take_doubt(doubt).unwrap() else { return };
        if !ongoing.is_open() {
            vault.settle(ongoing, None).await.unwrap();
            return;
        }
        let Some((standing, report)) = self.inquire(doubt, &ongoing).await else { return };
        let called = world.called(&doubt.payment);
        world.scene.tell(format_args!("order {called} is resolved: {standing:?}"));
        world.see(if standing == Standing::NotDone { "resolved: nothing" } else { "resolved" });
        ongoing.note(standing, report.as_ref());
        vault.settle(ongoing, None).await.unwrap();
    }

    /// What the provider says when it is asked, as far as it is believed. As `proxy/src/inquiry.rs`.
    async fn inquire(self, doubt: &Doubt, ongoing: &Ongoing) -> Option<(Standing, Option<Report>)> {
        let Self { world, vault } = self;
        let (scene, payment) = (&world.scene, &ongoing.payment);
        let question = Question::of(payment, ongoing.change.as_ref()).unwrap();
        let (identity, since) = self.account(question.account.unwrap());
        let remembers = remembers(question.provider);
        let idle = scene.now().saturating_sub(world.noticed(doubt));
        let idle = Duration::from_millis(idle);
        let (now, lag, question) = (vault.moment(scene.clock()), lag(), &question);
        let lost = doubt::Doubt { question, now, idle, since, lag, remembers };
        let (asked, found) = if remembers.is_zero() {
            (doubt::Asked::About, self.look(&identity, &question.key).await)
        } else if lost.may_come_again() {
            let order = world.called(&payment.id);
            (doubt::Asked::Again, self.repeat((order, identity), payment, question).await?)
        } else {
            return None;
        };
        let heard = match &found {
            Found::Report(report) => Heard::Report(report),
            Found::Absent => Heard::Absent,
            Found::Unclear => Heard::Unclear,
        };
        match (lost.believe(asked, heard), found) {
            (Belief::Known(standing), Found::Report(report)) => Some((standing, Some(report))),
            (Belief::Known(standing), Found::Absent | Found::Unclear) => Some((standing, None)),
            (Belief::Later(_), _) => None,
        }
    }

    async fn look(self, identity: &str, key: &str) -> Found {
        let Self { world, .. } = self;
        world.scene.pause(5_000).await;
        let shown = world.truth.shown(&world.scene, identity, key);
        let unclear = world.scene.dice.is_one_in(4);
        world.scene.pause(5_000).await;
        match shown {
            _ if unclear => Found::Unclear,
            Some(report) => Found::Report(report),
            None => Found::Absent,
        }
    }

    /// Asks for a change once more. None: this is none.
    async fn repeat(
        self,
        (order, identity): (usize, Identity),
        payment: &Payment,
        question: &Question<'_>,
    ) -> Option<Found> {
        let of = Some(question.earlier?.into());
        self.world.see("again");
        let asked = Asked {
            nth: Nth::Again,
            identity,
            order,
            key: question.key.clone(),
            kind: question.kind,
            payment: payment.id.clone(),
            amount: question.amount,
            account: question.account?.clone(),
            of,
        };
        match self.send(asked).await {
            Back::Said(report) => Some(Found::Report(report)),
            Back::NotSent => Some(Found::Unclear),
        }
    }

    // === what providers tell ===

    /// Providers tell what they did, some of it twice, until it is acknowledged.
    pub(super) async fn postman(self) {
        let Self { world, .. } = self;
        loop {
            world.scene.pause(10_000).await;
            let due: Vec<_> = {
                let letters = world.truth.letters.borrow();
                let due = letters.iter().filter(|letter| letter.due <= world.scene.now());
                due.cloned().collect()
            };
            for letter in due {
                self.deliver(&letter).await;
            }
        }
    }

    async fn deliver(self, letter: &Letter) {
        let Self { world, vault } = self;
        let deed = world.truth.deeds.borrow().get(&letter.key).cloned().unwrap();
        let payment = Truth::name_of_payment(&deed);
        let (notice, report) = (deed.notice(letter, payment), deed.report(letter.outcome));
        let now = world.scene.clock();
        let heard = vault.hear(&world.shop, &deed.teller, (&notice, &report), now).await.unwrap().0;
        world
            .scene
            .tell(format_args!("{:?} of order {} is told: {heard:?}", deed.kind, deed.order));
        let fine =
            matches!(heard, HeardOf::Repeated | HeardOf::Learnt(Learnt::Known | Learnt::Moved))
                || deed.denied && heard == HeardOf::Learnt(Learnt::Stray);
        world.scene.check(fine, || format!("a notice is not taken in: {heard:?}"));
        world.see("told");
        world.scene.pause(50).await;
        // Acknowledged: it does not come again, but that it does.
        world.heard.borrow_mut().push((letter.key.clone(), letter.outcome));
        let mut letters = world.truth.letters.borrow_mut();
        match letters.iter_mut().find(|one| one.name == letter.name) {
            Some(one) if world.scene.dice.is_one_in(4) => {
                one.due = world.scene.now().saturating_add(60_000);
            }
            _ => letters.retain(|one| one.name != letter.name),
        }
    }

    // === the keeper ===

    /// Days go by while nobody has anything in hand, and the clock may be put back by as much.
    pub(super) fn days(self) {
        let Self { world, vault } = self;
        let (scene, dice) = (&world.scene, &world.scene.dice);
        let under_way = vault.journal.counts().0 > 0 || !world.truth.late.borrow().is_empty();
        if under_way || scene.is_far_astray() {
            return;
        }
        vault.doubts(100).iter().for_each(|doubt| world.notice(doubt));
        let millis = dice.below(DAYS_MS);
        scene.pass(millis);
        world.see("days");
        match dice.below(4) {
            // This process knows how long it was.
            0 => scene.put_back(millis, Until::End),
            // The next one knows as well.
            1 => {
                wait(vault.remember_low_water(scene.clock())).unwrap();
                scene.put_back(millis, Until::NextEnd);
            }
            _ => {}
        }
    }

    /// Has the journal remember from where on the next process must look.
    pub(super) async fn keeper(self) {
        loop {
            self.world.scene.pause(60_000).await;
            self.vault.remember_low_water(self.world.scene.clock()).await.unwrap();
        }
    }

    /// Gives an account other credentials, once.
    pub(super) async fn clerk(self) {
        let Self { world, vault } = self;
        world.scene.pause(60_000).await;
        let Some(account) = world.to_replace.take() else { return };
        // From here on it may be asked with either.
        world.replaced.replace(Some(account.clone()));
        put(vault, &world.shop, &account, &world.seed.to_string(), world.scene.clock()).await;
        world.see("replaced");
        world.scene.tell(format_args!("{account:?} has other credentials"));
    }

    // === what must not stand ===

    /// As `proxy/src/stray.rs`.
    pub(super) async fn undoer(self) {
        let Self { world, vault } = self;
        loop {
            world.scene.pause(20_000).await;
            for stray in vault.strays(100) {
                let order = world.called(&stray.of);
                world.names.borrow_mut().insert(stray.payment.clone(), order);
                match vault.undo(&stray).unwrap().unwrap().1 {
                    Undo::Nothing => vault.let_stand(&stray).await.unwrap(),
                    Undo::Wait | Undo::Person => {}
                    Undo::Do(kind) => self.undo(&stray.payment, kind, order).await,
                }
            }
        }
    }

    async fn undo(self, id: &TransactionId, kind: ChangeKind, order: usize) {
        let Self { world, vault } = self;
        let payment = vault.payment(&world.shop, id).unwrap().unwrap();
        let (what, identity) = self.through(id, (kind, payment.amount.minor()), false);
        let now = world.scene.moment();
        let begun = vault.begin_change(&world.shop, id, what, None, now).await;
        // Its merchant may have been faster.
        let Ok(mut ongoing) = begun else { return };
        world.names.borrow_mut().insert(ongoing.change.clone().unwrap(), order);
        world.see(if kind == ChangeKind::Void { "voided" } else { "given back" });
        self.carry_out((order, identity), &mut ongoing).await;
        vault.settle(ongoing, None).await.unwrap();
    }

    // === the wire ===

    /// What was held up on its way arrives, and nobody waits for the answer.
    pub(super) async fn wire(self) {
        let Self { world, .. } = self;
        loop {
            world.scene.pause(10_000).await;
            let now = world.scene.now();
            let due = |(due, _): &mut (u64, Asked)| *due <= now;
            let late: Vec<_> = world.truth.late.borrow_mut().extract_if(.., due).collect();
            for (_, asked) in late {
                world.see("late");
                self.arrive(&asked);
            }
        }
    }
}

//! Who acts in a history: merchants who ask and ask again, the resolver, and providers who tell.

use super::provider::{Asked, Back, Deed, LAG_MS, Letter, Truth, teller};
use super::steps::Scene;
use crate::payments::{
    ChangeError, Claimed, Course, Doubt, Heard as HeardOf, Ongoing, Replay, ReplayClaim, Told,
};
use crate::store::Store;
use crate::{Vault, wait};
use model::doubt::{Belief, Doubt as Lost, Heard};
use model::{
    AccountName, Amount, Attempt, Capture, ChangeKind, Currency, Evidence, Kind, Learnt,
    MerchantId, NotAllowed, Outcome, Payment, Report, Standing, TransactionId, Undo,
};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

/// A payment that a merchant wants, and what it wants of it afterwards.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) nth: usize,
    pub(super) capture: Capture,
    pub(super) amount: u64,
    pub(super) accounts: Vec<AccountName>,
    pub(super) told: Memory,
    pub(super) wishes: Vec<Wish>,
}

/// A change that a merchant wants.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) nth: usize,
    pub(super) kind: ChangeKind,
    pub(super) amount: u64,
    pub(super) told: Memory,
    /// It was refused, and is not asked for again.
    pub(super) given_up: Cell<bool>,
}

/// What a merchant was answered, which it does not forget.
pub(super) type Memory = RefCell<Option<Replay>>;

/// What is there when a process has ended.
#[derive(Debug)]
pub(super) struct World {
    /// The number of the history: no other has its idempotency keys.
    pub(super) seed: u64,
    pub(super) scene: Scene,
    pub(super) shop: MerchantId,
    pub(super) orders: Vec<Order>,
    pub(super) truth: Truth,
    /// The orders that names were given for.
    pub(super) names: RefCell<BTreeMap<TransactionId, usize>>,
    /// Keys and outcomes of notices that were acknowledged.
    pub(super) heard: RefCell<Vec<(Box<str>, Outcome)>>,
    pub(super) seen: RefCell<BTreeMap<&'static str, u64>>,
    /// Since when the process that runs has known what is in doubt.
    pub(super) in_doubt: RefCell<BTreeMap<TransactionId, u64>>,
}

/// A process that runs in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Process<'a> {
    pub(super) world: &'a World,
    pub(super) vault: &'a Vault,
}

pub(super) fn euros(minor: u64) -> Amount {
    Amount::new(minor, Currency::EUR).unwrap()
}

fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::NotDone | Standing::Ended(Outcome::Rejected(_)) => "failed",
        Standing::Sending | Standing::Ended(Outcome::Unknown(_)) => "unknown",
        Standing::Ended(Outcome::Approved) => "done",
        Standing::Ended(Outcome::Declined(_)) => "declined",
        Standing::Ended(Outcome::Pending) => "pending",
    }
}

/// What a merchant is answered of a payment, or of a change of it.
pub(super) fn answer(payment: &Payment, change: Option<&TransactionId>) -> Replay {
    let standing = match change {
        None => payment.last_attempt().unwrap().standing,
        Some(id) => payment.change(id).unwrap().standing,
    };
    let body = format!("{} {}", payment.id, word(standing));
    Replay { status: 200, body: body.as_bytes().into() }
}

/// The payment and the word of an answer.
pub(super) fn read(answer: &Replay) -> (TransactionId, String) {
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let (id, word) = text.split_once(' ').unwrap();
    (TransactionId::parse(id).unwrap(), word.to_owned())
}

// === impl World ===

impl World {
    pub(super) fn see(&self, what: &'static str) {
        let mut seen = self.seen.borrow_mut();
        let count = seen.entry(what).or_default();
        *count = count.saturating_add(1);
    }

    fn notice(&self, doubt: &Doubt) {
        let id = doubt.id().clone();
        self.in_doubt.borrow_mut().entry(id).or_insert(self.scene.now());
    }

    fn noticed(&self, doubt: &Doubt) -> u64 {
        let id = doubt.id();
        self.in_doubt.borrow().get(id).copied().unwrap_or(self.scene.now())
    }

    /// An idempotency key of this history.
    fn own(&self, key: &str) -> String {
        format!("{}-{key}", self.seed)
    }

    /// How a name is called in the trace: by its order, since names are long.
    pub(super) fn called(&self, id: &TransactionId) -> usize {
        self.names.borrow().get(id).copied().unwrap_or(usize::MAX)
    }
}

// === impl Process ===

impl Process<'_> {
    // === merchants ===

    /// A merchant asks until it is answered, for the payment and then for each change of it.
    pub(super) async fn shop(self, nth: usize) {
        let order = &self.world.orders[nth];
        self.world.scene.pause(20_000).await;
        let key = format!("order-{nth}");
        self.until_told(&order.told, &key, &Cell::new(false), |claim| self.make(order, claim))
            .await;
    }

    pub(super) async fn wish(self, order: usize, nth: usize) {
        let order = &self.world.orders[order];
        let wish = &order.wishes[nth];
        let payment = loop {
            self.world.scene.pause(20_000).await;
            let told = order.told.borrow().clone();
            if let Some((id, _)) = told.as_ref().map(read) {
                break id;
            }
        };
        let key = format!("wish-{}-{}", order.nth, wish.nth);
        let change = |claim| self.change(order, wish, payment.clone(), claim);
        self.until_told(&wish.told, &key, &wish.given_up, change).await;
    }

    async fn until_told<F: Future<Output = Option<Replay>>>(
        self,
        memory: &Memory,
        key: &str,
        given_up: &Cell<bool>,
        act: impl Fn(ReplayClaim) -> F,
    ) {
        let scene = &self.world.scene;
        while !given_up.get() && !scene.is_broken() {
            let told = self.ask(key, &act).await;
            // The answer is on its way.
            scene.pause(50).await;
            let Some(told) = told else {
                scene.pause(30_000).await;
                continue;
            };
            let text = String::from_utf8(told.body.to_vec()).unwrap();
            scene.tell(format_args!("{key} hears {text}"));
            let before = memory.replace(Some(told.clone()));
            if let Some(before) = before {
                self.world.see("asked again");
                return scene.check(before == told, || format!("{key} hears something else"));
            }
            if !scene.dice.is_one_in(3) {
                return;
            }
            // It did not arrive, or the merchant is not sure.
            scene.pause(100_000).await;
        }
    }

    /// One request with an idempotency key. None: it must be asked again.
    async fn ask<F: Future<Output = Option<Replay>>>(
        self,
        key: &str,
        act: &impl Fn(ReplayClaim) -> F,
    ) -> Option<Replay> {
        let Self { world, vault } = self;
        let mut fields = vault.request_fields(&world.shop).unwrap();
        fields.add("what", &[key.as_bytes()]);
        let (now, key) = (world.scene.now(), world.own(key));
        let claimed = vault.claim_replay(&world.shop, &key, fields, now).await.unwrap();
        match claimed {
            Claimed::New(claim) => act(claim).await,
            Claimed::Answered(answer) => Some(answer),
            Claimed::InFlight => None,
            Claimed::Differs(field) => {
                world.scene.breaks(format_args!("a request differs in {field}"));
                None
            }
            Claimed::Lost(_) => {
                world.scene.breaks(format_args!("a request is not in the journal: {key}"));
                None
            }
            Claimed::Cut { payment, change, claim } => {
                world.see("cut");
                let found = vault.payment(&world.shop, &payment).unwrap().unwrap();
                let told = answer(&found, change.as_ref());
                vault.answer_cut(claim, &payment, change.as_ref(), &told).await.unwrap();
                Some(told)
            }
        }
    }

    /// As `proxy/src/payment/make.rs`: one account after another.
    async fn make(self, order: &Order, claim: ReplayClaim) -> Option<Replay> {
        let Self { world, vault } = self;
        let name = vault.name_payment(&world.shop, world.scene.moment()).unwrap();
        world.names.borrow_mut().insert(name.id().clone(), order.nth);
        let mut course = Course::new(draft(order, name.id().clone()), name, Some(claim));
        for account in &order.accounts {
            let asked = Asked {
                order: order.nth,
                key: course.next_key(),
                kind: course.payment().kind(),
                payment: course.payment().id.clone(),
                amount: course.payment().amount,
                account: account.clone(),
                of: None,
            };
            if !course.payment().attempts.is_empty() {
                world.see("another account");
            }
            let attempt = attempt(account, world.scene.now());
            let sent = course.ask((vault, &world.shop), attempt, self.send(asked)).await;
            match sent {
                Ok(back) if back.standing().is_nothing() => {}
                Ok(_) => break,
                Err(error) => {
                    world.scene.breaks(format_args!("the journal: {error}"));
                    return None;
                }
            }
        }
        let told = answer(course.payment(), None);
        let ongoing = course.into_ongoing()?;
        vault.settle(ongoing, Some(&told)).await.unwrap();
        Some(told)
    }

    /// As `proxy/src/payment/change.rs`.
    async fn change(
        self,
        order: &Order,
        wish: &Wish,
        payment: TransactionId,
        claim: ReplayClaim,
    ) -> Option<Replay> {
        let Self { world, vault } = self;
        let (what, now) = ((wish.kind, euros(wish.amount)), world.scene.moment());
        let begun = vault.begin_change(&world.shop, &payment, what, Some(claim), now).await;
        let mut ongoing = match begun {
            Ok(ongoing) => ongoing,
            Err(ChangeError::NotAllowed(NotAllowed::Unknown)) => {
                world.see("refused for now");
                return None;
            }
            Err(ChangeError::NotAllowed(_)) => {
                world.see("refused");
                wish.given_up.set(true);
                return None;
            }
            Err(error) => {
                world.scene.breaks(format_args!("no change begins: {error}"));
                return None;
            }
        };
        let id = ongoing.change.clone().unwrap();
        world.names.borrow_mut().insert(id.clone(), order.nth);
        self.carry_out(order.nth, &mut ongoing).await;
        let told = answer(&ongoing.payment, Some(&id));
        vault.settle(ongoing, Some(&told)).await.unwrap();
        Some(told)
    }

    /// Has a provider make a change that has begun.
    async fn carry_out(self, order: usize, ongoing: &mut Ongoing) {
        let payment = &ongoing.payment;
        let change = payment.change(ongoing.change.as_ref().unwrap()).unwrap();
        let last = payment.last_attempt().unwrap();
        let asked = Asked {
            order,
            key: change.id.attempt_key(0),
            kind: change.kind.kind(),
            payment: payment.id.clone(),
            amount: change.amount,
            account: last.account.clone().unwrap(),
            of: last.evidence.reference.clone(),
        };
        let back = self.send(asked).await;
        ongoing.note(back.standing(), back.report());
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
        let (what, now) = ((kind, payment.amount), world.scene.moment());
        let begun = vault.begin_change(&world.shop, id, what, None, now).await;
        // Its merchant may have been faster.
        let Ok(mut ongoing) = begun else { return };
        world.names.borrow_mut().insert(ongoing.change.clone().unwrap(), order);
        world.see(if kind == ChangeKind::Void { "voided" } else { "given back" });
        self.carry_out(order, &mut ongoing).await;
        vault.settle(ongoing, None).await.unwrap();
    }

    /// The wire: slow on both ways.
    async fn send(self, asked: Asked) -> Back {
        let Self { world, .. } = self;
        world.scene.pause(10_000).await;
        self.check_arrival(&asked);
        let back = world.truth.receive(&world.scene, &asked);
        let came = format_args!("{:?} of order {} comes", asked.kind, asked.order).to_string();
        world.scene.tell(format_args!("{came}: {back:?}"));
        if back.standing().is_open() {
            world.see("lost");
        }
        world.scene.pause(10_000).await;
        back
    }

    /// What must hold when a request reaches a provider.
    fn check_arrival(self, asked: &Asked) {
        let Self { world, vault } = self;
        let Asked { key, payment, order, kind, .. } = asked;
        let row = vault.read_payment(&world.shop, payment).unwrap().map(|(row, _)| row);
        let written = row.as_ref().and_then(|row| standing_of(row, key));
        world.scene.check(written == Some(Standing::Sending), || {
            format!("{kind:?} of order {order} is sent, and its row says {written:?}")
        });
        let deeds = world.truth.deeds.borrow();
        let makes = |kind| matches!(kind, Kind::Authorize | Kind::Charge);
        let stands = |one: &&Deed| one.order == *order && one.stands() && !one.denied;
        let another = deeds.values().find(|one| makes(*kind) && makes(one.kind) && stands(one));
        world.scene.check(another.is_none(), || {
            format!("order {order} is asked for again, while another attempt stands")
        });
    }

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

    /// What the provider says when it is asked, as far as it is believed.
    async fn inquire(self, doubt: &Doubt, ongoing: &Ongoing) -> Option<(Standing, Option<Report>)> {
        let Self { world, .. } = self;
        let payment = &ongoing.payment;
        let last = payment.attempts.len().saturating_sub(1);
        let (kind, amount, key, sent) = match &ongoing.change {
            None => {
                let began = payment.last_attempt().unwrap().began;
                (payment.kind(), payment.amount, payment.id.attempt_key(last), began)
            }
            Some(id) => {
                let change = payment.change(id).unwrap();
                (change.kind.kind(), change.amount, id.attempt_key(0), id.millis())
            }
        };
        let now = world.scene.now();
        let age = now.saturating_sub(sent).min(now.saturating_sub(world.noticed(doubt)));
        world.scene.pause(5_000).await;
        let shown = world.truth.shown(&world.scene, &key);
        let unclear = world.scene.dice.is_one_in(4);
        world.scene.pause(5_000).await;
        let heard = match &shown {
            _ if unclear => Heard::Unclear,
            Some(report) => Heard::Report(report),
            None => Heard::Absent,
        };
        let [age, lag] = [age, LAG_MS].map(Duration::from_millis);
        let lost = Lost { kind, amount, age, lag };
        match lost.believe(heard) {
            Belief::Known(standing) => Some((standing, shown)),
            Belief::Later(_) => None,
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
        let now = world.scene.now();
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
            Some(one) if world.scene.dice.is_one_in(4) => one.due = now.saturating_add(60_000),
            _ => letters.retain(|one| one.name != letter.name),
        }
    }

    // === the keeper ===

    /// Has the journal remember from where on the next process must look.
    pub(super) async fn keeper(self) {
        loop {
            self.world.scene.pause(60_000).await;
            self.vault.remember_low_water(self.world.scene.now()).await.unwrap();
        }
    }

    /// Whether nothing more will happen.
    pub(super) fn is_quiet(self) -> bool {
        let told = |memory: &Memory| memory.borrow().is_some();
        let mut orders = self.world.orders.iter();
        let asked = orders.all(|order| {
            let mut wishes = order.wishes.iter();
            told(&order.told) && wishes.all(|wish| told(&wish.told) || wish.given_up.get())
        });
        let (busy, doubts) = self.vault.journal.counts();
        let left = |stray| self.vault.undo(stray).unwrap().unwrap().1 != Undo::Person;
        let over = !self.vault.strays(100).iter().any(left);
        asked && over && busy == 0 && doubts == 0 && self.world.truth.letters.borrow().is_empty()
    }

    /// Every answer that was given must be given again, byte for byte.
    pub(super) fn check_answers(self) {
        for order in &self.world.orders {
            self.check_answer(&format!("order-{}", order.nth), &order.told);
            for wish in &order.wishes {
                self.check_answer(&format!("wish-{}-{}", order.nth, wish.nth), &wish.told);
            }
        }
        wait(self.vault.store.durable()).unwrap();
    }

    fn check_answer(self, key: &str, memory: &Memory) {
        let Some(told) = memory.borrow().clone() else { return };
        let mut fields = self.vault.request_fields(&self.world.shop).unwrap();
        fields.add("what", &[key.as_bytes()]);
        let (now, own) = (self.world.scene.now(), self.world.own(key));
        let claimed = wait(self.vault.claim_replay(&self.world.shop, &own, fields, now)).unwrap();
        let same = matches!(&claimed, Claimed::Answered(again) if *again == told);
        self.world.scene.check(same, || format!("the answer to {key} is gone: {claimed:?}"));
    }
}

/// How something stands in a row that a provider knows by this key.
pub(super) fn standing_of(payment: &Payment, key: &str) -> Option<Standing> {
    let nth = (0..payment.attempts.len()).find(|nth| *payment.id.attempt_key(*nth) == *key);
    let attempt = nth.map(|nth| payment.attempts[nth].standing);
    let change = payment.changes.iter().find(|change| *change.id.attempt_key(0) == *key);
    attempt.or(change.map(|change| change.standing))
}

fn attempt(account: &AccountName, began: u64) -> Attempt {
    Attempt {
        account: Some(account.clone()),
        provider: teller(account).provider,
        began,
        standing: Standing::Sending,
        evidence: Evidence::default(),
    }
}

fn draft(order: &Order, id: TransactionId) -> Payment {
    Payment {
        id,
        capture: order.capture,
        amount: euros(order.amount),
        merchant_reference: None,
        adopted: false,
        last_four: None,
        memo: None,
        attempts: vec![],
        changes: vec![],
    }
}

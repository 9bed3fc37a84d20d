//! Who acts in a history: merchants, who ask and ask again. The others are in [`super::staff`].

use super::provider::{Asked, Back, Deed, Identity, Nth, Truth, remembers, teller};
use super::steps::Scene;
use crate::payments::{
    ChangeError, Claimed, Course, Doubt, NewChange, Ongoing, Replay, ReplayClaim, Stray, Told,
};
use crate::store::Store;
use crate::{Vault, wait};
use model::{
    AccountName, Amount, Attempt, Capture, ChangeKind, Credentials, Currency, Evidence, Kind,
    MerchantId, NotAllowed, Outcome, Payment, Report, Secret, Standing, TransactionId, Undo,
    Unknown,
};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

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
    /// It is asked for through another account than the payment, where there is one.
    pub(super) elsewhere: bool,
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
    /// The account that gets, or got, other credentials.
    pub(super) replaced: RefCell<Option<AccountName>>,
    pub(super) to_replace: RefCell<Option<AccountName>>,
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

    pub(super) fn notice(&self, doubt: &Doubt) {
        let id = doubt.id().clone();
        self.in_doubt.borrow_mut().entry(id).or_insert(self.scene.now());
    }

    pub(super) fn noticed(&self, doubt: &Doubt) -> u64 {
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
        let (now, key) = (world.scene.clock(), world.own(key));
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

    /// Whether the journal has a payment as done, or as taken by its provider.
    fn stands(self, id: &TransactionId) -> bool {
        let found = self.vault.payment(&self.world.shop, id).unwrap();
        found.is_some_and(|payment| payment.last_attempt().unwrap().standing.is_accepted())
    }

    /// As `proxy/src/payment/make.rs`: one account after another.
    async fn make(self, order: &Order, claim: ReplayClaim) -> Option<Replay> {
        let Self { world, vault } = self;
        let name = vault.name_payment(&world.shop, world.scene.moment()).unwrap();
        world.names.borrow_mut().insert(name.id().clone(), order.nth);
        let mut course = Course::new(draft(order, name.id().clone()), name, Some(claim));
        // All of them are found before any is asked.
        let found: Vec<_> = order.accounts.iter().map(|account| self.account(account).0).collect();
        for (account, identity) in order.accounts.iter().zip(&found) {
            let asked = Asked {
                nth: Nth::First,
                identity: identity.clone(),
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
            let attempt = attempt(account, world.scene.clock());
            let sent = course.ask((vault, &world.shop), attempt, self.send(asked)).await;
            match sent {
                Ok(back) if back.standing().is_nothing() => {}
                Ok(_) => break,
                // It was given up, and its provider has told meanwhile that it stands.
                Err(_) if self.stands(&course.payment().id) => {
                    world.see("stood when given up");
                    return None;
                }
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
        let (what, identity) = self.through(&payment, (wish.kind, wish.amount), wish.elsewhere);
        let now = world.scene.moment();
        let begun = vault.begin_change(&world.shop, &payment, what, Some(claim), now).await;
        let mut ongoing = match begun {
            Ok(ongoing) => ongoing,
            Err(ChangeError::NotAllowed(NotAllowed::Unknown)) => {
                world.see("refused for now");
                wish.given_up.set(self.is_left(&payment));
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
        self.carry_out((order.nth, identity), &mut ongoing).await;
        let told = answer(&ongoing.payment, Some(&id));
        vault.settle(ongoing, Some(&told)).await.unwrap();
        Some(told)
    }

    /// Has a provider make a change that has begun.
    pub(super) async fn carry_out(
        self,
        (order, identity): (usize, Identity),
        ongoing: &mut Ongoing,
    ) {
        let change = ongoing.change.clone().unwrap();
        let asked = self.asked_for((order, identity), &ongoing.payment, &change);
        let back = self.send(asked).await;
        ongoing.note(back.standing(), back.report());
    }

    /// A change as it is asked for first.
    fn asked_for(
        self,
        (order, identity): (usize, Identity),
        payment: &Payment,
        change: &TransactionId,
    ) -> Asked {
        let change = payment.change(change).unwrap();
        Asked {
            nth: Nth::First,
            identity,
            order,
            key: change.id.attempt_key(0),
            kind: change.kind.kind(),
            payment: payment.id.clone(),
            amount: change.amount,
            account: change.account.clone().unwrap(),
            of: payment.last_attempt().unwrap().evidence.reference.clone(),
        }
    }

    /// An account as its provider knows it, and since when.
    pub(super) fn account(self, name: &AccountName) -> (Identity, u64) {
        let Self { world, vault } = self;
        let account = vault.account(&world.shop, name).unwrap().unwrap();
        // The credentials of a history are no secret.
        let credential = account.credentials.iter().next().map(|(_, value)| value.expose());
        (format!("{name:?} {credential:?}").into(), account.brief.since)
    }

    /// A change of a payment, and of whom it is asked.
    pub(super) fn through(
        self,
        payment: &TransactionId,
        (kind, minor): (ChangeKind, u64),
        elsewhere: bool,
    ) -> (NewChange, Identity) {
        let Self { world, vault } = self;
        let payment = vault.payment(&world.shop, payment).unwrap().unwrap();
        let of = payment.last_attempt().unwrap().account.clone().unwrap();
        let is_one_of_two = !remembers(&teller(&of).provider).is_zero();
        let other = [of.as_str(), "other"][usize::from(elsewhere && is_one_of_two)];
        let account = AccountName::parse(other).unwrap();
        let identity = self.account(&account).0;
        let (amount, account) = (euros(minor), Some(account));
        (NewChange { kind, amount, account, merchant_reference: None }, identity)
    }

    /// Whether something about a payment will stay in doubt.
    fn is_left(self, payment: &TransactionId) -> bool {
        let Self { world, vault } = self;
        let payment = vault.payment(&world.shop, payment).unwrap().unwrap();
        let doubts = self.doubts_of(&payment);
        doubts.iter().any(|change| self.is_lost(&payment, change.as_ref()))
    }

    /// The wire: slow on both ways.
    pub(super) async fn send(self, asked: Asked) -> Back {
        let Self { world, .. } = self;
        world.scene.pause(10_000).await;
        if asked.nth == Nth::First && asked.is_remembered() && world.scene.dice.is_one_in(6) {
            let due = world.scene.now().saturating_add(world.scene.dice.below(60_000));
            world.truth.late.borrow_mut().push((due, Asked { nth: Nth::Late, ..asked }));
            return Back::Said(Report::bare(Outcome::Unknown(Unknown::Interrupted)));
        }
        let back = self.arrive(&asked);
        if back.standing().is_open() {
            world.see("lost");
        }
        world.scene.pause(10_000).await;
        back
    }

    /// A request reaches its provider.
    pub(super) fn arrive(self, asked: &Asked) -> Back {
        let Self { world, .. } = self;
        self.check_arrival(asked);
        let back = world.truth.receive(&world.scene, asked);
        let Asked { kind, order, nth, .. } = asked;
        world.scene.tell(format_args!("{kind:?} of order {order} comes ({nth:?}): {back:?}"));
        back
    }

    /// What must hold when a request reaches a provider.
    fn check_arrival(self, asked: &Asked) {
        let Self { world, vault } = self;
        let Asked { key, payment, order, kind, nth, .. } = asked;
        let row = vault.read_payment(&world.shop, payment).unwrap().map(|(row, _)| row);
        let written = row.as_ref().and_then(|row| standing_of(row, key));
        // Meanwhile its provider may have told of what comes late or again.
        let fine = match nth {
            Nth::First => written == Some(Standing::Sending),
            Nth::Late | Nth::Again => written.is_some(),
        };
        world.scene.check(fine, || {
            format!("{kind:?} of order {order} is sent ({nth:?}), and its row says {written:?}")
        });
        let deeds = world.truth.deeds.borrow();
        let makes = |kind| matches!(kind, Kind::Authorize | Kind::Charge);
        let stands = |one: &&Deed| one.order == *order && one.stands() && !one.denied;
        let another = deeds.values().find(|one| makes(*kind) && makes(one.kind) && stands(one));
        world.scene.check(another.is_none(), || {
            format!("order {order} is asked for again, while another attempt stands")
        });
    }

    /// Whether nothing more will happen.
    pub(super) fn is_quiet(self) -> bool {
        let told = |memory: &Memory| memory.borrow().is_some();
        let mut orders = self.world.orders.iter();
        let asked = orders.all(|order| {
            let mut wishes = order.wishes.iter();
            told(&order.told) && wishes.all(|wish| told(&wish.told) || wish.given_up.get())
        });
        let truth = &self.world.truth;
        let told_all = truth.letters.borrow().is_empty() && truth.late.borrow().is_empty();
        if !asked || !told_all || self.vault.journal.counts().0 > 0 {
            return false;
        }
        let is_left = |doubt: &Doubt| {
            let payment = self.vault.payment(&self.world.shop, &doubt.payment).unwrap().unwrap();
            self.is_lost(&payment, doubt.change.as_ref())
        };
        let is_over = |stray: &Stray| match self.vault.undo(stray).unwrap().unwrap().1 {
            Undo::Person => true,
            Undo::Wait => self.is_left(&stray.payment),
            Undo::Nothing | Undo::Do(_) => false,
        };
        self.vault.doubts(100).iter().all(is_left) && self.vault.strays(100).iter().all(is_over)
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
        let (now, own) = (self.world.scene.clock(), self.world.own(key));
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

/// Gives an account these credentials.
pub(super) async fn put(
    vault: &Vault,
    shop: &MerchantId,
    account: &AccountName,
    credential: &str,
    now: u64,
) {
    let credentials = Credentials::new(vec![("key".into(), Secret::new(credential))]);
    let gateway = teller(account).provider;
    vault.put_account(shop, account, &gateway, credentials, now).await.unwrap();
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

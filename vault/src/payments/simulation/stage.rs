//! Where histories are played: one vault, and one history after another.

use super::actors::{Order, Process, Wish, World, put};
use super::steps::{self, Actor, Dice, Scene};
use crate::key_life::SEALS_BLOCK;
use crate::payments::Journal;
use crate::seal::Purpose;
use crate::stage::{LABEL, NOW, NOW_MS, Stage, merchant};
use crate::store::scratch::Scratch;
use crate::{Vault, wait};
use model::{AccountName, Capture, ChangeKind, MerchantId, Standing};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// How often the process ends in one history, at most.
const ENDS_MAX: u64 = 6;
/// More steps than any history takes.
const STEPS_MAX: u64 = 100_000;
const ACCOUNTS: [&str; 3] = ["first", "second", "third"];
/// At the same provider as the second, for changes.
const OTHER: &str = "other";
const DAY_MS: u64 = 86_400_000;

/// The vault of all histories.
pub(super) struct Theatre {
    vault: Vault,
    shop: MerchantId,
    now: u64,
    /// After the vault, which is in it.
    _memory: Option<Scratch>,
}

/// A history that was played.
#[derive(Debug)]
pub(super) struct Played {
    pub(super) trace: Vec<String>,
    pub(super) broken: Option<String>,
    pub(super) figures: Figures,
}

/// What happened in histories, and how often.
#[derive(Debug, Default)]
pub(super) struct Figures(BTreeMap<&'static str, u64>);

/// Why a process ended.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Killed,
    Quiet,
}

thread_local! {
    static CHANCE: Cell<u64> = const { Cell::new(0) };
}

/// Names of transactions follow from the number of the history as well.
fn chance() -> [u8; 16] {
    let dice = Dice::new(CHANCE.with(|cell| cell.replace(cell.get().wrapping_add(1))));
    (u128::from(dice.next()) << 64 | u128::from(dice.next())).to_be_bytes()
}

fn orders(dice: &Dice) -> Vec<Order> {
    let order = |nth| {
        let [count, first] = [dice.below(3).saturating_add(1), dice.below(3)].map(usize::try_from);
        let names = ACCOUNTS.iter().cycle().skip(first.unwrap()).take(count.unwrap());
        let amount = dice.below(900).saturating_add(100);
        Order {
            nth,
            capture: dice.pick(&[Capture::Now, Capture::Later, Capture::Later]),
            amount,
            accounts: names.map(|name| AccountName::parse(name).unwrap()).collect(),
            told: None.into(),
            wishes: wishes(dice, amount),
        }
    };
    (0..usize::try_from(dice.below(3)).unwrap().saturating_add(1)).map(order).collect()
}

fn wishes(dice: &Dice, amount: u64) -> Vec<Wish> {
    let wish = |nth| {
        let kind = dice.pick(&[
            ChangeKind::Capture,
            ChangeKind::Capture,
            ChangeKind::Refund,
            ChangeKind::Refund,
            ChangeKind::Void,
        ]);
        let part = dice.below(amount).saturating_add(1);
        Wish {
            nth,
            kind,
            // Nothing but all of a payment is voided.
            amount: if kind == ChangeKind::Void { amount } else { part },
            elsewhere: dice.is_one_in(6),
            told: None.into(),
            given_up: Cell::new(false),
        }
    };
    (0..usize::try_from(dice.below(5)).unwrap()).map(wish).collect()
}

// === impl Theatre ===

impl Theatre {
    pub(super) fn new(stage: &Stage) -> Self {
        // What a disk does with syncs is not played here, and in memory they cost nothing.
        let memory = Scratch::within(Path::new("/dev/shm"));
        let mut settings = stage.settings();
        if let Some(memory) = &memory {
            settings.directory = memory.path().join("vault");
        }
        stage.make_token(LABEL).unwrap();
        Vault::init(&settings).unwrap();
        steps::begin();
        let (vault, shop) = (Vault::open(&settings).unwrap(), merchant("shop"));
        wait(vault.create_merchant(&shop, NOW)).unwrap();
        for account in ACCOUNTS.iter().chain([&OTHER]) {
            let account = AccountName::parse(account).unwrap();
            wait(put(&vault, &shop, &account, "first", NOW_MS));
        }
        Self { vault, shop, now: NOW_MS, _memory: memory }
    }

    /// Plays the history of this number.
    pub(super) fn play(&mut self, seed: u64) -> Played {
        // Seals are reserved in blocks, and none must be in the midst of this history.
        let _claim =
            wait(self.vault.claim(Some(&self.shop), Purpose::Payment, SEALS_BLOCK)).unwrap();
        CHANCE.set(seed.wrapping_mul(1_000_003));
        let scene = Scene::new(seed, self.now);
        let orders = orders(&scene.dice);
        let world = World {
            seed,
            scene,
            shop: self.shop.clone(),
            orders,
            truth: Default::default(),
            names: Default::default(),
            heard: Default::default(),
            seen: Default::default(),
            in_doubt: Default::default(),
            replaced: Default::default(),
            to_replace: Default::default(),
        };
        if world.scene.dice.is_one_in(3) {
            let account = AccountName::parse(world.scene.dice.pick(&ACCOUNTS)).unwrap();
            world.to_replace.replace(Some(account));
        }
        let mut ends = world.scene.dice.below(ENDS_MAX);
        loop {
            self.reopen();
            let process = Process { world: &world, vault: &self.vault };
            process.check_always();
            process.check_answers();
            if process.run(ends > 0) == Ended::Quiet || world.scene.is_broken() {
                break;
            }
            ends = ends.saturating_sub(1);
            world.in_doubt.take();
            world.see("killed");
            world.scene.tell("the process ends");
            // Until it is started again.
            world.scene.end();
            // What is held up on its way arrives within a minute, and not after days.
            let soon = world.scene.is_far_astray() || !world.truth.late.borrow().is_empty();
            let soon = soon || !world.scene.dice.is_one_in(8);
            world.scene.pass(world.scene.dice.below(if soon { 100_000 } else { 12 * DAY_MS }));
        }
        Process { world: &world, vault: &self.vault }.check_end();
        for doubt in self.vault.doubts(100) {
            world.see("left in doubt");
            let mut ongoing = self.vault.take_doubt(&doubt).unwrap().unwrap();
            ongoing.note(Standing::NotDone, None);
            wait(self.vault.settle(ongoing, None)).unwrap();
        }
        for stray in self.vault.strays(100) {
            world.see("left to a person");
            wait(self.vault.let_stand(&stray)).unwrap();
        }
        // The next history begins where nothing of this one is looked for, and the credentials count.
        self.now = world.scene.now().saturating_add(DAY_MS);
        wait(self.vault.remember_low_water(self.now)).unwrap();
        let World { scene, seen, .. } = world;
        let (trace, broken) = scene.into_parts();
        Played { trace, broken, figures: Figures(seen.into_inner()) }
    }

    /// What a new process knows: what the store has.
    fn reopen(&mut self) {
        self.vault.journal = Arc::new(Journal { chance, ..Journal::default() });
        self.vault.find_open_payments().unwrap();
    }
}

// === impl Process ===

impl<'a> Process<'a> {
    /// Runs until it is killed, if it may be, or nothing more happens.
    fn run(self, mortal: bool) -> Ended {
        let (scene, mut actors) = (&self.world.scene, self.actors());
        for _ in 0..STEPS_MAX {
            if self.is_quiet() || scene.is_broken() {
                return Ended::Quiet;
            }
            let ready: Vec<_> = (0..actors.len()).filter(|nth| actors[*nth].is_ready()).collect();
            if ready.is_empty() {
                scene.breaks("everybody waits for somebody");
                return Ended::Quiet;
            }
            let nth = scene.dice.pick(&ready);
            let over = actors[nth].step(self.vault);
            if mortal && scene.dice.is_one_in(150) {
                return Ended::Killed;
            }
            if over {
                actors.swap_remove(nth);
            } else if scene.dice.is_one_in(400) {
                // A task dies, and its merchant asks again.
                self.world.see("a task died");
                let name = std::mem::take(&mut actors[nth].name);
                scene.tell(format_args!("{name} dies"));
                actors[nth] = self.actor(&name);
            }
            if scene.dice.is_one_in(1_000) {
                scene.put_clock();
            }
            if scene.dice.is_one_in(400) {
                self.days();
            }
            scene.pass(scene.dice.below(40));
            if scene.dice.is_one_in(40) {
                scene.pass(scene.dice.below(20_000));
            }
        }
        let left = (self.vault.doubts(100), self.vault.strays(100));
        scene.breaks(format_args!("it does not come to an end: {left:?}"));
        Ended::Quiet
    }

    fn actors(self) -> Vec<Actor<'a>> {
        let mut names: Vec<_> =
            ["resolver", "another resolver", "postman", "another postman", "undoer", "keeper"]
                .into_iter()
                .chain(["wire", "clerk"])
                .map(str::to_owned)
                .collect();
        for order in &self.world.orders {
            names.push(format!("order {} shop", order.nth));
            let wishes = order.wishes.iter();
            names.extend(wishes.map(|wish| format!("order {} wish {}", order.nth, wish.nth)));
        }
        names.iter().map(|name| self.actor(name)).collect()
    }

    fn actor(self, name: &str) -> Actor<'a> {
        let words: Vec<_> = name.split(' ').collect();
        let number = |nth: usize| words[nth].parse().unwrap();
        let of = |part| Actor::new(name.to_owned(), part);
        match words[..] {
            ["order", _, "shop"] => of(boxed(self.shop(number(1)))),
            ["order", _, "wish", _] => of(boxed(self.wish(number(1), number(3)))),
            [.., "resolver"] => of(boxed(self.resolver())),
            [.., "postman"] => of(boxed(self.postman())),
            ["undoer"] => of(boxed(self.undoer())),
            ["wire"] => of(boxed(self.wire())),
            ["clerk"] => of(boxed(self.clerk())),
            _ => of(boxed(self.keeper())),
        }
    }
}

fn boxed<'a>(
    part: impl Future<Output = ()> + 'a,
) -> std::pin::Pin<Box<dyn Future<Output = ()> + 'a>> {
    Box::pin(part)
}

// === impl Figures ===

impl Figures {
    pub(super) fn add(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            let sum = self.0.entry(what).or_default();
            *sum = sum.saturating_add(*count);
        }
    }

    /// Histories in which nothing happens show nothing.
    pub(super) fn reached_everything(&self) {
        for what in [
            "a task died",
            "again",
            "another account",
            "asked again",
            "cut",
            "days",
            "given back",
            "left to a person",
            "killed",
            "late",
            "left in doubt",
            "lost",
            "refused",
            "refused for now",
            "replaced",
            "resolved",
            "resolved: nothing",
            "told",
            "voided",
        ] {
            assert!(self.0.get(what).is_some_and(|count| *count > 0), "never: {what}");
        }
    }
}

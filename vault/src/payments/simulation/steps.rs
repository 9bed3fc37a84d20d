//! Who takes the next step: chance, the clock, and the next step of each that is under way.

use crate::store::{Collection, Store};
use crate::{Vault, wait};
use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};

/// How far the clock of the machine is from the true time, at most. That between two looks at it is
/// less than what is allowed for it ([`model::doubt::REPEAT_MARGIN`]).
const ASTRAY_MAX_MS: u64 = 11 * 3_600_000;

/// Numbers that follow from one number.
#[derive(Debug)]
pub(super) struct Dice(Cell<u64>);

/// What everybody in a history shares: chance, the time, and what happened.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) dice: Dice,
    /// The true time.
    now: Cell<u64>,
    /// How much the clock of the machine is ahead of it, or behind.
    astray: Cell<i64>,
    /// It is far behind until then.
    far: Cell<Option<Until>>,
    trace: RefCell<Vec<String>>,
    broken: RefCell<Option<String>>,
}

/// Something that is under way.
pub(super) struct Actor<'a> {
    pub(super) name: String,
    part: Pin<Box<dyn Future<Output = ()> + 'a>>,
    /// Its next step can be taken.
    ready: Arc<Flag>,
    waker: Waker,
}

struct Flag(AtomicBool);

/// When a clock is put right again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    End,
    NextEnd,
}

/// Waits until the clock has reached a moment.
struct Pause<'a>(&'a Scene, u64);

/// Lets others go on once.
struct Breath(bool);

thread_local! {
    /// Whether a history is played on this thread.
    static PLAYS: Cell<bool> = const { Cell::new(false) };
    /// Whether whoever was polled lets others go on.
    static YIELDS: Cell<bool> = const { Cell::new(false) };
}

/// In a history, a place where others may go on, or the process may end. Elsewhere it is nothing.
pub(crate) async fn breathe() {
    if PLAYS.get() {
        Breath(false).await;
    }
}

/// From here on histories are played on this thread.
pub(super) fn begin() {
    PLAYS.set(true);
}

// === impl Dice ===

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(Cell::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    pub(super) fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let one = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let two = (one ^ (one >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        two ^ (two >> 31)
    }

    /// A number below `end`.
    pub(super) fn below(&self, end: u64) -> u64 {
        self.next().checked_rem(end).unwrap_or_default()
    }

    pub(super) fn is_one_in(&self, many: u64) -> bool {
        self.below(many) == 0
    }

    pub(super) fn pick<T: Copy>(&self, from: &[T]) -> T {
        let nth = self.below(u64::try_from(from.len()).unwrap());
        from[usize::try_from(nth).unwrap()]
    }
}

// === impl Scene ===

impl Scene {
    pub(super) fn new(seed: u64, now: u64) -> Self {
        let (trace, broken) = (RefCell::default(), RefCell::default());
        let (now, astray, far) = (Cell::new(now), Cell::new(0), Cell::new(None));
        Self { dice: Dice::new(seed), now, astray, far, trace, broken }
    }

    pub(super) fn now(&self) -> u64 {
        self.now.get()
    }

    /// What the clock of the machine says.
    pub(super) fn clock(&self) -> u64 {
        self.now().saturating_add_signed(self.astray.get())
    }

    /// The clock is put back by so much, and put right when a process ends.
    pub(super) fn put_back(&self, millis: u64, until: Until) {
        self.astray.set(self.astray.get().saturating_sub_unsigned(millis));
        self.far.set(Some(until));
        self.tell(format_args!("the clock is {} s ahead", self.astray.get() / 1_000));
    }

    pub(super) fn is_far_astray(&self) -> bool {
        self.far.get().is_some()
    }

    /// The process ends: who starts the next one may look at the clock.
    pub(super) fn end(&self) {
        let left = self.far.take().filter(|until| *until == Until::NextEnd);
        self.far.set(left.map(|_| Until::End));
        if !self.is_far_astray() {
            self.put_clock();
        }
    }

    /// The clock is put forward or back.
    pub(super) fn put_clock(&self) {
        if self.is_far_astray() {
            return;
        }
        let ahead = i64::try_from(self.dice.below(ASTRAY_MAX_MS * 2)).unwrap();
        self.astray.set(ahead.saturating_sub_unsigned(ASTRAY_MAX_MS));
        self.tell(format_args!("the clock is {} s ahead", self.astray.get() / 1_000));
    }

    /// A moment of its own, so that no two names have the same.
    pub(super) fn moment(&self) -> u64 {
        self.pass(1);
        self.clock()
    }

    pub(super) fn pass(&self, millis: u64) {
        self.now.set(self.now().saturating_add(millis));
    }

    /// Waits up to so many milliseconds.
    pub(super) async fn pause(&self, most: u64) {
        let due = self.now().saturating_add(self.dice.below(most));
        Pause(self, due).await;
    }

    pub(super) fn tell(&self, what: impl Display) {
        self.trace.borrow_mut().push(format!("{:>9} {what}", self.now() % 1_000_000_000));
    }

    /// A rule was broken; the first one is told.
    pub(super) fn breaks(&self, what: impl Display) {
        self.tell(format_args!("BROKEN: {what}"));
        self.broken.borrow_mut().get_or_insert_with(|| what.to_string());
    }

    pub(super) fn check(&self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.breaks(what());
        }
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.borrow().is_some()
    }

    pub(super) fn into_parts(self) -> (Vec<String>, Option<String>) {
        (self.trace.into_inner(), self.broken.into_inner())
    }
}

// === impl Pause ===

impl Future for Pause<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0.now() >= self.1 {
            return Poll::Ready(());
        }
        // Looked at again at each step.
        YIELDS.set(true);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

// === impl Breath ===

impl Future for Breath {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        YIELDS.set(true);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

// === impl Actor ===

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

impl<'a> Actor<'a> {
    pub(super) fn new(name: String, part: impl Future<Output = ()> + 'a) -> Self {
        let ready = Arc::new(Flag(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&ready));
        Self { name, part: Box::pin(part), ready, waker }
    }

    /// Takes one step, and says whether it was the last. It goes on while only the disk is waited for,
    /// so that it does not matter how fast that is.
    pub(super) fn step(&mut self, vault: &Vault) -> bool {
        loop {
            self.ready.0.store(false, SeqCst);
            YIELDS.set(false);
            if self.part.as_mut().poll(&mut Context::from_waker(&self.waker)).is_ready() {
                return true;
            }
            if YIELDS.get() {
                return false;
            }
            // Whoever comes to the store after a write is answered after it.
            let last = vault.store.put_if_absent(Collection::Meta, b"step".to_vec(), Vec::new());
            wait(last).unwrap();
            if !self.is_ready() {
                return false;
            }
        }
    }

    /// False: it waits for another one.
    pub(super) fn is_ready(&self) -> bool {
        self.ready.0.load(SeqCst)
    }
}

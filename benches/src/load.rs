//! The load generator: keep-alive connections that send a script again and again.
//!
//! It runs on one thread, so that it takes at most one processor from what it measures, and it
//! counts nothing whose answer it has not checked.

mod connection;

use crate::histogram::Histogram;
use crate::script::Script;
use anyhow::{Context, anyhow};
use connection::Connection;
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// After how many failures a connection gives up; the run is then worthless anyway.
const FAILURES_MAX: u64 = 20;
/// How many failures are told in words.
const TOLD_MAX: usize = 3;
/// How long a charge may take before it counts as failed.
const CHARGE_TIMEOUT: Duration = Duration::from_secs(10);

/// What is sent, where to, and how hard.
#[derive(Clone, Debug)]
pub struct Load {
    pub address: SocketAddr,
    pub connections: u32,
    pub pace: Pace,
    /// Sent before anything is measured.
    pub warm_up: Duration,
    /// How long is measured.
    pub window: Duration,
    pub script: Arc<Script>,
    /// The number of the first charge; see [`Taken::next`].
    pub first: u64,
}

/// When the next charge is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// When the one before it is answered: finds out how much goes through.
    Closed,
    /// At fixed times, whether or not the one before is answered. A charge that has to wait for its
    /// connection is late from the time at which it was due, so that a slow answer is not hidden by
    /// the requests it held up (coordinated omission).
    Open { per_s: u32 },
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Charges answered rightly within the window.
    pub done: u64,
    /// Charges, at any time, that were not.
    pub failed: u64,
    /// The first few failures, in words.
    pub told: Vec<String>,
    pub window: Duration,
    pub latency: Histogram,
    /// The number that no charge has had yet.
    pub next: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    WarmUp,
    Window,
    Over,
}

/// What the connections share; all of them are on one thread.
#[derive(Debug)]
struct Board {
    phase: Cell<Phase>,
    next: Cell<u64>,
}

/// One connection's part of the result.
#[derive(Debug, Default)]
struct Part {
    latency: Histogram,
    failed: u64,
    told: Vec<String>,
}

/// When the charges of one connection are due.
#[derive(Debug)]
struct Schedule {
    next: Instant,
    /// None: as soon as the one before is answered.
    every: Option<Duration>,
}

/// Runs the load, and `probe` at the beginning and at the end of the window.
///
/// # Errors
/// A probe failed, or the load cannot be run at all. Failed charges are in the result.
pub fn run<T>(load: &Load, probe: impl Fn() -> anyhow::Result<T>) -> anyhow::Result<(Taken, T, T)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, run_here(load, probe))
}

async fn run_here<T>(
    load: &Load,
    probe: impl Fn() -> anyhow::Result<T>,
) -> anyhow::Result<(Taken, T, T)> {
    let board = Rc::new(Board { phase: Cell::new(Phase::WarmUp), next: Cell::new(load.first) });
    let mut parts = start(load, &board);
    sleep(load.warm_up).await;
    let (before, begun) = (probe()?, Instant::now());
    board.phase.set(Phase::Window);
    sleep(load.window).await;
    board.phase.set(Phase::Over);
    let (window, after) = (begun.elapsed(), probe()?);
    let whole = gather(&mut parts).await?;
    Ok((whole.taken(window, board.next.get()), before, after))
}

/// Starts every connection, on this thread.
fn start(load: &Load, board: &Rc<Board>) -> JoinSet<Part> {
    let mut parts = JoinSet::new();
    for nth in 0..load.connections {
        let connection = Connection::new(load.address);
        let schedule = Schedule::new(load, nth);
        parts.spawn_local(drive(connection, Arc::clone(&load.script), Rc::clone(board), schedule));
    }
    parts
}

/// Puts the connections' parts together.
async fn gather(parts: &mut JoinSet<Part>) -> anyhow::Result<Part> {
    let mut whole = Part::default();
    while let Some(part) = parts.join_next().await {
        whole.add(&part.context("a connection's task failed")?);
    }
    Ok(whole)
}

/// Sends charge after charge on one connection until the load is over.
async fn drive(
    mut connection: Connection,
    script: Arc<Script>,
    board: Rc<Board>,
    mut schedule: Schedule,
) -> Part {
    let mut part = Part::default();
    while board.phase.get() != Phase::Over && part.failed < FAILURES_MAX {
        let begun = schedule.wait().await;
        let charge = connection.charge(&script, board.take());
        match timeout(CHARGE_TIMEOUT, charge).await.unwrap_or_else(|_| Err(anyhow!("no answer"))) {
            Ok(()) => part.count(begun, board.phase.get()),
            Err(error) => {
                connection.close();
                part.fail(format!("{error:#}"));
            }
        }
    }
    part
}

// === impl Board ===

impl Board {
    /// A number that no other charge has.
    fn take(&self) -> u64 {
        let number = self.next.get();
        self.next.set(number.saturating_add(1));
        number
    }
}

// === impl Schedule ===

impl Schedule {
    /// Spreads the connections evenly over the time between two charges of one of them.
    fn new(load: &Load, nth: u32) -> Self {
        let now = Instant::now();
        let Pace::Open { per_s } = load.pace else { return Self { next: now, every: None } };
        let gap = Duration::from_secs(1).checked_div(per_s).unwrap_or(load.window);
        let next = now.checked_add(gap.saturating_mul(nth)).unwrap_or(now);
        Self { next, every: Some(gap.saturating_mul(load.connections)) }
    }

    /// Waits until the next charge is due, and says from when on it counts.
    ///
    /// Timers wake up to a millisecond late. Where the connection was free in time, that is the
    /// generator's fault and the charge counts from now; where it was not, from when it was due.
    async fn wait(&mut self) -> Instant {
        let Some(every) = self.every else { return Instant::now() };
        let due = self.next;
        self.next = due.checked_add(every).unwrap_or(due);
        if due <= Instant::now() {
            return due;
        }
        sleep_until(due).await;
        Instant::now()
    }
}

// === impl Part ===

impl Part {
    fn count(&mut self, begun: Instant, phase: Phase) {
        if phase == Phase::Window {
            self.latency.record(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX));
        }
    }

    fn fail(&mut self, why: String) {
        self.failed = self.failed.saturating_add(1);
        if self.told.len() < TOLD_MAX {
            self.told.push(why);
        }
    }

    fn add(&mut self, other: &Self) {
        self.latency.merge(&other.latency);
        self.failed = self.failed.saturating_add(other.failed);
        let room = TOLD_MAX.saturating_sub(self.told.len());
        self.told.extend(other.told.iter().take(room).cloned());
    }

    fn taken(self, window: Duration, next: u64) -> Taken {
        let Self { latency, failed, told } = self;
        Taken { done: latency.total(), failed, told, window, latency, next }
    }
}

#[cfg(test)]
mod tests;

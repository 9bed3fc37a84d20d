//! The same charges through two programs, in turn.

use crate::load::{self, Load, Pace};
use crate::parts::Parts;
use crate::process::{self, Cpu};
use crate::report::{Comparison, Round, Window};
use crate::script::Script;
use anyhow::ensure;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Charges through the pass-through and through Orchestra.
#[derive(Clone, Debug)]
pub struct Contest {
    pub name: String,
    /// What a charge is here, in a few words.
    pub what: String,
    pub pass_through: Lane,
    pub orchestra: Lane,
}

/// One way to the provider.
#[derive(Clone, Debug)]
pub struct Lane {
    pub pid: u32,
    pub address: SocketAddr,
    /// Where it says what its parts take, if it does.
    pub metrics: Option<SocketAddr>,
    pub script: Arc<Script>,
}

/// How long and how hard.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Rounds that count; one more comes before them and is dropped.
    pub rounds: u32,
    pub connections: u32,
    pub pace: Pace,
    /// At the beginning of each window, not counted.
    pub warm_up: Duration,
    pub window: Duration,
}

/// Gives every charge of a run a number of its own.
#[derive(Debug, Default)]
pub struct Numbers(u64);

// === impl Contest ===

impl Contest {
    /// Runs the rounds; `tell` hears of each that is done.
    ///
    /// # Errors
    /// An answer was wrong, or a program is gone: then there is no figure.
    pub fn run(
        &self,
        rules: &Rules,
        numbers: &mut Numbers,
        mut tell: impl FnMut(u32, &Round),
    ) -> anyhow::Result<Comparison> {
        let (mut rounds, mut sum) = (Vec::new(), Parts::default());
        for nth in 0..=rules.rounds {
            let (round, parts) = self.round(nth, rules, numbers)?;
            tell(nth, &round);
            if nth > 0 {
                rounds.push(round);
                sum.add(&parts);
            }
        }
        Ok(Comparison::new(&self.name, self.what.clone(), rounds, &sum))
    }

    /// One window each, and what Orchestra's parts took of its own. Who goes first changes from round to
    /// round, so that a machine that slows down or speeds up favours neither.
    fn round(
        &self,
        nth: u32,
        rules: &Rules,
        numbers: &mut Numbers,
    ) -> anyhow::Result<(Round, Parts)> {
        if nth.is_multiple_of(2) {
            let (pass_through, _) = self.pass_through.measure(rules, numbers)?;
            let (orchestra, parts) = self.orchestra.measure(rules, numbers)?;
            Ok((Round { pass_through, orchestra }, parts))
        } else {
            let (orchestra, parts) = self.orchestra.measure(rules, numbers)?;
            let (pass_through, _) = self.pass_through.measure(rules, numbers)?;
            Ok((Round { pass_through, orchestra }, parts))
        }
    }
}

// === impl Lane ===

impl Lane {
    fn measure(&self, rules: &Rules, numbers: &mut Numbers) -> anyhow::Result<(Window, Parts)> {
        let load = Load {
            address: self.address,
            connections: rules.connections,
            pace: rules.pace,
            warm_up: rules.warm_up,
            window: rules.window,
            script: Arc::clone(&self.script),
            first: numbers.0,
        };
        let (taken, before, after) = load::run(&load, || self.probe())?;
        numbers.0 = taken.next;
        let told = taken.told.join("; ");
        ensure!(taken.failed == 0, "{} charges failed at {}: {told}", taken.failed, self.address);
        ensure!(taken.done > 0, "no charge was done at {}", self.address);
        let (ticks, memory) = (process::ticks_per_s()?, process::resident_kib(self.pid)?);
        let window = Window::new(&taken, after.0.since(before.0), ticks, memory);
        Ok((window, after.1.since(&before.1)))
    }

    fn probe(&self) -> anyhow::Result<(Cpu, Parts)> {
        let parts = self.metrics.map(|metrics| Parts::read(self.pid, metrics)).transpose()?;
        Ok((process::cpu(self.pid)?, parts.unwrap_or_default()))
    }
}

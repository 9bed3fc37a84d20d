//! The journal, failover and the resolver over providers that follow a script, with an end of the
//! process between any two steps.
//!
//! A number decides everything: what merchants ask for, what providers do and say, which of all that is
//! under way takes the next step, when the clock moves on, and when the process ends. Everything runs on
//! one thread, on a clock of its own, over the real store, in which a write is durable or not there.
//! So a history that breaks a rule is played again by its number: `SEED=n cargo test -p vault --lib
//! simulation`. `HISTORIES=n` plays that many.
//!
//! What is real: [`Course`](super::Course), the journal and its recovery, the rule of failover
//! ([`Standing::is_nothing`]), what is believed of an answer and when a change is asked for again
//! ([`model::doubt`]), since when an account has its credentials, and what a payment learns from notices.
//! What is played: merchants, the wire, providers, clocks, and the order in which the resolver asks.

mod actors;
mod books;
mod provider;
mod staff;
mod stage;
mod steps;

use crate::stage::on_stage;
use stage::Theatre;
pub(crate) use steps::breathe;

/// How many histories `make test` plays.
const HISTORIES: u64 = 2_000;

#[expect(clippy::disallowed_methods, reason = "whoever runs a test says what it plays")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

on_stage!(1 no_history_moves_money_twice_or_loses_what_was_said(stage) {
    let mut theatre = Theatre::new(stage);
    if let Some(seed) = number("SEED") {
        let played = theatre.play(seed);
        println!("{}", played.trace.join("\n"));
        return assert_eq!(played.broken, None);
    }
    let mut all = stage::Figures::default();
    for seed in 0..number("HISTORIES").unwrap_or(HISTORIES) {
        let played = theatre.play(seed);
        if let Some(broken) = played.broken {
            panic!("SEED={seed}: {broken}\n{}", played.trace.join("\n"));
        }
        all.add(&played.figures);
    }
    println!("{all:?}");
    all.reached_everything();
});

//! What the parts of a charge cost one by one, in nanoseconds on one thread.
//!
//! `cargo bench -p benches` prints a line for each. They say where the time goes, not whether
//! Orchestra is fast: that is what the program `bench` is for.

use anyhow::{Context, bail};
use benches::charge::{self, ACCOUNTS, Account};
use benches::report::Spread;
use filters::decode::{self, YearMonth};
use model::Kind;
use providers::Cx;
use providers::wire::Answer;
use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

/// How long a batch is at least, so that reading the clock does not count.
const BATCH_MIN: Duration = Duration::from_millis(2);
const BATCHES: u32 = 31;
const TODAY: YearMonth = YearMonth { year: 2026, month: 11 };

/// Prints the least, the median and the greatest time of `work` over the batches.
fn time<T>(name: &str, mut work: impl FnMut() -> T) -> anyhow::Result<()> {
    let mut times = 1_u32;
    while batch(times, &mut work) < BATCH_MIN {
        times = times.saturating_mul(2);
    }
    let spread: Spread = (0..BATCHES).map(|_| each_ns(batch(times, &mut work), times)).collect();
    let Spread { least, median, greatest } = spread;
    writeln!(std::io::stdout(), "{name:<36}{median:>8} ns   ({least}..{greatest})")?;
    Ok(())
}

/// How long it takes to do the work so many times.
fn batch<T>(times: u32, work: &mut impl FnMut() -> T) -> Duration {
    let begun = Instant::now();
    for _ in 0..times {
        black_box(work());
    }
    begun.elapsed()
}

fn each_ns(whole: Duration, times: u32) -> u64 {
    let ns = whole.as_nanos().checked_div(u128::from(times)).unwrap_or(0);
    u64::try_from(ns).unwrap_or(u64::MAX)
}

/// Reading a merchant's body, and the request and answer of each provider that has an account.
fn account(account: &Account) -> anyhow::Result<()> {
    let name = account.provider;
    let provider = providers::by_gateway(name).context("there is no such provider")?;
    let credentials = account.credentials();
    let cx = Cx::timeless(&credentials);
    let operation = charge::operation()?;
    if provider.request(&operation, &cx).is_err() {
        bail!("{name} refuses the charge");
    }
    let answer = Answer { status: 200, body: account.answer.as_bytes() };
    time(&format!("{name}: request"), || provider.request(&operation, &cx))?;
    time(&format!("{name}: outcome"), || provider.outcome(Kind::Charge, &answer))
}

fn main() -> anyhow::Result<()> {
    let [first, ..] = &ACCOUNTS;
    let body = charge::merchant_body(first, "nQGywsQE9gbURtrXEjTZwtWqeMdK9nsO");
    if decode::payment(Kind::Charge, body.as_bytes(), TODAY).is_err() {
        bail!("the merchant's body is refused");
    }
    time("decode: charge", || decode::payment(Kind::Charge, body.as_bytes(), TODAY))?;
    ACCOUNTS.iter().try_for_each(account)
}

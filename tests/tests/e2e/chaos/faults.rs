//! What goes wrong at the providers, and how often.

use rand::Rng;
use tests::sandbox::Provider;
use tests::sandbox::fault::{Effect, Fault, Operation};

/// How long the program waits for a provider.
pub(super) const EXCHANGE_TIMEOUT_MS: u32 = 1_000;
/// An answer that comes in time.
const LATE_MS: u64 = 400;
/// An answer that nobody waits for any more, after the operation or before it.
const TOO_LATE_MS: u64 = 1_600;

/// What goes wrong with the next request of `operation` at `provider`, if anything does.
pub(super) fn draw(rng: &mut impl Rng, provider: Provider, operation: Operation) -> Option<Fault> {
    let (before, effect) = one(rng.random_range(0..100))?;
    // Of Stripe's two requests the first moves no money, and fails as well now and then.
    let first = before && provider == Provider::Stripe && makes(operation);
    let on = if first && rng.random_ratio(1, 3) { Operation::PaymentMethod } else { operation };
    let fault = Fault::once(effect).at(provider).on(on);
    Some(if before { fault.before() } else { fault })
}

fn makes(operation: Operation) -> bool {
    matches!(operation, Operation::Authorize | Operation::Charge)
}

/// One fault of the table, by percent: whether it strikes before the execution, and what it is.
fn one(percent: u32) -> Option<(bool, Effect)> {
    Some(match percent {
        0..=2 => (false, Effect::Hang),
        3..=4 => (true, Effect::Hang),
        5..=9 => (false, Effect::Cut),
        10..=11 => (true, Effect::Cut),
        12..=13 => (false, Effect::Delay(LATE_MS)),
        14 => (false, Effect::Delay(TOO_LATE_MS)),
        15 => (true, Effect::Delay(TOO_LATE_MS)),
        16..=17 => (true, Effect::Status(429)),
        18 => (true, Effect::Status(500)),
        19 => (false, Effect::Status(500)),
        20 => (true, Effect::Status(503)),
        21 => (false, Effect::Status(503)),
        22..=23 => (false, Effect::Half),
        24 => (false, Effect::Html),
        25 => (false, Effect::WrongType),
        26..=29 => (false, Effect::Stale),
        _ => return None,
    })
}

//! Misbehaviour to order.

use super::Provider;
use serde::{Deserialize, Serialize};

/// How many faults may wait at a time.
pub const FAULTS_MAX: usize = 1_000;
/// The longest delay that can be asked for, in milliseconds.
pub const DELAY_MS_MAX: u64 = 600_000;

/// One misbehaviour, and when it happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// Only at this provider.
    #[serde(default)]
    pub provider: Option<Provider>,
    /// Only for this operation.
    #[serde(default)]
    pub operation: Option<Operation>,
    pub effect: Effect,
    /// Before or after the operation is executed.
    #[serde(default)]
    pub when: When,
    /// How often; absent: until the next reset.
    #[serde(default)]
    pub times: Option<u32>,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Effect {
    /// The connection is dropped, without an answer.
    Cut,
    /// The answer is late by so many milliseconds.
    Delay(u64),
    /// The connection is dropped in the middle of the answer's body.
    Half,
    /// There is never an answer; the connection stays.
    Hang,
    /// An HTML page with status 200.
    Html,
    /// The answer is good, and the connection dies unannounced right after it.
    Stale,
    /// The provider's documented body for 429, 500 or 503.
    Status(u16),
    /// The right body as `text/plain`.
    WrongType,
}

/// On which side of the execution a fault strikes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum When {
    /// With nothing executed, unless the fault is a mere delay.
    Before,
    #[default]
    After,
}

/// What a request asks a provider to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    Authorize,
    Capture,
    Charge,
    /// An intent that is not confirmed yet.
    Create,
    /// A card that is kept, without a payment.
    Keep,
    PaymentMethod,
    Read,
    Refund,
    Void,
}

/// The faults that wait.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

/// An amount, in the provider's units, and what it does to any request that carries it.
///
/// The table is public: a merchant makes these happen without the control interface.
pub const BY_AMOUNT: [(u64, When, Effect); 12] = [
    (900_010, When::Before, Effect::Status(429)),
    (900_020, When::Before, Effect::Status(500)),
    (900_030, When::After, Effect::Status(500)),
    (900_040, When::Before, Effect::Status(503)),
    (900_050, When::Before, Effect::Cut),
    (900_060, When::After, Effect::Cut),
    (900_070, When::After, Effect::Half),
    (900_080, When::After, Effect::Html),
    (900_090, When::After, Effect::WrongType),
    (900_100, When::After, Effect::Delay(2_000)),
    (900_110, When::After, Effect::Hang),
    (900_120, When::After, Effect::Stale),
];

// === impl Fault ===

impl Fault {
    /// A fault that strikes once, anywhere, after the execution.
    pub fn once(effect: Effect) -> Self {
        Self { provider: None, operation: None, effect, when: When::After, times: Some(1) }
    }

    /// A fault that strikes until the next reset, anywhere, after the execution.
    pub fn standing(effect: Effect) -> Self {
        Self { times: None, ..Self::once(effect) }
    }

    /// The same, with nothing executed.
    pub fn before(self) -> Self {
        Self { when: When::Before, ..self }
    }

    /// The same, only at `provider`.
    pub fn at(self, provider: Provider) -> Self {
        Self { provider: Some(provider), ..self }
    }

    /// The same, only for `operation`.
    pub fn on(self, operation: Operation) -> Self {
        Self { operation: Some(operation), ..self }
    }

    /// Why it makes no sense, if it does not.
    pub fn problem(&self) -> Option<&'static str> {
        match (self.effect, self.when) {
            (Effect::Half | Effect::WrongType | Effect::Stale, When::Before) => {
                Some("this effect needs an answer, so it must be after the execution")
            }
            (Effect::Status(status), _) if !matches!(status, 429 | 500 | 503) => {
                Some("the status must be 429, 500 or 503")
            }
            (Effect::Delay(ms), _) if ms > DELAY_MS_MAX => Some("the delay is too long"),
            _ if self.times == Some(0) => Some("times must be at least 1"),
            _ => None,
        }
    }

    fn strikes(&self, provider: Provider, operation: Operation) -> bool {
        self.provider.is_none_or(|only| only == provider)
            && self.operation.is_none_or(|only| only == operation)
    }
}

// === impl Faults ===

impl Faults {
    /// Adds one, unless too many wait already.
    pub(super) fn add(&mut self, fault: Fault) -> bool {
        let room = self.0.len() < FAULTS_MAX;
        if room {
            self.0.push(fault);
        }
        room
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first that strikes here; a counted one is used up by one.
    pub(super) fn take(
        &mut self,
        provider: Provider,
        operation: Operation,
    ) -> Option<(When, Effect)> {
        let at = self.0.iter().position(|fault| fault.strikes(provider, operation))?;
        let fault = self.0.get_mut(at)?;
        let found = (fault.when, fault.effect);
        if let Some(times) = fault.times.as_mut() {
            *times = times.saturating_sub(1);
            if *times == 0 {
                self.0.remove(at);
            }
        }
        Some(found)
    }
}

/// What an amount does by [`BY_AMOUNT`].
pub(super) fn by_amount(amount: Option<u64>) -> Option<(When, Effect)> {
    let amount = amount?;
    BY_AMOUNT.iter().find(|(of, ..)| *of == amount).map(|(_, when, effect)| (*when, *effect))
}

#[cfg(test)]
mod tests {
    use super::{BY_AMOUNT, Effect, Fault, Faults, Operation, When, by_amount};
    use crate::sandbox::Provider;

    #[test]
    fn a_counted_fault_is_used_up_and_a_standing_one_stays() {
        let mut faults = Faults::default();
        assert!(faults.add(Fault::once(Effect::Cut).at(Provider::Adyen)));
        assert!(faults.add(Fault::standing(Effect::Html).before().on(Operation::Refund)));
        assert_eq!(faults.take(Provider::Stripe, Operation::Charge), None);
        let cut = Some((When::After, Effect::Cut));
        assert_eq!(faults.take(Provider::Adyen, Operation::Charge), cut);
        assert_eq!(faults.take(Provider::Adyen, Operation::Charge), None);
        for _ in 0..3 {
            let html = Some((When::Before, Effect::Html));
            assert_eq!(faults.take(Provider::Stripe, Operation::Refund), html);
        }
    }

    #[test]
    fn the_public_amounts_end_in_zero_for_three_decimal_currencies_and_make_sense() {
        for (amount, when, effect) in BY_AMOUNT {
            assert_eq!(amount % 10, 0);
            assert_eq!(by_amount(Some(amount)), Some((when, effect)));
            assert_eq!(Fault { when, ..Fault::once(effect) }.problem(), None);
        }
        assert_eq!(by_amount(Some(1)), None);
        assert_eq!(by_amount(None), None);
    }

    #[test]
    fn senseless_faults_are_named() {
        assert!(Fault::once(Effect::Half).before().problem().is_some());
        assert!(Fault::once(Effect::Status(418)).problem().is_some());
        assert!(Fault { times: Some(0), ..Fault::once(Effect::Cut) }.problem().is_some());
    }
}

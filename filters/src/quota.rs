//! How many requests an API key may make, as a bucket that refills at a steady rate (GCRA).
//!
//! A key that was quiet for a window may make all of a window's requests at once; from then on
//! they come back one by one. Header values follow draft-ietf-httpapi-ratelimit-headers-09.

use governor::clock::{Clock, DefaultClock};
use governor::middleware::{StateInformationMiddleware, StateSnapshot};
use governor::state::keyed::DashMapStateStore;
use governor::{NotUntil, RateLimiter};
use model::KeyId;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Counts requests by API key. Ask it only about keys that are known, so that it stays small.
pub struct Quota<C: Clock = DefaultClock> {
    limiter: Limiter<C>,
    clock: C,
    checks: AtomicU32,
    requests: NonZeroU32,
    window: Duration,
    /// How long until one request comes back.
    interval: Duration,
}

/// What a quota says of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaVerdict {
    pub allowed: bool,
    /// How many more requests may be made at once.
    pub remaining: u32,
    /// Seconds, rounded up, until there is more: until all has come back, or, when nothing remains,
    /// until one request has.
    pub reset_s: u64,
    /// Seconds, rounded up, to wait for when the request is refused; else zero. It is then the same
    /// as `reset_s`.
    pub retry_after_s: u64,
}

type Limiter<C> = RateLimiter<KeyId, DashMapStateStore<KeyId>, C, StateInformationMiddleware>;

/// After how many checks the keys whose quota is full again are forgotten.
const SWEEP_EVERY: u32 = 65_536;
/// The shortest time in which one request may come back; a quota above 1,000,000/s is none.
const INTERVAL_MIN: Duration = Duration::from_micros(1);

// === impl Quota ===

impl Quota {
    /// A quota of `requests` in each `window`.
    pub fn new(requests: NonZeroU32, window: Duration) -> Self {
        Self::with_clock(requests, window, DefaultClock::default())
    }
}

impl<C: Clock + Clone> Quota<C> {
    /// A quota that reads the time from `clock`.
    pub fn with_clock(requests: NonZeroU32, window: Duration, clock: C) -> Self {
        let interval = window.checked_div(requests.get()).unwrap_or_default().max(INTERVAL_MIN);
        let rate = governor::Quota::with_period(interval)
            .unwrap_or(governor::Quota::per_second(requests))
            .allow_burst(requests);
        let limiter = RateLimiter::dashmap_with_clock(rate, clock.clone()).with_middleware();
        Self { limiter, clock, checks: AtomicU32::new(0), requests, window, interval }
    }

    /// Counts a request of `key`, and says whether it may go on.
    pub fn check(&self, key: &KeyId) -> QuotaVerdict {
        self.sweep();
        match self.limiter.check_key(key) {
            Ok(snapshot) => self.allowed(&snapshot),
            Err(until) => self.refused(&until),
        }
    }

    /// The value of `RateLimit-Policy`.
    pub fn policy(&self) -> String {
        format!("\"default\";q={};w={}", self.requests, seconds_up(self.window))
    }

    /// How many keys are remembered.
    pub fn keys(&self) -> usize {
        self.limiter.len()
    }

    fn allowed(&self, snapshot: &StateSnapshot) -> QuotaVerdict {
        let remaining = snapshot.remaining_burst_capacity();
        let missing =
            if remaining == 0 { 1 } else { self.requests.get().saturating_sub(remaining) };
        let reset_s = seconds_up(self.interval.saturating_mul(missing));
        QuotaVerdict { allowed: true, remaining, reset_s, retry_after_s: 0 }
    }

    fn refused(&self, until: &NotUntil<C::Instant>) -> QuotaVerdict {
        let wait = seconds_up(until.wait_time_from(self.clock.now())).max(1);
        QuotaVerdict { allowed: false, remaining: 0, reset_s: wait, retry_after_s: wait }
    }

    fn sweep(&self) {
        if self.checks.fetch_add(1, Ordering::Relaxed).is_multiple_of(SWEEP_EVERY) {
            self.limiter.retain_recent();
        }
    }
}

impl<C: Clock> fmt::Debug for Quota<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quota")
            .field("requests", &self.requests)
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}

// === impl QuotaVerdict ===

impl QuotaVerdict {
    /// The value of `RateLimit`.
    pub fn header(&self) -> String {
        format!("\"default\";r={};t={}", self.remaining, self.reset_s)
    }
}

/// Whole seconds, never less than `time`.
fn seconds_up(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a model in small numbers, checked in tests")]
mod tests {
    use super::{Quota, QuotaVerdict, SWEEP_EVERY, seconds_up};
    use governor::clock::FakeRelativeClock;
    use model::KeyId;
    use proptest::prelude::*;
    use std::num::NonZeroU32;
    use std::time::Duration;

    fn quota(requests: u32, window_s: u64) -> (Quota<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let requests = NonZeroU32::new(requests).unwrap();
        (Quota::with_clock(requests, Duration::from_secs(window_s), clock.clone()), clock)
    }

    fn key(text: &str) -> KeyId {
        KeyId::parse(text).unwrap()
    }

    #[test]
    fn a_window_may_be_spent_at_once_and_comes_back_one_by_one() {
        let (quota, clock) = quota(3, 60);
        let shop = key("AAAAAAAAAAAA");
        let said: Vec<QuotaVerdict> = (0..4).map(|_| quota.check(&shop)).collect();
        let verdict = |allowed, remaining, reset_s, retry_after_s| QuotaVerdict {
            allowed,
            remaining,
            reset_s,
            retry_after_s,
        };
        assert_eq!(
            said,
            [
                verdict(true, 2, 20, 0),
                verdict(true, 1, 40, 0),
                verdict(true, 0, 20, 0),
                verdict(false, 0, 20, 20),
            ]
        );
        assert!(quota.check(&key("BBBBBBBBBBBB")).allowed, "keys do not share");
        clock.advance(Duration::from_secs(20));
        assert!(quota.check(&shop).allowed);
        assert!(!quota.check(&shop).allowed);
    }

    #[test]
    fn header_values_are_structured_fields() {
        let (quota, _) = quota(6000, 60);
        assert_eq!(quota.policy(), "\"default\";q=6000;w=60");
        assert_eq!(quota.check(&key("AAAAAAAAAAAA")).header(), "\"default\";r=5999;t=1");
    }

    #[test]
    fn keys_that_are_quiet_are_forgotten() {
        let (quota, clock) = quota(10, 1);
        for nth in 0..100 {
            quota.check(&key(&format!("{nth:012}")));
        }
        assert_eq!(quota.keys(), 100);
        clock.advance(Duration::from_secs(60));
        for _ in 0..SWEEP_EVERY {
            quota.check(&key("AAAAAAAAAAAA"));
        }
        assert_eq!(quota.keys(), 1);
    }

    #[test]
    fn seconds_are_rounded_up() {
        for (millis, seconds) in [(0, 0), (1, 1), (1000, 1), (1001, 2)] {
            assert_eq!(seconds_up(Duration::from_millis(millis)), seconds);
        }
    }

    proptest! {
        /// Over any time, no more than a window's requests and what came back in it are allowed; a
        /// client that waits as it is told is served.
        #[test]
        fn no_more_than_the_quota_and_no_broken_promise(
            requests in 1u32..50,
            window_s in 1u64..120,
            pauses_ms in proptest::collection::vec(0u64..4_000, 1..200),
        ) {
            let (quota, clock) = quota(requests, window_s);
            let shop = key("AAAAAAAAAAAA");
            let mut allowed = 0_u64;
            let mut elapsed_ms = 0_u64;
            for pause in pauses_ms {
                let verdict = quota.check(&shop);
                allowed += u64::from(verdict.allowed);
                prop_assert!(verdict.remaining < requests);
                prop_assert_eq!(verdict.allowed, verdict.retry_after_s == 0);
                let came_back = elapsed_ms * u64::from(requests) / (window_s * 1000);
                prop_assert!(allowed <= u64::from(requests) + came_back + 1);
                if !verdict.allowed {
                    prop_assert_eq!(verdict.reset_s, verdict.retry_after_s);
                    clock.advance(Duration::from_secs(verdict.retry_after_s));
                    elapsed_ms += verdict.retry_after_s * 1000;
                    prop_assert!(quota.check(&shop).allowed);
                    allowed += 1;
                }
                clock.advance(Duration::from_millis(pause));
                elapsed_ms += pause;
            }
        }

        /// As many as are said to remain may be made at once.
        #[test]
        fn what_remains_may_be_spent(requests in 1u32..50, spent in 1u32..50) {
            let (quota, _) = quota(requests, 60);
            let shop = key("AAAAAAAAAAAA");
            let last = (0..spent).map(|_| quota.check(&shop)).last().unwrap();
            for _ in 0..last.remaining {
                prop_assert!(quota.check(&shop).allowed);
            }
            prop_assert!(!quota.check(&shop).allowed);
        }
    }
}

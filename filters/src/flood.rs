//! A guard against floods from one client address, before any key is looked at.
//!
//! It estimates: addresses share counters now and then, so it may refuse a little early and never
//! late. Memory does not grow with the number of addresses.

use pingora_limits::rate::Rate;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// Counts requests by client address, and says when there are too many in one second.
pub struct Flood {
    rate: Rate,
    requests_max: isize,
}

/// The window over which requests are counted. The estimator's clock must not be asked for less.
const INTERVAL: Duration = Duration::from_secs(1);
/// How many counters each address is spread over.
const HASHES: usize = 4;
/// How many counters there are of each. Two windows of 4 x 65,536 counters take 4 MiB.
const SLOTS: usize = 65_536;

// === impl Flood ===

impl Flood {
    /// A guard that lets an address make `requests_max` requests a second.
    pub fn new(requests_max: u32) -> Self {
        let rate = Rate::new_with_estimator_config(INTERVAL, HASHES, SLOTS);
        Self { rate, requests_max: isize::try_from(requests_max).unwrap_or(isize::MAX) }
    }

    /// Counts a request, and says whether it may go on.
    pub fn allow(&self, address: IpAddr) -> bool {
        self.rate.observe(&network(address), 1) <= self.requests_max
    }
}

impl fmt::Debug for Flood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flood").field("requests_max", &self.requests_max).finish_non_exhaustive()
    }
}

/// What stands for one client: an IPv4 address, or the /64 that one IPv6 subscriber has.
pub fn network(address: IpAddr) -> (bool, u64) {
    match address.to_canonical() {
        IpAddr::V4(v4) => (false, u64::from(u32::from(v4))),
        IpAddr::V6(v6) => {
            let [a, b, c, d, e, f, g, h, ..] = v6.octets();
            (true, u64::from_be_bytes([a, b, c, d, e, f, g, h]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Flood, network};

    #[test]
    fn an_address_is_refused_past_its_maximum_and_others_are_not() {
        let flood = Flood::new(10);
        let noisy = "192.0.2.1".parse().unwrap();
        // Two windows may begin while this runs; a hundred requests are too many for all of them.
        let allowed = (0..100).filter(|_| flood.allow(noisy)).count();
        assert!((10..100).contains(&allowed), "{allowed}");
        assert!(flood.allow("192.0.2.2".parse().unwrap()));
    }

    #[test]
    fn an_ipv6_subscriber_is_one_client() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff::2"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("::192.0.2.1"), of("192.0.2.1"));
    }
}

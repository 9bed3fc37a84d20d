//! Latencies in a fixed number of buckets, in integer microseconds.

/// Bits of a value that its bucket keeps: a reading is at most 1/128 above the truth.
const EXACT_BITS: u32 = 7;
/// Values of 2^`VALUE_BITS` microseconds (67 s) and more are counted in the last bucket.
const VALUE_BITS: u32 = 26;
const STEPS: usize = 1 << EXACT_BITS;
const BUCKETS: usize = STEPS * (VALUE_BITS as usize - EXACT_BITS as usize + 1);

/// Counts of latencies in log-linear buckets.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Box<[u64]>,
    total: u64,
    longest_us: u64,
}

/// The bucket of a value: exact up to `2 * STEPS`, then `STEPS` buckets for each doubling.
fn bucket(value_us: u64) -> usize {
    let value = value_us.min((1 << VALUE_BITS) - 1);
    let shift = value.checked_ilog2().unwrap_or(0).saturating_sub(EXACT_BITS);
    let step = usize::try_from(value >> shift).unwrap_or(usize::MAX);
    STEPS.saturating_mul(shift as usize).saturating_add(step)
}

/// The highest value of a bucket.
fn upper_edge(bucket: usize) -> u64 {
    let shift = (bucket / STEPS).saturating_sub(1);
    let step = bucket.saturating_sub(STEPS.saturating_mul(shift)) as u64;
    (step.saturating_add(1) << shift).saturating_sub(1)
}

// === impl Histogram ===

impl Histogram {
    /// An empty one.
    pub fn new() -> Self {
        Self { counts: vec![0; BUCKETS].into(), total: 0, longest_us: 0 }
    }

    /// Counts one latency.
    pub fn record(&mut self, value_us: u64) {
        if let Some(count) = self.counts.get_mut(bucket(value_us)) {
            *count = count.saturating_add(1);
        }
        self.total = self.total.saturating_add(1);
        self.longest_us = self.longest_us.max(value_us);
    }

    /// Counts what `other` counted.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine = mine.saturating_add(*theirs);
        }
        self.total = self.total.saturating_add(other.total);
        self.longest_us = self.longest_us.max(other.longest_us);
    }

    /// The latency within which `permille` of 1000 were done; 0 when nothing was counted.
    pub fn quantile_us(&self, permille: u64) -> u64 {
        let rank = self.total.saturating_mul(permille).div_ceil(1000).max(1);
        let mut seen = 0_u64;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen = seen.saturating_add(*count);
            if seen >= rank {
                return upper_edge(bucket).min(self.longest_us);
            }
        }
        self.longest_us
    }

    /// How many were counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The longest of them, exactly.
    pub fn longest_us(&self) -> u64 {
        self.longest_us
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::{BUCKETS, Histogram, VALUE_BITS, bucket, upper_edge};

    #[test]
    fn every_value_is_below_its_edge_by_at_most_one_part_in_128() {
        let mut value = 1_u64;
        while value < 1 << VALUE_BITS {
            for near in [value - 1, value, value + 1, value + value / 3] {
                let near = near.min((1 << VALUE_BITS) - 1);
                let edge = upper_edge(bucket(near));
                assert!(edge >= near && edge - near <= near / 128, "{near} {edge}");
            }
            value = value * 5 / 4 + 1;
        }
    }

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        for index in 0..BUCKETS - 1 {
            assert_eq!(bucket(upper_edge(index)), index);
            assert_eq!(bucket(upper_edge(index) + 1), index + 1);
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_ranks() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.quantile_us(500), 0);
        (1..=100).for_each(|value| histogram.record(value));
        let table = [(0, 1), (10, 1), (500, 50), (990, 99), (991, 100), (1000, 100)];
        for (permille, expected) in table {
            assert_eq!(histogram.quantile_us(permille), expected, "{permille}");
        }
    }

    #[test]
    fn merging_counts_both_and_no_quantile_exceeds_the_longest() {
        let (mut one, mut two) = (Histogram::new(), Histogram::new());
        one.record(1_000_001);
        two.record(3);
        one.merge(&two);
        assert_eq!((one.total(), one.longest_us()), (2, 1_000_001));
        assert_eq!((one.quantile_us(500), one.quantile_us(1000)), (3, 1_000_001));
    }
}

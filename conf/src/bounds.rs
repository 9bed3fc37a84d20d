//! Every number that may be written: its place, its default and its range, and nothing else.
//!
//! The table in `docs/reference/configuration.md` is compared with this one by a test.

use crate::error::{Error, Problem};

/// A number that may be written.
///
/// No range reaches down to zero: a zero would mean either "none" or "no limit", and which of them
/// is a guess.
#[derive(Debug)]
pub(crate) struct Number {
    pub(crate) field: &'static str,
    /// `None`: found out on the machine.
    pub(crate) default: Option<u64>,
    pub(crate) min: u64,
    pub(crate) max: u64,
}

/// A name for each number, and the list of them all.
macro_rules! numbers {
    ($($name:ident: $field:literal = $default:expr, $min:literal..=$max:literal;)*) => {
        $(pub(crate) const $name: Number =
            Number { field: $field, default: $default, min: $min, max: $max };)*
        #[cfg(test)]
        pub(crate) const NUMBERS: &[Number] = &[$($name),*];
    };
}

numbers! {
    GRACE_S: "grace_s" = Some(35), 1..=600;
    THREADS: "threads" = None, 1..=1_024;
    CONNECTIONS_MAX: "limits.connections_max" = Some(10_000), 1..=1_000_000;
    CONNECTIONS_PER_ADDRESS_MAX: "limits.connections_per_address_max" = Some(1_000), 1..=1_000_000;
    HEAD_TIMEOUT_MS: "limits.head_timeout_ms" = Some(5_000), 100..=60_000;
    BODY_TIMEOUT_MS: "limits.body_timeout_ms" = Some(10_000), 100..=120_000;
    BODY_BYTES_MAX: "limits.body_bytes_max" = Some(65_536), 1_024..=1_048_576;
    IDLE_TIMEOUT_MS: "limits.idle_timeout_ms" = Some(60_000), 1_000..=600_000;
    WRITE_TIMEOUT_MS: "limits.write_timeout_ms" = Some(10_000), 100..=120_000;
    FLOOD_PER_ADDRESS_PER_S: "limits.flood_per_address_per_s" = Some(2_000), 1..=1_000_000;
    QUOTA_REQUESTS: "limits.quota.requests" = Some(6_000), 1..=10_000_000;
    QUOTA_WINDOW_S: "limits.quota.window_s" = Some(60), 1..=86_400;
    REVEALS_REQUESTS: "limits.reveals.requests" = Some(100), 1..=10_000_000;
    REVEALS_WINDOW_S: "limits.reveals.window_s" = Some(3_600), 1..=86_400;
    BREAKER_FAULTS: "payments.breaker_faults" = Some(5), 1..=1_000;
    BREAKER_WINDOW_S: "payments.breaker_window_s" = Some(30), 1..=3_600;
    BREAKER_OPEN_S: "payments.breaker_open_s" = Some(30), 1..=3_600;
    FAILOVER_TIMEOUT_MS: "payments.failover_timeout_ms" = Some(40_000), 100..=300_000;
    IDEMPOTENCY_KEEP_H: "payments.idempotency_keep_h" = Some(168), 24..=8_760;
    RESOLVE_ALARM_S: "payments.resolve_alarm_s" = Some(3_600), 60..=604_800;
    CACHE_BYTES: "vault.cache_bytes" = Some(268_435_456), 8_388_608..=1_099_511_627_776;
    DEK_PERIOD_DAYS: "vault.keys.dek_period_days" = Some(365), 1..=3_650;
    HSM_OUTAGE_MAX_S: "vault.keys.hsm_outage_max_s" = Some(3_600), 1..=604_800;
    HSM_SESSIONS: "vault.keys.hsm_sessions" = Some(2), 1..=64;
    KEK_PERIOD_DAYS: "vault.keys.kek_period_days" = Some(730), 1..=3_650;
    ROTATION_RECORDS_PER_S: "vault.keys.rotation_records_per_s" = Some(2_000), 1..=1_000_000;
    SHRED_DAYS: "vault.keys.shred_days" = Some(3), 1..=90;
    SEALS_MAX: "vault.keys.seals_max" = Some(2_147_483_648), 65_536..=3_865_470_566;
    CONNECT_TIMEOUT_MS: "providers.*.connect_timeout_ms" = Some(5_000), 100..=60_000;
    EXCHANGE_TIMEOUT_MS: "providers.*.exchange_timeout_ms" = Some(30_000), 100..=120_000;
    UPSTREAM_IDLE_TIMEOUT_MS: "providers.*.idle_timeout_ms" = Some(60_000), 1_000..=600_000;
    ANSWER_BYTES_MAX: "providers.*.answer_bytes_max" = Some(262_144), 4_096..=4_194_304;
}

// === impl Number ===

impl Number {
    /// The number that is meant where `written` stands: itself if it is in range, or the default.
    pub(crate) fn meant(&self, written: Option<u64>) -> Result<u64, Error> {
        self.meant_at(self.field, written)
    }

    /// The same for one of several providers.
    pub(crate) fn meant_for(&self, provider: &str, written: Option<u64>) -> Result<u64, Error> {
        self.meant_at(&self.field.replace('*', provider), written)
    }

    fn meant_at(&self, field: &str, written: Option<u64>) -> Result<u64, Error> {
        let Self { min, max, .. } = *self;
        let value = written.or(self.default).unwrap_or(min);
        if (min..=max).contains(&value) {
            Ok(value)
        } else {
            Err(Error::at(field, Problem::OutOfRange { value, min, max }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::NUMBERS;

    #[test]
    fn the_documentation_has_every_number_as_it_is() {
        let documentation = include_str!("../../docs/reference/configuration.md");
        for number in NUMBERS {
            let field = number.field.replace('*', "NAME");
            let default = number.default.map_or("one per processor".into(), |n| n.to_string());
            let row = format!("| `{field}` | {default} | {} to {} |", number.min, number.max);
            assert!(documentation.contains(&row), "no row begins with: {row}");
        }
    }

    #[test]
    fn every_default_is_in_its_range_and_no_range_holds_zero() {
        for number in NUMBERS {
            assert!(number.min >= 1 && number.min < number.max, "{number:?}");
            let default = number.default.unwrap_or(number.min);
            assert!((number.min..=number.max).contains(&default), "{number:?}");
        }
    }
}

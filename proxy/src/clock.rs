//! The wall clock, read in one place and handed on as a number.

use filters::decode::YearMonth;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970, UTC.
pub(crate) fn now_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Seconds since 1970, UTC.
pub(crate) fn now_seconds() -> u64 {
    now_millis().checked_div(1000).unwrap_or_default()
}

/// `millis` since 1970 as RFC 3339 in UTC with milliseconds, such as `2026-11-22T12:00:00.123Z`.
pub(crate) fn timestamp(millis: u64) -> String {
    let millis = i64::try_from(millis).unwrap_or(i64::MAX);
    let at = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    format!("{at:.3}")
}

/// The month in which it still is somewhere on Earth, so that no card is refused while its last day
/// lasts. It is worked out once an hour.
pub(crate) fn month_anywhere() -> YearMonth {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let hour = now_seconds() / HOUR_S;
    let last = LAST.load(Ordering::Relaxed);
    if last >> 32 == hour {
        return unpacked(last);
    }
    let month = YearMonth::anywhere_at(hour.saturating_mul(HOUR_S));
    let packed = hour << 32 | u64::from(month.year) << 8 | u64::from(month.month);
    LAST.store(packed, Ordering::Relaxed);
    month
}

/// The year and month in the low half of a word.
fn unpacked(word: u64) -> YearMonth {
    let [month, low, high, ..] = word.to_le_bytes();
    YearMonth { year: u16::from_le_bytes([low, high]), month }
}

const HOUR_S: u64 = 3600;

#[cfg(test)]
mod tests {
    use super::{month_anywhere, timestamp, unpacked};

    #[test]
    fn times_are_utc_with_milliseconds() {
        assert_eq!(timestamp(1_795_348_800_123), "2026-11-22T12:00:00.123Z");
        assert_eq!(timestamp(1_795_348_800_000), "2026-11-22T12:00:00.000Z");
    }

    #[test]
    fn the_month_survives_being_kept() {
        assert_eq!(unpacked(0xffff_ffff_0007_ea0b), unpacked(0x0007_ea0b));
        assert_eq!((unpacked(0x0007_ea0b).year, unpacked(0x0007_ea0b).month), (2026, 11));
        let first = month_anywhere();
        assert_eq!(month_anywhere(), first);
        assert!(first.year >= 2026 && (1..=12).contains(&first.month));
    }
}

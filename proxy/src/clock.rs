//! The wall clock, read in one place and handed on as a number.

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

/// The year and month of `millis`, in UTC.
pub(crate) fn year_month(millis: u64) -> (u16, u8) {
    let millis = i64::try_from(millis).unwrap_or(i64::MAX);
    let at = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    let date = at.to_zoned(jiff::tz::TimeZone::UTC).date();
    (u16::try_from(date.year()).unwrap_or_default(), u8::try_from(date.month()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::{timestamp, year_month};

    #[test]
    fn times_are_utc_with_milliseconds() {
        assert_eq!(timestamp(1_795_348_800_123), "2026-11-22T12:00:00.123Z");
        assert_eq!(timestamp(1_795_348_800_000), "2026-11-22T12:00:00.000Z");
        assert_eq!(year_month(1_795_348_800_123), (2026, 11));
    }
}

//! Times as the wire has them: whole nanoseconds.

use std::time::Duration;

/// The nanoseconds of `time`. What 64 bits cannot count, 584 years and more, counts as the most that they can.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_beyond_what_is_counted_does_not_become_a_short_one() {
        assert_eq!(nanos(Duration::from_micros(7)), 7_000);
        assert_eq!(nanos(Duration::from_secs(18_446_744_073)), 18_446_744_073_000_000_000);
        assert_eq!(nanos(Duration::from_secs(18_446_744_074)), u64::MAX);
        assert_eq!(nanos(Duration::MAX), u64::MAX);
    }
}

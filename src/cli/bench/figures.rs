//! What was measured, as a table and for JSON.

use std::time::Duration;

use serde::Serialize;

/// One figure. Its name and its fields in JSON are part of the command line's promise.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figure {
    #[serde(skip)]
    pub(super) name: String,
    #[serde(skip)]
    what: String,
    value: f64,
    unit: &'static str,
    /// The same of bare messages, over MPI.
    bare: Option<f64>,
    /// How near it is to them: 1 is as fast as they are.
    ratio: Option<f64>,
}

impl Figure {
    pub(super) fn new(
        name: impl Into<String>,
        what: impl Into<String>,
        value: f64,
        unit: &'static str,
    ) -> Figure {
        Figure { name: name.into(), what: what.into(), value, unit, bare: None, ratio: None }
    }

    pub(super) fn micros(name: impl Into<String>, what: impl Into<String>, time: Duration) -> Figure {
        Figure::new(name, what, micros(time), "us")
    }

    /// With the same figure of bare messages, where there is one.
    pub(super) fn beside(mut self, bare: Option<f64>) -> Figure {
        // More in a second is better, and less of a time.
        let more_is_better = self.unit.ends_with("/s");
        self.ratio = bare.map(|bare| if more_is_better { self.value / bare } else { bare / self.value });
        self.bare = bare;
        self
    }
}

pub(super) fn micros(time: Duration) -> f64 {
    1e6 * time.as_secs_f64()
}

/// The value below which this part of them lies. There is at least one.
pub(super) fn percentile(times: &[Duration], part: f64) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted[((sorted.len() - 1) as f64 * part).round() as usize]
}

/// So many bytes there and back, in MiB/s.
pub(super) fn both_ways(bytes: usize, time: Duration) -> f64 {
    2.0 * bytes as f64 / f64::from(1 << 20) / time.as_secs_f64()
}

/// As in `64 KiB`.
pub(super) fn size(bytes: usize) -> String {
    if bytes >= 1 << 20 { format!("{} MiB", bytes >> 20) } else { format!("{} KiB", bytes >> 10) }
}

/// A table for people; with the columns of bare messages where there are any.
pub(super) fn table(figures: &[Figure], with_bare: bool) -> String {
    let width = figures.iter().map(|figure| figure.what.len()).max().unwrap_or(0);
    let mut table = format!("{:width$}  {:>14}", "", "rankpool");
    if with_bare {
        table += &format!("  {:12}  {:>12}  ratio", "", "bare MPI");
    }
    table.push('\n');
    for figure in figures {
        let mut line = format!("{:width$}  {:>14}  {:12}", figure.what, number(figure.value), figure.unit);
        if let (Some(bare), Some(ratio)) = (figure.bare, figure.ratio) {
            line += &format!("  {:>12}  {ratio:5.2}", number(bare));
        }
        table += line.trim_end();
        table.push('\n');
    }
    table
}

/// Three digits that matter at least, and thousands apart.
fn number(value: f64) -> String {
    if value < 100.0 {
        let digits = if value < 1.0 {
            3
        } else if value < 10.0 {
            2
        } else {
            1
        };
        return format!("{value:.digits$}");
    }
    let digits = format!("{value:.0}");
    let mut apart = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            apart.push(',');
        }
        apart.push(digit);
    }
    apart
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_1_at_the_speed_of_bare_messages_and_less_below_for_rates_and_times() {
        let ratio = |unit, value| Figure::new("", "", value, unit).beside(Some(10.0)).ratio;
        assert_eq!(ratio("tasks/s", 10.0), Some(1.0));
        assert_eq!(ratio("tasks/s", 5.0), Some(0.5));
        assert_eq!(ratio("us", 20.0), Some(0.5));
        assert_eq!(Figure::new("", "", 1.0, "us").beside(None).ratio, None);
    }

    #[test]
    fn numbers_are_read_at_a_glance() {
        assert_eq!(
            [0.0123, 1.234, 56.78, 999.9, 1234567.8].map(number).join(" "),
            "0.012 1.23 56.8 1,000 1,234,568"
        );
    }

    #[test]
    fn half_of_the_times_lie_below_the_median() {
        let times: Vec<Duration> = [9, 1, 5, 7, 3].map(Duration::from_secs).into();
        assert_eq!(percentile(&times, 0.5), Duration::from_secs(5));
        assert_eq!(percentile(&times, 0.99), Duration::from_secs(9));
    }
}

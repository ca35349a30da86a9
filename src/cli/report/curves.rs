//! Curves over time, and how the times of the tasks are distributed.

use super::{
    drawing::spread,
    lanes::{Lane, State},
};
use crate::store::TraceRow;

/// Points of a curve: at most so many, and some chunks for each.
const POINTS: usize = 240;
const LEAST_POINTS: usize = 40;
const CHUNKS_FOR_A_POINT: usize = 4;
/// Bars of a histogram, about.
const BARS: f64 = 36.0;

/// What of the slots' time was spent in tasks, and how many tasks ended in a second, in equal parts of the
/// run.
pub(super) struct Curves {
    pub(super) utilisation: Vec<f64>,
    pub(super) rate: Vec<f64>,
}

pub(super) fn of(lanes: &[Lane], wall: f64, slots: f64) -> Curves {
    let chunks: usize = lanes.iter().map(|lane| lane.bars.len()).sum();
    let points = (chunks / CHUNKS_FOR_A_POINT).clamp(LEAST_POINTS, POINTS);
    let (mut utilisation, mut rate) = (vec![0.0; points], vec![0.0; points]);
    for bar in lanes.iter().flat_map(|lane| &lane.bars).filter(|bar| bar.state != State::Lost) {
        // A bar without length has its tasks in one part.
        let (tasks, seconds) = (bar.count as f64, bar.seconds());
        spread(bar, wall, points, |part, time| {
            utilisation[part] += time;
            rate[part] += if seconds > 0.0 { tasks * time / seconds } else { tasks };
        });
    }
    let width = wall / points as f64;
    if width > 0.0 {
        utilisation.iter_mut().for_each(|time| *time = (*time / (width * slots)).min(1.0));
        rate.iter_mut().for_each(|tasks| *tasks /= width);
    }
    Curves { utilisation, rate }
}

/// How many tasks took how long, in parts that grow by the same factor.
#[derive(Debug, PartialEq)]
pub(super) struct Distribution {
    /// Where each part begins, and where the last one ends, in seconds.
    pub(super) edges: Vec<f64>,
    pub(super) tasks: Vec<f64>,
}

/// A chunk tells its whole time, and that of its slowest task; the others count with their mean.
pub(super) fn distribution<'t>(rows: impl Iterator<Item = &'t TraceRow> + Clone) -> Option<Distribution> {
    let times = rows.flat_map(times_of).filter(|(seconds, tasks)| *seconds > 0.0 && *tasks > 0.0);
    let (least, most) = times
        .clone()
        .fold((f64::MAX, 0.0f64), |(least, most), (seconds, _)| (least.min(seconds), most.max(seconds)));
    if most <= 0.0 {
        return None;
    }
    // Whole parts of a decade, so that round numbers are edges.
    let decades = (most / least).log10().max(0.5);
    let parts = [20.0, 10.0, 5.0, 2.0, 1.0].into_iter().find(|parts| parts * decades <= BARS).unwrap_or(1.0);
    let place = |seconds: f64| (seconds.log10() * parts + 1e-9).floor();
    let first = place(least);
    let count = (place(most) - first) as usize + 1;
    let mut tasks = vec![0.0; count];
    for (seconds, number) in times {
        tasks[(place(seconds) - first) as usize] += number;
    }
    let edges = (0..=count).map(|k| 10f64.powf((first + k as f64) / parts)).collect();
    Some(Distribution { edges, tasks })
}

fn times_of(row: &TraceRow) -> [(f64, f64); 2] {
    let others = row.count.saturating_sub(1) as f64;
    let rest = (row.ended - row.started - row.slowest_s).max(0.0);
    let mean = if others > 0.0 { (rest / others).min(row.slowest_s) } else { 0.0 };
    [(row.slowest_s, 1.0), (mean, others)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::report::lanes::Bar;

    fn row(count: u64, seconds: f64, slowest_s: f64) -> TraceRow {
        TraceRow {
            start: 0,
            count,
            rank: 1,
            slot: 0,
            pid: 0,
            host: 0,
            dispatched: 0.0,
            started: 0.0,
            ended: seconds,
            slowest: 0,
            slowest_s,
        }
    }

    #[test]
    fn curves_add_up_to_the_busy_time_and_the_tasks() {
        let bar = |started, ended, count| Bar {
            dispatched: 0.0,
            started,
            ended,
            first: 0,
            count,
            state: State::Done,
        };
        let lanes = [Lane {
            name: String::new(),
            bars: vec![bar(0.0, 4.0, 100), bar(4.0, 9.0, 7), bar(9.0, 9.0, 3)],
        }];
        let curves = of(&lanes, 10.0, 2.0);
        let width = 10.0 / LEAST_POINTS as f64;
        let sum = |values: &[f64]| values.iter().sum::<f64>() * width;
        assert!((sum(&curves.utilisation) - 9.0 / 2.0).abs() < 1e-9);
        assert!((sum(&curves.rate) - 110.0).abs() < 1e-9);
        assert!((curves.rate[0] - 25.0).abs() < 1e-9 && (curves.utilisation[0] - 0.5).abs() < 1e-9);
    }

    #[test]
    fn every_task_is_in_the_distribution_and_the_slowest_in_its_last_part() {
        let rows = [row(1, 2.0, 2.0), row(10, 1.0, 0.55), row(1, 0.001, 0.001)];
        let found = distribution(rows.iter()).unwrap();
        assert_eq!(found.tasks.iter().sum::<f64>(), 12.0);
        assert_eq!(found.edges.len(), found.tasks.len() + 1);
        assert!(found.tasks.len() as f64 <= BARS + 2.0);
        assert!(*found.edges.last().unwrap() >= 2.0 && found.edges[0] <= 0.001 + 1e-9);
        assert_eq!(found.tasks.last(), Some(&1.0));
        assert_eq!(distribution([row(5, 0.0, 0.0)].iter()), None);
    }
}

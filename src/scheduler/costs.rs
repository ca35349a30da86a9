//! What the tasks of a call cost compared with each other, as the user expects it.

/// No task counts for less than this part of the mean: one that is said to cost nothing takes its time all the same.
const LEAST: f64 = 1.0 / 1024.0;

/// The costs of the tasks of a call, in the order in which they are handed out. They are 1 on average.
#[derive(Debug)]
pub(crate) struct Costs {
    /// For each task, what all tasks before it cost; at the end, what all tasks cost.
    sums: Vec<f64>,
}

impl Costs {
    /// Only their ratios count. A cost below 0 counts as 0, one that is not finite as the largest finite one.
    pub(crate) fn new(costs: impl Iterator<Item = f64> + Clone) -> Costs {
        let largest = costs.clone().filter(|cost| cost.is_finite()).fold(0.0, f64::max);
        let part = |cost: f64| match cost {
            _ if largest == 0.0 => 1.0,
            cost if cost.is_finite() => cost.max(0.0) / largest,
            _ => 1.0,
        };
        let (tasks, sum) =
            costs.clone().fold((0.0, 0.0), |(tasks, sum), cost| (tasks + 1.0, sum + part(cost)));
        let mean = sum / tasks;
        let mut sums = vec![0.0];
        sums.extend(costs.scan(0.0, |sum, cost| {
            *sum += (part(cost) / mean).max(LEAST);
            Some(*sum)
        }));
        Costs { sums }
    }

    /// What these tasks cost.
    pub(super) fn of(&self, start: u64, count: u64) -> f64 {
        self.before(start.saturating_add(count)) - self.before(start)
    }

    /// How many tasks from `start` on cost no more than `most`.
    pub(super) fn within(&self, start: u64, most: f64) -> u64 {
        let from = self.before(start);
        // Sums of floating-point numbers are rounded: a difference of two may be a little too large.
        let end = self.sums.partition_point(|sum| sum - from <= most * (1.0 + 1e-9));
        (end as u64).saturating_sub(start + 1)
    }

    fn before(&self, task: u64) -> f64 {
        let last = self.sums.len() - 1;
        self.sums[usize::try_from(task).map_or(last, |task| task.min(last))]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn costs(costs: &[f64]) -> Costs {
        Costs::new(costs.iter().copied())
    }

    #[test]
    fn tasks_cost_what_they_are_beside_one_another() {
        for unit in [1.0, 1e-300, 1e300] {
            let costs = costs(&[5.0 * unit, 2.0 * unit, unit, 0.0]);
            assert_eq!(costs.of(0, 4).round(), 4.0);
            assert!((costs.of(0, 1) / costs.of(2, 1) - 5.0).abs() < 1e-6);
            assert_eq!([1.9, 2.5, 3.6, 9.0].map(|most| costs.within(0, most)), [0, 1, 2, 4]);
            assert_eq!(costs.within(1, 1.6), 3);
        }
    }

    #[test]
    fn costs_that_are_no_numbers_count_as_the_largest_that_is_one() {
        let costs = costs(&[f64::NAN, f64::INFINITY, 4.0, 2.0, -3.0]);
        let one = costs.of(2, 1);
        assert_eq!([0, 1].map(|task| (costs.of(task, 1) / one * 1e6).round()), [1e6; 2]);
        assert!(costs.of(4, 1) < 0.01 * one);
    }

    proptest! {
        #[test]
        fn any_costs_can_be_shared_out(of_each in prop::collection::vec(any::<f64>(), 1..50), most in 0.0f64..99.0) {
            let costs = costs(&of_each);
            let tasks = of_each.len() as u64;
            for start in 0..tasks {
                let count = costs.within(start, most);
                prop_assert!(start + count <= tasks);
                prop_assert!(costs.of(start, count) <= most + 1e-6);
                prop_assert!(start + count == tasks || costs.of(start, count + 1) > most);
                prop_assert!(costs.of(start, 1) > 0.0 && costs.of(start, 1) <= tasks as f64 + 1.0);
            }
            prop_assert_eq!(costs.within(tasks, most), 0);
        }
    }
}

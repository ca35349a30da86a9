//! How many tasks go to a worker at a time.

use std::{fmt, str::FromStr};

use crate::error::ParseError;

/// The chunk policy of a call.
///
/// With P workers (each task thread of a hybrid worker counts as one, and so does each child of a leader, which gets
/// the chunks of all its children at once), N tasks and R tasks not yet handed out:
///
/// | policy | chunk |
/// |---|---|
/// | [`Auto`](Chunk::Auto) | by measurement, see below |
/// | [`Fixed(n)`](Chunk::Fixed) | n |
/// | [`Static`](Chunk::Static) | ceil(N / P); needs a known number of tasks |
/// | [`Guided`](Chunk::Guided) | ceil(R / P) (Polychronopoulos and Kuck, 1987) |
/// | [`Factoring`](Chunk::Factoring) | rounds of P chunks of ceil(R / 2P) each (Hummel, Schonberg and Flynn, 1992) |
///
/// `Auto` sends each worker one task as a probe. From then on, with m the mean time of a task, s rank 0's measured cost
/// of a chunk and w a worker's, `floor = max(1, ceil(max(2Ps, 20(s + w)) / m))` keeps rank 0 below half of its capacity
/// and the overhead below 5 %, and the chunk is `max(floor, ceil(R / 2P))`, or `max(ceil(R / P), ceil(Ps / m))` once R
/// is below floor x P. It is also kept so small that its results are expected to stay below 4 MiB, judged by earlier
/// ones. Where [costs](crate::Call::cost) are known, a share of R is a share of what the R tasks cost, and m is the
/// mean time for a cost of 1.
///
/// Results never depend on it.
///
/// ```
/// use rankpool::Chunk;
/// assert_eq!("auto".parse(), Ok(Chunk::Auto));
/// assert_eq!("25".parse(), Ok(Chunk::Fixed(25)));
/// assert!("0".parse::<Chunk>().is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Chunk {
    /// By measured task times: the default.
    #[default]
    Auto,
    /// Always this many tasks.
    Fixed(u64),
    /// One equal share for each worker.
    Static,
    /// An equal share of what is left.
    Guided,
    /// Rounds of equal chunks, half of what is left in each.
    Factoring,
}

impl From<u64> for Chunk {
    fn from(tasks: u64) -> Chunk {
        Chunk::Fixed(tasks)
    }
}

impl fmt::Display for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Chunk::Auto => f.write_str("auto"),
            Chunk::Fixed(tasks) => write!(f, "{tasks}"),
            Chunk::Static => f.write_str("static"),
            Chunk::Guided => f.write_str("guided"),
            Chunk::Factoring => f.write_str("factoring"),
        }
    }
}

impl FromStr for Chunk {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Chunk, ParseError> {
        let refused = |expected| Err(ParseError::new(text, "chunk", expected));
        match text {
            "auto" => Ok(Chunk::Auto),
            "static" => Ok(Chunk::Static),
            "guided" => Ok(Chunk::Guided),
            "factoring" => Ok(Chunk::Factoring),
            number => match number.parse() {
                Ok(0) => refused("it has at least 1 task"),
                Ok(tasks) => Ok(Chunk::Fixed(tasks)),
                Err(_) => refused("expected auto, static, guided, factoring or a number of tasks"),
            },
        }
    }
}

/// What a policy looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    /// All tasks of the call.
    pub(crate) total: u64,
    /// Tasks not yet handed out.
    pub(crate) left: u64,
    /// Task slots of living workers.
    pub(crate) slots: u64,
    /// The worker has had no chunk of this call yet.
    pub(crate) first_for_worker: bool,
    /// Tasks that the worker runs at a time.
    pub(crate) width: u64,
    /// Mean time of a task, encoding included, in nanoseconds; `None` until one came back.
    pub(crate) mean_nanos: Option<f64>,
    /// Rank 0's time for a chunk.
    pub(crate) cost_nanos: f64,
    /// A worker's time around a chunk.
    pub(crate) overhead_nanos: f64,
}

/// A policy and what it has to remember.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    chunk: Chunk,
    /// Factoring: the chunk of this round.
    share: u64,
    /// Factoring: how many chunks of this round are still to come.
    shares_left: u64,
}

impl Policy {
    pub(crate) fn new(chunk: Chunk) -> Policy {
        Policy { chunk, share: 0, shares_left: 0 }
    }

    /// Tasks of the next chunk, for all that the worker runs at a time: at least 1, at most `view.left`.
    pub(crate) fn next(&mut self, view: &View) -> u64 {
        let slots = view.slots.max(1);
        let size = match self.chunk {
            Chunk::Fixed(tasks) => tasks,
            Chunk::Static => view.total.div_ceil(slots),
            Chunk::Guided => view.left.div_ceil(slots),
            Chunk::Factoring => {
                if self.shares_left == 0 {
                    (self.share, self.shares_left) = (view.left.div_ceil(2 * slots), slots);
                }
                self.shares_left = self.shares_left.saturating_sub(view.width);
                self.share
            }
            Chunk::Auto => auto(view, slots),
        };
        size.saturating_mul(view.width).clamp(1, view.left.max(1))
    }
}

fn auto(view: &View, slots: u64) -> u64 {
    let Some(mean) = view.mean_nanos.filter(|_| !view.first_for_worker) else {
        return 1;
    };
    let worth = (2.0 * slots as f64 * view.cost_nanos).max(20.0 * (view.cost_nanos + view.overhead_nanos));
    let floor = ((worth / mean.max(1.0)).ceil() as u64).max(1);
    // With smaller ones rank 0 would be the limit.
    let least = (slots as f64 * view.cost_nanos / mean.max(1.0)).ceil() as u64;
    if view.left < floor.saturating_mul(slots) {
        view.left.div_ceil(slots).max(least)
    } else {
        floor.max(view.left.div_ceil(2 * slots))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(chunk: Chunk, total: u64, slots: u64, mean_nanos: Option<f64>) -> Vec<u64> {
        let mut policy = Policy::new(chunk);
        let mut left = total;
        let mut sizes = Vec::new();
        while left > 0 {
            let size = policy.next(&View {
                total,
                left,
                slots,
                first_for_worker: (sizes.len() as u64) < slots,
                width: 1,
                mean_nanos,
                cost_nanos: 1_000.0,
                overhead_nanos: 4_000.0,
            });
            sizes.push(size);
            left -= size;
        }
        sizes
    }

    #[test]
    fn fixed_chunks_are_equal_but_for_the_last() {
        assert_eq!(sequence(Chunk::Fixed(7), 20, 3, None), [7, 7, 6]);
        assert_eq!(sequence(Chunk::Fixed(100), 20, 3, None), [20]);
    }

    #[test]
    fn static_gives_each_worker_one_share() {
        assert_eq!(sequence(Chunk::Static, 20, 3, None), [7, 7, 6]);
        assert_eq!(sequence(Chunk::Static, 2, 3, None), [1, 1]);
    }

    #[test]
    fn guided_takes_an_equal_share_of_what_is_left() {
        assert_eq!(sequence(Chunk::Guided, 20, 3, None), [7, 5, 3, 2, 1, 1, 1]);
    }

    #[test]
    fn factoring_halves_what_is_left_each_round() {
        assert_eq!(sequence(Chunk::Factoring, 100, 2, None), [25, 25, 13, 13, 6, 6, 3, 3, 2, 2, 1, 1]);
    }

    #[test]
    fn auto_probes_each_worker_then_halves_down_to_its_floor() {
        // m = 10 us: floor = ceil(max(2*2*1, 20*(1+4)) / 10) = 10 tasks.
        let sizes = sequence(Chunk::Auto, 200, 2, Some(10_000.0));
        assert_eq!(sizes, [1, 1, 50, 37, 28, 21, 16, 12, 10, 10, 7, 4, 2, 1]);
    }

    #[test]
    fn auto_sends_single_tasks_when_they_are_long() {
        let sizes = sequence(Chunk::Auto, 8, 2, Some(1e9));
        assert_eq!(sizes, [1, 1, 2, 1, 1, 1, 1]);
    }

    #[test]
    fn auto_sends_single_tasks_until_a_time_is_known() {
        assert_eq!(sequence(Chunk::Auto, 4, 2, None), [1, 1, 1, 1]);
    }
}

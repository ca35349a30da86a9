//! How long tasks take, as far as it is known. Where their costs are known, a task stands for a cost of 1.

/// With each chunk that returns, the weight of the tasks so far in the mean of their times shrinks by this factor.
const FADING: f64 = 63.0 / 64.0;

/// The mean square of task times over the square of their mean, above which they are uneven: 2 is an exponential
/// distribution, and small samples vary.
const UNEVEN: f64 = 3.0;

/// The same, of the mean times of chunks, below which they take about the same time, and of how many chunks it has to be
/// known.
const EVEN: f64 = 1.1;
const KNOWN: u32 = 8;

#[derive(Clone, Debug)]
pub(super) struct Times {
    /// Nanoseconds that tasks took; what was long ago counts for less.
    busy_nanos: f64,
    /// How many tasks these were.
    tasks: f64,
    /// Squares of the mean times of chunks, each for its tasks; fading as `busy_nanos`.
    squares: f64,
    /// How many chunks have come back.
    chunks: u32,
    /// The mean time of a task in the last chunks; one with longer tasks counts for half.
    recent_nanos: f64,
    /// What a worker spends around a chunk, smoothed.
    overhead_nanos: f64,
}

impl Default for Times {
    fn default() -> Times {
        Times {
            busy_nanos: 0.0,
            tasks: 0.0,
            squares: 0.0,
            chunks: 0,
            recent_nanos: 0.0,
            overhead_nanos: 3_000.0,
        }
    }
}

impl Times {
    /// A chunk came back, with so many tasks run.
    pub(super) fn measured(&mut self, tasks: f64, busy_nanos: u64, overhead_nanos: u64) {
        if tasks > 0.0 {
            let busy = busy_nanos as f64;
            self.chunks = self.chunks.saturating_add(1);
            self.busy_nanos = FADING * self.busy_nanos + busy;
            self.tasks = FADING * self.tasks + tasks;
            let mean = busy / tasks;
            self.squares = FADING * self.squares + busy * mean;
            let weight = if mean > self.recent_nanos { 0.5 } else { 0.125 };
            self.recent_nanos += weight * (mean - self.recent_nanos);
        }
        self.overhead_nanos += (overhead_nanos as f64 - self.overhead_nanos) / 8.0;
    }

    /// The mean time of a task so far, as far as it is remembered.
    pub(super) fn mean_nanos(&self) -> Option<f64> {
        (self.tasks > 0.0).then(|| (self.busy_nanos / self.tasks).max(1.0))
    }

    /// The mean time of a task, or that of the last ones, if that is longer.
    pub(super) fn longest_mean_nanos(&self) -> Option<f64> {
        self.mean_nanos().map(|mean| mean.max(self.recent_nanos))
    }

    /// What a worker spends around a chunk.
    pub(super) fn overhead_nanos(&self) -> f64 {
        self.overhead_nanos
    }

    /// Tasks take about the same time in all chunks, of which there were some.
    pub(super) fn is_even(&self) -> bool {
        let known = self.mean_nanos().filter(|_| self.chunks >= KNOWN);
        known.is_some_and(|mean| self.squares < EVEN * mean * mean * self.tasks)
    }

    /// Some tasks take far longer than others: more so than by an exponential distribution.
    pub(super) fn is_uneven(&self) -> bool {
        self.mean_nanos().is_some_and(|mean| self.squares > UNEVEN * mean * mean * self.tasks)
    }
}

//! What a running task may know about itself.

use std::{cell::Cell, time::Duration};

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

thread_local! {
    static CURRENT: Cell<Option<Task>> = const { Cell::new(None) };
}

/// The task that runs on this thread: its index, its attempt, its random numbers.
///
/// It is the same in every mode. Only [`rank`](Task::rank), [`slot`](Task::slot) and [`attempt`](Task::attempt) depend
/// on who runs the task, so a function that draws its random numbers from [`rng`](Task::rng) gives the same bits at any
/// worker count.
///
/// ```
/// use rankpool::{Executor, Mode, Task};
/// let pool = Executor::builder().mode(Mode::Serial).start()?;
/// let indices = pool.map(|()| Task::current().index(), [(); 3])?;
/// assert_eq!(indices, [0, 1, 2]);
/// # Ok::<(), rankpool::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    index: u64,
    attempt: u16,
    rank: u32,
    slot: u32,
    seed: u64,
    limit: Option<Duration>,
}

impl Task {
    /// The task that runs on this thread.
    ///
    /// # Panics
    /// Outside a task; [`try_current`](Task::try_current) answers `None` there.
    pub fn current() -> Task {
        Task::try_current().expect("Task::current() is for code that rankpool runs as a task")
    }

    /// The task that runs on this thread, if one does.
    pub fn try_current() -> Option<Task> {
        CURRENT.get()
    }

    /// The absolute index of the task in its map, from 0.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> u16 {
        self.attempt
    }

    /// The rank that runs the task.
    pub fn rank(&self) -> u32 {
        self.rank
    }

    /// The slot that runs the task, of those of its rank, from 0: of one task thread, or of one child of a leader. Two
    /// tasks that run at a time on one rank have different ones.
    pub fn slot(&self) -> u32 {
        self.slot
    }

    /// The seed of the call.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// How long the task may run, if its call or `--task-timeout` says so. The worker ends a task that is over it, but for
    /// those of a job that [keeps time itself](crate::Job::KEEPS_TIME).
    pub fn time_limit(&self) -> Option<Duration> {
        self.limit
    }

    /// The task's own random stream, from its start.
    ///
    /// ChaCha with 8 rounds, a counter-based generator (Bernstein, 2008): the key is the seed, the
    /// stream number is the task's index. A second attempt draws the same numbers as the first.
    ///
    /// ```
    /// use rankpool::{Executor, Mode, Task, rand_core::Rng};
    /// let draw = |()| Task::current().rng().next_u64();
    /// let serial = Executor::builder().mode(Mode::Serial).seed(7).start()?.map(draw, [(); 4])?;
    /// let threads = Executor::builder().mode(Mode::Threads).workers(2).seed(7).start()?.map(draw, [(); 4])?;
    /// assert_eq!(serial, threads);
    /// # Ok::<(), rankpool::Error>(())
    /// ```
    ///
    /// It is a generator of `rand_core` 0.10, which is re-exported as [`rankpool::rand_core`](crate::rand_core): it goes
    /// with `rand` 0.10 and `rand_distr` 0.6.
    ///
    /// ```
    /// use rand::distr::{Distribution, Uniform};
    /// use rankpool::{Executor, Mode, Task};
    ///
    /// fn throw(sides: u8) -> u8 {
    ///     let die = Uniform::new_inclusive(1, sides).expect("a die has sides");
    ///     die.sample(&mut Task::current().rng())
    /// }
    ///
    /// let throws = Executor::builder().mode(Mode::Serial).start()?.map(throw, [6; 100])?;
    /// assert!((1..=6).all(|side| throws.contains(&side)));
    /// # Ok::<(), rankpool::Error>(())
    /// ```
    ///
    /// A generator of another version, such as those of `rand` 0.9, takes its seed from it:
    /// `StdRng::seed_from_u64(Task::current().rng().next_u64())` is as reproducible.
    pub fn rng(&self) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(self.index);
        rng
    }

    pub(super) fn new(rank: u32, slot: u32, seed: u64, attempt: u16, limit: Option<Duration>) -> Task {
        Task { index: 0, attempt, rank, slot, seed, limit }
    }

    /// The current task has this limit, and keeps to it itself.
    pub(crate) fn keep_to(limit: Duration) {
        CURRENT.set(CURRENT.get().map(|task| Task { limit: Some(limit), ..task }));
    }

    /// Makes this the current task, as number `index`.
    pub(super) fn enter(mut self, index: u64) {
        self.index = index;
        CURRENT.set(Some(self));
    }

    pub(super) fn leave() {
        CURRENT.set(None);
    }
}

//! How an executor is started.

mod checks;
#[cfg(feature = "mpi")]
mod communicator;
mod start;

use std::{ffi::OsString, fmt::Display, path::Path, str::FromStr, time::Duration};

#[cfg(feature = "cli")]
use crate::fabric::timing::Timing;
use crate::{
    fabric::Wanted,
    launch::{Bind, GpusPerTask, Mode},
    scheduler::Chunk,
    wire::Program,
};

/// Settings of an [`Executor`](crate::Executor). A setting that the mode cannot honour is refused at the start.
///
/// ```
/// use rankpool::{Executor, Mode};
/// let pool = Executor::builder().mode(Mode::Threads).workers(-1).seed(7).start()?;
/// assert_eq!(pool.mode(), Mode::Threads);
/// # Ok::<(), rankpool::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is started until start is called"]
pub struct Builder {
    mode: Mode,
    wanted: Wanted,
    chunk: Chunk,
    seed: u64,
    /// What was wrong with a variable; said at the start, by rank 0 alone.
    unreadable: Option<String>,
}

/// How long a worker may leave rank 0 without an answer, unless the user says otherwise. A process that computes
/// answers within milliseconds, and within a few seconds where its host swaps.
const STALL: Duration = Duration::from_secs(60);

/// No stall is shorter: on a busy host a thread may have to wait as long for its turn.
pub(crate) const SHORTEST_STALL: Duration = Duration::from_secs(1);

impl Default for Builder {
    fn default() -> Builder {
        Builder {
            mode: Mode::Auto,
            wanted: Wanted {
                workers: None,
                threads_per_worker: 1,
                processes_per_worker: None,
                program: None,
                cpus_per_task: 1,
                bind: Bind::None,
                gpus_per_task: GpusPerTask::default(),
                oversubscribe: false,
                #[cfg(feature = "mpi")]
                communicator: None,
                spawn_info: Vec::new(),
                start_timeout: Duration::from_secs(60),
                stall: Some(STALL),
                timing: None,
            },
            chunk: Chunk::Auto,
            seed: 0,
            unreadable: None,
        }
    }
}

/// A setting from the environment, where it is set; an empty variable is not.
fn variable<T: FromStr<Err: Display>>(name: &str, example: &str) -> Result<Option<T>, String> {
    let Some(text) = std::env::var_os(name) else {
        return Ok(None);
    };
    match text.to_str() {
        None => Err(format!("the variable {name} is no text: {}", text.display())),
        Some("") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|error| format!("{name}={text}: {error}{example}")),
    }
}

impl Builder {
    /// Where the workers come from; [`Mode::Auto`] by default.
    pub fn mode(mut self, mode: Mode) -> Builder {
        self.mode = mode;
        self
    }

    /// How many workers: a positive number, or from the end as in joblib: -1 as many as there are
    /// CPUs, -2 one less. In `pool` the count is of slots, and by default all but rank 0's. In
    /// `comm` the launcher decides, in `serial` it is 1.
    pub fn workers(mut self, workers: i64) -> Builder {
        self.wanted.workers = Some(workers);
        self
    }

    /// Task threads in each worker, 1 by default; for `processes`, `comm` and `pool`. With 1, tasks run on the thread
    /// of the worker's process that has called [`start`](Builder::start); with more, that one talks to rank 0. Per-worker
    /// state is per thread.
    pub fn threads_per_worker(mut self, threads: u32) -> Builder {
        self.wanted.threads_per_worker = threads;
        self
    }

    /// Makes each rank a leader, rank 0 included: it runs no task itself, and starts so many child processes of this
    /// program on its node, which run them. A positive number, or from the end as in [`workers`](Builder::workers): -1
    /// as many as there are CPUs that the rank may use. For `comm` and `pool`; also without a launcher, for one node.
    ///
    /// A child that dies, however it does, costs its chunk and is replaced, whatever the MPI library: no rank died. A
    /// task over its [`task_timeout`](crate::Call::task_timeout) is ended with all that it has started. A
    /// [shared value](crate::Executor::map_with) lies once in the memory of a node. One rank a node is enough, as by
    /// `mpiexec --map-by ppr:1:node --bind-to none` or `srun --ntasks-per-node=1`.
    ///
    /// ```
    /// let pool = rankpool::Executor::builder().processes_per_worker(2).start()?;
    /// assert_eq!(pool.workers()[0].children.len(), 2);
    /// assert_eq!(pool.map(|n: u64| n * n, 0..4)?, [0, 1, 4, 9]);
    /// # Ok::<(), rankpool::Error>(())
    /// ```
    pub fn processes_per_worker(mut self, processes: i64) -> Builder {
        self.wanted.processes_per_worker = Some(processes);
        self
    }

    /// How many CPUs a task has, 1 by default, for tasks that start threads or programs of their own. A number of
    /// workers that counts CPUs (-1) then counts groups of so many CPUs, and a worker with T task threads runs only T
    /// divided by this number of tasks at a time.
    pub fn cpus_per_task(mut self, cpus: u32) -> Builder {
        self.wanted.cpus_per_task = cpus;
        self
    }

    /// Binds each child of a leader to a share of the leader's CPUs that no other child has; [`Bind::None`] by default.
    /// Numerical libraries are told to start a thread for each of these CPUs.
    pub fn bind(mut self, bind: Bind) -> Builder {
        self.wanted.bind = bind;
        self
    }

    /// Shows each child of a leader GPUs of its own, out of those that its rank may see: by the variables
    /// `CUDA_VISIBLE_DEVICES`, `ROCR_VISIBLE_DEVICES` and `ZE_AFFINITY_MASK`. More children than the GPUs allow are refused
    /// at the start.
    pub fn gpus_per_task(mut self, gpus: GpusPerTask) -> Builder {
        self.wanted.gpus_per_task = gpus;
        self
    }

    /// The program that is started as a worker in `processes` and `pool`, and as a child of a leader, with these
    /// arguments; by default it is the running program with its own arguments. A program without a slash in its name is
    /// looked for on PATH, for `pool` on the host of the worker.
    ///
    /// It is to start an executor as the running program does, from the same build of the code: it may be that program
    /// itself with other arguments, a wrapper that executes it (`nice`, a profiler, a container), or an interpreter
    /// that loads the same shared library. It is not used where nothing is started; a mode that the user names, and
    /// that starts nothing, refuses it.
    ///
    /// ```no_run
    /// use rankpool::{Executor, Mode};
    /// let itself = std::env::current_exe().unwrap();
    /// let profiled = ["record".into(), "--output".into(), "worker.perf".into(), itself.into_os_string()];
    /// let pool = Executor::builder().mode(Mode::Processes).worker_program("perf", profiled).start()?;
    /// # Ok::<(), rankpool::Error>(())
    /// ```
    pub fn worker_program(
        mut self,
        program: impl AsRef<Path>,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Builder {
        self.wanted.program = Some(Program::new(program.as_ref(), arguments));
        self
    }

    /// Mode `pool`: spawn more workers than there are slots.
    pub fn oversubscribe(mut self, oversubscribe: bool) -> Builder {
        self.wanted.oversubscribe = oversubscribe;
        self
    }

    /// Mode `pool`: an info key for MPI_Comm_spawn, such as `host`, `wdir` or `map_by`
    /// (MPI 4.1, section 11.8.4).
    pub fn spawn_info(mut self, key: impl Into<String>, value: impl Into<String>) -> Builder {
        self.wanted.spawn_info.push((key.into(), value.into()));
        self
    }

    /// How long the workers may take to come up; 60 s by default.
    pub fn start_timeout(mut self, limit: Duration) -> Builder {
        self.wanted.start_timeout = limit.min(Duration::from_secs(365 * 24 * 3600));
        self
    }

    /// How long a worker's process may leave rank 0 without an answer before it is given up as frozen, 60 s by
    /// default and 1 s at least; `None` for ever. In `processes`, `comm` and `pool`.
    ///
    /// A worker that computes answers, however long its tasks take. One that is stopped (SIGSTOP, a debugger)
    /// or waits for a file system that hangs does not: its tasks are run elsewhere, and it is replaced where the
    /// mode can. Time in which rank 0 itself was stopped does not count. A worker whose tasks have a
    /// [`task_timeout`](crate::Call::task_timeout) is given up 5 s after that already, with `None` too.
    ///
    /// ```
    /// use std::time::Duration;
    /// let pool = rankpool::Executor::builder().stall(Duration::from_secs(10));
    /// let never = rankpool::Executor::builder().stall(None);
    /// ```
    pub fn stall(mut self, stall: impl Into<Option<Duration>>) -> Builder {
        self.wanted.stall = stall.into();
        self
    }

    /// The seed of the tasks' random streams; 0 by default. See [`Task::rng`](crate::Task::rng).
    pub fn seed(mut self, seed: u64) -> Builder {
        self.seed = seed;
        self
    }

    /// How many tasks go to a worker at a time, in calls that do not say it by [`Call::chunk`](crate::Call::chunk);
    /// [`Chunk::Auto`] by default.
    pub fn chunk(mut self, chunk: impl Into<Chunk>) -> Builder {
        self.chunk = chunk.into();
        self
    }

    /// Messages are timed before the workers serve.
    #[cfg(feature = "cli")]
    pub(crate) fn timing(mut self, timing: Timing) -> Builder {
        self.wanted.timing = Some(timing);
        self
    }

    /// Takes mode, workers, threads and processes of a worker, chunk and seed from the variables RANKPOOL_MODE,
    /// RANKPOOL_WORKERS, RANKPOOL_THREADS_PER_WORKER, RANKPOOL_PROCESSES_PER_WORKER, RANKPOOL_CHUNK and RANKPOOL_SEED, each
    /// where it is set, in the place of what was set before. So a program can be run in another
    /// way without a change to it. [`start`](Builder::start) refuses a variable that cannot be read; an empty one counts as not
    /// set.
    ///
    /// ```
    /// // RANKPOOL_MODE=processes RANKPOOL_WORKERS=4 cargo run
    /// let pool = rankpool::Executor::builder().from_env().start()?;
    /// assert_eq!(pool.map(|n: u32| n + 1, [1, 2])?, [2, 3]);
    /// # Ok::<(), rankpool::Error>(())
    /// ```
    pub fn from_env(mut self) -> Builder {
        if let Err(text) = self.read_variables() {
            self.unreadable = Some(text);
        }
        self
    }

    fn read_variables(&mut self) -> Result<(), String> {
        self.mode = variable("RANKPOOL_MODE", "")?.unwrap_or(self.mode);
        self.wanted.workers =
            variable("RANKPOOL_WORKERS", ", as in 4, or -1 for all CPUs")?.or(self.wanted.workers);
        self.wanted.threads_per_worker =
            variable("RANKPOOL_THREADS_PER_WORKER", ", as in 4")?.unwrap_or(self.wanted.threads_per_worker);
        self.wanted.processes_per_worker =
            variable("RANKPOOL_PROCESSES_PER_WORKER", ", as in 4, or -1 for all CPUs")?
                .or(self.wanted.processes_per_worker);
        self.chunk = variable("RANKPOOL_CHUNK", "")?.unwrap_or(self.chunk);
        self.seed = variable("RANKPOOL_SEED", ", as in 7")?.unwrap_or(self.seed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::Executor;

    #[test]
    fn a_call_that_sets_no_chunk_has_that_of_its_executor() {
        let with = |chunk| Executor::builder().mode(Mode::Threads).workers(1).chunk(chunk).start();
        let pool = with(Chunk::Static).unwrap();
        let refused = pool.call(|n: u64| n).stream(0..).unwrap_err();
        assert!(refused.to_string().contains("static chunks need to know the number of tasks"), "{refused}");
        assert!(pool.call(|n: u64| n).chunk(1).stream(0..).is_ok());
        assert_eq!(pool.submit(|n: u64| n, 7).unwrap().wait(), Ok(7));
        assert_eq!(with(Chunk::Fixed(0)).unwrap_err().exit_code(), 2);
    }
}

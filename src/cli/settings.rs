//! The flags of every run: flag, then environment variable, then default.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use super::values;
use crate::{
    error::Error,
    executor::{Builder, CallOptions, Executor, SHORTEST_STALL},
    job::{self, Amount, Halt, Keep},
    launch::{self, Bind, GpusPerTask, Mode},
    paths::Named,
    progress::Form,
    scheduler::Chunk,
    task_set::TaskSet,
};

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Show {
    /// A bar on a terminal, lines elsewhere
    Auto,
    /// A bar that redraws itself
    Bar,
    /// A line every few seconds, later ever rarer
    Lines,
    /// Nothing
    None,
}

impl Show {
    /// What is shown; `None` for nothing.
    pub(super) fn form(self) -> Option<Form> {
        match self {
            Show::Auto => Some(Form::that_fits()),
            Show::Bar => Some(Form::Bar),
            Show::Lines => Some(Form::Lines),
            Show::None => None,
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = values::duration(text)?;
    if duration.is_zero() { Err("a time above 0 is needed".into()) } else { Ok(duration) }
}

/// How long a worker may be silent; `None` for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stall(Option<Duration>);

fn stall(text: &str) -> Result<Stall, String> {
    if text == "off" {
        return Ok(Stall(None));
    }
    let stall = duration(text).map_err(|error| format!("{error}, or off"))?;
    if stall < SHORTEST_STALL {
        return Err(format!(
            "workers that are only busy would be given up: {SHORTEST_STALL:?} is the shortest"
        ));
    }
    Ok(Stall(Some(stall)))
}

fn info(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE, as in host=node7")?;
    Ok((key.to_string(), value.to_string()))
}

/// Where the workers come from: flags of every command that starts some.
#[derive(Args, Clone, Debug)]
#[group(skip)]
#[command(next_help_heading = "Run options")]
pub(super) struct Workers {
    /// Where the workers come from: auto, serial, threads, processes, comm or pool
    #[arg(long, env = "RANKPOOL_MODE", default_value = "auto")]
    mode: Mode,
    /// How many workers: a number, or -1 for all CPUs, -2 for all but one
    #[arg(long, short = 'w', env = "RANKPOOL_WORKERS", allow_negative_numbers = true, value_parser = values::from_all)]
    workers: Option<i64>,
    /// Task threads in each worker (processes, comm, pool)
    #[arg(long, value_name = "T", env = "RANKPOOL_THREADS_PER_WORKER", default_value_t = 1, value_parser = values::count::<u32>)]
    threads_per_worker: u32,
    /// CPUs of each task: -1 counts groups of so many CPUs, and a worker runs fewer tasks at a time
    #[arg(long, value_name = "C", env = "RANKPOOL_CPUS_PER_TASK", default_value_t = 1, value_parser = values::count_from_1::<u32>)]
    cpus_per_task: u32,
    /// Child processes of each rank, rank 0 included, which run its tasks: a number, or -1 for all CPUs (comm, pool)
    #[arg(long, value_name = "N", env = "RANKPOOL_PROCESSES_PER_WORKER", allow_negative_numbers = true, value_parser = values::from_all)]
    processes_per_worker: Option<i64>,
    /// The CPUs of each of these children: none (those of its rank), core or numa (a share of its own)
    #[arg(long, value_name = "HOW", env = "RANKPOOL_BIND", default_value = "none")]
    bind: Bind,
    /// The GPUs that each of these children sees: none (those of its rank), a number, or a part as in 0.5
    #[arg(long, value_name = "N", env = "RANKPOOL_GPUS_PER_TASK", default_value = "none")]
    gpus_per_task: GpusPerTask,
    /// Spawn more workers than there are slots (pool)
    #[arg(long, env = "RANKPOOL_OVERSUBSCRIBE", value_parser = clap::builder::FalseyValueParser::new())]
    oversubscribe: bool,
    /// A hint for the spawn, such as host=node7 or map_by=node (pool); can be repeated
    #[arg(long, value_name = "KEY=VALUE", env = "RANKPOOL_SPAWN_INFO", value_parser = info)]
    spawn_info: Vec<(String, String)>,
    /// How long the workers may take to come up
    #[arg(long, value_name = "TIME", env = "RANKPOOL_START_TIMEOUT", default_value = "60s", value_parser = duration)]
    start_timeout: Duration,
    /// How long a worker may not answer before it is given up as frozen, or off (processes, comm, pool)
    #[arg(long, value_name = "TIME", env = "RANKPOOL_STALL", default_value = "60s", value_parser = stall)]
    stall: Stall,
}

impl Workers {
    /// Neither a mode nor a number of workers was asked for.
    pub(super) fn is_left_open(&self) -> bool {
        self.mode == Mode::Auto && self.workers.is_none()
    }

    pub(super) fn builder(&self) -> Builder {
        let mut builder = Executor::builder()
            .mode(self.mode)
            .threads_per_worker(self.threads_per_worker)
            .cpus_per_task(self.cpus_per_task)
            .bind(self.bind)
            .gpus_per_task(self.gpus_per_task)
            .oversubscribe(self.oversubscribe)
            .start_timeout(self.start_timeout)
            .stall(self.stall.0);
        if let Some(workers) = self.workers {
            builder = builder.workers(workers);
        }
        if let Some(processes) = self.processes_per_worker {
            builder = builder.processes_per_worker(processes);
        }
        for (key, value) in &self.spawn_info {
            builder = builder.spawn_info(key, value);
        }
        builder
    }
}

/// The flags, which `rankpool run` and `rankpool doctor` share.
#[derive(Args, Clone, Debug)]
#[group(skip)]
#[command(next_help_heading = "Run options")]
pub(super) struct Settings {
    #[command(flatten)]
    pub(super) workers: Workers,
    /// Tasks sent at a time: auto, a number, static, guided or factoring
    #[arg(long, env = "RANKPOOL_CHUNK", default_value = "auto", value_parser = values::chunk)]
    pub(super) chunk: Chunk,
    /// How often a failed task is tried again
    #[arg(long, value_name = "N", env = "RANKPOOL_RETRIES", default_value_t = 0, value_parser = values::count::<u16>)]
    pub(super) retries: u16,
    /// How long a failed task waits before it is tried again; twice as long each further time
    #[arg(long, value_name = "TIME", env = "RANKPOOL_RETRY_DELAY", value_parser = duration)]
    pub(super) retry_delay: Option<Duration>,
    /// How many tasks may fail, as a number or as in 5%; one more ends the run
    #[arg(long, value_name = "N|N%", env = "RANKPOOL_MAX_FAILURES", value_parser = values::amount)]
    pub(super) max_failures: Option<Amount>,
    /// End the run when so many tasks have ended, and wait for those that run (soon) or not (now), as in soon,fail=1 or
    /// now,success=5%
    #[arg(long, value_name = "WHEN,WHAT=N", env = "RANKPOOL_HALT", conflicts_with = "max_failures", value_parser = values::halt)]
    pub(super) halt: Option<Halt>,
    /// How long one task may run, as in 90s or 5m (processes, comm, pool)
    #[arg(long, value_name = "TIME", env = "RANKPOOL_TASK_TIMEOUT", value_parser = duration)]
    pub(super) task_timeout: Option<Duration>,
    /// The seed of all random numbers
    #[arg(long, env = "RANKPOOL_SEED", default_value_t = 0, value_parser = values::count::<u64>)]
    pub(super) seed: u64,
    /// How progress is shown, on standard error
    #[arg(
        long,
        value_name = "HOW",
        env = "RANKPOOL_PROGRESS",
        default_value = "auto",
        value_enum,
        hide_possible_values = false
    )]
    pub(super) progress: Show,
    /// When the run must have ended, from its start; what Slurm says of its job by default
    #[arg(long, value_name = "TIME", env = "RANKPOOL_WALLTIME", value_parser = duration)]
    pub(super) walltime: Option<Duration>,
    /// How long before the end of its time the run begins nothing more and stops, to be resumed
    #[arg(long, value_name = "TIME", env = "RANKPOOL_GRACE", default_value = "60s", value_parser = duration)]
    pub(super) grace: Duration,
}

impl Settings {
    /// Starts the executor; on a worker this does not return.
    pub(super) fn start(&self) -> Result<Executor, Error> {
        self.workers.builder().seed(self.seed).start()
    }

    /// `streams` are the paths of what standard output and standard error are.
    pub(super) fn job_options(
        &self,
        files: &Files,
        logs: Option<&Named>,
        streams: [PathBuf; 2],
    ) -> job::Options {
        job::Options {
            call: CallOptions {
                chunk: self.chunk,
                retries: self.retries,
                retry_delay: self.retry_delay.unwrap_or_default(),
                task_timeout: self.task_timeout,
                ..CallOptions::default()
            },
            halt: self.halt.or(self.max_failures.map(Halt::beyond)),
            seed: self.seed,
            events: files.events.clone(),
            logs: logs.cloned(),
            streams,
            keep: files.keep(),
        }
    }
}

/// The files that a run leaves, and those that it goes on from.
#[derive(Args, Clone, Debug)]
#[group(skip)]
#[command(next_help_heading = "Results")]
pub(super) struct Files {
    #[command(flatten)]
    keep: Keep,
    /// Append what happens to this file, a JSON object a line
    #[arg(long, value_name = "FILE")]
    events: Option<Named>,
}

impl Files {
    /// What no single flag shows.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.keep.resume && self.keep.output.is_none() && self.keep.journal.is_none() {
            return Err(Error::usage("--resume goes on from a journal: name it by --output or --journal"));
        }
        if self.keep.compress > 0 && self.keep.output.is_none() {
            return Err(Error::usage("--compress is for an output: name it by --output"));
        }
        Ok(())
    }

    /// Where the results go.
    pub(super) fn output(&self) -> Option<&Named> {
        self.keep.output.as_ref()
    }

    /// The tasks that alone are to be run.
    pub(super) fn only(&self) -> Option<&TaskSet> {
        self.keep.only.as_ref()
    }

    /// The run can be resumed.
    pub(super) fn has_journal(&self) -> bool {
        !self.keep.no_journal && (self.keep.output.is_some() || self.keep.journal.is_some())
    }

    /// What it takes for a run to be resumed.
    pub(super) fn what_keeps(&self) -> &'static str {
        let keep = &self.keep;
        if keep.no_journal && (keep.output.is_some() || keep.journal.is_some()) {
            "without --no-journal"
        } else {
            "with an --output or a --journal"
        }
    }

    /// A file that both would write.
    pub(super) fn shared_with(&self, other: &Files) -> Option<&Named> {
        let both = |one: &'_ Option<Named>, other: &Option<Named>| one.is_some() && one == other;
        let output = self.keep.output.as_ref().filter(|_| both(&self.keep.output, &other.keep.output));
        output.or(self.keep.journal.as_ref().filter(|_| both(&self.keep.journal, &other.keep.journal)))
    }

    fn keep(&self) -> Keep {
        // Slurm has put the job back into the queue and started it again: it goes on where it was.
        let again = launch::allocation().is_some_and(|allocation| allocation.restarts > 0);
        let resume = self.keep.resume || (again && self.has_journal());
        Keep { resume, ..self.keep.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_nothing_is_refused() {
        assert_eq!(duration("01:30:00").unwrap(), Duration::from_secs(5400));
        for bad in ["0", "0s", "00:00:00", "-1", "soon"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_stall_is_a_time_of_at_least_a_second_or_off() {
        assert_eq!(stall("60s").unwrap(), Stall(Some(Duration::from_secs(60))));
        assert_eq!(stall("off").unwrap(), Stall(None));
        for bad in ["0", "0.5", "900ms", "of", ""] {
            assert!(stall(bad).is_err(), "{bad}");
        }
    }
}

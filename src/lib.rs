//! Runs a function, or a named job, over many inputs on an MPI cluster, and loses nothing.
//!
//! Rank 0 schedules, the other ranks work; chunks go out, results come back in order. The same
//! program runs serially on a laptop, with threads or processes on one node, as the ranks of an
//! MPI world, and with workers spawned by MPI. See [`Mode`].
//!
//! ```
//! fn area(samples: u64) -> f64 {
//!     samples as f64 / 4.0
//! }
//!
//! fn main() -> Result<(), rankpool::Error> {
//!     let pool = rankpool::Executor::start()?; // a worker serves in here and exits in here
//!     let areas = pool.map(area, [4, 8, 12])?;
//!     assert_eq!(areas, [1.0, 2.0, 3.0]);
//!     pool.shutdown()
//! }
//! ```
//!
//! # The tour
//! - [`Executor`]: start it, then [`map`](Executor::map), [`map_with`](Executor::map_with) a shared value,
//!   [`map_init`](Executor::map_init) with per-worker state, [`map_reduce`](Executor::map_reduce),
//!   [`submit`](Executor::submit).
//! - [`Call`]: the same with options, made by [`Executor::call`]: chunk, retries, time limits, window;
//!   [`stream`](Call::stream) for results as they come, [`cost`](Call::cost) for the longest tasks first,
//!   [`progress`](Call::progress) for a bar.
//! - [`Executor::scatter`]: a value that is sent once, and used by any number of calls.
//! - [`Future`], [`wait`] and [`as_completed`]: single tasks.
//! - [`Task`]: what a task may know about itself, and its own random numbers.
//! - [`TaskError`] and [`Error`]: what went wrong, where. [`main`] ends a program with the exit code that an error
//!   stands for.
//! - [`Block`]: numbers in bulk. [`RawText`]: what a program printed. `Record`: a row whose columns are known only at run time.
//! - [`Job`]: a named, parameterised map, which the command line can run; [`jobs!`] makes a program
//!   of several.
//!
//! # Promises
//! Results come in the order of the items. They have the same bits in every mode, at any worker
//! count and chunk size. A task may run more than once, when a worker dies; its result counts once.
//! A worker that dies costs the time of its chunk and nothing else.
//!
//! # Features
//! `mpi` (modes comm and pool), `hdf5` and `cli`, all on by default. Without them neither an MPI
//! library, nor libclang, nor HDF5 is needed.
#![deny(missing_docs)]
#![warn(clippy::undocumented_unsafe_blocks)]
// Code that only jobs and result files use is compiled without these features, too, and is unused then.
#![cfg_attr(not(all(feature = "cli", feature = "hdf5")), allow(dead_code, unused_imports))]

#[cfg(feature = "cli")]
pub mod cli;
mod error;
mod executor;
mod exit;
mod fabric;
mod function;
mod job;
mod launch;
mod leader;
#[cfg(feature = "mpi")]
mod mpi;
mod paths;
mod progress;
mod rows;
mod say;
mod scheduler;
#[cfg(feature = "cli")]
mod simulate;
mod store;
mod sync;
mod task_set;
mod wire;
mod worker;

/// The programs of README.md and docs/ compile and run.
#[cfg(all(doctest, feature = "cli"))]
mod pages {
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[doc = include_str!("../docs/library.md")]
    struct Library;
    #[doc = include_str!("../docs/own-job.md")]
    struct OwnJob;
}

/// The decoders, for the fuzz targets in `fuzz/`.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz {
    pub use crate::{store::journal::fuzz as journal, wire::fuzz as wire};
}

pub use error::{Error, ErrorKind, FailureKind, ParseError, TaskError};
pub use executor::{
    Builder, Call, Executor, Future, LongestFirst, Progress, Share, Status, Stream, Unordered, WaitFor,
    Waited, as_completed, is_awaited, is_worker, launched_ranks, wait,
};
pub use exit::main;
pub use fabric::WorkerInfo;
pub use job::{Barrier, FailedWith, Job, Plan, Telling, Told};
pub use launch::{Bind, GpusPerTask, Mode, environment_of_programs};
pub use rand_chacha::{self, rand_core};
pub use rows::Rows;
pub use scheduler::Chunk;
#[cfg(feature = "cli")]
pub use serde_json;
#[cfg(feature = "cli")]
pub use wire::Record;
pub use wire::{Block, Child, RawText};
pub use worker::{Function, Returned, Scattered, Task, Tasks};

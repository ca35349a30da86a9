//! Jobs: maps that have a name and parameters, so that the command line can run them.

#[cfg(feature = "cli")]
mod apart;
#[cfg(feature = "cli")]
mod events;
#[cfg(feature = "cli")]
mod gather;
#[cfg(feature = "cli")]
mod keep;
#[cfg(feature = "cli")]
mod parameters;
#[cfg(feature = "cli")]
mod record;
#[cfg(feature = "cli")]
mod report;
#[cfg(feature = "cli")]
mod run;
#[cfg(feature = "cli")]
mod session;

use std::{error::Error as StdError, path::PathBuf};

use serde::{Serialize, de::DeserializeOwned};

#[cfg(feature = "cli")]
pub(crate) use {
    apart::is_name_of_a_log,
    keep::Keep,
    report::Report,
    run::{MaxFailures, Options, Ui, run},
};

use crate::{error::Error, rows::Rows};

/// A named, parameterised map: items, a task for each, and a summary of the results.
///
/// The type is the job's parameters. They are sent once to each worker; [`task`](Job::task) sees
/// them there. With the feature `cli`, a type that is also a `clap::Args` becomes a command:
///
/// ```no_run
/// use rankpool::{Error, Job};
/// use serde::{Deserialize, Serialize};
///
/// /// The cubes of 1..n.
/// #[derive(clap::Args, Serialize, Deserialize)]
/// struct Cubes {
///     /// How many
///     #[arg(long, default_value_t = 10)]
///     n: u64,
/// }
///
/// impl Job for Cubes {
///     const NAME: &'static str = "cubes";
///     type Item = u64;
///     type Output = u64;
///     type Summary = u64;
///
///     fn items(&self) -> Result<impl Iterator<Item = u64>, Error> {
///         Ok(1..self.n)
///     }
///
///     fn task(&self, item: u64) -> Result<u64, Box<dyn std::error::Error>> {
///         Ok(item * item * item)
///     }
///
///     fn summary(&self, results: impl Iterator<Item = (u64, u64)>) -> Result<u64, Error> {
///         Ok(results.map(|(_, cube)| cube).sum())
///     }
/// }
///
/// fn main() -> std::process::ExitCode {
///     rankpool::cli::main(rankpool::jobs![Cubes])
/// }
/// ```
pub trait Job: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The name on the command line.
    const NAME: &'static str;
    /// What a task is given.
    type Item: Serialize + DeserializeOwned + 'static;
    /// What a task gives.
    type Output: Serialize + DeserializeOwned + 'static;
    /// What is told at the end. A struct is shown field by field.
    type Summary: Serialize;

    /// The items, in the order of their tasks. Runs on rank 0; an iterator of known length gives
    /// better progress and chunks.
    ///
    /// # Errors
    /// When the parameters or the input are no good; use [`Error::usage`] for what the user can mend.
    fn items(&self) -> Result<impl Iterator<Item = Self::Item>, Error>;

    /// Runs one task, on a worker. [`Task::current`](crate::Task::current) has its random numbers.
    ///
    /// # Errors
    /// Whatever fails the task; the others go on.
    fn task(&self, item: Self::Item) -> Result<Self::Output, Box<dyn StdError>>;

    /// Files that the job reads or makes by itself, none by default. A run whose `--output`, `--journal` or `--events`
    /// names one of them is refused, with `--force` too.
    fn files(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// How the results lie in the result file, beyond what follows from the type [`Output`](Job::Output):
    /// units and axes. Nothing by default.
    fn rows(&self) -> Rows {
        Rows::new()
    }

    /// Sums the results up, on rank 0: task index and output of each task that ended well, in
    /// order, as they come.
    ///
    /// # Errors
    /// When the summary cannot be made, such as a file that cannot be written.
    fn summary(&self, results: impl Iterator<Item = (u64, Self::Output)>) -> Result<Self::Summary, Error>;
}

//! Jobs: maps that have a name and parameters, so that the command line can run them.
//!
//! | file | subject |
//! |---|---|
//! | `mod.rs` | the trait |
//! | `function.rs` | a job's task as the function of a call; failures that carry an output |
//! | `items.rs` | the items on their way from the job, up to the first error |
//! | `inputs.rs` | the list of the inputs, taken down as the items are pulled |
//! | `run.rs` | a run from items to report: opens, runs, gathers, finishes |
//! | `apart.rs` | no two files of a run are the same file |
//! | `keep.rs` | which files a run keeps, and whether it may; which tasks are left out |
//! | `parameters.rs` | the parameters as they are stored and sent; refuses what JSON or the codec would change |
//! | `gather.rs` | outcomes in the order of the tasks: hashed, into the file, on to `Job::summary` |
//! | `tell.rs` | outcomes on their way to a job that tells of them |
//! | `halt.rs` | when a run ends before all of its tasks have: `--halt`, `--max-failures` |
//! | `in_order.rs` | outcomes of such a run without a journal, put into order as they come |
//! | `session.rs` | a session, watched from its beginning to its end |
//! | `record.rs` | the watch of a session: attempts, trace, events and times; it feeds the journal |
//! | `events.rs` | the lines of `--events`, and the thread that writes them |
//! | `report.rs` | the report, and where the results come from |

#[cfg(feature = "cli")]
mod apart;
#[cfg(feature = "cli")]
mod events;
mod function;
#[cfg(feature = "cli")]
mod gather;
#[cfg(feature = "cli")]
mod halt;
#[cfg(feature = "cli")]
mod in_order;
#[cfg(feature = "cli")]
mod inputs;
#[cfg(feature = "cli")]
mod items;
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
mod tell;

use std::{error::Error as StdError, path::PathBuf};

use serde::{Serialize, de::DeserializeOwned};

#[cfg(feature = "cli")]
pub(crate) use {
    apart::is_name_of_a_log,
    halt::{Amount, Halt},
    keep::Keep,
    report::Report,
    run::{Options, Ui, run},
};
pub use {
    function::FailedWith,
    tell::{Telling, Told},
};

use crate::{error::Error, rows::Rows};

/// What the command line asks of a run, for [`Job::prepare`].
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub(crate) seed: u64,
    pub(crate) keeps_results: bool,
    pub(crate) keeps_journal: bool,
}

impl Plan {
    /// The seed of the run's random numbers.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The results go to a file.
    pub fn keeps_results(&self) -> bool {
        self.keeps_results
    }

    /// The run can be resumed: what its items are must be known before it begins.
    pub fn keeps_journal(&self) -> bool {
        self.keeps_journal
    }
}

/// A place in a run's tasks that is passed when all tasks before it have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Barrier {
    /// The first task behind it.
    pub before: u64,
    /// If a task before it has failed, the run ends here.
    pub check: bool,
}

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
    /// The job's tasks keep to `--task-timeout` by themselves: [`Task::time_limit`](crate::Task::time_limit) says it, in
    /// every mode, and the run does not end a worker for it.
    const KEEPS_TIME: bool = false;
    /// Parameters that may differ when a run is resumed, by their names in serde: they do not change what the tasks
    /// are. Each session uses the values that it is given. None by default.
    const INCIDENTAL: &'static [&'static str] = &[];

    /// Completes the parameters, on rank 0, before the files of the run are opened and before anything is sent: what it
    /// puts into the job is part of what the run is, and the workers see it. Nothing by default.
    ///
    /// # Errors
    /// When the parameters or the input are no good.
    fn prepare(&mut self, plan: &Plan) -> Result<(), Error> {
        let _ = plan;
        Ok(())
    }

    /// The items, in the order of their tasks. Runs on rank 0; an iterator of known length gives
    /// better progress and chunks.
    ///
    /// # Errors
    /// When the parameters or the input are no good; use [`Error::usage`] for what the user can mend.
    fn items(&self) -> Result<impl Iterator<Item = Self::Item>, Error>;

    /// The items of a job that reads them as it goes, and may fail on its way: an error ends the run, and the journal keeps
    /// what is done. It is what a run calls; by default the items of [`items`](Job::items).
    ///
    /// # Errors
    /// As [`items`](Job::items).
    fn try_items(&self) -> Result<impl Iterator<Item = Result<Self::Item, Error>>, Error> {
        Ok(self.items()?.map(Ok))
    }

    /// Where the run waits for all earlier tasks to end before it goes on, in order. Nowhere by default.
    fn barriers(&self) -> Vec<Barrier> {
        Vec::new()
    }

    /// What task `index` is, in a line, for `--dry-run`: the item as JSON by default.
    fn describe(&self, index: u64, item: &Self::Item) -> Option<String> {
        let _ = (index, item);
        None
    }

    /// Runs one task, on a worker. [`Task::current`](crate::Task::current) has its random numbers.
    ///
    /// # Errors
    /// Whatever fails the task; the others go on.
    fn task(&self, item: Self::Item) -> Result<Self::Output, Box<dyn StdError>>;

    /// What `/inputs` of the result file says of an item, where the type [`Item`](Job::Item) does not say it, or not as
    /// it should: a [`Record`](crate::Record) for each item, or none for any. None by default: then the file has the
    /// items themselves, if their type has a place in it, holds no [`Block`](crate::Block) and is not empty.
    #[cfg(feature = "cli")]
    fn input(&self, item: &Self::Item) -> Option<crate::Record> {
        let _ = item;
        None
    }

    /// Is called on a worker just before a task runs, with the tasks that are to run after it (index and item), as far
    /// as they are there. For a job that can give work ahead to a program that it keeps; they may yet be run elsewhere.
    /// Nothing by default.
    fn ahead(&self, upcoming: impl Iterator<Item = (u64, Self::Item)>) {
        let _ = upcoming;
    }

    /// Whether [`tell`](Job::tell) is called. If it is, standard output belongs to the job, and the report does not go
    /// there.
    fn telling(&self) -> Telling {
        Telling::Nothing
    }

    /// Tells the user what became of a task, on rank 0, while the run goes on. Other tasks go on meanwhile, until 64 MiB
    /// of outcomes wait.
    ///
    /// # Errors
    /// When nothing more can be told: the run ends with the error, and the journal keeps what is done.
    fn tell(&self, told: Told<'_, Self::Output>) -> Result<(), Error> {
        let _ = told;
        Ok(())
    }

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

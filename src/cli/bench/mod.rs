//! `rankpool bench`: what tasks cost in this installation, beside bare messages of MPI in the same processes.

mod cpu;
mod figures;
mod journal;
mod tasks;

use std::{path::PathBuf, process::ExitCode, time::Instant};

use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde_json::{Map, json};

use self::{
    figures::{Figure, table},
    tasks::Plan,
};
use super::{
    examples, log, out, program,
    settings::Workers,
    signals,
    variables::{slips, unreadable, with_settings, without_empty},
};
use crate::{
    error::Error,
    fabric::timing::Timing,
    function, launch, progress,
    say::{self, say},
};

#[derive(Args, Clone, Debug)]
struct Flags {
    #[command(flatten)]
    workers: Workers,
    /// Measure for a few seconds only
    #[arg(long, help_heading = "Bench options")]
    quick: bool,
    /// The folder for the journal whose cost is measured; by default the one for temporary files
    #[arg(long, value_name = "DIR", help_heading = "Bench options")]
    folder: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long, help_heading = "Bench options")]
    json: bool,
}

pub(super) fn command() -> Command {
    let command = without_empty(Flags::augment_args(Command::new("bench")));
    command
        .about("Measure what tasks cost here, beside bare messages of MPI")
        .long_about(
            "Measure what tasks cost here: how many go through in a second, how long a result takes, how fast large \
             blocks are, what waiting costs, and a journal. Over MPI, bare messages are timed in the same processes. \
             Start it as the program that it is to tell of: with the same launcher, hosts and workers.",
        )
        .after_help(examples::of(&[
            "PROGRAM bench --quick",
            "mpiexec -n 4 PROGRAM bench",
            "PROGRAM bench --mode processes --workers -1 --json",
        ]))
}

pub(super) fn execute(matches: &ArgMatches) -> Result<ExitCode, Error> {
    start(matches).map_err(|error| with_settings(error, &command()))
}

/// Starts the workers and measures; on rank 0 it ends the program, too.
fn start(matches: &ArgMatches) -> Result<ExitCode, Error> {
    let flags = Flags::from_arg_matches(matches).map_err(unreadable)?;
    let folder = flags.folder.clone().unwrap_or_else(std::env::temp_dir);
    if !folder.is_dir() {
        if !launch::is_first(launch::variable) {
            launch::leave_the_word_to_rank_0();
        }
        return Err(Error::usage(format!("--folder {}: there is no such folder", folder.display())));
    }
    log::start(None, 0)?;
    signals::listen()?;
    let plan = Plan::new(flags.quick);
    let timing = Timing::new(&plan.block_sizes, plan.message_time);
    let began = Instant::now();
    let pool = flags.workers.builder().timing(timing.clone()).start()?;
    // From here on this is rank 0.
    let mut start = began.elapsed();
    launch::look_at_code_file();
    signals::stop_by(pool.stopper());
    slips(&command()).iter().for_each(|slip| progress::print(slip));
    let found = timing.found();
    if let Some(found) = &found {
        start = start.saturating_sub(found.took);
    }
    let bench = tasks::Bench { plan, pool: &pool, found, folder };
    let told = bench.run(start).and_then(|figures| tell(&flags, &bench, &figures));
    let code = match told {
        Ok(()) => launch::EXIT_DONE,
        // The signal has said it, and is ending the workers.
        Err(_) if signals::stopping() => launch::EXIT_STOPPED,
        Err(error) => {
            say(&format!("{}: error: bench: {error}", program()));
            error.exit_code().into()
        }
    };
    pool.exit(code)
}

/// The MPI library, without the words on its build.
#[cfg(feature = "mpi")]
fn library() -> String {
    let version = crate::mpi::library_version();
    version.split(',').next().unwrap_or_default().to_string()
}

#[cfg(not(feature = "mpi"))]
fn library() -> String {
    String::new()
}

const BESIDE: &str = "bare MPI: messages without rankpool, in the same processes, before the workers served;
          for tasks 4 on the way to each worker, else there and back, one at a time
ratio:    1 is as fast as they are
";
const ALONE: &str = "This mode sends nothing by MPI: there are no bare messages to compare with.
";

fn tell(flags: &Flags, bench: &tasks::Bench<'_>, figures: &[Figure]) -> Result<(), Error> {
    let pool = bench.pool;
    let mpi = bench.found.is_some().then(library);
    let here = launch::here();
    say::flush();
    if flags.json {
        let figures: Map<_, _> = figures.iter().map(|figure| (figure.name.clone(), json!(figure))).collect();
        let whole = json!({
            "version": env!("CARGO_PKG_VERSION"), "build": function::build(), "host": here.host, "cpus": here.cpus.len(),
            "mode": pool.mode().to_string(), "workers": pool.num_workers(),
            "threads_per_worker": pool.workers().first().map_or(1, |worker| worker.threads),
            "mpi": mpi, "quick": flags.quick, "figures": figures,
        });
        return out::print(format!("{whole}\n").as_bytes());
    }
    let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let title = format!(
        "mode {}, {}; rank 0 on {} with {}{}",
        pool.mode(),
        count(pool.num_workers(), "worker"),
        here.host,
        count(here.cpus.len(), "CPU"),
        mpi.as_ref().map_or_else(String::new, |library| format!("; {library}")),
    );
    let foot = if mpi.is_some() { BESIDE } else { ALONE };
    out::tell(&format!("{title}\n\n{}\n{foot}", table(figures, mpi.is_some())))
}

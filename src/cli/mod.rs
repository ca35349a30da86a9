//! The command line, for this crate's own jobs and for a user's: [`main`] with [`jobs!`](crate::jobs).

mod again;
mod bench;
mod complete;
mod doctor;
mod dry_run;
mod examples;
#[cfg(feature = "hdf5")]
mod export;
mod failures;
#[cfg(all(test, feature = "hdf5", feature = "mpi"))]
mod flags_table;
mod list;
mod log;
mod out;
mod plot;
#[cfg(feature = "hdf5")]
mod report;
mod run;
mod settings;
#[cfg(all(test, feature = "hdf5", feature = "mpi"))]
mod settings_page;
#[cfg(feature = "hdf5")]
mod show;
#[cfg(feature = "hdf5")]
mod show_journal;
mod signals;
mod simulate;
mod slurm;
mod values;
mod variables;
mod version;
mod walltime;
mod watch;

use std::{
    ffi::OsString,
    io::{self, IsTerminal},
    path::Path,
    process::{self, ExitCode},
};

use clap::{
    ArgMatches, Command,
    error::{ContextKind, ContextValue, ErrorKind as ClapErrorKind},
};

pub use values::{count, count_from_1, duration};

use crate::{
    Job,
    error::Error,
    exit::ended_by,
    launch::{self, program},
    say::{self, say},
};

/// A job as the command line knows it; [`jobs!`](crate::jobs) makes them.
#[derive(Clone, Copy)]
pub struct Entry {
    name: &'static str,
    command: fn() -> Command,
    /// The same with its own flags alone.
    own: fn() -> Command,
    run: fn(&ArgMatches) -> Result<ExitCode, Error>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Entry {
    /// The job `J`; its flags and its description are those of the `clap::Args`.
    pub fn of<J: Job + clap::Args>() -> Entry {
        let own = || J::augment_args(Command::new(J::NAME));
        Entry { name: J::NAME, command: run::command::<J>, own, run: run::execute::<J> }
    }
}

/// The jobs of a program, and what its package says of it; [`jobs!`](crate::jobs) makes them.
#[derive(Clone, Debug)]
pub struct Jobs {
    version: &'static str,
    about: &'static str,
    entries: Vec<Entry>,
    /// Those that are commands by themselves.
    commands: Vec<Entry>,
}

impl Jobs {
    #[doc(hidden)]
    pub fn of_package(version: &'static str, about: &'static str, entries: Vec<Entry>) -> Jobs {
        Jobs { version, about, entries, commands: Vec::new() }
    }

    /// The job `J` as a command by itself, beside `run`: `rankpool exec` instead of `rankpool run exec`.
    #[must_use]
    pub fn command<J: Job + clap::Args>(mut self) -> Jobs {
        self.commands.push(Entry::of::<J>());
        self
    }

    /// The names of all commands that [`main`] knows for these jobs, such as `run` and `doctor`.
    pub fn command_names(&self) -> Vec<String> {
        command(self).get_subcommands().map(|command| command.get_name().to_string()).collect()
    }
}

/// The jobs of a program, for [`cli::main`](crate::cli::main): `jobs![First, Second]`.
///
/// The version and the description in the program's help are those of the package that this is in.
#[macro_export]
macro_rules! jobs {
    ($($job:ty),* $(,)?) => {
        $crate::cli::Jobs::of_package(
            env!("CARGO_PKG_VERSION"),
            env!("CARGO_PKG_DESCRIPTION"),
            vec![$($crate::cli::Entry::of::<$job>()),*],
        )
    };
}

/// The `main` of a program that runs jobs: `list`, `run`, `watch`, `show`, `export`, `report`, `simulate`, `slurm`, `doctor`,
/// `bench`, `completions` and `man`, with every flag, for the given jobs. On a worker it serves and does not return.
///
/// Exit codes: 0 all tasks done, 1 some tasks failed, 2 bad usage, 70 internal error or no worker
/// left, 75 stopped early by a signal or the end of its time. Rank 0 leaves its code in the file that
/// RANKPOOL_CODE_FILE names, too, if it is set: launchers return other codes when a worker was lost.
pub fn main(jobs: Jobs) -> ExitCode {
    launch::watch_exit_code();
    signals::outlive_file_limit();
    let code = command_line(&jobs);
    say::finish();
    code
}

/// Says that this program is no executable of its own: `interpreter`, with the arguments `leading`, loads a shared
/// library that holds this code, and gives it `arguments`. Call it once, before [`main`].
///
/// Workers and other processes of the program are started in the same way, and messages call it `name`.
///
/// ```no_run
/// let given = std::env::args_os().skip(3);
/// rankpool::cli::loaded("python -m sweep", "/usr/bin/python3", ["-m", "sweep"], given);
/// ```
pub fn loaded(
    name: impl Into<String>,
    interpreter: impl AsRef<Path>,
    leading: impl IntoIterator<Item = impl Into<OsString>>,
    arguments: impl IntoIterator<Item = impl Into<OsString>>,
) {
    launch::set_loaded(launch::Loaded {
        name: name.into(),
        interpreter: interpreter.as_ref().to_path_buf(),
        leading: leading.into_iter().map(Into::into).collect(),
        arguments: arguments.into_iter().map(Into::into).collect(),
    });
}

/// Logs warnings to standard error, or what RANKPOOL_LOG asks for, as the commands do: for programs that start executors
/// in a language that has no subscriber of `tracing`. One that is there stays.
///
/// # Errors
/// When RANKPOOL_LOG cannot be read.
#[doc(hidden)]
pub fn start_log() -> Result<(), Error> {
    log::start(None, 0)
}

/// The arguments of this program, without its name; if it was [`loaded`], those that it was given.
pub fn arguments() -> impl Iterator<Item = OsString> {
    launch::arguments().into_iter()
}

/// A command that starts the same build of this program again, to be given arguments.
///
/// # Errors
/// When it is not known where the program lies.
pub fn again() -> io::Result<process::Command> {
    launch::again()
}

fn command_line(jobs: &Jobs) -> ExitCode {
    let called = std::iter::once(program().into()).chain(launch::arguments());
    let matches = match command(jobs).try_get_matches_from(called) {
        Ok(matches) => matches,
        Err(error) => return refuse(error, &command(jobs), jobs),
    };
    let ended = match matches.subcommand() {
        Some((
            "list" | "completions" | "man" | "doctor" | "show" | "export" | "report" | "simulate" | "slurm"
            | "watch",
            matches,
        )) if !launch::is_first(launch::variable) && !doctor::is_probe(matches) => Ok(ExitCode::SUCCESS),
        Some(("bench", matches)) => bench::execute(matches),
        Some(("list", matches)) => list::execute(matches, &jobs.entries),
        Some(("completions", matches)) => complete::completions(matches, command(jobs)),
        Some(("man", matches)) => complete::man(matches, command(jobs)),
        Some(("doctor", matches)) => doctor::execute(matches, &command(jobs)),
        Some(("simulate", matches)) => simulate::execute(matches),
        Some(("slurm", matches)) => slurm::execute(matches, jobs),
        Some(("watch", matches)) => watch::execute(matches),
        #[cfg(feature = "hdf5")]
        Some(("show", matches)) => show::execute(matches),
        #[cfg(feature = "hdf5")]
        Some(("export", matches)) => export::execute(matches),
        #[cfg(feature = "hdf5")]
        Some(("report", matches)) => report::execute(matches),
        Some(("run", matches)) => match matches.subcommand() {
            Some((name, matches)) => jobs.entries.iter().find(|job| job.name == name).map_or_else(
                || Err(Error::usage(format!("there is no job {name}"))),
                |job| (job.run)(matches),
            ),
            None => Err(Error::usage(format!("name a job; `{} list` shows them", program()))),
        },
        Some((name, matches)) => match jobs.commands.iter().find(|job| job.name == name) {
            Some(job) => (job.run)(matches),
            None => Err(Error::usage(format!("there is no command {name}"))),
        },
        None => Err(Error::usage("name a command; --help shows them")),
    };
    ended.unwrap_or_else(|error| ended_by(&error))
}

/// What is said of a program whose package has no description.
const ABOUT: &str = "Runs jobs over many inputs, serially, on one node or on an MPI cluster";

fn command(jobs: &Jobs) -> Command {
    let Jobs { version, about, entries, commands } = jobs;
    let run = Command::new("run")
        .about("Run a job")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand_value_name("JOB")
        .subcommand_help_heading("Jobs")
        .disable_help_subcommand(true)
        .subcommands(entries.iter().map(|job| (job.command)()));
    let job = examples::job(&run);
    let program = Command::new(program())
        .version(*version)
        .about(if about.is_empty() { ABOUT } else { about })
        .subcommand_required(true)
        .arg_required_else_help(true)
        .after_help(examples::of_program(&job))
        .subcommand(list::command())
        .subcommand(run.after_help(examples::of_run(&job)))
        .subcommands(commands.iter().map(|job| (job.command)()))
        .subcommand(slurm::command(&job))
        .subcommand(watch::command())
        .subcommand(simulate::command())
        .subcommand(doctor::command())
        .subcommand(bench::command())
        .subcommand(complete::completions_command())
        .subcommand(complete::man_command());
    #[cfg(feature = "hdf5")]
    let program =
        program.subcommand(show::command()).subcommand(export::command()).subcommand(report::command());
    program
}

/// What was most likely meant by a word that is no command, but a job.
fn meant_job(error: &clap::Error, jobs: &Jobs) -> Option<String> {
    let word = match (error.kind(), error.get(ContextKind::InvalidSubcommand)) {
        (ClapErrorKind::InvalidSubcommand, Some(ContextValue::String(word))) => word.as_str(),
        _ => return None,
    };
    let job = jobs.entries.iter().find(|job| job.name == word)?;
    Some(format!("run {}", job.name))
}

/// Whether the first word that was not expected is part of a program's command line, and the `--` before that is missing.
fn lacks_dashes(error: &clap::Error, command: &Command) -> bool {
    let word = match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ClapErrorKind::UnknownArgument, Some(ContextValue::String(word))) => word,
        _ => return false,
    };
    let mut given = launch::arguments().into_iter().peekable();
    let called = given.peek().and_then(|name| command.find_subcommand(name));
    let takes_a_command =
        called.is_some_and(|called| called.get_positionals().any(|argument| argument.is_last_set()));
    takes_a_command && !word.starts_with('-') && given.all(|word| word != "--")
}

/// Prints help or version, with clap's styles on a terminal.
fn print_styled(text: &clap::builder::StyledStr) -> Result<(), Error> {
    if std::io::stdout().is_terminal() {
        out::print(text.ansi().to_string().as_bytes())
    } else {
        out::print(text.to_string().as_bytes())
    }
}

/// Says what is wrong with the command line, once for all ranks; help and version are no errors.
fn refuse(mut error: clap::Error, command: &Command, jobs: &Jobs) -> ExitCode {
    let first = launch::is_first(launch::variable);
    if !first && error.use_stderr() {
        launch::leave_the_word_to_rank_0();
    }
    let mut code = if error.use_stderr() { launch::EXIT_USAGE } else { launch::EXIT_DONE };
    let meant = meant_job(&error, jobs);
    if meant.is_some() {
        // A command that looks like the word is not what was meant.
        error.remove(ContextKind::SuggestedSubcommand);
    }
    if first {
        let text = if error.kind() == ClapErrorKind::DisplayVersion {
            version::of(jobs.version).into()
        } else {
            error.render()
        };
        if error.use_stderr() {
            say(text.to_string().trim_end());
            if let Some(meant) = meant {
                say(&format!("{}: did you mean `{} {meant}`?", program(), program()));
            }
            if lacks_dashes(&error, command) {
                say(&format!("{}: the program and its arguments stand behind --", program()));
            }
            if let Some(variable) = variables::blamed(&error, command) {
                say(&format!("{}: {variable}", program()));
            }
        } else if let Err(error) = print_styled(&text) {
            say(&format!("{}: error: {error}", program()));
            code = error.exit_code().into();
        }
    }
    launch::leave_code(code);
    ExitCode::from(code as u8)
}

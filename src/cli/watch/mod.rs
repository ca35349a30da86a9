//! `rankpool watch FILE`: a run that goes on, seen from another process. It reads the files that the run writes, and says
//! nothing to it.

mod events;
mod journal;
#[cfg_attr(not(feature = "hdf5"), path = "no_result.rs")]
mod result;
mod screen;
mod state;
#[cfg(test)]
mod tests;
mod text;
pub(super) mod words;

use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    process::ExitCode,
};

use clap::{ArgMatches, Args, Command, FromArgMatches};

use self::{
    events::EventsFile,
    journal::Journal,
    state::{Ended, News, Standing, State},
};
use super::{examples, out};
use crate::cli::variables::unreadable;
use crate::{
    error::Error,
    paths::Named,
    store::{journal::SUFFIX, now},
};

/// How a journal begins, and an HDF5 file.
const JOURNAL: &[u8] = b"RPJ1";
const HDF5: &[u8] = b"\x89HDF";

#[derive(Args, Clone, Debug)]
struct Flags {
    /// The result file of the run, be it there yet or not, its journal, or its file of events
    file: Named,
    /// Print how the run stands, and end; the default where standard output is no terminal
    #[arg(long)]
    once: bool,
}

pub(super) fn command() -> Command {
    Flags::augment_args(Command::new("watch"))
        .about("Watch a run from another terminal: how far it is, what its workers are at, what was lost and what failed")
        .long_about(None)
        .after_help(examples::of(&["PROGRAM watch out.h5", "PROGRAM watch out.h5 --once"]))
}

pub(super) fn execute(matches: &ArgMatches) -> Result<ExitCode, Error> {
    let flags = Flags::from_arg_matches(matches).map_err(unreadable)?;
    let mut watched = Watched::open(&flags.file)?;
    watched.look()?;
    if flags.once || !has_screen() {
        let state = &watched.state;
        out::tell(&text::of(state, state.now(now())))?;
    } else {
        screen::show(&mut watched)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Standard output is a terminal whose cursor can be moved, and keys can be pressed.
fn has_screen() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    io::stdout().is_terminal() && io::stdin().is_terminal() && !dumb
}

/// Where what is known of a run comes from.
enum Source {
    Journal(Journal),
    Events(EventsFile),
    /// The run is over: there is nothing more to be read.
    Result(Named),
}

/// A run that is watched.
struct Watched {
    source: Source,
    state: State,
}

impl Watched {
    /// Finds out what file it is.
    ///
    /// # Errors
    /// When there is nothing that can be watched.
    fn open(file: &Named) -> Result<Watched, Error> {
        let journal = file.beside(SUFFIX);
        let beside = journal.place().exists();
        let source = if !file.site()?.exists {
            if !beside {
                return Err(Error::usage(format!(
                    "{file}: is not there, and neither is its journal {journal}; a run with another --journal, or with \
                     --events alone, is watched by that file"
                )));
            }
            Source::Journal(Journal::open(journal, Some(file.clone()))?)
        } else {
            match beginning(file)? {
                first if first.starts_with(JOURNAL) => {
                    Source::Journal(Journal::open(file.clone(), file.without(SUFFIX))?)
                }
                first if first.starts_with(events::BEGINNING) => Source::Events(EventsFile::open(file)?),
                first if first.starts_with(HDF5) && beside => {
                    Source::Journal(Journal::open(journal, Some(file.clone()))?)
                }
                first if first.starts_with(HDF5) => Source::Result(file.clone()),
                _ => {
                    return Err(Error::usage(format!(
                        "{file}: is no result file, no journal and no file of events"
                    )));
                }
            }
        };
        Ok(Watched { source, state: State::default() })
    }

    /// Reads what has come since the last look.
    ///
    /// # Errors
    /// When it cannot be read.
    fn look(&mut self) -> Result<(), Error> {
        let Watched { source, state } = self;
        match source {
            Source::Journal(journal) => journal.read(now(), &mut |news| state.take(news)),
            Source::Events(file) => {
                file.read(&mut |news| state.take(news))?;
                let standing = match &state.standing {
                    Standing::Ended(_) => None,
                    _ if file.is_written() => Some(Standing::Running),
                    _ => Some(Standing::Stopped),
                };
                standing.into_iter().for_each(|standing| state.take(News::Standing(standing)));
                Ok(())
            }
            // It was read before.
            Source::Result(_) if matches!(state.standing, Standing::Ended(Ended { .. })) => Ok(()),
            Source::Result(path) => result::read(path, &mut |news| state.take(news)),
        }
    }
}

/// The first bytes of a file.
fn beginning(file: &Named) -> Result<Vec<u8>, Error> {
    let mut first = Vec::new();
    let read = File::open(file.place()).and_then(|file| file.take(8).read_to_end(&mut first));
    read.map(|_| first).map_err(|error| Error::usage(format!("{file}: {error}")))
}

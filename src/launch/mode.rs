//! The modes, which one `auto` picks, and how many workers a number asks for.

use std::{fmt, str::FromStr};

use super::Launcher;
use crate::error::{Error, ParseError};

/// Where the workers come from.
///
/// ```
/// use rankpool::Mode;
/// assert_eq!("pool".parse(), Ok(Mode::Pool));
/// assert_eq!(Mode::default(), Mode::Auto);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// `comm` when launched with 2 ranks or more; `pool` when launched with 1 rank and room for 2
    /// workers or more, as far as the launcher tells in the environment (MPICH's does not); `processes` without a
    /// launcher when several workers are asked for; otherwise `serial`.
    #[default]
    Auto,
    /// No workers: rank 0 runs the tasks itself, one at a time. MPI is not touched.
    Serial,
    /// Threads of this process.
    Threads,
    /// Child processes of this program, on this host.
    Processes,
    /// The ranks 1 and up of MPI_COMM_WORLD.
    Comm,
    /// Processes that MPI_Comm_spawn starts.
    Pool,
}

const NAMES: [(Mode, &str); 6] = [
    (Mode::Auto, "auto"),
    (Mode::Serial, "serial"),
    (Mode::Threads, "threads"),
    (Mode::Processes, "processes"),
    (Mode::Comm, "comm"),
    (Mode::Pool, "pool"),
];

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(mode, _)| mode == self).map_or("", |(_, name)| name);
        f.pad(name)
    }
}

impl FromStr for Mode {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Mode, ParseError> {
        let known = NAMES.iter().find(|(_, name)| *name == text).map(|(mode, _)| *mode);
        let expected = "expected auto, serial, threads, processes, comm or pool";
        known.ok_or_else(|| ParseError::new(text, "mode", expected))
    }
}

/// What is to be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// One of the modes that need no MPI.
    Local(Mode),
    /// MPI is to be initialised, for `comm` or `pool`.
    Mpi(Mode),
}

/// The slots with which `auto` picks `pool`: rank 0's, and two for workers.
const SLOTS_OF_A_POOL: u32 = 3;

/// The mode for what the user asked and how the program was launched. `spawns`: the user has said something that
/// only a pool can honour. `leads`: each rank leads children, so that one rank is enough, and needs no MPI.
///
/// A run that will be serial must not start MPI: if a shell under mpiexec starts several programs one after the other,
/// only the first can start MPI.
///
/// # Errors
/// When the launch does not fit the mode.
pub(crate) fn choose(asked: Mode, launcher: Launcher, spawns: bool, leads: bool) -> Result<Choice, Error> {
    match (asked, launcher) {
        (Mode::Auto | Mode::Comm, Launcher::None | Launcher::Mpi { size: 1, .. }) if leads && !spawns => {
            Ok(Choice::Local(Mode::Comm))
        }
        // Rank 0 has decided it.
        (_, Launcher::Spawned) => Ok(Choice::Mpi(Mode::Pool)),
        (Mode::Auto, Launcher::None) => Ok(Choice::Local(Mode::Serial)),
        (Mode::Auto, Launcher::Mpi { size: 1, slots, .. }) => {
            let room = slots.is_some_and(|slots| slots >= SLOTS_OF_A_POOL);
            Ok(if room || spawns { Choice::Mpi(Mode::Pool) } else { Choice::Local(Mode::Serial) })
        }
        (Mode::Auto, Launcher::Mpi { .. }) => Ok(Choice::Mpi(Mode::Comm)),
        (Mode::Comm, Launcher::Mpi { size: 1, .. }) | (Mode::Comm, Launcher::None) => Err(Error::usage(
            "mode comm needs 2 ranks or more: start the program with `mpiexec -n 3` (or `srun --mpi=pmix -n 3`), \
             or use mode pool, processes or threads",
        )),
        (mode, Launcher::Mpi { size, .. }) if size > 1 && mode != Mode::Comm => {
            Err(too_many_ranks(mode, size))
        }
        (Mode::Comm | Mode::Pool, _) => Ok(Choice::Mpi(asked)),
        (mode, _) => Ok(Choice::Local(mode)),
    }
}

/// Several ranks were launched for a mode that has one.
fn too_many_ranks(mode: Mode, size: u32) -> Error {
    Error::usage(format!(
        "mode {mode} is for one rank, and {size} were launched, which would each run everything; use mode comm \
         (or auto) with them, or launch one rank"
    ))
}

/// How many tasks of so many CPUs each fit on `cpus`.
///
/// # Errors
/// When not one does.
pub(crate) fn places(cpus: usize, cpus_per_task: u32) -> Result<usize, Error> {
    match cpus.max(1) / cpus_per_task.max(1) as usize {
        0 => Err(Error::usage(format!(
            "a task is to have {cpus_per_task} CPUs, and only {cpus} may be used here: give fewer by --cpus-per-task \
             (Builder::cpus_per_task)"
        ))),
        places => Ok(places),
    }
}

/// The number of workers that `asked` means when `all` CPUs may be used: as it is, or from the
/// end: -1 is all, -2 all but one.
///
/// # Errors
/// For 0, and for a negative number that leaves none.
pub(crate) fn count_workers(asked: Option<i64>, all: usize) -> Result<usize, Error> {
    match asked {
        None => Ok(all.max(1)),
        Some(0) => {
            Err(Error::usage("0 workers cannot run anything: give a positive number, or -1 for all CPUs"))
        }
        Some(count) if count > 0 => Ok(count as usize),
        Some(count) => match (all as i64).saturating_add(1).saturating_add(count) {
            left if left >= 1 => Ok(left as usize),
            _ => Err(Error::usage(format!("{count} workers leaves none of the {all} CPUs that may be used"))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALONE: Launcher = Launcher::None;

    fn launched(size: u32) -> Launcher {
        Launcher::Mpi { name: "mpiexec", size, rank: 0, slots: None }
    }

    fn chosen(asked: Mode, launcher: Launcher) -> Result<Choice, Error> {
        choose(asked, launcher, false, false)
    }

    #[test]
    fn auto_follows_the_launch() {
        assert_eq!(chosen(Mode::Auto, ALONE).unwrap(), Choice::Local(Mode::Serial));
        assert_eq!(chosen(Mode::Auto, launched(3)).unwrap(), Choice::Mpi(Mode::Comm));
        for (slots, choice) in [
            (None, Choice::Local(Mode::Serial)),
            (Some(2), Choice::Local(Mode::Serial)),
            (Some(3), Choice::Mpi(Mode::Pool)),
        ] {
            let alone = Launcher::Mpi { name: "mpiexec", size: 1, rank: 0, slots };
            assert_eq!(chosen(Mode::Auto, alone).unwrap(), choice, "{slots:?}");
            assert_eq!(choose(Mode::Auto, alone, true, false).unwrap(), Choice::Mpi(Mode::Pool));
        }
    }

    #[test]
    fn one_rank_that_leads_children_needs_no_mpi() {
        for (asked, launcher) in [(Mode::Auto, ALONE), (Mode::Comm, ALONE), (Mode::Auto, launched(1))] {
            assert_eq!(choose(asked, launcher, false, true).unwrap(), Choice::Local(Mode::Comm));
        }
        assert_eq!(choose(Mode::Auto, launched(2), false, true).unwrap(), Choice::Mpi(Mode::Comm));
        assert_eq!(choose(Mode::Pool, launched(1), false, true).unwrap(), Choice::Mpi(Mode::Pool));
    }

    #[test]
    fn a_spawned_process_is_a_worker_whatever_it_believes() {
        for (mode, _) in NAMES {
            assert_eq!(chosen(mode, Launcher::Spawned).unwrap(), Choice::Mpi(Mode::Pool), "{mode}");
        }
    }

    #[test]
    fn a_mode_that_does_not_fit_the_launch_is_refused() {
        assert!(chosen(Mode::Comm, ALONE).is_err());
        assert!(chosen(Mode::Comm, launched(1)).is_err());
        for mode in [Mode::Serial, Mode::Threads, Mode::Processes, Mode::Pool] {
            assert_eq!(chosen(mode, launched(2)).unwrap_err().exit_code(), 2, "{mode}");
            assert!(chosen(mode, launched(1)).is_ok(), "{mode}");
            assert!(chosen(mode, ALONE).is_ok(), "{mode}");
        }
    }

    #[test]
    fn worker_counts_are_as_in_joblib() {
        assert_eq!(count_workers(None, 4).unwrap(), 4);
        assert_eq!(count_workers(Some(7), 4).unwrap(), 7);
        assert_eq!(count_workers(Some(-1), 4).unwrap(), 4);
        assert_eq!(count_workers(Some(-4), 4).unwrap(), 1);
        for bad in [0, -5, i64::MIN] {
            assert!(count_workers(Some(bad), 4).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_mode_comes_back_from_its_name() {
        for (mode, name) in NAMES {
            assert_eq!(name.parse(), Ok(mode));
            assert_eq!(mode.to_string(), name);
        }
    }
}

//! Settings that the mode cannot honour are refused.

use super::{Builder, SHORTEST_STALL};
use crate::{
    error::Error,
    executor::options::EMPTY_CHUNK,
    fabric::MOST_THREADS,
    launch::{self, Bind, Choice, GpusPerTask, Launcher, Mode, choose},
    scheduler::Chunk,
};

impl Builder {
    /// What is to be started.
    ///
    /// # Errors
    /// When a setting cannot be honoured.
    pub(super) fn choose(&self, launcher: Launcher) -> Result<Choice, Error> {
        if let Some(text) = &self.unreadable {
            return Err(Error::usage(text));
        }
        let leads = self.wanted.processes_per_worker.is_some();
        let spawns = self.wanted.workers.is_some() || self.wanted.oversubscribe;
        let several = !matches!(self.wanted.workers, None | Some(1));
        let mode = match (self.mode, launcher) {
            // Several workers without a launcher: those of this host, in processes of their own, as under mpiexec.
            (Mode::Auto, Launcher::None) if several && !leads => Mode::Processes,
            (mode, _) => mode,
        };
        let choice = choose(mode, launcher, spawns, leads)?;
        self.check(choice)?;
        Ok(choice)
    }

    pub(super) fn check(&self, choice: Choice) -> Result<(), Error> {
        let (mode, local) = match choice {
            Choice::Local(mode) => (mode, true),
            Choice::Mpi(mode) => (mode, false),
        };
        let one_thread = matches!(mode, Mode::Serial | Mode::Threads);
        if self.wanted.threads_per_worker == 0 {
            return Err(Error::usage("0 threads in a worker cannot run anything: give 1 or more"));
        }
        if self.chunk == Chunk::Fixed(0) {
            return Err(Error::usage(EMPTY_CHUNK));
        }
        if self.wanted.threads_per_worker as usize > MOST_THREADS {
            return Err(Error::usage(format!(
                "{} threads in a worker are too many: give {MOST_THREADS} at most",
                self.wanted.threads_per_worker
            )));
        }
        if self.wanted.threads_per_worker > 1 && one_thread {
            return Err(Error::usage(format!(
                "mode {mode} has no threads within workers: use more workers in mode threads, or mode processes, \
                 comm or pool"
            )));
        }
        self.check_leaders(mode)?;
        self.check_program()?;
        if let Some(stall) = self.wanted.stall.filter(|stall| *stall < SHORTEST_STALL) {
            return Err(Error::usage(format!(
                "a stall of {stall:?} would give up workers that are only busy: {SHORTEST_STALL:?} is the shortest"
            )));
        }
        if mode == Mode::Serial && !matches!(self.wanted.workers, None | Some(1)) {
            return Err(Error::usage(
                "in mode serial, the one serial rank runs all tasks: for several workers leave the mode out, or use \
                 mode threads or processes",
            ));
        }
        if local && (self.wanted.oversubscribe || !self.wanted.spawn_info.is_empty()) {
            return Err(Error::usage(format!(
                "mode {mode} spawns nothing: oversubscribe and spawn hints are for mode pool"
            )));
        }
        Ok(())
    }

    fn check_program(&self) -> Result<(), Error> {
        let Some(program) = &self.wanted.program else { return Ok(()) };
        let children = self.wanted.processes_per_worker.is_some();
        if !children && matches!(self.mode, Mode::Serial | Mode::Threads | Mode::Comm) {
            return Err(Error::usage(format!(
                "mode {} starts no worker: a worker's program is for modes processes and pool, and for the children \
                 of leaders",
                self.mode
            )));
        }
        // A launcher that cannot start it may wait for it for ever.
        let file = program.file();
        let there = match launch::on_path(file) {
            Some(file) => {
                rustix::fs::access(&file, rustix::fs::Access::EXEC_OK).map_err(|error| error.to_string())
            }
            None => Err("there is no such file".into()),
        };
        there.map_err(|why| Error::usage(format!("{}, the workers' program: {why}", file.display())))
    }

    fn check_leaders(&self, mode: Mode) -> Result<(), Error> {
        let leads = self.wanted.processes_per_worker.is_some();
        if !leads && self.wanted.bind != Bind::None {
            return Err(Error::usage(
                "the children of leaders are bound, and there are none: give --processes-per-worker \
                 (Builder::processes_per_worker), or leave the binding to the launcher",
            ));
        }
        if !leads && self.wanted.gpus_per_task != GpusPerTask::default() {
            return Err(Error::usage(
                "the children of leaders are given GPUs, and there are none: give --processes-per-worker \
                 (Builder::processes_per_worker)",
            ));
        }
        if self.wanted.processes_per_worker == Some(0) {
            return Err(Error::usage(
                "0 processes in a worker cannot run anything: give a positive number, or -1 for all CPUs",
            ));
        }
        if leads && self.wanted.threads_per_worker > 1 {
            return Err(Error::usage(
                "a leader's children run one task each, so that one that dies takes no other task along: give \
                 threads or processes within each worker, not both",
            ));
        }
        if leads && self.mode == Mode::Auto && mode == Mode::Serial {
            return Err(Error::usage(
                "one rank leads its children here and spawns no workers: leave --workers and --oversubscribe \
                 (Builder::workers, oversubscribe) out, or use mode pool",
            ));
        }
        if leads && !matches!(mode, Mode::Comm | Mode::Pool) {
            return Err(Error::usage(format!(
                "mode {mode} has no leaders: processes within workers are for modes comm and pool (or auto); in mode \
                 processes each worker is a process already"
            )));
        }
        Ok(())
    }
}

//! Executors on a part of an MPI world, which the user has initialised.

use mpi::{ffi::MPI_Comm, traits::AsRaw};

use super::Builder;
use crate::{
    error::Error,
    executor::Executor,
    fabric::{
        self,
        guest::{Member, member},
    },
    launch::{self, Choice, Mode},
    leader,
    mpi::Group,
};

impl Builder {
    /// Runs the executor on the ranks of this communicator: its rank 0 schedules, and the others are the workers. The
    /// ranks that are not in it are free for something else, also for an executor on a communicator of their own. Each
    /// rank of it is to call [`start`](Builder::start) or [`start_or_serve`](Builder::start_or_serve), with the same
    /// settings; they may come at any time, and rank 0 waits for the others for the
    /// [`start_timeout`](Builder::start_timeout).
    ///
    /// MPI must have been initialised with MPI_THREAD_MULTIPLE, and whoever has initialised it finalises it. An
    /// executor that is still alive then ends: running tasks are waited for, no others begin, and the workers go on. With
    /// MPICH end it before, since its MPI_Finalize may abort beside a thread that looks for messages.
    /// Messages travel on a duplicate of the communicator, which is freed in the end. The mode is `comm`; a
    /// communicator of one rank runs the tasks on that rank, as in `serial`.
    ///
    /// ```no_run
    /// use mpi::traits::*;
    /// let (universe, _) = mpi::initialize_with_threading(mpi::Threading::Multiple).unwrap();
    /// let world = universe.world();
    /// let half = world.split_by_color(mpi::topology::Color::with_value(world.rank() % 2)).unwrap();
    /// if let Some(pool) = rankpool::Executor::builder().communicator(&half).start_or_serve()? {
    ///     assert_eq!(pool.map(|n: u64| n * n, 0..3)?, [0, 1, 4]); // On the first rank of each half.
    /// }
    /// world.barrier();
    /// # Ok::<(), rankpool::Error>(())
    /// ```
    pub fn communicator(mut self, communicator: &impl AsRaw<Raw = MPI_Comm>) -> Builder {
        self.wanted.communicator = Some(Group::new(communicator.as_raw()));
        self
    }

    /// As [`communicator`](Builder::communicator), by the communicator's Fortran handle: what MPI_Comm_c2f gives, and
    /// mpi4py's `comm.py2f()`. A number that is no handle is refused at the start.
    pub fn communicator_by_handle(mut self, handle: i32) -> Builder {
        self.wanted.communicator = Some(Group::of_handle(handle));
        self
    }

    /// Starts an executor on a [`communicator`](Builder::communicator). On its rank 0 this returns the executor, when all
    /// workers are ready. The other ranks serve inside this call, and go on when the executor was dropped: there it returns
    /// `None`. So it may be called again, on the same communicator or another one.
    ///
    /// [`start`](Builder::start) is for a program that is to end there: its workers wait for all ranks in MPI_Finalize, and
    /// their processes end.
    ///
    /// # Errors
    /// As [`start`](Builder::start), on every rank. [`ErrorKind::Usage`](crate::ErrorKind::Usage) without a communicator,
    /// when MPI was not initialised, or with less than MPI_THREAD_MULTIPLE. On a worker also when rank 0 cannot be reached
    /// any more.
    pub fn start_or_serve(self) -> Result<Option<Executor>, Error> {
        let Some(group) = self.wanted.communicator else {
            return Err(Error::usage(
                "start_or_serve is for an executor on a communicator (Builder::communicator): without one use start, on \
                 whose workers the program ends",
            ));
        };
        let _ = launch::executable();
        if launch::inside_a_task() {
            return Err(Error::usage(IN_A_TASK));
        }
        if launch::is_child() {
            fabric::serve_as_child();
        }
        let builder = self.with_cpus_per_task();
        match builder.member(group)? {
            Member::Worker(worker) => worker.serve(leader::lead).map(|()| None),
            Member::Rank0 => builder.start_as(Choice::Mpi(Mode::Comm)).map(Some),
            Member::Alone => builder.start_alone().map(Some),
        }
    }

    /// Starts an executor on a communicator whose workers end there.
    pub(super) fn start_among(self, group: Group) -> Result<Executor, Error> {
        match self.member(group)? {
            Member::Worker(worker) => worker.serve_to_the_end(leader::lead),
            Member::Rank0 => self.start_as(Choice::Mpi(Mode::Comm)),
            Member::Alone => self.start_alone(),
        }
    }

    /// What this rank is. Each rank finds wrong settings by itself, so that none waits for another.
    fn member(&self, group: Group) -> Result<Member, Error> {
        if let Some(text) = &self.unreadable {
            return Err(Error::usage(text));
        }
        if !matches!(self.mode, Mode::Auto | Mode::Comm) {
            return Err(Error::usage(format!(
                "mode {} has no communicator: on one the mode is comm (or auto)",
                self.mode
            )));
        }
        let member = member(group)?;
        if !matches!(member, Member::Alone) {
            self.check(Choice::Mpi(Mode::Comm))?;
        }
        Ok(member)
    }

    /// One rank runs its tasks itself, or leads children.
    fn start_alone(self) -> Result<Executor, Error> {
        if self.wanted.processes_per_worker.is_some() {
            return self.start_as(Choice::Local(Mode::Comm));
        }
        if self.mode == Mode::Comm {
            return Err(Error::usage(
                "mode comm needs 2 ranks or more, and the executor's communicator has one: give one of more ranks, or \
                 leave the mode to auto",
            ));
        }
        self.start_as(Choice::Local(Mode::Serial))
    }

    fn start_as(self, choice: Choice) -> Result<Executor, Error> {
        self.check(choice)?;
        Ok(self.executor(self.start_session(choice)?, false))
    }
}

/// Why it is refused inside a task.
pub(super) const IN_A_TASK: &str = "a communicator is for the whole program, and this is a task inside one of its workers; \
                                    inside a task use mode serial, threads or processes without one";

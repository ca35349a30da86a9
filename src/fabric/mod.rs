//! How bytes move between rank 0 and its workers; one file a mode.
//!
//! [`threads`] (and serial, which is one thread) passes messages through channels. The other modes
//! have workers that are processes: each has a [`Transport`](transport::Transport) of its own, and
//! [`remote`] adds what they share: the handshake, the lifelines, losses and replacements.
//! [`start`](start()) starts that of a mode. [`timing`] times frames and bare messages of MPI before the workers serve.

#[cfg(feature = "mpi")]
mod comm;
pub(crate) mod files;
mod group;
#[cfg(feature = "mpi")]
pub(crate) mod guest;
mod home;
mod idle;
mod lifeline;
mod limits;
mod node_memory;
mod places;
#[cfg(feature = "mpi")]
mod pool;
#[cfg(feature = "mpi")]
mod port;
pub(crate) mod processes;
pub(crate) mod remote;
mod replacements;
mod start;
mod stream;
mod threads;
pub(crate) mod timing;
mod transport;
#[cfg(feature = "mpi")]
mod trips;
mod wakeups;
mod worker_side;

pub(crate) use idle::{ALERT, Expecting, Idle, Pause, Woken};
pub(crate) use processes::serve_as_child;
pub(crate) use start::{MOST_THREADS, Role, Started, Wanted, set_variables, start};
pub(crate) use wakeups::{run_promptly, sleep_exactly};

use std::time::Duration;

/// Why a worker was lost that is killed for its task.
pub(crate) const GIVEN_UP: &str = "killed, since its task was given up";

use bytes::Bytes;

use crate::{
    error::Error,
    wire::{Child, ResultMessage, Team, TeamNews, ToRank0, ToWorker},
    worker::{Goodbye, Link, LinkError},
};

/// A worker, as [`Executor::workers`](crate::Executor::workers) reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct WorkerInfo {
    /// The rank it goes by: 1 and up, or 0 where rank 0 runs the tasks itself.
    pub rank: u32,
    /// The name of its host.
    pub host: String,
    /// Its process.
    pub pid: u32,
    /// The CPUs that it may run on, by number.
    pub cpus: Vec<u32>,
    /// The tasks that it runs at a time: on so many threads, or in so many children.
    pub threads: u32,
    /// The children of a leader, which run its tasks; empty for others.
    pub children: Vec<Child>,
}

/// A leader, whose children are ready.
pub(crate) trait Leads {
    /// Schedules the children until rank 0 says goodbye; then they have ended.
    ///
    /// # Errors
    /// When rank 0 cannot be reached any more.
    fn serve(self: Box<Self>, link: &mut dyn Link, woken: Woken) -> Result<Goodbye, LinkError>;
}

/// Starts the children of the leader that goes by this rank. The fabric knows of leaders no more than this: they
/// schedule, and stand above it.
pub(crate) type Lead = fn(&Team, u32) -> Result<(Box<dyn Leads>, Vec<Child>), Error>;

/// What a fabric reports.
#[derive(Debug)]
pub(crate) enum News {
    /// A worker will soon be out of work.
    Requested {
        rank: u32,
        /// Children of a leader that have nothing to do, when it had heard of this dispatch.
        free: u32,
        heard: u64,
    },
    Returned {
        rank: u32,
        result: ResultMessage,
    },
    /// A leader has done a part of a chunk, and goes on with the rest.
    Partial {
        rank: u32,
        result: ResultMessage,
    },
    /// A worker joined in the place of one that was lost.
    Joined(WorkerInfo),
    Lost {
        rank: u32,
        reason: String,
    },
    /// Something has happened to the children of a leader.
    Team {
        rank: u32,
        news: TeamNews,
    },
    /// A task is over its time limit; its worker is to be given up.
    Overdue {
        rank: u32,
        dispatch: u64,
        task: u64,
        limit: Duration,
    },
}

impl News {
    /// What a worker at work says.
    fn of(rank: u32, message: ToRank0) -> Option<News> {
        match message {
            ToRank0::Request { free, heard } => Some(News::Requested { rank, free, heard }),
            ToRank0::Team(news) => Some(News::Team { rank, news }),
            ToRank0::Result(result) => Some(News::Returned { rank, result }),
            ToRank0::Partial(result) => Some(News::Partial { rank, result }),
            ToRank0::Hello(_) | ToRank0::Ready(_) => None,
        }
    }
}

/// How the workers are left. With a code, the program ends with it right after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// They are idle: say goodbye, and finalise MPI if nobody was lost.
    Orderly { code: Option<i32> },
    /// They may be stuck: end them at once. Where the launcher would end this process for that, they end together with
    /// it.
    Forced { code: Option<i32> },
}

impl Ending {
    /// What the program ends with.
    fn code(self) -> Option<i32> {
        let (Ending::Orderly { code } | Ending::Forced { code }) = self;
        code
    }

    /// Whether MPI can be finalised: that waits for every process. `lost`: some are gone.
    fn finalises(self, lost: bool) -> bool {
        matches!(self, Ending::Orderly { .. }) && !lost
    }
}

/// Rank 0's end.
pub(crate) trait Fabric {
    /// Moves bytes and appends what happened; true when anything did. Never blocks.
    ///
    /// # Errors
    /// When the fabric as a whole is broken.
    fn poll(&mut self, news: &mut Vec<News>) -> Result<bool, Error>;

    /// Queues a message for a worker; for one that is lost it does nothing.
    fn post(&mut self, rank: u32, message: ToWorker);

    /// Queues a shared value for a worker.
    fn share(&mut self, rank: u32, number: u64, value: &Bytes) {
        self.post(rank, ToWorker::Share { number, value: value.clone() });
    }

    /// Sends what is queued.
    fn flush(&mut self);

    /// Gives a worker up: it is never sent another message, and is replaced where the mode can.
    fn give_up(&mut self, rank: u32);

    /// Whether workers are child processes of this one, which can be killed at any time, and are replaced.
    fn owns_workers(&self) -> bool {
        false
    }

    /// Workers that are being started in the place of lost ones.
    fn expected(&self) -> usize;

    /// Whether the thread that polls is unparked when there is something for it. Otherwise it has to look by itself.
    fn wakes(&self) -> bool {
        false
    }

    /// Whether all workers are threads of this process.
    fn works_here(&self) -> bool {
        false
    }

    /// Leaves the workers.
    ///
    /// # Errors
    /// When they could not be ended in order; they are ended all the same.
    fn end(&mut self, ending: Ending) -> Result<(), Error>;
}

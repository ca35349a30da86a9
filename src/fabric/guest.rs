//! Workers in a program in which another part has initialised MPI. They serve on the thread that calls `start`, and
//! leave MPI as it is for that part.

use super::{Lead, comm, worker_side::Served};
use crate::{
    error::{Error, ErrorKind},
    launch,
    mpi::{Group, World},
    worker::{Goodbye, or_end},
};

/// Serves and ends this process, if it is a worker of a world that another part of the program has initialised. Ranks may
/// come at any time: nobody waits for a worker but rank 0.
///
/// # Errors
/// When that MPI cannot be used.
pub(crate) fn serve_in_world(lead: Lead) -> Result<(), Error> {
    let Some(world) = World::of_others(None)? else { return Ok(()) };
    let parent = world.parent()?;
    if parent.is_none() && (world.size()? == 1 || world.rank()? == 0) {
        return Ok(());
    }
    launch::becomes_worker();
    let served = or_end(|| comm::serve_here(&world, parent, lead));
    comm::leave(world, served)
}

/// What a rank is on a communicator that the user has given.
pub(crate) enum Member {
    /// It is alone, and needs no MPI.
    Alone,
    Rank0,
    Worker(Worker),
}

/// A worker that may go on when it has served.
pub(crate) struct Worker(World);

/// What this process is on `group`.
///
/// # Errors
/// When there is no such communicator, or MPI cannot be used from here.
pub(crate) fn member(group: Group) -> Result<Member, Error> {
    let world = World::of_group(group, None)?;
    Ok(match (world.size()?, world.rank()?) {
        (1, _) => Member::Alone,
        (_, 0) => Member::Rank0,
        _ => Member::Worker(Worker(world)),
    })
}

impl Worker {
    /// Serves until the executor ends.
    ///
    /// # Errors
    /// When rank 0 would not have this worker, or cannot be reached any more.
    pub(crate) fn serve(self, lead: Lead) -> Result<(), Error> {
        launch::becomes_worker();
        let served = or_end(|| comm::serve_here(&self.0, None, lead));
        launch::was_worker();
        match served {
            Ok(Served::Goodbye(Goodbye { .. })) => Ok(()),
            Ok(Served::Refused) => Err(Error::new(
                ErrorKind::Handshake,
                "rank 0 would not have this worker, and says why itself",
            )),
            Err(error) => Err(Error::new(ErrorKind::Internal, error.to_string())),
        }
    }

    /// Serves until the executor ends, and then ends this process.
    pub(crate) fn serve_to_the_end(self, lead: Lead) -> ! {
        launch::becomes_worker();
        let served = or_end(|| comm::serve_here(&self.0, None, lead));
        comm::leave(self.0, served)
    }
}

//! Workers that are the ranks 1 and up of the world: mode `comm`. Also the worker's end of both MPI modes.

use std::{
    collections::VecDeque,
    sync::mpsc,
    time::{Duration, Instant},
};

use super::{
    ALERT, Ending, Expecting, Idle, Lead, Role,
    port::Port,
    transport::{Incoming, Replacement, Transport},
    worker_side::{Served, serve_remote},
};
use crate::{
    error::Error,
    launch::{self, Policy},
    mpi::{Communicator, World},
    say::say,
    wire::{Frame, ToRank0, ToWorker},
    worker::{Goodbye, Link, LinkError},
};

/// How long goodbyes may take to leave.
const FLUSH: Duration = Duration::from_secs(1);

/// Rank 0's end.
pub(crate) struct Comm {
    world: Option<World>,
    port: Port,
}

impl Comm {
    /// Collective: the workers are in [`serve`] meanwhile.
    pub(crate) fn start(world: World) -> Result<Comm, Error> {
        let port = Port::new(world.duplicate()?, None);
        Ok(Comm { world: Some(world), port })
    }
}

impl Transport for Comm {
    fn poll(&mut self, inbox: &mut Vec<(u32, Incoming)>) -> Result<bool, Error> {
        let before = inbox.len();
        self.port.poll(|rank, frame| inbox.push((rank, Incoming::Frame(frame))))?;
        self.port.flush();
        inbox.extend(self.port.gone().map(|(rank, reason)| (rank, Incoming::Gone(reason))));
        Ok(inbox.len() > before)
    }

    fn post(&mut self, rank: u32, frame: Frame) {
        self.port.post(rank, &frame);
    }

    fn flush(&mut self) {
        self.port.flush();
    }

    fn abandon(&mut self, rank: u32) {
        self.port.abandon(rank);
    }

    fn policy(&self) -> Policy {
        launch::policy().without_spawns()
    }

    fn replace(&mut self) -> Result<Replacement, Error> {
        Ok(Replacement::Impossible)
    }

    fn end(&mut self, ending: Ending, lost: bool) -> Result<(), Error> {
        let frees = ending.finalises(lost)
            && ending.code().is_none()
            && self.world.as_ref().is_some_and(World::is_of_others);
        leave_world(&mut self.world, [&mut self.port], ending, lost)?;
        if frees { self.port.free() } else { Ok(()) }
    }
}

/// Waits until what was sent has left.
fn flush(port: &mut Port) {
    let deadline = Instant::now() + FLUSH;
    let mut idle = Idle::new(false);
    // A rank that is gone needs no goodbye.
    while !port.flush() && Instant::now() < deadline {
        idle.pause(Expecting::Soon);
    }
}

/// Rank 0 leaves MPI. MPI_Finalize waits for every process, so it is left out when one is gone; an MPI that another
/// part of the program has initialised is finalised by that part, unless the program ends here.
pub(super) fn leave_world<'p>(
    world: &mut Option<World>,
    ports: impl IntoIterator<Item = &'p mut Port>,
    ending: Ending,
    lost: bool,
) -> Result<(), Error> {
    let finalises = ending.finalises(lost);
    let abort = launch::policy().abort_code(ending.code(), finalises);
    // Nobody waits for what has not left when the run is aborted by force.
    if matches!(ending, Ending::Orderly { .. }) || abort.is_none() {
        ports.into_iter().for_each(flush);
    }
    let Some(world) = world.take() else { return Ok(()) };
    if finalises {
        if !world.is_of_others() || ending.code().is_some() {
            finalise(world)?;
        }
    } else if let Some(code) = abort {
        // The call does not return, and workers that see rank 0 gone would believe that it was killed.
        launch::leave_code(code);
        world.abort(code)
    }
    Ok(())
}

pub(super) fn finalise(world: World) -> Result<(), Error> {
    world.finalise()?;
    launch::mpi_is_finalised();
    Ok(())
}

/// Has the thread that called `start` serve, over the communicator to those who spawned this process, or else a duplicate of
/// the world; then ends the process.
pub(super) fn serve(world: World, parent: Option<Communicator>, lead: Lead, turns_out: &dyn Fn(Role)) -> ! {
    launch::becomes_worker();
    let (service, awaited) = mpsc::channel();
    turns_out(Role::Worker(awaited));
    let communicator =
        parent.map_or_else(|| world.duplicate(), Ok).unwrap_or_else(|error| die(&error.to_string()));
    let served = match world.give(communicator) {
        Ok(given) => {
            let (say, said) = mpsc::channel();
            // The other thread waits for it, and ends this process if it cannot go on.
            let _ = service.send(Box::new(move || drop(say.send(serve_over(given.take(), lead)))));
            said.recv().unwrap_or_else(|_| launch::exit_now(launch::EXIT_INTERNAL))
        }
        Err(communicator) => serve_over(communicator, lead),
    };
    // MPI is to be finalised by the thread that has initialised it.
    leave(world, served)
}

/// Serves as a worker whose rank 0 is at the other end.
fn serve_over(communicator: Communicator, lead: Lead) -> Result<Served, LinkError> {
    MpiLink::new(communicator).serve(lead)
}

/// Has the calling thread serve, where another part of the program has initialised MPI: over the communicator to those who
/// spawned this process, or else a duplicate of `world`.
///
/// # Errors
/// When rank 0 cannot be reached any more.
pub(super) fn serve_here(
    world: &World,
    parent: Option<Communicator>,
    lead: Lead,
) -> Result<Served, LinkError> {
    let spawned = parent.is_some();
    let communicator =
        parent.map_or_else(|| world.duplicate(), Ok).map_err(|error| LinkError(error.to_string()))?;
    let mut link = MpiLink::new(communicator);
    let served = link.serve(lead)?;
    if !spawned && matches!(served, Served::Goodbye(Goodbye { finalise: true })) {
        link.port.free().map_err(|error| LinkError(error.to_string()))?;
    }
    Ok(served)
}

fn die(reason: &str) -> ! {
    say(&format!("rankpool: a worker on {} ends: {reason}", launch::here().host));
    launch::exit_now(launch::EXIT_ORPHANED)
}

/// Ends the process of a worker that has served.
pub(super) fn leave(world: World, served: Result<Served, LinkError>) -> ! {
    match served {
        Ok(Served::Goodbye(Goodbye { finalise: true })) => match finalise(world) {
            Ok(()) => launch::exit(launch::EXIT_DONE),
            Err(error) => die(&error.to_string()),
        },
        Ok(Served::Goodbye(Goodbye { finalise: false })) => launch::exit_now(launch::EXIT_DONE),
        Ok(Served::Refused) => {
            // Rank 0 tells why and ends the run; a launcher must not cut it short for this exit.
            std::thread::sleep(Duration::from_secs(1));
            launch::exit_now(launch::EXIT_INTERNAL)
        }
        Err(error) => die(&error.to_string()),
    }
}

/// A worker's link over MPI.
struct MpiLink {
    port: Port,
    arrived: VecDeque<ToWorker>,
    idle: Idle,
}

impl MpiLink {
    fn new(communicator: Communicator) -> MpiLink {
        MpiLink { port: Port::new(communicator, Some(0)), arrived: VecDeque::new(), idle: Idle::new(false) }
    }

    fn serve(&mut self, lead: Lead) -> Result<Served, LinkError> {
        serve_remote(self, |link, idle| link.idle = idle, Some(lead))
    }

    /// An error when rank 0 cannot be reached any more.
    fn check(&mut self) -> Result<(), LinkError> {
        self.port.gone().next().map_or(Ok(()), |(_, reason)| Err(LinkError(reason)))
    }

    /// Takes in what has come.
    fn listen(&mut self) -> Result<(), LinkError> {
        let mut noise = false;
        let arrived = |_, frame| match ToWorker::unpack(frame) {
            Some(message) => self.arrived.push_back(message),
            None => noise = true,
        };
        self.port.poll(arrived).map_err(|error| LinkError(error.to_string()))?;
        self.check()?;
        if noise { Err(LinkError::of_noise()) } else { Ok(()) }
    }
}

impl Link for MpiLink {
    fn try_recv(&mut self) -> Result<Option<ToWorker>, LinkError> {
        if self.arrived.is_empty() {
            self.listen()?;
        }
        Ok(self.arrived.pop_front())
    }

    fn has_arrived(&self) -> bool {
        !self.arrived.is_empty()
    }

    fn recv(&mut self) -> Result<ToWorker, LinkError> {
        self.flush()?;
        let since = Instant::now();
        loop {
            if let Some(message) = self.try_recv()? {
                return Ok(message);
            }
            let alert = since.elapsed() < ALERT;
            self.idle.pause(if alert { Expecting::Soon } else { Expecting::Nothing });
        }
    }

    fn post(&mut self, message: ToRank0) {
        self.port.post(0, &message.pack());
    }

    fn flush(&mut self) -> Result<(), LinkError> {
        self.idle.reset();
        while !self.port.flush() {
            // A large result leaves while the next large item comes.
            self.listen()?;
            self.idle.pause(Expecting::Soon);
        }
        self.check()
    }
}

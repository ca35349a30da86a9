//! Workers that are the ranks 1 and up of the world: mode `comm`. Also the worker's end of both MPI modes.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{
    Ending, Idle,
    port::Port,
    remote::{Incoming, Transport},
    worker_side::{Served, serve_remote},
};
use crate::{
    error::Error,
    launch,
    mpi::World,
    wire::Frame,
    worker::{Link, LinkError},
};

/// How long goodbyes may take to leave.
const FLUSH: Duration = Duration::from_secs(5);

/// A worker stays responsive for this long after its last chunk; then it sleeps longer.
const ALERT: Duration = Duration::from_millis(100);

/// Rank 0's end.
pub(crate) struct Comm {
    world: Option<World>,
    port: Port,
    frames: Vec<(u32, Frame)>,
    broken: Vec<(u32, String)>,
}

impl Comm {
    /// Collective: the workers are in [`serve`] meanwhile.
    pub(crate) fn start(world: World) -> Result<Comm, Error> {
        let port = Port::new(world.duplicate()?, None);
        watch_exit_code();
        Ok(Comm { world: Some(world), port, frames: Vec::new(), broken: Vec::new() })
    }
}

/// Whether this mpiexec lets a run live on when one of its processes dies. Open MPI 4 hands its
/// `--enable-recovery` down in the environment.
pub(super) fn launcher_survives_losses() -> bool {
    std::env::var("OMPI_MCA_orte_enable_recovery").is_ok_and(|value| matches!(value.as_str(), "1" | "true"))
}

impl Transport for Comm {
    fn poll(&mut self, inbox: &mut Vec<(u32, Incoming)>) -> Result<bool, Error> {
        let before = inbox.len();
        self.port.poll(&mut self.frames)?;
        self.port.flush()?;
        inbox.extend(self.frames.drain(..).map(|(rank, frame)| (rank, Incoming::Frame(frame))));
        inbox.extend(self.broken.drain(..).map(|(rank, reason)| (rank, Incoming::Gone(reason))));
        Ok(inbox.len() > before)
    }

    fn send(&mut self, rank: u32, frame: Frame) {
        if let Err(error) = self.port.send(rank, &frame) {
            self.broken.push((rank, error.to_string()));
        }
    }

    fn abandon(&mut self, rank: u32) {
        self.port.abandon(rank);
    }

    fn aborts(&self, ending: Ending, lost: bool) -> bool {
        ends_by_abort(ending, lost)
    }

    fn survives_losses(&self) -> bool {
        launcher_survives_losses()
    }

    fn replace(&mut self) -> Result<Option<u32>, Error> {
        Ok(None)
    }

    fn end(&mut self, ending: Ending, lost: bool) -> Result<(), Error> {
        flush(&mut self.port)?;
        leave_world(&mut self.world, ending, lost)
    }
}

/// Waits until what was sent has left.
pub(super) fn flush(port: &mut Port) -> Result<(), Error> {
    let deadline = Instant::now() + FLUSH;
    let mut idle = Idle::new(false);
    while !port.flush()? && Instant::now() < deadline {
        idle.pause(true);
    }
    Ok(())
}

/// Whether MPI_Abort ends the run: where the launcher ends a run for a lost worker, by it alone the
/// run's exit code gets through when workers are stuck, or when one was lost.
pub(super) fn ends_by_abort(ending: Ending, lost: bool) -> bool {
    let code = match ending {
        Ending::Forced { code } => code,
        Ending::Orderly { code } => code.filter(|_| lost),
    };
    code.is_some() && !launcher_survives_losses()
}

/// Rank 0 leaves MPI. MPI_Finalize waits for every process, so it is left out when one is gone.
pub(super) fn leave_world(world: &mut Option<World>, ending: Ending, lost: bool) -> Result<(), Error> {
    let Some(world) = world.take() else { return Ok(()) };
    let (Ending::Orderly { code } | Ending::Forced { code }) = ending;
    let abort = ends_by_abort(ending, lost);
    match (ending, code) {
        (Ending::Orderly { .. }, _) if !lost => world.finalise()?,
        (_, Some(code)) if abort => world.abort(code),
        _ => {}
    }
    if code.is_some_and(|code| code != 0) && launcher_survives_losses() {
        fail_launcher();
    }
    Ok(())
}

/// Makes the code of a main that fails, or panics, known to a launcher that would return 0.
pub(super) fn watch_exit_code() {
    if launcher_survives_losses() {
        launch::on_failure(fail_launcher);
    }
}

/// Open MPI 4's `mpiexec --enable-recovery` returns 0 whatever its ranks return. Asked to end, it
/// returns 1: not rank 0's code, but no false success. It is asked where it is rank 0's parent.
fn fail_launcher() {
    let Some(parent) = rustix::process::getppid() else { return };
    let name = std::fs::read_to_string(format!("/proc/{}/comm", parent.as_raw_nonzero())).unwrap_or_default();
    if ["mpiexec", "mpirun", "orterun"].contains(&name.trim()) {
        // If it has ended by itself, there is nothing to ask.
        let _ = rustix::process::kill_process(parent, rustix::process::Signal::TERM);
    } else {
        tracing::warn!(
            "this mpiexec was started with --enable-recovery and will return 0, though the run failed"
        );
    }
}

/// Serves as a worker rank of the world and ends the process.
pub(crate) fn serve(world: World) -> ! {
    let port = match world.duplicate() {
        Ok(communicator) => Port::new(communicator, Some(0)),
        Err(error) => die(&error.to_string()),
    };
    serve_on(world, port)
}

fn die(reason: &str) -> ! {
    eprintln!("rankpool: a worker on {} ends: {reason}", launch::here().host);
    launch::exit_now(launch::EXIT_ORPHANED)
}

/// Serves as a worker whose rank 0 is at the other end of `port`, and ends the process.
pub(super) fn serve_on(world: World, port: Port) -> ! {
    let mut link = MpiLink { port, arrived: VecDeque::new(), frames: Vec::new(), idle: Idle::new(false) };
    match serve_remote(&mut link, |link, spin| link.idle = Idle::new(spin)) {
        Ok(Served::Goodbye { finalize: true }) => match world.finalise() {
            Ok(()) => launch::exit_now(launch::EXIT_DONE),
            Err(error) => die(&error.to_string()),
        },
        Ok(Served::Goodbye { finalize: false }) => launch::exit_now(launch::EXIT_DONE),
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
    arrived: VecDeque<Frame>,
    frames: Vec<(u32, Frame)>,
    idle: Idle,
}

fn broken(error: Error) -> LinkError {
    LinkError(error.to_string())
}

impl Link for MpiLink {
    fn try_recv(&mut self) -> Result<Option<Frame>, LinkError> {
        if self.arrived.is_empty() {
            self.port.poll(&mut self.frames).map_err(broken)?;
            self.arrived.extend(self.frames.drain(..).map(|(_, frame)| frame));
        }
        Ok(self.arrived.pop_front())
    }

    fn recv(&mut self) -> Result<Frame, LinkError> {
        self.idle.reset();
        let since = Instant::now();
        loop {
            if let Some(frame) = self.try_recv()? {
                return Ok(frame);
            }
            self.idle.pause(since.elapsed() < ALERT);
        }
    }

    fn send(&mut self, frame: Frame) -> Result<(), LinkError> {
        self.port.send(0, &frame).map_err(broken)?;
        self.idle.reset();
        while !self.port.flush().map_err(broken)? {
            self.idle.pause(true);
        }
        Ok(())
    }
}

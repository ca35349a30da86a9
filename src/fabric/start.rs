//! How a fabric is started, and what this process turns out to be meanwhile: rank 0, or a worker, which serves and ends
//! in here.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

#[cfg(feature = "mpi")]
use super::{
    Ending,
    comm::{self, Comm},
    pool::{self, Pool},
};
use super::{
    Fabric, Lead, WorkerInfo, files,
    home::Home,
    processes::{Processes, Seat},
    remote::{Remote, Settings},
    threads,
    timing::Timing,
    transport::Transport,
};
use crate::{
    error::Error,
    launch::{self, Bind, Choice, GpusPerTask, Mode, count_workers, places},
    wire::{Place, Program, Team},
};
#[cfg(feature = "mpi")]
use crate::{
    error::ErrorKind,
    launch::Launcher,
    mpi::{self, Group, World},
};

/// Task threads of one process. Each takes about four of the 65,530 mappings that Linux gives a process by default,
/// and one for which none is left ends the process.
pub(crate) const MOST_THREADS: usize = 1 << 12;

/// What the user wants of a fabric, whatever the mode.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// How many workers, as in [`count_workers`].
    pub(crate) workers: Option<i64>,
    pub(crate) threads_per_worker: u32,
    /// Each rank leads so many children, as in [`count_workers`].
    pub(crate) processes_per_worker: Option<i64>,
    /// What a worker that is started is, if it is not this program.
    pub(crate) program: Option<Program>,
    /// How many CPUs a task has.
    pub(crate) cpus_per_task: u32,
    /// How children are bound to CPUs.
    pub(crate) bind: Bind,
    /// How many GPUs each child has.
    pub(crate) gpus_per_task: GpusPerTask,
    /// More workers may be spawned than there are slots.
    pub(crate) oversubscribe: bool,
    /// The ranks of this communicator take part, in the place of the world.
    #[cfg(feature = "mpi")]
    pub(crate) communicator: Option<Group>,
    /// Hints for MPI_Comm_spawn.
    pub(crate) spawn_info: Vec<(String, String)>,
    /// How long the workers may take to come up.
    pub(crate) start_timeout: Duration,
    /// How long a worker may leave rank 0 without an answer.
    pub(crate) stall: Option<Duration>,
    /// How messages are timed before the workers serve.
    pub(crate) timing: Option<Timing>,
}

/// A started fabric: its end of the workers, the workers, and whether waiting may spin.
pub(crate) struct Started {
    pub(crate) fabric: Box<dyn Fabric>,
    pub(crate) workers: Vec<WorkerInfo>,
    pub(crate) spin: bool,
    pub(crate) mode: Mode,
}

/// Serves as a worker, and tells the thread that has MPI how that has ended.
pub(crate) type Service = Box<dyn FnOnce() + Send>;

/// What this process turns out to be while it starts.
#[cfg_attr(not(feature = "mpi"), expect(dead_code, reason = "without MPI it is known before"))]
pub(crate) enum Role {
    /// A worker: the thread that called `start` is to run this service once it comes, and then to wait for the end of
    /// the process. None comes where the other thread serves by itself.
    Worker(mpsc::Receiver<Service>),
    /// Rank 0, which begins to spawn so many workers.
    Spawner { workers: u32 },
}

/// Sets what MPI and numerical libraries are told by the environment. To be called before there is another thread.
#[cfg_attr(not(feature = "mpi"), expect(unused_variables, reason = "only MPI reads it"))]
pub(crate) fn set_variables(choice: Choice, wanted: &Wanted) {
    #[cfg(feature = "mpi")]
    if let Choice::Mpi(_) = choice {
        if wanted.oversubscribe {
            pool::allow_oversubscription();
        }
        // A leader tells its children, each by the child's CPUs. What the leader had in its own environment, they would
        // take for the user's.
        if wanted.processes_per_worker.is_none()
            && wanted.communicator.is_none()
            && let Ok(Launcher::Mpi { rank: rank @ 1.., .. }) = launch::detect(launch::variable)
            && let Some(workers) = launch::workers_here(rank, launch::variable)
        {
            launch::limit_library_threads(workers * wanted.threads_per_worker);
        }
    }
}

/// Starts the fabric of this choice; returns when its workers are ready.
///
/// `lead` starts the children of a leader. `turns_out` is told when this process turns out to be a worker, before it
/// serves and ends here, and when it begins to spawn.
///
/// # Errors
/// When what is wanted cannot be had in this mode, and when the workers do not come up.
pub(crate) fn start(
    choice: Choice,
    wanted: Wanted,
    lead: Lead,
    turns_out: &dyn Fn(Role),
) -> Result<Started, Error> {
    match choice {
        // One rank, which leads the children of its node, needs no MPI.
        Choice::Local(Mode::Comm) => wanted.lead_here_too(None, lead),
        Choice::Local(Mode::Serial) => start_threads(1, Mode::Serial),
        Choice::Local(Mode::Processes) => start_processes(&wanted),
        Choice::Local(_) => {
            let count = count_workers(wanted.workers, places(launch::cpu_limit(), wanted.cpus_per_task)?)?;
            if count > MOST_THREADS {
                return Err(Error::usage(format!(
                    "{count} workers are too many for one process: give {MOST_THREADS} at most"
                )));
            }
            start_threads(count, Mode::Threads)
        }
        Choice::Mpi(mode) => start_mpi(mode, wanted, lead, turns_out),
    }
}

fn start_threads(count: usize, mode: Mode) -> Result<Started, Error> {
    let (fabric, workers) = threads::start(count, u32::from(mode == Mode::Threads))?;
    Ok(Started { fabric: Box::new(fabric), workers, spin: count < launch::cpu_limit(), mode })
}

fn start_processes(wanted: &Wanted) -> Result<Started, Error> {
    let settings = wanted.settings();
    let count = count_workers(wanted.workers, places(launch::cpu_limit(), wanted.cpus_per_task)?)?;
    // A socket pair's end and a lifeline for each.
    files::make_room(count, 2, true)?;
    let tasks = (count as u32).saturating_mul(wanted.threads_per_worker);
    let processes = Processes::start(wanted.program.clone(), vec![Seat::default(); count], tasks)?;
    let ranks = processes.ranks();
    let (started, _) = take_in(processes, ranks, settings, Mode::Processes)?;
    Ok(started)
}

/// Takes in the workers `ranks`, which were started; also tells the places of this process among the leaders of its host that
/// share CPUs, and GPUs.
fn take_in(
    transport: impl Transport + 'static,
    ranks: impl IntoIterator<Item = u32>,
    settings: Settings,
    mode: Mode,
) -> Result<(Started, (Place, Place)), Error> {
    let (remote, workers) = Remote::start(transport, ranks, settings)?;
    let places = remote.places_of_rank_0();
    Ok((Started { spin: remote.spin(), fabric: Box::new(remote), workers, mode }, places))
}

impl Wanted {
    /// The first setting that is not that of the workers `there`, which were started for `other`.
    pub(crate) fn differs_from(&self, other: &Wanted, mode: Mode, there: usize) -> Option<&'static str> {
        let are_there = match self.workers {
            Some(workers) => usize::try_from(workers).is_ok_and(|workers| workers == there),
            // Their number is the launcher's.
            None => matches!(mode, Mode::Comm),
        };
        let same = [
            ("the number of workers", are_there || self.workers == other.workers),
            ("the number of threads in each", self.threads_per_worker == other.threads_per_worker),
            ("the number of processes in each", self.processes_per_worker == other.processes_per_worker),
            ("the workers' program", self.program == other.program),
            ("the number of CPUs of a task", self.cpus_per_task == other.cpus_per_task),
            ("the binding", self.bind == other.bind),
            ("the number of GPUs of a task", self.gpus_per_task == other.gpus_per_task),
            ("the oversubscription", self.oversubscribe == other.oversubscribe),
            ("a spawn hint", self.spawn_info == other.spawn_info),
            ("the stall", self.stall == other.stall),
            ("the timing", self.timing.is_none()),
        ];
        same.into_iter().find_map(|(setting, same)| (!same).then_some(setting))
    }

    /// For workers whose start begins now.
    fn settings(&self) -> Settings {
        Settings {
            threads: self.threads_per_worker,
            team: self.team(),
            children_of: None,
            surroundings: None,
            deadline: Instant::now() + self.start_timeout,
            start_timeout: self.start_timeout,
            stall: self.stall,
        }
    }

    /// What leaders are told, but for their places.
    fn team(&self) -> Option<Team> {
        self.processes_per_worker.map(|processes| Team {
            program: self.program.clone(),
            processes,
            cpus_per_task: self.cpus_per_task,
            bind: self.bind.to_string(),
            gpus: self.gpus_per_task.to_string(),
            cpus: Place::default(),
            gpu: Place::default(),
            start_timeout: self.start_timeout,
            stall: self.stall,
        })
    }

    /// Has this process lead a team as well, where ranks do.
    fn lead_here_too(&self, others: Option<(Started, (Place, Place))>, lead: Lead) -> Result<Started, Error> {
        let (others, places) = others.unzip();
        let (cpus, gpu) = places.unwrap_or_default();
        let Some(team) = self.team() else {
            return others.ok_or_else(|| Error::usage("mode comm needs 2 ranks or more, or children of one"));
        };
        let (mode, mut workers, others) = match others {
            Some(Started { mode, workers, fabric, .. }) => (mode, workers, Some(fabric)),
            None => (Mode::Comm, Vec::new(), None),
        };
        let (home, info) = Home::start(Team { cpus, gpu, ..team }, lead, others)?;
        workers.insert(0, info);
        // The children have the CPUs.
        Ok(Started { fabric: Box::new(home), workers, spin: false, mode })
    }

    #[cfg(feature = "mpi")]
    fn has_hint(&self, is_it: impl Fn(&str) -> bool) -> bool {
        self.spawn_info.iter().any(|(key, _)| is_it(key))
    }
}

#[cfg(not(feature = "mpi"))]
fn start_mpi(mode: Mode, _: Wanted, _: Lead, _: &dyn Fn(Role)) -> Result<Started, Error> {
    Err(Error::usage(format!(
        "this program was built without MPI, which mode {mode} needs, as does a launch by mpiexec: build with the \
         feature `mpi`"
    )))
}

#[cfg(feature = "mpi")]
fn start_mpi(mode: Mode, wanted: Wanted, lead: Lead, turns_out: &dyn Fn(Role)) -> Result<Started, Error> {
    if let Some(group) = wanted.communicator {
        let world = World::of_group(group, Some(wanted.start_timeout))?;
        let size = world.size()?;
        return start_comm(world, size, &wanted, lead);
    }
    let launcher = launch::detect(launch::variable)?;
    let mut world = match World::of_others(Some(wanted.start_timeout))? {
        Some(world) => world,
        None => initialise(mode, launcher)?,
    };
    if let Some(timing) = &wanted.timing {
        world.before_use(timing.clone().before_use());
    }
    if let Some(parent) = world.parent()? {
        comm::serve(world, Some(parent), lead, turns_out);
    }
    let size = world.size()?;
    if let Launcher::Mpi { name, size: told, .. } = launcher
        && told != size
    {
        // MPI is not finalised: this process is one world of several, and reports that before it ends.
        return Err(strangers(name, told, &format!("knows of {size}")));
    }
    if size == 1 {
        return start_pool(world, wanted, lead, turns_out);
    }
    if world.rank()? > 0 {
        comm::serve(world, None, lead, turns_out);
    }
    start_comm(world, size, &wanted, lead)
}

#[cfg(feature = "mpi")]
fn initialise(mode: Mode, launcher: Launcher) -> Result<World, Error> {
    match launcher {
        Launcher::None => pool::preflight()?,
        // Some libraries abort in MPI_Init; with the others each rank would be alone.
        Launcher::Mpi { name, size, .. } if launch::is_foreign(launch::variable, &mpi::library_version()) => {
            return Err(strangers(name, size, "cannot join them"));
        }
        _ => {}
    }
    // A pool spawns replacements while it runs.
    World::initialise(if mode == Mode::Pool { mpi::Threads::Several } else { mpi::Threads::OneAtATime })
}

#[cfg(feature = "mpi")]
fn start_comm(world: World, size: u32, wanted: &Wanted, lead: Lead) -> Result<Started, Error> {
    let started = i64::from(size) - 1;
    let wrong = if let Some(workers) = wanted.workers.filter(|workers| *workers != started) {
        Some(format!(
            "the launcher started {started} workers, and {workers} were asked for: leave that number out, or ask the launcher \
             for another one (-n)"
        ))
    } else if wanted.oversubscribe || !wanted.spawn_info.is_empty() {
        Some("mode comm spawns nothing: oversubscribe and spawn hints are for mode pool".to_string())
    } else {
        None
    };
    let settings = wanted.settings();
    files::make_room(size as usize - 1, 1, false)?;
    let mut started = take_in(Comm::start(world)?, 1..size, settings, Mode::Comm)?;
    if let Some(text) = wrong {
        // The workers wait for their goodbye.
        started.0.fabric.end(Ending::Orderly { code: None })?;
        return Err(Error::usage(text));
    }
    wanted.lead_here_too(Some(started), lead)
}

#[cfg(feature = "mpi")]
fn start_pool(world: World, wanted: Wanted, lead: Lead, turns_out: &dyn Fn(Role)) -> Result<Started, Error> {
    let workers = pool::count(wanted.workers, pool::slots(&world)?, wanted.oversubscribe)?;
    let surroundings = launch::surroundings(!wanted.has_hint(|key| key == "wdir"));
    let settings = Settings { surroundings: Some(surroundings), ..wanted.settings() };
    files::make_room(workers as usize, 1, false)?;
    // The user may have named other hosts than the launcher has.
    if !wanted.has_hint(|key| key.contains("host")) {
        turns_out(Role::Spawner { workers });
    }
    let (program, info) = (wanted.program.clone(), wanted.spawn_info.clone());
    let pool = Pool::spawn(world, workers, program, info, wanted.oversubscribe)?;
    let ranks = pool.ranks();
    let started = take_in(pool, ranks, settings, Mode::Pool)?;
    wanted.lead_here_too(Some(started), lead)
}

/// The launcher and the MPI library do not know each other.
#[cfg(feature = "mpi")]
fn strangers(launcher: &str, ranks: u32, but: &str) -> Error {
    let library = mpi::library_version();
    Error::new(
        ErrorKind::Launch,
        format!(
            "{launcher} started {ranks} ranks, but MPI ({library}) {but}: the launcher and this program belong to \
             different MPI libraries; start the program with its own mpiexec (`rankpool doctor` shows both)"
        ),
    )
}

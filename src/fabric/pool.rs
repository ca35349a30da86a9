//! Workers that MPI_Comm_spawn starts: mode `pool`.
//!
//! Each spawn gives an intercommunicator, and frames go over it as they are: merging it would
//! deadlock after a second spawn (open-mpi/ompi#11724). Rank 0 names workers 1, 2, ... in the
//! order of their spawning; a replacement gets the next number.

use std::{
    collections::BTreeMap,
    os::unix::ffi::{OsStrExt, OsStringExt},
};

use super::{
    Ending,
    comm::leave_world,
    files,
    port::Port,
    transport::{Incoming, Replacement, Transport},
};
use crate::{
    error::{Error, ErrorKind},
    function,
    launch::{self, Policy, Siblings, count_workers},
    mpi::{Communicator, Spawn, Spawning, World},
    wire::{Frame, Program},
};

pub(crate) struct Pool {
    world: Option<World>,
    /// One port a spawn, as long as one of its workers is there.
    ports: BTreeMap<u32, Port>,
    /// Where each worker is: the port, and its rank there.
    places: BTreeMap<u32, (u32, u32)>,
    ranks: BTreeMap<(u32, u32), u32>,
    /// The rank of the next worker. A port has the number of its first one.
    next_rank: u32,
    /// What they are, if they are not this program.
    program: Option<Program>,
    info: Vec<(String, String)>,
    /// Replacements that are being spawned. One that hangs may stay here for ever.
    spawning: Vec<Spawning>,
}

/// Lets a spawn start more workers than there are slots. To be called before MPI starts.
pub(crate) fn allow_oversubscription() {
    // SAFETY: called inside Builder::start, which asks to be called before the program starts threads of its own, and
    // before MPI starts threads. Those of this crate use the environment by std::env alone, which has a lock.
    unsafe {
        std::env::set_var("OMPI_MCA_rmaps_base_oversubscribe", "1");
        std::env::set_var("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe");
    }
}

/// Looks before MPI starts whether a program without a launcher can spawn: MPI then starts a launcher
/// of its own, and some libraries end the process when they do not find it.
///
/// # Errors
/// What is missing, and what to do.
pub(crate) fn preflight() -> Result<(), Error> {
    let library = crate::mpi::library_version();
    let launcher = if library.contains("Open MPI v4") {
        "orted"
    } else if library.contains("Open MPI") {
        "prterun"
    } else {
        "mpiexec"
    };
    if launch::on_path(launcher).is_none() {
        return Err(Error::new(
            ErrorKind::Spawn,
            format!(
                "to spawn without mpiexec, {library} needs its own {launcher} on PATH: put the folder that holds it \
                 first on PATH, or start the program with `mpiexec -n 1`"
            ),
        ));
    }
    let allowed = std::env::var_os("PRTE_ALLOW_RUN_AS_ROOT").is_some();
    if launcher == "prterun" && rustix::process::geteuid().is_root() && !allowed {
        return Err(Error::new(
            ErrorKind::Spawn,
            "Open MPI refuses to spawn as root: run as a user, or set PRTE_ALLOW_RUN_AS_ROOT=1 and \
             PRTE_ALLOW_RUN_AS_ROOT_CONFIRM=1",
        ));
    }
    Ok(())
}

/// The slots of the run, rank 0's included, where the launcher tells.
pub(crate) fn slots(world: &World) -> Result<Option<u32>, Error> {
    world.universe_size()
}

/// The number of workers to spawn.
///
/// # Errors
/// When there are not enough slots for them.
pub(crate) fn count(asked: Option<i64>, slots: Option<u32>, oversubscribe: bool) -> Result<u32, Error> {
    let free = slots.map_or(0, |slots| slots.saturating_sub(1)) as usize;
    if free == 0 && asked.is_none() {
        return Err(Error::usage(
            "mode pool does not know how many workers to spawn: the launcher tells of no free slot; \
             give a number (--workers N, Builder::workers)",
        ));
    }
    let count = count_workers(asked, free)?;
    if count > free
        && slots.is_some()
        && !oversubscribe
        && !launch::is_set(launch::variable, "OMPI_MCA_rmaps_base_oversubscribe")
    {
        return Err(Error::usage(format!(
            "{count} workers were asked for and {free} slots are free besides rank 0's: ask for fewer, give the \
             launcher more (`mpiexec --host localhost:{} -n 1 ...`, or more tasks in Slurm), or allow \
             oversubscription (--oversubscribe, Builder::oversubscribe)",
            count + 1
        )));
    }
    Ok(count as u32)
}

impl Pool {
    /// Spawns `count` workers: copies of `program`, or of this one with the same arguments.
    ///
    /// # Errors
    /// When the spawn fails.
    pub(crate) fn spawn(
        world: World,
        count: u32,
        program: Option<Program>,
        mut info: Vec<(String, String)>,
        oversubscribe: bool,
    ) -> Result<Pool, Error> {
        if oversubscribe && !info.iter().any(|(key, _)| key == "map_by") {
            info.push(("map_by".into(), "slot:oversubscribe".into()));
        }
        let mut pool = Pool {
            world: Some(world),
            ports: BTreeMap::new(),
            places: BTreeMap::new(),
            ranks: BTreeMap::new(),
            next_rank: 1,
            program,
            info,
            spawning: Vec::new(),
        };
        let spawned = pool
            .order(count)
            .and_then(|order| pool.world()?.spawn(&order).map_err(|error| pool.failed(count, &error)));
        match spawned {
            Ok(communicator) => {
                pool.add(communicator, count);
                Ok(pool)
            }
            Err(error) => {
                // Without children there is nobody to wait for.
                leave_world(&mut pool.world, [], Ending::Orderly { code: None }, false)?;
                Err(error)
            }
        }
    }

    pub(crate) fn ranks(&self) -> Vec<u32> {
        self.places.keys().copied().collect()
    }

    /// What is spawned: the program that the user has named, or this one with the same arguments.
    fn order(&self, count: u32) -> Result<Spawn, Error> {
        if let Some(program) = &self.program {
            let arguments = program.arguments().iter().map(|argument| argument.as_bytes().to_vec());
            return Spawn::new(program.file().as_bytes(), arguments, count, &self.info);
        }
        // Other slots or another launcher would not help with these errors.
        let failed = |why: &dyn std::fmt::Display| {
            Error::new(ErrorKind::Spawn, format!("{count} workers could not be spawned: {why}"))
        };
        let program = launch::executable().map_err(|error| failed(&error))?;
        // A launcher that cannot start it may wait for it for ever, and a worker of another build is refused.
        let odd = |why: &dyn std::fmt::Display| failed(&format_args!("{}: {why}", program.display()));
        if !function::is_this_build(program).map_err(|error| odd(&error))? {
            return Err(odd(&"another build has taken its place since the run began"));
        }
        let program = program.as_os_str().as_bytes();
        let arguments = std::env::args_os().skip(1).map(OsStringExt::into_vec);
        Spawn::new(program, arguments, count, &self.info)
    }

    fn failed(&self, count: u32, why: &dyn std::fmt::Display) -> Error {
        let fix = advice(self.info.iter().any(|(key, _)| key == "host"));
        Error::new(ErrorKind::Spawn, format!("{count} workers could not be spawned: {why}; {fix}"))
    }

    fn world(&self) -> Result<&World, Error> {
        self.world.as_ref().ok_or_else(|| self.failed(1, &"MPI has ended"))
    }

    /// Takes in `count` workers that were spawned.
    fn add(&mut self, communicator: Communicator, count: u32) -> u32 {
        let first = self.next_rank;
        self.next_rank += count;
        self.ports.insert(first, Port::new(communicator, None));
        for remote in 0..count {
            self.places.insert(first + remote, (first, remote));
            self.ranks.insert((first, remote), first + remote);
        }
        first
    }
}

/// What usually helps when a spawn fails.
fn advice(hosts_named: bool) -> String {
    let root = rustix::process::geteuid().is_root() && std::env::var_os("OMPI_ALLOW_RUN_AS_ROOT").is_none();
    let slurm_step =
        std::env::var_os("SLURM_STEP_ID").is_some() && std::env::var_os("OMPI_COMM_WORLD_SIZE").is_none();
    let mut fixes = Vec::new();
    if slurm_step {
        fixes.push("srun cannot spawn: start rank 0 with `mpirun -n 1` in the batch script");
    }
    if root {
        fixes.push("as root set OMPI_ALLOW_RUN_AS_ROOT=1 and OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1");
    }
    if hosts_named {
        fixes.push("the hosts named in the spawn hint must be among the launcher's");
    }
    fixes.push(
        "without free slots allow oversubscription (--oversubscribe); without a launcher its own mpiexec (Open \
         MPI 5: prterun) must be first on PATH; `rankpool doctor` tries a spawn",
    );
    fixes.join("; ")
}

impl Transport for Pool {
    fn poll(&mut self, inbox: &mut Vec<(u32, Incoming)>) -> Result<bool, Error> {
        let before = inbox.len();
        for (number, port) in &mut self.ports {
            let ranks = &self.ranks;
            let mut came = |remote, incoming| {
                if let Some(rank) = ranks.get(&(*number, remote)) {
                    inbox.push((*rank, incoming));
                }
            };
            port.poll(|remote, frame| came(remote, Incoming::Frame(frame)))?;
            port.flush();
            port.gone().for_each(|(remote, reason)| came(remote, Incoming::Gone(reason)));
        }
        Ok(inbox.len() > before)
    }

    fn post(&mut self, rank: u32, frame: Frame) {
        if let Some((number, remote)) = self.places.get(&rank)
            && let Some(port) = self.ports.get_mut(number)
        {
            port.post(*remote, &frame);
        }
    }

    fn flush(&mut self) {
        for port in self.ports.values_mut() {
            port.flush();
        }
    }

    fn abandon(&mut self, rank: u32) {
        let Some((number, remote)) = self.places.remove(&rank) else { return };
        self.ranks.remove(&(number, remote));
        if self.ranks.range((number, 0)..=(number, u32::MAX)).next().is_none() {
            // The communicator is not freed: the lost worker would have to take part.
            self.ports.remove(&number);
        } else if let Some(port) = self.ports.get_mut(&number) {
            port.abandon(remote);
        }
    }

    fn policy(&self) -> Policy {
        launch::policy()
    }

    fn replace(&mut self) -> Result<Replacement, Error> {
        let world = self.world()?;
        if !world.threads_may_share() {
            tracing::warn!("this MPI library cannot spawn beside other work: lost workers are not replaced");
            return Ok(Replacement::Impossible);
        }
        files::room_for_a_start()?;
        let order = self.order(1)?;
        let mut siblings = Siblings::watch();
        siblings.are_spawned(1);
        let spawning = world.spawn_aside(order)?;
        self.spawning.push(spawning);
        Ok(Replacement::Coming(siblings))
    }

    fn replaced(&mut self) -> Option<Result<u32, Error>> {
        let (at, spawned) = self
            .spawning
            .iter_mut()
            .enumerate()
            .find_map(|(at, spawning)| spawning.done().map(|spawned| (at, spawned)))?;
        self.spawning.remove(at);
        Some(spawned.map(|communicator| self.add(communicator, 1)).map_err(|error| self.failed(1, &error)))
    }

    fn end(&mut self, ending: Ending, lost: bool) -> Result<(), Error> {
        leave_world(&mut self.world, self.ports.values_mut(), ending, lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_fill_the_free_slots_and_no_more() {
        assert_eq!(count(None, Some(4), false).unwrap(), 3);
        assert_eq!(count(Some(-2), Some(4), false).unwrap(), 2);
        assert_eq!(count(Some(5), Some(4), true).unwrap(), 5);
        assert!(count(None, None, false).is_err());
    }
}

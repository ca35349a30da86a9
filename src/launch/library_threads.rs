//! How many threads numerical libraries may start in a worker: its CPUs, divided by the tasks that share them.
//!
//! Libraries read it from the environment: those that are linked into a program when it starts, others when they are
//! loaded. So a child gets it with its environment, and a rank sets it before it starts a thread.

use std::env::{set_var, var_os};

use super::here;

const VARIABLES: [&str; 6] = [
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
];

/// The variables for a process whose CPUs are shared by so many tasks, its own included. Those that the user has set
/// are left out.
pub(crate) fn library_threads(cpus: usize, sharers: u32) -> impl Iterator<Item = (&'static str, String)> {
    let threads = (cpus / sharers.max(1) as usize).max(1);
    VARIABLES.into_iter().filter(|name| var_os(name).is_none()).map(move |name| (name, threads.to_string()))
}

/// Tells the libraries of this process.
pub(crate) fn limit_library_threads(sharers: u32) {
    for (name, threads) in library_threads(here().cpus.len(), sharers) {
        // SAFETY: a rank calls this inside Builder::start, which asks to be called before the program starts threads
        // of its own, and before MPI starts threads. Those of this crate use the environment by std::env alone, which
        // has a lock. Where a worker cannot know it before, as one that was spawned, it is set later; see `adopt`.
        unsafe { set_var(name, threads) };
    }
}

/// The workers on the host of this rank, by what its launcher tells before MPI is started.
#[cfg(feature = "mpi")]
pub(crate) fn workers_here(rank: u32, get: impl Fn(&str) -> Option<String>) -> Option<u32> {
    let number = |name: &str| get(name)?.parse::<u32>().ok();
    let slurm = || tasks_on_node(&get("SLURM_STEP_TASKS_PER_NODE")?, number("SLURM_NODEID")?);
    let ranks = number("OMPI_COMM_WORLD_LOCAL_SIZE").or_else(|| number("MPI_LOCALNRANKS")).or_else(slurm)?;
    let place = number("OMPI_COMM_WORLD_LOCAL_RANK")
        .or_else(|| number("MPI_LOCALRANKID"))
        .or_else(|| number("SLURM_LOCALID"))?;
    // Ranks fill one host after the other. Where they go round the hosts, rank 0 counts as a worker of its own host.
    Some(ranks - u32::from(ranks > 1 && rank == place))
}

/// Reads Slurm's way to write the tasks of each node, as in `4(x2),1`.
#[cfg(feature = "mpi")]
fn tasks_on_node(text: &str, node: u32) -> Option<u32> {
    let mut before = 0;
    for part in text.split(',') {
        let (tasks, nodes) = match part.split_once("(x") {
            Some((tasks, nodes)) => (tasks, nodes.strip_suffix(')')?.parse().ok()?),
            None => (part, 1),
        };
        before += nodes;
        if node < before {
            return tasks.parse().ok();
        }
    }
    None
}

#[cfg(all(test, feature = "mpi"))]
mod tests {
    use super::*;

    fn workers(rank: u32, environment: &[(&str, &str)]) -> Option<u32> {
        workers_here(rank, |name| {
            environment.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string())
        })
    }

    #[test]
    fn a_rank_knows_the_workers_of_its_host_from_its_launcher() {
        let open =
            |size, place| [("OMPI_COMM_WORLD_LOCAL_SIZE", size), ("OMPI_COMM_WORLD_LOCAL_RANK", place)];
        assert_eq!(workers(2, &open("4", "2")), Some(3), "rank 0 is here");
        assert_eq!(workers(5, &open("4", "1")), Some(4), "it is on another host");
        assert_eq!(workers(1, &[("MPI_LOCALNRANKS", "1"), ("MPI_LOCALRANKID", "0")]), Some(1));
        let slurm = |node, place| {
            [("SLURM_STEP_TASKS_PER_NODE", "4(x2),1"), ("SLURM_NODEID", node), ("SLURM_LOCALID", place)]
        };
        assert_eq!(workers(3, &slurm("0", "3")), Some(3));
        assert_eq!(workers(6, &slurm("1", "2")), Some(4));
        assert_eq!(workers(8, &slurm("2", "0")), Some(1));
        assert_eq!(workers(9, &slurm("3", "0")), None);
        assert_eq!(workers(1, &[]), None);
    }
}

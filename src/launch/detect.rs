//! How this process was launched, found out before MPI_Init from what launchers leave in the
//! environment.

use std::fs::File;

use crate::error::{Error, ErrorKind};

/// Who started this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Launcher {
    /// No launcher.
    None,
    /// An MPI launcher, with this many ranks, and as many slots where it tells.
    Mpi { name: &'static str, size: u32, rank: u32, slots: Option<u32> },
    /// MPI_Comm_spawn: this process is a worker.
    Spawned,
}

/// Reads the environment through `get`.
///
/// # Errors
/// When `srun` without an MPI plugin started several copies that would each believe to be alone.
/// Only the first copy's error is to be told; see [`is_first`].
pub(crate) fn detect(get: impl Fn(&str) -> Option<String>) -> Result<Launcher, Error> {
    read(get, in_interactive_shell)
}

fn read(get: impl Fn(&str) -> Option<String>, interactive: impl Fn() -> bool) -> Result<Launcher, Error> {
    let number = |name: &str| get(name)?.parse::<u32>().ok();
    // Open MPI sets the first, hydra the second. All other variables are the same in spawned and in launched processes.
    if get("OMPI_PARENT_PORT").is_some() || get("PMI_SPAWNED").is_some_and(|spawned| spawned != "0") {
        return Ok(Launcher::Spawned);
    }
    if let Some(size) = number("OMPI_COMM_WORLD_SIZE") {
        let rank = number("OMPI_COMM_WORLD_RANK").unwrap_or(0);
        let slots = number("OMPI_UNIVERSE_SIZE");
        return Ok(Launcher::Mpi { name: "Open MPI's mpiexec", size, rank, slots });
    }
    if let (Some(rank), Some(size)) = (number("PMI_RANK"), number("PMI_SIZE")) {
        return Ok(Launcher::Mpi { name: "hydra or srun --mpi=pmi2", size, rank, slots: None });
    }
    let Some(copies) = number("SLURM_STEP_NUM_TASKS").filter(|_| get("SLURM_STEP_ID").is_some()) else {
        return Ok(Launcher::None);
    };
    // The shell of `srun --pty` hands its step on to what is typed there, which runs once.
    if copies > 1 && interactive() {
        return Ok(Launcher::None);
    }
    if let (Some(rank), Some(_)) = (number("PMIX_RANK"), get("PMIX_NAMESPACE")) {
        return Ok(Launcher::Mpi { name: "srun --mpi=pmix", size: copies, rank, slots: None });
    }
    if copies == 1 {
        return Ok(Launcher::None);
    }
    Err(Error::new(
        ErrorKind::Usage,
        format!(
            "srun started {copies} copies of this program without an MPI plugin, and each would run \
             everything; use `srun --mpi=pmix` (`srun --mpi=list` shows what there is) or `mpirun`, or \
             `srun -n 1` for one serial copy; if this is the only copy, as in a script that one of srun's shells \
             runs, `unset SLURM_STEP_NUM_TASKS` first"
        ),
    ))
}

/// Whether a shell with job control started this process: it has a terminal, and is in another process group than
/// the leader of its session, which a script's commands are not.
fn in_interactive_shell() -> bool {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    has_group_of_its_own(&stat) && File::open("/dev/tty").is_ok()
}

/// Reads proc_pid_stat(5). Each is 0 where its leader is outside of this process's PID namespace; for the commands of a
/// script both are.
fn has_group_of_its_own(stat: &str) -> bool {
    // The program's name is in brackets, and may have brackets and spaces of its own.
    let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let [_state, _parent, group, session] = std::array::from_fn(|_| fields.next());
    group.is_some() && session.is_some() && group != session
}

/// Whether the launcher that left this environment cannot start a world of this library: each copy would be alone.
/// Slurm's launcher works with several libraries.
#[cfg(any(feature = "mpi", feature = "cli"))]
pub(crate) fn is_foreign(get: impl Fn(&str) -> Option<String>, linked: &str) -> bool {
    let has = |name: &str| get(name).is_some();
    let open = linked.contains("Open MPI");
    (has("OMPI_COMM_WORLD_SIZE") && !open) || (has("PMI_RANK") && open && !has("SLURM_STEP_ID"))
}

/// Whether no launcher has started this process.
pub(crate) fn is_alone() -> bool {
    matches!(detect(super::variable), Ok(Launcher::None))
}

/// False on the ranks that leave talking to rank 0, and on all accidental copies but one.
pub(crate) fn is_first(get: impl Fn(&str) -> Option<String> + Copy) -> bool {
    match detect(get) {
        Ok(Launcher::Mpi { rank, .. }) => rank == 0,
        Ok(Launcher::Spawned) => false,
        Ok(Launcher::None) => true,
        Err(_) => get("SLURM_PROCID").is_none_or(|rank| rank == "0"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detected(environment: &[(&str, &str)]) -> Result<Launcher, Error> {
        let find =
            |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string());
        read(find, || false)
    }

    fn mpi(environment: &[(&str, &str)]) -> (u32, u32) {
        match detected(environment).unwrap() {
            Launcher::Mpi { rank, size, .. } => (rank, size),
            other => panic!("{other:?}: {environment:?}"),
        }
    }

    #[test]
    fn job_control_is_seen_in_any_pid_namespace() {
        assert!(has_group_of_its_own("42 (a) b) S 41 42 40 1025 42 0"), "a group beside the session's");
        assert!(!has_group_of_its_own("42 (rankpool) S 41 40 40 1025 40 0"), "the group of the session");
        assert!(!has_group_of_its_own("2 (rankpool) S 1 0 0 1025 0 0"), "both are outside");
        assert!(has_group_of_its_own("2 (rankpool) S 1 2 0 1025 2 0"), "the session is outside");
        assert!(!has_group_of_its_own(""), "no /proc");
        // The test's own, whatever it was started by.
        in_interactive_shell();
    }

    #[test]
    fn each_launcher_is_recognised() {
        assert_eq!(mpi(&[("OMPI_COMM_WORLD_SIZE", "4"), ("OMPI_COMM_WORLD_RANK", "2")]), (2, 4));
        assert_eq!(mpi(&[("PMI_RANK", "1"), ("PMI_SIZE", "3")]), (1, 3));
        let srun = [
            ("PMIX_RANK", "1"),
            ("PMIX_NAMESPACE", "x"),
            ("SLURM_STEP_ID", "0"),
            ("SLURM_STEP_NUM_TASKS", "2"),
        ];
        assert_eq!(mpi(&srun), (1, 2));
    }

    #[test]
    fn a_spawned_process_is_told_from_a_launched_one() {
        let launched =
            [("OMPI_COMM_WORLD_SIZE", "1"), ("OMPI_COMM_WORLD_RANK", "0"), ("OMPI_UNIVERSE_SIZE", "4")];
        let Launcher::Mpi { slots, .. } = detected(&launched).unwrap() else {
            panic!("a launcher was there")
        };
        assert_eq!(slots, Some(4));
        let port = ("OMPI_PARENT_PORT", "81920001.0:2517987534");
        assert_eq!(detected(&[&launched[..], &[port]].concat()).unwrap(), Launcher::Spawned);
        let hydra = [("PMI_RANK", "0"), ("PMI_SIZE", "1")];
        assert_eq!(detected(&[&hydra[..], &[("PMI_SPAWNED", "1")]].concat()).unwrap(), Launcher::Spawned);
        assert_eq!(
            detected(&[&hydra[..], &[("PMI_SPAWNED", "0")]].concat()).unwrap(),
            detected(&hydra).unwrap()
        );
    }

    #[test]
    fn what_is_typed_in_a_shell_of_sruns_runs_once() {
        let step = [("SLURM_STEP_ID", "0"), ("SLURM_STEP_NUM_TASKS", "4"), ("SLURM_PROCID", "0")];
        let pmix = [&step[..], &[("PMIX_RANK", "0"), ("PMIX_NAMESPACE", "x")]].concat();
        for environment in [&step[..], &pmix] {
            let find = |name: &str| {
                environment.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string())
            };
            assert_eq!(read(find, || true).unwrap(), Launcher::None);
        }
    }

    #[test]
    fn the_shell_of_sbatch_is_no_launcher() {
        assert_eq!(detected(&[]).unwrap(), Launcher::None);
        assert_eq!(detected(&[("SLURM_PROCID", "0"), ("SLURM_NTASKS", "8")]).unwrap(), Launcher::None);
        assert_eq!(detected(&[("PMIX_RANK", "0"), ("PMIX_NAMESPACE", "x")]).unwrap(), Launcher::None);
    }

    #[test]
    fn accidental_singletons_are_refused_with_the_fix() {
        let error = detected(&[("SLURM_STEP_ID", "0"), ("SLURM_STEP_NUM_TASKS", "4"), ("SLURM_PROCID", "1")])
            .unwrap_err();
        assert!(error.to_string().contains("--mpi=pmix"), "{error}");
        assert_eq!(error.exit_code(), 2);
        assert!(detected(&[("SLURM_STEP_ID", "0"), ("SLURM_STEP_NUM_TASKS", "1")]).is_ok());
        let copy = |rank: &'static str| {
            move |name: &str| match name {
                "SLURM_STEP_ID" => Some("0".into()),
                "SLURM_STEP_NUM_TASKS" => Some("4".into()),
                "SLURM_PROCID" => Some(rank.to_string()),
                _ => None,
            }
        };
        assert!(is_first(copy("0")) && !is_first(copy("3")));
    }

    #[cfg(any(feature = "mpi", feature = "cli"))]
    #[test]
    fn a_launcher_that_cannot_start_a_world_of_this_library_is_noticed() {
        let foreign = |environment: &[&str], linked: &str| {
            is_foreign(|name| environment.contains(&name).then(|| "1".into()), linked)
        };
        assert!(foreign(&["PMI_RANK", "PMI_SIZE"], "Open MPI v4.1.4"));
        assert!(foreign(&["OMPI_COMM_WORLD_SIZE"], "MPICH Version: 4.2.0"));
        assert!(!foreign(&["OMPI_COMM_WORLD_SIZE"], "Open MPI v4.1.4"));
        assert!(!foreign(&["PMI_RANK"], "MPICH Version: 4.2.0"));
        assert!(!foreign(&["PMI_RANK", "SLURM_STEP_ID"], "Open MPI v4.1.4"));
    }
}

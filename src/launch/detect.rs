//! How this process was launched, found out before MPI_Init from what launchers leave in the
//! environment.

use crate::error::{Error, ErrorKind};

/// Who started this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Launcher {
    /// No launcher.
    None,
    /// An MPI launcher, with this many ranks.
    Mpi { name: &'static str, size: u32, rank: u32 },
}

/// Reads the environment through `get`.
///
/// # Errors
/// When `srun` without an MPI plugin started several copies that would each believe to be alone.
/// Only the first copy's error is to be told; see [`is_first`].
pub(crate) fn detect(get: impl Fn(&str) -> Option<String>) -> Result<Launcher, Error> {
    let number = |name: &str| get(name)?.parse::<u32>().ok();
    if let Some(size) = number("OMPI_COMM_WORLD_SIZE") {
        let rank = number("OMPI_COMM_WORLD_RANK").unwrap_or(0);
        return Ok(Launcher::Mpi { name: "Open MPI's mpiexec", size, rank });
    }
    if let (Some(rank), Some(size)) = (number("PMI_RANK"), number("PMI_SIZE")) {
        return Ok(Launcher::Mpi { name: "hydra or srun --mpi=pmi2", size, rank });
    }
    let step = get("SLURM_STEP_ID").is_some();
    if let (Some(rank), Some(_), true) = (number("PMIX_RANK"), get("PMIX_NAMESPACE"), step) {
        let size = number("SLURM_STEP_NUM_TASKS").unwrap_or(1);
        return Ok(Launcher::Mpi { name: "srun --mpi=pmix", size, rank });
    }
    match number("SLURM_STEP_NUM_TASKS") {
        Some(copies) if copies > 1 => Err(Error::new(
            ErrorKind::Usage,
            format!(
                "srun started {copies} copies of this program without an MPI plugin, and each would run \
                 everything; use `srun --mpi=pmix` (`srun --mpi=list` shows what there is) or `mpirun`, or \
                 `srun -n 1` for one serial copy"
            ),
        )),
        _ => Ok(Launcher::None),
    }
}

/// False on the ranks that leave talking to rank 0, and on all accidental copies but one.
pub(crate) fn is_first(get: impl Fn(&str) -> Option<String> + Copy) -> bool {
    match detect(get) {
        Ok(Launcher::Mpi { rank, .. }) => rank == 0,
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
        detect(find)
    }

    fn mpi(environment: &[(&str, &str)]) -> (u32, u32) {
        match detected(environment).unwrap() {
            Launcher::Mpi { rank, size, .. } => (rank, size),
            Launcher::None => panic!("a launcher was there: {environment:?}"),
        }
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
}

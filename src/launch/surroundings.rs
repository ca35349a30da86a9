//! What a spawned worker takes over from rank 0: its environment and its working folder. MPI_Comm_spawn passes on what
//! the launcher was told to, which differs from one MPI to the other.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt, OsStringExt},
};

use crate::wire::Surroundings;

/// Variables that belong to a rank, to its launcher, to its step in Slurm or to its host, by how they begin.
const OWN: [&str; 30] = [
    "OMPI_",
    "OPAL_",
    "ORTE_",
    "PRTE_",
    "PMIX_",
    "PMI_",
    "MPI_LOCAL",
    "HYDRA_",
    "HYDI_",
    "I_MPI_HYDRA",
    "MPIEXEC_",
    "HFI_NO_BACKTRACE",
    "IPATH_NO_BACKTRACE",
    "PALS_",
    "SLURM_PROCID",
    "SLURM_LOCALID",
    "SLURM_NODEID",
    "SLURM_STEP",
    "SLURM_TASK_PID",
    "SLURM_GTIDS",
    "SLURM_LAUNCH_NODE",
    "SLURM_SRUN_",
    "SLURM_CPU_BIND",
    "SLURM_TOPOLOGY",
    "SLURMD_",
    "SSH_",
    "XDG_",
    "DBUS_",
    "HOSTNAME",
    super::CHILD,
];

/// Those of this process; without the folder where the user has named one.
pub(crate) fn surroundings(with_folder: bool) -> Surroundings {
    let own = |name: &OsStr| OWN.iter().any(|own| name.as_bytes().starts_with(own.as_bytes()));
    let variables = std::env::vars_os().filter(|(name, _)| !own(name));
    let folder = std::env::current_dir().ok().filter(|_| with_folder);
    Surroundings {
        variables: variables.map(|(name, value)| (name.into_vec(), value.into_vec())).collect(),
        folder: folder.map(|folder| folder.into_os_string().into_vec()),
    }
}

/// Takes the surroundings over. A variable that rank 0 does not have stays as it is.
pub(crate) fn adopt(surroundings: &Surroundings) {
    for (name, value) in &surroundings.variables {
        let (name, value) = (OsStr::from_bytes(name), OsStr::from_bytes(value));
        let odd = name.is_empty() || [name, value].iter().any(|text| text.as_bytes().contains(&0));
        if odd || name.as_bytes().contains(&b'=') || std::env::var_os(name).as_deref() == Some(value) {
            continue;
        }
        // SAFETY: this runs in a spawned worker before its first task, while the main thread waits inside
        // Builder::start, which asks to be called before the program starts threads of its own; those of this crate use
        // the environment by std::env alone, which has a lock. MPI is started already, since there is no other way to
        // hear of rank 0. Its threads wait for messages between processes, and the MPI libraries read their variables
        // in MPI_Init.
        unsafe { std::env::set_var(name, value) };
    }
    if let Some(folder) = &surroundings.folder {
        let folder = OsString::from_vec(folder.clone());
        if let Err(error) = std::env::set_current_dir(&folder) {
            tracing::warn!(
                "rank 0's working folder {} is not here: {error}; tasks run in {}",
                folder.display(),
                std::env::current_dir().unwrap_or_default().display()
            );
        }
    }
}

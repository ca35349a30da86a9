//! What a launcher leaves in the environment of a rank for this rank alone. A task of a child must not have it: an
//! `mpiexec` that it runs would refuse to run inside another one, and a program that it runs would believe that it is
//! a rank of ours.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
};

/// What Open MPI 4 and 5, MPICH, srun, and the launchers of HPE and MVAPICH set for a rank, or leave from one of their
/// own. A star stands for any end. Parameters of Open MPI (OMPI_MCA_*) are mostly the user's: mpiexec's are named one by
/// one.
const OF_THE_LAUNCH: [&str; 65] = [
    "OMPI_APP_CTX_NUM_PROCS",
    "OMPI_APP_SIZES",
    "OMPI_ARGV",
    "OMPI_COMMAND",
    "OMPI_COMM_WORLD_*",
    "OMPI_FILE_LOCATION",
    "OMPI_FIRST_RANKS",
    "OMPI_LIBDIR_LOC",
    "OMPI_NUM_APP_CTX",
    "OMPI_PARENT_PORT",
    "OMPI_TOOL_NAME",
    "OMPI_UNIVERSE_SIZE",
    "OMPI_VERSION",
    "OMPI_WORLD_*",
    "OMPI_MCA_PREFIXES",
    "OMPI_MCA_cpu_type",
    "OMPI_MCA_ess*",
    "OMPI_MCA_initial_wdir",
    "OMPI_MCA_mpi_oversubscribe",
    "OMPI_MCA_num_procs",
    "OMPI_MCA_num_restarts",
    "OMPI_MCA_orte_app_num",
    "OMPI_MCA_orte_base_applied_binding",
    "OMPI_MCA_orte_bound_at_launch",
    "OMPI_MCA_orte_cpu_*",
    "OMPI_MCA_orte_do_not_barrier",
    "OMPI_MCA_orte_ess_*",
    "OMPI_MCA_orte_externally_bound",
    "OMPI_MCA_orte_hnp_uri",
    "OMPI_MCA_orte_jobfam_session_dir",
    "OMPI_MCA_orte_launch",
    "OMPI_MCA_orte_local_daemon_uri",
    "OMPI_MCA_orte_num_*",
    "OMPI_MCA_orte_parent_uri",
    "OMPI_MCA_orte_precondition_transports",
    "OMPI_MCA_orte_top_session_dir",
    "OMPI_MCA_pmix*",
    "OMPI_MCA_shmem_RUNTIME_QUERY_hint",
    "OPAL_SYS_PARAMS_GIVEN",
    "OPAL_USER_PARAMS_GIVEN",
    "ORTE_SCHIZO_DETECTION",
    "PRTE_LAUNCHED",
    "PRTE_SHARED_FS",
    "PMIX_*",
    "PMI_*",
    "MPI_LOCALNRANKS",
    "MPI_LOCALRANKID",
    "HYDI_*",
    "HYDRA_CONTROL_FD",
    "HYDRA_USER_PROVIDED_BINDING",
    "PALS_*",
    "MV2_COMM_WORLD_*",
    "SLURM_CPU_BIND*",
    "SLURM_GTIDS",
    "SLURM_LAUNCH_NODE_IPADDR",
    "SLURM_LOCALID",
    "SLURM_MEM_BIND*",
    "SLURM_NODEID",
    "SLURM_PMI*",
    "SLURM_PROCID",
    "SLURM_SRUN_COMM_*",
    "SLURM_STEPID",
    "SLURM_STEP_*",
    "SLURM_STEPMGR",
    "SLURM_TASK_PID",
];

/// Exceptions, which users set: parameters of PMIx, where it lies, and how HPE's PMI behaves.
const OF_THE_USER: [&str; 5] = ["PMIX_MCA_*", "PMIX_PREFIX", "PMI_NO_*", "PMI_MMAP_*", "PMI_MAX_*"];

/// Whether a variable belongs to the launch of this rank, and not to the user, the host or Slurm's job.
pub(crate) fn belongs_to_the_launch(name: &OsStr) -> bool {
    let any = |patterns: &[&str]| {
        patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(beginning) => name.as_bytes().starts_with(beginning.as_bytes()),
            None => name == *pattern,
        })
    };
    any(&OF_THE_LAUNCH) && !any(&OF_THE_USER)
}

/// What rankpool sets for its own workers.
const OF_WORKERS: [&str; 3] = ["RANKPOOL_WORKER", "RANKPOOL_CHILD_OF", "RANKPOOL_CODE_FILE"];

/// This process's environment without what belongs to its launch: for a program that a task starts, which may then be an
/// MPI program with a launcher of its own.
///
/// ```
/// use std::process::Command;
/// let mut program = Command::new("true");
/// program.env_clear().envs(rankpool::environment_of_programs());
/// # let _ = program;
/// ```
pub fn environment_of_programs() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| {
        !belongs_to_the_launch(name) && !OF_WORKERS.iter().any(|of_workers| name == of_workers)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goes(name: &&str) -> bool {
        belongs_to_the_launch(OsStr::new(name))
    }

    #[test]
    fn what_a_launcher_sets_goes() {
        let set = [
            "OMPI_COMM_WORLD_RANK",
            "OMPI_UNIVERSE_SIZE",
            "OMPI_MCA_ess_base_jobid",
            "OMPI_MCA_orte_hnp_uri",
            "OMPI_MCA_orte_launch",
            "OMPI_MCA_pmix",
            "OMPI_PARENT_PORT",
            "PMIX_RANK",
            "PMIX_SERVER_URI41",
            "PRTE_LAUNCHED",
            "PMI_FD",
            "PMI_SPAWNED",
            "HYDI_CONTROL_FD",
            "MPI_LOCALRANKID",
            "SLURM_PROCID",
            "SLURM_STEP_ID",
            "SLURM_STEP_NUM_TASKS",
            "SLURM_CPU_BIND_LIST",
            "SLURM_PMIX_MAPPING_SERV",
            "SLURM_PMIXP_ABORT_AGENT_PORT",
        ];
        let kept: Vec<_> = set.iter().filter(|name| !goes(name)).collect();
        assert!(kept.is_empty(), "{kept:?}");
    }

    #[test]
    fn what_the_user_the_host_or_the_job_has_set_stays() {
        let set = [
            "PATH",
            "LD_LIBRARY_PATH",
            "OMP_NUM_THREADS",
            "CUDA_VISIBLE_DEVICES",
            "UCX_TLS",
            "FI_PROVIDER",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM",
            "OMPI_CC",
            "OMPI_MCA_btl",
            "OMPI_MCA_btl_tcp_if_include",
            "OMPI_MCA_mpi_ft_enable",
            "OMPI_MCA_orte_enable_recovery",
            "OMPI_MCA_orte_launch_agent",
            "OMPI_MCA_rmaps_base_oversubscribe",
            "OPAL_PREFIX",
            "PRTE_ALLOW_RUN_AS_ROOT",
            "PRTE_MCA_rmaps_default_mapping_policy",
            "PMIX_MCA_gds",
            "PMIX_PREFIX",
            "PMI_NO_FORK",
            "HYDRA_LAUNCHER",
            "MPIEXEC_TIMEOUT",
            "MPIR_CVAR_CH4_OFI_ENABLE_RMA",
            "I_MPI_FABRICS",
            "SLURM_CONF",
            "SLURM_CPUS_PER_TASK",
            "SLURM_JOB_ID",
            "SLURM_JOB_NODELIST",
            "SLURM_NTASKS",
            "SLURM_MPI_TYPE",
            "SLURMD_NODENAME",
        ];
        let gone: Vec<_> = set.iter().filter(|name| goes(name)).collect();
        assert!(gone.is_empty(), "{gone:?}");
    }

    #[cfg(feature = "mpi")]
    #[test]
    fn without_it_mpiexec_runs_inside_of_mpiexec() {
        use std::process::Command;

        let inside = |arguments: &[&str]| {
            let mut command = Command::new("timeout");
            command.args(["--kill-after=5", "60", "mpiexec", "-n", "1"]).args(arguments);
            command.envs([("OMPI_ALLOW_RUN_AS_ROOT", "1"), ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")]);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let environment = inside(&["env", "-0"]);
        let names: Vec<&str> =
            environment.split('\0').filter_map(|entry| Some(entry.split_once('=')?.0)).collect();
        let launch = names.iter().filter(|name| goes(name)).map(|name| format!("--unset={name}"));
        let launch: Vec<String> = launch.collect();
        assert!(!launch.is_empty(), "{names:?}");
        let words = ["env"].into_iter().chain(launch.iter().map(String::as_str));
        let words: Vec<&str> = words.chain(["mpiexec", "-n", "2", "echo", "a task's"]).collect();
        assert_eq!(inside(&words), "a task's\na task's\n");
    }
}

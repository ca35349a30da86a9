//! The cluster that the trials share, and the jobs in it.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::support::{Ended, processes::environment, start, wait};

/// The program under test. Scripts find it on their PATH, by its name.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_rankpool");

/// How long a job may take, with all its sessions and the waits between them.
const LIMIT: Duration = Duration::from_secs(150);

/// How long the processes of a job may outlive it.
const LINGER: Duration = Duration::from_secs(10);

/// Between two questions to Slurm.
pub const PAUSE: Duration = Duration::from_millis(200);

const NODES: &str = "2";

/// A Slurm of two nodes on this host. It ends when this is dropped.
pub struct Cluster {
    folder: tempfile::TempDir,
}

impl Cluster {
    /// Why no cluster can be started here.
    pub fn missing() -> Option<&'static str> {
        let there = |program| {
            let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
            std::env::split_paths(&path).any(|folder| folder.join(program).exists())
        };
        if !rustix::process::geteuid().is_root() {
            return Some("its daemons want root");
        }
        let programs = ["munged", "slurmctld", "slurmd", "sbatch", "srun", "mpirun"];
        (!programs.into_iter().all(there)).then_some("Slurm, munge or mpirun is not installed")
    }

    pub fn start() -> Cluster {
        let cluster = Cluster { folder: tempfile::tempdir().unwrap() };
        cluster.script("start", &[NODES]); // Should it fail, the drop of the cluster ends what came up.
        cluster
    }

    fn script(&self, what: &str, more: &[&str]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slurm/cluster.sh");
        let mut command = Command::new("timeout");
        command.arg("60").arg(script).arg(what).arg(self.folder.path()).args(more);
        let status = command.status().unwrap();
        assert!(status.success(), "cluster.sh {what}: {status}");
    }

    fn configuration(&self) -> PathBuf {
        self.folder.path().join("slurm.conf")
    }

    /// A command that belongs to this cluster. What it submits inherits the same environment.
    pub fn command(&self, program: &str) -> Command {
        let folder = Path::new(PROGRAM).parent().unwrap().display();
        // Without the mark of tests/support: the processes of a job outlive the command that submitted it.
        let mut command = Command::new("env");
        command
            .args(["--unset=RANKPOOL_TEST_MARK", program])
            .env("SLURM_CONF", self.configuration())
            // What killed ranks leave goes with the cluster.
            .env("TMPDIR", self.folder.path())
            .env("OMPI_MCA_btl_vader_backing_directory", self.folder.path())
            .env("PATH", format!("{folder}:{}", std::env::var("PATH").unwrap_or_default()))
            .envs([("OMPI_ALLOW_RUN_AS_ROOT", "1"), ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")])
            // Bridges of containers on this host lead nowhere.
            .envs([("OMPI_MCA_btl_tcp_if_include", "lo"), ("OMPI_MCA_oob_tcp_if_include", "lo")]);
        command
    }

    /// Submits a script from the folder in which it lies.
    pub fn submit(&self, script: &Path, flags: &[&str]) -> Job<'_> {
        let mut command = self.command("sbatch");
        command.arg("--parsable").args(flags).arg(script).current_dir(script.parent().unwrap());
        let id = start(&mut command).end().expect(0).stdout.trim().to_string();
        Job { cluster: self, id }
    }

    fn ask(&self, program: &str, arguments: &[&str]) -> Ended {
        start(self.command(program).args(arguments)).end()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.script("stop", &[]);
    }
}

/// A job, or an element of an array: what Slurm says of it.
#[derive(Debug)]
pub struct Told {
    pub element: Option<u32>,
    pub state: String,
    pub code: i32,
    pub restarts: u32,
}

/// A process of a job's.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Process {
    is_child: bool,
    namespace: String,
    number: u32,
    pid: u32,
}

/// A submitted job. It is cancelled when this is dropped.
pub struct Job<'c> {
    cluster: &'c Cluster,
    id: String,
}

impl Job<'_> {
    /// A line for each element of an array, one for any other job.
    pub fn told(&self) -> Vec<Told> {
        let lines = self.cluster.ask("scontrol", &["--oneliner", "show", "job", &self.id]).expect(0).stdout;
        let told = |line: &str| {
            let fields: HashMap<_, _> = line.split(' ').filter_map(|field| field.split_once('=')).collect();
            Told {
                element: fields.get("ArrayTaskId").and_then(|element| element.parse().ok()),
                state: fields["JobState"].to_string(),
                code: fields["ExitCode"].split(':').next().unwrap().parse().unwrap(),
                restarts: fields["Restarts"].parse().unwrap(),
            }
        };
        lines.lines().filter(|line| !line.is_empty()).map(told).collect()
    }

    /// Waits for the end of all sessions of all elements. Nothing of them is left then.
    #[track_caller]
    pub fn end(&self) -> Vec<Told> {
        let told = wait(LIMIT, PAUSE, "the job's end", || {
            let told = self.told();
            let over = |one: &Told| ["COMPLETED", "FAILED", "CANCELLED", "TIMEOUT"].contains(&&*one.state);
            if told.iter().all(over) { Ok(told) } else { Err(format!("{told:?}")) }
        });
        wait(LINGER, PAUSE, "the end of the job's processes", || {
            let left = self.processes();
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        });
        told
    }

    pub fn cancel(&self) {
        self.cluster.ask("scancel", &[&self.id]).expect(0);
    }

    /// The processes of the ranks that live, rank 0 first.
    pub fn ranks(&self) -> Vec<u32> {
        let ranks = self.processes().into_iter().filter(|process| !process.is_child);
        ranks.map(|rank| rank.pid).collect()
    }

    /// The children of leaders that live.
    pub fn children(&self) -> Vec<u32> {
        let children = self.processes().into_iter().filter(|process| process.is_child);
        children.map(|child| child.pid).collect()
    }

    /// The program's processes that live, in the order of their ranks.
    fn processes(&self) -> Vec<Process> {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let mut processes: Vec<Process> = pids
            .filter_map(|pid| {
                let variables = environment(pid, PROGRAM)?;
                let ours = Path::new(variables.get("SLURM_CONF")?) == self.cluster.configuration()
                    && (variables.get("SLURM_JOB_ID")? == &self.id
                        || variables.get("SLURM_ARRAY_JOB_ID").is_some_and(|array| *array == self.id));
                // Workers that were spawned are ranks of a later namespace.
                let namespace = variables.get("PMIX_NAMESPACE").cloned().unwrap_or_default();
                let number = variables.get("PMIX_RANK").and_then(|number| number.parse().ok()).unwrap_or(0);
                let is_child = variables.contains_key("RANKPOOL_CHILD_OF");
                ours.then_some(Process { is_child, namespace, number, pid })
            })
            .collect();
        processes.sort();
        processes
    }
}

impl Drop for Job<'_> {
    fn drop(&mut self) {
        // Perhaps it has ended, and perhaps the test fails already: nothing more is asked of this.
        let _ = self.cluster.command("scancel").args(["--quiet", &self.id]).status();
    }
}

//! Runs in a real Slurm of two nodes: the scripts of slurm/, submitted as a user submits them.
//!
//! Each trial copies a script, gives it a command line of its own, and compares the file that the job
//! leaves with the file of a serial run without Slurm.

mod cluster;
#[path = "../support/mod.rs"]
mod support;
mod sweep;

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::Arc,
    time::Duration,
};

use cluster::{Cluster, Job, PAUSE, PROGRAM, Told};
use libtest_mimic::{Arguments, Trial};
use rustix::process::Signal;
use serde_json::Value;
use support::{signal_process, start, wait};

/// A script of slurm/, what it is given in place of its own #SBATCH lines, and the workers it then has.
struct Script {
    name: &'static str,
    /// What `rankpool slurm` is given to print it, if it is no file in slurm/.
    made_with: &'static [&'static str],
    flags: &'static [&'static str],
    workers: usize,
    threads: usize,
    told: &'static str,
}

impl Script {
    fn text(&self) -> String {
        if self.made_with.is_empty() {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("slurm").join(self.name);
            return std::fs::read_to_string(path).unwrap();
        }
        let mut command = Command::new(PROGRAM);
        command.arg("slurm").args(self.made_with).args(["--", "run", "pi", "--output", "pi.h5"]);
        start(&mut command).end().expect(0).stdout
    }
}

const COMM_SRUN: Script = Script {
    name: "comm-srun.sh",
    made_with: &[],
    flags: &["--nodes=2", "--ntasks-per-node=2"],
    workers: 3,
    threads: 1,
    told: "mode comm, 3 workers",
};
const COMM_MPIRUN: Script = Script { name: "comm-mpirun.sh", ..COMM_SRUN };
const POOL_MPIRUN: Script = Script { name: "pool-mpirun.sh", told: "mode pool, 3 workers", ..COMM_SRUN };
const HYBRID: Script = Script {
    name: "hybrid.sh",
    flags: &["--nodes=2", "--ntasks-per-node=2", "--cpus-per-task=2"],
    threads: 2,
    ..COMM_SRUN
};
/// The nodes are shared with the other trials.
const LEADERS: Script = Script {
    name: "leaders.sh",
    flags: &["--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=2", "--oversubscribe"],
    workers: 2,
    threads: 2,
    told: "mode comm, 2 workers",
    ..COMM_SRUN
};
const LEADERS_MPIRUN: Script = Script {
    name: "leaders-mpirun.sh",
    made_with: &["--mode", "leaders", "--launcher", "mpirun"],
    ..LEADERS
};
const WHOLE_NODE: Script = Script {
    flags: &["--nodes=1", "--ntasks-per-node=1", "--oversubscribe"],
    workers: 1,
    told: "mode comm, 1 worker",
    ..LEADERS
};
const SERIAL_ARRAY: Script = Script {
    name: "serial-array.sh",
    made_with: &[],
    flags: &["--array=1-3"],
    workers: 1,
    threads: 1,
    told: "mode serial, 1 worker",
};

/// How long a rank may take to come up, or to leave a first result.
const SOON: Duration = Duration::from_secs(120);

type Test = fn(&Cluster, &'static Script);

const TESTS: &[(&str, &[Script], Test)] = &[
    (
        "the job's file is that of a serial run",
        &[COMM_SRUN, COMM_MPIRUN, POOL_MPIRUN, SERIAL_ARRAY, HYBRID, LEADERS, LEADERS_MPIRUN],
        as_serial,
    ),
    (
        "a run that does not fit its time ends over several sessions",
        &[COMM_SRUN, COMM_MPIRUN, POOL_MPIRUN, HYBRID, LEADERS],
        several_sessions,
    ),
    (
        "a sweep of a program that partly fails ends over several sessions",
        &[COMM_SRUN, LEADERS],
        sweep::sweep,
    ),
    (
        "Slurm's signal before the end of the time costs nothing",
        &[COMM_SRUN, COMM_MPIRUN, POOL_MPIRUN, LEADERS],
        signalled,
    ),
    ("an element of an array is requeued by itself", &[SERIAL_ARRAY], one_element),
    (
        "a cancelled job is not requeued, and can be resumed",
        &[COMM_SRUN, COMM_MPIRUN, POOL_MPIRUN],
        cancelled,
    ),
    ("a worker that is killed costs its job nothing", &[COMM_MPIRUN, POOL_MPIRUN], worker_killed),
    ("children that are killed cost their job nothing", &[LEADERS, LEADERS_MPIRUN], children_killed),
    ("whole nodes have a child for each of their CPUs", &[WHOLE_NODE], whole_node),
    (
        "a rank 0 that is killed is started again",
        &[COMM_SRUN, COMM_MPIRUN, POOL_MPIRUN, LEADERS, LEADERS_MPIRUN],
        rank_0_killed,
    ),
    (
        "a worker that is killed takes the others along, and the job goes on by itself",
        &[COMM_SRUN],
        step_killed,
    ),
    (
        "the workers are on all nodes of the job",
        &[COMM_SRUN, COMM_MPIRUN, POOL_MPIRUN, HYBRID, LEADERS, LEADERS_MPIRUN],
        on_all_nodes,
    ),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Most of the time is spent waiting: for sleeping tasks, and for jobs that are requeued.
    arguments.test_threads = Some(5);
    if arguments.list {
        return libtest_mimic::run(&arguments, trials(&Arc::default())).exit_code();
    }
    if let Some(why) = Cluster::missing() {
        support::skipped(format!("the runs in a real Slurm: {why}"));
        return ExitCode::SUCCESS;
    }
    let cluster = Arc::new(Some(Cluster::start()));
    libtest_mimic::run(&arguments, trials(&cluster)).exit_code()
}

fn trials(cluster: &Arc<Option<Cluster>>) -> Vec<Trial> {
    let mut trials = Vec::new();
    let mut add = |name: String, test: Box<dyn FnOnce(&Cluster) + Send>| {
        let cluster = Arc::clone(cluster);
        let run = move || {
            support::caught(|| test(Option::as_ref(&cluster).expect("a trial that runs has a cluster")))
        };
        trials.push(Trial::test(name, run));
    };
    for (name, scripts, test) in TESTS {
        for script in *scripts {
            add(format!("{}: {name}", script.name), Box::new(move |cluster| test(cluster, script)));
        }
    }
    add("srun without an MPI plugin is refused by one message".to_string(), Box::new(no_plugin));
    add("what is typed in a shell of srun's is one serial run after the other".to_string(), Box::new(typed));
    add("a submission prints the job's number alone, and returns its code".to_string(), Box::new(submitted));
    add("an array is submitted for its elements".to_string(), Box::new(submitted_array));
    trials
}

/// A folder with a copy of a script, its jobs, and their files.
struct Place<'c> {
    cluster: &'c Cluster,
    folder: tempfile::TempDir,
    script: &'static Script,
}

impl<'c> Place<'c> {
    fn new(cluster: &'c Cluster, script: &'static Script) -> Place<'c> {
        let folder = tempfile::tempdir().unwrap();
        Place { cluster, folder, script }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Submits the script with this command line in place of its own.
    fn submit(&self, command: &str, flags: &[&str]) -> Job<'c> {
        let text = self.script.text();
        let (mut lines, mut replaced): (Vec<String>, _) = (Vec::new(), 0);
        for line in text.lines() {
            let own = line.starts_with("command=(");
            replaced += usize::from(own);
            lines.push(if own { format!("command=({command})") } else { line.to_string() });
        }
        assert_eq!(replaced, 1, "{} has one line that a user edits", self.script.name);
        let copy = self.path(self.script.name);
        std::fs::write(&copy, lines.join("\n") + "\n").unwrap();
        self.cluster.submit(&copy, &[self.script.flags, &["--time=5"], flags].concat())
    }

    /// All that the jobs of this place have printed.
    fn logs(&self) -> String {
        let entries = std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let logs = entries.filter(|path| path.extension().is_some_and(|kind| kind == "log"));
        logs.map(|path| std::fs::read_to_string(path).unwrap()).collect()
    }

    /// Waits for the end of the job, which is to be a good one.
    #[track_caller]
    fn done(&self, job: &Job) -> Vec<Told> {
        let told = job.end();
        let good = told.iter().all(|one| one.state == "COMPLETED" && one.code == 0);
        assert!(good, "{told:?}\n--- logs\n{}", self.logs());
        told
    }

    /// Runs a command line without Slurm, into a file of its own.
    fn without_slurm(&self, command: &str, workers: &[&str]) -> &'static str {
        let mut run = Command::new(PROGRAM);
        run.args(command.split(' ').skip(1)).args(workers).args(["--output", "expected.h5", "--force"]);
        start(run.current_dir(self.folder.path())).end().expect(0);
        "expected.h5"
    }

    fn serial(&self, command: &str) -> &'static str {
        self.without_slurm(command, &["--mode", "serial"])
    }

    /// The rows of a serial run that sleeps, without waiting for it.
    fn slept(&self, command: &str) -> &'static str {
        self.without_slurm(command, &["--mode", "threads", "--workers", "60"])
    }

    /// How many tasks the run that printed its report with --json did not run again.
    fn resumed(&self) -> u64 {
        let logs = self.logs();
        let number = logs.split("\"resumed\":").nth(1).and_then(|rest| rest.split(',').next()?.parse().ok());
        number.unwrap_or_else(|| panic!("no report in {logs}"))
    }

    fn tool(&self, arguments: &[&str]) -> String {
        start(Command::new(PROGRAM).args(arguments).current_dir(self.folder.path())).end().expect(0).stdout
    }

    fn show(&self, file: &str) -> Value {
        serde_json::from_str(&self.tool(&["show", "--json", file])).unwrap()
    }

    /// A file of a job holds what the serial run's holds, and nothing is left beside it.
    #[track_caller]
    fn assert_same(&self, file: &str, serial: &str) {
        let [found, expected] = [file, serial].map(|file| self.show(file));
        for name in ["results_digest", "seed", "tasks", "done", "failed", "not_run", "summary", "datasets"] {
            assert_eq!(found[name], expected[name], "{name} of {file}");
        }
        assert_eq!(self.tool(&["export", file, "--csv"]), self.tool(&["export", serial, "--csv"]));
        assert!(
            !self.path(&format!("{file}.journal")).exists(),
            "the journal goes when the file is complete"
        );
    }
}

fn as_serial(cluster: &Cluster, script: &'static Script) {
    let place = Place::new(cluster, script);
    let command = "rankpool run pi --tasks 500 --samples 2000";
    let told = if script.name == SERIAL_ARRAY.name {
        let own = r#"--seed "$SLURM_ARRAY_TASK_ID" --output "out-$SLURM_ARRAY_TASK_ID.h5""#;
        let told = place.done(&place.submit(&format!("{command} {own}"), &[]));
        for seed in 1..=3 {
            let serial = place.serial(&format!("{command} --seed {seed}"));
            place.assert_same(&format!("out-{seed}.h5"), serial);
        }
        told
    } else {
        let told = place.done(&place.submit(&format!("{command} --output out.h5"), &[]));
        place.assert_same("out.h5", place.serial(command));
        told
    };
    assert!(told.iter().all(|one| one.restarts == 0), "{told:?}");
    let logs = place.logs();
    assert_eq!(logs.matches(script.told).count(), told.len(), "{logs}");
}

/// Some 10 s of work, of which a session does no more than four.
fn several_sessions(cluster: &Cluster, script: &'static Script) {
    let place = Place::new(cluster, script);
    let tasks = 50 * script.workers * script.threads;
    let job = format!("rankpool run sleep --tasks {tasks} --duration 200ms --spread exponential --seed 5");
    let limits = "--chunk 1 --walltime 6s --grace 2s";
    let told = place.done(&place.submit(&format!("{job} --output out.h5 {limits}"), &[]));
    assert!(told[0].restarts >= 2, "{told:?}\n{}", place.logs());
    place.assert_same("out.h5", place.slept(&job));
}

/// 45 s of work in sessions of a minute. Slurm sends its signal 10 to 40 s after the beginning of each.
fn signalled(cluster: &Cluster, script: &'static Script) {
    let place = Place::new(cluster, script);
    let tasks = 90 * script.workers * script.threads;
    let job = format!("rankpool run sleep --tasks {tasks} --duration 500ms --seed 6");
    // Of itself the run would not end early.
    let command = format!("{job} --output out.h5 --chunk 1 --grace 1s");
    let told = place.done(&place.submit(&command, &["--time=1", "--signal=B:USR1@20"]));
    assert!(told[0].restarts >= 1, "{told:?}\n{}", place.logs());
    place.assert_same("out.h5", place.slept(&job));
}

/// The last element of an array has the array's own id.
fn one_element(cluster: &Cluster, script: &'static Script) {
    let place = Place::new(cluster, script);
    let job = "rankpool run sleep --tasks 40 --duration 200ms --spread exponential";
    let own = r#"--seed "$SLURM_ARRAY_TASK_ID" --output "out-$SLURM_ARRAY_TASK_ID.h5" --chunk 1"#;
    let limits = r#"--walltime "$((SLURM_ARRAY_TASK_ID == 3 ? 6 : 600))s" --grace 2s"#;
    let told = place.done(&place.submit(&format!("{job} {own} {limits}"), &[]));
    let requeued: Vec<bool> = (1..=3).map(|element| element_of(&told, element).restarts > 0).collect();
    assert_eq!(requeued, [false, false, true], "{told:?}\n{}", place.logs());
    for seed in 1..=3 {
        place.assert_same(&format!("out-{seed}.h5"), place.slept(&format!("{job} --seed {seed}")));
    }
}

fn cancelled(cluster: &Cluster, script: &'static Script) {
    let place = Place::new(cluster, script);
    let job = "rankpool run sleep --tasks 150 --duration 200ms --spread exponential --seed 7";
    let command = format!("{job} --output out.h5 --chunk 1");
    let first = place.submit(&command, &[]);
    let journal = place.path("out.h5.journal");
    some_done(&journal);
    first.cancel();
    let told = first.end();
    assert_eq!((&*told[0].state, told[0].restarts), ("CANCELLED", 0), "{told:?}\n{}", place.logs());
    assert!(journal.exists(), "{}", place.logs());
    assert!(!place.path("out.h5").exists());
    place.done(&place.submit(&format!("{command} --resume --json"), &[]));
    place.assert_same("out.h5", place.slept(job));
    assert!(place.resumed() > 0, "{}", place.logs());
}

fn worker_killed(cluster: &Cluster, script: &'static Script) {
    let place = Place::new(cluster, script);
    let command = "rankpool run sleep --tasks 120 --duration 100ms --spread exponential --seed 8";
    let job = place.submit(&format!("{command} --output out.h5 --chunk 1"), &[]);
    some_done(&place.path("out.h5.journal"));
    kill_worker(&job, script);
    let told = place.done(&job);
    assert_eq!(told[0].restarts, 0, "{told:?}\n{}", place.logs());
    let logs = place.logs();
    assert!(logs.contains("was lost") && !logs.contains("cannot be replaced"), "{logs}");
    place.assert_same("out.h5", place.slept(command));
}

/// One on each node, and then all: no rank is lost, and the launcher hears of nothing.
fn children_killed(cluster: &Cluster, script: &'static Script) {
    let place = Place::new(cluster, script);
    let command = "rankpool run sleep --tasks 150 --duration 200ms --spread exponential --seed 11";
    let job = place.submit(&format!("{command} --output out.h5 --chunk 1 --events out.jsonl"), &[]);
    some_done(&place.path("out.h5.journal"));
    let ranks = job.ranks();
    let all = script.workers * script.threads;
    for killed in [1, all] {
        let children = wait(SOON, PAUSE, "the leaders' children", || {
            let children = job.children();
            if children.len() == all { Ok(children) } else { Err(format!("{children:?}")) }
        });
        children.iter().rev().take(killed).for_each(|child| signal_process(*child, Signal::KILL));
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(job.ranks(), ranks, "the ranks live on");
    let told = place.done(&job);
    assert_eq!(told[0].restarts, 0, "{told:?}\n{}", place.logs());
    place.assert_same("out.h5", place.slept(command));
    let events = std::fs::read_to_string(place.path("out.jsonl")).unwrap();
    assert!(events.contains("\"child_lost\"") && !events.contains("\"worker_lost\""), "{events}");
}

/// Slurm does not say how many CPUs a rank has: it may use those of its node.
fn whole_node(cluster: &Cluster, script: &'static Script) {
    let place = Place::new(cluster, script);
    let job = place.submit("rankpool run sleep --tasks 40 --duration 200ms --output out.h5 --chunk 1", &[]);
    some_done(&place.path("out.h5.journal"));
    let cpus = std::thread::available_parallelism().unwrap().get();
    assert_eq!((job.ranks().len(), job.children().len()), (1, cpus), "{}", place.logs());
    place.done(&job);
}

fn rank_0_killed(cluster: &Cluster, script: &'static Script) {
    let place = Place::new(cluster, script);
    let command = "rankpool run sleep --tasks 120 --duration 200ms --spread exponential --seed 10";
    let job = place.submit(&format!("{command} --output out.h5 --chunk 1 --json"), &[]);
    some_done(&place.path("out.h5.journal"));
    signal_process(job.ranks()[0], Signal::KILL);
    let told = place.done(&job);
    assert_eq!(told[0].restarts, 1, "{told:?}\n{}", place.logs());
    place.assert_same("out.h5", place.slept(command));
    assert!(place.resumed() > 0, "{}", place.logs());
}

/// Slurm's plugin for PMIx ends the whole step, rank 0 included, a second after it has lost one of its processes.
fn step_killed(cluster: &Cluster, script: &'static Script) {
    let place = Place::new(cluster, script);
    let command = "rankpool run sleep --tasks 150 --duration 200ms --spread exponential --seed 9";
    let job = place.submit(&format!("{command} --output out.h5 --chunk 1 --json"), &[]);
    some_done(&place.path("out.h5.journal"));
    kill_worker(&job, script);
    let told = place.done(&job);
    assert_eq!(told[0].restarts, 1, "{told:?}\n{}", place.logs());
    place.assert_same("out.h5", place.slept(command));
    assert!(place.resumed() > 0, "{}", place.logs());
}

/// Submits by `rankpool slurm`, waits, and returns what it has printed.
fn submit(cluster: &Cluster, place: &Place, flags: &str, run: &str, code: i32) -> String {
    let mut command = cluster.command("rankpool");
    command.arg("slurm").args(flags.split(' ')).args(["--time", "5m", "--submit", "--wait", "--", "run"]);
    let ended = start(command.args(run.split(' ')).current_dir(place.folder.path())).end();
    assert_eq!(ended.code, code, "{ended:?}\n{}", place.logs());
    ended.stdout
}

fn submitted(cluster: &Cluster) {
    let place = Place::new(cluster, &COMM_SRUN);
    let (pi, comm) = ("pi --tasks 500 --samples 2000 --output out.h5", "--nodes 2 --ntasks-per-node 2");
    let printed = submit(cluster, &place, comm, pi, 0);
    assert!(printed.trim_end().parse::<u32>().is_ok(), "{printed:?}");
    place.assert_same("out.h5", place.serial("rankpool run pi --tasks 500 --samples 2000"));
    // The file is there already.
    submit(cluster, &place, comm, pi, 2);
    let late =
        "sleep --mode processes --workers 2 --tasks 2 --duration 3s --task-timeout 300ms --output late.h5";
    submit(cluster, &place, "--mode serial", late, 1);
    let refused = start(cluster.command("rankpool").args([
        "slurm",
        "--partition",
        "nowhere",
        "--submit",
        "--",
        "run",
        "pi",
        "--output",
        "no.h5",
    ]));
    let refused = refused.end().expect(2);
    assert!(refused.stderr.contains("invalid partition") && refused.stdout.is_empty(), "{refused:?}");
}

fn submitted_array(cluster: &Cluster) {
    let place = Place::new(cluster, &SERIAL_ARRAY);
    let run = "pi --tasks 500 --samples 2000 --seed %a --output out-%a.h5";
    submit(cluster, &place, "--array 1-3", run, 0);
    for seed in 1..=3 {
        let serial = place.serial(&format!("rankpool run pi --tasks 500 --samples 2000 --seed {seed}"));
        place.assert_same(&format!("out-{seed}.h5"), serial);
    }
}

fn on_all_nodes(cluster: &Cluster, script: &'static Script) {
    let place = Place::new(cluster, script);
    let command =
        "rankpool run sleep --tasks 60 --duration 50ms --chunk 1 --output out.h5 --json --progress none";
    place.done(&place.submit(command, &[]));
    let logs = place.logs();
    assert_eq!(place.show("out.h5")["hosts"], serde_json::json!(["n1", "n2"]), "{logs}");
    assert!(logs.contains(&format!("\"workers\":{}", script.workers)), "{logs}");
}

fn no_plugin(cluster: &Cluster) {
    let mut command = cluster.command("srun");
    command.args(["--mpi=none", "--nodes=2", "--ntasks=4", "rankpool", "run", "pi"]);
    let ended = start(&mut command).end().expect(2);
    assert_eq!(ended.stdout, "");
    let ours: Vec<&str> = ended.stderr.lines().filter(|line| line.starts_with("rankpool:")).collect();
    let [message] = ours[..] else { panic!("{ended:?}") };
    assert!(message.contains("srun started 4 copies") && message.contains("srun --mpi=pmix"), "{message}");
}

/// The shell of `srun --pty` has a terminal and job control, and its step has more tasks than the one that it is.
fn typed(cluster: &Cluster) {
    let runs = "rankpool run squares --n 5 --json; rankpool run squares --n 6 --json; true";
    let shell = format!("srun --mpi=none --ntasks=2 --pty bash -ic '{runs}'");
    let mut command = cluster.command("script");
    let ended = start(command.args(["-qec", &shell, "/dev/null"])).end().expect(0);
    assert_eq!(ended.stdout.matches("\"mode\":\"serial\"").count(), 2, "{ended:?}");
    let mut command = cluster.command("srun");
    let ended = start(command.args(["--mpi=pmix", "--ntasks=1", "sh", "-c", runs])).end().expect(0);
    assert_eq!(ended.stdout.matches("\"mode\":\"serial\"").count(), 2, "{ended:?}");
}

/// Waits until a journal has outcomes of tasks.
#[track_caller]
fn some_done(journal: &Path) {
    wait(SOON, PAUSE, "outcomes in a journal", || {
        let shown = Command::new(PROGRAM).args(["show", "--json"]).arg(journal).output().unwrap();
        let shown: Value = serde_json::from_slice(&shown.stdout).unwrap_or_default();
        if shown["done"].as_u64() >= Some(4) { Ok(()) } else { Err(shown.to_string()) }
    });
}

/// Kills the last worker of a job, once all are there.
#[track_caller]
fn kill_worker(job: &Job, script: &Script) {
    let ranks = wait(SOON, PAUSE, "the job's ranks", || {
        let ranks = job.ranks();
        if ranks.len() == script.workers + 1 { Ok(ranks) } else { Err(format!("{ranks:?}")) }
    });
    signal_process(*ranks.last().unwrap(), Signal::KILL);
}

fn element_of(told: &[Told], element: u32) -> &Told {
    let found = told.iter().find(|one| one.element == Some(element));
    found.unwrap_or_else(|| panic!("no element {element} in {told:?}"))
}

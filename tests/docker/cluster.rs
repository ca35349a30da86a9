//! Containers that are a cluster: ranks on all of them, losses, and a number of workers that changes.

use std::{collections::BTreeSet, process::Command, sync::Mutex, time::Duration};

use serde_json::Value;

use crate::{
    Test,
    engine::Docker,
    support::{LIMIT, Running, mpiexec, start, wait},
};

pub const TESTS: &[Test] = &[
    ("three containers give the digest of a serial run, and are told as hosts", comm),
    ("a pool spawns its workers in other containers", pool),
    ("a pool on the host of the engine is not misled by its bridges", beside_bridges),
    ("slots of the host file are those that were asked for", slots),
    ("a run outlives a worker that is killed in another container", worker_killed),
    ("a run that loses a container ends, and goes on with --resume on the others", container_killed),
    ("leaders have their children in all containers, the head's too", leaders),
    ("a leader's child that is killed in another container costs the run nothing", child_killed),
    ("leaders that lose a container end soon, and go on with --resume on the others", leader_killed),
    ("the host file follows the number of workers", scaled),
    ("the keys are the user's alone, and new in each cluster", keys),
    ("compose builds the image by itself", built_by_compose),
];

const COMPOSE: &str = "docker compose -f docker/compose.yaml";
const MPIEXEC: &str = "mpiexec --enable-recovery --hostfile /cluster/hosts";
const PI: &str = "pi --tasks 60 --samples 200000";

/// A cluster that is taken down when it is dropped.
pub struct Cluster {
    pub docker: &'static Docker,
    project: String,
    environment: Vec<(&'static str, String)>,
}

impl Cluster {
    /// `arguments` are those of `compose`, as in `up -d --scale worker=3`.
    pub fn up(
        docker: &'static Docker,
        project: &str,
        arguments: &str,
        environment: &[(&'static str, &str)],
    ) -> Cluster {
        let project = format!("{}-{project}", docker.name);
        let environment = environment.iter().map(|(name, value)| (*name, value.to_string())).collect();
        let cluster = Cluster { docker, project, environment };
        cluster.compose(arguments);
        cluster
    }

    pub fn command(&self, arguments: &str) -> Command {
        let mut command = self.docker.bash(&format!("{COMPOSE} {arguments}"));
        command.env("COMPOSE_PROJECT_NAME", &self.project).envs(self.environment.clone());
        command
    }

    #[track_caller]
    pub fn compose(&self, arguments: &str) -> String {
        start(&mut self.command(arguments)).end_within(2 * LIMIT).expect(0).stdout
    }

    /// What a command in the container `head` prints.
    #[track_caller]
    pub fn head(&self, command: &str) -> String {
        self.compose(&format!("exec -T head {command}"))
    }

    #[track_caller]
    fn report(&self, command: &str) -> Value {
        serde_json::from_str(&self.head(command)).unwrap()
    }

    /// The first event of a file in the head's /data.
    #[track_caller]
    fn started(&self, events: &str) -> Value {
        let lines = self.head(&format!("cat {events}"));
        serde_json::from_str(lines.lines().next().unwrap()).unwrap()
    }

    /// The ids of a service's containers, as their host names are.
    pub fn ids(&self, service: &str) -> BTreeSet<String> {
        self.compose(&format!("ps -q {service}")).lines().map(|id| id[..12].to_string()).collect()
    }

    /// Waits for the host file to have so many lines.
    #[track_caller]
    fn wait_for_hosts(&self, lines: usize) {
        let what = format!("a host file of {lines} lines");
        wait(Duration::from_secs(20), Duration::from_millis(500), &what, || {
            let hosts = self.head("cat /cluster/hosts");
            if hosts.lines().count() == lines { Ok(()) } else { Err(hosts) }
        });
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let down =
            start(&mut self.command("--profile slurm down -v -t 1 --remove-orphans")).end_within(2 * LIMIT);
        if down.code != 0 {
            eprintln!("docker: {} is not taken down: {}", self.project, down.stderr);
        }
    }
}

/// The cluster of three workers that most tests share.
static SHARED: Mutex<Option<Cluster>> = Mutex::new(None);

fn shared<T>(docker: &'static Docker, test: impl FnOnce(&Cluster) -> T) -> T {
    let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let cluster = shared.get_or_insert_with(|| Cluster::up(docker, "cluster", "up -d --scale worker=3", &[]));
    cluster.compose("up -d --scale worker=3");
    cluster.wait_for_hosts(4);
    test(cluster)
}

pub fn take_down() {
    drop(SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take());
}

fn hosts(started: &Value) -> Vec<String> {
    let workers = started["workers"].as_array().unwrap();
    workers.iter().map(|worker| worker["host"].as_str().unwrap().to_string()).collect()
}

fn comm(docker: &'static Docker) {
    shared(docker, |cluster| {
        let report = cluster.report(&format!("{MPIEXEC} rankpool run {PI} --json --events comm.jsonl"));
        assert_eq!(
            (&report["mode"], &report["ranks"], &report["workers"]),
            (&"comm".into(), &4.into(), &3.into())
        );
        assert_eq!(report["results_digest"], docker.serial(PI)["results_digest"]);
        let started = cluster.started("comm.jsonl");
        let hosts = hosts(&started);
        assert_eq!(hosts.len(), 3);
        assert_eq!(hosts.into_iter().collect::<BTreeSet<_>>(), cluster.ids("worker"));
        // No rank is bound: the containers would all choose the same CPUs.
        let cpus = std::thread::available_parallelism().unwrap().get();
        assert_eq!(started["workers"][0]["cpus"].as_array().unwrap().len(), cpus);
        // Where mpiexec told 127.0.0.1 too, a daemon of another container could find itself there.
        let told = cluster.head("mpiexec --report-uri - -n 1 true");
        assert!(told.contains("tcp://") && !told.contains("127.0.0.1"), "{told}");
    });
}

fn pool(docker: &'static Docker) {
    shared(docker, |cluster| {
        let job = format!("{MPIEXEC} -n 1 rankpool run {PI} --mode pool --json --events pool.jsonl");
        let report = cluster.report(&job);
        assert_eq!((&report["mode"], &report["workers"]), (&"pool".into(), &3.into()));
        assert_eq!(report["results_digest"], docker.serial(PI)["results_digest"]);
        let hosts = hosts(&cluster.started("pool.jsonl"));
        assert_eq!(hosts.into_iter().collect::<BTreeSet<_>>(), cluster.ids("worker"));
    });
}

/// Without a flag by which a run outlives a rank.
const PLAIN_MPIEXEC: &str = "mpiexec --hostfile /cluster/hosts";

fn leaders(docker: &'static Docker) {
    shared(docker, |cluster| {
        let run = format!("rankpool run {PI} --processes-per-worker 2 --json --events leaders.jsonl");
        let report = cluster.report(&format!("{PLAIN_MPIEXEC} {run}"));
        assert_eq!(
            (&report["mode"], &report["ranks"], &report["workers"]),
            (&"comm".into(), &4.into(), &4.into())
        );
        assert_eq!(report["results_digest"], docker.serial(PI)["results_digest"]);
        let started = cluster.started("leaders.jsonl");
        let mut expected = cluster.ids("worker");
        expected.insert("head".into());
        assert_eq!(hosts(&started).into_iter().collect::<BTreeSet<_>>(), expected);
        for leader in started["workers"].as_array().unwrap() {
            assert_eq!(leader["children"].as_array().map(Vec::len), Some(2), "{leader}");
        }
    });
}

/// With Open MPI's own settings, which count the bridges of the engine and of the cluster as ways to spawned ranks.
fn beside_bridges(docker: &'static Docker) {
    shared(docker, |_| {
        let job = ["-n", "1", env!("CARGO_BIN_EXE_rankpool"), "run"];
        let mut run = mpiexec(&job);
        run.args(PI.split(' ')).args(["--mode", "pool", "--workers", "2", "--json"]);
        run.env_remove("OMPI_MCA_btl_tcp_if_include").env_remove("OMPI_MCA_oob_tcp_if_include");
        let report: Value = serde_json::from_str(&start(&mut run).end().expect(0).stdout).unwrap();
        assert_eq!(report["workers"], 2);
        assert_eq!(report["results_digest"], docker.serial(PI)["results_digest"]);
    });
}

fn slots(docker: &'static Docker) {
    let cluster = Cluster::up(docker, "slots", "up -d --scale worker=2", &[("CLUSTER_SLOTS", "3")]);
    cluster.wait_for_hosts(3);
    let file = cluster.head("cat /cluster/hosts");
    let slots: Vec<_> = file.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!(slots, ["slots=1", "slots=3", "slots=3"], "{file}");
    let report = cluster.report(&format!("{MPIEXEC} rankpool run {PI} --json --events slots.jsonl"));
    assert_eq!(report["workers"], 6);
    let hosts = hosts(&cluster.started("slots.jsonl"));
    for id in cluster.ids("worker") {
        assert_eq!(hosts.iter().filter(|host| **host == id).count(), 3, "{hosts:?}");
    }
}

/// A job of a few seconds for those that run its tasks, which has begun to give results.
fn long_run(cluster: &Cluster, mpiexec: &str, job: &str, name: &str) -> (Running, Value) {
    let job = format!("{job} --json --progress none --output {name}.h5 --events {name}.jsonl");
    let running = start(&mut cluster.command(&format!("exec -T head {mpiexec} rankpool run {job}")));
    wait(LIMIT, Duration::from_millis(100), "a first result", || {
        let events = cluster.head(&format!("sh -c 'cat {name}.jsonl || true'"));
        if events.contains("chunk_done") { Ok(()) } else { Err(events) }
    });
    let started = cluster.started(&format!("{name}.jsonl"));
    (running, started)
}

/// For three workers.
const LONG: &str = "sleep --tasks 300 --duration 50ms --spread exponential";
/// For two children in each of four containers.
const LONG_WITH_CHILDREN: &str =
    "sleep --tasks 300 --duration 200ms --spread exponential --processes-per-worker 2";

/// A run in one container, with threads that sleep at the same time.
fn long_digest(docker: &'static Docker, job: &str) -> Value {
    let job = job.split(" --processes-per-worker").next().unwrap();
    let report = docker.run("", &format!("rankpool run {job} --mode threads --workers 30 --json"));
    report.expect(0).json()["results_digest"].clone()
}

fn worker_killed(docker: &'static Docker) {
    shared(docker, |cluster| {
        let (running, started) = long_run(cluster, MPIEXEC, LONG, "killed");
        let worker = &started["workers"][1];
        let (host, pid) = (worker["host"].as_str().unwrap(), worker["pid"].as_u64().unwrap());
        docker.sh(&format!("docker exec {host} kill -KILL {pid}"));
        let report = running.end_within(LIMIT).expect(0).json();
        assert_eq!((&report["done"], &report["workers"]), (&300.into(), &3.into()), "{report}");
        assert_eq!(report["results_digest"], long_digest(docker, LONG));
        let events = cluster.head("cat killed.jsonl");
        let lost = events.lines().find(|line| line.contains("\"worker_lost\"")).expect("a loss is told");
        assert!(lost.contains(host), "{lost}");
    });
}

fn child_killed(docker: &'static Docker) {
    shared(docker, |cluster| {
        let (running, started) = long_run(cluster, PLAIN_MPIEXEC, LONG_WITH_CHILDREN, "child");
        let leader = &started["workers"][2];
        let (host, pid) = (leader["host"].as_str().unwrap(), leader["children"][1]["pid"].as_u64().unwrap());
        docker.sh(&format!("docker exec {host} kill -KILL {pid}"));
        let report = running.end_within(LIMIT).expect(0).json();
        assert_eq!((&report["done"], &report["workers"]), (&300.into(), &4.into()), "{report}");
        assert_eq!(report["results_digest"], long_digest(docker, LONG_WITH_CHILDREN));
        let events = cluster.head("cat child.jsonl");
        assert!(!events.contains("\"worker_lost\"") && events.contains("\"child_lost\""), "{events}");
    });
}

fn container_killed(docker: &'static Docker) {
    loses_a_container(docker, LONG, "lost");
}

fn leader_killed(docker: &'static Docker) {
    loses_a_container(docker, LONG_WITH_CHILDREN, "leader");
}

/// The container of the last worker; what is left of the run is one worker less.
fn loses_a_container(docker: &'static Docker, job: &str, name: &str) {
    shared(docker, |cluster| {
        let (running, started) = long_run(cluster, PLAIN_MPIEXEC, job, name);
        let workers = started["workers"].as_array().unwrap();
        let host = workers.last().unwrap()["host"].as_str().unwrap().to_string();
        docker.sh(&format!("docker kill {host}"));
        let ended = running.end_within(LIMIT);
        assert_ne!(ended.code, 0, "{ended:?}");
        cluster.wait_for_hosts(3);
        let again = format!("{name}-again.jsonl");
        let resume = format!("--json --output {name}.h5 --resume --events {again}");
        let report = cluster.report(&format!("{PLAIN_MPIEXEC} rankpool run {job} {resume}"));
        let left = workers.len() - 1;
        assert_eq!((&report["done"], &report["workers"]), (&300.into(), &left.into()), "{report}");
        assert!(report["resumed"].as_u64().unwrap() > 0, "{report}");
        assert_eq!(report["results_digest"], long_digest(docker, job));
        assert!(!hosts(&cluster.started(&again)).contains(&host));
    });
}

fn scaled(docker: &'static Docker) {
    shared(docker, |cluster| {
        cluster.compose("up -d --scale worker=4");
        cluster.wait_for_hosts(5);
        let report = cluster.report(&format!("{MPIEXEC} rankpool run {PI} --json"));
        assert_eq!(report["workers"], 4);
        cluster.compose("up -d --scale worker=1");
        // At once, and not only when the head looks again.
        assert_eq!(cluster.head("cluster hosts").lines().count(), 2);
        let report = cluster.report(&format!("{MPIEXEC} rankpool run {PI} --json"));
        assert_eq!(report["workers"], 1);
    });
}

fn keys(docker: &'static Docker) {
    shared(docker, |cluster| {
        let modes = cluster.head("stat -c '%U %a %n' /cluster/ssh /cluster/ssh/host /cluster/ssh/user");
        assert_eq!(modes, "mpi 700 /cluster/ssh\nmpi 600 /cluster/ssh/host\nmpi 600 /cluster/ssh/user\n");
        assert!(cluster.head("ps -o user= -C sshd || true").lines().all(|user| user == "mpi"));
        // Whoever has no key is not let in, and there are no passwords.
        let login =
            "ssh -F none -p 2222 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null worker true";
        let refused = start(&mut cluster.command(&format!("exec -T head {login}"))).end();
        assert_eq!(refused.code, 255, "{refused:?}");
        assert!(refused.stderr.contains("Permission denied (publickey)"), "{refused:?}");
        let other = Cluster::up(docker, "keys", "up -d --scale worker=1", &[]);
        assert_ne!(other.head("cat /cluster/ssh/user.pub"), cluster.head("cat /cluster/ssh/user.pub"));
        assert_ne!(other.head("cat /cluster/ssh/host.pub"), cluster.head("cat /cluster/ssh/host.pub"));
    });
}

fn built_by_compose(docker: &'static Docker) {
    let image = format!("{}-composed", docker.image);
    let mut command = docker.bash(&format!("{COMPOSE} build head"));
    start(command.env("CLUSTER_IMAGE", &image)).end_within(5 * LIMIT).expect(0);
    let digest =
        docker.sh(&format!("docker run --rm {image} rankpool run {PI} --json && docker rmi {image} >&2"));
    let report: Value = serde_json::from_str(&digest).unwrap();
    assert_eq!(report["results_digest"], docker.serial(PI)["results_digest"]);
    // Without variables it begins with the images that the Dockerfile names.
    let mut command = docker.bash(&format!("unset RUST_IMAGE BASE_IMAGE; {COMPOSE} config"));
    let config = start(&mut command).end().expect(0).stdout;
    let dockerfile = std::fs::read_to_string(docker.sources.join("docker/Dockerfile")).unwrap();
    let defaults = dockerfile.lines().filter_map(|line| line.strip_prefix("ARG ")?.split_once('='));
    for (name, image) in defaults {
        assert!(config.contains(&format!("{name}: {image}")), "{name} is not in\n{config}");
    }
}

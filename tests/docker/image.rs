//! One container: what the image has and has not, and whose the results are.

use std::{os::unix::fs::MetadataExt, time::Duration};

use crate::{Test, engine::Docker};

pub const TESTS: &[Test] = &[
    ("a serial run and four ranks give one digest, as a user without root's variables", runs),
    ("the image has no compiler, no keys and no more than it needs", contents),
    ("a Python script runs over MPI, and Python has the command line", python),
    ("the image tells what it is", labels),
    ("the first process is an init, and the health check tells whether the program works", health),
    ("results in a mounted folder belong to the user who asked for the run", owner),
    ("the default user writes to a named volume", volume),
    ("a run that docker stop ends goes on with --resume", stop),
];

const PI: &str = "pi --tasks 40 --samples 100000";

fn runs(docker: &'static Docker) {
    let user = docker.run("", "sh -c 'id -un; env'").expect(0).stdout;
    assert!(user.starts_with("mpi\n") && !user.contains("ALLOW_RUN_AS_ROOT"), "{user}");
    let serial = docker.run("", &format!("rankpool run {PI} --json")).expect(0).json();
    assert_eq!((&serial["mode"], &serial["workers"]), (&"serial".into(), &1.into()));
    for (launcher, flags, mode, workers) in [
        ("mpiexec -n 4", "", "comm", 3),
        ("mpiexec -n 1", "--mode pool --workers 2 --oversubscribe", "pool", 2),
        ("", "--mode processes --workers 2", "processes", 2),
    ] {
        let ended = docker.run("", &format!("{launcher} rankpool run {PI} {flags} --json")).expect(0);
        let report = ended.json();
        assert_eq!((&report["mode"], &report["workers"]), (&mode.into(), &workers.into()), "{ended:?}");
        assert_eq!(report["results_digest"], serial["results_digest"]);
        assert!(!ended.stderr.contains("----"), "Open MPI has nothing to say: {}", ended.stderr);
    }
    docker.run("--network none", &format!("mpiexec -n 3 rankpool run {PI}")).expect(0);
    docker.run("--read-only --tmpfs /tmp", &format!("mpiexec -n 3 rankpool run {PI}")).expect(0);
    docker.run("", "rankpool doctor").expect(0);
    docker.run("", "rankpool run no-such-job").expect(2);
}

fn contents(docker: &'static Docker) {
    for image in [&docker.image, &docker.slurm_image] {
        let script = format!(
            "docker run --rm --user 0 {image} sh -c '
                for tool in cc gcc c++ clang ld make cargo rustc pkg-config; do command -v $tool; done
                find / -xdev \\( -name \"*.a\" -o -name \"*.h\" -o -name \"ssh_host_*\" -o -name munge.key \\) -type f
                grep -rlE \"BEGIN [A-Z ]*PRIVATE KEY\" /etc /home /root /cluster /var /run
                find /cluster /data -mindepth 1
                true'"
        );
        assert_eq!(docker.sh(&script), "", "{image}");
    }
    let size = docker.sh(&format!("docker image inspect --format '{{{{.Size}}}}' {}", docker.image));
    let size = size.trim().parse::<u64>().unwrap() / 1_000_000;
    println!("docker: the image is {size} MB");
    assert!(size < 240, "{size} MB: the guide says 224");
}

const SCRIPT: &str = r#"
import rankpool

def cube(n):
    return n**3

with rankpool.Executor() as executor:
    print(executor.mode, executor.num_workers, sum(executor.map(cube, range(100))))
"#;

fn python(docker: &'static Docker) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    std::fs::write(folder.path().join("script.py"), SCRIPT).unwrap();
    docker.sh(&format!("chmod -R a+rX {path}"));
    let flags = format!("-v {path}:/data:ro");
    for (command, told) in [
        ("mpiexec -n 3 python script.py", "comm 2 24502500\n"),
        ("mpiexec -n 3 python -m rankpool script.py", "comm 2 24502500\n"),
        ("python script.py", "serial 1 24502500\n"),
    ] {
        assert_eq!(docker.run(&flags, command).expect(0).stdout, told, "{command}");
    }
    let digest = |program: &str| {
        docker.run("", &format!("mpiexec -n 3 {program} run {PI} --json")).expect(0).json()["results_digest"]
            .clone()
    };
    assert_eq!(digest("python -m rankpool"), digest("rankpool"));
}

fn labels(docker: &'static Docker) {
    let labels =
        docker.sh(&format!("docker image inspect --format '{{{{json .Config.Labels}}}}' {}", docker.image));
    let labels: serde_json::Value = serde_json::from_str(&labels).unwrap();
    let label = |name: &str| labels[format!("org.opencontainers.image.{name}")].as_str().unwrap().to_string();
    assert_eq!(label("title"), "rankpool");
    assert_eq!(label("version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(label("licenses"), "MIT OR Apache-2.0");
    let version = docker.run("", "rankpool --version").expect(0).stdout;
    assert!(version.contains(&label("version")), "{version}");
}

fn health(docker: &'static Docker) {
    let flags = format!("-d --label {} --health-interval 1s", docker.name);
    let id = docker.sh(&format!("docker run {flags} {} sleep 60", docker.image)).trim().to_string();
    assert_eq!(docker.sh(&format!("docker exec {id} cat /proc/1/comm")).trim(), "tini");
    let wait = |state: &str| {
        docker.sh(&format!(
            "for _ in $(seq 60); do
                 found=$(docker inspect --format '{{{{.State.Health.Status}}}}' {id})
                 [ $found != {state} ] || exit 0
                 sleep 0.5
             done
             echo \"it is $found\"; exit 1"
        ))
    };
    wait("healthy");
    docker.sh(&format!("docker exec --user 0 {id} rm /usr/local/bin/rankpool"));
    wait("unhealthy");
    docker.sh(&format!("docker rm -f {id}"));
}

fn owner(docker: &'static Docker) {
    let own = rustix::process::getuid().as_raw();
    for uid in [own, 12345, 0] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        docker.sh(&format!("chmod 777 {path}"));
        let flags = format!("--user {uid}:{uid} -v {path}:/data");
        docker.run(&flags, &format!("mpiexec -n 3 rankpool run {PI} --output pi.h5")).expect(0);
        docker.run(&flags, &format!("rankpool run {PI} --output serial.h5 --events events.jsonl")).expect(0);
        for file in ["pi.h5", "serial.h5", "events.jsonl"] {
            let found = std::fs::metadata(folder.path().join(file)).unwrap();
            assert_eq!((found.uid(), found.gid()), (uid, uid), "{file}");
        }
        // Only root may remove root's files from a folder that is another user's.
        docker.run(&format!("--user 0 -v {path}:/data"), "sh -c 'rm /data/*'").expect(0);
    }
}

fn volume(docker: &'static Docker) {
    let flags = format!("-v {}-data:/data", docker.name);
    docker.run(&flags, &format!("mpiexec -n 3 rankpool run {PI} --output pi.h5")).expect(0);
    let found = docker.run(&flags, "stat -c '%U %n' pi.h5").expect(0);
    assert_eq!(found.stdout, "mpi pi.h5\n");
    docker.run(&flags, "rankpool show pi.h5").expect(0);
}

fn stop(docker: &'static Docker) {
    let job = "sleep --tasks 100 --duration 50ms --spread exponential";
    let volume = format!("{}-stop", docker.name);
    let run = format!("-v {volume}:/data {} mpiexec -n 3 rankpool run {job} --output s.h5", docker.image);
    let id = docker.sh(&format!("docker run -d {run}"));
    std::thread::sleep(Duration::from_millis(1500));
    docker.sh(&format!("docker stop {id}"));
    let code = docker.sh(&format!("docker wait {id}"));
    assert_ne!(code.trim(), "0");
    let flags = format!("-v {volume}:/data");
    let resumed = docker
        .run(&flags, &format!("mpiexec -n 3 rankpool run {job} --output s.h5 --resume --json"))
        .expect(0);
    let report = resumed.json();
    let from_journal = report["resumed"].as_u64().unwrap();
    assert!((1..100).contains(&from_journal), "{report}");
    assert_eq!(report["results_digest"], docker.serial(job)["results_digest"]);
}

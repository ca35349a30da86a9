//! The commands of docs/docker.md are run as they stand; only the names of what is made are this test's own.

use std::{fs, os::unix::fs::MetadataExt, process::Command, time::Duration};

use crate::{Test, engine::Docker, support::start};

pub const TESTS: &[Test] = &[
    ("every command of the guide runs", guide),
    ("what the guide advises for trouble works", advice),
    ("the commands of the README are those of the guide", readme),
];

/// The lines of a document's fenced blocks.
fn commands(text: &str) -> Vec<String> {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("```") {
            inside = !inside;
            assert!(!inside || kind == "sh", "a block that no test runs: ```{kind}");
        } else if inside {
            lines.push(line.to_string());
        }
    }
    lines
}

fn guide(docker: &'static Docker) {
    let lines = commands(&fs::read_to_string(docker.sources.join("docs/docker.md")).unwrap());
    assert!(lines.len() > 40, "{lines:?}");
    let script = lines
        .join("\n")
        .replace("rankpool:local", &docker.image)
        .replace("rankpool:slurm", &docker.slurm_image)
        .replace("pi-results", &format!("{}-guide", docker.name))
        .replace("pi-long", &format!("{}-long", docker.name));
    fs::write(docker.sources.join("guide.sh"), &script).unwrap();
    // A terminal, as its reader has: `docker compose exec` asks for one.
    let mut bash = docker.bash(&format!("trap '{TAKE_DOWN}' EXIT\nset -v\n. ./guide.sh"));
    bash.env("COMPOSE_PROJECT_NAME", format!("{}-guide", docker.name));
    let ended = start(&mut in_terminal(&bash)).end_within(Duration::from_secs(300)).expect(0);
    let own = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    for file in
        ["pi.h5", "long.h5", "cluster.h5", "leaders.h5", "pi.jsonl", "srun.h5", "mpirun.h5", "pi-1.log"]
    {
        let found = fs::metadata(docker.sources.join("results").join(file)).unwrap();
        assert_eq!((found.uid(), found.gid()), own, "{file}\n{}", ended.stdout);
        assert!(found.len() > 0, "{file}");
    }
    let copied = fs::read(docker.sources.join("results/copy.h5")).unwrap();
    assert!(copied.starts_with(b"\x89HDF\r\n"), "copy.h5 is no HDF5 file");
}

const TAKE_DOWN: &str = "docker compose -f docker/compose.yaml --profile slurm down -v -t 1 >/dev/null 2>&1";

/// The symptoms and fixes of the guide's table that are no whole commands.
fn advice(docker: &'static Docker) {
    let run = "rankpool run pi --tasks 20 --samples 10000";
    // Now and then Open MPI 4 cannot read the text of its own message.
    let small = || docker.run("--shm-size 4m", &format!("mpiexec -n 4 {run}")).stderr;
    let told = |text: &String| text.contains("not enough space for /dev/shm/vader_segment");
    assert!((0..5).map(|_| small()).any(|text| told(&text)), "{}", small());
    let large = docker.run("--shm-size 1g", &format!("mpiexec -n 20 {run}")).expect(0);
    assert!(!large.stderr.contains("not enough space"), "{large:?}");
    let without = "mpiexec --mca btl_tcp_if_exclude lo,docker0,eth1 --mca oob_tcp_if_exclude lo,docker0,eth1";
    docker.run("", &format!("{without} -n 1 {run} --mode pool --workers 2 --oversubscribe")).expect(0);
    let pool = format!("timeout 30 mpiexec -n 1 {run} --mode pool --workers 2 --oversubscribe");
    assert_ne!(docker.run("--network none", &pool).code, 0);
    let flags = format!("-d --user 0 --label {}", docker.name);
    let id = docker.sh(&format!("docker run {flags} {} sleep 60", docker.image)).trim().to_string();
    let refused = docker.sh(&format!("docker exec {id} mpiexec -n 2 {run} 2>&1 || true"));
    assert!(refused.contains("mpiexec has detected an attempt to run as root"), "{refused}");
    docker.sh(&format!("docker exec {id} entrypoint mpiexec -n 2 {run}; docker rm -f {id}"));
}

/// The same command in a terminal of its own, by script(1).
fn in_terminal(command: &Command) -> Command {
    let script = command.get_args().last().unwrap();
    let mut terminal = Command::new("script");
    terminal
        .args(["-qefc", "exec bash -euo pipefail -c \"$GUIDE\"", "/dev/null"])
        .env("GUIDE", script)
        .env("SHELL", "/bin/bash")
        .current_dir(command.get_current_dir().unwrap());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => terminal.env(name, value),
            None => terminal.env_remove(name),
        };
    }
    terminal
}

fn readme(docker: &'static Docker) {
    let guide = commands(&fs::read_to_string(docker.sources.join("docs/docker.md")).unwrap());
    let readme = fs::read_to_string(docker.sources.join("README.md")).unwrap();
    let ours: Vec<&str> = readme.lines().filter(|line| line.starts_with("docker ")).collect();
    assert!(!ours.is_empty());
    for line in ours {
        assert!(guide.iter().any(|command| command == line), "the guide has no {line}");
    }
}

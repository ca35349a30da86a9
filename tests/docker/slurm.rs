//! Slurm whose nodes are containers.

use serde_json::Value;

use crate::{Test, cluster::Cluster, engine::Docker};

pub const TESTS: &[Test] =
    &[("sbatch runs over containers with srun and mpirun, as a user of any number", sbatch)];

const PI: &str = "pi --tasks 60 --samples 200000";

fn sbatch(docker: &'static Docker) {
    let environment = [("CLUSTER_USER", "12345:12345"), ("CLUSTER_SLOTS", "2")];
    let cluster = Cluster::up(docker, "slurm", "--profile slurm up -d --scale node=2 login", &environment);
    let login = |command: &str| cluster.compose(&format!("--profile slurm exec -T login {command}"));
    let script = format!(
        "#!/bin/bash
         #SBATCH --nodes=2 --ntasks-per-node=2 --output=job.log
         srun --mpi=pmix rankpool run {PI} --json --events srun.jsonl >srun.json
         mpirun rankpool run {PI} --json --events mpirun.jsonl >mpirun.json
         mpirun -n 1 rankpool run {PI} --json --mode pool --events pool.jsonl >pool.json
         srun --nodes=2 --ntasks=2 --ntasks-per-node=1 sh -c 'touch /tmp/$(hostname) /dev/shm/$(hostname); sleep 1; ls /tmp /dev/shm; hostname -i'
         "
    );
    let unindented: String = script.lines().map(|line| format!("{}\n", line.trim_start())).collect();
    std::fs::write(docker.sources.join("job.sbatch"), unindented).unwrap();
    let id = cluster.compose("--profile slurm ps -q login");
    docker.sh(&format!("docker cp job.sbatch {}:/data/", id.trim()));
    login("timeout 60 sbatch --wait job.sbatch");
    let log = login("cat job.log");
    let serial = docker.serial(PI);
    let nodes = cluster.ids("node");
    for (way, mode, workers) in [("srun", "comm", 3), ("mpirun", "comm", 3), ("pool", "pool", 3)] {
        let report: Value = serde_json::from_str(&login(&format!("cat {way}.json"))).unwrap();
        assert_eq!((&report["mode"], &report["workers"]), (&mode.into(), &workers.into()), "{report}");
        assert_eq!(report["results_digest"], serial["results_digest"], "{way}");
        let events = login(&format!("cat {way}.jsonl"));
        let started: Value = serde_json::from_str(events.lines().next().unwrap()).unwrap();
        for worker in started["workers"].as_array().unwrap() {
            assert!(nodes.contains(worker["host"].as_str().unwrap()), "{worker} {nodes:?}");
        }
        for node in &nodes {
            assert!(events.lines().next().unwrap().contains(node.as_str()), "{way} has no worker on {node}");
        }
    }
    // Each node sees its own file only, in /tmp and in /dev/shm, and has an address of its own.
    for node in &nodes {
        assert_eq!(log.lines().filter(|line| line.trim() == node).count(), 2, "{log}");
    }
    let addresses: std::collections::BTreeSet<_> =
        log.lines().filter(|line| line.split('.').count() == 4).collect();
    assert_eq!(addresses.len(), 2, "{log}");
    assert_eq!(login("stat -c %u job.log srun.json"), "12345\n12345\n");
    // More nodes join as they start.
    cluster.compose("--profile slurm up -d --scale node=3 login");
    assert_eq!(login("sinfo -h -N -o %N").lines().count(), 3);
    let modes = login("stat -c '%u %a' /cluster/munge.key");
    assert_eq!(modes, "12345 600\n");
}

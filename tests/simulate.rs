//! `rankpool simulate`: what it prints, refuses and says of schedules. All in virtual time: the same on every machine.

mod support;

use serde_json::Value;
use support::{Ended, start};

const RANKPOOL: &str = env!("CARGO_BIN_EXE_rankpool");

fn simulate(arguments: &str) -> Ended {
    start(support::under(0, &[], RANKPOOL).arg("simulate").args(arguments.split_whitespace())).end()
}

/// What it says of each setting.
fn told(arguments: &str) -> Vec<Value> {
    let ended = simulate(&format!("{arguments} --json")).expect(0);
    ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn number(told: &Value, name: &str) -> f64 {
    told[name].as_f64().unwrap_or_else(|| panic!("{name} of {told}"))
}

#[test]
fn auto_is_within_5_percent_of_the_best_policy_for_every_kind_of_tasks() {
    for workers in [2, 3, 64, 1024] {
        for (time, tasks) in [
            ("constant:1us", 50_000),
            ("constant:10us", 10_000),
            ("constant:1ms", 1000),
            ("exponential:1ms", 1000),
            ("lognormal:1ms,1", 1000),
            ("pareto:1ms,2", 1000),
            ("ramp:2ms,0s", 1000),
            ("slow:1ms,3", 1000),
        ] {
            let tasks = tasks * workers;
            // One task at a time is no choice where rank 0 cannot keep up: it would only take long here.
            let hopeless = workers >= 64 && time.ends_with("us");
            let policies =
                ["static,guided,factoring,auto", "1,static,guided,factoring,auto"][usize::from(!hopeless)];
            let setting = format!("--workers {workers} --tasks {tasks} --time {time} --chunk {policies}");
            let told = told(&setting);
            let makespans: Vec<f64> = told.iter().map(|told| number(told, "makespan_s")).collect();
            let best = makespans.iter().copied().fold(f64::INFINITY, f64::min);
            let auto = makespans[makespans.len() - 1] / best;
            assert!(auto < 1.05, "{workers} workers, {time}: {auto} of the best, {makespans:?}");
        }
    }
}

#[test]
fn one_setting_gives_one_outcome_and_another_seed_another() {
    let setting = "--workers 50 --tasks 1e4 --time lognormal:10ms,1 --loss 100 --seed";
    let [first, again, other] = [1, 1, 2].map(|seed| told(&format!("{setting} {seed}")).remove(0));
    assert_eq!(first, again);
    assert_ne!(number(&first, "makespan_s"), number(&other, "makespan_s"));
}

#[test]
fn a_single_worker_takes_the_sum_of_its_tasks() {
    let told =
        &told("--workers 1 --tasks 1000 --time ramp:1ms,3ms --latency 0s --overhead 0s --worker-overhead 0s")
            [0];
    assert!((number(told, "makespan_s") - 2.0).abs() < 1e-3, "{told}");
    assert_eq!((number(told, "done"), number(told, "lost")), (1000.0, 0.0));
}

#[test]
fn rank_0_at_its_limit_is_the_limit() {
    let told = told("--workers 1000 --tasks 1e6 --time constant:100us --overhead 1us --chunk 1,auto");
    let rate = number(&told[0], "tasks_per_s");
    assert!((0.95e6..1.01e6).contains(&rate), "1 us each: {rate} tasks/s");
    assert!(number(&told[0], "rank_0_load") > 0.99);
    assert!(number(&told[1], "efficiency") > 0.9 && number(&told[1], "rank_0_load") < 0.5);
}

#[test]
fn leaders_relieve_rank_0() {
    let told = told("--workers 20000 --tasks 2e6 --time constant:1ms --chunk auto --per-leader 0,100");
    let [one, two] = [&told[0], &told[1]];
    assert!(number(two, "efficiency") > number(one, "efficiency"), "{one} {two}");
    assert!(number(two, "rank_0_load") < number(one, "rank_0_load"));
    assert_eq!((&one["leader_chunks"], number(two, "done")), (&Value::Null, 2e6));
}

#[test]
fn the_tasks_of_lost_workers_are_done_by_the_others() {
    let told = &told("--workers 100 --tasks 1e5 --time exponential:10ms --loss 60")[0];
    assert!(number(told, "lost") > 5.0, "{told}");
    assert_eq!(number(told, "done"), 1e5);
    let none = simulate("--workers 2 --tasks 1e6 --time constant:1s --loss 3600").expect(1);
    assert!(none.stdout.contains("lost workers     2"), "{}", none.stdout);
}

#[test]
fn the_plot_is_an_svg_file_that_is_not_replaced_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let plot = folder.path().join("out.svg");
    let setting = format!("--workers 10,100 --tasks 1e4 --time constant:1ms --plot {}", plot.display());
    let table = simulate(&setting).expect(0).stdout;
    assert_eq!(table.lines().count(), 3, "{table}");
    let drawn = std::fs::read_to_string(&plot).unwrap();
    assert!(drawn.starts_with("<svg") && drawn.contains("constant:1ms, chunk auto"));
    assert!(simulate(&setting).expect(2).stderr.contains("--force replaces it"));
    simulate(&format!("{setting} --force")).expect(0);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    for (wrong, says) in [
        ("--workers 0 --tasks 10 --time constant:1s", "whole number from 1"),
        ("--workers 1e9 --tasks 10 --time constant:1s", "at most 10000000 workers"),
        ("--workers 1 --tasks 1.5 --time constant:1s", "whole number from 1"),
        ("--workers 1 --tasks 10 --time 10ms", "lognormal:MEAN,SIGMA"),
        ("--workers 1 --tasks 10 --time constant:1s --latency soon", "expected a time"),
        ("--workers 1 --tasks 10 --time constant:1s --loss=-1", "an hour"),
        ("--workers 1 --tasks 10", "--time"),
    ] {
        let err = simulate(wrong).expect(2).stderr;
        assert!(err.contains(says), "{wrong}: {err}");
    }
}

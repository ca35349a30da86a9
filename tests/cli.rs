//! The `rankpool` program as its users run it: serially, under mpiexec, and wrongly.

mod support;

use std::{path::Path, process::Command};

use serde_json::Value;
use support::{Ended, Stack, mpiexec, stack, start, wait};

const RANKPOOL: &str = env!("CARGO_BIN_EXE_rankpool");

fn rankpool(arguments: &[&str]) -> Ended {
    start(support::under(0, &[], RANKPOOL).args(arguments)).end()
}

fn under(ranks: u32, arguments: &[&str]) -> Ended {
    start(support::under(ranks, &[], RANKPOOL).args(arguments)).end()
}

/// Every way to run a job: ranks by mpiexec, and flags.
const WAYS: [(u32, &[&str]); 10] = [
    (0, &["--mode", "serial"]),
    (0, &["--mode", "threads", "--workers", "3"]),
    (0, &["--mode", "processes", "--workers", "2"]),
    (0, &["--mode", "processes", "--workers", "2", "--threads-per-worker", "2"]),
    (2, &["--mode", "comm"]),
    (3, &[]),
    (4, &["--chunk", "guided"]),
    (1, &["--mode", "pool", "--workers", "2", "--oversubscribe"]),
    (3, &["--chunk", "1"]),
    (3, &["--chunk", "7"]),
];

fn digests(job: &[&str]) -> Vec<Value> {
    let reports = WAYS.map(|(ranks, flags)| {
        let arguments = [&["run"], job, flags, &["--json"]].concat();
        under(ranks, &arguments).expect(0).json()
    });
    let first = &reports[0]["results_digest"];
    for (report, way) in reports.iter().zip(WAYS) {
        assert_eq!(report["results_digest"], *first, "{way:?}");
        assert_eq!(report["summary"], reports[0]["summary"], "{way:?}");
    }
    reports.into()
}

#[test]
fn squares_give_one_digest_in_every_mode_and_the_sum_of_the_formula() {
    let reports = digests(&["squares", "--n", "5000"]);
    assert_eq!(reports[0]["summary"]["sum"], 41_679_167_500u64);
    let modes: Vec<_> = reports.iter().map(|report| report["mode"].as_str().unwrap()).collect();
    assert_eq!(modes[..4], ["serial", "threads", "processes", "processes"]);
    assert_eq!(modes[4..8], ["comm", "comm", "comm", "pool"]);
    let workers: Vec<_> = reports.iter().map(|report| report["workers"].as_u64().unwrap()).collect();
    assert_eq!(workers, [1, 3, 2, 2, 1, 2, 3, 2, 2, 2]);
    assert_eq!((&reports[5]["ranks"], &reports[0]["ranks"]), (&3.into(), &1.into()));
}

#[test]
fn pi_gives_one_digest_for_one_seed_in_every_mode() {
    let job = ["pi", "--tasks", "40", "--samples", "20000", "--seed", "5"];
    let reports = digests(&job);
    let (pi, error) = (reports[0]["summary"]["pi"].as_f64(), reports[0]["summary"]["std_error"].as_f64());
    assert!((pi.unwrap() - std::f64::consts::PI).abs() < 5.0 * error.unwrap(), "{:?}", reports[0]);
    let other = rankpool(&["run", "pi", "--tasks", "40", "--samples", "20000", "--seed", "6", "--json"]);
    assert_ne!(other.json()["results_digest"], reports[0]["results_digest"]);
}

#[test]
fn words_agrees_with_wc_in_every_mode() {
    let folder = Path::new("/usr/share/common-licenses");
    let files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| path.to_str().unwrap().to_string())
        .collect();
    let mut files: Vec<&str> = files.iter().map(String::as_str).collect();
    files.sort_unstable();
    let counted = Command::new("wc").arg("-lwc").args(&files).output().unwrap();
    let totals = String::from_utf8(counted.stdout).unwrap();
    let totals: Vec<u64> = totals.lines().last().unwrap().split_whitespace().flat_map(str::parse).collect();
    let reports = digests(&[&["words", "--piece", "10000", "--top", "3"], &files[..]].concat());
    let summary = &reports[0]["summary"];
    let found = ["lines", "words", "bytes"].map(|name| summary[name].as_u64().unwrap());
    assert_eq!(found[..], totals[..]);
    assert_eq!(summary["top"][0][0], "the");
}

#[test]
fn words_names_a_file_that_is_missing_unreadable_or_no_text() {
    let missing = under(3, &["run", "words", "/no/such/file"]).expect(2);
    assert!(missing.stderr.contains("/no/such/file: No such file"), "{missing:?}");
    let folder = rankpool(&["run", "words", "/tmp"]).expect(2);
    assert!(folder.stderr.contains("no regular file"), "{folder:?}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"good text\nbad \xff text\n").unwrap();
    let binary = under(2, &["run", "words", file.path().to_str().unwrap()]).expect(1);
    assert!(binary.stderr.contains("is no UTF-8 text at byte 14"), "{binary:?}");
}

#[test]
fn sleep_takes_its_time_and_runs_side_by_side() {
    let ended = rankpool(&[
        "run",
        "sleep",
        "--tasks",
        "8",
        "--duration",
        "100ms",
        "--mode",
        "threads",
        "--workers",
        "8",
        "--json",
    ]);
    let report = ended.expect(0).json();
    let wall = report["wall_s"].as_f64().unwrap();
    assert!((0.1..0.7).contains(&wall), "{report}");
    for spread in ["exponential", "lognormal"] {
        let ended =
            rankpool(&["run", "sleep", "--tasks", "400", "--duration", "50us", "--spread", spread, "--json"]);
        let slept = ended.expect(0).json()["summary"]["slept_s"].as_f64().unwrap();
        assert!((0.013..0.03).contains(&slept), "{spread}: {slept}");
    }
}

#[test]
fn mandelbrot_draws_a_picture_and_overwrites_none() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("out.png");
    let arguments = ["run", "mandelbrot", "--size", "200", "--json", "--picture", picture.to_str().unwrap()];
    let report = under(3, &arguments).expect(0).json();
    assert_eq!(report["summary"]["points"], 40_000);
    let inside = report["summary"]["inside"].as_u64().unwrap();
    assert!((2_000..20_000).contains(&inside), "{report}");
    let decoder = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(&picture).unwrap()));
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((frame.width, frame.height), (200, 200));
    let dark = pixels.chunks(3).filter(|pixel| **pixel == [12, 8, 20]).count() as u64;
    assert_eq!(dark, inside, "each point that stays is dark");
    let again = rankpool(&arguments).expect(2);
    assert!(again.stderr.contains("exists already"), "{again:?}");
}

#[test]
fn json_stands_alone_on_standard_output_with_every_field() {
    let ended = under(3, &["run", "squares", "--json", "--progress", "lines", "--chunk", "9", "--seed", "4"]);
    let report = ended.expect(0).json();
    let fields: Vec<&String> = report.as_object().unwrap().keys().collect();
    let expected = "job mode ranks workers children slots tasks done failed not_run resumed retried lost_workers \
                    lost_children wall_s tasks_per_s utilisation slowest_task rank_0_peak_bytes chunk seed results_digest files summary";
    assert_eq!(fields, expected.split(' ').collect::<Vec<_>>());
    assert_eq!((&report["chunk"], &report["seed"]), (&"9".into(), &4.into()));
}

#[test]
fn lines_of_progress_have_no_carriage_returns() {
    let ended = rankpool(&["run", "sleep", "--tasks", "55", "--duration", "100ms", "--chunk", "1"]).expect(0);
    assert!(!ended.stderr.contains('\r'));
    assert!(ended.stderr.contains("/55 tasks, 0 failed"), "a line after five seconds: {ended:?}");
    assert!(ended.stderr.contains("1/1 workers busy, ETA"), "{ended:?}");
}

#[test]
fn a_bar_is_drawn_where_it_is_asked_for() {
    let arguments = ["run", "sleep", "--tasks", "5", "--progress", "bar"].join(" ");
    let ended = start(
        Command::new("script")
            .args(["-qec", &format!("{RANKPOOL} {arguments}"), "/dev/null"])
            .env("TERM", "xterm"),
    )
    .end();
    assert!(ended.stdout.contains("ETA") && ended.stdout.contains("workers busy"), "{ended:?}");
}

#[test]
fn bad_usage_ends_with_2_one_message_and_a_suggestion() {
    let typo = under(3, &["run", "squares", "--chnk", "3"]).expect(2);
    assert_eq!(typo.stderr.matches("unexpected argument").count(), 1, "{typo:?}");
    assert!(typo.stderr.contains("--chunk"), "{typo:?}");
    let job = rankpool(&["run", "square"]).expect(2);
    assert!(job.stderr.contains("'squares'"), "{job:?}");
    let dashes = rankpool(&["exec", "echo", "a"]).expect(2);
    assert!(dashes.stderr.contains("stand behind --"), "{dashes:?}");
    for arguments in [
        &["run", "squares", "--chunk", "0"][..],
        &["run", "squares", "--workers", "0", "--mode", "threads"],
        &["run", "squares", "--workers", "-99", "--mode", "threads"],
        &["run", "squares", "--workers", "3", "--mode", "serial"],
        &["run", "squares", "--task-timeout", "1s"],
        &["run", "squares", "--mode", "comm"],
        &["run", "squares", "--mode", "threads", "--threads-per-worker", "2"],
        &["run", "squares", "--mode", "threads", "--oversubscribe"],
        &["run", "pi", "--samples", "0"],
        &["run"],
        &[],
    ] {
        let ended = rankpool(arguments).expect(2);
        assert!(!ended.stderr.is_empty() && !ended.stderr.contains("panicked"), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn a_mode_that_does_not_fit_the_launch_is_refused_once() {
    for mode in ["serial", "threads", "processes", "pool"] {
        let ended = under(2, &["run", "squares", "--mode", mode]).expect(2);
        assert_eq!(ended.stderr.matches("is for one rank").count(), 1, "{ended:?}");
    }
    let ended = under(3, &["run", "squares", "--workers", "5"]).expect(2);
    assert_eq!(ended.stderr.matches("the launcher started 2 workers").count(), 1, "{ended:?}");
}

#[test]
fn leaders_that_cannot_be_are_refused_by_one_message() {
    let led = ["--processes-per-worker", "2"];
    let too_many = (std::thread::available_parallelism().unwrap().get() + 1).to_string();
    for (flags, why) in [
        (&["--processes-per-worker", "0"][..], "0 processes in a worker cannot run anything"),
        (&["--processes-per-worker", "-9999"], "leaves none of the"),
        (
            &[&led[..], &["--threads-per-worker", "2"]].concat(),
            "threads or processes within each worker, not both",
        ),
        (&[&led[..], &["--mode", "serial"]].concat(), "mode serial has no leaders"),
        (&[&led[..], &["--mode", "threads"]].concat(), "mode threads has no leaders"),
        (&[&led[..], &["--mode", "processes"]].concat(), "mode processes has no leaders"),
        (&["--bind", "core"], "give --processes-per-worker"),
        (&["--gpus-per-task", "1"], "give --processes-per-worker"),
        (&[&led[..], &["--gpus-per-task", "1"]].concat(), "rank 0 on"),
        (&[&led[..], &["--gpus-per-task", "1.5"]].concat(), "above 1 it is a whole number"),
        (&["--processes-per-worker", &too_many, "--bind", "core"], "gives each child cores of its own"),
    ] {
        let mut command = Command::new(RANKPOOL);
        command.args(["run", "squares"]).args(flags).env("CUDA_VISIBLE_DEVICES", "0");
        let ended = start(&mut command).end().expect(2);
        assert!(ended.stderr.contains(why), "{flags:?}: {ended:?}");
        assert_eq!(ended.stderr.matches("error").count(), 1, "{flags:?}: {ended:?}");
    }
    let both = under(2, &[&["run", "squares", "--threads-per-worker", "2"], &led[..]].concat()).expect(2);
    assert_eq!(both.stderr.matches("not both").count(), 1, "{both:?}");
}

#[test]
fn leaders_give_the_digest_of_one_serial_rank_and_are_counted_apart() {
    let serial = rankpool(&["run", "squares", "--n", "5000", "--json"]).expect(0).json();
    let ended =
        under(2, &["run", "squares", "--n", "5000", "--json", "--processes-per-worker", "2"]).expect(0);
    let report = ended.json();
    assert_eq!(report["results_digest"], serial["results_digest"]);
    let counts = ["ranks", "workers", "children", "slots", "lost_workers", "lost_children"];
    assert_eq!(counts.map(|name| &report[name]), [2, 2, 4, 4, 0, 0]);
    assert_eq!(counts.map(|name| &serial[name]), [1, 1, 0, 1, 0, 0]);
    assert_eq!(ended.stderr.matches("  2 children  ").count(), 2, "{ended:?}");
    assert!(!ended.stderr.contains("lost"), "{ended:?}");
}

#[test]
fn copies_that_srun_starts_without_mpi_are_refused_by_one_message() {
    let copy = |rank: &str| {
        let mut command = Command::new(RANKPOOL);
        command.args(["run", "squares"]).env("SLURM_STEP_ID", "0").env("SLURM_STEP_NUM_TASKS", "4");
        start(command.env("SLURM_PROCID", rank)).end().expect(2).stderr
    };
    assert!(copy("0").contains("srun --mpi=pmix"));
    assert_eq!(copy("1"), "");
}

#[test]
fn too_many_pool_workers_are_refused_with_the_slots_and_the_fix() {
    let mut command = Command::new("mpiexec");
    command.envs(support::MPI).args(stack().three_slots());
    command.args(["-n", "1", RANKPOOL, "run", "squares", "--mode", "pool", "--workers", "9"]);
    let ended = start(&mut command).end();
    assert_ne!(ended.code, 0);
    assert!(ended.stderr.contains("2 slots are free"), "{ended:?}");
    assert!(ended.stderr.contains("--oversubscribe"), "{ended:?}");
    let ended = start(command.arg("--oversubscribe")).end().expect(0);
    assert!(ended.stderr.contains("9 workers"), "{ended:?}");
}

#[test]
fn a_spawn_that_fails_is_an_error_and_no_hang() {
    if stack() == Stack::Mpich {
        support::skipped("MPICH's mpiexec ends the run itself when a spawn names no host of its own");
        return;
    }
    let ended = under(
        1,
        &["run", "squares", "--mode", "pool", "--workers", "1", "--spawn-info", "host=no.such.host"],
    );
    assert_ne!(ended.code, 0);
    assert!(ended.stderr.contains("could not be spawned"), "{ended:?}");
}

#[test]
fn pool_works_without_a_launcher() {
    let arguments = ["run", "squares", "--mode", "pool", "--workers", "2", "--oversubscribe", "--json"];
    let report = rankpool(&arguments).expect(0).json();
    assert_eq!((&report["mode"], &report["workers"]), (&"pool".into(), &2.into()));
}

#[test]
fn a_pool_without_its_launcher_on_path_is_an_error_that_says_so() {
    let mut command = std::process::Command::new(RANKPOOL);
    command.args(["run", "squares", "--mode", "pool", "--workers", "1", "--oversubscribe"]);
    let ended = start(command.env("PATH", "/no/such/folder")).end().expect(70);
    let launcher = match stack() {
        Stack::OpenMpi4 => "orted",
        Stack::OpenMpi5 => "prterun",
        Stack::Mpich => "mpiexec",
    };
    assert!(ended.stderr.contains(&format!("needs its own {launcher} on PATH")), "{ended:?}");
}

#[test]
fn auto_picks_pool_with_room_for_two_workers() {
    let run = |launcher: &[&str]| {
        let mut command = mpiexec(&[launcher, &["-n", "1", RANKPOOL, "run", "squares", "--json"]].concat());
        start(&mut command).end().expect(0).json()
    };
    let report = run(stack().three_slots());
    if stack() == Stack::Mpich {
        // Its launcher does not tell of slots before MPI has started.
        assert_eq!(report["mode"], "serial");
        return;
    }
    assert_eq!((&report["mode"], &report["workers"]), (&"pool".into(), &2.into()));
    assert_eq!(run(&["--host", "localhost:2"])["mode"], "serial");
}

#[test]
fn ranks_beyond_the_tasks_are_harmless() {
    let report = under(4, &["run", "squares", "--n", "1", "--json"]).expect(0).json();
    assert_eq!((&report["tasks"], &report["summary"]["sum"]), (&1.into(), &1.into()));
    let report = under(3, &["run", "squares", "--n", "0", "--json"]).expect(0).json();
    assert_eq!((&report["tasks"], &report["summary"]["sum"]), (&0.into(), &0.into()));
}

#[test]
fn a_signal_ends_all_ranks_with_75_within_two_seconds() {
    for (ranks, mode) in [(0, "serial"), (0, "threads"), (0, "processes"), (3, "comm"), (1, "pool")] {
        let arguments = ["run", "sleep", "--tasks", "9", "--duration", "100s", "--mode", mode];
        let mut command = support::under(ranks, &[], RANKPOOL);
        command.args(arguments).args(match mode {
            "serial" | "comm" => &[][..],
            "pool" => &["--workers", "2", "--oversubscribe"],
            _ => &["--workers", "2"],
        });
        let mut running = start(command.env("RANKPOOL_PROGRESS", "none").env("RANKPOOL_LOG", "info"));
        let pid = wait(support::LIMIT, std::time::Duration::from_millis(20), "rank 0", || {
            let said = running.stderr_so_far();
            let told = said.split("process ").nth(1).and_then(|rest| rest.split_once(" has "));
            assert!(told.is_some() || running.lives(), "{mode}: {said}");
            told.map(|(pid, _)| pid.trim().parse().unwrap()).ok_or(said)
        });
        let began = std::time::Instant::now();
        support::signal_process(pid, rustix::process::Signal::INT);
        let ended = running.end().expect(75);
        assert!(began.elapsed().as_secs_f64() < 3.0, "{mode}: {:?}", began.elapsed());
        assert!(ended.stderr.contains("SIGINT: ending the workers"), "{mode}: {ended:?}");
    }
}

#[test]
fn workers_serve_for_longer_than_they_may_take_to_start() {
    let flags = ["run", "sleep", "--tasks", "9", "--duration", "1s", "--start-timeout", "4s", "--json"];
    for (ranks, mode) in [(2, &["--mode", "comm"][..]), (1, &["--mode", "pool", "--workers", "1"])] {
        let report = under(ranks, &[&flags, mode].concat()).expect(0).json();
        assert_eq!(report["done"], 9);
    }
}

#[test]
fn list_speaks_once_under_mpiexec() {
    assert_eq!(under(3, &["list"]).expect(0).stdout.matches("mandelbrot").count(), 1);
}

#[test]
fn settings_come_from_flag_then_environment_then_default() {
    let run = |flags: &[&str]| {
        let mut command = support::under(0, &[], RANKPOOL);
        command.args(["run", "squares", "--json"]).args(flags);
        start(command.env("RANKPOOL_MODE", "threads").env("RANKPOOL_WORKERS", "3")).end().expect(0).json()
    };
    let report = run(&[]);
    assert_eq!((&report["mode"], &report["workers"]), (&"threads".into(), &3.into()));
    assert_eq!(run(&["--workers", "1"])["workers"], 1);
}

#[test]
fn list_names_every_job_with_its_description() {
    let listed = rankpool(&["list"]).expect(0).stdout;
    for job in ["squares", "pi", "words", "sleep", "mandelbrot"] {
        let line =
            listed.lines().find(|line| line.starts_with(job)).unwrap_or_else(|| panic!("{job}: {listed}"));
        assert!(line.len() > job.len() + 10, "{line}");
    }
}

#[test]
fn help_of_a_job_describes_the_job_and_every_flag() {
    let help = rankpool(&["run", "pi", "--help"]).expect(0).stdout;
    assert!(help.starts_with("Estimate pi by the Monte Carlo method"), "{help}");
    for flag in
        ["--samples", "--mode", "--workers", "--threads-per-worker", "--chunk", "--retries", "--task-timeout"]
    {
        assert!(help.contains(flag), "{flag}: {help}");
    }
    assert!(rankpool(&["--help"]).expect(0).stdout.contains("Examples:"));
}

#[test]
fn doctor_tries_every_part_and_says_where_settings_come_from() {
    let mut command = support::under(0, &[], RANKPOOL);
    command
        .args(["doctor", "--json", "--workers", "2"])
        .env("RANKPOOL_CHUNK", "guided")
        .env("RUST_BACKTRACE", "0");
    let report = start(&mut command).end_within(2 * support::LIMIT).expect(0).json();
    let checks = report["checks"].as_array().unwrap();
    let named =
        |name: &str| checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("{name}"));
    for name in [
        "launcher",
        "CPUs",
        "MPI library",
        "mpiexec",
        "user",
        "MPI starts",
        "mode comm",
        "mode pool",
        "child dies",
        "rank dies",
        "srun",
    ] {
        assert_eq!(named(name)["ok"], true, "{name}: {report}");
    }
    let found = |name: &str| named(name)["found"].as_str().unwrap().to_string();
    assert!(found("child dies").contains("goes on"), "{report}");
    assert!(found("rank dies").contains("--processes-per-worker"), "leaders are recommended: {report}");
    let setting = |name: &str| {
        let settings = report["settings"].as_array().unwrap();
        let found = settings.iter().find(|setting| setting["name"] == name).unwrap();
        (found["value"].as_str().unwrap().to_string(), found["from"].as_str().unwrap().to_string())
    };
    assert_eq!(setting("workers"), ("2".into(), "flag".into()));
    assert_eq!(setting("chunk"), ("guided".into(), "RANKPOOL_CHUNK".into()));
    assert_eq!(setting("seed"), ("0".into(), "default".into()));
}

/// By what the launcher says in the environment, inside of a launch as well.
#[test]
fn doctor_says_which_deaths_end_this_run() {
    let told = |variables: &[(&str, &str)]| {
        let mut doctor = Command::new(RANKPOOL);
        // Without an mpiexec nothing is tried.
        doctor.args(["doctor", "--json"]).env("PATH", "/no/such/folder").envs(variables.iter().copied());
        let report = start(&mut doctor).end().expect(1).json();
        let check = report["checks"].as_array().unwrap().iter().find(|check| check["name"] == "rank dies");
        check.unwrap()["found"].as_str().unwrap().to_string()
    };
    let recovery = told(&[("OMPI_MCA_orte_enable_recovery", "1")]);
    assert!(recovery.starts_with("the run goes on"), "{recovery}");
    assert!(told(&[]).starts_with("the run ends"));
}

#[test]
fn doctor_finds_a_missing_launcher() {
    let ended = start(Command::new(RANKPOOL).arg("doctor").env("PATH", "/no/such/folder")).end().expect(1);
    assert!(ended.stdout.contains("WRONG mpiexec"), "{ended:?}");
    assert!(ended.stdout.contains("fix:"), "{ended:?}");
}

#[test]
fn a_users_own_program_has_every_command() {
    let program = std::env::current_exe().unwrap();
    let program = program.parent().unwrap().parent().unwrap().join("examples/own_job");
    let program = program.to_str().unwrap();
    let source =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/own_job.rs")).unwrap();
    assert!(source.lines().count() <= 40);
    let mut command = mpiexec(&["-n", "3", program, "run", "collatz", "--n", "10000", "--json"]);
    let report = start(&mut command).end().expect(0).json();
    assert_eq!((&report["mode"], &report["summary"]), (&"comm".into(), &"6171 takes 261 steps".into()));
    assert!(start(Command::new(program).arg("list")).end().expect(0).stdout.starts_with("collatz  Find"));
}

#[test]
fn in_a_job_of_slurms_the_cpus_are_those_that_it_has_allotted() {
    let workers = |variables: &[(&str, &str)]| {
        let mut command = Command::new(RANKPOOL);
        command.args(["run", "squares", "--n", "9", "--mode", "threads", "--workers", "-1", "--json"]);
        start(command.envs(variables.iter().copied())).end().expect(0).json()["workers"].as_u64().unwrap()
    };
    let all = workers(&[]);
    let job = [("SLURM_JOB_ID", "7"), ("SLURM_CPUS_ON_NODE", "1"), ("SLURM_CPUS_PER_TASK", "512")];
    assert_eq!(workers(&job), 1);
    assert_eq!(workers(&[job[0], ("SLURM_CPUS_ON_NODE", "512")]), all, "no more than there are");
}

#[test]
fn nodes_of_a_job_on_which_nothing_runs_are_told() {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let told = |nodes: &str| {
        let mut command = Command::new(RANKPOOL);
        command.args(["run", "squares", "--n", "9"]);
        start(command.env("SLURM_JOB_ID", "7").env("SLURM_JOB_NODELIST", nodes)).end().expect(0).stderr
    };
    let some = told(&format!("{host},idle[08-09]"));
    assert!(some.contains("no worker runs on 2 of the 3 nodes of this job: idle08 idle09"), "{some}");
    assert!(!told(&host).contains("no worker runs on"));
    assert!(!told("other[1-2]").contains("no worker runs on"), "names that are no hosts' say nothing");
}

//! The sbatch scripts of `rankpool slurm`, without a Slurm: what is in them, and what is refused.

mod support;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use proptest::prelude::*;
use support::{Ended, start};

fn rankpool(arguments: &[&str]) -> Ended {
    start(Command::new(env!("CARGO_BIN_EXE_rankpool")).args(arguments)).end()
}

/// The script for these flags, of a program that is on PATH.
fn script(flags: &[&str], run: &[&str]) -> String {
    let command = [&["slurm", "--program", "rankpool"], flags, &["--", "run"], run].concat();
    rankpool(&command).expect(0).stdout
}

fn refused(flags: &[&str], run: &[&str]) -> String {
    let ended = rankpool(&[&["slurm"], flags, &["--"], run].concat()).expect(2);
    assert_eq!(ended.stdout, "", "nothing of a script");
    ended.stderr
}

#[track_caller]
fn passes_shellcheck(script: &Path) {
    let ended = start(Command::new("shellcheck").arg(script)).end();
    assert_eq!(ended.code, 0, "{}:\n{}", script.display(), ended.stdout);
}

fn slurm_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("slurm")
}

const PI: [&str; 5] = ["pi", "--tasks", "1000", "--output", "pi.h5"];
const PI_OF_ELEMENT: [&str; 7] = ["pi", "--tasks", "1000", "--seed", "%a", "--output", "pi-%a.h5"];

/// The scripts in `slurm/`, and the flags that make them.
const BY_HAND: [(&str, &[&str], &[&str]); 6] = [
    ("leaders.sh", &["--nodes", "2", "--mode", "leaders"], &PI),
    ("comm-srun.sh", &["--nodes", "2"], &PI),
    ("comm-mpirun.sh", &["--nodes", "2", "--launcher", "mpirun"], &PI),
    ("pool-mpirun.sh", &["--nodes", "2", "--mode", "pool"], &PI),
    ("hybrid.sh", &["--nodes", "2", "--mode", "hybrid"], &PI),
    ("serial-array.sh", &["--array", "1-10"], &PI_OF_ELEMENT),
];

/// With RANKPOOL_WRITE_SCRIPTS set, they are written anew instead.
#[test]
fn the_scripts_for_use_by_hand_are_those_that_the_command_prints() {
    for (name, flags, run) in BY_HAND {
        let path = slurm_folder().join(name);
        let made = script(flags, run);
        if std::env::var_os("RANKPOOL_WRITE_SCRIPTS").is_some() {
            std::fs::write(&path, &made).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == made, "slurm/{name} is old: RANKPOOL_WRITE_SCRIPTS=1 cargo test --test sbatch");
        passes_shellcheck(&path);
    }
    let scripts = std::fs::read_dir(slurm_folder()).unwrap().flatten();
    let scripts = scripts.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "sh"));
    assert_eq!(scripts.count(), BY_HAND.len(), "each script in slurm/ is looked at");
}

const EVERYTHING: [&str; 38] = [
    "--nodes",
    "2-4",
    "--ntasks-per-node",
    "8",
    "--cpus-per-task",
    "2",
    "--time",
    "1-12:30",
    "--partition",
    "fast",
    "--account",
    "physics",
    "--qos",
    "high",
    "--mem",
    "4G",
    "--gres",
    "gpu:a100:2",
    "--module",
    "gcc/12 openmpi/4.1",
    "--module",
    "hdf5",
    "--setup",
    "export OMP_NUM_THREADS=1",
    "--setup",
    "ulimit -c 0",
    "--dependency",
    "afterok:12:13",
    "--mail-user",
    "me@example.org",
    "--sbatch-arg=--constraint=avx2",
    "--sbatch-arg",
    "--exclusive",
    "--job-name",
    "sweep",
    "--mpi",
    "pmix_v4",
    "--grace=300",
];

#[test]
fn each_option_has_its_place() {
    for (name, flags, run) in [
        ("everything", &EVERYTHING[..], &PI[..]),
        ("nothing", &[], &["pi"]),
        ("pool", &["--mode", "pool", "--time", "30m", "--nodes", "3"], &PI),
        ("hybrid under mpirun", &["--mode", "hybrid", "--launcher", "mpirun", "--cpus-per-task", "16"], &PI),
        (
            "leaders on whole nodes under mpirun",
            &["--mode", "leaders", "--launcher", "mpirun", "--nodes", "4"],
            &PI,
        ),
        ("ranks of the whole job", &["-n", "16", "--time", "2h"], &PI),
        ("leaders on one node", &["--mode", "leaders", "--cpus-per-task", "16", "--gres", "gpu:4"], &PI),
        ("an array over MPI", &["--array", "0-9%2", "--mode", "comm"], &PI_OF_ELEMENT),
        ("serial", &["--mode", "serial", "--time", "5m"], &PI),
        ("quoted", &["--mode", "serial"], &["words", "it's $HOME; `ls`", "a b", "100%%", "-o", "w-%j.h5"]),
    ] {
        let script = script(flags, run);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("script.sh");
        std::fs::write(&path, &script).unwrap();
        passes_shellcheck(&path);
        insta::assert_snapshot!(name, script);
    }
}

#[test]
fn no_value_becomes_another_line_or_another_option() {
    let line = "x\n#SBATCH --uid=0";
    for flag in [
        "--job-name",
        "--nodes",
        "--ntasks",
        "--ntasks-per-node",
        "--cpus-per-task",
        "--time",
        "--partition",
        "--account",
        "--qos",
        "--mem",
        "--gres",
        "--array",
        "--dependency",
        "--mail-user",
        "--sbatch-arg",
        "--module",
        "--setup",
        "--mpi",
        "--grace",
        "--program",
    ] {
        for value in [line, &format!("--y{line}"), "", "\u{1b}[2J"] {
            refused(&[&format!("{flag}={value}")], &[&["run"], &PI[..]].concat());
        }
    }
    for value in ["fast --uid=0", "fast;rm", "$(id)", "`id`", "a\"b", "a'b", "a\\b", "#", "-p"] {
        for flag in ["--partition", "--account", "--qos", "--job-name", "--mail-user", "--module", "--gres"] {
            let twice_named = flag == "--module" && value.contains(' ');
            let told = refused(&[&format!("{flag}={value}")], &[&["run"], &PI[..]].concat());
            assert!(twice_named || told.contains("expected"), "{flag} {value}: {told}");
        }
    }
    refused(&[], &["run", "pi", "--output", line]);
}

#[test]
fn what_would_fail_in_the_queue_is_refused_before() {
    let run = [&["run"], &PI[..]].concat();
    for (flags, run, why) in [
        (&[][..], &["run", "nonsense"][..], "nonsense"),
        (&[], &["run", "pi", "--taskz", "3"], "--taskz"),
        (&[], &["run", "pi", "--resume"], "--output or --journal"),
        (&[], &["list"], "-- run JOB"),
        (&["--mode", "pool", "--launcher", "srun"], &run, "srun cannot"),
        (&["--ntasks-per-node", "1"], &run, "no worker"),
        (&["--mode", "serial", "--nodes", "2"], &run, "mode serial has one rank"),
        (&["--array", "0-3"], &run, "put %a into its name"),
        (&[], &["run", "pi", "--mode", "threads"], "leave it out"),
        (&[], &["run", "pi", "--output", "pi-%a.h5"], "give --array"),
        (&["--wait"], &run, "--submit"),
        (&["--ntasks", "1"], &run, "no worker"),
        (&["--mode", "leaders", "-n", "4"], &run, "give --nodes"),
        (&["-n", "4", "--ntasks-per-node", "2"], &run, "cannot be used with"),
    ] {
        let told = refused(flags, run);
        assert!(told.contains(why), "{flags:?} {run:?}: {told}");
    }
}

#[test]
fn a_bare_time_is_seconds_and_who_meant_minutes_is_told() {
    let slurm = |time| rankpool(&[&["slurm", "--time", time, "--", "run"], &PI[..]].concat()).expect(0);
    let seconds = slurm("90");
    assert!(seconds.stdout.contains("#SBATCH --time=00:01:30"), "{seconds:?}");
    assert!(seconds.stderr.contains("seconds (00:01:30)") && seconds.stderr.contains("90m"), "{seconds:?}");
    assert_eq!(slurm("90m").stderr, "");
}

#[test]
fn programs_are_submitted_as_tasks() {
    for (command, line) in [
        (
            &["exec", "--grid", "x=0:1:0.5", "-o", "o.h5", "--", "./model", "{x}", "$(rm y)"][..],
            r#"command=(rankpool exec --grid x=0:1:0.5 -o o.h5 -- ./model "{x}" "\$(rm y)")"#,
        ),
        (&["pipe", "--raw", "--", "bc", ":::", "1+1"], "command=(rankpool pipe --raw -- bc ::: 1+1)"),
    ] {
        let flags = ["slurm", "--program", "rankpool", "--"];
        let script = rankpool(&[&flags[..], command].concat()).expect(0).stdout;
        assert!(script.lines().any(|found| found == line), "{script}");
    }
    assert!(refused(&[], &["exec", "--grid", "x=0:1:0.5", "--nonsense"]).contains("--nonsense"));
}

/// The script for a program that starts an executor itself.
fn script_of(flags: &[&str], program: &[&str]) -> Ended {
    rankpool(&[&["slurm"], flags, &["--"], program].concat())
}

#[test]
fn a_script_of_python_is_submitted_as_it_is() {
    let venv = ["--module", "python/3.12", "--setup", ". venv/bin/activate", "--nodes", "2"];
    let script = script_of(&venv, &["python", "-u", "sweep.py", "--width", "3"]).expect(0).stdout;
    insta::assert_snapshot!("a Python script", script);

    let leaders = script_of(
        &[&venv[..], &["--mode", "leaders", "--cpus-per-task", "8"]].concat(),
        &["python", "-m", "sweeps.wide", "$x"],
    )
    .expect(0)
    .stdout;
    for line in [
        "#SBATCH --job-name=sweeps.wide",
        "#SBATCH --no-requeue",
        r#"command=(python -m sweeps.wide "\$x")"#,
        r#"export RANKPOOL_PROCESSES_PER_WORKER="${SLURM_CPUS_PER_TASK:--1}""#,
    ] {
        assert!(leaders.lines().any(|found| found == line), "{line}: {leaders}");
    }
    let array = script_of(&["--array", "1-3"], &["sh", "-c", "exec ./sweep %a"]).expect(0).stdout;
    assert!(array.contains(r#"command=(sh -c "exec ./sweep ${SLURM_ARRAY_TASK_ID}")"#), "{array}");
}

#[test]
fn a_program_that_cannot_start_is_refused_before() {
    for (flags, program, why) in [
        (&[][..], &["python3", "no-such.py"][..], "no-such.py: there is no such script"),
        (&[], &["sweep.py"], "a script is given as `python sweep.py`"),
        (&[], &["no-such-program"], "no such command and no such program"),
        (&["--mode", "hybrid"], &["python3", "-c", "pass"], "--mode leaders"),
        (&["--program", "rankpool"], &["python3", "-c", "pass"], "--program"),
        (&[], &["python3", "-c", "print(%a)"], "give --array"),
    ] {
        let ended = script_of(flags, program).expect(2);
        assert!(ended.stderr.contains(why) && ended.stdout.is_empty(), "{ended:?}");
    }
}

#[test]
fn a_variable_that_is_wrong_for_the_run_is_named() {
    let ended = |name: &str, value: &str, run: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rankpool"));
        start(command.args(["slurm", "--", "run", "pi", "-o", "pi.h5"]).args(run).env(name, value)).end()
    };
    for (name, value) in [
        ("RANKPOOL_WORKERS", "many"),
        ("RANKPOOL_CHUNK", "0"),
        ("RANKPOOL_STALL", "soon"),
        ("RANKPOOL_MODE", "fast"),
    ] {
        let refused = ended(name, value, &[]).expect(2);
        let told = format!("{name}={value} is set in the environment");
        assert!(refused.stdout.is_empty() && refused.stderr.contains(&told), "{refused:?}");
        // What stands in the command is blamed itself.
        let refused = ended(name, value, &["--workers", "none"]).expect(2);
        assert!(!refused.stderr.contains("WORKERS=none is set"), "{refused:?}");
        ended(name, "", &[]).expect(0);
    }
    let flag = ended("RANKPOOL_SEED", "3", &["--workers", "none"]).expect(2);
    assert!(!flag.stderr.contains("is set in the environment"), "{flag:?}");
}

#[test]
fn a_script_is_kept_and_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pi.sh");
    let command = ["slurm", "--output-script", path.to_str().unwrap(), "--", "run", "pi", "-o", "pi.h5"];
    assert_eq!(rankpool(&command).expect(0).stdout, "");
    let kept = std::fs::read_to_string(&path).unwrap();
    assert!(kept.contains(env!("CARGO_BIN_EXE_rankpool")), "it calls this program by its path: {kept}");
    assert!(rankpool(&command).expect(2).stderr.contains("pi.sh"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), kept);
}

#[test]
fn without_sbatch_a_submission_is_refused() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rankpool"));
    command.env("PATH", "/nowhere").args(["slurm", "--submit", "--", "run", "pi", "-o", "pi.h5"]);
    let ended = start(&mut command).end().expect(2);
    assert!(ended.stderr.contains("no sbatch here"), "{ended:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn the_shell_gives_the_run_what_stands_behind_the_dashes(argument in "\\PC{0,20}") {
        let argument = format!("x{argument}");
        let script = script(&["--mode", "serial"], &["words", &argument.replace('%', "%%")]);
        let line = script.lines().find(|line| line.starts_with("command=(")).unwrap();
        let mut bash = Command::new("bash");
        let ended = start(bash.args(["-c", &format!("{line}; printf '%s\\n' \"${{command[@]}}\"")])).end().expect(0);
        prop_assert_eq!(ended.stdout, format!("rankpool\nrun\nwords\n{argument}\n"));
    }
}

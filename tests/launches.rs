//! Launches as they are outside of a textbook: shells under launchers, launchers of another MPI, ranks that die while
//! MPI starts, and what spawned workers find around them. The command line is run on every MPI library.

mod support;

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rustix::process::Signal;
use support::{Ended, MPI, Running, Stack, mpiexec, processes::Process, stack, start, wait};

const RANKPOOL: &str = env!("CARGO_BIN_EXE_rankpool");

/// Runs of one kind, so that what happens now and then is seen.
const MANY: usize = 40;

/// Living processes of a run that run this program and were launched or spawned as ranks.
fn ranks(running: &Running) -> Vec<Process> {
    let processes = running.family().into_iter().filter_map(|pid| Process::of(pid, "rankpool"));
    let mut found: Vec<Process> = processes.filter(|process| process.number.is_some()).collect();
    found.sort_by_key(|rank| rank.pid);
    found
}

/// Waits until a rank is there that `wanted` describes.
#[track_caller]
fn wait_for(running: &Running, wanted: impl Fn(&Process) -> bool) -> Process {
    wait(support::LIMIT, Duration::from_millis(1), "that rank", || {
        let ranks = ranks(running);
        ranks.iter().copied().find(&wanted).ok_or_else(|| format!("{ranks:?}"))
    })
}

fn kill(rank: Process) {
    support::signal_process(rank.pid, Signal::KILL);
}

/// A run of `sleep` under an mpiexec that lets it outlive losses; `None`, and a word, where there is none.
#[track_caller]
fn surviving(ranks: &str, flags: &[&str], code_file: &Path) -> Option<Running> {
    surviving_of(RANKPOOL, ranks, flags, code_file)
}

/// The same of another program.
#[track_caller]
fn surviving_of(program: &str, ranks: &str, flags: &[&str], code_file: &Path) -> Option<Running> {
    let mut command = mpiexec(support::survive()?);
    command.args(["-n", ranks, program, "run", "sleep", "--json", "--progress", "none"]).args(flags);
    Some(start(command.env("RANKPOOL_CODE_FILE", code_file)))
}

fn code_in(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_default().trim().to_string()
}

#[test]
fn good_runs_end_with_0_every_time() {
    for _ in 0..MANY {
        let mut command =
            mpiexec(&["-n", "3", RANKPOOL, "run", "pi", "--tasks", "50", "--samples", "1000", "--json"]);
        assert_eq!(start(&mut command).end().expect(0).json()["done"], 50);
    }
}

#[test]
fn the_code_of_a_run_comes_through_every_time() {
    let text = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(text.path(), b"no text \xff\n").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    for _ in 0..MANY / 4 {
        start(mpiexec(&["-n", "3", RANKPOOL, "run", "words"]).arg(text.path())).end().expect(1);
        let stopped =
            ["run", "sleep", "--tasks", "99", "--duration", "50ms", "--walltime", "1s", "--grace", "500ms"];
        let mut command = mpiexec(&["-n", "3", RANKPOOL]);
        start(command.args(stopped).arg("--journal").arg(&journal).arg("--force")).end().expect(75);
    }
}

#[test]
fn a_pool_without_a_launcher_leaves_the_shell_that_called_it_alone() {
    for _ in 0..MANY / 8 {
        let run = format!(
            "{RANKPOOL} run squares --mode pool --workers 2 --oversubscribe --json && echo the shell lives"
        );
        let ended = start(Command::new("sh").envs(MPI).args(["-c", &run])).end().expect(0);
        assert!(ended.stdout.contains("the shell lives"), "{ended:?}");
    }
}

#[test]
fn runs_that_follow_each_other_under_one_rank_are_serial_and_do_not_start_mpi() {
    let runs = format!("{RANKPOOL} run squares --n 5 --json && {RANKPOOL} run squares --n 6 --json");
    let ended = start(&mut mpiexec(&["-n", "1", "sh", "-c", &runs])).end().expect(0);
    let sums: Vec<u64> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|report| {
            assert_eq!(report["mode"], "serial");
            report["summary"]["sum"].as_u64().unwrap()
        })
        .collect();
    assert_eq!(sums, [55, 91]);
}

#[test]
fn a_program_behind_the_launcher_of_another_mpi_says_so_once_before_it_ends() {
    // What each launcher leaves in the environment of its ranks, without a launcher behind it.
    let foreign: &[(&str, &str)] = match stack() {
        Stack::Mpich => &[("OMPI_COMM_WORLD_SIZE", "3"), ("OMPI_COMM_WORLD_RANK", "0")],
        _ => &[("PMI_SIZE", "3"), ("PMI_RANK", "0")],
    };
    let rank_variable = foreign[1].0;
    let copy = |rank: &str| {
        let mut command = Command::new(RANKPOOL);
        command.args(["run", "squares"]).envs(MPI).envs(foreign.iter().copied()).env(rank_variable, rank);
        start(&mut command).end()
    };
    let first = copy("0").expect(70);
    assert_eq!(first.stderr.matches("belong to different MPI libraries").count(), 1, "{first:?}");
    let second = copy("1");
    assert_eq!((second.stderr.as_str(), second.code == 0), ("", false), "{second:?}");
    let mut command = Command::new(RANKPOOL);
    let doctor = start(command.arg("doctor").envs(MPI).envs(foreign.iter().copied())).end().expect(1);
    assert!(doctor.stdout.contains("WRONG launcher"), "{doctor:?}");
}

/// `script` gives its command a terminal, as `srun --pty` does.
fn on_a_terminal(shell: &str, copies: &str) -> Ended {
    let step = [("SLURM_STEP_ID", "0"), ("SLURM_STEP_NUM_TASKS", copies), ("SLURM_PROCID", "0")];
    start(Command::new("script").args(["-qec", shell, "/dev/null"]).envs(step)).end()
}

#[test]
fn what_is_typed_in_a_shell_of_sruns_is_one_serial_run_and_a_script_there_is_told_what_to_do() {
    // -m gives the shell the job control that a shell has in which one types.
    let typed =
        on_a_terminal(&format!("bash -c 'set -m; {RANKPOOL} run squares --n 5 --json; true'"), "4").expect(0);
    assert!(typed.stdout.contains("\"mode\":\"serial\""), "{typed:?}");
    let script = on_a_terminal(&format!("bash -c '{RANKPOOL} run squares --n 5 --json; true'"), "4");
    assert!(script.stdout.contains("unset SLURM_STEP_NUM_TASKS"), "{script:?}");
}

#[test]
fn a_run_that_failed_makes_the_launcher_fail_through_wrappers_too() {
    let Some(survive) = support::survive() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (text, code_file) = (folder.path().join("text"), folder.path().join("code"));
    std::fs::write(&text, b"no text \xff\n").unwrap();
    let run = format!("true; {RANKPOOL} run words {}; exit $?", text.display());
    let twice = format!("true; sh -c '{run}'; exit $?");
    for (ranks, script) in [("3", &run), ("1", &run), ("3", &twice)] {
        let mut command = mpiexec(survive);
        command.args(["-n", ranks, "sh", "-c", script]).env("RANKPOOL_CODE_FILE", &code_file);
        let ended = start(&mut command).end();
        assert!(ended.code != 0 && code_in(&code_file) == "1", "{ended:?}");
        assert!(!ended.stderr.contains("panicked"), "{ended:?}");
    }
}

/// A worker that is killed costs time, under an mpiexec that lets the run live; so does each of its replacements.
#[test]
fn a_replacement_that_dies_as_it_appears_costs_time_and_no_run_is_told_as_done_that_is_not() {
    let file = tempfile::tempdir().unwrap();
    let code_file = file.path().join("code");
    for (workers, replacements) in [("1", 1), ("2", 1), ("1", 9)] {
        let _ = std::fs::remove_file(&code_file);
        let flags = [
            "--tasks",
            "30",
            "--duration",
            "100ms",
            "--mode",
            "pool",
            "--workers",
            workers,
            "--oversubscribe",
        ];
        let Some(mut running) = surviving("1", &flags, &code_file) else { return };
        wait_until_working(&mut running);
        let first = wait_for(&running, |rank| rank.spawned);
        let mut known: Vec<u32> = ranks(&running).iter().map(|rank| rank.pid).collect();
        kill(first);
        let mut killed = 0;
        while killed < replacements && running.lives() {
            if let Some(new) =
                ranks(&running).into_iter().find(|rank| rank.spawned && !known.contains(&rank.pid))
            {
                known.push(new.pid);
                kill(new);
                killed += 1;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let ended = running.end_within(Duration::from_secs(120));
        if replacements == 1 {
            let ended = ended.expect(0);
            assert_eq!((ended.json()["done"].as_u64(), code_in(&code_file).as_str()), (Some(30), "0"));
        } else {
            assert_ne!(ended.code, 0, "{ended:?}");
            assert_eq!(code_in(&code_file), "70", "{ended:?}");
            assert!(ended.stderr.contains("no worker is left"), "{ended:?}");
        }
    }
}

/// Waits until the workers run tasks.
#[track_caller]
fn wait_until_working(running: &mut Running) {
    let at_work = |rank: &Process| (rank.spawned || rank.number != Some(0)) && has_a_lifeline(rank.pid);
    wait(support::LIMIT, Duration::from_millis(5), "a worker", || {
        if ranks(running).iter().any(at_work) {
            return Ok(());
        }
        assert!(running.lives(), "no worker came up: {}", running.stderr_so_far());
        Err(running.stderr_so_far())
    });
    std::thread::sleep(Duration::from_millis(300));
}

/// The lifeline is what a worker opens last. Names of threads are cut to 15 characters.
fn has_a_lifeline(pid: u32) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let mut names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.any(|name| name.trim() == "rankpool-lifeli")
}

#[test]
fn a_rank_that_dies_is_a_loss_and_the_run_goes_on_where_the_launcher_lets_it() {
    let file = tempfile::tempdir().unwrap();
    let code_file = file.path().join("code");
    let Some(mut running) = surviving("3", &["--tasks", "30", "--duration", "100ms"], &code_file) else {
        return;
    };
    wait_until_working(&mut running);
    kill(wait_for(&running, |rank| rank.number == Some(1)));
    let ended = running.end().expect(0);
    assert_eq!((ended.json()["done"].as_u64(), code_in(&code_file).as_str()), (Some(30), "0"));
}

#[test]
fn a_run_that_has_lost_all_its_ranks_ends_with_70_and_says_so() {
    let file = tempfile::tempdir().unwrap();
    let code_file = file.path().join("code");
    let Some(mut running) = surviving("3", &["--tasks", "90", "--duration", "100ms"], &code_file) else {
        return;
    };
    wait_until_working(&mut running);
    ranks(&running).into_iter().filter(|rank| rank.number != Some(0)).for_each(kill);
    let ended = running.end();
    assert!(ended.code != 0 && code_in(&code_file) == "70", "{ended:?}");
    assert!(ended.stderr.contains("no worker is left"), "{ended:?}");
}

#[test]
fn a_rank_that_dies_while_mpi_starts_ends_the_run_soon_and_never_with_0() {
    let file = tempfile::tempdir().unwrap();
    let code_file = file.path().join("code");
    for number in [0, 1, 2, 1] {
        // As an earlier run has left it.
        std::fs::write(&code_file, "0\n").unwrap();
        let Some(mut running) = surviving("3", &["--tasks", "9", "--duration", "500ms"], &code_file) else {
            return;
        };
        kill(wait_for(&running, |rank| rank.number == Some(number)));
        assert!(running.lives());
        let ended = running.end_within(Duration::from_secs(25));
        assert_ne!(ended.code, 0, "rank {number}: {ended:?}");
        let code = if number == 0 { "137" } else { "70" };
        assert_eq!(code_in(&code_file), code, "rank {number}: {ended:?}");
    }
}

#[test]
fn a_worker_that_dies_as_it_is_spawned_ends_the_start_soon_with_70_and_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let code_file = folder.path().join("code");
    for (workers, delay) in [("1", 0), ("2", 0), ("2", 30), ("3", 60)] {
        let flags = ["--tasks", "9", "--duration", "500ms", "--mode", "pool", "--workers", workers];
        let flags = [&flags[..], &["--oversubscribe"]].concat();
        let Some(running) = surviving("1", &flags, &code_file) else { return };
        let first = wait_for(&running, |rank| rank.spawned && rank.number == Some(0));
        std::thread::sleep(Duration::from_millis(delay));
        kill(first);
        let ended = running.end_within(Duration::from_secs(25));
        assert!(ended.code != 0 && code_in(&code_file) == "70", "{workers}, {delay}: {ended:?}");
        assert!(ended.stderr.contains("the run cannot start"), "{workers}, {delay}: {ended:?}");
    }
}

/// Open MPI 5's mpiexec ends the workers' world then, and not rank 0's.
#[test]
fn a_worker_that_dies_as_it_is_spawned_ends_the_run_soon_where_no_loss_is_survived() {
    for delay in [0, 100, 200] {
        let mut command =
            mpiexec(&["-n", "1", RANKPOOL, "run", "sleep", "--tasks", "9", "--duration", "500ms"]);
        let running = start(command.args(["--mode", "pool", "--workers", "2", "--oversubscribe"]));
        let first = wait_for(&running, |rank| rank.spawned);
        std::thread::sleep(Duration::from_millis(delay));
        kill(first);
        assert_ne!(running.end_within(Duration::from_secs(25)).code, 0);
    }
}

#[test]
fn spawned_workers_see_rank_0_die_while_they_start_and_no_old_code_stands_for_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let code_file = folder.path().join("code");
    std::fs::write(&code_file, "0\n").unwrap();
    let flags =
        ["--tasks", "9", "--duration", "500ms", "--mode", "pool", "--workers", "2", "--oversubscribe"];
    let Some(running) = surviving("1", &flags, &code_file) else { return };
    wait_for(&running, |rank| rank.spawned);
    kill(wait_for(&running, |rank| !rank.spawned));
    let ended = running.end_within(Duration::from_secs(25));
    assert_ne!(code_in(&code_file), "0", "{ended:?}");
    if stack() == Stack::OpenMpi4 {
        assert!(ended.code != 0 && code_in(&code_file) == "137", "{ended:?}");
    }
}

#[test]
fn a_replacement_that_starts_as_the_run_ends_does_not_spoil_it() {
    let folder = tempfile::tempdir().unwrap();
    let code_file = folder.path().join("code");
    for before_the_end in [100, 250, 400, 550] {
        let flags = ["--tasks", "20", "--duration", "100ms", "--mode", "pool", "--workers", "2"];
        let Some(mut running) = surviving("1", &[&flags[..], &["--oversubscribe"]].concat(), &code_file)
        else {
            return;
        };
        wait_until_working(&mut running);
        std::thread::sleep(Duration::from_millis(700 - before_the_end));
        kill(wait_for(&running, |rank| rank.spawned));
        let ended = running.end_within(Duration::from_secs(30)).expect(0);
        assert_eq!((ended.json()["done"].as_u64(), code_in(&code_file).as_str()), (Some(20), "0"));
    }
}

/// A copy of the program that a test may replace.
fn copy_in(folder: &Path) -> String {
    let program = folder.join("rankpool");
    std::fs::copy(RANKPOOL, &program).unwrap();
    program.to_str().unwrap().to_string()
}

/// Puts another build in the program's place, as a linker does.
fn rebuild(program: &str) {
    let new = format!("{program}.new");
    support::another_build(program.as_ref(), new.as_ref());
    std::fs::rename(&new, program).unwrap();
}

#[test]
fn a_program_that_is_built_anew_while_it_runs_still_replaces_its_worker_processes() {
    let folder = tempfile::tempdir().unwrap();
    let program = copy_in(folder.path());
    let flags =
        ["run", "sleep", "--tasks", "20", "--duration", "200ms", "--mode", "processes", "-w", "1", "--json"];
    let mut running = start(Command::new(&program).args(flags).args(["--progress", "none"]));
    let worker = wait(support::LIMIT, Duration::from_millis(5), "a worker", || {
        let family = running.family();
        if let Some(worker) = family.into_iter().find(|pid| *pid != running.pid() && has_a_lifeline(*pid)) {
            return Ok(worker);
        }
        assert!(running.lives(), "{}", running.stderr_so_far());
        Err(running.stderr_so_far())
    });
    rebuild(&program);
    support::signal_process(worker, Signal::KILL);
    let ended = running.end().expect(0);
    assert_eq!(ended.json()["done"], 20, "{ended:?}");
    assert!(ended.stderr.contains("was lost"), "{ended:?}");
}

#[test]
fn a_pool_whose_program_is_built_anew_goes_on_with_the_workers_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let code_file = folder.path().join("code");
    let flags =
        ["--tasks", "40", "--duration", "100ms", "--mode", "pool", "--workers", "2", "--oversubscribe"];
    for removed in [false, true] {
        let program = copy_in(folder.path());
        let Some(mut running) = surviving_of(&program, "1", &flags, &code_file) else { return };
        wait_until_working(&mut running);
        if removed {
            std::fs::remove_file(&program).unwrap();
        } else {
            rebuild(&program);
        }
        kill(wait_for(&running, |rank| rank.spawned));
        let ended = running.end_within(Duration::from_secs(100)).expect(0);
        assert_eq!(ended.json()["done"], 40, "{ended:?}");
    }
}

/// Open MPI 4's launcher sometimes lets a process hang in MPI_Init that it starts after a loss.
#[test]
fn a_worker_that_hangs_while_it_starts_does_not_spoil_a_run_that_has_ended_well() {
    let folder = tempfile::tempdir().unwrap();
    let hang = folder.path().join("hang");
    let shim = shim(
        folder.path(),
        &format!(
            "#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <stdlib.h>\n#include <unistd.h>\n\
             int MPI_Init_thread(int *count, char ***words, int wanted, int *given) {{\n\
             if (unlink({hang:?}) == 0) for (;;) pause();\n\
             int (*init)(int *, char ***, int, int *) = dlsym(RTLD_NEXT, \"MPI_Init_thread\");\n\
             return init(count, words, wanted, given); }}\n"
        ),
    );
    let code_file = folder.path().join("code");
    let Some(flag) = support::survive() else { return };
    let mut command = mpiexec(flag);
    command.args(["-n", "1", RANKPOOL, "run", "sleep", "--json", "--progress", "none"]);
    command.args([
        "--tasks",
        "40",
        "--duration",
        "100ms",
        "--mode",
        "pool",
        "--workers",
        "2",
        "--oversubscribe",
    ]);
    let mut running = start(command.env("LD_PRELOAD", &shim).env("RANKPOOL_CODE_FILE", &code_file));
    wait_until_working(&mut running);
    std::fs::write(&hang, "").unwrap();
    kill(wait_for(&running, |rank| rank.spawned));
    let ended = running.end().expect(0);
    assert_eq!(ended.json()["done"], 40, "{ended:?}");
    assert_eq!(code_in(&code_file), "0");
    assert!(!hang.exists(), "no worker was started in the place of the lost one: {ended:?}");
}

/// What a program of the run starts beside it has rank 0's environment, and ends by itself.
#[test]
fn a_run_whose_rank_0_is_killed_fails_whatever_else_has_ended_well() {
    let folder = tempfile::tempdir().unwrap();
    let code_file = folder.path().join("code");
    let Some(flag) = support::survive() else { return };
    let mut command = mpiexec(flag);
    let script = format!(
        "{RANKPOOL} run sleep --tasks 200 --duration 100ms --mode pool --workers 2 \
         --oversubscribe --progress none --events {events} & \
         until grep -q chunk_done {events} 2>/dev/null; do sleep 0.05; done; \
         env -u RANKPOOL_CODE_FILE {RANKPOOL} list >/dev/null; kill -9 $!; wait; sleep 3",
        events = folder.path().join("events").display(),
    );
    let ended =
        start(command.args(["-n", "1", "bash", "-c", &script]).env("RANKPOOL_CODE_FILE", &code_file)).end();
    if stack() == Stack::OpenMpi4 {
        assert_ne!(ended.code, 0, "{ended:?}");
    }
    // A worker may leave it when the launcher has ended.
    wait(support::LIMIT, Duration::from_millis(50), "the code of a killed rank 0", || {
        match code_in(&code_file) {
            code if code == "137" => Ok(()),
            code => Err(format!("{code:?} after {ended:?}")),
        }
    });
}

/// Compiles what the linker is to load before a program's libraries.
fn shim(folder: &Path, text: &str) -> PathBuf {
    let (source, shim) = (folder.join("shim.c"), folder.join("shim.so"));
    std::fs::write(&source, text).unwrap();
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&shim, &source]).status();
    assert!(compiled.unwrap().success());
    shim
}

/// Matched probes are broken on several networks (mpi4py#15, MPI.jl#759).
#[test]
fn nothing_needs_a_matched_probe() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = String::from("#include <unistd.h>\n");
    for name in ["MPI_Mprobe", "MPI_Improbe", "MPI_Mrecv", "MPI_Imrecv"] {
        text += &format!(
            "int {name}(void) {{ write(2, \"{name} was called\\n\", {}); _exit(3); }}\n",
            name.len() + 12
        );
    }
    let shim = shim(folder.path(), &text);
    for mode in [&["-n", "3", RANKPOOL][..], &["-n", "1", RANKPOOL]] {
        let mut command = mpiexec(mode);
        command.args(["run", "squares", "--json"]);
        if mode[1] == "1" {
            command.args(["--mode", "pool", "--workers", "2", "--oversubscribe"]);
        }
        let ended = start(command.env("LD_PRELOAD", &shim)).end().expect(0);
        assert_eq!(ended.json()["failed"], 0);
    }
}

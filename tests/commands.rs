//! What hands expect of the program: its words at the end of a run, one way to write things, help where it is looked for.

mod support;

use std::{path::Path, process::Command};

use support::{Ended, start, wait};

const RANKPOOL: &str = env!("CARGO_BIN_EXE_rankpool");

fn rankpool(arguments: &[&str]) -> Ended {
    start(support::under(0, &[], RANKPOOL).args(arguments)).end()
}

/// A job of three tasks of which one fails, until its file is there.
fn failing(file: &str) -> [&str; 8] {
    ["--", "sh", "-c", "test \"$1\" != 2 || test -e fixed", "-", "{}", ":::", file]
}

#[test]
fn after_failures_the_last_words_are_a_command_that_runs_them_again() {
    let folder = tempfile::tempdir().unwrap();
    let run = |words: &[String]| {
        start(support::under(0, &[], RANKPOOL).args(words).current_dir(folder.path())).end()
    };
    let task = failing("1");
    let first = ["exec", "--mode", "serial", "-o", "out.h5"].iter().chain(&task);
    let words: Vec<String> = first.chain(&["2", "3"]).map(ToString::to_string).collect();
    let ended = run(&words).expect(1);
    let way = ended.stderr.lines().find_map(|line| line.trim().strip_prefix("go on with: rankpool "));
    let way = way.unwrap_or_else(|| panic!("{ended:?}"));
    assert!(way.starts_with("exec --resume --retry-failed "), "{way}");
    std::fs::write(folder.path().join("fixed"), "").unwrap();
    let ended = run(&shlex(way)).expect(0);
    assert!(ended.stderr.contains("3 tasks ok, 0 failed"), "{ended:?}");
}

/// A line as bash takes it apart.
fn shlex(line: &str) -> Vec<String> {
    let words = Command::new("bash").args(["-c", &format!("printf '%s\\n' {line}")]).output().unwrap();
    String::from_utf8(words.stdout).unwrap().lines().map(ToString::to_string).collect()
}

#[test]
fn a_run_that_a_signal_ends_says_how_far_it_came_and_what_was_kept() {
    for (kept, words) in [
        (true, "of 400 tasks are done; go on with: rankpool run sleep --resume --tasks 400"),
        (false, "of 400 tasks are done, and nothing was kept: with an --output or a --journal"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut command = support::under(0, &[], RANKPOOL);
        command.args(["run", "sleep", "--tasks", "400", "--duration", "20ms", "--progress", "lines"]);
        command.args(["--mode", "serial"]).args(kept.then_some("--output=out.h5"));
        let mut running = start(command.current_dir(folder.path()));
        wait(support::LIMIT, std::time::Duration::from_millis(20), "a line of progress", || {
            let said = running.stderr_so_far();
            if said.contains("tasks/s") { Ok(()) } else { Err(said) }
        });
        support::signal_process(running.pid(), rustix::process::Signal::INT);
        let ended = running.end().expect(75);
        let line = ended.stderr.lines().find(|line| line.contains(words));
        let line = line.unwrap_or_else(|| panic!("{words}: {ended:?}"));
        let done: u64 = line.trim_start_matches("rankpool: ").split(' ').next().unwrap().parse().unwrap();
        assert!((1..400).contains(&done), "{line}");
    }
}

#[test]
fn a_run_whose_time_is_over_names_the_command_that_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let run = ["run", "sleep", "--tasks", "400", "--duration", "20ms", "--output", "out.h5"];
    let limits = ["--mode", "serial", "--walltime", "00:00:02", "--grace", "1s"];
    let mut command = support::under(0, &[], RANKPOOL);
    let ended = start(command.args(run).args(limits).current_dir(folder.path())).end().expect(75);
    assert!(
        ended.stderr.contains("of 400 tasks are done; go on with: rankpool run sleep --resume"),
        "{ended:?}"
    );
}

#[test]
fn times_and_counts_are_written_in_one_way_everywhere() {
    let run = |flags: &[&str]| rankpool(&[&["run", "sleep", "--mode", "serial", "--json"], flags].concat());
    let report = run(&["--tasks", "1e1", "--duration", "0.001", "--grace", "01:00", "--walltime", "1:00:00"]);
    assert_eq!(report.expect(0).json()["done"], 10);
    let report = run(&["--tasks", "1_0", "--duration", "1ms", "--chunk", "1e3", "--start-timeout", "90"]);
    assert_eq!(report.expect(0).json()["chunk"], "1000");
    for (flags, why) in [
        (["--tasks", "1.5"], "expected a whole number, as in 1000, 1_000_000 or 1e6"),
        (["--duration", "soon"], "expected a time, as in 90s, 1h 30m"),
        (["--grace", "0:00"], "a time above 0 is needed"),
    ] {
        let ended = run(&flags).expect(2);
        assert!(ended.stderr.contains(why), "{ended:?}");
    }
}

#[test]
fn workers_without_a_mode_are_processes_and_none_at_all_is_told_of() {
    let report = rankpool(&["run", "squares", "--n", "10", "-w", "2", "--json"]).expect(0).json();
    assert_eq!((&report["mode"], &report["workers"]), (&"processes".into(), &2.into()));
    let one = rankpool(&["run", "squares", "--n", "10", "-w", "1", "--json"]).expect(0).json();
    assert_eq!(one["mode"], "serial");
    let told = "CPUs; with -w -1 it uses all";
    let cpus = std::thread::available_parallelism().unwrap().get();
    let ended = rankpool(&["run", "squares", "--n", "10"]).expect(0);
    assert_eq!(ended.stderr.matches(told).count(), usize::from(cpus > 1), "{ended:?}");
    for quiet in [&["--mode", "serial"][..], &["-w", "1"], &["--quiet"], &["--progress", "none"]] {
        let ended = rankpool(&[&["run", "squares", "--n", "10"], quiet].concat()).expect(0);
        assert!(!ended.stderr.contains(told), "{ended:?}");
    }
}

#[test]
fn quiet_leaves_what_fails_and_verbose_adds_what_is_done() {
    let run =
        |flags: &[&str]| rankpool(&[&["run", "squares", "--n", "10", "--mode", "serial"], flags].concat());
    let quiet = run(&["-q"]).expect(0);
    assert_eq!(quiet.stderr, "");
    assert!(quiet.stdout.contains("sum") && quiet.stdout.contains("digest"), "{quiet:?}");
    let failed = rankpool(&[&["exec", "-q", "--mode", "serial"], &failing("2")[..]].concat()).expect(1);
    assert!(failed.stderr.contains("task 0"), "{failed:?}");
    let verbose = run(&["-v"]).expect(0);
    assert!(verbose.stderr.contains(" INFO ") && !verbose.stderr.contains(" DEBUG "), "{verbose:?}");
    run(&["-q", "-v"]).expect(2);
}

#[test]
fn failures_with_different_messages_are_summed_up_by_what_they_begin_with() {
    let script = "echo cannot open run-$1.dat >&2; exit 1";
    let words = ["exec", "--mode", "serial", "--", "sh", "-c", script, "-", "{}", "::::", "numbers"];
    let folder = tempfile::tempdir().unwrap();
    let numbers: String = (0..400).map(|number| format!("{number}\n")).collect();
    std::fs::write(folder.path().join("numbers"), numbers).unwrap();
    let ended =
        start(support::under(0, &[], RANKPOOL).args(words).current_dir(folder.path())).end().expect(1);
    assert!(!ended.stderr.contains("other messages"), "{ended:?}");
    let summed: u64 = ended
        .stderr
        .lines()
        .filter_map(|line| line.trim().split_once(" failed (task ")?.0.parse::<u64>().ok())
        .sum();
    assert_eq!(summed, 400, "{ended:?}");
}

#[test]
fn help_is_found_where_it_is_looked_for() {
    for (words, told) in [
        (&["help", "run"][..], "Usage: rankpool run <JOB>"),
        (&["help", "run", "pi"], "--samples"),
        (&["help", "slurm"], "--ntasks"),
    ] {
        let ended = rankpool(words).expect(0);
        assert!(ended.stdout.contains(told), "{ended:?}");
    }
    let ended = rankpool(&["pi"]).expect(2);
    assert!(ended.stderr.contains("did you mean `rankpool run pi`?"), "{ended:?}");
    let ended = rankpool(&["slurm", "--", "run", "pi", "--taskz", "3"]).expect(2);
    assert!(!ended.stderr.contains("error: error"), "{ended:?}");
}

#[test]
fn version_tells_the_commit_the_features_and_the_libraries() {
    for flag in ["--version", "-V"] {
        let told = rankpool(&[flag]).expect(0).stdout;
        assert!(told.starts_with(concat!("rankpool ", env!("CARGO_PKG_VERSION"), "\n")), "{told}");
        for part in ["features  mpi hdf5 cli", "\nMPI ", "\nHDF5 "] {
            assert!(told.contains(part), "{told}");
        }
        let built_from = if cfg!(debug_assertions) { "(debug build)" } else { "commit " };
        assert!(told.contains(built_from), "{told}");
    }
}

#[test]
fn list_tells_programs_what_jobs_there_are_and_their_flags() {
    let jobs = rankpool(&["list", "--json"]).expect(0).json();
    let pi = jobs.as_array().unwrap().iter().find(|job| job["name"] == "pi").unwrap();
    assert!(pi["about"].as_str().unwrap().contains("Monte Carlo"), "{pi}");
    let flags = pi["flags"].as_array().unwrap();
    assert_eq!(flags.len(), 2, "a job's own flags, and not those of every run: {pi}");
    assert_eq!((&flags[0]["flag"], &flags[0]["default"]), (&"--tasks".into(), &"100".into()));
}

#[test]
fn shells_and_man_know_the_commands() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = rankpool(&["completions", shell]).expect(0).stdout;
        assert!(script.contains("mandelbrot"), "{shell}");
        if shell == "bash" {
            let file = folder.path().join("rankpool.bash");
            std::fs::write(&file, script).unwrap();
            let complete = format!(
                "source {}; COMP_WORDS=(rankpool run man); COMP_CWORD=2; _rankpool rankpool man run; echo ${{COMPREPLY[*]}}",
                file.display()
            );
            let words = Command::new("bash").args(["-c", &complete]).output().unwrap();
            assert_eq!(String::from_utf8(words.stdout).unwrap().trim(), "mandelbrot");
        }
    }
    let pages = folder.path().join("man/man1");
    rankpool(&["man", pages.to_str().unwrap()]).expect(0);
    for (page, told) in
        [("rankpool.1", "rankpool"), ("rankpool-run-pi.1", "samples"), ("rankpool-slurm.1", "ntasks")]
    {
        let text = std::fs::read_to_string(pages.join(page)).unwrap();
        assert!(text.contains(".TH") && text.contains(told), "{page}: {text}");
    }
    let place = Path::new("/dev/null/man");
    let ended = rankpool(&["man", place.to_str().unwrap()]).expect(70);
    assert!(ended.stderr.contains("/dev/null/man: the manual cannot be written"), "{ended:?}");
}

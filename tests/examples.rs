//! The programs in `examples/`, run for real: serially, and as three ranks under mpiexec.

mod support;

use std::process::Command;

/// Runs an example behind the launcher for `world` and compares all that it prints.
#[track_caller]
fn check(name: &str, world: u32, expected: &str) {
    let ended = run(name, world, &[]).expect(0);
    assert_eq!(ended.stdout, expected, "\n--- stderr\n{}", ended.stderr);
}

/// Runs an example with these variables.
#[track_caller]
fn run(name: &str, world: u32, variables: &[(&str, &str)]) -> support::Ended {
    support::start(command(name, world).envs(variables.iter().copied())).end()
}

#[track_caller]
fn command(name: &str, world: u32) -> Command {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(
        program.exists(),
        "{} is not there: plain `cargo test` builds the examples, `cargo test --test examples` does not; \
         run `cargo build --examples` before it, with the same profile",
        program.display()
    );
    support::under(world, &[], program.to_str().unwrap())
}

#[test]
fn variables_switch_a_program_without_a_change_to_it() {
    for mode in ["serial", "threads", "processes"] {
        let ended = run("word_count", 0, &[("RANKPOOL_MODE", mode), ("RANKPOOL_CHUNK", "2")]).expect(0);
        assert!(ended.stdout.starts_with("38 words, 12 distinct\n"), "{ended:?}");
    }
    let ended = run("word_count", 0, &[("RANKPOOL_MODE", "comm")]);
    assert!(
        ended.code != 0 && ended.stderr.contains("mode comm needs 2 ranks"),
        "the mode counts: {ended:?}"
    );
}

#[test]
fn a_variable_that_cannot_be_read_is_named_once_and_an_empty_one_is_none() {
    for (name, value) in [
        ("RANKPOOL_MODE", "fast"),
        ("RANKPOOL_WORKERS", "two"),
        ("RANKPOOL_CHUNK", "0"),
        ("RANKPOOL_SEED", "-1"),
    ] {
        let ended = run("word_count", 0, &[(name, value)]);
        assert!(ended.code != 0 && ended.stdout.is_empty(), "{name}={value}: {ended:?}");
        assert!(
            ended.stderr.contains(name) && ended.stderr.lines().count() == 1,
            "{name}={value}: {ended:?}"
        );
    }
    run("word_count", 0, &[("RANKPOOL_MODE", ""), ("RANKPOOL_WORKERS", "")]).expect(0);
    let ended = run("word_count", 3, &[("RANKPOOL_CHUNK", "few")]);
    assert_eq!(ended.stderr.matches("RANKPOOL_CHUNK").count(), 1, "rank 0 says it: {ended:?}");
}

#[cfg(feature = "cli")]
#[test]
fn a_job_has_columns_that_are_known_when_it_runs_and_tells_of_its_tasks_in_order() {
    for world in [0, 3] {
        let dice = |arguments: &[&str]| {
            let mut dice = command("own_columns", world);
            support::start(dice.args(["run", "dice"]).args(arguments)).end().expect(0)
        };
        let ended = dice(&["--of", "faces,sum", "--seed", "1"]);
        assert_eq!(
            ended.stdout,
            "0: {\"faces\":[2,6],\"sum\":8}\n1: {\"faces\":[2,3,3],\"sum\":8}\n2: {\"faces\":[1,6,6,6],\"sum\":19}\n",
            "\n--- stderr\n{}",
            ended.stderr
        );
        assert!(ended.stderr.contains("dice: 3 tasks ok"), "{ended:?}");
        assert_eq!(dice(&["--dry-run"]).stdout, "throw 2 dice\nthrow 3 dice\nthrow 4 dice\n");
        if cfg!(feature = "hdf5") {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("dice.h5");
            dice(&["--of", "sum", "--output", file.to_str().unwrap()]);
            let export = command("own_columns", 0).args(["export", "--csv"]).arg(&file).output().unwrap();
            let table = String::from_utf8(export.stdout).unwrap();
            assert_eq!(table.lines().next(), Some("task,status,dice,sum"), "{table}");
        }
    }
}

macro_rules! examples {
    ($($name:ident { $($line:literal)* })*) => {$(
        mod $name {
            #[test]
            fn prints_what_it_teaches_serially() {
                super::check(stringify!($name), 0, concat!($($line, "\n"),*));
            }

            #[test]
            fn prints_what_it_teaches_under_mpiexec() {
                super::check(stringify!($name), 3, concat!($($line, "\n"),*));
            }
        }
    )*};
}

examples! {
    submit {
        "status: Running"
        "not done after 10 ms"
        "the square is 144"
        "status: Done"
        "the task failed: the square of 18446744073709551615 is too large"
    }
    cancel {
        "callback: the square of 2 was not done: it was cancelled"
        "callback: the square of 3 was not done: it was cancelled"
        "callback: the square of 4 was not done: it was cancelled"
        "callback: the square of 5 was not done: it was cancelled"
        "callback: the square of 1 is 1"
        "4 were cancelled while pending; the first, when done: false"
        "[Done, Cancelled, Cancelled, Cancelled, Cancelled]"
    }
    async_maps {
        "sums [7, 9, 11, 13, 15], in total 55"
        "differences [-5, -5, -5, -5, -5], in total -25"
    }
    shared_value {
        "bins of    1 ms: variance / mean = 1.002"
        "bins of   10 ms: variance / mean = 1.029"
        "bins of  100 ms: variance / mean = 1.102"
        "bins of 1000 ms: variance / mean = 1.098"
    }
    word_count {
        "38 words, 12 distinct"
        "5 chuck"
        "4 a"
        "4 as"
        "4 wood"
        "4 woodchuck"
    }
    as_completed {
        "in order: 200 ms"
        "in order: 50 ms"
        "in order: 100 ms"
        "in order: 20 ms"
        "unordered: 1 of 4 have ended"
        "unordered: 2 of 4 have ended"
        "unordered: 3 of 4 have ended"
        "unordered: 4 of 4 have ended"
        "unordered, by index: [200, 50, 100, 20]"
        "as completed: the longest took 200 ms"
    }
    reuse {
        "1136.597 after 14 maps"
        "[\"RANK\", \"CHUNK\", \"TASK\"]"
        "[4, 168, 25]"
        "task 1 failed: invalid digit found in string"
        "[-7]"
    }
}

#[test]
fn code_in_a_shared_library_is_found_by_every_worker() {
    let library = command("libin_a_library.so", 0).get_program().to_owned();
    let script = "import ctypes, sys; print(ctypes.CDLL(sys.argv[1]).sum_of_squares(1000))";
    for (world, mode, told) in [
        (0, "threads", "2 workers in mode threads"),
        (0, "processes", "2 workers in mode processes"),
        (3, "auto", "2 workers in mode comm"),
        (1, "pool", "2 workers in mode pool"),
    ] {
        let mut command = support::under(world, &[], "python3");
        command.args(["-c", script]).arg(&library).env("RANKPOOL_MODE", mode);
        if world != 3 {
            command.env("RANKPOOL_WORKERS", "2");
        }
        if world == 1 {
            command.env("OMPI_MCA_rmaps_base_oversubscribe", "1");
        }
        let ended = support::start(&mut command).end().expect(0);
        assert_eq!(ended.stdout, "332833500\n", "{mode}: {ended:?}");
        assert!(ended.stderr.contains(told), "{mode}: {ended:?}");
    }
}

#[test]
fn progress_is_shown_in_lines_where_there_is_no_terminal() {
    for world in [0, 3] {
        let ended = run("progress", world, &[]).expect(0);
        assert_eq!(ended.stdout, "slept 3000 ms\n", "{ended:?}");
        let lines: Vec<&str> = ended.stderr.lines().filter(|line| line.starts_with("naps: ")).collect();
        assert!(lines.len() == 1 && lines[0].contains("/20 tasks, 0 failed, "), "after a second: {ended:?}");
        assert!(lines[0].contains(" workers busy, ETA "), "{ended:?}");
    }
}

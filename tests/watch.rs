//! `rankpool watch` and `rankpool show`, beside real runs that go on, that end, and that are killed.

mod support;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use rustix::process::Signal;
use support::{Ended, LIMIT, Running, start, wait};

const RANKPOOL: &str = env!("CARGO_BIN_EXE_rankpool");
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

fn rankpool(arguments: &[&str]) -> Ended {
    start(Command::new(RANKPOOL).args(arguments)).end()
}

/// A run of tasks that sleep, with two workers.
fn sleeping(tasks: &str, duration: &str, more: &[&str]) -> Running {
    let of_two = ["--mode", "processes", "--workers", "2", "--progress", "none"];
    start(
        Command::new(RANKPOOL)
            .args(["run", "sleep", "--tasks", tasks, "--duration", duration])
            .args(of_two)
            .args(more),
    )
}

/// Looks at a file until all these words are told at once.
#[track_caller]
fn told(command: &str, file: &str, words: &[&str]) -> String {
    let once: &[&str] = if command == "watch" { &["--once"] } else { &[] };
    wait(LIMIT, PAUSE, "what is to be told", || {
        let ended = rankpool(&[&[command, file], once].concat());
        let missing = words.iter().find(|word| !ended.stdout.contains(**word));
        match missing {
            Some(word) => Err(format!("{word:?} in {ended:?}")),
            None => Ok(ended.expect(0).stdout),
        }
    })
}

fn folder() -> (tempfile::TempDir, impl Fn(&str) -> String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_path_buf();
    (folder, move |name: &str| path.join(name).to_str().unwrap().to_string())
}

#[test]
fn a_run_is_seen_by_the_name_of_its_result_file_before_that_is_there_and_after() {
    let (_folder, file) = folder();
    let out = file("out.h5");
    let running = sleeping("6", "4s", &["-o", &out]);
    // What takes longer than a second is told of while it runs; and then what came back.
    let first = told(
        "watch",
        &out,
        &["sleep: running since", "0 of 6 done", "2 workers", "task 0 for ", "task 1 for "],
    );
    assert!(first.contains("mode processes"), "{first}");
    told("watch", &file("out.h5.journal"), &["2 of 6 done, 33%", "tasks/s, about "]);
    let shown = told("show", &file("out.h5.journal"), &["of 6 done, running since 20", "(process "]);
    assert!(shown.contains("a run of the job sleep"), "{shown}");
    assert!(shown.contains("  parameters       {") && !shown.contains("null"), "{shown}");
    running.end().expect(0);
    told("watch", &out, &["sleep: ended after", "6 of 6 done, 100%", "came back"]);
}

#[test]
fn losses_and_failures_are_told_while_the_run_goes_on_and_when_it_has_ended() {
    let (_folder, file) = folder();
    let out = file("out.h5");
    let running = sleeping("6", "60s", &["-o", &out, "--task-timeout", "1s"]);
    let words = [
        "running since",
        "workers lost",
        "given up: task 0 runs longer than 1s",
        "task 0 attempt 1",
        "timed out",
    ];
    told("watch", &out, &words);
    running.end().expect(1);
    // The journal stays, so that the failed tasks can be run again.
    told("watch", &out, &["sleep: ended after", "0 of 6 done, 6 failed, 100%", "6 workers lost"]);
    told("show", &file("out.h5.journal"), &["0 of 6 done, 6 failed, nobody works at it"]);
}

#[test]
fn of_a_run_that_was_killed_it_is_told_that_it_stopped() {
    let (_folder, file) = folder();
    let journal = file("run.journal");
    let running = sleeping("20", "400ms", &["--journal", &journal]);
    told("watch", &journal, &["running since", "2 of 20 done"]);
    running.signal(Signal::KILL);
    running.end();
    let stopped = told(
        "watch",
        &journal,
        &["sleep: stopped before its end; what is done is in the journal", "nothing runs"],
    );
    assert!(!stopped.contains(" for "), "nobody is at anything: {stopped}");
    let running = sleeping("20", "400ms", &["--journal", &journal, "--resume"]);
    told("watch", &journal, &["running since", "session 2"]);
    running.end().expect(0);
    told("watch", &journal, &["sleep: ended", "20 of 20 done, 100%"]);
}

#[test]
fn a_file_of_events_is_enough() {
    let (_folder, file) = folder();
    let events = file("run.jsonl");
    let running = sleeping("6", "1s", &["--events", &events]);
    told("watch", &events, &["sleep: running since", "of 6 done", "2 workers", "task 0 for "]);
    running.end().expect(0);
    told("watch", &events, &["sleep: ended after", "6 of 6 done, 100%"]);
}

#[test]
fn what_cannot_be_watched_is_refused() {
    let (_folder, file) = folder();
    let missing = rankpool(&["watch", &file("out.h5")]).expect(2);
    assert!(missing.stderr.contains("is not there, and neither is its journal"), "{missing:?}");
    std::fs::write(file("notes.txt"), "some notes").unwrap();
    let notes = rankpool(&["watch", &file("notes.txt")]).expect(2);
    assert!(notes.stderr.contains("is no result file, no journal and no file of events"), "{notes:?}");
}

/// A tmux of its own, which ends with the test.
struct Tmux(PathBuf);

impl Tmux {
    /// Runs a command in a terminal of 24 lines.
    #[track_caller]
    fn begin(folder: &Path, command: &str) -> Tmux {
        let tmux = Tmux(folder.join("tmux"));
        let begun = tmux.ask(&["new-session", "-d", "-x", "110", "-y", "24", command]);
        assert!(begun.status.success(), "{begun:?}");
        tmux
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        let mut tmux = Command::new("tmux");
        tmux.args(["-u", "-f", "/dev/null", "-S"]).arg(&self.0).args(arguments);
        tmux.output().expect("tmux is installed by setup.sh tests")
    }

    /// What is on the screen once it has these words.
    #[track_caller]
    fn screen(&self, words: &[&str]) -> String {
        wait(LIMIT, PAUSE, "the screen", || {
            let screen = String::from_utf8_lossy(&self.ask(&["capture-pane", "-p"]).stdout).into_owned();
            match words.iter().find(|word| !screen.contains(**word)) {
                Some(word) => Err(format!("{word:?} in\n{screen}")),
                None => Ok(screen),
            }
        })
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        self.ask(&["kill-server"]);
    }
}

#[test]
fn on_a_terminal_the_run_has_the_whole_screen_until_its_end_is_seen() {
    let (folder, file) = folder();
    let out = file("out.h5");
    let running = sleeping("6", "4s", &["-o", &out]);
    told("watch", &out, &["running since"]);
    let tmux = Tmux::begin(folder.path(), &format!("{RANKPOOL} watch {out}"));
    let screen = tmux.screen(&["sleep: running since", "0 of 6 done", "rank", "task 0 for ", "q quit"]);
    assert_eq!(screen.lines().count(), 24, "{screen}");
    tmux.ask(&["send-keys", "?"]);
    tmux.screen(&[" help ", "leave; the run does not notice"]);
    tmux.ask(&["send-keys", "?"]);
    let screen = tmux.screen(&["of 6 done, 33%", "tasks/s, about "]);
    assert!(!screen.contains(" help "), "{screen}");
    running.end().expect(0);
    tmux.screen(&["sleep: ended after", "6 of 6 done, 100%"]);
    tmux.ask(&["send-keys", "q"]);
    wait(LIMIT, PAUSE, "the end of the watch", || {
        let there = tmux.ask(&["has-session"]);
        if there.status.success() { Err("it is still there".into()) } else { Ok(()) }
    });
}

/// A watch by the number of its process, which ends with the test.
struct Watch(u32);

impl Drop for Watch {
    fn drop(&mut self) {
        if support::processes::environment(self.0, "rankpool").is_some() {
            support::signal_process(self.0, Signal::KILL);
        }
    }
}

#[test]
fn a_watch_ends_with_its_terminal_and_when_it_is_told_to() {
    let (folder, file) = folder();
    let out = file("out.h5");
    let running = sleeping("1", "600s", &["-o", &out]);
    told("watch", &out, &["running since"]);
    for closes in [true, false] {
        // The shell stays, so that the terminal is there when the watch has been told to end.
        let number = file("pid");
        let watch = format!(
            "sh -c 'echo $$ > {number}; exec {RANKPOOL} watch {out}'; echo its code is $?; sleep 600"
        );
        let tmux = Tmux::begin(folder.path(), &watch);
        tmux.screen(&["sleep: running since", "q quit"]);
        let watch = Watch(std::fs::read_to_string(number).unwrap().trim().parse().unwrap());
        if closes {
            tmux.ask(&["kill-server"]);
        } else {
            support::signal_process(watch.0, Signal::TERM);
            let screen = tmux.screen(&["its code is 0"]);
            assert!(!screen.contains("q quit"), "the terminal is as it was: {screen}");
        }
        wait(LIMIT, PAUSE, "the end of the watch", || {
            match support::processes::environment(watch.0, "rankpool") {
                Some(_) => Err(format!("{} is still there", watch.0)),
                None => Ok(()),
            }
        });
    }
    running.signal(Signal::TERM);
    running.end();
}

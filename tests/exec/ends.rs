//! Who may die, and how a run may end, while its tasks have processes behind them: none of these is ever left. The harness
//! looks at that when a run has ended.

use std::{process::Command, time::Duration};

use rustix::process::{Pid, Signal, kill_process_group};

use super::{
    assert_told, column, run, surviving,
    victims::{Who, kill},
    write,
};
use crate::support::{
    LIMIT, Running, start, survive, wait,
    ways::{COMM, Folder, LEADERS, NODE, POOL, PROCESSES, SERIAL, THREADS, Test, Way},
};

const ALL: &[Way] = &[SERIAL, THREADS, PROCESSES, COMM, POOL, LEADERS, NODE];

pub const TESTS: &[Test] = &[
    ("all ends with rank 0", ALL, |way| dies(way, Who::Rank0)),
    ("all ends with a rank, where the launcher has it so", &[COMM, POOL, LEADERS], |way| {
        dies(way, Who::Worker)
    }),
    ("a minder that is killed costs an attempt", ALL, |way| goes_on(way, Who::Minder, &[])),
    ("a guardian that is killed costs nothing", &[SERIAL, COMM], |way| goes_on(way, Who::Guardian, &[])),
    ("a worker that is killed costs nothing", &[PROCESSES], |way| goes_on(way, Who::Worker, &[])),
    ("a child that is killed costs nothing", &[LEADERS, NODE], |way| goes_on(way, Who::Child, &[])),
    (
        "a rank that is killed costs nothing, where the launcher lets the others live",
        &[COMM, POOL, LEADERS],
        |way| {
            if let Some(launcher) = survive() {
                goes_on(way, Who::Worker, launcher);
            }
        },
    ),
    ("all ends by ctrl-C", ALL, |way| stopped(way, Signal::INT)),
    ("all ends by SIGTERM", &[SERIAL, THREADS, COMM, NODE], |way| stopped(way, Signal::TERM)),
    ("all ends with the time of the run", ALL, drained),
    ("all of a task ends with it, or with its time", ALL, tasks_end),
];

/// Leaves a process in the background, and one in a session of its own that does not listen to TERM.
const LEAVE: &str = "(setsid sh -c 'trap \"\" TERM; sleep 600; sleep 600' &); sleep 600 &";

/// A task that goes on until all is over, or until there is a file `go`.
fn task(end: &str) -> String {
    format!("{LEAVE} touch began.{{#}}; {end}")
}

/// Starts so many tasks, and waits until as many run as there are slots.
fn begin(way: &Way, launcher: &[&str], folder: &Folder, end: &str, flags: &[&str]) -> Running {
    let flags = [&["exec", "--chunk", "1", "--kill-after", "1s", "--array", "1-6"], flags].concat();
    let mut command: Command =
        surviving(way, launcher, folder, &[&flags[..], &["--", "sh", "-c", &task(end)]].concat());
    let mut running = start(&mut command);
    let slots = match way.0 {
        "serial" => 1,
        "leaders" => 4,
        _ => 2,
    };
    wait(LIMIT, Duration::from_millis(10), "a task on each slot", || {
        assert!(running.lives(), "the run has ended: {}", running.stderr_so_far());
        let began = folder.names().iter().filter(|name| name.starts_with("began")).count();
        if began == slots { Ok(()) } else { Err(format!("{began} run: {}", running.stderr_so_far())) }
    });
    running
}

fn dies(way: &Way, who: Who) {
    let folder = Folder::new();
    let mut running = begin(way, &[], &folder, "sleep 600", &[]);
    kill(&mut running, way, who);
    let ended = running.end();
    assert_ne!(ended.code, 0, "{ended:?}");
}

fn goes_on(way: &Way, who: Who, launcher: &[&str]) {
    let folder = Folder::new();
    let flags: &[&str] = if who == Who::Minder { &["-o", "o", "--retries", "1"] } else { &["-o", "o"] };
    let mut running = begin(way, launcher, &folder, "until [ -e go ]; do sleep 0.05; done; echo {}", flags);
    kill(&mut running, way, who);
    write(&folder, "go", "");
    running.end().expect(0);
    assert_eq!(column(&folder, "o", "status"), ["ok"; 6]);
    assert_eq!(column(&folder, "o", "stdout"), ["1\n", "2\n", "3\n", "4\n", "5\n", "6\n"]);
}

fn stopped(way: &Way, signal: Signal) {
    let folder = Folder::new();
    let running = begin(way, &[], &folder, "sleep 600", &["-o", "o"]);
    if signal == Signal::INT {
        // As a terminal does it.
        kill_process_group(Pid::from_raw(running.pid() as i32).unwrap(), signal).unwrap();
    } else {
        running.signal(signal);
    }
    let ended = running.end();
    assert!(ended.code != 0 && ended.took < Duration::from_secs(30), "{ended:?}");
    if way.1 == 0 {
        assert_eq!(ended.code, 75, "{ended:?}");
        assert_told(&ended, &["of 6 tasks are done; go on with: "]);
    }
    assert!(folder.names().contains(&"o.journal".to_string()), "{:?}", folder.names());
}

fn drained(way: &Way) {
    let folder = Folder::new();
    let limits = ["-o", "o", "--walltime", "3s", "--grace", "2s"];
    let ended = begin(way, &[], &folder, "sleep 600", &limits).end();
    assert!(ended.code == 75 && ended.took < Duration::from_secs(20), "{ended:?}");
    assert_told(&ended, &["nothing more is begun", "go on with --resume"]);
}

fn tasks_end(way: &Way) {
    let folder = Folder::new();
    let script = format!("{LEAVE} echo {{}}; [ {{}} = long ] && sleep 600; true");
    let limits = ["exec", "--task-timeout", "1s", "--kill-after", "500ms", "-o", "o"];
    let ended =
        run(way, &folder, &[&limits[..], &["--", "sh", "-c", &script, ":::", "short", "long"]].concat());
    let ended = ended.expect(1);
    assert_eq!(column(&folder, "o", "status"), ["ok", "timed_out"], "{ended:?}");
    assert_eq!(column(&folder, "o", "stdout"), ["short\n", "long\n"]);
    let seconds: f64 = column(&folder, "o", "seconds")[0].parse().unwrap();
    assert!(seconds < 1.0, "what is left behind is not waited for: {seconds}");
}

//! Workers that are another program than rank 0 is.

use rankpool::{Builder, Error, Executor, Mode};
use rustix::process::getpriority_process;

use super::{Test, command, support::start, told};

pub const TESTS: &[(&str, &[Mode], Test)] = &[
    ("the workers are the program that was named", &[Mode::Processes, Mode::Pool, Mode::Comm], nice),
    ("a worker's program that cannot be started is refused at once", &[Mode::Processes, Mode::Pool], missing),
    ("a worker's program is refused where no worker is started", &[Mode::Threads, Mode::Comm], in_vain),
];

/// Runs the scenario if it is one of these.
pub fn inside(scenario: &str, mode: Mode, workers: i64) -> bool {
    let started = match scenario {
        "nice_workers" => nice_workers(mode, workers),
        "missing_program" => {
            builder(mode, workers).worker_program("/no/such/program", [""; 0]).start().map(drop)
        }
        "program_in_vain" => Executor::builder().mode(mode).worker_program("nice", [""; 0]).start().map(drop),
        _ => return false,
    };
    told(started);
    true
}

/// In comm the ranks are there already, and their children are started.
fn builder(mode: Mode, workers: i64) -> Builder {
    let builder = Executor::builder().mode(mode);
    if mode == Mode::Comm { builder.processes_per_worker(2) } else { builder.workers(workers) }
}

/// This program behind another one, which executes it.
fn nice_workers(mode: Mode, workers: i64) -> Result<(), Error> {
    let itself = std::env::current_exe().expect("its name");
    let itself = itself.to_str().expect("UTF-8");
    let arguments =
        ["-n", "7", itself, "inside", "nice_workers", &mode.to_string(), &workers.to_string(), "named"];
    let pool = builder(mode, workers).worker_program("nice", arguments).start()?;
    let look = |()| {
        let named = std::env::args().next_back().is_some_and(|last| last == "named");
        (getpriority_process(None).expect("its own"), named)
    };
    let seen = pool.call(look).chunk(1).map(vec![(); 20])?;
    assert!(seen.iter().all(|seen| *seen == (7, true)), "{seen:?}");
    println!("the workers are nice");
    pool.shutdown()
}

fn nice(mode: Mode) {
    let ended = start(&mut command("nice_workers", mode, 2)).end().expect(0);
    assert!(ended.stdout.contains("the workers are nice"), "{ended:?}");
}

fn missing(mode: Mode) {
    let ended = start(&mut command("missing_program", mode, 2)).end();
    assert_ne!(ended.code, 0, "{ended:?}");
    assert!(
        ended.stderr.contains("/no/such/program, the workers' program: there is no such file"),
        "{ended:?}"
    );
}

fn in_vain(mode: Mode) {
    let ended = start(&mut command("program_in_vain", mode, 2)).end();
    assert_ne!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains(&format!("mode {mode} starts no worker")), "{ended:?}");
}

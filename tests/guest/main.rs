//! MPI that the program has initialised itself, and executors on parts of its world.
//!
//! The program is its own fixture: `inside SCENARIO` initialises MPI with the crate `mpi` and runs one scenario.

#[path = "../support/mod.rs"]
mod support;

use std::{process::ExitCode, time::Duration};

use libtest_mimic::Trial;
use mpi::{Threading, environment::Universe, topology::Color, traits::*};
use rankpool::{Builder, Error, Executor, Mode, Status};
use support::{Ended, Stack, mpiexec, program, stack, start};

const TESTS: &[(&str, fn())] = &[
    ("MPI at another level than multiple is refused, and the text says which is needed", levels),
    ("executors one after another run in an MPI that the program finalises", world),
    ("workers are spawned by an MPI that the program finalises", pool),
    ("an executor that is alive at MPI_Finalize ends there, when what runs has ended", alive),
    (
        "an executor on a communicator that is alive at MPI_Finalize ends there, and its workers go on",
        alive_on_a_part,
    ),
    ("the exit code of an executor in an MPI of the program's is the run's", codes),
    ("half the world is an executor's while the other half sends messages", halves),
    ("workers go on after each executor on a communicator, however late the next one is", rounds),
    ("workers of a half end where it started, and the others go on", half_ends),
    ("a communicator is named by its Fortran handle", handle),
    ("ranks of a communicator lead children", children),
    ("a communicator of one rank runs its tasks itself", alone),
    ("what is no communicator, and what does not fit one, is refused on every rank", refused),
    ("a rank that does not come is told of when the time is over", late),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|first| first == "inside") {
        if let Err(error) = inside(&arguments[2]) {
            eprintln!("error: {error}");
            std::process::exit(error.exit_code().into());
        }
        return ExitCode::SUCCESS;
    }
    let trials = TESTS.iter().map(|(name, test)| Trial::test(*name, move || support::caught(test)));
    support::one_by_one(trials.collect())
}

/// Where an executor's thread lives at MPI_Finalize, MPICH aborts now and then, see docs/inside/mpi.md.
fn run(ranks: u32, scenario: &str) -> Ended {
    let run = || start(&mut mpiexec(&["-n", &ranks.to_string(), &program(), "inside", scenario])).end();
    let aborted = |ended: &Ended| stack() == Stack::Mpich && ended.stderr.contains("pthread_mutex_destroy");
    let ended = run();
    if !aborted(&ended) {
        return ended;
    }
    println!("MPICH has aborted in MPI_Finalize; once more");
    run()
}

fn inside(scenario: &str) -> Result<(), Error> {
    let level = match scenario {
        "single" => Threading::Single,
        "funneled" => Threading::Funneled,
        "serialized" => Threading::Serialized,
        _ => Threading::Multiple,
    };
    let (universe, _) = mpi::initialize_with_threading(level).expect("the first to do so");
    match scenario {
        "single" | "funneled" | "serialized" => works(&Executor::start()?),
        "world" => inside_world(&universe),
        "pool" => {
            works(&Executor::builder().mode(Mode::Pool).workers(2).oversubscribe(true).start()?)?;
            drop(universe);
            println!("all have ended");
            Ok(())
        }
        "alive" => inside_alive(universe, Executor::start()?),
        "alive_on_a_part" => {
            let pool = on(&universe).start_or_serve()?;
            if let Some(pool) = pool {
                return inside_alive(universe, pool);
            }
            drop(universe);
            println!("a worker goes on");
            Ok(())
        }
        "code_0" => Executor::start()?.exit(0),
        "code_3" => Executor::start()?.exit(3),
        "halves" => inside_halves(&universe),
        "rounds" => inside_rounds(&universe),
        "half_ends" => inside_half_ends(universe),
        "handle" => inside_handle(&universe),
        "children" => {
            let pool = on(&universe).processes_per_worker(2).start_or_serve()?;
            let Some(pool) = pool else { return Ok(()) };
            assert_eq!(pool.workers().iter().map(|worker| worker.children.len()).sum::<usize>(), 4);
            works(&pool)?;
            println!("children worked");
            Ok(())
        }
        "alone" => {
            let pool = on(&universe).start_or_serve()?.expect("rank 0");
            works(&pool)?;
            println!("{} with {}", pool.mode(), pool.num_workers());
            Ok(())
        }
        "refused" => inside_refused(&universe),
        "late" => {
            if universe.world().rank() == 1 {
                std::thread::sleep(Duration::from_secs(5));
                return Ok(());
            }
            on(&universe).start_timeout(Duration::from_secs(1)).start_or_serve().map(drop)
        }
        other => panic!("{other} is no scenario"),
    }
}

/// An executor on a communicator with all ranks.
fn on(universe: &Universe) -> Builder {
    Executor::builder().communicator(&universe.world())
}

fn works(pool: &Executor) -> Result<(), Error> {
    let squares: Vec<u64> = (0..500).map(|n| n * n).collect();
    assert_eq!(pool.map(|n: u64| n * n, 0..500)?, squares);
    Ok(())
}

/// Sends a number on to the next rank of a communicator, and takes that of the one before.
fn pass_on(communicator: &impl CommunicatorCollectives, number: u64) -> u64 {
    let (rank, size) = (communicator.rank(), communicator.size());
    let next = communicator.process_at_rank((rank + 1) % size);
    let before = communicator.process_at_rank((rank + size - 1) % size);
    mpi::point_to_point::send_receive(&number, &next, &before).0
}

fn levels() {
    for level in ["single", "funneled", "serialized"] {
        let ended = run(2, level).expect(2);
        assert!(ended.stderr.contains("needs MPI_THREAD_MULTIPLE"), "{ended:?}");
        assert!(ended.stderr.contains("Threading::Multiple"), "{ended:?}");
        assert_eq!(ended.stderr.matches("error: ").count(), 1, "rank 0 has the word: {ended:?}");
    }
}

fn inside_world(universe: &Universe) -> Result<(), Error> {
    for _ in 0..3 {
        let pool = Executor::start()?;
        works(&pool)?;
        let first = |_: u64| rustix::thread::gettid() == rustix::process::getpid();
        assert_eq!(pool.call(first).chunk(1).map(0..20)?, [true; 20]);
        // The program's own thread may use MPI beside the engine's.
        let own = mpi::topology::SimpleCommunicator::self_comm();
        assert!((0..2_000).all(|n| pass_on(&own, n) == n));
    }
    assert_eq!(universe.world().size(), 3);
    println!("rank 0 goes on");
    Ok(())
}

fn world() {
    let ended = run(3, "world").expect(0);
    assert_eq!(ended.stdout, "rank 0 goes on\n", "{ended:?}");
}

fn pool() {
    let ended = run(1, "pool").expect(0);
    assert_eq!(ended.stdout, "all have ended\n", "{ended:?}");
}

/// MPI is finalised while one task runs, others are queued, and nobody reads what is on its way.
fn inside_alive(universe: Universe, pool: Executor) -> Result<(), Error> {
    let slow = |n: u64| {
        std::thread::sleep(Duration::from_millis(500));
        n
    };
    let first = pool.submit(slow, 7)?;
    let mut unread = pool.call(|n: u64| n).window(10).stream(0..)?;
    assert_eq!(unread.next().transpose()?, Some(0));
    while first.status() == Status::Pending {
        std::thread::yield_now();
    }
    let queued: Vec<_> = (0..50).map(|n| pool.submit(slow, n)).collect::<Result<_, _>>()?;
    drop(universe);
    assert_eq!(first.wait(), Ok(7));
    let never = queued[49].wait().unwrap_err().to_string();
    assert!(never.contains("shut down before the task ran"), "{never}");
    assert!(unread.any(|value| value.is_err()), "no end of it came");
    assert!(pool.map(|n: u64| n, 0..3).is_err(), "nobody works any more");
    println!("rank 0 goes on");
    Ok(())
}

fn alive() {
    let ended = run(3, "alive").expect(0);
    assert_eq!(ended.stdout, "rank 0 goes on\n", "{ended:?}");
}

fn alive_on_a_part() {
    let ended = run(3, "alive_on_a_part").expect(0);
    assert_eq!(ended.stdout.matches("rank 0 goes on").count(), 1, "{ended:?}");
    assert_eq!(ended.stdout.matches("a worker goes on").count(), 2, "{ended:?}");
}

fn codes() {
    run(3, "code_0").expect(0);
    assert_ne!(run(3, "code_3").code, 0);
}

fn inside_halves(universe: &Universe) -> Result<(), Error> {
    let world = universe.world();
    let half = world.split_by_color(Color::with_value(world.rank() / 2)).expect("a half");
    for number in 0..2_000 {
        if world.rank() >= 2 {
            assert_eq!(pass_on(&half, number), number);
        }
    }
    if world.rank() < 2
        && let Some(pool) = Executor::builder().communicator(&half).start_or_serve()?
    {
        works(&pool)?;
        assert_eq!(pool.num_workers(), 1);
    }
    // Each half has one of its own at the same time; rank 0 of the second is rank 2 of the world.
    if let Some(pool) = Executor::builder().communicator(&half).start_or_serve()? {
        assert_eq!(half.rank(), 0);
        works(&pool)?;
    } else {
        assert_eq!(half.rank(), 1);
    }
    world.barrier();
    println!("rank {} goes on", world.rank());
    Ok(())
}

fn halves() {
    let ended = run(4, "halves").expect(0);
    assert_eq!(ended.stdout.matches("goes on").count(), 4, "{ended:?}");
}

fn inside_rounds(universe: &Universe) -> Result<(), Error> {
    let world = universe.world();
    for round in 0..6 {
        match on(universe).start_timeout(Duration::from_secs(2)).start_or_serve()? {
            Some(pool) => {
                works(&pool)?;
                assert_eq!(pool.num_workers(), 2);
                drop(pool);
                // The workers wait for longer than rank 0 would.
                std::thread::sleep(Duration::from_millis(if round == 3 { 8_000 } else { 20 }));
            }
            None => assert!(world.rank() > 0),
        }
        if round == 4 {
            assert_eq!(pass_on(&world, world.rank() as u64), (world.rank() as u64 + 2) % 3);
        }
    }
    // A process that was a worker may begin an executor itself.
    let own = mpi::topology::SimpleCommunicator::self_comm();
    works(&Executor::builder().communicator(&own).start()?)?;
    println!("rank {} goes on", world.rank());
    Ok(())
}

fn rounds() {
    let ended = run(3, "rounds").expect(0);
    assert_eq!(ended.stdout.matches("goes on").count(), 3, "{ended:?}");
}

fn inside_half_ends(universe: Universe) -> Result<(), Error> {
    let world = universe.world();
    let half = world.split_by_color(Color::with_value(world.rank() / 2)).expect("a half");
    if world.rank() < 2 {
        let pool = Executor::builder().communicator(&half).start()?;
        assert_eq!(world.rank(), 0, "the other one ends in start");
        works(&pool)?;
    } else {
        assert_eq!(pass_on(&half, 7), 7);
    }
    drop(half);
    drop(universe);
    println!("one has gone on");
    Ok(())
}

fn half_ends() {
    let ended = run(4, "half_ends").expect(0);
    assert_eq!(ended.stdout.matches("one has gone on").count(), 3, "{ended:?}");
}

fn inside_handle(universe: &Universe) -> Result<(), Error> {
    // MPI_COMM_WORLD of Fortran programs.
    let mpich = mpi::environment::library_version().is_ok_and(|version| version.contains("MPICH"));
    let handle = if mpich { 0x4400_0000 } else { 0 };
    if let Some(pool) = Executor::builder().communicator_by_handle(handle).start_or_serve()? {
        works(&pool)?;
    }
    if !mpich {
        let error = Executor::builder().communicator_by_handle(123_456).start_or_serve().unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
    }
    println!("rank {} goes on", universe.world().rank());
    Ok(())
}

fn handle() {
    let ended = run(2, "handle").expect(0);
    assert_eq!(ended.stdout.matches("goes on").count(), 2, "{ended:?}");
}

fn children() {
    let ended = run(2, "children").expect(0);
    assert_eq!(ended.stdout, "children worked\n", "{ended:?}");
}

fn alone() {
    let ended = run(1, "alone").expect(0);
    assert_eq!(ended.stdout, "serial with 1\n", "{ended:?}");
}

fn inside_refused(universe: &Universe) -> Result<(), Error> {
    for (builder, expected) in [
        (on(universe).mode(Mode::Processes), "on one the mode is comm"),
        (on(universe).threads_per_worker(0), "0 threads"),
        (Executor::builder(), "without one use start"),
        (Executor::builder().communicator_by_handle(-1), "communicator is"),
    ] {
        let error = builder.start_or_serve().unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains(expected), "{error}");
    }
    println!("rank {} goes on", universe.world().rank());
    Ok(())
}

fn refused() {
    let ended = run(2, "refused").expect(0);
    assert_eq!(ended.stdout.matches("goes on").count(), 2, "{ended:?}");
}

fn late() {
    let ended = run(2, "late");
    assert_ne!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("not all ranks of the executor's communicator"), "{ended:?}");
}

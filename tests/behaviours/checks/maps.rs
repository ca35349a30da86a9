//! Maps, streams and reductions, what they share, and the workers they run on.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rankpool::{
    Block, Chunk, ErrorKind, Executor, FailureKind, Mode, Task, WorkerInfo, rand_chacha::rand_core::Rng,
};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Picky, Shy, checks, fail_at, good_at_third, nap, same, square};

checks![
    map_gives_results_in_input_order_whatever_ends_first,
    a_result_does_not_wait_for_a_long_task_behind_it,
    map_takes_chunks_below_at_and_above_the_number_of_items,
    map_of_nothing_is_nothing_and_of_one_is_one,
    map_takes_tuples_strings_options_and_large_items,
    stream_over_an_endless_iterator_pulls_no_more_than_its_window,
    stream_gives_what_comes_before_a_failure_then_the_failure_then_ends,
    stream_that_keeps_going_gives_every_outcome,
    items_that_were_pulled_are_run_while_the_iterator_pauses,
    a_loop_may_feed_the_iterator_of_its_own_stream_within_the_window,
    a_time_limit_returns_what_is_done_and_says_what_is_not,
    unordered_gives_every_index_once,
    options_that_make_no_sense_are_refused,
    a_shared_value_is_decoded_once_in_each_worker,
    a_shared_value_that_cannot_be_encoded_is_an_error,
    state_is_built_once_for_each_worker_thread,
    state_that_cannot_be_built_fails_the_map_only,
    two_maps_at_once_share_the_workers_and_both_end,
    a_map_after_a_failed_one_works,
    reduce_has_the_same_bits_at_any_chunk_size,
    reduce_of_nothing_is_none_and_a_failure_is_its_tasks,
    a_window_without_end_is_fine,
    a_time_limit_holds_while_results_keep_coming,
    random_numbers_depend_on_seed_and_index_alone,
    blocks_of_numbers_come_back_to_the_bit,
    workers_are_known_before_the_first_task,
    tasks_run_where_workers_says,
    every_chunk_policy_gives_the_same_results,
];

fn map_gives_results_in_input_order_whatever_ends_first(pool: &Executor) {
    let naps = [30, 1, 20, 2, 10, 3, 0];
    assert_eq!(pool.call(nap).chunk(1).map(naps).unwrap(), naps);
    let many = pool.map(square, 0..10_000).unwrap();
    assert!(many.iter().enumerate().all(|(n, square)| *square == (n * n) as u64));
}

fn a_result_does_not_wait_for_a_long_task_behind_it(pool: &Executor) {
    let mut results = pool.call(nap).chunk(1).stream([0, 1500]).unwrap();
    assert_eq!(results.next().unwrap().unwrap(), 0);
    let first = Instant::now();
    assert_eq!(results.next().unwrap().unwrap(), 1500);
    assert!(first.elapsed() >= Duration::from_millis(500), "the first one came with the second");
}

fn map_takes_chunks_below_at_and_above_the_number_of_items(pool: &Executor) {
    for chunk in [1, 2, 9, 10, 11, 1000] {
        assert_eq!(pool.call(same).chunk(chunk).map(0..10).unwrap(), (0..10).collect::<Vec<_>>(), "{chunk}");
    }
}

fn map_of_nothing_is_nothing_and_of_one_is_one(pool: &Executor) {
    assert!(pool.map(same, []).unwrap().is_empty());
    assert_eq!(pool.map(same, [5]).unwrap(), [5]);
    assert_eq!(pool.call(same).stream([]).unwrap().count(), 0);
}

fn map_takes_tuples_strings_options_and_large_items(pool: &Executor) {
    let joined =
        pool.map(|(a, b): (String, u32)| format!("{a}{b}"), [("a".to_string(), 1), ("long".into(), 22)]);
    assert_eq!(joined.unwrap(), ["a1", "long22"]);
    assert_eq!(pool.map(|n: Option<u8>| n.map(|n| n + 1), [None, Some(1)]).unwrap(), [None, Some(2)]);
    let texts = pool.map(|n: usize| "x".repeat(n), [0, 200_000, 3, 70_000]).unwrap();
    assert_eq!(texts.iter().map(String::len).collect::<Vec<_>>(), [0, 200_000, 3, 70_000]);
    let lengths = pool.map(|text: String| text.len(), texts).unwrap();
    assert_eq!(lengths, [0, 200_000, 3, 70_000]);
}

fn stream_over_an_endless_iterator_pulls_no_more_than_its_window(pool: &Executor) {
    let pulled = AtomicU64::new(0);
    let items = (0u64..).inspect(|_| {
        pulled.fetch_add(1, Ordering::Relaxed);
    });
    let mut taken = 0;
    for result in pool.call(same).window(50).stream(items).unwrap() {
        assert_eq!(result.unwrap(), taken);
        taken += 1;
        assert!(pulled.load(Ordering::Relaxed) <= taken + 50, "{pulled:?} pulled after {taken}");
        if taken == 1000 {
            break;
        }
    }
    assert_eq!(taken, 1000);
}

fn stream_gives_what_comes_before_a_failure_then_the_failure_then_ends(pool: &Executor) {
    for chunk in [Chunk::Fixed(1), Chunk::Fixed(4), Chunk::Auto] {
        let mut stream = pool.try_call(fail_at).chunk(chunk).stream(0..100).unwrap();
        let before: Vec<u64> = stream.by_ref().take(7).map(Result::unwrap).collect();
        assert_eq!(before, [0, 1, 2, 3, 4, 5, 6]);
        let error = stream.next().unwrap().unwrap_err();
        assert_eq!(error.task().unwrap().index(), 7);
        assert!(stream.next().is_none());
    }
}

fn items_that_were_pulled_are_run_while_the_iterator_pauses(pool: &Executor) {
    // Some items at the beginning of a stream, and many.
    for quick in [1, 3, 200, 1_003] {
        let folder = tempfile::tempdir().unwrap();
        let done = |n: u64| folder.path().join(n.to_string());
        let patience = Instant::now() + Duration::from_secs(10);
        // The pause ends when the tasks of all items before it have run.
        let ended = || {
            while !(0..quick).all(|n| done(n).exists()) {
                if Instant::now() > patience {
                    return false;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            true
        };
        let mut next = 0;
        let items = std::iter::from_fn(|| {
            let n = next;
            next += 1;
            (n < quick || n == quick && ended()).then(|| done(n))
        });
        let touch = |path: std::path::PathBuf| std::fs::write(path, "").is_ok();
        let run = pool
            .call(touch)
            .chunk(1)
            .stream(items)
            .unwrap()
            .filter(|result| matches!(result, Ok(true)))
            .count();
        assert_eq!(run as u64, quick + 1);
    }
}

fn a_loop_may_feed_the_iterator_of_its_own_stream_within_the_window(pool: &Executor) {
    for window in [1, 4] {
        let (more, items) = std::sync::mpsc::channel();
        (0..window).for_each(|n| more.send(n).unwrap());
        let (mut more, mut results) = (Some(more), 0);
        for result in pool.call(same).window(window).stream(items).unwrap() {
            results += 1;
            match result.unwrap() {
                n if n < 40 => more.iter().for_each(|more| more.send(n + window).unwrap()),
                _ => more = None,
            }
        }
        assert_eq!(results, 40 + window, "window {window}");
    }
}

fn stream_that_keeps_going_gives_every_outcome(pool: &Executor) {
    let outcomes: Vec<_> = pool.try_call(fail_at).keep_going().chunk(3).stream(0..40).unwrap().collect();
    let failed: Vec<u64> =
        outcomes.iter().filter_map(|o| o.as_ref().err()?.task().map(|t| t.index())).collect();
    assert_eq!((outcomes.len(), failed), (40, vec![7, 17, 27, 37]));
    let outcomes = pool.try_call(fail_at).outcomes(0..40).unwrap();
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 36);
    assert_eq!(outcomes[17].as_ref().unwrap_err().index(), 17);
    let error = pool.try_call(fail_at).keep_going().map(0..40).unwrap_err();
    assert_eq!(error.task().unwrap().index(), 7, "the first failure is the one reported");
}

fn a_time_limit_returns_what_is_done_and_says_what_is_not(pool: &Executor) {
    let naps = [0, 1, 2000, 2000, 2000, 2000, 2000, 2000, 2000];
    let limit = Duration::from_millis(400);
    let began = Instant::now();
    let outcomes = pool.call(nap).chunk(1).time_limit(limit).outcomes(naps).unwrap();
    assert!(began.elapsed() < Duration::from_millis(1800), "{:?}", began.elapsed());
    assert_eq!(outcomes.len(), naps.len());
    assert_eq!(outcomes[0], Ok(0));
    assert_eq!(outcomes[8].as_ref().unwrap_err().kind(), FailureKind::NotDone);
    let error = pool.call(nap).chunk(1).time_limit(limit).map(naps).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("tasks are done"), "{error}");
}

fn unordered_gives_every_index_once(pool: &Executor) {
    let seen: Vec<(u64, u64)> =
        pool.call(square).chunk(3).unordered(0..200).unwrap().map(Result::unwrap).collect();
    assert!(seen.iter().all(|(index, value)| *value == index * index));
    assert_eq!(seen.iter().map(|(index, _)| *index).collect::<BTreeSet<_>>().len(), 200);
    assert_eq!(seen.len(), 200);
}

fn options_that_make_no_sense_are_refused(pool: &Executor) {
    assert_eq!(pool.call(same).chunk(0).map(0..3).unwrap_err().exit_code(), 2);
    assert_eq!(pool.call(same).window(0).map(0..3).unwrap_err().exit_code(), 2);
    let unknown = (0u64..).take_while(|n| *n < 3);
    let error = pool.call(same).chunk(Chunk::Static).label("my map").map(unknown).unwrap_err();
    assert!(error.to_string().starts_with("my map: static"), "{error}");
}

static DECODED: AtomicU64 = AtomicU64::new(0);

/// Counts in its worker's process how often it is decoded.
#[derive(Serialize)]
struct Counted(Vec<u64>);

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Counted, D::Error> {
        DECODED.fetch_add(1, Ordering::SeqCst);
        Vec::deserialize(deserializer).map(Counted)
    }
}

fn a_shared_value_is_decoded_once_in_each_worker(pool: &Executor) {
    let shared = Counted(vec![10, 20, 30]);
    let counts: Vec<(u32, u64, u64)> = pool
        .call_with(&shared, |shared, k: usize| {
            (Task::current().rank(), shared.0[k % 3], DECODED.load(Ordering::SeqCst))
        })
        .chunk(2)
        .map(0..60)
        .unwrap();
    assert!(counts.iter().enumerate().all(|(k, count)| count.1 == [10, 20, 30][k % 3]));
    // Threads share one process and its counter: there it is once for each thread.
    let most = if pool.mode() == Mode::Threads { pool.num_workers() as u64 } else { 1 };
    assert!(counts.iter().all(|count| count.2 <= most), "{:?}", counts.iter().map(|c| c.2).max());
}

fn a_shared_value_that_cannot_be_encoded_is_an_error(pool: &Executor) {
    let error = pool.map_with(&Shy(13), |shy, n: u64| shy.0 + n, 0..3).unwrap_err();
    assert!(error.to_string().contains("13 is not told"), "{error}");
    let error = pool.map_with(&Picky(13), |picky, n: u64| picky.0 + n, 0..3).unwrap_err();
    assert_eq!(error.task().unwrap().kind(), FailureKind::Init);
    assert_eq!(pool.map_with(&Shy(1), |shy, n: u64| shy.0 + n, 0..3).unwrap(), [1, 2, 3]);
}

fn state_is_built_once_for_each_worker_thread(pool: &Executor) {
    static BUILT: AtomicU64 = AtomicU64::new(0);
    let states: Vec<(u32, u64)> = pool
        .call_init(
            || BUILT.fetch_add(1, Ordering::SeqCst),
            |number, _: u64| {
                std::thread::sleep(Duration::from_millis(1));
                (Task::current().rank(), *number)
            },
        )
        .chunk(1)
        .map(0..60)
        .unwrap();
    let distinct: BTreeSet<_> = states.iter().collect();
    let slots: usize = pool.workers().iter().map(|worker| worker.threads as usize).sum();
    assert!(distinct.len() <= slots, "{distinct:?} for {slots} task threads");
}

fn state_that_cannot_be_built_fails_the_map_only(pool: &Executor) {
    let error = pool.map_init(|| -> u64 { panic!("no state today") }, |_, n: u64| n, 0..5).unwrap_err();
    let task = error.task().unwrap();
    assert_eq!(task.kind(), FailureKind::Init);
    assert!(task.message().contains("no state today"), "{task}");
    assert_eq!(pool.map(same, 0..3).unwrap(), [0, 1, 2]);
}

fn two_maps_at_once_share_the_workers_and_both_end(pool: &Executor) {
    std::thread::scope(|scope| {
        let numbers = scope.spawn(|| pool.call(square).chunk(5).map(0..2000).unwrap());
        let texts = scope.spawn(|| pool.map(|n: u32| n.to_string(), 0..2000).unwrap());
        assert_eq!(numbers.join().unwrap()[1999], 1999 * 1999);
        assert_eq!(texts.join().unwrap()[1999], "1999");
    });
}

fn a_map_after_a_failed_one_works(pool: &Executor) {
    for _ in 0..3 {
        assert_eq!(pool.try_map(fail_at, 0..1000).unwrap_err().task().unwrap().index(), 7);
        assert_eq!(pool.map(same, 0..100).unwrap().len(), 100);
    }
}

fn reduce_has_the_same_bits_at_any_chunk_size(pool: &Executor) {
    fn part(n: u32) -> f64 {
        1.0 / (f64::from(n) + 0.1).sqrt()
    }
    /// The tree by its definition: the largest power of two below the count, then the rest.
    fn tree(tasks: std::ops::Range<u32>) -> f64 {
        if tasks.len() == 1 {
            return part(tasks.start);
        }
        let left = tasks.start + (tasks.len() as u32).next_power_of_two() / 2;
        tree(tasks.start..left) + tree(left..tasks.end)
    }
    let sum = |chunk: Chunk| {
        pool.call(part).chunk(chunk).reduce(|a, b| a + b, 0..10_001).unwrap().unwrap().to_bits()
    };
    let expected = tree(0..10_001).to_bits();
    let plain: f64 = (0..10_001).map(part).sum();
    assert_ne!(expected, plain.to_bits(), "the order of summation matters here");
    let chunks = [Chunk::Auto, Chunk::Fixed(1), Chunk::Fixed(7), Chunk::Guided, Chunk::Fixed(100_000)];
    for chunk in chunks {
        assert_eq!(sum(chunk), expected, "{chunk}: {:#x}", sum(chunk));
    }
}

fn reduce_of_nothing_is_none_and_a_failure_is_its_tasks(pool: &Executor) {
    assert_eq!(pool.map_reduce(same, |a, b| a + b, []).unwrap(), None);
    assert_eq!(pool.map_reduce(same, |a, b| a + b, [9]).unwrap(), Some(9));
    // Not commutative: left stays left.
    let text = pool.map_reduce(|n: u32| n.to_string(), |a, b| a + &b, 0..30).unwrap().unwrap();
    assert_eq!(text, (0..30).map(|n| n.to_string()).collect::<String>());
    let error = pool.try_call(fail_at).reduce(|a, b| a + b, 0..30).unwrap_err();
    assert_eq!(error.task().unwrap().index(), 7);
    let error = pool.map_reduce(same, |_, _| panic!("no sums"), 0..30).unwrap_err();
    assert!(error.to_string().contains("no sums"), "{error}");
    let retried = pool.try_call(good_at_third).retries(2).chunk(4).reduce(|a, b| a + b, 0..30).unwrap();
    assert_eq!(retried, Some((0..30).sum()));
}

fn a_window_without_end_is_fine(pool: &Executor) {
    assert_eq!(pool.call(same).window(u64::MAX).map(0..20_000).unwrap().len(), 20_000);
}

fn a_time_limit_holds_while_results_keep_coming(pool: &Executor) {
    let began = Instant::now();
    let endless = pool.call(same).time_limit(Duration::from_millis(200)).stream(0..).unwrap();
    let last = endless.last().unwrap();
    assert_eq!(last.unwrap_err().kind(), ErrorKind::Timeout);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

fn random_numbers_depend_on_seed_and_index_alone(pool: &Executor) {
    let draw = |_: u64| Task::current().rng().next_u64();
    let first = pool.call(draw).chunk(1).map(0..50).unwrap();
    assert_eq!(first, pool.call(draw).chunk(13).map(0..50).unwrap());
    // The stream is a promise: seed 7, task 0, in every mode and on every machine.
    assert_eq!(first[0], 0x2865_5334_23d7_43bb, "{:#x}", first[0]);
    assert_ne!(first, pool.call(draw).seed(8).map(0..50).unwrap());
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 50);
}

fn blocks_of_numbers_come_back_to_the_bit(pool: &Executor) {
    let values: Vec<f64> = (0..200_000).map(|n| f64::from(n).sqrt()).chain([f64::NAN, -0.0]).collect();
    let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let back = pool.map(|block: Block<f64>| block, [Block::from(values.clone()), Block::default()]).unwrap();
    assert_eq!(bits(&back[0]), bits(&values));
    assert!(back[1].is_empty());
}

fn workers_are_known_before_the_first_task(pool: &Executor) {
    assert_eq!(pool.num_workers(), pool.workers().len());
    let leads = pool.workers().iter().any(|worker| !worker.children.is_empty());
    // Rank 0 leads children, too.
    let first = u32::from(pool.mode() != Mode::Serial && !leads);
    let ranks: Vec<u32> = pool.workers().iter().map(|worker| worker.rank).collect();
    assert_eq!(ranks, (first..first + pool.num_workers() as u32).collect::<Vec<_>>());
    for worker in pool.workers() {
        assert!(!worker.host.is_empty() && worker.pid > 0 && !worker.cpus.is_empty(), "{worker:?}");
        let alone = matches!(pool.mode(), Mode::Serial | Mode::Threads) || worker.rank == 0;
        assert_eq!(worker.pid == std::process::id(), alone, "{worker:?}");
    }
}

fn tasks_run_where_workers_says(pool: &Executor) {
    let places_of = |worker: &WorkerInfo| -> Vec<(u32, u32, u32)> {
        if worker.children.is_empty() {
            return (0..worker.threads).map(|slot| (worker.rank, slot, worker.pid)).collect();
        }
        worker.children.iter().map(|child| (worker.rank, child.slot, child.pid)).collect()
    };
    let known: BTreeSet<(u32, u32, u32)> = pool.workers().iter().flat_map(places_of).collect();
    let here = |_: u64| {
        std::thread::sleep(Duration::from_millis(2));
        (Task::current().rank(), Task::current().slot(), std::process::id())
    };
    // A worker may be busy yet with a long task of a map that has run out of time.
    let patience = Instant::now() + Duration::from_secs(10);
    let mut places = BTreeSet::new();
    while places.len() < known.len() && Instant::now() < patience {
        places.extend(pool.call(here).chunk(1).map(0..60).unwrap());
    }
    assert_eq!(places, known, "every slot works");
}

fn every_chunk_policy_gives_the_same_results(pool: &Executor) {
    let expected: Vec<u64> = (0..3000).map(square).collect();
    for chunk in
        [Chunk::Auto, Chunk::Static, Chunk::Guided, Chunk::Factoring, Chunk::Fixed(1), Chunk::Fixed(7)]
    {
        assert_eq!(pool.call(square).chunk(chunk).map(0..3000).unwrap(), expected, "{chunk}");
    }
    let many = Arc::new(Mutex::new(AtomicUsize::new(0)));
    pool.call(square).unordered(0..3000).unwrap().for_each(|_| {
        many.lock().unwrap().fetch_add(1, Ordering::Relaxed);
    });
    assert_eq!(many.lock().unwrap().load(Ordering::Relaxed), 3000);
}

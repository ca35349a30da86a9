//! The checks: each is given a running executor, in whatever mode, and leaves it usable.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use rankpool::{
    Block, Chunk, ErrorKind, Executor, FailureKind, Mode, Status, Task, WaitFor, as_completed,
    rand_chacha::rand_core::Rng, wait,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub type Check = (&'static str, fn(&Executor));

macro_rules! checks {
    ($($name:ident),* $(,)?) => {
        pub const CHECKS: &[Check] = &[$((stringify!($name), $name)),*];
    };
}

checks![
    map_gives_results_in_input_order_whatever_ends_first,
    map_takes_chunks_below_at_and_above_the_number_of_items,
    map_of_nothing_is_nothing_and_of_one_is_one,
    map_takes_tuples_strings_options_and_large_items,
    stream_over_an_endless_iterator_pulls_no_more_than_its_window,
    stream_gives_what_comes_before_a_failure_then_the_failure_then_ends,
    stream_that_keeps_going_gives_every_outcome,
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
    submit_brings_result_error_and_panic_to_wait,
    status_only_moves_forward,
    cancel_works_while_pending_and_not_after,
    wait_timeout_that_expires_leaves_the_future_valid,
    callbacks_run_once_in_order_also_when_added_late,
    a_dropped_future_loses_nothing,
    fifty_queued_tasks_all_end,
    wait_returns_for_the_first_the_first_error_and_all,
    as_completed_gives_each_once_and_honours_a_limit_of_zero,
    a_panic_names_task_rank_host_and_place,
    a_payload_that_is_no_text_is_survived,
    an_error_keeps_its_text,
    an_item_that_cannot_be_encoded_is_its_tasks_error,
    an_item_that_cannot_be_decoded_is_its_tasks_error,
    a_result_that_cannot_be_encoded_is_its_tasks_error,
    a_serialize_or_drop_that_panics_hurts_its_task_only,
    a_window_without_end_is_fine,
    a_time_limit_holds_while_results_keep_coming,
    a_result_that_cannot_be_decoded_is_its_tasks_error,
    retries_show_the_attempt_and_stop_at_success,
    random_numbers_depend_on_seed_and_index_alone,
    blocks_of_numbers_come_back_to_the_bit,
    workers_are_known_before_the_first_task,
    tasks_run_where_workers_says,
    a_task_timeout_is_refused_where_a_thread_cannot_be_stopped,
    every_chunk_policy_gives_the_same_results,
];

fn same(n: u64) -> u64 {
    n
}

fn square(n: u64) -> u64 {
    n * n
}

fn nap(millis: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(millis));
    millis
}

fn fail_at(n: u64) -> Result<u64, String> {
    if n % 10 == 7 { Err(format!("{n} is no good")) } else { Ok(n) }
}

fn map_gives_results_in_input_order_whatever_ends_first(pool: &Executor) {
    let naps = [30, 1, 20, 2, 10, 3, 0];
    assert_eq!(pool.call(nap).chunk(1).map(naps).unwrap(), naps);
    let many = pool.map(square, 0..10_000).unwrap();
    assert!(many.iter().enumerate().all(|(n, square)| *square == (n * n) as u64));
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

/// Refuses to be encoded when it holds 13.
#[derive(Debug, Deserialize, PartialEq)]
struct Shy(u64);

impl Serialize for Shy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 == 13 {
            return Err(serde::ser::Error::custom("13 is not told"));
        }
        self.0.serialize(serializer)
    }
}

/// Refuses to be decoded when it holds 13.
#[derive(Debug, Serialize, PartialEq)]
struct Picky(u64);

impl<'de> Deserialize<'de> for Picky {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Picky, D::Error> {
        match u64::deserialize(deserializer)? {
            13 => Err(serde::de::Error::custom("13 is not heard")),
            n => Ok(Picky(n)),
        }
    }
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

fn submit_brings_result_error_and_panic_to_wait(pool: &Executor) {
    assert_eq!(pool.submit(square, 12).unwrap().wait().unwrap(), 144);
    let error = pool.try_submit(fail_at, 17).unwrap().wait().unwrap_err();
    assert_eq!((error.kind(), error.message()), (FailureKind::Failed, "17 is no good"));
    let error =
        pool.submit(|n: u64| if n > 0 { panic!("stop at {n}") } else { n }, 3).unwrap().wait().unwrap_err();
    assert_eq!(error.kind(), FailureKind::Panicked);
    let error = pool.submit(|shy: Shy| shy.0, Shy(13)).unwrap().wait().unwrap_err();
    assert_eq!(error.kind(), FailureKind::Codec);
}

fn status_only_moves_forward(pool: &Executor) {
    let slots: usize = pool.workers().iter().map(|worker| worker.threads as usize).sum();
    let futures: Vec<_> = (0..2 * slots + 1).map(|_| pool.submit(nap, 60).unwrap()).collect();
    let last = &futures[2 * slots];
    let mut seen = vec![last.status()];
    assert_eq!(seen, [Status::Pending]);
    while seen.last() != Some(&Status::Done) {
        let status = last.status();
        assert!(status >= *seen.last().unwrap(), "{status:?} after {seen:?}");
        if seen.last() != Some(&status) {
            seen.push(status);
        }
    }
    assert_eq!(seen, [Status::Pending, Status::Running, Status::Done]);
    assert!(futures.iter().all(|future| future.wait() == Ok(60)));
}

fn cancel_works_while_pending_and_not_after(pool: &Executor) {
    let slots: usize = pool.workers().iter().map(|worker| worker.threads as usize).sum();
    let busy: Vec<_> = (0..2 * slots).map(|_| pool.submit(nap, 400).unwrap()).collect();
    let waiting = pool.submit(square, 3).unwrap();
    let began = Instant::now();
    assert!(waiting.cancel() && waiting.cancel());
    assert_eq!(waiting.wait().unwrap_err().kind(), FailureKind::NotDone);
    assert!(began.elapsed() < Duration::from_millis(300), "a cancelled future answers at once");
    assert_eq!(waiting.status(), Status::Cancelled);
    while busy[0].status() == Status::Pending {
        std::thread::yield_now();
    }
    assert!(!busy[0].cancel(), "it runs");
    assert_eq!(busy[0].wait(), Ok(400));
    assert!(!busy[0].cancel(), "it is done");
    assert!(busy.iter().all(|future| future.wait() == Ok(400)));
}

fn wait_timeout_that_expires_leaves_the_future_valid(pool: &Executor) {
    let future = pool.submit(nap, 150).unwrap();
    assert_eq!(future.wait_timeout(Duration::from_millis(10)), None);
    assert_eq!(future.wait_timeout(Duration::ZERO), None);
    assert_eq!(future.wait(), Ok(150));
    assert_eq!(future.wait_timeout(Duration::ZERO), Some(Ok(150)));
}

fn callbacks_run_once_in_order_also_when_added_late(pool: &Executor) {
    let (said, heard) = mpsc::channel();
    let future = pool.submit(nap, 50).unwrap();
    for number in 0..3 {
        let said = said.clone();
        future.on_done(move |outcome| said.send((number, outcome)).unwrap());
    }
    future.wait().unwrap();
    // Said by the callback's thread to standard error; it must not hurt the next.
    future.on_done(|_| panic!("a callback that panics on purpose"));
    future.on_done(move |outcome| said.send((3, outcome)).unwrap());
    let all: Vec<_> = heard.iter().collect();
    assert_eq!(all, [(0, Ok(50)), (1, Ok(50)), (2, Ok(50)), (3, Ok(50))]);
}

fn a_dropped_future_loses_nothing(pool: &Executor) {
    let (said, heard) = mpsc::channel();
    let future = pool.submit(nap, 20).unwrap();
    future.on_done(move |outcome| said.send(outcome).unwrap());
    drop(future);
    assert_eq!(heard.recv_timeout(Duration::from_secs(10)), Ok(Ok(20)));
}

fn fifty_queued_tasks_all_end(pool: &Executor) {
    let futures: Vec<_> = (0..50).map(|n| pool.submit(square, n).unwrap()).collect();
    assert!(futures.iter().enumerate().all(|(n, future)| future.wait() == Ok((n * n) as u64)));
}

fn wait_returns_for_the_first_the_first_error_and_all(pool: &Executor) {
    let slots: usize = pool.workers().iter().map(|worker| worker.threads as usize).sum();
    let mut futures = vec![pool.submit(nap, 0).unwrap()];
    futures.extend((0..slots).map(|_| pool.submit(nap, 300).unwrap()));
    let first = wait(&futures, WaitFor::First, None);
    assert!(first.done.contains(&0), "{first:?}");
    let all = wait(&futures, WaitFor::All, Some(Duration::ZERO));
    assert!(!all.not_done.is_empty() && all.done.contains(&0), "{all:?}");
    let all = wait(&futures, WaitFor::All, None);
    assert_eq!(all.done.len(), futures.len());
    let futures = [
        pool.try_submit(fail_at, 1).unwrap(),
        pool.try_submit(fail_at, 7).unwrap(),
        pool.try_submit(fail_at, 2).unwrap(),
    ];
    assert!(wait(&futures, WaitFor::FirstError, None).done.contains(&1));
    assert_eq!(wait(&futures[..0], WaitFor::First, None).done.len(), 0);
}

fn as_completed_gives_each_once_and_honours_a_limit_of_zero(pool: &Executor) {
    let futures: Vec<_> = [40, 0, 20].into_iter().map(|millis| pool.submit(nap, millis).unwrap()).collect();
    let twice = futures.iter().chain(&futures);
    let mut values: Vec<u64> =
        as_completed(twice, None).map(|future| future.unwrap().wait().unwrap()).collect();
    values.sort_unstable();
    assert_eq!(values, [0, 20, 40]);
    let late = pool.submit(nap, 200).unwrap();
    let mut some = as_completed([&futures[0], &late], Some(Duration::ZERO));
    assert_eq!(some.next().unwrap().unwrap().wait(), Ok(40));
    assert_eq!(some.next().unwrap().unwrap_err().kind(), ErrorKind::Timeout);
    assert!(some.next().is_none());
    late.wait().unwrap();
}

fn a_panic_names_task_rank_host_and_place(pool: &Executor) {
    let error = pool.map(|n: u64| 12 / (n - 2), 0..2).unwrap_err();
    assert!(error.to_string().contains("overflow") || error.task().is_some(), "{error}");
    let error = pool.map(|n: u64| if n == 5 { panic!("five") } else { n }, 0..9).unwrap_err();
    let task = error.task().unwrap();
    assert_eq!((task.index(), task.kind(), task.attempt()), (5, FailureKind::Panicked, 1));
    let worker = pool.workers().iter().find(|worker| Some(worker.rank) == task.rank()).expect("a known rank");
    assert_eq!(task.host(), Some(worker.host.as_str()));
    assert!(task.message().starts_with("five (at tests/behaviours/checks.rs:"), "{task}");
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a payload that panics when dropped");
    }
}

fn a_payload_that_is_no_text_is_survived(pool: &Executor) {
    let error = pool
        .submit(|n: u64| if n == 0 { std::panic::panic_any(5u8) } else { n }, 0)
        .unwrap()
        .wait()
        .unwrap_err();
    assert!(error.message().contains("no text"), "{error}");
    let error = pool
        .submit(|n: u64| if n == 0 { std::panic::panic_any(Bomb) } else { n }, 0)
        .unwrap()
        .wait()
        .unwrap_err();
    assert_eq!(error.kind(), FailureKind::Panicked);
    assert_eq!(pool.map(same, 0..3).unwrap(), [0, 1, 2]);
}

fn an_error_keeps_its_text(pool: &Executor) {
    let error = pool.try_map(|text: String| text.parse::<u32>(), ["1".to_string(), "x".into()]).unwrap_err();
    assert_eq!(error.task().unwrap().message(), "invalid digit found in string");
}

fn codec_failure<R: std::fmt::Debug>(outcomes: &[Result<R, rankpool::TaskError>], text: &str) {
    let failed: Vec<usize> = (0..outcomes.len()).filter(|k| outcomes[*k].is_err()).collect();
    assert_eq!(failed, [13], "only task 13 fails");
    let error = outcomes[13].as_ref().unwrap_err();
    assert_eq!((error.index(), error.kind()), (13, FailureKind::Codec));
    assert!(error.message().contains(text), "{error}");
}

fn an_item_that_cannot_be_encoded_is_its_tasks_error(pool: &Executor) {
    let items = (0..20).map(Shy);
    codec_failure(&pool.call(|shy: Shy| shy.0).chunk(6).outcomes(items).unwrap(), "13 is not told");
}

fn an_item_that_cannot_be_decoded_is_its_tasks_error(pool: &Executor) {
    let outcomes = pool.call(|picky: Picky| picky.0).chunk(6).outcomes((0..20).map(Picky)).unwrap();
    codec_failure(&outcomes, "13 is not heard");
    assert!(outcomes[13].as_ref().unwrap_err().rank().is_some());
}

fn a_result_that_cannot_be_encoded_is_its_tasks_error(pool: &Executor) {
    let outcomes = pool.call(Shy).chunk(6).outcomes(0..20).unwrap();
    codec_failure(&outcomes, "13 is not told");
    assert!(outcomes[13].as_ref().unwrap_err().host().is_some());
}

/// Panics in the middle of its encoding when it holds 13, and in its drop when it holds 14.
#[derive(Debug, Deserialize)]
struct Fragile(u64, u64);

impl Serialize for Fragile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeTupleStruct;
        let mut fields = serializer.serialize_tuple_struct("Fragile", 2)?;
        fields.serialize_field(&self.0)?;
        assert_ne!(self.0, 13, "13 breaks halfway");
        fields.serialize_field(&self.1)?;
        fields.end()
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        // Only on workers: here the test itself would panic.
        assert!(self.0 != 14 || Task::try_current().is_none(), "14 breaks when dropped");
    }
}

fn a_serialize_or_drop_that_panics_hurts_its_task_only(pool: &Executor) {
    let outcomes = pool.call(|n: u64| Fragile(n, n)).chunk(6).outcomes(0..20).unwrap();
    for (n, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Ok(value) => assert_eq!((value.0, value.1), (n as u64, n as u64)),
            Err(error) => assert!(n == 13 && error.message().contains("13 breaks halfway"), "{error}"),
        }
    }
    assert!(outcomes[13].is_err() && outcomes[14].is_ok());
    let items = (0..20).map(|n| Fragile(n, n)).collect::<Vec<_>>();
    let outcomes = pool.call(|item: Fragile| item.0 + item.1).outcomes(items).unwrap();
    assert!((0..20).all(|n| n == 13 || n == 14 || outcomes[n] == Ok(2 * n as u64)), "{outcomes:?}");
    assert!(outcomes[13].as_ref().unwrap_err().message().contains("13 breaks halfway"));
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

fn a_result_that_cannot_be_decoded_is_its_tasks_error(pool: &Executor) {
    codec_failure(&pool.call(Picky).chunk(6).outcomes(0..20).unwrap(), "13 is not heard");
}

fn good_at_third(n: u64) -> Result<u64, String> {
    let attempt = Task::current().attempt();
    if n.is_multiple_of(5) && attempt < 3 { Err(format!("attempt {attempt}")) } else { Ok(n) }
}

fn retries_show_the_attempt_and_stop_at_success(pool: &Executor) {
    let all = pool.try_call(good_at_third).retries(2).chunk(4).map(0..20).unwrap();
    assert_eq!(all, (0..20).collect::<Vec<_>>());
    let error = pool.try_call(good_at_third).retries(1).map(0..20).unwrap_err();
    let task = error.task().unwrap();
    assert_eq!((task.index(), task.attempt(), task.message()), (0, 2, "attempt 2"));
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
    let first = u32::from(pool.mode() != Mode::Serial);
    let ranks: Vec<u32> = pool.workers().iter().map(|worker| worker.rank).collect();
    assert_eq!(ranks, (first..first + pool.num_workers() as u32).collect::<Vec<_>>());
    for worker in pool.workers() {
        assert!(!worker.host.is_empty() && worker.pid > 0 && !worker.cpus.is_empty(), "{worker:?}");
        let alone = matches!(pool.mode(), Mode::Serial | Mode::Threads);
        assert_eq!(worker.pid == std::process::id(), alone, "{worker:?}");
    }
}

fn tasks_run_where_workers_says(pool: &Executor) {
    let places: BTreeSet<(u32, u32)> = pool
        .call(|_: u64| {
            std::thread::sleep(Duration::from_millis(2));
            (Task::current().rank(), std::process::id())
        })
        .chunk(1)
        .map(0..60)
        .unwrap()
        .into_iter()
        .collect();
    let known: BTreeSet<(u32, u32)> = pool.workers().iter().map(|worker| (worker.rank, worker.pid)).collect();
    assert_eq!(places, known, "every worker works");
}

fn a_task_timeout_is_refused_where_a_thread_cannot_be_stopped(pool: &Executor) {
    let outcome = pool.call(same).task_timeout(Duration::from_secs(5)).map(0..3);
    match pool.mode() {
        Mode::Serial | Mode::Threads => {
            let error = outcome.unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains("processes"), "{error}");
        }
        _ => assert_eq!(outcome.unwrap(), [0, 1, 2]),
    }
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

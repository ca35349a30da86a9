//! Values that are sent once and used by many calls.

use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use rankpool::{Block, ErrorKind, Executor, FailureKind, Mode, Scattered, Tasks};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Picky, Shy, checks, nap};

checks![
    a_scattered_value_is_a_shared_value_of_every_kind_of_call,
    scattered_values_are_parts_of_items_of_shared_values_and_of_each_other,
    a_scattered_value_is_encoded_once_and_decoded_once_in_each_worker,
    a_scattered_value_is_forgotten_with_its_last_handle_and_not_before_its_calls_end,
    a_scattered_value_that_cannot_be_sent_is_an_error,
    a_scattered_value_goes_to_tasks_of_its_own_executor_only,
];

fn a_scattered_value_is_a_shared_value_of_every_kind_of_call(pool: &Executor) {
    let factor = pool.scatter(&3u64).unwrap();
    assert_eq!(*factor, 3, "it can be read here, too");
    let expected: Vec<u64> = (0..300).map(|n| 3 * n).collect();
    let scale = |factor: &Scattered<u64>, n: u64| **factor * n;
    assert_eq!(pool.map_with(&factor, scale, 0..300).unwrap(), expected);
    assert_eq!(pool.call_with(&factor, scale).cost(|n| (n % 7) as f64).map(0..300).unwrap(), expected);
    let stream = pool.call_with(&factor, scale).chunk(7).window(40).stream(0..300).unwrap();
    assert_eq!(stream.collect::<Result<Vec<_>, _>>().unwrap(), expected);
    let sum = pool.call_with(&factor, scale).reduce(|a, b| a + b, 0..300).unwrap();
    assert_eq!(sum, Some(expected.iter().sum()));
    let futures: Vec<_> = (0..50).map(|n| pool.call_with(&factor, scale).submit(n).unwrap()).collect();
    assert!(futures.iter().zip(&expected).all(|(future, product)| future.wait() == Ok(*product)));
    let chunks = |factor: &Scattered<u64>, tasks: &mut Tasks<u64, u64>| {
        while let Some(n) = tasks.take() {
            tasks.give(**factor * n);
        }
    };
    assert_eq!(pool.call_chunks_with(&factor, chunks).map(0..300).unwrap(), expected);
}

fn scattered_values_are_parts_of_items_of_shared_values_and_of_each_other(pool: &Executor) {
    let large: Vec<u64> = (0..50_000).collect();
    let values = [large.clone(), vec![5], vec![]].map(|values| pool.scatter(&Block::from(values)).unwrap());
    let sums = [large.iter().sum::<u64>(), 5, 0];
    // Two thousand items with one of three each, some of them pulled when the call has begun.
    let items = (0..2_000).map(|n: usize| (values[n % 3].clone(), n as u64));
    let sum = |(values, n): (Scattered<Block<u64>>, u64)| values.iter().sum::<u64>() + n;
    let results = pool.call(sum).chunk(6).window(100).map(items.clone()).unwrap();
    let expected: Vec<u64> = (0..2_000).map(|n| sums[n % 3] + n as u64).collect();
    assert_eq!(results, expected);
    let chunks = |tasks: &mut Tasks<(Scattered<Block<u64>>, u64), u64>| {
        while let Some((values, n)) = tasks.take() {
            tasks.give(values.iter().sum::<u64>() + n);
        }
    };
    assert_eq!(pool.call_chunks(chunks).cost(|(_, n)| (n % 5) as f64).map(items).unwrap(), expected);
    let future = pool.submit(sum, (values[0].clone(), 1)).unwrap();
    assert_eq!(future.wait(), Ok(sums[0] + 1));

    let pair = (values[0].clone(), Some(values[1].clone()));
    type Pair = (Scattered<Block<u64>>, Option<Scattered<Block<u64>>>);
    let both = |(one, other): &Pair, n: u64| one[n as usize] + other.as_ref().map_or(0, |other| other[0]);
    assert_eq!(pool.map_with(&pair, both, [7, 49_999]).unwrap(), [12, 50_004]);

    // What is inside of it goes with it, though nobody else has it any more.
    let outer = pool.scatter(&pair).unwrap();
    drop((values, pair));
    assert_eq!(outer.0[3], 3);
    let inside = |(outer, n): (Scattered<Pair>, u64)| outer.0[n as usize] + 1;
    assert_eq!(pool.map(inside, (0..90).map(|n| (outer.clone(), n))).unwrap(), (1..91).collect::<Vec<_>>());
    let outermost = pool.scatter(&outer).unwrap();
    drop(outer);
    assert_eq!(pool.map_with(&outermost, |value, n: u64| value.0[n as usize], [8]).unwrap(), [8]);
}

static ENCODED: AtomicU64 = AtomicU64::new(0);
static DECODED: AtomicU64 = AtomicU64::new(0);

/// Counts how often it is encoded, and how often it is decoded in its worker's process.
struct Counted(u64);

impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ENCODED.fetch_add(1, Ordering::SeqCst);
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Counted, D::Error> {
        DECODED.fetch_add(1, Ordering::SeqCst);
        u64::deserialize(deserializer).map(Counted)
    }
}

fn a_scattered_value_is_encoded_once_and_decoded_once_in_each_worker(pool: &Executor) {
    let value = pool.scatter(&Counted(40)).unwrap();
    let mut most = 0;
    for round in 0..5u64 {
        let seen = |value: &Counted, n: u64| {
            nap(1);
            (value.0 + n, DECODED.load(Ordering::SeqCst))
        };
        let shared = pool.call_with(&value, move |value, n: u64| seen(value, n)).chunk(2).map(0..40).unwrap();
        let items = (0..40).map(|n| (value.clone(), n));
        let items = pool.map(move |(value, n): (Scattered<Counted>, u64)| seen(&value, n), items).unwrap();
        let future =
            pool.submit(move |(value, n): (Scattered<Counted>, u64)| seen(&value, n), (value.clone(), 0));
        let future = future.unwrap().wait().unwrap();
        for (n, (sum, decoded)) in
            (0..40).chain(0..40).chain([0]).zip(shared.into_iter().chain(items).chain([future]))
        {
            assert_eq!(sum, 40 + n, "in round {round}");
            most = most.max(decoded);
        }
    }
    assert_eq!(ENCODED.load(Ordering::SeqCst), 1);
    // Threads share one process and its counter: there it is once for each thread.
    let allowed = if pool.mode() == Mode::Threads { pool.num_workers() as u64 } else { 1 };
    assert!((1..=allowed).contains(&most), "it was decoded {most} times");
}

static LIVE: AtomicI64 = AtomicI64::new(0);

/// Counts how many of it there are in this process.
struct Alive(u64);

impl Serialize for Alive {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Alive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Alive, D::Error> {
        LIVE.fetch_add(1, Ordering::SeqCst);
        u64::deserialize(deserializer).map(Alive)
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::SeqCst);
    }
}

/// How many there are, at most, in each of the processes that are at work.
fn alive(pool: &Executor) -> i64 {
    let look = |_: u64| {
        nap(2);
        LIVE.load(Ordering::SeqCst)
    };
    pool.call(look).chunk(1).map(0..24).unwrap().into_iter().max().unwrap_or(0)
}

fn a_scattered_value_is_forgotten_with_its_last_handle_and_not_before_its_calls_end(pool: &Executor) {
    let value = std::mem::ManuallyDrop::new(Alive(6));
    let [first, second] = [(); 2].map(|()| pool.scatter(&*value).unwrap());
    for handle in [&first, &second] {
        let product = |value: &Scattered<Alive>, n: u64| value.0 * nap(n);
        assert_eq!(pool.call_with(handle, product).chunk(1).map([2; 24]).unwrap(), [12; 24]);
    }
    assert!(alive(pool) >= 2, "both stay between calls");

    let clone = first.clone();
    let product = |(value, n): (Scattered<Alive>, u64)| value.0 * n;
    let mut stream = pool.call(product).window(10).stream((0..500).map(move |n| (clone.clone(), n))).unwrap();
    assert_eq!(stream.next().unwrap().unwrap(), 0);
    drop(first);
    assert_eq!(stream.next().unwrap().unwrap(), 6);
    assert!(stream.map(Result::unwrap).eq((2..500).map(|n| 6 * n)), "a call in flight has it to its end");
    let late = pool.call(|(value, n): (Scattered<Alive>, u64)| value.0 * nap(n)).submit((second.clone(), 50));
    drop(second);
    assert_eq!(late.unwrap().wait(), Ok(300));

    let patience = Instant::now() + Duration::from_secs(10);
    while alive(pool) > 0 {
        assert!(Instant::now() < patience, "a worker still has one");
    }
}

fn a_scattered_value_that_cannot_be_sent_is_an_error(pool: &Executor) {
    let error = pool.scatter(&Shy(13)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.to_string().starts_with("the scattered value cannot be encoded"), "{error}");
    assert!(error.to_string().contains("13 is not told"), "{error}");

    let unread = pool.scatter(&Picky(13)).unwrap();
    let error = pool.map_with(&unread, |picky, n: u64| picky.0 + n, 0..3).unwrap_err();
    assert_eq!(error.task().unwrap().kind(), FailureKind::Init);
    let read = |(picky, n): (Scattered<Picky>, u64)| picky.0 + n;
    let error = pool.submit(read, (unread, 1)).unwrap().wait().unwrap_err();
    assert_eq!(error.kind(), FailureKind::Codec);
    assert!(error.message().contains("13 is not heard"), "{error}");

    let value = pool.scatter(&7u64).unwrap();
    let back = pool.submit(|value: Scattered<u64>| value, value.clone()).unwrap().wait().unwrap_err();
    assert!(back.message().contains("a scattered value goes to tasks only"), "{back}");
    assert_eq!(pool.map_with(&value, |value, n: u64| **value + n, [1]).unwrap(), [8]);
}

fn a_scattered_value_goes_to_tasks_of_its_own_executor_only(pool: &Executor) {
    // Among several ranks there is no other one.
    let Ok(other) = Executor::builder().mode(Mode::Serial).start() else { return };
    let value = other.scatter(&7u64).unwrap();
    let error = pool.map_with(&value, |value, n: u64| **value + n, [1]).unwrap_err();
    assert!(error.to_string().contains("belongs to another executor"), "{error}");
    let outcomes = pool.call(|value: Scattered<u64>| *value).outcomes([value.clone()]).unwrap();
    assert!(outcomes[0].as_ref().unwrap_err().message().contains("belongs to another executor"));
    assert_eq!(other.map_with(&value, |value, n: u64| **value + n, [1]).unwrap(), [8]);
    drop(other);
    assert_eq!(*value, 7, "the handle has outlived it");
}

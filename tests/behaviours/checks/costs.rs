//! Calls whose most expensive tasks begin first.

use rankpool::{Chunk, Executor, Task, rand_chacha::rand_core::Rng};

use super::{Picky, Shy, checks, fail_at, good_at_third, same};

checks![
    results_indices_and_random_numbers_are_those_without_costs,
    the_most_expensive_begin_first,
    outcomes_with_costs_are_those_without,
    a_failure_ends_a_call_with_costs,
    what_cannot_be_sent_with_costs_is_its_own_tasks_failure,
    a_state_and_a_shared_value_go_with_costs,
    a_stream_with_costs_needs_a_window_for_all_items,
];

/// What a task knows of itself, and what it makes of its item.
fn told(n: u64) -> (u64, u64, u64, String) {
    let task = Task::current();
    (task.index(), task.seed(), task.rng().next_u64(), "x".repeat((n % 7) as usize))
}

/// Costs without any order, some of them equal.
fn scrambled(n: u64) -> f64 {
    (n.wrapping_mul(2_654_435_761) % 97) as f64
}

fn results_indices_and_random_numbers_are_those_without_costs(pool: &Executor) {
    let cost = |n: &u64| scrambled(*n);
    for (chunk, items) in
        [(Chunk::Auto, 3_000), (Chunk::Fixed(7), 300), (Chunk::Static, 300), (Chunk::Guided, 3)]
    {
        let call = || pool.call(told).chunk(chunk).seed(11);
        let plain = call().map(0..items).unwrap();
        assert_eq!(call().cost(cost).map(0..items).unwrap(), plain);
        let stream = call().cost(cost).stream(0..items).unwrap();
        assert_eq!(stream.collect::<Result<Vec<_>, _>>().unwrap(), plain);
        let mut found: Vec<_> =
            call().window(20).cost(cost).unordered(0..items).unwrap().map(Result::unwrap).collect();
        found.sort_unstable_by_key(|(index, _)| *index);
        assert!(found.into_iter().eq((0..).zip(plain)));
    }
    assert!(pool.call(told).cost(cost).map([]).unwrap().is_empty());
}

fn the_most_expensive_begin_first(pool: &Executor) {
    let costs = [3.0, f64::NAN, 1.0, 9.0, 3.0, 0.0];
    let mut asked = Vec::new();
    let call = pool.call(|(n, _): (u64, f64)| n).chunk(1).cost(|(n, cost)| {
        asked.push(*n);
        *cost
    });
    let ended = call.unordered((0..).zip(costs)).unwrap();
    let ended: Vec<u64> = ended.map(|result| result.unwrap().0).collect();
    assert_eq!(asked, [0, 1, 2, 3, 4, 5], "each item once");
    let slots: u32 = pool.workers().iter().map(|worker| worker.threads).sum();
    if slots == 1 {
        assert_eq!(ended, [1, 3, 0, 4, 2, 5]);
    }
}

fn outcomes_with_costs_are_those_without(pool: &Executor) {
    let texts = |outcomes: Vec<Result<u64, rankpool::TaskError>>| -> Vec<(u64, String)> {
        let text = |(k, outcome): (u64, Result<u64, rankpool::TaskError>)| match outcome {
            Ok(value) => (k, value.to_string()),
            Err(error) => (error.index(), format!("{:?} {}", error.kind(), error.message())),
        };
        (0..).zip(outcomes).map(text).collect()
    };
    let call = || pool.try_call(fail_at).retries(1);
    let plain = texts(call().outcomes(0..100).unwrap());
    assert_eq!(texts(call().cost(|n| scrambled(*n)).outcomes(0..100).unwrap()), plain);
    let error = call().keep_going().cost(|n| *n as f64).map(0..100).unwrap_err();
    assert_eq!(error.task().unwrap().index(), 7, "the first one in the order of the items");
    assert_eq!(
        pool.try_call(good_at_third).retries(2).cost(|n| *n as f64).map(0..20).unwrap(),
        (0..20).collect::<Vec<_>>()
    );
}

fn a_failure_ends_a_call_with_costs(pool: &Executor) {
    let call = || pool.try_call(fail_at).chunk(1).label("mine");
    let error = call().cost(|n| *n as f64).map(0..100).unwrap_err();
    let task = error.task().unwrap();
    assert_eq!(task.index() % 10, 7, "{error}");
    assert_eq!(task.message(), format!("{} is no good", task.index()));
    assert!(error.to_string().starts_with("mine: "), "{error}");
    // Item 0 is the last to begin: nothing has had its turn when 97 fails.
    let mut stream = call().cost(|n| *n as f64).stream(0..100).unwrap();
    let first = stream.find_map(Result::err).unwrap();
    assert_eq!(first.task().unwrap().index() % 10, 7);
    assert!(stream.next().is_none());
}

fn what_cannot_be_sent_with_costs_is_its_own_tasks_failure(pool: &Executor) {
    let shy = pool.call(|Shy(n)| n).cost(|Shy(n)| *n as f64).outcomes((10..16).map(Shy)).unwrap();
    let picky = pool.call(|Picky(n)| n).cost(|Picky(n)| *n as f64).outcomes((10..16).map(Picky)).unwrap();
    for (outcomes, text) in [(shy, "13 is not told"), (picky, "13 is not heard")] {
        for (index, outcome) in (0..).zip(outcomes) {
            match outcome {
                Ok(n) => assert_eq!(n, index + 10),
                Err(error) => {
                    assert_eq!((error.index(), index), (3, 3));
                    assert!(error.message().contains(text), "{error}");
                    assert!(!error.message().contains("(u64"), "its own type: {error}");
                }
            }
        }
    }
}

fn a_state_and_a_shared_value_go_with_costs(pool: &Executor) {
    let factor = pool.call_with(&3u64, |factor, n: u64| factor * n).cost(|n| *n as f64).map(0..50).unwrap();
    assert_eq!(factor, (0..50).map(|n| 3 * n).collect::<Vec<_>>());
    let state = pool.call_init(|| 5u64, |state, n: u64| *state + n).cost(|n| *n as f64).map(0..50).unwrap();
    assert_eq!(state, (5..55).collect::<Vec<_>>());
}

fn a_stream_with_costs_needs_a_window_for_all_items(pool: &Executor) {
    let call = |window| pool.call(same).window(window).label("mine").cost(|n| *n as f64);
    assert_eq!(call(10).stream(0..10).unwrap().count(), 10);
    let error = call(9).stream(0..10).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().starts_with("mine: a window of 9 tasks"), "{error}");
    assert_eq!(call(9).map(0..10).unwrap(), (0..10).collect::<Vec<_>>());
}

//! Functions that are called for a chunk at a time.

use rankpool::{Executor, FailureKind, Task, Tasks};

use super::{Picky, Shy, checks};

checks![
    a_function_for_a_chunk_gives_what_one_for_a_task_gives,
    a_task_of_a_chunk_is_the_current_one_while_it_is_under_way,
    failures_of_a_chunk_carry_bytes_and_are_their_own_tasks,
    a_panic_in_a_chunk_is_one_tasks_and_those_behind_it_are_run,
    a_task_that_is_forgotten_or_not_taken_fails,
    what_cannot_be_sent_is_its_own_tasks_failure_in_a_chunk_too,
    failed_tasks_of_a_chunk_are_tried_again,
    chunks_have_a_shared_value_costs_and_a_fold,
];

fn squares(tasks: &mut Tasks<u64, u64>) {
    while let Some(n) = tasks.take() {
        tasks.give(n * n);
    }
}

fn a_function_for_a_chunk_gives_what_one_for_a_task_gives(pool: &Executor) {
    let expected: Vec<u64> = (0..5_000).map(|n| n * n).collect();
    assert_eq!(pool.call_chunks(squares).map(0..5_000).unwrap(), expected);
    assert_eq!(pool.call_chunks(squares).chunk(7).map(0..5_000).unwrap(), expected);
    let stream = pool.call_chunks(squares).window(100).stream(0..5_000).unwrap();
    assert_eq!(stream.collect::<Result<Vec<_>, _>>().unwrap(), expected);
    assert_eq!(pool.call_chunks(squares).submit(12).unwrap().wait(), Ok(144));
    assert!(pool.call_chunks(squares).map([]).unwrap().is_empty());
    let one_a_call = |tasks: &mut Tasks<u64, u64>| {
        if let Some(n) = tasks.take() {
            tasks.give(n * n);
        }
    };
    assert_eq!(pool.call_chunks(one_a_call).chunk(50).map(0..5_000).unwrap(), expected);
}

fn a_task_of_a_chunk_is_the_current_one_while_it_is_under_way(pool: &Executor) {
    let told = |tasks: &mut Tasks<u64, (u64, u64)>| {
        while tasks.take().is_some() {
            let task = Task::current();
            tasks.give((task.index(), task.seed()));
        }
    };
    let each = |_: u64| (Task::current().index(), Task::current().seed());
    let expected = pool.call(each).seed(5).map(0..200).unwrap();
    assert_eq!(pool.call_chunks(told).seed(5).map(0..200).unwrap(), expected);
}

fn failures_of_a_chunk_carry_bytes_and_are_their_own_tasks(pool: &Executor) {
    let odd = |tasks: &mut Tasks<u64, u64>| {
        while let Some(n) = tasks.take() {
            match n % 3 {
                0 => tasks.give(n),
                1 => tasks.fail(format!("{n} fails")),
                _ => tasks.fail_with("look at the bytes", vec![n as u8; n as usize]),
            }
            tasks.give(1_000); // It has ended.
        }
    };
    let outcomes = pool.call_chunks(odd).outcomes(0..50).unwrap();
    for (n, outcome) in (0..).zip(outcomes) {
        match (n % 3, outcome) {
            (0, outcome) => assert_eq!(outcome, Ok(n)),
            (rest, Err(error)) => {
                let (text, bytes) = match rest {
                    1 => (format!("{n} fails"), None),
                    _ => ("look at the bytes".to_string(), Some(vec![n as u8; n as usize])),
                };
                assert_eq!((error.index(), error.kind()), (n, FailureKind::Failed));
                assert_eq!((error.message(), error.details()), (&*text, bytes.as_deref()));
            }
            (_, Ok(value)) => panic!("task {n} gave {value}"),
        }
    }
    let error = pool.call_chunks(odd).map(0..50).unwrap_err();
    assert_eq!(error.task().unwrap().index(), 1);
}

fn a_panic_in_a_chunk_is_one_tasks_and_those_behind_it_are_run(pool: &Executor) {
    let panics = |tasks: &mut Tasks<u64, u64>| {
        while let Some(n) = tasks.take() {
            assert!(n % 10 != 3, "{n} is three");
            tasks.give(n);
        }
    };
    let outcomes = pool.call_chunks(panics).chunk(25).outcomes(0..100).unwrap();
    for (n, outcome) in (0..).zip(outcomes) {
        match outcome {
            Ok(value) => assert_eq!(value, n),
            Err(error) => {
                assert_eq!((n % 10, error.kind()), (3, FailureKind::Panicked));
                assert!(error.message().contains(&format!("{n} is three")), "{error}");
            }
        }
    }
}

fn a_task_that_is_forgotten_or_not_taken_fails(pool: &Executor) {
    let forgets = |tasks: &mut Tasks<u64, u64>| {
        while let Some(n) = tasks.take() {
            if n % 4 > 0 {
                tasks.give(n);
            }
        }
    };
    let outcomes = pool.call_chunks(forgets).chunk(10).outcomes(0..40).unwrap();
    for (n, outcome) in (0..).zip(outcomes) {
        match outcome {
            Ok(value) => assert!(value == n && n % 4 > 0),
            Err(error) => assert!(n % 4 == 0 && error.message().contains("neither a value"), "{error}"),
        }
    }
    let takes_none = |_: &mut Tasks<u64, u64>| {};
    let outcomes = pool.call_chunks(takes_none).outcomes(0..10).unwrap();
    assert_eq!(outcomes.len(), 10);
    assert!(outcomes.iter().all(|outcome| outcome.as_ref().unwrap_err().message().contains("took no task")));
}

fn what_cannot_be_sent_is_its_own_tasks_failure_in_a_chunk_too(pool: &Executor) {
    let there = |tasks: &mut Tasks<Picky, u64>| {
        while let Some(Picky(n)) = tasks.take() {
            tasks.give(n);
        }
    };
    let back = |tasks: &mut Tasks<u64, Shy>| {
        while let Some(n) = tasks.take() {
            tasks.give(Shy(n));
        }
    };
    let there = pool.call_chunks(there).outcomes((0..20).map(Picky)).unwrap();
    let back = pool.call_chunks(back).outcomes(0..20).unwrap();
    for n in 0..20 {
        if n == 13 {
            assert!(there[n].as_ref().unwrap_err().message().contains("13 is not heard"));
            assert!(back[n].as_ref().unwrap_err().message().contains("13 is not told"));
        } else {
            assert_eq!(there[n], Ok(n as u64));
            assert_eq!(back[n], Ok(Shy(n as u64)));
        }
    }
}

fn failed_tasks_of_a_chunk_are_tried_again(pool: &Executor) {
    let third = |tasks: &mut Tasks<u64, u16>| {
        while let Some(n) = tasks.take() {
            let attempt = Task::current().attempt();
            if n % 5 == 0 && attempt < 3 { tasks.fail("not yet") } else { tasks.give(attempt) }
        }
    };
    let attempts = pool.call_chunks(third).retries(2).map(0..50).unwrap();
    assert!((0..).zip(attempts).all(|(n, attempt)| attempt == if n % 5 == 0 { 3 } else { 1 }));
}

fn chunks_have_a_shared_value_costs_and_a_fold(pool: &Executor) {
    let scaled = |factor: &u64, tasks: &mut Tasks<u64, u64>| {
        while let Some(n) = tasks.take() {
            tasks.give(n * factor);
        }
    };
    let expected: Vec<u64> = (0..300).map(|n| n * 3).collect();
    assert_eq!(pool.call_chunks_with(&3, scaled).map(0..300).unwrap(), expected);
    let dear = pool.call_chunks_with(&3, scaled).cost(|n| (n % 7) as f64);
    assert_eq!(dear.map(0..300).unwrap(), expected);
    let sum = pool.call_chunks_with(&3, scaled).chunk(9).reduce(|a, b| a + b, 0..300).unwrap();
    assert_eq!(sum, Some(expected.iter().sum()));
    let unread = |Picky(_): &Picky, tasks: &mut Tasks<u64, u64>| {
        tasks.take();
        tasks.give(1);
    };
    let outcomes = pool.call_chunks_with(&Picky(13), unread).outcomes(0..5).unwrap();
    for outcome in outcomes {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), FailureKind::Init);
        assert!(error.message().contains("13 is not heard"), "{error}");
    }
}

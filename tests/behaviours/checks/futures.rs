//! Single tasks: submit, wait, cancel, callbacks.

use std::{
    collections::HashMap,
    sync::mpsc,
    time::{Duration, Instant},
};

use rankpool::{
    ErrorKind, Executor, FailureKind, Future, Status, Task, WaitFor, as_completed,
    rand_chacha::rand_core::Rng, wait,
};

use super::{Shy, checks, fail_at, good_at_third, nap, square};

checks![
    submit_brings_result_error_and_panic_to_wait,
    status_only_moves_forward,
    a_task_that_waits_for_its_next_attempt_is_not_pending_again,
    cancel_works_while_pending_and_not_after,
    wait_timeout_that_expires_leaves_the_future_valid,
    callbacks_run_once_in_order_also_when_added_late,
    a_dropped_future_loses_nothing,
    fifty_queued_tasks_all_end,
    wait_returns_for_the_first_the_first_error_and_all,
    as_completed_gives_each_once_and_honours_a_limit_of_zero,
    a_submitted_task_is_known_by_its_number_in_the_order_of_submission,
    a_label_is_in_front_of_the_errors_of_its_call,
    a_future_that_has_ended_is_found_by_itself_among_the_others,
];

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

/// Each status of a future that is seen until its end.
fn statuses<R>(future: &Future<R>) -> Vec<Status> {
    let mut seen = vec![future.status()];
    while seen.last() != Some(&Status::Done) {
        let status = future.status();
        if seen.last() != Some(&status) {
            seen.push(status);
        }
    }
    seen
}

fn status_only_moves_forward(pool: &Executor) {
    let slots: usize = pool.workers().iter().map(|worker| worker.threads as usize).sum();
    let futures: Vec<_> = (0..2 * slots + 1).map(|_| pool.submit(nap, 60).unwrap()).collect();
    assert_eq!(statuses(&futures[2 * slots]), [Status::Pending, Status::Running, Status::Done]);
    assert!(futures.iter().all(|future| future.wait() == Ok(60)));
}

fn a_task_that_waits_for_its_next_attempt_is_not_pending_again(pool: &Executor) {
    let call = pool.try_call(good_at_third).retries(2).retry_delay(Duration::from_millis(50));
    let future = call.submit(5).unwrap();
    while future.status() == Status::Pending {
        std::thread::yield_now();
    }
    assert_eq!(statuses(&future), [Status::Running, Status::Done]);
    assert_eq!(future.wait(), Ok(5));
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

fn a_submitted_task_is_known_by_its_number_in_the_order_of_submission(pool: &Executor) {
    let draw = |()| (Task::current().index(), Task::current().rng().next_u64());
    let futures: Vec<_> = (0..3).map(|_| pool.submit(draw, ()).unwrap()).collect();
    let first = futures[0].index();
    let drawn: Vec<_> = futures.iter().map(|future| future.wait().unwrap()).collect();
    assert_eq!(drawn.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [first, first + 1, first + 2]);
    assert!(drawn[0].1 != drawn[1].1 && drawn[1].1 != drawn[2].1, "each has random numbers of its own");
    let again = pool.call(draw).outcomes([(); 1]).unwrap();
    assert_eq!(again[0].as_ref().unwrap().0, 0, "a map counts from 0");

    let unsent = pool.submit(|shy: Shy| shy.0, Shy(13)).unwrap();
    let failed = pool.try_call(|n: u64| good_at_third(n).and_then(fail_at)).retries(2).submit(37).unwrap();
    assert_eq!([unsent.index(), failed.index()], [first + 3, first + 4]);
    assert_eq!(unsent.wait().unwrap_err().index(), first + 3);
    let error = failed.wait().unwrap_err();
    assert_eq!((error.index(), error.attempt()), (first + 4, 3));
    assert!(error.to_string().starts_with(&format!("task {} failed", first + 4)), "{error}");
    let (said, heard) = mpsc::channel();
    failed.on_done(move |outcome| said.send(outcome.unwrap_err().index()).unwrap());
    assert_eq!(heard.recv(), Ok(first + 4));

    let slots: usize = pool.workers().iter().map(|worker| worker.threads as usize).sum();
    let busy: Vec<_> = (0..2 * slots).map(|_| pool.submit(nap, 50).unwrap()).collect();
    let cancelled = pool.submit(square, 3).unwrap();
    assert!(cancelled.cancel());
    assert_eq!(cancelled.wait().unwrap_err().index(), busy[0].index() + busy.len() as u64);
}

fn a_label_is_in_front_of_the_errors_of_its_call(pool: &Executor) {
    let future = pool.try_call(fail_at).label("the third").submit(7).unwrap();
    let error = future.wait().unwrap_err();
    assert_eq!((future.label(), error.label()), (Some("the third"), Some("the third")));
    assert!(error.to_string().starts_with(&format!("the third: task {} failed", future.index())), "{error}");
    assert_eq!(format!("{error:?}"), error.to_string());
    let map = || pool.try_call(fail_at).label("a map");
    let errors = [
        map().map(0..10).unwrap_err(),
        map().reduce(|a, _| a, 0..10).unwrap_err(),
        map().outcomes(0..10).unwrap().remove(7).unwrap_err().into(),
        map().stream(0..10).unwrap().find_map(Result::err).unwrap(),
        map().unordered(0..10).unwrap().find_map(Result::err).unwrap(),
    ];
    for error in errors {
        assert!(error.to_string().starts_with("a map: task 7 failed"), "{error}");
        assert_eq!(format!("{error:?}"), error.to_string());
    }
}

fn a_future_that_has_ended_is_found_by_itself_among_the_others(pool: &Executor) {
    let futures: Vec<_> = (0..4).map(|n| pool.submit(square, n).unwrap()).collect();
    #[expect(clippy::mutable_key_type, reason = "what is hashed, the task's identity, does not change")]
    let numbers: HashMap<_, u64> = futures.iter().zip(0..).collect();
    for future in as_completed(&futures, None) {
        let future = future.unwrap();
        assert_eq!(future.wait(), Ok(numbers[future] * numbers[future]));
        assert!(format!("{future:?}").contains(&format!("index: {}", future.index())), "{future:?}");
    }
    assert_ne!(futures[0], futures[1]);
}

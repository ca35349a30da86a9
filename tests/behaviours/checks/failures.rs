//! What a task may do wrong, and that it hurts nobody else.

use std::time::Duration;

use rankpool::{Executor, FailureKind, Mode, Task};
use serde::{Deserialize, Serialize, Serializer};

use super::{Picky, Shy, checks, good_at_third, nap, same};

checks![
    a_panic_names_task_rank_host_and_place,
    a_payload_that_is_no_text_is_survived,
    an_error_keeps_its_text,
    an_item_that_cannot_be_encoded_is_its_tasks_error,
    an_item_that_cannot_be_decoded_is_its_tasks_error,
    a_result_that_cannot_be_encoded_is_its_tasks_error,
    a_serialize_or_drop_that_panics_hurts_its_task_only,
    a_result_that_cannot_be_decoded_is_its_tasks_error,
    retries_show_the_attempt_and_stop_at_success,
    a_task_timeout_is_refused_where_a_thread_cannot_be_stopped,
    a_task_timeout_may_be_longer_than_can_be_counted,
    the_time_that_a_state_takes_to_build_is_no_tasks_time,
];

fn a_panic_names_task_rank_host_and_place(pool: &Executor) {
    let error = pool.map(|n: u64| 12 / (n - 2), 0..2).unwrap_err();
    assert!(error.to_string().contains("overflow") || error.task().is_some(), "{error}");
    let error = pool.map(|n: u64| if n == 5 { panic!("five") } else { n }, 0..9).unwrap_err();
    let task = error.task().unwrap();
    assert_eq!((task.index(), task.kind(), task.attempt()), (5, FailureKind::Panicked, 1));
    let worker = pool.workers().iter().find(|worker| Some(worker.rank) == task.rank()).expect("a known rank");
    assert_eq!(task.host(), Some(worker.host.as_str()));
    assert!(task.message().starts_with("five (at tests/behaviours/checks/failures.rs:"), "{task}");
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

fn a_result_that_cannot_be_decoded_is_its_tasks_error(pool: &Executor) {
    codec_failure(&pool.call(Picky).chunk(6).outcomes(0..20).unwrap(), "13 is not heard");
}

fn retries_show_the_attempt_and_stop_at_success(pool: &Executor) {
    let all = pool.try_call(good_at_third).retries(2).chunk(4).map(0..20).unwrap();
    assert_eq!(all, (0..20).collect::<Vec<_>>());
    let error = pool.try_call(good_at_third).retries(1).map(0..20).unwrap_err();
    let task = error.task().unwrap();
    assert_eq!((task.index(), task.attempt(), task.message()), (0, 2, "attempt 2"));
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

fn limits_tasks(pool: &Executor) -> bool {
    !matches!(pool.mode(), Mode::Serial | Mode::Threads)
}

fn a_task_timeout_may_be_longer_than_can_be_counted(pool: &Executor) {
    if limits_tasks(pool) {
        // In nanoseconds it is 2^64 and 290 ms.
        let limit = Duration::from_secs(18_446_744_074);
        assert_eq!(pool.call(nap).task_timeout(limit).map([700]).unwrap(), [700]);
        assert_eq!(pool.call(nap).task_timeout(Duration::MAX).map([700]).unwrap(), [700]);
        assert_eq!(pool.progress().lost, 0);
    }
}

fn the_time_that_a_state_takes_to_build_is_no_tasks_time(pool: &Executor) {
    if limits_tasks(pool) {
        let lost = pool.progress().lost;
        let call = pool.call_init(|| nap(1000), |state, n: u64| *state + nap(n));
        assert_eq!(call.task_timeout(Duration::from_millis(300)).map([1, 2, 3]).unwrap(), [1001, 1002, 1003]);
        assert_eq!(pool.progress().lost, lost);
    }
}

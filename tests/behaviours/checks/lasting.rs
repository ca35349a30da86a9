//! Calls whose outcomes are kept in a journal.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::PathBuf,
};

use rankpool::{Call, Error, ErrorKind, Executor, Function, Task, Tasks, rand_chacha::rand_core::Rng};

use super::{Shy, checks, fail_at, good_at_third, same};

checks![
    a_second_call_takes_all_from_the_journal,
    an_interrupted_stream_goes_on_as_any_kind_of_call,
    tasks_go_on_in_the_order_of_their_costs,
    failures_are_kept_until_they_are_to_be_tried_again,
    a_call_that_stops_at_a_kept_failure_begins_nothing_behind_it,
    what_could_not_be_sent_is_kept_as_failed,
    chunk_functions_states_and_shared_values_last,
    another_call_is_refused_with_both_values,
    the_number_of_items_may_be_known_at_the_end_only,
    a_loop_may_feed_the_iterator_of_a_stream_that_goes_on,
    a_journal_in_use_and_other_files_are_refused,
    a_cut_journal_costs_its_tail,
    reduce_and_submit_keep_no_journal,
];

/// A folder for a journal, and for the list of the tasks that have run.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Scratch {
        Scratch(tempfile::tempdir().unwrap())
    }

    fn journal(&self) -> PathBuf {
        self.0.path().join("map.journal")
    }

    fn list(&self) -> String {
        self.0.path().join("list").to_str().unwrap().into()
    }

    /// The tasks that have run since this was asked last.
    fn ran(&self) -> Vec<u64> {
        let list = fs::read_to_string(self.list()).unwrap_or_default();
        let _ = fs::remove_file(self.list());
        let mut ran: Vec<u64> = list.lines().map(|line| line.parse().unwrap()).collect();
        ran.sort_unstable();
        ran.dedup(); // A task may run again whose chunk was cut short.
        ran
    }
}

/// Takes down that it runs, and gives what the task knows of itself and a text that varies in length.
fn told(list: &String, n: u64) -> (u64, u64, u64, String) {
    let mut list = OpenOptions::new().create(true).append(true).open(list).unwrap();
    let task = Task::current();
    list.write_all(format!("{}\n", task.index()).as_bytes()).unwrap();
    (n, task.index(), task.rng().next_u64(), "x".repeat((n % 5) as usize))
}

fn a_second_call_takes_all_from_the_journal(pool: &Executor) {
    let scratch = Scratch::new();
    let list = scratch.list();
    let plain = pool.call_with(&list, told).seed(3).map(0..500).unwrap();
    let lasting = || pool.call_with(&list, told).seed(3).label("all").journal(scratch.journal());
    scratch.ran();
    assert_eq!(lasting().map(0..500).unwrap(), plain);
    assert_eq!(scratch.ran().len(), 500);
    assert_eq!(lasting().map(0..500).unwrap(), plain);
    let stream: Result<Vec<_>, Error> = lasting().chunk(3).window(7).stream(0..500).unwrap().collect();
    assert_eq!(stream.unwrap(), plain);
    let outcomes = lasting().outcomes(0..500).unwrap();
    assert!(outcomes.into_iter().map(Result::unwrap).eq(plain));
    assert!(scratch.ran().is_empty(), "nothing was missing");
}

/// Leaves a journal that has some of the outcomes.
fn interrupted<T: Function<Item = u64>>(call: Call<'_, T>, items: u64, seen: usize) {
    let mut stream = call.chunk(1).window(8).stream(0..items).unwrap();
    assert!(stream.by_ref().take(seen).all(|result| result.is_ok()));
}

fn an_interrupted_stream_goes_on_as_any_kind_of_call(pool: &Executor) {
    for kind in 0..4 {
        let scratch = Scratch::new();
        let list = scratch.list();
        let lasting = || pool.call_with(&list, told).journal(scratch.journal());
        interrupted(lasting(), 200, 20);
        let before = scratch.ran();
        let found: Vec<_> = match kind {
            0 => lasting().map(0..200).unwrap(),
            1 => lasting().stream(0..200).unwrap().map(Result::unwrap).collect(),
            2 => lasting().outcomes(0..200).unwrap().into_iter().map(Result::unwrap).collect(),
            _ => {
                let mut found: Vec<_> = lasting().unordered(0..200).unwrap().map(Result::unwrap).collect();
                found.sort_unstable_by_key(|(index, _)| *index);
                found.into_iter().map(|(_, value)| value).collect()
            }
        };
        let again = scratch.ran();
        assert!(before.len() >= 20 && again.len() <= 180, "{} and {}", before.len(), again.len());
        assert!((20..200).all(|task| before.contains(&task) || again.contains(&task)));
        assert_eq!(found, pool.call_with(&list, told).map(0..200).unwrap(), "kind {kind}");
    }
}

fn tasks_go_on_in_the_order_of_their_costs(pool: &Executor) {
    let scratch = Scratch::new();
    let list = scratch.list();
    let cost = |n: &u64| (n * 37 % 100) as f64;
    let lasting = || pool.call_with(&list, told).chunk(1).journal(scratch.journal()).cost(cost);
    let first: Vec<u64> =
        lasting().unordered(0..100).unwrap().take(30).map(|result| result.unwrap().0).collect();
    scratch.ran();
    let plain = pool.call_with(&list, told).map(0..100).unwrap();
    scratch.ran();
    assert_eq!(lasting().map(0..100).unwrap(), plain);
    let again = scratch.ran();
    assert!(first.iter().all(|task| !again.contains(task)), "{first:?} and {again:?}");
    assert_eq!(pool.call_with(&list, told).journal(scratch.journal()).map(0..100).unwrap(), plain);
    assert!(scratch.ran().is_empty(), "costs are no part of what a call is");
}

fn failures_are_kept_until_they_are_to_be_tried_again(pool: &Executor) {
    let scratch = Scratch::new();
    let lasting = || pool.try_call(good_at_third).label("thirds").journal(scratch.journal());
    let first = lasting().outcomes(0..20).unwrap();
    assert_eq!(first.iter().filter(|outcome| outcome.is_err()).count(), 4);
    assert_eq!(lasting().retries(2).outcomes(0..20).unwrap(), first, "they are reported as before");
    let error = lasting().retries(2).map(0..20).unwrap_err();
    assert_eq!((error.task().unwrap().index(), error.task().unwrap().message()), (0, "attempt 1"));
    let error = lasting().keep_going().map(0..20).unwrap_err();
    assert_eq!(error.task().unwrap().label(), Some("thirds"));
    let again = lasting().retries(2).retry_failed(true).map(0..20).unwrap();
    assert_eq!(again, (0..20).collect::<Vec<_>>());
    assert_eq!(lasting().map(0..20).unwrap(), again, "now they are kept as done");
    let refused = pool.try_call(good_at_third).retry_failed(true).map(0..20).unwrap_err();
    assert!(
        refused.kind() == ErrorKind::Usage && refused.to_string().contains("name the journal"),
        "{refused}"
    );
}

fn a_call_that_stops_at_a_kept_failure_begins_nothing_behind_it(pool: &Executor) {
    let scratch = Scratch::new();
    let list = scratch.list();
    fn told_or_failed(list: &String, n: u64) -> Result<u64, String> {
        told(list, n);
        fail_at(n)
    }
    let lasting = || pool.try_call_with(&list, told_or_failed).chunk(1).window(1).journal(scratch.journal());
    let run = || lasting().stream(0..40).unwrap().map(|result| result.map_err(|error| error.to_string()));
    let stopped: Vec<Result<u64, String>> = run().collect();
    assert_eq!((stopped.len(), stopped[7].is_err()), (8, true));
    scratch.ran();
    assert!(run().eq(stopped));
    let cost = |n: &u64| *n as f64;
    assert_eq!(lasting().cost(cost).map(0..40).unwrap_err().task().unwrap().index(), 7);
    let first = lasting().unordered(0..40).unwrap().next().unwrap();
    assert_eq!(first.unwrap_err().task().unwrap().index(), 7);
    assert!(scratch.ran().is_empty());
    let all = lasting().window(1000).outcomes(0..40).unwrap();
    assert_eq!(all.iter().filter(|outcome| outcome.is_err()).count(), 4);
    assert_eq!(scratch.ran(), (8..40).collect::<Vec<_>>());
}

fn what_could_not_be_sent_is_kept_as_failed(pool: &Executor) {
    let scratch = Scratch::new();
    let lasting = || pool.call(|Shy(n): Shy| n).journal(scratch.journal());
    let first = lasting().outcomes((10..20).map(Shy)).unwrap();
    assert!(first[3].as_ref().unwrap_err().to_string().contains("13 is not told"));
    assert_eq!(lasting().outcomes((10..20).map(Shy)).unwrap(), first);
    let cost = |item: &Shy| item.0 as f64;
    assert_eq!(lasting().cost(cost).outcomes((10..20).map(Shy)).unwrap(), first);
}

fn chunk_functions_states_and_shared_values_last(pool: &Executor) {
    let scratch = Scratch::new();
    let halves = |tasks: &mut Tasks<'_, u64, u64>| {
        while let Some(n) = tasks.take() {
            match n % 3 {
                0 => tasks.fail_with("a third", vec![n as u8]),
                _ => tasks.give(n * 2),
            }
        }
    };
    let chunks = || pool.call_chunks(halves).journal(scratch.journal());
    let first = chunks().outcomes(0..30).unwrap();
    assert_eq!(first[9].as_ref().unwrap_err().details(), Some(&[9u8][..]));
    assert_eq!(chunks().outcomes(0..30).unwrap(), first);
    let other = Scratch::new();
    let states = || pool.call_init(|| 1u64, |state: &mut u64, n: u64| n + *state).journal(other.journal());
    interrupted(states(), 50, 9);
    assert_eq!(states().map(0..50).unwrap(), (1..51).collect::<Vec<_>>());
}

fn another_call_is_refused_with_both_values(pool: &Executor) {
    let scratch = Scratch::new();
    let lasting = || pool.call(same).label("first").seed(1).journal(scratch.journal());
    lasting().map(0..10).unwrap();
    let refused = |error: Error, what: &str| {
        let text = error.to_string();
        assert!(error.kind() == ErrorKind::Usage && text.contains(what), "{text}");
        assert!(text.contains("map.journal: cannot be resumed"), "{text}");
    };
    refused(lasting().label("b").map(0..10).unwrap_err(), "label \"first\", and this call has label \"b\"");
    refused(
        pool.call(same).seed(1).journal(scratch.journal()).map(0..10).unwrap_err(),
        "label \"first\", and this call has label (none)",
    );
    refused(lasting().seed(2).map(0..10).unwrap_err(), "seed 1, and this call has seed 2");
    refused(lasting().map(0..11).unwrap_err(), "item count 10, and this call has item count 11");
    refused(lasting().stream(0..9).map(drop).unwrap_err(), "item count 10, and this call has item count 9");
    let call = pool.call(|n: u32| u64::from(n)).label("first").seed(1).journal(scratch.journal());
    refused(call.map(0..10).unwrap_err(), "item type u64, and this call has item type u32");
    let call = pool.call(|n: u64| n as f64).label("first").seed(1).journal(scratch.journal());
    refused(call.unordered(0..10).map(drop).unwrap_err(), "value type u64, and this call has value type f64");
    assert_eq!(lasting().map(0..10).unwrap(), (0..10).collect::<Vec<_>>(), "it is as it was");
}

/// So many items, of which nobody knows the number.
fn lazy(items: u64) -> impl Iterator<Item = u64> {
    (0..items).filter(|_| true)
}

fn the_number_of_items_may_be_known_at_the_end_only(pool: &Executor) {
    let scratch = Scratch::new();
    let lasting = || pool.call(same).journal(scratch.journal());
    interrupted(lasting(), 100, 20);
    // The first run knew it.
    assert_eq!(lasting().map(lazy(100)).unwrap().len(), 100);
    let refused = |error: Error, what: &str| {
        assert!(error.kind() == ErrorKind::Usage && error.to_string().contains(what), "{error}");
    };
    refused(lasting().map(lazy(99)).unwrap_err(), "item count 100, and this call has item count 99");
    refused(
        lasting().map(lazy(101)).unwrap_err(),
        "item count 100, and this call has item count 101 at least",
    );
    let other = Scratch::new();
    let lasting = || pool.call(same).journal(other.journal());
    let seen = lasting().chunk(1).window(30).stream(lazy(1000)).unwrap().take(25).count();
    assert_eq!(seen, 25);
    // How many there are was not found out.
    refused(lasting().map(0..5).unwrap_err(), "at least, and this call has item count 5");
    refused(lasting().map(lazy(5)).unwrap_err(), "at least, and this call has item count 5");
    assert_eq!(lasting().map(lazy(200)).unwrap().len(), 200);
    refused(lasting().map(0..201).unwrap_err(), "item count 200, and this call has item count 201");
    assert_eq!(lasting().map(0..200).unwrap().len(), 200);
}

fn a_loop_may_feed_the_iterator_of_a_stream_that_goes_on(pool: &Executor) {
    let scratch = Scratch::new();
    // Known: 0 to 4 and 6 to 9, each of which gives the item behind it.
    let step = |n: u64| if n == 5 { Err("not yet") } else { Ok(n + 1) };
    let known = pool.try_call(step).journal(scratch.journal()).outcomes(lazy(10)).unwrap();
    assert!(known[5].is_err());
    let (next, items) = std::sync::mpsc::channel();
    next.send(0).unwrap();
    let mut next = Some(next);
    let better = |n: u64| Ok::<u64, String>(n + 1);
    let call = pool.try_call(better).journal(scratch.journal()).retry_failed(true).window(1);
    for (n, result) in (1..).zip(call.stream(items).unwrap()) {
        assert_eq!(result.unwrap(), n);
        match n {
            10 => next = None,
            n => next.as_ref().unwrap().send(n).unwrap(),
        }
    }
}

fn a_journal_in_use_and_other_files_are_refused(pool: &Executor) {
    let scratch = Scratch::new();
    let lasting = || pool.call(same).journal(scratch.journal());
    let stream = lasting().stream(0..10).unwrap();
    let refused = lasting().map(0..10).unwrap_err();
    let holder = format!("is in use by process {}", std::process::id());
    assert!(refused.kind() == ErrorKind::Usage && refused.to_string().contains(&holder), "{refused}");
    // Another call has another journal.
    let other = pool.call(same).journal(scratch.0.path().join("other")).map(0..3).unwrap();
    assert_eq!((other, stream.count()), (vec![0, 1, 2], 10));
    assert_eq!(lasting().map(0..10).unwrap().len(), 10, "its stream has ended");
    let text = scratch.list();
    fs::write(&text, "my notes").unwrap();
    let refused = pool.call(same).journal(&text).map(0..10).unwrap_err();
    assert!(refused.kind() == ErrorKind::Usage && refused.to_string().contains("is no journal"), "{refused}");
    assert_eq!(fs::read(&text).unwrap(), b"my notes");
    let refused = pool.call(same).label("sweep").journal(scratch.0.path()).map(0..10).unwrap_err();
    assert!(
        refused.to_string().starts_with("sweep: ") && refused.to_string().contains("is a folder"),
        "{refused}"
    );
}

fn a_cut_journal_costs_its_tail(pool: &Executor) {
    let scratch = Scratch::new();
    let list = scratch.list();
    let lasting = || pool.call_with(&list, told).chunk(10).window(10).journal(scratch.journal());
    let plain: Vec<_> = lasting().stream(0..100).unwrap().map(Result::unwrap).collect();
    let whole = fs::read(scratch.journal()).unwrap();
    for cut in [0, 10, whole.len() / 2, whole.len() - 1] {
        fs::write(scratch.journal(), &whole[..cut]).unwrap();
        scratch.ran();
        assert_eq!(lasting().map(0..100).unwrap(), plain);
        let ran = scratch.ran();
        assert_eq!(cut < 100, ran.len() == 100, "{} tasks ran after a cut at {cut}", ran.len());
        assert!(!ran.is_empty());
    }
}

fn reduce_and_submit_keep_no_journal(pool: &Executor) {
    let scratch = Scratch::new();
    let refused = pool.call(same).journal(scratch.journal()).reduce(|a, b| a + b, 0..10).unwrap_err();
    assert!(
        refused.kind() == ErrorKind::Usage && refused.to_string().contains("reduce keeps no"),
        "{refused}"
    );
    let refused = pool.call(same).journal(scratch.journal()).submit(1).unwrap_err();
    assert!(
        refused.kind() == ErrorKind::Usage && refused.to_string().contains("submit keeps no"),
        "{refused}"
    );
    assert!(!scratch.journal().exists());
}

//! Drains, and the end of the workers' time.

use super::*;

#[test]
fn a_drain_cuts_what_runs_short_keeps_what_is_done_and_begins_nothing() {
    let mut fleet = Fleet::new(2, CallSpec { announce: true, ..spec(Chunk::Fixed(10)) }, 100);
    fleet.tell(Event::Drained);
    fleet.tell(Event::Drained);
    assert_eq!(fleet.revoked.len(), 2, "each chunk once");
    let held = std::mem::take(&mut fleet.held);
    fleet.answer_with(held[1], vec![good(10, 4)]);
    assert_eq!(fleet.end, None, "one is still out");
    fleet.answer_with(held[0], vec![good(0, 3)]);
    assert_eq!(fleet.end, Some(End::Drained));
    assert_eq!(fleet.announced, [10, 0], "what ended counts, its turn or not");
    assert!(fleet.held.is_empty() && fleet.forgotten);
}

#[test]
fn what_a_drain_waits_for_too_long_is_left() {
    let mut fleet = Fleet::new(1, spec(Chunk::Fixed(1)), 5);
    fleet.tell(Event::Drained);
    fleet.tell(Event::TimeOver);
    assert_eq!(fleet.end, Some(End::Drained));
    fleet.answer(0);
    assert!(fleet.emitted.is_empty() && fleet.forgotten);
}

#[test]
fn a_call_that_comes_after_the_drain_ends_at_once() {
    let mut fleet = Fleet::new(1, spec(Chunk::Fixed(1)), 1);
    fleet.run_to_the_end();
    fleet.end = None;
    fleet.tell(Event::Drained);
    fleet.tell(Event::Submitted { call: CALL, spec: spec(Chunk::Auto) });
    assert_eq!(fleet.end, Some(End::Drained));
}

#[test]
fn a_chunk_that_would_not_end_in_time_is_cut_or_not_begun() {
    let mut fleet = Fleet::new(1, spec(Chunk::Fixed(4)), 100);
    fleet.answer(0); // 10 us a task.
    fleet.tell(Event::Limited { at: 75_000 });
    fleet.answer(0);
    fleet.scheduler.set_now(50_000);
    fleet.answer(0);
    let last = fleet.held.pop().unwrap();
    assert_eq!(last.count, 2, "25 us are left");
    fleet.scheduler.set_now(70_000);
    fleet.held.push(last);
    fleet.run_to_the_end();
    assert_eq!(fleet.end, Some(End::Drained), "5 us are left");
}

#[test]
fn a_limit_that_is_moved_lets_the_rest_go() {
    let mut fleet = Fleet::new(2, spec(Chunk::Fixed(4)), 100);
    fleet.answer(0);
    fleet.tell(Event::Limited { at: 5_000 });
    let held = fleet.held.len();
    fleet.answer(0);
    assert_eq!((fleet.end, fleet.held.len()), (None, held - 1), "nothing that takes 10 us is begun");
    fleet.tell(Event::Limited { at: u64::MAX });
    fleet.run_to_the_end();
    assert_eq!(fleet.end, Some(End::Done));
}

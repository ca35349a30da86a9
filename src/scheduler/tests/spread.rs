//! Chunks that are cut short for workers without work, and what is put behind other tasks.

use super::*;

/// Two workers, of which one has an automatic chunk of several tasks of 10 ms, and the other all that is left.
fn two_that_know_their_tasks(tasks: u64) -> Fleet {
    let mut fleet = Fleet::new(2, spec(Chunk::Auto), tasks);
    for _ in 0..2 {
        let probe = fleet.held.remove(0);
        answer_part(&mut fleet, probe, 1, 10_000_000);
    }
    fleet
}

#[test]
fn a_chunk_that_goes_on_for_long_is_cut_for_a_worker_without_work_and_the_rest_is_shared() {
    let mut fleet = two_that_know_their_tasks(12);
    assert!(fleet.revoked.is_empty(), "there is work for all");
    let slow = fleet.held.remove(0);
    assert!(slow.count > 1);
    while !fleet.held.is_empty() {
        let quick = fleet.held.remove(0);
        answer_part(&mut fleet, quick, quick.count, 10_000_000);
    }
    assert_eq!(fleet.revoked, [slow.epoch], "once, when nothing was left to hand out");
    answer_part(&mut fleet, slow, 0, 0);
    let mut counts: Vec<_> = fleet.held.iter().map(|dispatch| (dispatch.worker.0, dispatch.count)).collect();
    counts.sort_unstable();
    let half = slow.count.div_ceil(2);
    assert_eq!(counts.len(), 2, "both have some of it");
    assert_eq!(counts.iter().map(|(_, count)| *count).max(), Some(half));
    fleet.run_to_the_end();
    assert_eq!((fleet.end, fleet.emitted.len()), (Some(End::Done), 12));
}

#[test]
fn a_chunk_that_is_not_automatic_or_nearly_done_is_not_cut() {
    let mut fleet = Fleet::new(2, spec(Chunk::Fixed(6)), 12);
    let quick = fleet.held.remove(1);
    answer_part(&mut fleet, quick, 6, 10_000_000);
    assert!(fleet.revoked.is_empty(), "the user has said how large chunks are");
    let mut fleet = two_that_know_their_tasks(12);
    let slow = fleet.held.remove(0);
    fleet.scheduler.set_now(slow.count * 10_000_000);
    while !fleet.held.is_empty() {
        let quick = fleet.held.remove(0);
        answer_part(&mut fleet, quick, quick.count, 10_000_000);
    }
    assert!(fleet.revoked.is_empty(), "it is about to end");
}

#[test]
fn a_chunk_whose_tasks_take_far_longer_than_those_before_is_cut_and_the_next_ones_are_small() {
    let spec = CallSpec { window_tasks: u64::MAX, window_bytes: u64::MAX, ..spec(Chunk::Auto) };
    let mut fleet = Fleet::new(1, spec, 10_000_000);
    for _ in 0..20 {
        let chunk = fleet.held.remove(0);
        answer_part(&mut fleet, chunk, chunk.count, 1_000);
    }
    let large = fleet.held.remove(0);
    assert!(large.count > 100_000, "{} tasks of 1 us", large.count);
    fleet.held.clear();
    let due = fleet.scheduler.next_due().unwrap();
    fleet.scheduler.set_now(due);
    fleet.tell(Event::Tick);
    assert_eq!(fleet.revoked, [large.epoch]);
    answer_part(&mut fleet, large, 1, 1_000_000_000);
    let next = fleet.held.remove(0);
    assert_eq!(next.count, 1, "a second each");
}

#[test]
fn single_tasks_that_take_long_wait_behind_others_only_while_there_are_plenty() {
    let held_after_each = |seconds: fn(u64) -> u64| {
        let mut fleet = Fleet::new(2, spec(Chunk::Fixed(1)), 20);
        let mut held = Vec::new();
        while !fleet.held.is_empty() {
            let oldest = fleet.held.remove(0);
            answer_part(&mut fleet, oldest, 1, 1_000_000_000 * seconds(oldest.start));
            held.push(fleet.held.len());
        }
        held
    };
    let uneven = held_after_each(|task| 1 + task % 3);
    assert_eq!(uneven[2..6], [4; 4], "a second chunk each");
    assert_eq!(uneven[12..], [2, 2, 2, 2, 2, 2, 1, 0], "one each, near the end");
    let even = held_after_each(|_| 1);
    assert_eq!(even[2..6], [4; 4], "a second chunk each");
    assert_eq!(even[12..], [4, 4, 4, 3, 2, 2, 1, 0], "one each at the very end");
}

#[test]
fn nothing_is_put_behind_a_task_that_may_end_too_late_for_it() {
    for (limit, held) in [(u64::MAX, 2), (80_000_000, 2), (30_000_000, 1)] {
        let mut fleet = Fleet::new(1, spec(Chunk::Fixed(1)), 40);
        fleet.tell(Event::Limited { at: limit });
        let first = fleet.held.remove(0);
        answer_part(&mut fleet, first, 1, 10_000_000);
        assert_eq!(fleet.held.len(), held, "{limit} ns are left");
    }
}

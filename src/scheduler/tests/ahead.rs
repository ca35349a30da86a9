//! What a worker is sent ahead, judged by the tasks before.

use super::*;

/// One worker, after one single task of a kind that took 10 us.
fn knowing(kind: u64) -> Fleet {
    let mut fleet = Fleet::new(1, spec(Chunk::Fixed(1)), 0);
    single(&mut fleet, 100, kind);
    fleet.answer(0);
    fleet
}

fn single(fleet: &mut Fleet, task: u64, kind: u64) {
    let spec = CallSpec { first: task, ..spec(Chunk::Fixed(1)) };
    fleet.tell(Event::Assigned { call: CallId(task), spec, tasks: 1, kind });
}

#[test]
fn single_tasks_of_a_kind_that_is_known_are_sent_ahead_while_there_are_plenty() {
    for (kind, ahead) in [(7, 5), (8, 1)] {
        let mut fleet = knowing(7);
        (101..104).for_each(|task| single(&mut fleet, task, kind));
        assert_eq!(fleet.held.len(), 1, "others may come for those that are left");
        (104..120).for_each(|task| single(&mut fleet, task, kind));
        assert_eq!(
            fleet.held.len(),
            ahead,
            "10 us a task: 50 us are sent ahead; of another kind nothing is known"
        );
    }
}

#[test]
fn what_waits_behind_a_chunk_that_was_not_short_after_all_is_called_back() {
    let mut fleet = knowing(7);
    (101..120).for_each(|task| single(&mut fleet, task, 7));
    let first = fleet.held.remove(0);
    let waiting: Vec<u64> = fleet.held.iter().map(|dispatch| dispatch.epoch).collect();
    let long = |busy_nanos| Event::Returned {
        worker: first.worker,
        dispatch: first.epoch,
        pieces: [good(first.start, 1)].into(),
        busy_nanos,
        overhead_nanos: 1_000,
    };
    fleet.tell(long(1_000_000_000));
    assert_eq!(fleet.revoked, waiting);
    // It had not begun them. They are handed out again: one to run, and one that waits behind it.
    let called_back = std::mem::take(&mut fleet.held);
    called_back.into_iter().for_each(|dispatch| fleet.answer_with(dispatch, Vec::new()));
    assert_eq!(fleet.held.len(), 2);
}

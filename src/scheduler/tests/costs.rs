//! Calls whose tasks are known to cost more and less, the most expensive first.

use super::*;

/// What a task of cost 1 takes.
const NANOS: u64 = 10_000;

/// Runs a call on workers whose tasks take as long as they cost, each worker one chunk after the other. The chunks, in
/// the order in which they were sent, and when the last task ended, as a cost.
fn run(workers: u32, chunk: Chunk, known: bool, costs: &[u64]) -> (Vec<(u64, u64)>, u64) {
    let tasks = costs.len() as u64;
    let cost = known.then(|| Arc::new(Costs::new(costs.iter().map(|cost| *cost as f64))));
    let spec = CallSpec { ordered: false, expected: Some(tasks), costs: cost, ..spec(chunk) };
    let mut fleet = Fleet::new(workers, spec, tasks);
    let mut free = vec![0; workers as usize + 1];
    let mut chunks: Vec<(u64, u64, u64)> = Vec::new();
    let takes = |dispatch: &Dispatch| {
        costs[dispatch.start as usize..(dispatch.start + dispatch.count) as usize].iter().sum::<u64>()
    };
    loop {
        for dispatch in &fleet.held {
            if chunks.iter().all(|(epoch, ..)| *epoch != dispatch.epoch) {
                chunks.push((dispatch.epoch, dispatch.start, dispatch.count));
            }
        }
        // The chunk that ends next is one of those that their workers have had for longest.
        let ends = |at: &usize| {
            let Dispatch { worker, .. } = fleet.held[*at];
            let first = fleet.held.iter().position(|dispatch| dispatch.worker == worker) == Some(*at);
            let time = free[worker.0 as usize] + takes(&fleet.held[*at]);
            if first { time } else { u64::MAX }
        };
        let Some(next) = (0..fleet.held.len()).min_by_key(ends) else { break };
        let end = ends(&next);
        let dispatch = fleet.held.remove(next);
        free[dispatch.worker.0 as usize] = end;
        fleet.scheduler.set_now(end * NANOS);
        let nanos = takes(&dispatch) * NANOS / dispatch.count;
        answer_part(&mut fleet, dispatch, dispatch.count, nanos);
    }
    assert_eq!((fleet.end, fleet.emitted.len() as u64), (Some(End::Done), tasks));
    (chunks.into_iter().map(|(_, start, count)| (start, count)).collect(), free.into_iter().max().unwrap())
}

/// Some long tasks, and many short ones.
fn few_long_and_many_short() -> Vec<u64> {
    [900, 800, 700, 600, 500, 400].into_iter().chain([1; 2000]).collect()
}

#[test]
fn an_automatic_chunk_is_a_share_of_the_cost_that_is_left() {
    let costs = few_long_and_many_short();
    let (chunks, _) = run(2, Chunk::Auto, true, &costs);
    assert_eq!(chunks[..5], [0, 1, 2, 3, 4].map(|task| (task, 1)), "each long task by itself");
    assert!(chunks[5..].iter().any(|(_, count)| *count > 100), "short ones together: {chunks:?}");
    let (blind, _) = run(2, Chunk::Auto, false, &costs);
    assert!(blind[2].1 > 4, "all of them in one chunk, without costs: {blind:?}");
}

#[test]
fn the_last_tasks_end_together() {
    let costs = few_long_and_many_short();
    let sum: u64 = costs.iter().sum();
    for workers in [2, 3, 5] {
        let (_, end) = run(workers, Chunk::Auto, true, &costs);
        let best = (sum / u64::from(workers)).max(900);
        assert!(end <= best + best / 20, "{end} instead of {best} with {workers} workers");
    }
}

#[test]
fn nothing_waits_behind_a_task_that_the_rest_cannot_outlast() {
    // Twenty tasks are plenty for two workers, by their number. By their cost they are not.
    let costs: Vec<u64> = [1000, 900, 800].into_iter().chain([10; 17]).collect();
    let (_, end) = run(2, Chunk::Fixed(1), true, &costs);
    assert_eq!(end, 1700, "900 and 800 on one of them");
}

#[test]
fn a_chunk_of_a_given_size_is_of_that_many_tasks() {
    let (chunks, _) = run(2, Chunk::Fixed(3), true, &[9, 8, 7, 6, 5, 4, 3]);
    assert_eq!(chunks, [(0, 3), (3, 3), (6, 1)]);
}

#[test]
fn the_time_of_a_task_foretells_that_of_others_by_what_they_cost() {
    let costs = few_long_and_many_short();
    let known = Some(Arc::new(Costs::new(costs.iter().map(|cost| *cost as f64))));
    let tasks = costs.len() as u64;
    let mut fleet = Fleet::new(1, CallSpec { costs: known, ..spec(Chunk::Auto) }, tasks);
    let probe = fleet.held.remove(0);
    answer_part(&mut fleet, probe, 1, 900 * NANOS);
    let next = fleet.held[0];
    let takes: u64 = costs[next.start as usize..(next.start + next.count) as usize].iter().sum();
    let off = next.expected_nanos as f64 / (takes * NANOS) as f64;
    assert!((0.99..1.01).contains(&off), "{off} times the time of {} tasks", next.count);
}

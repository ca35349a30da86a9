//! What a chunk costs the scheduler itself on this machine.

use std::{collections::VecDeque, time::Instant};

use super::{CALL, piece};
use crate::scheduler::{Action, CallSpec, Chunk, Event, Scheduler, WorkerId};

/// Chunks that are measured, after as many to warm up.
const CHUNKS: u64 = 200_000;

/// Nanoseconds that the scheduler takes for a chunk, from its answer to the next one, with so many workers. The
/// frames around it, and MPI, are not in it.
pub(crate) fn scheduler_cost(workers: u32) -> f64 {
    let mut scheduler = Scheduler::new();
    let mut actions = Vec::new();
    for rank in 1..=workers {
        scheduler.handle(
            Event::Joined { worker: WorkerId(rank), slots: 1, width: 1, host: String::new() },
            &mut actions,
        );
    }
    let tasks = 2 * CHUNKS + u64::from(workers);
    let spec = CallSpec {
        first: 0,
        chunk: Chunk::Fixed(1),
        retries: 0,
        retry_delay_nanos: 0,
        window_tasks: u64::MAX,
        window_bytes: u64::MAX,
        ordered: true,
        announce: false,
        stop_at_error: true,
        expected: Some(tasks),
        costs: None,
    };
    scheduler.handle(Event::Submitted { call: CALL, spec }, &mut actions);
    scheduler.handle(Event::Fed { call: CALL, tasks }, &mut actions);
    let mut held = VecDeque::new();
    let mut began = Instant::now();
    for chunk in 0..2 * CHUNKS {
        if chunk == CHUNKS {
            began = Instant::now();
        }
        let mut emitted = 0;
        for action in actions.drain(..) {
            match action {
                Action::Send(dispatch) => held.push_back(dispatch),
                Action::Emit { piece, .. } => emitted += piece.count,
                _ => {}
            }
        }
        let Some(dispatch) = held.pop_front() else {
            break;
        };
        scheduler.set_now(1_000 * chunk);
        scheduler.handle(Event::Consumed { call: CALL, tasks: emitted, bytes: 0 }, &mut actions);
        let event = Event::Returned {
            worker: dispatch.worker,
            dispatch: dispatch.epoch,
            pieces: piece(dispatch.start, dispatch.count),
            busy_nanos: 1_000_000,
            overhead_nanos: 1_000,
        };
        scheduler.handle(event, &mut actions);
    }
    began.elapsed().as_nanos() as f64 / CHUNKS as f64
}

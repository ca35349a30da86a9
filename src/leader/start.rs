//! How a leader starts its children.

use std::time::Instant;

use super::Leader;
use crate::{
    error::{Error, ParseError},
    fabric::{
        Leads, files,
        processes::{Processes, Seat},
        remote::{Remote, Settings},
    },
    launch::{self, Bind, GpusPerTask, count_workers, places},
    wire::{self, Child},
};

/// Starts the children of the leader that goes by `rank`.
///
/// # Errors
/// When what was asked for cannot be, or a child does not come up.
pub(crate) fn lead(team: &wire::Team, rank: u32) -> Result<(Box<dyn Leads>, Vec<Child>), Error> {
    // Leaders that may use the same CPUs share them.
    let share = launch::here().cpus.len() / team.cpus.of.max(1) as usize;
    let cpus = places(share.min(launch::cpu_limit()).max(1), team.cpus_per_task)?;
    let count = count_workers(Some(team.processes), cpus)?;
    // A socket pair's end and a lifeline for each.
    files::make_room(count, 2, true)?;
    let settings = Settings {
        threads: 1,
        team: None,
        children_of: Some(rank),
        surroundings: None,
        deadline: Instant::now() + team.start_timeout,
        start_timeout: team.start_timeout,
        stall: team.stall,
    };
    if rank > 0 {
        launch::keep_descriptors_from_children();
    }
    let tasks = (count as u32).saturating_mul(team.cpus.of);
    let processes = Processes::start(team.program.clone(), seats(team, rank, count)?, tasks)?;
    let ranks = processes.ranks();
    let (fabric, workers) = Remote::start(processes, ranks, settings)?;
    let leader = Leader::new(fabric, workers);
    let children = leader.children();
    Ok((Box::new(leader), children))
}

/// What the child at each slot is started with.
fn seats(team: &wire::Team, rank: u32, count: usize) -> Result<Vec<Seat>, Error> {
    let refused = |error: ParseError| Error::usage(error.to_string());
    let bind: Bind = team.bind.parse().map_err(refused)?;
    let each: GpusPerTask = team.gpus.parse().map_err(refused)?;
    // CPUs and GPUs are shared out among the children of all leaders that may use them.
    let of_all = |place: wire::Place| (count * place.of as usize, count * place.number as usize);
    let mut seats = vec![Seat::default(); count];
    if bind != Bind::None {
        let (all, before) = of_all(team.cpus);
        let shares = launch::shares(&launch::here().cpus, all, bind)?;
        seats.iter_mut().zip(shares.into_iter().skip(before)).for_each(|(seat, cpus)| seat.cpus = Some(cpus));
    }
    if each != GpusPerTask::default() {
        let (all, before) = of_all(team.gpu);
        let shares = launch::gpus().shares(each, all, rank)?;
        seats.iter_mut().zip(shares.into_iter().skip(before)).for_each(|(seat, gpus)| seat.variables = gpus);
    }
    Ok(seats)
}

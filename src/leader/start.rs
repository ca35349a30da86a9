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
    launch::{self, Bind, GpusPerTask, count_workers},
    wire::{self, Child},
};

/// Starts the children of the leader that goes by `rank`.
///
/// # Errors
/// When what was asked for cannot be, or a child does not come up.
pub(crate) fn lead(team: &wire::Team, rank: u32) -> Result<(Box<dyn Leads>, Vec<Child>), Error> {
    let cpus = own_cpus(team);
    let count = count_workers(Some(team.processes), cpus.len().min(launch::cpu_limit()))?;
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
    let tasks = (count as u32).saturating_mul(team.of);
    let processes = Processes::start(seats(team, rank, &cpus, count)?, tasks)?;
    let ranks = processes.ranks();
    let (fabric, workers) = Remote::start(processes, ranks, settings)?;
    let leader = Leader::new(fabric, workers);
    let children = leader.children();
    Ok((Box::new(leader), children))
}

/// What the child at each slot is started with.
fn seats(team: &wire::Team, rank: u32, cpus: &[u32], count: usize) -> Result<Vec<Seat>, Error> {
    let refused = |error: ParseError| Error::usage(error.to_string());
    let bind: Bind = team.bind.parse().map_err(refused)?;
    let each: GpusPerTask = team.gpus.parse().map_err(refused)?;
    let bound = |cpus| (bind != Bind::None).then_some(cpus);
    let cpus = launch::shares(cpus, count, bind)?.into_iter().map(bound);
    // Leaders that may use the same CPUs may see the same GPUs.
    let of_all = if each == GpusPerTask::default() {
        vec![Vec::new(); count]
    } else {
        let shares = launch::gpus().shares(each, count * team.of as usize, rank)?;
        shares.into_iter().skip(count * team.place as usize).collect()
    };
    Ok(cpus.zip(of_all).map(|(cpus, variables)| Seat { cpus, variables }).collect())
}

/// The CPUs of this leader, where several of one host may use the same: its share of them.
fn own_cpus(team: &wire::Team) -> Vec<u32> {
    let all = &launch::here().cpus;
    let bound = |place: u32| all.len() * place as usize / team.of.max(1) as usize;
    let share = &all[bound(team.place)..bound(team.place + 1)];
    // More leaders than CPUs: they share one.
    if share.is_empty() { all.iter().copied().take(1).collect() } else { share.to_vec() }
}

//! A worker process, from its hello to its end.

use std::sync::Arc;

use super::{Idle, Lead, Leads, Woken, lifeline, sleep_exactly};
use crate::{
    error::ErrorKind,
    function, launch,
    wire::{Child, Hello, NotStarted, PROTOCOL, Ready, ToRank0, ToWorker, Welcome},
    worker::{Board, Goodbye, Identity, Link, LinkError, let_out_from_now, serve},
};

/// How a worker's service ended.
pub(crate) enum Served {
    Goodbye(Goodbye),
    /// Rank 0 would not have this worker; it has said why itself.
    Refused,
}

/// What this process says first.
pub(super) fn hello() -> Hello {
    let here = launch::here();
    Hello {
        protocol: PROTOCOL,
        pointer_bits: usize::BITS,
        big_endian: cfg!(target_endian = "big"),
        build: function::build().to_string(),
        program: here.program.clone(),
        host: here.host.clone(),
        pid: std::process::id(),
        cpus: here.cpus.clone(),
        gpus: launch::visible_gpus(),
    }
}

/// Introduces this process to rank 0 and serves until the end.
///
/// `adjust` is told how it is to wait; `lead` starts the children, should it be a leader.
///
/// # Errors
/// When rank 0 cannot be reached.
pub(crate) fn serve_remote<L: Link>(
    link: &mut L,
    adjust: impl FnOnce(&mut L, Idle),
    lead: Option<Lead>,
) -> Result<Served, LinkError> {
    launch::becomes_worker();
    sleep_exactly();
    link.send(ToRank0::Hello(hello()))?;
    let welcome = match link.recv()? {
        ToWorker::Welcome(welcome) => welcome,
        ToWorker::Refuse => return Ok(Served::Refused),
        other => return Err(LinkError(format!("rank 0 did not say welcome, but {other:?}"))),
    };
    launch::set_rank(welcome.rank);
    if welcome.ends_with_parent {
        launch::end_with_parent();
    }
    if let Some(surroundings) = &welcome.surroundings {
        launch::adopt(surroundings);
    }
    if welcome.team.is_none() {
        // Spawned workers could not know it before; others have been told by their parent, or have found out.
        launch::limit_library_threads(welcome.workers_on_host * welcome.threads);
    }
    launch::keep_freed_memory();
    let_out_from_now();
    let board = Arc::new(Board::new(welcome.threads));
    let connected = lifeline::connect(&welcome.lifeline, welcome.token, welcome.number, board.clone());
    let (line, lifeline_error) = match connected {
        Ok(line) => (Some(line), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let woken = if line.is_some() { Woken::FromDeepSleep } else { Woken::Never };
    adjust(link, Idle::new(welcome.spin).woken(woken));
    let (leader, children) = match started(&welcome, lead) {
        Ok((leader, children)) => (leader, Ok(children)),
        Err(refused) => (None, Err(refused)),
    };
    link.send(ToRank0::Ready(Ready { lifeline_error, children }))?;
    tracing::debug!("process {} serves", std::process::id());
    let Welcome { rank, slot, threads, .. } = welcome;
    let goodbye = match leader {
        Some(leader) => leader.serve(link, woken)?,
        None => serve(link, &Identity { rank, slot, threads, board })?,
    };
    if let Some(line) = line {
        line.leave();
    }
    Ok(Served::Goodbye(goodbye))
}

/// The children of a leader, and who schedules them.
type Started = (Option<Box<dyn Leads>>, Vec<Child>);

/// Starts the children, if this process is to be a leader.
fn started(welcome: &Welcome, lead: Option<Lead>) -> Result<Started, NotStarted> {
    let Some(team) = &welcome.team else { return Ok((None, Vec::new())) };
    let refused = |usage, reason| NotStarted { usage, reason };
    let lead = lead.ok_or_else(|| refused(false, "a child of a leader leads nobody".into()))?;
    let (leader, children) = lead(team, welcome.rank)
        .map_err(|error| refused(error.kind() == ErrorKind::Usage, error.to_string()))?;
    Ok((Some(leader), children))
}

//! A worker process, from its hello to its end.

use std::sync::Arc;

use super::{Idle, Woken, lifeline, sleep_exactly};
use crate::{
    function, launch,
    wire::{Hello, PROTOCOL, Ready, ToRank0, ToWorker},
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
    }
}

/// Introduces this process to rank 0 and serves until the end.
///
/// `adjust` is told how it is to wait.
///
/// # Errors
/// When rank 0 cannot be reached.
pub(crate) fn serve_remote<L: Link>(
    link: &mut L,
    adjust: impl FnOnce(&mut L, Idle),
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
    if let Some(surroundings) = &welcome.surroundings {
        launch::adopt(surroundings);
    }
    // Spawned workers could not know it before; others have been told by their parent, or have found out.
    launch::limit_library_threads(welcome.workers_on_host * welcome.threads);
    launch::keep_freed_memory();
    let_out_from_now();
    let board = Arc::new(Board::new(welcome.threads));
    let connected = lifeline::connect(&welcome.lifeline, welcome.token, welcome.rank, board.clone());
    let woken = if connected.is_ok() { Woken::FromDeepSleep } else { Woken::Never };
    adjust(link, Idle::new(welcome.spin).woken(woken));
    link.send(ToRank0::Ready(Ready { lifeline_error: connected.err().map(|error| error.to_string()) }))?;
    let identity = Identity { rank: welcome.rank, threads: welcome.threads, board };
    tracing::debug!("process {} serves", std::process::id());
    let goodbye = serve(link, &identity)?;
    lifeline::leave();
    Ok(Served::Goodbye(goodbye))
}

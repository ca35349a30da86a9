//! A worker process, from its hello to its end.

use std::sync::Arc;

use super::lifeline;
use crate::{
    function, launch,
    wire::{Frame, Header, Hello, Kind, PROTOCOL, Ready, Welcome, decode, encode},
    worker::{Board, Identity, Link, LinkError, let_out_from_now, serve},
};

/// How a worker's service ended.
pub(crate) enum Served {
    /// Rank 0 said goodbye; `finalize`: MPI is to be finalised.
    #[cfg_attr(not(feature = "mpi"), expect(dead_code, reason = "without MPI nothing is finalised"))]
    Goodbye { finalize: bool },
    /// Rank 0 would not have this worker; it has said why itself.
    Refused,
}

/// Introduces this process to rank 0 and serves until the end.
///
/// `adjust` is told whether waiting may spin.
///
/// # Errors
/// When rank 0 cannot be reached.
pub(crate) fn serve_remote<L: Link>(
    link: &mut L,
    adjust: impl FnOnce(&mut L, bool),
) -> Result<Served, LinkError> {
    launch::becomes_worker();
    let here = launch::here();
    let hello = Hello {
        protocol: PROTOCOL,
        pointer_bits: usize::BITS,
        big_endian: cfg!(target_endian = "big"),
        build: function::build().to_string(),
        program: here.program.clone(),
        host: here.host.clone(),
        pid: std::process::id(),
        cpus: here.cpus.clone(),
    };
    link.send(message(Kind::Hello, &hello))?;
    let answer = link.recv()?;
    if answer.header.kind == Kind::Refuse {
        return Ok(Served::Refused);
    }
    let welcome: Welcome = decode(&answer.body)
        .map_err(|error| LinkError(format!("rank 0 did not say welcome, but something that {error}")))?;
    launch::set_rank(welcome.rank);
    if let Some(surroundings) = &welcome.surroundings {
        launch::adopt(surroundings);
    }
    launch::keep_freed_memory();
    let_out_from_now();
    launch::limit_library_threads(here.cpus.len(), welcome.workers_on_host * welcome.threads);
    let board = Arc::new(Board::new(welcome.threads));
    let connected = lifeline::connect(&welcome.lifeline, welcome.token, welcome.rank, board.clone());
    adjust(link, welcome.spin);
    link.send(message(
        Kind::Ready,
        &Ready { lifeline_error: connected.err().map(|error| error.to_string()) },
    ))?;
    let identity = Identity { rank: welcome.rank, threads: welcome.threads, board };
    tracing::debug!("process {} serves", std::process::id());
    let finalize = serve(link, &identity)?;
    lifeline::leave();
    Ok(Served::Goodbye { finalize })
}

fn message<T: serde::Serialize>(kind: Kind, body: &T) -> Frame {
    // Numbers and text: their encoding cannot fail.
    Frame::new(Header::new(kind), encode(body).unwrap_or_default().into())
}

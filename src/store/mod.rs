//! What a run leaves on disk: the [`journal`], which is the truth while the run lives, and the
//! [result file](file), which is made of it at the end.

pub(crate) mod events;
#[cfg(all(feature = "cli", feature = "hdf5"))]
pub(crate) mod file;
#[cfg(all(feature = "cli", not(feature = "hdf5")))]
#[path = "no_file.rs"]
pub(crate) mod file;
pub(crate) mod journal;
pub(crate) mod lock;
#[cfg(feature = "cli")]
pub(crate) mod schema;

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::error::Failure;

/// An attempt at a task that failed.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) task: u64,
    pub(crate) failure: Failure,
}

/// When and where a chunk was run; times in seconds since the run began.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TraceRow {
    pub(crate) start: u64,
    pub(crate) count: u64,
    pub(crate) rank: u32,
    /// The child of a leader; 0 for others.
    pub(crate) slot: u32,
    /// The process that ran it; 0 where it was not taken down.
    pub(crate) pid: u32,
    /// The host, by its place in the block's list.
    pub(crate) host: u32,
    pub(crate) dispatched: f64,
    pub(crate) started: f64,
    pub(crate) ended: f64,
    /// The task that took longest, and its time.
    pub(crate) slowest: u64,
    pub(crate) slowest_s: f64,
}

/// Rows of the trace, with the hosts that they name.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct TraceBlock {
    pub(crate) hosts: Vec<String>,
    pub(crate) rows: Vec<TraceRow>,
}

impl TraceBlock {
    pub(crate) fn push(&mut self, row: TraceRow, host: &str) {
        let known = self.hosts.iter().rposition(|known| known == host);
        let at = known.unwrap_or_else(|| {
            self.hosts.push(host.into());
            self.hosts.len() - 1
        });
        self.rows.push(TraceRow { host: at as u32, ..row });
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// The version of the HDF5 library that this program is linked with.
#[cfg(feature = "hdf5")]
pub(crate) fn hdf5_version() -> String {
    let (major, minor, release) = hdf5::library_version();
    format!("{major}.{minor}.{release}")
}

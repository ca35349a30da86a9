//! What rank 0 and a worker tell each other before the first task.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{Child, Team};

/// The version of everything in this folder. A worker that speaks another one is refused.
pub(crate) const PROTOCOL: u32 = 7;

/// A worker introduces itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) protocol: u32,
    pub(crate) pointer_bits: u32,
    pub(crate) big_endian: bool,
    /// Names the executable's build; code offsets mean the same only within one build.
    pub(crate) build: String,
    pub(crate) program: String,
    pub(crate) host: String,
    pub(crate) pid: u32,
    /// The CPUs that the process may run on, by number.
    pub(crate) cpus: Vec<u32>,
    /// The GPUs that it may see, as far as the environment tells.
    pub(crate) gpus: String,
}

impl Hello {
    /// Why this worker, which is to be `rank`, does not fit a rank 0 of the given build.
    pub(crate) fn refusal(&self, rank: u32, build: &str) -> Option<String> {
        let host = &self.host;
        if self.protocol != PROTOCOL {
            return Some(format!(
                "worker {rank} on {host} speaks protocol {} and rank 0 {PROTOCOL}: start the same version everywhere",
                self.protocol
            ));
        }
        if (self.pointer_bits, self.big_endian) != (usize::BITS, cfg!(target_endian = "big")) {
            return Some(format!(
                "worker {rank} on {host} is a {}-bit {} machine and rank 0 is not: all ranks need one architecture",
                self.pointer_bits,
                if self.big_endian { "big-endian" } else { "little-endian" }
            ));
        }
        (self.build != build).then(|| {
            format!(
                "worker {rank} on {host} runs another build of the program: {} ({}), and rank 0 runs {build}; \
                 install one build on all hosts",
                self.build, self.program
            )
        })
    }
}

/// Rank 0 takes the worker in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Welcome {
    /// The number by which the other side knows this process: its rank, but for the children of a leader.
    pub(crate) number: u32,
    /// The rank that the worker goes by from here on; a child goes by that of its leader.
    pub(crate) rank: u32,
    /// The slot of its first task thread.
    pub(crate) slot: u32,
    /// The secret that opens the lifeline.
    pub(crate) token: [u8; 16],
    /// Where rank 0 listens for lifelines, the likeliest address first.
    pub(crate) lifeline: Vec<SocketAddr>,
    /// Task threads in each worker.
    pub(crate) threads: u32,
    /// Workers on this worker's host, itself included.
    pub(crate) workers_on_host: u32,
    /// True when the ranks of the host have a CPU each, so that waiting may spin.
    pub(crate) spin: bool,
    /// What the worker takes over from rank 0, where its launcher does not see to that.
    pub(crate) surroundings: Option<Surroundings>,
    /// It is to be a leader, of this team.
    pub(crate) team: Option<Team>,
    /// It is a child of a leader, and ends with it, whatever it is at.
    pub(crate) ends_with_parent: bool,
}

/// An environment and a working folder, in bytes as the system has them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Surroundings {
    pub(crate) variables: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) folder: Option<Vec<u8>>,
}

/// The worker can be given work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ready {
    /// Why the lifeline could not be connected, if so.
    pub(crate) lifeline_error: Option<String>,
    /// The children of a leader, or why it could not start them.
    pub(crate) children: Result<Vec<Child>, NotStarted>,
}

/// Why a leader has no children.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct NotStarted {
    /// The user has asked for something that is not possible.
    pub(crate) usage: bool,
    pub(crate) reason: String,
}

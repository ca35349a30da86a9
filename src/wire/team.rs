//! What rank 0 and a leader tell each other of the leader's children.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Program;

/// What a leader is told to start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Team {
    /// What a child is, if it is not the leader's own program.
    pub(crate) program: Option<Program>,
    /// How many children, as the user has said it: -1 for all CPUs.
    pub(crate) processes: i64,
    /// How many CPUs a task has: all CPUs are so many children.
    pub(crate) cpus_per_task: u32,
    /// How they are bound to CPUs, as it is written.
    pub(crate) bind: String,
    /// How many GPUs a task has, as it is written.
    pub(crate) gpus: String,
    /// The leader's place among those of its host that may use the same CPUs.
    pub(crate) cpus: Place,
    /// The same among those that may see the same GPUs.
    pub(crate) gpu: Place,
    /// How long a child may take to come up.
    pub(crate) start_timeout: Duration,
    /// How long a child may leave its leader without an answer.
    pub(crate) stall: Option<Duration>,
}

/// One of several leaders that share something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Which of them it is, from 0.
    pub(crate) number: u32,
    /// How many they are.
    pub(crate) of: u32,
}

impl Default for Place {
    fn default() -> Place {
        Place { number: 0, of: 1 }
    }
}

/// A child process of a leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Child {
    /// Its place among the children of its leader, from 0. One that replaces a lost one has its place.
    pub slot: u32,
    /// Its process.
    pub pid: u32,
    /// The CPUs that it may run on, by number.
    pub cpus: Vec<u32>,
    /// The GPUs that it sees, as in `CUDA_VISIBLE_DEVICES=0`, where it was given some of its own.
    pub gpus: Vec<String>,
}

/// What has happened to the children of a leader.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum TeamNews {
    Joined(Child),
    Lost {
        slot: u32,
        pid: u32,
        reason: String,
    },
    /// No child is left, and none can be started: the leader can do nothing any more.
    Disbanded {
        reason: String,
    },
}

/// What a child ran, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SlotRun {
    pub(crate) slot: u32,
    /// The child's process; by now another one may have its slot.
    pub(crate) pid: u32,
    pub(crate) start: u64,
    pub(crate) count: u64,
    /// Nanoseconds from when the leader sent it to when it answered rank 0.
    pub(crate) sent_ago: u64,
    /// The same, from when it came back.
    pub(crate) ended_ago: u64,
    /// Nanoseconds that the child spent running it.
    pub(crate) busy_nanos: u64,
    /// The task that took longest, and its nanoseconds.
    pub(crate) slowest: u64,
    pub(crate) slowest_nanos: u64,
}

//! What rank 0 knows of a worker process and of its host.

use std::{collections::BTreeSet, time::Instant};

use super::super::limits::Limits;
use crate::wire::Hello;

#[derive(Debug)]
pub(super) enum Stage {
    /// Started, and not heard of since.
    Awaited,
    /// Has said hello.
    Known(Hello),
    /// Has been welcomed.
    Welcomed(Hello),
    Working,
    Lost,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) stage: Stage,
    /// When its process was started.
    pub(super) since: Instant,
    /// Its host, once it has said hello.
    pub(super) host: Option<String>,
    pub(super) limits: Limits,
    /// It was sent something, or has sent something, since the sleepers were looked for.
    pub(super) stirred: bool,
    /// It may sleep.
    pub(super) asleep: bool,
}

impl Member {
    pub(super) fn started() -> Member {
        Member {
            stage: Stage::Awaited,
            since: Instant::now(),
            host: None,
            limits: Limits::default(),
            stirred: true,
            asleep: false,
        }
    }

    pub(super) fn is_coming(&self) -> bool {
        matches!(self.stage, Stage::Awaited | Stage::Known(_) | Stage::Welcomed(_))
    }
}

/// What is known of a host.
#[derive(Debug, Default)]
pub(super) struct Host {
    /// The ranks on it, rank 0 included.
    pub(super) ranks: u32,
    /// The CPUs that they may use between them.
    pub(super) cpus: BTreeSet<u32>,
    /// The ranks that were on it and are lost.
    pub(super) lost: u32,
}

impl Host {
    pub(super) fn has_a_cpu_each(&self) -> bool {
        self.ranks as usize <= self.cpus.len()
    }
}

//! What an executor has done so far.

use std::collections::BTreeMap;

/// What has been done so far, for those who watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Tasks that ended well.
    pub done: u64,
    /// Tasks that failed for good.
    pub failed: u64,
    /// Workers that have a chunk now.
    pub busy: usize,
    /// Workers that were lost.
    pub lost: usize,
    /// What each worker did, by rank.
    pub by_rank: BTreeMap<u32, Share>,
}

/// One worker's share of the work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Share {
    /// The worker's host.
    pub host: String,
    /// Tasks that it ran to an end.
    pub tasks: u64,
}

//! The ranks of this launch that live on this host: while MPI starts, one that dies is seen by nobody else.
//!
//! A rank that is killed in MPI_Init leaves the others waiting in theirs, and rank 0 in MPI_Comm_spawn, where the
//! launcher does not end the run for it. A rank's environment tells which launch it belongs to (PMIx names its
//! server's folder), and /proc whether its process lives. Ranks on other hosts are not seen.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    time::{Duration, Instant},
};

/// Between two looks at the processes of this host: a tenth of the time so far, within these bounds. A process that
/// dies early has not lived long.
const LOOK: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));
/// Where this host is the only one, a process that is spawned is there within this time.
const SPAWNED: Duration = Duration::from_secs(3);
/// All ranks of a host have been started within this time.
const COMPLETE: Duration = Duration::from_secs(5);

/// A rank: the name of its world, and its number there.
type Name = (String, u32);

/// Watches the ranks of this host.
#[derive(Debug)]
pub(crate) struct Siblings {
    /// Names the launch; none, and nothing is seen, where the launcher is none of PMIx's, or ends the run by itself.
    launch: Option<String>,
    world: String,
    /// Ranks of this world on this host.
    size: usize,
    /// A rank is being spawned, and can be on no other host.
    spawns_here: bool,
    since: Instant,
    looked: Option<Instant>,
    /// Worlds that were there before.
    old: BTreeSet<String>,
    seen: BTreeSet<Name>,
}

impl Siblings {
    /// From now on.
    pub(crate) fn watch() -> Siblings {
        let variable = super::variable;
        #[cfg(feature = "mpi")]
        let ends = !super::launcher_survives_losses();
        #[cfg(not(feature = "mpi"))]
        let ends = true;
        let launch = variable("PMIX_SERVER_TMPDIR").filter(|_| !ends);
        let world = variable("PMIX_NAMESPACE").unwrap_or_default();
        let old = launch.as_deref().map(living).unwrap_or_default().into_iter().map(|(world, _)| world);
        let size = variable("OMPI_COMM_WORLD_LOCAL_SIZE").and_then(|size| size.parse().ok()).unwrap_or(0);
        Siblings {
            old: old.filter(|other| *other != world).collect(),
            launch,
            world,
            size,
            spawns_here: false,
            since: Instant::now(),
            looked: None,
            seen: BTreeSet::new(),
        }
    }

    /// From now on, when a rank is spawned.
    pub(crate) fn watch_spawn() -> Siblings {
        // Open MPI 4 tells how many hosts there are.
        let alone = super::variable("OMPI_MCA_orte_num_nodes").is_some_and(|hosts| hosts == "1");
        Siblings { spawns_here: alone, ..Siblings::watch() }
    }

    /// A rank that is gone: of this world, or of one that was spawned meanwhile. Looks now and then only.
    pub(crate) fn gone(&mut self) -> Option<Gone> {
        let launch = self.launch.as_deref()?;
        let pause = (self.since.elapsed() / 10).clamp(LOOK.0, LOOK.1);
        if self.looked.is_some_and(|looked| looked.elapsed() < pause) {
            return None;
        }
        self.looked = Some(Instant::now());
        let mut living = living(launch);
        living.retain(|(world, _)| !self.old.contains(world));
        let ours = living.iter().filter(|(world, _)| *world == self.world).count();
        let missing = self.seen.difference(&living).next().cloned().or_else(|| {
            // One that died before it was ever seen.
            let late = self.since.elapsed() > COMPLETE && ours < self.size;
            let unseen = || (0..).find(|rank| !living.contains(&(self.world.clone(), *rank)));
            late.then(unseen).flatten().map(|rank| (self.world.clone(), rank))
        });
        self.seen.append(&mut living);
        let spawned = |world: &String| *world != self.world;
        let gone = missing.map(|(world, rank)| Gone { rank, spawned: spawned(&world), absent: false });
        gone.or_else(|| {
            let absent = self.spawns_here && !self.seen.iter().any(|(world, _)| spawned(world));
            (absent && self.since.elapsed() > SPAWNED).then_some(Gone {
                rank: 0,
                spawned: true,
                absent: true,
            })
        })
    }
}

/// A rank whose process is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone {
    rank: u32,
    spawned: bool,
    /// It never was there.
    absent: bool,
}

impl Gone {
    /// Whether it was rank 0 of the run.
    pub(crate) fn is_rank_0(self) -> bool {
        self.rank == 0 && !self.spawned
    }
}

impl std::fmt::Display for Gone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let host = &super::here().host;
        if self.absent {
            write!(f, "no worker appeared on {host} that was to be spawned")
        } else if self.spawned {
            write!(f, "a worker that was just spawned on {host} ended before it had started MPI")
        } else {
            write!(f, "rank {} on {host} ended before MPI had started", self.rank)
        }
    }
}

/// The ranks of a launch that live on this host.
fn living(launch: &str) -> BTreeSet<Name> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = processes.map(|process| process.file_name());
    let pids = names.filter_map(|name| name.to_str()?.parse::<u32>().ok());
    // The environment of a process that has ended, and of another user's, cannot be read.
    pids.filter_map(|pid| rank_of(&fs::read(format!("/proc/{pid}/environ")).ok()?, launch)).collect()
}

/// The rank whose environment this is, if it belongs to the launch.
fn rank_of(environment: &[u8], launch: &str) -> Option<Name> {
    let variables: HashMap<&[u8], &[u8]> = environment
        .split(|byte| *byte == 0)
        .filter_map(|entry| {
            let equals = entry.iter().position(|byte| *byte == b'=')?;
            Some((&entry[..equals], &entry[equals + 1..]))
        })
        .collect();
    let text = |name: &str| std::str::from_utf8(variables.get(name.as_bytes())?).ok();
    (text("PMIX_SERVER_TMPDIR") == Some(launch)).then_some(())?;
    Some((text("PMIX_NAMESPACE")?.to_string(), text("PMIX_RANK")?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_is_known_by_its_environment() {
        let environment = b"PATH=/bin\0PMIX_NAMESPACE=81920001\0PMIX_RANK=2\0PMIX_SERVER_TMPDIR=/tmp/a=b\0";
        assert_eq!(rank_of(environment, "/tmp/a=b"), Some(("81920001".into(), 2)));
        assert_eq!(rank_of(environment, "/tmp/other"), None);
        assert_eq!(rank_of(b"PATH=/bin\0", "/tmp/a=b"), None);
        assert_eq!(rank_of(b"", "/tmp/a=b"), None);
    }
}

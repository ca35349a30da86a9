//! The ranks of this launch that live on this host. While MPI starts, nothing else notices when one of them dies.
//!
//! A rank that is killed in MPI_Init leaves the others waiting in theirs, and rank 0 in MPI_Comm_spawn, where the
//! launcher does not end the run for it; Open MPI 5's ends only the world of the spawned. A rank's environment tells
//! which launch it belongs to (PMIx names its server's folder), and /proc whether its process lives. Ranks on other
//! hosts are not seen.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    time::{Duration, Instant},
};

/// Between two looks at the processes of this host: a tenth of the time so far, within these bounds. A process that
/// dies early has not lived long.
const LOOK: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));
/// Where this host is the only one, a process that is spawned is there within this time, and one of several after so
/// much more for each.
const SPAWNED: Duration = Duration::from_secs(3);
const SPAWNED_EACH: Duration = Duration::from_millis(50);
/// All ranks of a host have been started within this time.
const COMPLETE: Duration = Duration::from_secs(5);

/// A rank: the name of its world, and its number there.
type Name = (String, u32);

/// Watches the ranks of this host.
#[derive(Debug)]
pub(crate) struct Siblings {
    /// Names the launch. `None` if the launcher does not use PMIx; then nothing is seen.
    launch: Option<String>,
    /// Whether there is anything to look for: of many ranks on a host, each would read the environments of all.
    looks: bool,
    world: String,
    /// Ranks of this world on this host.
    size: usize,
    /// Rank 0 of the run, which is of another world than a spawned process, where its environment tells.
    rank_0: Option<Name>,
    /// Ranks that are being spawned, since when, where they can be on no other host.
    spawns: Option<(usize, Instant)>,
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
        let launch = variable("PMIX_SERVER_TMPDIR");
        let world = variable("PMIX_NAMESPACE").unwrap_or_default();
        let rank_0 = rank_0_of(&world);
        let size = variable("OMPI_COMM_WORLD_LOCAL_SIZE").and_then(|size| size.parse().ok()).unwrap_or(0);
        let mut siblings = Siblings {
            launch,
            looks: false,
            world,
            size,
            rank_0,
            spawns: None,
            since: Instant::now(),
            looked: None,
            old: BTreeSet::new(),
            seen: BTreeSet::new(),
        };
        // Elsewhere the launcher ends the run for a rank that dies. An executor inside a task has no ranks.
        if super::policy().survives_losses() && !super::inside_a_task() {
            siblings.look();
            if siblings.are_on_one_host() {
                // It is on this host, even if it is never seen.
                siblings.seen.extend(siblings.rank_0.clone());
            }
        }
        siblings
    }

    /// Looks from now on.
    fn look(&mut self) {
        if !std::mem::replace(&mut self.looks, true) {
            let there = self.launch.as_deref().map(living).unwrap_or_default();
            let first = self.rank_0.as_ref().map(|(world, _)| world);
            let others = there.into_iter().map(|(world, _)| world);
            self.old = others.filter(|old| *old != self.world && Some(old) != first).collect();
        }
    }

    /// From now on, so many ranks are being spawned, on the hosts that the launcher has.
    pub(crate) fn are_spawned(&mut self, count: usize) {
        // One that appears before the first look is taken for an old one.
        let in_time = self.looks;
        self.look();
        self.spawns = (in_time && self.are_on_one_host()).then(|| (count, Instant::now()));
    }

    /// Whether the launcher starts ranks on this host only.
    fn are_on_one_host(&self) -> bool {
        self.launch.as_deref().is_some_and(|launch| {
            super::recovery::launcher_is_on_one_host(|environment| rank_of(environment, launch).is_some())
        })
    }

    /// A rank that is gone: of this world, or of one that was spawned meanwhile. Looks now and then only.
    pub(crate) fn gone(&mut self) -> Option<Gone> {
        let launch = self.launch.as_deref().filter(|_| self.looks)?;
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
        let first = self.rank_0.as_ref();
        let fate = |name: &Name| {
            if first == Some(name) {
                Fate::Rank0
            } else if first.is_some_and(|(world, _)| *world == name.0) {
                Fate::Rank(name.1)
            } else {
                Fate::Spawned
            }
        };
        missing.map(|name| Gone(fate(&name))).or_else(|| {
            let (count, since) = self.spawns?;
            let there = self.seen.iter().filter(|(world, _)| *world != self.world).count();
            let late = since.elapsed() > SPAWNED + SPAWNED_EACH * count as u32;
            (late && there < count).then_some(Gone(Fate::Absent))
        })
    }
}

/// A rank whose process is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone(Fate);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The run's own.
    Rank0,
    /// Another of the world of rank 0.
    Rank(u32),
    Spawned,
    /// It was to be spawned, and was never seen.
    Absent,
}

impl Gone {
    /// Whether it was rank 0 of the run.
    pub(crate) fn is_rank_0(self) -> bool {
        self.0 == Fate::Rank0
    }
}

impl std::fmt::Display for Gone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let host = &super::here().host;
        match self.0 {
            Fate::Rank0 => write!(f, "rank 0 on {host} ended before MPI had started"),
            Fate::Rank(rank) => write!(f, "rank {rank} on {host} ended before MPI had started"),
            Fate::Spawned => {
                write!(f, "a worker that was just spawned on {host} ended before it had started MPI")
            }
            Fate::Absent => {
                write!(f, "a worker that was to be spawned on {host} did not appear, or ended at once")
            }
        }
    }
}

/// The name of rank 0's world, where the environment tells it.
pub(super) fn world_of_rank_0() -> Option<String> {
    rank_0_of(&super::variable("PMIX_NAMESPACE")?).map(|(world, _)| world)
}

/// Rank 0 of a run that a process of this world belongs to, where the environment tells it.
fn rank_0_of(world: &str) -> Option<Name> {
    match super::variable("OMPI_PARENT_PORT") {
        Some(port) => rank_at(&port, world),
        None => Some((world.to_string(), 0)),
    }
}

/// The rank that a port of Open MPI's belongs to, as in 944373761.0:3312578664. Open MPI 5 names its worlds
/// differently, as in prterun-host-210@2, and `world` is such a name: the lower half of the port's first number is then
/// the last number of a name.
fn rank_at(port: &str, world: &str) -> Option<Name> {
    let (job, rank) = port.split(':').next()?.rsplit_once('.')?;
    let name = match world.rsplit_once('@') {
        Some((launcher, _)) => format!("{launcher}@{}", job.parse::<u32>().ok()? & 0xffff),
        None => job.to_string(),
    };
    Some((name, rank.parse().ok()?))
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
    fn a_spawned_process_knows_who_rank_0_is() {
        assert_eq!(rank_at("944373761.0:3312578664", "944373762"), Some(("944373761".into(), 0)));
        let name = "prterun-node-7@1".to_string();
        assert_eq!(rank_at("2452422657.0:501826152", "prterun-node-7@2"), Some((name, 0)));
        assert_eq!(rank_at("tag=0$description", ""), None);
    }

    #[test]
    fn a_rank_is_known_by_its_environment() {
        let environment = b"PATH=/bin\0PMIX_NAMESPACE=81920001\0PMIX_RANK=2\0PMIX_SERVER_TMPDIR=/tmp/a=b\0";
        assert_eq!(rank_of(environment, "/tmp/a=b"), Some(("81920001".into(), 2)));
        assert_eq!(rank_of(environment, "/tmp/other"), None);
        assert_eq!(rank_of(b"PATH=/bin\0", "/tmp/a=b"), None);
        assert_eq!(rank_of(b"", "/tmp/a=b"), None);
    }
}

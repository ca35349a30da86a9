//! Which CPUs each child of a leader runs on: disjoint shares of those that the leader may use, by what Linux tells in
//! /sys of cores and NUMA nodes.

use std::{fmt, fs, io, ops::Range, path::Path, str::FromStr};

use super::here;
use crate::error::{Error, ParseError};

/// How the CPUs of a leader are shared out among its children.
///
/// A child keeps to its CPUs, and so do all threads that its tasks start.
///
/// ```
/// use rankpool::Bind;
/// assert_eq!("core".parse(), Ok(Bind::Core));
/// assert_eq!(Bind::default(), Bind::None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Bind {
    /// They are not: each child may run on all of them.
    #[default]
    None,
    /// Each child has physical cores of its own, whole ones, and as many as the others or one more.
    Core,
    /// Each child has CPUs of its own, all of one NUMA node. Where there are fewer children than nodes, some nodes
    /// stay unused.
    Numa,
}

const NAMES: [(Bind, &str); 3] = [(Bind::None, "none"), (Bind::Core, "core"), (Bind::Numa, "numa")];

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(bind, _)| bind == self).map_or("", |(_, name)| name);
        f.pad(name)
    }
}

impl FromStr for Bind {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Bind, ParseError> {
        let known = NAMES.iter().find(|(_, name)| *name == text).map(|(bind, _)| *bind);
        known.ok_or_else(|| ParseError::new(text, "way to bind", "expected none, core or numa"))
    }
}

/// The CPUs of each child, out of these.
///
/// # Errors
/// When there are not enough for disjoint shares, or when this is no Linux.
pub(crate) fn shares(cpus: &[u32], children: usize, bind: Bind) -> Result<Vec<Vec<u32>>, Error> {
    if bind == Bind::None {
        return Ok(vec![cpus.to_vec(); children]);
    }
    if cfg!(not(target_os = "linux")) {
        return Err(Error::usage(format!("--bind {bind} is for Linux only: use --bind none")));
    }
    Topology::read(Path::new("/sys/devices/system"), cpus).shares(children, bind)
}

/// Runs `start` with the calling thread on these CPUs alone, so that a process that it starts has them; then the thread
/// has its former CPUs again.
///
/// # Errors
/// When this process may use none of them.
#[cfg(target_os = "linux")]
pub(crate) fn run_on<T>(cpus: &[u32], start: impl FnOnce() -> T) -> io::Result<T> {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    struct Restore(CpuSet);

    impl Drop for Restore {
        fn drop(&mut self) {
            if let Err(error) = sched_setaffinity(None, &self.0) {
                tracing::warn!("a thread of this process stays on the CPUs of a child: {error}");
            }
        }
    }

    let mut set = CpuSet::new();
    for cpu in cpus.iter().map(|cpu| *cpu as usize) {
        if cpu >= CpuSet::MAX_CPU {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("there is no CPU {cpu}")));
        }
        set.set(cpu);
    }
    let former = sched_getaffinity(None)?;
    sched_setaffinity(None, &set)?;
    let _restore = Restore(former);
    Ok(start())
}

/// Where there is no affinity, nothing is bound.
#[cfg(not(target_os = "linux"))]
pub(crate) fn run_on<T>(_cpus: &[u32], start: impl FnOnce() -> T) -> io::Result<T> {
    Ok(start())
}

/// A CPU and where it lies. In this order the CPUs of a core, and the cores of a node, are neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    node: u32,
    /// The first CPU of the physical core.
    core: u32,
    cpu: u32,
}

/// The CPUs of a leader, sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Topology(Vec<Place>);

impl Topology {
    /// Reads it from the folder that has `cpu` and `node`. A CPU of which nothing is told is a core by itself, and on
    /// node 0.
    fn read(system: &Path, cpus: &[u32]) -> Topology {
        let list = |path: &str| Some(cpu_list(&fs::read_to_string(system.join(path)).ok()?));
        let core = |cpu: u32| {
            // Before Linux 5.3 there was the second alone.
            let siblings = ["core_cpus_list", "thread_siblings_list"]
                .iter()
                .find_map(|name| list(&format!("cpu/cpu{cpu}/topology/{name}")));
            siblings.into_iter().flatten().map(|cpus| cpus.start).min().unwrap_or(cpu)
        };
        let names = fs::read_dir(system.join("node")).into_iter().flatten().flatten();
        let numbers =
            names.filter_map(|entry| entry.file_name().to_str()?.strip_prefix("node")?.parse().ok());
        let nodes: Vec<(u32, Vec<Range<u32>>)> =
            numbers.filter_map(|node| Some((node, list(&format!("node/node{node}/cpulist"))?))).collect();
        let node = |cpu: u32| {
            let mine = nodes.iter().find(|(_, cpus)| cpus.iter().any(|cpus| cpus.contains(&cpu)));
            mine.map_or(0, |(node, _)| *node)
        };
        let mut places: Vec<Place> =
            cpus.iter().map(|&cpu| Place { node: node(cpu), core: core(cpu), cpu }).collect();
        places.sort_unstable();
        Topology(places)
    }

    fn shares(&self, children: usize, bind: Bind) -> Result<Vec<Vec<u32>>, Error> {
        let cpus = self.0.len();
        let cores: Vec<&[Place]> = self.0.chunk_by(|a, b| (a.node, a.core) == (b.node, b.core)).collect();
        match bind {
            Bind::None => Ok(vec![self.0.iter().map(|place| place.cpu).collect(); children]),
            Bind::Core if children <= cores.len() => Ok(by_core(&cores, children)),
            Bind::Numa if children <= cpus => {
                let single: Vec<&[Place]> = self.0.chunks(1).collect();
                Ok(joined(&by_node(&single, children)))
            }
            Bind::Core => {
                let split = if children <= cpus { ", or --bind numa, which may split a core" } else { "" };
                Err(too_many(children, bind, "cores", cores.len(), split))
            }
            Bind::Numa => Err(too_many(children, bind, "CPUs", cpus, "")),
        }
    }
}

fn too_many(children: usize, bind: Bind, what: &str, count: usize, more: &str) -> Error {
    Error::usage(format!(
        "--bind {bind} gives each child {what} of its own, and for {children} children there are {count} on {}: start \
         {count} at most, or use --bind none{more}",
        here().host
    ))
}

/// What is not to be split: the CPUs of a core, or one CPU.
type Unit<'t> = &'t [Place];

/// As equal as can be, and then each on one node where that is no less equal.
fn by_core(cores: &[Unit<'_>], children: usize) -> Vec<Vec<u32>> {
    let apart = by_node(cores, children);
    let sizes = || apart.iter().map(|share| share.len());
    let used: usize = sizes().sum();
    let equal = used == cores.len() && sizes().max().unwrap_or(0) <= sizes().min().unwrap_or(0) + 1;
    joined(&if equal { apart } else { divided(cores, children) })
}

/// Shares that each lie on one node. Each further child goes to the node on which its share is the largest.
fn by_node<'t>(units: &'t [Unit<'t>], children: usize) -> Vec<&'t [Unit<'t>]> {
    let mut nodes: Vec<(&[Unit<'_>], usize)> =
        units.chunk_by(|a, b| a[0].node == b[0].node).map(|units| (units, 0)).collect();
    for _ in 0..children {
        // Of equal ones the first: max_by_key would take the last.
        let best = nodes
            .iter_mut()
            .rev()
            .max_by(|(some, a), (others, b)| (some.len() * (*b + 1)).cmp(&(others.len() * (*a + 1))));
        if let Some((_, children)) = best {
            *children += 1;
        }
    }
    nodes.into_iter().flat_map(|(units, children)| divided(units, children)).collect()
}

/// Splits them into so many runs of neighbours, whose lengths differ by one at most.
fn divided<'t>(units: &'t [Unit<'t>], parts: usize) -> Vec<&'t [Unit<'t>]> {
    let cut = |part: usize| units.len() * part / parts;
    (0..parts).map(|part| &units[cut(part)..cut(part + 1)]).collect()
}

fn joined(shares: &[&[Unit<'_>]]) -> Vec<Vec<u32>> {
    shares
        .iter()
        .map(|share| share.iter().flat_map(|unit| unit.iter()).map(|place| place.cpu).collect())
        .collect()
}

/// Reads Linux's way to write CPUs, as in `0-3,8`.
fn cpu_list(text: &str) -> Vec<Range<u32>> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..last.parse::<u32>().ok()?.checked_add(1)?)
    };
    text.trim().split(',').filter_map(range).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sockets with so many nodes, cores and threads; the second threads have the higher numbers, as on Linux.
    fn machine(nodes: u32, cores: u32, threads: u32) -> Topology {
        let all = nodes * cores;
        let place = |cpu: u32| Place { node: cpu % all / cores, core: cpu % all, cpu };
        sorted((0..all * threads).map(place))
    }

    fn sorted(places: impl Iterator<Item = Place>) -> Topology {
        let mut places: Vec<Place> = places.collect();
        places.sort_unstable();
        Topology(places)
    }

    /// Of a machine, what a control group leaves.
    fn limited(whole: &Topology, allowed: impl Fn(u32) -> bool) -> Topology {
        Topology(whole.0.iter().copied().filter(|place| allowed(place.cpu)).collect())
    }

    #[test]
    fn threads_of_a_core_and_cores_of_a_node_stay_together() {
        let two_sockets = machine(2, 4, 2);
        let halves = [[0, 8, 1, 9, 2, 10, 3, 11], [4, 12, 5, 13, 6, 14, 7, 15]];
        for bind in [Bind::Core, Bind::Numa] {
            assert_eq!(two_sockets.shares(2, bind).unwrap(), halves);
            let quarters = two_sockets.shares(4, bind).unwrap();
            assert_eq!(quarters[..2], [[0, 8, 1, 9], [2, 10, 3, 11]]);
            assert_eq!(two_sockets.shares(8, bind).unwrap()[7], [7, 15]);
        }
        // Equal shares come before nodes: 3, 3 and 2 cores.
        assert_eq!(two_sockets.shares(3, Bind::Core).unwrap()[1], [2, 10, 3, 11, 4, 12]);
        assert_eq!(two_sockets.shares(3, Bind::Numa).unwrap()[2], halves[1]);
        assert_eq!(two_sockets.shares(2, Bind::None).unwrap()[1].len(), 16);
        assert!(two_sockets.shares(0, Bind::Core).unwrap().is_empty());
    }

    #[test]
    fn children_are_spread_over_nodes_by_the_cpus_there() {
        let four_nodes = machine(4, 2, 1);
        assert_eq!(four_nodes.shares(4, Bind::Numa).unwrap(), [[0, 1], [2, 3], [4, 5], [6, 7]]);
        assert_eq!(four_nodes.shares(2, Bind::Numa).unwrap(), [[0, 1], [2, 3]], "two nodes stay unused");
        assert_eq!(four_nodes.shares(2, Bind::Core).unwrap(), [[0, 1, 2, 3], [4, 5, 6, 7]]);
        // A control group leaves 3 cores of one node and 4 of the other.
        let some = limited(&machine(2, 4, 1), |cpu| cpu != 0);
        for bind in [Bind::Core, Bind::Numa] {
            assert_eq!(some.shares(3, bind).unwrap(), [vec![1, 2, 3], vec![4, 5], vec![6, 7]]);
        }
    }

    #[test]
    fn more_children_than_shares_are_refused() {
        let machine = machine(1, 2, 2);
        let text = machine.shares(3, Bind::Core).unwrap_err().to_string();
        assert!(
            text.contains("for 3 children there are 2 on ") && text.contains("--bind numa, which"),
            "{text}"
        );
        assert_eq!(machine.shares(3, Bind::Numa).unwrap(), [vec![0], vec![2], vec![1, 3]]);
        for bind in [Bind::Core, Bind::Numa] {
            let error = machine.shares(5, bind).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().ends_with("at most, or use --bind none"), "{error}");
        }
        assert_eq!(machine.shares(5, Bind::None).unwrap().len(), 5);
    }

    #[test]
    fn a_topology_is_read_as_linux_writes_it() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert_eq!(Topology::read(folder.path(), &[3, 1]), sorted([1, 3].into_iter().map(alone)));
        write("cpu/cpu0/topology/thread_siblings_list", "0,4\n");
        write("cpu/cpu4/topology/thread_siblings_list", "0,4\n");
        write("cpu/cpu5/topology/core_cpus_list", "4-5\n");
        write("node/node0/cpulist", "0-1,4\n");
        write("node/node1/cpulist", "2-3,5-7\n");
        write("node/node2/cpulist", "\n");
        write("node/possible", "0-2\n");
        let read = Topology::read(folder.path(), &[0, 2, 4, 5]);
        let places = [(0, 0, 0), (0, 0, 4), (1, 2, 2), (1, 4, 5)];
        assert_eq!(read, Topology(places.map(|(node, core, cpu)| Place { node, core, cpu }).to_vec()));
    }

    fn alone(cpu: u32) -> Place {
        Place { node: 0, core: cpu, cpu }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_child_runs_where_it_was_started_and_this_thread_where_it_ran_before() {
        let allowed = || {
            let out = std::process::Command::new("cat").arg("/proc/self/status").output().unwrap();
            let status = String::from_utf8(out.stdout).unwrap();
            let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
            cpu_list(list).into_iter().flatten().collect::<Vec<u32>>()
        };
        for share in shares(&here().cpus, here().cpus.len(), Bind::Numa).unwrap() {
            assert_eq!(run_on(&share, allowed).unwrap(), share);
            let panics = || -> () { panic!("this is part of the test") };
            std::panic::catch_unwind(|| run_on(&share, panics)).unwrap_err();
            assert_eq!(allowed(), here().cpus);
        }
        assert!(run_on(&[], || panic!("no CPU")).is_err());
        assert!(run_on(&[u32::MAX], || panic!("no such CPU")).is_err());
        assert_eq!(allowed(), here().cpus);
    }

    #[test]
    fn every_way_to_bind_comes_back_from_its_name() {
        for (bind, name) in NAMES {
            assert_eq!(name.parse(), Ok(bind));
            assert_eq!(bind.to_string(), name);
        }
        let error = "socket".parse::<Bind>().unwrap_err();
        assert_eq!(error.to_string(), "\"socket\" is no way to bind: expected none, core or numa");
    }

    proptest! {
        #[test]
        fn shares_are_disjoint_and_equal(
            (nodes, cores, threads) in (1..5u32, 1..9u32, 1..4u32),
            mask in any::<u128>(),
            children in 1..40usize,
        ) {
            let topology = limited(&machine(nodes, cores, threads), |cpu| mask >> cpu & 1 == 1);
            let place = |cpu: &u32| *topology.0.iter().find(|place| place.cpu == *cpu).unwrap();
            let sizes = |shares: &[Vec<u32>], unit: fn(Place) -> u32| {
                let mut owned: Vec<Vec<u32>> = Vec::new();
                for share in shares {
                    let mut units: Vec<u32> = share.iter().map(place).map(unit).collect();
                    units.dedup();
                    owned.push(units);
                }
                let mut all = owned.concat();
                let count = all.len();
                all.sort_unstable();
                all.dedup();
                assert_eq!(all.len(), count, "{shares:?} share something");
                owned.iter().map(Vec::len).collect::<Vec<usize>>()
            };
            let mut cores: Vec<u32> = topology.0.iter().map(|place| place.core).collect();
            cores.dedup();
            match topology.shares(children, Bind::Core) {
                Ok(shares) => {
                    let sizes = sizes(&shares, |place| place.core);
                    prop_assert_eq!(sizes.iter().sum::<usize>(), cores.len());
                    prop_assert_eq!(shares.concat().len(), topology.0.len());
                    prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
                }
                Err(_) => prop_assert!(children > cores.len()),
            }
            match topology.shares(children, Bind::Numa) {
                Ok(shares) => {
                    let sizes = sizes(&shares, |place| place.cpu);
                    prop_assert_eq!(shares.len(), children);
                    prop_assert!(sizes.iter().all(|size| *size > 0));
                    for share in &shares {
                        let nodes: Vec<u32> = share.iter().map(|cpu| place(cpu).node).collect();
                        prop_assert!(nodes.iter().all(|node| *node == nodes[0]), "{:?}", shares);
                    }
                }
                Err(_) => prop_assert!(children > topology.0.len()),
            }
        }
    }
}

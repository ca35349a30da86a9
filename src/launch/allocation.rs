//! What Slurm has allotted to this run, as it tells in the environment, and how long it lasts.

use std::{
    process::{Command, Stdio},
    sync::OnceLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::Serialize;

use super::{child::end_within, variable};

/// How long `squeue` may take to answer; a controller under load takes seconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// A job of Slurm's, from inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Allocation {
    /// Its number. An element of an array goes by the array's number and its own index: Slurm takes the job number of
    /// the last element for the whole array.
    pub(crate) job: String,
    pub(crate) nodes: Vec<String>,
    /// Ranks that srun or mpirun starts when it is not told how many.
    pub(crate) ranks: Option<u32>,
    pub(crate) cpus_per_task: Option<u32>,
    pub(crate) cpus_on_node: Option<u32>,
    /// Bytes on each node.
    pub(crate) memory: Option<u64>,
    /// How often the job was put back into the queue and started again.
    pub(crate) restarts: u32,
    /// Seconds since 1970.
    #[serde(skip)]
    ends: Option<u64>,
}

/// The allocation that this process runs in, if it does.
pub(crate) fn allocation() -> Option<&'static Allocation> {
    static ALLOCATION: OnceLock<Option<Allocation>> = OnceLock::new();
    ALLOCATION.get_or_init(|| Allocation::read(variable)).as_ref()
}

impl Allocation {
    fn read(get: impl Fn(&str) -> Option<String>) -> Option<Allocation> {
        let number = |name: &str| get(name)?.parse::<u32>().ok();
        // Slurm counts in MiB; 0 stands for all of the node.
        let mib = |name: &str| Some(u64::from(number(name)?) << 20).filter(|bytes| *bytes > 0);
        let cpus_on_node = number("SLURM_CPUS_ON_NODE");
        let by_cpu =
            mib("SLURM_MEM_PER_CPU").zip(cpus_on_node).map(|(memory, cpus)| memory * u64::from(cpus));
        let element = get("SLURM_ARRAY_JOB_ID").zip(get("SLURM_ARRAY_TASK_ID"));
        let element = element.map(|(array, element)| format!("{array}_{element}"));
        Some(Allocation {
            job: get("SLURM_JOB_ID").map(|job| element.unwrap_or(job))?,
            nodes: expand(&get("SLURM_JOB_NODELIST").unwrap_or_default()),
            ranks: number("SLURM_NTASKS"),
            cpus_per_task: number("SLURM_CPUS_PER_TASK"),
            cpus_on_node,
            memory: mib("SLURM_MEM_PER_NODE").or(by_cpu),
            restarts: number("SLURM_RESTART_COUNT").unwrap_or(0),
            ends: get("SLURM_JOB_END_TIME").and_then(|time| time.parse().ok()),
        })
    }

    /// The CPUs of a process: those of a task for one of several ranks, those of its node for one that is alone.
    pub(super) fn cpus(&self, alone: bool) -> Option<u32> {
        let cpus = if alone { self.cpus_on_node } else { self.cpus_per_task };
        cpus.filter(|cpus| *cpus > 0)
    }

    /// How long the allocation still lasts, if Slurm tells: by SLURM_JOB_END_TIME, else by `squeue`. This may
    /// take seconds.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        match self.ends {
            Some(ends) => {
                let ends = UNIX_EPOCH + Duration::from_secs(ends);
                Some(ends.duration_since(SystemTime::now()).unwrap_or_default())
            }
            None => time_left(&squeue(&self.job)?),
        }
    }
}

fn squeue(job: &str) -> Option<String> {
    let child = Command::new("squeue")
        .args(["--noheader", "--jobs", job, "--format", "%L"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = child.inspect_err(|error| tracing::debug!("squeue: {error}")).ok()?;
    if end_within(&mut child, PATIENCE).ok()?.is_none() {
        tracing::warn!("squeue did not answer within {PATIENCE:?}: the time left is not known");
        return None;
    }
    let output = child.wait_with_output().ok()?;
    String::from_utf8(output.stdout).ok()
}

/// A time as squeue prints it: `[days-]hours:minutes:seconds`, `minutes:seconds`, INVALID once it is over, or
/// another word where there is no limit.
fn time_left(text: &str) -> Option<Duration> {
    if text.trim() == "INVALID" {
        return Some(Duration::ZERO);
    }
    let (days, time) = match text.trim().split_once('-') {
        Some((days, time)) => (days.parse::<u64>().ok()?, time),
        None => (0, text.trim()),
    };
    let fields: Option<Vec<u64>> = time.split(':').map(|field| field.parse().ok()).collect();
    let fields = fields.filter(|fields| (2..=3).contains(&fields.len()))?;
    let seconds = fields.iter().fold(0, |whole, field| 60 * whole + field);
    Some(Duration::from_secs(86_400 * days + seconds))
}

/// The names in a list such as `a[1-3,07],b`.
fn expand(list: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = list;
    while !rest.is_empty() {
        let end = end_of_entry(rest);
        expand_entry(&rest[..end], &mut names);
        rest = rest[end..].strip_prefix(',').unwrap_or("");
    }
    names
}

/// Where the first entry ends: at a comma outside of brackets.
fn end_of_entry(list: &str) -> usize {
    let mut inside = false;
    let comma = list.char_indices().find(|(_, c)| {
        inside = (inside || *c == '[') && *c != ']';
        *c == ',' && !inside
    });
    comma.map_or(list.len(), |(at, _)| at)
}

fn expand_entry(entry: &str, names: &mut Vec<String>) {
    let Some((prefix, (ranges, suffix))) =
        entry.split_once('[').and_then(|(prefix, rest)| Some((prefix, rest.split_once(']')?)))
    else {
        names.push(entry.to_string());
        return;
    };
    for range in ranges.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (Ok(from), Ok(to)) = (first.parse::<u32>(), last.parse::<u32>()) else {
            continue;
        };
        for number in from..=to {
            // Several brackets in one name are rare, and stand for every combination.
            expand_entry(&format!("{prefix}{number:0width$}{suffix}", width = first.len()), names);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(environment: &[(&str, &str)]) -> Option<Allocation> {
        let find =
            |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string());
        Allocation::read(find)
    }

    #[test]
    fn lists_of_nodes_are_expanded() {
        assert_eq!(expand("n1"), ["n1"]);
        assert_eq!(expand("n[1-3,7],login"), ["n1", "n2", "n3", "n7", "login"]);
        assert_eq!(expand("r[08-10]-ib"), ["r08-ib", "r09-ib", "r10-ib"]);
        assert_eq!(expand("r[1-2]n[0,3]"), ["r1n0", "r1n3", "r2n0", "r2n3"]);
        assert!(expand("").is_empty());
        for odd in ["n[", "n[1-", ",", "n[x-y]", "n]1["] {
            expand(odd); // Whatever it means, it does not hang or panic.
        }
    }

    #[test]
    fn times_of_squeue_are_read() {
        let seconds = |text: &str| time_left(text).map(|time| time.as_secs());
        assert_eq!(seconds("0:07\n"), Some(7));
        assert_eq!(seconds("59:30"), Some(3570));
        assert_eq!(seconds("2:00:01"), Some(7201));
        assert_eq!(seconds("1-00:00:10"), Some(86_410));
        assert_eq!(seconds("INVALID"), Some(0), "it is over");
        for none in ["UNLIMITED", "NOT_SET", "", "7"] {
            assert_eq!(seconds(none), None, "{none}");
        }
    }

    #[test]
    fn an_allocation_is_read_from_the_environment() {
        assert_eq!(read(&[("SLURM_NTASKS", "4")]), None);
        let found = read(&[
            ("SLURM_JOB_ID", "17"),
            ("SLURM_JOB_NODELIST", "n[1-2]"),
            ("SLURM_NTASKS", "8"),
            ("SLURM_CPUS_ON_NODE", "4"),
            ("SLURM_MEM_PER_CPU", "100"),
            ("SLURM_RESTART_COUNT", "2"),
        ])
        .unwrap();
        assert_eq!((found.ranks, found.restarts, found.nodes.len()), (Some(8), 2, 2));
        assert_eq!(found.memory, Some(400 << 20));
        let element = [("SLURM_JOB_ID", "17"), ("SLURM_ARRAY_JOB_ID", "17"), ("SLURM_ARRAY_TASK_ID", "3")];
        assert_eq!(read(&element).unwrap().job, "17_3");
        assert_eq!((found.cpus(true), found.cpus(false)), (Some(4), None));
    }

    #[test]
    fn the_end_that_slurm_names_beats_asking_for_it() {
        let past = read(&[("SLURM_JOB_ID", "1"), ("SLURM_JOB_END_TIME", "1000")]).unwrap();
        assert_eq!(past.time_left(), Some(Duration::ZERO));
        let late = read(&[("SLURM_JOB_ID", "1"), ("SLURM_JOB_END_TIME", "99999999999")]).unwrap();
        assert!(late.time_left() > Some(Duration::from_secs(1 << 30)));
    }
}

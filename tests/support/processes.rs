//! Who is who among the processes of a run: from outside, by what their environments say.

use std::{collections::HashMap, fs, path::Path};

use super::{Running, ways::Way};

/// The environment with which a process of `program` (its path, or the end of it) was started; `None` when it runs
/// another program, or has ended.
pub fn environment(pid: u32, program: &str) -> Option<HashMap<String, String>> {
    let file = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    // So the kernel marks one whose file was replaced.
    let file = file.to_str()?.trim_end_matches(" (deleted)");
    Path::new(file).ends_with(program).then_some(())?;
    let bytes = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let entries = text.split('\0').filter_map(|entry| entry.split_once('='));
    Some(entries.map(|(name, value)| (name.to_string(), value.to_string())).collect())
}

/// A process of a run.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    pub pid: u32,
    /// Its number as a rank, from a launcher or from MPI.
    pub number: Option<u32>,
    /// MPI_Comm_spawn has started it.
    pub spawned: bool,
    /// A leader has started it, or rank 0 in mode processes.
    pub child: bool,
}

impl Process {
    /// What this process of `program` is; `None` as of [`environment`].
    pub fn of(pid: u32, program: &str) -> Option<Process> {
        let variables = environment(pid, program)?;
        let number = variables.get("OMPI_COMM_WORLD_RANK").or(variables.get("PMI_RANK"));
        let spawned = ["OMPI_PARENT_PORT", "PMI_SPAWNED"].iter().any(|name| variables.contains_key(*name));
        Some(Process {
            pid,
            number: number.and_then(|number| number.parse().ok()),
            spawned,
            child: variables.contains_key("RANKPOOL_CHILD_OF"),
        })
    }

    /// Whether it is the rank 0 of a run that was launched in this way.
    pub fn is_rank_0(&self, (_, ranks, _): &Way, running: &Running) -> bool {
        match ranks {
            0 => self.pid == running.pid(),
            _ => self.number == Some(0) && !self.spawned && !self.child,
        }
    }

    /// Whether rank 0 of a run that was launched in this way has it as a worker.
    pub fn is_worker(&self, (_, ranks, _): &Way) -> bool {
        match ranks {
            0 => self.child,
            1 => self.spawned && !self.child,
            _ => self.number.is_some_and(|number| number > 0) && !self.child,
        }
    }
}

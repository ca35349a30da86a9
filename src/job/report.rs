//! The report of a run: what came of it, and where its results come from.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{keep::Kept, session::time_of_day};
use crate::{
    executor::Executor,
    function, launch,
    store::{file::Attribute, now},
};

/// What came of a run. The fields and their names are part of the command line's promise.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) job: String,
    pub(crate) mode: String,
    /// Rank 0 and the processes of its workers, without the children of leaders.
    pub(crate) ranks: usize,
    pub(crate) workers: usize,
    /// Child processes of leaders, at the start.
    #[serde(default)]
    pub(crate) children: usize,
    /// Tasks at a time, at the start.
    #[serde(default)]
    pub(crate) slots: u64,
    /// All tasks of the job.
    pub(crate) tasks: u64,
    pub(crate) done: u64,
    pub(crate) failed: u64,
    pub(crate) not_run: u64,
    /// Tasks whose outcomes came from an earlier run.
    pub(crate) resumed: u64,
    /// Attempts that failed and were followed by another.
    pub(crate) retried: u64,
    #[serde(default)]
    pub(crate) lost_workers: u64,
    /// Children of leaders that were lost.
    #[serde(default)]
    pub(crate) lost_children: u64,
    pub(crate) wall_s: f64,
    pub(crate) tasks_per_s: f64,
    /// The part of the slots' time that was spent in tasks.
    pub(crate) utilisation: f64,
    pub(crate) slowest_task: Option<SlowestTask>,
    /// The most memory that rank 0 has used, where the system tells.
    pub(crate) rank_0_peak_bytes: Option<u64>,
    pub(crate) chunk: String,
    pub(crate) seed: u64,
    /// A hash of the outcomes in order: equal for equal results, in any mode.
    pub(crate) results_digest: String,
    /// The result file, and the journal if it is kept.
    pub(crate) files: Vec<String>,
    pub(crate) summary: Value,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct SlowestTask {
    pub(crate) task: u64,
    pub(crate) seconds: f64,
}

/// How many processes take part, rank 0 included, children of leaders not.
pub(super) fn processes(pool: &Executor) -> usize {
    let mut processes: Vec<(&str, u32)> =
        pool.workers().iter().map(|worker| (worker.host.as_str(), worker.pid)).collect();
    processes.push((&launch::here().host, std::process::id()));
    processes.sort_unstable();
    processes.dedup();
    processes.len()
}

/// Where the results come from, for the file's attributes.
pub(super) fn provenance(kept: &Kept, pool: &Executor, report: &Report) -> Vec<(&'static str, Attribute)> {
    let text = |text: &str| Attribute::Text(text.to_string());
    let mut hosts: Vec<String> = pool.workers().iter().map(|worker| worker.host.clone()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let command: Vec<String> =
        std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    vec![
        ("run", text(&kept.identity.run)),
        ("job", text(&report.job)),
        ("parameters", text(&kept.parameters.to_string())),
        ("seed", Attribute::Whole(report.seed)),
        ("rankpool_version", text(env!("CARGO_PKG_VERSION"))),
        ("build_id", text(function::build())),
        ("mode", text(&report.mode)),
        ("ranks", Attribute::Whole(report.ranks as u64)),
        ("workers", Attribute::Whole(report.workers as u64)),
        ("children", Attribute::Whole(report.children as u64)),
        ("slots", Attribute::Whole(report.slots)),
        ("hosts", Attribute::Texts(hosts)),
        ("slurm_job", text(launch::allocation().map_or("", |allocation| &allocation.job))),
        ("mpi_library", text(&mpi_library(pool))),
        ("started", text(&time_of_day(kept.identity.began))),
        ("ended", text(&time_of_day(now()))),
        ("command_line", text(&typed(&command))),
        ("tasks", Attribute::Whole(report.tasks)),
        ("wall_s", Attribute::Real(report.wall_s)),
        ("report", text(&serde_json::to_string(report).unwrap_or_default())),
    ]
}

/// The words of a command as a shell takes them.
fn typed(words: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    let quoted = |word: &String| match word {
        word if !word.is_empty() && word.chars().all(plain) => word.clone(),
        word => format!("'{}'", word.replace('\'', "'\\''")),
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// The MPI library, of a run that used one.
#[cfg(feature = "mpi")]
fn mpi_library(pool: &Executor) -> String {
    match pool.mode() {
        launch::Mode::Comm | launch::Mode::Pool => crate::mpi::library_version(),
        _ => String::new(),
    }
}

#[cfg(not(feature = "mpi"))]
fn mpi_library(_: &Executor) -> String {
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_can_be_given_to_a_shell_again() {
        let words = ["rankpool", "exec", "--", "sh", "-c", "echo \"it's\" {}", ""];
        let typed = typed(&words.map(str::to_string));
        assert_eq!(typed, r#"rankpool exec -- sh -c 'echo "it'\''s" {}' ''"#);
    }
}

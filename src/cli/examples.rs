//! The examples in the help: of this program, with a job of its own.

use clap::Command;

use super::Entry;
use crate::exit::program;

/// A job as it would be run: its name, and what it cannot do without.
pub(super) fn job(jobs: &[Entry]) -> String {
    let needs = |entry: &Entry| -> Vec<String> {
        let mut command: Command = (entry.command)();
        command.build(); // Before that, arguments cannot be shown.
        let needed = command.get_arguments().filter(|argument| argument.is_required_set());
        needed.map(|argument| argument.to_string()).collect()
    };
    let first = jobs.iter().min_by_key(|entry| needs(entry).len());
    first.map_or("JOB".into(), |entry| [vec![entry.name.to_string()], needs(entry)].concat().join(" "))
}

/// What names the files of a job.
fn file(job: &str) -> &str {
    job.split(' ').next().unwrap_or(job)
}

pub(super) fn of_program(jobs: &[Entry]) -> String {
    let (program, job) = (program(), job(jobs));
    let file = file(&job);
    let mut lines = vec![format!("{program} list"), format!("{program} run {job}")];
    if cfg!(feature = "hdf5") {
        lines.push(format!("mpiexec -n 4 {program} run {job} --output {file}.h5"));
        lines.push(format!("{program} show {file}.h5"));
    } else {
        lines.push(format!("mpiexec -n 4 {program} run {job} --journal {file}.journal"));
    }
    lines.push(format!("{program} doctor"));
    listed(&lines)
}

pub(super) fn of_run(jobs: &[Entry]) -> String {
    let (program, job) = (program(), job(jobs));
    let lines = [
        (format!("{program} run {job} --json"), "one serial rank"),
        (format!("{program} run {job} --mode threads --workers -1"), "all CPUs of this host"),
        (format!("mpiexec -n 4 {program} run {job}"), "3 workers over MPI"),
        (format!("mpiexec -n 1 {program} run {job} --mode pool --workers 3"), "workers spawned by MPI"),
    ];
    let width = lines.iter().map(|(line, _)| line.len()).max().unwrap_or(0);
    let lines = lines.map(|(line, what)| format!("{line:width$}   {what}"));
    format!("{}\n\n`{program} run JOB --help` shows a job's own flags.", listed(&lines))
}

pub(super) fn of_slurm(jobs: &[Entry]) -> String {
    let (program, job) = (program(), job(jobs));
    let file = file(&job);
    listed(&[
        format!("{program} slurm --nodes 2 --ntasks-per-node 4 -- run {job} --output {file}.h5"),
        format!("{program} slurm --mode pool --time 30 --submit -- run {job} --output {file}.h5"),
        format!("{program} slurm --array 0-9 --submit --wait -- run {job} --seed %a --output {file}-%a.h5"),
    ])
}

/// Examples of a command that needs no job.
pub(super) fn of(lines: &[&str]) -> String {
    let program = program();
    listed(&lines.iter().map(|line| line.replace("PROGRAM", &program)).collect::<Vec<_>>())
}

fn listed(lines: &[String]) -> String {
    format!("Examples:\n  {}", lines.join("\n  "))
}

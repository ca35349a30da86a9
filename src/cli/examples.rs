//! The examples in the help: of this program, with a job of its own.

use clap::Command;

use crate::launch::program;

/// One of the jobs that are subcommands of `run`, as it would be run: its name, and what it cannot do without.
pub(super) fn job(run: &Command) -> String {
    let needs = |job: &&Command| job.get_arguments().filter(|argument| argument.is_required_set()).count();
    let Some(mut job) = run.get_subcommands().min_by_key(needs).cloned() else { return "JOB".into() };
    job.build(); // Before that, arguments cannot be shown.
    let needed = job.get_arguments().filter(|argument| argument.is_required_set());
    let needed: Vec<String> = needed.map(|argument| argument.to_string()).collect();
    [&[job.get_name().to_string()], &needed[..]].concat().join(" ")
}

/// What names the files of a job.
fn file(job: &str) -> &str {
    job.split(' ').next().unwrap_or(job)
}

pub(super) fn of_program(job: &str) -> String {
    let (program, file) = (program(), file(job));
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

pub(super) fn of_run(job: &str) -> String {
    let program = program();
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

pub(super) fn of_slurm(job: &str) -> String {
    let (program, file) = (program(), file(job));
    listed(&[
        format!("{program} slurm --nodes 2 --ntasks-per-node 4 -- run {job} --output {file}.h5"),
        format!("{program} slurm --mode pool --time 30m --submit -- run {job} --output {file}.h5"),
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

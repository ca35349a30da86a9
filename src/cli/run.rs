//! `rankpool run JOB`

use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
    io::{self, Write},
    os::fd::AsRawFd,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use super::{
    dry_run, log, out, program,
    progress::{self, CHILDREN, WORKERS, count, lost_ones},
    settings::{Files, Settings},
    signals,
    variables::{slips, with_settings, without_empty},
    walltime,
};
use crate::{
    Job,
    error::{Error, ErrorKind, TaskError},
    executor::Executor,
    job::{self, Plan, Report, Telling, Ui},
    launch,
    paths::Named,
    say::{self, say},
    sync::lock,
};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde_json::Value;

/// Failures that are told one by one as they come, and kinds of failures that are told at the end.
const TOLD: u64 = 5;
/// A message of a failure is cut to so many characters where failures are counted by it.
const MESSAGE_CHARS: usize = 160;
/// Messages that are counted; more are counted as others.
const MESSAGES: usize = 1000;

#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(super) struct Flags {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    files: Files,
    /// Write logs to a file for each rank in this folder instead of standard error
    #[arg(long, value_name = "DIR", env = "RANKPOOL_LOG_DIR", help_heading = "Run options")]
    log_dir: Option<Named>,
    /// Print one JSON object, alone on standard output; what tasks print goes to standard error then
    #[arg(id = "report_json", long = "json", help_heading = "Run options")]
    json: bool,
    /// Print what would be run, a line a task, and run nothing
    #[arg(long, help_heading = "Run options")]
    dry_run: bool,
}

impl Flags {
    fn plan(&self) -> Plan {
        Plan {
            seed: self.settings.seed,
            keeps_results: self.files.output().is_some(),
            keeps_journal: self.files.has_journal(),
        }
    }
}

/// The job's command, with its own flags and those of every run.
pub(super) fn command<J: Job + Args>() -> Command {
    let command = J::augment_args(Command::new(J::NAME));
    let has_json = command.get_arguments().any(|argument| argument.get_long() == Some("json"));
    // The flags' own description must not replace the job's.
    let (about, long_about) = (command.get_about().cloned(), command.get_long_about().cloned());
    let mut command = without_empty(Flags::augment_args(command).disable_version_flag(true));
    if has_json {
        // The job's own flag has the name.
        command = command.mut_arg("report_json", |argument| argument.long("report-json"));
    }
    match (about, long_about) {
        (Some(about), Some(long)) => command.about(about).long_about(long),
        (Some(about), None) => command.about(about).long_about(None),
        (None, _) => command.about(None).long_about(None),
    }
}

/// What both of clap's readings end in when a flag is no good.
fn unreadable(error: &clap::Error) -> Error {
    Error::usage(error.to_string())
}

pub(super) fn execute<J: Job + Args>(matches: &ArgMatches) -> Result<ExitCode, Error> {
    start::<J>(matches).map_err(|error| with_settings(error, &command::<J>()))
}

/// Starts the run; on rank 0 it ends the program, too.
fn start<J: Job + Args>(matches: &ArgMatches) -> Result<ExitCode, Error> {
    let job = J::from_arg_matches(matches).map_err(|error| unreadable(&error))?;
    let flags = Flags::from_arg_matches(matches).map_err(|error| unreadable(&error))?;
    let began = Instant::now();
    flags.files.check()?;
    if flags.dry_run {
        return dry_run::execute(job, &flags.plan(), flags.files.only());
    }
    log::start(flags.log_dir.as_ref())?;
    // On every rank, before any task.
    let report_out = flags.json.then(keep_standard_output).transpose()?;
    signals::listen()?;
    let pool = flags.settings.start()?;
    // From here on this is rank 0.
    launch::look_at_code_file();
    tracing::info!("process {} has {} workers, mode {}", std::process::id(), pool.num_workers(), pool.mode());
    signals::stop_by(pool.stopper());
    slips(&command::<J>()).iter().for_each(|slip| progress::print(slip));
    tell_idle_nodes(&pool);
    walltime::watch(&pool, J::NAME, began, &flags.settings, flags.files.has_journal())?;
    let outcome = supervised(job, &pool, &flags, report_out);
    let code = match outcome {
        Ok(code) => code,
        // The signal has said it, and is ending the workers.
        Err(_) if signals::stopping() => launch::EXIT_STOPPED,
        Err(error) => {
            let error = with_settings(error, &command::<J>());
            let error_word = if error.kind() == ErrorKind::Stopped { "stopped" } else { "error" };
            say(&format!("{}: {error_word}: {}: {error}", program(), J::NAME));
            error.exit_code().into()
        }
    };
    pool.exit(code)
}

/// Takes standard output away for the report alone; what is printed from here on goes to standard error.
fn keep_standard_output() -> Result<File, Error> {
    say::flush_prints();
    let kept = rustix::io::fcntl_dupfd_cloexec(io::stdout(), 3)
        .and_then(|kept| rustix::stdio::dup2_stdout(rustix::stdio::stderr()).map(|()| kept));
    kept.map(File::from)
        .map_err(|error| Error::new(ErrorKind::Internal, format!("standard output cannot be kept: {error}")))
}

/// Nodes of a Slurm job on which nothing runs are paid for, too.
fn tell_idle_nodes(pool: &Executor) {
    let Some(allocation) = launch::allocation() else { return };
    let short = |name: &str| name.split('.').next().unwrap_or_default().to_string();
    let hosts: HashSet<String> = pool.workers().iter().map(|worker| short(&worker.host)).collect();
    let (used, idle): (Vec<&String>, Vec<&String>) = allocation
        .nodes
        .iter()
        .partition(|node| hosts.contains(&short(node)) || short(node) == short(&launch::here().host));
    // Where no name fits, nodes have other names than their hosts.
    if !used.is_empty() && !idle.is_empty() {
        let names: Vec<&str> = idle.iter().map(|node| node.as_str()).collect();
        progress::print(&format!(
            "{}: no worker runs on {} of the {} nodes of this job: {}",
            program(),
            idle.len(),
            allocation.nodes.len(),
            names.join(" ")
        ));
    }
}

fn supervised<J: Job>(
    mut job: J,
    pool: &Executor,
    flags: &Flags,
    report_out: Option<File>,
) -> Result<i32, Error> {
    job.prepare(&flags.plan())?;
    let teller = Teller { job: J::NAME, total: AtomicU64::new(0), failures: Mutex::default() };
    let over = AtomicBool::new(false);
    // With --json standard output is where the report goes.
    let standard_output = report_out.as_ref().map_or(io::stdout().as_raw_fd(), AsRawFd::as_raw_fd);
    let streams = [standard_output, io::stderr().as_raw_fd()].map(|at| format!("/proc/self/fd/{at}").into());
    let report = thread::scope(|scope| {
        let view = progress::View { pool, job: J::NAME, total: &teller.total, over: &over };
        let shown = scope.spawn(move || view.show(flags.settings.progress));
        let _stop = progress::StopOnDrop { over: &over, thread: shown.thread() };
        job::run(
            &job,
            pool,
            &flags.settings.job_options(&flags.files, flags.log_dir.as_ref(), streams),
            &teller,
        )
    })?;
    teller.close(&report, pool);
    // What was said stands before the report where both go to one terminal; so does what tasks have printed.
    say::flush();
    let told = match report_out {
        Some(file) => tell_json(&report, file),
        None if job.telling() != Telling::Nothing => Ok(()),
        None => {
            say::flush_prints();
            tell(&report)
        }
    };
    told.map_err(|error| {
        Error::new(error.kind(), format!("the run is complete, but not its report: {error}"))
    })?;
    Ok(if report.failed > 0 { launch::EXIT_FAILED } else { launch::EXIT_DONE })
}

/// Failures so far: how many, and how many of each message with the first tasks that had it.
#[derive(Default)]
struct Failures {
    count: u64,
    by_message: BTreeMap<String, (u64, Vec<u64>)>,
}

/// Tells the user, on standard error.
struct Teller {
    job: &'static str,
    /// How many tasks will be run; 0 while it is not known.
    total: AtomicU64,
    failures: Mutex<Failures>,
}

impl Ui for Teller {
    fn expect(&self, to_run: Option<u64>) {
        self.total.store(to_run.unwrap_or(0), Ordering::Relaxed);
    }

    fn failed(&self, error: &TaskError) {
        let mut failures = lock(&self.failures);
        failures.count += 1;
        if failures.count <= TOLD {
            progress::print(&format!("{}: {error}", self.job));
        }
        let mut message: String = error.message().chars().take(MESSAGE_CHARS).collect();
        if failures.by_message.len() >= MESSAGES && !failures.by_message.contains_key(&message) {
            message = "(other messages)".into();
        }
        let (count, tasks) = failures.by_message.entry(message).or_default();
        *count += 1;
        if tasks.len() < TOLD as usize {
            tasks.push(error.index());
        }
    }

    fn say(&self, text: &str) {
        progress::print(&format!("{}: {text}", self.job));
    }

    fn before_stop(&self, commit: Box<dyn Fn() + Send>) {
        signals::commit_by(commit);
    }
}

impl Teller {
    /// The closing words.
    fn close(&self, report: &Report, pool: &Executor) {
        let some =
            |count: u64, what: &str| if count > 0 { format!(", {count} {what}") } else { String::new() };
        say(&format!(
            "{}: {} tasks ok, {} failed{}{}{} in {:.3} s ({:.0} tasks/s), mode {}, {}, utilisation {:.0}%",
            report.job,
            report.done,
            report.failed,
            some(report.not_run, "not run"),
            some(report.retried, "retried"),
            some(report.resumed, "resumed"),
            report.wall_s,
            report.tasks_per_s,
            report.mode,
            count(report.workers as u64, WORKERS),
            100.0 * report.utilisation,
        ));
        let leaders: BTreeMap<u32, usize> =
            pool.workers().iter().map(|worker| (worker.rank, worker.children.len())).collect();
        for (rank, share) in &pool.progress().by_rank {
            let children = leaders.get(rank).filter(|children| **children > 0);
            let children =
                children.map_or(String::new(), |children| count(*children as u64, CHILDREN) + "  ");
            say(&format!("  rank {rank:<3} {}  {children}{} tasks", share.host, share.tasks));
        }
        let (workers, children) = (report.lost_workers, report.lost_children);
        if let Some(lost) = lost_ones(workers, children) {
            say(&format!("  {lost} {} lost", if workers + children == 1 { "was" } else { "were" }));
        }
        if let Some(slowest) = report.slowest_task {
            say(&format!("  slowest task {}, {:.6} s", slowest.task, slowest.seconds));
        }
        if let Some(bytes) = report.rank_0_peak_bytes {
            say(&format!("  rank 0 used {:.0} MB at most", bytes as f64 / 1e6));
        }
        self.close_failures();
        for file in &report.files {
            say(&format!("  written {file}"));
        }
    }

    fn close_failures(&self) {
        let failures = lock(&self.failures);
        let mut counted: Vec<_> = failures.by_message.iter().collect();
        counted.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
        for (message, (count, tasks)) in counted.iter().take(TOLD as usize) {
            let tasks: Vec<String> = tasks.iter().map(u64::to_string).collect();
            let more = if *count > tasks.len() as u64 { ", ..." } else { "" };
            say(&format!("  {count} failed (task {}{more}): {message}", tasks.join(", ")));
        }
        if counted.len() > TOLD as usize {
            say(&format!("  and {} more messages", counted.len() - TOLD as usize));
        }
    }
}

fn tell_json(report: &Report, mut file: File) -> Result<(), Error> {
    let text = serde_json::to_string(report)
        .map_err(|error| Error::new(ErrorKind::Internal, format!("it is no JSON: {error}")))?;
    out::written(file.write_all(format!("{text}\n").as_bytes()))
}

fn tell(report: &Report) -> Result<(), Error> {
    let mut text = String::new();
    let mut lines = Vec::new();
    flatten(&report.job, &report.summary, &mut lines);
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max("digest".len());
    for (name, value) in lines {
        text += &format!("{name:width$}  {value}\n");
    }
    text += &format!("{:width$}  {}\n", "digest", report.results_digest);
    out::tell(&text)
}

/// A summary as lines of name and value.
fn flatten(name: &str, value: &Value, lines: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(field, value)| flatten(field, value, lines)),
        Value::String(text) => lines.push((name.to_string(), text.clone())),
        other => lines.push((name.to_string(), other.to_string())),
    }
}

//! `rankpool run JOB`

use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
    io::{self, Write},
    os::fd::AsRawFd,
    process::ExitCode,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Instant,
};

use super::{
    again::{Extent, way_on},
    dry_run,
    failures::Failures,
    log, out, program,
    settings::{Files, Settings, Show},
    signals,
    variables::{slips, unreadable, with_settings, without_empty},
    walltime,
};
use crate::{
    Job,
    error::{Error, ErrorKind, TaskError},
    executor::Executor,
    job::{self, Plan, Report, Telling, Ui},
    launch::{self, Mode},
    paths::Named,
    progress::{self, CHILDREN, Shown, Standing, TASKS, WORKERS, count, lost_ones},
    say::{self, say},
    sync::lock,
};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde_json::Value;

/// Failures that are told one by one as they come, and kinds of failures that are told at the end.
const TOLD: usize = 5;

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
    /// Say nothing but what fails: no progress and no closing words on standard error
    #[arg(id = "run_quiet", long = "quiet", short = 'q', help_heading = "Run options")]
    quiet: bool,
    /// Log what the run does; twice (-vv) with the details
    #[arg(id = "run_verbose", long = "verbose", short = 'v', action = clap::ArgAction::Count, conflicts_with = "run_quiet", help_heading = "Run options")]
    verbose: u8,
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
    let taken: Vec<(Option<String>, Option<char>)> = command
        .get_arguments()
        .map(|argument| (argument.get_long().map(ToString::to_string), argument.get_short()))
        .collect();
    // The flags' own description must not replace the job's.
    let (about, long_about) = (command.get_about().cloned(), command.get_long_about().cloned());
    let mut command = without_empty(Flags::augment_args(command).disable_version_flag(true));
    // The job's own flag has the name.
    for (id, long, short, other) in OF_EVERY_RUN {
        if taken.iter().any(|(taken, _)| taken.as_deref() == Some(long)) {
            command = command.mut_arg(id, |argument| argument.long(other));
        }
        if short.is_some() && taken.iter().any(|(_, taken)| *taken == short) {
            command = command.mut_arg(id, |argument| argument.short(None));
        }
    }
    match (about, long_about) {
        (Some(about), Some(long)) => command.about(about).long_about(long),
        (Some(about), None) => command.about(about).long_about(None),
        (None, _) => command.about(None).long_about(None),
    }
}

/// Flags of every run whose names a job's own flags may have: id, name, letter, and the name that the flag has then.
const OF_EVERY_RUN: [(&str, &str, Option<char>, &str); 3] = [
    ("report_json", "json", None, "report-json"),
    ("run_quiet", "quiet", Some('q'), "run-quiet"),
    ("run_verbose", "verbose", Some('v'), "run-verbose"),
];

pub(super) fn execute<J: Job + Args>(matches: &ArgMatches) -> Result<ExitCode, Error> {
    start::<J>(matches).map_err(|error| with_settings(error, &command::<J>()))
}

/// Starts the run; on rank 0 it ends the program, too.
fn start<J: Job + Args>(matches: &ArgMatches) -> Result<ExitCode, Error> {
    let job = J::from_arg_matches(matches).map_err(unreadable)?;
    let flags = Flags::from_arg_matches(matches).map_err(unreadable)?;
    let began = Instant::now();
    flags.files.check()?;
    if flags.dry_run {
        log::start(None, flags.verbose)?;
        return dry_run::execute(job, &flags.plan(), flags.files.only());
    }
    log::start(flags.log_dir.as_ref(), flags.verbose)?;
    // On every rank, before any task.
    let report_out = flags.json.then(keep_standard_output).transpose()?;
    signals::listen()?;
    let pool = flags.settings.start()?;
    // From here on this is rank 0.
    launch::look_at_code_file();
    tracing::info!("process {} has {} workers, mode {}", std::process::id(), pool.num_workers(), pool.mode());
    let extent = Arc::new(Extent::default());
    let way =
        if flags.files.has_journal() { Ok(way_on(J::NAME, false)) } else { Err(flags.files.what_keeps()) };
    signals::stop_by(pool.stopper());
    signals::last_words({
        let (extent, way, told) = (extent.clone(), way.clone(), pool.told_progress());
        move || extent.last_words(&lock(&told), way.as_deref().map_err(|keeps| *keeps))
    });
    slips(&command::<J>()).iter().for_each(|slip| progress::print(slip));
    tell_idle_nodes(&pool);
    walltime::watch(&pool, J::NAME, began, &flags.settings, flags.files.has_journal())?;
    let outcome = supervised(job, &pool, &flags, &extent, report_out);
    let code = match outcome {
        Ok(code) => code,
        // The signal has said it, and is ending the workers.
        Err(_) if signals::stopping() => launch::EXIT_STOPPED,
        Err(error) => {
            let error = with_settings(error, &command::<J>());
            let error_word = if error.kind() == ErrorKind::Stopped { "stopped" } else { "error" };
            say(&format!("{}: {error_word}: {}: {error}", program(), J::NAME));
            if error.kind() == ErrorKind::Stopped {
                say(&format!(
                    "{}: {}",
                    program(),
                    extent.last_words(&pool.progress(), way.as_deref().map_err(|keeps| *keeps))
                ));
            }
            error.exit_code().into()
        }
    };
    pool.exit(code)
}

/// What is said of a run that was told neither how to start nor with how many workers: it uses one CPU, which may not be
/// what was meant.
fn idle_cpus(pool: &Executor, settings: &Settings) -> Option<String> {
    let cpus = launch::cpu_limit();
    let idle =
        launch::is_alone() && cpus > 1 && pool.mode() == Mode::Serial && settings.workers.is_left_open();
    idle.then(|| format!("{}: this run uses one of {cpus} CPUs; with -w -1 it uses all", program()))
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
    extent: &Arc<Extent>,
    report_out: Option<File>,
) -> Result<i32, Error> {
    job.prepare(&flags.plan())?;
    let idle =
        idle_cpus(pool, &flags.settings).filter(|_| !flags.quiet && flags.settings.progress != Show::None);
    let teller = Teller { job: J::NAME, extent, failures: Mutex::default(), idle };
    // With --json standard output is where the report goes.
    let standard_output = report_out.as_ref().map_or(io::stdout().as_raw_fd(), AsRawFd::as_raw_fd);
    let streams = [standard_output, io::stderr().as_raw_fd()].map(|at| format!("/proc/self/fd/{at}").into());
    let how = if flags.quiet { Show::None } else { flags.settings.progress };
    let shown = how.form().map(|form| {
        let (told, extent, workers) = (pool.told_progress(), extent.clone(), pool.num_workers());
        Shown::start(J::NAME, form, move || {
            let told = lock(&told);
            Standing {
                done: told.done,
                failed: told.failed,
                total: extent.to_run.load(Ordering::Relaxed),
                busy: told.busy,
                workers,
                lost: told.lost,
                children_lost: told.children_lost,
            }
        })
    });
    let report = job::run(
        &job,
        pool,
        &flags.settings.job_options(&flags.files, flags.log_dir.as_ref(), streams),
        &teller,
    );
    drop(shown);
    let report = report?;
    if !flags.quiet {
        teller.close(&report, pool);
        if flags.files.has_journal() && report.failed + report.not_run > 0 {
            say(&format!("  {}", way_on(J::NAME, report.failed > 0)));
        } else if report.failed > 0 {
            say(&format!(
                "  nothing was kept: {} the failed tasks can be run again",
                flags.files.what_keeps()
            ));
        }
    }
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

/// Tells the user, on standard error.
struct Teller<'r> {
    job: &'static str,
    extent: &'r Extent,
    failures: Mutex<Failures>,
    /// What is said of CPUs that do nothing, when the run begins.
    idle: Option<String>,
}

impl Ui for Teller<'_> {
    fn expect(&self, to_run: Option<u64>, known: u64) {
        self.extent.to_run.store(to_run.unwrap_or(0), Ordering::Relaxed);
        self.extent.known.store(known, Ordering::Relaxed);
        if let Some(idle) = self.idle.as_ref().filter(|_| to_run != Some(0)) {
            progress::print(idle);
        }
    }

    fn failed(&self, error: &TaskError) {
        if lock(&self.failures).add(error) <= TOLD as u64 {
            progress::print(&format!("{}: {error}", self.job));
        }
    }

    fn say(&self, text: &str) {
        progress::print(&format!("{}: {text}", self.job));
    }

    fn before_stop(&self, commit: Box<dyn Fn() + Send>) {
        signals::commit_by(commit);
    }
}

impl Teller<'_> {
    /// The closing words.
    fn close(&self, report: &Report, pool: &Executor) {
        let some =
            |count: u64, what: &str| if count > 0 { format!(", {count} {what}") } else { String::new() };
        say(&format!(
            "{}: {} ok, {} failed{}{}{} in {:.3} s ({:.0} tasks/s), mode {}, {}, utilisation {:.0}%",
            report.job,
            count(report.done, TASKS),
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
            say(&format!("  rank {rank:<3} {}  {children}{}", share.host, count(share.tasks, TASKS)));
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
        lock(&self.failures).lines(TOLD).iter().for_each(|line| say(&format!("  {line}")));
        for file in &report.files {
            say(&format!("  written {file}"));
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

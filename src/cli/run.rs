//! `rankpool run JOB`

use std::{
    io::Write,
    process::ExitCode,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde::Serialize;
use serde_json::Value;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

use super::{program, progress, settings::Settings};
use crate::{
    Job,
    error::{Error, ErrorKind},
    executor::Executor,
    job::{self, Report},
    launch,
};

/// Failures that are told one by one; the rest are counted.
const TOLD: u64 = 5;

/// Set by the first signal.
static STOPPING: AtomicBool = AtomicBool::new(false);

#[derive(Args, Clone, Debug)]
struct Flags {
    #[command(flatten)]
    settings: Settings,
    /// Print one JSON object, alone on standard output
    #[arg(long, help_heading = "Run options")]
    json: bool,
}

pub(super) fn command<J: Job + Args>() -> Command {
    let command = J::augment_args(Command::new(J::NAME));
    // The flags' own description must not replace the job's.
    let (about, long_about) = (command.get_about().cloned(), command.get_long_about().cloned());
    let command = Flags::augment_args(command).disable_version_flag(true);
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
    let job = J::from_arg_matches(matches).map_err(|error| unreadable(&error))?;
    let flags = Flags::from_arg_matches(matches).map_err(|error| unreadable(&error))?;
    log_to_stderr();
    let pool = flags.settings.start()?;
    // From here on this is rank 0.
    tracing::info!(
        "rank 0 is process {}\n  with {} workers, mode {}",
        std::process::id(),
        pool.num_workers(),
        pool.mode()
    );
    stop_on_signals(&pool)?;
    let outcome = supervised(&job, &pool, &flags);
    let code = match outcome {
        Ok(code) => code,
        // The signal has said it, and is ending the workers.
        Err(_) if STOPPING.load(Ordering::Acquire) => launch::EXIT_STOPPED,
        Err(error) => {
            eprintln!("{}: error: {}: {error}", program(), J::NAME);
            error.exit_code().into()
        }
    };
    pool.exit(code)
}

fn supervised<J: Job>(job: &J, pool: &Executor, flags: &Flags) -> Result<i32, Error> {
    let total = AtomicU64::new(0);
    let over = AtomicBool::new(false);
    let failures = AtomicU64::new(0);
    let report = std::thread::scope(|scope| {
        let view = progress::View { pool, job: J::NAME, total: &total, over: &over };
        let shown = scope.spawn(move || view.show(flags.settings.progress));
        let _stop = progress::StopOnDrop { over: &over, thread: shown.thread() };
        job::run(
            job,
            pool,
            &flags.settings.job_options(),
            |expected| total.store(expected.unwrap_or(0), Ordering::Relaxed),
            |error| {
                if failures.fetch_add(1, Ordering::Relaxed) < TOLD {
                    progress::print(&format!("{}: {error}", J::NAME));
                }
            },
        )
    })?;
    if report.failed > TOLD {
        eprintln!("{}: {} more tasks failed", J::NAME, report.failed - TOLD);
    }
    let told = if flags.json { tell_json(&report) } else { tell(&report, pool) };
    told.map_err(|error| {
        Error::new(ErrorKind::Internal, format!("the report could not be written: {error}"))
    })?;
    Ok(if report.failed > 0 { launch::EXIT_FAILED } else { launch::EXIT_DONE })
}

fn tell_json<S: Serialize>(report: &Report<S>) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, report)?;
    writeln!(out)?;
    out.flush()
}

fn tell<S: Serialize>(report: &Report<S>, pool: &Executor) -> std::io::Result<()> {
    eprintln!(
        "{}: {} tasks done, {} failed in {:.3} s ({:.0} tasks/s), mode {}, {} {}",
        report.job,
        report.done,
        report.failed,
        report.wall_s,
        report.tasks_per_s,
        report.mode,
        report.workers,
        if report.workers == 1 { "worker" } else { "workers" },
    );
    let by_rank = pool.progress().by_rank;
    for (rank, share) in &by_rank {
        eprintln!("  rank {rank:<3} {}  {} tasks", share.host, share.tasks);
    }
    let mut out = std::io::stdout().lock();
    let mut lines = Vec::new();
    flatten(report.job, &serde_json::to_value(&report.summary)?, &mut lines);
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max("digest".len());
    for (name, value) in lines {
        writeln!(out, "{name:width$}  {value}")?;
    }
    writeln!(out, "{:width$}  {}", "digest", report.results_digest)?;
    out.flush()
}

/// A summary as lines of name and value.
fn flatten(name: &str, value: &Value, lines: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(field, value)| flatten(field, value, lines)),
        Value::String(text) => lines.push((name.to_string(), text.clone())),
        other => lines.push((name.to_string(), other.to_string())),
    }
}

/// Logs go to standard error, warnings and worse unless RANKPOOL_LOG says otherwise.
fn log_to_stderr() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_env("RANKPOOL_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    // A user's program may have a subscriber of its own; it stays.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .try_init();
}

/// SIGINT and SIGTERM end the workers and the run, a second signal at once.
fn stop_on_signals(pool: &Executor) -> Result<(), Error> {
    let mut signals = Signals::new([SIGINT, SIGTERM])
        .map_err(|error| Error::new(ErrorKind::Internal, format!("signals cannot be caught: {error}")))?;
    let stop = pool.stopper();
    let watch = move || {
        let mut caught = signals.forever();
        if let Some(signal) = caught.next() {
            let name = if signal == SIGINT { "SIGINT" } else { "SIGTERM" };
            progress::print(&format!("{}: {name}: ending the workers", program()));
            STOPPING.store(true, Ordering::Release);
            stop(launch::EXIT_STOPPED);
        }
        if caught.next().is_some() {
            launch::exit_now(launch::EXIT_STOPPED);
        }
    };
    std::thread::Builder::new()
        .name("rankpool-signals".into())
        .spawn(watch)
        .map_err(|error| Error::new(ErrorKind::Internal, format!("no thread for signals: {error}")))?;
    Ok(())
}

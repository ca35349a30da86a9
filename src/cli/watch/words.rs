//! What is known of a run, in words, for the screen and for the text alike.

use std::time::{Duration, UNIX_EPOCH};

use super::state::{At, Ended, Failed, Loss, Progress, Standing, State, Worker};
use crate::progress::{CHILDREN, WORKERS, count, lost_ones, span};

/// A time of day in seconds since 1970, as in `2026-01-31 12:00:00 UTC`.
pub(in crate::cli) fn time_of_day(seconds: f64) -> String {
    let time = UNIX_EPOCH + Duration::try_from_secs_f64(seconds).unwrap_or_default();
    humantime::format_rfc3339_seconds(time).to_string().replace('T', " ").replace('Z', " UTC")
}

/// How many tasks have an outcome, as in `72 of 200 done, 3 failed`.
pub(in crate::cli) fn outcomes(done: u64, failed: u64, total: Option<u64>) -> String {
    let of = total.map_or(String::new(), |total| format!(" of {total}"));
    let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
    format!("{done}{of} done{failed}")
}

/// What runs, and how it stands with it.
pub(super) fn heading(state: &State, now: f64) -> String {
    let run = &state.run;
    let standing = match &state.standing {
        Standing::Running => {
            let since = time_of_day(run.began + state.session);
            format!("running since {since} ({})", span(now - state.session))
        }
        Standing::Stopped if state.is_complete() => "ended".into(),
        // Only a journal tells of the host.
        Standing::Stopped if state.host.is_some() => {
            "stopped before its end; what is done is in the journal".into()
        }
        Standing::Stopped => "stopped before its end".into(),
        Standing::Ended(Ended { error: Some(error), .. }) => format!("ended early: {error}"),
        Standing::Ended(Ended { wall_s: Some(wall), .. }) => format!("ended after {}", span(*wall)),
        Standing::Ended(_) => "ended".into(),
    };
    let again = if state.sessions > 1 { format!(", session {}", state.sessions) } else { String::new() };
    let mode = state.mode.as_ref().map_or(String::new(), |mode| format!(", mode {mode}"));
    let host = state.host.as_ref().map_or(String::new(), |host| format!(", rank 0 on {host}"));
    format!("{}: {standing}{again}{mode}{host}", run.what)
}

pub(super) fn progress(state: &State, progress: &Progress) -> String {
    let part = progress.part.map_or(String::new(), |part| format!(", {:.0}%", (100.0 * part).floor()));
    let not_run = match &state.standing {
        Standing::Ended(Ended { counts: Some([_, _, not_run]), .. }) if *not_run > 0 => {
            format!(", {not_run} not run")
        }
        _ => String::new(),
    };
    let retried = if state.retried > 0 { format!(", {} retried", state.retried) } else { String::new() };
    format!("{}{not_run}{retried}{part}", outcomes(progress.done, progress.failed, progress.total))
}

pub(super) fn rate(state: &State, progress: &Progress) -> String {
    if state.standing != Standing::Running {
        return "nothing runs".into();
    }
    let left = match progress.left_s {
        Some(left) => format!(", about {} left", span(left)),
        None => ", ETA unknown".into(),
    };
    match progress.rate {
        rate if rate >= 100.0 => format!("{rate:.0} tasks/s{left}"),
        rate => format!("{rate:.2} tasks/s{left}"),
    }
}

/// How the workers are.
pub(super) fn workers(state: &State) -> String {
    let living = || state.workers.values().filter(|worker| !worker.lost);
    let children: u64 = living().map(|worker| u64::from(worker.children)).sum();
    let with = if children > 0 { format!(" with {}", count(children, CHILDREN)) } else { String::new() };
    let known = count(living().count() as u64, WORKERS);
    let heard = if state.all_told { "" } else { " heard of" };
    let [workers, children] = state.lost;
    let lost = lost_ones(workers, children).map_or(String::new(), |lost| format!(", {lost} lost"));
    format!("{known}{with}{heard}{lost}")
}

/// The heads of the columns of [`row`].
pub(super) const COLUMNS: [&str; 7] = ["rank", "host", "pid", "runs", "tasks", "busy", "at"];

/// A worker, column by column.
pub(super) fn row(rank: u32, worker: &Worker, running: bool, now: f64) -> [String; 7] {
    let runs = match (worker.children, worker.slots) {
        (0, slots) => slots.max(1).to_string(),
        (children, _) => count(children.into(), CHILDREN),
    };
    let age = (now - worker.joined) * f64::from(worker.slots.max(1));
    let busy =
        if age > 0.0 { format!("{:.0}%", (100.0 * worker.busy_s / age).min(100.0)) } else { "".into() };
    let pid = if worker.pid == 0 { String::new() } else { worker.pid.to_string() };
    let at = if worker.lost { "lost".into() } else { at(worker, running, now) };
    [rank.to_string(), worker.host.clone(), pid, runs, worker.tasks.to_string(), busy, at]
}

fn tasks(start: u64, count: u64) -> String {
    match count {
        0 | 1 => format!("task {start}"),
        _ => format!("tasks {start}-{}", start + count - 1),
    }
}

/// What a worker is at.
fn at(worker: &Worker, running: bool, now: f64) -> String {
    match (worker.at.front(), &worker.last) {
        (Some(At { start, count, since }), _) if running => {
            let waiting = worker.at.len() - 1;
            let more = if waiting > 0 { format!(", {waiting} more sent") } else { String::new() };
            format!("{} for {}{more}", tasks(*start, *count), span(now - since))
        }
        (_, Some((t, start, count))) => {
            let ago = if running { format!(", {} ago", span(now - t)) } else { String::new() };
            format!("{} came back{ago}", tasks(*start, *count))
        }
        _ => String::new(),
    }
}

pub(super) fn loss(loss: &Loss) -> String {
    let Loss { t, rank, slot, host, pid, reason } = loss;
    let who = match slot {
        Some(slot) => format!("child {slot} of worker {rank}"),
        None => format!("worker {rank}"),
    };
    format!("{who} on {host} (pid {pid}), after {}: {reason}", span(*t))
}

pub(super) fn failure(failed: &Failed) -> String {
    let Failed { task, attempt, kind, place, message, last } = failed;
    let place = place.as_ref().map_or(String::new(), |(rank, host)| format!(" on rank {rank} ({host})"));
    let again = if *last { "" } else { ", to be tried again" };
    format!(
        "task {task} attempt {attempt}{place} {kind}{again}: {}",
        message.lines().next().unwrap_or_default()
    )
}

//! Progress on standard error: a bar on a terminal, lines in a log file.

use std::{
    io::IsTerminal,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::settings::Show;
use crate::{executor::Executor, say::say};

/// Between two redraws of the bar.
const REDRAW: Duration = Duration::from_millis(100);
/// Before the first line.
const FIRST_LINE: Duration = Duration::from_secs(1);
/// Between two lines.
const LINE: Duration = Duration::from_secs(5);

/// The bar that is on the terminal, so that messages do not tear it.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Prints a line to standard error, above the bar if there is one.
pub(super) fn print(line: &str) {
    match &*BAR.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(bar) => bar.suspend(|| say(line)),
        None => say(line),
    }
}

/// What is watched.
pub(super) struct View<'a> {
    pub(super) pool: &'a Executor,
    pub(super) job: &'static str,
    /// The number of tasks; 0 while it is not known.
    pub(super) total: &'a AtomicU64,
    pub(super) over: &'a AtomicBool,
}

/// Ends the watching thread when the run leaves, by whatever way.
pub(super) struct StopOnDrop<'a> {
    pub(super) over: &'a AtomicBool,
    pub(super) thread: &'a Thread,
}

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

impl View<'_> {
    /// Shows progress until the run is over.
    pub(super) fn show(&self, how: Show) {
        let terminal = std::io::stderr().is_terminal();
        match how {
            Show::None => {}
            Show::Bar => self.bar(),
            Show::Auto if terminal => self.bar(),
            Show::Auto | Show::Lines => self.lines(),
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    fn bar(&self) {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let template = "{prefix} [{elapsed}] {wide_bar} {pos}/{len} {per_sec} ETA {eta} {msg}";
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.set_prefix(self.job);
        *BAR.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.clone());
        while !self.is_over() {
            let progress = self.pool.progress();
            let total = self.total.load(Ordering::Relaxed);
            if total > 0 {
                bar.set_length(total);
            }
            bar.set_position(progress.done + progress.failed);
            bar.set_message(format!(
                "{} failed, {}/{} workers busy",
                progress.failed,
                progress.busy,
                self.pool.num_workers()
            ));
            thread::park_timeout(REDRAW);
        }
        *BAR.lock().unwrap_or_else(PoisonError::into_inner) = None;
        bar.finish_and_clear();
    }

    fn lines(&self) {
        let began = Instant::now();
        let mut next = FIRST_LINE;
        while !self.is_over() {
            thread::park_timeout(next.saturating_sub(began.elapsed()));
            if began.elapsed() >= next {
                next += LINE;
                say(&self.line(began.elapsed()));
            }
        }
    }

    fn line(&self, elapsed: Duration) -> String {
        let progress = self.pool.progress();
        let ended = progress.done + progress.failed;
        let total = self.total.load(Ordering::Relaxed);
        let rate = ended as f64 / elapsed.as_secs_f64().max(1e-9);
        let (of, eta) = if total == 0 {
            (String::new(), String::new())
        } else {
            let left = total.saturating_sub(ended) as f64 / rate.max(1e-9);
            let eta = if ended == 0 { ", ETA unknown".into() } else { format!(", ETA {left:.0} s") };
            (format!("/{total}"), eta)
        };
        format!(
            "{}: {ended}{of} tasks, {} failed, {rate:.1} tasks/s, {}/{} workers busy{eta}",
            self.job,
            progress.failed,
            progress.busy,
            self.pool.num_workers(),
        )
    }
}

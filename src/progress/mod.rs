//! Progress on standard error, of a run of the command line or of a call of a program: a bar on a terminal, lines in a log.

#[cfg_attr(not(feature = "cli"), path = "no_bar.rs")]
mod bar;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

#[cfg(feature = "cli")]
pub(crate) use bar::print;

use crate::say::say;

/// Before the first line.
const FIRST_LINE: Duration = Duration::from_secs(1);
/// Between two lines, at least.
const LINE: Duration = Duration::from_secs(5);
/// Between two lines, as a part of the time that has passed: a day has about 160 of them.
const LINE_PART: u32 = 20;

/// So many of them, as in `1 worker` and `2 children`.
pub(crate) fn count(count: u64, [one, several]: [&str; 2]) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

pub(crate) const WORKERS: [&str; 2] = ["worker", "workers"];
pub(crate) const TASKS: [&str; 2] = ["task", "tasks"];
pub(crate) const CHILDREN: [&str; 2] = ["child", "children"];

/// Those that were lost, as in `1 worker and 2 children`; `None` when nobody was.
pub(crate) fn lost_ones(workers: u64, children: u64) -> Option<String> {
    let some = [(workers, WORKERS), (children, CHILDREN)].into_iter().filter(|(lost, _)| *lost > 0);
    let told: Vec<String> = some.map(|(lost, names)| count(lost, names)).collect();
    (!told.is_empty()).then(|| told.join(" and "))
}

/// A time span as people say it.
pub(crate) fn span(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    let (minutes, hours, days) = (whole / 60, whole / 3600, whole / 86_400);
    match () {
        () if days > 0 => format!("{days} d {} h", hours % 24),
        () if hours > 0 => format!("{hours} h {} min", minutes % 60),
        () if minutes > 0 => format!("{minutes} min {} s", whole % 60),
        () if seconds >= 9.95 => format!("{whole} s"),
        () => format!("{:.1} s", seconds.max(0.0)),
    }
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A bar that redraws itself.
    Bar,
    /// Lines, ever rarer.
    Lines,
}

impl Form {
    /// A bar on a terminal, lines elsewhere.
    pub(crate) fn that_fits() -> Form {
        if bar::has_screen() { Form::Bar } else { Form::Lines }
    }
}

/// How far something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) done: u64,
    pub(crate) failed: u64,
    /// All tasks; 0 while that is not known.
    pub(crate) total: u64,
    /// Workers: those that have a chunk, all, and those that were lost.
    pub(crate) busy: usize,
    pub(crate) workers: usize,
    pub(crate) lost: usize,
    /// Children of leaders that were lost.
    pub(crate) children_lost: usize,
}

impl Standing {
    /// How the workers are.
    fn workers_in_words(&self) -> String {
        let lost = lost_ones(self.lost as u64, self.children_lost as u64);
        let lost = lost.map_or(String::new(), |lost| format!(", {lost} lost"));
        format!("{}/{} workers busy{lost}", self.busy, self.workers)
    }

    /// The line after this time.
    fn line(&self, name: &str, elapsed: Duration) -> String {
        let ended = self.done + self.failed;
        let rate = ended as f64 / elapsed.as_secs_f64().max(1e-9);
        let (of, eta) = if self.total == 0 {
            (String::new(), String::new())
        } else {
            let left = self.total.saturating_sub(ended) as f64 / rate.max(1e-9);
            let eta = if ended == 0 { ", ETA unknown".into() } else { format!(", ETA {}", span(left)) };
            (format!("/{}", self.total), eta)
        };
        let workers = self.workers_in_words();
        format!("{name}: {ended}{of} tasks, {} failed, {rate:.1} tasks/s, {workers}{eta}", self.failed)
    }
}

/// What is viewed.
struct View {
    name: String,
    standing: Box<dyn Fn() -> Standing + Send>,
    over: Arc<AtomicBool>,
}

impl View {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    fn show(&self, form: Form) {
        if form == Form::Lines || !bar::show(self) {
            self.lines();
        }
    }

    fn lines(&self) {
        let began = Instant::now();
        let mut next = FIRST_LINE;
        while !self.is_over() {
            thread::park_timeout(next.saturating_sub(began.elapsed()));
            if began.elapsed() >= next && !self.is_over() {
                next = after_line(began.elapsed());
                say(&(self.standing)().line(&self.name, began.elapsed()));
            }
        }
    }
}

/// When the next line is due.
fn after_line(elapsed: Duration) -> Duration {
    elapsed + LINE.max(elapsed / LINE_PART)
}

/// Progress that is shown, on a thread of its own, until this is dropped.
pub(crate) struct Shown {
    over: Arc<AtomicBool>,
    /// None could be started: then nothing is shown.
    thread: Option<thread::JoinHandle<()>>,
}

impl Shown {
    /// Shows what `standing` tells of something that has this name.
    pub(crate) fn start(
        name: impl Into<String>,
        form: Form,
        standing: impl Fn() -> Standing + Send + 'static,
    ) -> Shown {
        let over = Arc::new(AtomicBool::new(false));
        let view = View { name: name.into(), standing: Box::new(standing), over: over.clone() };
        let thread = thread::Builder::new().name("rankpool-progress".into());
        Shown { over, thread: thread.spawn(move || view.show(form)).ok() }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_some_hundred_lines_and_a_minute_a_dozen() {
        let lines = |until: u64| {
            let mut at = FIRST_LINE;
            let mut lines = 0;
            while at < Duration::from_secs(until) {
                (at, lines) = (after_line(at), lines + 1);
            }
            lines
        };
        assert_eq!(lines(60), 12);
        assert!((100..200).contains(&lines(24 * 60 * 60)), "{}", lines(24 * 60 * 60));
    }

    #[test]
    fn a_line_tells_how_far_it_is_and_what_is_left() {
        let standing =
            Standing { done: 9, failed: 1, total: 40, busy: 2, workers: 3, lost: 1, children_lost: 0 };
        assert_eq!(
            standing.line("pi", Duration::from_secs(5)),
            "pi: 10/40 tasks, 1 failed, 2.0 tasks/s, 2/3 workers busy, 1 worker lost, ETA 15 s"
        );
    }
}

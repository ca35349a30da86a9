//! Progress on standard error: a bar on a terminal, lines in a log file.

use std::{
    io::{self, IsTerminal},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

use super::settings::Show;
use crate::{
    executor::{Executor, Progress},
    say::{put, say},
    sync::lock,
};

/// Columns of a terminal that does not tell.
const COLUMNS: u16 = 80;
/// Frames of the bar in a second, at most.
const FRAMES: u8 = 20;
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
    match &*lock(&BAR) {
        Some(bar) => bar.suspend(|| say(line)),
        None => say(line),
    }
}

/// So many of them, as in `1 worker` and `2 children`.
pub(super) fn count(count: u64, [one, several]: [&str; 2]) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

pub(super) const WORKERS: [&str; 2] = ["worker", "workers"];
pub(super) const CHILDREN: [&str; 2] = ["child", "children"];

/// Those that were lost, as in `1 worker and 2 children`; `None` when nobody was.
pub(super) fn lost_ones(workers: u64, children: u64) -> Option<String> {
    let some = [(workers, WORKERS), (children, CHILDREN)].into_iter().filter(|(lost, _)| *lost > 0);
    let told: Vec<String> = some.map(|(lost, names)| count(lost, names)).collect();
    (!told.is_empty()).then(|| told.join(" and "))
}

/// Standard error is a terminal whose cursor can be moved.
fn has_screen() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    io::stderr().is_terminal() && !dumb
}

/// The terminal as the bar sees it: what it draws goes the way of all that is written for people, so that a terminal
/// that stands still holds nothing up.
#[derive(Debug, Default)]
struct Screen(Mutex<String>);

impl Screen {
    fn add(&self, text: &str) -> io::Result<()> {
        lock(&self.0).push_str(text);
        Ok(())
    }

    /// Moves the cursor; the letter says where to.
    fn go(&self, steps: usize, letter: char) -> io::Result<()> {
        if steps > 0 { self.add(&format!("\u{1b}[{steps}{letter}")) } else { Ok(()) }
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        let size = rustix::termios::tcgetwinsize(rustix::stdio::stderr());
        size.ok().map(|size| size.ws_col).filter(|columns| *columns > 0).unwrap_or(COLUMNS)
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.go(n, 'A')
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.go(n, 'B')
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.go(n, 'C')
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.go(n, 'D')
    }

    fn write_line(&self, line: &str) -> io::Result<()> {
        self.add(line)?;
        self.add("\n")
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.add(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.add("\r\u{1b}[2K")
    }

    fn flush(&self) -> io::Result<()> {
        let text = std::mem::take(&mut *lock(&self.0));
        if !text.is_empty() {
            put(text.into_bytes());
        }
        Ok(())
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
        match how {
            Show::None => {}
            Show::Bar => self.bar(),
            Show::Auto if has_screen() => self.bar(),
            Show::Auto | Show::Lines => self.lines(),
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    fn bar(&self) {
        let bar = ProgressBar::with_draw_target(
            None,
            // Without a terminal there is nothing to redraw.
            if has_screen() {
                ProgressDrawTarget::term_like_with_hz(Box::new(Screen::default()), FRAMES)
            } else {
                ProgressDrawTarget::hidden()
            },
        );
        let template = "{prefix} [{elapsed}] {wide_bar} {pos}/{len} {per_sec} ETA {eta} {msg}";
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.set_prefix(self.job);
        *lock(&BAR) = Some(bar.clone());
        while !self.is_over() {
            let progress = self.pool.progress();
            let total = self.total.load(Ordering::Relaxed);
            if total > 0 {
                bar.set_length(total);
            }
            bar.set_position(progress.done + progress.failed);
            bar.set_message(format!("{} failed, {}", progress.failed, self.workers(&progress)));
            thread::park_timeout(REDRAW);
        }
        *lock(&BAR) = None;
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
            "{}: {ended}{of} tasks, {} failed, {rate:.1} tasks/s, {}{eta}",
            self.job,
            progress.failed,
            self.workers(&progress),
        )
    }

    /// How the workers are.
    fn workers(&self, progress: &Progress) -> String {
        let lost = lost_ones(progress.lost as u64, progress.children_lost as u64);
        let lost = lost.map_or(String::new(), |lost| format!(", {lost} lost"));
        format!("{}/{} workers busy{lost}", progress.busy, self.pool.num_workers())
    }
}

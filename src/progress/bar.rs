//! A bar on a terminal, that redraws itself.

use std::{
    io::{self, IsTerminal},
    sync::Mutex,
    thread,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

use super::View;
use crate::{
    say::{put, say},
    sync::lock,
};

/// Columns of a terminal that does not tell.
const COLUMNS: u16 = 80;
/// Frames of the bar in a second, at most.
const FRAMES: u8 = 20;
/// Between two redraws of the bar.
const REDRAW: Duration = Duration::from_millis(100);

/// The bar that is on the terminal, so that messages do not tear it.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Prints a line to standard error, above the bar if there is one.
pub(crate) fn print(line: &str) {
    match &*lock(&BAR) {
        Some(bar) => bar.suspend(|| say(line)),
        None => say(line),
    }
}

/// Standard error is a terminal whose cursor can be moved.
pub(super) fn has_screen() -> bool {
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

/// Shows a bar until what is viewed is over; false when there is one already, and a terminal has room for one.
pub(super) fn show(view: &View) -> bool {
    let target = match has_screen() {
        true => ProgressDrawTarget::term_like_with_hz(Box::new(Screen::default()), FRAMES),
        // Without a terminal there is nothing to redraw.
        false => ProgressDrawTarget::hidden(),
    };
    let bar = ProgressBar::with_draw_target(None, target);
    {
        let mut there = lock(&BAR);
        if there.is_some() {
            return false;
        }
        *there = Some(bar.clone());
    }
    let template = "{prefix} [{elapsed}] {wide_bar} {pos}/{len} {per_sec} ETA {eta} {msg}";
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_prefix(view.name.clone());
    while !view.is_over() {
        let standing = (view.standing)();
        if standing.total > 0 {
            bar.set_length(standing.total);
        }
        bar.set_position(standing.done + standing.failed);
        bar.set_message(format!("{} failed, {}", standing.failed, standing.workers_in_words()));
        thread::park_timeout(REDRAW);
    }
    *lock(&BAR) = None;
    bar.finish_and_clear();
    true
}

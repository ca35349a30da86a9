//! A run on the whole screen of a terminal.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ratatui::{
    Frame,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::Line,
    widgets::{Block, Clear, Gauge, Paragraph, Row, Table},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};
use signal_hook::consts::{SIGHUP, SIGTERM};

use super::{
    Watched,
    state::{Standing, State},
    words,
};
use crate::{
    error::{Error, ErrorKind},
    launch,
    say::shown,
    store::now,
};

/// Between two looks at the files of the run.
const LOOK: Duration = Duration::from_secs(1);
/// Between two drawings, when no key is pressed.
const DRAW: Duration = Duration::from_millis(500);
/// Lines of losses and of failures, with their frame.
const LIST_LINES: u16 = 6;

const KEYS: &str = " q quit   up, down, page up, page down: workers   ? help ";
const HELP: [&str; 12] = [
    "q, ctrl-C     leave; the run does not notice",
    "up, down      scroll the workers by one",
    "page up/down  scroll the workers by a screen",
    "home, end     the first and the last workers",
    "?             this help, and away with it",
    "",
    "runs   tasks that a worker runs at a time,",
    "       or the children of a leader",
    "busy   part of the time that it was in tasks",
    "at     what it has been sent, if that takes",
    "       longer than a second; else what it",
    "       gave back last",
];

/// What the keys have chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Look {
    /// The first worker that is seen.
    pub(super) first: usize,
    /// Workers that fit, as last drawn.
    pub(super) page: usize,
    pub(super) help: bool,
}

impl Look {
    /// What a key does; false when it ends the watch.
    pub(super) fn press(&mut self, key: KeyEvent, workers: usize) -> bool {
        let last = workers.saturating_sub(self.page);
        let page = self.page.max(1);
        match key.code {
            KeyCode::Char('q') => return false,
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return false,
            KeyCode::Char('?') => self.help = !self.help,
            KeyCode::Esc => self.help = false,
            KeyCode::Up => self.first = self.first.saturating_sub(1),
            KeyCode::Down => self.first += 1,
            KeyCode::PageUp => self.first = self.first.saturating_sub(page),
            KeyCode::PageDown => self.first += page,
            KeyCode::Home => self.first = 0,
            KeyCode::End => self.first = last,
            _ => {}
        }
        self.first = self.first.min(last);
        true
    }
}

/// Shows the run until the user has seen enough.
///
/// # Errors
/// When its files cannot be read any more, or the terminal cannot be used.
pub(super) fn show(watched: &mut Watched) -> Result<(), Error> {
    let broken =
        |error: io::Error| Error::new(ErrorKind::Storage, format!("the terminal cannot be used: {error}"));
    // The terminal is to be as it was, however the watch is ended.
    let told_to_end = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, told_to_end.clone()).map_err(broken)?;
    }
    end_with_terminal().map_err(broken)?;
    let mut terminal = ratatui::try_init().map_err(broken)?;
    let mut look = Look::default();
    let mut looked = Instant::now();
    let ended = loop {
        if told_to_end.load(Ordering::Relaxed) {
            break Ok(());
        }
        let drawn = terminal.draw(|frame| draw(frame, &watched.state, watched.state.now(now()), &mut look));
        if let Err(error) = drawn {
            break Err(broken(error));
        }
        match pressed() {
            Ok(Some(key)) if !look.press(key, watched.state.workers.len()) => break Ok(()),
            Ok(_) => {}
            Err(error) => break Err(broken(error)),
        }
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            if let Err(error) = watched.look() {
                break Err(error);
            }
        }
    };
    ratatui::restore();
    ended
}

/// Has the watch end when its terminal is gone. To wait for a key there would never return.
fn end_with_terminal() -> io::Result<()> {
    let wait = || {
        let terminal = io::stdin();
        // Nothing is asked for: what is told is a hang-up, or an error.
        let mut asked = [PollFd::new(&terminal, PollFlags::empty())];
        let hung_up = loop {
            match poll(&mut asked, None) {
                Err(Errno::INTR) => {}
                polled => break polled.is_ok(),
            }
        };
        if hung_up {
            launch::exit_now(launch::EXIT_DONE);
        }
    };
    thread::Builder::new().name("rankpool-terminal".into()).spawn(wait).map(drop)
}

/// A key that is pressed before it is time to draw again.
fn pressed() -> io::Result<Option<KeyEvent>> {
    if !event::poll(DRAW)? {
        return Ok(None);
    }
    Ok(match event::read()? {
        Event::Key(key) if key.kind != KeyEventKind::Release => Some(key),
        _ => None,
    })
}

/// Draws all that is known at this time, in seconds since the run began.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State, now: f64, look: &mut Look) {
    let list = |count: usize| if count == 0 { 0 } else { (count as u16 + 2).min(LIST_LINES) };
    let [losses, failures] = [list(state.losses.len()), list(state.failures.len())];
    let heights = [
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(2),
        Constraint::Min(3),
        Constraint::Length(losses),
        Constraint::Length(failures),
        Constraint::Length(1),
    ];
    let [heading, gauge, facts, workers, losses, failures, keys] =
        Layout::vertical(heights).areas(frame.area());
    let progress = state.progress(now);
    let bold = Style::default().add_modifier(Modifier::BOLD);
    frame.render_widget(Line::styled(line(&words::heading(state, now)), bold), heading);
    let color = match (&state.standing, progress.failed) {
        (Standing::Stopped, _) if !state.is_complete() => Color::Yellow,
        (_, 0) => Color::Green,
        _ => Color::Red,
    };
    let bar = Gauge::default()
        .ratio(progress.part.unwrap_or(0.0).clamp(0.0, 1.0))
        .label(words::progress(state, &progress))
        .gauge_style(Style::default().fg(color));
    frame.render_widget(bar, gauge);
    let told = [words::rate(state, &progress), words::workers(state)];
    frame.render_widget(Paragraph::new(told.map(Line::from).to_vec()), facts);
    draw_workers(frame, workers, state, now, look);
    draw_list(frame, losses, " last losses ", state.losses.iter().rev().map(words::loss));
    draw_list(frame, failures, " last failures ", state.failures.iter().rev().map(words::failure));
    frame.render_widget(Line::styled(KEYS, Style::default().add_modifier(Modifier::REVERSED)), keys);
    if look.help {
        draw_help(frame);
    }
}

fn draw_workers(frame: &mut Frame<'_>, area: Rect, state: &State, now: f64, look: &mut Look) {
    // The frame, and the heads of the columns.
    look.page = usize::from(area.height.saturating_sub(3));
    let all = state.workers.len();
    look.first = look.first.min(all.saturating_sub(look.page));
    let running = state.standing == Standing::Running;
    let seen = state.workers.iter().skip(look.first).take(look.page);
    let rows: Vec<Row<'_>> = seen
        .map(|(rank, worker)| {
            let style = if worker.lost { Style::default().fg(Color::Red) } else { Style::default() };
            Row::new(words::row(*rank, worker, running, now).map(|cell| line(&cell))).style(style)
        })
        .collect();
    let title = match rows.len() {
        shown if shown < all => format!(" workers {} to {} of {all} ", look.first + 1, look.first + shown),
        _ => " workers ".into(),
    };
    let widths = [6, 12, 8, 11, 9, 5].map(Constraint::Length).into_iter().chain([Constraint::Min(20)]);
    let heads = Row::new(words::COLUMNS).style(Style::default().add_modifier(Modifier::BOLD));
    frame.render_widget(Table::new(rows, widths).header(heads).block(Block::bordered().title(title)), area);
}

fn draw_list(frame: &mut Frame<'_>, area: Rect, title: &str, lines: impl Iterator<Item = String>) {
    if area.height > 2 {
        let seen = lines.take(usize::from(area.height - 2));
        let lines: Vec<Line<'_>> = seen.map(|text| Line::from(line(&text))).collect();
        frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(title)), area);
    }
}

fn draw_help(frame: &mut Frame<'_>) {
    let area = frame.area();
    let (width, height) = (52.min(area.width), (HELP.len() as u16 + 2).min(area.height));
    let place = Rect { x: (area.width - width) / 2, y: (area.height - height) / 2, width, height };
    frame.render_widget(Clear, place);
    let lines: Vec<Line<'_>> = HELP.into_iter().map(Line::from).collect();
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" help ")), place);
}

/// A text of the run's in one line, with its control characters made visible.
fn line(text: &str) -> String {
    shown(text).replace(['\n', '\t'], " ")
}

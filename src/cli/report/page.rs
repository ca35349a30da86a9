//! The page: a template, a style sheet and a script, which are files beside this one, with the figures in them.

use minijinja::{Environment, UndefinedBehavior, Value, context};
use serde_json::json;

use super::{
    drawing::{self, Budget, Drawing, Grid, SHADES},
    figures::Figures,
    lanes::{Lane, State},
    marks::{MARKS, Mark, What},
};
use crate::error::{Error, ErrorKind};

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// A page stays below 1 MB with it, whatever the run.
const BUDGET: Budget = Budget { bars: 12_000, rows: 512, cells: 360_000, columns: 1 << 16 };
/// Marks that are told in words.
const MARKS_TOLD: usize = 20;
/// Characters of the name of a row, and of a mark.
const NAME_CHARS: usize = 80;
const MARK_CHARS: usize = 160;
/// Steps of time in the wall time.
const TICKS: f64 = 1e7;
/// One sign for each number below 64.
const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";

/// The page of these figures.
///
/// # Errors
/// When the template is broken, which the tests rule out.
pub(super) fn render(figures: &Figures) -> Result<String, Error> {
    fill(figures)
        .map_err(|error| Error::new(ErrorKind::Internal, format!("the template of the page: {error:#}")))
}

fn fill(figures: &Figures) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.add_template("page.html", TEMPLATE)?;
    let subject = &figures.subject;
    let lost = lost(figures);
    let whole: f64 = figures.account.parts().iter().map(|part| part.2).sum();
    let share = |seconds: f64| if whole > 0.0 { 100.0 * seconds / whole } else { 0.0 };
    let parts: Vec<Value> = figures
        .account
        .parts()
        .into_iter()
        .map(|(name, meaning, time)| {
            let class = name.replace(' ', "-");
            context! { name, meaning, class, seconds => seconds(time), share => format!("{:.1}", share(time)) }
        })
        .collect();
    let slowest: Vec<Value> = figures
        .slowest
        .iter()
        .map(|slow| context! { task => slow.task, seconds => seconds(slow.seconds), place => slow.place, input => slow.input })
        .collect();
    let failures: Vec<Value> = figures
        .failures
        .iter()
        .map(|group| {
            let tasks: Vec<String> = group.tasks.iter().map(u64::to_string).collect();
            let more = if group.attempts > group.tasks.len() { ", ..." } else { "" };
            context! { kind => group.kind, message => group.message, attempts => group.attempts, tasks => tasks.join(", ") + more }
        })
        .collect();
    environment.get_template("page.html")?.render(context! {
        style => Value::from_safe_string(STYLE.into()),
        script => Value::from_safe_string(SCRIPT.into()),
        data => Value::from_safe_string(inside_script(&data(figures).to_string())),
        subject => context! { file => subject.file, job => subject.job, standing => subject.standing },
        verdict => verdict(figures),
        ended_well => subject.failed == 0 && subject.not_run == 0,
        cards => cards(figures, &lost),
        timeline_text => timeline_text(figures, &lost),
        curves_text => curves_text(figures),
        histogram => histogram(figures),
        states => State::ALL.map(State::name),
        marks => subject.marks.iter().take(MARKS_TOLD).map(|mark| (seconds(mark.at), cut(&mark.text, MARK_CHARS))).collect::<Vec<_>>(),
        other_marks => subject.marks.len().saturating_sub(MARKS_TOLD),
        parts,
        slowest,
        with_inputs => figures.slowest.iter().any(|slow| slow.input.is_some()),
        failures,
        other_failures => figures.other_failures,
        provenance => subject.provenance.iter().map(|(name, value)| (name.replace('_', " "), value)).collect::<Vec<_>>(),
        command => subject.command_line,
        unknown => subject.unknown.join("; "),
        version => env!("CARGO_PKG_VERSION"),
    })
}

/// Text that the script element keeps to itself.
fn inside_script(json: &str) -> String {
    json.replace('<', "\\u003c")
}

fn verdict(figures: &Figures) -> String {
    let subject = &figures.subject;
    let all = subject.tasks.map_or("an unknown number of".into(), |tasks| count(tasks as f64));
    let mut text = format!("{} of {all} tasks done", count(subject.done as f64));
    for (number, what) in [(subject.failed, "failed"), (subject.not_run, "not run")] {
        if number > 0 {
            text += &format!(", {} {what}", count(number as f64));
        }
    }
    text
}

/// How many workers and children were lost.
fn lost(figures: &Figures) -> String {
    match (figures.subject.lost_workers, figures.subject.lost_children) {
        (0, 0) => "none".into(),
        (workers, 0) => plural(workers, "worker", "workers"),
        (0, children) => plural(children, "child", "children"),
        (workers, children) => {
            format!("{}, {}", plural(workers, "worker", "workers"), plural(children, "child", "children"))
        }
    }
}

fn plural(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number as f64), if number == 1 { one } else { many })
}

/// Names and values of the figures at the top.
fn cards(figures: &Figures, lost: &str) -> Vec<(&'static str, String)> {
    let subject = &figures.subject;
    let tasks: f64 = subject.chunks.iter().map(|(row, _)| row.count as f64).sum();
    let rate = if subject.wall > 0.0 { tasks / subject.wall } else { 0.0 };
    vec![
        ("wall time", seconds(subject.wall)),
        ("slots", count(figures.slots)),
        ("utilisation", format!("{:.1} %", 100.0 * figures.utilisation())),
        ("tasks/s", count(rate)),
        ("chunks", count(figures.chunks as f64)),
        ("failed attempts", count(subject.attempts.len() as f64)),
        ("lost", lost.into()),
    ]
}

fn timeline_text(figures: &Figures, lost: &str) -> String {
    format!(
        "{} in {} over {}; lost: {lost}.",
        plural(figures.chunks as u64, "chunk", "chunks"),
        plural(figures.lanes.len() as u64, "row", "rows"),
        seconds(figures.subject.wall),
    )
}

fn curves_text(figures: &Figures) -> String {
    let peak = figures.curves.rate.iter().copied().fold(0.0, f64::max);
    format!(
        "Utilisation, {:.0} % on average, and tasks per second, at most {}, over the run.",
        100.0 * figures.utilisation(),
        count(peak)
    )
}

/// The bars of the histogram, with places and heights in percent.
fn histogram(figures: &Figures) -> Option<Value> {
    let found = figures.distribution.as_ref()?;
    let most = found.tasks.iter().copied().fold(0.0, f64::max);
    let width = 100.0 / found.tasks.len() as f64;
    let bars: Vec<Value> = (0..found.tasks.len())
        .map(|k| {
            let number = found.tasks[k];
            // One task among a million is seen.
            let height = if number > 0.0 { (100.0 * number / most).max(0.8) } else { 0.0 };
            let label = format!(
                "{} to {}: {}",
                seconds(found.edges[k]),
                seconds(found.edges[k + 1]),
                plural(number.round() as u64, "task", "tasks")
            );
            context! { x => format!("{:.3}", k as f64 * width), y => format!("{:.2}", 100.0 - height),
            width => format!("{:.3}", width * 0.92), height => format!("{height:.2}"), label }
        })
        .collect();
    let last = found.edges.len() - 1;
    let text = format!(
        "Times of tasks from {} to {}; the most frequent, {}, take {} to {}.",
        seconds(found.edges[0]),
        seconds(found.edges[last]),
        plural(most.round() as u64, "task", "tasks"),
        seconds(found.edges[fullest(&found.tasks)]),
        seconds(found.edges[fullest(&found.tasks) + 1]),
    );
    let edges = [0, last / 2, last].map(|k| seconds(found.edges[k]));
    Some(context! { bars, text, edges, most => count(most) })
}

fn fullest(tasks: &[f64]) -> usize {
    (0..tasks.len()).max_by(|a, b| tasks[*a].total_cmp(&tasks[*b])).unwrap_or(0)
}

/// What the script draws.
fn data(figures: &Figures) -> serde_json::Value {
    let subject = &figures.subject;
    let mut data = json!({
        "wall": subject.wall,
        "slots": figures.slots,
        "states": State::ALL.map(State::name),
        "utilisation": figures.curves.utilisation.iter().map(|part| (part * 1000.0).round() as u64).collect::<Vec<_>>(),
        "rate": figures.curves.rate.iter().map(|rate| rounded(*rate)).collect::<Vec<_>>(),
        "points": figures.curves.rate.len(),
        "marks": subject.marks.iter().take(MARKS).map(mark).collect::<Vec<_>>(),
    });
    match drawing::of(&figures.lanes, subject.wall, BUDGET) {
        Drawing::Bars => {
            data["names"] = figures.lanes.iter().map(|lane| cut(&lane.name, NAME_CHARS)).collect();
            data["tick"] = (subject.wall / TICKS).into();
            data["bars"] = figures.lanes.iter().map(|lane| bars(lane, subject.wall)).collect();
        }
        Drawing::Grid(grid) => {
            data["names"] = figures
                .lanes
                .chunks(grid.lanes_in_row)
                .map(|lanes| match lanes {
                    [lane] => cut(&lane.name, NAME_CHARS),
                    [first, .., last] => {
                        format!("{} to {}", cut(&first.name, NAME_CHARS), cut(&last.name, NAME_CHARS))
                    }
                    [] => String::new(),
                })
                .collect();
            data["lanes_in_row"] = grid.lanes_in_row.into();
            data["columns"] = grid.columns.into();
            data["shades"] = SHADES.into();
            data["cells"] = signs(&grid).into();
        }
    }
    data
}

fn mark(mark: &Mark) -> serde_json::Value {
    let what = match mark.what {
        What::Began => "began",
        What::Drained => "drained",
        What::Lost { .. } => "lost",
        What::Joined => "joined",
    };
    json!([mark.at, what, cut(&mark.text, MARK_CHARS)])
}

/// The chunks of a row, five numbers each: ticks since the end of the one before, ticks that it took, its state, its first
/// task, how many tasks.
fn bars(lane: &Lane, wall: f64) -> serde_json::Value {
    let tick = |at: f64| if wall > 0.0 { (at / wall * TICKS).round() as i64 } else { 0 };
    let mut free_from = 0;
    let mut numbers: Vec<i64> = Vec::with_capacity(lane.bars.len() * 5);
    for bar in &lane.bars {
        let (started, ended) = (tick(bar.started), tick(bar.ended));
        let state = bar.state as i64;
        numbers.extend([started - free_from, ended - started, state, bar.first as i64, bar.count as i64]);
        free_from = ended;
    }
    numbers.into()
}

fn signs(grid: &Grid) -> String {
    grid.cells.iter().map(|cell| char::from(SIGNS[usize::from(cell & 63)])).collect()
}

fn cut(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}

/// Four digits are enough to draw.
fn rounded(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

/// A number of things, with its thousands apart; three digits at least of one that is no whole number.
pub(super) fn count(number: f64) -> String {
    if number.fract() != 0.0 && number < 100.0 {
        return if number < 1.0 { format!("{number:.3}") } else { format!("{number:.1}") };
    }
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (k, digit) in digits.chars().enumerate() {
        if k > 0 && (digits.len() - k).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time for people.
pub(super) fn seconds(time: f64) -> String {
    match time {
        time if time <= 0.0 => "0 s".into(),
        time if time < 1e-3 => format!("{} us", digits(time * 1e6)),
        time if time < 1.0 => format!("{} ms", digits(time * 1e3)),
        time if time < 120.0 => format!("{} s", digits(time)),
        time => {
            let whole = time.round() as u64;
            let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
            if hours > 0 {
                format!("{hours} h {minutes:02} min")
            } else {
                format!("{minutes} min {seconds:02} s")
            }
        }
    }
}

/// Three digits of a number below a thousand.
fn digits(number: f64) -> String {
    let places = if number < 10.0 { 2 } else { usize::from(number < 100.0) };
    format!("{number:.places$}")
}

//! A run as text: what `--once` prints.

use std::fmt::Write;

use super::{
    state::{Standing, State},
    words,
};

/// Losses and failures that are told, the last ones.
const TOLD: usize = 10;

/// All that is known at this time, in seconds since the run began.
pub(super) fn of(state: &State, now: f64) -> String {
    let progress = state.progress(now);
    let mut out = format!("{}\n", words::heading(state, now));
    let facts = [
        ("tasks", words::progress(state, &progress)),
        ("rate", words::rate(state, &progress)),
        ("workers", words::workers(state)),
    ];
    for (name, words) in facts {
        let _ = writeln!(out, "  {name:9} {words}");
    }
    let running = state.standing == Standing::Running;
    let rows = state.workers.iter().map(|(rank, worker)| words::row(*rank, worker, running, now));
    let rows: Vec<[String; 7]> = rows.collect();
    if !rows.is_empty() {
        table(&rows, &mut out);
    }
    let losses: Vec<String> = state.losses.iter().map(words::loss).collect();
    let failures: Vec<String> = state.failures.iter().map(words::failure).collect();
    for (name, lines) in [("last losses", losses), ("last failures", failures)] {
        if !lines.is_empty() {
            let _ = writeln!(out, "{name}");
        }
        lines.iter().rev().take(TOLD).for_each(|line| out += &format!("  {line}\n"));
    }
    out
}

fn table(rows: &[[String; 7]], out: &mut String) {
    let heads = words::COLUMNS.map(ToString::to_string);
    let width = |column: usize| {
        let all = rows.iter().chain([&heads]).map(|row| row[column].chars().count());
        all.max().unwrap_or(0)
    };
    let widths: [usize; 7] = std::array::from_fn(width);
    for row in [&heads].into_iter().chain(rows) {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        let _ = writeln!(out, "  {}", cells.join("  ").trim_end());
    }
}

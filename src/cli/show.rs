//! `rankpool show FILE`

use std::process::ExitCode;

use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde_json::{Map, Value, json};

use super::{
    examples, out,
    show_journal::{self, file_or_journal},
    variables::unreadable,
};
use crate::{
    error::{Error, ErrorKind},
    paths::Named,
    progress::{TASKS, count},
    store::{
        TraceRow,
        events::{EventKind, EventRow},
        file::{Reader, Row},
        schema,
    },
};

/// Failures and chunks that are shown.
pub(super) const SHOWN: usize = 5;
/// A value is cut to so many characters where it is shown to people.
const CHARS: usize = 1000;

#[derive(Args, Clone, Debug)]
struct Flags {
    /// A result file, or a journal
    file: Named,
    /// How many rows to show
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = super::count::<usize>)]
    rows: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn command() -> Command {
    Flags::augment_args(Command::new("show"))
        .about("Show a result file: what ran, how it ended, its rows, failures and slowest chunks; or what a journal holds")
        .long_about(None)
        .after_help(examples::of(&["PROGRAM show out.h5", "PROGRAM show out.h5 --rows 20 --json"]))
}

pub(super) fn execute(matches: &ArgMatches) -> Result<ExitCode, Error> {
    let mut flags = Flags::from_arg_matches(matches).map_err(unreadable)?;
    flags.file = file_or_journal(&flags.file)?;
    let (shown, tell): (Value, fn(&Value) -> String) = match show_journal::examine(&flags.file)? {
        Some(shown) => (shown, show_journal::tell),
        None => (examine(&flags)?, tell),
    };
    if flags.json {
        out::print(format!("{shown}\n").as_bytes())?
    } else {
        out::tell(&tell(&shown))?
    }
    Ok(ExitCode::SUCCESS)
}

/// Everything that is shown.
fn examine(flags: &Flags) -> Result<Value, Error> {
    let reader = Reader::open(&flags.file)?;
    let report: Value = serde_json::from_str(&reader.text("report")).unwrap_or_default();
    let malformed = |task: usize| {
        let text = format!("{}: the row of task {task} does not fit its type", flags.file);
        Error::new(ErrorKind::Storage, text)
    };
    let mut rows = Vec::new();
    let mut inputs = reader.input_rows()?;
    for (task, row) in reader.rows()?.take(flags.rows).enumerate() {
        let Row { status, given, bytes } = row?;
        let json = |schema, bytes: &[u8]| schema::json(schema, &mut { bytes }).map_err(|_| malformed(task));
        let value = if given { json(&reader.schema, &bytes)? } else { Value::Null };
        let mut shown = json!({"task": task, "status": status.name(), "value": value});
        if let Some(schema) = &reader.inputs
            && let Some(input) = inputs.next()
        {
            shown["input"] = json(schema, &input?)?;
        }
        rows.push(shown);
    }
    let errors = reader.errors()?;
    let mut trace = reader.trace()?;
    let events = reader.events()?;
    // Files of earlier versions do not tell, and have one session.
    let mut rows_of_events = events.iter().flat_map(|events| &events.rows);
    let session = rows_of_events.rfind(|row| row.kind == EventKind::RunStarted);
    let began = session.map_or(0.0, |row| row.t);
    let (earlier, of_this): (Vec<_>, Vec<_>) =
        trace.iter().map(|(row, _)| row).partition(|row| row.started < began);
    let busy = |rows: &[&TraceRow]| rows.iter().map(|row| row.ended - row.started).sum::<f64>();
    let (busy_here, busy_earlier) = (busy(&of_this), busy(&earlier));
    let (chunks_here, chunks_earlier) = (of_this.len(), earlier.len());
    trace.sort_by(|(a, _), (b, _)| (b.ended - b.started).total_cmp(&(a.ended - a.started)));
    let slowest: Vec<Value> = trace
        .iter()
        .take(SHOWN)
        .map(|(row, host)| {
            json!({"start": row.start, "count": row.count, "rank": row.rank, "slot": row.slot, "pid": row.pid,
                "host": host, "seconds": row.ended - row.started, "slowest_task": row.slowest,
                "slowest_task_s": row.slowest_s})
        })
        .collect();
    let lost: Option<Vec<&EventRow>> =
        events.as_ref().map(|events| events.rows.iter().filter(|row| row.kind.is_loss()).collect());
    let losses: Vec<Value> = lost
        .iter()
        .flatten()
        .take(SHOWN)
        .map(|row| {
            json!({"t": row.t, "rank": row.rank, "slot": row.slot, "pid": row.pid, "host": row.host,
                "reason": row.reason})
        })
        .collect();
    let datasets: Vec<Value> =
        reader.shapes().iter().map(|(path, shape)| json!({"path": path, "shape": shape})).collect();
    let text = |name: &str| Value::from(reader.text(name));
    Ok(json!({
        "file": flags.file.to_string(),
        "run": text("run"),
        "job": text("job"),
        "parameters": serde_json::from_str::<Value>(&reader.text("parameters")).unwrap_or_default(),
        "seed": reader.whole("seed"),
        "rankpool_version": text("rankpool_version"),
        "build_id": text("build_id"),
        "mode": text("mode"),
        "ranks": reader.whole("ranks"),
        "workers": reader.whole("workers"),
        "children": reader.whole("children"),
        // Files of earlier versions do not tell.
        "slots": Some(reader.whole("slots")).filter(|slots| *slots > 0),
        "hosts": reader.texts("hosts"),
        "mpi_library": text("mpi_library"),
        "started": text("started"),
        "ended": text("ended"),
        "command_line": text("command_line"),
        "tasks": reader.tasks,
        "done": report["done"],
        "failed": report["failed"],
        "not_run": report["not_run"],
        "wall_s": reader.real("wall_s"),
        "busy_s": busy_here,
        "earlier_busy_s": busy_earlier,
        "utilisation": report["utilisation"],
        "results_digest": report["results_digest"],
        "summary": report["summary"],
        "datasets": datasets,
        "rows": rows,
        "failed_attempts": errors.len(),
        "failures": errors.into_iter().take(SHOWN).collect::<Vec<_>>(),
        // Files of earlier versions do not tell.
        "lost": lost.map(|lost| lost.len()),
        "losses": losses,
        "chunks": chunks_here,
        "earlier_chunks": chunks_earlier,
        "slowest_chunks": slowest,
    }))
}

/// A value as people read it.
fn text(value: &Value) -> String {
    short(value.as_str().map_or_else(|| value.to_string(), ToString::to_string))
}

/// A text that fits on a screen, and how to see more.
fn short(text: String) -> String {
    let Some((cut, _)) = text.char_indices().nth(CHARS) else { return text };
    format!("{} ... ({} characters in all; --json shows them)", &text[..cut], text.chars().count())
}

/// An attempt that failed, of a result file or of a journal.
pub(super) fn failure_line(failure: &Value) -> String {
    format!(
        "task {} attempt {} on rank {} ({}): {}: {}",
        failure["task"],
        failure["attempt"],
        failure["rank"],
        text(&failure["host"]),
        text(&failure["kind"]),
        text(&failure["message"]),
    )
}

/// The part of the parameters that says something: what is off, empty or not given is left to `--json`.
pub(super) fn said(parameters: &Value) -> Value {
    something(parameters).unwrap_or_else(|| Value::Object(Map::new()))
}

fn something(parameters: &Value) -> Option<Value> {
    match parameters {
        Value::Null | Value::Bool(false) => None,
        Value::String(text) if text.is_empty() => None,
        Value::Array(values) if values.is_empty() => None,
        Value::Object(values) => {
            let told = values.iter().filter_map(|(name, value)| Some((name.clone(), something(value)?)));
            let told: Map<_, _> = told.collect();
            (!told.is_empty()).then_some(Value::Object(told))
        }
        value => Some(value.clone()),
    }
}

fn tell(shown: &Value) -> String {
    let real = |value: &Value| value.as_f64().unwrap_or(0.0);
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let [job, done, failed, not_run] = ["job", "done", "failed", "not_run"].map(|name| text(&shown[name]));
    let tasks = count(shown["tasks"].as_u64().unwrap_or(0), TASKS);
    let mut out = format!("{job}: {tasks}: {done} ok, {failed} failed, {not_run} not run\n");
    out += &format!("  {:16} {}\n", "parameters", text(&said(&shown["parameters"])));
    for name in ["seed", "mode", "ranks", "workers", "children", "slots", "hosts", "mpi_library"] {
        out += &format!("  {name:16} {}\n", text(&shown[name]));
    }
    for name in
        ["started", "ended", "rankpool_version", "build_id", "command_line", "results_digest", "summary"]
    {
        out += &format!("  {name:16} {}\n", text(&shown[name]));
    }
    out += &format!(
        "  {:16} {:.3} s in {} chunks over {:.3} s, utilisation {:.0}%\n",
        "busy",
        real(&shown["busy_s"]),
        shown["chunks"],
        real(&shown["wall_s"]),
        100.0 * real(&shown["utilisation"]),
    );
    if shown["earlier_chunks"].as_u64() > Some(0) {
        out += &format!(
            "  {:16} {:.3} s in {} chunks, before the run was resumed\n",
            "busy earlier",
            real(&shown["earlier_busy_s"]),
            shown["earlier_chunks"],
        );
    }
    out += "datasets\n";
    for dataset in list(&shown["datasets"]) {
        out += &format!("  {:16} {}\n", text(&dataset["path"]), dataset["shape"]);
    }
    out += "rows\n";
    for row in list(&shown["rows"]) {
        let input = row.get("input").map(|input| short(input.to_string()) + " -> ").unwrap_or_default();
        let value = match (row["status"].as_str(), &row["value"]) {
            (Some("ok"), value) => short(value.to_string()),
            (_, Value::Null) => text(&row["status"]),
            // It failed, and gave a row all the same.
            (_, value) => format!("{}: {}", text(&row["status"]), short(value.to_string())),
        };
        out += &format!("  {:<16} {input}{value}\n", row["task"]);
    }
    if shown["failed_attempts"] != 0 {
        out += &format!("failed attempts: {}\n", shown["failed_attempts"]);
    }
    for failure in list(&shown["failures"]) {
        out += &format!("  {}\n", failure_line(&failure));
    }
    let losses = list(&shown["losses"]);
    if !losses.is_empty() {
        out += &format!("lost workers and children: {}\n", shown["lost"]);
    }
    for loss in losses {
        let slot = loss["slot"].as_u64().map_or(String::new(), |slot| format!("slot {slot} of "));
        out += &format!(
            "  {slot}rank {} ({}) after {:.3} s: {}\n",
            loss["rank"],
            text(&loss["host"]),
            real(&loss["t"]),
            text(&loss["reason"]),
        );
    }
    out += "slowest chunks\n";
    for chunk in list(&shown["slowest_chunks"]) {
        let slot = if shown["children"] == 0 { String::new() } else { format!(" slot {}", chunk["slot"]) };
        let [start, count] = [&chunk["start"], &chunk["count"]].map(|value| value.as_u64().unwrap_or(1));
        let tasks = match count {
            1 => format!("task {start}"),
            _ => format!("tasks {start} to {}", start + count - 1),
        };
        out += &format!(
            "  {tasks} on rank {}{slot} ({}): {:.6} s\n",
            chunk["rank"],
            text(&chunk["host"]),
            real(&chunk["seconds"]),
        );
    }
    out
}

//! `rankpool show FILE`, where the file is a journal.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{
    show::{SHOWN, failure_line, said},
    watch::words,
};
use crate::{
    error::Error,
    paths::Named,
    store::journal::{Overview, SUFFIX, Subject},
};

/// The file itself; where it is not there yet, its journal.
///
/// # Errors
/// When the file's folder cannot be found.
pub(super) fn file_or_journal(file: &Named) -> Result<Named, Error> {
    let beside = file.beside(SUFFIX);
    let its_own = file.site()?.exists || !beside.site()?.exists;
    Ok(if its_own { file.clone() } else { beside })
}

/// Refuses the journal of a run that has no result file yet, where `what` needs one.
///
/// # Errors
/// When the file is a journal, or is not there and its journal is.
pub(super) fn refuse_journal(file: &Named, what: &str) -> Result<(), Error> {
    let found = file_or_journal(file)?;
    // What else is amiss is told by who reads the file.
    let Ok(Some(overview)) = Overview::of(&found, 0) else { return Ok(()) };
    let way = match overview.identity.map(|identity| identity.subject) {
        Some(Subject::Map { .. }) => "the program whose map it is of has the results",
        _ => "`run` with the flags of its run and --resume makes one",
    };
    Err(Error::usage(format!(
        "{found}: is a journal, and {what} needs a result file: {way}; `show {found}` tells what the journal has"
    )))
}

/// What is shown of a journal; `None` for another file.
pub(super) fn examine(path: &Named) -> Result<Option<Value>, Error> {
    let Some(Overview { identity, session, done, failed, failures, damage, in_use }) =
        Overview::of(path, SHOWN)?
    else {
        return Ok(None);
    };
    let of = match identity.as_ref().map(|identity| &identity.subject) {
        Some(Subject::Job { job, parameters, .. }) => json!({"job": job, "parameters": parameters}),
        Some(Subject::Map { label, items, values }) => {
            json!({"map": label, "item_type": items, "value_type": values})
        }
        None => Value::Null,
    };
    let failures: Vec<Value> = failures
        .iter()
        .map(|attempt| {
            let failure = &attempt.failure;
            json!({"task": attempt.task, "attempt": failure.attempt(), "kind": failure.kind.to_string(),
                "rank": failure.place.as_ref().map(|place| place.rank),
                "host": failure.place.as_ref().map(|place| &place.host), "message": failure.message})
        })
        .collect();
    Ok(Some(json!({
        "journal": path.to_string(),
        "of": of,
        "seed": identity.as_ref().map(|identity| identity.seed),
        "tasks": identity.as_ref().and_then(|identity| identity.tasks),
        "rankpool_version": identity.as_ref().map(|identity| &identity.version),
        "done": done.len(),
        "done_tasks": done.to_string(),
        "failed": failed.len(),
        "failed_tasks": failed.to_string(),
        "in_use": in_use,
        "session": session.map(|session| {
            json!({"host": session.host, "pid": session.pid, "began": words::time_of_day(session.began)})
        }),
        "damaged_bytes": damage,
        "failures": failures,
    })))
}

/// The same, for people.
pub(super) fn tell(shown: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToString::to_string);
    let of = match &shown["of"] {
        Value::Null => "of what it is cannot be known: its first record is damaged".into(),
        of if of.get("job").is_some() => format!("a run of the job {}", text(&of["job"])),
        of => format!(
            "a map with the label {}, of items of type {} and values of type {}",
            of["map"].as_str().map_or_else(|| "(none)".into(), |label| format!("{label:?}")),
            text(&of["item_type"]),
            text(&of["value_type"])
        ),
    };
    let tasks = shown["tasks"].as_u64();
    let mut out = format!("{}: a journal: {of}\n", text(&shown["journal"]));
    let mut line = |name: &str, value: String| {
        let _ = writeln!(out, "  {name:16} {value}");
    };
    let counts = ["done", "failed"].map(|name| shown[name].as_u64().unwrap_or(0));
    let known = words::outcomes(counts[0], counts[1], tasks);
    let by = &shown["session"];
    let by_whom = || format!("process {} on {}", by["pid"], text(&by["host"]));
    line(
        "now",
        match (shown["in_use"] == true, by) {
            (true, Value::Null) => format!("{known}, running"),
            (true, by) => format!("{known}, running since {} ({})", text(&by["began"]), by_whom()),
            (false, _) => format!("{known}, nobody works at it"),
        },
    );
    if let Some(parameters) = shown["of"].get("parameters") {
        line("parameters", said(parameters).to_string());
    }
    line("seed", text(&shown["seed"]));
    line("tasks", tasks.map_or("not known yet".into(), |tasks| tasks.to_string()));
    for (name, tasks) in [("done", "done_tasks"), ("failed", "failed_tasks")] {
        let which = text(&shown[tasks]);
        let short =
            which.char_indices().nth(200).map_or(which.clone(), |(cut, _)| format!("{} ...", &which[..cut]));
        line(name, if short.is_empty() { "0".into() } else { format!("{} ({short})", shown[name]) });
    }
    for bytes in shown["damaged_bytes"].as_array().into_iter().flatten() {
        line("damaged", format!("bytes {} to {}", bytes[0], bytes[1]));
    }
    for failure in shown["failures"].as_array().into_iter().flatten() {
        line("failure", failure_line(failure));
    }
    out
}

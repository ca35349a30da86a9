//! What a report is about, wherever it was read.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use serde_json::Value;

use super::marks::{self, Mark};
use crate::{
    cli::{again::says_where_to_begin, show_journal::file_or_journal},
    error::{Error, ErrorKind},
    paths::Named,
    store::{
        Attempt, TraceRow,
        events::{EventKind, EventTable},
        file::{ErrorEntry, Reader},
        journal::{History, Subject as Identified},
        schema,
    },
};

/// Inputs are named with so many characters.
const INPUT_CHARS: usize = 120;

/// A run, or what there is of it.
#[derive(Default)]
pub(super) struct Subject {
    pub(super) file: String,
    /// The job, or the label of a map.
    pub(super) job: String,
    pub(super) tasks: Option<u64>,
    pub(super) done: u64,
    pub(super) failed: u64,
    pub(super) not_run: u64,
    /// How the run stands, where it is not over.
    pub(super) standing: Option<String>,
    /// Seconds from the beginning of the run to its end, or to the last that is known of it.
    pub(super) wall: f64,
    /// Tasks at a time, where that is known.
    pub(super) slots: Option<u64>,
    /// Tasks at a time of a worker that is no leader.
    pub(super) width: u64,
    /// Ranks above this one replace others.
    pub(super) last_first_rank: Option<u32>,
    pub(super) lost_workers: u64,
    pub(super) lost_children: u64,
    /// When and where chunks ran, with the host.
    pub(super) chunks: Vec<(TraceRow, String)>,
    pub(super) attempts: Vec<ErrorEntry>,
    /// Losses, joins, sessions and drains, in order; none where nobody tells of them.
    pub(super) marks: Vec<Mark>,
    /// Where the results come from: names and values.
    pub(super) provenance: Vec<(&'static str, String)>,
    pub(super) command_line: Option<String>,
    /// What the file does not tell.
    pub(super) unknown: Vec<String>,
    /// Where inputs are read from.
    pub(super) inputs: Option<Reader>,
}

impl Subject {
    /// Reads a result file, or a journal. Where there is no such file, the journal of that name will do.
    ///
    /// # Errors
    /// When it cannot be read, or is neither.
    pub(super) fn read(path: &Named) -> Result<Subject, Error> {
        let path = file_or_journal(path)?;
        let mut subject = match History::of(&path)? {
            Some(history) => of_journal(history),
            None => of_result_file(Reader::open(&path)?)?,
        };
        subject.file = path.to_string();
        Ok(subject)
    }

    /// What these tasks were given, as far as the file has it.
    ///
    /// # Errors
    /// When the file does not hold what it says.
    pub(super) fn inputs(&self, tasks: &[u64]) -> Result<BTreeMap<u64, String>, Error> {
        let mut found = BTreeMap::new();
        let Some(reader) = &self.inputs else { return Ok(found) };
        let (Some(schema), Some(last)) = (&reader.inputs, tasks.iter().max()) else { return Ok(found) };
        for (task, row) in (0..=*last).zip(reader.input_rows()?) {
            let row = row?;
            if tasks.contains(&task) {
                let value = schema::json(schema, &mut row.as_slice()).map_err(|_| {
                    let text = format!("{}: the input of task {task} does not fit its type", self.file);
                    Error::new(ErrorKind::Storage, text)
                })?;
                found.insert(task, short(value.as_str().map_or_else(|| value.to_string(), str::to_string)));
            }
        }
        Ok(found)
    }
}

/// The command of a run that begins anew: without the flags that go on, as far as they stand before a program's.
fn from_its_beginning(command: &str) -> String {
    let (own, program) = command.split_once(" -- ").unwrap_or((command, ""));
    let own = own.split(' ').filter(|word| !says_where_to_begin(word)).collect::<Vec<_>>().join(" ");
    if program.is_empty() { own } else { format!("{own} -- {program}") }
}

/// The beginning of a text.
fn short(text: String) -> String {
    match text.char_indices().nth(INPUT_CHARS) {
        Some((cut, _)) => format!("{} ...", &text[..cut]),
        None => text,
    }
}

fn of_result_file(reader: Reader) -> Result<Subject, Error> {
    let report: Value = serde_json::from_str(&reader.text("report")).unwrap_or_default();
    let number = |name: &str| report[name].as_u64().unwrap_or(0);
    let [workers, children, slots] = ["workers", "children", "slots"].map(|name| reader.whole(name));
    let chunks = reader.trace()?;
    let last = chunks.iter().map(|(row, _)| row.ended).fold(0.0, f64::max);
    let mut provenance = Vec::new();
    for name in
        ["run", "started", "ended", "parameters", "seed", "mode", "ranks", "workers", "children", "slots"]
    {
        let value = match name {
            "seed" | "ranks" | "workers" | "children" | "slots" => reader.whole(name).to_string(),
            _ => reader.text(name),
        };
        provenance.push((name, value));
    }
    provenance.push(("hosts", reader.texts("hosts").join(", ")));
    provenance.push(("results_digest", report["results_digest"].as_str().unwrap_or("").into()));
    for name in ["slurm_job", "mpi_library", "rankpool_version", "build_id"] {
        provenance.push((name, reader.text(name)));
    }
    provenance.retain(|(_, value)| !value.is_empty());
    let time = |name: &str| humantime::parse_rfc3339(&reader.text(name)).ok();
    let (began, ended) = (time("started"), time("ended"));
    let whole = began.zip(ended).and_then(|(from, to)| to.duration_since(from).ok());
    let events = reader.events()?;
    let unknown = match &events {
        Some(events) => left_out(events).into_iter().collect(),
        None => {
            vec!["when workers were lost and sessions began, since an earlier version has written it".into()]
        }
    };
    let events = events.unwrap_or_default();
    Ok(Subject {
        job: reader.text("job"),
        tasks: Some(reader.tasks),
        done: number("done"),
        failed: number("failed"),
        not_run: number("not_run"),
        wall: whole.map_or(0.0, |whole| whole.as_secs_f64()).max(last),
        // Files of earlier versions do not tell.
        slots: Some(slots).filter(|slots| *slots > 0),
        width: if children == 0 && workers > 0 { (slots / workers).max(1) } else { 1 },
        last_first_rank: Some(workers as u32),
        // The report counts those of the last session.
        lost_workers: number("lost_workers").max(events.count(EventKind::WorkerLost)),
        lost_children: number("lost_children").max(events.count(EventKind::ChildLost)),
        chunks,
        attempts: reader.errors()?,
        marks: marks::of(&events.rows, began.unwrap_or(SystemTime::UNIX_EPOCH)),
        provenance,
        command_line: Some(from_its_beginning(&reader.text("command_line"))),
        unknown,
        inputs: Some(reader),
        ..Subject::default()
    })
}

/// What the table of events does not tell, because it was full.
fn left_out(events: &EventTable) -> Option<String> {
    (events.left_out > 0).then(|| format!("{} further losses and joins", events.left_out))
}

fn of_journal(history: History) -> Subject {
    let History { identity, done, failed, attempts, chunks, events, in_use } = history;
    let identity = identity.as_ref();
    let job = identity.map(|identity| match &identity.subject {
        Identified::Job { job, .. } => job.clone(),
        Identified::Map { label, .. } => label.clone().unwrap_or_else(|| "a map without a label".into()),
    });
    let began = identity.map_or(0.0, |identity| identity.began);
    let began = SystemTime::UNIX_EPOCH + Duration::try_from_secs_f64(began).unwrap_or_default();
    let unknown = ["how many slots there are beside those that ran a task", "the command line", "inputs"];
    let mut provenance = Vec::new();
    if let Some(identity) = identity {
        provenance.push(("run", identity.run.clone()));
        provenance.push(("started", humantime::format_rfc3339_millis(began).to_string()));
        if let Identified::Job { parameters, .. } = &identity.subject {
            provenance.push(("parameters", parameters.to_string()));
        }
        provenance.push(("seed", identity.seed.to_string()));
        provenance.push(("rankpool_version", identity.version.clone()));
    }
    let (done, failed) = (done.len(), failed.len());
    let tasks = identity.and_then(|identity| identity.tasks);
    Subject {
        job: job.unwrap_or_else(|| "a run that its journal does not name".into()),
        tasks,
        done,
        failed,
        not_run: tasks.map_or(0, |tasks| tasks.saturating_sub(done + failed)),
        standing: Some(match in_use {
            true => "the run goes on".into(),
            false => "no process writes the journal: the run was stopped, or some tasks failed".into(),
        }),
        wall: chunks.iter().map(|(row, _)| row.ended).fold(0.0, f64::max),
        width: 1,
        lost_workers: events.count(EventKind::WorkerLost),
        lost_children: events.count(EventKind::ChildLost),
        marks: marks::of(&events.rows, began),
        attempts: attempts.into_iter().map(entry).collect(),
        chunks,
        provenance,
        unknown: unknown.into_iter().map(String::from).chain(left_out(&events)).collect(),
        ..Subject::default()
    }
}

/// A failed attempt as a result file has it.
fn entry(Attempt { task, failure }: Attempt) -> ErrorEntry {
    let (rank, host) =
        failure.place.as_ref().map_or((-1, ""), |place| (place.rank as i32, place.host.as_str()));
    ErrorEntry {
        task,
        attempt: failure.attempt(),
        kind: failure.kind.to_string(),
        rank,
        host: host.into(),
        message: failure.message,
    }
}

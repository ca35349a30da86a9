//! `rankpool export FILE --csv|--jsonl|--npy|--parquet`

#[cfg_attr(not(feature = "parquet"), path = "no_parquet.rs")]
mod parquet;

use std::{
    fs::File,
    io::{self, BufWriter, IsTerminal, Write},
    process::ExitCode,
};

use clap::{ArgGroup, ArgMatches, Args, Command, FromArgMatches};
use serde_json::{Value, json};

use super::{examples, out, show_journal::refuse_journal, signals, variables::unreadable};
use crate::{
    error::{Error, ErrorKind},
    paths::{Draft, Named, explain},
    store::{
        file::{Heading, Reader, Row, Status, npy_type},
        lock,
        schema::{self, Schema},
    },
};

#[derive(Args, Clone, Debug)]
struct Flags {
    /// A result file
    file: Named,
    /// A line a task: its index, its status, its input, and a column for each field
    #[arg(long)]
    csv: bool,
    /// A JSON object a task, one a line: its index, its status, its input, and its result as it is
    #[arg(long)]
    jsonl: bool,
    /// One dataset as numpy keeps arrays
    #[arg(long)]
    npy: bool,
    /// The table of --csv, its columns typed, as a Parquet file (feature `parquet`)
    #[arg(long)]
    parquet: bool,
    /// The dataset that becomes an npy file, such as results/values
    #[arg(long, value_name = "PATH", default_value = "results", requires = "npy")]
    dataset: String,
    /// Where to write; standard output by default
    #[arg(long, value_name = "FILE")]
    to: Option<Named>,
    /// Replace an existing file
    #[arg(long, requires = "to")]
    force: bool,
}

pub(super) fn command() -> Command {
    let forms = ArgGroup::new("form").args(["csv", "jsonl", "npy", "parquet"]).required(true);
    Flags::augment_args(Command::new("export"))
        .group(forms)
        .about("Export the results of a file as CSV, JSON lines, npy or Parquet")
        .long_about(None)
        .after_help(examples::of(&[
            "PROGRAM export out.h5 --csv > out.csv",
            "PROGRAM export out.h5 --jsonl | jq 'select(.status == \"failed\")'",
            "PROGRAM export out.h5 --npy --dataset results/values --to values.npy",
            "PROGRAM export out.h5 --parquet --to out.parquet",
        ]))
}

pub(super) fn execute(matches: &ArgMatches) -> Result<ExitCode, Error> {
    let flags = Flags::from_arg_matches(matches).map_err(unreadable)?;
    refuse_journal(&flags.file, "an export")?;
    let reader = Reader::open(&flags.file)?;
    let Some(to) = &flags.to else {
        return out::written(write(&flags, &reader, io::stdout())?).map(|()| ExitCode::SUCCESS);
    };
    let site = to.site()?;
    if site == flags.file.site()? {
        return Err(Error::usage(format!("{to}: is the file that is exported; name another one")));
    }
    if site.exists && lock::is_written(&site.path) {
        return Err(lock::in_use(to, "another process"));
    }
    let draft = Draft::begin(to, &std::process::id().to_string(), flags.force, "--force replaces it")?;
    signals::remove_at_the_end(draft.partial.clone())?;
    let file = File::create(&draft.partial);
    let written = match file {
        Ok(file) => write(&flags, &reader, file)?,
        Err(error) => Err(error),
    };
    written.map_err(|error| Error::new(ErrorKind::Storage, format!("{to}: {}", explain(&error))))?;
    draft.publish().map(|()| ExitCode::SUCCESS)
}

/// Writes what was asked for; the inner result is that of the writing alone.
fn write(flags: &Flags, reader: &Reader, out: impl Write + Send) -> Result<io::Result<()>, Error> {
    if (flags.npy || flags.parquet) && flags.to.is_none() && io::stdout().is_terminal() {
        return Err(Error::usage("npy and Parquet are not for a terminal: name a file by --to, or redirect"));
    }
    if flags.parquet {
        return parquet::write(reader, out, &flags.file);
    }
    if flags.csv {
        let mut out = csv::Writer::from_writer(BufWriter::new(out));
        let written = write_csv(reader, &mut out, &flags.file)?;
        return Ok(written.and_then(|()| out.flush()));
    }
    if flags.jsonl {
        let mut out = BufWriter::new(out);
        let written = write_lines(reader, &mut out, &flags.file)?;
        return Ok(written.and_then(|()| out.flush()));
    }
    let dataset = reader.dataset(&flags.dataset)?;
    let named = |why: &str| Error::usage(format!("{}: {}: {why}", flags.file, flags.dataset));
    let element = dataset
        .dtype()
        .and_then(|dtype| dtype.to_descriptor())
        .map_err(|error| named(&error.to_string()))?
        .to_packed_repr();
    let descr = npy_type(&element).ok_or_else(|| named("texts have no place in npy; use --csv"))?;
    let mut out = BufWriter::new(out);
    let mut written = out.write_all(&npy_header(&descr, &dataset.shape()));
    for row in reader.bytes(&dataset, &element) {
        let row = row?;
        written = written.and_then(|()| out.write_all(&row));
        if written.is_err() {
            break;
        }
    }
    Ok(written.and_then(|()| out.flush()))
}

fn write_csv(
    reader: &Reader,
    out: &mut csv::Writer<impl Write>,
    path: &Named,
) -> Result<io::Result<()>, Error> {
    let results = reader.headings()?;
    let inputs = reader.input_headings(&results)?;
    let names = inputs.iter().chain(&results).map(|heading| heading.name.as_str());
    let begun = out.write_record(["task", "status"].into_iter().chain(names)).map_err(io_error);
    if begun.is_err() {
        return Ok(begun);
    }
    each_task(reader, path, |task, status, input, result| {
        let cells = cells(&inputs, input.as_ref()).chain(cells(&results, result.as_ref()));
        let cells = cells.map(|value| value.map_or(String::new(), cell));
        out.write_record([task.to_string(), status.name().to_string()].into_iter().chain(cells))
            .map_err(io_error)
    })
}

fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// A line for each task. What a task that failed has not given is null.
fn write_lines(reader: &Reader, out: &mut impl Write, path: &Named) -> Result<io::Result<()>, Error> {
    each_task(reader, path, |task, status, input, result| {
        let mut line = json!({ "task": task, "status": status.name() });
        if let Some(input) = input {
            line["input"] = input;
        }
        line["result"] = result.unwrap_or(Value::Null);
        writeln!(out, "{line}")
    })
}

/// Hands on each task with its status, and as JSON its input, if the file has one, and its result, if it has given one.
/// It ends when these cannot be written; the inner result says why.
fn each_task(
    reader: &Reader,
    path: &Named,
    mut each: impl FnMut(usize, Status, Option<Value>, Option<Value>) -> io::Result<()>,
) -> Result<io::Result<()>, Error> {
    let mut inputs = reader.input_rows()?;
    for (task, row) in reader.rows()?.enumerate() {
        let Row { status, given, bytes } = row?;
        let input = match (&reader.inputs, inputs.next()) {
            (Some(schema), Some(input)) => Some(decoded(schema, &input?, task, path)?),
            _ => None,
        };
        let result = given.then(|| decoded(&reader.schema, &bytes, task, path)).transpose()?;
        let written = each(task, status, input, result);
        if written.is_err() {
            return Ok(written);
        }
    }
    Ok(Ok(()))
}

/// What an input or a result has in these columns.
fn cells<'v>(headings: &'v [Heading], row: Option<&'v Value>) -> impl Iterator<Item = Option<&'v Value>> {
    headings.iter().map(move |heading| row.and_then(|row| heading.value(row)))
}

/// The row of a task as JSON.
fn decoded(schema: &Schema, mut bytes: &[u8], task: usize, path: &Named) -> Result<Value, Error> {
    schema::json(schema, &mut bytes).map_err(|_| {
        Error::new(ErrorKind::Storage, format!("{path}: the row of task {task} does not fit its type"))
    })
}

/// Texts and numbers as they are, anything else as JSON.
fn cell(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToString::to_string)
}

/// The header of an npy file (NEP 1, version 2): padded so that the data begins at a multiple of 64.
fn npy_header(descr: &str, shape: &[usize]) -> Vec<u8> {
    let shape: String = shape.iter().map(|length| format!("{length}, ")).collect();
    let mut header = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': ({shape}), }}");
    let before = 12;
    let padding = (before + header.len() + 1).next_multiple_of(64) - before - header.len() - 1;
    header.extend(std::iter::repeat_n(' ', padding));
    header.push('\n');
    let mut out = b"\x93NUMPY\x02\x00".to_vec();
    out.extend_from_slice(&(header.len() as u32).to_le_bytes());
    out.extend_from_slice(header.as_bytes());
    out
}

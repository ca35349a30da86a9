//! The result file: what a run found out, in HDF5, for h5py, pandas, Julia and whatever comes.
//!
//! ```text
//! /results   a row a task, in the order of the tasks; what the task gave decides how it lies:
//!            numbers and structs of numbers: a dataset; options of these: two, values and a mask; lists: a group of
//!            `values` and `offsets`, row k being values[offsets[k]..offsets[k + 1]]; other structs: a group with a
//!            member a field
//! /status    a number a task: 0 ok, 1 failed, 2 timed out, 3 quarantined, 4 not run
//! /given     where a failed task gave a row all the same: whether the row is what the task gave
//! /inputs    an input a task, which lie as rows do
//! /errors    a row for each attempt that failed
//! /trace     a row for each chunk
//! /events    a row for each session, loss, join and drain
//! ```
//! A file is built beside its name and renamed into place, so that a reader never sees half of one.

mod column;
mod events;
mod fit;
mod inputs;
mod layout;
mod optional;
mod raw;
mod read_column;
mod reader;
mod record_columns;
mod records;
mod scales;
mod spool;

use std::{fs, path::Path, rc::Rc, str::FromStr};

use column::{Column, ColumnError, Fixed, Home, Shape, compound, enumeration, text_of};
pub(crate) use fit::Fit;
use hdf5::{
    Dataset, Group, H5Type,
    types::{FloatSize, IntSize, TypeDescriptor, VarLenUnicode},
};
pub(crate) use inputs::Inputs;
pub(crate) use layout::check;
use layout::shape_of;
use read_column::FixedRows;
pub(crate) use reader::{ErrorEntry, Heading, Reader, Row};
use record_columns::RecordColumn;

use super::{Attempt, TraceBlock, events::EventTable, schema::Schema};
use crate::{
    error::{Error, ErrorKind, FailureKind},
    paths::{Draft, Named, explain, too_large},
    rows::Rows,
    task_set::TaskSet,
    wire::Piece,
};

/// The layout of the file, in its attribute `rankpool_format`. Earlier files are read, too: in those of 3 every option
/// is a list, those of 2 have neither inputs nor `/given`, and the trace of those of 1 has neither slot nor process.
pub(crate) const FORMAT: u64 = 4;
/// The longest name of a host; POSIX allows 255, Linux 64.
const HOST_BYTES: usize = 64;
/// Rows of `/errors` that are written at a time.
const ERRORS_AT_A_TIME: usize = 1 << 12;
/// Statuses that are read back at a time.
const STATUSES_AT_A_TIME: usize = 1 << 20;

/// What became of a task, as `/status` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Status {
    Ok = 0,
    Failed = 1,
    TimedOut = 2,
    Quarantined = 3,
    NotRun = 4,
}

impl Status {
    const NAMES: [&'static str; 5] = ["ok", "failed", "timed_out", "quarantined", "not_run"];

    pub(crate) fn name(self) -> &'static str {
        Status::NAMES[self as usize]
    }

    fn of(kind: FailureKind) -> Status {
        match kind {
            FailureKind::TimedOut => Status::TimedOut,
            FailureKind::Quarantined => Status::Quarantined,
            FailureKind::NotDone => Status::NotRun,
            _ => Status::Failed,
        }
    }
}

/// A row of `/errors`.
#[derive(Clone, Debug, H5Type)]
#[repr(C)]
struct ErrorRow {
    task: u64,
    /// The attempt that failed, from 1; 0 if the task never ran.
    attempt: u16,
    kind: VarLenUnicode,
    /// -1 if the task never ran.
    rank: i32,
    host: VarLenUnicode,
    message: VarLenUnicode,
}

/// The value of an attribute.
pub(crate) enum Attribute {
    Text(String),
    Texts(Vec<String>),
    Whole(u64),
    Real(f64),
}

/// The name that a result file will have, and the one it is built under.
#[derive(Debug)]
pub(crate) struct Target {
    path: Named,
    draft: Draft,
}

impl Target {
    /// Makes sure, before any work is done, that the file can be made; `run` names the run.
    ///
    /// # Errors
    /// When the file is there and must not be replaced, or its folder cannot be written.
    pub(crate) fn reserve(path: &Named, run: &str, replace: bool) -> Result<Target, Error> {
        let taken = "--force replaces it when the run has ended (with --resume, too), or name another file";
        let draft = Draft::begin(path, run, replace, taken)?;
        if draft.partial.to_str().is_none() {
            return Err(Error::usage(format!(
                "{path}: HDF5 needs a name in UTF-8, its folders' too; name another file"
            )));
        }
        Ok(Target { path: path.clone(), draft })
    }

    /// The folder that the file is made in.
    pub(crate) fn folder(&self) -> Rc<Path> {
        self.draft.folder().into()
    }

    fn failed(&self, error: &ColumnError) -> Error {
        let reason = match error {
            ColumnError::Hdf5(error) => reason(error),
            other => other.to_string(),
        };
        Error::new(ErrorKind::Storage, format!("{} cannot be written: {reason}", self.path))
    }
}

/// Why the library failed: what the operating system said, if it did.
fn reason(error: &hdf5::Error) -> String {
    let text = match error {
        hdf5::Error::HDF5(stack) => match stack.clone().expand() {
            Ok(stack) => {
                let details = stack.iter().filter_map(hdf5::ErrorFrame::detail);
                details.chain([error.to_string()]).collect::<Vec<_>>().join("; ")
            }
            Err(_) => error.to_string(),
        },
        other => other.to_string(),
    };
    match text.split_once("error message = '").and_then(|(_, rest)| rest.split_once('\'')) {
        Some(("File too large", _)) => too_large(),
        Some((said, _)) => said.to_string(),
        None => text,
    }
}

/// A result file in the making.
pub(crate) struct ResultFile {
    target: Target,
    file: hdf5::File,
    schema: Schema,
    layout: Rows,
    results: Column,
    status: Fixed,
    /// Tasks that failed, and gave a row all the same.
    given: TaskSet,
    trace: Fixed,
    errors: Dataset,
    error_rows: Vec<ErrorRow>,
    /// The task whose row comes next.
    next: u64,
    /// What stands in the place of a row that is missing.
    missing: Vec<u8>,
}

impl ResultFile {
    /// Begins the file.
    ///
    /// # Errors
    /// When the rows do not fit the layout that the job gives them, or nothing can be written.
    pub(crate) fn create(
        target: Target,
        schema: Schema,
        layout: Rows,
        compress: u8,
    ) -> Result<ResultFile, Error> {
        let shape = shape_of(&schema, &layout)?;
        let mut missing = Vec::new();
        match &shape {
            // A row that is missing has its place all the same.
            Shape::Fixed(dimensions) => fill_fixed(&schema, dimensions.iter().product(), &mut missing),
            _ => schema.fill(&mut missing),
        }
        let failed = |error: ColumnError| target.failed(&error);
        let file = hdf5::File::create(&target.draft.partial).map_err(|error| failed(error.into()))?;
        let root: &Group = &file;
        let folder = target.folder();
        let home = |name: &str, compress| Home::new(root, name, compress, folder.clone());
        let results = Column::create(home("results", compress), &schema, &shape).map_err(failed)?;
        let status = Fixed::new(home("status", compress), status_type(), 1, vec![], None);
        // Names of hosts are mostly padding, which costs nothing when it is compressed.
        let level = if hdf5::filters::deflate_available() { compress.max(1) } else { 0 };
        let trace = Fixed::new(home("trace", level), trace_row(), TRACE_BYTES, vec![], None);
        let errors = file
            .new_dataset_builder()
            .empty::<ErrorRow>()
            .shape(hdf5::SimpleExtents::resizable([0usize]))
            .chunk(256)
            .create("errors")
            .map_err(|error| failed(error.into()))?;
        let (error_rows, next) = (Vec::new(), 0);
        Ok(ResultFile {
            target,
            file,
            schema,
            layout,
            results,
            status,
            given: TaskSet::default(),
            trace,
            errors,
            error_rows,
            next,
            missing,
        })
    }

    /// Writes the outcomes of the next tasks; those that were left out in between were not run.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(crate) fn append(&mut self, piece: &Piece) -> Result<(), Error> {
        self.skip_to(piece.start)?;
        self.write(piece).map_err(|(task, error)| match error {
            ColumnError::Hdf5(_) | ColumnError::Io(_) => self.target.failed(&error),
            error => fit::cannot_be_written(task, &error),
        })?;
        self.next += piece.count;
        Ok(())
    }

    fn write(&mut self, piece: &Piece) -> Result<(), (u64, ColumnError)> {
        let at = |task: u64| move |error: ColumnError| (task, error);
        let batch = match &piece.outcome {
            Ok(batch) => batch,
            Err(failure) => {
                let status = Status::of(failure.kind);
                return match &failure.value {
                    Some(row) => self.row_of_failed(piece.start, row, status),
                    None => self.missing_rows(piece.count, status),
                }
                .map_err(at(piece.start));
            }
        };
        let statuses = vec![Status::Ok as u8; batch.len()];
        self.status.append(&statuses).map_err(at(piece.start))?;
        // Rows of one size lie in the batch as they will in the file.
        let size = self.schema.fixed_size();
        let alike = size.is_some_and(|size| size > 0 && batch.size() == size * batch.len());
        if alike && self.results.append_all(&batch.bytes()).map_err(at(piece.start))? {
            return Ok(());
        }
        for k in 0..batch.len() {
            let task = piece.start + k as u64;
            let bytes = batch.get(k);
            self.results.append(&mut &*bytes).map_err(at(task))?;
        }
        Ok(())
    }

    fn missing_rows(&mut self, count: u64, status: Status) -> Result<(), ColumnError> {
        for _ in 0..count {
            self.results.append(&mut self.missing.as_slice())?;
            self.status.append(&[status as u8])?;
        }
        Ok(())
    }

    /// A task that failed has a row all the same.
    fn row_of_failed(&mut self, task: u64, mut row: &[u8], status: Status) -> Result<(), ColumnError> {
        self.given.insert(task, task + 1);
        self.results.append(&mut row)?;
        self.status.append(&[status as u8])
    }

    /// The tasks up to `task` have no outcome.
    ///
    /// # Errors
    /// When that cannot be written.
    pub(crate) fn skip_to(&mut self, task: u64) -> Result<(), Error> {
        let gap = task.saturating_sub(self.next);
        self.missing_rows(gap, Status::NotRun).map_err(|error| self.target.failed(&error))?;
        self.next += gap;
        Ok(())
    }

    /// Writes an attempt that failed.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn attempt(&mut self, attempt: &Attempt) -> Result<(), Error> {
        let place = attempt.failure.place.as_ref();
        self.error_rows.push(ErrorRow {
            task: attempt.task,
            attempt: attempt.failure.attempt(),
            kind: text_of(&attempt.failure.kind.to_string()),
            rank: place.map_or(-1, |place| place.rank as i32),
            host: text_of(place.map_or("", |place| &place.host)),
            message: text_of(&attempt.failure.message),
        });
        if self.error_rows.len() < ERRORS_AT_A_TIME {
            return Ok(());
        }
        self.write_errors().map_err(|error| self.target.failed(&error.into()))
    }

    fn write_errors(&mut self) -> hdf5::Result<()> {
        let from = self.errors.size();
        let to = from + self.error_rows.len();
        self.errors.resize(to)?;
        self.errors.write_slice(&self.error_rows, from..to)?;
        self.error_rows.clear();
        Ok(())
    }

    /// Writes when and where chunks ran.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn trace(&mut self, block: &TraceBlock) -> Result<(), Error> {
        let mut bytes = Vec::with_capacity(block.rows.len() * TRACE_BYTES);
        for row in &block.rows {
            let host = block.hosts.get(row.host as usize).map_or("", String::as_str);
            let mut name = [0; HOST_BYTES];
            let length = host.len().min(HOST_BYTES);
            name[..length].copy_from_slice(&host.as_bytes()[..length]);
            bytes.extend_from_slice(&row.start.to_le_bytes());
            bytes.extend_from_slice(&row.count.to_le_bytes());
            [row.rank, row.slot, row.pid].iter().for_each(|it| bytes.extend_from_slice(&it.to_le_bytes()));
            bytes.extend_from_slice(&name);
            [row.dispatched, row.started, row.ended]
                .iter()
                .for_each(|time| bytes.extend_from_slice(&time.to_le_bytes()));
            bytes.extend_from_slice(&row.slowest.to_le_bytes());
            bytes.extend_from_slice(&row.slowest_s.to_le_bytes());
        }
        self.trace.append(&bytes).map_err(|error| self.target.failed(&error))
    }

    /// Writes what happened beside the tasks, once.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn events(&mut self, table: &EventTable) -> Result<(), Error> {
        events::write(&self.file, table).map_err(|error| self.target.failed(&error.into()))
    }

    /// Writes the inputs of `tasks` tasks; those that nobody knows are filled.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(crate) fn inputs(&mut self, inputs: Inputs, tasks: u64) -> Result<(), Error> {
        self.write_inputs(inputs, tasks).map_err(|error| self.target.failed(&error))
    }

    fn write_inputs(&mut self, inputs: Inputs, tasks: u64) -> Result<(), ColumnError> {
        let Inputs { schema, rows, count, .. } = inputs.finish()?;
        let home = self.status.home().inside(&self.file, "inputs");
        let mut column = Column::create(home, &schema, &Shape::Ragged)?;
        let fixed = schema.fixed_size().is_some();
        rows.read(|mut rows| {
            if fixed && column.append_all(rows)? {
                return Ok(());
            }
            while !rows.is_empty() {
                column.append(&mut rows)?;
            }
            Ok::<_, ColumnError>(())
        })?;
        let mut fill = Vec::new();
        schema.fill(&mut fill);
        (count..tasks).try_for_each(|_| column.append(&mut fill.as_slice()))?;
        column.finish()?;
        let schema =
            serde_json::to_string(&schema).map_err(|error| hdf5::Error::Internal(error.to_string()))?;
        attribute(&self.file, "inputs_type", &Attribute::Text(schema))?;
        Ok(())
    }

    /// Ends the file after `tasks` rows, with these attributes, and puts it into its place.
    ///
    /// # Errors
    /// When it cannot be written or renamed.
    pub(crate) fn finish(mut self, tasks: u64, attributes: &[(&str, Attribute)]) -> Result<(), Error> {
        self.skip_to(tasks)?;
        self.complete(attributes).map_err(|error| self.target.failed(&error))?;
        let ResultFile { target, file, results, status, trace, errors, .. } = self;
        drop((results, status, trace, errors));
        file.close().map_err(|error| target.failed(&error.into()))?;
        let sync = |path: &Path| fs::File::open(path)?.sync_all();
        sync(&target.draft.partial)
            .map_err(|error| target.failed(&hdf5::Error::Internal(explain(&error)).into()))?;
        let folder = target.draft.folder().to_path_buf();
        target.draft.publish()?;
        // Some file systems cannot sync a folder; the file itself is safe.
        let _ = sync(&folder);
        Ok(())
    }

    /// Whether each row is what its task gave, where the status does not tell.
    fn write_given(&mut self) -> Result<(), ColumnError> {
        if self.given.len() == 0 {
            return Ok(());
        }
        let home = self.status.home().inside(&self.file, "given");
        let mut given = Fixed::new(home, TypeDescriptor::Boolean, 1, vec![], None);
        let mut statuses = FixedRows::open(self.file.dataset("status")?, status_type(), 1);
        let mut bytes = Vec::new();
        for from in (0..statuses.rows()).step_by(STATUSES_AT_A_TIME) {
            let to = statuses.rows().min(from + STATUSES_AT_A_TIME);
            bytes.clear();
            statuses.take(to - from, &mut bytes)?;
            bytes.iter_mut().for_each(|status| *status = u8::from(*status == Status::Ok as u8));
            for (start, end) in self.given.ranges_in(from as u64, to as u64) {
                bytes[start as usize - from..end as usize - from].fill(1);
            }
            given.append(&bytes)?;
        }
        given.finish()
    }

    fn complete(&mut self, attributes: &[(&str, Attribute)]) -> Result<(), ColumnError> {
        self.results.finish()?;
        self.status.finish()?;
        self.write_given()?;
        self.trace.finish()?;
        self.write_errors()?;
        let root: &Group = &self.file;
        attribute(root, "rankpool_format", &Attribute::Whole(FORMAT))?;
        let schema =
            serde_json::to_string(&self.schema).map_err(|error| hdf5::Error::Internal(error.to_string()))?;
        attribute(root, "row_type", &Attribute::Text(schema))?;
        attribute(root, "row_layout", &Attribute::Text(self.layout.layout_json()))?;
        if !self.layout.measured_fields().is_empty() {
            attribute(root, "measured", &Attribute::Texts(self.layout.measured_fields().to_vec()))?;
        }
        for (name, value) in attributes {
            attribute(root, name, value)?;
        }
        let trace = self.file.dataset("trace")?;
        attribute(&trace, "units_of_times", &Attribute::Text("s".into()))?;
        scales::describe(&self.file, &self.schema, &self.layout)?;
        self.file.flush()?;
        Ok(())
    }
}

fn status_type() -> TypeDescriptor {
    enumeration(IntSize::U1, &Status::NAMES)
}

const TRACE_BYTES: usize = 2 * 8 + 3 * 4 + HOST_BYTES + 3 * 8 + 8 + 8;

/// The type of a row of `/trace`.
fn trace_row() -> TypeDescriptor {
    let (whole, real) = (TypeDescriptor::Unsigned(IntSize::U8), TypeDescriptor::Float(FloatSize::U8));
    let small = TypeDescriptor::Unsigned(IntSize::U4);
    compound(
        [
            ("start", whole.clone(), 8),
            ("count", whole.clone(), 8),
            ("rank", small.clone(), 4),
            ("slot", small.clone(), 4),
            ("pid", small, 4),
            ("host", TypeDescriptor::FixedUnicode(HOST_BYTES), HOST_BYTES),
            ("dispatched", real.clone(), 8),
            ("started", real.clone(), 8),
            ("ended", real.clone(), 8),
            ("slowest_task", whole, 8),
            ("slowest_task_s", real, 8),
        ]
        .into_iter(),
    )
}

/// A type as numpy describes it in an npy file; `None` for texts of varying length.
pub(crate) fn npy_type(element: &TypeDescriptor) -> Option<String> {
    Some(match element {
        TypeDescriptor::Boolean => "'|b1'".into(),
        TypeDescriptor::Integer(size) => format!("'<i{}'", *size as usize),
        TypeDescriptor::Unsigned(size) => format!("'<u{}'", *size as usize),
        TypeDescriptor::Float(size) => format!("'<f{}'", *size as usize),
        TypeDescriptor::Enum(of) => npy_type(&of.base_type())?,
        TypeDescriptor::FixedAscii(size) | TypeDescriptor::FixedUnicode(size) => format!("'|S{size}'"),
        TypeDescriptor::FixedArray(of, count) => format!("({}, ({count},))", npy_type(of)?),
        TypeDescriptor::Compound(compound) => {
            let field = |field: &hdf5::types::CompoundField| {
                Some(match &field.ty {
                    TypeDescriptor::FixedArray(of, count) => {
                        format!("({:?}, {}, ({count},))", field.name, npy_type(of)?)
                    }
                    other => format!("({:?}, {})", field.name, npy_type(other)?),
                })
            };
            format!("[{}]", compound.fields.iter().map(field).collect::<Option<Vec<_>>>()?.join(", "))
        }
        _ => return None,
    })
}

/// A list of `count` fill values.
fn fill_fixed(schema: &Schema, count: usize, out: &mut Vec<u8>) {
    let Some((counted, of)) = column::Counted::of(schema) else {
        return;
    };
    counted.put(count, out);
    (0..count).for_each(|_| of.fill(out));
}

fn attribute(location: &hdf5::Location, name: &str, value: &Attribute) -> hdf5::Result<()> {
    match value {
        Attribute::Text(text) => {
            let text = VarLenUnicode::from_str(&text.replace('\0', "\u{2400}")).unwrap_or_default();
            location.new_attr::<VarLenUnicode>().create(name)?.write_scalar(&text)
        }
        Attribute::Texts(texts) => {
            let texts: Vec<VarLenUnicode> = texts.iter().map(|text| text_of(text)).collect();
            location.new_attr_builder().with_data(&texts).create(name).map(drop)
        }
        Attribute::Whole(value) => location.new_attr::<u64>().create(name)?.write_scalar(value),
        Attribute::Real(value) => location.new_attr::<f64>().create(name)?.write_scalar(value),
    }
}

#[cfg(test)]
mod tests;

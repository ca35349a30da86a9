//! Reading a result file back.

use hdf5::{
    File,
    types::{IntSize, VarLenUnicode},
};

use super::{
    ErrorRow, FORMAT, HOST_BYTES, Shape, Status, TRACE_BYTES,
    column::enumeration,
    read_column::{FixedRows, ReadColumn},
    reason, shape_of, trace_row,
};
use crate::{
    error::{Error, ErrorKind},
    paths::Named,
    rows::Rows,
    store::{TraceRow, schema::Schema},
};

/// A result file that is open for reading.
pub(crate) struct Reader {
    path: Named,
    file: File,
    pub(crate) schema: Schema,
    layout: Rows,
    /// How many tasks the run had.
    pub(crate) tasks: u64,
}

/// An attempt that failed, as `/errors` has it.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct ErrorEntry {
    pub(crate) task: u64,
    pub(crate) attempt: u16,
    pub(crate) kind: String,
    pub(crate) rank: i32,
    pub(crate) host: String,
    pub(crate) message: String,
}

impl Reader {
    /// Opens a result file.
    ///
    /// # Errors
    /// When it cannot be read, or is none.
    pub(crate) fn open(path: &Named) -> Result<Reader, Error> {
        let site = path.site()?;
        if !site.exists {
            return Err(Error::usage(format!("{path}: there is no such file")));
        }
        let file = File::open(&site.path)
            .map_err(|error| Error::usage(format!("{path}: cannot be read as HDF5: {}", reason(&error))))?;
        let foreign = |why: &str| Error::usage(format!("{path}: is no result file of rankpool: {why}"));
        let format = file.attr("rankpool_format").and_then(|attribute| attribute.read_scalar::<u64>());
        match format {
            Ok(1..=FORMAT) => {}
            Ok(other) => {
                return Err(foreign(&format!(
                    "its format is {other}, and this program reads up to {FORMAT}"
                )));
            }
            Err(_) => return Err(foreign("it has no attribute rankpool_format")),
        }
        let text = |name: &str| {
            let attribute = file.attr(name).and_then(|attribute| attribute.read_scalar::<VarLenUnicode>());
            attribute
                .map(|text| text.to_string())
                .map_err(|_| foreign(&format!("it has no attribute {name}")))
        };
        let schema = serde_json::from_str(&text("row_type")?).map_err(|error| foreign(&error.to_string()))?;
        let layout =
            Rows::from_layout_json(&text("row_layout")?).map_err(|error| foreign(&error.to_string()))?;
        let tasks = file.dataset("status").map_err(|_| foreign("it has no status"))?.size() as u64;
        Ok(Reader { path: path.clone(), file, schema, layout, tasks })
    }

    fn unreadable(&self, error: &hdf5::Error) -> Error {
        Error::new(ErrorKind::Storage, format!("{} cannot be read: {}", self.path, reason(error)))
    }

    /// A text attribute of the file; empty when there is none.
    pub(crate) fn text(&self, name: &str) -> String {
        let attribute = self.file.attr(name).and_then(|attribute| attribute.read_scalar::<VarLenUnicode>());
        attribute.map(|text| text.to_string()).unwrap_or_default()
    }

    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        let attribute = self.file.attr(name).and_then(|attribute| attribute.read_raw::<VarLenUnicode>());
        attribute.unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    pub(crate) fn whole(&self, name: &str) -> u64 {
        self.file.attr(name).and_then(|attribute| attribute.read_scalar()).unwrap_or(0)
    }

    pub(crate) fn real(&self, name: &str) -> f64 {
        self.file.attr(name).and_then(|attribute| attribute.read_scalar()).unwrap_or(0.0)
    }

    fn shape(&self) -> Result<Shape, Error> {
        shape_of(&self.schema, &self.layout)
    }

    /// The rows in the order of the tasks: each with its status, as it was encoded.
    ///
    /// # Errors
    /// When the file does not hold what it says.
    pub(crate) fn rows(&self) -> Result<impl Iterator<Item = Result<(Status, Vec<u8>), Error>>, Error> {
        let shape = self.shape()?;
        let status = enumeration(IntSize::U1, &Status::NAMES);
        let statuses = self.file.dataset("status").map_err(|error| self.unreadable(&error))?;
        let mut statuses = FixedRows::open(statuses, status, 1);
        let mut column = ReadColumn::open(&self.file, "results", &self.schema, &shape)
            .map_err(|error| self.unreadable(&error))?;
        Ok((0..self.tasks).map(move |_| {
            let (mut status, mut row) = (Vec::with_capacity(1), Vec::new());
            statuses
                .take(1, &mut status)
                .and_then(|()| column.next(&mut row))
                .map_err(|error| self.unreadable(&error))?;
            Ok((Status::from_u8(status[0]), row))
        }))
    }

    /// Every attempt that failed.
    ///
    /// # Errors
    /// When the file does not hold what it says.
    pub(crate) fn errors(&self) -> Result<Vec<ErrorEntry>, Error> {
        let dataset = self.file.dataset("errors").map_err(|error| self.unreadable(&error))?;
        let rows = dataset.read_raw::<ErrorRow>().map_err(|error| self.unreadable(&error))?;
        Ok(rows
            .iter()
            .map(|row| ErrorEntry {
                task: row.task,
                attempt: row.attempt,
                kind: row.kind.to_string(),
                rank: row.rank,
                host: row.host.to_string(),
                message: row.message.to_string(),
            })
            .collect())
    }

    /// When and where chunks ran: each row with its host. What a file of an earlier format lacks is 0.
    ///
    /// # Errors
    /// When the file does not hold what it says.
    pub(crate) fn trace(&self) -> Result<Vec<(TraceRow, String)>, Error> {
        let read = || {
            let mut rows = FixedRows::open(self.file.dataset("trace")?, trace_row(), TRACE_BYTES);
            let mut bytes = Vec::new();
            rows.take(rows.rows(), &mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().map_err(|error| self.unreadable(&error))?;
        Ok(bytes.chunks_exact(TRACE_BYTES).map(trace_of).collect())
    }

    /// The datasets below `/results`, and their shapes.
    pub(crate) fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        let mut found = Vec::new();
        if let Ok(dataset) = self.file.dataset("results") {
            found.push(("/results".to_string(), dataset.shape()));
        } else if let Ok(group) = self.file.group("results") {
            shapes(&group, "/results", DEEPEST, &mut found);
        }
        found
    }

    /// A dataset of the file.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn dataset(&self, path: &str) -> Result<hdf5::Dataset, Error> {
        self.file.dataset(path).map_err(|_| {
            let known: Vec<String> = self.shapes().into_iter().map(|(name, _)| name).collect();
            Error::usage(format!(
                "{}: {path} is no dataset; the results lie in {}",
                self.path,
                known.join(", ")
            ))
        })
    }

    /// The rows of a dataset, packed as `element` says.
    pub(crate) fn bytes(
        &self,
        dataset: &hdf5::Dataset,
        element: &hdf5::types::TypeDescriptor,
    ) -> impl Iterator<Item = Result<Vec<u8>, Error>> {
        let mut rows = FixedRows::open(dataset.clone(), element.clone(), element.size());
        (0..rows.rows()).map(move |_| {
            let mut row = Vec::new();
            rows.take(1, &mut row).map_err(|error| self.unreadable(&error))?;
            Ok(row)
        })
    }
}

/// Groups are looked into so deep: a link may lead back.
const DEEPEST: u32 = 32;

fn shapes(group: &hdf5::Group, path: &str, depth: u32, found: &mut Vec<(String, Vec<usize>)>) {
    for name in group.member_names().unwrap_or_default() {
        let inner = format!("{path}/{name}");
        if let Ok(dataset) = group.dataset(&name) {
            found.push((inner, dataset.shape()));
        } else if let (Ok(group), true) = (group.group(&name), depth > 0) {
            shapes(&group, &inner, depth - 1, found);
        }
    }
}

impl Status {
    fn from_u8(byte: u8) -> Status {
        match byte {
            0 => Status::Ok,
            1 => Status::Failed,
            2 => Status::TimedOut,
            3 => Status::Quarantined,
            _ => Status::NotRun,
        }
    }
}

fn trace_of(bytes: &[u8]) -> (TraceRow, String) {
    let word = |at: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[at..at + 8]);
        u64::from_le_bytes(word)
    };
    let real = |at: usize| f64::from_bits(word(at));
    let small = |at: usize| (word(at) & 0xffff_ffff) as u32;
    let host = &bytes[28..28 + HOST_BYTES];
    let host = String::from_utf8_lossy(host).trim_end_matches('\0').to_string();
    let times = 28 + HOST_BYTES;
    let row = TraceRow {
        start: word(0),
        count: word(8),
        rank: small(16),
        slot: small(20),
        pid: small(24),
        host: 0,
        dispatched: real(times),
        started: real(times + 8),
        ended: real(times + 16),
        slowest: word(times + 24),
        slowest_s: real(times + 32),
    };
    (row, host)
}

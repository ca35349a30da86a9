//! Reading a result file back.

use hdf5::{
    File,
    types::{TypeDescriptor, VarLenUnicode},
};
use serde_json::Value;

use super::{
    ErrorRow, FORMAT, HOST_BYTES, Shape, Status, TRACE_BYTES, events,
    read_column::{FixedRows, ReadColumn, record_columns},
    reason, shape_of, status_type, trace_row,
};
use crate::{
    error::{Error, ErrorKind},
    paths::Named,
    rows::Rows,
    store::{TraceRow, events::EventTable, schema::Schema},
};

/// A result file that is open for reading.
pub(crate) struct Reader {
    path: Named,
    file: File,
    pub(crate) schema: Schema,
    /// The type of an input, if the file has a list of them.
    pub(crate) inputs: Option<Schema>,
    layout: Rows,
    /// How many tasks the run had.
    pub(crate) tasks: u64,
}

/// A row of the results.
pub(crate) struct Row {
    pub(crate) status: Status,
    /// It is what the task gave, and not filled.
    pub(crate) given: bool,
    pub(crate) bytes: Vec<u8>,
}

/// A column of the table that rows make.
pub(crate) struct Heading {
    pub(crate) name: String,
    /// Where its values are in a row's JSON: the keys that lead there.
    path: Vec<String>,
    /// The type of its values.
    #[cfg_attr(not(feature = "parquet"), allow(dead_code))]
    pub(crate) of: Schema,
}

impl Heading {
    /// The value that a row has in this column, if any.
    pub(crate) fn value<'v>(&self, row: &'v Value) -> Option<&'v Value> {
        self.path.iter().try_fold(row, |inner, key| inner.get(key))
    }
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
        let inputs = match file.attr("inputs_type") {
            Ok(_) => Some(
                serde_json::from_str(&text("inputs_type")?).map_err(|error| foreign(&error.to_string()))?,
            ),
            Err(_) => None,
        };
        let tasks = file.dataset("status").map_err(|_| foreign("it has no status"))?.size() as u64;
        Ok(Reader { path: path.clone(), file, schema, inputs, layout, tasks })
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

    /// The rows in the order of the tasks.
    ///
    /// # Errors
    /// When the file does not hold what it says.
    pub(crate) fn rows(&self) -> Result<impl Iterator<Item = Result<Row, Error>>, Error> {
        let shape = self.shape()?;
        let open = || {
            let statuses = FixedRows::open(self.file.dataset("status")?, status_type(), 1);
            let given = match self.file.link_exists("given") {
                true => Some(FixedRows::open(self.file.dataset("given")?, TypeDescriptor::Boolean, 1)),
                false => None,
            };
            Ok((statuses, given, ReadColumn::open(&self.file, "results", &self.schema, &shape)?))
        };
        let (mut statuses, mut given, mut column) = open().map_err(|error| self.unreadable(&error))?;
        let mut next = move || {
            let (mut status, mut marked, mut bytes) = (Vec::with_capacity(1), Vec::new(), Vec::new());
            statuses.take(1, &mut status)?;
            given.as_mut().map_or(Ok(()), |given| given.take(1, &mut marked))?;
            column.next(&mut bytes)?;
            let status = Status::from_u8(status[0]);
            let given = marked.first().map_or(status == Status::Ok, |marked| *marked != 0);
            Ok(Row { status, given, bytes })
        };
        Ok((0..self.tasks).map(move |_| next().map_err(|error| self.unreadable(&error))))
    }

    /// The inputs in the order of the tasks, as they were encoded; none where the file has no list of them.
    ///
    /// # Errors
    /// When the file does not hold what it says.
    pub(crate) fn input_rows(&self) -> Result<impl Iterator<Item = Result<Vec<u8>, Error>>, Error> {
        let open = |schema| ReadColumn::open(&self.file, "inputs", schema, &Shape::Ragged);
        let column = self.inputs.as_ref().map(open).transpose().map_err(|error| self.unreadable(&error))?;
        Ok(column.into_iter().flat_map(move |mut column| {
            (0..self.tasks).map(move |_| {
                let mut row = Vec::new();
                column.next(&mut row).map_err(|error| self.unreadable(&error))?;
                Ok(row)
            })
        }))
    }

    /// The columns of the table that the results make, with names that leave `task` and `status` to the tasks.
    ///
    /// # Errors
    /// When the file does not hold what it says.
    pub(crate) fn headings(&self) -> Result<Vec<Heading>, Error> {
        let mut headings = self.headings_of("results", &self.schema, "value")?;
        set_apart(&mut headings, "result_", &[]);
        Ok(headings)
    }

    /// The columns of the table that the inputs make, with names that no column of the results has.
    ///
    /// # Errors
    /// When the file does not hold what it says.
    pub(crate) fn input_headings(&self, results: &[Heading]) -> Result<Vec<Heading>, Error> {
        let Some(schema) = &self.inputs else {
            return Ok(Vec::new());
        };
        let mut headings = self.headings_of("inputs", schema, "input")?;
        set_apart(&mut headings, "input_", results);
        Ok(headings)
    }

    fn headings_of(&self, place: &str, schema: &Schema, scalar: &str) -> Result<Vec<Heading>, Error> {
        let records = |field: &str| {
            let group = self.file.group(place).map_err(|error| self.unreadable(&error))?;
            let found = record_columns(&group, field).map_err(|error| self.unreadable(&error))?;
            let field = Some(field).filter(|field| !field.is_empty()).map(String::from);
            let heading = |column: super::RecordColumn| Heading {
                of: column.schema(),
                name: column.name,
                path: field.clone().into_iter().chain(column.path).collect(),
            };
            Ok(found.into_iter().map(heading).collect::<Vec<_>>())
        };
        match schema {
            Schema::Record => records(""),
            Schema::Struct(fields) => {
                let mut headings = Vec::new();
                for (name, field) in fields {
                    match field {
                        Schema::Record => headings.extend(records(name)?),
                        _ => headings.push(Heading {
                            name: name.clone(),
                            path: vec![name.clone()],
                            of: field.clone(),
                        }),
                    }
                }
                Ok(headings)
            }
            _ => Ok(vec![Heading { name: scalar.into(), path: Vec::new(), of: schema.clone() }]),
        }
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

    /// What happened beside the tasks; `None` where the file does not tell, as those of earlier versions.
    ///
    /// # Errors
    /// When the file does not hold what it says.
    pub(crate) fn events(&self) -> Result<Option<EventTable>, Error> {
        events::read(&self.file).map_err(|error| self.unreadable(&error))
    }

    /// The datasets of results and inputs, and their shapes.
    pub(crate) fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        let mut found = Vec::new();
        let places = ["results", "results_present", "inputs", "inputs_present"];
        for place in places.into_iter().filter(|place| self.file.link_exists(place)) {
            if let Ok(dataset) = self.file.dataset(place) {
                found.push((format!("/{place}"), dataset.shape()));
            } else if let Ok(group) = self.file.group(place) {
                shapes(&group, &format!("/{place}"), DEEPEST, &mut found);
            }
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
                "{}: {path} is no dataset; results and inputs lie in {}",
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

/// Puts the prefix before the names that others of the table have.
fn set_apart(headings: &mut [Heading], prefix: &str, others: &[Heading]) {
    for at in 0..headings.len() {
        let taken = |name: &str| {
            let beside = headings.iter().enumerate().filter(|(k, _)| *k != at).map(|(_, heading)| heading);
            ["task", "status"].contains(&name) || beside.chain(others).any(|other| other.name == name)
        };
        let mut name = headings[at].name.clone();
        while taken(&name) {
            name.insert_str(0, prefix);
        }
        headings[at].name = name;
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

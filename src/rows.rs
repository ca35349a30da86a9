//! What a job says of its rows beyond their type.

use serde::{Deserialize, Serialize};

/// How the results of a job lie in the result file, beyond what follows from the type of
/// [`Job::Output`](crate::Job::Output): units and axes.
///
/// ```
/// use rankpool::Rows;
/// // A task gives a line of a picture: the file has one dataset of two dimensions, with axes.
/// let rows = Rows::new().unit("1").task_axis("y", "m", [0.0, 0.5]).row_axis("x", "m", [0.0, 0.1, 0.2]);
/// # let _ = rows;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[must_use]
pub struct Rows {
    units: Vec<(String, String)>,
    tasks: Option<Axis>,
    row: Vec<Axis>,
    line: Option<usize>,
    #[serde(default)]
    measured: Vec<String>,
}

/// The coordinates along a dimension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Axis {
    pub(crate) name: String,
    pub(crate) unit: String,
    #[serde(skip)]
    pub(crate) values: Vec<f64>,
    length: usize,
}

impl Axis {
    fn new(name: impl Into<String>, unit: impl Into<String>, values: impl Into<Vec<f64>>) -> Axis {
        let values = values.into();
        Axis { name: name.into(), unit: unit.into(), length: values.len(), values }
    }
}

impl Rows {
    /// Rows as their type has them.
    pub fn new() -> Rows {
        Rows::default()
    }

    /// The unit of the values, as in `1/s`: the attribute `units`.
    pub fn unit(self, unit: impl Into<String>) -> Rows {
        self.field_unit("", unit)
    }

    /// The unit of a field of a struct.
    pub fn field_unit(mut self, field: impl Into<String>, unit: impl Into<String>) -> Rows {
        self.units.push((field.into(), unit.into()));
        self
    }

    /// A coordinate of each task, as a dimension scale of that name.
    pub fn task_axis(
        mut self,
        name: impl Into<String>,
        unit: impl Into<String>,
        values: impl Into<Vec<f64>>,
    ) -> Rows {
        self.tasks = Some(Axis::new(name, unit, values));
        self
    }

    /// A dimension of every row, of an output that is a list of numbers: with it the file has one dataset
    /// of more dimensions instead of `values` and `offsets`. A task whose list has another length makes
    /// the file fail.
    pub fn row_axis(
        mut self,
        name: impl Into<String>,
        unit: impl Into<String>,
        values: impl Into<Vec<f64>>,
    ) -> Rows {
        self.row.push(Axis::new(name, unit, values));
        self
    }

    /// The output is a list of whole lines of `length` numbers, as of a matrix: `values` has two
    /// dimensions, and `offsets` count lines.
    pub fn lines_of(mut self, length: usize) -> Rows {
        self.line = Some(length);
        self
    }

    /// These fields of the output, a struct, are measured and not computed, such as times and hosts: they differ from run
    /// to run. So they are left out of the digest of the results, which is equal for equal results; the file has their
    /// names in its attribute `measured`.
    ///
    /// ```
    /// let rows = rankpool::Rows::new().field_unit("seconds", "s").measured(["seconds", "host"]);
    /// # let _ = rows;
    /// ```
    pub fn measured(mut self, fields: impl IntoIterator<Item = impl Into<String>>) -> Rows {
        self.measured.extend(fields.into_iter().map(Into::into));
        self
    }

    pub(crate) fn measured_fields(&self) -> &[String] {
        &self.measured
    }

    pub(crate) fn unit_of(&self, field: &str) -> Option<&str> {
        self.units.iter().rev().find(|(name, _)| name == field).map(|(_, unit)| unit.as_str())
    }

    /// The fields that have a unit.
    pub(crate) fn units(&self) -> impl Iterator<Item = &str> {
        self.units.iter().map(|(field, _)| field.as_str())
    }

    pub(crate) fn tasks(&self) -> Option<&Axis> {
        self.tasks.as_ref()
    }

    pub(crate) fn row_axes(&self) -> &[Axis] {
        &self.row
    }

    pub(crate) fn row_dimensions(&self) -> Vec<usize> {
        self.row.iter().map(|axis| axis.length).collect()
    }

    pub(crate) fn line(&self) -> Option<usize> {
        self.line
    }

    /// What is needed to read the file, without the coordinates.
    #[cfg(all(feature = "cli", feature = "hdf5"))]
    pub(crate) fn layout_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    #[cfg(all(feature = "cli", feature = "hdf5"))]
    pub(crate) fn from_layout_json(text: &str) -> Result<Rows, serde_json::Error> {
        serde_json::from_str(text)
    }
}

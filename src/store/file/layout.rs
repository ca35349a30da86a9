//! Whether the rows of a job fit the layout that it gives them, before any task is run.

use super::{
    Shape,
    column::{Counted, descriptor},
};
use crate::{
    error::{Error, ErrorKind},
    rows::Rows,
    store::schema::{Schema, can_be_named},
};

/// Names at the root of the file that no axis can have; the masks are those of results and inputs that are options.
const TAKEN: [&str; 9] = [
    "results",
    "results_present",
    "status",
    "given",
    "errors",
    "trace",
    "events",
    "inputs",
    "inputs_present",
];

/// Makes sure that the rows fit the layout that the job gives them, before any task is run.
///
/// # Errors
/// What the job has to change.
pub(crate) fn check(schema: &Schema, layout: &Rows, tasks: Option<u64>) -> Result<(), Error> {
    let wrong = |why: String| {
        Err(Error::new(ErrorKind::Internal, format!("the job's Rows do not fit its output: {why}")))
    };
    shape_of(schema, layout)?;
    schema
        .check_names()
        .and_then(|()| schema.check_records())
        .map_err(|why| Error::usage(format!("the results cannot be written to a file: {why}")))?;
    let has_unit = |schema: &Schema| match Counted::of(schema) {
        Some((_, of)) => descriptor(of).is_some(),
        None => {
            descriptor(schema).is_some() || matches!(schema, Schema::Text | Schema::Char | Schema::RawText)
        }
    };
    for field in layout.units() {
        let found = match schema {
            _ if field.is_empty() => Some(schema),
            Schema::Struct(fields) => fields.iter().find(|(name, _)| name == field).map(|(_, schema)| schema),
            _ => None,
        };
        if !found.is_some_and(has_unit) {
            return wrong(format!("there is no dataset of the field {field:?} that could have a unit"));
        }
    }
    let axes: Vec<_> = layout.tasks().into_iter().chain(layout.row_axes()).collect();
    for (k, axis) in axes.iter().enumerate() {
        if TAKEN.contains(&axis.name.as_str())
            || !can_be_named(&axis.name, true)
            || axes[..k].iter().any(|a| a.name == axis.name)
        {
            return wrong(format!("an axis cannot be named {:?}", axis.name));
        }
    }
    match (layout.tasks(), tasks) {
        (Some(axis), Some(tasks)) if axis.values.len() as u64 != tasks => wrong(format!(
            "the axis {} has {} values, and there are {tasks} tasks",
            axis.name,
            axis.values.len()
        )),
        _ => Ok(()),
    }
}

/// How the job wants its rows laid out, if the rows can be.
pub(super) fn shape_of(schema: &Schema, layout: &Rows) -> Result<Shape, Error> {
    let list = Counted::of(schema).is_some_and(|(_, of)| of.fixed_size().is_some_and(|size| size > 0));
    let dimensions = layout.row_dimensions();
    match (dimensions.is_empty(), layout.line()) {
        (true, None) => Ok(Shape::Ragged),
        _ if !list => Err(Error::new(
            ErrorKind::Internal,
            "the job gives its rows axes or lines, and its output is no list of numbers",
        )),
        (false, _) => Ok(Shape::Fixed(dimensions)),
        (true, Some(width)) => Ok(Shape::Lines(width.max(1))),
    }
}

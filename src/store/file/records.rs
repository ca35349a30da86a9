//! Records into columns: what they hold is known when all of them have been seen, so they wait on disk until then.

use serde_json::Value;

use super::{
    Attribute, attribute,
    column::{Column, ColumnError, Home, Result, Shape},
    record_columns::Columns,
    spool::Spool,
};
use crate::store::schema::take_text;

/// The records of a job's rows.
pub(super) struct Records {
    /// The group that the columns are to be in, and the name of the field whose they are: empty where the whole row is a
    /// record.
    home: Home,
    /// Names that other fields have.
    taken: Vec<String>,
    columns: Columns,
    rows: Spool,
}

/// The name of the attribute that tells the columns of the records in a field.
pub(super) fn columns_of(field: &str) -> String {
    if field.is_empty() { "columns".into() } else { format!("columns_of_{field}") }
}

impl Records {
    pub(super) fn new(home: Home, taken: Vec<String>) -> Records {
        let rows = Spool::new(home.folder.clone());
        Records { home, taken, columns: Columns::default(), rows }
    }

    /// Takes a record off the front of `bytes`.
    pub(super) fn append(&mut self, bytes: &mut &[u8]) -> Result<()> {
        let before = *bytes;
        let record = take_text(bytes)?;
        if !record.is_empty() {
            self.columns.see(record)?;
        }
        self.rows.open().extend_from_slice(&before[..before.len() - bytes.len()]);
        Ok(self.rows.ended()?)
    }

    /// Writes the columns.
    pub(super) fn finish(&mut self) -> Result<()> {
        let Home { parent, name, folder, .. } = &self.home;
        let mut taken = std::mem::take(&mut self.taken);
        taken.extend(parent.member_names()?);
        let found = self.columns.resolve(taken);
        let home = self.home.shared(found.len());
        let column = |found: &super::RecordColumn| {
            Column::create(home.inside(parent, &found.name), &found.schema(), &Shape::Ragged)
        };
        let mut written = found.iter().map(column).collect::<Result<Vec<_>>>()?;
        let rows = std::mem::replace(&mut self.rows, Spool::new(folder.clone()));
        let (mut values, mut encoded): (Vec<Option<Value>>, _) = (Vec::new(), Vec::new());
        rows.read(|mut rows| {
            while !rows.is_empty() {
                self.columns.values(take_text(&mut rows)?, &mut values)?;
                for ((column, value), found) in written.iter_mut().zip(&values).zip(&found) {
                    encoded.clear();
                    found.encode(value.as_ref(), &mut encoded);
                    column.append(&mut encoded.as_slice())?;
                }
            }
            Ok::<_, ColumnError>(())
        })?;
        written.iter_mut().try_for_each(Column::finish)?;
        let told = serde_json::to_string(&found).unwrap_or_default();
        Ok(attribute(parent, &columns_of(name), &Attribute::Text(told))?)
    }
}

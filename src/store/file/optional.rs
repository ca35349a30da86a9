//! Options of values of one size: a dataset of values, which are filled where there is none, and beside it another one
//! that says where there is one.

use hdf5::{Dataset, Group, types::TypeDescriptor};

use super::{
    column::{Counted, Fixed, Home, Result},
    read_column::FixedRows,
};
use crate::store::schema::{Schema, mask_name, take};

/// Such a column, as it is written.
pub(super) struct Optional {
    values: Fixed,
    mask: Fixed,
    /// What stands in the place of a value.
    fill: Vec<u8>,
}

impl Optional {
    /// A column for options of this type, if its values are all of one size and have bytes.
    pub(super) fn new(home: &Home, of: &Schema) -> Option<Optional> {
        let home = home.shared(2);
        let mask = home.inside(&home.parent, &mask_name(&home.name));
        let mut fill = Vec::new();
        of.fill(&mut fill);
        Some(Optional {
            values: Fixed::of(home, of)?,
            mask: Fixed::new(mask, TypeDescriptor::Boolean, 1, vec![], None),
            fill,
        })
    }

    /// Takes an option off the front of `bytes` and appends it.
    pub(super) fn append(&mut self, bytes: &mut &[u8]) -> Result<()> {
        let count = Counted::Option.take(bytes)?;
        self.mask.append(&[count as u8])?;
        if count == 0 {
            return self.values.append(&self.fill);
        }
        self.values.append(take(bytes, self.fill.len())?)
    }

    /// Writes what is left.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.values.finish()?;
        self.mask.finish()
    }
}

/// Such a column, as it is read.
pub(super) struct ReadOptional {
    values: FixedRows,
    mask: FixedRows,
}

impl ReadOptional {
    /// The column of these values, with their elements.
    pub(super) fn open(
        parent: &Group,
        name: &str,
        values: Dataset,
        (element, size, _): (TypeDescriptor, usize, Vec<usize>),
    ) -> hdf5::Result<ReadOptional> {
        let mask = FixedRows::open(parent.dataset(&mask_name(name))?, TypeDescriptor::Boolean, 1);
        Ok(ReadOptional { values: FixedRows::open(values, element, size), mask })
    }

    /// Appends the next option.
    pub(super) fn next(&mut self, out: &mut Vec<u8>) -> hdf5::Result<()> {
        self.mask.take(1, out)?;
        let there = out.last() == Some(&1);
        let before = out.len();
        self.values.take(1, out)?;
        if !there {
            out.truncate(before);
        }
        Ok(())
    }
}

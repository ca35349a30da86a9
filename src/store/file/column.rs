//! Rows, as they are encoded, into datasets: a column for each part of a row.

use std::{borrow::Cow, path::Path, rc::Rc, str::FromStr};

use hdf5::{
    Dataset, Extent, Group, SimpleExtents,
    types::{
        CompoundField, CompoundType, EnumMember, EnumType, FloatSize, IntSize, TypeDescriptor, VarLenUnicode,
    },
};

use super::{optional::Optional, raw, records::Records};
use crate::store::schema::{Malformed, Scalar, Schema, take, take_char, take_length, take_text};

/// Chunks of a dataset have about this many bytes; smaller ones cost more to find than to read.
const CHUNK_BYTES: usize = 1 << 20;
/// Rows are gathered into writes of this many bytes.
const WRITE_BYTES: usize = 4 << 20;
/// Texts are gathered into writes of this many.
const WRITE_TEXTS: usize = 1 << 14;
/// What waits to be written in all columns of a group is not more than this many bytes.
const GROUP_BYTES: usize = 64 << 20;

/// What goes wrong with a column.
#[derive(Debug, thiserror::Error)]
pub(super) enum ColumnError {
    #[error(transparent)]
    Hdf5(#[from] hdf5::Error),
    #[error("{}", crate::paths::explain(.0))]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("it has {found} values, and its axes have room for {expected}")]
    Shape { found: usize, expected: usize },
    #[error("its {found} values do not fill lines of {width}")]
    Line { found: usize, width: usize },
}

pub(super) type Result<T> = std::result::Result<T, ColumnError>;

/// How the elements of the outermost list of a row are laid out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Shape {
    /// One after the other, and each row as long as it is.
    #[default]
    Ragged,
    /// Lines of this many elements, and each row as many lines as it has.
    Lines(usize),
    /// The same dimensions in every row.
    Fixed(Vec<usize>),
}

/// The element's type in the file; `None` for what has no bytes.
pub(super) fn descriptor(schema: &Schema) -> Option<TypeDescriptor> {
    if schema.fixed_size()? == 0 {
        return None;
    }
    Some(match schema {
        Schema::Scalar(scalar) => match scalar {
            Scalar::Bool => TypeDescriptor::Boolean,
            Scalar::I8 => TypeDescriptor::Integer(IntSize::U1),
            Scalar::I16 => TypeDescriptor::Integer(IntSize::U2),
            Scalar::I32 => TypeDescriptor::Integer(IntSize::U4),
            Scalar::I64 => TypeDescriptor::Integer(IntSize::U8),
            Scalar::U8 => TypeDescriptor::Unsigned(IntSize::U1),
            Scalar::U16 => TypeDescriptor::Unsigned(IntSize::U2),
            Scalar::U32 => TypeDescriptor::Unsigned(IntSize::U4),
            Scalar::U64 => TypeDescriptor::Unsigned(IntSize::U8),
            Scalar::F32 => TypeDescriptor::Float(FloatSize::U4),
            Scalar::F64 => TypeDescriptor::Float(FloatSize::U8),
        },
        Schema::Enum(names) => enumeration(IntSize::U4, names),
        Schema::Array(of, count) => TypeDescriptor::FixedArray(Box::new(descriptor(of)?), *count as usize),
        Schema::Struct(fields) => compound(
            fields
                .iter()
                .filter_map(|(name, field)| Some((name.as_str(), descriptor(field)?, field.fixed_size()?))),
        ),
        _ => return None,
    })
}

/// The elements of a dataset of rows of one size, and the dimensions of a row: a fixed array gives its own to the
/// dataset. `None` for rows of other types, and for those without bytes.
pub(super) fn elements(schema: &Schema) -> Option<(TypeDescriptor, usize, Vec<usize>)> {
    schema.fixed_size().filter(|size| *size > 0)?;
    let (mut of, mut dimensions) = (schema, Vec::new());
    while let Schema::Array(inner, count) = of {
        dimensions.push(*count as usize);
        of = inner;
    }
    Some((descriptor(of)?, of.fixed_size()?, dimensions))
}

/// An enumeration of these names, from 0.
pub(super) fn enumeration(size: IntSize, names: &[impl ToString]) -> TypeDescriptor {
    let members =
        (0..).zip(names).map(|(value, name)| EnumMember { name: name.to_string(), value }).collect();
    TypeDescriptor::Enum(EnumType { size, signed: false, members })
}

/// A compound of these fields, with nothing between them.
pub(super) fn compound<'f>(fields: impl Iterator<Item = (&'f str, TypeDescriptor, usize)>) -> TypeDescriptor {
    let mut size = 0;
    let fields = fields
        .enumerate()
        .map(|(index, (name, ty, bytes))| {
            size += bytes;
            CompoundField::new(name, ty, size - bytes, index)
        })
        .collect();
    TypeDescriptor::Compound(CompoundType { fields, size })
}

/// Where a column is to be, and how.
#[derive(Clone)]
pub(super) struct Home {
    pub(super) parent: Group,
    pub(super) name: String,
    /// The level of compression, 0 for none.
    pub(super) compress: u8,
    /// The folder of the file.
    pub(super) folder: Rc<Path>,
    /// How many columns are written beside each other.
    columns: usize,
}

impl Home {
    pub(super) fn new(parent: &Group, name: &str, compress: u8, folder: Rc<Path>) -> Home {
        Home { parent: parent.clone(), name: name.to_string(), compress, folder, columns: 1 }
    }

    fn group(&self) -> Result<Group> {
        Ok(self.parent.create_group(&self.name)?)
    }

    pub(super) fn inside(&self, parent: &Group, name: &str) -> Home {
        Home { parent: parent.clone(), name: name.to_string(), ..self.clone() }
    }

    /// The same for each of so many columns.
    pub(super) fn shared(&self, columns: usize) -> Home {
        Home { columns: self.columns * columns.max(1), ..self.clone() }
    }

    /// How many bytes are written at a time, and how many of them are a chunk.
    fn bytes(&self) -> (usize, usize) {
        let write = (GROUP_BYTES / self.columns).min(WRITE_BYTES);
        (write, write.min(CHUNK_BYTES))
    }

    fn create(
        &self,
        element: &TypeDescriptor,
        rows: usize,
        row: &[usize],
        row_bytes: usize,
    ) -> Result<Dataset> {
        let extents =
            std::iter::once(Extent::resizable(0)).chain(row.iter().map(|length| Extent::fixed(*length)));
        let chunk: Vec<usize> = std::iter::once(rows_of(self.bytes().1, row_bytes).min(rows.max(1)))
            .chain(row.iter().copied())
            .collect();
        let mut builder = self
            .parent
            .new_dataset_builder()
            .packed(true)
            .empty_as(element)
            .shape(SimpleExtents::from_vec(extents.collect::<Vec<_>>()))
            .chunk(chunk);
        if self.compress > 0 {
            builder = builder.shuffle().deflate(self.compress);
        }
        Ok(builder.create(self.name.as_str())?)
    }
}

fn rows_of(bytes: usize, row_bytes: usize) -> usize {
    (bytes / row_bytes.max(1)).max(1)
}

/// Part of a row, as it is written.
pub(super) enum Column {
    /// Without bytes: nothing is written.
    Nothing,
    Fixed(Fixed),
    Optional(Optional),
    Text {
        texts: Texts,
        kind: TextKind,
    },
    Record(Box<Records>),
    /// Values, and where those of each row start.
    List {
        counted: Counted,
        of: Box<Column>,
        offsets: Fixed,
        total: u64,
        width: usize,
    },
    Group(Vec<Column>),
}

/// How a text is encoded.
#[derive(Clone, Copy)]
pub(super) enum TextKind {
    /// Behind its length.
    Text,
    /// One character.
    Char,
    /// Behind its length, and perhaps no UTF-8.
    Raw,
}

impl TextKind {
    pub(super) fn of(schema: &Schema) -> TextKind {
        match schema {
            Schema::Char => TextKind::Char,
            Schema::RawText => TextKind::Raw,
            _ => TextKind::Text,
        }
    }

    fn take<'a>(self, bytes: &mut &'a [u8]) -> Result<Cow<'a, str>> {
        Ok(match self {
            TextKind::Text => take_text(bytes)?.into(),
            TextKind::Char => take_char(bytes)?.into(),
            TextKind::Raw => {
                let length = take_length(bytes)?;
                String::from_utf8_lossy(take(bytes, length)?)
            }
        })
    }
}

/// How a list tells its length.
#[derive(Clone, Copy)]
pub(super) enum Counted {
    Values,
    /// In bytes of values of this size.
    Bytes(usize),
    /// None or one.
    Option,
    Always(usize),
}

impl Counted {
    pub(super) fn take(self, bytes: &mut &[u8]) -> std::result::Result<usize, Malformed> {
        match self {
            Counted::Values => take_length(bytes),
            Counted::Bytes(size) => Ok(take_length(bytes)? / size.max(1)),
            Counted::Option => Ok(usize::from(take(bytes, 1)? != [0])),
            Counted::Always(count) => Ok(count),
        }
    }

    /// How lists of the schema tell their length, and what they hold.
    pub(super) fn of(schema: &Schema) -> Option<(Counted, &Schema)> {
        match schema {
            Schema::List(of) => Some((Counted::Values, of)),
            Schema::Block(of) => Some((Counted::Bytes(of.fixed_size()?), of)),
            Schema::Option(of) => Some((Counted::Option, of)),
            Schema::Array(of, count) => Some((Counted::Always(*count as usize), of)),
            _ => None,
        }
    }
}

impl Column {
    /// The column, or the columns, for rows of this type.
    pub(super) fn create(home: Home, schema: &Schema, shape: &Shape) -> Result<Column> {
        if let (Shape::Fixed(dimensions), Some((counted, of))) = (shape, Counted::of(schema))
            && let Some(element) = descriptor(of)
        {
            let size = of.fixed_size().unwrap_or(0);
            return Ok(Column::Fixed(Fixed::new(home, element, size, dimensions.clone(), Some(counted))));
        }
        if schema.fixed_size().is_some() {
            return Ok(Fixed::of(home, schema).map_or(Column::Nothing, Column::Fixed));
        }
        if let (Shape::Ragged, Schema::Option(of)) = (shape, schema)
            && let Some(optional) = Optional::new(&home, of)
        {
            return Ok(Column::Optional(optional));
        }
        if let Some((counted, of)) = Counted::of(schema) {
            let group = home.group()?;
            let width = if let Shape::Lines(width) = shape { *width } else { 1 };
            let values = home.inside(&group, "values");
            let of = match (shape, descriptor(of), of.fixed_size()) {
                (Shape::Lines(_), Some(element), Some(size)) => {
                    Column::Fixed(Fixed::new(values, element, size, vec![width], None))
                }
                _ => Column::create(values, of, &Shape::Ragged)?,
            };
            let offset = TypeDescriptor::Unsigned(IntSize::U8);
            let mut offsets = Fixed::new(home.inside(&group, "offsets"), offset, 8, vec![], None);
            offsets.append(&0u64.to_le_bytes())?;
            return Ok(Column::List { counted, of: Box::new(of), offsets, total: 0, width });
        }
        match schema {
            Schema::Struct(fields) => {
                let (group, shared) = (home.group()?, home.shared(fields.len()));
                let column = |(name, field): &(String, Schema)| match field {
                    Schema::Record => {
                        let others = fields.iter().filter(|(_, of)| *of != Schema::Record);
                        let taken = others.map(|(name, _)| name.clone()).collect();
                        let records = Records::new(home.inside(&group, name), taken);
                        Ok(Column::Record(Box::new(records)))
                    }
                    field => Column::create(shared.inside(&group, name), field, &Shape::Ragged),
                };
                Ok(Column::Group(fields.iter().map(column).collect::<Result<_>>()?))
            }
            Schema::Record => {
                let records = Records::new(home.inside(&home.group()?, ""), Vec::new());
                Ok(Column::Record(Box::new(records)))
            }
            _ => Ok(Column::Text { texts: Texts::new(home), kind: TextKind::of(schema) }),
        }
    }

    /// Takes a row off the front of `bytes` and appends it.
    pub(super) fn append(&mut self, bytes: &mut &[u8]) -> Result<()> {
        match self {
            Column::Nothing => Ok(()),
            Column::Fixed(fixed) => {
                if let Some(counted) = fixed.counted {
                    let (found, expected) = (counted.take(bytes)?, fixed.row_bytes / fixed.size);
                    if found != expected {
                        return Err(ColumnError::Shape { found, expected });
                    }
                }
                fixed.append(take(bytes, fixed.row_bytes)?)
            }
            Column::Optional(optional) => optional.append(bytes),
            Column::Text { texts, kind } => texts.append(&kind.take(bytes)?),
            Column::Record(records) => records.append(bytes),
            Column::List { counted, of, offsets, total, width } => {
                let count = counted.take(bytes)?;
                if !count.is_multiple_of(*width) {
                    return Err(ColumnError::Line { found: count, width: *width });
                }
                match &mut **of {
                    Column::Fixed(fixed) => {
                        let size = count.checked_mul(fixed.row_bytes / *width).ok_or(Malformed)?;
                        fixed.append(take(bytes, size)?)?;
                    }
                    of => (0..count).try_for_each(|_| of.append(bytes))?,
                }
                *total += (count / *width) as u64;
                offsets.append(&total.to_le_bytes())
            }
            Column::Group(columns) => columns.iter_mut().try_for_each(|column| column.append(bytes)),
        }
    }

    /// Appends rows of one size that lie back to back, if that can be done at a stroke.
    pub(super) fn append_all(&mut self, bytes: &[u8]) -> Result<bool> {
        match self {
            Column::Fixed(fixed) if fixed.counted.is_none() => fixed.append(bytes).map(|()| true),
            _ => Ok(false),
        }
    }

    /// Writes what is left.
    pub(super) fn finish(&mut self) -> Result<()> {
        match self {
            Column::Nothing => Ok(()),
            Column::Fixed(fixed) => fixed.finish(),
            Column::Optional(optional) => optional.finish(),
            Column::Text { texts, .. } => texts.finish(),
            Column::List { of, offsets, .. } => {
                of.finish()?;
                offsets.finish()
            }
            Column::Record(records) => records.finish(),
            Column::Group(columns) => {
                // Columns of records take the names that the others leave.
                let record = |column: &Column| matches!(column, Column::Record(_));
                columns.iter_mut().filter(|column| !record(column)).try_for_each(Column::finish)?;
                columns.iter_mut().filter(|column| record(column)).try_for_each(Column::finish)
            }
        }
    }
}

/// Rows of one size: a dataset, made when the first of them are written, and grown with the rest.
pub(super) struct Fixed {
    home: Home,
    element: TypeDescriptor,
    /// Bytes of an element.
    size: usize,
    /// The dimensions of a row, and its bytes.
    row: Vec<usize>,
    row_bytes: usize,
    /// A row comes with its length.
    counted: Option<Counted>,
    dataset: Option<Dataset>,
    rows: usize,
    buffer: Vec<u8>,
}

impl Fixed {
    pub(super) fn new(
        home: Home,
        element: TypeDescriptor,
        size: usize,
        row: Vec<usize>,
        counted: Option<Counted>,
    ) -> Fixed {
        let row_bytes = size * row.iter().product::<usize>();
        Fixed { home, element, size, row, row_bytes, counted, dataset: None, rows: 0, buffer: Vec::new() }
    }

    /// A dataset of rows of this type, if they are all of one size and have bytes.
    pub(super) fn of(home: Home, schema: &Schema) -> Option<Fixed> {
        let (element, size, dimensions) = elements(schema)?;
        Some(Fixed::new(home, element, size, dimensions, None))
    }

    pub(super) fn home(&self) -> &Home {
        &self.home
    }

    /// Appends whole rows.
    pub(super) fn append(&mut self, mut bytes: &[u8]) -> Result<()> {
        // Whole chunks are written at a time, so that none is read back to be completed.
        let (write, chunk) = self.home.bytes();
        let unit = rows_of(chunk, self.row_bytes) * self.row_bytes.max(1);
        let most = unit * (write / unit).max(1);
        while self.buffer.len() + bytes.len() >= most {
            if self.buffer.is_empty() {
                let (now, later) = bytes.split_at(bytes.len() / unit * unit);
                self.write(now)?;
                bytes = later;
                break;
            }
            let (now, later) = bytes.split_at(most - self.buffer.len());
            let mut whole = std::mem::take(&mut self.buffer);
            whole.extend_from_slice(now);
            self.write(&whole)?;
            whole.clear();
            (self.buffer, bytes) = (whole, later);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let count = bytes.len() / self.row_bytes.max(1);
        let dataset = match &self.dataset {
            Some(dataset) => dataset,
            None => self.dataset.insert(self.home.create(&self.element, count, &self.row, self.row_bytes)?),
        };
        if count > 0 {
            let mut shape = vec![self.rows + count];
            shape.extend_from_slice(&self.row);
            dataset.resize(shape)?;
            raw::write(dataset, self.rows, count, &self.element, bytes)?;
            self.rows += count;
        }
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<()> {
        let rest = std::mem::take(&mut self.buffer);
        if rest.is_empty() && self.dataset.is_some() { Ok(()) } else { self.write(&rest) }
    }
}

/// Texts: a dataset, made when the first of them are written.
pub(super) struct Texts {
    home: Home,
    dataset: Option<Dataset>,
    rows: usize,
    buffer: Vec<VarLenUnicode>,
    /// Bytes in the buffer.
    bytes: usize,
}

impl Texts {
    fn new(home: Home) -> Texts {
        Texts { home, dataset: None, rows: 0, buffer: Vec::new(), bytes: 0 }
    }

    fn append(&mut self, text: &str) -> Result<()> {
        self.buffer.push(text_of(text));
        self.bytes += text.len();
        let (write, _) = self.home.bytes();
        let most = WRITE_TEXTS * write / WRITE_BYTES;
        if self.buffer.len() >= most || self.bytes >= write { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<()> {
        let count = self.buffer.len();
        let dataset = match &self.dataset {
            Some(dataset) => dataset,
            None => self.dataset.insert(self.home.create(&TypeDescriptor::VarLenUnicode, count, &[], 16)?),
        };
        if count > 0 {
            dataset.resize(self.rows + count)?;
            dataset.write_slice(&self.buffer, self.rows..self.rows + count)?;
            self.rows += count;
            self.buffer.clear();
            self.bytes = 0;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        if self.buffer.is_empty() && self.dataset.is_some() { Ok(()) } else { self.write() }
    }
}

/// The text as HDF5 keeps it, where a NUL ends it: a NUL inside becomes its picture.
pub(super) fn text_of(text: &str) -> VarLenUnicode {
    VarLenUnicode::from_str(&text.replace('\0', "\u{2400}")).unwrap_or_default()
}

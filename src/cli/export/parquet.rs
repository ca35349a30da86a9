//! The table of a result file as a Parquet file. A cell may be missing in every column; numbers, booleans and texts have
//! their types, and lists of these are lists; anything else is text, as in CSV.

use std::{
    io::{self, Write},
    sync::Arc,
};

use parquet::{
    basic::{Compression, LogicalType, Repetition, Type as Physical},
    column::writer::ColumnWriterImpl,
    data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type, Int64Type},
    errors::ParquetError,
    file::{
        properties::WriterProperties,
        writer::{SerializedColumnWriter, SerializedFileWriter},
    },
    schema::types::{Type, TypePtr},
};
use serde_json::Value;

use super::{cell, cells, each_task};
use crate::{
    error::Error,
    paths::Named,
    store::{
        file::Reader,
        schema::{Scalar, Schema},
    },
};

/// Rows are gathered into groups of about this many bytes.
const GROUP_BYTES: usize = 64 << 20;

/// Writes the table; the inner result is that of the writing alone.
pub(super) fn write(reader: &Reader, out: impl Write + Send, path: &Named) -> Result<io::Result<()>, Error> {
    let results = reader.headings()?;
    let inputs = reader.input_headings(&results)?;
    let mut columns =
        vec![Column::new("task", &Schema::Scalar(Scalar::I64)), Column::new("status", &Schema::Text)];
    columns.extend(inputs.iter().chain(&results).map(|heading| Column::new(&heading.name, &heading.of)));
    let mut table = match Table::new(out, columns) {
        Ok(table) => table,
        Err(error) => return Ok(Err(io_error(error))),
    };
    let written = each_task(reader, path, |task, status, input, result| {
        let (task, status) = (Value::from(task), Value::from(status.name()));
        let row = [Some(&task), Some(&status)].into_iter();
        let row = row.chain(cells(&inputs, input.as_ref())).chain(cells(&results, result.as_ref()));
        table.push(row).map_err(io_error)
    })?;
    Ok(written.and_then(|()| table.finish().map_err(io_error)))
}

/// What went wrong in the writer that was handed over, if that is the reason.
fn io_error(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(inner) => match inner.downcast() {
            Ok(error) => *error,
            Err(inner) => io::Error::other(inner),
        },
        other => io::Error::other(other),
    }
}

/// A file in the making.
struct Table<W: Write + Send> {
    file: SerializedFileWriter<W>,
    columns: Vec<Column>,
    /// Bytes of the cells that wait.
    bytes: usize,
}

impl<W: Write + Send> Table<W> {
    fn new(out: W, columns: Vec<Column>) -> Result<Table<W>, ParquetError> {
        let fields = columns.iter().map(Column::describe).collect::<Result<_, _>>()?;
        let schema = Type::group_type_builder("tasks").with_fields(fields).build()?;
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let file = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties))?;
        Ok(Table { file, columns, bytes: 0 })
    }

    fn push<'v>(&mut self, row: impl Iterator<Item = Option<&'v Value>>) -> Result<(), ParquetError> {
        for (column, value) in self.columns.iter_mut().zip(row) {
            self.bytes += column.push(value);
        }
        if self.bytes < GROUP_BYTES { Ok(()) } else { self.write() }
    }

    /// Writes the cells that wait.
    fn write(&mut self) -> Result<(), ParquetError> {
        self.bytes = 0;
        let mut group = self.file.next_row_group()?;
        for column in &mut self.columns {
            if let Some(writer) = group.next_column()? {
                column.write(writer)?;
            }
        }
        group.close().map(drop)
    }

    fn finish(mut self) -> Result<(), ParquetError> {
        if self.bytes > 0 {
            self.write()?;
        }
        self.file.close().map(drop)
    }
}

/// A column, and those of its cells that wait to be written.
struct Column {
    name: String,
    /// The type of a value, or of the values of a list.
    of: Leaf,
    list: bool,
    values: Values,
    /// How much there is of each value. Of a column without lists: 0 nothing, 1 the value. Of one with lists: 0 nothing,
    /// 1 an empty list, 2 a list in which the value is missing, 3 a list with the value.
    definitions: Vec<i16>,
    /// 1 of a value that is in the same list as the one before.
    repetitions: Vec<i16>,
}

#[derive(Clone, Copy)]
enum Leaf {
    Scalar(Scalar),
    Text,
}

enum Values {
    Bool(Vec<bool>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    Text(Vec<ByteArray>),
}

impl Leaf {
    /// What values of this type are, if they have a type of their own in the file.
    fn of(schema: &Schema) -> Option<Leaf> {
        match schema {
            Schema::Scalar(scalar) => Some(Leaf::Scalar(*scalar)),
            Schema::Enum(_) | Schema::Text | Schema::Char | Schema::RawText => Some(Leaf::Text),
            Schema::Option(of) => Leaf::of(of),
            _ => None,
        }
    }

    fn logical(self) -> Option<LogicalType> {
        match self {
            Leaf::Text => Some(LogicalType::String),
            Leaf::Scalar(Scalar::Bool | Scalar::F32 | Scalar::F64) => None,
            Leaf::Scalar(scalar) => {
                let signed = matches!(scalar, Scalar::I8 | Scalar::I16 | Scalar::I32 | Scalar::I64);
                Some(LogicalType::integer(8 * scalar.size() as i8, signed))
            }
        }
    }

    fn values(self) -> Values {
        match self {
            Leaf::Text => Values::Text(Vec::new()),
            Leaf::Scalar(Scalar::Bool) => Values::Bool(Vec::new()),
            Leaf::Scalar(Scalar::F32) => Values::F32(Vec::new()),
            Leaf::Scalar(Scalar::F64) => Values::F64(Vec::new()),
            Leaf::Scalar(Scalar::I64 | Scalar::U64) => Values::I64(Vec::new()),
            Leaf::Scalar(_) => Values::I32(Vec::new()),
        }
    }
}

impl Column {
    fn new(name: &str, schema: &Schema) -> Column {
        let (mut outer, mut list) = (schema, None);
        while let Schema::Option(of) = outer {
            outer = of;
        }
        if let Schema::List(of) | Schema::Block(of) | Schema::Array(of, _) = outer {
            list = Leaf::of(of);
        }
        let of = list.or(Leaf::of(outer)).unwrap_or(Leaf::Text);
        Column {
            name: name.to_string(),
            of,
            list: list.is_some(),
            values: of.values(),
            definitions: Vec::new(),
            repetitions: Vec::new(),
        }
    }

    /// The type of the column, as the file has it.
    fn describe(&self) -> Result<TypePtr, ParquetError> {
        let physical = match self.values {
            Values::Bool(_) => Physical::BOOLEAN,
            Values::I32(_) => Physical::INT32,
            Values::I64(_) => Physical::INT64,
            Values::F32(_) => Physical::FLOAT,
            Values::F64(_) => Physical::DOUBLE,
            Values::Text(_) => Physical::BYTE_ARRAY,
        };
        let value = |name: &str| {
            Type::primitive_type_builder(name, physical)
                .with_repetition(Repetition::OPTIONAL)
                .with_logical_type(self.of.logical())
                .build()
                .map(Arc::new)
        };
        if !self.list {
            return value(&self.name);
        }
        let list = Type::group_type_builder("list")
            .with_repetition(Repetition::REPEATED)
            .with_fields(vec![value("element")?])
            .build()?;
        Type::group_type_builder(&self.name)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(Some(LogicalType::List))
            .with_fields(vec![Arc::new(list)])
            .build()
            .map(Arc::new)
    }

    /// Appends a cell, and tells how many bytes that takes.
    fn push(&mut self, value: Option<&Value>) -> usize {
        match value {
            None | Some(Value::Null) => self.put(None, 0, 0),
            Some(Value::Array(list)) if self.list && list.is_empty() => self.put(None, 1, 0),
            Some(Value::Array(list)) if self.list => {
                let put = |(at, value)| match value {
                    &Value::Null => self.put(None, 2, i16::from(at > 0)),
                    value => self.put(Some(value), 3, i16::from(at > 0)),
                };
                list.iter().enumerate().map(put).sum()
            }
            value => self.put(value, 1, 0),
        }
    }

    fn put(&mut self, value: Option<&Value>, definition: i16, repetition: i16) -> usize {
        self.definitions.push(definition);
        self.repetitions.push(repetition);
        let levels = 2 * size_of::<i16>();
        levels + value.map_or(0, |value| self.values.push(value))
    }

    /// Writes the cells that wait.
    fn write(&mut self, mut out: SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let (definitions, repetitions) = (&self.definitions, self.list.then_some(&*self.repetitions));
        match &self.values {
            Values::Bool(values) => batch(out.typed::<BoolType>(), values, definitions, repetitions),
            Values::I32(values) => batch(out.typed::<Int32Type>(), values, definitions, repetitions),
            Values::I64(values) => batch(out.typed::<Int64Type>(), values, definitions, repetitions),
            Values::F32(values) => batch(out.typed::<FloatType>(), values, definitions, repetitions),
            Values::F64(values) => batch(out.typed::<DoubleType>(), values, definitions, repetitions),
            Values::Text(values) => batch(out.typed::<ByteArrayType>(), values, definitions, repetitions),
        }?;
        out.close()?;
        self.values = self.of.values();
        self.definitions.clear();
        self.repetitions.clear();
        Ok(())
    }
}

fn batch<T: DataType>(
    out: &mut ColumnWriterImpl<'_, T>,
    values: &[T::T],
    definitions: &[i16],
    repetitions: Option<&[i16]>,
) -> Result<(), ParquetError> {
    out.write_batch(values, Some(definitions), repetitions).map(drop)
}

impl Values {
    /// Appends a value, and tells how many bytes it takes.
    fn push(&mut self, value: &Value) -> usize {
        match self {
            Values::Bool(values) => values.push(value.as_bool().unwrap_or(false)),
            // Unsigned numbers keep their bits.
            Values::I32(values) => values.push(value.as_i64().unwrap_or(0) as i32),
            Values::I64(values) => {
                values.push(value.as_i64().or(value.as_u64().map(|value| value as i64)).unwrap_or(0));
            }
            Values::F32(values) => values.push(real(value) as f32),
            Values::F64(values) => values.push(real(value)),
            Values::Text(values) => {
                let text = cell(value);
                let bytes = text.len();
                values.push(text.into_bytes().into());
                return bytes + size_of::<ByteArray>();
            }
        }
        size_of::<f64>()
    }
}

/// A number; what JSON has no number for is text there.
fn real(value: &Value) -> f64 {
    value.as_f64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(f64::NAN)
}

//! The columns of records: which there are, of which types, and which value of a record is in which.

use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use crate::store::schema::{self, Malformed, Scalar, Schema, can_be_named, take_text};

/// So many columns are made of the keys of records; what further keys have lies in one column of its own.
const MOST_COLUMNS: usize = 1000;
/// The column of what has no column of its own.
const MORE: &str = "_more";
/// HDF5 takes longer names, but what reads them may not.
const NAME_BYTES: usize = 255;

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Bool,
    I64,
    U64,
    F64,
    Text,
    I64s,
    F64s,
    /// Anything, as text.
    Json,
}

impl Kind {
    pub(super) fn schema(self) -> Schema {
        let list = |of| Schema::List(Box::new(Schema::Scalar(of)));
        match self {
            Kind::Bool => Schema::Scalar(Scalar::Bool),
            Kind::I64 => Schema::Scalar(Scalar::I64),
            Kind::U64 => Schema::Scalar(Scalar::U64),
            Kind::F64 => Schema::Scalar(Scalar::F64),
            Kind::I64s => list(Scalar::I64),
            Kind::F64s => list(Scalar::F64),
            Kind::Text | Kind::Json => Schema::Text,
        }
    }
}

/// A column that was found in records, as an attribute of the file has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecordColumn {
    /// In the file.
    pub(crate) name: String,
    /// In the record: the key, in an object that has this key, and so on. Empty for what has no column of its own.
    pub(crate) path: Vec<String>,
    pub(super) kind: Kind,
    /// Some records have no value here.
    gaps: bool,
}

impl RecordColumn {
    /// The type of its values.
    pub(super) fn schema(&self) -> Schema {
        self.kind.schema()
    }

    /// Appends a value; of one that is missing, what stands in its place.
    pub(super) fn encode(&self, value: Option<&Value>, out: &mut Vec<u8>) {
        let mut text = |text: &str| {
            out.extend_from_slice(&(text.len() as u64).to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        };
        match (self.kind, value) {
            (_, None | Some(Value::Null)) => self.kind.schema().fill(out),
            (Kind::Json, Some(value)) => text(&value.to_string()),
            (kind, Some(Value::Array(list))) => {
                out.extend_from_slice(&(list.len() as u64).to_le_bytes());
                list.iter().for_each(|number| out.extend_from_slice(&word(kind, number)));
            }
            (_, Some(Value::String(value))) => text(value),
            (_, Some(Value::Bool(value))) => out.push(u8::from(*value)),
            (kind, Some(number)) => out.extend_from_slice(&word(kind, number)),
        }
    }

    /// The value that is encoded in `bytes`, if it is none that stands for one that is missing.
    pub(super) fn value(&self, bytes: &[u8]) -> Result<Option<Value>, Malformed> {
        let value = match self.kind {
            Kind::F64 => {
                let bits = bytes.try_into().map_err(|_| Malformed)?;
                return Ok(Number::from_f64(f64::from_le_bytes(bits)).map(Value::Number));
            }
            Kind::Json => match take_text(&mut { bytes })? {
                "" => return Ok(None),
                text => return serde_json::from_str(text).map(Some).map_err(|_| Malformed),
            },
            kind => schema::json(&kind.schema(), &mut { bytes })?,
        };
        let empty = match &value {
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            _ => false,
        };
        Ok((!(self.gaps && empty)).then_some(value))
    }

    /// Puts the value into its place in the record.
    pub(super) fn put(&self, record: &mut Map<String, Value>, value: Value) {
        match (self.path.is_empty(), value) {
            (false, value) => put(record, &self.path, value),
            (true, Value::Object(more)) => {
                leaves(&more, &mut Vec::new(), &mut |path, value| put(record, path, value.clone()));
            }
            (true, _) => {}
        }
    }
}

/// A number as a column has it.
fn word(kind: Kind, number: &Value) -> [u8; 8] {
    match kind {
        Kind::F64 | Kind::F64s => number.as_f64().unwrap_or(f64::NAN).to_le_bytes(),
        Kind::U64 => number.as_u64().unwrap_or(0).to_le_bytes(),
        _ => number.as_i64().unwrap_or(0).to_le_bytes(),
    }
}

/// Puts the value to the end of the path; what is in its way makes room.
fn put(object: &mut Map<String, Value>, path: &[impl AsRef<str>], value: Value) {
    let Some((key, rest)) = path.split_first() else { return };
    if rest.is_empty() {
        object.insert(key.as_ref().into(), value);
        return;
    }
    let inner = object.entry(key.as_ref()).or_insert(Value::Null);
    if !inner.is_object() {
        *inner = Value::Object(Map::new());
    }
    if let Value::Object(inner) = inner {
        put(inner, rest, value);
    }
}

/// Hands on every value that is no object, and every empty object, with the keys that lead to it.
fn leaves<'v>(
    object: &'v Map<String, Value>,
    path: &mut Vec<&'v str>,
    each: &mut impl FnMut(&[&'v str], &'v Value),
) {
    for (key, value) in object {
        path.push(key);
        match value {
            Value::Object(inner) if !inner.is_empty() => leaves(inner, path, each),
            value => each(path, value),
        }
        path.pop();
    }
}

/// What was seen in a column, in bits: so it does not matter in which order.
mod seen {
    pub(super) const BOOL: u16 = 1;
    pub(super) const NEGATIVE: u16 = 2;
    pub(super) const WHOLE: u16 = 4;
    /// Beyond `i64`.
    pub(super) const LARGE: u16 = 8;
    pub(super) const REAL: u16 = 16;
    pub(super) const TEXT: u16 = 32;
    pub(super) const WHOLES: u16 = 64;
    pub(super) const REALS: u16 = 128;
    pub(super) const OTHER: u16 = 256;
}

/// The columns of the records so far.
#[derive(Default)]
pub(super) struct Columns {
    columns: Vec<Seen>,
    by_path: FxHashMap<Vec<String>, usize>,
    /// Records so far.
    records: u64,
}

#[derive(Default)]
struct Seen {
    path: Vec<String>,
    kinds: u16,
    /// Records that have a value here.
    records: u64,
}

impl Columns {
    /// Takes note of a record.
    ///
    /// # Errors
    /// When the text is no JSON object.
    pub(super) fn see(&mut self, record: &str) -> Result<(), Malformed> {
        let record: Map<String, Value> = serde_json::from_str(record).map_err(|_| Malformed)?;
        self.records += 1;
        let (mut next, mut more) = (0, false);
        leaves(&record, &mut Vec::new(), &mut |path, value| {
            let Some(column) = self.column(path, next).or_else(|| self.make(path)) else {
                more = true;
                return;
            };
            next = column + 1;
            self.columns[column].kinds |= kinds_of(value);
            self.columns[column].records += u64::from(!value.is_null());
        });
        if more {
            let column = self.column(&[], 0).unwrap_or_else(|| self.push(&[]));
            self.columns[column].kinds |= seen::OTHER;
            self.columns[column].records += 1;
        }
        Ok(())
    }

    /// The values of a record that was seen, in the order of the columns; none for a row that is missing, which is the
    /// empty text.
    ///
    /// # Errors
    /// When the text is no JSON object.
    pub(super) fn values(&self, record: &str, values: &mut Vec<Option<Value>>) -> Result<(), Malformed> {
        values.clear();
        values.resize(self.columns.len(), None);
        if record.is_empty() {
            return Ok(());
        }
        let record: Map<String, Value> = serde_json::from_str(record).map_err(|_| Malformed)?;
        let (mut next, mut more) = (0, Map::new());
        leaves(&record, &mut Vec::new(), &mut |path, value| match self.column(path, next) {
            Some(column) => {
                next = column + 1;
                values[column] = Some(value.clone());
            }
            None => put(&mut more, path, value.clone()),
        });
        if let (false, Some(column)) = (more.is_empty(), self.column(&[], 0)) {
            values[column] = Some(Value::Object(more));
        }
        Ok(())
    }

    /// The column of a path. Records mostly have the same keys in the same order: it is likely to be the `next`.
    fn column(&self, path: &[&str], next: usize) -> Option<usize> {
        if self.columns.get(next).is_some_and(|column| column.path == path) {
            return Some(next);
        }
        let path: Vec<String> = path.iter().map(ToString::to_string).collect();
        self.by_path.get(&path).copied()
    }

    /// A new column, if there is room.
    fn make(&mut self, path: &[&str]) -> Option<usize> {
        (self.columns.len() < MOST_COLUMNS).then(|| self.push(path))
    }

    fn push(&mut self, path: &[&str]) -> usize {
        let path: Vec<String> = path.iter().map(ToString::to_string).collect();
        self.by_path.insert(path.clone(), self.columns.len());
        self.columns.push(Seen { path, ..Seen::default() });
        self.columns.len() - 1
    }

    /// The columns as they are in the end, with names that are not `taken`.
    pub(super) fn resolve(&self, taken: Vec<String>) -> Vec<RecordColumn> {
        let mut taken: FxHashSet<String> = taken.into_iter().collect();
        let column = |column: &Seen| {
            let gaps = column.records < self.records;
            let mut name = if column.path.is_empty() { MORE.into() } else { name_of(&column.path) };
            while !taken.insert(name.clone()) {
                name.push('_');
            }
            RecordColumn { name, path: column.path.clone(), kind: kind_of(column.kinds, gaps), gaps }
        };
        self.columns.iter().map(column).collect()
    }
}

fn kinds_of(value: &Value) -> u16 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => seen::BOOL,
        Value::Number(number) => match number.as_i64() {
            Some(..0) => seen::NEGATIVE,
            Some(_) => seen::WHOLE,
            None if number.is_u64() => seen::LARGE,
            None => seen::REAL,
        },
        Value::String(_) => seen::TEXT,
        Value::Array(list) if list.iter().all(Value::is_i64) => seen::WHOLES,
        Value::Array(list) if list.iter().all(Value::is_number) => seen::REALS,
        _ => seen::OTHER,
    }
}

fn kind_of(kinds: u16, gaps: bool) -> Kind {
    use seen::{BOOL, LARGE, NEGATIVE, REAL, REALS, TEXT, WHOLE, WHOLES};
    let only = |of: u16| kinds & !of == 0;
    match () {
        // Nothing but nulls is NaN as well.
        () if only(NEGATIVE | WHOLE | LARGE | REAL) && (gaps || kinds & REAL != 0) => Kind::F64,
        () if only(NEGATIVE | WHOLE) => Kind::I64,
        () if only(WHOLE | LARGE) => Kind::U64,
        () if only(NEGATIVE | WHOLE | LARGE) => Kind::F64,
        () if only(BOOL) && !gaps => Kind::Bool,
        () if only(TEXT) => Kind::Text,
        () if only(WHOLES) => Kind::I64s,
        () if only(WHOLES | REALS) => Kind::F64s,
        () => Kind::Json,
    }
}

fn name_of(path: &[String]) -> String {
    let mut name = path.join(".").replace(['/', '\0'], "_");
    while name.len() > NAME_BYTES {
        name.pop();
    }
    if can_be_named(&name, true) { name } else { "_".into() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn seen(records: &[Value]) -> Columns {
        let mut columns = Columns::default();
        records.iter().for_each(|record| columns.see(&record.to_string()).unwrap());
        columns
    }

    /// The kind of a column that has these values, null for a record without it, in whichever order they come.
    fn kind(values: &[Value]) -> Kind {
        let records: Vec<Value> = values
            .iter()
            .map(|value| if value.is_null() { json!({"other": 0}) } else { json!({"k": value}) })
            .collect();
        let of = |records: &[Value]| {
            let found = seen(records).resolve(Vec::new());
            found.into_iter().find(|column| column.name == "k").unwrap().kind
        };
        let backwards: Vec<Value> = records.iter().rev().cloned().collect();
        assert_eq!(of(&records), of(&backwards), "{values:?}");
        of(&records)
    }

    #[test]
    fn a_column_has_the_type_that_all_its_values_have() {
        let none = Value::Null;
        for (values, expected) in [
            (json!([1, -2]), Kind::I64),
            (json!([1, u64::MAX]), Kind::U64),
            (json!([-1, u64::MAX]), Kind::F64),
            (json!([1, 2.5]), Kind::F64),
            (json!([1, none]), Kind::F64),
            (json!([true, false]), Kind::Bool),
            (json!([true, none]), Kind::Json),
            (json!(["a", none]), Kind::Text),
            (json!([[1], [], none]), Kind::I64s),
            (json!([[1], [0.5]]), Kind::F64s),
            (json!([[u64::MAX]]), Kind::F64s),
            (json!([1, "a"]), Kind::Json),
            (json!([[1, "a"]]), Kind::Json),
            (json!([[[1]]]), Kind::Json),
            (json!([1, [1]]), Kind::Json),
            (json!([{}, none]), Kind::Json),
        ] {
            assert_eq!(kind(values.as_array().unwrap()), expected, "{values}");
        }
        assert_eq!(seen(&[json!({"k": null})]).resolve(Vec::new())[0].kind, Kind::F64);
    }

    /// The records as they come back from their columns.
    fn back(records: &[Value]) -> Vec<Value> {
        let columns = seen(records);
        let found = columns.resolve(Vec::new());
        let one = |record: &Value| {
            let (mut values, mut object) = (Vec::new(), Map::new());
            columns.values(&record.to_string(), &mut values).unwrap();
            for (column, value) in found.iter().zip(values) {
                let mut bytes = Vec::new();
                column.encode(value.as_ref(), &mut bytes);
                if let Some(value) = column.value(&bytes).unwrap() {
                    column.put(&mut object, value);
                }
            }
            Value::Object(object)
        };
        records.iter().map(one).collect()
    }

    #[test]
    fn what_has_no_column_of_its_own_is_kept_in_one() {
        let wide: Map<String, Value> = (0..MOST_COLUMNS + 5).map(|k| (format!("k{k}"), k.into())).collect();
        let records = [json!({"k0": 1, "late": {"a": [1], "b": {}}}), Value::Object(wide)];
        let found = seen(&records).resolve(Vec::new());
        assert_eq!(found.len(), MOST_COLUMNS + 1);
        assert_eq!(found.last().unwrap().name, MORE);
        let back = back(&records);
        assert_eq!(back[1].as_object().unwrap().len(), MOST_COLUMNS + 5);
        assert_eq!(back[1]["k1004"], 1004);
        assert_eq!(back[0]["late"], records[0]["late"]);
    }

    #[test]
    fn names_fit_hdf5_and_are_told_apart() {
        let long = "n".repeat(400);
        let record = json!({"": 0, ".": 1, "a/b": 2, "a_b": 3, "taken": 4, "x": {"y": 5}, "x.y": 6, long: 7});
        let found = seen(&[record]).resolve(vec!["taken".into()]);
        let names: Vec<&str> = found.iter().map(|column| column.name.as_str()).collect();
        let long = "n".repeat(NAME_BYTES);
        assert_eq!(names, ["_", "__", "a_b", "a_b_", "taken_", "x.y", "x.y_", &long]);
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1e9..1e9).prop_map(Value::from),
            "[a-b\"]{1,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[ab./]{0,2}", inner, 0..3)
                    .prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        /// Equal records have columns without gaps, which keep every value but numbers of mixed types.
        #[test]
        fn a_record_alone_comes_back(
            record in prop::collection::btree_map("[ab./]{0,2}", value(), 0..4)
        ) {
            let record: Value = record.into_iter().collect();
            let twice = [record.clone(), record];
            let wholes_as_reals = |value: &Value| value.to_string().replace(".0", "");
            for (found, expected) in back(&twice).iter().zip(&twice) {
                let [found, expected] = [found, expected].map(|value| {
                    let mut flat = Vec::new();
                    leaves(value.as_object().unwrap(), &mut Vec::new(), &mut |path, value| {
                        let numbers = value.as_array().is_some_and(|list| list.iter().all(Value::is_number));
                        // Numbers of a list become alike.
                        let told = if numbers { "numbers".into() } else { wholes_as_reals(value) };
                        flat.push((path.join("\u{1}"), told));
                    });
                    flat.sort();
                    flat
                });
                prop_assert_eq!(found, expected);
            }
        }

        #[test]
        fn any_records_have_columns_that_can_be_read(
            records in prop::collection::vec(prop::collection::btree_map("[ab.]{0,2}", value(), 0..4), 0..5)
        ) {
            let records: Vec<Value> = records.into_iter().map(|record| record.into_iter().collect()).collect();
            prop_assert_eq!(back(&records).len(), records.len());
        }
    }
}

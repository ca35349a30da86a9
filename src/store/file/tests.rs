//! Files as they are written and read back, without a run.

use hdf5::types::VarLenUnicode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::*;
use crate::{
    error::Failure,
    store::{
        events::{EventKind, EventRow, HeldChunk},
        schema,
    },
    wire::{BatchBuilder, RawText, Record, encode},
};

#[derive(Clone, Serialize, Deserialize)]
struct Printed {
    exit_code: i32,
    result: Record,
    said: RawText,
    more: Record,
}

/// A file in a folder of its own.
struct Made {
    _folder: tempfile::TempDir,
    path: Named,
}

impl Made {
    fn new() -> Made {
        let folder = tempfile::tempdir().unwrap();
        let path = Named::new(folder.path().join("out.h5"));
        Made { _folder: folder, path }
    }

    fn begin<T: serde::de::DeserializeOwned>(&self) -> ResultFile {
        let (schema, layout) = (Schema::of::<T>().unwrap(), Rows::new());
        check(&schema, &layout, None).unwrap();
        let target = Target::reserve(&self.path, "tag", false).unwrap();
        ResultFile::create(target, schema, layout, 0).unwrap()
    }

    fn read(&self) -> Reader {
        Reader::open(&self.path).unwrap()
    }

    fn file(&self) -> hdf5::File {
        hdf5::File::open(self.path.place()).unwrap()
    }
}

fn ok<T: Serialize>(start: u64, rows: &[T]) -> Piece {
    let mut batch = BatchBuilder::default();
    rows.iter().for_each(|row| batch.push(row).unwrap());
    Piece { start, count: rows.len() as u64, outcome: Ok(batch.finish()) }
}

fn failed(start: u64, value: Option<Vec<u8>>) -> Piece {
    let failure = Failure { value, ..Failure::new(FailureKind::Failed, "no") };
    Piece { start, count: 1, outcome: Err(failure) }
}

fn record(value: &Value) -> Record {
    Record::from_json(&value.to_string()).unwrap()
}

/// The rows as JSON, where they were given.
fn rows(reader: &Reader) -> Vec<Option<Value>> {
    let row = |row: Result<Row, Error>| {
        let row = row.unwrap();
        row.given.then(|| schema::json(&reader.schema, &mut row.bytes.as_slice()).unwrap())
    };
    reader.rows().unwrap().map(row).collect()
}

#[test]
fn columns_of_records_lie_beside_other_fields_under_names_of_their_own() {
    let row = |k: i32| Printed {
        exit_code: k,
        result: record(
            &json!({"exit_code": "x", "energy": 0.5, "a": {"b": k}, "a.b": true, "": 1, "c/d": [k]}),
        ),
        said: b"caf\xe9\0".to_vec().into(),
        more: record(&json!({"energy": "high"})),
    };
    let made = Made::new();
    let mut file = made.begin::<Printed>();
    file.append(&ok(0, &[row(1), row(2)])).unwrap();
    file.finish(2, &[]).unwrap();
    let mut names = made.file().group("results").unwrap().member_names().unwrap();
    names.sort();
    assert_eq!(names, ["_", "a.b", "a.b_", "c_d", "energy", "energy_", "exit_code", "exit_code_", "said"]);
    let nested: Vec<i64> = made.file().dataset("results/a.b").unwrap().read_raw().unwrap();
    assert_eq!(nested, [1, 2]);
    let said = made.file().dataset("results/said").unwrap().read_raw::<VarLenUnicode>().unwrap();
    assert_eq!(said[0].as_str(), "caf\u{fffd}\u{2400}");
    let reader = made.read();
    let expected = json!({
        "exit_code": 2,
        "result": {"exit_code": "x", "energy": 0.5, "a": {"b": 2}, "a.b": true, "": 1, "c/d": [2]},
        "said": "caf\u{fffd}\u{2400}",
        "more": {"energy": "high"},
    });
    assert_eq!(rows(&reader)[1], Some(expected));
    let headings = reader.headings().unwrap();
    let headings: Vec<&str> = headings.iter().map(|heading| heading.name.as_str()).collect();
    assert_eq!(headings, ["exit_code", "exit_code_", "energy", "a.b", "a.b_", "_", "c_d", "said", "energy_"]);
}

#[test]
fn tasks_without_a_row_do_not_change_the_types_of_columns() {
    let made = Made::new();
    let mut file = made.begin::<Record>();
    file.append(&failed(0, None)).unwrap();
    let row = json!({"whole": 7, "flag": true, "real": 0.5, "list": [1], "text": "t"});
    file.append(&ok(1, &[record(&row)])).unwrap();
    file.finish(4, &[]).unwrap();
    let results = made.file().group("results").unwrap();
    let whole: Vec<i64> = results.dataset("whole").unwrap().read_raw().unwrap();
    let flag: Vec<bool> = results.dataset("flag").unwrap().read_raw().unwrap();
    let real: Vec<f64> = results.dataset("real").unwrap().read_raw().unwrap();
    let offsets: Vec<u64> = results.dataset("list/offsets").unwrap().read_raw().unwrap();
    assert_eq!((whole, flag), (vec![0, 7, 0, 0], vec![false, true, false, false]));
    assert!(real[0].is_nan() && real[1] == 0.5);
    assert_eq!(offsets, [0, 0, 1, 1, 1]);
    assert_eq!(rows(&made.read()), [None, Some(row), None, None]);
}

#[test]
fn many_records_wait_on_disk_and_come_back() {
    let made = Made::new();
    let mut file = made.begin::<(u8, Record)>();
    let row = |k: u64| (k as u8, record(&json!({"k": k, "text": "x".repeat(500)})));
    for start in (0..6000).step_by(100) {
        file.append(&ok(start, &(start..start + 100).map(row).collect::<Vec<_>>())).unwrap();
    }
    file.finish(6000, &[]).unwrap();
    let mut found = rows(&made.read()).into_iter();
    (0..6000).for_each(|k| {
        let expected = json!({"0": k as u8, "1": {"k": k, "text": "x".repeat(500)}});
        assert_eq!(found.next().unwrap(), Some(expected));
    });
}

#[test]
fn a_row_of_a_task_that_failed_is_told_from_fill() {
    let made = Made::new();
    let mut file = made.begin::<u32>();
    file.append(&failed(0, Some(encode(&9u32).unwrap()))).unwrap();
    file.append(&ok(1, &[1u32, 2])).unwrap();
    file.append(&failed(3, None)).unwrap();
    file.append(&failed(5, Some(encode(&8u32).unwrap()))).unwrap();
    file.finish(7, &[]).unwrap();
    let given: Vec<bool> = made.file().dataset("given").unwrap().read_raw().unwrap();
    assert_eq!(given, [true, true, true, false, false, true, false]);
    let expected = [Some(9), Some(1), Some(2), None, None, Some(8), None];
    assert_eq!(rows(&made.read()), expected.map(|row| row.map(Value::from)));

    let usual = Made::new();
    let mut file = usual.begin::<u32>();
    file.append(&failed(0, None)).unwrap();
    file.finish(1, &[]).unwrap();
    assert!(!usual.file().link_exists("given"));
    assert_eq!(rows(&usual.read()), [None]);
}

#[test]
fn a_row_of_a_task_that_failed_has_to_fit() {
    let fit = Fit::new(&Schema::of::<u32>().unwrap(), &Rows::new()).unwrap();
    fit.check(&failed(3, Some(encode(&9u32).unwrap()))).unwrap();
    fit.check(&failed(3, None)).unwrap();
    let told = fit.check(&failed(3, Some(vec![1, 2]))).unwrap_err().to_string();
    assert!(told.contains("the row of task 3 cannot be written"), "{told}");
}

#[test]
fn inputs_are_listed_and_those_that_nobody_knows_are_filled() {
    let made = Made::new();
    let mut file = made.begin::<u32>();
    let folder = file.target.folder();
    let mut inputs = Inputs::new(Schema::Record, folder);
    inputs.push(&record(&json!({"x": 1, "value": "a"})));
    inputs.push(&record(&json!({"x": 2, "value": "b"})));
    file.inputs(inputs, 3).unwrap();
    file.append(&ok(0, &[1u32, 2])).unwrap();
    file.finish(3, &[]).unwrap();
    let x: Vec<i64> = made.file().dataset("inputs/x").unwrap().read_raw().unwrap();
    assert_eq!(x, [1, 2, 0]);
    let reader = made.read();
    let results = reader.headings().unwrap();
    let names: Vec<String> =
        reader.input_headings(&results).unwrap().into_iter().map(|heading| heading.name).collect();
    assert_eq!(names, ["x", "input_value"]);
    assert_eq!(reader.input_rows().unwrap().count(), 3);
}

#[test]
fn an_input_that_cannot_be_encoded_is_filled() {
    struct Shy(bool);
    impl Serialize for Shy {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            if self.0 { Err(serde::ser::Error::custom("too shy")) } else { serializer.serialize_u32(7) }
        }
    }
    let made = Made::new();
    let mut file = made.begin::<u32>();
    let mut inputs = Inputs::new(Schema::Scalar(schema::Scalar::U32), file.target.folder());
    [false, true, false].map(Shy).iter().for_each(|shy| inputs.push(shy));
    file.inputs(inputs, 3).unwrap();
    file.finish(3, &[]).unwrap();
    let found: Vec<u32> = made.file().dataset("inputs").unwrap().read_raw().unwrap();
    assert_eq!(found, [7, 0, 7]);
}

#[test]
fn a_record_has_its_place_at_the_outside() {
    let refused = |schema: Result<Schema, schema::Unfit>| {
        let told = check(&schema.unwrap(), &Rows::new(), None).unwrap_err();
        assert!(told.to_string().contains("inside of something else"), "{told}");
    };
    refused(Schema::of::<Vec<Record>>());
    refused(Schema::of::<Option<Record>>());
    refused(Schema::of::<(u8, (u8, Record))>());
    check(&Schema::of::<(u8, Record)>().unwrap(), &Rows::new(), None).unwrap();
}

#[test]
fn what_happened_is_read_back_and_files_of_earlier_versions_do_not_tell() {
    let lost = |slot: Option<u32>, chunk| EventRow {
        t: 1.5,
        kind: if slot.is_none() { EventKind::WorkerLost } else { EventKind::ChildLost },
        rank: Some(2),
        slot,
        pid: 7,
        host: "n1".into(),
        reason: "its process ended".into(),
        chunk,
    };
    let began = EventRow {
        t: 0.0,
        kind: EventKind::RunStarted,
        rank: None,
        slot: None,
        pid: 0,
        host: String::new(),
        reason: String::new(),
        chunk: None,
    };
    let chunk = HeldChunk { start: 40, count: 2, dispatched: 1.25 };
    let rows = vec![began, lost(None, Some(chunk)), lost(Some(0), None)];
    let some = EventTable { rows, left_out: 3 };
    for table in [Some(some), Some(EventTable::default()), None] {
        let made = Made::new();
        let mut file = made.begin::<u32>();
        table.iter().for_each(|table| file.events(table).unwrap());
        file.append(&ok(0, &[1u32])).unwrap();
        file.finish(1, &[]).unwrap();
        assert_eq!(made.read().events().unwrap(), table);
    }
}

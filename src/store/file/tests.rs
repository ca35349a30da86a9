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

/// A number that may be missing, in each way in which one can be.
#[derive(Clone, Serialize, Deserialize)]
struct Sparse {
    real: Option<f64>,
    single: Option<f32>,
    whole: Option<i16>,
    flag: Option<bool>,
    point: Option<[f64; 2]>,
    series: Vec<Option<u8>>,
    twice: Option<Option<f64>>,
    name: Option<String>,
}

impl Sparse {
    fn full() -> Sparse {
        Sparse {
            real: Some(1.5),
            single: Some(0.5),
            whole: Some(-7),
            flag: Some(true),
            point: Some([1.0, 2.0]),
            series: vec![Some(3), None],
            twice: Some(None),
            name: Some("n".into()),
        }
    }

    fn empty() -> Sparse {
        Sparse {
            real: None,
            single: None,
            whole: None,
            flag: None,
            point: None,
            series: vec![None],
            twice: None,
            name: None,
        }
    }
}

#[test]
fn an_option_of_a_number_is_a_column_and_a_mask() {
    let made = Made::new();
    let mut file = made.begin::<Sparse>();
    file.append(&ok(0, &[Sparse::full(), Sparse::empty()])).unwrap();
    file.append(&failed(2, None)).unwrap();
    file.finish(3, &[]).unwrap();
    let results = made.file().group("results").unwrap();
    let mask = |name: &str| results.dataset(&format!("{name}_present")).unwrap().read_raw::<bool>().unwrap();
    for name in ["real", "single", "whole", "flag", "point"] {
        assert_eq!(mask(name), [true, false, false], "{name}");
    }
    let real: Vec<f64> = results.dataset("real").unwrap().read_raw().unwrap();
    assert!(real[0] == 1.5 && real[1].is_nan() && real[2].is_nan(), "{real:?}");
    let single: Vec<f32> = results.dataset("single").unwrap().read_raw().unwrap();
    assert!(single[0] == 0.5 && single[1].is_nan(), "{single:?}");
    let whole: Vec<i16> = results.dataset("whole").unwrap().read_raw().unwrap();
    assert_eq!(whole, [-7, 0, 0]);
    let flag: Vec<bool> = results.dataset("flag").unwrap().read_raw().unwrap();
    assert_eq!(flag, [true, false, false]);
    let point = results.dataset("point").unwrap();
    assert_eq!(point.shape(), [3, 2]);
    let point: Vec<f64> = point.read_raw().unwrap();
    assert!(point[..2] == [1.0, 2.0] && point[2..].iter().all(|of| of.is_nan()), "{point:?}");
    let series: Vec<u8> = results.dataset("series/values").unwrap().read_raw().unwrap();
    assert_eq!((series, mask("series/values")), (vec![3, 0, 0], vec![true, false, false]));
    assert_eq!(mask("twice/values"), [false], "an option of an option is a list of options");
    assert!(results.link_exists("name/offsets"), "an option of a text is a list");

    let expected = [Sparse::full(), Sparse::empty()].map(|row| Some(serde_json::to_value(row).unwrap()));
    let found = rows(&made.read());
    assert_eq!((&found[..2], &found[2]), (&expected[..], &None));
}

#[test]
fn options_alone_have_their_mask_beside_results_and_inputs() {
    let made = Made::new();
    let mut file = made.begin::<Option<f64>>();
    let mut inputs = Inputs::new(Schema::of::<Option<u32>>().unwrap(), file.target.folder());
    [Some(4), None].iter().for_each(|input: &Option<u32>| inputs.push(input));
    file.inputs(inputs, 3).unwrap();
    let given = [Some(f64::NAN), None, Some(2.0)];
    file.append(&ok(0, &given)).unwrap();
    file.finish(3, &[]).unwrap();
    let whole: Vec<u32> = made.file().dataset("inputs").unwrap().read_raw().unwrap();
    let present: Vec<bool> = made.file().dataset("inputs_present").unwrap().read_raw().unwrap();
    assert_eq!((whole, present), (vec![4, 0, 0], vec![true, false, false]));
    let reader = made.read();
    let encoded: Vec<Vec<u8>> = reader.rows().unwrap().map(|row| row.unwrap().bytes).collect();
    assert_eq!(encoded, given.map(|row| encode(&row).unwrap()), "a NaN that a task gave is no missing value");
    let inputs: Vec<Vec<u8>> = reader.input_rows().unwrap().map(Result::unwrap).collect();
    assert_eq!(inputs, [Some(4u32), None, None].map(|input| encode(&input).unwrap()));
    let shapes: Vec<String> = reader.shapes().into_iter().map(|(name, _)| name).collect();
    assert_eq!(shapes, ["/results", "/results_present", "/inputs", "/inputs_present"]);
}

#[test]
fn many_options_come_back() {
    let made = Made::new();
    let mut file = made.begin::<Option<u64>>();
    let option = |k: u64| (!k.is_multiple_of(3)).then_some(k);
    for start in (0..2_000_000).step_by(100_000) {
        file.append(&ok(start, &(start..start + 100_000).map(option).collect::<Vec<_>>())).unwrap();
    }
    file.finish(2_000_000, &[]).unwrap();
    let reader = made.read();
    let mut found = reader.rows().unwrap().map(|row| row.unwrap().bytes);
    assert!((0..2_000_000).all(|k| found.next().unwrap() == encode(&option(k)).unwrap()));
}

#[test]
fn no_other_field_has_the_name_of_a_mask() {
    #[derive(Serialize, Deserialize)]
    struct Taken {
        real: Option<f64>,
        real_present: bool,
    }
    #[derive(Serialize, Deserialize)]
    struct Free {
        text: Option<String>,
        text_present: bool,
    }
    let told = check(&Schema::of::<Taken>().unwrap(), &Rows::new(), None).unwrap_err().to_string();
    assert!(told.contains("a field cannot be named \"real_present\""), "{told}");
    check(&Schema::of::<Free>().unwrap(), &Rows::new(), None).unwrap();
    let axis = Rows::new().task_axis("results_present", "", [0.0]);
    let told = check(&Schema::of::<f64>().unwrap(), &axis, None).unwrap_err().to_string();
    assert!(told.contains("an axis cannot be named"), "{told}");
}

/// Up to format 3 an option was a list of none or one value.
#[test]
fn options_of_earlier_files_are_read() {
    let made = Made::new();
    let mut file = made.begin::<Option<f64>>();
    file.append(&ok(0, &[None, Some(2.5)])).unwrap();
    file.finish(2, &[]).unwrap();
    let file = hdf5::File::append(made.path.place()).unwrap();
    file.unlink("results").unwrap();
    file.unlink("results_present").unwrap();
    let group = file.create_group("results").unwrap();
    group.new_dataset_builder().with_data(&[2.5]).create("values").unwrap();
    group.new_dataset_builder().with_data(&[0u64, 0, 1]).create("offsets").unwrap();
    file.close().unwrap();
    assert_eq!(rows(&made.read()), [Some(Value::Null), Some(json!(2.5))]);
}

//! Rows whose columns are known only at run time, and what is measured and not computed.

use serde_json::{Value, json};

use super::{COMM, Folder, LEADERS, PROCESSES, SERIAL, Test, Way, assert_same, h5py, run, tool, values};

pub const TESTS: &[Test] = &[
    ("records become typed columns beside the other fields", &[SERIAL, COMM, LEADERS], columns),
    ("rows that are records are a group of columns", &[SERIAL, PROCESSES], whole),
    ("records and printed bytes are shown and exported", &[SERIAL], shown),
    ("records go through a journal, and over from an earlier file", &[SERIAL, COMM], resumed),
    ("a task that failed has its row all the same, told from fill", &[SERIAL, COMM, LEADERS], given),
    ("what is measured is not in the digest", &[SERIAL, COMM], measured),
];

fn columns(way: &Way) {
    let folder = Folder::new();
    let out = folder.file("out.h5");
    run(way, &["printing", "--n", "6", "--bad", "4", "-o", &out]).expect(1);
    let file = h5py(&out);
    assert_eq!(*values(&file, "results/exit_code"), json!([0, 1, 2, 3, 0, 5]));
    assert_eq!(
        *values(&file, "results/exit_code_"),
        json!(["fine", "fine", "fine", "fine", "", "fine"]),
        "a name that is taken"
    );
    let types = |name: &str| file["data"][format!("results/{name}")]["type"].clone();
    for (name, expected, of) in [
        ("steps", json!([0, 1, 2, 3, 0, 5]), "int64"),
        ("at.x", json!([0, 1, 2, 3, 0, 5]), "int64"),
        ("at.y", json!([-1.5, -1.5, -1.5, -1.5, "nan", -1.5]), "float64"),
        ("path/values", json!([0, 0, 1, 2, 2, 4, 3, 6, 5, 10]), "int64"),
        ("path/offsets", json!([0, 2, 4, 6, 8, 8, 10]), "uint64"),
        ("weights/values", json!([0.5, 0.0, 0.5, 1.0, 0.5, 2.0, 0.5, 3.0, 0.5, 5.0]), "float64"),
        ("converged", json!([true, false, true, false, false, false]), "bool"),
        ("any", json!(["0", "\"one\"", "2", "3", "", "5"]), "object"),
        ("late", json!(["nan", "nan", "nan", 3.0, "nan", 5.0]), "float64"),
        (
            "said",
            json!([
                "line \u{fffd}0",
                "line \u{fffd}1",
                "line \u{fffd}2",
                "line \u{fffd}3",
                "",
                "line \u{fffd}5"
            ]),
            "object",
        ),
    ] {
        assert_eq!(*values(&file, &format!("results/{name}")), expected, "{name}");
        assert_eq!(types(name), of, "{name}");
    }
    assert_eq!(file["data"]["results/seconds"]["attributes"]["units"], "s");
    assert_eq!(*values(&file, "inputs/x"), json!([0.0, 0.5, 1.0, 1.5, 2.0, 2.5]));
    assert_eq!(values(&file, "inputs/method")[3], "caf\u{e9} 1");
    assert_eq!(folder.names(), ["out.h5", "out.h5.journal"], "what waited on disk is gone");
}

fn whole(way: &Way) {
    let folder = Folder::new();
    let out = folder.file("out.h5");
    run(way, &["described", "-o", &out]).expect(0);
    let file = h5py(&out);
    assert_eq!(*values(&file, "results/sum"), json!([0, 3, 6, 9]));
    assert_eq!(*values(&file, "inputs/first"), json!([0, 1, 2, 3]));
    let csv = tool(&["export", &out, "--csv"]).expect(0).stdout;
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!((lines[0], lines[2]), ("task,status,first,input_sum,sum", "1,ok,1,unknown,3"));
    run(way, &["described", "--n", "0", "-o", &out, "--force"]).expect(0);
    assert_eq!(tool(&["export", &out, "--csv"]).expect(0).stdout, "task,status\n");
}

fn shown(_: &Way) {
    let folder = Folder::new();
    let out = folder.file("out.h5");
    run(&SERIAL, &["printing", "--n", "6", "--bad", "4", "-o", &out]).expect(1);
    let shown = tool(&["show", &out, "--json"]).expect(0).json();
    let row = &shown["rows"][3];
    assert_eq!(row["input"], json!({"x": 1.5, "method": "caf\u{e9} 1"}));
    assert_eq!(
        row["value"]["result"],
        json!({
            "steps": 3, "exit_code": "fine", "at": {"x": 3, "y": -1.5}, "path": [3, 6], "weights": [0.5, 3.0],
            "converged": false, "any": 3, "late": 3.0,
        })
    );
    assert_eq!((&row["value"]["exit_code"], &row["value"]["said"]), (&3.into(), &"line \u{fffd}3".into()));
    assert_eq!(shown["rows"][0]["value"]["result"].get("late"), None);
    assert_eq!((&shown["rows"][4]["value"], &shown["rows"][4]["input"]["x"]), (&Value::Null, &2.0.into()));
    let csv = tool(&["export", &out, "--csv"]).expect(0).stdout;
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(
        lines[0],
        "task,status,x,method,exit_code,steps,exit_code_,at.x,at.y,path,weights,converged,any,late,said,seconds,host"
    );
    assert!(
        lines[1].starts_with("0,ok,0.0,caf\u{e9} 0,0,0,fine,0,-1.5,\"[0,0]\",\"[0.5,0.0]\",true,0,,line"),
        "{csv}"
    );
    assert_eq!(lines[5], "4,failed,2.0,caf\u{e9} 0,,,,,,,,,,,,,");
}

fn resumed(way: &Way) {
    let folder = Folder::new();
    let [part, whole, merged] = ["part.h5", "whole.h5", "merged.h5"].map(|name| folder.file(name));
    let job = ["printing", "--n", "40"];
    run(way, &[&job[..], &["-o", &whole]].concat()).expect(0);
    run(way, &[&job[..], &["-o", &part, "--only", "0-9,20"]].concat()).expect(0);
    // What the part does not know of changes types; its list of inputs is whole.
    let file = h5py(&part);
    assert_eq!(values(&file, "inputs/x").as_array().unwrap().len(), 40);
    run(way, &[&job[..], &["-o", &part, "--resume"]].concat()).expect(0);
    let same = |found: &str| {
        let [mut found, mut expected] = [found, &whole].map(h5py);
        for file in [&mut found, &mut expected] {
            for measured in ["results/seconds", "results/host"] {
                file["data"][measured] = Value::Null;
            }
        }
        assert_same(&found, &expected);
    };
    same(&part);
    // The rows of an earlier file are made of its columns.
    run(way, &["described", "-o", &merged]).expect(0);
    let again = folder.file("again.h5");
    run(way, &["described", "--failed-from", &merged, "-o", &again]).expect(0);
    assert_same(&h5py(&again), &h5py(&merged));
}

fn given(way: &Way) {
    let folder = Folder::new();
    let [out, again] = ["out.h5", "again.h5"].map(|name| folder.file(name));
    let job = ["printing", "--n", "6", "--bad", "2", "--half", "4"];
    run(way, &[&job[..], &["-o", &out]].concat()).expect(1);
    // A file that is made of a journal has the same rows.
    for resumed in [false, true] {
        if resumed {
            run(way, &[&job[..], &["-o", &out, "--resume"]].concat()).expect(1);
        }
        let file = h5py(&out);
        assert_eq!(*values(&file, "status"), json!([0, 0, 1, 0, 1, 0]));
        assert_eq!(*values(&file, "given"), json!([true, true, false, true, true, true]));
        assert_eq!(*values(&file, "results/exit_code"), json!([0, 1, 0, 3, 4, 5]));
        assert_eq!(values(&file, "results/said")[4], "line \u{fffd}4");
        let shown = tool(&["show", &out, "--json", "--rows", "6"]).expect(0).json();
        let row =
            |task: usize| (&shown["rows"][task]["status"], &shown["rows"][task]["value"]["result"]["steps"]);
        assert_eq!((row(2), row(4)), ((&"failed".into(), &Value::Null), (&"failed".into(), &4.into())));
        let csv = tool(&["export", &out, "--csv"]).expect(0).stdout;
        assert!(
            csv.contains("\n2,failed,1.0,caf\u{e9} 0,,,") && csv.contains("\n4,failed,2.0,caf\u{e9} 0,4,4,"),
            "{csv}"
        );
    }
    let flags = ["--failed-from", &out, "-o", &again, "--json"];
    let report = run(way, &[&job[..], &flags].concat()).expect(1).json();
    assert_eq!([&report["resumed"], &report["failed"]], [4, 2], "it is run again as failed");
}

fn measured(way: &Way) {
    let folder = Folder::new();
    let [one, other] = ["one.h5", "other.h5"].map(|name| folder.file(name));
    let digest = |more: &[&str]| {
        let report = run(way, &[&["printing", "--json"], more].concat()).expect(0).json();
        report["results_digest"].as_str().unwrap().to_string()
    };
    let first = digest(&["-o", &one]);
    assert_eq!(digest(&["-o", &other]), first);
    assert_eq!(digest(&[]), first, "without a file");
    assert_ne!(digest(&["--n", "7"]), first);
    let [one, other] = [&one, &other].map(|file| h5py(file));
    assert_ne!(values(&one, "results/seconds"), values(&other, "results/seconds"));
    assert_eq!(one["attributes"]["measured"], json!(["seconds", "host"]));
}

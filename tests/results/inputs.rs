//! The list of a run's inputs.

use serde_json::json;

use super::{COMM, Folder, LEADERS, PROCESSES, SERIAL, Test, Way, h5py, run, tool, values};

pub const TESTS: &[Test] = &[
    ("a file has a list of its inputs", &[SERIAL, COMM, LEADERS], listed),
    ("items that do not tell what they are, are not listed", &[SERIAL], not_listed),
    ("the list is whole when the run ends early, and after it is resumed", &[SERIAL, PROCESSES], early),
    ("an axis has no name that the file needs", &[SERIAL], taken),
];

fn listed(way: &Way) {
    let folder = Folder::new();
    let out = folder.file("out.h5");
    run(way, &["plain", "--n", "5", "-o", &out]).expect(0);
    let file = h5py(&out);
    assert_eq!(*values(&file, "inputs"), json!([0, 1, 2, 3, 4]));
    assert_eq!(
        (&file["data"]["inputs"]["type"], &file["attributes"]["inputs_type"]),
        (&"uint64".into(), &"{\"scalar\":\"u64\"}".into())
    );
    let shown = tool(&["show", &out, "--json"]).expect(0).json();
    assert_eq!(shown["rows"][4], json!({"task": 4, "status": "ok", "value": 2.0, "input": 4}));
    assert_eq!(shown["datasets"][1], json!({"path": "/inputs", "shape": [5]}));
    assert!(tool(&["show", &out]).expect(0).stdout.contains("4 -> 2.0"));
    let csv = tool(&["export", &out, "--csv"]).expect(0).stdout;
    assert!(csv.starts_with("task,status,input,value\n0,ok,0,0.0\n"), "{csv}");
    run(way, &["plain", "--n", "0", "-o", &out, "--force"]).expect(0);
    assert_eq!(*values(&h5py(&out), "inputs"), json!([]));
    let many = ["plain", "--n", "300000", "-o", &out, "--force"];
    run(way, &many).expect(0);
    let all: Vec<u64> = (0..300_000).collect();
    assert_eq!(*values(&h5py(&out), "inputs"), json!(all));
    assert_eq!(folder.names(), ["out.h5"]);
}

fn not_listed(way: &Way) {
    let folder = Folder::new();
    let out = folder.file("out.h5");
    run(way, &["unsendable", "-o", &out]).expect(1);
    let file = h5py(&out);
    assert!(file["data"].get("inputs").is_none() && file["attributes"].get("inputs_type").is_none());
    let csv = tool(&["export", &out, "--csv"]).expect(0).stdout;
    assert!(csv.starts_with("task,status,value\n"), "{csv}");
    assert!(tool(&["show", &out, "--json"]).expect(0).json()["rows"][0].get("input").is_none());
}

fn early(way: &Way) {
    let folder = Folder::new();
    let out = folder.file("out.h5");
    let bad: Vec<String> = (0..50).map(|k| k.to_string()).collect();
    let job = ["trouble", "--n", "300000", "--bad", &bad.join(","), "-o", &out];
    run(way, &[&job[..], &["--max-failures", "10"]].concat()).expect(1);
    let all = json!((0..300_000).collect::<Vec<u64>>());
    assert_eq!(*values(&h5py(&out), "inputs"), all);
    run(way, &[&job[..], &["--resume"]].concat()).expect(1);
    assert_eq!(*values(&h5py(&out), "inputs"), all);
    let again = folder.file("again.h5");
    run(way, &[&job[..5], &["--failed-from", &out, "-o", &again]].concat()).expect(1);
    assert_eq!(*values(&h5py(&again), "inputs"), all);
}

fn taken(way: &Way) {
    let folder = Folder::new();
    let refused = run(way, &["taken", "-o", &folder.file("out.h5")]);
    assert!(refused.stderr.contains("an axis cannot be named \"inputs\""), "{refused:?}");
}

//! What lies in the file.

use std::{collections::HashMap, path::Path};

use serde_json::{Value, json};

use super::{
    COMM, Folder, LEADERS, POOL, PROCESSES, SERIAL, Test, Way, assert_same, h5py, mode_of, python, run, tool,
    values,
};
use crate::support::{skipped, start};

pub const TESTS: &[Test] = &[
    (
        "a file has a row a task, statuses, a trace and where it comes from",
        &[SERIAL, PROCESSES, COMM, POOL, LEADERS],
        plain,
    ),
    ("structs of numbers are compounds with their units", &[SERIAL, COMM], compound),
    ("rows of any length are values and offsets, texts are UTF-8", &[SERIAL, COMM], everything),
    ("options of earlier files are read", &[SERIAL], earlier_options),
    ("the same file with and without a journal, compressed or not", &[SERIAL, COMM, LEADERS], no_journal),
    ("no tasks make a file without rows", &[SERIAL], empty),
    ("files are not overwritten, and refused before any work", &[SERIAL], refusals),
    ("a full disk is an error that names the file, and the journal survives it", &[SERIAL], full_disk),
    ("results larger than memory go through", &[SERIAL, COMM], larger_than_memory),
    ("ten million numbers go through", &[SERIAL, COMM], ten_million),
    ("show tells what h5py finds", &[SERIAL], show),
    ("csv, JSON lines and npy hold the rows", &[SERIAL], export),
    ("parquet is one table with types, where it is built in", &[SERIAL], parquet),
    ("events tell the run in order", &[SERIAL, COMM, LEADERS], events),
    ("what happened to workers and children is in the file", &[PROCESSES, LEADERS], happened),
    ("each rank logs into a file of its own", &[COMM], log_dir),
];

fn plain(way: &Way) {
    let folder = Folder::new();
    let out = folder.file("out.h5");
    let report =
        run(way, &["plain", "--n", "1000", "--output", &out, "--seed", "3", "--json"]).expect(0).json();
    assert_eq!(folder.names(), ["out.h5"], "the journal goes when the file is there");
    assert_eq!(report["files"], json!([out]));
    let file = h5py(&out);
    let expected: Vec<f64> = (0..1000).map(|k| f64::from(k).sqrt()).collect();
    assert_eq!(*values(&file, "results"), json!(expected));
    assert_eq!(file["data"]["results"]["type"], "float64");
    assert_eq!(*values(&file, "status"), json!(vec![0; 1000]));
    let names = json!({"ok": 0, "failed": 1, "timed_out": 2, "quarantined": 3, "not_run": 4});
    assert_eq!(file["data"]["status"]["names"], names);
    assert_eq!(*values(&file, "errors"), json!([]));

    let attributes = &file["attributes"];
    assert_eq!(attributes["job"], "plain");
    assert_eq!(attributes["parameters"], "{\"n\":1000}");
    assert_eq!((&attributes["seed"], &attributes["tasks"]), (&3.into(), &1000.into()));
    assert_eq!(attributes["rankpool_version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(attributes["mode"], mode_of(way));
    let counts = match way.0 {
        "serial" => [1, 1, 0, 1],
        "leaders" => [2, 2, 4, 4],
        _ => [3, 2, 0, 2],
    };
    assert_eq!(["ranks", "workers", "children", "slots"].map(|name| &attributes[name]), counts);
    assert_eq!(attributes["hosts"].as_array().unwrap().len(), 1);
    let uses_mpi = matches!(mode_of(way), "comm" | "pool");
    assert_eq!(attributes["mpi_library"].as_str().unwrap().contains("MPI"), uses_mpi);
    let command = attributes["command_line"].as_str().unwrap();
    assert!(command.contains("run plain") && command.contains("--seed 3"), "{command}");
    assert!(attributes["started"].as_str().unwrap() < attributes["ended"].as_str().unwrap());
    assert!(attributes["build_id"].as_str().unwrap().len() >= 16);

    let trace = values(&file, "trace").as_array().unwrap();
    let mut chunks: Vec<(u64, u64)> = Vec::new();
    let mut processes: HashMap<(u64, u64), u64> = HashMap::new();
    for row in trace {
        chunks.push((row["start"].as_u64().unwrap(), row["count"].as_u64().unwrap()));
        let [dispatched, started, ended] =
            ["dispatched", "started", "ended"].map(|name| row[name].as_f64().unwrap());
        assert!(0.0 < dispatched && dispatched <= started && started <= ended && ended < 60.0, "{row}");
        assert_eq!(row["host"], attributes["hosts"][0]);
        let [rank, slot, pid] = ["rank", "slot", "pid"].map(|name| row[name].as_u64().unwrap());
        let leads = way.0 == LEADERS.0;
        assert!(leads && rank < 2 && slot < 2 || slot == 0 && (rank == 0) == (way.0 == "serial"), "{row}");
        assert!(*processes.entry((rank, slot)).or_insert(pid) == pid && pid > 0, "{row}");
    }
    chunks.sort_unstable();
    let end = chunks.iter().fold(0, |end, (start, count)| {
        assert_eq!(*start, end, "the chunks of the trace cover the tasks");
        start + count
    });
    assert_eq!(end, 1000);
}

fn compound(way: &Way) {
    let folder = Folder::new();
    let out = folder.file("out.h5");
    run(way, &["compound", "-o", &out]).expect(0);
    let file = h5py(&out);
    let rows = values(&file, "results").as_array().unwrap();
    assert_eq!(rows.len(), 7);
    assert_eq!(rows[5], json!({"k": 5, "at": [2.5, -5.0], "colour": 2, "even": false}));
    assert_eq!(file["data"]["results"]["attributes"]["units"], json!(["1", "m", "", ""]));
}

fn everything(way: &Way) {
    let folder = Folder::new();
    let out = folder.file("out.h5");
    run(way, &["everything", "--n", "6", "--bad", "4", "-o", &out]).expect(1);
    let file = h5py(&out);
    let name: Vec<String> =
        (0..6).map(|k| if k == 4 { String::new() } else { format!("caf\u{e9} {k}") }).collect();
    assert_eq!(*values(&file, "results/name"), json!(name));
    assert_eq!(*values(&file, "results/number"), json!([-3, -2, -1, 0, 0, 2]));
    assert_eq!(*values(&file, "results/series/offsets"), json!([0, 0, 1, 3, 6, 6, 11]));
    assert_eq!(*values(&file, "results/series/values"), json!([0, 0, 1, 0, 1, 2, 0, 1, 2, 3, 4]));
    assert_eq!(*values(&file, "results/block/offsets"), json!([0, 0, 1, 3, 3, 3, 5]));
    assert_eq!(*values(&file, "results/block/values"), json!([0.5, 0.5, 1.5, 0.5, 1.5]));
    assert_eq!(*values(&file, "results/maybe"), json!(["nan", 1.0, "nan", 3.0, "nan", 5.0]));
    assert_eq!(*values(&file, "results/maybe_present"), json!([false, true, false, true, false, true]));
    assert_eq!(*values(&file, "results/counts/offsets"), json!([0, 0, 1, 3, 6, 6, 7]));
    assert_eq!(
        *values(&file, "results/counts/values/key"),
        json!(["key0", "key0", "key1", "key0", "key1", "key2", "key0"])
    );
    assert_eq!(*values(&file, "results/counts/values/value"), json!([0, 0, 2, 0, 3, 6, 0]));
    assert_eq!(*values(&file, "results/texts/values"), json!(["", "", "x", "", "x"]));
    assert_eq!(*values(&file, "results/mark"), json!(["\u{20ac}", "a", "\u{20ac}", "a", " ", "a"]));
    assert_eq!(*values(&file, "status"), json!([0, 0, 0, 0, 1, 0]));
    let error = &values(&file, "errors")[0];
    assert_eq!((&error["task"], &error["attempt"]), (&4.into(), &1.into()));
    assert_eq!((&error["kind"], &error["message"]), (&"failed".into(), &"4 is bad".into()));
}

/// In files of format 3 options are lists.
fn earlier_options(way: &Way) {
    let folder = Folder::new();
    let [out, again] = ["out.h5", "again.h5"].map(|name| folder.file(name));
    run(way, &["everything", "--n", "6", "--bad", "4", "-o", &out]).expect(1);
    let told = || {
        let rows = tool(&["show", &out, "--json"]).expect(0).json()["rows"].clone();
        (rows, tool(&["export", &out, "--jsonl"]).expect(0).stdout)
    };
    let now = told();
    python("earlier_format.py", &[&out, "3"]);
    assert_eq!(*values(&h5py(&out), "results/maybe/values"), json!([1.0, 3.0, 5.0]));
    assert_eq!(told(), now);
    run(way, &["everything", "--n", "6", "--bad", "4", "--failed-from", &out, "-o", &again]).expect(1);
    let mask = json!([false, true, false, true, false, true]);
    assert_eq!(*values(&h5py(&again), "results/maybe_present"), mask);
}

fn no_journal(way: &Way) {
    let folder = Folder::new();
    let [with, without, small] = ["with.h5", "without.h5", "small.h5"].map(|name| folder.file(name));
    let job = ["everything", "--n", "500", "--bad", "4,77", "-o"];
    run(way, &[&job[..], &[&with]].concat()).expect(1);
    run(way, &[&job[..], &[&without, "--no-journal"]].concat()).expect(1);
    assert_eq!(folder.names(), ["with.h5", "with.h5.journal", "without.h5"]);
    assert_same(&h5py(&without), &h5py(&with));
    let numbers = ["plain", "--n", "50000", "-o"];
    run(way, &[&numbers[..], &[&small, "--compress", "4"]].concat()).expect(0);
    run(way, &[&numbers[..], &[&with, "--force"]].concat()).expect(0);
    let (small, large) = (h5py(&small), h5py(&with));
    assert_eq!(values(&small, "results"), values(&large, "results"));
    assert_eq!(small["data"]["results"]["filters"], json!(["gzip", 4]));
    assert_eq!(large["data"]["results"]["filters"], json!([null, null]));
}

fn empty(way: &Way) {
    let folder = Folder::new();
    for job in ["plain", "everything", "compound"] {
        let out = folder.file(&format!("{job}.h5"));
        run(way, &[job, "--n", "0", "-o", &out]).expect(0);
        let file = h5py(&out);
        assert_eq!(*values(&file, "status"), json!([]));
        assert_eq!(tool(&["show", &out, "--json"]).expect(0).json()["tasks"], 0);
    }
}

fn refusals(way: &Way) {
    let folder = Folder::new();
    let out = folder.file("out.h5");
    std::fs::write(&out, "mine").unwrap();
    let refused = run(way, &["steady", "-o", &out]).expect(2);
    assert!(refused.stderr.contains("out.h5: exists already; --force replaces it"), "{refused:?}");
    assert_eq!(
        (std::fs::read(&out).unwrap(), folder.names()),
        (b"mine".to_vec(), vec!["out.h5".to_string()])
    );
    run(way, &["plain", "-o", &out, "--force"]).expect(0);
    assert_eq!(values(&h5py(&out), "status").as_array().unwrap().len(), 1000);

    let nowhere = folder.file("no/such/folder/out.h5");
    let refused = run(way, &["steady", "-o", &nowhere]).expect(2);
    assert!(refused.stderr.contains("out.h5: cannot be made: No such file or directory"), "{refused:?}");
    // Where not even root may write.
    let refused = run(way, &["steady", "-o", "/proc/out.h5"]).expect(2);
    assert!(refused.stderr.contains("/proc/out.h5: cannot be made"), "{refused:?}");
    let refused = run(way, &["steady", "-o", folder.path("").to_str().unwrap()]).expect(2);
    assert!(refused.stderr.contains("is a folder"), "{refused:?}");
    let refused = run(way, &["unfit", "-o", &folder.file("unfit.h5")]).expect(2);
    assert!(refused.stderr.contains("128 bits has no place in a result file; use u64 or f64"), "{refused:?}");
    let refused = run(way, &["plain", "-o", &folder.file("a.h5"), "--journal", &out]).expect(2);
    assert!(refused.stderr.contains("out.h5: is no journal of rankpool, and is left alone"), "{refused:?}");
    assert_eq!(folder.names(), ["out.h5"], "nothing is left of what was refused");
    for (flags, why) in [
        (&["--resume"][..], "--resume goes on from a journal"),
        (&["--retry-failed"], "--resume"),
        (&["-o", "x", "--journal", "y", "--no-journal"], "cannot be used with"),
        (&["-o", "x", "--journal", "./x"], "--output and --journal both name x"),
        (&["-o", "x", "--events", "/no/such/file"], "/no/such/file"),
        (&["-o", "x", "--failed-from", "/no/such.h5"], "there is no such file"),
        (&["-o", "x", "--only", "5-3"], "ends before it starts"),
        (&["-o", "x", "--only", "1000"], "--only names task 1000, and plain has 1000 tasks, from 0"),
        (&["-o", "x", "--compress", "10"], "10 is not in 0..=9"),
        (&["--compress", "1"], "--compress is for an output"),
        (&["--max-failures", "101%"], "5%"),
    ] {
        let refused = run(way, &[&["plain"], flags].concat()).expect(2);
        assert!(refused.stderr.contains(why), "{flags:?}: {refused:?}");
        assert!(!Path::new("x.journal").exists(), "{flags:?} left a journal behind");
    }
}

/// A small file system in memory; unmounted when it is dropped.
struct SmallDisk(Folder);

impl SmallDisk {
    fn mount() -> Option<SmallDisk> {
        let disk = SmallDisk(Folder::new());
        disk.call("mount", &["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).then_some(disk)
    }

    /// Gives it room for everything.
    fn grow(&self) {
        assert!(self.call("mount", &["-o", "remount,size=200m"]));
    }

    fn call(&self, program: &str, arguments: &[&str]) -> bool {
        let mut command = std::process::Command::new(program);
        command.args(arguments).arg(self.0.path("")).output().is_ok_and(|output| output.status.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        self.call("umount", &[]);
    }
}

fn full_disk(way: &Way) {
    for full in ["out.h5", "out.journal"] {
        let Some(disk) = SmallDisk::mount() else {
            skipped("a full disk needs a small file system, and mounting one needs root");
            return;
        };
        let folder = Folder::new();
        let place = |name: &str| if name == full { disk.0.file(name) } else { folder.file(name) };
        let (out, journal) = (place("out.h5"), place("out.journal"));
        let job =
            ["large", "--n", "30", "--numbers", "131072", "--chunk", "1", "-o", &out, "--journal", &journal];
        let failed = run(way, &job).expect(70);
        let why = format!("{full} cannot be written: No space left on device");
        for part in [&why, "what is done is in ", "--resume"] {
            assert!(failed.stderr.contains(part), "{failed:?}");
        }
        let mut left = [disk.0.names(), folder.names()].concat();
        left.sort();
        assert_eq!(left, ["out.journal"], "nothing but the journal is left");
        disk.grow();
        let report = run(way, &[&job[..], &["--resume", "--json"]].concat()).expect(0).json();
        let resumed = report["resumed"].as_u64().unwrap();
        assert!(resumed > 0 && report["done"] == 30, "{report}");
    }
}

/// The most memory that rank 0 used, in MB, is told at the end.
fn peak(report: &Value) -> u64 {
    report["rank_0_peak_bytes"].as_u64().unwrap() / 1_000_000
}

fn larger_than_memory(way: &Way) {
    let folder = Folder::new();
    let out = folder.file("out.h5");
    let job = ["large", "--n", "150", "-o", &out, "--json"];
    let ended = start(&mut super::command(way, &[&["run"], &job[..]].concat()));
    let report = ended.end_within(4 * crate::support::LIMIT).expect(0).json();
    assert!(std::fs::metadata(&out).unwrap().len() > 150 << 23);
    assert!(peak(&report) < 500, "rank 0 used {} MB", peak(&report));
}

fn ten_million(way: &Way) {
    let folder = Folder::new();
    let out = folder.file("out.h5");
    let job = ["plain", "--n", "10000000", "-o", &out, "--json"];
    let ended = start(&mut super::command(way, &[&["run"], &job[..]].concat()));
    let report = ended.end_within(4 * crate::support::LIMIT).expect(0).json();
    assert!(peak(&report) < 500, "rank 0 used {} MB", peak(&report));
    let sum = python("sum_results.py", &[&out]);
    assert_eq!(sum.trim(), "10000000 21081849486.4");
}

fn show(way: &Way) {
    let folder = Folder::new();
    let out = folder.file("out.h5");
    run(way, &["trouble", "--bad", "3,4", "--only", "0-9", "-o", &out]).expect(1);
    let shown = tool(&["show", &out, "--json", "--rows", "5"]).expect(0).json();
    let file = h5py(&out);
    assert_eq!((&shown["job"], &shown["tasks"]), (&"trouble".into(), &20.into()));
    assert_eq!([&shown["done"], &shown["failed"], &shown["not_run"]], [8, 2, 10]);
    assert_eq!(shown["parameters"].to_string(), file["attributes"]["parameters"].as_str().unwrap());
    for name in ["seed", "mode", "ranks", "workers", "hosts", "started", "ended", "command_line", "build_id"]
    {
        assert_eq!(shown[name], file["attributes"][name], "{name}");
    }
    assert_eq!(
        shown["datasets"],
        json!([{"path": "/results", "shape": [20]}, {"path": "/inputs", "shape": [20]}])
    );
    assert_eq!(shown["rows"].as_array().unwrap().len(), 5);
    assert_eq!(shown["rows"][2], json!({"task": 2, "status": "ok", "value": 0.5, "input": 2}));
    assert_eq!(shown["rows"][3], json!({"task": 3, "status": "failed", "value": null, "input": 3}));
    assert_eq!(shown["failures"][1]["message"], "bad on purpose");
    assert_eq!(shown["chunks"].as_u64().unwrap() as usize, values(&file, "trace").as_array().unwrap().len());
    assert!(shown["slowest_chunks"][0]["seconds"].as_f64() >= shown["slowest_chunks"][1]["seconds"].as_f64());
    let text = tool(&["show", &out]).expect(0).stdout;
    for part in ["trouble: 20 tasks: 8 ok, 2 failed, 10 not run", "/results", "bad on purpose", "utilisation"]
    {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    for (file, why) in [("/no/such.h5", "there is no such file"), ("/etc/passwd", "cannot be read as HDF5")] {
        assert!(tool(&["show", file]).expect(2).stderr.contains(why), "{file}");
    }
}

fn export(way: &Way) {
    let folder = Folder::new();
    let [points, rows] = ["points.h5", "rows.h5"].map(|name| folder.file(name));
    run(way, &["compound", "--n", "4", "-o", &points]).expect(0);
    run(way, &["everything", "--n", "5", "--bad", "4", "-o", &rows]).expect(1);
    let csv = tool(&["export", &points, "--csv"]).expect(0).stdout;
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines[0], "task,status,input,k,at,colour,even");
    assert_eq!(lines[2], "1,ok,1,1,\"[0.5,-1.0]\",Green,false");
    assert_eq!(lines.len(), 5);
    let csv = tool(&["export", &rows, "--csv"]).expect(0).stdout;
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines[0], "task,status,input,name,series,block,maybe,counts,texts,mark,number");
    assert_eq!(
        lines[2],
        "1,ok,1,caf\u{e9} 1,[0],[0.5],1.0,\"[{\"\"key\"\":\"\"key0\"\",\"\"value\"\":0}]\",\"[\"\"\"\"]\",a,-2"
    );
    assert_eq!(lines[5], "4,failed,4,,,,,,,,");

    let edges = folder.file("edges.h5");
    run(way, &["edges", "-o", &edges]).expect(0);
    let csv = tool(&["export", &edges, "--csv"]).expect(0).stdout;
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines[0], "task,status,input,result_status,small,signed,real,single,flags");
    assert_eq!(lines[1], "0,ok,0,0,0,0,NaN,null,null");

    let lines = tool(&["export", &rows, "--jsonl"]).expect(0).stdout;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[1]["status"], &lines[1]["input"]), (&json!("ok"), &json!(1)));
    assert_eq!(lines[1]["result"]["counts"], json!([{"key": "key0", "value": 0}]));
    assert_eq!(lines[4], json!({"task": 4, "status": "failed", "input": 4, "result": null}));

    let npy = folder.file("points.npy");
    tool(&["export", &points, "--npy", "--to", &npy]).expect(0);
    let loaded: Value = serde_json::from_str(&python("load_npy.py", &[&npy])).unwrap();
    assert_eq!(loaded["names"], json!(["k", "at", "colour", "even"]));
    assert_eq!(loaded["values"][3], json!([3, [1.5, -3.0], 0, false]));
    let again = tool(&["export", &points, "--npy", "--to", &npy]).expect(2);
    assert!(
        again.stderr.contains("points.npy: exists already") && again.stderr.contains("--force"),
        "{again:?}"
    );
    tool(&["export", &rows, "--npy", "--dataset", "results/series/values", "--to", &npy, "--force"])
        .expect(0);
    let loaded: Value = serde_json::from_str(&python("load_npy.py", &[&npy])).unwrap();
    assert_eq!(loaded["values"], json!([0, 0, 1, 0, 1, 2]));
    let refused = tool(&["export", &rows, "--npy"]).expect(2);
    assert!(refused.stderr.contains("/results/series/values"), "{refused:?}");
    let refused = tool(&["export", &rows, "--npy", "--dataset", "results/name"]).expect(2);
    assert!(refused.stderr.contains("use --csv"), "{refused:?}");
}

fn parquet(way: &Way) {
    let folder = Folder::new();
    let [file, table] = ["out.h5", "out.parquet"].map(|name| folder.file(name));
    let made = |job: &[&str]| {
        run(way, &[job, &["-o", &file, "--force", "--no-journal"]].concat());
        tool(&["export", &file, "--parquet", "--to", &table, "--force"])
    };
    let ended = made(&["everything", "--n", "5", "--bad", "4"]);
    if !cfg!(feature = "parquet") {
        let refused = ended.expect(2);
        assert!(refused.stderr.contains("build it with the feature `parquet`"), "{refused:?}");
        assert_eq!(folder.names(), ["out.h5"]);
        return;
    }
    let exported = |job: &[&str]| -> Value {
        made(job).expect(0);
        serde_json::from_str(&python("parquet_file.py", &[&table])).unwrap()
    };
    let found = exported(&["everything", "--n", "5", "--bad", "4"]);
    let types = json!({
        "task": "int64", "status": "string", "input": "uint64", "name": "string", "series": "list<element: int16>",
        "block": "list<element: float>", "maybe": "double", "counts": "string",
        "texts": "list<element: string>", "mark": "string", "number": "int64",
    });
    assert_eq!(found["types"], types);
    let row = json!({
        "task": 2, "status": "ok", "input": 2, "name": "caf\u{e9} 2", "series": [0, 1], "block": [0.5, 1.5],
        "maybe": null, "counts": r#"[{"key":"key0","value":0},{"key":"key1","value":2}]"#, "texts": ["", "x"],
        "mark": "\u{20ac}", "number": -1,
    });
    assert_eq!(found["rows"][2], row);
    assert_eq!((&found["rows"][0]["series"], &found["rows"][1]["maybe"]), (&json!([]), &json!(1.0)));
    let failed = found["rows"][4].as_object().unwrap();
    let given: Vec<&String> =
        failed.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name).collect();
    assert_eq!(given, ["task", "status", "input"]);

    let found = exported(&["edges"]);
    let none = json!({
        "task": 0, "status": "ok", "input": 0, "result_status": 0, "small": 0, "signed": 0, "real": "nan",
        "single": null, "flags": null,
    });
    let full = json!({
        "task": 1, "status": "ok", "input": 1, "result_status": u64::MAX, "small": u32::MAX, "signed": -128,
        "real": "-inf", "single": 0.1f32, "flags": [null, true],
    });
    assert_eq!(found["rows"], json!([none, full]));
    assert_eq!((&found["types"]["signed"], &found["types"]["small"]), (&json!("int8"), &json!("uint32")));
    let found = exported(&["printing", "--n", "4"]);
    assert_eq!((&found["types"]["at.y"], &found["rows"][3]["late"]), (&json!("double"), &json!(3.0)));
    assert_eq!(exported(&["plain", "--n", "0"])["rows"], json!([]));
    let found = exported(&["large", "--n", "9"]);
    assert_eq!(found["groups"], 2, "rows are written before all of them are read");
    assert_eq!(found["rows"].as_array().unwrap().len(), 9);
    assert_eq!(found["rows"][8]["value"], 1 << 20);
}

fn events(way: &Way) {
    let folder = Folder::new();
    let [out, told] = ["out.h5", "events.jsonl"].map(|name| folder.file(name));
    let flags = ["--bad", "3", "--flaky", "5", "--retries", "1", "-o", &out, "--events", &told];
    run(way, &[&["trouble", "--n", "100"], &flags[..]].concat()).expect(1);
    let text = std::fs::read_to_string(&told).unwrap();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (first, last) = (&events[0], &events[events.len() - 1]);
    assert_eq!((&first["event"], &last["event"]), (&"run_started".into(), &"run_ended".into()));
    assert_eq!(
        (&first["job"], &first["tasks"], &first["mode"]),
        (&"trouble".into(), &100.into(), &mode_of(way).into())
    );
    assert_eq!([&last["done"], &last["failed"], &last["not_run"]], [99, 1, 0]);
    let times: Vec<f64> = events.iter().map(|event| event["t"].as_f64().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    let of = |name: &str| events.iter().filter(|event| event["event"] == *name).collect::<Vec<_>>();
    let tasks = |name: &str| of(name).iter().map(|event| event["count"].as_u64().unwrap()).sum::<u64>();
    // Tasks 3 and 5 are run twice.
    assert_eq!((tasks("chunk_dispatched"), tasks("chunk_done")), (102, 102));
    let failed: Vec<(u64, u64, bool)> = of("task_failed")
        .iter()
        .map(|event| {
            assert!(event["message"].as_str().unwrap().contains("on purpose") && event["host"].is_string());
            (
                event["task"].as_u64().unwrap(),
                event["attempt"].as_u64().unwrap(),
                event["last"].as_bool().unwrap(),
            )
        })
        .collect();
    for expected in [(3, 1, false), (3, 2, true), (5, 1, false)] {
        assert!(failed.contains(&expected), "{failed:?}");
    }
    assert_eq!(failed.len(), 3);
}

fn happened(way: &Way) {
    let folder = Folder::new();
    let [out, told] = ["out.h5", "events.jsonl"].map(|name| folder.file(name));
    let kinds = ["run_started", "worker_lost", "worker_joined", "child_lost", "child_joined", "drain_began"];
    for journal in [&[][..], &["--no-journal", "--force"]] {
        let flags =
            ["--stuck", "5", "--task-timeout", "500ms", "--chunk", "1", "-o", &out, "--events", &told];
        // The tasks take longer than a replacement does to come.
        let job = ["trouble", "--n", "60", "--milliseconds", "50"];
        run(way, &[&job[..], &flags, journal].concat()).expect(1);
        let text = std::fs::read_to_string(&told).unwrap();
        std::fs::remove_file(&told).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let lines: Vec<Value> =
            lines.filter(|line| kinds.iter().any(|kind| line["event"] == *kind)).collect();
        let file = h5py(&out);
        let rows = values(&file, "events").as_array().unwrap();
        assert_eq!(rows.len(), lines.len(), "{rows:?}\n{lines:?}");
        let or = |value: &Value, other: Value| if value.is_null() { other } else { value.clone() };
        let mut chunks = 0;
        for (row, line) in rows.iter().zip(&lines) {
            for (name, none) in [("event", "".into()), ("host", "".into()), ("reason", "".into())] {
                assert_eq!(row[name], or(&line[name], none), "{name}: {row} {line}");
            }
            for (name, none) in [("rank", -1), ("slot", -1), ("pid", 0)] {
                assert_eq!(row[name], or(&line[name], none.into()), "{name}: {row} {line}");
            }
            let chunk = &line["chunk"];
            assert_eq!(
                [&row["start"], &row["count"]],
                [&or(&chunk["start"], 0.into()), &or(&chunk["count"], 0.into())]
            );
            let near = |a: &Value, b: &Value| (a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-9;
            assert!(near(&row["t"], &line["t"]), "{row} {line}");
            match chunk {
                Value::Null => assert_eq!(row["dispatched"], "nan"),
                chunk => assert!(near(&row["dispatched"], &chunk["dispatched"]), "{row} {line}"),
            }
            if line["event"] == "worker_lost" {
                assert_eq!([&chunk["start"], &chunk["count"]], [5, 1], "{line}");
                chunks += 1;
            }
        }
        // A leader does not tell what its child was at.
        assert_eq!(chunks, if way.0 == PROCESSES.0 { 1 } else { 0 });
        assert!(rows.iter().any(|row| row["event"].as_str().unwrap().ends_with("_joined")), "{rows:?}");
        assert_eq!(file["data"]["events"]["attributes"], json!({"left_out": 0, "units_of_times": "s"}));
    }
}

fn log_dir(way: &Way) {
    let folder = Folder::new();
    let logs = folder.file("logs");
    let mut command = super::command(way, &["run", "plain", "--log-dir", &logs]);
    let ended = start(command.env("RANKPOOL_LOG", "debug")).end().expect(0);
    assert!(!ended.stderr.contains("DEBUG"), "{ended:?}");
    for rank in 0..3 {
        let text = std::fs::read_to_string(folder.path(&format!("logs/rank-{rank}.log"))).unwrap();
        assert!(text.lines().all(|line| line.starts_with(&format!("rank {rank} "))), "{text}");
        assert!(!text.is_empty());
    }
    let mut command = super::command(way, &["run", "plain"]);
    let ended = start(command.env("RANKPOOL_LOG", "rankpool=debug")).end().expect(0);
    assert!(ended.stderr.contains("rank 0 ") && ended.stderr.contains("rank 2 "), "{ended:?}");
    let mut command = super::command(&SERIAL, &["run", "plain"]);
    let refused = start(command.env("RANKPOOL_LOG", "no=such=level")).end().expect(2);
    assert!(refused.stderr.contains("RANKPOOL_LOG"), "{refused:?}");
}

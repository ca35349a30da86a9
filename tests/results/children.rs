//! Leaders and their children: what dies costs a child, and what each child sees.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    Ended, Folder, LEADERS, NODE, SERIAL, Test, Way, assert_same, command, events_of, h5py, python, run,
    tool, values,
};
use crate::support::start;

pub const TESTS: &[Test] = &[
    ("a child that dies is told of and replaced, and no worker is lost", &[NODE, LEADERS], dies),
    ("failures are the same as those of one serial rank", &[NODE, LEADERS], same_failures),
    ("each child sees GPUs of its own, or its part of one", &[NODE], gpus),
    ("children that are bound have no CPU in common", &[NODE], bound),
    ("a file of the format before there were leaders is shown", &[NODE], earlier_format),
];

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_else(|| panic!("no {name} in {value}"))
}

fn dies(way: &Way) {
    let folder = Folder::new();
    let [out, log] = ["out.h5", "log.jsonl"].map(|name| folder.file(name));
    let flags = ["--milliseconds", "20", "--deadly", "30", "--chunk", "static", "--json"];
    let ended =
        run(way, &[&["trouble", "--n", "40", "-o", &out, "--events", &log], &flags[..]].concat()).expect(1);
    assert!(
        ended.stderr.contains("2 children  ") && ended.stderr.contains("  3 children were lost\n"),
        "{ended:?}"
    );
    let report = ended.json();
    assert_eq!([&report["done"], &report["failed"]], [39, 1]);
    assert_eq!([&report["lost_workers"], &report["lost_children"]], [0, 3]);
    let file = h5py(&out);
    assert_eq!(values(&file, "status")[30], 3);

    let [started, lost, joined] =
        ["run_started", "child_lost", "child_joined"].map(|name| events_of(&log, name));
    assert!(events_of(&log, "worker_lost").is_empty() && events_of(&log, "worker_joined").is_empty());
    let mut seats: HashMap<(u64, u64), Vec<u64>> = HashMap::new();
    for worker in started[0]["workers"].as_array().unwrap() {
        assert_eq!(worker["threads"], 2);
        for child in worker["children"].as_array().unwrap() {
            seats.insert((number(worker, "rank"), number(child, "slot")), vec![number(child, "pid")]);
        }
    }
    for event in &joined {
        seats.get_mut(&(number(event, "rank"), number(event, "slot"))).unwrap().push(number(event, "pid"));
    }
    assert_eq!(lost.len(), 3);
    let trace = values(&file, "trace").as_array().unwrap();
    for event in &lost {
        let (seat, pid) = ((number(event, "rank"), number(event, "slot")), number(event, "pid"));
        assert!(event["reason"].as_str().unwrap().contains("its process ended"), "{event}");
        let place = seats[&seat].iter().position(|known| *known == pid).expect("a child that was told of");
        let earlier = &seats[&seat][..=place];
        let before = trace.iter().filter(|row| {
            let of_it = (number(row, "rank"), number(row, "slot")) == seat;
            of_it && row["ended"].as_f64().unwrap() < event["t"].as_f64().unwrap() - 0.01
        });
        for row in before {
            assert!(earlier.contains(&number(row, "pid")), "{row} is not of {earlier:?}: {event}");
        }
    }
}

fn same_failures(way: &Way) {
    let folder = Folder::new();
    let [serial, led] = ["serial.h5", "led.h5"].map(|name| folder.file(name));
    let job = ["trouble", "--n", "300", "--bad", "2,3,77,299", "--flaky", "4,150", "--retries", "1", "-o"];
    run(&SERIAL, &[&job[..], &[&serial]].concat()).expect(1);
    run(way, &[&job[..], &[&led]].concat()).expect(1);
    assert_same(&h5py(&led), &h5py(&serial));
}

/// What tasks saw, by the slot that they ran at, with more children than the way has.
fn seen(way: &Way, flags: &[&str], name: &str) -> Result<BTreeMap<u64, BTreeSet<String>>, Ended> {
    let folder = Folder::new();
    let out = folder.file("out.h5");
    let mut command = command(way, &[&["run", "surroundings", "-o", &out], flags].concat());
    // mpiexec binds no rank.
    command.envs([
        ("OMPI_MCA_hwloc_base_binding_policy", "none"),
        ("PRTE_MCA_hwloc_default_binding_policy", "none"),
    ]);
    let ended = start(command.env("CUDA_VISIBLE_DEVICES", "0,1,2,3")).end_within(Duration::from_secs(60));
    if ended.code != 0 {
        return Err(ended);
    }
    let file = h5py(&out);
    let column = |name: &str| values(&file, &format!("results/{name}")).as_array().unwrap().clone();
    let mut seen: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    for (slot, value) in column("slot").iter().zip(column(name)) {
        seen.entry(slot.as_u64().unwrap()).or_default().insert(value.as_str().unwrap().to_string());
    }
    Ok(seen)
}

fn gpus(_: &Way) {
    let children = |count, each| (["--processes-per-worker", count, "--gpus-per-task", each], each);
    for ((flags, each), expected) in [
        (children("4", "1"), json!({"0": ["0"], "1": ["1"], "2": ["2"], "3": ["3"]})),
        (children("4", "0.5"), json!({"0": ["0"], "1": ["1"], "2": ["2"], "3": ["3"]})),
        (children("2", "2"), json!({"0": ["0,1"], "1": ["2,3"]})),
        (children("2", "none"), json!({"0": ["0,1,2,3"], "1": ["0,1,2,3"]})),
    ] {
        assert_eq!(json!(seen(&("node", 0, &[]), &flags, "gpus").unwrap()), expected, "{each} a task");
    }
    let eight =
        seen(&("node", 0, &[]), &["--processes-per-worker", "8", "--gpus-per-task", "0.5"], "gpus").unwrap();
    for (slot, gpus) in eight {
        assert_eq!(gpus, BTreeSet::from([(slot / 2).to_string()]), "slot {slot}");
    }
    let five = seen(&("node", 0, &[]), &["--processes-per-worker", "5", "--gpus-per-task", "1"], "gpus")
        .unwrap_err();
    assert!(five.code == 2 && five.stderr.contains("may see 4: CUDA_VISIBLE_DEVICES=0,1,2,3"), "{five:?}");
    // Three leaders that may use the same CPUs share the same GPUs out.
    let sharing = ("leaders", 3, &["--processes-per-worker", "1", "--gpus-per-task", "1"][..]);
    let shared = seen(&sharing, &[], "gpus").unwrap();
    assert_eq!(json!(shared), json!({"0": ["0", "1", "2"]}));
}

fn bound(way: &Way) {
    let cpus = std::thread::available_parallelism().unwrap().get();
    if cpus < 2 {
        return super::support::skipped("children cannot be bound to CPUs of their own: there is one");
    }
    let free = seen(way, &[], "cpus").unwrap();
    assert_eq!(free[&0], free[&1], "without --bind both may use all");
    let bound = seen(way, &["--bind", "core"], "cpus").unwrap();
    assert_eq!(bound.values().map(BTreeSet::len).sum::<usize>(), 2, "{bound:?}");
    let cpus = |slot: u64| list(bound[&slot].first().unwrap());
    assert!(cpus(0).is_disjoint(&cpus(1)), "{bound:?}");
}

/// The CPUs in a list as Linux writes it, as in `0-2,5`.
fn list(text: &str) -> BTreeSet<u32> {
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        from.parse().unwrap()..=to.parse().unwrap()
    };
    text.split(',').flat_map(range).collect()
}

fn earlier_format(way: &Way) {
    let folder = Folder::new();
    let out = folder.file("out.h5");
    run(way, &["trouble", "--bad", "3", "-o", &out]).expect(1);
    let shown = || tool(&["show", &out, "--json"]).expect(0).json();
    let exported = || tool(&["export", &out, "--csv"]).expect(0).stdout;
    let mut now = shown();
    assert!(exported().starts_with("task,status,input,value\n"));
    assert_eq!((number(&now, "children"), number(&now, "slots")), (2, 2));
    assert!(number(&now["slowest_chunks"][0], "pid") > 0);
    python("earlier_format.py", &[&out, "2"]);
    let (second, csv) = (shown(), exported());
    assert!(csv.starts_with("task,status,value\n"));
    now["rows"].as_array_mut().unwrap().iter_mut().for_each(|row| {
        row.as_object_mut().unwrap().remove("input");
    });
    assert_eq!((&second["rows"], &second["slowest_chunks"]), (&now["rows"], &now["slowest_chunks"]));
    python("earlier_format.py", &[&out, "1"]);
    let earlier = shown();
    for name in ["done", "busy_s", "chunks", "rows", "failures"] {
        assert_eq!(earlier[name], now[name], "{name}");
    }
    let slowest = |shown: &Value| shown["slowest_chunks"].as_array().unwrap().clone();
    for (earlier, now) in slowest(&earlier).iter().zip(slowest(&now)) {
        for name in ["start", "rank", "host", "seconds", "slowest_task"] {
            assert_eq!(earlier[name], now[name], "{name}");
        }
        assert_eq!((number(earlier, "slot"), number(earlier, "pid")), (0, 0));
    }
    assert_eq!(exported(), csv);
    assert!(tool(&["show", &out]).expect(0).stdout.contains("on rank 0 ("));
    let again = folder.file("again.h5");
    run(way, &["trouble", "--bad", "3", "--failed-from", &out, "-o", &again]).expect(1);
}

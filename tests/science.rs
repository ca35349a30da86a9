//! The scientific jobs beside the Python packages that define what they compute. `make test` installs
//! these in target/python; the scripts that call them are in tests/python.

mod support;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::{Ended, python, start};

const RANKPOOL: &str = env!("CARGO_BIN_EXE_rankpool");

fn rankpool(ranks: u32, arguments: &[&str]) -> Ended {
    start(support::under(ranks, &[], RANKPOOL).arg("run").args(arguments)).end()
}

/// The report of a run without a launcher; under mpiexec and with threads it must be the same.
fn report(code: i32, arguments: &[&str]) -> Value {
    let arguments = [arguments, &["--json"]].concat();
    let serial = rankpool(0, &arguments).expect(code).json();
    let threads = [&arguments[..], &["--mode", "threads", "--workers", "2"]].concat();
    for other in [rankpool(3, &arguments), rankpool(0, &threads)] {
        let other = other.expect(code).json();
        for field in ["results_digest", "summary", "tasks", "failed"] {
            assert_eq!(other[field], serial[field], "{field} in mode {}", other["mode"]);
        }
    }
    serial
}

/// Numbers that differ by rounding at most.
#[track_caller]
fn assert_close(found: &Value, expected: &Value) {
    let (found, expected) = (found.as_f64().unwrap(), expected.as_f64().unwrap());
    assert!((found - expected).abs() <= 1e-13 * expected.abs(), "{found} is not {expected}");
}

/// An NWB file by pynwb; units 0, 4 and 8 of its 9 are empty.
fn nwb_file(folder: &Path) -> String {
    let path = folder.join("units.nwb").to_str().unwrap().to_string();
    python("nwb_file.py", &[&path]);
    path
}

/// The times that count: --t-start and --t-stop.
const WINDOWS: [(Option<f64>, Option<f64>); 5] =
    [(None, None), (None, Some(10.0)), (Some(0.3), Some(9.1)), (Some(2.5), None), (Some(-1.0), Some(12.5))];

fn window_flags((t_start, t_stop): (Option<f64>, Option<f64>)) -> Vec<String> {
    let flag = |name: &str, time: Option<f64>| time.map(|time| format!("{name}={time}"));
    flag("--t-start", t_start).into_iter().chain(flag("--t-stop", t_stop)).collect()
}

/// What elephant says of the file's units.
fn elephant(file: &str, (t_start, t_stop): (Option<f64>, Option<f64>), bins: &[f64]) -> Value {
    let arguments = json!({ "t_start": t_start, "t_stop": t_stop, "bins": bins });
    serde_json::from_str(&python("elephant_results.py", &[file, &arguments.to_string()])).unwrap()
}

#[test]
fn rates_and_histograms_are_those_of_elephant() {
    let folder = tempfile::tempdir().unwrap();
    let file = nwb_file(folder.path());
    let bins = [0.1, 0.4, 0.7, 1.0, 0.05, 0.3, 1.0 / 3.0, 6.3];
    let listed = bins.map(|bin_size| bin_size.to_string()).join(",");
    for window in WINDOWS {
        let expected = elephant(&file, window, &bins);
        let flags = window_flags(window);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();

        // Without --t-stop a train needs a spike after --t-start: unit 6 has one at 2.5 s.
        let rates: Vec<&Value> =
            expected["rates"].as_array().unwrap().iter().filter(|rate| !rate.is_null()).collect();
        let refused = 9 - rates.len() as u64;
        assert_eq!(refused, if window.1.is_some() { 0 } else { 3 + u64::from(window.0 == Some(2.5)) });
        let found = report(i32::from(refused > 0), &[&["firing-rate", &file], &flags[..]].concat());
        assert_eq!((&found["tasks"], &found["failed"]), (&9.into(), &refused.into()), "{window:?}");
        let summary = found["summary"]["rates"].as_array().unwrap();
        assert_eq!(summary.len(), rates.len());
        summary.iter().zip(rates).for_each(|(found, expected)| assert_close(found, expected));

        let pooled = report(0, &[&["firing-rate", &file, "--axis", "none"], &flags[..]].concat());
        assert_eq!(pooled["tasks"], 1);
        assert_close(&pooled["summary"]["rates"][0], &expected["rate_of_all"]);

        let found = report(0, &[&["time-histogram", &file, "--bins", &listed], &flags[..]].concat());
        let histograms = found["summary"]["histograms"].as_array().unwrap();
        assert_eq!(histograms.len(), bins.len());
        for (histogram, counts) in histograms.iter().zip(expected["counts"].as_array().unwrap()) {
            let counts: Vec<u64> =
                counts.as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).collect();
            let found = ["bins", "total", "max"].map(|field| histogram[field].as_u64().unwrap());
            let expected = [counts.len() as u64, counts.iter().sum(), *counts.iter().max().unwrap()];
            assert_eq!(found, expected, "{window:?}: {histogram}");
        }
    }
}

/// What h5py finds in the result file of a run, serial or of three ranks.
fn result_file(ranks: u32, arguments: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.h5").to_str().unwrap().to_string();
    rankpool(ranks, &[arguments, &["--output", &out]].concat()).expect(0);
    serde_json::from_str(&python("result_file.py", &[&out])).unwrap()
}

fn values<'f>(file: &'f Value, path: &str) -> &'f Value {
    &file["data"][path]["values"]
}

#[test]
fn result_files_hold_rates_and_counts_as_elephant_has_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = nwb_file(folder.path());
    let bins = [0.1, 0.3, 1.0 / 3.0];
    let window = (Some(0.3), Some(9.1));
    let expected = elephant(&file, window, &bins);
    let flags = ["--t-start", "0.3", "--t-stop", "9.1"];
    let listed = bins.map(|bin_size| bin_size.to_string()).join(",");
    for ranks in [0, 3] {
        let rates = result_file(ranks, &[&["firing-rate", &file], &flags[..]].concat());
        let found = values(&rates, "results").as_array().unwrap();
        found.iter().zip(expected["rates"].as_array().unwrap()).for_each(|(a, b)| assert_close(a, b));
        assert_eq!((found.len(), &rates["data"]["results"]["attributes"]["units"]), (9, &"1/s".into()));

        let counts =
            result_file(ranks, &[&["time-histogram", &file, "--bins", &listed], &flags[..]].concat());
        let all: Vec<Value> = values(&counts, "results/values").as_array().unwrap().clone();
        let offsets: Vec<usize> = values(&counts, "results/offsets")
            .as_array()
            .unwrap()
            .iter()
            .map(|at| at.as_u64().unwrap() as usize)
            .collect();
        for (k, expected) in expected["counts"].as_array().unwrap().iter().enumerate() {
            assert_eq!(Value::from(&all[offsets[k]..offsets[k + 1]]), *expected, "bin size {}", bins[k]);
        }
        assert_eq!(*values(&counts, "bin_size"), json!(bins));
    }
}

#[test]
fn result_files_of_the_other_jobs_hold_what_is_known() {
    for ranks in [0, 3] {
        let gram = result_file(ranks, &["gram", "--points", "-2,-1,0,1,2", "--gamma", "1"]);
        let known = [1.0, 6.06530660e-01, 1.35335283e-01, 1.11089965e-02, 3.35462628e-04];
        for (found, known) in values(&gram, "results/values")[0].as_array().unwrap().iter().zip(known) {
            assert!((found.as_f64().unwrap() / known - 1.0).abs() < 1e-8, "{found} is not {known}");
        }
        assert_eq!(gram["data"]["results/values"]["shape"], json!([5, 5]));

        let squares = result_file(ranks, &["squares", "--n", "5"]);
        assert_eq!(*values(&squares, "results"), json!([1, 4, 9, 16, 25]));
        let pi = result_file(ranks, &["pi", "--tasks", "3", "--samples", "1000"]);
        assert!(
            values(&pi, "results")
                .as_array()
                .unwrap()
                .iter()
                .all(|inside| (700..870).contains(&inside.as_u64().unwrap()))
        );
        let slept = result_file(ranks, &["sleep", "--tasks", "3", "--duration", "1ms"]);
        assert_eq!(*values(&slept, "results"), json!([0.001, 0.001, 0.001]));
        assert_eq!(slept["data"]["results"]["attributes"]["units"], "s");

        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("text").to_str().unwrap().to_string();
        std::fs::write(&text, "one two one\n").unwrap();
        let words = result_file(ranks, &["words", &text]);
        assert_eq!(
            (values(&words, "results/words"), values(&words, "results/bytes")),
            (&json!([3]), &json!([12]))
        );
        assert_eq!(*values(&words, "results/frequency/values/key"), json!(["one", "two"]));
        assert_eq!(*values(&words, "results/frequency/values/value"), json!([2, 1]));

        let image = result_file(ranks, &["mandelbrot", "--size", "5", "--center", "0,0", "--radius", "2"]);
        assert_eq!(image["data"]["results"]["shape"], json!([5, 5]));
        assert_eq!(image["data"]["results"]["dims"], json!([["imaginary"], ["real"]]));
        assert_eq!(*values(&image, "real"), json!([-2.0, -1.0, 0.0, 1.0, 2.0]));
        assert_eq!(values(&image, "results")[2][2], -1, "0 stays");
    }
}

#[test]
fn an_evenly_spaced_range_of_bin_sizes_is_that_list() {
    let range = report(0, &["time-histogram", "--bins", "0.1..1.0/4"]);
    let list = report(0, &["time-histogram", "--bins", "0.1,0.4,0.7,1"]);
    assert_eq!(range["results_digest"], list["results_digest"]);
}

#[test]
fn generated_trains_depend_on_the_seed_and_not_on_the_job() {
    let generated = ["--trains", "20", "--rate", "50", "--t-start=-2", "--t-stop", "3"];
    let flags = |seed| [&generated[..], &["--seed", seed]].concat();
    let rates = report(0, &[&["firing-rate"], &flags("3")[..]].concat());
    assert_eq!(rates["tasks"], 20);
    let mean = rates["summary"]["mean"].as_f64().unwrap();
    // The standard error of the mean is sqrt(50 / (20 * 5)) = 0.7.
    assert!((mean - 50.0).abs() < 3.5, "{mean}");
    let histogram = report(0, &[&["time-histogram", "--bins", "1,0.5"], &flags("3")[..]].concat());
    for histogram in histogram["summary"]["histograms"].as_array().unwrap() {
        assert_eq!(histogram["total"].as_f64().unwrap(), (mean * 20.0 * 5.0).round());
    }
    let other = report(0, &[&["firing-rate"], &flags("4")[..]].concat());
    assert_ne!(other["results_digest"], rates["results_digest"]);
}

#[test]
fn the_gram_matrix_is_that_of_scipy_distances() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("points.h5").to_str().unwrap().to_string();
    let expected: Value = serde_json::from_str(&python("gram_matrix.py", &[&file, "0.7"])).unwrap();
    let input = format!("{file}:/group/x");
    for (block, tasks) in [("1", 53), ("10", 6), ("100", 1)] {
        let found = report(0, &["gram", "--input", &input, "--gamma", "0.7", "--block", block]);
        assert_eq!(found["tasks"], tasks);
        let summary = &found["summary"];
        assert_eq!((&summary["points"], &summary["dimensions"]), (&53.into(), &3.into()));
        for field in ["trace", "norm", "mean"] {
            assert_close(&summary[field], &expected[field]);
        }
    }
}

#[test]
fn points_on_the_command_line_may_be_negative() {
    let known = report(0, &["gram"]);
    assert_eq!((&known["tasks"], &known["summary"]["trace"]), (&5.into(), &5.0.into()));
    let same = report(0, &["gram", "--points", "-2,-1,0,1,2", "--gamma", "1"]);
    assert_eq!(same["results_digest"], known["results_digest"]);
}

#[test]
fn input_that_is_no_good_ends_with_2_and_names_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| -> PathBuf { folder.path().join(name) };
    let file = nwb_file(folder.path());
    std::fs::write(at("text.nwb"), "no HDF5").unwrap();
    python("gram_matrix.py", &[at("points.h5").to_str().unwrap(), "1"]);
    let [text, points] = ["text.nwb", "points.h5"].map(|name| at(name).to_str().unwrap().to_string());
    let group = format!("{points}:group");
    let missing = format!("{points}:/group/y");
    let line = format!("{file}:/units/spike_times");
    for (arguments, why) in [
        (&["firing-rate", "/no/such.nwb"][..], "/no/such.nwb: No such file"),
        (&["firing-rate", "/tmp"], "/tmp: is no regular file"),
        (&["time-histogram", &text], "text.nwb: cannot be opened as an HDF5 file"),
        (&["firing-rate", &points], "points.h5: dataset /units/spike_times: "),
        (&["firing-rate", &file, "--trains", "3"], "cannot be used with"),
        (&["firing-rate", "--t-start", "10"], "--t-stop 10 must be after --t-start 10"),
        (&["firing-rate", &file, "--t-start", "2", "--t-stop", "1"], "--t-stop 1 must be after --t-start 2"),
        (&["firing-rate", "--t-stop", "nan"], "must be finite"),
        (&["firing-rate", "--rate", "1e300"], "--rate 1e300 would give"),
        (&["firing-rate", "--axis", "0"], "[possible values: 1, none]"),
        (&["time-histogram", "--bins", "0"], "must be more than 0"),
        (&["time-histogram", "--bins", "-1"], "must be more than 0"),
        (&["time-histogram", &file, "--bins", "0.1,6", "--t-stop", "5"], "bins of 6.0 s are longer"),
        (&["gram", "--input", &points], "expected FILE:DATASET"),
        (&["gram", "--input", &group], "points.h5: dataset group: "),
        (&["gram", "--input", &missing], "'y' doesn't exist"),
        (&["gram", "--input", &line], "/units/spike_times: must have two dimensions"),
        (&["gram", "--points", "1,nan"], "must be finite"),
        (&["gram", "--gamma", "-1"], "must be more than 0"),
    ] {
        let ended = rankpool(0, arguments).expect(2);
        assert!(ended.stderr.contains(why), "{arguments:?}: {}", ended.stderr);
        assert!(!ended.stderr.contains("panicked") && !ended.stderr.contains("HDF5-DIAG"), "{ended:?}");
    }
    let ended = rankpool(3, &["gram", "--input", "/no/such.h5:/x"]).expect(2);
    assert_eq!(ended.stderr.matches("/no/such.h5: No such file").count(), 1, "{ended:?}");
}

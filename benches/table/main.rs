//! Writes what `benches/run.sh` has measured into docs/performance.md and docs/performance.svg.

mod plot;
mod tables;

use std::{error::Error, fs, path::Path, process::Command};

use serde_json::Value;

const BEGIN: &str = "<!-- what `make bench` has written begins here -->";
const END: &str = "<!-- and ends here -->";

/// The lines of a measurement, each a JSON object.
pub struct Lines(Vec<Value>);

impl Lines {
    /// The line in which these fields have these values.
    fn find(&self, fields: &[(&str, Value)]) -> Option<&Value> {
        self.0.iter().find(|line| fields.iter().all(|(name, value)| line[*name] == *value))
    }

    /// What `rankpool bench` has found in a mode.
    pub fn bench(&self, mode: &str, workers: u64) -> Option<&Value> {
        self.find(&[("mode", mode.into()), ("workers", workers.into())])
    }

    /// A figure of that.
    pub fn figure(&self, mode: &str, workers: u64, name: &str) -> Option<f64> {
        self.bench(mode, workers)?["figures"][name]["value"].as_f64()
    }

    /// Tasks a second of the loop in C.
    pub fn floor(&self, kind: &str, workers: u64, ahead: u64) -> Option<f64> {
        let fields = [
            ("what", "floor".into()),
            ("kind", kind.into()),
            ("workers", workers.into()),
            ("ahead", ahead.into()),
        ];
        self.find(&fields)?["tasks_per_s"].as_f64()
    }

    /// MiB a second of blocks in C.
    pub fn floor_block(&self, kind: &str, bytes: u64) -> Option<f64> {
        let fields = [("what", "floor_block".into()), ("kind", kind.into()), ("bytes", bytes.into())];
        self.find(&fields)?["MiB_per_s"].as_f64()
    }

    pub fn peers(&self) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(|line| line["what"] == "peer")
    }

    pub fn peer(&self, name: &str, figure: &str) -> Option<f64> {
        self.peers().find(|peer| peer["name"] == name)?[figure].as_f64()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = root.join("target/bench.jsonl");
    let text = fs::read_to_string(&file)
        .map_err(|error| format!("{}: {error}; run benches/run.sh", file.display()))?;
    // Launchers write lines of their own among them.
    let lines = Lines(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect());
    let counts = serde_json::from_str(&fs::read_to_string(root.join("tests/counts/counts.json"))?)?;
    let page = root.join("docs/performance.md");
    let old = fs::read_to_string(&page)?;
    let (Some((before, rest)), true) = (old.split_once(BEGIN), old.contains(END)) else {
        return Err(
            format!("{}: the marks are missing between which the tables stand", page.display()).into()
        );
    };
    let after = rest.split_once(END).map_or("", |(_, after)| after);
    let written = format!("{}\n{}\n{}", taken(&lines), tables::all(&lines), tables::counts(&counts));
    fs::write(&page, format!("{before}{BEGIN}\n\n{written}\n{END}{after}"))?;
    plot::write(&lines, &root.join("docs/performance.svg"))?;
    println!("written: docs/performance.md, docs/performance.svg");
    Ok(())
}

/// When and where.
fn taken(lines: &Lines) -> String {
    let date =
        Command::new("date").arg("+%-d %B %Y").output().map(|output| output.stdout).unwrap_or_default();
    let date = String::from_utf8_lossy(&date).trim().to_string();
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpus = processors.lines().filter(|line| line.starts_with("processor")).count();
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown", |(_, model)| model);
    let mpi = lines.0.iter().find_map(|line| line["mpi"].as_str()).unwrap_or("no MPI");
    let version = lines.0.iter().find_map(|line| line["version"].as_str()).unwrap_or("?");
    let quick = if lines.0.iter().any(|line| line["quick"] == true) { ", quickly" } else { "" };
    let load = lines.find(&[("what", "machine".into())]).and_then(|line| line["load"].as_f64());
    let busy = load.filter(|load| *load > 0.5);
    let busy = busy.map_or(String::new(), |load| {
        format!(" Others used the machine meanwhile: its load was {load} before.")
    });
    format!("Taken{quick} on {date}: rankpool {version}, {mpi}, {cpus} CPUs ({model}).{busy}\n")
}

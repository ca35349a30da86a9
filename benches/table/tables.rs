//! The tables of docs/performance.md.

use serde_json::Value;

use crate::Lines;

/// The columns: a mode, its workers, and how it is started.
pub const MODES: [(&str, u64, &str); 6] = [
    ("comm", 1, "comm, 2 ranks"),
    ("comm", 2, "comm, 3 ranks"),
    ("pool", 1, "pool, 1 worker"),
    ("processes", 2, "processes, 2"),
    ("threads", 2, "threads, 2"),
    ("serial", 1, "serial"),
];

pub fn all(lines: &Lines) -> String {
    format!("{}\n{}\n{}", ratios(lines), modes(lines), peers(lines))
}

/// A number for people: three digits, and thousands or millions by a letter.
pub fn short(value: f64) -> String {
    let (value, unit) = match value {
        1e6.. => (value / 1e6, " M"),
        1e4.. => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let digits = match value {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    format!("{value:.digits$}{unit}")
}

fn cell(value: Option<f64>) -> String {
    value.map_or("-".into(), short)
}

fn row(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

fn head(cells: &[&str]) -> String {
    format!("| {} |\n|{}\n", cells.join(" | "), "---|".repeat(cells.len()))
}

/// rankpool over what it is compared with.
fn ratios(lines: &Lines) -> String {
    let chunk_1 = |mode, workers| lines.figure(mode, workers, "chunk_1");
    let submit = lines.figure("comm", 1, "submit_p50");
    let trip = lines.bench("comm", 1).and_then(|bench| bench["figures"]["submit_p50"]["bare"].as_f64());
    let futures =
        lines.peers().filter(|peer| peer["name"].as_str().is_some_and(|name| name.starts_with("mpi4py")));
    let burst = futures.filter_map(|peer| peer["burst"].as_f64()).reduce(f64::max);
    let compared = [
        (
            "one task in a chunk, comm, 2 ranks",
            chunk_1("comm", 1),
            "C, 4 on the way",
            lines.floor("ranks", 1, 4),
        ),
        (
            "one task in a chunk, comm, 2 ranks",
            chunk_1("comm", 1),
            "C, 1 on the way",
            lines.floor("ranks", 1, 1),
        ),
        (
            "one task in a chunk, comm, 3 ranks",
            chunk_1("comm", 2),
            "C, 2 workers, 4 on the way",
            lines.floor("ranks", 2, 4),
        ),
        (
            "one task in a chunk, pool",
            chunk_1("pool", 1),
            "C to a spawned child, 4 on the way",
            lines.floor("spawned", 1, 4),
        ),
        (
            "one task in a chunk, processes, 2",
            chunk_1("processes", 2),
            "multiprocessing.Pool, the same",
            lines.peer("multiprocessing.Pool", "chunk_1"),
        ),
        (
            "submits at once, comm, 2 ranks",
            lines.figure("comm", 1, "burst"),
            "mpi4py.futures, the same",
            burst,
        ),
        (
            "blocks of 1 MiB, comm, 2 ranks (MiB/s)",
            lines.figure("comm", 1, "block_1MiB"),
            "C, there and back",
            lines.floor_block("ranks", 1 << 20),
        ),
    ];
    let mut table = head(&["a second", "rankpool", "beside", "there", "ratio"]);
    for (what, ours, beside, theirs) in compared {
        let ratio = ours.zip(theirs).map(|(ours, theirs)| ours / theirs);
        table += &row(&[what.into(), cell(ours), beside.into(), cell(theirs), cell(ratio)]);
    }
    let apart = submit.zip(trip).map(|(submit, trip)| submit - trip);
    table += &format!(
        "\nA result comes {} us after its submit in comm with 2 ranks, where a bare message is there and back in {} us: {} \
         us more.\n",
        cell(submit),
        cell(trip),
        cell(apart)
    );
    table
}

/// All figures of `rankpool bench`, in every mode.
fn modes(lines: &Lines) -> String {
    let columns: Vec<&Value> =
        MODES.iter().filter_map(|(mode, workers, _)| lines.bench(mode, *workers)).collect();
    let names: Vec<&str> = MODES
        .iter()
        .filter(|(mode, workers, _)| lines.bench(mode, *workers).is_some())
        .map(|(.., name)| *name)
        .collect();
    let mut table = head(&[&["`rankpool bench`"], &names[..]].concat());
    let fullest =
        columns.iter().filter_map(|bench| bench["figures"].as_object()).max_by_key(|figures| figures.len());
    for (name, figure) in fullest.into_iter().flatten() {
        let unit = figure["unit"].as_str().unwrap_or_default();
        let mut cells = vec![format!("{name}, {unit}")];
        for bench in &columns {
            let figure = &bench["figures"][name];
            let ratio = figure["ratio"].as_f64().map_or(String::new(), |ratio| format!(" ({ratio:.2})"));
            cells.push(cell(figure["value"].as_f64()) + &ratio);
        }
        table += &row(&cells);
    }
    table
        + "\nIn brackets: the ratio to bare messages in the same processes, where 1 is as fast as they are.\n"
}

/// What the peers make of the same work.
fn peers(lines: &Lines) -> String {
    let mut table = head(&[
        "tasks/s",
        "chunk 1",
        "best chunk",
        "submit, us",
        "submits at once",
        "1 MiB both ways, MiB/s",
    ]);
    for ahead in [1, 4] {
        let words = format!("C over MPI, {ahead} on the way");
        let block = if ahead == 1 { lines.floor_block("ranks", 1 << 20) } else { None };
        table += &row(&[
            words,
            cell(lines.floor("ranks", 1, ahead)),
            "-".into(),
            "-".into(),
            "-".into(),
            cell(block),
        ]);
    }
    for (mode, workers, name) in MODES {
        let figure = |name| cell(lines.figure(mode, workers, name));
        let figures = ["chunk_1", "chunk_auto", "submit_p50", "burst", "block_1MiB"].map(figure);
        table += &row(&[&[format!("rankpool, {name}")], &figures[..]].concat());
    }
    for peer in lines.peers() {
        let figure = |name: &str| cell(peer[name].as_f64());
        let best = match &peer["best_chunk"] {
            Value::Null => figure("best"),
            Value::String(chunk) => format!("{} ({chunk})", figure("best")),
            chunk => format!("{} ({chunk})", figure("best")),
        };
        table += &row(&[
            peer["name"].as_str().unwrap_or_default().into(),
            figure("chunk_1"),
            best,
            figure("submit_p50_us"),
            figure("burst"),
            figure("block_MiB_per_s"),
        ]);
    }
    table + "\n![Tasks a second](performance.svg)\n"
}

/// The instructions that are written down.
pub fn counts(kept: &Value) -> String {
    let mut table = head(&["instructions", "the user's thread", "the engine", "a worker"]);
    for (work, what) in [
        ("task", "a task, one in a chunk"),
        ("submit", "a submit, to its result"),
        ("chunk", "a chunk of 1,000 tasks"),
        ("block", "a block of 1 MiB"),
    ] {
        let count = |thread: &str| cell(kept["instructions"][work][thread].as_f64());
        table += &row(&[what.into(), count("user"), count("engine"), count("worker")]);
    }
    format!("{table}\nCounted with {}, without MPI.\n", kept["compiler"].as_str().unwrap_or("?"))
}

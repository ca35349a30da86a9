//! Standard output: what tasks print, the report, and readers that leave.

use super::{ALL, Folder, SERIAL, Test, Way, bash, command, run};
use crate::support::start;

pub const TESTS: &[Test] = &[
    ("what tasks print is whole, and stands before the summary", ALL, prints),
    ("with --json the report stands alone, and prints go to standard error", ALL, prints_beside_json),
    ("a reader who has seen enough is no error, and a full device is one", &[SERIAL], readers),
    ("a run whose report cannot be told keeps what it has done", ALL, untold_report),
    ("people are shown control characters, and not sent them", ALL, control_characters),
    ("show cuts what fills screens, and --json does not", &[SERIAL], long_values),
];

fn prints(way: &Way) {
    let talk = ["talk", "--n", "40", "--print", "tick,", "--printf", "tock,"];
    for chunk in ["1", "7"] {
        let ended = run(way, &[&talk[..], &["--chunk", chunk]].concat()).expect(0);
        let (printed, summary) = ended.stdout.split_at(ended.stdout.rfind("talk ").unwrap());
        // Between ranks the launcher decides what comes first.
        let before = if way.1 == 0 { printed } else { &ended.stdout };
        assert_eq!(before.matches("tick,").count(), 40, "{ended:?}");
        assert_eq!(before.matches("tock,").count(), 40, "{ended:?}");
        assert!(summary.contains("digest"), "{ended:?}");
    }
}

fn prints_beside_json(way: &Way) {
    let talk = ["talk", "--n", "40", "--print", "tick,", "--printf", "tock,", "--json"];
    let ended = run(way, &talk).expect(0);
    assert_eq!(ended.json()["done"], 40);
    assert_eq!(ended.stderr.matches("tick,").count(), 40, "{ended:?}");
    assert_eq!(ended.stderr.matches("tock,").count(), 40, "{ended:?}");
}

/// Commands that print, with a file that they may read.
fn printing(out: &str) -> Vec<Vec<&str>> {
    vec![
        vec!["list"],
        vec!["list", "--help"],
        vec!["show", out],
        vec!["show", out, "--json"],
        vec!["export", out, "--csv"],
        vec!["export", out, "--npy"],
        vec!["slurm", "--", "run", "talk"],
    ]
}

const GONE: &str = r#""$@" | exec 0<&-; exit ${PIPESTATUS[0]}"#;
const FULL: &str = r#""$@" >/dev/full"#;

fn readers(way: &Way) {
    let folder = Folder::new();
    let out = folder.file("out.h5");
    run(way, &["talk", "--n", "20000", "--output", &out]).expect(0);
    for arguments in printing(&out) {
        let gone = start(&mut bash(GONE, &command(way, &arguments))).end().expect(0);
        assert_eq!(gone.stderr, "", "{arguments:?}");
        let full = start(&mut bash(FULL, &command(way, &arguments))).end().expect(70);
        assert!(full.stderr.contains("standard output: No space left"), "{arguments:?}: {full:?}");
    }
}

fn untold_report(way: &Way) {
    let folder = Folder::new();
    for (k, flags) in [&[][..], &["--json"]].into_iter().enumerate() {
        let out = folder.file(&format!("out{k}.h5"));
        let run = |out: &str| command(way, &[&["run", "talk", "--output", out], flags].concat());
        let gone = start(&mut bash(GONE, &run(&out))).end().expect(0);
        assert!(gone.stderr.contains("written"), "{gone:?}");
        // mpiexec writes itself what its ranks print.
        if way.1 == 0 {
            let out = folder.file(&format!("full{k}.h5"));
            let full = start(&mut bash(FULL, &run(&out))).end().expect(70);
            assert!(full.stderr.contains("the run is complete, but not its report"), "{full:?}");
            start(&mut command(&SERIAL, &["show", &out])).end().expect(0);
        }
    }
}

fn control_characters(way: &Way) {
    let folder = Folder::new();
    let (out, events) = (folder.file("out.h5"), folder.file("events"));
    let evil = "\u{1b}]0;title\u{7}\u{1b}[2Jgone\r\u{9b}31mred";
    let files = ["--output", &out, "--events", &events, "--note", evil];
    let ended = run(way, &[&["talk", "--fail", evil], &files[..]].concat()).expect(1);
    let shown = start(&mut command(&SERIAL, &["show", &out])).end().expect(0);
    for (what, text) in [("words", &ended.stderr), ("summary", &ended.stdout), ("show", &shown.stdout)] {
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{what}: {text:?}");
    }
    assert!(ended.stderr.contains(r"\u{1b}[2Jgone\r"), "{ended:?}");
    let json = start(&mut command(&SERIAL, &["show", &out, "--json"])).end().expect(0).json();
    assert_eq!(json["failures"][0]["message"], evil, "files and JSON have it as it is");
    assert!(std::fs::read_to_string(&events).unwrap().contains("\\u001b[2Jgone\\r"));
}

fn long_values(way: &Way) {
    let folder = Folder::new();
    let out = folder.file("out.h5");
    let note = "x".repeat(100_000);
    run(way, &["talk", "--output", &out, "--note", &note]).expect(0);
    let shown = start(&mut command(way, &["show", &out])).end().expect(0).stdout;
    assert!(shown.len() < 10_000 && shown.contains("characters in all; --json shows them"), "{shown}");
    let json = start(&mut command(way, &["show", &out, "--json"])).end().expect(0).json();
    assert_eq!(json["parameters"]["note"], note);
}

//! No two files of a run are one, and none is that of the job, of its output, or the log of a rank.

use std::{fs, os::unix::fs::symlink};

use super::{Folder, SERIAL, Test, Way, bash, command, run};
use crate::support::start;

pub const TESTS: &[Test] = &[
    ("no two files of a run are one", &[SERIAL], apart),
    ("no file of a run is one that its output goes to", &[SERIAL], streams),
    ("no file of a run is the log of a rank", &[SERIAL], logs),
];

fn apart(way: &Way) {
    let folder = Folder::new();
    let (out, other, text) = (folder.file("out.h5"), folder.file("other"), folder.file("text"));
    let (dotted, linked) = (folder.file("./folder/../out.h5"), folder.file("link"));
    fs::create_dir(folder.path("folder")).unwrap();
    symlink("out.h5", &linked).unwrap();
    fs::write(&text, "precious").unwrap();
    fs::hard_link(&text, folder.path("second")).unwrap();
    let second = folder.file("second");
    let before = folder.names();
    let (journal, lock) = (folder.file("out.h5.journal"), folder.file("out.h5.lock"));
    for flags in [
        ["--output", &out, "--events", &out],
        ["--output", &out, "--events", &dotted],
        ["--output", &linked, "--events", &out],
        ["--output", &out, "--events", &journal],
        ["--output", &out, "--events", &lock],
        ["--output", &out, "--journal", &linked],
        ["--output", &out, "--journal", &lock],
        ["--journal", &other, "--events", &other],
        ["--output", &text, "--journal", &second],
    ] {
        for force in [&[][..], &["--force"]] {
            let ended = run(way, &[&["talk"], &flags[..], force].concat()).expect(2);
            assert!(ended.stderr.contains("give them names of their own"), "{flags:?}: {ended:?}");
            assert_eq!(folder.names(), before, "{flags:?}");
        }
    }
    let ended = start(command(way, &["run", "talk", "--output", &out]).env("RANKPOOL_CODE_FILE", &out)).end();
    assert!(ended.stderr.contains("--output and RANKPOOL_CODE_FILE both name"), "{ended:?}");
    for flag in ["--output", "--journal", "--events"] {
        for name in [&text, &second, &linked] {
            let ended = run(way, &["bulky", "--itself", name, flag, name, "--force"]).expect(2);
            assert!(ended.stderr.contains("which the job itself reads or makes"), "{flag} {name}: {ended:?}");
        }
    }
    // The code is left after all, so a code file has what its name had.
    assert_eq!(fs::read_to_string(&out).unwrap(), "2\n");
    assert_eq!(fs::read_to_string(&text).unwrap(), "precious");
    let ended = run(way, &["talk", "--events", &text]).expect(2);
    assert!(ended.stderr.contains("holds something else than events"), "{ended:?}");
    assert_eq!(fs::read_to_string(&text).unwrap(), "precious");
    for _ in 0..2 {
        run(way, &["talk", "--events", &other]).expect(0);
    }
    assert_eq!(fs::read_to_string(&other).unwrap().matches("run_started").count(), 2);
}

fn streams(way: &Way) {
    let folder = Folder::new();
    let (file, linked, second) = (folder.file("file"), folder.file("link"), folder.file("second"));
    symlink("file", &linked).unwrap();
    // Made before the command, by the shell; what the run would append to or replace.
    for line in [r#""$@" >"$FILE""#, r#""$@" >>"$FILE""#, r#""$@" 2>"$FILE""#] {
        for flags in [
            &["--output", &file, "--force"][..],
            &["--output", &file, "--force", "--json"],
            &["--output", &linked, "--force"],
            &["--journal", &file],
            &["--journal", &file, "--json"],
            &["--journal", &second, "--resume"],
            &["--events", &file],
            &["--events", &second, "--json"],
        ] {
            fs::write(&file, "").unwrap();
            let _ = fs::hard_link(&file, &second);
            let command = command(way, &[&["run", "talk", "--print", "worked"], flags].concat());
            let ended = start(bash(line, &command).env("FILE", &file)).end().expect(2);
            let said = fs::read_to_string(&file).unwrap();
            let told =
                format!("{} names {}, where standard output or standard error goes", flags[0], flags[1]);
            assert!((ended.stderr + &said).contains(&told), "{line} {flags:?}: {said}");
            assert!(!said.contains("worked"), "{line} {flags:?}: {said}");
            assert_eq!(folder.names(), ["file", "link", "second"], "{line} {flags:?}");
        }
    }
}

fn logs(way: &Way) {
    let folder = Folder::new();
    let (logs, text) = (folder.file("logs"), folder.file("text"));
    let log = folder.file("logs/rank-0.log");
    let refused = |line: &str, arguments: &[&str]| {
        let command = command(way, &[&["run"], arguments, &["--log-dir", &logs]].concat());
        let ended = start(bash(line, &command).env("LOG", &log).env("RANKPOOL_LOG", "debug")).end().expect(2);
        let told = ended.stderr + &fs::read_to_string(&log).unwrap_or_default();
        assert!(told.contains("the log of a rank in the folder of --log-dir"), "{arguments:?}: {told}");
    };
    for flag in ["--events", "--output", "--journal"] {
        refused(r#""$@""#, &["talk", flag, &log]);
        refused(r#""$@""#, &["talk", flag, &folder.file("logs/rank-7.log"), "--force"]);
    }
    fs::write(&text, "").unwrap();
    symlink("../text", folder.path("logs/rank-5.log")).unwrap();
    symlink("logs", folder.path("link")).unwrap();
    refused(r#""$@""#, &["talk", "--events", &text]);
    refused(r#""$@""#, &["talk", "--events", &folder.file("link/rank-9.log")]);
    refused(r#""$@""#, &["bulky", "--itself", &text]);
    for line in [r#""$@" >"$LOG""#, r#""$@" 2>"$LOG""#, r#""$@" --json >"$LOG""#] {
        refused(line, &["talk"]);
    }
    // Other files in the folder are nobody's log.
    run(way, &["talk", "--events", &folder.file("logs/rank-x.log"), "--log-dir", &logs]).expect(0);
}

//! The file that RANKPOOL_CODE_FILE names: what may be there, and what is left alone.

use std::{fs, time::Duration};

use rustix::process::Signal;

use super::{
    ALL, Folder, PROCESSES, Test, Way, command,
    files::{odd_places, wait_for_words},
    run,
};
use crate::support::{LIMIT, signal_process, start, wait};

pub const TESTS: &[Test] = &[
    ("a code file that can be none is told of, and ends nothing", ALL, code_file),
    ("a file that holds something else than a code is left alone, and told of", ALL, no_code),
    ("workers leave it alone, too, when rank 0 is killed", &[PROCESSES], no_code_of_the_killed),
];

fn code_file(way: &Way) {
    let folder = Folder::new();
    for (place, what) in odd_places(&folder) {
        let mut command = command(way, &["run", "talk", "--json"]);
        let ended = start(command.env("RANKPOOL_CODE_FILE", &place)).end().expect(0);
        assert!(
            ended.stderr.contains("RANKPOOL_CODE_FILE") && ended.stderr.contains(what),
            "{place}: {ended:?}"
        );
        assert_eq!(ended.json()["done"], 6);
    }
}

/// A result, the text that a job reads, and numbers that are no code: its name, and its bytes.
fn precious(way: &Way, folder: &Folder) -> Vec<(String, Vec<u8>)> {
    let (result, text, numbers) = (folder.file("result.h5"), folder.file("text"), folder.file("numbers"));
    run(way, &["talk", "--output", &result]).expect(0);
    fs::write(&text, "precious").unwrap();
    fs::write(&numbers, "0\n1\n").unwrap();
    [result, text, numbers].map(|name| (name.clone(), fs::read(name).unwrap())).into()
}

fn no_code(way: &Way) {
    let folder = Folder::new();
    let mut precious = precious(way, &folder);
    // Launching takes its time.
    precious.truncate(if way.1 > 0 { 1 } else { precious.len() });
    for (file, bytes) in precious {
        for (arguments, code) in [
            (&["talk"][..], 0),
            (&["talk", "--fail", "no"], 1),
            (&["talk", "--output", &file], 2),
            (&["talk", "--output", &file, "--force"], 2),
            (&["talk", "--chnk", "1"], 2),
        ] {
            let mut command = command(way, &[&["run"], arguments].concat());
            let ended = start(command.env("RANKPOOL_CODE_FILE", &file)).end().expect(code);
            let told = format!("the exit code {code} could not be left in RANKPOOL_CODE_FILE={file}");
            assert_eq!(ended.stderr.matches(&told).count(), 1, "{arguments:?}: {ended:?}");
            assert!(ended.stderr.contains("holds something else than an exit code"), "{ended:?}");
            assert!(fs::read(&file).unwrap() == bytes, "{file}: {arguments:?}");
        }
    }
    // What an earlier run has left, or nothing, is written over.
    for old in ["137\n", "0", ""] {
        let code = folder.file("code");
        fs::write(&code, old).unwrap();
        start(command(way, &["run", "talk", "--fail", "no"]).env("RANKPOOL_CODE_FILE", &code))
            .end()
            .expect(1);
        assert_eq!(fs::read_to_string(&code).unwrap(), "1\n", "{old:?}");
    }
}

fn no_code_of_the_killed(way: &Way) {
    let folder = Folder::new();
    let precious = precious(way, &folder);
    let (free, journal) = (folder.file("free"), folder.file("journal"));
    for (file, bytes) in precious.into_iter().chain([(free, b"137\n".to_vec())]) {
        let slow = ["run", "talk", "--n", "900", "--sleep-ms", "60", "--journal", &journal, "--force"];
        let running = start(command(way, &slow).env("RANKPOOL_CODE_FILE", &file));
        wait_for_words(&journal);
        signal_process(running.pid(), Signal::KILL);
        running.end().expect(137);
        // Who leaves the code of a killed rank 0 is another process, and has heard of the death a moment later.
        wait(LIMIT, Duration::from_millis(10), &file, || match fs::read(&file) {
            Ok(found) if found == bytes => Ok(()),
            other => Err(format!("{other:?}")),
        });
        fs::remove_file(&journal).unwrap();
    }
}

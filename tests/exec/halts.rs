//! Where runs of programs end early, and the barriers of task files.

use std::time::Duration;

use super::{assert_told, column, lines, run, write};
use crate::support::ways::{COMM, Folder, NODE, PROCESSES, SERIAL, THREADS, Test, Way};

pub const TESTS: &[Test] = &[
    ("a run that is to halt soon waits for what runs", &[THREADS, COMM], soon),
    ("a run that is to halt now ends what runs", &[THREADS, COMM], now),
    ("a run may end with its first successes", &[PROCESSES], successes),
    ("more failures than are allowed end a run", &[SERIAL, NODE], max_failures),
    ("tasks behind a barrier begin after those before it have ended", &[THREADS, COMM], barriers),
    ("nothing behind a barrier that looks for failures runs after one", &[SERIAL, COMM], check),
    ("a run with barriers is kept and resumed", &[SERIAL, COMM], resumed),
    ("a barrier is closed by what has failed before it alone", &[SERIAL], behind),
];

/// One task fails once another one runs, which goes on for a while; the other ones are not to be begun.
const ONE_FAILS: [&str; 8] = [
    "--",
    "bash",
    "-c",
    "case {#} in 1) touch runs; sleep $LONG; echo one;; 2) until [ -e runs ]; do sleep 0.02; done; exit 1;; \
     *) sleep 0.3; echo more;; esac",
    ":::",
    "a",
    "b",
    "c",
];

fn soon(way: &Way) {
    let folder = Folder::new();
    let flags = ["exec", "--halt", "soon,fail=1", "--env", "LONG=1", "--chunk", "1", "--report-json"];
    let more: Vec<String> = (0..60).map(|k| k.to_string()).collect();
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    let ended = run(way, &folder, &[&flags[..], &["-o", "o"], &ONE_FAILS, &more].concat()).expect(1);
    assert_told(&ended, &["nothing more is begun, as --halt says"]);
    let status = column(&folder, "o", "status");
    assert_eq!(status[..2], ["ok", "failed"], "{ended:?}");
    let report = ended.json();
    assert!(report["not_run"].as_u64().unwrap() > 40 && report["failed"] == 1, "{report}");
    assert_eq!(column(&folder, "o", "stdout")[0], "one\n");
}

fn now(way: &Way) {
    let folder = Folder::new();
    let flags = ["exec", "--halt", "now,fail=1", "--env", "LONG=600", "--chunk", "1", "--kill-after", "1s"];
    let ended = run(way, &folder, &[&flags[..], &["-o", "o"], &ONE_FAILS].concat()).expect(1);
    assert_told(&ended, &["1 task has failed, and", "the run ends here, as --halt says"]);
    assert_eq!(column(&folder, "o", "status")[..2], ["not_run", "failed"], "{ended:?}");
    assert!(ended.took < Duration::from_secs(15), "{ended:?}");
    let folder = Folder::new();
    let ended = run(way, &folder, &[&flags[..], &ONE_FAILS].concat()).expect(1);
    assert!(!ended.stdout.contains("one") && ended.took < Duration::from_secs(15), "{ended:?}");
}

fn successes(way: &Way) {
    let folder = Folder::new();
    let script = "[ {} -lt 4 ] && exit 1; [ {} -lt 6 ] || sleep 600; echo {}";
    let flags = ["exec", "--halt", "now,success=2", "--chunk", "1", "--kill-after", "1s", "--array", "1-20"];
    let ended = run(way, &folder, &[&flags[..], &["--", "sh", "-c", script]].concat());
    assert_told(&ended, &["and 2 ended well: the run ends here, as --halt says"]);
    assert!(ended.code == 1 && ended.took < Duration::from_secs(15), "{ended:?}");
    assert_eq!(ended.stdout.lines().count(), 2, "{ended:?}");
}

fn max_failures(way: &Way) {
    let folder = Folder::new();
    let flags = ["exec", "--max-failures", "2", "--chunk", "1", "--array", "1-50", "-o", "o"];
    let ended =
        run(way, &folder, &[&flags[..], &["--", "sh", "-c", "sleep 0.05; exit 1"]].concat()).expect(1);
    assert_told(&ended, &["3 tasks have failed, more than --max-failures allows"]);
    let not_run = column(&folder, "o", "status").iter().filter(|status| *status == "not_run").count();
    assert!(not_run > 40, "{not_run} were not run: {ended:?}");
    // The rest can still be run.
    let ended = run(
        way,
        &folder,
        &["exec", "--array", "1-50", "-o", "o", "--resume", "--", "sh", "-c", "sleep 0.05; exit 1"],
    );
    assert_told(&ended.expect(1), &["50 failed"]);
}

const WITH_BARRIERS: &str = "\
#DISBATCH PREFIX (echo + >> log; sleep $(( RANDOM % 3 ))e-1;
#DISBATCH SUFFIX ; echo - >> log)
echo a
echo b
echo c
#DISBATCH BARRIER
#DISBATCH REPEAT 3 start 10 step 10 echo $DISBATCH_REPEAT_INDEX
#DISBATCH BARRIER
echo z
";

fn barriers(way: &Way) {
    let folder = Folder::new();
    write(&folder, "tasks", WITH_BARRIERS);
    let ended = run(way, &folder, &["exec", "-k", "--chunk", "2", "tasks"]).expect(0);
    assert_eq!(ended.stdout, "a\nb\nc\n10\n20\n30\nz\n");
    let log = lines(&folder, "log").concat();
    for (from, to) in [(0, 6), (6, 12), (12, 14)] {
        let part = &log[from..to];
        assert_eq!(part.matches('+').count(), part.matches('-').count(), "tasks ran across a barrier: {log}");
    }
}

fn check(way: &Way) {
    let folder = Folder::new();
    let tasks = "touch a\n#DISBATCH BARRIER CHECK\nexit 3\ntouch b\n#DISBATCH BARRIER\ntouch c\n\
                 #DISBATCH BARRIER CHECK\ntouch d\n#DISBATCH BARRIER\ntouch e\n";
    write(&folder, "tasks", tasks);
    let ended = run(way, &folder, &["exec", "tasks", "-o", "o"]).expect(1);
    assert_told(&ended, &["3 tasks ok, 1 failed", "2 not run"]);
    assert_eq!(column(&folder, "o", "status"), ["ok", "failed", "ok", "ok", "not_run", "not_run"]);
    assert_eq!(folder.names(), ["a", "b", "c", "o", "o.journal", "tasks"]);
    // As long as it has failed, and no longer.
    let again = ["exec", "tasks", "-o", "o", "--resume"];
    run(way, &folder, &again).expect(1);
    assert!(!folder.path("d").exists());
    let ended = run(way, &folder, &[&again[..], &["--retry-failed"]].concat()).expect(1);
    assert_told(&ended, &["2 not run"]);
    let folder = Folder::new();
    write(&folder, "tasks", tasks);
    let mended = ["exec", "tasks", "-o", "o", "--ok", "0,3"];
    run(way, &folder, &mended).expect(0);
    assert!(folder.path("e").exists());
}

fn resumed(way: &Way) {
    let folder = Folder::new();
    let tasks =
        "echo 1\n[ -e mended ] && echo 2\n#DISBATCH BARRIER CHECK\necho 3\n#DISBATCH BARRIER\necho 4\n";
    write(&folder, "tasks", tasks);
    run(way, &folder, &["exec", "tasks", "-o", "o"]).expect(1);
    assert_eq!(column(&folder, "o", "status"), ["ok", "failed", "not_run", "not_run"]);
    write(&folder, "mended", "");
    let ended =
        run(way, &folder, &["exec", "tasks", "-o", "o", "--resume", "--retry-failed", "--report-json"])
            .expect(0);
    assert_eq!(ended.json()["resumed"], 1);
    assert_eq!(column(&folder, "o", "stdout"), ["1\n", "2\n", "3\n", "4\n"]);
    write(&folder, "tasks", &tasks.replace("echo 4", "echo 5"));
    let ended = run(way, &folder, &["exec", "tasks", "-o", "o", "--resume"]).expect(2);
    assert_told(&ended, &["digest"]);
}

fn behind(way: &Way) {
    let folder = Folder::new();
    write(&folder, "tasks", "echo 1\n#DISBATCH BARRIER CHECK\nexit 1\necho 3\n");
    run(way, &folder, &["exec", "tasks", "-o", "o", "--only", "0-1"]).expect(1);
    // The third task, which was not begun, is now.
    run(way, &folder, &["exec", "tasks", "-o", "o", "--resume"]).expect(1);
    assert_eq!(column(&folder, "o", "status"), ["ok", "failed", "ok"]);
}

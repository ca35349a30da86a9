//! Outputs that are printed: whole, in order or as the tasks end, with tags, and the log of `--joblog`.

use super::{assert_told, bash, lines, run, write};
use crate::support::ways::{COMM, Folder, LEADERS, PROCESSES, SERIAL, THREADS, Test, Way};

pub const TESTS: &[Test] = &[
    (
        "outputs are printed in the order of the inputs with -k, and else as tasks end",
        &[THREADS, COMM],
        order,
    ),
    ("outputs of several slots are not interleaved", &[PROCESSES, LEADERS], whole),
    ("a tag stands before each line", &[SERIAL], tag),
    ("a log has a line for each task that has ended", &[SERIAL, COMM], joblog),
    ("a reader that leaves ends nothing but the printing", &[SERIAL], leaves),
    ("nothing runs in a dry run", &[SERIAL], dry),
];

fn order(way: &Way) {
    let folder = Folder::new();
    // Each of the slots waits for the other one's first task to end, but for that of the last input.
    let script =
        "[ {} = 1 ] && until [ -e 4 ]; do sleep 0.02; done; touch {}; echo {} | tee >(cat >&2); sleep 0.05";
    let arguments = ["--chunk", "1", "--", "bash", "-c", script, ":::", "1", "2", "3", "4"];
    let ordered = run(way, &folder, &[&["exec", "-k"], &arguments[..]].concat()).expect(0);
    assert_eq!(ordered.stdout, "1\n2\n3\n4\n");
    let folder = Folder::new();
    let ended = run(way, &folder, &[&["exec"], &arguments[..]].concat()).expect(0).stdout;
    assert_eq!(ended.len(), 8);
    assert!(!ended.starts_with('1') && ended.find('1') > ended.find('3'), "{ended:?}");
}

fn whole(way: &Way) {
    let folder = Folder::new();
    // Half a megabyte each, in pieces, from slots that write at the same time.
    let script = "for part in 1 2 3 4 5; do head -c 100000 /dev/zero | tr '\\0' {}; done; echo";
    let letters = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let arguments = [&["exec", "--chunk", "1", "--", "sh", "-c", script, ":::"], &letters[..]].concat();
    let ended = run(way, &folder, &arguments).expect(0);
    let mut found: Vec<&str> = ended.stdout.lines().collect();
    found.sort();
    assert_eq!(found.len(), letters.len());
    for (line, letter) in found.iter().zip(letters) {
        assert_eq!(**line, letter.repeat(500_000), "of {letter}, one line");
    }
}

fn tag(way: &Way) {
    let folder = Folder::new();
    let arguments = ["exec", "--tag", "-k", "--", "printf", "x%s\\ny%s", ":::", "a b", "c", ":::+", "1", "2"];
    let ended = run(way, &folder, &arguments).expect(0);
    assert_eq!(ended.stdout, "a b\t1\txa b\na b\t1\ty1c\t2\txc\nc\t2\ty2");
}

fn joblog(way: &Way) {
    let folder = Folder::new();
    let command = [
        "--joblog",
        "log",
        "--",
        "sh",
        "-c",
        "echo {}; case {} in b) exit 3;; c) kill -9 $$;; esac",
        ":::",
        "a",
        "b",
        "c",
    ];
    run(way, &folder, &[&["exec"], &command[..]].concat()).expect(1);
    let found = lines(&folder, "log");
    assert_eq!(found[0], "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand");
    let mut rows: Vec<Vec<&str>> = found[1..].iter().map(|line| line.split('\t').collect()).collect();
    rows.sort();
    let ends: Vec<[&str; 4]> = rows.iter().map(|row| [row[0], row[5], row[6], row[7]]).collect();
    assert_eq!(ends, [["1", "2", "0", "0"], ["2", "2", "3", "0"], ["3", "2", "0", "9"]]);
    assert_eq!(rows[1][8], "sh -c 'echo b; case b in b) exit 3;; c) kill -9 $$;; esac'");
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    assert!(rows.iter().all(|row| row[1] == host && row[2].parse::<f64>().unwrap() > 1e9));
    // Beside a file, too; and it goes on in the log.
    run(way, &folder, &[&["exec", "-o", "o"], &command[..]].concat()).expect(1);
    assert_eq!(lines(&folder, "log").len(), 1 + 3 + 3);
}

fn leaves(_: &Way) {
    let folder = Folder::new();
    for mode in ["serial", "processes -w 2"] {
        let line = format!(
            "$RANKPOOL exec --mode {mode} --progress none -k -- sh -c 'echo {{}}; touch {{}}' ::: $(seq 40)"
        );
        let ended = bash(&folder, &format!("{line} | head -1; exit ${{PIPESTATUS[0]}}")).expect(0);
        assert_eq!(ended.stdout, "1\n");
        assert!(!ended.stderr.contains("cannot be printed"), "{ended:?}");
        assert_eq!(folder.names().len(), 40, "all tasks have run");
    }
    let line = "seq 100000 | $RANKPOOL pipe --mode threads -w 1 --progress none --raw -- cat";
    let ended = bash(&folder, &format!("{line} | head -1; exit ${{PIPESTATUS[1]}}")).expect(0);
    assert_eq!(ended.stdout, "1\n");
}

fn dry(way: &Way) {
    let folder = Folder::new();
    let arguments = ["exec", "--dry-run", "--", "touch", "{}", "x{#}", ":::", "a b", "c", "$d"];
    let ended = run(way, &folder, &arguments).expect(0);
    assert_eq!(ended.stdout, "touch 'a b' x1\ntouch c x2\ntouch '$d' x3\n");
    let arguments = ["exec", "--dry-run", "--grid", "rate=1", "--", "echo", "{rat}", "{rate}"];
    let ended = run(way, &folder, &arguments).expect(0);
    assert_eq!(ended.stdout, "echo '{rat}' 1\n");
    assert_told(&ended, &["{rat} stays as it is", "there are rate"]);
    assert!(folder.names().is_empty());
    write(&folder, "tasks", "# a comment\ntouch a\n\n#DISBATCH PREFIX echo \nb");
    let ended = run(way, &folder, &["exec", "--dry-run", "tasks"]).expect(0);
    assert_eq!(ended.stdout, "touch a\necho b\n");
    assert_eq!(folder.names(), ["tasks"]);
    let ended = run(way, &folder, &["exec", "tasks"]).expect(0);
    assert_eq!(ended.stdout, "b\n");
    assert_told(&ended, &["2 tasks ok"]);
}

//! `rankpool pipe`: programs that stay, in several languages, and what they may do wrong.

use std::{io::Write, process::Command, time::Duration};

use super::{
    assert_same, assert_told, column, command, fed, in_shell, lines,
    resume::killed_and_resumed,
    run, surviving, table,
    victims::{Who, kill},
    write,
};
use crate::support::{
    LIMIT, Running, skipped, start, survive, wait,
    ways::{COMM, Folder, LEADERS, NODE, PROCESSES, SERIAL, THREADS, Test, Way},
};

/// One process with two threads.
const HYBRID: Way =
    ("threads of a process", 0, &["--mode", "processes", "--workers", "1", "--threads-per-worker", "2"]);

const ALL: &[Way] = &[SERIAL, PROCESSES, COMM];

pub const TESTS: &[Test] = &[
    ("Python answers in JSON, and says farewell", ALL, python),
    ("a shell loop answers in JSON", ALL, shell),
    ("awk answers line by line, in order", ALL, awk),
    ("bc answers line by line", ALL, bc),
    ("R answers line by line", ALL, r),
    ("inputs come as what they are", &[SERIAL], inputs),
    ("a program that dies with one task, or answers nonsense, is quarantined", &[SERIAL, PROCESSES], lost),
    ("an error fails its task alone, and is tried again", &[THREADS, COMM], errors),
    ("a program that hangs is ended, and the next task starts another one", &[SERIAL, COMM], hangs),
    ("a program may take longer to load", &[SERIAL], loads),
    ("a program that cannot be started says why", &[SERIAL], not_started),
    ("a program that is killed costs nothing, and neither does its worker", &[PROCESSES, NODE], worker_dies),
    ("a rank that is killed costs nothing, where the launcher lets the others live", &[COMM], rank_dies),
    ("programs that stay end with rank 0", &[SERIAL, THREADS, PROCESSES, COMM, LEADERS, NODE], rank_0_dies),
    ("a run ends when its programs have", &[SERIAL, THREADS, PROCESSES, HYBRID, COMM, NODE], waits),
    ("a program whose worker dies finds the end of its input first", &[SERIAL, THREADS, COMM], farewell),
    ("a run that was killed goes on", &[SERIAL, COMM], resumed),
];

const PYTHON: &str = r#"
import json, os, sys

for line in sys.stdin:
    task = json.loads(line)
    x = task["input"]["x"]
    print(json.dumps({"result": {"square": x * x, "name": "n%d" % task["task"], "seed": task["seed"]}}), flush=True)
open("farewell.%d" % os.getpid(), "w").close()
"#;

fn python(way: &Way) {
    let folder = Folder::new();
    write(&folder, "worker.py", PYTHON);
    let job = |out| ["pipe", "--grid", "x=0:4:0.5", "-o", out, "--", "python3", "worker.py"];
    run(way, &folder, &job("o")).expect(0);
    let rows = table(&folder, "o");
    for (k, row) in rows.iter().enumerate() {
        let x = k as f64 / 2.0;
        assert_eq!([row["x"].parse(), row["square"].parse()], [Ok(x), Ok(x * x)], "{row:?}");
        assert_eq!(row["name"], format!("n{k}"));
    }
    let farewells = folder.names().iter().filter(|name| name.starts_with("farewell")).count();
    assert!((1..=2).contains(&farewells), "{:?}", folder.names());
    run(&SERIAL, &folder, &job("serial")).expect(0);
    assert_same(&folder, "o", "serial");
    let printed =
        run(way, &folder, &["pipe", "--grid", "x=1:2", "--", "python3", "worker.py"]).expect(0).stdout;
    let first: serde_json::Value = serde_json::from_str(printed.lines().next().unwrap()).unwrap();
    assert_eq!([&first["square"], &first["name"]], [&serde_json::json!(1), &"n0".into()]);
}

fn shell(way: &Way) {
    let folder = Folder::new();
    let script = "while read -r line; do echo \"{\\\"result\\\": ${#line}}\"; done";
    run(way, &folder, &["pipe", "-o", "o", "--", "bash", "-c", script, ":::", "a", "bcd", "42"]).expect(0);
    let values: Vec<u64> = column(&folder, "o", "value").iter().map(|value| value.parse().unwrap()).collect();
    assert!(values.windows(2).all(|pair| pair[0].abs_diff(pair[1]) < 5) && values[0] > 20, "{values:?}");
}

/// Numbers, a line each, in a file; as many.
fn numbers(folder: &Folder, count: u64) {
    write(folder, "numbers", &(1..=count).map(|k| format!("{k}\n")).collect::<String>());
}

fn squares(count: u64) -> String {
    (1..=count).map(|k| format!("{}\n", k * k)).collect()
}

fn is_here(program: &str) -> bool {
    let here = Command::new("sh")
        .args(["-c", &format!("command -v {program} > /dev/null")])
        .status()
        .unwrap()
        .success();
    if !here {
        skipped(format!("{program} is not installed"));
    }
    here
}

fn awk(way: &Way) {
    let folder = Folder::new();
    numbers(&folder, 300);
    // One of them reads ahead, and would wait for more than it is given.
    let mawk = is_here("mawk");
    let awk: &[&str] = if mawk { &["mawk", "-W", "interactive"] } else { &["awk"] };
    let program = "{ if ($1 % 50 == 1) system(\"sleep 0.05\"); print $1 * $1; fflush() }";
    let arguments = [&["pipe", "--raw", "--"], awk, &[program]].concat();
    assert_eq!(fed(way, &folder, "numbers", &arguments).expect(0).stdout, squares(300));
    fed(way, &folder, "numbers", &[&["pipe", "--raw", "-o", "o", "--"], awk, &[program]].concat()).expect(0);
    assert_eq!(column(&folder, "o", "line").join("\n") + "\n", squares(300));
}

fn bc(way: &Way) {
    let folder = Folder::new();
    numbers(&folder, 50);
    if is_here("bc") {
        write(&folder, "terms", &(1..=50).map(|k| format!("{k} * {k}\n")).collect::<String>());
        let ended = fed(way, &folder, "terms", &["pipe", "--raw", "--", "bc"]).expect(0);
        assert_eq!(ended.stdout, squares(50));
    }
}

fn r(way: &Way) {
    let folder = Folder::new();
    numbers(&folder, 20);
    if is_here("Rscript") {
        let script = "input <- file('stdin'); open(input)\n\
                      while (length(line <- readLines(input, n = 1)) > 0) cat(as.numeric(line)^2, '\\n', sep = '')\n\
                      invisible(file.create(paste0('farewell.', Sys.getpid())))\n";
        write(&folder, "worker.R", script);
        let ended = fed(way, &folder, "numbers", &["pipe", "--raw", "--", "Rscript", "worker.R"]).expect(0);
        assert_eq!(ended.stdout, squares(20));
        assert!(folder.names().iter().any(|name| name.starts_with("farewell")), "{:?}", folder.names());
    }
}

/// Notes what it reads, and answers each line with what the script `answer` does, where `$line` is the line and `$n` the
/// number of lines that there were.
fn worker(answer: &str) -> String {
    format!("n=0; while IFS= read -r line; do n=$((n + 1)); {answer}; done")
}

fn inputs(way: &Way) {
    let folder = Folder::new();
    let note = worker("echo \"$line\" >> read; echo '{\"result\": true}'");
    run(way, &folder, &["pipe", "--", "bash", "-c", &note, ":::", "1", "a b", "007", ":::", "x"]).expect(0);
    write(&folder, "list", "x,name\n1.5,\"a, b\"\n");
    run(way, &folder, &["pipe", "--csv", "list", "--", "bash", "-c", &note]).expect(0);
    let read: Vec<serde_json::Value> =
        lines(&folder, "read").iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let found: Vec<String> = read.iter().map(|task| format!("{} {}", task["task"], task["input"])).collect();
    let expected =
        ["0 [1,\"x\"]", "1 [\"a b\",\"x\"]", "2 [\"007\",\"x\"]", "0 {\"x\":1.5,\"name\":\"a, b\"}"];
    assert_eq!(found, expected);
    // 53 bits, which any language can hold.
    assert!(read.iter().all(|task| task["seed"].as_u64().is_some_and(|seed| seed < 1 << 53)));
    assert_ne!(read[0]["seed"], read[1]["seed"]);
}

fn lost(way: &Way) {
    for (bad, why) in [
        ("exit 9", "the program ended with code 9"),
        ("echo gibberish", "the program answered \"gibberish\""),
    ] {
        let folder = Folder::new();
        let answer = format!(
            "case $line in *'\"input\":7'*) echo 7 >> tried; {bad};; *) echo '{{\"result\": 1}}';; esac"
        );
        let arguments = ["pipe", "--array", "0-19", "-o", "o", "--", "bash", "-c", &worker(&answer)];
        let ended = run(way, &folder, &arguments).expect(1);
        assert_told(&ended, &["19 tasks ok, 1 failed", "the program was lost 3 times with this task", why]);
        let mut expected = ["ok"; 20];
        expected[7] = "quarantined";
        assert_eq!(column(&folder, "o", "status"), expected);
        assert!(lines(&folder, "tried").len() >= 3);
    }
}

fn errors(way: &Way) {
    let folder = Folder::new();
    let answer = "case $line in *'\"input\":7'*) echo 7 >> tried; echo '{\"error\": \"seven is odd\"}';; \
                  *) echo '{\"result\": {\"n\": 1}}';; esac";
    let arguments =
        ["pipe", "--array", "0-19", "--retries", "2", "-o", "o", "--", "bash", "-c", &worker(answer)];
    let ended = run(way, &folder, &arguments).expect(1);
    assert_told(&ended, &["19 tasks ok, 1 failed", "seven is odd"]);
    assert_eq!(column(&folder, "o", "status")[7], "failed");
    assert!(lines(&folder, "tried").len() >= 3);
}

fn hangs(way: &Way) {
    let folder = Folder::new();
    let answer = "case $line in 7) sleep 600 & sleep 600;; *) echo $line;; esac";
    let limits = ["--task-timeout", "500ms", "--init-timeout", "20s", "--kill-after", "300ms"];
    let arguments = [&["pipe", "--raw", "--array", "0-19", "-o", "o"], &limits[..]].concat();
    let ended =
        run(way, &folder, &[&arguments[..], &["--", "bash", "-c", &worker(answer)]].concat()).expect(1);
    assert_told(&ended, &["19 tasks ok, 1 failed", "the program did not answer within"]);
    assert_eq!(column(&folder, "o", "status")[7], "timed_out");
}

fn loads(way: &Way) {
    let folder = Folder::new();
    let slow = format!("sleep 1; {}", worker("echo $line"));
    let run = |init: &str| {
        let limits = ["--task-timeout", "300ms", "--init-timeout", init, "--kill-after", "1s"];
        let flags = [&["pipe", "--raw"], &limits[..], &["--", "bash", "-c", &slow, ":::", "1", "2"]].concat();
        run(way, &folder, &flags)
    };
    assert_eq!(run("20s").expect(0).stdout, "1\n2\n");
    assert_told(&run("100ms").expect(1), &["2 failed", "the program did not answer within 400ms"]);
}

fn not_started(way: &Way) {
    let folder = Folder::new();
    let ended = run(way, &folder, &["pipe", "--", "./nothing", ":::", "1", "2"]).expect(1);
    assert_told(&ended, &["2 failed", "nothing: there is no such program"]);
    let ended = run(
        way,
        &folder,
        &["pipe", "--workdir", "made/here", "--raw", "--", "bash", "-c", "pwd", ":::", "1"],
    );
    assert_eq!(ended.expect(0).stdout, format!("{}\n", folder.file("made/here")));
}

/// A program that has processes behind it, and answers nothing until there is a file `go`.
fn begin(way: &Way, launcher: &[&str], folder: &Folder, flags: &[&str]) -> Running {
    let answer = "until [ -e go ]; do sleep 0.05; done; echo \"got $line\"";
    let program = format!(
        "(setsid sh -c 'trap \"\" TERM; sleep 600; sleep 600' &) ; sleep 600 & touch began.$$; {}",
        worker(answer)
    );
    let arguments =
        [&["pipe", "--raw", "--kill-after", "1s", "--array", "1-8", "--chunk", "1"], flags].concat();
    let mut running = start(&mut surviving(
        way,
        launcher,
        folder,
        &[&arguments[..], &["--", "bash", "-c", &program]].concat(),
    ));
    let slots = match way.0 {
        "serial" => 1,
        "leaders" => 4,
        _ => 2,
    };
    wait(LIMIT, Duration::from_millis(10), "a program on each slot", || {
        assert!(running.lives(), "the run has ended: {}", running.stderr_so_far());
        let began = folder.names().iter().filter(|name| name.starts_with("began")).count();
        if began == slots { Ok(()) } else { Err(format!("{began} run: {}", running.stderr_so_far())) }
    });
    running
}

fn goes_on(way: &Way, who: Who, launcher: &[&str]) {
    let folder = Folder::new();
    let mut running = begin(way, launcher, &folder, &["-o", "o"]);
    kill(&mut running, way, who);
    write(&folder, "go", "");
    running.end().expect(0);
    assert_eq!(column(&folder, "o", "line"), (1..=8).map(|k| format!("got {k}")).collect::<Vec<_>>());
}

fn worker_dies(way: &Way) {
    goes_on(way, if way.0 == "node" { Who::Child } else { Who::Worker }, &[]);
    goes_on(way, Who::Minder, &[]);
}

fn rank_dies(way: &Way) {
    if let Some(launcher) = survive() {
        goes_on(way, Who::Worker, launcher);
    }
}

fn rank_0_dies(way: &Way) {
    let folder = Folder::new();
    let mut running = begin(way, &[], &folder, &[]);
    kill(&mut running, way, Who::Rank0);
    assert_ne!(running.end().code, 0);
}

fn waits(way: &Way) {
    let folder = Folder::new();
    let program = format!("{}; sleep 0.5; touch farewell", worker("echo $line"));
    let arguments = ["pipe", "--raw", "-o", "o", "--", "bash", "-c", &program, ":::", "1", "2"];
    let ended = in_shell("\"$@\" && ls", way, &folder, &arguments).expect(0);
    assert!(ended.stdout.contains("farewell"), "{ended:?}");
}

fn farewell(way: &Way) {
    let folder = Folder::new();
    // More lines may come: the programs have answered all, and wait. One that is answering finds nobody who reads it.
    let list = folder.pipe("list");
    let mut list = std::fs::OpenOptions::new().read(true).write(true).open(list).unwrap();
    list.write_all(b"1\n2\n").unwrap();
    let answers = worker("touch began.$$; echo \"got $line\"; echo $line >> answered");
    let program = format!("trap 'touch asked' TERM; {answers}; sleep 0.5; touch farewell.$$");
    let arguments = ["pipe", "--raw", "--chunk", "1", "-a", "list", "--", "bash", "-c", &program];
    let mut running = start(&mut command(way, &folder, &arguments));
    wait(LIMIT, Duration::from_millis(10), "two answers", || {
        let answered = std::fs::read_to_string(folder.path("answered")).unwrap_or_default();
        if answered.lines().count() == 2 { Ok(()) } else { Err(running.stderr_so_far()) }
    });
    let named = |what: &str| folder.names().iter().filter(|name| name.starts_with(what)).count();
    let began = named("began");
    kill(&mut running, way, Who::Rank0);
    running.end();
    assert_eq!([named("farewell"), named("asked")], [began, 0], "{:?}", folder.names());
}

fn resumed(way: &Way) {
    let folder = Folder::new();
    let program = worker("echo $line >> ran; sleep 0.02; echo \"got $line\"");
    let job = |out| {
        [
            "pipe",
            "--raw",
            "--array",
            "0-59",
            "-o",
            out,
            "--chunk",
            "1",
            "--resume",
            "--report-json",
            "--",
            "bash",
            "-c",
        ]
    };
    let job = |out| [&job(out)[..], &[&program]].concat();
    killed_and_resumed(way, &folder, &job("o"), &job("o"));
    run(&SERIAL, &folder, &job("whole")).expect(0);
    assert_same(&folder, "o", "whole");
}

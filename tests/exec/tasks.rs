//! What a task is: what it finds, what it reads, where it runs, how long and with how much, and what its row says of it.

use std::{fs, time::Duration};

use super::{assert_told, bash, column, fed, lines, run, table, write};
use crate::support::ways::{COMM, Folder, LEADERS, NODE, PROCESSES, SERIAL, THREADS, Test, Way};

pub const TESTS: &[Test] = &[
    ("a task finds its number, attempt, seed and inputs in its environment", &[SERIAL], environment),
    ("a task has a rank and a slot", &[THREADS, COMM, LEADERS], places),
    ("variables of one's own, and those of other programs", &[SERIAL], variables),
    ("a task runs in a folder of its own, which is made", &[PROCESSES], workdir),
    ("a task reads a file, its input, or nothing", &[SERIAL, COMM], stdin),
    ("outputs are kept, cut, put into files, or left out", &[THREADS], outputs),
    ("other exit codes may mean success", &[SERIAL], ok),
    ("a failed task has a row with its exit code or signal, and what it printed", &[SERIAL, LEADERS], failed),
    ("a task that takes too long is ended, and its row says how", &[SERIAL, THREADS, COMM], timed_out),
    ("the last line becomes columns", &[PROCESSES], parsed),
    ("a last line that is none fails the task", &[SERIAL], not_parsed),
    ("a task that takes more memory than it may fails", &[THREADS], memory),
    ("so many tasks run at a time as their CPUs allow", &[PROCESSES], at_a_time),
    ("no value is anything but a value", &[SERIAL, COMM], injection),
    ("a task may be an MPI program with a launcher of its own", &[COMM, NODE], mpi_inside),
    ("what is asked for wrongly is refused with a clear word", &[SERIAL], refused),
];

fn environment(_: &Way) {
    let folder = Folder::new();
    let script = "echo $RANKPOOL_TASK_ID $RANKPOOL_TASK_COUNT $RANKPOOL_ATTEMPT $RANKPOOL_ARG_X $RANKPOOL_ARG_A_B; \
                  echo $RANKPOOL_TASK_ID $RANKPOOL_SEED >> $SEEDS; [ $RANKPOOL_ATTEMPT = 2 ]";
    for way in [SERIAL, THREADS, COMM] {
        let (out, seeds) = (format!("{}.h5", way.0), format!("SEEDS={}", way.0));
        let flags = ["exec", "--grid", "x=5:6", "--grid", "a-b=u,v", "--seed", "3", "--retries", "1"];
        run(
            &way,
            &folder,
            &[&flags[..], &["--env", &seeds, "-o", &out, "--", "bash", "-c", script]].concat(),
        )
        .expect(0);
        let printed = column(&folder, &out, "stdout");
        assert_eq!(printed, ["0 4 2 5 u\n", "1 4 2 5 v\n", "2 4 2 6 u\n", "3 4 2 6 v\n"], "{way:?}");
    }
    let seeds = |way: Way| {
        let mut lines = lines(&folder, way.0);
        lines.sort();
        assert_eq!(lines.len(), 8);
        lines.dedup();
        lines
    };
    let serial = seeds(SERIAL);
    assert_eq!(
        serial.len(),
        4,
        "a task has the same seed at every attempt, and no other task has it: {serial:?}"
    );
    assert_eq!([seeds(THREADS), seeds(COMM)], [serial.clone(), serial]);
}

fn places(way: &Way) {
    let folder = Folder::new();
    let script = "echo $RANKPOOL_RANK $RANKPOOL_SLOT {%}; sleep 0.1";
    run(way, &folder, &["exec", "--array", "1-12", "--chunk", "1", "-o", "o", "--", "sh", "-c", script])
        .expect(0);
    let mut found = column(&folder, "o", "stdout");
    found.sort();
    found.dedup();
    let expected: &[&str] = match way.0 {
        "leaders" => &["0 0 1\n", "0 1 2\n", "1 0 1\n", "1 1 2\n"],
        _ => &["1 0 1\n", "2 0 1\n"],
    };
    assert_eq!(found, expected);
}

fn variables(way: &Way) {
    let folder = Folder::new();
    let print = "echo $MINE,$HOME,$HQ_TASK_ID,$SLURM_ARRAY_TASK_ID,$PARALLEL_SEQ";
    let own = ["--env", "MINE=<{}> {#}", "--env", "HOME=nowhere"];
    let run = |more: &[&str], list: &[&str]| {
        let arguments = [&["exec"], &own[..], more, &["--", "bash", "-c", print], list].concat();
        run(way, &folder, &arguments).expect(0).stdout
    };
    assert_eq!(run(&[], &[":::", "a b"]), "<a b> 1,nowhere,,,\n");
    assert_eq!(run(&["--compat"], &[":::", "a", "b"]), "<a> 1,nowhere,0,0,1\n<b> 2,nowhere,1,1,2\n");
    assert_eq!(run(&["--compat", "--array", "7,9"], &[]), "<7> 1,nowhere,7,7,1\n<9> 2,nowhere,9,9,2\n");
    write(
        &folder,
        "tasks",
        "echo $DISBATCH_TASKID\n#DISBATCH REPEAT 2 start 5 echo r $DISBATCH_REPEAT_INDEX\n",
    );
    let ended = super::run(way, &folder, &["exec", "tasks"]).expect(0);
    assert_eq!(ended.stdout, "0\nr 5\nr 6\n");
}

fn workdir(way: &Way) {
    let folder = Folder::new();
    run(
        way,
        &folder,
        &[
            "exec",
            "--workdir",
            "runs/{#}/{}",
            "-o",
            "o",
            "--",
            "sh",
            "-c",
            "pwd; touch here",
            ":::",
            "a",
            "b",
        ],
    )
    .expect(0);
    assert!(folder.path("runs/1/a/here").exists() && folder.path("runs/2/b/here").exists());
    let found = column(&folder, "o", "stdout");
    assert_eq!(found, ["runs/1/a\n", "runs/2/b\n"].map(|path| folder.file(path)));
    // A file is in the way of one of them.
    write(&folder, "runs/2/c", "");
    let ended =
        run(way, &folder, &["exec", "--workdir", "runs/2/{}", "--", "pwd", ":::", "b", "c"]).expect(1);
    assert_told(&ended, &["1 failed", "runs/2/c: the task cannot run in this directory: Not a directory"]);
}

fn stdin(way: &Way) {
    let folder = Folder::new();
    write(&folder, "a.txt", "of a\n");
    let ended = run(way, &folder, &["exec", "-k", "--stdin", "{}.txt", "--", "cat", ":::", "a", "b"]);
    assert_told(&ended.expect(1), &["b.txt: it cannot be the standard input: No such file or directory"]);
    let ended =
        run(way, &folder, &["exec", "-k", "--stdin", "{}.txt", "--", "cat", ":::", "a", "a"]).expect(0);
    assert_eq!(ended.stdout, "of a\nof a\n");
    let piped =
        run(way, &folder, &["exec", "-k", "--pipe-in", "--", "cat", ":::", "a b", "c", ":::", "1", "2"]);
    assert_eq!(piped.expect(0).stdout, "a b\t1\na b\t2\nc\t1\nc\t2\n");
    // What the run itself reads is not for the tasks.
    write(&folder, "list", "1\n2\n3\n");
    let ended = fed(way, &folder, "list", &["exec", "-k", "--", "sh", "-c", "cat; echo {}"]).expect(0);
    assert_eq!(ended.stdout, "1\n2\n3\n");
}

fn outputs(way: &Way) {
    let folder = Folder::new();
    let print = ["--", "sh", "-c", "echo out of {}; echo err of {} >&2", ":::", "a", "b"];
    let run = |flags: &[&str]| {
        run(way, &folder, &[&["exec", "--force", "-o", "o"], flags, &print].concat()).expect(0)
    };
    run(&["--stdout", "out/{#}/{}.txt", "--stderr", "none"]);
    assert_eq!(lines(&folder, "out/1/a.txt"), ["out of a"]);
    assert_eq!(lines(&folder, "out/2/b.txt"), ["out of b"]);
    assert_eq!([column(&folder, "o", "stdout"), column(&folder, "o", "stderr")].concat(), ["", "", "", ""]);
    run(&["--stdout", "both", "--stderr", "both", "--only", "0"]);
    assert_eq!(lines(&folder, "both"), ["out of a", "err of a"], "both go to one file");
    run(&["--keep-output", "5"]);
    for (name, expected) in
        [("stdout", "out o"), ("stderr", "err o"), ("stdout_cut", "4"), ("stderr_cut", "4")]
    {
        assert_eq!(column(&folder, "o", name), [expected, expected], "{name}");
    }
    run(&[]);
    for (name, expected) in [("stdout", "out of a\n"), ("stderr", "err of a\n"), ("stdout_cut", "0")] {
        assert_eq!(column(&folder, "o", name)[0], expected, "{name}");
    }
    // All of it, where it is printed: more than the megabyte that a file would keep.
    let ended = super::run(way, &folder, &["exec", "--", "head", "-c", "{}", "/dev/zero", ":::", "1500000"])
        .expect(0);
    assert_eq!(ended.stdout.len(), 1_500_000);
    // What is no text, and much of it, changes nothing.
    let junk = "head -c 2000000 /dev/urandom; head -c 2000000 /dev/urandom >&2";
    super::run(way, &folder, &["exec", "-o", "junk", "--", "sh", "-c", junk, ":::", "1"]).expect(0);
    assert_eq!(
        [column(&folder, "junk", "stdout_cut"), column(&folder, "junk", "stderr_cut")].concat(),
        ["1000000"; 2]
    );
}

fn ok(way: &Way) {
    let folder = Folder::new();
    let exits = ["--", "sh", "-c", "exit {}", ":::", "0", "3", "4"];
    let ended = run(way, &folder, &[&["exec", "--ok", "0,3", "-o", "o"], &exits[..]].concat()).expect(1);
    assert_told(&ended, &["2 tasks ok, 1 failed", "exit code 4"]);
    assert_eq!(column(&folder, "o", "exit_code"), ["0", "3", "4"]);
    assert_eq!(column(&folder, "o", "status"), ["ok", "ok", "failed"]);
    let ended = run(way, &folder, &[&["exec", "--ok", "3,4", "-o", "p"], &exits[..]].concat()).expect(1);
    assert_told(&ended, &["1 failed", "exit code 0"]);
}

fn failed(way: &Way) {
    let folder = Folder::new();
    let script = "echo about to {}; echo the reason of {} >&2; case {} in a) exit 7;; b) kill -SEGV $$;; d) kill $$; sleep 5;; esac";
    let list = [":::", "a", "b", "c", "d"];
    let ended =
        run(way, &folder, &[&["exec", "-o", "o", "--", "sh", "-c", script], &list[..]].concat()).expect(1);
    assert_told(
        &ended,
        &["exit code 7: the reason of a", "signal 11: the reason of b", "signal 15: the reason of d"],
    );
    let rows = table(&folder, "o");
    let cells = |name: &str| rows.iter().map(|row| row[name].as_str()).collect::<Vec<_>>();
    assert_eq!(cells("status"), ["failed", "failed", "ok", "failed"]);
    assert_eq!(cells("exit_code"), ["7", "-1", "0", "-1"]);
    assert_eq!(cells("signal"), ["0", "11", "0", "15"]);
    assert_eq!(cells("stdout")[0], "about to a\n");
    assert_eq!(cells("stderr")[1], "the reason of b\n");
    // What cannot be started says why.
    let ended = run(way, &folder, &["exec", "-o", "p", "--", "./{}", ":::", "nothing"]).expect(1);
    assert_told(&ended, &["nothing: there is no such program"]);
    assert_eq!(column(&folder, "p", "exit_code"), ["-1"]);
}

fn timed_out(way: &Way) {
    let folder = Folder::new();
    let script =
        "echo so far; [ {} = quick ] || { [ {} = deaf ] && trap '' TERM; sleep 600 & sleep 600; sleep 600; }";
    let limits = ["--task-timeout", "500ms", "--kill-after", "300ms", "-o", "o"];
    let arguments =
        [&["exec"], &limits[..], &["--", "sh", "-c", script, ":::", "quick", "slow", "deaf"]].concat();
    let ended = run(way, &folder, &arguments).expect(1);
    assert_told(&ended, &["1 task ok, 2 failed", "it ran longer than 500ms, and was ended"]);
    assert_eq!(column(&folder, "o", "status"), ["ok", "timed_out", "timed_out"]);
    assert_eq!(column(&folder, "o", "signal"), ["0", "15", "9"]);
    assert_eq!(column(&folder, "o", "stdout"), ["so far\n"; 3]);
    assert!(ended.took < Duration::from_secs(20), "{ended:?}");
}

fn parsed(way: &Way) {
    let folder = Folder::new();
    let run = |form: &str, line: &str, list: &[&str]| {
        let arguments =
            ["exec", "--force", "-o", "o", "--parse", form, "--", "printf", "noise\\n%s\\n", line, ":::"];
        run(way, &folder, &[&arguments[..], list].concat()).expect(0);
        table(&folder, "o")
    };
    let rows = run("json", "{\"x\": {}, \"name\": \"n{}\", \"list\": [1, 2]}", &["1", "2.5"]);
    assert_eq!([&rows[0]["x"], &rows[1]["x"]], ["1.0", "2.5"], "a column has one type");
    assert_eq!([&rows[0]["name"], &rows[1]["name"]], ["n1", "n2.5"]);
    let rows = run("number", "{}", &["1e3", "-7"]);
    assert_eq!([&rows[0]["value"], &rows[1]["value"]], ["1000.0", "-7.0"]);
    let rows = run("csv", "{},\"a, b\",3", &["x", "y"]);
    assert_eq!([&rows[0]["c1"], &rows[1]["c1"], &rows[1]["c2"], &rows[1]["c3"]], ["x", "y", "a, b", "3"]);
}

fn not_parsed(way: &Way) {
    let folder = Folder::new();
    let arguments =
        ["exec", "-o", "o", "--parse", "json", "--", "echo", "{}", ":::", "{\"a\": 1}", "nonsense", ""];
    let ended = run(way, &folder, &arguments).expect(1);
    let why = "the last line of its output is no JSON: \"nonsense\"";
    assert_told(&ended, &["1 task ok, 2 failed", why, "it printed no line that --parse could read"]);
    assert_eq!(column(&folder, "o", "status"), ["ok", "failed", "failed"]);
    assert_eq!(column(&folder, "o", "exit_code"), ["0", "0", "0"]);
    assert_eq!(column(&folder, "o", "stdout"), ["{\"a\": 1}\n", "nonsense\n", "\n"]);
}

fn memory(way: &Way) {
    let folder = Folder::new();
    let take = "print(len(bytearray({} * 1000000)))";
    let arguments =
        ["exec", "--mem-per-task", "300MB", "-o", "o", "--", "python3", "-c", take, ":::", "1", "400"];
    let ended = run(way, &folder, &arguments).expect(1);
    assert_told(&ended, &["1 task ok, 1 failed", "exit code 1: MemoryError"]);
    assert_eq!(column(&folder, "o", "stdout"), ["1000000\n", ""]);
    let peaks = column(&folder, "o", "peak_bytes");
    assert!(
        peaks.iter().all(|peak| (1_000_000..300_000_000).contains(&peak.parse::<u64>().unwrap())),
        "{peaks:?}"
    );
}

fn at_a_time(_: &Way) {
    // One process with four threads.
    let way = ("processes", 0, &["--mode", "processes", "--workers", "1", "--threads-per-worker", "4"][..]);
    let cpus = std::thread::available_parallelism().unwrap().get();
    for (cpus, expected) in [("1", 4), ("2", 2)].into_iter().take(cpus) {
        let folder = Folder::new();
        let script = "echo + >> log; sleep 0.15; echo - >> log";
        let arguments =
            ["exec", "--cpus-per-task", cpus, "--chunk", "1", "--array", "1-8", "--", "sh", "-c", script];
        run(&way, &folder, &arguments).expect(0);
        let mut now = 0;
        let running = lines(&folder, "log").into_iter().map(|line| {
            now += if line == "+" { 1 } else { -1 };
            now
        });
        assert_eq!(running.max(), Some(expected), "{cpus} CPUs each");
    }
    let folder = Folder::new();
    let refused =
        run(&way, &folder, &["exec", "--cpus-per-task", "4096", "--", "echo", ":::", "1"]).expect(2);
    assert_told(&refused, &["--cpus-per-task"]);
}

fn injection(way: &Way) {
    let folder = Folder::new();
    let evil = [
        "$(touch bad)",
        "`touch bad`",
        "; touch bad",
        "| touch bad",
        "&& touch bad",
        "> bad",
        "' touch bad '",
        "\"",
        "'",
        "a\nb",
        "\\",
        "\\n",
        "*",
        "~",
        "!x",
        "{1}",
        "{}",
        "-n",
        "$HOME",
        "",
        " ",
        "\u{e9}\t",
        "--",
        "#",
    ];
    let expected: String = evil.iter().map(|value| format!("<{value}><x{value}y>\n")).collect();
    let run = |flags: &[&str], command: &[&str]| {
        let before = [&["exec", "-k"], flags, &["--"], command, &[":::"]].concat();
        run(way, &folder, &[&before[..], &evil].concat()).expect(0).stdout
    };
    assert_eq!(run(&[], &["printf", "<%s><%s>\\n", "{}", "x{}y"]), expected);
    assert_eq!(run(&["--shell"], &["printf '<%s><%s>\\n' {} x{}y"]), expected);
    assert_eq!(
        run(&["--shell"], &["printf '<%s>\\n'"]).lines().count(),
        evil.len() + 1,
        "one has a newline in it"
    );
    assert!(!folder.path("bad").exists(), "{:?}", folder.names());
}

fn mpi_inside(way: &Way) {
    let folder = Folder::new();
    // Two at a time share no folder for temporary files, which each makes and removes.
    let inside = "TMPDIR=$PWD mpiexec --oversubscribe -n 2 $RANKPOOL run pi --tasks 2 --samples 1000 --progress none --json";
    let program = format!("RANKPOOL={}", super::PROGRAM);
    let arguments = [
        "exec",
        "--env",
        &program,
        "--workdir",
        "{#}",
        "--shell",
        "--no-append",
        "-o",
        "o",
        "--",
        inside,
        ":::",
        "1",
        "2",
    ];
    run(way, &folder, &arguments).expect(0);
    for printed in column(&folder, "o", "stdout") {
        let report: serde_json::Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(
            [&report["mode"], &report["ranks"], &report["done"]],
            [&"comm".into(), &2.into(), &serde_json::json!(2)]
        );
    }
}

fn refused(way: &Way) {
    let folder = Folder::new();
    fs::create_dir(folder.path("dir")).unwrap();
    write(&folder, "bad", "true\n#DISBATCH PERNODE true\n");
    for (line, why) in [
        ("exec", "name a command behind --"),
        ("exec -- echo :::: nothing.txt", "nothing.txt: cannot be read: No such file"),
        ("exec -- echo :::: dir", "dir: is a folder"),
        ("exec bad", "line 2 has PERNODE"),
        ("exec bad -- echo ::: 1", "cannot be used with"),
        ("exec --grid x=1 -- echo ::: 1", "two sorts of lists"),
        ("exec --grid x=1:0:1 -- echo", "x=1:0:1"),
        ("exec --random 3 -- echo ::: 1", "draw from the axes of --grid"),
        ("exec --stdin a --pipe-in -- echo ::: 1", "cannot be used with"),
        ("exec --ok yes -- echo ::: 1", "--ok"),
        ("exec --env =1 -- echo ::: 1", "expected NAME=VALUE"),
        ("exec --keep-output lots -- echo ::: 1", "expected a size"),
        ("exec --kill-after soon -- echo ::: 1", "--kill-after"),
        ("exec --parse xml -- echo ::: 1", "expected json, number or csv"),
        ("exec --parse json --stdout x -- echo ::: 1", "leave --stdout out"),
        ("exec --tag -o o -- echo ::: 1", "leave one out"),
        ("exec --halt never -- echo ::: 1", "expected now or soon"),
        ("exec --resume -- echo ::: 1", "--resume goes on from a journal"),
        ("exec --joblog dir/no/log -- echo ::: 1", "the folder dir/no is not there"),
        ("exec --joblog bad -- echo ::: 1", "is no log of --joblog"),
        ("exec --nonsense -- echo ::: 1", "--nonsense"),
        ("pipe", "COMMAND"),
        ("pipe --raw -- ::: 1", "name a program behind --"),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let ended = run(way, &folder, &words);
        assert!(ended.code == 2 && ended.stderr.contains(why), "{line}: {why:?} is not told: {ended:?}");
    }
    assert_eq!(folder.names(), ["bad", "dir"]);
    // One who types it has no socket on standard input.
    let ended = bash(&folder, "$RANKPOOL task-minder").expect(2);
    assert_told(&ended, &["task-minder"]);
}

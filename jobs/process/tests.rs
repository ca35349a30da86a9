//! With real programs. Each test has a limit, after which the whole test process ends, and with it all that it has started.

use std::{
    fs,
    os::{fd::AsFd, unix::fs::PermissionsExt},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use super::*;

mod staying;

/// How long a test may take, on a busy machine.
const LIMIT: Duration = Duration::from_secs(100);

/// What is well within that, but cannot be mistaken for at once.
const LONG: Duration = Duration::from_secs(60);

/// Makes a minder of this test program before the test harness begins.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = {
    extern "C" fn become_minder() {
        if minder_if_asked().is_some() {
            std::process::exit(0);
        }
    }
    become_minder
};

/// Ends this process unless the test ends in time.
struct Watchdog {
    _alive: mpsc::Sender<()>,
}

impl Watchdog {
    fn new() -> Watchdog {
        let (over, ended) = mpsc::channel();
        thread::spawn(move || {
            if ended.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("a test takes longer than {LIMIT:?}");
                std::process::abort();
            }
        });
        Watchdog { _alive: over }
    }
}

fn minder() -> (Watchdog, Minder) {
    (Watchdog::new(), Minder::start(std::env::vars_os().collect()).unwrap())
}

fn keep() -> Out {
    Out::Keep { most: 1 << 20 }
}

/// A shell's script, of which both outputs are kept.
fn shell(script: &str) -> Spec {
    Spec { stdout: keep(), stderr: keep(), ..Spec::new(["sh", "-c", script]) }
}

fn run(minder: &mut Minder, spec: &Spec) -> Ended {
    let ended = minder.run(spec).unwrap();
    assert_eq!(ended.left, 0);
    ended
}

fn output(ended: &Ended) -> &str {
    assert_eq!(ended.how, How::Exited(0), "{ended:?}");
    str::from_utf8(&ended.stdout.bytes).unwrap()
}

/// An argument of `sleep` that no other process has.
fn mark() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("600.{}{:03}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// How many processes sleep for that long.
fn sleepers(mark: &str) -> usize {
    let sleeps = |entry: fs::DirEntry| {
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        words.split(|&byte| byte == 0).any(|word| word == mark.as_bytes())
    };
    fs::read_dir("/proc").unwrap().flatten().map(sleeps).filter(|&sleeps| sleeps).count()
}

/// Waits for so many of them; the watchdog sees to it when they do not come.
fn wait_for_sleepers(mark: &str, count: usize) {
    let since = Instant::now();
    while sleepers(mark) != count {
        assert!(since.elapsed() < LONG, "{} processes instead of {count}", sleepers(mark));
        thread::sleep(Duration::from_millis(5));
    }
}

/// Scripts that start three sleeping processes, and how many of them. What comes then is put after them.
fn nests(mark: &str) -> [String; 4] {
    [
        format!("sleep {mark} & sleep {mark} & sleep {mark} & "),
        // Daemons: forked twice, in sessions of their own.
        format!("(setsid sleep {mark} &) ; (setsid sh -c 'sleep {mark} & exec sleep {mark}' &) ; "),
        // Their parents ignore what would end them.
        format!(
            "trap '' TERM HUP INT; (setsid sh -c 'sleep {mark} & sleep {mark} & wait' &) ; sleep {mark} & "
        ),
        // One that is stopped.
        format!(
            "sleep {mark} & sleep {mark} & sleep {mark} & \
             until grep -q sleep /proc/$!/comm; do :; done; kill -STOP $!; "
        ),
    ]
}

/// Waits in a shell until three processes sleep.
fn until_they_sleep(mark: &str) -> String {
    format!(
        "until [ $(grep -lsFx 'sleep' /proc/[0-9]*/comm | while read c; do tr '\\0' '\\n' < ${{c%comm}}cmdline 2>/dev/null | grep -Fx {mark}; done | wc -l) = 3 ]; do sleep 0.01; done; "
    )
}

#[test]
fn exit_codes_and_signals_come_back() {
    let (_watchdog, mut minder) = minder();
    for code in [0, 1, 77, 255] {
        assert_eq!(run(&mut minder, &shell(&format!("exit {code}"))).how, How::Exited(code));
    }
    for signal in [6, 9, 11, 15] {
        assert_eq!(run(&mut minder, &shell(&format!("kill -{signal} $$"))).how, How::Signalled(signal));
    }
}

#[test]
fn times_and_memory_are_those_of_the_program() {
    let (_watchdog, mut minder) = minder();
    let before = SystemTime::now();
    let work = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; sleep 0.05; head -c 60M /dev/zero | tail -c 50M | wc -c";
    let ended = run(&mut minder, &shell(work));
    assert_eq!(output(&ended).trim(), "52428800");
    assert!(ended.started >= before && ended.started <= SystemTime::now());
    assert!(ended.seconds > 0.05 && ended.seconds < LONG.as_secs_f64());
    assert!(ended.cpu_seconds > 0.01 && ended.cpu_seconds < LONG.as_secs_f64());
    assert!(ended.peak_bytes > 50 << 20, "{}", ended.peak_bytes);
    assert!(run(&mut minder, &shell("true")).peak_bytes < 50 << 20);
}

#[test]
fn an_output_is_cut_and_its_last_line_is_known() {
    let (_watchdog, mut minder) = minder();
    let script = "seq 1 100000; echo; echo trouble >&2";
    let spec = Spec { stdout: Out::Keep { most: 6 }, ..shell(script) };
    let ended = run(&mut minder, &spec);
    assert_eq!(ended.stdout.bytes, b"1\n2\n3\n");
    assert_eq!(ended.stdout.left_out, 588_895 - 6 + 1);
    assert_eq!(ended.stdout.last_line, b"100000");
    assert_eq!(
        (ended.stderr.bytes.as_slice(), ended.stderr.last_line.as_slice()),
        (&b"trouble\n"[..], &b"trouble"[..])
    );
    let ended = run(&mut minder, &Spec { stdout: Out::Nothing, stderr: Out::Nothing, ..spec });
    assert_eq!((ended.stdout, ended.stderr), (Kept::default(), Kept::default()));
}

#[test]
fn much_goes_both_ways_at_once() {
    let (_watchdog, mut minder) = minder();
    let text: Vec<u8> =
        (0..8 << 20).map(|place: u32| place.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let stdin = Stdin::Text(text.clone());
    let all = Out::Keep { most: usize::MAX };
    let spec = Spec { stdin, stdout: all.clone(), stderr: all, ..shell("tee /dev/stderr; exit 0") };
    let ended = run(&mut minder, &spec);
    assert!(ended.stdout.bytes == text && ended.stderr.bytes == text);
    // A program need not read.
    assert_eq!(run(&mut minder, &Spec { words: vec!["true".into()], ..spec }).how, How::Exited(0));
}

#[test]
fn streams_are_files_where_that_is_asked() {
    let (_watchdog, mut minder) = minder();
    let folder = tempfile::tempdir().unwrap();
    let [read, write, both] = ["read", "new/folder/write", "both"].map(|name| folder.path().join(name));
    fs::write(&read, "from a file").unwrap();
    let spec = Spec {
        stdin: Stdin::File(read.clone()),
        stdout: Out::File(write.clone()),
        ..shell("cat; echo trouble >&2")
    };
    let ended = run(&mut minder, &spec);
    assert_eq!(
        (fs::read_to_string(&write).unwrap(), ended.stderr.bytes.as_slice()),
        ("from a file".into(), &b"trouble\n"[..])
    );
    let out = Out::File(both.clone());
    run(
        &mut minder,
        &Spec { stdout: out.clone(), stderr: out, ..shell("echo one; echo two >&2; echo three") },
    );
    assert_eq!(fs::read_to_string(&both).unwrap(), "one\ntwo\nthree\n");
    // It is emptied first. Without input, input has ended.
    run(&mut minder, &Spec { stdout: Out::File(both.clone()), ..shell("cat; echo new") });
    assert_eq!(fs::read_to_string(&both).unwrap(), "new\n");
    let missing = Spec { stdin: Stdin::File(folder.path().join("missing")), ..shell("true") };
    assert!(matches!(run(&mut minder, &missing).how, How::NotStarted(why) if why.contains("missing")));
    let blocked = Spec { stdout: Out::File(read.join("below")), ..shell("true") };
    assert!(matches!(run(&mut minder, &blocked).how, How::NotStarted(why) if why.contains("below")));
}

#[test]
fn the_environment_is_the_base_and_the_tasks_own() {
    let _watchdog = Watchdog::new();
    let base = [("PATH", "/usr/bin:/bin"), ("KEPT", "a"), ("CHANGED", "b")];
    let mut minder = Minder::start(base.map(|(name, value)| (name.into(), value.into())).into()).unwrap();
    let own = vec![("CHANGED".into(), "c=d\ne".into()), ("NEW".into(), "f".into())];
    let ended = run(&mut minder, &Spec { environment: own, stdout: keep(), ..Spec::new(["env", "-0"]) });
    assert_eq!(output(&ended), "PATH=/usr/bin:/bin\0KEPT=a\0CHANGED=c=d\ne\0NEW=f\0");
    let ended = run(&mut minder, &Spec { stdout: keep(), ..Spec::new(["env"]) });
    assert_eq!(output(&ended), "PATH=/usr/bin:/bin\nKEPT=a\nCHANGED=b\n");
    // A task's own PATH counts for its program, too.
    let own = vec![("PATH".into(), "/nowhere".into())];
    let ended = run(&mut minder, &Spec { environment: own, ..Spec::new(["env"]) });
    assert!(matches!(ended.how, How::NotStarted(why) if why == "env: there is no such program in PATH"));
}

#[test]
fn a_directory_is_made_and_left_again() {
    let (_watchdog, mut minder) = minder();
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().canonicalize().unwrap().join("a/b");
    let home = std::env::current_dir().unwrap().canonicalize().unwrap();
    for (directory, place) in [(Some(inner.clone()), &inner), (None, &home), (Some(".".into()), &home)] {
        let ended = run(&mut minder, &Spec { directory, ..shell("pwd -P") });
        assert_eq!(Path::new(output(&ended).trim_end()), place);
    }
    fs::write(folder.path().join("file"), "").unwrap();
    let spec = Spec { directory: Some(folder.path().join("file/below")), ..shell("true") };
    assert!(
        matches!(run(&mut minder, &spec).how, How::NotStarted(why) if why.contains("file/below: the task cannot run"))
    );
    assert_eq!(Path::new(output(&run(&mut minder, &shell("pwd -P"))).trim_end()), home);
}

#[test]
fn what_cannot_be_started_says_why() {
    let (_watchdog, mut minder) = minder();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str, mode| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let long = OsString::from("x".repeat(200 << 10));
    let cases: [(Vec<OsString>, &str); 8] = [
        (vec!["no-such-program".into()], "no-such-program: there is no such program in PATH"),
        (vec![folder.path().join("missing").into()], "missing: there is no such program"),
        (vec![write("plain", "#!/bin/sh\n", 0o644).into()], "plain: it may not be executed"),
        (vec![write("nothing", "words\n", 0o755).into()], "nothing: it is no program"),
        (
            vec![write("odd", "#!/no/such\n", 0o755).into()],
            "odd: there is no such program, or no such interpreter",
        ),
        (vec!["true".into(), "zero\0byte".into()], "zero\0byte: no program can be told a zero byte"),
        (vec!["true".into(), long], "true: its arguments and environment are longer"),
        (vec![], "a program needs a name"),
    ];
    for (words, why) in cases {
        match run(&mut minder, &Spec::new(words)).how {
            How::NotStarted(text) => assert!(text.contains(why), "{text}"),
            how => panic!("{why}: {how:?}"),
        }
    }
    // Found once is not found for ever.
    let program = write("moves", "#!/bin/sh\n", 0o755);
    let mut minder = Minder::start(vec![("PATH".into(), folder.path().into())]).unwrap();
    assert_eq!(run(&mut minder, &Spec::new(["moves"])).how, How::Exited(0));
    fs::remove_file(&program).unwrap();
    assert!(matches!(run(&mut minder, &Spec::new(["moves"])).how, How::NotStarted(_)));
    write("moves", "#!/bin/sh\nexit 3\n", 0o755);
    assert_eq!(run(&mut minder, &Spec::new(["moves"])).how, How::Exited(3));
}

#[test]
fn long_orders_arrive_whole() {
    let (_watchdog, mut minder) = minder();
    let words = (0..12).map(|word| char::from(b'a' + word).to_string().repeat(100 << 10));
    let words: Vec<String> = ["printf".into(), "%s".into()].into_iter().chain(words).collect();
    let own = vec![("LONG".into(), "y".repeat(100 << 10).into())];
    for _ in 0..3 {
        let all = Out::Keep { most: usize::MAX };
        let ended =
            run(&mut minder, &Spec { stdout: all, environment: own.clone(), ..Spec::new(words.clone()) });
        assert!(output(&ended) == words[2..].concat());
        assert_eq!(output(&run(&mut minder, &shell("echo short"))), "short\n");
    }
}

#[test]
fn a_program_has_no_descriptor_but_its_own_and_signals_as_usual() {
    let (_watchdog, mut minder) = minder();
    // Inherited by whoever is not careful.
    let open = rustix::io::dup(std::io::stdin().as_fd()).unwrap();
    let ended = run(&mut minder, &shell("ls /proc/self/fd; grep -E 'Sig(Blk|Ign)' /proc/self/status"));
    let printed = output(&ended);
    let lines: Vec<&str> = printed.lines().collect();
    // The fourth is the listing's.
    assert_eq!(lines[..5], ["0", "1", "2", "3", "SigBlk:\t0000000000000000"]);
    // posix_spawn of glibc leaves two signals ignored that are its own, 32 and 33; Rust's programs ignore SIGPIPE, and
    // others must not. What the user ignores, as nohup does SIGHUP, stays ignored.
    let ignored = |line: &str| {
        let set = line.strip_prefix("SigIgn:\t").and_then(|set| u64::from_str_radix(set, 16).ok()).unwrap();
        set & !(3 << 31)
    };
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find(|line| line.starts_with("SigIgn")).unwrap();
    assert_eq!(ignored(lines[5]), ignored(own) & !(1 << (libc::SIGPIPE - 1)));
    drop(open);
}

#[test]
fn a_program_whose_time_is_over_is_asked_to_end() {
    let (_watchdog, mut minder) = minder();
    let limit = Some(Duration::from_millis(200));
    let mark = mark();
    let cases = [
        (format!("exec sleep {mark}"), Status::Signalled(15)),
        (format!("trap 'echo tidied; exit 7' TERM; sleep {mark} & wait"), Status::Exited(7)),
        // A stopped one hears it when it goes on.
        ("kill -STOP $$".into(), Status::Signalled(15)),
    ];
    for (script, status) in cases {
        let since = Instant::now();
        let ended = run(&mut minder, &Spec { limit, kill_after: LONG, ..shell(&script) });
        assert_eq!(ended.how, How::TimedOut(status), "{script}");
        assert!(since.elapsed() < LONG / 2);
        assert_eq!(sleepers(&mark), 0);
    }
    let ended = run(&mut minder, &Spec { limit: Some(LONG), ..shell("exit 5") });
    assert_eq!(ended.how, How::Exited(5));
}

#[test]
fn a_program_that_does_not_end_when_asked_is_killed() {
    let (_watchdog, mut minder) = minder();
    let mark = mark();
    let spec = Spec {
        limit: Some(Duration::from_millis(100)),
        kill_after: Duration::from_millis(300),
        ..shell(&format!("trap '' TERM; echo said; sleep {mark}; sleep {mark}"))
    };
    let ended = run(&mut minder, &spec);
    assert_eq!(ended.how, How::TimedOut(Status::Signalled(9)));
    assert!(ended.seconds >= 0.4);
    assert_eq!((ended.stdout.bytes.as_slice(), sleepers(&mark)), (&b"said\n"[..], 0));
}

#[test]
fn a_program_that_was_asked_has_its_time_to_tidy_up_with_all_that_it_has() {
    let (_watchdog, mut minder) = minder();
    // The shell ends at once, its child a little later.
    let script = "(trap 'sleep 0.3; echo tidied; exit' TERM; while :; do sleep 0.01; done) & exec sleep 600";
    let spec = Spec { limit: Some(Duration::from_millis(200)), kill_after: LONG, ..shell(script) };
    let ended = run(&mut minder, &spec);
    assert_eq!(
        (ended.how, ended.stdout.bytes.as_slice()),
        (How::TimedOut(Status::Signalled(15)), &b"tidied\n"[..])
    );
}

#[test]
fn nothing_is_left_when_a_program_ends_by_itself() {
    let (_watchdog, mut minder) = minder();
    let mark = mark();
    for nest in nests(&mark) {
        let ended = run(&mut minder, &shell(&format!("{nest} {} exit 4", until_they_sleep(&mark))));
        assert_eq!((ended.how, sleepers(&mark)), (How::Exited(4), 0), "{nest}");
    }
}

#[test]
fn a_process_that_forks_all_the_time_does_not_get_away() {
    let (_watchdog, mut minder) = minder();
    let mark = mark();
    // Each starts the next one, in a session of its own, and ends.
    let script = format!("export HOP='setsid sh -c \"$HOP\" {mark} & :'; sh -c \"$HOP\" {mark}; sleep 0.1");
    assert_eq!(run(&mut minder, &shell(&script)).how, How::Exited(0));
    assert_eq!(sleepers(&mark), 0);
}

#[test]
fn nothing_is_left_when_the_time_is_over() {
    let (_watchdog, mut minder) = minder();
    let mark = mark();
    for nest in nests(&mark) {
        let spec = Spec {
            limit: Some(Duration::from_millis(400)),
            kill_after: Duration::from_millis(200),
            ..shell(&format!("{nest} sleep {mark}"))
        };
        let ended = run(&mut minder, &spec);
        assert!(matches!(ended.how, How::TimedOut(_)), "{nest}: {ended:?}");
        assert_eq!(sleepers(&mark), 0, "{nest}");
    }
}

#[test]
fn nothing_is_left_when_the_minder_is_killed() {
    let (_watchdog, mut minder) = minder();
    let mark = mark();
    for nest in nests(&mark) {
        let script = format!("{nest} {} kill -9 $PPID; sleep {mark}", until_they_sleep(&mark));
        let error = minder.run(&shell(&script)).unwrap_err().to_string();
        assert_eq!(
            error,
            "the process that minds the task's program was killed; all of the program was ended with it"
        );
        assert_eq!(sleepers(&mark), 0, "{nest}");
        assert_eq!(output(&run(&mut minder, &shell("echo the next"))), "the next\n");
    }
}

#[test]
fn a_minder_that_was_killed_between_two_programs_is_replaced() {
    let (_watchdog, mut minder) = minder();
    let first = output(&run(&mut minder, &shell("echo $PPID"))).trim().to_string();
    run(&mut minder, &shell("(setsid sh -c 'sleep 0' &)"));
    assert!(Command::new("kill").args(["-9", &first]).status().unwrap().success());
    while fs::read_to_string(format!("/proc/{first}/stat")).is_ok() {
        thread::sleep(Duration::from_millis(1));
    }
    assert_ne!(output(&run(&mut minder, &shell("echo $PPID"))).trim(), first);
}

#[test]
fn a_program_outlives_the_guardian_and_the_next_has_a_new_one() {
    let (_watchdog, mut minder) = minder();
    let guardian = "ps -o ppid= $PPID";
    let mut before = String::new();
    // The next order comes while the minder is about to leave.
    for _ in 0..20 {
        let script =
            format!("g=$({guardian}); echo $g $PPID; kill -9 $g; while [ $({guardian}) = $g ]; do :; done");
        let ended = run(&mut minder, &shell(&script));
        let pair = output(&ended);
        assert!(pair.split_whitespace().all(|pid| !before.split_whitespace().any(|old| old == pid)));
        before = pair.to_string();
    }
}

#[test]
fn signals_to_a_whole_run_do_not_end_minder_and_guardian() {
    let (_watchdog, mut minder) = minder();
    let script = "g=$(ps -o ppid= $PPID); for s in TERM INT HUP QUIT USR1 USR2 ALRM PIPE; do kill -$s $PPID $g; done; \
                  sleep 0.1; ps -o sid= $g; ps -o sid= $PPID; ps -o pgid= $g; echo $g";
    let ended = run(&mut minder, &shell(script));
    let numbers: Vec<&str> = output(&ended).split_whitespace().collect();
    // In a session and a group of their own.
    assert!(numbers.len() == 4 && numbers.iter().all(|number| *number == numbers[0]), "{numbers:?}");
    assert_eq!(run(&mut minder, &shell("exit 6")).how, How::Exited(6));
}

/// Not a test: the worker that the next test kills.
#[test]
#[ignore = "part of another test"]
fn worker() {
    let (_watchdog, mut minder) = minder();
    let script = std::env::var("WORKER_RUNS").unwrap();
    let spec = Spec { kill_after: Duration::from_millis(300), ..shell(&script) };
    if std::env::var_os("WORKER_KEEPS").is_some() {
        let stderr = Out::Nothing;
        let _ = minder.keep(Spec { stderr, ..spec }).unwrap().receive_line(None);
    } else {
        let _ = minder.run(&spec);
    }
}

fn start_worker(script: &str, keeps: bool) -> Child {
    let mut worker = Command::new("/proc/self/exe");
    worker.args(["process::tests::worker", "--exact", "--ignored"]).env("WORKER_RUNS", script);
    if keeps {
        worker.env("WORKER_KEEPS", "1");
    }
    worker.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn nothing_is_left_when_the_worker_is_killed() {
    let _watchdog = Watchdog::new();
    for keeps in [false, true] {
        let mark = mark();
        for nest in nests(&mark) {
            let mut worker = start_worker(&format!("{nest} sleep {mark}; exit 0"), keeps);
            wait_for_sleepers(&mark, 4);
            worker.kill().unwrap();
            worker.wait().unwrap();
            wait_for_sleepers(&mark, 0);
        }
    }
}

#[test]
fn dropped_a_minder_leaves_no_process() {
    let (_watchdog, mut minder) = minder();
    let mine = output(&run(&mut minder, &shell("echo $PPID; ps -o ppid= $PPID"))).to_string();
    drop(minder);
    for pid in mine.split_whitespace() {
        assert!(!Path::new("/proc").join(pid).exists());
    }
}

#[test]
fn ten_threads_run_programs_that_leave_something() {
    let _watchdog = Watchdog::new();
    thread::scope(|scope| {
        for number in 0..10 {
            scope.spawn(move || {
                let (mark, environment) = (mark(), || std::env::vars_os().collect());
                for round in 0..3 {
                    let script = format!("{} echo {number} {round}", nests(&mark)[round]);
                    let ended = with_minder(environment, |minder| run(minder, &shell(&script))).unwrap();
                    assert_eq!(output(&ended), format!("{number} {round}\n"));
                    assert_eq!(sleepers(&mark), 0);
                }
            });
        }
    });
}

#[test]
fn memory_is_limited_for_each_process_of_a_program() {
    let (_watchdog, mut minder) = minder();
    let eats = "head -c 200M /dev/zero | tail -c 150M | wc -c";
    let memory = |memory, script: &str| Spec { memory, ..shell(script) };
    assert_eq!(output(&run(&mut minder, &memory(None, eats))).trim(), "157286400");
    let ended = run(&mut minder, &memory(Some(64 << 20), eats));
    assert_eq!(output(&ended).trim(), "0");
    assert!(!ended.stderr.bytes.is_empty());
    // From the first moment on, and not for the next. It cannot be raised: that is said a moment later.
    for most in [1 << 20, 64 << 20] {
        let kilobytes = most >> 10;
        let script = format!("ulimit -S -d; until [ $(ulimit -H -d) = {kilobytes} ]; do :; done");
        let ended = run(&mut minder, &memory(Some(most), &script));
        assert_eq!(output(&ended), format!("{kilobytes}\n"));
    }
    assert_eq!(output(&run(&mut minder, &shell("ulimit -d"))), "unlimited\n");
}

#[test]
fn nobody_waits_for_a_stranger_who_holds_the_output() {
    let (_watchdog, mut minder) = minder();
    let folder = tempfile::tempdir().unwrap();
    let [told, held] = ["told", "held"].map(|name| folder.path().join(name));
    let stranger = thread::spawn({
        let (told, held): (PathBuf, PathBuf) = (told.clone(), held.clone());
        move || {
            let path = loop {
                match fs::read_to_string(&told) {
                    Ok(path) if path.ends_with('\n') => break path,
                    _ => thread::sleep(Duration::from_millis(1)),
                }
            };
            let output = fs::OpenOptions::new().write(true).open(path.trim_end()).unwrap();
            fs::write(held, "").unwrap();
            output
        }
    });
    let (told, held) = (told.display(), held.display());
    let ended = run(
        &mut minder,
        &shell(&format!("echo /proc/$$/fd/1 > {told}; until [ -e {held} ]; do :; done; echo done")),
    );
    assert_eq!(output(&ended), "done\n");
    drop(stranger.join().unwrap());
}

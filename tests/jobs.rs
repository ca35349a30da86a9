//! The jobs of the `rankpool` program on odd input: files that are none, names of any bytes, numbers at the
//! ends of the range, and pictures that cannot be.

mod support;

use std::{
    ffi::{OsStr, OsString},
    os::unix::{ffi::OsStrExt, fs::symlink},
    path::Path,
    process::Command,
};

use serde_json::{Value, json};
use support::{Ended, start};

const RANKPOOL: &str = env!("CARGO_BIN_EXE_rankpool");

/// Ranks by mpiexec, and flags.
const WAYS: [(u32, &[&str]); 4] = [
    (0, &["--mode", "serial"]),
    (0, &["--mode", "threads", "--workers", "2"]),
    (0, &["--mode", "processes", "--workers", "2"]),
    (3, &[]),
];

fn run<A: AsRef<OsStr>>(arguments: &[A]) -> Ended {
    start(support::under(0, &[], RANKPOOL).arg("run").args(arguments)).end()
}

/// The run ends with 2 before any task, and says why.
#[track_caller]
fn assert_refused<A: AsRef<OsStr> + std::fmt::Debug>(arguments: &[A], why: &str) {
    let ended = run(arguments).expect(2);
    assert!(ended.stderr.contains(why), "{arguments:?}: {}", ended.stderr);
    assert!(!ended.stderr.contains("tasks ok") && !ended.stderr.contains("panicked"), "{ended:?}");
}

#[test]
fn what_is_no_file_is_refused_by_every_job_that_reads_and_never_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    rustix::fs::mkfifoat(rustix::fs::CWD, at("fifo"), 0o600.into()).unwrap();
    symlink("fifo", at("link")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    for path in [at("fifo"), at("link"), at("socket"), at("."), "/dev/zero".into(), "/dev/null".into()] {
        let dataset = format!("{path}:/x");
        for arguments in [
            ["words", &path],
            ["firing-rate", &path],
            ["time-histogram", &path],
            ["gram", &format!("--input={dataset}")],
        ] {
            assert_refused(&arguments, "is no regular file");
        }
    }
    assert_refused(&["words", "/proc/cpuinfo"], "leads through /proc");
    assert_refused(&["words", "/sys/kernel/mm/transparent_hugepage/enabled"], "does not end after");
}

#[test]
fn an_empty_path_is_refused_with_the_argument_that_it_stands_for() {
    for (arguments, named) in [
        (&["words", ""][..], "'<FILE>...'"),
        (&["words", "README.md", ""], "'<FILE>...'"),
        (&["firing-rate", ""], "'[FILE.nwb]'"),
        (&["time-histogram", ""], "'[FILE.nwb]'"),
        (&["mandelbrot", "--picture", ""], "'--picture <FILE>'"),
    ] {
        assert_refused(
            arguments,
            &format!("invalid value '' for {named}: an empty path names no file; name one"),
        );
    }
    assert_refused(&["squares", "--log-dir", ""], "--log-dir: an empty path names no folder; name one");
}

#[test]
fn standard_input_is_refused_also_when_it_is_a_file_since_workers_have_another() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
    let link = folder.path().join("link");
    std::fs::write(&text, "one two three four five\n").unwrap();
    symlink("/dev/stdin", &link).unwrap();
    for path in ["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0", link.to_str().unwrap()] {
        for (_, flags) in &WAYS[..3] {
            let script = r#"input=$1; shift; exec "$@" <"$input""#;
            let mut command = Command::new("sh");
            command.args(["-c", script, "sh"]).arg(&text).args([RANKPOOL, "run", "words", path]).args(*flags);
            let ended = start(&mut command).end().expect(2);
            assert!(ended.stderr.contains("leads through /proc"), "{ended:?}");
        }
    }
}

#[test]
fn a_worker_that_sees_another_file_under_the_path_fails_its_task() {
    let folder = tempfile::tempdir().unwrap();
    for (host, text) in
        [("a", "one two three four five\n"), ("b", "one two\n"), ("c", "one\ntwo three four five six\n")]
    {
        std::fs::create_dir(folder.path().join(host)).unwrap();
        std::fs::write(folder.path().join(host).join("text"), text).unwrap();
    }
    for (other, why) in
        [("b", "text: is shorter than at the start"), ("c", "text: is longer than at the start")]
    {
        let [own, other] = ["a", other].map(|host| folder.path().join(host).to_str().unwrap().to_string());
        let job = [RANKPOOL, "run", "words", "text"];
        let arguments =
            [&["-n", "1", "-wdir", &own], &job[..], &[":", "-n", "1", "-wdir", &other], &job].concat();
        let ended = start(&mut support::mpiexec(&arguments)).end().expect(1);
        assert!(ended.stderr.contains(why), "{ended:?}");
    }
}

/// The summary of a run of `words`.
fn words(ranks: u32, arguments: &[&OsStr]) -> Value {
    let mut command = support::under(ranks, &[], RANKPOOL);
    start(command.args(["run", "words", "--json"]).args(arguments)).end().expect(0).json()["summary"].clone()
}

#[test]
fn a_file_of_one_long_line_or_one_word_counts_alike_in_pieces_and_whole() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let count = |flags: &[&str]| {
        let arguments: Vec<&OsStr> = flags.iter().map(OsStr::new).chain([file.path().as_os_str()]).collect();
        words(0, &arguments)
    };
    for (text, counts, distinct) in [("of \u{fc}ber ", 2 << 20, 2), ("worterbuch", 1, 1)] {
        std::fs::write(file.path(), text.repeat(1 << 20)).unwrap();
        let whole = count(&["--piece", "1000000000"]);
        assert_eq!((&whole["lines"], &whole["words"]), (&1.into(), &counts.into()));
        assert_eq!((&whole["bytes"], &whole["distinct"]), (&(text.len() << 20).into(), &distinct.into()));
        for flags in
            [&["--piece", "4099"][..], &["--piece", "65536", "--mode", "processes", "--workers", "2"]]
        {
            assert_eq!(count(flags), whole, "{flags:?}");
        }
    }
}

#[test]
fn white_space_is_what_unicode_has() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "a\u{85}b\u{2028}c\u{2029}d\u{a0}e\u{3000}f\u{2060}g").unwrap();
    let summary = words(0, &[file.path().as_os_str()]);
    assert_eq!((&summary["words"], &summary["lines"]), (&6.into(), &1.into()));
    let help = run(&["words", "--help"]).expect(0).stdout;
    assert!(help.contains("White_Space") && help.contains("wc -w"), "{help}");
}

#[test]
fn a_file_name_may_be_any_bytes_in_every_mode() {
    let folder = tempfile::tempdir().unwrap();
    let odd = folder.path().join(OsStr::from_bytes(b"a\xff \xf6\n.txt"));
    let plain = folder.path().join("a\u{f6}.txt");
    for path in [&odd, &plain] {
        std::fs::write(path, "one two one\n").unwrap();
    }
    let expected =
        json!({ "lines": 1, "words": 3, "bytes": 12, "distinct": 2, "top": [["one", 2], ["two", 1]] });
    for (ranks, flags) in WAYS {
        for path in [&odd, &plain] {
            let flags = flags.iter().map(OsStr::new).chain([path.as_os_str()]);
            assert_eq!(words(ranks, &flags.collect::<Vec<_>>()), expected, "{ranks} ranks, {path:?}");
        }
    }
    // It stays the same name in what is kept of the run, and a plain name is plain text there.
    let journal = folder.path().join("journal");
    let of = |path: &Path, resume: &[&str]| {
        let arguments: [&OsStr; 4] =
            ["words".as_ref(), path.as_ref(), "--journal".as_ref(), journal.as_ref()];
        run(&arguments.into_iter().chain(resume.iter().map(OsStr::new)).collect::<Vec<_>>())
    };
    for (path, other) in [(&odd, &plain), (&plain, &odd)] {
        of(path, &[]).expect(0);
        of(path, &["--resume"]).expect(0);
        of(other, &["--resume"]).expect(2);
        let kept = std::fs::read(&journal).unwrap();
        let text = plain.as_os_str().as_bytes();
        assert_eq!(kept.windows(text.len()).any(|part| part == text), path == &plain);
        std::fs::remove_file(&journal).unwrap();
    }
    let picture = folder.path().join(OsStr::from_bytes(b"p\xff.png"));
    let arguments: [&OsStr; 5] = ["mandelbrot", "--size", "5", "--picture"]
        .map(OsStr::new)
        .into_iter()
        .chain([picture.as_ref()])
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    run(&arguments).expect(0);
    assert!(std::fs::read(&picture).unwrap().starts_with(b"\x89PNG"));
}

#[test]
fn hdf5_files_want_a_name_in_utf_8() {
    let name = OsStr::from_bytes(b"a\xff.nwb").to_owned();
    let input = OsString::from_iter([OsStr::new("--input="), &name, OsStr::new(":/x")]);
    for arguments in
        [["firing-rate".into(), name.clone()], ["time-histogram".into(), name], ["gram".into(), input]]
    {
        assert_refused(&arguments, "the name is not UTF-8, and HDF5 opens no other");
    }
}

#[test]
fn numbers_that_are_not_finite_are_refused_by_every_flag_by_name() {
    for bad in ["nan", "inf", "-inf", "NaN", "1e999"] {
        for (job, flag, value) in [
            ("mandelbrot", "--radius", bad.to_string()),
            ("mandelbrot", "--center", format!("{bad},0")),
            ("mandelbrot", "--center", format!("0,{bad}")),
            ("gram", "--gamma", bad.into()),
            ("gram", "--points", format!("1,{bad}")),
            ("firing-rate", "--rate", bad.into()),
            ("firing-rate", "--t-start", bad.into()),
            ("firing-rate", "--t-stop", bad.into()),
            ("time-histogram", "--rate", bad.into()),
            ("time-histogram", "--bins", bad.into()),
            ("time-histogram", "--bins", format!("1..{bad}/3")),
            ("sleep", "--duration", bad.into()),
            ("sleep", "--duration", format!("{bad}s")),
        ] {
            assert_refused(&[job, &format!("{flag}={value}")], flag);
        }
    }
    for radius in ["0", "-1"] {
        assert_refused(&["mandelbrot", &format!("--radius={radius}")], "--radius");
    }
    for (job, flags) in [
        ("mandelbrot", ["--center=1e308,0", "--radius=1e308"]),
        ("mandelbrot", ["--center=0,0", "--radius=1.7e308"]),
        ("firing-rate", ["--t-start=-1e308", "--t-stop=1e308"]),
        ("time-histogram", ["--bins=1e-320", "--t-stop=1"]),
    ] {
        assert_refused(&[job, flags[0], flags[1]], flags[0].split('=').next().unwrap());
    }
}

#[test]
fn the_gram_matrix_is_right_at_the_ends_of_the_range() {
    for (far, gamma) in [("1e200", "1e200"), ("1e-200", "1e-200"), ("1", "1"), ("5e-324", "5e-324")] {
        let report = run(&["gram", "--json", &format!("--points=0,{far}"), &format!("--gamma={gamma}")]);
        let mean = report.expect(0).json()["summary"]["mean"].as_f64().unwrap();
        // (1 + exp(-1/2)) / 2
        assert!((mean - 0.803_265_329_856_316_7).abs() < 1e-15, "{far}: {mean}");
    }
}

#[test]
fn an_index_of_spikes_that_is_not_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("units.nwb");
    let name = path.to_str().unwrap();
    // HDF5 locks what it writes, and a child that another test starts meanwhile keeps the lock: a copy has none.
    let file = |index: &dyn Fn(&hdf5::Group)| {
        let drafts = tempfile::tempdir().unwrap();
        let draft = drafts.path().join("units.nwb");
        let units = hdf5::File::create(&draft).unwrap().create_group("units").unwrap();
        units.new_dataset_builder().with_data(&[0.1, 0.2, 0.3, 0.4, 0.5]).create("spike_times").unwrap();
        index(&units);
        drop(units);
        std::fs::copy(draft, &path).unwrap();
    };
    fn index<T: hdf5::H5Type>(units: &hdf5::Group, numbers: &[T]) {
        units.new_dataset_builder().with_data(numbers).create("spike_times_index").unwrap();
    }
    let table = |units: &hdf5::Group| {
        let table = units.new_dataset::<u8>().shape((1, 2)).create("spike_times_index").unwrap();
        table.write_raw(&[2u8, 5]).unwrap();
    };
    type Write<'w> = (&'w dyn Fn(&hdf5::Group), &'w str);
    let wrong: [Write; 7] = [
        (&|units| index(units, &[-1i32, 5]), "number 0 is -1, less than 0"),
        (&|units| index(units, &[i64::MIN, 5]), "less than 0"),
        (&|units| index(units, &[2.0, 5.0]), "must hold whole numbers"),
        (&|units| index(units, &[f64::NAN, 5.0]), "must hold whole numbers"),
        (&|units| index(units, &[3u8, 2, 5]), "unit 1 ends at 2, before it begins at 3"),
        (&|units| index(units, &[2u64, u64::MAX]), "ends at 18446744073709551615"),
        (&table, "must have one dimension"),
    ];
    for (write, why) in wrong {
        file(write);
        for job in ["firing-rate", "time-histogram"] {
            assert_refused(&[job, name], why);
        }
    }
    let right: [&dyn Fn(&hdf5::Group); 3] =
        [&|units| index(units, &[2u8, 5]), &|units| index(units, &[2i8, 5]), &|units| {
            index(units, &[2i64, 5])
        }];
    for write in right {
        file(write);
        let rates = run(&["firing-rate", name, "--t-stop", "1", "--json"]).expect(0).json();
        assert_eq!(rates["summary"]["rates"], json!([2.0, 3.0]));
    }
}

#[test]
fn a_picture_that_cannot_be_made_is_refused_before_any_file_is_begun() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    rustix::fs::mkfifoat(rustix::fs::CWD, at("fifo"), 0o600.into()).unwrap();
    symlink("fifo", at("link")).unwrap();
    symlink("nothing", at("dangling")).unwrap();
    std::fs::write(at("text"), "text").unwrap();
    let left = || std::fs::read_dir(folder.path()).unwrap().count();
    let before = left();
    for (picture, why) in [
        ("/dev/null".into(), "is no regular file"),
        (at("fifo"), "is no regular file"),
        (at("link"), "is no regular file"),
        (at("."), "is no regular file"),
        (at("dangling"), "leads nowhere"),
        (at("text"), "exists already"),
        (at("new/"), "names a folder"),
        (at("none/new.png"), "No such file"),
        (at("text/new.png"), "Not a directory"),
        ("/proc/new.png".into(), "cannot be written"),
        ("/sys/new.png".into(), "cannot be written"),
    ] {
        let output = at("out.h5");
        assert_refused(&["mandelbrot", "--size=5", "-o", &output, &format!("--picture={picture}")], why);
    }
    assert_eq!((left(), std::fs::read_to_string(at("text")).unwrap().as_str()), (before, "text"));
}

/// What a test says goes to a file, too, so it is handed on by somebody else.
fn limited(blocks: u32, flags: &[&str]) -> Ended {
    let line = format!(r#"(ulimit -f {blocks}; exec "$@") 2>&1 | cat; exit ${{PIPESTATUS[0]}}"#);
    let mut command = Command::new("bash");
    command.args(["-c", &line, "bash", RANKPOOL, "run", "mandelbrot", "--size=200"]).args(flags);
    start(&mut command).end()
}

#[test]
fn a_picture_beyond_the_limit_on_files_is_an_error_that_names_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("picture.png").to_str().unwrap().to_string();
    // Without any room it is refused before the work: before the output is, which comes next.
    for (blocks, bytes, more) in [(0, 0, &["--output=/no/such/folder/out.h5"][..]), (1, 1024, &[])] {
        let ended = limited(blocks, &[&["--picture", &picture], more].concat()).expect(70);
        let told = format!(
            "picture.png: cannot be written: File too large (os error 27): this process may write {bytes} bytes to a \
             file (`ulimit -f` shows and sets it)"
        );
        assert!(ended.stdout.contains(&told), "{ended:?}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{ended:?}");
    }
}

#[test]
fn a_picture_is_where_its_relative_path_said_and_nothing_else_is_left() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("real")).unwrap();
    symlink("real", folder.path().join("link")).unwrap();
    for picture in ["one.png", "./two.png", "link/three.png", "real/../four.png"] {
        let mut command = support::under(0, &[], RANKPOOL);
        command.args(["run", "mandelbrot", "--size", "5", "--picture", picture]).current_dir(folder.path());
        start(&mut command).end().expect(0);
        assert!(std::fs::read(folder.path().join(picture)).unwrap().starts_with(b"\x89PNG"));
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 5);
    assert_eq!(std::fs::read_dir(folder.path().join("real")).unwrap().count(), 1);
}

#[test]
fn a_run_that_is_not_complete_leaves_no_picture_and_the_one_that_goes_on_does() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let (picture, output) = (at("picture.png"), at("out.h5"));
    let job = ["mandelbrot", "--size=40", "--json", "--picture", &picture, "-o", &output];
    let part = run(&[&job[..], &["--only", "0-20"]].concat());
    assert_eq!(part.expect(0).json()["summary"]["picture"], Value::Null);
    assert!(!Path::new(&picture).exists());
    let whole = run(&[&job[..], &["--resume"]].concat()).expect(0).json();
    assert_eq!((&whole["resumed"], &whole["summary"]["picture"]), (&21.into(), &picture.clone().into()));
    let drawn = std::fs::read(&picture).unwrap();
    assert!(drawn.starts_with(b"\x89PNG"));
    // It is not drawn again, and not replaced.
    assert_refused(&[&job[..], &["--resume"]].concat(), "exists already");
    assert_eq!(std::fs::read(&picture).unwrap(), drawn);
}

#[test]
fn a_name_that_is_taken_during_the_work_ends_the_run_resumable_and_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let (picture, output, journal) = (at("picture.png"), at("out.h5"), at("out.h5.journal"));
    // Points that stay take some seconds.
    let points = ["mandelbrot", "--size=200", "--iterations=20000", "--center=-0.1,0", "--radius=0.1"];
    let job = [&points[..], &["--picture", &picture, "-o", &output]].concat();
    let running = start(support::under(0, &[], RANKPOOL).arg("run").args(&job));
    let began = std::time::Instant::now();
    while !Path::new(&journal).exists() {
        assert!(began.elapsed() < support::LIMIT, "no journal");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    std::fs::write(&picture, "taken").unwrap();
    let ended = running.end().expect(70);
    assert!(ended.stderr.contains("picture.png: cannot be written: File exists"), "{ended:?}");
    assert!(ended.stderr.contains("go on with --resume"), "{ended:?}");
    assert_eq!(std::fs::read_to_string(&picture).unwrap(), "taken");
    std::fs::remove_file(&picture).unwrap();
    run(&[&job[..], &["--resume"]].concat()).expect(0);
    assert!(std::fs::read(&picture).unwrap().starts_with(b"\x89PNG"));
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 2, "the picture and the output");
}

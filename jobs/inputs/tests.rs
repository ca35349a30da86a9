//! Lists as a user gives them, by files and flags.

use std::io::Write;

use clap::Parser;
use proptest::prelude::*;
use rankpool::Barrier;

use super::*;

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    flags: Flags,
}

fn flags(words: &[&str]) -> Flags {
    Cli::try_parse_from(["exec"].iter().chain(words)).unwrap().flags
}

fn groups(behind: &[&str]) -> Vec<Group> {
    split(behind.iter().map(|word| word.to_string()).collect()).unwrap().1
}

/// The inputs of flags and of what stands behind a command; `@` stands for the folder.
fn list(folder: &Path, words: &[&str], behind: &[&str]) -> Result<List, Error> {
    let at = |words: &[&str]| -> Vec<String> {
        words.iter().map(|word| word.replace('@', &format!("{}/", folder.display()))).collect()
    };
    let words = at(words);
    let (_, groups) = split(at(behind))?;
    open(&flags(&words.iter().map(String::as_str).collect::<Vec<_>>()), &groups, None, 7, true)
}

/// The rows of a list, values with a comma between two.
fn rows(list: &List) -> Vec<String> {
    let rows: Vec<String> = list.iter().map(|row| row.unwrap().join(",")).collect();
    assert_eq!(list.count(), Some(rows.len() as u64));
    assert!(list.iter().all(|row| row.unwrap().len() == list.names().len()));
    assert!(list.iter().map(|row| row.unwrap().join(",")).eq(rows.iter().cloned()), "again");
    rows
}

fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

#[track_caller]
fn assert_rows(files: &[(&str, &[u8])], words: &[&str], behind: &[&str], expected: &[&str]) {
    let folder = folder(files);
    assert_eq!(rows(&list(folder.path(), words, behind).unwrap()), expected);
}

/// The error is found when the list is opened or gone through; it is the user's.
#[track_caller]
fn assert_refused(files: &[(&str, &[u8])], words: &[&str], behind: &[&str], why: &str) {
    let folder = folder(files);
    let error = match list(folder.path(), words, behind) {
        Ok(list) => list.iter().find_map(Result::err).expect("it is refused"),
        Err(error) => error,
    };
    assert_eq!(error.exit_code(), 2);
    let text = error.to_string().replace(&format!("{}/", folder.path().display()), "@");
    assert!(text.contains(why), "{text}");
}

/// A task file's list, and the folder that the file is in.
fn task_file(text: &str) -> Result<(tempfile::TempDir, List), Error> {
    let folder = folder(&[("tasks", text.as_bytes())]);
    let list = open(&Flags::default(), &[], Some(&folder.path().join("tasks")), 0, false)?;
    Ok((folder, list))
}

#[test]
fn the_last_list_varies_fastest() {
    assert_rows(&[], &[], &[":::", "a", "b", ":::", "1", "2"], &["a,1", "a,2", "b,1", "b,2"]);
    let files: &[(&str, &[u8])] = &[("f", b"1\n2\n"), ("g", b"x\ny")];
    assert_rows(files, &["-a", "@f"], &["::::", "@g"], &["1,x", "1,y", "2,x", "2,y"]);
    assert_rows(files, &[], &[":::", "a", "::::", "@f", "@g"], &["a,1,x", "a,1,y", "a,2,x", "a,2,y"]);
    assert_rows(files, &["-a", "@f", "-a", "@f"], &[], &["1,1", "1,2", "2,1", "2,2"]);
}

#[test]
fn linked_lists_go_along_with_each_other() {
    let files: &[(&str, &[u8])] = &[("f", b"1\n2\n")];
    let expected = ["a,1,x,p", "a,1,y,q", "b,2,x,p", "b,2,y,q"];
    let groups = [":::", "a", "b", "::::+", "@f", ":::", "x", "y", ":::+", "p", "q"];
    assert_rows(files, &[], &groups, &expected);
    assert_rows(files, &[], &["::::", "@f", ":::+", "a", "b"], &["1,a", "2,b"]);
    assert_refused(
        files,
        &[],
        &["::::", "@f", ":::+", "a"],
        "@f has 2 values, and the list of ::: a, which goes along",
    );
}

#[test]
fn an_empty_list_has_no_tasks_and_makes_the_product_empty() {
    assert_rows(&[], &[], &[":::"], &[]);
    assert_rows(&[], &[], &[":::", "a", "b", ":::"], &[]);
    assert_rows(&[("f", b"")], &["-a", "@f"], &[":::", "a"], &[]);
    assert_rows(&[], &[], &[":::", "", ""], &["", ""]);
}

#[test]
fn a_line_is_an_input_whatever_is_in_it() {
    let text = b"a\n\n  b  c\r\n\nlast";
    assert_rows(&[("f", text)], &["-a", "@f"], &[], &["a", "", "  b  c\r", "", "last"]);
    assert_rows(&[("f", b"a\nb\0\0c")], &["-a", "@f", "-0"], &[], &["a\nb", "", "c"]);
    assert_refused(
        &[("f", b"a\nb\xff\n")],
        &["-a", "@f"],
        &[],
        "@f: line 2 is no UTF-8 text at its byte 2; convert",
    );
    assert_refused(&[("f", b"a\0\xff")], &["-a", "@f", "-0"], &[], "@f: record 2 is no UTF-8");
}

#[test]
fn columns_are_split_and_a_line_that_has_fewer_is_filled_up() {
    let files: &[(&str, &[u8])] = &[("f", b"a,b\n\nc , d,e\n")];
    assert_rows(files, &["-a", "@f", "--colsep", ","], &[], &["a,b,", ",,", "c,d,e"]);
    assert_rows(&[], &["--colsep", " +"], &[":::", "a  b", "c", ":::", "x y"], &["a,b,x,y", "c,,x,y"]);
    let folder = folder(files);
    let names = |words: &[&str]| list(folder.path(), words, &[":::", "1", "2"]).unwrap().names().to_vec();
    assert_eq!(names(&["-a", "@f", "--colsep", ","]), ["1", "2", "3", "4"]);
    assert_refused(&[], &["--colsep", "("], &[":::", "a"], "--colsep (: is no regular expression");
    assert_refused(&[], &["--colsep", ",*"], &[":::", "a"], "--colsep ,*: matches an empty text");
}

#[test]
fn a_header_names_the_columns() {
    let folder = folder(&[("f", b"x,y z\r\na,b\nc,d\n")]);
    let list =
        list(folder.path(), &["-a", "@f", "--colsep", ",", "--header", ":"], &[":::", "n", "1"]).unwrap();
    assert_eq!(list.names(), ["x", "y z", "n"]);
    assert!((0..3).all(|k| list.is_named(k)));
    assert_eq!(rows(&list), ["a,b,1", "c,d,1"]);
    assert_rows(&[("f", b"x\r\n1\r\n")], &["-a", "@f", "--header", ":"], &[], &["1\r"]);
    let list = self::list(folder.path(), &["--header", ":"], &[":::", "x\r", "1"]).unwrap();
    assert_eq!(list.names(), ["x"], "as parallel has it");
    for (text, behind, why) in [
        ("", &[][..], "@f: is empty, and --header"),
        ("x,\n", &[], "@f: has a column whose name is empty"),
        ("x,x\n", &[], "@f: names a column \"x\", and there is one already"),
        ("x\n", &[":::", "x", "1"], "the list of ::: x: names a column \"x\""),
        ("x,y\na\na,b,c\n", &[], "@f: line 3 has 3 columns, and the header 2"),
        ("x\n", &[":::", "y", "1,2"], "the list of ::: y has 2 columns, and names 1"),
        ("x\n", &[":::"], "a list of ::: is empty"),
    ] {
        assert_refused(
            &[("f", text.as_bytes())],
            &["-a", "@f", "--colsep", ",", "--header", ":"],
            behind,
            why,
        );
    }
}

#[test]
fn a_table_gives_its_rows() {
    let folder =
        folder(&[("t.csv", b"\xef\xbb\xbfname,\"a \"\"b\"\"\"\r\nx,\"1,5\"\r\n\r\n\"two\nlines\",\r\n")]);
    let list = list(folder.path(), &["--csv", "@t.csv"], &[]).unwrap();
    assert_eq!(list.names(), ["name", "a \"b\""]);
    assert_eq!(rows(&list), ["x,1,5", "two\nlines,"]);
    for (text, why) in [
        (&b""[..], "@t: is empty, and its first line must name the columns"),
        (b"a,b\n1,2\n3\n", "@t: line 3 has 1 columns, and the first line 2; give each as many"),
        (b"a\n1\n\xff\n", "@t: line 3 is no UTF-8 text"),
        (b"a,a\n", "names a column \"a\""),
    ] {
        assert_refused(&[("t", text)], &["--csv", "@t"], &[], why);
    }
}

#[test]
fn json_values_are_as_they_are_written() {
    let lines = br#"{"x": 1e3, "name": "a\n\u00f6", "b": true}

{"name": "", "x": 123456789012345678901234567890}
  {"b": null, "x": [1, {"k": 2}]}"#;
    let expected = ["1e3,a\n\u{f6},true", "123456789012345678901234567890,,", "[1, {\"k\": 2}],,"];
    let array = format!(" [{}]", String::from_utf8_lossy(lines).replace("\n\n", ",").replace("}\n", "},\n"));
    for text in [&lines[..], array.as_bytes()] {
        let folder = folder(&[("f", text)]);
        let list = list(folder.path(), &["--json", "@f"], &[]).unwrap();
        assert_eq!(list.names(), ["x", "name", "b"]);
        assert_eq!(rows(&list), expected);
    }
    for text in [&b"1.50\n\"a b\"\nnull"[..], b"[1.50, \"a b\", null]"] {
        assert_rows(&[("f", text)], &["--json", "@f"], &[], &["1.50", "a b", ""]);
    }
    for text in [&b""[..], b"[]", b"\n\n"] {
        assert_rows(&[("f", text)], &["--json", "@f"], &[], &[]);
    }
}

#[test]
fn json_that_is_wrong_is_named_by_its_line() {
    for (text, why) in [
        (&b"{\"x\": 1}\n{\"x\": }"[..], "@f: line 2 is no JSON value: expected value at its byte 7"),
        (b"{\n\"x\": 1}", "@f: line 1 is no JSON value: EOF while parsing an object"),
        (b"{\"x\": 1}\n{\"x\": 2, \"y\": 3}", "@f: line 2 has the key \"y\", which the first object has not"),
        (b"{\"x\": 1, \"x\": 2}", "@f: line 1 has the key \"x\" twice"),
        (b"{\"x\": 1}\n2", "@f: line 2 is no object, as those before it"),
        (b"1\n{\"x\": 1}", "@f: line 2 is an object, and those before it are not"),
        (b"[{\"x\": 1}, {\"y\": 1}]", "@f: value 2 has the key \"y\""),
        (b"[1, 2", "@f: is no JSON array: EOF while parsing a list at line 1 column 5"),
        (b"1\n\xff", "@f: line 2 is no UTF-8"),
    ] {
        assert_refused(&[("f", text)], &["--json", "@f"], &[], why);
    }
}

#[test]
fn a_grid_is_the_product_of_its_axes() {
    let folder = folder(&[]);
    let grid = list(folder.path(), &["--grid", "x=0:1:0.5", "--grid", "m=a,b"], &[]).unwrap();
    assert_eq!((grid.names(), grid.is_named(0)), (&["x".to_string(), "m".into()][..], true));
    assert_eq!(rows(&grid), ["0,a", "0,b", "0.5,a", "0.5,b", "1,a", "1,b"]);
    for draw in ["--random", "--sobol"] {
        let points =
            list(folder.path(), &[draw, "9", "--grid", "x=0..1", "--grid", "y=log:1e-3..1"], &[]).unwrap();
        assert_eq!((points.names().len(), rows(&points).len()), (2, 9));
    }
    assert_refused(&[], &["--grid", "x=1", "--grid", "x=2"], &[], "--grid: names a column \"x\"");
    assert_refused(
        &[],
        &["--grid", "x=0:4294967296", "--grid", "y=0:4294967296"],
        &[],
        "more than 2^64 tasks",
    );
}

#[test]
fn an_array_is_one_column() {
    let folder = folder(&[]);
    let list = list(folder.path(), &["--array", "0-4:2,9"], &[]).unwrap();
    assert_eq!((list.names(), list.is_named(0)), (&["1".to_string()][..], false));
    assert_eq!(rows(&list), ["0", "2", "4", "9"]);
}

#[test]
fn flags_that_do_not_go_together_are_refused_with_the_reason() {
    for (words, behind, why) in [
        (&["--csv", "@f", "--grid", "x=1"][..], &[][..], "--csv and --grid are two sorts of lists"),
        (&["--array", "1"], &[":::", "a"], "::: or --arg-file and --array are two sorts"),
        (&["--json", "@f", "--colsep", ","], &[], "--colsep says how lists are read"),
        (&["--grid", "x=1", "--null"], &[], "--null says how lists are read"),
        (&["--random", "1", "--sobol", "1", "--grid", "x=0..1"], &[], "--random and --sobol both"),
        (&["--random", "1"], &[":::", "a"], "draw from the axes of --grid"),
        (&["-a", "-"], &["::::", "-"], "standard input is named twice"),
        (&["-a", "@nothing"], &[], "@nothing: cannot be read: No such file"),
        (&["--csv", "@"], &[], "is a folder"),
    ] {
        assert_refused(&[("f", b"a\n")], words, behind, why);
    }
    assert!(Cli::try_parse_from(["exec", "--header", "x"]).is_err());
    assert!(Cli::try_parse_from(["exec", "-I", ""]).is_err());
    assert_eq!((flags(&[]).mark(), flags(&["-I", ",,"]).mark()), ("{}", ",,"));
}

#[test]
fn flags_are_the_same_on_the_other_side() {
    let there = flags(&["-a", "f", "--csv", "g", "--grid", "x=1", "--random", "3", "-0", "-I", "%"]);
    let text = serde_json::to_string(&there).unwrap();
    let here: Flags = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&here).unwrap(), text);
    let groups = groups(&[":::", "a", "::::+", "f", "-"]);
    let text = serde_json::to_string(&groups).unwrap();
    assert_eq!(serde_json::from_str::<Vec<Group>>(&text).unwrap(), groups);
    assert_eq!(files(&here, &groups, Some(Path::new("t"))), ["f", "g", "f", "t"].map(PathBuf::from));
}

#[test]
fn a_digest_tells_lists_apart() {
    let folder = folder(&[("f", b"a\nb\n"), ("same", b"a\nb"), ("g", b"ab\n"), ("h", b"a\nb\n\n")]);
    let digest =
        |words: &[&str], behind: &[&str]| list(folder.path(), words, behind).unwrap().digest().unwrap();
    assert_eq!(digest(&["-a", "@f"], &[]), digest(&["-a", "@same"], &[]));
    assert_eq!(digest(&["-a", "@f"], &[]).len(), 32);
    let all = [
        digest(&["-a", "@f"], &[]),
        digest(&["-a", "@g"], &[]),
        digest(&["-a", "@h"], &[]),
        digest(&["-a", "@f", "--header", ":"], &[]),
        digest(&[], &[":::", "a", "b", ":::", "c"]),
        digest(&[], &[":::", "c", ":::", "a", "b"]),
        digest(&[], &[":::", "a", ":::", "b", "c"]),
        digest(&[], &[":::", "a", ":::+", "b"]),
        digest(&[], &[":::", "a", ":::", "b"]),
        digest(&[], &[":::", "ab", "c"]),
        digest(&[], &[":::", "a", "bc"]),
        digest(&["--colsep", ","], &[":::", "ab,c"]),
        digest(&["--colsep", ","], &[":::", "a,bc"]),
        digest(&["--header", ":"], &[":::", "x", "a"]),
        digest(&["--header", ":"], &[":::", "y", "a"]),
        digest(&["--grid", "x=a,b"], &[]),
        digest(&["--grid", "y=a,b"], &[]),
        digest(&["--grid", "y=0:1"], &[]),
        digest(&["--array", "0-1"], &[]),
        digest(&["--grid", "x=0..1", "--random", "3"], &[]),
        digest(&["--grid", "x=0..1", "--sobol", "3"], &[]),
        digest(&["--grid", "x=0..1", "--sobol", "4"], &[]),
    ];
    let distinct: std::collections::BTreeSet<&String> = all.iter().collect();
    assert_eq!(distinct.len(), all.len());
    let drawn = flags(&["--grid", "x=0..1", "--random", "3"]);
    let by_seed = |seed| open(&drawn, &[], None, seed, true).unwrap().digest().unwrap();
    assert_eq!(by_seed(1), by_seed(1));
    assert_ne!(by_seed(1), by_seed(2));
}

#[test]
fn a_file_that_changes_is_an_error_and_not_another_list() {
    let folder = folder(&[("f", b"a\nb\nc\n")]);
    let path = folder.path().join("f");
    let opened = || list(folder.path(), &["-a", "@f"], &[]).unwrap();
    let list = opened();
    let time = std::fs::metadata(&path).unwrap().modified().unwrap();
    let rewrite = |bytes: &[u8]| {
        // In place, with the times of before: only what is read tells.
        let mut file = std::fs::OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
        file.write_all(bytes).unwrap();
        file.set_modified(time).unwrap();
    };
    rewrite(b"a\nx\nc\n");
    let read: Vec<Result<Row, Error>> = list.iter().collect();
    assert_eq!(read.len(), 4);
    assert!(
        read[3].as_ref().unwrap_err().to_string().contains("has changed since the run began"),
        "{read:?}"
    );
    rewrite(b"a\nb\nc\nd\n");
    let error = list.iter().next().unwrap().unwrap_err();
    assert!(error.to_string().contains("f: has changed") && error.exit_code() == 2, "{error}");
    // While it is being read.
    let list = opened();
    let mut reading = list.iter();
    reading.next().unwrap().unwrap();
    std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"e\n").unwrap();
    let rest: Vec<Result<Row, Error>> = reading.collect();
    assert!(rest.len() == 4 && rest[3].is_err(), "not the line that came: {rest:?}");
}

/// A FIFO with a writer that says all at once.
fn fifo(folder: &Path, bytes: &'static [u8]) -> std::thread::JoinHandle<()> {
    let path = folder.join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, 0o600.into()).unwrap();
    std::thread::spawn(move || drop(std::fs::write(path, bytes)))
}

#[test]
fn a_stream_is_read_as_it_comes_or_copied_to_be_known() {
    for whole in [false, true] {
        let folder = folder(&[]);
        let writer = fifo(folder.path(), b"a b\nc\n");
        let flags = flags(&["-a", folder.path().join("fifo").to_str().unwrap(), "--colsep", " "]);
        let groups = groups(&[":::", "1", "2"]);
        let list = open(&flags, &groups, None, 0, whole).unwrap();
        assert_eq!(list.count(), whole.then_some(4));
        assert_eq!(list.digest().is_some(), whole);
        let read: Vec<Row> = list.iter().collect::<Result<_, _>>().unwrap();
        assert_eq!(read, [["a", "b", "1"], ["a", "b", "2"], ["c", "", "1"], ["c", "", "2"]]);
        let again: Result<Vec<Row>, Error> = list.iter().collect();
        if whole {
            assert_eq!(again.unwrap(), read);
        } else {
            assert!(again.unwrap_err().to_string().contains("fifo: can be read once, and was"));
        }
        writer.join().unwrap();
    }
}

#[test]
fn a_stream_whose_lines_grow_wider_is_refused() {
    let folder = folder(&[]);
    let writer = fifo(folder.path(), b"a b\nc d e\n");
    let flags = flags(&["-a", folder.path().join("fifo").to_str().unwrap(), "--colsep", " "]);
    let list = open(&flags, &[], None, 0, false).unwrap();
    let read: Vec<Result<Row, Error>> = list.iter().collect();
    let error = read[1].as_ref().unwrap_err().to_string();
    assert!(read.len() == 2 && error.contains("value 2 has 3 columns, and the first one 2"), "{error}");
    writer.join().unwrap();
}

#[test]
fn a_stream_that_is_gone_through_again_and_again_is_in_memory() {
    let folder = folder(&[]);
    let writer = fifo(folder.path(), b"x\ny\n");
    let name = folder.path().join("fifo").to_str().unwrap().to_string();
    let groups = groups(&[":::", "a", "b", "::::", &name]);
    let list = open(&Flags::default(), &groups, None, 0, false).unwrap();
    assert_eq!(rows(&list), ["a,x", "a,y", "b,x", "b,y"]);
    writer.join().unwrap();
}

#[test]
fn a_task_file_has_a_task_a_line() {
    let (_folder, list) = task_file(
        "#!/bin/bash\n\n  # comment\n  echo 1 # 2\necho a; echo b \r\n\t\n#disbatch PREFIX x\nlast",
    )
    .unwrap();
    assert_eq!((list.names(), list.is_named(0)), (&["1".to_string()][..], false));
    assert_eq!(rows(&list), ["echo 1 # 2", "echo a; echo b ", "last"]);
    assert_eq!(list.barriers(), []);
    assert_eq!(rows(&task_file("").unwrap().1), [""; 0]);
}

#[test]
fn prefix_suffix_and_repeat_are_those_of_disbatch() {
    let text = "#DISBATCH PREFIX ( cd x ; \n#DISBATCH SUFFIX  ) > log\none\n#DISBATCH PREFIX\n#DISBATCH suffix !\ntwo\n\
                #DISBATCH REPEAT 3 start 100 step 50 run $DISBATCH_REPEAT_INDEX\n#DISBATCH REPEAT 2\n\
                #DISBATCH REPEAT 0 no\n#DISBATCH repeat 2 step -1 start up\n#DISBATCH REPEAT 1 starting\n";
    let (_folder, list) = task_file(text).unwrap();
    assert_eq!(list.names(), ["1", "repeat"]);
    assert!(!list.is_named(0) && list.is_named(1));
    let expected = [
        "( cd x ; one ) > log,",
        "two!,",
        "run $DISBATCH_REPEAT_INDEX!,100",
        "run $DISBATCH_REPEAT_INDEX!,150",
        "run $DISBATCH_REPEAT_INDEX!,200",
        "!,0",
        "!,1",
        "start up!,0",
        "start up!,-1",
        "starting!,0",
    ];
    assert_eq!(rows(&list), expected);
}

#[test]
fn barriers_are_between_tasks() {
    let text = "#DISBATCH BARRIER\na\n#DISBATCH BARRIER\n#DISBATCH REPEAT 2 b\n#DISBATCH BARRIER CHECK\n\
                #DISBATCH BARRIER\nc\n#DISBATCH BARRIER CHECK\n";
    let (_folder, list) = task_file(text).unwrap();
    assert_eq!(rows(&list).len(), 4);
    let barriers = [Barrier { before: 1, check: false }, Barrier { before: 3, check: true }];
    assert_eq!(list.barriers(), barriers);
}

#[test]
fn a_directive_that_is_not_understood_is_refused_with_its_line() {
    for (text, why) in [
        ("a\n#DISBATCH PERENGINE START x", "tasks: line 2 has PERENGINE: there are no engines"),
        ("#DISBATCH PREFLIX x", "line 1 has the unknown directive \"PREFLIX\""),
        ("#DISBATCH", "line 1 has the unknown directive \"\""),
        ("#DISBATCH BARRIER key", "line 1 has BARRIER key"),
        ("#DISBATCH REPEAT x", "line 1 has no REPEAT N"),
        ("#DISBATCH REPEAT 3", "line 1 repeats nothing"),
        ("#DISBATCH REPEAT 99999999999999999999 a", "too large"),
        ("#DISBATCH REPEAT 3 start 9223372036854775807 a", "repeat indices that are too large"),
        ("a\n\u{0}", ""),
    ] {
        let refused = task_file(text).err().map(|error| (error.exit_code(), error.to_string()));
        match refused {
            Some((code, error)) => assert!(code == 2 && error.contains(why) && !why.is_empty(), "{error}"),
            None => assert!(why.is_empty(), "{text}"),
        }
    }
}

proptest! {
    #[test]
    fn row_k_of_a_product_is_that_of_nested_loops(
        lists in prop::collection::vec(prop::collection::vec("[a-c]{0,2}", 0..4), 1..4),
    ) {
        let mut expected = vec![Row::new()];
        for list in &lists {
            let with = |row: &Row| list.iter().map(|v| [&row[..], std::slice::from_ref(v)].concat()).collect::<Vec<Row>>();
            expected = expected.iter().flat_map(with).collect();
        }
        let words = lists.iter().flat_map(|list| [":::".to_string()].into_iter().chain(list.clone()));
        let (_, groups) = split(words.collect()).unwrap();
        let list = open(&Flags::default(), &groups, None, 0, true).unwrap();
        prop_assert_eq!(list.count(), Some(expected.len() as u64));
        prop_assert_eq!(list.iter().collect::<Result<Vec<Row>, Error>>().unwrap(), expected);
    }
}

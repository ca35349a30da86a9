//! `rankpool report`: pages of real runs, of journals and of very long runs, drawn by a browser.

mod support;

use std::{fs, process::Command, time::Duration};

use rustix::process::Signal;
use serde_json::Value;
use support::{Ended, Running, python, signal_process, skipped, start, wait, ways::Folder};

const RANKPOOL: &str = env!("CARGO_BIN_EXE_rankpool");
/// No page is larger.
const MOST_BYTES: u64 = 1 << 20;

fn command(arguments: &[&str]) -> Command {
    let mut command = support::under(0, &[], RANKPOOL);
    command.args(arguments);
    command
}

fn rankpool(arguments: &[&str]) -> Ended {
    start(&mut command(arguments)).end()
}

/// What is in the page at `path` when a browser has drawn it and run `script`; `None`, and a word, without a browser.
fn drawn(path: &str, script: &str) -> Option<String> {
    drawn_in(path, script, &["--window-size=1200,900"])
}

/// The same with flags of the browser.
fn drawn_in(path: &str, script: &str, flags: &[&str]) -> Option<String> {
    if Command::new("chromium").arg("--version").output().is_err() {
        skipped("no chromium: pages are made, and not drawn");
        return None;
    }
    let page = fs::read_to_string(path).unwrap();
    let with_script = format!("{path}.test.html");
    fs::write(&with_script, format!("{page}<script>{script}</script>")).unwrap();
    let home = tempfile::tempdir().unwrap();
    let mut browser = Command::new("chromium");
    browser.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"]);
    browser.args(["--virtual-time-budget=5000", "--dump-dom"]).args(flags);
    browser.arg(format!("--user-data-dir={}", home.path().display())).arg(format!("file://{with_script}"));
    let ended = start(&mut browser).end().expect(0);
    let said: Vec<&str> = ended.stderr.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert_eq!(said, [""; 0], "the page complains");
    Some(ended.stdout)
}

/// The value of an attribute of the page's root, which the script of the page sets.
fn root<'p>(page: &'p str, attribute: &str) -> &'p str {
    let (_, rest) = page.split_once(&format!("{attribute}=\"")).unwrap_or_else(|| panic!("no {attribute}"));
    rest.split_once('"').unwrap().0
}

#[test]
fn a_run_with_failures_and_losses_is_drawn_chunk_by_chunk() {
    let folder = Folder::new();
    let [out, page, svg] = ["out.h5", "out.html", "out.svg"].map(|name| folder.file(name));
    let flags = ["--mode", "processes", "-w", "2", "--chunk", "2", "--progress", "none"];
    let run =
        ["run", "sleep", "--tasks", "60", "--duration", "20ms", "--spread", "exponential", "--seed", "3"];
    let ends = ["--task-timeout", "60ms", "--output", &out];
    rankpool(&[&run[..], &flags, &ends].concat()).expect(1);
    let told = rankpool(&["report", &out, "-o", &page, "--svg", &svg]).expect(0).stdout;
    assert_eq!(told, format!("{page}\n{svg}\n"));
    assert!(fs::metadata(&page).unwrap().len() < MOST_BYTES);
    let text = fs::read_to_string(&page).unwrap();
    for part in [
        "<h1>sleep</h1>",
        "of 60 tasks done",
        "timed out",
        "was lost: given up: task ",
        "has joined",
        "sleep --tasks 60",
        "Where the time went",
    ] {
        assert!(text.contains(part), "{part} is not in the page");
    }
    assert!(!text.contains("http"), "the page needs no network");
    let text = python("well_formed.py", &[&svg]);
    for part in ["sleep, 2 slots", "utilisation (left)", "lost", "was lost", "has joined"] {
        assert!(text.contains(part), "{part} is not in the drawing: {text}");
    }
    // Two slots are two rows, though lost workers were replaced by new ranks.
    let Some(found) = drawn(&page, "") else { return };
    assert_eq!(root(&found, "data-drawn"), "bars in 2 rows");
    let script = "
        document.querySelector('[data-zoom=\"0.5\"]').click();
        const timeline = document.getElementById('timeline');
        timeline.dispatchEvent(new KeyboardEvent('keydown', { key: '+', cancelable: true }));
        timeline.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowLeft', cancelable: true }));
        timeline.dispatchEvent(new PointerEvent('pointermove', { clientX: timeline.getBoundingClientRect().left + 400,
            clientY: timeline.getBoundingClientRect().top + 20 }));";
    let view = |page: &str| {
        let (from, to) = root(page, "data-view").split_once(" to ").unwrap();
        to.parse::<f64>().unwrap() - from.parse::<f64>().unwrap()
    };
    // The page draws with the next frame, which a busy machine may not come to before the browser ends.
    let mut zoomed = (0..5).map(|_| drawn(&page, script).unwrap());
    let zoomed = zoomed.find(|zoomed| view(zoomed) < view(&found)).expect("the page zooms");
    assert!((view(&zoomed) / view(&found) - 0.25).abs() < 1e-6, "{} of {}", view(&zoomed), view(&found));
    let (_, hint) = zoomed.split_once("aria-live=\"polite\">").unwrap();
    let (hint, _) = hint.split_once("</p>").unwrap();
    assert!(hint.contains("rank "), "{hint}");
}

#[test]
fn a_page_is_readable_in_the_dark_and_on_a_narrow_screen() {
    let folder = Folder::new();
    let [out, page] = ["out.h5", "out.html"].map(|name| folder.file(name));
    rankpool(&["run", "squares", "--n", "100", "--output", &out, "--progress", "none"]).expect(0);
    rankpool(&["report", &out]).expect(0);
    let script = "
        const shown = document.documentElement;
        const colours = [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color];
        shown.dataset.colours = colours.join(' ');
        shown.dataset.fits = shown.scrollWidth <= window.innerWidth;";
    let (light, dark) =
        ("--blink-settings=preferredColorScheme=1", "--blink-settings=preferredColorScheme=0");
    let mut colours = Vec::new();
    for (scheme, size) in [(light, "1200,900"), (dark, "1200,900"), (light, "500,900"), (dark, "500,900")] {
        let Some(found) = drawn_in(&page, script, &[scheme, &format!("--window-size={size}")]) else {
            return;
        };
        assert_eq!(root(&found, "data-fits"), "true", "{scheme} {size}");
        assert!(root(&found, "data-drawn").starts_with("bars"), "{scheme} {size}");
        colours.push(root(&found, "data-colours").to_string());
    }
    assert_ne!(colours[0], colours[1]);
    assert_eq!(colours[..2], colours[2..]);
}

/// The workers of a run in mode processes: the thread that has started one is its parent.
fn workers(running: &Running) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{}/task", running.pid())).unwrap().flatten();
    let children = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let pids = |list: String| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>();
    children.flat_map(pids).collect()
}

/// What a page gives its script to draw.
fn data(page: &str) -> Value {
    let (_, data) = page.split_once("<script type=\"application/json\" id=\"data\">").unwrap();
    serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap()
}

#[test]
fn a_result_file_alone_tells_that_a_worker_was_killed() {
    let folder = Folder::new();
    let [out, page] = ["out.h5", "out.html"].map(|name| folder.file(name));
    for journal in [&[][..], &["--no-journal", "--force"]] {
        let run = ["run", "sleep", "--tasks", "60", "--duration", "100ms", "--chunk", "2", "--output", &out];
        let flags = ["--mode", "processes", "-w", "2", "--progress", "none"];
        let mut running = start(&mut command(&[&run[..], &flags, journal].concat()));
        let killed = wait(Duration::from_secs(30), Duration::from_millis(10), "two workers", || {
            let workers = workers(&running);
            if workers.len() == 2 { Ok(workers[1]) } else { Err(running.stderr_so_far()) }
        });
        // In the middle of a chunk.
        std::thread::sleep(Duration::from_millis(700));
        signal_process(killed, Signal::KILL);
        running.end().expect(0);
        rankpool(&["report", &out, "--force"]).expect(0);
        let text = fs::read_to_string(&page).unwrap();
        assert!(text.contains("its process ended"), "{text}");
        assert!(!text.contains("The file does not tell"), "{text}");
        let data = data(&text);
        let marks: Vec<&str> =
            data["marks"].as_array().unwrap().iter().map(|mark| mark[1].as_str().unwrap()).collect();
        assert_eq!(marks, ["began", "lost", "joined"]);
        // Five numbers for each chunk; that of the lost worker has its tasks.
        let lost = data["states"].as_array().unwrap().iter().position(|state| state == "lost").unwrap();
        let rows = data["bars"].as_array().unwrap().iter().map(|row| row.as_array().unwrap());
        let bars: Vec<&[Value]> = rows.flat_map(|row| row.chunks(5)).filter(|bar| bar[2] == lost).collect();
        assert!(matches!(bars[..], [bar] if bar[4] == 2), "{bars:?}");
        if let Some(found) = drawn(&page, "") {
            assert_eq!(root(&found, "data-drawn"), "bars in 2 rows");
        }
        let shown = rankpool(&["show", &out]).expect(0).stdout;
        assert!(shown.contains("lost workers and children: 1\n  rank "), "{shown}");
        let watched = rankpool(&["watch", "--once", &out]).expect(0).stdout;
        assert!(watched.contains("its process ended"), "{watched}");
    }
}

#[test]
fn a_result_file_of_an_earlier_version_does_not_tell_of_losses() {
    let folder = Folder::new();
    let [out, page] = ["out.h5", "out.html"].map(|name| folder.file(name));
    rankpool(&["run", "squares", "--n", "10", "--output", &out, "--progress", "none"]).expect(0);
    python("earlier_format.py", &[&out, "2"]);
    rankpool(&["report", &out]).expect(0);
    let text = fs::read_to_string(&page).unwrap();
    assert!(text.contains("The file does not tell: when workers were lost"), "{text}");
    assert!(!text.contains("Losses, joins, drains and sessions"), "{text}");
    rankpool(&["show", &out]).expect(0);
}

#[test]
fn a_run_that_goes_on_is_drawn_from_its_journal() {
    let folder = Folder::new();
    let [out, page] = ["out.h5", "out.html"].map(|name| folder.file(name));
    let run = [
        "run",
        "sleep",
        "--tasks",
        "4000",
        "--duration",
        "50ms",
        "--chunk",
        "1",
        "--mode",
        "processes",
        "-w",
        "2",
    ];
    let mut running = start(&mut command(&[&run[..], &["--output", &out, "--progress", "none"]].concat()));
    let page_with = |words: &str| {
        wait(Duration::from_secs(60), Duration::from_millis(200), words, || {
            let ended = rankpool(&["report", &out, "--force"]);
            match fs::read_to_string(&page) {
                Ok(text) if text.contains(words) && !text.contains("No chunk has come back") => Ok(text),
                _ => Err(ended.stderr),
            }
        })
    };
    page_with("<canvas");
    signal_process(*workers(&running).last().unwrap(), Signal::KILL);
    let text = page_with("was lost");
    assert!(running.lives());
    for part in
        ["of 4,000 tasks done", "the run goes on", "out.h5.journal", "The file does not tell: how many slots"]
    {
        assert!(text.contains(part), "{part} is not in the page");
    }
    running.signal(Signal::KILL);
    running.end();
    rankpool(&["report", &format!("{out}.journal"), "--force"]).expect(0);
    assert!(fs::read_to_string(&page).unwrap().contains("no process writes the journal"));
    if let Some(found) = drawn(&page, "") {
        assert!(root(&found, "data-drawn").starts_with("bars in "));
    }
}

#[test]
fn a_drain_and_the_sessions_of_a_run_are_marked() {
    let folder = Folder::new();
    let [out, page] = ["out.h5", "out.html"].map(|name| folder.file(name));
    let run = [
        "run",
        "sleep",
        "--tasks",
        "60",
        "--duration",
        "100ms",
        "--chunk",
        "4",
        "--mode",
        "threads",
        "-w",
        "2",
    ];
    let run = [&run[..], &["--output", &out, "--progress", "none"]].concat();
    rankpool(&[&run[..], &["--walltime", "3s", "--grace", "1s"]].concat()).expect(75);
    let report = |file: &str| {
        rankpool(&["report", file, "-o", &page, "--force"]).expect(0);
        fs::read_to_string(&page).unwrap()
    };
    let text = report(&format!("{out}.journal"));
    assert!(text.contains("nothing more is begun") && text.contains("not run"), "{text}");
    std::thread::sleep(Duration::from_secs(3));
    rankpool(&[&run[..], &["--resume"]].concat()).expect(0);
    let text = report(&out);
    assert_eq!(text.matches("began at").count(), 4, "two sessions, in the table and in the drawing");
    // Six seconds of tasks for two slots, and not the pause between the sessions.
    let wall = &data(&text)["wall"];
    assert!(wall.as_f64().unwrap() < 4.5, "{wall}");
}

#[test]
fn a_million_chunks_of_any_number_of_slots_make_a_small_page() {
    let folder = Folder::new();
    let [out, page, svg] = ["out.h5", "out.html", "out.svg"].map(|name| folder.file(name));
    rankpool(&["run", "squares", "--n", "10", "--output", &out, "--progress", "none"]).expect(0);
    for (chunks, slots, drawing) in [
        (1_000_000, 1, "cells in 1 rows"),
        (100_000, 100, "cells in 100 rows"),
        (1_000_000, 10_000, "cells in 500 rows"),
    ] {
        python("long_trace.py", &[&out, &chunks.to_string(), &slots.to_string()]);
        rankpool(&["report", &out, "-o", &page, "--svg", &svg, "--force"]).expect(0);
        for file in [&page, &svg] {
            let bytes = fs::metadata(file).unwrap().len();
            assert!(bytes < MOST_BYTES, "{slots} slots: {file} has {bytes} bytes");
        }
        if let Some(found) = drawn(&page, "") {
            assert_eq!(root(&found, "data-drawn"), drawing);
        }
    }
}

#[test]
fn what_tasks_say_and_are_given_stays_text() {
    let folder = Folder::new();
    let [out, page, svg] = ["out.h5", "out.html", "out.svg"].map(|name| folder.file(name));
    let evil = "</script><script>document.documentElement.dataset.drawn='stolen'</script><b>&";
    let fails = "echo \"$0\" >&2; sleep 0.01; exit 1";
    rankpool(&["exec", "--output", &out, "--progress", "none", "--", "sh", "-c", fails, "{}", ":::", evil])
        .expect(1);
    rankpool(&["report", &out, "-o", &page, "--svg", &svg]).expect(0);
    let text = fs::read_to_string(&page).unwrap();
    assert!(!text.contains("<script>document") && !text.contains("<b>"), "{text}");
    assert!(text.contains("&lt;b&gt;&amp;"));
    python("well_formed.py", &[&svg]);
    if let Some(found) = drawn(&page, "") {
        assert_eq!(root(&found, "data-drawn"), "bars in 1 rows");
    }
}

#[test]
fn what_cannot_be_reported_is_refused_in_words() {
    let folder = Folder::new();
    let [out, page] = ["out.h5", "out.html"].map(|name| folder.file(name));
    rankpool(&["run", "squares", "--n", "10", "--progress", "none", "--output", &out]).expect(0);
    rankpool(&["report", &out]).expect(0);
    for (arguments, why) in [
        (&["report", "/no/such.h5"][..], "there is no such file"),
        (&["report", "/etc/passwd"], "cannot be read as HDF5"),
        (&["report", &out], "out.html: exists already; --force replaces it"),
        (&["report", &out, "-o", &out, "--force"], "is read for the report"),
        (&["report", &out, "-o", &page, "--svg", &page], "are one file"),
        (&["report", &out, "-o", "drawing.svg"], "--svg drawing.svg makes a drawing"),
    ] {
        let ended = rankpool(arguments).expect(2);
        assert!(ended.stderr.contains(why), "{arguments:?}: {}", ended.stderr);
    }
}

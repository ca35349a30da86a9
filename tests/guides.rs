//! The commands of the guides in docs/, run as they stand there, in order, each guide in a home of its own.
//!
//! What a fenced block says is on its first line. Anything else is refused, so that no command goes untried.
//!
//! - `sh`: commands, run by bash. Each must end with 0.
//! - `sh exit=75`: one that ends with that.
//! - `sh slurm`: commands that want a Slurm. There is a real one of two nodes, or else they are skipped aloud.
//! - `sh if=julia`: commands that want that program, or else they are skipped aloud.
//! - `text`: what the block before it prints. Each line's words are found in one of the lines printed; words with
//!   digits or slashes differ from machine to machine and are left out, as is punctuation.
//!
//! A command in running text stands in a block, too, but for the table under a comment that names the test which runs it.
//! tests/guides/site.sh stands in for what only a site has.

mod support;

#[allow(dead_code)] // The tests of the sbatch scripts use the rest.
#[path = "slurm/cluster.rs"]
mod cluster;
#[path = "guides/links.rs"]
mod links;

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use cluster::Cluster;
use support::start;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// How long the commands of one block may take: the longest builds a program, when it is the first time, and other tests
/// run beside it.
const LIMIT: Duration = Duration::from_secs(400);

/// A fenced block: what it is, and its lines.
#[derive(Debug)]
struct Block {
    line: usize,
    info: String,
    text: String,
}

impl Block {
    fn is(&self, kind: &str) -> bool {
        self.info.split(' ').next() == Some(kind)
    }
}

/// What stands before a table whose commands another test runs.
const RUN_ELSEWHERE: &str = "<!-- run by tests/";

/// The fenced blocks of a text, and the text around them.
fn blocks(markdown: &str) -> (Vec<Block>, String) {
    let (mut blocks, mut around) = (Vec::<Block>::new(), String::new());
    let mut open = false;
    let mut elsewhere = false;
    for (number, line) in markdown.lines().enumerate() {
        elsewhere = line.starts_with(RUN_ELSEWHERE) || elsewhere && line.starts_with('|');
        if elsewhere {
            continue;
        }
        if let Some(info) = line.trim_start().strip_prefix("```") {
            open = !open;
            if open {
                let info = info.to_string();
                blocks.push(Block { line: number + 1, info, text: String::new() });
            } else {
                assert_eq!(info, "", "line {}: a block ends with a word", number + 1);
            }
        } else {
            let to = if open { &mut blocks.last_mut().unwrap().text } else { &mut around };
            to.push_str(line);
            to.push('\n');
        }
    }
    assert!(!open, "the last block has no end");
    (blocks, around)
}

/// A guide, and the home in which its reader works.
struct Guide {
    name: &'static str,
    /// It ends first: its jobs write into the home.
    cluster: Option<Cluster>,
    home: tempfile::TempDir,
}

impl Guide {
    /// Runs a block. The next one goes on in its folder, with its variables. None if it wants what is not there.
    fn run(&self, block: &Block) -> Option<String> {
        let (mut code, mut slurm) = (0, false);
        for word in block.info.split(' ').skip(1) {
            match word.split_once('=') {
                Some(("exit", number)) => code = number.parse().unwrap(),
                Some(("if", program)) if !is_installed(program) => {
                    support::skipped(format!(
                        "docs/{}:{}: {program} is not installed",
                        self.name, block.line
                    ));
                    return None;
                }
                Some(("if", _)) => {}
                None if word == "slurm" => slurm = true,
                _ => panic!("docs/{}:{}: what does {word:?} mean?", self.name, block.line),
            }
        }
        let mut bash = match &self.cluster {
            Some(cluster) if slurm => cluster.command("bash"),
            None if slurm => return None,
            _ => Command::new("bash"),
        };
        let program = Path::new(env!("CARGO_BIN_EXE_rankpool"));
        // Python comes with what the tests have installed for it.
        let path = format!(
            "{}:{ROOT}/target/python/bin:{}",
            program.parent().unwrap().display(),
            std::env::var("PATH").unwrap()
        );
        let tools = |name: &str, default: &str| {
            std::env::var_os(name)
                .map_or(Path::new(&std::env::var("HOME").unwrap()).join(default), PathBuf::from)
        };
        bash.args([&format!("{ROOT}/tests/guides/site.sh"), &block.text])
            .current_dir(self.home.path())
            .env("PATH", path)
            .env("CARGO_HOME", tools("CARGO_HOME", ".cargo"))
            .env("RUSTUP_HOME", tools("RUSTUP_HOME", ".rustup"))
            .env("HOME", self.home.path())
            .env("REPOSITORY", ROOT)
            .env("PROGRAM", program)
            .env("KEPT", concat!(env!("CARGO_TARGET_TMPDIR"), "/guides"))
            .envs([("OMPI_ALLOW_RUN_AS_ROOT", "1"), ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")]);
        let ended = start(&mut bash).end_within(LIMIT);
        assert_eq!(
            ended.code, code,
            "docs/{}:{}: exit code of\n{}--- stdout\n{}\n--- stderr\n{}",
            self.name, block.line, block.text, ended.stdout, ended.stderr
        );
        Some(ended.stdout + &ended.stderr)
    }

    fn compare(&self, expected: &Block, printed: &str) {
        for line in expected.text.lines().filter(|line| !line.is_empty()) {
            let wanted = words(line);
            let found = printed.lines().any(|line| {
                let there = words(line);
                wanted.iter().all(|word| there.contains(word))
            });
            assert!(found, "docs/{}:{}: {line:?} is not in\n{printed}", self.name, expected.line);
        }
    }
}

fn is_installed(program: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.join(program).exists())
}

/// The words of a line that are the same everywhere.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace()
        .filter(|word| !word.contains(|c: char| c.is_ascii_digit() || c == '/'))
        .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric() && c != '-'))
        .filter(|word| !word.is_empty())
        .collect()
}

/// Programs whose commands are to be run, and not only talked of.
const PROGRAMS: [&str; 17] = [
    "rankpool", "srun", "sbatch", "scancel", "salloc", "squeue", "scontrol", "mpiexec", "mpirun", "cargo",
    "module", "export", "qsub", "source", "python", "python3", "pip",
];

/// Commands in running text that no block has.
fn untried(around: &str, blocks: &[Block]) -> Vec<String> {
    let code = around.split('`').skip(1).step_by(2);
    let commands =
        code.filter(|code| code.split_once(' ').is_some_and(|(program, _)| PROGRAMS.contains(&program)));
    let tried = |command: &&str| blocks.iter().any(|block| block.is("sh") && block.text.contains(*command));
    commands.filter(|command| !tried(command)).map(str::to_string).collect()
}

fn check(name: &'static str) {
    let markdown = std::fs::read_to_string(Path::new(ROOT).join("docs").join(name)).unwrap();
    let (blocks, around) = blocks(&markdown);
    assert_eq!(untried(&around, &blocks), Vec::<String>::new(), "docs/{name}: commands that nobody runs");
    let wants_slurm = blocks.iter().any(|block| block.info.split(' ').any(|word| word == "slurm"));
    let missing = Cluster::missing().filter(|_| wants_slurm);
    if let Some(why) = missing {
        support::skipped(format!("the commands of docs/{name} that want a Slurm: {why}"));
    }
    let cluster = (wants_slurm && missing.is_none()).then(Cluster::start);
    let guide = Guide { name, cluster, home: tempfile::tempdir().unwrap() };
    let mut printed = None;
    let mut commands = 0;
    for block in &blocks {
        if block.is("sh") {
            printed = guide.run(block);
            commands += 1;
        } else if block.is("text") {
            assert!(commands > 0, "docs/{name}:{}: no commands come before this", block.line);
            printed.iter().for_each(|printed| guide.compare(block, printed));
        } else {
            panic!("docs/{name}:{}: a block of {:?}, which no test would run", block.line, block.info);
        }
    }
}

#[test]
fn the_commands_of_the_guide_for_clusters_work() {
    check("hpc.md");
}

#[test]
fn the_commands_of_the_tutorial_work() {
    check("first-sweep.md");
}

#[test]
fn the_commands_of_the_page_on_runs_work() {
    check("runs.md");
}

#[test]
fn the_commands_of_the_page_on_modes_work() {
    check("modes.md");
}

#[test]
fn the_commands_of_the_page_on_reports_work() {
    check("report-and-exit-codes.md");
}

#[test]
fn the_commands_of_the_guide_for_laptops_work() {
    check("laptop.md");
}

#[test]
fn the_commands_of_the_page_on_what_survives_work() {
    check("reliability.md");
}

#[test]
fn the_commands_of_the_guide_to_programs_as_tasks_work() {
    check("exec.md");
}

#[test]
fn the_commands_of_the_guide_to_workers_that_stay_work() {
    check("pipe.md");
}

#[test]
fn the_commands_of_the_guide_to_python_work() {
    check("python.md");
}

#[test]
fn the_commands_of_the_page_on_watching_work() {
    check("watch.md");
}

#[test]
fn the_commands_of_the_page_on_the_picture_of_a_run_work() {
    check("report.md");
}

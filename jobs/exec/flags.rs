//! How the program of a task is run: its flags, and what follows from them for one task.

use std::{ffi::OsString, str::FromStr, time::Duration};

use clap::builder::NonEmptyStringValueParser;
use rankpool::{Error, Plan, Task, rand_core::Rng};
use serde::{Deserialize, Serialize};

use super::{Exec, parse::Parse};
use crate::{
    file::FilePath,
    inputs::Filling,
    process::{Out, Spec, Stdin},
};

/// What is kept of an output where nothing is said of it.
const KEPT: u64 = 1_000_000;

/// How the program is run.
#[derive(clap::Args, Clone, Debug, Serialize, Deserialize)]
#[command(next_help_heading = "Program")]
pub struct Program {
    /// Run the command as one line of bash, in which each value is quoted
    #[arg(long)]
    pub shell: bool,
    /// Where the program runs, as in 'runs/{#}'; made if it is not there
    #[arg(long, value_name = "DIR", value_parser = NonEmptyStringValueParser::new())]
    workdir: Option<String>,
    /// The file that is its standard input, as in '{}'
    #[arg(long, value_name = "FILE", value_parser = NonEmptyStringValueParser::new(), conflicts_with = "pipe_in")]
    stdin: Option<String>,
    /// Give it the input as a line on standard input, not as an argument
    #[arg(long)]
    pub pipe_in: bool,
    /// Give the program nothing of the input: without this, and without placeholders, it follows as the last arguments
    #[arg(long)]
    no_append: bool,
    /// A variable of its environment; may have placeholders, can be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
    /// Set HQ_TASK_ID, SLURM_ARRAY_TASK_ID and PARALLEL_SEQ too, as HyperQueue, Slurm and GNU parallel do
    #[arg(long)]
    compat: bool,
    /// The exit codes that mean success
    #[arg(long, value_name = "CODES", value_delimiter = ',', default_value = "0")]
    pub ok: Vec<i32>,
}

impl Program {
    /// A command without placeholders gets the input as its last arguments.
    pub fn takes_arguments(&self) -> bool {
        !(self.no_append || self.pipe_in || self.stdin.is_some())
    }
}

/// What the program may use; these may be others when the run is resumed.
#[derive(clap::Args, Clone, Debug, Serialize, Deserialize)]
#[command(next_help_heading = "Program")]
pub struct Limits {
    /// How long after it was asked to end (TERM) it is killed
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = rankpool::cli::duration)]
    kill_after: Duration,
    /// How much memory for data each of its processes may have, as in 2GB (RLIMIT_DATA)
    #[arg(long, value_name = "SIZE")]
    mem_per_task: Option<Size>,
}

/// What becomes of the outputs.
#[derive(clap::Args, Clone, Debug, Serialize, Deserialize)]
#[command(next_help_heading = "Outputs")]
pub struct Outputs {
    /// Where standard output goes: keep (with the results, or printed), none, or a file, as in 'out/{#}.txt'
    #[arg(long, value_name = "keep|none|FILE", default_value = "keep", value_parser = NonEmptyStringValueParser::new())]
    stdout: String,
    /// Where standard error goes, in the same way
    #[arg(long, value_name = "keep|none|FILE", default_value = "keep", value_parser = NonEmptyStringValueParser::new())]
    stderr: String,
    /// How much of each output is kept; the rest is cut, and the results say how much. All by default where it is printed,
    /// and 1MB in a file
    #[arg(long, value_name = "SIZE")]
    keep_output: Option<Size>,
    /// Make columns of the results from the last line of standard output: json, number or csv
    #[arg(long, value_name = "FORM")]
    pub parse: Option<Parse>,
    /// Print outputs in the order of the inputs, not as the tasks end
    #[arg(long, short = 'k')]
    #[serde(skip)]
    pub keep_order: bool,
    /// Begin each printed line with the inputs of its task
    #[arg(long)]
    pub tag: bool,
    /// Write a line for each task that has ended to this file, as GNU parallel does
    #[arg(long, value_name = "FILE", value_parser = FilePath::parser())]
    #[serde(skip)]
    pub joblog: Option<FilePath>,
}

impl Outputs {
    /// What no single flag shows.
    pub fn check(&self, plan: &Plan) -> Result<(), Error> {
        if plan.keeps_results() && (self.tag || self.keep_order && self.joblog.is_none()) {
            return Err(Error::usage(
                "--tag and --keep-order say how outputs are printed, and with --output they are kept in the file: leave \
                 one out",
            ));
        }
        if self.parse.is_some() && self.stdout != "keep" {
            return Err(Error::usage("--parse reads the standard output that is kept: leave --stdout out"));
        }
        Ok(())
    }

    /// Something is printed where there is no file for it.
    pub fn prints(&self) -> bool {
        self.stdout == "keep" || self.stderr == "keep"
    }
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err("expected NAME=VALUE".into()),
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Size(u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        let expected = || "expected a size, as in 500, 64kB, 1MB, 2GB or 2GiB".to_string();
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: f64 = number.parse().map_err(|_| expected())?;
        let (prefix, step) = match unit.trim().trim_end_matches(['b', 'B']).to_ascii_lowercase().as_str() {
            "" => (0, 1000.0f64),
            "k" => (1, 1000.0),
            "m" => (2, 1000.0),
            "g" => (3, 1000.0),
            "t" => (4, 1000.0),
            "ki" => (1, 1024.0),
            "mi" => (2, 1024.0),
            "gi" => (3, 1024.0),
            "ti" => (4, 1024.0),
            _ => return Err(expected()),
        };
        let bytes = number * step.powi(prefix);
        if bytes.is_finite() { Ok(Size(bytes as u64)) } else { Err(expected()) }
    }
}

/// The environment of all programs, but for what is a task's own.
pub fn environment() -> Vec<(OsString, OsString)> {
    rankpool::environment_of_programs().collect()
}

impl Exec {
    /// How a task's program is run.
    pub(super) fn spec(&self, words: Vec<String>, filling: &Filling, task: &Task) -> Spec {
        let fill = |text: &str| self.filled(text, filling);
        let most = match self.outputs.keep_output {
            Some(Size(bytes)) => usize::try_from(bytes).unwrap_or(usize::MAX),
            None if self.prepared.prints => usize::MAX,
            None => KEPT as usize,
        };
        let out = |to: &str| match to {
            "keep" => Out::Keep { most },
            "none" => Out::Nothing,
            path => Out::File(fill(path).into()),
        };
        let stdin = match &self.program.stdin {
            Some(path) => Stdin::File(fill(path).into()),
            None if self.program.pipe_in => Stdin::Text((filling.values.join("\t") + "\n").into_bytes()),
            None => Stdin::Nothing,
        };
        Spec {
            environment: self.variables(filling, task),
            directory: self.program.workdir.as_deref().map(|path| fill(path).into()),
            stdin,
            stdout: out(&self.outputs.stdout),
            stderr: out(&self.outputs.stderr),
            limit: task.time_limit(),
            kill_after: self.limits.kill_after,
            memory: self.limits.mem_per_task.map(|Size(bytes)| bytes),
            ..Spec::new(words)
        }
    }

    /// What a task's program finds in its environment beside what all have.
    fn variables(&self, filling: &Filling, task: &Task) -> Vec<(OsString, OsString)> {
        let index = task.index();
        let mut variables = vec![
            ("RANKPOOL_TASK_ID".to_string(), index.to_string()),
            ("RANKPOOL_ATTEMPT".into(), task.attempt().to_string()),
            ("RANKPOOL_RANK".into(), task.rank().to_string()),
            ("RANKPOOL_SLOT".into(), task.slot().to_string()),
            ("RANKPOOL_SEED".into(), task.rng().next_u64().to_string()),
        ];
        if let Some(count) = self.prepared.count {
            variables.push(("RANKPOOL_TASK_COUNT".into(), count.to_string()));
        }
        let columns = self.prepared.names.iter().zip(&self.prepared.named).zip(filling.values);
        for ((name, _), value) in columns.filter(|((_, named), _)| **named) {
            let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
            let name: String = name.chars().map(plain).collect();
            variables.push((format!("RANKPOOL_ARG_{name}"), value.clone()));
        }
        if self.file.is_some() {
            variables.push(("DISBATCH_TASKID".into(), index.to_string()));
            if let Some(repeat) = filling.values.get(1) {
                variables.push(("DISBATCH_REPEAT_INDEX".into(), repeat.clone()));
            }
        }
        if self.program.compat {
            // Of an array it is the number, as there.
            let number = match (self.inputs.is_array(), filling.values.first()) {
                (true, Some(number)) => number.clone(),
                _ => index.to_string(),
            };
            variables.push(("HQ_TASK_ID".into(), number.clone()));
            variables.push(("SLURM_ARRAY_TASK_ID".into(), number));
            variables.push(("PARALLEL_SEQ".into(), (index + 1).to_string()));
        }
        let own = self.program.env.iter().map(|(name, value)| (name.clone(), self.filled(value, filling)));
        variables.extend(own);
        variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        for (text, bytes) in [
            ("500", 500),
            ("64kB", 64_000),
            ("1MB", 1_000_000),
            ("1.5g", 1_500_000_000),
            ("2GiB", 2 << 30),
            ("8Ki", 8192),
        ] {
            assert_eq!(text.parse::<Size>(), Ok(Size(bytes)), "{text}");
        }
        for bad in ["", "MB", "1x", "1..2", "-1", "1 M B x"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }
}

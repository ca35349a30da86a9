//! `rankpool list`

use std::process::ExitCode;

use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde_json::{Value, json};

use super::{Entry, out, variables::unreadable};
use crate::error::Error;

#[derive(Args, Clone, Debug)]
struct Flags {
    /// Print a JSON array: of each job its name, what it is about, and its own flags
    #[arg(long)]
    json: bool,
}

pub(super) fn command() -> Command {
    Flags::augment_args(Command::new("list")).about("List the jobs").long_about(None)
}

pub(super) fn execute(matches: &ArgMatches, jobs: &[Entry]) -> Result<ExitCode, Error> {
    let flags = Flags::from_arg_matches(matches).map_err(unreadable)?;
    if flags.json {
        let jobs: Value = jobs.iter().map(described).collect();
        return out::print(format!("{jobs}\n").as_bytes()).map(|()| ExitCode::SUCCESS);
    }
    let width = jobs.iter().map(|job| job.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for job in jobs {
        text += &format!("{:width$}  {}\n", job.name, about(job));
    }
    out::tell(&text).map(|()| ExitCode::SUCCESS)
}

fn about(job: &Entry) -> String {
    (job.command)().get_about().map(ToString::to_string).unwrap_or_default()
}

fn described(job: &Entry) -> Value {
    let flags: Value = (job.own)().get_arguments().map(flag).collect();
    json!({ "name": job.name, "about": about(job), "flags": flags })
}

/// A flag, or an argument that stands by its place: its `flag` is null.
fn flag(argument: &clap::Arg) -> Value {
    let default: Vec<String> =
        argument.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    let possible: Vec<String> =
        argument.get_possible_values().iter().map(|value| value.get_name().to_string()).collect();
    json!({
        "flag": argument.get_long().map(|long| format!("--{long}")),
        "name": argument.get_id().as_str(),
        "help": argument.get_help().map(ToString::to_string),
        "required": argument.is_required_set(),
        "default": default.first(),
        "possible": possible,
    })
}

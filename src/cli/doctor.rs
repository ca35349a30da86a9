//! `rankpool doctor`

use std::process::ExitCode;

use clap::{ArgMatches, Args, Command, FromArgMatches, parser::ValueSource};
use serde_json::json;

use super::{
    examples, out,
    settings::Settings,
    variables::{slips, unreadable, without_empty},
};
use crate::{error::Error, launch::doctor::examine, say::say};

#[derive(Args, Clone, Debug)]
struct Flags {
    #[command(flatten)]
    settings: Settings,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// What a trial of the doctor's runs inside
    #[arg(long, hide = true)]
    probe: Option<String>,
}

pub(super) fn command() -> Command {
    let command = without_empty(Flags::augment_args(Command::new("doctor")));
    command
        .about("Check the launcher, MPI, spawn, Slurm and the settings; exit code 1 if something is wrong")
        .long_about(None)
        .after_help(examples::of(&[
            "PROGRAM doctor",
            "PROGRAM doctor --json",
            "sbatch --nodes 2 --wrap 'PROGRAM doctor'",
        ]))
}

/// True in the ranks that a trial of the doctor's has started.
pub(super) fn is_probe(matches: &ArgMatches) -> bool {
    matches!(matches.try_get_one::<String>("probe"), Ok(Some(_)))
}

pub(super) fn execute(matches: &ArgMatches, programs: &Command) -> Result<ExitCode, Error> {
    let flags = Flags::from_arg_matches(matches).map_err(unreadable)?;
    if let Some(probe) = &flags.probe {
        return probe_inside(probe);
    }
    slips(programs).iter().for_each(|slip| say(slip));
    let checks = examine();
    let wrong = checks.iter().any(|check| !check.ok);
    let settings = settings(matches);
    if flags.json {
        let settings: Vec<_> = settings
            .iter()
            .map(|(name, value, source)| json!({"name": name, "value": value, "from": source}))
            .collect();
        let whole = json!({ "version": env!("CARGO_PKG_VERSION"), "build": crate::function::build(),
            "ok": !wrong, "checks": checks, "settings": settings });
        out::print(format!("{whole}\n").as_bytes())?;
    } else {
        let mut text = String::new();
        for check in &checks {
            let mark = if check.ok { "ok   " } else { "WRONG" };
            text += &format!("{mark} {:12} {}\n", check.name, check.found);
            if let Some(fix) = &check.fix {
                text += &format!("      {:12} fix: {fix}\n", "");
            }
        }
        text += "\nsettings\n";
        for (name, value, source) in settings {
            text += &format!("  {name:18} {value:10} {source}\n");
        }
        out::tell(&text)?;
    }
    Ok(ExitCode::from(u8::from(wrong)))
}

/// Each setting, its value, and where that came from.
fn settings(matches: &ArgMatches) -> Vec<(String, String, String)> {
    let command = Settings::augment_args(Command::new("settings"));
    let value = |id: &str| match matches.try_get_raw(id) {
        Ok(Some(values)) => {
            values.map(|value| value.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        }
        _ => "-".to_string(),
    };
    let arguments = command.get_arguments().filter(|argument| argument.get_long().is_some());
    arguments
        .map(|argument| {
            let id = argument.get_id().as_str();
            let variable =
                argument.get_env().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let source = match matches.value_source(id) {
                Some(ValueSource::CommandLine) => "flag".to_string(),
                Some(ValueSource::EnvVariable) => variable,
                _ => "default".to_string(),
            };
            (argument.get_long().unwrap_or(id).to_string(), value(id), source)
        })
        .collect()
}

/// A trial: starts what it names and prints what it found.
#[cfg(feature = "mpi")]
fn probe_inside(probe: &str) -> Result<ExitCode, Error> {
    use crate::{executor::Executor, launch::Mode, mpi};
    let found = match probe {
        "mpi" => {
            let world = mpi::World::initialise(mpi::Threads::OneAtATime)?;
            let slots = world.universe_size()?.map_or("not told".to_string(), |slots| slots.to_string());
            let found = format!("{}, universe size (slots) {slots}", mpi::thread_level(&world)?);
            world.finalise()?;
            found
        }
        "comm" => {
            let pool = Executor::builder().mode(Mode::Comm).start()?;
            let answers = pool.map(|n: u32| n + 1, 0..10)?;
            let found = format!("{} ranks, {} tasks came back", pool.num_workers() + 1, answers.len());
            pool.shutdown()?;
            found
        }
        "pool" => {
            let pool = Executor::builder().mode(Mode::Pool).workers(1).oversubscribe(true).start()?;
            let answers = pool.map(|n: u32| n + 1, 0..10)?;
            let found = format!("{} worker spawned, {} tasks came back", pool.num_workers(), answers.len());
            pool.shutdown()?;
            found
        }
        other => return Err(Error::usage(format!("there is no probe {other}"))),
    };
    out::tell(&format!("{found}\n")).map(|()| ExitCode::SUCCESS)
}

#[cfg(not(feature = "mpi"))]
fn probe_inside(_: &str) -> Result<ExitCode, Error> {
    Err(Error::usage("this program was built without MPI"))
}

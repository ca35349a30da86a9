//! The tables of docs/settings.md are made from what clap knows. The test fails when they differ; [`ANEW`] writes them.

use std::fs;

use clap::{Arg, Args, Command};

use super::{bench, doctor, export, list, report, run, show, simulate, slurm, watch};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/settings.md");
const ANEW: &str = "RANKPOOL_WRITE_SETTINGS=1 cargo test --lib settings_page";
const BEGIN: &str = "<!-- what clap knows begins here -->\n";
const END: &str = "<!-- and ends here -->\n";

fn is_shown(argument: &&Arg) -> bool {
    !argument.is_hide_set() && !["help", "version"].contains(&argument.get_id().as_str())
}

fn arguments(command: &Command) -> Vec<&Arg> {
    command.get_arguments().filter(is_shown).collect()
}

/// Text in a cell of a table.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|").replace('<', "\\<")
}

fn row(argument: &Arg) -> String {
    let mut flag = format!("`{argument}`").replace('|', "\\|");
    if let Some(short) = argument.get_short() {
        flag += &format!(", `-{short}`");
    }
    let variable = argument.get_env().map(|name| format!("`{}`", name.to_string_lossy()));
    let mut meaning = cell(&argument.get_help().map(ToString::to_string).unwrap_or_default());
    let takes_values = argument.get_action().takes_values();
    let possible: Vec<String> = argument
        .get_possible_values()
        .iter()
        .filter(|value| takes_values && !value.is_hide_set())
        .map(|value| value.get_name().to_string())
        .collect();
    if !possible.is_empty() {
        meaning += &format!(" ({})", possible.join(", "));
    }
    let defaults = argument.get_default_values().iter().filter(|_| takes_values);
    let defaults: Vec<String> = defaults.map(|value| value.to_string_lossy().into_owned()).collect();
    format!("| {flag} | {} | {meaning} | {} |\n", variable.unwrap_or_default(), cell(&defaults.join(",")))
}

/// A table of a command's flags. Those that `run` has too are only named.
fn table(title: &str, command: &Command, run: Option<&Command>) -> String {
    let of_run = |argument: &&Arg| {
        run.is_some_and(|run| {
            let same = |other: &&Arg| {
                other.get_long() == argument.get_long()
                    && other.get_help().map(ToString::to_string)
                        == argument.get_help().map(ToString::to_string)
            };
            arguments(run).iter().any(same)
        })
    };
    let (shared, own): (Vec<&Arg>, Vec<&Arg>) = arguments(command).into_iter().partition(of_run);
    let mut text = format!("## {title}\n\n");
    if !own.is_empty() {
        text += "| flag | variable | meaning | default |\n|---|---|---|---|\n";
        own.iter().for_each(|argument| text += &row(argument));
        text += "\n";
    }
    let names: Vec<String> =
        shared.iter().filter_map(|argument| Some(format!("`--{}`", argument.get_long()?))).collect();
    if !names.is_empty() {
        text += &format!("As `run` has them: {}.\n\n", names.join(", "));
    }
    text
}

fn tables() -> String {
    let built = |mut command: Command| {
        command.build(); // Before that, arguments cannot be shown.
        command
    };
    let run = built(run::Flags::augment_args(Command::new("run")));
    let mut text = table("Every run: `rankpool run JOB`, `exec` and `pipe`", &run, None);
    for command in [
        watch::command(),
        show::command(),
        report::command(),
        export::command(),
        slurm::command("JOB"),
        simulate::command(),
        doctor::command(),
        bench::command(),
        list::command(),
    ] {
        let command = built(command);
        text += &table(&format!("`rankpool {}`", command.get_name()), &command, Some(&run));
    }
    text
}

#[test]
fn the_page_of_settings_says_what_clap_knows() {
    let page = fs::read_to_string(PAGE).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the page marks where the tables begin");
    let (_, after) = rest.split_once(END).expect("the page marks where the tables end");
    let wanted = format!("{before}{BEGIN}\n{}{END}{after}", tables());
    if std::env::var_os("RANKPOOL_WRITE_SETTINGS").is_some() {
        fs::write(PAGE, wanted).unwrap();
        return;
    }
    let differs = page.lines().zip(wanted.lines()).find(|(there, wanted)| there != wanted);
    assert!(page == wanted, "docs/settings.md is not what clap knows: {differs:?}; `{ANEW}` writes it anew");
}

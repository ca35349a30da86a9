//! A page whose tables of flags are made from what clap knows: for tests of the library and of its jobs.

use std::fs;

use clap::{Arg, Command};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/settings.md");

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
    if let Some(short) = argument.get_short().filter(|_| argument.get_long().is_some()) {
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
pub fn table(title: &str, command: &Command, run: Option<&Command>) -> String {
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

/// A command whose arguments can be shown.
pub fn built(mut command: Command) -> Command {
    command.build();
    command
}

/// Fails unless docs/settings.md has these tables between its marks of `whose`; with `RANKPOOL_WRITE_SETTINGS` set, it
/// writes them there.
pub fn hold(whose: &str, tables: &str, anew: &str) {
    let (begin, end) = (format!("<!-- what {whose} begins here -->\n"), "<!-- and ends here -->\n");
    let page = fs::read_to_string(PAGE).unwrap();
    let (before, rest) = page.split_once(&begin).expect("the page marks where the tables begin");
    let (_, after) = rest.split_once(end).expect("the page marks where the tables end");
    let wanted = format!("{before}{begin}\n{tables}{end}{after}");
    if std::env::var_os("RANKPOOL_WRITE_SETTINGS").is_some() {
        fs::write(PAGE, wanted).unwrap();
        return;
    }
    let differs = page.lines().zip(wanted.lines()).find(|(there, wanted)| there != wanted);
    assert!(page == wanted, "docs/settings.md is not what clap knows: {differs:?}; `{anew}` writes it anew");
}

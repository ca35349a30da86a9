//! The environment variables that rankpool reads. An empty one counts as not set. A wrong value is reported with the
//! variable's name. An unknown variable is reported, too, since it is most likely a typing error.

use clap::{
    Command,
    error::{ContextKind, ContextValue},
};

use super::{log, program};
use crate::{
    error::{Error, ErrorKind},
    launch,
};

const OURS: &str = "RANKPOOL_";
/// Those of tests.
const OF_TESTS: &str = "RANKPOOL_TEST_";
/// Those that no flag stands for.
const WITHOUT_FLAG: [&str; 3] = [log::VARIABLE, launch::CODE_FILE, launch::CHILD];

/// The command, for which an empty variable is not set.
pub(super) fn without_empty(command: Command) -> Command {
    command.mut_args(|argument| {
        let name = argument.get_env().and_then(|name| name.to_str());
        let empty = |name: &str| std::env::var_os(name).is_some_and(|value| value.is_empty());
        if name.is_some_and(|name| name.starts_with(OURS) && empty(name)) {
            argument.env(None::<&'static str>)
        } else {
            argument
        }
    })
}

/// Each flag that has a variable, and the variable.
fn of_flags(command: &Command) -> Vec<(String, String)> {
    let own = command.get_arguments().filter_map(|argument| {
        let variable = argument.get_env()?.to_string_lossy().into_owned();
        Some((format!("--{}", argument.get_long()?), variable))
    });
    own.chain(command.get_subcommands().flat_map(of_flags)).collect()
}

/// The variable that has the value which clap refuses, if it came from one.
pub(super) fn blamed(error: &clap::Error, command: &Command) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let (flag, value) = (text(ContextKind::InvalidArg)?, text(ContextKind::InvalidValue)?);
    // As in `--workers <WORKERS>`.
    let flag = flag.split(' ').next()?;
    let of_flag = of_flags(command).into_iter().find(|(known, _)| known == flag);
    let (_, variable) =
        of_flag.filter(|(_, variable)| launch::variable(variable).as_deref() == Some(value))?;
    Some(format!("{variable}={value} is set in the environment"))
}

/// What clap says of an error, without the label that stands in front of it: ours follows.
pub(super) fn without_label(error: &clap::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("error: ").unwrap_or(&text).trim_end().to_string()
}

/// The error of a flag that clap refuses on its second reading.
pub(super) fn unreadable(error: clap::Error) -> Error {
    Error::usage(without_label(&error))
}

/// An error of usage, with the settings that come from the environment: one of them may be what is wrong.
pub(super) fn with_settings(error: Error, command: &Command) -> Error {
    let mut names: Vec<String> = of_flags(command).into_iter().map(|(_, variable)| variable).collect();
    names.sort_unstable();
    let set = names.iter().filter_map(|name| Some((name, launch::variable(name)?)));
    let set: Vec<String> =
        set.filter(|(_, value)| !value.is_empty()).map(|(name, value)| format!("{name}={value}")).collect();
    if error.kind() != ErrorKind::Usage || set.is_empty() {
        return error;
    }
    Error::usage(format!("{error} (the environment has {})", set.join(" ")))
}

/// What is likely to be a slip in the variables: a line for each.
pub(super) fn slips(command: &Command) -> Vec<String> {
    let flags = of_flags(command);
    let known: Vec<&str> = flags.iter().map(|(_, variable)| variable.as_str()).chain(WITHOUT_FLAG).collect();
    let mut unknown: Vec<String> = std::env::vars_os()
        .filter(|(_, value)| !value.is_empty())
        .filter_map(|(name, _)| name.to_str().map(ToString::to_string))
        .filter(|name| {
            name.starts_with(OURS) && !name.starts_with(OF_TESTS) && !known.contains(&name.as_str())
        })
        .collect();
    unknown.sort_unstable();
    let line = |name: &String| {
        let hint = match closest(name, known.iter().copied()) {
            Some(known) => format!("; is {known} meant?"),
            None => String::new(),
        };
        format!("{}: nothing reads the variable {name}{hint}", program())
    };
    unknown.iter().map(line).chain(log::slips(&launch::variable(log::VARIABLE).unwrap_or_default())).collect()
}

/// The known word that differs by a slip or two.
pub(super) fn closest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let near =
        known.map(|known| (strsim::osa_distance(word, known), known)).min_by_key(|(distance, _)| *distance);
    near.filter(|(distance, known)| *distance <= 2 && 2 * distance < known.len()).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_the_word_that_was_meant() {
        let words = ["RANKPOOL_WORKERS", "RANKPOOL_MODE", "debug", "warn", "off"];
        let found = |word: &str| closest(word, words.into_iter());
        assert_eq!(found("RANKPOOL_WORKER"), Some("RANKPOOL_WORKERS"));
        assert_eq!(found("RANKPOOL_MDOE"), Some("RANKPOOL_MODE"));
        assert_eq!(found("debgu"), Some("debug"));
        assert_eq!(found("on"), None);
        assert_eq!(found("RANKPOOL_COLOUR"), None);
    }
}

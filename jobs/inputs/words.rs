//! The inputs that follow a command: `::: a b :::+ c d :::: FILE`.

use std::path::Path;

use rankpool::Error;
use serde::{Deserialize, Serialize};

/// One list of inputs on the command line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// It goes along with the list before it, value by value, where others make a product.
    pub(super) linked: bool,
    pub(super) values: Values,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Values {
    Words(Vec<String>),
    /// `-` is standard input
    File(String),
}

impl Group {
    /// The file that it is read from.
    pub(super) fn file(&self) -> Option<&Path> {
        match &self.values {
            Values::File(file) => Some(Path::new(file)),
            Values::Words(_) => None,
        }
    }
}

/// Takes a command line apart: the command, and the lists of inputs behind it.
///
/// # Errors
/// When `:::+` has no list before it, or `::::` no file behind it.
pub fn split(mut words: Vec<String>) -> Result<(Vec<String>, Vec<Group>), Error> {
    let is_separator = |word: &String| matches!(word.as_str(), ":::" | ":::+" | "::::" | "::::+");
    let end = words.iter().position(is_separator).unwrap_or(words.len());
    let mut rest = words.split_off(end).into_iter().peekable();
    let mut groups: Vec<Group> = Vec::new();
    while let Some(separator) = rest.next() {
        let linked = separator.ends_with('+');
        if linked && groups.is_empty() {
            let text = format!(
                "{separator} goes along with a list before it, and there is none; write it without +"
            );
            return Err(Error::usage(text));
        }
        let values: Vec<String> = std::iter::from_fn(|| rest.next_if(|word| !is_separator(word))).collect();
        if separator.starts_with("::::") {
            if values.is_empty() {
                let text = format!("{separator} has no file behind it; name one, or - for standard input");
                return Err(Error::usage(text));
            }
            groups.extend(values.into_iter().map(|file| Group { linked, values: Values::File(file) }));
        } else {
            groups.push(Group { linked, values: Values::Words(values) });
        }
    }
    Ok((words, groups))
}

/// A command as it could be typed.
pub fn typed(words: &[String]) -> String {
    // A byte 0, which nobody can type, would be refused.
    shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(line: &str) -> Result<(Vec<String>, Vec<Group>), Error> {
        split(line.split(' ').map(str::to_string).collect())
    }

    #[test]
    fn a_command_ends_where_the_inputs_begin() {
        let group = |linked, values: &[&str]| {
            let values = values.iter().map(|value| value.to_string()).collect();
            Group { linked, values: Values::Words(values) }
        };
        let file = |linked, name: &str| Group { linked, values: Values::File(name.into()) };
        let (command, groups) = parts("cmd {} -- ::: a b :::+ c d ::: :::: f - ::::+ g").unwrap();
        assert_eq!(command, ["cmd", "{}", "--"]);
        assert_eq!(
            groups,
            [
                group(false, &["a", "b"]),
                group(true, &["c", "d"]),
                group(false, &[]),
                file(false, "f"),
                file(false, "-"),
                file(true, "g"),
            ]
        );
        assert_eq!(
            parts("cmd ::::: :: x:::").unwrap(),
            (vec!["cmd", ":::::", "::", "x:::"].into_iter().map(str::to_string).collect(), vec![])
        );
        assert_eq!(parts("::: a").unwrap().0.len(), 0);
    }

    #[test]
    fn a_separator_that_lacks_what_it_needs_is_named() {
        for (line, why) in [
            ("cmd :::+ a", ":::+ goes along with a list before it"),
            ("cmd ::::+ f", "::::+ goes along"),
            ("cmd ::::", ":::: has no file"),
            ("cmd :::: ::: a", ":::: has no file"),
        ] {
            let error = parts(line).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().starts_with(why), "{error}");
        }
    }
}

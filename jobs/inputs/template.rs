//! Texts with placeholders, as in GNU parallel: `{}` `{1}` `{-1}` `{name}`, parts of paths as `{.}` or `{1/}`, `{#}` and
//! `{%}`. Braces that name nothing stay as they are.

use std::{borrow::Cow, convert::Infallible};

use rankpool::Error;
use serde::{Deserialize, Serialize};

/// A text whose placeholders have been found. It is filled once for each task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Piece {
    Text(String),
    /// The task's number, from 1
    Number,
    /// The slot's number, from 1
    Slot,
    /// One value, or all of them with a blank between two
    Value {
        column: Option<usize>,
        part: Part,
    },
}

/// What is taken of a value, which is a path then.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Part {
    Whole,
    WithoutExtension,
    FileName,
    Folder,
    FileNameWithoutExtension,
}

/// How a part is written in a placeholder, the longer ones first.
const PARTS: [(&str, Part); 4] = [
    ("//", Part::Folder),
    ("/.", Part::FileNameWithoutExtension),
    ("/", Part::FileName),
    (".", Part::WithoutExtension),
];

/// What the placeholders of a template stand for in one task.
pub struct Filling<'a> {
    /// One for each column
    pub values: &'a [String],
    /// From 0
    pub task: u64,
    /// From 0
    pub slot: u32,
}

impl Template {
    /// Finds the placeholders of a text. `names` are those of the columns, and `mark` is what stands for all values,
    /// most often `{}`.
    pub fn new(text: &str, names: &[String], mark: &str) -> Template {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            match placeholder(rest, names, mark) {
                Some((piece, length)) => {
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    }
                    pieces.push(piece);
                    rest = &rest[length..];
                }
                None => {
                    plain.push(first);
                    rest = &rest[first.len_utf8()..];
                }
            }
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Template { pieces }
    }

    /// The words of a command. With `append`, where none has a placeholder, the values follow as its last arguments, each a
    /// word.
    pub fn command(words: &[String], names: &[String], mark: &str, append: bool) -> Vec<Template> {
        let mut templates: Vec<Template> =
            words.iter().map(|word| Template::new(word, names, mark)).collect();
        if append && !templates.iter().any(Template::has_placeholder) {
            templates.extend((0..names.len()).map(|column| Template::value(Some(column))));
        }
        templates
    }

    /// A line for a shell. With `append`, where it has no placeholder, the values follow at its end.
    pub fn shell_line(text: &str, names: &[String], mark: &str, append: bool) -> Template {
        let mut template = Template::new(text, names, mark);
        if append && !template.has_placeholder() {
            template.pieces.push(Piece::Text(" ".into()));
            template.pieces.extend(Template::value(None).pieces);
        }
        template
    }

    fn value(column: Option<usize>) -> Template {
        Template { pieces: vec![Piece::Value { column, part: Part::Whole }] }
    }

    /// The text is not the same for each task.
    pub fn has_placeholder(&self) -> bool {
        self.pieces.iter().any(|piece| !matches!(piece, Piece::Text(_)))
    }

    /// The text of one task.
    pub fn fill(&self, filling: &Filling) -> String {
        let Ok(text) = self.fill_with(filling, |value| Ok::<_, Infallible>(value.into()));
        text
    }

    /// The text of one task, with each value quoted for bash.
    ///
    /// # Errors
    /// When a value has a byte 0, which no argument of a program can have.
    pub fn fill_quoted(&self, filling: &Filling) -> Result<String, Error> {
        self.fill_with(filling, |value| {
            shlex::try_quote(value).map_err(|error| {
                Error::usage(format!(
                    "the value {value:?} cannot be part of a command ({error}); take that out"
                ))
            })
        })
    }

    fn fill_with<'a, E>(
        &self,
        filling: &'a Filling,
        write: impl Fn(&'a str) -> Result<Cow<'a, str>, E>,
    ) -> Result<String, E> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Number => text.push_str(&(u128::from(filling.task) + 1).to_string()),
                Piece::Slot => text.push_str(&(u64::from(filling.slot) + 1).to_string()),
                Piece::Value { column, part } => {
                    let values = match column {
                        Some(column) => filling.values.get(*column..=*column).unwrap_or_default(),
                        None => filling.values,
                    };
                    for (k, value) in values.iter().enumerate() {
                        text.push_str(if k == 0 { "" } else { " " });
                        text.push_str(&write(part.of(value))?);
                    }
                }
            }
        }
        Ok(text)
    }
}

/// What looks like the name of a column in a text, and is none: the words in braces that stay as they are.
pub fn unknown_names<'t>(text: &'t str, names: &[String], mark: &str) -> Vec<&'t str> {
    let is_name = |word: &str| {
        word.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && word.chars().all(|c| c.is_alphanumeric() || c == '_')
    };
    let opened =
        text.match_indices('{').filter(|(at, _)| !text[..*at].ends_with('$')).map(|(at, _)| &text[at..]);
    let unknown = opened.filter(|rest| placeholder(rest, names, mark).is_none());
    let words = unknown.filter_map(|rest| rest[1..].split_once('}')).map(|(word, _)| word);
    words.filter(|word| is_name(word)).collect()
}

/// The placeholder that a text begins with, and its length.
fn placeholder(text: &str, names: &[String], mark: &str) -> Option<(Piece, usize)> {
    if text.starts_with(mark) {
        return Some((Piece::Value { column: None, part: Part::Whole }, mark.len()));
    }
    let (name, _) = text.strip_prefix('{')?.split_once('}')?;
    let piece = match name {
        "#" => Piece::Number,
        "%" => Piece::Slot,
        _ => {
            let (column, part) = column_and_part(name, names)?;
            Piece::Value { column, part }
        }
    };
    Some((piece, name.len() + 2))
}

/// The column, or all of them, and the part that the text between two braces names.
fn column_and_part(text: &str, names: &[String]) -> Option<(Option<usize>, Part)> {
    if let Some(column) = column(text, names) {
        return Some((Some(column), Part::Whole));
    }
    PARTS.iter().find_map(|(suffix, part)| match text.strip_suffix(suffix)? {
        "" => Some((None, *part)),
        name => Some((Some(column(name, names)?), *part)),
    })
}

/// A column by its name, or by its number from 1, or from -1 at the end.
fn column(text: &str, names: &[String]) -> Option<usize> {
    let by_number = || {
        let number: isize = text.parse().ok()?;
        let column = match number {
            1.. => number as usize - 1,
            _ => names.len().checked_add_signed(number)?,
        };
        (column < names.len() && number.to_string() == text).then_some(column)
    };
    names.iter().position(|name| name == text).or_else(by_number)
}

impl Part {
    fn of(self, path: &str) -> &str {
        match self {
            Part::Whole => path,
            Part::WithoutExtension => without_extension(path),
            Part::FileName => split(path).1,
            Part::Folder => folder(path),
            Part::FileNameWithoutExtension => without_extension(split(path).1),
        }
    }
}

/// Cuts the last dot off, and what follows it, if that is no slash.
fn without_extension(path: &str) -> &str {
    match path.rfind('.') {
        Some(dot) if !path[dot..].contains('/') => &path[..dot],
        _ => path,
    }
}

/// The folder, without slashes at its end, and the file's name, which is empty behind a slash.
fn split(path: &str) -> (&str, &str) {
    match path.rfind('/') {
        None => (".", path),
        Some(slash) => {
            let folder = path[..slash].trim_end_matches('/');
            (if folder.is_empty() { "/" } else { folder }, &path[slash + 1..])
        }
    }
}

/// As dirname(1) has it.
fn folder(path: &str) -> &str {
    match split(path) {
        (folder, "") => split(folder).0,
        (folder, _) => folder,
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, strategy::ValueTree};

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    fn filled(text: &str, columns: &[&str], values: &[&str]) -> String {
        let values = names(values);
        Template::new(text, &names(columns), "{}").fill(&Filling { values: &values, task: 6, slot: 2 })
    }

    #[test]
    fn each_placeholder_stands_for_its_value() {
        for (text, expected) in [
            ("{}", "d/a.tar.gz x y"),
            ("{1}={2}", "d/a.tar.gz=x y"),
            ("{-1},{-2}", "x y,d/a.tar.gz"),
            ("{file}-{n}", "d/a.tar.gz-x y"),
            ("{1.} {1/} {1//} {1/.}", "d/a.tar a.tar.gz d a.tar"),
            ("{file.} {file/} {file//} {-2/.}", "d/a.tar a.tar.gz d a.tar"),
            ("{.}|{/}|{//}|{/.}", "d/a.tar x y|a.tar.gz x y|d .|a.tar x y"),
            ("{#} {%}", "7 3"),
            ("ö{n}€", "öx y€"),
        ] {
            assert_eq!(filled(text, &["file", "n"], &["d/a.tar.gz", "x y"]), expected, "{text}");
        }
    }

    #[test]
    fn braces_that_name_nothing_stay() {
        for text in [
            "{a} {0} {3} {-3} {+1} {01} {1 } {x.y} {..} {###}",
            "a{2,3}{4",
            "}{",
            "${HOME}",
            "awk '{ print $1 }'",
        ] {
            assert_eq!(filled(text, &["1", "2"], &["v", "w"]), text);
        }
        assert_eq!(filled("{ {1} }{{2}}", &["1", "2"], &["v", "w"]), "{ v }{w}");
    }

    #[test]
    fn what_looks_like_a_name_and_is_none_is_found() {
        let names = names(&["rate", "n"]);
        let unknown = |text: &'static str| unknown_names(text, &names, "{}");
        assert_eq!(unknown("--rate={rat} {n} {N}"), ["rat", "N"]);
        assert_eq!(unknown("{} {1} {n} {rate.} {#} {print $1} {\"a\": 1} ${HOME} {open"), [""; 0]);
    }

    #[test]
    fn a_name_goes_before_a_number_and_before_a_part() {
        assert_eq!(filled("{2} {1} {-1}", &["2", "b"], &["v", "w"]), "v v w");
        assert_eq!(filled("{a.} {a}", &["a", "a."], &["v.x", "w"]), "w v.x");
        assert_eq!(filled("{x y}", &["x y"], &["v"]), "v");
    }

    #[test]
    fn another_mark_stands_for_all_values_and_the_braces_stay_empty() {
        let values = names(&["d/a.b"]);
        let template = Template::new(",,,, {} {1} {.} {#}", &names(&["1"]), ",,");
        let filling = Filling { values: &values, task: 0, slot: 0 };
        assert_eq!(template.fill(&filling), "d/a.bd/a.b {} d/a.b d/a 1");
    }

    #[test]
    fn parts_of_paths_are_those_of_parallel() {
        for (path, parts) in [
            ("a", ["a", "a", ".", "a"]),
            ("/a", ["/a", "a", "/", "a"]),
            ("/a/b.c/", ["/a/b.c/", "", "/a", ""]),
            (".bashrc", ["", ".bashrc", ".", ""]),
            ("x/.b", ["x/", ".b", "x", ""]),
            ("a.b.c", ["a.b", "a.b.c", ".", "a.b"]),
            ("dir.d/file", ["dir.d/file", "file", "dir.d", "file"]),
            ("/", ["/", "", "/", ""]),
            ("", ["", "", ".", ""]),
            ("a/", ["a/", "", ".", ""]),
            ("a.", ["a", "a.", ".", "a"]),
            ("a//b", ["a//b", "b", "a", "b"]),
        ] {
            let all = ["{.}", "{/}", "{//}", "{/.}"].map(|text| filled(text, &["1"], &[path]));
            assert_eq!(all, parts, "{path:?}");
        }
    }

    #[test]
    fn values_follow_a_command_that_has_no_placeholder() {
        let values = names(&["a b", "c"]);
        let filling = Filling { values: &values, task: 0, slot: 0 };
        let filled = |words: &[&str]| -> Vec<String> {
            let command = Template::command(&names(words), &names(&["1", "2"]), "{}", true);
            command.iter().map(|word| word.fill(&filling)).collect()
        };
        assert_eq!(filled(&["echo", "-n"]), ["echo", "-n", "a b", "c"]);
        assert_eq!(filled(&["echo", "{2}"]), ["echo", "c"]);
        assert_eq!(filled(&["echo", "{3}"]), ["echo", "{3}", "a b", "c"]);
        // As in parallel, which adds nothing there.
        assert_eq!(filled(&["echo", "{#}"]), ["echo", "1"]);
        let line = |text, append| {
            Template::shell_line(text, &names(&["1", "2"]), "{}", append).fill_quoted(&filling).unwrap()
        };
        assert_eq!(line("echo", true), "echo 'a b' c");
        assert_eq!(line("echo {1} > {2}", true), "echo 'a b' > c");
        assert_eq!(line("echo", false), "echo", "unless they are not to");
        assert_eq!(Template::command(&names(&["echo"]), &names(&["1", "2"]), "{}", false).len(), 1);
    }

    #[test]
    fn a_value_with_a_byte_0_is_not_quoted() {
        let values = names(&["a\0b"]);
        let template = Template::new("{}", &names(&["1"]), "{}");
        let error = template.fill_quoted(&Filling { values: &values, task: 0, slot: 0 }).unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains(r#""a\0b""#), "{error}");
    }

    #[test]
    fn numbers_do_not_overflow() {
        let filling = Filling { values: &[], task: u64::MAX, slot: u32::MAX };
        assert_eq!(Template::new("{#} {%}", &[], "{}").fill(&filling), "18446744073709551616 4294967296");
    }

    #[test]
    fn it_is_the_same_on_the_other_side() {
        let template = Template::new("a{1/.}{#}{%}{}", &names(&["1"]), "{}");
        let text = serde_json::to_string(&template).unwrap();
        assert_eq!(serde_json::from_str::<Template>(&text).unwrap(), template);
    }

    #[test]
    fn a_quoted_value_comes_out_of_bash_as_it_was() {
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let any =
            prop::string::string_regex("[^\0]{0,12}|[ '\"$`!*?~#&;|<>(){}\\[\\]\\\\\n\t=%^-]{0,8}").unwrap();
        let mut values: Vec<String> = (0..50).map(|_| any.new_tree(&mut runner).unwrap().current()).collect();
        values.extend(names(&["", "-n", "~", "it's", "a\nb", "$(false)", "!!", "{a,b}", "\u{80}\u{2028}"]));
        let line = Template::shell_line("printf '%s\\0'", &names(&["1"]), "{}", true);
        let line = line.fill_quoted(&Filling { values: &values, task: 0, slot: 0 }).unwrap();
        let printed = std::process::Command::new("bash").args(["-c", &line]).output().unwrap();
        let printed = String::from_utf8(printed.stdout).unwrap();
        assert_eq!(printed.split_terminator('\0').collect::<Vec<_>>(), values);
    }

    proptest! {
        #[test]
        fn a_text_without_placeholders_fills_to_itself(text in "[^{}]{0,20}|[{}a-z ]{0,20}") {
            let template = Template::new(&text, &[], "{}");
            if !template.has_placeholder() {
                prop_assert_eq!(template.fill(&Filling { values: &[], task: 0, slot: 0 }), text);
            } else {
                prop_assert!(text.contains("{}"), "{}", text);
            }
        }
    }
}

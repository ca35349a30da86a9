//! The inputs of commands: lists of values by flags, by words behind the command, by files and by task files, and the
//! placeholders that stand for them.

mod array;
mod decimal;
mod grid;
mod json;
mod lines;
mod list;
mod reading;
mod rows;
mod table;
mod tasks;
mod template;
#[cfg(test)]
mod tests;
mod text;
mod value;
mod words;

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::builder::NonEmptyStringValueParser;
use rankpool::Error;
use serde::{Deserialize, Serialize};

use crate::file::FilePath;
use array::Array;
use grid::{Axis, How, Points};
use lines::{Columns, LineFormat};
use list::Part;
use reading::{Format, Reading};
use rows::Row;
use text::Text;
use words::Values;

pub use self::{
    list::List,
    template::{Filling, Template, unknown_names},
    value::{record, value},
    words::{Group, split, typed},
};

/// What the inputs are, and how they are read.
#[derive(clap::Args, Clone, Debug, Default, Serialize, Deserialize)]
#[command(next_help_heading = "Inputs")]
pub struct Flags {
    /// Take the lines of a file as inputs, or - for standard input; several files make a product
    #[arg(long = "arg-file", short = 'a', value_name = "FILE", value_parser = FilePath::parser())]
    arg_files: Vec<FilePath>,
    /// Split each input of a list into columns, {1} {2} and so on, where this regular expression matches
    #[arg(long, value_name = "REGEX", value_parser = NonEmptyStringValueParser::new(), allow_hyphen_values = true)]
    colsep: Option<String>,
    /// Take the first input of each list for the name of its column, or the names of its columns
    ///
    /// Under mpiexec, which takes a colon that stands alone for its own, --header without it.
    #[arg(long, value_name = ":", num_args = 0..=1, default_missing_value = ":", value_parser = [":"])]
    header: Option<String>,
    /// Inputs in files end with a byte 0, not with a newline
    #[arg(long, short = '0')]
    null: bool,
    /// Take the rows of a table as inputs; its first line names the columns
    #[arg(long, value_name = "FILE", value_parser = FilePath::parser())]
    csv: Option<FilePath>,
    /// Take JSON objects as inputs, one a line or in one array; their keys are the columns
    ///
    /// Plain values, one a line or in one array, make one column. An array is read into memory.
    #[arg(long, value_name = "FILE", value_parser = FilePath::parser())]
    json: Option<FilePath>,
    /// Take the points of a grid as inputs: x=0:1:0.1 or method=a,b; several make a product
    ///
    /// START:END:STEP has both ends in it, as far as the steps fit; the step is 1 without one. With --random or
    /// --sobol also x=0..1 and y=log:1e-3..1, from which numbers are drawn, or their logarithms.
    #[arg(long, value_name = "NAME=VALUES")]
    grid: Vec<String>,
    /// Take whole numbers as inputs, as in a Slurm job array: 0-99:2 or 1,3,5-9
    #[arg(long, value_name = "NUMBERS")]
    array: Option<String>,
    /// Draw N points from the axes of --grid, by the run's seed
    #[arg(long, value_name = "N", value_parser = rankpool::cli::count::<u64>)]
    random: Option<u64>,
    /// Take N points of a Sobol sequence from the axes of --grid, scrambled by the run's seed
    ///
    /// They fill the space more evenly than random ones do, best if N is a power of 2. At most 65536.
    #[arg(long, value_name = "N", value_parser = rankpool::cli::count::<u64>)]
    sobol: Option<u64>,
    /// Let this text stand for all columns, in place of {}
    #[arg(short = 'I', value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    mark: Option<String>,
}

impl Flags {
    /// What stands for all columns.
    pub fn mark(&self) -> &str {
        self.mark.as_deref().unwrap_or("{}")
    }

    /// The inputs are the numbers of an array.
    pub fn is_array(&self) -> bool {
        self.array.is_some()
    }

    fn draws(&self) -> Option<(u64, How)> {
        self.random.map(|n| (n, How::Random)).or(self.sobol.map(|n| (n, How::Sobol)))
    }

    fn check(&self, kinds: &[&str]) -> Result<(), Error> {
        if let [one, other, ..] = kinds {
            let text = format!(
                "{one} and {other} are two sorts of lists, and how they go together is not defined; give one of them"
            );
            return Err(Error::usage(text));
        }
        let of_lists =
            [(self.colsep.is_some(), "--colsep"), (self.header.is_some(), "--header"), (self.null, "--null")];
        if let (Some((_, flag)), [kind]) = (of_lists.iter().find(|(is_given, _)| *is_given), kinds)
            && *kind != LISTS
        {
            let text = format!(
                "{flag} says how lists are read, as by ::: or --arg-file, and not {kind}; leave it out"
            );
            return Err(Error::usage(text));
        }
        if self.random.is_some() && self.sobol.is_some() {
            return Err(Error::usage("--random and --sobol both draw points; give one of them"));
        }
        if self.draws().is_some() && self.grid.is_empty() {
            return Err(Error::usage(
                "--random and --sobol draw from the axes of --grid; give one, as --grid x=0..1",
            ));
        }
        Ok(())
    }
}

const LISTS: &str = "::: or --arg-file";

/// The files that inputs are read from.
pub fn files(flags: &Flags, groups: &[Group], task_file: Option<&Path>) -> Vec<PathBuf> {
    let of_flags = flags.arg_files.iter().chain(&flags.csv).chain(&flags.json).map(|file| &**file);
    let all = of_flags.chain(groups.iter().filter_map(Group::file)).chain(task_file);
    all.filter(|file| !text::is_standard_input(file)).map(Path::to_path_buf).collect()
}

/// Makes the list of inputs. Without flags, groups and a task file, they are the lines of standard input. A stream is
/// read as it comes, and its count and digest are not known; if it must be known as a `whole`, it is copied to a
/// temporary file first. A task file always is.
///
/// # Errors
/// When a flag means nothing or goes with another one; when a file cannot be read, or is not what it should be.
pub fn open(
    flags: &Flags,
    groups: &[Group],
    task_file: Option<&Path>,
    seed: u64,
    whole: bool,
) -> Result<List, Error> {
    let has_lists = !groups.is_empty() || !flags.arg_files.is_empty();
    let kinds: Vec<&str> = [
        (has_lists, LISTS),
        (flags.csv.is_some(), "--csv"),
        (flags.json.is_some(), "--json"),
        (!flags.grid.is_empty(), "--grid"),
        (flags.array.is_some(), "--array"),
        (task_file.is_some(), "a task file"),
    ]
    .into_iter()
    .filter_map(|(is_given, kind)| is_given.then_some(kind))
    .collect();
    flags.check(&kinds)?;
    let read = |file: &Path, format| read(file, format, whole).map(|part| vec![vec![part]]);
    let lists = if let Some(file) = task_file {
        let (reading, barriers) = Reading::tasks(Text::of(file)?.copied()?)?;
        let mut part = Part::read(&file.display().to_string(), reading);
        if let Some(index) = part.columns.get_mut(1) {
            *index = Some("repeat".into());
        }
        return List::product(vec![vec![part]], barriers);
    } else if let Some(file) = &flags.csv {
        read(file, Format::Table)?
    } else if let Some(file) = &flags.json {
        read(file, Format::Json)?
    } else if let Some(array) = &flags.array {
        vec![vec![Part::known("--array", vec![None], Array::parse(array)?)]]
    } else if !flags.grid.is_empty() {
        grid(flags, seed)?
    } else if has_lists {
        lists(flags, groups, whole)?
    } else if std::io::stdin().is_terminal() {
        return Err(Error::usage(
            "no inputs: give some behind the command, as ::: a b c, or by --arg-file, --csv, --json, --grid or \
             --array, or from another program by standard input",
        ));
    } else {
        lists(
            &Flags { arg_files: vec![FilePath::from(std::ffi::OsString::from("-"))], ..flags.clone() },
            &[],
            whole,
        )?
    };
    List::product(lists, Vec::new())
}

/// A file's list, which is read as it is needed.
fn read(file: &Path, format: Format, whole: bool) -> Result<Part, Error> {
    let text = Text::of(file)?;
    let text = if whole { text.copied()? } else { text };
    let title = text.name.clone();
    Ok(Part::read(&title, Reading::new(text, format)?))
}

/// The lists of --arg-file, then those behind the command.
fn lists(flags: &Flags, groups: &[Group], whole: bool) -> Result<Vec<Vec<Part>>, Error> {
    let columns = flags.colsep.as_deref().map(Columns::separated).transpose()?.unwrap_or_default();
    let end = if flags.null { 0 } else { b'\n' };
    let format = LineFormat { end, columns: Arc::new(columns), header: flags.header.is_some() };
    let files = flags.arg_files.iter().map(|file| &**file).chain(groups.iter().filter_map(Group::file));
    if files.filter(|file| text::is_standard_input(file)).count() > 1 {
        return Err(Error::usage(
            "standard input is named twice, and can be read once; name a file in its place",
        ));
    }
    let of_file = |file: &Path| read(file, Format::Lines(format.clone()), whole);
    let mut lists: Vec<Vec<Part>> = Vec::new();
    for file in &flags.arg_files {
        lists.push(vec![of_file(file)?]);
    }
    for group in groups {
        let part = match &group.values {
            Values::File(file) => of_file(Path::new(file))?,
            Values::Words(words) => of_words(words, &format)?,
        };
        match lists.last_mut() {
            Some(linked) if group.linked => linked.push(part),
            _ => lists.push(vec![part]),
        }
    }
    Ok(lists)
}

/// A list behind the command.
fn of_words(words: &[String], format: &LineFormat) -> Result<Part, Error> {
    let title =
        format!("the list of :::{}", words.first().map(|word| format!(" {word}")).unwrap_or_default());
    let (header, words) = match words.split_first() {
        Some((header, words)) if format.header => (Some(format.columns.names(header)), words),
        None if format.header => {
            return Err(Error::usage("a list of ::: is empty, and --header takes its first word for a name"));
        }
        _ => (None, words),
    };
    let mut rows: Vec<Row> = Vec::with_capacity(words.len());
    for word in words {
        let mut row = Row::new();
        format.columns.split(word, &mut row);
        rows.push(row);
    }
    let widest = rows.iter().map(Vec::len).max().unwrap_or(1);
    let columns: Vec<Option<String>> = match header {
        Some(names) if widest > names.len() => {
            let text = format!("{title} has {widest} columns, and names {}; name each", names.len());
            return Err(Error::usage(text));
        }
        Some(names) => names.into_iter().map(Some).collect(),
        None => vec![None; widest],
    };
    rows.iter_mut().for_each(|row| row.resize(columns.len(), String::new()));
    Ok(Part::known(&title, columns, rows))
}

fn grid(flags: &Flags, seed: u64) -> Result<Vec<Vec<Part>>, Error> {
    let axes: Vec<Axis> = flags.grid.iter().map(|axis| Axis::parse(axis)).collect::<Result<_, _>>()?;
    let name = |axis: &Axis| Some(axis.name.clone());
    if let Some((count, how)) = flags.draws() {
        let columns = axes.iter().map(name).collect();
        return Ok(vec![vec![Part::known("--grid", columns, Points::new(axes, count, how, seed)?)]]);
    }
    let part = |axis: Axis| Ok(vec![Part::known("--grid", vec![name(&axis)], axis.rows()?)]);
    axes.into_iter().map(part).collect()
}

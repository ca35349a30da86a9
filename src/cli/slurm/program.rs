//! A script for a program that starts an executor by itself: a Python script, or an executable.

use std::{ffi::OsStr, path::Path};

use super::{
    Flags, Work,
    script::{Part, Shape, parts},
};
use crate::{error::Error, launch};

/// Options of the interpreter that have a value in the next word.
const WITH_VALUE: [&str; 3] = ["-W", "-X", "--check-hash-based-pycs"];

/// What an interpreter of Python is given first.
enum Given<'a> {
    Script(&'a str),
    Module(&'a str),
    /// Code, or nothing.
    Other,
}

impl Flags {
    /// The program behind `--`, so far as it can be known whether it will start.
    pub(super) fn checked_program(&self) -> Result<Work, Error> {
        if self.program.is_some() {
            return Err(Error::usage("--program is for a run of this program: leave it out"));
        }
        let program = &self.command[0];
        // Lines of shell before it may put it on PATH, or go to another folder.
        let known = self.setup.is_empty() && self.module.is_empty() && is_plain(program);
        if known && launch::on_path(program).is_none() {
            let hint = match program.ends_with(".py") {
                true => format!("; a script is given as `python {program}`"),
                false => "; for a job of this program write `-- run JOB`".into(),
            };
            return Err(Error::usage(format!(
                "{program}: there is no such command and no such program{hint}"
            )));
        }
        let mut name = file_stem(program);
        if is_python(program) {
            if self.shape() == Shape::Hybrid {
                return Err(Error::usage(
                    "mode hybrid runs tasks in threads, and an interpreter of Python runs one at a time: use --mode \
                     leaders, which has a process for each CPU",
                ));
            }
            match given(&self.command[1..]) {
                Given::Script(script) if known && is_plain(script) && !Path::new(script).exists() => {
                    return Err(Error::usage(format!("{script}: there is no such script")));
                }
                Given::Script(script) => name = file_stem(script),
                Given::Module(module) => name = module.to_string(),
                Given::Other => {}
            }
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        let name = name.chars().map(|c| if fits(c) { c } else { '_' }).collect::<String>();
        Ok(Work {
            name: name.trim_start_matches('-').to_string(),
            words: self.command.clone(),
            resumable: false,
        })
    }
}

/// True of a word that is the same in each element of an array.
fn is_plain(word: &str) -> bool {
    parts(word).iter().all(|part| matches!(part, Part::Text(_)))
}

fn file_stem(path: &str) -> String {
    Path::new(path).file_stem().map_or_else(|| path.to_string(), |stem| stem.to_string_lossy().into_owned())
}

fn is_python(program: &str) -> bool {
    let name = Path::new(program).file_name().and_then(OsStr::to_str).unwrap_or_default();
    ["python", "pypy", "ipython"].iter().any(|known| name.starts_with(known))
}

fn given(arguments: &[String]) -> Given<'_> {
    let mut arguments = arguments.iter().map(String::as_str);
    while let Some(argument) = arguments.next() {
        match argument {
            "-m" => return arguments.next().map_or(Given::Other, Given::Module),
            "-c" | "-" => return Given::Other,
            _ if WITH_VALUE.contains(&argument) => drop(arguments.next()),
            _ if argument.starts_with('-') => {}
            _ => return Given::Script(argument),
        }
    }
    Given::Other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_interpreter_runs_is_found_behind_its_options() {
        let name = |line: &str| {
            let words: Vec<String> = line.split(' ').map(String::from).collect();
            match given(&words) {
                Given::Script(script) => format!("script {script}"),
                Given::Module(module) => format!("module {module}"),
                Given::Other => "other".into(),
            }
        };
        assert_eq!(name("-u -W error sweep.py -m 3"), "script sweep.py");
        assert_eq!(name("-X dev -m rankpool sweep.py"), "module rankpool");
        assert_eq!(name("-c pass"), "other");
    }
}

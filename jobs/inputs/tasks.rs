//! Task files: a line a task, which bash runs, with the directives of disBatch.

use std::sync::LazyLock;

use rankpool::{Barrier, Error};
use regex::Regex;

use super::{
    rows::{Cursor, Row, put},
    text::{Lines, Reader},
};

/// Goes through the tasks of a file. A row is the line; for a task of REPEAT, also its repeat index.
pub struct TaskCursor {
    lines: Lines,
    prefix: String,
    suffix: String,
    repeat: Option<Repeat>,
    /// The index of the next task
    task: u64,
    /// Those that were passed
    pub barriers: Vec<Barrier>,
}

/// The tasks of a REPEAT that are left.
struct Repeat {
    line: String,
    left: u64,
    index: i64,
    step: i64,
}

static REPEAT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(\d+)(?i:\s+start\s+(-?\d+))?(?i:\s+step\s+(-?\d+))?(?:\s+(.*))?$").expect("it is one")
});

impl TaskCursor {
    pub fn new(name: &str, reader: Reader) -> TaskCursor {
        let lines = Lines::new(name, reader, b'\n');
        let (prefix, suffix) = Default::default();
        TaskCursor { lines, prefix, suffix, repeat: None, task: 0, barriers: Vec::new() }
    }

    /// Follows what stands behind `#DISBATCH`.
    fn follow(&mut self, directive: &str) -> Result<(), String> {
        let (word, rest) = directive.split_once(' ').unwrap_or((directive, ""));
        match word.to_ascii_uppercase().as_str() {
            "PREFIX" => self.prefix = rest.into(),
            "SUFFIX" => self.suffix = rest.into(),
            "REPEAT" => self.repeat = Some(self.repeat(rest.trim_start())?),
            "BARRIER" => {
                let check = match rest.trim() {
                    "" => false,
                    "CHECK" => true,
                    key => {
                        return Err(format!(
                            "has BARRIER {key}, which would tell a program of disBatch's that it is passed; expected \
                             BARRIER or BARRIER CHECK"
                        ));
                    }
                };
                match self.barriers.last_mut() {
                    Some(last) if last.before == self.task => last.check |= check,
                    _ if self.task > 0 => self.barriers.push(Barrier { before: self.task, check }),
                    _ => {}
                }
            }
            "PERENGINE" | "PERNODE" => {
                return Err(format!(
                    "has {word}: there are no engines here that a task could run on once each, and workers come and \
                     go; do in each task what it needs, or before the run what all need"
                ));
            }
            _ => {
                return Err(format!(
                    "has the unknown directive {word:?}; expected PREFIX, SUFFIX, REPEAT, BARRIER or BARRIER CHECK"
                ));
            }
        }
        Ok(())
    }

    fn repeat(&self, text: &str) -> Result<Repeat, String> {
        let parts =
            REPEAT.captures(text).ok_or("has no REPEAT N [start S] [step S] [COMMAND]; write it so")?;
        let part = |number: usize| parts.get(number).map(|part| part.as_str());
        let too_large = |_| format!("has a number that is too large: REPEAT {text}");
        let number =
            |text: Option<&str>, default| text.map_or(Ok(default), |text| text.parse().map_err(too_large));
        let left: u64 = parts[1].parse().map_err(too_large)?;
        let (index, step) = (number(part(2), 0)?, number(part(3), 1)?);
        let last = i128::from(index) + i128::from(step) * i128::from(left.saturating_sub(1));
        if i64::try_from(last).is_err() {
            return Err(format!("has repeat indices that are too large: REPEAT {text}"));
        }
        let line = format!("{}{}{}", self.prefix, part(4).unwrap_or(""), self.suffix);
        if line.trim().is_empty() {
            return Err("repeats nothing: it has no command, and no PREFIX or SUFFIX is before it".into());
        }
        Ok(Repeat { line, left, index, step })
    }
}

impl Cursor for TaskCursor {
    fn next(&mut self, row: &mut Row) -> Result<bool, Error> {
        loop {
            if let Some(repeat) = self.repeat.as_mut().filter(|repeat| repeat.left > 0) {
                put(row, [repeat.line.as_str(), &repeat.index.to_string()]);
                repeat.left -= 1;
                // The index behind the last one is not used, and may be none.
                repeat.index = repeat.index.wrapping_add(repeat.step);
                break;
            }
            let Some(line) = self.lines.next()? else {
                return Ok(false);
            };
            let line = line.strip_suffix('\r').unwrap_or(line).trim_start();
            if let Some(directive) =
                line.strip_prefix("#DISBATCH").filter(|rest| !rest.starts_with(|c| c != ' '))
            {
                let directive = directive.trim_start().to_string();
                self.follow(&directive).map_err(|why| self.lines.refused(why))?;
            } else if !line.is_empty() && !line.starts_with('#') {
                put(row, [format!("{}{line}{}", self.prefix, self.suffix).as_str()]);
                break;
            }
        }
        self.task += 1;
        Ok(true)
    }
}

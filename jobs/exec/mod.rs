//! `rankpool exec`: any program as a task.

mod flags;
mod parse;
mod printing;
mod row;

use std::{error::Error as StdError, path::PathBuf};

use rankpool::{Barrier, Error, FailedWith, Job, Plan, Record, Rows, Task, Telling, Told};
use serde::{Deserialize, Serialize};

use crate::{
    file::FilePath,
    inputs::{self, Filling, Group, List, Template},
    process::{Ended, How, Status, with_minder},
};
use flags::{Limits, Outputs, Program};
use printing::{JobLog, Printing};
use row::Row;

/// Run a program once for each of many inputs
///
/// The command stands behind --, with placeholders for the inputs: {} {1} {name}, {.} {/} {//} {/.} for parts of a path,
/// {#} for the task's number and {%} for the slot's. It is run as it is, without a shell. Inputs come from ::: behind
/// the command, from files, tables, grids, or from standard input. Without a command, FILE has a line a task, which bash
/// runs.
#[derive(clap::Args, Serialize, Deserialize)]
pub struct Exec {
    /// A file of tasks, a line each, which bash runs; - is standard input
    #[arg(value_name = "FILE", value_parser = FilePath::parser(), conflicts_with = "command")]
    file: Option<FilePath>,
    #[command(flatten)]
    inputs: inputs::Flags,
    #[command(flatten)]
    program: Program,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    outputs: Outputs,
    /// The program and its arguments, and ::: with inputs
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
    #[arg(skip)]
    prepared: Prepared,
    /// What rank 0 alone has.
    #[arg(skip)]
    #[serde(skip)]
    here: Here,
}

/// What is found out before the run: of which list the inputs are, and how the command is made of them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Prepared {
    names: Vec<String>,
    /// Those of the columns that have names of their own.
    named: Vec<bool>,
    count: Option<u64>,
    /// A hash over all inputs.
    digest: Option<String>,
    /// Outputs are printed; there is no file for them.
    prints: bool,
}

#[derive(Default)]
struct Here {
    list: Option<List>,
    printing: Option<Printing>,
}

/// What a run of commands comes to.
#[derive(Serialize)]
pub struct Summary {
    /// CPU seconds of all programs that ended well
    cpu_s: f64,
    /// The most memory that one of them had
    peak_bytes: u64,
}

impl Exec {
    /// The command without its inputs, and those.
    fn split(&self) -> Result<(Vec<String>, Vec<Group>), Error> {
        let (command, groups) = inputs::split(self.command.clone())?;
        if command.is_empty() && self.file.is_none() {
            return Err(Error::usage(
                "name a command behind --, as in `-- echo {} ::: a b c`, or a file of tasks",
            ));
        }
        if self.file.is_some() && !groups.is_empty() {
            return Err(Error::usage("a file of tasks has its inputs in it: leave ::: out"));
        }
        Ok((command, groups))
    }

    fn list(&self) -> Result<&List, Error> {
        self.here.list.as_ref().ok_or_else(|| Error::usage("the inputs have not been opened"))
    }

    /// The words of a task's command.
    fn words(&self, filling: &Filling) -> Result<Vec<String>, Error> {
        let bash = |line: String| vec!["bash".to_string(), "-c".to_string(), line];
        if self.file.is_some() {
            return Ok(bash(filling.values.first().cloned().unwrap_or_default()));
        }
        let (command, _) = self.split()?;
        let (names, mark, append) =
            (&self.prepared.names, self.inputs.mark(), self.program.takes_arguments());
        if self.program.shell {
            let template = Template::shell_line(&command.join(" "), names, mark, append);
            return template.fill_quoted(filling).map(bash);
        }
        Ok(Template::command(&command, names, mark, append).iter().map(|word| word.fill(filling)).collect())
    }

    /// A text of the command line, filled in for a task.
    fn filled(&self, text: &str, filling: &Filling) -> String {
        Template::new(text, &self.prepared.names, self.inputs.mark()).fill(filling)
    }

    fn verdict(&self, ended: &Ended, task: &Task) -> Result<(), FailedWith<()>> {
        let failed = |why: String| Err(FailedWith::new((), with_last_words(why, ended)));
        match &ended.how {
            How::Exited(code) if self.program.ok.contains(code) => Ok(()),
            How::Exited(code) => failed(format!("exit code {code}")),
            How::Signalled(signal) => failed(format!("ended by signal {signal}")),
            How::NotStarted(why) => Err(FailedWith::new((), why.clone())),
            How::Stopped(_) => failed("the run was stopped".into()),
            How::TimedOut(status) => {
                let end = match status {
                    Status::Exited(code) => format!("exit code {code}"),
                    Status::Signalled(signal) => format!("signal {signal}"),
                };
                let limit = task.time_limit().unwrap_or_default();
                let why = format!("it ran longer than {limit:?}, and was ended: {end}");
                Err(FailedWith::timed_out((), with_last_words(why, ended)))
            }
        }
    }
}

/// What happened, and what the program said last of it, rules of dashes left out.
fn with_last_words(why: String, ended: &Ended) -> String {
    let lines = ended.stderr.bytes.rsplit(|byte| *byte == b'\n').take(20).map(String::from_utf8_lossy);
    let mut said = [String::from_utf8_lossy(&ended.stderr.last_line)].into_iter().chain(lines);
    let last = said.find(|line| line.contains(char::is_alphanumeric)).unwrap_or_default();
    let last: String = last.trim().chars().take(200).collect();
    if last.is_empty() { why } else { format!("{why}: {last}") }
}

impl Job for Exec {
    const NAME: &'static str = "exec";
    const KEEPS_TIME: bool = true;
    const INCIDENTAL: &'static [&'static str] = &["limits"];
    type Item = Vec<String>;
    type Output = Row;
    type Summary = Summary;

    fn prepare(&mut self, plan: &Plan) -> Result<(), Error> {
        let (command, groups) = self.split()?;
        self.outputs.check(plan)?;
        let file = self.file.as_deref();
        let list = inputs::open(&self.inputs, &groups, file, plan.seed(), plan.keeps_journal())?;
        let names = list.names().to_vec();
        if (0..names.len()).any(|column| list.is_named(column)) {
            let mark = self.inputs.mark();
            for word in command.iter().flat_map(|text| inputs::unknown_names(text, &names, mark)) {
                let known = names.join(", ");
                tracing::warn!("{{{word}}} stays as it is: no column has that name; there are {known}");
            }
        }
        self.prepared = Prepared {
            named: (0..names.len()).map(|column| list.is_named(column)).collect(),
            names,
            count: list.count(),
            digest: list.digest(),
            prints: !plan.keeps_results() && self.outputs.prints(),
        };
        let log = self.outputs.joblog.as_deref().map(JobLog::at).transpose()?;
        let printing = self.prepared.prints || log.is_some();
        self.here =
            Here { list: Some(list), printing: printing.then(|| Printing::new(self.prepared.prints, log)) };
        Ok(())
    }

    fn items(&self) -> Result<impl Iterator<Item = Vec<String>>, Error> {
        Ok(self.try_items()?.map_while(Result::ok))
    }

    fn try_items(&self) -> Result<impl Iterator<Item = Result<Vec<String>, Error>>, Error> {
        Ok(self.list()?.iter())
    }

    fn barriers(&self) -> Vec<Barrier> {
        self.here.list.as_ref().map_or(Vec::new(), |list| list.barriers().to_vec())
    }

    fn input(&self, item: &Vec<String>) -> Option<Record> {
        Some(inputs::record(&self.prepared.names, item))
    }

    fn describe(&self, index: u64, item: &Vec<String>) -> Option<String> {
        let filling = Filling { values: item, task: index, slot: 0 };
        if self.file.is_some() {
            return item.first().cloned();
        }
        match self.words(&filling) {
            Ok(words) => Some(inputs::typed(&words)),
            Err(error) => Some(error.to_string()),
        }
    }

    fn task(&self, item: Vec<String>) -> Result<Row, Box<dyn StdError>> {
        let task = Task::current();
        let filling = Filling { values: &item, task: task.index(), slot: task.slot() };
        let words = self.words(&filling)?;
        let command = if self.file.is_some() { item[0].clone() } else { inputs::typed(&words) };
        let spec = self.spec(words, &filling, &task);
        let ended = with_minder(flags::environment, |minder| minder.run(&spec))??;
        if ended.left > 0 {
            tracing::warn!("task {}: {} of its processes could not be killed yet", task.index(), ended.left);
        }
        let verdict = self.verdict(&ended, &task);
        let mut row = Row::new(command, &ended);
        if self.outputs.tag && self.prepared.prints {
            row.tag(&item.join("\t"));
        }
        if let Err(failed) = verdict {
            return Err(failed.with(row).into());
        }
        match self.outputs.parse.as_ref().map(|parse| parse.record(&ended.stdout.last_line)) {
            Some(Err(why)) => return Err(FailedWith::new(row, why).into()),
            Some(Ok(record)) => row.parsed = record,
            None => {}
        }
        Ok(row)
    }

    fn telling(&self) -> Telling {
        match &self.here.printing {
            None => Telling::Nothing,
            Some(_) if self.outputs.keep_order => Telling::InOrder,
            Some(_) => Telling::AsTheyEnd,
        }
    }

    fn tell(&self, told: Told<'_, Row>) -> Result<(), Error> {
        self.here.printing.as_ref().map_or(Ok(()), |printing| printing.tell(&told))
    }

    fn files(&self) -> Vec<PathBuf> {
        let (_, groups) = self.split().unwrap_or_default();
        let mut files = inputs::files(&self.inputs, &groups, self.file.as_deref());
        files.extend(self.outputs.joblog.as_deref().map(|path| path.to_path_buf()));
        files
    }

    fn rows(&self) -> Rows {
        Rows::new()
            .field_unit("seconds", "s")
            .field_unit("cpu_seconds", "s")
            .field_unit("peak_bytes", "B")
            .measured(["started", "seconds", "cpu_seconds", "peak_bytes", "host"])
    }

    fn summary(&self, results: impl Iterator<Item = (u64, Row)>) -> Result<Summary, Error> {
        let (cpu_s, peak_bytes) = results.fold((0.0, 0), |(cpu, peak): (f64, u64), (_, row)| {
            (cpu + row.cpu_seconds, peak.max(row.peak_bytes))
        });
        Ok(Summary { cpu_s, peak_bytes })
    }
}

//! `rankpool pipe`: a program that is started once on each slot, and answers one task after the other.

mod answers;
mod slot;

use std::{
    collections::HashMap,
    error::Error as StdError,
    io::{self, Write},
    path::PathBuf,
    sync::{Mutex, PoisonError},
    thread::{self, ThreadId},
    time::Duration,
};

use rankpool::{Error, FailedWith, Job, Plan, Record, Task, Telling, Told};
use serde::{Deserialize, Serialize};

use crate::{
    inputs::{self, Group, List},
    process::{Out, Spec},
};
use slot::{Slot, Trouble};

/// Give inputs to a program that is started once on each slot
///
/// The program reads a line for each task and answers it by a line: with JSON objects, as docs/pipe.md says, or, with --raw,
/// lines as they are. Loading is paid once.
#[derive(clap::Args, Serialize, Deserialize)]
pub struct Pipe {
    #[command(flatten)]
    inputs: inputs::Flags,
    /// Lines in, lines out, as for awk or bc: the program answers each line by one line
    #[arg(long, help_heading = "Program")]
    raw: bool,
    #[command(flatten)]
    limits: Limits,
    /// The program and its arguments, and ::: with inputs
    #[arg(last = true, value_name = "COMMAND", required = true)]
    command: Vec<String>,
    #[arg(skip)]
    prepared: Prepared,
    /// What rank 0 alone has.
    #[arg(skip)]
    #[serde(skip)]
    here: Here,
    /// The programs of this process's slots.
    #[arg(skip)]
    #[serde(skip)]
    slots: Slots,
}

/// What the program may use; these may be others when the run is resumed.
#[derive(clap::Args, Clone, Debug, Serialize, Deserialize)]
#[command(next_help_heading = "Program")]
struct Limits {
    /// Where the program runs; made if it is not there
    #[arg(long, value_name = "DIR")]
    workdir: Option<PathBuf>,
    /// How much longer than --task-timeout the first answer may take, since the program has to load
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = rankpool::cli::duration)]
    init_timeout: Duration,
    /// How long the program may take to end, once its input is over, and again once it was asked to (TERM)
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = rankpool::cli::duration)]
    kill_after: Duration,
}

/// Of which list the inputs are.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Prepared {
    names: Vec<String>,
    /// The columns have names of their own.
    named: bool,
    count: Option<u64>,
    digest: Option<String>,
}

#[derive(Default)]
struct Here {
    list: Option<List>,
    /// The answers are printed; there is no file for them.
    prints: bool,
}

/// The program of each thread that runs tasks.
#[derive(Default)]
struct Slots(Mutex<HashMap<ThreadId, Slot>>);

impl Slots {
    /// Lends this thread's slot.
    fn with<T>(&self, with: impl FnOnce(&mut Slot) -> T) -> T {
        let all = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = thread::current().id();
        let mut slot = all().remove(&of).unwrap_or_default();
        let result = with(&mut slot);
        all().insert(of, slot);
        result
    }
}

/// What a run of a program that stays comes to.
#[derive(Serialize)]
pub struct Summary {
    answers: u64,
}

impl Pipe {
    fn split(&self) -> Result<(Vec<String>, Vec<Group>), Error> {
        let (command, groups) = inputs::split(self.command.clone())?;
        if command.is_empty() {
            return Err(Error::usage("name a program behind --, as in `-- python3 worker.py`"));
        }
        Ok((command, groups))
    }

    fn list(&self) -> Result<&List, Error> {
        self.here.list.as_ref().ok_or_else(|| Error::usage("the inputs have not been opened"))
    }

    fn spec(&self) -> Result<Spec, Error> {
        let (command, _) = self.split()?;
        Ok(Spec {
            directory: self.limits.workdir.clone(),
            stderr: Out::Inherit,
            kill_after: self.limits.kill_after,
            ..Spec::new(command)
        })
    }

    /// The program reads one line of it. In JSON a newline is an escape.
    fn is_a_line(&self, item: &[String]) -> bool {
        !self.raw || !item.iter().any(|value| value.contains('\n'))
    }

    /// The line that the program reads of a task.
    fn question(&self, task: &Task, index: u64, item: &[String]) -> Vec<u8> {
        if self.raw {
            let mut line = item.join("\t").into_bytes();
            line.push(b'\n');
            return line;
        }
        let names = self.prepared.named.then_some(self.prepared.names.as_slice());
        answers::question(index, answers::seed(task, index), names, item)
    }
}

impl Job for Pipe {
    const NAME: &'static str = "pipe";
    const KEEPS_TIME: bool = true;
    const INCIDENTAL: &'static [&'static str] = &["limits"];
    type Item = Vec<String>;
    type Output = Record;
    type Summary = Summary;

    fn prepare(&mut self, plan: &Plan) -> Result<(), Error> {
        let (_, groups) = self.split()?;
        let list = inputs::open(&self.inputs, &groups, None, plan.seed(), plan.keeps_journal())?;
        let names = list.names().to_vec();
        self.prepared = Prepared {
            named: (0..names.len()).any(|column| list.is_named(column)),
            names,
            count: list.count(),
            digest: list.digest(),
        };
        self.here = Here { list: Some(list), prints: !plan.keeps_results() };
        Ok(())
    }

    fn items(&self) -> Result<impl Iterator<Item = Vec<String>>, Error> {
        Ok(self.try_items()?.map_while(Result::ok))
    }

    fn try_items(&self) -> Result<impl Iterator<Item = Result<Vec<String>, Error>>, Error> {
        Ok(self.list()?.iter())
    }

    fn input(&self, item: &Vec<String>) -> Option<Record> {
        Some(inputs::record(&self.prepared.names, item))
    }

    fn describe(&self, _: u64, item: &Vec<String>) -> Option<String> {
        Some(item.join("\t"))
    }

    fn ahead(&self, upcoming: impl Iterator<Item = (u64, Vec<String>)>) {
        let task = Task::current();
        let upcoming = upcoming.take_while(|(_, item)| self.is_a_line(item));
        self.slots.with(|slot| {
            slot.look_ahead(upcoming.map(|(index, item)| (index, self.question(&task, index, &item))));
        });
    }

    fn task(&self, item: Vec<String>) -> Result<Record, Box<dyn StdError>> {
        let task = Task::current();
        if !self.is_a_line(&item) {
            return Err("the input holds a newline, and --raw gives the program a line for each".into());
        }
        let question = self.question(&task, task.index(), &item);
        let asked = self.slots.with(|slot| {
            let limits = slot::Limits { answer: task.time_limit(), loading: self.limits.init_timeout };
            let read = |line: &[u8]| if self.raw { Ok(Ok(answers::raw(line))) } else { answers::read(line) };
            slot.ask(task.index(), &question, &limits, || self.spec(), read)
        });
        match asked {
            Ok(answer) => answer.map_err(Into::into),
            Err(Trouble::TimedOut(why)) => Err(FailedWith::timed_out(Record::default(), why).into()),
            Err(Trouble::Lost(why)) => Err(FailedWith::quarantined(Record::default(), why).into()),
            Err(Trouble::Refused(why)) => Err(why.into()),
        }
    }

    fn telling(&self) -> Telling {
        if self.here.prints { Telling::InOrder } else { Telling::Nothing }
    }

    fn tell(&self, told: Told<'_, Record>) -> Result<(), Error> {
        let line = match (told.error(), told.output()) {
            // Line k of the input has line k of the output.
            (Some(_), _) | (None, None) => String::new(),
            (None, Some(record)) if self.raw => answers::raw_line(record),
            (None, Some(record)) => record.json().to_string(),
        };
        match writeln!(io::stdout(), "{line}") {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Error::storage(format!("the answers cannot be printed: {error}")))
            }
            _ => Ok(()),
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        let (_, groups) = self.split().unwrap_or_default();
        inputs::files(&self.inputs, &groups, None)
    }

    fn summary(&self, results: impl Iterator<Item = (u64, Record)>) -> Result<Summary, Error> {
        Ok(Summary { answers: results.count() as u64 })
    }
}

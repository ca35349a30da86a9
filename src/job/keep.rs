//! What a run keeps on disk: which files it is to have, and whether it may have them.

use clap::Args;
use serde_json::Value;

use super::{Job, Report, gather::Measured, parameters};
use crate::{
    error::Error,
    paths::Named,
    store::{
        file::{self, Target},
        journal::{self, Addition, Existing, Identity, Journal, Subject},
        lock::OutputLock,
        schema::{Schema, Unfit},
    },
    task_set::TaskSet,
};

/// The files that a run is to leave, as the user asked for them: the flags of the command line.
#[derive(Args, Clone, Debug, Default)]
#[group(skip)]
pub(crate) struct Keep {
    /// Write the results to this HDF5 file; an existing one is refused
    #[arg(long, short = 'o', value_name = "FILE")]
    pub(crate) output: Option<Named>,
    /// Where the journal is kept until the run has ended; FILE.journal beside the output by default
    #[arg(long, value_name = "PATH", conflicts_with = "no_journal")]
    pub(crate) journal: Option<Named>,
    /// Keep no journal: a run that is interrupted begins anew
    #[arg(long, requires = "output")]
    pub(crate) no_journal: bool,
    /// Go on from the journal: tasks whose outcomes are in it are not run again
    #[arg(long)]
    pub(crate) resume: bool,
    /// With --resume, run the tasks again that failed
    #[arg(long, requires = "resume")]
    pub(crate) retry_failed: bool,
    /// Replace an existing output, and an existing journal unless --resume goes on from it
    #[arg(long)]
    pub(crate) force: bool,
    /// Compress the results, at a level of 1 to 9
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=9))]
    pub(crate) compress: u8,
    /// Run only these tasks, as in 3,17,40-60
    #[arg(long, value_name = "TASKS")]
    pub(crate) only: Option<TaskSet>,
    /// Run only the tasks that failed in the run that left this file, and take over its results
    #[arg(long, value_name = "FILE", requires = "output")]
    pub(crate) failed_from: Option<Named>,
}

/// The files of a run that may begin.
pub(super) struct Kept {
    pub(super) job: &'static str,
    pub(super) parameters: Value,
    pub(super) identity: Identity,
    /// Held until the output is in its place.
    _lock: Option<OutputLock>,
    pub(super) target: Option<Target>,
    pub(super) journal: Option<Journal>,
    /// The type of the rows, if they are to be in a file.
    pub(super) schema: Option<Schema>,
    /// Tasks that are not to be run, because their outcomes are known or not wanted.
    pub(super) skip: TaskSet,
    /// Tasks whose outcomes were in the journal.
    pub(super) known: u64,
    /// The first of these that has failed.
    pub(super) first_failure: Option<u64>,
}

pub(super) enum Opened {
    Ready(Box<Kept>),
    /// The run that is to be resumed has ended: this is its report.
    Ended(Box<Report>),
}

impl Keep {
    /// Where the journal is, if there is to be one.
    pub(crate) fn journal(&self) -> Option<Named> {
        if self.no_journal {
            return None;
        }
        self.journal.clone().or_else(|| Some(self.output.as_ref()?.beside(journal::SUFFIX)))
    }

    /// Opens the files, before any task is run.
    ///
    /// # Errors
    /// When a file is there that must not be replaced, is of another run, or cannot be written.
    pub(super) fn open<J: Job>(&self, job: &J, seed: u64, tasks: Option<u64>) -> Result<Opened, Error> {
        let schema = Schema::of::<J::Output>();
        let unsent = |why: &dyn std::fmt::Display| {
            Error::usage(format!("the results of {} cannot be sent: {why}", J::NAME))
        };
        match &schema {
            Ok(schema) => schema.try_out::<J::Output>().map_err(|why| unsent(&why))?,
            Err(why @ Unfit::ForWire) => return Err(unsent(why)),
            Err(Unfit::ForFile(_)) => {}
        }
        let unfit = |why: &Unfit| {
            Error::usage(format!("the results of {} cannot be written to a file: {why}", J::NAME))
        };
        let row = match (&schema, &self.output) {
            (Ok(schema), _) => serde_json::to_value(schema).unwrap_or_default(),
            (Err(why), Some(_)) => return Err(unfit(why)),
            (Err(_), None) => Value::from(std::any::type_name::<J::Output>()),
        };
        let parameters = parameters::stored(job, J::NAME, J::INCIDENTAL)?;
        let subject = Subject::Job { job: J::NAME.into(), parameters: parameters.clone(), row };
        let identity = Identity::new(subject, seed, tasks);
        if let (Some(only), Some(tasks)) = (&self.only, tasks)
            && only.end() > tasks
        {
            return Err(Error::usage(format!(
                "--only names task {}, and {} has {tasks} tasks, from 0",
                only.end() - 1,
                J::NAME
            )));
        }
        let journal_path = self.journal();
        if let (Some(_), Ok(schema)) = (&self.output, &schema) {
            file::check(schema, &job.rows(), tasks)?;
        }
        Measured::of(schema.as_ref().ok(), &job.rows())?;
        let earlier = self.failed_from.as_ref().map(|path| open_earlier(path, &identity)).transpose()?;
        if self.resume
            && let Some(report) = self.ended(&identity, journal_path.as_ref())?
        {
            return Ok(Opened::Ended(Box::new(report)));
        }
        let mut kept = self.begin((J::NAME, parameters), identity, journal_path.as_ref())?;
        kept.schema = schema.ok().filter(|_| self.output.is_some());
        self.choose(&mut kept, earlier)?;
        Ok(Opened::Ready(Box::new(kept)))
    }

    /// Opens journal and target: the target first, so that a run that is refused leaves no journal; of a run
    /// that is resumed the journal first, since it knows which file may be replaced.
    fn begin(
        &self,
        (job, parameters): (&'static str, Value),
        identity: Identity,
        journal: Option<&Named>,
    ) -> Result<Kept, Error> {
        let lock = self.output.as_ref().map(OutputLock::take).transpose()?;
        let resumed = self.resume && journal.is_some_and(|journal| journal.place().exists());
        let reserve = |run: &str, replace: bool| {
            self.output.as_ref().map(|path| Target::reserve(path, run, replace)).transpose()
        };
        let mut target = if resumed { None } else { reserve(&identity.run, self.force)? };
        let existing = match (self.resume, self.force) {
            (true, _) => Existing::Resume,
            (false, true) => Existing::Replace,
            (false, false) => Existing::Refuse,
        };
        let journal = journal.map(|path| Journal::open(path, identity.clone(), existing)).transpose()?;
        let identity = journal.as_ref().map_or(identity, |journal| journal.identity.clone());
        if resumed {
            let same = self.output.as_ref().is_some_and(|path| is_of_run(path, &identity.run));
            target = reserve(&identity.run, self.force || same)?;
        }
        Ok(Kept {
            job,
            parameters,
            identity,
            _lock: lock,
            target,
            journal,
            schema: None,
            skip: TaskSet::default(),
            known: 0,
            first_failure: None,
        })
    }

    /// Decides which tasks are not run.
    fn choose(&self, kept: &mut Kept, earlier: Option<Earlier>) -> Result<(), Error> {
        let mut wanted = self.only.clone();
        if let Some(earlier) = earlier {
            let failed = take_over(&earlier, kept)?;
            wanted = Some(match wanted {
                Some(only) => failed
                    .missing_below(u64::MAX)
                    .union(&only.missing_below(u64::MAX))
                    .missing_below(u64::MAX),
                None => failed,
            });
        }
        if let Some(wanted) = wanted {
            kept.skip = wanted.missing_below(u64::MAX);
        }
        if let Some(journal) = &kept.journal {
            let mut known = journal.done.clone();
            if !self.retry_failed {
                kept.first_failure = journal.failed.ranges().next().map(|(start, _)| start);
                known = known.union(&journal.failed);
            }
            kept.known = known.len();
            kept.skip = kept.skip.union(&known);
        }
        Ok(())
    }
}

#[cfg(not(feature = "hdf5"))]
mod earlier {
    use super::*;

    impl Keep {
        pub(super) fn ended(&self, _: &Identity, _: Option<&Named>) -> Result<Option<Report>, Error> {
            Ok(None)
        }
    }

    pub(super) fn is_of_run(_: &Named, _: &str) -> bool {
        false
    }

    /// No file can be opened.
    pub(super) enum Earlier {}

    pub(super) fn take_over(earlier: &Earlier, _: &mut Kept) -> Result<TaskSet, Error> {
        match *earlier {}
    }

    pub(super) fn open_earlier(path: &Named, _: &Identity) -> Result<Earlier, Error> {
        Err(Error::usage(format!(
            "{path}: this program was built without HDF5: build it with the feature `hdf5`"
        )))
    }
}

#[cfg(feature = "hdf5")]
mod earlier {
    use super::*;
    use crate::{
        store::file::{Reader, Row, Status},
        wire::{Batch, Piece},
    };

    /// Rows are taken over by so many bytes at a time.
    const BYTES_AT_A_TIME: usize = 1 << 20;

    /// The file of an earlier run.
    pub(super) type Earlier = Reader;

    pub(super) fn open_earlier(path: &Named, identity: &Identity) -> Result<Earlier, Error> {
        let reader = Reader::open(path)?;
        check(&reader, path, identity)?;
        Ok(reader)
    }

    impl Keep {
        /// The report of the run that is to be resumed, if it has ended: its file is there, its journal gone.
        pub(super) fn ended(
            &self,
            identity: &Identity,
            journal: Option<&Named>,
        ) -> Result<Option<Report>, Error> {
            let Some(path) = self.output.as_ref().filter(|path| path.place().exists()) else {
                return Ok(None);
            };
            if journal.is_some_and(|journal| journal.place().exists()) || self.force {
                return Ok(None);
            }
            let reader = open_earlier(path, identity)?;
            let report: Report = serde_json::from_str(&reader.text("report"))
                .map_err(|error| Error::usage(format!("{path}: its report cannot be read: {error}")))?;
            if report.not_run > 0 {
                return Err(Error::usage(format!(
                    "{path}: {} of its tasks were not run, and there is no journal to go on from; \
                     --force runs all of them again",
                    report.not_run
                )));
            }
            if self.retry_failed && report.failed > 0 {
                return Err(Error::usage(format!(
                    "{path}: the journal is gone; `--failed-from {path} --output ANOTHER` runs the failed tasks again"
                )));
            }
            Ok(Some(report))
        }
    }

    /// Makes sure that a file is of the same job, parameters, seed, rows and tasks.
    fn check(reader: &Reader, path: &Named, identity: &Identity) -> Result<(), Error> {
        let of_file = Identity {
            subject: Subject::Job {
                job: reader.text("job"),
                parameters: serde_json::from_str(&reader.text("parameters")).unwrap_or_default(),
                row: serde_json::to_value(&reader.schema).unwrap_or_default(),
            },
            seed: reader.whole("seed"),
            tasks: identity.tasks.map(|_| reader.tasks),
            ..identity.clone()
        };
        match identity.difference(&of_file) {
            Some(difference) => Err(Error::usage(format!("{path}: {difference}"))),
            None => Ok(()),
        }
    }

    pub(super) fn is_of_run(path: &Named, run: &str) -> bool {
        path.place().exists() && Reader::open(path).is_ok_and(|reader| reader.text("run") == run)
    }

    /// Puts the results of an earlier run into the journal; returns the tasks that failed there.
    pub(super) fn take_over(reader: &Earlier, kept: &mut Kept) -> Result<TaskSet, Error> {
        let Some(journal) = &mut kept.journal else {
            return Err(Error::usage(
                "--failed-from needs a journal: name an --output, without --no-journal",
            ));
        };
        let mut failed = TaskSet::default();
        let (mut start, mut rows, mut bytes) = (0, Vec::new(), 0);
        let queue = journal.queue();
        let flush = |start: u64, rows: &mut Vec<Vec<u8>>| {
            let count = rows.len() as u64;
            let outcome = Ok(Batch::of_encoded(rows));
            rows.clear();
            if count == 0 { Ok(()) } else { queue.append(Addition::Outcome(Piece { start, count, outcome })) }
        };
        for (task, row) in reader.rows()?.enumerate() {
            let (task, Row { status, bytes: row, .. }) = (task as u64, row?);
            match status {
                Status::Ok if !journal.done.contains(task) => {
                    journal.done.insert(task, task + 1);
                    if start + rows.len() as u64 != task || bytes >= BYTES_AT_A_TIME {
                        flush(start, &mut rows)?;
                        (start, bytes) = (task, 0);
                    }
                    bytes += row.len() + 1;
                    rows.push(row);
                }
                Status::Ok | Status::NotRun => {}
                Status::Failed | Status::TimedOut | Status::Quarantined => failed.insert(task, task + 1),
            }
        }
        flush(start, &mut rows)?;
        Ok(failed)
    }
}

use earlier::{Earlier, is_of_run, open_earlier, take_over};

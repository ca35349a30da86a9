//! A run of a job, from its items to its report.

use std::{path::PathBuf, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    Job, Keep, Report, apart,
    events::Events,
    gather::Gather,
    keep::{Kept, Opened},
    parameters,
    report::{SlowestTask, processes, provenance},
    session::Session,
};
use crate::{
    error::{Error, ErrorKind, TaskError},
    executor::{Call, CallOptions, Executor, Pieces},
    launch,
    paths::Named,
    store::{
        file::{Fit, ResultFile},
        journal::{Addition, Complete, Journal},
    },
    wire::Piece,
    worker::Function,
};

/// How a job is to be run.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) call: CallOptions,
    pub(crate) max_failures: Option<MaxFailures>,
    pub(crate) seed: u64,
    pub(crate) events: Option<Named>,
    /// The folder for the logs of the ranks.
    pub(crate) logs: Option<Named>,
    /// The paths of what standard output and standard error are.
    pub(crate) streams: [PathBuf; 2],
    pub(crate) keep: Keep,
}

/// How many tasks may fail; one more ends the run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum MaxFailures {
    Tasks(u64),
    /// Of all tasks.
    Percent(f64),
}

impl MaxFailures {
    fn tasks(self, all: Option<u64>) -> Result<u64, Error> {
        match (self, all) {
            (MaxFailures::Tasks(tasks), _) => Ok(tasks),
            (MaxFailures::Percent(percent), Some(all)) => Ok((percent / 100.0 * all as f64) as u64),
            (MaxFailures::Percent(_), None) => Err(Error::usage(
                "--max-failures in percent needs a job that knows how many tasks it has: give a number",
            )),
        }
    }
}

/// Who is told how a run goes.
pub(crate) trait Ui {
    /// How many tasks will be run, where that is known.
    fn expect(&self, to_run: Option<u64>);
    /// A task failed for good.
    fn failed(&self, error: &TaskError);
    /// Something that the user should know.
    fn say(&self, text: &str);
    /// `commit` leaves on disk what is known; who ends the run from outside is to call it before.
    fn before_stop(&self, commit: Box<dyn Fn() + Send>);
}

/// Runs the job.
///
/// # Errors
/// When the job cannot be run or summed up, or its files cannot be written; failed tasks are counted in
/// the report.
pub(crate) fn run<J: Job>(job: &J, pool: &Executor, options: &Options, ui: &dyn Ui) -> Result<Report, Error> {
    let items = job.items()?;
    let (least, most) = items.size_hint();
    let tasks = most.filter(|most| *most == least).map(|most| most as u64);
    // What can be refused is refused before a file is touched.
    let limit = options.max_failures.map(|limit| limit.tasks(tasks)).transpose()?;
    call(job, pool, options).check(tasks)?;
    parameters::check_sent(job, J::NAME)?;
    apart::check(options, &job.files())?;
    let events = options.events.as_ref().map(Events::open).transpose()?;
    let kept = match options.keep.open(job, options.seed, tasks)? {
        Opened::Ready(kept) => *kept,
        Opened::Ended(report) => {
            ui.say(
                "the run that is to be resumed has ended, and its file is complete: nothing is left to do",
            );
            return Ok(Report { files: Vec::new(), ..*report });
        }
    };
    greet(&kept, options, ui);
    let to_run = tasks.map(|tasks| kept.skip.missing_below(tasks).len());
    ui.expect(to_run);
    let session = Session::begin(pool, &kept, events, (tasks, to_run))?;
    let outcome = Run { job, pool, options, ui, limit, session: &session }
        .run(items, tasks, kept)
        .map_err(|error| with_a_way_on(error, options));
    session.ended(&outcome);
    outcome
}

/// The job's tasks as a call.
fn call<'p, J: Job>(
    job: &J,
    pool: &'p Executor,
    options: &Options,
) -> Call<'p, impl Function<Item = J::Item, Value = J::Output> + use<J>> {
    let call = pool.try_call_with(job, J::task).options(options.call.clone());
    call.label(J::NAME).seed(options.seed).keep_going()
}

/// A run that was stopped, or whose file cannot be written, leaves the journal, as far as it came.
fn with_a_way_on(error: Error, options: &Options) -> Error {
    let way = match (error.kind(), options.keep.journal()) {
        (ErrorKind::Storage, Some(journal)) => {
            format!("what is done is in {journal}: mend it, and go on with --resume")
        }
        (ErrorKind::Stopped, Some(journal)) => {
            format!("what is done is in {journal}: go on with --resume")
        }
        (ErrorKind::Stopped, None) => "nothing is kept: name an --output or a --journal".to_string(),
        _ => return error,
    };
    Error::new(error.kind(), format!("{error}; {way}"))
}

/// Says what was found, and how to keep it.
fn greet(kept: &Kept, options: &Options, ui: &dyn Ui) {
    if let Some(journal) = &kept.journal {
        journal.damage.iter().for_each(|damage| ui.say(damage));
        let queue = journal.queue();
        ui.before_stop(Box::new(move || match queue.commit() {
            Ok(()) => tracing::warn!("what is done is in the journal; --resume goes on"),
            Err(error) => tracing::error!("{error}"),
        }));
    }
    if options.keep.resume {
        ui.say(&match kept.known {
            0 => "nothing to resume: the run begins".to_string(),
            known => format!("resumed: the outcomes of {known} tasks are known"),
        });
    }
}

/// What the steps of a run share.
struct Run<'r, J> {
    job: &'r J,
    pool: &'r Executor,
    options: &'r Options,
    ui: &'r dyn Ui,
    /// How many tasks may fail.
    limit: Option<u64>,
    session: &'r Session<'r>,
}

impl<J: Job> Run<'_, J> {
    fn run(
        &self,
        items: impl Iterator<Item = J::Item>,
        tasks: Option<u64>,
        mut kept: Kept,
    ) -> Result<Report, Error> {
        let options = self.options;
        // What is in the journal already must be read from there, in its turn among the rest; and failures that
        // are counted must be heard of at once, not in their turn.
        let streams = kept.journal.is_some() && kept.known == 0 && self.limit.is_none();
        let call = call(self.job, self.pool, options).announce(streams);
        let skip = std::mem::take(&mut kept.skip);
        let pieces = call.pieces(items, skip, kept.journal.is_none() || streams)?;
        let mut live = Live { pieces, ui: self.ui, limit: self.limit, failed: 0, stopped: false };

        let gathered = match kept.journal.take() {
            None => self.gather(&mut || live.next(), &mut kept)?,
            Some(journal) if streams => self.beside_the_journal(&mut live, &mut kept, journal)?,
            Some(journal) => self.through_the_journal(&mut live, &mut kept, journal)?,
        };
        let all = tasks.unwrap_or(live.pieces.pulled());
        drop(live);
        if let Some(only) = options.keep.only.as_ref().filter(|only| only.end() > all) {
            self.ui.say(&format!("--only names task {}, and there are {all} tasks, from 0", only.end() - 1));
        }
        self.finish(all, kept, gathered)
    }

    /// Runs the tasks; the engine's thread puts each outcome into the journal as soon as it is known, and
    /// here they come in order.
    fn beside_the_journal<I>(
        &self,
        live: &mut Live<'_, I>,
        kept: &mut Kept,
        journal: Journal,
    ) -> Result<Gathered, Error>
    where
        I: Iterator,
        I::Item: Serialize,
    {
        let queue = journal.queue();
        let mut source = || {
            queue.wait_for_room()?;
            let piece = live.next()?;
            // An item that could not be encoded never left: what was sent in its place does not count.
            if let Some(piece) = piece.as_ref().filter(|piece| piece.is_of_no_attempt()) {
                queue.append(Addition::Outcome(piece.clone()))?;
            }
            Ok(piece)
        };
        let gathered = self.gather(&mut source, kept)?;
        Ok(Gathered { journal: Some(journal.finish()?), ..gathered })
    }

    /// Runs the tasks in any order, each into the journal as it ends; then reads the journal in order.
    fn through_the_journal<I>(
        &self,
        live: &mut Live<'_, I>,
        kept: &mut Kept,
        journal: Journal,
    ) -> Result<Gathered, Error>
    where
        I: Iterator,
        I::Item: Serialize,
    {
        let queue = journal.queue();
        let fit = kept.schema.as_ref().map(|schema| Fit::new(schema, &self.job.rows())).transpose()?;
        while let Some(piece) = live.next()? {
            // The file is written at the end; a row that does not fit it is told of at once.
            fit.as_ref().map_or(Ok(()), |fit| fit.check(&piece))?;
            queue.append(Addition::Outcome(piece))?;
        }
        let map_time = self.session.began.elapsed();
        let mut journal = journal.finish()?;
        let mut pieces = journal.pieces();
        let gathered = self.gather(&mut || pieces.next().transpose(), kept)?;
        drop(pieces);
        Ok(Gathered { map_time, journal: Some(journal), ..gathered })
    }

    /// Takes outcomes in order: into the file, and into the summary.
    fn gather(
        &self,
        source: &mut dyn FnMut() -> Result<Option<Piece>, Error>,
        kept: &mut Kept,
    ) -> Result<Gathered, Error> {
        let compress = self.options.keep.compress;
        let file = match (kept.target.take(), kept.schema.take()) {
            (Some(target), Some(schema)) => {
                Some(ResultFile::create(target, schema, self.job.rows(), compress)?)
            }
            _ => None,
        };
        let notes = kept.journal.is_none().then(|| self.session.notes.clone());
        let mut gather: Gather<'_, J::Output> = Gather::new(source, file, notes);
        let summary = self.job.summary(&mut gather);
        // A summary that stops early does not stop the run; one that fails does not hide why.
        gather.drain()?;
        let summary = serde_json::to_value(&summary?).map_err(|error| {
            Error::new(ErrorKind::Internal, format!("the summary cannot be told: {error}"))
        })?;
        Ok(Gathered::new(summary, gather, self.session.began.elapsed()))
    }

    /// Completes the file, and lets the journal go if nothing needs it any more.
    fn finish(&self, all: u64, kept: Kept, mut gathered: Gathered) -> Result<Report, Error> {
        let mut report = self.report(all, kept.known, &gathered);
        let keep = &self.options.keep;
        let left = report.failed + report.not_run > 0;
        let journal_stays = gathered.journal.is_some() && (left || gathered.file.is_none());
        report.files.extend(keep.output.iter().map(Named::to_string));
        if journal_stays {
            report.files.extend(keep.journal().iter().map(Named::to_string));
        }
        if let Some(mut file) = gathered.file.take() {
            if let Some(journal) = &gathered.journal {
                journal.attempts().try_for_each(|attempt| file.attempt(&attempt?))?;
                journal.trace().try_for_each(|block| file.trace(&block?))?;
            } else {
                self.session.notes.lock().write_to(&mut file)?;
            }
            file.finish(all, &provenance(&kept, self.pool, &report))?;
        }
        match gathered.journal {
            Some(journal) if journal_stays => journal.sync()?,
            Some(journal) => journal.remove()?,
            None => {}
        }
        report.rank_0_peak_bytes = launch::peak_memory();
        Ok(report)
    }

    fn report(&self, all: u64, known: u64, gathered: &Gathered) -> Report {
        let notes = self.session.notes.lock();
        let workers = self.pool.workers();
        let slots: u64 = workers.iter().map(|worker| u64::from(worker.threads.max(1))).sum();
        let wall_s = self.session.began.elapsed().as_secs_f64();
        let (done, failed) = (gathered.done, gathered.failed);
        let map_s = gathered.map_time.as_secs_f64().max(1e-9);
        Report {
            job: J::NAME.into(),
            mode: self.pool.mode().to_string(),
            ranks: processes(self.pool),
            workers: workers.len(),
            children: workers.iter().map(|worker| worker.children.len()).sum(),
            slots,
            tasks: all,
            done,
            failed,
            not_run: all.saturating_sub(done + failed),
            resumed: known,
            retried: notes.retried,
            lost_workers: notes.lost_workers,
            lost_children: notes.lost_children,
            wall_s,
            tasks_per_s: (done + failed).saturating_sub(known) as f64 / wall_s.max(1e-9),
            utilisation: notes.busy.as_secs_f64() / (slots.max(1) as f64 * map_s),
            slowest_task: notes.slowest.map(|(task, time)| SlowestTask { task, seconds: time.as_secs_f64() }),
            rank_0_peak_bytes: launch::peak_memory(),
            chunk: self.options.call.chunk.to_string(),
            seed: self.options.seed,
            results_digest: gathered.digest.clone(),
            files: Vec::new(),
            summary: gathered.summary.clone(),
        }
    }
}

/// What is known when all outcomes have been seen.
struct Gathered {
    done: u64,
    failed: u64,
    digest: String,
    summary: Value,
    file: Option<ResultFile>,
    journal: Option<Complete>,
    /// How long the tasks were being run.
    map_time: Duration,
}

impl Gathered {
    fn new<T: DeserializeOwned>(summary: Value, mut gather: Gather<'_, T>, map_time: Duration) -> Gathered {
        Gathered {
            done: gather.done,
            failed: gather.failed,
            digest: gather.digest(),
            summary,
            file: gather.file.take(),
            journal: None,
            map_time,
        }
    }
}

/// The outcomes as they come, up to the failures that are allowed.
struct Live<'r, I> {
    pieces: Pieces<'r, I>,
    ui: &'r dyn Ui,
    limit: Option<u64>,
    failed: u64,
    stopped: bool,
}

impl<I> Live<'_, I>
where
    I: Iterator,
    I::Item: Serialize,
{
    fn next(&mut self) -> Result<Option<Piece>, Error> {
        if self.stopped {
            return Ok(None);
        }
        let piece = self.pieces.next()?;
        if let Some(Piece { start, outcome: Err(failure), .. }) = &piece {
            self.ui.failed(&failure.clone().at_task(*start));
            self.failed += 1;
            if self.limit.is_some_and(|limit| self.failed > limit) {
                self.ui.say(&format!(
                    "{} tasks have failed, more than --max-failures allows: the run ends here",
                    self.failed
                ));
                self.stopped = true;
            }
        }
        Ok(piece)
    }
}

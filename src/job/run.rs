//! A run of a job, from its items to its report.

use std::{
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    Job, Keep, Report, apart,
    events::Events,
    function::JobTask,
    gather::{Gather, Tell},
    halt::{Counter, Halt},
    in_order::InOrder,
    inputs::Listed,
    items::{Broken, Items},
    keep::{Kept, Opened},
    parameters,
    report::{SlowestTask, processes, provenance},
    session::Session,
    tell::{self, Closing, Telling, tell_of},
};
use crate::{
    error::{Error, ErrorKind, TaskError},
    executor::{Barriers, Call, CallOptions, Executor, Pieces},
    launch,
    paths::Named,
    store::{
        file::{Fit, ResultFile, Target},
        journal::{Addition, Complete, Journal},
    },
    wire::Piece,
};

/// How a job is to be run.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) call: CallOptions,
    pub(crate) halt: Option<Halt>,
    pub(crate) seed: u64,
    pub(crate) events: Option<Named>,
    /// The folder for the logs of the ranks.
    pub(crate) logs: Option<Named>,
    /// The paths of what standard output and standard error are.
    pub(crate) streams: [PathBuf; 2],
    pub(crate) keep: Keep,
}

/// Who is told how a run goes.
pub(crate) trait Ui {
    /// How many tasks will be run, where that is known, and of how many the outcomes are known already.
    fn expect(&self, to_run: Option<u64>, known: u64);
    /// A task failed for good.
    fn failed(&self, error: &TaskError);
    /// Something that the user should know.
    fn say(&self, text: &str);
    /// `commit` leaves on disk what is known; whoever ends the run from outside calls it first.
    fn before_stop(&self, commit: Box<dyn Fn() + Send>);
}

/// Runs the job.
///
/// # Errors
/// When the job cannot be run or summed up, or its files cannot be written; failed tasks are counted in
/// the report.
pub(crate) fn run<J: Job>(job: &J, pool: &Executor, options: &Options, ui: &dyn Ui) -> Result<Report, Error> {
    let items = job.try_items()?;
    let (least, most) = items.size_hint();
    let tasks = most.filter(|most| *most == least).map(|most| most as u64);
    // What can be refused is refused before a file is touched.
    let counter = Counter::new(options.halt, tasks)?;
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
    ui.expect(to_run, kept.known);
    let told = (job.telling() == Telling::AsTheyEnd).then(|| Arc::new(tell::Queue::default()));
    let session = Session::begin(pool, &kept, events, told.clone(), (tasks, to_run))?;
    let run = Run { job, pool, options, ui, told, session: &session };
    let outcome = thread::scope(|scope| {
        let telling = run.told.clone().map(|told| scope.spawn(move || told.serve(job)));
        let closing = run.told.clone().map(Closing);
        let outcome = run.run(items, tasks, counter, kept);
        drop(closing);
        match telling.map(|telling| telling.join()) {
            Some(Ok(Err(error))) => outcome.and(Err(error)),
            _ => outcome,
        }
    })
    .map_err(|error| with_a_way_on(error, options));
    session.ended(&outcome);
    outcome
}

/// The job's tasks as a call.
fn call<'p, J: Job>(job: &J, pool: &'p Executor, options: &Options) -> Call<'p, JobTask<J>> {
    let mut asked = options.call.clone();
    let kept_limit = if J::KEEPS_TIME { asked.task_timeout.take() } else { None };
    let call = JobTask::call(pool, job, kept_limit).options(asked);
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
        ui.before_stop(Box::new(move || {
            if let Err(error) = queue.commit() {
                tracing::error!("{error}");
            }
        }));
    }
    if options.keep.resume {
        ui.say(&match kept.known {
            0 => "nothing to resume: the run begins".to_string(),
            1 => "resumed: the outcome of 1 task is known".to_string(),
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
    /// Who is told of outcomes as they end.
    told: Option<Arc<tell::Queue>>,
    session: &'r Session<'r>,
}

impl<J: Job> Run<'_, J> {
    fn run(
        &self,
        items: impl Iterator<Item = Result<J::Item, Error>>,
        tasks: Option<u64>,
        counter: Counter,
        mut kept: Kept,
    ) -> Result<Report, Error> {
        let options = self.options;
        // What is in the journal already must be read from there, in its turn among the rest; and failures that
        // are counted must be heard of at once, not in their turn.
        let streams = kept.journal.is_some() && kept.known == 0 && options.halt.is_none();
        let told_by_engine = self.told.is_some() && kept.journal.is_none();
        let call = call(self.job, self.pool, options).announce(streams || told_by_engine);
        let skip = std::mem::take(&mut kept.skip);
        let mut order = options.halt.and(kept.journal.is_none().then(|| InOrder::new(skip.clone())));
        let broken = Broken::default();
        let items = Items::new(items, broken.clone());
        let items = Listed::new(self.job, items, kept.target.as_ref().map(Target::folder));
        let barriers =
            self.job.barriers().into_iter().map(|barrier| (barrier.before, barrier.check)).collect();
        let barriers = Barriers::new(barriers, kept.first_failure);
        let ordered = streams || (kept.journal.is_none() && order.is_none());
        let pieces = call.pieces(items.share(), skip, barriers, ordered)?;
        let mut live =
            Live { pieces, ui: self.ui, pool: self.pool, broken, counter, ending: Ending::AtTheEnd };

        let mut gathered = match kept.journal.take() {
            None => {
                let mut source = || match &mut order {
                    Some(order) => order.next(|| self.next(&mut live)),
                    None => self.next(&mut live),
                };
                self.gather(&mut source, &mut kept)?
            }
            Some(journal) if streams => self.beside_the_journal(&mut live, &mut kept, journal)?,
            Some(journal) => self.through_the_journal(&mut live, &mut kept, journal)?,
        };
        let all = tasks.unwrap_or(live.pieces.pulled());
        drop(live);
        if let Some(only) = options.keep.only.as_ref().filter(|only| only.end() > all) {
            self.ui.say(&format!("--only names task {}, and there are {all} tasks, from 0", only.end() - 1));
        }
        if let Some(file) = &mut gathered.file
            && let Some(inputs) = items.finish(tasks.is_some())
        {
            file.inputs(inputs, all)?;
        }
        self.finish(all, kept, gathered)
    }

    /// The next piece, once there is room for what is told of it.
    fn next<I>(&self, live: &mut Live<'_, I>) -> Result<Option<Piece>, Error>
    where
        I: Iterator,
        I::Item: Serialize,
    {
        self.told.as_ref().map_or(Ok(()), |told| told.wait_for_room())?;
        live.next()
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
            let piece = self.next(live)?;
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
        while let Some(piece) = self.next(live)? {
            // The file is written at the end; a row that does not fit it is told of at once.
            fit.as_ref().map_or(Ok(()), |fit| fit.check(&piece))?;
            if let Some(told) = &self.told {
                told.push(piece.clone());
            }
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
        let tell = |piece: &Piece| tell_of(self.job, piece);
        let in_order = self.job.telling() == Telling::InOrder;
        let tell: Option<&Tell<'_>> = if in_order { Some(&tell) } else { None };
        let mut gather: Gather<'_, J::Output> = Gather::new(source, tell, file, notes, &self.job.rows())?;
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
                file.events(&journal.events()?)?;
            } else {
                let mut notes = self.session.notes.lock();
                notes.write_to(&mut file)?;
                file.events(&notes.happened)?;
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

/// How the outcomes end.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    /// With the last one.
    AtTheEnd,
    /// With the last one that was begun before the run was to halt.
    Soon,
    /// Here.
    Now,
}

/// How long what runs is waited for, when a run is to halt soon.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The outcomes as they come, up to where the run is to halt.
struct Live<'r, I> {
    pieces: Pieces<'r, I>,
    ui: &'r dyn Ui,
    pool: &'r Executor,
    broken: Broken,
    counter: Counter,
    ending: Ending,
}

impl<I> Live<'_, I>
where
    I: Iterator,
    I::Item: Serialize,
{
    fn next(&mut self) -> Result<Option<Piece>, Error> {
        if self.ending == Ending::Now {
            return Ok(None);
        }
        let piece = match self.pieces.next() {
            Err(error) if error.kind() == ErrorKind::Stopped && self.ending == Ending::Soon => None,
            piece => piece?,
        };
        if let Some(error) = self.broken.borrow_mut().take() {
            return Err(error);
        }
        let halt = match &piece {
            Some(Piece { start, outcome: Err(failure), .. }) => {
                self.ui.failed(&failure.clone().at_task(*start));
                self.counter.count(1, 0)
            }
            Some(piece) => self.counter.count(0, piece.count),
            None => None,
        };
        if let Some(halt) = halt.filter(|_| self.ending == Ending::AtTheEnd) {
            self.halt(halt);
        }
        Ok(piece)
    }

    fn halt(&mut self, halt: Halt) {
        let Counter { failed, done, .. } = self.counter;
        let (what, ending) = match halt.soon {
            true => ("nothing more is begun", Ending::Soon),
            false => ("the run ends here", Ending::Now),
        };
        let tasks = if failed == 1 { "1 task has".to_string() } else { format!("{failed} tasks have") };
        self.ui.say(&match halt.allowed {
            true => format!("{tasks} failed, more than --max-failures allows: {what}"),
            false => format!("{tasks} failed, and {done} ended well: {what}, as --halt says"),
        });
        self.ending = ending;
        if halt.soon {
            self.pool.drain().begin(Instant::now() + FOR_EVER);
        }
    }
}

//! A function with its options, ready to be mapped, streamed, reduced or submitted.

use std::{any::type_name, marker::PhantomData, path::PathBuf, sync::Arc, time::Duration};

use super::{
    Executor, Future, Stream, Unordered,
    command::{Answer, Command, OpenCall, Work},
    flow::{Barriers, Flow, Taste},
    future::Cell,
    items::Items,
    lasting::Keeping,
    longest_first::LongestFirst,
    options::CallOptions,
    outcome::{each, not_done, undecodable, values},
};
use crate::{
    error::{Error, ErrorKind, Failure, FailureKind, TaskError},
    launch::Mode,
    paths::Named,
    scheduler::{CallSpec, Chunk},
    wire::{BatchBuilder, nanos},
    worker::{
        Collect, EntryPoint, Fold, Function, Node, Numbered, Original, Originals, append, catch, noting,
        run_chunk, to_program,
    },
};

/// A function and its options; [`Executor::call`] and its relatives make one.
///
/// Set options, then say what to do: [`map`](Call::map), [`outcomes`](Call::outcomes),
/// [`stream`](Call::stream), [`unordered`](Call::unordered), [`reduce`](Call::reduce) or
/// [`submit`](Call::submit).
///
/// ```
/// # let pool = rankpool::Executor::builder().mode(rankpool::Mode::Serial).start()?;
/// let mut first = 0;
/// for result in pool.call(|n: u64| n * n).chunk(16).window(1000).stream(0..)? {
///     first = result?;
///     if first > 10_000 {
///         break; // Dropping the stream ends the map.
///     }
/// }
/// assert_eq!(first, 101 * 101);
/// # Ok::<(), rankpool::Error>(())
/// ```
#[must_use = "a call does nothing until map, stream, reduce or submit is called on it"]
#[derive(Debug)]
pub struct Call<'p, T> {
    pool: &'p Executor,
    shared: Result<Option<Arc<Original>>, Failure>,
    pub(super) options: CallOptions,
    function: PhantomData<fn(T)>,
}

impl<'p, T: Function> Call<'p, T> {
    pub(crate) fn new(pool: &'p Executor, shared: Result<Option<Arc<Original>>, Failure>) -> Call<'p, T> {
        let options = CallOptions { chunk: pool.shared.chunk, ..CallOptions::default() };
        Call { pool, shared, options, function: PhantomData }
    }

    /// The same call, whose items come with the indices of their tasks.
    pub(super) fn numbered(self) -> Call<'p, Numbered<T>> {
        let Call { pool, shared, options, .. } = self;
        Call { pool, shared, options, function: PhantomData }
    }

    /// Sets all options at once.
    pub(crate) fn options(mut self, options: CallOptions) -> Self {
        self.options = options;
        self
    }

    /// How many tasks go to a worker at a time; by default as [`Builder::chunk`](super::Builder::chunk) says.
    pub fn chunk(mut self, chunk: impl Into<Chunk>) -> Self {
        self.options.chunk = chunk.into();
        self
    }

    /// How often a task that failed is tried again; 0 by default. The task sees its attempt in
    /// [`Task::attempt`](crate::Task::attempt). A task whose worker was lost is run again in any case.
    pub fn retries(mut self, retries: u16) -> Self {
        self.options.retries = retries;
        self
    }

    /// How long a failed task waits before it is tried again: this long the first time, and twice as long
    /// each further time, up to an hour. Nothing else waits for it. No time by default.
    pub fn retry_delay(mut self, delay: Duration) -> Self {
        self.options.retry_delay = delay;
        self
    }

    /// How long one task may run. A task over its time fails, its worker is given up, and the others go on. The time
    /// that it takes to build a state ([`Executor::call_init`]) does not count. In `serial` and `threads`, where a
    /// thread cannot be stopped, the map is refused.
    pub fn task_timeout(mut self, limit: Duration) -> Self {
        self.options.task_timeout = Some(limit);
        self
    }

    /// How long the whole map may take. [`map`](Call::map) then fails with
    /// [`ErrorKind::Timeout`]; [`outcomes`](Call::outcomes) returns what is done.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.options.time_limit = Some(limit);
        self
    }

    /// How many tasks may be under way beyond the last result taken, and so how many items are
    /// pulled ahead; 262,144 by default. Items and results beyond 64 MiB wait as well.
    pub fn window(mut self, tasks: u64) -> Self {
        self.options.window = tasks;
        self
    }

    /// Runs every task even though some fail. A stream then yields each task's outcome instead of
    /// ending at the first failure; [`map`](Call::map) reports the first failure after the last task.
    pub fn keep_going(mut self) -> Self {
        self.options.keep_going = true;
        self
    }

    /// The seed of the tasks' random streams; the executor's by default.
    pub fn seed(mut self, seed: u64) -> Self {
        self.options.seed = Some(seed);
        self
    }

    /// A name for this call, or for the task that it submits, in messages: in front of the text of its
    /// errors, and in [`TaskError::label`] and [`Future::label`].
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.options.label = Some(label.into().into());
        self
    }

    /// Keeps every outcome in the file `path`, the call's journal, as soon as it is known. The same call in a later run of
    /// the program takes from there what it finds, and runs only what is missing. Its results, and their order, are those
    /// of a map that was never interrupted: however the earlier run ended, by an error, a panic, a stream that was
    /// dropped, or a kill.
    ///
    /// ```
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let file = folder.path().join("squares.journal");
    /// # let pool = rankpool::Executor::builder().mode(rankpool::Mode::Serial).start()?;
    /// let slow = |n: u64| n * n; // Imagine an hour for each.
    /// for result in pool.call(slow).label("squares").journal(&file).stream(0..100)?.take(30) {
    ///     result?;
    /// } // The program is interrupted.
    /// let squares = pool.call(slow).label("squares").journal(&file).map(0..100)?;
    /// assert_eq!(squares[99], 99 * 99);
    /// # Ok::<(), rankpool::Error>(())
    /// ```
    ///
    /// - **What must be the same** is the [`label`](Call::label), the [`seed`](Call::seed), the number of items, and
    ///   the names of the types of items and values; otherwise the call is refused, and both values are told. The
    ///   number is compared at the beginning where the iterator knows its length, else when it ends. Neither the items
    ///   themselves nor a shared value nor the code of the function are compared: whoever changes one of them must
    ///   change the label, or remove the file. Mode, workers, chunks, retries and limits may differ.
    /// - **What failed** for good is kept as well, and reported as before; [`retry_failed`](Call::retry_failed) runs it
    ///   again.
    /// - **What may be lost:** a kill of rank 0 costs the chunks that are with workers, since a chunk's results are
    ///   known only when it ends (an [automatic](Chunk::Auto) one is made for 200 ms of work at most), and the results
    ///   of the last 10 ms. A crash of the whole machine costs the results of the last second. When a call returns, or
    ///   its stream has ended or is dropped, all that it knows is on disk. A damaged file costs the tasks that lay in
    ///   the damaged bytes.
    /// - The file is locked while the call is under way: each call has a journal of its own, and one that another process
    ///   has is refused. It stays when the map has ended; it is for you to remove.
    /// - Only rank 0 writes it. [`reduce`](Call::reduce) and [`submit`](Call::submit) are refused with it.
    pub fn journal(mut self, path: impl Into<PathBuf>) -> Self {
        let (items, values) = (type_name::<T::Item>(), type_name::<T::Value>());
        self.options.journal = Some(Keeping { path: Named::new(path), items, values });
        self
    }

    /// What the [`journal`](Call::journal) names as the type of the items, and compares, in place of the name of their type
    /// in Rust: for items that are of one type here and of another to who made them, such as bytes of a file format or
    /// objects of another language.
    ///
    /// ```
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let file = folder.path().join("lengths.journal");
    /// # let pool = rankpool::Executor::builder().mode(rankpool::Mode::Serial).start()?;
    /// let lengths = |packed: Vec<u8>| packed.len();
    /// let call = |format: &str| pool.call(lengths).label("lengths").journal(&file).item_type(format);
    /// assert_eq!(call("png").map([vec![1, 2, 3]])?, [3]);
    /// let refused = call("tiff").map([vec![1, 2, 3]]).unwrap_err();
    /// assert!(refused.to_string().contains("item type png, and this call has item type tiff"));
    /// # Ok::<(), rankpool::Error>(())
    /// ```
    pub fn item_type(mut self, name: impl Into<Arc<str>>) -> Self {
        self.options.item_type = Some(name.into());
        self
    }

    /// Whether tasks whose failures the [`journal`](Call::journal) has are run again. By default they are not, and their
    /// failures are reported as before: a call that stops at a failure ends with the one that is known.
    pub fn retry_failed(mut self, again: bool) -> Self {
        self.options.retry_failed = again;
        self
    }

    /// Shows how far the call is, on standard error: a bar on a terminal, where the feature `cli` has it, and elsewhere
    /// lines, the first after a second and later ever rarer. It is gone when the call is over. The call goes by its
    /// [`label`](Call::label). Tasks are counted as their results can be taken, so those of a call in order wait for the
    /// ones before them; those that a [`journal`](Call::journal) knows are not counted. For what a program wants to show
    /// itself there is [`Executor::progress`].
    ///
    /// ```
    /// # let pool = rankpool::Executor::builder().mode(rankpool::Mode::Serial).start()?;
    /// let squares = pool.call(|n: u64| n * n).label("squares").progress().map(0..1000)?;
    /// assert_eq!(squares[30], 900);
    /// # Ok::<(), rankpool::Error>(())
    /// ```
    pub fn progress(mut self) -> Self {
        self.options.progress = true;
        self
    }

    /// Begins the tasks that cost most first, so that none of them is left for the end, when the other workers have
    /// nothing more to do. `cost` tells what an item costs beside others: expected seconds, bytes, lines. Results come in
    /// the order of the items all the same.
    ///
    /// It is the last option to be set; [`LongestFirst`] says what can be done then, and what differs.
    ///
    /// ```
    /// # let pool = rankpool::Executor::builder().mode(rankpool::Mode::Serial).start()?;
    /// let texts = ["a few words".to_string(), "a".repeat(10_000), "some more words".to_string()];
    /// let words = |text: String| text.split_whitespace().count();
    /// let counts = pool.call(words).cost(|text| text.len() as f64).map(texts)?;
    /// assert_eq!(counts, [3, 1, 3]);
    /// # Ok::<(), rankpool::Error>(())
    /// ```
    pub fn cost<C>(self, cost: C) -> LongestFirst<'p, T, C>
    where
        C: FnMut(&T::Item) -> f64,
    {
        LongestFirst::new(self, cost)
    }

    /// Runs the function over all items and returns the results in the order of the items.
    ///
    /// # Errors
    /// The failure of the first task, in the order of the items, that failed.
    pub fn map(self, items: impl IntoIterator<Item = T::Item>) -> Result<Vec<T::Value>, Error> {
        let items = items.into_iter();
        let mut results = Vec::with_capacity(items.size_hint().0.min(1 << 20));
        let mut failed = None;
        let mut flow = self.flow(items, entry::<T>(), true, Taste::Everything)?;
        while let Some(piece) = flow.next_piece()? {
            if let Err(error) = values::<T::Value>(piece, &mut |value| results.push(value)) {
                failed.get_or_insert(error);
                if !self.options.keep_going {
                    break;
                }
            }
        }
        failed.map_or(Ok(results), |error| Err(self.named(error).into()))
    }

    /// Runs the function over all items and returns what became of each, in the order of the items.
    ///
    /// With a [`time_limit`](Call::time_limit), tasks that are not done in time have the kind
    /// [`FailureKind::NotDone`].
    ///
    /// # Errors
    /// When the map cannot be run; failed tasks are no error here.
    pub fn outcomes(
        mut self,
        items: impl IntoIterator<Item = T::Item>,
    ) -> Result<Vec<Result<T::Value, TaskError>>, Error> {
        self.options.keep_going = true;
        let mut flow = self.flow(items.into_iter(), entry::<T>(), false, Taste::Everything)?;
        let mut found: Vec<Option<Result<T::Value, TaskError>>> = Vec::new();
        let late = loop {
            match flow.next_piece() {
                Ok(Some(piece)) => {
                    let start = piece.start as usize;
                    let end = start + piece.count as usize;
                    if found.len() < end {
                        found.resize_with(end, || None);
                    }
                    each(piece, &mut |index, outcome| {
                        found[index as usize] = Some(outcome.map_err(|error| self.named(error)));
                    });
                }
                Ok(None) => break None,
                Err(error) if error.kind() == ErrorKind::Timeout => break Some(error),
                Err(error) => return Err(error),
            }
        };
        if let Some(error) = late {
            let known = flow.known_tasks();
            found.resize_with((known as usize).max(found.len()), || None);
            let reason = error.to_string();
            return Ok(found
                .into_iter()
                .enumerate()
                .map(|(index, outcome)| {
                    outcome.unwrap_or_else(|| Err(self.named(not_done(index as u64, &reason))))
                })
                .collect());
        }
        Ok(found.into_iter().flatten().collect())
    }

    /// Runs the function over the items and yields results in order, as they come. Items are
    /// pulled as the [`window`](Call::window) allows: an endless iterator is fine.
    ///
    /// The iterator is asked for items on this thread, inside `next`, as far ahead as the window allows. An item that
    /// was pulled is on its way within 2 ms, however long the iterator takes for the next one. But the loop over the
    /// results stands still meanwhile. So an iterator that gets its items from that loop needs a window of no more
    /// items than it can give before the loop gives it others; with 1, each item may come of the result before it:
    ///
    /// ```
    /// # let pool = rankpool::Executor::builder().mode(rankpool::Mode::Serial).start()?;
    /// let (next, items) = std::sync::mpsc::channel();
    /// next.send(27u64).unwrap();
    /// let mut next = Some(next);
    /// let step = |n: u64| if n % 2 == 0 { n / 2 } else { 3 * n + 1 };
    /// let mut steps = 0;
    /// for result in pool.call(step).window(1).stream(items)? {
    ///     steps += 1;
    ///     match result? {
    ///         1 => next = None, // Ends the iterator.
    ///         n => next.as_ref().unwrap().send(n).unwrap(),
    ///     }
    /// }
    /// assert_eq!(steps, 111);
    /// # Ok::<(), rankpool::Error>(())
    /// ```
    ///
    /// Where each result may give any number of new tasks, [`submit`](Call::submit) them.
    ///
    /// # Errors
    /// When the call is refused. The stream yields the results before the first failure, then the
    /// failure, then ends; with [`keep_going`](Call::keep_going) it goes on.
    pub fn stream<I>(self, items: I) -> Result<Stream<'p, I::IntoIter, T::Value>, Error>
    where
        I: IntoIterator<Item = T::Item>,
    {
        let flow = self.flow(items.into_iter(), entry::<T>(), true, Taste::AsTheyCome)?;
        Ok(Stream::new(flow, self.options.label))
    }

    /// Runs the function over the items and yields each result with its index, in the order in
    /// which they end.
    ///
    /// # Errors
    /// As [`stream`](Call::stream).
    pub fn unordered<I>(self, items: I) -> Result<Unordered<'p, I::IntoIter, T::Value>, Error>
    where
        I: IntoIterator<Item = T::Item>,
    {
        let flow = self.flow(items.into_iter(), entry::<T>(), false, Taste::AsTheyCome)?;
        Ok(Unordered::new(flow, self.options.label))
    }

    /// Makes sure that the call can be run, over `tasks` items if that is known.
    ///
    /// # Errors
    /// When an option cannot be honoured.
    pub(crate) fn check(&self, tasks: Option<u64>) -> Result<(), Error> {
        self.work(entry::<T>())?;
        self.options.spec(true, tasks).map(drop)
    }

    /// Tells the watch of outcomes as soon as they are known.
    pub(crate) fn announce(mut self, announce: bool) -> Self {
        self.options.announce = announce;
        self
    }

    /// Runs the function over the items that are not in `skip`, and yields what came of them as it is on
    /// the wire, in the order in which tasks end.
    ///
    /// # Errors
    /// As [`stream`](Call::stream).
    pub(crate) fn pieces<I>(
        self,
        items: I,
        skip: crate::task_set::TaskSet,
        barriers: Barriers,
        ordered: bool,
    ) -> Result<super::Pieces<'p, I::IntoIter>, Error>
    where
        I: IntoIterator<Item = T::Item>,
    {
        let flow = self.flow(items.into_iter(), entry::<T>(), ordered, Taste::AsTheyCome)?;
        Ok(super::Pieces(flow.without(skip).with_barriers(barriers), PhantomData))
    }

    /// Runs the function over all items and folds the results with `combine`, left before right.
    /// `None` without items.
    ///
    /// The fold runs along a tree that is fixed by the task indices: two neighbours, then two
    /// pairs, and so on. An operation that is associative only nearly, such as the sum of
    /// floating-point numbers, gives the same bits in every mode, at any worker count and chunk
    /// size. Workers combine what they can: rank 0 receives at most 2 log2(n) values for n tasks.
    ///
    /// # Errors
    /// The failure of the first task that failed; a panic in `combine` is a failure of its tasks.
    pub fn reduce<C>(
        self,
        combine: C,
        items: impl IntoIterator<Item = T::Item>,
    ) -> Result<Option<T::Value>, Error>
    where
        C: Fn(T::Value, T::Value) -> T::Value + Copy + Send + 'static,
    {
        self.needs_no_journal("reduce", "the workers fold them: fold the results of map or stream instead")?;
        let entry: EntryPoint = run_chunk::<T, Fold<T::Value, C>>;
        let mut flow = self.flow(items.into_iter(), entry, true, Taste::Everything)?;
        let mut nodes = Vec::new();
        while let Some(piece) = flow.next_piece()? {
            let start = piece.start;
            let failed = |failure: Failure| self.named(failure.at_task(start));
            let batch = piece.outcome.map_err(failed)?;
            for k in 0..batch.len() {
                let node: Node<T::Value> =
                    batch.decode(k).map_err(|error| self.named(undecodable(start, &error)))?;
                catch(|| append(&mut nodes, node, combine)).map_err(failed)?;
            }
        }
        let folded = catch(|| {
            nodes.into_iter().map(|node| node.value).rev().reduce(|right, left| combine(left, right))
        });
        folded.map_err(|failure| self.named(failure.at_task(0)).into())
    }

    /// Runs the function on one item, in its own time.
    ///
    /// # Errors
    /// When the call is refused; what becomes of the task, its item's encoding included, is the
    /// future's to tell.
    pub fn submit(self, item: T::Item) -> Result<Future<T::Value>, Error> {
        self.needs_no_journal("submit", "it has one task alone: take map, stream or unordered")?;
        if self.options.progress {
            return Err(self.options.refused("submit shows no progress, since it has one task alone"));
        }
        let mut items = BatchBuilder::default();
        let mut scattered = Originals::new();
        let pushed = noting(&*self.pool.shared, &mut scattered, || catch(|| items.push(&item)));
        let work = self.work(entry::<T>())?;
        let spec = self.options.spec(true, Some(1))?;
        let shared = &self.pool.shared;
        let (call, index) = (shared.new_call(), shared.new_task());
        let spec = CallSpec { first: index, chunk: Chunk::Fixed(1), ..spec };
        let cell = Cell::new(shared, call, index, self.options.label);
        let unsent = match pushed {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Failure::new(FailureKind::Codec, format!("the item {error}"))),
            Err(failure) => Some(failure),
        };
        if let Some(failure) = unsent {
            cell.settle(Err(failure));
            return Ok(Future::new(cell));
        }
        let items = Items::single(index, items.finish());
        let open = OpenCall::new(work, Answer(cell.clone()), items, scattered);
        shared.command(Command::Task { call, spec, open })?;
        Ok(Future::new(cell))
    }

    /// Refuses a journal for what has no results of its own to keep.
    fn needs_no_journal(&self, what: &str, why: &str) -> Result<(), Error> {
        match &self.options.journal {
            Some(_) => {
                Err(self.options.refused(&format!("{what} keeps no results in a journal, since {why}")))
            }
            None => Ok(()),
        }
    }

    /// The error under the name of this call.
    fn named(&self, error: TaskError) -> TaskError {
        error.labelled(self.options.label.as_ref())
    }

    fn work(&self, entry: EntryPoint) -> Result<Work, Error> {
        let mode = self.pool.mode();
        if self.options.task_timeout.is_some() && matches!(mode, Mode::Serial | Mode::Threads) {
            return Err(Error::usage(format!(
                "a task's time cannot be limited in mode {mode}, where a thread cannot be stopped; \
                 use mode processes, comm or pool"
            )));
        }
        let shared =
            self.shared.as_ref().map_err(|failure| Error::from(self.named(failure.clone().at_task(0))))?;
        Ok(Work {
            program: to_program(entry)?,
            shared: shared.clone(),
            stateful: size_of::<T::State>() > 0,
            seed: self.options.seed.unwrap_or(self.pool.shared.seed),
            limit_nanos: self.options.task_timeout.map_or(0, |limit| nanos(limit).max(1)),
            order: self.options.order.clone(),
        })
    }

    fn flow<I>(&self, items: I, entry: EntryPoint, ordered: bool, taste: Taste) -> Result<Flow<I>, Error>
    where
        I: Iterator<Item = T::Item>,
    {
        Flow::start(&self.pool.shared, &self.options, self.work(entry)?, ordered, taste, items)
    }
}

fn entry<T: Function>() -> EntryPoint {
    run_chunk::<T, Collect>
}

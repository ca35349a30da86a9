//! One map in flight, seen from the user's thread: items go in as the window allows, pieces come out.

use std::{
    collections::{BTreeMap, VecDeque},
    marker::PhantomData,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{
    Executor, Shared,
    command::{Answer, Command, OpenCall, Work},
    courier::{BLOCK_TIME, Filling, Tray},
    items::Items,
    lasting::Lasting,
    mailbox::Mailbox,
    options::CallOptions,
    outcome::STOPPED,
    progress,
    turns::Turns,
};
use crate::{
    error::{Error, ErrorKind, Failure, FailureKind},
    progress::Shown,
    scheduler::{CallId, CallSpec, End},
    task_set::TaskSet,
    wire::{Amount, Piece},
    worker::{Originals, catch, noting},
};

/// Items are handed over in blocks of about this size.
const BLOCK_BYTES: usize = 1 << 20;
const BLOCK_TASKS: usize = 1 << 13;
/// The scheduler is told of what was consumed when it is this part of the window, or when nothing else is there to do.
const TOLD_PART: u64 = 64;
/// An iterator that gives so many items in a row at this pace or faster, and promises as many more, is not expected
/// to pause: the tray is held while it works, since to let it go and take it again costs as much as such an item.
const STEADY: usize = 64;
const STEADY_PACE: Duration = Duration::from_micros(1);
/// A thread that collects everything anyway is woken for this many tasks at a time.
const COLLECT_TASKS: u64 = 1 << 12;

/// How the pieces are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taste {
    /// Each as soon as it is there.
    AsTheyCome,
    /// All of them, in the end.
    Everything,
}

/// A block of items that were sent off.
#[derive(Clone, Copy)]
struct FedBlock {
    /// How many tasks were fed with it and before.
    end: u64,
    bytes: u64,
}

pub(super) struct Flow<I> {
    shared: Arc<Shared>,
    call: CallId,
    mailbox: Arc<Mailbox>,
    taste: Taste,
    items: Option<I>,
    tray: Arc<Tray>,
    /// The iterator is not expected to pause.
    steady: bool,
    /// The last item but those of a steady iterator took long.
    slow: bool,
    /// Tasks that are not run.
    skip: TaskSet,
    barriers: Barriers,
    /// How far it is, until it is over.
    shown: Option<Shown>,
    /// The journal of a map that lasts.
    lasting: Option<Box<Lasting>>,
    window_tasks: u64,
    window_bytes: u64,
    deadline: Option<(Instant, Duration)>,
    pulled: u64,
    /// Of them, those that are not run.
    skipped: u64,
    /// Fed blocks that are not used up.
    fed: VecDeque<FedBlock>,
    fed_tasks: u64,
    fed_bytes: u64,
    arrived: VecDeque<Piece>,
    /// Where tasks do not begin in the order of their items.
    turns: Option<Turns>,
    taken: u64,
    /// The piece that the user has now: its tasks and bytes are consumed when it asks for the next.
    in_use: Amount,
    /// What was consumed and the scheduler has not been told yet.
    untold: Amount,
    unencodable: BTreeMap<u64, Failure>,
    end: Option<End>,
    /// The limit, once the time is over.
    late: Option<Duration>,
    pub(super) keep_going: bool,
}

impl<I> Flow<I>
where
    I: Iterator,
    I::Item: Serialize,
{
    pub(super) fn start(
        shared: &Arc<Shared>,
        options: &CallOptions,
        work: Work,
        ordered: bool,
        taste: Taste,
        items: I,
    ) -> Result<Flow<I>, Error> {
        let (least, most) = items.size_hint();
        let known = most.filter(|most| *most == least).map(|most| most as u64);
        let spec = options.spec(ordered, known)?;
        let lasting = match &options.journal {
            Some(keeping) => Some(Box::new(Lasting::open(options, keeping, work.seed, ordered, known)?)),
            None => None,
        };
        let call = shared.new_call();
        let mailbox = Arc::new(Mailbox::default());
        let CallSpec { window_tasks, window_bytes, stop_at_error, .. } = spec;
        let turns = options.order.clone().map(|order| Turns::new(order, ordered, stop_at_error));
        let mut open = OpenCall::new(work, Answer(mailbox.clone()), Items::default(), Originals::new());
        open.kept = lasting.as_ref().map(|lasting| lasting.kept());
        let skip = lasting.as_ref().map(|lasting| lasting.skip()).unwrap_or_default();
        let shown = options.progress.then(|| {
            let passed = open.passed.insert(Arc::default()).clone();
            let total = known.map(|known| known.saturating_sub(skip.len()));
            progress::shown(shared, options.label.as_deref().unwrap_or("map"), total, passed)
        });
        shared.command(Command::Map { call, spec, open })?;
        Ok(Flow {
            shared: shared.clone(),
            call,
            mailbox,
            taste,
            items: Some(items),
            tray: shared.tray(call),
            steady: false,
            slow: false,
            skip,
            shown,
            barriers: Barriers::default(),
            lasting,
            window_tasks,
            window_bytes,
            deadline: options.time_limit.and_then(|limit| Some((Instant::now().checked_add(limit)?, limit))),
            pulled: 0,
            skipped: 0,
            fed_tasks: 0,
            fed: VecDeque::new(),
            fed_bytes: 0,
            arrived: VecDeque::new(),
            turns,
            taken: 0,
            in_use: Amount::default(),
            untold: Amount::default(),
            unencodable: BTreeMap::new(),
            end: None,
            late: None,
            keep_going: !stop_at_error,
        })
    }

    /// Leaves these tasks out: their items are pulled and dropped.
    pub(super) fn without(mut self, skip: TaskSet) -> Self {
        self.skip = skip;
        self
    }

    pub(super) fn with_barriers(mut self, barriers: Barriers) -> Self {
        self.barriers = barriers;
        self
    }

    /// The next piece; `None` when the map is over, be it at its end or at a failure.
    ///
    /// # Errors
    /// When the map cannot go on, or its time is over.
    pub(super) fn next_piece(&mut self) -> Result<Option<Piece>, Error> {
        loop {
            if let Poll::Ready(next) = self.poll_piece(None)? {
                return Ok(next);
            }
        }
    }

    /// As [`next_piece`](Flow::next_piece), waiting until `until` at most where it is given.
    ///
    /// # Errors
    /// As [`next_piece`](Flow::next_piece).
    pub(super) fn poll_piece(&mut self, until: Option<Instant>) -> Result<Poll<Option<Piece>>, Error> {
        loop {
            self.consumed();
            if self.untold.tasks >= self.window_tasks.div_ceil(TOLD_PART)
                || self.untold.bytes >= self.window_bytes.div_ceil(TOLD_PART)
            {
                self.tell_consumed()?;
            }
            if let Some(piece) = self.kept_piece()? {
                return Ok(Poll::Ready(Some(piece)));
            }
            if let Some(piece) = self.turns.as_mut().and_then(Turns::next) {
                return Ok(Poll::Ready(Some(self.passed(piece))));
            }
            if let Some(piece) = self.arrived.pop_front() {
                let piece = self.without_stand_ins(piece);
                match &mut self.turns {
                    Some(turns) => turns.put(&piece),
                    None => return Ok(Poll::Ready(Some(self.passed(piece)))),
                }
                continue;
            }
            if let Some(limit) = self.late {
                let done = self.taken + self.given();
                return Err(Error::not_done_in(limit, done, self.known_tasks() - done));
            }
            match self.end {
                None => {}
                Some(End::Done | End::Stopped) => {
                    self.shown.take();
                    self.lasting.take().map_or(Ok(()), |lasting| lasting.finish())?;
                    return Ok(Poll::Ready(None));
                }
                Some(End::Cancelled) => {
                    return Err(Error::new(ErrorKind::Cancelled, "the executor was shut down"));
                }
                Some(End::Deserted) => return Err(self.shared.deserted()),
                Some(End::Drained) => return Err(Error::new(ErrorKind::Stopped, STOPPED)),
            }
            self.tell_consumed()?;
            self.feed()?;
            let limit = self.deadline.map(|(at, _)| at);
            let (arrived, end) = self.mailbox.take(self.wanted(), limit.into_iter().chain(until).min());
            if let Some((at, limit)) = self.deadline
                && end.is_none()
                && Instant::now() >= at
            {
                // What is here is still given out; nothing else will be.
                self.late = Some(limit);
                self.cancel();
                self.arrived = arrived;
                continue;
            }
            (self.arrived, self.end) = (arrived, end);
            let nothing = self.arrived.is_empty() && self.end.is_none();
            if nothing && until.is_some_and(|until| Instant::now() >= until) {
                return Ok(Poll::Pending);
            }
        }
    }

    /// What a journal knows and has its turn.
    fn kept_piece(&mut self) -> Result<Option<Piece>, Error> {
        let Some(lasting) = &self.lasting else { return Ok(None) };
        lasting.wait_for_room()?;
        if !lasting.has_turn() {
            return Ok(None);
        }
        if self.end.is_none() {
            // While the user looks at what was known, the workers are at what was not.
            self.tell_consumed()?;
            self.feed()?;
        }
        let piece = self.lasting.as_mut().map_or(Ok(None), |lasting| lasting.take())?;
        if let (Some(turns), Some(piece)) = (&mut self.turns, &piece) {
            turns.pass(piece.start + piece.count);
        }
        Ok(piece)
    }

    /// The piece, which is given to the user now.
    fn passed(&mut self, piece: Piece) -> Piece {
        if let Some(lasting) = &mut self.lasting {
            lasting.passed(&piece);
        }
        piece
    }

    /// Tasks whose outcomes a journal has given.
    fn given(&self) -> u64 {
        self.lasting.as_ref().map_or(0, |lasting| lasting.given)
    }

    /// The piece, up to the first task whose item could not be encoded, or that task alone: whatever came of
    /// what was sent in its place, it has failed.
    fn without_stand_ins(&mut self, mut piece: Piece) -> Piece {
        let end = piece.start + piece.count;
        let failed = self.unencodable.range(piece.start..end).next();
        let failed = failed.map(|(&task, failure)| (task, failure.clone()));
        if let (Some((task, _)), Ok(batch)) = (&failed, &piece.outcome)
            && batch.len() as u64 == piece.count
        {
            let next = if *task == piece.start { task + 1 } else { *task };
            let cut = (next - piece.start) as usize;
            if next < end {
                let rest = Ok(batch.slice(cut, batch.len()));
                self.arrived.push_front(Piece { start: next, count: end - next, outcome: rest });
            }
            piece = Piece { start: piece.start, count: next - piece.start, outcome: Ok(batch.slice(0, cut)) };
        }
        self.barriers.a_task_failed |= piece.outcome.is_err();
        // What it weighs is what the scheduler counted, whatever the user sees.
        self.in_use = piece.amount();
        if let Some((_, failure)) = failed.filter(|(task, _)| *task < piece.start + piece.count) {
            piece.outcome = Err(failure);
        }
        piece
    }

    /// All tasks, as far as they are known: those pulled, and those that an iterator of known
    /// length still has.
    pub(super) fn known_tasks(&self) -> u64 {
        let left = self.items.as_ref().map_or((0, Some(0)), Iterator::size_hint);
        let known = if left.1 == Some(left.0) { left.0 as u64 } else { 0 };
        self.pulled + known
    }

    /// How much is worth being woken for.
    fn wanted(&self) -> Amount {
        let outstanding = self.pulled - self.skipped - self.taken;
        let tasks = match self.taste {
            Taste::AsTheyCome => 1,
            Taste::Everything if self.items.is_some() => outstanding.div_ceil(2),
            Taste::Everything => outstanding,
        };
        Amount { tasks: tasks.clamp(1, COLLECT_TASKS), bytes: (self.window_bytes / 4).max(1) }
    }

    fn consumed(&mut self) {
        let consumed = std::mem::take(&mut self.in_use);
        self.taken += consumed.tasks;
        while let Some(FedBlock { end, bytes }) = self.fed.front().copied()
            && end <= self.taken
        {
            self.fed.pop_front();
            self.fed_bytes -= bytes;
        }
        self.untold += consumed;
    }

    fn tell_consumed(&mut self) -> Result<(), Error> {
        let Amount { tasks, bytes } = std::mem::take(&mut self.untold);
        if tasks > 0 && self.end.is_none() {
            self.shared.command(Command::Consumed { call: self.call, tasks, bytes })?;
        }
        Ok(())
    }

    /// Pulls items while the window has room, block by block, until results are there. What was pulled is sent while
    /// the iterator works on the next item, if that takes long: see [`Tray`].
    fn feed(&mut self) -> Result<(), Error> {
        if self.slow && !self.mailbox.is_empty() {
            return Ok(()); // The results need not wait for another slow item.
        }
        let Some(mut items) = self.items.take() else {
            return Ok(());
        };
        let tray = self.tray.clone();
        let mut closed = false;
        while !closed {
            let mut block = tray.hold();
            block.began = Instant::now();
            let (mut count, mut size) = (0, 0);
            let may_pull = self.room();
            closed = may_pull.is_none();
            let mut room = may_pull.unwrap_or(0);
            self.slow = false;
            while room > 0 && count < BLOCK_TASKS && size < BLOCK_BYTES {
                // At least one task is always let through, whatever its size.
                if self.pulled > self.taken + self.skipped
                    && self.fed_bytes + size as u64 >= self.window_bytes
                {
                    break;
                }
                if let Some((start, end)) = self.skip.run_at(self.pulled) {
                    if count > 0 {
                        break;
                    }
                    // What a journal knows is in the window until it is given out.
                    let most = if self.lasting.is_some() { room.min(end - start) } else { end - start };
                    let found =
                        items.by_ref().take(usize::try_from(most).unwrap_or(usize::MAX)).count() as u64;
                    self.pulled += found;
                    self.skipped += found;
                    self.shared.command(Command::Skip { call: self.call, tasks: found })?;
                    if found < most {
                        closed = self.counted()?;
                        break;
                    }
                    let may_pull = self.room();
                    closed = may_pull.is_none();
                    room = may_pull.unwrap_or(0);
                    continue;
                }
                let item = if self.steady {
                    items.next()
                } else {
                    if count > 0 {
                        self.shared.courier().wake();
                    }
                    drop(block);
                    let item = items.next();
                    block = tray.hold();
                    item
                };
                if block.items.len() < count {
                    // The courier has been here.
                    self.sent(count, size);
                    (count, size, self.slow) = (0, 0, true);
                }
                let Some(item) = item else {
                    closed = self.counted()?;
                    break;
                };
                self.lasting.as_ref().map_or(Ok(()), |lasting| lasting.one_more(self.pulled))?;
                let Filling { items: batch, scattered, .. } = &mut *block;
                let pushed = noting(&*self.shared, scattered, || catch(|| batch.push(&item)));
                let encoded = pushed.and_then(|pushed| {
                    pushed.map_err(|error| Failure::new(FailureKind::Codec, format!("the item {error}")))
                });
                if let Err(failure) = encoded {
                    self.unencodable.insert(self.pulled, failure);
                    block.items.push_hole();
                }
                (count, size) = (block.items.len(), block.items.size());
                self.pulled += 1;
                room -= 1;
                let looks = count.is_multiple_of(STEADY) || count.is_power_of_two();
                self.slow |= looks && block.began.elapsed() > BLOCK_TIME;
                if self.slow || self.steady && tray.is_wanted() {
                    self.steady = false;
                    break;
                }
                if count.is_multiple_of(STEADY) {
                    let quick = block.began.elapsed() < STEADY_PACE * count as u32;
                    self.steady = quick && items.size_hint().0 >= STEADY;
                }
            }
            if count > 0 {
                tray.send(&mut block)?;
            }
            drop(block);
            if count == 0 {
                break;
            }
            self.sent(count, size);
            let has_turn = || self.lasting.as_ref().is_some_and(|lasting| lasting.has_turn());
            if !self.mailbox.is_empty() || (self.slow && has_turn()) {
                break;
            }
        }
        if closed {
            self.shared.command(Command::Close { call: self.call })?;
        } else {
            self.items = Some(items);
        }
        Ok(())
    }

    /// Pulls no more than this many items beyond the last result that was taken.
    pub(super) fn pull_ahead(&mut self, tasks: u64) {
        self.window_tasks = tasks.max(1);
    }

    /// How many tasks may be pulled now; `None` where the map is over.
    fn room(&mut self) -> Option<u64> {
        let (used, enough) = match &self.lasting {
            Some(lasting) => (self.taken + lasting.given, lasting.enough),
            None => (self.taken + self.skipped, u64::MAX),
        };
        let window = used.saturating_add(self.window_tasks).min(enough).saturating_sub(self.pulled);
        self.barriers.room(self.pulled, used).map(|room| room.min(window))
    }

    /// All items have been pulled: true, or why that cannot be all of them.
    fn counted(&mut self) -> Result<bool, Error> {
        self.lasting.as_mut().map_or(Ok(()), |lasting| lasting.counted(self.pulled)).map(|()| true)
    }

    /// A block has left.
    fn sent(&mut self, tasks: usize, bytes: usize) {
        self.fed_tasks += tasks as u64;
        self.fed_bytes += bytes as u64;
        self.fed.push_back(FedBlock { end: self.fed_tasks, bytes: bytes as u64 });
    }
}

impl<I> Flow<I> {
    fn cancel(&mut self) {
        if self.end.is_none() {
            self.end = Some(End::Cancelled);
            // An executor that has ended has nothing to cancel.
            let _ = self.shared.command(Command::Cancel { call: self.call });
        }
    }
}

impl<I> Drop for Flow<I> {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// Places in a map where it waits until all earlier tasks have ended.
#[derive(Debug, Default)]
pub(crate) struct Barriers {
    /// For each place, the first task behind it, and whether all earlier tasks must have ended well; the next place is
    /// the last one here.
    places: Vec<(u64, bool)>,
    /// The first task that failed in an earlier run
    known_failure: Option<u64>,
    /// A task has failed in this run. Only tasks before the next barrier have begun, so it counts there.
    a_task_failed: bool,
}

impl Barriers {
    /// Barriers before these tasks; `known_failure` is the first task that has failed in an earlier run.
    pub(crate) fn new(mut places: Vec<(u64, bool)>, known_failure: Option<u64>) -> Barriers {
        places.sort_unstable_by(|a, b| b.cmp(a));
        Barriers { places, known_failure, a_task_failed: false }
    }

    /// How many tasks may be begun when `pulled` were and `ended` of them have ended; `None` where the map is over.
    fn room(&mut self, pulled: u64, ended: u64) -> Option<u64> {
        while let Some(&(before, check)) = self.places.last() {
            if before > pulled {
                return Some(before - pulled);
            }
            if ended < pulled {
                return Some(0);
            }
            let failed = self.a_task_failed || self.known_failure.is_some_and(|task| task < before);
            if check && failed {
                return None;
            }
            self.places.pop();
        }
        Some(u64::MAX)
    }
}

/// What comes of the tasks of a map, as it is on the wire.
pub(crate) struct Pieces<'p, I>(pub(super) Flow<I>, pub(super) PhantomData<&'p Executor>);

impl<I> Pieces<'_, I>
where
    I: Iterator,
    I::Item: Serialize,
{
    /// The next piece; `None` when the map is over.
    ///
    /// # Errors
    /// When the map cannot go on.
    pub(crate) fn next(&mut self) -> Result<Option<Piece>, Error> {
        self.0.next_piece()
    }

    /// Tasks whose items have been pulled, those left out included; all of them when the map is over.
    pub(crate) fn pulled(&self) -> u64 {
        self.0.pulled
    }
}

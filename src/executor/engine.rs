//! The engine's thread: carries events from the fabric and the user to the scheduler, and
//! actions back. It owns the fabric, and with it everything that MPI is told.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, OnceLock, mpsc},
    thread,
    time::{Duration, Instant},
};

use rustc_hash::FxHashMap;

use super::{
    command::{Command, Farewell, OpenCall},
    items::Items,
    outbox::Outbox,
    progress::{Progress, Share, Tally},
    watch::{Happening, Held, Span, Watching},
};
use crate::{
    error::{Error, Failure},
    fabric::{Ending, Expecting, Fabric, Idle, News, Pause, Woken, WorkerInfo, sleep_exactly},
    launch,
    scheduler::{Action, CallId, Dispatch, Event, Scheduler, WorkerId},
    sync::lock,
    wire::{ChunkMessage, Pieces, ResultMessage, SlotRun, TeamNews, ToWorker},
};

/// Commands that are obeyed in one round, so that a flood of them does not keep results waiting.
const COMMANDS_AT_A_TIME: usize = 256;

/// So many calls at a time are a burst: about 10 MB.
const BURST: usize = 10_000;

/// The memory of a burst is given back after this time without work, in which its results are likely to be dropped.
const QUIET: Duration = Duration::from_millis(500);

pub(super) struct Engine {
    commands: mpsc::Receiver<Command>,
    fabric: Box<dyn Fabric>,
    scheduler: Scheduler,
    calls: FxHashMap<CallId, Box<OpenCall>>,
    /// The workers that have a shared value, by its number.
    shared: FxHashMap<u64, BTreeSet<u32>>,
    /// There was a burst of calls, whose memory has not been given back yet.
    burst: bool,
    workers: HashMap<u32, WorkerInfo>,
    progress: Arc<Mutex<Progress>>,
    /// What was done and is not in `progress` yet.
    tally: Tally,
    outbox: Outbox,
    actions: Vec<Action>,
    farewell: Option<(Farewell, Instant)>,
    /// Who is told when all is done.
    resting: Option<mpsc::Sender<Vec<WorkerInfo>>>,
    idle: Idle,
    cost_nanos: f64,
    returned: u32,
    began: Instant,
    watching: Option<Watching>,
    /// When each chunk that is with a worker was sent, while somebody watches.
    sent: HashMap<u64, Instant>,
    /// How long a drain waits for what runs.
    drain_until: Option<Instant>,
    /// Why nothing moves any more.
    broken: Option<Error>,
    reason: Reason,
}

/// Why the fabric broke, for those who ask why nobody works.
pub(super) type Reason = Arc<OnceLock<String>>;

impl Engine {
    pub(super) fn new(
        commands: mpsc::Receiver<Command>,
        fabric: Box<dyn Fabric>,
        workers: &[WorkerInfo],
        spin: bool,
        progress: Arc<Mutex<Progress>>,
        reason: Reason,
    ) -> Engine {
        // Commands and lifelines wake it in any case.
        let woken = if fabric.wakes() { Woken::Always } else { Woken::FromDeepSleep };
        let idle = Idle::new(spin).woken(woken);
        let mut engine = Engine {
            commands,
            fabric,
            scheduler: Scheduler::new(),
            calls: FxHashMap::default(),
            shared: FxHashMap::default(),
            burst: false,
            workers: HashMap::new(),
            progress,
            tally: Tally::default(),
            outbox: Outbox::default(),
            actions: Vec::new(),
            farewell: None,
            resting: None,
            idle,
            cost_nanos: 2_000.0,
            returned: 0,
            began: Instant::now(),
            watching: None,
            sent: HashMap::new(),
            drain_until: None,
            broken: None,
            reason,
        };
        workers.iter().for_each(|info| engine.joined(info.clone()));
        engine
    }

    /// Runs until the executor has said farewell and the workers are left.
    ///
    /// # Errors
    /// When the fabric broke; every call has then ended as deserted, and the user has had the time to say so.
    pub(super) fn run(mut self) -> Result<(), Error> {
        let mut news = Vec::new();
        sleep_exactly();
        loop {
            let began = Instant::now();
            self.scheduler.set_now((began - self.began).as_nanos() as u64);
            let mut moved = self.take_commands();
            if self.broken.is_none() {
                match self.fabric.poll(&mut news) {
                    Ok(any) => moved |= any,
                    Err(error) => self.broke(error),
                }
            }
            news.drain(..).for_each(|item| self.on_news(item));
            self.check_deserted();
            if self.due().is_some_and(|due| due <= began) {
                self.tell(Event::Tick);
            }
            if self.drain_until.take_if(|until| *until <= began).is_some() {
                self.tell(Event::TimeOver);
            }
            self.deliver();
            self.fabric.flush();
            if moved {
                self.idle.reset();
                self.measure(began);
                continue;
            }
            if let Some(ending) = self.ending() {
                return self.end(ending);
            }
            self.rest();
            match self.idle.next(self.expecting()) {
                Pause::Spin => std::hint::spin_loop(),
                Pause::Yield => thread::yield_now(),
                Pause::Sleep(time) => {
                    lock(&self.progress).busy = self.scheduler.busy();
                    self.give_back_memory();
                    let left = self.due().map(|due| due.saturating_duration_since(Instant::now()));
                    thread::park_timeout(left.map_or(time, |left| left.min(time)));
                }
            }
        }
    }

    fn expecting(&self) -> Expecting {
        match () {
            () if self.scheduler.runs_dry() || self.fabric.expected() > 0 => Expecting::Soon,
            () if self.scheduler.in_flight() > 0 => Expecting::Unhurried,
            () => Expecting::Nothing,
        }
    }

    /// When the scheduler wants to be told that time has passed.
    fn due(&self) -> Option<Instant> {
        self.scheduler.next_due().map(|nanos| self.began + Duration::from_nanos(nanos))
    }

    /// Updates the measured cost of a chunk after a round of the loop.
    fn measure(&mut self, began: Instant) {
        if self.returned > 0 {
            let cost = began.elapsed().as_nanos() as f64 / f64::from(self.returned);
            self.cost_nanos += (cost - self.cost_nanos) / 16.0;
            self.scheduler.set_cost(self.cost_nanos);
            self.returned = 0;
        }
    }

    /// Nothing moves any more. What is open ends as deserted; the workers are left when the user has heard of it and
    /// says farewell, since a launcher may end this process as soon as the first of them leaves.
    fn broke(&mut self, error: Error) {
        tracing::error!("{error}");
        // It breaks once.
        let _ = self.reason.set(error.to_string());
        self.broken = Some(error);
        self.resting = None;
        self.tell(Event::Deserted);
        let workers: Vec<u32> = self.workers.drain().map(|(rank, _)| rank).collect();
        workers.into_iter().for_each(|rank| self.tell(Event::Lost { worker: WorkerId(rank) }));
    }

    /// Tells whoever waits for it that all is done.
    fn rest(&mut self) {
        if self.scheduler.is_done()
            && let Some(rested) = self.resting.take()
        {
            self.watching = None;
            let mut workers: Vec<_> = self.workers.values().cloned().collect();
            workers.sort_unstable_by_key(|worker| worker.rank);
            // Whoever waited may have given up.
            let _ = rested.send(workers);
        }
    }

    /// Leaves the workers, and ends the program if it is to end with a code.
    fn end(&mut self, ending: Ending) -> Result<(), Error> {
        let code = self.farewell.and_then(|(farewell, _)| farewell.code);
        if let Some(code) = code.filter(|code| *code != 0) {
            launch::leave_code(code);
        }
        let ended = self.fabric.end(ending);
        if let Some(code) = code {
            launch::end_run(code);
        }
        self.broken.take().map_or(ended, Err)
    }

    fn ending(&self) -> Option<Ending> {
        let (farewell, since) = self.farewell?;
        if self.broken.is_some() {
            return Some(Ending::Forced { code: farewell.code });
        }
        if self.scheduler.is_done() {
            return Some(Ending::Orderly { code: farewell.code });
        }
        let impatient = farewell.patience.is_some_and(|patience| since.elapsed() > patience);
        impatient.then_some(Ending::Forced { code: farewell.code })
    }

    fn take_commands(&mut self) -> bool {
        for taken in 0..COMMANDS_AT_A_TIME {
            match self.commands.try_recv() {
                Ok(command) => self.obey(command),
                Err(mpsc::TryRecvError::Empty) => return taken > 0,
                Err(mpsc::TryRecvError::Disconnected) => {
                    let farewell = Farewell { cancel: true, patience: None, code: None };
                    self.farewell.get_or_insert((farewell, Instant::now()));
                    return taken > 0;
                }
            }
        }
        true
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Map { call, spec, open } => {
                self.keep(call, open);
                self.tell(Event::Submitted { call, spec });
            }
            Command::Task { call, spec, open } => {
                let kind = open.work.program;
                self.keep(call, open);
                self.tell(Event::Assigned { call, spec, tasks: 1, kind });
            }
            Command::Feed { call, items, scattered } => {
                let tasks = items.len() as u64;
                if let Some(open) = self.calls.get_mut(&call) {
                    open.items.feed(items);
                    open.scattered.extend(scattered);
                    self.tell(Event::Fed { call, tasks });
                }
            }
            Command::Skip { call, tasks } => {
                if let Some(open) = self.calls.get_mut(&call) {
                    open.items.skip(tasks);
                    self.tell(Event::Skipped { call, tasks });
                }
            }
            Command::Close { call } => self.tell(Event::Closed { call }),
            Command::Consumed { call, tasks, bytes } => self.tell(Event::Consumed { call, tasks, bytes }),
            Command::Cancel { call } => self.tell(Event::Cancelled { call }),
            Command::Dropped { number } => {
                for rank in self.shared.remove(&number).unwrap_or_default() {
                    self.fabric.post(rank, ToWorker::Forget { number });
                }
            }
            Command::Watch(watching) => {
                self.watching = watching;
                self.sent.clear();
            }
            Command::Limit(at) => {
                let at = at.saturating_duration_since(self.began).as_nanos() as u64;
                self.tell(Event::Limited { at });
            }
            Command::Drain(until) => {
                self.drain_until = Some(until);
                if let Some(watching) = &mut self.watching {
                    watching.tell(Happening::Draining);
                }
                self.tell(Event::Drained);
            }
            Command::GiveUp => self.cancel(true),
            Command::Rest { cancel, rested } => {
                if cancel {
                    self.cancel(false);
                }
                self.resting = self.broken.is_none().then_some(rested);
            }
            Command::End(farewell) => {
                if farewell.cancel {
                    self.cancel(farewell.patience.is_some());
                }
                self.farewell = Some((farewell, Instant::now()));
            }
        }
    }

    /// Cancels all calls. A task that has started is waited for, unless there is no time.
    fn cancel(&mut self, by_force: bool) {
        let mut open: Vec<CallId> = self.calls.keys().copied().collect();
        open.sort_unstable();
        for call in open {
            let started = self.calls.get(&call).is_some_and(|open| open.started);
            if by_force || !started {
                self.tell(Event::Cancelled { call });
            }
        }
    }

    fn keep(&mut self, call: CallId, open: Box<OpenCall>) {
        self.calls.insert(call, open);
        self.burst |= self.calls.len() >= BURST;
    }

    /// Gives the memory of a burst of calls back to the system when it is over and nothing has happened since.
    /// The allocator does not do it by itself: what is still in use lies between what is free.
    fn give_back_memory(&mut self) {
        if self.burst && self.scheduler.is_done() && self.idle.time() >= QUIET {
            self.burst = false;
            self.scheduler.give_back_memory();
            self.calls.shrink_to_fit();
            launch::give_back_freed_memory();
        }
    }

    fn on_news(&mut self, news: News) {
        match news {
            News::Joined(info) => self.joined(info),
            News::Requested { rank, free, heard } => {
                self.tell(Event::Requested { worker: WorkerId(rank), free, heard });
            }
            News::Returned { rank, result } => self.returned(WorkerId(rank), result, true),
            News::Partial { rank, result } => self.returned(WorkerId(rank), result, false),
            News::Lost { rank, reason } => {
                if let Some(info) = self.workers.remove(&rank) {
                    tracing::warn!("worker {rank} on {} (pid {}) was lost: {reason}", info.host, info.pid);
                    self.lost(&info, &reason);
                    self.tell(Event::Lost { worker: WorkerId(rank) });
                }
            }
            News::Team { rank, news } => self.on_team(rank, news),
            News::Overdue { rank, dispatch, task, limit } => {
                if let Some(info) = self.workers.remove(&rank) {
                    let call = self.scheduler.call_of(WorkerId(rank), dispatch);
                    let index = call.map_or(task, |call| self.index(call, task));
                    let reason = format!("given up: task {index} runs longer than {limit:?}");
                    tracing::warn!("worker {rank} is {reason}");
                    self.lost(&info, &reason);
                    self.fabric.give_up(rank);
                    let failure = Failure::timed_out(limit);
                    self.tell(Event::TimedOut { worker: WorkerId(rank), dispatch, task, failure });
                }
            }
        }
    }

    fn lost(&mut self, worker: &WorkerInfo, reason: &str) {
        for known_to in self.shared.values_mut() {
            known_to.remove(&worker.rank);
        }
        lock(&self.progress).lost += 1;
        let first = self.scheduler.first_of(WorkerId(worker.rank));
        if let Some(watching) = &mut self.watching {
            let held = |dispatch: &Dispatch| {
                let dispatched = *self.sent.get(&dispatch.epoch)? - watching.since;
                Some(Held { start: dispatch.start, count: dispatch.count, dispatched })
            };
            let chunk = first.and_then(held);
            watching.tell(Happening::Lost { worker, reason, chunk });
        }
    }

    fn joined(&mut self, info: WorkerInfo) {
        if let Some(watching) = &mut self.watching {
            watching.tell(Happening::Joined(&info));
        }
        lock(&self.progress).by_rank.insert(info.rank, Share::of(&info));
        let worker = WorkerId(info.rank);
        let (slots, width) =
            if info.children.is_empty() { (info.threads, 1) } else { (1, info.children.len() as u32) };
        let event = Event::Joined { worker, slots, width, host: info.host.clone() };
        self.workers.insert(info.rank, info);
        self.tell(event);
    }

    /// A chunk is back, as a `whole` or a part of it.
    fn returned(&mut self, worker: WorkerId, result: ResultMessage, whole: bool) {
        self.returned += 1;
        self.watch_returned(worker, &result, whole);
        let ResultMessage { dispatch, count, busy_nanos, overhead_nanos, .. } = result;
        let pieces = result.pieces.unwrap_or_else(|| {
            tracing::error!("worker {} sent a result that contradicts itself; it is run again", worker.0);
            Pieces::new()
        });
        if !pieces.is_empty() {
            self.tally.ran(worker.0, count);
        }
        self.tell(if whole {
            Event::Returned { worker, dispatch, pieces, busy_nanos, overhead_nanos }
        } else {
            Event::Partial { worker, dispatch, pieces, busy_nanos, overhead_nanos }
        });
    }

    fn watch_returned(&mut self, worker: WorkerId, result: &ResultMessage, whole: bool) {
        let dispatch = &result.dispatch;
        let sent = if whole { self.sent.remove(dispatch) } else { self.sent.get(dispatch).copied() };
        if let Some(watching) = &mut self.watching
            && let Some(sent) = sent
            && let Some(info) = self.workers.get(&worker.0)
        {
            spans_of(result, info, sent - watching.since, watching.since.elapsed())
                .for_each(|span| watching.tell(Happening::Returned(span)));
        }
    }

    /// Something has happened to the children of a leader.
    fn on_team(&mut self, rank: u32, news: TeamNews) {
        let Some(leader) = self.workers.get_mut(&rank) else { return };
        match news {
            TeamNews::Joined(child) => {
                if let Some(watching) = &mut self.watching {
                    watching.tell(Happening::ChildJoined { leader, child: &child });
                }
                leader.children.retain(|known| known.slot != child.slot);
                leader.children.push(child);
            }
            TeamNews::Lost { slot, pid, reason } => {
                let host = &leader.host;
                tracing::warn!("child {slot} of worker {rank} on {host} (pid {pid}) was lost: {reason}");
                lock(&self.progress).children_lost += 1;
                if let Some(watching) = &mut self.watching {
                    watching.tell(Happening::ChildLost { leader, slot, pid, reason: &reason });
                }
            }
            // It is lost as a worker.
            TeamNews::Disbanded { reason } => self.on_news(News::Lost { rank, reason }),
        }
    }

    fn check_deserted(&mut self) {
        let none_comes = || self.broken.is_some() || self.fabric.expected() == 0;
        if self.workers.is_empty() && !self.scheduler.is_done() && none_comes() {
            self.tell(Event::Deserted);
        }
    }

    /// Tells the scheduler, and does what it says.
    fn tell(&mut self, event: Event) {
        let mut actions = std::mem::take(&mut self.actions);
        self.scheduler.handle(event, &mut actions);
        let mut declined = Vec::new();
        for action in actions.drain(..) {
            self.act(action, &mut declined);
        }
        self.actions = actions;
        // A submitted task that was cancelled in the very moment of its dispatch.
        for dispatch in declined {
            self.tell(Event::Cancelled { call: dispatch.call });
            self.tell(Event::Returned {
                worker: dispatch.worker,
                dispatch: dispatch.epoch,
                pieces: Pieces::new(),
                busy_nanos: 0,
                overhead_nanos: 0,
            });
        }
    }

    fn act(&mut self, action: Action, declined: &mut Vec<Dispatch>) {
        match action {
            Action::Send(dispatch) => {
                let Some(open) = self.calls.get_mut(&dispatch.call) else {
                    return;
                };
                if !open.answer.0.try_start() {
                    declined.push(dispatch);
                    return;
                }
                let rank = dispatch.worker.0;
                if let Some(watching) = &mut self.watching {
                    self.sent.insert(dispatch.epoch, Instant::now());
                    let Dispatch { start, count, attempt, .. } = dispatch;
                    watching.tell(Happening::Dispatched { rank, start, count, attempt });
                }
                open.started = true;
                let mut shared = Vec::new();
                if open.shares() {
                    for value in open.shared() {
                        shared.push(value.number());
                        if self.shared.entry(value.number()).or_default().insert(rank) {
                            self.fabric.share(rank, value.number(), value.bytes());
                        }
                    }
                }
                let keeps = open.work.stateful;
                if keeps {
                    open.known_to.insert(rank);
                }
                let chunk = ChunkMessage {
                    call: dispatch.call.0,
                    dispatch: dispatch.epoch,
                    start: dispatch.start,
                    count: dispatch.count,
                    attempt: dispatch.attempt,
                    program: open.work.program,
                    seed: open.work.seed,
                    limit_nanos: open.work.limit_nanos,
                    share: dispatch.share,
                    keeps,
                    traced: self.watching.is_some(),
                    shared,
                    items: Some(open.items.slice(dispatch.start, dispatch.count)),
                };
                self.fabric.post(rank, ToWorker::Chunk(chunk));
            }
            Action::Revoke { worker, call, dispatch } => {
                self.fabric.post(worker.0, ToWorker::Revoke { call: call.0, dispatch });
            }
            Action::Emit { call, piece } => {
                let ended_well = piece.outcome.is_ok();
                let count = piece.count;
                if let (Some(watching), Err(failure)) = (&mut self.watching, &piece.outcome) {
                    watching.tell(Happening::Failed { task: piece.start, failure, last: true });
                }
                self.tally.ended(count, ended_well);
                if self.outbox.is_of_another(call) {
                    self.deliver();
                }
                self.outbox.put(call, piece);
            }
            Action::Announce { call, piece } => {
                if let Some(kept) = self.calls.get(&call).and_then(|open| open.kept.as_ref()) {
                    kept.take(piece);
                } else if let Some(watching) = &mut self.watching {
                    watching.tell(Happening::Known(piece));
                }
            }
            Action::Retry { call, task, failure } => {
                let task = self.index(call, task);
                tracing::debug!("{}; it will be tried again", failure.clone().at_task(task));
                if let Some(watching) = &mut self.watching {
                    watching.tell(Happening::Failed { task, failure: &failure, last: false });
                }
            }
            Action::Finished { call, end } => {
                self.deliver();
                if let Some(open) = self.calls.get_mut(&call) {
                    open.answer.0.finish(end);
                    open.items = Items::default();
                }
            }
            Action::Forget { call } => {
                if let Some(open) = self.calls.remove(&call) {
                    let forget = |rank: &u32| self.fabric.post(*rank, ToWorker::Forget { number: call.0 });
                    open.known_to.iter().for_each(forget);
                }
            }
        }
    }

    /// Hands out the outcomes that have gathered in this round; the progress is to have them by then.
    fn deliver(&mut self) {
        self.tally.publish(&self.progress);
        self.outbox.empty(|call, pieces| {
            if let Some(open) = self.calls.get_mut(&call) {
                pieces.iter().for_each(|piece| open.items.settled(piece.start, piece.count));
                if let Some(passed) = &open.passed {
                    pieces.iter().for_each(|piece| passed.count(piece));
                }
                open.answer.0.deliver(pieces);
            }
        });
    }

    /// The index of the task at this position of a call.
    fn index(&self, call: CallId, position: u64) -> u64 {
        let order = self.calls.get(&call).and_then(|open| open.work.order.as_ref());
        order.map_or(position, |order| order.index(position))
    }
}

/// When and where the tasks of a result were run: of a leader's, by each of its children.
fn spans_of<'r>(
    result: &'r ResultMessage,
    worker: &'r WorkerInfo,
    dispatched: Duration,
    ended: Duration,
) -> impl Iterator<Item = Span> + 'r {
    let own = SlotRun {
        slot: 0,
        pid: worker.pid,
        start: result.start,
        count: result.count,
        sent_ago: (ended - dispatched).as_nanos() as u64,
        ended_ago: 0,
        busy_nanos: result.busy_nanos,
        slowest: result.slowest,
        slowest_nanos: result.slowest_nanos,
    };
    let own = worker.children.is_empty().then_some(own);
    let ago = move |nanos| ended.saturating_sub(Duration::from_nanos(nanos));
    own.into_iter().chain(result.runs.iter().copied()).map(move |run| {
        let (dispatched, ended) = (ago(run.sent_ago), ago(run.ended_ago));
        Span {
            start: run.start,
            count: run.count,
            rank: worker.rank,
            slot: run.slot,
            pid: run.pid,
            dispatched,
            started: ended.saturating_sub(Duration::from_nanos(run.busy_nanos)).max(dispatched),
            ended,
            slowest: run.slowest,
            slowest_time: Duration::from_nanos(run.slowest_nanos),
        }
    })
}

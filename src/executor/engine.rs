//! The engine's thread: carries events from the fabric and the user to the scheduler, and
//! actions back. It owns the fabric, and with it everything that MPI is told.
//!
//! Here are its loop and its end. [`commands`] come from the user, [`news`] from the fabric, [`actions`] from the scheduler.

mod actions;
mod commands;
mod giving_up;
mod news;
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
    outbox::Outbox,
    progress::{Progress, Tally},
    watch::Watching,
};
use crate::{
    error::Error,
    fabric::{Ending, Expecting, Fabric, Idle, Pause, Woken, WorkerInfo, run_promptly, sleep_exactly},
    launch,
    scheduler::{Action, CallId, Event, Scheduler, WorkerId},
    sync::lock,
};

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
        if !self.fabric.works_here() {
            // A worker thread that wakes the engine soon waits, and its CPU is free then. An engine that took the CPU at
            // once would make a task on a single CPU take two thirds longer.
            run_promptly();
        }
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
}

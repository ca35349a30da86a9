//! What the user's thread wants done.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use super::Engine;
use crate::{
    executor::{
        command::{Command, Farewell, OpenCall},
        watch::Happening,
    },
    launch,
    scheduler::{CallId, Event},
    wire::ToWorker,
};

/// Commands that are obeyed in one round, so that a flood of them does not keep results waiting.
const COMMANDS_AT_A_TIME: usize = 256;

/// So many calls at a time are a burst: about 10 MB.
const BURST: usize = 10_000;

/// The memory of a burst is given back after this time without work, in which its results are likely to be dropped.
const QUIET: Duration = Duration::from_millis(500);

impl Engine {
    pub(super) fn take_commands(&mut self) -> bool {
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
            Command::GiveUp => {
                self.cancel(true);
                self.end_tasks();
            }
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
    pub(super) fn give_back_memory(&mut self) {
        if self.burst && self.scheduler.is_done() && self.idle.time() >= QUIET {
            self.burst = false;
            self.scheduler.give_back_memory();
            self.calls.shrink_to_fit();
            launch::give_back_freed_memory();
        }
    }
}

//! Items that were pulled and have not left yet, and the thread that takes them away when their iterator pauses.
//!
//! A user's thread pulls items and puts them on a [`Tray`]; a full tray leaves as a whole. But nobody knows how long
//! the next item takes: the iterator may wait for a sensor, for a line that somebody types, or for what the tasks of
//! earlier items do. So the tray is not held while the iterator works, and the [`Courier`] sends off what has lain
//! there for [`BLOCK_TIME`].

use std::{
    sync::{
        Arc, Mutex, MutexGuard, TryLockError, Weak,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

use super::{command::Command, has_ended};
use crate::{error::Error, scheduler::CallId, sync::lock, wire::BatchBuilder, worker::Originals};

/// Items of a slow iterator do not wait longer than this for their block to fill.
pub(super) const BLOCK_TIME: Duration = Duration::from_millis(2);

/// The items of one call that were pulled and have not left.
pub(super) struct Tray {
    call: CallId,
    commands: mpsc::Sender<Command>,
    engine: Thread,
    block: Mutex<Filling>,
    /// The courier found the tray held.
    wanted: AtomicBool,
}

/// A block of items that fills.
pub(super) struct Filling {
    pub(super) items: BatchBuilder,
    /// The scattered values in them.
    pub(super) scattered: Originals,
    /// When the first of them was asked for.
    pub(super) began: Instant,
}

impl Tray {
    pub(super) fn new(call: CallId, commands: mpsc::Sender<Command>, engine: Thread) -> Arc<Tray> {
        let (items, scattered) = Default::default();
        let block = Mutex::new(Filling { items, scattered, began: Instant::now() });
        Arc::new(Tray { call, commands, engine, block, wanted: AtomicBool::new(false) })
    }

    /// Holds the tray.
    pub(super) fn hold(&self) -> MutexGuard<'_, Filling> {
        lock(&self.block)
    }

    /// Whether the courier waits for whoever holds the tray; it is asked once.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed) && self.wanted.swap(false, Ordering::Relaxed)
    }

    /// Sends what lies there.
    ///
    /// # Errors
    /// When the executor has ended.
    pub(super) fn send(&self, block: &mut Filling) -> Result<(), Error> {
        let (items, scattered) = (block.items.finish(), std::mem::take(&mut block.scattered));
        let sent = self.commands.send(Command::Feed { call: self.call, items, scattered });
        self.engine.unpark();
        sent.map_err(|_| has_ended())
    }

    /// Sends what has lain there for too long. Returns how long until that may be so, if there is anything.
    fn look(&self) -> Option<Duration> {
        let mut block = match self.block.try_lock() {
            Ok(block) => block,
            Err(TryLockError::Poisoned(block)) => block.into_inner(),
            Err(TryLockError::WouldBlock) => {
                self.wanted.store(true, Ordering::Relaxed);
                return Some(BLOCK_TIME);
            }
        };
        if block.items.len() == 0 {
            return None;
        }
        let left = BLOCK_TIME.saturating_sub(block.began.elapsed());
        if left.is_zero() {
            // The thread that pulls hears of an end when it sends itself.
            let _ = self.send(&mut block);
            return None;
        }
        Some(left)
    }
}

/// Looks after the trays of an executor, on a thread of its own that sleeps while all are empty.
pub(super) struct Courier {
    rounds: Arc<Rounds>,
    thread: Option<Thread>,
}

#[derive(Default)]
struct Rounds {
    trays: Mutex<Vec<Weak<Tray>>>,
    asleep: AtomicBool,
    over: AtomicBool,
}

impl Courier {
    pub(super) fn start() -> Courier {
        let rounds = Arc::new(Rounds::default());
        let walk = rounds.clone();
        let started = thread::Builder::new().name("rankpool-courier".into()).spawn(move || walk.go());
        if let Err(error) = &started {
            tracing::warn!(
                "items of iterators that pause wait for more: no thread could be started: {error}"
            );
        }
        Courier { rounds, thread: started.ok().map(|handle| handle.thread().clone()) }
    }

    /// Looks after this tray until it is dropped.
    pub(super) fn look_after(&self, tray: &Arc<Tray>) {
        let mut trays = self.rounds.trays();
        if trays.len() == trays.capacity() {
            trays.retain(|tray| tray.strong_count() > 0);
        }
        trays.push(Arc::downgrade(tray));
    }

    /// Something lies on a tray whose iterator is about to work. To be called while it is held.
    pub(super) fn wake(&self) {
        // The courier says that it sleeps before it looks at the trays for the last time.
        if self.rounds.asleep.load(Ordering::SeqCst)
            && let Some(thread) = &self.thread
        {
            thread.unpark();
        }
    }
}

impl Drop for Courier {
    fn drop(&mut self) {
        self.rounds.over.store(true, Ordering::SeqCst);
        if let Some(thread) = &self.thread {
            thread.unpark();
        }
    }
}

impl Rounds {
    fn trays(&self) -> MutexGuard<'_, Vec<Weak<Tray>>> {
        lock(&self.trays)
    }

    fn go(&self) {
        while !self.over.load(Ordering::SeqCst) {
            match self.look() {
                Some(time) => thread::park_timeout(time),
                None => {
                    self.asleep.store(true, Ordering::SeqCst);
                    if self.look().is_none() && !self.over.load(Ordering::SeqCst) {
                        thread::park();
                    }
                    self.asleep.store(false, Ordering::SeqCst);
                }
            }
        }
    }

    /// Looks at all trays. Returns when to look again; `None` while all are empty.
    fn look(&self) -> Option<Duration> {
        let mut trays = self.trays();
        trays.retain(|tray| tray.strong_count() > 0);
        trays.iter().filter_map(Weak::upgrade).filter_map(|tray| tray.look()).min()
    }
}

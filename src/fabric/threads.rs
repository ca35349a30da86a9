//! Workers that are threads of this process: modes `threads` and `serial`.

use std::{
    collections::VecDeque,
    mem::take,
    sync::Arc,
    thread::{self, Thread},
};

use crossbeam_channel::{Receiver, Sender, TryRecvError, unbounded};

use super::{Ending, Fabric, News, WorkerInfo};
use crate::{
    error::{Error, ErrorKind},
    launch,
    wire::{ToRank0, ToWorker},
    worker::{Board, Identity, Link, LinkError, or_end, serve},
};

/// What one side has said to the other since it last flushed goes through the channels at once, in a list: a message
/// by itself would cost more than a short task.
pub(crate) struct Threads {
    first_rank: u32,
    workers: Vec<Worker>,
    inbox: Receiver<(u32, Vec<ToRank0>)>,
    handles: Vec<thread::JoinHandle<()>>,
}

struct Worker {
    queue: Sender<VecDeque<ToWorker>>,
    posted: VecDeque<ToWorker>,
}

impl Worker {
    fn flush(&mut self) {
        if !self.posted.is_empty() {
            // A worker thread ends only after Shutdown, when nobody sends to it any more.
            let _ = self.queue.send(take(&mut self.posted));
        }
    }
}

/// Starts `count` threads as workers `first_rank ..`; they wake the calling thread when they
/// have something for it.
pub(crate) fn start(count: usize, first_rank: u32) -> Result<(Threads, Vec<WorkerInfo>), Error> {
    let (out, inbox) = unbounded();
    let mut fabric = Threads { first_rank, workers: Vec::new(), inbox, handles: Vec::new() };
    let here = launch::here();
    let mut infos = Vec::new();
    for rank in first_rank..first_rank + count as u32 {
        let (work, queue) = unbounded();
        let mut link = Channels {
            rank,
            queue,
            arrived: VecDeque::new(),
            posted: Vec::new(),
            out: out.clone(),
            engine: thread::current(),
        };
        let identity = Identity { rank, slot: 0, threads: 1, board: Arc::new(Board::new(1)) };
        let handle = thread::Builder::new()
            .name(format!("rankpool-worker-{rank}"))
            .stack_size(launch::STACK_BYTES)
            .spawn(move || {
                launch::thread_runs_tasks();
                // A closed channel means that rank 0 has ended; there is nobody left to tell.
                let _ = or_end(|| serve(&mut link, &identity));
            })
            .map_err(|error| {
                Error::new(ErrorKind::Launch, format!("worker thread {rank} could not be started: {error}"))
            })?;
        fabric.workers.push(Worker { queue: work, posted: VecDeque::new() });
        fabric.handles.push(handle);
        infos.push(WorkerInfo {
            rank,
            host: here.host.clone(),
            pid: std::process::id(),
            cpus: here.cpus.clone(),
            threads: 1,
            children: Vec::new(),
        });
    }
    Ok((fabric, infos))
}

impl Fabric for Threads {
    fn poll(&mut self, news: &mut Vec<News>) -> Result<bool, Error> {
        let before = news.len();
        for (rank, messages) in self.inbox.try_iter() {
            news.extend(messages.into_iter().filter_map(|message| News::of(rank, message)));
        }
        Ok(news.len() > before)
    }

    fn post(&mut self, rank: u32, message: ToWorker) {
        self.workers[(rank - self.first_rank) as usize].posted.push_back(message);
    }

    fn flush(&mut self) {
        self.workers.iter_mut().for_each(Worker::flush);
    }

    fn wakes(&self) -> bool {
        true
    }

    fn works_here(&self) -> bool {
        true
    }

    fn give_up(&mut self, _: u32) {}

    fn expected(&self) -> usize {
        0
    }

    fn end(&mut self, ending: Ending) -> Result<(), Error> {
        for worker in &mut self.workers {
            worker.posted.push_back(ToWorker::Shutdown { finalise: false });
            worker.flush();
        }
        // A thread cannot be stopped: one that is stuck is left to the end of the process.
        if matches!(ending, Ending::Orderly { .. }) {
            self.handles.drain(..).for_each(|handle| drop(handle.join()));
        }
        Ok(())
    }
}

/// A worker thread's link: two channels.
struct Channels {
    rank: u32,
    queue: Receiver<VecDeque<ToWorker>>,
    arrived: VecDeque<ToWorker>,
    posted: Vec<ToRank0>,
    out: Sender<(u32, Vec<ToRank0>)>,
    engine: Thread,
}

fn gone() -> LinkError {
    LinkError("the engine's thread has ended".into())
}

impl Link for Channels {
    fn try_recv(&mut self) -> Result<Option<ToWorker>, LinkError> {
        if self.arrived.is_empty() {
            match self.queue.try_recv() {
                Ok(messages) => self.arrived = messages,
                Err(TryRecvError::Empty) => return Ok(None),
                Err(TryRecvError::Disconnected) => return Err(gone()),
            }
        }
        Ok(self.arrived.pop_front())
    }

    fn has_arrived(&self) -> bool {
        !self.arrived.is_empty() || !self.queue.is_empty()
    }

    fn recv(&mut self) -> Result<ToWorker, LinkError> {
        loop {
            if let Some(message) = self.arrived.pop_front() {
                return Ok(message);
            }
            self.flush()?;
            self.arrived = self.queue.recv().map_err(|_| gone())?;
        }
    }

    fn post(&mut self, message: ToRank0) {
        self.posted.push(message);
    }

    fn flush(&mut self) -> Result<(), LinkError> {
        if !self.posted.is_empty() {
            // If the engine's thread has ended, the next look for work tells.
            let _ = self.out.send((self.rank, take(&mut self.posted)));
            self.engine.unpark();
        }
        Ok(())
    }
}

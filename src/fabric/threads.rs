//! Workers that are threads of this process: modes `threads` and `serial`.

use std::{
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

pub(crate) struct Threads {
    first_rank: u32,
    workers: Vec<Sender<ToWorker>>,
    inbox: Receiver<(u32, ToRank0)>,
    handles: Vec<thread::JoinHandle<()>>,
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
        let mut link = Channels { rank, queue, out: out.clone(), scheduler: thread::current() };
        let identity = Identity { rank, threads: 1, board: Arc::new(Board::new(1)) };
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
        fabric.workers.push(work);
        fabric.handles.push(handle);
        infos.push(WorkerInfo {
            rank,
            host: here.host.clone(),
            pid: std::process::id(),
            cpus: here.cpus.clone(),
            threads: 1,
        });
    }
    Ok((fabric, infos))
}

impl Fabric for Threads {
    fn poll(&mut self, news: &mut Vec<News>) -> Result<bool, Error> {
        let before = news.len();
        news.extend(self.inbox.try_iter().filter_map(|(rank, message)| News::of(rank, message)));
        Ok(news.len() > before)
    }

    fn post(&mut self, rank: u32, message: ToWorker) {
        // A worker thread ends only after Shutdown, when nobody sends to it any more.
        let _ = self.workers[(rank - self.first_rank) as usize].send(message);
    }

    fn flush(&mut self) {}

    fn give_up(&mut self, _: u32) {}

    fn expected(&self) -> usize {
        0
    }

    fn end(&mut self, ending: Ending) -> Result<(), Error> {
        for worker in &self.workers {
            let _ = worker.send(ToWorker::Shutdown { finalise: false });
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
    queue: Receiver<ToWorker>,
    out: Sender<(u32, ToRank0)>,
    scheduler: Thread,
}

fn gone() -> LinkError {
    LinkError("the scheduler thread has ended".into())
}

impl Link for Channels {
    fn try_recv(&mut self) -> Result<Option<ToWorker>, LinkError> {
        match self.queue.try_recv() {
            Ok(message) => Ok(Some(message)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(gone()),
        }
    }

    fn has_arrived(&self) -> bool {
        !self.queue.is_empty()
    }

    fn recv(&mut self) -> Result<ToWorker, LinkError> {
        self.flush()?;
        self.queue.recv().map_err(|_| gone())
    }

    fn post(&mut self, message: ToRank0) {
        // If the scheduler's thread has ended, the next look for work tells.
        let _ = self.out.send((self.rank, message));
    }

    fn flush(&mut self) -> Result<(), LinkError> {
        self.scheduler.unpark();
        Ok(())
    }
}

//! Rank 0's own leader, on a thread of its process, beside the workers of another fabric if there are any. So with
//! leaders one rank a node is enough, and no CPU of rank 0's node idles.

use std::{
    sync::mpsc,
    thread::{self, Thread},
    time::Duration,
};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, TryRecvError, unbounded};

use super::{Ending, Fabric, Lead, News, Woken, WorkerInfo};
use crate::{
    error::{Error, ErrorKind},
    launch,
    wire::{Team, TeamNews, ToRank0, ToWorker},
    worker::{Link, LinkError, or_end},
};

/// The rank that the leader of rank 0's process goes by.
const RANK: u32 = 0;

/// How long the leader may take to leave its children.
const LEAVE: Duration = Duration::from_secs(6);

pub(crate) struct Home {
    /// The workers that are other ranks.
    others: Option<Box<dyn Fabric>>,
    /// The leader can be given work.
    leads: bool,
    queue: Sender<ToWorker>,
    inbox: Receiver<ToRank0>,
    ended: Receiver<()>,
    leader: Thread,
}

impl Home {
    /// Starts the leader and waits until its children are ready.
    ///
    /// # Errors
    /// When they do not come up.
    pub(crate) fn start(
        team: Team,
        lead: Lead,
        others: Option<Box<dyn Fabric>>,
    ) -> Result<(Home, WorkerInfo), Error> {
        let (queue, orders) = unbounded();
        let (out, inbox) = unbounded();
        let (ending, ended) = unbounded::<()>();
        let (report, reported) = mpsc::channel();
        let mut link = Here { orders, out, said: false, engine: thread::current() };
        let handle = thread::Builder::new()
            .name("rankpool-leader".into())
            .spawn(move || {
                let _ending = ending;
                match lead(&team, RANK) {
                    Err(error) => drop(report.send(Err(error))),
                    Ok((leader, children)) => {
                        drop(report.send(Ok(children)));
                        if let Err(error) = or_end(|| leader.serve(&mut link, Woken::FromDeepSleep)) {
                            // If rank 0 has ended, there is nobody left to tell.
                            let reason = error.to_string();
                            link.post(ToRank0::Team(TeamNews::Disbanded { reason }));
                            let _ = link.flush();
                        }
                    }
                }
            })
            .map_err(|error| {
                Error::new(ErrorKind::Launch, format!("the leader's thread could not be started: {error}"))
            })?;
        let panicked = |_| Err(Error::new(ErrorKind::Internal, "the leader's thread panicked at the start"));
        let children = match reported.recv().unwrap_or_else(panicked) {
            Ok(children) => children,
            Err(error) => {
                if let Some(mut others) = others {
                    others.end(Ending::Orderly { code: None })?;
                }
                return Err(error);
            }
        };
        let here = launch::here();
        let info = WorkerInfo {
            rank: RANK,
            host: here.host.clone(),
            pid: std::process::id(),
            cpus: here.cpus.clone(),
            threads: children.len() as u32,
            children,
        };
        let leader = handle.thread().clone();
        Ok((Home { others, leads: true, queue, inbox, ended, leader }, info))
    }
}

impl Fabric for Home {
    fn poll(&mut self, news: &mut Vec<News>) -> Result<bool, Error> {
        let before = news.len();
        let moved = match &mut self.others {
            Some(others) => others.poll(news)?,
            None => false,
        };
        news.extend(self.inbox.try_iter().filter_map(|message| News::of(RANK, message)));
        Ok(moved || news.len() > before)
    }

    fn post(&mut self, rank: u32, message: ToWorker) {
        match &mut self.others {
            _ if rank == RANK => {
                // The leader ends only after its goodbye, or with this process.
                let _ = self.queue.send(message);
            }
            Some(others) => others.post(rank, message),
            None => {}
        }
    }

    fn share(&mut self, rank: u32, number: u64, value: &Bytes) {
        match &mut self.others {
            Some(others) if rank != RANK => others.share(rank, number, value),
            _ => self.post(rank, ToWorker::Share { number, value: value.clone() }),
        }
    }

    fn flush(&mut self) {
        if let Some(others) = &mut self.others {
            others.flush();
        }
        if !self.queue.is_empty() {
            self.leader.unpark();
        }
    }

    fn give_up(&mut self, rank: u32) {
        match &mut self.others {
            Some(others) if rank != RANK => others.give_up(rank),
            // It gives up its children by itself.
            _ => {}
        }
    }

    fn expected(&self) -> usize {
        self.others.as_ref().map_or(0, |others| others.expected())
    }

    fn wakes(&self) -> bool {
        self.others.is_none()
    }

    fn end(&mut self, ending: Ending) -> Result<(), Error> {
        if std::mem::take(&mut self.leads) {
            // A leader whose children are at work has them killed.
            let _ = self.queue.send(ToWorker::Shutdown { finalise: false });
            self.leader.unpark();
            // Its end closes the channel.
            let _ = self.ended.recv_timeout(LEAVE);
        }
        match &mut self.others {
            Some(others) => others.end(ending),
            None => Ok(()),
        }
    }
}

/// The leader's link: two channels.
struct Here {
    orders: Receiver<ToWorker>,
    out: Sender<ToRank0>,
    /// Something was said that the engine may sleep over.
    said: bool,
    engine: Thread,
}

fn gone() -> LinkError {
    LinkError("the engine's thread has ended".into())
}

impl Link for Here {
    fn try_recv(&mut self) -> Result<Option<ToWorker>, LinkError> {
        match self.orders.try_recv() {
            Ok(message) => Ok(Some(message)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(gone()),
        }
    }

    fn has_arrived(&self) -> bool {
        !self.orders.is_empty()
    }

    fn recv(&mut self) -> Result<ToWorker, LinkError> {
        self.flush()?;
        self.orders.recv().map_err(|_| gone())
    }

    fn post(&mut self, message: ToRank0) {
        // If the engine's thread has ended, the next look for work tells.
        let _ = self.out.send(message);
        self.said = true;
    }

    fn flush(&mut self) -> Result<(), LinkError> {
        if std::mem::take(&mut self.said) {
            self.engine.unpark();
        }
        Ok(())
    }
}

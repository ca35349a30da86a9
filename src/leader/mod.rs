//! A leader: a rank that runs no user code, and schedules the child processes of its node.
//!
//! It stands between rank 0 and the children, with a [`Link`] to the one and a fabric to the others. Its [`Team`]
//! decides what it does with a chunk; this file carries the messages. MPI does not notice the death of a child.

mod start;
mod team;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

pub(crate) use start::lead;
pub(crate) use team::{ChildAt, Deed, Ran, Team};

use crate::{
    error::Failure,
    fabric::{
        ALERT, Ending, Expecting, Fabric, GIVEN_UP, Idle, Leads, News, Pause, Woken, WorkerInfo,
        processes::Processes, remote::Remote, run_promptly, sleep_exactly,
    },
    wire::{Child, TeamNews, ToRank0, ToWorker},
    worker::{Goodbye, Link, LinkError, now_nanos},
};

/// How long a leader rests that has nothing to do.
const REST: Duration = Duration::from_millis(2);

pub(crate) struct Leader {
    fabric: Remote<Processes>,
    team: Team,
    children: HashMap<u32, Child>,
    /// The children that keep something of a call, or have a shared value; by its number.
    known_to: HashMap<u64, BTreeSet<u32>>,
    deeds: Vec<Deed>,
    /// Results that came since the time of a round was last taken.
    returned: u32,
    cost_nanos: f64,
    disbanded: bool,
}

impl Leader {
    fn new(fabric: Remote<Processes>, workers: Vec<WorkerInfo>) -> Leader {
        let mut leader = Leader {
            fabric,
            team: Team::new(),
            children: HashMap::new(),
            known_to: HashMap::new(),
            deeds: Vec::new(),
            returned: 0,
            cost_nanos: 2_000.0,
            disbanded: false,
        };
        for worker in workers {
            leader.joined(worker);
        }
        // Rank 0 knows that all of them are without work.
        leader.deeds.clear();
        leader
    }

    /// The children, by their slots.
    fn children(&self) -> Vec<Child> {
        let mut children: Vec<Child> = self.children.values().cloned().collect();
        children.sort_by_key(|child| child.slot);
        children
    }

    fn joined(&mut self, info: WorkerInfo) -> Child {
        let (slot, seat) = self.fabric.transport().seat_of(info.rank);
        let gpus = seat.variables.iter().map(|(name, ids)| format!("{name}={ids}")).collect();
        let child = Child { slot, pid: info.pid, cpus: info.cpus, gpus };
        self.team.joined(info.rank, ChildAt { slot, pid: info.pid }, &mut self.deeds);
        self.children.insert(info.rank, child.clone());
        child
    }

    /// A round of the loop: what has come from both sides, and what follows from it. True when anything did.
    fn round(&mut self, link: &mut dyn Link, news: &mut Vec<News>) -> Result<Round, LinkError> {
        let began = now_nanos();
        self.team.set_now(began);
        let mut moved = false;
        while let Some(message) = link.try_recv()? {
            moved = true;
            if let Some(goodbye) = self.hear(message, link) {
                return Ok(Round::Goodbye(goodbye));
            }
        }
        match self.fabric.poll(news) {
            Ok(any) => moved |= any,
            Err(error) => return Err(LinkError(error.to_string())),
        }
        for item in news.drain(..) {
            self.on_news(item, link);
        }
        if self.children.is_empty() && self.fabric.expected() == 0 && !self.disbanded {
            self.disbanded = true;
            self.team.disbanded(&mut self.deeds);
            let reason = "none of its children is left, and none can be started".to_string();
            link.post(ToRank0::Team(TeamNews::Disbanded { reason }));
        }
        if self.team.next_due().is_some_and(|due| due <= began) {
            self.team.tick(&mut self.deeds);
        }
        self.act(link);
        self.fabric.flush();
        link.flush()?;
        if self.returned > 0 {
            let cost = (now_nanos() - began) as f64 / f64::from(std::mem::take(&mut self.returned));
            self.cost_nanos += (cost - self.cost_nanos) / 16.0;
            self.team.set_cost(self.cost_nanos);
        }
        Ok(if moved { Round::Moved } else { Round::Nothing })
    }

    /// What rank 0 says.
    fn hear(&mut self, message: ToWorker, link: &mut dyn Link) -> Option<Goodbye> {
        match message {
            ToWorker::Chunk(chunk) => self.team.take(chunk, &mut self.deeds),
            ToWorker::Revoke { dispatch, .. } => self.team.recall(dispatch, &mut self.deeds),
            ToWorker::Share { number, value } => self.fabric.transport().keep(number, value),
            ToWorker::Forget { number } => {
                for child in self.known_to.remove(&number).unwrap_or_default() {
                    self.fabric.post(child, ToWorker::Forget { number });
                }
                self.fabric.transport().drop_shared(number);
            }
            ToWorker::GiveUp => {
                for child in self.team.at_work() {
                    if self.lost(child, GIVEN_UP.to_string(), link) {
                        self.fabric.give_up(child);
                        self.team.lost(child, &mut self.deeds);
                    }
                }
            }
            ToWorker::Shutdown { finalise } => return Some(Goodbye { finalise }),
            // Rank 0 does not say it to a worker at work.
            ToWorker::Welcome(_) | ToWorker::Refuse | ToWorker::Mapped { .. } => {}
        }
        None
    }

    /// What has happened to the children.
    fn on_news(&mut self, news: News, link: &mut dyn Link) {
        match news {
            News::Requested { rank, .. } => self.team.requested(rank, &mut self.deeds),
            News::Returned { rank, result } => {
                self.returned += 1;
                let ran = Ran::of(&result);
                let pieces = result.pieces.unwrap_or_default();
                self.team.returned(rank, result.dispatch, ran, pieces, &mut self.deeds);
            }
            News::Joined(info) => {
                let child = self.joined(info);
                link.post(ToRank0::Team(TeamNews::Joined(child)));
            }
            News::Lost { rank, reason } => {
                if self.lost(rank, reason, link) {
                    self.team.lost(rank, &mut self.deeds);
                }
            }
            News::Overdue { rank, dispatch, task, limit } => {
                let reason = format!("given up: a task runs longer than {limit:?}");
                if self.lost(rank, reason, link) {
                    self.fabric.give_up(rank);
                    let failure = Failure::timed_out(limit);
                    self.team.timed_out(rank, dispatch, task, failure, &mut self.deeds);
                }
            }
            // A child leads nobody.
            News::Partial { .. } | News::Team { .. } => {}
        }
    }

    /// Tells rank 0 that a child is gone; false when it was known.
    fn lost(&mut self, child: u32, reason: String, link: &mut dyn Link) -> bool {
        let Some(Child { slot, pid, .. }) = self.children.remove(&child) else { return false };
        for known_to in self.known_to.values_mut() {
            known_to.remove(&child);
        }
        tracing::debug!("child {slot} (pid {pid}) was lost: {reason}");
        link.post(ToRank0::Team(TeamNews::Lost { slot, pid, reason }));
        true
    }

    /// Does what the team says.
    fn act(&mut self, link: &mut dyn Link) {
        let mut deeds = std::mem::take(&mut self.deeds);
        for deed in deeds.drain(..) {
            match deed {
                Deed::Send { child, chunk } => {
                    if chunk.keeps {
                        self.known_to.entry(chunk.call).or_default().insert(child);
                    }
                    for number in &chunk.shared {
                        if self.known_to.entry(*number).or_default().insert(child) {
                            self.fabric.share_kept(child, *number);
                        }
                    }
                    self.fabric.post(child, ToWorker::Chunk(chunk));
                }
                Deed::Revoke { child, call, dispatch } => {
                    self.fabric.post(child, ToWorker::Revoke { call, dispatch });
                }
                Deed::Answer(result) => link.post(ToRank0::Result(result)),
                Deed::Tell(result) => link.post(ToRank0::Partial(result)),
                Deed::Ask { free, heard } => link.post(ToRank0::Request { free, heard }),
            }
        }
        self.deeds = deeds;
    }

    /// What is waited for, when nothing has happened for so long.
    fn expecting(&self, idle: Duration) -> Expecting {
        match () {
            () if self.fabric.expected() > 0 => Expecting::Soon,
            // Rank 0 wakes it only then.
            () if self.team.is_done() && idle < ALERT => Expecting::Soon,
            () if self.team.is_done() => Expecting::Nothing,
            () if self.team.runs_dry() => Expecting::Soon,
            () => Expecting::Unhurried,
        }
    }

    /// Waits for so long at most; true when it was woken before.
    fn wait(&mut self, time: Duration) -> bool {
        let due = self.team.next_due().map(|due| Duration::from_nanos(due.saturating_sub(now_nanos())));
        let time = due.map_or(time, |due| due.min(time));
        if self.team.in_flight() > 0 {
            self.fabric.transport().wait(time);
            return false;
        }
        let began = Instant::now();
        std::thread::park_timeout(time);
        began.elapsed() < time
    }
}

/// What came of a round.
enum Round {
    Nothing,
    Moved,
    Goodbye(Goodbye),
}

impl Leads for Leader {
    fn serve(mut self: Box<Self>, link: &mut dyn Link, woken: Woken) -> Result<Goodbye, LinkError> {
        sleep_exactly();
        run_promptly();
        let mut idle = Idle::new(false).woken(woken);
        let mut news = Vec::new();
        loop {
            match self.round(link, &mut news)? {
                Round::Goodbye(goodbye) => {
                    let ending = if self.team.is_done() {
                        Ending::Orderly { code: None }
                    } else {
                        Ending::Forced { code: None }
                    };
                    // Its children end in any case.
                    if let Err(error) = self.fabric.end(ending) {
                        tracing::warn!("{error}");
                    }
                    return Ok(goodbye);
                }
                Round::Moved => idle.reset(),
                // Its children wake it, and what rank 0 has to say meanwhile can wait: each child has its next chunk.
                Round::Nothing if self.expecting(idle.time()) == Expecting::Unhurried => {
                    self.wait(REST);
                }
                Round::Nothing => match idle.next(self.expecting(idle.time())) {
                    Pause::Spin => std::hint::spin_loop(),
                    Pause::Yield => std::thread::yield_now(),
                    // MPI may take several looks to find the message that it was woken for.
                    Pause::Sleep(time) if self.wait(time) => idle.reset(),
                    Pause::Sleep(_) => {}
                },
            }
        }
    }
}

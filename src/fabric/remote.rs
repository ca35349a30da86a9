//! What the modes with worker processes share: handshake, lifelines, losses, replacements.

mod ending;
mod gathering;
mod member;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use member::{Host, Member, Stage};

use super::{
    Ending, Fabric, News, WorkerInfo,
    lifeline::{Heard, Lifelines},
    places::Places,
    replacements::Replacements,
    transport::{Incoming, Transport},
};
use crate::{
    error::{Error, ErrorKind},
    function, launch,
    wire::{Frame, NotStarted, Place, Ready, Surroundings, Team, ToRank0, ToWorker, Welcome},
    worker::Limited,
};

/// What the workers are told at their welcome.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) threads: u32,
    /// They are to be leaders, of such teams.
    pub(crate) team: Option<Team>,
    /// They are the children of the leader that goes by this rank.
    pub(crate) children_of: Option<u32>,
    /// What they take over, where the launcher does not see to that.
    pub(crate) surroundings: Option<Surroundings>,
    /// When the first workers must be ready.
    pub(crate) deadline: Instant,
    /// How long a replacement may take.
    pub(crate) start_timeout: Duration,
    /// How long a worker may leave rank 0 without an answer.
    pub(crate) stall: Option<Duration>,
}

/// A worker that has had no message between two looks, so far apart, is woken for the next one. With rank 0's own sleep
/// that is well within the time for which a worker stays awake.
const DROWSY: Duration = Duration::from_millis(25);

/// How long the end of a run waits for replacements that are on their way.
const LATE_ONES: Duration = Duration::from_secs(5);

pub(crate) struct Remote<T> {
    transport: T,
    lifelines: Lifelines,
    settings: Settings,
    members: BTreeMap<u32, Member>,
    /// Members that have been started and are not ready for work.
    coming: usize,
    hosts: BTreeMap<String, Host>,
    /// Who may use the same CPUs, and who may see the same GPUs.
    by_cpus: Places,
    by_gpus: Places,
    inbox: Vec<(u32, Incoming)>,
    losses: u32,
    replacements: Replacements,
    /// The first workers have been welcomed.
    running: bool,
    /// They are all at work.
    gathered: bool,
    /// Why one of them could not start its children.
    not_led: Option<Error>,
    /// When the sleepers were last looked for.
    looked: Instant,
    /// Workers to be woken, when what is queued for them has left.
    to_wake: Vec<u32>,
    /// The transport moves nothing any more.
    broken: bool,
}

impl<T: Transport> Remote<T> {
    /// True when the ranks on this host have a CPU each.
    pub(crate) fn spin(&self) -> bool {
        self.hosts.get(&launch::here().host).is_some_and(Host::has_a_cpu_each)
    }

    fn step(&mut self, news: &mut Vec<News>) -> Result<bool, Error> {
        let before = news.len();
        let mut inbox = std::mem::take(&mut self.inbox);
        let moved = self.transport.poll(&mut inbox)?;
        for (rank, incoming) in inbox.drain(..) {
            match incoming {
                Incoming::Frame(frame) => self.take(rank, frame, news)?,
                Incoming::Gone(reason) => self.lose(rank, reason, news),
            }
        }
        self.inbox = inbox;
        self.start_replacements();
        while let Ok(heard) = self.lifelines.heard.try_recv() {
            match heard {
                Heard::Gone { rank, reason } => self.lose(rank, reason, news),
                Heard::Silent { rank, time } => self.stands_still(rank, time, news),
                Heard::Overdue { rank, task } => news.push(overdue(rank, task)),
            }
        }
        Ok(moved || news.len() > before)
    }

    fn take(&mut self, rank: u32, frame: Frame, news: &mut Vec<News>) -> Result<(), Error> {
        let Some(member) = self.members.get_mut(&rank) else { return Ok(()) };
        if matches!(member.stage, Stage::Lost) {
            return Ok(());
        }
        member.stirred = true;
        let Some(message) = ToRank0::unpack(frame) else {
            return self.refuse(
                rank,
                format!("worker {rank} speaks another version of rankpool's protocol"),
                news,
            );
        };
        match message {
            ToRank0::Hello(hello) => {
                if let Some(text) = hello.refusal(rank, function::build()) {
                    return self.refuse(rank, text, news);
                }
                let host = self.hosts.entry(hello.host.clone()).or_default();
                host.ranks += 1;
                host.cpus.extend(hello.cpus.iter().copied());
                member.host = Some(hello.host.clone());
                let (of_host, cpus, gpus) = (hello.host.clone(), hello.cpus.clone(), hello.gpus.clone());
                member.stage = Stage::Known(hello);
                self.take_place(rank, &of_host, &cpus, &gpus);
                if self.running {
                    self.welcome(rank); // A replacement: the others are at work.
                }
            }
            ToRank0::Ready(Ready { lifeline_error, children }) => {
                let children = match children {
                    Ok(children) => children,
                    Err(NotStarted { usage, reason }) => {
                        let host = member.host.as_deref().unwrap_or_default();
                        let text = format!("worker {rank} on {host} could not start its children: {reason}");
                        if self.gathered {
                            self.lose(rank, text, news);
                            return Ok(());
                        }
                        // It waits for its goodbye like the others.
                        let kind = if usage { ErrorKind::Usage } else { ErrorKind::Launch };
                        self.not_led.get_or_insert(Error::new(kind, text));
                        Vec::new()
                    }
                };
                self.coming -= usize::from(!matches!(member.stage, Stage::Working));
                let Stage::Welcomed(hello) = std::mem::replace(&mut member.stage, Stage::Working) else {
                    return Ok(());
                };
                if let Some(error) = lifeline_error {
                    tracing::warn!(
                        "worker {rank} on {} cannot reach rank 0 by TCP ({error}): if it dies, the run hangs; \
                         open the ports between the nodes",
                        hello.host
                    );
                }
                self.replacements.joined();
                news.push(News::Joined(WorkerInfo {
                    rank,
                    host: hello.host,
                    pid: hello.pid,
                    cpus: hello.cpus,
                    threads: if children.is_empty() { self.settings.threads } else { children.len() as u32 },
                    children,
                }));
            }
            message => {
                if let ToRank0::Result(result) = &message {
                    member.limits.returned(result.dispatch);
                }
                news.extend(News::of(rank, message));
            }
        }
        Ok(())
    }

    /// A worker does not fit. Before the first task this ends the run. A replacement is told, since it waits for an
    /// answer, and no other one is started, since it would not fit either.
    fn refuse(&mut self, rank: u32, reason: String, news: &mut Vec<News>) -> Result<(), Error> {
        if !self.running {
            return Err(Error::new(ErrorKind::Handshake, reason));
        }
        self.transport.post(rank, ToWorker::Refuse.pack());
        self.replacements.give_up();
        self.lose(rank, reason, news);
        Ok(())
    }

    fn welcome(&mut self, rank: u32) {
        let Some(Member { stage, .. }) = self.members.get_mut(&rank) else { return };
        let hello = match std::mem::replace(stage, Stage::Lost) {
            Stage::Known(hello) => hello,
            other => {
                *stage = other;
                return;
            }
        };
        let here = &launch::here().host;
        let host = self.hosts.get(&hello.host);
        let ranks = host.map_or(1, |host| host.ranks);
        let (cpus, gpu) = (self.by_cpus.of(rank), self.by_gpus.of(rank));
        let team = self.settings.team.as_ref().map(|team| Team { cpus, gpu, ..team.clone() });
        let welcome = Welcome {
            number: rank,
            rank: self.settings.children_of.unwrap_or(rank),
            slot: self.settings.children_of.map_or(0, |_| self.transport.slot(rank)),
            token: self.lifelines.token,
            lifeline: self.lifelines.addresses_for(hello.host == *here),
            threads: self.settings.threads,
            workers_on_host: ranks - u32::from(hello.host == *here && ranks > 1),
            spin: host.is_some_and(Host::has_a_cpu_each),
            surroundings: self.settings.surroundings.clone(),
            team,
            // Children of rank 0 do not: if rank 0 is killed, they leave the exit code of the run.
            ends_with_parent: self.settings.children_of.is_some_and(|leader| leader > 0),
        };
        *stage = Stage::Welcomed(hello);
        self.lifelines.expect(rank);
        self.transport.post(rank, ToWorker::Welcome(welcome).pack());
    }

    fn lose(&mut self, rank: u32, reason: String, news: &mut Vec<News>) {
        let Some(stage) = self.strike(rank) else { return };
        if matches!(stage, Stage::Working) || !self.replaces() {
            news.push(News::Lost { rank, reason });
        } else {
            self.replacements.failed(&format!("worker {rank} did not come up: {reason}"));
        }
        // If the launcher ends the run for this loss, it may leave a process behind that it is asked to start now: Open
        // MPI 5's does.
        if self.transport.policy().survives_losses() {
            self.replace();
        }
    }

    /// A worker has not answered for `time`: it is lost, and a task that it was at for too long has timed out.
    fn stands_still(&mut self, rank: u32, time: Duration, news: &mut Vec<News>) {
        let reason = format!("it has not answered for {:.1} s: its process stands still", time.as_secs_f64());
        match self.members.get(&rank).and_then(|member| member.limits.culprit(time)) {
            Some(task) => {
                tracing::warn!("worker {rank} is given up: {reason}");
                news.push(overdue(rank, task)); // The engine gives it up.
            }
            None => self.lose(rank, reason, news),
        }
    }

    /// Takes a worker off the list; its stage until now, if it was not lost before.
    fn strike(&mut self, rank: u32) -> Option<Stage> {
        let member = self.members.get_mut(&rank)?;
        self.coming -= usize::from(member.is_coming());
        let stage = std::mem::replace(&mut member.stage, Stage::Lost);
        if matches!(stage, Stage::Lost) {
            self.forget(rank);
            return None;
        }
        if let Some(host) = member.host.as_ref().and_then(|host| self.hosts.get_mut(host)) {
            host.ranks -= 1;
            host.lost += 1;
        }
        debug_assert_eq!(self.coming, self.members.values().filter(|member| member.is_coming()).count());
        self.losses += 1;
        // One that is frozen hears no order. Where the launcher would end the run for it, it is left alone.
        if self.transport.policy().survives_losses() {
            self.lifelines.order_exit(rank, 0);
            if self.lifelines.is_frozen(rank) {
                self.lifelines.kill(rank);
            }
        }
        self.transport.abandon(rank);
        self.lifelines.lost(rank);
        self.by_cpus.leave(rank);
        self.by_gpus.leave(rank);
        self.forget(rank);
        Some(stage)
    }

    /// Forgets a lost worker whose process is gone: there may be very many in a long run.
    fn forget(&mut self, rank: u32) {
        if !self.lifelines.knows(rank) {
            self.members.remove(&rank);
        }
    }

    /// Whether another one is started for one that is lost: from when they all were at work, and among the children of a
    /// leader from the beginning.
    fn replaces(&self) -> bool {
        self.gathered || self.settings.children_of.is_some()
    }

    fn replace(&mut self) {
        if self.replaces() {
            self.replacements.lack(self.transport.policy().settling());
            self.start_replacements();
        }
    }

    fn start_replacements(&mut self) {
        for rank in self.replacements.start(&mut self.transport) {
            self.members.insert(rank, Member::started());
            self.coming += 1;
        }
    }

    fn overdue_joins(&mut self, news: &mut Vec<News>) {
        let limit = self.settings.start_timeout;
        let late = |member: &Member| member.is_coming() && member.since.elapsed() > limit;
        let late: Vec<u32> = self.members.iter().filter(|(_, m)| late(m)).map(|(rank, _)| *rank).collect();
        late.into_iter().for_each(|rank| self.lose(rank, format!("it was not ready within {limit:?}"), news));
    }
}

impl<T> Remote<T> {
    /// What moves the frames.
    pub(crate) fn transport(&mut self) -> &mut T {
        &mut self.transport
    }

    /// Queues a shared value, which the transport keeps.
    pub(crate) fn share_kept(&mut self, rank: u32, number: u64)
    where
        T: Transport,
    {
        Fabric::share(self, rank, number, &Bytes::new());
    }

    /// A rank may use these CPUs of its host, and see these GPUs.
    fn take_place(&mut self, rank: u32, host: &str, cpus: &[u32], gpus: &str) {
        self.by_cpus.take(rank, host, &format!("{cpus:?}"));
        self.by_gpus.take(rank, host, gpus);
    }

    /// This process's places among the leaders of its host that share CPUs, and GPUs.
    pub(crate) fn places_of_rank_0(&self) -> (Place, Place) {
        (self.by_cpus.of(0), self.by_gpus.of(0))
    }

    /// A worker that heard nothing and said nothing for a while may soon sleep.
    fn look_for_sleepers(&mut self) {
        if self.looked.elapsed() >= DROWSY {
            self.looked = Instant::now();
            for member in self.members.values_mut() {
                member.asleep = !std::mem::take(&mut member.stirred);
            }
        }
    }
}

fn overdue(rank: u32, task: Limited) -> News {
    News::Overdue { rank, dispatch: task.dispatch, task: task.task, limit: task.limit }
}

impl<T: Transport> Fabric for Remote<T> {
    fn poll(&mut self, news: &mut Vec<News>) -> Result<bool, Error> {
        let moved = self.step(news).inspect_err(|_| self.broken = true)?;
        if self.expected() > 0 {
            self.overdue_joins(news);
        }
        self.look_for_sleepers();
        Ok(moved)
    }

    fn post(&mut self, rank: u32, message: ToWorker) {
        if self.broken {
            return;
        }
        if let ToWorker::Forget { number } = message {
            self.transport.forget(number);
        }
        if let Some(Member { stage: Stage::Working, limits, stirred, asleep, .. }) =
            self.members.get_mut(&rank)
        {
            *stirred = true;
            if std::mem::take(asleep) {
                self.to_wake.push(rank);
            }
            // A leader sees to the limits of its children.
            if let ToWorker::Chunk(chunk) = &message
                && self.settings.team.is_none()
                && let Some(limit) = limits.sent(chunk)
            {
                self.lifelines.limit(rank, limit);
            }
            self.transport.post(rank, message.pack());
        }
    }

    fn share(&mut self, rank: u32, number: u64, value: &Bytes) {
        let works = |member: &Member| matches!(member.stage, Stage::Working);
        if !self.broken && self.members.get(&rank).is_some_and(works) {
            self.transport.share(rank, number, value);
        }
    }

    fn flush(&mut self) {
        if !self.broken {
            self.transport.flush();
            self.to_wake.drain(..).for_each(|rank| self.lifelines.wake(rank));
        }
    }

    fn give_up(&mut self, rank: u32) {
        if self.strike(rank).is_some() {
            self.replace();
        }
    }

    fn owns_workers(&self) -> bool {
        self.transport.owns_workers()
    }

    fn expected(&self) -> usize {
        self.coming + self.replacements.expected()
    }

    fn end(&mut self, ending: Ending) -> Result<(), Error> {
        self.leave(ending)
    }
}

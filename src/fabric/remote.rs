//! What the modes with worker processes share: handshake, lifelines, losses, replacements.

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
    Ending, Expecting, Fabric, Idle, News, WorkerInfo,
    lifeline::{Heard, Lifelines},
    places::Places,
    replacements::Replacements,
    transport::{Incoming, Transport},
};
use crate::{
    error::{Error, ErrorKind},
    function,
    launch::{self, Siblings},
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
    /// Takes the workers `ranks` in; returns when each of them is ready for work.
    ///
    /// # Errors
    /// When one does not come up in time, or is of another build; all are ended then.
    pub(crate) fn start(
        transport: T,
        ranks: impl IntoIterator<Item = u32>,
        settings: Settings,
    ) -> Result<(Remote<T>, Vec<WorkerInfo>), Error> {
        launch::keep_freed_memory();
        let members: BTreeMap<u32, Member> =
            ranks.into_iter().map(|rank| (rank, Member::started())).collect();
        let lifelines = Lifelines::listen(members.len(), settings.stall).map_err(|error| {
            Error::new(ErrorKind::Launch, format!("rank 0 cannot listen for its workers' lifelines: {error}"))
        })?;
        let replacements = Replacements::new(settings.start_timeout);
        let mut remote = Remote {
            transport,
            lifelines,
            settings,
            coming: members.len(),
            members,
            hosts: BTreeMap::new(),
            by_cpus: Places::default(),
            by_gpus: Places::default(),
            inbox: Vec::new(),
            losses: 0,
            replacements,
            running: false,
            gathered: false,
            not_led: None,
            looked: Instant::now(),
            to_wake: Vec::new(),
            broken: false,
        };
        match remote.gather() {
            Ok(workers) => match remote.not_led.take() {
                None => Ok((remote, workers)),
                Some(error) => {
                    remote.end(Ending::Orderly { code: None })?;
                    Err(error)
                }
            },
            Err(error) => {
                remote.dismiss();
                Err(error)
            }
        }
    }

    /// True when the ranks on this host have a CPU each.
    pub(crate) fn spin(&self) -> bool {
        self.hosts.get(&launch::here().host).is_some_and(Host::has_a_cpu_each)
    }

    /// Ends the workers after a start that failed, but not before rank 0 could say why: those
    /// with a lifeline end with this process, the others are told now.
    fn dismiss(mut self) {
        for rank in self.members.keys().filter(|rank| !self.lifelines.stands(**rank)) {
            self.transport.post(*rank, ToWorker::Refuse.pack());
        }
        self.transport.flush();
        if let Err(error) = self.transport.end(Ending::Forced { code: None }, true) {
            tracing::error!("{error}");
        }
        self.lifelines.keep_until_the_end();
    }

    fn gather(&mut self) -> Result<Vec<WorkerInfo>, Error> {
        let here = launch::here();
        let cpus = here.cpus.iter().copied().collect();
        self.hosts.insert(here.host.clone(), Host { ranks: 1, cpus, lost: 0 });
        if self.settings.team.is_some() {
            // Rank 0 leads a team, too.
            self.take_place(0, &here.host, &here.cpus, &launch::visible_gpus());
        }
        let deadline = self.settings.deadline;
        let mut idle = Idle::new(false);
        let mut siblings = Siblings::watch();
        let mut workers = Vec::new();
        let mut news = Vec::new();
        while self.expected() > 0 {
            if self.step(&mut news)? {
                idle.reset();
            } else {
                idle.pause(Expecting::Nothing);
            }
            for item in news.drain(..) {
                match item {
                    News::Joined(info) => workers.push(info),
                    News::Lost { rank, reason } if !self.replaces() => {
                        let text = format!("worker {rank} was lost before the first task: {reason}");
                        return Err(Error::new(ErrorKind::Launch, text));
                    }
                    News::Lost { rank, .. } => workers.retain(|worker: &WorkerInfo| worker.rank != rank),
                    _ => {}
                }
            }
            let all_known = !self.members.values().any(|member| matches!(member.stage, Stage::Awaited));
            if !self.running && all_known {
                self.running = true; // The counts of workers a host are complete.
                let ranks: Vec<u32> = self.members.keys().copied().collect();
                ranks.into_iter().for_each(|rank| self.welcome(rank));
            }
            // Its lifeline tells of one that has come further.
            if let Some(gone) = siblings.gone() {
                return Err(Error::new(ErrorKind::Launch, format!("{gone}: the run cannot start")));
            }
            if Instant::now() > deadline {
                let missing: Vec<String> = self
                    .members
                    .iter()
                    .filter(|(_, member)| !matches!(member.stage, Stage::Working))
                    .map(|(rank, _)| rank.to_string())
                    .collect();
                return Err(Error::new(
                    ErrorKind::Launch,
                    format!(
                        "worker {} did not come up within {:?}; every rank must run this same program and \
                         reach Executor::start",
                        missing.join(", "),
                        self.settings.start_timeout
                    ),
                ));
            }
        }
        if workers.is_empty() {
            return Err(Error::new(ErrorKind::Launch, "no worker process comes up"));
        }
        workers.sort_by_key(|worker| worker.rank);
        self.gathered = true;
        Ok(workers)
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

    /// A worker does not fit. Before the first task the run ends for it; a replacement waits for an answer, and the next
    /// would not fit either.
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
            // Rank 0's own leave the code of a run whose rank 0 was killed.
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
        // A launcher that ends the run for it may leave behind what it is asked to start now: Open MPI 5's does.
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

    /// Waits for replacements that are on their way when the run ends: a process that finds rank 0 gone while it starts
    /// takes the run for killed, and ends its launcher.
    fn let_late_ones_in(&mut self) {
        self.replacements.give_up();
        let deadline = Instant::now() + LATE_ONES;
        let mut news = Vec::new();
        while self.gathered && self.expected() > 0 && Instant::now() < deadline {
            if self.step(&mut news).is_err() {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }

    /// Finds the workers that stand still before the run ends: MPI_Finalize would wait for them for ever.
    fn find_frozen(&mut self) {
        self.lifelines.ask_idle_workers();
        loop {
            let answered = self.lifelines.all_have_answered();
            while let Ok(heard) = self.lifelines.heard.try_recv() {
                // A task that was over its time has ended by now.
                if let Heard::Gone { rank, .. } | Heard::Silent { rank, .. } = heard
                    && self.strike(rank).is_some()
                {
                    tracing::warn!("worker {rank} was lost at the end of the run");
                }
            }
            if answered {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(1));
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

    /// Queues the shared value of a call, which the transport keeps.
    pub(crate) fn share_kept(&mut self, rank: u32, call: u64)
    where
        T: Transport,
    {
        Fabric::share(self, rank, call, &Bytes::new());
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
        if let Some(Member { stage: Stage::Working, limits, stirred, asleep, .. }) =
            self.members.get_mut(&rank)
        {
            *stirred = true;
            if std::mem::take(asleep) {
                self.to_wake.push(rank);
            }
            match &message {
                // A leader sees to the limits of its children.
                ToWorker::Chunk(chunk) if self.settings.team.is_none() => {
                    if let Some(limit) = limits.sent(chunk) {
                        self.lifelines.limit(rank, limit);
                    }
                }
                ToWorker::Forget { call } => self.transport.forget(*call),
                _ => {}
            }
            self.transport.post(rank, message.pack());
        }
    }

    fn share(&mut self, rank: u32, call: u64, value: &Bytes) {
        let works = |member: &Member| matches!(member.stage, Stage::Working);
        if !self.broken && self.members.get(&rank).is_some_and(works) {
            self.transport.share(rank, call, value);
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

    fn expected(&self) -> usize {
        self.coming + self.replacements.expected()
    }

    fn end(&mut self, ending: Ending) -> Result<(), Error> {
        if matches!(ending, Ending::Orderly { .. }) {
            self.let_late_ones_in();
            self.find_frozen();
        }
        self.lifelines.ending();
        let lost = self.losses > 0;
        let (policy, finalises) = (self.transport.policy(), ending.finalises(lost));
        if policy.abort_code(ending.code(), finalises).is_some() {
            // That ends all processes: none must leave before.
            return self.transport.end(ending, lost);
        }
        if !finalises {
            let here = &launch::here().host;
            // One that is frozen counts twice: nobody sees its end.
            let frozen = self.members.iter().filter(|(rank, _)| self.lifelines.is_frozen(**rank));
            let frozen = frozen.filter_map(|(_, member)| member.host.as_deref());
            let all = self.hosts.iter().flat_map(|(host, known)| {
                std::iter::repeat_n(host.as_str(), (known.ranks + known.lost) as usize)
            });
            if policy.is_stranded_by(all.chain(frozen).filter(|host| host != here)) {
                launch::strand_launcher();
            }
        }
        // A launcher that ends the run for one process would do so at once if the workers ended before this one,
        // whose code counts: they end with it.
        if !finalises && !policy.survives_losses() {
            if matches!(ending, Ending::Orderly { .. })
                && let Some(advice) = policy.advice()
            {
                tracing::warn!(
                    "a worker was given up, and this launcher ends the run with an error for it: {advice}"
                );
            }
            self.lifelines.keep_until_the_end();
            return Ok(());
        }
        match ending {
            Ending::Orderly { .. } => {
                for (rank, member) in &self.members {
                    self.lifelines.say_goodbye(*rank);
                    match member.stage {
                        Stage::Working | Stage::Welcomed(_) => {
                            let shutdown = ToWorker::Shutdown { finalise: !lost };
                            self.transport.post(*rank, shutdown.pack());
                        }
                        // It still comes up, and waits for its welcome.
                        Stage::Awaited | Stage::Known(_) => {
                            self.transport.post(*rank, ToWorker::Refuse.pack());
                        }
                        Stage::Lost => self.lifelines.order_exit(*rank, 0),
                    }
                }
            }
            Ending::Forced { code } => {
                let code = code.unwrap_or(1).clamp(0, 255) as u8;
                self.members.keys().for_each(|rank| self.lifelines.order_exit(*rank, code));
                let patience = Instant::now() + Duration::from_millis(300);
                while Instant::now() < patience
                    && self.members.keys().any(|rank| self.lifelines.stands(*rank))
                {
                    std::thread::sleep(Duration::from_millis(1));
                }
                // Who is still there stands still, or is at its last words.
                self.members.keys().for_each(|rank| self.lifelines.kill(*rank));
            }
        }
        self.transport.flush();
        self.transport.end(ending, lost)
    }
}
